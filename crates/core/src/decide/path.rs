//! How it came to a refusal: each call was allowed, the chain of them is not.

use super::Case;
use crate::policy::PolicyAt;
use lockgate_types::decision::PathStep;
use std::collections::BTreeSet;

/// Steps that a refusal shows.
const STEPS_MAX: usize = 32;
/// Steps that its reason spells out.
const NAMED_MAX: usize = 4;

/// What these policies look at of what has happened, in order of time.
pub(super) fn of(case: &Case<'_>, policies: &[PolicyAt]) -> Vec<PathStep> {
    let Some(history) = &case.facts.history else { return Vec::new() };
    let policies = policies.iter().filter_map(|at| case.world.policies.get(*at));
    let sought: BTreeSet<&str> =
        policies.flat_map(|policy| &policy.sought.past).map(String::as_str).collect();
    let passed = history.passed().filter(|(tag, _)| sought.contains(tag));
    let mut path: Vec<PathStep> = passed
        .map(|(tag, passed)| PathStep { tag: tag.to_owned(), step: passed.first.clone() })
        .collect();
    path.sort_by(|one, two| (&one.step, &one.tag).cmp(&(&two.step, &two.tag)));
    path.truncate(STEPS_MAX);
    path
}

/// The path in words. `None`: there is none.
pub(super) fn named(path: &[PathStep]) -> Option<String> {
    let said = |step: &PathStep| format!("`{}` (call {})", step.tag, step.step.call);
    let steps: Vec<String> = path.iter().take(NAMED_MAX).map(said).collect();
    let more = path.len().saturating_sub(NAMED_MAX);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    (!steps.is_empty()).then(|| format!("{}{more}", steps.join(", ")))
}
