use crate::sql::check::Checked;
use crate::sql::tree::Footprint;
use crate::sql::{Answer, Dialect, Grants, RunBounds, RunError, SqliteDatabase, TableGrant, check};
use lockgate_types::Json;
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;

struct World {
    directory: TempDir,
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let connection = rusqlite::Connection::open(directory.path().join("a.db")).unwrap();
        let text = "CREATE TABLE t (id INTEGER PRIMARY KEY, note, tenant TEXT);
            INSERT INTO t VALUES (1, 'one', 'a'), (2, 'two', 'a'), (3, 'hidden', 'b');
            CREATE INDEX t_note ON t (note);
            CREATE TABLE odd (id INTEGER, value);
            INSERT INTO odd VALUES (1, x'ff'), (2, CAST(x'ff' AS TEXT)), (3, 9e999);
            CREATE TABLE secrets (value TEXT);
            INSERT INTO secrets VALUES ('s');
            CREATE VIEW seen AS SELECT value FROM secrets;";
        connection.execute_batch(text).unwrap();
        Self { directory }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("a.db")
    }

    fn database(&self, bounds: RunBounds) -> SqliteDatabase {
        SqliteDatabase::new(&self.path(), bounds)
    }

    async fn unchecked(&self, text: &str) -> Result<Answer, RunError> {
        // As much as a statement could ever be allowed that reads this table.
        let mut footprint = Footprint::default();
        footprint.reads.extend(["id", "note", "tenant"].map(|it| ("t".to_owned(), it.to_owned())));
        footprint.calls.insert("lower".to_owned());
        let checked = Checked::unchecked(Dialect::Sqlite, text, footprint);
        self.database(RunBounds::default()).run(&checked).await
    }
}

fn grants(rows_max: u32) -> Grants {
    let tables = vec![
        TableGrant::new("main", "t", &["id", "note"]).filtered("tenant = 'a'", Vec::new()),
        TableGrant::new("main", "odd", &["id", "value"]),
        TableGrant::new("main", "seen", &["value"]),
    ];
    Grants::new(Dialect::Sqlite, tables, &[], rows_max).unwrap()
}

fn checked(text: &str) -> Checked {
    check(text, &[], &grants(10)).unwrap()
}

#[tokio::test]
async fn what_nobody_checked_is_stopped_all_the_same() {
    let world = World::new();
    let before = std::fs::read(world.path()).unwrap();
    for text in [
        "DELETE FROM t",
        "UPDATE t SET note = 'x'",
        "INSERT INTO t (id) VALUES (9)",
        "WITH x AS (SELECT 1) DELETE FROM t",
        "CREATE TABLE x (a)",
        "CREATE TEMP TABLE x (a)",
        "DROP TABLE t",
        "PRAGMA query_only = 0",
        "PRAGMA table_info(t)",
        "ATTACH ':memory:' AS x",
        "BEGIN IMMEDIATE",
        "VACUUM INTO 'x'",
        "SELECT value FROM secrets",
        "SELECT count(*) FROM secrets",
        "SELECT sql FROM sqlite_schema",
        "SELECT name FROM pragma_table_info('t')",
        "SELECT value FROM json_each('[1]')",
        "SELECT upper(note) FROM t",
        "SELECT load_extension('x')",
        "SELECT randomblob(10)",
        "SELECT value FROM seen",
    ] {
        let stopped = world.unchecked(text).await;
        assert!(matches!(stopped, Err(RunError::Barrier { .. })), "{text}: {stopped:?}");
    }
    // Neither a text nor a column.
    let stopped = world.unchecked("SELECT \"nothing\" FROM t").await;
    assert!(matches!(stopped, Err(RunError::Database { .. })), "{stopped:?}");
    assert_eq!(std::fs::read(world.path()).unwrap(), before);
    // The same statement, with what it may do: the barriers do not stop everything.
    assert!(world.unchecked("SELECT lower(note) FROM t WHERE tenant = 'a'").await.is_ok());
}

#[test]
fn a_file_that_is_opened_for_reading_is_not_written() {
    let world = World::new();
    let database = world.database(RunBounds::default());
    let mut connection = database.open(Footprint::default()).unwrap();
    connection.authorizer(None::<fn(rusqlite::hooks::AuthContext<'_>) -> _>).unwrap();
    let both = connection.execute("DELETE FROM t", []).unwrap_err();
    connection.pragma_update(None, "query_only", false).unwrap();
    let alone = connection.execute("DELETE FROM t", []).unwrap_err();
    for error in [both, alone] {
        assert_eq!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::ReadOnly));
    }
}

