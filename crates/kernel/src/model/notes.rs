//! What is noticed of one answer while it passes, and what it was made of.

use lockgate_core::risk::probe::Sketch;
use lockgate_detect::asks_recall;
use lockgate_store::AnswerRecord;
use lockgate_types::facts::Facts;
use lockgate_types::flow::Author;
use lockgate_types::label::Label;
use lockgate_types::model::Usage;
use lockgate_wire::model::asked::Kind;
use lockgate_wire::model::{Asked, Ending, Role};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

/// The answer was cut off.
pub(super) const CUT: &str = "uncertain:cut";
/// A filter of the provider's took something away.
pub(super) const FILTERED: &str = "uncertain:filtered";
/// The model declined.
pub(super) const DECLINED: &str = "uncertain:declined";
/// Its tokens were unlikely.
pub(super) const UNLIKELY: &str = "uncertain:logprobs";

/// Which of two attempts at one request the client gets: the first to have an answer.
#[derive(Debug, Default)]
pub(super) struct Race(AtomicU8);

/// An attempt that races with another.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) race: Arc<Race>,
    /// Which of the two: 1 or 2.
    pub(super) number: u8,
}

impl Race {
    /// Whether it was won by another attempt.
    pub(super) fn is_lost_by(&self, number: u8) -> bool {
        ![0, number].contains(&self.0.load(Ordering::Acquire))
    }
}

/// What is noticed of one answer, by whoever tries entries out.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    lane: Option<Lane>,
    has_begun: AtomicBool,
    has_declined: AtomicBool,
    has_findings: AtomicBool,
}

impl Notes {
    /// Of an attempt that races with another.
    pub(super) fn of_lane(lane: Lane) -> Self {
        Self { lane: Some(lane), ..Self::default() }
    }

    /// Takes the client for this attempt. `false`: another has it, and nothing of this one may be
    /// passed on, or performed.
    pub(crate) fn claim(&self) -> bool {
        let Some(Lane { race, number }) = &self.lane else { return true };
        let taken = race.0.compare_exchange(0, *number, Ordering::AcqRel, Ordering::Acquire);
        taken.is_ok() || taken == Err(*number)
    }

    /// The client has been given something of it.
    pub(crate) fn begin(&self) {
        self.has_begun.store(true, Ordering::Release);
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.has_begun.load(Ordering::Acquire)
    }

    /// The model declines.
    pub(crate) fn decline(&self) {
        self.has_declined.store(true, Ordering::Release);
    }

    pub(crate) fn has_declined(&self) -> bool {
        self.has_declined.load(Ordering::Acquire)
    }

    /// Something was taken out of it, or it is not as it has to be.
    pub(crate) fn find(&self) {
        self.has_findings.store(true, Ordering::Release);
    }

    pub(crate) fn has_findings(&self) -> bool {
        self.has_findings.load(Ordering::Acquire)
    }
}

/// What was noticed of an answer, once it is over: as recorded, and as it counts for risk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Noticed {
    /// Words of the gate.
    pub(crate) findings: BTreeSet<&'static str>,
    /// The tokens that an answer took which nobody gets.
    pub(crate) usage: Option<Usage>,
}

impl Noticed {
    /// Notes how an answer ended, as the provider says. `least`: thousandths of the mean
    /// log-probability below which it counts as not sure.
    pub(super) fn ended(&mut self, ending: &Ending, least: Option<i64>) {
        let is_unlikely =
            ending.mean_logprob().zip(least).is_some_and(|(mean, least)| mean < least);
        let all = [
            (ending.is_cut, CUT),
            (ending.is_filtered, FILTERED),
            (ending.has_declined, DECLINED),
            (is_unlikely, UNLIKELY),
        ];
        self.findings.extend(all.into_iter().filter_map(|(is, word)| is.then_some(word)));
    }

    /// Whether the provider says that the answer is not sure.
    pub(crate) fn is_uncertain(&self) -> bool {
        [CUT, FILTERED, DECLINED, UNLIKELY].iter().any(|word| self.findings.contains(word))
    }
}

/// What an answer is made of, and by whom.
pub(crate) struct MadeOf {
    /// What the prompt carries, and what the session had met when it was let out.
    pub(crate) label: Label,
    by: String,
}

impl MadeOf {
    /// Of a call that is let out. `None`: it is none of a model.
    pub(crate) fn of(facts: &Facts) -> Option<Box<Self>> {
        let asked = facts.call.model.as_deref()?;
        let named = |name: &Option<String>| name.clone().unwrap_or_default();
        let (entry, version) = (named(&asked.entry), named(&asked.version));
        let by = format!("{}/{entry}@{version}", facts.call.upstream);
        let mut label = asked.carries.join(&facts.session.exposure);
        label.origins.insert(Author::Model);
        Some(Box::new(Self { label, by }))
    }

    /// As it is recorded with the outcome.
    pub(crate) fn recorded(&self, noticed: &Noticed) -> Box<AnswerRecord> {
        let (generated_by, findings) = (self.by.clone(), noticed.findings.clone());
        Box::new(AnswerRecord { generated_by, findings })
    }
}

/// What is noticed of what a person asks of a model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Probe {
    /// What the prompt is known by. `None`: it is too short.
    pub(crate) sketch: Option<Sketch>,
    /// Whether it asks for something to be said over again, word for word.
    pub(crate) asks_recall: bool,
}

impl Probe {
    /// Of the last thing that the person says.
    pub(super) fn of(read: &Asked<'_>) -> Option<Self> {
        let is_words = |role: Role, kind: &Kind<'_>| role == Role::User && *kind == Kind::Words;
        let last = read.segments.iter().rfind(|it| is_words(it.role, &it.kind))?;
        Some(Self { sketch: Sketch::of(&last.text), asks_recall: asks_recall(&last.text) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_attempts_one_has_the_client() {
        let race = Arc::new(Race::default());
        let lane = |number| Notes::of_lane(Lane { race: Arc::clone(&race), number });
        let (one, two) = (lane(1), lane(2));
        assert!(!race.is_lost_by(1) && !race.is_lost_by(2));
        assert!(two.claim() && two.claim(), "it keeps what it has");
        assert!(!one.claim());
        assert!(race.is_lost_by(1) && !race.is_lost_by(2));
        assert!(Notes::default().claim(), "who is alone has it");
    }
}
