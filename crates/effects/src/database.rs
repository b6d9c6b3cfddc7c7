//! An upstream that is a database: its operations are statements.
//!
//! `plan` is what a bundle says of one, with its grants parsed; reading a statement and preparing
//! one to be run are pure. `perform` runs what a recorded decision allows, under the obligations of
//! that decision: they become part of the statement, so that nothing has to be taken out of an
//! answer. `tools` is how statements look as tools of the protocol. What is unsafe in a statement
//! is known by `sql`, and not here.

mod mistakes;
mod perform;
mod plan;
mod tools;

pub use mistakes::load;
pub use perform::FILTERED_META;
pub(crate) use perform::perform;
pub(crate) use plan::Plan;

use crate::credential::Source;
use crate::sql::{
    Answer, Change, Checked, PostgresDatabase, RoleFinding, RunBounds, RunError, SqliteDatabase,
};
use crate::trouble::Trouble;
use crate::upstream::{Upstream, Way};
use lockgate_core::declare::{self, DialectWord, Secret};
use lockgate_core::network::Network;
use lockgate_types::{Code, Digest, Redacted};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::OnceCell;

/// A database of one bundle.
pub(crate) struct Database {
    /// The bundle that described it: a call that was decided under another does not come here.
    pub(crate) bundle: Digest,
    pub(crate) plan: Plan,
    reader: Door,
    /// The same with a role that may write. `None`: nothing is changed here.
    writer: Option<Door>,
}

/// The way to a database with one role: by the address that its secret says now.
struct Door {
    dialect: DialectWord,
    /// Networks it may be in although they are not public.
    allowed: Vec<Network>,
    bounds: RunBounds,
    address: Source,
    open: Mutex<Option<Arc<Opened>>>,
}

/// A database at one address.
struct Opened {
    address: Redacted<Arc<str>>,
    executor: Executor,
    /// What its role may do beyond reading, once that is known.
    rights: OnceCell<Vec<RoleFinding>>,
}

/// What runs statements.
enum Executor {
    Postgres(PostgresDatabase),
    Sqlite(SqliteDatabase),
}

impl Database {
    /// A database; nothing is connected yet.
    pub(crate) fn new(
        bundle: Digest,
        plan: Plan,
        declared: &declare::Database,
        allowed: &[Network],
        timeout: Duration,
    ) -> Self {
        let bounds = RunBounds { time: timeout, ..RunBounds::default() };
        let door = |address: &Secret| Door {
            dialect: declared.dialect,
            allowed: allowed.to_vec(),
            bounds,
            address: Source::new(address),
            open: Mutex::default(),
        };
        let (reader, writer) = (door(&declared.address), declared.write_address.as_ref().map(door));
        Self { bundle, plan, reader, writer }
    }

    /// What of the declaration the database does not bear out: tables and columns that are not
    /// there, and rights beyond reading.
    pub(crate) async fn findings(&self) -> Result<Vec<String>, Trouble> {
        let opened = self.reader.open().await?;
        let executor = &opened.executor;
        let mut found = Vec::new();
        for (table, checked) in self.plan.looks() {
            match executor.run(&checked).await {
                Ok(_) => {}
                Err(RunError::Unreachable { detail }) => {
                    return Err(Trouble::before(Code::UpstreamUnreachable, detail));
                }
                Err(RunError::NotAllowed { detail }) => {
                    return Err(Trouble::before(Code::AddressRefused, detail));
                }
                Err(error) => found.push(format!("`{table}` cannot be read as declared: {error}")),
            }
        }
        if let Executor::Postgres(database) = executor {
            let rights = database.inspect(&self.plan.open).await.unwrap_or_default();
            found.extend(rights.iter().map(ToString::to_string));
        }
        Ok(found)
    }

    /// What runs queries. PostgreSQL's role is looked at once: one that may write is not used, so
    /// that whatever gets past the check still finds nothing that it could change.
    async fn reader(&self) -> Result<Arc<Opened>, Trouble> {
        let opened = self.reader.open().await?;
        let Executor::Postgres(database) = &opened.executor else { return Ok(opened) };
        let rights = opened.rights.get_or_try_init(|| database.inspect(&self.plan.open)).await;
        let rights = rights.map_err(|error| match error {
            RunError::NotAllowed { detail } => Trouble::before(Code::AddressRefused, detail),
            error => unreachable(&error.to_string()),
        })?;
        match rights.iter().find(|finding| finding.is_more_than_reading()) {
            None => Ok(Arc::clone(&opened)),
            Some(finding) => {
                let detail = format!("{finding}: hint: use a role that only reads");
                Err(Trouble::before(Code::StatementFailed, detail))
            }
        }
    }

    async fn writer(&self) -> Result<Arc<Opened>, Trouble> {
        match &self.writer {
            Some(writer) => writer.open().await,
            None => Err(unreachable("there is no `write_address`")),
        }
    }
}

impl Door {
    /// The database at the address of now. Another address is another database.
    async fn open(&self) -> Result<Arc<Opened>, Trouble> {
        let address = self.address.read().await.map_err(|why| {
            Trouble::before(Code::SecretUnreadable, format!("the database's address: {why}"))
        })?;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(opened) = open.as_ref().filter(|opened| opened.address == address) {
            return Ok(Arc::clone(opened));
        }
        let executor = Executor::new(self.dialect, &address, (&self.allowed, self.bounds));
        let executor = executor.map_err(|reason| unreachable(&reason))?;
        let opened = Arc::new(Opened { address, executor, rights: OnceCell::new() });
        *open = Some(Arc::clone(&opened));
        Ok(opened)
    }
}

fn unreachable(reason: &str) -> Trouble {
    Trouble::before(Code::UpstreamUnreachable, reason.to_owned())
}

impl Executor {
    fn new(
        dialect: DialectWord,
        address: &Redacted<Arc<str>>,
        (allowed, bounds): (&[Network], RunBounds),
    ) -> Result<Self, String> {
        let address = address.expose();
        if dialect == DialectWord::Sqlite {
            return Ok(Self::Sqlite(SqliteDatabase::new(Path::new(&**address), bounds)));
        }
        let database = PostgresDatabase::at(&Redacted::new(address.to_string()), allowed, bounds);
        database.map(Self::Postgres).map_err(|error| error.to_string())
    }

    async fn change(&self, change: &Change, changed_max: u32) -> Result<u64, RunError> {
        match self {
            Self::Postgres(database) => database.change(change, changed_max).await,
            Self::Sqlite(database) => database.change(change, changed_max).await,
        }
    }

    async fn run(&self, checked: &Checked) -> Result<Answer, RunError> {
        match self {
            Self::Postgres(database) => database.run(checked).await,
            Self::Sqlite(database) => database.run(checked).await,
        }
    }
}

/// Looks whether a database is as it is declared, beside: nobody waits for it.
pub(crate) fn look_at(upstream: &Arc<Upstream>) {
    let upstream = Arc::clone(upstream);
    tokio::spawn(async move {
        let Way::Database(database) = &upstream.way else { return };
        let trouble = match database.findings().await {
            Ok(findings) if findings.is_empty() => return upstream.pulse.is_well(),
            Ok(findings) => Trouble::before(Code::UpstreamProtocol, findings.join("; ")),
            Err(trouble) => trouble,
        };
        let detail = trouble.detail.as_str();
        tracing::warn!(upstream = %upstream.name, detail, "a database is not as it is declared");
        upstream.pulse.is_unwell(&trouble);
    });
}
