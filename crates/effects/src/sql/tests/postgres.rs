use crate::sql::check::Checked;
use crate::sql::tree::Footprint;
use crate::sql::{
    Dialect, Grants, Parameter, PostgresDatabase, RoleFinding, RunBounds, RunError, TableGrant,
    check,
};
use lockgate_core::network::Network;
use lockgate_sim::postgres::{Cluster, SUPERUSER};
use lockgate_types::{Json, Redacted};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use std::time::Duration;

const WORLD: &str = "
    CREATE TYPE mood AS ENUM ('sad', 'happy');
    CREATE TABLE t (id integer PRIMARY KEY, note text, tenant text);
    INSERT INTO t VALUES (1, '10', 'a'), (2, '20', 'a'), (3, 'hidden', 'b');
    CREATE TABLE odd (m mood, b bytea, a integer[]);
    INSERT INTO odd VALUES ('sad', 'x', '{1}');
    CREATE SEQUENCE counter;
    CREATE ROLE reader LOGIN;
    GRANT SELECT ON t, odd TO reader;
    CREATE ROLE writer LOGIN;
    GRANT SELECT, INSERT ON t TO writer;
    GRANT UPDATE (m) ON odd TO writer;
    CREATE ROLE owner LOGIN CREATEDB BYPASSRLS;
    GRANT pg_read_all_data, pg_execute_server_program TO owner;
    ALTER TABLE odd OWNER TO owner;
    GRANT CREATE ON SCHEMA public TO owner;
    CREATE FUNCTION public.lower(text) RETURNS text LANGUAGE sql AS $$ SELECT 'hijacked' $$;
    CREATE FUNCTION public.same(text, text) RETURNS boolean LANGUAGE sql AS $$ SELECT true $$;
    CREATE OPERATOR public.= (LEFTARG = text, RIGHTARG = text, FUNCTION = public.same);
    CREATE DOMAIN public.text AS integer;
    ALTER ROLE reader SET search_path = public, pg_catalog;
    ALTER ROLE reader SET standard_conforming_strings = off;
    ALTER ROLE reader SET default_transaction_read_only = off;";

pub(super) struct World {
    cluster: Cluster,
}

impl World {
    pub(super) async fn new() -> Self {
        let world = Self { cluster: Cluster::start().unwrap() };
        let mut connection = world.connect().await;
        sqlx::raw_sql(WORLD).execute(&mut connection).await.unwrap();
        world
    }

    fn options(&self, role: &str) -> PgConnectOptions {
        let options = PgConnectOptions::new_without_pgpass().socket(self.cluster.socket());
        options.username(role).database("postgres").disable_statement_logging()
    }

    pub(super) async fn connect(&self) -> PgConnection {
        self.options(SUPERUSER).connect().await.unwrap()
    }

    pub(super) fn database(&self, role: &str, bounds: RunBounds) -> PostgresDatabase {
        PostgresDatabase::new(self.options(role), bounds)
    }

    pub(super) async fn state(&self) -> (i64, bool) {
        let text = "SELECT count(*), (SELECT is_called FROM counter) FROM t";
        sqlx::query_as(AssertSqlSafe(text)).fetch_one(&mut self.connect().await).await.unwrap()
    }
}

fn grants(rows_max: u32) -> Grants {
    // A filter that costs more than what callers may write: PostgreSQL evaluates the cheap first.
    let filter = "replace(replace(replace(upper(tenant), 'X', ''), 'Y', ''), 'Z', '') = $1";
    let value = Parameter::Text("A".to_owned());
    let tables = vec![
        TableGrant::new("public", "t", &["id", "note"]).filtered(filter, vec![value]),
        TableGrant::new("public", "odd", &["m", "b", "a"]),
    ];
    Grants::new(Dialect::Postgres, tables, &[], rows_max).unwrap()
}

fn checked(text: &str) -> Checked {
    check(text, &[], &grants(10)).unwrap()
}

