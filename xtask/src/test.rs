//! `cargo xtask test`: every test of every crate, each of which does its own set-up.
//!
//! Test files named `suite_*.rs` run other people's clients, servers and verifiers; `--quick`
//! leaves them out, and so it does with what simulates many gates or waits for real time.
//! `cargo-nextest` is used where it is installed; the tests are the same without
//! it.

use crate::process::{cargo, output, run};
use anyhow::{Context, Result};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Test files that begin like this are left out of the quick run.
const SUITE_PREFIX: &str = "suite_";

/// Test files that take longest: simulated crashes, oracles, and what waits for pauses, ends of
/// tokens and full disks, or drives gates through many starts.
const LONG: [&str; 18] = [
    "answers",
    "approvals",
    "chains",
    "crash",
    "credentials",
    "damage",
    "evaluations",
    "kill",
    "leaks",
    "pins",
    "policy_oracle",
    "redteam",
    "risk",
    "runs",
    "sql_fuzz",
    "stand_ins",
    "tenants",
    "webhook",
];

/// Builds every test, and the gate that black-box tests run.
pub(crate) fn build_all(root: &Path) -> Result<()> {
    run(&mut cargo(root, &["test", "--workspace", "--no-run", "--quiet"]))
}

/// Every test.
pub(crate) fn run_all(root: &Path) -> Result<()> {
    run_beside(root, &[])
}

/// Every test, with these variables set for them.
pub(crate) fn run_beside(root: &Path, variables: &[(&str, PathBuf)]) -> Result<()> {
    let variables = || variables.iter().map(|(name, value)| (name, value));
    if has_nextest(root) {
        run(cargo(root, &["nextest", "run", "--workspace"]).envs(variables()))?;
        run(&mut cargo(root, &["test", "--workspace", "--doc"]))
    } else {
        run(cargo(root, &["test", "--workspace", "--no-fail-fast"]).envs(variables()))
    }
}

/// The tests of the inner loop.
pub(crate) fn run_quick(root: &Path) -> Result<()> {
    let tests = fast_test_files(root)?;
    let mut command = if has_nextest(root) {
        // Most of them wait for processes and timers rather than for a core.
        let threads = std::thread::available_parallelism().map_or(2, usize::from) * 2;
        let mut command = cargo(root, &["nextest", "run", "--workspace", "--lib", "--bins"]);
        command.args(["--test-threads", &threads.to_string()]);
        command
    } else {
        cargo(root, &["test", "--workspace", "--no-fail-fast", "--lib", "--bins"])
    };
    for test in &tests {
        command.args(["--test", test]);
    }
    run(&mut command)
}

fn has_nextest(root: &Path) -> bool {
    output(&mut cargo(root, &["nextest", "--version"])).is_ok()
}

fn fast_test_files(root: &Path) -> Result<BTreeSet<String>> {
    let metadata = output(&mut cargo(root, &["metadata", "--no-deps", "--format-version", "1"]))?;
    let metadata: Value = serde_json::from_str(&metadata).context("cargo metadata prints JSON")?;
    Ok(fast_tests_of(&metadata))
}

fn fast_tests_of(metadata: &Value) -> BTreeSet<String> {
    let items = |value: &Value, name: &str| value.get(name).and_then(Value::as_array).cloned();
    let packages = items(metadata, "packages").unwrap_or_default();
    let targets = packages.iter().flat_map(|it| items(it, "targets").unwrap_or_default());
    targets
        .filter(|target| target.get("kind") == Some(&serde_json::json!(["test"])))
        .filter_map(|target| target.get("name")?.as_str().map(str::to_owned))
        .filter(|name| !name.starts_with(SUITE_PREFIX) && !LONG.contains(&name.as_str()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_are_left_out_of_the_quick_run() {
        let metadata = serde_json::json!({"packages": [{"targets": [
            {"kind": ["lib"], "name": "lockgate_wire"},
            {"kind": ["test"], "name": "faces"},
            {"kind": ["test"], "name": "suite_sdk_clients"},
            {"kind": ["test"], "name": "crash"},
        ]}]});
        let names: Vec<String> = fast_tests_of(&metadata).into_iter().collect();
        assert_eq!(names, ["faces"]);
    }
}
