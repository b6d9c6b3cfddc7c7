//! Streams of `POST /v1/messages`: blocks, one after the other, each begun, continued and ended.
//!
//! A refused call becomes a block of text at the same index, so that indexes stay without gaps; a
//! result of a hosted call that was refused does too. What the model thinks is signed: it passes as
//! it is, or the stream is stopped.

use super::super::scan::{Channel, Proposed, Scan, Words, odd, whole};
use super::held::{has_string, join_strings};
use super::text::{Piece, Text};
use super::{Core, bytes_of, check_counts, number, object_of, text, with_object};
use crate::refusal::Refusal;
use crate::sse::SseEvent;
use lockgate_types::{Json, Object};

/// What stands in place of the result of a call that was refused.
pub(in crate::model) const NO_RESULT: &str =
    "the result is withheld: its call was refused, or something in it may not pass";

#[derive(Debug, Default)]
pub(super) struct Messages {
    block: Option<Block>,
    /// How many blocks have begun.
    blocks: u64,
    /// Calls of the client's tools that were released.
    released: usize,
    refused: usize,
    /// The ids of refused calls, whose results do not pass either.
    refused_ids: Vec<String>,
}

/// The block that is open.
#[derive(Debug)]
struct Block {
    index: u64,
    state: State,
    /// Events that wait for the block's end.
    held: Vec<SseEvent>,
}

#[derive(Debug)]
enum State {
    /// Text, or thoughts.
    Text(Text),
    Call(Open),
    /// Something else, which is looked at as a whole.
    Other(Object),
}

/// A call that is not complete.
#[derive(Debug)]
struct Open {
    id: String,
    name: String,
    kind: String,
    server: Option<String>,
    /// As the beginning of the block has them.
    input: Json,
    arguments: String,
    key: Option<u32>,
}

impl Messages {
    pub(super) fn is_holding(&self) -> bool {
        self.block.as_ref().is_some_and(|block| {
            !block.held.is_empty() || matches!(&block.state, State::Text(it) if it.is_holding())
        })
    }

    pub(super) fn event(
        &mut self,
        core: &mut Core,
        scan: &mut dyn Scan,
        event: SseEvent,
    ) -> Result<(), Box<Refusal>> {
        if event.data.is_none() {
            core.out.push(event);
            return Ok(());
        }
        let object = object_of(&event)?;
        let kind = text(&object, "type");
        check_counts(&object, &["index"])?;
        if kind.starts_with("content_block_") && !object.contains("index") {
            return Err(odd("an event of a block does not say of which"));
        }
        match kind {
            "message_start" => {
                let message = object.get("message");
                core.usage.read(message.and_then(|it| it.get("usage")));
                let content = message.and_then(|it| it.get("content")?.as_array());
                if content.is_some_and(|it| !it.is_empty()) {
                    return Err(odd("a message begins with content"));
                }
                core.out.push(event);
            }
            "ping" => core.out.push(event),
            "error" => {
                core.out.push(event);
                core.is_complete = true;
            }
            "content_block_start" => self.start(core, scan, event, object)?,
            "content_block_delta" => self.delta(core, scan, event, object)?,
            "content_block_stop" => self.stop(core, scan, event, &object)?,
            "message_delta" => self.message(core, event, object)?,
            "message_stop" => {
                if self.block.is_some() {
                    return Err(odd("a message ends within a block"));
                }
                core.out.push(event);
                core.is_complete = true;
            }
            _ => {
                let channel = channel(Words::Other, 0);
                let all = [Json::from(object)];
                for text in join_strings(all.iter()) {
                    if whole(scan, &channel, &text)?.is_some() {
                        return Ok(());
                    }
                }
                core.out.push(event);
            }
        }
        Ok(())
    }

