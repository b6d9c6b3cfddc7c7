//! A report, held against the record: that each answer was given, by the entry, to the question, in
//! this evaluation, and that it comes to what the report says.

use super::ask::{evaluation_answer, evaluation_request};
use super::untraced;
use crate::Kernel;
use crate::model::take_in;
use crate::port::Refusal;
use crate::refusal::not_recorded;
use lockgate_core::World;
use lockgate_core::eval::{
    Answer, Answered, Asks, Held, Question, Report, Suite, VERDICT_TOKENS_MAX, Verdict,
    read_judgement,
};
use lockgate_effects::model::{BODY, STATUS};
use lockgate_store::Ended;
use lockgate_types::identity::Identity;
use lockgate_types::{CallId, Json};
use std::collections::BTreeSet;

/// What a report is held against.
pub(super) struct Trial<'a> {
    pub(super) world: &'a World,
    pub(super) identity: &'a Identity,
    pub(super) suite: &'a Suite,
    pub(super) entry: &'a str,
}

impl Kernel {
    /// Holds a report against the record. How many calls it names.
    pub(super) async fn held_again(
        &self,
        trial: &Trial<'_>,
        report: &Report,
    ) -> Result<u32, Refusal> {
        let mut seen = BTreeSet::new();
        for question in trial.suite.questions() {
            let mut of_it = report.of(question.id);
            let answered = of_it.find(|it| it.sample == question.sample);
            let Some(answered) = answered else { continue };
            for call in &answered.calls {
                if !seen.insert(call.clone()) {
                    return Err(untraced(&answered.id, "another answer names the same call"));
                }
            }
            match answered.verdict {
                // Neither helps anybody: they count as not passed.
                Verdict::Unanswered | Verdict::Unjudged => {}
                Verdict::Passed | Verdict::Failed | Verdict::Positive | Verdict::Negative => {
                    self.hold_again(trial, &question, answered).await?;
                }
            }
        }
        Ok(u32::try_from(seen.len()).unwrap_or(u32::MAX))
    }

    async fn hold_again(
        &self,
        trial: &Trial<'_>,
        question: &Question<'_>,
        answered: &Answered,
    ) -> Result<(), Refusal> {
        let Trial { suite, entry, .. } = trial;
        let mut calls = answered.calls.iter();
        let call = calls.next().ok_or_else(|| untraced(question.id, "it names no call"))?;
        let asked = (*entry, question.asks, suite.output_tokens_max);
        let answer = self.heard(trial, question.id, asked, call).await?;
        let (held, score) = suite.hold(question.of, &answer);
        let verdict = match (held, &suite.judge) {
            (Held::Settled(verdict, _), _) => verdict,
            (Held::Judge(criterion), Some(judge)) => {
                let call = calls.next();
                let call = call.ok_or_else(|| untraced(question.id, "nobody has judged it"))?;
                let asks = question.to_judge(&criterion, &answer);
                let asked = (judge.as_str(), &asks, VERDICT_TOKENS_MAX);
                let said = self.heard(trial, question.id, asked, call).await?;
                Suite::judged(question.of, read_judgement(&said.text)).0
            }
            (Held::Judge(_), None) => Verdict::Unjudged,
        };
        if calls.next().is_some() {
            return Err(untraced(question.id, "it names a call that has nothing to do with it"));
        }
        match verdict == answered.verdict && score == answered.score {
            true => Ok(()),
            false => {
                let why = format!("what was answered comes to `{}`", verdict.as_str());
                Err(untraced(question.id, &why))
            }
        }
    }

    /// What an entry has answered to a question, as it is on record.
    async fn heard(
        &self,
        trial: &Trial<'_>,
        id: &str,
        (entry, asks, tokens_max): (&str, &Asks, u32),
        call: &CallId,
    ) -> Result<Answer, Refusal> {
        let Trial { world, identity, suite, .. } = trial;
        let facts = self.facts_of(call).await?;
        let facts = facts.ok_or_else(|| untraced(id, "its call is not on record"))?;
        let who = &facts.identity;
        let is_own = (&who.issuer, &who.subject, &who.tenant)
            == (&identity.issuer, &identity.subject, &identity.tenant);
        if !is_own || who.task.as_ref() != Some(&suite.task) {
            return Err(untraced(id, "its call is not one of this evaluation"));
        }
        let other = || untraced(id, "its call asks another model");
        let model = world.models.get(entry).ok_or_else(other)?;
        let asked = facts.call.model.as_ref().ok_or_else(other)?;
        let version = model.declared.version.as_str();
        if asked.entry.as_deref() != Some(entry) || asked.version.as_deref() != Some(version) {
            return Err(other());
        }
        let (api, request) = evaluation_request(model.family, entry, asks, tokens_max);
        let (mut request, _) = take_in(&model.declared.guard.prompt, api, request)?;
        request.set("model", model.id(entry));
        let (asked, wanted) = (Json::from(facts.call.params), Json::from(request));
        if asked.to_canonical() != wanted.to_canonical() {
            return Err(untraced(id, "its call asks something else"));
        }
        let ended = self.parts.store.ended(call).await.map_err(|error| not_recorded(&error))?;
        let Some(Ended::Result(result)) = ended else {
            return Err(untraced(id, "what it was answered is not on record"));
        };
        let status = result.get(STATUS).and_then(Json::as_i64).unwrap_or_default();
        let body = result.get(BODY).filter(|_| (200..300).contains(&status));
        let body = body.ok_or_else(|| untraced(id, "its call was not answered"))?;
        evaluation_answer(api, body).map_err(|why| untraced(id, &why))
    }
}
