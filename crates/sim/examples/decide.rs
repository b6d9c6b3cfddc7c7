//! How long a decision takes: median of single calls, sizes interleaved. `cargo run --release -p
//! lockgate-sim --example decide`

#![allow(clippy::print_stdout, reason = "a measurement prints its result")]

use lockgate_core::{World, decide};
use lockgate_sim::fixture;
use lockgate_types::facts::Facts;
use std::hint::black_box;
use std::time::Instant;

const SIZES: [usize; 4] = [10, 100, 1000, 10_000];
const CALLS: usize = 256;
const ROUNDS: usize = 100;

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
        cases.push(Case { policies: size, world, facts, samples: Vec::new(), cpu_ns: 0 });
    }
    for _ in 0..ROUNDS {
        for case in &mut cases {
            let start = cpu_ns()?;
            for facts in &case.facts {
                let begin = Instant::now();
                black_box(decide(&case.world, facts));
                case.samples.push(begin.elapsed().as_nanos());
            }
            case.cpu_ns += cpu_ns()? - start;
        }
    }
    for case in &mut cases {
        case.samples.sort_unstable();
        let at = |part: usize| {
            let nanos = case.samples.get(case.samples.len() * part / 100).copied();
            nanos.unwrap_or_default() as f64 / 1000.0
        };
        let cpu = case.cpu_ns as f64 / 1000.0 / case.samples.len() as f64;
        println!(
            "{} policies: decide() median {:.1} µs, p90 {:.1} µs; mean thread CPU {cpu:.1} µs",
            case.policies,
            at(50),
            at(90),
        );
    }
    Ok(())
}

struct Case {
    policies: usize,
    world: World,
    facts: Vec<Facts>,
    /// Nanoseconds of single calls: a call that the scheduler interrupted is an outlier.
    samples: Vec<u128>,
    /// The kernel counts in ticks, so only long sums mean anything.
    cpu_ns: u64,
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
