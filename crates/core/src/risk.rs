//! The risk engine: what happened, a score that decays, and the mode that follows from it.
//!
//! One machine for sessions and for tenants, pure: time and events are handed in. Events only
//! tighten; a timer loosens by one mode at a time, once the mode has lasted long enough and the
//! score is well below the one that tightened; a person does either (I6). What is unusual is found
//! out in `baseline`, where states are kept is the business of others. No fractions: scores are
//! thousandths of points inside.

pub mod baseline;
mod machine;
pub mod probe;

pub use machine::{Scale, because, loosens_at, raise, score, set, settle};

use crate::bundle::admin::RESERVED;
use crate::declare;
use lockgate_types::call::{Call, Direction};
use lockgate_types::decision::{Decision, Verdict};
use lockgate_types::facts::{Facts, Mode, SessionState};
use lockgate_types::risk::{Risk, Seen, Standing};
use lockgate_types::{Code, Micros};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The highest score.
pub const SCORE_MAX: i64 = 1000;
/// Events of one call that are counted.
pub const EVENTS_MAX: usize = 16;
/// The requirement of a call whose argument came from where it must not.
const PROVENANCE: &str = "provenance";
/// Thousandths.
const POINT: i64 = 1000;

/// Something that is held against a session or tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A detector has found something in a result, and is sure of it in thousandths.
    Signal {
        /// Its class, such as `injection`.
        class: String,
        /// 0 to 1000.
        score: u16,
    },
    /// Anything else.
    Happened(Class),
}

/// A class of events. A signal has its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// No policy permits the call, or one forbids it.
    Refused,
    /// The operation does not take such arguments.
    Malformed,
    /// An argument came from where it must not.
    Provenance,
    /// A cap is used up.
    Limit,
    /// The mode does not allow the call.
    Pressed,
    /// The same call over and over.
    Loop,
    /// Far more calls or bytes than usual.
    Volume,
    /// A destination that was never sent to.
    Destination,
    /// An hour of the day at which there usually is nothing.
    Hours,
    /// Far more tokens than usual.
    Tokens,
    /// A model says that it is not sure.
    Uncertain,
    /// Prompts that are nearly the same, over and over.
    Probes,
    /// A prompt that asks for something to be said over again.
    Recall,
    /// A circuit breaker has opened.
    Upstream,
}

impl Class {
    /// Every class.
    pub const ALL: [Self; 14] = [
        Self::Refused,
        Self::Malformed,
        Self::Provenance,
        Self::Limit,
        Self::Pressed,
        Self::Loop,
        Self::Volume,
        Self::Destination,
        Self::Hours,
        Self::Tokens,
        Self::Uncertain,
        Self::Probes,
        Self::Recall,
        Self::Upstream,
    ];

    /// The word in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Malformed => "malformed",
            Self::Provenance => "provenance",
            Self::Limit => "limit",
            Self::Pressed => "pressed",
            Self::Loop => "loop",
            Self::Volume => "volume",
            Self::Destination => "destination",
            Self::Hours => "hours",
            Self::Tokens => "tokens",
            Self::Uncertain => "uncertain",
            Self::Probes => "probes",
            Self::Recall => "recall",
            Self::Upstream => "upstream",
        }
    }
}

/// Whose risk it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// A session's.
    Session,
    /// A tenant's.
    Tenant,
}

impl Scope {
    /// The word in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Tenant => "tenant",
        }
    }
}

/// What `[risk]` says, ready for use.
#[derive(Clone, Debug)]
pub struct Rules {
    session: Scale,
    tenant: Scale,
    weights: declare::Weights,
    tenant_weights: declare::TenantWeights,
    signals: BTreeMap<String, i64>,
    /// What is unusual.
    pub baseline: declare::BaselineRules,
}

/// What is to be held against a session, and its tenant, with the record of what caused it.
#[derive(Clone, Debug)]
pub struct Raise {
    /// By which rules.
    pub rules: Arc<Rules>,
    /// What happened.
    pub events: Vec<Event>,
}

impl Rules {
    /// What a section means.
    pub fn new(risk: &declare::Risk) -> Self {
        let tenant = &risk.tenant;
        let signals = risk.signals.iter();
        Self {
            session: Scale::new((risk.half_life_s, risk.hysteresis), risk.enter, risk.stay_s),
            tenant: Scale::new(
                (tenant.half_life_s, tenant.hysteresis),
                tenant.enter.into(),
                tenant.stay_s.into(),
            ),
            weights: risk.weights,
            tenant_weights: tenant.weights,
            signals: signals.map(|(class, points)| (class.clone(), i64::from(*points))).collect(),
            baseline: risk.baseline,
        }
    }

    /// The scale of sessions or of tenants.
    pub const fn scale(&self, scope: Scope) -> &Scale {
        match scope {
            Scope::Session => &self.session,
            Scope::Tenant => &self.tenant,
        }
    }

    /// Whether any of these is held against the tenant.
    pub fn concerns_tenant(&self, events: &[Event]) -> bool {
        events.iter().any(|event| self.points(Scope::Tenant, event) > 0)
    }

    /// Whether signals of a class are held against sessions.
    pub fn weighs(&self, class: &str) -> bool {
        self.signal(class) > 0
    }

    /// Whether any class of signals of a kind is held against sessions.
    pub fn weighs_any(&self, kind: &str) -> bool {
        let is_of = |class: &str| class.split(':').next() == Some(kind);
        self.weighs(kind) || self.signals.iter().any(|(class, it)| *it > 0 && is_of(class))
    }

