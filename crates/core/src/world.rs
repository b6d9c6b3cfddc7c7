//! Everything a bundle says, compiled once: an immutable snapshot that is swapped whole.

use crate::conform::Conformance;
use crate::declare::{Cite, Documents, Gate, Principals, Source, StatementArgument, Task};
use crate::endpoint::Endpoint;
use crate::eval::Suite;
use crate::exposure::Isolation;
use crate::flow::Declared;
use crate::model::Registry;
use crate::policy::Policies;
use crate::prompt::Template;
use crate::risk::Rules;
use crate::run::Plan;
use lockgate_types::call::Effect;
use lockgate_types::model::ModelApi;
use lockgate_types::{Digest, Environment, Json, OperationName, TaskName, Tenant, UpstreamName};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The files of a bundle: path relative to its directory, with `/`, to content.
pub type Files = BTreeMap<String, Vec<u8>>;

/// A bundle, compiled.
#[derive(Clone, Debug)]
pub struct World {
    /// The digest of the bundle: of the canonical list of its files' names and digests.
    pub digest: Digest,
    /// Where this gate runs.
    pub environment: Environment,
    /// The tenant of identities whose issuer does not name one.
    pub tenant: Tenant,
    /// `lockgate.toml`.
    pub gate: Gate,
    /// `principals.toml`.
    pub principals: Principals,
    /// For whom, and for how long, what sessions have met is kept.
    pub isolation: Isolation,
    /// Every declared operation, and the protocol's built-in ones of every upstream.
    pub operations: BTreeMap<OperationName, Operation>,
    /// What was accepted of servers themselves, by upstream.
    pub servers: BTreeMap<String, Server>,
    /// What the bundle says of tasks. One that it says nothing of has no file.
    pub tasks: BTreeMap<TaskName, Task>,
    /// Runs that the gate itself drives, by their task.
    pub runs: BTreeMap<TaskName, Plan>,
    /// The endpoints of HTTP APIs, by upstream, declared as operations or not.
    pub apis: BTreeMap<String, Api>,
    /// The models there are.
    pub models: Arc<Registry>,
    /// The templates of prompts, by name.
    pub prompts: BTreeMap<String, Template>,
    /// The suites of behaviour tests, by name.
    pub suites: BTreeMap<String, Suite>,
    /// The registered sources of documents, by name, each with its tenant.
    pub sources: BTreeMap<String, Source>,
    /// The policies, compiled and indexed.
    pub policies: Policies,
    /// What is held against sessions. `None`: nothing, only people change modes.
    pub risk: Option<Arc<Rules>>,
    /// Where databases are described in `lockgate.toml`: lines by upstream and table, with `""` for
    /// what is no table's. For mistakes that are found later.
    pub lines: BTreeMap<(String, String), usize>,
}

/// What comes first where the task asks for it, and the operation does not.
const PLAIN: TwoPhases = TwoPhases { preview: None };

impl World {
    /// What comes before an operation, as it is done for a task: because the operation is done in
    /// two phases, or everything is that the task changes.
    pub fn two_phases(
        &self,
        operation: &OperationName,
        task: Option<&TaskName>,
    ) -> Option<&TwoPhases> {
        let declared = self.operations.get(operation)?;
        let task = || task.and_then(|task| self.tasks.get(task));
        declared.two_phases.as_ref().or_else(|| {
            let has_two = declared.repeat.is_some() && task().is_some_and(|task| task.two_phase);
            has_two.then_some(&PLAIN)
        })
    }
}

/// A declared operation, compiled.
#[derive(Clone, Debug)]
pub struct Operation {
    /// The upstream it belongs to.
    pub upstream: UpstreamName,
    /// What it does.
    pub effect: Effect,
    /// Whether a person has agreed to the declaration. Built-in operations are.
    pub accepted: bool,
    /// Whether denials are observed instead of enforced.
    pub observe: bool,
    /// The Cedar entity type and the argument that names the resource.
    pub resource: Option<(String, String)>,
    /// The arguments that name a destination.
    pub destination: Vec<String>,
    /// What its arguments are for, and whose words it returns.
    pub flow: Declared,
    /// What makes two calls one effect, and what is done about one in doubt. `None` for what
    /// changes nothing, and for what the protocol has built in.
    pub repeat: Option<Repeat>,
    /// What comes before it, if it is done in two phases.
    pub two_phases: Option<TwoPhases>,
    /// The accepted schema of the arguments, as it was snapshotted.
    pub schema: Option<Json>,
    /// The digest of the accepted definition.
    pub pin: Option<Digest>,
    /// What a person accepts of exactly that definition, see [`crate::quarantine::despite`].
    pub despite: Vec<String>,
    /// What it is at a database. `None` anywhere else.
    pub statement: Option<Statement>,
    /// What it is at an HTTP API. `None` anywhere else.
    pub endpoint: Option<Arc<Endpoint>>,
    /// What it does with a memory. `None` anywhere else.
    pub recollection: Option<Recollection>,
    /// What it has to cite.
    pub cite: Option<Cite>,
    /// Where the documents are that it finds. `None`: it finds none.
    pub documents: Option<Arc<Documents>>,
    /// Which interface it is, at a provider of models. `None` anywhere else.
    pub model: Option<ModelApi>,
    /// What its arguments are checked against. A tool without a schema takes no arguments. `None`
    /// for methods whose shape the wire checks, and for the gate's own operations.
    pub conformance: Option<Conformance>,
}

