//! The demo tells its whole story, and leaves a log that can be checked afterwards.
#![cfg(test)]

mod support;

use lockgate_sim::conformance::free_address;
use lockgate_sim::wait;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use support::{PROGRAM, Running, SOON, ended, read_entries};

/// The story: what happens, how it ends.
const STORY: [(&str, &str); 11] = [
    ("alice (support) reads a customer", "personal data redacted"),
    ("alice replies to a ticket", "allowed"),
    ("alice refunds 249.00", "refused LG-D003"),
    ("bob (finance) refunds 249.00", "allowed"),
    ("bob refunds 900.00", "refused LG-D008"),
    ("carol (contractor) replies to the same ticket", "refused LG-D003"),
    ("the agent adds an argument that nobody declared", "refused LG-D006"),
    ("the agent sends `amount_cents` twice", "refused LG-W002"),
    ("the agent deletes a customer", "refused LG-D003"),
    ("bob (finance) asks, and the gate drives the agent to an effect", "finished"),
    (
        "alice (support) asks for what a runbook says that nobody has looked after",
        "refused LG-D010",
    ),
];

/// What led to what in the run that is shown.
const CHAIN: [(&str, &str); 20] = [
    ("input", "bob, by helpdesk-bot, for refund: Customer 3 was charged 900.00 twice."),
    ("decision", "lockgate/run_start allowed by bots-run, finance-runs ["),
    ("prompt", "refund, version 1, sha256:"),
    ("decision", "stand-in:chat/completions allowed by bots-run, staff-read ["),
    ("model", "proposes helpdesk__runbook_search {\"query\":\"charge\"}"),
    ("proposed", "helpdesk/runbook_search {\"query\":\"charge\"}"),
    ("decision", "helpdesk/runbook_search allowed by bot-helpdesk, staff-read ["),
    ("outcome", "Refund the second. Refunds over 50.00 are finance's to make."),
    ("prompt", "refund, version 1, sha256:"),
    ("decision", "stand-in:chat/completions allowed"),
    ("model", "proposes helpdesk__refund_create {\"customer_id\":3,\"amount_cents\":90000,"),
    ("proposed", "helpdesk/refund_create"),
    ("decision", "helpdesk/refund_create needs somebody LG-D008 by large-refund-needs-two: "),
    ("approval", "dora agreed as group:finance: both charges are in the bank's list ["),
    ("decision", "helpdesk/refund_create allowed by bot-helpdesk, finance-refund ["),
    ("effect", "write, once, as run."),
    ("outcome", "succeeded, untrusted, public: {\"refund_id\":2,\"amount_cents\":90000}"),
    ("prompt", "refund, version 1, sha256:"),
    ("decision", "stand-in:chat/completions allowed"),
    ("answer", "The second charge is paid back, as the runbook says [1]."),
];

/// The lines of the run that is shown.
fn chain(text: &str) -> Vec<&str> {
    let lines = text.lines().skip_while(|line| !line.contains("answers by rote")).skip(1);
    lines.take_while(|line| !line.is_empty() && !line.starts_with("11. ")).collect()
}

fn demo(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(["demo", "--directory"]).arg(directory.join("demo")).args(arguments);
    command.env_remove("LOCKGATE_STATE").env_remove("LOCKGATE_BUNDLE");
    command
}

fn lockgate(directory: &Path, arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new(PROGRAM);
    command.arg("--bundle").arg(directory.join("demo/bundle")).args(arguments);
    ended(command.env_remove("LOCKGATE_STATE"))
}

#[test]
fn the_story_is_told_and_the_log_it_leaves_verifies() {
    let directory = tempfile::tempdir().unwrap();
    let (is_good, text) = ended(&mut demo(directory.path(), &["--exit", "--port", "0"]));
    assert!(is_good, "{text}");
    for (step, (what, how)) in (1..).zip(STORY) {
        assert!(text.contains(&format!("{step:>2}. {what}: {how}")), "{step}\n{text}");
    }
    assert_eq!(text.matches("what would help: ").count(), 7, "{text}");
    for why in [
        "`runbooks/export-fails.md` was last changed 124 days ago, more than 90 days; the session \
         may only read from now on\n",
        "`read_only` since ",
        "because of `stale:runbooks/export-fails.md` once",
    ] {
        assert!(text.contains(why), "{why}\n{text}");
    }
    let chain = chain(&text);
    for ((kind, said), line) in CHAIN.into_iter().zip(&chain) {
        assert!(line.contains(&format!("  {kind} ")) && line.contains(said), "{line}\n{text}");
    }
    assert_eq!(chain.len(), CHAIN.len(), "{text}");
    assert!(text.contains("a stand-in of the demo's answers by rote"), "{text}");
    assert!(text.contains("\nverified "), "{text}");
    assert!(text.contains(" decisions made anew: 0 differences\n"), "{text}");

    // A gate that starts on what the demo left goes on with the same log.
    let address = free_address().unwrap();
    let _gate = up(directory.path(), address);
    let (is_good, text) = lockgate(directory.path(), &["verify"]);
    assert!(is_good && text.starts_with("verified "), "{text}");
    let input = chain.first().unwrap();
    let decided = chain.get(1).unwrap();
    let run = decided.split_once('[').unwrap().1.trim_end_matches(']');
    assert!(input.contains("bob, by helpdesk-bot, for refund"), "{input}");
    let (is_good, again) = lockgate(directory.path(), &["trace", "--chain", run]);
    assert!(is_good && again.lines().eq(chain.iter().copied()), "{again}");
    let (is_good, text) = lockgate(directory.path(), &["replay"]);
    assert!(is_good && text.contains(": 0 differences"), "{text}");
    let tiles = directory.path().join("tiles");
    let (is_good, text) = lockgate(directory.path(), &["export", tiles.to_str().unwrap()]);
    assert!(is_good, "{text}");
    let entries = read_entries(&tiles);
    for personal in ["alice", "ada@", "We are looking into it"] {
        let is_there = |entry: &&Vec<u8>| String::from_utf8_lossy(entry).contains(personal);
        assert!(!entries.iter().any(|entry| is_there(&entry)), "`{personal}` is in the log");
    }
}

/// The demo's gate, at another address.
fn up(directory: &Path, address: SocketAddr) -> Running {
    let file = directory.join("demo/bundle/lockgate.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("127.0.0.1:0", &address.to_string())).unwrap();
    let mut command = Command::new(PROGRAM);
    command.arg("--bundle").arg(directory.join("demo/bundle")).arg("up");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let running = Running(command.env_remove("LOCKGATE_STATE").spawn().unwrap());
    wait::until("a running gate", SOON, || {
        directory.join("demo/bundle.state/running.json").exists().then_some(())
    })
    .unwrap();
    running
}

#[test]
fn what_the_demo_did_not_make_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("demo")).unwrap();
    std::fs::write(directory.path().join("demo/precious"), "mine").unwrap();
    let (is_good, text) = ended(&mut demo(directory.path(), &["--exit", "--port", "0"]));
    assert!(!is_good && text.contains("was not made by the demo"), "{text}");
    assert_eq!(std::fs::read(directory.path().join("demo/precious")).unwrap(), b"mine");
}
