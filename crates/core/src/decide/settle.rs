//! From objections to one answer.

use super::{Answer, Case, Firmness, Objection, operation, plan};
use crate::world::World;
use lockgate_types::Code;
use lockgate_types::call::Effect;
use lockgate_types::decision::{Decision, Denial, Obligation, Question, Verdict};
use lockgate_types::facts::Facts;

/// The answer where the bundle does not know the operation: what nobody declared is destructive.
pub(super) fn undeclared(world: &World, facts: &Facts) -> Decision {
    let (code, reason, remedy) = match &facts.live_difference {
        Some(difference) => operation::quarantined(&facts.call.operation, difference),
        None => {
            let code = Code::OperationUndeclared;
            let operation = &facts.call.operation;
            let reason = format!("the operation `{operation}` is not declared in the bundle");
            (code, reason, code.remedy().to_owned())
        }
    };
    Decision {
        verdict: Verdict::Deny,
        bundle: world.digest,
        effect: Effect::Destructive,
        obligations: Vec::new(),
        policies: Vec::new(),
        denial: Some(Denial {
            code,
            question: Question::Operation,
            reason,
            remedy,
            policies: Vec::new(),
            step_up: None,
            path: Vec::new(),
        }),
        approvals: Vec::new(),
    }
}

/// The first objection that denies decides; then one that asks for an approval. Where the operation
/// is observed, only firm ones count, and the first of the others is kept as what would have been.
pub(super) fn settle(
    case: &Case<'_>,
    objections: [Option<Objection>; 7],
    obligations: Vec<Obligation>,
) -> Decision {
    let is_observing = case.is_observed();
    let objections: Vec<Objection> = objections.into_iter().flatten().collect();
    let counts = |objection: &&Objection| !is_observing || objection.firmness == Firmness::Firm;
    let denying = |objection: &&Objection| matches!(objection.answer, Answer::Deny);
    let decisive = objections.iter().filter(counts).find(denying);
    match decisive.or_else(|| objections.iter().find(counts)) {
        Some(objection) => against(case, objection, obligations),
        None => {
            let permits = [case.legs.agent.permits.as_slice(), &case.legs.subject.permits].concat();
            let observed = objections.iter().find(denying).or(objections.first());
            Decision {
                verdict: Verdict::Allow,
                bundle: case.world.digest,
                effect: case.operation.effect,
                obligations,
                policies: case.names(&permits),
                denial: observed.map(|objection| objection.denial.clone()),
                approvals: Vec::new(),
            }
        }
    }
}

/// The answer where a plan comes first, or was given: what is denied anyway stays so, and whoever
/// has to agree is asked about what may be done by its plan.
pub(super) fn planned(case: &Case<'_>, decision: Decision) -> Decision {
    if decision.verdict == Verdict::Deny {
        return decision;
    }
    let Some(objection) = plan::objection(case, &decision) else { return decision };
    if matches!(objection.answer, Answer::Plan) && decision.verdict == Verdict::RequireApproval {
        return decision;
    }
    against(case, &objection, decision.obligations)
}

fn against(case: &Case<'_>, objection: &Objection, obligations: Vec<Obligation>) -> Decision {
    let (verdict, obligations, approvals) = match &objection.answer {
        Answer::Deny => (Verdict::Deny, Vec::new(), Vec::new()),
        Answer::Approve(who) => (Verdict::RequireApproval, obligations, who.clone()),
        Answer::Plan => (Verdict::RequirePlan, obligations, Vec::new()),
    };
    Decision {
        verdict,
        bundle: case.world.digest,
        effect: case.operation.effect,
        obligations,
        policies: objection.denial.policies.clone(),
        denial: Some(objection.denial.clone()),
        approvals,
    }
}
