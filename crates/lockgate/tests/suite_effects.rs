//! Every write happens once, whatever the network does and however often its client retries.
#![cfg(test)]

mod support;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use support::Client;
use support::shop::{Faults, Shop, WRITES, doubts, gate};

/// Writes that are intended, of each class.
const INTENDED: usize = 700;
/// How often each is asked for.
const ASKED: usize = 3;
const CLIENTS: usize = 12;

/// More than two calls in five go wrong.
const FAULTS: Faults = Faults { reset: 80, refused: 100, lost: 110, cut: 100, late: 40, hangs: 10 };

#[test]
fn every_intended_write_happens_once_whatever_the_network_does() {
    let shop = Shop::start(20_261_126, FAULTS);
    let (mut gate, address) = gate(&shop);
    gate.start(address).unwrap();
    let token = gate.command(&["token", "alice", "--agent", "bot"]).unwrap();
    let next = AtomicUsize::new(0);
    let answers: Mutex<BTreeMap<(usize, &str), Vec<String>>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut client = Client::new(address, token.trim());
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= INTENDED {
                        return;
                    }
                    for tool in WRITES {
                        let name = format!("{n}");
                        let codes: Vec<_> =
                            (0..ASKED).map(|_| client.write(tool, &name).unwrap()).collect();
                        answers.lock().unwrap().insert((n, tool), codes);
                    }
                }
            });
        }
    });
    let answers = answers.into_inner().unwrap();
    assert_eq!(answers.len(), INTENDED * WRITES.len());
    let mut in_doubt = 0;
    for ((n, tool), codes) in &answers {
        let count = shop.count(tool, &n.to_string());
        let last = codes.last().unwrap().as_str();
        match *tool {
            "letter" => {
                assert!(count <= 1, "{tool} {n} happened {count} times: {codes:?}");
                // What was answered as done is done, and what is in doubt is said to be.
                assert!(last.is_empty() || last == "LG-U007", "{tool} {n}: {codes:?}");
                assert!(!last.is_empty() || count == 1, "{tool} {n}: {codes:?}");
                in_doubt += usize::from(!last.is_empty());
            }
            _ if last.is_empty() => assert_eq!(count, 1, "{tool} {n}: {codes:?}"),
            // Only what may still arrive at the upstream may be open.
            _ => assert!(count <= 1 && last == "LG-U007", "{tool} {n}: {count} {codes:?}"),
        }
    }
    // With a network that works again, everything that can be found out is.
    shop.set_faults(Faults::NONE);
    let mut client = Client::new(address, token.trim());
    for ((n, tool), codes) in &answers {
        if *tool == "letter" || codes.last().unwrap().is_empty() {
            continue;
        }
        let name = n.to_string();
        let is_done = || client.write(tool, &name).unwrap().is_empty().then_some(());
        lockgate_sim::wait::until("what became of a write", support::shop::SETTLED, is_done)
            .unwrap();
    }
    for tool in ["pay", "order"] {
        for n in 0..INTENDED {
            assert_eq!(shop.count(tool, &n.to_string()), 1, "{tool} {n}");
        }
    }
    let open = doubts(&gate);
    assert!(open.iter().all(|effect| effect["operation"] == "tool/letter"), "{open:?}");
    assert!(in_doubt > 0, "the network was too good");
    gate.stop().unwrap();
}
