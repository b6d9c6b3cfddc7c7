//! The way to a fleet's PostgreSQL: one session of the committer's own.
//!
//! The committer is a thread that waits; its session has a runtime to itself. The session holds an
//! advisory lock for its node's number as long as it lives: that is the guard against a second
//! writer of the node's log. If the session ends, so does the lock, and whoever has it next may
//! finish what was left open.

use crate::db::{Alone, DbError, Touched, Value};
use crate::error::StoreError;
use crate::later::{Later, Table};
use lockgate_types::Redacted;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgRow, PgSslMode};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, Postgres, Row};
use std::cell::RefCell;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;
use tokio::runtime::Runtime;

/// How long a connection is waited for.
const CONNECTED_WITHIN: Duration = Duration::from_secs(5);
/// How long a node may stand still in a transaction, and hold up who needs the same, before
/// PostgreSQL ends it.
const STILL_MAX: Duration = Duration::from_secs(1);
/// How long another node's transaction is waited for.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(5);
/// How long an answer is waited for. Then the connection is given up: locks take less.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);
/// How long a node waits for its own number: the server may not have noticed yet that whoever had
/// it is gone.
const NUMBER_WAIT_MAX: Duration = Duration::from_secs(5);
/// Between two looks for it.
const NUMBER_LOOK: Duration = Duration::from_millis(20);

/// The name space of advisory locks for nodes' numbers, in two-key form; what transactions touch is
/// in one-key form, and so never meets it.
const NUMBERS: i32 = 0x6c6f_636b;
/// Shared by transactions that read which bundle rules.
const RULING: i64 = 0x6c6f_636b_6761_7465;

/// Where a fleet's database is, with what lets the gate in: it is not printed.
pub type SharedAddress = Redacted<PgConnectOptions>;

/// An address that can be connected to, from a URL.
pub(crate) fn address(url: &Redacted<String>) -> Result<PgConnectOptions, StoreError> {
    let unreadable = || StoreError::Address;
    let url = url.expose();
    if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
        return Err(unreadable());
    }
    // The parser's own words repeat the address.
    let mut options: PgConnectOptions = url.parse().map_err(|_| unreadable())?;
    let is_doubtful = matches!(options.get_ssl_mode(), PgSslMode::Allow | PgSslMode::Prefer);
    let host = options.get_host();
    let is_near = options.get_socket().is_some()
        || host.starts_with('/')
        || host == "localhost"
        || host.parse().is_ok_and(|address: IpAddr| address.is_loopback());
    if is_doubtful && !is_near {
        options = options.ssl_mode(PgSslMode::VerifyFull);
    }
    Ok(options.application_name("lockgate").disable_statement_logging())
}

/// Opens a connection with the settings that every session here has.
pub(crate) async fn connect(options: &PgConnectOptions) -> Result<PgConnection, DbError> {
    let connecting = tokio::time::timeout(CONNECTED_WITHIN, connect_and_set(options));
    connecting.await.map_err(|_| sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()))?
}

async fn connect_and_set(options: &PgConnectOptions) -> Result<PgConnection, DbError> {
    let mut connection = PgConnection::connect_with(options).await?;
    let settings = format!(
        "SET idle_in_transaction_session_timeout = {}; SET lock_timeout = {};
         SET default_transaction_isolation = 'read committed'; SET synchronous_commit = on;
         SET tcp_keepalives_idle = 2; SET tcp_keepalives_interval = 1; SET tcp_keepalives_count = 3;
         SET search_path = public, pg_temp",
        STILL_MAX.as_millis(),
        LOCK_WAIT_MAX.as_millis(),
    );
    sqlx::raw_sql(AssertSqlSafe(settings)).execute(&mut connection).await?;
    Ok(connection)
}

/// The committer's session.
pub(crate) struct Session {
    runtime: Runtime,
    options: PgConnectOptions,
    connection: RefCell<Option<PgConnection>>,
    later: RefCell<Later>,
}

impl Session {
    /// Connects. Not to be called, nor dropped, where something else waits on the same thread.
    pub(crate) fn open(options: PgConnectOptions) -> Result<Self, StoreError> {
        let session = Self::idle(options)?;
        session.connect_again().map_err(StoreError::database("connecting"))?;
        Ok(session)
    }

