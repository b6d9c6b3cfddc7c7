//! A gate for one test: a store in a directory of its own, a kernel, a bundle, callers.

use crate::upstream::Fake;
use lockgate_core::world::Files;
use lockgate_core::{World, decide};
use lockgate_effects::{Caller, EffectsSettings, Presented, Upstreams};
use lockgate_kernel::{Answer, Clock, Kernel, Proposal, Reply, ToClient, Words, system_now};
use lockgate_ledger::tiles::{TILE_LEVELS_MAX, TILE_WIDTH, bundle_path, tile_path, tile_width};
use lockgate_ledger::verify::CHECKPOINT_PATH;
use lockgate_ledger::{Checkpoint, VerifierKey, verify_log};
use lockgate_store::{Containment, Options, Receipt, Store, StoreError, Trace};
use lockgate_types::facts::Switch;
use lockgate_types::identity::Identity;
use lockgate_types::{
    CallId, Code, Digest, GroupName, Json, JsonLimits, Object, SessionId, SubjectId, UpstreamName,
};
use lockgate_wire::{Era, RpcError};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Longer than anything here takes; a test that waits for it has failed.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn json(text: &str) -> Json {
    Json::parse(text.as_bytes(), &JsonLimits::OWN).unwrap_or_else(|e| panic!("{text}: {e}"))
}

pub(crate) fn object(text: &str) -> Object {
    json(text).as_object().unwrap().clone()
}

pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("it never happened")
}

const PRINCIPALS: &str = r#"
undeclared_users = true
[agent.bot]
environments = ["dev"]
[agent.second]
environments = ["dev"]
[agent.elsewhere]
environments = ["prod"]
[user.carol]
groups = ["staff"]
"#;

const OPERATIONS: &str = r#"
[tool.look]
effect = "read"
accepted = true
schema = '{"type":"object","properties":{"who":{"type":"string"}}}'

[tool.fetch]
effect = "read"
accepted = true
destination = ["url"]
schema = '{"type":"object","properties":{"url":{"type":"string"}}}'

[tool.save]
effect = "write"
accepted = true
schema = '{"type":"object","properties":{"amount":{"type":"number"},"note":{},"deep":{"type":"object"}}}'

[tool.open]
effect = "write"
accepted = true
schema = '{"type":"object","properties":{"amount":{"type":"number"}},"additionalProperties":true}'

[tool.sealed]
effect = "write"
accepted = true

[tool.watched]
effect = "write"
accepted = true
observe = true

[tool.wipe]
effect = "destructive"
accepted = true

[tool.counted]
effect = "write"
accepted = true
schema = '{"type":"object","properties":{"amount":{"type":"integer"}},"required":["amount"]}'

[tool.owned]
effect = "write"
accepted = true
resource = { type = "Customer", argument = "customer" }
schema = '{"type":"object","properties":{"customer":{"type":"string"}}}'

[tool.agents]
effect = "read"
accepted = true

[tool.subjects]
effect = "read"
accepted = true
"#;

const POLICIES: &str = r#"
@id("work")
permit (principal, action in [
    Action::"desk/look", Action::"desk/fetch", Action::"desk/save", Action::"desk/open",
    Action::"desk/counted", Action::"desk/owned", Action::"desk:resources/read",
    Action::"desk:elicitation/create", Action::"desk:roots/list",
    Action::"lockgate/status_read", Action::"lockgate/bundle_reload"
], resource);

@id("agents")
permit (principal is Agent, action == Action::"desk/agents", resource);

@id("subjects")
permit (principal is User, action == Action::"desk/subjects", resource);

@id("no-overflow")
forbid (principal, action == Action::"desk/counted", resource)
when { context.input.amount * 4 > 400 };

@id("not-the-vip")
forbid (principal, action == Action::"desk/owned", resource == Customer::"vip");

@id("mallory")
forbid (principal == User::"mallory", action == Action::"lockgate/bundle_reload", resource);
"#;

