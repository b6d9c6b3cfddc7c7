//! The faults that are put in on purpose are for the simulation's tests, and in nothing that is
//! released.
//!
//! Cargo switches a feature on for everybody in a build as soon as one asks for it. So none may
//! ask but the simulation, for its tests, and nobody may have a feature of its own that leads
//! there.

use super::reach::{PRODUCT, graph};
use super::{Finding, metadata};
use anyhow::Result;
use serde_json::Value;
use std::path::Path;

/// The feature of `lockgate-store`.
const FAULTS: &str = "faults";
/// Who may ask for it, for its tests.
const SIMULATION: &str = "lockgate-sim";

/// Looks at the product as cargo would build it, and at who asks.
pub(super) fn check(root: &Path) -> Result<Vec<Finding>> {
    let product = graph(root, PRODUCT)?;
    let with_faults = product.with_feature(FAULTS);
    let built = with_faults.iter().map(|package| {
        format!("`{package}` is built with `{FAULTS}` in what is released; take the feature out")
    });
    let metadata = metadata(root)?;
    let packages = metadata.get("packages").and_then(Value::as_array).cloned().unwrap_or_default();
    let messages = built.chain(packages.iter().flat_map(asks));
    let finding = |message| Finding { path: "Cargo.toml".into(), line: 0, rule: "faults", message };
    Ok(messages.map(finding).collect())
}

/// How a package comes by the feature, if it may not.
fn asks(package: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let name = package.get("name").and_then(text).unwrap_or_default();
    let list = |value: Option<&Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
    let has = |features: &[Value]| features.iter().filter_map(text).any(|it| leads_there(&it));
    let mut messages = Vec::new();
    for dependency in list(package.get("dependencies")) {
        let is_for_tests = dependency.get("kind").and_then(Value::as_str) == Some("dev");
        let may_ask = name == SIMULATION && is_for_tests;
        if has(&list(dependency.get("features"))) && !may_ask {
            messages.push(format!("`{name}` asks for `{FAULTS}`; only tests of {SIMULATION} may"));
        }
    }
    let own = package.get("features").and_then(Value::as_object);
    for (feature, leads_to) in own.into_iter().flatten() {
        if has(&list(Some(leads_to))) {
            messages.push(format!("`{feature}` of `{name}` leads to `{FAULTS}`; take it out"));
        }
    }
    messages
}

fn leads_there(feature: &str) -> bool {
    feature.split(['/', '?']).next_back() == Some(FAULTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, kind: Option<&str>, own: &[&str]) -> Value {
        serde_json::json!({"name": name, "features": {"mine": own}, "dependencies": [
            {"name": "lockgate-store", "kind": kind, "features": ["faults"]}]})
    }

    #[test]
    fn only_the_tests_of_the_simulation_may_ask() {
        assert_eq!(asks(&package("lockgate-sim", Some("dev"), &[])), Vec::<String>::new());
        assert_eq!(asks(&package("lockgate-sim", None, &[])).len(), 1);
        assert_eq!(asks(&package("lockgate", Some("dev"), &[])).len(), 1);
    }

    #[test]
    fn no_feature_may_lead_there() {
        let leads = ["lockgate-store/faults", "lockgate-store?/faults", "faults"];
        for feature in leads {
            assert_eq!(asks(&package("lockgate-sim", Some("dev"), &[feature])).len(), 1);
        }
        let other = asks(&package("lockgate-sim", Some("dev"), &["lockgate-store/default"]));
        assert_eq!(other, Vec::<String>::new());
    }
}
