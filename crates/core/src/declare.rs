//! What the files of a bundle declare, as read: `lockgate.toml`, `principals.toml`,
//! `operations/*.toml`, `tasks/*.toml`, `models/*.toml`, `prompts/*.toml`, `evals/*.toml`,
//! `sources/*.toml`.
//!
//! These types are the configuration reference: the JSON Schema in `docs/reference/` is generated
//! from them. Unknown keys are errors.

mod api;
mod cap;
mod credential;
mod database;
mod eval;
mod flow;
mod guard;
mod isolation;
mod limits;
mod memory;
mod model;
mod operation;
mod people;
mod pins;
mod prompt;
mod retriever;
mod risk;
mod run;
mod source;

pub use api::{Api, ApiArgument, ApiTool, MethodWord, PlaceWord};
pub use cap::{BytesWord, Cap, CapScope, CountWord, Rate};
pub use credential::{
    ClientAuth, Credential, CredentialKind, Credentials, KeyAlgorithm, Secret, SecretCommand,
    SecretPlace,
};
pub use database::{ArgumentWord, Database, DialectWord, StatementArgument, Table};
pub use eval::{
    Cites, Counterfactual, EvalCase, EvalMessage, EvalRole, EvalTool, Expect, FairnessLimits,
    Positive, Proposes, Required, Suite,
};
pub use flow::{ConfidentialityWord, ObjectShape, OriginWord, Returns, RoleWord};
pub use guard::{AnswerChecks, AnswerGuard, CheckWord, FoundWord, Guard, LinksWord, PromptGuard};
pub use isolation::{Isolation, IsolationGroup};
pub use limits::Limits;
pub use memory::{Memory, ScopeWord};
pub use model::{
    Canary, Deadlines, Evaluation, Fallback, FamilyWord, FunctionsWord, Guards, Model, Price,
    Provider, RiskTierWord, Shadow, Terms,
};
pub use operation::{
    Cite, ClassWord, EffectWord, KeyPlace, Lookup, Operation, Operations, Preview, ResourceRole,
};
pub use people::{Console, Webhook};
pub use pins::Server;
pub use prompt::{Golden, Prompt, Segment, SegmentWord, SignalWord};
pub use retriever::Documents;
pub use risk::{
    BaselineRules, Enter, Risk, Stay, TenantEnter, TenantRisk, TenantStay, TenantWeights, Weights,
};
pub use run::{OnFailureWord, OnRefusalWord, Run, StepWord, Verify, When, Workflow, WorkflowStep};
pub use source::{
    Connector, CurationWord, DirectoryConnector, Embeddings, EndingsWord, Field, FolderPermissions,
    Freshness, GitConnector, HttpConnector, KindByPath, McpConnector, Permissions, Quality,
    QualityWord, QueryConnector, Retrieval, RetrieverConnector, S3Connector, SinceWord, Source,
    VectorsWord, is_postgres,
};

use schemars::{JsonSchema, Schema, generate::SchemaSettings, transform::Transform};
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The JSON Schemas of the kinds of declarative files, with the names under which they are
/// published.
pub fn json_schemas() -> [(&'static str, Value); 8] {
    [
        ("config.schema.json", schema_of::<Gate>()),
        ("principals.schema.json", schema_of::<Principals>()),
        ("operations.schema.json", schema_of::<Operations>()),
        ("tasks.schema.json", schema_of::<Task>()),
        ("models.schema.json", schema_of::<Model>()),
        ("prompts.schema.json", schema_of::<Prompt>()),
        ("evals.schema.json", schema_of::<Suite>()),
        ("sources.schema.json", schema_of::<Source>()),
    ]
}

/// The JSON Schema of one kind of file. TOML has no null, so what may be absent is not described as
/// nullable.
pub fn schema_of<T: JsonSchema>() -> Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = generator.into_root_schema_for::<T>();
    NoNull.transform(&mut schema);
    schema.to_value()
}

/// Takes the null out of optional members.
#[derive(Clone, Copy)]
struct NoNull;

