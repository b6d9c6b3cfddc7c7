//! The way to a fleet's PostgreSQL: sessions that are lent, each with a runtime to itself.
//!
//! A session that has failed is not lent again: its transaction ends with it. One that was kept and
//! is found to be lost makes way for a new one, so that nobody is told of a database that was away
//! and is back. What is searched and what is written wait for one another at one place,
//! [`SEARCHING`] and [`standing_still`].

use super::schema::SCHEMA;
use crate::corpus::CorpusError;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, Postgres};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::runtime::Runtime;

/// Sessions of one gate, searches and changes together. Two for each run come on top.
pub(super) const SESSIONS_MAX: usize = 16;
/// Sessions that are kept open for the next question.
const SESSIONS_KEPT_MAX: usize = 8;
/// How long a session is waited for where all are lent.
const LENT_WITHIN: Duration = Duration::from_secs(10);
/// How long a connection is waited for.
const CONNECTED_WITHIN: Duration = Duration::from_secs(5);
/// How long one statement may take that a question waits for.
const ASKED_FOR: Duration = Duration::from_secs(30);
/// How long one statement may take that changes the corpus: a snapshot is published by one.
const CHANGED_FOR: Duration = Duration::from_secs(600);
/// How much longer than that is waited where the database does not answer at all.
const BEYOND: Duration = Duration::from_secs(5);
/// How long a node may stand still in a transaction, and hold up others that change something,
/// before PostgreSQL ends it.
const STILL_FOR: Duration = Duration::from_secs(10);
/// How long a change of permissions waits for questions that are being answered, and questions
/// for it.
const STANDING_WITHIN: Duration = Duration::from_secs(60);
/// KiB that a session may sort in before it goes to the disk.
const SORTED_KIB_MAX: usize = 64 << 10;

/// Serialises whoever changes the corpus.
const CHANGING: i64 = 0x6c6f_636b_636f_7270;
/// The name space of advisory locks for sources of which a draft is in somebody's hands.
const DRAFTS: i32 = 0x6472_6166;

/// Begins a question: one state of the database for all of it, which no change of permissions
/// comes into force beside. The lock is got before the state is chosen: whoever has waited for a
/// change sees it.
pub(super) const SEARCHING: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
    LOCK TABLE lockgate_retrieval.standing IN ACCESS SHARE MODE";

/// Begins a change.
pub(super) fn changing() -> String {
    let long = CHANGED_FOR.as_millis();
    format!(
        "BEGIN; SET LOCAL lock_timeout = {long}; SET LOCAL statement_timeout = {long};
         SELECT pg_advisory_xact_lock({CHANGING})"
    )
}

/// Waits until no question is being answered, and lets none begin until the transaction ends.
pub(super) fn standing_still() -> String {
    format!(
        "SET LOCAL lock_timeout = {};
         LOCK TABLE lockgate_retrieval.standing IN ACCESS EXCLUSIVE MODE",
        STANDING_WITHIN.as_millis()
    )
}

/// What a statement is given.
#[derive(Clone, Debug)]
pub(super) enum Given {
    Int(i64),
    Float(f64),
    Text(String),
    MaybeText(Option<String>),
    Ints(Vec<i64>),
    MaybeInts(Vec<Option<i64>>),
    Bools(Vec<bool>),
    Texts(Vec<String>),
    MaybeTexts(Vec<Option<String>>),
    Blobs(Vec<Vec<u8>>),
}

