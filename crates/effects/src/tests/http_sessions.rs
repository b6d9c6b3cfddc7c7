use super::fake::{answer, done, event, events, eventually, text, with_sessions};
use super::*;
use crate::exchange::Signal;
use lockgate_core::declare::Secret;
use lockgate_types::Code;
use std::sync::atomic::{AtomicU32, Ordering};

#[tokio::test]
async fn a_call_is_answered_in_json_within_one_session() {
    let fake = with_sessions(|seen| Box::pin(async move { answer(&seen, &text("hi")) })).await;
    let gate = gate(&[("up", declared(&fake.url))]);
    for _ in 0..2 {
        let running = gate.launch(tool("up", "t", r#"{"a":1.50}"#), caller(Era::Sessions));
        let (said, end) = finish(running).await;
        assert!(said.is_empty());
        assert_eq!(result(end).to_string(), text("hi"));
    }
    assert_eq!(fake.of("initialize").len(), 1);
    assert_eq!(fake.of("notifications/initialized").len(), 1);
    let opening = &fake.of("initialize")[0].body;
    assert_eq!(
        opening.at(&["params", "clientInfo"]).unwrap().to_string(),
        r#"{"name":"c","version":"1","x":[1]}"#
    );
    assert_eq!(
        opening.at(&["params", "capabilities"]).unwrap().to_string(),
        r#"{"elicitation":{},"sampling":{}}"#
    );
    let calls = fake.of("tools/call");
    assert_eq!(
        calls[0].body.get("params").unwrap().to_string(),
        r#"{"name":"t","arguments":{"a":1.50}}"#
    );
    assert_eq!(calls[0].header("mcp-session-id"), Some("s-1"));
    assert_eq!(calls[0].header("mcp-protocol-version"), Some("2025-11-25"));
    assert_eq!(calls[0].header("authorization"), None);
    assert_ne!(calls[0].id(), calls[1].id());
}

#[tokio::test]
async fn notifications_and_questions_pass_during_a_call() {
    let fake = with_sessions(|seen| {
        Box::pin(async move {
            let (stream, reply) = events();
            let progress = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":7,"progress":1,"x":2}}"#;
            let question = r#"{"jsonrpc":"2.0","id":"q-1","method":"elicitation/create","params":{"message":"?"}}"#;
            stream.send(event(progress)).unwrap();
            stream.send(event(question)).unwrap();
            tokio::spawn(async move {
                // The answer arrives as a request of its own; the test checks it.
                stream.send(done(&seen, &text("ok"))).unwrap();
            });
            reply
        })
    })
    .await;
    let gate = gate(&[("up", declared(&fake.url))]);
    let mut running = gate.launch(tool("up", "t", "{}"), caller(Era::Sessions));
    let Signal::Notification { method, params } = running.next().await else { panic!() };
    assert_eq!(method, "notifications/progress");
    assert_eq!(Json::from(params).to_string(), r#"{"progressToken":7,"progress":1,"x":2}"#);
    let Signal::Request { id, method, .. } = running.next().await else { panic!() };
    assert_eq!(method, "elicitation/create");
    running.command(Command::Answer { id, outcome: Ok(json(r#"{"action":"accept"}"#)) });
    let Signal::End(end) = running.next().await else { panic!() };
    assert_eq!(result(end).to_string(), text("ok"));
}

#[tokio::test]
async fn the_answer_to_a_question_reaches_the_upstream_before_the_call_ends() {
    let waiting: Arc<std::sync::Mutex<Option<tokio::sync::mpsc::UnboundedSender<String>>>> =
        Arc::default();
    let (waiting_too, call_id) =
        (Arc::clone(&waiting), Arc::new(std::sync::Mutex::new(String::new())));
    let fake = fake::Fake::start(move |seen| {
        let (waiting, call_id) = (Arc::clone(&waiting_too), Arc::clone(&call_id));
        Box::pin(async move {
            if seen.method() == "tools/call" {
                let (stream, reply) = events();
                stream
                    .send(event(r#"{"jsonrpc":"2.0","id":9,"method":"sampling/createMessage"}"#))
                    .unwrap();
                *call_id.lock().unwrap() = seen.id();
                *waiting.lock().unwrap() = Some(stream);
                return reply;
            }
            if seen.method().is_empty() && seen.body.get("result").is_some() {
                let said = seen.body.get("result").unwrap().to_string();
                let id = call_id.lock().unwrap().clone();
                let stream = waiting.lock().unwrap().take().unwrap();
                stream
                    .send(event(&format!(
                        r#"{{"jsonrpc":"2.0","id":{id},"result":{{"echo":{said},"of":{}}}}}"#,
                        seen.id()
                    )))
                    .unwrap();
            }
            fake::session(&seen).unwrap()
        })
    })
    .await;
    let gate = gate(&[("up", declared(&fake.url))]);
    let running = gate.launch(tool("up", "t", "{}"), caller(Era::Sessions));
    let (said, end) = finish_with(running, |_, _| Ok(json(r#"{"role":"assistant"}"#))).await;
    assert_eq!(said, ["sampling/createMessage?"]);
    assert_eq!(result(end).to_string(), r#"{"echo":{"role":"assistant"},"of":9}"#);
}

#[tokio::test]
async fn a_stream_that_ends_is_taken_up_again() {
    let fake = with_sessions(|seen| {
        Box::pin(async move {
            let (stream, reply) = events();
            if seen.verb == "GET" {
                assert_eq!(seen.header("last-event-id"), Some("e-1"));
                assert_eq!(seen.header("mcp-session-id"), Some("s-1"));
                // The id of the only call so far.
                stream.send(event(r#"{"jsonrpc":"2.0","id":2,"result":{"late":true}}"#)).unwrap();
                return reply;
            }
            assert_eq!(seen.id(), "2");
            stream.send("id: e-1\nretry: 20\ndata: \n\n".to_owned()).unwrap();
            reply
        })
    })
    .await;
    let gate = gate(&[("up", declared(&fake.url))]);
    let (said, end) = finish(gate.launch(tool("up", "t", "{}"), caller(Era::Sessions))).await;
    assert_eq!(said, ["closed Some(20)"]);
    assert_eq!(result(end).to_string(), r#"{"late":true}"#);
}

#[tokio::test]
async fn a_stream_that_cannot_be_taken_up_again_is_truncated() {
    let gets = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&gets);
    let fake = with_sessions(move |seen| {
        let gets = Arc::clone(&counted);
        Box::pin(async move {
            if seen.verb == "GET" {
                gets.fetch_add(1, Ordering::Relaxed);
            }
            let (stream, reply) = events();
            if seen.tool() == "primed" {
                stream.send("id: e-1\nretry: 1\n\n".to_owned()).unwrap();
            }
            reply
        })
    })
    .await;
    let gate = gate(&[("up", declared(&fake.url))]);
    for tool_name in ["bare", "primed"] {
        let running = gate.launch(tool("up", tool_name, "{}"), caller(Era::Sessions));
        let (_, end) = finish(running).await;
        let End::Failed { code, dispatched, .. } = end else { panic!("{end:?}") };
        assert_eq!((code, dispatched), (Code::UpstreamTruncated, true));
    }
    assert_eq!(gets.load(Ordering::Relaxed), 5);
}

#[tokio::test]
async fn a_forgotten_session_is_opened_again_once() {
    let fake = with_sessions(|seen| {
        Box::pin(async move {
            match seen.id().as_str() {
                "2" => fake::error(&seen, 404, -32600),
                _ => answer(&seen, "{}"),
            }
        })
    })
    .await;
    let gate = gate(&[("up", declared(&fake.url))]);
    let (_, end) = finish(gate.launch(tool("up", "t", "{}"), caller(Era::Sessions))).await;
    assert_eq!(result(end).to_string(), "{}");
    assert_eq!(fake.of("initialize").len(), 2);
    let ids: Vec<String> = fake.of("tools/call").iter().map(fake::Seen::id).collect();
    assert_eq!(ids, ["2", "4"]);
}

#[tokio::test]
async fn callers_have_sessions_of_their_own_and_end_them() {
    let fake = with_sessions(|seen| Box::pin(async move { answer(&seen, "{}") })).await;
    let gate = gate(&[("up", declared(&fake.url))]);
    let alice = caller(Era::Sessions);
    let bob = Arc::new(Caller { session_key: "bob".to_owned(), ..(*alice).clone() });
    for who in [&alice, &bob] {
        finish(gate.launch(tool("up", "t", "{}"), Arc::clone(who))).await;
    }
    assert_eq!(fake.of("initialize").len(), 2);
    gate.close_session("alice").await;
    eventually(|| fake.seen().into_iter().find(|seen| seen.verb == "DELETE")).await;
    finish(gate.launch(tool("up", "t", "{}"), bob)).await;
    finish(gate.launch(tool("up", "t", "{}"), alice)).await;
    assert_eq!(fake.of("initialize").len(), 3);
}

#[tokio::test]
async fn a_dropped_exchange_does_not_cancel_the_call() {
    let (release, released) = tokio::sync::oneshot::channel::<()>();
    let released = Arc::new(tokio::sync::Mutex::new(Some(released)));
    let (told, mut done) = tokio::sync::mpsc::unbounded_channel();
    let fake = with_sessions(move |seen| {
        let (released, told) = (Arc::clone(&released), told.clone());
        Box::pin(async move {
            released.lock().await.take().unwrap().await.unwrap();
            // Reached only if the connection was not closed meanwhile.
            told.send(()).unwrap();
            answer(&seen, "{}")
        })
    })
    .await;
    let gate = gate(&[("up", declared(&fake.url))]);
    let running = gate.launch(tool("up", "t", "{}"), caller(Era::Sessions));
    fake.until("tools/call").await;
    drop(running);
    release.send(()).unwrap();
    done.recv().await.unwrap();
    eventually(|| (gate.health()[0].in_flight == 0).then_some(())).await;
    assert_eq!(gate.health()[0].state, crate::State::Up);
    assert!(fake.of("notifications/cancelled").is_empty());
}

#[tokio::test]
async fn a_cancelled_call_tells_the_upstream() {
    let fake = with_sessions(|seen| {
        Box::pin(async move {
            let (stream, reply) = events();
            tokio::spawn(async move {
                stream.closed().await;
                drop(seen);
            });
            reply
        })
    })
    .await;
    let gate = gate(&[("up", declared(&fake.url))]);
    let running = gate.launch(tool("up", "t", "{}"), caller(Era::Sessions));
    let id = fake.until("tools/call").await.id();
    running.command(Command::Cancel { reason: Some("enough".to_owned()) });
    let cancelled = fake.until("notifications/cancelled").await;
    let params = cancelled.body.get("params").unwrap().to_string();
    assert_eq!(params, format!(r#"{{"requestId":{id},"reason":"enough"}}"#));
}

#[tokio::test]
async fn credentials_of_the_gate_are_sent_and_nothing_of_the_protocol_can_be_replaced() {
    let fake = with_sessions(|seen| Box::pin(async move { answer(&seen, "{}") })).await;
    let mut good = declared(&fake.url);
    good.headers.insert("x-key".to_owned(), Secret::Text("k".to_owned()));
    let mut bad = declared(&fake.url);
    bad.headers.insert("Mcp-Session-Id".to_owned(), Secret::Text("k".to_owned()));
    let mut unset = declared(&fake.url);
    unset.headers.insert(
        "authorization".to_owned(),
        Secret::Text("env:LOCKGATE_NOT_SET_ANYWHERE".to_owned()),
    );
    let gate = gate(&[("good", good), ("bad", bad), ("unset", unset)]);
    let (_, end) = finish(gate.launch(tool("good", "t", "{}"), caller(Era::Sessions))).await;
    result(end);
    assert_eq!(fake.of("tools/call")[0].header("x-key"), Some("k"));
    for (name, expected) in [("bad", Code::UpstreamUnreachable), ("unset", Code::SecretUnreadable)]
    {
        let (_, end) = finish(gate.launch(tool(name, "t", "{}"), caller(Era::Sessions))).await;
        let End::Failed { code, dispatched, .. } = end else { panic!() };
        assert_eq!((code, dispatched), (expected, false));
    }
}
