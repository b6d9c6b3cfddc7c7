//! What the store's tests and measurements have in common: a small world, calls in it, and a
//! whole-log check.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part of this")]
#![allow(clippy::panic, clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use lockgate_core::bundle::admin::RESERVED;
use lockgate_core::rule::{Allowed, Refused, Ruling, rule};
use lockgate_core::world::{Files, World};
use lockgate_ledger::tiles::{TILE_LEVELS_MAX, TILE_WIDTH, bundle_path, tile_path, tile_width};
use lockgate_ledger::verify::CHECKPOINT_PATH;
use lockgate_ledger::{Checkpoint, Report, VerifierKey, VerifyError, verify_log};
use lockgate_store::{
    CommitError, Options, OutcomeRecord, OutcomeState, Permit, Receipt, SessionKey, Store,
    StoreError, Terms,
};
use lockgate_types::call::{Call, Direction};
use lockgate_types::facts::{Facts, SessionState};
use lockgate_types::flow::Author;
use lockgate_types::identity::Identity;
use lockgate_types::label::{Confidentiality, Label};
use lockgate_types::{CallId, Digest, Json, Micros, Object, Redacted, SubjectId, Tenant};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

pub const ORIGIN: &str = "test.example/store";
pub const ISSUER: &str = "dev";

/// The PostgreSQL server that stores are opened on: `postgres://…?host=…`, with `{}` for the
/// database's name. None: stores are embedded.
pub static SERVER: OnceLock<String> = OnceLock::new();

/// The address of a database that belongs to a directory, made if it is not there.
pub fn database(server: &str, directory: &Path) -> Redacted<String> {
    let digest = Digest::of(directory.as_os_str().as_encoded_bytes()).to_string();
    let name: String = digest.chars().filter(char::is_ascii_alphanumeric).take(24).collect();
    let (admin, name) = (server.replace("{}", "postgres"), format!("t_{name}"));
    let make = format!("CREATE DATABASE {name}");
    let making = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut connection = PgConnection::connect(&admin).await.unwrap();
            // It may be there already.
            let _ = sqlx::raw_sql(AssertSqlSafe(make)).execute(&mut connection).await;
        });
    });
    making.join().unwrap();
    Redacted::new(server.replace("{}", &name))
}

pub fn now() -> Micros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Micros(i64::try_from(since.as_micros()).unwrap())
}

pub fn options(directory: &Path) -> Options {
    let options = Options::new(directory.to_owned(), ORIGIN.to_owned(), now);
    Options { shared: SERVER.get().map(|server| database(server, directory)), ..options }
}

pub fn files() -> Files {
    let text = [
        ("lockgate.toml", "environment = \"dev\"\n[upstream.crm]\ncommand = [\"crm\"]\n"),
        ("principals.toml", "undeclared_users = true\n[agent.bot]\nenvironments = [\"dev\"]\n"),
        (
            "operations/crm.toml",
            concat!(
                "[tool.look]\neffect = \"read\"\naccepted = true\n",
                "schema = '{\"type\":\"object\",\"properties\":{\"who\":{\"type\":\"string\"},\"note\":{\"type\":\"string\"}}}'\n",
                "[tool.save]\neffect = \"write\"\naccepted = true\n",
                "schema = '{\"type\":\"object\",\"properties\":{\"who\":{\"type\":\"string\"},\"note\":{\"type\":\"string\"}}}'\n",
                "[tool.wipe]\neffect = \"destructive\"\naccepted = true\n",
            ),
        ),
        (
            "policies/crm.cedar",
            "@id(\"all\")\n@obligation_redact(\"card\")\n\
             permit (principal, action in [Action::\"read\", Action::\"write\"], resource);\n",
        ),
    ];
    text.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect()
}

pub fn world() -> World {
    World::load(&files()).unwrap_or_else(|mistakes| panic!("{mistakes:#?}"))
}

pub fn identity(subject: &str) -> Arc<Identity> {
    identity_in("default", subject)
}

