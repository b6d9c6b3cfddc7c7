//! `[upstream.<name>.model]` and `models/<name>.toml`: providers of models and the entries of the
//! registry, as read.

use super::{ConfidentialityWord, Guard, Required};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// A provider of models. Its interfaces are operations, `<upstream>:chat/completions` and the like;
/// which models it answers for is declared in `models/<name>.toml`, and the functions of clients
/// that its models may propose to call are tools of `operations/<upstream>.toml`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Provider {
    /// Which interfaces it has: `openai` (also of any compatible provider), `anthropic` or `azure`.
    pub family: FamilyWord,
    /// Where it is, with the version of its interfaces if that is part of the path:
    /// `https://api.openai.com/v1`, `https://api.anthropic.com/v1`, `https://name.openai.azure.com`.
    pub base_url: String,
    /// Where deployments are, of a provider of the family `azure`: the path below `base_url` that
    /// an entry's `id` is put behind. Unset: `openai/deployments`.
    pub deployments: Option<String>,
    /// The `api-version` that a provider of the family `azure` is asked in.
    pub api_version: Option<String>,
    /// Milliseconds until the first token of a reply. Unset: `timeout_ms`, which bounds the whole.
    #[schemars(range(min = 1, max = 86400000))]
    pub first_token_ms: Option<u32>,
    /// Milliseconds between two pieces of a streamed reply. Unset: `timeout_ms`.
    #[schemars(range(min = 1, max = 86400000))]
    pub gap_ms: Option<u32>,
    /// What becomes of functions that clients run by themselves, when its models propose calls of
    /// them and `operations/<upstream>.toml` declares no tool of that name.
    #[serde(default)]
    pub functions: FunctionsWord,
}

/// What becomes of functions of clients that nobody has declared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FunctionsWord {
    /// Calls of them are refused: what nobody declared is destructive.
    #[default]
    Declared,
    /// Calls of them pass, undecided. Functions that are declared, and tools of the gate's, are
    /// decided all the same.
    Any,
}

/// The word for a family of interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words are the names of the families")]
pub enum FamilyWord {
    OpenAi,
    Anthropic,
    Azure,
}

/// `models/<name>.toml`: an entry of the registry, a model at a provider as somebody has looked at
/// it.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// The provider: an upstream with `model`.
    pub upstream: String,
    /// What it is for, for people.
    pub description: Option<String>,
    /// The provider's own id, as exactly as the provider lets it be named: `gpt-5-2026-03-01`; of
    /// Azure the deployment. Unset: the name by which clients ask is passed on.
    pub id: Option<String>,
    /// The names by which clients ask for it, with `*` for any characters. Unset: the name of the
    /// entry. Empty: nobody asks for it, it only stands in for others.
    pub asks: Option<Vec<String>>,
    /// The version of this entry: in every record of what it answers.
    pub version: String,
    /// Where it computes, in your words: `eu`, `us-east`.
    pub region: Option<String>,
    /// Tokens of prompt and reply together that it can take.
    #[schemars(range(min = 1, max = 1000000000))]
    pub context_tokens: Option<u32>,
    /// Tokens that one reply has at most.
    #[schemars(range(min = 1, max = 1000000000))]
    pub output_tokens_max: Option<u32>,
    /// What it costs.
    pub price: Option<Price>,
    /// How confidential what it is sent may be. Unset: `internal`.
    #[serde(default = "default_ceiling")]
    pub ceiling: ConfidentialityWord,
    /// Who answers for it: a team, an address.
    pub owner: Option<String>,
    /// Under which terms it is used.
    pub terms: Option<Terms>,
    /// What it was tried on.
    #[serde(default)]
    pub evaluations: Vec<Evaluation>,
    /// The suites that it has to have passed, as it is now, before it answers anything but
    /// evaluations.
    #[serde(default)]
    pub requires: Vec<Required>,
    /// How much its failure could do. Unset: `high`, since nobody has looked.
    #[serde(default)]
    pub risk_tier: RiskTierWord,
    /// The tasks that may use it. Unset: any, and calls without a task.
    pub tasks: Option<Vec<String>>,
    /// The entries that stand in for it when it fails, in order, and then theirs.
    #[serde(default)]
    pub fallback: Vec<String>,
    /// How what it is asked is divided among entries, itself included: shares, such as
    /// `{ this = 90, other = 10 }`. Unset: it gets all of it.
    #[serde(default)]
    pub weights: BTreeMap<String, u32>,
    /// An entry that is tried out in its place.
    pub canary: Option<Canary>,
    /// An entry that is asked the same, and whose answers nobody gets.
    pub shadow: Option<Shadow>,
    /// The cheaper entry that takes its place where a budget has come to its `degrade_percent`.
    pub degrade_to: Option<String>,
    /// What may be in a prompt that leaves, and in an answer that is passed on.
    #[serde(default)]
    pub guard: Guard,
    /// Deadlines, where they are others than the provider's.
    pub deadlines: Option<Deadlines>,
    /// Milliseconds after which the next entry is asked as well, if this one has not begun to
    /// answer. Unset: it never is.
    #[schemars(range(min = 1, max = 86400000))]
    pub hedge_after_ms: Option<u32>,
}