impl Transform for NoNull {
    fn transform(&mut self, schema: &mut Schema) {
        schemars::transform::transform_subschemas(self, schema);
        let Some(object) = schema.as_object_mut() else { return };
        if object.get("default") == Some(&Value::Null) {
            object.remove("default");
        }
        if let Some(Value::Array(kinds)) = object.get_mut("type") {
            kinds.retain(|kind| kind != "null");
            if let [only] = kinds.as_slice() {
                let only = only.clone();
                object.insert("type".to_owned(), only);
            }
        }
        let Some(Value::Array(branches)) = object.get_mut("anyOf") else { return };
        branches.retain(|branch| branch.get("type").is_none_or(|kind| kind != "null"));
        if let [Value::Object(only)] = branches.as_slice() {
            let only = only.clone();
            object.remove("anyOf");
            object.extend(only);
        }
    }
}

/// `lockgate.toml`: the gate itself.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Gate {
    /// Where this gate runs: `dev`, `staging`, `prod`, or a name of your own.
    pub environment: String,
    /// The tenant of identities whose issuer does not name one.
    #[serde(default = "default_tenant")]
    pub tenant: String,
    /// The name of the ledger, in every checkpoint. Unset: `lockgate.local/<tenant>/<environment>`.
    pub origin: Option<String>,
    /// The database that the nodes of a fleet share: `postgres://role@host/database`, or where that
    /// stands: `env:NAME`, `file:PATH`, a command. Unset: an embedded one, in the state directory.
    pub store: Option<Secret>,
    /// The addresses this gate answers at.
    #[serde(default)]
    pub listen: Vec<Listen>,
    /// The issuers whose tokens it reads.
    #[serde(default)]
    pub issuer: Vec<Issuer>,
    /// A generated issuer for first use on loopback; never in `prod`.
    pub development: Option<Development>,
    /// The tool servers it stands in front of, by name.
    #[serde(default)]
    pub upstream: BTreeMap<String, Upstream>,
    /// Caps: how much may happen.
    #[serde(default)]
    pub cap: Vec<Cap>,
    /// The pages for people.
    #[serde(default)]
    pub console: Console,
    /// Channels that are told of requests for approval, and may answer them.
    #[serde(default)]
    pub webhook: Vec<Webhook>,
    /// Rates: how often something may be asked for.
    #[serde(default)]
    pub rate: Vec<Rate>,
    /// What is kept of what sessions have met.
    pub isolation: Option<Isolation>,
    /// When the gate tightens what a session, or the tenant, may do. Unset: only people do.
    pub risk: Option<Risk>,
    /// How what registered sources have is searched.
    pub retrieval: Option<Retrieval>,
    /// Bounds.
    #[serde(default)]
    pub limits: Limits,
}

fn default_tenant() -> String {
    "default".to_owned()
}

/// An address this gate answers at.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// Address and port. An address that is not loopback needs `tls`.
    pub address: String,
    /// Certificate and key: PEM files relative to the bundle, in `tls/`, which is never recorded
    /// with it.
    pub tls: Option<Tls>,
    /// Names accepted in the Host header besides loopback names and the address itself.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Origins accepted besides loopback ones: `https://console.example`.
    #[serde(default)]
    pub origins: Vec<String>,
    /// One identity for every request, for clients that cannot send headers. Loopback only, never
    /// in `prod`.
    pub identity: Option<FixedIdentity>,
}

/// Certificate and key of a listener.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// PEM file with the certificate chain.
    pub certificate: String,
    /// PEM file with the private key.
    pub key: String,
}

/// The identity of a fixed-identity listener.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FixedIdentity {
    /// The subject.
    pub subject: String,
    /// The agent.
    pub agent: String,
}

/// An issuer of tokens.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Issuer {
    /// A name for it in records and messages.
    pub name: String,
    /// The exact value of `iss`.
    pub url: String,
    /// The value that `aud` must contain. Without it the gate does not start.
    pub audience: Option<String>,
    /// Where its keys are: an `https` address (or `http` on loopback).
    pub jwks: Option<String>,
    /// Networks the address of its keys may be in although they are not public, such as
    /// `10.0.0.0/8`: for names that resolve to them.
    #[serde(default)]
    pub allow_networks: Vec<String>,
    /// Where its keys are: a file of the bundle.
    pub jwks_file: Option<String>,
    /// The algorithms it signs with, such as `ES256`, `RS256`, `EdDSA`. Never `none`, never `HS*`.
    pub algorithms: Vec<String>,
    /// Put before `sub` to make subjects of different issuers different. No two issuers may share
    /// one.
    #[serde(default)]
    pub subject_prefix: String,
    /// Which claims carry what.
    #[serde(default)]
    pub claims: ClaimMapping,
}

