//! The life of a call, from proposal to recorded outcome. Read it beside `core/src/decide.rs`.

use crate::obligation::{self, Applied};
use crate::port::{Answer, Proposal, Refusal, Reply, ToClient};
use crate::reverse::{Origin, PendingAnswers};
use crate::{ClientPort, Kernel};
use lockgate_core::World;
use lockgate_core::rule::{Allowed, Refused, Ruling, rule};
use lockgate_effects::{Caller, End, Event, Exchange, Finished};
use lockgate_store::{CommitError, OutcomeRecord, OutcomeState, Spent, StoreError};
use lockgate_types::call::{Call, Direction, Effect};
use lockgate_types::decision::{Decision, Obligation};
use lockgate_types::facts::Facts;
use lockgate_types::identity::Identity;
use lockgate_types::label::{Confidentiality, Integrity, Label};
use lockgate_types::{CallId, Code, Json, SessionId};
use std::sync::Arc;

/// How often a call is decided anew because its session changed meanwhile. Each round needs a concurrent change of
/// exposure, which only rises and has few levels.
const DECIDE_ROUNDS_MAX: u32 = 4;

impl Kernel {
    /// Takes a proposal through its whole life. Run it in a task of its own: a client that hangs up drops a
    /// request's future, and must not drop an effect's record with it.
    pub async fn call(&self, proposal: Proposal) -> Reply {
        let id = self.parts.clock.mint();
        let answer = match self.live(id.clone(), proposal).await {
            Ok(answer) => answer,
            Err(refusal) => Answer::Refused(refusal),
        };
        Reply { call: id, answer }
    }

    async fn live(&self, id: CallId, proposal: Proposal) -> Result<Answer, Refusal> {
        let Proposal { identity, session, caller, upstream, method, params, traceparent, client } =
            proposal;
        let world = self.world().ok_or_else(|| Refusal::of(Code::NoBundle))?;
        let mut call =
            Call::new(id, upstream, Direction::ToUpstream, &method, params).map_err(Refusal::of)?;
        call.traceparent = traceparent;

        let origin = Origin {
            identity: Arc::clone(&identity),
            session: session.clone(),
            caller: Arc::clone(&caller),
            upstream: call.upstream.clone(),
            parent: Some(call.id.clone()),
        };
        let started = self.parts.clock.now();
        let (decision, exchange) =
            self.admit(&world, &identity, session.as_ref(), &caller, call).await?;
        let finished = self.converse(exchange, &origin, &decision, &client).await;
        self.conclude(finished, &decision, started.0).await
    }

    /// Facts → decide → record, again if the session moved, until there is a permit or a refusal.
    async fn admit(
        &self,
        world: &Arc<World>,
        identity: &Arc<Identity>,
        session: Option<&SessionId>,
        caller: &Arc<Caller>,
        mut call: Call,
    ) -> Result<(Decision, Exchange), Refusal> {
        for _ in 0..DECIDE_ROUNDS_MAX {
            let facts = self.gather(world, identity, session, call).await?;
            let allowed = match rule(world, facts) {
                Ruling::Allowed(allowed) => allowed,
                Ruling::Refused(refused) => return Err(self.refuse(refused).await),
            };
            let decision = allowed.decision().clone();
            match self.dispatch(world, allowed, caller).await {
                Ok(exchange) => return Ok((decision, exchange)),
                Err(CommitError::Moved(facts)) => call = facts.call,
                Err(CommitError::Failed(error)) => return Err(not_recorded(&error)),
            }
        }
        Err(Refusal::of(Code::FactsMoved))
    }

    /// Everything the decision depends on, gathered before deciding.
    pub(crate) async fn gather(
        &self,
        world: &World,
        identity: &Arc<Identity>,
        session: Option<&SessionId>,
        call: Call,
    ) -> Result<Facts, Refusal> {
        let live_difference = self.live_difference(world, &call).await?;
        let key = self.session_key(identity, session);
        let session = self.parts.store.session(&key).await;
        let session = session.map_err(|error| not_recorded(&error))?;
        Ok(Facts {
            identity: Arc::clone(identity),
            session,
            now: self.parts.clock.now(),
            switches: Vec::new(),
            approvals: Vec::new(),
            live_difference,
            call,
        })
    }

    /// Records the intent and lets the call out: the permit is the only way.
    async fn dispatch(
        &self,
        world: &World,
        allowed: Allowed,
        caller: &Arc<Caller>,
    ) -> Result<Exchange, CommitError> {
        if may_share_commit(world, allowed.facts(), allowed.decision()) {
            let permit = self.parts.store.admit_read(allowed)?;
            return Ok(self.parts.upstreams.perform_read(permit, Arc::clone(caller)));
        }
        let permit = self.parts.store.commit(allowed).await?;
        Ok(self.parts.upstreams.perform(permit, Arc::clone(caller)))
    }

