//! What callers hand to the committer, and the bounded queue in which it waits.

use crate::approval::{ApprovalAnswer, Question};
use crate::breaker::Turned;
use crate::canary::CanarySeen;
use crate::cap::Full;
use crate::effect::{Blocked, Means};
use crate::error::StoreError;
use crate::evaluation::Evaluation;
use crate::held::Holding;
use crate::notice::{Heard, Notice, Told};
use crate::payload::{Prepared, SealedResult};
use crate::permit::{
    IntentEntry, OpenCall, OutcomeRecord, OutcomeState, Receipt, Ticket, TurnedAway,
};
use crate::rate::Slice;
use crate::risk::{Folded, ModeSet, Setting};
use crate::source::RunOfSource;
use crate::store::Store;
use crate::subject::Subject;
use crate::used::ShownName;
use crate::writer::Writer;
use lockgate_core::canary::Canary;
use lockgate_core::risk::Rules;
use lockgate_core::risk::baseline::Baseline;
use lockgate_types::facts::{SessionState, Switch};
use lockgate_types::history::{History, Step};
use lockgate_types::label::Label;
use lockgate_types::{CallId, Digest, Micros, SessionId, SubjectId, Tenant};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, oneshot};

/// A unit of the committer's work.
pub(crate) enum Job {
    /// Joins the next transaction.
    Write(Write),
    /// Runs between transactions.
    Read(Box<dyn FnOnce(&mut Writer) + Send>),
    /// Ends the log in order.
    Close(oneshot::Sender<Result<(), StoreError>>),
}

/// A change, and who waits for it.
pub(crate) struct Write {
    pub(crate) change: Change,
    pub(crate) reply: Option<oneshot::Sender<Result<Written, Rejected>>>,
    /// Since when it waits.
    pub(crate) since: Instant,
}

impl Write {
    /// A change that waits from now on.
    pub(crate) fn new(
        change: Change,
        reply: Option<oneshot::Sender<Result<Written, Rejected>>>,
    ) -> Self {
        Self { change, reply, since: Instant::now() }
    }
}

/// What is to be written.
pub(crate) enum Change {
    /// An allowed call whose intent has to be durable before the effect.
    Intent { prepared: Box<Prepared>, ticket: Option<Ticket> },
    /// A refused call.
    Refusal(Box<Prepared>),
    /// An allowed call that is answered with the outcome of an earlier one.
    Repeat { prepared: Box<Prepared>, label: Label },
    /// A refused call that asks for approval.
    Ask { prepared: Box<Prepared>, question: Question },
    /// Somebody's answer to a request for approval, by a call to the admin API.
    Answer { call: CallId, answer: ApprovalAnswer, by: CallId },
    /// What is due for a webhook is taken, to be told to it.
    ClaimNotices { webhook: String, max: u32 },
    /// What came of telling a webhook.
    Told { webhook: String, notice: Notice, told: Told },
    /// A message of a channel's has arrived.
    Hear { webhook: String, id: String, body: Digest },
    /// It was answered.
    AnswerHeard { webhook: String, id: String, answer: String },
    /// A switch was thrown or lifted, by a call to the admin API.
    Switch { switch: Switch, is_on: bool, by: CallId },
    /// It became known what came of an effect in doubt.
    Resolve { call: CallId, state: OutcomeState, means: Means },
    /// An outcome, with its intent if they share the transaction.
    Conclude(Box<Conclusion>),
    /// A subject is looked up, or made.
    Subject { lookup: [u8; 32] },
    /// A bundle becomes the one that rules.
    Bundle { digest: Digest, files: Vec<u8>, count: usize },
    /// This node has taken up the bundle that rules its fleet.
    Followed { digest: Digest, count: usize },
    /// Timers loosen what is due: of a session, of its tenant.
    SettleModes { ids: [SessionId; 2], rules: Arc<Rules>, at: Micros },
    /// A new session begins with what is held against agent and subject.
    Inherit { id: SessionId, base: SessionId },
    /// A person sets a mode.
    SetMode(Box<Setting>),
    /// Something is held against a session.
    Hold(Box<Holding>),
    /// A window is added to what is usual.
    Fold(Box<Folded>),
    /// A circuit breaker changed its state.
    Breaker(Turned),
    /// A source of documents was run.
    Source(Box<RunOfSource>),
    /// Answers of a model that is tried out were counted.
    Canary(Box<CanarySeen>),
    /// A result of behaviour tests was handed in.
    Evaluation(Box<Evaluation>),
    /// A session has met something before the outcome of the call by which it did.
    Met(Box<Met>),
    /// A request was refused before there was a call.
    TurnedAway { turned: TurnedAway, lookup: Option<[u8; 32]> },
    /// A slice of a rate is taken.
    Slice(Slice),
    /// A subject's key is destroyed.
    Erase { issuer: String, subject: SubjectId },
}

