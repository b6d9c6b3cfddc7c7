//! Runs that the gate itself drives: from a journal to its next entry, until it is over.
//!
//! What comes next is for `core::run` to say. Here it is done: models are asked and calls made as
//! anybody's are, with the identity of whoever opened the run and in a session of its own, each
//! decided and recorded. Then it is written down, and only then what follows is done. A call goes
//! under a key that its place in the journal gives it, so that it has one effect however often the
//! gate ends in the middle. A run that waits is driven by nobody; whoever takes it up reads its
//! journal.

mod ask;
mod drive;
mod make;
mod oversee;
mod people;
mod tend;
mod view;

pub use view::RunEntries;

use crate::Kernel;
use crate::again::KEY_BYTES_MAX;
use crate::port::Refusal;
use crate::refusal::not_recorded;
use lockgate_core::run::{Entry, Event, Started, fork};
use lockgate_store::{Begun, Driver, NewEntry, NewRun, RunKey, RunRow};
use lockgate_types::identity::Identity;
use lockgate_types::{CallId, Code, Json, Micros, Object, SessionId, TaskName};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Bytes of what a run is asked.
pub const RUN_INPUT_BYTES_MAX: usize = 12 << 10;
/// Runs that one node drives at once; others wait their turn.
pub const RUNS_AT_ONCE_MAX: usize = 64;
/// Microseconds for which a node has a run without saying so again.
const LEASE_US: i64 = 10_000_000;

/// The runs that are driven at this node.
pub(crate) struct Runs {
    /// A name that no other process has.
    name: String,
    driven: Mutex<BTreeMap<CallId, Arc<Notify>>>,
    /// There may be something to take up.
    wake: Notify,
    /// A journal has got another entry here.
    added: Notify,
}

impl Runs {
    pub(crate) fn of(name: CallId) -> Self {
        Self {
            name: name.to_string(),
            driven: Mutex::default(),
            wake: Notify::new(),
            added: Notify::new(),
        }
    }

    fn driven(&self) -> MutexGuard<'_, BTreeMap<CallId, Arc<Notify>>> {
        self.driven.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A run, and as whom it acts.
#[derive(Clone)]
pub(crate) struct Driven {
    /// The call by which it was started.
    pub(crate) id: CallId,
    /// Whoever opened it.
    pub(crate) opener: Arc<Identity>,
    /// The same, for the run's task.
    pub(crate) identity: Arc<Identity>,
    pub(crate) session: SessionId,
}

/// A run within another: which call of it, and what is left there.
pub(crate) struct InRun {
    pub(crate) run: CallId,
    pub(crate) part: String,
    pub(crate) budget: lockgate_core::run::Budget,
}

/// What makes a run the only one of its kind.
pub(crate) enum Once {
    /// The key under which whoever opens it asks.
    Key(String),
    /// The call of another run.
    Within(InRun),
}

impl Kernel {
    /// Starts a run for an identity, by a recorded call that allows it. Gives the run: of the same
    /// key there is one, for as long as keys are kept.
    pub async fn start_run(
        &self,
        identity: &Arc<Identity>,
        by: &CallId,
        (task, input): (&str, &str),
        key: Option<&str>,
    ) -> Result<CallId, Refusal> {
        let is_key = |key: &str| {
            (1..=KEY_BYTES_MAX).contains(&key.len())
                && key.bytes().all(|byte| byte.is_ascii_graphic())
        };
        if !key.is_none_or(is_key) {
            return Err(Refusal::of(Code::KeyMalformed));
        }
        let once = key.map(|key| Once::Key(key.to_owned()));
        self.start_once(identity, by, (task, input), once).await
    }

    pub(crate) async fn start_once(
        &self,
        identity: &Arc<Identity>,
        by: &CallId,
        (task, input): (&str, &str),
        once: Option<Once>,
    ) -> Result<CallId, Refusal> {
        let world = self.world().ok_or_else(|| Refusal::of(Code::NoBundle))?;
        let task = TaskName::new(task).map_err(|_| Refusal::of(Code::NoRuns))?;
        if !world.runs.contains_key(&task) {
            return Err(Refusal::of(Code::NoRuns));
        }
        let (key, within) = match once {
            None => (None, None),
            Some(Once::Key(key)) => {
                let asked = Object::new().with("task", task.as_str()).with("input", input);
                (Some(RunKey { key, asked: Json::from(asked).to_string() }), None)
            }
            Some(Once::Within(within)) => (None, Some(within)),
        };
        if identity.task.as_ref().is_some_and(|own| *own != task) && within.is_none() {
            return Err(Refusal::of(Code::TaskDiffers));
        }
        let started = Started {
            task: task.clone(),
            input: input.to_owned(),
            tenant: identity.tenant.as_str().to_owned(),
            environment: identity.environment.as_str().to_owned(),
            within: within.as_ref().map(|it| (it.run.clone(), it.budget.clone())),
            fork_of: None,
        };
        let at = self.parts.clock.now();
        let entries = [Entry { at, event: Event::Started(Box::new(started)) }];
        let within = within.map(|within| (within.run, within.part));
        let run = NewRun { within, key, ..self.new_run(by, &task, &entries) };
        self.begin_run(identity, run).await
    }

