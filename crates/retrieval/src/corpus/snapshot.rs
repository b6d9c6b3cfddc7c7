//! Snapshots: named, compared, pinned, rolled back to, and dropped when they are old.
//!
//! A version of a document is valid from one snapshot to another, so that a snapshot costs what has
//! changed in it. Going back is a new snapshot that has what an old one had: what happened stays
//! in order.

use super::publish::{self, discard};
use super::write::{delete_version, known_source};
use super::{Corpus, CorpusError, Held, SourceRow};
use lockgate_types::Micros;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

/// Snapshots that are read at once.
pub const SNAPSHOTS_READ_MAX: usize = 1000;
/// Documents that are named of each kind of difference.
pub const COMPARED_MAX: usize = 10_000;
/// Versions that are deleted in one transaction.
const DELETED_AT_ONCE_MAX: usize = 1000;

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

impl Corpus {
    /// The snapshots of a source, the newest first.
    ///
    /// # Errors
    ///
    /// If there is no such source.
    pub fn snapshots(&self, source: &str) -> Result<Vec<Snapshot>, CorpusError> {
        let of = self.held.source(source)?;
        self.held.read(|db| {
            let query = format!("{SNAPSHOT} WHERE source = ?1 ORDER BY number DESC LIMIT ?2");
            let mut statement = db.prepare_cached(&query)?;
            let rows = params![of.number, SNAPSHOTS_READ_MAX];
            statement.query_map(rows, |row| snapshot_row(row, &of))?.collect()
        })
    }

    /// In what a published snapshot differs from another.
    ///
    /// # Errors
    ///
    /// If one of them is not there, or was never published.
    pub fn compare(&self, source: &str, from: u64, to: u64) -> Result<Difference, CorpusError> {
        let of = self.held.source(source)?;
        for number in [from, to] {
            self.held.read(|db| find(db, &of, number))?.published(&of, number)?;
        }
        self.held.read(|db| {
            let changed = "SELECT a.id FROM a JOIN b ON b.id = a.id AND b.number <> a.number";
            let only = "SELECT a.id FROM a WHERE NOT EXISTS (SELECT 1 FROM b WHERE b.id = a.id)";
            let added = different(db, of.number, (to, from), only)?;
            let changed = different(db, of.number, (to, from), changed)?;
            let removed = different(db, of.number, (from, to), only)?;
            let is_whole = [&added, &changed, &removed].iter().all(|ids| ids.len() < COMPARED_MAX);
            Ok(Difference { added, changed, removed, is_whole })
        })
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
        name.map_or(Ok(()), super::incoming::check_name)?;
        let db = self.held.writer();
        let of = known_source(&db, source)?;
        let update = "UPDATE snapshot SET name = ?3 WHERE source = ?1 AND number = ?2";
        let named = db.execute(update, params![of.number, number, name]);
        match named.map_err(CorpusError::database("naming a snapshot"))? {
            0 => Err(CorpusError::NoSuchSnapshot { name: of.name, number }),
            _ => Ok(()),
        }
    }

    /// Keeps a published snapshot, and has tasks search it that ask for it.
    ///
    /// # Errors
    ///
    /// If it is not there or was never published, or there is too much for one gate.
    pub fn pin(&self, source: &str, number: u64) -> Result<(), CorpusError> {
        publish::pin(&self.held, source, number)
    }

    /// Lets a snapshot go its way with the others.
    ///
    /// # Errors
    ///
    /// If there is no such snapshot.
    pub fn unpin(&self, source: &str, number: u64) -> Result<(), CorpusError> {
        publish::unpin(&self.held, source, number)
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
        publish::roll_back(&self.held, source, number, report, now)
    }

    /// Drops what is old: of the published snapshots that neither serve nor are pinned all but the
    /// newest `keep`, and of the quarantined ones as many. Gives back how many were dropped.
    ///
    /// # Errors
    ///
    /// If it cannot be written: what was dropped until then is dropped.
    pub fn retain(&self, source: &str, keep: usize) -> Result<u64, CorpusError> {
        let failed = || CorpusError::database("dropping old snapshots");
        let _publishing = self.held.publishing();
        let of = self.held.source(source)?;
        let dropped = drop_snapshots(&self.held.writer(), of.number, keep).map_err(failed())?;
        // The writer is let go of between: others wait for one piece at most.
        while delete_orphans(&self.held.writer(), of.number).map_err(failed())? > 0 {}
        Ok(dropped)
    }

    /// Forgets a source: all its snapshots, and what anybody has said of its places. It is out of
    /// search when this returns.
    ///
    /// # Errors
    ///
    /// If there is no such source, or a draft of it is in somebody's hands.
    pub fn drop_source(&self, source: &str) -> Result<(), CorpusError> {
        publish::drop_source(&self.held, source)
    }

    /// Gives up the draft of a source that nobody has in hand.
    ///
    /// # Errors
    ///
    /// If somebody has.
    pub fn discard_draft(&self, source: &str) -> Result<(), CorpusError> {
        let of = self.held.source(source)?;
        let _in_hand = self.held.take(source)?;
        let found = self.snapshots(source)?.into_iter();
        let mut drafts = found.filter(|found| found.state == SnapshotState::Draft);
        drafts.try_for_each(|draft| discard(&self.held, &of.name, draft.number))
    }
}

