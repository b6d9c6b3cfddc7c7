//! Loads a bundle: from files to a `World`, or to every mistake in them at once.
//!
//! Pure: whoever calls has read the files. The shape of each declarative file is checked against
//! the schema generated from `declare`, so that each mistake has a line; then what the words mean
//! is checked; then operations and policies are compiled. Only a bundle without any mistake becomes
//! a `World`.
//!
//! Every file that is handed in is part of the bundle and of its digest, README and `.gitignore`
//! included: two bundles with the same digest are the same directory.

pub mod accept;
pub mod admin;
pub mod definition;
pub mod import;
pub mod kept;
pub mod propose;
pub mod starter;

mod apis;
mod caps;
mod credentials;
mod databases;
mod document;
mod evals;
mod flow;
mod gate;
mod isolation;
mod memories;
mod models;
mod network;
pub mod openapi;
mod operations;
mod people;
mod phases;
mod places;
mod policies;
mod principals;
mod prompts;
mod readers;
mod repeat;
mod retrievers;
mod risk;
mod runs;
pub mod search;
mod source_ways;
mod sources;
pub(crate) mod suggest;
mod tasks;
mod text;

pub use databases::{mark, numbered};
pub use definition::{definition_digest, instructions_digest};
pub use kept::Kept;
pub use places::belongs;
pub use suggest::nearest;

use crate::declare::{Gate, Principals};
use crate::eval::Suite;
use crate::exposure::Isolation;
use crate::mistake::Mistake;
use crate::model::Registry;
use crate::policy::Policies;
use crate::risk::Rules;
use crate::run::Plan;
use crate::world::{Files, Operation, World};
use document::{Document, Findings};
use lockgate_types::{Digest, Environment, Json, Object, OperationName, TaskName, Tenant};
use places::Place;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Files of a bundle.
pub const FILES_MAX: usize = 4096;
/// Bytes of one file of a bundle.
pub const FILE_BYTES_MAX: usize = 4 << 20;
/// Mistakes that are named; after that many, mending goes first.
pub const MISTAKES_MAX: usize = 1000;

const GATE: &str = "lockgate.toml";
const PRINCIPALS: &str = "principals.toml";

impl World {
    /// Loads a bundle, or names every mistake in it: sorted by file and line.
    pub fn load(files: &Files) -> Result<Self, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let world = load(files, &mut mistakes);
        mistakes.sort();
        mistakes.dedup();
        mistakes.truncate(MISTAKES_MAX);
        match world {
            Some(world) if mistakes.is_empty() => Ok(world),
            None if mistakes.is_empty() => Err(vec![Mistake {
                file: GATE.to_owned(),
                line: None,
                what: "the bundle could not be compiled".to_owned(),
                hint: "report this: every reason should have been named".to_owned(),
            }]),
            _ => Err(mistakes),
        }
    }
}

/// The digest of a bundle: of the canonical object of its paths and the digests of their bytes.
pub fn digest(files: &Files) -> Digest {
    let pairs = files.iter().map(|(path, bytes)| {
        let digest: Json = Digest::of(bytes).to_string().into();
        (path.clone(), digest)
    });
    Json::Object(pairs.collect::<Object>()).digest()
}

fn load(files: &Files, mistakes: &mut Vec<Mistake>) -> Option<World> {
    let files = bounded(files, mistakes)?;
    let (gate, gate_document) = read_gate(files, mistakes);
    let principals = read_principals(files, mistakes);
    if let Some((principals, document)) = &principals {
        principals::check(principals, &mut Findings::new(document, mistakes));
    }
    let (mut lines, mut apis) = Default::default();
    if let (Some(gate), Some(document)) = (&gate, &gate_document) {
        let mut found = Findings::new(document, mistakes);
        gate::check(gate, files, &mut found);
        let principals = principals.as_ref().map(|(principals, _)| principals);
        gate::check_identities(gate, principals, &mut found);
        isolation::check(gate, principals, &mut found);
        lines = databases::lines(gate, &found);
        apis = apis::load(gate, files, &mut found);
    }
    places::check(files, gate.as_ref(), mistakes);
    let upstreams = gate.as_ref().map(|gate| &gate.upstream);
    let known = upstreams.map(|upstreams| upstreams.keys().collect::<Vec<_>>());
    kept::check(files, known.as_deref(), mistakes);
    let models = Arc::new(models::load(files, upstreams, mistakes));
    let before = mistakes.len();
    let operations = operations::load(files, upstreams, &apis, mistakes);
    // What is missing because of a mistake is not missed as well.
    let is_sound = mistakes.len() == before;
    if let (true, Some(gate), Some(document)) = (is_sound, &gate, &gate_document) {
        check_named(gate, (&operations, &models), &mut Findings::new(document, mistakes));
    }
    let servers = operations::servers(files, mistakes);
    let prompts = prompts::load(files, mistakes);
    let tasks = tasks::load(files, &operations, &models, mistakes);
    let people = principals.as_ref().map(|(principals, _)| principals);
    let declared = (gate.as_ref(), people);
    let sources = sources::load(files, declared, (&tasks, &operations), mistakes);
    let (runs, suites) = load_last(
        files,
        &runs::Known { tasks: &tasks, operations: &operations, models: &models, prompts: &prompts },
        (gate.is_some(), mistakes),
    );
    let (mut gate, (principals, _)) = (gate?, principals?);
    let declared = policies::Declared {
        gate: &gate,
        principals: &principals,
        operations: &operations,
        models: &models,
        sources: &sources,
    };
    let policies = load_policies(files, &declared, mistakes)?;
    search::offer(&mut gate, !sources.is_empty())?;
    Some(World {
        digest: digest(files),
        environment: Environment::new(&gate.environment).ok()?,
        tenant: Tenant::new(&gate.tenant).ok()?,
        isolation: Isolation::compile(gate.isolation.as_ref()),
        risk: gate.risk.as_ref().map(|risk| Arc::new(Rules::new(risk))),
        gate,
        principals,
        operations,
        servers,
        tasks,
        runs,
        apis,
        models,
        prompts,
        suites,
        sources,
        policies,
        lines,
    })
}