impl Given {
    pub(super) fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// One session.
pub(super) struct Session {
    connection: PgConnection,
    runtime: Waiting,
    /// How long a statement is waited for: longer than PostgreSQL lets it take.
    patience: Duration,
}

/// What a session waits with. It is let go of without waiting, wherever that is.
struct Waiting(Option<Runtime>);

impl Waiting {
    fn block_on<T>(
        &self,
        work: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, sqlx::Error> {
        self.0.as_ref().map_or(Err(sqlx::Error::PoolClosed), |runtime| runtime.block_on(work))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Session {
    fn open(options: &PgConnectOptions) -> Result<Self, CorpusError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = Waiting(Some(runtime.map_err(CorpusError::Runtime)?));
        let options = options.clone().application_name("lockgate").disable_statement_logging();
        let connecting = async {
            let connecting = PgConnection::connect_with(&options);
            let late = |_| sqlx::Error::Io(std::io::ErrorKind::TimedOut.into());
            tokio::time::timeout(CONNECTED_WITHIN, connecting).await.map_err(late)?
        };
        let connected = runtime.block_on(connecting);
        let connection = connected.map_err(CorpusError::fleet("connecting"))?;
        let mut session = Self { connection, runtime, patience: ASKED_FOR };
        // Plans depend on how much may be seen. Sums are made in one order: by one process.
        session.batch(&format!(
            "SET search_path = {SCHEMA}, pg_temp; SET plan_cache_mode = force_custom_plan;
             SET jit = off; SET max_parallel_workers_per_gather = 0;
             SET work_mem = {SORTED_KIB_MAX};
             SET synchronous_commit = on; SET lock_timeout = {}; SET statement_timeout = {};
             SET idle_in_transaction_session_timeout = {};
             SET tcp_keepalives_idle = 2; SET tcp_keepalives_interval = 1;
             SET tcp_keepalives_count = 3",
            STANDING_WITHIN.as_millis(),
            ASKED_FOR.as_millis(),
            STILL_FOR.as_millis(),
        ))?;
        session.find_vectors()?;
        Ok(session)
    }

    /// Has the operators of pgvector be found, wherever it was installed.
    pub(super) fn find_vectors(&mut self) -> Result<(), CorpusError> {
        self.batch(&format!(
            "SELECT set_config('search_path', '{SCHEMA}, ' || quote_ident(n.nspname) || ', pg_temp',
                 false)
             FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
             WHERE e.extname = 'vector'"
        ))
    }

    /// Runs statements that are given nothing and whose rows nobody reads.
    pub(super) fn batch(&mut self, statements: &str) -> Result<(), CorpusError> {
        let Self { connection, runtime, patience } = self;
        let statements = sqlx::raw_sql(AssertSqlSafe(statements.to_owned()));
        let done = within(runtime, *patience, statements.execute(connection));
        done.map(drop).map_err(CorpusError::fleet("running a statement"))
    }

    /// Runs a statement; gives back how many rows it has changed.
    pub(super) fn execute(
        &mut self,
        statement: &str,
        given: Vec<Given>,
    ) -> Result<u64, CorpusError> {
        let Self { connection, runtime, patience } = self;
        let done = within(runtime, *patience, query(statement, given).execute(connection));
        Ok(done.map_err(CorpusError::fleet("changing it"))?.rows_affected())
    }

    pub(super) fn rows(
        &mut self,
        statement: &str,
        given: Vec<Given>,
    ) -> Result<Vec<PgRow>, CorpusError> {
        let Self { connection, runtime, patience } = self;
        let rows = within(runtime, *patience, query(statement, given).fetch_all(connection));
        rows.map_err(CorpusError::fleet("reading it"))
    }

    pub(super) fn row(
        &mut self,
        statement: &str,
        given: Vec<Given>,
    ) -> Result<Option<PgRow>, CorpusError> {
        Ok(self.rows(statement, given)?.into_iter().next())
    }

    /// Takes the draft of a source in hand, for as long as the session lives. `false`: somebody
    /// has.
    pub(super) fn take_draft(&mut self, source: i64) -> Result<bool, CorpusError> {
        let take = format!("SELECT pg_try_advisory_lock({DRAFTS}, $1::int)");
        let row = self.row(&take, vec![Given::Int(source)])?;
        row.map_or(Ok(false), |row| column(&row, 0))
    }

    /// The same until the transaction ends.
    pub(super) fn borrow_draft(&mut self, source: i64) -> Result<bool, CorpusError> {
        let take = format!("SELECT pg_try_advisory_xact_lock({DRAFTS}, $1::int)");
        let row = self.row(&take, vec![Given::Int(source)])?;
        row.map_or(Ok(false), |row| column(&row, 0))
    }

    /// Lets go of all that was taken.
    pub(super) fn unlock(&mut self) -> Result<(), CorpusError> {
        self.batch("SELECT pg_advisory_unlock_all()")
    }

    /// Runs a change in a transaction of its own.
    pub(super) fn change<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, CorpusError>,
    ) -> Result<T, CorpusError> {
        self.transaction(&changing(), work)
    }

