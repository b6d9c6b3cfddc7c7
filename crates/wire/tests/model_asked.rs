//! What requests to models say: texts with place, role and kind; tools; what is refused; and how a
//! request is changed in its place.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use lockgate_types::model::ModelApi;
use lockgate_types::{Code, Json, JsonLimits};
use lockgate_wire::model::asked::{Earlier, Kind};
use lockgate_wire::model::{Asked, rewrite};

fn json(text: &str) -> Json {
    Json::parse(text.as_bytes(), &JsonLimits::MESSAGE).unwrap()
}

/// Each segment on a line: place, role, kind, text.
fn seen(api: ModelApi, body: &str) -> Vec<String> {
    let body = json(body);
    let asked = Asked::read(api, &body).unwrap();
    let line = |it: &lockgate_wire::model::Segment<'_>| {
        let kind = match &it.kind {
            Kind::Call { id, name } => format!("Call {} {name}", id.unwrap_or("-")),
            Kind::Result { call, name } => {
                format!("Result {} {}", call.unwrap_or("-"), name.unwrap_or("-"))
            }
            other => format!("{other:?}"),
        };
        // Every place is one of the body.
        assert!(it.path.get(&body).is_some(), "{}", it.path);
        format!("{}|{:?}|{kind}|{}", it.path, it.role, it.text)
    };
    asked.segments.iter().map(line).collect()
}

#[test]
fn chat_is_read_with_calls_joined_to_their_results() {
    let body = r#"{"model":"m","messages":[
        {"role":"system","content":"rules"},
        {"role":"developer","content":[{"type":"text","text":"more"}]},
        {"role":"user","name":"ada","content":[{"type":"text","text":"look"},
            {"type":"image_url","image_url":{"url":"https://a.example/p.png","detail":"low"}},
            {"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}},
            {"type":"input_audio","input_audio":{"data":"AAAA","format":"wav"}},
            {"type":"file","file":{"file_id":"file-1"}},{"type":"new","words":"what is this"}]},
        {"role":"assistant","content":null,"reasoning_content":"hm","refusal":"no","tool_calls":[
            {"id":"c1","type":"function","function":{"name":"mail","arguments":"{\"to\":1}"}},
            {"id":"c2","type":"custom","custom":{"name":"run","input":"ls"}}]},
        {"role":"tool","tool_call_id":"c2","content":[{"type":"text","text":"a b"}]},
        {"role":"tool","tool_call_id":"zz","content":"lost"},
        {"role":"assistant","function_call":{"name":"old","arguments":"{}"}},
        {"role":"function","name":"old","content":"7"},
        {"role":"critic","content":"hm"}],
        "metadata":{"note":"hidden"}}"#;
    assert_eq!(
        seen(ModelApi::ChatCompletions, body),
        [
            "messages[0].content|System|Instruction|rules",
            "messages[1].content[0].text|Developer|Instruction|more",
            "messages[2].content[0].text|User|Words|look",
            "messages[2].content[1].image_url.url|User|Reference|https://a.example/p.png",
            "messages[2].content[2].image_url.url|User|Opaque|",
            "messages[2].content[3].input_audio|User|Opaque|",
            "messages[2].content[4].file.file_id|User|Reference|file-1",
            "messages[2].content[5].words|User|Other|what is this",
            "messages[2].name|User|Other|ada",
            "messages[3].tool_calls[0].function.arguments|Assistant|Call c1 mail|{\"to\":1}",
            "messages[3].tool_calls[1].custom.input|Assistant|Call c2 run|ls",
            "messages[3].reasoning_content|Assistant|Reasoning|hm",
            "messages[3].refusal|Assistant|Answer|no",
            "messages[4].content[0].text|Tool|Result c2 run|a b",
            "messages[5].content|Tool|Result zz -|lost",
            "messages[6].function_call.arguments|Assistant|Call - old|{}",
            "messages[7].content|Tool|Result - old|7",
            "messages[7].name|Tool|Other|old",
            "messages[8].content|Other|Other|hm",
            "metadata.note|Other|Other|hidden",
        ]
    );
}

