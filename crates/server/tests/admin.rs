//! The admin API, before a real kernel and record: every route, and every way to be refused.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "a test that cannot be set up has failed, and `support` is shared between binaries"
)]

mod support;

use base64::Engine as _;
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use lockgate_core::World;
use lockgate_core::bundle::definition_digest;
use lockgate_core::decide::decide;
use lockgate_core::identify::fixed_claims;
use lockgate_core::world::Files;
use lockgate_effects::{Caller, EffectsSettings, Upstreams};
use lockgate_kernel::{Clock, Kernel, LoadError};
use lockgate_ledger::{ByteStore, EntryProof, VerifierKey, verify_log};
use lockgate_retrieval::corpus::{Access, Incoming, Listing, Permissions, SourceOf};
use lockgate_server::admin::{Admin, ReloadError, openapi};
use lockgate_store::{Durability, Options, Store};
use lockgate_types::document::{Curation, DocumentFacts, Reader};
use lockgate_types::facts::Facts;
use lockgate_types::identity::Identity;
use lockgate_types::label::Confidentiality;
use lockgate_types::{Digest, Json, JsonLimits, Micros, SubjectId, UpstreamName};
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use support::stub::Stub;

/// A listener with a fixed identity is what makes fixed claims acceptable.
const GATE: &str = r#"environment = "dev"
[[listen]]
address = "127.0.0.1:8080"
identity = { subject = "olivia", agent = "cli" }
"#;

const PRINCIPALS: &str = r#"
[agent.cli]
environments = ["dev"]
[user.olivia]
groups = ["operators"]
[user.carl]
[user.mallory]
"#;

const POLICIES: &str = r#"
@id("cli-may-ask")
permit (principal == Agent::"cli", action in Action::"upstream:lockgate", resource);
@id("operators-run-the-gate")
permit (principal in Group::"operators", action in Action::"upstream:lockgate", resource);
@id("carl-sees-the-status")
permit (principal == User::"carl", action == Action::"lockgate/status_read", resource);
"#;

/// A gate whose admin API is asked.
struct Gate {
    admin: Admin,
    kernel: Kernel,
    /// The bundle as it is on disk.
    disk: Arc<Mutex<Files>>,
    /// Added to the clock.
    later: Arc<AtomicI64>,
    _state: tempfile::TempDir,
}

/// What was answered.
struct Answered {
    status: StatusCode,
    allow: Option<String>,
    body: Bytes,
}

impl Answered {
    fn json(&self) -> Json {
        Json::parse(&self.body, &JsonLimits::OWN).unwrap()
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    fn error(&self, member: &str) -> String {
        let json = self.json();
        json.at(&["error", member]).and_then(Json::as_str).unwrap_or_default().to_owned()
    }

    #[track_caller]
    fn is_refused(&self, status: u16, code: &str) -> &Self {
        assert_eq!((self.status.as_u16(), self.error("code").as_str()), (status, code));
        self
    }
}

fn files(lockgate: &str, operations: &str) -> Files {
    let files = [
        ("lockgate.toml", format!("{GATE}{lockgate}")),
        ("principals.toml", PRINCIPALS.to_owned()),
        ("policies/gate.cedar", POLICIES.to_owned()),
    ];
    let mut files: Files =
        files.into_iter().map(|(path, text)| (path.to_owned(), text.into_bytes())).collect();
    if !operations.is_empty() {
        files.insert("operations/desk.toml".to_owned(), operations.as_bytes().to_vec());
    }
    files
}

impl Gate {
    async fn new() -> Self {
        Self::with(files("", "")).await
    }

    async fn with(files: Files) -> Self {
        let state = tempfile::tempdir().unwrap();
        let now = || Clock::system().now();
        let (store, _) = Store::open(Options {
            durability: Durability::Off,
            heartbeat: None,
            ..Options::new(state.path().to_owned(), "lockgate.local/test".to_owned(), now)
        })
        .unwrap();
        let upstreams = Upstreams::new(EffectsSettings::new(state.path().to_owned()));
        let later = Arc::new(AtomicI64::new(0));
        let clock = {
            let (later, system) = (Arc::clone(&later), Clock::system());
            let minting = system.clone();
            Clock::custom(
                move || Micros(system.now().0 + later.load(Ordering::Relaxed)),
                move |_| minting.mint(),
            )
        };
        let kernel = Kernel::new(store, upstreams, clock);
        kernel.keep_documents_in(state.path().to_owned());
        kernel.load(files.clone()).await.unwrap_or_else(|error| panic!("{error:?}"));
        let disk = Arc::new(Mutex::new(files));
        let reload = {
            let (kernel, disk) = (kernel.clone(), Arc::clone(&disk));
            Arc::new(move || {
                let (kernel, files) = (kernel.clone(), disk.lock().unwrap().clone());
                let reloading: futures_util::future::BoxFuture<'static, _> = Box::pin(async move {
                    kernel.load(files).await.map_err(|error| match error {
                        LoadError::Mistakes(mistakes) => ReloadError::Mistakes(mistakes),
                        other => panic!("{other:?}"),
                    })
                });
                reloading
            })
        };
        let admin = Admin::new(kernel.clone(), reload);
        Self { admin, kernel, disk, later, _state: state }
    }

    fn identity(&self, subject: &str) -> Arc<Identity> {
        self.kernel.identify(&fixed_claims(subject, "cli")).unwrap_or_else(|e| panic!("{e:?}"))
    }

    async fn ask(&self, subject: &str, method: Method, path: &str, body: &str) -> Answered {
        ask(&self.admin, self.identity(subject), method, path, body).await
    }

    /// Asks as an operator, and holds the answer against its description.
    async fn get(&self, path: &str) -> Answered {
        let answered = self.ask("olivia", Method::GET, path, "").await;
        hold_against_description("get", path, &answered);
        answered
    }

    async fn get_json(&self, path: &str) -> Json {
        let answered = self.get(path).await;
        assert_eq!(answered.status, 200, "{}", answered.text());
        answered.json()
    }

    /// How many entries the log has.
    async fn size(&self) -> u64 {
        self.kernel.store().records(0, 1).await.unwrap().size
    }

    /// Lets the log grow.
    async fn grow(&self, until: u64) {
        while self.size().await < until {
            assert_eq!(self.ask("olivia", Method::GET, "/v1/ledger/key", "").await.status, 200);
        }
    }
}

