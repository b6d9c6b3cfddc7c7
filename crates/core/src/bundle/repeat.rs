//! Compiles what a declaration says about asking twice: class, key, lookup and window.

use super::document::Findings;
use super::suggest;
use crate::declare::{self, ClassWord, EffectWord, KeyPlace, Operations};
use crate::world::{Class, Lookup, Operation, Place, Repeat};
use lockgate_types::call::Effect;
use lockgate_types::{OperationName, UpstreamName};
use std::collections::BTreeMap;

/// Bytes of the name of a header or of a member of `_meta`.
const PLACE_BYTES_MAX: usize = 128;

/// Headers that belong to the protocol or to the connection.
const HEADERS_TAKEN: [&str; 8] = [
    "accept",
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "host",
    "last-event-id",
    "transfer-encoding",
];

/// What one declaration says. `None`: asking twice is asking twice.
pub(super) fn compile(
    declared: &declare::Operation,
    path: &[&str; 2],
    found: &mut Findings<'_>,
) -> Option<Repeat> {
    let [kind, name] = *path;
    let is_effect = *kind == *"tool" && changes_something(declared.effect);
    if !is_effect {
        let given = [
            ("class", declared.class != ClassWord::Opaque),
            ("key", declared.key.is_some()),
            ("lookup", declared.lookup.is_some()),
        ];
        for (member, _) in given.into_iter().filter(|(_, is_given)| *is_given) {
            let what = format!("`{name}` changes nothing, so `{member}` means nothing");
            found.at(&[kind, name, member], what, "only tools that change something have one");
        }
        return None;
    }
    let place = match &declared.key {
        Some(place) => read_place(place, path, found),
        None => None,
    };
    let class = class(declared, path, found);
    if declared.key.is_none() && !matches!(class, Class::Opaque) {
        let what = format!("`{name}` is `{}` and has no `key`", class.as_str());
        found.at(&[kind, name, "class"], what, "say where the upstream takes its key");
    }
    let window_us = i64::from(declared.repeat_window_s).saturating_mul(1_000_000);
    Some(Repeat { class, place, window_us })
}

const fn changes_something(effect: EffectWord) -> bool {
    matches!(effect, EffectWord::Write | EffectWord::Egress | EffectWord::Destructive)
}

fn class(declared: &declare::Operation, path: &[&str; 2], found: &mut Findings<'_>) -> Class {
    let [kind, name] = *path;
    match (declared.class, &declared.lookup) {
        (ClassWord::Idempotent, None) => Class::Idempotent,
        (ClassWord::Opaque, None) => Class::Opaque,
        (ClassWord::Queryable, Some(lookup)) => Class::Queryable(Lookup {
            tool: lookup.tool.clone(),
            argument: lookup.argument.clone(),
            found: lookup.found.split('.').map(str::to_owned).collect(),
            missing_status: lookup.missing_status,
            settles_us: i64::from(lookup.settles_ms).saturating_mul(1000),
        }),
        (ClassWord::Queryable, None) => {
            let what = format!("`{name}` is `queryable` and has no `lookup`");
            found.at(&[kind, name, "class"], what, "name the tool that looks it up");
            Class::Opaque
        }
        (ClassWord::Idempotent | ClassWord::Opaque, Some(_)) => {
            let what = format!("`{name}` has a `lookup` and is not `queryable`");
            found.at(&[kind, name, "lookup"], what, "say `class = \"queryable\"`");
            Class::Opaque
        }
    }
}

fn read_place(place: &KeyPlace, path: &[&str; 2], found: &mut Findings<'_>) -> Option<Place> {
    let [kind, name] = *path;
    let mut wrong = |what: &str| {
        found.at(&[kind, name, "key"], format!("the key of `{name}`: {what}"), "");
        None
    };
    let fits = |text: &String| !text.is_empty() && text.len() <= PLACE_BYTES_MAX;
    match (&place.argument, &place.header, &place.meta) {
        (Some(argument), None, None) => Some(Place::Argument(argument.clone())),
        (None, Some(header), None) => {
            let is_token = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
            let lower = header.to_ascii_lowercase();
            if !fits(header) || !header.bytes().all(is_token) {
                return wrong("the name of a header has letters, digits and `-`");
            }
            if HEADERS_TAKEN.contains(&lower.as_str()) || lower.starts_with("mcp-") {
                return wrong("this header belongs to the protocol");
            }
            Some(Place::Header(lower))
        }
        (None, None, Some(meta)) => {
            let is_taken = meta.starts_with("io.modelcontextprotocol/") || meta == "progressToken";
            if !fits(meta) || is_taken {
                return wrong("this member of `_meta` belongs to the protocol");
            }
            Some(Place::Meta(meta.clone()))
        }
        _ => wrong("one of `argument`, `header` and `meta`"),
    }
}

/// What can be said once all tools of an upstream are known: that keys and lookups name what is
/// there.
pub(super) fn check(
    upstream: &UpstreamName,
    declared: &Operations,
    is_process: bool,
    found: &mut Findings<'_>,
    compiled: &BTreeMap<OperationName, Operation>,
) {
    let operation =
        |tool: &str| OperationName::tool(upstream, tool).ok().and_then(|name| compiled.get(&name));
    for tool in declared.tool.keys() {
        let Some(own) = operation(tool) else { continue };
        let Some(repeat) = &own.repeat else { continue };
        if is_process && matches!(repeat.place, Some(Place::Header(_))) {
            let what = format!("the key of `{tool}`: a process takes no headers");
            found.at(&["tool", tool, "key"], what, "use `argument` or `meta`");
        }
        if let Some(Place::Argument(argument)) = &repeat.place {
            check_argument(own, argument, &["tool", tool, "key"], found);
        }
        let Class::Queryable(lookup) = &repeat.class else { continue };
        let path = ["tool", tool.as_str(), "lookup"];
        if lookup.missing_status.is_some() && own.endpoint.is_none() {
            let what = format!("`{tool}` is no endpoint, so `missing_status` means nothing");
            found.at(&path, what, "it is for upstreams with an `api`");
        }
        match operation(&lookup.tool) {
            Some(other) if other.effect == Effect::Read => {
                check_argument(other, &lookup.argument, &path, found);
            }
            Some(_) => {
                let what = format!("`{}` is not declared to be a read", lookup.tool);
                found.at(&path, what, "look up with a tool that changes nothing");
            }
            None => {
                let known: Vec<&str> = declared.tool.keys().map(String::as_str).collect();
                let what = format!("there is no tool `{}`", lookup.tool);
                found.at(&path, what, suggest::among(&lookup.tool, &known));
            }
        }
    }
}

fn check_argument(
    operation: &Operation,
    argument: &str,
    path: &[&str; 3],
    found: &mut Findings<'_>,
) {
    let Some(conformance) = &operation.conformance else { return };
    let known: Vec<&str> = conformance.declared_names().collect();
    if !known.contains(&argument) {
        let what = format!("there is no argument `{argument}`");
        found.at(path, what, suggest::among(argument, &known));
    }
}