/// What is about all the rest. What cannot be read has declared nothing: what is about that is not
/// wrong for it, and named once it can be read.
fn load_last(
    files: &Files,
    known: &runs::Known<'_>,
    (has_gate, mistakes): (bool, &mut Vec<Mistake>),
) -> (BTreeMap<TaskName, Plan>, BTreeMap<String, Suite>) {
    let mut unsure = Vec::new();
    let is_read = has_gate && (mistakes.is_empty() || are_toml(files, |_| true));
    let sure = if is_read { mistakes } else { &mut unsure };
    let runs = runs::load(files, known, sure);
    let of = evals::Known { tasks: known.tasks, models: known.models };
    let suites = evals::load(files, &of, sure);
    evals::check_required(files, known.models, &suites, sure);
    (runs, suites)
}

/// The policies, once everything can be read that they speak of.
fn load_policies(
    files: &Files,
    declared: &policies::Declared<'_>,
    mistakes: &mut Vec<Mistake>,
) -> Option<Policies> {
    if !mistakes.is_empty() && !are_toml(files, is_spoken_of) {
        return None;
    }
    let policies = policies::load(files, declared, mistakes)?;
    databases::check_policies(declared.gate, &policies, mistakes);
    Some(policies)
}

/// Whether policies speak of what a file declares.
fn is_spoken_of(path: &str) -> bool {
    matches!(Place::of(path), Place::Operations(_) | Place::Model(_) | Place::Source(_))
}

/// Whether those files that are TOML can be read as it.
fn are_toml(files: &Files, which: impl Fn(&str) -> bool) -> bool {
    let mut these = files.iter().filter(|(path, _)| {
        let has_no_form = matches!(Place::of(path), Place::Later | Place::Note | Place::Unknown);
        path.ends_with(".toml") && !has_no_form && which(path)
    });
    these.all(|(path, bytes)| Document::of(path, bytes).is_some())
}

/// That operations and models exist which the gate's file names.
fn check_named(
    gate: &Gate,
    (operations, models): (&BTreeMap<OperationName, Operation>, &Registry),
    found: &mut Findings<'_>,
) {
    caps::check_operations(gate, operations, found);
    caps::check_models(gate, models, found);
    isolation::check_readers(operations, found);
}

fn bounded<'f>(files: &'f Files, mistakes: &mut Vec<Mistake>) -> Option<&'f Files> {
    if files.len() > FILES_MAX {
        mistakes.push(Mistake {
            file: GATE.to_owned(),
            line: None,
            what: format!("the bundle has more than {FILES_MAX} files"),
            hint: "keep only what decides in it".to_owned(),
        });
        return None;
    }
    for (path, _) in files.iter().filter(|(_, bytes)| bytes.len() > FILE_BYTES_MAX) {
        mistakes.push(Mistake {
            file: path.clone(),
            line: None,
            what: format!("the file is longer than {FILE_BYTES_MAX} bytes"),
            hint: "split it".to_owned(),
        });
    }
    mistakes.is_empty().then_some(files)
}

fn read_gate(files: &Files, mistakes: &mut Vec<Mistake>) -> (Option<Gate>, Option<Document>) {
    let Some(bytes) = files.get(GATE) else {
        mistakes.push(Mistake {
            file: GATE.to_owned(),
            line: None,
            what: "there is no such file".to_owned(),
            hint: "`lockgate init` writes one".to_owned(),
        });
        return (None, None);
    };
    match document::read::<Gate>(GATE, bytes, mistakes) {
        Some((gate, document)) => (Some(gate), Some(document)),
        None => (None, None),
    }
}

/// Without the file, nobody is declared.
fn read_principals(files: &Files, mistakes: &mut Vec<Mistake>) -> Option<(Principals, Document)> {
    match files.get(PRINCIPALS) {
        Some(bytes) => document::read::<Principals>(PRINCIPALS, bytes, mistakes),
        None => Some((Principals::default(), Document::absent(PRINCIPALS))),
    }
}
