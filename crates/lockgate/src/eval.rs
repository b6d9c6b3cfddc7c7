//! `lockgate eval`: suites of behaviour tests, asked of an entry of the registry through a running
//! gate, and their results.
//!
//! Every question is a call like any other, of the suite's task: under the same policies, budgets
//! and records. What the answers come to is computed by `core`, here and once more in the gate,
//! which keeps the result.

mod ask;
mod report;

use crate::check;
use crate::client::{GateArguments, GateClient};
use crate::output::{Output, Progress};
use crate::place::Place;
use anyhow::{Context, Result, anyhow, bail};
use ask::{Asked, Models};
use futures_util::StreamExt;
use lockgate_core::World;
use lockgate_core::eval::{Report, Suite, Summary};
use lockgate_types::{Json, JsonLimits, Object};
use report::{Baseline, Ran};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Seconds for which a token is good that asks all questions of a suite.
const TOKEN_SECONDS: u64 = 4 * 3600;
/// Questions that are asked at once, at most.
const AT_ONCE_MAX: i64 = 32;
/// Bytes of an earlier result that is read.
const BASELINE_BYTES_MAX: u64 = 64 << 20;

/// Arguments of `lockgate eval`.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct EvalArguments {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    run: RunArguments,
    #[command(flatten)]
    gate: GateArguments,
}

#[derive(clap::Args)]
struct RunArguments {
    /// The suite: `evals/<suite>.toml` of the bundle
    #[arg(required = true)]
    suite: Option<String>,
    /// The entry of the registry that is asked
    #[arg(long, required = true, value_name = "NAME")]
    entry: Option<String>,
    /// Questions that are asked at once
    #[arg(long, value_name = "N", default_value_t = 4,
        value_parser = clap::value_parser!(u32).range(1..=AT_ONCE_MAX))]
    at_once: u32,
    /// Write a test case for every question, as JUnit does
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// What `--json` has said earlier: also fail if something is worse than it was then
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Do not have the gate keep the result
    #[arg(long)]
    no_record: bool,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Show results that the gate has kept, the newest first
    Results {
        /// Only of that suite
        #[arg(long, value_name = "NAME")]
        suite: Option<String>,
        /// Only of that entry
        #[arg(long, value_name = "NAME")]
        entry: Option<String>,
        #[command(flatten)]
        gate: GateArguments,
    },
}

/// Runs the command.
pub(crate) fn run(arguments: &EvalArguments, place: &Place, output: &Output) -> Result<ExitCode> {
    if let Some(Action::Results { suite, entry, gate }) = &arguments.action {
        let client = GateClient::new(gate, place)?;
        let listed = list(&client, (suite.as_deref(), entry.as_deref()), output);
        return crate::runtime()?.block_on(listed);
    }
    let run = &arguments.run;
    let (Some(name), Some(entry)) = (&run.suite, &run.entry) else {
        bail!("which suite, and of which entry? (hint: `lockgate eval support --entry large`)");
    };
    let files = place.read_bundle()?;
    let world = World::load(&files).map_err(|it| anyhow!(check::report(&it)))?;
    let suite = world.suites.get(name).with_context(|| {
        let known: Vec<&str> = world.suites.keys().map(String::as_str).collect();
        format!("there is no suite `{name}` (hint: known here: `{}`)", known.join("`, `"))
    })?;
    let baseline = run.baseline.as_deref().map(read_baseline).transpose()?;
    let task = suite.task.as_str();
    let client = GateClient::for_task(&arguments.gate, place, task, TOKEN_SECONDS)?;
    let models = Models::new(&world, suite, entry)?;
    crate::runtime()?.block_on(async {
        let asked = ask_all(&client, &models, suite, run.at_once).await?;
        let mut all = Report::default();
        asked.iter().for_each(|asked| all.add(asked.answered.clone()));
        let summary = Summary::of(suite, &all);
        let kept = match run.no_record {
            true => None,
            false => Some(record(&client, suite, entry, &all).await?),
        };
        let version = models.version.clone();
        let ran = Ran { suite, entry, version, asked, summary, kept, baseline };
        ran.print(output);
        output.json(&ran.to_json());
        if let Some(file) = &run.junit {
            std::fs::write(file, ran.junit())
                .with_context(|| format!("writing `{}`", file.display()))?;
        }
        Ok(if ran.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}

/// Asks everything. The first question alone, so that what forbids them all is said once.
async fn ask_all(
    client: &GateClient,
    models: &Models<'_>,
    suite: &Suite,
    at_once: u32,
) -> Result<Vec<Asked>> {
    let questions = suite.questions();
    let count = u64::try_from(questions.len()).unwrap_or(u64::MAX);
    let mut progress = Progress::new("questions");
    let mut questions = questions.iter();
    let first = questions.next().context("the suite asks nothing")?;
    let first = models.ask(client, suite, first).await?;
    if let Some(forbidden) = &first.forbidden {
        bail!("{forbidden}");
    }
    let mut asked = vec![first];
    progress.at(1, count);
    let rest = questions.map(|question| models.ask(client, suite, question));
    let at_once = usize::try_from(at_once).unwrap_or(1);
    let mut rest = futures_util::stream::iter(rest).buffered(at_once);
    while let Some(next) = rest.next().await {
        asked.push(next?);
        progress.at(u64::try_from(asked.len()).unwrap_or(u64::MAX), count);
    }
    Ok(asked)
}

/// Has the gate keep a result. It computes it by itself.
async fn record(client: &GateClient, suite: &Suite, entry: &str, report: &Report) -> Result<Json> {
    let body = Object::new()
        .with("suite", suite.name.as_str())
        .with("digest", suite.digest.to_string())
        .with("entry", entry)
        .with("report", report.to_json().to_string());
    let kept = client.post("/v1/evaluations", &body.into()).await;
    kept.context("the answers are there, and the gate does not keep the result")
}

async fn list(
    client: &GateClient,
    (suite, entry): (Option<&str>, Option<&str>),
    output: &Output,
) -> Result<ExitCode> {
    let named = |name: &str, value: Option<&str>| value.map(|value| format!("{name}={value}"));
    let query: Vec<String> =
        [named("suite", suite), named("entry", entry)].into_iter().flatten().collect();
    let answer = client.get(&format!("/v1/evaluations?{}", query.join("&"))).await?;
    output.json(&answer);
    report::print_results(&answer, output);
    Ok(ExitCode::SUCCESS)
}

fn read_baseline(path: &Path) -> Result<Baseline> {
    let failed = || format!("reading `{}`", path.display());
    let length = std::fs::metadata(path).with_context(failed)?.len();
    if length > BASELINE_BYTES_MAX {
        bail!("`{}` is longer than {BASELINE_BYTES_MAX} bytes", path.display());
    }
    let bytes = std::fs::read(path).with_context(failed)?;
    let json = Json::parse(&bytes, &JsonLimits::OWN).with_context(failed)?;
    let wrong = || format!("`{}` is nothing that `lockgate eval --json` says", path.display());
    Baseline::read(&json).with_context(wrong)
}
