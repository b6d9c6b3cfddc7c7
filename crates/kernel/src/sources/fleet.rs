//! Sources in a fleet: one corpus, in which it stands which node runs what, and what was run last.
//!
//! Each node asks every now and then. It counts the time until a source is due from the last run,
//! whoever had it, and goes on with one that a lost node has left.

use super::Desk;
use crate::Kernel;
use lockgate_core::{World, declare};
use lockgate_retrieval::corpus::{Corpus, SourceRun};
use lockgate_types::{Digest, Micros};
use std::sync::PoisonError;

/// Microseconds between two looks at what the fleet runs: how soon a node goes on with what a lost
/// one has left.
const FLEET_LOOK_US: i64 = 2_000_000;
/// Microseconds of a second.
const SECOND_US: i64 = 1_000_000;

/// Whether a source is to be run that nobody has asked to run.
pub(super) fn is_due(
    last: &SourceRun,
    declaration: Digest,
    declared: &declare::Source,
    now: Micros,
) -> bool {
    let Some(ended) = last.ended else { return true };
    if last.declaration != Some(declaration) {
        return true;
    }
    let pause = super::tend::pause_us(declared, last.failures);
    pause.is_some_and(|pause| ended.0.saturating_add(pause).saturating_sub(SECOND_US) <= now.0)
}

impl Kernel {
    /// Whether this bundle is the one that rules the fleet. A node that is behind runs nothing and
    /// tells nothing: others may have told by now what the newer one says.
    pub(super) fn has_the_rules(&self, world: &World) -> bool {
        let ruling = self.parts.store.ruling();
        let ruling = ruling.and_then(|ruling| *ruling.borrow());
        ruling.is_none_or(|ruling| ruling == world.digest)
    }

    /// Notes what is run at other nodes, and when each source is due by what they have run.
    pub(super) async fn look_at_the_fleet(&self) {
        let now = self.parts.clock.now();
        {
            let asked = self.parts.sources.fleet_asked.lock();
            let mut asked = asked.unwrap_or_else(PoisonError::into_inner);
            if now.0.saturating_sub(asked.0) < FLEET_LOOK_US {
                return;
            }
            *asked = now;
        }
        let Some(corpus) = self.corpus().ok().filter(Corpus::is_shared) else { return };
        // That the database is away is said by whatever needs it.
        let asked = tokio::task::spawn_blocking(move || corpus.runs()).await;
        let Ok(Ok(runs)) = asked else { return };
        let mut desks = self.parts.sources.desks();
        for (name, desk) in desks.iter_mut() {
            desk.hear(runs.iter().find(|run| run.source == *name));
        }
    }
}

impl Desk {
    /// Notes how the fleet stands with a source.
    fn hear(&mut self, run: Option<&SourceRun>) {
        // What this node has ended since it was asked is still said to be under way.
        let last = self.shown.borrow().last.clone();
        let is_own = |it: &SourceRun| {
            last.as_ref().is_some_and(|last| last.begun <= it.begun && it.begun <= last.ended)
        };
        let is_elsewhere =
            |it: &&SourceRun| it.is_under_way && self.running.is_none() && !is_own(it);
        let elsewhere = run.filter(is_elsewhere);
        self.elsewhere = elsewhere.map(|run| run.begun);
        let elsewhere = self.elsewhere;
        let has_changed = self.shown.borrow().elsewhere != elsewhere;
        if has_changed {
            self.shown.send_modify(|standing| standing.elsewhere = elsewhere);
        }
        let Some(run) = run else { return };
        self.is_known |= run.is_known;
        self.failures = run.failures;
        match run.ended {
            Some(ended) => {
                let due = self.next(Some(ended), ended);
                let has_changed = self.shown.borrow().due != due;
                if has_changed {
                    self.shown.send_modify(|standing| standing.due = due);
                }
            }
            // Whoever had it has left it.
            None if !run.is_under_way && self.running.is_none() && !self.has_run() => {
                self.want_run(None);
            }
            None => {}
        }
    }
}
