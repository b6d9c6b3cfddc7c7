//! How long a decision takes: median thread CPU time, sizes interleaved. `cargo run --release -p
//! lockgate-sim --example decide`

#![allow(clippy::print_stdout, reason = "a measurement prints its result")]

use lockgate_core::{World, decide};
use lockgate_sim::fixture;
use lockgate_types::facts::Facts;
use std::hint::black_box;
use std::time::Instant;

const SIZES: [usize; 4] = [10, 100, 1000, 10_000];
const CALLS: usize = 256;
const ROUNDS: usize = 40;

fn main() -> Result<(), String> {
    let sizes: Vec<usize> = match std::env::args().nth(1) {
        Some(text) => vec![text.parse().map_err(|_| "usage: decide [policies]")?],
        None => SIZES.to_vec(),
    };
    let mut cases = Vec::new();
    for size in sizes {
        let files = fixture::bundle(size);
        let start = Instant::now();
        let world = World::load(&files).map_err(|mistakes| {
            mistakes.iter().take(5).map(|m| format!("{m}\n")).collect::<String>()
        })?;
        println!("{size} policies: loaded in {} ms, {}", start.elapsed().as_millis(), memory());
        let facts: Vec<Facts> = (0..CALLS)
            .map(|i| fixture::facts(&world, i).map_err(|code| code.to_string()))
            .collect::<Result<_, _>>()?;
        describe(&world, &facts);
        cases.push((size, world, facts, Vec::new()));
    }
    for _ in 0..ROUNDS {
        for (_, world, facts, samples) in &mut cases {
            let start = cpu_ns()?;
            for facts in facts.iter() {
                black_box(decide(world, facts));
            }
            samples.push((cpu_ns()? - start) / CALLS as u64);
        }
    }
    for (size, _, _, samples) in &mut cases {
        samples.sort_unstable();
        let median = samples.get(samples.len() / 2).copied().unwrap_or_default();
        println!("{size} policies: decide() median {}.{:02} µs", median / 1000, median % 1000 / 10);
    }
    Ok(())
}

fn describe(world: &World, facts: &[Facts]) {
    let mut verdicts = std::collections::BTreeMap::new();
    for facts in facts {
        let decision = decide(world, facts);
        let code = decision.denial.map_or("-", |denial| denial.code.as_str());
        *verdicts.entry((decision.verdict.as_str(), code)).or_insert(0) += 1;
    }
    println!("  {verdicts:?}");
}

/// Nanoseconds that this thread has run.
fn cpu_ns() -> Result<u64, String> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").map_err(|e| e.to_string())?;
    let first = text.split(' ').next().and_then(|number| number.parse().ok());
    first.ok_or_else(|| "no schedstat".to_owned())
}

fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = |name: &str| status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    format!("{} {}", line("VmRSS"), line("VmHWM")).replace('\t', " ")
}
