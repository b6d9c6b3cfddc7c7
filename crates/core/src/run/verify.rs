//! What an answer is held against before anybody sees it.

use super::agree::compared;
use super::next::{Run, Step, record};
use super::prompt::blocks;
use super::{Event, Purpose, Turn, rule_check};
use crate::declare::Verify;

/// The by-word of the check that needs no model.
const BY_RULE: &str = "rule";
/// That of the check by further answers.
const BY_SAMPLES: &str = "samples";

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
        if let Some(step) = self.asked_already(answered, turn, (template, from)) {
            return Verified::Step(step);
        }
        let checked = |by: &str| turn.checks.get(by);
        let has_rule = verify.citations_min.is_some() || verify.quotes;
        if has_rule && checked(BY_RULE).is_none() {
            let findings = self.by_rule(verify, answered, text, (template, from));
            let by = BY_RULE.to_owned();
            return Verified::Step(record(Event::Verified { turn: answered, by, findings }));
        }
        if let Some(found) = checked(BY_RULE).filter(|found| !found.is_empty()) {
            return Verified::Failed(found.clone());
        }
        match (verify.samples, checked(BY_SAMPLES)) {
            (Some(samples), None) => {
                let step = self.sampled(verify, samples, (answered, turn), (template, from));
                return Verified::Step(step);
            }
            (Some(_), Some(found)) if !found.is_empty() => return Verified::Failed(found.clone()),
            (_, _) => {}
        }
        let Some(model) = &verify.model else { return Verified::Passed };
        if let Some(found) = checked(model) {
            return match found.is_empty() {
                true => Verified::Passed,
                false => Verified::Failed(found.clone()),
            };
        }
        let last = self.state.open_turn();
        let last = last.filter(|(at, turn)| *at > answered && turn.purpose == Purpose::Check);
        match last.and_then(|(_, turn)| turn.text.as_deref()) {
            Some(said) => {
                let findings = findings_of(said);
                let by = model.clone();
                Verified::Step(record(Event::Verified { turn: answered, by, findings }))
            }
            None => {
                let at = u32::try_from(self.state.turns.len()).unwrap_or(u32::MAX);
                Verified::Step(self.ask(&self.check_question(at)))
            }
        }
    }

    /// What was asked for a check and has no answer yet is asked again, whatever the bundle says by
    /// now: a turn that is open comes to its end.
    fn asked_already(
        &self,
        answered: u32,
        turn: &Turn,
        asked: (&str, Option<&[String]>),
    ) -> Option<Step> {
        let (at, open) = self.state.open_turn()?;
        match open.purpose {
            _ if at <= answered || open.text.is_some() => None,
            Purpose::Work => None,
            Purpose::Check => Some(self.again(&self.check_question(at))),
            Purpose::Sample => Some(self.again(&self.sample_question(at, (answered, turn), asked))),
        }
    }

    /// The next further answer is asked for; once there are as many as are wanted, they are
    /// compared.
    fn sampled(
        &self,
        verify: &Verify,
        samples: u32,
        answered: (u32, &Turn),
        asked: (&str, Option<&[String]>),
    ) -> Step {
        let first = usize::try_from(answered.0).unwrap_or(usize::MAX).saturating_add(1);
        let turns = self.state.turns.get(first..).unwrap_or_default();
        let others = turns.iter().filter(|turn| turn.purpose == Purpose::Sample);
        let others: Vec<&str> = others.filter_map(|turn| turn.text.as_deref()).collect();
        if others.len() < usize::try_from(samples).unwrap_or(usize::MAX) {
            let at = u32::try_from(self.state.turns.len()).unwrap_or(u32::MAX);
            return self.ask(&self.sample_question(at, answered, asked));
        }
        let text = answered.1.text.as_deref().unwrap_or_default();
        let (findings, by) = (compared(verify, text, &others), BY_SAMPLES.to_owned());
        record(Event::Verified { turn: answered.0, by, findings })
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
