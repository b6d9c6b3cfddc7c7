//! `cargo xtask bench`: the governed call, measured beside a direct one and a transparent proxy.
//!
//! The measuring itself is in `crates/sim/src/bench`; here it is built, run, and written down:
//! `target/bench.json` always, `docs/benchmarks.json` and `docs/benchmarks.md` with `--write`.

use crate::process::{cargo, run as run_command, target};
use anyhow::{Context, Result};
use serde_json::Value;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Short measurements: to see that it runs, not what it costs.
    #[arg(long)]
    quick: bool,
    /// Write the figures into `docs/`.
    #[arg(long)]
    write: bool,
    /// Measure nothing: take the figures of the last run.
    #[arg(long)]
    last: bool,
}

/// Measures and prints.
pub(crate) fn run(root: &Path, arguments: &Arguments) -> Result<()> {
    if !arguments.last {
        measure(root, arguments.quick)?;
    }
    if arguments.write {
        write(root)?;
    }
    Ok(())
}

fn measure(root: &Path, is_quick: bool) -> Result<()> {
    // Apart from the example: what only tests and examples need would be switched on in the gate,
    // which would not be the one that is released.
    let gate = ["build", "--release", "-p", "lockgate", "-p", "lockgate-sim", "--bins"];
    run_command(&mut cargo(root, &gate))?;
    let example = ["build", "--release", "-p", "lockgate-store", "--example", "append_bench"];
    run_command(&mut cargo(root, &example))?;
    let example = ["build", "--release", "-p", "lockgate-detect", "--example", "scan_bench"];
    run_command(&mut cargo(root, &example))?;
    let example = ["build", "--release", "-p", "lockgate-core", "--example", "flow_bench"];
    run_command(&mut cargo(root, &example))?;
    let release = target(root).join("release");
    let out = figures_file(root);
    let mut bench = Command::new(release.join("lockgate-bench"));
    bench.current_dir(root).arg("run").arg(release.join("lockgate")).arg(&out);
    if is_quick {
        bench.arg("quick");
    }
    run_command(&mut bench)
}

fn figures_file(root: &Path) -> PathBuf {
    target(root).join("bench.json")
}

fn write(root: &Path) -> Result<()> {
    let text = std::fs::read_to_string(figures_file(root)).context("reading the figures")?;
    let figures: Value = serde_json::from_str(&text).context("reading the figures")?;
    std::fs::write(root.join("docs/benchmarks.json"), format!("{}\n", text.trim_end()))?;
    std::fs::write(root.join("docs/benchmarks.md"), page(&figures)?)?;
    println!("bench: wrote docs/benchmarks.json and docs/benchmarks.md");
    Ok(())
}

