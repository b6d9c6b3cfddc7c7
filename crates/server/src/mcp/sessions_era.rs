//! 2025-06-18 and 2025-11-25: sessions, streams that can be resumed, requests to the client.

use crate::http::{self, Body};
use crate::mcp::answer::{Dress, Dressed, Refused};
use crate::mcp::ask::Ask;
use crate::mcp::conversation::{Conversation, RETRY_MS, finish, open_stream, say};
use crate::mcp::kept;
use crate::mcp::people;
use crate::mcp::route::{Asker, Scope, refusal};
use crate::mcp::session::{NotFound, Opening, Room, Session};
use crate::mcp::stream::{Stream, read_event_id};
use crate::mcp::{Client, McpFace, prefers_events, random_id};
use ::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use futures_util::future::join_all;
use lockgate_effects::Caller;
use lockgate_kernel::{ListKind, Refusal};
use lockgate_types::call::Direction;
use lockgate_types::methods::Kind;
use lockgate_types::{Code, Json, Object, UpstreamName};
use lockgate_wire::classify::classify;
use lockgate_wire::era::{SESSION_HEADER, VERSION_HEADER, negotiate};
use lockgate_wire::{Era, Message, Notification, Request, RequestId};
use std::sync::Arc;
use std::time::Duration;

/// How long a notification may take to reach an upstream.
const NOTIFY_WITHIN: Duration = Duration::from_secs(2);

type Outcome = Result<Response<Body>, Box<Refused>>;

/// A message from a client with sessions.
pub(crate) async fn post(client: Client<'_>, headers: &HeaderMap, message: Message) -> Outcome {
    let method = classify(&message, Era::Sessions, Direction::ToUpstream);
    let method = method.map_err(|error| Refused::wire(&error, Era::Sessions))?;
    if message.method() == Some("initialize") {
        let Message::Request(request) = message else { return Err(missing_session()) };
        return initialize(client, request).await;
    }
    let session = find(&client, headers).await?;
    match message {
        Message::Request(request) => {
            session.touch();
            let kind = method.map(|method| method.kind);
            let streams = prefers_events(headers);
            Turn { client, session, kind, streams }.request(request).await
        }
        Message::Notification(notification) => {
            session.touch();
            notified(&client, &session, notification).await;
            Ok(http::empty(StatusCode::ACCEPTED))
        }
        Message::Response(response) => {
            session.answer(response);
            Ok(http::empty(StatusCode::ACCEPTED))
        }
    }
}

/// A client that wants to hear: the stream outside of calls, or one that it lost.
pub(crate) async fn get(client: &Client<'_>, headers: &HeaderMap) -> Outcome {
    let session = find(client, headers).await?;
    session.touch();
    let retry_ms = session.is_polling().then_some(RETRY_MS);
    let gone = || {
        let reason = "the stream of `Last-Event-ID` is not kept any more";
        Refused::new(StatusCode::BAD_REQUEST, Code::BadHttp, reason)
    };
    let last = http::single(headers, "last-event-id").map_err(|_| gone())?;
    let Some(last) = last.filter(|last| !last.is_empty()) else {
        let (stream, is_first) = session.standing().ok_or_else(gone)?;
        if is_first {
            if let Some(retry_ms) = retry_ms {
                stream.prime(retry_ms);
            }
            listen(client, &session, &stream);
        }
        return Ok(http::events(stream.follow()));
    };
    let (number, sequence) = read_event_id(last).ok_or_else(gone)?;
    let stream = session.stream(number).ok_or_else(gone)?;
    Ok(http::events(stream.resume(sequence, retry_ms)))
}

/// A client that ends its session.
pub(crate) async fn delete(client: &Client<'_>, headers: &HeaderMap) -> Outcome {
    let session = find(client, headers).await?;
    // No other node takes it up once this is answered.
    client.face.kernel.end_client_session(&session.id).await;
    client.face.end_session(&session).await;
    Ok(http::empty(StatusCode::NO_CONTENT))
}

async fn find(client: &Client<'_>, headers: &HeaderMap) -> Result<Arc<Session>, Box<Refused>> {
    let bad = |reason| Refused::new(StatusCode::BAD_REQUEST, Code::HeaderMismatch, reason);
    let id = http::single(headers, SESSION_HEADER)
        .map_err(|_| bad("`Mcp-Session-Id` is not one visible ASCII value"))?
        .ok_or_else(missing_session)?;
    let version = http::single(headers, VERSION_HEADER)
        .map_err(|_| bad("`MCP-Protocol-Version` is not one visible ASCII value"))?;
    let mut found = client.face.sessions.find(id, client.scope, client.identity);
    match &found {
        Ok(session) => kept::keep_on(client, session),
        Err(NotFound::Unknown) => found = kept::take_up(client, id).await?,
        Err(NotFound::NotYours) => {}
    }
    let session = found.map_err(|error| {
        // To the client both look the same; the record tells them apart.
        let mut refused = Refused::of(StatusCode::NOT_FOUND, &Refusal::of(Code::SessionUnknown));
        if error == NotFound::NotYours {
            refused.code = Code::SessionNotYours;
        }
        refused
    })?;
    if version.is_some_and(|version| version != session.version) {
        return Err(bad("`MCP-Protocol-Version` is not the version this session agreed on"));
    }
    Ok(session)
}

