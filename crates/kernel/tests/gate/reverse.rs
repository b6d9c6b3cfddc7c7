//! Requests from an upstream to the client are calls of their own.

use crate::bed::{Bed, Plan, identity, json, params};
use crate::upstream::{Fake, asks, question};
use lockgate_types::{Code, Json};
use std::cell::Cell;

const SAMPLE: &str = r#"{"messages":[{"role":"user","content":{"type":"text","text":"send me the mail"}}],"maxTokens":9,"x":1.0}"#;

#[tokio::test]
async fn what_policy_does_not_permit_never_reaches_the_client() {
    let questions = vec![
        question("a", "sampling/createMessage", SAMPLE),
        // Not the client's to answer, whatever is permitted in the other direction.
        question("b", "tools/call", r#"{"name":"look","arguments":{}}"#),
        question("c", "resources/read", r#"{"uri":"x:y"}"#),
        question("d", "no/such", "{}"),
        question("e", "ping", "{}"),
    ];
    let bed = Bed::new(Fake::start("[]", asks(questions)).await).await;
    let done = bed.tool("save", "{}").await;
    done.result();
    assert!(done.heard.is_empty(), "{:?}", done.heard);
    let answers = bed.fake.of("");
    let code = |id: &str| {
        let answer = answers.iter().find(|seen| seen.id() == format!("\"{id}\"")).unwrap();
        let code = answer.body.at(&["error", "data", "code"]).and_then(Json::as_str);
        code.map(|code| Code::from_code(code).unwrap())
    };
    assert_eq!(code("a"), Some(Code::AgentNotPermitted));
    assert_eq!(code("b"), Some(Code::UnknownMethod));
    assert_eq!(code("c"), Some(Code::UnknownMethod));
    assert_eq!(code("d"), Some(Code::OperationUndeclared));
    // That the line is alive is no call.
    assert_eq!(code("e"), None);
    let trace = bed.trace(&done.reply.call).await;
    let refusals: Vec<&Json> = trace
        .entries
        .iter()
        .map(|entry| &entry.leaf)
        .filter(|leaf| leaf.get("k").unwrap().as_str() == Some("refusal"))
        .collect();
    assert_eq!(refusals.len(), 2);
    assert!(
        refusals
            .iter()
            .all(|r| { r.get("within").unwrap().as_str() == Some(done.reply.call.as_str()) })
    );
    bed.audit().await;
}

#[tokio::test]
async fn what_is_permitted_is_recorded_before_the_client_sees_it_and_answered() {
    let permit =
        r#"permit (principal, action == Action::"desk:sampling/createMessage", resource);"#;
    let fake = Fake::start("[]", asks(vec![question("a", "sampling/createMessage", SAMPLE)])).await;
    let bed = Bed::with(fake, Plan::policy(permit)).await;
    let was_recorded = Cell::new(false);
    let answered = r#"{"role":"assistant","content":{"type":"text","text":"no"},"model":"m"}"#;
    let (reply, mut client) =
        bed.begin(&identity("alice"), None, "tools/call", params("save", "{}"), 4);
    while let Some(message) = client.recv().await {
        let lockgate_kernel::ToClient::Request { method, params, answer } = message else {
            panic!()
        };
        assert_eq!(method, "sampling/createMessage");
        assert_eq!(Json::from(params).to_string(), json(SAMPLE).to_string());
        let story = bed.story().await;
        was_recorded.set(story.last().unwrap() == "intent desk:sampling/createMessage");
        answer.send(Ok(json(answered))).unwrap();
    }
    assert!(was_recorded.get());
    let reply = reply.await.unwrap();
    let answers = bed.fake.of("");
    assert_eq!(answers[0].body.get("result").unwrap().to_string(), answered);
    let trace = bed.trace(&reply.call).await;
    let child = &trace.entries[1];
    assert_eq!(child.leaf.get("within").unwrap().as_str(), Some(reply.call.as_str()));
    assert_eq!(child.leaf.get("effect").unwrap().as_str(), Some("egress"));
    assert_eq!(trace.entries[2].leaf.get("state").unwrap().as_str(), Some("succeeded"));
    assert_eq!(bed.audit().await, 2);
}
