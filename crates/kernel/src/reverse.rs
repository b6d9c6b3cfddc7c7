//! Requests from an upstream to the client: sampling, elicitation, roots. They carry data out, so
//! each is a call of its own: decided, recorded before it leaves, and its answer recorded before
//! the upstream gets it.

use crate::Kernel;
use crate::admit::{DECIDE_ROUNDS_MAX, charges};
use crate::label::Labels;
use crate::life::CLIENT_TAKES_MAX;
use crate::model::ModelAside;
use crate::obligation;
use crate::port::{ClientPort, Refusal, ToClient};
use crate::refusal::{named, not_concluded, not_recorded};
use crate::words::Words;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use lockgate_core::rule::{Ruling, rule};
use lockgate_core::{World, exposure};
use lockgate_effects::{Caller, Event, Presented};
use lockgate_store::{CommitError, OutcomeRecord, OutcomeState, Permit, Terms};
use lockgate_types::call::{Call, Direction};
use lockgate_types::decision::Obligation;
use lockgate_types::history::Step;
use lockgate_types::identity::Identity;
use lockgate_types::label::Label;
use lockgate_types::{CallId, Code, Digest, Json, Object, SessionId, UpstreamName};
use lockgate_wire::{RequestId, RpcError};
use std::collections::BTreeSet;
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
    pub(crate) presented: Presented,
    pub(crate) upstream: UpstreamName,
    /// The call within which it asks.
    pub(crate) within: Option<Within>,
    /// The request for approval that it comes back to, and that is its own.
    pub(crate) asks_for: Option<CallId>,
    /// Of the call within which it asks.
    pub(crate) obligations: Vec<Obligation>,
    /// What the person has said with it, as an application says that is believed.
    pub(crate) heard: Words,
    /// What goes with a call of a model, and no decision depends on.
    pub(crate) aside: Arc<ModelAside>,
}

impl Origin {
    /// Of what the gate itself does for somebody, outside of sessions.
    pub(crate) fn of_the_gate(identity: Arc<Identity>, upstream: UpstreamName) -> Self {
        Self {
            identity,
            session: None,
            caller: Arc::default(),
            presented: Presented::Nothing,
            upstream,
            within: None,
            asks_for: None,
            obligations: Vec::new(),
            heard: Words::default(),
            aside: Arc::default(),
        }
    }

    /// Whoever asked once, for what the gate does by itself. It is not there, nor is its token.
    pub(crate) fn gone(identity: Arc<Identity>, upstream: UpstreamName) -> Self {
        let caller = Caller { identity: Some(Arc::clone(&identity)), ..Caller::default() };
        Self {
            identity,
            session: None,
            caller: Arc::new(caller),
            presented: Presented::Gone,
            upstream,
            within: None,
            asks_for: None,
            obligations: Vec::new(),
            heard: Words::default(),
            aside: Arc::default(),
        }
    }
}

/// Where in its tree a call is that another gives rise to.
#[derive(Clone)]
pub(crate) struct Within {
    parent: CallId,
    root: CallId,
    /// Whether it counts against rates all the same: what a run does is not asked for once.
    pub(crate) pays: bool,
    /// What was found of the answer of a model that proposes it, if one does.
    found: Option<BTreeSet<String>>,
}

impl Within {
    /// That it is set off by this one.
    pub(crate) fn of(parent: &Call) -> Self {
        Self { parent: parent.id.clone(), root: parent.root().clone(), pays: false, found: None }
    }

    /// That a run does it, which is named by the call that started it.
    pub(crate) fn of_run(run: &CallId) -> Self {
        Self { parent: run.clone(), root: run.clone(), pays: true, found: None }
    }

    /// That it is another attempt at what this one asks for, within a run if that is.
    pub(crate) fn beside(first: &CallId, run: Option<Self>) -> Self {
        let root = run.map_or_else(|| first.clone(), |run| run.root);
        Self { parent: first.clone(), root, pays: false, found: None }
    }

    /// That a model proposes it, of whose answer this was found.
    pub(crate) fn proposing(&self, found: BTreeSet<String>) -> Self {
        Self { found: Some(found), ..self.clone() }
    }

    /// Puts a call where it is.
    pub(crate) fn mark(within: Option<&Self>, call: &mut Call) {
        call.found = within.and_then(|within| within.found.clone());
        call.parent = within.map(|within| within.parent.clone());
        call.root = within.map(|within| within.root.clone());
    }
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

