//! 2026-07-28 over HTTP: what a request must carry, how headers repeat the body, and which era a
//! request is of.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![allow(clippy::too_many_lines, clippy::type_complexity, reason = "tables of cases")]

use lockgate_types::{Code, Json, JsonLimits, Object};
use lockgate_wire::era::{self, SESSION_HEADER, VERSION_HEADER, negotiate};
use lockgate_wire::headers::{Headers, MirroredArgument, decode, encode, mirrored_arguments};
use lockgate_wire::stateless::{check_meta, check_mirrored, check_request, request_headers};
use lockgate_wire::{Era, Message, Request, prefix};
use proptest::prelude::*;

fn json(text: &str) -> Json {
    Json::parse(text.as_bytes(), &JsonLimits::MESSAGE).unwrap()
}

const META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;

fn request(method: &str, params: &str) -> Request {
    let params = json(&params.replace("$META", META)).as_object().unwrap().clone();
    Request::new(7.into(), method, params)
}

fn headers<'a>(list: &[(&'a str, &'a str)]) -> Headers<'a> {
    list.iter().map(|(name, value)| (*name, value.as_bytes())).collect()
}

const VERSION: (&str, &str) = ("MCP-Protocol-Version", "2026-07-28");

#[test]
fn requests_are_checked_meta_first_then_headers_then_version() {
    let call = r#"{"name":"echo",$META}"#;
    type Case<'a> = (&'a str, &'a str, Vec<(&'a str, &'a str)>, Option<(Code, i64)>);
    let mismatch = Some((Code::HeaderMismatch, -32020));
    let meta = Some((Code::MissingMeta, -32602));
    let version = Some((Code::UnsupportedVersion, -32022));
    let other_version = r#"{"_meta":{"io.modelcontextprotocol/protocolVersion":"v999","io.modelcontextprotocol/clientCapabilities":{}}}"#;
    let cases: Vec<Case<'_>> = vec![
        ("tools/list", "{$META}", vec![VERSION, ("Mcp-Method", "tools/list")], None),
        ("tools/list", "{$META}", vec![VERSION, ("MCP-METHOD", "tools/list")], None),
        ("tools/list", "{$META}", vec![VERSION, ("mcp-method", " \ttools/list ")], None),
        ("tools/list", "{$META}", vec![VERSION, ("Mcp-Method", "TOOLS/LIST")], mismatch),
        ("tools/list", "{$META}", vec![VERSION, ("Mcp-Method", "prompts/list")], mismatch),
        ("tools/list", "{$META}", vec![VERSION], mismatch),
        ("tools/list", "{$META}", vec![("Mcp-Method", "tools/list")], mismatch),
        (
            "tools/list",
            "{$META}",
            vec![("MCP-Protocol-Version", "2025-11-25"), ("Mcp-Method", "tools/list")],
            mismatch,
        ),
        (
            "tools/list",
            "{$META}",
            vec![VERSION, ("Mcp-Method", "tools/list"), ("mcp-method", "tools/list")],
            mismatch,
        ),
        ("tools/list", "{}", vec![VERSION, ("Mcp-Method", "tools/list")], meta),
        ("tools/list", r#"{"_meta":[]}"#, vec![VERSION], meta),
        (
            "tools/list",
            r#"{"_meta":{"io.modelcontextprotocol/clientCapabilities":{}}}"#,
            vec![VERSION],
            meta,
        ),
        (
            "tools/list",
            r#"{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}"#,
            vec![VERSION],
            meta,
        ),
        (
            "tools/list",
            r#"{"_meta":{"io.modelcontextprotocol/protocolVersion":1,"io.modelcontextprotocol/clientCapabilities":{}}}"#,
            vec![VERSION],
            meta,
        ),
        (
            "tools/list",
            other_version,
            vec![("MCP-Protocol-Version", "v999"), ("Mcp-Method", "tools/list")],
            version,
        ),
        ("tools/list", other_version, vec![VERSION, ("Mcp-Method", "tools/list")], mismatch),
        (
            "tools/call",
            call,
            vec![VERSION, ("Mcp-Method", "tools/call"), ("Mcp-Name", "echo")],
            None,
        ),
        (
            "tools/call",
            call,
            vec![VERSION, ("Mcp-Method", "tools/call"), ("Mcp-Name", "  echo ")],
            None,
        ),
        (
            "tools/call",
            call,
            vec![VERSION, ("Mcp-Method", "tools/call"), ("Mcp-Name", "=?base64?ZWNobw==?=")],
            None,
        ),
        (
            "tools/call",
            call,
            vec![VERSION, ("Mcp-Method", "tools/call"), ("Mcp-Name", "=?base64?ZWNobw?=")],
            mismatch,
        ),
        (
            "tools/call",
            call,
            vec![VERSION, ("Mcp-Method", "tools/call"), ("Mcp-Name", "Echo")],
            mismatch,
        ),
        (
            "tools/call",
            call,
            vec![VERSION, ("Mcp-Method", "tools/call"), ("Mcp-Name", "delete")],
            mismatch,
        ),
        ("tools/call", call, vec![VERSION, ("Mcp-Method", "tools/call")], mismatch),
        (
            "tools/call",
            call,
            vec![VERSION, ("Mcp-Method", "tools/call"), ("Mcp-Name", "echo"), ("MCP-NAME", "echo")],
            mismatch,
        ),
        (
            "tools/call",
            "{$META}",
            vec![VERSION, ("Mcp-Method", "tools/call"), ("Mcp-Name", "echo")],
            mismatch,
        ),
        (
            "resources/read",
            r#"{"uri":"file:///a",$META}"#,
            vec![VERSION, ("Mcp-Method", "resources/read"), ("Mcp-Name", "file:///a")],
            None,
        ),
        (
            "resources/read",
            r#"{"uri":"file:///a","name":"b",$META}"#,
            vec![VERSION, ("Mcp-Method", "resources/read"), ("Mcp-Name", "b")],
            mismatch,
        ),
        (
            "prompts/get",
            r#"{"name":"p",$META}"#,
            vec![VERSION, ("Mcp-Method", "prompts/get")],
            mismatch,
        ),
        ("tasks/get", r#"{"taskId":"t",$META}"#, vec![VERSION, ("Mcp-Method", "tasks/get")], None),
        (
            "tasks/get",
            r#"{"taskId":"t",$META}"#,
            vec![VERSION, ("Mcp-Method", "tasks/get"), ("Mcp-Name", "u")],
            mismatch,
        ),
    ];
    for (method, params, list, refusal) in cases {
        let request = request(method, params);
        let result = check_request(&headers(&list), &request);
        let got = result.as_ref().err().map(|e| (e.code(), e.number()));
        assert_eq!(got, refusal, "{method} {params} {list:?}: {result:?}");
        if let Err(error) = result {
            assert_eq!(
                (error.id.clone(), error.http_status(Era::Stateless)),
                (Some(7.into()), 400)
            );
        }
    }
}

#[test]
fn meta_is_read_whole_and_strictly() {
    let full = request(
        "tools/list",
        r#"{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"sampling":{}},"io.modelcontextprotocol/clientInfo":{"name":"c","version":"1"},"io.modelcontextprotocol/logLevel":"info","progressToken":"t","traceparent":"00-a"}}"#,
    );
    let meta = check_meta(&full).unwrap();
    assert_eq!(meta.protocol_version, "2026-07-28");
    assert!(meta.client_capabilities.contains("sampling"));
    assert_eq!(meta.client_info.unwrap().get("name"), Some(&"c".into()));
    assert_eq!(meta.log_level.as_deref(), Some("info"));
    assert_eq!(meta.progress_token, Some("t".into()));
    assert_eq!(meta.traceparent.as_deref(), Some("00-a"));
    for wrong in [
        r#""io.modelcontextprotocol/clientInfo":"c""#,
        r#""io.modelcontextprotocol/logLevel":"loud""#,
        r#""io.modelcontextprotocol/logLevel":1"#,
        r#""progressToken":{}"#,
    ] {
        let params = format!(
            r#"{{"_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{{}},{wrong}}}}}"#
        );
        assert_eq!(check_meta(&request("x", &params)).unwrap_err().code(), Code::MissingMeta);
    }
}

const SCHEMA: &str = r#"{"type":"object","properties":{
    "region":{"type":"string","x-mcp-header":"Region"},
    "priority":{"type":"integer","x-mcp-header":"Priority"},
    "verbose":{"type":"boolean","x-mcp-header":"Verbose"},
    "where":{"type":"object","properties":{"zone":{"type":"string","x-mcp-header":"Zone"}}},
    "x-mcp-header":{"type":"string"},
    "query":{"type":"string","default":{"x-mcp-header":"Data"},"enum":[{"x-mcp-header":""}]}}}"#;

