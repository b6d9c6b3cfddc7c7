//! Who is asked, one after the other.
//!
//! An attempt that fails before the client has anything of an answer is followed by the next entry;
//! one that a rule refuses is not. Where an entry is late, the next one may be asked beside it.

use super::attempt::{Attempt, Turn};
use super::hedge::Hedged;
use super::{ATTEMPTS_MAX, ModelCall, ModelRequest, Notes, Routed, Taken, carry, proposal};
use crate::Kernel;
use crate::port::{Answer, ClientPort, Refusal, Reply};
use crate::words::Words;
use lockgate_core::canary::Guard;
use lockgate_core::declare;
use lockgate_core::eval;
use lockgate_core::route::{Pick, Route};
use lockgate_effects::model::STATUS;
use lockgate_types::model::ModelAsked;
use lockgate_types::{Blame, CallId, Code, Json};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Messages for the client of a copy: nobody reads them.
const UNREAD_MAX: usize = 64;

/// What an answer was like.
pub(super) struct Seen<'a> {
    /// `None`: another was first, and nobody waited for it.
    pub(super) answer: Option<&'a Answer>,
    pub(super) notes: &'a Notes,
    pub(super) took_us: i64,
}

impl Seen<'_> {
    fn was(&self, declared: &declare::Canary) -> Vec<Guard> {
        let latency_ms_max = declared.guards.latency_p95_ms_max;
        let is_late = latency_ms_max.is_some_and(|max| self.took_us > i64::from(max) * 1000);
        let all = [
            (Guard::Errors, self.answer.is_some_and(is_failure)),
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
        let Routed { world, asked, heard, route, probe, evaluated } = routed;
        let (route, unasked) = match route {
            Ok(route) => (Some(route), None),
            Err(refusal) => (None, Some(refusal)),
        };
        let why = route.as_ref().map_or_else(Vec::new, |route| route.why.clone());
        let turn = Arc::new(Turn { world, request, asked, heard, probe, why, evaluated });
        let Some(Route { primary, then, shadow, .. }) = route else {
            let refusal = unasked.unwrap_or_else(|| Refusal::of(Code::InvariantBroken));
            let last = Box::pin(self.not_asked(&turn.request.identity, refusal)).await;
            return self.unanswered(&turn, last, &client).await;
        };
        let mut picks: VecDeque<Pick> =
            std::iter::once(primary).chain(then).take(ATTEMPTS_MAX).collect();
        let (mut last, mut not_carried) = (None, None);
        while let Some(pick) = picks.pop_front() {
            if let Err(refusal) = self.may_offer(&turn, &pick).await {
                let call = self.parts.clock.mint();
                return Reply { call, answer: Answer::Refused(refusal) };
            }
            let (tried, is_hedged) = match turn.hedge(&pick, picks.front()) {
                Some((after, second)) => {
                    let hedged = self.hedged(&turn, (&pick, second), after, &client);
                    let Hedged { tried, is_used } = Box::pin(hedged).await;
                    (tried, is_used)
                }
                None => (self.attempted(&turn, Attempt::at(&pick), &client).await, false),
            };
            if is_hedged {
                picks.pop_front();
            }
            match tried {
                Ok(reply) if reply.is_over => {
                    self.copy(shadow, &turn, &reply.reply.call);
                    return reply.reply;
                }
                Ok(reply) => last = Some(reply.reply),
                // Another entry may speak the client's own API.
                Err(refusal) if refusal.code == Code::CannotConvert => not_carried = Some(refusal),
                Err(refusal) => {
                    return Box::pin(self.not_asked(&turn.request.identity, refusal)).await;
                }
            }
        }
        match (last, not_carried) {
            (Some(last), _) => self.unanswered(&turn, last, &client).await,
            (None, refusal) => {
                let refusal = refusal.unwrap_or_else(|| Refusal::of(Code::InvariantBroken));
                Box::pin(self.not_asked(&turn.request.identity, refusal)).await
            }
        }
    }

    /// What is answered where no model has.
    async fn unanswered(&self, turn: &Turn, last: Reply, client: &ClientPort) -> Reply {
        match turn.request.run.is_some() {
            // A run asks again, and says its task's own words by itself.
            true => last,
            false => Box::pin(self.instead(turn, last, client)).await,
        }
    }

    async fn may_offer(&self, turn: &Turn, pick: &Pick) -> Result<(), Refusal> {
        match turn.asked.hosted_tools.is_empty() {
            true => Ok(()),
            false => Box::pin(self.admit_hosted(&turn.world, &turn.request, pick)).await,
        }
    }

    /// What an answer was like, for whoever tries its entry out.
    pub(super) async fn seen(&self, turn: &Turn, pick: &Pick, seen: Seen<'_>) {
        if eval::is_evaluation(&turn.world, turn.request.identity.task.as_ref()) {
            return;
        }
        let now = self.parts.clock.now();
        self.parts.trials.answered(&turn.world, &pick.entry, |it| seen.was(it), now).await;
    }

    /// Asks another entry the same, for whoever compares: nobody gets its answer, and nothing that
    /// it proposes is performed.
    fn copy(&self, shadow: Option<Pick>, turn: &Turn, of: &CallId) {
        let Some(pick) = shadow else { return };
        let Ok(place) = Arc::clone(&self.parts.trials.shadows).try_acquire_owned() else { return };
        let Ok(carried) = carry::to(turn, &pick) else { return };
        let (world, request) = (&turn.world, carried.request());
        let evaluated = turn.evaluated.get(&pick.entry).cloned().unwrap_or_default();
        let why = [format!("a copy of {of}")];
        let call = ModelCall {
            asked: ModelAsked { evaluated, ..pick.recorded(world, carried.asked(), &why) },
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
