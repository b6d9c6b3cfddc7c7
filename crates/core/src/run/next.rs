//! What a run does next.

use super::entry::Asked;
use super::verify::Verified;
use super::workflow::Following;
use super::{
    CHILD_PREFIX, Event, Over, PROPOSALS_MAX, Parked, Plan, Proposal, Purpose, RESUMES_MAX,
    RunState, Turn,
};
use crate::declare::OnFailureWord;
use crate::prompt::Assembled;
use crate::world::World;
use lockgate_types::model::ModelApi;
use lockgate_types::{
    CallId, Code, Digest, Json, JsonLimits, Micros, Object, OperationName, TaskName, UpstreamName,
};

/// What is known of the moment, besides the journal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Now.
    pub at: Option<Micros>,
    /// Who wants it to end: the call that says so.
    pub cancelled_by: Option<CallId>,
    /// The switch that is on for all that it does.
    pub switch: Option<String>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A model is asked.
    Ask(Box<Ask>),
    /// A proposed call is made, under its key.
    Perform(Box<Perform>),
    /// This is found out already: it is written down.
    Record(Box<Event>),
    /// Something is waited for.
    Wait(Wait),
    /// It is over.
    Nothing,
}

/// A model is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// As it is written down before.
    pub asked: Asked,
    /// The interface.
    pub api: ModelApi,
    /// The body of the request.
    pub body: Object,
    /// The prompt in it.
    pub prompt: Assembled,
}

/// A proposed call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Perform {
    /// Whose turn's it is.
    pub turn: u32,
    /// Which of that turn's.
    pub at: u32,
    /// What is called.
    pub call: Called,
    /// The request for approval that it comes back to.
    pub resumes: Option<CallId>,
}

/// What is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Called {
    /// A tool.
    Tool {
        /// Its upstream.
        upstream: UpstreamName,
        /// Its name there.
        tool: String,
        /// The operation.
        operation: OperationName,
        /// The arguments.
        arguments: Object,
    },
    /// Somebody is asked to agree, at a step of the workflow.
    Person {
        /// What they are asked and shown.
        arguments: Object,
    },
    /// A run within this one.
    Child {
        /// Its task.
        task: TaskName,
        /// What it is asked.
        input: String,
    },
}

/// Something is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// What.
    pub parked: Parked,
    /// Until when at most: then it is looked again, and it stops.
    pub until: Micros,
}

impl Perform {
    /// The key under which it is asked for, however often.
    pub fn key(&self, run: &CallId) -> String {
        format!("run.{run}.{}.{}", self.turn, self.at)
    }
}

/// What a run does next: decided by its journal, the bundle and the moment alone.
pub fn next(world: &World, state: &RunState, moment: &Moment) -> Step {
    let (Some(began), None) = (&state.began, &state.over) else { return Step::Nothing };
    if let Some(by) = &moment.cancelled_by {
        return stop("cancelled", format!("by the call {by}"));
    }
    let Some(plan) = world.runs.get(&began.task) else {
        return stop("task", format!("the bundle has no runs of `{}` any more", began.task));
    };
    let run = Run { world, state, plan, moment };
    if let Some(step) = run.parked() {
        return step;
    }
    if let Some(step) = run.limits() {
        return step;
    }
    if let Some((turn, at, proposal)) = state.proposed() {
        return run.propose(turn, at, proposal);
    }
    match &plan.workflow {
        Some(workflow) => run.follow(workflow),
        None => run.go_on(),
    }
}

pub(super) struct Run<'a> {
    pub(super) world: &'a World,
    pub(super) state: &'a RunState,
    pub(super) plan: &'a Plan,
    pub(super) moment: &'a Moment,
}

pub(super) fn stop(why: &str, detail: impl Into<String>) -> Step {
    record(Event::Over(Over::Stopped { why: why.to_owned(), detail: detail.into() }))
}

pub(super) fn record(event: Event) -> Step {
    Step::Record(Box::new(event))
}