/// What differs from test to test.
pub(crate) struct Plan {
    pub(crate) upstream: String,
    pub(crate) more: String,
    pub(crate) operations: String,
    pub(crate) policies: String,
    pub(crate) files: Vec<(&'static str, String)>,
    pub(crate) clock: Clock,
}

impl Plan {
    pub(crate) fn new() -> Self {
        let none = String::new;
        Self {
            upstream: none(),
            more: none(),
            operations: none(),
            policies: none(),
            files: Vec::new(),
            clock: Clock::system(),
        }
    }

    pub(crate) fn policy(text: &str) -> Self {
        Self { policies: text.to_owned(), ..Self::new() }
    }

    pub(crate) fn files(&self, url: &str) -> Files {
        let gate = format!(
            "environment = \"dev\"\n[upstream.desk]\nurl = \"{url}\"\nera = \"sessions\"\n{}\n{}",
            self.upstream, self.more
        );
        let text = [
            ("lockgate.toml", gate),
            ("principals.toml", PRINCIPALS.to_owned()),
            ("operations/desk.toml", format!("{OPERATIONS}\n{}", self.operations)),
            ("policies/desk.cedar", format!("{POLICIES}\n{}", self.policies)),
        ];
        text.into_iter()
            .chain(self.files.iter().cloned())
            .map(|(path, text)| (path.to_owned(), text.into_bytes()))
            .collect()
    }
}

/// A gate with an upstream.
pub(crate) struct Bed {
    pub(crate) kernel: Kernel,
    pub(crate) fake: Fake,
    /// Sent beside the params of every call.
    pub(crate) key: Mutex<Option<String>>,
    /// The trace that every call claims to be in.
    pub(crate) traceparent: Mutex<Option<String>>,
    /// The era of those who call.
    pub(crate) era: Mutex<Era>,
    /// What the person says with every call, in believed words.
    pub(crate) words: Mutex<Words>,
    pub(crate) directory: tempfile::TempDir,
}

/// A call that is over: the reply, and what the client heard before.
pub(crate) struct Done {
    pub(crate) reply: Reply,
    pub(crate) heard: Vec<String>,
}

impl Done {
    pub(crate) fn result(&self) -> String {
        match &self.reply.answer {
            Answer::Result(result) => result.to_string(),
            Answer::Error(error) => panic!("error {}: {}", error.number, error.message),
            Answer::Refused(refusal) => panic!("{}: {}", refusal.code, refusal.reason),
        }
    }

    pub(crate) fn code(&self) -> Code {
        match &self.reply.answer {
            Answer::Refused(refusal) => refusal.code,
            Answer::Result(result) => panic!("a result: {result}"),
            Answer::Error(error) => panic!("error {}: {}", error.number, error.message),
        }
    }
}

impl Bed {
    pub(crate) async fn new(fake: Fake) -> Self {
        Self::with(fake, Plan::new()).await
    }

    pub(crate) async fn with(fake: Fake, plan: Plan) -> Self {
        let bed = Self::empty(fake, &plan);
        bed.load(plan).await;
        bed
    }

    /// Without a bundle.
    pub(crate) fn empty(fake: Fake, plan: &Plan) -> Self {
        Self::at(tempfile::tempdir().unwrap(), fake, plan)
    }

    /// The same gate's next life.
    pub(crate) async fn restart(self, plan: Plan) -> Self {
        let Self { kernel, fake, directory, .. } = self;
        kernel.store().clone().close().await.unwrap();
        drop(kernel);
        let bed = Self::at(directory, fake, &plan);
        bed.load(plan).await;
        bed
    }

    /// The next life of a gate that ended as if it had been killed.
    pub(crate) async fn crash(self, plan: Plan) -> Self {
        let Self { kernel, fake, directory, .. } = self;
        drop(kernel);
        let opened = async {
            loop {
                // What nobody waits for any more lets go of it first.
                match Store::open(Self::options(directory.path())) {
                    Ok((store, _)) => return store,
                    Err(StoreError::AnotherWriter { .. }) => tokio::task::yield_now().await,
                    Err(error) => panic!("{error}"),
                }
            }
        };
        let store = soon(opened).await;
        let bed = Self::over(store, directory, fake, &plan);
        bed.load(plan).await;
        bed
    }

