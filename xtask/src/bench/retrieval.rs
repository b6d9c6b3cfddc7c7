//! What authorised search costs and finds: `cargo xtask bench --retrieval`.
//!
//! Figures are kept by the number of chunks: a run with a million does not take away what is known
//! of a hundred thousand.

use crate::process::{cargo, run as run_command, target};
use anyhow::{Context, Result};
use serde_json::{Map, Value};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Measures into a file of its own: every way, or the embedded one alone.
pub(super) fn measure(root: &Path, chunks: usize, is_embedded_alone: bool) -> Result<()> {
    let package = ["build", "--release", "-p", "lockgate-retrieval", "--example", "search_bench"];
    run_command(&mut cargo(root, &package))?;
    let mut bench = Command::new(target(root).join("release/examples/search_bench"));
    bench.current_dir(root).arg(chunks.to_string()).arg(file(root));
    run_command(bench.args(is_embedded_alone.then_some("embedded")))
}

fn file(root: &Path) -> PathBuf {
    target(root).join("bench-retrieval.json")
}

/// What was known, with what was measured last.
pub(super) fn merged(root: &Path, known: Option<&Value>) -> Result<Value> {
    let mut all = known.and_then(Value::as_object).cloned().unwrap_or_default();
    let newest = file(root);
    if newest.is_file() {
        let text = std::fs::read_to_string(&newest).context("reading the figures of search")?;
        let figures: Value =
            serde_json::from_str(&text).context("reading the figures of search")?;
        let chunks = figures.get("chunks").and_then(Value::as_u64).unwrap_or(0);
        all.insert(chunks.to_string(), figures);
    }
    Ok(Value::Object(all))
}

/// The part of the page.
pub(super) fn page(page: &mut String, figures: &Value) -> Result<()> {
    let Some(all) = figures.as_object().filter(|all| !all.is_empty()) else { return Ok(()) };
    page.push_str(HEAD);
    let mut sizes: Vec<(u64, &Value)> = numbered(all);
    sizes.sort_by_key(|(chunks, _)| *chunks);
    for (chunks, figures) in sizes {
        one_size(page, chunks, figures)?;
    }
    Ok(())
}

fn numbered(all: &Map<String, Value>) -> Vec<(u64, &Value)> {
    all.iter().map(|(chunks, figures)| (chunks.parse().unwrap_or(0), figures)).collect()
}

fn one_size(page: &mut String, chunks: u64, figures: &Value) -> Result<()> {
    writeln!(
        page,
        "\n{chunks} chunks, vectors of {:.0} numbers, {:.0} questions of each share at most:\n\n\
         | readable | way | recall@10 | fewest found of 10 | p50 ms | p99 ms | of embedded \
         | own processor ms |\n|---:|---|---:|---:|---:|---:|---:|---:|",
        number(figures, "dimensions"),
        number(figures, "rounds"),
    )?;
    let ways = || rows(figures, "ways");
    let shares = ways().next().map_or(0, |way| rows(way, "readable").count());
    for share in 0..shares {
        let of = |way| rows(way, "readable").nth(share).unwrap_or(&Value::Null);
        let embedded = ways().next().map_or(0.0, |way| number(of(way), "p50_ms"));
        for way in ways() {
            let row = of(way);
            let name = way.get("way").and_then(Value::as_str).unwrap_or_default();
            writeln!(
                page,
                "| {} % | {name} | {:.3} | {:.0} | {:.1} | {:.1} | {:.1} | {:.1} |",
                number(row, "percent"),
                number(row, "recall_at_10"),
                number(row, "fewest_found"),
                number(row, "p50_ms"),
                number(row, "p99_ms"),
                number(row, "p50_ms") / embedded,
                number(row, "own_processor_mean_ms"),
            )?;
        }
    }
    page.push_str(
        "\n| way | ingested/s | until it can be asked, s | memory MiB | disk MiB \
         | a share of a folder in force, p50 ms |\n|---|---:|---:|---:|---:|---:|\n",
    );
    for way in ways().filter(|way| way.get("ingested_per_s").is_some()) {
        writeln!(
            page,
            "| {} | {:.0} | {:.1} | {:.0} | {:.0} | {:.1} |",
            way.get("way").and_then(Value::as_str).unwrap_or_default(),
            number(way, "ingested_per_s"),
            number(way, "opened_s"),
            number(way, "memory_mib"),
            number(way, "disk_mib"),
            number(way, "permit_p50_ms"),
        )?;
    }
    Ok(())
}

fn number(value: &Value, name: &str) -> f64 {
    value.get(name).and_then(Value::as_f64).unwrap_or(0.0)
}

fn rows<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value.get(name).and_then(Value::as_array).into_iter().flatten()
}

const HEAD: &str = "\n## Search in what may be seen\n\nThe same chunks and questions for each way, \
one question at a time, filter and decisions included, where a thousandth, a hundredth, a tenth \
and all may be read ([retrieval](retrieval.md)). Recall is of vectors, held against an exact \
comparison of all that may be read; times are of questions with four words and a vector.\n\n\
*pgvector with row-level security* is what many would write instead: one table, a policy over the \
shares of folders, the ten nearest and the ten best by PostgreSQL's own rank of words, their ranks \
added up; no snapshots, no decisions, and a rank that knows nothing of how common a word is. Its \
HNSW index (of pgvector 0.6) finds first and leaves out afterwards. Memory is that of this \
process, or of the server's. *Own processor* is what the asking thread takes on average, whatever \
others take away from it: of the embedded corpus all that a question costs, of the others what is \
done outside of the server.\n";
