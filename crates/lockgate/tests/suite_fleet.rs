//! Three nodes on one PostgreSQL: what holds at one gate holds across them.
#![cfg(test)]

#[path = "fleet/sources.rs"]
mod sources;
mod support;

use lockgate_sim::gate::Gate;
use lockgate_sim::postgres::SUPERUSER;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};
use std::time::Duration;
use support::Client;
use support::crash::{Write, crashes, every_effect_has_an_intent, settle, write_until_killed};
use support::fleet::Fleet;
use support::http::{Answer, Request, exchange};
use support::shop::{Faults, SETTLED, Shop, WRITES, doubts, now_us, write};

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
        // A machine that is too busy to renew a lease says so, and has sent nothing.
        let is_said = ["", "LG-U007", "LG-S008", "LG-S001"].contains(&last);
        assert!(is_said, "{tool} {n}: {codes:?}");
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

/// How often it is stopped, where nobody says otherwise.
const STOPS: usize = 24;
/// Says otherwise, and that it is measured: nothing else should run then.
const STOPS_VARIABLE: &str = "LOCKGATE_STOPS";
/// The bar, in microseconds.
const CONTAINED_WITHIN_US: i64 = 250_000;

/// What stands in the way of a node while everything is stopped.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Trouble {
    None,
    /// It is stopped, and goes on later.
    Paused,
    /// Nothing arrives at the database.
    CutOff,
}

#[test]
fn a_kill_stops_three_nodes_that_write_at_full_speed() {
    let measured: Option<usize> =
        std::env::var(STOPS_VARIABLE).ok().and_then(|text| text.parse().ok());
    let stops = measured.unwrap_or(STOPS);
    let shop = Shop::start(7, Faults::NONE);
    let mut fleet = Fleet::start(NODES, &shop, "");
    let (is_over, next) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut taken: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    std::thread::scope(|scope| {
        for caller in 0..2 * NODES {
            let (node, is_over, next) = (&fleet.nodes[caller % NODES], &is_over, &next);
            scope.spawn(move || {
                let mut client = Client::new(node.address, &node.own);
                while !is_over.load(Ordering::Relaxed) {
                    let n = next.fetch_add(1, Ordering::Relaxed).to_string();
                    let code = client.write("pay", &n).unwrap();
                    let is_known = ["", "LG-D009", "LG-S008", "LG-S001", "LG-U007"];
                    assert!(is_known.contains(&code.as_str()), "{code}");
                    if !code.is_empty() {
                        // tidy: allow sleep: a refused client comes back a little later
                        std::thread::sleep(Duration::from_millis(2));
                    }
                }
            });
        }
        for stop in 0..stops {
            let trouble = match stop % 8 {
                3 | 6 => Trouble::Paused,
                7 => Trouble::CutOff,
                _ => Trouble::None,
            };
            let took = stop_once(&fleet, &shop, stop, trouble);
            taken.entry(format!("{trouble:?}")).or_default().push(took);
        }
        is_over.store(true, Ordering::Relaxed);
    });
    let mut whole: Vec<i64> = Vec::new();
    for (trouble, times) in &mut taken {
        times.sort_unstable();
        let at = |per_cent: usize| times[(times.len() - 1) * per_cent / 100];
        println!("{trouble}: {} stops, p50 {} us, p99 {} us", times.len(), at(50), at(99));
        if trouble != "CutOff" {
            whole.extend(&*times);
        }
    }
    whole.sort_unstable();
    let p99 = whole[(whole.len() - 1) * 99 / 100];
    // A figure is asked for where it is measured; that nothing leaves after, always.
    assert!(measured.is_none() || p99 <= CONTAINED_WITHIN_US, "{whole:?}");
    for node in &mut fleet.nodes {
        node.gate.stop().unwrap();
    }
}

