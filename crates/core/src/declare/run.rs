//! `[run]` of `tasks/<task>.toml`, and `workflows/<name>.toml`: what the gate itself drives, as
//! read.

use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Runs of a task: the model proposes, the gate decides what happens next and when to stop.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Run {
    /// The template that prompts are made of, in `prompts/`. What calls came to is handed in as the
    /// data `outcomes`; what a check has found as `findings`, and what the model has said before as
    /// `said`, where it has such segments.
    pub prompt: Option<String>,
    /// The name by which the model is asked for. Unset: the first of the task's `models`.
    pub model: Option<String>,
    /// The steps, in `workflows/`, instead of a loop in which the model chooses them.
    pub workflow: Option<String>,
    /// The tools that may be called: `helpdesk/get_ticket`. Each call is decided by the policies
    /// all the same.
    pub tools: Vec<String>,
    /// The tasks of which runs may be started within one of these, for a part of the work: with no
    /// tool that this one has not, out of what is left of its limits.
    pub children: Vec<String>,
    /// How often models are asked at most.
    #[schemars(range(min = 1, max = 1000))]
    pub steps_max: u32,
    /// Milliseconds of work at most. Waiting for people and a gate that is not there do not count.
    #[schemars(range(min = 1, max = 86400000))]
    pub time_ms: u32,
    /// Seconds of waiting for people at most, each time.
    #[schemars(range(min = 1, max = 7776000))]
    pub wait_s: u32,
    /// Tokens of all prompts and replies together.
    #[schemars(range(min = 1, max = 1000000000))]
    pub tokens_max: u32,
    /// Tokens of one reply.
    #[schemars(range(min = 1, max = 1000000))]
    pub output_tokens_max: u32,
    /// What all models together may cost, in hundredths (or what the currency of their prices has).
    /// A model without a price is not asked then. Unset: whatever the budgets allow.
    #[schemars(range(min = 1, max = 1000000000))]
    pub spend_max: Option<u32>,
    /// How often one call may be made with the same arguments.
    #[schemars(range(min = 1, max = 1000))]
    pub repeats_max: u32,
    /// Steps in a row that may bring nothing new.
    #[schemars(range(min = 1, max = 1000))]
    pub idle_max: u32,
    /// What an answer is checked by, before anybody sees it.
    pub verify: Option<Verify>,
}

impl Default for Run {
    fn default() -> Self {
        Self {
            prompt: None,
            model: None,
            workflow: None,
            tools: Vec::new(),
            children: Vec::new(),
            steps_max: 16,
            time_ms: 10 * 60_000,
            wait_s: 7 * 24 * 3600,
            tokens_max: 200_000,
            output_tokens_max: 2048,
            spend_max: None,
            repeats_max: 3,
            idle_max: 3,
            verify: None,
        }
    }
}

/// A check of what a model says against what it was given.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Verify {
    /// Citations that an answer has at least: `[2]` names the second block of data. One that names
    /// a block which is not there is never let through.
    #[schemars(range(max = 100))]
    pub citations_min: Option<u32>,
    /// Whether what stands in double quotation marks has to stand so in the data.
    pub quotes: bool,
    /// The name of a model that is asked whether the data support the answer.
    pub model: Option<String>,
    /// The template for it: the answer is handed in as the data `claims`, the rest as `outcomes`.
    /// Its reply begins with `supported` or it is taken for a no.
    pub prompt: Option<String>,
    /// How many further answers are asked for with the same prompt, to be compared with it: what
    /// a model makes up differs from time to time. Each is a step of the run.
    #[schemars(range(min = 1, max = 4))]
    pub samples: Option<u32>,
    /// How many of them have to say the same. Unset: all.
    #[schemars(range(min = 1, max = 4))]
    pub agree_min: Option<u32>,
    /// The share of words that answers have in common which say the same, in percent. Unset: 50.
    /// Whatever it is: one that names other numbers, or denies what the other says, does not.
    #[schemars(range(max = 100))]
    pub words_percent_min: Option<u32>,
    /// What becomes of an answer that does not pass.
    pub on_failure: OnFailureWord,
}

/// What becomes of an answer that does not pass a check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnFailureWord {
    /// The run stops.
    #[default]
    Stop,
    /// The model is told what was found and asked again, within the limits of the run.
    Retry,
    /// It is the answer, and what was found stands beside it.
    Flag,
}

/// `workflows/<name>.toml`: steps that are taken one after the other.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Workflow {
    /// What it is for.
    pub description: Option<String>,
    /// The steps, in order. What the last one that is taken comes to is the answer.
    pub step: Vec<WorkflowStep>,
}

/// A step of a workflow.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WorkflowStep {
    /// Its name, for later steps.
    pub id: String,
    /// What is done.
    pub kind: StepWord,
    /// Of `tool`: which one, one of the task's.
    pub tool: Option<String>,
    /// Of `tool`: its arguments. A text that begins with `$` is the path of a value: `$input`, or
    /// `$ticket.customer.id` of what the step `ticket` came to. `$$` begins a text with one `$`.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, serde_json::Value>")]
    pub arguments: BTreeMap<String, toml::Value>,
    /// Of `approve`: who has to agree: `group:finance`, `2 of role:lead`, `user:ada`. Nobody agrees
    /// to what they have asked for themselves.
    pub whom: Option<String>,
    /// Of `approve`: what they are asked.
    pub question: Option<String>,
    /// Of `approve`: what they are shown, by name: values, or paths as among `arguments`.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, serde_json::Value>")]
    pub show: BTreeMap<String, toml::Value>,
    /// Of `model`: the template. Unset: the task's.
    pub prompt: Option<String>,
    /// Of `model`: the name by which it is asked for. Unset: the task's.
    pub model: Option<String>,
    /// Of `model`: which steps are handed in as the data `outcomes`. Unset: all before it.
    pub from: Option<Vec<String>>,
    /// Of `verify`: which step's text is checked, by the task's `verify`.
    pub of: Option<String>,
    /// Taken only if this holds.
    pub when: Option<When>,
    /// What happens if it is refused or fails.
    #[serde(default)]
    pub on_refusal: OnRefusalWord,
    /// Of `on_refusal = "fallback"`: the later step at which it goes on.
    pub fallback: Option<String>,
}

/// What a step of a workflow does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StepWord {
    /// A model is asked, and offered no tools.
    Model,
    /// A tool is called. Whether a person has to agree is for policies to say.
    Tool,
    /// Somebody has to agree before it goes on.
    Approve,
    /// What an earlier step said is checked.
    Verify,
}

/// A condition.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct When {
    /// The path of a value: `$ticket.status`.
    pub path: String,
    /// What it has to be. Unset: it has to be there.
    #[schemars(with = "Option<serde_json::Value>")]
    pub equals: Option<toml::Value>,
    /// The other way round.
    #[serde(default)]
    pub not: bool,
}

/// What happens if a step is refused or fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnRefusalWord {
    /// The run stops.
    #[default]
    Stop,
    /// The next step is taken.
    Continue,
    /// It goes on at the step that `fallback` names.
    Fallback,
}
