use super::fake::{answer, event, events, eventually, session, stateless};
use super::*;
use crate::Event;

#[tokio::test]
async fn a_session_is_listened_to_and_questions_outside_of_calls_are_answered() {
    let fake = fake::Fake::start(|seen| {
        Box::pin(async move {
            if seen.verb != "GET" {
                return session(&seen).unwrap();
            }
            let (stream, reply) = events();
            if seen.header("last-event-id").is_none() {
                // Then it ends, and is opened again from there.
                stream.send("id: e-1\nretry: 1\ndata: {\"jsonrpc\":\"2.0\",\"id\":5,\"method\":\"roots/list\"}\n\n".to_owned()).unwrap();
            } else {
                stream.send(event(r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#)).unwrap();
                tokio::spawn(async move { stream.closed().await });
            }
            reply
        })
    })
    .await;
    let gate = gate(&[("up", declared(&fake.url))]);
    let who = caller(Era::Sessions);
    let mut heard = gate.listen(&name("up"), &who).await;
    let Some(Event::Request { id, method, .. }) = heard.recv().await else { panic!() };
    assert_eq!(method, "roots/list");
    gate.answer(&name("up"), &who, &id, Ok(json(r#"{"roots":[]}"#))).await.unwrap();
    let answered = eventually(|| {
        fake.seen().into_iter().find(|seen| seen.method().is_empty() && seen.verb == "POST")
    })
    .await;
    assert_eq!(answered.body.to_string(), r#"{"jsonrpc":"2.0","id":5,"result":{"roots":[]}}"#);
    let Some(Event::Notification { method, .. }) = heard.recv().await else { panic!() };
    assert_eq!(method, "notifications/tools/list_changed");
}

#[tokio::test]
async fn a_caller_with_a_session_hears_of_changes_at_a_stateless_upstream() {
    let fake = fake::Fake::start(|seen| {
        Box::pin(async move {
            match seen.method() {
                "server/discover" => answer(&seen, r#"{"supportedVersions":["2026-07-28"],"capabilities":{"tools":{"listChanged":true}}}"#),
                "subscriptions/listen" => {
                    let (stream, reply) = events();
                    let mark = format!(r#"{{"_meta":{{"io.modelcontextprotocol/subscriptionId":{}}}}}"#, seen.id());
                    for method in ["subscriptions/acknowledged", "prompts/list_changed", "tools/list_changed"] {
                        stream.send(event(&format!(r#"{{"jsonrpc":"2.0","method":"notifications/{method}","params":{mark}}}"#))).unwrap();
                    }
                    tokio::spawn(async move { stream.closed().await });
                    reply
                }
                _ => stateless(&seen).unwrap(),
            }
        })
    })
    .await;
    let gate = gate(&[("up", declared(&fake.url))]);
    let mut heard = gate.listen(&name("up"), &caller(Era::Sessions)).await;
    let Some(Event::Notification { method, params }) = heard.recv().await else { panic!() };
    assert_eq!(method, "notifications/tools/list_changed");
    assert!(params.is_empty());
    let asked = fake.of("subscriptions/listen")[0]
        .body
        .at(&["params", "notifications"])
        .unwrap()
        .to_string();
    assert_eq!(asked, r#"{"toolsListChanged":true}"#);
}

#[tokio::test]
async fn an_upstream_without_a_stream_is_not_asked_again() {
    let fake =
        fake::with_sessions(|_| Box::pin(async { fake::reply(405, "text/plain", "") })).await;
    let gate = gate(&[("up", declared(&fake.url))]);
    let mut heard = gate.listen(&name("up"), &caller(Era::Sessions)).await;
    assert!(heard.recv().await.is_none());
    assert_eq!(fake.seen().iter().filter(|seen| seen.verb == "GET").count(), 1);
}

#[tokio::test]
async fn notifications_of_the_client_reach_its_session_only() {
    let fake = fake::with_sessions(|seen| Box::pin(async move { answer(&seen, "{}") })).await;
    let gate = gate(&[("up", declared(&fake.url))]);
    let who = caller(Era::Sessions);
    let up = name("up");
    let say = |method: &'static str| gate.notify(&up, &who, method, Object::new());
    // Nobody is there yet who could be told.
    say("notifications/roots/list_changed").await.unwrap();
    assert!(fake.seen().is_empty());
    finish(gate.launch(tool("up", "t", "{}"), Arc::clone(&who))).await;
    say("notifications/roots/list_changed").await.unwrap();
    say("notifications/initialized").await.unwrap();
    assert_eq!(fake.of("notifications/roots/list_changed").len(), 1);
    assert_eq!(fake.of("notifications/initialized").len(), 1);
}
