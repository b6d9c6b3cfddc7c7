//! What happens around calls: the gate is killed, its bundle changes, its client hangs up, a second
//! gate starts.
#![cfg(test)]

mod support;

use lockgate_sim::wait;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use support::http::{Answer, Connection};
use support::{Client, SOON, World, call, ended, held, pipe};

/// Calls that are acknowledged before the gate is killed, with more under way.
const ACKNOWLEDGED_MIN: usize = 200;
const CLIENTS: usize = 4;
/// Threads that serve connections in turn, at most.
const THREADS_MAX: usize = 16;

fn texts<'a>(entry: &'a Value, names: [&str; 3]) -> [&'a str; 3] {
    names.map(|name| entry[name].as_str().unwrap_or_default())
}

/// Calls until the gate is gone; says which calls were answered.
fn call_until_killed(mut client: Client, notes: &Path, acknowledged: &mpsc::Sender<String>) {
    for round in 0_u64.. {
        let request = match round % 3 {
            0 => {
                // Each note is another: the same one twice would be one.
                let text = format!("{round} of {:?}", std::thread::current().id());
                call("note", json!({"path": notes, "text": text}))
            }
            1 => call("echo", json!({"text": "x"})),
            _ => call("danger", json!({})),
        };
        let request = request.with("Authorization", &format!("Bearer {}", client.token));
        let Ok(answer) = client.connection.try_exchange(&request) else { return };
        let id = answer.header("lockgate-call").expect("an answer names its call");
        acknowledged.send(id.to_owned()).unwrap();
    }
}

#[test]
fn what_was_answered_before_a_kill_is_in_the_record_after_it() {
    let mut world = World::started();
    let notes = world.gate.directory().join("notes");
    let token = world.token("alice", "bot");
    let (tell, hear) = mpsc::channel();
    let acknowledged: BTreeSet<String> = std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            let client = Client::new(world.address, &token);
            let (tell, notes) = (tell.clone(), &notes);
            scope.spawn(move || call_until_killed(client, notes, &tell));
        }
        drop(tell);
        let mut heard = BTreeSet::new();
        for id in hear {
            heard.insert(id);
            if heard.len() == ACKNOWLEDGED_MIN {
                world.gate.kill();
            }
        }
        heard
    });
    assert!(acknowledged.len() >= ACKNOWLEDGED_MIN);
    world.start();

    let (mut begun, mut states, mut refused, mut gaps) =
        (BTreeSet::new(), BTreeMap::new(), BTreeSet::new(), 0);
    for entry in world.entries() {
        let [kind, id, state] = texts(&entry, ["k", "call", "state"]).map(str::to_owned);
        match kind.as_str() {
            "gap" => gaps += 1,
            "intent" => assert!(begun.insert(id), "two intents"),
            "refusal" => assert!(refused.insert(id), "two refusals"),
            "outcome" => assert!(states.insert(id, state).is_none(), "two outcomes"),
            _ => {}
        }
    }
    assert_eq!(gaps, 1, "one unclean end, one gap");
    for id in &begun {
        assert!(states.contains_key(id), "the intent of {id} has no outcome");
    }
    for id in &acknowledged {
        let state = states.get(id).map(String::as_str);
        let is_there = state == Some("succeeded") || refused.contains(id);
        assert!(is_there, "{id} was answered, and is {state:?} in the record");
    }
    // Every note that was written has its intent: nothing left before it was durable.
    let written = std::fs::read_to_string(notes).unwrap().lines().count();
    let is_note = |entry: &&Value| entry["k"] == "intent" && entry["operation"] == "tool/note";
    assert!(written <= world.entries().iter().filter(is_note).count());
    let verified = world.gate.command(&["verify"]).unwrap();
    assert!(verified.starts_with("verified "), "{verified}");
    assert_eq!(world.alice().call("echo", json!({"text": "x"})).status, 200);
}

