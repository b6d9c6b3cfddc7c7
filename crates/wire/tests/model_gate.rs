//! The release gate: what a client sees of a stream, however it is cut, and that it is what the
//! whole answer would have come to.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

mod model;

use lockgate_types::model::ModelApi;
use lockgate_types::{Code, Json, JsonLimits};
use lockgate_wire::model::gate::TEXT_HELD_BYTES_MAX;
use lockgate_wire::model::{End, Gate, reply};
use lockgate_wire::refusal::Refusal;
use lockgate_wire::sse::SseEvent;
use model::{
    BAD, Dice, Marks, Said, chat, event, folded, folded_whole, json, judged, messages, played,
    responses, said_of, texts,
};

const APIS: [ModelApi; 3] = [ModelApi::ChatCompletions, ModelApi::Responses, ModelApi::Messages];

/// Everything that went out, as one string: what must not leave is nowhere in it.
fn bytes(events: &[SseEvent]) -> String {
    let mut out = Vec::new();
    events.iter().for_each(|it| lockgate_wire::sse::write_event(it, &mut out));
    String::from_utf8(out).unwrap()
}

#[test]
fn what_is_harmless_passes_event_by_event() {
    for (api, stream) in [
        (ModelApi::ChatCompletions, chat(&Said::plain("All is well. ").call("look", "{\"a\":1}"))),
        (ModelApi::Responses, responses(&Said::plain("All is well. ").call("look", "{\"a\":1}"))),
        (ModelApi::Messages, messages(&Said::plain("All is well. ").call("look", "{\"a\":1}"))),
    ] {
        let (out, end) = played(api, &stream);
        assert_eq!(end, End::Complete);
        // Pings do not wait.
        let is_ping = |it: &&SseEvent| it.event.as_deref() == Some("ping");
        let but_pings = |all: &[SseEvent]| -> Vec<SseEvent> {
            all.iter().filter(|it| !is_ping(it)).cloned().collect()
        };
        assert_eq!(but_pings(&out), but_pings(&stream), "{api:?}");
        assert_eq!(out.len(), stream.len());
    }
}

#[test]
fn a_refused_call_becomes_words_and_the_end_is_corrected() {
    let said = Said::plain("Let me see. ").call("forbidden", "{\"to\":\"x\"}");
    let (out, end) = played(ModelApi::ChatCompletions, &chat(&said));
    assert_eq!(end, End::Complete);
    let all = bytes(&out);
    assert!(!all.contains("tool_calls") && !all.contains("forbidden"), "{all}");
    assert!(all.contains("\"finish_reason\":\"stop\"") && all.contains("LG-D002"), "{all}");
    assert!(all.contains("prompt_tokens"));

    let (out, _) = played(ModelApi::Messages, &messages(&said));
    let all = bytes(&out);
    assert!(!all.contains("tool_use") && !all.contains("forbidden"), "{all}");
    assert!(all.contains("\"stop_reason\":\"end_turn\"") && all.contains("LG-D002"), "{all}");
    assert!(all.contains("output_tokens"));

    let (out, _) = played(ModelApi::Responses, &responses(&said));
    let all = bytes(&out);
    assert!(!all.contains("function_call") && !all.contains("forbidden"), "{all}");
    assert!(all.contains("LG-D002") && all.contains("response.completed"), "{all}");
    let numbers: Vec<i64> = out
        .iter()
        .filter_map(|it| json(it.data.as_deref().unwrap()).get("sequence_number")?.as_i64())
        .collect();
    let expected: Vec<i64> = (0..i64::try_from(numbers.len()).unwrap()).collect();
    assert_eq!(numbers, expected, "events are numbered without gaps");
}

