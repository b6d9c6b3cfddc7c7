//! `lockgate redteam`: attack corpora, replayed against the bundle you run, without a model.
//!
//! A corpus is what agents did: calls, what the tools answered, and which calls an attacker had a
//! compromised model make. Every call is decided as it would be; what was not allowed never
//! happened.

mod bundle;
mod corpus;
mod run;

use crate::check;
use crate::output::{Output, Progress};
use crate::place::Place;
use anyhow::{Result, anyhow};
use corpus::{Corpus, Episode};
use lockgate_core::World;
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
    let files = place.read_bundle()?;
    let corpus = corpus::read(&arguments.corpus)?;
    let files = bundle::with_corpus(&files, &corpus, None)?;
    let world = World::load(&files).map_err(|mistakes| anyhow!(check::report(&mistakes)))?;
    let report = replay(&world, &corpus, arguments.episodes, output)?;
    output.json(&report.to_json());
    Ok(if report.succeeded.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[derive(Default)]
struct Report {
    benign: u64,
    without_approval: u64,
    with_approver: u64,
    approvals: u64,
    attacks: u64,
    succeeded: Vec<String>,
    by_class: std::collections::BTreeMap<String, (u64, u64)>,
    stopped_by: Counts,
}

fn replay(world: &World, corpus: &Corpus, names: bool, output: &Output) -> Result<Report> {
    let mut report = Report::default();
    let all = corpus.benign.len() + corpus.attacks.len();
    let mut progress = Progress::new("episodes");
    let mut done = 0;
    let mut tick = |progress: &mut Progress| {
        done += 1;
        progress.at(done, u64::try_from(all).unwrap_or(u64::MAX));
    };
    for episode in &corpus.benign {
        let alone = run::run(world, episode, false)?;
        let with = run::run(world, episode, true)?;
        report.benign += 1;
        report.without_approval += u64::from(alone.is_done());
        report.with_approver += u64::from(with.is_done());
        report.approvals += u64::try_from(with.approvals).unwrap_or_default();
        if names && !alone.is_done() {
            describe(episode, &alone, output);
        }
        tick(&mut progress);
    }
    for episode in corpus.attacks.iter().filter(|episode| !episode.is_text_only) {
        let ran = run::run(world, episode, false)?;
        report.attacks += 1;
        let class = report.by_class.entry(episode.class.clone()).or_default();
        class.0 += 1;
        if ran.has_been_attacked() {
            class.1 += 1;
            report.succeeded.push(episode.name.clone());
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
        let succeeded: Vec<Json> = self.succeeded.iter().map(|name| name.as_str().into()).collect();
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
