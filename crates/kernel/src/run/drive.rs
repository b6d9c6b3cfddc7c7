//! Driving one run: what comes next is done, and written down, until it waits or is over.

use super::{Driven, kept};
use crate::Kernel;
use crate::port::Refusal;
use crate::refusal::not_recorded;
use lockgate_core::risk::{Class, Event as Held, Raise};
use lockgate_core::run::{Entry, Event, Moment, Over, Parked, RunState, Step, Wait, next};
use lockgate_store::{ApprovalState, RunPhase, Standing};
use lockgate_types::facts::Switch;
use lockgate_types::identity::Identity;
use lockgate_types::{CallId, Micros};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Between two looks at what is in doubt, as long as it has been so far, within these.
const DOUBT_AFTER_US: i64 = 5_000_000;
const DOUBT_AFTER_MAX_US: i64 = 3_600_000_000;
/// Between two looks whether a switch was lifted.
const SWITCH_AFTER_US: i64 = 1_000_000;
/// Between two attempts at what the gate itself could not do.
const AGAIN_AFTER: Duration = Duration::from_millis(500);
/// Attempts at what the gate itself could not do, before the run is left to be taken up again.
const ATTEMPTS_MAX: u32 = 8;

/// A run on its way.
pub(super) struct Journey<'a> {
    pub(super) kernel: &'a Kernel,
    pub(super) run: Driven,
    pub(super) state: RunState,
    /// Tells that something has changed: somebody wants it to end, or the gate stops.
    pub(super) told: &'a Notify,
    pub(super) stop: &'a CancellationToken,
    /// After how many half steps it ends, as a gate that is killed would: one half is writing an
    /// entry down, the other is what follows it.
    pub(super) halves: usize,
}

/// Why it is driven no further here.
pub(super) enum Left {
    /// It waits, or is over, or the gate stops.
    Here,
    /// Another node has it.
    Lost,
    /// The gate cannot go on with it now.
    Failed(Box<Refusal>),
}

impl From<Refusal> for Left {
    fn from(refusal: Refusal) -> Self {
        Self::Failed(Box::new(refusal))
    }
}

impl Kernel {
    /// Drives a run that was taken, as far as it goes.
    pub(super) async fn drive(
        &self,
        run: &CallId,
        (told, stop): (&Notify, &CancellationToken),
        halves: usize,
    ) {
        let left = match self.journey(run, told, stop).await {
            Ok(Some(mut journey)) => {
                journey.halves = halves;
                journey.go().await
            }
            Ok(None) => {
                tracing::warn!(%run, "a run was ended: its journal cannot be read any more");
                let ended = self.parts.store.end_run(run).await;
                ended.map_err(|error| Left::from(not_recorded(&error)))
            }
            Err(left) => Err(left),
        };
        match left {
            Ok(()) | Err(Left::Here) => {}
            Err(Left::Lost) => tracing::info!(%run, "another node drives the run"),
            Err(Left::Failed(refusal)) => {
                tracing::warn!(%run, code = %refusal.code, "a run is left for a while");
                self.parts.clock.wait(AGAIN_AFTER).await;
            }
        }
    }

    /// Reads a run's journal. `None`: it cannot be read any more.
    async fn journey<'a>(
        &'a self,
        run: &CallId,
        told: &'a Notify,
        stop: &'a CancellationToken,
    ) -> Result<Option<Journey<'a>>, Left> {
        let Some(mut run) = self.whose(run).await? else { return Ok(None) };
        let Some(entries) = self.journal(&run.opener, &run.id).await? else { return Ok(None) };
        let Ok(state) = RunState::of(&entries) else { return Ok(None) };
        let Some(began) = &state.began else { return Ok(None) };
        let task = Some(began.task.clone());
        run.identity = Arc::new(Identity { task, ..Identity::clone(&run.opener) });
        let halves = usize::MAX;
        Ok(Some(Journey { kernel: self, run, state, told, stop, halves }))
    }
}

