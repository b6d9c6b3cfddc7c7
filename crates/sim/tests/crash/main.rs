//! The crash explorer: the real store and the real kernel are crashed wherever they wait for the
//! disk or for the upstream, also while they recover, and nothing may be lost or happen twice.
//!
//! `cargo xtask crash` runs it with more executions, and prints what it has found. The same seed,
//! and as many executions, crash in the same ways; one script can be run alone.
#![cfg(test)]

mod explore;

mod life;
mod script;
mod tape;
mod world;

mod bundle;
mod check;
mod disk;
mod random;
mod upstream;

use explore::{Found, Plan, explore};
use lockgate_store::{Fault, Faults};
use serde_json::{Value, json};
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::Instant;

/// Executions, where nobody says otherwise.
const EXECUTIONS: usize = 1000;
/// Executions in which a fault has to be found.
const EXECUTIONS_TO_A_FAULT: usize = 2000;
/// Between two looks at the progress.
const TELL_EVERY: usize = 50;

const EXECUTIONS_VARIABLE: &str = "LOCKGATE_SIMULATED";
const SEED_VARIABLE: &str = "LOCKGATE_SEED";
/// The number of the only script.
const SCRIPT_VARIABLE: &str = "LOCKGATE_SCRIPT";
/// The directory for what was found, as JSON.
const REPORT_VARIABLE: &str = "LOCKGATE_CRASH_REPORT";

#[test]
fn nothing_is_lost_and_nothing_happens_twice_wherever_it_crashes() {
    let executions = number(EXECUTIONS_VARIABLE).unwrap_or(EXECUTIONS);
    let plan = Plan { executions, ..plan() };
    let started = Instant::now();
    let found = explore(plan, &|done| tell("crashes", done, executions));
    let places = found.places.iter().map(|(place, count)| (format!("{place:?}"), json!(count)));
    report(
        "explored.json",
        &json!({
            "executions": found.executions,
            "scripts": found.scripts,
            "double_crashes": found.doubles,
            "points": found.points,
        "left_out": found.left_out,
            "crashes": places.collect::<serde_json::Map<String, Value>>(),
            "violations": found.violated,
        "violated": found.violations,
            "seed": plan.seed,
            "seconds": started.elapsed().as_secs(),
        }),
    );
    assert!(found.violations.is_empty(), "{}", found.violations.join("\n"));
    assert!(plan.script.is_some() || found.executions == executions, "{}", found.executions);
}

#[test]
fn every_fault_is_caught() {
    let mut faults = Vec::new();
    for (number, fault) in Fault::ALL.into_iter().enumerate() {
        let executions = EXECUTIONS_TO_A_FAULT;
        let seeded = Faults::seeded(fault);
        let plan = Plan { executions, faults: seeded, is_one_enough: true, ..plan() };
        let Found { executions, violations, .. } = explore(plan, &|_| {});
        tell("faults", number + 1, Fault::ALL.len());
        let by = violations.first().and_then(|violation| violation.lines().next());
        faults.push(json!({"fault": format!("{fault:?}"), "executions": executions, "by": by}));
    }
    report("faults.json", &Value::from(faults.clone()));
    let missed: Vec<&Value> = faults.iter().filter(|fault| fault["by"].is_null()).collect();
    assert!(missed.is_empty(), "not caught: {missed:?}");
}

fn number(variable: &str) -> Option<usize> {
    std::env::var(variable).ok()?.parse().ok()
}

fn plan() -> Plan {
    Plan {
        executions: EXECUTIONS,
        seed: number(SEED_VARIABLE).unwrap_or(1) as u64,
        script: number(SCRIPT_VARIABLE),
        faults: Faults::NONE,
        is_one_enough: false,
    }
}

/// Says on a terminal how far it is.
fn tell(what: &str, done: usize, all: usize) {
    let mut terminal = std::io::stderr();
    if terminal.is_terminal() && (done.is_multiple_of(TELL_EVERY) || done == all || all < 100) {
        let end = if done == all { "\n" } else { "" };
        let _ = write!(terminal, "\r{what}: {done} of {all}{end}");
    }
}

fn report(name: &str, found: &Value) {
    if let Some(directory) = std::env::var_os(REPORT_VARIABLE) {
        std::fs::write(Path::new(&directory).join(name), found.to_string()).unwrap();
    }
}
