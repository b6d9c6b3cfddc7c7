//! The committer: one thread that owns the database and writes everything that waits in one
//! transaction.
//!
//! It drains what is there without lingering, so that batches form by themselves under load and a
//! single call never waits for company. Replies are sent only once the commit is durable, see
//! `sync`. A batch that fails leaves nothing behind: memory is rebuilt from the database, and
//! outcomes of effects that did happen are owed and written with the next batch.

use crate::db::{Db, DbError, Touched, values};
use crate::error::StoreError;
use crate::job::{Change, Gauge, Job, Rejected, Write, Written};
use crate::log::{self, LastSigned};
use crate::payload::Prepared;
use crate::permit::{IntentEntry, Receipt};
use crate::session::{self, Sessions};
use crate::subject::{KnownIdentity, Subjects};
use crate::switch::Switches;
use crate::sync::{self, Committed, Disk, Syncer};
use crate::tend::{Signed, TurnedAwayWindow, Upkeep};
use crate::{Options, apply, fleet, leaf};
use lockgate_ledger::{Kind, Signer, TileWriter};
use lockgate_types::facts::SessionState;
use lockgate_types::{Digest, Micros, SessionId};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// Changes in one transaction. Enough to share an fsync among all that can wait; small enough to
/// bound a commit.
const BATCH_MAX: usize = 256;
/// Outcomes that are kept in memory while the database refuses to take them.
const OWED_MAX: usize = 4096;
/// How long the committer stays awake for jobs while the disk is waited for. A good disk takes
/// less.
const AWAKE_MAX: Duration = Duration::from_micros(300);

/// What the committer shares with callers.
pub(crate) struct Memory {
    pub(crate) subjects: Subjects,
    pub(crate) sessions: Sessions,
    pub(crate) switches: Arc<Switches>,
}

/// The committer's state. Callers' read jobs run against it between transactions.
pub(crate) struct Writer {
    pub(crate) db: Db,
    pub(crate) options: Options,
    pub(crate) memory: Arc<Memory>,
    pub(crate) log: TileWriter,
    pub(crate) signer: Signer,
    pub(crate) last_signed: LastSigned,
    pub(crate) signed: Signed,
    /// When the newest entry was written.
    pub(crate) last_entry_at: Micros,
    /// The hash of the newest entry that this process has appended.
    pub(crate) last_leaf: Option<Digest>,
    pub(crate) upkeep: Upkeep,
    pub(crate) turned_away: TurnedAwayWindow,
    pub(crate) gauge: Arc<Gauge>,
    /// The bundle that was published last: no write decided under another gets a permit. `None`
    /// until one is.
    ruling: Option<Digest>,
    pub(crate) disk: Arc<Disk>,
    syncer: Syncer,
    /// Whether something was committed since this thread last waited for the disk.
    is_behind: bool,
    /// Whether the last batch was of one change, and nothing else waited then.
    was_alone: bool,
    batch: Batch,
    /// Outcomes that could not be written yet.
    pub(crate) owed: Vec<Change>,
    /// Reads that were performed and cannot be recorded any more.
    lost_reads: u64,
    /// Whether `log` may say something else than the database.
    pub(crate) is_log_stale: bool,
    /// What tells this process from others of the node's name.
    pub(crate) incarnation: i64,
}

/// What becomes true outside of the database when the transaction is durable.
#[derive(Default)]
struct Batch {
    sessions: HashMap<SessionId, SessionState>,
    identities: Vec<Arc<KnownIdentity>>,
    ruling: Option<Digest>,
    /// Whether the fleet has to be told, and of how many erasures.
    told: Option<i64>,
}

/// What the changes of a batch have come to, one for one.
type Answers = Vec<Result<Written, Rejected>>;

/// A transaction that failed.
struct Failed {
    error: StoreError,
    /// What would have been answered, if only the database knows whether it was committed.
    unsure: Option<Answers>,
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self { error, unsure: None }
    }
}

