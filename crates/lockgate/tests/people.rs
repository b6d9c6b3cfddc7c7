//! What people do to a running gate from the command line: agree, stop, find out.
#![cfg(test)]

mod support;

use serde_json::{Value, json};
use std::fs;
use support::World;

const ASKS: &str = r#"
@id("notes-need-somebody") @require_approval("group:operators")
forbid (principal, action == Action::"tool/note", resource)
unless { context.approvals.contains("group:operators") };
"#;

fn json_of(world: &World, arguments: &[&str]) -> Value {
    let printed = world.gate.command(arguments).unwrap();
    serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed}"))
}

#[test]
fn somebody_agrees_and_it_is_done_once() {
    let mut world = World::new();
    world.gate.edit("policies/test.cedar", |text| format!("{text}{ASKS}")).unwrap();
    world.start();
    let notes = world.gate.directory().join("notes");
    let note = || json!({"path": notes, "text": "remember"});
    let mut alice = world.alice();
    let asked = alice.call("note", note());
    assert_eq!(asked.code(), "LG-D008", "{}", asked.text());
    let request = asked.refusal()["approval"]["call"].as_str().unwrap().to_owned();
    assert!(asked.refusal()["retryable"].as_str().unwrap().starts_with("after_"));
    assert!(asked.text().contains("send exactly this call again later"));

    let listed = world.gate.command(&["approvals"]).unwrap();
    assert!(listed.contains(&request) && listed.contains("tool/note"), "{listed}");
    let shown = world.gate.command(&["approvals", "show", &request]).unwrap();
    for part in ["alice", "remember", "group:operators", "notes-need-somebody"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(listed.contains("approvals show") && !shown.contains("approvals show"), "{shown}");
    let given = world.gate.command(&["approvals", "give", &request, "--reason", "fine"]).unwrap();
    assert_eq!(given, format!("given {request}\n"));
    let again = world.gate.command(&["approvals", "give", &request, "--reason", "fine"]);
    assert!(again.unwrap_err().contains("LG-D021"));

    let done = alice.call("note", note());
    assert_eq!(done.code(), "", "{}", done.text());
    let repeated = alice.call("note", note());
    let effect = &repeated.json()["result"]["_meta"]["dev.lockgate/effect"];
    assert_eq!(effect["state"], "replayed");
    assert_eq!(fs::read_to_string(&notes).unwrap().lines().count(), 1);
    let trace = json_of(&world, &["trace", &request, "--json"]);
    assert_eq!(trace["entries"][0]["leaf"]["verdict"], "require_approval");
    let story: Vec<_> = world
        .entries()
        .into_iter()
        .filter(|entry| entry["k"] == "approval")
        .map(|entry| entry["state"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(story, ["given", "spent"]);

    let other = alice.call("note", json!({"path": notes, "text": "no"}));
    let other = other.refusal()["approval"]["call"].as_str().unwrap().to_owned();
    world.gate.command(&["approvals", "deny", &other, "--reason", "why"]).unwrap();
    let left = json_of(&world, &["approvals", "--json"]);
    assert_eq!(left["approvals"], json!([]));
    world.gate.stop().unwrap();
}

#[test]
fn one_command_stops_what_must_be_stopped() {
    let mut world = World::started();
    let mut alice = world.alice();
    assert_eq!(alice.call("echo", json!({"text": "a"})).code(), "");
    let stopped = json_of(&world, &["kill", "--agent", "bot", "--reason", "loops", "--json"]);
    assert!(stopped["contained_at"].as_i64().unwrap() > 0);
    assert_eq!(stopped["recorded"], true);
    let refused = alice.call("echo", json!({"text": "b"}));
    assert_eq!(refused.code(), "LG-D009", "{}", refused.text());
    assert_eq!(world.client("bob", "other-bot").call("echo", json!({"text": "c"})).code(), "");
    assert_eq!(world.gate.command(&["switches"]).unwrap(), "on agent bot\n");

    // It outlives the gate.
    world.gate.kill();
    world.start();
    let mut alice = world.alice();
    assert_eq!(alice.call("echo", json!({"text": "d"})).code(), "LG-D009");
    let lifted = world.gate.command(&["lift", "--agent", "bot", "--reason", "mended"]).unwrap();
    assert_eq!(lifted, "lifted the agent `bot`\n");
    assert_eq!(alice.call("echo", json!({"text": "e"})).code(), "");
    assert!(world.gate.command(&["lift", "--agent", "bot", "--reason", "again"]).is_err());

    let said = world.gate.command(&["kill", "--agent", "bott", "--reason", "loops"]).unwrap();
    let warning = "the bundle has no agent `bott` (did you mean `bot`?)";
    assert!(said.starts_with("stopped the agent `bott`") && said.contains(warning), "{said}");
    let status = world.gate.command(&["status"]).unwrap();
    assert!(status.starts_with("stopped: agent `bott` (`lockgate switches`)\n"), "{status}");
    world.gate.command(&["lift", "--agent", "bott", "--reason", "loops"]).unwrap();
    let nonsense = ["kill", "--operation", "nonsense", "--reason", "loops"];
    let refused = world.gate.command(&nonsense).unwrap_err();
    assert!(refused.contains("LG-A001") && !refused.contains("openapi"), "{refused}");
    let posture = ["posture", "tighten", "defualt", "--to", "approvals", "--reason", "x"];
    let said = world.gate.command(&posture).unwrap();
    assert!(said.starts_with("the bundle has no tenant `defualt` (did you mean `default`?)"));

    // Who stops the agent of the command line has to mean it, and is told the way out.
    let own = ["kill", "--agent", "lockgate-cli", "--reason", "drill"];
    let refused = world.gate.command(&own).unwrap_err();
    assert!(refused.contains("--yes") && refused.contains("--agent lockgate-console"), "{refused}");
    world.gate.command(&[&own[..], &["--yes"]].concat()).unwrap();
    assert!(world.gate.command(&["switches"]).unwrap_err().contains("LG-D009"));
    let mut lift = world.gate.lockgate(&["lift", "--agent", "lockgate-cli", "--reason", "over"]);
    let token = world.token("operator", "lockgate-console");
    let (is_good, said) = support::ended(lift.env("LOCKGATE_TOKEN", token));
    assert!(is_good, "{said}");

    world.gate.command(&["kill", "--all", "--reason", "drill"]).unwrap();
    let status = world.gate.command(&["status"]).unwrap();
    assert!(status.starts_with("everything is stopped (`lockgate switches`)\n"), "{status}");
    assert_eq!(alice.call("echo", json!({"text": "f"})).code(), "LG-D009");
    world.gate.command(&["lift", "--all", "--reason", "drill over"]).unwrap();
    assert_eq!(alice.call("echo", json!({"text": "g"})).code(), "");
    world.gate.stop().unwrap();
}

#[test]
fn what_nobody_knows_is_listed_until_somebody_says() {
    let mut world = World::started();
    let pipe = support::pipe(world.gate.directory());
    let mut alice = world.alice();
    let request = support::call("hold", json!({"pipe": pipe}))
        .with("Authorization", &format!("Bearer {}", alice.token));
    alice.connection.send(&request.to_bytes()).unwrap();
    let held = support::held(&pipe);
    world.gate.kill();
    drop(held);
    world.start();
    let listed = json_of(&world, &["effects", "--json"]);
    let effect = &listed["effects"][0];
    assert_eq!(
        (effect["operation"].as_str(), effect["class"].as_str()),
        (Some("tool/hold"), Some("opaque"))
    );
    let call = effect["call"].as_str().unwrap().to_owned();
    let mut alice = world.alice();
    assert_eq!(alice.call("hold", json!({"pipe": pipe})).code(), "LG-U007");
    let resolve = ["effects", "resolve", &call, "--happened", "--reason", "I saw it"];
    assert_eq!(world.gate.command(&resolve).unwrap(), format!("resolved {call}: happened\n"));
    assert!(world.gate.command(&resolve).is_err());
    let told = alice.call("hold", json!({"pipe": pipe}));
    assert_eq!(told.code(), "", "{}", told.text());
    let effect = &told.json()["result"]["_meta"]["dev.lockgate/effect"];
    assert_eq!(
        (effect["state"].as_str(), effect["by"].as_str()),
        (Some("succeeded"), Some("person"))
    );
    assert_eq!(world.gate.command(&["effects"]).unwrap(), "no effect is in doubt\n");
    world.gate.stop().unwrap();
}

#[test]
fn an_upstream_that_keeps_failing_is_left_alone_and_everybody_can_see_it() {
    let mut world = World::new();
    let breaks = "pass_env = [\"HOME\", \"NOBODY_SETS_THIS\"]\n\
                  breaker = { failures = 3, pause_ms = 3600000, pause_max_ms = 3600000 }\n\
                  command = [\"false\", ";
    let works = "command = [\"python3\", ";
    world.gate.edit("lockgate.toml", |text| text.replace(works, breaks)).unwrap();
    world.start();
    let warned = "`pass_env` names `NOBODY_SETS_THIS`, which is not set here";
    let log = world.gate.log();
    assert!(log.contains(warned) && !log.contains("`HOME`"), "{log}");
    let mut alice = world.alice();
    for _ in 0..3 {
        let failed = alice.call("echo", json!({"text": "a"}));
        assert!(failed.code().starts_with("LG-U00"), "{}", failed.text());
    }
    let refused = alice.call("note", json!({"path": "/nowhere", "text": "b"}));
    assert_eq!(refused.code(), "LG-U010", "{}", refused.text());
    assert!(refused.refusal()["retryable"].as_str().unwrap().starts_with("after_"));
    let status = world.gate.command(&["status"]).unwrap();
    assert!(status.contains("`tool` is left alone after LG-U00"), "{status}");
    assert!(status.contains("it is tried again in "), "{status}");
    let status = json_of(&world, &["status", "--json"]);
    let breaker = &status["upstreams"][0]["breakers"][0];
    assert_eq!((&breaker["state"], &breaker["operation"]), (&json!("open"), &Value::Null));
    assert!(breaker["retry_at"].as_i64().unwrap() > 0);
    let entries = world.entries();
    let turned: Vec<_> = entries.iter().filter(|entry| entry["k"] == "breaker").collect();
    assert_eq!(turned.len(), 1);
    for (name, value) in [("state", "open"), ("upstream", "tool")] {
        assert_eq!(turned[0][name], value);
    }
    assert_eq!(turned[0]["pause_ms"], 3_600_000);
    assert!(world.gate.command(&["verify"]).is_ok() && world.gate.command(&["replay"]).is_ok());
    // Another configuration of it is another upstream.
    world.gate.edit("lockgate.toml", |text| text.replace(breaks, works)).unwrap();
    world.gate.command(&["reload"]).unwrap();
    assert_eq!(alice.call("echo", json!({"text": "c"})).code(), "");
    world.gate.stop().unwrap();
}
