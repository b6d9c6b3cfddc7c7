//! Envelopes: what is accepted, what is refused and how, and that nothing is lost between reading
//! and writing.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use lockgate_types::call::Direction;
use lockgate_types::{Code, Json, JsonLimits, Object};
use lockgate_wire::classify::{classify, unknown};
use lockgate_wire::message::{METHOD_BYTES_MAX, REQUEST_ID_BYTES_MAX, folds_equal};
use lockgate_wire::{
    Era, Message, Notification, Problem, Request, RequestId, Response, RpcError, numbers,
};
use proptest::prelude::*;

fn parse(text: &str) -> Result<Message, lockgate_wire::WireError> {
    Message::parse(text.as_bytes(), &JsonLimits::MESSAGE)
}

fn params(text: &str) -> Object {
    Json::parse(text.as_bytes(), &JsonLimits::MESSAGE).unwrap().as_object().unwrap().clone()
}

/// What is sent, and code, number and id of the refusal.
const REFUSED: &[(&str, Code, i64, Option<i64>)] = &[
    ("", Code::NotJson, -32700, None),
    ("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"", Code::NotJson, -32700, None),
    (r#"{"jsonrpc":"2.0","id":1,"method":"a","method":"b"}"#, Code::DuplicateMember, -32700, None),
    ("[]", Code::BatchRefused, -32600, None),
    (r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, Code::BatchRefused, -32600, None),
    ("1", Code::NotAMessage, -32600, None),
    ("null", Code::NotAMessage, -32600, None),
    ("{}", Code::NotAMessage, -32600, None),
    (r#"{"id":1,"method":"ping"}"#, Code::NotAMessage, -32600, Some(1)),
    (r#"{"jsonrpc":2.0,"id":1,"method":"ping"}"#, Code::NotAMessage, -32600, Some(1)),
    (r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#, Code::NotAMessage, -32600, Some(1)),
    (r#"{"jsonrpc":"2.0","id":1}"#, Code::NotAMessage, -32600, Some(1)),
    (r#"{"jsonrpc":"2.0","id":1,"method":7}"#, Code::NotAMessage, -32600, Some(1)),
    (r#"{"jsonrpc":"2.0","id":1,"method":""}"#, Code::NotAMessage, -32600, Some(1)),
    (r#"{"jsonrpc":"2.0","id":1,"method":"a b"}"#, Code::NotAMessage, -32600, Some(1)),
    (r#"{"jsonrpc":"2.0","id":1,"method":"a\r\nx: y"}"#, Code::NotAMessage, -32600, Some(1)),
    (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, Code::BadId, -32600, None),
    (r#"{"jsonrpc":"2.0","id":1.0,"method":"ping"}"#, Code::BadId, -32600, None),
    (r#"{"jsonrpc":"2.0","id":1e3,"method":"ping"}"#, Code::BadId, -32600, None),
    (r#"{"jsonrpc":"2.0","id":-0,"method":"ping"}"#, Code::BadId, -32600, None),
    (r#"{"jsonrpc":"2.0","id":9223372036854775808,"method":"p"}"#, Code::BadId, -32600, None),
    (r#"{"jsonrpc":"2.0","id":true,"method":"ping"}"#, Code::BadId, -32600, None),
    (r#"{"jsonrpc":"2.0","id":[1],"method":"ping"}"#, Code::BadId, -32600, None),
    (r#"{"jsonrpc":"2.0","id":{},"result":{}}"#, Code::BadId, -32600, None),
    (r#"{"jsonrpc":"2.0","id":null,"result":{}}"#, Code::BadId, -32600, None),
    (r#"{"jsonrpc":"2.0","result":{}}"#, Code::BadId, -32600, None),
    (r#"{"jsonrpc":"2.0","id":1.5,"error":{"code":1,"message":""}}"#, Code::BadId, -32600, None),
    (
        r#"{"jsonrpc":"2.0","id":1,"method":"p","params":[]}"#,
        Code::ParamsNotObject,
        -32602,
        Some(1),
    ),
    (
        r#"{"jsonrpc":"2.0","id":1,"method":"p","params":null}"#,
        Code::ParamsNotObject,
        -32602,
        Some(1),
    ),
    (r#"{"jsonrpc":"2.0","method":"p","params":"x"}"#, Code::ParamsNotObject, -32602, None),
    (r#"{"jsonrpc":"2.0","id":1,"method":"p","result":{}}"#, Code::NotAMessage, -32600, Some(1)),
    (r#"{"jsonrpc":"2.0","id":1,"method":"p","error":{}}"#, Code::NotAMessage, -32600, Some(1)),
    (
        r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1,"message":""}}"#,
        Code::NotAMessage,
        -32600,
        Some(1),
    ),
    (r#"{"jsonrpc":"2.0","id":1,"result":{},"params":{}}"#, Code::NotAMessage, -32600, Some(1)),
    (r#"{"jsonrpc":"2.0","id":1,"error":{}}"#, Code::NotAMessage, -32600, Some(1)),
    (
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":1.5,"message":""}}"#,
        Code::NotAMessage,
        -32600,
        Some(1),
    ),
    (r#"{"jsonrpc":"2.0","id":1,"error":"no"}"#, Code::NotAMessage, -32600, Some(1)),
    // Readers that ignore case would take these for something else.
    (
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","METHOD":"tools/call"}"#,
        Code::DuplicateMember,
        -32600,
        Some(1),
    ),
    (
        r#"{"jsonrpc":"2.0","id":1,"result":{},"Method":"tools/call"}"#,
        Code::DuplicateMember,
        -32600,
        Some(1),
    ),
    (r#"{"jsonrpc":"2.0","id":1,"ID":2,"method":"ping"}"#, Code::DuplicateMember, -32600, Some(1)),
    (
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","param\u017f":{"name":"x"}}"#,
        Code::DuplicateMember,
        -32600,
        Some(1),
    ),
    (
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","Name":"b"}}"#,
        Code::DuplicateMember,
        -32600,
        Some(1),
    ),
    (
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","Arguments":{}}}"#,
        Code::DuplicateMember,
        -32600,
        Some(1),
    ),
    (
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{"amount":1,"Amount":9}}}"#,
        Code::DuplicateMember,
        -32600,
        Some(1),
    ),
];

#[test]
fn refusals_have_a_code_a_number_and_the_id_if_it_could_be_read() {
    for (text, code, number, id) in REFUSED {
        let id = &id.map(RequestId::Integer);
        let error = parse(text).expect_err(text);
        assert_eq!((error.code(), error.number(), &error.id), (*code, *number, id), "{text}");
        assert_eq!(error.http_status(Era::Stateless), 400, "{text}");
        let answer = Message::from_json(parse_json(&error.to_response().to_bytes()));
        let Ok(Message::Response(answer)) = answer else { panic!("{text}: {answer:?}") };
        assert_eq!(answer.id, *id);
        assert_eq!(answer.outcome.unwrap_err().number, *number);
    }
}

fn parse_json(bytes: &[u8]) -> Json {
    Json::parse(bytes, &JsonLimits::MESSAGE).unwrap()
}

#[test]
fn bounds_have_codes_of_their_own() {
    let limits = JsonLimits { bytes_max: 64, depth_max: 3, members_max: 8 };
    let error = |text: &str| Message::parse(text.as_bytes(), &limits).unwrap_err();
    assert_eq!(error(&" ".repeat(65)).code(), Code::TooLarge);
    assert_eq!(error(&" ".repeat(65)).http_status(Era::Sessions), 413);
    assert_eq!(error("[[[[]]]]").code(), Code::TooDeep);
    let long = |n| format!(r#"{{"jsonrpc":"2.0","id":"{}","method":"p"}}"#, "i".repeat(n));
    assert!(parse(&long(REQUEST_ID_BYTES_MAX)).is_ok());
    assert_eq!(parse(&long(REQUEST_ID_BYTES_MAX + 1)).unwrap_err().code(), Code::BadId);
    let long = |n| format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{}"}}"#, "m".repeat(n));
    assert!(parse(&long(METHOD_BYTES_MAX)).is_ok());
    assert_eq!(parse(&long(METHOD_BYTES_MAX + 1)).unwrap_err().code(), Code::NotAMessage);
}

#[test]
fn every_field_is_written_as_it_was_read() {
    for text in [
        r#"{"jsonrpc":"2.0","id":"1","method":"tools/call","params":{"name":"a","arguments":{"n":1.0,"big":123456789012345678901234567890},"_meta":{"x/y":null},"future":[{}]},"traceId":"t"}"#,
        r#"{"jsonrpc":"2.0","id":-7,"method":"x/unknown","params":{"a":{}}}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1,"why":"é\u0001"},"z":0}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{"content":[],"ttl":1e400},"hint":true}"#,
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"m","data":[1],"hint":"h"}}"#,
        r#"{"jsonrpc":"2.0","error":{"code":-32700,"message":"m"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":null}"#,
    ] {
        assert_eq!(String::from_utf8(parse(text).unwrap().to_bytes()).unwrap(), text);
    }
    // A null id of an error is the same as none.
    let error = parse(r#"{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"m"}}"#).unwrap();
    assert!(matches!(error, Message::Response(Response { id: None, .. })));
    // Absent and empty parameters are the same.
    let empty = parse(r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{}}"#).unwrap();
    assert_eq!(empty, parse(r#"{"id":1,"method":"ping","jsonrpc":"2.0"}"#).unwrap());
}

#[test]
fn the_name_alone_decides_which_method_it_is() {
    let of = |text: &str| parse(text).unwrap();
    let here = |text: &str| classify(&of(text), Era::Sessions, Direction::ToUpstream);
    // Parameters that do not fit make it no other method.
    for params in [r#""arguments":[1,2]"#, r#""tools":[],"content":[]"#, r#""name":7"#] {
        let text =
            format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{{params}}}}}"#);
        assert_eq!(here(&text).unwrap().unwrap().name, "tools/call");
    }
    let refused = [
        (r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"a"}}"#, "needs an id"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"notifications/cancelled"}"#, "takes no id"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"sampling/createMessage"}"#, "direction"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"server/discover"}"#, "protocol version"),
    ];
    for (text, reason) in refused {
        let error = here(text).unwrap_err();
        assert!(error.to_string().contains(reason), "{text}: {error}");
        assert_eq!((error.code(), error.number()), (Code::UnknownMethod, -32601));
        assert_eq!(error.id.is_some(), text.contains("\"id\""));
    }
    for text in [
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/Call"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call/"}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{"method":"tools/call"}}"#,
    ] {
        assert_eq!(here(text).unwrap(), None, "{text}");
    }
    let error = unknown(&of(r#"{"jsonrpc":"2.0","id":1,"method":"vendor/x"}"#));
    assert_eq!((error.code(), error.id), (Code::UnknownMethod, Some(RequestId::Integer(1))));
}

#[test]
fn methods_that_the_stateless_era_removed_are_not_found() {
    for method in
        ["initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"]
    {
        let request = Request::new(1.into(), method, Object::new());
        let message = Message::Request(request);
        let error = classify(&message, Era::Stateless, Direction::ToUpstream).unwrap_err();
        assert_eq!((error.http_status(Era::Stateless), error.number()), (404, -32601));
        assert!(classify(&message, Era::Sessions, Direction::ToUpstream).is_ok());
    }
}

#[test]
fn versions_and_capabilities_are_named_in_the_error() {
    let version = Problem::Version { requested: "v999.0.0".into() };
    let error = lockgate_wire::WireError::new(version).to_rpc();
    assert_eq!(error.number, numbers::UNSUPPORTED_VERSION);
    let data = error.data.unwrap();
    assert_eq!(data.get("requested").unwrap().as_str(), Some("v999.0.0"));
    assert_eq!(data.get("supported").unwrap().as_array().unwrap(), ["2026-07-28".into()]);
    let error = lockgate_wire::WireError::new(Problem::Capability { capability: "sampling" });
    assert_eq!((error.number(), error.http_status(Era::Stateless)), (-32021, 400));
    let data = error.to_rpc().data.unwrap();
    assert_eq!(data.at(&["requiredCapabilities", "sampling"]), Some(&Object::new().into()));
}

#[test]
fn folding_is_that_of_readers_that_ignore_case() {
    for (a, b, is_equal) in [
        ("method", "METHOD", true),
        ("params", "PARAM\u{17f}", true),
        ("token", "to\u{212a}en", true),
        ("_meta", "_Meta", true),
        ("é", "É", false),
        ("name", "names", false),
        ("name", "nam", false),
    ] {
        assert_eq!(folds_equal(a, b), is_equal, "{a} {b}");
    }
    // Free-form names may differ only in case where nothing decides by them.
    assert_eq!(
        params(r#"{"env":{"Path":1,"PATH":2}}"#).len(),
        parse(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{"env":{"Path":1,"PATH":2}}}}"#)
            .unwrap().params().unwrap().get("arguments").unwrap().as_object().unwrap().len()
    );
}

fn any_object() -> impl Strategy<Value = Object> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<String>().prop_map(Json::from),
    ];
    let value = leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            prop::collection::vec((any::<String>(), inner), 0..4)
                .prop_map(|members| Json::from(members.into_iter().collect::<Object>())),
        ]
    });
    // Digits keep names apart from the protocol's, and from each other whatever their case.
    prop::collection::vec(("[a-z]{0,3}", value), 0..5).prop_map(|members| {
        let numbered = members.into_iter().enumerate();
        numbered.map(|(at, (name, value))| (format!("{name}{at}"), value)).collect()
    })
}

fn any_id() -> impl Strategy<Value = RequestId> {
    prop_oneof![
        any::<i64>().prop_map(RequestId::Integer),
        any::<String>().prop_map(|text| RequestId::text(&text)),
    ]
}

fn any_message() -> impl Strategy<Value = Message> {
    let method = "[!-~]{1,40}";
    let error = (any::<i64>(), any::<String>(), prop::option::of(any_object()), any_object())
        .prop_map(|(number, message, data, extra)| RpcError {
            number,
            message,
            data: data.map(Json::from),
            extra,
        });
    prop_oneof![
        (any_id(), method, any_object(), any_object()).prop_map(|(id, method, params, extra)| {
            Message::Request(Request { id, method, params, extra })
        }),
        (method, any_object(), any_object()).prop_map(|(method, params, extra)| {
            Message::Notification(Notification { method, params, extra })
        }),
        (any_id(), any_object(), any_object()).prop_map(|(id, result, extra)| {
            Message::Response(Response { id: Some(id), outcome: Ok(result.into()), extra })
        }),
        (prop::option::of(any_id()), error, any_object()).prop_map(|(id, error, extra)| {
            Message::Response(Response { id, outcome: Err(error), extra })
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read_back(message in any_message()) {
        prop_assert_eq!(&Message::parse(&message.to_bytes(), &JsonLimits::MESSAGE).unwrap(), &message);
    }
}
