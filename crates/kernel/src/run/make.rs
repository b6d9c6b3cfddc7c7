//! Making the calls of a run.

use super::ask::is_given_up;
use super::drive::{Journey, Left};
use super::{InRun, Once};
use crate::again::repeat_of;
use crate::label::Labels;
use crate::port::{Answer, Proposal, Refusal, Reply, Resumes};
use crate::refusal::not_recorded;
use crate::reverse::Within;
use crate::words::Words;
use lockgate_core::exposure;
use lockgate_core::run::{
    Budget, Called, DEPTH_MAX, Entry, Event, OUTCOME_BYTES_MAX, Over, Parked, Perform, Performed,
    RunState, Step, next,
};
use lockgate_effects::{Caller, Presented};
use lockgate_types::call::{Call, Direction};
use lockgate_types::flow::Author;
use lockgate_types::label::{Confidentiality, Label};
use lockgate_types::{Blame, CallId, Code, Json, Object, OperationName, Retry, TaskName};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// How often a call is made again that the gate could not decide, or that has to wait a moment.
const ATTEMPTS_MAX: u32 = 6;
/// The longest moment: what takes longer the model is told.
const MOMENT_MAX: Duration = Duration::from_secs(5);

impl Journey<'_> {
    pub(super) async fn perform(&mut self, perform: Perform) -> Result<(), Left> {
        let (turn, at) = (perform.turn, perform.at);
        let event = match &perform.call {
            Called::Child { task, input } => {
                return self.start_child((turn, at), task, input).await;
            }
            Called::Person { arguments } => {
                let (operation, reply) = self.ask_people(&perform, arguments.clone()).await?;
                Box::pin(self.came((turn, at), &operation, reply)).await?
            }
            Called::Tool { operation, .. } => {
                let operation = operation.clone();
                let reply = self.call(&perform).await?;
                if is_given_up(&reply) {
                    return Ok(());
                }
                Box::pin(self.came((turn, at), &operation, reply)).await?
            }
        };
        match event {
            Event::Parked(Parked::Doubt { reason, .. }) => {
                self.park_in_doubt((turn, at), reason).await
            }
            event => self.add(event).await,
        }
    }

    /// Makes a call, as anybody's is made, under the key that its place gives it.
    async fn call(&self, perform: &Perform) -> Result<Reply, Left> {
        let mut attempts = 0;
        let found = Box::pin(self.found_of_answer(perform.turn)).await?;
        loop {
            let Some(proposal) = self.proposal(perform) else {
                return Err(Refusal::of(Code::InvariantBroken).into());
            };
            let within = Within::of_run(&self.run.id).proposing(found.clone());
            let kernel = self.kernel.clone();
            let resumes = perform.resumes.clone();
            let resumes = resumes.map(|request| Resumes { request, is_withdrawn: false });
            let reply = self
                .awaited(move |client| async move {
                    let proposal = Proposal { client, ..proposal };
                    kernel.begin(proposal, Some(within), resumes).await
                })
                .await?;
            let may_wait = |moment: &Duration| attempts < ATTEMPTS_MAX && *moment <= MOMENT_MAX;
            let Some(moment) = passing(&reply.answer).filter(may_wait) else {
                return Ok(reply);
            };
            attempts += 1;
            self.kernel.parts.clock.wait(moment).await;
            if self.stop.is_cancelled() || self.hold().await?.is_some() {
                return Ok(reply);
            }
        }
    }

    /// What was found of the answer that a call follows from: of the last one up to it, as its
    /// outcome says, and by the checks of the run.
    async fn found_of_answer(&self, turn: u32) -> Result<BTreeSet<String>, Left> {
        let turns = usize::try_from(turn).map_or(0, |turn| turn.saturating_add(1));
        let before = || self.state.turns.iter().take(turns);
        let checks = before().flat_map(|turn| &turn.checks);
        let failed = checks.filter(|(_, found)| !found.is_empty());
        let mut found: BTreeSet<String> = failed.map(|(by, _)| format!("check:{by}")).collect();
        if let Some(call) = before().rev().find_map(|turn| turn.call.as_ref()) {
            let trace = self.kernel.parts.store.trace(call).await;
            let trace = trace.map_err(|error| Left::from(not_recorded(&error)))?;
            let entries = trace.into_iter().flat_map(|trace| trace.entries);
            let own = entries.filter(|entry| {
                entry.leaf.get("call").and_then(Json::as_str) == Some(call.as_str())
            });
            for entry in own {
                let words = entry.leaf.get("findings").and_then(Json::as_array);
                let words = words.unwrap_or_default().iter().filter_map(Json::as_str);
                found.extend(words.map(str::to_owned));
            }
        }
        Ok(found)
    }

    fn proposal(&self, perform: &Perform) -> Option<Proposal> {
        let Called::Tool { upstream, tool, arguments, .. } = &perform.call else { return None };
        let run = &self.run;
        let params = Object::new().with("name", tool.as_str()).with("arguments", arguments.clone());
        let world = self.kernel.world()?;
        let id = run.id.clone();
        let call =
            Call::new(id, upstream.clone(), Direction::ToUpstream, "tools/call", params.clone());
        let call = call.ok()?;
        // What changes nothing has no key; what is done in two phases has its plan for one.
        let has_plan = world.two_phases(&call.operation, run.identity.task.as_ref()).is_some();
        let is_effect = repeat_of(&world, &call).is_some() && !has_plan;
        let caller = Caller {
            session_key: run.session.as_str().to_owned(),
            identity: Some(Arc::clone(&run.identity)),
            ..Caller::default()
        };
        let (client, _) = tokio::sync::mpsc::channel(1);
        Some(Proposal {
            identity: Arc::clone(&run.identity),
            session: Some(run.session.clone()),
            caller: Arc::new(caller),
            presented: Presented::Gone,
            upstream: upstream.clone(),
            method: "tools/call".to_owned(),
            params,
            traceparent: None,
            key: is_effect.then(|| perform.key(&run.id)),
            model: None,
            words: self.words(),
            client,
        })
    }

    /// What whoever reads what came back meets, where that is labelled piece by piece: as its
    /// outcome has it. `None`: the operation says it of all that it returns.
    async fn met(&self, call: &CallId, operation: &OperationName) -> Result<Option<Label>, Left> {
        let world = self.kernel.world();
        let is_apart = world.is_some_and(|world| exposure::is_labelled_by_piece(&world, operation));
        if !is_apart {
            return Ok(None);
        }
        let trace = self.kernel.parts.store.trace(call).await;
        let trace = trace.map_err(|error| Left::from(not_recorded(&error)))?;
        let entries = trace.into_iter().flat_map(|trace| trace.entries);
        let text = |leaf: &Json, name: &str| leaf.get(name)?.as_str().map(str::to_owned);
        let mut own = entries.filter(|it| text(&it.leaf, "call").as_deref() == Some(call.as_str()));
        let label = own.find_map(|it| Label::from_json(it.leaf.get("label")?));
        // What cannot be known may be anything.
        let unknown = || Label::of(Author::Anyone, Confidentiality::Restricted);
        Ok(Some(label.unwrap_or_else(unknown)))
    }

    /// What a call has come to, as it is written down.
    async fn came(
        &self,
        (turn, at): (u32, u32),
        operation: &OperationName,
        reply: Reply,
    ) -> Result<Event, Left> {
        let met = match &reply.answer {
            Answer::Result(_) => self.met(&reply.call, operation).await?,
            Answer::Error(_) | Answer::Refused(_) => None,
        };
        let world = self.kernel.world();
        let labels = Labels { world: world.as_deref(), operation };
        let now = self.kernel.parts.clock.now();
        let performed = |text: String, value, label, is_error| {
            Event::Performed(Box::new(Performed {
                turn,
                at,
                call: reply.call.clone(),
                text,
                value,
                label,
                is_error,
                used: [0; 3],
            }))
        };
        Ok(match &reply.answer {
            Answer::Result(result) => {
                let is_error = result.get("isError").and_then(Json::as_bool) == Some(true);
                let value = result.get("structuredContent").cloned();
                let label = labels.result(result, now);
                let label = met.map_or(label.clone(), |met| label.join(&met));
                performed(text_of(result), value, label, is_error)
            }
            Answer::Error(error) => {
                performed(error.to_json().to_string(), None, labels.error(error, now), true)
            }
            Answer::Refused(refusal) => match refusal.approval.as_deref() {
                Some(waits) if waits.is_pending() => Event::Parked(Parked::Approval {
                    turn,
                    at,
                    request: waits.call.clone(),
                    expires: waits.expires_at,
                }),
                _ if refusal.code == Code::OutcomeInDoubt => {
                    Event::Parked(Parked::Doubt { turn, at, reason: refusal.reason.clone() })
                }
                _ => Event::Refused {
                    turn,
                    at,
                    call: Some(reply.call.clone()),
                    code: refusal.code,
                    reason: refusal.to_text(),
                },
            },
        })
    }

    /// What the person has said: what the run is asked, where its opener is believed. What a model
    /// asks of a run within its own is nobody's word.
    pub(super) fn words(&self) -> Words {
        let is_within = self.state.began.as_ref().is_none_or(|began| began.within.is_some());
        let world = self.kernel.world().filter(|_| !is_within);
        let told = world.and_then(|world| {
            Words::told(&world, &self.run.opener, &self.state.input.as_str().into())
        });
        told.unwrap_or_default()
    }

    /// Asks for a call in doubt again, under its key: it happens once, and what came of it may be
    /// known by now.
    pub(super) async fn find_out(&mut self, turn: u32, at: u32) -> Result<(), Left> {
        let Some(world) = self.kernel.world() else { return Err(Left::Here) };
        let why = "it is looked again".to_owned();
        let resumed = Entry {
            at: self.kernel.parts.clock.now(),
            event: Event::Resumed { why: why.clone(), was_gone: false },
        };
        let mut state = self.state.clone();
        let is_resumed = state.apply(&resumed).is_ok();
        let step = next(&world, &state, &Default::default());
        let Step::Perform(perform) = step else {
            // The bundle does not have it any more: that is refused, once it does not wait.
            return self.add(Event::Resumed { why, was_gone: false }).await;
        };
        let Called::Tool { operation, .. } = &perform.call else { return Err(Left::Here) };
        if !is_resumed || (perform.turn, perform.at) != (turn, at) {
            return self.add(Event::Resumed { why, was_gone: false }).await;
        }
        let reply = self.call(&perform).await?;
        match Box::pin(self.came((turn, at), operation, reply)).await? {
            Event::Parked(Parked::Doubt { reason, .. }) => {
                self.park_in_doubt((turn, at), reason).await
            }
            event => {
                self.add(Event::Resumed { why, was_gone: false }).await?;
                self.add(event).await
            }
        }
    }

    /// Starts a run within this one, which is decided as whatever starts a run. Of the same call
    /// there is one.
    async fn start_child(
        &mut self,
        (turn, at): (u32, u32),
        task: &TaskName,
        input: &str,
    ) -> Result<(), Left> {
        let Some(budget) = self.budget() else { return Err(Left::Here) };
        let run = &self.run;
        let arguments = Object::new()
            .with("task", task.as_str())
            .with("input", input)
            .with("within", run.id.as_str());
        let within = InRun { run: run.id.clone(), part: format!("{turn}.{at}"), budget };
        let kernel = self.kernel;
        let mut started = None;
        let begin = async |by: CallId| {
            let asked = (task.as_str(), input);
            let once = Some(Once::Within(within));
            started = Some(kernel.start_once(&run.opener, &by, asked, once).await?);
            Ok(Json::Null)
        };
        let reply = kernel.admin(&run.opener, ("run_start", arguments), None, begin).await;
        let event = match (reply.answer, started) {
            (Answer::Refused(refusal), None) => Event::Refused {
                turn,
                at,
                call: Some(reply.call),
                code: refusal.code,
                reason: refusal.to_text(),
            },
            (_, Some(run)) => Event::Parked(Parked::Child { turn, at, run }),
            (_, None) => return Err(Refusal::of(Code::InvariantBroken).into()),
        };
        self.add(event).await
    }

    /// What is left for a run within this one.
    fn budget(&self) -> Option<Budget> {
        let world = self.kernel.world()?;
        let plan = world.runs.get(&self.state.began.as_ref()?.task)?;
        let left = plan.left(&self.state);
        let tools = plan.tools.values().map(|tool| tool.operation.as_str());
        let tools = tools.filter(|operation| self.state.may_use(operation));
        Some(Budget {
            steps: left.steps,
            tokens: left.tokens,
            spend: left.spend,
            time_us: left.time_us,
            tools: tools.map(str::to_owned).collect(),
            depth: self.state.depth().saturating_add(1).min(DEPTH_MAX),
        })
    }

    /// Hears what a run within this one has come to, if it is over. What it has used, this one has.
    pub(super) async fn hear_child(
        &mut self,
        turn: u32,
        at: u32,
        run: &CallId,
    ) -> Result<(), Left> {
        let found = self.kernel.parts.store.run(&self.run.opener, run).await;
        let found = found.map_err(|error| crate::refusal::not_recorded(&error))?;
        if found.is_some_and(|found| !found.phase.is_over()) {
            return Err(Left::Here);
        }
        let journal = self.kernel.journal(&self.run.opener, run).await?;
        let state = RunState::of(journal.iter().flatten()).unwrap_or_default();
        let why = "the run within it is over".to_owned();
        self.add(Event::Resumed { why, was_gone: false }).await?;
        let (text, is_error) = match &state.over {
            Some(Over::Finished { text, .. }) => (text.clone(), false),
            Some(Over::Stopped { why, detail }) => (format!("stopped ({why}): {detail}"), true),
            None => ("its journal cannot be read".to_owned(), true),
        };
        let met = state.turns.iter().flat_map(|turn| turn.settled());
        let label = met.fold(said(), |label, (_, outcome)| label.join(&outcome.label));
        let (call, used) = (run.clone(), [state.steps, state.tokens, state.spend]);
        let value = None;
        let performed = Performed { turn, at, call, text, value, label, is_error, used };
        self.add(Event::Performed(Box::new(performed))).await
    }
}

