//! Requests from an upstream to the client: sampling, elicitation, roots. They carry data out, so each is a call of
//! its own: decided, recorded before it leaves, and its answer recorded before the upstream gets it.

use crate::Kernel;
use crate::life::not_recorded;
use crate::port::{ClientPort, Refusal, ToClient};
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use lockgate_core::rule::{Ruling, rule};
use lockgate_effects::{Caller, Event};
use lockgate_store::{CommitError, OutcomeRecord, OutcomeState};
use lockgate_types::call::{Call, Direction};
use lockgate_types::identity::Identity;
use lockgate_types::label::Label;
use lockgate_types::{CallId, Code, Json, Object, SessionId, UpstreamName};
use lockgate_wire::{RequestId, RpcError};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// How long a client may take to answer an upstream's request: a person may be asked.
const ANSWER_WITHIN: Duration = Duration::from_secs(10 * 60);

/// Requests of one call that may wait for the client at once.
const PENDING_MAX: usize = 16;

/// On whose behalf an upstream asks.
#[derive(Clone)]
pub(crate) struct Origin {
    pub(crate) identity: Arc<Identity>,
    pub(crate) session: Option<SessionId>,
    pub(crate) caller: Arc<Caller>,
    pub(crate) upstream: UpstreamName,
    pub(crate) parent: Option<CallId>,
}

type Answered = (RequestId, Result<Json, RpcError>);

/// The answers that a running call waits for.
pub(crate) struct PendingAnswers(FuturesUnordered<BoxFuture<'static, Answered>>);

impl PendingAnswers {
    pub(crate) fn new() -> Self {
        Self(FuturesUnordered::new())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn push(&mut self, (id, answer): (RequestId, BoxFuture<'static, Answered>)) {
        if self.0.len() < PENDING_MAX {
            self.0.push(answer);
        } else {
            let refusal = Err(refusal_error(&Refusal::of(Code::UpstreamBusy)));
            self.0.push(Box::pin(async move { (id, refusal) }));
        }
    }

    pub(crate) async fn next(&mut self) -> Option<Answered> {
        self.0.next().await
    }
}

impl Kernel {
    /// Decides an upstream's request and, if it is allowed, has the client answer it.
    pub(crate) fn ask_client(
        self,
        origin: &Origin,
        id: RequestId,
        method: String,
        params: Object,
        client: &ClientPort,
    ) -> (RequestId, BoxFuture<'static, Answered>) {
        let (origin, client, request) = (origin.clone(), client.clone(), id.clone());
        let answer = async move {
            let answer = match self.ask(&origin, &method, params, &client).await {
                Ok(answer) => answer,
                Err(refusal) => Err(refusal_error(&refusal)),
            };
            (request, answer)
        };
        (id, Box::pin(answer))
    }

    async fn ask(
        &self,
        origin: &Origin,
        method: &str,
        params: Object,
        client: &ClientPort,
    ) -> Result<Result<Json, RpcError>, Refusal> {
        let world = self.world().ok_or_else(|| Refusal::of(Code::NoBundle))?;
        let id = self.parts.clock.mint();
        let mut call = Call::new(id, origin.upstream.clone(), Direction::ToClient, method, params)
            .map_err(Refusal::of)?;
        call.parent.clone_from(&origin.parent);
        let started = self.parts.clock.now();
        let (identity, session) = (&origin.identity, origin.session.as_ref());
        let facts = self.gather(&world, identity, session, call).await?;
        let allowed = match rule(&world, facts) {
            Ruling::Allowed(allowed) => allowed,
            Ruling::Refused(refused) => return Err(self.refuse(refused).await),
        };
        let permit = match self.parts.store.commit(allowed).await {
            Ok(permit) => permit,
            Err(CommitError::Moved(_)) => return Err(Refusal::of(Code::FactsMoved)),
            Err(CommitError::Failed(error)) => return Err(not_recorded(&error)),
        };
        // The way out is the face's connection to the client; the permit is spent on it here.
        let (call, _decision, spent) = permit.spend();
        let answer = deliver(call, client).await;
        let at = self.parts.clock.now();
        let (state, code) = match &answer {
            Ok(_) => (OutcomeState::Succeeded, None),
            Err(_) => (OutcomeState::Failed, None),
        };
        let outcome = OutcomeRecord {
            state,
            at,
            code,
            keep_all: false,
            result: answer.as_ref().ok().cloned(),
            label: Label::default(),
            duration_us: at.0.saturating_sub(started.0),
            redactions: 0,
        };
        match self.parts.store.conclude(spent, outcome).await {
            Ok(_receipt) => Ok(answer),
            Err(error) => Err(not_recorded(&error)),
        }
    }

    /// Passes on what an upstream says outside of calls, until either side is gone.
    pub(crate) async fn pump(
        &self,
        origin: Origin,
        mut events: mpsc::Receiver<Event>,
        client: mpsc::Sender<ToClient>,
    ) {
        let mut pending = PendingAnswers::new();
        loop {
            tokio::select! {
                () = client.closed() => return,
                Some((request, answer)) = pending.next(), if !pending.is_empty() => {
                    self.answer_outside(&origin, &request, answer).await;
                }
                event = events.recv() => match event {
                    Some(Event::Notification { method, params }) => {
                        let message = ToClient::Notification { method, params };
                        if client.send(message).await.is_err() {
                            return;
                        }
                    }
                    Some(Event::Request { id, method, params }) => {
                        pending.push(self.clone().ask_client(&origin, id, method, params, &client));
                    }
                    Some(Event::StreamClosed { .. }) => {}
                    Some(Event::Finished(_)) | None => return,
                },
            }
        }
    }
}

impl Kernel {
    async fn answer_outside(
        &self,
        origin: &Origin,
        request: &RequestId,
        answer: Result<Json, RpcError>,
    ) {
        let upstreams = &self.parts.upstreams;
        let answered = upstreams.answer(&origin.upstream, &origin.caller, request, answer).await;
        if let Err(error) = answered {
            tracing::debug!(upstream = %origin.upstream, %error, "an answer was not delivered");
        }
    }
}

async fn deliver(call: Call, client: &ClientPort) -> Result<Json, RpcError> {
    let (sender, receiver) = oneshot::channel();
    let request = ToClient::Request { method: call.method, params: call.params, answer: sender };
    if client.send(request).await.is_err() {
        return Err(refusal_error(&Refusal::of(Code::MissingCapability)));
    }
    match tokio::time::timeout(ANSWER_WITHIN, receiver).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) | Err(_) => Err(RpcError::new(-32603, "the client did not answer")),
    }
}

fn refusal_error(refusal: &Refusal) -> RpcError {
    lockgate_wire::refusal::refusal_error(refusal)
}
