//! Calls that wait for people, from the side of clients of both eras: how they hear of it, and what
//! becomes of what they say.
#![cfg(test)]

mod support;

use serde_json::{Value, json};
use std::fs;
use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use support::http::{Answer, Connection, Request, read_line};
use support::issuer::{AUDIENCE, ISSUER, Key, claims, key_set, now};
use support::{SOON, World};

const POLICIES: &str = r#"
@id("notes-need-somebody") @require_approval("group:operators")
forbid (principal, action == Action::"tool/note", resource)
unless { context.approvals.contains("group:operators") };

@id("holds-need-two") @require_approval("2 of group:operators")
forbid (principal, action == Action::"tool/hold", resource)
unless { context.approvals.contains("2 of group:operators") };

@id("own-requests")
permit (principal, action == Action::"lockgate/approval_state", resource);
"#;

const PEOPLE: &str = "\n[user.olga]\ngroups = [\"operators\"]\n\n[user.sam]\ngroups = [\"operators\", \"staff\"]\n\n[user.oleg]\ngroups = [\"operators\"]\n\
    \n[agent.helper]\nenvironments = [\"dev\"]\ngroups = [\"operators\", \"bots\"]\n";

/// A gate where notes need somebody, with more limits.
fn world(limits: &str) -> World {
    let world = World::new();
    let edit = |path: &str, more: &str| {
        world.gate.edit(path, |text| format!("{text}\n{more}\n")).unwrap();
    };
    edit("policies/test.cedar", POLICIES);
    edit("principals.toml", PEOPLE);
    edit("lockgate.toml", limits);
    let users = "\"alice\", \"bob\", \"operator\"";
    let more = format!("{users}, \"olga\", \"oleg\", \"sam\"");
    world.gate.edit("lockgate.toml", |text| text.replace(users, &more)).unwrap();
    world
}

fn started(limits: &str) -> World {
    let mut world = world(limits);
    world.start();
    world
}

fn notes(world: &World) -> PathBuf {
    world.gate.directory().join("notes")
}

fn lines(world: &World) -> usize {
    fs::read_to_string(notes(world)).map_or(0, |text| text.lines().count())
}

fn note(world: &World, text: &str) -> Value {
    json!({"name": "note", "arguments": {"path": notes(world), "text": text}})
}

/// A client of 2026-07-28 that can show addresses.
struct Shows {
    connection: Connection,
    token: String,
}

impl Shows {
    fn new(world: &World, user: &str, agent: &str) -> Self {
        let connection = Connection::open(world.address);
        Self { connection, token: world.token(user, agent) }
    }

    fn call(&mut self, params: &Value) -> Answer {
        let tool = params["name"].as_str().unwrap().to_owned();
        let mut params = params.clone();
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {"elicitation": {"url": {}}},
        });
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
        let request = Request::post("/mcp/tool", message.to_string())
            .with("MCP-Protocol-Version", "2026-07-28")
            .with("Mcp-Method", "tools/call")
            .with("Mcp-Name", &tool)
            .with("Authorization", &format!("Bearer {}", self.token));
        self.connection.exchange(&request)
    }

    /// The same call again, with what was given to it and an answer.
    fn again(&mut self, params: &Value, asked: &Value, action: Option<&str>) -> Answer {
        let mut params = params.clone();
        params["requestState"] = asked["requestState"].clone();
        if let Some(action) = action {
            let key = asked["inputRequests"].as_object().unwrap().keys().next().unwrap();
            params["inputResponses"] = json!({key: {"action": action}});
        }
        self.call(&params)
    }
}

/// What a call asks for, and of which request.
fn asked(answer: &Answer) -> (Value, String) {
    let result = answer.json()["result"].clone();
    assert_eq!(result["resultType"], "input_required", "{}", answer.text());
    let waits = &result["_meta"]["dev.lockgate/refusal"]["approval"];
    let request = waits["call"].as_str().unwrap().to_owned();
    (result, request)
}

/// Somebody at the admin API.
fn admin(world: &World, who: (&str, &str), method: &str, path: &str, body: &Value) -> Answer {
    let body = if method == "POST" { body.to_string() } else { String::new() };
    let request = Request { body: body.into_bytes(), ..Request::new(method, path) };
    let token = world.token(who.0, who.1);
    support::http::exchange(
        world.address,
        &request.with("Authorization", &format!("Bearer {token}")),
    )
}

