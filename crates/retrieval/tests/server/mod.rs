//! A PostgreSQL of a test's own, and a database in it for each corpus.

use lockgate_retrieval::corpus::{Corpus, Options};
use lockgate_retrieval::embed::Embedder;
use lockgate_retrieval::search::Stemming;
use lockgate_sim::postgres::{Cluster, SUPERUSER};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// A server.
pub(crate) struct Server {
    cluster: Cluster,
    databases: AtomicUsize,
    embedder: Mutex<Option<Arc<dyn Embedder>>>,
}

impl Server {
    pub(crate) fn with_vectors() -> Self {
        Self::of(Cluster::start_with_vectors().unwrap())
    }

    pub(crate) fn without_vectors() -> Self {
        Self::of(Cluster::start().unwrap())
    }

    fn of(cluster: Cluster) -> Self {
        Self { cluster, databases: AtomicUsize::new(0), embedder: Mutex::default() }
    }

    /// A corpus in a database of its own.
    pub(crate) fn corpus(&self, embedder: Arc<dyn Embedder>) -> Corpus {
        let number = self.databases.load(Ordering::Relaxed) + 1;
        self.lines("postgres", &format!("CREATE DATABASE corpus{number}"));
        self.databases.store(number, Ordering::Relaxed);
        *self.embedder.lock().unwrap() = Some(embedder);
        self.again()
    }

    /// The newest corpus, as another gate has it.
    pub(crate) fn again(&self) -> Corpus {
        let embedder = self.embedder.lock().unwrap().clone().unwrap();
        let options = Options { embedder, stemming: Stemming::English };
        Corpus::open_shared(self.address(&self.newest()), options).unwrap()
    }

    /// Runs statements in its database; the first column of their rows.
    pub(crate) fn ask(&self, statements: &str) -> Vec<String> {
        self.lines(&self.newest(), statements)
    }

    /// Whether somebody waits for a lock that another has.
    pub(crate) fn waits_for_a_lock(&self) -> bool {
        let waiting = "SELECT 'waits' FROM pg_locks WHERE NOT granted";
        !self.ask(waiting).is_empty()
    }

    fn newest(&self) -> String {
        format!("corpus{}", self.databases.load(Ordering::Relaxed))
    }

    fn address(&self, database: &str) -> PgConnectOptions {
        let socket = self.cluster.socket();
        PgConnectOptions::new().socket(socket).username(SUPERUSER).database(database)
    }

    fn lines(&self, database: &str, statements: &str) -> Vec<String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let address = self.address(database);
            let mut connection = PgConnection::connect_with(&address).await.unwrap();
            let statements = sqlx::raw_sql(AssertSqlSafe(statements.to_owned()));
            let rows = statements.fetch_all(&mut connection).await.unwrap();
            rows.iter().map(|row| row.get::<String, _>(0)).collect()
        })
    }
}
