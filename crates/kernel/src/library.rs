//! The library: what registered sources have, searched for whoever asks.
//!
//! A search is a call like any other. Once it is allowed and recorded, what the policies come to is
//! looked up as a filter, the corpus is searched within it, and each document is decided once more
//! by itself, from the facts that the call was decided from. What is too old tightens the session
//! before anybody has read it. `said` is how documents look to whoever reads them, `cite`
//! holds what calls cite against what was found.

mod cite;
mod count;
mod embed;
pub(crate) mod said;

use crate::watching::{Watching, compare, orders};
use arc_swap::{ArcSwapOption, Guard};
use embed::Endpoint;
use futures_util::future::BoxFuture;
use lockgate_core::World;
use lockgate_core::retrieve::filter::Filter;
use lockgate_core::retrieve::fresh::{Age, Aged, aged};
use lockgate_core::retrieve::watch::{Search, Shown};
use lockgate_core::retrieve::{Admission, Narrowed, Retrieval, source};
use lockgate_effects::{Search as Searching, Searched, Unfound};
use lockgate_retrieval::corpus::{Corpus, CorpusError, Progress};
use lockgate_retrieval::search::{Hit, Query, TOP_MAX, Within};
use lockgate_store::{SharedAddress, Store};
use lockgate_types::decision::{Decision, Obligation};
use lockgate_types::document::DocumentFacts;
use lockgate_types::facts::{Facts, Mode};
use lockgate_types::{Code, Digest, Json};
use lru::LruCache;
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Chunks that one answer has unless fewer or more are asked for.
const FOUND_USUALLY: usize = 8;
/// Filters that are kept: of as many callers, in as many situations as policies look at.
const FILTERS_MAX: NonZeroUsize = NonZeroUsize::new(1024).unwrap();
/// What begins the reason of a session that is tightened because of the age of what it has read.
const STALE: &str = "stale:";

/// The corpus of a gate, once there is one. Cheap to clone.
#[derive(Clone)]
pub struct Library(Arc<Shelf>);

struct Shelf {
    /// Where the corpus is kept, if not in a fleet's database.
    directory: PathBuf,
    /// Where that is, in a fleet.
    shared: Option<SharedAddress>,
    corpus: ArcSwapOption<Corpus>,
    /// Who makes vectors, if an endpoint does.
    endpoint: ArcSwapOption<Endpoint>,
    /// What policies have come to. `None`: no filter says it.
    filters: Mutex<LruCache<Digest, Option<Arc<Filter>>>>,
}

impl Library {
    /// A library whose corpus is kept beneath a directory, or in a fleet's database if there is
    /// one. It is opened once there are sources.
    pub fn new(directory: PathBuf, shared: Option<SharedAddress>) -> Self {
        let filters = Mutex::new(LruCache::new(FILTERS_MAX));
        let (corpus, endpoint) = (ArcSwapOption::empty(), ArcSwapOption::empty());
        Self(Arc::new(Shelf { directory, shared, corpus, endpoint, filters }))
    }

    /// The corpus. `None`: no bundle with sources has ruled since the gate began.
    pub fn corpus(&self) -> Option<Corpus> {
        self.0.corpus.load_full().map(|corpus| Corpus::clone(&corpus))
    }

    /// Opens the corpus, if a bundle has sources and it is not open yet. `bundle` is where relative
    /// paths begin. Takes as long as it takes
    /// to read all texts: not for where others wait.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub fn open(
        &self,
        world: &World,
        bundle: &Path,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), CorpusError> {
        if world.sources.is_empty() || self.0.corpus.load().is_some() {
            return Ok(());
        }
        let (options, endpoint) = embed::options(world, bundle)?;
        let corpus = match &self.0.shared {
            Some(address) => Corpus::open_shared(address.expose().clone(), options)?,
            None => Corpus::open(&self.0.directory, options, progress)?,
        };
        if corpus.lacks_vectors() {
            tracing::warn!(
                "the fleet's database has no pgvector: documents are found by their words alone"
            );
        }
        self.0.endpoint.store(endpoint.map(Arc::new));
        self.0.corpus.store(Some(Arc::new(corpus)));
        Ok(())
    }

    /// What the policies come to for a retrieval, looked up or found out.
    fn filter(&self, retrieval: &Retrieval<'_>) -> Option<Arc<Filter>> {
        let key = retrieval.key();
        let known = self.filters().get(&key).cloned();
        known.unwrap_or_else(|| {
            let filter = match retrieval.filter() {
                Ok(filter) => Some(Arc::new(filter)),
                Err(why) => {
                    tracing::debug!(%why, "documents are decided one by one");
                    None
                }
            };
            self.filters().put(key, filter.clone());
            filter
        })
    }

    fn filters(&self) -> std::sync::MutexGuard<'_, LruCache<Digest, Option<Arc<Filter>>>> {
        self.0.filters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whoever searches for the gate.