    /// If it fails, the transaction is rolled back; if even that fails, the session is of no more
    /// use, and so says every later statement.
    fn transaction<T>(
        &mut self,
        begin: &str,
        work: impl FnOnce(&mut Self) -> Result<T, CorpusError>,
    ) -> Result<T, CorpusError> {
        self.batch(begin)?;
        self.finish(work)
    }

    /// Runs the rest of a transaction that was begun.
    fn finish<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, CorpusError>,
    ) -> Result<T, CorpusError> {
        match work(self) {
            Ok(done) => self.batch("COMMIT").map(|()| done),
            Err(error) => {
                let _ = self.batch("ROLLBACK");
                Err(error)
            }
        }
    }
}

/// Waits a little longer than PostgreSQL does, in case it does not answer at all.
fn within<T>(
    runtime: &Waiting,
    patience: Duration,
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    let late = |_| sqlx::Error::Io(std::io::ErrorKind::TimedOut.into());
    let work = async { tokio::time::timeout(patience + BEYOND, work).await.map_err(late)? };
    runtime.block_on(work)
}

/// The texts of statements are this crate's own; what callers say is given beside them.
fn query<'q>(statement: &str, given: Vec<Given>) -> Query<'q, Postgres, PgArguments> {
    let query = sqlx::query(AssertSqlSafe(statement.to_owned()));
    given.into_iter().fold(query, |query, given| match given {
        Given::Int(value) => query.bind(value),
        Given::Float(value) => query.bind(value),
        Given::Text(value) => query.bind(value),
        Given::MaybeText(value) => query.bind(value),
        Given::Ints(values) => query.bind(values),
        Given::MaybeInts(values) => query.bind(values),
        Given::Bools(values) => query.bind(values),
        Given::Texts(values) => query.bind(values),
        Given::MaybeTexts(values) => query.bind(values),
        Given::Blobs(values) => query.bind(values),
    })
}

/// A column of a row.
pub(super) fn column<'r, T>(row: &'r PgRow, at: usize) -> Result<T, CorpusError>
where
    T: sqlx::Decode<'r, Postgres> + sqlx::Type<Postgres>,
{
    sqlx::Row::try_get(row, at).map_err(CorpusError::fleet("reading a row"))
}

/// The sessions of one gate.
pub(super) struct Sessions {
    options: PgConnectOptions,
    kept: Mutex<Kept>,
    returned: Condvar,
}

#[derive(Default)]
struct Kept {
    free: Vec<Session>,
    lent: usize,
}

impl Sessions {
    pub(super) fn new(options: PgConnectOptions) -> Self {
        Self { options, kept: Mutex::default(), returned: Condvar::new() }
    }

