//! The risk engine: what happened, a score that decays, and the mode that follows from it.
//!
//! One machine for sessions and for tenants, pure: time and events are handed in. Events only
//! tighten; a timer loosens by one mode at a time, once the mode has lasted long enough and the
//! score is well below the one that tightened; a person does either (I6). What is unusual is found
//! out in `baseline`, where states are kept is the business of others. No fractions: scores are
//! thousandths of points inside.

pub mod baseline;

use crate::bundle::admin::RESERVED;
use crate::declare;
use lockgate_types::call::{Call, Direction};
use lockgate_types::decision::{Decision, Verdict};
use lockgate_types::facts::{Facts, Mode, SessionState};
use lockgate_types::risk::{CLASS_BYTES_MAX, REASONS_MAX, Reason, Risk, Seen, Standing};
use lockgate_types::{CallId, Code, Micros};
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
/// Halvings after which nothing is left of any score.
const HALVINGS_MAX: i64 = 21;

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
    /// A circuit breaker has opened.
    Upstream,
}

impl Class {
    /// Every class.
    pub const ALL: [Self; 12] = [
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

/// When a score becomes a mode, and when it ends.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    half_life_us: i64,
    hysteresis: i64,
    /// From which score: `approvals`, `read_only`, `locked`. 0: never.
    enter: [i64; 3],
    /// How long at least. 0: until a person comes.
    stay_us: [i64; 3],
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
            | Class::Uncertain => 0,
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

impl Scale {
    fn new(
        (half_life_s, hysteresis): (u32, u32),
        enter: declare::Enter,
        stay_s: declare::Stay,
    ) -> Self {
        let micros = |seconds: u32| i64::from(seconds).saturating_mul(1_000_000);
        Self {
            half_life_us: micros(half_life_s).max(1),
            hysteresis: i64::from(hysteresis),
            enter: [enter.approvals, enter.read_only, enter.locked].map(i64::from),
            stay_us: [stay_s.approvals, stay_s.read_only, stay_s.locked].map(micros),
        }
    }

    /// The level from which a mode holds. `None`: it never follows from a score.
    fn enters(&self, mode: Mode) -> Option<i64> {
        let [approvals, read_only, locked] = self.enter;
        let score = match mode {
            Mode::Normal => return None,
            Mode::Approvals => approvals,
            Mode::ReadOnly => read_only,
            Mode::Locked => locked,
        };
        (score > 0).then(|| score.saturating_mul(POINT))
    }

    fn stay_us(&self, mode: Mode) -> Option<i64> {
        let [approvals, read_only, locked] = self.stay_us;
        let stay = match mode {
            Mode::Normal => return None,
            Mode::Approvals => approvals,
            Mode::ReadOnly => read_only,
            Mode::Locked => locked,
        };
        (stay > 0).then_some(stay)
    }

    /// The strictest mode that a level stands for.
    fn of_level(&self, level: i64) -> Mode {
        let strict = [Mode::Locked, Mode::ReadOnly, Mode::Approvals];
        let holds = |mode: &Mode| self.enters(*mode).is_some_and(|enters| level >= enters);
        strict.into_iter().find(holds).unwrap_or_default()
    }

    /// What is left of a level. A clock that was set back takes nothing away, and adds nothing.
    fn decayed(&self, level: i64, since: Micros, now: Micros) -> i64 {
        let elapsed = now.0.saturating_sub(since.0).max(0);
        let halvings = elapsed / self.half_life_us;
        if halvings >= HALVINGS_MAX {
            return 0;
        }
        let left = level >> halvings;
        // A straight line between two halvings: never up, and without fractions.
        let rest = i128::from(elapsed % self.half_life_us);
        let lost = i128::from(left) * rest / (2 * i128::from(self.half_life_us));
        left.saturating_sub(i64::try_from(lost).unwrap_or(left))
    }

    /// When a level has fallen below another.
    fn falls_below(&self, level: i64, since: Micros, below: i64) -> Micros {
        let at = |elapsed: i64| Micros(since.0.saturating_add(elapsed));
        let (mut before, mut after) = (0, self.half_life_us.saturating_mul(HALVINGS_MAX));
        if level < below {
            return since;
        }
        while after.saturating_sub(before) > 1 {
            let middle = before + (after - before) / 2;
            match self.decayed(level, since, at(middle)) < below {
                true => after = middle,
                false => before = middle,
            }
        }
        at(after)
    }
}

/// The score now.
pub fn score(scale: Option<&Scale>, risk: &Risk, now: Micros) -> i64 {
    let level = scale.map_or(risk.level, |scale| scale.decayed(risk.level, risk.at, now));
    level / POINT
}

/// Holds events against a session or tenant. `None`: nothing changes. The mode only tightens.
pub fn raise(
    rules: &Rules,
    scope: Scope,
    (mode, risk): (Mode, Option<&Risk>),
    events: &[Event],
    (call, now): (Option<&CallId>, Micros),
) -> Option<(Mode, Risk)> {
    let mut risk = risk.cloned().unwrap_or_default();
    let scale = rules.scale(scope);
    let counted = events.iter().take(EVENTS_MAX).map(|event| (event, rules.points(scope, event)));
    let counted: Vec<(&Event, i64)> = counted.filter(|(_, points)| *points > 0).collect();
    if counted.is_empty() {
        return None;
    }
    let left = scale.decayed(risk.level, risk.at, now);
    if left == 0 && mode == Mode::Normal {
        // What has been forgotten is no reason any more.
        risk.reasons.clear();
    }
    let added = counted.iter().fold(0_i64, |sum, (_, points)| sum.saturating_add(*points));
    risk.level = left.saturating_add(added).min(SCORE_MAX * POINT);
    risk.at = risk.at.max(now);
    for (event, points) in counted {
        note(&mut risk.reasons, event, points / POINT, (call, now));
    }
    let tightened = mode.max(scale.of_level(risk.level));
    if tightened != mode {
        risk.since = now;
    }
    Some((tightened, risk))
}

fn note(reasons: &mut Vec<Reason>, event: &Event, points: i64, at: (Option<&CallId>, Micros)) {
    let class = match event {
        Event::Signal { class, .. } => format!("signal:{class}"),
        Event::Happened(class) => class.as_str().to_owned(),
    };
    let class: String =
        class.chars().filter(char::is_ascii_graphic).take(CLASS_BYTES_MAX).collect();
    let same = reasons.iter().position(|reason| reason.class == class);
    let before = same.map(|same| reasons.remove(same));
    let (had_points, times) = before.map_or((0, 0), |reason| (reason.points, reason.times));
    if reasons.len() >= REASONS_MAX {
        reasons.remove(0);
    }
    reasons.push(Reason {
        class,
        points: points.saturating_add(had_points),
        times: times.saturating_add(1),
        at: at.1,
        call: at.0.cloned(),
    });
}

/// When a timer loosens the mode, if nothing more happens. `None`: only a person does.
pub fn loosens_at(scale: &Scale, mode: Mode, risk: &Risk) -> Option<Micros> {
    if mode <= risk.floor {
        return None;
    }
    let stay_us = scale.stay_us(mode)?;
    let has_stayed = Micros(risk.since.0.saturating_add(stay_us));
    let is_calm = match scale.enters(mode) {
        Some(enters) => {
            let below = enters.saturating_sub(scale.hysteresis.saturating_mul(POINT)).max(POINT);
            scale.falls_below(risk.level, risk.at, below)
        }
        // A mode that no score leads to ends with its time.
        None => has_stayed,
    };
    Some(has_stayed.max(is_calm))
}

/// What timers have loosened by now. `None`: nothing.
pub fn settle(scale: &Scale, mode: Mode, risk: &Risk, now: Micros) -> Option<(Mode, Risk)> {
    let (mut mode, mut risk, mut is_looser) = (mode, risk.clone(), false);
    while let Some(at) = loosens_at(scale, mode, &risk).filter(|at| *at <= now) {
        mode = looser(mode);
        risk.since = at;
        is_looser = true;
    }
    is_looser.then_some((mode, risk))
}

const fn looser(mode: Mode) -> Mode {
    match mode {
        Mode::Normal | Mode::Approvals => Mode::Normal,
        Mode::ReadOnly => Mode::Approvals,
        Mode::Locked => Mode::ReadOnly,
    }
}

/// What a person sets: stricter, to stay until a person comes again, or looser.
pub fn set(
    scale: Option<&Scale>,
    (mode, risk): (Mode, Option<&Risk>),
    to: Mode,
    now: Micros,
) -> (Mode, Risk) {
    let mut risk = risk.cloned().unwrap_or_default();
    let left = scale.map_or(risk.level, |scale| scale.decayed(risk.level, risk.at, now));
    (risk.at, risk.since) = (now, now);
    if to > mode {
        (risk.level, risk.floor) = (left, to);
        return (to, risk);
    }
    // Whoever has looked has forgiven what would tighten it again at once.
    let bearable = scale.and_then(|scale| scale.enters(to)).unwrap_or(0);
    (risk.level, risk.floor) = (left.min(bearable), Mode::Normal);
    if to == Mode::Normal {
        risk.reasons.clear();
    }
    (to, risk)
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
