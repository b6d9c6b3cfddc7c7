//! What the committer does beside its batches: signing, heartbeats, and keeping the write-ahead log
//! short.
//!
//! All of it waits for a quiet moment where it can, and none of it is allowed to wait forever.

use crate::db::{DbError, Touched, values};
use crate::error::StoreError;
use crate::fault::Fault;
use crate::log::Remembered;
use crate::shard::Whose;
use crate::store::Store;
use crate::sync::DiskMoment;
use crate::writer::Writer;
use crate::{leaf, schema};
use lockgate_ledger::{Checkpoint, Kind};
use lockgate_types::Micros;
use std::time::Duration;

/// Between two signatures while the log grows.
const SIGN_EVERY_US: i64 = 1_000_000;
/// Between two looks for keys and requests whose time is over.
const SWEEP_EVERY_US: i64 = 1_000_000;
/// Between two attempts to write outcomes that could not be written, while nothing else is.
const PAY_EVERY_US: i64 = 100_000;
/// Signed checkpoints kept. Each covers all before it; older ones serve only those who remember no
/// newer.
const CHECKPOINTS_MAX: u32 = 4096;
/// Pages of the write-ahead log at which it is copied to the database when the queue is empty.
const WAL_PAGES_QUIET: i64 = 256;
/// Pages of the write-ahead log at which it is copied although calls wait, and have to wait for
/// that: for some 4 ms. For sixteen times as many they wait for 50, and load is shed meanwhile.
const WAL_PAGES_MAX: i64 = 1024;
/// Bytes of a page in the write-ahead log, with what stands before it.
const FRAME_BYTES: u32 = 4096 + 24;
/// Batches between two looks at the write-ahead log.
const LOOK_EVERY: u32 = 4;
/// The committer looks up at least this often while something is due.
const IDLE_MAX: Duration = Duration::from_secs(1);
/// Turned-away requests recorded within a second: they need no identity, so they may not fill the
/// disk.
const TURNED_AWAY_PER_SECOND_MAX: u32 = 100;

/// The newest checkpoint that was signed.
pub(crate) struct Signed {
    pub(crate) checkpoint: Checkpoint,
    /// The signed note; `None` before the first.
    pub(crate) note: Option<String>,
    pub(crate) at: Micros,
}

/// What is due.
#[derive(Default)]
pub(crate) struct Upkeep {
    batches: u32,
    /// When it was last looked for what has ended by itself.
    swept_at: i64,
    /// When it was last tried to write what is owed.
    paid_at: i64,
    /// Where to go on looking for keys whose time is over.
    swept: Vec<u8>,
    /// The same of what sessions remember: the session before it.
    swept_remembered: String,
    /// A key was deleted: what the write-ahead log still holds of it has to go.
    pub(crate) must_scrub: bool,
}

/// Bounds the entries that requests without identity can cause.
#[derive(Default)]
pub(crate) struct TurnedAwayWindow {
    second: i64,
    count: u32,
    missed: u64,
}

impl TurnedAwayWindow {
    /// Lets an entry through, and says how many were only counted before it.
    pub(crate) fn admit(&mut self, at: Micros) -> Result<u64, u32> {
        let second = at.0.div_euclid(1_000_000);
        if second != self.second {
            (self.second, self.count) = (second, 0);
        }
        if self.count >= TURNED_AWAY_PER_SECOND_MAX {
            self.missed = self.missed.saturating_add(1);
            return Err(TURNED_AWAY_PER_SECOND_MAX);
        }
        self.count += 1;
        Ok(std::mem::take(&mut self.missed))
    }
}

/// Pages of a write-ahead log of so many bytes from which on it is copied.
fn copied_from(is_idle: bool, wal_bytes: u32) -> i64 {
    let room = i64::from(wal_bytes / FRAME_BYTES);
    if is_idle { WAL_PAGES_QUIET } else { room.min(WAL_PAGES_MAX) }
}

impl Store {
    /// Moves the bound of [`crate::Options::database_pages_max`] while the store is open.
    pub async fn set_database_pages_max(&self, pages: u32) -> Result<(), StoreError> {
        self.read(move |writer| {
            let set =
                writer.db.embedded().map(|db| db.pragma_update(None, "max_page_count", pages));
            set.unwrap_or(Ok(())).map_err(StoreError::database("limiting the database"))
        })
        .await
    }
}

