//! One life of a gate: a real store on what a crash left, a real kernel, and a client that goes on
//! with its script.

use crate::bundle;
use crate::check;
use crate::disk::{self, Constant, Disk};
use crate::script::{Ask, Script};
use crate::tape::{Place, Point, Tape};
use crate::upstream;
use crate::world::{Answered, Said, World};
use lockgate_effects::{Caller, EffectsSettings, Presented, Upstreams};
use lockgate_kernel::{Answer, Clock, EFFECT_META, Kernel, Proposal, Words};
use lockgate_store::{DiskMoment, DiskWatch, Faults, Options, Store};
use lockgate_types::call::KEY_META;
use lockgate_types::identity::Identity;
use lockgate_types::{CallId, Code, Json, Object, SubjectId, UpstreamName};
use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;

/// A life takes some milliseconds. One that takes this long hangs.
const LIFE_MAX: Duration = Duration::from_secs(60);
/// Long enough for what is late, and for the gate to look again at what is in doubt.
const SETTLED_US: i64 = 25_000_000;
/// How often a client asks that is told to ask again.
const ASKS_MAX: usize = 5;
/// How often the gate looks at what is in doubt, once all is well.
const LOOKS: usize = 3;

/// Who of those who go after what is in doubt comes first after a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum First {
    Client,
    Gate,
}

/// What a gate needs to live, the same for all lives in one thread.
pub(crate) struct Ground {
    directory: tempfile::TempDir,
    listener: TcpListener,
    bundle: (lockgate_core::World, lockgate_core::world::Files),
    constant: Constant,
    clean: Disk,
    lives: std::cell::Cell<u64>,
}

/// What the threads of one life share.
pub(crate) struct Shared {
    tape: Mutex<Tape>,
    copied: Condvar,
    store: Mutex<Option<Store>>,
}

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Tape> {
        self.tape.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the committer has nothing to do, so that places come in the same order each
    /// time.
    pub(crate) async fn settle(&self) {
        let store = self.store.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(store) = store {
            // A store that fails is found out by who needs it.
            let _ = store.doubts(0, 1).await;
        }
    }

    /// The store has come to a moment.
    fn hear(&self, moment: DiskMoment) {
        let mut tape = self.lock();
        while tape.is_copying && moment != DiskMoment::Copied {
            tape = self.copied.wait(tape).unwrap_or_else(PoisonError::into_inner);
        }
        tape.hear(moment);
        self.copied.notify_all();
    }

    pub(crate) fn come_to(&self, place: Place) {
        let mut tape = self.lock();
        while tape.is_copying {
            tape = self.copied.wait(tape).unwrap_or_else(PoisonError::into_inner);
        }
        tape.come_to(place);
    }
}

/// How a life begins.
pub(crate) struct Birth<'a> {
    pub(crate) script: &'a Script,
    pub(crate) disk: Disk,
    pub(crate) world: World,
    pub(crate) first: First,
    pub(crate) faults: Faults,
    pub(crate) is_recorded: bool,
}

/// How it ended: where it could have crashed, and the world after it.
pub(crate) struct End {
    pub(crate) points: Vec<Point>,
    pub(crate) world: World,
}

/// A gate that runs.
pub(crate) struct Gate {
    pub(crate) kernel: Kernel,
    pub(crate) shared: Arc<Shared>,
}

