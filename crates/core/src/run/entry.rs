//! Entries of a journal: what has happened in a run, as it is kept.

mod read;

use super::Budget;
use lockgate_types::label::Label;
use lockgate_types::{CallId, Code, Digest, Json, Micros, Object, TaskName};

/// An entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When.
    pub at: Micros,
    /// What.
    pub event: Event,
}

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It began.
    Started(Box<Started>),
    /// A model is about to be asked.
    Asked(Asked),
    /// It has answered, by a recorded call.
    Answered(Box<Answered>),
    /// No model has.
    Unanswered {
        /// For which turn.
        turn: u32,
        /// The call, if there was one.
        call: Option<CallId>,
        /// Why.
        code: Code,
        /// Why, for people.
        reason: String,
    },
    /// A step of a workflow proposes a call.
    Proposed {
        /// As which turn.
        turn: u32,
        /// The step.
        stage: String,
        /// The call.
        proposal: Proposal,
    },
    /// A proposed call was performed, by a recorded call.
    Performed(Box<Performed>),
    /// A proposed call was refused: by the run itself, or by a recorded decision.
    Refused {
        /// Whose turn's.
        turn: u32,
        /// Which of that turn's.
        at: u32,
        /// The recorded call, if it came to one.
        call: Option<CallId>,
        /// Why.
        code: Code,
        /// Why, and what would help, as the model is told.
        reason: String,
    },
    /// It waits.
    Parked(Parked),
    /// It does not wait any more, or was taken up again.
    Resumed {
        /// Why.
        why: String,
        /// Whether who drove it was gone: time until now was nobody's.
        was_gone: bool,
    },
    /// An answer was checked.
    Verified {
        /// Whose.
        turn: u32,
        /// By what: `rule`, or the name of a model.
        by: String,
        /// What was found. Nothing: it passed.
        findings: Vec<String>,
    },
    /// From here on something else is asked.
    Changed {
        /// What.
        input: String,
    },
    /// It is over.
    Over(Over),
}

/// How a run began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Started {
    /// The task.
    pub task: TaskName,
    /// What is asked.
    pub input: String,
    /// The tenant.
    pub tenant: String,
    /// The environment.
    pub environment: String,
    /// The run within which it was started, and what was left there.
    pub within: Option<(CallId, Budget)>,
    /// The run that it was forked from.
    pub fork_of: Option<CallId>,
}

/// A model is about to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// As which turn.
    pub turn: u32,
    /// What for.
    pub purpose: Purpose,
    /// The step of the workflow.
    pub stage: Option<String>,
    /// The name by which it is asked for.
    pub model: String,
    /// The template.
    pub prompt: String,
    /// Its version.
    pub version: String,
    /// The digest of all that is sent.
    pub digest: Digest,
    /// How many tokens it has, about.
    pub tokens: i64,
    /// How many texts had no room.
    pub dropped: u32,
}

/// What a model is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To go on.
    Work,
    /// Whether an answer holds.
    Check,
    /// The same once more, to see whether the answer is the same.
    Sample,
}

/// A model has answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// Which turn.
    pub turn: u32,
    /// The recorded call.
    pub call: CallId,
    /// Its text.
    pub text: String,
    /// The calls that it proposes.
    pub proposals: Vec<Proposal>,
    /// Tokens of prompt and reply.
    pub tokens: i64,
    /// In units of [`crate::model::SPEND_UNITS`].
    pub spend: i64,
    /// The whole reply, as it passed the gate.
    pub digest: Digest,
}

/// A proposed call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// The name of the tool, as the model or the workflow says it.
    pub name: String,
    /// The arguments, as text.
    pub arguments: String,
}

/// A call was performed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Performed {
    /// Whose turn's it was.
    pub turn: u32,
    /// Which of that turn's.
    pub at: u32,
    /// The recorded call, or the run that was started.
    pub call: CallId,
    /// What it came to, as text.
    pub text: String,
    /// What it came to, as far as it has a shape.
    pub value: Option<Json>,
    /// Whose words that is, and who may see it.
    pub label: Label,
    /// Whether it failed, by its upstream's own account.
    pub is_error: bool,
    /// What a run within it has used: steps, tokens and money.
    pub used: [i64; 3],
}

