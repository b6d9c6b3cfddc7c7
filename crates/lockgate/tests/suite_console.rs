//! The console in a real browser: Chromium, driven like a person drives it, and checked by
//! other people's rules for pages that everybody can use.
#![cfg(test)]

mod support;

use lockgate_core::bundle::starter::DOCUMENTS;
use lockgate_sim::setup;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use support::http::{Answer, Request, exchange};
use support::{Client, SOON, World};

const ASKS: &str = r#"
@id("notes-need-somebody") @require_approval("group:operators")
@reason("somebody looks at notes first")
forbid (principal, action == Action::"tool/note", resource)
unless { context.approvals.contains("group:operators") };
"#;

/// Sites of somebody else's: another one, and one that a browser takes for the same.
const ELSEWHERE: &str = "http://localhost:8099/";
const BESIDE: &str = "http://127.0.0.1:8099/";

/// A browser, and the program that drives it.
struct Browser {
    driver: Child,
    commands: Option<ChildStdin>,
    answers: Receiver<String>,
}

impl Browser {
    fn start() -> Self {
        setup::require_program("chromium", "chromium").unwrap();
        let manifest = std::fs::read_to_string(here("package.json")).unwrap();
        let manifest: Value = serde_json::from_str(&manifest).unwrap();
        let pinned = manifest["dependencies"].as_object().unwrap().iter();
        let packages: Vec<String> =
            pinned.map(|(name, version)| format!("{name}@{}", version.as_str().unwrap())).collect();
        let packages: Vec<&str> = packages.iter().map(String::as_str).collect();
        let project = setup::npm_project("console", &packages).unwrap();
        let chromium = std::env::split_paths(&std::env::var_os("PATH").unwrap())
            .map(|directory| directory.join("chromium"))
            .find(|program| program.is_file());
        let mut driver = Command::new(setup::node22().unwrap())
            .arg(here("drive.mjs"))
            .current_dir(project)
            .env("CHROMIUM", chromium.unwrap())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (tell, answers) = channel();
        let lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|it| tell.send(it)));
        Self { commands: driver.stdin.take(), driver, answers }
    }

    fn run(&mut self, command: &str, given: Value) -> Value {
        let mut line = given;
        line["command"] = command.into();
        let commands = self.commands.as_mut().unwrap();
        writeln!(commands, "{line}").and_then(|()| commands.flush()).unwrap();
        let answer = self.answers.recv_timeout(2 * SOON).expect("the browser answers");
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["failed"], Value::Null, "{line}");
        answer["done"].clone()
    }

    fn open(&mut self, url: &str) -> Value {
        self.run("open", json!({"url": url}))
    }

    fn press(&mut self, name: &str) -> Value {
        self.run("press", json!({"name": name}))
    }

    /// Signs in with a link of the command line.
    fn sign_in(&mut self, world: &World) -> Value {
        let printed = world.gate.command(&["console"]).unwrap();
        self.open(printed.lines().next().unwrap());
        self.press("Sign in")
    }

    /// What everybody can use, whatever they see or press, is what axe finds nothing wrong with.
    fn is_usable(&mut self, page: &str) {
        assert_eq!(self.run("axe", json!({})), json!([]), "{page}");
    }

    fn complained(&mut self) -> Value {
        self.run("complaints", json!({}))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It closes its browser when nobody tells it anything more.
        drop(self.commands.take());
        let ended = || self.driver.try_wait().ok().flatten();
        if lockgate_sim::wait::until("the end of the browser", SOON, ended).is_err() {
            let _ = self.driver.kill();
            let _ = self.driver.wait();
        }
    }
}

fn here(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/console").join(file)
}

fn started() -> World {
    let mut world = World::new();
    world.gate.edit("policies/test.cedar", |text| format!("{text}{ASKS}")).unwrap();
    world.start();
    world
}

fn asked(alice: &mut Client, arguments: &Value) -> String {
    let asked = alice.call("note", arguments.clone());
    assert_eq!(asked.code(), "LG-D008", "{}", asked.text());
    asked.refusal()["approval"]["call"].as_str().unwrap().to_owned()
}

