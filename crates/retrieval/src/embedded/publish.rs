//! From one snapshot that serves to the next.
//!
//! What is new is made ready first, and is in no snapshot meanwhile. Then one transaction says what
//! the new snapshot has; the index is held from its commit until it shows the same, so that nobody
//! finds the file and the index apart. A crash before the commit leaves the last one serving, and
//! the draft open.

use super::snapshot::find;
use super::write::{Change, known_source};
use super::{Held, stage};
use crate::corpus::{CorpusError, OPEN, Permissions, Snapshot, SourceRow};
use crate::relation::{self, Layer, Revision, WAITING};
use lockgate_types::Micros;
use rusqlite::{Connection, Transaction, params};
use std::sync::{MutexGuard, PoisonError};

/// What the index has to show once the transaction is committed.
struct Shown {
    snapshot: u64,
    versions: Vec<i64>,
    confirmed: Vec<(i64, i64)>,
    permitted: Vec<Change>,
    revision: Revision,
}

/// Has a draft serve.
pub(super) fn publish(
    held: &Held,
    source: &str,
    snapshot: u64,
    report: &str,
    now: Micros,
) -> Result<Snapshot, CorpusError> {
    let _publishing = held.publishing();
    let of = held.source(source)?;
    let drafted = held.read(|db| drafted(db, &of, snapshot))?;
    held.stage(&of, &drafted, &mut |_| {})?;
    held.serve(&of, |transaction| {
        let confirmed = confirm(transaction, &of, snapshot)?;
        close_and_open(transaction, &of, snapshot)?;
        let waiting = relation_changes(transaction, &of)?;
        let delete = "DELETE FROM drafted WHERE source = ?1 AND snapshot = ?2";
        transaction.execute(delete, params![of.number, snapshot])?;
        finish(transaction, &of, snapshot, report, now)?;
        shown(transaction, &of, snapshot, confirmed, waiting)
    })?;
    held.snapshot(&of, snapshot)
}

/// Has a draft never serve.
pub(super) fn quarantine(
    held: &Held,
    source: &str,
    snapshot: u64,
    report: &str,
    now: Micros,
) -> Result<Snapshot, CorpusError> {
    let of = held.source(source)?;
    let failed = || CorpusError::database("quarantining a snapshot");
    let mut db = held.writer();
    let transaction = db.transaction().map_err(failed())?;
    forget_waiting(&transaction, &of).map_err(failed())?;
    let update = "UPDATE snapshot SET state = 'quarantined', ended = ?3, report = ?4,
            documents = (SELECT count(*) FROM drafted d
                WHERE d.source = ?1 AND d.snapshot = ?2 AND d.version IS NOT NULL),
            chunks = (SELECT count(*) FROM chunk c JOIN drafted d ON d.version = c.version
                WHERE d.source = ?1 AND d.snapshot = ?2)
        WHERE source = ?1 AND number = ?2 AND state = 'draft'";
    let row = params![of.number, snapshot, now.0, report];
    transaction.execute(update, row).map_err(failed())?;
    transaction.commit().map_err(failed())?;
    drop(db);
    held.snapshot(&of, snapshot)
}

/// Gives up a draft.
pub(super) fn discard(held: &Held, source: &str, snapshot: u64) -> Result<(), CorpusError> {
    let of = held.source(source)?;
    let failed = || CorpusError::database("giving up a draft");
    let mut db = held.writer();
    let transaction = db.transaction().map_err(failed())?;
    forget_draft(&transaction, &of, snapshot).map_err(failed())?;
    transaction.commit().map_err(failed())
}

