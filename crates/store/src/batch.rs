//! A batch: what is written in one transaction, and what follows from it.
//!
//! It begins with what waits. While the disk is still busy with the batch before, it cannot become
//! durable any earlier than with the next wait for the disk, so that whatever comes meanwhile joins
//! it: one commit of many changes writes far fewer pages than several of a few.

use crate::error::StoreError;
use crate::job::{Change, Job, Rejected, Write, Written};
use crate::lane::Reply;
use crate::permit::IntentEntry;
use crate::queue::{Jobs, LostReads};
use crate::subject::KnownIdentity;
use crate::sync::{self, Committed};
use crate::trail::SeenTrail;
use crate::writer::Writer;
use crate::{apply, leaf, risk, session};
use lockgate_types::facts::SessionState;
use lockgate_types::{Digest, SessionId};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Changes in one transaction. Enough to share an fsync among all that can wait; small enough to
/// bound a commit.
pub(crate) const BATCH_MAX: usize = 256;
/// How often the committer looks whether the disk is still busy while nobody wakes it: the thread
/// that waits for the disk does, unless it is gone.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Changes in one batch from which on so many call at once that the disk rests before the next.
const REST_FROM: usize = 4;
/// How long it rests at most: a slow disk gathers enough by itself.
const REST_MAX: Duration = Duration::from_micros(500);
/// Outcomes that are kept in memory while the database refuses to take them.
const OWED_MAX: usize = 4096;

/// What becomes true outside of the database when the transaction is durable.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) sessions: HashMap<SessionId, Seen>,
    pub(crate) trails: BTreeMap<String, SeenTrail>,
    pub(crate) identities: Vec<Arc<KnownIdentity>>,
    pub(crate) ruling: Option<Digest>,
    /// Whether the fleet has to be told, and of how many erasures.
    pub(crate) told: Option<i64>,
}

