//! A timer that is always near, on each lane that serves a connection.
//!
//! A runtime that is given a timer nearer than any it has wakes itself up through the kernel, also
//! where it is awake: it writes to a descriptor that it then has to read. Each call sets timers of
//! seconds and puts them away again, so that each was the nearest, and a call woke its own lane.
//! With one that comes before all of them it does not.

use std::cell::Cell;
use std::time::Duration;

/// How far the next timer is at most. What a call waits for at most takes longer.
const TICK_EVERY: Duration = Duration::from_millis(500);

thread_local! {
    static KEEPERS: Cell<usize> = const { Cell::new(0) };
    static IS_KEPT: Cell<bool> = const { Cell::new(false) };
}

/// Keeps a timer near on this thread's runtime, until the last of them is dropped there.
pub(crate) struct Tick(());

impl Tick {
    /// One more that keeps it.
    pub(crate) fn keep() -> Self {
        KEEPERS.with(|keepers| keepers.set(keepers.get().saturating_add(1)));
        if !IS_KEPT.replace(true) {
            tokio::spawn(tick());
        }
        Self(())
    }
}

impl Drop for Tick {
    fn drop(&mut self) {
        // A thread that ends keeps nothing any more.
        let _ = KEEPERS.try_with(|keepers| keepers.set(keepers.get().saturating_sub(1)));
    }
}

async fn tick() {
    while KEEPERS.get() > 0 {
        tokio::time::sleep(TICK_EVERY).await;
    }
    IS_KEPT.set(false);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_timer_is_near_as_long_as_somebody_keeps_it() {
        let (one, other) = (Tick::keep(), Tick::keep());
        assert!(IS_KEPT.get());
        drop(one);
        tokio::time::timeout(TICK_EVERY * 2, std::future::pending::<()>()).await.unwrap_err();
        assert!(IS_KEPT.get(), "another keeps it");
        drop(other);
        let ended = async {
            while IS_KEPT.get() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), ended).await.unwrap();
    }
}
