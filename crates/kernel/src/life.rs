//! The life of a call, from proposal to recorded outcome. Read it beside `core/src/decide.rs`.

use crate::again::{self, Known, Waiting};
use crate::obligation::{self, Applied};
use crate::port::{Answer, Proposal, Refusal, Reply, ToClient};
use crate::reverse::{Origin, PendingAnswers};
use crate::{ClientPort, Kernel};
use futures_util::future::BoxFuture;
use lockgate_core::World;
use lockgate_core::rule::{Allowed, Refused, Ruling, rule};
use lockgate_core::world::Class;
use lockgate_effects::{Caller, End, Event, Exchange, Finished};
use lockgate_store::{CommitError, OutcomeRecord, OutcomeState, Scopes, StoreError, TurnedAway};
use lockgate_types::call::{Call, Direction, Effect};
use lockgate_types::decision::{Decision, Obligation};
use lockgate_types::facts::{Earlier, Facts, Standing};
use lockgate_types::identity::Identity;
use lockgate_types::label::{Confidentiality, Integrity, Label};
use lockgate_types::methods::{self, Era};
use lockgate_types::{CallId, Code, Json, Object, UpstreamName};
use std::sync::Arc;
use std::time::Duration;

/// How often a call is decided anew because its session changed meanwhile. Each round needs a
/// concurrent change of exposure, which only rises and has few levels.
pub(crate) const DECIDE_ROUNDS_MAX: u32 = 4;

/// How long a client may leave a message unread before the call goes on without it.
pub(crate) const CLIENT_TAKES_MAX: Duration = Duration::from_secs(30);

/// Stands for the listener where a call came as far as the kernel.
const UNDECIDED: &str = "undecided";

impl Kernel {
    /// Takes a proposal through its whole life. Run it in a task of its own: a client that hangs up
    /// drops a request's future, and must not drop an effect's record with it.
    pub async fn call(&self, proposal: Proposal) -> Reply {
        self.call_within(proposal, None).await
    }

