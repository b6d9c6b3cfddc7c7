//! The MCP face before a real kernel and small upstreams of both eras.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "helpers of tests fail by panicking"
)]

mod support;

use http::{HeaderValue, Method, StatusCode};
use serde_json::{Value, json};
use support::stub::Stub;
use support::{Answer, Client, Events, Gate, rpc};

const NEWEST: &str = "2025-11-25";
const BEFORE: &str = "2025-06-18";

fn call_of(tool: &str) -> Value {
    json!({"name": tool, "arguments": {}})
}

fn with_token(tool: &str) -> Value {
    json!({"name": tool, "arguments": {}, "_meta": {"progressToken": "t"}})
}

async fn old() -> (Stub, Gate) {
    let stub = Stub::with_sessions().await;
    let gate = Gate::before(&[("old", &stub.url)]).await;
    (stub, gate)
}

async fn both() -> (Stub, Stub, Gate) {
    let (old, new) = (Stub::with_sessions().await, Stub::stateless().await);
    let gate = Gate::before(&[("old", &old.url), ("new", &new.url)]).await;
    (old, new, gate)
}

#[tokio::test]
async fn a_call_with_a_session_is_answered_as_json_with_every_field() {
    let (_stub, gate) = old().await;
    let alice = gate.alice("/mcp/old").opened(NEWEST, json!({})).await;
    let answer = alice.call(1, "tools/call", json!({"name": "echo", "arguments": {"text": "hi"}}));
    let answer = answer.await;
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(answer.json()["id"], 1);
    assert_eq!(answer.json()["result"]["content"][0]["text"], "hi");
    assert!(String::from_utf8_lossy(&answer.bytes).contains("\"x-unknown\":1.5"));
    assert!(answer.headers.contains_key("lockgate-call"));
}

#[tokio::test]
async fn a_list_shows_what_is_not_certainly_denied_and_keeps_its_fields() {
    let (_stub, gate) = old().await;
    let alice = gate.alice("/mcp/old").opened(NEWEST, json!({})).await;
    let answer = alice.call(1, "tools/list", json!({})).await.json();
    let tools = answer["result"]["tools"].as_array().unwrap();
    let names: Vec<_> = tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["echo", "ask", "work", "quiet", "poll"]);
    assert_eq!(tools[0]["annotations"]["futureHint"], true);
    let refused = alice.call(2, "tools/list", json!({"cursor": "x"})).await;
    assert_eq!(refused.error_number(), -32602);
}

#[tokio::test]
async fn a_denied_tool_is_a_result_that_says_why() {
    let (stub, gate) = old().await;
    let alice = gate.alice("/mcp/old").opened(NEWEST, json!({})).await;
    for tool in ["forbidden", "undeclared"] {
        let answer = alice.call(1, "tools/call", call_of(tool)).await.json();
        assert_eq!(answer["result"]["isError"], true);
        let reason = &answer["result"]["_meta"]["dev.lockgate/refusal"];
        assert!(reason["code"].as_str().unwrap().starts_with("LG-D"), "{reason}");
    }
    assert_eq!(stub.count("tools/call"), 0);
}

