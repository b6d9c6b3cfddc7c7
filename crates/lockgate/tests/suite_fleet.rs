//! Three nodes on one PostgreSQL: what holds at one gate holds across them.
#![cfg(test)]

mod support;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use support::fleet::Fleet;
use support::shop::{Faults, SETTLED, Shop, WRITES, doubts};

const NODES: usize = 3;
/// Writes that are intended, of each class.
const INTENDED: usize = 700;
/// How often each is asked for: at another node each time.
const ASKED: usize = 3;
const CLIENTS: usize = 12;

/// More than two calls in five go wrong.
const FAULTS: Faults = Faults { reset: 80, refused: 100, lost: 110, cut: 100, late: 40, hangs: 10 };

#[test]
fn every_intended_write_happens_once_whichever_node_is_asked() {
    let shop = Shop::start(20_261_126, FAULTS);
    let mut fleet = Fleet::start(NODES, &shop, "");
    let next = AtomicUsize::new(0);
    let answers: Mutex<BTreeMap<(usize, &str), Vec<String>>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut clients = fleet.clients();
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= INTENDED {
                        return;
                    }
                    for tool in WRITES {
                        let name = format!("{n}");
                        let ask =
                            |time: usize| clients[(n + time) % NODES].write(tool, &name).unwrap();
                        let codes: Vec<_> = (0..ASKED).map(ask).collect();
                        answers.lock().unwrap().insert((n, tool), codes);
                    }
                }
            });
        }
    });
    let answers = answers.into_inner().unwrap();
    assert_eq!(answers.len(), INTENDED * WRITES.len());
    shop.set_faults(Faults::NONE);
    let mut clients = fleet.clients();
    let mut in_doubt = 0;
    for ((n, tool), codes) in &answers {
        let count = shop.count(tool, &n.to_string());
        let last = codes.last().unwrap().as_str();
        assert!(last.is_empty() || last == "LG-U007", "{tool} {n}: {codes:?}");
        assert!(count <= 1, "{tool} {n} happened {count} times: {codes:?}");
        // What was answered as done is done, and what is in doubt is said to be.
        assert!(!last.is_empty() || count == 1, "{tool} {n}: {codes:?}");
        if *tool == "letter" {
            in_doubt += usize::from(!last.is_empty());
        } else if !last.is_empty() {
            // With a network that works again, everything that can be found out is.
            let name = n.to_string();
            let client = &mut clients[n % NODES];
            let mut code = String::new();
            let is_done = || {
                code = client.write(tool, &name).unwrap();
                code.is_empty().then_some(())
            };
            let done = lockgate_sim::wait::until("what became of a write", SETTLED, is_done);
            done.unwrap_or_else(|error| panic!("{error}: {tool} {n}: {code}"));
        }
    }
    for tool in ["pay", "order"] {
        for n in 0..INTENDED {
            assert_eq!(shop.count(tool, &n.to_string()), 1, "{tool} {n}");
        }
    }
    assert!(in_doubt > 0, "the network was too good");
    for node in &mut fleet.nodes {
        let open = doubts(&node.gate);
        assert!(open.iter().all(|effect| effect["operation"] == "tool/letter"), "{open:?}");
        assert!(node.gate.command(&["verify"]).unwrap().starts_with("verified "));
        node.gate.stop().unwrap();
    }
}

#[test]
fn a_cap_of_100_writes_lets_100_happen_at_three_nodes() {
    const CAP: &str = "\n[[cap]]\nname = \"writes\"\nper = \"agent\"\nmax = 100\n\
        window_s = 31622400\noperations = [\"tool/pay\"]\n";
    let shop = Shop::start(7, Faults::NONE);
    let mut fleet = Fleet::start(NODES, &shop, CAP);
    let (done, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for caller in 0..64_usize {
            let (fleet, done, refused) = (&fleet, &done, &refused);
            scope.spawn(move || {
                let node = &fleet.nodes[caller % NODES];
                let mut client = support::Client::new(node.address, &node.token);
                for round in 0..4 {
                    let code = client.write("pay", &format!("{caller}/{round}")).unwrap();
                    match code.as_str() {
                        "" => done.fetch_add(1, Ordering::Relaxed),
                        "LG-D024" => refused.fetch_add(1, Ordering::Relaxed),
                        other => panic!("{other}"),
                    };
                }
            });
        }
    });
    assert_eq!((done.into_inner(), refused.into_inner()), (100, 156));
    assert_eq!(shop.keys().len(), 100);
    for node in &mut fleet.nodes {
        node.gate.stop().unwrap();
    }
}
