//! Snapshots: named, compared, pinned, rolled back to, and dropped when they are old.
//!
//! A version of a document is valid from one snapshot to another, so that a snapshot costs what has
//! changed in it. Going back is a new snapshot that has what an old one had: what happened stays
//! in order.

use super::{Corpus, CorpusError, Kept, check_name, either};
use lockgate_types::Micros;

/// Snapshots that are read at once.
pub const SNAPSHOTS_READ_MAX: usize = 1000;
/// Documents that are named of each kind of difference.
pub const COMPARED_MAX: usize = 10_000;
/// Bytes of the report of a snapshot.
pub const REPORT_BYTES_MAX: usize = 1 << 20;

/// What a source had at some time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The source.
    pub source: String,
    /// Its number within the source: 1 is the first.
    pub number: u64,
    /// What people call it.
    pub name: Option<String>,
    /// What has become of it.
    pub state: SnapshotState,
    /// Whether it is the one that serves.
    pub is_serving: bool,
    /// Whether it is kept, and searched by those tasks that ask for it.
    pub is_pinned: bool,
    /// When it was begun.
    pub begun: Micros,
    /// When it was published or quarantined.
    pub ended: Option<Micros>,
    /// What was said of its quality.
    pub report: String,
    /// Documents that it has.
    pub documents: u64,
    /// Chunks that they have.
    pub chunks: u64,
}

/// What has become of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotState {
    /// It is being made.
    Draft,
    /// It serves, or has served.
    Published,
    /// It was not good enough, and never serves.
    Quarantined,
}

impl SnapshotState {
    /// The state of a word that was written. What is none is taken for what never serves.
    pub(crate) fn from_word(word: &str) -> Self {
        match word {
            "published" => Self::Published,
            "draft" => Self::Draft,
            _ => Self::Quarantined,
        }
    }
}

/// In what one snapshot differs from another: ids of documents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Those that only the later has.
    pub added: Vec<String>,
    /// Those that are otherwise.
    pub changed: Vec<String>,
    /// Those that only the earlier has.
    pub removed: Vec<String>,
    /// Whether all are named: no list has reached [`COMPARED_MAX`].
    pub is_whole: bool,
}

impl Difference {
    pub(crate) fn of(added: Vec<String>, changed: Vec<String>, removed: Vec<String>) -> Self {
        let is_whole = [&added, &changed, &removed].iter().all(|ids| ids.len() < COMPARED_MAX);
        Self { added, changed, removed, is_whole }
    }
}

impl Corpus {
    /// The snapshots of a source, the newest first.
    ///
    /// # Errors
    ///
    /// If there is no such source.
    pub fn snapshots(&self, source: &str) -> Result<Vec<Snapshot>, CorpusError> {
        either!(self, half => half.snapshots(source))
    }

    /// In what a published snapshot differs from another.
    ///
    /// # Errors
    ///
    /// If one of them is not there, or was never published.
    pub fn compare(&self, source: &str, from: u64, to: u64) -> Result<Difference, CorpusError> {
        either!(self, half => half.compare(source, from, to))
    }

    /// Gives a snapshot a name, or takes it away. No two of a source have one name.
    ///
    /// # Errors
    ///
    /// If there is no such snapshot, or another has the name.
    pub fn name_snapshot(
        &self,
        source: &str,
        number: u64,
        name: Option<&str>,
    ) -> Result<(), CorpusError> {
        name.map_or(Ok(()), check_name)?;
        either!(self, half => half.name_snapshot(source, number, name))
    }

    /// Keeps a published snapshot, and has tasks search it that ask for it.
    ///
    /// # Errors
    ///
    /// If it is not there or was never published, or there is too much for one gate.
    pub fn pin(&self, source: &str, number: u64) -> Result<(), CorpusError> {
        either!(self, half => half.pin(source, number))
    }

    /// Lets a snapshot go its way with the others.
    ///
    /// # Errors
    ///
    /// If there is no such snapshot.
    pub fn unpin(&self, source: &str, number: u64) -> Result<(), CorpusError> {
        either!(self, half => half.unpin(source, number))
    }

    /// Has what a published snapshot had serve again, as a new snapshot. A draft that nobody has in
    /// hand is given up: it was made from what does not serve any more. Permissions do not go back.
    ///
    /// # Errors
    ///
    /// If it is not there or was never published, or a draft is in somebody's hands.
    pub fn roll_back(
        &self,
        source: &str,
        number: u64,
        report: &str,
        now: Micros,
    ) -> Result<Snapshot, CorpusError> {
        check_report(source, report)?;
        either!(self, half => half.roll_back(source, number, report, now))
    }

    /// Drops what is old: of the published snapshots that neither serve nor are pinned all but the
    /// newest `keep`, and of the quarantined ones as many. Gives back how many were dropped.
    ///
    /// # Errors
    ///
    /// If it cannot be written: what was dropped until then is dropped.
    pub fn retain(&self, source: &str, keep: usize) -> Result<u64, CorpusError> {
        either!(self, half => half.retain(source, keep))
    }

    /// Forgets a source: all its snapshots, and what anybody has said of its places. It is out of
    /// search when this returns.
    ///
    /// # Errors
    ///
    /// If there is no such source, or a draft of it is in somebody's hands.
    pub fn drop_source(&self, source: &str) -> Result<(), CorpusError> {
        either!(self, half => half.drop_source(source))
    }

    /// Gives up the draft of a source that nobody has in hand.
    ///
    /// # Errors
    ///
    /// If somebody has.
    pub fn discard_draft(&self, source: &str) -> Result<(), CorpusError> {
        either!(self, half => half.discard_draft(source))
    }
}

/// Refuses a report that is beyond its bound.
pub(crate) fn check_report(source: &str, report: &str) -> Result<(), CorpusError> {
    match report.len() > REPORT_BYTES_MAX {
        true => {
            let (id, what) = (source.to_owned(), "bytes of its report");
            Err(CorpusError::Beyond { id, what, most: REPORT_BYTES_MAX })
        }
        false => Ok(()),
    }
}

/// That a source has no such snapshot.
pub(crate) fn no_such_snapshot(source: &str, number: u64) -> CorpusError {
    CorpusError::NoSuchSnapshot { name: source.to_owned(), number }
}

/// A snapshot, if it was published.
pub(crate) fn servable(found: Snapshot) -> Result<Snapshot, CorpusError> {
    match found.state {
        SnapshotState::Published => Ok(found),
        SnapshotState::Draft | SnapshotState::Quarantined => {
            Err(CorpusError::NotServable { name: found.source, number: found.number })
        }
    }
}