/// The page, made of the figures alone.
pub(crate) fn page(figures: &Value) -> Result<String> {
    let number = |value: &Value, name: &str| value.get(name).and_then(Value::as_f64).unwrap_or(0.0);
    let text = |value: &Value, name: &str| {
        value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let mut page = String::from(HEAD);
    writeln!(
        page,
        "{} policies, medians of {} rounds of {} s; raw `fdatasync` of 4 KiB: {:.0} µs; the gate's \
         memory at most {:.0} MiB.\n",
        number(figures, "policies"),
        number(figures, "rounds"),
        number(figures, "seconds"),
        number(figures, "fdatasync_us"),
        number(figures, "rss_mib"),
    )?;
    page.push_str(
        "| connections | era | way | p50 µs | p99 µs | added to proxy p50 µs | calls/s \
         | CPU ms per call |\n\
         |---:|---|---|---:|---:|---:|---:|---:|\n",
    );
    for cell in figures.get("cells").and_then(Value::as_array).into_iter().flatten() {
        writeln!(
            page,
            "| {} | {} | {} | {:.0} | {:.0} | {:.0} | {:.0} | {:.3} |",
            number(cell, "connections"),
            text(cell, "era"),
            text(cell, "way"),
            number(cell, "p50_us"),
            number(cell, "p99_us"),
            number(cell, "added_to_proxy_p50_us"),
            number(cell, "rate"),
            number(cell, "cpu_ms_per_call"),
        )?;
    }
    page.push_str(
        "\n## The decision alone\n\n| policies | median µs | mean µs of thread CPU |\n\
         |---:|---:|---:|\n",
    );
    for one in figures.get("decide").and_then(Value::as_array).into_iter().flatten() {
        let (policies, median) = (number(one, "policies"), number(one, "median_us"));
        writeln!(page, "| {policies} | {median:.1} | {:.1} |", number(one, "mean_cpu_us"))?;
    }
    record(&mut page, figures.get("store").unwrap_or(&Value::Null))?;
    detect(&mut page, figures.get("detect").unwrap_or(&Value::Null))?;
    flow(&mut page, figures.get("flow").unwrap_or(&Value::Null))?;
    Ok(page)
}

/// What knowing where values came from costs.
fn flow(page: &mut String, figures: &Value) -> Result<()> {
    if figures.as_object().is_none() {
        return Ok(());
    }
    let number = |figures: &Value, name: &str| -> f64 {
        figures.get(name).and_then(Value::as_f64).unwrap_or_default()
    };
    writeln!(
        page,
        "\n## Where values came from\n\nA session of 100 results, {:.0} bytes in all, of which \
         {:.0} bytes are remembered; then a call with five values, under the shipped rules. \
         Medians.\n\n| what | µs |\n|---|---:|\n\
         | remembering one result | {:.1} |\n| tracing the call | {:.1} |\n\
         | deciding it, with the rules | {:.1} |\n| deciding it, without | {:.1} |\n\
         | added to a decision | {:.1} |",
        number(figures, "result_bytes"),
        number(figures, "remembered_bytes"),
        number(figures, "observe_us"),
        number(figures, "trace_us"),
        number(figures, "decide_flow_us"),
        number(figures, "decide_plain_us"),
        number(figures, "added_us"),
    )?;
    Ok(())
}

/// What looking for signals costs.
fn detect(page: &mut String, figures: &Value) -> Result<()> {
    let Some(figures) = figures.as_object() else { return Ok(()) };
    page.push_str(
        "\n## The detectors alone\n\nMiB for each second of one core. *Clean* texts have nothing \
         to find: of all detectors together, and of each the slower of both texts. Texts *built to \
         hurt* consist of what makes one of them work.\n\n| text | MiB/s |\n|---|---:|\n",
    );
    for (text, speed) in figures {
        writeln!(page, "| {text} | {:.0} |", speed.as_f64().unwrap_or(0.0))?;
    }
    Ok(())
}

/// What the record costs without anything around it.
fn record(page: &mut String, store: &Value) -> Result<()> {
    let at = |value: &Value, path: &[&str]| {
        let found = path.iter().try_fold(value, |value, name| value.get(name));
        found.and_then(Value::as_f64).unwrap_or(0.0)
    };
    let full = store.get("durability_full").unwrap_or(&Value::Null);
    writeln!(
        page,
        "\n## The record alone\n\nIntents of {:.0} bytes, outcomes of {:.0}, and what they \
         carried, sealed. Raw `fdatasync` of 1 KiB: {:.0} µs; one row in raw SQLite: {:.0} µs. \
         A log of {:.0} entries is verified at {:.0} entries/s.\n\n\
         | what | durable | at once | p50 µs | p99 µs | per second |\n\
         |---|---|---:|---:|---:|---:|",
        at(store, &["entry_bytes", "intent"]),
        at(store, &["entry_bytes", "outcome"]),
        at(store, &["fdatasync", "p50_us"]),
        at(store, &["sqlite_row", "p50_us"]),
        at(full, &["verify", "entries"]),
        at(full, &["verify", "entries_per_second"]),
    )?;
    for (durability, word) in [("durability_full", "yes"), ("durability_off", "no")] {
        for (name, what, at_once) in [
            ("read_1", "read: intent and outcome in one commit", 1),
            ("read_32", "read: intent and outcome in one commit", 32),
            ("write_1", "write: two commits", 1),
            ("write_32", "write: two commits", 32),
            ("append_256", "refusal: one entry", 256),
        ] {
            let cell = |figure: &str| at(store, &[durability, name, figure]);
            writeln!(
                page,
                "| {what} | {word} | {at_once} | {:.0} | {:.0} | {:.0} |",
                cell("p50_us"),
                cell("p99_us"),
                cell("calls_per_second"),
            )?;
        }
    }
    Ok(())
}

const HEAD: &str = "# What a governed call costs\n\n\
Generated by `cargo xtask bench --write` from `benchmarks.json`. Client, gate and upstream share \
the machine; everything is measured in one run, in turn, because machines are noisy: look at \
ratios and differences between neighbours.\n\n\
*Governed* means: a verified token (cached), two legs of policy with about 15 candidates each, \
arguments checked against their schema, fields redacted, intent and outcome in a Merkle log with \
encrypted payloads. *Not durable* runs with `synchronous=OFF`, to show what is left when the disk \
is not waited for.\n\n";
