//! Kill switches: what must not leave, and a place that everything passes on its way out.
//!
//! A switch stops before it is recorded: what a full disk or a dead database cannot do is keep a
//! gate running. Whoever is about to send passes [`Pass::leave`], under the same lock under which a
//! switch is thrown. So there is a moment, [`Containment::contained_at`], after which nothing in
//! the switch's scope begins to leave, and a list of what had passed before and is still under way.

use crate::db::{Db, DbError, values};
use crate::error::StoreError;
use crate::job::{Rejected, Written};
use crate::leaf::{self, Thrown};
use crate::lease::Moment;
use crate::shard::Whose;
use crate::writer::Writer;
use lockgate_types::facts::{Facts, Switch};
use lockgate_types::{
    AgentId, CallId, Code, Environment, Micros, OperationName, SessionId, Tenant, UpstreamName,
};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Switches that may be on at once.
pub const SWITCHES_MAX: usize = 1024;

/// The scopes of switches, from wide to narrow.
pub const SWITCH_SCOPES: [&str; 7] =
    ["global", "tenant", "environment", "agent", "tool", "operation", "session"];

/// Where a call belongs, for switches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scopes {
    tenant: Tenant,
    environment: Environment,
    agent: AgentId,
    upstream: UpstreamName,
    operation: OperationName,
    session: SessionId,
}

impl Scopes {
    /// Of the call that these facts are about.
    pub fn of(facts: &Facts) -> Self {
        let (identity, call) = (&facts.identity, &facts.call);
        Self {
            tenant: identity.tenant.clone(),
            environment: identity.environment.clone(),
            agent: identity.agent.clone(),
            upstream: call.upstream.clone(),
            operation: call.operation.clone(),
            session: facts.session.id.clone(),
        }
    }

    /// As kept with a request for approval: names have no control characters.
    pub(crate) fn to_text(&self) -> String {
        let Self { tenant, environment, agent, upstream, operation, session } = self;
        format!("{tenant}\n{environment}\n{agent}\n{upstream}\n{operation}\n{session}")
    }

    /// The tenant.
    pub(crate) const fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// The agent, in its tenant and environment.
    pub(crate) fn agent_text(&self) -> String {
        format!("{}\n{}\n{}", self.tenant, self.environment, self.agent)
    }

    pub(crate) fn from_text(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let mut next = || lines.next();
        Some(Self {
            tenant: next()?.parse().ok()?,
            environment: next()?.parse().ok()?,
            agent: next()?.parse().ok()?,
            upstream: next()?.parse().ok()?,
            operation: next()?.parse().ok()?,
            session: next()?.parse().ok()?,
        })
    }

    /// Whether a switch is about this. One whose scope nobody knows is about everything.
    pub fn is_in(&self, switch: &Switch) -> bool {
        let name = match switch.scope.as_str() {
            "tenant" => self.tenant.as_str(),
            "environment" => self.environment.as_str(),
            "agent" => self.agent.as_str(),
            "tool" => self.upstream.as_str(),
            "operation" => self.operation.as_str(),
            "session" => self.session.as_str(),
            _ => return true,
        };
        switch.name == name
    }
}

/// The switches of a gate, and what is under way.
#[derive(Debug, Default)]
pub struct Switches {
    state: Mutex<State>,
    /// Whether there is a lease, for those who wait for one. Unused where none is needed.
    leased: tokio::sync::Notify,
}

#[derive(Debug, Default)]
struct State {
    on: BTreeSet<(String, String)>,
    /// Thrown here, and not yet known to the fleet: what it says does not undo them.
    pinned: BTreeSet<(String, String)>,
    under_way: BTreeMap<CallId, Scopes>,
    /// `None`: nobody else throws switches, so that what is known here is all there is.
    lease: Option<Lease>,
}

/// Whether the fleet knows of a switch: until it does, what it says does not undo it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    NotYet,
    Already,
}

/// The right of a node to let things leave, until it has to ask again.
#[derive(Clone, Copy, Debug)]
struct Lease {
    until: Moment,
    /// Grows when another node has finished what this one left open: what had a permit before has
    /// none any more.
    term: i64,
}

