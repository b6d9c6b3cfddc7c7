//! Obligations hold on every way by which something of an upstream's reaches the client.

use crate::bed::{Bed, Plan, identity, json, params};
use crate::upstream::{Fake, answer, error, events, notification, question, text_result};
use lockgate_kernel::Answer;
use lockgate_types::Json;
use std::sync::{Arc, Mutex};

const POLICY: &str = r#"
@id("hide")
@obligation_redact("pii:email,customer.phone")
@obligation_mask("iban")
permit (principal, action in [Action::"desk/look", Action::"desk/save"], resource);
"#;

/// What no client may see, in any answer.
const SECRETS: [&str; 4] = ["ada@mail.example", "555 0100", "DE8937040044", "0100-in-a-log"];

fn without_secrets(text: &str) {
    for secret in SECRETS {
        assert!(!text.contains(secret), "`{secret}` in {text}");
    }
}

#[tokio::test]
async fn results_are_redacted_and_so_are_their_records() {
    let body = r#"{"customer":{"phone":"555 0100","mail":"ada@mail.example"},"iban":"DE89370400440532013000","by":{"ada@mail.example":1}}"#;
    let result = format!(
        r#"{{"content":[{{"type":"text","text":{}}},{{"type":"resource_link","uri":"crm:ada@mail.example","name":"ada@mail.example"}},{{"type":"resource","resource":{{"uri":"x:y","text":"phone 555 0100"}}}},{{"type":"image","data":"QUFB","mimeType":"image/png"}}],"structuredContent":{body},"_meta":{{"owner":"ada@mail.example"}},"extra":["ada@mail.example"]}}"#,
        Json::from(body)
    );
    let fake = Fake::start("[]", move |seen| {
        let result = result.clone();
        Box::pin(async move { answer(&seen, &result) })
    })
    .await;
    let bed = Bed::with(fake, Plan::policy(POLICY)).await;
    let done = bed.tool("look", "{}").await;
    let result = done.result();
    without_secrets(&result);
    assert!(result.contains("****3000") && result.contains("[withheld"), "{result}");
    assert!(!result.contains("QUFB"));
    let trace = bed.trace(&done.reply.call).await;
    let lockgate_store::Payload::Present(parts) = &trace.entries[1].payload else { panic!() };
    assert_eq!(String::from_utf8_lossy(&parts[0].bytes), result);
    assert!(trace.entries[1].leaf.get("redactions").unwrap().as_i64().unwrap() >= 10);
    bed.audit().await;
}

#[tokio::test]
async fn errors_are_redacted() {
    let fake = Fake::start("[]", |seen| {
        let body = r#"{"code":-1,"message":"no ada@mail.example","data":{"customer":{"phone":"555 0100"},"m":["ada@mail.example"]}}"#;
        Box::pin(async move { error(&seen, body) })
    })
    .await;
    let bed = Bed::with(fake, Plan::policy(POLICY)).await;
    let done = bed.tool("save", "{}").await;
    let Answer::Error(error) = &done.reply.answer else { panic!() };
    without_secrets(&error.to_json().to_string());
    bed.audit().await;
}

#[tokio::test]
async fn what_is_said_in_mid_call_is_redacted_before_the_client_hears_it() {
    let waiting = Arc::new(Mutex::new(None));
    let fake = Fake::start("[]", move |seen| {
        if seen.method().is_empty() {
            let (stream, call): (crate::upstream::Events, crate::upstream::Seen) =
                waiting.lock().unwrap().take().unwrap();
            stream.finish(&call, &text_result("{}"));
            return Box::pin(async { crate::upstream::accepted() });
        }
        let (stream, reply) = events();
        for params in [
            r#"{"level":"info","data":"for ada@mail.example 0100-in-a-log"}"#,
            r#"{"level":"info","data":{"customer":{"phone":"555 0100"},"iban":"DE89370400440532013000"}}"#,
        ] {
            stream.say(&notification("notifications/message", params));
        }
        let form = r#"{"message":"is it ada@mail.example, 555 0100?","requestedSchema":{"type":"object","properties":{"iban":{"type":"string"}}}}"#;
        stream.say(&question("q", "elicitation/create", form));
        *waiting.lock().unwrap() = Some((stream, seen));
        Box::pin(async move { reply })
    })
    .await;
    let bed = Bed::with(fake, Plan::policy(POLICY)).await;
    let accept = |_: &str, _: &_| Ok(json(r#"{"action":"accept"}"#));
    let call = params("save", "{}");
    let done = bed.call_with(&identity("alice"), "tools/call", call, accept).await;
    done.result();
    assert_eq!(done.heard.len(), 3);
    done.heard.iter().for_each(|heard| without_secrets(heard));
    // What a form asks for stays what it is.
    assert!(done.heard[2].contains(r#""iban":{"type":"string"}"#), "{:?}", done.heard);
    // What the client is asked is recorded as it is asked.
    let trace = bed.trace(&done.reply.call).await;
    let lockgate_store::Payload::Present(parts) = &trace.entries[1].payload else { panic!() };
    parts.iter().for_each(|part| without_secrets(&String::from_utf8_lossy(&part.bytes)));
    assert!(trace.entries[3].leaf.get("redactions").unwrap().as_i64().unwrap() >= 3);
    bed.audit().await;
}

#[tokio::test]
async fn a_cap_holds_for_blocks_and_rows() {
    let policy = r#"
        @obligation_cap("2")
        permit (principal, action == Action::"desk/look", resource);"#;
    let fake = Fake::start("[]", |seen| {
        let block = r#"{"type":"text","text":"[1,2,3]"}"#;
        let result = format!(r#"{{"content":[{block},{block},{block}],"rows":[1,2,3]}}"#);
        Box::pin(async move { answer(&seen, &result) })
    })
    .await;
    let bed = Bed::with(fake, Plan::policy(policy)).await;
    let block = r#"{"type":"text","text":"[1,2]"}"#;
    let expected = format!(r#"{{"content":[{block},{block}],"rows":[1,2]}}"#);
    assert_eq!(bed.tool("look", "{}").await.result(), expected);
    bed.audit().await;
}
