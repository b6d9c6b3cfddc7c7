//! The strict reader against serde_json, and canonical bytes against RFC 8785.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use lockgate_types::{Json, JsonError, JsonLimits, Number, Object};
use proptest::prelude::*;

const LIMITS: JsonLimits = JsonLimits { bytes_max: 1 << 16, depth_max: 8, members_max: 64 };

fn parse(text: &[u8]) -> Result<Json, JsonError> {
    Json::parse(text, &LIMITS)
}

/// Whether the two values are the same. Numbers agree if their source text reads as the same
/// number.
fn agrees(ours: &Json, theirs: &serde_json::Value) -> bool {
    match (ours, theirs) {
        (Json::Null, serde_json::Value::Null) => true,
        (Json::Bool(a), serde_json::Value::Bool(b)) => a == b,
        (Json::Number(a), serde_json::Value::Number(b)) => {
            serde_json::from_str::<serde_json::Number>(a.text()).is_ok_and(|a| a == *b)
        }
        (Json::String(a), serde_json::Value::String(b)) => a == b,
        (Json::Array(a), serde_json::Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| agrees(a, b))
        }
        (Json::Object(a), serde_json::Value::Object(b)) => {
            a.len() == b.len()
                && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| agrees(a, b)))
        }
        _ => false,
    }
}

/// A number beyond the range of a double is JSON, but not a value of serde_json's.
fn has_huge_number(json: &Json) -> bool {
    match json {
        Json::Number(number) => number.text().parse::<f64>().is_ok_and(f64::is_infinite),
        Json::Array(items) => items.iter().any(has_huge_number),
        Json::Object(object) => object.iter().any(|(_, value)| has_huge_number(value)),
        _ => false,
    }
}

/// What we accept, serde_json accepts, with the same value. It may accept more: duplicates, depth.
fn check_against_serde(text: &[u8]) {
    let Ok(ours) = parse(text) else { return };
    if has_huge_number(&ours) {
        return;
    }
    let theirs: serde_json::Value = serde_json::from_slice(text)
        .unwrap_or_else(|e| panic!("only we accept {}: {e}", String::from_utf8_lossy(text)));
    assert!(agrees(&ours, &theirs), "{}", String::from_utf8_lossy(text));
}

fn any_json() -> impl Strategy<Value = Json> {
    let number = prop_oneof![
        any::<i64>().prop_map(Json::from),
        any::<f64>()
            .prop_filter("JSON has no infinities", |f| f.is_finite())
            .prop_map(|f| parse(format!("{f:?}").as_bytes()).unwrap()),
    ];
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        number,
        any::<String>().prop_map(Json::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Json::from),
            prop::collection::vec((any::<String>(), inner), 0..6)
                .prop_map(|members| Json::from(members.into_iter().collect::<Object>())),
        ]
    })
}

/// Text that is nearly JSON: the alphabet in which mistakes are made.
fn nearly_json() -> impl Strategy<Value = Vec<u8>> {
    let token = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "\"",
        "\\",
        "\"a\"",
        "\"b\"",
        "\\u",
        "d83d",
        "\\ude00",
        "0",
        "1",
        "-",
        ".",
        "e",
        "E",
        "+",
        "true",
        "false",
        "null",
        "nul",
        " ",
        "\n",
        "\t",
        "\u{c}",
        "\u{7f}",
        "é",
        "\u{feff}",
        "\u{0}",
        "1e5",
        "01",
        "-0",
        "\"\\ud83d\\ude00\"",
        "\"\\ud83d\"",
    ]);
    prop::collection::vec(token, 0..24).prop_map(|tokens| tokens.concat().into_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read_back(json in any_json()) {
        prop_assert_eq!(&parse(&json.to_bytes()).unwrap(), &json);
        check_against_serde(&json.to_bytes());
    }

    #[test]
    fn canonical_bytes_do_not_depend_on_the_order_of_members(json in any_json()) {
        fn reversed(json: &Json) -> Json {
            match json {
                Json::Array(items) => Json::Array(items.iter().map(reversed).collect()),
                Json::Object(object) => {
                    let mut members: Vec<_> =
                        object.iter().map(|(k, v)| (k.to_owned(), reversed(v))).collect();
                    members.reverse();
                    Json::Object(members.into_iter().collect())
                }
                other => other.clone(),
            }
        }
        let canonical = json.to_canonical();
        prop_assert_eq!(&reversed(&json).to_canonical(), &canonical);
        prop_assert_eq!(parse(&canonical).unwrap().to_canonical(), canonical);
    }

    #[test]
    fn accepts_nothing_that_serde_json_refuses(text in nearly_json()) {
        check_against_serde(&text);
    }

    #[test]
    fn arbitrary_bytes_never_break_the_reader(text in prop::collection::vec(any::<u8>(), 0..64)) {
        check_against_serde(&text);
    }
}

