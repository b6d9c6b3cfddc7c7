//! The release gate of streams: events of a provider go in, in the order in which they arrive;
//! events for the client come out, and none of them holds what nobody has looked at.
//!
//! - **Text** (of the answer, of a refusal, of what the model thinks) passes but for its unfinished
//!   end: how much that is `Scan` says. Deltas are rewritten, so that joined they are the masked
//!   text, and events that repeat the whole text carry the masked one.
//! - **Calls** are held whole, names and arguments, until they are complete. Then they are
//!   `Proposed`, and nothing further is read until each has a `Verdict`: released, its events go
//!   out as they came; refused, the reason takes their place as words of the model, in a form in
//!   which the client's own loop goes on.
//! - **Whatever is not known here** passes, once its strings have been looked at.
//!
//! The gate stops a stream with an error that the client's SDK raises, never by cutting the
//! connection, and what was held is then gone. It waits for nobody and knows no time: while
//! something is held, whoever drives it sends `keep_alive`.

mod chat;
mod held;
mod messages;
mod responses;
mod text;

use super::ending::Ending;
use super::refusal::stop_events;
use super::reply::Usage;
use super::scan::{Proposed, Scan, Verdict, odd, too_much};
use crate::refusal::Refusal;
use crate::sse::{KEEP_ALIVE, SseEvent};
use lockgate_types::model::ModelApi;
use lockgate_types::{Json, JsonLimits, Object};
use std::collections::{BTreeMap, VecDeque};

pub(super) use chat::{BETWEEN, TEXTS, take_repeats, tokens_match};
pub(super) use held::{has_string, join_strings};
pub(super) use messages::NO_RESULT;
pub use text::{CONTEXT_BYTES, TEXT_HELD_BYTES_MAX};

/// Bytes that one stream holds: events that wait, and text that is needed again. Beyond it the
/// stream is stopped.
pub const STREAM_HELD_BYTES_MAX: usize = 16 << 20;
/// Calls of one answer.
pub const CALLS_MAX: usize = 256;
/// Choices, items and parts of one answer in which text arrives.
pub const CHANNELS_MAX: usize = 256;
/// What an event takes beside its data.
const EVENT_BYTES: usize = 64;
/// What keeps a stream of Anthropic's open.
const PING: &[u8] = b"event: ping\ndata: {\"type\": \"ping\"}\n\n";

/// A stream on its way from a provider to a client.
#[derive(Debug)]
pub struct Gate {
    api: ModelApi,
    core: Core,
    machine: Machine,
    /// What has arrived and was not looked at, because calls wait for a verdict.
    inbox: VecDeque<SseEvent>,
    stopped: Option<Box<Refusal>>,
}

#[derive(Debug)]
enum Machine {
    Chat(chat::Chat),
    Responses(responses::Responses),
    Messages(messages::Messages),
}

/// What keeps a silent connection of that API open: bytes, since comments are no events.
pub const fn keep_alive(api: ModelApi) -> &'static [u8] {
    match api {
        ModelApi::Messages | ModelApi::CountTokens => PING,
        ModelApi::ChatCompletions
        | ModelApi::Responses
        | ModelApi::Embeddings
        | ModelApi::Models => KEEP_ALIVE,
    }
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With the event that ends it.
    Complete,
    /// In the middle: whatever was held is gone, and the client is to be told with `Gate::stop`.
    Truncated,
    /// Not yet: calls wait for their verdicts.
    Waiting,
}

impl Gate {
    /// A stream of that API; `None` if it has none.
    pub fn new(api: ModelApi) -> Option<Self> {
        let machine = match api {
            ModelApi::ChatCompletions => Machine::Chat(chat::Chat::default()),
            ModelApi::Responses => Machine::Responses(responses::Responses::default()),
            ModelApi::Messages => Machine::Messages(messages::Messages::default()),
            ModelApi::CountTokens | ModelApi::Embeddings | ModelApi::Models => return None,
        };
        let (core, inbox) = (Core::default(), VecDeque::new());
        Some(Self { api, core, machine, inbox, stopped: None })
    }

