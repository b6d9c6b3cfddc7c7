//! What a run hands documents to: the store of snapshots, as far as a run needs it.

use crate::corpus::{Incoming, Permissions};
use crate::quality::{Verdict, Volume};
use lockgate_types::{Code, Digest, Micros};

/// Why a draft cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the draft cannot be written: {why}")]
pub struct DraftError {
    /// The code of the failure.
    pub code: Code,
    /// What is wrong.
    pub why: String,
}

/// What is there of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Had {
    /// Of what was read at its source.
    pub fingerprint: Digest,
    /// When it was changed there.
    pub changed: Micros,
}

/// Where drafts are made.
pub trait Destination {
    /// Begins the next snapshot, or goes on with the one that is open. `is_whole`: what is neither
    /// put nor kept is gone.
    fn begin(&mut self, is_whole: bool, now: Micros) -> Result<Box<dyn Draft>, DraftError>;
}

/// A snapshot under way.
pub trait Draft {
    /// Its number.
    fn snapshot(&self) -> u64;
    /// What is there of a document: in the draft, else in the snapshot it is made from.
    fn had(&mut self, id: &str) -> Result<Option<Had>, DraftError>;
    /// The ids of what serves beneath a document, in order.
    fn beneath(&mut self, id: &str) -> Result<Vec<String>, DraftError>;
    /// A document that is new or otherwise. The last one of an id counts.
    fn put(&mut self, document: Incoming) -> Result<(), DraftError>;
    /// It is as it was; `confirmed`: when that was seen.
    fn keep(&mut self, id: &str, confirmed: Micros) -> Result<(), DraftError>;
    /// It is gone. One that is not there is gone already.
    fn remove(&mut self, id: &str) -> Result<(), DraftError>;
    /// To whom folders and documents are shared: in force when it returns.
    fn permit(&mut self, changes: &[(String, Permissions)]) -> Result<(), DraftError>;
    /// Writes what is buffered.
    fn flush(&mut self) -> Result<(), DraftError>;
    /// How the source has changed, as if it ended now.
    fn volume(&mut self) -> Result<Volume, DraftError>;
    /// Serves from now on, or never. The report is kept with it.
    fn finish(
        self: Box<Self>,
        verdict: Verdict,
        report: &str,
        now: Micros,
    ) -> Result<(), DraftError>;
}