#[test]
fn a_person_sees_exactly_what_would_happen_and_it_happens_once() {
    // First: it may have to be installed, for longer than a gate keeps an idle connection.
    let mut browser = Browser::start();
    let mut world = started();
    let notes = world.gate.directory().join("notes");
    let evil = "<script>alert('run')</script><img src=x onerror=alert(2)>";
    let text = format!("{evil} \u{202e}gnp.live\u{200b} {}", "x".repeat(10_000));
    let arguments = json!({"path": notes, "text": text});
    let mut alice = world.alice();
    let request = asked(&mut alice, &arguments);
    let site = format!("http://{}", world.address);
    let page = format!("{site}/console/approvals/{request}");

    let signed_out = browser.open(&page);
    assert_eq!(signed_out["url"], format!("{site}/console/sign-in?next=approvals/{request}"));
    browser.is_usable("sign in");
    let listed = browser.sign_in(&world);
    assert_eq!(listed["url"], format!("{site}/console/approvals"), "{listed}");
    assert!(listed["text"].as_str().unwrap().contains("tool/note"), "{listed}");
    browser.is_usable("list");

    let shown = browser.open(&page);
    let said = shown["text"].as_str().unwrap();
    let parts = ["alice", "bot", "somebody looks at notes first", "notes-need-somebody", "missing"];
    for part in parts {
        assert!(said.contains(part), "{part}: {said}");
    }
    let raw = browser.run("text", json!({"selector": ".raw"}));
    let raw = raw[0].as_str().unwrap();
    assert!(raw.contains(evil), "{raw}");
    assert!(raw.contains("U+202Egnp.liveU+200B") && !raw.contains('\u{202e}'), "{raw}");
    assert!(raw.len() > 10_000, "nothing is left out");
    assert!(said.contains("2 characters in it would not be seen"), "{said}");
    browser.is_usable("request");

    // By keyboard alone, on a phone, in the dark.
    let options = json!({"colorScheme": "dark", "viewport": {"width": 320, "height": 640}});
    browser.run("fresh", json!({"options": options}));
    browser.sign_in(&world);
    browser.open(&page);
    browser.is_usable("request in the dark");
    assert!(browser.run("overflow", json!({})).as_i64().unwrap() <= 0, "it fits a phone");
    let given = json!({"label": "Why you agree", "text": "checked with alice"});
    let given = browser.run("type", given);
    assert_eq!(given["first"], "Skip to content");
    assert_eq!(given["button"], "Agree for group:operators");
    assert!(given["text"].as_str().unwrap().contains("agreed to, and not used yet"), "{given}");

    let done = alice.call("note", arguments.clone());
    assert_eq!(done.code(), "", "{}", done.text());
    let again = alice.call("note", arguments);
    let effect = &again.json()["result"]["_meta"]["dev.lockgate/effect"];
    assert_eq!(effect["state"], "replayed", "{}", again.text());
    let written = std::fs::read_to_string(&notes).unwrap();
    assert_eq!(written.lines().count(), 1, "it happened once: {written}");
    let spent = browser.open(&page);
    assert!(spent["text"].as_str().unwrap().contains("agreed to, and used"), "{spent}");
    browser.is_usable("request that was used");
    let trace = world.gate.command(&["trace", &request, "--json"]).unwrap();
    assert!(!trace.contains("checked with alice"), "the reason belongs to the answer's own call");

    assert_eq!(browser.complained(), json!({"complaints": [], "dialogs": []}));
    world.gate.stop().unwrap();
}

