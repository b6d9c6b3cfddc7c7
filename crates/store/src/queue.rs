//! The bounded queue in which what callers hand over waits for the committer.
//!
//! Putting something in never waits. Whether the committer is woken at once, or at the end of the
//! lane's turn, is for `lane`.

use crate::error::StoreError;
use crate::job::{Change, Job, Write};
use crate::lane;
use crate::permit::IntentEntry;
use crate::store::Store;
use lockgate_types::{Micros, Tenant};
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// The way to the committer. Cheap to clone; never waits.
///
/// What begins something is refused when `max` jobs wait. What ends something that was begun (an
/// outcome) may use the same room once more, so that a flood of new calls cannot crowd out the
/// records of those already performed.
#[derive(Clone)]
pub(crate) struct Queue {
    way: Arc<Way>,
    max: usize,
    gauge: Arc<Gauge>,
    now: fn() -> Micros,
}

/// The end at which jobs are put in, of all clones of a queue.
struct Way {
    waiting: Arc<Waiting>,
    committer: Waker,
    /// Ends its rest.
    rest: Waker,
}

impl Drop for Way {
    fn drop(&mut self) {
        self.waiting.state().has_ended = true;
        self.committer.wake_by_ref();
    }
}

/// The end at which the committer takes them out.
pub(crate) struct Jobs(Arc<Waiting>);

/// There are no more jobs, and nobody who could put one in.
pub(crate) struct NoMore;

/// What waits.
#[derive(Default)]
struct Waiting {
    state: Mutex<State>,
    came: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    /// Whether the committer sleeps, and nobody has woken it yet.
    is_asleep: bool,
    /// Whether it lets jobs come together, for as long as no lane is idle.
    is_resting: bool,
    /// Nobody puts anything in any more.
    has_ended: bool,
    /// Nobody takes anything out any more.
    is_closed: bool,
}

impl Waiting {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes the committer, if it sleeps.
impl Wake for Waiting {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if std::mem::take(&mut self.state().is_asleep) {
            self.came.notify_one();
        }
    }
}

/// Ends the committer's rest.
struct Rest(Arc<Waiting>);

impl Wake for Rest {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if std::mem::take(&mut self.0.state().is_resting) {
            self.0.came.notify_one();
        }
    }
}

impl Jobs {
    /// Lets jobs come together for so long at most, while every lane has something to do.
    pub(crate) fn rest(&self, most: Duration) {
        let mut state = self.0.state();
        // Looked at under the lock: a lane that becomes idle says so first, and ends the rest then.
        if !lane::all_are_busy() {
            return;
        }
        state.is_resting = true;
        let is_resting = |state: &mut State| state.is_resting && !state.has_ended;
        let rested = self.0.came.wait_timeout_while(state, most, is_resting);
        rested.unwrap_or_else(PoisonError::into_inner).0.is_resting = false;
    }

    /// The next job, waited for no longer than that. `None`: none has come.
    pub(crate) fn within(&self, most: Duration) -> Result<Option<Job>, NoMore> {
        self.next(most, || true)
    }

    /// The next job, waited for while something is so. Whoever ends that wakes the committer
    /// ([`Gauge::wake`]); it is looked again after so long in any case.
    pub(crate) fn awaited(&self, most: Duration, is_so: impl Fn() -> bool) -> Option<Job> {
        self.next(most, is_so).ok().flatten()
    }

    fn next(&self, most: Duration, is_so: impl Fn() -> bool) -> Result<Option<Job>, NoMore> {
        let mut until = None;
        let mut state = self.0.state();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                return Ok(Some(job));
            }
            if state.has_ended {
                return Err(NoMore);
            }
            let now = Instant::now();
            let left = until.get_or_insert(now + most).saturating_duration_since(now);
            if left.is_zero() || !is_so() {
                return Ok(None);
            }
            state.is_asleep = true;
            let woken = self.0.came.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
            state.is_asleep = false;
        }
    }

    /// The next job, if there is one.
    pub(crate) fn now(&self) -> Option<Job> {
        self.0.state().jobs.pop_front()
    }

    /// Whether another job is there to be taken.
    pub(crate) fn are_waiting(&self) -> bool {
        !self.0.state().jobs.is_empty()
    }
}

impl Drop for Jobs {
    fn drop(&mut self) {
        let left = {
            let mut state = self.0.state();
            state.is_closed = true;
            std::mem::take(&mut state.jobs)
        };
        // Dropped outside of the lock: an armed ticket among them puts in its record.
        drop(left);
    }
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
    committer: OnceLock<Waker>,
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
    /// Wakes the committer, if it sleeps.
    pub(crate) fn wake(&self) {
        self.committer.get().into_iter().for_each(Waker::wake_by_ref);
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
    pub(crate) fn new(max: usize, now: fn() -> Micros) -> (Self, Jobs, Arc<Gauge>) {
        let waiting = Arc::<Waiting>::default();
        let gauge = Arc::new(Gauge::default());
        let committer = Waker::from(Arc::clone(&waiting));
        let _ = gauge.committer.set(committer.clone());
        let rest = Waker::from(Arc::new(Rest(Arc::clone(&waiting))));
        let way = Arc::new(Way { waiting: Arc::clone(&waiting), committer, rest });
        (Self { way, max, gauge: Arc::clone(&gauge), now }, Jobs(waiting), gauge)
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
        self.put(job, self.max).map_err(|unsent| unsent.0)
    }

    /// Puts in what ends something that was begun.
    pub(crate) fn end(&self, write: Write) -> Result<(), StoreError> {
        self.put(Job::Write(write), self.max.saturating_mul(2)).map_err(|unsent| {
            let (error, job) = *unsent;
            if let Job::Write(Write { change: Change::Conclude(conclusion), .. }) = job
                && matches!(conclusion.open.intent, IntentEntry::Shared(_))
            {
                self.gauge.lose_read(&conclusion.open.tenant);
            }
            error
        })
    }

    fn put(&self, job: Job, max: usize) -> Result<(), Box<(StoreError, Job)>> {
        let is_asleep = {
            let mut state = self.way.waiting.state();
            if state.is_closed {
                return Err(Box::new((StoreError::Closed, job)));
            }
            if state.jobs.len() >= max {
                return Err(Box::new((StoreError::Overloaded { max: self.max }, job)));
            }
            state.jobs.push_back(job);
            state.is_asleep
        };
        lane::feeds(&self.way.rest);
        // Awake, it comes by itself.
        if is_asleep && !lane::wakes_later(&self.way.committer) {
            self.way.committer.wake_by_ref();
        }
        Ok(())
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
    fn the_disk_rests_while_every_lane_is_busy_and_no_longer() {
        let (queue, jobs, _) = Queue::new(4, || Micros(0));
        let (long, began) = (Duration::from_secs(60), Instant::now());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        lane::serve_lane(runtime.handle());
        runtime.block_on(tokio::task::yield_now());
        let resting = std::thread::spawn(move || {
            jobs.rest(long);
            jobs
        });
        runtime.block_on(async {
            assert!(queue.begin(Job::Read(Box::new(|_| {}))).is_ok());
            while !queue.way.waiting.state().is_resting {
                std::thread::yield_now();
            }
            lane::lane_sleeps();
        });
        let jobs = resting.join().unwrap();
        // One that is idle already.
        jobs.rest(long);
        lane::lane_wakes();
        assert!(began.elapsed() < long);
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
