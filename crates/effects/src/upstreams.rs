//! Every upstream of the bundle, and the only ways out to them.

use crate::api;
use crate::breaker::{Watch, Watcher};
use crate::caller::Caller;
use crate::catalogue::Catalogue;
use crate::credential::{Access, Presented, Speaker, SwitchesOn};
use crate::database;
use crate::exchange::{Event, Exchange, Running, pair};
use crate::health::Health;
use crate::memory::{self, Hands};
use crate::perform::{note, perform};
use crate::post::answer_bytes;
use crate::search::{self, Search};
use crate::trouble::EffectError;
use crate::upstream::{Plans, Upstream, Voice, Way, fingerprint};
use crate::way::plans;
use crate::{listen, model};
use lockgate_core::{World, declare};
use lockgate_store::{Asker, Pass, Permit, ReadPermit, RoomForRows, Store};
use lockgate_types::call::{Call, Reading};
use lockgate_types::decision::Decision;
use lockgate_types::facts::{Broken, Switch};
use lockgate_types::{Code, Digest, Json, Micros, Object, OperationName, UpstreamName};
use lockgate_wire::{Era, Notification, RequestId, RpcError};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock, PoisonError, RwLock, Weak};
use std::time::Duration;
use tokio::sync::mpsc;

/// How often it is looked for what nobody uses.
const SWEEP: Duration = Duration::from_secs(30);

/// How often it is looked for tokens of what a switch has stopped.
const DROP_EVERY: Duration = Duration::from_secs(1);

/// The bounds of everything that reaches out, besides what the bundle says.
#[derive(Clone, Debug)]
pub struct EffectsSettings {
    /// Where the gate keeps its state. No child process is ever told.
    pub state_directory: PathBuf,
    /// Open sessions with one HTTP upstream.
    pub sessions_max: usize,
    /// Running processes of one upstream.
    pub processes_max: usize,
    /// How long a session or process is kept that nobody uses.
    pub idle: Duration,
}

impl EffectsSettings {
    /// The usual bounds.
    pub fn new(state_directory: PathBuf) -> Self {
        Self {
            state_directory,
            sessions_max: 10_000,
            processes_max: 64,
            idle: Duration::from_secs(30 * 60),
        }
    }
}

/// The upstreams are those of another bundle than the one that was asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnotherBundle;

/// Every upstream. Cheap to clone.
#[derive(Clone)]
pub struct Upstreams(Arc<Registry>);

struct Registry {
    settings: EffectsSettings,
    table: RwLock<BTreeMap<UpstreamName, Arc<Upstream>>>,
    /// The databases and APIs of the bundle before: what was decided under it is read and performed
    /// as it says, also while another takes over.
    before: RwLock<BTreeMap<UpstreamName, Arc<Upstream>>>,
    /// Which switches are on, once somebody knows.
    switches: SwitchesOn,
    /// Where memos are kept, once there is such a place.
    memos: OnceLock<Store>,
    /// Who searches registered sources, once there is somebody.
    searcher: OnceLock<Arc<dyn Search>>,
}

/// What a call has to pass on its way out.
pub(crate) struct Through {
    /// What is asked before bytes leave.
    pub(crate) pass: Option<Pass>,
    /// What its circuit breakers see of it.
    pub(crate) watch: Watch,
    /// How many rows caps let it change; `None`: as many as the bundle does.
    pub(crate) room: Option<RoomForRows>,
    /// For whom it is, as the permit has it.
    pub(crate) asker: Option<Asker>,
}

impl Upstreams {
    /// A registry without upstreams.
    pub fn new(settings: EffectsSettings) -> Self {
        let (table, before) = (RwLock::default(), RwLock::default());
        let (switches, memos) = (SwitchesOn::default(), OnceLock::new());
        let searcher = OnceLock::new();
        Self(Arc::new(Registry { settings, table, before, switches, memos, searcher }))
    }

