//! Risk as people and agents meet it: a session that is refused again and again may do less and
//! less, each answer says why, and a person or a timer gives it back.
#![cfg(test)]

mod support;

use lockgate_sim::wait;
use serde_json::{Value, json};
use support::http::Answer;
use support::{Client, SOON, World};

const RISK: &str = "
[risk]
half_life_s = 600
hysteresis = 100
enter = { approvals = 250, read_only = 500, locked = 800 }
stay_s = { approvals = 900, read_only = 1800, locked = 0 }
";

/// A timer that runs out while a test looks.
const SOON_LOOSE: &str = "
[risk]
half_life_s = 1
hysteresis = 100
enter = { approvals = 250, read_only = 0, locked = 0 }
stay_s = { approvals = 2, read_only = 2, locked = 2 }
[risk.weights]
refused = 260
";

fn started(risk: &str) -> World {
    let mut world = World::new();
    world.configure(risk);
    world.start();
    world
}

/// `danger` is permitted to nobody.
fn refused(client: &mut Client, times: usize) {
    for _ in 0..times {
        let answer = client.call("danger", json!({}));
        assert!(["LG-D002", "LG-D003"].contains(&answer.code().as_str()), "{}", answer.text());
    }
}

fn note(world: &World, client: &mut Client, text: &str) -> Answer {
    let path = world.gate.directory().join("notes");
    client.call("note", json!({"path": path, "text": text}))
}

fn says(answer: &Answer, code: &str, words: &[&str]) {
    assert_eq!(answer.code(), code, "{}", answer.text());
    for word in words {
        assert!(answer.text().contains(word), "`{word}` in {}", answer.text());
    }
}

fn listed(world: &World) -> Vec<Value> {
    let listed = world.gate.command(&["--json", "sessions", "list"]).unwrap();
    let listed: Value = serde_json::from_str(&listed).unwrap();
    listed["sessions"].as_array().unwrap().clone()
}

fn turns(world: &World) -> Vec<String> {
    let entries = world.entries();
    let turns = entries.iter().filter(|entry| entry["k"] == "mode");
    let text = |it: &Value, name: &str| it[name].as_str().unwrap_or("-").to_owned();
    turns
        .map(|it| format!("{} {} by {}", text(it, "scope"), text(it, "mode"), text(it, "by")))
        .collect()
}

#[test]
fn a_session_that_is_refused_repeatedly_may_do_less_and_less_until_a_person_comes() {
    let mut world = started(RISK);
    let (mut alice, mut bob) = (world.alice(), world.client("bob", "bot"));
    assert_eq!(note(&world, &mut alice, "before").code(), "");
    refused(&mut alice, 5);
    says(&note(&world, &mut alice, "1"), "LG-D008", &["`approvals`", "`refused` 5 times"]);
    assert_eq!(alice.call("echo", json!({"text": "read"})).code(), "");

    refused(&mut alice, 4);
    let why = ["`read_only`", "`refused` 9 times", "loosened in", "lockgate sessions loosen s_"];
    says(&note(&world, &mut alice, "2"), "LG-D010", &why);
    assert_eq!(alice.call("echo", json!({"text": "read"})).code(), "");

    refused(&mut alice, 6);
    let echo = json!({"text": "read"});
    says(&alice.call("echo", echo.clone()), "LG-D010", &["`locked`", "no timer loosens it"]);
    // Nobody else is the stricter held for it.
    assert_eq!(note(&world, &mut bob, "bob's").code(), "");

    let sessions = listed(&world);
    let [session] = sessions.as_slice() else { panic!("{sessions:?}") };
    assert_eq!((&session["mode"], &session["whose"]["agent"]), (&json!("locked"), &json!("bot")));
    let id = session["name"].as_str().unwrap().to_owned();
    let shown = world.gate.command(&["sessions", "show", &id]).unwrap();
    assert!(shown.contains("locked") && shown.contains("refused 15 times"), "{shown}");

    // A restart loosens nothing.
    world.gate.kill();
    world.start();
    let mut alice = world.alice();
    says(&alice.call("echo", echo.clone()), "LG-D010", &["`locked`"]);

    // A person does, with a reason.
    assert!(world.gate.command(&["sessions", "loosen", &id]).is_err(), "a reason is needed");
    let loosen = ["sessions", "loosen", &id, "--to", "read_only", "--reason", "looked into it"];
    let loosened = world.gate.command(&loosen).unwrap();
    assert!(loosened.contains("`read_only`: it was `locked`"), "{loosened}");
    assert_eq!(alice.call("echo", echo).code(), "");
    says(&note(&world, &mut alice, "3"), "LG-D010", &["`read_only`"]);
    world.gate.command(&["sessions", "loosen", &id, "--reason", "fine"]).unwrap();
    assert_eq!(note(&world, &mut alice, "after").code(), "");
    // What is tightened already, or looser already, is said so.
    assert!(world.gate.command(&["sessions", "loosen", &id, "--reason", "again"]).is_err());
    assert!(world.gate.command(&["sessions", "show", "s_1"]).is_err());
    assert!(world.gate.command(&["sessions", "show", "tenant:default"]).is_err());

    let expected = [
        "session approvals by events",
        "session read_only by events",
        "session locked by events",
        "session read_only by person",
        "session normal by person",
    ];
    assert_eq!(turns(&world), expected);
    let replayed = world.gate.command(&["replay"]).unwrap();
    assert!(replayed.contains("0 differ"), "{replayed}");
    let by = world.entries().into_iter().rfind(|entry| entry["k"] == "mode").unwrap();
    let trace = world.gate.command(&["trace", by["by_call"].as_str().unwrap()]).unwrap();
    assert!(trace.contains("session_loosen"), "{trace}");
    world.gate.stop().unwrap();
}