#[test]
fn refuses_what_two_readers_could_read_differently() {
    let duplicate = |name: &str| Some(format!("duplicate member `{name}`"));
    let cases: &[(&[u8], Option<String>)] = &[
        (br#"{"a":1,"a":2}"#, duplicate("a")),
        (br#"{"a":1,"\u0061":2}"#, duplicate("a")),
        (br#"{"x":{"k":1,"b":2,"k":3}}"#, duplicate("k")),
        (br#""\ud83d""#, Some("lone surrogate".into())),
        (br#""\ude00""#, Some("lone surrogate".into())),
        (br#""\ud83d\u0041""#, Some("lone surrogate".into())),
        (b"\"\xff\"", Some("not UTF-8".into())),
        (b"\"\xed\xa0\x80\"", Some("not UTF-8".into())),
        (b"[[[[[[[[[]]]]]]]]]", Some("nested deeper".into())),
        (b"\xef\xbb\xbf{}", Some("not JSON".into())),
        (b"", Some("not JSON".into())),
        (b"{} {}", Some("not JSON".into())),
        (b"01", Some("not JSON".into())),
        (b"1.", Some("not JSON".into())),
        (b".5", Some("not JSON".into())),
        (b"+1", Some("not JSON".into())),
        (b"NaN", Some("not JSON".into())),
        (b"[1,]", Some("not JSON".into())),
        (b"{\"a\":1,}", Some("not JSON".into())),
        (b"{a:1}", Some("not JSON".into())),
        (b"'a'", Some("not JSON".into())),
        (b"\"\t\"", Some("not JSON".into())),
        (b"\"\\x41\"", Some("not JSON".into())),
        (b"// c\n1", Some("not JSON".into())),
        (b"[[[[[[[[]]]]]]]]", None),
        (br#"{"a":1,"A":2}"#, None),
        (br#""\ud83d\ude00""#, None),
        (b" \r\n\t{ \"a\" : [ 1e400 , -0 ] } ", None),
    ];
    for (text, refusal) in cases {
        let shown = String::from_utf8_lossy(text);
        match (parse(text), refusal) {
            (Ok(_), None) => {}
            (Err(e), Some(word)) => assert!(e.to_string().contains(word.as_str()), "{shown}: {e}"),
            (result, _) => panic!("{shown}: {result:?}"),
        }
    }
}

#[test]
fn every_bound_holds() {
    let limits = JsonLimits { bytes_max: 40, depth_max: 2, members_max: 3 };
    let error = |text: &str| Json::parse(text.as_bytes(), &limits).unwrap_err();
    assert_eq!(error(&" ".repeat(41)), JsonError::TooLong { max: 40 });
    assert_eq!(error("[[[]]]"), JsonError::TooDeep { max: 2 });
    assert_eq!(error(r#"{"a":1,"b":2,"c":3,"d":4}"#), JsonError::TooManyMembers { max: 3 });
    assert!(Json::parse(br#"{"a":1,"b":2,"c":3}"#, &limits).is_ok());
    // Duplicates are found beyond the size at which the search changes its method.
    let members: Vec<String> = (0..40).map(|n| format!("\"k{}\":0", n % 39)).collect();
    let text = format!("{{{}}}", members.join(","));
    assert!(
        matches!(parse(text.as_bytes()), Err(JsonError::Duplicate { name, .. }) if name == "k0")
    );
}

#[test]
fn numbers_keep_their_spelling() {
    for text in ["1", "1.0", "1e0", "-0", "0.10", "1E+2", "123456789012345678901234567890"] {
        let json = parse(text.as_bytes()).unwrap();
        assert_eq!(json.to_bytes(), text.as_bytes());
        assert_eq!(json.to_canonical(), text.as_bytes());
    }
    assert_ne!(parse(b"1").unwrap(), parse(b"1.0").unwrap());
    assert_eq!(Json::from(Number::from(-7)), parse(b"-7").unwrap());
}

/// RFC 8785 §3.2.3: sorting by UTF-16 code units, and the literal and string part of §3.2.2.
#[test]
fn canonical_bytes_follow_rfc_8785() {
    let cases: &[(&str, &str)] = &[
        (
            // RFC 8785 §3.2.3, with its values.
            "{\"\\u20ac\":\"Euro Sign\",\"\\r\":\"Carriage Return\",\"\\ufb33\":\"Hebrew Letter Dalet With Dagesh\",\
             \"1\":\"One\",\"\\ud83d\\ude00\":\"Emoji: Grinning Face\",\"\\u0080\":\"Control\",\
             \"\\u00f6\":\"Latin Small Letter O With Diaeresis\"}",
            "{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\u{80}\":\"Control\",\
             \"\u{f6}\":\"Latin Small Letter O With Diaeresis\",\"\u{20ac}\":\"Euro Sign\",\
             \"\u{1f600}\":\"Emoji: Grinning Face\",\"\u{fb33}\":\"Hebrew Letter Dalet With Dagesh\"}",
        ),
        (
            // RFC 8785 §3.2.2, strings and literals.
            "{\"string\": \"\\u20ac$\\u000F\\u000aA'\\u0042\\u0022\\u005c\\\\\\\"\\/\", \"literals\": [null, true, false]}",
            "{\"literals\":[null,true,false],\"string\":\"\u{20ac}$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}",
        ),
        ("{\"b\":{\"z\":1,\"a\":-1},\"a\":[ 2 ,{} ]}", "{\"a\":[2,{}],\"b\":{\"a\":-1,\"z\":1}}"),
        ("\"\\u0000\\u001f\\u007f\\u2028\"", "\"\\u0000\\u001f\u{7f}\u{2028}\""),
        ("[9007199254740991,-9007199254740991,0]", "[9007199254740991,-9007199254740991,0]"),
    ];
    for (text, canonical) in cases {
        let ours = parse(text.as_bytes()).unwrap().to_canonical();
        assert_eq!(String::from_utf8(ours).unwrap(), *canonical);
    }
}