#[tokio::test]
async fn what_nobody_checked_is_stopped_all_the_same() {
    let world = World::new().await;
    let before = world.state().await;
    // Even a superuser is.
    let database = world.database(SUPERUSER, RunBounds::default());
    let run = async |text: &str| {
        let checked = Checked::unchecked(Dialect::Postgres, text, Footprint::default());
        database.run(&checked).await
    };
    for text in [
        "DELETE FROM public.t RETURNING id",
        "WITH x AS (DELETE FROM public.t RETURNING id) SELECT id FROM x",
        "INSERT INTO public.t (id) VALUES (9) RETURNING id",
        "CREATE TABLE public.x (a integer)",
        "SELECT nextval('public.counter')",
        "SELECT id FROM public.t FOR UPDATE",
        "TRUNCATE public.t",
        "EXPLAIN ANALYZE DELETE FROM public.t",
    ] {
        let stopped = run(text).await;
        assert!(matches!(stopped, Err(RunError::Barrier { .. })), "{text}: {stopped:?}");
    }
    for text in [
        "SELECT 1; DELETE FROM public.t",
        "SELECT 1; COMMIT",
        "SELECT set_config('transaction_read_only', 'off', false)",
        "SET TRANSACTION READ WRITE",
        "SELECT id FROM t",
    ] {
        let stopped = run(text).await;
        assert!(matches!(stopped, Err(RunError::Database { .. })), "{text}: {stopped:?}");
    }
    // What leaves the transaction takes the connection with it, or changes nothing.
    let setting = "SELECT set_config('lockgate.x', 'kept', false)";
    for text in ["COMMIT", "ROLLBACK", setting, "SELECT lo_create(1)"] {
        let _ = run(text).await;
        let objects = run("SELECT count(*) FROM pg_largeobject_metadata").await.unwrap().rows;
        assert_eq!(objects, [[Json::Number(0.into())]], "{text}");
        let kept = run("SELECT coalesce(current_setting('lockgate.x', true), '')").await;
        assert_eq!(kept.unwrap().rows, [[Json::String(String::new())]], "{text}");
        let again = run("DELETE FROM public.t RETURNING id").await;
        assert!(matches!(again, Err(RunError::Barrier { .. })), "{text}: {again:?}");
    }
    assert_eq!(world.state().await, before);
}

#[tokio::test]
async fn time_rows_and_bytes_are_bounded_and_said_so() {
    let world = World::new().await;
    let bounds = RunBounds { time: Duration::from_millis(100), ..RunBounds::default() };
    let hurried = world.database("reader", bounds);
    let long = Checked::unchecked(Dialect::Postgres, "SELECT pg_sleep(600)", Footprint::default());
    assert_eq!(hurried.run(&long).await, Err(RunError::TimedOut { after: bounds.time }));
    let mut holder = world.connect().await;
    let lock = "BEGIN; LOCK TABLE public.t IN ACCESS EXCLUSIVE MODE";
    sqlx::raw_sql(lock).execute(&mut holder).await.unwrap();
    let waiting = hurried.run(&checked("SELECT id FROM t")).await;
    assert_eq!(waiting, Err(RunError::TimedOut { after: bounds.time }));
    holder.close().await.unwrap();

    let database = world.database("reader", RunBounds::default());
    let two = check("SELECT a.id FROM t AS a, t AS b", &[], &grants(2)).unwrap();
    let answer = database.run(&two).await.unwrap();
    assert_eq!((answer.rows.len(), answer.is_truncated), (2, true));
    let all = check("SELECT id FROM t", &[], &grants(2)).unwrap();
    let answer = database.run(&all).await.unwrap();
    assert_eq!((answer.rows.len(), answer.is_truncated), (2, false));
    let bounds = RunBounds { answer_bytes_max: 6, ..RunBounds::default() };
    let answer = world.database("reader", bounds).run(&checked("SELECT note FROM t")).await;
    let answer = answer.unwrap();
    assert_eq!((answer.rows.len(), answer.is_truncated), (1, true));
}