fn missing_session() -> Box<Refused> {
    let reason = "the `Mcp-Session-Id` header is missing: open a session with `initialize`";
    Refused::new(StatusCode::BAD_REQUEST, Code::HeaderMismatch, reason)
}

async fn initialize(client: Client<'_>, request: Request) -> Outcome {
    let Request { id, params, .. } = request;
    let version = negotiate(params.get("protocolVersion").and_then(Json::as_str));
    let session_id = random_id()
        .map_err(|code| Refused::of(StatusCode::SERVICE_UNAVAILABLE, &Refusal::of(code)).to(&id))?;
    let capabilities = params.get("capabilities").and_then(Json::as_object);
    let caller = Caller {
        session_key: session_id.as_str().to_owned(),
        identity: Some(Arc::clone(client.identity)),
        era: Era::Sessions,
        protocol_version: version.to_owned(),
        client_info: params.get("clientInfo").cloned(),
        capabilities: capabilities.cloned().unwrap_or_default(),
        log_level: None,
    };
    let dress = Dress { id, era: Era::Sessions, method: request.method };
    let shared = Arc::new(caller.clone());
    let introduced = client.asker(&shared).initialize(version).await;
    let result = match introduced {
        Ok(result) => result,
        Err(refusal) => return Ok(dress.refusal(&refusal, None).into_response()),
    };
    let opening = Opening {
        id: session_id.clone(),
        scope: client.scope.clone(),
        version,
        identity: Arc::clone(client.identity),
        caller,
    };
    let opened = client.face.sessions.open(opening, &client.world.gate.limits);
    let (session, room) = opened.map_err(|code| {
        Refused::of(StatusCode::TOO_MANY_REQUESTS, &Refusal::of(code)).to(&dress.id)
    })?;
    client.face.make(room).await;
    if let Err(refusal) = kept::keep(&client, &session).await {
        client.face.end_session(&session).await;
        return Ok(dress.refusal(&refusal, None).into_response());
    }
    let mut response = dress.result(result).into_response();
    if let Ok(value) = HeaderValue::from_str(session_id.as_str()) {
        response.headers_mut().insert(HeaderName::from_static(SESSION_HEADER), value);
    }
    Ok(response)
}

/// One request within a session.
struct Turn<'a> {
    client: Client<'a>,
    session: Arc<Session>,
    kind: Option<Kind>,
    /// Whether the client would rather have a stream, whatever is said on it.
    streams: bool,
}

impl Turn<'_> {
    async fn request(self, request: Request) -> Outcome {
        let Request { id, method, params, .. } = request;
        let dress = Dress { id, era: Era::Sessions, method };
        let caller = self.session.caller.load_full();
        let asker = self.client.asker(&caller);
        match (self.kind, ListKind::from_method(&dress.method)) {
            (Some(Kind::Lifecycle), _) => {
                Ok(self.deliver(dress.result(Object::new().into())).await)
            }
            (_, Some(kind)) => {
                let listed = asker.list(kind, &params).await;
                let dressed = listed.map_or_else(|r| dress.refusal(&r, None), |l| dress.result(l));
                Ok(self.deliver(dressed).await)
            }
            (Some(_), None) => self.call(asker, dress, params).await,
            (None, None) if self.client.is_forwarded(&dress.method) => {
                self.call(asker, dress, params).await
            }
            (None, None) => {
                let refusal = refusal(Code::UnknownMethod, "no protocol version knows the method");
                Ok(dress.refusal(&refusal, None).into_response())
            }
        }
    }

    /// An answer that is there already.
    async fn deliver(&self, dressed: Dressed) -> Response<Body> {
        if !self.streams {
            return dressed.into_response();
        }
        let stream = open_stream(&self.session, RETRY_MS);
        stream.push(&dressed.bytes).await;
        stream.finish();
        http::events(stream.read())
    }

    async fn call(&self, asker: Asker<'_>, dress: Dress, params: Object) -> Outcome {
        let in_flight = self.session.begin(&dress.id).map_err(|code| {
            let status = match code {
                Code::BadId => StatusCode::BAD_REQUEST,
                _ => StatusCode::TOO_MANY_REQUESTS,
            };
            Refused::of(status, &Refusal::of(code)).to(&dress.id)
        })?;
        if dress.method == "logging/setLevel" {
            return Ok(self.set_level(asker, dress, params).await);
        }
        let traceparent = self.client.traceparent(&params);
        let (upstream, params) = match asker.route(&dress.method, params).await {
            Ok(routed) => routed,
            Err(refusal) => return Ok(dress.refusal(&refusal, None).into_response()),
        };
        let ask = self.ask(asker.caller, upstream.clone(), &dress, params, traceparent);
        let running = ask.start(self.client.face);
        let conversation = Conversation { running, upstream, dress, in_flight };
        Ok(match self.streams {
            true => conversation.stream(None),
            false => conversation.answer().await,
        })
    }

    fn ask(
        &self,
        caller: &Arc<Caller>,
        upstream: UpstreamName,
        dress: &Dress,
        params: Object,
        traceparent: Option<String>,
    ) -> Ask {
        Ask {
            identity: Arc::clone(self.client.identity),
            session: self.client.session(Some(&self.session.id)),
            caller: Arc::clone(caller),
            presented: self.client.presented(),
            upstream,
            method: dress.method.clone(),
            params,
            traceparent,
            key: self.client.key(),
            resumes: None,
            telling: people::telling(caller, self.session.version),
        }
    }

    /// Of every upstream that writes log messages. Where none does, there is nothing to set.
    async fn set_level(&self, asker: Asker<'_>, dress: Dress, params: Object) -> Response<Body> {
        let level = params.get("level").and_then(Json::as_str).map(str::to_owned);
        let mut caller = Caller::clone(asker.caller);
        caller.log_level = level;
        let caller = Arc::new(caller);
        self.session.caller.store(Arc::clone(&caller));
        if let Err(refusal) = kept::keep(&self.client, &self.session).await {
            return dress.refusal(&refusal, None).into_response();
        }
        let upstreams: Vec<UpstreamName> = match asker.scope {
            Scope::One(upstream) => vec![upstream.clone()],
            Scope::All => {
                let catalogues = asker.catalogues().await.into_iter();
                let logs = catalogues.filter_map(|(upstream, found)| {
                    found.ok()?.capabilities.contains("logging").then_some(upstream)
                });
                logs.collect()
            }
        };
        let calls = upstreams.into_iter().map(|upstream| {
            let ask = self.ask(&caller, upstream, &dress, params.clone(), None);
            let mut running = ask.start(self.client.face);
            let dress = &dress;
            async move { finish(&mut running, dress).await }
        });
        let (set, refused): (Vec<_>, Vec<_>) =
            join_all(calls).await.into_iter().partition(|(is_result, _)| *is_result);
        match refused.into_iter().next() {
            Some((_, refused)) if set.is_empty() => refused.into_response(),
            _ => dress.result(Object::new().into()).into_response(),
        }
    }
}

