//! The decision. This file is the table of contents of the product.
//!
//! `decide` is pure and total: the same world and facts give the same bytes, always. Seven
//! questions are asked in order, each in a file of its own; each may object. `settle` turns
//! objections into one answer. A question never looks at the answer of another, so each can be
//! read, tested and trusted by itself.

pub(crate) mod agent;
mod approval;
mod fields;
mod model;
mod operation;
mod path;
mod plan;
mod posture;
mod remedy;
mod risk;
pub(crate) mod scope;
mod settle;
mod stand_in;
mod step;
pub(crate) mod subject;
mod visible;

pub use operation::quarantined;
pub use visible::visible;

use crate::policy::{Legs, PolicyAt, Side, Unasked};
use crate::world::{Operation, World};
use lockgate_types::call::Effect;
use lockgate_types::decision::{Decision, Denial, PathStep, Question, StepUp};
use lockgate_types::facts::Facts;
use lockgate_types::{Code, PolicyName};

/// Decides a call.
pub fn decide(world: &World, facts: &Facts) -> Decision {
    let Some(declared) = world.operations.get(&facts.call.operation) else {
        return settle::undeclared(world, facts);
    };
    let case = Case::new(world, facts, declared);
    let obligations = scope::obligations(&case);
    let objections = [
        operation::objection(&case), // 1 which operation, with what effect
        agent::objection(&case),     // 2 may this agent run it at all
        subject::objection(&case),   // 3 may it for this subject
        fields::objection(&case),    // 4 which fields exactly
        scope::objection(&case, &obligations), // 5 what data scope
        approval::objection(&case),  // 6 does a human have to agree
        risk::objection(&case),      // 7 is it forbidden under the present risk
    ];
    let decision = settle::settle(&case, objections, obligations);
    settle::planned(&case, decision) // 6 again: is it what was proposed
}

/// A call under decision: what the questions look at.
struct Case<'a> {
    world: &'a World,
    facts: &'a Facts,
    operation: &'a Operation,
    /// Which policies hold. Empty if none could be asked.
    legs: Legs,
    unasked: Option<Unasked>,
    /// Forbids that hold, and whose reason an obligation takes away.
    mended: Vec<PolicyAt>,
}

impl<'a> Case<'a> {
    fn new(world: &'a World, facts: &'a Facts, operation: &'a Operation) -> Self {
        let (legs, unasked) = match world.policies.legs(facts) {
            Ok(legs) => (legs, None),
            Err(unasked) => (Legs::default(), Some(unasked)),
        };
        let mut case = Self { world, facts, operation, legs, unasked, mended: Vec::new() };
        // Only where there is something to take out, and all of it is known.
        let flow = facts.flow.as_ref();
        if !flow.is_some_and(|flow| !flow.links.is_empty() && !flow.is_cut) {
            return case;
        }
        for side in [Side::Agent, Side::Subject] {
            let leg = case.legs.side_mut(side);
            let is_mended = |at: &PolicyAt| {
                world.policies.get(*at).is_some_and(|policy| !policy.obligations.is_empty())
            };
            case.mended.extend(leg.forbids.extract_if(.., |at| is_mended(at)));
        }
        case
    }

    /// Whether what speaks against the call is only observed, unless it is firm.
    fn is_observed(&self) -> bool {
        self.operation.observe && self.operation.effect != Effect::Destructive
    }

    /// Whether both sides have a permit that holds.
    fn is_permitted(&self) -> bool {
        !self.legs.agent.permits.is_empty() && !self.legs.subject.permits.is_empty()
    }

    /// Whether a side has a permit that holds, or lacks one for a reason that question 4 names: an
    /// argument.
    fn is_permitted_to(&self, side: Side) -> bool {
        if self.unasked.is_none() {
            let leg = self.legs.side(side);
            return !leg.permits.is_empty() || remedy::is_blind(self, side);
        }
        let (call, identity) = (&self.facts.call, &self.facts.identity);
        let upstream = call.upstream.as_str();
        self.world.policies.may_permit(&call.operation, upstream, side, identity)
    }

    /// The names of policies, sorted, each once.
    fn names(&self, policies: &[PolicyAt]) -> Vec<PolicyName> {
        let mut policies = policies.to_vec();
        policies.sort_unstable();
        policies.dedup();
        policies.iter().filter_map(|at| Some(self.world.policies.get(*at)?.name.clone())).collect()
    }
}

/// What speaks against a call.
struct Objection {
    denial: Denial,
    answer: Answer,
    firmness: Firmness,
}

/// What an objection asks for.
enum Answer {
    Deny,
    /// Values of `@require_approval`.
    Approve(Vec<String>),
    /// The plan first.
    Plan,
}

/// Whether an objection gives way where an operation is only observed (I1).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Firmness {
    Observable,
    Firm,
}

impl Objection {
    fn deny(code: Code, question: Question, firmness: Firmness) -> Self {
        let denial = Denial {
            code,
            question,
            reason: code.title().to_owned(),
            remedy: code.remedy().to_owned(),
            policies: Vec::new(),
            step_up: None,
            path: Vec::new(),
        };
        Self { denial, answer: Answer::Deny, firmness }
    }

    fn because(mut self, reason: String) -> Self {
        self.denial.reason = reason;
        self
    }

    fn unless(mut self, remedy: String) -> Self {
        self.denial.remedy = remedy;
        self
    }

    /// A sign-in that would do.
    fn after(mut self, step_up: StepUp) -> Self {
        self.denial.code = Code::StepUpRequired;
        self.denial.step_up = Some(Box::new(step_up));
        self
    }

    /// What led to it.
    fn along(mut self, path: Vec<PathStep>) -> Self {
        if let Some(named) = path::named(&path) {
            self.denial.reason = format!("{}, after {named}", self.denial.reason);
        }
        self.denial.path = path;
        self
    }

    fn by(mut self, policies: Vec<PolicyName>) -> Self {
        self.denial.policies = policies;
        self
    }
}
