//! Runs episodes through a gate that runs: an MCP client with a person's token in front of it, the
//! corpus's tools behind it. Every episode has a person of its own, so that what one has read does
//! not reach another.

use super::bundle::{APPROVER, Live, WHO, upstream, with_corpus};
use super::corpus::{Corpus, Episode, Step};
use super::run::{Became, Ran};
use super::standin::StandIn;
use crate::agent::{Agent, ToolAnswer};
use crate::client::{GateClient, development_token};
use crate::place::Place;
use crate::up::{self, Running};
use anyhow::{Context, Result, bail};
use lockgate_core::World;
use lockgate_core::world::Files;
use lockgate_store::Durability;
use lockgate_types::call::Effect;
use lockgate_types::{Code, Json, Object, OperationName, UpstreamName};
use std::path::Path;
use tokio::runtime::Runtime;

/// A gate under attack.
pub(super) struct Bench {
    runtime: Runtime,
    tools: StandIn,
    place: Place,
    gate: String,
    /// The gate, if it was started for this.
    running: Option<Running>,
    world: World,
}

/// The people of a run: one for each episode and way of running it.
pub(super) fn people(corpus: &Corpus) -> Vec<(String, Vec<String>)> {
    let benign = corpus.benign.iter().flat_map(|episode| [(episode, false), (episode, true)]);
    let attacks = corpus.attacks.iter().map(|episode| (episode, false));
    benign
        .chain(attacks)
        .map(|(episode, has_approver)| (person(episode, has_approver), episode.own.clone()))
        .collect()
}

fn person(episode: &Episode, has_approver: bool) -> String {
    let plain = episode.name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' });
    let plain: String = plain.collect();
    format!("{plain}{}", if has_approver { "-approved" } else { "" })
}

/// Writes the bundle that a gate needs for a corpus.
pub(super) fn prepare(
    files: &Files,
    corpus: &Corpus,
    (tools, gate): (&str, &str),
    directory: &Path,
) -> Result<()> {
    let people = people(corpus);
    let live = Live { tools, gate, people: &people };
    for (name, bytes) in with_corpus(files, corpus, Some(&live))? {
        let path = directory.join(name);
        let failed = || format!("writing `{}`", path.display());
        std::fs::create_dir_all(path.parent().unwrap_or(directory)).with_context(failed)?;
        std::fs::write(&path, bytes).with_context(failed)?;
    }
    Ok(())
}

impl Bench {
    /// Starts a gate with the bundle and the corpus's tools, in a directory of its own.
    pub(super) fn start(files: &Files, corpus: &Corpus, directory: &Path) -> Result<Self> {
        let runtime = crate::runtime()?;
        let bundle = directory.join("bundle");
        let place = Place::at(bundle.clone());
        let (tools, running) = runtime.block_on(async {
            let tools = StandIn::start(corpus, "127.0.0.1:0").await?;
            prepare(files, corpus, (tools.address(), "127.0.0.1:0"), &bundle)?;
            let (durability, stops) = (Durability::Off, up::Stops::ByCaller);
            let start = up::Start { durability, node: None, awake: None, stops };
            anyhow::Ok((tools, up::start(&place, start).await?))
        })?;
        let (gate, world) = (running.url().to_owned(), load(&place)?);
        Ok(Self { runtime, tools, place, gate, running: Some(running), world })
    }

    /// Uses a gate that runs with a prepared bundle.
    pub(super) fn attach(place: &Place, corpus: &Corpus, gate: &str) -> Result<Self> {
        let (runtime, world) = (crate::runtime()?, load(place)?);
        let suite = corpus.suites.keys().next().context("the corpus has no suites")?;
        let declared = world.gate.upstream.get(&upstream(suite));
        let url = declared.and_then(|upstream| upstream.url.clone());
        let Some(url) = url else {
            bail!(
                "the bundle of that gate does not know the corpus's tools (hint: prepare one with \
                 `lockgate redteam --corpus … --prepare DIR`, and start it with \
                 `lockgate --bundle DIR up`)"
            );
        };
        let address = url.split("://").last().and_then(|rest| rest.split('/').next());
        let address = address.context("the address of the corpus's tools")?.to_owned();
        let tools = runtime.block_on(StandIn::start(corpus, &address))?;
        let (place, gate) = (place.clone(), gate.trim_end_matches('/').to_owned());
        Ok(Self { runtime, tools, place, gate, running: None, world })
    }