impl Change {
    pub(crate) fn conclude(open: Box<OpenCall>, record: OutcomeRecord) -> Self {
        Self::Conclude(Box::new(Conclusion {
            open,
            record,
            result: None,
            bytes: 0,
            shown: Vec::new(),
        }))
    }
}

/// What a session has met.
pub(crate) struct Met {
    pub(crate) session: SessionId,
    pub(crate) history: Option<History>,
    pub(crate) label: Label,
    pub(crate) step: Step,
}

/// An outcome, ready to be written.
pub(crate) struct Conclusion {
    pub(crate) open: Box<OpenCall>,
    /// Without the result, which has been sealed.
    pub(crate) record: OutcomeRecord,
    pub(crate) result: Option<SealedResult>,
    pub(crate) bytes: u64,
    /// The documents that it has shown.
    pub(crate) shown: Vec<ShownName>,
}

/// What a durable change gives back.
pub(crate) enum Written {
    Entry(Receipt),
    /// The intent is written, and so much taken of each of its reservations.
    Intended {
        receipt: Receipt,
        taken: Vec<i64>,
    },
    /// The intent is durable; its ticket is armed.
    Admitted(Ticket),
    Subject(Arc<Subject>),
    /// The request for approval that now waits, or did already.
    Asked {
        call: CallId,
        expires: Micros,
    },
    /// How many tokens the slice has, or when there is one.
    Sliced(Result<u32, i64>),
    /// An answer was taken.
    Answered,
    /// What is to be told to a webhook.
    Claimed(Vec<Notice>),
    /// What was known of a message.
    Heard(Heard),
    /// A session and its tenant, once timers have loosened what was due.
    Settled(Box<(SessionState, SessionState)>),
    /// What became of a mode that a person set.
    Set(ModeSet),
    /// What is usual now.
    Folded(Box<Baseline>),
    /// How a model stands that is tried out.
    Canary(Box<Canary>),
    /// There was nothing to do, or nothing to say about it.
    Nothing,
}

/// Why a change was not made.
pub(crate) enum Rejected {
    /// The session is no longer as the decision saw it, or another bundle rules.
    Moved,
    /// The same effect was asked for before, or is being performed.
    Blocked(Blocked),
    /// That counter of its reservations has no room.
    Exhausted(Full),
    Failed(StoreError),
}

impl From<StoreError> for Rejected {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}

/// The way to the committer. Cheap to clone; never waits.
///
/// What begins something is refused when `max` jobs wait. What ends something that was begun (an
/// outcome) may use the same room once more, so that a flood of new calls cannot crowd out the
/// records of those already performed.
#[derive(Clone)]
pub(crate) struct Queue {
    sender: SyncSender<Job>,
    max: usize,
    gauge: Arc<Gauge>,
    now: fn() -> Micros,
}

/// Tenants whose lost reads are counted apart.
const LOST_TENANTS_MAX: usize = 4096;

/// How many reads were performed that cannot be recorded any more, of each tenant. `None`: of those
/// that are not counted apart.
#[derive(Default)]
pub(crate) struct LostReads {
    pub(crate) by: BTreeMap<Option<Tenant>, u64>,
}

impl LostReads {
    pub(crate) fn add(&mut self, tenant: Option<&Tenant>, count: u64) {
        let has_room = self.by.len() < LOST_TENANTS_MAX;
        let tenant = tenant.filter(|tenant| {
            has_room || self.by.keys().any(|known| known.as_ref() == Some(*tenant))
        });
        let counted = self.by.entry(tenant.cloned()).or_default();
        *counted = counted.saturating_add(count);
    }

    pub(crate) fn join(&mut self, others: Self) {
        others.by.iter().for_each(|(tenant, count)| self.add(tenant.as_ref(), *count));
    }
}

/// What both ends of the queue count.
#[derive(Default)]
pub(crate) struct Gauge {
    waiting: AtomicUsize,
    /// How long the newest batch's oldest change has waited for others, in microseconds.
    lag_us: AtomicU64,
    /// How long the disk takes when it has little to do, in microseconds: the shortest of late.
    disk_us: AtomicU64,
    /// Whether there are any: they are rare, and every batch asks.
    has_lost_reads: AtomicBool,
    lost_reads: Mutex<LostReads>,
    /// Tells that there is something to be told to webhooks.
    pub(crate) news: Notify,
}

