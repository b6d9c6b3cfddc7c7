//! How old a document may be, and what happens beyond that. Time is a fact.
//!
//! A budget says since when age counts. Where a source and a task both have one, each is asked, and
//! the answer with more restraint holds. A time that lies ahead of the gate's is no age that
//! anybody knows: then the last bound of the budget counts as passed.

use crate::declare::{Freshness, SinceWord, Task};
use crate::world::World;
use lockgate_types::document::DocumentFacts;
use lockgate_types::{Json, Micros, Object, TaskName};

/// Microseconds by which the clock of a source may be ahead of the gate's.
pub(super) const AHEAD_MAX_US: i64 = 60_000_000;

/// What follows from the age of a document, the least restraint first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Age {
    /// Nothing.
    Fresh,
    /// Answers say that it is old.
    Say,
    /// A person has to confirm first.
    Confirm,
    /// The session may only read from then on.
    ReadOnly,
    /// The document is not used.
    Refuse,
}

impl Age {
    /// The word in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Say => "say",
            Self::Confirm => "confirm",
            Self::ReadOnly => "read_only",
            Self::Refuse => "refuse",
        }
    }
}

/// What follows from the age of a document, and what is said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aged {
    /// What follows.
    pub age: Age,
    /// What is said: never nothing beyond a bound.
    pub words: Option<String>,
}

impl Aged {
    /// As recorded and answered.
    pub fn to_json(&self) -> Json {
        Object::new()
            .with("age", self.age.as_str())
            .with_some("words", self.words.as_deref())
            .into()
    }
}

/// What follows from the age of a document, by the budgets of its source and of a task.
pub fn aged(world: &World, task: Option<&TaskName>, document: &DocumentFacts, now: Micros) -> Aged {
    let source = world.sources.get(&document.source).and_then(|it| it.freshness.as_ref());
    let task: Option<&Task> = task.and_then(|task| world.tasks.get(task));
    let budgets = source.into_iter().chain(task.and_then(|task| task.freshness.as_ref()));
    let found = budgets.map(|budget| by(budget, document, now));
    // Of two that are equal the first: the source's.
    let fresh = Aged { age: Age::Fresh, words: None };
    found.fold(fresh, |worst, next| if next.age > worst.age { next } else { worst })
}

/// The age by one budget.
pub fn by(budget: &Freshness, document: &DocumentFacts, now: Micros) -> Aged {
    let (since, what) = match budget.since {
        SinceWord::Confirmed => (document.confirmed, "was last seen to be so"),
        SinceWord::Changed => (document.changed, "was last changed"),
    };
    let is_ahead = since.0.saturating_sub(now.0) > AHEAD_MAX_US;
    let age_us = now.0.saturating_sub(since.0).max(0);
    let bounds = [
        (Age::Say, budget.say_after_s),
        (Age::Confirm, budget.confirm_after_s),
        (Age::ReadOnly, budget.read_only_after_s),
        (Age::Refuse, budget.refuse_after_s),
    ];
    let is_passed = |bound: u64| {
        let bound_us = i64::try_from(bound).unwrap_or(i64::MAX).saturating_mul(1_000_000);
        is_ahead || age_us > bound_us
    };
    let mut passed = bounds.into_iter().filter_map(|(age, bound)| Some((age, bound?)));
    let Some((age, bound)) = passed.rfind(|(_, bound)| is_passed(*bound)) else {
        return Aged { age: Age::Fresh, words: None };
    };
    let (source, id) = (&document.source, &document.id);
    let when = match is_ahead {
        true => format!("`{source}/{id}` {what} at a time that is still to come"),
        false => format!("`{source}/{id}` {what} {} ago", spelt(age_us / 1_000_000)),
    };
    let bound = spelt(i64::try_from(bound).unwrap_or(i64::MAX));
    let then = match age {
        Age::Fresh | Age::Say => String::new(),
        Age::Confirm => "; somebody has to confirm what rests on it".to_owned(),
        Age::ReadOnly => "; the session may only read from now on".to_owned(),
        Age::Refuse => "; it is not used".to_owned(),
    };
    Aged { age, words: Some(format!("{when}, more than {bound}{then}")) }
}

/// A time in the largest unit of which there are at least two.
fn spelt(seconds: i64) -> String {
    const UNITS: [(i64, &str); 3] = [(86_400, "days"), (3600, "hours"), (60, "minutes")];
    let unit = UNITS.into_iter().find(|(unit, _)| seconds / unit >= 2);
    match unit {
        Some((unit, name)) => format!("{} {name}", seconds / unit),
        None => format!("{seconds} s"),
    }
}