#[test]
fn messages_carry_results_in_the_role_of_the_user() {
    let body = r#"{"model":"m","max_tokens":8,
        "system":[{"type":"text","text":"attribution","cache_control":{"type":"ephemeral"}}],
        "messages":[
        {"role":"user","content":"hello"},
        {"role":"assistant","content":[
            {"type":"thinking","thinking":"hm","signature":"s"},
            {"type":"redacted_thinking","data":"x"},
            {"type":"tool_use","id":"t1","name":"Read","input":{"file":"a","n":1.0}},
            {"type":"server_tool_use","id":"t2","name":"web_search","input":{}},
            {"type":"web_search_tool_result","tool_use_id":"t2","content":[
                {"type":"web_search_result","url":"https://a.example","encrypted_content":"e"}]}]},
        {"role":"user","content":[
            {"type":"tool_result","tool_use_id":"t1","content":[{"type":"text","text":"found"},
                {"type":"image","source":{"type":"base64","media_type":"image/png","data":"A"}}]},
            {"type":"tool_result","tool_use_id":"t1","content":"again"},
            {"type":"document","title":"T","source":{"type":"text","media_type":"text/plain","data":"D"}},
            {"type":"image","source":{"type":"url","url":"https://b.example/i"}},
            {"type":"text","text":"and now"}]}]}"#;
    assert_eq!(
        seen(ModelApi::Messages, body),
        [
            "system[0].text|System|Instruction|attribution",
            "messages[0].content|User|Words|hello",
            "messages[1].content[0].thinking|Assistant|Reasoning|hm",
            "messages[1].content[1].data|Assistant|Opaque|",
            "messages[1].content[2].input|Assistant|Call t1 Read|{\"file\":\"a\",\"n\":1.0}",
            "messages[1].content[3].input|Assistant|Call t2 web_search|{}",
            "messages[1].content[4].content[0].url|Tool|Result t2 web_search|https://a.example",
            "messages[1].content[4].content[0].encrypted_content|Tool|Result t2 web_search|e",
            "messages[2].content[0].content[0].text|Tool|Result t1 Read|found",
            "messages[2].content[0].content[1].source.data|Tool|Opaque|",
            "messages[2].content[1].content|Tool|Result t1 Read|again",
            "messages[2].content[2].source.data|User|Document|D",
            "messages[2].content[2].title|User|Document|T",
            "messages[2].content[3].source.url|User|Reference|https://b.example/i",
            "messages[2].content[4].text|User|Words|and now",
        ]
    );
}

#[test]
fn responses_are_read_item_by_item() {
    let body = r#"{"model":"m","instructions":"rules","input":[
        {"role":"user","content":"hello"},
        {"type":"message","role":"user","content":[{"type":"input_text","text":"look"},
            {"type":"input_image","image_url":"https://a.example/p.png","detail":"auto"}]},
        {"type":"reasoning","id":"r","summary":[{"type":"summary_text","text":"hm"}],"encrypted_content":"e"},
        {"type":"function_call","id":"i","call_id":"c1","name":"mail","arguments":"{}","status":"completed"},
        {"type":"function_call_output","call_id":"c1","output":"sent"},
        {"type":"function_call_output","call_id":"c1","output":[{"type":"input_text","text":"parts"}]},
        {"type":"mcp_call","id":"m1","name":"find","server_label":"docs","arguments":"{\"q\":1}","output":"found"},
        {"type":"web_search_call","id":"w1","status":"completed","action":{"type":"search","query":"q"}},
        {"type":"mcp_approval_response","approval_request_id":"a1","approve":true,"reason":"fine"},
        {"type":"item_reference","id":"old"}]}"#;
    assert_eq!(
        seen(ModelApi::Responses, body),
        [
            "instructions|System|Instruction|rules",
            "input[0].content|User|Words|hello",
            "input[1].content[0].text|User|Words|look",
            "input[1].content[1].image_url|User|Reference|https://a.example/p.png",
            "input[2].encrypted_content|Assistant|Opaque|",
            "input[2].summary[0].type|Assistant|Reasoning|summary_text",
            "input[2].summary[0].text|Assistant|Reasoning|hm",
            "input[3].arguments|Assistant|Call c1 mail|{}",
            "input[4].output|Tool|Result c1 mail|sent",
            "input[5].output[0].text|Tool|Result c1 mail|parts",
            "input[6].arguments|Assistant|Call m1 find|{\"q\":1}",
            "input[6].server_label|Assistant|Other|docs",
            "input[6].output|Tool|Result m1 find|found",
            "input[7].action|Assistant|Call w1 web_search_call|{\"type\":\"search\",\"query\":\"q\"}",
            "input[8].reason|User|Other|fine",
        ]
    );
    let body = json(body);
    let asked = Asked::read(ModelApi::Responses, &body).unwrap();
    assert_eq!(asked.earlier, [Earlier::Item("old")]);
    assert!(asked.approvals[0].is_approved && asked.approvals[0].request == "a1");
}