pub(crate) struct Searcher {
    pub(crate) library: Library,
    pub(crate) world: Arc<ArcSwapOption<World>>,
    pub(crate) store: Store,
    pub(crate) watching: Watching,
}

impl Searching for Searcher {
    fn search(&self, facts: Arc<Facts>, decision: Decision) -> BoxFuture<'static, Searched> {
        let world = Guard::into_inner(self.world.load());
        let (library, store) = (self.library.clone(), self.store.clone());
        let watching = self.watching.clone();
        Box::pin(async move {
            let world = world.filter(|world| world.digest == decision.bundle);
            let world = world.ok_or_else(|| unfound(Code::FactsMoved, "another bundle rules"))?;
            let corpus = library.corpus();
            let corpus = corpus.ok_or_else(|| unfound(Code::CorpusFailed, "it is not open"))?;
            if count::is_count(&facts) {
                let counting = Looking { library, world, facts, vector: None };
                return count::counted(counting, corpus, &store).await;
            }
            let vector = match library.endpoint() {
                Some(endpoint) => endpoint.of_question(&facts, question(&facts)).await,
                None => None,
            };
            let (of, asked) = (Arc::clone(&world), Arc::clone(&facts));
            let looking = Looking { library, world: of, facts: asked, vector };
            let found = tokio::task::spawn_blocking(move || looking.look(&corpus)).await;
            let found =
                found.map_err(|error| unfound(Code::CorpusFailed, &error.to_string()))??;
            tighten(&store, &world, &facts, found.oldest()).await?;
            watching.note(&store, &world, &facts, &found.search).await?;
            Ok(said::found(&store, &found))
        })
    }
}

/// The session may do less from now on, if what was found is too old for more. Before the answer:
/// nobody has read it who may still do more. Says whether it may do less now.
pub(crate) async fn tighten(
    store: &Store,
    world: &World,
    facts: &Facts,
    oldest: Option<(&Aged, &DocumentFacts)>,
) -> Result<bool, Unfound> {
    let Some((oldest, of)) = oldest else { return Ok(false) };
    let to = match oldest.age {
        Age::Fresh | Age::Say | Age::Refuse => return Ok(false),
        Age::Confirm => Mode::Approvals,
        Age::ReadOnly => Mode::ReadOnly,
    };
    let shown = format!("{STALE}{}/{}", of.source, of.id);
    let (session, rules) = (facts.session.id.clone(), world.risk.clone());
    let by = (&facts.call.id, facts.now);
    let set = store.tighten(session, to, shown, rules, by).await;
    let set = set.map_err(|error| unfound(error.code(), &error.to_string()))?;
    Ok(set.was != set.now)
}

fn unfound(code: Code, detail: &str) -> Unfound {
    Unfound { code, detail: detail.to_owned() }
}

/// One search.
struct Looking {
    library: Library,
    world: Arc<World>,
    facts: Arc<Facts>,
    /// Of the question, where somebody else makes vectors.
    vector: Option<Vec<f32>>,
}

/// What is looked for.
fn question(facts: &Facts) -> &str {
    let given = facts.call.arguments().and_then(|arguments| arguments.get("query"));
    given.and_then(Json::as_str).unwrap_or_default()
}