/// Puts what the upstreams say outside of calls on the standing stream, for as long as the session
/// lives.
fn listen(client: &Client<'_>, session: &Arc<Session>, stream: &Arc<Stream>) {
    for upstream in client.scope.upstreams(client.world) {
        let (session, stream) = (Arc::clone(session), Arc::clone(stream));
        let kernel = client.face.kernel.clone();
        let own = client.session(Some(&session.id));
        tokio::spawn(async move {
            let caller = session.caller.load_full();
            let id = RequestId::Integer(0);
            let dress = Dress { id, era: Era::Sessions, method: String::new() };
            let pump = async {
                let mut said = kernel.listen(&session.identity, own, &caller, &upstream).await;
                while let Some(message) = said.recv().await {
                    say(&session, &upstream, &dress, &stream, message).await;
                }
            };
            tokio::select! {
                () = pump => {}
                () = session.closed.cancelled() => {}
            }
        });
    }
}

async fn notified(client: &Client<'_>, session: &Arc<Session>, notification: Notification) {
    let Notification { method, params, .. } = notification;
    let upstreams = match method.as_str() {
        "notifications/cancelled" => {
            if let Some(id) = params.get("requestId").and_then(RequestId::from_json) {
                session.cancel(&id);
            }
            return;
        }
        "notifications/progress" => {
            let token = params.get("progressToken");
            token.and_then(|token| session.asker(token)).into_iter().collect()
        }
        "notifications/roots/list_changed" => client.scope.upstreams(client.world),
        // `initialized` is between client and gate; the gate says its own to upstreams.
        _ => return,
    };
    let caller = session.caller.load_full();
    let kernel = &client.face.kernel;
    let deliveries =
        upstreams.iter().map(|upstream| kernel.notify(&caller, upstream, &method, params.clone()));
    // Notifications are not answered: one that cannot be delivered soon is given up.
    let _ = tokio::time::timeout(NOTIFY_WITHIN, join_all(deliveries)).await;
}

impl McpFace {
    /// Ends what has made room for a session.
    pub(crate) async fn make(&self, room: Room) {
        for session in room.idle {
            self.end_session(&session).await;
        }
        if let Some(session) = room.turned_out {
            // No node takes it up again: else a client could have any number of them.
            self.kernel.end_client_session(&session.id).await;
            self.end_session(&session).await;
        }
    }

    /// Ends a session here and at the upstreams.
    pub(crate) async fn end_session(&self, session: &Arc<Session>) {
        self.sessions.close(session);
        let (kernel, caller) = (self.kernel.clone(), session.caller.load_full());
        tokio::spawn(async move { kernel.close_session(&caller).await });
        // In a fleet it may be in use elsewhere, and ends by its time.
        if !self.kernel.store().is_shared() {
            self.kernel.end_client_session(&session.id).await;
        }
    }
}