    fn options(directory: &std::path::Path) -> Options {
        let state = directory.join("state");
        let options = Options::new(state, "test.example/gate".to_owned(), system_now);
        Options { heartbeat: None, ..options }
    }

    fn at(directory: tempfile::TempDir, fake: Fake, plan: &Plan) -> Self {
        let (store, _) = Store::open(Self::options(directory.path())).unwrap();
        Self::over(store, directory, fake, plan)
    }

    fn over(store: Store, directory: tempfile::TempDir, fake: Fake, plan: &Plan) -> Self {
        let state = directory.path().join("state");
        let upstreams = Upstreams::new(EffectsSettings::new(state.clone()));
        let kernel = Kernel::new(store, upstreams, plan.clock.clone());
        kernel.keep_documents_in(state);
        Self {
            kernel,
            fake,
            key: Mutex::new(None),
            traceparent: Mutex::new(None),
            era: Mutex::new(Era::Sessions),
            words: Mutex::default(),
            directory,
        }
    }

    pub(crate) async fn load(&self, plan: Plan) {
        let files = plan.files(&self.fake.url);
        if let Err(error) = self.kernel.load(files.clone()).await {
            panic!("{error}: {:#?}", World::load(&files).err());
        }
    }

    pub(crate) async fn try_load(&self, plan: Plan) -> Result<(), lockgate_kernel::LoadError> {
        self.kernel.load(plan.files(&self.fake.url)).await.map(drop)
    }

    pub(crate) fn store(&self) -> &Store {
        self.kernel.store()
    }

    /// Calls a tool as alice.
    pub(crate) async fn tool(&self, tool: &str, arguments: &str) -> Done {
        self.tool_as(&identity("alice"), tool, arguments).await
    }

    pub(crate) async fn tool_as(&self, who: &Arc<Identity>, tool: &str, arguments: &str) -> Done {
        self.call(who, "tools/call", params(tool, arguments)).await
    }

    /// Makes a call whose client answers nothing.
    pub(crate) async fn call(&self, who: &Arc<Identity>, method: &str, params: Object) -> Done {
        self.call_with(who, method, params, |_, _| Err(RpcError::new(-1, "no"))).await
    }

    /// Makes a call whose client answers like this.
    pub(crate) async fn call_with(
        &self,
        who: &Arc<Identity>,
        method: &str,
        params: Object,
        answer: impl Fn(&str, &Object) -> Result<Json, RpcError>,
    ) -> Done {
        let (reply, client) = self.begin(who, None, method, params, 16);
        self.listen(reply, client, answer).await
    }

    /// Calls a tool in a session, and waits for the end.
    pub(crate) async fn tool_in(
        &self,
        who: &Arc<Identity>,
        session: &str,
        tool: &str,
        arguments: &str,
    ) -> Done {
        let asked = params(tool, arguments);
        let (reply, client) = self.begin(who, Some(session), "tools/call", asked, 16);
        self.listen(reply, client, |_, _| Err(RpcError::new(-1, "no"))).await
    }

    async fn listen(
        &self,
        reply: JoinHandle<Reply>,
        mut client: mpsc::Receiver<ToClient>,
        answer: impl Fn(&str, &Object) -> Result<Json, RpcError>,
    ) -> Done {
        let mut heard = Vec::new();
        while let Some(message) = soon(client.recv()).await {
            match message {
                ToClient::Notification { method, params } => {
                    heard.push(format!("{method} {}", Json::from(params)));
                }
                ToClient::Request { method, params, answer: to } => {
                    let _ = to.send(answer(&method, &params));
                    heard.push(format!("{method}? {}", Json::from(params)));
                }
                ToClient::StreamClosed { .. } => heard.push("closed".to_owned()),
                ToClient::Begins { .. } | ToClient::Events(_) => heard.push("a model".to_owned()),
            }
        }
        Done { reply: soon(reply).await.unwrap(), heard }
    }

