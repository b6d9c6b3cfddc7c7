//! Streams of `POST /v1/chat/completions`: chunks, each with pieces of one or more choices.
//!
//! Text of a choice passes while its calls are held: neither has a place among the other. Calls are
//! complete when their choice is. A refused one is left out, those behind it move up, and its
//! reason is text of the choice.

mod chunk;

use super::super::scan::{Channel, Scan, Words, odd, too_much, whole};
use super::held::{Call, Piece, has_string, join_strings};
use super::text::{self, Text};
use super::{CHANNELS_MAX, Core, bytes_of, check_counts, number, object_of, with_object};
use crate::refusal::Refusal;
use crate::sse::SseEvent;
use chunk::{chunks, clear_tokens, drop_usage, piece, reindexed};
use lockgate_types::{Code, Json, Object};
use std::collections::BTreeMap;

pub(in crate::model) use chunk::{take_repeats, tokens_match};

/// The members of a delta that are text, and what it is.
pub(in crate::model) const TEXTS: [(&str, Words); 4] = [
    ("content", Words::Text),
    ("refusal", Words::Refusal),
    ("reasoning_content", Words::Reasoning),
    ("reasoning", Words::Reasoning),
];
/// What stands between the text of a choice and the reason of a refused call.
pub(in crate::model) const BETWEEN: &str = "\n\n";

#[derive(Debug, Default)]
pub(super) struct Chat {
    choices: BTreeMap<u64, Choice>,
    /// An event of the stream and its object without choices: what is made here looks like it.
    pattern: Option<(SseEvent, Object)>,
}

#[derive(Debug, Default)]
struct Choice {
    texts: BTreeMap<usize, Text>,
    /// Members that are not known here, which wait for the end of the choice.
    extras: Vec<(String, Json)>,
    calls: Vec<Call>,
    held: Vec<Piece>,
    has_role: bool,
    has_text: bool,
    stage: Stage,
}

#[derive(Debug, Default)]
enum Stage {
    #[default]
    Open,
    /// Its calls have been proposed; then the chunk that finishes it follows, if there is one.
    Waiting(Option<Object>),
    Over,
}

/// What becomes of a choice of a chunk.
enum Made {
    /// It passes as it came.
    Same(Object),
    /// These pass instead.
    Pieces(Vec<Object>),
}

impl Chat {
    pub(super) fn is_holding(&self) -> bool {
        self.choices.values().any(|it| {
            !it.held.is_empty() || !it.extras.is_empty() || it.texts.values().any(Text::is_holding)
        })
    }

    pub(super) fn event(
        &mut self,
        core: &mut Core,
        scan: &mut dyn Scan,
        event: SseEvent,
    ) -> Result<(), Box<Refusal>> {
        match event.data.as_deref() {
            None => {
                core.out.push(event);
                return Ok(());
            }
            Some("[DONE]") => return self.done(core, scan, event),
            Some(_) => {}
        }
        let mut chunk = object_of(&event)?;
        if chunk.get("error").is_some_and(|it| *it != Json::Null) {
            core.out.push(event);
            core.is_complete = true;
            return Ok(());
        }
        core.usage.read(chunk.get("usage"));
        core.ending.chat(&chunk);
        let choices = match chunk.get_mut("choices") {
            Some(Json::Array(choices)) => std::mem::take(choices),
            _ => Vec::new(),
        };
        if self.pattern.is_none() {
            let mut object = chunk.clone();
            object.remove("usage");
            self.pattern = Some((event.clone(), object));
        }
        let is_alone = choices.len() == 1;
        let mut made = Vec::new();
        for choice in choices {
            let Json::Object(choice) = choice else { return Err(odd("a choice is not an object")) };
            let alone = is_alone.then_some(&event);
            made.push(self.choice(core, scan, choice, (&chunk, alone))?);
        }
        if made.iter().all(|it| matches!(it, Made::Same(_))) {
            core.out.push(event);
            return Ok(());
        }
        if !core.waiting.is_empty() {
            // The chunk that finishes the choice has it, later.
            drop_usage(&mut chunk);
        }
        let pieces = made.into_iter().flat_map(|it| match it {
            Made::Same(choice) => vec![choice],
            Made::Pieces(pieces) => pieces,
        });
        core.out.extend(chunks(&event, chunk, pieces.collect()));
        Ok(())
    }

