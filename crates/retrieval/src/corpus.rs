//! The corpus: what the sources have, as it was ingested, in a file of its own.
//!
//! A connector makes a [`Draft`] of its source's next snapshot and publishes it; until then, and if
//! it is interrupted or quarantined, the last good one serves. Permissions are apart from
//! snapshots, and in force as soon as they are told. One lock has the connection that writes;
//! what serves is [indexed](crate::search) in memory, and changes there in the same moment as in
//! the file: whoever asks waits for that moment, and no longer.

mod draft;
mod error;
mod incoming;
mod place;
mod publish;
mod read;
mod schema;
mod snapshot;
mod stage;
mod write;

pub use draft::{BUFFERED_BYTES_MAX, BUFFERED_MAX, Draft};
pub(crate) use draft::{OfChunks, vectors_of};
pub use error::CorpusError;
pub use incoming::{
    Access, FOLDERS_MAX, GRANTS_MAX, Had, Incoming, Listing, NAME_BYTES_MAX, PIECE_BYTES_MAX,
    PIECES_MAX, PLACE_BYTES_MAX, Permissions, SourceOf, TAG_BYTES_MAX, TAGS_MAX, TEXT_BYTES_MAX,
    Tally, WORD_BYTES_MAX,
};
pub(crate) use incoming::{IDS_READ_MAX, check, check_name, check_place};
pub use place::PLACES_READ_MAX;
pub use publish::REPORT_BYTES_MAX;
pub use read::Document;
pub(crate) use read::{Found, Texts, body, found, text, vector};
pub use snapshot::{COMPARED_MAX, Difference, SNAPSHOTS_READ_MAX, Snapshot, SnapshotState};
pub use stage::Progress;
pub(crate) use write::{OPEN, hash};

use crate::embed::Embedder;
use crate::index::Index;
use crate::index::vectors::Packed;
use crate::relation::{self, Layer, Revision};
use crate::search::words::Stemming;
use lockgate_types::Micros;
use lockgate_types::label::Confidentiality;
use rusqlite::Connection;
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Sources of one gate.
pub const SOURCES_MAX: usize = 4096;
/// Places whose permissions are told at once.
pub const TOLD_AT_ONCE_MAX: usize = 10_000;
/// Chunks whose vectors are asked for, or given, at once.
pub const EMBEDDED_AT_ONCE_MAX: usize = 1024;
/// Connections that are kept for reading.
const READERS_KEPT_MAX: usize = 8;

/// A chunk's number in the corpus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkNumber(pub i64);

/// How texts are made comparable: a change of it counts from the next start on.
#[derive(Clone)]
pub struct Options {
    /// What makes vectors.
    pub embedder: Arc<dyn Embedder>,
    /// Which endings are taken off words.
    pub stemming: Stemming,
}

/// A handle on the corpus.
#[derive(Clone)]
pub struct Corpus {
    pub(crate) held: Arc<Held>,
}

/// What handles share. Locks are taken in this order: `publishing`, `writer`, `index`, `readers`.
pub(crate) struct Held {
    directory: PathBuf,
    pub(crate) options: Options,
    pub(crate) embedder: i64,
    /// One publication after the other: what one adds is in no snapshot until it is done.
    publishing: Mutex<()>,
    writer: Mutex<Connection>,
    index: RwLock<Index>,
    readers: Mutex<Vec<Connection>>,
    /// The sources of which a draft is in somebody's hands.
    drafting: Mutex<BTreeSet<String>>,
    /// How often a policy refused what the filter had let through.
    pub(crate) disagreements: AtomicU64,
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
        let db = schema::open(directory)?;
        let named = write::embedder(&db, options.embedder.name());
        let embedder = named.map_err(CorpusError::database("naming the embedder"))?;
        let revision = relation::revision(&db);
        let revision = revision.map_err(CorpusError::database("reading its revision"))?;
        let held = Held {
            directory: directory.to_owned(),
            embedder,
            publishing: Mutex::default(),
            index: RwLock::new(Index::new(options.embedder.dimensions(), revision)),
            options,
            writer: Mutex::new(db),
            readers: Mutex::default(),
            drafting: Mutex::default(),
            disagreements: AtomicU64::new(0),
        };
        held.delete_dropped()?;
        held.build(progress)?;
        Ok(Self { held: Arc::new(held) })
    }

    /// A draft of the source's next snapshot: the one that was left open, or a new one.
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
        Draft::begin(&self.held, source, listing, now)
    }

    /// Writes down what is told of folders (by their whole path) and documents (by their id). It is
    /// in force when this returns, in whatever snapshot serves: nobody who asks afterwards finds
    /// what was taken away.
    ///
    /// # Errors
    ///
    /// If something is beyond a bound: then nothing of it is in force.
    pub fn permit(
        &self,
        source: &str,
        layer: Layer,
        changes: &[(String, Permissions)],
    ) -> Result<Revision, CorpusError> {
        self.held.permit(source, layer, changes)
    }

    /// Chunks of what serves and is pinned that have no vector of the present embedder, with their
    /// texts: of documents that are classified no higher than that.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    pub fn unembedded(
        &self,
        most: usize,
        ceiling: Confidentiality,
    ) -> Result<Vec<(ChunkNumber, String)>, CorpusError> {
        let most = most.min(EMBEDDED_AT_ONCE_MAX);
        self.held.read(|db| read::unembedded(db, self.held.embedder, most, ceiling))
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
        let dimensions = self.held.options.embedder.dimensions();
        let given = |(chunk, vector)| Ok((chunk, crate::embed::given(vector, dimensions)?));
        let units: Result<Vec<(ChunkNumber, Vec<f32>)>, _> =
            vectors.into_iter().map(given).collect();
        let units = units.map_err(CorpusError::Embedding)?;
        let db = self.held.writer();
        let written = write::vectors(&db, self.held.embedder, &units);
        written.map_err(CorpusError::database("writing vectors"))?;
        let packed: HashMap<i64, Packed> =
            units.iter().map(|(chunk, unit)| (chunk.0, Packed::of(unit))).collect();
        self.held.index_mut()?.embed(&packed);
        Ok(())
    }

    /// How often permissions, or what serves, have changed.
    ///
    /// # Errors
    ///
    /// If the index cannot be used any more.
    pub fn revision(&self) -> Result<Revision, CorpusError> {
        Ok(self.held.index()?.revision)
    }

    /// Bytes that words, vectors and sets take in memory, about.
    ///
    /// # Errors
    ///
    /// If the index cannot be used any more.
    pub fn bytes_in_memory(&self) -> Result<usize, CorpusError> {
        Ok(self.held.index()?.bytes())
    }
}