#[tokio::test]
async fn a_session_belongs_to_its_opener_and_ends_when_deleted() {
    let (_stub, gate) = old().await;
    let alice = gate.alice("/mcp/old").opened(NEWEST, json!({})).await;
    for (subject, agent) in [("bob", "bot"), ("alice", "other-bot")] {
        let mut thief = gate.client(subject, agent, "/mcp/old");
        thief.headers = alice.headers.clone();
        let answer = thief.call(1, "tools/list", json!({})).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
        let mut unknown = thief.clone();
        unknown.headers.insert("mcp-session-id", HeaderValue::from_static("nobody"));
        let other = unknown.call(1, "tools/list", json!({})).await;
        assert_eq!(other.bytes, answer.bytes, "the two must not be told apart");
        let deleted = Answer::whole(thief.send(thief.request(Method::DELETE, "")).await).await;
        assert_eq!(deleted.status, StatusCode::NOT_FOUND);
        assert_eq!(thief.get(None).await.status, StatusCode::NOT_FOUND);
    }
    let mut elsewhere = gate.alice("/mcp");
    elsewhere.headers = alice.headers.clone();
    let answer = elsewhere.call(1, "tools/list", json!({})).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    let deleted = alice.send(alice.request(Method::DELETE, "")).await;
    assert_eq!(deleted.status(), StatusCode::NO_CONTENT);
    let answer = alice.call(2, "tools/list", json!({})).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn progress_comes_before_the_result_and_a_lost_stream_is_resumed() {
    let (stub, gate) = old().await;
    let alice = gate.alice("/mcp/old").opened(NEWEST, json!({})).await;
    let mut events = alice.open(rpc(1, "tools/call", with_token("work"))).await;
    assert_eq!(events.headers["content-type"], "text/event-stream");
    assert_eq!(events.headers["x-accel-buffering"], "no");
    let priming = events.next().await.unwrap();
    assert!(priming.id.is_some() && priming.retry.is_some() && priming.data.is_empty());
    let first = events.next().await.unwrap();
    assert_eq!(first.json()["params"]["progress"], 1);
    drop(events);
    stub.state.go.notify_one();
    let mut events = alice.get(first.id.as_deref()).await;
    assert_eq!(events.message().await["params"]["progress"], 2);
    assert_eq!(events.message().await["result"]["content"][0]["text"], "done");
    assert!(events.next().await.is_none());
    assert_eq!(stub.count("tools/call"), 1);
}

#[tokio::test]
async fn a_stream_that_an_upstream_closes_is_closed_here_and_polled() {
    let (stub, gate) = old().await;
    let alice = gate.alice("/mcp/old").opened(NEWEST, json!({})).await;
    let mut events = alice.open(rpc(1, "tools/call", call_of("poll"))).await;
    let mut last = None;
    while let Some(event) = events.next().await {
        assert!(event.data.is_empty());
        assert_eq!(event.retry, Some(5));
        last = event.id;
    }
    stub.state.go.notify_one();
    let mut events = alice.get(last.as_deref()).await;
    assert_eq!(events.message().await["result"]["content"][0]["text"], "polled");
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn a_client_of_the_version_before_gets_no_priming_event() {
    let (stub, gate) = old().await;
    let alice = gate.alice("/mcp/old").opened(BEFORE, json!({})).await;
    stub.state.go.notify_one();
    let mut events = alice.open(rpc(1, "tools/call", with_token("work"))).await;
    assert_eq!(events.next().await.unwrap().json()["params"]["progress"], 1);
    assert_eq!(events.message().await["params"]["progress"], 2);
    assert_eq!(events.message().await["id"], 1);
}

#[tokio::test]
async fn an_upstream_asks_and_only_this_session_answers() {
    let (_stub, gate) = old().await;
    let can = json!({"elicitation": {}});
    let alice = gate.alice("/mcp/old").opened(NEWEST, can.clone()).await;
    let bob = gate.client("bob", "bot", "/mcp/old").opened(NEWEST, can).await;
    let mut events = alice.open(rpc(1, "tools/call", call_of("ask"))).await;
    let asked = events.message().await;
    assert_eq!(asked["method"], "elicitation/create");
    let answer =
        |action: &str| json!({"jsonrpc": "2.0", "id": asked["id"], "result": {"action": action}});
    assert_eq!(bob.post(answer("decline")).await.status, StatusCode::ACCEPTED);
    assert_eq!(alice.post(answer("accept")).await.status, StatusCode::ACCEPTED);
    let result = events.message().await;
    assert_eq!(result["result"]["content"][0]["text"], "{\"action\":\"accept\"}");
}

#[tokio::test]
async fn a_cancelled_request_ends() {
    let (_stub, gate) = old().await;
    let alice = gate.alice("/mcp/old").opened(NEWEST, json!({})).await;
    let mut events = alice.open(rpc(7, "tools/call", with_token("work"))).await;
    assert_eq!(events.message().await["params"]["progress"], 1);
    let cancel = json!({"jsonrpc": "2.0", "method": "notifications/cancelled",
        "params": {"requestId": 7}});
    assert_eq!(alice.post(cancel).await.status, StatusCode::ACCEPTED);
    loop {
        let message = events.message().await;
        if message["id"] == 7 {
            assert_eq!(message["error"]["code"], -32800);
            break;
        }
    }
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn a_client_with_a_session_that_hangs_up_cancels_nothing() {
    let (stub, gate) = old().await;
    let alice = gate.alice("/mcp/old").opened(NEWEST, json!({})).await;
    let call = tokio::spawn({
        let alice = alice.clone();
        async move { alice.call(1, "tools/call", call_of("quiet")).await }
    });
    stub.has_seen("tools/call").await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    let again = alice.call(1, "tools/call", call_of("echo")).await;
    assert_eq!(again.status, StatusCode::BAD_REQUEST, "its id is still on its way");
    stub.state.go.notify_one();
    while alice.call(1, "tools/call", call_of("echo")).await.status != StatusCode::OK {
        tokio::task::yield_now().await;
    }
    assert_eq!(stub.count("notifications/cancelled"), 0);
}

#[tokio::test]
async fn a_stateless_client_that_hangs_up_cancels() {
    let (stub, gate) = old().await;
    let alice = gate.alice("/mcp/old");
    let call = tokio::spawn(async move { alice.ask(1, "tools/call", call_of("quiet")).await });
    stub.has_seen("tools/call").await;
    call.abort();
    stub.has_seen("notifications/cancelled").await;
}

#[tokio::test]
async fn a_client_with_a_session_answers_a_stateless_upstream() {
    let (_old, new, gate) = both().await;
    let alice = gate.alice("/mcp/new").opened(NEWEST, json!({"elicitation": {}})).await;
    let mut events = alice.open(rpc(1, "tools/call", call_of("ask"))).await;
    let asked = events.message().await;
    assert_eq!(asked["method"], "elicitation/create");
    let answer = json!({"jsonrpc": "2.0", "id": asked["id"], "result": {"action": "accept"}});
    assert_eq!(alice.post(answer).await.status, StatusCode::ACCEPTED);
    let result = events.message().await;
    assert_eq!(result["result"]["content"][0]["text"], "{\"action\":\"accept\"}");
    assert!(result["result"]["resultType"].is_null());
    assert_eq!(new.count("tools/call"), 2);
}

#[tokio::test]
async fn a_refused_request_is_recorded() {
    let (_stub, gate) = old().await;
    let alice = gate.alice("/mcp/old");
    let answer = alice.post(json!([])).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    let entries = gate.kernel.store().entries(0, 100).await.unwrap();
    let is_recorded = |code: &str| {
        entries.iter().any(|entry| String::from_utf8_lossy(&entry.leaf).contains(code))
    };
    assert!(is_recorded("LG-W019"));
}

#[tokio::test]
async fn a_client_that_prefers_streams_gets_one() {
    let (_stub, gate) = old().await;
    let alice = gate.alice("/mcp/old").opened(NEWEST, json!({})).await;
    for (id, method) in [(1, "tools/list"), (2, "ping"), (3, "prompts/get")] {
        let mut request = alice.request(Method::POST, rpc(id, method, json!({})).to_string());
        set(request.headers_mut(), "accept", "text/event-stream, application/json");
        let mut events = Events::of(alice.send(request).await);
        let priming = events.next().await.unwrap();
        assert!(priming.data.is_empty() && priming.retry.is_some());
        assert_eq!(events.message().await["id"], id);
        assert!(events.next().await.is_none());
    }
}

#[tokio::test]
async fn what_is_said_outside_of_calls_reaches_the_standing_stream() {
    let (stub, gate) = old().await;
    let alice = gate.alice("/mcp/old").opened(NEWEST, json!({})).await;
    let mut events = alice.get(None).await;
    assert_eq!(events.status, StatusCode::OK);
    assert!(events.next().await.unwrap().data.is_empty());
    stub.is_listened_to().await;
    let changed = "notifications/tools/list_changed";
    stub.say(&json!({"jsonrpc": "2.0", "method": changed}));
    assert_eq!(events.message().await["method"], changed);
}

#[tokio::test]
async fn all_upstreams_together_have_prefixed_names_and_own_their_resources() {
    let (old, new, gate) = both().await;
    let alice = gate.alice("/mcp").opened(NEWEST, json!({})).await;
    let answer = alice.call(1, "tools/list", json!({})).await.json();
    let tools = answer["result"]["tools"].as_array().unwrap();
    let names: Vec<_> = tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"old__echo") && names.contains(&"new__echo"), "{names:?}");
    let echo = json!({"name": "new__echo", "arguments": {"text": "x"}});
    let answer = alice.call(2, "tools/call", echo).await.json();
    assert_eq!(answer["result"]["content"][0]["text"], "x");
    assert_eq!((old.count("tools/call"), new.count("tools/call")), (0, 1));
    for (uri, owner) in [("old://one", &old), ("new://one", &new)] {
        let before = owner.count("resources/read");
        let answer = alice.call(3, "resources/read", json!({"uri": uri})).await.json();
        assert_eq!(answer["result"]["contents"][0]["uri"], uri);
        assert_eq!(owner.count("resources/read"), before + 1);
    }
    let prompt = alice.call(4, "prompts/get", json!({"name": "old__greet"})).await.json();
    assert_eq!(prompt["result"]["description"], "greet");
    let complete = json!({"ref": {"type": "ref/prompt", "name": "old__greet"},
        "argument": {"name": "a", "value": "b"}});
    let answer = alice.call(5, "completion/complete", complete).await.json();
    assert_eq!(answer["result"]["completion"]["values"][0], "x");
    for name in ["echo", "nobody__echo", "__echo", "old__"] {
        let answer = alice.call(6, "tools/call", call_of(name)).await;
        assert_eq!(answer.error_number(), -32602, "{name}");
    }
    let answer = alice.call(7, "resources/read", json!({"uri": "none://"})).await;
    assert_eq!(answer.error_number(), -32602);
    let answer = alice.call(8, "logging/setLevel", json!({"level": "info"})).await.json();
    assert_eq!(answer["result"], json!({}));
    assert_eq!(old.count("logging/setLevel"), 1);
}

#[tokio::test]
async fn a_dead_upstream_does_not_keep_the_others_from_being_listed() {
    let stub = Stub::with_sessions().await;
    let gate = Gate::before(&[("old", &stub.url), ("dead", "http://127.0.0.1:9/mcp")]).await;
    let alice = gate.alice("/mcp").opened(NEWEST, json!({})).await;
    let answer = alice.call(1, "tools/list", json!({})).await.json();
    assert_eq!(answer["result"]["tools"][0]["name"], "old__echo");
}

#[tokio::test]
async fn stateless_answers_are_complete_and_private() {
    let (_old, _new, gate) = both().await;
    for path in ["/mcp/new", "/mcp/old", "/mcp"] {
        let alice = gate.alice(path);
        for method in ["server/discover", "tools/list", "resources/list", "prompts/list"] {
            let answer = alice.ask(1, method, json!({})).await;
            let result = &answer.json()["result"];
            assert_eq!(answer.status, StatusCode::OK);
            assert_eq!(result["resultType"], "complete", "{path} {method}");
            assert_eq!(result["cacheScope"], "private", "{path} {method}");
            assert!(result["ttlMs"].as_i64().unwrap() >= 0, "{path} {method}");
        }
    }
    let read = gate.alice("/mcp/new").ask(1, "resources/read", json!({"uri": "new://one"})).await;
    assert_eq!(read.json()["result"]["cacheScope"], "private");
}

#[tokio::test]
async fn an_upstreams_own_state_passes_untouched() {
    let (_old, new, gate) = both().await;
    let alice = gate.alice("/mcp/new");
    let can = json!({"elicitation": {}});
    let asked = alice.send(alice.stateless(1, "tools/call", call_of("ask"), can.clone())).await;
    let asked = Answer::whole(asked).await.json();
    assert_eq!(asked["result"]["resultType"], "input_required", "{asked}");
    assert_eq!(asked["result"]["requestState"], "state of the upstream");
    let retry = json!({"name": "ask", "arguments": {}, "requestState": "state of the upstream",
        "inputResponses": {"q": {"action": "accept"}}});
    let done = alice.send(alice.stateless(2, "tools/call", retry, can)).await;
    let done = Answer::whole(done).await.json();
    assert_eq!(done["result"]["content"][0]["text"], "{\"action\":\"accept\"}");
    let seen = new.state.seen.lock().unwrap();
    let calls = seen.iter().filter(|message| message["method"] == "tools/call");
    let ids: Vec<_> = calls.map(|message| &message["id"]).collect();
    assert_ne!(ids[0], ids[1], "a retry has an id of its own");
}

async fn asked_of(client: &Client) -> Value {
    let request = client.stateless(1, "tools/call", call_of("ask"), json!({"elicitation": {}}));
    Answer::whole(client.send(request).await).await.json()["result"].clone()
}

fn retry(asked: &Value, action: &str) -> Value {
    let keys = asked["inputRequests"].as_object().unwrap().keys();
    let answers = keys.map(|key| (key.clone(), json!({"action": action})));
    json!({"name": "ask", "arguments": {}, "requestState": asked["requestState"],
        "inputResponses": Value::Object(answers.collect())})
}

async fn tried(client: &Client, params: Value) -> Answer {
    let request = client.stateless(2, "tools/call", params, json!({"elicitation": {}}));
    Answer::whole(client.send(request).await).await
}

#[tokio::test]
async fn a_stateless_client_answers_an_upstream_with_sessions_once() {
    let (stub, gate) = old().await;
    let alice = gate.alice("/mcp/old");
    let asked = asked_of(&alice).await;
    assert_eq!(asked["resultType"], "input_required", "{asked}");
    let requests = asked["inputRequests"].as_object().unwrap();
    assert_eq!(requests.values().next().unwrap()["method"], "elicitation/create");
    let done = tried(&alice, retry(&asked, "accept")).await.json();
    assert_eq!(done["id"], 2);
    assert_eq!(done["result"]["content"][0]["text"], "{\"action\":\"accept\"}");
    assert_eq!(done["result"]["resultType"], "complete");
    assert_eq!(stub.count("tools/call"), 1);
    let again = tried(&alice, retry(&asked, "accept")).await;
    assert_eq!((again.status, again.error_number()), (StatusCode::BAD_REQUEST, -32602));
}

#[tokio::test]
async fn a_state_that_is_not_yours_or_was_changed_is_rejected() {
    let (_stub, gate) = old().await;
    let alice = gate.alice("/mcp/old");
    let asked = asked_of(&alice).await;
    let good = retry(&asked, "accept");
    let mut changed = good.clone();
    changed["arguments"] = json!({"more": true});
    let mut tampered = good.clone();
    let state = good["requestState"].as_str().unwrap();
    let last = if state.ends_with('A') { "B" } else { "A" };
    tampered["requestState"] = json!(format!("{}{last}", &state[..state.len() - 1]));
    let mut empty = good.clone();
    empty["requestState"] = json!("lockgate.1.");
    for params in [changed, tampered, empty] {
        let answer = tried(&alice, params).await.json();
        assert_eq!(answer["error"]["data"]["code"], "LG-W022", "{answer}");
    }
    for (subject, agent) in [("bob", "bot"), ("alice", "other-bot")] {
        let thief = gate.client(subject, agent, "/mcp/old");
        let answer = tried(&thief, good.clone()).await.json();
        assert_eq!(answer["error"]["data"]["code"], "LG-W022", "{answer}");
    }
    // None of that has used it up.
    let done = tried(&alice, good).await.json();
    assert_eq!(done["result"]["content"][0]["text"], "{\"action\":\"accept\"}");
}

#[tokio::test]
async fn what_was_not_answered_is_asked_again() {
    let (_stub, gate) = old().await;
    let alice = gate.alice("/mcp/old");
    let asked = asked_of(&alice).await;
    let mut unanswered = retry(&asked, "accept");
    unanswered["inputResponses"] = json!({"something else": {}});
    let again = tried(&alice, unanswered).await.json()["result"].clone();
    assert_eq!(again["resultType"], "input_required");
    let done = tried(&alice, retry(&again, "decline")).await.json();
    assert_eq!(done["result"]["content"][0]["text"], "{\"action\":\"decline\"}");
}

#[tokio::test]
async fn a_subscription_to_all_upstreams_is_acknowledged_first_and_filtered() {
    let (old, new, gate) = both().await;
    let alice = gate.alice("/mcp");
    let wanted = json!({"notifications": {"toolsListChanged": true,
        "resourceSubscriptions": ["old://one", "nobody://"]}});
    let request = alice.stateless(9, "subscriptions/listen", wanted, json!({}));
    let mut events = Events::of(alice.send(request).await);
    let first = events.message().await;
    assert_eq!(first["method"], "notifications/subscriptions/acknowledged");
    assert_eq!(
        first["params"]["notifications"],
        json!({"toolsListChanged": true,
        "resourceSubscriptions": ["old://one"]})
    );
    old.is_listened_to().await;
    new.is_listened_to().await;
    let say =
        |method: &str, params: Value| json!({"jsonrpc": "2.0", "method": method, "params": params});
    old.say(&say("notifications/prompts/list_changed", json!({})));
    old.say(&say("notifications/resources/updated", json!({"uri": "old://two"})));
    old.say(&say("notifications/resources/updated", json!({"uri": "old://one"})));
    let tag = "io.modelcontextprotocol/subscriptionId";
    let updated = events.message().await;
    assert_eq!(updated["params"]["uri"], "old://one");
    assert_eq!(updated["params"]["_meta"][tag], 9);
    new.say(&say("notifications/tools/list_changed", json!({"_meta": {tag: "x"}})));
    let changed = events.message().await;
    assert_eq!(changed["method"], "notifications/tools/list_changed");
    assert_eq!(changed["params"]["_meta"][tag], 9);
}

#[tokio::test]
async fn a_subscription_to_one_upstream_carries_the_clients_id() {
    let (_old, new, gate) = both().await;
    let alice = gate.alice("/mcp/new");
    let wanted = json!({"notifications": {"toolsListChanged": true}});
    let request = alice.stateless(77, "subscriptions/listen", wanted, json!({}));
    let mut events = Events::of(alice.send(request).await);
    let first = events.message().await;
    assert_eq!(first["method"], "notifications/subscriptions/acknowledged");
    let tag = "io.modelcontextprotocol/subscriptionId";
    assert_eq!(first["params"]["_meta"][tag], 77);
    new.say(&json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed",
        "params": {"_meta": {tag: "theirs"}}}));
    assert_eq!(events.message().await["params"]["_meta"][tag], 77);
}

