//! The mode that holds, and what is said of it: whose it is, why, until when, and who loosens it.

use super::Case;
use crate::risk;
use lockgate_types::facts::Mode;
use lockgate_types::risk::Standing;
use std::fmt::Write as _;

/// Classes that a refusal names, the newest.
const NAMED_MAX: usize = 4;

/// The mode that holds for the call.
pub(super) fn mode(case: &Case<'_>) -> Mode {
    risk::mode(case.facts)
}

/// Why a call meets the mode that it meets.
pub(super) fn reason(case: &Case<'_>) -> String {
    let (whose, mode) = (whose(case), mode(case));
    let mut out = format!("{whose} is in the mode `{}`", mode.as_str());
    let Some(standing) = standing(case) else { return out };
    let ago = seconds(case.facts.now.0.saturating_sub(standing.since.0));
    // Writing to a string does not fail.
    let _ = write!(out, " since {ago} s");
    let newest: Vec<String> = standing
        .reasons
        .iter()
        .rev()
        .take(NAMED_MAX)
        .map(|it| {
            let ago = seconds(case.facts.now.0.saturating_sub(it.at.0));
            let times =
                if it.times == 1 { "once".to_owned() } else { format!("{} times", it.times) };
            format!("`{}` {times}, {ago} s ago", it.class)
        })
        .collect();
    if !newest.is_empty() {
        let _ = write!(out, ", because of {}", newest.join("; "));
    }
    out
}

/// What would loosen it.
pub(super) fn remedy(case: &Case<'_>) -> Option<String> {
    let standing = standing(case)?;
    let by_hand = match holds(case) {
        Holder::Session => format!("`lockgate sessions loosen {}`", case.facts.session.id),
        Holder::Tenant => format!("`lockgate posture loosen {}`", case.facts.identity.tenant),
    };
    Some(match standing.loosens_at {
        Some(at) => {
            let left = seconds(at.0.saturating_sub(case.facts.now.0).saturating_add(999_999));
            let or = format!("or by whoever may run {by_hand}");
            format!("it is loosened in {left} s if nothing more happens, {or}")
        }
        None => format!("no timer loosens it: ask whoever may run {by_hand}"),
    })
}

enum Holder {
    Session,
    Tenant,
}

/// Whose mode it is that holds.
fn holds(case: &Case<'_>) -> Holder {
    match case.facts.session.mode == mode(case) {
        true => Holder::Session,
        false => Holder::Tenant,
    }
}

fn standing<'a>(case: &Case<'a>) -> Option<&'a Standing> {
    let seen = case.facts.risk.as_ref()?;
    Some(match holds(case) {
        Holder::Session => &seen.session,
        Holder::Tenant => &seen.tenant,
    })
}

fn whose(case: &Case<'_>) -> String {
    match holds(case) {
        Holder::Session => "the session".to_owned(),
        Holder::Tenant => format!("the tenant `{}`", case.facts.identity.tenant),
    }
}

fn seconds(micros: i64) -> i64 {
    micros.max(0) / 1_000_000
}
