//! What an answer is held against before anybody sees it.

use super::next::{Run, Step, record};
use super::prompt::blocks;
use super::{Event, Purpose, Turn, rule_check};
use crate::declare::Verify;

/// The by-word of the check that needs no model.
const BY_RULE: &str = "rule";

/// What checks have come to.
pub(super) enum Verified {
    /// This has to be done first.
    Step(Step),
    /// Nothing was found.
    Passed,
    /// This was.
    Failed(Vec<String>),
}

impl Run<'_> {
    /// Holds an answer against the checks of its task: what is to be done for that, or what they
    /// have found.
    pub(super) fn verified(
        &self,
        answered: u32,
        text: &str,
        (template, from): (&str, Option<&[String]>),
    ) -> Verified {
        let Some(verify) = &self.plan.declared.verify else { return Verified::Passed };
        let Some(turn) = self.turn(answered) else { return Verified::Passed };
        let checked = |by: &str| turn.checks.get(by);
        let has_rule = verify.citations_min.is_some() || verify.quotes;
        if has_rule && checked(BY_RULE).is_none() {
            let findings = self.by_rule(verify, answered, text, (template, from));
            let by = BY_RULE.to_owned();
            return Verified::Step(record(Event::Verified { turn: answered, by, findings }));
        }
        let by_rule = checked(BY_RULE).cloned().unwrap_or_default();
        let (Some(model), true) = (&verify.model, by_rule.is_empty()) else {
            return if by_rule.is_empty() { Verified::Passed } else { Verified::Failed(by_rule) };
        };
        if let Some(found) = checked(model) {
            return match found.is_empty() {
                true => Verified::Passed,
                false => Verified::Failed(found.clone()),
            };
        }
        let last = self.state.open_turn();
        match last.filter(|(at, turn)| *at > answered && turn.purpose == Purpose::Check) {
            Some((_, Turn { text: Some(said), .. })) => {
                let findings = findings_of(said);
                let by = model.clone();
                Verified::Step(record(Event::Verified { turn: answered, by, findings }))
            }
            Some((at, _)) => Verified::Step(self.again(&self.check_question(at))),
            None => {
                let at = u32::try_from(self.state.turns.len()).unwrap_or(u32::MAX);
                Verified::Step(self.ask(&self.check_question(at)))
            }
        }
    }

    fn by_rule(
        &self,
        verify: &Verify,
        answered: u32,
        text: &str,
        (template, from): (&str, Option<&[String]>),
    ) -> Vec<String> {
        let Some(template) = self.world.prompts.get(template) else { return Vec::new() };
        let before = self.state.before(answered);
        let blocks = blocks(&before, template, from);
        rule_check(verify, text, &blocks.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn turn(&self, number: u32) -> Option<&Turn> {
        self.state.turns.get(usize::try_from(number).ok()?)
    }
}

/// What a model that checks has found.
fn findings_of(said: &str) -> Vec<String> {
    let first = said.trim_start().split(|c: char| !c.is_alphabetic()).next().unwrap_or_default();
    match first.eq_ignore_ascii_case("supported") {
        true => Vec::new(),
        false => vec![said.chars().take(1000).collect()],
    }
}