/// Stops everything while all nodes write, and lets them go on. Gives microseconds from the start
/// of the command to the last call that leaves, but for those that are listed.
fn stop_once(fleet: &Fleet, shop: &Shop, stop: usize, trouble: Trouble) -> i64 {
    let (at, hindered) = (&fleet.nodes[stop % NODES], &fleet.nodes[(stop + 1) % NODES]);
    let signal = |name: &str| {
        let id = hindered.gate.id().unwrap().to_string();
        assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
    };
    shop.take_arrived();
    let writes = || (shop.count_arrived() > 60).then_some(());
    lockgate_sim::wait::until("writes", support::SOON, writes).unwrap();
    match trouble {
        Trouble::None => {}
        Trouble::Paused => signal("-STOP"),
        Trouble::CutOff => hindered.way.cut(),
    }
    let began = now_us();
    let said = at.gate.command(&["kill", "--all", "--reason", "drill", "--json"]).unwrap();
    let said: Value = serde_json::from_str(&said).unwrap();
    match trouble {
        Trouble::None => {}
        Trouble::Paused => signal("-CONT"),
        Trouble::CutOff => hindered.way.mend(),
    }
    let contained_at = said["contained_at"].as_i64().unwrap();
    let listed: BTreeSet<String> = said["under_way"]
        .as_array()
        .unwrap()
        .iter()
        .map(|call| format!("lg_{}", call.as_str().unwrap()))
        .collect();
    // Every node has said no since, so that whatever was still to leave has left.
    for node in &fleet.nodes {
        let mut client = Client::new(node.address, &node.token);
        let is_stopped = || (client.write("pay", "none").unwrap() == "LG-D009").then_some(());
        lockgate_sim::wait::until("a node to say no", support::SOON, is_stopped).unwrap();
    }
    let arrived = shop.take_arrived();
    let after: Vec<_> = arrived.iter().filter(|(at, _)| *at > contained_at).collect();
    let unlisted: Vec<_> = after.iter().filter(|(_, key)| !listed.contains(key)).collect();
    assert!(unlisted.is_empty(), "{trouble:?} {unlisted:?} left after {contained_at}");
    let last = arrived.iter().filter(|(_, key)| !listed.contains(key)).map(|(at, _)| *at).max();
    let lift = ["lift", "--all", "--reason", "drill over"];
    at.gate.command(&lift).unwrap();
    (last.unwrap_or(began) - began).max(0)
}

#[test]
fn nodes_that_are_killed_while_they_write_do_nothing_twice_and_lose_nothing() {
    let shop = Shop::start(7, support::crash::FAULTS);
    let mut fleet = Fleet::start(NODES, &shop, "");
    let next = AtomicUsize::new(0);
    let asked: Mutex<BTreeMap<Write, bool>> = Mutex::default();
    for crash in 0..crashes() {
        let patience = 1 + (crash as u64).wrapping_mul(0x9e37_79b9) % 60;
        let (tell, hear) = mpsc::channel();
        std::thread::scope(|scope| {
            for number in 0..2 * NODES {
                let node = &fleet.nodes[number % NODES];
                let client = Client::new(node.address, &node.token);
                let (tell, asked, next) = (tell.clone(), &asked, &next);
                scope.spawn(move || write_until_killed(client, number, asked, next, &tell));
            }
            drop(tell);
            let killed = fleet.nodes[crash % NODES].gate.id().unwrap().to_string();
            for (answers, ()) in hear.into_iter().enumerate() {
                if answers as u64 == patience {
                    assert!(
                        Command::new("kill").args(["-KILL", &killed]).status().unwrap().success()
                    );
                }
                // The others go on for a while.
                if answers as u64 > patience + 20 {
                    break;
                }
            }
        });
        support::crash::check(&shop, &asked.lock().unwrap());
        let node = &mut fleet.nodes[crash % NODES];
        node.gate.kill();
        node.address = node.gate.start_anywhere().unwrap();
    }
    let mut clients = fleet.clients();
    settle(&shop, &asked.into_inner().unwrap(), &mut clients);
    let gates: Vec<_> = fleet.nodes.iter().map(|node| &node.gate).collect();
    every_effect_has_an_intent(&gates, &shop);
    for node in &mut fleet.nodes {
        let open = doubts(&node.gate);
        assert!(open.iter().all(|effect| effect["operation"] == "tool/letter"), "{open:?}");
        assert!(node.gate.command(&["verify"]).unwrap().starts_with("verified "));
        node.gate.stop().unwrap();
    }
}

