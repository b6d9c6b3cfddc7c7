//! What a bundle says about memories: their bounds, and the operations that the gate gives each.
//!
//! Their declarations are the gate's own and nobody's to change: what comes back from a memory
//! establishes nothing, and who may ask is for policies to say.

use super::document::Findings;
use crate::conform::Conformance;
use crate::declare::{Memory, ScopeWord, Upstream};
use crate::flow::{Declared, Returns};
use crate::world::{Class, Operation, Place, Recollection, Repeat};
use lockgate_types::call::Effect;
use lockgate_types::flow::{Author, Role};
use lockgate_types::{Json, JsonLimits, OperationName, UpstreamName};

/// Bytes of all memos of one scope: they are read to be searched.
const SCOPE_BYTES_MAX: u64 = 4 << 20;
/// Bytes of what a memory is for.
const DESCRIPTION_BYTES_MAX: usize = 1024;
/// The member of `_meta` by which an attempt at an effect in doubt is known.
const KEY_META: &str = "dev.lockgate/memo-key";
const SCHEMA_LIMITS: JsonLimits = JsonLimits::OWN;

/// What belongs to upstreams that speak the protocol.
pub(super) fn check(name: &str, memory: &Memory, upstream: &Upstream, found: &mut Findings<'_>) {
    let of_servers = [
        ("env", upstream.env.is_empty()),
        ("pass_env", upstream.pass_env.is_empty()),
        ("directory", upstream.directory.is_none()),
        ("headers", upstream.headers.is_empty()),
        ("credential", upstream.credential.is_none()),
        ("forward_methods", upstream.forward_methods.is_empty()),
        ("era", upstream.era.is_none()),
    ];
    for (key, _) in of_servers.into_iter().filter(|(_, is_unset)| !is_unset) {
        let what = format!("`{key}` of an upstream that is a memory");
        found.at(&["upstream", name, key], what, "it is for tool servers");
    }
    let path = |key| ["upstream", name, "memory", key];
    let bytes = u64::from(memory.entries_max).saturating_mul(u64::from(memory.entry_bytes_max));
    if bytes > SCOPE_BYTES_MAX {
        let what = format!("the memos of one scope may be {bytes} bytes in all");
        let hint = format!("`entries_max` times `entry_bytes_max` is at most {SCOPE_BYTES_MAX}");
        found.at(&path("entries_max"), what, hint);
    }
    let is_twice = |word: ScopeWord| memory.per.iter().filter(|it| **it == word).count() > 1;
    if is_twice(ScopeWord::Task) || is_twice(ScopeWord::Agent) {
        found.at(&path("per"), "`per` says the same twice", "each of `task` and `agent` once");
    }
    if let Some(text) = &memory.description {
        let is_plain = !text.chars().any(|it| it.is_control() && it != '\n');
        if text.trim().is_empty() || text.len() > DESCRIPTION_BYTES_MAX || !is_plain {
            let what =
                format!("a `description` is plain text of 1 to {DESCRIPTION_BYTES_MAX} bytes");
            found.at(&path("description"), what, "");
        }
    }
}

/// The operations of a memory.
pub(super) fn operations(
    upstream: &UpstreamName,
    plain: impl Fn(Effect) -> Operation,
) -> Vec<(OperationName, Operation)> {
    let operation = |kind: &Recollection| {
        let name = OperationName::tool(upstream, kind.tool()).ok()?;
        let effect = kind.effect();
        let schema = Json::parse(schema(*kind).as_bytes(), &SCHEMA_LIMITS).ok()?;
        let operation = Operation {
            flow: flow(*kind),
            repeat: (effect != Effect::Read).then(repeat),
            conformance: Conformance::compile(&schema).ok(),
            schema: Some(schema),
            recollection: Some(*kind),
            ..plain(effect)
        };
        Some((name, operation))
    };
    Recollection::ALL.iter().filter_map(operation).collect()
}

/// The same memo twice is one; the same call later is another: what was remembered meanwhile may
/// be something else.
fn repeat() -> Repeat {
    let place = Some(Place::Meta(KEY_META.to_owned()));
    Repeat { class: Class::Idempotent, place, window_us: 0 }
}

/// Anybody's words, where values come from: whoever wrote a memo has not established anything by
/// writing it down.
fn flow(kind: Recollection) -> Declared {
    let roles: &[(&str, Role)] = match kind {
        Recollection::Remember => &[("key", Role::Label), ("text", Role::Content)],
        Recollection::Recall => {
            &[("words", Role::Low), ("prefix", Role::Low), ("limit", Role::Low)]
        }
        Recollection::List => &[("prefix", Role::Low)],
        Recollection::Forget => &[("key", Role::Resource)],
    };
    let roles = roles.iter().map(|(name, role)| (vec![(*name).to_owned()], *role));
    Declared {
        roles: roles.collect(),
        returns: Returns { author: Author::Anyone, ..Returns::default() },
    }
}

/// Keys are of few characters, so that no two look alike and none hides anything.
const fn schema(kind: Recollection) -> &'static str {
    match kind {
        Recollection::Remember => {
            r#"{"type":"object","additionalProperties":false,"required":["key","text"],
            "properties":{"key":{"type":"string","pattern":"^[a-z0-9][a-z0-9._/-]{0,127}$",
            "description":"its name: small letters, digits, . _ / -; the same again replaces it"},
            "text":{"type":"string","minLength":1,"maxLength":16384,
            "description":"what to remember"}}}"#
        }
        Recollection::Recall => {
            r#"{"type":"object","additionalProperties":false,
            "properties":{"words":{"type":"string","maxLength":512,
            "description":"only memos that have all of these words"},
            "prefix":{"type":"string","pattern":"^[a-z0-9._/-]{0,128}$",
            "description":"only memos whose name begins so"},
            "limit":{"type":"integer","minimum":1,"maximum":50,
            "description":"how many at most, the newest first; else 10"}}}"#
        }
        Recollection::List => {
            r#"{"type":"object","additionalProperties":false,
            "properties":{"prefix":{"type":"string","pattern":"^[a-z0-9._/-]{0,128}$",
            "description":"only memos whose name begins so"}}}"#
        }
        Recollection::Forget => {
            r#"{"type":"object","additionalProperties":false,"required":["key"],
            "properties":{"key":{"type":"string","pattern":"^[a-z0-9][a-z0-9._/-]{0,127}$",
            "description":"its name"}}}"#
        }
    }
}
