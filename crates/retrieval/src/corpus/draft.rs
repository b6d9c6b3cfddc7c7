//! A snapshot under way.
//!
//! What a connector says is gathered and written in batches: each is whole or not there. A draft
//! that is let go of stays open, and whoever begins one of the source goes on with it. What it says
//! of permissions is in force at once; what it says of documents when it is published.

use super::incoming::{self, Had, Incoming, Listing, Permissions, SourceOf, Tally};
use super::snapshot::Snapshot;
use super::{CorpusError, Held, SourceRow, publish, read, write};
use crate::embed::Embedder;
use crate::relation::{self, Layer, Revision, WAITING, narrower};
use lockgate_types::Micros;
use rusqlite::{Connection, OptionalExtension as _, params};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Documents that are gathered before they are written.
pub const BUFFERED_MAX: usize = 256;
/// Bytes of their texts.
pub const BUFFERED_BYTES_MAX: usize = 8 << 20;

/// A snapshot under way.
pub struct Draft {
    held: Arc<Held>,
    source: SourceRow,
    snapshot: u64,
    is_resumed: bool,
    now: Micros,
    gathered: BTreeMap<String, Said>,
    gathered_bytes: usize,
}

/// The vectors of a document's chunks.
pub(crate) type OfChunks = Vec<Option<Vec<f32>>>;

/// What is said of a document.
enum Said {
    Is(Box<Incoming>),
    IsAsItWas(Micros),
    IsGone,
}

impl Draft {
    pub(super) fn begin(
        held: &Arc<Held>,
        of: &SourceOf,
        listing: Listing,
        now: Micros,
    ) -> Result<Self, CorpusError> {
        incoming::check_name(&of.name)?;
        incoming::check_name(&of.tenant)?;
        let in_hand = held.take(&of.name)?;
        let (source, snapshot, is_resumed) = open(&held.writer(), of, listing, now)?;
        // From here on it is this draft that lets go of it.
        std::mem::forget(in_hand);
        let (held, gathered) = (Arc::clone(held), BTreeMap::new());
        Ok(Self { held, source, snapshot, is_resumed, now, gathered, gathered_bytes: 0 })
    }

    /// Its number within its source.
    pub const fn snapshot(&self) -> u64 {
        self.snapshot
    }

    /// Whether it goes on with one that was left open.
    pub const fn is_resumed(&self) -> bool {
        self.is_resumed
    }