#[tokio::test]
async fn methods_that_do_not_exist_are_refused_as_each_era_says() {
    let (_old, _new, gate) = both().await;
    let alice = gate.alice("/mcp/old").opened(NEWEST, json!({})).await;
    for method in ["no/such", "sampling/createMessage", "TOOLS/CALL"] {
        let answer = alice.call(5, method, json!({})).await;
        assert_eq!(answer.error_number(), -32601, "{method}");
        assert_eq!(answer.json()["id"], 5);
    }
    assert_eq!(alice.call(6, "ping", json!({})).await.json()["result"], json!({}));
    for path in ["/mcp/new", "/mcp"] {
        let stateless = gate.alice(path);
        let removed = ["initialize", "ping", "logging/setLevel", "resources/subscribe", "no/such"];
        for method in removed {
            let answer = stateless.ask(5, method, json!({})).await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{method}");
            assert_eq!(answer.error_number(), -32601, "{method}");
            assert_eq!(answer.json()["id"], 5);
        }
    }
}

/// What is sent, and with which status and number it is refused.
struct Bad {
    name: &'static str,
    body: String,
    change: fn(&mut http::HeaderMap),
    status: u16,
    number: i64,
}

fn bad(name: &'static str, body: impl Into<String>, status: u16, number: i64) -> Bad {
    Bad { name, body: body.into(), change: |_| {}, status, number }
}