#[test]
fn another_site_answers_nothing_in_the_name_of_who_is_signed_in() {
    let mut world = started();
    let arguments = json!({"path": world.gate.directory().join("notes"), "text": "a"});
    let mut alice = world.alice();
    let request = asked(&mut alice, &arguments);
    let page = format!("http://{}/console/approvals/{request}", world.address);
    let mut browser = Browser::start();
    browser.sign_in(&world);
    let action = format!("{page}/give");
    let fields = json!({"requirement": "group:operators", "reason": "forged", "form": "guessed"});
    for (from, has_cookie) in [(ELSEWHERE, false), (BESIDE, true)] {
        let forged = json!({"from": from, "action": action, "fields": fields});
        let forged = browser.run("forge", forged);
        assert_eq!(forged["status"], 403, "{from}: {forged}");
        assert_eq!(forged["cookie"].is_string(), has_cookie, "{from}: {forged}");
    }
    // Even what comes from the right page has to carry what only that page knows.
    let sent = browser.run("send", json!({"action": action, "fields": fields}));
    assert_eq!(sent["status"], 403, "{sent}");
    assert!(sent["text"].as_str().unwrap().contains("LG-A005"), "{sent}");
    let shown = world.gate.command(&["approvals", "show", &request, "--json"]).unwrap();
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((&shown["state"], &shown["given"]), (&json!("pending"), &json!([])));
    assert_eq!(
        browser.complained(),
        json!({"complaints": [
        "Failed to load resource: the server responded with a status of 403 (Forbidden)",
        "Failed to load resource: the server responded with a status of 403 (Forbidden)",
    ], "dialogs": []})
    );

    // A link in a chat leads to the page all the same, and nobody may frame it.
    let followed = browser.run("follow", json!({"from": ELSEWHERE, "url": page}));
    assert_eq!(followed["url"], page, "{followed}");
    let framed = browser.run("frame", json!({"from": BESIDE, "url": page}));
    assert!(framed.as_str().unwrap().starts_with("chrome-error:"), "{framed}");
    world.gate.stop().unwrap();
}

#[test]
fn a_session_is_short_and_ends_with_what_it_stands_on() {
    let mut world = started();
    let site = format!("http://{}/console", world.address);
    let mut browser = Browser::start();
    let link = world.gate.command(&["console"]).unwrap();
    let link = link.lines().next().unwrap();
    // Who looks at it first, as mail programs do, does not use it up.
    browser.open(link);
    let offered = browser.open(link);
    assert!(offered["text"].as_str().unwrap().contains("As operator, once"), "{offered}");
    browser.press("Sign in");
    browser.run("fresh", json!({}));
    let refused = browser.open(link);
    assert_eq!(refused["status"], 403, "a link works once: {refused}");
    assert!(refused["text"].as_str().unwrap().contains("LG-A006"), "{refused}");

    // An agent that acts for a person is not the person.
    browser.open(&format!("{site}/sign-in"));
    let token = world.token("alice", "bot");
    browser.run("fill", json!({"label": "Your token", "text": token}));
    let refused = browser.press("Sign in");
    assert!(refused["text"].as_str().unwrap().contains("LG-A004"), "{refused}");
    browser.open(&format!("{site}/sign-in"));
    let token = world.token("operator", "lockgate-console");
    browser.run("fill", json!({"label": "Your token", "text": token}));
    let listed = browser.press("Sign in");
    assert_eq!(listed["url"], format!("{site}/approvals"));
    let cookies = browser.run("cookies", json!({}));
    let cookie = &cookies[0];
    assert_eq!((&cookie["httpOnly"], &cookie["sameSite"]), (&json!(true), &json!("Strict")));
    assert!(!cookies.to_string().contains(&token), "the browser does not keep the token");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    assert!(cookie["expires"].as_f64().unwrap() <= now.as_secs_f64() + 3601.0, "{cookie}");

    // Whoever the bundle does not know any more is signed out.
    world
        .gate
        .edit("lockgate.toml", |text| text.replace("\"bob\", \"operator\"", "\"bob\""))
        .unwrap();
    world.gate.lockgate(&["reload", "--token", &token]).output().unwrap();
    let gone = browser.open(&format!("{site}/approvals"));
    assert_eq!(gone["url"], format!("{site}/sign-in"), "{gone}");
    assert!(!world.gate.log().contains(&token), "the log has no tokens");
    world.gate.stop().unwrap();
}

const SEARCHES: &str = r#"
@id("search") permit (principal, action == Action::"retrieval/search", resource);
"#;

const HANDBOOK: &str = r#"
owner = "people-team"
classification = "internal"
[connector.directory]
path = "../handbook"
[permissions]
readers = ["user:alice"]
"#;