/// What is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parked {
    /// A person, for a proposed call.
    Approval {
        /// Whose turn's.
        turn: u32,
        /// Which of that turn's.
        at: u32,
        /// The request.
        request: CallId,
        /// When it ends by itself.
        expires: Micros,
    },
    /// That it is found out whether a call has happened.
    Doubt {
        /// Whose turn's.
        turn: u32,
        /// Which of that turn's.
        at: u32,
        /// Why, for people.
        reason: String,
    },
    /// A run within it.
    Child {
        /// Whose turn's.
        turn: u32,
        /// Which of that turn's.
        at: u32,
        /// The run.
        run: CallId,
    },
    /// That a kill switch is lifted.
    Switch {
        /// Which.
        switch: String,
    },
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Over {
    /// With an answer.
    Finished {
        /// The answer.
        text: String,
        /// Whether it is the task's own for when no model answers.
        is_fallback: bool,
        /// What speaks against relying on it.
        uncertain: Vec<String>,
    },
    /// A limit, a check or a person has stopped it.
    Stopped {
        /// One word: `steps`, `time`, `tokens`, `spend`, `repeats`, `idle`, `cancelled`…
        why: String,
        /// For people.
        detail: String,
    },
}

impl Event {
    /// The word of its kind.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Started(_) => "started",
            Self::Asked(_) => "asked",
            Self::Answered(_) => "answered",
            Self::Unanswered { .. } => "unanswered",
            Self::Proposed { .. } => "proposed",
            Self::Performed(_) => "performed",
            Self::Refused { .. } => "refused",
            Self::Parked(_) => "parked",
            Self::Resumed { .. } => "resumed",
            Self::Verified { .. } => "verified",
            Self::Changed { .. } => "changed",
            Self::Over(Over::Finished { .. }) => "finished",
            Self::Over(Over::Stopped { .. }) => "stopped",
        }
    }

    /// The recorded call that it is bound to.
    pub fn call(&self) -> Option<&CallId> {
        match self {
            Self::Answered(answered) => Some(&answered.call),
            Self::Performed(performed) => Some(&performed.call),
            Self::Unanswered { call, .. } | Self::Refused { call, .. } => call.as_ref(),
            Self::Parked(Parked::Approval { request, .. }) => Some(request),
            Self::Parked(Parked::Child { run, .. }) => Some(run),
            Self::Parked(Parked::Doubt { .. } | Parked::Switch { .. })
            | Self::Started(_)
            | Self::Asked(_)
            | Self::Proposed { .. }
            | Self::Resumed { .. }
            | Self::Verified { .. }
            | Self::Changed { .. }
            | Self::Over(_) => None,
        }
    }
}

impl Entry {
    /// As it is kept and shown.
    pub fn to_json(&self) -> Json {
        let entry = Object::new().with("at", self.at.0).with("event", self.event.kind());
        self.event.write(entry).into()
    }

    /// As read back; `None` if it is not what is written.
    pub fn from_json(json: &Json) -> Option<Self> {
        let at = Micros(json.get("at")?.as_i64()?);
        Some(Self { at, event: read::event(json)? })
    }
}

impl Event {
    fn write(&self, entry: Object) -> Object {
        let call_of = |call: &Option<CallId>| call.as_ref().map(|call| call.as_str().to_owned());
        let place = |entry: Object, turn: u32, at: u32| {
            entry.with("turn", i64::from(turn)).with("place", i64::from(at))
        };
        match self {
            Self::Started(started) => started.write(entry),
            Self::Asked(asked) => asked.write(entry),
            Self::Answered(answered) => answered.write(entry),
            Self::Unanswered { turn, call, code, reason } => entry
                .with("turn", i64::from(*turn))
                .with_some("call", call_of(call))
                .with("code", code.as_str())
                .with("reason", reason.as_str()),
            Self::Proposed { turn, stage, proposal } => entry
                .with("turn", i64::from(*turn))
                .with("stage", stage.as_str())
                .with("proposal", proposal.to_json()),
            Self::Performed(performed) => performed.write(entry),
            Self::Refused { turn, at, call, code, reason } => place(entry, *turn, *at)
                .with_some("call", call_of(call))
                .with("code", code.as_str())
                .with("reason", reason.as_str()),
            Self::Parked(parked) => parked.write(entry, place),
            Self::Resumed { why, was_gone } => {
                entry.with("why", why.as_str()).with("was_gone", *was_gone)
            }
            Self::Verified { turn, by, findings } => entry
                .with("turn", i64::from(*turn))
                .with("by", by.as_str())
                .with("findings", texts(findings)),
            Self::Changed { input } => entry.with("input", input.as_str()),
            Self::Over(Over::Finished { text, is_fallback, uncertain }) => entry
                .with("text", text.as_str())
                .with("is_fallback", *is_fallback)
                .with("uncertain", texts(uncertain)),
            Self::Over(Over::Stopped { why, detail }) => {
                entry.with("why", why.as_str()).with("detail", detail.as_str())
            }
        }
    }
}