fn give(world: &World, who: &str, request: &str, requirement: &str) -> Answer {
    give_as(world, (who, "lockgate-cli"), request, requirement)
}

fn give_as(world: &World, who: (&str, &str), request: &str, requirement: &str) -> Answer {
    let body = json!({"requirement": requirement, "reason": "fine"});
    admin(world, who, "POST", &format!("/v1/approvals/{request}/give"), &body)
}

fn admin_code(answer: &Answer) -> String {
    answer.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_stateless_client_is_asked_and_comes_back_to_a_gate_that_was_restarted() {
    let mut world = started("approval_wait_ms = 0");
    let remember = note(&world, "remember");
    let mut alice = Shows::new(&world, "alice", "bot");
    let (result, request) = asked(&alice.call(&remember));
    let question = result["inputRequests"].as_object().unwrap().values().next().unwrap();
    assert_eq!(question["method"], "elicitation/create");
    assert_eq!(question["params"]["mode"], "url");
    let page = format!("http://{}/console/approvals/{request}", world.address);
    assert_eq!(question["params"]["url"], page);
    let message = question["params"]["message"].as_str().unwrap();
    assert!(message.contains("tool/note") && message.contains("group:operators"), "{message}");
    assert!(!message.contains("remember"), "what a model wrote is not shown: {message}");

    // That somebody has seen the address is no approval, however often it is said.
    for _ in 0..2 {
        let (_, same) = asked(&alice.again(&remember, &result, Some("accept")));
        assert_eq!(same, request);
    }
    assert_eq!(lines(&world), 0);
    // Neither is anything else that a client could put there.
    let mut more = remember.clone();
    more["inputResponses"] =
        json!({"approval": {"action": "accept", "content": {"approved": true}}});
    more["requestState"] = result["requestState"].clone();
    asked(&alice.call(&more));

    world.gate.kill();
    world.start();
    assert_eq!(give(&world, "operator", &request, "group:operators").status, 200);
    world.gate.kill();
    world.start();
    let mut alice = Shows::new(&world, "alice", "bot");
    let done = alice.again(&remember, &result, Some("accept"));
    assert_eq!(done.json()["result"]["resultType"], "complete", "{}", done.text());
    assert_eq!(done.code(), "", "{}", done.text());
    // The second use answers with what came of the first.
    let again = alice.again(&remember, &result, Some("accept"));
    let effect = &again.json()["result"]["_meta"]["dev.lockgate/effect"];
    assert_eq!(effect["state"], "replayed", "{}", again.text());
    assert_eq!(lines(&world), 1);
    let mut story = world.entries().into_iter().filter(|entry| entry["k"] == "approval");
    assert_eq!(story.next().unwrap()["state"], "given");
    assert_eq!(story.next().unwrap()["state"], "spent");
    assert!(world.gate.command(&["verify"]).is_ok() && world.gate.command(&["replay"]).is_ok());
    world.gate.stop().unwrap();
}

#[test]
fn a_state_is_good_for_the_request_it_is_of_and_nothing_else() {
    let mut world = started("approval_wait_ms = 0");
    let (one, other) = (note(&world, "one"), note(&world, "other"));
    let mut alice = Shows::new(&world, "alice", "bot");
    let (asked_one, request) = asked(&alice.call(&one));
    let (asked_other, other_request) = asked(&alice.call(&other));
    give(&world, "operator", &request, "group:operators");
    give(&world, "operator", &other_request, "group:operators");

    // Another argument, another request of one's own, another agent, another person.
    for action in [None, Some("accept"), Some("decline")] {
        let changed = alice.again(&other, &asked_one, action);
        assert_eq!(changed.code(), "LG-W022", "{action:?}: {}", changed.text());
        assert_eq!(changed.status, 400);
        let mut agent = Shows::new(&world, "alice", "other-bot");
        assert_eq!(agent.again(&one, &asked_one, action).code(), "LG-W022");
        let mut person = Shows::new(&world, "bob", "bot");
        assert_eq!(person.again(&one, &asked_one, action).code(), "LG-W022");
    }
    // Made up, cut off, bent.
    let state = asked_one["requestState"].as_str().unwrap();
    let bent = |from: &str, to: &str| json!({"requestState": state.replace(from, to)});
    let zeros = "0".repeat(32);
    for forged in [
        json!({"requestState": state.get(..state.len() - 1)}),
        json!({"requestState": format!("{state}0")}),
        bent(&request, &zeros),
        bent(&request, ""),
    ] {
        assert_eq!(alice.again(&one, &forged, None).code(), "LG-W022", "{forged}");
    }
    // What is said in its stead is none.
    let mut odd = one.clone();
    odd["requestState"] = state.into();
    for responses in [json!([]), json!({"approval": {"action": "approve"}}), json!({"approval": 1})]
    {
        odd["inputResponses"] = responses;
        assert_eq!(alice.call(&odd).code(), "LG-W007");
    }
    assert_eq!(lines(&world), 0);
    // None of that has used anything up, or given it up.
    assert_eq!(alice.again(&one, &asked_one, Some("accept")).code(), "");
    assert_eq!(alice.again(&other, &asked_other, None).code(), "");
    assert_eq!(lines(&world), 2);
    world.gate.stop().unwrap();
}

#[test]
fn who_asked_gives_it_up_and_it_is_not_done_whatever_was_agreed_to() {
    let mut world = started("approval_wait_ms = 0");
    let mut alice = Shows::new(&world, "alice", "bot");
    for (text, action, is_given) in
        [("one", "decline", false), ("two", "cancel", false), ("three", "decline", true)]
    {
        let it = note(&world, text);
        let (result, request) = asked(&alice.call(&it));
        if is_given {
            assert_eq!(give(&world, "operator", &request, "group:operators").status, 200);
        }
        let gone = alice.again(&it, &result, Some(action));
        assert_eq!(gone.code(), "LG-D021", "{}", gone.text());
        assert_eq!(gone.refusal()["approval"]["state"], "cancelled");
        let by = gone.refusal()["call"].clone();
        let last = world.entries().into_iter().rfind(|entry| entry["k"] == "approval").unwrap();
        assert_eq!((&last["state"], &last["by_call"]), (&json!("cancelled"), &by));
        let late = give(&world, "operator", &request, "group:operators");
        assert_eq!(admin_code(&late), "LG-D021");
        assert_eq!(alice.again(&it, &result, Some("accept")).code(), "LG-D021");
    }
    assert_eq!(lines(&world), 0);
    world.gate.stop().unwrap();
}

#[test]
fn what_does_not_lead_to_it_has_its_code() {
    let mut world = started("approval_wait_ms = 0");
    let mut alice = Shows::new(&world, "alice", "bot");
    let mut request_for = |text: &str| {
        let it = note(&world, text);
        let (result, request) = asked(&alice.call(&it));
        (it, result, request)
    };
    let (denied, denied_result, request) = request_for("denied");
    // Not by who asked, nor through the agent that asks, nor by others.
    for (who, code) in [
        (("alice", "lockgate-cli"), "LG-D003"),
        (("operator", "bot"), "LG-D002"),
        (("bob", "lockgate-cli"), "LG-D003"),
    ] {
        assert_eq!(admin_code(&give_as(&world, who, &request, "group:operators")), code, "{who:?}");
    }
    let reason = json!({"reason": "no"});
    let path = format!("/v1/approvals/{request}/deny");
    assert_eq!(admin(&world, ("operator", "lockgate-cli"), "POST", &path, &reason).status, 200);
    // Whatever policies say, nobody agrees to their own, nor through the agent that asks.
    let own = Shows::new(&world, "sam", "helper").call(&note(&world, "own"));
    let (_, own_request) = asked(&own);
    for who in [("sam", "lockgate-cli"), ("olga", "helper")] {
        let refused = give_as(&world, who, &own_request, "group:operators");
        assert_eq!(admin_code(&refused), "LG-D022", "{who:?}");
    }
    let (killed, killed_result, killed_request) = request_for("killed");

    let refused = alice.again(&denied, &denied_result, Some("accept"));
    assert_eq!(refused.code(), "LG-D021", "{}", refused.text());
    assert_eq!(refused.refusal()["approval"]["state"], "denied");
    // Without the state it is another request.
    assert_ne!(asked(&alice.call(&denied)).1, request);

    world.gate.command(&["kill", "--agent", "bot", "--reason", "loops"]).unwrap();
    assert_eq!(alice.again(&killed, &killed_result, Some("accept")).code(), "LG-D009");
    world.gate.command(&["lift", "--agent", "bot", "--reason", "mended"]).unwrap();
    let refused = alice.again(&killed, &killed_result, Some("accept"));
    assert_eq!(refused.code(), "LG-D021", "{}", refused.text());
    assert_eq!(refused.refusal()["approval"]["state"], "cancelled");
    let late = give(&world, "operator", &killed_request, "group:operators");
    assert_eq!(admin_code(&late), "LG-D021");

    let changed = note(&world, "superseded");
    let (changed_result, changed_request) = asked(&alice.call(&changed));
    assert_eq!(give(&world, "operator", &changed_request, "group:operators").status, 200);
    let stricter = |text: String| text.replace("\"group:operators\"", "\"user:olga\"");
    world.gate.edit("policies/test.cedar", stricter).unwrap();
    world.gate.command(&["reload"]).unwrap();
    let refused = alice.again(&changed, &changed_result, Some("accept"));
    assert_eq!(refused.code(), "LG-D021", "{}", refused.text());
    assert_eq!(refused.refusal()["approval"]["state"], "superseded");
    assert_eq!(lines(&world), 0);
    world.gate.stop().unwrap();
}

#[test]
fn a_request_that_nobody_answers_expires() {
    let mut world = started("approval_wait_ms = 0\napproval_ms = 1000");
    let it = note(&world, "late");
    let mut alice = Shows::new(&world, "alice", "bot");
    let (result, _) = asked(&alice.call(&it));
    let refused = lockgate_sim::wait::until("the end of the request", SOON, || {
        let answer = alice.again(&it, &result, Some("accept"));
        (answer.code() == "LG-D021").then_some(answer)
    });
    assert_eq!(refused.unwrap().refusal()["approval"]["state"], "expired");
    assert_eq!(lines(&world), 0);
    world.gate.stop().unwrap();
}

#[test]
fn two_of_a_group_are_two() {
    let mut world = started("approval_wait_ms = 0");
    let pipe = support::pipe(world.gate.directory());
    let it = json!({"name": "hold", "arguments": {"pipe": pipe}});
    let mut alice = Shows::new(&world, "alice", "bot");
    let (result, request) = asked(&alice.call(&it));
    let both = "2 of group:operators";
    for _ in 0..2 {
        assert_eq!(give(&world, "olga", &request, both).json()["state"], "pending");
        asked(&alice.again(&it, &result, Some("accept")));
    }
    assert_eq!(give(&world, "oleg", &request, both).json()["state"], "given");
    let (address, token) = (world.address, alice.token.clone());
    let done = std::thread::spawn(move || {
        let mut alice = Shows { connection: Connection::open(address), token };
        alice.again(&it, &result, Some("accept"))
    });
    drop(support::held(&pipe));
    let done = done.join().unwrap();
    assert_eq!(done.code(), "", "{}", done.text());
    world.gate.stop().unwrap();
}

#[test]
fn a_client_that_comes_back_is_kept_until_somebody_agrees() {
    let mut world = started("approval_wait_ms = 60000");
    let it = note(&world, "soon");
    let mut alice = Shows::new(&world, "alice", "bot");
    let (result, request) = asked(&alice.call(&it));
    let (address, token) = (world.address, alice.token.clone());
    let waits = std::thread::spawn(move || {
        let mut alice = Shows { connection: Connection::open(address), token };
        alice.again(&it, &result, Some("accept"))
    });
    // Its first look is on record before anybody agrees.
    let looked = lockgate_sim::wait::until("the second look", SOON, || {
        let refusals = world
            .entries()
            .into_iter()
            .filter(|entry| entry["k"] == "refusal" && entry["verdict"] == "require_approval");
        (refusals.count() >= 2).then_some(())
    });
    looked.unwrap();
    assert_eq!(give(&world, "operator", &request, "group:operators").status, 200);
    let done = waits.join().unwrap();
    assert_eq!(done.code(), "", "{}", done.text());
    assert_eq!(lines(&world), 1);
    world.gate.stop().unwrap();
}

#[test]
fn everybody_else_is_told_where_to_look_and_can() {
    let mut world = started("");
    let mut alice = world.alice();
    let it = json!({"path": notes(&world), "text": "plain"});
    let told = alice.call("note", it.clone());
    assert_eq!(told.code(), "LG-D008", "{}", told.text());
    let waits = told.refusal()["approval"].clone();
    let request = waits["call"].as_str().unwrap();
    assert_eq!(waits["state"], "pending");
    assert!(waits["expires_at"].as_i64().unwrap() > 0);
    assert_eq!(waits["poll"]["after_ms"], 5000);
    let page = format!("http://{}/console/approvals/{request}", world.address);
    assert_eq!(waits["url"], page);
    assert!(told.text().contains(&page), "{}", told.text());

    let path = waits["poll"]["path"].as_str().unwrap();
    let look = |who| admin(&world, who, "GET", path, &Value::Null);
    assert_eq!(look(("alice", "bot")).json(), waits);
    // Of anybody else's nothing is said, not even that it is there.
    for who in [("bob", "bot"), ("alice", "other-bot"), ("operator", "lockgate-cli")] {
        assert_eq!(admin_code(&look(who)), "LG-S003", "{who:?}");
    }
    assert_eq!(give(&world, "operator", request, "group:operators").status, 200);
    let given = look(("alice", "bot")).json();
    assert_eq!((&given["state"], &given["poll"]), (&json!("given"), &Value::Null));
    assert_eq!(alice.call("note", it).code(), "");
    assert_eq!(look(("alice", "bot")).json()["state"], "spent");
    world.gate.stop().unwrap();
}

#[test]
fn the_evidence_says_who_what_why_from_where_and_what_then() {
    let mut world = started("");
    let mut alice = world.alice();
    let it = json!({"path": notes(&world), "text": "remember"});
    let told = alice.call("note", it.clone());
    let request = told.refusal()["approval"]["call"].as_str().unwrap().to_owned();
    let show = |world: &World| {
        let shown = world.gate.command(&["approvals", "show", &request, "--json"]).unwrap();
        serde_json::from_str::<Value>(&shown).unwrap()
    };
    let shown = show(&world);
    let evidence = &shown["evidence"];
    assert_eq!(evidence["version"], 1);
    let who = &evidence["who"];
    assert_eq!((&who["subject"], &who["agent"]), (&json!("alice"), &json!("bot")));
    assert_eq!((&who["tenant"], &who["environment"]), (&json!("default"), &json!("dev")));
    let what = &evidence["what"];
    assert_eq!((&what["operation"], &what["effect"]), (&json!("tool/note"), &json!("write")));
    assert_eq!(what["request"], json!({"name": "note", "arguments": it}));
    assert_eq!(what["class"], "opaque");
    assert_eq!(evidence["why"]["policies"], json!(["notes-need-somebody"]));
    assert_eq!(evidence["why"]["requirements"], json!(["group:operators"]));
    let arguments = json!([{"argument": "path", "origin": "caller"},
                           {"argument": "text", "origin": "caller"}]);
    assert_eq!(evidence["arguments"], arguments);
    assert_eq!(evidence["dry_run"]["kind"], "request");
    assert_eq!(evidence["risk"]["session"]["mode"], "normal");
    assert_eq!(evidence["risk"]["agent_requests"]["requests"], json!({}));
    assert_eq!(shown["bundle_changed"], false);

    // What the agent has asked for before counts for the next.
    let path = format!("/v1/approvals/{request}/deny");
    admin(&world, ("operator", "lockgate-cli"), "POST", &path, &json!({"reason": "no"}));
    let next = alice.call("note", json!({"path": notes(&world), "text": "second"}));
    let next = next.refusal()["approval"]["call"].as_str().unwrap().to_owned();
    let later = world.gate.command(&["approvals", "show", &next, "--json"]).unwrap();
    let later: Value = serde_json::from_str(&later).unwrap();
    assert_eq!(later["evidence"]["risk"]["agent_requests"]["requests"], json!({"denied": 1}));

    world.gate.edit("policies/test.cedar", |text| format!("{text}\n// changed\n")).unwrap();
    world.gate.command(&["reload"]).unwrap();
    assert_eq!(show(&world)["bundle_changed"], true);
    world.gate.stop().unwrap();
}

#[test]
fn whoever_has_to_agree_is_shown_what_the_upstream_says_it_would_do() {
    let mut world = world("");
    let two = "[tool.note]\ntwo_phase = true\npreview = { tool = \"echo\" }\n";
    let wider = json!({"type": "object", "properties": {"text": {"type": "string"},
                                                        "path": {"type": "string"}}});
    let edit = |text: String| {
        let mut sections: Vec<String> = text.split("\n\n").map(str::to_owned).collect();
        let echo = sections.iter_mut().find(|it| it.contains("[tool.echo]")).unwrap();
        *echo = format!("[tool.echo]\neffect = \"read\"\naccepted = true\nschema = '{wider}'");
        sections.join("\n\n").replace("[tool.note]\n", two)
    };
    world.gate.edit("operations/tool.toml", edit).unwrap();
    world.start();
    let told = world.alice().call("note", json!({"path": notes(&world), "text": "would note"}));
    let plan = &told.json()["result"]["structuredContent"]["plan"];
    assert_eq!(plan["approval"]["state"], "pending", "{}", told.text());
    let request = plan["approval"]["call"].as_str().unwrap();
    let shown = world.gate.command(&["approvals", "show", request, "--json"]).unwrap();
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let dry_run = &shown["evidence"]["dry_run"];
    assert_eq!(dry_run["kind"], "preview", "{shown}");
    assert!(dry_run["result"].to_string().contains("would note"), "{dry_run}");
    assert_eq!(dry_run["call"], plan["preview"]["call"]);
    assert_eq!(lines(&world), 0);
    world.gate.stop().unwrap();
}

#[test]
fn more_than_a_page_of_requests_is_listed() {
    let mut world = started("");
    // An agent may have a hundred of them.
    for (user, agent) in [("alice", "bot"), ("alice", "other-bot"), ("bob", "helper")] {
        let mut client = world.client(user, agent);
        for number in 0..100 {
            let it = json!({"path": notes(&world), "text": format!("{number}")});
            assert_eq!(client.call("note", it).code(), "LG-D008");
        }
    }
    let listed = world.gate.command(&["approvals", "--json"]).unwrap();
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let calls = listed["approvals"].as_array().unwrap().iter();
    let calls: std::collections::BTreeSet<_> = calls.map(|one| one["call"].to_string()).collect();
    assert_eq!(calls.len(), 300);
    world.gate.stop().unwrap();
}

#[test]
fn whoever_agrees_signs_in_again_where_policies_say_so() {
    let mut world = world("");
    let key = Key::new("one");
    let file = world.gate.bundle().join("issuers/login.json");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, key_set(&[&key])).unwrap();
    world.configure(&format!(
        "[[issuer]]\nname = \"login\"\nurl = \"{ISSUER}\"\naudience = \"{AUDIENCE}\"\n\
         algorithms = [\"ES256\"]\njwks_file = \"issuers/login.json\""
    ));
    let step_up = r#"
@id("signs-in-again") @step_up("acr:phr,phrh;max_age:300")
forbid (principal, action == Action::"lockgate/approval_give", resource)
unless {
  context.authentication has acr && ["phr", "phrh"].contains(context.authentication.acr) &&
  context.authentication has age_s && context.authentication.age_s <= 300 &&
  context.authentication has amr && context.authentication.amr.contains("hwk")
};"#;
    world.gate.edit("policies/test.cedar", |text| format!("{text}{step_up}")).unwrap();
    world.start();
    let told = world.alice().call("note", json!({"path": notes(&world), "text": "careful"}));
    let request = told.refusal()["approval"]["call"].as_str().unwrap().to_owned();
    let path = format!("/v1/approvals/{request}/give");
    let body = json!({"requirement": "group:operators", "reason": "fine"});
    let give = |signed_in: Value| {
        let mut claims = claims();
        claims["sub"] = "operator".into();
        claims["act"] = json!({"sub": "lockgate-cli"});
        for (name, value) in signed_in.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let request = Request::post(&path, body.to_string())
            .with("Authorization", &format!("Bearer {}", key.sign(&claims)));
        support::http::exchange(world.address, &request)
    };
    for not_enough in [
        json!({}),
        json!({"acr": "phr", "amr": ["hwk"]}),
        json!({"auth_time": now(), "amr": ["hwk"]}),
        json!({"acr": "phr", "auth_time": now()}),
        json!({"acr": "password", "auth_time": now(), "amr": ["hwk"]}),
        json!({"acr": "phr", "auth_time": now() - 3600, "amr": ["hwk"]}),
        json!({"acr": "phr", "auth_time": now() + 3600, "amr": ["hwk"]}),
        json!({"acr": "phr", "auth_time": now().to_string(), "amr": ["hwk"]}),
        json!({"acr": ["phr"], "auth_time": now(), "amr": "hwk"}),
    ] {
        let refused = give(not_enough.clone());
        assert_eq!((refused.status, admin_code(&refused).as_str()), (401, "LG-D032"));
        let challenge = refused.header("www-authenticate").unwrap();
        assert!(challenge.contains("error=\"insufficient_user_authentication\""), "{challenge}");
        assert!(challenge.ends_with("acr_values=\"phr phrh\", max_age=300"), "{challenge}");
        let told = &refused.json()["error"]["step_up"];
        assert_eq!(*told, json!({"acr_values": ["phr", "phrh"], "max_age": 300}), "{not_enough}");
    }
    let given = give(json!({"acr": "phrh", "auth_time": now() - 10, "amr": ["pin", "hwk"]}));
    assert_eq!(given.status, 200, "{}", given.text());
    let done = world.alice().call("note", json!({"path": notes(&world), "text": "careful"}));
    assert_eq!(done.code(), "", "{}", done.text());
    assert!(world.gate.command(&["replay"]).is_ok());
    world.gate.stop().unwrap();
}