#[tokio::test]
async fn nobody_takes_the_place_of_the_systems_functions_operators_and_types() {
    let world = World::new().await;
    let database = world.database("reader", RunBounds::default());
    let text =
        "SELECT lower('A') AS l, 'a' = note AS e, CAST(id AS text) AS t, 'it''s' AS q FROM t";
    let answer = database.run(&checked(&format!("{text} WHERE id = 1"))).await.unwrap();
    let text = |text: &str| Json::String(text.to_owned());
    assert_eq!(answer.rows, [[text("a"), Json::Bool(false), text("1"), text("it's")]]);
}

#[tokio::test]
async fn no_condition_is_evaluated_on_a_row_that_the_filter_keeps_back() {
    let world = World::new().await;
    let database = world.database("reader", RunBounds::default());
    // A cast that fails says the value: here that of another tenant's row.
    let probe = checked("SELECT id FROM t WHERE CAST(note AS integer) > 0");
    assert_eq!(database.run(&probe).await.unwrap().rows.len(), 2);
    // Without the fence, it is evaluated before the filter.
    let unfenced = probe.text().replace(" OFFSET 0", "");
    assert_ne!(unfenced, probe.text());
    let mut connection = world.connect().await;
    let settings = "SET search_path = pg_catalog";
    sqlx::raw_sql(settings).execute(&mut connection).await.unwrap();
    let query = sqlx::query(AssertSqlSafe(unfenced)).bind("A");
    let error = query.fetch_all(&mut connection).await.unwrap_err().to_string();
    assert!(error.contains("hidden"), "{error}");
}

#[tokio::test]
async fn values_without_a_form_are_named() {
    let world = World::new().await;
    let database = world.database("reader", RunBounds::default());
    let answer = database.run(&checked("SELECT m FROM odd")).await.unwrap();
    assert_eq!(answer.rows, [[Json::String("sad".to_owned())]]);
    for (column, kind) in [("b", "BYTEA"), ("a", "INT4[]")] {
        let answer = database.run(&checked(&format!("SELECT {column} FROM odd"))).await;
        let expected = RunError::Value { column: column.to_owned(), kind: kind.to_owned() };
        assert_eq!(answer, Err(expected));
    }
}

#[tokio::test]
async fn errors_repeat_no_value_to_the_caller() {
    let world = World::new().await;
    let database = world.database("reader", RunBounds::default());
    let error = database.run(&checked("SELECT CAST('secret' AS integer)")).await.unwrap_err();
    assert_eq!(error.to_string(), "the database answered with error `22P02`");
    let RunError::Database { detail, .. } = error else { panic!("{error}") };
    assert!(detail.contains("secret"));
}

#[tokio::test]
async fn what_a_role_may_do_beyond_reading_is_said() {
    let world = World::new().await;
    let inspect = async |role: &str, grants: &Grants| {
        world.database(role, RunBounds::default()).inspect(grants).await.unwrap()
    };
    let (t, odd) = (|| "public.t".to_owned(), || "public.odd".to_owned());
    assert_eq!(inspect("reader", &grants(10)).await, []);
    assert_eq!(
        inspect("writer", &grants(10)).await,
        [
            RoleFinding::Writes { table: odd() },
            RoleFinding::Writes { table: t() },
            RoleFinding::CannotRead { table: odd() },
        ]
    );
    assert_eq!(
        inspect("owner", &grants(10)).await,
        [
            RoleFinding::BypassesRowSecurity,
            RoleFinding::Administers,
            RoleFinding::MemberOf { role: "pg_execute_server_program".to_owned() },
            RoleFinding::MemberOf { role: "pg_read_all_data".to_owned() },
            RoleFinding::CreatesIn { schema: "public".to_owned() },
            RoleFinding::Owns { table: odd() },
            RoleFinding::Writes { table: odd() },
        ]
    );
    let found = inspect(SUPERUSER, &grants(10)).await;
    assert_eq!(found.first(), Some(&RoleFinding::Superuser));
    let missing = vec![TableGrant::new("public", "nothing", &["id"])];
    let missing = Grants::new(Dialect::Postgres, missing, &[], 10).unwrap();
    let expected = RoleFinding::CannotRead { table: "public.nothing".to_owned() };
    assert_eq!(inspect("reader", &missing).await, [expected]);
}