impl Writer {
    /// How long the queue may stay empty before something else is due.
    pub(crate) fn idle_wait(&self) -> Duration {
        let now = self.now();
        let mut due_us = self.options.heartbeat.map(|every| {
            let every = i64::try_from(every.as_micros()).unwrap_or(i64::MAX);
            every.saturating_sub(now.0.saturating_sub(self.last_entry_at.0))
        });
        if self.has_unsigned() {
            let sign_us = SIGN_EVERY_US.saturating_sub(now.0.saturating_sub(self.signed.at.0));
            due_us = Some(due_us.map_or(sign_us, |due| due.min(sign_us)));
        }
        if !self.owed.is_empty() {
            due_us = Some(due_us.map_or(PAY_EVERY_US, |due| due.min(PAY_EVERY_US)));
        }
        let due = Duration::from_micros(u64::try_from(due_us.unwrap_or(i64::MAX)).unwrap_or(0));
        // A clock that stands still or jumps must make this neither spin nor sleep for ever.
        due.clamp(Duration::from_millis(1), IDLE_MAX)
    }

    /// After a batch, or when the queue stayed empty. Failures show up again with the next batch.
    pub(crate) fn tend(&mut self, is_idle: bool) {
        let now = self.now();
        if !self.owed.is_empty() && now.0.saturating_sub(self.upkeep.paid_at) >= PAY_EVERY_US {
            // No batch may come that they could be written with.
            self.upkeep.paid_at = now.0;
            self.pay();
        }
        let _ = self.beat(now);
        if self.has_unsigned() && now.0.saturating_sub(self.signed.at.0) >= SIGN_EVERY_US {
            let _ = self.sign();
        }
        if std::mem::take(&mut self.upkeep.must_scrub) {
            let scrubbed = self.checkpoint_whole_wal();
            let grow = |db| schema::grow_wal(db, self.options.wal_bytes);
            let _ = self.db.embedded().map(grow);
            self.upkeep.must_scrub = scrubbed.is_err();
        }
        if now.0.saturating_sub(self.upkeep.swept_at) >= SWEEP_EVERY_US {
            self.upkeep.swept_at = now.0;
            let _ = self.finish_lost();
            let _ = self.expire_requests(now);
            let _ = self.forget_news(now);
            let _ = self.sweep_caps(now);
            let _ = self.sweep_client_sessions(now);
            let _ = self.sweep_rates(now);
            let _ = self.sweep_trails(now);
            let _ = self.sweep_baselines(now);
            let from = std::mem::take(&mut self.upkeep.swept);
            self.upkeep.swept = self.sweep_keys(&from, now).unwrap_or_default();
            let _ = self.sweep_opened(now);
            let _ = self.sweep_memos(now);
            let _ = self.sweep_run_keys(now);
            let _ = self.sweep_kept_answers(now);
            let from = std::mem::take(&mut self.upkeep.swept_remembered);
            self.upkeep.swept_remembered = self.sweep_remembered(&from, now).unwrap_or_default();
            let _ = self.sweep_uses(now);
        }
        self.upkeep.batches += 1;
        if is_idle || self.upkeep.batches >= LOOK_EVERY {
            self.upkeep.batches = 0;
            let _ = self.shorten_wal(copied_from(is_idle, self.options.wal_bytes));
        }
    }

    /// Silence is told apart from absence.
    fn beat(&mut self, now: Micros) -> Result<(), StoreError> {
        let Some(every) = self.options.heartbeat else { return Ok(()) };
        let silence = now.0.saturating_sub(self.last_entry_at.0);
        if u128::try_from(silence).is_ok_and(|silence| silence < every.as_micros()) {
            return Ok(());
        }
        self.write_plain(Kind::Heartbeat, now)
    }

    /// One entry that says no more than its kind, in a transaction of its own.
    pub(crate) fn write_plain(&mut self, kind: Kind, now: Micros) -> Result<(), StoreError> {
        self.begin(&Touched::default())?;
        let written =
            self.append(Whose::Node, &leaf::plain(kind, now), now).and_then(|_| self.commit());
        if written.is_err() {
            self.roll_back();
        }
        written
    }

    fn has_unsigned(&self) -> bool {
        self.log.size() > self.signed.checkpoint.size || self.shards.has_unsigned()
    }

