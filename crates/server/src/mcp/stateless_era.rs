//! 2026-07-28: every request stands for itself, and says whose it is and what its client can do.

use crate::http::{self, Body, BoxError};
use crate::mcp::answer::{Dress, Refused, event};
use crate::mcp::ask::Ask;
use crate::mcp::conversation::PLAIN_WITHIN;
use crate::mcp::people::{self, Telling};
use crate::mcp::route::{Asker, Scope};
use crate::mcp::stream::{KEEP_ALIVE, poll_alarm};
use crate::mcp::suspend::{Binding, Question, own_state, question};
use crate::mcp::{Client, McpFace, subscribe, wire_headers};
use crate::running::{Running, Step};
use ::http::{HeaderMap, Response, StatusCode};
use bytes::Bytes;
use http_body::Frame;
use lockgate_effects::Caller;
use lockgate_kernel::{ListKind, Refusal, Reply, ToClient};
use lockgate_types::call::Direction;
use lockgate_types::identity::Identity;
use lockgate_types::methods::{self, Kind};
use lockgate_types::{CanonicalObject, Code, Digest, Json, Object, UpstreamName};
use lockgate_wire::bridge::check_declared;
use lockgate_wire::classify::{classify, unknown};
use lockgate_wire::headers::PARAM_HEADER_PREFIX;
use lockgate_wire::stateless::{RequestMeta, check_mirrored, check_request};
use lockgate_wire::{Era, Message, Request};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::time::Sleep;

type Outcome = Result<Response<Body>, Box<Refused>>;

/// A message from a stateless client.
pub(crate) async fn post(client: Client<'_>, headers: &HeaderMap, message: Message) -> Outcome {
    let request = match message {
        Message::Request(request) => request,
        // Nothing a client says here needs an answer or changes anything: cancelling is closing the
        // stream.
        Message::Notification(_) => return Ok(http::empty(StatusCode::ACCEPTED)),
        Message::Response(_) => {
            let reason = "clients of this protocol version send no responses";
            return Err(Refused::new(StatusCode::BAD_REQUEST, Code::NotAMessage, reason));
        }
    };
    let wire = |error| Refused::wire(&error, Era::Stateless);
    let given = wire_headers(headers);
    let meta = check_request(&given, &request).map_err(wire)?;
    let message = Message::Request(request);
    let method = classify(&message, Era::Stateless, Direction::ToUpstream).map_err(wire)?;
    let is_forwarded = message.method().is_some_and(|name| client.is_forwarded(name));
    if method.is_none() && !is_forwarded {
        return Err(wire(unknown(&message)));
    }
    let Message::Request(request) = message else { return Err(wire(unknown(&message))) };
    let caller = Arc::new(caller(client.identity, &meta));
    let asker = client.asker(&caller);
    if request.method == "tools/call" {
        check_arguments(&asker, headers, &request).await?;
    }
    let Request { id, method: name, params, .. } = request;
    let dress = Dress { id, era: Era::Stateless, method: name };
    let listed = match (method.map(|method| method.kind), ListKind::from_method(&dress.method)) {
        (Some(Kind::Lifecycle), _) => asker.discover().await,
        (_, Some(kind)) => asker.list(kind, &params).await,
        _ => return call(&client, asker, dress, params, meta.traceparent).await,
    };
    let dressed = listed.map_or_else(|r| dress.refusal(&r, None), |l| dress.result(l));
    Ok(dressed.into_response())
}

/// As whom the gate speaks to upstreams for this request. Requests of one principal that declare
/// the same share an upstream's session, where the upstream has sessions.
fn caller(identity: &Arc<Identity>, meta: &RequestMeta) -> Caller {
    let info = meta.client_info.clone().map(Json::from);
    let mut shared = CanonicalObject::new(256);
    shared.text("agent", identity.agent.as_str());
    shared.object("capabilities", &meta.client_capabilities);
    if let Some(info) = &meta.client_info {
        shared.object("client", info);
    }
    shared.text("environment", identity.environment.as_str());
    shared.text("issuer", &identity.issuer);
    shared.text("subject", identity.subject.as_str());
    shared.text("tenant", identity.tenant.as_str());
    Caller {
        session_key: format!("stateless {}", Digest::of(&shared.finish())),
        identity: Some(Arc::clone(identity)),
        era: Era::Stateless,
        protocol_version: meta.protocol_version.clone(),
        client_info: info,
        capabilities: meta.client_capabilities.clone(),
        log_level: meta.log_level.clone(),
    }
}

