//! `[risk]` as a starter bundle has it: every value as it is shipped, to be seen and changed,
//! behind marks, since whoever tries things out would be locked by refusals of their own.

use crate::declare::{BaselineRules, Risk, TenantRisk, Weights};

/// The section, not in force yet.
pub(super) fn section() -> String {
    let lines = values();
    let lines = lines.lines().map(|line| format!("# {line}").trim_end().to_owned() + "\n");
    format!(
        "# What is held against a session, and what follows: docs/risk.md. Until the `#` before\n\
         # these lines are taken away only people loosen and tighten.\n#\n{}",
        lines.collect::<String>()
    )
}

/// Every value.
fn values() -> String {
    let Risk { half_life_s, hysteresis, enter, stay_s, weights, signals, baseline, tenant } =
        Risk::default();
    let signals: Vec<String> =
        signals.iter().map(|(class, points)| format!("{class} = {points}")).collect();
    format!(
        "[risk]\n\
         half_life_s = {half_life_s}\n\
         hysteresis = {hysteresis}\n\
         enter = {{ approvals = {}, read_only = {}, locked = {} }}\n\
         # 0: until a person loosens it.\n\
         stay_s = {{ approvals = {}, read_only = {}, locked = {} }}\n\
         # By class, or by what stands before its `:`; any other weighs `weights.signal`.\n\
         signals = {{ {} }}\n\n{}{}{}",
        enter.approvals,
        enter.read_only,
        enter.locked,
        stay_s.approvals,
        stay_s.read_only,
        stay_s.locked,
        signals.join(", "),
        weights_text(&weights),
        baseline_text(&baseline),
        tenant_text(&tenant),
    )
}

fn weights_text(weights: &Weights) -> String {
    let Weights { signal, refused, malformed, provenance, limit, pressed, .. } = weights;
    let Weights { r#loop, volume, destination, hours, .. } = weights;
    let Weights { tokens, uncertain, probes, recall, .. } = weights;
    format!(
        "[risk.weights]\n\
         signal = {signal}\nrefused = {refused}\nmalformed = {malformed}\n\
         provenance = {provenance}\nlimit = {limit}\npressed = {pressed}\nloop = {loop}\n\
         volume = {volume}\ndestination = {destination}\nhours = {hours}\n\
         tokens = {tokens}\nuncertain = {uncertain}\nprobes = {probes}\n\
         recall = {recall}\n\n"
    )
}

fn baseline_text(baseline: &BaselineRules) -> String {
    let BaselineRules { window_s, windows_min, spread, loop_calls, .. } = baseline;
    let BaselineRules { probe_calls, keep_days, .. } = baseline;
    format!(
        "[risk.baseline]\nwindow_s = {window_s}\nwindows_min = {windows_min}\n\
         spread = {spread}\nloop_calls = {loop_calls}\nprobe_calls = {probe_calls}\n\
         keep_days = {keep_days}\n\n"
    )
}

fn tenant_text(tenant: &TenantRisk) -> String {
    let TenantRisk { half_life_s, hysteresis, enter, stay_s, weights } = tenant;
    format!(
        "# The same for all sessions of the tenant together.\n\
         [risk.tenant]\n\
         half_life_s = {half_life_s}\n\
         hysteresis = {hysteresis}\n\
         enter = {{ approvals = {}, read_only = {}, locked = {} }}\n\
         stay_s = {{ approvals = {}, read_only = {}, locked = {} }}\n\
         weights = {{ signal = {}, loop = {}, upstream = {} }}\n\n",
        enter.approvals,
        enter.read_only,
        enter.locked,
        stay_s.approvals,
        stay_s.read_only,
        stay_s.locked,
        weights.signal,
        weights.r#loop,
        weights.upstream,
    )
}
