//! Question 2: may this agent run it at all.

use super::{Case, Firmness, Objection, remedy};
use crate::policy::Side;
use lockgate_types::Code;
use lockgate_types::decision::Question;

pub(super) fn objection(case: &Case<'_>) -> Option<Objection> {
    let identity = &case.facts.identity;
    let name = identity.agent.as_str();
    let deny = |code, firmness| Objection::deny(code, Question::Agent, firmness);
    let Some(declared) = case.world.principals.agent.get(name) else {
        return Some(deny(Code::UnknownAgent, Firmness::Firm));
    };
    if !declared.environments.iter().any(|e| e == identity.environment.as_str()) {
        return Some(deny(Code::UnknownAgent, Firmness::Firm));
    }
    if !super::subject::is_closed(case.world, &identity.agent_groups, &declared.groups) {
        return Some(deny(Code::FactsIncomplete, Firmness::Firm));
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
