//! The machine: a level that decays, the mode that follows from it, and what loosens it.
//!
//! It knows neither where events come from nor whose risk it is. Time is handed in.

use super::{EVENTS_MAX, Event, POINT, Rules, SCORE_MAX, Scope};
use crate::declare;
use lockgate_types::facts::Mode;
use lockgate_types::risk::{CLASS_BYTES_MAX, REASONS_MAX, Reason, Risk};
use lockgate_types::{CallId, Micros};

/// Halvings after which nothing is left of any score.
const HALVINGS_MAX: i64 = 21;

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
        let class = match event {
            Event::Signal { class, .. } => format!("signal:{class}"),
            Event::Happened(class) => class.as_str().to_owned(),
        };
        note(&mut risk.reasons, &class, points / POINT, (call, now));
    }
    let tightened = mode.max(scale.of_level(risk.level));
    if tightened != mode {
        risk.since = now;
    }
    Some((tightened, risk))
}

/// Notes what a call has shown that tightened the mode by itself, whatever the score.
pub fn because(risk: &mut Risk, class: &str, call: &CallId, now: Micros) {
    note(&mut risk.reasons, class, 0, (Some(call), now));
}

fn note(reasons: &mut Vec<Reason>, class: &str, points: i64, at: (Option<&CallId>, Micros)) {
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

impl Scale {
    pub(super) fn new(
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
    pub(super) fn of_level(&self, level: i64) -> Mode {
        let strict = [Mode::Locked, Mode::ReadOnly, Mode::Approvals];
        let holds = |mode: &Mode| self.enters(*mode).is_some_and(|enters| level >= enters);
        strict.into_iter().find(holds).unwrap_or_default()
    }

    /// What is left of a level. A clock that was set back takes nothing away, and adds nothing.
    pub(super) fn decayed(&self, level: i64, since: Micros, now: Micros) -> i64 {
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
    pub(super) fn falls_below(&self, level: i64, since: Micros, below: i64) -> Micros {
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