    /// A call that another gives rise to, if there is a parent.
    pub(crate) fn call_within(
        &self,
        proposal: Proposal,
        parent: Option<CallId>,
    ) -> BoxFuture<'_, Reply> {
        Box::pin(async move {
            let id = self.parts.clock.mint();
            let answer = match self.live(id.clone(), proposal, parent).await {
                Ok(answer) => answer,
                Err(refusal) => Answer::Refused(refusal),
            };
            Reply { call: id, answer }
        })
    }

    async fn live(
        &self,
        id: CallId,
        proposal: Proposal,
        parent: Option<CallId>,
    ) -> Result<Answer, Refusal> {
        let Proposal { identity, session, caller, upstream, method, params, .. } = proposal;
        let (client, traceparent) = (proposal.client, proposal.traceparent);
        let named = named(id, upstream, Direction::ToUpstream, &method, params);
        let named = named.and_then(|mut call| {
            (call.traceparent, call.parent) = (traceparent, parent);
            if let Some(world) = self.world() {
                again::name_effect(&world, &mut call, proposal.key)?;
            }
            Ok(call)
        });
        let call = match named {
            Ok(call) => call,
            Err(code) => return Err(self.undecided(&identity, Refusal::of(code)).await),
        };
        let upstream = call.upstream.clone();
        let (parent, obligations) = (None, Vec::new());
        let origin = Origin { identity, session, caller, upstream, parent, obligations };
        if !self.may_be_found_out(&call) {
            return Ok(self.pass(origin, call, client).await?.answer);
        }
        let passed = self.pass(origin.clone(), call.clone(), client.clone()).await?;
        if !passed.is_in_doubt {
            return Ok(passed.answer);
        }
        let found_out = Box::pin(self.go_after(&origin, &call, &client)).await;
        Ok(found_out.unwrap_or(passed.answer))
    }

    /// Facts → decide → record → perform → record.
    pub(crate) async fn pass(
        &self,
        mut origin: Origin,
        call: Call,
        client: ClientPort,
    ) -> Result<Passed, Refusal> {
        let started = self.parts.clock.now();
        let (decision, exchange) = match self.admit(&mut origin, call, &client).await? {
            Admitted::Performed(decision, exchange) => (decision, exchange),
            Admitted::Repeated(answer) => return Ok(Passed { answer, is_in_doubt: false }),
        };
        origin.obligations.clone_from(&decision.obligations);
        let (finished, aside) = self.converse(exchange, &origin, &decision, client).await;
        self.conclude(finished, &decision, aside, started.0).await
    }

    /// Facts → decide → record, again if the session or the bundle moved, until there is a permit,
    /// a refusal, or the answer of an earlier call.
    async fn admit(
        &self,
        origin: &mut Origin,
        mut call: Call,
        client: &ClientPort,
    ) -> Result<Admitted, Refusal> {
        let (mut earlier, mut waiting, mut rounds) = (None, None, 0);
        while rounds < DECIDE_ROUNDS_MAX {
            rounds += 1;
            origin.parent = Some(call.id.clone());
            let (world, mut facts) = self.gather(origin, call).await?;
            facts.earlier = earlier.take();
            let allowed = match rule(&world, facts) {
                Ruling::Allowed(allowed) => allowed,
                Ruling::Refused(refused) => return Err(self.refuse(refused).await),
            };
            match allowed.facts().earlier.clone() {
                Some(Earlier { call: first, standing: Standing::Ended }) => {
                    let answer = Box::pin(self.replay(allowed, &first)).await?;
                    return Ok(Admitted::Repeated(answer));
                }
                Some(known) if allowed.facts().call.attempt_of.is_none() => {
                    call = self.take_up(&world, origin, allowed, &known.call).await?;
                    earlier = call.attempt_of.is_some().then_some(known);
                    continue;
                }
                Some(_) | None => {}
            }
            let decision = allowed.decision().clone();
            match self.dispatch(&world, allowed, &origin.caller, client).await {
                Ok(Some(exchange)) => return Ok(Admitted::Performed(decision, exchange)),
                // The store has recorded that the permit was not used. Nobody is there to be told.
                Ok(None) => return Err(Refusal::of(Code::UpstreamTruncated)),
                Err(CommitError::Moved(facts)) => call = self.moved(*facts).await,
                Err(CommitError::Repeats(facts)) => {
                    (call, earlier) = (facts.call, facts.earlier);
                }
                Err(CommitError::UnderWay(facts)) => {
                    call = facts.call;
                    let waiting = waiting.get_or_insert_with(|| Waiting::new(self, &world, &call));
                    if !waiting.again(self, client).await {
                        let under_way = Refusal::of(Code::EffectUnderWay);
                        return Err(self.undecided(&origin.identity, under_way).await);
                    }
                    rounds -= 1;
                }
                Err(CommitError::Failed(error)) => return Err(not_recorded(&error)),
            }
        }
        Err(self.undecided(&origin.identity, Refusal::of(Code::FactsMoved)).await)
    }

    /// What to do about an effect in doubt that is asked for again: the call as an attempt at it, or
    /// as it was, if the record knows more now.
    async fn take_up(
        &self,
        world: &World,
        origin: &Origin,
        allowed: Allowed,
        first: &CallId,
    ) -> Result<Call, Refusal> {
        let (_, facts) = allowed.into_parts();
        let mut call = facts.call;
        match self.find_out(world, origin, &call, first).await? {
            Known::MayBeSent => again::attempt(world, &mut call, first),
            Known::Settled => {}
            Known::Nothing => {
                let doubt = again::in_doubt(first);
                return Err(self.undecided(&origin.identity, doubt).await);
            }
        }
        Ok(call)
    }

    /// Whether the gate itself can find out what became of this, if it comes to be in doubt.
    fn may_be_found_out(&self, call: &Call) -> bool {
        let Some(world) = self.world() else { return false };
        let repeat = again::repeat_of(&world, call);
        repeat.is_some_and(|repeat| !matches!(repeat.class, Class::Opaque))
    }

    /// A call to be decided again. If another bundle is taking over, once it rules.
    pub(crate) async fn moved(&self, facts: Facts) -> Call {
        drop(self.parts.adopting.lock().await);
        facts.call
    }

    /// Everything the decision depends on, gathered before deciding, and the world that rules now.
    pub(crate) async fn gather(
        &self,
        origin: &Origin,
        call: Call,
    ) -> Result<(Arc<World>, Facts), Refusal> {
        match self.try_gather(origin, call).await {
            Ok(gathered) => Ok(gathered),
            Err(refusal) => Err(self.undecided(&origin.identity, refusal).await),
        }
    }

    async fn try_gather(
        &self,
        origin: &Origin,
        call: Call,
    ) -> Result<(Arc<World>, Facts), Refusal> {
        let no_bundle = || Refusal::of(Code::NoBundle);
        let mut world = self.world().ok_or_else(no_bundle)?;
        let mut live_difference = self.live_difference(&world, &origin.caller, &call).await?;
        let key = self.session_key(&origin.identity, origin.session.as_ref());
        let session = self.parts.store.session(&key).await;
        let session = session.map_err(|error| not_recorded(&error))?;
        // An upstream may take seconds to describe itself: another bundle may rule by now.
        let now = self.world().ok_or_else(no_bundle)?;
        if now.digest != world.digest {
            world = now;
            live_difference = self.live_difference(&world, &origin.caller, &call).await?;
        }
        let mut facts = Facts {
            identity: Arc::clone(&origin.identity),
            session,
            now: self.parts.clock.now(),
            switches: Vec::new(),
            approvals: Vec::new(),
            live_difference,
            earlier: None,
            call,
        };
        facts.switches = self.parts.store.switches_about(&Scopes::of(&facts));
        Ok((world, facts))
    }

    /// Records the intent and lets the call out: the permit is the only way. `None`: the client is
    /// gone already.
    async fn dispatch(
        &self,
        world: &World,
        allowed: Allowed,
        caller: &Arc<Caller>,
        client: &ClientPort,
    ) -> Result<Option<Exchange>, CommitError> {
        if may_share_commit(world, allowed.facts(), allowed.decision()) {
            let permit = self.parts.store.admit_read(allowed)?;
            return Ok(Some(self.parts.upstreams.perform_read(permit, Arc::clone(caller))));
        }
        let call = &allowed.facts().call;
        let repeat = again::repeat_of(world, call);
        let window_us = repeat.and_then(|repeat| again::window_us(repeat, call));
        let key_header = repeat.and_then(again::key_header);
        let permit = self.parts.store.commit(allowed, window_us).await?;
        if client.is_closed() {
            return Ok(None);
        }
        Ok(Some(self.parts.upstreams.perform(permit, Arc::clone(caller), key_header)))
    }

    /// Passes on what is said while the call runs, until it ends. Also how much was redacted on the
    /// way.
    async fn converse(
        &self,
        mut exchange: Exchange,
        origin: &Origin,
        decision: &Decision,
        client: ClientPort,
    ) -> (Finished, u32) {
        let mut pending = PendingAnswers::new();
        let mut redactions = 0;
        let mut ear = Ear { client, is_deaf: false };
        // A client that is gone cancels a read; a write that was let out is awaited and recorded.
        let mut is_client_gone = false;
        loop {
            tokio::select! {
                biased;
                () = ear.client.closed(), if !is_client_gone => {
                    is_client_gone = true;
                    if decision.effect == Effect::Read {
                        exchange.cancel(Some("the client is gone"));
                    }
                }
                Some((request, answer)) = pending.next(), if !pending.is_empty() => {
                    exchange.answer(&request, answer);
                }
                event = exchange.next() => match event {
                    Event::Finished(finished) => return (finished, redactions),
                    Event::Request { id, method, params } => {
                        pending.push(self, origin, id, method, params, &ear.client);
                    }
                    Event::Notification { method, params } => {
                        let (params, applied) =
                            obligation::on_aside(&decision.obligations, params);
                        redactions += applied.redactions;
                        ear.say(ToClient::Notification { method, params }).await;
                    }
                    Event::StreamClosed { retry_ms } => {
                        ear.say(ToClient::StreamClosed { retry_ms }).await;
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
        redacted_aside: u32,
        started: i64,
    ) -> Result<Passed, Refusal> {
        let Finished { spent, end } = finished;
        let mut ended = meet_obligations(end, decision);
        ended.applied.redactions += redacted_aside;
        let outcome = self.outcome(&ended, decision, started);
        let concluded = self.parts.store.conclude(spent, outcome).await;
        concluded.map_err(|error| not_concluded(&error, decision.effect))?;
        Ok(Passed { answer: ended.answer, is_in_doubt: ended.state == OutcomeState::InDoubt })
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
            is_error: matches!(ended.answer, Answer::Error(_)),
            never_left: ended.never_left,
        }
    }

    /// Records that a call came to no decision, as far as the bound on such records goes.
    pub(crate) async fn undecided(&self, identity: &Identity, refusal: Refusal) -> Refusal {
        let who = (identity.issuer.clone(), identity.subject.as_str().to_owned());
        let (code, at) = (refusal.code, self.parts.clock.now());
        self.turned_away(TurnedAway { code, at, who: Some(who), listener: UNDECIDED.to_owned() })
            .await;
        refusal
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

/// The way to a client that may be slow. One that does not read misses what is said, and holds up
/// no record.
struct Ear {
    client: ClientPort,
    is_deaf: bool,
}

impl Ear {
    async fn say(&mut self, message: ToClient) {
        if self.is_deaf {
            self.is_deaf = self.client.try_send(message).is_err();
            return;
        }
        let said = tokio::time::timeout(CLIENT_TAKES_MAX, self.client.send(message)).await;
        self.is_deaf = said.is_err();
    }
}

/// How far a call came.
enum Admitted {
    /// It is on its way.
    Performed(Decision, Exchange),
    /// The effect was asked for before: this is what came of it.
    Repeated(Answer),
}

/// What a call that is over gives its caller.
pub(crate) struct Passed {
    pub(crate) answer: Answer,
    pub(crate) is_in_doubt: bool,
}

/// How a call ended, after obligations.
struct Ended {
    answer: Answer,
    state: OutcomeState,
    code: Option<Code>,
    applied: Applied,
    /// Whether it certainly did not leave the gate.
    never_left: bool,
}

fn meet_obligations(end: End, decision: &Decision) -> Ended {
    match end {
        End::Result(mut result) => {
            let applied = obligation::on_result(&decision.obligations, &mut result);
            let is_error = result.get("isError").and_then(Json::as_bool) == Some(true);
            let state = if is_error { OutcomeState::Failed } else { OutcomeState::Succeeded };
            Ended { answer: Answer::Result(result), state, code: None, applied, never_left: false }
        }
        End::Error(mut error) => {
            let applied = obligation::on_error(&decision.obligations, &mut error);
            let (answer, state) = (Answer::Error(error), OutcomeState::Failed);
            Ended { answer, state, code: None, applied, never_left: false }
        }
        End::Failed { code, detail, dispatched } => {
            let is_write = decision.effect != Effect::Read;
            let (state, code) = match (dispatched, is_write) {
                (false, _) => (OutcomeState::Failed, code),
                (true, true) => (OutcomeState::InDoubt, Code::OutcomeInDoubt),
                (true, false) => (OutcomeState::Truncated, code),
            };
            // What the upstream said on the way down is for operators: it may be somebody else's.
            tracing::warn!(%code, detail, "a call failed at its upstream");
            Ended {
                answer: Answer::Refused(Refusal::of(code)),
                state,
                code: Some(code),
                applied: Applied::default(),
                never_left: !dispatched,
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
    // A subscription has no reply in sight, and what it says is covered by its intent.
    let is_endless = facts.call.method == "subscriptions/listen";
    decision.effect == Effect::Read && !names_destination && !is_endless
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

/// Names what is asked for. A method travels only the way the protocol says; one that it does not
/// know is for the bundle to forward.
pub(crate) fn named(
    id: CallId,
    upstream: UpstreamName,
    direction: Direction,
    method: &str,
    params: Object,
) -> Result<Call, Code> {
    // What a server asks in the stateless era goes by the names it has where there are sessions.
    let may_travel = methods::find(method).is_none_or(|known| {
        let eras = [Era::Sessions, Era::Stateless];
        eras.into_iter().any(|era| known.may_travel(era, direction))
    });
    // A task would carry a tool's result past the tool's own obligations, to whoever knows its id.
    // Until tasks are bound to their owner they do not pass.
    let is_task = method.starts_with("tasks/") || params.contains("task");
    if !may_travel || is_task {
        return Err(Code::UnknownMethod);
    }
    Call::new(id, upstream, direction, method, params)
}

/// What was done and could not be recorded is not answered. Who asked must not do it again.
pub(crate) fn not_concluded(error: &StoreError, effect: Effect) -> Refusal {
    let unrecorded = not_recorded(error);
    if effect == Effect::Read {
        return unrecorded;
    }
    let mut refusal = Refusal::of(Code::OutcomeInDoubt);
    refusal.reason = format!("{}: it could not be recorded ({})", refusal.reason, unrecorded.code);
    refusal
}

/// What could not be recorded is not done.
pub(crate) fn not_recorded(error: &StoreError) -> Refusal {
    tracing::error!(error = error as &dyn std::error::Error, "a record could not be written");
    Refusal::of(error.code())
}