#[test]
fn a_timer_loosens_what_events_have_tightened_and_not_what_a_person_has() {
    let mut world = started(SOON_LOOSE);
    let mut alice = world.alice();
    refused(&mut alice, 1);
    says(&note(&world, &mut alice, "x"), "LG-D008", &["loosened in"]);
    let mut again = world.alice();
    let again = || {
        let alice = &mut again;
        note(&world, alice, "x").code().is_empty().then_some(())
    };
    wait::until("the timer", SOON, again).unwrap();
    assert_eq!(turns(&world), ["session approvals by events", "session normal by timer"]);

    refused(&mut alice, 1);
    let id = listed(&world)[0]["name"].as_str().unwrap().to_owned();
    let tighten = ["sessions", "tighten", &id, "--to", "locked", "--reason", "hold it"];
    world.gate.command(&tighten).unwrap();
    says(&note(&world, &mut alice, "y"), "LG-D010", &["no timer loosens it"]);
    world.gate.stop().unwrap();
}

#[test]
fn a_tenant_is_tightened_and_loosened_by_people() {
    // Also without `[risk]`.
    let mut world = started("");
    let mut alice = world.alice();
    let show = || world.gate.command(&["posture", "show"]).unwrap();
    assert!(show().contains("default normal, score 0"), "{}", show());
    let tighten = |to| ["posture", "tighten", "default", "--to", to, "--reason", "an incident"];
    world.gate.command(&tighten("read_only")).unwrap();
    let why = ["the tenant `default`", "`read_only`", "lockgate posture loosen default"];
    says(&note(&world, &mut alice, "x"), "LG-D010", &why);
    assert_eq!(alice.call("echo", json!({"text": "read"})).code(), "");
    world.gate.command(&tighten("locked")).unwrap();
    assert_eq!(alice.call("echo", json!({"text": "read"})).code(), "LG-D010");
    assert!(world.gate.command(&tighten("approvals")).is_err(), "that is no tightening");
    world.gate.command(&["posture", "loosen", "default", "--reason", "over"]).unwrap();
    assert_eq!(note(&world, &mut alice, "x").code(), "");
    let expected =
        ["tenant read_only by person", "tenant locked by person", "tenant normal by person"];
    assert_eq!(turns(&world), expected);
    world.gate.stop().unwrap();
}

#[test]
fn who_loosens_is_for_policies_to_say() {
    let mut world = World::new();
    let forbid = "\n@id(\"not-ones-own\")\n\
        forbid (principal, action == Action::\"lockgate/session_loosen\", resource)\n\
        when { context.input has own && context.input.own };\n\
        @id(\"not-the-other-bots\")\n\
        forbid (principal, action == Action::\"lockgate/session_loosen\", resource)\n\
        when { context.input has agent && context.input.agent == \"other-bot\" };\n";
    world.gate.edit("policies/test.cedar", |text| format!("{text}{forbid}")).unwrap();
    world.configure(RISK);
    world.start();
    refused(&mut world.client("operator", "bot"), 5);
    refused(&mut world.client("alice", "other-bot"), 5);
    refused(&mut world.client("alice", "bot"), 5);
    for session in listed(&world) {
        let id = session["name"].as_str().unwrap();
        let loosened = world.gate.command(&["sessions", "loosen", id, "--reason", "fine"]);
        let is_mine = loosened.is_ok();
        assert_eq!(is_mine, session["whose"]["agent"] == "bot" && !is_own(&world, &session));
    }
    world.gate.stop().unwrap();
}

/// Whether it is the operator's: the only one in whose name nobody else acts.
fn is_own(world: &World, session: &Value) -> bool {
    let of_operator = |entry: &&Value| entry["upstream"] == "lockgate";
    let entries = world.entries();
    let operator = entries.iter().find(of_operator).unwrap()["subject"].clone();
    session["whose"]["subject"] == operator
}