/// A session as a batch sees it.
pub(crate) struct Seen {
    pub(crate) state: SessionState,
    /// Whether it is written with the commit.
    pub(crate) is_changed: bool,
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

/// Changes that are written together, and who waits for them, one for one.
#[derive(Default)]
struct Together {
    changes: Vec<Change>,
    replies: Vec<Option<Reply>>,
    /// Since when the oldest of them waits.
    since: Option<Instant>,
}

impl Together {
    fn join(&mut self, Write { change, reply, since }: Write) {
        self.since = Some(self.since.map_or(since, |known| known.min(since)));
        self.changes.push(change);
        self.replies.push(reply);
    }
}

impl Writer {
    /// Writes changes in one transaction and has those who wait answered once it is durable. Gives
    /// back a job that cannot be part of one, if one has come.
    pub(crate) fn write_all(&mut self, writes: &mut Vec<Write>, queue: &Jobs) -> Option<Job> {
        let mut together = Together::default();
        writes.drain(..).for_each(|write| together.join(write));
        let (mut other, mut has_rested) = (None, false);
        let written = self.transaction(&mut together, |writer, count| {
            let job = writer.company(queue, count, &mut has_rested)?;
            match job {
                Job::Write(write) => Some(write),
                job => {
                    other = Some(job);
                    None
                }
            }
        });
        let Together { mut changes, replies, since } = together;
        match written {
            Ok(answers) => {
                let are_waiting = queue.are_waiting();
                self.finish(Committed { changes, answers, replies, since }, are_waiting);
            }
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
        other
    }

    /// A job that comes while the disk is busy with what was committed before, or rests. Where many
    /// call at once, and every lane has something else to do, it rests for as long as it worked:
    /// half as many waits for it cost each call half as much.
    fn company(&self, queue: &Jobs, count: usize, has_rested: &mut bool) -> Option<Job> {
        // PostgreSQL is told at the beginning what a transaction touches, and waits for its disk
        // within the commit.
        self.db.embedded()?;
        while count < BATCH_MAX && self.syncer.is_busy() {
            if let Some(job) = queue.awaited(LOOK_EVERY, || self.syncer.is_busy()) {
                return Some(job);
            }
        }
        if !std::mem::replace(has_rested, true) && self.last_count >= REST_FROM {
            queue.rest(self.syncer.worked().min(REST_MAX));
        }
        if count < BATCH_MAX && self.last_count >= REST_FROM { queue.now() } else { None }
    }

    /// Waits for the disk, or has it waited for if there is more to do meanwhile: where calls came
    /// together, or one while another waits, the next is not far.
    fn finish(&mut self, committed: Committed, are_waiting: bool) {
        if committed.is_early(self.options.faults) {
            return committed.answer(&Ok(()));
        }
        self.last_count = committed.changes.len();
        let is_alone = committed.changes.len() == 1 && !are_waiting && !self.syncer.is_busy();
        let was_alone = std::mem::replace(&mut self.was_alone, is_alone);
        let is_durable = self.db.embedded().is_none();
        if is_durable || (is_alone && was_alone) {
            let began = Instant::now();
            let durable = self.sync();
            if let Some(since) = committed.since.filter(|_| !is_durable) {
                self.gauge.note_lag(since, began.elapsed());
            }
            committed.answer(&durable);
        } else {
            self.syncer.hand_over(committed);
        }
    }

    /// One transaction: all of it, or none of it and an error. Durable with the next
    /// [`Writer::sync`].
    fn transaction(
        &mut self,
        together: &mut Together,
        company: impl FnMut(&Self, usize) -> Option<Write>,
    ) -> Result<Answers, Failed> {
        self.begin(&self.touched(&together.changes)).map_err(Failed::from)?;
        let began = self.shards.next;
        let applied = self.apply_joined(together, company);
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

    /// Writes what is owed, without anything new.
    pub(crate) fn pay(&mut self) {
        let _ = self.transaction(&mut Together::default(), |_, _| None);
    }

    /// Reads the sessions that changes are about in one go, where others change them too.
    fn see_sessions(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        if self.db.shared().is_none() {
            return Ok(());
        }
        let ids: BTreeSet<String> = self.owed.iter().chain(changes).flat_map(sessions_of).collect();
        let trails: BTreeSet<&str> = changes.iter().flat_map(trails_of).collect();
        let found = session::load_all(&self.db, ids.iter().map(String::as_str), trails);
        let found = found.map_err(StoreError::database("reading sessions"))?;
        self.see_trails(found.trails);
        for state in found.sessions {
            self.batch.sessions.insert(state.id.clone(), Seen { state, is_changed: false });
        }
        Ok(())
    }

    /// Makes the changes, and those that still join them.
    fn apply_joined(
        &mut self,
        together: &mut Together,
        mut company: impl FnMut(&Self, usize) -> Option<Write>,
    ) -> Result<Answers, StoreError> {
        self.see_sessions(&together.changes)?;
        let mut answers = self.apply_all(&together.changes)?;
        while let Some(write) = company(self, together.changes.len()) {
            // First of all it is part of the batch: what becomes of that becomes of it.
            together.join(write);
            let joined = together.changes.last().map(|change| self.apply(change));
            answers.extend(joined.transpose()?);
        }
        Ok(answers)
    }

    /// What is owed comes first.
    pub(crate) fn apply_all(&mut self, changes: &[Change]) -> Result<Answers, StoreError> {
        let owed = std::mem::take(&mut self.owed);
        let paid = owed.iter().try_for_each(|change| self.apply(change).map(drop));
        // Until the commit they are still owed: `publish` forgets them.
        self.owed = owed;
        paid?;
        self.lost_reads.join(self.gauge.take_lost_reads());
        self.tell_lost_reads()?;
        changes.iter().map(|change| self.apply(change)).collect()
    }

    /// Says in the log of each tenant how many reads of its are missing there.
    fn tell_lost_reads(&mut self) -> Result<(), StoreError> {
        let (since, now) = (self.last_entry_at, self.now());
        let lost = std::mem::take(&mut self.lost_reads);
        let told = lost.by.iter().try_for_each(|(tenant, reads)| {
            let reads = Some(*reads);
            let missing = leaf::Missing { cause: "not_recorded", since, reads, open: 0 };
            let whose = self.whose(tenant.as_ref())?;
            self.append(whose, &leaf::gap(&missing, now), now).map(drop)
        });
        // Until the commit they are still to be told of: `publish` forgets them.
        self.lost_reads = lost;
        told
    }

    pub(crate) fn publish(&mut self) {
        for (_, seen) in self.batch.sessions.drain() {
            self.memory.sessions.put(seen.state);
        }
        self.publish_trails();
        for identity in self.batch.identities.drain(..) {
            identity.set_stored();
        }
        self.ruling = self.batch.ruling.take().or(self.ruling);
        self.owed.clear();
        self.lost_reads = LostReads::default();
    }

    /// Keeps the outcome of an effect that did happen, to be written when the database takes it.
    fn owe(&mut self, change: Change) {
        let Change::Conclude(conclusion) = &change else { return };
        if self.owed.len() < OWED_MAX {
            self.owed.push(change);
        } else if matches!(conclusion.open.intent, IntentEntry::Shared(_)) {
            self.lost_reads.add(Some(&conclusion.open.tenant), 1);
        }
        // An intent that is durable is found open at the next start, and gets its outcome then.
    }
}

/// The sessions that a change is about, and what it reads of tenants.
fn sessions_of(change: &Change) -> Vec<String> {
    let (id, subject, who, raise) = match change {
        Change::Intent { prepared, .. } => {
            let posture = prepared.posture.as_ref().map(|(tenant, _)| tenant.to_string());
            return posture.into_iter().chain([prepared.before.id.to_string()]).collect();
        }
        Change::Repeat { prepared, .. } => {
            (&prepared.before.id, &prepared.subject, &prepared.who, prepared.raise.as_ref())
        }
        Change::Refusal(prepared) | Change::Ask { prepared, .. } => {
            let Some(raise) = &prepared.raise else { return Vec::new() };
            (&prepared.before.id, &prepared.subject, &prepared.who, Some(raise))
        }
        Change::Conclude(conclusion) => {
            let open = &conclusion.open;
            (&open.session, &open.subject, &open.who, open.raise.as_ref())
        }
        Change::Hold(holding) => {
            (&holding.id, &holding.subject, &holding.who, Some(&holding.raise))
        }
        Change::SettleModes { ids, .. } => return ids.iter().map(ToString::to_string).collect(),
        Change::Inherit { id, base } => return vec![id.to_string(), base.to_string()],
        Change::SetMode(setting) => return vec![setting.id.to_string()],
        Change::Breaker(turned) => {
            return turned.held.iter().map(|held| held.tenant.to_string()).collect();
        }
        Change::Met(met) => return vec![met.session.to_string()],
        _ => return Vec::new(),
    };
    let more = raise.into_iter().flat_map(|raise| risk::touched(raise, (who, subject), id));
    more.map(|id| id.to_string()).chain([id.to_string()]).collect()
}

/// The trails that a change is decided on.
fn trails_of(change: &Change) -> impl Iterator<Item = &str> {
    let prepared = match change {
        Change::Intent { prepared, .. } => Some(prepared),
        _ => None,
    };
    prepared.into_iter().flat_map(|prepared| {
        let history = prepared.history.as_deref();
        history.into_iter().flat_map(|history| [prepared.before.id.as_str(), &history.group])
    })
}