    /// Has the client answer an upstream's request, unless too many wait already.
    pub(crate) fn push(
        &mut self,
        kernel: &Kernel,
        origin: &Origin,
        id: RequestId,
        method: String,
        params: Object,
        client: &ClientPort,
    ) {
        let (kernel, origin, client) = (kernel.clone(), origin.clone(), client.clone());
        let has_room = self.0.len() < PENDING_MAX;
        self.0.push(Box::pin(async move {
            if method == "ping" {
                return (id, Ok(Object::new().into()));
            }
            let answer = if has_room {
                Box::pin(kernel.ask(&origin, &method, params, &client)).await
            } else {
                let busy = Refusal::of(Code::UpstreamBusy);
                Err(kernel.undecided(&origin.identity, busy).await)
            };
            (id, answer.unwrap_or_else(|refusal| Err(refusal_error(&refusal))))
        }));
    }

    pub(crate) async fn next(&mut self) -> Option<Answered> {
        self.0.next().await
    }
}

impl Kernel {
    /// Decides an upstream's request and, if it is allowed, has the client answer it.
    async fn ask(
        &self,
        origin: &Origin,
        method: &str,
        params: Object,
        client: &ClientPort,
    ) -> Result<Result<Json, RpcError>, Refusal> {
        let started = self.parts.clock.now();
        let id = self.parts.clock.mint();
        // What the call within which this is asked has to hide is hidden here too.
        let (params, aside) = obligation::on_aside(&origin.obligations, params);
        let upstream = origin.upstream.clone();
        let question = Json::Object(params.clone());
        let mut call = match named(id, upstream, Direction::ToClient, method, params) {
            Ok(call) => call,
            Err(code) => return Err(self.undecided(&origin.identity, Refusal::of(code)).await),
        };
        Within::mark(origin.within.as_ref(), &mut call);
        self.pay_rates(&origin.identity, origin.session.as_ref(), &call).await?;
        let permit = self.admit_ask(origin, call).await?;
        let pass = permit.pass();
        // The way out is the face's connection to the client; the permit is spent on it here.
        let (call, decision, spent) = permit.spend();
        let operation = call.operation.clone();
        let mut answer = deliver(call, client).await;
        let mut redactions = aside.redactions;
        let state = match &mut answer {
            Ok(answer) => {
                let applied = obligation::on_answer(&decision.obligations, answer);
                redactions += applied.redactions;
                OutcomeState::Succeeded
            }
            Err(_) => OutcomeState::Failed,
        };
        let at = self.parts.clock.now();
        let outcome = OutcomeRecord {
            state,
            at,
            code: None,
            keep_all: decision.obligations.contains(&Obligation::LogMore),
            result: answer.as_ref().ok().map(Json::to_bytes),
            // The client has read what the upstream asked, and says what it says.
            label: {
                let world = self.world();
                let labels = Labels { world: world.as_deref(), operation: &operation };
                let answer = answer.as_ref().ok();
                let texts: Vec<&Json> = [&question].into_iter().chain(answer).collect();
                labels.asked(&texts, at)
            },
            duration_us: at.0.saturating_sub(started.0),
            redactions,
            is_error: false,
            has_asked: false,
            never_left: false,
            answer: None,
            shown: BTreeSet::new(),
        };
        match self.parts.store.conclude(spent, outcome).await {
            // The answer lets the upstream go on: not after a switch.
            Ok(_receipt) if pass.is_stopped() => Err(Refusal::of(Code::SwitchEngaged)),
            Ok(_receipt) => Ok(answer),
            Err(error) => Err(not_concluded(&error, decision.effect)),
        }
    }

    async fn admit_ask(&self, origin: &Origin, mut call: Call) -> Result<Permit, Refusal> {
        let mut exhausted = Vec::new();
        for _ in 0..DECIDE_ROUNDS_MAX {
            let (world, mut facts) = self.gather(origin, call).await?;
            facts.exhausted = std::mem::take(&mut exhausted);
            let allowed = match rule(&world, facts) {
                Ruling::Allowed(allowed) => allowed,
                Ruling::Refused(refused) => return Err(self.say_no(refused).await),
            };
            let charges = charges(&world, &allowed).map_err(|error| not_recorded(&error))?;
            let terms = Terms { charges, ..Terms::default() };
            match self.parts.store.commit(allowed, terms).await {
                Ok(permit) => return Ok(permit),
                Err(CommitError::Moved(facts)) => call = self.moved(*facts).await,
                Err(CommitError::Failed(error)) => return Err(not_recorded(&error)),
                Err(CommitError::Exhausted(facts)) => {
                    (call, exhausted) = (facts.call, facts.exhausted);
                }
                Err(CommitError::Repeats(_) | CommitError::UnderWay(_)) => {
                    return Err(Refusal::of(Code::InvariantBroken));
                }
            }
        }
        Err(self.undecided(&origin.identity, Refusal::of(Code::FactsMoved)).await)
    }