/// Checks the headers that repeat arguments, by the schema that this caller is shown.
async fn check_arguments(
    asker: &Asker<'_>,
    headers: &HeaderMap,
    request: &Request,
) -> Result<(), Box<Refused>> {
    let arguments = request.params.get("arguments").and_then(Json::as_object);
    let claims = headers.keys().any(|name| name.as_str().starts_with(PARAM_HEADER_PREFIX));
    if arguments.is_none_or(Object::is_empty) && !claims {
        return Ok(());
    }
    // What cannot be routed or found is refused later, as that.
    let Some((upstream, own)) = asker.tool(&request.params) else { return Ok(()) };
    let Ok(introduced) = asker.face.kernel.introduction(asker.caller, &upstream).await else {
        return Ok(());
    };
    let Some(mirrored) = introduced.catalogue.mirrored(&own) else { return Ok(()) };
    check_mirrored(&wire_headers(headers), request, mirrored)
        .map_err(|error| Refused::wire(&error, Era::Stateless))
}

async fn call(
    client: &Client<'_>,
    asker: Asker<'_>,
    dress: Dress,
    params: Object,
    traceparent: Option<String>,
) -> Outcome {
    if dress.method == "subscriptions/listen" && !subscribe::is_forwarded(&asker).await {
        return subscribe::listen(client, asker, dress, &params).await;
    }
    let (upstream, mut params) = match asker.route(&dress.method, params).await {
        Ok(routed) => routed,
        Err(refusal) => return Ok(dress.refusal(&refusal, None).into_response()),
    };
    let resumes = people::take_resumption(&mut params)
        .map_err(|code| Refused::of(StatusCode::BAD_REQUEST, &Refusal::of(code)).to(&dress.id))?;
    let telling = match people::is_step(&params) {
        true => Telling::Refusal,
        false => people::telling(asker.caller, &asker.caller.protocol_version),
    };
    // A client that declares nothing is asked nothing: its call never waits for it to come back.
    let may_wait = !asker.caller.capabilities.is_empty() || own_state(&params).is_some();
    let talk = Talk {
        face: Arc::clone(client.face),
        dress,
        identity: Arc::clone(client.identity),
        upstream: upstream.clone(),
        params: if may_wait { params.clone() } else { Object::new() },
        capabilities: asker.caller.capabilities.clone(),
        logs: asker.caller.log_level.is_some(),
        telling,
    };
    let running = match own_state(&params) {
        Some(state) => match talk.resume(state, &params) {
            Ok(Resumed::Goes(running)) => running,
            Ok(Resumed::Waits(result)) => return Ok(talk.dress.result(result).into_response()),
            Err(code) => {
                let refused = Refused::of(StatusCode::BAD_REQUEST, &Refusal::of(code));
                return Err(refused.to(&talk.dress.id));
            }
        },
        None => Ask {
            identity: Arc::clone(client.identity),
            session: client.session(None),
            caller: Arc::clone(asker.caller),
            presented: client.presented(),
            upstream,
            method: talk.dress.method.clone(),
            params,
            traceparent: traceparent.or_else(|| client.traceparent(&Object::new())),
            key: client.key(),
            resumes,
            telling,
        }
        .start(client.face),
    };
    Ok(answer(talk, running).await)
}

/// Plain JSON if the call ends before anything is said; else a stream. Dropping either cancels the
/// call.
async fn answer(talk: Talk, mut running: Running) -> Response<Body> {
    let deadline = tokio::time::sleep(PLAIN_WITHIN);
    tokio::pin!(deadline);
    loop {
        let step = tokio::select! {
            biased;
            step = running.next() => step,
            () = &mut deadline => return http::events(Events::new(talk, running, None)),
        };
        match talk.take(step) {
            Said::Last(reply) => return reply.into_response(),
            Said::Nothing => {}
            Said::Event(first) => {
                return http::events(Events::new(talk, running, Some(first)));
            }
            Said::Asks(first) => return talk.suspend(running, first).into_response(),
        }
    }
}

/// A request and its client.
struct Talk {
    face: Arc<McpFace>,
    dress: Dress,
    identity: Arc<Identity>,
    upstream: UpstreamName,
    /// What a call that waits is bound to; empty if it never does.
    params: Object,
    capabilities: Object,
    /// Whether the client wants log messages.
    logs: bool,
    /// How the client hears that its call waits for people.
    telling: Telling,
}

enum Said {
    Nothing,
    Event(Bytes),
    Asks(Question),
    Last(crate::mcp::answer::Dressed),
}

enum Resumed {
    Goes(Running),
    Waits(Json),
}