/// Why nothing leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// A switch stops it.
    Switch(Switch),
    /// The node does not know what holds in its fleet now, or was taken for lost when the permit
    /// was young.
    NoLease,
}

impl Stop {
    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::Switch(_) => Code::SwitchEngaged,
            Self::NoLease => Code::LeaseExpired,
        }
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Switch(Switch { scope, name }) => {
                write!(f, "the switch {scope} `{name}` stops this")
            }
            Self::NoLease => f.write_str(Code::LeaseExpired.title()),
        }
    }
}

/// What a switch has stopped, provably.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Containment {
    /// Nothing in the scope begins to leave after this.
    pub contained_at: Micros,
    /// Calls that had begun to leave before, and have no recorded outcome yet.
    pub under_way: Vec<CallId>,
}

impl Switches {
    fn locked(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The switches that are about a call, in a fixed order.
    pub(crate) fn about(&self, scopes: &Scopes) -> Vec<Switch> {
        let state = self.locked();
        let on = state
            .on
            .iter()
            .map(|(scope, name)| Switch { scope: scope.clone(), name: name.clone() });
        on.filter(|switch| scopes.is_in(switch)).collect()
    }

    /// All that are on.
    pub fn on(&self) -> Vec<Switch> {
        let state = self.locked();
        let on = state.on.iter();
        on.map(|(scope, name)| Switch { scope: scope.clone(), name: name.clone() }).collect()
    }

    /// Throws a switch, and says what that has stopped.
    pub(crate) fn throw(
        &self,
        switch: &Switch,
        now: fn() -> Micros,
        known: Known,
    ) -> Result<Containment, StoreError> {
        let mut state = self.locked();
        let named = (switch.scope.clone(), switch.name.clone());
        // What stops everything always has room.
        let has_room = state.on.len() < SWITCHES_MAX || switch.scope == "global";
        if !has_room && !state.on.contains(&named) {
            return Err(StoreError::Overloaded { max: SWITCHES_MAX });
        }
        if state.lease.is_some() && known == Known::NotYet {
            state.pinned.insert(named.clone());
        }
        state.on.insert(named);
        let within = state.under_way.iter().filter(|(_, scopes)| scopes.is_in(switch));
        let under_way = within.map(|(call, _)| call.clone()).collect();
        Ok(Containment { contained_at: now(), under_way })
    }

    /// Lifts a switch; whether it was on.
    pub(crate) fn lift(&self, switch: &Switch) -> bool {
        let named = (switch.scope.clone(), switch.name.clone());
        let mut state = self.locked();
        state.pinned.remove(&named);
        state.on.remove(&named)
    }

    /// From now on things leave while there is a lease, of which there is none yet.
    pub(crate) fn need_lease(&self, term: i64) {
        self.locked().lease = Some(Lease { until: Moment::now(), term });
    }

    /// Nobody keeps the lease any more.
    pub(crate) fn end_lease(&self) {
        if let Some(lease) = &mut self.locked().lease {
            lease.until = Moment::now();
        }
    }

    /// What is known of the fleet is right until then.
    pub(crate) fn renew(&self, until: Moment, term: i64) {
        self.locked().lease = Some(Lease { until, term });
        self.leased.notify_waiters();
    }

    /// Takes up which switches are on in the fleet. Gives the calls that had begun to leave before,
    /// in the scope of any of them.
    pub(crate) fn take_up(&self, on: BTreeSet<(String, String)>) -> Vec<CallId> {
        let mut state = self.locked();
        state.on = on;
        let pinned = state.pinned.clone();
        state.on.extend(pinned);
        let on: Vec<Switch> = state
            .on
            .iter()
            .map(|(scope, name)| Switch { scope: scope.clone(), name: name.clone() })
            .collect();
        let within = state.under_way.iter();
        let within = within.filter(|(_, scopes)| on.iter().any(|switch| scopes.is_in(switch)));
        within.map(|(call, _)| call.clone()).collect()
    }

    /// Switches that the fleet may not know of.
    pub(crate) fn pinned(&self) -> Vec<Switch> {
        let state = self.locked();
        let pinned = state.pinned.iter();
        pinned.map(|(scope, name)| Switch { scope: scope.clone(), name: name.clone() }).collect()
    }

    /// The fleet knows of a switch.
    pub(crate) fn unpin(&self, switch: &Switch) {
        self.locked().pinned.remove(&(switch.scope.clone(), switch.name.clone()));
    }

    fn term(&self) -> i64 {
        self.locked().lease.map_or(0, |lease| lease.term)
    }

    /// A call has its outcome, or needs none.
    pub(crate) fn ended(&self, call: &CallId) {
        self.locked().under_way.remove(call);
    }

    /// Reads those that were on when the gate stopped.
    pub(crate) fn load(&self, db: &Db) -> Result<(), DbError> {
        let select = "SELECT scope, name FROM switch";
        let on = db.rows(select, &[], |row| Ok((row.get(0)?, row.get(1)?)))?;
        self.locked().on = on.into_iter().collect();
        Ok(())
    }
}

impl State {
    /// Whether what is known here is what holds, for a permit of that term.
    fn is_leased(&self, term: i64) -> bool {
        self.lease.is_none_or(|lease| lease.term == term && Moment::now() < lease.until)
    }
}

/// What a permit is worth at the door. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Pass {
    switches: Arc<Switches>,
    scopes: Arc<Scopes>,
    call: CallId,
    /// In which term of the node's the permit was asked for.
    term: i64,
}