    /// Stops the gate, if it was started for this.
    pub(super) fn stop(self) -> Result<()> {
        match self.running {
            Some(running) => self.runtime.block_on(running.stop()),
            None => Ok(()),
        }
    }

    /// Runs an episode.
    pub(super) fn run(&self, episode: &Episode, has_approver: bool) -> Result<Ran> {
        self.runtime.block_on(self.run_episode(episode, has_approver))
    }

    async fn run_episode(&self, episode: &Episode, has_approver: bool) -> Result<Ran> {
        let person = person(episode, has_approver);
        let token = development_token(&self.place, &person, WHO)?;
        let client = GateClient::at(self.gate.clone(), Some(token))?;
        let path = format!("/mcp/{}", upstream(&episode.suite));
        let mut agent = Agent::open(client, &path).await?;
        let mut ran = Ran { steps: Vec::new(), approvals: 0 };
        for step in &episode.steps {
            let (mut became, answer) = self.propose(&mut agent, episode, step).await?;
            if matches!(became, Became::Waits(_)) {
                let is_wanted = has_approver && !step.is_attack;
                self.answer(&answer, is_wanted).await?;
                if is_wanted {
                    ran.approvals += 1;
                    became = self.propose(&mut agent, episode, step).await?.0;
                }
            }
            ran.steps.push((step.is_attack, self.effect(episode, step), became));
        }
        Ok(ran)
    }

    async fn propose(
        &self,
        agent: &mut Agent,
        episode: &Episode,
        step: &Step,
    ) -> Result<(Became, ToolAnswer)> {
        self.tools.will_answer(step.result.clone());
        let answer = agent.call_for(&episode.prompt, &step.tool, step.arguments.clone()).await?;
        let asked = self.tools.asked();
        let became = match (&answer.refusal, asked.as_slice()) {
            (None, [only]) if *only == step.arguments => Became::Allowed,
            (None, [_]) => Became::Changed,
            (Some(refusal), []) => refused(refusal),
            _ => bail!(
                "the gate and the tool do not agree whether `{}` was called: {}",
                step.tool,
                String::from_utf8_lossy(&answer.body.to_bytes())
            ),
        };
        Ok((became, answer))
    }

    /// Agrees to a request, or says no, so that no more wait than may.
    async fn answer(&self, answer: &ToolAnswer, agrees: bool) -> Result<()> {
        let refusal = answer.refusal.as_ref().context("what waits is a refusal")?;
        let approval = refusal.get("approval").context("what waits has a request")?;
        let call = approval.get("call").and_then(Json::as_str).context("the request has a call")?;
        let token = development_token(&self.place, APPROVER, APPROVER)?;
        let client = GateClient::at(self.gate.clone(), Some(token))?;
        if !agrees {
            let body = Object::new().with("reason", "nobody has asked for it");
            client.post(&format!("/v1/approvals/{call}/deny"), &body.into()).await?;
            return Ok(());
        }
        let requirements = approval.get("requirements").and_then(Json::as_array);
        for requirement in requirements.unwrap_or_default() {
            let body = Object::new()
                .with("reason", "the person wants it")
                .with("requirement", requirement.clone());
            client.post(&format!("/v1/approvals/{call}/give"), &body.into()).await?;
        }
        Ok(())
    }

    fn effect(&self, episode: &Episode, step: &Step) -> Effect {
        let name = UpstreamName::new(&upstream(&episode.suite)).ok();
        let name = name.and_then(|upstream| OperationName::tool(&upstream, &step.tool).ok());
        let declared = name.and_then(|name| self.world.operations.get(&name));
        declared.map_or(Effect::Destructive, |declared| declared.effect)
    }
}

fn load(place: &Place) -> Result<World> {
    World::load(&place.read_bundle()?)
        .map_err(|mistakes| anyhow::anyhow!(crate::check::report(&mistakes)))
}

fn refused(refusal: &Json) -> Became {
    let code = refusal.get("code").and_then(Json::as_str).unwrap_or_default();
    let policies = refusal.get("policies").and_then(Json::as_array).unwrap_or_default();
    let mut by: Vec<String> = policies.iter().filter_map(Json::as_str).map(str::to_owned).collect();
    if by.is_empty() {
        by.push(code.to_owned());
    }
    if code == Code::ApprovalRequired.as_str() { Became::Waits(by) } else { Became::Refused(by) }
}
