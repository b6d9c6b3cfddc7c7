//! Circuit breakers: whether an upstream that has failed is asked again, and when.
//!
//! One for an upstream and one for each of its operations that has failed: what fails by itself
//! stops itself, what fails for all stops all. Pure: time is handed in, nothing waits. What is a
//! failure, and where the states are kept, is the business of others.

mod machine;

use lockgate_types::facts::{BreakerScope, Broken};
use lockgate_types::{Code, Micros, OperationName};
use machine::Machine;
use std::collections::BTreeMap;

/// Operations of one upstream whose failures are counted apart. Those of more count as the
/// upstream's alone.
const BROKEN_OPERATIONS_MAX: usize = 1024;
/// Operations that stop by themselves, with no answer from anybody in between, before the whole
/// upstream is taken to be down.
const FALLEN_MAX: u32 = 2;

/// When a breaker opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Failures in a row that open it.
    pub failures: u32,
    /// The first pause.
    pub pause_us: i64,
    /// The longest pause: each is twice as long as the one before.
    pub pause_max_us: i64,
}

/// How a breaker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Calls pass.
    Closed,
    /// None do.
    Open,
    /// A few do, to see how it is.
    HalfOpen,
}

impl State {
    /// The word in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

/// A breaker that changed its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// Which operation's; `None`: the upstream's.
    pub operation: Option<OperationName>,
    /// Its new state.
    pub state: State,
    /// For how long it is open.
    pub pause_us: Option<i64>,
    /// The failure that opened it.
    pub cause: Option<Code>,
}

/// What a call showed of its upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// It answered.
    Answer,
    /// Nothing: the caller, or a rule of the gate, ended it.
    Nothing,
    /// It cannot be reached, whatever is asked of it.
    Unreachable(Code),
    /// It was reached and did not answer this as it should.
    Failure(Code),
}

/// A call that is let through, to be handed back when it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entered {
    /// How many transitions there had been: what began before a transition says nothing after it.
    after: u64,
    /// Whether it is a probe of the upstream, and of the operation.
    probes: (bool, bool),
}

impl Entered {
    /// Whether it is one of the few that show how an upstream is.
    pub const fn is_probe(&self) -> bool {
        self.probes.0 || self.probes.1
    }
}

/// A breaker that is not closed, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Which operation's; `None`: the upstream's.
    pub operation: Option<OperationName>,
    /// How it stands.
    pub state: State,
    /// When the upstream is tried again.
    pub until: Micros,
    /// The failure that opened it.
    pub cause: Option<Code>,
}

/// The breakers of one upstream.
#[derive(Clone, Debug)]
pub struct Breakers {
    rules: Rules,
    whole: Machine,
    operations: BTreeMap<OperationName, Machine>,
    /// How many transitions there have been: a clock that never jumps.
    transitions: u64,
    /// Operations that have opened since anything was last answered.
    fallen: u32,
}

impl Breakers {
    /// All closed.
    pub fn new(rules: Rules) -> Self {
        let (whole, operations) = (Machine::new(), BTreeMap::new());
        Self { rules, whole, operations, transitions: 0, fallen: 0 }
    }

    /// What stops a call now, if anything does: of two breakers the one that does longer.
    pub fn about(&self, operation: &OperationName, now: Micros) -> Option<Broken> {
        let whole = self.whole.stops_until(&self.rules, now);
        let own = self.operations.get(operation);
        let own = own.and_then(|machine| machine.stops_until(&self.rules, now));
        let broken = |scope| move |until| Broken { scope, until };
        let whole = whole.map(broken(BreakerScope::Upstream));
        let own = own.map(broken(BreakerScope::Operation));
        whole.into_iter().chain(own).max_by_key(|broken| broken.until)
    }

    /// Whether the whole upstream is left alone now.
    pub fn about_whole(&self, now: Micros) -> Option<Broken> {
        let until = self.whole.until();
        self.whole.is_paused(now).then_some(Broken { scope: BreakerScope::Upstream, until })
    }

    /// Lets a call through, or says what stops it. Whoever is let through is handed back with
    /// [`Breakers::ended`], whatever becomes of it.
    pub fn enter(
        &mut self,
        operation: &OperationName,
        now: Micros,
        changes: &mut Vec<Transition>,
    ) -> Result<Entered, Broken> {
        if let Some(broken) = self.about(operation, now) {
            return Err(broken);
        }
        let whole = self.whole.enter(self.transitions + 1);
        if whole.is_new {
            self.changed(None, State::HalfOpen, changes);
        }
        let mut own = machine::Entry::default();
        if let Some(machine) = self.operations.get_mut(operation) {
            own = machine.enter(self.transitions + 1);
        }
        if own.is_new {
            self.changed(Some(operation), State::HalfOpen, changes);
        }
        Ok(Entered { after: self.transitions, probes: (whole.is_probe, own.is_probe) })
    }

