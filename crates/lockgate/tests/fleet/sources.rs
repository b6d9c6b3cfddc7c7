//! Sources of documents in a fleet: three nodes have one corpus.

use super::support::fleet::{Fleet, Node};
use super::support::http::{Answer, exchange};
use super::support::pages::{Pages, lanterns};
use super::support::shop::{Faults, Shop};
use super::support::{SOON, call, read_entries};
use lockgate_core::bundle::starter::DOCUMENTS;
use lockgate_sim::gate::Gate;
use lockgate_sim::wait::until;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;

const NODES: usize = 3;
const BECAUSE: [&str; 2] = ["--reason", "test"];

/// Everybody may do whatever is asked for by name, and see the documents that are shared to them.
fn policies(gate: &Gate) {
    let named = "action in [Action::\"read\", Action::\"write\", Action::\"destructive\"]";
    let permits = |text: String| {
        text.replace("(principal, action, resource)", &format!("(principal, {named}, resource)"))
    };
    gate.edit("policies/test.cedar", permits).unwrap();
    fs::write(gate.bundle().join("policies/documents.cedar"), DOCUMENTS).unwrap();
    let cleared =
        |text: String| text.replace("[agent.bot]\n", "[agent.bot]\nclearance = \"confidential\"\n");
    gate.edit("principals.toml", cleared).unwrap();
}

fn declare(gate: &Gate, name: &str, text: &str) {
    let sources = gate.bundle().join("sources");
    fs::create_dir_all(&sources).unwrap();
    fs::write(sources.join(format!("{name}.toml")), text).unwrap();
}

fn sources(node: &Node, arguments: &[&str]) -> Result<String, String> {
    node.gate.command(&[&["sources"], arguments].concat())
}

fn shown(node: &Node, arguments: &[&str]) -> Value {
    let printed = sources(node, &[arguments, &["--json"]].concat()).unwrap();
    serde_json::from_str(&printed).unwrap()
}

fn search(node: &Node, query: &str) -> Answer {
    let request = call("search", json!({"query": query}));
    let request = super::support::http::Request { path: "/mcp/retrieval".to_owned(), ..request };
    exchange(node.address, &request.with("Authorization", &format!("Bearer {}", node.token)))
}

/// The texts that alice finds at a node.
fn finds(node: &Node, query: &str) -> BTreeSet<String> {
    let answer = search(node, query);
    assert_eq!(answer.code(), "", "{}", answer.text());
    let found = answer.json()["result"]["structuredContent"]["found"].clone();
    let found = found.as_array().unwrap().clone();
    found.iter().map(|it| it["text"].as_str().unwrap().to_owned()).collect()
}

fn entries_of_runs(node: &Node) -> Vec<Value> {
    let directory = tempfile::tempdir_in(node.gate.directory()).unwrap();
    node.gate.command(&["export", directory.path().to_str().unwrap()]).unwrap();
    let entries = read_entries(directory.path());
    let entries = entries.iter().map(|entry| serde_json::from_slice::<Value>(entry).unwrap());
    entries.filter(|entry| entry["k"] == "source").collect()
}

fn stop(mut fleet: Fleet) {
    for node in &mut fleet.nodes {
        node.gate.stop().unwrap();
    }
}

/// What alice finds of the cable car, at each node.
fn all(fleet: &Fleet) -> Vec<BTreeSet<String>> {
    fleet.nodes.iter().map(|node| finds(node, "cable car")).collect()
}

fn texts(texts: &[&str]) -> BTreeSet<String> {
    texts.iter().map(|&text| format!("The cable car {text}.")).collect()
}

/// Says something of `a.md` and alice.
fn say(node: &Node, how: &str) {
    let of_alice = [how, "wiki", "a.md", "--reader", "user:alice"];
    sources(node, &[&of_alice[..], &BECAUSE[..]].concat()).unwrap();
}