    /// What is there of a document: in this draft, or else in the snapshot that it is made from.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    pub fn had(&mut self, id: &str) -> Result<Option<Had>, CorpusError> {
        if let Some(Said::Is(incoming)) = self.gathered.get(id) {
            let (fingerprint, changed) = (incoming.fingerprint, incoming.facts.changed);
            return Ok(Some(Had { fingerprint, changed, is_in_draft: true }));
        }
        let is_said = self.gathered.contains_key(id);
        let found = self.held.read(|db| read::had(db, self.source.number, self.snapshot, id))?;
        Ok(found.map(|had| Had { is_in_draft: had.is_in_draft || is_said, ..had }))
    }

    /// The ids of the snapshot that it is made from, after one, in order.
    ///
    /// # Errors
    ///
    /// If the file cannot be read.
    pub fn ids(&mut self, after: Option<&str>, most: usize) -> Result<Vec<String>, CorpusError> {
        let most = most.min(incoming::IDS_READ_MAX);
        self.held.read(|db| read::ids(db, self.source.number, after, most))
    }

    /// Says what a document is. The last that is said of one counts.
    ///
    /// Permissions that narrow are in force when it is written, those that widen when the draft is
    /// published: until then an old text serves.
    ///
    /// # Errors
    ///
    /// If it is beyond a bound or not well formed: then nothing is said of it.
    pub fn put(&mut self, mut incoming: Incoming) -> Result<(), CorpusError> {
        incoming.facts.source.clone_from(&self.source.name);
        incoming.facts.tenant.clone_from(&self.source.tenant);
        incoming::check(&incoming)?;
        if let Some(Said::Is(before)) = self.gathered.remove(&incoming.facts.id) {
            incoming.permissions = incoming.permissions.or(before.permissions);
        }
        self.gathered_bytes = self.gathered_bytes.saturating_add(incoming.text.len());
        self.gathered.insert(incoming.facts.id.clone(), Said::Is(Box::new(incoming)));
        self.flush_if_full()
    }

    /// Says that a document is as it was, as was seen at that time: as this draft has it, if it
    /// does, else as it serves.
    ///
    /// # Errors
    ///
    /// If neither has it.
    pub fn keep(&mut self, id: &str, confirmed: Micros) -> Result<(), CorpusError> {
        if let Some(Said::Is(incoming)) = self.gathered.get_mut(id) {
            incoming.facts.confirmed = confirmed;
            return Ok(());
        }
        if self.had(id)?.is_none() {
            return Err(self.not_there(id));
        }
        self.gathered.insert(id.to_owned(), Said::IsAsItWas(confirmed));
        self.flush_if_full()
    }

    /// Says that a document is gone: from search when the draft is published. (To hide it at once,
    /// [permit](Self::permit) that nothing is known of it.)
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn remove(&mut self, id: &str) -> Result<(), CorpusError> {
        incoming::check_place(id)?;
        self.gathered.insert(id.to_owned(), Said::IsGone);
        self.flush_if_full()
    }

    /// Says to whom folders and documents are shared: in force when it returns, also in the
    /// snapshot that serves.
    ///
    /// # Errors
    ///
    /// If something is beyond a bound: then nothing of it is in force.
    pub fn permit(&mut self, changes: &[(String, Permissions)]) -> Result<Revision, CorpusError> {
        // What was said before of one of them does not come after.
        self.flush()?;
        self.held.permit(&self.source.name, Layer::Synced, changes)
    }

    /// Writes what is gathered: it is there when the gate crashes.
    ///
    /// # Errors
    ///
    /// If it cannot be written. It stays gathered, and can be written again.
    pub fn flush(&mut self) -> Result<(), CorpusError> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let vectors = self.vectors()?;
        let mut db = self.held.writer();
        self.permit_gathered(&mut db)?;
        self.write_gathered(&mut db, &vectors).map_err(CorpusError::database("writing a draft"))?;
        drop(db);
        self.gathered.clear();
        self.gathered_bytes = 0;
        Ok(())
    }

    /// How much it has: as if it were published now.
    ///
    /// # Errors
    ///
    /// If it cannot be written or read.
    pub fn tally(&mut self) -> Result<Tally, CorpusError> {
        self.flush()?;
        self.held.read(|db| read::tally(db, self.source.number, self.snapshot))
    }

    /// Has it serve, from when this returns. `report` says how good it is.
    ///
    /// # Errors
    ///
    /// If it cannot be written, or there is too much for one gate: then the last one serves on, and
    /// the draft stays open.
    pub fn publish(mut self, report: &str, now: Micros) -> Result<Snapshot, CorpusError> {
        self.flush()?;
        publish::publish(&self.held, &self.source.name, self.snapshot, report, now)
    }

    /// Has it never serve. It is kept to be looked at, and the last one serves on.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn quarantine(mut self, report: &str, now: Micros) -> Result<Snapshot, CorpusError> {
        self.flush()?;
        publish::quarantine(&self.held, &self.source.name, self.snapshot, report, now)
    }

    /// Gives it up.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn discard(mut self) -> Result<(), CorpusError> {
        self.gathered.clear();
        publish::discard(&self.held, &self.source.name, self.snapshot)
    }

    fn flush_if_full(&mut self) -> Result<(), CorpusError> {
        let is_full =
            self.gathered.len() >= BUFFERED_MAX || self.gathered_bytes >= BUFFERED_BYTES_MAX;
        if is_full { self.flush() } else { Ok(()) }
    }

    fn not_there(&self, id: &str) -> CorpusError {
        CorpusError::NotThere { name: self.source.name.clone(), id: id.to_owned() }
    }

    fn vectors(&self) -> Result<BTreeMap<String, OfChunks>, CorpusError> {
        let embedder = &self.held.options.embedder;
        let mut vectors = BTreeMap::new();
        for (id, said) in &self.gathered {
            let Said::Is(incoming) = said else { continue };
            vectors.insert(id.clone(), vectors_of(&**embedder, incoming)?);
        }
        Ok(vectors)
    }

    /// First what takes away, so that no crash lies between a new text and its permissions.
    fn permit_gathered(&self, db: &mut Connection) -> Result<(), CorpusError> {
        let (mut at_once, mut waiting) = (Vec::new(), Vec::new());
        for (id, said) in &self.gathered {
            let Said::Is(incoming) = said else { continue };
            let Some(new) = &incoming.permissions else { continue };
            let old = relation::told(db, self.source.number, id, Layer::Synced.number());
            let old = old.map_err(CorpusError::database("reading permissions"))?;
            let is_indexed = self.held.index()?.places.is_known(self.source.number, id);
            let narrow = || narrower(self.source.access, &old, new);
            let now = if is_indexed { narrow() } else { new.clone() };
            if now != *new {
                waiting.push((id.clone(), new.clone()));
            }
            if now != old {
                at_once.push((id.clone(), now));
            }
        }
        if !at_once.is_empty() {
            self.held.tell(db, &self.source, Layer::Synced, &at_once)?;
        }
        for (id, said) in &self.gathered {
            // What the draft said of it before does not wait any longer.
            if matches!(said, Said::Is(incoming) if incoming.permissions.is_some()) {
                relation::tell(db, self.source.number, id, WAITING, &Permissions::Unknown)
                    .map_err(CorpusError::database("writing permissions"))?;
            }
        }
        for (place, permissions) in &waiting {
            relation::tell(db, self.source.number, place, WAITING, permissions)
                .map_err(CorpusError::database("writing permissions"))?;
        }
        Ok(())
    }

    fn write_gathered(
        &self,
        db: &mut Connection,
        vectors: &BTreeMap<String, OfChunks>,
    ) -> rusqlite::Result<()> {
        let transaction = db.transaction()?;
        let of = (&self.source, self.snapshot);
        for (id, said) in &self.gathered {
            match said {
                Said::Is(incoming) => {
                    let vectors = vectors.get(id).map(Vec::as_slice).unwrap_or_default();
                    let by = (self.held.embedder, self.now);
                    write::put(&transaction, of, incoming, vectors, by)?;
                }
                Said::IsAsItWas(confirmed) => {
                    // That it was there was looked at when it was said, and one draft alone has
                    // the source.
                    write::keep(&transaction, of, id, *confirmed)?;
                }
                Said::IsGone => write::remove(&transaction, of, id)?,
            }
        }
        transaction.commit()
    }
}