/// Has an old snapshot serve again, as a new one.
pub(super) fn roll_back(
    held: &Held,
    source: &str,
    to: u64,
    report: &str,
    now: Micros,
) -> Result<Snapshot, CorpusError> {
    let _publishing = held.publishing();
    let _in_hand = held.take(source)?;
    let of = held.source(source)?;
    held.read(|db| find(db, &of, to))?.published(&of, to)?;
    let versions = held.read(|db| stage::members(db, of.number, to))?;
    held.stage(&of, &versions, &mut |_| {})?;
    let snapshot = of.newest.saturating_add(1);
    held.serve(&of, |transaction| {
        let query = "SELECT number FROM snapshot WHERE source = ?1 AND state = 'draft'";
        let drafts: Vec<u64> = transaction
            .prepare(query)?
            .query_map([of.number], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        drafts.into_iter().try_for_each(|draft| forget_draft(transaction, &of, draft))?;
        go_back(transaction, &of, to, snapshot)?;
        finish(transaction, &of, snapshot, report, now)?;
        shown(transaction, &of, snapshot, Vec::new(), Vec::new())
    })?;
    held.snapshot(&of, snapshot)
}

/// Forgets a source: its snapshots, and what was said of its places.
pub(super) fn drop_source(held: &Held, source: &str) -> Result<(), CorpusError> {
    let failed = || CorpusError::database("dropping a source");
    let _publishing = held.publishing();
    let _in_hand = held.take(source)?;
    let of = held.source(source)?;
    let mut db = held.writer();
    let transaction = db.transaction().map_err(failed())?;
    for table in ["valid", "drafted", "snapshot", "told", "granted"] {
        let delete = format!("DELETE FROM {table} WHERE source = ?1");
        transaction.execute(&delete, [of.number]).map_err(failed())?;
    }
    let delete = "DELETE FROM source WHERE number = ?1";
    transaction.execute(delete, [of.number]).map_err(failed())?;
    let revision = relation::next_revision(&transaction).map_err(failed())?;
    let mut index = held.index_mut()?;
    transaction.commit().map_err(failed())?;
    index.forget(source);
    index.revision = revision;
    index.settle();
    drop((index, db));
    held.delete_dropped()
}

/// Keeps a snapshot, and has it be searched.
pub(super) fn pin(held: &Held, source: &str, number: u64) -> Result<(), CorpusError> {
    let _publishing = held.publishing();
    let of = held.source(source)?;
    held.read(|db| find(db, &of, number))?.published(&of, number)?;
    let versions = held.read(|db| stage::members(db, of.number, number))?;
    held.stage(&of, &versions, &mut |_| {})?;
    set_pinned(&held.writer(), &of, number, true)?;
    held.index_mut()?.show(&of.name, number, &versions);
    Ok(())
}

/// Does not keep it any longer.
pub(super) fn unpin(held: &Held, source: &str, number: u64) -> Result<(), CorpusError> {
    let _publishing = held.publishing();
    let of = held.source(source)?;
    held.read(|db| find(db, &of, number))?.any(&of, number)?;
    set_pinned(&held.writer(), &of, number, false)?;
    let mut index = held.index_mut()?;
    if of.serving != Some(number) {
        index.hide(&of.name, number);
        index.settle();
    }
    Ok(())
}

impl Held {
    /// One after the other.
    pub(super) fn publishing(&self) -> MutexGuard<'_, ()> {
        self.publishing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn snapshot(&self, of: &SourceRow, number: u64) -> Result<Snapshot, CorpusError> {
        let of = self.source(&of.name)?;
        self.read(|db| find(db, &of, number))?.any(&of, number)
    }

    /// Changes what serves, in the file and in the index in one moment.
    fn serve(
        &self,
        of: &SourceRow,
        change: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<Shown>,
    ) -> Result<(), CorpusError> {
        let failed = || CorpusError::database("publishing a snapshot");
        let mut db = self.writer();
        let transaction = db.transaction().map_err(failed())?;
        let shown = change(&transaction).map_err(failed())?;
        let after = known_source(&transaction, &of.name)?;
        let is_pinned = is_pinned(&transaction, of).map_err(failed())?;
        let mut index = self.index_mut()?;
        transaction.commit().map_err(failed())?;
        index.show(&of.name, shown.snapshot, &shown.versions);
        match of.serving {
            Some(before) if !is_pinned => index.hide(&of.name, before),
            Some(_) | None => {}
        }
        for (version, confirmed) in shown.confirmed {
            index.confirm(version, confirmed);
        }
        for (place, old, new) in &shown.permitted {
            let source = (of.number, of.access);
            index.places.tell(source, place, Layer::Synced, old, new);
        }
        index.sources.insert(of.name.clone(), after);
        index.revision = shown.revision;
        index.settle();
        Ok(())
    }
}

/// The versions that a draft has and the snapshot before it has not.
fn drafted(db: &Connection, of: &SourceRow, snapshot: u64) -> rusqlite::Result<Vec<i64>> {
    let query = "SELECT version FROM drafted WHERE source = ?1 AND snapshot = ?2
            AND version IS NOT NULL AND NOT EXISTS (SELECT 1 FROM valid
                WHERE valid.version = drafted.version AND valid.until = ?3)
        ORDER BY version";
    let mut statement = db.prepare_cached(query)?;
    statement.query_map(params![of.number, snapshot, OPEN], |row| row.get(0))?.collect()
}

/// Writes when documents were last seen to be so.
fn confirm(db: &Connection, of: &SourceRow, snapshot: u64) -> rusqlite::Result<Vec<(i64, i64)>> {
    let query = "SELECT version, confirmed FROM drafted WHERE source = ?1 AND snapshot = ?2
            AND version IS NOT NULL AND confirmed IS NOT NULL";
    let confirmed: Vec<(i64, i64)> = db
        .prepare(query)?
        .query_map(params![of.number, snapshot], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let mut update = db.prepare("UPDATE version SET confirmed = ?2 WHERE number = ?1")?;
    for row in &confirmed {
        update.execute([row.0, row.1])?;
    }
    Ok(confirmed)
}

/// Ends what is changed, removed, or not mentioned where all was; begins what is new.
fn close_and_open(db: &Connection, of: &SourceRow, snapshot: u64) -> rusqlite::Result<()> {
    let key = params![of.number, snapshot, OPEN];
    let close = "UPDATE valid SET until = ?2 WHERE source = ?1 AND until = ?3
        AND EXISTS (SELECT 1 FROM version v JOIN drafted d ON d.source = ?1
            AND d.snapshot = ?2 AND d.id = v.id
            WHERE v.number = valid.version AND d.version IS NOT v.number)";
    db.execute(close, key)?;
    let close = "UPDATE valid SET until = ?2 WHERE source = ?1 AND until = ?3
        AND (SELECT listing = 'whole' FROM snapshot WHERE source = ?1 AND number = ?2)
        AND NOT EXISTS (SELECT 1 FROM version v JOIN drafted d ON d.source = ?1
            AND d.snapshot = ?2 AND d.id = v.id WHERE v.number = valid.version)";
    db.execute(close, key)?;
    let open = "INSERT INTO valid (version, source, since, until)
        SELECT version, ?1, ?2, ?3 FROM drafted
        WHERE source = ?1 AND snapshot = ?2 AND version IS NOT NULL
            AND NOT EXISTS (SELECT 1 FROM valid
                WHERE valid.version = drafted.version AND valid.until = ?3)";
    db.execute(open, key).map(drop)
}

/// Has a new snapshot have what an old one had.
fn go_back(db: &Connection, of: &SourceRow, to: u64, snapshot: u64) -> rusqlite::Result<()> {
    let key = params![of.number, snapshot, OPEN, to];
    let close = "UPDATE valid SET until = ?2 WHERE source = ?1 AND until = ?3
        AND NOT EXISTS (SELECT 1 FROM valid old WHERE old.version = valid.version
            AND old.since <= ?4 AND ?4 < old.until)";
    db.execute(close, key)?;
    let open = "INSERT INTO valid (version, source, since, until)
        SELECT version, ?1, ?2, ?3 FROM valid old
        WHERE source = ?1 AND since <= ?4 AND ?4 < until
            AND NOT EXISTS (SELECT 1 FROM valid
                WHERE valid.version = old.version AND valid.until = ?3)";
    db.execute(open, key).map(drop)
}

/// Puts in force what waited for the draft to be published.
fn relation_changes(db: &Connection, of: &SourceRow) -> rusqlite::Result<Vec<Change>> {
    let mut changes = Vec::new();
    for place in waiting(db, of)? {
        let new = relation::told(db, of.number, &place, WAITING)?;
        let old = relation::told(db, of.number, &place, Layer::Synced.number())?;
        relation::tell(db, of.number, &place, Layer::Synced.number(), &new)?;
        changes.push((place, old, new));
    }
    forget_waiting(db, of)?;
    Ok(changes)
}

fn waiting(db: &Connection, of: &SourceRow) -> rusqlite::Result<Vec<String>> {
    let query = "SELECT place FROM told WHERE source = ?1 AND layer = 2";
    db.prepare(query)?.query_map([of.number], |row| row.get(0))?.collect()
}

fn forget_waiting(db: &Connection, of: &SourceRow) -> rusqlite::Result<()> {
    for place in waiting(db, of)? {
        let nothing = Permissions::Unknown;
        relation::tell(db, of.number, &place, WAITING, &nothing)?;
    }
    Ok(())
}

fn forget_draft(db: &Connection, of: &SourceRow, snapshot: u64) -> rusqlite::Result<()> {
    forget_waiting(db, of)?;
    let key = params![of.number, snapshot];
    db.execute("DELETE FROM drafted WHERE source = ?1 AND snapshot = ?2", key)?;
    let delete = "DELETE FROM snapshot WHERE source = ?1 AND number = ?2 AND state = 'draft'";
    db.execute(delete, key).map(drop)
}

fn finish(
    db: &Connection,
    of: &SourceRow,
    snapshot: u64,
    report: &str,
    now: Micros,
) -> rusqlite::Result<()> {
    let insert = "INSERT INTO snapshot (source, number, state, listing, pinned, begun, ended,
            report, documents, chunks)
        VALUES (?1, ?2, 'published', 'whole', 0, ?3, ?3, ?4, 0, 0)
        ON CONFLICT (source, number) DO UPDATE SET state = 'published', ended = excluded.ended,
            report = excluded.report";
    db.execute(insert, params![of.number, snapshot, now.0, report])?;
    let count = "UPDATE snapshot SET
            documents = (SELECT count(*) FROM valid WHERE source = ?1 AND until = ?3),
            chunks = (SELECT count(*) FROM chunk c JOIN valid ON valid.version = c.version
                WHERE valid.source = ?1 AND valid.until = ?3)
        WHERE source = ?1 AND number = ?2";
    db.execute(count, params![of.number, snapshot, OPEN])?;
    let update = "UPDATE source SET serving = ?2, newest = max(newest, ?2) WHERE number = ?1";
    db.execute(update, params![of.number, snapshot]).map(drop)
}

fn shown(
    db: &Connection,
    of: &SourceRow,
    snapshot: u64,
    confirmed: Vec<(i64, i64)>,
    permitted: Vec<Change>,
) -> rusqlite::Result<Shown> {
    let versions = stage::members(db, of.number, snapshot)?;
    let revision = relation::next_revision(db)?;
    Ok(Shown { snapshot, versions, confirmed, permitted, revision })
}

fn is_pinned(db: &Connection, of: &SourceRow) -> rusqlite::Result<bool> {
    let query = "SELECT EXISTS (SELECT 1 FROM snapshot
            WHERE source = ?1 AND number = ?2 AND pinned)";
    db.query_row(query, params![of.number, of.serving], |row| row.get(0))
}

fn set_pinned(
    db: &Connection,
    of: &SourceRow,
    number: u64,
    pinned: bool,
) -> Result<(), CorpusError> {
    let update = "UPDATE snapshot SET pinned = ?3 WHERE source = ?1 AND number = ?2";
    let updated = db.execute(update, params![of.number, number, pinned]);
    updated.map(drop).map_err(CorpusError::database("pinning a snapshot"))
}
