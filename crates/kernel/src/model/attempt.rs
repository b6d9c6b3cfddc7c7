//! One attempt: a request as a call of one entry.

use super::turn::{Seen, is_failure};
use super::{ModelCall, ModelRequest, Notes, Probe, Taken, carry, proposal};
use crate::Kernel;
use crate::port::{ClientPort, Refusal, Reply};
use crate::reverse::Within;
use crate::words::Words;
use lockgate_core::World;
use lockgate_core::eval;
use lockgate_core::route::Pick;
use lockgate_types::evaluated::Evaluated;
use lockgate_types::model::ModelAsked;
use lockgate_types::{CallId, TaskName};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Messages that wait between a call and whoever carries them to another API.
const CARRIED_MAX: usize = 8;

/// What all attempts at one request have in common.
pub(super) struct Turn {
    pub(super) world: Arc<World>,
    pub(super) request: ModelRequest,
    pub(super) asked: ModelAsked,
    pub(super) heard: Words,
    pub(super) probe: Option<Probe>,
    /// Why these entries.
    pub(super) why: Vec<String>,
    /// What entries have passed, of what they have to.
    pub(super) evaluated: BTreeMap<String, Vec<Evaluated>>,
}

impl Turn {
    /// How long an entry may be late before the next one is asked beside it, and which that is.
    /// `None`: it never is, or not for this.
    pub(super) fn hedge<'p>(
        &self,
        pick: &Pick,
        next: Option<&'p Pick>,
    ) -> Option<(Duration, &'p Pick)> {
        let entry = self.world.models.get(&pick.entry)?;
        let after = Duration::from_millis(entry.declared.hedge_after_ms?.into());
        let task: Option<&TaskName> = self.request.identity.task.as_ref();
        let of_task = task.and_then(|task| self.world.tasks.get(task));
        let is_allowed = of_task.and_then(|task| task.hedge) != Some(false);
        // Of tools that a provider runs nobody can say that they ran once.
        let is_harmless = self.asked.hosted_tools.is_empty();
        let is_tried_out = eval::is_evaluation(&self.world, task);
        let next = next.filter(|_| is_allowed && is_harmless && !is_tried_out)?;
        Some((after, next))
    }
}

/// One attempt at a request.
pub(super) struct Attempt {
    pub(super) pick: Pick,
    pub(super) notes: Arc<Notes>,
    /// By which id, if it was minted for it.
    pub(super) id: Option<CallId>,
    /// The attempt beside which it is made.
    pub(super) beside: Option<CallId>,
}

impl Attempt {
    pub(super) fn at(pick: &Pick) -> Self {
        Self { pick: pick.clone(), notes: Arc::default(), id: None, beside: None }
    }
}

/// What came of an attempt.
pub(super) struct Tried {
    pub(super) reply: Reply,
    /// Whether nobody else is asked: it is an answer, or the client has something of one.
    pub(super) is_over: bool,
}

impl Kernel {
    /// Makes an attempt, and notes what it was like.
    pub(super) async fn attempted(
        &self,
        turn: &Turn,
        attempt: Attempt,
        client: &ClientPort,
    ) -> Result<Tried, Refusal> {
        let (pick, notes) = (attempt.pick.clone(), Arc::clone(&attempt.notes));
        let began = self.parts.clock.now();
        let reply = self.attempt(turn, attempt, client).await?;
        let took_us = self.parts.clock.now().0.saturating_sub(began.0);
        let seen = Seen { answer: Some(&reply.answer), notes: &notes, took_us };
        self.seen(turn, &pick, seen).await;
        let is_over = notes.has_begun() || !is_failure(&reply.answer);
        Ok(Tried { reply, is_over })
    }

    pub(super) async fn attempt(
        &self,
        turn: &Turn,
        attempt: Attempt,
        client: &ClientPort,
    ) -> Result<Reply, Refusal> {
        let Attempt { pick, notes, id, beside } = attempt;
        let id = id.unwrap_or_else(|| self.parts.clock.mint());
        let carried = carry::to(turn, &pick)?;
        let evaluated = turn.evaluated.get(&pick.entry).cloned().unwrap_or_default();
        let asked = pick.recorded(&turn.world, carried.asked(), &turn.why);
        let is_hedge = beside.is_some();
        let call = ModelCall {
            asked: ModelAsked { evaluated, is_hedge, ..asked },
            notes,
            taken: Taken::default(),
            is_copy: false,
            is_driven: turn.request.run.is_some(),
            probe: turn.probe.clone().filter(|_| !is_hedge),
            checks: None,
        };
        let of_run = || turn.request.run.as_ref().map(|run| run.within.clone());
        let within = beside.map(|first| Within::beside(&first, of_run())).or_else(of_run);
        let heard = turn.heard.clone();
        let Some(back) = carried.back(self.parts.clock.now()) else {
            let proposal = proposal(&turn.world, carried.request(), call, heard, client.clone())?;
            return Ok(self.begin_as(id, proposal, within, None).await);
        };
        let (port, said) = mpsc::channel(CARRIED_MAX);
        let proposal = proposal(&turn.world, carried.request(), call, heard, port)?;
        let calling = self.begin_as(id, proposal, within, None);
        // The call lets go of its end of the channel when it is over.
        let (reply, ()) = tokio::join!(calling, back.pass_on(said, client));
        Ok(back.reply(reply))
    }
}