    fn choice(
        &mut self,
        core: &mut Core,
        scan: &mut dyn Scan,
        mut choice: Object,
        (chunk, alone): (&Object, Option<&SseEvent>),
    ) -> Result<Made, Box<Refusal>> {
        let is_clear = !chunk::take_repeats(&mut choice, ["text", "message"]);
        check_counts(&choice, &["index"])?;
        let index = number(&choice, "index");
        let channels: usize = self.choices.values().map(|it| it.texts.len() + 1).sum();
        if channels > CHANNELS_MAX {
            return Err(too_much("the stream has more choices than are looked at"));
        }
        let state = self.choices.entry(index).or_default();
        let delta = match choice.get("delta") {
            Some(Json::Object(delta)) => delta.clone(),
            None | Some(Json::Null) => Object::new(),
            Some(_) => return Err(odd("a delta is not an object")),
        };
        let taken = state.take(core, scan, index, delta)?;
        let is_finish = choice.get("finish_reason").is_some_and(|it| *it != Json::Null);
        let is_same = is_clear && taken.is_same && tokens_match(&choice);
        let was_over = !matches!(state.stage, Stage::Open);
        if was_over && !(is_same && taken.calls.is_empty() && taken.is_empty) {
            return Err(odd("a choice goes on after its end"));
        }
        if is_same && taken.calls.is_empty() && !(is_finish && state.is_holding()) {
            if is_finish {
                state.stage = Stage::Over;
            }
            return Ok(Made::Same(choice));
        }
        let mut pieces = Vec::new();
        let is_bare = taken.calls.len() == 1 && !is_finish && is_same && taken.is_bare();
        if let (true, Some(event)) = (is_bare, alone) {
            state.hold(core, &taken.calls, Some(event), (&choice, chunk))?;
            return Ok(Made::Pieces(pieces));
        }
        if !taken.delta.is_empty() {
            state.has_role |= taken.delta.contains("role");
            pieces.push(piece(&choice, taken.delta));
        }
        state.hold(core, &taken.calls, None, (&choice, chunk))?;
        if is_finish {
            pieces.extend(state.flush(scan, index)?);
            let mut last = choice;
            last.set("delta", Object::new());
            clear_tokens(&mut last);
            if state.propose(core, index)? {
                let mut chunk = chunk.clone();
                chunk.set("choices", vec![Json::from(last)]);
                state.stage = Stage::Waiting(Some(chunk));
            } else {
                state.stage = Stage::Over;
                pieces.push(last);
            }
        }
        Ok(Made::Pieces(pieces))
    }

    /// Every call has a verdict.
    pub(super) fn resume(&mut self, core: &mut Core) -> Result<(), Box<Refusal>> {
        let Some((event, pattern)) = &self.pattern else { return Ok(()) };
        for (index, choice) in &mut self.choices {
            if !matches!(choice.stage, Stage::Waiting(_)) {
                continue;
            }
            let stage = std::mem::replace(&mut choice.stage, Stage::Over);
            let Stage::Waiting(last) = stage else { continue };
            choice.decided(core, *index, (event, pattern))?;
            if let Some(mut last) = last {
                choice.correct(&mut last);
                core.out.push(with_object(event, &last));
            }
        }
        Ok(())
    }

    /// No more chunks follow: what is open ends.
    fn close(&mut self, core: &mut Core, scan: &mut dyn Scan) -> Result<(), Box<Refusal>> {
        let Some((event, pattern)) = &self.pattern else { return Ok(()) };
        for (index, choice) in &mut self.choices {
            if !matches!(choice.stage, Stage::Open) {
                continue;
            }
            let pieces = choice.flush(scan, *index)?;
            if !pieces.is_empty() {
                core.out.extend(chunks(event, pattern.clone(), pieces));
            }
            let waits = choice.propose(core, *index)?;
            choice.stage = if waits { Stage::Waiting(None) } else { Stage::Over };
        }
        Ok(())
    }

    fn done(
        &mut self,
        core: &mut Core,
        scan: &mut dyn Scan,
        event: SseEvent,
    ) -> Result<(), Box<Refusal>> {
        self.close(core, scan)?;
        if core.waiting.is_empty() {
            core.out.push(event);
            core.is_complete = true;
        } else {
            core.again.push(event);
        }
        Ok(())
    }

    /// The stream has ended without saying so: it is whole if every choice is.
    pub(super) fn is_whole(&self) -> bool {
        let is_over = |it: &Choice| matches!(it.stage, Stage::Over);
        !self.choices.is_empty() && self.choices.values().all(is_over)
    }
}

/// What a delta comes to.
struct Taken {
    /// What may go now.
    delta: Object,
    /// Calls, each with its place.
    calls: Vec<(Option<u64>, Json)>,
    /// Whether all but the calls goes as it came.
    is_same: bool,
    /// Whether there was no text at all.
    is_empty: bool,
}

