//! `POST /v1/messages`.

use super::super::gate::NO_RESULT;
use super::super::scan::{Channel, Proposed, Scan, Words, odd, whole};
use super::super::{Path, items};
use super::{Judge, Reply};
use crate::refusal::Refusal;
use lockgate_types::{Json, Object};

fn text<'a>(block: &'a Object, name: &str) -> &'a str {
    block.get(name).and_then(Json::as_str).unwrap_or_default()
}

fn channel(words: Words, at: usize) -> Channel {
    let answer = u64::try_from(at).unwrap_or(0);
    Channel { words, answer, part: 0, is_sealed: words == Words::Reasoning }
}

/// The member of a block that is text.
const fn words_of(kind: &str) -> Option<(&'static str, Words)> {
    match kind.as_bytes() {
        b"text" => Some(("text", Words::Text)),
        b"thinking" => Some(("thinking", Words::Reasoning)),
        _ => None,
    }
}

pub(super) fn read<'a>(body: &'a Object, reply: &mut Reply<'a>) -> Result<(), Box<Refusal>> {
    reply.finishes.extend(body.get("stop_reason").and_then(Json::as_str));
    let path = Path::default().name("content");
    let content = body.get("content").and_then(Json::as_array).unwrap_or_default();
    for (at, block) in content.iter().enumerate() {
        let Some(block) = block.as_object() else { return Err(odd("a block is not an object")) };
        let kind = text(block, "type");
        if let Some((name, words)) = words_of(kind) {
            reply.say(channel(words, at), path.index(at).name(name), text(block, name));
        } else if kind.ends_with("tool_use") {
            reply.propose(call_of(block))?;
        }
    }
    Ok(())
}

fn call_of(block: &Object) -> Proposed {
    let kind = text(block, "type");
    let owned = |name: &str| block.get(name).and_then(Json::as_str).map(str::to_owned);
    let arguments = match block.get("input") {
        None | Some(Json::Null) => "{}".to_owned(),
        Some(input) => input.to_string(),
    };
    Proposed {
        key: 0,
        choice: 0,
        id: owned("id"),
        name: text(block, "name").to_owned(),
        arguments,
        hosted: (kind != "tool_use").then(|| kind.to_owned()),
        server: owned("server_name"),
    }
}

pub(super) fn enforce(
    body: &mut Object,
    scan: &mut dyn Scan,
    judge: &mut Judge<'_>,
) -> Result<(), Box<Refusal>> {
    let said = |words: &str| Object::new().with("type", "text").with("text", words);
    let mut refused: Vec<String> = Vec::new();
    let (mut is_left, mut is_refused) = (false, false);
    let content = body.get_mut("content").and_then(Json::as_array_mut);
    for (at, block) in content.into_iter().flatten().enumerate() {
        let Some(block) = block.as_object_mut() else {
            return Err(odd("a block is not an object"));
        };
        let kind = text(block, "type").to_owned();
        if let Some((name, words)) = words_of(&kind) {
            if let Some(masked) = whole(scan, &channel(words, at), text(block, name))? {
                block.set(name, masked);
            }
            mask_citations(block, at, scan)?;
        } else if kind.ends_with("tool_use") {
            match judge.refused() {
                None => is_left |= kind == "tool_use",
                Some(reason) => {
                    is_refused = true;
                    refused.push(text(block, "id").to_owned());
                    *block = said(&reason);
                }
            }
        } else if kind != "redacted_thinking" {
            let id = text(block, "tool_use_id");
            let mut value = Json::Object(block.clone());
            let is_found = items::leaves(&mut value, u64::try_from(at).unwrap_or(0), scan)?;
            if is_found || refused.iter().any(|it| it == id) {
                *block = said(NO_RESULT);
            }
        }
    }
    if is_refused && !is_left && body.get("stop_reason").and_then(Json::as_str) == Some("tool_use")
    {
        body.set("stop_reason", "end_turn");
    }
    Ok(())
}

/// Citations in which something is found are left out.
fn mask_citations(block: &mut Object, at: usize, scan: &mut dyn Scan) -> Result<(), Box<Refusal>> {
    let Some(citations) = block.get_mut("citations") else { return Ok(()) };
    if items::leaves(citations, u64::try_from(at).unwrap_or(0), scan)? {
        block.set("citations", Json::Null);
    }
    Ok(())
}
