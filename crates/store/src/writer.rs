//! The committer: one thread that owns the database and writes everything that waits in one
//! transaction.
//!
//! It drains what is there without lingering, so that batches form by themselves under load and a
//! single call never waits for company. Replies are sent only once the commit is durable, see
//! `sync`. A batch that fails leaves nothing behind: memory is rebuilt from the database, and
//! outcomes of effects that did happen are owed and written with the next batch.

use crate::batch::{BATCH_MAX, Batch, Seen};
use crate::db::{Db, DbError, Touched, values};
use crate::error::StoreError;
use crate::job::{Change, Job};
use crate::later::Table;
use crate::log::{self, LastSigned};
use crate::payload::Prepared;
use crate::permit::Receipt;
use crate::queue::{Gauge, Jobs, LostReads};
use crate::session::{self, Sessions};
use crate::shard::{Shards, Stand, Whose};
use crate::subject::Subjects;
use crate::switch::Switches;
use crate::sync::{Disk, Syncer};
use crate::tend::{Signed, TurnedAwayWindow, Upkeep};
use crate::trail::Trails;
use crate::{Options, fleet, leaf};
use lockgate_ledger::{Kind, Signer, TileFile, TileWriter};
use lockgate_types::facts::SessionState;
use lockgate_types::{Digest, Micros, SessionId};
use std::sync::Arc;

/// The log.
const ENTRY: Table = Table {
    name: "entry",
    insert: "INSERT INTO entry (ix, hash, leaf, shard, at) VALUES (?1, ?2, ?3, ?4, ?5)",
    insert_many: "INSERT INTO entry (ix, hash, leaf, shard, at)
        SELECT * FROM unnest($1::bigint[], $2::bytea[], $3::bytea[], $4::bigint[], $5::bigint[])",
};
/// What its entries carry.
const PAYLOAD: Table = Table {
    name: "payload",
    insert: "INSERT INTO payload (ix, subject, sealed) VALUES (?1, ?2, ?3)",
    insert_many: "INSERT INTO payload (ix, subject, sealed)
        SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bytea[])",
};

/// What the committer shares with callers.
pub(crate) struct Memory {
    pub(crate) subjects: Subjects,
    pub(crate) sessions: Sessions,
    pub(crate) trails: Trails,
    pub(crate) switches: Arc<Switches>,
}

/// The committer's state. Callers' read jobs run against it between transactions.
pub(crate) struct Writer {
    pub(crate) db: Db,
    pub(crate) options: Options,
    pub(crate) memory: Arc<Memory>,
    /// The node's own log.
    pub(crate) log: TileWriter,
    /// The logs of tenants, and the order of all entries.
    pub(crate) shards: Shards,
    pub(crate) signer: Signer,
    pub(crate) last_signed: LastSigned,
    /// The newest checkpoint of the node's own log.
    pub(crate) signed: Signed,
    /// How many entries this node had written when it signed last.
    pub(crate) signed_next: u64,
    /// When the newest entry was written.
    pub(crate) last_entry_at: Micros,
    /// The hash of the newest entry that this process has appended.
    pub(crate) last_leaf: Option<Digest>,
    pub(crate) upkeep: Upkeep,
    pub(crate) turned_away: TurnedAwayWindow,
    pub(crate) gauge: Arc<Gauge>,
    /// The bundle that was published last: no write decided under another gets a permit. `None`
    /// until one is.
    pub(crate) ruling: Option<Digest>,
    pub(crate) disk: Arc<Disk>,
    pub(crate) syncer: Syncer,
    /// Whether something was committed since this thread last waited for the disk.
    pub(crate) is_behind: bool,
    /// Whether the last batch was of one change, and nothing else waited then.
    pub(crate) was_alone: bool,
    /// How many changes the last batch was of.
    pub(crate) last_count: usize,
    pub(crate) batch: Batch,
    /// Outcomes that could not be written yet.
    pub(crate) owed: Vec<Change>,
    /// Reads that were performed and cannot be recorded any more.
    pub(crate) lost_reads: LostReads,
    /// Whether `log` may say something else than the database.
    pub(crate) is_log_stale: bool,
    /// What tells this process from others of the node's name.
    pub(crate) incarnation: i64,
}

/// What a writer is made of.
pub(crate) struct Parts {
    pub(crate) db: Db,
    pub(crate) options: Options,
    pub(crate) memory: Arc<Memory>,
    pub(crate) log: TileWriter,
    pub(crate) shards: Shards,
    pub(crate) signer: Signer,
    pub(crate) last_signed: LastSigned,
    pub(crate) signed: Signed,
    pub(crate) last_entry_at: Micros,
    pub(crate) gauge: Arc<Gauge>,
    pub(crate) disk: Arc<Disk>,
    pub(crate) syncer: Syncer,
}

