//! A disk that is full, a log that was changed: said with what to do, and nothing acknowledged is
//! lost.
#![cfg(test)]

mod support;

use serde_json::json;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use support::{PROGRAM, World, ended};

/// Files may have this many KiB. A fresh record fits.
const LIMIT_KIB: usize = 75_000;
/// What a call carries, and so its record.
const TEXT_BYTES: usize = 60_000;
/// More calls than fit.
const CALLS_MAX: usize = 3 * LIMIT_KIB * 1024 / TEXT_BYTES;

#[test]
fn a_full_disk_stops_calls_before_they_leave_and_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (program, limit) = (directory.path().join("limited"), directory.path().join("limit"));
    // A write beyond the limit fails, as it does on a full disk, where the signal for it is
    // ignored.
    let script = format!(
        "#!/bin/bash\ntrap '' XFSZ\nulimit -f $(cat '{}')\nexec '{PROGRAM}' \"$@\"\n",
        limit.display()
    );
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(&limit, LIMIT_KIB.to_string()).unwrap();
    let mut world = World::of(program.to_str().unwrap());
    world.start();
    let notes = world.gate.directory().join("notes");
    let mut alice = world.alice();
    let mut acknowledged = BTreeSet::new();
    let note = |n: usize| json!({"path": notes, "text": format!("{n:0TEXT_BYTES$}")});
    let refused = (0..CALLS_MAX).find_map(|n| {
        let answer = alice.call("note", note(n));
        if answer.code().is_empty() {
            acknowledged.insert(answer.header("lockgate-call").unwrap().to_owned());
            return None;
        }
        Some(answer)
    });
    let refused = refused.expect("the disk is full some time");
    // Either its intent could not be recorded, or only its outcome, which is said.
    assert!(["LG-S001", "LG-U007"].contains(&refused.code().as_str()), "{}", refused.text());
    let written = || fs::read_to_string(&notes).unwrap().lines().count();
    let before = written();
    assert!(before <= acknowledged.len() + 1, "only the last call may have left without an answer");
    let refused = alice.call("note", note(CALLS_MAX));
    assert_eq!(refused.code(), "LG-S001", "{}", refused.text());
    assert!(refused.refusal()["remedy"].as_str().unwrap().contains("disk space"));
    assert_eq!(written(), before, "what cannot be recorded does not leave");

    world.gate.kill();
    fs::write(&limit, "unlimited").unwrap();
    world.start();
    let entries = world.entries();
    let succeeded = entries.iter().filter(|entry| entry["state"] == "succeeded");
    let succeeded: BTreeSet<_> =
        succeeded.map(|it| it["call"].as_str().unwrap().to_owned()).collect();
    assert!(acknowledged.is_subset(&succeeded));
    assert!(world.gate.command(&["verify"]).unwrap().starts_with("verified "));
    assert_eq!(world.alice().call("note", note(CALLS_MAX + 1)).code(), "");
}

/// A log of so many refusals, of which the first was changed behind the gate's back.
fn changed(refusals: usize) -> World {
    let mut world = World::started();
    let mut alice = world.alice();
    for _ in 0..refusals {
        assert_eq!(alice.call("danger", json!({})).code(), "LG-D003");
    }
    world.gate.stop().unwrap();
    let database = world.gate.state().join("lockgate.db");
    let mut bytes = fs::read(&database).unwrap();
    let (was, is) = (b"\"code\":\"LG-D003\"", b"\"code\":\"LG-D002\"");
    let mut places = bytes.windows(was.len()).enumerate().filter(|(_, window)| window == was);
    let at = places.next().expect("entries are plain text").0;
    bytes[at..at + was.len()].copy_from_slice(is);
    fs::write(&database, bytes).unwrap();
    world
}

#[test]
fn a_gate_does_not_go_on_with_a_log_whose_end_was_changed() {
    let world = changed(10);
    let (is_good, text) = ended(&mut world.gate.lockgate(&["up"]));
    assert!(!is_good && text.contains("LG-S002") && text.contains("hint: "), "{text}");
    assert!(text.contains("entry "), "it names the entry: {text}");
}

#[test]
fn a_change_far_back_is_found_by_verifying() {
    let mut world = changed(600);
    world.start();
    let (is_good, text) = ended(&mut world.gate.lockgate(&["verify"]));
    assert!(!is_good && text.contains("rejected LG-S002"), "{text}");
    assert!(text.contains("entry ") && text.contains("what to do: "), "{text}");
}
