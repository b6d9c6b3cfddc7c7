//! The corpus: what the sources have, as it was ingested.
//!
//! Here is its face, and the shapes of what goes in and out. What it is kept in is one of two: for
//! one gate a file with an index in memory (`embedded`), for a fleet its PostgreSQL (`fleet`),
//! which all of its gates search. Both do the same, and who asks does not see which it is.
//!
//! A connector makes a [`Draft`] of its source's next snapshot and publishes it; until then, and if
//! it is interrupted or quarantined, the last good one serves. Permissions are apart from
//! snapshots, and in force as soon as they are told. Calls wait for a disk or a database: not to be
//! made where something else waits on the same thread.

mod baton;
mod document;
mod draft;
mod error;
mod incoming;
mod place;
mod snapshot;

pub use baton::{Baton, SourceRun};
pub use document::Document;
pub(crate) use document::{Found, Texts};
pub use draft::{BUFFERED_BYTES_MAX, BUFFERED_MAX, Draft};
pub(crate) use draft::{Gathered, OfChunks, Said, Vectors};
pub use error::CorpusError;
pub use incoming::{
    Access, FOLDERS_MAX, GRANTS_MAX, Had, Incoming, Listing, NAME_BYTES_MAX, PIECE_BYTES_MAX,
    PIECES_MAX, PLACE_BYTES_MAX, Permissions, SourceOf, TAG_BYTES_MAX, TAGS_MAX, TEXT_BYTES_MAX,
    Tally, WORD_BYTES_MAX,
};
pub(crate) use incoming::{can_be, check_name, check_place, hash, with_zero};
pub use place::PLACES_READ_MAX;
pub use snapshot::{
    COMPARED_MAX, Difference, REPORT_BYTES_MAX, SNAPSHOTS_READ_MAX, Snapshot, SnapshotState,
};
pub(crate) use snapshot::{check_report, no_such_snapshot, servable};

use crate::embed::Embedder;
use crate::embedded::Embedded;
use crate::fleet::FleetCorpus;
use crate::relation::{self, Layer, Revision};
use crate::search::{Answer, Counts, Query, Stemming, Within};
use lockgate_types::Micros;
use lockgate_types::document::DocumentFacts;
use lockgate_types::label::Confidentiality;
use sqlx::postgres::PgConnectOptions;
use std::path::Path;
use std::sync::Arc;

/// Sources of one corpus.
pub const SOURCES_MAX: usize = 4096;
/// Places whose permissions are told at once.
pub const TOLD_AT_ONCE_MAX: usize = 10_000;
/// Chunks whose vectors are asked for, or given, at once.
pub const EMBEDDED_AT_ONCE_MAX: usize = 1024;

/// The end of what has no end yet.
pub(crate) const OPEN: i64 = 1 << 62;

/// A chunk's number in the corpus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkNumber(pub i64);

/// How far the index is, at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Documents that are in it.
    pub done: u64,
    /// Documents that will be.
    pub of: u64,
}

/// How texts are made comparable: a change of it counts from the next start on.
#[derive(Clone)]
pub struct Options {
    /// What makes vectors.
    pub embedder: Arc<dyn Embedder>,
    /// Which endings are taken off words.
    pub stemming: Stemming,
}

/// A source, as it is written down.
#[derive(Clone, Debug)]
pub(crate) struct SourceRow {
    pub(crate) number: i64,
    pub(crate) name: String,
    pub(crate) tenant: String,
    pub(crate) access: Access,
    pub(crate) serving: Option<u64>,
    pub(crate) newest: u64,
}

/// A handle on the corpus.
#[derive(Clone)]
pub struct Corpus(Kept);

/// What it is kept in.
#[derive(Clone)]
enum Kept {
    Embedded(Embedded),
    Fleet(FleetCorpus),
}

/// Asks whichever there is.
macro_rules! either {
    ($corpus:expr, $half:ident => $asked:expr) => {
        match &$corpus.0 {
            Kept::Embedded($half) => $asked,
            Kept::Fleet($half) => $asked,
        }
    };
}
use either;

