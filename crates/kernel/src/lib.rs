//! The life of a call: facts → decide → record → perform → record.
//!
//! The kernel holds the four parts that a call passes through (world, store, upstreams, clock) and
//! the one path through them. It does not know protocols' wires or how tokens are verified; faces
//! do. It does not decide; core does.

mod admin;
mod admit;
mod again;
mod approve;
mod broken;
mod claim;
mod clock;
mod evaluation;
mod flow;
mod gather;
mod label;
mod library;
mod life;
mod listing;
mod memory;
mod model;
mod obligation;
mod own;
mod plan;
mod port;
mod presence;
mod rate;
mod recall;
mod refusal;
mod requested;
mod retriever;
mod reverse;
mod risk;
mod run;
mod session;
mod sources;
mod uses;
mod watching;
mod words;

pub use admin::Ahead;
pub use again::EFFECT_META;
pub use clock::{Clock, system_now};
pub use evaluation::{HandedIn, evaluation_answer, evaluation_request};
pub use flow::{REMEMBERED_BYTES_MAX, SESSIONS_REMEMBERED_MAX, links};
pub use library::Library;
pub use listing::{Introduction, ListKind, Listing};
pub use lockgate_retrieval::corpus::{Difference, Snapshot, SnapshotState};
pub use lockgate_retrieval::ingest::worker::main as read_documents;
pub use model::{
    ATTEMPTS_MAX, KEPT_BYTES_MAX, Listed, ModelCall, ModelRequest, OfRun, SHADOWS_MAX, Trial,
};
pub use session::{JOINED_MAX, OPENED_LASTS_S};
pub use sources::{
    Bringing, Ended, FollowedSource, Reader, SOURCES_RUN_AT_ONCE_MAX, Sharing, SourceReaders,
    SourceStanding, SourceView,
};
pub use uses::{FedSession, Followed, Use, Uses};
pub use words::{TEXTS_MAX, Words};

pub use port::{Answer, ClientPort, PENDING, Proposal, Refusal, Reply, Resumes, ToClient, Waits};
pub use run::{RUN_INPUT_BYTES_MAX, RUNS_AT_ONCE_MAX, RunEntries};

use crate::refusal::not_recorded;
use arc_swap::ArcSwapOption;
use lockgate_core::world::Files;
use lockgate_core::{Mistake, World};
use lockgate_effects::{Caller, Presented, Upstreams, Watcher};
use lockgate_retrieval::corpus::CorpusError;
use lockgate_store::{ClientSession, SessionKey, Store, StoreError, TurnedAway};
use lockgate_types::identity::{Claims, Identity};
use lockgate_types::{CallId, Code, Digest, Micros, Object, SessionId, UpstreamName};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use tokio::sync::{Mutex, Notify, mpsc};

/// Messages outside of calls that wait for one client.
const LISTEN_QUEUE_MAX: usize = 64;

/// The kernel of one gate. Cheap to clone.
#[derive(Clone)]
pub struct Kernel {
    parts: Arc<Parts>,
}

struct Parts {
    /// What rules now. `None` until a bundle is loaded: everything is denied (I3).
    world: Arc<ArcSwapOption<World>>,
    store: Store,
    upstreams: Upstreams,
    clock: Clock,
    /// What circuit breakers tell.
    watcher: Arc<Watcher>,
    /// Held while a bundle takes over: what was recorded last is what rules.
    adopting: Mutex<()>,
    /// Somebody has answered a request for approval at this node.
    answered: Notify,
    /// What is left of rates here.
    rates: rate::Rates,
    /// What sessions have seen.
    flows: flow::Flows,
    /// Who has joined which session.
    joined: session::Joined,
    /// Entries of the registry that are tried out.
    trials: model::Trials,
    /// What is counted of sessions and subjects here.
    watches: risk::Watches,
    /// When effects in doubt are looked at again.
    settling: std::sync::Mutex<BTreeMap<CallId, again::Settling>>,
    /// The runs that are driven here.
    runs: run::Runs,
    /// The sources of documents that are brought in here.
    sources: sources::Sources,
    /// What registered sources have, once there is a place for it.
    library: OnceLock<Library>,
    /// What is noticed of searches.
    watching: watching::Watching,
}

