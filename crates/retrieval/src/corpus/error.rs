//! What can go wrong with the corpus, as something a caller can act on.

use crate::embed::EmbedError;
use lockgate_types::Code;
use std::path::PathBuf;

/// Why the corpus could not be opened, written or asked.
#[derive(Debug, thiserror::Error)]
pub enum CorpusError {
    /// The directory or the file could not be made.
    #[error("`{path}` cannot be used")]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The database refused: no space, no permission, a failing disk.
    #[error("the corpus's database failed while {during}; hint: check disk space and permissions")]
    Database {
        /// What was being done.
        during: &'static str,
        /// What it said.
        #[source]
        source: rusqlite::Error,
    },
    /// A fleet's database refused, or cannot be reached.
    #[error("the fleet's corpus failed while {during}; hint: check its PostgreSQL")]
    Fleet {
        /// What was being done.
        during: &'static str,
        /// What it said.
        #[source]
        source: sqlx::Error,
    },
    /// What waits for the fleet's database could not be started.
    #[error("what waits for the fleet's corpus could not be started")]
    Runtime(#[source] std::io::Error),
    /// A newer version of this program has written the database.
    #[error("the corpus has version {found}, this program knows {known}; hint: use the newer one")]
    NewerSchema {
        /// Its version.
        found: i64,
        /// The newest that is known.
        known: i64,
    },
    /// What is stored cannot be what was written.
    #[error(
        "the corpus is damaged: {what}; hint: remove its file, and have the sources read again"
    )]
    Damaged {
        /// What does not fit.
        what: &'static str,
    },
    /// A document has more of something than it may.
    #[error("`{id}` has {what} beyond {most}")]
    Beyond {
        /// The document or folder.
        id: String,
        /// Of what.
        what: &'static str,
        /// The bound.
        most: usize,
    },
    /// A document is not well formed.
    #[error("`{id}` is not well formed: {what}")]
    Malformed {
        /// The document or folder.
        id: String,
        /// What is wrong.
        what: &'static str,
    },
    /// Another draft of the source is under way.
    #[error("a snapshot of `{name}` is being made")]
    DraftInUse {
        /// The source.
        name: String,
    },
    /// It was told who may see what of the source after a draft had listed it.
    #[error("who may see what of `{name}` was told anew: what was listed before may be older")]
    ToldAnew {
        /// The source.
        name: String,
    },
    /// The source is known as another tenant's, or with permissions from elsewhere.
    #[error("`{name}` is known with another tenant or other permissions; hint: drop it first")]
    SourceDiffers {
        /// The source.
        name: String,
    },
    /// Nobody knows the source.
    #[error("there is no source `{name}`")]
    NoSuchSource {
        /// The source.
        name: String,
    },
    /// The source has no such snapshot.
    #[error("`{name}` has no snapshot {number}")]
    NoSuchSnapshot {
        /// The source.
        name: String,
        /// The snapshot.
        number: u64,
    },
    /// The snapshot has no such document.
    #[error("`{name}` has no document `{id}`")]
    NotThere {
        /// The source.
        name: String,
        /// The document.
        id: String,
    },
    /// The snapshot was never published.
    #[error("snapshot {number} of `{name}` was never published")]
    NotServable {
        /// The source.
        name: String,
        /// The snapshot.
        number: u64,
    },
    /// As many as there may be.
    #[error("there are more than {most} {what}")]
    Full {
        /// Of what.
        what: &'static str,
        /// The bound.
        most: usize,
    },
    /// A query is beyond a bound.
    #[error("the query has {what} beyond {most}")]
    Query {
        /// Of what.
        what: &'static str,
        /// The bound.
        most: usize,
    },
    /// The filter has more parts than are evaluated.
    #[error("the filter has more than {most} parts")]
    Filter {
        /// The bound.
        most: usize,
    },
    /// More documents than are decided for one count.
    #[error("there are more than {most} documents to count")]
    TooManyToCount {
        /// The bound.
        most: usize,
    },
    /// There is no vector of a text.
    #[error("a text was not embedded")]
    Embedding(#[source] EmbedError),
}

impl CorpusError {
    /// The code by which it is refused.
    pub const fn code(&self) -> Code {
        match self {
            Self::File { .. }
            | Self::Database { .. }
            | Self::Fleet { .. }
            | Self::Runtime(_)
            | Self::NewerSchema { .. }
            | Self::Damaged { .. }
            | Self::SourceDiffers { .. } => Code::CorpusFailed,
            Self::Beyond { .. } | Self::Malformed { .. } => Code::DocumentRefused,
            Self::DraftInUse { .. } => Code::DraftInUse,
            Self::ToldAnew { .. } => Code::ToldAnew,
            Self::NoSuchSource { .. } | Self::NoSuchSnapshot { .. } | Self::NotThere { .. } => {
                Code::NoSuchSnapshot
            }
            Self::NotServable { .. } => Code::NotServable,
            Self::Full { .. } => Code::CorpusFull,
            Self::Query { .. } => Code::QueryRefused,
            Self::Filter { .. } => Code::FilterTooLarge,
            Self::TooManyToCount { .. } => Code::TooManyToCount,
            Self::Embedding(_) => Code::EmbeddingFailed,
        }
    }

    pub(crate) fn database(during: &'static str) -> impl FnOnce(rusqlite::Error) -> Self {
        move |source| Self::Database { during, source }
    }

    pub(crate) fn fleet(during: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| Self::Fleet { during, source }
    }
}
