//! The corpus of one gate: a file, with an index in memory.
//!
//! One lock has the connection that writes; what serves is [indexed](crate::search) in memory, and
//! changes there in the same moment as in the file: whoever asks waits for that moment, and no
//! longer. (`stage` is the way from the file into memory, `publish` from one snapshot to the next.)

mod draft;
mod place;
mod publish;
mod read;
mod schema;
mod snapshot;
mod stage;
mod write;

pub(crate) use draft::EmbeddedDraft;
pub(crate) use read::{body, found, text, vector};

use crate::corpus::{
    ChunkNumber, CorpusError, Listing, Options, Permissions, Progress, SourceOf, SourceRow,
};
use crate::index::Index;
use crate::index::vectors::Packed;
use crate::relation::{self, Layer, Revision};
use lockgate_types::Micros;
use lockgate_types::label::Confidentiality;
use rusqlite::Connection;
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Connections that are kept for reading.
const READERS_KEPT_MAX: usize = 8;

/// A handle on it.
#[derive(Clone)]
pub(crate) struct Embedded {
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

impl Embedded {
    pub(crate) fn open(
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

    pub(crate) fn options(&self) -> &Options {
        &self.held.options
    }

    pub(crate) fn begin(
        &self,
        source: &SourceOf,
        listing: Listing,
        now: Micros,
    ) -> Result<EmbeddedDraft, CorpusError> {
        EmbeddedDraft::begin(&self.held, source, listing, now)
    }

    pub(crate) fn permit(
        &self,
        source: &str,
        layer: Layer,
        changes: &[(String, Permissions)],
    ) -> Result<Revision, CorpusError> {
        self.held.permit(source, layer, changes)
    }

    pub(crate) fn unembedded(
        &self,
        most: usize,
        ceiling: Confidentiality,
    ) -> Result<Vec<(ChunkNumber, String)>, CorpusError> {
        self.held.read(|db| read::unembedded(db, self.held.embedder, most, ceiling))
    }

    /// Writes vectors of length one.
    pub(crate) fn embed(&self, units: &[(ChunkNumber, Vec<f32>)]) -> Result<(), CorpusError> {
        let db = self.held.writer();
        let written = write::vectors(&db, self.held.embedder, units);
        written.map_err(CorpusError::database("writing vectors"))?;
        let packed: HashMap<i64, Packed> =
            units.iter().map(|(chunk, unit)| (chunk.0, Packed::of(unit))).collect();
        self.held.index_mut()?.embed(&packed);
        Ok(())
    }

    pub(crate) fn revision(&self) -> Result<Revision, CorpusError> {
        Ok(self.held.index()?.revision)
    }

    pub(crate) fn bytes_in_memory(&self) -> Result<usize, CorpusError> {
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