#[tokio::test]
async fn time_rows_and_bytes_are_bounded_and_said_so() {
    let world = World::new();
    let bounds = RunBounds { time: Duration::from_millis(50), ..RunBounds::default() };
    let long = "SELECT count(*) FROM t AS a, t AS b, t AS c, t AS d, t AS e, t AS f, t AS g, \
                t AS h, t AS i, t AS j, t AS k, t AS l, t AS m, t AS n, t AS o, t AS p, t AS q, \
                t AS r, t AS s, t AS u, t AS v, t AS w, t AS x, t AS y, t AS z WHERE \
                a.id + b.id + c.id + d.id + e.id < 0 OR z.note = y.note || x.note || w.note";
    let stopped = world.database(bounds).run(&checked(long)).await;
    assert_eq!(stopped, Err(RunError::TimedOut { after: bounds.time }));
    let two = check("SELECT a.id FROM t AS a, t AS b", &[], &grants(2)).unwrap();
    let answer = world.database(RunBounds::default()).run(&two).await.unwrap();
    assert_eq!((answer.rows.len(), answer.is_truncated), (2, true));
    let all = check("SELECT id FROM t", &[], &grants(2)).unwrap();
    let answer = world.database(RunBounds::default()).run(&all).await.unwrap();
    assert_eq!((answer.rows.len(), answer.is_truncated), (2, false));
    let fifty = "note || note || note || note || note || note || note || note || note || note";
    let text = format!(
        "SELECT length(replace(replace(replace({fifty}, 'o', '{0}'), '-', '{0}'), \
                        '-', '{0}')) FROM t",
        "-".repeat(2000)
    );
    let huge = world.database(RunBounds::default()).run(&checked(&text)).await;
    let too_big =
        RunError::Database { state: "18".to_owned(), detail: "string or blob too big".into() };
    assert_eq!(huge, Err(too_big));
    let bounds = RunBounds { answer_bytes_max: 7, ..RunBounds::default() };
    let answer = world.database(bounds).run(&checked("SELECT note FROM t ORDER BY id")).await;
    let answer = answer.unwrap();
    assert!(answer.is_truncated);
    let mut written = Vec::new();
    answer.into_json().write(&mut written);
    let expected = r#"{"columns":["note"],"rows":[["one"]],"truncated":true}"#;
    assert_eq!(String::from_utf8(written).unwrap(), expected);
}

#[tokio::test]
async fn values_without_a_form_are_named() {
    let world = World::new();
    let database = world.database(RunBounds::default());
    let value = async |id: &str| {
        database.run(&checked(&format!("SELECT value FROM odd WHERE id = {id}"))).await
    };
    for id in ["1", "2"] {
        let refused = value(id).await;
        assert!(matches!(refused, Err(RunError::Value { .. })), "{refused:?}");
    }
    assert_eq!(value("3").await.unwrap().rows, [[Json::String("inf".to_owned())]]);
}

#[tokio::test]
async fn a_granted_view_is_read_through() {
    let world = World::new();
    let answer = world.database(RunBounds::default()).run(&checked("SELECT * FROM seen")).await;
    assert_eq!(answer.unwrap().rows, [[Json::String("s".to_owned())]]);
}

#[tokio::test]
async fn no_condition_is_evaluated_on_a_row_that_the_filter_keeps_back() {
    let world = World::new();
    // An error for the one row of another tenant. SQLite looks at what is in an index before it
    // looks at the row, and so at the tenant.
    let probe = "SELECT id FROM t WHERE note > '' AND \
                 abs(CASE WHEN note = 'hidden' THEN - 9223372036854775807 - 1 ELSE 1 END) = 1";
    let checked = checked(probe);
    let answer = world.database(RunBounds::default()).run(&checked).await.unwrap();
    assert_eq!(answer.rows.len(), 2);
    let unfenced = checked.text().replace(" LIMIT 9223372036854775807", "");
    assert_ne!(unfenced, checked.text());
    let connection = rusqlite::Connection::open(world.path()).unwrap();
    let mut statement = connection.prepare(&unfenced).unwrap();
    let rows = statement.query_map([], |row| row.get::<_, i64>(0)).unwrap();
    let error = rows.collect::<rusqlite::Result<Vec<_>>>().unwrap_err();
    assert_eq!(error.to_string(), "integer overflow");
}

#[tokio::test]
async fn what_cannot_be_run_says_why() {
    let world = World::new();
    let missing = SqliteDatabase::new(&world.path().with_file_name("no.db"), RunBounds::default());
    let answer = missing.run(&checked("SELECT 1")).await;
    assert!(matches!(answer, Err(RunError::Unreachable { .. })), "{answer:?}");
    assert!(!world.path().with_file_name("no.db").exists());
    let other = Grants::new(Dialect::Postgres, Vec::new(), &[], 10).unwrap();
    let other = check("SELECT 1", &[], &other).unwrap();
    let answer = world.database(RunBounds::default()).run(&other).await;
    assert_eq!(answer, Err(RunError::Dialect { checked: Dialect::Postgres }));
}