/// What the bundle takes back, whichever node has heard of it first.
fn taken_back_by_the_bundle(fleet: &Fleet) {
    let nobody = |text: String| text.replace("\"everyone\"", "\"user:bob\"");
    fleet.nodes[1].gate.edit("sources/wiki.toml", nobody).unwrap();
    fleet.nodes[1].gate.command(&["reload"]).unwrap();
    until("the bundle's permissions to be in force", SOON, || {
        all(fleet).iter().all(BTreeSet::is_empty).then_some(())
    })
    .unwrap();
    say(&fleet.nodes[0], "share");
    assert_eq!(all(fleet), [(); NODES].map(|()| texts(&["opens at nine"])));
}

/// A database that is away, and is back.
fn away_and_back(fleet: &mut Fleet) {
    fleet.cluster.stop().unwrap();
    let refused = search(&fleet.nodes[0], "cable car");
    assert!(!refused.code().is_empty(), "{}", refused.text());
    fleet.cluster.start_again().unwrap();
    for node in &fleet.nodes {
        until("documents to be found again", SOON, || {
            search(node, "cable car").code().is_empty().then_some(())
        })
        .unwrap();
        assert_eq!(finds(node, "cable car"), texts(&["opens at nine"]));
    }
}

#[test]
fn what_is_done_to_a_source_at_one_node_holds_at_all_when_the_command_returns() {
    let wiki = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(wiki.path().join(name), text).unwrap();
    write("a.md", "The cable car opens at nine.\n");
    write("b.md", "The cable car closes at five.\n");
    let declared = format!(
        "owner = \"it\"\nclassification = \"internal\"\n[connector.directory]\npath = \"{}\"\n\
         [permissions]\nreaders = [\"everyone\"]\n",
        wiki.path().display()
    );
    let shop = Shop::start(8, Faults::NONE);
    let mut fleet = Fleet::start_with(NODES, &shop, "", |gate| {
        policies(gate);
        declare(gate, "wiki", &declared);
    });
    let both = texts(&["opens at nine", "closes at five"]);
    sources(&fleet.nodes[0], &["run", "wiki"]).unwrap();
    assert_eq!(all(&fleet), [both.clone(), both.clone(), both.clone()]);
    // This PostgreSQL has no pgvector.
    let listed = sources(&fleet.nodes[1], &[]).unwrap();
    assert!(listed.contains("has no pgvector"), "{listed}");
    assert!(fleet.nodes[2].gate.log().contains("has no pgvector"));

    // What one takes away none of them answers with any more, and what another gives back all do.
    let without = texts(&["closes at five"]);
    for round in 0..2 {
        say(&fleet.nodes[round], "withhold");
        assert_eq!(all(&fleet), [without.clone(), without.clone(), without.clone()]);
        say(&fleet.nodes[round + 1], "unshare");
        assert_eq!(all(&fleet), [both.clone(), both.clone(), both.clone()]);
    }

    // One numbering of snapshots, and one that serves.
    write("a.md", "The cable car opens at ten.\n");
    sources(&fleet.nodes[1], &["run", "wiki"]).unwrap();
    let newer = texts(&["opens at ten", "closes at five"]);
    assert_eq!(all(&fleet), [newer.clone(), newer.clone(), newer.clone()]);
    let compared = shown(&fleet.nodes[0], &["compare", "wiki", "1", "2"]);
    assert_eq!(compared["changed"], json!(["a.md"]), "{compared}");
    let kept = [&["pin", "wiki", "2", "--as", "ten"], &BECAUSE[..]].concat();
    sources(&fleet.nodes[0], &kept).unwrap();
    sources(&fleet.nodes[2], &[&["roll-back", "wiki", "1"], &BECAUSE[..]].concat()).unwrap();
    assert_eq!(all(&fleet), [both.clone(), both.clone(), both.clone()]);
    let snapshots = shown(&fleet.nodes[1], &["snapshots", "wiki"])["snapshots"].clone();
    let numbers: Vec<_> = snapshots.as_array().unwrap().iter().map(|it| &it["snapshot"]).collect();
    assert_eq!(numbers, [3, 2, 1]);
    assert_eq!(snapshots[1]["name"], "ten");
    // Each run is in the log of whoever had it.
    let runs = fleet.nodes.iter().map(|node| entries_of_runs(node).len());
    assert_eq!(runs.collect::<Vec<_>>(), [1, 1, 1]);

    taken_back_by_the_bundle(&fleet);
    away_and_back(&mut fleet);
    stop(fleet);
}

