//! Streams of `POST /v1/responses`: items, each begun, filled and ended, and a last event that
//! repeats them all.
//!
//! An item that is a call is held until it is complete, and all that comes behind it waits, since
//! clients count items as they begin. A refused call becomes a message at the same index. What the
//! last event says again is held against what was released: a call that was not decided about, or
//! not with these arguments, is proposed then. Events are numbered anew where one was left out or
//! put in.

mod ending;
mod words;

use super::super::items::{self, Part};
use super::super::refusal::stop_events;
use super::super::scan::{Proposed, Scan, odd, too_much};
use super::text::Text;
use super::{CHANNELS_MAX, Core, bytes_of, check_counts, number, object_of, text, with_object};
use crate::refusal::Refusal;
use crate::sse::SseEvent;
use lockgate_types::{Json, Object};
use std::collections::{BTreeMap, VecDeque};

#[derive(Debug, Default)]
pub(super) struct Responses {
    texts: BTreeMap<(u64, Part), Text>,
    held: Option<Held>,
    /// What came while a call is held.
    deferred: VecDeque<SseEvent>,
    /// What became of the calls, by the index of their item.
    outcomes: BTreeMap<u64, Outcome>,
    /// Calls that have been proposed and wait, with the event that repeats them, if it was that.
    asked: Vec<(u64, Object, u32)>,
    /// What the stream began with.
    response: Option<Object>,
    /// The number of the last event that went out, and what is added to those that come.
    last_number: Option<i64>,
    shift: i64,
}

/// The item of a call that is not complete.
#[derive(Debug, Default)]
struct Held {
    index: u64,
    /// As it began.
    item: Object,
    events: Vec<SseEvent>,
    /// Its arguments, joined of their pieces, and as the event after them says them.
    pieces: String,
    given: Option<String>,
    /// Its item does not say what its pieces said, so that they do not go out.
    is_unproved: bool,
}

#[derive(Debug)]
struct Outcome {
    call: Proposed,
    /// The reason, if it was refused.
    refused: Option<String>,
}

/// How a stream may end.
const ENDS: &[&str] =
    &["response.completed", "response.incomplete", "response.failed", "response.cancelled"];

impl Responses {
    pub(super) fn is_holding(&self) -> bool {
        self.held.is_some() || self.texts.values().any(Text::is_holding)
    }

    pub(super) fn event(
        &mut self,
        core: &mut Core,
        scan: &mut dyn Scan,
        event: SseEvent,
    ) -> Result<(), Box<Refusal>> {
        if matches!(event.data.as_deref(), None | Some("[DONE]")) {
            core.out.push(event);
            return Ok(());
        }
        let object = object_of(&event)?;
        check_counts(&object, &["output_index", "content_index", "summary_index"])?;
        let kind = text(&object, "type").to_owned();
        if kind == "error" {
            core.out.push(event);
            core.is_complete = true;
            return Ok(());
        }
        let index = number(&object, "output_index");
        let belongs = object.contains("output_index");
        if self.held.as_ref().is_some_and(|held| !(belongs && held.index == index)) {
            return self.defer(core, event, &kind, &object);
        }
        // Whatever the event is called: an item that is a call makes it one of a call.
        let item = object.get("item").and_then(Json::as_object);
        let is_of_call = self.held.is_some()
            || item.is_some_and(items::is_call)
            || kind.contains("_call") && belongs;
        match self.outcomes.get(&index).filter(|_| is_of_call && belongs) {
            // Behind its end: it shares the fate of its call.
            Some(outcome) if outcome.refused.is_some() => self.left_out(&object),
            Some(_) if kind == "response.output_item.done" => {
                return Err(odd("an item ends twice"));
            }
            Some(_) => self.write(core, &event, object, false),
            None if is_of_call => self.hold(core, event, &kind, object)?,
            None => self.plain(core, scan, &event, &kind, object)?,
        }
        Ok(())
    }