impl Ground {
    /// A gate that has been started once, and stopped in order.
    pub(crate) fn new() -> Self {
        let ram = Path::new("/dev/shm");
        let directory = if ram.is_dir() {
            tempfile::tempdir_in(ram).unwrap()
        } else {
            tempfile::tempdir().unwrap()
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let bundle = bundle::compile(listener.local_addr().unwrap().port());
        let state = directory.path().join("clean");
        let options = Options::new(state.clone(), ORIGIN.to_owned(), crate::world::NOW[0]);
        let options = Options { heartbeat: None, wal_bytes: 0, ..options };
        runtime().block_on(async {
            let (store, _) = Store::open(options).unwrap();
            store.publish_bundle(bundle.0.digest, &bundle.1).await.unwrap();
            store.close().await.unwrap();
        });
        let (constant, clean) = (disk::read_constant(&state), Disk::read(&state));
        Self { directory, listener, bundle, constant, clean, lives: std::cell::Cell::new(0) }
    }

    /// The disk of a gate that was stopped in order.
    pub(crate) fn clean(&self) -> Disk {
        self.clean.clone()
    }

    /// Lives a life to its end.
    pub(crate) fn live(&self, birth: Birth<'_>) -> End {
        self.lives.set(self.lives.get() + 1);
        let directory = self.directory.path().join(self.lives.get().to_string());
        birth.disk.write(&directory, &self.constant);
        birth.world.begin();
        let Birth { disk, world, is_recorded, .. } = birth;
        let tape = Tape::new(world, directory.clone(), disk, is_recorded);
        let (copied, store) = (Condvar::new(), Mutex::new(None));
        let shared = Arc::new(Shared { tape: Mutex::new(tape), copied, store });
        let runtime = runtime();
        let birth = (birth.script, birth.first, birth.faults);
        let lived = runtime.block_on(async {
            tokio::time::timeout(LIFE_MAX, self.run(&directory, &shared, birth)).await
        });
        drop(runtime);
        // The store tells who is told of its moments: one of the two has to let go.
        shared.store.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut tape = shared.lock();
        let used = check::used_of_caps(&directory.join(disk::DATABASE));
        let places = check::places_taken(&directory.join(disk::DATABASE));
        let problem = match lived {
            Err(_) => Some("it hangs".to_owned()),
            Ok(Err(problem)) => Some(problem),
            Ok(Ok(taken)) if used != Some(taken) => {
                Some(format!("of the cap {used:?} is used, and calls took {taken}"))
            }
            Ok(Ok(_)) if places != Some(0) => {
                Some(format!("nothing is under way, and {places:?} places are taken"))
            }
            Ok(Ok(_)) => None,
        };
        tape.world.violations.extend(problem);
        let _ = std::fs::remove_dir_all(&directory);
        End { points: std::mem::take(&mut tape.points), world: tape.world.clone() }
    }

    /// Gives what calls took of caps by the log's account.
    async fn run(
        &self,
        directory: &Path,
        shared: &Arc<Shared>,
        (script, first, faults): (&Script, First, Faults),
    ) -> Result<i64, String> {
        let listener = self.listener.try_clone().and_then(tokio::net::TcpListener::from_std);
        tokio::spawn(upstream::serve(listener.unwrap(), Arc::clone(shared)));
        let gate = self.start(directory.to_owned(), shared, script, faults).await?;
        if first == First::Gate {
            gate.kernel.settle_doubts().await;
        }
        gate.follow(script).await;
        shared.lock().world.calm();
        for _ in 0..LOOKS {
            shared.lock().world.pass(SETTLED_US);
            gate.kernel.settle_doubts().await;
        }
        for (at, ask) in script.asks.iter().enumerate() {
            gate.ask(at, ask).await;
        }
        let taken = check::check(&gate, script).await?;
        let store = gate.kernel.store().clone();
        store.close().await.map_err(|error| format!("it does not stop in order: {error}"))?;
        Ok(taken)
    }

    async fn start(
        &self,
        directory: PathBuf,
        shared: &Arc<Shared>,
        script: &Script,
        faults: Faults,
    ) -> Result<Gate, String> {
        let watch = {
            let shared = Arc::clone(shared);
            DiskWatch::new(move |moment| {
                shared.hear(moment);
            })
        };
        let now = shared.lock().world.clock();
        let options = Options::new(directory.clone(), ORIGIN.to_owned(), now);
        let wal_bytes = u32::from(script.has_grown_wal);
        let options = Options { heartbeat: None, wal_bytes, watch: Some(watch), faults, ..options };
        let opened = Store::open(options);
        let (store, _) = opened.map_err(|error| format!("it does not start: {error}"))?;
        *shared.store.lock().unwrap_or_else(PoisonError::into_inner) = Some(store.clone());
        let upstreams = Upstreams::new(EffectsSettings::new(directory));
        let kernel = Kernel::new(store, upstreams, clock(shared));
        let (world, files) = &self.bundle;
        let adopted = kernel.adopt(world.clone(), files).await;
        adopted.map_err(|error| format!("no bundle: {error}"))?;
        Ok(Gate { kernel, shared: Arc::clone(shared) })
    }
}

const ORIGIN: &str = "test.example/gate";

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Time and ids are the world's; waiting is time that passes at once.
fn clock(shared: &Arc<Shared>) -> Clock {
    let now = shared.lock().world.clock();
    let (minting, waiting) = (Arc::clone(shared), Arc::clone(shared));
    let mint = move |_| CallId::new(&minting.lock().world.mint()).unwrap();
    Clock::custom(now, mint).waiting(move |pause| {
        let waiting = Arc::clone(&waiting);
        Box::pin(async move {
            waiting.settle().await;
            let us = i64::try_from(pause.as_micros()).unwrap_or(i64::MAX);
            waiting.lock().world.pass(us);
        })
    })
}

/// The tenants in which alice asks, each of which has a log of its own.
pub(crate) const TENANTS: [&str; 2] = ["default", "acme"];

/// The tenant in which a thing is asked for, however often.
const fn tenant_of(ask: &Ask) -> &'static str {
    if ask.n.is_multiple_of(2) { TENANTS[0] } else { TENANTS[1] }
}