/// Which claims of a token carry what. A dotted path reaches into objects.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClaimMapping {
    /// The tenant; unset: the gate's.
    pub tenant: Option<String>,
    /// The subject's groups, an array of strings.
    pub groups: Option<String>,
    /// The subject's roles, an array of strings.
    pub roles: Option<String>,
    /// The task.
    pub task: Option<String>,
    /// What is the subject's own, such as `email`: a claim that is a string, or an array of them.
    #[serde(default)]
    pub own: Vec<String>,
}

/// The development issuer: `lockgate token <user> --agent <agent>` signs with it.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Development {
    /// The users it may name.
    pub users: Vec<String>,
}

/// A tool server: a child process (`command`), an address (`url`), a database (`database`), an HTTP
/// API (`api`) or a memory (`memory`); or a provider of models (`model`): one of the six.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// Program and arguments. It gets a cleared environment and never the state directory.
    pub command: Option<Vec<String>>,
    /// Environment variables set for it: texts, or where a secret is.
    #[serde(default)]
    pub env: BTreeMap<String, Secret>,
    /// Environment variables passed on to it from the gate's own, by name. `PATH` and `HOME` always
    /// are.
    #[serde(default)]
    pub pass_env: Vec<String>,
    /// Its working directory.
    pub directory: Option<String>,
    /// Its Streamable HTTP endpoint.
    pub url: Option<String>,
    /// Headers sent to it: texts, or where a secret is.
    #[serde(default)]
    pub headers: BTreeMap<String, Secret>,
    /// What the gate shows to it, where one header for everything is not enough.
    pub credential: Option<Credentials>,
    /// A database whose statements are tools.
    pub database: Option<Database>,
    /// An HTTP API whose endpoints are tools.
    pub api: Option<Api>,
    /// A memory of the gate's own, in which agents write down what they want to know later.
    pub memory: Option<Memory>,
    /// A provider of models.
    pub model: Option<Provider>,
    /// Networks it may be in although they are not public, such as `10.0.0.0/8`: for names that
    /// resolve to them. Loopback and private addresses that stand in its own address need not be
    /// listed; link-local ones do. They hold for the token endpoints of its credential, too.
    #[serde(default)]
    pub allow_networks: Vec<String>,
    /// Which protocol era it speaks; unset: asked at the first connection.
    pub era: Option<Era>,
    /// How long one call may take, in milliseconds.
    #[serde(default = "default_timeout_ms")]
    #[schemars(range(min = 1, max = 86400000))]
    pub timeout_ms: u32,
    /// How many calls may be on their way at once.
    #[serde(default = "default_in_flight_max")]
    #[schemars(range(min = 1, max = 65536))]
    pub in_flight_max: u32,
    /// Of these, how many one caller (subject and agent) may have. Unset: three of four.
    #[schemars(range(min = 1, max = 65536))]
    pub in_flight_per_identity_max: Option<u32>,
    /// When it is left alone because it fails.
    #[serde(default)]
    pub breaker: Breaker,
    /// Methods outside the protocol that are decided as operations and forwarded.
    #[serde(default)]
    pub forward_methods: Vec<String>,
    /// Whether it is the gate's own search in registered sources. Nobody declares it: it is there
    /// once there are sources.
    #[serde(skip)]
    pub search: bool,
}

impl Upstream {
    /// The gate's own search.
    pub(crate) fn search() -> Option<Self> {
        let plain: Self = toml::from_str("").ok()?;
        Some(Self { search: true, ..plain })
    }

    /// Whether its tools are the gate's own, whatever the bundle says.
    pub const fn is_own(&self) -> bool {
        self.memory.is_some() || self.search
    }
}

/// When an upstream, or one of its operations, is left alone because it fails, and for how long.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Breaker {
    /// Failures in a row after which nothing is asked for a while. 0: it is always asked.
    #[schemars(range(min = 0, max = 1000))]
    pub failures: u32,
    /// Milliseconds of the first pause. Each is twice as long as the one before.
    #[schemars(range(min = 1, max = 3600000))]
    pub pause_ms: u32,
    /// Milliseconds of the longest pause.
    #[schemars(range(min = 1, max = 3600000))]
    pub pause_max_ms: u32,
}

impl Default for Breaker {
    fn default() -> Self {
        Self { failures: 5, pause_ms: 1000, pause_max_ms: 60_000 }
    }
}