/// Of several calls those that are released stay, and move up.
#[test]
fn calls_behind_a_refused_one_move_up() {
    let said = Said::default().call("forbidden", "{}").call("look", "{\"b\":2}").call("look", "{}");
    for (api, stream) in [
        (ModelApi::ChatCompletions, chat(&said)),
        (ModelApi::Messages, messages(&said)),
        (ModelApi::Responses, responses(&said)),
    ] {
        let (out, end) = played(api, &stream);
        assert_eq!(end, End::Complete);
        let all = bytes(&out);
        assert!(all.contains("LG-D002"), "{all}");
        match api {
            ModelApi::ChatCompletions => {
                assert!(all.contains("\"index\":0,\"id\":\"call_1\""), "{all}");
                assert!(all.contains("\"index\":1,\"id\":\"call_2\""), "{all}");
                assert!(all.contains("\"finish_reason\":\"tool_calls\""), "{all}");
            }
            ModelApi::Messages => assert!(all.contains("\"stop_reason\":\"tool_use\""), "{all}"),
            _ => assert!(all.contains("\"output_index\":2"), "{all}"),
        }
        let folded = folded(api, &out);
        assert_eq!(folded, folded_whole(api, &judged(api, &said)), "{api:?}");
    }
}

/// The property this module is for: whatever is cut into whatever pieces, nothing forbidden leaves,
/// and what leaves says what the whole answer would say.
#[test]
fn nothing_forbidden_leaves_however_it_is_cut() {
    for api in APIS {
        for seed in 0..500 {
            let mut dice = Dice::new(seed);
            let said = Said::random(&mut dice);
            let stream = match api {
                ModelApi::ChatCompletions => chat(&said),
                ModelApi::Responses => responses(&said),
                _ => messages(&said),
            };
            let mut gate = Gate::new(api).unwrap();
            let mut out: Vec<SseEvent> = Vec::new();
            for piece in stream {
                gate.push(piece, &mut Marks);
                out.extend(gate.take());
                model::answer_all(&mut gate);
                out.extend(gate.take());
            }
            assert_eq!(gate.end(), End::Complete, "{api:?} {seed} {:?}", gate.stopped());
            // What has gone out cannot be taken back, so the whole shows every moment of it.
            let all = bytes(&out) + &texts(api, &out);
            for bad in BAD.into_iter().chain(["forbidden"]) {
                assert!(!all.contains(bad), "{api:?} {seed}: {bad} in {all}");
            }
            let whole = judged(api, &said);
            assert_eq!(folded(api, &out), folded_whole(api, &whole), "{api:?} {seed}\n{all}");
            model::check_order(api, &out);
        }
    }
}

#[test]
fn while_a_call_waits_nothing_behind_it_leaves() {
    for api in APIS {
        let said = Said::plain("One. ").call("look", "{}");
        let stream = match api {
            ModelApi::ChatCompletions => chat(&said),
            ModelApi::Responses => responses(&said),
            _ => messages(&said),
        };
        let mut gate = Gate::new(api).unwrap();
        for piece in &stream {
            gate.push(piece.clone(), &mut Marks);
        }
        assert_eq!(gate.proposed().len(), 1);
        assert_eq!(gate.end(), End::Waiting);
        assert!(gate.is_holding());
        let before = bytes(&gate.take());
        assert!(before.contains("One. ") && !before.contains("look"), "{before}");
        let alive =
            String::from_utf8(lockgate_wire::model::gate::keep_alive(api).to_vec()).unwrap();
        assert_eq!(alive.starts_with("event: ping\n"), api == ModelApi::Messages);
        model::answer_all(&mut gate);
        assert!(bytes(&gate.take()).contains("look"));
        assert_eq!(gate.end(), End::Complete);
    }
}

