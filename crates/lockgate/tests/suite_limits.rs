//! Caps and rates of the built program: at one gate, and at three nodes on one PostgreSQL.
#![cfg(test)]

mod support;

use lockgate_sim::gate::Gate;
use lockgate_sim::wait;
use serde_json::json;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use support::fleet::Fleet;
use support::shop::{Faults, Shop, TIMEOUT};
use support::{Client, SOON};

const NODES: usize = 3;
const CALLERS: usize = 64;
const OVER_A_YEAR: &str = "window_s = 31622400\n";

/// Payments may name whom they are for, and take as long as they take.
fn patient(gate: &Gate) {
    let timeout = format!("timeout_ms = {}", TIMEOUT.as_millis());
    gate.edit("lockgate.toml", |text| text.replace(&timeout, "timeout_ms = 60000")).unwrap();
    let n = r#""n":{"type":"string"}"#;
    let whom = format!(r#"{n},"whom":{{"type":"array"}}"#);
    gate.edit("operations/tool.toml", |text| text.replace(n, &whom)).unwrap();
}

fn at_one_gate(shop: &Shop, more: &str) -> (Gate, SocketAddr, String) {
    let mut gate = Gate::new(support::PROGRAM).unwrap();
    support::shop::write_bundle(&gate, shop, "127.0.0.1:0".parse().unwrap(), more);
    patient(&gate);
    let address = gate.start_anywhere().unwrap();
    let token = gate.command(&["token", "alice", "--agent", "bot"]).unwrap();
    (gate, address, token.trim().to_owned())
}

/// How many of many callers get through, each asking so often, at a node each.
fn through(fleet: &Fleet, times: usize, whom: &[&str], code: &str) -> usize {
    let done = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for caller in 0..CALLERS {
            let (node, done) = (&fleet.nodes[caller % NODES], &done);
            scope.spawn(move || {
                let mut client = Client::new(node.address, &node.token);
                for time in 0..times {
                    let arguments = json!({"n": format!("{caller}/{time}"), "whom": whom});
                    match client.call("pay", arguments).code() {
                        said if said.is_empty() => drop(done.fetch_add(1, Ordering::Relaxed)),
                        said => assert_eq!(said, code),
                    }
                }
            });
        }
    });
    done.into_inner()
}

#[test]
fn a_place_is_free_again_after_the_gate_was_killed() {
    let shop = Shop::start(7, Faults::NONE);
    let cap = "[[cap]]\nname = \"one\"\nper = \"agent\"\nconcurrent = 1\n";
    let (mut gate, address, token) = at_one_gate(&shop, cap);
    for round in 0..3 {
        shop.hold();
        shop.take_arrived();
        let address = if round == 0 { address } else { gate.start_anywhere().unwrap() };
        let mut client = Client::new(address, &token);
        let held = token.clone();
        let first = format!("{round}/first");
        let asking =
            std::thread::spawn(move || Client::new(address, &held).write("letter", &first));
        let has_arrived = || (shop.count_arrived() > 0).then_some(());
        wait::until("the call to arrive", SOON, has_arrived).unwrap();
        let other = client.call("letter", json!({"n": format!("{round}/other")}));
        assert_eq!(other.code(), "LG-D024");
        assert!(other.text().contains("(1 of 1 are used)"), "{}", other.text());
        let shown = gate.command(&["limits", "--agent", "bot", "--json"]).unwrap();
        let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
        let expected = json!({"name": "one", "per": "agent", "of": "bot", "used": 1, "max": 1});
        assert_eq!(shown["caps"], json!([expected]));
        gate.kill();
        assert!(asking.join().unwrap().is_err());
        shop.let_go();
    }
    let address = gate.start_anywhere().unwrap();
    assert_eq!(Client::new(address, &token).write("letter", "last").unwrap(), "");
    assert!(gate.command(&["verify"]).unwrap().starts_with("verified "));
    gate.stop().unwrap();
}