/// The vectors of a document's chunks.
pub(crate) fn vectors_of(
    embedder: &dyn Embedder,
    incoming: &Incoming,
) -> Result<OfChunks, CorpusError> {
    let pieces = incoming.pieces.iter();
    let texts = pieces.map(|(from, to)| incoming.text.get(*from..*to).unwrap_or_default());
    let vectors: Result<_, _> = texts.map(|text| embedder.embed(text)).collect();
    vectors.map_err(CorpusError::Embedding)
}

impl Drop for Draft {
    fn drop(&mut self) {
        self.held.release(&self.source.name);
    }
}

/// The draft that is open, or a new one.
fn open(
    db: &Connection,
    of: &SourceOf,
    listing: Listing,
    now: Micros,
) -> Result<(SourceRow, u64, bool), CorpusError> {
    let source = write::source(db, of)?;
    let failed = || CorpusError::database("beginning a draft");
    let query = "SELECT number FROM snapshot WHERE source = ?1 AND state = 'draft'";
    let found: Option<u64> =
        db.query_row(query, [source.number], |row| row.get(0)).optional().map_err(failed())?;
    let transaction = db.unchecked_transaction().map_err(failed())?;
    let number = found.unwrap_or_else(|| source.newest.saturating_add(1));
    let insert = "INSERT INTO snapshot (source, number, state, listing, pinned, begun, report,
                      documents, chunks)
                  VALUES (?1, ?2, 'draft', ?3, 0, ?4, '', 0, 0)
                  ON CONFLICT (source, number) DO UPDATE SET listing = excluded.listing";
    let listing = match listing {
        Listing::Whole => "whole",
        Listing::Changes => "changes",
    };
    let row = params![source.number, number, listing, now.0];
    transaction.execute(insert, row).map_err(failed())?;
    let update = "UPDATE source SET newest = ?2 WHERE number = ?1";
    transaction.execute(update, params![source.number, number]).map_err(failed())?;
    transaction.commit().map_err(failed())?;
    Ok((source, number, found.is_some()))
}
