//! Caps: how much may happen in a window, and what a call takes of it.
//!
//! A cap is hard: what a call takes is reserved in the transaction of its intent (I7), so that no
//! number of callers at once goes beyond it. What is read here is pure; the counting is the
//! store's.

use crate::declare::{Cap, CapScope};
use crate::world::World;
use lockgate_types::call::Effect;
use lockgate_types::facts::Facts;
use lockgate_types::{Json, Micros};

/// What stands between the people and the cap in the approval that lifts one.
pub const FOR_THE_CAP: &str = " for the cap ";

/// What a call takes of one cap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    /// The cap's name.
    pub cap: String,
    /// Whose counter it is, within the cap.
    pub scope: String,
    /// How much.
    pub amount: i64,
    /// How much there is in the window.
    pub max: i64,
    /// When the counter begins anew.
    pub resets_at: Micros,
}

/// An argument that a cap adds up cannot be read exactly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// The cap's name.
    pub cap: String,
    /// The argument.
    pub argument: String,
}

/// What a call takes of the caps that it falls under. One that an approval has lifted counts all
/// the same, and has room.
pub fn charges(world: &World, facts: &Facts) -> Result<Vec<Charge>, Unreadable> {
    if world.gate.cap.is_empty() {
        return Ok(Vec::new());
    }
    let Some(operation) = world.operations.get(&facts.call.operation) else {
        return Ok(Vec::new());
    };
    let caps = world.gate.cap.iter().filter(|cap| is_under(cap, operation.effect, facts));
    caps.map(|cap| charge(cap, facts)).collect()
}

/// The approval that lifts a cap: one of its own, so that what was agreed to for another reason
/// does not lift it.
pub(crate) fn requirement(cap: &Cap) -> Option<String> {
    let who = cap.escalate.as_ref()?;
    Some(format!("{who}{FOR_THE_CAP}{}", cap.name))
}

/// Whether a cap that is used up has been lifted by an approval.
pub(crate) fn is_lifted(cap: &Cap, facts: &Facts) -> bool {
    let Some(requirement) = requirement(cap) else { return false };
    facts.approvals.iter().any(|approval| approval.requirement == requirement)
}

fn is_under(cap: &Cap, effect: Effect, facts: &Facts) -> bool {
    let counts = cap.reads || effect != Effect::Read;
    let operation = facts.call.operation.as_str();
    let is_named = cap.operations.iter().any(|name| name == operation);
    counts && (cap.operations.is_empty() || is_named)
}

fn charge(cap: &Cap, facts: &Facts) -> Result<Charge, Unreadable> {
    let window_us = i64::from(cap.window_s).saturating_mul(1_000_000).max(1);
    let into_window = facts.now.0.rem_euclid(window_us);
    let resets_at = facts.now.0.saturating_sub(into_window).saturating_add(window_us);
    Ok(Charge {
        cap: cap.name.clone(),
        scope: scope(cap.per, facts),
        amount: amount(cap, facts)?,
        max: if is_lifted(cap, facts) { i64::MAX } else { cap.max },
        resets_at: Micros(resets_at),
    })
}

fn scope(per: CapScope, facts: &Facts) -> String {
    let identity = &facts.identity;
    match per {
        CapScope::Global => String::new(),
        CapScope::Tenant => identity.tenant.to_string(),
        CapScope::Environment => identity.environment.to_string(),
        CapScope::Agent => identity.agent.to_string(),
        CapScope::Subject => format!("{}\n{}", identity.issuer, identity.subject),
        CapScope::Session => facts.session.id.to_string(),
        CapScope::Operation => facts.call.operation.to_string(),
        CapScope::Task => identity.task.as_ref().map(ToString::to_string).unwrap_or_default(),
    }
}

fn amount(cap: &Cap, facts: &Facts) -> Result<i64, Unreadable> {
    let Some(argument) = &cap.sum else { return Ok(1) };
    let unreadable = || Unreadable { cap: cap.name.clone(), argument: argument.clone() };
    let given = facts.call.arguments().and_then(|arguments| arguments.get(argument));
    let read = match given {
        Some(Json::Number(number)) => scaled(number.text(), cap.decimals),
        _ => None,
    };
    read.ok_or_else(unreadable)
}

/// A number in units of `10^-decimals`; `None` if it is negative, has more decimals, or is too
/// large. What would have to be rounded is not counted wrongly.
fn scaled(text: &str, decimals: u32) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let fraction = fraction.trim_end_matches('0');
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let places = usize::try_from(decimals).ok()?;
    if whole.is_empty() || !is_digits(whole) || !is_digits(fraction) || fraction.len() > places {
        return None;
    }
    format!("{whole}{fraction:0<places$}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::scaled;

    #[test]
    fn amounts_are_exact_or_nothing() {
        for (text, decimals, units) in [
            ("0", 0, Some(0)),
            ("12", 0, Some(12)),
            ("12", 2, Some(1200)),
            ("12.3", 2, Some(1230)),
            ("12.340", 2, Some(1234)),
            ("12.345", 2, None),
            ("12.0", 0, Some(12)),
            ("-1", 0, None),
            ("1e3", 0, None),
            (".5", 1, None),
            ("9223372036854775807", 0, Some(i64::MAX)),
            ("9223372036854775808", 0, None),
            ("9223372036854775807", 1, None),
        ] {
            assert_eq!(scaled(text, decimals), units, "{text} {decimals}");
        }
    }
}