#[test]
fn what_a_lost_node_left_open_the_others_find_out() {
    let shop = Shop::start(7, Faults { hangs: 1000, ..Faults::NONE });
    let mut fleet = Fleet::start(2, &shop, "");
    let lost = &fleet.nodes[1];
    let (address, token) = (lost.address, lost.token.clone());
    let asking = std::thread::spawn(move || Client::new(address, &token).write("pay", "1"));
    let has_arrived = || (shop.count_arrived() > 0).then_some(());
    lockgate_sim::wait::until("the call to arrive", support::SOON, has_arrived).unwrap();
    fleet.nodes[1].gate.kill();
    assert!(asking.join().unwrap().is_err());
    shop.set_faults(Faults::NONE);
    // Nobody can know yet: it is under way, for all that the other node knows.
    let mut client = Client::new(fleet.nodes[0].address, &fleet.nodes[0].token);
    let mut codes = BTreeSet::new();
    let is_done = || {
        let code = client.write("pay", "1").unwrap();
        codes.insert(code.clone());
        code.is_empty().then_some(())
    };
    lockgate_sim::wait::until("the lost node's effect", support::SOON, is_done).unwrap();
    assert_eq!(shop.count("pay", "1"), 1);
    assert!(
        codes.iter().all(|code| ["", "LG-D019", "LG-U007"].contains(&code.as_str())),
        "{codes:?}"
    );
    // It comes back, and has nothing left to do.
    let node = &mut fleet.nodes[1];
    node.address = node.gate.start_anywhere().unwrap();
    let mut client = Client::new(node.address, &node.token);
    assert_eq!(client.write("pay", "1").unwrap(), "");
    assert_eq!(shop.count("pay", "1"), 1);
    assert!(node.gate.command(&["verify"]).unwrap().starts_with("verified "));
}

/// Letters need somebody who agrees.
const ASKS: &str = r#"
@id("letters-need-somebody") @require_approval("user:operator")
forbid (principal, action == Action::"tool/letter", resource)
unless { context.approvals.contains("user:operator") };
"#;

