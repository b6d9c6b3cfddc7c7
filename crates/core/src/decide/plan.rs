//! Question 6, for what is done in two phases: is it what was proposed.
//!
//! Asked last, of what would be allowed otherwise, and whatever an operation observes: a caller
//! that gives a plan relies on nothing else being done.

use super::{Answer, Case, Firmness, Objection};
use crate::plan;
use crate::world::TwoPhases;
use lockgate_types::Code;
use lockgate_types::decision::{Decision, Question};
use lockgate_types::facts::Standing;
use lockgate_types::plan::PlanRef;

/// `decided`: what the other questions come to.
pub(super) fn objection(case: &Case<'_>, decided: &Decision) -> Option<Objection> {
    if is_answered_or_attempted(case) {
        return None;
    }
    let given = case.facts.call.given_plan();
    match (phases(case), given) {
        (None, None) => None,
        (Some(_), None) => {
            let firmness = Firmness::Firm;
            let mut first = Objection::deny(Code::PlanRequired, Question::Approval, firmness);
            first.answer = Answer::Plan;
            Some(first)
        }
        (None, Some(_)) => refused("this is not done in two phases"),
        (Some(_), Some(given)) => {
            let given = given.as_str().and_then(PlanRef::parse);
            difference(case, decided, given.as_ref()).and_then(refused)
        }
    }
}

fn phases<'a>(case: &Case<'a>) -> Option<&'a TwoPhases> {
    case.world.two_phases(&case.facts.call.operation, case.facts.identity.task.as_ref())
}

/// What the record answers is not done now, and who planned an effect planned attempts at it.
fn is_answered_or_attempted(case: &Case<'_>) -> bool {
    let earlier = case.facts.earlier.as_ref().map(|earlier| earlier.standing);
    let is_known = matches!(earlier, Some(Standing::Ended | Standing::InDoubt));
    is_known || case.facts.call.attempt_of.is_some()
}

/// What is otherwise than it was offered.
fn difference(
    case: &Case<'_>,
    decided: &Decision,
    given: Option<&PlanRef>,
) -> Option<&'static str> {
    let none = Some("there is no such plan");
    let has_preview = phases(case).is_some_and(|phases| phases.preview.is_some());
    let Some(given) = given else { return none };
    let Some(plan) = &case.facts.plan else { return none };
    // Another key would be another effect, and the plan not used once.
    if case.facts.call.key.as_deref() != Some(given.to_text().as_str()) {
        return Some("it is its own key: none other is taken beside it");
    }
    if plan.call != given.call || plan.terms.digest(&plan.call) != given.digest {
        return none;
    }
    // Where the preview failed nothing was offered.
    if has_preview && plan.terms.preview.is_none() {
        return none;
    }
    let now = plan::terms(decided, case.facts);
    if now.who != plan.terms.who {
        return Some("it was made for somebody else, or through another agent");
    }
    let plan_us = i64::from(case.world.gate.limits.plan_ms).saturating_mul(1000);
    if case.facts.now.0 > plan.made_at.0.saturating_add(plan_us) {
        return Some("it has expired");
    }
    if now.request != plan.terms.request {
        return Some("it is for another request: other arguments, or another operation");
    }
    if now.decided != plan.terms.decided {
        return Some("the rules have changed since it was made");
    }
    if now.preview != plan.terms.preview {
        return Some("the preview does not show the same now");
    }
    None
}

fn refused(what: &str) -> Option<Objection> {
    let code = Code::PlanRefused;
    let objection = Objection::deny(code, Question::Approval, Firmness::Firm);
    Some(objection.because(format!("{}: {what}", code.title())))
}