/// What a model says is nobody's word.
fn said() -> Label {
    lockgate_core::exposure::anyones()
}

/// Whether a refusal is about this moment alone: the gate could not decide, or another call of the
/// same is under way. How long to wait.
fn passing(answer: &Answer) -> Option<Duration> {
    let Answer::Refused(refusal) = answer else { return None };
    let is_passing = refusal.code.blame() == Blame::Lockgate
        || matches!(
            refusal.code,
            Code::EffectUnderWay | Code::RateReached | Code::UpstreamBusy | Code::UpstreamBroken
        );
    match (is_passing, refusal.retry) {
        (true, Retry::AfterMs(ms)) => Some(Duration::from_millis(ms.into())),
        (true, Retry::Yes) => Some(Duration::from_millis(100)),
        (_, _) => None,
    }
}

/// What a result says, as text: what is meant for models, or else the whole.
fn text_of(result: &Json) -> String {
    let content = result.get("content").and_then(Json::as_array).unwrap_or_default();
    let texts: Vec<&str> = content.iter().filter_map(|part| part.get("text")?.as_str()).collect();
    let text = match texts.len() == content.len() && !texts.is_empty() {
        true => texts.join("\n"),
        false => result.to_string(),
    };
    match text.len() > OUTCOME_BYTES_MAX {
        true => text.get(..text.floor_char_boundary(OUTCOME_BYTES_MAX)).unwrap_or_default().into(),
        false => text,
    }
}