/// A letter by a client that can show addresses, with what it brings back.
fn shown(client: &mut Client, n: &str, state: Option<&str>) -> Answer {
    let mut request = write("letter", n).with("Authorization", &format!("Bearer {}", client.token));
    let mut message: Value = serde_json::from_slice(&request.body).unwrap();
    message["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] =
        json!({"elicitation": {"url": {}}});
    if let Some(state) = state {
        message["params"]["requestState"] = state.into();
    }
    request.body = message.to_string().into_bytes();
    client.connection.exchange(&request)
}

#[test]
fn an_approval_given_at_one_node_is_spent_once_at_another() {
    let shop = Shop::start(7, Faults::NONE);
    let asks = |gate: &lockgate_sim::gate::Gate| {
        gate.edit("policies/test.cedar", |text| format!("{text}{ASKS}")).unwrap();
        let console = "[console]\nurl = \"https://gate.example\"";
        gate.edit("lockgate.toml", |text| format!("{text}\n{console}\n")).unwrap();
    };
    let mut fleet = Fleet::start_with(NODES, &shop, "", asks);
    let mut clients = fleet.clients();
    assert_eq!(clients[0].write("letter", "1").unwrap(), "LG-D008");
    let listed = |fleet: &Fleet, at: usize| -> Vec<Value> {
        let listed = fleet.nodes[at].gate.command(&["approvals", "--json"]).unwrap();
        let listed: Value = serde_json::from_str(&listed).unwrap();
        listed["approvals"].as_array().unwrap().clone()
    };
    let request = listed(&fleet, 1)[0]["call"].as_str().unwrap().to_owned();
    // Whoever can be shown where people answer comes back with a state.
    let told = shown(&mut clients[1], "1", None).json();
    let state = told["result"]["requestState"].as_str().unwrap().to_owned();
    assert!(state.ends_with(&request), "{told}");
    // A restart between request and grant changes nothing.
    fleet.nodes[0].gate.kill();
    fleet.nodes[0].address = fleet.nodes[0].gate.start_anywhere().unwrap();
    let give = ["approvals", "give", &request, "--reason", "fine"];
    fleet.nodes[1].gate.command(&give).unwrap();
    let again = fleet.nodes[0].gate.command(&give).unwrap_err();
    assert!(again.contains("LG-D021"), "{again}");
    // Another argument is another proposal, and so is another subject.
    assert_eq!(clients[2].write("letter", "2").unwrap(), "LG-D008");
    let mut bob = Client::new(fleet.nodes[1].address, &fleet.nodes[1].own);
    assert_eq!(bob.write("letter", "1").unwrap(), "LG-D008");
    assert_eq!(shown(&mut clients[2], "2", Some(&state)).code(), "LG-W022");
    assert_eq!(shown(&mut bob, "1", Some(&state)).code(), "LG-W022");
    let done = shown(&mut clients[2], "1", Some(&state));
    assert_eq!((done.code().as_str(), done.status), ("", 200), "{}", done.text());
    assert_eq!(shop.count("letter", "1"), 1);
    // Asked for again, it is the same effect, at every node.
    let mut clients = fleet.clients();
    for client in &mut clients {
        assert_eq!(client.write("letter", "1").unwrap(), "");
    }
    assert_eq!(shop.count("letter", "1"), 1);
    for node in &mut fleet.nodes {
        node.gate.stop().unwrap();
    }
}

#[test]
fn a_session_continues_at_any_node_and_after_a_restart() {
    let shop = Shop::start(7, Faults::NONE);
    let mut fleet = Fleet::start(NODES, &shop, "");
    let said = |node: usize, fleet: &Fleet, token: &str, session: &str, request: Request| {
        let request = request.with("Authorization", &format!("Bearer {token}"));
        let request = match session {
            "" => request,
            id => request.with("Mcp-Session-Id", id).with("MCP-Protocol-Version", "2025-11-25"),
        };
        exchange(fleet.nodes[node].address, &request)
    };
    let post = |method: &str, params: Value| {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        Request::post("/mcp/tool", body.to_string())
    };
    let letter = |n: &str| post("tools/call", json!({"name": "letter", "arguments": {"n": n}}));
    let introduction = json!({"protocolVersion": "2025-11-25",
        "capabilities": {"roots": {}}, "clientInfo": {"name": "test", "version": "1"}});
    let alice = |fleet: &Fleet, node: usize| fleet.nodes[node].token.clone();
    let opened = said(0, &fleet, &alice(&fleet, 0), "", post("initialize", introduction));
    let session = opened.header("mcp-session-id").expect("a session").to_owned();

    // At the others as well, and where it was opened once that has begun anew.
    fleet.nodes[0].gate.kill();
    fleet.nodes[0].address = fleet.nodes[0].gate.start_anywhere().unwrap();
    for node in [1, 0, 2, 1] {
        let n = format!("{node} {}", shop.count_arrived());
        let answer = said(node, &fleet, &alice(&fleet, node), &session, letter(&n));
        assert_eq!((answer.status, answer.code().as_str()), (200, ""), "{}", answer.text());
        assert_eq!(shop.count("letter", &n), 1);
    }
    // To nobody else, and not at another address.
    let foreign = said(1, &fleet, &fleet.nodes[1].own, &session, letter("foreign"));
    assert_eq!((foreign.status, foreign.code().as_str()), (404, "LG-W012"));
    let mut elsewhere = letter("elsewhere");
    elsewhere.path = "/mcp".to_owned();
    assert_eq!(said(1, &fleet, &alice(&fleet, 1), &session, elsewhere).status, 404);
    // It ends for all who have not taken it up.
    let end = said(1, &fleet, &alice(&fleet, 1), &session, Request::new("DELETE", "/mcp/tool"));
    assert_eq!(end.status, 204);
    fleet.nodes[0].gate.stop().unwrap();
    fleet.nodes[0].address = fleet.nodes[0].gate.start_anywhere().unwrap();
    let ended = said(0, &fleet, &alice(&fleet, 0), &session, letter("ended"));
    assert_eq!((ended.status, ended.code().as_str()), (404, "LG-W012"));
    for n in ["foreign", "elsewhere", "ended"] {
        assert_eq!(shop.count("letter", n), 0, "{n}");
    }
    for node in &mut fleet.nodes {
        node.gate.stop().unwrap();
    }
}

#[test]
fn a_bundle_published_at_one_node_rules_them_all() {
    let shop = Shop::start(7, Faults::NONE);
    let mut fleet = Fleet::start(2, &shop, "");
    let mut clients = fleet.clients();
    for (at, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.write("letter", &format!("before {at}")).unwrap(), "");
    }
    let forbids = "\n@id(\"no-letters\")\n\
        forbid (principal, action == Action::\"tool/letter\", resource);\n";
    let edit = |text: String| format!("{text}{forbids}");
    fleet.nodes[0].gate.edit("policies/test.cedar", edit).unwrap();
    fleet.nodes[0].gate.command(&["reload"]).unwrap();
    // From the moment that it is published: nothing is decided by the old one anywhere.
    for (at, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.write("letter", &format!("after {at}")).unwrap(), "LG-D004");
    }
    // A node that starts with the old one on its disk does not turn the others back.
    fleet.nodes[1].gate.stop().unwrap();
    fleet.nodes[1].address = fleet.nodes[1].gate.start_anywhere().unwrap();
    assert!(fleet.nodes[1].gate.log().contains("another bundle rules the fleet"));
    for (at, client) in fleet.clients().iter_mut().enumerate() {
        assert_eq!(client.write("letter", &format!("later {at}")).unwrap(), "LG-D004");
    }
    for node in &mut fleet.nodes {
        assert!(node.gate.command(&["verify"]).unwrap().starts_with("verified "));
        node.gate.stop().unwrap();
    }
}

