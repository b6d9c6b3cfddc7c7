//! `policies/*.cedar`: handed to the compiler of policies with what they may speak about.

use super::document;
use super::places::Place;
use crate::declare::{Gate, Principals};
use crate::mistake::Mistake;
use crate::model::Registry;
use crate::policy::{Policies, PolicyInput};
use crate::world::{Files, Operation};
use lockgate_types::OperationName;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What policies may speak about.
type Declared<'a> =
    (&'a Gate, &'a Principals, &'a BTreeMap<OperationName, Operation>, &'a Arc<Registry>);

pub(super) fn load(
    files: &Files,
    (gate, principals, operations, models): Declared<'_>,
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
    let is_vocabulary = |file: &str| file == super::PRINCIPALS || file.starts_with("operations/");
    if mistakes.iter().any(|mistake| is_vocabulary(&mistake.file)) {
        return None;
    }
    let input = PolicyInput {
        operations,
        models,
        principals,
        has_claimed_groups: gate.issuer.iter().any(|issuer| issuer.claims.groups.is_some()),
        has_claimed_roles: gate.issuer.iter().any(|issuer| issuer.claims.roles.is_some()),
    };
    Policies::compile(&input, &texts).map_err(|found| mistakes.extend(found)).ok()
}
