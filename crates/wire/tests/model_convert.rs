//! From one family's API to the other's and back: nothing is lost, or its place is named.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking; answers are made for the gate's tests, too"
)]

mod model;

use lockgate_types::model::ModelApi;
use lockgate_types::{Code, Json};
use lockgate_wire::model::convert::{
    ToChat, ToMessages, reply_to_chat, reply_to_messages, request_to_chat, request_to_messages,
};
use lockgate_wire::sse::SseEvent;
use model::{Dice, Part, Said, Way, chat, folded, folded_whole, json, messages};

const CHAT: &str = r#"{"model":"m","max_completion_tokens":50,"temperature":0.5,"messages":[
    {"role":"system","content":[{"type":"text","text":"rules"}]},
    {"role":"user","content":[{"type":"text","text":"look"},{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}]},
    {"role":"assistant","content":[{"type":"text","text":"so"}],"tool_calls":[{"id":"c1","type":"function","function":{"name":"mail","arguments":"{\"n\":1.0}"}}]},
    {"role":"tool","tool_call_id":"c1","content":[{"type":"text","text":"sent"}]},
    {"role":"assistant","content":"done"}],
    "tools":[{"type":"function","function":{"name":"mail","description":"d","parameters":{"type":"object"},"strict":true}}],
    "stop":["x"],"tool_choice":{"type":"function","function":{"name":"mail"}},"parallel_tool_calls":false,"user":"u"}"#;

const MESSAGES: &str = r#"{"model":"m","max_tokens":50,"temperature":0.5,"system":[{"type":"text","text":"rules"}],"messages":[
    {"role":"user","content":[{"type":"text","text":"look"},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AAAA"}}]},
    {"role":"assistant","content":[{"type":"text","text":"so"},{"type":"tool_use","id":"c1","name":"mail","input":{"n":1.0}}]},
    {"role":"user","content":[{"type":"tool_result","tool_use_id":"c1","content":[{"type":"text","text":"sent"}]}]},
    {"role":"assistant","content":"done"}],
    "tools":[{"name":"mail","description":"d","input_schema":{"type":"object"},"strict":true}],
    "stop_sequences":["x"],"tool_choice":{"type":"tool","name":"mail","disable_parallel_tool_use":true},"metadata":{"user_id":"u"}}"#;

/// As an object whose members have no order.
fn sorted(value: &Json) -> String {
    String::from_utf8(value.to_canonical()).unwrap()
}