async fn ask(
    admin: &Admin,
    identity: Arc<Identity>,
    method: Method,
    path: &str,
    body: &str,
) -> Answered {
    let body = Full::new(Bytes::copy_from_slice(body.as_bytes()));
    let request = Request::builder().method(method).uri(path).body(body).unwrap();
    let (parts, body) = admin.handle(identity, request).await.into_parts();
    let allow = parts.headers.get("allow").map(|allow| allow.to_str().unwrap().to_owned());
    let body = body.collect().await.unwrap().to_bytes();
    Answered { status: parts.status, allow, body }
}

/// The described operation that a path is one of.
fn described(method: &str, path: &str) -> Value {
    let path = path.split('?').next().unwrap();
    let description = openapi();
    let matches = |template: &str| {
        let mut left = path.split('/');
        for part in template.split('/') {
            match (part, left.next()) {
                ("{path}", Some(_)) => return true,
                (part, Some(_)) if part.starts_with('{') => {}
                (part, given) if given == Some(part) => {}
                _ => return false,
            }
        }
        left.next().is_none()
    };
    let paths = description["paths"].as_object().unwrap();
    // The plainest template wins, as in the router.
    let found = paths.iter().filter(|(template, _)| matches(template));
    let found = found.min_by_key(|(template, _)| template.matches('{').count());
    found.map(|(_, item)| item[method].clone()).unwrap_or(Value::Null)
}

#[track_caller]
fn hold_against_description(method: &str, path: &str, answered: &Answered) {
    let operation = described(method, path);
    assert!(operation.is_object(), "{method} {path} is not described");
    let description = openapi();
    let status = answered.status.as_str();
    let response = match operation["responses"][status]["$ref"].as_str() {
        Some(_) => &description["components"]["responses"][status],
        None => &operation["responses"][status],
    };
    assert!(response.is_object(), "{method} {path}: {status} is not described");
    let Some(json) = response["content"].get("application/json") else { return };
    let schema = serde_json::json!({
        "allOf": [json["schema"]],
        "components": description["components"],
    });
    let validator = jsonschema::validator_for(&schema).unwrap();
    let instance: Value = serde_json::from_slice(&answered.body).unwrap();
    let errors: Vec<String> =
        validator.iter_errors(&instance).map(|e| format!("{}: {e}", e.instance_path())).collect();
    assert!(errors.is_empty(), "{method} {path}: {errors:?}\n{}", answered.text());
}

#[tokio::test]
async fn the_status_says_what_this_gate_is() {
    let gate = Gate::new().await;
    gate.later.store(90_000_000, Ordering::Relaxed);
    let status = gate.get_json("/v1/status").await;
    let text = |name: &str| status.get(name).and_then(Json::as_str).unwrap().to_owned();
    assert_eq!(text("version"), env!("CARGO_PKG_VERSION"));
    assert_eq!((text("environment"), text("tenant")), ("dev".to_owned(), "default".to_owned()));
    assert_eq!(text("origin"), "lockgate.local/test");
    assert_eq!(text("bundle"), gate.kernel.world().unwrap().digest.to_string());
    assert!(status.get("uptime_s").and_then(Json::as_i64).unwrap() >= 90);
    let size = status.at(&["ledger", "size"]).and_then(Json::as_i64).unwrap();
    assert!(size > 0);
    assert_eq!(status.at(&["ledger", "checkpoint_size"]).and_then(Json::as_i64), Some(size));
}

#[tokio::test]
async fn standard_error_of_upstreams_is_for_who_may_read_it() {
    let gate = Gate::with(files(
        "[upstream.desk]\ncommand = [\"sh\", \"-c\", \"echo out of paper >&2; exit 3\"]\n",
        "",
    ))
    .await;
    let desk = UpstreamName::new("desk").unwrap();
    let asked = gate.kernel.upstreams().catalogue(&desk, &Caller::default()).await;
    assert!(asked.is_err());
    // What a process says last is read after its end is known.
    let is_told = async || {
        loop {
            let status = gate.get_json("/v1/status").await;
            let row = &status.get("upstreams").and_then(Json::as_array).unwrap()[0];
            let lines = row.get("stderr").and_then(Json::as_array).unwrap();
            if lines.contains(&"out of paper".into()) {
                return row.get("state").and_then(Json::as_str).unwrap().to_owned();
            }
        }
    };
    let state = tokio::time::timeout(std::time::Duration::from_secs(20), is_told()).await;
    assert_eq!(state.unwrap(), "down");

    let before = gate.size().await;
    let answered = gate.ask("carl", Method::GET, "/v1/status", "").await;
    assert_eq!(answered.status, 200);
    hold_against_description("get", "/v1/status", &answered);
    assert!(!answered.text().contains("paper"), "{}", answered.text());
    assert!(answered.text().contains("LG-U005"), "{}", answered.text());
    assert_eq!(gate.size().await, before + 2, "what carl does not see he has not asked for");
}