/// What a writer is made of.
pub(crate) struct Parts {
    pub(crate) db: Db,
    pub(crate) options: Options,
    pub(crate) memory: Arc<Memory>,
    pub(crate) log: TileWriter,
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
        let Parts { db, options, memory, log, signer, last_signed, signed, last_entry_at, .. } =
            parts;
        let Parts { gauge, disk, syncer, .. } = parts;
        Self {
            db,
            options,
            memory,
            log,
            signer,
            last_signed,
            signed,
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
            batch: Batch::default(),
            owed: Vec::new(),
            lost_reads: 0,
            is_log_stale: false,
            incarnation: 0,
        }
    }

    /// Works until the queue is closed. Without [`Job::Close`] there is no stop entry, and the next
    /// start says so.
    pub(crate) fn run(mut self, queue: &Receiver<Job>) {
        let mut writes = Vec::with_capacity(BATCH_MAX);
        let mut reads = Vec::new();
        loop {
            let mut next = match self.next(queue) {
                Ok(job) => Some(job),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let is_idle = next.is_none();
            let mut close = None;
            while let Some(job) = next.take() {
                self.gauge.taken();
                match job {
                    Job::Write(write) => writes.push(write),
                    Job::Read(read) => reads.push(read),
                    Job::Close(reply) => close = Some(reply),
                }
                if close.is_none() && writes.len() + reads.len() < BATCH_MAX {
                    next = queue.try_recv().ok();
                }
            }
            if !writes.is_empty() {
                self.write_all(&mut writes);
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

    /// The next job. While the disk is waited for, more jobs are about to come, from those who are
    /// answered: for a moment the committer stays awake for them, since to be woken would take
    /// longer. Others who need the core get it.
    fn next(&self, queue: &Receiver<Job>) -> Result<Job, RecvTimeoutError> {
        let since = Instant::now();
        while self.syncer.is_busy() && since.elapsed() < AWAKE_MAX {
            if let Ok(job) = queue.try_recv() {
                return Ok(job);
            }
            std::thread::yield_now();
        }
        queue.recv_timeout(self.idle_wait())
    }

    /// Writes changes in one transaction and has those who wait answered once it is durable.
    fn write_all(&mut self, writes: &mut Vec<Write>) {
        let mut replies = Vec::with_capacity(writes.len());
        let mut changes = Vec::with_capacity(writes.len());
        for Write { change, reply } in writes.drain(..) {
            changes.push(change);
            replies.push(reply);
        }
        match self.transaction(&changes) {
            Ok(answers) => self.finish(Committed { changes, answers, replies }),
            Err(Failed { error, unsure }) => {
                if let Some(mut answers) = unsure {
                    // Nobody gets these permits: what is recorded of them says that nothing left.
                    apply::settle(&mut changes, &mut answers);
                }
                for change in changes {
                    self.owe(change);
                }
                sync::fail(replies, &error);
            }
        }
    }

    /// Waits for the disk, or has it waited for if there is more to do meanwhile: where calls came
    /// together, or one while another waits, the next is not far.
    fn finish(&mut self, committed: Committed) {
        if committed.is_early(self.options.faults) {
            return committed.answer(&Ok(()));
        }
        let is_alone =
            committed.changes.len() == 1 && !self.gauge.is_waiting() && !self.syncer.is_busy();
        let was_alone = std::mem::replace(&mut self.was_alone, is_alone);
        let is_durable = self.db.embedded().is_none();
        if is_durable || (is_alone && was_alone) {
            committed.answer(&self.sync());
        } else {
            self.syncer.hand_over(committed);
        }
    }

    /// Waits until everything that was committed is durable.
    pub(crate) fn sync(&mut self) -> Result<(), StoreError> {
        self.disk.sync()?;
        self.is_behind = false;
        Ok(())
    }

    /// One transaction: all of it, or none of it and an error. Durable with the next
    /// [`Writer::sync`].
    fn transaction(&mut self, changes: &[Change]) -> Result<Answers, Failed> {
        self.begin(&self.touched(changes)).map_err(Failed::from)?;
        let began = self.log.size();
        let applied = self.apply_all(changes);
        let committed = applied.map_err(Failed::from).and_then(|answers| match self.commit() {
            Ok(()) => Ok(answers),
            Err(_) if self.has_committed_since(began) => Ok(answers),
            Err(error) => Err(Failed { error, unsure: Some(answers) }),
        });
        match committed {
            Ok(answers) => {
                self.publish();
                Ok(answers)
            }
            Err(failed) => {
                self.roll_back();
                Err(failed)
            }
        }
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

    /// Writes what is owed, without anything new.
    pub(crate) fn pay(&mut self) {
        let _ = self.transaction(&[]);
    }

    fn apply_all(&mut self, changes: &[Change]) -> Result<Answers, StoreError> {
        let owed = std::mem::take(&mut self.owed);
        let paid = owed.iter().try_for_each(|change| self.apply(change).map(drop));
        // Until the commit they are still owed: `publish` forgets them.
        self.owed = owed;
        paid?;
        let lost = self.lost_reads + self.gauge.take_lost_reads();
        self.lost_reads = lost;
        if lost > 0 {
            let missing = leaf::Missing {
                cause: "not_recorded",
                since: self.last_entry_at,
                reads: Some(lost),
                open: 0,
            };
            let now = self.now();
            self.append(&leaf::gap(&missing, now), now)?;
        }
        changes.iter().map(|change| self.apply(change)).collect()
    }

    /// Begins a transaction, on a log that is known to be that of the database.
    pub(crate) fn begin(&mut self, touched: &Touched) -> Result<(), StoreError> {
        self.disk.check()?;
        self.connect()?;
        self.settle_log()?;
        self.db.begin(touched).map_err(StoreError::database("beginning a transaction"))
    }

    /// Makes the log in memory that of the database again, after a transaction has failed.
    pub(crate) fn settle_log(&mut self) -> Result<(), StoreError> {
        if self.is_log_stale {
            self.log = log::resume(&self.db, &self.signed.checkpoint)?;
            self.is_log_stale = false;
        }
        Ok(())
    }

    /// Ends the transaction. It is durable with the next [`Writer::sync`].
    pub(crate) fn commit(&mut self) -> Result<(), StoreError> {
        if let Some(erasures) = self.batch.told.take() {
            fleet::tell(&self.db, erasures)?;
        }
        self.db.commit().map_err(StoreError::database("committing a transaction"))?;
        // PostgreSQL has waited for its disk.
        self.is_behind = self.db.embedded().is_some();
        Ok(())
    }

    fn publish(&mut self) {
        for (_, state) in self.batch.sessions.drain() {
            self.memory.sessions.put(state);
        }
        for identity in self.batch.identities.drain(..) {
            identity.set_stored();
        }
        self.ruling = self.batch.ruling.take().or(self.ruling);
        self.owed.clear();
        self.lost_reads = 0;
    }

    /// Undoes a transaction that failed.
    pub(crate) fn roll_back(&mut self) {
        self.db.roll_back();
        self.batch = Batch::default();
        self.is_log_stale = true;
    }

    /// Keeps the outcome of an effect that did happen, to be written when the database takes it.
    fn owe(&mut self, change: Change) {
        let Change::Conclude(conclusion) = &change else { return };
        if self.owed.len() < OWED_MAX {
            self.owed.push(change);
        } else if matches!(conclusion.open.intent, IntentEntry::Shared(_)) {
            self.lost_reads += 1;
        }
        // An intent that is durable is found open at the next start, and gets its outcome then.
    }

    pub(crate) fn now(&self) -> Micros {
        (self.options.now)()
    }

    /// Gives an entry its place.
    pub(crate) fn append(
        &mut self,
        draft: &leaf::Draft,
        at: Micros,
    ) -> Result<Receipt, StoreError> {
        let index = self.log.size();
        let bytes = draft.complete(index);
        let broken = |_| StoreError::Broken { rule: "an entry fits in the log" };
        let hash = self.log.append(&bytes).map_err(broken)?;
        let place = self.db.place(index);
        self.insert_entry(place, hash.as_bytes(), &bytes)
            .map_err(StoreError::database("writing an entry"))?;
        self.last_entry_at = at;
        self.last_leaf = Some(hash);
        Ok(Receipt { index, leaf: hash })
    }

    fn insert_entry(&mut self, place: u64, hash: &[u8], leaf: &[u8]) -> Result<(), DbError> {
        let insert = "INSERT INTO entry (ix, hash, leaf) VALUES (?1, ?2, ?3)";
        self.db.execute(insert, values![place, hash, leaf])?;
        for file in self.log.take_complete() {
            // The bundle's entries have their own rows.
            if !file.path.starts_with("tile/entries/") {
                let insert = "INSERT INTO tile (path, hashes) VALUES (?1, ?2)";
                self.db.execute(insert, values![&self.db.own(&file.path), &file.bytes])?;
            }
        }
        Ok(())
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
        let insert = "INSERT INTO payload (ix, subject, sealed) VALUES (?1, ?2, ?3)";
        self.db.execute(insert, values![place, subject, sealed]).map(drop)
    }

    /// A session as it will be when this transaction is durable.
    pub(crate) fn session(&mut self, id: &SessionId) -> Result<SessionState, StoreError> {
        if let Some(state) = self.batch.sessions.get(id) {
            return Ok(state.clone());
        }
        if let Some(state) = self.memory.sessions.get(id) {
            return Ok(state);
        }
        let state = session::load(&self.db, id);
        let state = state.map_err(StoreError::database("reading a session"))?;
        self.memory.sessions.put(state.clone());
        Ok(state)
    }

    pub(crate) fn set_session(&mut self, state: SessionState) -> Result<(), StoreError> {
        session::save(&self.db, &state).map_err(StoreError::database("writing a session"))?;
        self.batch.sessions.insert(state.id.clone(), state);
        Ok(())
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
            self.append(&leaf::plain(Kind::Stop, now), now)?;
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