    /// Without a connection yet.
    pub(crate) fn idle(options: PgConnectOptions) -> Result<Self, StoreError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| StoreError::Runtime(std::sync::Arc::new(error)))?;
        Ok(Self { runtime, options, connection: RefCell::new(None), later: RefCell::default() })
    }

    /// Connects if there is no connection.
    pub(crate) fn connect_again(&self) -> Result<(), DbError> {
        if self.is_lost() {
            let connection = self.runtime.block_on(connect(&self.options))?;
            *self.connection.borrow_mut() = Some(connection);
        }
        Ok(())
    }

    pub(crate) const fn options(&self) -> &PgConnectOptions {
        &self.options
    }

    /// Takes the number of a node. `false`: another process has it.
    fn take_number(&self, node: u64) -> Result<bool, DbError> {
        let take = format!("SELECT pg_try_advisory_lock({NUMBERS}, {node})");
        let row = self.with(async |connection| {
            sqlx::query(AssertSqlSafe(take)).persistent(false).fetch_one(connection).await
        })?;
        Ok(row.try_get(0)?)
    }

    /// Takes the number of a node until the transaction ends. `false`: another process has it.
    pub(crate) fn borrow_number(&self, node: u64) -> Result<bool, DbError> {
        let take = format!("SELECT pg_try_advisory_xact_lock({NUMBERS}, {node})");
        let row = self.with(async |connection| {
            sqlx::query(AssertSqlSafe(take)).persistent(false).fetch_one(connection).await
        })?;
        Ok(row.try_get(0)?)
    }

    /// A new session in the place of a lost one, once the lost one is gone. `false`: another
    /// process has the node's number.
    pub(crate) fn reconnect(&self, node: u64) -> Result<bool, DbError> {
        self.lose();
        self.connect_again()?;
        self.wait_for_number(node)
    }

    /// Takes the number of a node, once the process that had it is gone. `false`: it is not.
    pub(crate) fn wait_for_number(&self, node: u64) -> Result<bool, DbError> {
        let since = std::time::Instant::now();
        loop {
            if self.take_number(node)? {
                return Ok(true);
            }
            if since.elapsed() > NUMBER_WAIT_MAX {
                return Ok(false);
            }
            std::thread::sleep(NUMBER_LOOK);
        }
    }

    /// Whether the connection was lost and not made anew.
    pub(crate) fn is_lost(&self) -> bool {
        self.connection.borrow().is_none()
    }

    /// Lets go of the connection: it is of no more use.
    pub(crate) fn lose(&self) {
        *self.later.borrow_mut() = Later::default();
        *self.connection.borrow_mut() = None;
    }

    /// Runs several statements that are given nothing and whose rows nobody reads.
    pub(crate) fn batch(&self, statements: String) -> Result<(), DbError> {
        self.with(async |connection| {
            sqlx::raw_sql(AssertSqlSafe(statements)).execute(connection).await.map(drop)
        })
    }

    pub(crate) fn begin(&self, touched: &Touched) -> Result<(), DbError> {
        // One way there and back. What is read afterwards is read after the locks were got.
        let mut begin = "BEGIN".to_owned();
        let lock = match touched.ruling {
            None => "",
            Some(Alone::No) => "_shared",
            Some(Alone::Yes) => "",
        };
        if touched.ruling.is_some() {
            let _ = write!(begin, "; SELECT pg_advisory_xact_lock{lock}({RULING})");
        }
        let mut names = touched.names().peekable();
        if names.peek().is_some() {
            begin.push_str("; SELECT pg_advisory_xact_lock(name) FROM unnest(ARRAY[");
            for (at, name) in names.enumerate() {
                let comma = if at == 0 { "" } else { "," };
                let _ = write!(begin, "{comma}{name}");
            }
            begin.push_str("]::bigint[]) AS name");
        }
        let begun = self.batch(begin);
        if begun.is_err() {
            // It may have begun, and waited for a lock in vain.
            self.roll_back();
        }
        begun
    }

    pub(crate) fn commit(&self) -> Result<(), DbError> {
        self.write_later()?;
        self.batch("COMMIT".to_owned())
    }

    pub(crate) fn roll_back(&self) {
        *self.later.borrow_mut() = Later::default();
        if self.batch("ROLLBACK".to_owned()).is_err() {
            self.lose();
        }
    }

    /// Adds a row, no later than with the commit.
    pub(crate) fn add(&self, table: &'static Table, given: &[Value<'_>]) -> Result<(), DbError> {
        let is_full = self.later.borrow_mut().add(table, given)?;
        if is_full { self.write_later() } else { Ok(()) }
    }

    fn write_later(&self) -> Result<(), DbError> {
        let statements: Vec<_> = self.later.borrow_mut().take().collect();
        for statement in statements {
            self.with(async |connection| statement.execute(connection).await)?;
        }
        Ok(())
    }

    /// Writes what was kept back if a statement may be about it.
    fn settle(&self, statement: &str) -> Result<(), DbError> {
        if self.later.borrow().is_about(statement) { self.write_later() } else { Ok(()) }
    }

    pub(crate) fn execute(&self, statement: &str, given: &[Value<'_>]) -> Result<usize, DbError> {
        self.settle(statement)?;
        let done =
            self.with(async |connection| query(statement, given).execute(connection).await)?;
        Ok(usize::try_from(done.rows_affected()).unwrap_or(usize::MAX))
    }

    pub(crate) fn row(
        &self,
        statement: &str,
        given: &[Value<'_>],
    ) -> Result<Option<PgRow>, DbError> {
        // Not `fetch_optional`, which would leave the rest of the rows to the next statement.
        let rows = self.rows(statement, given)?;
        Ok(rows.into_iter().next())
    }

    pub(crate) fn rows(&self, statement: &str, given: &[Value<'_>]) -> Result<Vec<PgRow>, DbError> {
        self.settle(statement)?;
        self.with(async |connection| query(statement, given).fetch_all(connection).await)
    }

    fn with<T>(
        &self,
        run: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, DbError> {
        let mut connection = self.connection.borrow_mut();
        let Some(open) = connection.as_mut() else {
            return Err(DbError::Postgres(sqlx::Error::Io(
                std::io::ErrorKind::NotConnected.into(),
            )));
        };
        let late = |_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()));
        let run = async { tokio::time::timeout(ANSWERED_WITHIN, run(open)).await };
        let done = self.runtime.block_on(run).unwrap_or_else(late).map_err(DbError::Postgres);
        if done.as_ref().is_err_and(DbError::is_disconnected) {
            *connection = None;
        }
        done
    }
}

/// A statement of this store's own, in PostgreSQL's spelling of what it is given.
fn query<'q>(statement: &str, given: &[Value<'q>]) -> Query<'q, Postgres, PgArguments> {
    let spelled = statement.replace('?', "$");
    let query = sqlx::query(AssertSqlSafe(spelled));
    given.iter().fold(query, |query, value| match *value {
        Value::Int(value) => query.bind(value),
        Value::Text(value) => query.bind(value),
        Value::Blob(value) => query.bind(value),
    })
}
