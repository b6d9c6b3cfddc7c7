//! Who is asked, one after the other, and what becomes of entries that are tried out.
//!
//! An attempt that fails before the client has anything of an answer is followed by the next entry;
//! one that a rule refuses is not. Canaries are counted here, a node for itself.

use super::{
    ATTEMPTS_MAX, ModelCall, ModelRequest, Notes, Routed, Taken, Trial, instead, proposal,
};
use crate::Kernel;
use crate::port::{Answer, ClientPort, Refusal, Reply};
use crate::words::Words;
use lockgate_core::World;
use lockgate_core::canary::{self, Canary, Guard, Rules, Stage, Tally};
use lockgate_core::caps::{Charge, Until};
use lockgate_core::declare;
use lockgate_core::eval;
use lockgate_core::route::{Pick, Route};
use lockgate_effects::model::STATUS;
use lockgate_store::{CanaryMoved, Store};
use lockgate_types::evaluated::Evaluated;
use lockgate_types::model::ModelAsked;
use lockgate_types::{Blame, CallId, Code, Digest, Json, Micros, Object};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Semaphore, mpsc};

/// Copies of requests that are on their way to shadows. What would be one more is not copied.
pub const SHADOWS_MAX: usize = 16;
/// Counters that are remembered for having been told of. Beyond, all are told of again.
const TOLD_MAX: usize = 10_000;
/// Messages for the client of a copy: nobody reads them.
const UNREAD_MAX: usize = 64;

/// Entries that are tried out, and copies on their way.
pub(crate) struct Trials {
    store: Store,
    canaries: Mutex<BTreeMap<Digest, Canary>>,
    /// Until when the operator need not be told again of a counter.
    told: Mutex<BTreeMap<(String, String), Until>>,
    shadows: Arc<Semaphore>,
}

impl Trials {
    pub(crate) fn of(store: Store) -> Self {
        let (canaries, told) = (Mutex::default(), Mutex::default());
        Self { store, canaries, told, shadows: Arc::new(Semaphore::new(SHADOWS_MAX)) }
    }

    /// Goes on from what is kept of the canaries of a bundle that takes over; others are let go.
    pub(crate) fn keep(&self, world: &World, kept: &Object) {
        let keys = world.models.iter().filter_map(|(name, _)| canary::key(&world.models, name));
        let keys: BTreeSet<Digest> = keys.collect();
        let mut canaries = self.canaries.lock().unwrap_or_else(PoisonError::into_inner);
        canaries.retain(|key, _| keys.contains(key));
        for key in keys {
            let known = kept.get(&key.to_string()).and_then(Canary::from_json);
            if let Some(known) = known {
                canaries.entry(key).or_insert(known);
            }
        }
    }

    /// How those of a bundle stand that have been asked or are kept.
    pub(super) fn all(&self, world: &World) -> Vec<Trial> {
        let canaries = self.canaries.lock().unwrap_or_else(PoisonError::into_inner);
        let known = world.models.iter().filter_map(|(name, model)| {
            let declared = model.declared.canary.as_ref()?;
            let standing = canaries.get(&canary::key(&world.models, name)?)?.clone();
            Some(Trial { model: name.to_owned(), canary: declared.entry.clone(), standing })
        });
        known.collect()
    }

    /// Counts answers of a canary, none where time has merely passed, and records what became of
    /// it.
    fn observe(
        &self,
        canaries: &mut BTreeMap<Digest, Canary>,
        (model, declared, key): (&str, &declare::Canary, Digest),
        (answers, now): (Tally, Micros),
    ) -> Stage {
        let canary = canaries.entry(key).or_insert_with(|| Canary::new(now));
        let (was, mut tally) = (canary.stage(), canary.tally());
        tally.add(answers);
        let changed = canary.observe(&Rules::of(declared), answers, now);
        let stage = canary.stage();
        let Some(changed) = changed else { return stage };
        let breach = changed.breach.map(|breach| {
            format!("{}: {} of {}", breach.guard.as_str(), breach.seen, breach.calls)
        });
        tracing::warn!(model, canary = declared.entry, stage = stage.as_str(), breach, "a canary");
        let all = canaries.iter().map(|(key, canary)| (key.to_string(), canary.to_json()));
        let moved = CanaryMoved {
            model: model.to_owned(),
            canary: declared.entry.clone(),
            was,
            stage,
            guard: changed.breach.map(|breach| breach.guard),
            tally,
            kept: all.collect(),
        };
        if let Err(error) = self.store.note_canary(moved) {
            tracing::error!(%error, model, "what became of a canary was not recorded");
        }
        stage
    }

    /// How each canary of the bundle stands, by the entry in whose place it is tried. One that was
    /// taken back for a while, and the while is over, is tried again.
    pub(crate) fn stages(&self, world: &World, now: Micros) -> BTreeMap<String, Stage> {
        let mut canaries = self.canaries.lock().unwrap_or_else(PoisonError::into_inner);
        let tried = world.models.iter().filter_map(|(name, model)| {
            let declared = model.declared.canary.as_ref()?;
            let of = (name, declared, canary::key(&world.models, name)?);
            let stage = self.observe(&mut canaries, of, (Tally::default(), now));
            Some((name.to_owned(), stage))
        });
        tried.collect()
    }

