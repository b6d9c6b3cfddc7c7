//! When sources are run: when they are due, when somebody asks, and when their declaration has
//! changed; and what is recorded of it.

use super::drive::{Came, Job, JobError, seen_at};
use super::note::ended_as;
use super::{Desk, Running, SOURCES_RUN_AT_ONCE_MAX, Standing, What, plan};
use crate::Kernel;
use crate::port::Refusal;
use lockgate_core::World;
use lockgate_core::bundle::search::RETRIEVAL;
use lockgate_core::declare;
use lockgate_retrieval::corpus::{Corpus, CorpusError, SnapshotState};
use lockgate_retrieval::ingest::{Progress, Seen};
use lockgate_types::{CallId, Code, Micros, Tenant};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Between two looks at what is due.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long threads are waited for when the gate ends. What they leave is gone on with.
const ENDED_WITHIN: Duration = Duration::from_secs(5);
/// Microseconds after which a run that has failed is tried again, doubled with each failure, and at
/// most the cadence of its source.
const AGAIN_AFTER_US: i64 = 60_000_000;
/// Microseconds after which it is looked again whether another node still runs a source.
const ELSEWHERE_US: i64 = 1_000_000;
/// Doublings of that.
const DOUBLINGS_MAX: u32 = 10;

/// What a thread has come to.
struct Done {
    name: String,
    tenant: Tenant,
    what: What,
    by: Option<CallId>,
    begun: Micros,
    result: Result<Came, JobError>,
}

