//! Shedding load: what comes beyond what the cores can do is turned away before anything is done
//! for it, so that what was taken on is not slowed down by what was not.
//!
//! Each lane measures how long work that is ready waits for its turn, while it serves more than a
//! few calls, and hears how long what is written waits for its own, beside the disk. That alone
//! tells more work than there is time for from many calls that wait for slow upstreams. A burst is
//! no overload: only once the lag has stood for a while are new calls turned
//! away, until for a while it has not been too long. Then in each moment in which it is too long
//! nobody is taken on, and between two looks no more than were done of late without it becoming
//! so: a call that is taken on has most of its work ahead of it, which no lag tells yet.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Calls of one lane up to which it turns nobody away, and does not look.
const CALLS_MIN: usize = 24;
/// How often a lane looks while it serves more.
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// How long a lag has to stand, with not one look within the bound, until calls are turned away.
const STANDS_FOR: Duration = Duration::from_millis(100);
/// How long every look has to be within the bound until a burst is one again.
const CALM_AFTER: Duration = Duration::from_secs(1);
/// The fewest calls that are taken on between two looks, while the lag is within the bound.
const ROOM_MIN: u32 = 4;
/// The most calls that are taken on between two looks, once a lag has stood.
const ROOM_MAX: u32 = 1024;
/// Calls of one lane that are turned away at once between two looks. More of them are callers who
/// ask again without waiting: to answer all of them would be most of what the lane does, and what
/// was taken on would wait for it.
const AT_ONCE_MAX: u32 = 256;
/// How much later the others hear that they are turned away.
const HELD_FOR: Duration = Duration::from_millis(100);
/// How many times as long as ready work what is written may wait: the more of it waits, the more is
/// written at once, so that a wait there is not yet too much to do.
const RECORD_TIMES: u32 = 4;
/// How often an operator is told.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Calls that were turned away, of all lanes, since an operator was last told.
static TURNED_AWAY: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static LANE: Lane = Lane::default();
}

/// What a lane knows of itself.
#[derive(Default)]
struct Lane {
    calls: Cell<usize>,
    lag_max: Cell<Duration>,
    /// How long what is written waits, as the newest call has heard.
    record: Cell<Duration>,
    meter: Cell<Meter>,
    /// Calls that were taken on since the latest look.
    taken: Cell<u32>,
    /// Calls that were turned away since then.
    turned_away: Cell<u32>,
    /// Since when who looks waits for its turn, if it does.
    looks_since: Cell<Option<Instant>>,
    /// Wakes who looks: there are enough calls to look at.
    many: Arc<Notify>,
}

/// A call that this thread's lane has taken on, until it is dropped there.
pub(crate) struct TakenOn(());

impl TakenOn {
    /// A place for one more call; `None` if the lane, or the record, has more to do than there is
    /// time for. `lag_max` is how long ready work may stand waiting: zero is for ever. `record` is
    /// how long what is written waits now.
    pub(crate) fn take(lag_max: Duration, record: Duration) -> Option<Self> {
        LANE.with(|lane| {
            lane.lag_max.set(lag_max);
            lane.record.set(record / RECORD_TIMES);
            if lane.calls.get() >= CALLS_MIN && !lag_max.is_zero() {
                if lane.meter.get().is_too_much(lane.lag(), lag_max, lane.taken.get()) {
                    TURNED_AWAY.fetch_add(1, Ordering::Relaxed);
                    return None;
                }
                lane.many.notify_one();
            }
            lane.taken.set(lane.taken.get().saturating_add(1));
            lane.calls.set(lane.calls.get().saturating_add(1));
            Some(Self(()))
        })
    }
}

/// Waits before a call is told that it is turned away, where very many are.
pub(crate) async fn hold() {
    let count = LANE.with(|lane| {
        lane.turned_away.set(lane.turned_away.get().saturating_add(1));
        lane.turned_away.get()
    });
    if count > AT_ONCE_MAX {
        tokio::time::sleep(HELD_FOR).await;
    }
}

impl Lane {
    /// How long work that is ready waits: as long as at the latest look, or as who looks waits
    /// already. A lane with much to read reads all of it between two looks.
    fn lag(&self) -> Duration {
        let waits = self.looks_since.get().map_or(Duration::ZERO, |since| since.elapsed());
        self.meter.get().latest.max(waits)
    }

    /// What a look has shown: for how long it waited itself. The lag that comes of it.
    fn hear(&self, now: Instant, waited: Duration) -> Duration {
        self.looks_since.set(None);
        self.turned_away.set(0);
        // Where hardly anybody calls, what the newest call has heard may be long ago.
        let is_known = self.calls.get() >= CALLS_MIN;
        let record = if is_known { self.record.get() } else { Duration::ZERO };
        let lag = waited.max(record);
        self.meter.set(self.meter.get().hears(now, lag, self.lag_max.get(), self.taken.take()));
        lag
    }
}