    /// Tells the operator, once in each window, that a counter has come as far as they want to be
    /// told of.
    pub(super) fn alert(&self, charge: &Charge, used: i64) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let whose = (charge.cap.clone(), charge.scope.clone());
        if told.get(&whose) == Some(&charge.until) {
            return;
        }
        if told.len() >= TOLD_MAX {
            told.clear();
        }
        told.insert(whose, charge.until);
        let (cap, max) = (charge.cap.as_str(), charge.max);
        tracing::warn!(cap, used, max, "a budget has come as far as you wanted to be told of");
    }

    /// Counts an answer of an entry, where it is tried in another's place.
    fn answered(&self, world: &World, entry: &str, seen: &Seen<'_>, now: Micros) {
        let mut canaries = self.canaries.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, model) in world.models.iter() {
            let Some(declared) = model.declared.canary.as_ref().filter(|it| it.entry == entry)
            else {
                continue;
            };
            let Some(key) = canary::key(&world.models, name) else { continue };
            let was = seen.was(declared.guards.latency_p95_ms_max);
            let answers = Tally::of_one(&was);
            self.observe(&mut canaries, (name, declared, key), (answers, now));
        }
    }
}

/// What an answer was like.
struct Seen<'a> {
    answer: &'a Answer,
    notes: &'a Notes,
    took_us: i64,
}

impl Seen<'_> {
    fn was(&self, latency_ms_max: Option<u32>) -> Vec<Guard> {
        let is_late = latency_ms_max.is_some_and(|max| self.took_us > i64::from(max) * 1000);
        let all = [
            (Guard::Errors, is_failure(self.answer)),
            (Guard::Refusals, self.notes.has_declined()),
            (Guard::Findings, self.notes.has_findings()),
            (Guard::Slow, is_late),
        ];
        all.into_iter().filter_map(|(guard, was)| was.then_some(guard)).collect()
    }
}

impl Kernel {
    pub(super) async fn ask_in_turn(
        &self,
        request: ModelRequest,
        routed: Routed,
        client: ClientPort,
    ) -> Reply {
        let Routed { world, asked, heard, route, probe, mut evaluated } = routed;
        let is_evaluation = eval::is_evaluation(&world, request.identity.task.as_ref());
        let Route { primary, then, shadow, why } = route;
        let mut last = None;
        for pick in std::iter::once(primary).chain(then).take(ATTEMPTS_MAX) {
            if !asked.hosted_tools.is_empty()
                && let Err(refusal) = self.admit_hosted(&world, &request, &pick).await
            {
                let call = self.parts.clock.mint();
                return Reply { call, answer: Answer::Refused(refusal) };
            }
            let (notes, began) = (Arc::new(Notes::default()), self.parts.clock.now());
            let results = evaluated.remove(&pick.entry).unwrap_or_default();
            let asked_of = pick.recorded(&world, &asked, &why);
            let call = ModelCall {
                asked: ModelAsked { evaluated: results, ..asked_of },
                notes: Arc::clone(&notes),
                taken: Taken::default(),
                is_copy: false,
                is_driven: request.run.is_some(),
                probe: probe.clone(),
                checks: None,
            };
            let within = request.run.as_ref().map(|run| run.within.clone());
            let reply = match proposal(&world, &request, call, heard.clone(), client.clone()) {
                Ok(proposal) => self.call_within(proposal, within).await,
                Err(refusal) => return self.not_asked(&request.identity, refusal).await,
            };
            let now = self.parts.clock.now();
            let took_us = now.0.saturating_sub(began.0);
            let seen = Seen { answer: &reply.answer, notes: &notes, took_us };
            if !is_evaluation {
                self.parts.trials.answered(&world, &pick.entry, &seen, now);
            }
            if notes.has_begun() || !is_failure(&reply.answer) {
                self.copy(shadow, (&world, &request, &asked), evaluated, &reply.call);
                return reply;
            }
            last = Some(reply);
        }
        match last {
            // A run asks again, and says its task's own words by itself.
            Some(last) if request.run.is_some() => last,
            Some(last) => instead::of(&world, &request, last, &client).await,
            None => {
                let refusal = Refusal::of(Code::InvariantBroken);
                self.not_asked(&request.identity, refusal).await
            }
        }
    }

    /// Asks another entry the same, for whoever compares: nobody gets its answer, and nothing that
    /// it proposes is performed.
    fn copy(
        &self,
        shadow: Option<Pick>,
        (world, request, asked): (&World, &ModelRequest, &ModelAsked),
        mut evaluated: BTreeMap<String, Vec<Evaluated>>,
        of: &CallId,
    ) {
        let Some(pick) = shadow else { return };
        let Ok(place) = Arc::clone(&self.parts.trials.shadows).try_acquire_owned() else { return };
        let evaluated = evaluated.remove(&pick.entry).unwrap_or_default();
        let why = [format!("a copy of {of}")];
        let call = ModelCall {
            asked: ModelAsked { evaluated, ..pick.recorded(world, asked, &why) },
            notes: Arc::default(),
            taken: Taken::default(),
            is_copy: true,
            is_driven: false,
            probe: None,
            checks: None,
        };
        let (client, mut unread) = mpsc::channel(UNREAD_MAX);
        let Ok(proposal) = proposal(world, request, call, Words::default(), client) else { return };
        let kernel = self.clone();
        tokio::spawn(async move {
            let reading = async { while unread.recv().await.is_some() {} };
            // The call lets go of its end of the channel when it is over.
            let (_reply, ()) = tokio::join!(Box::pin(kernel.call(proposal)), reading);
            drop(place);
        });
    }
}

/// Whether another entry could answer instead: the provider is to blame, not a rule or the client.
pub(super) fn is_failure(answer: &Answer) -> bool {
    match answer {
        Answer::Result(result) => {
            let status = result.get(STATUS).and_then(Json::as_i64).unwrap_or(200);
            status == 429 || status >= 500
        }
        Answer::Error(_) => true,
        Answer::Refused(refusal) => refusal.code.blame() == Blame::Upstream,
    }
}
