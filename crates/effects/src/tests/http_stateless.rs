use super::fake::{answer, done, error, event, events, text, with_sessions, without_sessions};
use super::*;
use lockgate_types::Code;

#[tokio::test]
async fn headers_say_what_the_body_says() {
    let fake = fake::Fake::start(|seen| {
        Box::pin(async move {
            match seen.method() {
                "tools/list" => answer(&seen, r#"{"ttlMs":60000,"tools":[{"name":"query","inputSchema":{"type":"object","properties":{"region":{"type":"string","x-mcp-header":"Region"},"n":{"type":"integer","x-mcp-header":"N"}}}}]}"#),
                "tools/call" => answer(&seen, r#"{"resultType":"complete","content":[]}"#),
                _ => fake::stateless(&seen).unwrap(),
            }
        })
    })
    .await;
    let gate = gate(&[("up", declared(&fake.url))]);
    let arguments = r#"{"region":"Zürich","n":7,"other":"x"}"#;
    let call = stateless_tool("up", "query", arguments);
    let (_, end) = finish(gate.launch(call, caller(Era::Stateless))).await;
    assert_eq!(result(end).to_string(), r#"{"resultType":"complete","content":[]}"#);
    let seen = &fake.of("tools/call")[0];
    assert_eq!(seen.header("mcp-method"), Some("tools/call"));
    assert_eq!(seen.header("mcp-name"), Some("query"));
    assert_eq!(seen.header("mcp-protocol-version"), Some("2026-07-28"));
    assert_eq!(seen.header("mcp-param-region"), Some("=?base64?WsO8cmljaA==?="));
    assert_eq!(seen.header("mcp-param-n"), Some("7"));
    assert_eq!(seen.header("mcp-session-id"), None);
    assert_eq!(seen.body.at(&["params", "_meta"]).unwrap(), &json(META));
    assert!(fake.of("initialize").is_empty());
}

#[tokio::test]
async fn errors_with_a_status_are_answers() {
    let fake = without_sessions(|seen| {
        Box::pin(async move {
            let (status, number) = if seen.tool() == "a" { (400, -32021) } else { (404, -32601) };
            error(&seen, status, number)
        })
    })
    .await;
    let gate = gate(&[("up", declared(&fake.url))]);
    for (tool, number) in [("a", -32021), ("b", -32601)] {
        let running = gate.launch(stateless_tool("up", tool, "{}"), caller(Era::Stateless));
        let (_, end) = finish(running).await;
        let End::Error(error) = end else { panic!("{end:?}") };
        assert_eq!(error.number, number);
        assert_eq!(error.data.unwrap().to_string(), r#"{"n":1}"#);
    }
}

#[tokio::test]
async fn headers_that_changed_are_looked_up_again() {
    let lists = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let fake = fake::Fake::start(move |seen| {
        let lists = Arc::clone(&lists);
        Box::pin(async move {
            match seen.method() {
                "tools/list" => {
                    let header = match lists.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
                        0 => "",
                        _ => r#","x-mcp-header":"A""#,
                    };
                    answer(&seen, &format!(r#"{{"ttlMs":60000,"tools":[{{"name":"t","inputSchema":{{"properties":{{"a":{{"type":"string"{header}}}}}}}}}]}}"#))
                }
                "tools/call" if seen.header("mcp-param-a").is_none() => error(&seen, 400, -32020),
                "tools/call" => answer(&seen, r#"{"content":[]}"#),
                _ => fake::stateless(&seen).unwrap(),
            }
        })
    })
    .await;
    let gate = gate(&[("up", declared(&fake.url))]);
    let call = stateless_tool("up", "t", r#"{"a":"x"}"#);
    let (_, end) = finish(gate.launch(call, caller(Era::Stateless))).await;
    assert_eq!(result(end).to_string(), r#"{"content":[]}"#);
    assert_eq!(fake.of("tools/call").len(), 2);
}

#[tokio::test]
async fn input_required_is_a_result_to_a_stateless_caller() {
    let asked = r#"{"resultType":"input_required","inputRequests":{"q":{"method":"roots/list"}},"requestState":"s"}"#;
    let fake = without_sessions(move |seen| Box::pin(async move { answer(&seen, asked) })).await;
    let gate = gate(&[("up", declared(&fake.url))]);
    let running = gate.launch(stateless_tool("up", "t", "{}"), caller(Era::Stateless));
    let (said, end) = finish(running).await;
    assert!(said.is_empty());
    assert_eq!(result(end).to_string(), asked);
}

#[tokio::test]
async fn input_required_becomes_questions_to_a_caller_with_a_session() {
    let fake = without_sessions(|seen| {
        Box::pin(async move {
            match seen.body.at(&["params", "requestState"]).and_then(Json::as_str) {
                None => answer(&seen, r#"{"resultType":"input_required","inputRequests":{"who":{"method":"elicitation/create","params":{"message":"name?"}},"dirs":{"method":"roots/list"}},"requestState":"one"}"#),
                Some("one") => answer(&seen, r#"{"resultType":"input_required","requestState":"two"}"#),
                Some(_) => answer(&seen, r#"{"resultType":"complete","content":[],"x":1}"#),
            }
        })
    })
    .await;
    let gate = gate(&[("up", declared(&fake.url))]);
    let running = gate.launch(tool("up", "t", r#"{"a":1}"#), caller(Era::Sessions));
    let (said, end) = finish_with(running, |method, _| {
        Ok(json(if method == "roots/list" { r#"{"roots":[]}"# } else { r#"{"action":"accept"}"# }))
    })
    .await;
    assert_eq!(said, ["elicitation/create?", "roots/list?"]);
    assert_eq!(result(end).to_string(), r#"{"content":[],"x":1}"#);
    let calls = fake.of("tools/call");
    let ids: std::collections::BTreeSet<String> = calls.iter().map(fake::Seen::id).collect();
    assert_eq!((calls.len(), ids.len()), (3, 3));
    let meta = calls[0].body.at(&["params", "_meta"]).unwrap();
    assert_eq!(
        meta.get("io.modelcontextprotocol/clientCapabilities").unwrap().to_string(),
        r#"{"elicitation":{},"sampling":{}}"#
    );
    let responses = calls[1].body.at(&["params", "inputResponses"]).unwrap().to_string();
    assert_eq!(responses, r#"{"who":{"action":"accept"},"dirs":{"roots":[]}}"#);
    assert!(calls[2].body.at(&["params", "inputResponses"]).is_none());
    assert!(calls.iter().all(|seen| seen.body.at(&["params", "arguments"]).unwrap().to_string() == r#"{"a":1}"#));
}

#[tokio::test]
async fn a_stateless_caller_uses_an_upstream_with_sessions() {
    let fake = with_sessions(|seen| Box::pin(async move { answer(&seen, &text("hi")) })).await;
    let gate = gate(&[("up", declared(&fake.url))]);
    let running = gate.launch(stateless_tool("up", "t", "{}"), caller(Era::Stateless));
    let (_, end) = finish(running).await;
    let end = result(end);
    assert_eq!(end.get("resultType").and_then(Json::as_str), Some("complete"));
    assert_eq!(end.get("content"), json(&text("hi")).get("content"));
    let seen = &fake.of("tools/call")[0];
    assert_eq!(seen.body.get("params").unwrap().to_string(), r#"{"name":"t","arguments":{}}"#);
    assert_eq!(seen.header("mcp-session-id"), Some("s-1"));
    assert_eq!(
        fake.of("initialize")[0].body.at(&["params", "protocolVersion"]).unwrap(),
        &json(r#""2025-11-25""#)
    );
}

#[tokio::test]
async fn what_cannot_cross_is_refused_before_it_leaves() {
    let fake = without_sessions(|seen| Box::pin(async move { answer(&seen, "{}") })).await;
    let gate = gate(&[("up", declared(&fake.url))]);
    let call = call("up", "tasks/list", Object::new());
    let (_, end) = finish(gate.launch(call, caller(Era::Sessions))).await;
    let End::Failed { code, dispatched, .. } = end else { panic!("{end:?}") };
    assert_eq!((code, dispatched), (Code::CannotCrossEras, false));
    assert!(fake.of("tasks/list").is_empty());
}

#[tokio::test]
async fn a_subscription_lives_as_long_as_its_reader() {
    let (told, mut ended) = tokio::sync::mpsc::unbounded_channel();
    let fake = without_sessions(move |seen| {
        let told = told.clone();
        Box::pin(async move {
            let (stream, reply) = events();
            let changed =
                r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":{}}"#;
            stream.send(event(changed)).unwrap();
            tokio::spawn(async move {
                stream.closed().await;
                told.send(seen.id()).unwrap();
            });
            reply
        })
    })
    .await;
    let mut short = declared(&fake.url);
    short.timeout_ms = 1;
    short.era = Some(declare::Era::Stateless);
    let gate = gate(&[("up", short)]);
    let params =
        object(&format!(r#"{{"notifications":{{"toolsListChanged":true}},"_meta":{META}}}"#));
    let call = call("up", "subscriptions/listen", params);
    let mut running = gate.launch(call, caller(Era::Stateless));
    let Signal::Notification { method, .. } = running.next().await else { panic!() };
    assert_eq!(method, "notifications/tools/list_changed");
    assert!(ended.try_recv().is_err());
    drop(running);
    assert_eq!(ended.recv().await.unwrap(), fake.of("subscriptions/listen")[0].id());
}

#[tokio::test]
async fn closing_the_stream_cancels() {
    let (told, mut ended) = tokio::sync::mpsc::unbounded_channel();
    let fake = without_sessions(move |seen| {
        let told = told.clone();
        Box::pin(async move {
            let (stream, reply) = events();
            tokio::spawn(async move {
                stream.closed().await;
                told.send(()).unwrap();
                drop(done(&seen, "{}"));
            });
            reply
        })
    })
    .await;
    let gate = gate(&[("up", declared(&fake.url))]);
    let running = gate.launch(stateless_tool("up", "t", "{}"), caller(Era::Stateless));
    fake.until("tools/call").await;
    running.command(Command::Cancel { reason: None });
    ended.recv().await.unwrap();
    let (_, end) = finish(running).await;
    assert!(matches!(end, End::Failed { dispatched: true, .. }));
    assert!(fake.of("notifications/cancelled").is_empty());
}

#[tokio::test]
async fn an_upstream_of_both_eras_is_spoken_to_in_the_callers() {
    let fake = fake::Fake::start(|seen| {
        Box::pin(async move {
            match seen.method() {
                "tools/call" => answer(&seen, r#"{"content":[]}"#),
                "initialize" => fake::session(&seen).unwrap(),
                "server/discover" | "tools/list" => fake::stateless(&seen).unwrap(),
                _ => fake::session(&seen).unwrap(),
            }
        })
    })
    .await;
    let gate = gate(&[("up", declared(&fake.url))]);
    finish(gate.launch(tool("up", "t", "{}"), caller(Era::Sessions))).await;
    finish(gate.launch(stateless_tool("up", "t", "{}"), caller(Era::Stateless))).await;
    let calls = fake.of("tools/call");
    assert_eq!(calls[0].header("mcp-session-id"), Some("s-1"));
    assert_eq!(calls[1].header("mcp-session-id"), None);
    assert_eq!(gate.health()[0].eras, [Era::Sessions, Era::Stateless]);
}

#[tokio::test]
async fn a_stateless_caller_hears_the_log_messages_it_asked_for() {
    let fake = with_sessions(|seen| {
        Box::pin(async move {
            let (stream, reply) = events();
            for level in ["debug", "error"] {
                let params = format!(r#"{{"level":"{level}","data":1}}"#);
                stream
                    .send(event(&format!(
                        r#"{{"jsonrpc":"2.0","method":"notifications/message","params":{params}}}"#
                    )))
                    .unwrap();
            }
            stream.send(done(&seen, "{}")).unwrap();
            reply
        })
    })
    .await;
    let gate = gate(&[("up", declared(&fake.url))]);
    for (level, heard) in [(None, 0), (Some("warning"), 1), (Some("debug"), 2)] {
        let log_level = level.map(str::to_owned);
        let who = Arc::new(Caller { log_level, ..(*caller(Era::Stateless)).clone() });
        let (said, _) = finish(gate.launch(stateless_tool("up", "t", "{}"), who)).await;
        assert_eq!(said.len(), heard, "{said:?}");
    }
}
