//! A permit for a request: a switch that was thrown meanwhile stops it at the door, with a body and
//! without, and a bundle that has been replaced lends it nothing.

#![allow(clippy::panic, clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use lockgate_core::rule::{Ruling, rule};
use lockgate_core::world::{Files, World};
use lockgate_effects::{
    Caller, EffectsSettings, End, Event, Finished, Presented, Upstreams, Watch,
};
use lockgate_store::{Options, OutcomeRecord, OutcomeState, Permit, SessionKey, Store, Terms};
use lockgate_types::call::{Call, Direction};
use lockgate_types::facts::{Facts, Switch};
use lockgate_types::identity::Identity;
use lockgate_types::label::Label;
use lockgate_types::{CallId, Code, Micros, Object};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

fn now() -> Micros {
    Micros(1_800_000_000_000_000)
}

/// The tools: with a body, without one, and a read.
const TOOLS: [&str; 3] = ["make", "wipe", "look"];

fn files(port: u16, path: &str) -> Files {
    let gate = format!(
        "environment = \"dev\"\n[upstream.desk.api]\nbase_url = \"http://127.0.0.1:{port}/v1\"\n\
         [upstream.desk.api.tool.make]\nmethod = \"POST\"\npath = \"/{path}\"\n\
         argument.a = {{ in = \"body\", type = \"integer\", optional = true }}\n\
         [upstream.desk.api.tool.wipe]\nmethod = \"DELETE\"\npath = \"/{path}\"\n\
         [upstream.desk.api.tool.look]\nmethod = \"GET\"\npath = \"/{path}\"\n"
    );
    let operation = |tool: &str| {
        let effect = if tool == "look" { "read" } else { "write" };
        format!("[tool.{tool}]\neffect = \"{effect}\"\naccepted = true\n")
    };
    let operations = TOOLS.map(operation).concat();
    let files = [
        ("lockgate.toml", gate.as_str()),
        ("principals.toml", "undeclared_users = true\n[agent.bot]\nenvironments = [\"dev\"]\n"),
        ("operations/desk.toml", operations.as_str()),
        ("policies/all.cedar", "@id(\"all\") permit (principal, action, resource);\n"),
    ];
    files.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect()
}

struct Bed {
    _directory: tempfile::TempDir,
    port: u16,
    /// How many whole requests have arrived.
    arrived: Arc<AtomicUsize>,
    world: World,
    store: Store,
    upstreams: Upstreams,
    calls: u32,
}

impl Bed {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let arrived: Arc<AtomicUsize> = Arc::default();
        let count = Arc::clone(&arrived);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let count = Arc::clone(&count);
                std::thread::spawn(move || {
                    let (mut piece, mut heard) = ([0; 4096], Vec::new());
                    while let Ok(size @ 1..) = stream.read(&mut piece) {
                        heard.extend_from_slice(piece.get(..size).unwrap());
                        if is_whole(&heard) {
                            count.fetch_add(1, Ordering::SeqCst);
                            heard.clear();
                            let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n");
                        }
                    }
                });
            }
        });
        let directory = tempfile::tempdir().unwrap();
        let files = files(port, "a");
        let world = lockgate_effects::load(&files).unwrap_or_else(|it| panic!("{it:#?}"));
        let state = directory.path().join("state");
        let options = Options::new(state.clone(), "test.example".to_owned(), now);
        let (store, _) = Store::open(options).unwrap();
        store.publish_bundle(world.digest, &files).await.unwrap();
        let upstreams = Upstreams::new(EffectsSettings::new(state));
        upstreams.configure(&world).await;
        Self { _directory: directory, port, arrived, world, store, upstreams, calls: 0 }
    }

    async fn permit(&mut self, tool: &str) -> Permit {
        match self.ruling(tool, |_| {}).await {
            Ruling::Allowed(allowed) => self.store.commit(allowed, Terms::default()).await.unwrap(),
            Ruling::Refused(refused) => panic!("{:?}", refused.decision()),
        }
    }

    /// What is decided about a call, with something done to it before.
    async fn ruling(&mut self, tool: &str, change: impl FnOnce(&mut Call)) -> Ruling {
        self.calls += 1;
        let id = CallId::new(&format!("0000000000000000000000000000{}", self.calls)).unwrap();
        let params = Object::new().with("name", tool).with("arguments", Object::new());
        let upstream = "desk".parse().unwrap();
        let call = Call::new(id, upstream, Direction::ToUpstream, "tools/call", params);
        let mut call = call.unwrap();
        call.reading = self.upstreams.reading(&self.world.digest, &call).unwrap();
        change(&mut call);
        let identity = Identity {
            issuer: "dev".to_owned(),
            subject: "alice".parse().unwrap(),
            agent: "bot".parse().unwrap(),
            tenant: "default".parse().unwrap(),
            environment: "dev".parse().unwrap(),
            task: None,
            subject_groups: BTreeSet::new(),
            subject_roles: BTreeSet::new(),
            agent_groups: BTreeSet::new(),
            authentication: Default::default(),
            own: Default::default(),
        };
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
            session: self.store.session(&key).await.unwrap(),
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
        rule(&self.world, Box::new(facts))
    }

    async fn end(&self, permit: Permit) -> End {
        let mut exchange = self.upstreams.perform(
            permit,
            Arc::new(Caller::default()),
            Presented::Nothing,
            Watch::NONE,
        );
        let Event::Finished(Finished { spent, end }) = exchange.next().await else { panic!() };
        let outcome = OutcomeRecord {
            state: OutcomeState::Succeeded,
            at: now(),
            code: None,
            keep_all: false,
            result: None,
            label: Label::default(),
            duration_us: 1,
            redactions: 0,
            is_error: false,
            has_asked: false,
            never_left: false,
            answer: None,
            shown: BTreeSet::new(),
        };
        self.store.conclude(spent, outcome).await.unwrap();
        end
    }

    fn arrived(&self) -> usize {
        self.arrived.load(Ordering::SeqCst)
    }
}

