//! `cargo xtask bench`: the governed call, measured beside a direct one and a transparent proxy.
//!
//! The measuring itself is in `crates/sim/src/bench`; here it is built, run, and written down:
//! `target/bench.json` always, `docs/benchmarks.json` and `docs/benchmarks.md` with `--write`.

mod retrieval;

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
    /// Measure the face for models, and not what calls of tools cost.
    #[arg(long)]
    models: bool,
    /// With `--models`: LiteLLM as well, which installs 120 packages.
    #[arg(long, requires = "models")]
    litellm: bool,
    /// With `--models`: look at the memory after so many requests.
    #[arg(long, requires = "models", default_value_t = 0)]
    soak: u64,
    /// Measure search in what may be seen, and not what calls cost.
    #[arg(long, conflicts_with = "models")]
    retrieval: bool,
    /// With `--retrieval`: how many chunks there are.
    #[arg(long, requires = "retrieval", default_value_t = 100_000)]
    chunks: usize,
    /// With `--retrieval`: the embedded corpus alone, and nothing beside it.
    #[arg(long, requires = "retrieval")]
    embedded: bool,
}

/// Measures and prints.
pub(crate) fn run(root: &Path, arguments: &Arguments) -> Result<()> {
    match arguments {
        Arguments { last: true, .. } => {}
        Arguments { retrieval: true, chunks, embedded, .. } => {
            retrieval::measure(root, *chunks, *embedded)?;
        }
        Arguments { models: true, .. } => measure_models(root, arguments)?,
        Arguments { quick, .. } => measure(root, *quick)?,
    }
    if arguments.write {
        write(root)?;
    }
    Ok(())
}

