//! The circuit breakers of an upstream, where they are kept, and what is a failure to them.
//!
//! What they do is in `core`. Here they meet calls: each that is let out carries a [`Watch`], and
//! what becomes of it is counted when it is over.

use crate::trouble::{Came, Trouble};
use lockgate_core::breaker::{Breakers, Entered, Rules, Shown, Standing, Transition};
use lockgate_core::declare;
use lockgate_types::call::Call;
use lockgate_types::facts::Broken;
use lockgate_types::{Code, Micros, OperationName, UpstreamName};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// What breakers need of the gate.
pub struct Watcher {
    /// The time.
    pub now: Box<dyn Fn() -> Micros + Send + Sync>,
    /// Hears of each transition, in their order. It must not wait: calls do, meanwhile.
    pub tell: Tell,
}

/// What hears of a transition of an upstream's breaker.
pub type Tell = Box<dyn Fn(&UpstreamName, Transition) + Send + Sync>;

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watcher").finish_non_exhaustive()
    }
}

/// The breakers of one upstream.
pub(crate) struct Breaker {
    upstream: UpstreamName,
    /// `None`: it is always asked.
    breakers: Option<Mutex<Breakers>>,
}

impl Breaker {
    pub(crate) fn new(upstream: UpstreamName, declared: &declare::Breaker) -> Self {
        let micros = |ms: u32| i64::from(ms) * 1000;
        let rules = Rules {
            failures: declared.failures,
            pause_us: micros(declared.pause_ms),
            pause_max_us: micros(declared.pause_max_ms),
        };
        let breakers = (declared.failures > 0).then(|| Mutex::new(Breakers::new(rules)));
        Self { upstream, breakers }
    }

    fn locked(&self) -> Option<MutexGuard<'_, Breakers>> {
        Some(self.breakers.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What stops a call now, if anything does.
    pub(crate) fn about(&self, call: &Call, now: Micros) -> Option<Broken> {
        let breakers = self.locked()?;
        match is_endless(call) {
            true => breakers.about_whole(now),
            false => breakers.about(&call.operation, now),
        }
    }

    /// Whether an operation is left alone now.
    pub(crate) fn stops(&self, operation: &OperationName, now: Micros) -> bool {
        self.locked().is_some_and(|breakers| breakers.about(operation, now).is_some())
    }

    /// Whether the whole upstream is left alone now.
    pub(crate) fn is_open(&self, now: Micros) -> bool {
        self.locked().is_some_and(|breakers| breakers.about_whole(now).is_some())
    }

    /// Those that are not closed.
    pub(crate) fn standing(&self) -> Vec<Standing> {
        self.locked().map_or(Vec::new(), |breakers| breakers.standing())
    }

    /// Lets a call through, or says what stops it.
    pub(crate) fn enter(
        self: &Arc<Self>,
        call: &Call,
        watcher: &Arc<Watcher>,
    ) -> Result<Watch, Broken> {
        let now = (watcher.now)();
        let Some(mut breakers) = self.locked() else { return Ok(Watch(None)) };
        if is_endless(call) {
            return breakers.about_whole(now).map_or(Ok(Watch(None)), Err);
        }
        let mut changes = Vec::new();
        let entered = breakers.enter(&call.operation, now, &mut changes)?;
        self.tell(watcher, changes);
        drop(breakers);
        Ok(Watch(Some(Watched {
            breaker: Arc::clone(self),
            operation: call.operation.clone(),
            entered,
            is_attempt: call.attempt_of.is_some(),
            watcher: Arc::downgrade(watcher),
        })))
    }

    /// Called with the breakers locked, so that transitions are told in their order.
    fn tell(&self, watcher: &Watcher, changes: Vec<Transition>) {
        for change in changes {
            (watcher.tell)(&self.upstream, change);
        }
    }
}

/// A subscription lasts as long as its reader wants: it shows nothing soon, so it is no probe, and
/// its end is no failure.
fn is_endless(call: &Call) -> bool {
    call.method == "subscriptions/listen"
}

/// A call that is let through, as breakers see it. If nobody says what it showed, it showed
/// nothing, and the place of a probe is free again.
#[must_use = "what becomes of a call is to be counted"]
#[derive(Debug)]
pub struct Watch(Option<Watched>);

struct Watched {
    breaker: Arc<Breaker>,
    operation: OperationName,
    entered: Entered,
    is_attempt: bool,
    /// Not held: a call that outlives its gate concerns nobody.
    watcher: Weak<Watcher>,
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").field("operation", &self.operation).finish_non_exhaustive()
    }
}

