//! One breaker: closed, open, half open, and closed or open again.
//!
//! It knows nothing of other breakers. Every transition gets a number, greater than any before it,
//! so that what began before one can be told from what began after it.

use super::{Rules, State};
use lockgate_types::{Code, Micros};

/// Calls that may be on their way at once to see how an upstream is.
const PROBES_MAX: u32 = 1;

/// One breaker.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    state: State,
    /// The number of its last transition.
    since: u64,
    /// In a row, while it is closed.
    failures: u32,
    cause: Option<Code>,
    /// The last pause, and from when it was. 0: it was never open.
    pause_us: i64,
    opened_at: Micros,
    /// When it was closed last.
    closed_at: Micros,
    /// Probes on their way, also those that began before it last opened.
    probes: u32,
}

/// How a call passed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Entry {
    pub(super) is_probe: bool,
    /// Whether it is the one with which trying began.
    pub(super) is_new: bool,
}

impl Machine {
    pub(super) const fn new() -> Self {
        Self {
            state: State::Closed,
            since: 0,
            failures: 0,
            cause: None,
            pause_us: 0,
            opened_at: Micros(0),
            closed_at: Micros(0),
            probes: 0,
        }
    }

    pub(super) const fn state(&self) -> State {
        self.state
    }

    pub(super) const fn cause(&self) -> Option<Code> {
        self.cause
    }

    pub(super) const fn pause_us(&self) -> i64 {
        self.pause_us
    }

    /// When the pause ends, or has ended.
    pub(super) const fn until(&self) -> Micros {
        Micros(self.opened_at.0.saturating_add(self.pause_us))
    }

    /// Whether the pause lasts. A clock that was set back does not make it longer.
    pub(super) fn is_paused(&self, now: Micros) -> bool {
        self.state == State::Open && self.opened_at <= now && now < self.until()
    }

    /// Until when it stops calls, if it stops them.
    pub(super) fn stops_until(&self, rules: &Rules, now: Micros) -> Option<Micros> {
        // Who finds all probes taken comes back after the shortest pause.
        let soon = Micros(now.0.saturating_add(rules.pause_us));
        match self.state {
            State::Closed => None,
            State::Open if self.is_paused(now) => Some(self.until()),
            State::Open | State::HalfOpen => (self.probes >= PROBES_MAX).then_some(soon),
        }
    }

    /// Lets a call pass that nothing stops.
    pub(super) fn enter(&mut self, number: u64) -> Entry {
        let is_new = self.state == State::Open;
        if is_new {
            (self.state, self.since) = (State::HalfOpen, number);
        }
        let is_probe = self.state == State::HalfOpen;
        self.probes = self.probes.saturating_add(u32::from(is_probe));
        Entry { is_probe, is_new }
    }

    /// A probe is over.
    pub(super) fn give_back(&mut self, was_probe: bool) {
        self.probes = self.probes.saturating_sub(u32::from(was_probe));
    }

    /// Whether what began after so many transitions says something about the state it has now.
    pub(super) const fn is_current(&self, after: u64) -> bool {
        after >= self.since
    }

    /// Something was answered; whether that closed it.
    pub(super) fn answered(&mut self, now: Micros, number: u64) -> bool {
        match self.state {
            State::Closed => {
                self.failures = 0;
                false
            }
            State::Open => false,
            State::HalfOpen => {
                (self.state, self.since, self.failures) = (State::Closed, number, 0);
                (self.closed_at, self.cause) = (now, None);
                true
            }
        }
    }

    /// Something failed; whether that opened it.
    pub(super) fn failed(&mut self, rules: &Rules, cause: Code, now: Micros, number: u64) -> bool {
        match self.state {
            State::Open => return false,
            State::HalfOpen => {}
            State::Closed => {
                self.failures = self.failures.saturating_add(1);
                if self.failures < rules.failures {
                    return false;
                }
            }
        }
        self.open(rules, cause, now, number);
        true
    }

    /// Opens it. The pause doubles, unless it was closed for long: that bounds how often one that
    /// comes and goes changes its state.
    pub(super) fn open(&mut self, rules: &Rules, cause: Code, now: Micros, number: u64) {
        let was_calm = self.state == State::Closed && self.is_calm(rules, now);
        let doubled = self.pause_us.saturating_mul(2);
        let pause = if was_calm { rules.pause_us } else { doubled };
        self.pause_us = pause.min(rules.pause_max_us).max(rules.pause_us);
        (self.state, self.since, self.failures) = (State::Open, number, 0);
        (self.opened_at, self.cause) = (now, Some(cause));
    }

    /// What has failed so far is not held against it.
    pub(super) fn forgive(&mut self) {
        self.failures = 0;
    }

    /// Whether it has been closed for as long as the longest pause.
    fn is_calm(&self, rules: &Rules, now: Micros) -> bool {
        let closed_for = now.0.saturating_sub(self.closed_at.0);
        self.pause_us == 0 || closed_for >= rules.pause_max_us
    }

    /// Whether a new one would be the same.
    pub(super) fn is_forgettable(&self, rules: &Rules, now: Micros) -> bool {
        let is_closed = self.state == State::Closed && self.failures == 0 && self.probes == 0;
        is_closed && self.is_calm(rules, now)
    }
}
