//! What the gate shows to upstreams: where it comes from, for what, for whom; what is said when it
//! is not accepted; and that nobody else ever sees it.
#![cfg(test)]

mod support;

use lockgate_sim::conformance::free_address;
use lockgate_sim::wait;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use support::guarded::{Endpoint, Guarded, claims};
use support::http::{Answer, Connection, Request, exchange};
use support::{Client, SOON, World, call, ended};

/// Callers at once.
const CALLERS: usize = 16;

/// A gate before a guarded upstream, with a credential for it.
fn world(upstream: &Guarded, credential: &str) -> World {
    let world = World::new();
    world
        .gate
        .edit("lockgate.toml", |text| {
            let lines = text.lines().filter(|line| !line.starts_with("command = "));
            lines.collect::<Vec<_>>().join("\n")
        })
        .unwrap();
    let url = format!("url = \"http://{}/mcp\"", upstream.address);
    let table = format!("[upstream.tool]\n{url}\nera = \"stateless\"\n{credential}\n");
    world.gate.edit("lockgate.toml", |text| text.replace("[upstream.tool]\n", &table)).unwrap();
    world
}

/// A file that only its owner reads.
fn secret_file(world: &World, name: &str, text: &str) -> PathBuf {
    let path = world.gate.directory().join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

fn echo(client: &mut Client) -> Answer {
    client.call("echo", json!({"text": "x"}))
}

/// A write that nobody has asked for before.
fn note(client: &mut Client, text: &str) -> Answer {
    client.call("note", json!({"path": "p", "text": text}))
}

fn is_done(answer: &Answer) -> bool {
    answer.json()["result"]["content"][0]["text"] == "done"
}

fn shown(tool: &str, with: &str) -> (String, String) {
    (tool.to_owned(), with.to_owned())
}

#[test]
fn reads_and_writes_have_credentials_of_their_own() {
    let upstream = Guarded::start();
    let mut world = world(
        &upstream,
        "[upstream.tool.credential.read]\nkind = \"static\"\n\
        scheme = \"Bearer\"\nvalue = \"file:SECRETS/reads\"\n\
        [upstream.tool.credential.write]\nkind = \"static\"\nscheme = \"Bearer\"\n\
        value = { command = [\"/bin/cat\", \"SECRETS/writes\"], lifetime_s = 3600 }\n",
    );
    let directory = world.gate.directory().display().to_string();
    world.gate.edit("lockgate.toml", |text| text.replace("SECRETS", &directory)).unwrap();
    secret_file(&world, "reads", "what-reads\n");
    let writes = secret_file(&world, "writes", "what-writes\n");
    world.start();
    let mut alice = world.alice();
    assert!(is_done(&echo(&mut alice)) && is_done(&note(&mut alice, "one")));
    for (asked, with) in upstream.take() {
        let wanted = if asked == "note" { "Bearer what-writes" } else { "Bearer what-reads" };
        assert_eq!(with, wanted, "{asked}");
    }

    // A file that changes is read again; a program is asked again once its secret is refused.
    secret_file(&world, "reads", "what-reads-now");
    assert!(is_done(&echo(&mut alice)));
    assert_eq!(upstream.take(), [shown("echo", "Bearer what-reads-now")]);
    fs::write(&writes, "what-writes-now").unwrap();
    assert!(is_done(&note(&mut alice, "two")));
    assert_eq!(upstream.take(), [shown("note", "Bearer what-writes")], "it is good for an hour");
    upstream.withdraw("Bearer what-writes");
    // Not at once: a program is not run with each call that is refused.
    let tried = wait::until("the other secret", SOON, || {
        let is_done = is_done(&note(&mut alice, "three"));
        let tried = upstream.take();
        is_done.then_some(tried)
    });
    let wanted = [shown("note", "Bearer what-writes"), shown("note", "Bearer what-writes-now")];
    assert_eq!(tried.unwrap(), wanted);

    // Open to others, it is nobody's secret any more.
    let reads = secret_file(&world, "reads", "open");
    fs::set_permissions(&reads, fs::Permissions::from_mode(0o644)).unwrap();
    let refused = echo(&mut alice);
    assert_eq!((refused.code().as_str(), upstream.take().len()), ("LG-K005", 0));
    assert!(world.gate.log().contains("is open to others"), "{}", world.gate.log());
    let (is_good, text) = ended(&mut world.gate.lockgate(&["check"]));
    let named = "`upstream.tool.credential.read.value` cannot be read here";
    assert!(is_good && text.contains(named) && !text.contains("open\n"), "{text}");
    let (is_good, _) = ended(&mut world.gate.lockgate(&["check", "--secrets"]));
    assert!(!is_good, "asked for secrets, what is missing fails");
}

/// The credential of a gate that asks for tokens of its own.
fn own(endpoint: &Endpoint) -> String {
    format!(
        "[upstream.tool.credential]\nkind = \"client_credentials\"\n\
         token_url = \"http://{}/token\"\nclient_id = \"the gate\"\nsecret = \"env:GATE_SECRET\"\n\
         scope = \"crm.read crm.write\"\naudience = \"crm\"\n",
        endpoint.address
    )
}

#[test]
fn many_callers_make_one_request_and_a_token_is_renewed_in_time() {
    let (upstream, endpoint) = (Guarded::start(), Endpoint::start(3));
    upstream.knows(&endpoint);
    let mut world = world(&upstream, &own(&endpoint));
    world.gate.set("GATE_SECRET", "s3cret:+/");
    world.start();
    let token = world.token("alice", "bot");
    // For as long as it takes for the third token to be shown.
    let is_over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..CALLERS {
            let mut client = Client::new(world.address, &token);
            let is_over = &is_over;
            scope.spawn(move || {
                while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                    let answer = echo(&mut client);
                    assert!(is_done(&answer), "{}", answer.text());
                }
            });
        }
        let third = wait::until("a third token", SOON, || (endpoint.count() >= 3).then_some(()));
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
        third.unwrap();
    });
    let calls = upstream.take();
    let tokens: BTreeSet<&String> = calls.iter().map(|(_, with)| with).collect();
    assert!(tokens.len() >= 2, "{tokens:?}");
    assert!(endpoint.count() <= tokens.len() + 1, "one request for each token");
    assert!(calls.len() > 10 * endpoint.count(), "{} calls", calls.len());
    for asked in endpoint.asked() {
        // `the gate` and the secret, each as forms have it.
        assert_eq!(asked.authorization, "Basic dGhlJTIwZ2F0ZTpzM2NyZXQlM0ElMkIlMkY=");
        let form = json!(asked.form);
        let wanted = json!({"grant_type": "client_credentials", "scope": "crm.read crm.write",
            "audience": "crm"});
        assert_eq!(form, wanted);
    }
}

