//! Question 7: is it forbidden under the present risk: switches, the session's mode, forbids.

use super::{Case, Firmness, Objection, approval, path, posture, remedy};
use crate::bundle::admin::RESERVED;
use crate::caps;
use crate::declare::Cap;
use crate::policy::{Force, PolicyAt};
use lockgate_types::Code;
use lockgate_types::call::Effect;
use lockgate_types::decision::{Question, StepUp};
use lockgate_types::facts::{BreakerScope, Exhausted, Facts, Mode, Switch};
use lockgate_types::identity::Identity;

pub(super) fn objection(case: &Case<'_>) -> Option<Objection> {
    let deny = |code, firmness| Objection::deny(code, Question::Risk, firmness);
    if let Some(switch) = case.facts.switches.iter().find(|switch| stops(switch, case.facts)) {
        return Some(deny(Code::SwitchEngaged, Firmness::Firm).because(named(switch)));
    }
    if !mode_admits(case) {
        let objection = deny(Code::ModeForbids, Firmness::Firm).because(posture::reason(case));
        return Some(match posture::remedy(case) {
            Some(remedy) => objection.unless(remedy),
            None => objection,
        });
    }
    if let Some(reason) = used_up(case) {
        return Some(deny(Code::CapReached, Firmness::Firm).because(reason));
    }
    let failed = failed_forbids(case);
    if let Some(policy) = case.names(&failed).first() {
        return Some(
            deny(Code::PolicyFailed, Firmness::Firm)
                .because(format!("the policy `{policy}` could not be evaluated, so it holds"))
                .by(case.names(&failed)),
        );
    }
    let forbidden = forbidden(case);
    // Who is forbidden is told so, not when to come back; where that is only observed, it must not
    // hide that the upstream is down.
    let is_binding = forbidden.is_some() && !case.is_observed();
    if !is_binding && let Some(reason) = broken(case) {
        return Some(deny(Code::UpstreamBroken, Firmness::Firm).because(reason));
    }
    forbidden
}

/// Why a circuit breaker stops the call. What is answered from the record asks nothing of the
/// upstream: it passes.
fn broken(case: &Case<'_>) -> Option<String> {
    let broken = case.facts.broken?;
    let is_answered_here = case.facts.earlier.is_some() && case.facts.call.attempt_of.is_none();
    if is_answered_here {
        return None;
    }
    let call = &case.facts.call;
    let which = match broken.scope {
        BreakerScope::Upstream => format!("the upstream `{}`", call.upstream),
        BreakerScope::Operation => format!("the operation `{}`", call.operation),
    };
    let left_ms = broken.until.0.saturating_sub(case.facts.now.0).max(0) / 1000;
    Some(format!("{which} has failed repeatedly; it is tried again in {left_ms} ms"))
}

/// Why a cap stops the call that no approval could lift. One that the bundle does not know stops it
/// too.
fn used_up(case: &Case<'_>) -> Option<String> {
    let beyond = caps::beyond(case.world, case.operation, case.facts);
    if let Some((cap, amount)) = beyond.into_iter().find(|(cap, _)| cap.escalate.is_none()) {
        let (name, max) = (&cap.name, cap.max.unwrap_or(0));
        let amount = in_units(cap, amount);
        return Some(format!("the cap `{name}` allows {max} in one call, and this takes {amount}"));
    }
    let cap_of =
        |exhausted: &Exhausted| case.world.gate.cap.iter().find(|cap| cap.name == exhausted.cap);
    let mut exhausted = case.facts.exhausted.iter();
    let found = exhausted.find(|it| cap_of(it).is_none_or(|cap| cap.escalate.is_none()))?;
    let max = cap_of(found).and_then(|cap| cap.max.or(cap.concurrent.map(i64::from)));
    let used = found.used.map(|used| cap_of(found).map_or(used, |cap| in_units(cap, used)));
    let used = match (used, max) {
        (Some(used), Some(max)) => format!(" ({used} of {max} are used)"),
        // A record from before this was kept.
        _ => String::new(),
    };
    let resets = match found.resets_at {
        Some(at) => {
            let left_us = at.0.saturating_sub(case.facts.now.0).max(0);
            format!("it resets in {} s", left_us.saturating_add(999_999) / 1_000_000)
        }
        None => "it has when a call that is under way ends".to_owned(),
    };
    Some(format!("the cap `{}` has no room for this{used}; {resets}", found.cap))
}