#[test]
fn tools_say_whether_the_client_runs_them() {
    let cases = [
        (
            ModelApi::ChatCompletions,
            r#"{"tools":[{"type":"function","function":{"name":"a","description":"d","parameters":{}}},
                {"type":"custom","custom":{"name":"b"}}],"functions":[{"name":"c"}],
                "web_search_options":{"search_context_size":"low"}}"#,
            "a b c web_search_options!web_search_options",
        ),
        (
            ModelApi::Responses,
            r#"{"tools":[{"type":"function","name":"a","parameters":{}},
                {"type":"mcp","server_label":"docs","server_url":"https://m.example","require_approval":"never"},
                {"type":"web_search_preview"},{"type":"code_interpreter","container":{"type":"auto"}},
                {"type":"shell"},{"type":"computer_use_preview"},{"type":"file_search"}]}"#,
            "a docs!mcp@https://m.example web_search_preview!web_search_preview \
             code_interpreter!code_interpreter shell!shell computer_use_preview!computer_use_preview \
             file_search!file_search",
        ),
        (
            ModelApi::Messages,
            r#"{"tools":[{"name":"a","input_schema":{}},{"type":"custom","name":"b"},
                {"type":"web_search_20250305","name":"web_search"},{"type":"bash_20250124","name":"bash"}],
                "mcp_servers":[{"type":"url","name":"docs","url":"https://m.example"}]}"#,
            "a b web_search!web_search_20250305 bash!bash_20250124 docs!mcp_server@https://m.example",
        ),
    ];
    for (api, body, expected) in cases {
        let body = json(body);
        let asked = Asked::read(api, &body).unwrap();
        let line = |it: &lockgate_wire::model::Offered<'_>| {
            let mut line = it.name.to_owned();
            if let Some(hosted) = &it.hosted {
                line = format!("{line}!{}", hosted.kind);
                line.extend(hosted.address.map(|it| format!("@{it}")));
            }
            line
        };
        let all: Vec<String> = asked.tools.iter().map(line).collect();
        assert_eq!(all.join(" "), expected, "{api:?}");
    }
}

#[test]
fn bounds_flags_and_what_the_provider_remembers() {
    let body = json(
        r#"{"model":"m","stream":true,"n":3,"max_tokens":10,"max_completion_tokens":20,"messages":[]}"#,
    );
    let asked = Asked::read(ModelApi::ChatCompletions, &body).unwrap();
    assert_eq!((asked.model, asked.is_stream, asked.answers), (Some("m"), true, 3));
    assert_eq!(asked.output_tokens_max(), Some(60));
    let body = json(
        r#"{"max_output_tokens":7,"previous_response_id":"r","conversation":{"id":"c"},"prompt":{"id":"p","variables":{"a":"b"}}}"#,
    );
    let asked = Asked::read(ModelApi::Responses, &body).unwrap();
    assert_eq!(asked.output_tokens_max(), Some(7));
    let earlier = [Earlier::Response("r"), Earlier::Conversation("c"), Earlier::Prompt("p")];
    assert_eq!(asked.earlier, earlier);
    assert_eq!(asked.segments[0].text, "b");
}