impl Run<'_> {
    /// Whether it waits, or has to.
    fn parked(&self) -> Option<Step> {
        let now = self.moment.at.or(self.state.at).unwrap_or(Micros(0));
        match (&self.state.parked, &self.moment.switch) {
            (None, None) => None,
            (None, Some(switch)) => {
                Some(record(Event::Parked(Parked::Switch { switch: switch.clone() })))
            }
            (Some(Parked::Switch { switch }), None) => Some(record(Event::Resumed {
                why: format!("the switch {switch} is lifted"),
                was_gone: false,
            })),
            (Some(parked), _) => {
                let wait_us = i64::from(self.plan.declared.wait_s).saturating_mul(1_000_000);
                let since = self.state.parked_at.unwrap_or(now);
                let until = Micros(since.0.saturating_add(wait_us));
                if until <= now {
                    return Some(stop("waiting", "nobody has come to it in time"));
                }
                let until = match parked {
                    Parked::Approval { expires, .. } => until.min(*expires),
                    Parked::Doubt { .. } | Parked::Child { .. } | Parked::Switch { .. } => until,
                };
                Some(Step::Wait(Wait { parked: parked.clone(), until }))
            }
        }
    }

    /// Whether a limit is reached.
    fn limits(&self) -> Option<Step> {
        let state = self.state;
        let since = match (self.moment.at, state.at) {
            (Some(now), Some(at)) => now.0.saturating_sub(at.0).max(0),
            (_, _) => 0,
        };
        if self.plan.left(state).time_us <= since {
            return Some(stop("time", "it has worked for as long as its task lets it"));
        }
        if state.resumes > RESUMES_MAX {
            return Some(stop("resumes", "it was taken up again too often"));
        }
        if state.entries >= super::ENTRIES_MAX {
            return Some(stop("entries", "its journal is full"));
        }
        None
    }

    /// What becomes of a proposal.
    fn propose(&self, turn: u32, at: u32, proposal: &Proposal) -> Step {
        let refuse = |code: Code, reason: String| {
            record(Event::Refused { turn, at, call: None, code, reason })
        };
        if usize::try_from(at).unwrap_or(usize::MAX) >= PROPOSALS_MAX {
            let reason = format!("more than {PROPOSALS_MAX} calls are not made at once");
            return refuse(Code::TooLarge, reason);
        }
        let arguments = match arguments(&proposal.arguments) {
            Ok(arguments) => arguments,
            Err(reason) => return refuse(Code::ArgumentsRefused, reason),
        };
        if self.asks_people(turn) {
            let (call, resumes) = (Called::Person { arguments }, self.request_of(turn, at));
            return Step::Perform(Box::new(Perform { turn, at, call, resumes }));
        }
        let Some(call) = self.called(&proposal.name, &arguments) else {
            let names: Vec<&str> = self.plan.tools.keys().map(String::as_str).collect();
            let reason = format!(
                "there is no tool `{}` here; there is {}",
                shown(&proposal.name),
                names.join(", ")
            );
            return refuse(Code::UnknownName, reason);
        };
        let same = (&proposal.name, digest_of(&arguments));
        if self.made(&same) >= u64::from(self.plan.declared.repeats_max) {
            let detail = format!("`{}` was called with the same arguments again", same.0);
            return stop("repeats", detail);
        }
        Step::Perform(Box::new(Perform { turn, at, call, resumes: self.request_of(turn, at) }))
    }

    /// How often a call was made.
    fn made(&self, (name, digest): &(&String, Digest)) -> u64 {
        let settled = self.state.turns.iter().flat_map(Turn::settled);
        let same = settled.filter(|(proposal, _)| {
            proposal.name == **name
                && arguments(&proposal.arguments).is_ok_and(|given| digest_of(&given) == *digest)
        });
        same.count().try_into().unwrap_or(u64::MAX)
    }

    fn request_of(&self, turn: u32, at: u32) -> Option<CallId> {
        let (for_turn, for_at, request) = self.state.asked_for.as_ref()?;
        ((*for_turn, *for_at) == (turn, at)).then(|| request.clone())
    }

    fn called(&self, name: &str, arguments: &Object) -> Option<Called> {
        if let Some(task) = name.strip_prefix(CHILD_PREFIX)
            && let Ok(task) = TaskName::new(task)
            && self.plan.children.contains_key(&task)
            && self.state.may_have_children()
        {
            let input = arguments.get("input").and_then(Json::as_str)?.to_owned();
            return Some(Called::Child { task, input });
        }
        let tool = self.plan.tools.get(name)?;
        self.state.may_use(tool.operation.as_str()).then(|| Called::Tool {
            upstream: tool.upstream.clone(),
            tool: tool.tool.clone(),
            operation: tool.operation.clone(),
            arguments: arguments.clone(),
        })
    }

    /// A free loop goes on: with the next question, or with its end.
    fn go_on(&self) -> Step {
        let declared = &self.plan.declared;
        let template = declared.prompt.as_deref().unwrap_or_default();
        let (number, last) = match self.state.open_turn() {
            None => return self.ask(&self.question(0, template)),
            Some(open) => open,
        };
        if last.text.is_none() {
            return match last.purpose {
                Purpose::Work => self.again(&self.question(number, template)),
                // What it is asked for once more is known where the answer is held against it.
                Purpose::Check | Purpose::Sample => self.held_against(template),
            };
        }
        if self.state.idle() >= declared.idle_max {
            return stop("idle", "several steps in a row have brought nothing new");
        }
        self.held_against(template)
    }

    /// An answer is held against the checks of its task; anything else is gone on from.
    fn held_against(&self, template: &str) -> Step {
        let number = u32::try_from(self.state.turns.len()).unwrap_or(u32::MAX);
        let answer = self.state.newest_work();
        let Some((answered, text)) = answer.filter(|_| self.state.is_answer()) else {
            return self.ask(&self.question(number, template));
        };
        let on_failure = self.plan.declared.verify.as_ref().map(|it| it.on_failure);
        match self.verified(answered, text, (template, None)) {
            Verified::Step(step) => step,
            Verified::Passed => finish(text, Vec::new()),
            Verified::Failed(found) => match on_failure {
                Some(OnFailureWord::Flag) | None => finish(text, found),
                Some(OnFailureWord::Stop) => stop("unverified", found.join("; ")),
                Some(OnFailureWord::Retry) => self.ask(&self.question(number, template)),
            },
        }
    }

    pub(super) fn following(&self) -> Following<'_> {
        Following { state: self.state }
    }
}

pub(super) fn finish(text: &str, uncertain: Vec<String>) -> Step {
    let text = text.to_owned();
    record(Event::Over(Over::Finished { text, is_fallback: false, uncertain }))
}

/// The arguments of a call, strictly. None at all are an empty object.
fn arguments(text: &str) -> Result<Object, String> {
    if text.trim().is_empty() {
        return Ok(Object::new());
    }
    match Json::parse(text.as_bytes(), &JsonLimits::MESSAGE) {
        Ok(Json::Object(arguments)) => Ok(arguments),
        Ok(_) => Err("the arguments are no object".to_owned()),
        Err(error) => Err(format!("the arguments cannot be read: {error}")),
    }
}

fn digest_of(arguments: &Object) -> Digest {
    Json::from(arguments.clone()).digest()
}

fn shown(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(80).collect()
}