#[test]
fn requests_are_carried_both_ways() {
    let there = request_to_messages(&json(CHAT), 4096).unwrap();
    let expected =
        MESSAGES.replace(r#""content":"done""#, r#""content":[{"type":"text","text":"done"}]"#);
    assert_eq!(sorted(&there), sorted(&json(&expected)));
    let back = request_to_chat(&json(MESSAGES)).unwrap();
    assert_eq!(sorted(&back), sorted(&json(CHAT)));
}

#[test]
fn a_request_without_a_bound_gets_one() {
    let there = request_to_messages(&json(r#"{"model":"m","messages":[],"n":1,"stream":true,"stream_options":{"include_usage":true},"seed":null}"#), 77).unwrap();
    assert_eq!(there.to_string(), r#"{"model":"m","messages":[],"stream":true,"max_tokens":77}"#);
    let there = request_to_chat(&json(r#"{"messages":[],"stream":true}"#)).unwrap();
    assert_eq!(there.at(&["stream_options", "include_usage"]), Some(&Json::Bool(true)));
}

#[test]
fn what_cannot_be_carried_is_named() {
    for (body, place) in [
        (r#"{"n":2}"#, "n"),
        (r#"{"seed":1}"#, "seed"),
        (r#"{"response_format":{"type":"json_object"}}"#, "response_format"),
        (r#"{"temperature":1.5}"#, "temperature"),
        (r#"{"temperature":0e9}"#, "temperature"),
        (r#"{"web_search_options":{}}"#, "web_search_options"),
        (r#"{"messages":[{"role":"user","content":"a","name":"n"}]}"#, "messages[0].name"),
        (
            r#"{"messages":[{"role":"user","content":"a"},{"role":"system","content":"b"}]}"#,
            "messages[1]",
        ),
        (
            r#"{"messages":[{"role":"user","content":[{"type":"input_audio","input_audio":{}}]}]}"#,
            "messages[0].content[0]",
        ),
        (
            r#"{"messages":[{"role":"assistant","tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"not json"}}]}]}"#,
            "messages[0].tool_calls[0].function.arguments",
        ),
        (r#"{"tools":[{"type":"custom","custom":{"name":"a"}}]}"#, "tools[0]"),
    ] {
        let error = request_to_messages(&json(body), 1).unwrap_err();
        assert_eq!((error.member.as_str(), error.code()), (place, Code::CannotConvert), "{error}");
    }
    for (body, place) in [
        (r#"{"top_k":4}"#, "top_k"),
        (r#"{"thinking":{"type":"enabled","budget_tokens":5}}"#, "thinking"),
        (r#"{"tools":[{"type":"bash_20250124","name":"bash"}]}"#, "tools[0]"),
        (r#"{"mcp_servers":[]}"#, "mcp_servers"),
        (
            r#"{"messages":[{"role":"assistant","content":[{"type":"thinking","thinking":"t"}]}]}"#,
            "messages[0].content[0]",
        ),
        (
            r#"{"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"a","is_error":true}]}]}"#,
            "messages[0].content[0].is_error",
        ),
        (
            r#"{"messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"tool_result","tool_use_id":"a"}]}]}"#,
            "messages[0].content[1]",
        ),
    ] {
        let error = request_to_chat(&json(body)).unwrap_err();
        assert_eq!(error.member, place, "{error}");
    }
    assert!(reply_to_messages(&json(r#"{"choices":[{},{}]}"#)).is_err());
    let thought = r#"{"content":[{"type":"thinking","thinking":"t"}],"stop_reason":"end_turn"}"#;
    assert_eq!(reply_to_chat(&json(thought), 1).unwrap_err().member, "content[0]");
}

#[test]
fn what_was_used_is_counted_as_each_family_counts() {
    let usage = r#"{"input_tokens":7,"cache_read_input_tokens":2,"cache_creation_input_tokens":1,"output_tokens":5}"#;
    let body = format!(
        r#"{{"id":"m","model":"x","content":[],"stop_reason":"max_tokens","usage":{usage}}}"#
    );
    let there = reply_to_chat(&json(&body), 9).unwrap();
    assert_eq!(there.at(&["usage", "prompt_tokens"]).and_then(Json::as_i64), Some(10));
    assert_eq!(there.at(&["usage", "total_tokens"]).and_then(Json::as_i64), Some(15));
    let back = reply_to_messages(&there).unwrap();
    assert_eq!(back.at(&["usage", "input_tokens"]).and_then(Json::as_i64), Some(8));
    assert_eq!(back.get("stop_reason").and_then(Json::as_str), Some("max_tokens"));
}

/// Words first, then calls: what both families can say.
fn said(dice: &mut Dice) -> Said {
    let pieces = |dice: &mut Dice, words: &[&str]| -> Vec<String> {
        (0..1 + dice.below(4)).map(|_| words[dice.below(words.len())].to_owned()).collect()
    };
    let mut parts = Vec::new();
    if dice.below(3) > 0 {
        parts.push(Part::Words(Way::Text, pieces(dice, &["a", "b c", "é\n"])));
    }
    for _ in 0..dice.below(3) {
        let arguments = ["{\"a\"", ":[1.0", ",2]}"].map(str::to_owned).to_vec();
        parts.push(Part::Call("look".to_owned(), arguments));
    }
    Said(vec![parts])
}

/// A stream that is carried is, joined, the whole answer that is carried.
#[test]
fn streams_are_carried_as_whole_answers_are() {
    for seed in 0..200 {
        let said = said(&mut Dice::new(seed));
        let mut there = ToChat::new(1, true);
        let out: Vec<SseEvent> =
            messages(&said).iter().flat_map(|it| there.push(it).unwrap()).collect();
        let whole = reply_to_chat(&model::whole(ModelApi::Messages, &said), 1).unwrap();
        assert_eq!(
            folded(ModelApi::ChatCompletions, &out),
            folded_whole(ModelApi::ChatCompletions, &whole),
            "{seed}"
        );
        model::check_order(ModelApi::ChatCompletions, &out);
        assert!(out.last().unwrap().data.as_deref() == Some("[DONE]"));

        let mut there = ToMessages::default();
        let out: Vec<SseEvent> =
            chat(&said).iter().flat_map(|it| there.push(it).unwrap()).collect();
        let whole = reply_to_messages(&model::whole(ModelApi::ChatCompletions, &said)).unwrap();
        assert_eq!(
            folded(ModelApi::Messages, &out),
            folded_whole(ModelApi::Messages, &whole),
            "{seed}"
        );
        model::check_order(ModelApi::Messages, &out);
        assert_eq!(out.last().unwrap().event.as_deref(), Some("message_stop"));
    }
}

#[test]
fn errors_within_streams_are_carried() {
    let event =
        model::event(r#"{"type":"error","error":{"type":"overloaded_error","message":"busy"}}"#);
    let out = ToChat::new(1, false).push(&event).unwrap();
    assert!(
        out[0]
            .data
            .as_deref()
            .unwrap()
            .starts_with(r#"{"error":{"type":"overloaded_error","message":"busy""#)
    );
    let mut there = ToMessages::default();
    let event = model::event(r#"{"error":{"type":"server_error","message":"busy"}}"#);
    assert_eq!(there.push(&event).unwrap()[0].event.as_deref(), Some("error"));
    assert!(there.push(&model::event("[DONE]")).unwrap().is_empty());
    let thought = model::event(
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":""}}"#,
    );
    assert!(ToChat::new(1, false).push(&thought).is_err());
}
