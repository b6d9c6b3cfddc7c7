//! Question 5: what data scope. The obligations of every permit that holds, on both sides,
//! together. A permit that could not be asked may have held: it gives nothing, and hides all the
//! same.

use super::Case;
use lockgate_types::decision::Obligation;
use std::collections::BTreeSet;

/// At most one obligation of each kind: what is hidden adds up, the lowest cap holds.
pub(super) fn obligations(case: &Case<'_>) -> Vec<Obligation> {
    let permits = [&case.legs.agent, &case.legs.subject].into_iter().flat_map(|leg| {
        let failed = leg.failures.iter().map(|failure| &failure.policy);
        leg.permits.iter().chain(&leg.blind).chain(failed)
    });
    let permits = permits.filter_map(|at| case.world.policies.get(*at));
    let mut redacted = BTreeSet::new();
    let mut masked = BTreeSet::new();
    let mut cap: Option<u32> = None;
    let mut has_log = false;
    for obligation in permits.flat_map(|policy| &policy.obligations) {
        match obligation {
            Obligation::Redact(paths) => redacted.extend(paths.iter().cloned()),
            Obligation::Mask(columns) => masked.extend(columns.iter().cloned()),
            Obligation::Cap(max) => cap = Some(cap.map_or(*max, |cap| cap.min(*max))),
            Obligation::LogMore => has_log = true,
        }
    }
    let mut obligations = Vec::new();
    if !redacted.is_empty() {
        obligations.push(Obligation::Redact(redacted.into_iter().collect()));
    }
    if !masked.is_empty() {
        obligations.push(Obligation::Mask(masked.into_iter().collect()));
    }
    obligations.extend(cap.map(Obligation::Cap));
    if has_log {
        obligations.push(Obligation::LogMore);
    }
    obligations.sort();
    obligations
}
