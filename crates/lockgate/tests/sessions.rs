//! Sessions that an application opens with what its person has said: who opens and joins them, what
//! they know, and that a crash takes nothing from them.
#![cfg(test)]

mod support;

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use support::World;
use support::calendar::{
    self, EVE, EVENT, JOHN, MARY, OldClient, PLANTED, Person, WORDS, call, old,
};

fn started(more: &str) -> World {
    let mut world = World::new();
    calendar::add(&world.gate);
    world.gate.edit("policies/test.cedar", |text| format!("{text}\n{more}\n")).unwrap();
    world.start();
    world
}

fn person(world: &World, user: &str, agent: &str) -> Person {
    Person::of(&world.gate, world.address, user, agent)
}

#[test]
fn what_a_session_was_told_and_has_seen_survives_a_crash() {
    let mut world = started("");
    let (desk, bot) = (person(&world, "alice", "desk"), person(&world, "alice", "bot"));
    let (session, token) = desk.opens("bot", &json!([WORDS]));
    // Nobody has looked yet: which event that is, is not established.
    assert_eq!(bot.moves(&token, "Monday"), "LG-D008");
    bot.finds(&token);
    assert_eq!(bot.moves(&token, "Friday"), "");
    assert_eq!(bot.mails(&token, JOHN), "");
    assert_eq!(bot.mails(&token, EVE), "LG-D008");

    world.gate.kill();
    world.start();
    // Nothing is read again, and nobody asked.
    assert_eq!(bot.mails(&token, JOHN), "");
    assert_eq!(bot.moves(&token, "Saturday"), "");
    // What was told still says whom it did not name.
    assert_eq!(bot.mails(&token, EVE), "LG-D008");

    // The person goes on speaking.
    assert_eq!(bot.mails(&token, MARY), "LG-D008");
    let more = json!({"words": format!("And mail {MARY}, too.\nThat is all.")});
    let told = desk.asks("POST", &format!("/v1/sessions/{session}/words"), &more);
    assert_eq!(told.status, 200, "{}", told.text());
    assert_eq!(bot.mails(&token, MARY), "");
    world.gate.kill();
    world.start();
    assert_eq!(bot.mails(&token, MARY), "");
    // A line that the calendar showed before the crash is nobody's word, whoever repeats it.
    let path = format!("/v1/sessions/{session}/words");
    let told = desk.asks("POST", &path, &json!({"words": PLANTED}));
    assert_eq!(told.status, 200, "{}", told.text());
    assert_eq!(bot.mails(&token, EVE), "LG-D008");

    let listed = desk.asks("GET", "/v1/sessions/opened", &Value::Null).json();
    assert_eq!(listed["sessions"][0]["session"], json!(session));
    assert_eq!(listed["sessions"][0]["agent"], "bot");
    let ended = desk.asks("DELETE", &format!("/v1/sessions/{session}"), &Value::Null);
    assert_eq!(ended.status, 200, "{}", ended.text());
    assert_eq!(bot.moves(&token, "Sunday"), "LG-I015");
    let listed = desk.asks("GET", "/v1/sessions/opened", &Value::Null).json();
    assert_eq!(listed["sessions"], json!([]));

    // Who opened it, for whom, and with which words stands in the record, and not in the log.
    let entries = world.entries();
    let opens = entries.iter().find(|entry| entry["operation"] == "lockgate/session_open").unwrap();
    assert!(!opens.to_string().contains("Introductory"), "{opens}");
    let trace = world.gate.command(&["trace", opens["call"].as_str().unwrap()]).unwrap();
    assert!(trace.contains("Introductory meeting"), "{trace}");
    let replayed = world.gate.command(&["replay"]).unwrap();
    assert!(replayed.contains("0 differ"), "{replayed}");
    world.gate.stop().unwrap();
}

