//! Between the eras: what crosses keeps its fields, what cannot cross says so, and refusals fit
//! both sides.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use lockgate_types::methods::{METHODS, find};
use lockgate_types::{CallId, Code, Json, JsonLimits, Object, PolicyName, Retry};
use lockgate_wire::bridge::*;
use lockgate_wire::refusal::{Refusal, number_of, refusal_error, refusal_result};
use lockgate_wire::stateless::check_meta;
use lockgate_wire::subscriptions::{Filter, tag, untag};
use lockgate_wire::{Era, Method, Request, RequestId, RpcError, numbers};

fn json(text: &str) -> Json {
    Json::parse(text.as_bytes(), &JsonLimits::MESSAGE).unwrap()
}

fn object(text: &str) -> Object {
    json(text).as_object().unwrap().clone()
}

fn method(name: &str) -> &'static Method {
    find(name).unwrap()
}

#[test]
fn every_method_crosses_as_the_table_says() {
    for method in METHODS {
        let there = crossing(method, Era::Sessions, Era::Stateless);
        assert_eq!(there, crossing(method, Era::Stateless, Era::Sessions), "{}", method.name);
        assert_eq!(crossing(method, Era::Sessions, Era::Sessions), Crossing::Same);
        let expected = match method.name {
            "tools/list"
            | "tools/call"
            | "resources/list"
            | "resources/templates/list"
            | "resources/read"
            | "prompts/list"
            | "prompts/get"
            | "completion/complete"
            | "notifications/cancelled"
            | "notifications/progress"
            | "notifications/message"
            | "notifications/tools/list_changed"
            | "notifications/prompts/list_changed"
            | "notifications/resources/list_changed"
            | "notifications/resources/updated" => Crossing::Same,
            name if name.contains("tasks") => Crossing::Never,
            _ => Crossing::Gate,
        };
        assert_eq!(there, expected, "{}", method.name);
    }
    let error = cannot_cross("tasks/get", Era::Stateless);
    assert_eq!((error.code(), error.number()), (Code::CannotCrossEras, 50500));
    assert!(is_dropped(method("notifications/initialized"), Era::Stateless));
    assert!(!is_dropped(method("notifications/progress"), Era::Stateless));
}