#[tokio::test]
async fn what_cannot_be_reached_says_so() {
    let nowhere = tempfile::tempdir().unwrap();
    let options = PgConnectOptions::new_without_pgpass().socket(nowhere.path()).username("x");
    let database = PostgresDatabase::new(options, RunBounds::default());
    let answer = database.run(&checked("SELECT 1")).await;
    assert!(matches!(answer, Err(RunError::Unreachable { .. })), "{answer:?}");
}

#[tokio::test]
async fn an_address_is_enough_and_is_never_repeated() {
    let world = World::new().await;
    let socket = world.cluster.socket().display();
    let address = Redacted::new(format!("postgres://reader:word@localhost/postgres?host={socket}"));
    let database = PostgresDatabase::at(&address, &[], RunBounds::default()).unwrap();
    assert_eq!(database.run(&checked("SELECT id FROM t")).await.unwrap().rows.len(), 2);
    assert!(!format!("{database:?}").contains("word"));
    for address in
        ["postgres://reader:word@:host/", "word", "mysql:word", "postgres://a?sslmode=word"]
    {
        let refused =
            PostgresDatabase::at(&Redacted::new(address.to_owned()), &[], RunBounds::default());
        let said =
            refused.map_or_else(|error| format!("{error} {error:?}"), |_| address.to_owned());
        assert!(!said.contains("word"), "{said}");
    }
    let addresses = [
        ("postgres://a@127.0.0.1/b", "Prefer"),
        ("postgres://a@localhost/b", "Prefer"),
        ("postgres://a@[::1]/b", "Prefer"),
        ("postgres://a@db.example/b", "VerifyFull"),
        ("postgres://a@10.0.0.1/b?sslmode=allow", "VerifyFull"),
        ("postgres://a@10.0.0.1/b?sslmode=disable", "Disable"),
        ("postgres://a@10.0.0.1/b?sslmode=require", "Require"),
    ];
    for (address, mode) in addresses {
        let address = Redacted::new(address.to_owned());
        let database = PostgresDatabase::at(&address, &[], RunBounds::default()).unwrap();
        assert_eq!(format!("{:?}", database.ssl_mode()), mode);
    }
}

#[tokio::test]
async fn a_name_that_leads_inside_is_refused_unless_its_network_is_named() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let run = async |host: &str, mode: &str, allowed: &[&str]| {
        let address = format!("postgres://a@{host}:{nobody}/b?sslmode={mode}");
        let allowed: Vec<Network> = allowed.iter().map(|it| Network::parse(it).unwrap()).collect();
        let database =
            PostgresDatabase::at(&Redacted::new(address), &allowed, RunBounds::default());
        database.unwrap().run(&checked("SELECT 1")).await.unwrap_err()
    };
    let tried = async |mode| {
        // A name to whoever reads addresses strictly, and 127.0.0.1 to the system's resolver.
        let refused = run("127.1", mode, &[]).await;
        assert!(matches!(refused, RunError::NotAllowed { .. }), "{mode}: {refused}");
        let secrets = run("169.254.169.254", mode, &[]).await;
        assert!(matches!(secrets, RunError::NotAllowed { .. }), "{mode}: {secrets}");
        // What the operator has written is where it may be, but for where clouds keep secrets. What
        // nobody listens at is tried for seconds: all of it at once.
        let named = ["127.0.0.0/8"];
        let (named, written) =
            tokio::join!(run("127.1", mode, &named), run("127.0.0.1", mode, &[]));
        assert!(matches!(named, RunError::Unreachable { .. }), "{mode}: {named}");
        assert!(matches!(written, RunError::Unreachable { .. }), "{mode}: {written}");
    };
    tokio::join!(tried("disable"), tried("verify-full"));
}