#[test]
fn a_token_joins_exactly_whom_its_session_was_opened_for() {
    let mut world = started("");
    let (desk, bot) = (person(&world, "alice", "desk"), person(&world, "alice", "bot"));
    let (_, token) = desk.opens("bot", &json!(WORDS));
    bot.finds(&token);
    let arguments = || json!({"query": "Budget"});
    let find = |shown: Value| call("find_events", arguments(), shown);
    let refused = |answer: &support::http::Answer| {
        assert_eq!(answer.status, 403, "{}", answer.text());
        assert_eq!(answer.code(), "LG-I015", "{}", answer.text());
    };
    // Another person's, another agent's, the application's own: all look alike.
    for (user, agent) in [("bob", "bot"), ("alice", "other-bot"), ("alice", "desk")] {
        let other = person(&world, user, agent);
        refused(&other.sends(&find(json!(token))));
        refused(&other.sends(&find(Value::Null).with("Lockgate-Session", &token)));
    }
    let wrong = format!("{token}0");
    for shown in [json!(wrong), json!(""), json!("x".repeat(300)), json!(7), json!([token])] {
        refused(&bot.sends(&find(shown)));
    }
    let header = |request: support::http::Request| request.with("Lockgate-Session", &token);
    refused(&bot.sends(&header(find(json!(wrong)))));
    refused(&bot.sends(&header(find(Value::Null)).also("Lockgate-Session", &token)));
    assert_eq!(bot.sends(&header(find(json!(token)))).code(), "");
    // Whatever is asked, in either era: a list, an introduction, a stream.
    let list = support::request("tools/list", json!({}));
    refused(&bot.sends(&list.with("Lockgate-Session", &wrong)));
    let opening = json!({"protocolVersion": "2025-11-25", "capabilities": {}});
    refused(&bot.sends(&old("initialize", opening).with("Lockgate-Session", &wrong)));
    let stream = support::http::Request::new("GET", "/mcp/calendar");
    refused(&bot.sends(&stream.with("Lockgate-Session", &wrong)));

    // A client with sessions of its own joins by `_meta`, and brings none of its own along.
    let mut old = OldClient::opened(&bot);
    let moves = |day: &str| json!({"event_id": EVENT, "day": day});
    assert_eq!(old.calls("move_event", moves("Friday"), &token).code(), "");
    refused(&old.calls("move_event", moves("Monday"), &wrong));

    let entries = world.entries();
    let coded = |code: &str| entries.iter().filter(|entry| entry["code"] == code).count();
    assert_eq!(coded("LG-I016"), 6, "the record tells foreign tokens from unknown ones");
    assert!(coded("LG-I015") >= 10);
    assert!(entries.iter().all(|entry| !entry.to_string().contains(&token)));
    // No call has it among its arguments.
    let call = entries.iter().rfind(|entry| entry["operation"] == "calendar/move_event").unwrap();
    let trace = world.gate.command(&["trace", call["call"].as_str().unwrap()]).unwrap();
    assert!(!trace.contains("lgs_"), "{trace}");
    world.gate.stop().unwrap();
}

#[test]
fn only_an_application_that_is_believed_opens_a_session_and_only_its_own() {
    let mut world = started("");
    let (desk, bot) = (person(&world, "alice", "desk"), person(&world, "alice", "bot"));
    let body = |agent: &str| json!({"agent": agent, "words": WORDS});
    let problem = |answer: support::http::Answer| {
        let code = answer.json()["error"]["code"].as_str().unwrap_or_default().to_owned();
        (answer.status, code)
    };
    let opens = |who: &Person, body: Value| problem(who.asks("POST", "/v1/sessions", &body));
    // Permitted, and not believed; believed by nobody's policy.
    assert_eq!(opens(&bot, body("bot")), (403, "LG-I017".to_owned()));
    let other = person(&world, "alice", "stranger");
    assert_eq!(opens(&other, body("bot")), (403, "LG-D002".to_owned()));
    assert_eq!(opens(&desk, body("nobody")), (403, "LG-I010".to_owned()));
    for wrong in [
        json!({"agent": "bot"}),
        json!({"agent": "bot", "words": 7}),
        json!({"agent": "bot", "words": [7]}),
        json!({"agent": "bot", "words": vec!["x"; 65]}),
        json!({"agent": "bot", "words": ["x".repeat(60_000), "y".repeat(6_000)]}),
        json!({"agent": "bot", "words": WORDS, "subject": "bob"}),
        json!({"agent": "bot", "words": WORDS, "task": "No Task"}),
    ] {
        assert_eq!(opens(&desk, wrong), (400, "LG-A001".to_owned()));
    }
    let (session, token) = desk.opens("bot", &json!(["x".repeat(60_000), WORDS]));
    bot.finds(&token);
    assert_eq!(bot.moves(&token, "Friday"), "");

    // It is the application's, for this person.
    let path = format!("/v1/sessions/{session}");
    let bobs = person(&world, "bob", "desk");
    for who in [&bobs, &bot] {
        let told = problem(who.asks("POST", &format!("{path}/words"), &json!({"words": EVE})));
        assert!([(404, "LG-S003"), (403, "LG-I017")].contains(&(told.0, &*told.1)), "{told:?}");
        let ended = problem(who.asks("DELETE", &path, &Value::Null));
        assert_eq!(ended, (404, "LG-S003".to_owned()));
    }
    assert_eq!(bot.mails(&token, EVE), "LG-D008");
    // One for a task is of no use without it.
    let mut for_task = body("bot");
    for_task["task"] = json!("triage");
    let opened = desk.asks("POST", "/v1/sessions", &for_task).json();
    let token = opened["token"].as_str().unwrap();
    assert_eq!(bot.moves(token, "Friday"), "LG-I015");
    world.gate.stop().unwrap();
}

