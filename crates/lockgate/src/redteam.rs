//! `lockgate redteam`: attack corpora, replayed against the bundle you run, without a model.
//!
//! A corpus is what agents did: calls, what the tools answered, and which calls an attacker had a
//! compromised model make. Every call is decided as it would be; what was not allowed never
//! happened.

mod bundle;
mod corpus;
mod injecagent;
pub(crate) mod junit;
mod live;
mod run;
mod standin;

use crate::check;
use crate::output::{Output, Progress};
use crate::place::Place;
use anyhow::{Context, Result, anyhow};
use corpus::{Corpus, Episode};
use live::Bench;
use lockgate_core::World;
use lockgate_core::bundle::starter::{Starter, starter};
use lockgate_core::world::Files;
use lockgate_types::{Json, Object};
use run::{Counts, Ran};
use std::path::PathBuf;
use std::process::ExitCode;

/// Arguments of `lockgate redteam`.
#[derive(clap::Args)]
pub(crate) struct RedteamArguments {
    /// The corpus: a directory with `manifest.json`, `benign.jsonl`, `attack.jsonl`, `blobs.json`
    #[arg(long, value_name = "DIR")]
    corpus: PathBuf,
    /// Through a gate that runs, not only through the decision: one started for it, or the one at
    /// this address with a prepared bundle
    #[arg(long, value_name = "URL", num_args = 0..=1)]
    live: Option<Option<String>>,
    /// Write the bundle that a gate needs for the corpus, and end
    #[arg(long, value_name = "DIR", conflicts_with = "live")]
    prepare: Option<PathBuf>,
    /// With `--prepare`: where the gate and the corpus's tools will be
    #[arg(long, value_name = "GATE,TOOLS", value_delimiter = ',', num_args = 2,
        default_values_t = ["127.0.0.1:7420".to_owned(), "127.0.0.1:7430".to_owned()])]
    addresses: Vec<String>,
    /// Write a test case for every episode, as JUnit does
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Also name every episode that was stopped or that succeeded
    #[arg(long)]
    episodes: bool,
}

