//! Streams, event by event.

use super::reply::{end_to_chat, end_to_messages, usage_to_chat, usage_to_messages};
use super::{Cannot, Carried, member, members};
use crate::model::path::Path;
use crate::sse::SseEvent;
use lockgate_types::{Json, JsonLimits, Object};

/// A stream of messages as one of chat completions.
#[derive(Debug)]
pub struct ToChat {
    created: i64,
    wants_usage: bool,
    id: String,
    model: String,
    usage: Object,
    calls: i64,
    /// The block that is open, if it is a call: whether its arguments have begun, and those that
    /// its beginning had.
    call: Option<(bool, Json)>,
}

/// A stream of chat completions as one of messages.
#[derive(Debug, Default)]
pub struct ToMessages {
    has_begun: bool,
    blocks: i64,
    open: Option<Open>,
    calls: i64,
    end: Option<&'static str>,
    usage: Option<Json>,
    is_over: bool,
}

/// The block that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Open {
    Text,
    Call(i64),
}

fn object_of(event: &SseEvent) -> Carried<Option<Object>> {
    let Some(data) = event.data.as_deref() else { return Ok(None) };
    match Json::parse(data.as_bytes(), &JsonLimits::MESSAGE) {
        Ok(Json::Object(object)) => Ok(Some(object)),
        _ => Err(Cannot::at(&Path::default(), "an event is not an object")),
    }
}

fn nested<'a>(object: &'a Object, name: &str) -> Carried<&'a Object> {
    let found = object.get(name).and_then(Json::as_object);
    found.ok_or_else(|| Cannot::at(&Path::default().name(name), "it is not an object"))
}

impl ToChat {
    /// A stream of chat completions has a time, in seconds, and tells what was used if it was asked
    /// to (`stream_options.include_usage`).
    pub fn new(created: i64, wants_usage: bool) -> Self {
        let (id, model) = (String::new(), String::new());
        let usage = Object::new();
        Self { created, wants_usage, id, model, usage, calls: 0, call: None }
    }

    /// The events that an event becomes.
    pub fn push(&mut self, event: &SseEvent) -> Result<Vec<SseEvent>, Cannot> {
        let Some(object) = object_of(event)? else { return Ok(Vec::new()) };
        let path = Path::default();
        match member(&object, "type") {
            "ping" | "content_block_stop" if self.call.is_none() => Ok(Vec::new()),
            "ping" => Ok(Vec::new()),
            "message_start" => {
                let message = nested(&object, "message")?;
                (self.id, self.model) =
                    (member(message, "id").to_owned(), member(message, "model").to_owned());
                self.used(message.get("usage"));
                let delta = Object::new().with("role", "assistant").with("content", "");
                Ok(vec![self.chunk(delta, None)])
            }
            "content_block_start" => self.begin(nested(&object, "content_block")?),
            "content_block_delta" => self.piece(nested(&object, "delta")?),
            // Arguments that are empty are an object there, and a text here.
            "content_block_stop" => match self.call.take() {
                Some((false, input)) => Ok(vec![self.arguments(&input.to_string())]),
                _ => Ok(Vec::new()),
            },
            "message_delta" => {
                self.used(object.get("usage"));
                let delta = nested(&object, "delta")?;
                match member(delta, "stop_reason") {
                    "" => Ok(Vec::new()),
                    reason => {
                        let end = end_to_chat(reason, &path.name("stop_reason"))?;
                        Ok(vec![self.chunk(Object::new(), Some(end))])
                    }
                }
            }
            "message_stop" => Ok(self.ended()),
            "error" => {
                let error = nested(&object, "error")?.clone();
                let error = error.with("param", Json::Null).with("code", Json::Null);
                Ok(vec![data(Object::new().with("error", error))])
            }
            _ => Err(Cannot::unknown(&path.name("type"))),
        }
    }