pub fn identity_in(tenant: &str, subject: &str) -> Arc<Identity> {
    Arc::new(Identity {
        issuer: ISSUER.to_owned(),
        subject: SubjectId::new(subject).unwrap(),
        agent: "bot".parse().unwrap(),
        tenant: tenant.parse().unwrap(),
        environment: "dev".parse().unwrap(),
        task: None,
        subject_groups: BTreeSet::new(),
        subject_roles: BTreeSet::new(),
        authentication: Default::default(),
        own: Default::default(),
        agent_groups: BTreeSet::new(),
    })
}

pub fn session_key(identity: &Identity) -> SessionKey {
    SessionKey {
        tenant: identity.tenant.clone(),
        environment: identity.environment.clone(),
        issuer: identity.issuer.clone(),
        subject: identity.subject.clone(),
        agent: identity.agent.clone(),
        id: None,
    }
}

static CALLS: AtomicU64 = AtomicU64::new(0);

pub fn call(tool: &str) -> Call {
    let number = CALLS.fetch_add(1, Ordering::Relaxed);
    let id = format!("{:012x}{:08x}{number:012x}", now().0, std::process::id());
    let arguments = Object::new().with("who", "Ada Lovelace").with("note", "x".repeat(200));
    let params = Object::new().with("name", tool).with("arguments", arguments);
    let id = CallId::new(&id).unwrap();
    let mut call =
        Call::new(id, "crm".parse().unwrap(), Direction::ToUpstream, "tools/call", params).unwrap();
    call.traceparent = Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned());
    call
}

/// An operation of the gate's own.
pub fn of_the_gate(operation: &str) -> Call {
    let params = Object::new().with("name", operation).with("arguments", Object::new());
    let (id, upstream) = (call("save").id, RESERVED.parse().unwrap());
    Call::new(id, upstream, Direction::ToUpstream, "tools/call", params).unwrap()
}

pub fn facts(identity: &Arc<Identity>, session: SessionState, call: Call) -> Facts {
    Facts {
        identity: Arc::clone(identity),
        call,
        session,
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
    }
}

pub fn allowed(world: &World, facts: Facts) -> Allowed {
    match rule(world, Box::new(facts)) {
        Ruling::Allowed(allowed) => allowed,
        Ruling::Refused(refused) => panic!("{:?}", refused.decision()),
    }
}

pub fn refused(world: &World, facts: Facts) -> Refused {
    match rule(world, Box::new(facts)) {
        Ruling::Refused(refused) => refused,
        Ruling::Allowed(allowed) => panic!("{:?}", allowed.decision()),
    }
}

pub fn outcome(result: &str) -> OutcomeRecord {
    OutcomeRecord {
        state: OutcomeState::Succeeded,
        at: now(),
        code: None,
        keep_all: false,
        result: Some(Json::from(result).to_bytes()),
        label: Label::of(Author::Anyone, Confidentiality::Public),
        duration_us: 42,
        redactions: 1,
        is_error: false,
        has_asked: false,
        never_left: false,
        answer: None,
        shown: BTreeSet::new(),
    }
}

pub async fn open_write(
    store: &Store,
    world: &World,
    identity: &Arc<Identity>,
) -> Result<Permit, CommitError> {
    loop {
        let session = store.session(&session_key(identity)).await.map_err(CommitError::Failed)?;
        match store
            .commit(allowed(world, facts(identity, session, call("save"))), Terms::default())
            .await
        {
            Err(CommitError::Moved(_)) => {}
            other => return other,
        }
    }
}

pub async fn write(
    store: &Store,
    world: &World,
    identity: &Arc<Identity>,
) -> Result<(CallId, Receipt), StoreError> {
    let permit = open_write(store, world, identity).await.map_err(|error| match error {
        CommitError::Failed(error) => error,
        other => unreachable!("{other}"),
    })?;
    let (call, _, spent) = permit.spend();
    Ok((call.id, store.conclude(spent, outcome("saved")).await?))
}

pub async fn read(
    store: &Store,
    world: &World,
    identity: &Arc<Identity>,
) -> Result<(CallId, Receipt), StoreError> {
    let session = store.session(&session_key(identity)).await?;
    let permit = store.admit_read(allowed(world, facts(identity, session, call("look"))));
    let (call, _, spent) = permit.map_err(|error| panic!("{error}")).unwrap().spend();
    Ok((call.id, store.conclude(spent, outcome("found")).await?))
}