    fn plain(
        &mut self,
        core: &mut Core,
        scan: &mut dyn Scan,
        event: &SseEvent,
        kind: &str,
        mut object: Object,
    ) -> Result<(), Box<Refusal>> {
        match kind {
            "response.created" | "response.queued" | "response.in_progress" => {
                let response = object.get("response").and_then(Json::as_object);
                let output = response.and_then(|it| it.get("output")?.as_array());
                if output.is_some_and(|it| !it.is_empty()) {
                    return Err(odd("a response begins with output"));
                }
                if self.response.is_none() {
                    self.response = response.cloned();
                    core.charge(bytes_of(event))?;
                }
                self.write(core, event, object, false);
            }
            kind if ENDS.contains(&kind) => self.ending(core, scan, event, object)?,
            kind if kind.ends_with(".added") || kind.ends_with("_part.done") => {
                self.begun(core, scan, event, kind, object)?;
            }
            "response.output_item.done" => {
                let index = number(&object, "output_index");
                let is_masked = match object.get_mut("item") {
                    Some(Json::Object(item)) => {
                        self.flush(core, scan, event, item, index)?;
                        self.settle(item, index, scan)?
                    }
                    _ => return Err(odd("an item that ends is not an object")),
                };
                self.write(core, event, object, is_masked);
            }
            kind if kind.ends_with(".delta") && object.get("delta").is_some() => {
                self.piece(core, scan, event, kind, object)?;
            }
            kind if kind.ends_with(".done") => self.done(core, scan, event, kind, object)?,
            _ => {
                let index = number(&object, "output_index");
                let mut value = Json::Object(object);
                let is_masked = items::leaves(&mut value, index, scan)?;
                if let Json::Object(object) = value {
                    self.write(core, event, object, is_masked);
                }
            }
        }
        Ok(())
    }

    /// The text of a part of an item.
    fn text_of(
        &mut self,
        item: u64,
        part: Part,
        words: super::super::scan::Words,
    ) -> Result<&mut Text, Box<Refusal>> {
        if self.texts.len() >= CHANNELS_MAX && !self.texts.contains_key(&(item, part.clone())) {
            return Err(too_much("the answer has more parts than are looked at"));
        }
        let channel = part.channel(item, words);
        Ok(self.texts.entry((item, part)).or_insert_with(|| Text::remembering(channel)))
    }

    /// Puts an event behind the call that is held. The end of the stream ends the call, too.
    fn defer(
        &mut self,
        core: &mut Core,
        event: SseEvent,
        kind: &str,
        object: &Object,
    ) -> Result<(), Box<Refusal>> {
        core.charge(bytes_of(&event))?;
        self.deferred.push_back(event);
        if !ENDS.contains(&kind) {
            return Ok(());
        }
        let Some(held) = &self.held else { return Ok(()) };
        let output = object.get("response").and_then(|it| it.get("output")?.as_array());
        let at = usize::try_from(held.index).unwrap_or(usize::MAX);
        let item = output.and_then(|it| it.get(at)?.as_object());
        match item.filter(|item| items::is_call(item)).cloned() {
            Some(item) => self.complete(core, item),
            None => {
                // It never was complete, and the answer does not have it.
                let held = self.held.take().unwrap_or_default();
                self.leave_out(&held.events);
                self.again(core);
                Ok(())
            }
        }
    }

    fn again(&mut self, core: &mut Core) {
        for event in std::mem::take(&mut self.deferred) {
            core.credit(bytes_of(&event));
            core.again.push(event);
        }
    }

    /// Holds an event of a call.
    fn hold(
        &mut self,
        core: &mut Core,
        event: SseEvent,
        kind: &str,
        mut object: Object,
    ) -> Result<(), Box<Refusal>> {
        core.charge(bytes_of(&event) * 2)?;
        let index = number(&object, "output_index");
        let held = self.held.get_or_insert_with(|| Held { index, ..Held::default() });
        held.events.push(event);
        let string =
            |names: &[&str]| names.iter().find_map(|name| object.get(name).and_then(Json::as_str));
        match kind {
            "response.output_item.added" => {
                if let Some(Json::Object(item)) = object.remove("item") {
                    held.item = item;
                }
            }
            "response.output_item.done" => {
                let Some(Json::Object(item)) = object.remove("item") else {
                    return Err(odd("an item that ends is not an object"));
                };
                return self.complete(core, item);
            }
            kind if kind.ends_with(".delta") => {
                held.pieces.push_str(string(&["delta"]).unwrap_or_default());
            }
            kind if kind.ends_with(".done") => {
                held.given = string(&items::ARGUMENTS).map(str::to_owned).or(held.given.take());
            }
            _ => {}
        }
        Ok(())
    }

