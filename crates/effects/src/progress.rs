//! How long a call may still take, and whether it has left.
//!
//! The clock stands still while the upstream waits for an answer of the client's: a person may have
//! to be asked. That wait has a bound of its own.

use crate::trouble::{Came, Trouble};
use lockgate_types::Code;
use lockgate_wire::RequestId;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How long a client may take to answer what an upstream asks in mid-call.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(10 * 60);
/// How long a cancelled call may still bring its answer.
const CANCEL_GRACE: Duration = Duration::from_secs(5);

/// How far one call is.
pub(crate) struct Progress {
    clock: Mutex<Clock>,
    has_left: Arc<AtomicBool>,
    request: Mutex<Option<RequestId>>,
    is_cancelled: AtomicBool,
}

#[derive(Clone, Copy)]
struct Clock {
    /// `None`: a subscription, which takes as long as its reader wants it.
    deadline: Option<Instant>,
    /// Questions the client has not answered, and the time left when the first was asked.
    questions: u32,
    left: Duration,
}

impl Progress {
    pub(crate) fn within(timeout: Option<Duration>) -> Self {
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        Self {
            clock: Mutex::new(Clock { deadline, questions: 0, left: Duration::ZERO }),
            has_left: Arc::default(),
            request: Mutex::new(None),
            is_cancelled: AtomicBool::new(false),
        }
    }

    fn change(&self, change: impl FnOnce(&mut Clock)) {
        change(&mut self.clock.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn deadline(&self) -> Option<Instant> {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner).deadline
    }

    /// The request is handed to its transport, which cannot say when it leaves.
    pub(crate) fn leaves(&self, request: &RequestId) {
        self.leaves_later(request).store(true, Ordering::Relaxed);
    }

    /// The request is handed to its transport. Gives what becomes true once something of it leaves:
    /// while a connection is being made nothing has.
    pub(crate) fn leaves_later(&self, request: &RequestId) -> &Arc<AtomicBool> {
        *self.request.lock().unwrap_or_else(PoisonError::into_inner) = Some(request.clone());
        &self.has_left
    }

    /// The transport is certain that the upstream did not act upon what left.
    pub(crate) fn did_not_leave(&self) {
        self.has_left.store(false, Ordering::Relaxed);
    }

    pub(crate) fn has_left(&self) -> bool {
        self.has_left.load(Ordering::Relaxed)
    }

    /// The id under which it left last.
    pub(crate) fn request(&self) -> Option<RequestId> {
        self.request.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The upstream asks the client something.
    pub(crate) fn asked(&self) {
        let now = Instant::now();
        self.change(|clock| {
            if clock.questions == 0
                && let Some(deadline) = clock.deadline
            {
                clock.left = deadline.saturating_duration_since(now);
                clock.deadline = Some(now + ANSWER_WAIT_MAX);
            }
            clock.questions += 1;
        });
    }

    /// The client answered.
    pub(crate) fn answered(&self) {
        let now = Instant::now();
        self.change(|clock| {
            clock.questions = clock.questions.saturating_sub(1);
            if clock.questions == 0 && clock.deadline.is_some() {
                clock.deadline = Some(now + clock.left);
            }
        });
    }

    /// The call was cancelled: it may still end by itself, soon.
    pub(crate) fn cancelled(&self) {
        let soon = Instant::now() + CANCEL_GRACE;
        self.is_cancelled.store(true, Ordering::Relaxed);
        self.change(|clock| {
            clock.deadline = Some(clock.deadline.map_or(soon, |deadline| deadline.min(soon)));
        });
    }

    /// Runs until it is done or the time is up.
    pub(crate) async fn bound<T>(
        &self,
        step: Duration,
        mut work: Pin<&mut impl Future<Output = Result<T, Trouble>>>,
    ) -> Result<T, Trouble> {
        loop {
            // The deadline can come nearer while this sleeps, so it never sleeps longer than one
            // step.
            let wake = Instant::now() + step;
            let wake = self.deadline().map_or(wake, |deadline| deadline.min(wake));
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = tokio::time::sleep_until(wake) => {}
            }
            if self.deadline().is_some_and(|deadline| deadline <= Instant::now()) {
                return Err(self.time_is_up());
            }
        }
    }

    fn time_is_up(&self) -> Trouble {
        let is_cancelled = self.is_cancelled.load(Ordering::Relaxed);
        let is_asking = self.clock.lock().unwrap_or_else(PoisonError::into_inner).questions > 0;
        let came = if is_cancelled || is_asking { Came::ByCaller } else { Came::AsItSays };
        let detail = if is_cancelled {
            "the call was cancelled and brought no answer afterwards"
        } else if self.has_left() {
            "the upstream did not answer in time"
        } else {
            "the upstream could not be readied in time"
        };
        Trouble {
            code: Code::UpstreamTimeout,
            detail: detail.to_owned(),
            dispatched: self.has_left(),
            came,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How a call ends whose time is up.
    async fn came(before: impl Fn(&Progress)) -> Came {
        let progress = Progress::within(Some(Duration::from_secs(3600)));
        before(&progress);
        progress.change(|clock| clock.deadline = Some(Instant::now()));
        let work = std::pin::pin!(std::future::pending::<Result<(), Trouble>>());
        progress.bound(Duration::from_millis(1), work).await.unwrap_err().came
    }

    #[tokio::test]
    async fn that_a_caller_is_gone_or_silent_is_not_the_upstreams_failure() {
        assert_eq!(came(|progress| progress.leaves(&RequestId::Integer(1))).await, Came::AsItSays);
        assert_eq!(came(Progress::cancelled).await, Came::ByCaller);
        assert_eq!(came(Progress::asked).await, Came::ByCaller);
        let answered = |progress: &Progress| {
            progress.asked();
            progress.answered();
        };
        assert_eq!(came(answered).await, Came::AsItSays);
    }
}