    /// Takes the provider's next event. Once the stream is over, nothing.
    pub fn push(&mut self, event: SseEvent, scan: &mut dyn Scan) {
        if self.is_over() {
            return;
        }
        match self.core.charge(bytes_of(&event)) {
            Ok(()) => self.inbox.push_back(event),
            Err(refusal) => self.stop(&refusal),
        }
        self.pump(scan);
    }

    /// What may be written to the client now.
    pub fn take(&mut self) -> Vec<SseEvent> {
        std::mem::take(&mut self.core.out)
    }

    /// The calls that wait for a verdict. Until all have one, nothing further is released.
    pub fn proposed(&self) -> &[Proposed] {
        &self.core.waiting
    }

    /// Says what becomes of a call.
    pub fn answer(&mut self, key: u32, verdict: Verdict, scan: &mut dyn Scan) {
        let before = self.core.waiting.len();
        self.core.waiting.retain(|call| call.key != key);
        if self.core.waiting.len() < before {
            self.core.verdicts.insert(key, verdict);
            self.pump(scan);
        }
    }

    /// Whether something is held back, so that the client may wait in silence.
    pub fn is_holding(&self) -> bool {
        let holds = match &self.machine {
            Machine::Chat(chat) => chat.is_holding(),
            Machine::Responses(responses) => responses.is_holding(),
            Machine::Messages(messages) => messages.is_holding(),
        };
        !self.is_over() && (holds || !self.core.waiting.is_empty())
    }

    /// Ends the stream with an error; what is held is gone.
    pub fn stop(&mut self, refusal: &Refusal) {
        if self.is_over() {
            return;
        }
        self.inbox.clear();
        self.core.waiting.clear();
        let events = match &self.machine {
            Machine::Responses(responses) => responses.stop(refusal),
            Machine::Chat(_) | Machine::Messages(_) => stop_events(self.api, refusal, None),
        };
        self.core.out.extend(events);
        self.stopped = Some(Box::new(refusal.clone()));
    }

    /// Why the stream was stopped, if it was.
    pub fn stopped(&self) -> Option<&Refusal> {
        self.stopped.as_deref()
    }

    /// The provider's stream has ended.
    pub fn end(&mut self) -> End {
        // Not every provider of the chat API says that it has done.
        if let (Machine::Chat(chat), true) = (&self.machine, self.core.waiting.is_empty()) {
            self.core.is_complete |= self.stopped.is_none() && chat.is_whole();
        }
        match (self.core.is_complete, self.stopped.is_some()) {
            (_, true) => End::Truncated,
            (true, false) => End::Complete,
            (false, false) if !self.core.waiting.is_empty() => End::Waiting,
            (false, false) => End::Truncated,
        }
    }

    /// Whether the last event has gone out.
    pub const fn is_over(&self) -> bool {
        self.core.is_complete || self.stopped.is_some()
    }

    /// What the provider says that it used, so far.
    pub const fn usage(&self) -> &Usage {
        &self.core.usage
    }

    /// How the provider says that it ended, so far.
    pub const fn ending(&self) -> &Ending {
        &self.core.ending
    }

    fn pump(&mut self, scan: &mut dyn Scan) {
        while !self.is_over() && self.core.waiting.is_empty() {
            let result = if std::mem::take(&mut self.core.has_asked) {
                self.resume()
            } else {
                let Some(event) = self.inbox.pop_front() else { return };
                self.core.credit(bytes_of(&event));
                self.event(event, scan)
            };
            let again = std::mem::take(&mut self.core.again);
            let bytes = again.iter().map(bytes_of).sum();
            again.into_iter().rev().for_each(|event| self.inbox.push_front(event));
            if let Err(refusal) = result.and(self.core.charge(bytes)) {
                self.stop(&refusal);
            }
        }
    }

    fn event(&mut self, event: SseEvent, scan: &mut dyn Scan) -> Result<(), Box<Refusal>> {
        match &mut self.machine {
            Machine::Chat(chat) => chat.event(&mut self.core, scan, event),
            Machine::Responses(responses) => responses.event(&mut self.core, scan, event),
            Machine::Messages(messages) => messages.event(&mut self.core, scan, event),
        }
    }

