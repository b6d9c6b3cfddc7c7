//! What a model is asked next, if the limits let it be asked.

use super::entry::Asked;
use super::next::{Ask, Run, Step, record, stop};
use super::prompt::{Wanted, api_of, body, made};
use super::{Event, FAILURES_MAX, Over, Purpose, Turn};
use crate::declare::Verify;
use crate::prompt::{Assembled, Fault, Template};
use lockgate_types::model::ModelApi;

/// Tokens that are left for a prompt at least: less makes none.
const ROOM_MIN: i64 = 16;

/// What a model is asked.
pub(super) struct Question<'a> {
    pub(super) turn: u32,
    pub(super) purpose: Purpose,
    pub(super) stage: Option<&'a str>,
    pub(super) model: &'a str,
    pub(super) template: &'a str,
    pub(super) from: Option<&'a [String]>,
    pub(super) offers: bool,
    /// What is known, if it is not all: what was before that turn.
    pub(super) as_before: Option<u32>,
}

impl Run<'_> {
    pub(super) fn question<'q>(&'q self, turn: u32, template: &'q str) -> Question<'q> {
        Question {
            turn,
            purpose: Purpose::Work,
            stage: None,
            model: &self.plan.model,
            template,
            from: None,
            offers: true,
            as_before: None,
        }
    }

    /// What has been answered, asked once more.
    pub(super) fn sample_question<'q>(
        &'q self,
        turn: u32,
        answered: (u32, &'q Turn),
        (template, from): (&'q str, Option<&'q [String]>),
    ) -> Question<'q> {
        let (as_before, answered) = (Some(answered.0), answered.1);
        let (model, offers) = (answered.model.as_str(), answered.stage.is_none());
        let purpose = Purpose::Sample;
        Question { turn, purpose, stage: None, model, template, from, offers, as_before }
    }

    pub(super) fn check_question(&self, turn: u32) -> Question<'_> {
        let verify = self.plan.declared.verify.as_ref();
        let text = |of: fn(&Verify) -> &Option<String>| {
            verify.and_then(|verify| of(verify).as_deref()).unwrap_or_default()
        };
        Question {
            turn,
            purpose: Purpose::Check,
            stage: None,
            model: text(|verify| &verify.model),
            template: text(|verify| &verify.prompt),
            from: None,
            offers: false,
            as_before: None,
        }
    }

    /// Asks the same again, after no model has answered.
    pub(super) fn again(&self, question: &Question<'_>) -> Step {
        if self.state.failures < FAILURES_MAX {
            return self.ask(question);
        }
        let fallback = self.state.began.as_ref().and_then(|it| self.world.tasks.get(&it.task));
        let fallback = fallback.and_then(|task| task.fallback.as_ref()?.template.clone());
        match fallback.filter(|_| question.purpose == Purpose::Work) {
            Some(text) => {
                let uncertain = vec!["no model has answered".to_owned()];
                record(Event::Over(Over::Finished { text, is_fallback: true, uncertain }))
            }
            None => stop("model", "no model has answered"),
        }
    }

    /// Asks a model, if the limits let it.
    pub(super) fn ask(&self, question: &Question<'_>) -> Step {
        let left = self.plan.left(self.state);
        if left.steps <= 0 {
            return stop("steps", "models were asked as often as its task lets them");
        }
        let asked = [ModelApi::ChatCompletions, ModelApi::Messages];
        let Some((entry, model)) = self.world.models.find(question.model, &asked) else {
            return stop("model", format!("there is no model `{}`", question.model));
        };
        let Some(template) = self.world.prompts.get(question.template) else {
            return stop("prompt", format!("there is no prompt `{}`", question.template));
        };
        let reply = i64::from(self.plan.declared.output_tokens_max);
        let reply = model.declared.output_tokens_max.map_or(reply, |own| reply.min(own.into()));
        let context = model.declared.context_tokens.map_or(i64::MAX, i64::from);
        let room = context.min(left.tokens).saturating_sub(reply);
        if room < ROOM_MIN {
            return stop("tokens", "what is left of its tokens has no room for a prompt");
        }
        let api = api_of(model);
        let wanted = Wanted {
            plan: self.plan,
            template,
            purpose: question.purpose,
            from: question.from,
            offers: question.offers,
            room,
            api,
        };
        let before = question.as_before.map(|turn| self.state.before(turn));
        let prompt = match made(self.world, before.as_ref().unwrap_or(self.state), &wanted) {
            Ok(prompt) => prompt,
            Err(Fault::NoRoom { .. }) => return stop("tokens", "its prompt has no room"),
            Err(fault) => return stop("prompt", fault.to_string()),
        };
        if let Some(spend) = left.spend {
            let bound = model.prices().map(|prices| prices.bound(prompt.tokens, reply));
            if bound.is_none_or(|bound| bound > spend) {
                let detail = format!("asking `{entry}` could cost more than is left");
                return stop("spend", detail);
            }
        }
        let asked = self.asked(question, template, &prompt);
        let body = body(api, question.model, &prompt, reply);
        Step::Ask(Box::new(Ask { asked, api, body, prompt }))
    }

    fn asked(&self, question: &Question<'_>, template: &Template, prompt: &Assembled) -> Asked {
        Asked {
            turn: question.turn,
            purpose: question.purpose,
            stage: question.stage.map(str::to_owned),
            model: question.model.to_owned(),
            prompt: template.name.clone(),
            version: template.version.clone(),
            digest: prompt.digest,
            tokens: prompt.tokens,
            dropped: u32::try_from(prompt.dropped.len()).unwrap_or(u32::MAX),
        }
    }
}