/// The credential of a gate that exchanges its callers' tokens.
fn exchanged(endpoint: &Endpoint) -> String {
    format!(
        "[upstream.tool.credential]\nkind = \"token_exchange\"\n\
         token_url = \"http://{}/token\"\nclient_id = \"gate\"\nclient_auth = \"post\"\n\
         secret = \"env:GATE_SECRET\"\naudience = \"crm\"\nactor_token = \"env:ACTOR_TOKEN\"\n\
         [upstream.tool.credential.lookup]\nkind = \"static\"\nvalue = \"env:LOOKUP\"\n",
        endpoint.address
    )
}

/// A running gate that exchanges its callers' tokens.
fn exchanging(upstream: &Guarded, endpoint: &Endpoint) -> World {
    let mut world = world(upstream, &exchanged(endpoint));
    world.gate.set("GATE_SECRET", "gate-secret-value");
    world.gate.set("ACTOR_TOKEN", "actor-token-value");
    world.gate.set("LOOKUP", "lookup-secret-value");
    world.start();
    world
}

#[test]
fn an_exchanged_token_says_who_acts_for_whom_and_is_for_the_upstream_alone() {
    let (upstream, endpoint) = (Guarded::start(), Endpoint::start(3600));
    let world = exchanging(&upstream, &endpoint);
    // Many at once, for one that is not there yet: one asks.
    let token = world.token("alice", "bot");
    std::thread::scope(|scope| {
        let held = endpoint.held();
        for _ in 0..CALLERS {
            let mut client = Client::new(world.address, &token);
            scope.spawn(move || assert!(is_done(&echo(&mut client))));
        }
        let waiting = wait::until("all of them", SOON, || {
            let status = world.gate.command(&["status", "--json"]).unwrap();
            let status: Value = serde_json::from_str(&status).unwrap();
            (status["upstreams"][0]["in_flight"] == CALLERS).then_some(())
        });
        let asked = endpoint.count();
        drop(held);
        waiting.unwrap();
        assert_eq!(asked, 1);
    });
    let callers = [("alice", "bot"), ("bob", "bot"), ("alice", "other-bot")];
    let mut clients: Vec<Client> =
        callers.map(|(user, agent)| world.client(user, agent)).into_iter().collect();
    clients[0].token = token;
    for round in ["first", "second"] {
        for client in &mut clients {
            assert!(is_done(&echo(client)) && is_done(&note(client, round)));
        }
    }
    assert_eq!(endpoint.count(), callers.len(), "one for each of them, kept");
    for (asked, client) in endpoint.asked().iter().zip(&clients) {
        let form = json!(asked.form);
        assert_eq!(form["grant_type"], "urn:ietf:params:oauth:grant-type:token-exchange");
        assert_eq!(form["subject_token"], client.token);
        assert_eq!([&form["audience"], &form["scope"]], [&json!("crm"), &Value::Null]);
        assert_eq!([&form["client_id"], &form["client_secret"]], ["gate", "gate-secret-value"]);
        assert_eq!(form["actor_token"], "actor-token-value");
    }
    let seen = upstream.take();
    for (asked, with) in &seen {
        assert!(clients.iter().all(|client| !with.contains(&client.token)), "a caller's token");
        if !["echo", "note"].contains(&asked.as_str()) {
            assert_eq!(with, "lookup-secret-value", "{asked} is the gate's own");
        }
    }
    let calls = seen.iter().filter(|(asked, _)| asked == "note").take(callers.len());
    for ((_, with), (user, agent)) in calls.zip(callers) {
        let claims = claims(with.strip_prefix("Bearer ").unwrap());
        assert_eq!(claims["sub"], user);
        assert_eq!((&claims["act"]["act"]["sub"], &claims["aud"]), (&json!(agent), &json!("crm")));
    }
}