    fn resume(&mut self) -> Result<(), Box<Refusal>> {
        match &mut self.machine {
            Machine::Chat(chat) => chat.resume(&mut self.core),
            Machine::Responses(responses) => responses.resume(&mut self.core),
            Machine::Messages(messages) => messages.resume(&mut self.core),
        }
    }
}

/// What every API's machine works with.
#[derive(Debug, Default)]
struct Core {
    out: Vec<SseEvent>,
    waiting: Vec<Proposed>,
    verdicts: BTreeMap<u32, Verdict>,
    /// Calls have been proposed, and what waits for them goes on once they have verdicts.
    has_asked: bool,
    /// Events that are to be looked at again then, in order.
    again: Vec<SseEvent>,
    calls: usize,
    held_bytes: usize,
    usage: Usage,
    ending: Ending,
    is_complete: bool,
}

impl Core {
    fn charge(&mut self, bytes: usize) -> Result<(), Box<Refusal>> {
        self.held_bytes = self.held_bytes.saturating_add(bytes);
        if self.held_bytes > STREAM_HELD_BYTES_MAX {
            return Err(too_much("more of the stream would have to be held than is kept of one"));
        }
        Ok(())
    }

    const fn credit(&mut self, bytes: usize) {
        self.held_bytes = self.held_bytes.saturating_sub(bytes);
    }

    /// Asks about a call, under a key of its own.
    fn propose(&mut self, call: Proposed) -> Result<u32, Box<Refusal>> {
        if self.calls >= CALLS_MAX {
            return Err(too_much("the answer has more calls than are looked at"));
        }
        let key = u32::try_from(self.calls).unwrap_or(u32::MAX);
        self.calls += 1;
        self.has_asked = true;
        self.waiting.push(Proposed { key, ..call });
        Ok(key)
    }

    /// The reason if a call was refused. One without a verdict is: nobody has allowed it.
    fn refused(&self, key: u32) -> Option<String> {
        match self.verdicts.get(&key) {
            Some(Verdict::Release) => None,
            Some(Verdict::Refuse(refusal)) => Some(refusal.to_text()),
            None => Some(Refusal::of(lockgate_types::Code::InvariantBroken).to_text()),
        }
    }
}

fn bytes_of(event: &SseEvent) -> usize {
    event.data.as_ref().map_or(0, String::len) + EVENT_BYTES
}

/// The object that an event carries.
fn object_of(event: &SseEvent) -> Result<Object, Box<Refusal>> {
    let data = event.data.as_deref().unwrap_or_default();
    match Json::parse(data.as_bytes(), &JsonLimits::MESSAGE) {
        Ok(Json::Object(object)) => Ok(object),
        Ok(_) => Err(odd("an event of the stream is not an object")),
        Err(_) => Err(odd("an event of the stream is not JSON")),
    }
}

/// An event with another object.
fn with_object(event: &SseEvent, object: &Object) -> SseEvent {
    let SseEvent { id, event, retry_ms, data: _ } = event;
    let (id, event) = (id.clone(), event.clone());
    SseEvent { id, event, retry_ms: *retry_ms, data: Some(object.to_text()) }
}

/// Refuses what counts and is no count: another reader would take it for another place.
fn check_counts(object: &Object, names: &[&str]) -> Result<(), Box<Refusal>> {
    let is_count = |value: &Json| value.as_i64().is_some_and(|it| it >= 0);
    match names.iter().filter_map(|name| object.get(name)).all(is_count) {
        true => Ok(()),
        false => Err(odd("an index in the stream is no count")),
    }
}

/// A count; what is absent is the first.
fn number(object: &Object, name: &str) -> u64 {
    let value = object.get(name).and_then(Json::as_i64).unwrap_or(0);
    u64::try_from(value).unwrap_or(0)
}

fn text<'a>(object: &'a Object, name: &str) -> &'a str {
    object.get(name).and_then(Json::as_str).unwrap_or_default()
}
