//! The entry that says that a budget nears its end.

use super::{Draft, ENTRY_VERSION, Leaf, time};
use crate::cap::Alert;
use lockgate_ledger::Kind;
use lockgate_types::Micros;

/// A counter of a cap that has come as far as somebody wants to be told of. Whose it is, is not
/// said.
pub(crate) fn budget(alert: &Alert<'_>, at: Micros) -> Draft {
    let mut leaf = Leaf::new(256);
    leaf.integer("alert_at", alert.alert_at);
    leaf.text("call", alert.call.as_str());
    leaf.text("cap", alert.cap);
    leaf.text("k", Kind::Budget.as_str());
    leaf.integer("max", alert.max);
    leaf.integer("resets_at", alert.resets_at.0);
    leaf.place();
    leaf.integer("t", time(at));
    leaf.integer("used", alert.used);
    leaf.integer("v", ENTRY_VERSION);
    leaf.finish()
}

#[cfg(test)]
mod tests {
    use super::super::tests::check;
    use super::*;
    use lockgate_ledger::leaf::INTEGER_MAX;
    use lockgate_types::CallId;

    #[test]
    fn a_budget_that_nears_its_end_is_an_entry() {
        let call = CallId::new("c1").unwrap();
        for (used, max) in [(80, 100), (INTEGER_MAX, i64::MAX)] {
            let resets_at = Micros(1);
            let alert = Alert { cap: "money", call: &call, used, alert_at: 80, max, resets_at };
            check(&budget(&alert, Micros(1)), Kind::Budget);
        }
    }
}
