//! Shedding load: what comes beyond what the cores can do is turned away before anything is done
//! for it, so that what was taken on is not slowed down by what was not.
//!
//! Each lane measures how long work that is ready waits for its turn, while it serves more than a
//! few calls, and hears how long what is written waits for its own, beside the disk. That alone
//! tells more work than there is time for from many calls that wait for slow upstreams. A burst is
//! no overload: only once the lag has stood for a while are new calls turned
//! away, and then in each moment in which it is too long, until for a while it has not been.

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
                if lane.meter.get().is_too_much(lag_max) {
                    TURNED_AWAY.fetch_add(1, Ordering::Relaxed);
                    return None;
                }
                lane.many.notify_one();
            }
            lane.calls.set(lane.calls.get().saturating_add(1));
            Some(Self(()))
        })
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
        if LANE.with(|lane| lane.calls.get()) < CALLS_MIN {
            LANE.with(|lane| lane.meter.set(Meter::default()));
            many.notified().await;
        }
        tokio::time::sleep(LOOK_EVERY).await;
        let ready = Instant::now();
        // Back when everything has had its turn that was ready before.
        tokio::task::yield_now().await;
        let now = Instant::now();
        let lag = now.saturating_duration_since(ready).max(LANE.with(|lane| lane.record.get()));
        LANE.with(|lane| lane.meter.set(lane.meter.get().hears(now, lag, lane.lag_max.get())));
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
}

impl Meter {
    /// After one more look.
    fn hears(self, now: Instant, lag: Duration, lag_max: Duration) -> Self {
        if lag <= lag_max {
            let is_calm = |at: &Instant| now.saturating_duration_since(*at) >= CALM_AFTER;
            let stood_at = self.stood_at.filter(|at| !is_calm(at));
            return Self { latest: lag, beyond_since: None, stood_at };
        }
        let since = self.beyond_since.unwrap_or(now);
        let stands = now.saturating_duration_since(since) >= STANDS_FOR;
        let stood_at = (stands || self.stood_at.is_some()).then_some(now);
        Self { latest: lag, beyond_since: Some(since), stood_at }
    }

    /// Whether one more call is too much now.
    fn is_too_much(&self, lag_max: Duration) -> bool {
        self.stood_at.is_some() && self.latest > lag_max
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
            meter.hears(began + Duration::from_millis(*at), *lag, MAX)
        });
        heard.is_too_much(MAX)
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
    fn a_lane_takes_on_what_it_has_time_for() {
        let stands = Meter { latest: LONG, beyond_since: None, stood_at: Some(Instant::now()) };
        let taken: Vec<_> = (0..CALLS_MIN).map(|_| TakenOn::take(MAX, MAX)).collect();
        assert!(taken.iter().all(Option::is_some));
        LANE.with(|lane| lane.meter.set(stands));
        assert!(TakenOn::take(MAX, MAX).is_none());
        assert!(TakenOn::take(Duration::ZERO, MAX).is_some(), "no bound, nobody turned away");
        drop(taken);
        assert!(TakenOn::take(MAX, MAX).is_some(), "a lane that serves few turns nobody away");
    }
}
