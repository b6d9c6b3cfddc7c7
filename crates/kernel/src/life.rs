//! The life of a call, from proposal to recorded outcome. Read it beside `core/src/decide.rs`.

use crate::admit::{Admitted, Noted};
use crate::again;
use crate::label::Labels;
use crate::model::{Aside, Ear, MadeOf, ModelAside, ModelCall, Passing};
use crate::obligation::{self, Applied};
use crate::plan;
use crate::port::{Answer, Proposal, Refusal, Reply, Resumes, ToClient};
use crate::refusal::{explain, named, not_concluded, not_recorded};
use crate::retriever::Sifting;
use crate::reverse::{Origin, PendingAnswers, Within};
use crate::risk::Asked;
use crate::words::{Words, take_words};
use crate::{ClientPort, Kernel, uses};
use futures_util::future::BoxFuture;
use lockgate_core::caps;
use lockgate_core::rule::Refused;
use lockgate_effects::{End, Event, Exchange, Finished};
use lockgate_store::{OutcomeRecord, OutcomeState, TurnedAway};
use lockgate_types::call::{Call, Direction, Effect};
use lockgate_types::decision::{Decision, Obligation};
use lockgate_types::identity::Identity;
use lockgate_types::label::Label;
use lockgate_types::{CallId, Code, Json, OperationName};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

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

    /// The same, of a call that comes back to a request for approval. It is decided again like any.
    pub async fn call_again(&self, proposal: Proposal, resumes: Resumes) -> Reply {
        self.begin(proposal, None, Some(resumes)).await
    }

    /// A call that another gives rise to, if there is a parent.
    pub(crate) fn call_within(
        &self,
        proposal: Proposal,
        within: Option<Within>,
    ) -> BoxFuture<'_, Reply> {
        self.begin(proposal, within, None)
    }

    pub(crate) fn begin(
        &self,
        proposal: Proposal,
        within: Option<Within>,
        resumes: Option<Resumes>,
    ) -> BoxFuture<'_, Reply> {
        self.begin_as(self.parts.clock.mint(), proposal, within, resumes)
    }

    /// The same, by an id that was minted for it.
    pub(crate) fn begin_as(
        &self,
        id: CallId,
        proposal: Proposal,
        within: Option<Within>,
        resumes: Option<Resumes>,
    ) -> BoxFuture<'_, Reply> {
        Box::pin(async move {
            // On the heap: what a call may have to do on its way is large.
            let answer = match Box::pin(self.live(id.clone(), proposal, within, resumes)).await {
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
        within: Option<Within>,
        resumes: Option<Resumes>,
    ) -> Result<Answer, Refusal> {
        let Proposal { identity, session, caller, upstream, method, params, .. } = proposal;
        let Proposal { client, traceparent, presented, model, words, .. } = proposal;
        let mut params = params;
        let (asked, aside) = match model {
            Some(model) => {
                let ModelCall { asked, notes, taken, is_copy, is_driven, probe, checks } = *model;
                let aside = ModelAside { notes, taken, is_copy, is_driven, probe, checks };
                (Some(Box::new(asked)), Arc::new(aside))
            }
            None => (None, Arc::default()),
        };
        let heard = match self.world() {
            Some(_) if asked.is_some() => words,
            Some(world) => words.and(take_words(&world, &identity, &mut params)),
            None => Words::default(),
        };
        let named = match asked.is_some() {
            true => Call::new(id, upstream, Direction::ToUpstream, &method, params),
            false => named(id, upstream, Direction::ToUpstream, &method, params),
        };
        let named = named.and_then(|mut call| {
            call.model = asked;
            call.traceparent = traceparent;
            Within::mark(within.as_ref(), &mut call);
            if let Some(world) = self.world() {
                plan::take_argument(&world, &identity, &mut call);
                again::name_effect(&world, &mut call, proposal.key)?;
            }
            Ok(call)
        });
        let call = match named {
            Ok(call) => call,
            Err(code) => return Err(self.undecided(&identity, Refusal::of(code)).await),
        };
        // What the gate itself asks for on a call's behalf, that has paid for.
        if within.as_ref().is_none_or(|within| within.pays) {
            self.pay_rates(&identity, session.as_ref(), &call).await?;
        }
        let upstream = call.upstream.clone();
        let (within, obligations) = (None, Vec::new());
        let asks_for = resumes.as_ref().map(|resumes| resumes.request.clone());
        let origin = Origin {
            identity,
            session,
            caller,
            presented,
            upstream,
            within,
            asks_for,
            obligations,
            heard,
            aside,
        };
        let call = match &resumes {
            Some(resumes) => Box::pin(self.come_back(&origin, call, resumes)).await?,
            None => call,
        };
        if !self.may_be_found_out(&call) {
            return Ok(Box::pin(self.pass(origin, call, client)).await?.answer);
        }
        let passed = self.pass(origin.clone(), call.clone(), client.clone());
        let passed = Box::pin(passed).await?;
        if !passed.is_in_doubt {
            return Ok(passed.answer);
        }
        let first = Call { attempt_of: passed.attempt_of, ..call };
        let found_out = Box::pin(self.go_after(&origin, &first, &client, true)).await;
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
        let (operation, asks_model) = (call.operation.clone(), call.model.is_some());
        let of_model = asks_model.then(|| call.without_params());
        let admitted = Box::pin(self.admit(&mut origin, call, &client)).await?;
        let (mut decision, exchange, noted, attempt_of) = match admitted {
            Admitted::Performed { decision, exchange, noted, attempt_of } => {
                (decision, exchange, noted, attempt_of)
            }
            Admitted::Answered(answer) => {
                return Ok(Passed { answer, is_in_doubt: false, attempt_of: None });
            }
        };
        if exchange.is_with_database() || asks_model {
            decision.obligations = obligation::left_by_database(&decision.obligations);
        }
        origin.obligations.clone_from(&decision.obligations);
        let (finished, aside) = match &of_model {
            Some(call) => {
                let world = self.world();
                let passing =
                    world.and_then(|world| Passing::of(&world, call, &decision, &origin.aside));
                self.hear_model(exchange, &origin, passing, client).await
            }
            None => {
                let performed = (&operation, &*decision, noted.sifting.as_ref());
                self.converse(exchange, &origin, performed, client).await
            }
        };
        let Noted { watched, asked, made_of, sifting } = noted;
        let (started, made_of) = (started.0, made_of.as_deref());
        let sifting = sifting.as_ref();
        let ran = Ran { operation: &operation, decision: &decision, started, made_of, sifting };
        let (answer, state) = self.conclude(finished, &ran, (aside, asked)).await?;
        let said = match &answer {
            Answer::Result(result) => Some(Cow::Borrowed(result)),
            Answer::Error(error) => Some(Cow::Owned(error.to_json())),
            Answer::Refused(_) => None,
        };
        if let Some(watched) = &watched {
            self.remember(watched, said.as_deref());
        }
        let is_in_doubt = match (&attempt_of, state) {
            (_, OutcomeState::InDoubt) => true,
            // That an attempt has failed says nothing of what was sent before it.
            (Some(_), OutcomeState::Failed) => true,
            (_, _) => false,
        };
        let answer = match &attempt_of {
            Some(first) if is_in_doubt => Answer::Refused(again::in_doubt(first)),
            Some(_) | None => answer,
        };
        Ok(Passed { answer, is_in_doubt, attempt_of })
    }

    /// Passes on what is said while the call runs, until it ends. Also how much was redacted on the
    /// way.
    async fn converse(
        &self,
        mut exchange: Exchange,
        origin: &Origin,
        (operation, decision, sifting): (&OperationName, &Decision, Option<&Sifting>),
        client: ClientPort,
    ) -> (Finished, Aside) {
        let mut pending = PendingAnswers::new();
        let mut aside = Aside::default();
        let mut ear = Ear::of(client);
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
                    Event::Finished(finished) => return (finished, aside),
                    Event::Request { id, method, .. } if sifting.is_some() && method != "ping" => {
                        exchange.answer(&id, Err(Sifting::asks_nobody()));
                    }
                    Event::Request { id, method, params } => {
                        aside.has_asked |= method != "ping";
                        pending.push(self, origin, id, method, params, &ear.client);
                    }
                    // What a retriever says on the way may be what it has found.
                    Event::Notification { .. } if sifting.is_some() => {}
                    Event::Notification { method, params } => {
                        let (params, applied) =
                            obligation::on_aside(&decision.obligations, params);
                        aside.redactions += applied.redactions;
                        let world = self.world();
                        let labels = Labels { world: world.as_deref(), operation };
                        aside.label.absorb(labels.said(&params, self.parts.clock.now()));
                        ear.say(ToClient::Notification { method, params }).await;
                    }
                    Event::StreamClosed { retry_ms } => {
                        ear.say(ToClient::StreamClosed { retry_ms }).await;
                    }
                    Event::Met(label) => aside.label.absorb(*label),
                    // Only models answer so, and they are heard elsewhere.
                    Event::Begins(_) | Event::Events(_) => {}
                },
            }
        }
    }

    /// Meets the obligations, records the outcome, and only then answers.
    async fn conclude(
        &self,
        finished: Finished,
        ran: &Ran<'_>,
        (aside, asked): (Aside, Option<Box<Asked>>),
    ) -> Result<(Answer, OutcomeState), Refusal> {
        let decision = ran.decision;
        let Finished { mut spent, end } = finished;
        // Before obligations: they hide from the caller, not from what is counted.
        spent.settle(|settles| match &end {
            End::Result(result) => caps::actual(settles, result),
            End::Error(_) | End::Failed { .. } => {
                let usage = aside.noticed.usage.as_ref();
                usage.and_then(|usage| caps::of_usage(settles, usage))
            }
        });
        let (end, met) = match ran.sifting {
            Some(sifting) => {
                let sifted =
                    Box::pin(sifting.sift((&self.parts.store, &self.parts.watching), end)).await;
                (sifted.end, sifted.met)
            }
            None => (end, Label::default()),
        };
        if let Some(asked) = &asked {
            // An error is anybody's words as much as a result is.
            let said = match &end {
                End::Result(result) => Some(Cow::Borrowed(result)),
                End::Error(error) => Some(Cow::Owned(error.to_json())),
                End::Failed { .. } => None,
            };
            if let Some(raise) = self.noticed(asked, said.as_deref(), &aside.noticed).await {
                spent.hold(raise);
            }
        }
        let mut ended = meet_obligations(end, decision);
        ended.applied.redactions += aside.redactions;
        ended.has_asked = aside.has_asked;
        let mut outcome = self.outcome(&ended, ran);
        outcome.label.absorb(aside.label);
        outcome.label.absorb(met);
        outcome.answer = ran.made_of.map(|made_of| made_of.recorded(&aside.noticed));
        let concluded = self.parts.store.conclude(spent, outcome).await;
        concluded.map_err(|error| not_concluded(&error, decision.effect))?;
        Ok((ended.answer, ended.state))
    }

    fn outcome(&self, ended: &Ended, ran: &Ran<'_>) -> OutcomeRecord {
        let at = self.parts.clock.now();
        let world = self.world();
        let labels = Labels { world: world.as_deref(), operation: ran.operation };
        let body = match &ended.answer {
            Answer::Result(result) => Some(result.to_bytes()),
            Answer::Error(error) => Some(error.to_json().to_bytes()),
            Answer::Refused(_) => None,
        };
        OutcomeRecord {
            state: ended.state,
            at,
            code: ended.code,
            keep_all: ran.decision.obligations.contains(&Obligation::LogMore),
            result: body,
            label: match (&ended.answer, ran.made_of) {
                (Answer::Result(result), Some(of)) => labels.answer(result, &of.label, at),
                (Answer::Result(result), None) => labels.result(result, at),
                (Answer::Error(error), _) => labels.error(error, at),
                (Answer::Refused(_), _) if ended.never_left => Label::default(),
                (Answer::Refused(_), Some(of)) => labels.unknown(at).join(&of.label),
                (Answer::Refused(_), None) => labels.unknown(at),
            },
            duration_us: at.0.saturating_sub(ran.started),
            redactions: ended.applied.redactions,
            is_error: matches!(ended.answer, Answer::Error(_)),
            has_asked: ended.has_asked,
            never_left: ended.never_left,
            answer: None,
            shown: match &ended.answer {
                Answer::Result(result) => uses::shown(ran.operation, world.as_deref(), result),
                Answer::Error(_) | Answer::Refused(_) => BTreeSet::new(),
            },
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

    /// Records that a request came to no call, as far as the bound on such records goes.
    pub async fn note_undecided(&self, identity: &Identity, refusal: Refusal) -> Refusal {
        self.undecided(identity, refusal).await
    }

    /// Records a refusal and says why.
    pub(crate) async fn refuse(&self, mut refused: Refused) -> Refusal {
        self.notice_refusal(&mut refused);
        let refusal = explain(refused.decision());
        match self.parts.store.refuse(refused).await {
            Ok(_receipt) => refusal,
            Err(error) => not_recorded(&error),
        }
    }
}

/// What a call that is over gives its caller.
pub(crate) struct Passed {
    pub(crate) answer: Answer,
    pub(crate) is_in_doubt: bool,
    /// The call that first asked for the effect, if this was an attempt at it.
    pub(crate) attempt_of: Option<CallId>,
}

/// A call that has run.
struct Ran<'a> {
    operation: &'a OperationName,
    decision: &'a Decision,
    /// When it was proposed.
    started: i64,
    /// What a model's answer was made of, if it is a call of one.
    made_of: Option<&'a MadeOf>,
    /// How what a retriever found is looked through, if it is one.
    sifting: Option<&'a Sifting>,
}

/// How a call ended, after obligations.
struct Ended {
    answer: Answer,
    state: OutcomeState,
    code: Option<Code>,
    applied: Applied,
    /// Whether it certainly did not leave the gate.
    never_left: bool,
    /// Whether the upstream asked the client something.
    has_asked: bool,
}

fn meet_obligations(end: End, decision: &Decision) -> Ended {
    match end {
        End::Result(mut result) => {
            let applied = obligation::on_result(&decision.obligations, &mut result);
            let is_error = result.get("isError").and_then(Json::as_bool) == Some(true);
            let state = if is_error { OutcomeState::Failed } else { OutcomeState::Succeeded };
            Ended {
                answer: Answer::Result(result),
                state,
                code: None,
                applied,
                never_left: false,
                has_asked: false,
            }
        }
        End::Error(mut error) => {
            let applied = obligation::on_error(&decision.obligations, &mut error);
            let (answer, state) = (Answer::Error(error), OutcomeState::Failed);
            Ended { answer, state, code: None, applied, never_left: false, has_asked: false }
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
                has_asked: false,
            }
        }
    }
}