#[test]
fn a_stream_that_ends_in_the_middle_releases_nothing_that_was_held() {
    for api in APIS {
        let said = Said::plain("Well. The key is ").text(BAD[0]).call("look", "{\"x\":1}");
        let stream = match api {
            ModelApi::ChatCompletions => chat(&said),
            ModelApi::Responses => responses(&said),
            _ => messages(&said),
        };
        for cut in 0..stream.len() - 1 {
            let mut gate = Gate::new(api).unwrap();
            for piece in &stream[..cut] {
                gate.push(piece.clone(), &mut Marks);
            }
            let is_whole = api == ModelApi::ChatCompletions && gate.end() == End::Waiting;
            let out = bytes(&gate.take());
            assert!(!out.contains("look") && !out.contains(BAD[0]), "{api:?} {cut}: {out}");
            if !is_whole && gate.proposed().is_empty() {
                assert_eq!(gate.end(), End::Truncated, "{api:?} {cut}");
                gate.stop(&Refusal::of(Code::UpstreamTruncated));
                let error = bytes(&gate.take());
                assert!(error.contains("LG-U008"), "{error}");
                assert!(gate.is_over() && !gate.is_holding());
            }
        }
    }
}

#[test]
fn streams_are_stopped_with_an_error_of_their_api() {
    let refusal = Refusal::of(Code::ResultWithheld);
    for (api, first, needle) in [
        (
            ModelApi::ChatCompletions,
            r#"{"id":"c","object":"chat.completion.chunk","choices":[]}"#,
            "data: {\"error\":{",
        ),
        (
            ModelApi::Responses,
            r#"{"type":"response.created","sequence_number":0,"response":{"id":"r","status":"in_progress","output":[]}}"#,
            "event: response.failed\n",
        ),
        (
            ModelApi::Messages,
            r#"{"type":"message_start","message":{"id":"m","content":[]}}"#,
            "event: error\n",
        ),
    ] {
        let mut gate = Gate::new(api).unwrap();
        gate.push(event(first), &mut Marks);
        gate.take();
        gate.stop(&refusal);
        let out = bytes(&gate.take());
        assert!(out.contains(needle) && out.contains("LG-D017"), "{out}");
        gate.push(event(first), &mut Marks);
        gate.stop(&refusal);
        assert!(gate.take().is_empty(), "nothing follows an error");
    }
    let mut gate = Gate::new(ModelApi::Responses).unwrap();
    gate.stop(&refusal);
    assert!(bytes(&gate.take()).starts_with("event: error\n"));
}

