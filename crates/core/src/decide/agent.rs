//! Question 2: may this agent run it at all.

use super::{Case, Firmness, Objection, remedy};
use crate::policy::Side;
use crate::world::World;
use lockgate_types::Code;
use lockgate_types::decision::Question;
use lockgate_types::identity::Identity;

/// Why the agent of an identity is none, whatever policies say.
pub(crate) fn fault(world: &World, identity: &Identity) -> Option<Code> {
    let Some(declared) = world.principals.agent.get(identity.agent.as_str()) else {
        return Some(Code::UnknownAgent);
    };
    if !declared.environments.iter().any(|e| e == identity.environment.as_str()) {
        return Some(Code::UnknownAgent);
    }
    let is_closed = super::subject::is_closed(world, &identity.agent_groups, &declared.groups);
    (!is_closed).then_some(Code::FactsIncomplete)
}

pub(super) fn objection(case: &Case<'_>) -> Option<Objection> {
    let identity = &case.facts.identity;
    let name = identity.agent.as_str();
    let deny = |code, firmness| Objection::deny(code, Question::Agent, firmness);
    if let Some(code) = fault(case.world, identity) {
        return Some(deny(code, Firmness::Firm));
    }
    if case.is_permitted_to(Side::Agent) {
        return None;
    }
    let operation = &case.facts.call.operation;
    Some(
        deny(Code::AgentNotPermitted, Firmness::Observable)
            .because(format!("no policy permits the agent `{name}` to run `{operation}`"))
            .unless(remedy::for_no_permit(case, Side::Agent, Code::AgentNotPermitted)),
    )
}
