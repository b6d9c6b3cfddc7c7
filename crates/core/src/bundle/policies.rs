//! `policies/*.cedar`: handed to the compiler of policies with what they may speak about.

use super::document;
use super::places::Place;
use crate::declare::{Gate, Principals, Source};
use crate::mistake::Mistake;
use crate::model::Registry;
use crate::policy::{Policies, PolicyInput};
use crate::world::{Files, Operation};
use lockgate_types::OperationName;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What policies may speak about.
pub(super) struct Declared<'a> {
    pub(super) gate: &'a Gate,
    pub(super) principals: &'a Principals,
    pub(super) operations: &'a BTreeMap<OperationName, Operation>,
    pub(super) models: &'a Arc<Registry>,
    pub(super) sources: &'a BTreeMap<String, Source>,
}

pub(super) fn load(
    files: &Files,
    declared: &Declared<'_>,
    mistakes: &mut Vec<Mistake>,
) -> Option<Policies> {
    let mut texts = Vec::new();
    for (path, bytes) in files.iter().filter(|(path, _)| Place::of(path) == Place::Policy) {
        match document::text_of(path, bytes) {
            Ok(text) => texts.push((path.as_str(), text)),
            Err(mistake) => mistakes.push(mistake),
        }
    }
    // A rule about what could not be read would be blamed for it: what rules speak about comes
    // first.
    let is_vocabulary = |file: &str| {
        let parts = ["operations/", "sources/"];
        file == super::PRINCIPALS || parts.iter().any(|part| file.starts_with(part))
    };
    if mistakes.iter().any(|mistake| is_vocabulary(&mistake.file)) {
        return None;
    }
    let Declared { gate, principals, operations, models, sources } = *declared;
    let input = PolicyInput {
        operations,
        models,
        principals,
        sources,
        has_claimed_groups: gate.has_claimed_groups(),
        has_claimed_roles: gate.issuer.iter().any(|issuer| issuer.claims.roles.is_some()),
    };
    Policies::compile(&input, &texts).map_err(|found| mistakes.extend(found)).ok()
}