fn default_timeout_ms() -> u32 {
    60_000
}
fn default_in_flight_max() -> u32 {
    256
}

/// A protocol era.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Era {
    /// With sessions: 2025-06-18 and 2025-11-25.
    #[serde(rename = "sessions")]
    Sessions,
    /// Stateless: 2026-07-28.
    #[serde(rename = "stateless")]
    Stateless,
}

/// `tasks/<task>.toml`: what holds for calls of one task, as identities name it.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Task {
    /// What it is for.
    pub description: Option<String>,
    /// Whether a plan comes first for every tool that changes something: the first call says what
    /// would happen, and the second, with that, has it done.
    pub two_phase: bool,
    /// The entries of the registry that answer for it, in order. A client that asks for another one
    /// gets the first. Unset: whichever it asks for.
    pub models: Option<Vec<String>>,
    /// What is answered when none of them does. Unset: that none did.
    pub fallback: Option<Fallback>,
    /// Whether two entries may be asked at once where the first is late (`hedge_after_ms`). Unset:
    /// they may.
    pub hedge: Option<bool>,
    /// What has to be true of the answers of models.
    pub checks: AnswerChecks,
    /// Runs of it that the gate itself drives. Unset: there are none.
    pub run: Option<Run>,
    /// Whether its calls are evaluations: they ask entries of the registry by their own names, and
    /// what an entry has to have passed first is not asked of it. No canary is counted by them.
    pub evaluation: bool,
    /// The sources that documents may come from. Unset: whichever may be used for it.
    pub sources: Option<Vec<String>>,
    /// Snapshots that are pinned, by source. Of any other, the one that serves.
    pub snapshots: BTreeMap<String, u64>,
    /// The kinds of text that its answers are made of, and of nothing else: `template`. Empty: any.
    pub answers_from: Vec<String>,
    /// How old its documents may be. Of this and a source's own, the one with more restraint holds.
    pub freshness: Option<Freshness>,
}

/// `principals.toml`: who there is.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Principals {
    /// The agents, by their identity (`act.sub`).
    #[serde(default)]
    pub agent: BTreeMap<String, Agent>,
    /// The subjects, by their identity (prefix and `sub`).
    #[serde(default)]
    pub user: BTreeMap<String, User>,
    /// Groups that are in groups, and the groups they are in. Any other group needs no table:
    /// whoever is in it declares it.
    #[serde(default)]
    pub group: BTreeMap<String, Group>,
    /// Whether a subject that is not declared here may appear, with the groups its token claims.
    #[serde(default)]
    pub undeclared_users: bool,
}

impl Principals {
    /// Every group that is named: by a table of its own, or by whoever is in it.
    pub(crate) fn groups(&self) -> BTreeSet<&str> {
        let above = self.group.values().flat_map(|group| &group.member_of);
        let of_users = self.user.values().flat_map(|user| &user.groups);
        let of_agents = self.agent.values().flat_map(|agent| &agent.groups);
        let all = self.group.keys().chain(above).chain(of_users).chain(of_agents);
        all.map(String::as_str).collect()
    }
}

impl Gate {
    /// Whether tokens name groups too, which nobody declares.
    pub(crate) fn has_claimed_groups(&self) -> bool {
        self.issuer.iter().any(|issuer| issuer.claims.groups.is_some())
    }
}

/// An agent.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Agent {
    /// The environments in which it exists.
    pub environments: Vec<String>,
    /// Its groups.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Values of `client_id` or `azp` that mean this agent where a token has no `act`.
    #[serde(default)]
    pub client_ids: Vec<String>,
    /// The highest classification of documents that it is cleared for. Unset: what is public.
    #[serde(default)]
    pub clearance: ConfidentialityWord,
    /// Whether it is an application that people speak to, and says truly what they have said: when
    /// it opens a session, and in `_meta` of a call, as `dev.lockgate/user-words`. Those of any
    /// other agent are not believed.
    #[serde(default)]
    pub relays_user_words: bool,
}

/// A subject.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// Its groups.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Its roles.
    #[serde(default)]
    pub roles: Vec<String>,
    /// What is its own: addresses, accounts, names. A call may name them without being asked to.
    #[serde(default)]
    pub own: Vec<String>,
}

/// A group.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// The groups it is in.
    #[serde(default)]
    pub member_of: Vec<String>,
}
