//! The crash explorer: the real store and kernel are crashed wherever they wait for the disk or
//! the upstream, also while they recover, and nothing may be lost or happen twice.
#![cfg(test)]

mod bundle;
mod check;
mod disk;
mod explore;
mod life;
mod random;
mod script;
mod tape;
mod upstream;
mod world;

use explore::{Plan, explore};
use lockgate_store::{Fault, Faults};

/// Executions, where nobody says otherwise.
const EXECUTIONS: usize = 1000;

fn number(variable: &str, otherwise: usize) -> usize {
    let said = std::env::var(variable).ok().and_then(|text| text.parse().ok());
    said.unwrap_or(otherwise)
}

#[test]
fn nothing_is_lost_and_nothing_happens_twice_wherever_it_crashes() {
    let executions = number("LOCKGATE_SIMULATED", EXECUTIONS);
    let seed = number("LOCKGATE_SEED", 1) as u64;
    let plan = Plan { executions, seed, faults: Faults::NONE, is_one_enough: false };
    let started = std::time::Instant::now();
    let found = explore(plan, &|_| {});
    println!("{} executions, {} doubles, {:?}, {:.1} s", found.executions, found.doubles,
        found.places, started.elapsed().as_secs_f64());
    for violation in &found.violations {
        println!("{violation}");
    }
    assert!(found.violations.is_empty());
}

#[test]
fn every_fault_is_caught() {
    let seed = number("LOCKGATE_SEED", 1) as u64;
    let mut missed = Vec::new();
    for fault in Fault::ALL {
        let faults = Faults::seeded(fault);
        let plan = Plan { executions: EXECUTIONS, seed, faults, is_one_enough: true };
        let found = explore(plan, &|_| {});
        let first = found.violations.first().and_then(|it| it.lines().next());
        println!("{fault:?}: {} executions: {first:?}", found.executions);
        if found.violations.is_empty() {
            missed.push(fault);
        }
    }
    assert!(missed.is_empty(), "not caught: {missed:?}");
}
