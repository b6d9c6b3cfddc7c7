//! `lockgate-bench`: the programs of the benchmark. `cargo xtask bench` builds and runs it.

use anyhow::{Context, Result, bail};
use lockgate_sim::bench::load::Era;
use lockgate_sim::bench::models::{self, floor, provider};
use lockgate_sim::bench::{proxy, run, upstream};
use std::path::PathBuf;

const USAGE: &str = "usage: lockgate-bench upstream | proxy ADDRESS | run GATE OUT.json [quick]
       lockgate-bench bundle DIRECTORY UPSTREAM
       lockgate-bench provider | floor PROVIDER
       lockgate-bench models GATE OUT.json SECONDS ROUNDS SOAK [litellm]
       lockgate-bench memory GATE SECONDS SOAK
       lockgate-bench models-bundle DIRECTORY PROVIDER
       lockgate-bench ask GATE TOKEN small|stream|slow-stream|large callers|rate|pause-ms N SECONDS
       lockgate-bench load GATE TOKEN read|write sessions|stateless CONNECTIONS SECONDS";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    // One thread, as the gate has where it shares two cores with its client and its upstream.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match words.as_slice() {
        ["upstream"] => runtime.block_on(upstream::serve()),
        ["proxy", target] => runtime.block_on(proxy::serve(target.parse().context(USAGE)?)),
        ["run", gate, out] => run::run(&runtime, &PathBuf::from(gate), &PathBuf::from(out), 2.0, 5),
        ["run", gate, out, "quick"] => {
            run::run(&runtime, &PathBuf::from(gate), &PathBuf::from(out), 0.5, 2)
        }
        ["provider"] => runtime.block_on(provider::serve()),
        ["floor", target] => runtime.block_on(floor::serve(target.parse().context(USAGE)?)),
        ["models", gate, out, seconds, rounds, soak, others @ ..] => {
            let extent = models::Extent {
                seconds: seconds.parse().context(USAGE)?,
                rounds: rounds.parse().context(USAGE)?,
                soak: soak.parse().context(USAGE)?,
                litellm: others.contains(&"litellm"),
            };
            let figures = models::run(&runtime, &PathBuf::from(gate), &extent)?;
            Ok(std::fs::write(out, format!("{figures:#}\n"))?)
        }
        ["memory", gate, seconds, soak] => {
            let (seconds, soak) = (seconds.parse()?, soak.parse().context(USAGE)?);
            let extent = models::Extent { seconds, rounds: 0, soak, litellm: false };
            models::run_memory(&runtime, &PathBuf::from(gate), &extent)
        }
        ["bundle", directory, upstream] => {
            run::write_bundle(&PathBuf::from(directory), upstream.parse().context(USAGE)?)
        }
        ["models-bundle", directory, provider] => {
            let files = models::files(provider.parse().context(USAGE)?)?;
            run::write_files(&PathBuf::from(directory), &files)
        }
        ["ask", gate, token, asked, load, number, seconds] => {
            let load = match *load {
                "callers" => models::Load::Callers(number.parse().context(USAGE)?),
                "rate" => models::Load::Rate(number.parse().context(USAGE)?),
                "pause-ms" => {
                    let ms = number.parse().context(USAGE)?;
                    models::Load::Pause(std::time::Duration::from_millis(ms))
                }
                _ => bail!(USAGE),
            };
            let gate = gate.parse().context(USAGE)?;
            models::once(&runtime, (gate, token), asked, load, seconds.parse().context(USAGE)?)
        }
        ["load", gate, token, effect, era, connections, seconds] => {
            let era = if *era == "sessions" { Era::Sessions } else { Era::Stateless };
            let (connections, seconds) = (connections.parse()?, seconds.parse()?);
            let gate = gate.parse().context(USAGE)?;
            run::once(&runtime, gate, token, *effect == "write", era, connections, seconds)
        }
        _ => bail!(USAGE),
    }
}
