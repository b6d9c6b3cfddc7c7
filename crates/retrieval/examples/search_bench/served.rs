//! A PostgreSQL with pgvector, what it takes, and statements to it.

use super::Failure;
use lockgate_sim::postgres::{Cluster, SUPERUSER};
use sqlx::postgres::{PgArguments, PgConnectOptions, PgRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Postgres, Row as _};
use tokio::runtime::Runtime;

/// The server, and a session of it.
pub(crate) struct Served {
    cluster: Cluster,
    runtime: Runtime,
}

impl Served {
    pub(crate) fn start() -> Result<Self, Failure> {
        let cluster = Cluster::start_durable_with_vectors()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { cluster, runtime })
    }

    pub(crate) fn address(&self) -> PgConnectOptions {
        let socket = self.cluster.socket();
        PgConnectOptions::new().socket(socket).username(SUPERUSER).database("postgres")
    }

    pub(crate) fn connect(&self) -> Result<Session<'_>, Failure> {
        let connection = self.runtime.block_on(PgConnection::connect_with(&self.address()))?;
        Ok(Session { connection, runtime: &self.runtime })
    }

    /// MiB that all its processes have in memory, what they share once.
    pub(crate) fn memory_mib(&self) -> Result<f64, Failure> {
        let id = self.cluster.id();
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children"))?;
        let ids = children.split_whitespace().map(str::to_owned).chain([id.to_string()]);
        let kib = ids.map(|id| {
            // One that is gone meanwhile has nothing.
            let text = std::fs::read_to_string(format!("/proc/{id}/smaps_rollup"));
            let text = text.unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
            let word = line.and_then(|line| line.split_whitespace().next());
            word.and_then(|word| word.parse::<f64>().ok()).unwrap_or(0.0)
        });
        Ok(kib.sum::<f64>() / 1024.0)
    }

    /// MiB of the database.
    pub(crate) fn disk_mib(&self) -> Result<f64, Failure> {
        let size = "SELECT pg_database_size('postgres')";
        let rows = self.connect()?.rows(size, |query| query)?;
        Ok(rows[0].try_get::<i64, _>(0)? as f64 / f64::from(1 << 20))
    }
}

/// A session.
pub(crate) struct Session<'a> {
    connection: PgConnection,
    runtime: &'a Runtime,
}

impl Session<'_> {
    pub(crate) fn batch(&mut self, statements: &str) -> Result<(), Failure> {
        let statements = sqlx::raw_sql(AssertSqlSafe(statements.to_owned()));
        self.runtime.block_on(statements.execute(&mut self.connection))?;
        Ok(())
    }

    pub(crate) fn rows<'q>(
        &mut self,
        statement: &str,
        given: impl FnOnce(Query<'q, Postgres, PgArguments>) -> Query<'q, Postgres, PgArguments>,
    ) -> Result<Vec<PgRow>, Failure> {
        let query = given(sqlx::query(AssertSqlSafe(statement.to_owned())));
        Ok(self.runtime.block_on(query.fetch_all(&mut self.connection))?)
    }
}
