//! `evals/<suite>.toml`: suites of behaviour tests, as read.

use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// `evals/<suite>.toml`: what an entry of the registry is asked, and what its answers have to be
/// like. `{{name}}` in texts stands for a variable.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Suite {
    /// The version of this suite, for people: what counts is its digest.
    pub version: String,
    /// What it is for.
    pub description: Option<String>,
    /// The task of its calls: one with `evaluation = true`.
    pub task: String,
    /// Instructions of every question that has none of its own.
    pub instructions: Option<String>,
    /// How often each question is asked.
    #[serde(default = "default_samples")]
    #[schemars(range(min = 1, max = 64))]
    pub samples: u32,
    /// Tokens that an answer may have.
    #[serde(default = "default_output_tokens_max")]
    #[schemars(range(min = 1, max = 1000000))]
    pub output_tokens_max: u32,
    /// How many of a hundred answers to cases have to be as expected.
    #[serde(default = "default_pass_percent_min")]
    #[schemars(range(max = 100))]
    pub pass_percent_min: u32,
    /// The entry that judges what no rule can. Unset: nothing is judged by a model.
    pub judge: Option<String>,
    /// Beginnings by which a refusal of this model is known, beside the usual ones.
    #[serde(default)]
    pub refusals: Vec<String>,
    /// Questions with expectations.
    #[serde(default)]
    pub case: Vec<EvalCase>,
    /// Questions that differ in who they are about, and in nothing else.
    #[serde(default)]
    pub counterfactual: Vec<Counterfactual>,
}

/// A question, and what its answer has to be like.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EvalCase {
    /// Its name within the suite.
    pub id: String,
    /// What is asked. Instead: `messages`.
    pub prompt: Option<String>,
    /// A conversation, which ends with what is asked.
    #[serde(default)]
    pub messages: Vec<EvalMessage>,
    /// Instructions. Unset: the suite's.
    pub instructions: Option<String>,
    /// Values of variables, by name: the case is asked once for each, with those of the same place
    /// together.
    #[serde(default)]
    pub variables: BTreeMap<String, Vec<String>>,
    /// Texts that the answer may cite as `[1]`, `[2]`; they are put behind the prompt.
    #[serde(default)]
    pub sources: Vec<String>,
    /// The tools that are offered.
    #[serde(default)]
    pub tool: Vec<EvalTool>,
    /// What the answer has to be like.
    pub expect: Expect,
}

/// A message of a conversation.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EvalMessage {
    /// Whose it is.
    pub role: EvalRole,
    /// What it says.
    pub text: String,
}

/// Whose a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words are those of the APIs")]
pub enum EvalRole {
    User,
    Assistant,
}

/// A tool that is offered.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EvalTool {
    /// Its name.
    pub name: String,
    /// What it is for, as the model reads it.
    pub description: Option<String>,
    /// JSON Schema of its arguments.
    pub schema: String,
}

/// What an answer has to be like: all of it, and at least one.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Expect {
    /// One of these, but for case, layout and the stop at the end.
    pub answers: Vec<String>,
    /// All of these stand in it, but for case and layout.
    pub contains: Vec<String>,
    /// None of these does.
    pub excludes: Vec<String>,
    /// All of these regular expressions match.
    pub matches: Vec<String>,
    /// None of these does.
    pub matches_not: Vec<String>,
    /// It is JSON that follows this JSON Schema.
    pub schema: Option<String>,
    /// Whether it is a refusal.
    pub refuses: Option<bool>,
    /// The calls that are proposed, each with what its arguments have to be like.
    pub proposes: Vec<Proposes>,
    /// Tools of which no call is proposed; `*`: of none.
    pub proposes_not: Vec<String>,
    /// What it cites: only sources that are there, and this.
    pub cites: Option<Cites>,
    /// Characters that it has at least.
    #[schemars(range(min = 1, max = 1000000))]
    pub characters_min: Option<u32>,
    /// Characters that it has at most.
    #[schemars(range(max = 1000000))]
    pub characters_max: Option<u32>,
    /// What the suite's judge has to say yes to.
    pub judged: Option<String>,
}

/// A call that is proposed.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Proposes {
    /// The tool.
    pub tool: String,
    /// JSON Schema that its arguments follow. Unset: any.
    pub arguments: Option<String>,
}

/// What an answer cites.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Cites {
    /// Sources that it cites at least.
    #[schemars(range(max = 64))]
    pub sources_min: u32,
    /// Whether each of its sentences cites one.
    pub every_sentence: bool,
}

/// One question about people who differ in nothing but what a group says.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Counterfactual {
    /// Its name within the suite.
    pub id: String,
    /// What is asked.
    pub prompt: String,
    /// Instructions. Unset: the suite's.
    pub instructions: Option<String>,
    /// Values of variables that are the same for all groups. Every combination is asked.
    #[serde(default)]
    pub vary: BTreeMap<String, Vec<String>>,
    /// The groups, each with values of the same variables: those of the same place go together, and
    /// are compared with those of that place in other groups.
    pub group: BTreeMap<String, BTreeMap<String, Vec<String>>>,
    /// By what an answer is known to be good for whom it is about.
    pub positive: Positive,
    /// A regular expression whose first group is a number: what is compared beside.
    pub score: Option<String>,
    /// Answers of each group without which nothing is concluded.
    #[serde(default = "default_samples_min")]
    #[schemars(range(min = 1, max = 100000))]
    pub samples_min: u32,
    /// What is tolerated: any of it, and at least one.
    pub limits: FairnessLimits,
}

/// By what an answer is known to be positive: one of these.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Positive {
    /// A regular expression that matches.
    pub matches: Option<String>,
    /// What the suite's judge says yes to.
    pub judged: Option<String>,
}

/// Which differences between groups are tolerated.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FairnessLimits {
    /// Percentage points between the shares of positive answers (demographic parity difference).
    #[schemars(range(max = 100))]
    pub difference_points_max: Option<u32>,
    /// The lowest share of positive answers, of a hundred of the highest: 80 is the rule of four
    /// fifths.
    #[schemars(range(max = 100))]
    pub ratio_percent_min: Option<u32>,
    /// Of a hundred questions, those whose answer was not the same for all groups.
    #[schemars(range(max = 100))]
    pub flip_percent_max: Option<u32>,
    /// Hundredths between the highest and the lowest mean score of groups.
    #[schemars(range(max = 100000000))]
    pub spread_hundredths_max: Option<u32>,
    /// Whether the difference has to keep within its limit with all of its confidence interval, and
    /// not only as measured.
    pub confident: bool,
}

/// A suite that an entry has to have passed before it answers anything but evaluations.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Required {
    /// The suite.
    pub suite: String,
    /// How many of a hundred answers had to be as expected. Unset: as the suite says.
    #[schemars(range(max = 100))]
    pub pass_percent_min: Option<u32>,
    /// Days for which a result holds. Unset: until suite or entry change.
    #[schemars(range(min = 1, max = 3660))]
    pub max_age_days: Option<u32>,
}

fn default_samples() -> u32 {
    1
}
fn default_output_tokens_max() -> u32 {
    512
}
fn default_pass_percent_min() -> u32 {
    100
}
fn default_samples_min() -> u32 {
    20
}