    /// Starts a call of a tool as alice, whose client takes what it is told but hears nothing.
    pub(crate) fn start(&self, tool: &str, arguments: &str) -> JoinHandle<Reply> {
        let alice = identity("alice");
        let (reply, mut client) =
            self.begin(&alice, None, "tools/call", params(tool, arguments), 16);
        tokio::spawn(async move { while client.recv().await.is_some() {} });
        reply
    }

    /// Calls a tool of another upstream in a session, and waits for the end.
    pub(crate) async fn tool_at(
        &self,
        upstream: &str,
        (who, session): (&Arc<Identity>, &str),
        params: Object,
    ) -> Done {
        let (reply, client) =
            self.begin_at(upstream, who, Some(session), ("tools/call", params), 16);
        self.listen(reply, client, |_, _| Err(RpcError::new(-1, "no"))).await
    }

    /// Starts a call.
    pub(crate) fn begin(
        &self,
        who: &Arc<Identity>,
        session: Option<&str>,
        method: &str,
        params: Object,
        room: usize,
    ) -> (JoinHandle<Reply>, mpsc::Receiver<ToClient>) {
        self.begin_at("desk", who, session, (method, params), room)
    }

    fn begin_at(
        &self,
        upstream: &str,
        who: &Arc<Identity>,
        session: Option<&str>,
        (method, params): (&str, Object),
        room: usize,
    ) -> (JoinHandle<Reply>, mpsc::Receiver<ToClient>) {
        let (client, receiver) = mpsc::channel(room);
        let proposal = Proposal {
            identity: Arc::clone(who),
            session: session.map(|id| SessionId::new(id).unwrap()),
            caller: caller_in(who, *self.era.lock().unwrap()),
            presented: Presented::Nothing,
            upstream: UpstreamName::new(upstream).unwrap(),
            method: method.to_owned(),
            params,
            words: self.words.lock().unwrap().clone(),
            traceparent: self.traceparent.lock().unwrap().clone(),
            key: self.key.lock().unwrap().clone(),
            model: None,
            client,
        };
        let kernel = self.kernel.clone();
        (tokio::spawn(async move { kernel.call(proposal).await }), receiver)
    }

    /// Every entry of the log.
    pub(crate) async fn entries(&self) -> Vec<Json> {
        entries(self.store()).await
    }

    /// The entries that are about calls: their kinds and how they ended.
    pub(crate) async fn story(&self) -> Vec<String> {
        let entries = self.entries().await;
        let word = |entry: &Json, name| entry.get(name).and_then(Json::as_str).map(str::to_owned);
        let story = entries.iter().filter_map(|entry| {
            let kind = word(entry, "k")?;
            match kind.as_str() {
                "intent" | "refusal" | "repeat" => {
                    Some(format!("{kind} {}", word(entry, "operation").unwrap_or_default()))
                }
                "outcome" => Some(format!("{kind} {}", word(entry, "state")?)),
                "resolution" => {
                    Some(format!("{kind} {} {}", word(entry, "state")?, word(entry, "by")?))
                }
                "turned_away" => Some(format!("{kind} {}", word(entry, "code")?)),
                _ => None,
            }
        });
        story.collect()
    }

    pub(crate) async fn trace(&self, call: &CallId) -> Trace {
        self.store().trace(call).await.unwrap().expect("there is no such call")
    }

    /// A recorded part of the first entry of a call.
    pub(crate) async fn part(&self, call: &CallId, name: &str) -> Json {
        let trace = self.trace(call).await;
        let lockgate_store::Payload::Present(parts) = &trace.entries[0].payload else {
            panic!("nothing is recorded")
        };
        let part = parts.iter().find(|part| part.name == name).unwrap();
        Json::parse(&part.bytes, &JsonLimits::OWN).unwrap()
    }