pub async fn refuse(
    store: &Store,
    world: &World,
    identity: &Arc<Identity>,
) -> Result<(CallId, Receipt), StoreError> {
    let session = store.session(&session_key(identity)).await?;
    let refused = refused(world, facts(identity, session, call("wipe")));
    let call = refused.facts().call.id.clone();
    Ok((call, store.refuse(refused).await?))
}

/// The node's own log as files, as an export has them.
pub async fn export(store: &Store) -> BTreeMap<String, Vec<u8>> {
    export_of(store, store.home()).await
}

/// The log of a tenant as files.
pub async fn export_of(store: &Store, tenant: &Tenant) -> BTreeMap<String, Vec<u8>> {
    let note = store.checkpoint_of(tenant).await.unwrap().unwrap();
    let vkey: VerifierKey = store.vkey_of(tenant).await.unwrap().parse().unwrap();
    let size = Checkpoint::open(note.as_bytes(), &vkey).unwrap().size;
    let mut files = BTreeMap::from([(CHECKPOINT_PATH.to_owned(), note.into_bytes())]);
    for level in 0..TILE_LEVELS_MAX {
        for index in 0.. {
            let width = tile_width(size, level, index);
            if width == 0 {
                break;
            }
            let mut paths = vec![tile_path(level, index, width)];
            if level == 0 {
                paths.push(bundle_path(index, width));
            }
            for path in paths {
                let bytes = store.tile_of(tenant, &path).await.unwrap();
                files.insert(path.clone(), bytes.unwrap_or_else(|| panic!("{path}")));
            }
            if width < TILE_WIDTH {
                break;
            }
        }
    }
    files
}

pub async fn verify(store: &Store) -> Result<Report, VerifyError> {
    let vkey: VerifierKey = store.vkey().parse().unwrap();
    verify_log(&export(store).await, &vkey, None, &mut |_, _| {})
}

pub async fn verify_of(store: &Store, tenant: &str) -> Result<Report, VerifyError> {
    let tenant = tenant.parse().unwrap();
    let vkey: VerifierKey = store.vkey_of(&tenant).await.unwrap().parse().unwrap();
    verify_log(&export_of(store, &tenant).await, &vkey, None, &mut |_, _| {})
}

/// The entries of a tenant's log, as its tiles have them.
pub async fn entries_of(store: &Store, tenant: &str) -> Vec<Json> {
    let files = export_of(store, &tenant.parse().unwrap()).await;
    let mut all = Vec::new();
    for (path, bytes) in &files {
        if path.starts_with("tile/entries/") {
            let mut rest = bytes.as_slice();
            while let [high, low, after @ ..] = rest {
                let (entry, others) = after.split_at(usize::from(*high) << 8 | usize::from(*low));
                all.push(Json::parse(entry, &lockgate_types::JsonLimits::OWN).unwrap());
                rest = others;
            }
        }
    }
    all
}

/// Every entry, of all logs, read.
pub async fn entries(store: &Store) -> Vec<Json> {
    let mut all = Vec::new();
    loop {
        let some = store.entries(all.len() as u64, 1000).await.unwrap();
        if some.is_empty() {
            return all;
        }
        for entry in some {
            all.push(Json::parse(&entry.leaf, &lockgate_types::JsonLimits::OWN).unwrap());
        }
    }
}

pub fn kinds(entries: &[Json]) -> Vec<&str> {
    entries.iter().map(|entry| entry.get("k").unwrap().as_str().unwrap()).collect()
}

/// Opens a store whose last holder is just letting go of it.
pub fn reopen(options: &Options) -> (Store, lockgate_store::Opened) {
    for _ in 0..1_000_000 {
        match Store::open(options.clone()) {
            Err(StoreError::AnotherWriter { .. }) => std::thread::yield_now(),
            other => return other.unwrap(),
        }
    }
    panic!("the store was never let go of");
}

/// All of them, at the same time.
pub async fn futures<T>(all: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut pending: Vec<_> = all.map(Box::pin).collect();
    let mut done: Vec<Option<T>> = pending.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, done) in pending.iter_mut().zip(&mut done) {
            if done.is_none()
                && let std::task::Poll::Ready(value) = future.as_mut().poll(context)
            {
                *done = Some(value);
            }
        }
        match done.iter().all(Option::is_some) {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
    done.into_iter().flatten().collect()
}
