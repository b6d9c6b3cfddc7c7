//! Sources of documents in a running gate: from what the bundle declares to what the corpus has.
//!
//! A source is run when it is due, when somebody asks for it, and when its declaration has changed:
//! one run of a source at a time, few of all, each on a thread of its own, since a run waits for
//! disks, processes and servers. In a fleet that is one run in all of it: the baton of a source
//! lies in the corpus, which all nodes have. What a run does is `retrieval::ingest`'s; here is when
//! it is done, by which connector, and what is recorded of it. Who may see what is told before
//! anything else, and also without a run.

mod drive;
mod fleet;
mod governed;
mod manage;
mod note;
mod plan;
mod reach;
mod resources;
mod rows;
mod tend;
mod view;

pub use manage::{Sharing, SourceReaders};
pub use view::{FollowedSource, SourceStanding, SourceView};

use crate::port::Refusal;
use crate::{Kernel, Library};
use lockgate_core::declare;
use lockgate_retrieval::corpus::{Corpus, CorpusError};
use lockgate_retrieval::ingest::Progress;
use lockgate_types::{CallId, Code, Digest, Micros, Tenant};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use tokio::sync::{Notify, watch};

/// Sources that are run at once; others wait their turn.
pub const SOURCES_RUN_AT_ONCE_MAX: usize = 2;

/// What bringing documents in needs of the machine.
#[derive(Clone, Debug)]
pub struct Bringing {
    /// The directory of the bundle: relative paths of sources begin there.
    pub bundle: PathBuf,
    /// The gate's state: the corpus, and what runs have seen.
    pub state: PathBuf,
    /// What reads documents.
    pub reader: Reader,
}

/// The program that reads documents in a confined process: it calls
/// [`read_documents`](crate::read_documents) before anything else.
#[derive(Clone, Debug)]
pub struct Reader {
    /// Where it is.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// All of its environment.
    pub environment: Vec<(String, String)>,
}

/// The sources of one gate.
#[derive(Default)]
pub(crate) struct Sources {
    bringing: OnceLock<Bringing>,
    desks: Mutex<BTreeMap<String, Desk>>,
    /// The bundle under which it was looked at them last.
    looked_under: Mutex<Option<Digest>>,
    /// There may be something to do.
    wake: Notify,
    /// When the fleet was asked last what is run where.
    fleet_asked: Mutex<Micros>,
}

/// One source: what is wanted of it, and how it stands.
struct Desk {
    /// The declaration that it was looked at under last.
    declared: Arc<declare::Source>,
    /// Who may see what is to be told, before anything else.
    wants_told: bool,
    /// Whether the corpus has anything of it that could be told of.
    is_known: bool,
    /// But not before: it has failed just now.
    tell_from: Micros,
    /// A run is wanted: which, and by which call.
    wants_run: Option<(u64, Option<CallId>)>,
    /// But not before: another node of the fleet has it just now.
    run_from: Micros,
    running: Option<Running>,
    /// Since when another node of the fleet runs it.
    elsewhere: Option<Micros>,
    /// How many have it told just now who may see what: nothing else begins meanwhile.
    telling: u32,
    /// Runs that have failed since the last one that has not.
    failures: u32,
    shown: watch::Sender<Standing>,
}

/// What is under way at a source.
struct Running {
    what: What,
    /// Set to have it end.
    stop: Arc<AtomicBool>,
    /// Somebody has told it to end so that permissions can be told, and it goes on afterwards.
    is_interrupted: bool,
}

/// What is done on a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// Who may see what is told, and snapshots that tasks name are kept.
    Told,
    /// A run, by its number.
    Run(u64),
}

/// How a source stands, in this process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Standing {
    /// The number of the run that was asked for, or was due, last. 0: none yet.
    pub(crate) number: u64,
    /// When the one under way began, and how far it is.
    pub(crate) running: Option<(Micros, Progress)>,
    /// Since when another node of the fleet runs it.
    pub(crate) elsewhere: Option<Micros>,
    /// What became of the last one.
    pub(crate) last: Option<Arc<Ended>>,
    /// When the next one is due. `None`: it is run by hand.
    pub(crate) due: Option<Micros>,
}

/// What became of a run.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Its number, in this process.
    pub number: u64,
    /// When it began.
    pub begun: Micros,
    /// When it ended.
    pub ended: Micros,
    /// `published`, `quarantined` or `failed`.
    pub verdict: &'static str,
    /// The snapshot that it made.
    pub snapshot: Option<u64>,
    /// Documents in it.
    pub documents: Option<u64>,
    /// Why it has failed: the code, and words.
    pub failed: Option<(Code, String)>,
}

impl Sources {
    /// Where relative paths of the bundle begin: here, if nobody has said.
    pub(crate) fn bundle(&self) -> PathBuf {
        self.bringing.get().map_or_else(|| PathBuf::from("."), |it| it.bundle.clone())
    }

    /// There may be something to do: another bundle rules.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    fn desks(&self) -> MutexGuard<'_, BTreeMap<String, Desk>> {
        self.desks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kernel {
    /// Has this gate bring documents in. Only the first time counts.
    pub fn bring_in(&self, bringing: Bringing) {
        let _ = self.parts.sources.bringing.set(bringing);
        self.parts.sources.wake.notify_one();
    }

    /// The corpus, once there are sources.
    fn corpus(&self) -> Result<Corpus, Refusal> {
        let corpus = self.library().and_then(Library::corpus);
        corpus.ok_or_else(|| Refusal::of(Code::NoSuchSource))
    }

    fn bringing(&self) -> Result<&Bringing, Refusal> {
        self.parts.sources.bringing.get().ok_or_else(|| Refusal::of(Code::NoSuchSource))
    }

    /// A source that the ruling bundle registers, and whose it is.
    pub(crate) fn declared_source(
        &self,
        name: &str,
    ) -> Result<(Arc<declare::Source>, Tenant), Refusal> {
        let world = self.world().ok_or_else(|| Refusal::of(Code::NoBundle))?;
        let declared = world.sources.get(name).ok_or_else(|| Refusal::of(Code::NoSuchSource))?;
        let tenant = declared.tenant.as_deref().and_then(|tenant| Tenant::new(tenant).ok());
        Ok((Arc::new(declared.clone()), tenant.unwrap_or_else(|| world.tenant.clone())))
    }

    /// Asks the corpus, on a thread that may wait for the disk.
    pub(crate) async fn ask_corpus<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Corpus) -> Result<T, CorpusError> + Send + 'static,
    ) -> Result<T, Refusal> {
        let kernel = self.clone();
        let asked = tokio::task::spawn_blocking(move || {
            let corpus = kernel.corpus()?;
            ask(&corpus).map_err(of_corpus)
        });
        asked.await.unwrap_or_else(|_| Err(Refusal::of(Code::InvariantBroken)))
    }
}

/// What the corpus does not do.
fn of_corpus(error: CorpusError) -> Refusal {
    let code = match error {
        CorpusError::NoSuchSource { .. } => Code::NoSuchSource,
        _ => error.code(),
    };
    if code == Code::CorpusFailed {
        tracing::error!(error = &error as &dyn std::error::Error, "the corpus cannot be used");
    }
    Refusal { reason: error.to_string(), ..Refusal::of(code) }
}