    /// The call is complete: whatever a client may take its arguments from says the same.
    fn complete(&mut self, core: &mut Core, item: Object) -> Result<(), Box<Refusal>> {
        let Some(held) = &mut self.held else { return Ok(()) };
        if !items::is_call(&item) {
            return Err(odd("a call ends as something else"));
        }
        let string = |item: &Object| {
            let mut all = items::ARGUMENTS.iter();
            all.find_map(|name| item.get(name).and_then(Json::as_str)).map(str::to_owned)
        };
        let last = string(&item);
        let first = string(&held.item).unwrap_or_default();
        match &last {
            Some(last) => {
                let pieces = format!("{first}{}", held.pieces);
                let is_same = (pieces.is_empty() || pieces == *last)
                    && held.given.as_ref().is_none_or(|given| given == last);
                if !is_same {
                    return Err(odd("a call has its arguments twice, and not the same"));
                }
            }
            None => held.is_unproved = true,
        }
        let name = |item: &Object| item.get("name").cloned();
        if !held.item.is_empty() && name(&held.item) != name(&item) {
            return Err(odd("a call ends with another name"));
        }
        let key = core.propose(items::call_of(&item, held.index))?;
        self.asked.push((held.index, item, key));
        Ok(())
    }

    /// The calls have verdicts.
    pub(super) fn resume(&mut self, core: &mut Core) -> Result<(), Box<Refusal>> {
        for (index, item, key) in std::mem::take(&mut self.asked) {
            let refused = core.refused(key);
            let call = items::call_of(&item, index);
            let held = self.held.take_if(|held| held.index == index);
            if let Some(held) = held {
                held.events.iter().for_each(|event| core.credit(bytes_of(event) * 2));
                match &refused {
                    None => {
                        for event in held.events {
                            let object = object_of(&event)?;
                            match held.is_unproved && is_piece(text(&object, "type")) {
                                true => self.left_out(&object),
                                false => self.write(core, &event, object, false),
                            }
                        }
                    }
                    Some(reason) => {
                        self.leave_out(&held.events);
                        self.say(core, &item, index, reason);
                    }
                }
            }
            self.outcomes.insert(index, Outcome { call, refused });
        }
        self.again(core);
        Ok(())
    }

    pub(super) fn stop(&self, refusal: &Refusal) -> Vec<SseEvent> {
        let mut events = stop_events(super::ModelApi::Responses, refusal, self.response.as_ref());
        for event in &mut events {
            if let (Some(last), Ok(mut object)) = (self.last_number, object_of(event)) {
                object.set("sequence_number", last + 1);
                *event = with_object(event, &object);
            }
        }
        events
    }

    /// Writes an event that came, under its number.
    fn write(&mut self, core: &mut Core, event: &SseEvent, mut object: Object, is_changed: bool) {
        let number = object.get("sequence_number").and_then(Json::as_i64);
        if let Some(number) = number {
            let number = number.saturating_add(self.shift);
            self.last_number = Some(number);
            if self.shift != 0 {
                object.set("sequence_number", number);
            }
        }
        let is_same = !is_changed && (self.shift == 0 || number.is_none());
        core.out.push(if is_same { event.clone() } else { with_object(event, &object) });
    }

    /// Writes an event that did not come, like one that did.
    fn insert(&mut self, core: &mut Core, event: &SseEvent, mut object: Object) {
        object.remove("sequence_number");
        if let Some(last) = &mut self.last_number {
            *last += 1;
            self.shift += 1;
            object.set("sequence_number", *last);
        }
        let kind = text(&object, "type").to_owned();
        let event = SseEvent { event: event.event.as_ref().map(|_| kind), ..event.clone() };
        core.out.push(with_object(&event, &object));
    }

    /// An event that came does not go out.
    fn left_out(&mut self, object: &Object) {
        self.shift -= i64::from(object.contains("sequence_number"));
    }

    fn leave_out(&mut self, events: &[SseEvent]) {
        for object in events.iter().filter_map(|event| object_of(event).ok()) {
            self.left_out(&object);
        }
    }
}

/// Whether an event has a part of a call's arguments, or all of them, and is not the item itself.
fn is_piece(kind: &str) -> bool {
    kind.ends_with(".delta") || kind.ends_with(".done") && kind != "response.output_item.done"
}