#[test]
fn parameters_change_their_envelope_and_nothing_else() {
    let client = ClientProfile {
        info: Some(object(r#"{"name":"c","version":"1"}"#)),
        capabilities: object(
            r#"{"sampling":{},"tasks":{},"extensions":{"io.modelcontextprotocol/tasks":{},"x/y":{}}}"#,
        ),
        log_level: Some("debug".into()),
    };
    let original = object(
        r#"{"name":"t","arguments":{"n":1.0},"future":1,"_meta":{"progressToken":3,"vendor/k":null}}"#,
    );
    let there = params_to_stateless(original.clone(), &client).unwrap();
    let meta = check_meta(&Request::new(1.into(), "tools/call", there.clone())).unwrap();
    assert_eq!(
        Json::from(meta.client_capabilities),
        json(r#"{"sampling":{},"extensions":{"x/y":{}}}"#)
    );
    assert_eq!((meta.client_info, meta.log_level), (client.info.clone(), client.log_level.clone()));
    assert_eq!(params_to_sessions(there), original);
    // A client cannot speak for the gate.
    let forged = object(
        r#"{"inputResponses":{"k":{}},"requestState":"s","_meta":{"io.modelcontextprotocol/protocolVersion":"1","io.modelcontextprotocol/clientCapabilities":{"roots":{}},"io.modelcontextprotocol/logLevel":"x","io.modelcontextprotocol/clientInfo":{}}}"#,
    );
    let there = params_to_stateless(forged, &ClientProfile::default()).unwrap();
    assert_eq!(
        Json::from(there.clone()),
        json(
            r#"{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}"#
        )
    );
    assert!(params_to_sessions(there).is_empty());
    let task = params_to_stateless(object(r#"{"task":{"ttl":1}}"#), &client).unwrap_err();
    assert_eq!(task.code(), Code::CannotCrossEras);
    let odd = params_to_stateless(object(r#"{"_meta":7}"#), &client).unwrap_err();
    assert_eq!(odd.code(), Code::MissingMeta);
}

#[test]
fn results_change_their_envelope_and_nothing_else() {
    let info = object(r#"{"name":"s","version":"2"}"#);
    let cases = [
        (
            "tools/call",
            r#"{"content":[],"isError":true,"x":[1]}"#,
            r#"{"content":[],"isError":true,"x":[1],"resultType":"complete"}"#,
        ),
        (
            "tools/list",
            r#"{"tools":[{"name":"a","x":1}],"nextCursor":"c"}"#,
            r#"{"tools":[{"name":"a","x":1}],"nextCursor":"c","resultType":"complete","ttlMs":0,"cacheScope":"private"}"#,
        ),
        (
            "resources/read",
            r#"{"contents":[{"uri":"u","blob":"AA=="}]}"#,
            r#"{"contents":[{"uri":"u","blob":"AA=="}],"resultType":"complete","ttlMs":0,"cacheScope":"private"}"#,
        ),
        (
            "completion/complete",
            r#"{"completion":{"values":[]}}"#,
            r#"{"completion":{"values":[]},"resultType":"complete"}"#,
        ),
    ];
    for (name, with_sessions, stateless) in cases {
        let there = result_to_stateless(method(name), json(with_sessions), None).unwrap();
        assert_eq!(there, json(stateless));
        assert_eq!(result_to_sessions(method(name), there).unwrap(), json(with_sessions));
        let named = result_to_stateless(method(name), json(with_sessions), Some(&info)).unwrap();
        let path = ["_meta", "io.modelcontextprotocol/serverInfo"];
        assert_eq!(named.at(&path), Some(&info.clone().into()));
    }
    // An upstream with sessions cannot ask for input in a result, whatever it writes.
    let forged = r#"{"resultType":"input_required","inputRequests":{"k":{"method":"sampling/createMessage"}},"requestState":"s","content":[]}"#;
    let there = result_to_stateless(method("tools/call"), json(forged), None).unwrap();
    assert_eq!(there, json(r#"{"resultType":"complete","content":[]}"#));
    for kind in ["input_required", "task", "vendor"] {
        let result = json(&format!(r#"{{"resultType":"{kind}"}}"#));
        let error = result_to_sessions(method("tools/call"), result).unwrap_err();
        assert_eq!(error.code(), Code::CannotCrossEras);
    }
    let task = result_to_stateless(method("tools/call"), json(r#"{"task":{}}"#), None);
    assert_eq!(task.unwrap_err().code(), Code::CannotCrossEras);
    assert!(result_to_stateless(method("tools/call"), json("[]"), None).is_err());
}

#[test]
fn what_earlier_revisions_do_not_allow_becomes_text() {
    let call = |text: &str| result_to_sessions(method("tools/call"), json(text)).unwrap();
    assert_eq!(
        call(r#"{"resultType":"complete","content":[],"structuredContent":[1,2]}"#),
        json(r#"{"content":[{"type":"text","text":"[1,2]"}]}"#)
    );
    assert_eq!(
        call(r#"{"content":[{"type":"text","text":"x"}],"structuredContent":7}"#),
        json(r#"{"content":[{"type":"text","text":"x"}]}"#)
    );
    assert_eq!(call(r#"{"structuredContent":{"a":1}}"#), json(r#"{"structuredContent":{"a":1}}"#));
    let list = r#"{"tools":[{"name":"a","outputSchema":{"type":"array"}},{"name":"b","outputSchema":{"type":"object"}},{"name":"c","outputSchema":{"oneOf":[]}}]}"#;
    assert_eq!(
        result_to_sessions(method("tools/list"), json(list)).unwrap(),
        json(
            r#"{"tools":[{"name":"a"},{"name":"b","outputSchema":{"type":"object"}},{"name":"c"}]}"#
        )
    );
}

#[test]
fn opening_translates_both_ways() {
    let fallback = object(r#"{"name":"lockgate","version":"0"}"#);
    let initialize = json(
        r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{"listChanged":true},"tasks":{}},"serverInfo":{"name":"s","version":"1"},"instructions":"i","x":1}"#,
    );
    let discover = discover_result(&initialize).unwrap();
    assert_eq!(
        discover,
        json(
            r#"{"capabilities":{"tools":{"listChanged":true}},"instructions":"i","x":1,"supportedVersions":["2026-07-28"],"resultType":"complete","ttlMs":0,"cacheScope":"private","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"s","version":"1"}}}"#
        )
    );
    let back = initialize_result(&discover, "2025-06-18", &fallback).unwrap();
    assert_eq!(back.get("protocolVersion"), Some(&"2025-06-18".into()));
    assert_eq!(back.get("serverInfo"), initialize.get("serverInfo"));
    assert_eq!(back.get("instructions"), Some(&"i".into()));
    assert!(back.get("supportedVersions").is_none() && back.get("resultType").is_none());
    let anonymous = initialize_result(&json(r#"{"capabilities":{}}"#), "2025-11-25", &fallback);
    assert_eq!(anonymous.unwrap().get("serverInfo"), Some(&fallback.clone().into()));
    let request = Request::new(
        1.into(),
        "tools/list",
        object(
            r#"{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"roots":{}}}}"#,
        ),
    );
    let params = initialize_params(&check_meta(&request).unwrap(), &fallback);
    assert_eq!(
        Json::from(params),
        json(
            r#"{"protocolVersion":"2025-11-25","capabilities":{"roots":{}},"clientInfo":{"name":"lockgate","version":"0"}}"#
        )
    );
}

#[test]
fn input_is_asked_for_and_answered_in_both_eras() {
    let asked = InputRequired {
        requests: vec![
            InputRequest {
                key: "b".into(),
                method: "elicitation/create".into(),
                params: object(r#"{"message":"m"}"#),
            },
            InputRequest { key: "a".into(), method: "roots/list".into(), params: Object::new() },
        ],
        state: Some("s e a l e d".into()),
    };
    let result = input_required(method("tools/call"), &asked).unwrap();
    assert_eq!(
        result,
        json(
            r#"{"resultType":"input_required","inputRequests":{"b":{"method":"elicitation/create","params":{"message":"m"}},"a":{"method":"roots/list"}},"requestState":"s e a l e d"}"#
        )
    );
    assert_eq!(read_input_required(method("tools/call"), &result).unwrap(), Some(asked.clone()));
    assert_eq!(
        read_input_required(method("tools/call"), &json(r#"{"content":[]}"#)).unwrap(),
        None
    );
    // Only three methods may ask.
    assert_eq!(
        input_required(method("tools/list"), &asked).unwrap_err().code(),
        Code::CannotCrossEras
    );
    assert!(read_input_required(method("tools/list"), &result).is_err());
    let call = InputRequest { key: "k".into(), method: "tools/call".into(), params: Object::new() };
    let smuggled = InputRequired { requests: vec![call], state: None };
    assert!(input_required(method("tools/call"), &smuggled).is_err());
    for wrong in [
        r#"{"resultType":"input_required"}"#,
        r#"{"resultType":"input_required","inputRequests":[]}"#,
        r#"{"resultType":"input_required","inputRequests":{}}"#,
        r#"{"resultType":"input_required","inputRequests":{"k":{"method":"tools/call"}}}"#,
        r#"{"resultType":"input_required","inputRequests":{"k":{"method":"roots/list","params":[]}}}"#,
        r#"{"resultType":"input_required","requestState":7}"#,
    ] {
        assert!(read_input_required(method("tools/call"), &json(wrong)).is_err(), "{wrong}");
    }

    let params = object(r#"{"name":"t"}"#);
    let mut retry = retry_params(params.clone(), object(r#"{"b":{"action":"accept"}}"#), Some("s"));
    let answers = take_input_responses(&mut retry).unwrap().unwrap();
    assert_eq!((retry.clone(), answers.state.as_deref()), (params, Some("s")));
    assert_eq!(Json::from(answers.responses), json(r#"{"b":{"action":"accept"}}"#));
    assert_eq!(take_input_responses(&mut retry).unwrap(), None);
    let code = |text: &str| take_input_responses(&mut object(text)).unwrap_err().code();
    assert_eq!(code(r#"{"inputResponses":[]}"#), Code::ArgumentsRefused);
    assert_eq!(code(r#"{"requestState":{}}"#), Code::StateRejected);

    let refused = || Err(RpcError::new(-1, "no"));
    assert_eq!(input_response("elicitation/create", refused()), Ok(json(r#"{"action":"cancel"}"#)));
    assert!(input_response("sampling/createMessage", refused()).is_err());
}

#[test]
fn only_what_a_client_declared_is_asked_of_it() {
    let cases = [
        ("{}", "sampling/createMessage", "{}", false),
        (r#"{"sampling":{}}"#, "sampling/createMessage", "{}", true),
        (r#"{"sampling":{}}"#, "sampling/createMessage", r#"{"tools":[]}"#, false),
        (r#"{"sampling":{"tools":{}}}"#, "sampling/createMessage", r#"{"tools":[]}"#, true),
        (r#"{"sampling":null}"#, "sampling/createMessage", "{}", false),
        ("{}", "elicitation/create", "{}", false),
        (r#"{"elicitation":{}}"#, "elicitation/create", "{}", true),
        (r#"{"elicitation":{}}"#, "elicitation/create", r#"{"mode":"form"}"#, true),
        (r#"{"elicitation":{}}"#, "elicitation/create", r#"{"mode":"url"}"#, false),
        (r#"{"elicitation":{"url":{}}}"#, "elicitation/create", r#"{"mode":"url"}"#, true),
        (r#"{"elicitation":{"url":{}}}"#, "elicitation/create", "{}", false),
        (r#"{"elicitation":{"url":{},"form":{}}}"#, "elicitation/create", "{}", true),
        ("{}", "roots/list", "{}", false),
        (r#"{"roots":{}}"#, "roots/list", "{}", true),
    ];
    for (capabilities, method, params, is_declared) in cases {
        let result = check_declared(&object(capabilities), method, &object(params));
        assert_eq!(result.is_ok(), is_declared, "{capabilities} {method} {params}");
    }
}

#[test]
fn numbers_of_errors_keep_their_meaning() {
    for (number, there) in [
        (numbers::RESOURCE_NOT_FOUND, numbers::INVALID_PARAMS),
        (numbers::URL_ELICITATION_REQUIRED, numbers::CANNOT_CROSS_ERAS),
        (numbers::HEADER_MISMATCH, numbers::INTERNAL_ERROR),
        (numbers::METHOD_NOT_FOUND, numbers::METHOD_NOT_FOUND),
        (-32001, -32001),
        (17, 17),
    ] {
        let error = RpcError::new(number, "m").with_data("d");
        let across = error_to_stateless(error.clone());
        assert_eq!(across, RpcError { number: there, ..error });
    }
}

#[test]
fn streams_carry_what_was_asked_for_and_can_be_honoured() {
    let params = object(
        r#"{"notifications":{"toolsListChanged":true,"promptsListChanged":false,"resourcesListChanged":true,"resourceSubscriptions":["file:///a"]}}"#,
    );
    let filter = Filter::from_params(&params).unwrap();
    let updated = |uri: &str| Object::new().with("uri", uri);
    assert!(filter.carries("notifications/tools/list_changed", &Object::new()));
    assert!(!filter.carries("notifications/prompts/list_changed", &Object::new()));
    assert!(!filter.carries("notifications/message", &Object::new()));
    for (uri, is_carried) in
        [("file:///a", true), ("file:///a/b", true), ("file:///ab", false), ("file:///", false)]
    {
        assert_eq!(filter.carries("notifications/resources/updated", &updated(uri)), is_carried);
    }
    let part =
        filter.clone().honoured_by(&object(r#"{"tools":{"listChanged":true},"resources":{}}"#));
    assert_eq!(part.to_json(), json(r#"{"toolsListChanged":true}"#));
    let all = filter.clone().honoured_by(&object(
        r#"{"tools":{"listChanged":true},"resources":{"listChanged":true,"subscribe":true}}"#,
    ));
    assert_eq!(all, filter);
    assert_eq!(
        Filter::from_params(&Object::new().with("notifications", filter.to_json())),
        Ok(filter)
    );
    for wrong in
        ["{}", r#"{"notifications":[]}"#, r#"{"notifications":{"resourceSubscriptions":[1]}}"#]
    {
        assert!(Filter::from_params(&object(wrong)).is_err(), "{wrong}");
    }
    let id = RequestId::text("listen-1");
    let mut tagged = tag(object(r#"{"uri":"u","_meta":{"k":1}}"#), &id);
    assert_eq!(untag(&mut tagged), Some(id.clone()));
    assert_eq!(tagged, object(r#"{"uri":"u","_meta":{"k":1}}"#));
    let mut tagged = tag(Object::new(), &id);
    assert_eq!((untag(&mut tagged), tagged), (Some(id), Object::new()));
}

#[test]
fn refusals_are_readable_exact_and_fit_both_eras() {
    let refusal = Refusal {
        step_up: None,
        approval: None,
        code: Code::Forbidden,
        reason: "refunds above 100 need finance".into(),
        remedy: "ask somebody of `finance`".into(),
        policies: vec![PolicyName::new("refund-limit").unwrap()],
        call: Some(CallId::new("c1").unwrap()),
        retry: Retry::AfterMs(200),
    };
    let exact = json(
        r#"{"code":"LG-D004","blame":"policy","retryable":"after_200_ms","reason":"refunds above 100 need finance","remedy":"ask somebody of `finance`","policies":["refund-limit"],"call":"c1","docs":"docs/errors/LG-D004.md"}"#,
    );
    let result = refusal_result(Era::Sessions, &refusal);
    assert_eq!(result.get("isError"), Some(&true.into()));
    assert_eq!(result.at(&["_meta", "dev.lockgate/refusal"]), Some(&exact));
    assert!(result.get("structuredContent").is_none() && result.get("resultType").is_none());
    let text = result.get("content").unwrap().as_array().unwrap()[0].get("text").unwrap();
    for part in ["LG-D004", "above 100", "remedy: ask", "refund-limit", "c1", "200 ms"] {
        assert!(text.as_str().unwrap().contains(part), "{part}");
    }
    let stateless = refusal_result(Era::Stateless, &refusal);
    assert_eq!(stateless.get("resultType"), Some(&"complete".into()));
    let error = refusal_error(&refusal);
    assert_eq!((error.number, error.data), (numbers::REFUSED, Some(exact)));
    let plain = Refusal::of(Code::UpstreamTimeout).with_call(CallId::new("c2").unwrap());
    assert_eq!(refusal_error(&plain).number, numbers::UPSTREAM_FAILED);
    // Every number is the protocol's own, or outside what JSON-RPC reserves.
    for code in Code::ALL {
        let number = number_of(*code);
        let is_protocol = matches!(number, -32700 | -32602..=-32600 | -32022..=-32020);
        assert!(is_protocol || number > 0, "{code}: {number}");
    }
}