/// Runs something on the fleet's database.
fn run(fleet: &Fleet, statement: &str) {
    let mut psql = Command::new("psql");
    psql.args(["-qtAX", "-v", "ON_ERROR_STOP=1", "-U", SUPERUSER, "-d", "postgres"]);
    let done = psql.args(["-c", statement, "-h"]).arg(fleet.cluster.socket()).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// Has a bundle rule the fleet, as a node of another version would.
fn publish(fleet: &Fleet, digest: &str) {
    let set = format!("UPDATE meta SET value = '\\x{digest}' WHERE name = 'ruling'");
    run(fleet, &format!("{set}; UPDATE fleet SET epoch = epoch + 1"));
}

const BOB_STOPS_NOTHING: &str = r#"
@id("bob-stops-nothing")
forbid (principal == User::"bob", action == Action::"lockgate/switch_throw", resource);
"#;

#[test]
fn a_node_that_cannot_read_the_rules_of_now_stops_things_and_starts_none_again() {
    let shop = Shop::start(7, Faults::NONE);
    let forbids = |gate: &Gate| {
        gate.edit("policies/test.cedar", |text| format!("{text}{BOB_STOPS_NOTHING}")).unwrap();
    };
    let mut fleet = Fleet::start_with(2, &shop, "", forbids);
    let mut clients = fleet.clients();
    assert_eq!(clients[0].write("letter", "before").unwrap(), "");
    let status = fleet.nodes[0].gate.command(&["status", "--json"]).unwrap();
    let status: Value = serde_json::from_str(&status).unwrap();
    let old = status["bundle"].as_str().unwrap().trim_start_matches("sha256:").to_owned();
    // A bundle with a key that these nodes do not know: one path, and one content.
    let (path, content) = ("lockgate.toml", "environment = \"dev\"\nof_a_newer_version = true\n");
    let files = BTreeMap::from([(path.to_owned(), content.as_bytes().to_vec())]);
    let newer = lockgate_core::bundle::digest(&files).to_string();
    let newer = newer.trim_start_matches("sha256:");
    let packed: String =
        [path, content].map(|it| format!("{:08x}{}", it.len(), hex::encode(it))).concat();
    let insert = format!("INSERT INTO bundle (digest, files) VALUES ('\\x{newer}', '\\x{packed}')");
    run(&fleet, &insert);
    publish(&fleet, newer);
    for client in &mut clients {
        let is_behind = || (client.write("letter", "behind").unwrap() == "LG-S009").then_some(());
        lockgate_sim::wait::until("a node to be behind", support::SOON, is_behind).unwrap();
    }

    // Whoever may throw by the rules that the node knows.
    let gate = &fleet.nodes[0].gate;
    let said = gate.command(&["kill", "--all", "--reason", "drill", "--json"]).unwrap();
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["recorded"], true, "{said}");
    // And nobody else.
    let throw = Request::post(
        "/v1/switches/throw",
        json!({"scope": "agent", "name": "bot", "reason": "spite"}).to_string(),
    );
    let throw = throw.with("Authorization", &format!("Bearer {}", fleet.nodes[1].own));
    let refused = exchange(fleet.nodes[1].address, &throw);
    let code = &refused.json()["error"]["code"];
    assert_eq!((refused.status, code), (403, &json!("LG-D004")), "{}", refused.text());
    // What would let things go on needs the rules of now.
    let lift = ["lift", "--all", "--reason", "drill over"];
    let refused = gate.command(&lift).unwrap_err();
    assert!(refused.contains("LG-S009"), "{refused}");
    let refused = gate.command(&["reload"]).unwrap_err();
    assert!(refused.contains("LG-S009"), "{refused}");

    // It holds at all of them, whichever rules then.
    publish(&fleet, &old);
    for client in &mut clients {
        let is_stopped = || (client.write("letter", "after").unwrap() == "LG-D009").then_some(());
        lockgate_sim::wait::until("a node to say no", support::SOON, is_stopped).unwrap();
    }
    fleet.nodes[1].gate.command(&lift).unwrap();
    for client in &mut clients {
        let goes_on = || client.write("letter", "lifted").unwrap().is_empty().then_some(());
        lockgate_sim::wait::until("a node to go on", support::SOON, goes_on).unwrap();
    }
    assert_eq!(shop.count("letter", "after") + shop.count("letter", "behind"), 0);
    for node in &mut fleet.nodes {
        assert!(node.gate.command(&["verify"]).unwrap().starts_with("verified "));
        node.gate.stop().unwrap();
    }
}

