//! Gates that are killed while they write, and what has to hold afterwards.

use super::Client;
use super::shop::{Faults, SETTLED, Shop, WRITES};
use lockgate_sim::gate::Gate;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};

/// How often a gate is killed, where nobody says otherwise.
const CRASHES: usize = 20;
/// Says otherwise.
const CRASHES_VARIABLE: &str = "LOCKGATE_CRASHES";

/// The network is not good either.
pub(crate) const FAULTS: Faults =
    Faults { reset: 10, refused: 10, lost: 30, cut: 20, late: 5, hangs: 0 };

/// A tool, and what it is asked for.
pub(crate) type Write = (&'static str, usize);

/// How often a gate is to be killed.
pub(crate) fn crashes() -> usize {
    let crashes = std::env::var(CRASHES_VARIABLE);
    crashes.ok().and_then(|text| text.parse().ok()).unwrap_or(CRASHES)
}

/// Asks for what has no answer yet, then for more, until the gate is gone.
pub(crate) fn write_until_killed(
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
        if tell.send(()).is_err() {
            return;
        }
    }
}

/// Nothing has happened twice, and what was answered as done has happened.
pub(crate) fn check(shop: &Shop, asked: &BTreeMap<Write, bool>) {
    for ((tool, n), is_answered) in asked {
        let count = shop.count(tool, &n.to_string());
        assert!(count <= 1, "{tool} {n} happened {count} times");
        assert!(!is_answered || count == 1, "{tool} {n} was answered and is not done");
    }
}

/// With a network that works again, everything that can be found out is.
pub(crate) fn settle(shop: &Shop, asked: &BTreeMap<Write, bool>, clients: &mut [Client]) {
    shop.set_faults(Faults::NONE);
    for (tool, n) in asked.keys() {
        let (name, at) = (n.to_string(), n % clients.len());
        let client = &mut clients[at];
        let mut code = String::new();
        let is_known = || {
            // A gate closes connections that nobody uses.
            code = client.write(tool, &name).or_else(|_| client.again(tool, &name)).unwrap();
            (code.is_empty() || (*tool == "letter" && code == "LG-U007")).then_some(())
        };
        let known = lockgate_sim::wait::until("what became of a write", SETTLED, is_known);
        known.unwrap_or_else(|error| panic!("{error}: {tool} {n}: {code}"));
        let count = shop.count(tool, &name);
        match code.as_str() {
            "" => assert_eq!(count, 1, "{tool} {n}"),
            _ => assert!(count <= 1, "{tool} {n} happened {count} times"),
        }
    }
}

/// What the upstream was told as the key of an effect names the call whose intent is in a log.
pub(crate) fn every_effect_has_an_intent(gates: &[&Gate], shop: &Shop) {
    let mut intents = BTreeSet::new();
    for gate in gates {
        let directory = tempfile::tempdir_in(gate.directory()).unwrap();
        gate.command(&["export", directory.path().to_str().unwrap()]).unwrap();
        for entry in super::read_entries(directory.path()) {
            let entry: Value = serde_json::from_slice(&entry).unwrap();
            if entry["k"] == "intent" {
                intents.insert(format!("lg_{}", entry["call"].as_str().unwrap()));
            }
        }
    }
    let keys = shop.keys();
    assert!(!keys.is_empty());
    for key in keys {
        assert!(intents.contains(&key), "{key} happened without an intent");
    }
}