#[test]
fn what_is_asked_too_often_says_when_to_come_back() {
    let shop = Shop::start(7, Faults::NONE);
    let rate = "[[rate]]\nname = \"slow\"\nper = \"agent\"\namount = 1\ninterval_s = 86400\n\
                burst = 3\n";
    let (mut gate, address, token) = at_one_gate(&shop, rate);
    let mut client = Client::new(address, &token);
    for n in 0..3 {
        assert_eq!(client.write("pay", &n.to_string()).unwrap(), "");
    }
    let refused = client.call("pay", json!({"n": "3"}));
    assert_eq!(refused.code(), "LG-D031", "{}", refused.text());
    assert!(refused.text().contains("the rate `slow` lets through 1 in 86400 s, and 3 at once"));
    assert_eq!(shop.keys().len(), 3);
    assert!(gate.command(&["verify"]).unwrap().starts_with("verified "));
    gate.stop().unwrap();
}

#[test]
fn three_nodes_have_as_many_calls_under_way_as_one_and_a_lost_node_keeps_none() {
    let shop = Shop::start(7, Faults::NONE);
    let cap = "[[cap]]\nname = \"five\"\nper = \"agent\"\nconcurrent = 5\n";
    let mut fleet = Fleet::start_with(NODES, &shop, cap, patient);
    shop.hold();
    let (refused, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for caller in 0..CALLERS {
            let (node, refused, done) = (&fleet.nodes[caller % NODES], &refused, &done);
            scope.spawn(move || {
                let mut client = Client::new(node.address, &node.token);
                match client.write("pay", &caller.to_string()).unwrap().as_str() {
                    "" => done.fetch_add(1, Ordering::Relaxed),
                    "LG-D024" => refused.fetch_add(1, Ordering::Relaxed),
                    other => panic!("{other}"),
                }
            });
        }
        let are_told = || (refused.load(Ordering::Relaxed) == CALLERS - 5).then_some(());
        wait::until("all but five to be told", SOON, are_told).unwrap();
        assert_eq!(shop.count_arrived(), 5);
        shop.let_go();
    });
    assert_eq!((done.into_inner(), shop.keys().len()), (5, 5));
    // However a node ends, the others get its places: after they have ended its calls.
    shop.hold();
    shop.take_arrived();
    let lost = &fleet.nodes[2];
    let asking: Vec<_> = (0..5)
        .map(|n| {
            let (address, token) = (lost.address, lost.token.clone());
            std::thread::spawn(move || {
                Client::new(address, &token).write("letter", &format!("lost {n}"))
            })
        })
        .collect();
    let have_arrived = || (shop.count_arrived() == 5).then_some(());
    wait::until("the calls to arrive", SOON, have_arrived).unwrap();
    let mut client = Client::new(fleet.nodes[0].address, &fleet.nodes[0].token);
    assert_eq!(client.write("pay", "after").unwrap(), "LG-D024");
    fleet.nodes[2].gate.kill();
    for asked in asking {
        assert!(asked.join().unwrap().is_err());
    }
    shop.let_go();
    let has_room = || client.write("pay", "after").unwrap().is_empty().then_some(());
    wait::until("the lost node's places", SOON, has_room).unwrap();
    for node in &mut fleet.nodes[..2] {
        assert!(node.gate.command(&["verify"]).unwrap().starts_with("verified "));
        node.gate.stop().unwrap();
    }
}

#[test]
fn three_nodes_affect_as_many_entities_as_one() {
    let shop = Shop::start(7, Faults::NONE);
    let cap = format!(
        "[[cap]]\nname = \"whom\"\nper = \"agent\"\nentities = \"whom\"\nmax = 100\n\
         operations = [\"tool/pay\"]\n{OVER_A_YEAR}"
    );
    let mut fleet = Fleet::start_with(NODES, &shop, &cap, patient);
    assert_eq!(through(&fleet, 3, &["a", "b", "c"], "LG-D024"), 33);
    assert_eq!(shop.keys().len(), 33);
    for node in &mut fleet.nodes {
        node.gate.stop().unwrap();
    }
}

#[test]
fn three_nodes_share_a_rate_and_none_goes_beyond_it() {
    let shop = Shop::start(7, Faults::NONE);
    let rate = "[[rate]]\nname = \"slow\"\nper = \"agent\"\namount = 1\ninterval_s = 86400\n\
                burst = 30\n";
    let mut fleet = Fleet::start_with(NODES, &shop, rate, patient);
    let done = through(&fleet, 3, &[], "LG-D031");
    // All that there is, but for what a node has in hand and does not need: a slice is a tenth.
    assert!((30 - 3 * NODES..=30).contains(&done), "{done}");
    assert_eq!(shop.keys().len(), done);
    for node in &mut fleet.nodes {
        node.gate.stop().unwrap();
    }
}
