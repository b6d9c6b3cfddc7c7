use super::fake::{answer, event, events, eventually, reply, with_sessions, without_sessions};
use super::*;
use lockgate_types::Code;

async fn failure(gate: &Upstreams, upstream: &str, name: &str) -> (Code, bool) {
    let running = gate.launch(tool(upstream, name, "{}"), caller(Era::Sessions));
    match finish(running).await.1 {
        End::Failed { code, dispatched, .. } => (code, dispatched),
        end => panic!("{name}: {end:?}"),
    }
}

/// Every way of not being the protocol, by the name of the tool.
fn misbehave(seen: &fake::Seen) -> fake::Reply {
    let json = |text: &str| reply(200, "application/json", text);
    let id = seen.id();
    match seen.tool() {
        "no json" => json("{"),
        "html" => reply(200, "text/html", "<p>hi"),
        "accepted" => reply(202, "application/json", ""),
        "other id" => json(r#"{"jsonrpc":"2.0","id":999,"result":{}}"#),
        "text id" => json(&format!(r#"{{"jsonrpc":"2.0","id":"{id}","result":{{}}}}"#)),
        "twice" => json(&format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"a":1,"a":2}}}}"#)),
        "both" => json(&format!(
            r#"{{"jsonrpc":"2.0","id":{id},"result":{{}},"error":{{"code":1,"message":""}}}}"#
        )),
        "request" => json(&format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#)),
        "batch" => json(&format!(r#"[{{"jsonrpc":"2.0","id":{id},"result":{{}}}}]"#)),
        "500" => reply(500, "text/plain", "oops"),
        "401" => reply(401, "text/plain", "who?"),
        // With an address to go to, which is not followed.
        "301" | "302" | "303" | "307" | "308" => {
            let mut moved = reply(seen.tool().parse().unwrap(), "text/plain", "");
            moved.headers_mut().insert("location", "/elsewhere".parse().unwrap());
            moved
        }
        "303 in json" => reply(303, "application/json", "{}"),
        "303 in events" => reply(303, "text/event-stream", ""),
        "large" => {
            json(&format!(r#"{{"jsonrpc":"2.0","id":{id},"result":"{}"}}"#, "x".repeat(5000)))
        }
        "event garbage" => {
            let (stream, reply) = events();
            stream.send(event("{")).unwrap();
            reply
        }
        "event of another" => {
            let (stream, reply) = events();
            stream.send(event(r#"{"jsonrpc":"2.0","id":999,"result":{}}"#)).unwrap();
            reply
        }
        "event too large" => {
            let (stream, reply) = events();
            stream.send(format!("data: {}", "x".repeat(20_000))).unwrap();
            tokio::spawn(async move { stream.closed().await });
            reply
        }
        "comments" => {
            let (stream, reply) = events();
            tokio::spawn(async move {
                while stream.send(format!(":{}\n", "x".repeat(1000))).is_ok() {
                    tokio::task::yield_now().await;
                }
            });
            reply
        }
        _ => answer(seen, "{}"),
    }
}

#[tokio::test]
async fn answers_that_are_not_the_protocol() {
    let fake = with_sessions(|seen| Box::pin(async move { misbehave(&seen) })).await;
    let gate = gate_with(&[("up", declared(&fake.url))], 4000);
    for (name, code, dispatched) in [
        ("no json", Code::UpstreamProtocol, true),
        ("html", Code::UpstreamProtocol, true),
        ("accepted", Code::UpstreamProtocol, true),
        ("other id", Code::UpstreamProtocol, true),
        ("text id", Code::UpstreamProtocol, true),
        ("twice", Code::UpstreamProtocol, true),
        ("both", Code::UpstreamProtocol, true),
        ("request", Code::UpstreamProtocol, true),
        ("batch", Code::UpstreamProtocol, true),
        ("500", Code::UpstreamProtocol, true),
        ("401", Code::CredentialRefused, false),
        ("301", Code::RedirectRefused, true),
        ("302", Code::RedirectRefused, true),
        ("303", Code::RedirectRefused, true),
        ("303 in json", Code::RedirectRefused, true),
        ("303 in events", Code::RedirectRefused, true),
        // These ask for the same request again: nothing was done.
        ("307", Code::RedirectRefused, false),
        ("308", Code::RedirectRefused, false),
        ("large", Code::UpstreamTooLarge, true),
        ("event garbage", Code::UpstreamProtocol, true),
        ("event of another", Code::UpstreamProtocol, true),
        ("event too large", Code::UpstreamTooLarge, true),
        ("comments", Code::UpstreamProtocol, true),
    ] {
        assert_eq!(failure(&gate, "up", name).await, (code, dispatched), "{name}");
        // And none of it harms the next call.
        let running = gate.launch(tool("up", "fine", "{}"), caller(Era::Sessions));
        result(finish(running).await.1);
    }
}

#[tokio::test]
async fn questions_are_not_part_of_the_stateless_era() {
    let fake = without_sessions(|_| {
        Box::pin(async move {
            let (stream, reply) = events();
            stream
                .send(event(r#"{"jsonrpc":"2.0","id":1,"method":"sampling/createMessage"}"#))
                .unwrap();
            reply
        })
    })
    .await;
    let gate = gate(&[("up", declared(&fake.url))]);
    let running = gate.launch(stateless_tool("up", "t", "{}"), caller(Era::Stateless));
    let (said, end) = finish(running).await;
    assert!(said.is_empty());
    assert!(matches!(end, End::Failed { code: Code::UpstreamProtocol, .. }), "{end:?}");
}

#[tokio::test]
async fn a_slow_upstream_times_out_and_is_told() {
    let fake = with_sessions(|_| Box::pin(std::future::pending())).await;
    let mut slow = declared(&fake.url);
    slow.timeout_ms = 50;
    let gate = gate(&[("up", slow)]);
    assert_eq!(failure(&gate, "up", "t").await, (Code::UpstreamTimeout, true));
    fake.until("notifications/cancelled").await;
}

#[tokio::test]
async fn an_upstream_that_does_not_open_a_session_times_out_before_anything_left() {
    let fake = fake::Fake::start(|_| Box::pin(std::future::pending())).await;
    let mut slow = declared(&fake.url);
    slow.timeout_ms = 50;
    let gate = gate(&[("up", slow)]);
    assert_eq!(failure(&gate, "up", "t").await, (Code::UpstreamTimeout, false));
}

#[tokio::test]
async fn a_connection_that_is_not_made_in_time_lets_nothing_leave() {
    // It takes connections, and never says who it is.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut slow = declared(&format!("https://{}/mcp", silent.local_addr().unwrap()));
    slow.timeout_ms = 50;
    slow.era = Some(declare::Era::Stateless);
    let gate = gate(&[("up", slow)]);
    let read = object(r#"{"uri":"x:y"}"#).with("_meta", json(META));
    let running = gate.launch(call("up", "resources/read", read), caller(Era::Stateless));
    let (_, end) = finish(running).await;
    let End::Failed { code, dispatched, .. } = end else { panic!("{end:?}") };
    assert_eq!((code, dispatched), (Code::UpstreamTimeout, false));
}

#[tokio::test]
async fn a_busy_upstream_says_so_at_once() {
    let fake = with_sessions(|_| Box::pin(std::future::pending())).await;
    let mut narrow = declared(&fake.url);
    narrow.in_flight_max = 2;
    let gate = gate(&[("up", narrow)]);
    let held: Vec<Running> =
        (0..2).map(|_| gate.launch(tool("up", "t", "{}"), caller(Era::Sessions))).collect();
    eventually(|| (fake.of("tools/call").len() == 2).then_some(())).await;
    assert_eq!(failure(&gate, "up", "t").await, (Code::UpstreamBusy, false));
    assert_eq!(gate.health()[0].in_flight, 2);
    drop(held);
}

#[tokio::test]
async fn one_caller_leaves_places_for_others() {
    let fake = with_sessions(|_| Box::pin(std::future::pending())).await;
    let mut four = declared(&fake.url);
    four.in_flight_max = 4;
    let gate = gate(&[("up", four)]);
    let call = |who: &str| gate.launch(tool("up", "t", "{}"), Arc::new(calling(who)));
    let refused = async |who: &str| match finish(call(who)).await.1 {
        End::Failed { code, dispatched: false, .. } => code,
        other => panic!("{other:?}"),
    };
    let mut held: Vec<Running> = (0..3).map(|_| call("alice")).collect();
    eventually(|| (fake.of("tools/call").len() == 3).then_some(())).await;
    assert_eq!(refused("alice").await, Code::ShareTaken);
    held.push(call("bob"));
    eventually(|| (fake.of("tools/call").len() == 4).then_some(())).await;
    assert_eq!(refused("bob").await, Code::UpstreamBusy);
    drop(held);
}

#[tokio::test]
async fn dead_and_hanging_upstreams_do_not_delay_another() {
    let hanging = fake::Fake::start(|_| Box::pin(std::future::pending())).await;
    let good = with_sessions(|seen| Box::pin(async move { answer(&seen, "{}") })).await;
    let gate = gate(&[
        ("dead", declared("http://127.0.0.1:1/mcp")),
        ("hanging", declared(&hanging.url)),
        ("good", declared(&good.url)),
    ]);
    let held = gate.launch(tool("hanging", "t", "{}"), caller(Era::Sessions));
    hanging.until("initialize").await;
    assert_eq!(failure(&gate, "dead", "t").await, (Code::UpstreamUnreachable, false));
    let running = gate.launch(tool("good", "t", "{}"), caller(Era::Sessions));
    result(finish(running).await.1);
    let states: Vec<_> = gate.health().into_iter().map(|health| health.state).collect();
    assert_eq!(states, [crate::State::Down, crate::State::Up, crate::State::Unused]);
    drop(held);
}

#[tokio::test]
async fn an_unknown_upstream_is_a_failure_before_anything_left() {
    let gate = gate(&[]);
    assert_eq!(failure(&gate, "nobody", "t").await, (Code::UpstreamUnreachable, false));
}
