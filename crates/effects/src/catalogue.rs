//! What an upstream offers, fetched in a session of the gate's own and kept for a while.
//!
//! One catalogue for each set of capabilities that callers declare, because upstreams may offer by
//! them. A list that is merely old is served while a new one is fetched; one that the upstream said
//! has changed is waited for. When nothing can be fetched the last good one stays.

use crate::caller::Caller;
use crate::credential::{Speaker, Who};
use crate::database;
use crate::exchange::pair;
use crate::findings::Findings;
use crate::health;
use crate::perform::note;
use crate::post::Answer;
use crate::probe::own_params;
use crate::progress::Progress;
use crate::trouble::{EffectError, Trouble};
use crate::upstream::{Extra, Upstream, Voice, Way};
use lockgate_core::bundle::definition_digest;
use lockgate_core::quarantine::Assessment;
use lockgate_types::{Code, Digest, Json, Object};
use lockgate_wire::headers::{MirroredArgument, mirrored_arguments};
use lockgate_wire::{Era, Request, era};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

mod accepted;
mod resources;
mod shelves;

use accepted::{fresh, looked_at};
pub use resources::{ResourceContent, Resources};
pub(crate) use shelves::Catalogues;

/// How long somebody waits for a catalogue.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// How long fetching one may take: a child process may have to start first.
const FETCH_MAX: Duration = Duration::from_secs(30);
/// How long a catalogue is fresh where the upstream does not say.
const FRESH: Duration = Duration::from_secs(60);
/// How old a catalogue may be that is served while a new one is fetched.
const STALE_MAX: Duration = Duration::from_secs(10 * 60);
/// How long nothing is asked after a failure.
const PAUSE: Duration = Duration::from_secs(2);
/// Pages of one list.
const PAGES_MAX: usize = 128;
/// Items of one list.
const ITEMS_MAX: usize = 10_000;
/// Bytes of one list, all pages together: as values in memory they are several times as much.
const LIST_BYTES_MAX: usize = 8 << 20;

/// What an upstream offers to callers with the same capabilities. Every item is as the upstream
/// wrote it.
#[derive(Clone, Debug)]
pub struct Catalogue {
    /// The era in which it was asked.
    pub era: Era,
    /// The version it answered with.
    pub protocol_version: String,
    /// Its tools. Tools whose `x-mcp-header` breaks the rules are left out where they matter.
    pub tools: Vec<Json>,
    /// Names that several tools have. None of these tools is among the others.
    pub ambiguous: BTreeSet<String>,
    /// Its resources.
    pub resources: Vec<Json>,
    /// Its resource templates.
    pub templates: Vec<Json>,
    /// Its prompts.
    pub prompts: Vec<Json>,
    /// What else came with each list, such as `ttlMs`, `cacheScope`, `_meta`.
    pub list_meta: ListMeta,
    /// What the upstream can do, as it said.
    pub capabilities: Object,
    /// What it says it is.
    pub server_info: Json,
    /// What it tells models about itself.
    pub instructions: Option<String>,
    /// The result of `server/discover`, or of `initialize`, as it came.
    pub opening: Json,
    /// The result of `server/discover`, if it is stateless.
    pub discover: Option<Json>,
    /// Arguments that are repeated in headers, by tool.
    mirrored: HashMap<String, Arc<[MirroredArgument]>>,
    /// What each tool's definition is now, for comparison with what was accepted.
    pub(crate) definitions: HashMap<String, Digest>,
    /// What was found in it that people do not see or that speaks to models.
    pub findings: Arc<Findings>,
    /// What of it is not as the bundle accepted it, and which bundle that was.
    assessed: Arc<Mutex<Option<Assessed>>>,
    fresh: Duration,
}

/// An assessment, and the digest of the bundle against which it was made.
type Assessed = (Digest, Arc<Assessment>);

/// What came with each list besides its items.
#[derive(Clone, Debug, Default)]
pub struct ListMeta {
    /// With the tools.
    pub tools: Object,
    /// With the resources.
    pub resources: Object,
    /// With the resource templates.
    pub templates: Object,
    /// With the prompts.
    pub prompts: Object,
}

impl Catalogue {
    /// The arguments of a tool that have to be repeated in headers.
    pub fn mirrored(&self, tool: &str) -> Option<&Arc<[MirroredArgument]>> {
        self.mirrored.get(tool)
    }

    /// The digest of a tool's definition, if the tool is there.
    pub fn definition(&self, tool: &str) -> Option<Digest> {
        self.definitions.get(tool).copied()
    }
}

/// One catalogue, and what is being done about it.
struct Shelf {
    state: Mutex<ShelfState>,
    fetched: Notify,
    /// For whom it was asked first. `None`: for the gate itself.
    by: Option<Who>,
}