    /// Passes on what is said while the call runs, until it ends.
    async fn converse(
        &self,
        mut exchange: Exchange,
        origin: &Origin,
        decision: &Decision,
        client: &ClientPort,
    ) -> Finished {
        let mut pending = PendingAnswers::new();
        // A client that is gone cancels what has not been dispatched; a dispatched write is awaited and recorded.
        let mut is_client_gone = false;
        loop {
            tokio::select! {
                biased;
                () = client.closed(), if !is_client_gone => {
                    is_client_gone = true;
                    exchange.cancel(Some("the client is gone"));
                }
                Some((request, answer)) = pending.next(), if !pending.is_empty() => {
                    exchange.answer(&request, answer);
                }
                event = exchange.next() => match event {
                    Event::Finished(finished) => return finished,
                    Event::Request { id, method, params } => {
                        pending.push(self.clone().ask_client(origin, id, method, params, client));
                    }
                    Event::Notification { method, params } => {
                        let params = obligation::on_notification(&decision.obligations, params);
                        // An undeliverable notification is not an error: the reply will tell.
                        let _ = client.send(ToClient::Notification { method, params }).await;
                    }
                    Event::StreamClosed { retry_ms } => {
                        let _ = client.send(ToClient::StreamClosed { retry_ms }).await;
                    }
                },
            }
        }
    }

    /// Meets the obligations, records the outcome, and only then answers.
    async fn conclude(
        &self,
        finished: Finished,
        decision: &Decision,
        started: i64,
    ) -> Result<Answer, Refusal> {
        let Finished { spent, end } = finished;
        let ended = meet_obligations(end, decision);
        let outcome = self.outcome(&ended, decision, started);
        self.record(spent, outcome).await?;
        Ok(ended.answer)
    }

    async fn record(&self, spent: Spent, outcome: OutcomeRecord) -> Result<(), Refusal> {
        match self.parts.store.conclude(spent, outcome).await {
            Ok(_receipt) => Ok(()),
            Err(error) => Err(not_recorded(&error)),
        }
    }

    fn outcome(&self, ended: &Ended, decision: &Decision, started: i64) -> OutcomeRecord {
        let at = self.parts.clock.now();
        let body = match &ended.answer {
            Answer::Result(result) => Some(result.clone()),
            Answer::Error(error) => Some(error.to_json()),
            Answer::Refused(_) => None,
        };
        OutcomeRecord {
            state: ended.state,
            at,
            code: ended.code,
            keep_all: decision.obligations.contains(&Obligation::LogMore),
            result: body,
            label: Label {
                integrity: Integrity::Untrusted,
                confidentiality: Confidentiality::Public,
            },
            duration_us: at.0.saturating_sub(started),
            redactions: ended.applied.redactions,
        }
    }

    /// Records a refusal and says why.
    pub(crate) async fn refuse(&self, refused: Refused) -> Refusal {
        let refusal = explain(refused.decision());
        match self.parts.store.refuse(refused).await {
            Ok(_receipt) => refusal,
            Err(error) => not_recorded(&error),
        }
    }
}

/// How a call ended, after obligations.
struct Ended {
    answer: Answer,
    state: OutcomeState,
    code: Option<Code>,
    applied: Applied,
}

fn meet_obligations(end: End, decision: &Decision) -> Ended {
    match end {
        End::Result(mut result) => {
            let applied = obligation::on_result(&decision.obligations, &mut result);
            let is_error = result.get("isError").and_then(Json::as_bool) == Some(true);
            let state = if is_error { OutcomeState::Failed } else { OutcomeState::Succeeded };
            Ended { answer: Answer::Result(result), state, code: None, applied }
        }
        End::Error(mut error) => {
            let applied = obligation::on_error(&decision.obligations, &mut error);
            Ended { answer: Answer::Error(error), state: OutcomeState::Failed, code: None, applied }
        }
        End::Failed { code, detail, dispatched } => {
            let is_write = decision.effect != Effect::Read;
            let (state, code) = match (dispatched, is_write) {
                (false, _) => (OutcomeState::Failed, code),
                (true, true) => (OutcomeState::InDoubt, Code::OutcomeInDoubt),
                (true, false) => (OutcomeState::Truncated, code),
            };
            let mut refusal = Refusal::of(code);
            refusal.reason = format!("{}: {detail}", refusal.reason);
            Ended {
                answer: Answer::Refused(refusal),
                state,
                code: Some(code),
                applied: Applied::default(),
            }
        }
    }
}

/// Only a read without a destination argument may share one commit with its outcome (design §3).
fn may_share_commit(world: &World, facts: &Facts, decision: &Decision) -> bool {
    let names_destination = match world.operations.get(&facts.call.operation) {
        Some(operation) => !operation.destination.is_empty(),
        None => true,
    };
    decision.effect == Effect::Read && !names_destination
}

/// What a refusing decision says to the caller.
pub(crate) fn explain(decision: &Decision) -> Refusal {
    let Some(denial) = &decision.denial else {
        return Refusal::of(Code::InvariantBroken);
    };
    Refusal {
        code: denial.code,
        reason: denial.reason.clone(),
        remedy: denial.remedy.clone(),
        policies: denial.policies.clone(),
        call: None,
        retry: denial.code.retry(),
    }
}

/// What could not be recorded is not done, or not answered.
pub(crate) fn not_recorded(error: &StoreError) -> Refusal {
    tracing::error!(error = error as &dyn std::error::Error, "a record could not be written");
    Refusal::of(error.code())
}