#[tokio::test]
async fn bad_requests_are_refused_with_a_status_and_a_number() {
    let stub = Stub::with_sessions().await;
    let gate = Gate::limited(&[("old", &stub.url)], "body_bytes_max = 1024\n").await;
    let list = rpc(1, "tools/list", json!({})).to_string();
    let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
    let header =
        |name: &'static str, change, status| Bad { change, ..bad(name, &list, status, 40300) };
    let cases = [
        bad("not JSON", "{", 400, -32700),
        bad("a control character", "\u{0}", 400, -32700),
        bad("too deep", deep, 400, -32700),
        bad("twice", r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#, 400, -32700),
        bad("a batch", format!("[{list}]"), 400, -32600),
        bad("no version", r#"{"id":1,"method":"ping"}"#, 400, -32600),
        bad("odd id", r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#, 400, -32600),
        bad("params", r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}"#, 400, -32602),
        bad("no session", list.clone(), 400, -32020),
        bad("too large", format!("\"{}\"", "x".repeat(1024)), 413, 40300),
        header("only JSON", |h| set(h, "accept", "application/json"), 406),
        header("only events", |h| set(h, "accept", "text/event-stream"), 406),
        header("a form", |h| set(h, "content-type", "text/plain"), 415),
        header("no type", |h| drop(h.remove("content-type")), 415),
    ];
    for Bad { name, body, change, status, number } in cases {
        let client = gate.alice("/mcp/old");
        let mut request = client.request(Method::POST, body);
        change(request.headers_mut());
        let answer = Answer::whole(client.send(request).await).await;
        assert_eq!(answer.status.as_u16(), status, "{name}: {:?}", answer.json());
        assert_eq!(answer.error_number(), number, "{name}: {:?}", answer.json());
    }
}

fn set(headers: &mut http::HeaderMap, name: &'static str, value: &'static str) {
    headers.insert(name, HeaderValue::from_static(value));
}

#[tokio::test]
async fn other_methods_of_http_and_other_addresses_are_refused() {
    let (_stub, gate) = old().await;
    let alice = gate.alice("/mcp/old");
    for method in [Method::PUT, Method::OPTIONS, Method::PATCH, Method::HEAD] {
        let answer = alice.send(alice.request(method, "")).await;
        assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(answer.headers()["allow"], "GET, POST, DELETE");
    }
    for method in [Method::GET, Method::DELETE] {
        let mut request = alice.request(method, "");
        set(request.headers_mut(), "mcp-protocol-version", "2026-07-28");
        let answer = alice.send(request).await;
        assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(answer.headers()["allow"], "POST");
    }
    for path in ["/mcp/nobody", "/mcp/old/", "/mcp/old/x", "/mcpx", "/"] {
        let client = gate.alice(path);
        assert_eq!(client.call(1, "ping", json!({})).await.status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn headers_of_a_stateless_request_must_say_what_its_body_says() {
    let (_old, _new, gate) = both().await;
    let alice = gate.alice("/mcp/new");
    type Change = fn(&mut http::HeaderMap);
    let cases: [(&str, Change); 4] = [
        ("another method", |h| set(h, "mcp-method", "tools/list")),
        ("no method", |h| drop(h.remove("mcp-method"))),
        ("another name", |h| set(h, "mcp-name", "forbidden")),
        ("no version", |h| drop(h.remove("mcp-protocol-version"))),
    ];
    for (name, change) in cases {
        let mut request = alice.stateless(3, "tools/call", call_of("echo"), json!({}));
        change(request.headers_mut());
        let answer = Answer::whole(alice.send(request).await).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{name}");
        assert_eq!(answer.error_number(), -32020, "{name}");
        assert_eq!(answer.json()["id"], 3, "{name}");
    }
}

#[tokio::test]
async fn sessions_are_bounded_and_an_idle_one_makes_room() {
    let stub = Stub::with_sessions().await;
    let limits = "sessions_per_identity_max = 2\nsessions_max = 3\n";
    let gate = Gate::limited(&[("old", &stub.url)], limits).await;
    let alice = gate.alice("/mcp/old");
    let first = alice.clone().opened(NEWEST, json!({})).await;
    let second = alice.clone().opened(NEWEST, json!({})).await;
    let _third = alice.clone().opened(NEWEST, json!({})).await;
    assert_eq!(gate.face.sessions_open(), 2);
    let gone = first.call(1, "ping", json!({})).await;
    assert_eq!(gone.status, StatusCode::NOT_FOUND);
    assert_eq!(second.call(1, "ping", json!({})).await.status, StatusCode::OK);
    let _bob = gate.client("bob", "bot", "/mcp/old").opened(NEWEST, json!({})).await;
    let other = gate.client("bob", "other-bot", "/mcp/old");
    let refused = other
        .post(rpc(0, "initialize", json!({"protocolVersion": NEWEST, "capabilities": {}})))
        .await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.json()["error"]["data"]["code"], "LG-W018");
}
