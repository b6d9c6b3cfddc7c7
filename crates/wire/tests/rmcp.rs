//! Our classifier against rmcp's: what rmcp takes for a tool call, we take for a tool call with the
//! same name and arguments, or refuse. The other way round rmcp may fall back to `Custom*`, which
//! is why we do not use it here.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use lockgate_types::{Json, JsonLimits};
use lockgate_wire::{Message, RequestId};
use proptest::prelude::*;
use rmcp::model::{ClientJsonRpcMessage, ClientRequest, JsonRpcMessage};

/// Compares the two readings of a text. Returns whether both accepted it as a request.
fn compare(text: &[u8]) -> bool {
    let theirs = serde_json::from_slice::<ClientJsonRpcMessage>(text);
    let ours = Message::parse(text, &JsonLimits::MESSAGE);
    let (Ok(JsonRpcMessage::Request(theirs)), Ok(ours)) = (theirs, ours) else { return false };
    let shown = String::from_utf8_lossy(text);
    let Message::Request(ours) = ours else { panic!("a request only to rmcp: {shown}") };
    let id = match &ours.id {
        RequestId::Integer(id) => serde_json::json!(id),
        RequestId::Text(id) => serde_json::json!(id),
    };
    assert_eq!(serde_json::to_value(&theirs.id).unwrap(), id, "{shown}");
    assert_eq!(theirs.request.method(), ours.method, "{shown}");
    if let ClientRequest::CallToolRequest(call) = &theirs.request {
        assert_eq!(ours.method, "tools/call");
        assert_eq!(ours.params.get("name").and_then(Json::as_str), Some(&*call.params.name));
        let arguments = ours.params.get("arguments").filter(|value| **value != Json::Null);
        let arguments = arguments.map(|json| serde_json::from_slice(&json.to_bytes()).unwrap());
        assert_eq!(call.params.arguments.clone().map(serde_json::Value::Object), arguments);
    }
    true
}

#[test]
fn known_traps_are_refused_or_read_alike() {
    let call = |params: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#)
    };
    assert!(compare(call(r#"{"name":"a","arguments":{"x":[1,{"y":null}]}}"#).as_bytes()));
    assert!(compare(call(r#"{"name":"a"}"#).as_bytes()));
    // rmcp makes `CustomRequest` of these; the method's name stays what it is.
    assert!(compare(call(r#"{"name":"a","arguments":[1,2]}"#).as_bytes()));
    assert!(compare(call(r#"{"name":7}"#).as_bytes()));
    // And of this, where one reader sees one tool and another reader the other: we refuse it.
    let twice = call(r#"{"name":"safe_read","name":"delete_all"}"#);
    assert!(Message::parse(twice.as_bytes(), &JsonLimits::MESSAGE).is_err());
    assert!(!compare(twice.as_bytes()));
}

fn member(name: &'static str, values: &'static [&'static str]) -> BoxedStrategy<String> {
    prop::sample::select(values).prop_map(move |value| format!("\"{name}\":{value}")).boxed()
}

/// Requests that are nearly right, with members in any order, missing, and twice.
fn nearly_a_request() -> impl Strategy<Value = String> {
    let methods: &'static [&'static str] = &[
        "\"tools/call\"",
        "\"tools/call\"",
        "\"tools\\/call\"",
        "\"tools/list\"",
        "\"initialize\"",
        "\"ping\"",
        "\"server/discover\"",
        "\"completion/complete\"",
        "\"logging/setLevel\"",
        "\"prompts/get\"",
        "\"prompts/list\"",
        "\"resources/list\"",
        "\"resources/templates/list\"",
        "\"resources/read\"",
        "\"resources/subscribe\"",
        "\"resources/unsubscribe\"",
        "\"subscriptions/listen\"",
        "\"tasks/get\"",
        "\"tasks/update\"",
        "\"tasks/cancel\"",
        "\"TOOLS/CALL\"",
        "\"vendor/x\"",
        "null",
        "1",
    ];
    let inner = prop_oneof![
        4 => member("name", &["\"a\"", "\"b\"", "7", "null"]),
        3 => member("arguments", &["{}", "{\"n\":1}", "{\"n\":{\"m\":[1.5]}}", "[]", "null", "\"x\""]),
        1 => member("_meta", &["{}", "{\"progressToken\":1}", "null"]),
        1 => member("uri", &["\"file:///a\"", "1"]),
        1 => member("level", &["\"info\"", "\"loud\""]),
        1 => member("cursor", &["\"c\"", "null"]),
        1 => member("Name", &["\"b\""]),
        1 => member("taskId", &["\"t\""]),
        1 => member("future", &["1"]),
    ];
    let params = prop::collection::vec(inner, 0..4)
        .prop_map(|members| format!("\"params\":{{{}}}", members.join(",")));
    let odd = prop_oneof![
        member("params", &["[]", "null", "{}"]),
        member("result", &["{}"]),
        member("METHOD", &["\"tools/call\""]),
        member("method", methods),
        member("id", &["1", "null", "1.5"]),
    ];
    let id = prop_oneof![
        5 => member("id", &["1", "\"1\"", "-3"]),
        1 => member("id", &["null", "1.5"]),
        1 => Just("\"hint\":1".to_owned()).boxed(),
    ];
    let usual = (id, member("method", methods), params).prop_map(|(a, b, c)| vec![a, b, c]);
    let odd = prop_oneof![3 => Just(Vec::new()), 1 => prop::collection::vec(odd, 1..2)];
    (usual, odd)
        .prop_flat_map(|(usual, odd)| Just([usual, odd].concat()).prop_shuffle())
        .prop_map(|members| format!("{{\"jsonrpc\":\"2.0\",{}}}", members.join(",")))
}

#[test]
fn no_request_is_another_one_to_rmcp() {
    let config = ProptestConfig { cases: 4000, failure_persistence: None, ..Default::default() };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let compared = std::cell::Cell::new(0);
    let result = runner.run(&nearly_a_request(), |text| {
        compared.set(compared.get() + i32::from(compare(text.as_bytes())));
        Ok(())
    });
    result.unwrap();
    assert!(compared.get() > 400, "only {} requests were read by both", compared.get());
}
