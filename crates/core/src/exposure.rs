//! Exposure: what sessions have met, and for whom it is kept.
//!
//! A new session sheds nothing: ids are chosen by agents, so what was met is also kept for the
//! subject and its *isolation group*, the agents that share memory or a workspace, for a window.
//! Agents of no declared group share the undeclared one. Nothing is kept where no policy looks
//! back, unless the bundle has an `[isolation]` of its own.

use crate::bundle::admin::RESERVED;
use crate::bundle::search::{COUNT, RETRIEVE, SEARCH};
use crate::declare;
use crate::world::{Operation, World};
use lockgate_types::call::Call;
use lockgate_types::flow::Author;
use lockgate_types::history::EFFECT_TAG;
use lockgate_types::identity::Identity;
use lockgate_types::label::{Confidentiality, Label};
use lockgate_types::{AgentId, OperationName};
use std::collections::{BTreeMap, BTreeSet};

/// For how long what was met is kept where the bundle says nothing: a working day, and the night
/// after it.
pub const WINDOW_S: u32 = 24 * 60 * 60;

/// For whom, and for how long, what was met is kept.
#[derive(Clone, Debug)]
pub struct Isolation {
    /// Microseconds.
    pub window_us: i64,
    /// Whether it is kept although no policy looks.
    is_declared: bool,
    /// Of each agent of a declared group.
    group_of: BTreeMap<String, String>,
}

impl Isolation {
    pub(crate) fn compile(declared: Option<&declare::Isolation>) -> Self {
        let window_s = declared.map_or(WINDOW_S, |declared| declared.window_s);
        let groups = declared.into_iter().flat_map(|declared| &declared.group);
        let group_of = groups.flat_map(|(name, group)| {
            group.agents.iter().map(move |agent| (agent.clone(), name.clone()))
        });
        Self {
            window_us: i64::from(window_s).saturating_mul(1_000_000),
            is_declared: declared.is_some(),
            group_of: group_of.collect(),
        }
    }

    /// The group of an agent; `None` is the undeclared one.
    pub fn group_of(&self, agent: &AgentId) -> Option<&str> {
        self.group_of.get(agent.as_str()).map(String::as_str)
    }
}

/// What a call looks at, and what it will be remembered by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// The isolation group.
    pub group: Option<String>,
    /// For how long things are kept, in microseconds.
    pub window_us: i64,
    /// What the policies of its operation ask for.
    pub asked: BTreeSet<String>,
    /// What it counts as, of what policies ask for.
    pub counts: Vec<String>,
}

/// What a call looks at. `None`: nothing in the bundle looks back, or it is a call of the gate's
/// own.
pub fn look(world: &World, identity: &Identity, call: &Call) -> Option<Look> {
    let watch = world.policies.watch();
    let is_kept = watch.looks_back() || world.isolation.is_declared;
    if !is_kept || call.upstream.as_str() == RESERVED {
        return None;
    }
    let declared = world.operations.get(&call.operation);
    let effect = declared.map(|declared| declared.effect);
    let effect = effect.map(|effect| format!("{EFFECT_TAG}{}", effect.as_str()));
    let mut asked = watch.of(&call.operation).cloned().unwrap_or_default();
    if declared.is_some_and(|it| it.documents.is_some()) {
        // What is asked about documents is gathered with the call that finds them.
        let of_documents = OperationName::new(RETRIEVE).ok();
        asked.extend(of_documents.iter().filter_map(|it| watch.of(it)).flatten().cloned());
    }
    let counts = effect.into_iter().chain([call.operation.as_str().to_owned()]);
    Some(Look {
        group: world.isolation.group_of(&identity.agent).map(str::to_owned),
        window_us: world.isolation.window_us,
        asked,
        counts: counts.filter(|tag| watch.tags.contains(tag)).collect(),
    })
}

/// Whether it is worth looking for personal data in what comes back.
pub fn asks_pii(world: &World) -> bool {
    world.policies.watch().asks_pii() || world.isolation.is_declared
}

/// The label of what an operation returns, as it is declared. Of a memory, and of the search in
/// documents, it is that of the gate's own words: what memos and documents say comes with their own
/// labels.
pub fn returned(world: &World, operation: &OperationName) -> Label {
    let Some(declared) = world.operations.get(operation) else { return anyones() };
    if is_apart(operation, declared) {
        return Label::of(Author::System, Confidentiality::Public);
    }
    let returns = &declared.flow.returns;
    let readers = (!returns.readers.is_empty()).then(|| returns.readers.clone());
    Label { readers, ..Label::of(returns.author, returns.confidentiality) }
}

/// The label of an upstream's own words: errors, questions, notifications. Whatever they are about
/// may be in them.
pub fn said(world: &World, operation: &OperationName) -> Label {
    if world.operations.get(operation).is_some_and(|it| is_apart(operation, it)) {
        return returned(world, operation);
    }
    anyones().join(&returned(world, operation))
}

/// Whether what an operation answers with comes with labels of its own, piece by piece.
pub fn is_labelled_by_piece(world: &World, operation: &OperationName) -> bool {
    world.operations.get(operation).is_some_and(|it| is_apart(operation, it))
}

fn is_apart(name: &OperationName, declared: &Operation) -> bool {
    let is_found = declared.documents.is_some() || [SEARCH, COUNT].contains(&name.as_str());
    is_found || declared.recollection.is_some()
}

/// The label of what anybody may have written.
pub fn anyones() -> Label {
    Label::of(Author::Anyone, Confidentiality::Public)
}