/// A client of 2025-11-25 in mid-call: it reads what it is told as it comes.
struct Session {
    address: SocketAddr,
    token: String,
    id: String,
}

impl Session {
    fn open(world: &World, version: &str, elicitation: &Value) -> Self {
        let (address, token) = (world.address, world.token("alice", "bot"));
        let mut session = Self { address, token, id: String::new() };
        let params = json!({"protocolVersion": version, "clientInfo": {"name": "c", "version": "1"},
                            "capabilities": {"elicitation": elicitation}});
        let hello = session.post(&json!({"jsonrpc": "2.0", "id": 0, "method": "initialize",
                                         "params": params}));
        session.id = hello.header("mcp-session-id").unwrap().to_owned();
        session.post(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        session
    }

    fn request(&self, message: &Value) -> Request {
        let request = Request::post("/mcp/tool", message.to_string())
            .with("Authorization", &format!("Bearer {}", self.token));
        match self.id.as_str() {
            "" => request,
            id => request.with("Mcp-Session-Id", id),
        }
    }

    fn post(&self, message: &Value) -> Answer {
        support::http::exchange(self.address, &self.request(message))
    }

    /// Begins a call.
    fn call(&self, params: &Value) -> Events {
        let message = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params});
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream.write_all(&self.request(&message).to_bytes()).unwrap();
        let mut stream = BufReader::new(stream);
        while !read_line(&mut stream).unwrap().is_empty() {}
        Events { stream, text: String::new() }
    }

    /// Answers what the gate asks.
    fn answer(&self, asked: &Value, action: &str) {
        let answer = json!({"jsonrpc": "2.0", "id": asked["id"], "result": {"action": action}});
        assert_eq!(self.post(&answer).status, 202);
    }
}