#[test]
fn what_is_not_the_protocol_stops_the_stream() {
    use ModelApi::{ChatCompletions, Messages, Responses};
    let block = |at: i64, kind: &str| {
        format!(
            r#"{{"type":"content_block_start","index":{at},"content_block":{{"type":"{kind}","text":"","input":{{"a":1}}}}}}"#
        )
    };
    let text =
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a "}}"#;
    let cases: &[(ModelApi, &[&str])] = &[
        (ChatCompletions, &["5"]),
        (ChatCompletions, &["{"]),
        (ChatCompletions, &[r#"{"choices":[{"index":0,"delta":{"content":["x"]}}]}"#]),
        (ChatCompletions, &[r#"{"choices":[{"index":0,"delta":{"audio":{"data":"AAAA"}}}]}"#]),
        (
            ChatCompletions,
            &[
                r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
                r#"{"choices":[{"index":0,"delta":{"content":"more"}}]}"#,
            ],
        ),
        (
            ChatCompletions,
            &[r#"{"choices":[{"index":0,"delta":{"tool_calls":{"0":{"id":"a"}}}}]}"#],
        ),
        (ChatCompletions, &[r#"{"choices":[{"index":-1,"delta":{"content":"x"}}]}"#]),
        (
            ChatCompletions,
            &[r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0.5,"function":{}}]}}]}"#],
        ),
        (Responses, &[r#"{"type":"response.output_text.delta","output_index":"0","delta":"x"}"#]),
        (Messages, &[text]),
        (Messages, &[&block(1, "text")]),
        (Messages, &[&block(0, "text"), &block(1, "text")]),
        (Messages, &[&block(0, "tool_use"), text]),
        (Messages, &[&block(0, "text"), r#"{"type":"message_stop"}"#]),
        (
            Messages,
            &[
                &block(0, "tool_use"),
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{}"}}"#,
                r#"{"type":"content_block_stop","index":0}"#,
            ],
        ),
        (
            Responses,
            &[
                r#"{"type":"response.output_item.added","output_index":0,"item":{"type":"function_call","name":"a","arguments":""}}"#,
                r#"{"type":"response.function_call_arguments.delta","output_index":0,"delta":"{\"a\":1}"}"#,
                r#"{"type":"response.output_item.done","output_index":0,"item":{"type":"function_call","name":"a","arguments":"{}"}}"#,
            ],
        ),
        (
            Responses,
            &[
                r#"{"type":"response.output_item.added","output_index":0,"item":{"type":"function_call","name":"a","arguments":""}}"#,
                r#"{"type":"response.output_item.done","output_index":0,"item":{"type":"function_call","name":"b","arguments":""}}"#,
            ],
        ),
    ];
    for (api, stream) in cases {
        let mut gate = Gate::new(*api).unwrap();
        for piece in *stream {
            gate.push(event(piece), &mut Marks);
        }
        assert!(gate.stopped().is_some() && gate.proposed().is_empty(), "{stream:?}");
    }
}

/// Arguments that the last event has and that nobody has decided about are asked about then.
#[test]
fn the_end_of_a_response_is_held_against_what_was_decided() {
    let done = |arguments: &str| {
        let item = format!(
            r#"{{"type":"function_call","id":"f","call_id":"c","name":"look","arguments":"{arguments}","status":"completed"}}"#
        );
        (
            format!(r#"{{"type":"response.output_item.done","output_index":0,"item":{item}}}"#),
            format!(
                r#"{{"type":"response.completed","response":{{"id":"r","status":"completed","output":[{item}]}}}}"#
            ),
        )
    };
    let mut gate = Gate::new(ModelApi::Responses).unwrap();
    gate.push(event(&done("1").0), &mut Marks);
    model::answer_all(&mut gate);
    gate.push(event(&done("1").1), &mut Marks);
    assert!(gate.proposed().is_empty() && gate.end() == End::Complete);

    let mut gate = Gate::new(ModelApi::Responses).unwrap();
    gate.push(event(&done("1").0), &mut Marks);
    model::answer_all(&mut gate);
    gate.push(event(&done("2").1), &mut Marks);
    assert_eq!(gate.proposed()[0].arguments, "2");
    model::answer_all(&mut gate);
    assert_eq!(gate.end(), End::Complete);
}

#[test]
fn signed_thoughts_pass_unchanged_or_not_at_all() {
    let stream = |thought: &str| {
        [
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}"#.to_owned(),
            format!(r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"thinking_delta","thinking":"{thought}"}}}}"#),
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"s"}}"#.to_owned(),
            r#"{"type":"content_block_stop","index":0}"#.to_owned(),
        ]
    };
    let mut gate = Gate::new(ModelApi::Messages).unwrap();
    stream("hm hm").iter().for_each(|it| gate.push(event(it), &mut Marks));
    let out = gate.take();
    assert_eq!(said_of(&out, "thinking"), "hm hm");
    assert!(gate.stopped().is_none());
    let mut gate = Gate::new(ModelApi::Messages).unwrap();
    stream(BAD[0]).iter().for_each(|it| gate.push(event(it), &mut Marks));
    assert_eq!(gate.stopped().unwrap().code, Code::ResultWithheld);
    let mut whole = json(&format!(
        r#"{{"content":[{{"type":"thinking","thinking":"{}","signature":"s"}}]}}"#,
        BAD[0]
    ));
    assert!(
        reply::enforce(ModelApi::Messages, &mut whole, &mut Marks, &Default::default()).is_err()
    );
}

#[test]
fn log_probabilities_do_not_tell_what_is_held_or_masked() {
    let tokens = |text: &str| format!(r#"[{{"token":"{text}","logprob":-1.0,"top_logprobs":[]}}]"#);
    let bad = BAD[0];
    let mut gate = Gate::new(ModelApi::ChatCompletions).unwrap();
    for text in ["fine ", bad, "fine "] {
        let chunk = format!(
            r#"{{"choices":[{{"index":0,"delta":{{"content":"{text}"}},"logprobs":{{"content":{}}},"finish_reason":null}}]}}"#,
            tokens(text)
        );
        gate.push(event(&chunk), &mut Marks);
    }
    // Tokens that are not the text beside them.
    gate.push(event(&format!(r#"{{"choices":[{{"index":0,"delta":{{"content":"ok "}},"logprobs":{{"content":{}}},"finish_reason":null}}]}}"#, tokens(bad))), &mut Marks);
    gate.push(event("[DONE]"), &mut Marks);
    let out = bytes(&gate.take());
    assert!(!out.contains(bad) && out.contains("\"token\":\"fine \""), "{out}");
    let mut gate = Gate::new(ModelApi::Responses).unwrap();
    for text in ["ok ", bad, " ok "] {
        gate.push(event(&format!(r#"{{"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"{text}","logprobs":{}}}"#, tokens(bad))), &mut Marks);
    }
    let whole = format!("ok {bad} ok ");
    gate.push(event(&format!(r#"{{"type":"response.output_text.done","output_index":0,"content_index":0,"text":"{whole}","logprobs":{}}}"#, tokens(&whole))), &mut Marks);
    let out = bytes(&gate.take());
    assert!(!out.contains(bad) && out.contains("[x]"), "{out}");
}

/// A call is one in whatever event it stands.
#[test]
fn calls_are_held_in_events_of_any_name() {
    let mut gate = Gate::new(ModelApi::Responses).unwrap();
    gate.push(event(r#"{"type":"response.created","output_index":0,"item":{"type":"function_call","name":"look","arguments":"{}"}}"#), &mut Marks);
    assert!(gate.take().is_empty() && gate.is_holding());
}

/// Nobody has allowed a call without a verdict.
#[test]
fn calls_without_a_verdict_are_refused() {
    let said = Said::default().call("look", "{}");
    for api in APIS {
        let mut body = model::whole(api, &said);
        reply::enforce(api, &mut body, &mut Marks, &Default::default()).unwrap();
        let left = body.to_string();
        assert!(!left.contains("look") && left.contains("LG-X001"), "{left}");
    }
}

/// What the model says in members and events that nobody here knows is looked at, too.
#[test]
fn unknown_channels_are_no_way_out() {
    let bad = BAD[0];
    let (head, tail) = bad.split_at(3);
    let mut gate = Gate::new(ModelApi::ChatCompletions).unwrap();
    for part in [head, tail] {
        gate.push(
            event(&format!(
                r#"{{"choices":[{{"index":0,"delta":{{"whispers":[{{"text":"{part}"}}]}}}}]}}"#
            )),
            &mut Marks,
        );
    }
    gate.push(event(r#"{"choices":[{"index":0,"delta":{"asides":{"text":"fine"}},"finish_reason":"stop"}]}"#), &mut Marks);
    let out = bytes(&gate.take());
    assert!(!out.contains("whispers") && out.contains("asides"), "{out}");

    let mut gate = Gate::new(ModelApi::Responses).unwrap();
    for part in [head, tail, " end"] {
        gate.push(
            event(&format!(
                r#"{{"type":"response.whisper.delta","output_index":0,"delta":"{part}"}}"#
            )),
            &mut Marks,
        );
    }
    gate.push(event(&format!(r#"{{"type":"response.odd","note":"{bad}"}}"#)), &mut Marks);
    let out = bytes(&gate.take());
    assert!(!out.contains(bad) && !out.contains(&format!("\"{tail}\"")), "{out}");

    let mut gate = Gate::new(ModelApi::Messages).unwrap();
    gate.push(event(r#"{"type":"content_block_start","index":0,"content_block":{"type":"whisper","words":""}}"#), &mut Marks);
    for part in [head, tail] {
        gate.push(event(&format!(r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"whisper_delta","words":"{part}"}}}}"#)), &mut Marks);
    }
    gate.push(event(r#"{"type":"content_block_stop","index":0}"#), &mut Marks);
    let out = bytes(&gate.take());
    assert!(!out.contains("whisper") && out.contains("withheld"), "{out}");
}

/// Some providers say the whole text again, in members of their own.
#[test]
fn what_repeats_the_text_is_left_out() {
    let bad = BAD[0];
    let mut gate = Gate::new(ModelApi::ChatCompletions).unwrap();
    gate.push(event(&format!(r#"{{"choices":[{{"index":0,"delta":{{"content":"fine "}},"text":"{bad}","finish_reason":null}}]}}"#)), &mut Marks);
    gate.push(event(&format!(r#"{{"choices":[{{"index":0,"delta":{{}},"message":{{"content":"{bad}"}},"finish_reason":"stop"}}]}}"#)), &mut Marks);
    let out = bytes(&gate.take());
    assert!(!out.contains(bad) && out.contains("fine ") && out.contains("stop"), "{out}");
    let mut gate = Gate::new(ModelApi::Responses).unwrap();
    gate.push(event(&format!(r#"{{"type":"response.completed","response":{{"id":"r","output":[],"output_text":"{bad}"}}}}"#)), &mut Marks);
    assert!(gate.end() == End::Complete && !bytes(&gate.take()).contains(bad));
    for (api, body) in [
        (
            ModelApi::ChatCompletions,
            r#"{"choices":[{"index":0,"message":{"content":"a"},"text":"SAID","delta":{"content":"SAID"}}]}"#,
        ),
        (ModelApi::Responses, r#"{"output":[],"output_text":"SAID"}"#),
    ] {
        let mut body = json(&body.replace("SAID", bad));
        reply::enforce(api, &mut body, &mut Marks, &Default::default()).unwrap();
        assert!(!body.to_string().contains(bad), "{body}");
    }
}

/// The provider's own tools are calls like any other: the result of a refused one does not pass.
#[test]
fn hosted_calls_are_proposed_and_their_results_share_their_fate() {
    let stream = [
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"server_tool_use","id":"s1","name":"forbidden","input":{}}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{\"query\":\"q\"}"}}"#,
        r#"{"type":"content_block_stop","index":0}"#,
        r#"{"type":"content_block_start","index":1,"content_block":{"type":"web_search_tool_result","tool_use_id":"s1","content":[{"type":"web_search_result","title":"t"}]}}"#,
        r#"{"type":"content_block_stop","index":1}"#,
    ];
    let mut gate = Gate::new(ModelApi::Messages).unwrap();
    let mut hosted = None;
    for piece in stream {
        gate.push(event(piece), &mut Marks);
        hosted = gate.proposed().first().and_then(|it| it.hosted.clone()).or(hosted);
        model::answer_all(&mut gate);
    }
    assert_eq!(hosted.as_deref(), Some("server_tool_use"));
    let out = bytes(&gate.take());
    assert!(!out.contains("web_search") && !out.contains("server_tool_use"), "{out}");

    let item = |status: &str| {
        format!(
            r#"{{"type":"mcp_call","id":"m","name":"forbidden","server_label":"docs","arguments":"{{}}","output":"found","status":"{status}"}}"#
        )
    };
    let mut gate = Gate::new(ModelApi::Responses).unwrap();
    gate.push(
        event(&format!(
            r#"{{"type":"response.output_item.added","output_index":0,"item":{}}}"#,
            item("in_progress")
        )),
        &mut Marks,
    );
    gate.push(
        event(r#"{"type":"response.mcp_call.in_progress","output_index":0,"item_id":"m"}"#),
        &mut Marks,
    );
    gate.push(
        event(&format!(
            r#"{{"type":"response.output_item.done","output_index":0,"item":{}}}"#,
            item("completed")
        )),
        &mut Marks,
    );
    assert_eq!(gate.proposed()[0].server.as_deref(), Some("docs"));
    model::answer_all(&mut gate);
    gate.push(
        event(r#"{"type":"response.mcp_call.completed","output_index":0,"item_id":"m"}"#),
        &mut Marks,
    );
    let out = bytes(&gate.take());
    assert!(!out.contains("mcp_call") && !out.contains("found"), "{out}");
}

#[test]
fn what_cannot_be_held_is_not_passed_on() {
    let mut gate = Gate::new(ModelApi::ChatCompletions).unwrap();
    let piece = "x".repeat(1024);
    let chunk = format!(r#"{{"choices":[{{"index":0,"delta":{{"content":"{piece}"}}}}]}}"#);
    for _ in 0..=TEXT_HELD_BYTES_MAX / 1024 {
        gate.push(event(&chunk), &mut Marks);
    }
    assert_eq!(gate.stopped().unwrap().code, Code::ResultWithheld);
    assert!(!bytes(&gate.take()).contains("xx"));

    let mut gate = Gate::new(ModelApi::ChatCompletions).unwrap();
    let piece = "x".repeat(1 << 20);
    let chunk = format!(
        r#"{{"choices":[{{"index":0,"delta":{{"tool_calls":[{{"index":0,"function":{{"arguments":"{piece}"}}}}]}}}}]}}"#
    );
    for _ in 0..16 {
        gate.push(event(&chunk), &mut Marks);
    }
    assert_eq!(gate.stopped().unwrap().code, Code::UpstreamTooLarge);
}

/// The events of a recorded stream.
fn recorded(name: &str) -> (ModelApi, String) {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/model/recorded");
    let text = std::fs::read_to_string(folder.join(name)).unwrap();
    let api = match name.split(['_', '.']).nth(1).unwrap() {
        "chat" => ModelApi::ChatCompletions,
        "responses" => ModelApi::Responses,
        _ => ModelApi::Messages,
    };
    (api, text)
}

fn decoded(text: &str) -> Vec<SseEvent> {
    let mut events = Vec::new();
    let mut decoder = lockgate_wire::sse::SseDecoder::new(lockgate_wire::sse::SseLimits::MESSAGE);
    decoder.push(text.as_bytes(), &mut events).unwrap();
    events
}

/// What the shared stand-in for a model says, with and without a stream, comes to the same.
#[test]
fn recorded_answers_come_to_the_same_whole_and_streamed() {
    // Its ids count up.
    let plain = |lines: Vec<String>| -> Vec<String> {
        let is_kept = |it: &char| !it.is_ascii_digit();
        lines.iter().map(|it| it.chars().filter(is_kept).collect()).collect()
    };
    for api in ["chat", "responses", "messages"] {
        for (what, tool) in [("text", "mail_send"), ("call", "mail_send"), ("call", "forbidden")] {
            let (api, stream) = recorded(&format!("fake_{api}_{what}.sse"));
            let name = format!("fake_{}_{what}.json", stream_name(api));
            let whole = json(&recorded(&name).1.replace("mail_send", tool));
            let (out, end) = played(api, &decoded(&stream.replace("mail_send", tool)));
            assert_eq!(end, End::Complete);
            let whole = model::enforced(api, whole);
            assert_eq!(plain(folded(api, &out)), plain(folded_whole(api, &whole)), "{name}");
            model::check_order(api, &out);
        }
    }
}

const fn stream_name(api: ModelApi) -> &'static str {
    match api {
        ModelApi::ChatCompletions => "chat",
        ModelApi::Responses => "responses",
        _ => "messages",
    }
}

/// Streams in the shapes in which the providers send them lose nothing.
#[test]
fn recorded_shapes_pass_whole() {
    for name in ["shape_chat.sse", "shape_responses.sse", "shape_messages.sse"] {
        let (api, stream) = recorded(name);
        let events = decoded(&stream);
        let (out, end) = played(api, &events);
        assert_eq!(end, End::Complete, "{name}");
        assert_eq!(texts(api, &out), texts(api, &events), "{name}");
        assert_eq!(folded(api, &out), folded(api, &events), "{name}");
        model::check_order(api, &out);
        // What has no text comes as it came.
        let last = |all: &[SseEvent], count: usize| all[all.len() - count..].to_vec();
        let count = if api == ModelApi::Responses { 0 } else { 2 };
        assert_eq!(last(&out, count), last(&events, count), "{name}");
        let mut gate = Gate::new(api).unwrap();
        for piece in events {
            gate.push(piece, &mut Marks);
            model::answer_all(&mut gate);
        }
        let usage = gate.usage();
        assert!(usage.input.is_some_and(|it| it > 18) && usage.output > Some(9), "{usage:?}");
    }
}

/// Some providers say an item whole as it begins, and never in pieces. SDKs join the pieces.
#[test]
fn text_that_an_item_begins_with_goes_out_in_pieces() {
    for text in ["four seven", "All is well. ", &format!("see {} and go on", BAD[0])] {
        let of_item = |kind: &str| {
            let part = format!(r#"{{"type":"output_text","text":"{text}"}}"#);
            let item = format!(r#"{{"type":"message","id":"m","content":[{part}]}}"#);
            format!(r#""type":"response.output_item.{kind}","output_index":0,"item":{item}"#)
        };
        let end = r#""type":"response.completed","response":{"output":[]}"#;
        let all = [of_item("added"), of_item("done"), end.to_owned()];
        let numbered = all.iter().enumerate();
        let stream: Vec<SseEvent> =
            numbered.map(|(at, it)| event(&format!("{{\"sequence_number\":{at},{it}}}"))).collect();
        let (out, end) = played(ModelApi::Responses, &stream);
        assert_eq!(end, End::Complete);
        assert!(!bytes(&out).contains(BAD[0]), "{}", bytes(&out));
        let objects: Vec<Json> = out.iter().map(|it| json(it.data.as_deref().unwrap())).collect();
        let text_of = |it: &Json| {
            let part =
                it.get("item").unwrap().get("content").unwrap().as_array().unwrap()[0].clone();
            part.get("text").unwrap().as_str().unwrap().to_owned()
        };
        assert_eq!(text_of(&objects[0]), "");
        let pieces = objects.iter().filter_map(|it| it.get("delta")?.as_str());
        let ended = &objects[objects.len() - 2];
        assert_eq!(pieces.collect::<String>(), text_of(ended), "{}", bytes(&out));
        let numbers: Vec<i64> =
            objects.iter().filter_map(|it| it.get("sequence_number")?.as_i64()).collect();
        assert_eq!(numbers, (0..i64::try_from(objects.len()).unwrap()).collect::<Vec<i64>>());
    }
}

#[test]
fn what_was_used_is_read_of_every_api() {
    let limits = &JsonLimits::MESSAGE;
    for (api, body, expected) in [
        (
            ModelApi::ChatCompletions,
            r#"{"usage":{"prompt_tokens":10,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":3},"completion_tokens_details":{"reasoning_tokens":2}}}"#,
            [10, 5, 3, 2],
        ),
        (
            ModelApi::Responses,
            r#"{"usage":{"input_tokens":10,"output_tokens":5,"input_tokens_details":{"cached_tokens":3},"output_tokens_details":{"reasoning_tokens":2}}}"#,
            [10, 5, 3, 2],
        ),
        (
            ModelApi::Messages,
            r#"{"usage":{"input_tokens":7,"output_tokens":5,"cache_read_input_tokens":2,"cache_creation_input_tokens":1}}"#,
            [10, 5, 2, 0],
        ),
    ] {
        let body = Json::parse(body.as_bytes(), limits).unwrap();
        let usage = lockgate_wire::model::Reply::read(api, &body).unwrap().usage;
        let all = [usage.input, usage.output, usage.cached, usage.reasoning];
        assert_eq!(all.map(|it| it.unwrap_or(0)), expected);
    }
}
