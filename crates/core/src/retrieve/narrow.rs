//! What a search may use beside what policies say: kinds that were asked for, kinds that a task's
//! answers are made of, and nothing that is too old.
//!
//! As a filter and one by one, like what policies say: the two are the same.

use super::filter::{Filter, Trait};
use super::fresh::{self, AHEAD_MAX_US, Age};
use crate::declare::{Freshness, SinceWord, Task};
use crate::world::World;
use lockgate_types::document::DocumentFacts;
use lockgate_types::{Micros, TaskName};

/// What a search narrows itself down to.
#[derive(Clone, Debug)]
pub struct Narrowed<'a> {
    world: &'a World,
    task: Option<&'a TaskName>,
    declared: Option<&'a Task>,
    /// Kinds that were asked for. Of none: any.
    kinds: Vec<&'a str>,
    now: Micros,
}

impl<'a> Narrowed<'a> {
    /// By a task, by the kinds that were asked for, and by the time.
    pub fn new(
        world: &'a World,
        task: Option<&'a TaskName>,
        kinds: Vec<&'a str>,
        now: Micros,
    ) -> Self {
        let declared = task.and_then(|task| world.tasks.get(task));
        Self { world, task, declared, kinds, now }
    }

    /// Whether a document may be used.
    pub fn holds(&self, document: &DocumentFacts) -> bool {
        let is_asked = self.kinds.is_empty() || self.kinds.contains(&document.kind.as_str());
        is_asked
            && super::source::may_answer_from(self.declared, &document.kind)
            && fresh::aged(self.world, self.task, document, self.now).age != Age::Refuse
    }

    /// The documents that may be used.
    pub fn filter(&self) -> Filter {
        let any_kind = |kinds: &mut dyn Iterator<Item = &str>| {
            Filter::any(kinds.map(|kind| Filter::Is(Trait::Kind(kind.to_owned()))))
        };
        let mut parts = Vec::new();
        if !self.kinds.is_empty() {
            parts.push(any_kind(&mut self.kinds.iter().copied()));
        }
        let answers = self.declared.map(|task| task.answers_from.as_slice()).unwrap_or_default();
        if !answers.is_empty() {
            parts.push(any_kind(&mut answers.iter().map(String::as_str)));
        }
        if let Some(budget) = self.declared.and_then(|task| task.freshness.as_ref()) {
            parts.extend(self.not_too_old(budget));
        }
        for (name, source) in &self.world.sources {
            let Some(budget) = &source.freshness else { continue };
            if let Some(fresh) = self.not_too_old(budget) {
                let another = Filter::Not(Box::new(Filter::Is(Trait::Source(name.clone()))));
                parts.push(Filter::Any(vec![another, fresh]));
            }
        }
        Filter::every(parts)
    }

    /// What a budget does not refuse. `None`: it refuses nothing.
    fn not_too_old(&self, budget: &Freshness) -> Option<Filter> {
        let bound_us = i64::try_from(budget.refuse_after_s?).ok();
        let bound_us = bound_us.and_then(|bound| bound.checked_mul(1_000_000));
        // A time that lies further ahead is no age that anybody knows.
        let too_new = self.now.0.saturating_add(AHEAD_MAX_US).saturating_add(1);
        let since = |at| match budget.since {
            SinceWord::Confirmed => Filter::Is(Trait::ConfirmedSince(at)),
            SinceWord::Changed => Filter::Is(Trait::ChangedSince(at)),
        };
        let oldest = bound_us.map(|bound| since(self.now.0.saturating_sub(bound)));
        let ahead = Filter::Not(Box::new(since(too_new)));
        Some(Filter::every(oldest.into_iter().chain([ahead])))
    }
}
