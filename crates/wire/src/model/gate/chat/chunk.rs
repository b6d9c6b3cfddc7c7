//! Chunks of the chat API, made like those that came.

use super::super::{object_of, with_object};
use crate::refusal::Refusal;
use crate::sse::SseEvent;
use lockgate_types::{Json, Object};

/// A choice with another delta, and not its end.
pub(super) fn piece(choice: &Object, delta: Object) -> Object {
    let mut choice = choice.clone();
    choice.set("delta", delta);
    choice.set("finish_reason", Json::Null);
    clear_tokens(&mut choice);
    choice
}

/// Takes out these members, in which some providers repeat the text. Whether there was any.
pub(in crate::model) fn take_repeats(choice: &mut Object, names: [&str; 2]) -> bool {
    let found = names.map(|name| choice.remove(name));
    found.into_iter().flatten().any(|it| it != Json::Null)
}

/// Log-probabilities repeat the text token by token: they go only with text that goes as it came.
pub(super) fn clear_tokens(choice: &mut Object) {
    if choice.contains("logprobs") {
        choice.set("logprobs", Json::Null);
    }
}

/// Whether the tokens of log-probabilities are the text beside them.
pub(in crate::model) fn tokens_match(choice: &Object) -> bool {
    let Some(Json::Object(logprobs)) = choice.get("logprobs") else { return true };
    let text = |name: &str| {
        let message = choice.get("delta").or_else(|| choice.get("message"));
        message.and_then(|it| it.get(name)?.as_str()).unwrap_or_default()
    };
    ["content", "refusal"].iter().all(|name| {
        let tokens = logprobs.get(name).and_then(Json::as_array).unwrap_or_default();
        let joined: String = tokens.iter().filter_map(|it| it.get("token")?.as_str()).collect();
        joined.is_empty() || joined == text(name)
    })
}

pub(super) fn drop_usage(chunk: &mut Object) {
    if chunk.contains("usage") {
        chunk.set("usage", Json::Null);
    }
}

/// An event for each piece, like the one they came in. The last has what was used.
pub(super) fn chunks(event: &SseEvent, mut chunk: Object, pieces: Vec<Object>) -> Vec<SseEvent> {
    let usage = chunk.get("usage").cloned();
    let last = pieces.len().saturating_sub(1);
    let with = |(at, piece): (usize, Object)| {
        chunk.set("choices", vec![Json::from(piece)]);
        match &usage {
            Some(usage) if at == last => chunk.set("usage", usage.clone()),
            _ => drop_usage(&mut chunk),
        }
        with_object(event, &chunk)
    };
    pieces.into_iter().enumerate().map(with).collect()
}

/// A held event of a call that moves up.
pub(super) fn reindexed(event: &SseEvent, to: i64) -> Result<SseEvent, Box<Refusal>> {
    let mut chunk = object_of(event)?;
    let choices = chunk.get_mut("choices").and_then(Json::as_array_mut);
    for choice in choices.into_iter().flatten() {
        let delta = choice.as_object_mut().and_then(|it| it.get_mut("delta"));
        let calls = delta.and_then(Json::as_object_mut).and_then(|it| it.get_mut("tool_calls"));
        for call in calls.and_then(Json::as_array_mut).into_iter().flatten() {
            if let Some(call) = call.as_object_mut() {
                call.set("index", to);
            }
        }
    }
    Ok(with_object(event, &chunk))
}
