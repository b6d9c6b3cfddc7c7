//! A snapshot under way, in the file.

use super::{Held, publish, read, write};
use crate::corpus::{
    CorpusError, Gathered, Had, Listing, Permissions, Said, Snapshot, SourceOf, SourceRow, Tally,
    Vectors,
};
use crate::relation::{self, Layer, Revision, WAITING, narrower};
use lockgate_types::Micros;
use rusqlite::{Connection, OptionalExtension as _, params};
use std::sync::Arc;

/// A snapshot under way.
pub(crate) struct EmbeddedDraft {
    held: Arc<Held>,
    source: SourceRow,
    snapshot: u64,
    is_resumed: bool,
    now: Micros,
}

impl EmbeddedDraft {
    pub(super) fn begin(
        held: &Arc<Held>,
        of: &SourceOf,
        listing: Listing,
        now: Micros,
    ) -> Result<Self, CorpusError> {
        let in_hand = held.take(&of.name)?;
        let (source, snapshot, is_resumed) = open(&held.writer(), of, listing, now)?;
        // From here on it is this draft that lets go of it.
        std::mem::forget(in_hand);
        let held = Arc::clone(held);
        Ok(Self { held, source, snapshot, is_resumed, now })
    }

    pub(crate) const fn source(&self) -> &SourceRow {
        &self.source
    }

    pub(crate) const fn snapshot(&self) -> u64 {
        self.snapshot
    }

    pub(crate) const fn is_resumed(&self) -> bool {
        self.is_resumed
    }

    pub(crate) fn had(&self, id: &str) -> Result<Option<Had>, CorpusError> {
        self.held.read(|db| read::had(db, self.source.number, self.snapshot, id))
    }

    pub(crate) fn ids(&self, after: Option<&str>, most: usize) -> Result<Vec<String>, CorpusError> {
        self.held.read(|db| read::ids(db, self.source.number, after, most))
    }

    pub(crate) fn permit(
        &self,
        changes: &[(String, Permissions)],
    ) -> Result<Revision, CorpusError> {
        self.held.permit(&self.source.name, Layer::Synced, changes)
    }

    /// Writes what is gathered.
    pub(crate) fn write(&self, gathered: &Gathered, vectors: &Vectors) -> Result<(), CorpusError> {
        let mut db = self.held.writer();
        self.permit_gathered(&mut db, gathered)?;
        let written = self.write_gathered(&mut db, gathered, vectors);
        written.map_err(CorpusError::database("writing a draft"))
    }

    pub(crate) fn tally(&self) -> Result<Tally, CorpusError> {
        self.held.read(|db| read::tally(db, self.source.number, self.snapshot))
    }

    pub(crate) fn publish(self, report: &str, now: Micros) -> Result<Snapshot, CorpusError> {
        publish::publish(&self.held, &self.source.name, self.snapshot, report, now)
    }

    pub(crate) fn quarantine(self, report: &str, now: Micros) -> Result<Snapshot, CorpusError> {
        publish::quarantine(&self.held, &self.source.name, self.snapshot, report, now)
    }

    pub(crate) fn discard(self) -> Result<(), CorpusError> {
        publish::discard(&self.held, &self.source.name, self.snapshot)
    }

    /// First what takes away, so that no crash lies between a new text and its permissions.
    fn permit_gathered(&self, db: &mut Connection, gathered: &Gathered) -> Result<(), CorpusError> {
        let (mut at_once, mut waiting) = (Vec::new(), Vec::new());
        for (id, said) in gathered {
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
        for (id, said) in gathered {
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
        gathered: &Gathered,
        vectors: &Vectors,
    ) -> rusqlite::Result<()> {
        let transaction = db.transaction()?;
        let of = (&self.source, self.snapshot);
        for (id, said) in gathered {
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

impl Drop for EmbeddedDraft {
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