impl Taken {
    /// Whether nothing but a role goes beside the calls.
    fn is_bare(&self) -> bool {
        self.delta.iter().all(|(name, value)| name == "role" || *value == Json::Null)
    }
}

impl Choice {
    fn is_holding(&self) -> bool {
        !self.calls.is_empty()
            || !self.extras.is_empty()
            || self.texts.values().any(Text::is_holding)
    }

    fn take(
        &mut self,
        core: &mut Core,
        scan: &mut dyn Scan,
        index: u64,
        delta: Object,
    ) -> Result<Taken, Box<Refusal>> {
        let (calls, delta_out) = (Vec::new(), Object::new());
        let mut taken = Taken { delta: delta_out, calls, is_same: true, is_empty: true };
        for (name, value) in delta {
            let words = TEXTS.iter().position(|(text, _)| *text == name);
            match (words, value) {
                (Some(part), Json::String(piece)) => {
                    let channel = channel(index, part);
                    let text = self.texts.entry(part).or_insert_with(|| Text::new(channel));
                    taken.is_empty &= piece.is_empty();
                    let out = match text.push(&piece, scan)? {
                        text::Piece::Same => piece,
                        text::Piece::Other(other) => {
                            taken.is_same = false;
                            if other.is_empty() {
                                continue;
                            }
                            other
                        }
                    };
                    self.has_text |= part == 0 && !out.is_empty();
                    taken.delta.set(name, out);
                }
                (_, value @ Json::Null) => taken.delta.set(name, value),
                (Some(_), _) => return Err(odd("text of a delta is not a string")),
                (None, Json::Array(calls)) if name == "tool_calls" => {
                    for (at, call) in calls.into_iter().enumerate() {
                        if let Some(call) = call.as_object() {
                            check_counts(call, &["index"])?;
                        }
                        let at = self.place_of(&call, at);
                        taken.calls.push((Some(at), call));
                    }
                }
                (None, call @ Json::Object(_)) if name == "function_call" => {
                    taken.calls.push((None, call));
                }
                (None, _) if matches!(name.as_str(), "tool_calls" | "function_call") => {
                    return Err(odd("calls of a delta are not what calls are"));
                }
                (None, _) if name == "audio" => {
                    let reason = "the answer is a sound, which nobody can look at";
                    let refusal = Refusal::of(Code::ResultWithheld);
                    return Err(Box::new(Refusal { reason: reason.to_owned(), ..refusal }));
                }
                (None, value) if name != "role" && has_string(&value) => {
                    core.charge(value.to_string().len())?;
                    taken.is_same = false;
                    taken.is_empty = false;
                    self.extras.push((name, value));
                }
                (None, value) => taken.delta.set(name, value),
            }
        }
        Ok(taken)
    }

    /// The place of a call, if it says none: that of the call with its id, or the next one; without
    /// an id, the last one.
    fn place_of(&self, call: &Json, at: usize) -> u64 {
        let given = call.get("index").and_then(Json::as_i64);
        if let Some(given) = given.and_then(|it| u64::try_from(it).ok()) {
            return given;
        }
        let id = call.get("id").and_then(Json::as_str).filter(|id| !id.is_empty());
        let place = match id {
            Some(id) => self.calls.iter().find(|it| it.id == id).and_then(|it| it.place),
            None => self.calls.last().and_then(|it| it.place),
        };
        let next = self.calls.len() + if id.is_some() { at } else { 0 };
        place.unwrap_or_else(|| u64::try_from(next).unwrap_or(u64::MAX))
    }

    /// Holds calls: the event as it came if nothing else is in it, else one for each.
    fn hold(
        &mut self,
        core: &mut Core,
        calls: &[(Option<u64>, Json)],
        event: Option<&SseEvent>,
        (choice, chunk): (&Object, &Object),
    ) -> Result<(), Box<Refusal>> {
        for (place, value) in calls {
            let at = match self.calls.iter().position(|call| call.place == *place) {
                Some(at) => at,
                None => {
                    self.calls.push(Call { place: *place, ..Call::default() });
                    self.calls.len() - 1
                }
            };
            if let Some(call) = self.calls.get_mut(at) {
                call.take_chat(value)?;
            }
            let event = match event {
                Some(event) => event.clone(),
                None => {
                    let delta = match place {
                        Some(_) => Object::new().with("tool_calls", vec![value.clone()]),
                        None => Object::new().with("function_call", value.clone()),
                    };
                    let mut chunk = chunk.clone();
                    chunk.set("choices", vec![Json::from(piece(choice, delta))]);
                    drop_usage(&mut chunk);
                    with_object(&SseEvent::default(), &chunk)
                }
            };
            core.charge(bytes_of(&event) * 2)?;
            self.held.push(Piece { call: at, event });
        }
        Ok(())
    }

