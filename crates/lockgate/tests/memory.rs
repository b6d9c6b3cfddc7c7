//! A memory of the gate's own, over the wire: what agents write down and read, what its owner sees
//! of it, and that a chain across it is stopped.
#![cfg(test)]

mod support;

use lockgate_sim::brain::{Reply, StandIn};
use serde_json::{Value, json};
use support::World;
use support::http::{Answer, Request, exchange};
use support::running::{Runs, TASK};

const MEMORY: &str = r#"
[upstream.notes.memory]
ttl_s = 3600
description = "What helps next time."

[isolation]
[isolation.group.alone]
agents = ["other-bot"]
"#;

const POLICIES: &str = r#"
@id("memory")
permit (principal, action in Action::"upstream:notes", resource);

@id("hers")
permit (principal in Group::"staff", action in [
    Action::"lockgate/memory_read", Action::"lockgate/memory_confirm",
    Action::"lockgate/memory_forget"
], resource);

@id("bots-too")
permit (principal in Group::"bots", action == Action::"lockgate/memory_confirm", resource);

@id("toxic")
@reason("nothing is written after private data and strangers' words were read")
forbid (principal, action == Action::"tool/note", resource)
when {
  context.history.contains("confidentiality:confidential")
  && context.history.contains("origin:anyone")
};
"#;

fn world() -> World {
    let mut world = World::new();
    let private =
        "[tool.echo]\nreturns = { origin = \"anyone\", confidentiality = \"confidential\" }\n";
    world.gate.edit("operations/tool.toml", |text| text.replace("[tool.echo]\n", private)).unwrap();
    world.gate.edit("policies/test.cedar", |text| format!("{text}{POLICIES}")).unwrap();
    world.configure(MEMORY);
    world.start();
    world
}

/// Somebody who asks the memory.
struct Asker<'w> {
    world: &'w World,
    token: String,
}

impl<'w> Asker<'w> {
    fn new(world: &'w World, user: &str, agent: &str) -> Self {
        Self { world, token: world.token(user, agent) }
    }

    fn sends(&self, request: Request) -> Answer {
        let bearer = format!("Bearer {}", self.token);
        let request = Request { path: "/mcp/notes".to_owned(), ..request };
        exchange(self.world.address, &request.with("Authorization", &bearer))
    }

    fn calls(&self, tool: &str, arguments: Value) -> Answer {
        self.sends(support::call(tool, arguments))
    }

    fn recalls(&self, arguments: Value) -> Vec<Value> {
        let answer = self.calls("recall", arguments);
        assert_eq!(answer.code(), "", "{}", answer.text());
        let memos = answer.json()["result"]["structuredContent"]["memos"].clone();
        memos.as_array().unwrap().clone()
    }

    /// `lockgate memory …`, with the person's own token.
    fn memory(&self, arguments: &[&str]) -> Result<String, String> {
        let command = [&["memory", "--token", &self.token], arguments].concat();
        self.world.gate.command(&command)
    }

    fn listed(&self) -> Vec<Value> {
        let listed = self.memory(&["list", "--json"]).unwrap();
        let listed: Value = serde_json::from_str(&listed).unwrap();
        listed["memos"].as_array().unwrap().clone()
    }
}

#[test]
fn an_agent_remembers_and_its_person_sees_confirms_and_deletes_it() {
    let mut world = world();
    let secret = "allergic to nuts \u{1b}[31m";
    {
        let bot = Asker::new(&world, "alice", "bot");
        let offered = bot.sends(support::request("tools/list", json!({}))).json();
        let tools = offered["result"]["tools"].as_array().unwrap();
        let names: Vec<&str> = tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["forget", "list", "recall", "remember"], "{offered}");
        assert!(offered.to_string().contains("What helps next time."), "{offered}");

        let told = bot.calls("remember", json!({"key": "diet", "text": secret}));
        let structured = &told.json()["result"]["structuredContent"];
        assert_eq!(structured["remembered"], "diet", "{}", told.text());
        let memo = bot.recalls(json!({"words": "NUTS"})).remove(0);
        assert_eq!((&memo["text"], &memo["generated"]), (&json!(secret), &json!(true)));
        assert_eq!(memo["written_by"], "bot");
    }
    world.gate.kill();
    world.start();
    let bot = Asker::new(&world, "alice", "bot");
    assert_eq!(bot.recalls(json!({}))[0]["text"], secret, "a crash takes nothing");
    let bobs = Asker::new(&world, "bob", "bot");
    assert!(bobs.recalls(json!({})).is_empty());

    let alice = Asker::new(&world, "alice", "lockgate-console");
    let memo = alice.listed().remove(0);
    let id = memo["memo"].as_str().unwrap();
    let lasts = memo["expires_at"].as_i64().unwrap() - memo["written_at"].as_i64().unwrap();
    assert_eq!(lasts, 3600 * 1_000_000);
    let shown = alice.memory(&["show", id]).unwrap();
    assert!(shown.contains("generated, by bot at "), "{shown}");
    assert!(!shown.contains('\u{1b}'), "nothing speaks to the terminal: {shown:?}");

    // Of another person's nothing is said, and no agent confirms what it has written.
    let bob = Asker::new(&world, "bob", "lockgate-console");
    assert!(bob.listed().is_empty());
    for action in [&["show", id][..], &["forget", id], &["confirm", id, "--reason", "x"]] {
        let refused = bob.memory(action).unwrap_err();
        assert!(refused.contains("LG-S003"), "{refused}");
    }
    let own = bot.memory(&["confirm", id, "--reason", "x"]).unwrap_err();
    assert!(own.contains("LG-M003"), "{own}");
    alice.memory(&["confirm", id, "--reason", "it is so"]).unwrap();
    assert_eq!(bot.recalls(json!({}))[0]["confirmed"], true);
    alice.memory(&["forget", id]).unwrap();
    assert!(bot.recalls(json!({})).is_empty());
    assert!(alice.memory(&["list"]).unwrap().contains("nothing for you"));

    // The log says that it happened, and not what.
    let entries = world.entries();
    let operations = ["notes/remember", "notes/recall", "lockgate/memory_confirm"];
    for operation in operations {
        assert!(entries.iter().any(|entry| entry["operation"] == operation), "{operation}");
    }
    assert!(entries.iter().all(|entry| !entry.to_string().contains("nuts")));
    let replayed = world.gate.command(&["replay"]).unwrap();
    assert!(replayed.contains("0 differ"), "{replayed}");
    world.gate.stop().unwrap();
    let state = std::fs::read_dir(world.gate.directory().join("state"));
    for file in state.into_iter().flatten().filter_map(Result::ok) {
        let bytes = std::fs::read(file.path()).unwrap_or_default();
        let is_there = bytes.windows(4).any(|four| four == b"nuts");
        assert!(!is_there, "{} has it in plain text", file.path().display());
    }
}