impl Journey<'_> {
    async fn go(&mut self) -> Result<(), Left> {
        let is_fresh = self.state.turns.is_empty()
            || self.state.began.as_ref().is_some_and(|it| {
                // A fork begins with what another has come to, all at one moment.
                it.fork_of.is_some() && self.state.at == Some(it.at)
            });
        if !is_fresh && self.state.parked.is_none() {
            let why = "taken up again".to_owned();
            self.add(Event::Resumed { why, was_gone: true }).await?;
        }
        loop {
            let moment = self.moment().await?;
            let Some(world) = self.kernel.world() else { return Err(Left::Here) };
            let step = next(&world, &self.state, &moment);
            if self.stop.is_cancelled() && !matches!(step, Step::Record(_)) {
                return Ok(());
            }
            match step {
                Step::Nothing => return Ok(()),
                Step::Record(event) => self.add(*event).await?,
                Step::Ask(ask) => self.ask(*ask).await?,
                Step::Perform(perform) => self.perform(*perform).await?,
                Step::Wait(wait) => self.wait(wait).await?,
            }
        }
    }

    /// What holds now. Renews the lease.
    async fn moment(&self) -> Result<Moment, Left> {
        let cancelled_by = self.hold().await?;
        let switches = self.kernel.parts.store.switches();
        let switch = switches.iter().find(|switch| is_over_all(switch, &self.run.identity));
        Ok(Moment {
            at: Some(self.kernel.parts.clock.now()),
            cancelled_by,
            switch: switch.map(|switch| format!("{} `{}`", switch.scope, switch.name)),
        })
    }

    /// Says that it is still driven here. Gives who wants it to end.
    pub(super) async fn hold(&self) -> Result<Option<CallId>, Left> {
        let held = self.kernel.parts.store.hold_run(&self.run.id, &self.kernel.driver()).await;
        held.map_err(|error| not_recorded(&error))?.ok_or(Left::Lost)
    }

    /// Writes down what has happened. Nothing follows before that.
    pub(super) async fn add(&mut self, event: Event) -> Result<(), Left> {
        let due = self.due(&event);
        self.add_due(event, due).await
    }

    /// Until when a person is waited for: as long as the request lasts, and no longer than the task
    /// says.
    fn due(&self, event: &Event) -> Option<Micros> {
        let Event::Parked(Parked::Approval { expires, .. }) = event else { return None };
        let world = self.kernel.world()?;
        let plan = world.runs.get(&self.state.began.as_ref()?.task)?;
        let wait_us = i64::from(plan.declared.wait_s).saturating_mul(1_000_000);
        let until = self.kernel.parts.clock.now().0.saturating_add(wait_us);
        Some(Micros(until).min(*expires))
    }

    async fn add_due(&mut self, event: Event, due: Option<Micros>) -> Result<(), Left> {
        self.half()?;
        self.hold_uncertain(&event).await?;
        let entry = Entry { at: self.kernel.parts.clock.now(), event };
        let mut after = self.state.clone();
        if let Err(fault) = after.apply(&entry) {
            tracing::error!(run = %self.run.id, %fault, kind = entry.event.kind(),
                "an entry of a run cannot follow");
            return Err(Refusal::of(lockgate_types::Code::InvariantBroken).into());
        }
        let standing = standing(&after, due);
        let number = u32::try_from(self.state.entries).unwrap_or(u32::MAX);
        let mut attempts = 0;
        let added = loop {
            let driven = (&self.run.id, &self.kernel.driver());
            let numbered = (number, kept(&entry));
            let store = &self.kernel.parts.store;
            let added =
                store.add_run_entry(&self.run.opener, driven, numbered, standing.clone()).await;
            match added {
                Ok(added) => break added,
                Err(error) if attempts >= ATTEMPTS_MAX => return Err(not_recorded(&error).into()),
                // What has happened is written down, however long that takes.
                Err(_) => attempts += 1,
            }
            self.kernel.parts.clock.wait(AGAIN_AFTER).await;
        };
        if !added {
            return Err(Left::Lost);
        }
        self.state = after;
        self.kernel.parts.runs.added.notify_waiters();
        if standing.phase.is_over() {
            self.kernel.parts.runs.wake.notify_one();
            self.kernel.parts.upstreams.close_session(self.run.session.as_str()).await;
        }
        self.half()
    }

    /// What a check has found is held against the run's session, before it is written down: a gate
    /// that ends in between holds it twice, and never forgets it.
    async fn hold_uncertain(&self, event: &Event) -> Result<(), Left> {
        let Event::Verified { findings, .. } = event else { return Ok(()) };
        let rules = self.kernel.world().and_then(|world| world.risk.clone());
        let Some(rules) = rules.filter(|_| !findings.is_empty()) else { return Ok(()) };
        let store = &self.kernel.parts.store;
        let (who, now) = (&self.run.identity, self.kernel.parts.clock.now());
        let key = self.kernel.session_key(who, Some(&self.run.session));
        let look = store.look(&key, None).await;
        let (session, _, _) = look.map_err(|error| not_recorded(&error))?;
        let raise = Raise { rules, events: vec![Held::Happened(Class::Uncertain)] };
        let held = store.hold_against((who, session.id), raise, (&self.run.id, now)).await;
        held.map_err(|error| not_recorded(&error).into())
    }

    /// Half a step is taken, if it is not to end before.
    fn half(&mut self) -> Result<(), Left> {
        self.halves = self.halves.checked_sub(1).ok_or(Left::Here)?;
        Ok(())
    }

    /// Waits, or finds that there is nothing to wait for any more.
    async fn wait(&mut self, wait: Wait) -> Result<(), Left> {
        let now = self.kernel.parts.clock.now();
        match wait.parked {
            Parked::Approval { request, .. } => {
                // Looked at, not waited for: whoever answers wakes whoever drives runs.
                let state = self.kernel.wait_for_request(&request, now).await?;
                if state == ApprovalState::Pending {
                    return Err(Left::Here);
                }
                let why = format!("the request is {}", state.as_str());
                self.add(Event::Resumed { why, was_gone: false }).await
            }
            Parked::Doubt { turn, at, .. } => self.find_out(turn, at).await,
            Parked::Child { turn, at, run } => self.hear_child(turn, at, &run).await,
            Parked::Switch { .. } => Err(Left::Here),
        }
    }

    /// When it is looked at again what is in doubt.
    pub(super) async fn park_in_doubt(
        &mut self,
        (turn, at): (u32, u32),
        reason: String,
    ) -> Result<(), Left> {
        let now = self.kernel.parts.clock.now();
        let since = self.state.parked_at.map_or(0, |since| now.0.saturating_sub(since.0));
        let pause = since.clamp(DOUBT_AFTER_US, DOUBT_AFTER_MAX_US);
        let due = Micros(now.0.saturating_add(pause));
        self.add_due(Event::Parked(Parked::Doubt { turn, at, reason }), Some(due)).await?;
        Err(Left::Here)
    }
}

