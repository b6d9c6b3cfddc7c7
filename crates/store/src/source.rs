//! Runs of sources of documents, in the log of the tenant whose source it is.
//!
//! They are no state of the store's: what sources have is kept in the corpus, which is a file of
//! its own.

use crate::error::StoreError;
use crate::job::{Change, Rejected, Write, Written};
use crate::leaf;
use crate::shard::Whose;
use crate::store::Store;
use crate::writer::Writer;
use lockgate_types::{CallId, Code, Digest, Tenant};

/// A run of a source, as it is recorded.
#[derive(Clone, Debug)]
pub struct RunOfSource {
    /// The source.
    pub source: String,
    /// Whose it is.
    pub tenant: Tenant,
    /// The call to the admin API that asked for it. `None`: it was due.
    pub by: Option<CallId>,
    /// What became of it.
    pub verdict: SourceVerdict,
    /// The snapshot that it made.
    pub snapshot: Option<u64>,
    /// How the source has changed.
    pub counts: Option<SourceCounts>,
    /// The digest of its quality report, as the corpus keeps it.
    pub report: Option<Digest>,
}

/// What became of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceVerdict {
    /// Its snapshot serves.
    Published,
    /// Its snapshot does not serve: the last good one does.
    Quarantined,
    /// There was no run: a person has an old snapshot serve again.
    RolledBack,
    /// It has not come to its end.
    Failed(Code),
}

impl SourceVerdict {
    /// The word in the entry.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Quarantined => "quarantined",
            Self::RolledBack => "rolled_back",
            Self::Failed(_) => "failed",
        }
    }
}

/// How many documents are what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceCounts {
    /// That were not there before.
    pub added: u64,
    /// That are otherwise than before.
    pub changed: u64,
    /// That are as they were.
    pub kept: u64,
    /// That are gone.
    pub removed: u64,
    /// That could not be read.
    pub refused: u64,
    /// That were left out, since they give orders.
    pub withheld: u64,
}

impl Store {
    /// Records a run of a source. Does not wait: what is recorded after this comes after it in the
    /// log. How many there can be is bounded by how many run at once.
    pub fn note_source(&self, run: RunOfSource) -> Result<(), StoreError> {
        self.queue().end(Write::new(Change::Source(Box::new(run)), None))
    }
}

impl Writer {
    /// Writes it, within the transaction of its batch.
    pub(crate) fn source(
        &mut self,
        run: &RunOfSource,
    ) -> Result<Result<Written, Rejected>, StoreError> {
        let now = self.now();
        let receipt =
            self.append(Whose::Tenant(&run.tenant), &leaf::source::source(run, now), now)?;
        Ok(Ok(Written::Entry(receipt)))
    }
}