    fn start(
        &mut self,
        core: &mut Core,
        scan: &mut dyn Scan,
        event: SseEvent,
        mut object: Object,
    ) -> Result<(), Box<Refusal>> {
        if self.block.is_some() {
            return Err(odd("a block begins within another"));
        }
        let index = number(&object, "index");
        if index != self.blocks {
            return Err(odd("blocks are not counted one by one"));
        }
        self.blocks += 1;
        let Some(Json::Object(block)) = object.get_mut("content_block") else {
            return Err(odd("a block has no content"));
        };
        let kind = text(block, "type").to_owned();
        let mut held = Vec::new();
        let state = match kind.as_str() {
            "text" | "thinking" => {
                let is_sealed = kind == "thinking";
                let words = if is_sealed { Words::Reasoning } else { Words::Text };
                let mut state = Text::new(Channel { is_sealed, ..channel(words, index) });
                let piece = text(block, &kind).to_owned();
                match state.push(&piece, scan)? {
                    Piece::Same => core.out.push(event),
                    Piece::Other(other) => {
                        block.set(kind.as_str(), other);
                        core.out.push(with_object(&event, &object));
                    }
                }
                State::Text(state)
            }
            kind if kind.ends_with("tool_use") => {
                core.charge(bytes_of(&event) * 2)?;
                held.push(event);
                State::Call(Open {
                    id: text(block, "id").to_owned(),
                    name: text(block, "name").to_owned(),
                    kind: kind.to_owned(),
                    server: block.get("server_name").and_then(Json::as_str).map(str::to_owned),
                    input: block.remove("input").unwrap_or(Json::Null),
                    arguments: String::new(),
                    key: None,
                })
            }
            // Encrypted: only the provider reads it.
            "redacted_thinking" => {
                core.out.push(event);
                State::Other(Object::new())
            }
            _ => {
                core.charge(bytes_of(&event) * 2)?;
                held.push(event);
                State::Other(block.clone())
            }
        };
        self.block = Some(Block { index, state, held });
        Ok(())
    }

    fn delta(
        &mut self,
        core: &mut Core,
        scan: &mut dyn Scan,
        event: SseEvent,
        mut object: Object,
    ) -> Result<(), Box<Refusal>> {
        let index = number(&object, "index");
        let Some(block) = self.block.as_mut().filter(|it| it.index == index) else {
            return Err(odd("a piece belongs to no open block"));
        };
        let Some(Json::Object(delta)) = object.get_mut("delta") else {
            return Err(odd("a piece of a block is empty"));
        };
        let kind = text(delta, "type");
        match (&mut block.state, kind) {
            (State::Text(state), "text_delta" | "thinking_delta") => {
                let name = if kind == "text_delta" { "text" } else { "thinking" };
                match state.push(text(delta, name), scan)? {
                    Piece::Same => core.out.push(event),
                    Piece::Other(other) if other.is_empty() => {}
                    Piece::Other(other) => {
                        delta.set(name, other);
                        core.out.push(with_object(&event, &object));
                    }
                }
            }
            // The signature comes when the thought is complete.
            (State::Text(state), "signature_delta") => {
                let rest = state.finish(scan)?;
                core.out.extend(tail(&event, index, "thinking", rest));
                core.out.push(event);
            }
            (State::Call(call), "input_json_delta") => {
                call.arguments.push_str(text(delta, "partial_json"));
                core.charge(bytes_of(&event) * 2)?;
                block.held.push(event);
            }
            (State::Call(_), _) => return Err(odd("a piece of a call is not its arguments")),
            // Citations, and what is not known here, wait for the end of their block.
            (State::Text(_) | State::Other(_), _) => {
                core.charge(bytes_of(&event) * 2)?;
                block.held.push(event);
            }
        }
        Ok(())
    }

    fn stop(
        &mut self,
        core: &mut Core,
        scan: &mut dyn Scan,
        event: SseEvent,
        object: &Object,
    ) -> Result<(), Box<Refusal>> {
        let index = number(object, "index");
        let Some(mut block) = self.block.take_if(|it| it.index == index) else {
            return Err(odd("a block ends that is not open"));
        };
        match &mut block.state {
            State::Text(state) => {
                let is_thought = state.is_sealed();
                let rest = state.finish(scan)?;
                let name = if is_thought { "thinking" } else { "text" };
                core.out.extend(tail(&event, index, name, rest));
                let held = std::mem::take(&mut block.held);
                let held = core.held_back(held);
                core.out.extend(clean(held, index, scan)?);
                core.out.push(event);
            }
            State::Call(call) => {
                call.key = Some(core.propose(call.proposed()?)?);
                block.held.push(event);
                self.block = Some(block);
            }
            State::Other(content) => {
                let id = text(content, "tool_use_id");
                let is_refused = self.refused_ids.iter().any(|it| it == id);
                let held = core.held_back(std::mem::take(&mut block.held));
                let count = held.len();
                let kept = clean(held, index, scan)?;
                if is_refused || kept.len() < count {
                    core.out.extend(said(&event, index, NO_RESULT));
                } else {
                    core.out.extend(kept);
                }
                core.out.push(event);
            }
        }
        Ok(())
    }

