//! The public way out: a decision, a durable record, a permit, an effect, an outcome.

#![allow(clippy::panic, clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use lockgate_core::rule::{Allowed, Ruling, rule};
use lockgate_core::world::{Files, World};
use lockgate_effects::{
    Caller, EffectsSettings, End, Event, Finished, Presented, Upstreams, Watch,
};
use lockgate_store::{Options, OutcomeRecord, OutcomeState, SessionKey, Store, Terms};
use lockgate_types::call::{Call, Direction};
use lockgate_types::facts::{Facts, Switch};
use lockgate_types::identity::Identity;
use lockgate_types::label::Label;
use lockgate_types::{CallId, Code, Json, JsonLimits, Micros, Object};
use std::collections::BTreeSet;
use std::sync::Arc;

/// An upstream that answers every tool call with the line it got.
const ECHO: &str = r#"
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if message.get("method") == "initialize":
        server = {"name": "echo", "version": "1"}
        result = {"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": server}
    else:
        result = {"line": line.strip()}
    if "id" in message:
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)
"#;

fn now() -> Micros {
    Micros(1_800_000_000_000_000)
}

fn files() -> Files {
    let gate = format!(
        "environment = \"dev\"\n[upstream.crm]\ncommand = [\"python3\", \"-c\", '''{ECHO}''']\n"
    );
    let schema = r#"'{"type":"object","properties":{"amount":{"type":"number"}}}'"#;
    let operations = format!(
        "[tool.look]\neffect = \"read\"\naccepted = true\nschema = {schema}\n\
         [tool.save]\neffect = \"write\"\naccepted = true\nschema = {schema}\n"
    );
    let files = [
        ("lockgate.toml", gate.as_str()),
        ("principals.toml", "undeclared_users = true\n[agent.bot]\nenvironments = [\"dev\"]\n"),
        ("operations/crm.toml", operations.as_str()),
        ("policies/all.cedar", "@id(\"all\")\npermit (principal, action, resource);\n"),
    ];
    files.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect()
}

fn identity() -> Identity {
    Identity {
        issuer: "dev".to_owned(),
        subject: "alice".parse().unwrap(),
        agent: "bot".parse().unwrap(),
        tenant: "default".parse().unwrap(),
        environment: "dev".parse().unwrap(),
        task: None,
        subject_groups: BTreeSet::new(),
        subject_roles: BTreeSet::new(),
        authentication: Default::default(),
        own: Default::default(),
        agent_groups: BTreeSet::new(),
    }
}