impl Kernel {
    /// Runs sources as they are due, until it is to stop: then runs end where they are, and the
    /// next start goes on with them.
    pub async fn tend_sources(&self, stop: CancellationToken) {
        let mut threads: JoinSet<Done> = JoinSet::new();
        loop {
            if self.bringing().is_ok()
                && let Some(world) = self.world()
            {
                self.look_at_sources(&world).await;
                self.look_at_the_fleet().await;
                self.begin_sources(&world, &mut threads);
            }
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.parts.sources.wake.notified() => {}
                Some(done) = threads.join_next(), if !threads.is_empty() => {
                    if let Ok(done) = done {
                        self.source_ended(done);
                    }
                }
                () = self.parts.clock.wait(LOOK_EVERY) => {}
            }
        }
        for desk in self.parts.sources.desks().values_mut() {
            if let Some(running) = &desk.running {
                running.stop.store(true, Ordering::Relaxed);
            }
        }
        let all = async {
            while let Some(done) = threads.join_next().await {
                if let Ok(done) = done {
                    self.source_ended(done);
                }
            }
        };
        if tokio::time::timeout(ENDED_WITHIN, all).await.is_err() {
            tracing::warn!("a source was left in the middle of a document: the next start goes on");
        }
    }

    /// Has a source run, or told anew who may see what. Gives the number of the run: of one that
    /// waits or is under way already, that one's.
    pub async fn ask_source(&self, name: &str, by: &CallId) -> Result<u64, Refusal> {
        let (_, tenant) = self.declared_source(name)?;
        self.bringing()?;
        if self.is_switched_off(&tenant) {
            return Err(Refusal::of(Code::RunStopped));
        }
        if let Some(world) = self.world() {
            self.look_at_sources(&world).await;
        }
        let mut desks = self.parts.sources.desks();
        let desk = desks.get_mut(name).ok_or_else(|| Refusal::of(Code::NoSuchSource))?;
        let number = match (&desk.running, &desk.wants_run) {
            (Some(Running { what: What::Run(number), .. }), _) | (_, Some((number, _))) => *number,
            _ => desk.want_run(Some(by.clone())),
        };
        drop(desks);
        self.parts.sources.wake.notify_one();
        Ok(number)
    }

    /// Tells anew who may see what of a source, before whatever else is under way: it is in force
    /// when this returns.
    pub async fn tell_source(&self, name: &str) -> Result<(), Refusal> {
        let (declared, tenant) = self.declared_source(name)?;
        if let Some(world) = self.world() {
            if !self.has_the_rules(&world) {
                return Err(Refusal::of(Code::BundleBehind));
            }
            self.look_at_sources(&world).await;
        }
        let _telling = Telling::begin(self, name);
        let standing = {
            let mut desks = self.parts.sources.desks();
            desks.get_mut(name).and_then(|desk| {
                // What it has listed may be older than what is listed now: it goes on afterwards.
                let running = desk.running.as_mut();
                let run = running.filter(|running| matches!(running.what, What::Run(_)))?;
                run.is_interrupted = true;
                run.stop.store(true, Ordering::Relaxed);
                Some(desk.shown.subscribe())
            })
        };
        if let Some(mut standing) = standing {
            let _ = standing.wait_for(|standing| standing.running.is_none()).await;
        }
        let how = (What::Told, true);
        let job = self.source_job((name, declared, tenant), how, Arc::default(), Box::new(|_| {}));
        let done = thread(job).await.unwrap_or_else(|| Err(lost()));
        done.map(drop)
            .map_err(|error| Refusal { reason: error.to_string(), ..Refusal::of(error.code()) })
    }

    /// How a source stands, as it changes.
    pub(crate) fn standing(&self, name: &str) -> Option<watch::Receiver<Standing>> {
        self.parts.sources.desks().get(name).map(|desk| desk.shown.subscribe())
    }

    /// The snapshots of a source that tasks of the ruling bundle name.
    pub(super) fn named_snapshots(&self, source: &str) -> BTreeSet<u64> {
        let Some(world) = self.world() else { return BTreeSet::new() };
        world.tasks.values().filter_map(|task| task.snapshots.get(source).copied()).collect()
    }

    /// Whether a kill switch stops what the gate does for sources of a tenant.
    pub(super) fn is_switched_off(&self, tenant: &Tenant) -> bool {
        let environment = self.world().map(|world| world.environment.clone());
        self.parts.store.switches().iter().any(|switch| match switch.scope.as_str() {
            "global" => true,
            "tenant" => switch.name == tenant.as_str(),
            "environment" => environment.as_ref().is_some_and(|it| it.as_str() == switch.name),
            "tool" => switch.name == RETRIEVAL,
            _ => false,
        })
    }

    /// Notes what is new, changed, gone or due.
    async fn look_at_sources(&self, world: &World) {
        for (name, declared) in &world.sources {
            let is_known = {
                let desks = self.parts.sources.desks();
                desks.get(name).is_some_and(|desk| *desk.declared == *declared)
            };
            if !is_known {
                self.take_up_source(world, name, declared).await;
            }
        }
        let now = self.parts.clock.now();
        let under = self.parts.sources.looked_under.lock();
        let before = under.unwrap_or_else(PoisonError::into_inner).replace(world.digest);
        let is_another = before != Some(world.digest);
        let mut desks = self.parts.sources.desks();
        for (name, desk) in desks.iter_mut() {
            // Who may see what may be declared otherwise, and tasks may name other snapshots.
            desk.wants_told |= is_another && desk.is_known;
            if !world.sources.contains_key(name) {
                (desk.wants_run, desk.wants_told) = (None, false);
                desk.running.iter().for_each(|it| it.stop.store(true, Ordering::Relaxed));
                continue;
            }
            let due = desk.shown.borrow().due;
            if due.is_some_and(|due| due <= now) && desk.running.is_none() && !desk.has_run() {
                desk.want_run(None);
            }
        }
        desks.retain(|name, desk| desk.running.is_some() || world.sources.contains_key(name));
    }

    /// A source is new here, or declared otherwise than before.
    async fn take_up_source(&self, world: &World, name: &str, declared: &declare::Source) {
        let declared = Arc::new(declared.clone());
        let tenant = declared.tenant.as_deref().and_then(|tenant| Tenant::new(tenant).ok());
        let tenant = tenant.unwrap_or_else(|| world.tenant.clone());
        let (kernel, asked, of) = (self.clone(), Arc::clone(&declared), name.to_owned());
        let found = tokio::task::spawn_blocking(move || kernel.history(&of, &tenant, &asked)).await;
        let history = match found {
            Ok(Ok(history)) => history,
            Ok(Err(error)) => {
                tracing::error!(source = name, %error, "a source cannot be looked at");
                History::default()
            }
            Err(_) => History::default(),
        };
        let mut desks = self.parts.sources.desks();
        let desk = desks.entry(name.to_owned()).or_insert_with(|| Desk::new(&declared));
        desk.declared = declared;
        if let Some(running) = &mut desk.running {
            // It was begun under the declaration before.
            running.is_interrupted = true;
            running.stop.store(true, Ordering::Relaxed);
        }
        desk.is_known |= history.is_known;
        let due = desk.next(history.ended, Micros(0));
        desk.shown.send_modify(|standing| standing.due = due);
        // What was interrupted goes on, and what was read under another declaration is read again.
        if history.is_open || (history.is_known && !history.is_as_declared) {
            desk.want_run(None);
        }
    }

    fn history(
        &self,
        name: &str,
        tenant: &Tenant,
        declared: &declare::Source,
    ) -> Result<History, JobError> {
        let gate = |refusal: Refusal| JobError::Gate { code: refusal.code, why: refusal.reason };
        let corpus: Corpus = self.corpus().map_err(gate)?;
        let snapshots = match corpus.snapshots(name) {
            Ok(snapshots) => snapshots,
            Err(CorpusError::NoSuchSource { .. }) => return Ok(History::default()),
            Err(error) => return Err(error.into()),
        };
        let source = plan::source(name, tenant, declared);
        if corpus.is_shared() {
            let run = corpus.runs()?.into_iter().find(|run| run.source == name);
            return Ok(History {
                is_known: true,
                is_open: run.as_ref().is_some_and(|it| it.ended.is_none() && !it.is_under_way),
                is_as_declared: run
                    .as_ref()
                    .is_some_and(|it| it.declaration == Some(source.digest())),
                ended: run.and_then(|it| it.ended),
            });
        }
        let seen = Seen::open(&seen_at(&self.bringing().map_err(gate)?.state, name)?);
        Ok(History {
            is_known: true,
            is_open: snapshots.iter().any(|it| it.state == SnapshotState::Draft),
            is_as_declared: seen.is_ok_and(|seen| seen.is_of(&source)),
            ended: snapshots.iter().filter_map(|it| it.ended).max(),
        })
    }

    /// Starts what is wanted, as far as there is room.
    fn begin_sources(&self, world: &World, threads: &mut JoinSet<Done>) {
        if !self.has_the_rules(world) {
            return;
        }
        let mut desks = self.parts.sources.desks();
        let count = |desks: &std::collections::BTreeMap<String, Desk>| {
            let is_run =
                |it: &&Desk| it.running.as_ref().is_some_and(|it| matches!(it.what, What::Run(_)));
            desks.values().filter(is_run).count()
        };
        let names: Vec<String> = desks.keys().cloned().collect();
        for name in names {
            let room = count(&desks) < SOURCES_RUN_AT_ONCE_MAX;
            let is_free = |desk: &&mut Desk| desk.running.is_none() && desk.telling == 0;
            let now = self.parts.clock.now();
            let Some(desk) = desks.get_mut(&name).filter(is_free) else { continue };
            let tenant = desk.declared.tenant.as_deref().and_then(|it| Tenant::new(it).ok());
            let tenant = tenant.unwrap_or_else(|| world.tenant.clone());
            let (what, by) = if desk.wants_told && desk.tell_from <= now {
                desk.wants_told = false;
                (What::Told, None)
            } else if room
                && desk.elsewhere.is_none()
                && desk.run_from <= now
                && !self.is_switched_off(&tenant)
                && let Some((number, by)) = desk.wants_run.take()
            {
                (What::Run(number), by)
            } else {
                continue;
            };
            let stop = Arc::new(AtomicBool::new(false));
            let begun = now;
            let running = Running { what, stop: Arc::clone(&stop), is_interrupted: false };
            desk.running = Some(running);
            if matches!(what, What::Run(_)) {
                let running = Some((begun, Progress::default()));
                desk.shown.send_modify(|standing| standing.running = running);
            }
            let shown = desk.shown.clone();
            let progress = Box::new(move |progress: &Progress| {
                let running = Some((begun, *progress));
                shown.send_modify(|standing| standing.running = running);
            });
            let of = (name.as_str(), Arc::clone(&desk.declared), tenant.clone());
            let done = thread(self.source_job(of, (what, by.is_some()), stop, progress));
            threads.spawn(async move {
                let result = done.await.unwrap_or_else(|| Err(lost()));
                Done { name, tenant, what, by, begun, result }
            });
        }
    }

    fn source_job(
        &self,
        (name, declared, tenant): (&str, Arc<declare::Source>, Tenant),
        (what, is_asked): (What, bool),
        stop: Arc<AtomicBool>,
        progress: Box<dyn FnMut(&Progress) + Send>,
    ) -> Job {
        let (kernel, runtime) = (self.clone(), tokio::runtime::Handle::current());
        let name = name.to_owned();
        Job { kernel, runtime, name, declared, tenant, what, is_asked, stop, progress }
    }

    /// Notes what became of something, and records it if it was a run.
    fn source_ended(&self, done: Done) {
        let now = self.parts.clock.now();
        let Done { name, tenant, what, by, begun, result } = done;
        let mut desks = self.parts.sources.desks();
        let Some(desk) = desks.get_mut(&name) else { return };
        let was = desk.running.take();
        let What::Run(number) = what else {
            if let Err(error) = &result {
                tracing::warn!(source = name, code = %error.code(), %error,
                    "who may see what was not told");
                // Until it is, the last that was told holds. Of what somebody has forgotten at
                // another node nothing is to be told.
                desk.is_known &= error.code() != Code::NoSuchSource;
                desk.wants_told = desk.is_known;
                desk.tell_from = Micros(now.0.saturating_add(AGAIN_AFTER_US));
            }
            return;
        };
        let is_interrupted = was.is_some_and(|it| it.is_interrupted);
        let (is_to_go_on, result) = match result {
            Err(error) => {
                let is_told_anew = error.code() == Code::ToldAnew;
                (is_told_anew || (is_interrupted && error.is_stopped()), Err(error))
            }
            Ok(Came::Run(report)) => (false, Ok(Some(*report))),
            Ok(Came::Told) => (false, Ok(None)),
            Ok(Came::Elsewhere) => {
                desk.run_from = Micros(now.0.saturating_add(ELSEWHERE_US));
                (true, Ok(None))
            }
            Ok(Came::NotDue) => {
                // When it is due the fleet says.
                desk.shown.send_modify(|standing| {
                    (standing.running, standing.due) = (None, None);
                });
                return;
            }
        };
        if is_to_go_on {
            desk.wants_run = desk.wants_run.take().or(Some((number, by)));
            desk.shown.send_modify(|standing| standing.running = None);
            return;
        }
        desk.failures = if result.is_ok() { 0 } else { desk.failures.saturating_add(1) };
        desk.is_known |= result.is_ok();
        let ended = ended_as(number, (begun, now), &result);
        let due = desk.next(Some(now), now);
        desk.shown.send_modify(|standing| {
            standing.running = None;
            standing.last = Some(Arc::new(ended));
            standing.due = due;
        });
        drop(desks);
        self.note_source(&name, &tenant, by, &result);
    }
}