#[test]
fn a_new_session_sheds_nothing() {
    let mut world = World::new();
    calendar::add(&world.gate);
    let forbid = "@id(\"not-after-strangers\")\n\
        forbid (principal, action == Action::\"calendar/move_event\", resource)\n\
        when { context.exposure.integrity == \"untrusted\" };\n";
    world.gate.edit("policies/test.cedar", |text| format!("{text}\n{forbid}")).unwrap();
    world.configure(
        "[risk]\nhalf_life_s = 600\nhysteresis = 100\n\
         enter = { approvals = 250, read_only = 500, locked = 800 }\n\
         stay_s = { approvals = 900, read_only = 1800, locked = 0 }\n",
    );
    world.start();
    let (desk, bot) = (person(&world, "alice", "desk"), person(&world, "alice", "bot"));
    let words = json!(format!("{WORDS} Or move {EVENT}."));
    let (_, first) = desk.opens("bot", &words);
    assert_eq!(bot.moves(&first, "Monday"), "");
    bot.finds(&first);
    assert_eq!(bot.moves(&first, "Tuesday"), "LG-D004");
    let (_, second) = desk.opens("bot", &words);
    assert_eq!(bot.moves(&second, "Wednesday"), "LG-D004", "what it has met came along");
    for _ in 0..12 {
        let code = bot.moves(&first, "Thursday");
        assert!(["LG-D004", "LG-D010"].contains(&code.as_str()), "{code}");
    }
    let (_, third) = desk.opens("bot", &words);
    let said = bot.sends(
        &call("send_mail", json!({"to": JOHN, "body": "x"}), json!(third))
            .with("Mcp-Name", "send_mail"),
    );
    assert!(["LG-D008", "LG-D010"].contains(&said.code().as_str()), "{}", said.text());
    assert!(
        said.text().contains("`refused`"),
        "what is held against it came along: {}",
        said.text()
    );
    world.gate.stop().unwrap();
}

#[test]
fn a_client_that_starts_a_process_joins_by_an_argument() {
    let mut world = started("");
    let (desk, bot) = (person(&world, "alice", "desk"), person(&world, "alice", "bot"));
    let (_, token) = desk.opens("bot", &json!(WORDS));
    let speak = |session: &str| -> Vec<Value> {
        let mut stdio =
            world.gate.lockgate(&["stdio", "--server", "calendar", "--session", session]);
        stdio.env("LOCKGATE_TOKEN", &bot.token);
        let mut child = stdio.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (mut input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut output = BufReader::new(output);
        let mut ask = |id: i64, method: &str, params: Value| -> Value {
            let message = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
            writeln!(input, "{message}").unwrap();
            let mut line = String::new();
            output.read_line(&mut line).unwrap();
            serde_json::from_str(&line).unwrap()
        };
        let opening = json!({"protocolVersion": "2025-11-25", "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"}});
        let tool = |name: &str, arguments: Value| json!({"name": name, "arguments": arguments});
        let answers = vec![
            ask(1, "initialize", opening),
            ask(2, "tools/call", tool("find_events", json!({"query": "Introductory meeting"}))),
            ask(3, "tools/call", tool("move_event", json!({"event_id": EVENT, "day": "Friday"}))),
            ask(4, "tools/call", tool("send_mail", json!({"to": EVE, "body": "all of it"}))),
        ];
        drop(input);
        assert!(child.wait().unwrap().success());
        answers
    };
    let refusal =
        |answer: &Value| answer["result"]["_meta"]["dev.lockgate/refusal"]["code"].clone();
    let answers = speak(&token);
    assert_eq!(refusal(&answers[2]), Value::Null, "{}", answers[2]);
    assert_eq!(refusal(&answers[3]), json!("LG-D008"), "{}", answers[3]);
    let answers = speak("lgs_0");
    assert!(answers.iter().all(|it| it["error"]["data"]["code"] == "LG-I015"), "{answers:?}");
    let ids: Vec<_> = answers.iter().map(|answer| answer["id"].as_i64()).collect();
    assert_eq!(ids, [Some(1), Some(2), Some(3), Some(4)]);
    for (arguments, code) in [
        (&["--server", "calender", "--user", "alice", "--agent", "bot"], "LG-W021"),
        (&["--server", "calendar", "--user", "alicia", "--agent", "bot"], "LG-I014"),
    ] {
        let refused = world.gate.command(&[&["stdio"][..], arguments].concat()).unwrap_err();
        assert!(refused.contains(code) && refused.contains("(hint: "), "{refused}");
    }
    world.gate.stop().unwrap();
}