/// What comes on a stream.
struct Events {
    stream: BufReader<TcpStream>,
    text: String,
}

impl Events {
    /// The next message.
    fn next(&mut self) -> Value {
        loop {
            if let Some(end) = self.text.find("\n\n") {
                let event: String = self.text.drain(..end + 2).collect();
                let message = event.lines().find_map(|line| line.strip_prefix("data: {"));
                if let Some(message) = message {
                    return serde_json::from_str(&format!("{{{message}")).unwrap();
                }
                continue;
            }
            let size = read_line(&mut self.stream).unwrap();
            let size = usize::from_str_radix(&size, 16).unwrap_or_else(|_| panic!("{size}"));
            assert!(size > 0, "the stream ends: {}", self.text);
            let mut chunk = vec![0; size + 2];
            self.stream.read_exact(&mut chunk).unwrap();
            chunk.truncate(size);
            self.text.push_str(&String::from_utf8(chunk).unwrap());
        }
    }
}

#[test]
fn a_client_with_a_session_is_told_in_mid_call_and_has_its_answer_when_somebody_agrees() {
    let mut world = started("approval_wait_ms = 60000");
    let session = Session::open(&world, "2025-11-25", &json!({"url": {}}));
    let mut call = session.call(&note(&world, "in session"));
    let told = call.next();
    assert_eq!(told["method"], "elicitation/create", "{told}");
    assert_eq!(told["params"]["mode"], "url");
    let request = told["params"]["elicitationId"].as_str().unwrap();
    let page = format!("http://{}/console/approvals/{request}", world.address);
    assert_eq!(told["params"]["url"], page);
    session.answer(&told, "accept");
    // Others are served meanwhile, also in this session.
    let echo = json!({"name": "echo", "arguments": {"text": "meanwhile"}});
    let other = json!({"jsonrpc": "2.0", "id": 8, "method": "tools/call", "params": echo});
    assert!(session.post(&other).text().contains("meanwhile"));
    assert_eq!(lines(&world), 0, "that somebody has seen it is no approval");
    assert_eq!(give(&world, "operator", request, "group:operators").status, 200);
    let complete = call.next();
    assert_eq!(complete["method"], "notifications/elicitation/complete", "{complete}");
    assert_eq!(complete["params"]["elicitationId"], request);
    let done = call.next();
    assert_eq!((&done["id"], &done["result"]["isError"]), (&json!(7), &Value::Null), "{done}");
    assert_eq!(lines(&world), 1);

    // Given up, denied, or seen by a client that only knows forms.
    let mut call = session.call(&note(&world, "given up"));
    let told = call.next();
    session.answer(&told, "decline");
    let refusal = call.next()["result"]["_meta"]["dev.lockgate/refusal"].clone();
    assert_eq!(
        (&refusal["code"], &refusal["approval"]["state"]),
        (&json!("LG-D021"), &json!("cancelled"))
    );
    let mut call = session.call(&note(&world, "denied"));
    let request = call.next()["params"]["elicitationId"].as_str().unwrap().to_owned();
    world.gate.command(&["approvals", "deny", &request, "--reason", "no"]).unwrap();
    assert_eq!(call.next()["method"], "notifications/elicitation/complete");
    let refusal = call.next()["result"]["_meta"]["dev.lockgate/refusal"].clone();
    assert_eq!(
        (&refusal["code"], &refusal["approval"]["state"]),
        (&json!("LG-D021"), &json!("denied"))
    );
    for (version, can) in [("2025-11-25", json!({})), ("2025-06-18", json!({"url": {}}))] {
        let session = Session::open(&world, version, &can);
        let params = note(&world, version);
        let message = json!({"jsonrpc": "2.0", "id": 9, "method": "tools/call", "params": params});
        assert_eq!(session.post(&message).code(), "LG-D008", "{version}");
    }
    assert_eq!(lines(&world), 1);
    world.gate.stop().unwrap();
}

