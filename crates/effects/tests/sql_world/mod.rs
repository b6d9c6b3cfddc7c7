//! The world of the SQL tests: its databases, what is granted of them, and the corpus.

#![allow(dead_code, reason = "each test uses its part")]

use lockgate_effects::sql::{Dialect, Grants, Parameter, TableGrant};
use lockgate_sim::postgres::{Cluster, SUPERUSER};
use serde::Deserialize;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use std::path::{Path, PathBuf};

/// The database that tests work in.
pub(crate) const DATABASE: &str = "shop";
/// The database that it is copied from.
const TEMPLATE: &str = "shop_template";

/// Where the corpus is.
pub(crate) fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../corpus/sql")
}

fn read(name: &str) -> String {
    let path = corpus().join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// One file of escapes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Family {
    #[serde(skip)]
    pub(crate) name: String,
    /// Why its members are dangerous.
    pub(crate) why: String,
    /// On which database the unchecked text is shown to run.
    pub(crate) database: Database,
    pub(crate) case: Vec<Escape>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Database {
    Postgres,
    Sqlite,
}

/// One escape.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Escape {
    pub(crate) why: String,
    pub(crate) sql: String,
    /// The rule that refuses it, in the dialect of its family.
    pub(crate) rule: String,
    /// What the text does that nobody checked: `acts` (what can be seen of the database, or of the
    /// session, has changed), `answers` (it runs), `fails`.
    pub(crate) unchecked: String,
    /// `passes`: the other dialect has another, harmless meaning for it.
    pub(crate) elsewhere: Option<String>,
}

/// Every escape, by family.
pub(crate) fn escapes() -> Vec<Family> {
    families("escapes", |name, text| {
        let mut family: Family = toml::from_str(text).map_err(|error| error.to_string())?;
        family.name = name;
        Ok(family)
    })
}

/// One file of queries that are answered.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Queries {
    pub(crate) case: Vec<Answered>,
}

/// One query, with what it gives without filters and masks, and with them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Answered {
    pub(crate) sql: String,
    /// How the other database writes it, if it writes it in another way.
    pub(crate) sqlite: Option<String>,
    /// Unset: on both.
    pub(crate) only: Option<Database>,
    #[serde(default)]
    pub(crate) parameters: Vec<toml::Value>,
    pub(crate) open: String,
    pub(crate) guarded: String,
}

impl Answered {
    /// Its text for a database; `None` if it has none.
    pub(crate) fn text(&self, dialect: Dialect) -> Option<&str> {
        match (dialect, self.only) {
            (Dialect::Postgres, Some(Database::Sqlite)) => None,
            (Dialect::Sqlite, Some(Database::Postgres)) => None,
            (Dialect::Sqlite, _) => Some(self.sqlite.as_deref().unwrap_or(&self.sql)),
            (Dialect::Postgres, _) => Some(&self.sql),
        }
    }

    pub(crate) fn values(&self) -> Vec<Parameter> {
        let value = |value: &toml::Value| match value {
            toml::Value::Integer(value) => Parameter::Integer(*value),
            toml::Value::Boolean(value) => Parameter::Boolean(*value),
            toml::Value::Float(value) => Parameter::Decimal(value.to_string()),
            toml::Value::String(text) if text == "NULL" => Parameter::Null,
            toml::Value::String(text) => Parameter::Text(text.clone()),
            other => panic!("{other} is no parameter"),
        };
        self.parameters.iter().map(value).collect()
    }
}

/// Every query that is answered.
pub(crate) fn queries() -> Vec<Answered> {
    let parse = |_, text: &str| toml::from_str::<Queries>(text).map_err(|error| error.to_string());
    families("queries", parse).into_iter().flat_map(|file| file.case).collect()
}

fn families<T>(directory: &str, parse: impl Fn(String, &str) -> Result<T, String>) -> Vec<T> {
    let files = std::fs::read_dir(corpus().join(directory)).unwrap();
    let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    let parse = |path: &PathBuf| {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(path).unwrap();
        parse(name, &text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    files.iter().map(parse).collect()
}

/// Which rows and columns of the granted tables are seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum View {
    /// All rows, every column as it is.
    Open,
    /// The rows of one tenant, with a mask.
    Guarded,
}

/// What the tests are granted.
pub(crate) fn grants(dialect: Dialect, view: View) -> Grants {
    let schema = match dialect {
        Dialect::Postgres => "public",
        Dialect::Sqlite => "main",
    };
    let parameter = match dialect {
        Dialect::Postgres => "$1",
        Dialect::Sqlite => "?1",
    };
    let columns = ["id", "name", "email", "country", "vip", "joined"];
    let mut customers = TableGrant::new(schema, "customers", &columns);
    let columns = ["id", "customer_id", "total", "status", "placed", "note"];
    let mut orders = TableGrant::new(schema, "orders", &columns);
    if view == View::Guarded {
        let filter = format!("tenant = {parameter}");
        let tenant = || vec![Parameter::Text("acme".to_owned())];
        customers = customers.filtered(&filter, tenant());
        customers = customers.masked("email", "substr(email, 1, 1) || '***'");
        orders = orders.filtered(&filter, tenant());
    }
    let items = TableGrant::new(schema, "items", &["order_id", "product", "quantity"]);
    Grants::new(dialect, vec![customers, orders, items], &[], 100).unwrap()
}

/// The statements that make the SQLite database, with its rows.
pub(crate) fn sqlite_world() -> String {
    format!("{}\n{}", read("world.sqlite.sql"), read("rows.sql"))
}

/// A new SQLite database with its rows.
pub(crate) fn sqlite_database(path: &Path) {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.execute_batch(&sqlite_world()).unwrap();
}

/// A server with the database.
pub(crate) async fn postgres() -> Cluster {
    let cluster = Cluster::start().unwrap_or_else(|error| panic!("{error}"));
    let mut first = connect(&cluster, "postgres").await;
    sql(&mut first, &format!("CREATE DATABASE {TEMPLATE}")).await.unwrap();
    let mut template = connect(&cluster, TEMPLATE).await;
    sql(&mut template, &read("world.postgres.sql")).await.unwrap();
    sql(&mut template, &read("rows.sql")).await.unwrap();
    template.close().await.unwrap();
    renew(&mut first).await;
    cluster
}

/// Makes the database anew, over a connection to another one.
pub(crate) async fn renew(connection: &mut PgConnection) {
    sql(connection, &format!("DROP DATABASE IF EXISTS {DATABASE} (FORCE)")).await.unwrap();
    sql(connection, &format!("CREATE DATABASE {DATABASE} TEMPLATE {TEMPLATE}")).await.unwrap();
}

pub(crate) fn options(cluster: &Cluster, database: &str) -> PgConnectOptions {
    PgConnectOptions::new_without_pgpass()
        .socket(cluster.socket())
        .username(SUPERUSER)
        .database(database)
        .disable_statement_logging()
}

pub(crate) async fn connect(cluster: &Cluster, database: &str) -> PgConnection {
    options(cluster, database).connect().await.unwrap()
}

/// Runs a text over the simple protocol: as many statements as it has.
pub(crate) async fn sql(connection: &mut PgConnection, text: &str) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(text)).execute(connection).await.map(drop)
}