    /// Has somebody say which switches are on: what they stop gets no token, and loses those that
    /// it had. Said once.
    pub fn watch_switches(&self, on: impl Fn() -> Vec<Switch> + Send + Sync + 'static) {
        let _ = self.0.switches.set(Box::new(on));
    }

    /// Says where what agents remember is kept. Said once.
    pub fn keep_memos_in(&self, store: Store) {
        let _ = self.0.memos.set(store);
    }

    /// Says who searches registered sources. Said once.
    pub fn search_by(&self, searcher: Arc<dyn Search>) {
        let _ = self.0.searcher.set(searcher);
    }

    /// Drops the tokens of what a switch has stopped: now, where one was thrown here.
    pub fn drop_stopped(&self) {
        for upstream in self.read().values() {
            if let Some(credentials) = &upstream.credentials {
                credentials.drop_stopped();
            }
        }
    }

    /// Takes over what a bundle says: new upstreams are there, removed ones end, unchanged ones go
    /// on undisturbed. Databases and APIs are those of their bundle, since their tools are.
    ///
    /// A call on its way to an upstream that is removed or changed is finished with what it began
    /// with.
    pub async fn configure(&self, world: &World) {
        let answer_bytes_max = usize::try_from(world.gate.limits.answer_bytes_max);
        let (declared, plans) = (&world.gate.upstream, plans(world));
        self.take_over(declared, answer_bytes_max.unwrap_or(usize::MAX), plans);
    }

    /// What the statement of a call reads, or where its request goes, if it is one: found out from
    /// the call and the bundle alone, before it is decided.
    pub fn reading(&self, bundle: &Digest, call: &Call) -> Result<Option<Reading>, AnotherBundle> {
        let Some(upstream) = self.find_of(&call.upstream, Some(bundle)) else { return Ok(None) };
        if upstream.bundle().is_some_and(|own| own != bundle) {
            return Err(AnotherBundle);
        }
        match &upstream.way {
            Way::Database(database) if call.method == "tools/call" => Ok(database.plan.read(call)),
            Way::Api(api) if call.method == "tools/call" => Ok(api.read(call)),
            Way::Database(_)
            | Way::Api(_)
            | Way::Memory(_)
            | Way::Library(_)
            | Way::Model(_)
            | Way::Http { .. }
            | Way::Child(_)
            | Way::Broken(_) => Ok(None),
        }
    }

    pub(crate) fn take_over(
        &self,
        declared: &BTreeMap<String, declare::Upstream>,
        answer_bytes_max: usize,
        mut plans: BTreeMap<String, (Digest, Plans)>,
    ) {
        let mut table = BTreeMap::new();
        let old = self.read();
        for (name, declared) in declared {
            let plan = plans.remove(name);
            let Ok(name) = UpstreamName::new(name) else { continue };
            let bundle = plan.as_ref().map(|(bundle, _)| bundle);
            let wanted = fingerprint(declared, answer_bytes_max, bundle);
            let same = old.get(&name).filter(|old| old.fingerprint == wanted);
            let upstream = match same {
                Some(same) => Arc::clone(same),
                None => self.start(name.clone(), declared, answer_bytes_max, plan),
            };
            table.insert(name, upstream);
        }
        let kept: Vec<Arc<Upstream>> = table.values().map(Arc::clone).collect();
        let is_replaced = |(_, old): &(&UpstreamName, &Arc<Upstream>)| {
            old.bundle().is_some() && !kept.iter().any(|kept| Arc::ptr_eq(kept, old))
        };
        let replaced = old.iter().filter(is_replaced);
        let replaced: BTreeMap<_, _> =
            replaced.map(|(name, old)| (name.clone(), Arc::clone(old))).collect();
        if !replaced.is_empty() {
            *self.0.before.write().unwrap_or_else(PoisonError::into_inner) = replaced;
        }
        *self.0.table.write().unwrap_or_else(PoisonError::into_inner) = table;
        for upstream in old.values() {
            if !kept.iter().any(|kept| Arc::ptr_eq(kept, upstream)) {
                upstream.remove();
            }
        }
    }