impl Gauge {
    /// A job was taken out.
    pub(crate) fn taken(&self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether another job is there to be taken.
    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// A batch is durable whose oldest change waits since then, and the disk took so long. A change
    /// waits for the disk twice at most, for the batch before and for its own: what is beyond what
    /// the disk takes when it has little to do is that there is much to do.
    pub(crate) fn note_lag(&self, since: Instant, disk: Duration) {
        let us = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        // A disk that has become slower for good is known for it after some hundred batches.
        let known = match self.disk_us.load(Ordering::Relaxed) {
            0 => us(disk),
            known => us(disk).min(known.saturating_add(known / 128 + 1)),
        };
        self.disk_us.store(known, Ordering::Relaxed);
        let lag_us = us(since.elapsed()).saturating_sub(known.saturating_mul(2));
        self.lag_us.store(lag_us, Ordering::Relaxed);
    }

    /// How long what is written waits for its turn.
    pub(crate) fn lag(&self) -> Duration {
        Duration::from_micros(self.lag_us.load(Ordering::Relaxed))
    }

    /// The reads that were performed since this was last asked and could not be recorded at all.
    pub(crate) fn take_lost_reads(&self) -> LostReads {
        if !self.has_lost_reads.swap(false, Ordering::Relaxed) {
            return LostReads::default();
        }
        std::mem::take(&mut self.lost_reads.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Counts a read that was performed and cannot be recorded.
    pub(crate) fn lose_read(&self, tenant: &Tenant) {
        self.lost_reads.lock().unwrap_or_else(PoisonError::into_inner).add(Some(tenant), 1);
        self.has_lost_reads.store(true, Ordering::Relaxed);
    }
}

impl Queue {
    /// A queue and its other end.
    pub(crate) fn new(max: usize, now: fn() -> Micros) -> (Self, Receiver<Job>, Arc<Gauge>) {
        let (sender, receiver) = sync_channel(max.saturating_mul(2));
        let gauge = Arc::new(Gauge::default());
        (Self { sender, max, gauge: Arc::clone(&gauge), now }, receiver, gauge)
    }

    pub(crate) fn now(&self) -> Micros {
        (self.now)()
    }

    pub(crate) fn clock(&self) -> fn() -> Micros {
        self.now
    }

    /// Tells that there is something to be told to webhooks.
    pub(crate) fn news(&self) -> &Notify {
        &self.gauge.news
    }

    /// Puts in what begins something.
    pub(crate) fn begin(&self, job: Job) -> Result<(), StoreError> {
        if self.gauge.waiting.load(Ordering::Relaxed) >= self.max {
            return Err(StoreError::Overloaded { max: self.max });
        }
        self.put(job).map_err(|unsent| unsent.0)
    }

    /// Puts in what ends something that was begun.
    pub(crate) fn end(&self, write: Write) -> Result<(), StoreError> {
        self.put(Job::Write(write)).map_err(|unsent| {
            let (error, job) = *unsent;
            if let Job::Write(Write { change: Change::Conclude(conclusion), .. }) = job
                && matches!(conclusion.open.intent, IntentEntry::Shared(_))
            {
                self.gauge.lose_read(&conclusion.open.tenant);
            }
            error
        })
    }

    fn put(&self, job: Job) -> Result<(), Box<(StoreError, Job)>> {
        self.gauge.waiting.fetch_add(1, Ordering::Relaxed);
        self.sender.try_send(job).map_err(|error| {
            self.gauge.taken();
            Box::new(match error {
                TrySendError::Full(job) => (StoreError::Overloaded { max: self.max }, job),
                TrySendError::Disconnected(job) => (StoreError::Closed, job),
            })
        })
    }
}

impl Store {
    /// How long what is written waits for its turn, beside the disk: where that stands, more is
    /// written than there is time for. Of PostgreSQL it is not known.
    pub fn lag(&self) -> Duration {
        self.queue().gauge.lag()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_for_the_disk_alone_does_not_lag() {
        let gauge = Gauge::default();
        let ms = Duration::from_millis;
        let Some(since) = Instant::now().checked_sub(ms(10)) else { return };
        gauge.note_lag(since, ms(3));
        assert!(gauge.lag() >= ms(4));
        let slow = Gauge::default();
        slow.note_lag(since, Duration::from_secs(60));
        assert_eq!(slow.lag(), Duration::ZERO);
    }

    #[test]
    fn a_disk_that_is_slow_because_there_is_much_to_do_is_no_excuse() {
        let gauge = Gauge::default();
        let ms = Duration::from_millis;
        let Some(since) = Instant::now().checked_sub(ms(60)) else { return };
        gauge.note_lag(Instant::now(), ms(1));
        gauge.note_lag(since, ms(30));
        assert!(gauge.lag() >= ms(55));
        // One that stays slow is known for it.
        (0..1000).for_each(|_| gauge.note_lag(since, Duration::from_secs(60)));
        assert_eq!(gauge.lag(), Duration::ZERO);
    }
}
