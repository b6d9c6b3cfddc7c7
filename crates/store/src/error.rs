//! What can go wrong with the record, as something a caller can act on.

use crate::db::DbError;
use lockgate_types::Code;
use lockgate_types::facts::Facts;
use std::path::PathBuf;
use std::sync::Arc;

/// Why the record could not be written or read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The database refused: no space, no permission, a failing disk.
    #[error("the database failed while {during}; hint: check disk space, permissions, connection")]
    Database {
        /// What was being done.
        during: &'static str,
        /// What it said. Shared: every call of a failed batch gets it.
        #[source]
        source: Arc<DbError>,
    },
    /// The address of a fleet's database is none.
    #[error("the address of the store is not `postgres://role@host/database`")]
    Address,
    /// What waits for a fleet's database could not be started.
    #[error("the way to the database cannot be started")]
    Runtime(#[source] Arc<std::io::Error>),
    /// A file beside the database could not be used.
    #[error("`{path}` cannot be used: {problem}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What was being done.
        problem: &'static str,
        /// What the system said.
        #[source]
        source: Option<Arc<std::io::Error>>,
    },
    /// The bounded queue of the committer is full.
    #[error("more than {max} records wait to be written")]
    Overloaded {
        /// The bound.
        max: usize,
    },
    /// Too many requests are being turned away to record each of them; they are counted.
    #[error("more than {max} requests were turned away within a second")]
    TurnedAwayTooMany {
        /// The bound.
        max: u32,
    },
    /// Another process holds the state directory.
    #[error("another gate already writes `{directory}`; hint: stop it, or use another directory")]
    AnotherWriter {
        /// The state directory.
        directory: PathBuf,
    },
    /// The database has fewer entries than a checkpoint that was already signed.
    #[error(
        "the ledger has {found} entries, but {signed} were signed; hint: restore the newest state"
    )]
    Behind {
        /// Entries in the database.
        found: u64,
        /// Entries in the newest checkpoint that was signed.
        signed: u64,
    },
    /// What is stored is not what was logged.
    #[error(
        "the ledger does not verify: {problem}; hint: keep the directory, run `lockgate verify`"
    )]
    Corrupt {
        /// The entry, if one can be named.
        index: Option<u64>,
        /// What does not fit.
        problem: String,
    },
    /// A newer version of this program has written the database.
    #[error(
        "the database has version {found}, this program knows {known}; hint: use the newer one"
    )]
    NewerSchema {
        /// Version of the database.
        found: i64,
        /// Newest version known here.
        known: i64,
    },
    /// The log was begun under another name.
    #[error("this log is `{found}`, not `{asked}`; hint: keep its name, or use another directory")]
    OtherOrigin {
        /// The name in the database.
        found: String,
        /// The name in the options.
        asked: String,
    },
    /// The committer has stopped.
    #[error("the store is closed")]
    Closed,
    /// A rule of the gate's own was broken; nothing was done.
    #[error("an invariant was broken: {rule}")]
    Broken {
        /// The rule.
        rule: &'static str,
    },
}

impl StoreError {
    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::Database { .. }
            | Self::Address
            | Self::Runtime(_)
            | Self::File { .. }
            | Self::Closed => Code::StoreUnavailable,
            Self::Overloaded { .. } | Self::TurnedAwayTooMany { .. } => Code::Overloaded,
            Self::AnotherWriter { .. } => Code::AnotherWriter,
            Self::Behind { .. } => Code::LedgerBehind,
            Self::Corrupt { .. } | Self::OtherOrigin { .. } | Self::NewerSchema { .. } => {
                Code::LedgerCorrupt
            }
            Self::Broken { .. } => Code::InvariantBroken,
        }
    }

    pub(crate) fn database<E: Into<DbError>>(during: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::Database { during, source: Arc::new(source.into()) }
    }

    pub(crate) fn file(
        path: &std::path::Path,
        problem: &'static str,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path, problem, source: Some(Arc::new(source)) }
    }

    pub(crate) fn corrupt(index: Option<u64>, problem: impl ToString) -> Self {
        Self::Corrupt { index, problem: problem.to_string() }
    }
}

/// Why an allowed call got no permit.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The session changed since the facts were gathered, or another bundle rules: gather and
    /// decide again.
    #[error("the session or the bundle changed since the facts were gathered")]
    Moved(Box<Facts>),
    /// The same effect was asked for before: decide again, knowing so. The facts say what is known.
    #[error("the same effect was asked for before")]
    Repeats(Box<Facts>),
    /// A cap has no room for this: decide again, knowing so. The facts say which.
    #[error("a cap has no room for this")]
    Exhausted(Box<Facts>),
    /// The same effect is being performed: its outcome can be waited for.
    #[error("the same effect is being performed")]
    UnderWay(Box<Facts>),
    /// The decision could not be recorded, so nothing may be done.
    #[error("the decision could not be recorded")]
    Failed(#[source] StoreError),
}

impl CommitError {
    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::Moved(_) | Self::Repeats(_) => Code::FactsMoved,
            Self::Exhausted(_) => Code::CapReached,
            Self::UnderWay(_) => Code::EffectUnderWay,
            Self::Failed(error) => error.code(),
        }
    }
}