fn texts(all: &[String]) -> Vec<Json> {
    all.iter().map(|text| text.as_str().into()).collect()
}

impl Proposal {
    fn to_json(&self) -> Object {
        Object::new().with("name", self.name.as_str()).with("arguments", self.arguments.as_str())
    }
}

impl Started {
    fn write(&self, entry: Object) -> Object {
        let within = self.within.as_ref().map(|(run, budget)| {
            let tools: Vec<Json> = budget.tools.iter().map(|it| it.as_str().into()).collect();
            Object::new()
                .with("run", run.as_str())
                .with("steps", budget.steps)
                .with("tokens", budget.tokens)
                .with_some("spend", budget.spend)
                .with("time_us", budget.time_us)
                .with("tools", tools)
                .with("depth", i64::from(budget.depth))
        });
        entry
            .with("task", self.task.as_str())
            .with("input", self.input.as_str())
            .with("tenant", self.tenant.as_str())
            .with("environment", self.environment.as_str())
            .with_some("within", within)
            .with_some("fork_of", self.fork_of.as_ref().map(|run| run.as_str().to_owned()))
    }
}

impl Asked {
    fn write(&self, entry: Object) -> Object {
        let purpose = match self.purpose {
            Purpose::Work => "work",
            Purpose::Check => "check",
            Purpose::Sample => "sample",
        };
        entry
            .with("turn", i64::from(self.turn))
            .with("purpose", purpose)
            .with_some("stage", self.stage.as_deref())
            .with("model", self.model.as_str())
            .with("prompt", self.prompt.as_str())
            .with("version", self.version.as_str())
            .with("digest", self.digest.to_string())
            .with("tokens", self.tokens)
            .with("dropped", i64::from(self.dropped))
    }
}

impl Answered {
    fn write(&self, entry: Object) -> Object {
        let proposals: Vec<Json> =
            self.proposals.iter().map(|proposal| proposal.to_json().into()).collect();
        entry
            .with("turn", i64::from(self.turn))
            .with("call", self.call.as_str())
            .with("text", self.text.as_str())
            .with("proposals", proposals)
            .with("tokens", self.tokens)
            .with("spend", self.spend)
            .with("digest", self.digest.to_string())
    }
}

impl Performed {
    fn write(&self, entry: Object) -> Object {
        let used: Vec<Json> = self.used.iter().map(|count| (*count).into()).collect();
        entry
            .with("turn", i64::from(self.turn))
            .with("place", i64::from(self.at))
            .with("call", self.call.as_str())
            .with("text", self.text.as_str())
            .with_some("value", self.value.clone())
            .with("label", self.label.to_json())
            .with("is_error", self.is_error)
            .with("used", used)
    }
}

impl Parked {
    fn write(&self, entry: Object, place: impl Fn(Object, u32, u32) -> Object) -> Object {
        match self {
            Self::Approval { turn, at, request, expires } => place(entry, *turn, *at)
                .with("for", "approval")
                .with("call", request.as_str())
                .with("expires_at", expires.0),
            Self::Doubt { turn, at, reason } => {
                place(entry, *turn, *at).with("for", "doubt").with("reason", reason.as_str())
            }
            Self::Child { turn, at, run } => {
                place(entry, *turn, *at).with("for", "run").with("call", run.as_str())
            }
            Self::Switch { switch } => entry.with("for", "switch").with("switch", switch.as_str()),
        }
    }
}
