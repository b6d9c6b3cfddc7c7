//! `POST /v1/responses`.

use super::super::scan::{Scan, Words, odd, whole};
use super::super::{Path, items};
use super::{Judge, Reply};
use crate::refusal::Refusal;
use lockgate_types::{Json, Object};

pub(super) fn read<'a>(body: &'a Object, reply: &mut Reply<'a>) -> Result<(), Box<Refusal>> {
    reply.finishes.extend(body.get("status").and_then(Json::as_str));
    let output = body.get("output").and_then(Json::as_array).unwrap_or_default();
    for (at, item) in output.iter().enumerate() {
        let Some(item) = item.as_object() else { return Err(odd("an item is not an object")) };
        let index = u64::try_from(at).unwrap_or(0);
        if items::is_call(item) {
            reply.propose(items::call_of(item, index))?;
            continue;
        }
        let is_reasoning = items::kind(item) == "reasoning";
        for list in ["content", "summary"] {
            let path = Path::default().name("output").index(at).name(list);
            let parts = item.get(list).and_then(Json::as_array).unwrap_or_default();
            for (at, part) in parts.iter().enumerate() {
                let part_index = u64::try_from(at).unwrap_or(0);
                let key = items::Part { list: list.to_owned(), index: part_index };
                for (name, words) in [("text", Words::Text), ("refusal", Words::Refusal)] {
                    let words = if is_reasoning { Words::Reasoning } else { words };
                    if let Some(text) = part.get(name).and_then(Json::as_str) {
                        reply.say(key.channel(index, words), path.index(at).name(name), text);
                    }
                }
            }
        }
    }
    Ok(())
}

pub(super) fn enforce(
    body: &mut Object,
    scan: &mut dyn Scan,
    judge: &mut Judge<'_>,
) -> Result<(), Box<Refusal>> {
    // Some providers say all of the text once more, beside the items.
    body.remove("output_text");
    let output = body.get_mut("output").and_then(Json::as_array_mut);
    for (at, item) in output.into_iter().flatten().enumerate() {
        let Some(item) = item.as_object_mut() else { return Err(odd("an item is not an object")) };
        let index = u64::try_from(at).unwrap_or(0);
        if !items::is_call(item) {
            let mut settle = |part: &items::Part, words: Words, text: &str, scan: &mut dyn Scan| {
                whole(scan, &part.channel(index, words), text)
            };
            items::mask(item, index, scan, &mut settle)?;
        } else if let Some(reason) = judge.refused() {
            *item = items::refused(item, &reason);
        }
    }
    Ok(())
}
