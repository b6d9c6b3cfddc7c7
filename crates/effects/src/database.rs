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

use crate::sql::{
    Answer, Change, Checked, PostgresDatabase, RoleFinding, RunBounds, RunError, SqliteDatabase,
};
use crate::trouble::Trouble;
use crate::upstream::{Upstream, Way};
use lockgate_core::declare::{self, DialectWord};
use lockgate_types::{Code, Digest, Redacted};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OnceCell;

/// Bytes of a file that holds the address of a database.
const ADDRESS_BYTES_MAX: u64 = 4096;

/// A database of one bundle.
pub(crate) struct Database {
    /// The bundle that described it: a call that was decided under another does not come here.
    pub(crate) bundle: Digest,
    pub(crate) plan: Plan,
    /// `Err`: it cannot be reached as it is configured, and why.
    reader: Result<Executor, String>,
    /// What the role of the reader may do beyond reading, once that is known.
    rights: OnceCell<Vec<RoleFinding>>,
    /// The same with a role that may write. `None`: nothing is changed here.
    writer: Option<Result<Executor, String>>,
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
        timeout: Duration,
    ) -> Self {
        let bounds = RunBounds { time: timeout, ..RunBounds::default() };
        let open = |address: &String| Executor::new(declared.dialect, address, bounds);
        let (reader, writer) = (open(&declared.address), declared.write_address.as_ref().map(open));
        Self { bundle, plan, reader, rights: OnceCell::new(), writer }
    }

    /// What of the declaration the database does not bear out: tables and columns that are not
    /// there, and rights beyond reading.
    pub(crate) async fn findings(&self) -> Result<Vec<String>, Trouble> {
        let executor = self.reader.as_ref().map_err(|reason| unreachable(reason))?;
        let mut found = Vec::new();
        for (table, checked) in self.plan.looks() {
            match executor.run(&checked).await {
                Ok(_) => {}
                Err(RunError::Unreachable { detail }) => {
                    return Err(Trouble::before(Code::UpstreamUnreachable, detail));
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
    async fn reader(&self) -> Result<&Executor, Trouble> {
        let executor = self.reader.as_ref().map_err(|reason| unreachable(reason))?;
        let Executor::Postgres(database) = executor else { return Ok(executor) };
        let rights = self.rights.get_or_try_init(|| database.inspect(&self.plan.open)).await;
        let rights = rights.map_err(|error| unreachable(&error.to_string()))?;
        match rights.iter().find(|finding| finding.is_more_than_reading()) {
            None => Ok(executor),
            Some(finding) => {
                let detail = format!("{finding}: hint: use a role that only reads");
                Err(Trouble::before(Code::StatementFailed, detail))
            }
        }
    }

    fn writer(&self) -> Result<&Executor, Trouble> {
        match &self.writer {
            Some(writer) => writer.as_ref().map_err(|reason| unreachable(reason)),
            None => Err(unreachable("there is no `write_address`")),
        }
    }
}

fn unreachable(reason: &str) -> Trouble {
    Trouble::before(Code::UpstreamUnreachable, reason.to_owned())
}

impl Executor {
    fn new(dialect: DialectWord, address: &str, bounds: RunBounds) -> Result<Self, String> {
        if dialect == DialectWord::Sqlite {
            return Ok(Self::Sqlite(SqliteDatabase::new(Path::new(address), bounds)));
        }
        let database = PostgresDatabase::at(&secret(address)?, bounds);
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

/// The address of a database, from where the declaration says it is.
fn secret(declared: &str) -> Result<Redacted<String>, String> {
    if let Some(variable) = declared.strip_prefix("env:") {
        return std::env::var(variable)
            .map(Redacted::new)
            .map_err(|_| format!("the environment variable `{variable}` is not set"));
    }
    let Some(path) = declared.strip_prefix("file:") else {
        return Ok(Redacted::new(declared.to_owned()));
    };
    let size = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    if size > ADDRESS_BYTES_MAX {
        return Err(format!("the file `{path}` is longer than {ADDRESS_BYTES_MAX} bytes"));
    }
    let text = std::fs::read_to_string(path);
    text.map(|text| Redacted::new(text.trim().to_owned()))
        .map_err(|_| format!("the file `{path}` cannot be read"))
}
