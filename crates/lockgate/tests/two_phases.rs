//! Two phases as a client has them: the list says how, a plan changes nothing, and is done once.
#![cfg(test)]

mod support;

use serde_json::{Value, json};
use std::fs;
use support::{World, request};

const ASKS: &str = r#"
@id("notes-need-somebody") @require_approval("group:operators")
forbid (principal, action == Action::"tool/note", resource)
unless { context.approvals.contains("group:operators") };
"#;

fn world() -> World {
    let world = World::new();
    let two = "[tool.note]\ntwo_phase = true\n";
    world.gate.edit("operations/tool.toml", |text| text.replace("[tool.note]\n", two)).unwrap();
    world
}

fn plan_of(answer: &support::http::Answer) -> Value {
    let result = answer.json()["result"].clone();
    assert_eq!(result["isError"], false, "{result}");
    result["structuredContent"]["plan"].clone()
}

#[test]
fn a_client_reads_the_plan_and_has_it_done() {
    let mut world = world();
    world.start();
    let notes = world.gate.directory().join("notes");
    let note = json!({"path": notes, "text": "remember"});
    let mut alice = world.alice();
    let token = format!("Bearer {}", alice.token);
    let list = request("tools/list", json!({})).with("Authorization", &token);
    let tools = alice.connection.exchange(&list).json()["result"]["tools"].clone();
    let of = |name: &str| {
        let tool = tools.as_array().unwrap().iter().find(|tool| tool["name"] == name);
        tool.unwrap()["inputSchema"]["properties"]["lockgate_plan"].clone()
    };
    assert!(of("note")["description"].as_str().unwrap().contains("two phases"), "{tools}");
    assert_eq!(of("echo"), Value::Null);

    let proposed = alice.call("note", note.clone());
    let plan = plan_of(&proposed);
    assert!(!notes.exists(), "a plan changes nothing");
    assert_eq!(plan["request"]["arguments"], note);
    assert_eq!(plan["operation"], "tool/note");
    assert!(proposed.text().contains("nothing was done"));
    let with = |text: &str| json!({"path": notes, "text": text, "lockgate_plan": plan["plan"]});
    let changed = alice.call("note", with("otherwise"));
    assert_eq!(changed.code(), "LG-D026", "{}", changed.text());
    let done = alice.call("note", with("remember"));
    assert_eq!(done.code(), "", "{}", done.text());
    let again = alice.call("note", with("remember"));
    let effect = &again.json()["result"]["_meta"]["dev.lockgate/effect"];
    assert_eq!(effect["state"], "replayed");
    assert_eq!(fs::read_to_string(&notes).unwrap().lines().count(), 1);

    // It holds at a gate that was started anew: plans are in the record.
    let plan = plan_of(&alice.call("note", note.clone()));
    world.gate.kill();
    world.start();
    let mut alice = world.alice();
    let with = json!({"path": notes, "text": "remember", "lockgate_plan": plan["plan"]});
    assert_eq!(alice.call("note", with).code(), "");
    assert_eq!(fs::read_to_string(&notes).unwrap().lines().count(), 2);
    // And every decision is made again to the same bytes.
    let replayed = world.gate.command(&["replay"]).unwrap();
    assert!(replayed.contains("0 differ"), "{replayed}");
    world.gate.stop().unwrap();
}

#[test]
fn somebody_agrees_to_the_plan() {
    let mut world = world();
    world.gate.edit("policies/test.cedar", |text| format!("{text}{ASKS}")).unwrap();
    world.start();
    let notes = world.gate.directory().join("notes");
    let mut alice = world.alice();
    let plan = plan_of(&alice.call("note", json!({"path": notes, "text": "r"})));
    let with = json!({"path": notes, "text": "r", "lockgate_plan": plan["plan"]});
    assert_eq!(alice.call("note", with.clone()).code(), "LG-D008");
    let waiting = plan["approval"]["call"].as_str().unwrap();
    world.gate.command(&["approvals", "give", waiting, "--reason", "fine"]).unwrap();
    assert_eq!(alice.call("note", with).code(), "");
    assert_eq!(fs::read_to_string(&notes).unwrap().lines().count(), 1);
    world.gate.stop().unwrap();
}
