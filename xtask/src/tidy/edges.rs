//! Which crate of ours may depend on which, and how many there may be.

use super::{Finding, metadata};
use anyhow::Result;
use serde_json::Value;
use std::path::Path;

/// Twelve is a budget: a thirteenth needs a decision record.
const CRATES_MAX: usize = 12;

/// From the ground up. A crate may use those of lower layers; peers may not use each other.
const LAYERS: &[&[&str]] = &[
    &["lockgate-types"],
    &["lockgate-core", "lockgate-ledger", "lockgate-wire", "lockgate-detect"],
    &["lockgate-store"],
    &["lockgate-effects", "lockgate-retrieval"],
    &["lockgate-kernel"],
    &["lockgate-server"],
    &["lockgate"],
];

/// Drives the others from outside: used in tests only, and by `xtask`.
const SIMULATION: &str = "lockgate-sim";
const XTASK: &str = "xtask";

/// One crate using another.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Edge {
    from: String,
    to: String,
    is_for_tests: bool,
}

/// Looks at the manifests of the workspace.
pub(super) fn check(root: &Path) -> Result<Vec<Finding>> {
    let metadata = metadata(root)?;
    let packages = metadata.get("packages").and_then(Value::as_array).cloned().unwrap_or_default();
    let names: Vec<&str> = packages.iter().filter_map(name).collect();
    let mut findings = check_names(&names);
    for edge in edges(&packages, &names) {
        if let Some(message) = refusal(&edge) {
            let path = manifest_path(root, &packages, &edge.from);
            findings.push(Finding { path, line: 0, rule: "crate-edge", message });
        }
    }
    Ok(findings)
}

fn name(package: &Value) -> Option<&str> {
    package.get("name").and_then(Value::as_str)
}

fn manifest_path(root: &Path, packages: &[Value], package: &str) -> String {
    let found = packages.iter().find(|it| name(it) == Some(package));
    let path = found.and_then(|it| it.get("manifest_path")?.as_str()).unwrap_or("Cargo.toml");
    Path::new(path).strip_prefix(root).unwrap_or(Path::new(path)).display().to_string()
}

fn edges(packages: &[Value], names: &[&str]) -> Vec<Edge> {
    let mut edges = Vec::new();
    for package in packages {
        let dependencies = package.get("dependencies").and_then(Value::as_array);
        for dependency in dependencies.into_iter().flatten() {
            let (Some(from), Some(to)) = (name(package), name(dependency)) else { continue };
            if names.contains(&to) {
                let is_for_tests = dependency.get("kind").and_then(Value::as_str) == Some("dev");
                edges.push(Edge { from: from.to_owned(), to: to.to_owned(), is_for_tests });
            }
        }
    }
    edges
}

fn check_names(names: &[&str]) -> Vec<Finding> {
    let finding = |message| Finding { path: "Cargo.toml".into(), line: 0, rule: "crates", message };
    let mut findings = Vec::new();
    let crates: Vec<&&str> = names.iter().filter(|name| **name != XTASK).collect();
    if crates.len() > CRATES_MAX {
        findings.push(finding(format!(
            "{} crates, {CRATES_MAX} at most; make it a module, or argue in docs/adr/",
            crates.len()
        )));
    }
    for name in crates {
        if layer(name).is_none() && **name != *SIMULATION {
            findings.push(finding(format!(
                "`{name}` has no layer; give it one in xtask/src/tidy/edges.rs"
            )));
        }
    }
    findings
}

fn layer(name: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&name))
}

fn refusal(edge: &Edge) -> Option<String> {
    let Edge { from, to, is_for_tests } = edge;
    if from == XTASK {
        return None;
    }
    if to == SIMULATION {
        let advice = "make it a dev-dependency";
        return (!is_for_tests).then(|| format!("`{from}` uses `{to}` outside tests; {advice}"));
    }
    if from == SIMULATION && to != XTASK {
        return None;
    }
    match (layer(from), layer(to)) {
        (Some(from), Some(to)) if to < from => None,
        _ => Some(format!(
            "`{from}` may not use `{to}`; \
             allowed: lockgate > server > kernel > effects, retrieval > store > core, ledger, \
             wire, detect > types: move what is shared to a lower crate"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_refused(from: &str, to: &str, is_for_tests: bool) -> bool {
        refusal(&Edge { from: from.into(), to: to.into(), is_for_tests }).is_some()
    }

    #[test]
    fn layers_are_used_downwards_only() {
        assert!(!is_refused("lockgate-kernel", "lockgate-types", false));
        assert!(!is_refused("lockgate-kernel", "lockgate-retrieval", false));
        assert!(is_refused("lockgate-types", "lockgate-core", false));
        assert!(is_refused("lockgate-core", "lockgate-wire", false));
        assert!(is_refused("lockgate-core", "lockgate-wire", true));
        assert!(is_refused("lockgate-effects", "lockgate-retrieval", false));
        assert!(is_refused("lockgate-server", "lockgate-newcomer", false));
        assert!(is_refused("lockgate-types", "xtask", false));
    }

    #[test]
    fn the_simulation_is_for_tests() {
        assert!(is_refused("lockgate", "lockgate-sim", false));
        assert!(!is_refused("lockgate", "lockgate-sim", true));
        assert!(!is_refused("xtask", "lockgate-sim", false));
        assert!(!is_refused("lockgate-sim", "lockgate-kernel", false));
    }

    #[test]
    fn a_thirteenth_crate_and_one_without_a_layer_are_found() {
        let known: Vec<&str> = LAYERS.iter().flat_map(|layer| layer.iter().copied()).collect();
        assert!(check_names(&known).is_empty());
        let mut more = known.clone();
        more.push("lockgate-newcomer");
        assert_eq!(check_names(&more).len(), 1);
        more.push("lockgate-another");
        assert_eq!(check_names(&more).len(), 3);
    }

    #[test]
    fn edges_come_from_manifests() {
        let packages = [
            serde_json::json!({"name": "lockgate", "dependencies": [
                {"name": "lockgate-sim", "kind": "dev"}, {"name": "serde", "kind": null}]}),
            serde_json::json!({"name": "lockgate-sim", "dependencies": []}),
        ];
        let edge = Edge { from: "lockgate".into(), to: "lockgate-sim".into(), is_for_tests: true };
        assert_eq!(edges(&packages, &["lockgate", "lockgate-sim"]), [edge]);
    }
}