/// What a search has found.
struct Looked {
    hits: Vec<Seen>,
    /// Whether there were more, for which there is no room.
    is_cut: bool,
    /// Whether all was searched that may be seen.
    is_complete: bool,
    /// What is watched of it.
    search: Search,
}

/// A chunk that was found, with what is to be done to it.
struct Seen {
    hit: Hit,
    obligations: Vec<Obligation>,
    aged: Aged,
}

impl Looked {
    /// The document whose age asks for the most restraint.
    fn oldest(&self) -> Option<(&Aged, &DocumentFacts)> {
        let all = self.hits.iter().map(|it| (&it.aged, &it.hit.provenance.document));
        // Of several the first.
        all.reduce(|worst, next| if next.0.age > worst.0.age { next } else { worst })
    }
}

/// Within what documents are looked for.
struct Asking<'a> {
    tenant: &'a str,
    retrieval: Retrieval<'a>,
    narrowed: Narrowed<'a>,
    filter: Option<Filter>,
    sources: Option<BTreeMap<String, Option<u64>>>,
}

impl Asking<'_> {
    fn within(&self) -> Within<'_> {
        let (sources, filter) = (self.sources.as_ref(), self.filter.as_ref());
        Within { tenant: self.tenant, sources, filter }
    }
}

impl Looking {
    /// What the policies, the task and the call come to, of those kinds of text.
    fn asking<'a>(&'a self, kinds: Vec<&'a str>) -> Result<Asking<'a>, Unfound> {
        let (world, facts) = (&*self.world, &*self.facts);
        let retrieval = Retrieval::new(world, facts);
        let retrieval = retrieval.map_err(|it| unfound(it.code, "no document may be shown"))?;
        let narrowed = Narrowed::new(world, facts.identity.task.as_ref(), kinds, facts.now);
        let filter = self.library.filter(&retrieval);
        let filter = filter.map(|it| Filter::every([Filter::clone(&it), narrowed.filter()]));
        let (tenant, sources) = (facts.identity.tenant.as_str(), self.sources());
        Ok(Asking { tenant, retrieval, narrowed, filter, sources })
    }

    /// The sources that are asked.
    fn searched<'a>(&self, retrieval: &'a Retrieval<'_>) -> impl Iterator<Item = &'a str> {
        let asked = self.words("sources");
        retrieval.sources().filter(move |name| asked.is_empty() || asked.contains(name))
    }

    fn look(&self, corpus: &Corpus) -> Result<Looked, Unfound> {
        let (world, facts) = (&*self.world, &*self.facts);
        let asking = self.asking(self.words("kinds"))?;
        let Asking { retrieval, narrowed, .. } = &asking;
        let (task, within) = (facts.identity.task.as_ref(), asking.within());
        let (text, vector) = (question(facts), self.vector.as_deref());
        let query = Query { text, vector, within, top: self.limit() };
        let mut admitted: BTreeMap<(String, String), Vec<Obligation>> = BTreeMap::new();
        let mut withheld: BTreeMap<String, u32> = BTreeMap::new();
        let mut decide = |document: &DocumentFacts| {
            if !narrowed.holds(document) {
                return false;
            }
            match retrieval.admits(document) {
                Admission::Admitted { obligations, .. } => {
                    let key = (document.source.clone(), document.id.clone());
                    admitted.insert(key, obligations);
                    true
                }
                Admission::Withheld(_) => {
                    let count = withheld.entry(document.source.clone()).or_default();
                    *count = count.saturating_add(1);
                    false
                }
            }
        };
        let answer = corpus.search(&query, &mut decide);
        let answer = answer.map_err(|error| unfound(error.code(), &error.to_string()))?;
        if answer.disagreements > 0 {
            let (call, count) = (&facts.call.id, answer.disagreements);
            tracing::error!(%call, count, "a filter let through what policies refuse");
        }
        let (mut hits, mut room, mut is_cut) = (Vec::new(), said::FOUND_BYTES_MAX, false);
        for hit in answer.hits {
            let size = said::size(&hit);
            if !hits.is_empty() && size > room {
                is_cut = true;
                break;
            }
            room = room.saturating_sub(size);
            let obligations = obligations_of(&hit, &admitted).ok_or_else(|| {
                unfound(Code::InvariantBroken, "something was found that nobody has decided")
            })?;
            let aged = documents(&hit).map(|it| aged(world, task, it, facts.now));
            // Of several the first: the piece itself, before what is joined to it.
            let aged = aged.reduce(|worst, next| if next.age > worst.age { next } else { worst });
            let fresh = Aged { age: Age::Fresh, words: None };
            hits.push(Seen { hit, obligations, aged: aged.unwrap_or(fresh) });
        }
        let search = self.watched(retrieval, &hits, withheld);
        Ok(Looked { hits, is_cut, is_complete: answer.is_complete, search })
    }