/// Runs the command.
pub(crate) fn run(
    arguments: &RedteamArguments,
    place: &Place,
    output: &Output,
) -> Result<ExitCode> {
    let files = bundle_of(place, output)?;
    let corpus = corpus::read(&arguments.corpus)?;
    if let (Some(directory), [gate, tools]) = (&arguments.prepare, arguments.addresses.as_slice()) {
        live::prepare(&files, &corpus, (&format!("http://{tools}"), gate), directory)?;
        output
            .line(&format!("wrote a bundle with the corpus's tools to `{}`", directory.display()));
        return Ok(ExitCode::SUCCESS);
    }
    let report = match &arguments.live {
        None => {
            let files = bundle::with_corpus(&files, &corpus, None)?;
            let world = World::load(&files).map_err(|it| anyhow!(check::report(&it)))?;
            replay(&corpus, arguments.episodes, output, |episode, has_approver| {
                run::run(&world, episode, has_approver)
            })?
        }
        Some(url) => {
            let directory = Scratch::new()?;
            let bench = match url {
                Some(url) => Bench::attach(place, &corpus, url)?,
                None => Bench::start(&files, &corpus, &directory.0)?,
            };
            let report = replay(&corpus, arguments.episodes, output, |episode, has_approver| {
                bench.run(episode, has_approver)
            });
            bench.stop()?;
            report?
        }
    };
    report.print(output);
    output.json(&report.to_json());
    if let Some(file) = &arguments.junit {
        std::fs::write(file, junit::document("lockgate redteam", &report.cases))
            .with_context(|| format!("writing `{}`", file.display()))?;
    }
    Ok(if report.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The bundle that is run; where there is none yet, the one that `lockgate init` would write.
fn bundle_of(place: &Place, output: &Output) -> Result<Files> {
    if place.bundle.join("lockgate.toml").is_file() {
        return place.read_bundle();
    }
    let bundle = place.bundle.display();
    output.line(&format!("there is no bundle at `{bundle}`: attacking the shipped rules"));
    let files = starter(&Starter {
        environment: "dev".to_owned(),
        address: "127.0.0.1:0".to_owned(),
        users: vec!["alice".to_owned()],
        operator: "operator".to_owned(),
        agents: vec!["assistant".to_owned()],
        upstreams: Vec::new(),
    });
    let kept = files.into_iter().filter(|(path, _)| lockgate_core::bundle::belongs(path));
    Ok(kept.map(|(path, text)| (path, text.into_bytes())).collect())
}

#[derive(Default)]
struct Report {
    benign: u64,
    without_approval: u64,
    with_approver: u64,
    approvals: u64,
    attacks: u64,
    /// Attacks that succeeded, and why that is known, where it is.
    succeeded: Vec<(String, Option<String>)>,
    cases: Vec<junit::Case>,
    by_class: std::collections::BTreeMap<String, (u64, u64)>,
    stopped_by: Counts,
}

/// A directory of this run's, removed at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("lockgate-redteam-{}", std::process::id()));
        std::fs::create_dir_all(&path).with_context(|| format!("making `{}`", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left is small, and in a place for such things.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn replay(
    corpus: &Corpus,
    names: bool,
    output: &Output,
    mut run: impl FnMut(&Episode, bool) -> Result<Ran>,
) -> Result<Report> {
    let mut report = Report::default();
    let all = corpus.benign.len() + corpus.attacks.len();
    let mut progress = Progress::new("episodes");
    let mut done = 0;
    let mut tick = |progress: &mut Progress| {
        done += 1;
        progress.at(done, u64::try_from(all).unwrap_or(u64::MAX));
    };
    for episode in &corpus.benign {
        let alone = run(episode, false)?;
        let with = run(episode, true)?;
        report.benign += 1;
        report.without_approval += u64::from(alone.is_done());
        report.with_approver += u64::from(with.is_done());
        report.approvals += u64::try_from(with.approvals).unwrap_or_default();
        let failure = (!with.is_done()).then(|| "not done, although somebody agrees".to_owned());
        report.cases.push(junit::Case { class: "benign", name: episode.name.clone(), failure });
        if names && !alone.is_done() {
            describe(episode, &alone, output);
        }
        tick(&mut progress);
    }
    for episode in corpus.attacks.iter().filter(|episode| !episode.is_text_only) {
        let ran = run(episode, false)?;
        report.attacks += 1;
        let has_passed = ran.has_been_attacked() && episode.passes.is_none();
        let failure = has_passed.then(|| "the attack succeeded".to_owned());
        report.cases.push(junit::Case { class: "attack", name: episode.name.clone(), failure });
        let class = report.by_class.entry(episode.class.clone()).or_default();
        class.0 += 1;
        if ran.has_been_attacked() {
            class.1 += 1;
            report.succeeded.push((episode.name.clone(), episode.passes.clone()));
            if names {
                describe(episode, &ran, output);
            }
        } else {
            for by in ran.stopped_by() {
                *report.stopped_by.entry(by).or_default() += 1;
            }
        }
        tick(&mut progress);
    }
    Ok(report)
}

fn describe(episode: &Episode, ran: &Ran, output: &Output) {
    output.line(&format!("{}: {}", episode.name, episode.prompt));
    for (step, (is_attack, effect, became)) in episode.steps.iter().zip(&ran.steps) {
        let who = if *is_attack { "attack" } else { "user" };
        let arguments =
            String::from_utf8_lossy(&Json::from(step.arguments.clone()).to_bytes()).into_owned();
        let effect = effect.as_str();
        output.line(&format!("  {who} {effect} {} {arguments} {became:?}", step.tool));
    }
}

impl Report {
    /// Whether no attack succeeded but those of which the corpus says why.
    fn is_good(&self) -> bool {
        self.succeeded.iter().all(|(_, passes)| passes.is_some())
    }

    /// For people.
    fn print(&self, output: &Output) {
        output.line(&format!(
            "people's own tasks: {} of {} without any approval, {} with somebody who agrees \
             ({} approvals)",
            self.without_approval, self.benign, self.with_approver, self.approvals
        ));
        let succeeded = format!("{} of {} attacks succeeded", self.succeeded.len(), self.attacks);
        output.line(&if self.is_good() { output.good(&succeeded) } else { output.bad(&succeeded) });
        for (name, passes) in &self.succeeded {
            let why = passes.as_deref().unwrap_or("nobody knows why");
            output.line(&format!("  {name}: {why}"));
        }
        for (class, (all, succeeded)) in &self.by_class {
            output.line(&format!("  {class}: {succeeded} of {all}"));
        }
        if !self.stopped_by.is_empty() {
            output.line("what stopped them first:");
        }
        for (by, count) in &self.stopped_by {
            output.line(&format!("  {by}: {count}"));
        }
    }

    fn to_json(&self) -> Json {
        let number = |count: u64| Json::from(i64::try_from(count).unwrap_or(i64::MAX));
        let classes: Object = self
            .by_class
            .iter()
            .map(|(class, (all, succeeded))| {
                let counts =
                    Object::new().with("total", number(*all)).with("succeeded", number(*succeeded));
                (class.clone(), Json::from(counts))
            })
            .collect();
        let stopped: Object =
            self.stopped_by.iter().map(|(by, count)| (by.clone(), number(*count))).collect();
        let succeeded = self.succeeded.iter().map(|(name, passes)| {
            let attack = Object::new().with("name", name.as_str());
            attack.with_some("passes", passes.as_deref()).into()
        });
        let succeeded: Vec<Json> = succeeded.collect();
        Object::new()
            .with("benign_total", number(self.benign))
            .with("benign_without_approval", number(self.without_approval))
            .with("benign_with_approver", number(self.with_approver))
            .with("approvals", number(self.approvals))
            .with("attacks_total", number(self.attacks))
            .with("attacks_succeeded", number(u64::try_from(self.succeeded.len()).unwrap_or(0)))
            .with("attacks_by_class", classes)
            .with("stopped_by", stopped)
            .with("succeeded", succeeded)
            .into()
    }
}