impl Writer {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { db, options, memory, log, shards, signer, last_signed, signed, .. } = parts;
        let Parts { last_entry_at, gauge, disk, syncer, .. } = parts;
        Self {
            db,
            options,
            memory,
            log,
            shards,
            signer,
            last_signed,
            signed,
            signed_next: 0,
            last_entry_at,
            last_leaf: None,
            upkeep: Upkeep::default(),
            turned_away: TurnedAwayWindow::default(),
            gauge,
            ruling: None,
            disk,
            syncer,
            is_behind: false,
            was_alone: true,
            last_count: 0,
            batch: Batch::default(),
            owed: Vec::new(),
            lost_reads: LostReads::default(),
            is_log_stale: false,
            incarnation: 0,
        }
    }

    /// Works until the queue is closed. Without [`Job::Close`] there is no stop entry, and the next
    /// start says so.
    pub(crate) fn run(mut self, queue: &Jobs) {
        let mut writes = Vec::with_capacity(BATCH_MAX);
        let mut reads = Vec::new();
        loop {
            let Ok(mut next) = queue.within(self.idle_wait()) else { return };
            let is_idle = next.is_none();
            let mut close = None;
            while let Some(job) = next.take() {
                match job {
                    Job::Write(write) => writes.push(write),
                    Job::Read(read) => reads.push(read),
                    Job::Close(reply) => close = Some(reply),
                }
                if close.is_none() && writes.len() + reads.len() < BATCH_MAX {
                    next = queue.now();
                }
            }
            if !writes.is_empty() {
                match self.write_all(&mut writes, queue) {
                    Some(Job::Read(read)) => reads.push(read),
                    Some(Job::Close(reply)) => close = Some(reply),
                    Some(Job::Write(_)) | None => {}
                }
            }
            if self.is_behind && !reads.is_empty() {
                // Nobody is shown what could still be lost. A disk that fails is told of by writes.
                let _ = self.sync();
            }
            if !reads.is_empty() {
                // Who reads without a connection is told.
                let _ = self.connect();
            }
            for read in reads.drain(..) {
                read(&mut self);
            }
            if let Some(reply) = close {
                let closed = self.close();
                // The lock is gone before anybody is told, so that the next gate can start at once.
                drop(self);
                let _ = reply.send(closed);
                return;
            }
            self.tend(is_idle);
        }
    }

    /// Waits until everything that was committed is durable.
    pub(crate) fn sync(&mut self) -> Result<(), StoreError> {
        self.disk.sync()?;
        self.is_behind = false;
        Ok(())
    }

    /// Has the fleet told, as the last of this transaction, that something has changed.
    pub(crate) fn tell(&mut self) {
        if self.db.shared().is_some() {
            self.batch.told.get_or_insert(0);
        }
    }

    /// The same, of an erasure.
    pub(crate) fn tell_of_erasure(&mut self) {
        self.tell();
        self.batch.told = self.batch.told.map(|erasures| erasures.saturating_add(1));
    }

    /// Begins a transaction, on a log that is known to be that of the database.
    pub(crate) fn begin(&mut self, touched: &Touched) -> Result<(), StoreError> {
        self.disk.check()?;
        self.connect()?;
        self.settle_log()?;
        self.db.begin(touched).map_err(StoreError::database("beginning a transaction"))
    }

    /// Makes the logs in memory those of the database again, after a transaction has failed.
    pub(crate) fn settle_log(&mut self) -> Result<(), StoreError> {
        if self.is_log_stale {
            let reread = self.shards.reread(&self.db);
            reread.map_err(StoreError::database("reading which logs there are"))?;
            self.check_size()?;
            self.log = log::resume(&self.db, self.shards.own, &self.signed.checkpoint)?;
            self.is_log_stale = false;
        }
        Ok(())
    }

    /// Ends the transaction. It is durable with the next [`Writer::sync`].
    pub(crate) fn commit(&mut self) -> Result<(), StoreError> {
        for seen in self.batch.sessions.values().filter(|seen| seen.is_changed) {
            let saved = session::save(&self.db, &seen.state);
            saved.map_err(StoreError::database("writing a session"))?;
        }
        self.save_trails().map_err(StoreError::database("writing a trail"))?;
        if let Some(erasures) = self.batch.told.take() {
            fleet::tell(&self.db, erasures)?;
        }
        self.db.commit().map_err(StoreError::database("committing a transaction"))?;
        // PostgreSQL has waited for its disk.
        self.is_behind = self.db.embedded().is_some();
        Ok(())
    }

    /// Undoes a transaction that failed.
    pub(crate) fn roll_back(&mut self) {
        self.db.roll_back();
        self.batch = Batch::default();
        self.is_log_stale = true;
    }

    pub(crate) fn now(&self) -> Micros {
        (self.options.now)()
    }

    /// Where the next entry will stand, in whichever log.
    pub(crate) const fn next_place(&self) -> u64 {
        self.db.place(self.shards.next)
    }

    /// Gives an entry its place.
    pub(crate) fn append(
        &mut self,
        whose: Whose<'_>,
        draft: &leaf::Draft,
        at: Micros,
    ) -> Result<Receipt, StoreError> {
        let place = self.next_place();
        let (stand, log) = self.stand(whose)?;
        let bytes = draft.complete(stand.index);
        let broken = |_| StoreError::Broken { rule: "an entry fits in the log" };
        let hash = log.append(&bytes).map_err(broken)?;
        let tiles = log.take_complete();
        self.insert_entry(place, &stand, hash.as_bytes(), &bytes)
            .and_then(|()| self.insert_tiles(&stand, &tiles))
            .map_err(StoreError::database("writing an entry"))?;
        self.shards.next = self.shards.next.saturating_add(1);
        self.last_entry_at = at;
        self.last_leaf = Some(hash);
        Ok(Receipt { index: stand.index, leaf: hash, place })
    }

    fn insert_entry(
        &self,
        place: u64,
        stand: &Stand,
        hash: &[u8],
        leaf: &[u8],
    ) -> Result<(), DbError> {
        let (shard, at) = stand.rows.numbers(stand.index);
        self.db.add(&ENTRY, values![place, hash, leaf, shard, at])
    }

    fn insert_tiles(&self, stand: &Stand, tiles: &[TileFile]) -> Result<(), DbError> {
        let insert = "INSERT INTO tile (path, hashes) VALUES (?1, ?2)";
        tiles.iter().try_for_each(|tile| {
            let name = stand.rows.tile_name(&self.db, &tile.path);
            self.db.execute(insert, values![&name, &tile.bytes]).map(drop)
        })
    }

    /// Writes the sealed parts of a decided call, and its identity if that is not stored yet.
    pub(crate) fn insert_parts(&mut self, prepared: &Prepared, place: u64) -> Result<(), DbError> {
        let row = prepared.subject.row;
        self.insert_payload(place, row, &prepared.sealed)?;
        if prepared.identity.is_stored() {
            return Ok(());
        }
        let insert = "INSERT INTO identity (commitment, subject, sealed) VALUES (?1, ?2, ?3)
                      ON CONFLICT DO NOTHING";
        let commitment = prepared.identity.commitment.digest();
        let given = values![commitment.as_bytes(), row, &prepared.identity.sealed];
        self.db.execute(insert, given)?;
        self.batch.identities.push(Arc::clone(&prepared.identity));
        Ok(())
    }

    pub(crate) fn insert_payload(
        &self,
        place: u64,
        subject: i64,
        sealed: &[u8],
    ) -> Result<(), DbError> {
        self.db.add(&PAYLOAD, values![place, subject, sealed])
    }

    /// A session as it will be when this transaction is durable.
    pub(crate) fn session(&mut self, id: &SessionId) -> Result<SessionState, StoreError> {
        if let Some(seen) = self.batch.sessions.get(id) {
            return Ok(seen.state.clone());
        }
        if let Some(state) = self.memory.sessions.get(id) {
            return Ok(state);
        }
        let state = session::load(&self.db, id);
        let state = state.map_err(StoreError::database("reading a session"))?;
        self.memory.sessions.put(state.clone());
        Ok(state)
    }

    /// Changes a session, with the commit.
    pub(crate) fn set_session(&mut self, state: SessionState) {
        self.batch.sessions.insert(state.id.clone(), Seen { state, is_changed: true });
    }

    /// The bundle that will have been published last when this transaction is durable.
    pub(crate) fn ruling(&mut self) -> Result<Option<Digest>, StoreError> {
        if self.batch.ruling.is_none() && self.db.shared().is_some() {
            // Another node may have published one. It cannot until this transaction ends.
            self.batch.ruling = fleet::ruling(&self.db)?;
        }
        Ok(self.batch.ruling.or(self.ruling))
    }

    pub(crate) fn set_ruling(&mut self, bundle: Digest) {
        self.batch.ruling = Some(bundle);
    }

    /// Ends the log in order.
    fn close(&mut self) -> Result<(), StoreError> {
        let now = self.now();
        self.begin(&self.touched(&[]))?;
        let stopped = self.apply_all(&[]).and_then(|_| {
            self.append(Whose::Node, &leaf::plain(Kind::Stop, now), now)?;
            fleet::leave(&self.db)?;
            self.commit()
        });
        if let Err(error) = stopped {
            self.roll_back();
            return Err(error);
        }
        self.publish();
        // Signing waits for the disk first. What was handed over is answered as the syncer ends.
        self.sign()?;
        self.checkpoint_whole_wal()
    }
}