fn measure_models(root: &Path, arguments: &Arguments) -> Result<()> {
    let gate = ["build", "--release", "-p", "lockgate", "-p", "lockgate-sim", "--bins"];
    run_command(&mut cargo(root, &gate))?;
    let release = target(root).join("release");
    let (seconds, rounds) = if arguments.quick { ("0.5", "1") } else { ("2", "5") };
    let mut bench = Command::new(release.join("lockgate-bench"));
    bench.current_dir(root).arg("models").arg(release.join("lockgate"));
    bench.arg(models_file(root)).args([seconds, rounds, &arguments.soak.to_string()]);
    if arguments.litellm {
        bench.arg("litellm");
    }
    run_command(&mut bench)
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

fn models_file(root: &Path) -> PathBuf {
    target(root).join("bench-models.json")
}

/// Writes down the newest figures that there are; of what was not measured here the old ones stay.
fn write(root: &Path) -> Result<()> {
    let known = root.join("docs/benchmarks.json");
    let read = |path: &Path| -> Result<Value> {
        let text = std::fs::read_to_string(path).context("reading the figures")?;
        serde_json::from_str(&text).context("reading the figures")
    };
    let old = read(&known)?;
    let newest = figures_file(root);
    let mut figures = if newest.is_file() { read(&newest)? } else { old.clone() };
    let models = models_file(root);
    let models = if models.is_file() { Some(read(&models)?) } else { old.get("models").cloned() };
    let search = retrieval::merged(root, old.get("retrieval"))?;
    if let Some(figures) = figures.as_object_mut() {
        figures.extend(models.map(|models| ("models".to_owned(), models)));
        figures.insert("retrieval".to_owned(), search);
    }
    std::fs::write(&known, format!("{figures:#}\n"))?;
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
    models(&mut page, figures.get("models").unwrap_or(&Value::Null))?;
    retrieval::page(&mut page, figures.get("retrieval").unwrap_or(&Value::Null))?;
    Ok(page)
}

/// What the face for models costs, beside others.
fn models(page: &mut String, figures: &Value) -> Result<()> {
    if figures.as_object().is_none() {
        return Ok(());
    }
    let number = |value: &Value, name: &str| value.get(name).and_then(Value::as_f64).unwrap_or(0.0);
    let rows = |name: &str| figures.get(name).and_then(Value::as_array).into_iter().flatten();
    let text = |value: &Value, name: &str| {
        value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    page.push_str(MODELS_HEAD);
    let floor = |asked: &str| {
        let is_floor = |row: &&Value| text(row, "asked") == asked && text(row, "way") == "floor";
        rows("saturated").find(is_floor).map_or(0.0, |row| number(row, "cpu_us"))
    };
    for row in rows("saturated") {
        let (asked, cpu) = (text(row, "asked"), number(row, "cpu_us"));
        writeln!(
            page,
            "| {asked} | {} | {:.0} | {:.0} | {:.0} | {cpu:.0} | {:.1} |",
            text(row, "way"),
            number(row, "rate"),
            number(row, "p50_us"),
            number(row, "p99_us"),
            cpu / floor(&asked),
        )?;
    }
    page.push_str(
        "\nOne at a time, with a pause of 5 ms before each: microseconds to the first byte of the \
         answer's body, to its end, and the longest pause within it.\n\n\
         | asked | way | first p50 | first p99 | whole p50 | pause p99 |\n\
         |---|---|---:|---:|---:|---:|\n",
    );
    for row in rows("near_idle") {
        writeln!(
            page,
            "| {} | {} | {:.0} | {:.0} | {:.0} | {:.0} |",
            text(row, "asked"),
            text(row, "way"),
            number(row, "first_p50_us"),
            number(row, "first_p99_us"),
            number(row, "whole_p50_us"),
            number(row, "gap_p99_us"),
        )?;
    }
    if let Some(disk) = figures.get("near_idle_fdatasync_us").and_then(Value::as_f64) {
        writeln!(
            page,
            "\nAfter such a pause the disk alone takes {disk:.0} µs for one `fdatasync` of 4 KiB, \
             which the gate waits for before anything is sent: its intent is durable by then."
        )?;
    }
    overload(page, figures)
}

/// What happens beyond what there is time for, and how much memory it takes.
fn overload(page: &mut String, figures: &Value) -> Result<()> {
    let number = |value: &Value, name: &str| value.get(name).and_then(Value::as_f64).unwrap_or(0.0);
    page.push_str(
        "\nAt a rate that waits for nobody, in shares of what it can do; times from when a request \
         was due, and of refusals from when it was sent as well. *Late* is how much of them passed \
         before that, *unsent* what found every connection taken.\n\n\
         | offered/s | answered/s | p50 ms | p99 ms | refused | refused within, p99 ms | \
         once sent, p50, p99 ms | late, p99 ms | unsent |\n\
         |---:|---:|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    let rows = figures.pointer("/overload/rows").and_then(Value::as_array);
    for row in rows.into_iter().flatten() {
        writeln!(
            page,
            "| {:.0} | {:.0} | {:.1} | {:.1} | {:.0} of {:.0} | {:.1} | {:.1}, {:.1} | {:.1} | \
             {:.0} |",
            number(row, "offered"),
            number(row, "answered"),
            number(row, "p50_us") / 1000.0,
            number(row, "p99_us") / 1000.0,
            number(row, "refused"),
            number(row, "of"),
            number(row, "refused_p99_us") / 1000.0,
            number(row, "refused_once_sent_p50_us") / 1000.0,
            number(row, "refused_once_sent_p99_us") / 1000.0,
            number(row, "late_p99_us") / 1000.0,
            number(row, "unsent"),
        )?;
    }
    memory(page, figures.get("memory").unwrap_or(&Value::Null))
}

/// How much memory it holds.
fn memory(page: &mut String, memory: &Value) -> Result<()> {
    let number = |value: &Value, name: &str| value.get(name).and_then(Value::as_f64);
    let mib = |name: &str| number(memory, name).unwrap_or(0.0);
    let soaked = memory.get("soaked").and_then(Value::as_array).and_then(|all| all.last());
    let highest = number(memory, "most_at_streams_mib").map_or(String::new(), |most| {
        format!(
            " ({:.0} of it no page of a file; {most:.0} at its highest meanwhile, {:.0} before)",
            mib("at_streams_anonymous_mib"),
            mib("most_before_mib"),
        )
    });
    writeln!(
        page,
        "\nMemory: {:.0} MiB after the rounds, {:.0} with {:.0} streams open{highest}, at most \
         {:.0}{}.",
        mib("before_mib"),
        mib("at_streams_mib"),
        mib("streams"),
        mib("most_mib"),
        soaked.map_or(String::new(), |soaked| format!(
            "; {:.0} after {:.0} more requests, streams and long prompts among them",
            number(soaked, "mib").unwrap_or(0.0),
            number(soaked, "requests").unwrap_or(0.0),
        )),
    )?;
    Ok(())
}

const MODELS_HEAD: &str = "\n## Asking models\n\nThe same requests for chat completions to a \
provider directly, through nginx, through the *floor* (a proxy that reads the request as JSON, \
writes it again and does nothing else), and through a gate with everything on: a token, two legs \
of 1,000 policies, budgets in tokens and money reserved, secrets and personal data taken out, what \
a model proposes decided, intent and outcome durable. 16 at once. LiteLLM has nothing on.\n\n\
| asked | way | requests/s | p50 µs | p99 µs | CPU µs per request | of the floor's |\n\
|---|---|---:|---:|---:|---:|---:|\n";

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
is not waited for. Processor time is without that of the threads that keep processors of virtual \
machines awake ([operate](operate.md)), which nobody else wanted.\n\n";
