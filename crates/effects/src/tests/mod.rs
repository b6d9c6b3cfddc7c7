//! Fake upstreams on loopback, and what the gate makes of them.

mod catalogue;
mod child;
mod fake;
mod http_sessions;
mod http_stateless;
mod listening;
mod misbehaviour;
mod resources;

use crate::caller::Caller;
use crate::credential::Who;
use crate::exchange::{Command, End, Running, Signal};
use crate::upstreams::{EffectsSettings, Upstreams};
use lockgate_core::declare;
use lockgate_types::call::{Call, Direction};
use lockgate_types::identity::Identity;
use lockgate_types::{CallId, Json, JsonLimits, Object, UpstreamName};
use lockgate_wire::{Era, RpcError};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

pub(crate) fn json(text: &str) -> Json {
    Json::parse(text.as_bytes(), &JsonLimits::MESSAGE).unwrap()
}

pub(crate) fn object(text: &str) -> Object {
    json(text).as_object().unwrap().clone()
}

pub(crate) fn declared(url: &str) -> declare::Upstream {
    declare::Upstream {
        command: None,
        env: BTreeMap::new(),
        pass_env: Vec::new(),
        directory: None,
        url: Some(url.to_owned()),
        headers: BTreeMap::new(),
        credential: None,
        era: None,
        timeout_ms: 5_000,
        in_flight_max: 16,
        in_flight_per_identity_max: None,
        breaker: declare::Breaker::default(),
        forward_methods: Vec::new(),
        search: false,
        database: None,
        api: None,
        memory: None,
        model: None,
        allow_networks: Vec::new(),
    }
}

pub(crate) fn gate(upstreams: &[(&str, declare::Upstream)]) -> Upstreams {
    gate_with(upstreams, 1 << 20)
}

pub(crate) fn gate_with(
    upstreams: &[(&str, declare::Upstream)],
    answer_bytes_max: usize,
) -> Upstreams {
    let settings = EffectsSettings::new("/nowhere/lockgate-state".into());
    let gate = Upstreams::new(settings);
    let declared = upstreams.iter().map(|(name, d)| ((*name).to_owned(), d.clone())).collect();
    gate.take_over(&declared, answer_bytes_max, BTreeMap::new());
    gate
}

pub(crate) fn name(name: &str) -> UpstreamName {
    UpstreamName::new(name).unwrap()
}

pub(crate) fn call(upstream: &str, method: &str, params: Object) -> Call {
    let id = CallId::new("00000000000000000000000000000001").unwrap();
    Call::new(id, name(upstream), Direction::ToUpstream, method, params).unwrap()
}

pub(crate) fn tool(upstream: &str, tool: &str, arguments: &str) -> Call {
    let params = Object::new().with("name", tool).with("arguments", json(arguments));
    call(upstream, "tools/call", params)
}

/// Somebody who calls through the same agent as the others.
pub(crate) fn identity(subject: &str) -> Arc<Identity> {
    Arc::new(Identity {
        issuer: "dev".to_owned(),
        subject: subject.parse().unwrap(),
        agent: "bot".parse().unwrap(),
        tenant: "default".parse().unwrap(),
        environment: "dev".parse().unwrap(),
        task: None,
        subject_groups: BTreeSet::new(),
        subject_roles: BTreeSet::new(),
        authentication: Default::default(),
        own: Default::default(),
        agent_groups: BTreeSet::new(),
    })
}

/// The caller with a session that is this person's.
pub(crate) fn calling(subject: &str) -> Caller {
    let (session_key, identity) = (subject.to_owned(), Some(identity(subject)));
    Caller { session_key, identity, ..Caller::clone(&caller(Era::Sessions)) }
}

pub(crate) fn who(subject: &str) -> Who {
    Who::of(&identity(subject))
}

pub(crate) const META: &str = r#"{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"c","version":"1"},"io.modelcontextprotocol/clientCapabilities":{"elicitation":{}}}"#;

/// A tool call as a stateless caller sends it.
pub(crate) fn stateless_tool(upstream: &str, tool: &str, arguments: &str) -> Call {
    let params = Object::new()
        .with("name", tool)
        .with("arguments", json(arguments))
        .with("_meta", json(META));
    call(upstream, "tools/call", params)
}

pub(crate) fn caller(era: Era) -> Arc<Caller> {
    Arc::new(Caller {
        session_key: "alice".to_owned(),
        identity: None,
        era,
        protocol_version: match era {
            Era::Sessions => "2025-11-25".to_owned(),
            Era::Stateless => "2026-07-28".to_owned(),
        },
        client_info: Some(json(r#"{"name":"c","version":"1","x":[1]}"#)),
        capabilities: object(r#"{"elicitation":{},"sampling":{}}"#),
        log_level: None,
    })
}

/// Runs a call to its end, answering whatever is asked with `answer`.
pub(crate) async fn finish_with(
    mut running: Running,
    answer: impl Fn(&str, &Object) -> Result<Json, RpcError>,
) -> (Vec<String>, End) {
    let mut said = Vec::new();
    loop {
        let next = tokio::time::timeout(Duration::from_secs(30), running.next());
        match next.await.expect("the call does not end") {
            Signal::Notification { method, params } => {
                said.push(format!("{method} {}", Json::from(params)));
            }
            Signal::Request { id, method, params } => {
                said.push(format!("{method}?"));
                let outcome = answer(&method, &params);
                running.command(Command::Answer { id, outcome });
            }
            Signal::StreamClosed { retry_ms } => said.push(format!("closed {retry_ms:?}")),
            Signal::Begins(_) => said.push("begins".to_owned()),
            Signal::Met(_) => said.push("met".to_owned()),
            Signal::Events(events) => said.push(format!("{} events", events.len())),
            Signal::End(end) => return (said, end),
        }
    }
}

pub(crate) async fn finish(running: Running) -> (Vec<String>, End) {
    finish_with(running, |_, _| Err(RpcError::new(-32601, "unexpected"))).await
}

pub(crate) fn result(end: End) -> Json {
    match end {
        End::Result(result) => result,
        other => panic!("not a result: {other:?}"),
    }
}
