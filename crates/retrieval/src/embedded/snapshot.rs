//! Snapshots, as the file has them.

use super::publish::{self, discard};
use super::write::{delete_version, known_source};
use super::{Embedded, Held};
use crate::corpus::{
    COMPARED_MAX, CorpusError, Difference, SNAPSHOTS_READ_MAX, Snapshot, SnapshotState, SourceRow,
    no_such_snapshot, servable,
};
use lockgate_types::Micros;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

/// Versions that are deleted in one transaction.
const DELETED_AT_ONCE_MAX: usize = 1000;

impl Embedded {
    pub(crate) fn snapshots(&self, source: &str) -> Result<Vec<Snapshot>, CorpusError> {
        let of = self.held.source(source)?;
        self.held.read(|db| {
            let query = format!("{SNAPSHOT} WHERE source = ?1 ORDER BY number DESC LIMIT ?2");
            let mut statement = db.prepare_cached(&query)?;
            let rows = params![of.number, SNAPSHOTS_READ_MAX];
            statement.query_map(rows, |row| snapshot_row(row, &of))?.collect()
        })
    }

    pub(crate) fn compare(
        &self,
        source: &str,
        from: u64,
        to: u64,
    ) -> Result<Difference, CorpusError> {
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
            Ok(Difference::of(added, changed, removed))
        })
    }

    pub(crate) fn name_snapshot(
        &self,
        source: &str,
        number: u64,
        name: Option<&str>,
    ) -> Result<(), CorpusError> {
        let db = self.held.writer();
        let of = known_source(&db, source)?;
        let update = "UPDATE snapshot SET name = ?3 WHERE source = ?1 AND number = ?2";
        let named = db.execute(update, params![of.number, number, name]);
        match named.map_err(CorpusError::database("naming a snapshot"))? {
            0 => Err(CorpusError::NoSuchSnapshot { name: of.name, number }),
            _ => Ok(()),
        }
    }

    pub(crate) fn pin(&self, source: &str, number: u64) -> Result<(), CorpusError> {
        publish::pin(&self.held, source, number)
    }

    pub(crate) fn unpin(&self, source: &str, number: u64) -> Result<(), CorpusError> {
        publish::unpin(&self.held, source, number)
    }

    pub(crate) fn roll_back(
        &self,
        source: &str,
        number: u64,
        report: &str,
        now: Micros,
    ) -> Result<Snapshot, CorpusError> {
        publish::roll_back(&self.held, source, number, report, now)
    }

    pub(crate) fn retain(&self, source: &str, keep: usize) -> Result<u64, CorpusError> {
        let failed = || CorpusError::database("dropping old snapshots");
        let _publishing = self.held.publishing();
        let of = self.held.source(source)?;
        let dropped = drop_snapshots(&self.held.writer(), of.number, keep).map_err(failed())?;
        // The writer is let go of between: others wait for one piece at most.
        while delete_orphans(&self.held.writer(), of.number).map_err(failed())? > 0 {}
        Ok(dropped)
    }

    pub(crate) fn drop_source(&self, source: &str) -> Result<(), CorpusError> {
        publish::drop_source(&self.held, source)
    }

    pub(crate) fn discard_draft(&self, source: &str) -> Result<(), CorpusError> {
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
        servable(self.any(of, number)?)
    }

    /// It, whatever has become of it.
    pub(super) fn any(self, of: &SourceRow, number: u64) -> Result<Snapshot, CorpusError> {
        self.0.ok_or_else(|| no_such_snapshot(&of.name, number))
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
        state: SnapshotState::from_word(&state),
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