/// What a model costs, in hundredths (or what the currency has) for a million tokens.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// The currency, as ISO 4217 has it: `EUR`.
    pub currency: String,
    /// Decimals of these numbers: with 1, `input = 75` is 7.5 hundredths.
    #[serde(default)]
    #[schemars(range(max = 3))]
    pub decimals: u32,
    /// A million tokens of prompt.
    #[schemars(range(max = 1000000000))]
    pub input: u32,
    /// A million tokens of prompt that come from a cache. Unset: as `input`.
    #[schemars(range(max = 1000000000))]
    pub cached_input: Option<u32>,
    /// A million tokens of prompt that are written to a cache. Unset: as `input`.
    #[schemars(range(max = 1000000000))]
    pub cache_write: Option<u32>,
    /// A million tokens of reply.
    #[schemars(range(max = 1000000000))]
    pub output: u32,
}

/// Under which terms a model is used.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// What the provider may do with what it is sent: `none`, `abuse monitoring`, `training`.
    pub data_use: Option<String>,
    /// Days for which the provider keeps it.
    pub retention_days: Option<u32>,
    /// The licence.
    pub licence: Option<String>,
}

/// What a model was tried on.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Evaluation {
    /// The suite.
    pub suite: String,
    /// What came of it.
    pub result: String,
    /// When: `2026-11-01`.
    pub at: String,
}

/// How much the failure of a model could do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words say it")]
pub enum RiskTierWord {
    Low,
    Medium,
    #[default]
    High,
}

/// An entry that is tried out in place of another.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Canary {
    /// The entry.
    pub entry: String,
    /// How many of a hundred sessions it gets while it is tried out.
    #[schemars(range(min = 1, max = 99))]
    pub percent: u32,
    /// Seconds of a window in which its answers are counted.
    #[serde(default = "default_window_s")]
    #[schemars(range(min = 1, max = 604800))]
    pub window_s: u32,
    /// Answers that a window has at least: until then it goes on.
    #[serde(default = "default_samples_min")]
    #[schemars(range(min = 1, max = 1000000))]
    pub samples_min: u32,
    /// Good windows in a row after which it gets everything. Unset: a person says so, by changing
    /// the bundle.
    #[schemars(range(min = 1, max = 10000))]
    pub promote_after: Option<u32>,
    /// How often it is tried again after it was taken back. Each pause is twice as long as the one
    /// before.
    #[serde(default)]
    #[schemars(range(max = 16))]
    pub retries: u32,
    /// Seconds of the first pause.
    #[serde(default = "default_pause_s")]
    #[schemars(range(min = 1, max = 604800))]
    pub pause_s: u32,
    /// Beyond which it is taken back.
    pub guards: Guards,
}

/// What is tolerated of an entry that is tried out: any of it, and at least one.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Guards {
    /// Of a hundred answers, those that failed or timed out.
    #[schemars(range(max = 99))]
    pub errors_percent_max: Option<u32>,
    /// Of a hundred answers, those in which the model refused.
    #[schemars(range(max = 99))]
    pub refusals_percent_max: Option<u32>,
    /// Of a hundred answers, those in which a guard of the gate found something.
    #[schemars(range(max = 99))]
    pub findings_percent_max: Option<u32>,
    /// Milliseconds within which 95 of a hundred answers have to be complete.
    #[schemars(range(min = 1, max = 86400000))]
    pub latency_p95_ms_max: Option<u32>,
}

/// An entry that is asked the same.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Shadow {
    /// The entry.
    pub entry: String,
    /// How many of a hundred calls it is asked as well.
    #[schemars(range(min = 1, max = 100))]
    pub percent: u32,
}

/// Deadlines of one entry.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Deadlines {
    /// Milliseconds until the first token.
    #[schemars(range(min = 1, max = 86400000))]
    pub first_token_ms: Option<u32>,
    /// Milliseconds between two pieces.
    #[schemars(range(min = 1, max = 86400000))]
    pub gap_ms: Option<u32>,
    /// Milliseconds for the whole reply.
    #[schemars(range(min = 1, max = 86400000))]
    pub total_ms: Option<u32>,
}

/// What a task answers when no model does: the first of these that there is.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Fallback {
    /// Seconds for which an answer is given again that somebody has approved
    /// (`lockgate answers keep`), to the very same prompt, and to whom has the same rights. Unset:
    /// none is kept.
    #[schemars(range(min = 60, max = 31536000))]
    pub recorded_s: Option<u32>,
    /// Who is asked to answer: `group:desk`, `role:lead`, `user:ada`. What they write is the answer
    /// once the same is asked again; until then the client is told so, or `template`.
    pub person: Option<String>,
    /// This text.
    pub template: Option<String>,
}

fn default_ceiling() -> ConfidentialityWord {
    ConfidentialityWord::Internal
}
fn default_window_s() -> u32 {
    300
}
fn default_samples_min() -> u32 {
    50
}
fn default_pause_s() -> u32 {
    3600
}
