//! A chain of calls, each of them allowed, is refused: across agents of one person and restarts of
//! the gate, with the calls that led to it.
#![cfg(test)]

mod support;

use serde_json::json;
use support::World;

const TOXIC: &str = r#"
@id("toxic")
@reason("nothing is written after private data and strangers' words were read")
forbid (principal, action in Action::"write", resource)
when {
  context.history.contains("confidentiality:confidential")
  && context.history.contains("origin:anyone")
};
"#;

fn world() -> World {
    let world = World::new();
    let private =
        "[tool.echo]\nreturns = { origin = \"system\", confidentiality = \"confidential\" }\n";
    world.gate.edit("operations/tool.toml", |text| text.replace("[tool.echo]\n", private)).unwrap();
    world.gate.edit("policies/test.cedar", |text| format!("{text}{TOXIC}")).unwrap();
    world
}

#[test]
fn a_chain_is_refused_with_its_path_whoever_goes_on_with_it() {
    let mut world = world();
    world.start();
    let notes = world.gate.directory().join("notes");
    let note = |text: &str| json!({"path": notes, "text": text});
    let mut alice = world.alice();
    let read = alice.call("echo", json!({"text": "a customer"}));
    assert_eq!(read.code(), "");
    // The answer of the first write is the first of anybody's words.
    let wrote = alice.call("note", note("one"));
    assert_eq!(wrote.code(), "", "{}", wrote.text());
    let refused = alice.call("note", note("two"));
    assert_eq!(refused.code(), "LG-D004", "{}", refused.text());
    let id = |answer: &support::http::Answer| answer.header("lockgate-call").unwrap().to_owned();
    for step in [&read, &wrote] {
        assert!(refused.text().contains(&id(step)), "{}", refused.text());
    }

    // Neither another agent nor another life of the gate sheds anything.
    world.gate.kill();
    world.start();
    let mut other = world.client("alice", "other-bot");
    let again = other.call("note", note("three"));
    assert_eq!(again.code(), "LG-D004", "{}", again.text());
    let explained = world.gate.command(&["explain", &id(&again)]).unwrap();
    for part in [
        format!("confidentiality:confidential by the call {}", id(&read)),
        format!("origin:anyone by the call {}", id(&wrote)),
        "had met: untrusted; confidential; words of: system, anyone".to_owned(),
    ] {
        assert!(explained.contains(&part), "no `{part}` in {explained}");
    }
    let traced = world.gate.command(&["trace", &id(&read)]).unwrap();
    assert!(traced.contains("met: trusted; confidential; words of: system"), "{traced}");

    // Somebody else is not concerned.
    let mut bob = world.client("bob", "bot");
    assert_eq!(bob.call("note", note("four")).code(), "");
    let replayed = world.gate.command(&["replay"]).unwrap();
    assert!(replayed.contains("0 differ"), "{replayed}");
    world.gate.stop().unwrap();
}

#[test]
fn a_name_that_nothing_has_is_a_mistake_with_a_hint() {
    let world = world();
    world
        .gate
        .edit("policies/test.cedar", |text| text.replace("origin:anyone", "tool/ecko"))
        .unwrap();
    let checked = world.gate.command(&["check"]).unwrap_err();
    assert!(checked.contains("nothing that happens is called `tool/ecko`"), "{checked}");
    assert!(checked.contains("did you mean `tool/echo`?"), "{checked}");
}