impl Held {
    fn permit(
        &self,
        source: &str,
        layer: Layer,
        changes: &[(String, Permissions)],
    ) -> Result<Revision, CorpusError> {
        if changes.len() > TOLD_AT_ONCE_MAX {
            return Err(CorpusError::Full { what: "changes at once", most: TOLD_AT_ONCE_MAX });
        }
        for (place, permissions) in changes {
            incoming::check_place(place)?;
            relation::check(place, permissions)?;
        }
        let mut db = self.writer();
        let source = write::known_source(&db, source)?;
        self.tell(&mut db, &source, layer, changes)
    }

    /// Tells in the file and in the index in one moment.
    pub(crate) fn tell(
        &self,
        db: &mut Connection,
        source: &SourceRow,
        layer: Layer,
        changes: &[(String, Permissions)],
    ) -> Result<Revision, CorpusError> {
        let failed = || CorpusError::database("writing permissions");
        let transaction = db.transaction().map_err(failed())?;
        let written = write::tell(&transaction, source, layer, changes);
        let (revision, changes) = written.map_err(failed())?;
        let mut index = self.index_mut()?;
        transaction.commit().map_err(failed())?;
        index.revision = revision;
        for (place, old, new) in &changes {
            index.places.tell((source.number, source.access), place, layer, old, new);
        }
        Ok(revision)
    }

    /// The source, which somebody has begun a draft of.
    pub(crate) fn source(&self, name: &str) -> Result<SourceRow, CorpusError> {
        let found = self.read(|db| write::find_source(db, name))?;
        found.ok_or_else(|| CorpusError::NoSuchSource { name: name.to_owned() })
    }

    pub(crate) fn writer(&self) -> MutexGuard<'_, Connection> {
        // A transaction that a panic has left was rolled back when it was dropped.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn index(&self) -> Result<RwLockReadGuard<'_, Index>, CorpusError> {
        self.index.read().map_err(|_| HALF_CHANGED)
    }

    pub(crate) fn index_mut(&self) -> Result<RwLockWriteGuard<'_, Index>, CorpusError> {
        self.index.write().map_err(|_| HALF_CHANGED)
    }

    /// Reads from the file what was committed last.
    pub(crate) fn read<T>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, CorpusError> {
        self.reading(|db| read(db).map_err(CorpusError::database("reading it")))
    }

    /// Lends a connection that reads.
    pub(crate) fn reading<T>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, CorpusError>,
    ) -> Result<T, CorpusError> {
        let kept = self.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let db = kept.map_or_else(|| schema::reader(&self.directory), Ok)?;
        let found = read(&db)?;
        let mut kept = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < READERS_KEPT_MAX {
            kept.push(db);
        }
        Ok(found)
    }

    /// Takes the draft of a source in hand.
    fn take(&self, source: &str) -> Result<InHand<'_>, CorpusError> {
        let mut drafting = self.drafting.lock().unwrap_or_else(PoisonError::into_inner);
        match drafting.insert(source.to_owned()) {
            true => Ok(InHand { held: self, source: source.to_owned() }),
            false => Err(CorpusError::DraftInUse { name: source.to_owned() }),
        }
    }

    fn release(&self, source: &str) {
        self.drafting.lock().unwrap_or_else(PoisonError::into_inner).remove(source);
    }
}

/// The draft of a source, while something is done to the source that none may be in the way of.
struct InHand<'a> {
    held: &'a Held,
    source: String,
}

impl Drop for InHand<'_> {
    fn drop(&mut self) {
        self.held.release(&self.source);
    }
}

/// A panic in the middle of a change: what is shared to whom is not certain any more.
const HALF_CHANGED: CorpusError =
    CorpusError::Damaged { what: "a change of the index has not come to its end" };