#[derive(Default)]
struct ShelfState {
    good: Option<Good>,
    failed: Option<(EffectError, Instant)>,
    is_fetching: bool,
    used: Option<Instant>,
}

#[derive(Clone)]
struct Good {
    catalogue: Arc<Catalogue>,
    since: Instant,
    /// Of how many changes it knows.
    changes: u64,
}

/// What is to be done for somebody who asks.
enum Step {
    Have(Arc<Catalogue>),
    Failed(EffectError),
    Wait,
}

impl Shelf {
    fn lock(&self) -> std::sync::MutexGuard<'_, ShelfState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn step(self: &Arc<Self>, upstream: &Arc<Upstream>, caller: &Caller) -> Step {
        let now = Instant::now();
        let changes = upstream.changes.count();
        let mut state = self.lock();
        state.used = Some(now);
        let is_paused = upstream.breaker.is_open(health::now())
            || state.failed.as_ref().is_some_and(|(_, when)| now.duration_since(*when) < PAUSE);
        let step = match (state.good.clone(), &state.failed) {
            (Some(good), _) if is_paused => return Step::Have(good.catalogue),
            (None, Some((error, _))) if is_paused => return Step::Failed(error.clone()),
            (Some(good), _) if good.changes == changes => {
                let age = now.duration_since(good.since);
                if age < good.catalogue.fresh {
                    return Step::Have(good.catalogue);
                }
                if age < STALE_MAX { Step::Have(good.catalogue) } else { Step::Wait }
            }
            // The upstream said that it changed, or nothing was ever fetched.
            (Some(_) | None, _) => Step::Wait,
        };
        if !state.is_fetching {
            state.is_fetching = true;
            drop(state);
            self.fetch(upstream, caller);
        }
        step
    }

    /// Fetches in a task of its own: whoever asked may go, others may wait for it.
    fn fetch(self: &Arc<Self>, upstream: &Arc<Upstream>, caller: &Caller) {
        let (shelf, upstream) = (Arc::clone(self), Arc::clone(upstream));
        let caller = caller.for_catalogue();
        tokio::spawn(async move {
            let changes = upstream.changes.count();
            let fetching = tokio::time::timeout(FETCH_MAX, fetch(&upstream, &caller));
            let fetched = fetching.await.unwrap_or_else(|_| {
                let detail = "the upstream did not say in time what it offers";
                Err(Trouble::before(Code::UpstreamTimeout, detail).into())
            });
            let mut state = shelf.lock();
            state.is_fetching = false;
            match fetched {
                Ok(catalogue) => {
                    upstream.pulse.is_well();
                    let catalogue = Arc::new(catalogue);
                    state.good = Some(Good { catalogue, since: Instant::now(), changes });
                    state.failed = None;
                }
                Err(error) => {
                    if let EffectError::Failed { code, detail, .. } = &error {
                        note(&upstream, &Trouble::before(*code, detail.clone()));
                    }
                    state.failed = Some((error, Instant::now()));
                }
            }
            drop(state);
            shelf.fetched.notify_waiters();
        });
    }

    fn last(&self) -> Result<Arc<Catalogue>, EffectError> {
        let state = self.lock();
        match (&state.good, &state.failed) {
            (Some(good), _) => Ok(Arc::clone(&good.catalogue)),
            (None, Some((error, _))) => Err(error.clone()),
            (None, None) => {
                let detail = "the upstream has not said yet what it offers";
                Err(Trouble::before(Code::UpstreamTimeout, detail).into())
            }
        }
    }
}

impl Upstream {
    /// What this upstream offered when somebody last asked, without asking.
    pub(crate) fn known_catalogue(&self, caller: &Caller) -> Option<Arc<Catalogue>> {
        self.catalogues.known(&caller.catalogue_key())?.last().ok()
    }

    /// What this upstream offers to callers like this one.
    pub(crate) async fn catalogue(
        self: &Arc<Self>,
        caller: &Caller,
    ) -> Result<Arc<Catalogue>, EffectError> {
        let by = caller.identity.as_deref().map(Who::of);
        let shelf = self.catalogues.shelf(&caller.catalogue_key(), by)?;
        let fetched = shelf.fetched.notified();
        tokio::pin!(fetched);
        fetched.as_mut().enable();
        match shelf.step(self, caller) {
            Step::Have(catalogue) => Ok(catalogue),
            Step::Failed(error) => Err(error),
            Step::Wait => {
                let _ = tokio::time::timeout(WAIT_MAX, fetched).await;
                shelf.last()
            }
        }
    }