#[tokio::test]
async fn a_switch_over_what_is_not_there_says_so_and_one_over_what_cannot_be_is_refused() {
    let gate = Gate::with(files(
        "[upstream.desk]\ncommand = [\"sh\", \"-c\", \"exit 3\"]\n",
        "[tool.save]\neffect = \"write\"\n",
    ))
    .await;
    let session = format!("s_{}", "0".repeat(32));
    // Nothing is meant where all is well; where nothing is near, nothing either.
    for (scope, name, unknown, meant) in [
        ("global", "", false, None),
        ("tenant", "default", false, None),
        ("tenant", "defualt", true, Some("default")),
        ("environment", "dev", false, None),
        ("environment", "devv", true, Some("dev")),
        ("agent", "nosuch", true, None),
        ("tool", "desk", false, None),
        ("tool", "disk", true, Some("desk")),
        ("operation", "desk/save", false, None),
        ("operation", "desk:resources/read", false, None),
        ("operation", "desk/safe", true, Some("desk/save")),
        ("session", &session, false, None),
    ] {
        let named = format!("{scope} {name}");
        let body = format!(r#"{{"scope":"{scope}","name":"{name}","reason":"x"}}"#);
        let thrown = gate.ask("olivia", Method::POST, "/v1/switches/throw", &body).await;
        assert_eq!(thrown.status, 200, "{}", thrown.text());
        hold_against_description("post", "/v1/switches/throw", &thrown);
        let thrown = thrown.json();
        assert_eq!(thrown.get("unknown"), Some(&Json::Bool(unknown)), "{named}");
        assert_eq!(thrown.get("meant").and_then(Json::as_str), meant, "{named}");
        let status = gate.ask("olivia", Method::GET, "/v1/status", "").await;
        hold_against_description("get", "/v1/status", &status);
        let on = status.json().get("switches").unwrap().to_string();
        assert_eq!(on, format!(r#"[{{"scope":"{scope}","name":"{name}"}}]"#));
        let seen = gate.ask("carl", Method::GET, "/v1/status", "").await;
        assert_eq!(seen.json().get("switches"), None, "carl may not know which are on");
        let lifted = gate.ask("olivia", Method::POST, "/v1/switches/lift", &body).await;
        assert_eq!(lifted.status, 200, "{}", lifted.text());
    }
    let seen = gate.ask("carl", Method::GET, "/v1/status", "").await;
    assert_eq!(seen.json().get("switches"), Some(&Json::Array(Vec::new())));
    for (scope, name) in [
        ("tenant", "Acme"),
        ("environment", "prod 1"),
        ("tool", "desk/save"),
        ("operation", "nonsense"),
        ("operation", "desk/"),
        ("operation", "/save"),
        ("session", "zzz"),
    ] {
        let body = format!(r#"{{"scope":"{scope}","name":"{name}","reason":"x"}}"#);
        let refused = gate.ask("olivia", Method::POST, "/v1/switches/throw", &body).await;
        assert!(refused.is_refused(400, "LG-A001").text().contains(name), "{}", refused.text());
        assert_eq!(gate.kernel.store().switches(), []);
    }
    for (tenant, unknown) in [("default", false), ("defualt", true)] {
        let path = format!("/v1/postures/{tenant}/tighten");
        let body = r#"{"to":"approvals","reason":"x"}"#;
        let set = gate.ask("olivia", Method::POST, &path, body).await;
        hold_against_description("post", "/v1/postures/{tenant}/tighten", &set);
        assert_eq!(set.json().get("unknown"), Some(&Json::Bool(unknown)), "{}", set.text());
    }
}

#[tokio::test]
async fn who_may_not_is_refused_and_the_refusal_is_recorded() {
    let gate = Gate::new().await;
    let description = openapi();
    for (template, item) in description["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let Some(decided_as) = operation["x-lockgate-operation"].as_str() else { continue };
            let path = example(template);
            let before = gate.size().await;
            let method = method.to_uppercase().parse().unwrap();
            let answered = gate.ask("mallory", method, &path, &example_body(operation)).await;
            answered.is_refused(403, "LG-D003");
            hold_against_description(&operation_method(item, operation), &path, &answered);
            assert_eq!(gate.size().await, before + 1, "{path}");
            let call = answered.error("call");
            let trace = gate.get_json(&format!("/v1/traces/{call}")).await;
            let entry = &trace.get("entries").and_then(Json::as_array).unwrap()[0];
            let text = |path: &[&str]| entry.at(path).and_then(Json::as_str).unwrap_or_default();
            assert_eq!(text(&["leaf", "k"]), "refusal");
            assert_eq!(text(&["payload", "call", "operation"]), decided_as);
            assert_eq!(text(&["payload", "identity", "subject"]), "mallory");
            assert_eq!(text(&["payload", "decision", "verdict"]), "deny");
        }
    }
}

fn operation_method(item: &Value, operation: &Value) -> String {
    let found = item.as_object().unwrap().iter().find(|(_, it)| *it == operation);
    found.unwrap().0.clone()
}

/// A body that the description allows.
fn example_body(operation: &Value) -> String {
    let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
    let Some(members) = schema["properties"].as_object() else { return String::new() };
    let body = members.iter().map(|(name, schema)| {
        let shortest = if schema["minLength"] == 1 { "x" } else { "" };
        let text = Value::from(schema["enum"][0].as_str().unwrap_or(shortest));
        let digest = schema["pattern"].as_str().filter(|it| it.starts_with("^sha256:"));
        let digest = digest.map(|_| Value::from(format!("sha256:{}", "0".repeat(64))));
        let least = schema.get("minimum").cloned().or(digest);
        (name.clone(), least.unwrap_or(text))
    });
    Value::Object(body.collect()).to_string()
}

/// A path that the template describes.
fn example(template: &str) -> String {
    template
        .replace("{call}", "0123456789abcdef0123456789abcdef")
        .replace("{run}", "0123456789abcdef0123456789abcdef")
        .replace("{session}", "s_0123456789abcdef0123456789abcdef")
        .replace("{tenant}", "default")
        .replace("{digest}", &format!("sha256:{}", "0".repeat(64)))
        .replace("{path}", "0/000.p/1")
        .replace("{source}", "handbook")
        .replace("{snapshot}", "1")
        .replace("{from}", "1")
        .replace("{to}", "2")
        .replace("{index}", "0")
}

#[tokio::test]
async fn what_is_described_is_there_and_nothing_else() {
    let gate = Gate::new().await;
    for (template, item) in openapi()["paths"].as_object().unwrap() {
        let path = example(template);
        for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
            let before = gate.size().await;
            let answered = gate.ask("mallory", method.clone(), &path, "").await;
            let name = method.as_str().to_lowercase();
            if item.get(&name).is_some() {
                assert!(!matches!(answered.status.as_u16(), 404 | 405), "{method} {path}");
                continue;
            }
            answered.is_refused(405, "LG-A001");
            let allowed = answered.allow.unwrap();
            let is_there = |it: &&str| item.get(it.to_lowercase()).is_some();
            let there = ["GET", "POST", "DELETE"].into_iter().find(is_there).unwrap();
            assert!(allowed.contains(there), "{method} {path}");
            assert_eq!(gate.size().await, before, "{method} {path}");
        }
    }
    for path in ["/v1/", "/v1/nothing", "/v1/traces", "/v1/traces/a/b", "/v1/status/", "/v2/status"]
    {
        gate.ask("olivia", Method::GET, path, "").await.is_refused(404, "LG-A002");
    }
    let description = gate.get_json("/v1/openapi.json").await;
    let served: Value = serde_json::from_slice(&description.to_bytes()).unwrap();
    assert_eq!(served, openapi());
}

#[tokio::test]
async fn what_is_not_well_formed_is_refused_before_it_is_decided() {
    let gate = Gate::new().await;
    let before = gate.size().await;
    let digits = "1".repeat(30);
    for path in [
        "/v1/status?verbose=1",
        "/v1/records?form=3",
        "/v1/records?from=1&from=2",
        "/v1/records?from=-1",
        "/v1/records?from=+1",
        "/v1/records?from=1.0",
        "/v1/records?from=",
        "/v1/records?max=0",
        "/v1/records?max=1001",
        "/v1/records?call=x",
        &format!("/v1/records?from={digits}"),
        "/v1/records?from=1&%66rom=2",
        "/v1/traces/a%20b",
        "/v1/traces/%ff",
        &format!("/v1/traces/{}", "a".repeat(300)),
        "/v1/traces/x?call=y",
        "/v1/bundles/sha256:00",
        "/v1/bundles/0000",
        "/v1/ledger/proof/one",
        "/v1/ledger/proof/-1",
        "/v1/ledger/tile/0/000?width=3",
        "/v1/ledger/tile/0/%00",
        "/v1/ledger/tile/0/000.p%5C1",
    ] {
        let answered = gate.get(path).await;
        answered.is_refused(400, "LG-A001");
        assert_eq!(answered.error("call"), "", "{path}");
    }
    for body in ["{\"force\":true}", "[]", "{", "{}{}", "{\"a\":1,\"a\":2}", "null"] {
        let answered = gate.ask("olivia", Method::POST, "/v1/bundle/reload", body).await;
        answered.is_refused(400, "LG-A001");
        hold_against_description("post", "/v1/bundle/reload", &answered);
    }
    let large = " ".repeat(20_000);
    let answered = gate.ask("olivia", Method::POST, "/v1/bundle/reload", &large).await;
    answered.is_refused(413, "LG-W004");
    gate.ask("olivia", Method::GET, "/v1/status", "{\"a\":1}").await.is_refused(400, "LG-A001");
    assert_eq!(gate.size().await, before);
}

#[tokio::test]
async fn records_come_page_by_page_and_decide_the_same_again() {
    let gate = Gate::new().await;
    gate.grow(60).await;
    gate.ask("mallory", Method::GET, "/v1/status", "").await.is_refused(403, "LG-D003");
    let world = World::load(&gate.disk.lock().unwrap()).unwrap();

    let whole = gate.get_json("/v1/records?max=1000").await;
    let size = whole.get("size").and_then(Json::as_i64).unwrap();
    assert!(whole.get("next").is_none(), "the last page says so");
    let whole = whole.get("records").and_then(Json::as_array).unwrap();

    let (mut paged, mut from, mut pages) = (Vec::new(), Some(0), 0);
    while let Some(at) = from {
        let page = gate.get_json(&format!("/v1/records?from={at}&max=7&until={size}")).await;
        let records = page.get("records").and_then(Json::as_array).unwrap();
        assert!(records.len() <= 7);
        paged.extend(records.iter().cloned());
        from = page.get("next").and_then(Json::as_i64);
        assert!(from.is_none_or(|next| next > at && next < size));
        pages += 1;
    }
    // The reading itself is recorded, and still ends.
    assert_eq!(pages, (size + 6) / 7);
    assert_eq!(paged, whole);

    let mut kinds = BTreeSet::new();
    for record in whole {
        kinds.insert(record.get("kind").and_then(Json::as_str).unwrap().to_owned());
        let part = |name: &str| record.at(&["facts", name]).unwrap();
        let facts = Facts::from_parts(part("identity"), part("call"), part("moment")).unwrap();
        let then = record.get("decision").unwrap();
        assert_eq!(decide(&world, &facts).to_canonical(), then.to_canonical());
    }
    assert!(kinds.iter().eq(["intent", "refusal"]), "{kinds:?}");
    let beyond = gate.get_json("/v1/records?from=100000").await;
    assert!(beyond.get("next").is_none());
    assert!(beyond.get("records").and_then(Json::as_array).unwrap().is_empty());
}

#[tokio::test]
async fn a_trace_has_what_a_call_carried_until_it_is_erased() {
    let gate = Gate::new().await;
    let answered = gate.ask("mallory", Method::GET, "/v1/records?from=3", "").await;
    let call = answered.is_refused(403, "LG-D003").error("call");
    let path = format!("/v1/traces/{call}");
    let trace = gate.get_json(&path).await;
    let entry = &trace.get("entries").and_then(Json::as_array).unwrap()[0];
    let arguments = entry.at(&["payload", "call", "params", "arguments"]).unwrap();
    assert_eq!(arguments.to_string(), r#"{"from":3}"#);
    let leaf = entry.get("leaf").unwrap().to_bytes();
    let hash = lockgate_ledger::leaf_hash(&leaf).to_string();
    assert_eq!(entry.get("leaf_hash").and_then(Json::as_str), Some(hash.as_str()));

    let mallory = gate.identity("mallory");
    let subject = SubjectId::new("mallory").unwrap();
    gate.kernel.store().erase(&mallory.issuer, &subject).await.unwrap().unwrap();
    let trace = gate.get_json(&path).await;
    let entry = &trace.get("entries").and_then(Json::as_array).unwrap()[0];
    assert_eq!(entry.get("erased").and_then(Json::as_bool), Some(true));
    assert!(entry.get("payload").is_none());
    let records = gate.get_json("/v1/records").await;
    let records = records.get("records").and_then(Json::as_array).unwrap();
    let is_it = |record: &&Json| record.get("call").and_then(Json::as_str) == Some(call.as_str());
    let record = records.iter().find(is_it).unwrap();
    assert_eq!(record.get("erased").and_then(Json::as_bool), Some(true));
    assert!(record.get("facts").is_none() && record.get("decision").is_none());

    let unknown = gate.get("/v1/traces/00000000000000000000000000000000").await;
    unknown.is_refused(404, "LG-S003");
    assert_ne!(unknown.error("call"), "", "looking was recorded");
}

#[tokio::test]
async fn bundles_are_read_whole_and_loaded_anew() {
    let gate = Gate::new().await;
    let first = gate.kernel.world().unwrap().digest;
    let decode = |bundle: &Json| -> Files {
        let files = bundle.get("files").and_then(Json::as_object).unwrap();
        let base64 = base64::engine::general_purpose::STANDARD;
        let decode = |text: &Json| base64.decode(text.as_str().unwrap()).unwrap();
        files.iter().map(|(path, text)| (path.to_owned(), decode(text))).collect()
    };
    let bundle = gate.get_json("/v1/bundle").await;
    assert_eq!(bundle.get("digest").and_then(Json::as_str), Some(first.to_string().as_str()));
    assert_eq!(decode(&bundle), *gate.disk.lock().unwrap());

    gate.disk.lock().unwrap().insert("README.md".to_owned(), vec![0xff, 0]);
    let reloaded = gate.ask("olivia", Method::POST, "/v1/bundle/reload", "{}").await;
    assert_eq!(reloaded.status, 200, "{}", reloaded.text());
    hold_against_description("post", "/v1/bundle/reload", &reloaded);
    let second = gate.kernel.world().unwrap().digest;
    assert_ne!(first, second);
    let json = reloaded.json();
    assert_eq!(json.get("digest").and_then(Json::as_str), Some(second.to_string().as_str()));
    assert_eq!(decode(&gate.get_json("/v1/bundle").await), *gate.disk.lock().unwrap());
    let old = gate.get_json(&format!("/v1/bundles/{first}")).await;
    assert_eq!(old, bundle, "what once ruled is kept");

    let broken = b"environment = \"dev\"\nenvironmant = 1\n".to_vec();
    gate.disk.lock().unwrap().insert("lockgate.toml".to_owned(), broken);
    let refused = gate.ask("olivia", Method::POST, "/v1/bundle/reload", "").await;
    refused.is_refused(422, "LG-C001");
    hold_against_description("post", "/v1/bundle/reload", &refused);
    let json = refused.json();
    let mistakes = json.at(&["error", "mistakes"]).and_then(Json::as_array).unwrap();
    assert_eq!(mistakes[0].get("file").and_then(Json::as_str), Some("lockgate.toml"));
    assert_eq!(mistakes[0].get("line").and_then(Json::as_i64), Some(2));
    assert_eq!(gate.kernel.world().unwrap().digest, second, "the last good one stays");
    let trace = gate.get_json(&format!("/v1/traces/{}", refused.error("call"))).await;
    let outcome = &trace.get("entries").and_then(Json::as_array).unwrap()[1];
    assert_eq!(outcome.at(&["leaf", "state"]).and_then(Json::as_str), Some("failed"));
    assert_eq!(outcome.at(&["leaf", "code"]).and_then(Json::as_str), Some("LG-C001"));

    let unknown = format!("/v1/bundles/sha256:{}", "0".repeat(64));
    gate.get(&unknown).await.is_refused(404, "LG-S003");
}

#[tokio::test]
async fn differences_between_pins_and_upstreams_are_named() {
    let stub = Stub::with_sessions().await;
    let upstreams = format!(
        "[upstream.desk]\nurl = \"{}\"\n[upstream.gone]\nurl = \"http://127.0.0.1:1/mcp\"\n",
        stub.url
    );
    let tool = |name: &str, pin: &str| {
        format!("[tool.{name}]\neffect = \"read\"\naccepted = true\n{pin}schema = '{{}}'\n")
    };
    let gate = Gate::with(files(&upstreams, &tool("echo", ""))).await;
    let desk = UpstreamName::new("desk").unwrap();
    let live = gate.kernel.upstreams().catalogue(&desk, &Caller::default()).await.unwrap();
    let pin_of = |name: &str| {
        let of = |tool: &&Json| tool.get("name").and_then(Json::as_str) == Some(name);
        let digest = definition_digest(live.tools.iter().find(of).unwrap());
        format!("pin = \"{digest}\"\n")
    };
    let other = format!("pin = \"sha256:{}\"\n", "0".repeat(64));
    let operations =
        [tool("echo", &pin_of("echo")), tool("ask", &other), tool("vanished", "")].concat();
    let gate = Gate::with(files(&upstreams, &operations)).await;

    let listed = gate.get_json("/v1/operations").await;
    let listed = listed.get("operations").and_then(Json::as_array).unwrap();
    let named = |name: &str| {
        let is_it = |it: &&Json| it.get("operation").and_then(Json::as_str) == Some(name);
        listed.iter().find(is_it).unwrap()
    };
    let echo = named("desk/echo");
    assert_eq!(echo.get("effect").and_then(Json::as_str), Some("read"));
    assert_eq!(echo.get("accepted").and_then(Json::as_bool), Some(true));
    assert!(pin_of("echo").contains(echo.get("pin").and_then(Json::as_str).unwrap()));
    assert!(named("lockgate/status_read").get("pin").is_none());
    assert_eq!(named("desk:resources/read").get("upstream").and_then(Json::as_str), Some("desk"));

    let found = gate.get_json("/v1/operations/differences").await;
    let found = found.get("differences").and_then(Json::as_array).unwrap();
    let what = |name: &str| {
        let is_it = |it: &&Json| it.get("operation").and_then(Json::as_str) == Some(name);
        let found = found.iter().find(is_it)?;
        Some(found.get("what").and_then(Json::as_str).unwrap().to_owned())
    };
    assert_eq!(what("desk/echo"), None, "it is as it was accepted");
    assert!(what("desk/ask").unwrap().contains("differently"));
    assert!(what("desk/vanished").unwrap().contains("does not offer"));
    assert!(what("desk/work").unwrap().contains("not declared"));
    assert!(what("desk/twin").unwrap().contains("several tools"));
    assert!(what("gone").unwrap().contains("LG-U001"), "{:?}", what("gone"));
}

/// The log as a verifier sees it through the API.
struct Remote {
    admin: Admin,
    identity: Arc<Identity>,
    runtime: tokio::runtime::Handle,
}

impl ByteStore for Remote {
    fn get(&self, path: &str) -> Result<Option<Vec<u8>>, std::io::Error> {
        let path = format!("/v1/ledger/{path}");
        let asking = ask(&self.admin, Arc::clone(&self.identity), Method::GET, &path, "");
        let answered = self.runtime.block_on(asking);
        match answered.status.as_u16() {
            200 => Ok(Some(answered.body.to_vec())),
            404 => Ok(None),
            status => Err(std::io::Error::other(format!("{status}: {}", answered.text()))),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_is_verified_and_proved_through_the_api() {
    let gate = Gate::new().await;
    gate.grow(600).await;
    let key: VerifierKey = gate.get("/v1/ledger/key").await.text().trim().parse().unwrap();
    let before = gate.size().await;
    let remote = Remote {
        admin: gate.admin.clone(),
        identity: gate.identity("olivia"),
        runtime: tokio::runtime::Handle::current(),
    };
    let verifier = key.clone();
    let verifying =
        tokio::task::spawn_blocking(move || verify_log(&remote, &verifier, None, &mut |_, _| {}));
    let report = verifying.await.unwrap().unwrap();
    assert_eq!((report.checkpoint.size, report.entries), (before, before));
    assert_eq!(report.checkpoint.origin, "lockgate.local/test");
    assert_eq!(gate.size().await, before + 2, "one checkpoint was recorded, and no tile");

    for index in [0, 255, 256, before - 1] {
        let proof = gate.get(&format!("/v1/ledger/proof/{index}")).await;
        assert_eq!(proof.status, 200, "{}", proof.text());
        let proof = EntryProof::parse(proof.text()).unwrap();
        let (_, checkpoint) = proof.verify(&key).unwrap();
        assert_eq!(proof.index, index);
        assert!(checkpoint.size > index);
    }
    gate.get("/v1/ledger/proof/1000000").await.is_refused(404, "LG-S003");
}

#[tokio::test]
async fn tiles_are_read_on_one_recorded_decision_for_a_while() {
    let gate = Gate::new().await;
    gate.grow(300).await;
    // Without a checkpoint read before, the first tile is one.
    let grown = async |path: &str, subject: &str, status: u16| {
        let before = gate.size().await;
        let path = format!("/v1/ledger/tile/{path}");
        let answered = gate.ask(subject, Method::GET, &path, "").await;
        assert_eq!(answered.status, status, "{}", answered.text());
        gate.size().await - before
    };
    assert_eq!(grown("0/000", "olivia", 200).await, 2);
    assert_eq!(grown("entries/000", "olivia", 200).await, 0);
    assert_eq!(grown("0/001.p/40", "olivia", 200).await, 0);
    assert_eq!(grown("1/000.p/1", "olivia", 200).await, 0);
    // Nobody else, and nothing beyond that checkpoint.
    assert_eq!(grown("0/000", "mallory", 403).await, 1);
    assert_eq!(grown("0/009", "olivia", 404).await, 2);
    assert_eq!(grown("0/0", "olivia", 404).await, 2, "not the spelling of a place");
    assert_eq!(grown("0/000", "olivia", 200).await, 0);
    gate.later.fetch_add(5 * 60 * 1_000_000, Ordering::Relaxed);
    assert_eq!(grown("0/000", "olivia", 200).await, 2, "five minutes are over");
    assert_eq!(grown("0/000", "olivia", 200).await, 0);
    // Another bundle: what it says now holds at once.
    let policies = POLICIES.split("@id(\"operators").next().unwrap();
    let mut files = gate.disk.lock().unwrap().clone();
    files.insert("policies/gate.cedar".to_owned(), policies.as_bytes().to_vec());
    gate.kernel.load(files).await.unwrap();
    assert_eq!(grown("0/000", "olivia", 403).await, 1);
}

#[tokio::test]
async fn a_closed_record_answers_that_it_is_not_available() {
    let gate = Gate::new().await;
    gate.kernel.store().clone().close().await.unwrap();
    for path in ["/v1/status", "/v1/records", "/v1/bundle", "/v1/ledger/checkpoint"] {
        gate.get(path).await.is_refused(503, "LG-S001");
    }
}

#[tokio::test]
async fn runs_answer_as_they_are_described_and_to_their_opener_alone() {
    let brain =
        "[upstream.brain.model]\nfamily = \"openai\"\nbase_url = \"http://127.0.0.1:9/v1\"\n";
    let mut files = files(brain, "");
    for (path, text) in [
        ("models/brain.toml", "upstream = \"brain\"\nversion = \"1\"\n"),
        (
            "prompts/work.toml",
            "version = \"1\"\n[[segment]]\nkind = \"instructions\"\ntext = \"Do it.\"\n\
             [[segment]]\nkind = \"input\"\n",
        ),
        ("tasks/t.toml", "models = [\"brain\"]\n[run]\nprompt = \"work\"\n"),
    ] {
        files.insert(path.to_owned(), text.as_bytes().to_vec());
    }
    let gate = Gate::with(files).await;
    let asked = r#"{"task":"t","input":"two\nlines"}"#;
    let begun = gate.ask("olivia", Method::POST, "/v1/runs", asked).await;
    assert_eq!(begun.status, 201, "{}", begun.text());
    hold_against_description("post", "/v1/runs", &begun);
    let run = begun.json().get("run").and_then(Json::as_str).unwrap().to_owned();
    gate.kernel.drive_runs_by(2).await;
    for path in ["/v1/runs", &format!("/v1/runs/{run}")] {
        let read = gate.ask("olivia", Method::GET, path, "").await;
        assert_eq!(read.status, 200, "{}", read.text());
        hold_against_description("get", path, &read);
    }
    let unreadable =
        gate.ask("olivia", Method::POST, "/v1/runs", r#"{"task":"t","input":""}"#).await;
    unreadable.is_refused(400, "LG-A001");
    let unknown = gate.ask("olivia", Method::POST, "/v1/runs", r#"{"task":"u","input":"x"}"#).await;
    unknown.is_refused(404, "LG-R001");
    let path = format!("/v1/runs/{run}/fork");
    let forked = gate.ask("olivia", Method::POST, &path, r#"{"turn":0}"#).await;
    assert_eq!(forked.status, 201, "{}", forked.text());
    hold_against_description("post", &path, &forked);
    let path = format!("/v1/runs/{run}/cancel");
    let cancelled = gate.ask("olivia", Method::POST, &path, r#"{"reason":"enough"}"#).await;
    assert_eq!(cancelled.status, 200, "{}", cancelled.text());
    hold_against_description("post", &path, &cancelled);
}

const DOCUMENTS_POLICY: &str = r#"
@id("may-search")
permit (principal, action == Action::"retrieval/search", resource)
unless { principal == User::"mallory" };
@id("may-see")
permit (principal == Agent::"cli", action == Action::"retrieve", resource);
@id("carl-sees-the-desk")
permit (principal == User::"carl", action == Action::"retrieve", resource)
when { resource.id like "desk*" };
@id("olivia-sees-all")
permit (principal == User::"olivia", action == Action::"retrieve", resource);
"#;

/// A gate with a source of two documents.
async fn gate_with_documents() -> Gate {
    let mut files = files("", "");
    let source = "owner = \"it\"\nclassification = \"internal\"\ncuration = \"curated\"\n\
        [connector.directory]\npath = \"wiki\"\n";
    files.insert("sources/wiki.toml".to_owned(), source.into());
    files.insert("policies/documents.cedar".to_owned(), DOCUMENTS_POLICY.into());
    let believed = PRINCIPALS.replace("[user.olivia]", "relays_user_words = true\n[user.olivia]");
    files.insert("principals.toml".to_owned(), believed.into());
    let gate = Gate::with(files).await;
    let (name, now) = ("wiki".to_owned(), gate.kernel.clock().now());
    let corpus = gate.kernel.library().unwrap().corpus().unwrap();
    let of = SourceOf { name, tenant: "default".to_owned(), access: Access::Declared };
    let mut draft = corpus.begin(&of, Listing::Whole, now).unwrap();
    for (id, text) in [("desk.md", "Trips are booked here."), ("trips.md", "Trips cost a lot.")] {
        let facts = DocumentFacts {
            id: id.to_owned(),
            source: "wiki".to_owned(),
            tenant: "default".to_owned(),
            folders: Vec::new(),
            kind: "page".to_owned(),
            owner: None,
            curation: Curation::Curated,
            classification: Confidentiality::Internal,
            tags: BTreeSet::new(),
            readers: None,
            denied: BTreeSet::new(),
            changed: now,
            confirmed: now,
        };
        let incoming = Incoming {
            facts,
            permissions: Some(Permissions::shared([Reader::Everyone])),
            title: id.to_owned(),
            author: None,
            made: None,
            link: None,
            text: text.to_owned(),
            pieces: vec![(0, text.len())],
            fingerprint: Digest::of(text.as_bytes()),
        };
        draft.put(incoming).unwrap();
    }
    draft.publish("{}", now).unwrap();
    gate
}

#[tokio::test]
async fn documents_are_found_by_whoever_may_see_them() {
    let gate = gate_with_documents().await;
    let retrieve = async |who: &str, body: &str| {
        let answered = gate.ask(who, Method::POST, "/v1/retrieve", body).await;
        hold_against_description("post", "/v1/retrieve", &answered);
        answered
    };
    let found = |answered: &Answered| -> Vec<String> {
        let json = answered.json();
        let found = json.get("found").and_then(Json::as_array).unwrap().iter();
        found.map(|it| it.get("document").unwrap().as_str().unwrap().to_owned()).collect()
    };
    let all = retrieve("olivia", r#"{"query":"trips"}"#).await;
    assert_eq!((all.status.as_u16(), found(&all).len()), (200, 2), "{}", all.text());
    let some = retrieve("carl", r#"{"query":"trips","sources":["wiki"],"limit":5}"#).await;
    assert_eq!(found(&some), ["wiki/desk.md"]);
    assert!(!some.text().contains("cost"), "{}", some.text());
    let one = retrieve("olivia", r#"{"query":"trips","limit":1}"#).await;
    assert_eq!(found(&one).len(), 1);
    for (body, none) in [
        (r#"{"query":"trips","kinds":["runbook"]}"#, 0),
        (r#"{"query":"trips","sources":["other"]}"#, 0),
    ] {
        assert_eq!(found(&retrieve("olivia", body).await).len(), none, "{body}");
    }
    // It is a call like any other, by its id.
    let call = all.json().get("call").and_then(Json::as_str).unwrap().to_owned();
    let trace = gate.get_json(&format!("/v1/traces/{call}")).await;
    let entries = trace.get("entries").and_then(Json::as_array).unwrap();
    let operation = entries[0].at(&["payload", "call", "operation"]).and_then(Json::as_str);
    assert_eq!(operation, Some("retrieval/search"));
    let refused = retrieve("mallory", r#"{"query":"trips"}"#).await;
    refused.is_refused(403, "LG-D003");
    for wrong in [
        "",
        r#"{"query":""}"#,
        r#"{"query":"x","limit":51}"#,
        r#"{"query":"x","sources":"wiki"}"#,
        r#"{"query":"x","kinds":[1]}"#,
        r#"{"query":"x","tenant":"other"}"#,
    ] {
        retrieve("olivia", wrong).await.is_refused(400, "LG-A001");
    }
}

#[tokio::test]
async fn a_search_belongs_to_the_session_whose_token_is_shown() {
    let gate = gate_with_documents().await;
    let opened = gate
        .ask("olivia", Method::POST, "/v1/sessions", r#"{"agent":"cli","words":"trips"}"#)
        .await
        .json();
    let text = |name: &str| opened.get(name).and_then(Json::as_str).unwrap().to_owned();
    let ask = async |who: &str, token: &str| {
        let request = Request::builder().method(Method::POST).uri("/v1/retrieve");
        let request = request.header("lockgate-session", token);
        let request = request.body(Full::new(Bytes::from(r#"{"query":"trips"}"#))).unwrap();
        let (parts, body) = gate.admin.handle(gate.identity(who), request).await.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answered { status: parts.status, allow: None, body }
    };
    let answered = ask("olivia", &text("token")).await;
    assert_eq!(answered.status, 200, "{}", answered.text());
    assert!(!answered.text().contains(&text("token")));
    let call = answered.json().get("call").and_then(Json::as_str).unwrap().to_owned();
    let trace = gate.get(&format!("/v1/traces/{call}")).await;
    assert!(trace.text().contains(&text("session")), "{}", trace.text());
    assert!(!trace.text().contains(&text("token")), "{}", trace.text());
    // A token that does not open a session to exactly this identity is refused.
    ask("carl", &text("token")).await.is_refused(403, "LG-I016");
    ask("olivia", "nothing").await.is_refused(403, "LG-I015");
}

#[tokio::test]
async fn what_people_say_of_documents_is_shown_with_their_source() {
    let gate = gate_with_documents().await;
    let ask =
        async |who: &str, path: &str, body: &str| gate.ask(who, Method::POST, path, body).await;
    let found = ask("carl", "/v1/retrieve", r#"{"query":"trips"}"#).await;
    let call = found.json().get("call").and_then(Json::as_str).unwrap().to_owned();
    let say = async |who: &str, document: &str, verdict: &str| {
        let body = format!(
            r#"{{"call":"{call}","document":"{document}","verdict":"{verdict}","note":"so it is"}}"#
        );
        let said = ask(who, "/v1/retrieval/feedback", &body).await;
        hold_against_description("post", "/v1/retrieval/feedback", &said);
        said
    };
    // By whom it was shown to alone, and of what was shown.
    say("carl", "wiki/desk.md", "suspicious").await.is_refused(403, "LG-D003");
    let found = ask("olivia", "/v1/retrieve", r#"{"query":"booked"}"#).await;
    let own = found.json().get("call").and_then(Json::as_str).unwrap().to_owned();
    say("olivia", "wiki/desk.md", "useful").await.is_refused(404, "LG-S003");
    let say_own = async |document: &str, verdict: &str| {
        let body = format!(r#"{{"call":"{own}","document":"{document}","verdict":"{verdict}"}}"#);
        ask("olivia", "/v1/retrieval/feedback", &body).await
    };
    say_own("wiki/trips.md", "wrong").await.is_refused(404, "LG-S003");
    say_own("wiki/desk.md", "boring").await.is_refused(400, "LG-A001");
    assert_eq!(say_own("wiki/desk.md", "suspicious").await.status, 200);
    let none = gate.get_json("/v1/retrieval?tenant=other").await;
    assert_eq!(none.get("sources").and_then(Json::as_array).map(<[Json]>::len), Some(0));
    let health = gate.get_json("/v1/retrieval?tenant=default").await;
    let wiki = &health.get("sources").and_then(Json::as_array).unwrap()[0];
    let number = |path: &[&str]| wiki.at(path).and_then(Json::as_i64);
    assert_eq!(
        (number(&["searches"]), number(&["hits"]), number(&["misses"])),
        (Some(2), Some(2), Some(0))
    );
    assert_eq!(number(&["tasks", "", "searches"]), Some(2));
    let said = &wiki.get("feedback").and_then(Json::as_array).unwrap()[0];
    assert_eq!(said.get("document").and_then(Json::as_str), Some("desk.md"));
    assert_eq!(said.get("suspicious").and_then(Json::as_i64), Some(1));
}
