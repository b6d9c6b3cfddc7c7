//! `operations/*.toml`: what upstreams can do, as read.

use super::Server;
use super::database::StatementArgument;
use super::flow::{Returns, RoleWord};
use super::retriever::Documents;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// `operations/<upstream>.toml`: what one upstream can do.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Operations {
    /// Its tools, by name.
    #[serde(default)]
    pub tool: BTreeMap<String, Operation>,
    /// Its built-in operations that differ from the protocol's defaults, by method.
    #[serde(default)]
    pub method: BTreeMap<String, Operation>,
    /// What of the server itself was accepted.
    pub server: Option<Server>,
}

/// One operation.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Operation {
    /// What it does: `read`, `nav`, `write`, `egress`, `destructive`.
    pub effect: EffectWord,
    /// Whether a person has agreed to this declaration.
    #[serde(default)]
    pub accepted: bool,
    /// Whether its denials are observed instead of enforced. Never for `destructive`.
    #[serde(default)]
    pub observe: bool,
    /// The entity it acts on: its type, and the argument that names it.
    pub resource: Option<ResourceRole>,
    /// The arguments that name a destination: a read with one is durable before it leaves.
    #[serde(default)]
    pub destination: Vec<String>,
    /// What its arguments are for, by name; within objects, names with `.` between them. Every item
    /// of an array has the role of the array.
    #[serde(default)]
    pub roles: BTreeMap<String, RoleWord>,
    /// What it returns. Without it: anybody's words, and public.
    #[serde(default)]
    pub returns: Returns,
    /// What may be done when it is not known whether it happened. Only for what changes something.
    #[serde(default)]
    pub class: ClassWord,
    /// Where the upstream takes an idempotency key, or the reference under which it can be looked
    /// up: one of `argument`, `header` and `meta`.
    pub key: Option<KeyPlace>,
    /// How it is looked up, if it is `queryable`.
    pub lookup: Option<Lookup>,
    /// Seconds in which the same call without a key of the caller's is the same effect, and is
    /// answered with what came of the first. 0: every call is a new effect.
    #[serde(default = "default_repeat_window_s")]
    #[schemars(range(max = 604800))]
    pub repeat_window_s: u32,
    /// Whether it is done in two phases: a call without a plan gets one and does nothing; the same
    /// call with it is done, if nothing that was offered has changed. Only for what changes
    /// something.
    #[serde(default)]
    pub two_phase: bool,
    /// The upstream's own preview of it, for the plan.
    pub preview: Option<Preview>,
    /// What it has to cite. Unset: nothing.
    pub cite: Option<Cite>,
    /// Where the documents are that it finds, if it is a retriever: each is decided by itself.
    pub documents: Option<Documents>,
    /// At a database: the statement that this is, with `:name` where an argument stands.
    pub statement: Option<String>,
    /// At a database, instead: the caller gives the statement, as `sql` and `parameters`. It is one
    /// query of the declared tables, checked and written anew.
    #[serde(default)]
    pub free_statement: bool,
    /// The arguments of `statement`, by name.
    #[serde(default)]
    pub argument: BTreeMap<String, StatementArgument>,
    /// At a database: what it is for, as models read it.
    pub description: Option<String>,
    /// The accepted JSON Schema of its arguments, as JSON text. Arguments that it does not name are
    /// refused, unless it says `additionalProperties`. A tool without a schema takes no arguments.
    pub schema: Option<String>,
    /// The digest of the accepted definition as the upstream describes it: a live difference
    /// denies.
    pub pin: Option<String>,
    /// What a person accepts of exactly the pinned definition, although calls would be refused
    /// for it: `found <class>` for what was found in it, `names_other <operation>` for a tool of
    /// another server that it names. `lockgate tools approve` writes it.
    #[serde(default)]
    pub despite: Vec<String>,
}

fn default_repeat_window_s() -> u32 {
    600
}

/// What an operation has to cite: documents that were retrieved in the same session, with what they
/// say.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cite {
    /// The argument with the text that rests on them, if there is one: numbers in brackets, `[1]`,
    /// have to be those of claims.
    pub text: Option<String>,
    /// The argument with the claims: an array of objects with `document` (`<source>/<id>`) and
    /// `quote`.
    pub claims: String,
    /// How many there are at least.
    #[serde(default = "default_claims_min")]
    #[schemars(range(min = 1, max = 64))]
    pub claims_min: u32,
    /// Who may agree to a call that does not cite what it has to: the requirement of their
    /// approval. Unset: such a call is refused. What is cited and does not hold is always refused.
    pub ask: Option<String>,
}

fn default_claims_min() -> u32 {
    1
}

/// What may be done when it is not known whether an effect happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClassWord {
    /// The upstream honours an idempotency key: the same is sent again, with the same key.
    Idempotent,
    /// It can be looked up by a reference that was sent with it.
    Queryable,
    /// Nothing: a person has to find out.
    #[default]
    Opaque,
}

/// Where the upstream takes an idempotency key or reference: one of the three.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyPlace {
    /// A text argument that the schema names. A value that the caller gives is its key; else the
    /// gate fills it in.
    pub argument: Option<String>,
    /// A header of the HTTP request.
    pub header: Option<String>,
    /// A member of the request's `_meta`.
    pub meta: Option<String>,
}

/// How an effect is looked up.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Lookup {
    /// A declared tool of the same upstream whose effect is `read`.
    pub tool: String,
    /// Its argument that takes the reference.
    pub argument: String,
    /// What its structured result has if the effect happened, and lacks if not: names, with `.`
    /// between them. A value of `null`, `false` or an empty array counts as lacking.
    pub found: String,
    /// At an HTTP API: the status that says that it is not there, such as 404.
    #[schemars(range(min = 400, max = 499))]
    pub missing_status: Option<u16>,
    /// Milliseconds after the call left during which an effect may still appear: until then, not
    /// found does not mean not happened.
    #[serde(default = "default_settles_ms")]
    #[schemars(range(max = 86400000))]
    pub settles_ms: u32,
}

fn default_settles_ms() -> u32 {
    60_000
}

/// How a call is previewed that is done in two phases.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Preview {
    /// A declared tool of the same upstream whose effect is `read`. It gets the same arguments.
    pub tool: String,
    /// What its structured result has to show again when the call is made: names, with `.` between
    /// them. Empty: the preview is made once, for the plan.
    #[serde(default)]
    pub same: Vec<String>,
}

/// The entity an operation acts on.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ResourceRole {
    /// An entity type for policies: `Customer`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The argument whose value names it.
    pub argument: String,
}

/// The word for an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words are defined with `types::call::Effect`")]
pub enum EffectWord {
    Read,
    Nav,
    Write,
    Egress,
    Destructive,
}