    /// That the database has what was signed: it may have been taken back to an older state.
    pub(crate) fn check_size(&self) -> Result<(), StoreError> {
        let (found, signed) = (self.shards.next, self.signed_next);
        if found < signed { Err(StoreError::Behind { found, signed }) } else { Ok(()) }
    }

    /// The newest checkpoint of the node's own log, over every entry there is.
    pub(crate) fn own_checkpoint(&mut self) -> Result<String, StoreError> {
        if self.signed.note.is_none() || self.log.size() > self.signed.checkpoint.size {
            self.sign()?;
        }
        let rule = "what was signed has a note";
        self.signed.note.clone().ok_or(StoreError::Broken { rule })
    }

    /// Signs the logs as they stand. What will be signed is remembered before anybody can see it.
    pub(crate) fn sign(&mut self) -> Result<(), StoreError> {
        // What is not durable must never be signed.
        self.settle_log()?;
        if !self.options.faults.is(Fault::SignsEarly) {
            self.sync()?;
        }
        let now = self.now();
        // One attempt a second, also if it fails.
        self.signed.at = now;
        let (size, root) = (self.log.size(), self.log.root());
        self.disk.tell(DiskMoment::Remembers);
        let next = self.shards.next;
        self.last_signed.write(&Remembered { size, root, next })?;
        self.signed_next = next;
        self.disk.tell(DiskMoment::Remembered);
        self.sign_shards(now)?;
        if self.signed.note.is_some() && size == self.signed.checkpoint.size {
            return Ok(());
        }
        let checkpoint = Checkpoint { origin: self.options.origin.clone(), size, root };
        let signed = checkpoint.sign(&self.signer);
        let note =
            signed.map_err(|_| StoreError::Broken { rule: "the log's key signs its log" })?;
        self.store_checkpoint(size, &note).map_err(StoreError::database("writing a checkpoint"))?;
        self.signed.checkpoint = checkpoint;
        self.signed.note = Some(note);
        Ok(())
    }

    fn store_checkpoint(&self, size: u64, note: &str) -> Result<(), DbError> {
        let insert = "INSERT INTO checkpoint (size, note) VALUES (?1, ?2)
                      ON CONFLICT (size) DO UPDATE SET note = excluded.note";
        self.db.execute(insert, values![self.db.place(size), note])?;
        let prune = "DELETE FROM checkpoint WHERE size >= ?1 AND size <
            (SELECT size FROM checkpoint WHERE size >= ?1 AND size < ?2
             ORDER BY size DESC LIMIT 1 OFFSET ?3)";
        let given = values![self.db.place(0), self.db.end(), CHECKPOINTS_MAX];
        self.db.execute(prune, given).map(drop)
    }

    fn shorten_wal(&self, pages_max: i64) -> rusqlite::Result<()> {
        let Some(db) = self.db.embedded() else { return Ok(()) };
        let (pages, copied): (i64, i64) = {
            let mut look = db.prepare_cached("PRAGMA wal_checkpoint(NOOP)")?;
            look.query_row([], |row| Ok((row.get(1)?, row.get(2)?)))?
        };
        if pages - copied < pages_max {
            return Ok(());
        }
        self.disk.tell(DiskMoment::Copies);
        let mut copy = db.prepare_cached("PRAGMA wal_checkpoint(PASSIVE)")?;
        let copied = copy.query_row([], |_| Ok(()));
        self.disk.tell(DiskMoment::Copied);
        copied
    }

    /// Copies all of the write-ahead log and empties the file, so that nothing deleted remains in
    /// it.
    pub(crate) fn checkpoint_whole_wal(&self) -> Result<(), StoreError> {
        let Some(db) = self.db.embedded() else { return Ok(()) };
        self.disk.tell(DiskMoment::Copies);
        let copied = db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        self.disk.tell(DiskMoment::Copied);
        copied.map_err(StoreError::database("emptying the write-ahead log"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Options;

    #[test]
    fn the_write_ahead_log_is_copied_long_before_it_is_full() {
        assert_eq!(copied_from(false, Options::WAL_BYTES), WAL_PAGES_MAX);
        assert_eq!(copied_from(true, Options::WAL_BYTES), WAL_PAGES_QUIET);
        // Never later than it is full.
        assert_eq!(copied_from(false, 10 * FRAME_BYTES), 10);
    }
}