impl Watch {
    /// A call that no breaker watches.
    pub const NONE: Self = Self(None);

    /// The call is over.
    pub(crate) fn over(mut self, shown: Shown) {
        self.end(shown);
    }

    fn end(&mut self, shown: Shown) {
        let Some(watched) = self.0.take() else { return };
        let Watched { breaker, operation, entered, is_attempt, watcher } = watched;
        let Some(watcher) = watcher.upgrade() else { return };
        // However often the gate tries again for one effect, it has failed once.
        let is_counted = !is_attempt || entered.is_probe() || shown == Shown::Answer;
        let shown = if is_counted { shown } else { Shown::Nothing };
        let now = (watcher.now)();
        let Some(mut breakers) = breaker.locked() else { return };
        let mut changes = Vec::new();
        breakers.ended(&operation, entered, shown, now, &mut changes);
        breaker.tell(&watcher, changes);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.end(Shown::Nothing);
    }
}

/// What a failure shows of its upstream: nothing, if the caller or a rule of the gate is to blame.
/// Only codes that are known to be the upstream's count.
pub(crate) fn shown(trouble: &Trouble) -> Shown {
    let code = trouble.code;
    let is_upstreams = matches!(
        code,
        Code::UpstreamUnreachable
            | Code::UpstreamTimeout
            | Code::UpstreamProtocol
            | Code::UpstreamExited
            | Code::UpstreamTruncated
    );
    match trouble.came {
        Came::ByCaller => Shown::Nothing,
        _ if !is_upstreams => Shown::Nothing,
        // The request was not to its liking, or the gate's credentials are not.
        Came::ByStatus(400..=499) => Shown::Nothing,
        Came::ByStatement => Shown::Failure(code),
        Came::ByStatus(_) | Came::AsItSays if trouble.dispatched => Shown::Failure(code),
        Came::ByStatus(_) | Came::AsItSays => Shown::Unreachable(code),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_upstream_did_is_held_against_it() {
        let before = |code| Trouble::before(code, "");
        let after = |code| Trouble::after(code, "");
        let unreachable = Code::UpstreamUnreachable;
        assert_eq!(shown(&before(unreachable)), Shown::Unreachable(unreachable));
        assert_eq!(shown(&after(unreachable)), Shown::Failure(unreachable));
        for code in [Code::UpstreamTimeout, Code::UpstreamProtocol, Code::UpstreamTruncated] {
            assert_eq!(shown(&after(code)), Shown::Failure(code));
            assert_eq!(shown(&after(code).by(Came::ByCaller)), Shown::Nothing);
            assert_eq!(shown(&after(code).by(Came::ByStatus(404))), Shown::Nothing);
            assert_eq!(shown(&after(code).by(Came::ByStatus(500))), Shown::Failure(code));
            assert_eq!(shown(&before(code).by(Came::ByStatement)), Shown::Failure(code));
        }
        let own = Code::ALL.iter().filter(|code| !code.as_str().starts_with("LG-U"));
        let others =
            [Code::UpstreamBusy, Code::ShareTaken, Code::UpstreamTooLarge, Code::StatementFailed];
        for code in own.chain(&others) {
            assert_eq!(shown(&after(*code)), Shown::Nothing, "{code}");
            assert_eq!(shown(&before(*code)), Shown::Nothing, "{code}");
        }
    }
}