    /// Thousandths of points that an event adds.
    fn points(&self, scope: Scope, event: &Event) -> i64 {
        let weight = match (scope, event) {
            (Scope::Session, Event::Signal { class, score }) => {
                return self.signal(class).saturating_mul(i64::from((*score).min(1000)));
            }
            (Scope::Tenant, Event::Signal { class, score }) => {
                let is_held = self.signal(class) > 0;
                let weight = if is_held { self.tenant_weights.signal } else { 0 };
                return i64::from(weight).saturating_mul(i64::from((*score).min(1000)));
            }
            (Scope::Session, Event::Happened(class)) => self.weight(*class),
            (Scope::Tenant, Event::Happened(class)) => self.tenant_weight(*class),
        };
        i64::from(weight).saturating_mul(POINT)
    }

    /// The weight of a signal: of its class, of what stands before the `:`, or of any.
    fn signal(&self, class: &str) -> i64 {
        let named = |name: &str| self.signals.get(name).copied();
        let kind = class.split(':').next().unwrap_or_default();
        named(class).or_else(|| named(kind)).unwrap_or_else(|| i64::from(self.weights.signal))
    }

    const fn weight(&self, class: Class) -> u32 {
        let weights = &self.weights;
        match class {
            Class::Refused => weights.refused,
            Class::Malformed => weights.malformed,
            Class::Provenance => weights.provenance,
            Class::Limit => weights.limit,
            Class::Pressed => weights.pressed,
            Class::Loop => weights.r#loop,
            Class::Volume => weights.volume,
            Class::Destination => weights.destination,
            Class::Hours => weights.hours,
            Class::Tokens => weights.tokens,
            Class::Uncertain => weights.uncertain,
            Class::Probes => weights.probes,
            Class::Recall => weights.recall,
            // Not the doing of any session.
            Class::Upstream => 0,
        }
    }

    const fn tenant_weight(&self, class: Class) -> u32 {
        match class {
            Class::Loop => self.tenant_weights.r#loop,
            Class::Upstream => self.tenant_weights.upstream,
            Class::Refused
            | Class::Malformed
            | Class::Provenance
            | Class::Limit
            | Class::Pressed
            | Class::Volume
            | Class::Destination
            | Class::Hours
            | Class::Tokens
            | Class::Uncertain
            | Class::Probes
            | Class::Recall => 0,
        }
    }
}

/// The mode that holds for a call: the stricter of its session's and its tenant's. The gate's own
/// operations go on whatever the tenant's: else nobody could loosen it again.
pub fn mode(facts: &Facts) -> Mode {
    let session = facts.session.mode;
    let is_own = facts.call.upstream.as_str() == RESERVED;
    match &facts.risk {
        Some(seen) if !is_own => session.max(seen.tenant.mode),
        Some(_) | None => session,
    }
}

/// Whether anything about a call is held against its session: it is not the gate's own, and it is
/// the session that asks.
pub fn is_held(call: &Call) -> bool {
    call.upstream.as_str() != RESERVED && call.direction == Direction::ToUpstream
}

/// What a refusal is held against its session as, if it is.
pub fn of_refusal(decision: &Decision) -> Option<Event> {
    if decision.verdict == Verdict::Allow {
        return None;
    }
    if decision.approvals.iter().any(|requirement| requirement == PROVENANCE) {
        return Some(Event::Happened(Class::Provenance));
    }
    of_code(decision.denial.as_ref()?.code).map(Event::Happened)
}

/// The class of what was refused for this. What is nobody's fault, is for a person to agree to, or
/// is asked for in the wrong order is held against nobody.
fn of_code(code: Code) -> Option<Class> {
    match code {
        Code::AgentNotPermitted
        | Code::SubjectNotPermitted
        | Code::Forbidden
        | Code::OperationUndeclared
        | Code::NotAccepted => Some(Class::Refused),
        Code::ArgumentsRefused
        | Code::ArgumentUnusable
        | Code::StatementRefused
        | Code::RequestRefused
        | Code::KeyReused => Some(Class::Malformed),
        Code::CapReached => Some(Class::Limit),
        Code::ModeForbids => Some(Class::Pressed),
        _ => None,
    }
}

/// What a decision sees.
pub fn standing(scale: Option<&Scale>, mode: Mode, risk: Option<&Risk>, now: Micros) -> Standing {
    let Some(risk) = risk else { return Standing { mode, ..Standing::default() } };
    let score = score(scale, risk, now);
    let is_forgotten = score == 0 && mode == Mode::Normal;
    Standing {
        mode,
        score,
        since: risk.since,
        loosens_at: scale.and_then(|scale| loosens_at(scale, mode, risk)),
        reasons: if is_forgotten { Vec::new() } else { risk.reasons.clone() },
    }
}

/// What a decision sees of a session and its tenant. `None`: there is nothing to say.
pub fn seen(
    rules: Option<&Rules>,
    session: &SessionState,
    tenant: &SessionState,
    now: Micros,
) -> Option<Box<Seen>> {
    if session.risk.is_none() && tenant.risk.is_none() && tenant.mode == Mode::Normal {
        return None;
    }
    let of = |scope, state: &SessionState| {
        let scale = rules.map(|rules| rules.scale(scope));
        standing(scale, state.mode, state.risk.as_deref(), now)
    };
    let seen = Seen { session: of(Scope::Session, session), tenant: of(Scope::Tenant, tenant) };
    let is_quiet = seen.session.is_quiet() && seen.tenant.is_quiet();
    (!is_quiet).then(|| Box::new(seen))
}

/// Whether a timer has something to loosen.
pub fn is_due(rules: &Rules, scope: Scope, state: &SessionState, now: Micros) -> bool {
    let at = state.risk.as_ref().filter(|_| state.mode > Mode::Normal);
    let at = at.and_then(|risk| loosens_at(rules.scale(scope), state.mode, risk));
    at.is_some_and(|at| at <= now)
}

#[cfg(test)]
mod tests;
