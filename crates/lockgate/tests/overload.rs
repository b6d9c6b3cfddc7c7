//! More than the cores can do: what is beyond is turned away at once and says when to come back;
//! what was taken on is done, and what stops things always works.
#![cfg(test)]

mod support;

use lockgate_sim::wait;
use serde_json::json;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use support::{Client, World};

/// Callers at once: on either of two lanes more than it serves without looking.
const CALLERS: usize = 96;
/// How long it may take until the gate has noticed.
const NOTICES_WITHIN: Duration = Duration::from_secs(60);

#[test]
fn what_is_beyond_the_cores_is_turned_away_and_what_stops_things_is_not() {
    let mut world = World::new();
    let file = "lockgate.toml";
    world.gate.edit(file, |text| text.replace("lag_ms_max = 0", "lag_ms_max = 1")).unwrap();
    world.start();
    let token = world.token("alice", "bot");
    let (is_over, done, turned_away) =
        (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..CALLERS {
            let mut client = Client::new(world.address, &token);
            let (is_over, done, turned_away) = (&is_over, &done, &turned_away);
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    let answer = client.call("echo", json!({"text": "hello"}));
                    if answer.status == 503 {
                        assert_eq!(answer.code(), "LG-S010");
                        assert_eq!(answer.header("retry-after"), Some("1"));
                        turned_away.fetch_add(1, Ordering::Relaxed);
                    } else if answer.json()["result"]["content"][0]["text"] == "hello" {
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        let some = || (turned_away.load(Ordering::Relaxed) > 0).then_some(());
        let noticed = wait::until("calls are turned away", NOTICES_WITHIN, some);
        let stopped = world.gate.command(&["kill", "--agent", "bot", "--reason", "loops"]);
        is_over.store(true, Ordering::Relaxed);
        noticed.unwrap();
        stopped.unwrap();
    });
    assert!(done.load(Ordering::Relaxed) > 0);
    let entries = world.entries();
    let is_noted = |entry: &serde_json::Value| entry.to_string().contains("LG-S010");
    assert!(!entries.iter().any(is_noted), "there is no time to write that down");
}