/// Somebody has it told who may see what of a source, until this is dropped.
struct Telling {
    kernel: Kernel,
    name: String,
}

impl Telling {
    fn begin(kernel: &Kernel, name: &str) -> Self {
        if let Some(desk) = kernel.parts.sources.desks().get_mut(name) {
            desk.telling = desk.telling.saturating_add(1);
        }
        Self { kernel: kernel.clone(), name: name.to_owned() }
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        if let Some(desk) = self.kernel.parts.sources.desks().get_mut(&self.name) {
            desk.telling = desk.telling.saturating_sub(1);
        }
        self.kernel.parts.sources.wake.notify_one();
    }
}

/// What the corpus knows of a source.
#[derive(Default)]
struct History {
    /// It was begun at some time.
    is_known: bool,
    /// A run was interrupted.
    is_open: bool,
    /// It was read under the declaration of now.
    is_as_declared: bool,
    /// When the last run came to its end.
    ended: Option<Micros>,
}

impl Desk {
    fn new(declared: &Arc<declare::Source>) -> Self {
        Self {
            declared: Arc::clone(declared),
            wants_told: false,
            is_known: false,
            tell_from: Micros(0),
            wants_run: None,
            run_from: Micros(0),
            running: None,
            elsewhere: None,
            telling: 0,
            failures: 0,
            shown: watch::Sender::new(Standing::default()),
        }
    }