#[test]
fn mirrored_arguments_agree_both_ways() {
    let mirrored = mirrored_arguments(&json(SCHEMA)).unwrap();
    let names: Vec<&str> = mirrored.iter().map(|argument| argument.header.as_str()).collect();
    assert_eq!(
        names,
        ["Mcp-Param-Region", "Mcp-Param-Priority", "Mcp-Param-Verbose", "Mcp-Param-Zone"]
    );
    let cases: &[(&str, &[(&str, &str)], bool)] = &[
        (r#"{}"#, &[], true),
        (r#"{"region":null}"#, &[], true),
        (r#"{"region":"us"}"#, &[("mcp-param-region", "us")], true),
        (r#"{"region":"us"}"#, &[("Mcp-Param-Region", " us\t")], true),
        (r#"{"region":"us"}"#, &[], false),
        (r#"{"region":"us"}"#, &[("Mcp-Param-Region", "eu")], false),
        (r#"{"region":"us"}"#, &[("Mcp-Param-Region", "US")], false),
        (r#"{"region":"us"}"#, &[("Mcp-Param-Region", "us"), ("mcp-param-region", "us")], false),
        (r#"{}"#, &[("Mcp-Param-Region", "us")], false),
        (r#"{"region":null}"#, &[("Mcp-Param-Region", "null")], false),
        (r#"{"region":"Hello"}"#, &[("Mcp-Param-Region", "=?base64?SGVsbG8=?=")], true),
        (r#"{"region":"Hello"}"#, &[("Mcp-Param-Region", "=?base64?SGVsbG8?=")], false),
        (r#"{"region":"Hello"}"#, &[("Mcp-Param-Region", "=?base64?SGVs!!!bG8=?=")], false),
        (r#"{"region":"SGVsbG8="}"#, &[("Mcp-Param-Region", "SGVsbG8=")], true),
        (r#"{"region":"=?base64?SGVsbG8="}"#, &[("Mcp-Param-Region", "=?base64?SGVsbG8=")], true),
        (r#"{"region":""}"#, &[("Mcp-Param-Region", "")], true),
        (r#"{"region":"é"}"#, &[("Mcp-Param-Region", "é")], false),
        (r#"{"region":["us"]}"#, &[], true),
        (r#"{"region":["us"]}"#, &[("Mcp-Param-Region", "us")], false),
        (r#"{"priority":42}"#, &[("Mcp-Param-Priority", "42")], true),
        (r#"{"priority":42}"#, &[("Mcp-Param-Priority", "42.0")], true),
        (r#"{"priority":42.0}"#, &[("Mcp-Param-Priority", "42")], true),
        (r#"{"priority":42}"#, &[("Mcp-Param-Priority", "42.5")], false),
        (r#"{"priority":42}"#, &[("Mcp-Param-Priority", "4.2e1")], false),
        (r#"{"priority":-7}"#, &[("Mcp-Param-Priority", "7")], false),
        (r#"{"priority":9007199254740993}"#, &[("Mcp-Param-Priority", "9007199254740992")], false),
        (r#"{"priority":"42"}"#, &[("Mcp-Param-Priority", "42.0")], false),
        (r#"{"verbose":true}"#, &[("Mcp-Param-Verbose", "true")], true),
        (r#"{"verbose":true}"#, &[("Mcp-Param-Verbose", "True")], false),
        (r#"{"where":{"zone":"a"}}"#, &[("Mcp-Param-Zone", "a")], true),
        (r#"{"zone":"a","where":{}}"#, &[("Mcp-Param-Zone", "a")], false),
        (r#"{"query":"q"}"#, &[("Mcp-Param-Other", "ignored")], true),
    ];
    for (arguments, list, is_accepted) in cases {
        let request =
            request("tools/call", &format!(r#"{{"name":"t","arguments":{arguments},$META}}"#));
        let result = check_mirrored(&headers(list), &request, &mirrored);
        assert_eq!(result.is_ok(), *is_accepted, "{arguments} {list:?}: {result:?}");
        if let Err(error) = result {
            assert_eq!((error.number(), error.id), (-32020, Some(7.into())));
        }
    }
    let without = request("tools/call", r#"{"name":"t",$META}"#);
    assert!(check_mirrored(&headers(&[]), &without, &mirrored).is_ok());
    assert!(check_mirrored(&headers(&[("Mcp-Param-Region", "us")]), &without, &mirrored).is_err());
}

#[test]
fn tools_with_broken_annotations_are_told_apart() {
    let property =
        |schema: &str| json(&format!(r#"{{"type":"object","properties":{{"p":{schema}}}}}"#));
    let broken = [
        property(r#"{"type":"string","x-mcp-header":""}"#),
        property(r#"{"type":"string","x-mcp-header":7}"#),
        property(r#"{"type":"string","x-mcp-header":"My Region"}"#),
        property(r#"{"type":"string","x-mcp-header":"Region:Primary"}"#),
        property(r#"{"type":"string","x-mcp-header":"Région"}"#),
        property(r#"{"type":"string","x-mcp-header":"Region\t1"}"#),
        property(r#"{"type":"string","x-mcp-header":"a\r\nX: y"}"#),
        property(r#"{"type":"object","x-mcp-header":"P"}"#),
        property(r#"{"type":"array","x-mcp-header":"P"}"#),
        property(r#"{"type":"number","x-mcp-header":"P"}"#),
        property(r#"{"type":"null","x-mcp-header":"P"}"#),
        property(r#"{"type":["string","null"],"x-mcp-header":"P"}"#),
        property(r#"{"x-mcp-header":"P"}"#),
        property(r#"{"type":"array","items":{"type":"string","x-mcp-header":"P"}}"#),
        property(r#"{"anyOf":[{"type":"string","x-mcp-header":"P"}]}"#),
        property(r#"{"if":{"properties":{"q":{"type":"string","x-mcp-header":"P"}}}}"#),
        json(r#"{"type":"object","x-mcp-header":"Root"}"#),
        json(r#"{"$defs":{"d":{"type":"string","x-mcp-header":"P"}}}"#),
        json(
            r#"{"properties":{"a":{"type":"string","x-mcp-header":"R"},"b":{"type":"string","x-mcp-header":"R"}}}"#,
        ),
        json(
            r#"{"properties":{"a":{"type":"string","x-mcp-header":"MyField"},"b":{"type":"string","x-mcp-header":"myfield"}}}"#,
        ),
    ];
    for schema in broken {
        assert!(mirrored_arguments(&schema).is_err(), "{schema}");
    }
    for sound in ["{}", "true", r#"{"properties":{"x-mcp-header":{"type":"object"}}}"#] {
        assert_eq!(mirrored_arguments(&json(sound)), Ok(Vec::new()), "{sound}");
    }
}

/// The table of the revision, §Value Encoding, and its neighbours.
#[test]
fn values_are_encoded_as_the_revision_shows() {
    for (text, header) in [
        ("us-west1", "us-west1"),
        ("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?="),
        (" padded ", "=?base64?IHBhZGRlZCA=?="),
        ("line1\nline2", "=?base64?bGluZTEKbGluZTI=?="),
        ("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
        ("a b", "a b"),
        ("", ""),
        ("\ta", "=?base64?CWE=?="),
        ("=?base64?half", "=?base64?half"),
    ] {
        assert_eq!(encode(text), header);
        assert_eq!(decode(header.as_bytes()).as_deref(), Some(text));
    }
    for malformed in ["=?base64?a?=", "=?base64?/w==?=", "=?base64?SGVsbG9=?=", "a\u{7f}", "a\u{0}"]
    {
        assert_eq!(decode(malformed.as_bytes()), None, "{malformed}");
    }
    assert_eq!(decode(b"\xff"), None);
}

#[test]
fn eras_are_told_apart_by_every_signal() {
    let message = |text: &str| Message::parse(text.as_bytes(), &JsonLimits::MESSAGE).unwrap();
    let plain = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    let with_meta = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"1"}}}"#;
    let initialize = r#"{"jsonrpc":"2.0","id":1,"method":"initialize"}"#;
    let discover = r#"{"jsonrpc":"2.0","id":1,"method":"server/discover"}"#;
    let (v, s) = (VERSION_HEADER, SESSION_HEADER);
    let cases: &[(&str, &[(&str, &str)], Era)] = &[
        (plain, &[], Era::Sessions),
        (plain, &[(v, "2025-03-26")], Era::Sessions),
        (plain, &[(v, "2025-06-18")], Era::Sessions),
        (plain, &[(v, "2025-11-25"), (s, "x")], Era::Sessions),
        (plain, &[(v, "2026-07-28")], Era::Stateless),
        (plain, &[("Mcp-Protocol-Version", " 2026-07-28 ")], Era::Stateless),
        (plain, &[(v, "2026-07-28"), (s, "x")], Era::Stateless),
        (plain, &[(v, "v999")], Era::Stateless),
        (plain, &[(v, "v999"), (s, "x")], Era::Sessions),
        (with_meta, &[], Era::Stateless),
        (with_meta, &[(v, "2025-11-25"), (s, "x")], Era::Stateless),
        (initialize, &[], Era::Sessions),
        (initialize, &[(v, "v999")], Era::Sessions),
        (initialize, &[(v, "2026-07-28")], Era::Stateless),
        (discover, &[], Era::Stateless),
        (discover, &[(v, "2025-11-25")], Era::Stateless),
    ];
    for (text, list, expected) in cases {
        assert_eq!(era::detect(&headers(list), Some(&message(text))), *expected, "{text} {list:?}");
    }
    assert_eq!(era::detect(&headers(&[]), None), Era::Sessions);
    assert_eq!(era::detect(&headers(&[(v, "2026-07-28")]), None), Era::Stateless);
    assert!(era::is_sessions_version(&headers(&[])));
    assert!(era::is_sessions_version(&headers(&[(v, "2025-06-18")])));
    assert!(!era::is_sessions_version(&headers(&[(v, "v999")])));
    for (asked, answered) in [
        (Some("2025-06-18"), "2025-06-18"),
        (Some("2025-11-25"), "2025-11-25"),
        (Some("2025-03-26"), "2025-11-25"),
        (Some("2026-07-28"), "2025-11-25"),
        (Some("junk"), "2025-11-25"),
        (None, "2025-11-25"),
    ] {
        assert_eq!(negotiate(asked), answered);
    }
    assert_eq!(
        era::of_opening(&json(r#"{"supportedVersions":["2026-07-28"]}"#)),
        Some(Era::Stateless)
    );
    assert_eq!(era::of_opening(&json(r#"{"protocolVersion":"2025-06-18"}"#)), Some(Era::Sessions));
    assert_eq!(era::of_opening(&json(r#"{"protocolVersion":"2024-11-05"}"#)), None);
    assert_eq!(era::of_opening(&json("{}")), None);
}

#[test]
fn prefixed_names_split_at_the_first_separator() {
    let upstream = lockgate_types::UpstreamName::new("help-desk").unwrap();
    for name in ["create_refund", "_x", "__y", "a__b", "a.b-C"] {
        let joined = prefix::join(&upstream, name);
        assert_eq!(prefix::split(&joined), Some((upstream.clone(), name)));
    }
    for wrong in ["", "a", "a_b", "__b", "a__", "A__b", "a b__c"] {
        assert_eq!(prefix::split(wrong), None, "{wrong}");
    }
}

fn sent(request: &Request, mirrored: &[MirroredArgument]) -> Vec<(String, String)> {
    request_headers(request, mirrored)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn values_survive_the_header(text in any::<String>()) {
        let header = encode(&text);
        prop_assert!(header.bytes().all(|byte| matches!(byte, b' '..=b'~')));
        prop_assert_eq!(header.trim(), &header);
        prop_assert_eq!(decode(header.as_bytes()), Some(text));
    }

    #[test]
    fn what_is_sent_is_accepted(
        name in any::<String>(), region in prop::option::of(any::<String>()),
        priority in any::<i64>(), verbose in any::<bool>(),
    ) {
        let mirrored = mirrored_arguments(&json(SCHEMA)).unwrap();
        let mut request = request("tools/call", "{$META}");
        let arguments = Object::new().with("priority", priority).with("verbose", verbose)
            .with("region", region.clone().map_or(Json::Null, Json::from));
        request.params.set("name", name.as_str());
        request.params.set("arguments", arguments);
        let sent = sent(&request, &mirrored);
        let received: Headers<'_> =
            sent.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        prop_assert!(check_request(&received, &request).is_ok());
        prop_assert!(check_mirrored(&received, &request, &mirrored).is_ok());
        prop_assert_eq!(sent.len(), if region.is_some() { 6 } else { 5 });
        request.params.set("name", format!("{name}x"));
        prop_assert!(check_request(&received, &request).is_err());
    }
}
