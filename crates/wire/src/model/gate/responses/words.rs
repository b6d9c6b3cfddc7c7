//! Texts of a stream of the Responses API, and the message that stands for a refused call.

use super::super::super::items::{self, Masked, Part};
use super::super::super::scan::{Scan, Words, odd, whole};
use super::super::text::{Piece, Text};
use super::super::{Core, number, text};
use super::Responses;
use crate::refusal::Refusal;
use crate::sse::SseEvent;
use lockgate_types::{Json, Object};
use std::collections::BTreeMap;

/// Which text a piece belongs to, and the member of its last event that repeats it.
fn part_of(kind: &str, object: &Object) -> (Part, Words, &'static str) {
    let name = kind.trim_end_matches(".delta").trim_end_matches(".done");
    let (list, index, words, member) = match name {
        "response.output_text" => ("content", "content_index", Words::Text, "text"),
        "response.refusal" => ("content", "content_index", Words::Refusal, "refusal"),
        "response.reasoning_text" => ("content", "content_index", Words::Reasoning, "text"),
        "response.reasoning_summary_text" => ("summary", "summary_index", Words::Reasoning, "text"),
        other => (other, "content_index", Words::Other, "text"),
    };
    (Part { list: list.to_owned(), index: number(object, index) }, words, member)
}

/// A piece of a text, as an event that did not come; `None` if it is empty, or no text of a part.
fn piece_of(part: &Part, words: Words, id: &str, item: u64, delta: String) -> Option<Object> {
    let (kind, place) = match (part.list.as_str(), words) {
        ("summary", _) => ("response.reasoning_summary_text.delta", "summary_index"),
        (_, Words::Text) => ("response.output_text.delta", "content_index"),
        (_, Words::Refusal) => ("response.refusal.delta", "content_index"),
        (_, Words::Reasoning) => ("response.reasoning_text.delta", "content_index"),
        (_, Words::Result | Words::Other) => return None,
    };
    if delta.is_empty() {
        return None;
    }
    let number = |it: u64| i64::try_from(it).unwrap_or(0);
    let piece = Object::new()
        .with("type", kind)
        .with("item_id", id)
        .with("output_index", number(item))
        .with(place, number(part.index))
        .with("delta", delta);
    let is_text = words == Words::Text;
    Some(if is_text { piece.with("logprobs", Vec::<Json>::new()) } else { piece })
}

/// What stands for a text: what went out of it, if it came in pieces.
pub(super) fn settled(
    texts: &BTreeMap<(u64, Part), Text>,
    item: u64,
    part: &Part,
    words: Words,
    text: &str,
    scan: &mut dyn Scan,
) -> Masked {
    match texts.get(&(item, part.clone())) {
        Some(state) => state.settle(text, scan),
        None => whole(scan, &part.channel(item, words), text),
    }
}

impl Responses {
    /// Masks an item that is complete.
    pub(super) fn settle(
        &self,
        item: &mut Object,
        index: u64,
        scan: &mut dyn Scan,
    ) -> Result<bool, Box<Refusal>> {
        items::mask(item, index, scan, &mut |part, words, text, scan| {
            settled(&self.texts, index, part, words, text, scan)
        })
    }

    /// What is held of an item whose texts ended without saying so, as one more piece of each.
    pub(super) fn flush(
        &mut self,
        core: &mut Core,
        scan: &mut dyn Scan,
        event: &SseEvent,
        item: &Object,
        index: u64,
    ) -> Result<(), Box<Refusal>> {
        let id = item.get("id").and_then(Json::as_str).unwrap_or_default();
        let mut pieces = Vec::new();
        for ((_, part), state) in self.texts.iter_mut().filter(|((of, _), _)| *of == index) {
            let rest = state.finish(scan)?;
            pieces.extend(piece_of(part, state.words(), id, index, rest));
        }
        pieces.into_iter().for_each(|piece| self.insert(core, event, piece));
        Ok(())
    }

    /// An item or part begins, mostly empty. What it begins with goes out as the first piece of its
    /// text: clients join the pieces, and the end of it may be held back. Or a part ends.
    pub(super) fn begun(
        &mut self,
        core: &mut Core,
        scan: &mut dyn Scan,
        event: &SseEvent,
        kind: &str,
        mut object: Object,
    ) -> Result<(), Box<Refusal>> {
        let mut pieces = Vec::new();
        let is_masked = self.begin(core, scan, kind, &mut object, &mut pieces)?;
        self.write(core, event, object, is_masked);
        pieces.into_iter().for_each(|piece| self.insert(core, event, piece));
        Ok(())
    }