/// A gate with a document, which was brought in.
fn with_a_document(text: &str) -> World {
    let mut world = World::new();
    world.gate.edit("policies/test.cedar", |text| format!("{text}{SEARCHES}")).unwrap();
    let cleared =
        |text: String| text.replace("[agent.bot]", "[agent.bot]\nclearance = \"internal\"");
    world.gate.edit("principals.toml", cleared).unwrap();
    world.configure("[retrieval]\nvectors = \"none\"");
    let (bundle, beside) = (world.gate.bundle(), world.gate.directory());
    for (path, text) in [
        (bundle.join("policies/documents.cedar"), DOCUMENTS),
        (bundle.join("sources/handbook.toml"), HANDBOOK),
        (beside.join("handbook/travel.txt"), text),
    ] {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    world.start();
    world.gate.command(&["sources", "run", "handbook"]).unwrap();
    world
}

fn searched(world: &World, user: &str) -> Answer {
    let request = support::call("search", json!({"query": "trips"}));
    let request = Request { path: "/mcp/retrieval".to_owned(), ..request };
    let bearer = format!("Bearer {}", world.token(user, "bot"));
    exchange(world.address, &request.with("Authorization", &bearer))
}

#[test]
fn where_pieces_of_an_answer_come_from_can_be_seen() {
    let mut browser = Browser::start();
    let evil = "<script>alert('run')</script>";
    let mut world = with_a_document(&format!("Trips\n{evil} are booked.\n"));
    let found = searched(&world, "alice").json();
    let piece = &found["result"]["structuredContent"]["found"][0];
    assert_eq!(piece["document"], "handbook/travel.txt", "{found}");
    let site = format!("http://{}/console", world.address);
    let search = call_of(&world, "retrieval/search");

    // Who follows a link to a record signs in first, and is there then.
    let signed_out = browser.open(&format!("{site}/traces/{search}"));
    assert_eq!(signed_out["url"], format!("{site}/sign-in?next=traces/{search}"));
    let token = world.token("operator", "lockgate-console");
    browser.run("fill", json!({"label": "Your token", "text": token}));
    let shown = browser.press("Sign in");
    assert_eq!(shown["url"], format!("{site}/traces/{search}"));
    let said = shown["text"].as_str().unwrap();
    for part in [
        "retrieval/search: allow",
        "alice",
        "Where its pieces come from",
        "handbook/travel.txt",
        "people-team",
        piece["hash"].as_str().unwrap(),
        piece["permissions"].as_str().unwrap(),
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    browser.run("reveal", json!({"name": "What it says"}));
    let raw = browser.run("text", json!({"selector": ".piece .raw"}));
    assert_eq!(raw[0], format!("Trips\n{evil} are booked."));
    browser.is_usable("record of a search");

    let sources = browser.open(&format!("{site}/sources"));
    let said = sources["text"].as_str().unwrap();
    for part in ["handbook", "people-team", "Snapshot 1 serves", "1 of 1 searches"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    browser.is_usable("sources");
    // What a document has fed, and from there to the record.
    let fed = browser.open(&format!("{site}/sources/handbook"));
    let said = fed["text"].as_str().unwrap();
    for part in ["bot for", "Since: 0 reads", "retrieval/search", "handbook/travel.txt"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    browser.is_usable("what a source has fed");
    browser.run("fill", json!({"label": "A document", "text": evil}));
    let nothing = browser.press("Show what it has fed");
    assert!(nothing["text"].as_str().unwrap().contains("LG-Q042"), "{nothing}");

    browser.open(&format!("{site}/traces"));
    browser.run("fill", json!({"label": "The call", "text": "<b>"}));
    let missing = browser.press("Show its record");
    assert!(missing["text"].as_str().unwrap().contains("not the id of a call"), "{missing}");
    browser.is_usable("finding a record");
    browser.run("fill", json!({"label": "The call", "text": search}));
    assert_eq!(browser.press("Show its record")["url"], format!("{site}/traces/{search}"));

    let options = json!({"colorScheme": "dark", "viewport": {"width": 320, "height": 640}});
    browser.run("fresh", json!({"options": options}));
    browser.sign_in(&world);
    browser.open(&format!("{site}/traces/{search}"));
    assert!(browser.run("overflow", json!({})).as_i64().unwrap() <= 0, "it fits a phone");
    browser.is_usable("record on a phone in the dark");
    let complaints = browser.complained();
    assert_eq!(complaints["dialogs"], json!([]), "{complaints}");
    world.gate.stop().unwrap();
}

/// The first call of an operation, in the log.
fn call_of(world: &World, operation: &str) -> String {
    let entries = world.entries();
    let call = entries.iter().find(|entry| entry["operation"] == operation).unwrap();
    call["call"].as_str().unwrap().to_owned()
}
