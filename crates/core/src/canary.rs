//! Canaries: whether an entry that is tried out gets more, or nothing.
//!
//! Pure: what its answers were like is handed in, in counts, with the time; nothing waits. It is
//! taken back as soon as a window can no longer come out well, and gets everything after several
//! windows that came out clearly well. Where states are kept, and what an error is, is the business
//! of others.

use crate::declare;
use crate::model::Registry;
use lockgate_types::{Digest, Json, Micros, Object};

/// What counts as well, of what is tolerated, in quarters: what is only just tolerated is neither
/// taken back nor promoted.
const WELL_QUARTERS: i64 = 3;
/// Of a hundred answers, those that may be slower than a bound on 95 of a hundred.
const SLOW_PERCENT_MAX: i64 = 5;
/// Answers that one window counts: beyond, it is over.
const CALLS_MAX: i64 = 1 << 40;

/// When a canary is taken back, and when it gets everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// How long a window lasts.
    pub window_us: i64,
    /// Answers that it has at least.
    pub samples_min: i64,
    /// Good windows in a row after which it gets everything.
    pub promote_after: Option<u32>,
    /// How often it is tried again.
    pub retries: u32,
    /// The first pause.
    pub pause_us: i64,
    /// Of a hundred answers, how many are tolerated, by guard.
    tolerated: [Option<i64>; 4],
}

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// Answers that failed.
    Errors,
    /// Answers in which the model refused.
    Refusals,
    /// Answers in which a guard of the gate found something.
    Findings,
    /// Answers that were late.
    Slow,
}

impl Guard {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Errors, Self::Refusals, Self::Findings, Self::Slow];

    /// The word in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Errors => "errors",
            Self::Refusals => "refusals",
            Self::Findings => "findings",
            Self::Slow => "slow",
        }
    }

    /// Reads the word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|guard| guard.as_str() == word)
    }
}

/// What answers were like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many there were.
    pub calls: i64,
    /// Of these, those that failed.
    pub errors: i64,
    /// Those in which the model refused.
    pub refusals: i64,
    /// Those in which a guard found something.
    pub findings: i64,
    /// Those that took longer than `latency_p95_ms_max`.
    pub slow: i64,
}

/// How a canary stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It gets its share.
    Running,
    /// It gets everything.
    Promoted,
    /// It gets nothing.
    RolledBack,
}

impl Stage {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Running, Self::Promoted, Self::RolledBack];

    /// The word in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Promoted => "promoted",
            Self::RolledBack => "rolled_back",
        }
    }

    /// Reads the word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.as_str() == word)
    }
}

/// Why a canary was taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breach {
    /// What was looked at.
    pub guard: Guard,
    /// How many answers were so.
    pub seen: i64,
    /// Of how many.
    pub calls: i64,
}

/// A canary that changed its stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// Its new stage.
    pub stage: Stage,
    /// What it was taken back for.
    pub breach: Option<Breach>,
}

/// One canary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Canary {
    stage: Stage,
    /// When its window began.
    since: Micros,
    tally: Tally,
    /// Good windows in a row.
    good: u32,
    /// How often it was taken back.
    taken_back: u32,
    /// Until when it gets nothing, if it was.
    until: Option<Micros>,
    breach: Option<Breach>,
}

impl Rules {
    /// What a bundle declares.
    pub fn of(declared: &declare::Canary) -> Self {
        let seconds = |seconds: u32| i64::from(seconds).saturating_mul(1_000_000);
        let guards = &declared.guards;
        Self {
            window_us: seconds(declared.window_s),
            samples_min: i64::from(declared.samples_min).max(1),
            promote_after: declared.promote_after,
            retries: declared.retries,
            pause_us: seconds(declared.pause_s),
            tolerated: [
                guards.errors_percent_max.map(i64::from),
                guards.refusals_percent_max.map(i64::from),
                guards.findings_percent_max.map(i64::from),
                guards.latency_p95_ms_max.map(|_| SLOW_PERCENT_MAX),
            ],
        }
    }