    fn start(
        &self,
        name: UpstreamName,
        declared: &declare::Upstream,
        answer_bytes_max: usize,
        plan: Option<(Digest, Plans)>,
    ) -> Arc<Upstream> {
        let settings = &self.0.settings;
        let switches = &self.0.switches;
        let upstream = Upstream::new(name, declared, answer_bytes_max, settings, plan, switches);
        let upstream = Arc::new(upstream);
        if upstream.credentials.as_ref().is_some_and(|it| it.has_tokens()) {
            tokio::spawn(drop_stopped(Arc::downgrade(&upstream)));
        }
        tokio::spawn(sweep(Arc::downgrade(&upstream), settings.idle));
        upstream
    }

    fn read(&self) -> BTreeMap<UpstreamName, Arc<Upstream>> {
        self.0.table.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn find(&self, name: &UpstreamName) -> Option<Arc<Upstream>> {
        self.0.table.read().unwrap_or_else(PoisonError::into_inner).get(name).map(Arc::clone)
    }

    /// The upstream as a bundle described it, if that is known; else as it is now.
    fn find_of(&self, name: &UpstreamName, bundle: Option<&Digest>) -> Option<Arc<Upstream>> {
        let now = self.find(name);
        let is_of = |upstream: &Upstream| match upstream.bundle() {
            Some(own) => Some(own) == bundle,
            None => true,
        };
        if now.as_ref().is_some_and(|now| is_of(now)) {
            return now;
        }
        let before = self.0.before.read().unwrap_or_else(PoisonError::into_inner);
        before.get(name).filter(|before| is_of(before)).cloned().or(now)
    }

    pub(crate) fn get(&self, name: &UpstreamName) -> Result<Arc<Upstream>, EffectError> {
        self.find(name).ok_or_else(|| EffectError::Unknown { name: name.clone() })
    }

    pub(crate) fn switches(&self) -> SwitchesOn {
        Arc::clone(&self.0.switches)
    }

    /// The circuit breaker that stops a call now, if one does.
    pub fn broken(&self, bundle: &Digest, call: &Call, now: Micros) -> Option<Broken> {
        self.find_of(&call.upstream, Some(bundle))?.breaker.about(call, now)
    }

    /// Whether an operation of an upstream is left alone now, because it fails.
    pub fn is_broken(
        &self,
        upstream: &UpstreamName,
        operation: &OperationName,
        now: Micros,
    ) -> bool {
        self.find(upstream).is_some_and(|it| it.breaker.stops(operation, now))
    }

    /// Lets an allowed call through the circuit breakers of its upstream, or says which stops it.
    pub fn enter(
        &self,
        bundle: &Digest,
        call: &Call,
        watcher: &Arc<Watcher>,
    ) -> Result<Watch, Broken> {
        match self.find_of(&call.upstream, Some(bundle)) {
            Some(upstream) => upstream.breaker.enter(call, watcher),
            None => Ok(Watch::NONE),
        }
    }

    /// Performs a call that a recorded decision allows (I1). The permit is consumed.
    ///
    /// The call runs in a task of its own: whoever drops the exchange loses its events, not the
    /// call.
    pub fn perform(
        &self,
        permit: Permit,
        caller: Arc<Caller>,
        presented: Presented,
        watch: Watch,
    ) -> Exchange {
        let (pass, room, asker) = (Some(permit.pass()), permit.room_for_rows(), permit.asker());
        let (call, decision, spent) = permit.spend();
        let (caller, through) = ((caller, presented), Through { pass, watch, room, asker });
        Exchange::new(self.launch_at(call, Some(decision), caller, through), spent)
    }

    /// Performs a read that a decision allows and whose record is committed before its reply.
    pub fn perform_read(
        &self,
        permit: ReadPermit,
        caller: Arc<Caller>,
        presented: Presented,
        watch: Watch,
    ) -> Exchange {
        let (pass, asker) = (Some(permit.pass()), permit.asker());
        let (call, decision, spent) = permit.spend();
        let (caller, through) = ((caller, presented), Through { pass, watch, room: None, asker });
        Exchange::new(self.launch_at(call, Some(decision), caller, through), spent)
    }

    /// Sends a call on its way without a permit.
    #[cfg(test)]
    pub(crate) fn launch(&self, call: Call, caller: Arc<Caller>) -> Running {
        let through = Through { pass: None, watch: Watch::NONE, room: None, asker: None };
        self.launch_at(call, None, (caller, Presented::Nothing), through)
    }

    /// Sends a call on its way. Only what consumes a permit comes here.
    fn launch_at(
        &self,
        call: Call,
        decision: Option<Decision>,
        (caller, presented): (Arc<Caller>, Presented),
        through: Through,
    ) -> Running {
        let bundle = decision.as_ref().map(|decision| &decision.bundle);
        let Some(upstream) = self.find_of(&call.upstream, bundle) else {
            return Running::unsendable(&call.upstream);
        };
        let (mut running, mut far) = pair(&upstream.changes);
        // What nobody decided is no read.
        let access =
            decision.as_ref().map_or(Access::Write, |decision| Access::of(decision.effect));
        far.speaker = Speaker::calling(&caller, access, presented);
        if let Way::Database(_) = &upstream.way {
            running.is_with_database = true;
            let performing = database::perform(upstream, call, decision, caller.era, through, far);
            tokio::spawn(Box::pin(performing));
            return running;
        }
        if let Way::Memory(_) = &upstream.way {
            let (store, asker) = (self.0.memos.get().cloned(), through.asker.clone());
            let hands = Hands { store, asker, decision, era: caller.era };
            tokio::spawn(Box::pin(memory::perform(upstream, call, hands, through, far)));
            return running;
        }
        if let Way::Library(_) = &upstream.way {
            let facts = through.asker.as_ref().and_then(|asker| asker.facts.clone());
            let searcher = self.0.searcher.get().cloned();
            let hands = search::Hands { searcher, facts, decision, era: caller.era };
            tokio::spawn(Box::pin(search::perform(upstream, call, hands, through, far)));
            return running;
        }
        let through = (through.pass, through.watch);
        if let Way::Api(_) = &upstream.way {
            let performing = api::perform(upstream, call, decision, caller.era, through, far);
            tokio::spawn(Box::pin(performing));
            return running;
        }
        if let Way::Model(_) = &upstream.way {
            tokio::spawn(Box::pin(model::perform(upstream, call, through, far)));
            return running;
        }
        // Boxed: spawning moves a task's state several times.
        tokio::spawn(Box::pin(perform(upstream, call, caller, through, far)));
        running
    }

    /// What an upstream offers to callers that declare what this one does.
    pub async fn catalogue(
        &self,
        upstream: &UpstreamName,
        caller: &Caller,
    ) -> Result<Arc<Catalogue>, EffectError> {
        self.get(upstream)?.catalogue(caller).await
    }

    /// What an upstream offered when somebody last asked, without asking.
    pub fn known_catalogue(
        &self,
        upstream: &UpstreamName,
        caller: &Caller,
    ) -> Option<Arc<Catalogue>> {
        self.find(upstream)?.known_catalogue(caller)
    }

    /// What a database does not bear out of what the bundle says of it: tables and columns that are
    /// not there, and rights beyond reading. Nothing of other upstreams.
    pub async fn findings(&self, upstream: &UpstreamName) -> Vec<String> {
        let Some(upstream) = self.find(upstream) else { return Vec::new() };
        let Way::Database(database) = &upstream.way else { return Vec::new() };
        let found = database.findings().await;
        found.unwrap_or_else(|trouble| vec![format!("{}: {}", trouble.code, trouble.detail)])
    }

    /// Passes on what a client says outside of calls.
    ///
    /// Opening and closing a session is the gate's own affair with the upstream, and what has no
    /// meaning in the upstream's era is not said.
    pub async fn notify(
        &self,
        upstream: &UpstreamName,
        caller: &Arc<Caller>,
        method: &str,
        params: Object,
    ) -> Result<(), EffectError> {
        let upstream = self.get(upstream)?;
        if method == "notifications/initialized" {
            return Ok(());
        }
        // Where no session is open there is nobody who could be told.
        let Some(voice) = upstream.open_voice(&caller.session_key) else { return Ok(()) };
        let notification = Notification::new(method, params);
        let told = tokio::time::timeout(upstream.timeout, voice.notify(&notification)).await;
        let told = told.unwrap_or_else(|_| {
            let detail = "the upstream did not take a notification in time";
            Err(crate::trouble::Trouble::after(Code::UpstreamTimeout, detail))
        });
        if let Err(trouble) = &told {
            note(&upstream, trouble);
        }
        Ok(told?)
    }

    /// What an upstream says to this caller outside of calls, for as long as somebody reads it.
    pub async fn listen(
        &self,
        upstream: &UpstreamName,
        caller: &Arc<Caller>,
    ) -> mpsc::Receiver<Event> {
        let (events, receiver) = mpsc::channel(listen::EVENTS_MAX);
        if let Some(upstream) = self.find(upstream) {
            tokio::spawn(listen::listen(upstream, Arc::clone(caller), events));
        }
        receiver
    }

    /// Answers a request that an upstream made outside of calls: one from [`Upstreams::listen`].
    pub async fn answer(
        &self,
        upstream: &UpstreamName,
        caller: &Arc<Caller>,
        request: &RequestId,
        outcome: Result<Json, RpcError>,
    ) -> Result<(), EffectError> {
        let upstream = self.get(upstream)?;
        let Some(voice) = upstream.open_voice(&caller.session_key) else { return Ok(()) };
        let body = answer_bytes(request.clone(), outcome);
        match voice {
            Voice::Session(http, session) => {
                let speaker = &session.speaker;
                crate::post::deliver(&http, session.headers(), body, speaker).await?;
            }
            Voice::Child(child) if child.era == Era::Sessions => child.write(body).await?,
            Voice::Child(_) | Voice::Stateless(_) => {}
        }
        Ok(())
    }

    /// Ends every upstream session of that caller.
    pub async fn close_session(&self, key: &str) {
        for upstream in self.read().values() {
            upstream.close_session(key);
            if let Some(credentials) = &upstream.credentials {
                credentials.end_session(key);
            }
        }
    }

    /// As if the upstream had said that a list changed.
    #[cfg(test)]
    pub(crate) fn changed_for_tests(&self, name: &UpstreamName) {
        if let Some(upstream) = self.find(name) {
            upstream.changes.note("notifications/tools/list_changed");
        }
    }

    /// How every upstream is doing.
    pub fn health(&self) -> Vec<Health> {
        self.read().values().map(|upstream| upstream.health()).collect()
    }
}

/// Drops the tokens of what was stopped anywhere in the fleet, for as long as the upstream is
/// there.
async fn drop_stopped(upstream: Weak<Upstream>) {
    loop {
        tokio::time::sleep(DROP_EVERY).await;
        let Some(upstream) = upstream.upgrade() else { return };
        if let Some(credentials) = &upstream.credentials {
            credentials.drop_stopped();
        }
    }
}

/// Ends what nobody uses, for as long as the upstream is there.
async fn sweep(upstream: Weak<Upstream>, idle: Duration) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let Some(upstream) = upstream.upgrade() else { return };
        upstream.close_idle(idle);
    }
}