fn standing(node: &Node) -> Value {
    shown(node, &["show", "lanterns"])["standing"].clone()
}

/// The runs that these nodes have recorded, once there are so many.
fn recorded(fleet: &Fleet, nodes: &[usize], count: usize) -> Vec<Value> {
    let all = || -> Vec<Value> {
        nodes.iter().flat_map(|node| entries_of_runs(&fleet.nodes[*node])).collect()
    };
    until("a run to be recorded", SOON, || Some(all()).filter(|it| it.len() >= count)).unwrap()
}

/// Until a node knows that the source is not due before tomorrow.
fn until_it_is_not_due(node: &Node, ended: &Value) {
    until("a node to know when it is due", SOON, || {
        let due = standing(node)["due"].as_i64()?;
        (due > ended["t"].as_i64().unwrap()).then_some(())
    })
    .unwrap();
}

#[test]
fn a_source_is_read_once_and_another_node_goes_on_where_one_is_lost() {
    let pages = Pages::start();
    let declared = lanterns(&pages);
    let shop = Shop::start(9, Faults::NONE);
    let mut fleet = Fleet::start_with_each(NODES, &shop, "", |gate| {
        gate.set("KEY", "sesame");
        policies(gate);
        declare(gate, "lanterns", &declared);
    });
    // It is due at all of them.
    let held = pages.held.recv_timeout(SOON).expect("the run comes to the page that is held");
    let runs = |node: &Node| standing(node)["running"]["done"] == 70;
    let at = fleet.nodes.iter().position(runs).expect("one of them runs it");
    let living: Vec<usize> = (0..NODES).filter(|other| *other != at).collect();
    for other in &living {
        until("the others to know of it", SOON, || {
            standing(&fleet.nodes[*other]).get("elsewhere").map(drop)
        })
        .unwrap();
    }
    let listed = sources(&fleet.nodes[living[0]], &[]).unwrap();
    assert!(listed.contains("running at another node"), "{listed}");
    assert_eq!(pages.times("/p/069.html"), 1, "one of them reads it");

    fleet.nodes[at].gate.kill();
    drop(held);
    let entry = recorded(&fleet, &living, 1).remove(0);
    assert_eq!((&entry["verdict"], &entry["snapshot"]), (&json!("published"), &json!(1)));
    // Whoever comes back finds it, and does not read it again.
    fleet.nodes[at].address = fleet.nodes[at].gate.start_anywhere().unwrap();
    for node in &fleet.nodes {
        assert_eq!(finds(node, "099").len(), 1);
        until_it_is_not_due(node, &entry);
    }
    assert_eq!(recorded(&fleet, &[0, 1, 2], 1).len(), 1);
    assert_eq!(pages.times("/p/099.html"), 1);

    // One that somebody has asked for, which nobody else has to run.
    pages.hold_again();
    sources(&fleet.nodes[at], &["run", "lanterns", "--detach"]).unwrap();
    let held = pages.held.recv_timeout(SOON).expect("the run comes to the page that is held");
    fleet.nodes[at].gate.kill();
    drop(held);
    assert_eq!(recorded(&fleet, &living, 2).len(), 2);
    for other in living {
        assert_eq!(finds(&fleet.nodes[other], "099").len(), 1);
        fleet.nodes[other].gate.stop().unwrap();
    }
}
