//! Question 6: does a human have to agree.
//!
//! Only for what would be allowed otherwise: nobody is asked for what no permit allows, or what an
//! approval could not lift.

use super::stand_in::{self, Needs};
use super::{Answer, Case, Firmness, Objection, fields, path, posture, remedy, step};
use crate::caps;
use crate::policy::PolicyAt;
use lockgate_types::Code;
use lockgate_types::call::Effect;
use lockgate_types::decision::Question;
use lockgate_types::facts::{Exhausted, Mode};
use std::collections::BTreeSet;

/// The requirement of a session in the mode `approvals`.
const MODE: &str = "mode";

pub(super) fn objection(case: &Case<'_>) -> Option<Objection> {
    if !case.is_permitted() {
        return None;
    }
    let forbids = liftable(case).unwrap_or_default();
    let mut requirements: BTreeSet<String> =
        forbids.iter().filter_map(|at| requirement(case, *at)).map(str::to_owned).collect();
    let is_demanded_by_mode = mode_demands(case);
    if is_demanded_by_mode {
        requirements.insert(MODE.to_owned());
    }
    let escalated: BTreeSet<String> = escalations(case).collect();
    let is_capped = !escalated.is_empty();
    requirements.extend(escalated);
    let step = step::of(case);
    let is_step = match step {
        None => false,
        Some(None) => return Some(step::missing()),
        Some(Some(stage)) => {
            !step::has_agreed(case, stage) && requirements.insert(stage.whom.clone())
        }
    };
    let is_person = match stand_in::of(case) {
        None | Some(Needs::Nothing) => false,
        Some(Needs::Another) => return Some(stand_in::stale()),
        Some(Needs::Person(whom)) => requirements.insert(whom.to_owned()),
    };
    let uncited = fields::uncited(case);
    requirements.extend(uncited.map(|(whom, _)| whom.to_owned()));
    if requirements.is_empty() {
        return None;
    }
    let is_cited = uncited.is_none();
    let firmness = if is_demanded_by_mode || is_capped || is_step || is_person || !is_cited {
        Firmness::Firm
    } else {
        Firmness::Observable
    };
    let requirements: Vec<String> = requirements.into_iter().collect();
    let who = requirements.join("`, `");
    let why = match is_demanded_by_mode && case.facts.risk.is_some() {
        true => format!("a person has to agree first: `{who}`; {}", posture::reason(case)),
        false => format!("a person has to agree first: `{who}`"),
    };
    let mut objection = Objection::deny(Code::ApprovalRequired, Question::Approval, firmness)
        .because(why)
        .by(case.names(&forbids));
    if is_demanded_by_mode && let Some(remedy) = posture::remedy(case) {
        objection = objection.unless(format!("{}; {remedy}", Code::ApprovalRequired.remedy()));
    }
    if let Some(reason) = remedy::said(case, &forbids, |policy| policy.reason.as_deref()) {
        objection = objection.because(reason);
    }
    if let (true, Some(Some(stage))) = (is_step, step) {
        objection = objection.because(stage.question.clone());
    }
    if let Some((_, what)) = uncited {
        objection = objection.because(format!("what it rests on is not cited: {what}"));
    }
    if is_person {
        objection = objection.because("no model answers: somebody has to".to_owned());
    }
    if let Some(remedy) = remedy::said(case, &forbids, |policy| policy.remedy.as_deref()) {
        objection = objection.unless(remedy);
    }
    let mut objection = objection.along(path::of(case, &forbids));
    objection.answer = Answer::Approve(requirements);
    Some(objection)
}

/// The approvals that would lift caps which are used up, or which this call alone is beyond.
fn escalations<'a>(case: &'a Case<'_>) -> impl Iterator<Item = String> + 'a {
    let caps = case.world.gate.cap.iter().filter(|cap| {
        let is_it = |exhausted: &Exhausted| exhausted.cap == cap.name;
        case.facts.exhausted.iter().any(is_it) && !caps::is_lifted(cap, case.facts)
    });
    let beyond =
        caps::beyond(case.world, case.operation, case.facts).into_iter().map(|(cap, _)| cap);
    caps.chain(beyond).filter_map(caps::requirement)
}

/// The forbids that hold, if an approval lifts every one.
pub(super) fn liftable(case: &Case<'_>) -> Option<Vec<PolicyAt>> {
    let forbids = case.legs.agent.forbids.iter().chain(&case.legs.subject.forbids);
    let forbids: Vec<PolicyAt> = forbids.copied().collect();
    forbids.iter().all(|at| requirement(case, *at).is_some()).then_some(forbids)
}

/// Whether the session's mode asks for an approval that was not given.
pub(super) fn mode_demands(case: &Case<'_>) -> bool {
    posture::mode(case) == Mode::Approvals
        && case.operation.effect != Effect::Read
        && !case.facts.approvals.iter().any(|approval| approval.requirement == MODE)
}

pub(super) fn requirement<'a>(case: &Case<'a>, at: PolicyAt) -> Option<&'a str> {
    case.world.policies.get(at)?.approval.as_deref()
}