impl Held {
    /// Deletes what is left of sources that were dropped: also of those whose dropping was
    /// interrupted.
    pub(super) fn delete_dropped(&self) -> Result<(), CorpusError> {
        let failed = || CorpusError::database("deleting a source");
        let query = "SELECT DISTINCT source FROM version
            WHERE source NOT IN (SELECT number FROM source)";
        let dropped: Vec<i64> =
            self.read(|db| db.prepare(query)?.query_map([], |row| row.get(0))?.collect())?;
        for source in dropped {
            while delete_orphans(&self.writer(), source).map_err(failed())? > 0 {}
        }
        Ok(())
    }
}

const SNAPSHOT: &str = "SELECT number, name, state, pinned, begun, ended, report, documents, chunks
    FROM snapshot";

/// A snapshot that may be there.
pub(super) struct MaybeSnapshot(Option<Snapshot>);

impl MaybeSnapshot {
    /// It, if it was published.
    pub(super) fn published(self, of: &SourceRow, number: u64) -> Result<Snapshot, CorpusError> {
        let name = || of.name.clone();
        let Some(found) = self.0 else {
            return Err(CorpusError::NoSuchSnapshot { name: name(), number });
        };
        match found.state {
            SnapshotState::Published => Ok(found),
            SnapshotState::Draft | SnapshotState::Quarantined => {
                Err(CorpusError::NotServable { name: name(), number })
            }
        }
    }

    /// It, whatever has become of it.
    pub(super) fn any(self, of: &SourceRow, number: u64) -> Result<Snapshot, CorpusError> {
        let name = of.name.clone();
        self.0.ok_or(CorpusError::NoSuchSnapshot { name, number })
    }
}

/// Looks for a snapshot.
pub(super) fn find(
    db: &Connection,
    of: &SourceRow,
    number: u64,
) -> rusqlite::Result<MaybeSnapshot> {
    let query = format!("{SNAPSHOT} WHERE source = ?1 AND number = ?2");
    let mut statement = db.prepare_cached(&query)?;
    let row = |row: &Row<'_>| snapshot_row(row, of);
    statement.query_row(params![of.number, number], row).optional().map(MaybeSnapshot)
}

fn snapshot_row(row: &Row<'_>, of: &SourceRow) -> rusqlite::Result<Snapshot> {
    let (number, state): (u64, String) = (row.get(0)?, row.get(2)?);
    Ok(Snapshot {
        source: of.name.clone(),
        number,
        name: row.get(1)?,
        state: match state.as_str() {
            "published" => SnapshotState::Published,
            "draft" => SnapshotState::Draft,
            _ => SnapshotState::Quarantined,
        },
        is_serving: of.serving == Some(number),
        is_pinned: row.get(3)?,
        begun: Micros(row.get(4)?),
        ended: row.get::<_, Option<i64>>(5)?.map(Micros),
        report: row.get(6)?,
        documents: row.get(7)?,
        chunks: row.get(8)?,
    })
}

fn different(
    db: &Connection,
    source: i64,
    (a, b): (u64, u64),
    query: &str,
) -> rusqlite::Result<Vec<String>> {
    let of = |number: &str| {
        format!(
            "SELECT v.id, v.number FROM version v JOIN valid ON valid.version = v.number
             WHERE v.source = ?1 AND valid.since <= {number} AND {number} < valid.until"
        )
    };
    let query = format!(
        "WITH a AS MATERIALIZED ({}), b AS MATERIALIZED ({}) {query} ORDER BY a.id LIMIT ?4",
        of("?2"),
        of("?3")
    );
    let mut statement = db.prepare_cached(&query)?;
    statement.query_map(params![source, a, b, COMPARED_MAX], |row| row.get(0))?.collect()
}

fn drop_snapshots(db: &Connection, source: i64, keep: usize) -> rusqlite::Result<u64> {
    let transaction = db.unchecked_transaction()?;
    let mut dropped = 0;
    for state in ["published", "quarantined"] {
        let delete = "DELETE FROM snapshot WHERE source = ?1 AND number IN (
                SELECT number FROM snapshot n WHERE n.source = ?1 AND n.state = ?2 AND NOT n.pinned
                    AND n.number IS NOT (SELECT serving FROM source WHERE number = ?1)
                ORDER BY n.number DESC LIMIT -1 OFFSET ?3)";
        dropped += transaction.execute(delete, params![source, state, keep])?;
    }
    let delete = "DELETE FROM valid WHERE source = ?1 AND NOT EXISTS (SELECT 1 FROM snapshot n
        WHERE n.source = ?1 AND n.state = 'published'
            AND valid.since <= n.number AND n.number < valid.until)";
    transaction.execute(delete, [source])?;
    let delete = "DELETE FROM drafted WHERE source = ?1 AND NOT EXISTS (SELECT 1 FROM snapshot n
        WHERE n.source = ?1 AND n.number = drafted.snapshot)";
    transaction.execute(delete, [source])?;
    transaction.commit()?;
    Ok(dropped as u64)
}

/// Deletes some of the versions that nothing has any more. Gives back how many.
pub(super) fn delete_orphans(db: &Connection, source: i64) -> rusqlite::Result<usize> {
    let transaction = db.unchecked_transaction()?;
    let query = "SELECT number FROM version v WHERE v.source = ?1
        AND NOT EXISTS (SELECT 1 FROM valid WHERE valid.version = v.number)
        AND NOT EXISTS (SELECT 1 FROM drafted d WHERE d.version = v.number) LIMIT ?2";
    let orphans: Vec<i64> = transaction
        .prepare_cached(query)?
        .query_map(params![source, DELETED_AT_ONCE_MAX], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    orphans.iter().try_for_each(|version| delete_version(&transaction, *version))?;
    transaction.commit()?;
    Ok(orphans.len())
}