impl Drop for TakenOn {
    fn drop(&mut self) {
        // A thread that ends has no lane any more.
        let _ = LANE.try_with(|lane| lane.calls.set(lane.calls.get().saturating_sub(1)));
    }
}

/// Looks at the lag of the lane on which it runs, while there is something to look at.
pub(crate) async fn watch() {
    let many = LANE.with(|lane| Arc::clone(&lane.many));
    let mut told = Instant::now();
    loop {
        // Where calls are turned away, few are left at times, and it is not over.
        if LANE.with(|lane| lane.calls.get() < CALLS_MIN && lane.meter.get().stood_at.is_none()) {
            LANE.with(|lane| lane.meter.set(Meter::default()));
            many.notified().await;
        }
        tokio::time::sleep(LOOK_EVERY).await;
        let ready = Instant::now();
        LANE.with(|lane| lane.looks_since.set(Some(ready)));
        // Back when everything has had its turn that was ready before.
        tokio::task::yield_now().await;
        let now = Instant::now();
        let lag = LANE.with(|lane| lane.hear(now, now.saturating_duration_since(ready)));
        if now.saturating_duration_since(told) >= TELL_EVERY {
            told = now;
            let turned_away = TURNED_AWAY.swap(0, Ordering::Relaxed);
            if turned_away > 0 {
                tracing::warn!(turned_away, ?lag, "there is more to do than there is time for");
            }
        }
    }
}

/// What a lag has been like.
#[derive(Clone, Copy, Debug, Default)]
struct Meter {
    latest: Duration,
    /// Since when every look was beyond the bound.
    beyond_since: Option<Instant>,
    /// When a look was last beyond it, of a lag that has stood.
    stood_at: Option<Instant>,
    /// How many calls are taken on until the next look, once it has.
    room: u32,
}

impl Meter {
    /// After one more look, before which so many calls were taken on.
    fn hears(self, now: Instant, lag: Duration, lag_max: Duration, taken: u32) -> Self {
        if lag <= lag_max {
            let is_calm = |at: &Instant| now.saturating_duration_since(*at) >= CALM_AFTER;
            let stood_at = self.stood_at.filter(|at| !is_calm(at));
            // Room that nobody has used tells nothing of whether there is time for more.
            let more = u32::from(taken >= self.room);
            let room = self.room.saturating_add(more).min(ROOM_MAX);
            return Self { latest: lag, beyond_since: None, stood_at, room };
        }
        let since = self.beyond_since.unwrap_or(now);
        let stands = now.saturating_duration_since(since) >= STANDS_FOR;
        let stood_at = (stands || self.stood_at.is_some()).then_some(now);
        let room = (self.room / 2).max(ROOM_MIN);
        Self { latest: lag, beyond_since: Some(since), stood_at, room }
    }