impl Corpus {
    /// Opens the corpus of a directory, making what is missing, and builds the index. `progress` is
    /// told how far that is.
    ///
    /// # Errors
    ///
    /// If the file cannot be used.
    pub fn open(
        directory: &Path,
        options: Options,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self, CorpusError> {
        Embedded::open(directory, options, progress).map(|half| Self(Kept::Embedded(half)))
    }

    /// Opens the corpus of a fleet, making the tables that are missing. Whether the connection is
    /// encrypted, and to whom, is for whoever gives the address to see to.
    ///
    /// # Errors
    ///
    /// If the database cannot be used, or a newer program has written it.
    pub fn open_shared(address: PgConnectOptions, options: Options) -> Result<Self, CorpusError> {
        FleetCorpus::open(address, options).map(|half| Self(Kept::Fleet(half)))
    }

    /// Whether all gates of a fleet have it.
    pub const fn is_shared(&self) -> bool {
        match &self.0 {
            Kept::Embedded(_) => false,
            Kept::Fleet(_) => true,
        }
    }

    /// Whether vectors are kept and compared. `false`: a fleet's database has no pgvector, and what
    /// is found is found by its words.
    pub fn has_vectors(&self) -> bool {
        match &self.0 {
            Kept::Embedded(_) => true,
            Kept::Fleet(half) => half.has_vectors(),
        }
    }

    /// Whether vectors are made and cannot be kept: a fleet's database has no pgvector.
    pub fn lacks_vectors(&self) -> bool {
        let makes = either!(self, half => half.options().embedder.dimensions() > 0);
        makes && !self.has_vectors()
    }

    /// A draft of the source's next snapshot: the one that was left open, or a new one. One has it
    /// in hand, in a whole fleet.
    ///
    /// # Errors
    ///
    /// If another is in use, or the source is another tenant's.
    pub fn begin(
        &self,
        source: &SourceOf,
        listing: Listing,
        now: Micros,
    ) -> Result<Draft, CorpusError> {
        check_source(source)?;
        Ok(match &self.0 {
            Kept::Embedded(half) => Draft::embedded(half, half.begin(source, listing, now)?),
            Kept::Fleet(half) => Draft::fleet(half, half.begin(source, listing, now, None)?),
        })
    }

    /// The same, with a baton: what was listed under it is not told after anybody else has told who
    /// may see what of the source.
    ///
    /// # Errors
    ///
    /// As [`begin`](Self::begin).
    pub fn begin_in(
        &self,
        baton: &Baton,
        source: &SourceOf,
        listing: Listing,
        now: Micros,
    ) -> Result<Draft, CorpusError> {
        match (&self.0, baton.told()) {
            (Kept::Fleet(half), Some(told)) => {
                check_source(source)?;
                Ok(Draft::fleet(half, half.begin(source, listing, now, Some(told))?))
            }
            _ => self.begin(source, listing, now),
        }
    }

    /// Writes down what is told of folders (by their whole path) and documents (by their id). It is
    /// in force when this returns, in whatever snapshot serves, and in every gate of a fleet:
    /// nobody who asks afterwards finds what was taken away.
    ///
    /// # Errors
    ///
    /// If something is beyond a bound, or cannot be written: then nothing of it is in force.
    pub fn permit(
        &self,
        source: &str,
        layer: Layer,
        changes: &[(String, Permissions)],
    ) -> Result<Revision, CorpusError> {
        check_changes(changes)?;
        either!(self, half => half.permit(source, layer, changes))
    }

    /// The chunks that answer best, of those that may be seen.
    ///
    /// `decide` is asked about every document of which something is returned, with its facts as
    /// they are now; what it refuses is not. It must not come back to the corpus. While it is
    /// asked, permissions stand still, in a whole fleet.
    ///
    /// # Errors
    ///
    /// If the query or the filter is beyond a bound, or the corpus cannot be read.
    pub fn search(
        &self,
        query: &Query<'_>,
        decide: &mut dyn FnMut(&DocumentFacts) -> bool,
    ) -> Result<Answer, CorpusError> {
        either!(self, half => half.search(query, decide))
    }

    /// How many documents have which tag, of those that may be seen. Each is decided by itself, and
    /// of fewer than `group_min` no number is told. (Who may count twice, a document apart, learns
    /// of that document all the same.)
    ///
    /// # Errors
    ///
    /// If there are more than can be decided, or the corpus cannot be read.
    pub fn count_by_tag(
        &self,
        within: &Within<'_>,
        group_min: u64,
        decide: &mut dyn FnMut(&DocumentFacts) -> bool,
    ) -> Result<Counts, CorpusError> {
        either!(self, half => half.count_by_tag(within, group_min, decide))
    }

    /// How often, since the start, policies have refused what their filter had let through.
    pub fn disagreements(&self) -> u64 {
        either!(self, half => half.disagreements())
    }

    /// How a fleet's PostgreSQL goes about ranking the answers to a question, for operators: its
    /// plans, by words and by vectors. Nothing of any document is in them. Of a file there are
    /// none.
    ///
    /// # Errors
    ///
    /// As [`search`](Self::search). Without a filter nothing is planned.
    pub fn plans(&self, query: &Query<'_>) -> Result<Vec<String>, CorpusError> {
        match &self.0 {
            Kept::Embedded(_) => Ok(Vec::new()),
            Kept::Fleet(half) => half.plans(query),
        }
    }

    /// Chunks of what serves and is pinned that have no vector of the present embedder, with their
    /// texts: of documents that are classified no higher than that. Where vectors are not kept
    /// there are none.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub fn unembedded(
        &self,
        most: usize,
        ceiling: Confidentiality,
    ) -> Result<Vec<(ChunkNumber, String)>, CorpusError> {
        let most = most.min(EMBEDDED_AT_ONCE_MAX);
        either!(self, half => half.unembedded(most, ceiling))
    }

