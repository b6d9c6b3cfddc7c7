//! What is left of a run's limits, and whether it gets anywhere.

use super::{Plan, Proposal, Purpose, RunState, Turn};

/// What is left, at the moment, of the limits of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// How often models may be asked.
    pub steps: i64,
    /// Tokens.
    pub tokens: i64,
    /// Money, if it is limited.
    pub spend: Option<i64>,
    /// Microseconds of work.
    pub time_us: i64,
}

impl Plan {
    /// What is left of a run's limits: those of its task, and of the run within which it is.
    pub fn left(&self, state: &RunState) -> Left {
        let declared = &self.declared;
        let within = state.began.as_ref().and_then(|began| began.within.as_ref());
        let budget = within.map(|(_, budget)| budget);
        let spend = declared.spend_max.map(|max| i64::from(max) * crate::model::SPEND_UNITS);
        let least = |own: i64, given: Option<i64>| given.map_or(own, |given| own.min(given));
        let spend = match (spend, budget.and_then(|budget| budget.spend)) {
            (Some(own), given) => Some(least(own, given)),
            (None, given) => given,
        };
        Left {
            steps: least(declared.steps_max.into(), budget.map(|it| it.steps)) - state.steps,
            tokens: least(declared.tokens_max.into(), budget.map(|it| it.tokens)) - state.tokens,
            spend: spend.map(|max| max - state.spend),
            time_us: least(i64::from(declared.time_ms) * 1000, budget.map(|it| it.time_us))
                - state.worked_us,
        }
    }
}

impl RunState {
    /// Whether an operation is among those that the run within which it is has given it.
    pub fn may_use(&self, operation: &str) -> bool {
        let within = self.began.as_ref().and_then(|began| began.within.as_ref());
        within.is_none_or(|(_, budget)| budget.tools.contains(operation))
    }

    /// How deep within others it is.
    pub fn depth(&self) -> u32 {
        let within = self.began.as_ref().and_then(|began| began.within.as_ref());
        within.map_or(0, |(_, budget)| budget.depth)
    }

    /// Whether runs may be started within it.
    pub fn may_have_children(&self) -> bool {
        self.depth() < super::DEPTH_MAX
    }
}

impl RunState {
    /// The state before a turn was asked for.
    pub(super) fn before(&self, turn: u32) -> Self {
        let mut before = self.clone();
        before.turns.truncate(usize::try_from(turn).unwrap_or(usize::MAX));
        before
    }

    /// The newest text that is meant for who asked, and whose turn it was.
    pub(super) fn newest_work(&self) -> Option<(u32, &str)> {
        let at = self.turns.iter().rposition(|turn| turn.purpose == Purpose::Work)?;
        Some((u32::try_from(at).ok()?, self.turns.get(at)?.text.as_deref()?))
    }

    /// Whether the newest work proposes nothing and says something.
    pub(super) fn is_answer(&self) -> bool {
        let work = self.turns.iter().rev().find(|turn| turn.purpose == Purpose::Work);
        work.is_some_and(|turn| {
            turn.proposals.is_empty() && turn.text.as_ref().is_some_and(|it| !it.trim().is_empty())
        })
    }

    /// How many turns of work there are, from the newest one back, that brought nothing new: all
    /// that they proposed was refused, or had come to the same before; or they said nothing.
    pub(super) fn idle(&self) -> u32 {
        let mut idle = 0;
        let work: Vec<&Turn> =
            self.turns.iter().filter(|turn| turn.purpose == Purpose::Work).collect();
        for (at, turn) in work.iter().enumerate().rev() {
            let earlier = work.get(..at).unwrap_or_default();
            let is_known = |proposal: &Proposal, text: &str| {
                let mut known = earlier.iter().flat_map(|turn| turn.settled());
                known.any(|(other, outcome)| other == proposal && outcome.text == text)
            };
            let is_new = turn.settled().any(|(proposal, outcome)| {
                outcome.refused.is_none() && !is_known(proposal, &outcome.text)
            });
            let is_answer = turn.proposals.is_empty()
                && turn.text.as_ref().is_some_and(|text| !text.trim().is_empty())
                && turn.checks.values().all(Vec::is_empty);
            if is_new || is_answer {
                break;
            }
            idle += 1;
        }
        idle
    }
}
