//! Which runs are driven here: those that this node could take.

use super::{Driven, RUNS_AT_ONCE_MAX};
use crate::Kernel;
use lockgate_types::identity::Identity;
use lockgate_types::{CallId, SessionId};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Between two looks for runs that nobody drives. What begins or is answered here is heard of at
/// once.
const LOOK_EVERY: Duration = Duration::from_secs(1);

impl Kernel {
    /// Drives the runs that nobody drives, until it is to stop: then each goes as far as what it
    /// has under way, and whoever takes it up goes on.
    pub async fn tend_runs(&self, stop: CancellationToken) {
        let mut driving = JoinSet::new();
        loop {
            let mut answered = pin!(self.parts.answered.notified());
            answered.as_mut().enable();
            if self.world().is_some() {
                self.take_runs(&mut driving, &stop).await;
            }
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.parts.runs.wake.notified() => {}
                () = answered => {}
                Some(_) = driving.join_next(), if !driving.is_empty() => {}
                () = self.parts.clock.wait(LOOK_EVERY) => {}
            }
        }
        self.parts.runs.driven().values().for_each(|told| told.notify_one());
        while driving.join_next().await.is_some() {}
    }

    async fn take_runs(&self, driving: &mut JoinSet<()>, stop: &CancellationToken) {
        let room = RUNS_AT_ONCE_MAX.saturating_sub(self.parts.runs.driven().len());
        let Ok(room) = u32::try_from(room) else { return };
        if room == 0 {
            return;
        }
        let claimed = match self.parts.store.claim_runs(&self.driver(), room).await {
            Ok(claimed) => claimed,
            Err(error) => {
                tracing::warn!(%error, "it could not be seen which runs nobody drives");
                return;
            }
        };
        for run in claimed {
            let told = Arc::new(Notify::new());
            if self.parts.runs.driven().contains_key(&run) {
                continue;
            }
            self.parts.runs.driven().insert(run.clone(), Arc::clone(&told));
            let (kernel, stop) = (self.clone(), stop.clone());
            driving.spawn(async move {
                let here = Here { kernel: kernel.clone(), run: run.clone() };
                // On the heap: what a run may have to do is large.
                Box::pin(kernel.drive(&run, (&told, &stop), usize::MAX)).await;
                let left = kernel.parts.store.leave_run(&run, &kernel.driver()).await;
                if let Err(error) = left {
                    tracing::warn!(%run, %error, "a run was left without saying so");
                }
                drop(here);
            });
        }
    }

    /// Drives the runs that nobody drives, each by so many half steps, and then as if the gate had
    /// been killed: for simulations.
    pub async fn drive_runs_by(&self, halves: usize) {
        let room = u32::try_from(RUNS_AT_ONCE_MAX).unwrap_or(u32::MAX);
        let claimed = self.parts.store.claim_runs(&self.driver(), room).await.unwrap_or_default();
        for run in claimed {
            let (told, stop) = (Notify::new(), CancellationToken::new());
            Box::pin(self.drive(&run, (&told, &stop), halves)).await;
            if halves == usize::MAX {
                let _ = self.parts.store.leave_run(&run, &self.driver()).await;
            }
        }
    }

    /// As whom a run acts: as whoever opened it, as that was recorded, for the run's task.
    pub(super) async fn whose(&self, run: &CallId) -> Result<Option<Driven>, crate::port::Refusal> {
        let Some(facts) = self.facts_of(run).await? else { return Ok(None) };
        let arguments = facts.call.arguments();
        let task = arguments.and_then(|arguments| arguments.get("task")?.as_str());
        let task = task.and_then(|task| lockgate_types::TaskName::new(task).ok());
        let task = match (task, &facts.identity.task) {
            (Some(task), _) => Some(task),
            // A fork has the task of what it is a fork of.
            (None, own) => own.clone(),
        };
        let identity = Identity { task, ..Identity::clone(&facts.identity) };
        let Ok(session) = SessionId::new(&format!("run.{run}")) else { return Ok(None) };
        Ok(Some(Driven {
            id: run.clone(),
            opener: facts.identity,
            identity: Arc::new(identity),
            session,
        }))
    }
}

/// A run that is driven here, until this is dropped.
struct Here {
    kernel: Kernel,
    run: CallId,
}

impl Drop for Here {
    fn drop(&mut self) {
        self.kernel.parts.runs.driven().remove(&self.run);
    }
}