#[test]
fn an_issued_token_that_says_something_else_goes_nowhere() {
    let (upstream, endpoint) = (Guarded::start(), Endpoint::start(3600));
    let world = exchanging(&upstream, &endpoint);
    let mut alice = world.alice();
    for (claim, value) in [
        ("aud", json!(["crm", "erp"])),
        ("aud", json!("lockgate")),
        ("sub", json!("bob")),
        ("act", json!({"sub": "lockgate"})),
    ] {
        endpoint.puts_instead(claim, value.clone());
        let code = wait::until("another request", SOON, || {
            let before = endpoint.count();
            let code = echo(&mut alice).code();
            (endpoint.count() > before).then_some(code)
        });
        assert_eq!(code.unwrap(), "LG-K004", "{claim}: {value}");
    }
    assert_eq!(upstream.take_calls(), []);
}

#[test]
fn a_callers_own_token_reaches_no_upstream_even_if_it_is_given_back() {
    let (upstream, endpoint) = (Guarded::start(), Endpoint::start(3600));
    let credential = exchanged(&endpoint).replacen("audience", "opaque_tokens = true\naudience", 1);
    let mut world = world(&upstream, &credential);
    for name in ["GATE_SECRET", "ACTOR_TOKEN", "LOOKUP"] {
        world.gate.set(name, "x");
    }
    world.start();
    let mut alice = world.alice();
    endpoint.puts_instead("all", Value::Null);
    assert_eq!((echo(&mut alice).code().as_str(), upstream.take_calls().len()), ("LG-K004", 0));
    endpoint.puts_instead("aud", json!("whatever an opaque token says"));
    wait::until("a token", SOON, || is_done(&echo(&mut alice)).then_some(())).unwrap();
}

