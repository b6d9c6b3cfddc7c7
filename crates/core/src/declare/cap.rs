//! `[[cap]]` and `[[rate]]`: how much may happen, and how often, as read.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How much may happen, for each of something. Hard: what a call takes is reserved before it
/// leaves.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cap {
    /// A name, for records and refusals.
    pub name: String,
    /// What has a counter of its own. `call`: each call by itself is measured, and nothing counted.
    pub per: CapScope,
    /// The operations that count, such as `desk/refund`. Unset: all.
    #[serde(default)]
    pub operations: Vec<String>,
    /// Whether reads count too.
    #[serde(default)]
    pub reads: bool,
    /// Of `per = "team"`: the groups that have a counter each. A subject in several counts for each
    /// of them, one in none for none.
    #[serde(default)]
    pub groups: Vec<String>,
    /// What is counted: calls, those that change something, or what models cost. Unset: `calls`.
    pub count: Option<CountWord>,
    /// The argument that is added up: a number that is not negative. Unset, like `entities`, `rows`
    /// and `bytes`: calls are counted.
    pub sum: Option<String>,
    /// Decimals of the argument: with 2, `max` is in hundredths.
    #[serde(default)]
    #[schemars(range(max = 9))]
    pub decimals: u32,
    /// Where a structured result says what it really came to, for `sum`: names, with `.` between
    /// them. The argument is then an estimate, which the outcome corrects.
    pub actual: Option<String>,
    /// The argument that says how many entities are affected: an array has as many as its length,
    /// an integer is their number.
    pub entities: Option<String>,
    /// Whether the rows that a database's change changes are counted.
    #[serde(default)]
    pub rows: bool,
    /// Which bytes are counted.
    pub bytes: Option<BytesWord>,
    /// How many calls may be under way at once. Instead of `max`, and without a window.
    #[schemars(range(min = 1, max = 10000))]
    pub concurrent: Option<u32>,
    /// How much there is: in a window, or with `per = "call"` in each call.
    #[schemars(range(min = 0))]
    pub max: Option<i64>,
    /// Seconds of a window. Windows follow each other from 1970 on.
    #[schemars(range(min = 1, max = 31622400))]
    pub window_s: Option<u32>,
    /// The approval that lifts it for one call, such as `group:finance`. Unset: nothing does.
    pub escalate: Option<String>,
    /// Of a hundred, how much is used when somebody is told. Unset: nobody is, before it stops.
    #[schemars(range(min = 1, max = 100))]
    pub alert_percent: Option<u32>,
    /// Of a hundred, how much is used when the cheaper entries answer that models name in
    /// `degrade_to`. Only with `count = "tokens"` and `"spend"`. Unset: they never do.
    #[schemars(range(min = 1, max = 100))]
    pub degrade_percent: Option<u32>,
}

/// What has a counter of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words are those of the glossary")]
pub enum CapScope {
    Global,
    Tenant,
    Environment,
    Agent,
    Subject,
    Session,
    /// What one request sets off, as far as the gate itself knows: what an upstream asks the client
    /// within a call, and what the gate looks up for it. Other calls count for their session.
    Tree,
    Operation,
    Task,
    /// A group of the subject.
    Team,
    Call,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CountWord {
    /// All that the cap is about.
    Calls,
    /// Those of them whose effect is `write`, `egress` or `destructive`.
    Writes,
    /// The tokens of models, those of prompts and of replies, reads or not. What they may come to
    /// is reserved first.
    Tokens,
    /// What models cost, by the `price` of their entries. `max` is in hundredths, or what the
    /// currency has.
    Spend,
}

/// Which bytes are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BytesWord {
    /// Those of the arguments that leave, in their canonical form.
    Out,
    /// Those of the answer. `answer_bytes_max` of them are reserved until it is there.
    In,
}

/// How often something may be asked for, for each of something. Soft: a fleet's nodes each have a
/// slice of it in hand.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// A name, for refusals.
    pub name: String,
    /// What has a bucket of its own.
    pub per: CapScope,
    /// The operations that count, such as `desk/refund`. Unset: all.
    #[serde(default)]
    pub operations: Vec<String>,
    /// Whether reads count too.
    #[serde(default)]
    pub reads: bool,
    /// How many calls a second. Instead of `amount` and `interval_s`.
    #[schemars(range(min = 1, max = 1000000))]
    pub per_second: Option<u32>,
    /// How many calls in each interval.
    #[schemars(range(min = 1, max = 1000000))]
    pub amount: Option<u32>,
    /// Seconds of the interval.
    #[schemars(range(min = 1, max = 86400))]
    pub interval_s: Option<u32>,
    /// How many may come at once after a pause. Unset: as many as in one interval.
    #[schemars(range(min = 1, max = 1000000))]
    pub burst: Option<u32>,
}