/// How long a lease is waited for: a node that is only slow gets one.
const LEASE_WAIT_MAX: Duration = Duration::from_secs(2);

impl Pass {
    /// To be made before the permit is asked for.
    pub(crate) fn new(switches: &Arc<Switches>, scopes: Scopes, call: CallId) -> Self {
        let term = switches.term();
        Self { switches: Arc::clone(switches), scopes: Arc::new(scopes), call, term }
    }

    /// Waits a moment if there is no lease now. Whoever goes on asks [`Pass::leave`] all the same.
    pub async fn ready(&self) {
        let ready = async {
            loop {
                let leased = self.switches.leased.notified();
                let mut leased = std::pin::pin!(leased);
                leased.as_mut().enable();
                if self.switches.locked().is_leased(self.term) {
                    return;
                }
                leased.await;
            }
        };
        let _ = tokio::time::timeout(LEASE_WAIT_MAX, ready).await;
    }

    /// Where the call belongs.
    pub fn scopes(&self) -> &Scopes {
        &self.scopes
    }

    /// Whether a switch stops the call now.
    pub fn is_stopped(&self) -> bool {
        !self.switches.about(&self.scopes).is_empty()
    }

    /// Asked immediately before bytes leave. `Err`: nothing of the call may leave.
    pub fn leave(&self) -> Result<(), Stop> {
        let mut state = self.switches.locked();
        let stops = |(scope, name): &(String, String)| {
            let switch = Switch { scope: scope.clone(), name: name.clone() };
            self.scopes.is_in(&switch).then_some(switch)
        };
        if let Some(switch) = state.on.iter().find_map(stops) {
            return Err(Stop::Switch(switch));
        }
        if !state.is_leased(self.term) {
            return Err(Stop::NoLease);
        }
        state.under_way.insert(self.call.clone(), Scopes::clone(&self.scopes));
        Ok(())
    }
}

impl Writer {
    /// Records that a switch was thrown or lifted, within the transaction of its batch.
    pub(crate) fn switch(
        &mut self,
        switch: &Switch,
        is_on: bool,
        by: &CallId,
    ) -> Result<Result<Written, Rejected>, StoreError> {
        let now = self.now();
        let thrown = Thrown { switch, is_on, by };
        let receipt = self.append(Whose::Node, &leaf::switch(&thrown, now), now)?;
        let insert = "INSERT INTO switch (scope, name, entry) VALUES (?1, ?2, ?3)
                      ON CONFLICT (scope, name) DO UPDATE SET entry = excluded.entry";
        let delete = "DELETE FROM switch WHERE scope = ?1 AND name = ?2";
        let (scope, name) = (&switch.scope, &switch.name);
        let written = match is_on {
            true => self.db.execute(insert, values![scope, name, receipt.place]),
            false => self.db.execute(delete, values![scope, name]),
        };
        written.map_err(StoreError::database("writing a switch"))?;
        if is_on {
            self.cancel_within(switch)?;
        }
        self.tell();
        Ok(Ok(Written::Entry(receipt)))
    }
}