    pub(super) const fn has_run(&self) -> bool {
        self.wants_run.is_some()
    }

    pub(super) fn want_run(&mut self, by: Option<CallId>) -> u64 {
        let number = self.shown.borrow().number.saturating_add(1);
        self.shown.send_modify(|standing| standing.number = number);
        self.wants_run = Some((number, by));
        number
    }

    /// When the next run is due, after the last one has ended.
    pub(super) fn next(&self, ended: Option<Micros>, now: Micros) -> Option<Micros> {
        let pause = pause_us(&self.declared, self.failures)?;
        Some(ended.map_or(now, |ended| Micros(ended.0.saturating_add(pause))))
    }
}

/// Microseconds from the end of a run to the next. `None`: it is run by hand.
pub(super) fn pause_us(declared: &declare::Source, failures: u32) -> Option<i64> {
    let every_us = i64::from(declared.refresh_s?).saturating_mul(1_000_000);
    let doublings = failures.saturating_sub(1).min(DOUBLINGS_MAX);
    let doubled = AGAIN_AFTER_US.saturating_mul(1 << doublings);
    Some(if failures == 0 { every_us } else { every_us.min(doubled) })
}

/// Does it on a thread of its own: one that hangs in a system call keeps no runtime from ending.
/// `None`: the thread has panicked, or was not to be had.
async fn thread(job: Job) -> Option<Result<Came, JobError>> {
    let (tell, hear) = oneshot::channel();
    let name = format!("source {}", job.name).chars().take(15).collect();
    let started = std::thread::Builder::new().name(name).spawn(move || {
        let _ = tell.send(job.perform());
    });
    match started {
        Ok(_) => hear.await.ok(),
        Err(error) => {
            tracing::error!(%error, "there is no thread for a source");
            None
        }
    }
}

fn lost() -> JobError {
    let why = "its thread has ended".to_owned();
    JobError::Gate { code: Code::InvariantBroken, why }
}