    /// What is watched of it.
    fn watched(
        &self,
        retrieval: &Retrieval<'_>,
        hits: &[Seen],
        withheld: BTreeMap<String, u32>,
    ) -> Search {
        let facts = &*self.facts;
        let query = facts.call.arguments().and_then(|it| it.get("query")?.as_str());
        let mut shown: Vec<Shown> = hits.iter().map(shown).collect();
        compare(&mut shown, &hits.iter().map(|it| it.hit.text.as_str()).collect::<Vec<_>>());
        Search {
            at: facts.now,
            task: facts.identity.task.as_ref().map(ToString::to_string).unwrap_or_default(),
            query: query.unwrap_or_default().to_owned(),
            sources: self.searched(retrieval).map(str::to_owned).collect(),
            shown,
            withheld,
            left_out: Vec::new(),
        }
    }

    /// The texts of an argument that is a list.
    fn words(&self, name: &str) -> Vec<&str> {
        let given = self.facts.call.arguments().and_then(|arguments| arguments.get(name));
        let given = given.and_then(Json::as_array).unwrap_or_default();
        given.iter().filter_map(Json::as_str).collect()
    }

    fn limit(&self) -> usize {
        let given = self.facts.call.arguments().and_then(|arguments| arguments.get("limit"));
        let given = given.and_then(Json::as_i64).and_then(|limit| usize::try_from(limit).ok());
        given.unwrap_or(FOUND_USUALLY).min(TOP_MAX)
    }

    /// The sources that are searched, each with the snapshot that the task has pinned. `None`: all
    /// that the policies leave, as they serve.
    fn sources(&self) -> Option<BTreeMap<String, Option<u64>>> {
        let asked = self.words("sources");
        let task = self.facts.identity.task.as_ref();
        let pinned = |name: &str| source::pinned(&self.world, task, name);
        let names = self.world.sources.keys();
        let is_pinned = names.clone().any(|name| pinned(name).is_some());
        if asked.is_empty() && !is_pinned {
            return None;
        }
        let asked = names.filter(|name| asked.is_empty() || asked.contains(&name.as_str()));
        Some(asked.map(|name| (name.clone(), pinned(name))).collect())
    }
}

/// What is watched of a piece.
fn shown(seen: &Seen) -> Shown {
    let document = &seen.hit.provenance.document;
    Shown {
        source: document.source.clone(),
        document: document.id.clone(),
        orders: orders(&seen.hit.text),
        contradicts: 0,
    }
}

/// What is to be done to a chunk, and to what is joined to it: all that is to be done to any of
/// them.
fn obligations_of(
    hit: &Hit,
    admitted: &BTreeMap<(String, String), Vec<Obligation>>,
) -> Option<Vec<Obligation>> {
    let mut all = Vec::new();
    for document in documents(hit) {
        let own = admitted.get(&(document.source.clone(), document.id.clone()))?;
        all.extend(own.iter().filter(|it| !all.contains(*it)).cloned().collect::<Vec<_>>());
    }
    Some(all)
}

/// The document of a chunk, and those that are joined to it.
fn documents(hit: &Hit) -> impl Iterator<Item = &DocumentFacts> {
    let joined = hit.field_of.iter().chain(&hit.fields).map(|joined| &joined.document);
    [&hit.provenance.document].into_iter().chain(joined)
}