async fn allowed(world: &World, store: &Store, tool: &str) -> Allowed {
    allowed_at("crm", world, store, (tool, r#"{"amount":1.50}"#)).await
}

async fn allowed_at(
    upstream: &str,
    world: &World,
    store: &Store,
    (tool, arguments): (&str, &str),
) -> Allowed {
    let arguments = Json::parse(arguments.as_bytes(), &JsonLimits::MESSAGE).unwrap();
    let params = Object::new().with("name", tool).with("arguments", arguments);
    let id = CallId::new(&format!("{tool:0>32}")).unwrap();
    let upstream = upstream.parse().unwrap();
    let call = Call::new(id, upstream, Direction::ToUpstream, "tools/call", params).unwrap();
    let identity = identity();
    let key = SessionKey {
        tenant: identity.tenant.clone(),
        environment: identity.environment.clone(),
        issuer: identity.issuer.clone(),
        subject: identity.subject.clone(),
        agent: identity.agent.clone(),
        id: None,
    };
    let facts = Facts {
        identity: Arc::new(identity),
        call,
        session: store.session(&key).await.unwrap(),
        now: now(),
        switches: Vec::new(),
        approvals: Vec::new(),
        live_difference: None,
        earlier: None,
        exhausted: Vec::new(),
        plan: None,
        preview: None,
        broken: None,
        cited: None,
        flow: None,
        history: None,
        risk: None,
    };
    match rule(world, Box::new(facts)) {
        Ruling::Allowed(allowed) => allowed,
        Ruling::Refused(refused) => panic!("{:?}", refused.decision()),
    }
}

#[tokio::test]
async fn what_was_permitted_is_what_is_sent() {
    let world = World::load(&files()).unwrap_or_else(|mistakes| panic!("{mistakes:#?}"));
    let directory = tempfile::tempdir().unwrap();
    let options = Options::new(directory.path().to_owned(), "test.example".to_owned(), now);
    let (store, _) = Store::open(options).unwrap();
    store.publish_bundle(world.digest, &files()).await.unwrap();
    let upstreams = Upstreams::new(EffectsSettings::new(directory.path().to_owned()));
    upstreams.configure(&world).await;
    let caller = Arc::new(Caller::default());

    let permit =
        store.commit(allowed(&world, &store, "save").await, Terms::default()).await.unwrap();
    let mut exchanges =
        vec![upstreams.perform(permit, Arc::clone(&caller), Presented::Nothing, Watch::NONE)];
    let permit = store.admit_read(allowed(&world, &store, "look").await).unwrap();
    exchanges.push(upstreams.perform_read(permit, caller, Presented::Nothing, Watch::NONE));

    for (mut exchange, tool) in exchanges.into_iter().zip(["save", "look"]) {
        let Event::Finished(Finished { spent, end }) = exchange.next().await else { panic!() };
        let End::Result(result) = end else { panic!("{end:?}") };
        let line = result.get("line").and_then(Json::as_str).unwrap();
        let sent = format!(r#""params":{{"name":"{tool}","arguments":{{"amount":1.50}}}}"#);
        assert!(line.contains(&sent), "{line}");
        let outcome = OutcomeRecord {
            state: OutcomeState::Succeeded,
            at: now(),
            code: None,
            keep_all: false,
            result: Some(result.to_bytes()),
            label: Label::default(),
            duration_us: 1,
            redactions: 0,
            is_error: false,
            has_asked: false,
            never_left: false,
            answer: None,
            shown: BTreeSet::new(),
        };
        store.conclude(spent, outcome).await.unwrap();
    }
    store.close().await.unwrap();
}

#[tokio::test]
async fn what_the_gate_answers_itself_stops_at_the_same_door() {
    let mut files = files();
    let gate = "environment = \"dev\"\n[upstream.crm]\ncommand = [\"true\"]\n\
                [upstream.notes.memory]\n";
    let wiki = "owner = \"it\"\nclassification = \"public\"\n\
                [connector.directory]\npath = \"wiki\"\n";
    let policy = "@id(\"all\")\npermit (principal, action in [Action::\"upstream:notes\",\n\
                  Action::\"retrieval/search\"], resource);\n";
    for (path, text) in
        [("lockgate.toml", gate), ("sources/wiki.toml", wiki), ("policies/all.cedar", policy)]
    {
        files.insert(path.to_owned(), text.as_bytes().to_vec());
    }
    let world = World::load(&files).unwrap_or_else(|mistakes| panic!("{mistakes:#?}"));
    let directory = tempfile::tempdir().unwrap();
    let options = Options::new(directory.path().to_owned(), "test.example".to_owned(), now);
    let (store, _) = Store::open(options).unwrap();
    store.publish_bundle(world.digest, &files).await.unwrap();
    let upstreams = Upstreams::new(EffectsSettings::new(directory.path().to_owned()));
    upstreams.keep_memos_in(store.clone());
    upstreams.configure(&world).await;
    let mut permits = Vec::new();
    for (upstream, asked) in
        [("notes", ("recall", "{}")), ("retrieval", ("search", r#"{"query":"x"}"#))]
    {
        let allowed = allowed_at(upstream, &world, &store, asked).await;
        permits.push((upstream, store.commit(allowed, Terms::default()).await.unwrap()));
    }
    for (upstream, permit) in permits {
        // Allowed, recorded, and not out yet.
        let switch = Switch { scope: "tool".to_owned(), name: upstream.to_owned() };
        store.throw(&switch).await.unwrap();
        let caller = Arc::new(Caller::default());
        let mut exchange = upstreams.perform(permit, caller, Presented::Nothing, Watch::NONE);
        let Event::Finished(Finished { end, .. }) = exchange.next().await else { panic!() };
        let End::Failed { code, .. } = end else { panic!("{end:?}") };
        assert_eq!(code, Code::SwitchEngaged, "{upstream}");
    }
    store.close().await.unwrap();
}
