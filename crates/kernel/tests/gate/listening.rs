//! What an upstream says outside of calls is heard under one decision: its obligations hold for as
//! long as the bundle that made it rules.

use crate::bed::{Bed, Plan, caller, identity, json, soon};
use crate::upstream::{Events, Fake, notification, question, says};
use lockgate_kernel::ToClient;
use lockgate_types::{CallId, Json};
use tokio::sync::mpsc;

const LISTEN: &str = r#"
@id("listen")
@obligation_redact("pii:email,customer.phone")
@obligation_mask("iban")
permit (principal, action == Action::"desk:subscriptions/listen", resource);
"#;

/// What nobody who listens may hear.
const SECRETS: [&str; 3] = ["ada@mail.example", "555 0100", "DE8937040044"];

fn without_secrets(text: &str) {
    for secret in SECRETS {
        assert!(!text.contains(secret), "`{secret}` in {text}");
    }
}

/// A gate whose upstream speaks through the stream while alice listens.
async fn bed() -> (Bed, Events, mpsc::Receiver<ToClient>) {
    let fake = Fake::start("[]", says("done")).await;
    let stream = fake.speak_outside();
    let bed = Bed::with(fake, Plan::policy(LISTEN)).await;
    let (alice, upstream) = (identity("alice"), "desk".parse().unwrap());
    let heard = bed.kernel.listen(&alice, None, &caller(&alice), &upstream).await;
    (bed, stream, heard)
}

async fn notified(heard: &mut mpsc::Receiver<ToClient>) -> String {
    match soon(heard.recv()).await {
        Some(ToClient::Notification { method, params }) => {
            format!("{method} {}", Json::from(params))
        }
        Some(_) => panic!("no notification"),
        None => panic!("listening ended"),
    }
}

/// The call that listening is, once its end is recorded.
async fn concluded(bed: &Bed) -> CallId {
    let looking = async {
        loop {
            let entries = bed.entries().await;
            let word = |entry: &Json, name| entry.get(name)?.as_str().map(str::to_owned);
            let is_listening = |entry: &&Json| {
                word(entry, "operation").as_deref() == Some("desk:subscriptions/listen")
            };
            let call = entries.iter().find(is_listening).and_then(|entry| word(entry, "call"));
            let is_over = entries.iter().any(|entry| {
                word(entry, "k").as_deref() == Some("outcome") && word(entry, "call") == call
            });
            if is_over {
                return CallId::new(&call.unwrap()).unwrap();
            }
        }
    };
    soon(looking).await
}

#[tokio::test]
async fn what_is_heard_outside_of_calls_meets_the_obligations_of_listening() {
    let (bed, stream, mut heard) = bed().await;
    for params in [
        r#"{"level":"info","data":"for ada@mail.example"}"#,
        r#"{"level":"info","data":{"customer":{"phone":"555 0100"},"iban":"DE89370400440532013000"}}"#,
    ] {
        stream.say(&notification("notifications/message", params));
        let said = notified(&mut heard).await;
        assert!(said.starts_with("notifications/message"), "{said}");
        without_secrets(&said);
    }
    let form = r#"{"message":"is it ada@mail.example?","requestedSchema":{"type":"object","properties":{}}}"#;
    stream.say(&question("q", "elicitation/create", form));
    let Some(ToClient::Request { params, answer, .. }) = soon(heard.recv()).await else { panic!() };
    let asked = Json::from(params).to_string();
    without_secrets(&asked);
    assert!(asked.contains("requestedSchema"), "{asked}");
    answer.send(Ok(json(r#"{"action":"decline"}"#))).unwrap();
    let answers = soon(bed.fake.until("", 1)).await;
    assert_eq!(answers[0].id(), r#""q""#);
    drop(heard);
    let trace = bed.trace(&concluded(&bed).await).await;
    let outcome = trace.entries.last().unwrap();
    assert!(outcome.leaf.get("redactions").unwrap().as_i64().unwrap() >= 3, "{}", outcome.leaf);
    // What the client was asked is recorded as it was asked.
    for entry in &trace.entries {
        let lockgate_store::Payload::Present(parts) = &entry.payload else { continue };
        parts.iter().for_each(|part| without_secrets(&String::from_utf8_lossy(&part.bytes)));
    }
    assert_eq!(bed.audit().await, 2);
}

#[tokio::test]
async fn listening_ends_with_the_bundle_that_allowed_it() {
    let (bed, stream, mut heard) = bed().await;
    let message = notification("notifications/message", r#"{"level":"info","data":"hello"}"#);
    stream.say(&message);
    notified(&mut heard).await;
    // The same upstream stays; whoever may listen now has to be decided anew.
    bed.load(Plan::new()).await;
    stream.say(&message);
    assert!(soon(heard.recv()).await.is_none(), "heard under a bundle that does not permit it");
    concluded(&bed).await;
    assert_eq!(bed.story().await, ["intent desk:subscriptions/listen", "outcome succeeded"]);
    bed.audit().await;
}

#[tokio::test]
async fn a_question_outside_of_calls_is_not_put_under_another_bundle() {
    let (bed, stream, mut heard) = bed().await;
    stream.say(&notification("notifications/message", r#"{"level":"info","data":"hello"}"#));
    notified(&mut heard).await;
    bed.load(Plan::policy("// another bundle, which does not permit to listen")).await;
    stream.say(&question("q", "elicitation/create", r#"{"message":"?"}"#));
    assert!(soon(heard.recv()).await.is_none(), "asked under a bundle that does not permit it");
    concluded(&bed).await;
    assert!(!bed.story().await.iter().any(|line| line.contains("elicitation")));
    bed.audit().await;
}

#[tokio::test]
async fn what_is_heard_is_known_while_the_stream_goes_on() {
    let fake = Fake::start("[]", says("done")).await;
    let stream = fake.speak_outside();
    let after = r#"
        @id("after")
        forbid (principal, action == Action::"desk/save", resource)
        when { context.history.contains("origin:anyone") };"#;
    let bed = Bed::with(fake, Plan::policy(&format!("{LISTEN}{after}"))).await;
    let (alice, upstream) = (identity("alice"), "desk".parse().unwrap());
    let mut heard = bed.kernel.listen(&alice, None, &caller(&alice), &upstream).await;
    stream.say(&notification("notifications/message", r#"{"level":"info","data":"do this"}"#));
    notified(&mut heard).await;
    assert_eq!(bed.tool("save", "{}").await.code(), lockgate_types::Code::Forbidden);
    drop(heard);
    concluded(&bed).await;
    bed.audit().await;
}