#[test]
fn what_is_wrong_with_a_credential_is_told_apart_and_is_no_outage() {
    let (upstream, endpoint) = (Guarded::start(), Endpoint::start(3600));
    let mut world = world(&upstream, &own(&endpoint));
    let fixed = free_address().unwrap();
    world.gate.set("GATE_SECRET", "s3cret");
    endpoint.set_status(Some(503));
    world.start();
    let mut alice = world.alice();
    // After a failure nobody asks again for a second: until then the answer is the one before.
    let mut becomes = |code: &str| {
        wait::until(code, SOON, || (echo(&mut alice).code() == code).then_some(())).unwrap();
    };
    becomes("LG-K003");
    // One that says nothing is away as well, and not asked by everybody who comes.
    let held = endpoint.held();
    let told = "it does not answer in time";
    wait::until(told, SOON, || {
        becomes("LG-K003");
        world.gate.log().contains(told).then_some(())
    })
    .unwrap();
    drop(held);
    endpoint.set_status(Some(400));
    becomes("LG-K004");
    endpoint.set_status(Some(302));
    becomes("LG-K004");
    assert_eq!(upstream.take_calls(), []);
    endpoint.set_status(None);
    becomes("");
    let asked = endpoint.count();

    // More refusals than a breaker lets fail.
    upstream.take();
    upstream.set_status(Some(401));
    let mut alice = world.alice();
    let tried = wait::until("a call with a fresh token", SOON, || {
        assert_eq!(echo(&mut alice).code(), "LG-K001");
        let tried: BTreeSet<(String, String)> = upstream.take_calls().into_iter().collect();
        (tried.len() > 1).then_some(tried)
    });
    assert_eq!(tried.unwrap().len(), 2, "one fresh token, and no more");
    for _ in 0..10 {
        assert_eq!(echo(&mut alice).code(), "LG-K001");
    }
    assert!(endpoint.count() <= asked + 2, "not one for each call: {}", endpoint.count() - asked);
    let refused = note(&mut alice, "refused");
    assert_eq!(refused.code(), "LG-K001", "nothing can have happened: it is not in doubt");
    upstream.set_status(Some(403));
    for _ in 0..10 {
        assert_eq!(echo(&mut alice).code(), "LG-K002");
    }
    let status = world.gate.command(&["status", "--json"]).unwrap();
    let status: Value = serde_json::from_str(&status).unwrap();
    let breakers = &status["upstreams"][0]["breakers"];
    assert!(breakers.as_array().is_none_or(Vec::is_empty), "{status}");
    upstream.set_status(None);
    assert!(is_done(&echo(&mut alice)), "nothing has to be waited for");

    // Without a caller's token there is nothing to exchange.
    let table = format!(
        "[[listen]]\naddress = \"{fixed}\"\nidentity = {{ subject = \"alice\", agent = \"bot\" }}"
    );
    world.gate.stop().unwrap();
    world
        .gate
        .edit("lockgate.toml", |text| text.replace(&own(&endpoint), &exchanged(&endpoint)))
        .unwrap();
    world.gate.set("ACTOR_TOKEN", "a");
    world.gate.set("LOOKUP", "l");
    world.configure(&table);
    world.start();
    upstream.take();
    assert_eq!(exchange(fixed, &call("echo", json!({"text": "x"}))).code(), "LG-K006");
    assert_eq!(upstream.take_calls(), []);
    assert!(is_done(&echo(&mut world.alice())));
}

#[test]
fn the_gate_gets_no_token_of_its_own_for_what_is_stopped() {
    let (upstream, endpoint) = (Guarded::start(), Endpoint::start(3600));
    let mut world = world(&upstream, &own(&endpoint));
    world.gate.set("GATE_SECRET", "s3cret");
    world.start();
    assert!(is_done(&echo(&mut world.alice())));
    world.gate.command(&["kill", "--tool", "tool", "--reason", "test"]).unwrap();
    world.gate.stop().unwrap();
    let asked = endpoint.count();
    // As it starts, it asks every upstream what it offers.
    world.start();
    let told = "an upstream did not say what it offers";
    wait::until(told, SOON, || world.gate.log().contains(told).then_some(())).unwrap();
    assert!(world.gate.log().contains("LG-D009"), "{}", world.gate.log());
    assert_eq!(endpoint.count(), asked);
}

/// A client of the other era: its session, once opened.
fn session(world: &World, token: &str) -> String {
    let hello = json!({"protocolVersion": "2025-11-25", "capabilities": {},
        "clientInfo": {"name": "c", "version": "1"}});
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello});
    let opening = Request::post("/mcp/tool", message.to_string());
    let opened =
        exchange(world.address, &opening.with("Authorization", &format!("Bearer {token}")));
    opened.header("mcp-session-id").expect("a session").to_owned()
}

fn in_session(request: Request, session: &str, token: &str) -> Request {
    request.with("Mcp-Session-Id", session).with("Authorization", &format!("Bearer {token}"))
}