    /// What was held of its text, as pieces.
    fn flush(&mut self, scan: &mut dyn Scan, index: u64) -> Result<Vec<Object>, Box<Refusal>> {
        let made = |delta: Object| {
            let index = i64::try_from(index).unwrap_or(0);
            let choice = Object::new().with("index", index).with("delta", delta);
            choice.with("finish_reason", Json::Null)
        };
        let mut pieces = Vec::new();
        for (part, text) in &mut self.texts {
            let rest = text.finish(scan)?;
            if let (false, Some((name, _))) = (rest.is_empty(), TEXTS.get(*part)) {
                self.has_text |= *part == 0;
                pieces.push(made(Object::new().with(*name, rest)));
            }
        }
        let other = Channel { words: Words::Other, ..channel(index, TEXTS.len()) };
        let extras = std::mem::take(&mut self.extras);
        let mut names: Vec<&String> = extras.iter().map(|(name, _)| name).collect();
        names.sort();
        names.dedup();
        for name in names {
            let of_name = || extras.iter().filter(|(it, _)| it == name).map(|(_, value)| value);
            // Apart and joined: a piece may be of one text that came in many.
            let mut is_clean = true;
            for text in join_strings(of_name()) {
                is_clean &= whole(scan, &other, &text)?.is_none();
            }
            if is_clean {
                let delta = |value: &Json| Object::new().with(name.as_str(), value.clone());
                pieces.extend(of_name().map(|value| made(delta(value))));
            }
        }
        Ok(pieces)
    }

    /// Asks about every call; whether there is one.
    fn propose(&mut self, core: &mut Core, index: u64) -> Result<bool, Box<Refusal>> {
        for call in &mut self.calls {
            call.key = core.propose(call.proposed(index))?;
        }
        Ok(!self.calls.is_empty())
    }

    /// Writes what became of the calls.
    fn decided(
        &mut self,
        core: &mut Core,
        index: u64,
        (event, pattern): (&SseEvent, &Object),
    ) -> Result<(), Box<Refusal>> {
        let mut moved = Vec::new();
        let mut next = 0;
        for call in &mut self.calls {
            let refused = core.refused(call.key);
            call.is_refused = refused.is_some();
            moved.push(next);
            let Some(reason) = refused else {
                next += i64::from(call.place.is_some());
                continue;
            };
            let between = if self.has_text { BETWEEN } else { "" };
            let mut delta = Object::new();
            if !self.has_role {
                delta.set("role", "assistant");
            }
            delta.set("content", format!("{between}{reason}"));
            (self.has_text, self.has_role) = (true, true);
            let choice = Object::new()
                .with("index", i64::try_from(index).unwrap_or(0))
                .with("delta", delta)
                .with("finish_reason", Json::Null);
            core.out.extend(chunks(event, pattern.clone(), vec![choice]));
        }
        let is_moved = self.calls.iter().any(|call| call.is_refused);
        for piece in std::mem::take(&mut self.held) {
            core.credit(bytes_of(&piece.event) * 2);
            match self.calls.get(piece.call) {
                Some(call) if !call.is_refused => {}
                _ => continue,
            }
            let to = moved.get(piece.call).copied().unwrap_or(0);
            core.out.push(if is_moved { reindexed(&piece.event, to)? } else { piece.event });
        }
        Ok(())
    }

    /// Corrects why a choice finished, if no call is left of it.
    fn correct(&self, chunk: &mut Object) {
        let is_left = self.calls.iter().any(|call| !call.is_refused);
        let choices = chunk.get_mut("choices").and_then(Json::as_array_mut);
        for choice in choices.into_iter().flatten().filter_map(Json::as_object_mut) {
            let reason = choice.get("finish_reason").and_then(Json::as_str);
            if !is_left && matches!(reason, Some("tool_calls" | "function_call")) {
                choice.set("finish_reason", "stop");
            }
        }
    }
}

fn channel(index: u64, part: usize) -> Channel {
    let words = TEXTS.get(part).map_or(Words::Other, |(_, words)| *words);
    let part = u64::try_from(part).unwrap_or(0);
    Channel { words, answer: index, part, is_sealed: false }
}
