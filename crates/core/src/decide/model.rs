//! What is asked of a model, at each of the questions: whether there is such an entry, whether the
//! task may use it, whether there is room, and whether it may be told what the prompt carries.

use super::{Case, Firmness, Objection};
use crate::eval;
use crate::model::{Model, wanted_reply};
use lockgate_types::Code;
use lockgate_types::decision::Question;
use lockgate_types::label::Confidentiality;
use lockgate_types::model::{ModelApi, ModelAsked};

/// Entries that a remedy names.
const NAMED_MAX: usize = 3;

/// Question 1: that it is known what is asked, and of whom. What is sent has to name the model that
/// is decided about.
pub(super) fn unknown(case: &Case<'_>) -> Option<Objection> {
    let deny = |code| Objection::deny(code, Question::Operation, Firmness::Firm);
    let asked = case.facts.call.model.as_deref();
    let api = case.operation.model.filter(|api| api.asks_a_model());
    let (Some(asked), Some(api)) = (asked, api) else {
        return (asked.is_some() || api.is_some()).then(|| deny(Code::FactsIncomplete));
    };
    let Some((_, entry)) = case.world.models.of(asked) else {
        let name: String = asked.asked.chars().filter(|c| !c.is_control()).take(80).collect();
        let reason = format!("no model is asked for by the name `{name}`");
        return Some(deny(Code::ModelUnknown).because(reason));
    };
    let named = case.facts.call.params.get("model").map_or(Some(""), |name| name.as_str());
    let is_consistent = entry.upstream == case.facts.call.upstream
        && entry.family.has(api)
        && named == Some(entry.id(&asked.asked));
    (!is_consistent).then(|| deny(Code::FactsIncomplete))
}

/// Question 1, too: that it has passed what it has to have passed, as it is now. Only evaluations
/// ask what has not.
pub(super) fn unproven(case: &Case<'_>) -> Option<Objection> {
    let (name, entry, asked, _) = asked_of(case)?;
    let (task, now) = (case.facts.identity.task.as_ref(), case.facts.now);
    let required = eval::missing(case.world, (name, entry), task, &asked.evaluated, now)?;
    let suite = &required.suite;
    let reason = format!("the model `{name}` has no result of the suite `{suite}` that holds now");
    let remedy =
        format!("have whoever runs the gate try it: `lockgate eval {suite} --entry {name}`");
    let objection = Objection::deny(Code::ModelUnproven, Question::Operation, Firmness::Firm);
    Some(objection.because(reason).unless(remedy))
}

/// Question 3: whether the task may use it.
pub(super) fn not_for_task(case: &Case<'_>) -> Option<Objection> {
    let (name, entry, _, _) = asked_of(case)?;
    let task = case.facts.identity.task.as_ref().map(|task| task.as_str());
    if entry.allows_task(task) {
        return None;
    }
    let reason = match task {
        Some(task) => format!("the model `{name}` may not be used for the task `{task}`"),
        None => format!("the model `{name}` is for certain tasks, and there is none"),
    };
    let objection = Objection::deny(Code::ModelNotForTask, Question::Subject, Firmness::Observable);
    Some(instead(case, objection.because(reason)))
}

/// Question 4: whether prompt and reply have room.
pub(super) fn too_large(case: &Case<'_>) -> Option<Objection> {
    let (name, entry, asked, api) = asked_of(case)?;
    if entry.has_room(api, asked) {
        return None;
    }
    let room = entry.declared.context_tokens.unwrap_or(0);
    let reply = wanted_reply(api, asked);
    let needed = asked.input_tokens.saturating_add(reply);
    let reason = format!(
        "the model `{name}` has room for {room} tokens, and this needs about {needed}: {} for the \
         prompt, {reply} for the reply",
        asked.input_tokens
    );
    let objection = Objection::deny(Code::ContextTooLarge, Question::Fields, Firmness::Firm);
    Some(instead(case, objection.because(reason)))
}

/// Question 5: whether it may be told what the prompt carries, and what the session has met. What
/// has left cannot be taken back, so that nobody only observes it.
pub(super) fn beyond_ceiling(case: &Case<'_>) -> Option<Objection> {
    let (name, entry, asked, _) = asked_of(case)?;
    let carried = carried(case, asked);
    if carried <= entry.ceiling {
        return None;
    }
    let (carried, ceiling) = (carried.as_str(), entry.ceiling.as_str());
    let reason =
        format!("this is {carried}, and the model `{name}` may be told what is {ceiling} at most");
    let objection = Objection::deny(Code::ModelCeiling, Question::Scope, Firmness::Firm);
    Some(instead(case, objection.because(reason)))
}

/// The entry that is asked, what is asked, and through which interface.
fn asked_of<'a>(case: &Case<'a>) -> Option<(&'a str, &'a Model, &'a ModelAsked, ModelApi)> {
    let asked = case.facts.call.model.as_deref()?;
    let (name, entry) = case.world.models.of(asked)?;
    Some((name, entry, asked, case.operation.model?))
}

/// How confidential what it would be told is: what the prompt carries, and what the session met.
fn carried(case: &Case<'_>, asked: &ModelAsked) -> Confidentiality {
    asked.carries.confidentiality.max(case.facts.session.exposure.confidentiality)
}

/// Names the entries to which none of this would be said.
fn instead(case: &Case<'_>, objection: Objection) -> Objection {
    let Some((name, _, asked, api)) = asked_of(case) else { return objection };
    let carried = carried(case, asked);
    let task = case.facts.identity.task.as_ref().map(|task| task.as_str());
    let would_do = |(other, model): &(&str, &Model)| {
        // Whether another has passed what it has to have passed is not among these facts.
        let (of, now) = (case.facts.identity.task.as_ref(), case.facts.now);
        let has_passed = eval::missing(case.world, (other, model), of, &[], now).is_none();
        let admits = model.admits(api, asked, carried, task);
        *other != name && model.family.has(api) && admits && has_passed
    };
    let others = case.world.models.iter().filter(would_do).take(NAMED_MAX);
    // Who asks names it by one of its names, which may be a pattern.
    let names = others.filter_map(|(_, model)| model.asks.first());
    let names: Vec<&str> = names.map(|name| name.as_str()).collect();
    match names.is_empty() {
        true => objection,
        false => objection.unless(format!("ask for `{}`", names.join("` or `"))),
    }
}
