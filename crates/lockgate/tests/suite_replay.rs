//! Ten thousand recorded decisions, made again: the same bytes, whatever order maps come in and
//! whoever built the program.
#![cfg(test)]

mod support;

use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use support::{Client, World, ended};

const DECISIONS_MIN: usize = 10_000;
const CLIENTS: usize = 8;

/// Set by whoever has built another build of the same program: the digests of the two are compared.
const OTHER_BUILD: &str = "LOCKGATE_RELEASE_BINARY";

/// Policies with conditions on arguments, so that decisions depend on more than names.
const MORE_POLICIES: &str = r#"
@id("no-secrets")
@reason("it says secret")
@remedy("leave the secret out")
forbid (principal, action == Action::"tool/echo", resource)
when { context.input.text like "*secret*" };

@id("asks")
@require_approval("operators")
forbid (principal == User::"bob", action == Action::"tool/note", resource)
unless { context.approvals.contains("operators") };

@id("capped")
@obligation_cap("100")
permit (principal in Group::"staff", action == Action::"tool/echo", resource)
when { context.input.text like "*7*" };
"#;

/// A world with recorded decisions of many kinds, under two bundles.
fn recorded() -> World {
    let mut world = World::new();
    world.gate.edit("policies/test.cedar", |text| text + MORE_POLICIES).unwrap();
    world.start();
    let notes = world.gate.directory().join("notes");
    let tokens = [("alice", "bot"), ("bob", "bot"), ("bob", "other-bot")]
        .map(|(user, agent)| world.token(user, agent));
    let call_some = |client: usize| {
        let mut caller = Client::new(world.address, &tokens[client % tokens.len()]);
        for round in 0..DECISIONS_MIN.div_ceil(CLIENTS) / 2 {
            let answer = match (client + round) % 5 {
                0 => caller.call("echo", json!({"text": format!("{round}")})),
                1 => caller.call("echo", json!({"text": format!("a secret, {round}")})),
                2 => caller.call("danger", json!({})),
                3 => caller.call("note", json!({"path": notes, "text": "x"})),
                _ => caller.call("echo", json!({"text": round})),
            };
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
    };
    let call_all = || {
        std::thread::scope(|scope| {
            for client in 0..CLIENTS {
                scope.spawn(move || call_some(client));
            }
        });
    };
    call_all();
    world.gate.edit("policies/test.cedar", |text| text.replace("*7*", "*8*")).unwrap();
    let ruled = "a changed bundle rules now";
    let is_there = || world.gate.log().contains(ruled).then_some(());
    lockgate_sim::wait::until(ruled, support::SOON, is_there).unwrap();
    call_all();
    world
}

/// How many decisions were made anew, and how many came out otherwise.
fn counts(text: &str) -> (usize, usize) {
    let line = text.lines().find(|line| line.contains(" decisions made anew: ")).expect(text);
    let (decided, differences) = line.split_once(" decisions made anew: ").unwrap();
    let differences = differences.split(' ').next().unwrap();
    (decided.parse().unwrap(), differences.parse().unwrap())
}

/// The digest over all decisions that a build makes of recorded facts.
fn digest(program: &str, records: &Path) -> String {
    let mut command = Command::new(program);
    command.args(["replay", "--digest", "--records"]).arg(records);
    let (is_good, text) = ended(command.env_remove("LOCKGATE_BUNDLE"));
    assert!(is_good, "{text}");
    let (decided, differences) = counts(&text);
    assert!(decided >= DECISIONS_MIN && differences == 0, "{text}");
    text.lines().find_map(|line| line.strip_prefix("decisions ")).unwrap().to_owned()
}

#[test]
fn decisions_made_anew_are_the_same_bytes() {
    let world = recorded();
    let text = world.gate.command(&["replay"]).unwrap();
    let (decided, differences) = counts(&text);
    assert!(decided >= DECISIONS_MIN, "{text}");
    assert_eq!(differences, 0, "{text}");

    let records = world.gate.directory().join("records.jsonl");
    world.gate.command(&["export", "--records", records.to_str().unwrap()]).unwrap();
    let expected = digest(support::PROGRAM, &records);
    let shuffled = world.gate.directory().join("shuffled.jsonl");
    shuffle_members(&records, &shuffled);
    assert_eq!(digest(support::PROGRAM, &shuffled), expected, "map orders matter");
    if let Ok(other) = std::env::var(OTHER_BUILD) {
        assert_eq!(digest(&other, &records), expected, "the two builds decide differently");
        assert_eq!(digest(&other, &shuffled), expected);
    }
    under_another_bundle_differences_are_shown(&world, &records);
    a_changed_record_is_a_difference(&world, &records);
}

fn under_another_bundle_differences_are_shown(world: &World, records: &Path) {
    let other = world.gate.directory().join("other");
    copy(&world.gate.bundle(), &other);
    let policies = other.join("policies/test.cedar");
    let text = std::fs::read_to_string(&policies).unwrap();
    std::fs::write(&policies, text.replace("*secret*", "*nothing of the kind*")).unwrap();
    let mut command = world.gate.lockgate(&["replay", "--records"]);
    let (is_good, text) = ended(command.arg(records).arg("--under").arg(other));
    assert!(is_good, "{text}");
    assert!(counts(&text).1 >= DECISIONS_MIN / 10, "{text}");
    assert!(text.contains("tool/echo: deny LG-D004 [\"no-secrets\"] -> allow"), "{text}");
}

fn a_changed_record_is_a_difference(world: &World, records: &Path) {
    let text = std::fs::read_to_string(records).unwrap();
    let changed = world.gate.directory().join("changed.jsonl");
    let text = text.replacen("a secret, ", "a sacred, ", 1);
    std::fs::write(&changed, text).unwrap();
    let (is_good, text) = ended(world.gate.lockgate(&["replay", "--records"]).arg(changed));
    assert!(!is_good, "{text}");
    assert_eq!(counts(&text).1, 1, "{text}");
}

/// Writes every line again with the members of every object in another order.
fn shuffle_members(from: &Path, to: &Path) {
    let mut out = std::io::BufWriter::new(std::fs::File::create(to).unwrap());
    let mut seed = 0x9e37_79b9_7f4a_7c15;
    let mut is_changed = false;
    for line in std::fs::read_to_string(from).unwrap().lines() {
        let mut shuffled = String::new();
        write_shuffled(&serde_json::from_str(line).unwrap(), &mut seed, &mut shuffled);
        is_changed |= shuffled != line;
        writeln!(out, "{shuffled}").unwrap();
    }
    assert!(is_changed);
    out.flush().unwrap();
}

fn write_shuffled(value: &Value, seed: &mut u64, out: &mut String) {
    match value {
        Value::Object(members) => {
            out.push('{');
            for (at, (name, member)) in shuffled(members, seed).into_iter().enumerate() {
                out.push_str(if at == 0 { "" } else { "," });
                out.push_str(&Value::from(name.as_str()).to_string());
                out.push(':');
                write_shuffled(member, seed, out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                out.push_str(if at == 0 { "" } else { "," });
                write_shuffled(item, seed, out);
            }
            out.push(']');
        }
        other => out.push_str(&other.to_string()),
    }
}

/// The members in an order that a fixed sequence (xorshift64) decides.
fn shuffled<'a>(members: &'a Map<String, Value>, seed: &mut u64) -> Vec<(&'a String, &'a Value)> {
    let mut drawn = BTreeMap::new();
    for member in members {
        *seed ^= *seed << 13;
        *seed ^= *seed >> 7;
        *seed ^= *seed << 17;
        drawn.insert(*seed, member);
    }
    drawn.into_values().collect()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
