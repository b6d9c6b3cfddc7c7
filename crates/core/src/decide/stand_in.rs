//! Answers in place of a model: the bundle says for each task who may be asked, and whether answers
//! are kept. The task is the caller's own: what the call says of it counts for nothing.

use super::{Case, Firmness, Objection};
use crate::bundle::admin::STANDS_IN;
use crate::stand_in::{EXPIRES_AT, KIND, PERSON, RECORDED, RIGHTS, rights};
use lockgate_types::decision::Question;
use lockgate_types::{Code, Json};

/// What such a call needs. `None`: it is none.
pub(super) fn of<'a>(case: &Case<'a>) -> Option<Needs<'a>> {
    let call = &case.facts.call;
    if call.operation.as_str() != STANDS_IN {
        return None;
    }
    let task = case.facts.identity.task.as_ref().and_then(|task| case.world.tasks.get(task));
    let fallback = task.and_then(|task| task.fallback.as_ref());
    let argument = |name: &str| call.arguments().and_then(|arguments| arguments.get(name));
    let needs = fallback.map(|fallback| match argument(KIND).and_then(Json::as_str) {
        Some(PERSON) => fallback.person.as_deref().map(|whom| match has_agreed(case, whom) {
            true => Needs::Nothing,
            false => Needs::Person(whom),
        }),
        Some(RECORDED) => fallback.recorded_s.map(|_| {
            let ends = argument(EXPIRES_AT).and_then(Json::as_i64);
            let of = argument(RIGHTS).and_then(Json::as_str);
            let is_theirs = of.is_some_and(|of| of == rights(&case.facts.identity).to_string());
            match is_theirs && ends.is_some_and(|ends| case.facts.now.0 < ends) {
                true => Needs::Nothing,
                false => Needs::Another,
            }
        }),
        Some(_) | None => None,
    });
    Some(needs.flatten().unwrap_or(Needs::Another))
}

/// What an answer in place of a model needs.
pub(super) enum Needs<'a> {
    /// What it has.
    Nothing,
    /// That those agree.
    Person(&'a str),
    /// That it were another: the task has none such, or it does not hold.
    Another,
}

fn has_agreed(case: &Case<'_>, whom: &str) -> bool {
    case.facts.approvals.iter().any(|approval| approval.requirement == whom)
}

pub(super) fn stale() -> Objection {
    Objection::deny(Code::RecordedAnswerStale, Question::Approval, Firmness::Firm)
}
