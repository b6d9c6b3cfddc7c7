//! What the bundle says about isolation groups, beyond its shape.

use super::document::Findings;
use super::suggest;
use crate::declare::{Gate, Principals};
use crate::world::Operation;
use lockgate_types::OperationName;
use std::collections::{BTreeMap, BTreeSet};

/// Isolation groups of one bundle.
const GROUPS_MAX: usize = 1024;
/// Bytes of a group's name.
const NAME_BYTES_MAX: usize = 64;
/// Different lists of readers that the operations of a bundle name: each is remembered by itself.
const READERS_LISTS_MAX: usize = 32;

pub(super) fn check(gate: &Gate, principals: Option<&Principals>, found: &mut Findings<'_>) {
    let Some(isolation) = &gate.isolation else { return };
    let mut group_of: BTreeMap<&str, &str> = BTreeMap::new();
    if isolation.group.len() > GROUPS_MAX {
        found.at(&["isolation", "group"], format!("there are more than {GROUPS_MAX} groups"), "");
    }
    for (name, group) in &isolation.group {
        let is_slug = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(is_slug) {
            let what = format!("`{name}` cannot be the name of an isolation group");
            found.at(&["isolation", "group", name], what, "small letters, digits and `-`");
        }
        for (at, agent) in group.agents.iter().enumerate() {
            let path = ["isolation", "group", name, "agents", &at.to_string()];
            if let Some(other) = group_of.insert(agent, name) {
                let what = format!("the agent `{agent}` is in `{other}` already");
                found.at(&path, what, "an agent is in one group: merge them if they share memory");
            }
            let Some(principals) = principals else { continue };
            if !principals.agent.contains_key(agent) {
                let known: Vec<&String> = principals.agent.keys().collect();
                let what = format!("there is no agent `{agent}`");
                found.at(&path, what, suggest::among(agent, &known));
            }
        }
    }
}

/// That the lists of readers have a bound together.
pub(super) fn check_readers(
    operations: &BTreeMap<OperationName, Operation>,
    found: &mut Findings<'_>,
) {
    let lists = operations.values().map(|operation| &operation.flow.returns.readers);
    let lists: BTreeSet<_> = lists.filter(|readers| !readers.is_empty()).collect();
    if lists.len() > READERS_LISTS_MAX {
        let what = format!("operations name {} different lists of readers", lists.len());
        found.at(&[], what, format!("name at most {READERS_LISTS_MAX}: use names of groups"));
    }
}