#[test]
fn a_second_gate_leaves_the_state_alone() {
    let world = World::started();
    let (is_good, text) = ended(&mut world.gate.lockgate(&["up"]));
    assert!(!is_good && text.contains("LG-S005"), "{text}");
    assert_eq!(world.alice().call("echo", json!({"text": "x"})).status, 200);
    assert!(world.gate.command(&["verify"]).unwrap().starts_with("verified "));
}

fn is_allowed(answer: &Answer) -> bool {
    answer.status == 200 && answer.json()["result"]["isError"].as_bool() != Some(true)
}

/// Does something while somebody keeps calling, and asserts that every call was answered with
/// success.
fn while_calling(world: &World, act: impl FnOnce()) {
    let is_over = AtomicBool::new(false);
    let mut client = world.alice();
    std::thread::scope(|scope| {
        let calling = scope.spawn(|| {
            let mut calls = 0_u64;
            while !is_over.load(Ordering::Relaxed) {
                let answer = client.call("echo", json!({"text": "x"}));
                assert!(is_allowed(&answer), "call {calls}: {}", answer.text());
                calls += 1;
            }
            calls
        });
        let acted = std::panic::catch_unwind(std::panic::AssertUnwindSafe(act));
        is_over.store(true, Ordering::Relaxed);
        assert!(calling.join().unwrap() > 0);
        acted.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

#[test]
fn a_changed_bundle_rules_without_a_call_dropped_and_a_broken_one_does_not() {
    let world = World::started();
    let mut other = world.client("bob", "bot");
    let mut danger = || other.call("danger", json!({}));
    assert_eq!(danger().code(), "LG-D003");
    while_calling(&world, || {
        let unless = "unless { action == Action::\"tool/danger\" }";
        world.gate.edit("policies/test.cedar", |text| text.replace(unless, "")).unwrap();
        wait::until("the new bundle", SOON, || is_allowed(&danger()).then_some(())).unwrap();

        let broken = "\n@id(\"broken\")\nforbid (principal, action, resource) when { nonsense };\n";
        world.gate.edit("policies/test.cedar", |text| text + broken).unwrap();
        let refused = "the changed bundle was refused; the last good one stays";
        wait::until(refused, SOON, || world.gate.log().contains(refused).then_some(())).unwrap();
        assert!(is_allowed(&danger()), "the last good bundle stays");
        let (is_good, text) = ended(&mut world.gate.lockgate(&["check"]));
        assert!(!is_good && text.contains("policies/test.cedar:"), "{text}");

        world.gate.edit("policies/test.cedar", |text| text.replace(broken, "")).unwrap();
        world.gate.command(&["check"]).unwrap();
    });
    let entries = world.entries();
    let ruled =
        entries.iter().filter(|entry| entry["k"] == "bundle").map(|it| it["bundle"].as_str());
    assert_eq!(ruled.collect::<BTreeSet<_>>().len(), 2, "the broken one never ruled");
    assert!(world.gate.command(&["replay"]).unwrap().contains(": 0 differences"));
}

#[test]
fn whatever_the_bundle_on_disk_is_a_running_gate_is_stopped_and_asked() {
    let mut world = World::started();
    let broken = |text: String| format!("{text}[[[\n");
    world.gate.edit("lockgate.toml", broken).unwrap();
    let reason = ["--reason", "loops"];
    let kill = [&["kill", "--agent", "bot"][..], &reason].concat();
    assert!(world.gate.command(&kill).unwrap().starts_with("stopped the agent `bot`"));
    assert!(world.gate.command(&["status"]).is_ok());
    let refused = world.gate.command(&["reload"]).unwrap_err();
    assert!(refused.contains("LG-C001") && refused.contains("\n  lockgate.toml:"), "{refused}");

    let moved = world.gate.directory().join("moved");
    std::fs::rename(world.gate.bundle(), &moved).unwrap();
    let lift = [&["lift", "--agent", "bot"][..], &reason].concat();
    assert_eq!(world.gate.command(&lift).unwrap(), "lifted the agent `bot`\n");
    std::fs::rename(&moved, world.gate.bundle()).unwrap();

    // Another bundle may have no such issuer: it is no longer signed for then.
    world.gate.edit("lockgate.toml", |text| text.replace("[[[\n", "")).unwrap();
    let issuer = "[development]\nusers = [\"alice\", \"bob\", \"operator\"]\n";
    world.gate.edit("lockgate.toml", |text| text.replace(issuer, "")).unwrap();
    world.gate.command(&["reload"]).unwrap();
    let refused = world.gate.command(&["status"]).unwrap_err();
    assert!(refused.contains("LG-I001"), "{refused}");

    world.gate.stop().unwrap();
    world.gate.edit("lockgate.toml", broken).unwrap();
    let nobody = format!("http://{}", world.address);
    let refused = world.gate.command(&["status", "--gate", &nobody]).unwrap_err();
    assert!(
        refused.contains("the bundle on disk has 1 mistake (hint: `lockgate check`"),
        "{refused}"
    );
}

/// A write that is under way, and whose client is gone. It goes on when what this gives is dropped.
fn hung_up(world: &World) -> std::fs::File {
    let pipe = pipe(world.gate.directory());
    let token = world.token("alice", "bot");
    let hold =
        call("hold", json!({"pipe": pipe})).with("Authorization", &format!("Bearer {token}"));
    let mut connection = Connection::open(world.address);
    connection.send(&hold.to_bytes()).unwrap();
    held(&pipe)
}

#[test]
fn a_client_that_hangs_up_leaves_a_recorded_outcome() {
    let world = World::started();
    let writer = hung_up(&world);
    // The gate has noticed when it answers those who came later, on each of its threads.
    for _ in 0..THREADS_MAX {
        assert!(is_allowed(&world.alice().call("echo", json!({"text": "x"}))));
    }
    drop(writer);
    let outcome = wait::until("the outcome", SOON, || {
        let entries = world.entries();
        let of = |kind: &str, id: &Value| {
            let mut found = entries.iter().filter(|it| it["k"] == kind);
            found.find(|it| it["operation"] == *id || it["call"] == *id).cloned()
        };
        let intent = of("intent", &json!("tool/hold")).expect("the intent was durable before");
        of("outcome", &intent["call"])
    });
    assert_eq!(outcome.unwrap()["state"], "succeeded");
}

#[test]
fn what_is_under_way_is_finished_when_the_gate_is_asked_to_stop() {
    let mut world = World::started();
    let pipe = pipe(world.gate.directory());
    let mut alice = world.alice();
    let held_call = json!({"pipe": pipe});
    std::thread::scope(|scope| {
        let calling = scope.spawn(move || alice.call("hold", held_call));
        let mut writer = held(&pipe);
        let stopping = scope.spawn(|| world.gate.stop());
        std::io::Write::write_all(&mut writer, b"done").unwrap();
        drop(writer);
        let answer = calling.join().unwrap();
        assert_eq!(answer.json()["result"]["content"][0]["text"], "done", "{}", answer.text());
        stopping.join().unwrap().unwrap();
    });
    world.start();
    assert!(!world.entries().iter().any(|entry| entry["k"] == "gap"), "a clean end leaves no gap");
}

#[test]
fn what_nobody_waits_for_gets_an_outcome_when_the_gate_stops() {
    let mut world = World::started();
    let _writer = hung_up(&world);
    world.gate.stop().unwrap();
    world.start();
    let entries = world.entries();
    assert!(!entries.iter().any(|entry| entry["k"] == "gap"), "a clean end leaves no gap");
    let intent = entries.iter().find(|entry| entry["operation"] == "tool/hold").unwrap();
    let is_its_outcome = |it: &&Value| it["k"] == "outcome" && it["call"] == intent["call"];
    let outcome = entries.iter().find(is_its_outcome).expect("every intent has an outcome");
    assert_eq!(outcome["state"], "in_doubt");
    let stopped = entries.iter().position(|entry| entry["k"] == "stop").unwrap();
    assert!(outcome["sq"].as_u64() < entries[stopped]["sq"].as_u64(), "before the record ended");
}
