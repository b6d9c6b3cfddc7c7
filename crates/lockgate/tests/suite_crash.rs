//! The gate is killed again and again while it writes: nothing happens twice, nothing that was
//! answered is lost, nothing happens without an intent.
#![cfg(test)]

mod support;

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use support::Client;
use support::shop::{Faults, SETTLED, Shop, WRITES, doubts, gate};

/// How often it is killed, where nobody says otherwise.
const CRASHES: usize = 20;
/// Says otherwise.
const CRASHES_VARIABLE: &str = "LOCKGATE_CRASHES";
const CLIENTS: usize = 6;
/// Answers after which it is killed: up to so many.
const ANSWERS_MAX: u64 = 60;

/// The network is not good either.
const FAULTS: Faults = Faults { reset: 10, refused: 10, lost: 30, cut: 20, late: 5, hangs: 0 };

type Write = (&'static str, usize);

#[test]
fn a_gate_that_is_killed_while_it_writes_does_nothing_twice_and_loses_nothing() {
    let crashes = std::env::var(CRASHES_VARIABLE);
    let crashes = crashes.ok().and_then(|text| text.parse().ok()).unwrap_or(CRASHES);
    let shop = Shop::start(7, FAULTS);
    let (mut gate, address) = gate(&shop);
    let token = gate.command(&["token", "alice", "--agent", "bot"]).unwrap();
    let next = AtomicUsize::new(0);
    // What was asked for: `true` once it was answered as done.
    let asked: Mutex<BTreeMap<Write, bool>> = Mutex::default();
    for crash in 0..crashes {
        gate.start(address).unwrap();
        let patience = 1 + (crash as u64).wrapping_mul(0x9e37_79b9) % ANSWERS_MAX;
        let (tell, hear) = mpsc::channel();
        std::thread::scope(|scope| {
            for number in 0..CLIENTS {
                let (tell, asked, next) = (tell.clone(), &asked, &next);
                let client = Client::new(address, token.trim());
                scope.spawn(move || write_until_killed(client, number, asked, next, &tell));
            }
            drop(tell);
            for (answers, ()) in hear.iter().enumerate() {
                if answers as u64 == patience {
                    gate.kill();
                }
            }
        });
        for ((tool, n), is_answered) in asked.lock().unwrap().iter() {
            let count = shop.count(tool, &n.to_string());
            assert!(count <= 1, "{tool} {n} happened {count} times after {crash} crashes");
            assert!(!is_answered || count == 1, "{tool} {n} was answered and is not done");
        }
    }

    shop.set_faults(Faults::NONE);
    gate.start(address).unwrap();
    let mut client = Client::new(address, token.trim());
    let asked = asked.into_inner().unwrap();
    for (tool, n) in asked.keys() {
        let name = n.to_string();
        let mut code = String::new();
        let is_known = || {
            code = client.write(tool, &name).unwrap();
            (code.is_empty() || *tool == "letter").then_some(())
        };
        lockgate_sim::wait::until("what became of a write", SETTLED, is_known).unwrap();
        let count = shop.count(tool, &name);
        match code.as_str() {
            "" => assert_eq!(count, 1, "{tool} {n}"),
            "LG-U007" => assert!(count <= 1, "{tool} {n} happened {count} times"),
            other => panic!("{tool} {n}: {other}"),
        }
    }
    every_effect_has_an_intent(&gate, &shop);
    let open = doubts(&gate);
    assert!(open.iter().all(|effect| effect["operation"] == "tool/letter"), "{open:?}");
    assert!(gate.command(&["verify"]).unwrap().starts_with("verified "));
    gate.stop().unwrap();
}

/// Asks for what has no answer yet, then for more, until the gate is gone.
fn write_until_killed(
    mut client: Client,
    number: usize,
    asked: &Mutex<BTreeMap<Write, bool>>,
    next: &AtomicUsize,
    tell: &mpsc::Sender<()>,
) {
    let open: Vec<Write> = {
        let asked = asked.lock().unwrap();
        let open = asked.iter().filter(|(_, is_answered)| !**is_answered);
        // Several ask for the same: clients do.
        open.map(|(write, _)| *write).filter(|(_, n)| !(n + number).is_multiple_of(3)).collect()
    };
    let more = std::iter::repeat_with(|| {
        let n = next.fetch_add(1, Ordering::Relaxed);
        (WRITES[n % WRITES.len()], n)
    });
    for (tool, n) in open.into_iter().chain(more) {
        asked.lock().unwrap().entry((tool, n)).or_insert(false);
        let Ok(code) = client.write(tool, &n.to_string()) else { return };
        if code.is_empty() {
            asked.lock().unwrap().insert((tool, n), true);
        }
        let _ = tell.send(());
    }
}

/// What the upstream was told as the key of an effect names the call whose intent is in the log.
fn every_effect_has_an_intent(gate: &lockgate_sim::gate::Gate, shop: &Shop) {
    let directory = tempfile::tempdir_in(gate.directory()).unwrap();
    gate.command(&["export", directory.path().to_str().unwrap()]).unwrap();
    let entries = support::read_entries(directory.path());
    let entries = entries.iter().map(|entry| serde_json::from_slice::<Value>(entry).unwrap());
    let intents: BTreeSet<String> = entries
        .filter(|entry| entry["k"] == "intent")
        .map(|entry| format!("lg_{}", entry["call"].as_str().unwrap()))
        .collect();
    let keys = shop.keys();
    assert!(!keys.is_empty());
    for key in keys {
        assert!(intents.contains(&key), "{key} happened without an intent");
    }
}