    /// Starts a run with what another has come to: all of it, or what was before a turn.
    pub async fn fork_run(
        &self,
        identity: &Arc<Identity>,
        (run, by): (&CallId, &CallId),
        until_turn: Option<u32>,
        input: Option<&str>,
    ) -> Result<CallId, Refusal> {
        let world = self.world().ok_or_else(|| Refusal::of(Code::NoBundle))?;
        let (_, entries) = self.own_run(identity, run).await?;
        let at = self.parts.clock.now();
        let differs = |why: String| Refusal { reason: why, ..Refusal::of(Code::RunDiffers) };
        let forked = fork(&world, run, &entries, until_turn, (input, at));
        let forked = forked.map_err(|error| differs(error.to_string()))?;
        let state = lockgate_core::run::RunState::of(&forked);
        let state = state.map_err(|fault| differs(fault.to_string()))?;
        let task = state.began.as_ref().map(|began| began.task.clone());
        let task = task.ok_or_else(|| Refusal::of(Code::InvariantBroken))?;
        if identity.task.as_ref().is_some_and(|own| *own != task) {
            return Err(Refusal::of(Code::TaskDiffers));
        }
        if !state.is_turn_over() {
            // What it came to there is not known: it must not be done again under another key.
            let turn = state.turns.len().saturating_sub(1);
            return Err(differs(format!("the turn {turn} was not finished: fork it from there")));
        }
        self.begin_run(identity, self.new_run(by, &task, &forked)).await
    }

    /// The task of a run of this identity's own.
    pub async fn task_of_run(
        &self,
        identity: &Identity,
        run: &CallId,
    ) -> Result<Option<String>, Refusal> {
        let found = self.parts.store.run(identity, run).await;
        Ok(found.map_err(|error| not_recorded(&error))?.map(|found| found.task))
    }

    fn new_run(&self, id: &CallId, task: &TaskName, entries: &[Entry]) -> NewRun {
        NewRun {
            id: id.clone(),
            task: task.as_str().to_owned(),
            within: None,
            key: None,
            at: self.parts.clock.now(),
            entries: entries.iter().map(kept).collect(),
        }
    }

    async fn begin_run(&self, identity: &Identity, run: NewRun) -> Result<CallId, Refusal> {
        let id = run.id.clone();
        let begun = self.parts.store.begin_run(identity, run).await;
        match begun.map_err(|error| not_recorded(&error))? {
            Begun::New => {
                self.parts.runs.wake.notify_one();
                Ok(id)
            }
            Begun::Known(known) => Ok(known),
            Begun::OtherInput => Err(Refusal::of(Code::RunKeyReused)),
            Begun::TooMany => Err(Refusal::of(Code::TooManyRuns)),
        }
    }

    /// Has a run end, as soon as what it has under way is recorded. What was let out is awaited.
    pub async fn cancel_run(
        &self,
        identity: &Identity,
        (run, by): (&CallId, &CallId),
    ) -> Result<(), Refusal> {
        let store = &self.parts.store;
        let found = store.run(identity, run).await.map_err(|error| not_recorded(&error))?;
        open(found)?;
        let cancelled = store.cancel_run(identity, run, by).await;
        cancelled.map_err(|error| not_recorded(&error))?;
        self.tell_of_cancelled();
        Ok(())
    }

    /// Those that are driven here look whether they are to end: those within one, too.
    fn tell_of_cancelled(&self) {
        self.parts.runs.driven().values().for_each(|told| told.notify_one());
        self.parts.runs.wake.notify_one();
    }

    /// A run of this identity's own, with its whole journal.
    pub(crate) async fn own_run(
        &self,
        identity: &Identity,
        run: &CallId,
    ) -> Result<(RunRow, Vec<Entry>), Refusal> {
        let found = self.parts.store.run(identity, run).await;
        let found = found.map_err(|error| not_recorded(&error))?;
        let found = found.ok_or_else(|| Refusal::of(Code::RecordNotFound))?;
        let entries = self.journal(identity, run).await?;
        Ok((found, entries.ok_or_else(|| Refusal::of(Code::PayloadErased))?))
    }

    /// The journal of a run. `None`: it cannot be read any more.
    pub(crate) async fn journal(
        &self,
        identity: &Identity,
        run: &CallId,
    ) -> Result<Option<Vec<Entry>>, Refusal> {
        let mut journal: Vec<Entry> = Vec::new();
        loop {
            let from = u32::try_from(journal.len()).unwrap_or(u32::MAX);
            let read = self.parts.store.run_entries(identity, run, from).await;
            let Some(page) = read.map_err(|error| not_recorded(&error))? else { return Ok(None) };
            if page.is_empty() {
                return Ok(Some(journal));
            }
            for bytes in &page {
                let Some(entry) = view::entry(bytes) else { return Ok(None) };
                journal.push(entry);
            }
        }
    }

    fn driver(&self) -> Driver {
        let until = Micros(self.parts.clock.now().0.saturating_add(LEASE_US));
        Driver { name: self.parts.runs.name.clone(), until }
    }
}

/// A run that is not over.
fn open(found: Option<RunRow>) -> Result<RunRow, Refusal> {
    let found = found.ok_or_else(|| Refusal::of(Code::RecordNotFound))?;
    match found.phase.is_over() {
        true => Err(Refusal::of(Code::RunNotOpen)),
        false => Ok(found),
    }
}

/// An entry as the store takes it.
fn kept(entry: &Entry) -> NewEntry {
    NewEntry {
        kind: entry.event.kind(),
        call: entry.event.call().cloned(),
        at: entry.at,
        body: entry.to_json().to_canonical(),
    }
}