#[test]
fn what_is_stopped_or_over_loses_its_tokens_and_gets_none() {
    let (upstream, endpoint) = (Guarded::start(), Endpoint::start(3600));
    let world = exchanging(&upstream, &endpoint);
    let (mut alice, mut bob) = (world.alice(), world.client("bob", "other-bot"));
    assert!(is_done(&echo(&mut alice)) && is_done(&echo(&mut bob)));
    assert_eq!(endpoint.count(), 2);

    world.gate.command(&["kill", "--agent", "bot", "--reason", "test"]).unwrap();
    upstream.take();
    for _ in 0..3 {
        assert_eq!(echo(&mut alice).code(), "LG-D009");
        assert!(is_done(&echo(&mut bob)));
    }
    assert_eq!(endpoint.count(), 2, "nothing is issued for what is stopped");
    assert!(upstream.take_calls().iter().all(|(_, with)| with.contains(&endpoint.issued()[1])));
    world.gate.command(&["lift", "--agent", "bot", "--reason", "test"]).unwrap();
    assert!(is_done(&echo(&mut alice)) && is_done(&echo(&mut bob)));
    assert_eq!(
        endpoint.count(),
        3,
        "the switch has reached the token of the one and not the other"
    );

    let token = alice.token.clone();
    let session = session(&world, &token);
    let message = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call",
        "params": {"name": "echo", "arguments": {"text": "x"}}});
    let asked = in_session(Request::post("/mcp/tool", message.to_string()), &session, &token);
    let mut connection = Connection::open(world.address);
    assert!(is_done(&connection.exchange(&asked)));
    assert_eq!(endpoint.count(), 3);
    let over = in_session(Request::new("DELETE", "/mcp/tool"), &session, &token);
    assert_eq!(exchange(world.address, &over).status, 204);
    wait::until("the end of the token", SOON, || {
        assert!(is_done(&echo(&mut alice)));
        (endpoint.count() == 4).then_some(())
    })
    .unwrap();
}

#[test]
fn what_the_gate_goes_on_with_by_itself_goes_without_the_callers_token_or_not_at_all() {
    let (upstream, endpoint) = (Guarded::start(), Endpoint::start(3600));
    let mut world = exchanging(&upstream, &endpoint);
    let key = "[tool.note]\nclass = \"idempotent\"\nkey = { header = \"Idempotency-Key\" }\n";
    let operations = "operations/tool.toml";
    world.gate.stop().unwrap();
    world.gate.edit(operations, |text| text.replace("[tool.note]\n", key)).unwrap();
    world.start();
    let mut alice = world.alice();
    assert!(is_done(&echo(&mut alice)));
    upstream.set_status(Some(0));
    assert_eq!(note(&mut alice, "one").code(), "LG-U007");
    upstream.set_status(None);
    let asked = endpoint.count();
    world.gate.kill();
    upstream.take();

    // It is taken up again after the start, and nobody is there for whom a token could be had.
    world.start();
    wait::until("an attempt", SOON, || world.gate.log().contains("LG-K006").then_some(())).unwrap();
    let is_in_doubt = || world.gate.command(&["effects"]).unwrap().contains("tool/note");
    assert!(is_in_doubt() && endpoint.count() == asked, "{}", world.gate.log());
    assert_eq!(upstream.take_calls(), []);
    // Its caller asks again, and brings one.
    let mut alice = Client::new(world.address, &alice.token);
    assert!(is_done(&note(&mut alice, "one")));
    assert!(!is_in_doubt());
}

/// Every file in a directory, and in those within.
fn files(directory: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files(&path, into),
            false => into.push(path),
        }
    }
}

