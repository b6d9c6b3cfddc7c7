//! Cedar policies: compiled from the bundle, looked up by an exact index, evaluated per leg.
//!
//! `compile` reads every `.cedar` file against a schema generated from the declarations and names
//! every mistake. What is kept is small: a body per policy, typed annotations, and the index. A
//! policy reached through the index has its scope satisfied, so only its `when` and `unless`
//! clauses are evaluated (`eval`, the one function beneath Cedar's public API). This module answers
//! which policies hold; what follows from that is decided elsewhere.

mod alone;
mod annotation;
mod compile;
mod document;
mod eval;
mod expression;
mod index;
mod input;
mod partial;
mod past;
mod schema;
mod slice;
mod validate;

pub(crate) use document::Documents;
pub use eval::{Failure, Leg, Legs, Unasked};
pub use past::Watch;
pub use schema::schema_text;

use crate::Mistake;
use crate::declare::{Principals, Source};
use crate::model::Registry;
use crate::world::Operation;
use cedar_policy_core::ast::{Entity, EntityType, EntityUID, Expr, Name};
use index::Index;
use lockgate_types::decision::{Obligation, StepUp};
use lockgate_types::{OperationName, PolicyName};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// What policies may speak about: the declarations of a bundle.
pub struct PolicyInput<'a> {
    /// Every operation there is, built-in ones included.
    pub operations: &'a BTreeMap<OperationName, Operation>,
    /// The models there are.
    pub models: &'a Arc<Registry>,
    /// Who there is.
    pub principals: &'a Principals,
    /// The sources of documents, by name. Without one, there are no documents to speak about.
    pub sources: &'a BTreeMap<String, Source>,
    /// Whether groups may come from the claims of a token, so that an undeclared one is no mistake.
    pub has_claimed_groups: bool,
    /// Whether roles may.
    pub has_claimed_roles: bool,
}

/// The policies of a bundle, compiled.
#[derive(Clone, Debug)]
pub struct Policies {
    /// Sorted by name.
    policies: Vec<Policy>,
    index: Index,
    actions: Actions,
    types: Vec<EntityType>,
    spoken: Spoken,
    decimal: Name,
    models: Arc<Registry>,
    /// Whether any asks where values came from.
    asks_flow: bool,
    watch: Watch,
    /// What of the context any asks for: nothing else is made of the facts.
    members: expression::Members,
    /// What of documents is looked at. `None`: there are none.
    documents: Option<document::Asked>,
}

/// The entities that bodies of policies name, by type and name. Whether a principal is in any other
/// makes no difference: scopes are settled by the index.
#[derive(Clone, Debug, Default)]
struct Spoken(BTreeMap<index::TypeId, BTreeMap<Box<str>, EntityUID>>);

// order-free: only looked up
type Actions = HashMap<OperationName, Action>;

/// Whether a policy permits or forbids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Force {
    /// `permit`
    Permit,
    /// `forbid`
    Forbid,
}

/// Whose permission is asked for: both must be given (I4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// The agent's own.
    Agent,
    /// That of the subject it acts for.
    Subject,
}

/// A compiled policy.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Its `@id`, or its file and position.
    pub name: PolicyName,
    /// Where it stands: file and line, for mistakes that are found later.
    pub file: Box<str>,
    /// The line.
    pub line: Option<usize>,
    /// Permit or forbid.
    pub force: Force,
    /// `@reason`: why it is there, for the caller.
    pub reason: Option<Box<str>>,
    /// `@remedy`: what would help.
    pub remedy: Option<Box<str>>,
    /// `@require_approval`: who could agree to what this forbids.
    pub approval: Option<Box<str>>,
    /// `@step_up`: the sign-in that would lift what this forbids.
    pub step_up: Option<StepUp>,
    /// What a permit obliges to.
    pub obligations: Box<[Obligation]>,
    /// Whom its scope names, as people read it: "members of group `finance`".
    pub whom: Box<str>,
    /// Whether an agent, and whether a subject, could be among these: what a remedy may point to.
    offered_to: [bool; 2],
    /// The tables and columns of databases, and what of the past, that the body looks for.
    pub(crate) sought: Sought,
    /// The `when` and `unless` clauses; `None` holds always.
    body: Option<Arc<Expr>>,
    /// The arguments that the body speaks about.
    mentions: expression::Mentions,
    /// Whether the body speaks about the principal: else it holds for both sides, or for neither.
    asks_principal: bool,
    /// The documents that its scope names.
    reach: document::Reach,
}

/// What a body looks for among what statements read, and what has happened.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sought {
    pub(crate) tables: Box<[String]>,
    pub(crate) columns: Box<[String]>,
    /// The same of what has happened.
    pub(crate) past: Box<[String]>,
}

/// An operation as policies see it.
#[derive(Clone, Debug)]
struct Action {
    /// The action entity, with its groups as ancestors: without them `action in` never matches.
    entity: Arc<Entity>,
    /// The index's buckets that hold policies for it.
    buckets: index::Buckets,
    /// The entity type of its resource.
    resource_type: index::TypeId,
    /// The argument that names the resource; `None`: the resource is the upstream.
    resource_argument: Option<Box<str>>,
    /// What of its arguments policies can see.
    input: Arc<input::Record>,
    /// Whether it asks a model.
    asks_model: bool,
}

impl Policies {
    /// Compiles the policies of a bundle: `(file name, text)` pairs, or every mistake there is.
    pub fn compile(
        declarations: &PolicyInput<'_>,
        files: &[(&str, &str)],
    ) -> Result<Self, Vec<Mistake>> {
        compile::compile(declarations, files)
    }

    /// The policy at a place that [`Legs`] names.
    pub fn get(&self, at: PolicyAt) -> Option<&Policy> {
        self.policies.get(at.0 as usize)
    }

    /// Every policy, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = &Policy> {
        self.policies.iter()
    }

    /// What they ask of the past.
    pub const fn watch(&self) -> &Watch {
        &self.watch
    }

    /// How many policies there are.
    pub fn len(&self) -> usize {
        self.policies.len()
    }

    /// Whether any asks where values came from: only then is it found out.
    pub const fn asks_flow(&self) -> bool {
        self.asks_flow
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.policies.is_empty()
    }
}

impl Policy {
    /// Whether somebody on this side could come under its scope.
    pub fn is_offered_to(&self, side: Side) -> bool {
        let [agent, subject] = self.offered_to;
        match side {
            Side::Agent => agent,
            Side::Subject => subject,
        }
    }

    /// Whether it forbids.
    pub fn is_forbid(&self) -> bool {
        self.force == Force::Forbid
    }

    /// Whether it has a `when` or `unless` clause.
    pub fn is_conditional(&self) -> bool {
        self.body.is_some()
    }
}

/// The place of a policy among [`Policies`]. Places sort as names do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PolicyAt(u32);
