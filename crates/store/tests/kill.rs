//! A process that writes is killed, again and again: what it acknowledged is there, and what it
//! left open is said.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "helpers of tests fail by panicking"
)]

mod common;

use common::*;
use lockgate_store::Store;
use lockgate_types::{CallId, Json};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

const DIRECTORY: &str = "LOCKGATE_STORE_TEST_DIRECTORY";
const KILLS: u64 = 20;
const TASKS: usize = 6;
/// More than a child lives for; it ends by itself if nobody kills it.
const CALLS_MAX: u32 = 1_000_000;

/// Not a test by itself: the process that is killed. It says what it was told is durable, one line
/// each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_writes_until_killed() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let (store, _) = Store::open(options(Path::new(&directory))).unwrap();
    let world = Arc::new(world());
    let tasks = (0..TASKS).map(|task| {
        let (store, world) = (store.clone(), Arc::clone(&world));
        tokio::spawn(async move {
            let tenant = if task < TASKS / 2 { "default" } else { "acme" };
            let identity = identity_in(tenant, &format!("user-{task}"));
            for _ in 0..CALLS_MAX {
                match task % 3 {
                    0 => {
                        let permit = open_write(&store, &world, &identity).await.unwrap();
                        say("intent", &permit.call().id);
                        let (call, _, spent) = permit.spend();
                        store.conclude(spent, outcome("saved")).await.unwrap();
                        say("outcome", &call.id);
                    }
                    1 => say("outcome", &read(&store, &world, &identity).await.unwrap().0),
                    _ => say("refusal", &refuse(&store, &world, &identity).await.unwrap().0),
                }
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
}

fn say(what: &str, call: &CallId) {
    // One write per line: a line that was read was said whole.
    std::io::stdout().write_all(format!("said {what} {call}\n").as_bytes()).unwrap();
}

/// Runs the child until it has said so many lines, kills it, and gives back everything it said.
fn said_before_kill(directory: &Path, lines: u64) -> Vec<(String, CallId)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_writes_until_killed", "--nocapture"])
        .env(DIRECTORY, directory)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut said = Vec::new();
    let mut line = String::new();
    while output.read_line(&mut line).unwrap() > 0 {
        // The test harness may begin the line.
        if let Some(at) = line.find("said ")
            && line.ends_with('\n')
        {
            let words: Vec<&str> = line[at..].split_whitespace().collect();
            said.push((words[1].to_owned(), CallId::new(words[2]).unwrap()));
        }
        if said.len() as u64 == lines {
            // SIGKILL. What is still in the pipe was said before.
            child.kill().unwrap();
        }
        line.clear();
    }
    assert!(!child.wait().unwrap().success());
    assert!(said.len() as u64 >= lines, "the child ended by itself");
    said
}

#[test]
fn nothing_acknowledged_is_lost_by_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut acknowledged = Vec::new();
    for round in 1..=KILLS {
        // A fixed schedule (xorshift64): the first line, or some way into the run.
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        let said = said_before_kill(directory.path(), 1 + seed % 90);
        acknowledged.extend(said);
        runtime.block_on(check(directory.path(), round, &acknowledged));
    }
}

async fn check(directory: &Path, round: u64, acknowledged: &[(String, CallId)]) {
    let (store, opened) = Store::open(options(directory)).unwrap();
    let gap = opened.gap.expect("an unclean end leaves a gap");
    assert!(!opened.was_clean);

    let (mut begun, mut ended) = (BTreeSet::new(), BTreeSet::new());
    let mut unknown = 0;
    for entry in entries(&store).await {
        let text = |name: &str| entry.get(name).and_then(Json::as_str).unwrap_or_default();
        let call = text("call").to_owned();
        match text("k") {
            "intent" => assert!(begun.insert(call), "two intents"),
            "refusal" => {
                assert!(begun.insert(call.clone()) && ended.insert(call), "two refusals");
            }
            "outcome" => {
                assert!(ended.insert(call), "two outcomes");
                unknown += u64::from(text("state") != "succeeded");
            }
            _ => {}
        }
    }
    let gaps = async |tenant| {
        let entries = entries_of(&store, tenant).await;
        kinds(&entries).iter().filter(|kind| **kind == "gap").count() as u64
    };
    assert_eq!(gaps("default").await, round, "one gap for every kill");
    assert_eq!(begun, ended, "every intent has an outcome");
    assert!(unknown >= gap.in_doubt + gap.truncated);
    for (what, call) in acknowledged {
        let trace = store.trace(call).await.unwrap();
        let trace = trace.unwrap_or_else(|| panic!("{what} of {call} is lost"));
        if what == "outcome" {
            let state = trace.entries[1].leaf.get("state").and_then(Json::as_str);
            assert_eq!(state, Some("succeeded"), "the outcome of {call} is lost");
        }
    }
    verify(&store).await.unwrap();
    verify_of(&store, "acme").await.unwrap();
    // It began to have a log before the first kill, or after it.
    let of_acme = gaps("acme").await;
    assert!([round, round - 1].contains(&of_acme), "{of_acme} gaps after {round} kills");
    store.close().await.unwrap();
}
