//! What results are made of: objects, fields, texts, lines.

use super::text::{fold, without_scheme};
use lockgate_types::{Json, JsonLimits, Object};
use std::collections::BTreeSet;

/// Levels of a result that are looked into.
const DEPTH_MAX: usize = 12;

/// A line, as it is told from others: FNV-1a, which needs no key. Two lines that are taken for one
/// cost a person's line its say.
pub(super) fn echo(line: &str) -> u64 {
    let folded = line.trim().bytes().map(|byte| byte.to_ascii_lowercase());
    folded.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The structured content of a tool's result that can be relied upon, if it has some: what its text
/// says too. A model reads the text; what it did not say is nothing that was seen.
pub fn reliable(result: &Json) -> Option<&Json> {
    let structured = result.get("structuredContent")?;
    // Servers that wrap what is no object: one member.
    let inner = structured.as_object().filter(|members| members.len() == 1);
    let inner = inner.and_then(|members| members.get("result"));
    let blocks = result.get("content").and_then(Json::as_array).unwrap_or_default();
    let texts = blocks.iter().filter_map(|block| block.get("text")?.as_str());
    let texts: Vec<&str> = texts.collect();
    let says = |text: &str, value: &Json| {
        value.as_str() == Some(text)
            || Json::parse(text.as_bytes(), &JsonLimits::PRINTED).is_ok_and(|it| it == *value)
    };
    let agrees = match (texts.as_slice(), inner.unwrap_or(structured)) {
        ([], _) => true,
        ([only], value) if says(only, value) || says(only, structured) => true,
        (many, Json::Array(items)) => {
            many.len() == items.len() && many.iter().zip(items).all(|(text, item)| says(text, item))
        }
        _ => false,
    };
    agrees.then(|| inner.unwrap_or(structured))
}

/// The words of the name of a tool or argument, in the singular: `get_scheduledPayments` has three.
pub(super) fn name_words(name: &str) -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    let mut word = String::new();
    let mut was_small = false;
    let mut end = |word: &mut String| {
        let one = std::mem::take(word);
        let one =
            one.strip_suffix('s').filter(|it| it.len() > 2).map_or(one.clone(), str::to_owned);
        if !one.is_empty() {
            words.insert(one);
        }
    };
    for c in name.chars() {
        if !c.is_alphanumeric() || (c.is_uppercase() && was_small) {
            end(&mut word);
        }
        was_small = c.is_lowercase() || c.is_ascii_digit();
        if c.is_alphanumeric() {
            word.extend(c.to_lowercase());
        }
    }
    end(&mut word);
    words
}

/// An address without its scheme and last stroke.
pub(super) fn bare_address(address: &str) -> String {
    let address = fold(address.trim());
    let bare = without_scheme(&address);
    bare.strip_suffix('/').unwrap_or(bare).to_owned()
}

/// A value that can identify something, as text.
pub(super) fn scalar(json: &Json) -> Option<String> {
    match json {
        Json::String(text) => Some(text.clone()),
        Json::Number(number) => Some(number.text().to_owned()),
        Json::Null | Json::Bool(_) | Json::Array(_) | Json::Object(_) => None,
    }
}

/// Calls back for every text within, with the name of its nearest member.
pub(super) fn leaves(json: &Json, depth: usize, each: &mut impl FnMut(&str, &str)) {
    fn walk(name: &str, json: &Json, depth: usize, each: &mut impl FnMut(&str, &str)) {
        match json {
            _ if depth > DEPTH_MAX => {}
            Json::String(text) => each(name, text),
            Json::Array(items) => items.iter().for_each(|item| walk(name, item, depth + 1, each)),
            Json::Object(members) => {
                members.iter().for_each(|(name, value)| walk(name, value, depth + 1, each));
            }
            Json::Null | Json::Bool(_) | Json::Number(_) => {}
        }
    }
    walk("", json, depth, each);
}

/// Calls back for every scalar of a guaranteed field, at any depth.
pub(super) fn fields(
    name: &str,
    json: &Json,
    depth: usize,
    is_guaranteed: &impl Fn(&str) -> bool,
    each: &mut impl FnMut(&str, &Json),
) {
    match json {
        _ if depth > DEPTH_MAX => {}
        Json::Array(items) => {
            items.iter().for_each(|item| fields(name, item, depth + 1, is_guaranteed, each));
        }
        Json::Object(members) => {
            let is_listed = is_guaranteed(name);
            for (inner, value) in members.iter() {
                // A map of members to their rights: the members are what is guaranteed.
                if is_listed {
                    each(name, &inner.into());
                }
                fields(inner, value, depth + 1, is_guaranteed, each);
            }
        }
        Json::String(_) | Json::Number(_) if is_guaranteed(name) => each(name, json),
        Json::Null | Json::Bool(_) | Json::String(_) | Json::Number(_) => {}
    }
}

/// Calls back for every value within that can identify something, as text.
pub(super) fn scalars(json: &Json, depth: usize, each: &mut impl FnMut(&str)) {
    match json {
        _ if depth > DEPTH_MAX => each("\u{0}"),
        Json::Array(items) => items.iter().for_each(|item| scalars(item, depth + 1, each)),
        Json::Object(members) => {
            members.iter().for_each(|(_, value)| scalars(value, depth + 1, each));
        }
        Json::String(text) => each(text),
        Json::Number(number) => each(number.text()),
        Json::Null | Json::Bool(_) => {}
    }
}

/// An object of a result.
#[derive(Clone, Copy)]
pub(super) struct Found<'j> {
    pub(super) id: &'j Json,
    pub(super) object: &'j Object,
    /// Whether it stands within another.
    pub(super) is_inner: bool,
}

/// Every object within that has an id.
pub(super) fn objects<'j>(
    json: &'j Json,
    id: &str,
    (depth, is_inner): (usize, bool),
    found: &mut Vec<Found<'j>>,
) {
    match json {
        _ if depth > DEPTH_MAX => {}
        Json::Array(items) => {
            items.iter().for_each(|item| objects(item, id, (depth + 1, is_inner), found));
        }
        Json::Object(members) => {
            let own = members.get(id);
            found.extend(own.map(|id| Found { id, object: members, is_inner }));
            let is_inner = is_inner || own.is_some();
            members.iter().for_each(|(_, value)| objects(value, id, (depth + 1, is_inner), found));
        }
        Json::Null | Json::Bool(_) | Json::String(_) | Json::Number(_) => {}
    }
}
