//! `lockgate-bench`: the programs of the benchmark. `cargo xtask bench` builds and runs it.

use anyhow::{Context, Result, bail};
use lockgate_sim::bench::{proxy, run, upstream};
use std::path::PathBuf;

const USAGE: &str = "usage: lockgate-bench upstream | proxy ADDRESS | run GATE OUT.json [quick]";

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
        _ => bail!(USAGE),
    }
}