    /// The arguments of a tool that have to be repeated in headers. None if that cannot be found
    /// out: then the upstream says so itself.
    pub(crate) async fn mirrored(
        self: &Arc<Self>,
        caller: &Caller,
        tool: &str,
    ) -> Arc<[MirroredArgument]> {
        match self.catalogue(caller).await {
            Ok(catalogue) => catalogue.mirrored(tool).cloned().unwrap_or_default(),
            Err(_) => Arc::new([]),
        }
    }

    /// What it says of itself.
    async fn opening(&self, voice: &Voice, caller: &Caller) -> Result<Json, EffectError> {
        match voice {
            Voice::Session(_, session) => Ok(session.opening.clone()),
            Voice::Child(child) if child.era == Era::Sessions => Ok(child.opening.clone()),
            Voice::Child(_) | Voice::Stateless(_) => {
                self.ask(voice, caller, "server/discover", Object::new()).await
            }
        }
    }

    /// Asks something on the gate's own behalf.
    async fn ask(
        &self,
        voice: &Voice,
        caller: &Caller,
        method: &str,
        mut params: Object,
    ) -> Result<Json, EffectError> {
        if voice.era() == Era::Stateless {
            for (name, value) in own_params(caller) {
                params.set(name, value);
            }
        }
        let request = Request::new(self.fresh_id(), method, params);
        let (running, mut far) = pair(&self.changes);
        // Whatever the upstream asks meanwhile: nobody is there.
        drop(running);
        let progress = Progress::within(Some(FETCH_MAX));
        match self.attempt(voice, &request, Extra::NONE, &mut far, &progress).await? {
            Answer::Result(result) => Ok(result),
            Answer::Error(error) => Err(EffectError::Answered { error }),
            Answer::SessionGone => {
                self.forget(caller, voice);
                let detail = "the upstream forgot the gate's session";
                Err(Trouble::before(Code::UpstreamProtocol, detail).into())
            }
        }
    }
}

async fn fetch(upstream: &Arc<Upstream>, caller: &Caller) -> Result<Catalogue, EffectError> {
    if let Way::Database(database) = &upstream.way {
        database::look_at(upstream);
        return Ok(Catalogue::of_bundle(&upstream.name, database.plan.tools(), caller.era));
    }
    if let Way::Memory(memory) = &upstream.way {
        return Ok(Catalogue::of_bundle(&upstream.name, memory.tools(), caller.era));
    }
    if let Way::Library(library) = &upstream.way {
        return Ok(Catalogue::of_bundle(&upstream.name, library.tools(), caller.era));
    }
    if let Way::Api(api) = &upstream.way {
        // Its words are those of a document that others may have written.
        return looked_at(Catalogue::of_bundle(&upstream.name, api.tools(), caller.era)).await;
    }
    if let Way::Model(_) = &upstream.way {
        // It speaks no protocol of tools.
        return Ok(Catalogue::of_bundle(&upstream.name, Vec::new(), caller.era));
    }
    let voice = upstream.voice(caller, &Speaker::gate()).await?;
    let opening = upstream.opening(&voice, caller).await?;
    let mut catalogue = introduction(voice.era(), opening);
    let offers = |name: &str| catalogue.capabilities.contains(name);
    let (tools, resources, prompts) = (offers("tools"), offers("resources"), offers("prompts"));
    let list = Lister { upstream, voice: &voice, caller };
    let meta = &mut catalogue.list_meta;
    if tools {
        (catalogue.tools, meta.tools) = list.all("tools/list", "tools").await?;
    }
    if resources {
        (catalogue.resources, meta.resources) = list.all("resources/list", "resources").await?;
        // Servers with resources need not have templates: one that knows none says so in its own
        // way.
        let templates = list.all("resources/templates/list", "resourceTemplates").await;
        (catalogue.templates, meta.templates) = match templates {
            Err(EffectError::Answered { .. }) => (Vec::new(), Object::new()),
            templates => templates?,
        };
    }
    if prompts {
        (catalogue.prompts, meta.prompts) = list.all("prompts/list", "prompts").await?;
    }
    catalogue.ambiguous = take_out_ambiguous(&mut catalogue.tools, upstream);
    catalogue.definitions = definitions(&catalogue.tools);
    mirror(&mut catalogue, &voice, upstream);
    catalogue.fresh = fresh(&catalogue.list_meta);
    looked_at(catalogue).await
}