#[test]
fn odd_bodies_of_test_suites_pass_and_are_not_changed() {
    for (api, body) in [
        (ModelApi::Responses, "{}"),
        (ModelApi::Responses, r#"{"conversation":"string","input":"string","n":"x","tools":null}"#),
        (
            ModelApi::Responses,
            r#"{"model":"m","max_output_tokens":0,"stream_options":{"include_obfuscation":true}}"#,
        ),
        (
            ModelApi::ChatCompletions,
            r#"{"messages":[{"content":"string","role":"developer","name":"name"}],"model":"gpt-5.4"}"#,
        ),
        (
            ModelApi::ChatCompletions,
            r#"{"messages":[],"audio":{"format":"aac","voice":"alloy"},"function_call":"none","stop":"\n","logit_bias":{"foo":-100},"temperature":1.0}"#,
        ),
        (
            ModelApi::Messages,
            r#"{"max_tokens":1024,"messages":[{"content":"x","role":"user"}],"model":"m","thinking":{"type":"adaptive"},"container":"container"}"#,
        ),
        (
            ModelApi::CountTokens,
            r#"{"messages":[{"content":"x","role":"user"}],"model":"m","system":"s"}"#,
        ),
        (
            ModelApi::Embeddings,
            r#"{"input":"The quick brown fox","model":"m","dimensions":1,"user":"user-1234"}"#,
        ),
        (ModelApi::Embeddings, r#"{"input":[1,2,3],"model":"m"}"#),
        (ModelApi::Embeddings, r#"{"input":["a",[1,2]],"model":"m"}"#),
        (ModelApi::Models, "null"),
    ] {
        let value = json(body);
        let asked = Asked::read(api, &value);
        assert!(asked.is_ok(), "{body}: {asked:?}");
        assert_eq!(value.to_string(), body);
    }
}

#[test]
fn what_has_another_type_is_named_with_its_place() {
    for (api, body, member) in [
        (ModelApi::ChatCompletions, "[]", "body"),
        (ModelApi::ChatCompletions, r#"{"model":5}"#, "model"),
        (ModelApi::ChatCompletions, r#"{"messages":{}}"#, "messages"),
        (ModelApi::ChatCompletions, r#"{"messages":[1]}"#, "messages[0]"),
        (
            ModelApi::ChatCompletions,
            r#"{"messages":[{"role":"user","content":5}]}"#,
            "messages[0].content",
        ),
        (ModelApi::ChatCompletions, r#"{"max_tokens":1.5}"#, "max_tokens"),
        (ModelApi::ChatCompletions, r#"{"n":-1}"#, "n"),
        (ModelApi::ChatCompletions, r#"{"stream":"yes"}"#, "stream"),
        (
            ModelApi::ChatCompletions,
            r#"{"tools":[{"type":"function","function":{}}]}"#,
            "tools[0].function.name",
        ),
        (ModelApi::Responses, r#"{"input":7}"#, "input"),
        (ModelApi::Responses, r#"{"input":["x"]}"#, "input[0]"),
        (ModelApi::Messages, r#"{"system":7}"#, "system"),
        (
            ModelApi::Messages,
            r#"{"messages":[{"role":"user","content":[{"type":"text","text":1}]}]}"#,
            "messages[0].content[0].text",
        ),
        (ModelApi::Embeddings, r#"{"input":{}}"#, "input"),
    ] {
        let body = json(body);
        let error = Asked::read(api, &body).unwrap_err();
        assert_eq!(
            (error.member.as_str(), error.code()),
            (member, Code::BadModelRequest),
            "{error}"
        );
    }
}

/// A reader that ignores case would read these otherwise.
#[test]
fn names_that_differ_in_case_are_refused() {
    for (api, body) in [
        (ModelApi::ChatCompletions, r#"{"model":"cheap","Model":"dear"}"#),
        (ModelApi::ChatCompletions, r#"{"Tools":[]}"#),
        (ModelApi::ChatCompletions, r#"{"messages":[{"role":"user","Content":"x"}]}"#),
        (ModelApi::Responses, r#"{"INPUT":"x"}"#),
        (ModelApi::Messages, r#"{"System":"x"}"#),
        (ModelApi::Responses, r#"{"tools":[{"type":"function","Type":"mcp","name":"a"}]}"#),
        (ModelApi::Embeddings, r#"{"Input":"x"}"#),
    ] {
        let body = json(body);
        let error = Asked::read(api, &body).unwrap_err();
        assert_eq!(error.code(), Code::DuplicateMember, "{body}");
    }
}

#[test]
fn requests_are_changed_in_their_place() {
    let mut body = json(
        r#"{"z":1.0,"model":"a","messages":[{"role":"user","content":"key"},{"role":"assistant","content":[{"type":"tool_use","id":"t","name":"x","input":{"a":["key",1]}}]}]}"#,
    );
    let paths: Vec<_> = Asked::read(ModelApi::Messages, &body)
        .unwrap()
        .segments
        .into_iter()
        .map(|it| it.path)
        .collect();
    rewrite::replace_text(&mut body, &paths[0], "[key]".to_owned()).unwrap();
    assert!(rewrite::replace_text(&mut body, &paths[1], String::new()).is_err());
    rewrite::each_text(&mut body, &paths[1], &mut |it| (it == "key").then(|| "K".to_owned()));
    rewrite::set_model(&mut body, "b");
    assert_eq!(
        body.to_string(),
        r#"{"z":1.0,"model":"b","messages":[{"role":"user","content":"[key]"},{"role":"assistant","content":[{"type":"tool_use","id":"t","name":"x","input":{"a":["K",1]}}]}]}"#
    );
}

#[test]
fn hosted_tools_are_taken_out_or_made_to_ask() {
    let remove_hosted = |api, body: &str| {
        let mut body = json(body);
        let asked = Asked::read(api, &body).unwrap();
        let hosted = asked.tools.iter().filter(|it| it.hosted.is_some());
        let paths: Vec<_> = hosted.map(|it| it.path.clone()).collect();
        rewrite::remove_tools(&mut body, &paths);
        assert!(Asked::read(api, &body).unwrap().tools.iter().all(|it| it.hosted.is_none()));
        body.to_string()
    };
    for (api, before, after) in [
        (
            ModelApi::Responses,
            r#"{"tools":[{"type":"mcp","server_label":"d"},{"type":"function","name":"a"},{"type":"shell"}],"tool_choice":{"type":"mcp","server_label":"d"}}"#,
            r#"{"tools":[{"type":"function","name":"a"}]}"#,
        ),
        (
            ModelApi::Responses,
            r#"{"tools":[{"type":"shell"},{"type":"function","name":"a"}],"tool_choice":{"type":"function","name":"a"}}"#,
            r#"{"tools":[{"type":"function","name":"a"}],"tool_choice":{"type":"function","name":"a"}}"#,
        ),
        (
            ModelApi::Responses,
            r#"{"tools":[{"type":"shell"}],"tool_choice":"required","parallel_tool_calls":true}"#,
            "{}",
        ),
        (ModelApi::ChatCompletions, r#"{"web_search_options":{},"n":1}"#, r#"{"n":1}"#),
        (
            ModelApi::Messages,
            r#"{"mcp_servers":[{"type":"url","name":"d","url":"u"}],"tools":[{"type":"mcp_toolset","mcp_server_name":"d"},{"name":"a"}]}"#,
            r#"{"tools":[{"name":"a"}]}"#,
        ),
    ] {
        assert_eq!(remove_hosted(api, before), after);
    }
    let mut body = json(
        r#"{"tools":[{"type":"mcp","server_label":"d","require_approval":"never"},{"type":"shell"}]}"#,
    );
    let asked = Asked::read(ModelApi::Responses, &body).unwrap();
    let (mcp, shell) = (asked.tools[0].path.clone(), asked.tools[1].path.clone());
    rewrite::require_approval(&mut body, &mcp).unwrap();
    assert!(rewrite::require_approval(&mut body, &shell).is_err());
    let function = json(r#"{"type":"function","name":"run"}"#).as_object().unwrap().clone();
    rewrite::replace_tool(&mut body, &shell, function).unwrap();
    assert_eq!(
        body.to_string(),
        r#"{"tools":[{"type":"mcp","server_label":"d","require_approval":"always"},{"type":"function","name":"run"}]}"#
    );
}

#[test]
fn instructions_are_added_behind_the_clients_own() {
    for (api, before, after) in [
        (
            ModelApi::ChatCompletions,
            r#"{"messages":[{"role":"user","content":"u"}]}"#,
            r#"{"messages":[{"role":"system","content":"X"},{"role":"user","content":"u"}]}"#,
        ),
        (
            ModelApi::ChatCompletions,
            r#"{"messages":[{"role":"developer","content":"a"},{"role":"user","content":"u"},{"role":"system","content":"late"}]}"#,
            r#"{"messages":[{"role":"developer","content":"a"},{"role":"developer","content":"X"},{"role":"user","content":"u"},{"role":"system","content":"late"}]}"#,
        ),
        (ModelApi::Responses, r#"{"input":"u"}"#, r#"{"input":"u","instructions":"X"}"#),
        (ModelApi::Responses, r#"{"instructions":"a"}"#, r#"{"instructions":"a\n\nX"}"#),
        (
            ModelApi::Messages,
            r#"{"system":"a"}"#,
            r#"{"system":[{"type":"text","text":"a"},{"type":"text","text":"X"}]}"#,
        ),
        (
            ModelApi::Messages,
            r#"{"system":[{"type":"text","text":"attribution"}]}"#,
            r#"{"system":[{"type":"text","text":"attribution"},{"type":"text","text":"X"}]}"#,
        ),
    ] {
        let mut body = json(before);
        rewrite::add_instruction(api, &mut body, "X").unwrap();
        assert_eq!(body.to_string(), after);
    }
    assert!(rewrite::add_instruction(ModelApi::Embeddings, &mut json("{}"), "X").is_err());
}
