//! The gate is killed again and again while it writes: nothing happens twice, nothing that was
//! answered is lost, nothing happens without an intent.
#![cfg(test)]

mod support;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc;
use support::Client;
use support::crash::{Write, crashes, every_effect_has_an_intent, settle, write_until_killed};
use support::shop::{Shop, doubts, gate};

const CLIENTS: usize = 6;
/// Answers after which it is killed: up to so many.
const ANSWERS_MAX: u64 = 60;

#[test]
fn a_gate_that_is_killed_while_it_writes_does_nothing_twice_and_loses_nothing() {
    let crashes = crashes();
    let shop = Shop::start(7, support::crash::FAULTS);
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
        support::crash::check(&shop, &asked.lock().unwrap());
    }

    gate.start(address).unwrap();
    let client = Client::new(address, token.trim());
    settle(&shop, &asked.into_inner().unwrap(), &mut [client]);
    every_effect_has_an_intent(&[&gate], &shop);
    let open = doubts(&gate);
    assert!(open.iter().all(|effect| effect["operation"] == "tool/letter"), "{open:?}");
    assert!(gate.command(&["verify"]).unwrap().starts_with("verified "));
    gate.stop().unwrap();
}