    /// What is looked at, and what of a hundred is tolerated.
    fn guards(&self) -> impl Iterator<Item = (Guard, i64)> {
        let all = Guard::ALL.into_iter().zip(self.tolerated);
        all.filter_map(|(guard, tolerated)| Some((guard, tolerated?)))
    }
}

impl Tally {
    /// One answer, which was so.
    pub fn of_one(was: &[Guard]) -> Self {
        let count = |guard| i64::from(was.contains(&guard));
        Self {
            calls: 1,
            errors: count(Guard::Errors),
            refusals: count(Guard::Refusals),
            findings: count(Guard::Findings),
            slow: count(Guard::Slow),
        }
    }

    /// How many answers were so.
    pub const fn of(&self, guard: Guard) -> i64 {
        match guard {
            Guard::Errors => self.errors,
            Guard::Refusals => self.refusals,
            Guard::Findings => self.findings,
            Guard::Slow => self.slow,
        }
    }

    /// Adds others, none of them below nothing or beyond how many there were.
    pub fn add(&mut self, other: Self) {
        let calls = other.calls.clamp(0, CALLS_MAX);
        let add = |own: &mut i64, more: i64| {
            *own = own.saturating_add(more.clamp(0, calls)).min(CALLS_MAX);
        };
        add(&mut self.calls, calls);
        add(&mut self.errors, other.errors);
        add(&mut self.refusals, other.refusals);
        add(&mut self.findings, other.findings);
        add(&mut self.slow, other.slow);
    }
}

impl Canary {
    /// One that begins.
    pub const fn new(now: Micros) -> Self {
        let tally = Tally { calls: 0, errors: 0, refusals: 0, findings: 0, slow: 0 };
        let (stage, breach) = (Stage::Running, None);
        Self { stage, since: now, tally, good: 0, taken_back: 0, until: None, breach }
    }

    /// How it stands.
    pub const fn stage(&self) -> Stage {
        self.stage
    }

    /// What its present window has counted.
    pub const fn tally(&self) -> Tally {
        self.tally
    }

    /// What it was taken back for last.
    pub const fn breach(&self) -> Option<Breach> {
        self.breach
    }

    /// Until when it gets nothing. `None`: it gets something, or nothing for good.
    pub const fn until(&self) -> Option<Micros> {
        self.until
    }

    /// Counts answers of its entry, none where time has merely passed, and says what became of it.
    pub fn observe(&mut self, rules: &Rules, answers: Tally, now: Micros) -> Option<Transition> {
        if self.stage == Stage::RolledBack {
            // What was under way when it was taken back says nothing new.
            return self.try_again(now);
        }
        self.tally.add(answers);
        if let Some(breach) = self.breached(rules) {
            return Some(self.take_back(rules, breach, now));
        }
        let is_over = now.0.saturating_sub(self.since.0) >= rules.window_us;
        if !is_over || self.tally.calls < rules.samples_min {
            return None;
        }
        self.good = if self.went_well(rules) { self.good.saturating_add(1) } else { 0 };
        self.begin_window(now);
        let is_enough = rules.promote_after.is_some_and(|after| self.good >= after.max(1));
        if self.stage == Stage::Promoted || !is_enough {
            return None;
        }
        self.stage = Stage::Promoted;
        Some(Transition { stage: Stage::Promoted, breach: None })
    }

    /// The guard that this window is beyond, even if every answer that it still needs were good.
    fn breached(&self, rules: &Rules) -> Option<Breach> {
        let calls = self.tally.calls;
        let of = calls.max(rules.samples_min);
        let is_beyond = |(guard, tolerated): &(Guard, i64)| {
            self.tally.of(*guard).saturating_mul(100) > tolerated.saturating_mul(of)
        };
        let (guard, _) = rules.guards().find(is_beyond)?;
        Some(Breach { guard, seen: self.tally.of(guard), calls })
    }

