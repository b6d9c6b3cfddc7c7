//! What `[risk]` means, beyond its shape.

use super::document::Findings;
use crate::declare::{Enter, Gate};
use lockgate_types::risk::CLASS_BYTES_MAX;

/// Classes of signals that one bundle weighs.
const SIGNALS_MAX: usize = 64;

pub(super) fn check(gate: &Gate, found: &mut Findings<'_>) {
    let Some(risk) = &gate.risk else { return };
    check_scale(&["risk"], risk.enter, risk.hysteresis, found);
    check_scale(&["risk", "tenant"], risk.tenant.enter.into(), risk.tenant.hysteresis, found);
    if risk.signals.len() > SIGNALS_MAX {
        found.at(&["risk", "signals"], format!("there are more than {SIGNALS_MAX} classes"), "");
    }
    for class in risk.signals.keys() {
        let is_word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-:".contains(&b);
        if class.is_empty() || class.len() > CLASS_BYTES_MAX || !class.bytes().all(is_word) {
            let what = format!("`{class}` is not a class of signals");
            found.at(&["risk", "signals", class], what, "such as `injection` or `pii:email`");
        }
    }
}

/// That a stricter mode needs more, and that a timer can loosen what a score has tightened.
fn check_scale(at: &[&str], enter: Enter, hysteresis: u32, found: &mut Findings<'_>) {
    let path = |key: &'static str| [at, &["enter", key]].concat();
    let steps =
        [("approvals", enter.approvals), ("read_only", enter.read_only), ("locked", enter.locked)];
    let given: Vec<_> = steps.into_iter().filter(|(_, score)| *score > 0).collect();
    for pair in given.windows(2) {
        if let [(softer, less), (stricter, more)] = pair
            && less >= more
        {
            let what = format!("`{stricter}` holds from {more}, and `{softer}` from {less}");
            found.at(&path(stricter), what, "a stricter mode needs a higher score");
        }
    }
    if let Some((mode, score)) = given.iter().find(|(_, score)| *score <= hysteresis) {
        let what = format!("`{mode}` holds from {score}, and `hysteresis` is {hysteresis}");
        let at = [at, &["hysteresis"]].concat();
        found.at(&at, what, "less than every score in `enter`: else no timer could loosen it");
    }
}