#[test]
fn a_chain_across_memory_is_refused_with_the_recall_that_led_to_it() {
    let mut world = world();
    let path = world.gate.directory().join("notes");
    let note = || json!({"path": path, "text": "x"});
    let bot = Asker::new(&world, "alice", "bot");
    let read = world.alice().call("echo", json!({"text": "a customer, and what a stranger says"}));
    assert_eq!(read.code(), "");
    assert_eq!(bot.calls("remember", json!({"key": "k", "text": "mail it to eve"})).code(), "");

    // An agent of another isolation group may write, until it has read the memo.
    let mut second = world.client("alice", "other-bot");
    let reads = Asker::new(&world, "alice", "other-bot");
    assert_eq!(reads.calls("recall", json!({"words": "nothing"})).code(), "");
    let wrote = second.call("note", note());
    assert_eq!(wrote.code(), "", "{}", wrote.text());
    let recalled = reads.calls("recall", json!({}));
    assert_eq!(recalled.code(), "");
    let refused = second.call("note", note());
    assert_eq!(refused.code(), "LG-D004", "{}", refused.text());
    let id = |answer: &Answer| answer.header("lockgate-call").unwrap().to_owned();
    assert!(refused.text().contains(&id(&recalled)), "{}", refused.text());
    let explained = world.gate.command(&["explain", &id(&refused)]).unwrap();
    let step = format!("confidentiality:confidential by the call {}", id(&recalled));
    assert!(explained.contains(&step), "{explained}");

    // A switch stops a memory like any upstream.
    world.gate.command(&["kill", "--tool", "notes", "--reason", "test"]).unwrap();
    assert_eq!(reads.calls("recall", json!({})).code(), "LG-D009");
    world.gate.stop().unwrap();
}

#[test]
fn what_cannot_be_is_a_mistake_with_its_line() {
    let world = World::new();
    world.configure(
        "[upstream.notes]\nera = \"stateless\"\n[upstream.notes.memory]\n\
         entries_max = 1000\nentry_bytes_max = 16384\nper = [\"task\", \"task\"]\n\
         [upstream.both]\ncommand = [\"x\"]\n[upstream.both.memory]\nttl = 3\n",
    );
    let own = world.gate.bundle().join("operations/notes.toml");
    std::fs::write(own, "[tool.recall]\neffect = \"write\"\naccepted = true\n").unwrap();
    let checked = world.gate.command(&["check"]).unwrap_err();
    assert!(checked.contains("ttl"), "{checked}");
    world.gate.edit("lockgate.toml", |text| text.replace("ttl = 3", "")).unwrap();
    let checked = world.gate.command(&["check"]).unwrap_err();
    for what in [
        "`era` of an upstream that is a memory",
        "the memos of one scope may be 16384000 bytes in all",
        "`per` says the same twice",
        "the upstream `both` has both `command` and `memory`",
        "`notes` is a memory, whose tools are the gate's own",
    ] {
        assert!(checked.contains(what), "no `{what}` in {checked}");
    }
}

#[test]
fn a_run_remembers_and_a_later_one_recalls() {
    let task = TASK.replace("\"tool/pay\"", "\"notes/remember\", \"notes/recall\", \"tool/pay\"");
    let brain = StandIn::scripted(|asked| {
        let is_told = asked.blocks.iter().any(|block| block.contains("Remember that"));
        match (asked.data(), is_told) {
            (0, true) => Reply::call("notes__remember", r#"{"key":"size","text":"wears 42"}"#),
            (0, false) => Reply::call("notes__recall", "{}"),
            (_, true) => Reply::text("Noted."),
            (_, false) => Reply::text("It is 42."),
        }
    });
    let mut runs = Runs::new(brain.unwrap(), &task);
    let edit = |path: &str, more: &str| {
        runs.gate.edit(path, |text| format!("{text}\n{more}\n")).unwrap();
    };
    edit("lockgate.toml", "[upstream.notes.memory]");
    edit(
        "policies/test.cedar",
        "@id(\"memory\")\npermit (principal, action in Action::\"upstream:notes\", resource);",
    );
    runs.start();
    let first = runs.over(&runs.begin("Remember that I wear 42."));
    assert_eq!(first["outcome"]["text"], "Noted.", "{first:#}");
    let second = runs.over(&runs.begin("What do I wear?"));
    assert_eq!(second["outcome"]["text"], "It is 42.", "{second:#}");
    let bodies = runs.model.bodies();
    let last = String::from_utf8_lossy(bodies.last().unwrap());
    assert!(last.contains("wears 42") && last.contains("generated"), "{last}");
}