#[test]
fn a_plan_of_one_node_is_taken_up_at_another_and_once() {
    let shop = Shop::start(7, Faults::NONE);
    let two = |text: String| text.replace("[tool.letter]\n", "[tool.letter]\ntwo_phase = true\n");
    let change = |gate: &Gate| gate.edit("operations/tool.toml", two).unwrap();
    let mut fleet = Fleet::start_with(NODES, &shop, "", change);
    let mut clients = fleet.clients();
    let proposed = clients[0].call("letter", json!({"n": "1"})).json()["result"].clone();
    let plan = proposed["structuredContent"]["plan"]["plan"].clone();
    assert_eq!(shop.count("letter", "1"), 0);
    let take_up = |client: &mut Client| {
        client.call("letter", json!({"n": "1", "lockgate_plan": plan})).code()
    };
    let mut bob = Client::new(fleet.nodes[1].address, &fleet.nodes[1].own);
    assert_eq!(take_up(&mut bob), "LG-D026");
    // All of them at once, at every node.
    std::thread::scope(|scope| {
        for client in &mut clients {
            scope.spawn(|| assert_eq!(take_up(client), ""));
        }
    });
    assert_eq!(shop.count("letter", "1"), 1);
    for node in &mut fleet.nodes {
        assert!(node.gate.command(&["verify"]).unwrap().starts_with("verified "));
        node.gate.stop().unwrap();
    }
}

#[test]
fn what_is_held_against_a_session_at_one_node_holds_at_another() {
    const RISK: &str = "\n[risk]\nenter = { approvals = 250, read_only = 0, locked = 0 }\n";
    let shop = Shop::start(11, Faults::NONE);
    let mut fleet = Fleet::start(2, &shop, RISK);
    let mut clients = fleet.clients();
    assert_eq!(clients[1].write("pay", "before").unwrap(), "");
    for at in 0..5 {
        let node = &fleet.nodes[at % 2];
        let mut client = Client::new(node.address, &node.token);
        let unknown = client.call("nothing_like_it", json!({}));
        assert_eq!(unknown.code(), "LG-D007", "{}", unknown.text());
    }
    for client in &mut clients {
        assert_eq!(client.write("pay", "after").unwrap(), "LG-D008");
    }
    let listed = |gate: &mut Gate| gate.command(&["sessions", "list"]).unwrap();
    let id = listed(&mut fleet.nodes[0].gate).split(' ').next().unwrap().to_owned();
    let loosen = ["sessions", "loosen", &id, "--reason", "looked into it"];
    fleet.nodes[0].gate.command(&loosen).unwrap();
    assert_eq!(clients[1].write("pay", "after").unwrap(), "");
    for node in &mut fleet.nodes {
        node.gate.stop().unwrap();
    }
}
