//! What `principals.toml` means, beyond its shape.
//!
//! Groups need no table of their own: who is in one declares it. Only a group that is in others, or
//! that others are in, has a table, and there names must match.

use super::document::Findings;
use super::suggest;
use crate::declare::{Group, Principals};
use lockgate_types::{AgentId, Environment, GroupName, RoleName, SubjectId};
use std::collections::{BTreeMap, BTreeSet};

/// Groups with a table of their own.
const GROUPS_MAX: usize = 4096;

pub(super) fn check(principals: &Principals, found: &mut Findings<'_>) {
    let mut clients: BTreeMap<(&str, &str), &str> = BTreeMap::new();
    for (name, agent) in &principals.agent {
        if let Err(error) = AgentId::new(name) {
            found.at(&["agent", name], error.to_string(), "");
        }
        if agent.environments.is_empty() {
            let what = format!("the agent `{name}` exists in no environment");
            found.at(&["agent", name, "environments"], what, "name at least one");
        }
        for (at, environment) in agent.environments.iter().enumerate() {
            if let Err(error) = Environment::new(environment) {
                found.at(&["agent", name, "environments", &at.to_string()], error.to_string(), "");
            }
        }
        check_groups(&["agent", name, "groups"], &agent.groups, found);
        for (at, client) in agent.client_ids.iter().enumerate() {
            let environments = agent.environments.iter();
            let others = environments.filter_map(|here| clients.insert((client, here), name));
            if let Some(other) = others.last().filter(|other| *other != name) {
                let what = format!("`{client}` means the agent `{other}` as well");
                let path = ["agent", name, "client_ids", &at.to_string()];
                found.at(&path, what, "in one environment a client is one agent");
            }
        }
    }
    for (name, user) in &principals.user {
        if let Err(error) = SubjectId::new(name) {
            found.at(&["user", name], error.to_string(), "");
        }
        check_groups(&["user", name, "groups"], &user.groups, found);
        for (at, role) in user.roles.iter().enumerate() {
            if let Err(error) = RoleName::new(role) {
                found.at(&["user", name, "roles", &at.to_string()], error.to_string(), "");
            }
        }
    }
    check_nesting(&principals.group, found);
}

fn check_groups(path: &[&str; 3], groups: &[String], found: &mut Findings<'_>) {
    let [kind, name, key] = path;
    for (at, group) in groups.iter().enumerate() {
        if let Err(error) = GroupName::new(group) {
            found.at(&[kind, name, key, &at.to_string()], error.to_string(), "");
        }
    }
}

fn check_nesting(groups: &BTreeMap<String, Group>, found: &mut Findings<'_>) {
    if groups.len() > GROUPS_MAX {
        found.at(&["group"], format!("there are more than {GROUPS_MAX} groups"), "");
        return;
    }
    let known: Vec<&String> = groups.keys().collect();
    for (name, group) in groups {
        if let Err(error) = GroupName::new(name) {
            found.at(&["group", name], error.to_string(), "");
        }
        for (at, outer) in group.member_of.iter().enumerate() {
            if !groups.contains_key(outer) {
                let what = format!("there is no group `{outer}`");
                let hint = match suggest::among(outer, &known) {
                    near if near.starts_with("did") => near,
                    _ => format!("add `[group.{outer}]`"),
                };
                found.at(&["group", name, "member_of", &at.to_string()], what, hint);
            }
        }
    }
    for name in cyclic(groups) {
        let what = format!("the group `{name}` is in itself, through others");
        found.at(&["group", name, "member_of"], what, "break the cycle");
    }
}

/// The groups that are in themselves. Those that lead nowhere are taken away until none is left
/// that does.
fn cyclic(groups: &BTreeMap<String, Group>) -> Vec<&String> {
    let mut rest: BTreeSet<&String> = groups.keys().collect();
    loop {
        let before = rest.len();
        let leads_on = |name: &&String| {
            let outer = groups.get(*name).map(|group| group.member_of.as_slice());
            outer.unwrap_or_default().iter().any(|outer| rest.contains(outer))
        };
        rest = rest.iter().copied().filter(leads_on).collect();
        if rest.len() == before {
            break;
        }
    }
    let reaches_itself = |start: &&String| {
        let mut seen = BTreeSet::new();
        let mut ahead = vec![*start];
        while let Some(name) = ahead.pop() {
            let outer = groups.get(name).map(|group| group.member_of.as_slice());
            for outer in outer.unwrap_or_default().iter().filter(|outer| rest.contains(outer)) {
                if outer == *start {
                    return true;
                }
                if seen.insert(outer) {
                    ahead.push(outer);
                }
            }
        }
        false
    };
    rest.iter().copied().filter(reaches_itself).collect()
}