/// Whether bytes are a request with its body.
fn is_whole(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    body.len() >= length.map_or(0, |length| length.parse().unwrap())
}

#[tokio::test]
async fn a_switch_that_was_thrown_meanwhile_stops_a_request_at_the_door() {
    let mut bed = Bed::new().await;
    for tool in TOOLS {
        let permit = bed.permit(tool).await;
        assert!(matches!(bed.end(permit).await, End::Result(_)), "{tool}");
    }
    assert_eq!(bed.arrived(), TOOLS.len());
    let mut permits = Vec::new();
    for tool in TOOLS {
        permits.push((tool, bed.permit(tool).await));
    }
    let switch = Switch { scope: "tool".to_owned(), name: "desk".to_owned() };
    bed.store.throw(&switch).await.unwrap();
    for (tool, permit) in permits {
        match bed.end(permit).await {
            End::Failed { code: Code::SwitchEngaged, dispatched: false, .. } => {}
            other => panic!("{tool}: {other:?}"),
        }
    }
    assert_eq!(bed.arrived(), TOOLS.len());
}

#[tokio::test]
async fn a_request_is_that_of_the_bundle_it_was_decided_under_or_is_not_sent() {
    let mut bed = Bed::new().await;
    let (first, second) = (bed.permit("wipe").await, bed.permit("wipe").await);
    let replace = async |path: &str| {
        let other = lockgate_effects::load(&files(bed.port, path)).unwrap();
        bed.upstreams.configure(&other).await;
    };
    replace("b").await;
    assert!(matches!(bed.end(first).await, End::Result(_)), "the bundle before is kept");
    let arrived = bed.arrived();
    replace("c").await;
    match bed.end(second).await {
        End::Failed { code: Code::FactsMoved, dispatched: false, .. } => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(bed.arrived(), arrived);
}

#[tokio::test]
async fn a_call_without_the_target_that_the_bundle_declares_is_refused() {
    let mut bed = Bed::new().await;
    let elsewhere = |call: &mut Call| {
        call.reading.as_mut().unwrap().target = Some("DELETE /b".to_owned());
    };
    let unread = |call: &mut Call| call.reading = None;
    let refusals = [bed.ruling("wipe", elsewhere).await, bed.ruling("wipe", unread).await];
    for ruling in refusals {
        let Ruling::Refused(refused) = ruling else { panic!("it was allowed") };
        let denial = refused.decision().denial.as_ref().unwrap();
        assert_eq!(denial.code, Code::RequestRefused, "{denial:?}");
    }
}