#[test]
fn waiting_in_mid_call_has_bounds_and_the_request_stays() {
    let mut world = started("approval_wait_ms = 300\napproval_waits_max = 4");
    let session = Session::open(&world, "2025-11-25", &json!({"url": {}}));
    let it = note(&world, "slow");
    let mut call = session.call(&it);
    let request = call.next()["params"]["elicitationId"].as_str().unwrap().to_owned();
    let told = call.next()["result"]["_meta"]["dev.lockgate/refusal"].clone();
    assert_eq!((&told["code"], &told["approval"]["call"]), (&json!("LG-D008"), &json!(request)));
    // A client that goes away leaves the request.
    world.gate.edit("lockgate.toml", |text| text.replace("= 300", "= 60000")).unwrap();
    world.gate.command(&["reload"]).unwrap();
    let mut call = session.call(&it);
    call.next();
    // The fourth of four: this agent has its share.
    let message = json!({"jsonrpc": "2.0", "id": 9, "method": "tools/call",
                         "params": note(&world, "another")});
    let refused = session.post(&message);
    assert_eq!(refused.code(), "LG-D008");
    assert!(!refused.text().contains("elicitation/create"), "it is not asked while it waits");
    drop(call);
    let cancel = json!({"jsonrpc": "2.0", "method": "notifications/cancelled",
                        "params": {"requestId": 7}});
    session.post(&cancel);
    let listed = world.gate.command(&["approvals"]).unwrap();
    assert!(listed.contains(&request), "{listed}");
    assert_eq!(give(&world, "operator", &request, "group:operators").status, 200);
    let message = json!({"jsonrpc": "2.0", "id": 10, "method": "tools/call", "params": it});
    assert_eq!(session.post(&message).code(), "");
    assert_eq!(lines(&world), 1);
    world.gate.stop().unwrap();
}
