//! What makes two calls one effect, and two proposals one: names derived under the subject's key,
//! which say nothing once that is destroyed.

use crate::subject::Subject;
use lockgate_types::call::{STEP_MEMBERS, is_envelope};
use lockgate_types::facts::Facts;
use lockgate_types::{CallId, Digest, Json, Micros, Object};

/// How long a key that a caller gave is remembered, at least.
const GIVEN_KEPT_US: i64 = 24 * 60 * 60 * 1_000_000;
/// Bytes of a derived name.
const NAME_BYTES: usize = 16;

/// A derived name of 128 bits.
pub(crate) type Name = [u8; NAME_BYTES];

/// What makes a call the same effect as another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EffectKey {
    pub(crate) name: Name,
    pub(crate) arguments: Name,
    pub(crate) is_given: bool,
    /// Until when it is remembered.
    pub(crate) until: Micros,
    /// The call that first asked, if this one tries again for what is in doubt.
    pub(crate) attempt_of: Option<CallId>,
}

impl EffectKey {
    /// The key of a call whose operation takes two calls within `window_us` for one effect. Without
    /// a window, and a key of the caller's, only its own attempts are the same.
    pub(crate) fn of(facts: &Facts, subject: &Subject, window_us: i64) -> Self {
        let call = &facts.call;
        let own = call.effect_key();
        let arguments = fingerprint(facts);
        let step = step(facts);
        let (kind, key) = match &call.key {
            Some(key) => ("given", key.as_str()),
            None if window_us <= 0 => ("own", own.as_str()),
            None => ("derived", arguments.as_str()),
        };
        let is_given = call.key.is_some();
        let kept_us = if is_given { window_us.max(GIVEN_KEPT_US) } else { window_us };
        Self {
            name: scoped("effect", facts, subject, [kind, key, &step]),
            arguments: short(&subject.key.derive(&["arguments", &arguments])),
            is_given,
            until: Micros(facts.now.0.saturating_add(kept_us)),
            attempt_of: call.attempt_of.clone(),
        }
    }
}

/// The name of a proposal: who asks for exactly what, through whom.
pub(crate) fn proposal(facts: &Facts, subject: &Subject) -> Name {
    scoped("proposal", facts, subject, [&fingerprint(facts), &step(facts), ""])
}

/// A name within who asks for which operation, through whom.
fn scoped(what: &str, facts: &Facts, subject: &Subject, [a, b, c]: [&str; 3]) -> Name {
    let identity = &facts.identity;
    short(&subject.key.derive(&[
        what,
        identity.tenant.as_str(),
        identity.environment.as_str(),
        &identity.issuer,
        identity.subject.as_str(),
        identity.agent.as_str(),
        facts.call.operation.as_str(),
        a,
        b,
        c,
    ]))
}

pub(crate) fn short(name: &[u8; 32]) -> Name {
    name.first_chunk().copied().unwrap_or_default()
}

/// The digest of everything that is sent and can mean something else: the params, but for what the
/// protocol needs for one message, and the key that the gate itself filled in.
fn fingerprint(facts: &Facts) -> String {
    let filled = Json::from(facts.call.effect_key());
    let is_given = |(_, value): &(&str, &Json)| **value != filled;
    let mut out = Vec::with_capacity(512);
    out.push(b'{');
    for (name, value) in sorted(facts.call.params.iter()) {
        match value {
            _ if STEP_MEMBERS.contains(&name) => {}
            Json::Object(arguments) if name == "arguments" => {
                write_object(name, arguments.iter().filter(is_given), &mut out);
            }
            Json::Object(meta) if name == "_meta" => {
                let meant = meta.iter().filter(is_given).filter(|(name, _)| !is_envelope(name));
                write_object(name, meant, &mut out);
            }
            value => write_member(name, value, &mut out),
        }
    }
    out.push(b'}');
    Digest::of(&out).to_string()
}

fn sorted<'a>(members: impl Iterator<Item = (&'a str, &'a Json)>) -> Vec<(&'a str, &'a Json)> {
    let mut members: Vec<_> = members.collect();
    members.sort_unstable_by_key(|(name, _)| *name);
    members
}

/// Writes a member that is an object of these; none, as if it were not there.
fn write_object<'a>(
    name: &str,
    members: impl Iterator<Item = (&'a str, &'a Json)>,
    out: &mut Vec<u8>,
) {
    let members = sorted(members);
    if members.is_empty() {
        return;
    }
    Json::write_text(name, out);
    out.extend_from_slice(b":{");
    for (name, value) in members {
        write_member(name, value, out);
    }
    out.extend_from_slice(b"},");
}

/// Writes a member, and what ends it.
fn write_member(name: &str, value: &Json, out: &mut Vec<u8>) {
    Json::write_text(name, out);
    out.push(b':');
    value.write_canonical(out);
    out.push(b',');
}

/// Which step of a call that the upstream takes in several (`input_required`): the next one has its
/// state and answers, and is not the first one again.
fn step(facts: &Facts) -> String {
    let given = STEP_MEMBERS
        .into_iter()
        .filter_map(|name| Some((name, facts.call.params.get(name)?.clone())));
    let given: Object = given.collect();
    match given.is_empty() {
        true => String::new(),
        false => Digest::of(&Json::from(given).to_canonical()).to_string(),
    }
}
