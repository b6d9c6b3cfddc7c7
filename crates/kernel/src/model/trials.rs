//! Entries that are tried out: how each stands, as the store counts it for all nodes.
//!
//! What is known here is as the store said last: after each answer of a canary, and in a fleet at
//! least once in [`LOOK_EVERY_US`] where somebody asks.

use super::Trial;
use lockgate_core::World;
use lockgate_core::canary::{self, Canary, Guard, Rules, Stage, Tally};
use lockgate_core::declare;
use lockgate_store::{CanarySeen, Store};
use lockgate_types::{Digest, Micros};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;

/// Copies of requests that are on their way to shadows. What would be one more is not copied.
pub const SHADOWS_MAX: usize = 16;
/// Microseconds after which a node of a fleet looks how canaries stand that others count as well.
const LOOK_EVERY_US: i64 = 1_000_000;

/// Entries that are tried out, and copies on their way.
pub(crate) struct Trials {
    store: Store,
    canaries: Mutex<BTreeMap<Digest, Canary>>,
    looked_at: AtomicI64,
    pub(super) shadows: Arc<Semaphore>,
}

/// A canary of a bundle.
struct Tried<'a> {
    model: &'a str,
    declared: &'a declare::Canary,
    key: Digest,
}

impl Trials {
    pub(crate) fn of(store: Store) -> Self {
        let (canaries, looked_at) = (Mutex::default(), AtomicI64::new(0));
        Self { store, canaries, looked_at, shadows: Arc::new(Semaphore::new(SHADOWS_MAX)) }
    }

    /// What the canaries of a bundle are known by.
    pub(crate) fn keys(world: &World) -> Vec<Digest> {
        tried(world).map(|it| it.key).collect()
    }

    /// Goes on from how the canaries of a bundle stand that takes over; others are let go.
    pub(crate) fn keep(&self, world: &World, kept: BTreeMap<Digest, Canary>) {
        let keys: BTreeSet<Digest> = Self::keys(world).into_iter().collect();
        let mut canaries = self.canaries.lock().unwrap_or_else(PoisonError::into_inner);
        canaries.retain(|key, _| keys.contains(key));
        canaries.extend(kept);
    }

    /// How those of a bundle stand that have been asked or are kept.
    pub(super) fn all(&self, world: &World) -> Vec<Trial> {
        let canaries = self.canaries.lock().unwrap_or_else(PoisonError::into_inner);
        let known = tried(world).filter_map(|it| {
            let standing = canaries.get(&it.key)?.clone();
            Some(Trial { model: it.model.to_owned(), canary: it.declared.entry.clone(), standing })
        });
        known.collect()
    }

    /// How each canary of the bundle stands, by the entry in whose place it is tried. One that was
    /// taken back for a while, and the while is over, is tried again.
    pub(crate) async fn stages(&self, world: &World, now: Micros) -> BTreeMap<String, Stage> {
        let mut stages = BTreeMap::new();
        let mut all = tried(world).peekable();
        if all.peek().is_some() {
            Box::pin(self.look(world, now)).await;
        }
        for it in all {
            let known = self.known(&it.key);
            let rules = Rules::of(it.declared);
            let mut then = known.clone().unwrap_or_else(|| Canary::new(now));
            let is_due = then.observe(&rules, Tally::default(), now).is_some();
            let standing = match is_due || known.is_none() {
                true => Box::pin(self.observe(&it, Tally::default(), now)).await,
                false => known,
            };
            // One of which nobody knows how it stands gets nothing.
            stages.extend(standing.map(|standing| (it.model.to_owned(), standing.stage())));
        }
        stages
    }

    /// Counts an answer of an entry, where it is tried in another's place.
    pub(super) async fn answered(
        &self,
        world: &World,
        entry: &str,
        was: impl Fn(&declare::Canary) -> Vec<Guard>,
        now: Micros,
    ) {
        for it in tried(world).filter(|it| it.declared.entry == entry) {
            let answers = Tally::of_one(&was(it.declared));
            Box::pin(self.observe(&it, answers, now)).await;
        }
    }

    fn known(&self, key: &Digest) -> Option<Canary> {
        self.canaries.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    /// Looks how canaries stand, where other nodes count them as well.
    async fn look(&self, world: &World, now: Micros) {
        let looked_at = self.looked_at.load(Ordering::Acquire);
        let is_due = now.0.saturating_sub(looked_at) >= LOOK_EVERY_US;
        if self.store.ruling().is_none() || !is_due {
            return;
        }
        let mine =
            self.looked_at.compare_exchange(looked_at, now.0, Ordering::AcqRel, Ordering::Acquire);
        if mine.is_err() {
            return;
        }
        match self.store.canaries(Self::keys(world)).await {
            Ok(found) => self.keep(world, found),
            Err(error) => tracing::warn!(%error, "it is not known how canaries stand"),
        }
    }

    /// Counts answers of a canary, none where time has merely passed. How it stands then; as far as
    /// is known here, if that cannot be recorded.
    async fn observe(&self, it: &Tried<'_>, answers: Tally, at: Micros) -> Option<Canary> {
        let was = self.known(&it.key).map(|known| known.stage());
        let seen = CanarySeen {
            model: it.model.to_owned(),
            canary: it.declared.entry.clone(),
            key: it.key,
            rules: Rules::of(it.declared),
            answers,
            at,
        };
        match self.store.observe_canary(seen).await {
            Ok(standing) => {
                if was.is_some_and(|was| was != standing.stage()) {
                    let (model, canary) = (it.model, &it.declared.entry);
                    let stage = standing.stage().as_str();
                    tracing::warn!(model, canary, stage, "a canary has another stage");
                }
                let mut canaries = self.canaries.lock().unwrap_or_else(PoisonError::into_inner);
                canaries.insert(it.key, standing.clone());
                Some(standing)
            }
            Err(error) => {
                tracing::error!(%error, model = it.model, "a canary's answers were not counted");
                self.known(&it.key)
            }
        }
    }
}

/// The canaries of a bundle.
fn tried(world: &World) -> impl Iterator<Item = Tried<'_>> {
    world.models.iter().filter_map(|(model, entry)| {
        let declared = entry.declared.canary.as_ref()?;
        Some(Tried { model, declared, key: canary::key(&world.models, model)? })
    })
}
