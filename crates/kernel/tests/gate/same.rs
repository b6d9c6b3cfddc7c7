//! I2: what was authorised is what is sent.

use crate::bed::{Bed, identity, object, params};
use crate::upstream::{Fake, says};
use lockgate_types::{Code, Json};

/// Params whose meaning would change if anybody parsed them into something poorer.
const PARAMS: &str = r#"{"name":"save","zz":{"kept":[1.0]},"arguments":{"note":{"b":1e0,"a":1.0,"c":10000000000000000000001,"é":"\u0000\"\\"},"amount":1.50,"deep":{"z":null,"y":-0,"Y":[[],{}]}},"_meta":{"x/y":1E+2,"progressToken":"7"}}"#;

#[tokio::test]
async fn the_upstream_gets_what_policy_saw_and_the_record_holds() {
    let bed = Bed::new(Fake::start("[]", says("done")).await).await;
    let proposed = object(PARAMS);
    let done = bed.call(&identity("alice"), "tools/call", proposed.clone()).await;
    done.result();

    let seen = &bed.fake.of("tools/call")[0];
    let sent = seen.body.get("params").unwrap();
    // Members in their order, numbers in their spelling, unknown members kept: byte for byte.
    assert_eq!(sent.to_string(), Json::from(proposed).to_string());
    let arrived = String::from_utf8(seen.bytes.to_vec()).unwrap();
    assert!(arrived.contains(&format!(r#""params":{sent}"#)), "{arrived}");
    // And the record holds the same value, of which the decision was made.
    let recorded = bed.part(&done.reply.call, "call").await;
    let recorded = recorded.get("params").unwrap();
    assert_eq!(recorded.to_canonical(), sent.to_canonical());
    assert!(recorded.to_string().contains(r#""a":1.0,"b":1e0,"c":10000000000000000000001"#));
    assert_eq!(bed.audit().await, 1);
}

#[tokio::test]
async fn arguments_that_policy_does_not_see_are_refused() {
    let bed = Bed::new(Fake::start("[]", says("done")).await).await;
    for (tool, arguments) in [
        ("save", r#"{"amount":1,"extra":2}"#),
        ("save", r#"{"Amount":1}"#),
        ("sealed", r#"{"anything":1}"#),
        // Where others are allowed, a name that an upstream may read as a declared one is not.
        ("open", r#"{"Amount":9000}"#),
        ("open", r#"{"amount":1,"AMOUNT":9000}"#),
        ("save", r#"{"amount":"1"}"#),
    ] {
        let refused = bed.tool(tool, arguments).await;
        let expected =
            if tool == "sealed" { Code::AgentNotPermitted } else { Code::ArgumentsRefused };
        assert_eq!(refused.code(), expected, "{tool} {arguments}");
    }
    assert!(bed.fake.of("tools/call").is_empty());
    bed.tool("open", r#"{"amount":1,"other":2}"#).await.result();
    assert_eq!(bed.audit().await, 7);
}

#[tokio::test]
async fn a_method_means_what_it_is_called_and_travels_one_way() {
    let bed = Bed::new(Fake::start("[]", says("done")).await).await;
    let alice = identity("alice");
    for (method, code) in [
        ("tools/Call", Code::OperationUndeclared),
        ("desk/look", Code::OperationUndeclared),
        ("roots/list", Code::UnknownMethod),
        ("elicitation/create", Code::UnknownMethod),
    ] {
        let refused = bed.call(&alice, method, params("look", "{}")).await;
        assert_eq!(refused.code(), code, "{method}");
    }
    let shapeless = object(r#"{"name":"look","arguments":[]}"#);
    let refused = bed.call(&alice, "tools/call", shapeless).await;
    assert_eq!(refused.code(), Code::ParamsNotObject);
    assert!(bed.fake.of("tools/call").is_empty());
    // Also what came to no decision is in the log.
    let away = bed.story().await.iter().filter(|line| line.starts_with("turned_away")).count();
    assert_eq!(away, 3);
    bed.audit().await;
}