#[test]
fn no_secret_is_in_a_log_an_answer_the_state_or_a_record() {
    let (upstream, endpoint) = (Guarded::start(), Endpoint::start(3600));
    let more = "[upstream.tool.headers]\nX-File = \"file:HERE/of-file\"\n\
        X-Printed = { command = [\"/bin/cat\", \"HERE/printed\"] }\n";
    let mut world = world(&upstream, &format!("{more}{}", exchanged(&endpoint)));
    // Beside the places that are searched.
    let elsewhere = tempfile::tempdir().unwrap();
    let here = elsewhere.path().display().to_string();
    world.gate.edit("lockgate.toml", |text| text.replace("HERE", &here)).unwrap();
    for (name, text) in [("of-file", "file-secret-value"), ("printed", "printed-secret-value")] {
        let path = elsewhere.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    world.gate.set("GATE_SECRET", "gate-secret-value");
    world.gate.set("ACTOR_TOKEN", "actor-token-value");
    world.gate.set("LOOKUP", "lookup-secret-value");
    world.gate.set("LOCKGATE_LOG", "trace");
    world.start();
    let mut alice = world.alice();
    let mut answers = vec![echo(&mut alice), note(&mut alice, "one")];
    assert!(answers.iter().all(is_done));
    upstream.set_status(Some(401));
    answers.push(echo(&mut alice));
    upstream.set_status(Some(403));
    answers.push(note(&mut alice, "two"));
    upstream.set_status(None);
    // The endpoint repeats everything that it was sent.
    endpoint.set_status(Some(400));
    let mut bob = world.client("bob", "bot");
    answers.push(echo(&mut bob));
    assert_eq!(answers[4].code(), "LG-K004");

    let mut secrets: Vec<String> =
        ["gate", "lookup", "file", "printed"].map(|name| format!("{name}-secret-value")).to_vec();
    secrets.extend(["actor-token-value".to_owned(), alice.token.clone(), bob.token.clone()]);
    let signatures = [&alice.token, &bob.token].map(|token| token.rsplit('.').next().unwrap());
    let signatures = signatures.map(str::to_owned);
    secrets.extend(signatures);
    secrets.extend(endpoint.issued());
    assert!(secrets.len() > 9, "{secrets:?}");
    let mut places: Vec<(String, Vec<u8>)> = Vec::new();
    for answer in &answers {
        let headers = format!("{:?}", answer.headers);
        places.push(("an answer".to_owned(), [headers.as_bytes(), &answer.body].concat()));
        let id = answer.header("lockgate-call").unwrap();
        for command in ["trace", "explain"] {
            let told = world.gate.command(&[command, id, "--json"]).unwrap();
            places.push((command.to_owned(), told.into_bytes()));
        }
    }
    for command in [&["status", "--json"][..], &["check", "--json"]] {
        let told = world.gate.command(command).unwrap();
        places.push((command[0].to_owned(), told.into_bytes()));
    }
    let exported = tempfile::tempdir().unwrap();
    let (tiles, records) = (exported.path().join("tiles"), exported.path().join("records"));
    world.gate.command(&["export", tiles.to_str().unwrap()]).unwrap();
    world.gate.command(&["export", "--records", records.to_str().unwrap()]).unwrap();
    world.gate.stop().unwrap();
    let mut all = Vec::new();
    for directory in [exported.path(), world.gate.directory()] {
        files(directory, &mut all);
    }
    places.extend(all.iter().map(|path| (path.display().to_string(), fs::read(path).unwrap())));
    let log = world.gate.log();
    assert!(log.contains("TRACE") && log.len() > 2000, "the log has everything: {}", log.len());
    for (place, bytes) in &places {
        for secret in &secrets {
            let is_there = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!is_there, "`{secret}` is in {place}");
        }
    }
}

#[test]
fn mistakes_are_named_where_they_are() {
    let upstream = Guarded::start();
    let sound = "kind = \"token_exchange\"\ntoken_url = \"https://login.example/token\"\n\
         client_id = \"g\"\nsecret = \"env:S\"\naudience = \"crm\"\n";
    for (from, to, what) in [
        ("audience", "audiance", "did you mean `audience`?"),
        ("token_exchange", "token_exchnage", "`kind` is not one of"),
        ("audience = \"crm\"\n", "", "`audience` or `resource`"),
        ("https:", "http:", "use `https://`"),
        ("env:S", "hunter2", "holds no secret"),
        ("env:S", "env:", "`env:` needs the name"),
        ("\"env:S\"", "{ command = [\"cat\", \"x\"] }", "the whole path of a program"),
        ("\"env:S\"", "{ comand = [\"/bin/cat\"] }", "did you mean `command`?"),
        ("kind = \"token_exchange\"\n", "", "has no `kind`"),
        ("token_exchange", "static", "means nothing to a credential of kind `static`"),
    ] {
        let credential = format!("[upstream.tool.credential]\n{}", sound.replace(from, to));
        let world = world(&upstream, &credential);
        let (is_good, text) = ended(&mut world.gate.lockgate(&["check"]));
        assert!(!is_good && text.contains(what), "{from} -> {to}: {text}");
        assert!(text.contains("lockgate.toml:") && !text.contains("hunter2"), "{text}");
    }
    let world = world(&upstream, &format!("[upstream.tool.credential]\n{sound}"));
    let (is_good, text) = ended(&mut world.gate.lockgate(&["check"]));
    assert!(is_good && text.contains("`upstream.tool.credential.secret` cannot be read here"));
}