    fn went_well(&self, rules: &Rules) -> bool {
        rules.guards().all(|(guard, tolerated)| {
            let seen = self.tally.of(guard).saturating_mul(400);
            seen <= tolerated.saturating_mul(WELL_QUARTERS).saturating_mul(self.tally.calls)
        })
    }

    fn take_back(&mut self, rules: &Rules, breach: Breach, now: Micros) -> Transition {
        self.taken_back = self.taken_back.saturating_add(1);
        let doublings = self.taken_back.saturating_sub(1).min(32);
        let pause_us = rules.pause_us.saturating_mul(1 << doublings);
        let is_tried_again = self.taken_back <= rules.retries;
        self.until = is_tried_again.then(|| Micros(now.0.saturating_add(pause_us)));
        (self.stage, self.breach) = (Stage::RolledBack, Some(breach));
        self.begin_window(now);
        self.good = 0;
        Transition { stage: Stage::RolledBack, breach: Some(breach) }
    }

    fn try_again(&mut self, now: Micros) -> Option<Transition> {
        self.until.filter(|until| *until <= now)?;
        (self.stage, self.until) = (Stage::Running, None);
        self.begin_window(now);
        Some(Transition { stage: Stage::Running, breach: None })
    }

    fn begin_window(&mut self, now: Micros) {
        (self.since, self.tally) = (now, Tally::default());
    }

    /// As kept.
    pub fn to_json(&self) -> Json {
        let tally = &self.tally;
        let breach = self.breach.map(|breach| {
            Object::new()
                .with("calls", breach.calls)
                .with("guard", breach.guard.as_str())
                .with("seen", breach.seen)
        });
        Object::new()
            .with_some("breach", breach)
            .with("calls", tally.calls)
            .with("errors", tally.errors)
            .with("findings", tally.findings)
            .with("good", i64::from(self.good))
            .with("refusals", tally.refusals)
            .with("since", self.since.0)
            .with("slow", tally.slow)
            .with("stage", self.stage.as_str())
            .with("taken_back", i64::from(self.taken_back))
            .with_some("until", self.until.map(|until| until.0))
            .into()
    }

    /// As read back; `None` if it is no canary, which gets nothing.
    pub fn from_json(json: &Json) -> Option<Self> {
        let count = |name: &str| json.get(name)?.as_i64().filter(|count| *count >= 0);
        let breach = match json.get("breach") {
            Some(breach) => Some(Breach {
                guard: Guard::from_word(breach.get("guard")?.as_str()?)?,
                seen: breach.get("seen")?.as_i64()?,
                calls: breach.get("calls")?.as_i64()?,
            }),
            None => None,
        };
        Some(Self {
            stage: Stage::from_word(json.get("stage")?.as_str()?)?,
            since: Micros(json.get("since")?.as_i64()?),
            tally: Tally {
                calls: count("calls")?,
                errors: count("errors")?,
                refusals: count("refusals")?,
                findings: count("findings")?,
                slow: count("slow")?,
            },
            good: u32::try_from(count("good")?).ok()?,
            taken_back: u32::try_from(count("taken_back")?).ok()?,
            until: match json.get("until") {
                Some(until) => Some(Micros(until.as_i64()?)),
                None => None,
            },
            breach,
        })
    }
}

/// What is tried out by a canary, and how: one that says something else begins anew. `None`: the
/// entry has none.
pub fn key(models: &Registry, entry: &str) -> Option<Digest> {
    let own = models.get(entry)?;
    let canary = own.declared.canary.as_ref()?;
    let other = models.get(&canary.entry)?;
    let id = |id: &Option<String>| id.clone().unwrap_or_default();
    let said = [
        entry.to_owned(),
        own.declared.version.clone(),
        canary.entry.clone(),
        other.declared.version.clone(),
        id(&other.declared.id),
        other.upstream.to_string(),
        format!("{:?} {:?}", Rules::of(canary), canary.guards.latency_p95_ms_max),
    ];
    let said: Vec<Json> = said.into_iter().map(Json::from).collect();
    Some(Json::Array(said).digest())
}

#[cfg(test)]
mod tests;