    fn begin(&mut self, block: &Object) -> Carried<Vec<SseEvent>> {
        match member(block, "type") {
            "text" => match member(block, "text") {
                "" => Ok(Vec::new()),
                text => Ok(vec![self.chunk(Object::new().with("content", text), None)]),
            },
            "tool_use" => {
                let function = Object::new().with("name", member(block, "name"));
                let call = Object::new()
                    .with("index", self.calls)
                    .with("id", member(block, "id"))
                    .with("type", "function")
                    .with("function", function.with("arguments", ""));
                self.calls += 1;
                let input = block.get("input").cloned();
                self.call = Some((false, input.unwrap_or_else(|| Object::new().into())));
                let delta = Object::new().with("tool_calls", vec![Json::from(call)]);
                Ok(vec![self.chunk(delta, None)])
            }
            _ => Err(Cannot::unknown(&Path::default().name("content_block"))),
        }
    }

    fn piece(&mut self, delta: &Object) -> Carried<Vec<SseEvent>> {
        match member(delta, "type") {
            "text_delta" => {
                let delta = Object::new().with("content", member(delta, "text"));
                Ok(vec![self.chunk(delta, None)])
            }
            "input_json_delta" if member(delta, "partial_json").is_empty() => Ok(Vec::new()),
            "input_json_delta" => {
                if let Some((has_begun, _)) = &mut self.call {
                    *has_begun = true;
                }
                Ok(vec![self.arguments(member(delta, "partial_json"))])
            }
            _ => Err(Cannot::unknown(&Path::default().name("delta"))),
        }
    }

    fn arguments(&self, text: &str) -> SseEvent {
        let function = Object::new().with("arguments", text);
        let call = Object::new().with("index", self.calls - 1).with("function", function);
        self.chunk(Object::new().with("tool_calls", vec![Json::from(call)]), None)
    }

    fn used(&mut self, usage: Option<&Json>) {
        for (name, value) in usage.and_then(Json::as_object).into_iter().flat_map(Object::iter) {
            self.usage.set(name, value.clone());
        }
    }

    fn ended(&self) -> Vec<SseEvent> {
        let mut events = Vec::new();
        if self.wants_usage {
            let usage = usage_to_chat(Some(&Json::Object(self.usage.clone())));
            let chunk = self.envelope().with("choices", Vec::<Json>::new());
            events.push(data(chunk.with("usage", usage)));
        }
        events.push(SseEvent { data: Some("[DONE]".to_owned()), ..SseEvent::default() });
        events
    }

    fn envelope(&self) -> Object {
        Object::new()
            .with("id", self.id.as_str())
            .with("object", "chat.completion.chunk")
            .with("created", self.created)
            .with("model", self.model.as_str())
    }

    fn chunk(&self, delta: Object, end: Option<&str>) -> SseEvent {
        let choice = Object::new()
            .with("index", 0)
            .with("delta", delta)
            .with("finish_reason", end.map_or(Json::Null, Json::from));
        data(self.envelope().with("choices", vec![Json::from(choice)]))
    }
}

fn data(object: Object) -> SseEvent {
    SseEvent { data: Some(Json::from(object).to_string()), ..SseEvent::default() }
}

fn named(object: Object) -> SseEvent {
    SseEvent { event: Some(member(&object, "type").to_owned()), ..data(object) }
}

impl ToMessages {
    /// The events that an event becomes.
    pub fn push(&mut self, event: &SseEvent) -> Result<Vec<SseEvent>, Cannot> {
        let mut out = Vec::new();
        if event.data.as_deref() == Some("[DONE]") {
            self.finish(&mut out);
            return Ok(out);
        }
        let Some(chunk) = object_of(event)? else { return Ok(out) };
        if let Some(Json::Object(error)) = chunk.get("error") {
            let kind = Some(member(error, "type")).filter(|it| !it.is_empty());
            let error = Object::new()
                .with("type", kind.unwrap_or("api_error"))
                .with("message", member(error, "message"));
            self.is_over = true;
            return Ok(vec![named(Object::new().with("type", "error").with("error", error))]);
        }
        if !self.has_begun {
            self.has_begun = true;
            out.push(begun(&chunk));
        }
        if let Some(usage) = chunk.get("usage").filter(|it| **it != Json::Null) {
            self.usage = Some(usage.clone());
        }
        let path = Path::default().name("choices");
        match chunk.get("choices").and_then(Json::as_array).unwrap_or_default() {
            [] => {}
            [Json::Object(choice)] => self.choice(choice, &path.index(0), &mut out)?,
            _ => return Err(Cannot::at(&path, "there is one choice there")),
        }
        Ok(out)
    }

