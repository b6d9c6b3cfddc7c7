//! An answer that no model gave: a text in the form of each API, whole and as the events of a
//! stream.

use crate::sse::SseEvent;
use lockgate_types::model::ModelApi;
use lockgate_types::{Json, Object};

/// The answer, whole. `None`: the API has no text.
pub fn whole(api: ModelApi, id: &str, model: &str, text: &str) -> Option<Json> {
    let object = match api {
        ModelApi::ChatCompletions => {
            let message = Object::new()
                .with("role", "assistant")
                .with("content", text)
                .with("refusal", Json::Null);
            let choice = Object::new()
                .with("index", 0)
                .with("message", message)
                .with("logprobs", Json::Null)
                .with("finish_reason", "stop");
            chat("chat.completion", id, model).with("choices", vec![choice.into()])
        }
        ModelApi::Responses => response(id, model, "completed", vec![item(id, text).into()]),
        ModelApi::Messages => {
            let block = Object::new().with("type", "text").with("text", text);
            message(id, model, vec![block.into()]).with("stop_reason", "end_turn")
        }
        ModelApi::CountTokens | ModelApi::Embeddings | ModelApi::Models => return None,
    };
    Some(object.into())
}

/// The same, as events.
pub fn events(api: ModelApi, id: &str, model: &str, text: &str) -> Vec<SseEvent> {
    match api {
        ModelApi::ChatCompletions => {
            let chunk = |delta: Object, finish: Json| {
                let choice = Object::new()
                    .with("index", 0)
                    .with("delta", delta)
                    .with("finish_reason", finish);
                let object = chat("chat.completion.chunk", id, model);
                event(None, object.with("choices", vec![choice.into()]))
            };
            let first = Object::new().with("role", "assistant").with("content", text);
            let done = SseEvent { data: Some("[DONE]".to_owned()), ..SseEvent::default() };
            vec![chunk(first, Json::Null), chunk(Object::new(), "stop".into()), done]
        }
        ModelApi::Responses => {
            let whole = response(id, model, "completed", vec![item(id, text).into()]);
            let begun = response(id, model, "in_progress", Vec::new());
            let of = |kind: &str, number: i64| {
                Object::new().with("type", kind).with("sequence_number", number)
            };
            let place = |object: Object| object.with("output_index", 0);
            let within = |object: Object| {
                place(object).with("item_id", format!("msg_{id}")).with("content_index", 0)
            };
            let all = [
                of("response.created", 0).with("response", begun),
                place(of("response.output_item.added", 1)).with("item", item(id, "")),
                within(of("response.content_part.added", 2)).with("part", part("")),
                within(of("response.output_text.delta", 3)).with("delta", text),
                within(of("response.output_text.done", 4)).with("text", text),
                within(of("response.content_part.done", 5)).with("part", part(text)),
                place(of("response.output_item.done", 6)).with("item", item(id, text)),
                of("response.completed", 7).with("response", whole),
            ];
            all.into_iter().map(named).collect()
        }
        ModelApi::Messages => {
            let of = |kind: &str| Object::new().with("type", kind);
            let block = Object::new().with("type", "text").with("text", "");
            let delta = Object::new().with("type", "text_delta").with("text", text);
            let stop =
                Object::new().with("stop_reason", "end_turn").with("stop_sequence", Json::Null);
            let usage = Object::new().with("output_tokens", 0);
            let all = [
                of("message_start").with("message", message(id, model, Vec::new())),
                of("content_block_start").with("index", 0).with("content_block", block),
                of("content_block_delta").with("index", 0).with("delta", delta),
                of("content_block_stop").with("index", 0),
                of("message_delta").with("delta", stop).with("usage", usage),
                of("message_stop"),
            ];
            all.into_iter().map(named).collect()
        }
        ModelApi::CountTokens | ModelApi::Embeddings | ModelApi::Models => Vec::new(),
    }
}

fn chat(kind: &str, id: &str, model: &str) -> Object {
    Object::new()
        .with("id", format!("chatcmpl-{id}"))
        .with("object", kind)
        .with("created", 0)
        .with("model", model)
}

fn response(id: &str, model: &str, status: &str, output: Vec<Json>) -> Object {
    Object::new()
        .with("id", format!("resp_{id}"))
        .with("object", "response")
        .with("created_at", 0)
        .with("status", status)
        .with("model", model)
        .with("output", output)
        .with("parallel_tool_calls", true)
        .with("tool_choice", "auto")
        .with("tools", Vec::new())
}

fn item(id: &str, text: &str) -> Object {
    let content = if text.is_empty() { Vec::new() } else { vec![part(text).into()] };
    let status = if text.is_empty() { "in_progress" } else { "completed" };
    Object::new()
        .with("type", "message")
        .with("id", format!("msg_{id}"))
        .with("role", "assistant")
        .with("status", status)
        .with("content", content)
}

fn part(text: &str) -> Object {
    Object::new()
        .with("type", "output_text")
        .with("text", text)
        .with("annotations", Vec::new())
        .with("logprobs", Vec::new())
}

fn message(id: &str, model: &str, content: Vec<Json>) -> Object {
    let usage = Object::new().with("input_tokens", 0).with("output_tokens", 0);
    Object::new()
        .with("id", format!("msg_{id}"))
        .with("type", "message")
        .with("role", "assistant")
        .with("model", model)
        .with("content", content)
        .with("stop_reason", Json::Null)
        .with("stop_sequence", Json::Null)
        .with("usage", usage)
}

/// An event that is called as its `type` says.
fn named(object: Object) -> SseEvent {
    let kind = object.get("type").and_then(Json::as_str).map(str::to_owned);
    event(kind, object)
}

fn event(kind: Option<String>, object: Object) -> SseEvent {
    SseEvent { event: kind, data: Some(Json::from(object).to_string()), ..SseEvent::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::reply::Reply;

    #[test]
    fn a_text_is_an_answer_of_each_api() {
        for api in [ModelApi::ChatCompletions, ModelApi::Responses, ModelApi::Messages] {
            let body = whole(api, "1", "m", "sorry").unwrap();
            let reply = Reply::read(api, &body).unwrap();
            let texts: Vec<&str> = reply.texts.iter().map(|it| it.text.as_ref()).collect();
            assert_eq!((texts, reply.calls.len()), (vec!["sorry"], 0), "{api:?}");
            let events = events(api, "1", "m", "sorry");
            let data: Vec<&str> = events.iter().filter_map(|it| it.data.as_deref()).collect();
            assert!(data.iter().any(|it| it.contains("sorry")), "{api:?}");
        }
        assert_eq!(whole(ModelApi::Embeddings, "1", "m", "sorry"), None);
    }
}
