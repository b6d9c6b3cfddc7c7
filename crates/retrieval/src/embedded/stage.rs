//! From the file into the index.
//!
//! Texts are read and cut into words without holding anybody up. What was told of a document is
//! read while the index is held: then no change of it comes between.

use super::{Held, read, write};
use crate::corpus::{CorpusError, Permissions, Progress, SourceRow};
use crate::index::vectors::Packed;
use crate::index::{Index, NewChunk, NewDocument};
use crate::relation::{self, Layer};
use crate::search::words::words;
use rusqlite::Connection;
use std::collections::BTreeMap;

/// Documents that are added to the index while it is held once.
const ADDED_AT_ONCE_MAX: usize = 64;
/// Chunks of them.
const CHUNKS_AT_ONCE_MAX: usize = 2048;

impl Held {
    /// Builds the index from all that serves and is pinned.
    pub(super) fn build(&self, progress: &mut dyn FnMut(Progress)) -> Result<(), CorpusError> {
        let sources = self.read(write::sources)?;
        let mut all = Vec::new();
        for source in sources.into_iter().filter(|source| source.serving.is_some()) {
            for snapshot in self.read(|db| searched(db, source.number))? {
                let versions = self.read(|db| members(db, source.number, snapshot))?;
                all.push((source.clone(), snapshot, versions));
            }
        }
        let of = all.iter().map(|(.., versions)| versions.len() as u64).sum();
        let mut done = 0;
        for (source, snapshot, versions) in &all {
            self.stage(source, versions, &mut |added| {
                done += added as u64;
                progress(Progress { done, of });
            })?;
            let mut index = self.index_mut()?;
            index.show(&source.name, *snapshot, versions);
            index.sources.insert(source.name.clone(), source.clone());
        }
        Ok(())
    }

    /// Adds versions to the index; they are in no snapshot yet. `told` is told how many, as they
    /// are.
    pub(super) fn stage(
        &self,
        source: &SourceRow,
        versions: &[i64],
        told: &mut dyn FnMut(usize),
    ) -> Result<(), CorpusError> {
        let mut ready: Vec<NewDocument> = Vec::new();
        let mut chunks = 0;
        for version in versions {
            let new = self.prepare(source, *version)?;
            chunks += new.chunks.len();
            ready.push(new);
            if ready.len() >= ADDED_AT_ONCE_MAX || chunks >= CHUNKS_AT_ONCE_MAX {
                told(ready.len());
                self.add(source, &ready)?;
                (ready, chunks) = (Vec::new(), 0);
            }
        }
        told(ready.len());
        self.add(source, &ready)
    }

    fn prepare(&self, source: &SourceRow, version: i64) -> Result<NewDocument, CorpusError> {
        let gone = CorpusError::Damaged { what: "a version of a document is missing" };
        let found = self.read(|db| read::found(db, source, version))?.ok_or(gone)?;
        let text = self.read(|db| read::body(db, version))?;
        let mut chunks = Vec::new();
        for (number, (from, to)) in self.read(|db| read::chunks(db, version))? {
            let bytes = |at| usize::try_from(at).unwrap_or(usize::MAX);
            let span = text.get(bytes(from)..bytes(to));
            let span = span.ok_or(CorpusError::Damaged { what: "a chunk is beyond its text" })?;
            let mut counts: BTreeMap<String, u32> = BTreeMap::new();
            for word in words(span, self.options.stemming) {
                let count = counts.entry(word).or_default();
                *count = count.saturating_add(1);
            }
            let vector = self.read(|db| read::vector(db, self.embedder, number))?;
            chunks.push(NewChunk { number, counts, vector: vector.as_deref().map(Packed::of) });
        }
        let (source, access, facts) = (source.number, source.access, found.facts);
        Ok(NewDocument { version, source, access, facts, chunks })
    }

    fn add(&self, source: &SourceRow, ready: &[NewDocument]) -> Result<(), CorpusError> {
        let mut index = self.index_mut()?;
        for new in ready {
            for place in index.add(new)? {
                self.read(|db| tell(db, &mut index, source, &place))?;
            }
        }
        Ok(())
    }
}

/// Tells the index what was told of a place that is new in it.
fn tell(
    db: &Connection,
    index: &mut Index,
    source: &SourceRow,
    place: &str,
) -> rusqlite::Result<()> {
    for layer in [Layer::Synced, Layer::Declared] {
        let told = relation::told(db, source.number, place, layer.number())?;
        if told != Permissions::Unknown {
            let of = (source.number, source.access);
            index.places.tell(of, place, layer, &Permissions::Unknown, &told);
        }
    }
    Ok(())
}

/// The snapshots of a source that are searched: the one that serves, and those that are pinned.
fn searched(db: &Connection, source: i64) -> rusqlite::Result<Vec<u64>> {
    let query = "SELECT n.number FROM snapshot n JOIN source s ON s.number = n.source
                 WHERE n.source = ?1 AND n.state = 'published'
                     AND (n.pinned OR n.number = s.serving)
                 ORDER BY n.number";
    db.prepare_cached(query)?.query_map([source], |row| row.get(0))?.collect()
}

/// The versions that a published snapshot has.
pub(super) fn members(db: &Connection, source: i64, snapshot: u64) -> rusqlite::Result<Vec<i64>> {
    let query = "SELECT version FROM valid
                 WHERE source = ?1 AND since <= ?2 AND ?2 < until ORDER BY version";
    let mut statement = db.prepare_cached(query)?;
    statement.query_map(rusqlite::params![source, snapshot], |row| row.get(0))?.collect()
}
