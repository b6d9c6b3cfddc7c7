//! `prompts/<name>.toml`: templates of prompts, as read.

use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// `prompts/<name>.toml`: a template, of typed segments. Instructions are the bundle's own words
/// alone: nothing is ever put into them.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Prompt {
    /// The version: in the record of every prompt that is made of it.
    pub version: String,
    /// What it is for, for people.
    pub description: Option<String>,
    /// Its segments, in order.
    pub segment: Vec<Segment>,
    /// What it has to give for certain material, so that it changes for nobody by accident.
    #[serde(default)]
    pub golden: Vec<Golden>,
}

/// A segment.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Segment {
    /// What it is.
    pub kind: SegmentWord,
    /// Of `instructions`: the text, as it is.
    pub text: Option<String>,
    /// Of `signals`: which of what the gate knows is told.
    #[serde(default)]
    pub show: Vec<SignalWord>,
    /// Of `data`: the name under which it is handed in.
    pub name: Option<String>,
    /// Of `data`: how valuable it is. Where there is too little room, the least valuable goes
    /// first.
    #[serde(default)]
    #[schemars(range(max = 1000))]
    pub value: u32,
    /// Of `data`: whether there is no prompt without all of it.
    #[serde(default)]
    pub required: bool,
}

/// What a segment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SegmentWord {
    /// Words of the bundle that the model follows.
    Instructions,
    /// What the gate knows of the call.
    Signals,
    /// Texts from elsewhere, fenced and marked.
    Data,
    /// What the person asks.
    Input,
}

/// What the gate knows of a call, and may tell the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words are those of the glossary")]
pub enum SignalWord {
    Confidentiality,
    Environment,
    Mode,
    Task,
    Tenant,
}

/// Material, and what is made of it.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Golden {
    /// What the person asks.
    pub input: Option<String>,
    /// Texts from elsewhere, by the name of their segment. They count as anybody's words, and as
    /// internal.
    #[serde(default)]
    pub data: BTreeMap<String, Vec<String>>,
    /// Tokens that there is room for.
    #[serde(default = "default_room_tokens")]
    #[schemars(range(min = 1, max = 1000000000))]
    pub room_tokens: u32,
    /// The digest of the prompt.
    pub digest: String,
}

fn default_room_tokens() -> u32 {
    100_000
}