fn alice(tenant: &str) -> Arc<Identity> {
    Arc::new(Identity {
        issuer: "test".to_owned(),
        subject: SubjectId::new("alice").unwrap(),
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

impl Gate {
    /// Asks for what has no answer yet.
    async fn follow(&self, script: &Script) {
        let is_over = self.shared.lock().world.is_over.clone();
        let asks = script.asks.iter().enumerate().zip(is_over);
        let open = asks.filter(|(_, is_over)| !is_over).map(|(ask, _)| async move {
            let (at, ask) = ask;
            self.ask(at, ask).await;
            self.shared.settle().await;
            let mut tape = self.shared.lock();
            tape.world.is_over[at] = true;
            tape.world.pass(ask.pause_us);
        });
        if script.is_at_once {
            futures_util::future::join_all(open).await;
        } else {
            for ask in open {
                ask.await;
            }
        }
    }

    /// Asks, keeps what was said, and holds it against what was said before.
    async fn ask(&self, at: usize, ask: &Ask) {
        let mut asked = 0;
        let (call, said, by_itself) = loop {
            asked += 1;
            let before = self.shared.lock().world.asked;
            let (call, said, is_busy) = self.ask_once(ask).await;
            if !is_busy || asked == ASKS_MAX {
                break (call, said, self.shared.lock().world.asked - before <= 1);
            }
        };
        {
            let mut tape = self.shared.lock();
            if matches!(said, Said::Done(_)) {
                let call = call.as_str().to_owned();
                tape.world.answered.push(Answered { call, by_itself });
            }
            check::hold(&mut tape.world, at, ask, said);
        }
        self.shared.come_to(Place::Answered);
        // What the client keeps of the log: nothing that it proves may ever be gone.
        for tenant in TENANTS {
            let signed = self.kernel.store().checkpoint_of(&tenant.parse().unwrap()).await;
            if let Ok(Some(checkpoint)) = signed {
                self.shared.lock().world.checkpoints.insert(tenant, checkpoint);
            }
        }
        self.shared.come_to(Place::Answered);
    }

    /// Asks. Also whether the gate has asked to be asked again.
    async fn ask_once(&self, ask: &Ask) -> (CallId, Said, bool) {
        let (client, _heard) = mpsc::channel(16);
        let n = i64::try_from(ask.n).unwrap_or_default();
        let arguments = Object::new().with("n", n);
        let mut params = Object::new().with("name", ask.tool.name()).with("arguments", arguments);
        if ask.has_key {
            params.set("_meta", Object::new().with(KEY_META, format!("k-{n}")));
        }
        let caller = Caller { session_key: "alice".to_owned(), ..Caller::default() };
        let proposal = Proposal {
            identity: alice(tenant_of(ask)),
            session: None,
            caller: Arc::new(caller),
            presented: Presented::Nothing,
            upstream: UpstreamName::new("shop").unwrap(),
            method: "tools/call".to_owned(),
            params,
            words: Words::default(),
            traceparent: None,
            key: None,
            model: None,
            client,
        };
        let reply = self.kernel.call(proposal).await;
        let is_busy = is_busy(&reply.answer);
        (reply.call, said(reply.answer), is_busy)
    }
}

/// What a client is to do about a refusal: to ask again.
fn is_busy(answer: &Answer) -> bool {
    let Answer::Refused(refusal) = answer else { return false };
    matches!(refusal.code, Code::FactsMoved | Code::EffectUnderWay)
}

/// What a client makes of an answer.
fn said(answer: Answer) -> Said {
    let mut result = match answer {
        Answer::Result(result) => result,
        Answer::Error(_) => return Said::Refused,
        Answer::Refused(refusal) if refusal.code == Code::OutcomeInDoubt => return Said::InDoubt,
        Answer::Refused(refusal) => {
            return Said::Else(format!("{}: {}", refusal.code, refusal.reason));
        }
    };
    if result.get("isError").and_then(Json::as_bool) == Some(true) {
        return Said::HasNotHappened;
    }
    if let Some(members) = result.as_object_mut() {
        let is_bare = members.get_mut("_meta").and_then(Json::as_object_mut).is_some_and(|meta| {
            meta.remove(EFFECT_META);
            meta.is_empty()
        });
        if is_bare {
            members.remove("_meta");
        }
        members.remove("isError");
    }
    Said::Done(result.to_string())
}