    /// Whether one more call is too much now, at that lag, after so many since the latest look.
    fn is_too_much(&self, lag: Duration, lag_max: Duration, taken: u32) -> bool {
        self.stood_at.is_some() && (lag > lag_max || taken >= self.room)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: Duration = Duration::from_millis(2);
    const LONG: Duration = Duration::from_millis(5);
    const LONG_WRITTEN: Duration = Duration::from_millis(20);

    /// What a meter says after looks at those milliseconds, of that lag.
    fn after(looks: &[(u64, Duration)]) -> bool {
        let began = Instant::now();
        let heard = looks.iter().fold(Meter::default(), |meter, (at, lag)| {
            meter.hears(began + Duration::from_millis(*at), *lag, MAX, 0)
        });
        heard.is_too_much(heard.latest, MAX, 0)
    }

    #[test]
    fn a_burst_is_no_overload() {
        assert!(!after(&[(0, LONG), (50, LONG), (99, LONG)]));
        assert!(!after(&[(0, LONG), (60, MAX), (120, LONG), (180, LONG)]));
    }

    #[test]
    fn a_lag_that_stands_is() {
        assert!(after(&[(0, LONG), (50, LONG), (100, LONG)]));
    }

    #[test]
    fn then_each_moment_counts() {
        let stands = [(0, LONG), (100, LONG)];
        assert!(!after(&[&stands[..], &[(101, MAX)]].concat()));
        assert!(after(&[&stands[..], &[(101, MAX), (102, LONG)]].concat()));
    }

    #[test]
    fn until_it_has_been_calm() {
        let calm = [(0, LONG), (100, LONG), (101, MAX), (1100, MAX)];
        assert!(!after(&[&calm[..], &[(1101, LONG)]].concat()));
        let not_yet = [(0, LONG), (100, LONG), (101, MAX), (1099, MAX)];
        assert!(after(&[&not_yet[..], &[(1100, LONG)]].concat()));
    }

    #[tokio::test]
    async fn a_wait_for_the_record_that_stands_is_too_much_too() {
        let watching = tokio::spawn(watch());
        let taken: Vec<_> = (0..CALLS_MIN).map(|_| TakenOn::take(MAX, LONG_WRITTEN)).collect();
        assert!(taken.iter().all(Option::is_some));
        let turned_away = async {
            while TakenOn::take(MAX, LONG_WRITTEN).is_some() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), turned_away).await.unwrap();
        let taken_again = async {
            while TakenOn::take(MAX, Duration::ZERO).is_none() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), taken_again).await.unwrap();
        watching.abort();
    }

    #[test]
    fn what_is_read_between_two_looks_is_counted_with_them() {
        let now = Instant::now();
        let stood = Meter { stood_at: Some(now), room: ROOM_MAX, ..Meter::default() };
        let taken: Vec<_> = (0..CALLS_MIN).map(|_| TakenOn::take(MAX, MAX)).collect();
        assert!(taken.iter().all(Option::is_some));
        LANE.with(|lane| lane.meter.set(stood));
        assert!(TakenOn::take(MAX, MAX).is_some());
        LANE.with(|lane| lane.looks_since.set(now.checked_sub(LONG)));
        assert!(TakenOn::take(MAX, MAX).is_none());
        LANE.with(|lane| lane.looks_since.set(None));
        assert!(TakenOn::take(MAX, MAX).is_some());
    }

    /// How many calls there is room for after looks of that lag, before each of which so many were
    /// taken on, once a lag has stood.
    fn room_after(looks: &[(Duration, u32)]) -> u32 {
        let now = Instant::now();
        let stood = Meter { stood_at: Some(now), room: ROOM_MIN, ..Meter::default() };
        looks.iter().fold(stood, |meter, (lag, taken)| meter.hears(now, *lag, MAX, *taken)).room
    }

    #[test]
    fn there_is_more_room_while_it_is_used_and_half_of_it_when_that_was_too_much() {
        let used: Vec<_> = (0..20).map(|more| (MAX, ROOM_MIN + more)).collect();
        assert_eq!(room_after(&used), ROOM_MIN + 20);
        assert_eq!(room_after(&[&used[..], &[(LONG, 0)]].concat()), (ROOM_MIN + 20) / 2);
        assert_eq!(room_after(&[(MAX, ROOM_MIN - 1)]), ROOM_MIN);
        assert_eq!(room_after(&[(LONG, 9), (LONG, 9)]), ROOM_MIN);
        assert_eq!(room_after(&[(MAX, u32::MAX); 2 * ROOM_MAX as usize]), ROOM_MAX);
    }

    #[test]
    fn no_more_are_taken_on_between_two_looks_than_there_is_room_for() {
        let taken: Vec<_> = (0..CALLS_MIN).map(|_| TakenOn::take(MAX, MAX)).collect();
        assert!(taken.iter().all(Option::is_some));
        let stood_at = Some(Instant::now());
        let stood = Meter { stood_at, room: ROOM_MIN, ..Meter::default() };
        LANE.with(|lane| lane.meter.set(stood));
        LANE.with(|lane| lane.taken.set(0));
        let more: Vec<_> = (0..=ROOM_MIN).map(|_| TakenOn::take(MAX, MAX)).collect();
        assert_eq!(more.iter().flatten().count(), ROOM_MIN as usize);
        LANE.with(|lane| lane.taken.set(0));
        assert!(TakenOn::take(MAX, MAX).is_some(), "after the next look there is room again");
    }

    #[tokio::test]
    async fn callers_who_do_not_wait_are_made_to() {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let mut is_told_at_once = || std::pin::pin!(hold()).poll(&mut context).is_ready();
        assert!((0..AT_ONCE_MAX).all(|_| is_told_at_once()));
        assert!(!is_told_at_once());
        LANE.with(|lane| lane.hear(Instant::now(), Duration::ZERO));
        assert!(is_told_at_once());
    }

    #[test]
    fn what_was_heard_of_the_record_long_ago_is_not_held_against_a_lane() {
        let taken: Vec<_> = (0..CALLS_MIN).map(|_| TakenOn::take(MAX, LONG_WRITTEN)).collect();
        let hear = || LANE.with(|lane| lane.hear(Instant::now(), Duration::ZERO));
        assert_eq!(hear(), LONG_WRITTEN / RECORD_TIMES);
        drop(taken);
        assert_eq!(hear(), Duration::ZERO);
    }

    #[test]
    fn a_lane_takes_on_what_it_has_time_for() {
        let stood_at = Some(Instant::now());
        let stands = Meter { latest: LONG, beyond_since: None, stood_at, room: ROOM_MAX };
        let taken: Vec<_> = (0..CALLS_MIN).map(|_| TakenOn::take(MAX, MAX)).collect();
        assert!(taken.iter().all(Option::is_some));
        LANE.with(|lane| lane.meter.set(stands));
        assert!(TakenOn::take(MAX, MAX).is_none());
        assert!(TakenOn::take(Duration::ZERO, MAX).is_some(), "no bound, nobody turned away");
        drop(taken);
        assert!(TakenOn::take(MAX, MAX).is_some(), "a lane that serves few turns nobody away");
    }
}