    /// Lends a session.
    pub(super) fn lend(&self) -> Result<Lent<'_>, CorpusError> {
        let all_lent = |kept: &mut Kept| kept.lent >= SESSIONS_MAX;
        let waited = self.returned.wait_timeout_while(self.kept(), LENT_WITHIN, all_lent);
        let (mut kept, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            return Err(CorpusError::Full { what: "sessions", most: SESSIONS_MAX });
        }
        kept.lent += 1;
        let free = kept.free.pop();
        drop(kept);
        let was_kept = free.is_some();
        let mut lent = Lent { sessions: self, session: free, was_kept, is_whole: false };
        if lent.session.is_none() {
            lent.session = Some(Session::open(&self.options)?);
        }
        Ok(lent)
    }

    /// Runs something that has transactions of its own.
    pub(super) fn with<T>(
        &self,
        work: impl FnOnce(&mut Session) -> Result<T, CorpusError>,
    ) -> Result<T, CorpusError> {
        let work = |session: &mut Session| {
            session.patience = CHANGED_FOR;
            work(session)
        };
        self.lend()?.whole(work)
    }

    /// Runs something, and gives the session away for good if that says so.
    pub(super) fn with_kept(
        &self,
        work: impl FnOnce(&mut Session) -> Result<bool, CorpusError>,
    ) -> Result<Option<Session>, CorpusError> {
        let mut lent = self.lend_begun("SELECT 1", CHANGED_FOR)?;
        let session = lent.session.as_mut().ok_or_else(lost)?;
        match work(session)? {
            true => lent.keep().map(Some),
            false => {
                lent.is_whole = true;
                Ok(None)
            }
        }
    }

    /// Takes back a session that was given away. Its locks end.
    pub(super) fn give_back(&self, mut session: Session) {
        if session.unlock().is_ok() {
            let mut kept = self.kept();
            if kept.free.len() < SESSIONS_KEPT_MAX {
                kept.free.push(session);
            }
        }
    }

    /// Gives a session away that nobody has lost.
    pub(super) fn give(&self) -> Result<Session, CorpusError> {
        self.lend_begun("SELECT 1", CHANGED_FOR)?.keep()
    }

    /// Lends a session in which that was said. Of a kept one it is seen then whether it is lost.
    fn lend_begun(&self, begin: &str, patience: Duration) -> Result<Lent<'_>, CorpusError> {
        loop {
            let mut lent = self.lend()?;
            let session = lent.session.as_mut().ok_or_else(lost)?;
            session.patience = patience;
            match session.batch(begin) {
                Ok(()) => return Ok(lent),
                Err(error) if lent.was_kept && is_lost(&error) => {
                    // Others of its age are lost with it. A new one is not tried twice.
                    self.kept().free.clear();
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads one state of the database.
    pub(super) fn search<T>(
        &self,
        work: impl FnOnce(&mut Session) -> Result<T, CorpusError>,
    ) -> Result<T, CorpusError> {
        self.lend_begun(SEARCHING, ASKED_FOR)?.whole(|session| session.finish(work))
    }

    /// Changes the corpus in a transaction.
    pub(super) fn change<T>(
        &self,
        work: impl FnOnce(&mut Session) -> Result<T, CorpusError>,
    ) -> Result<T, CorpusError> {
        self.lend_begun(&changing(), CHANGED_FOR)?.whole(|session| session.finish(work))
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session that is lent. It is kept if all went well, and closed if not.
pub(super) struct Lent<'a> {
    sessions: &'a Sessions,
    session: Option<Session>,
    was_kept: bool,
    is_whole: bool,
}

impl Lent<'_> {
    fn whole<T>(
        mut self,
        work: impl FnOnce(&mut Session) -> Result<T, CorpusError>,
    ) -> Result<T, CorpusError> {
        let done = work(self.session.as_mut().ok_or_else(lost)?);
        self.is_whole = done.is_ok();
        done
    }

    /// Takes the session away for good.
    pub(super) fn keep(mut self) -> Result<Session, CorpusError> {
        self.session.take().ok_or_else(lost)
    }
}

/// Whether an error says that the session is of no more use, and nothing of the database.
fn is_lost(error: &CorpusError) -> bool {
    let CorpusError::Fleet { source, .. } = error else { return false };
    match source {
        // Class 57: the operator has ended the session. 25P03: it stood still for too long.
        sqlx::Error::Database(error) => {
            let code = error.code().unwrap_or_default();
            code.starts_with("57P") || code == "25P03"
        }
        _ => true,
    }
}

fn lost() -> CorpusError {
    CorpusError::fleet("lending a session")(sqlx::Error::PoolClosed)
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let mut kept = self.sessions.kept();
        kept.lent = kept.lent.saturating_sub(1);
        if self.is_whole && kept.free.len() < SESSIONS_KEPT_MAX {
            kept.free.extend(self.session.take());
        }
        self.sessions.returned.notify_one();
    }
}