    /// The log verifies, no call is open, and every decision is made again to the same bytes.
    pub(crate) async fn audit(&self) -> usize {
        let store = self.store();
        let vkey: VerifierKey = store.vkey().parse().unwrap();
        verify_log(&export(store).await, &vkey, None, &mut |_, _| {}).unwrap();

        let entries = self.entries().await;
        let of = |kind: &str| -> Vec<String> {
            let of_kind = entries.iter().filter(|e| e.get("k").unwrap().as_str() == Some(kind));
            of_kind.map(|entry| entry.get("call").unwrap().as_str().unwrap().to_owned()).collect()
        };
        let (mut intents, mut outcomes) = (of("intent"), of("outcome"));
        intents.sort_unstable();
        outcomes.sort_unstable();
        assert_eq!(intents, outcomes, "every intent has one outcome");

        let mut worlds: BTreeMap<Digest, World> = BTreeMap::new();
        let (mut from, mut replayed) = (0, 0);
        loop {
            let page = store.records(from, 512).await.unwrap();
            for record in page.records {
                if let Entry::Vacant(unknown) = worlds.entry(record.bundle) {
                    let files = store.bundle(&record.bundle).await.unwrap().unwrap();
                    unknown.insert(World::load(&files).unwrap());
                }
                if record.is_too_large {
                    continue;
                }
                let recorded = record.recorded.unwrap();
                let again = decide(&worlds[&record.bundle], &recorded.facts().unwrap());
                assert_eq!(again.to_canonical(), recorded.decision, "replayed otherwise");
                replayed += 1;
            }
            from = page.next;
            if from >= page.size {
                return replayed;
            }
        }
    }
}

pub(crate) async fn entries(store: &Store) -> Vec<Json> {
    let mut all = Vec::new();
    loop {
        let some = store.entries(all.len() as u64, 1000).await.unwrap();
        if some.is_empty() {
            return all;
        }
        all.extend(some.iter().map(|e| Json::parse(&e.leaf, &JsonLimits::OWN).unwrap()));
    }
}

/// The whole log as files, as somebody else gets them.
async fn export(store: &Store) -> BTreeMap<String, Vec<u8>> {
    let note = store.checkpoint().await.unwrap();
    let vkey: VerifierKey = store.vkey().parse().unwrap();
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
                files.insert(path.clone(), store.tile(&path).await.unwrap().unwrap());
            }
            if width < TILE_WIDTH {
                break;
            }
        }
    }
    files
}

pub(crate) fn params(tool: &str, arguments: &str) -> Object {
    Object::new().with("name", tool).with("arguments", json(arguments))
}

pub(crate) fn identity(subject: &str) -> Arc<Identity> {
    let groups: &[&str] = if subject == "carol" { &["staff"] } else { &[] };
    Arc::new(Identity {
        issuer: "test".to_owned(),
        subject: SubjectId::new(subject).unwrap(),
        agent: "bot".parse().unwrap(),
        tenant: "default".parse().unwrap(),
        environment: "dev".parse().unwrap(),
        task: None,
        subject_groups: groups.iter().map(|group| GroupName::new(group).unwrap()).collect(),
        subject_roles: BTreeSet::new(),
        authentication: Default::default(),
        own: Default::default(),
        agent_groups: BTreeSet::new(),
    })
}

pub(crate) fn caller(who: &Identity) -> Arc<Caller> {
    caller_in(who, Era::Sessions)
}

fn caller_in(who: &Identity, era: Era) -> Arc<Caller> {
    Arc::new(Caller {
        session_key: who.subject.as_str().to_owned(),
        era,
        capabilities: object(r#"{"elicitation":{},"sampling":{},"roots":{}}"#),
        ..Caller::default()
    })
}

/// Throws a switch and records it.
pub(crate) async fn throw(
    store: &Store,
    switch: Switch,
    by: &CallId,
) -> (Result<Containment, StoreError>, Result<Receipt, StoreError>) {
    let thrown = store.throw(&switch).await;
    (thrown, store.record_thrown(switch, by).await)
}