    fn choice(&mut self, choice: &Object, path: &Path, out: &mut Vec<SseEvent>) -> Carried<()> {
        let delta = choice.get("delta").and_then(Json::as_object);
        let delta_path = path.name("delta");
        for (name, value, path) in delta.into_iter().flat_map(|it| members(it, &delta_path)) {
            match (name, value) {
                ("role", _) => {}
                ("content", Json::String(text)) if text.is_empty() => {}
                ("content", Json::String(text)) => {
                    if self.open != Some(Open::Text) {
                        let block = super::block("");
                        self.open(Open::Text, block, out);
                    }
                    let delta = Object::new().with("type", "text_delta");
                    out.push(self.delta(delta.with("text", text.as_str())));
                }
                ("tool_calls", Json::Array(calls)) => {
                    for (at, call) in calls.iter().enumerate() {
                        self.call(call, &path.index(at), out)?;
                    }
                }
                _ => return Err(Cannot::unknown(&path)),
            }
        }
        if let Some(reason) = choice.get("finish_reason").and_then(Json::as_str) {
            self.close(out);
            self.end = Some(end_to_messages(reason, &path.name("finish_reason"))?);
        }
        Ok(())
    }

    fn call(&mut self, call: &Json, path: &Path, out: &mut Vec<SseEvent>) -> Carried<()> {
        let Some(index) = call.get("index").and_then(Json::as_i64) else {
            return Err(Cannot::at(&path.name("index"), "a call says which it is"));
        };
        let text = |path: &[&str]| call.at(path).and_then(Json::as_str).unwrap_or_default();
        if self.open != Some(Open::Call(index)) {
            if index != self.calls {
                return Err(Cannot::at(path, "calls come one after the other there"));
            }
            self.calls += 1;
            let block = Object::new()
                .with("type", "tool_use")
                .with("id", text(&["id"]))
                .with("name", text(&["function", "name"]))
                .with("input", Object::new());
            self.open(Open::Call(index), block, out);
        }
        let piece = text(&["function", "arguments"]);
        if !piece.is_empty() {
            let delta = Object::new().with("type", "input_json_delta").with("partial_json", piece);
            out.push(self.delta(delta));
        }
        Ok(())
    }

    fn open(&mut self, open: Open, block: Object, out: &mut Vec<SseEvent>) {
        self.close(out);
        self.open = Some(open);
        self.blocks += 1;
        let event =
            Object::new().with("type", "content_block_start").with("index", self.blocks - 1);
        out.push(named(event.with("content_block", block)));
    }

    fn close(&mut self, out: &mut Vec<SseEvent>) {
        if self.open.take().is_some() {
            let event = Object::new().with("type", "content_block_stop");
            out.push(named(event.with("index", self.blocks - 1)));
        }
    }

    fn delta(&self, delta: Object) -> SseEvent {
        let event =
            Object::new().with("type", "content_block_delta").with("index", self.blocks - 1);
        named(event.with("delta", delta))
    }

    /// The end: what was used comes after the reason in the one family, and with it in the other.
    fn finish(&mut self, out: &mut Vec<SseEvent>) {
        if std::mem::replace(&mut self.is_over, true) || !self.has_begun {
            return;
        }
        self.close(out);
        let end = self.end.map_or(Json::Null, Json::from);
        let delta = Object::new().with("stop_reason", end).with("stop_sequence", Json::Null);
        let event = Object::new().with("type", "message_delta").with("delta", delta);
        out.push(named(event.with("usage", usage_to_messages(self.usage.as_ref()))));
        out.push(named(Object::new().with("type", "message_stop")));
    }
}

/// How a message begins. What was used is not known yet.
fn begun(chunk: &Object) -> SseEvent {
    let usage = Object::new().with("input_tokens", 0).with("output_tokens", 0);
    let message = Object::new()
        .with("id", member(chunk, "id"))
        .with("type", "message")
        .with("role", "assistant")
        .with("model", member(chunk, "model"))
        .with("content", Vec::<Json>::new())
        .with("stop_reason", Json::Null)
        .with("stop_sequence", Json::Null)
        .with("usage", usage);
    named(Object::new().with("type", "message_start").with("message", message))
}