/// How much it is in the units of the cap's `max`, begun ones counted.
fn in_units(cap: &Cap, amount: i64) -> i64 {
    let unit = caps::unit(cap);
    amount.saturating_add(unit - 1) / unit
}

fn forbidden(case: &Case<'_>) -> Option<Objection> {
    if approval::liftable(case).is_some() {
        return None; // Question 6 asks, if there is anything to ask for.
    }
    let forbids = case.legs.agent.forbids.iter().chain(&case.legs.subject.forbids);
    let forbids: Vec<PolicyAt> =
        forbids.copied().filter(|at| approval::requirement(case, *at).is_none()).collect();
    let names = case.names(&forbids);
    let policy = names.first()?;
    let reason = remedy::said(case, &forbids, |policy| policy.reason.as_deref())
        .unwrap_or_else(|| format!("the policy `{policy}` forbids this"));
    let remedy = remedy::said(case, &forbids, |policy| policy.remedy.as_deref())
        .unwrap_or_else(|| format!("ask whoever keeps the policy `{policy}` what would lift it"));
    let objection = Objection::deny(Code::Forbidden, Question::Risk, Firmness::Observable);
    let objection = objection.because(reason).unless(remedy).by(names);
    let objection = objection.along(path::of(case, &forbids));
    Some(match step_up(case, &forbids) {
        Some(step_up) => objection.after(step_up),
        None => objection,
    })
}

/// The sign-in that would lift every one of these, if one does.
fn step_up(case: &Case<'_>, forbids: &[PolicyAt]) -> Option<StepUp> {
    let mut needed = forbids.iter().map(|at| case.world.policies.get(*at)?.step_up.clone());
    let first = needed.next()??;
    needed.try_fold(first, |all, next| all.and(next?))
}

fn failed_forbids(case: &Case<'_>) -> Vec<PolicyAt> {
    let failures = case.legs.agent.failures.iter().chain(&case.legs.subject.failures);
    let policies = &case.world.policies;
    failures
        .map(|failure| failure.policy)
        .filter(|at| policies.get(*at).is_none_or(|policy| policy.force == Force::Forbid))
        .collect()
}

/// Whether the mode lets this effect pass, with an approval if it asks for one.
fn mode_admits(case: &Case<'_>) -> bool {
    match posture::mode(case) {
        Mode::Normal => true,
        // Without a permit nobody can be asked, and observing goes never past a mode.
        Mode::Approvals => !approval::mode_demands(case) || case.is_permitted(),
        Mode::ReadOnly => case.operation.effect == Effect::Read,
        Mode::Locked => false,
    }
}

/// Whether a switch stops a call. One whose scope nobody knows stops everything.
fn stops(switch: &Switch, facts: &Facts) -> bool {
    if switch.scope == "session" {
        return switch.name == facts.session.id.as_str();
    }
    let call = &facts.call;
    stops_operation(switch, &facts.identity, call.upstream.as_str(), call.operation.as_str())
}

/// Whether a switch stops an operation whatever the session.
pub(super) fn stops_operation(
    switch: &Switch,
    identity: &Identity,
    upstream: &str,
    operation: &str,
) -> bool {
    // The gate's own operations go on: else nobody could lift a wide switch again.
    let is_own = upstream == RESERVED;
    match switch.scope.as_str() {
        "tenant" => switch.name == identity.tenant.as_str() && !is_own,
        "environment" => switch.name == identity.environment.as_str() && !is_own,
        "agent" => switch.name == identity.agent.as_str(),
        "tool" => switch.name == upstream,
        "operation" => switch.name == operation,
        "session" => false,
        _ => !is_own, // `global`, and what a newer version may know.
    }
}

fn named(switch: &Switch) -> String {
    if switch.name.is_empty() {
        return format!("the {} switch stops this", switch.scope);
    }
    format!("the switch of {} `{}` stops this", switch.scope, switch.name)
}