/// Whether a switch stops all that a run does, and not one tool of it.
fn is_over_all(switch: &Switch, identity: &Identity) -> bool {
    let name = switch.name.as_str();
    match switch.scope.as_str() {
        "global" => true,
        "tenant" => name == identity.tenant.as_str(),
        "environment" => name == identity.environment.as_str(),
        "agent" => name == identity.agent.as_str(),
        _ => false,
    }
}

/// How a run stands, without its journal.
fn standing(state: &RunState, due: Option<Micros>) -> Standing {
    let phase = match (&state.over, &state.parked) {
        (Some(Over::Finished { .. }), _) => RunPhase::Finished,
        (Some(Over::Stopped { .. }), _) => RunPhase::Stopped,
        (None, Some(_)) => RunPhase::Parked,
        (None, None) => RunPhase::Open,
    };
    let (due_at, waits_for) = match &state.parked {
        Some(Parked::Approval { request, expires, .. }) => (*expires, Some(request.clone())),
        Some(Parked::Child { run, .. }) => (Micros(i64::MAX), Some(run.clone())),
        Some(Parked::Switch { .. }) => {
            (Micros(state.at.map_or(0, |at| at.0).saturating_add(SWITCH_AFTER_US)), None)
        }
        Some(Parked::Doubt { .. }) | None => (Micros(0), None),
    };
    Standing { phase, due: due.unwrap_or(due_at), waits_for }
}
