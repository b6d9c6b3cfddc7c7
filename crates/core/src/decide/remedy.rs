//! What would help: from the bundle and never from the arguments' values.

use super::Case;
use crate::policy::{Force, Policy, PolicyAt, Side};
use lockgate_types::Code;
use std::collections::BTreeSet;

/// Policies that a remedy names.
const NAMED_MAX: usize = 3;

/// What the first of these policies that says anything says.
pub(super) fn said<'a>(
    case: &Case<'a>,
    policies: &[PolicyAt],
    text: impl Fn(&'a Policy) -> Option<&'a str>,
) -> Option<String> {
    let mut policies = policies.to_vec();
    policies.sort_unstable();
    let mut policies = policies.iter().filter_map(|at| case.world.policies.get(*at));
    policies.find_map(text).map(str::to_owned)
}

/// Whether a permit of this side could not see an argument it needs.
pub(super) fn is_blind(case: &Case<'_>, side: Side) -> bool {
    let policies = &case.world.policies;
    let blind = &case.legs.side(side).blind;
    blind.iter().any(|at| policies.get(*at).is_some_and(|policy| policy.force == Force::Permit))
}

/// Who may, and by which policy.
pub(super) fn for_no_permit(case: &Case<'_>, side: Side, code: Code) -> String {
    let policies = &case.world.policies;
    let leg = case.legs.side(side);
    let mut sentences: Vec<String> = leg
        .failures
        .iter()
        .filter_map(|failure| policies.get(failure.policy))
        .filter(|policy| policy.force == Force::Permit)
        .take(NAMED_MAX)
        .map(|policy| format!("the policy `{}` could not be evaluated", policy.name))
        .collect();
    let call = &case.facts.call;
    let identity = &case.facts.identity;
    let permits = policies.permits_of(&call.operation, call.upstream.as_str(), side, identity);
    // What could not be evaluated has been named.
    let has_failed = |at| leg.failures.iter().any(|failure| failure.policy == at);
    let permits = permits.into_iter().filter(|(at, _)| !has_failed(*at));
    let permits = permits.filter_map(|(at, is_own)| Some((policies.get(at)?, is_own)));
    let mut seen = BTreeSet::new();
    let permits = permits
        .filter(|(policy, _)| policy.is_offered_to(side) && seen.insert(&policy.whom))
        .take(NAMED_MAX);
    sentences.extend(permits.map(|(policy, is_own)| match &policy.remedy {
        Some(remedy) => remedy.to_string(),
        None if is_own && policy.is_conditional() => {
            format!("the conditions of policy `{}` do not hold", policy.name)
        }
        None if policy.is_conditional() => {
            format!("{} may under conditions: policy `{}`", policy.whom, policy.name)
        }
        None => format!("{} may: policy `{}`", policy.whom, policy.name),
    }));
    if sentences.is_empty() { code.remedy().to_owned() } else { sentences.join("; ") }
}