/// Why a bundle was not loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It has mistakes; the last good one stays.
    #[error("the bundle has {} mistakes", .0.len())]
    Mistakes(Vec<Mistake>),
    /// It could not be recorded, and what is not recorded does not rule.
    #[error("the bundle could not be recorded")]
    Store(#[source] StoreError),
    /// What its sources are kept in could not be opened.
    #[error("the corpus of its sources could not be opened")]
    Corpus(#[source] CorpusError),
    /// The compilation ended early.
    #[error("the bundle's compilation was cancelled")]
    Cancelled,
}

impl Kernel {
    /// A kernel without a bundle.
    pub fn new(store: Store, upstreams: Upstreams, clock: Clock) -> Self {
        let world = Arc::new(ArcSwapOption::empty());
        let adopting = Mutex::new(());
        let settling = std::sync::Mutex::default();
        let watcher = broken::watcher(&store, &clock, &world);
        let asked = store.clone();
        upstreams.watch_switches(move || asked.switches());
        upstreams.keep_memos_in(store.clone());
        let answered = Notify::new();
        let rates = rate::Rates::default();
        let flows = flow::Flows::default();
        let joined = session::Joined::default();
        let trials = model::Trials::of(store.clone());
        let watches = risk::Watches::default();
        let runs = run::Runs::of(clock.mint());
        let sources = sources::Sources::default();
        let parts = Parts {
            world,
            store,
            upstreams,
            clock,
            watcher,
            adopting,
            answered,
            rates,
            flows,
            trials,
            joined,
            watches,
            settling,
            runs,
            sources,
            library: OnceLock::new(),
            watching: watching::Watching::default(),
        };
        Self { parts: Arc::new(parts) }
    }

    /// Says beneath which directory the corpus of registered sources is kept; in a fleet it is in
    /// the store's database. Said once, before a bundle with sources is loaded: without it,
    /// searches are refused.
    pub fn keep_documents_in(&self, directory: PathBuf) {
        let library = Library::new(directory, self.parts.store.shared_address());
        if self.parts.library.set(library.clone()).is_ok() {
            let (world, store) = (Arc::clone(&self.parts.world), self.parts.store.clone());
            let watching = self.parts.watching.clone();
            let searcher = library::Searcher { library, world, store, watching };
            self.parts.upstreams.search_by(Arc::new(searcher));
        }
    }

    /// What registered sources have. `None`: nobody has said where it is kept.
    pub fn library(&self) -> Option<&Library> {
        self.parts.library.get()
    }

    /// The bundle that rules now.
    pub fn world(&self) -> Option<Arc<World>> {
        self.parts.world.load_full()
    }

    /// The record, for the admin API.
    pub fn store(&self) -> &Store {
        &self.parts.store
    }

    /// The upstreams, for the admin API.
    pub fn upstreams(&self) -> &Upstreams {
        &self.parts.upstreams
    }

    /// The clock of this gate.
    pub fn clock(&self) -> &Clock {
        &self.parts.clock
    }

    /// Compiles, records and swaps in a bundle. Calls that were already decided keep the bundle
    /// they had.
    pub async fn load(&self, files: Files) -> Result<Digest, LoadError> {
        let compiled = tokio::task::spawn_blocking(move || {
            let world = lockgate_effects::load(&files);
            (world, files)
        });
        let (world, files) = compiled.await.map_err(|_| LoadError::Cancelled)?;
        self.adopt(world.map_err(LoadError::Mistakes)?, &files).await
    }

    /// Records and swaps in a compiled bundle. To its end, whoever stops waiting for it.
    pub async fn adopt(&self, world: World, files: &Files) -> Result<Digest, LoadError> {
        self.install(world, files, false).await
    }

    /// Swaps in the compiled bundle that rules the fleet already.
    pub async fn follow(&self, world: World, files: &Files) -> Result<Digest, LoadError> {
        self.install(world, files, true).await
    }

    async fn install(
        &self,
        world: World,
        files: &Files,
        rules_already: bool,
    ) -> Result<Digest, LoadError> {
        let (kernel, files) = (self.clone(), files.clone());
        let adopting = tokio::spawn(async move {
            let parts = &kernel.parts;
            let _turn = parts.adopting.lock().await;
            let world = Arc::new(world);
            let digest = world.digest;
            let recorded = match rules_already {
                true => parts.store.follow_bundle(digest, &files).await,
                false => parts.store.publish_bundle(digest, &files).await,
            };
            recorded.map_err(LoadError::Store)?;
            kernel.open_library(&world).await?;
            let kept = parts.store.canaries(model::Trials::keys(&world)).await;
            parts.trials.keep(&world, kept.map_err(LoadError::Store)?);
            parts.upstreams.configure(&world).await;
            kernel.warm(&world);
            parts.world.store(Some(world));
            parts.sources.wake();
            Ok(digest)
        });
        adopting.await.map_err(|_| LoadError::Cancelled)?
    }

    /// Opens what the sources of a bundle are kept in, before it rules.
    async fn open_library(&self, world: &Arc<World>) -> Result<(), LoadError> {
        let Some(library) = self.parts.library.get().cloned() else { return Ok(()) };
        let world = Arc::clone(world);
        let bundle = self.parts.sources.bundle();
        let opening =
            tokio::task::spawn_blocking(move || library.open(&world, &bundle, &mut |_| {}));
        let opened = opening.await.map_err(|_| LoadError::Cancelled)?;
        opened.map_err(LoadError::Corpus)
    }

    /// Has every upstream asked what it offers, so that the first call need not wait for it, and so
    /// that its health is known.
    fn warm(&self, world: &World) {
        for name in world.gate.upstream.keys() {
            let Ok(upstream) = UpstreamName::new(name) else { continue };
            let upstreams = self.parts.upstreams.clone();
            tokio::spawn(async move {
                if let Err(error) = upstreams.catalogue(&upstream, &Caller::default()).await {
                    tracing::warn!(%upstream, %error, "an upstream did not say what it offers");
                }
            });
        }
    }

    /// Who a verified token means.
    pub fn identify(&self, claims: &Claims) -> Result<Arc<Identity>, Refusal> {
        let world = self.world().ok_or_else(|| Refusal::of(Code::NoBundle))?;
        lockgate_core::identify::identify(&world, claims).map(Arc::new).map_err(Refusal::of)
    }

    /// Forwards a client's notification to an upstream. Notifications carry no operation: they
    /// belong to calls and sessions that were decided, so only those of the protocol pass, with the
    /// members it gives them and no others.
    pub async fn notify(
        &self,
        caller: &Arc<Caller>,
        upstream: &UpstreamName,
        method: &str,
        params: Object,
    ) {
        let members: &[&str] = match method {
            "notifications/initialized" | "notifications/roots/list_changed" => &[],
            "notifications/cancelled" => &["requestId", "reason"],
            "notifications/progress" => &["progressToken", "progress", "total", "message"],
            _ => return,
        };
        let params = params.into_iter().filter(|(name, _)| members.contains(&name.as_str()));
        let params = params.collect();
        if let Err(error) = self.parts.upstreams.notify(upstream, caller, method, params).await {
            tracing::debug!(%upstream, method, %error, "a notification was not delivered");
        }
    }

    /// What an upstream says outside of calls. Listening is an operation like any other, decided
    /// and recorded when it begins; what is heard meets its obligations, requests are decided one
    /// by one, and a change of the bundle ends it. Refused, the stream is silent.
    pub async fn listen(
        &self,
        identity: &Arc<Identity>,
        session: Option<SessionId>,
        caller: &Arc<Caller>,
        upstream: &UpstreamName,
    ) -> mpsc::Receiver<ToClient> {
        let (sender, receiver) = mpsc::channel(LISTEN_QUEUE_MAX);
        let kernel = self.clone();
        let origin = reverse::Origin {
            identity: Arc::clone(identity),
            session,
            caller: Arc::clone(caller),
            presented: Presented::Nothing,
            upstream: upstream.clone(),
            within: None,
            asks_for: None,
            obligations: Vec::new(),
            heard: Words::default(),
            aside: Arc::default(),
        };
        tokio::spawn(async move {
            if let Err(refusal) = Box::pin(kernel.hear(origin, sender)).await {
                tracing::info!(code = %refusal.code, "listening was refused");
            }
        });
        receiver
    }

    /// Closes what belongs to a client's session at the upstreams.
    pub async fn close_session(&self, caller: &Caller) {
        self.parts.upstreams.close_session(&caller.session_key).await;
    }

    /// Keeps what a client opened a session with, for as long as one may be idle. Gives until when.
    pub async fn keep_client_session(
        &self,
        identity: &Identity,
        id: &SessionId,
        opening: &[u8],
    ) -> Result<Micros, Refusal> {
        let until = self.idle_until();
        let kept = self.parts.store.keep_client_session(identity, id, opening, until).await;
        kept.map(|()| until).map_err(|error| not_recorded(&error))
    }

    /// A session that a client has opened, here or at another node.
    pub async fn client_session(
        &self,
        identity: &Identity,
        id: &SessionId,
    ) -> Result<ClientSession, Refusal> {
        let found = self.parts.store.client_session(identity, id).await;
        found.map_err(|error| not_recorded(&error))
    }

    /// A session is in use. That it is kept for too short a time costs its client a new one.
    pub async fn extend_client_session(&self, id: &SessionId) {
        if let Err(error) = self.parts.store.extend_client_session(id, self.idle_until()).await {
            tracing::debug!(%error, "a session was not kept for longer");
        }
    }

    /// A session has ended: no node takes it up again.
    pub async fn end_client_session(&self, id: &SessionId) {
        if let Err(error) = self.parts.store.end_client_session(id).await {
            tracing::warn!(%error, "a session was ended here only");
        }
    }

    fn idle_until(&self) -> Micros {
        let idle_ms = self.world().map_or(0, |world| world.gate.limits.session_idle_ms);
        Micros(self.parts.clock.now().0.saturating_add(i64::from(idle_ms).saturating_mul(1000)))
    }

    /// Records a request that was refused before it could be decided.
    pub async fn turned_away(&self, turned: TurnedAway) {
        if let Err(error) = self.parts.store.turn_away(turned).await {
            tracing::warn!(%error, "a refused request was not recorded");
        }
    }

    fn session_key(&self, identity: &Identity, session: Option<&SessionId>) -> SessionKey {
        SessionKey {
            tenant: identity.tenant.clone(),
            environment: identity.environment.clone(),
            issuer: identity.issuer.clone(),
            subject: identity.subject.clone(),
            agent: identity.agent.clone(),
            id: session.cloned(),
        }
    }
}