    fn begin(
        &mut self,
        core: &mut Core,
        scan: &mut dyn Scan,
        kind: &str,
        object: &mut Object,
        pieces: &mut Vec<Object>,
    ) -> Result<bool, Box<Refusal>> {
        let item = number(object, "output_index");
        let (list, member) = match kind {
            "response.output_item.added" => ("", "item"),
            "response.reasoning_summary_part.added" | "response.reasoning_summary_part.done" => {
                ("summary", "part")
            }
            "response.content_part.added" | "response.content_part.done" => ("content", "part"),
            _ => {
                let mut value = Json::Object(std::mem::take(object));
                let is_masked = items::leaves(&mut value, item, scan);
                if let Json::Object(value) = value {
                    *object = value;
                }
                return is_masked;
            }
        };
        let index =
            number(object, if list == "summary" { "summary_index" } else { "content_index" });
        let of_part = text(object, "item_id").to_owned();
        let Some(Json::Object(inner)) = object.get_mut(member) else {
            return Err(odd("what begins is not an object"));
        };
        let id = if list.is_empty() { text(inner, "id").to_owned() } else { of_part };
        let is_done = kind.ends_with(".done");
        let mut settle = |part: &Part, words: Words, text: &str, scan: &mut dyn Scan| {
            if is_done {
                return settled(&self.texts, item, part, words, text, scan);
            }
            core.charge(text.len() * 2)?;
            let first = match self.text_of(item, part.clone(), words)?.push(text, scan)? {
                Piece::Same => text.to_owned(),
                Piece::Other(other) => other,
            };
            pieces.extend(piece_of(part, words, &id, item, first));
            Ok((!text.is_empty()).then(String::new))
        };
        if list.is_empty() {
            return items::mask(inner, item, scan, &mut settle);
        }
        let part = Part { list: list.to_owned(), index };
        let is_reasoning = list == "summary" || items::kind(inner) == "reasoning_text";
        items::mask_part(inner, item, &part, is_reasoning, scan, &mut settle)
    }

    /// A piece of a text.
    pub(super) fn piece(
        &mut self,
        core: &mut Core,
        scan: &mut dyn Scan,
        event: &SseEvent,
        kind: &str,
        mut object: Object,
    ) -> Result<(), Box<Refusal>> {
        let (part, words, _) = part_of(kind, &object);
        let item = number(&object, "output_index");
        let Some(piece) = object.get("delta").and_then(Json::as_str) else {
            return Err(odd("a piece of a text is not a string"));
        };
        core.charge(piece.len() * 2)?;
        let is_tokens_text = tokens_match(&object, piece);
        match self.text_of(item, part, words)?.push(piece, scan)? {
            Piece::Same if is_tokens_text => self.write(core, event, object, false),
            Piece::Same => {
                object.set("logprobs", Vec::<Json>::new());
                self.write(core, event, object, true);
            }
            Piece::Other(other) if other.is_empty() => self.left_out(&object),
            Piece::Other(other) => {
                object.set("delta", other);
                if object.contains("logprobs") {
                    object.set("logprobs", Vec::<Json>::new());
                }
                self.write(core, event, object, true);
            }
        }
        Ok(())
    }

    /// A text is complete: what was held of it goes out as one more piece.
    pub(super) fn done(
        &mut self,
        core: &mut Core,
        scan: &mut dyn Scan,
        event: &SseEvent,
        kind: &str,
        mut object: Object,
    ) -> Result<(), Box<Refusal>> {
        let (part, words, member) = part_of(kind, &object);
        let item = number(&object, "output_index");
        if let Some(state) = self.texts.get_mut(&(item, part.clone())) {
            let rest = state.finish(scan)?;
            if !rest.is_empty() {
                let mut piece = object.clone();
                piece.remove(member);
                if piece.contains("logprobs") {
                    piece.set("logprobs", Vec::<Json>::new());
                }
                piece.set("type", format!("{}.delta", kind.trim_end_matches(".done")));
                piece.set("delta", rest);
                self.insert(core, event, piece);
            }
        }
        let is_masked = if words == Words::Other {
            let mut value = Json::Object(object);
            let is_masked = items::leaves(&mut value, item, scan)?;
            let Json::Object(value) = value else { return Ok(()) };
            object = value;
            is_masked
        } else {
            let said = text(&object, member);
            let masked = settled(&self.texts, item, &part, words, said, scan)?;
            let is_tokens_text = masked.is_none() && tokens_match(&object, said);
            if !is_tokens_text {
                object.set("logprobs", Vec::<Json>::new());
            }
            let is_masked = masked.is_some();
            if let Some(masked) = masked {
                object.set(member, masked);
            }
            is_masked || !is_tokens_text
        };
        self.write(core, event, object, is_masked);
        Ok(())
    }

    /// Writes a message in place of a call.
    pub(super) fn say(&mut self, core: &mut Core, item: &Object, index: u64, reason: &str) {
        let at = i64::try_from(index).unwrap_or(0);
        let id = text(&items::message(item, "", Vec::new()), "id").to_owned();
        let of_item = |kind: &str, status: &str, content: Vec<Json>| {
            let event = Object::new().with("type", kind).with("output_index", at);
            event.with("item", items::message(item, status, content))
        };
        let of_part = |kind: &str| {
            Object::new()
                .with("type", kind)
                .with("item_id", id.as_str())
                .with("output_index", at)
                .with("content_index", 0)
        };
        let tokens = Vec::<Json>::new;
        let named = SseEvent { event: Some(String::new()), ..SseEvent::default() };
        for object in [
            of_item("response.output_item.added", "in_progress", Vec::new()),
            of_part("response.content_part.added").with("part", items::part("")),
            of_part("response.output_text.delta").with("delta", reason).with("logprobs", tokens()),
            of_part("response.output_text.done").with("text", reason).with("logprobs", tokens()),
            of_part("response.content_part.done").with("part", items::part(reason)),
            of_item("response.output_item.done", "completed", vec![items::part(reason).into()]),
        ] {
            self.insert(core, &named, object);
        }
    }
}

/// Whether the tokens of log-probabilities are the text beside them.
fn tokens_match(object: &Object, text: &str) -> bool {
    let tokens = object.get("logprobs").and_then(Json::as_array).unwrap_or_default();
    let joined: String = tokens.iter().filter_map(|it| it.get("token")?.as_str()).collect();
    joined.is_empty() || joined == text
}
