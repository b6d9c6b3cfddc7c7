use super::fake::{Fake, answer, events, reply, session, stateless};
use super::*;
use lockgate_types::Code;
use std::sync::atomic::{AtomicU32, Ordering};

#[tokio::test]
async fn every_page_of_what_is_declared_is_fetched_once_and_kept_verbatim() {
    let fake = Fake::start(|seen| {
        Box::pin(async move {
            match (seen.method(), seen.body.at(&["params", "cursor"]).and_then(Json::as_str)) {
                ("tools/list", None) => answer(
                    &seen,
                    r#"{"tools":[{"name":"a","x":1.0}],"nextCursor":"n","_meta":{"m":1}}"#,
                ),
                ("tools/list", Some("n")) => answer(&seen, r#"{"tools":[{"name":"b"}]}"#),
                _ => session(&seen).unwrap_or_else(|| reply(500, "text/plain", "")),
            }
        })
    })
    .await;
    let gate = gate(&[("up", declared(&fake.url))]);
    for _ in 0..3 {
        let catalogue = gate.catalogue(&name("up"), &caller(Era::Sessions)).await.unwrap();
        let tools: Vec<String> = catalogue.tools.iter().map(Json::to_string).collect();
        assert_eq!(tools, [r#"{"name":"a","x":1.0}"#, r#"{"name":"b"}"#]);
        assert_eq!(
            Json::from(catalogue.list_meta.tools.clone()).to_string(),
            r#"{"_meta":{"m":1}}"#
        );
        assert_eq!(catalogue.server_info.to_string(), r#"{"name":"fake","version":"1"}"#);
    }
    assert_eq!(fake.of("tools/list").len(), 2);
    assert!(fake.of("resources/list").is_empty());
    let opening = fake.of("initialize");
    assert_eq!(opening.len(), 1);
    assert_eq!(
        opening[0].body.at(&["params", "clientInfo", "name"]).unwrap(),
        &json(r#""lockgate""#)
    );
    assert_eq!(
        opening[0].body.at(&["params", "capabilities"]).unwrap().to_string(),
        r#"{"elicitation":{},"sampling":{}}"#
    );
}

#[tokio::test]
async fn a_changed_list_is_fetched_again_before_it_is_served() {
    let version = Arc::new(AtomicU32::new(0));
    let fake = Fake::start(move |seen| {
        let version = Arc::clone(&version);
        Box::pin(async move {
            match seen.method() {
                "tools/list" => {
                    let n = version.fetch_add(1, Ordering::Relaxed);
                    answer(&seen, &format!(r#"{{"tools":[{{"name":"v{n}"}}]}}"#))
                }
                "tools/call" => {
                    let (stream, reply) = events();
                    stream
                        .send(super::fake::event(
                            r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#,
                        ))
                        .unwrap();
                    stream.send(super::fake::done(&seen, "{}")).unwrap();
                    reply
                }
                _ => session(&seen).unwrap(),
            }
        })
    })
    .await;
    let gate = gate(&[("up", declared(&fake.url))]);
    let who = caller(Era::Sessions);
    let before = gate.catalogue(&name("up"), &who).await.unwrap();
    finish(gate.launch(tool("up", "t", "{}"), Arc::clone(&who))).await;
    let after = gate.catalogue(&name("up"), &who).await.unwrap();
    assert_eq!(before.tools[0].to_string(), r#"{"name":"v0"}"#);
    assert_eq!(after.tools[0].to_string(), r#"{"name":"v1"}"#);
}

#[tokio::test]
async fn tools_with_bad_header_annotations_are_left_out() {
    let fake = Fake::start(|seen| {
        Box::pin(async move {
            match seen.method() {
                "tools/list" => answer(&seen, r#"{"ttlMs":5,"tools":[{"name":"good","inputSchema":{"properties":{"a":{"type":"string","x-mcp-header":"A"}}}},{"name":"bad","inputSchema":{"properties":{"a":{"type":"number","x-mcp-header":"A"}}}}]}"#),
                _ => stateless(&seen).unwrap(),
            }
        })
    })
    .await;
    let gate = gate(&[("up", declared(&fake.url))]);
    let catalogue = gate.catalogue(&name("up"), &caller(Era::Stateless)).await.unwrap();
    assert_eq!(catalogue.tools.len(), 1);
    assert_eq!(catalogue.mirrored("good").unwrap()[0].header, "Mcp-Param-A");
    assert!(catalogue.discover.is_some());
}

#[tokio::test]
async fn the_last_good_one_stays_when_the_upstream_fails() {
    let lists = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&lists);
    let fake = Fake::start(move |seen| {
        let lists = Arc::clone(&counted);
        Box::pin(async move {
            match seen.method() {
                "tools/list" if lists.fetch_add(1, Ordering::Relaxed) == 0 => {
                    answer(&seen, r#"{"tools":[{"name":"a"}]}"#)
                }
                "tools/list" => reply(500, "text/plain", ""),
                _ => session(&seen).unwrap(),
            }
        })
    })
    .await;
    let gate = gate(&[("up", declared(&fake.url)), ("dead", declared("http://127.0.0.1:1/"))]);
    let who = caller(Era::Sessions);
    gate.catalogue(&name("up"), &who).await.unwrap();
    gate.changed_for_tests(&name("up"));
    let still = gate.catalogue(&name("up"), &who).await.unwrap();
    assert_eq!(still.tools.len(), 1);
    assert_eq!(lists.load(Ordering::Relaxed), 2);
    assert!(gate.catalogue(&name("dead"), &who).await.is_err());
    let health = gate.health();
    assert!(health.iter().all(|health| health.state == crate::State::Down));
    assert!(health.iter().all(|health| health.last_error.is_some()));
}

/// An upstream whose list of tools has so many pages of so many bytes each.
async fn pages(count: usize, bytes: usize) -> Fake {
    let padding: Arc<str> = "x".repeat(bytes).into();
    Fake::start(move |seen| {
        let padding = Arc::clone(&padding);
        Box::pin(async move {
            if seen.method() != "tools/list" {
                return session(&seen).unwrap();
            }
            let cursor = seen.body.at(&["params", "cursor"]).and_then(Json::as_str);
            let page: usize = cursor.map_or(0, |cursor| cursor.parse().unwrap());
            let next = if page + 1 < count {
                format!(r#","nextCursor":"{}""#, page + 1)
            } else {
                String::new()
            };
            let tool = format!(r#"{{"name":"t{page}","description":"{padding}"}}"#);
            answer(&seen, &format!(r#"{{"tools":[{tool}]{next}}}"#))
        })
    })
    .await
}

#[tokio::test]
async fn a_list_is_read_up_to_so_many_bytes_over_all_its_pages() {
    const PAGE: usize = 3 << 20;
    let (fits, goes_on) = (pages(2, PAGE).await, pages(100, PAGE).await);
    let upstreams = [("fits", declared(&fits.url)), ("goes-on", declared(&goes_on.url))];
    let gate = gate_with(&upstreams, PAGE + 1024);
    let who = caller(Era::Sessions);
    let list = gate.catalogue(&name("fits"), &who).await.unwrap();
    assert_eq!(list.tools.len(), 2);
    let refused = gate.catalogue(&name("goes-on"), &who).await.unwrap_err();
    assert_eq!(refused.code(), lockgate_types::Code::UpstreamTooLarge);
    // 8 MiB are not three pages: the rest is not even asked for.
    assert_eq!(goes_on.of("tools/list").len(), 3);
}

#[tokio::test]
async fn tools_of_one_name_are_left_out_all_of_them() {
    let fake = Fake::start(|seen| {
        Box::pin(async move {
            match (seen.method(), seen.body.at(&["params", "cursor"])) {
                ("tools/list", None) => answer(
                    &seen,
                    r#"{"nextCursor":"n","tools":[{"name":"twice","x":1},{"name":"once"},{"x":1}]}"#,
                ),
                // On another page, and the same to the last byte.
                ("tools/list", _) => {
                    answer(&seen, r#"{"tools":[{"name":"twice","x":1},{"x":1}]}"#)
                }
                _ => session(&seen).unwrap(),
            }
        })
    })
    .await;
    let gate = gate(&[("up", declared(&fake.url))]);
    let catalogue = gate.catalogue(&name("up"), &caller(Era::Sessions)).await.unwrap();
    let tools: Vec<String> = catalogue.tools.iter().map(Json::to_string).collect();
    assert_eq!(tools, [r#"{"name":"once"}"#, r#"{"x":1}"#, r#"{"x":1}"#]);
    assert!(catalogue.definition("once").is_some());
    assert_eq!(catalogue.definition("twice"), None);
    assert_eq!(catalogue.ambiguous.iter().collect::<Vec<_>>(), ["twice"]);
}

#[tokio::test]
async fn one_caller_brings_only_so_many_sets_of_capabilities() {
    let fake = Fake::start(|seen| {
        Box::pin(async move { session(&seen).unwrap_or_else(|| answer(&seen, r#"{"tools":[]}"#)) })
    })
    .await;
    let gate = gate(&[("up", declared(&fake.url))]);
    let ask = async |who: &str, set: usize| {
        let capabilities = object(&format!(r#"{{"set-{set}":{{}}}}"#));
        let caller = Caller { capabilities, ..calling(who) };
        gate.catalogue(&name("up"), &caller).await.map(drop).map_err(|error| error.code())
    };
    for set in 0..32 {
        assert_eq!(ask("alice", set).await, Ok(()));
    }
    assert_eq!(ask("alice", 32).await, Err(Code::ShareTaken));
    assert_eq!(fake.of("initialize").len(), 32, "the upstream was not asked");
    // Those that are there are there for everybody, and others bring their own.
    assert_eq!((ask("alice", 0).await, ask("bob", 0).await), (Ok(()), Ok(())));
    assert_eq!((ask("bob", 32).await, ask("alice", 32).await), (Ok(()), Ok(())));
}