    /// A call that was let through is over.
    pub fn ended(
        &mut self,
        operation: &OperationName,
        entered: Entered,
        shown: Shown,
        now: Micros,
        changes: &mut Vec<Transition>,
    ) {
        self.whole.give_back(entered.probes.0);
        if let Some(machine) = self.operations.get_mut(operation) {
            machine.give_back(entered.probes.1);
        }
        match shown {
            Shown::Nothing => {}
            Shown::Answer => self.answered(operation, entered.after, now, changes),
            Shown::Unreachable(cause) => self.fail_whole(entered.after, cause, now, changes),
            Shown::Failure(cause) => self.failed(operation, entered.after, cause, now, changes),
        }
    }

    /// Those that are not closed, the upstream's first.
    pub fn standing(&self) -> Vec<Standing> {
        let named = self.operations.iter().map(|(name, machine)| (Some(name), machine));
        let all = std::iter::once((None, &self.whole)).chain(named);
        let open = all.filter(|(_, machine)| machine.state() != State::Closed);
        open.map(|(operation, machine)| Standing {
            operation: operation.cloned(),
            state: machine.state(),
            until: machine.until(),
            cause: machine.cause(),
        })
        .collect()
    }

    /// An answer to anything speaks for the whole upstream.
    fn answered(
        &mut self,
        operation: &OperationName,
        after: u64,
        now: Micros,
        changes: &mut Vec<Transition>,
    ) {
        if self.whole.is_current(after) {
            self.fallen = 0;
            if self.whole.answered(now, self.transitions + 1) {
                self.changed(None, State::Closed, changes);
            }
        }
        let Some(machine) = self.operations.get_mut(operation) else { return };
        let has_closed = machine.is_current(after) && machine.answered(now, self.transitions + 1);
        if machine.is_forgettable(&self.rules, now) {
            self.operations.remove(operation);
        }
        if has_closed {
            self.changed(Some(operation), State::Closed, changes);
        }
    }

    /// A failure is the operation's first. The upstream's it is only while the operation is not
    /// known to fail by itself.
    fn failed(
        &mut self,
        operation: &OperationName,
        after: u64,
        cause: Code,
        now: Micros,
        changes: &mut Vec<Transition>,
    ) {
        let (rules, number) = (self.rules, self.transitions + 1);
        let Some(machine) = self.machine(operation, now) else {
            return self.fail_whole(after, cause, now, changes);
        };
        if !machine.is_current(after) {
            return;
        }
        let before = machine.state();
        let has_opened = machine.failed(&rules, cause, now, number);
        let pause_us = machine.pause_us();
        if !has_opened {
            return self.fail_whole(after, cause, now, changes);
        }
        self.opened(Some(operation), pause_us, cause, changes);
        if before != State::Closed {
            return;
        }
        // What the operation has to itself is not held against the others; two that stop with no
        // answer in between have it from their upstream.
        self.whole.forgive();
        self.fallen = self.fallen.saturating_add(1);
        if self.fallen >= FALLEN_MAX && self.whole.state() == State::Closed {
            self.whole.open(&self.rules, cause, now, self.transitions + 1);
            self.opened(None, self.whole.pause_us(), cause, changes);
        }
    }

    fn fail_whole(&mut self, after: u64, cause: Code, now: Micros, changes: &mut Vec<Transition>) {
        let is_current = self.whole.is_current(after);
        if is_current && self.whole.failed(&self.rules, cause, now, self.transitions + 1) {
            self.opened(None, self.whole.pause_us(), cause, changes);
        }
    }

    /// The breaker of an operation, made if there is room for it.
    fn machine(&mut self, operation: &OperationName, now: Micros) -> Option<&mut Machine> {
        if !self.operations.contains_key(operation) {
            if self.operations.len() >= BROKEN_OPERATIONS_MAX {
                let rules = self.rules;
                self.operations.retain(|_, machine| !machine.is_forgettable(&rules, now));
            }
            if self.operations.len() >= BROKEN_OPERATIONS_MAX {
                return None;
            }
            self.operations.insert(operation.clone(), Machine::new());
        }
        self.operations.get_mut(operation)
    }

    fn changed(
        &mut self,
        operation: Option<&OperationName>,
        state: State,
        changes: &mut Vec<Transition>,
    ) {
        self.transitions += 1;
        let operation = operation.cloned();
        changes.push(Transition { operation, state, pause_us: None, cause: None });
    }

    fn opened(
        &mut self,
        operation: Option<&OperationName>,
        pause_us: i64,
        cause: Code,
        changes: &mut Vec<Transition>,
    ) {
        self.transitions += 1;
        let (operation, state) = (operation.cloned(), State::Open);
        let (pause_us, cause) = (Some(pause_us), Some(cause));
        changes.push(Transition { operation, state, pause_us, cause });
    }
}

#[cfg(test)]
mod tests;