    /// The call has a verdict.
    pub(super) fn resume(&mut self, core: &mut Core) -> Result<(), Box<Refusal>> {
        let Some(Block { index, state: State::Call(call), held }) = self.block.take() else {
            return Ok(());
        };
        let held = core.held_back(held);
        let Some(reason) = call.key.and_then(|key| core.refused(key)) else {
            self.released += usize::from(call.kind == "tool_use");
            core.out.extend(held);
            return Ok(());
        };
        self.refused += 1;
        self.refused_ids.push(call.id);
        if let Some(last) = held.last() {
            core.out.extend(said(last, index, &reason));
            core.out.push(last.clone());
        }
        Ok(())
    }

    /// What was used, and why the message ended: not for a call, if none is left.
    fn message(
        &self,
        core: &mut Core,
        event: SseEvent,
        mut object: Object,
    ) -> Result<(), Box<Refusal>> {
        if self.block.is_some() {
            return Err(odd("a message ends within a block"));
        }
        core.usage.read(object.get("usage"));
        let delta = object.get_mut("delta").and_then(Json::as_object_mut);
        if let Some(delta) = &delta {
            core.ending.stopped(delta);
        }
        match delta {
            Some(delta) if text(delta, "stop_reason") == "tool_use" && self.has_no_call() => {
                delta.set("stop_reason", "end_turn");
                core.out.push(with_object(&event, &object));
            }
            _ => core.out.push(event),
        }
        Ok(())
    }

    const fn has_no_call(&self) -> bool {
        self.refused > 0 && self.released == 0
    }
}

impl Open {
    fn proposed(&self) -> Result<Proposed, Box<Refusal>> {
        let is_empty = match &self.input {
            Json::Object(input) => input.is_empty(),
            other => *other == Json::Null,
        };
        let arguments = match (is_empty, self.arguments.is_empty()) {
            // Which of the two a client takes nobody knows.
            (false, false) => return Err(odd("a call has its arguments twice")),
            (true, true) => "{}".to_owned(),
            (true, false) => self.arguments.clone(),
            (false, true) => self.input.to_string(),
        };
        Ok(Proposed {
            key: 0,
            choice: 0,
            id: (!self.id.is_empty()).then(|| self.id.clone()),
            name: self.name.clone(),
            arguments,
            hosted: (self.kind != "tool_use").then(|| self.kind.clone()),
            server: self.server.clone(),
        })
    }
}

impl Core {
    /// Events that are held no more.
    fn held_back(&mut self, events: Vec<SseEvent>) -> Vec<SseEvent> {
        events.iter().for_each(|event| self.credit(bytes_of(event) * 2));
        events
    }
}

const fn channel(words: Words, index: u64) -> Channel {
    Channel { words, answer: index, part: 0, is_sealed: false }
}

/// Of held events those in which nothing is found, together or apart: else none.
fn clean(
    events: Vec<SseEvent>,
    index: u64,
    scan: &mut dyn Scan,
) -> Result<Vec<SseEvent>, Box<Refusal>> {
    let objects = events.iter().map(|it| Ok(Json::from(object_of(it)?)));
    let objects = objects.collect::<Result<Vec<Json>, Box<Refusal>>>()?;
    if !objects.iter().any(has_string) {
        return Ok(events);
    }
    for text in join_strings(objects.iter()) {
        if whole(scan, &channel(Words::Result, index), &text)?.is_some() {
            return Ok(Vec::new());
        }
    }
    Ok(events)
}

/// An event like that one: another type and other members.
fn like(event: &SseEvent, kind: &str, index: u64, name: &str, value: Object) -> SseEvent {
    let index = i64::try_from(index).unwrap_or(0);
    let object = Object::new().with("type", kind).with("index", index).with(name, value);
    let event = SseEvent { event: event.event.as_ref().map(|_| kind.to_owned()), ..event.clone() };
    with_object(&event, &object)
}

/// What was held of a text, as one more piece of it.
fn tail(event: &SseEvent, index: u64, name: &str, rest: String) -> Option<SseEvent> {
    let delta = Object::new().with("type", format!("{name}_delta")).with(name, rest.as_str());
    (!rest.is_empty()).then(|| like(event, "content_block_delta", index, "delta", delta))
}

/// A block of text but for its end.
fn said(event: &SseEvent, index: u64, words: &str) -> [SseEvent; 2] {
    let block = Object::new().with("type", "text").with("text", "");
    let delta = Object::new().with("type", "text_delta").with("text", words);
    [
        like(event, "content_block_start", index, "content_block", block),
        like(event, "content_block_delta", index, "delta", delta),
    ]
}