/// What an operation does with a memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recollection {
    /// Writes a memo, or another in its place.
    Remember,
    /// Reads memos.
    Recall,
    /// Names memos.
    List,
    /// Deletes a memo.
    Forget,
}

impl Recollection {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Remember, Self::Recall, Self::List, Self::Forget];

    /// The name of its tool.
    pub const fn tool(self) -> &'static str {
        match self {
            Self::Remember => "remember",
            Self::Recall => "recall",
            Self::List => "list",
            Self::Forget => "forget",
        }
    }

    /// What it does.
    pub const fn effect(self) -> Effect {
        match self {
            Self::Remember => Effect::Write,
            Self::Recall | Self::List => Effect::Read,
            Self::Forget => Effect::Destructive,
        }
    }
}

/// What was accepted of a server, besides its tools.
#[derive(Clone, Debug, Default)]
pub struct Server {
    /// The digest of the accepted instructions.
    pub instructions_pin: Option<Digest>,
    /// What was found in exactly these, and is accepted.
    pub despite: Vec<String>,
    /// Digests of prompts, resources and templates that are accepted whatever is found in them.
    pub items: BTreeSet<Digest>,
}

/// What an HTTP API has.
#[derive(Clone, Debug, Default)]
pub struct Api {
    /// Its endpoints, by the name of their tool.
    pub endpoints: BTreeMap<String, Arc<Endpoint>>,
    /// What of its OpenAPI document cannot be used, by the same names, and why.
    pub left_out: BTreeMap<String, String>,
}

/// What an operation of a database is.
#[derive(Clone, Debug)]
pub struct Statement {
    /// Which statement.
    pub kind: StatementKind,
    /// What it is for, as models read it.
    pub description: String,
    /// Where it is declared, in `operations/<upstream>.toml`.
    pub line: Option<usize>,
}

/// Which statement an operation of a database is.
#[derive(Clone, Debug)]
pub enum StatementKind {
    /// A query that the caller gives.
    Given,
    /// A query of the bundle's.
    Query(Prepared),
    /// A change that the bundle describes.
    Change(Prepared),
}

/// A statement of the bundle's.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// Its text, with `:name` where an argument stands.
    pub text: String,
    /// Its arguments.
    pub arguments: BTreeMap<String, StatementArgument>,
}

/// What makes two calls one effect, and what is done about one in doubt (I5).
#[derive(Clone, Debug)]
pub struct Repeat {
    /// What may be done about one in doubt.
    pub class: Class,
    /// Where the upstream takes its key.
    pub place: Option<Place>,
    /// Microseconds in which calls without a key of the caller's are one effect.
    pub window_us: i64,
}

/// What comes before an operation that is done in two phases.
#[derive(Clone, Debug)]
pub struct TwoPhases {
    /// What shows beforehand what it would do, beside the request itself.
    pub preview: Option<Preview>,
}

/// The upstream's own preview.
#[derive(Clone, Debug)]
pub struct Preview {
    /// The tool, of the same upstream.
    pub tool: String,
    /// Paths of what has to show again when the call is made. Empty: it is not asked for again.
    pub same: Vec<Vec<String>>,
}

/// What may be done when it is not known whether an effect happened.
#[derive(Clone, Debug)]
pub enum Class {
    /// It is sent again, with the same key.
    Idempotent,
    /// It is looked up.
    Queryable(Lookup),
    /// A person has to find out.
    Opaque,
}

impl Class {
    /// The word in declarations and answers.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Idempotent => "idempotent",
            Self::Queryable(_) => "queryable",
            Self::Opaque => "opaque",
        }
    }
}

/// How an effect is looked up.
#[derive(Clone, Debug)]
pub struct Lookup {
    /// The tool, of the same upstream.
    pub tool: String,
    /// Its argument that takes the reference.
    pub argument: String,
    /// The path to what is there if the effect happened.
    pub found: Vec<String>,
    /// The status by which an HTTP API says that it is not there.
    pub missing_status: Option<u16>,
    /// Microseconds in which an effect may still appear.
    pub settles_us: i64,
}

/// Where the upstream takes an idempotency key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// An argument.
    Argument(String),
    /// A header of the HTTP request.
    Header(String),
    /// A member of `_meta`.
    Meta(String),
}