/// Takes out every tool whose name another one has, too, and gives their names: which of them a
/// client would read and the upstream would run is anybody's guess.
fn take_out_ambiguous(tools: &mut Vec<Json>, upstream: &Upstream) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    let names = tools.iter().filter_map(tool_name);
    let ambiguous: BTreeSet<String> =
        names.filter(|name| !seen.insert(*name)).map(str::to_owned).collect();
    for tool in &ambiguous {
        let upstream = upstream.name.as_str();
        tracing::warn!(upstream, tool, "several tools have this name: none of them is offered");
    }
    tools.retain(|tool| tool_name(tool).is_none_or(|name| !ambiguous.contains(name)));
    ambiguous
}

pub(crate) fn definitions(tools: &[Json]) -> HashMap<String, Digest> {
    let named = tools.iter().filter_map(|tool| Some((tool_name(tool)?, tool)));
    named.map(|(name, tool)| (name.to_owned(), definition_digest(tool))).collect()
}

fn tool_name(tool: &Json) -> Option<&str> {
    tool.get("name").and_then(Json::as_str)
}

pub(crate) fn introduction(spoken: Era, opening: Json) -> Catalogue {
    let server_info = match spoken {
        Era::Sessions => opening.get("serverInfo"),
        Era::Stateless => opening.at(&["_meta", era::meta::SERVER_INFO]),
    };
    let version = match spoken {
        Era::Sessions => opening.get("protocolVersion").and_then(Json::as_str),
        Era::Stateless => Some(era::V2026_07_28),
    };
    Catalogue {
        era: spoken,
        protocol_version: version.unwrap_or_default().to_owned(),
        tools: Vec::new(),
        resources: Vec::new(),
        templates: Vec::new(),
        prompts: Vec::new(),
        list_meta: ListMeta::default(),
        capabilities: opening
            .get("capabilities")
            .and_then(Json::as_object)
            .cloned()
            .unwrap_or_default(),
        server_info: server_info.cloned().unwrap_or(Json::Null),
        instructions: opening.get("instructions").and_then(Json::as_str).map(str::to_owned),
        discover: (spoken == Era::Stateless).then(|| opening.clone()),
        opening,
        ambiguous: BTreeSet::new(),
        mirrored: HashMap::new(),
        definitions: HashMap::new(),
        findings: Arc::default(),
        assessed: Arc::default(),
        fresh: FRESH,
    }
}

struct Lister<'a> {
    upstream: &'a Arc<Upstream>,
    voice: &'a Voice,
    caller: &'a Caller,
}

impl Lister<'_> {
    /// Every page of one list, and what came with the first.
    async fn all(&self, method: &str, member: &str) -> Result<(Vec<Json>, Object), EffectError> {
        let (mut items, mut bytes) = (Vec::new(), 0);
        let mut extra = None;
        let mut cursor: Option<Json> = None;
        for _ in 0..PAGES_MAX {
            let params = Object::new().with_some("cursor", cursor.take());
            let page = self.upstream.ask(self.voice, self.caller, method, params).await?;
            let Json::Object(mut page) = page else { return Err(no_list(method)) };
            let Some(Json::Array(found)) = page.remove(member) else { return Err(no_list(method)) };
            bytes += found.iter().map(|item| item.to_bytes().len()).sum::<usize>();
            items.extend(found);
            cursor = page.remove("nextCursor").filter(|cursor| *cursor != Json::Null);
            extra.get_or_insert(page);
            if items.len() > ITEMS_MAX || bytes > LIST_BYTES_MAX {
                break;
            }
            if cursor.is_none() {
                return Ok((items, extra.unwrap_or_default()));
            }
        }
        let bounds = format!("{ITEMS_MAX} items, {PAGES_MAX} pages or {LIST_BYTES_MAX} bytes");
        let detail = format!("`{method}` goes on beyond {bounds}");
        Err(Trouble::after(Code::UpstreamTooLarge, detail).into())
    }
}

fn no_list(method: &str) -> EffectError {
    Trouble::after(Code::UpstreamProtocol, format!("the result of `{method}` is not a list")).into()
}

/// Reads which arguments are repeated in headers, and leaves out the tools that say it wrongly.
fn mirror(catalogue: &mut Catalogue, voice: &Voice, upstream: &Upstream) {
    if !matches!(voice, Voice::Stateless(_)) {
        return;
    }
    let mut mirrored = HashMap::new();
    catalogue.tools.retain(|tool| {
        let (Some(name), Some(schema)) = (tool_name(tool), tool.get("inputSchema")) else {
            return true;
        };
        match mirrored_arguments(schema) {
            Ok(arguments) => {
                if !arguments.is_empty() {
                    mirrored.insert(name.to_owned(), Arc::from(arguments));
                }
                true
            }
            Err(error) => {
                let upstream = upstream.name.as_str();
                tracing::warn!(upstream, tool = name, %error, "a tool is left out");
                false
            }
        }
    });
    catalogue.mirrored = mirrored;
}
