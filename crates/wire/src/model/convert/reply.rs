//! Whole answers.

use super::{Cannot, Carried, arguments, array, block, member, members, object, only};
use crate::model::path::Path;
use lockgate_types::{Json, Object};

/// Why an answer ended, in both families.
const ENDS: [(&str, &str); 4] = [
    ("end_turn", "stop"),
    ("max_tokens", "length"),
    ("tool_use", "tool_calls"),
    ("refusal", "content_filter"),
];

pub(super) fn end_to_chat(reason: &str, path: &Path) -> Carried<&'static str> {
    if reason == "stop_sequence" {
        return Ok("stop");
    }
    let found = ENDS.iter().find(|(there, _)| *there == reason);
    found.map(|(_, here)| *here).ok_or_else(|| Cannot::unknown(path))
}

pub(super) fn end_to_messages(reason: &str, path: &Path) -> Carried<&'static str> {
    let found = ENDS.iter().find(|(_, there)| *there == reason);
    found.map(|(here, _)| *here).ok_or_else(|| Cannot::unknown(path))
}

fn count(object: Option<&Json>, path: &[&str]) -> i64 {
    object.and_then(|it| it.at(path)?.as_i64()).unwrap_or(0)
}

/// What was used: Anthropic counts tokens of a cache beside the others, OpenAI among them.
pub(super) fn usage_to_chat(usage: Option<&Json>) -> Object {
    let cached = count(usage, &["cache_read_input_tokens"]);
    let beside = cached.saturating_add(count(usage, &["cache_creation_input_tokens"]));
    let input = count(usage, &["input_tokens"]).saturating_add(beside);
    let output = count(usage, &["output_tokens"]);
    Object::new()
        .with("prompt_tokens", input)
        .with("completion_tokens", output)
        .with("total_tokens", input.saturating_add(output))
        .with("prompt_tokens_details", Object::new().with("cached_tokens", cached))
}

pub(super) fn usage_to_messages(usage: Option<&Json>) -> Object {
    let cached = count(usage, &["prompt_tokens_details", "cached_tokens"]);
    let input = count(usage, &["prompt_tokens"]).saturating_sub(cached);
    Object::new()
        .with("input_tokens", input)
        .with("cache_creation_input_tokens", 0)
        .with("cache_read_input_tokens", cached)
        .with("output_tokens", count(usage, &["completion_tokens"]))
}

/// A message as a chat completion. It has no time of its own: the caller gives it, in seconds.
pub fn reply_to_chat(body: &Json, created: i64) -> Result<Json, Cannot> {
    let root = Path::default();
    let body = object(body, &root)?;
    let (mut said, mut calls): (Option<String>, Vec<Json>) = (None, Vec::new());
    let path = root.name("content");
    for (at, part) in array(body.get("content").unwrap_or(&Json::Null), &path)?.iter().enumerate() {
        let path = path.index(at);
        let part = object(part, &path)?;
        match member(part, "type") {
            "text" => {
                only(part, &path, &["type", "text"])?;
                said.get_or_insert_default().push_str(member(part, "text"));
            }
            "tool_use" => {
                only(part, &path, &["type", "id", "name", "input"])?;
                let input = part.get("input").map_or_else(|| "{}".to_owned(), Json::to_string);
                let function =
                    Object::new().with("name", member(part, "name")).with("arguments", input);
                let call = Object::new().with("id", member(part, "id")).with("type", "function");
                calls.push(call.with("function", function).into());
            }
            _ => return Err(Cannot::unknown(&path)),
        }
    }
    let calls = (!calls.is_empty()).then_some(calls);
    let message = Object::new()
        .with("role", "assistant")
        .with("content", said.map_or(Json::Null, Json::from))
        .with("refusal", Json::Null)
        .with_some("tool_calls", calls);
    let end = end_to_chat(member(body, "stop_reason"), &root.name("stop_reason"))?;
    let choice = Object::new()
        .with("index", 0)
        .with("message", message)
        .with("logprobs", Json::Null)
        .with("finish_reason", end);
    Ok(Object::new()
        .with("id", member(body, "id"))
        .with("object", "chat.completion")
        .with("created", created)
        .with("model", member(body, "model"))
        .with("choices", vec![Json::from(choice)])
        .with("usage", usage_to_chat(body.get("usage")))
        .into())
}

/// A chat completion as a message.
pub fn reply_to_messages(body: &Json) -> Result<Json, Cannot> {
    let root = Path::default();
    let body = object(body, &root)?;
    let path = root.name("choices");
    let choices = array(body.get("choices").unwrap_or(&Json::Null), &path)?;
    let [choice] = choices else { return Err(Cannot::at(&path, "there is one choice there")) };
    let path = path.index(0);
    let choice = object(choice, &path)?;
    let end = path.name("finish_reason");
    let path = path.name("message");
    let message = object(choice.get("message").unwrap_or(&Json::Null), &path)?;
    let mut content: Vec<Json> = Vec::new();
    for (name, value, path) in members(message, &path) {
        match (name, value) {
            ("content", Json::String(text)) if !text.is_empty() => content.push(block(text).into()),
            ("role" | "tool_calls" | "content", _) => {}
            (_, Json::Array(items)) if items.is_empty() => {}
            _ => return Err(Cannot::unknown(&path)),
        }
    }
    let path = path.name("tool_calls");
    let calls = message.get("tool_calls").and_then(Json::as_array).unwrap_or_default();
    for (at, call) in calls.iter().enumerate() {
        let path = path.index(at);
        let call = object(call, &path)?;
        let Some(function) = call.get("function").and_then(Json::as_object) else {
            return Err(Cannot::unknown(&path));
        };
        let input = arguments(member(function, "arguments"), &path.name("function"))?;
        let block = Object::new()
            .with("type", "tool_use")
            .with("id", member(call, "id"))
            .with("name", member(function, "name"))
            .with("input", input);
        content.push(block.into());
    }
    let reason = end_to_messages(member(choice, "finish_reason"), &end)?;
    Ok(Object::new()
        .with("id", member(body, "id"))
        .with("type", "message")
        .with("role", "assistant")
        .with("model", member(body, "model"))
        .with("content", content)
        .with("stop_reason", reason)
        .with("stop_sequence", Json::Null)
        .with("usage", usage_to_messages(body.get("usage")))
        .into())
}