impl Talk {
    fn take(&self, step: Step) -> Said {
        match step {
            Step::Done(reply) => Said::Last(self.done(reply)),
            Step::Lost => Said::Last(self.dress.lost()),
            Step::Interim(ToClient::Notification { method, params }) => {
                if method == "notifications/message" && !self.logs {
                    return Said::Nothing;
                }
                let bytes = self.dress.notification(&method, params);
                bytes.map_or(Said::Nothing, |bytes| Said::Event(event(&bytes).into()))
            }
            Step::Interim(ToClient::StreamClosed { .. }) => Said::Nothing,
            Step::Interim(message) => match question(message) {
                Ok(question) if self.may_ask(&question) => Said::Asks(question),
                // The place for the answer is dropped: the upstream is told that the client cannot
                // answer.
                Ok(_) | Err(_) => Said::Nothing,
            },
        }
    }

    fn done(&self, reply: Reply) -> crate::mcp::answer::Dressed {
        if self.telling == Telling::InputRequired {
            let now = self.face.kernel.clock().now();
            if let Some(asks) = people::input_result(&reply, &self.dress.method, now) {
                return self.dress.result_of(reply.call, asks);
            }
        }
        self.dress.reply(reply)
    }

    fn may_ask(&self, question: &Question) -> bool {
        let method = methods::find(&self.dress.method);
        method.is_some_and(|method| method.may_require_input())
            && check_declared(&self.capabilities, &question.method, &question.params).is_ok()
    }

    /// Ends the request by asking; the call waits for the client to come back.
    fn suspend(&self, mut running: Running, first: Question) -> crate::mcp::answer::Dressed {
        let others = running.other_requests().into_iter();
        let others = others.filter_map(|message| question(message).ok());
        let asked = std::iter::once(first).chain(others.filter(|other| self.may_ask(other)));
        match self.wait(running, asked.collect()) {
            Ok(result) => self.dress.result(result),
            Err(code) => self.dress.refusal(&Refusal::of(code), None),
        }
    }

    /// What a state of this request is bound to.
    fn binding(&self) -> Binding {
        Binding::new(&self.identity, &self.upstream, &self.dress.method, &self.params)
    }

    fn wait(&self, running: Running, asked: Vec<Question>) -> Result<Json, Code> {
        let now = self.face.kernel.clock().now();
        self.face.suspended.suspend(running, asked, &self.dress.method, &self.binding(), now)
    }

    fn resume(&self, state: &str, params: &Object) -> Result<Resumed, Code> {
        let now = self.face.kernel.clock().now();
        let (running, unanswered) =
            self.face.suspended.resume(state, params, &self.binding(), now)?;
        if unanswered.is_empty() {
            return Ok(Resumed::Goes(running));
        }
        self.wait(running, unanswered).map(Resumed::Waits)
    }
}

/// The body of a response that is a stream. It ends with the reply, or by being dropped, which
/// cancels the call.
struct Events {
    talk: Talk,
    running: Option<Running>,
    first: Option<Bytes>,
    alarm: Pin<Box<Sleep>>,
}

impl Events {
    fn new(talk: Talk, running: Running, first: Option<Bytes>) -> Self {
        let alarm = Box::pin(tokio::time::sleep(KEEP_ALIVE));
        Self { talk, running: Some(running), first, alarm }
    }
}

impl http_body::Body for Events {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if let Some(first) = this.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        loop {
            let Some(mut running) = this.running.take() else { return Poll::Ready(None) };
            let Poll::Ready(step) = running.poll_next(context) else {
                this.running = Some(running);
                return poll_alarm(&mut this.alarm, context);
            };
            let frame: Bytes = match this.talk.take(step) {
                Said::Nothing => {
                    this.running = Some(running);
                    continue;
                }
                Said::Event(frame) => {
                    this.running = Some(running);
                    frame
                }
                Said::Last(reply) => reply.into_event().into(),
                Said::Asks(first) => this.talk.suspend(running, first).into_event().into(),
            };
            this.alarm.as_mut().reset(tokio::time::Instant::now() + KEEP_ALIVE);
            return Poll::Ready(Some(Ok(Frame::data(frame))));
        }
    }
}

impl Asker<'_> {
    /// The upstream of a tool call, and the tool's name there.
    fn tool(&self, params: &Object) -> Option<(UpstreamName, String)> {
        let name = params.get("name")?.as_str()?;
        match self.scope {
            Scope::One(upstream) => Some((upstream.clone(), name.to_owned())),
            Scope::All => self.split(name).ok(),
        }
    }
}