    /// Gives chunks their vectors. Those of chunks that are gone meanwhile are let go.
    ///
    /// # Errors
    ///
    /// If one is not a vector: then none is written.
    pub fn embed(&self, vectors: Vec<(ChunkNumber, Vec<f32>)>) -> Result<(), CorpusError> {
        let most = EMBEDDED_AT_ONCE_MAX;
        if vectors.len() > most {
            return Err(CorpusError::Full { what: "vectors at once", most });
        }
        let dimensions = either!(self, half => half.options().embedder.dimensions());
        let given = |(chunk, vector)| Ok((chunk, crate::embed::given(vector, dimensions)?));
        let units: Result<Vec<(ChunkNumber, Vec<f32>)>, _> =
            vectors.into_iter().map(given).collect();
        let units = units.map_err(CorpusError::Embedding)?;
        either!(self, half => half.embed(&units))
    }

    /// How often permissions, or what serves, have changed.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub fn revision(&self) -> Result<Revision, CorpusError> {
        either!(self, half => half.revision())
    }

    /// Bytes that words, vectors and sets take in memory, about. A fleet's corpus takes none here.
    ///
    /// # Errors
    ///
    /// If the index cannot be used any more.
    pub fn bytes_in_memory(&self) -> Result<usize, CorpusError> {
        match &self.0 {
            Kept::Embedded(half) => half.bytes_in_memory(),
            Kept::Fleet(_) => Ok(0),
        }
    }
}

fn check_source(source: &SourceOf) -> Result<(), CorpusError> {
    check_name(&source.name)?;
    check_name(&source.tenant)
}

/// Refuses what is beyond a bound.
fn check_changes(changes: &[(String, Permissions)]) -> Result<(), CorpusError> {
    if changes.len() > TOLD_AT_ONCE_MAX {
        return Err(CorpusError::Full { what: "changes at once", most: TOLD_AT_ONCE_MAX });
    }
    changes.iter().try_for_each(|(place, permissions)| {
        check_place(place)?;
        relation::check(place, permissions)
    })
}