    /// Decides and records that somebody listens, and passes on what is said until either side is
    /// gone or another bundle rules.
    pub(crate) async fn hear(
        &self,
        mut origin: Origin,
        client: mpsc::Sender<ToClient>,
    ) -> Result<(), Refusal> {
        let started = self.parts.clock.now();
        let id = self.parts.clock.mint();
        let upstream = origin.upstream.clone();
        let call =
            named(id, upstream, Direction::ToUpstream, "subscriptions/listen", Object::new());
        let permit = self.admit_ask(&origin, call.map_err(Refusal::of)?).await?;
        let (call, decision, spent) = permit.spend();
        origin.within = Some(Within::of(&call));
        origin.obligations.clone_from(&decision.obligations);
        let events = self.parts.upstreams.listen(&origin.upstream, &origin.caller).await;
        let heard = self.pump(origin, &call, decision.bundle, (events, client)).await;
        let at = self.parts.clock.now();
        let outcome = OutcomeRecord {
            state: OutcomeState::Succeeded,
            at,
            code: None,
            keep_all: false,
            result: None,
            label: heard.label,
            duration_us: at.0.saturating_sub(started.0),
            redactions: heard.redactions,
            is_error: false,
            has_asked: false,
            never_left: false,
            answer: None,
            shown: BTreeSet::new(),
        };
        let concluded = self.parts.store.conclude(spent, outcome).await;
        concluded.map(|_receipt| ()).map_err(|error| not_recorded(&error))
    }

    async fn pump(
        &self,
        origin: Origin,
        call: &Call,
        bundle: Digest,
        (mut events, client): (mpsc::Receiver<Event>, mpsc::Sender<ToClient>),
    ) -> Heard {
        let mut pending = PendingAnswers::new();
        let mut heard = Heard { redactions: 0, label: Label::default() };
        loop {
            let event = tokio::select! {
                () = client.closed() => return heard,
                Some((request, answer)) = pending.next(), if !pending.is_empty() => {
                    self.answer_outside(&origin, &request, answer).await;
                    continue;
                }
                event = events.recv() => event,
            };
            let world = self.world().filter(|world| world.digest == bundle);
            let Some(world) = world else { return heard };
            match event {
                Some(Event::Notification { method, params }) => {
                    let (params, applied) = obligation::on_aside(&origin.obligations, params);
                    heard.redactions += applied.redactions;
                    let operation = &call.operation;
                    let labels = Labels { world: Some(&world), operation };
                    let said = labels.said(&params, self.parts.clock.now());
                    if self.has_heard(&world, &origin, call, said, &mut heard).await.is_err() {
                        return heard;
                    }
                    if client.send(ToClient::Notification { method, params }).await.is_err() {
                        return heard;
                    }
                }
                Some(Event::Request { id, method, params }) => {
                    pending.push(self, &origin, id, method, params, &client);
                }
                Some(Event::StreamClosed { .. }) => {}
                Some(Event::Finished(_)) | None => return heard,
                // Only models answer so.
                Some(Event::Begins(_) | Event::Events(_) | Event::Met(_)) => {}
            }
        }
    }
}

/// What was heard while somebody listened.
struct Heard {
    redactions: u32,
    label: Label,
}

impl Kernel {
    /// What is heard is known before the client hears it: nobody can tell when the stream ends.
    async fn has_heard(
        &self,
        world: &World,
        origin: &Origin,
        call: &Call,
        said: Label,
        heard: &mut Heard,
    ) -> Result<(), Refusal> {
        if heard.label.covers(&said) {
            return Ok(());
        }
        let key = self.session_key(&origin.identity, origin.session.as_ref());
        let look = exposure::look(world, &origin.identity, call);
        let step = Step { at: self.parts.clock.now(), call: call.id.clone() };
        let met = self.parts.store.met(&key, look, said.clone(), step).await;
        met.map_err(|error| not_recorded(&error))?;
        heard.label.absorb(said);
        Ok(())
    }

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
    let sent = tokio::time::timeout(CLIENT_TAKES_MAX, client.send(request)).await;
    if !matches!(sent, Ok(Ok(()))) {
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
