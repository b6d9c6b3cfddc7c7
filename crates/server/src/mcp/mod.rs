//! The MCP face: Streamable HTTP at `/mcp` (every upstream) and `/mcp/<upstream>` (one), both eras
//! on each address.
//!
//! It parses, checks the rules of the wire, keeps sessions and streams, and hands calls to the
//! kernel. Who asks was established before; how connections are accepted, and which Host and Origin
//! may speak, is not known here. Neither is any policy.

mod answer;
mod ask;
mod conversation;
mod kept;
mod lists;
mod people;
mod route;
mod session;
mod sessions_era;
mod stateless_era;
mod stream;
mod subscribe;
mod suspend;

use crate::http::{self, Body, BodyError};
use crate::joining;
use crate::mcp::answer::Refused;
use crate::mcp::people::WaitingRoom;
use crate::mcp::route::{Asker, Scope};
use crate::mcp::session::Sessions;
pub(crate) use crate::mcp::stream::KEEP_ALIVE;
use crate::mcp::suspend::Suspended;
use crate::shed::{self, TakenOn};
use ::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use ::http::request::Parts;
use ::http::{HeaderMap, Method, Request, Response, StatusCode};
use bytes::Bytes;
use lockgate_core::World;
use lockgate_core::declare::Credentials;
use lockgate_effects::{Caller, Presented};
use lockgate_kernel::{Kernel, Refusal};
use lockgate_store::TurnedAway;
use lockgate_types::identity::Identity;
use lockgate_types::{Code, Json, JsonLimits, Object, Redacted, SessionId};
use lockgate_wire::era::{detect, meta};
use lockgate_wire::headers::Headers;
use lockgate_wire::{Era, Message};
use std::cmp::Reverse;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// The header that carries a caller's idempotency key (draft-ietf-httpapi-idempotency-key-header).
const KEY_HEADER: &str = "idempotency-key";

/// How often sessions and suspended calls are looked through for those whose time is over.
const SWEEP_EVERY: Duration = Duration::from_secs(30);

/// The MCP face of one gate.
pub struct McpFace {
    kernel: Kernel,
    sessions: Sessions,
    suspended: Suspended,
    waiting: Arc<WaitingRoom>,
    listener: String,
}

impl McpFace {
    /// The face of a listener, before this kernel. Needs a runtime: it looks after itself in the
    /// background until it is dropped.
    pub fn new(kernel: Kernel, listener: &str) -> Result<Arc<Self>, Code> {
        let (sessions, suspended) = (Sessions::default(), Suspended::new()?);
        let (waiting, listener) = (Arc::default(), listener.to_owned());
        let face = Arc::new(Self { kernel, sessions, suspended, waiting, listener });
        tokio::spawn(sweep(Arc::downgrade(&face)));
        Ok(face)
    }

    /// Records a request that was refused before there was a call.
    async fn record(&self, identity: &Identity, code: Code) {
        let turned = TurnedAway {
            code,
            at: self.kernel.clock().now(),
            who: Some((identity.issuer.clone(), identity.subject.as_str().to_owned())),
            listener: self.listener.clone(),
        };
        self.kernel.turned_away(turned).await;
    }

    /// How many sessions are open.
    pub fn sessions_open(&self) -> usize {
        self.sessions.count()
    }
}

async fn sweep(face: Weak<McpFace>) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        let Some(face) = face.upgrade() else { return };
        face.suspended.sweep(face.kernel.clock().now());
        let Some(world) = face.kernel.world() else { continue };
        let idle = Duration::from_millis(world.gate.limits.session_idle_ms.into());
        for session in face.sessions.sweep(idle) {
            face.end_session(&session).await;
        }
    }
}

/// Answers one request of an established identity.
pub async fn handle<B>(
    face: &Arc<McpFace>,
    identity: Arc<Identity>,
    request: Request<B>,
) -> Response<Body>
where
    B: http_body::Body<Data = Bytes>,
{
    let outcome = answer(face, &identity, request).await;
    match outcome {
        Ok(response) => response,
        Err(refused) => {
            // To write down what there is no time for would take more of it.
            if refused.code != Code::GateBusy {
                face.record(&identity, refused.code).await;
            }
            refused.into_response()
        }
    }
}

async fn answer<B>(
    face: &Arc<McpFace>,
    identity: &Arc<Identity>,
    request: Request<B>,
) -> Result<Response<Body>, Box<Refused>>
where
    B: http_body::Body<Data = Bytes>,
{
    let world = face.kernel.world().ok_or_else(|| {
        Refused::of(StatusCode::SERVICE_UNAVAILABLE, &Refusal::of(Code::NoBundle))
    })?;
    let (head, body) = request.into_parts();
    let scope = Scope::of(head.uri.path(), &world).ok_or_else(|| {
        let reason = "there is no upstream at this address";
        Refused::new(StatusCode::NOT_FOUND, Code::UnknownName, reason)
    })?;
    let client = Client {
        face,
        world: &world,
        identity,
        scope: &scope,
        traceparent: head.headers.get("traceparent").and_then(|value| value.to_str().ok()),
        // Two are none that could be told apart: refused where it matters.
        key: http::single(&head.headers, KEY_HEADER).unwrap_or(Some("")),
        presented: &presented(&world, &head.headers),
        joined: None,
    };
    if head.method == Method::POST {
        return post(client, &head, body).await;
    }
    // Only sessions have streams to get and an end to announce.
    let allow = match detect(&wire_headers(&head.headers), None) {
        Era::Sessions => "GET, POST, DELETE",
        Era::Stateless => return Err(Refused::method("POST")),
    };
    let joined = joined(&client, &head.headers, None).await?;
    let client = Client { joined: joined.as_ref(), ..client };
    match head.method {
        Method::GET => {
            if !accepts(&head.headers, "text", "event-stream") {
                return Err(not_acceptable("`Accept` must allow `text/event-stream`"));
            }
            sessions_era::get(&client, &head.headers).await
        }
        Method::DELETE => sessions_era::delete(&client, &head.headers).await,
        _ => Err(Refused::method(allow)),
    }
}

/// The session whose token a request shows.
async fn joined(
    client: &Client<'_>,
    headers: &HeaderMap,
    shown: Option<Json>,
) -> Result<Option<SessionId>, Box<Refused>> {
    let joined = joining::join(&client.face.kernel, client.identity, headers, shown).await;
    joined.map_err(|refusal| {
        if refusal.code != Code::SessionTokenNotYours {
            return Refused::of(joining::status_of(refusal.code), &refusal);
        }
        // To the client it looks like none; the record tells them apart.
        let looks = Refusal::of(Code::SessionTokenRefused);
        let mut refused = Refused::of(joining::status_of(looks.code), &looks);
        refused.code = refusal.code;
        refused
    })
}

/// The token of a request, which was verified before it came here. Nobody keeps it longer than the
/// request, and where no token is exchanged, nobody has it.
pub(crate) fn presented(world: &World, headers: &HeaderMap) -> Presented {
    let mut credentials = world.gate.upstream.values().filter_map(|it| it.credential.as_ref());
    if !credentials.any(Credentials::exchanges) {
        return Presented::Nothing;
    }
    let authorization = http::single(headers, AUTHORIZATION.as_str()).ok().flatten();
    let token = authorization.and_then(|value| value.split_once(' '));
    token.map_or(Presented::Nothing, |(_, token)| {
        Presented::Token(Arc::new(Redacted::new(token.trim().to_owned())))
    })
}

async fn post<B>(client: Client<'_>, head: &Parts, body: B) -> Result<Response<Body>, Box<Refused>>
where
    B: http_body::Body<Data = Bytes>,
{
    let headers = &head.headers;
    let may_answer = is_usual_accept(headers)
        || (accepts(headers, "application", "json") && accepts(headers, "text", "event-stream"));
    if !may_answer {
        let reason = "`Accept` must allow `application/json` and `text/event-stream`";
        return Err(not_acceptable(reason));
    }
    if !is_json(headers) {
        let reason = "`Content-Type` must be `application/json`";
        return Err(Refused::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::BadHttp, reason));
    }
    let limits = &client.world.gate.limits;
    let bytes_max = usize::try_from(limits.body_bytes_max).unwrap_or(usize::MAX);
    let within = Duration::from_millis(limits.request_read_ms.into());
    let bytes = http::collect(body, bytes_max, within).await.map_err(unread)?;
    let limits = JsonLimits { bytes_max, ..JsonLimits::MESSAGE };
    let given = wire_headers(headers);
    let mut message = Message::parse(&bytes, &limits)
        .map_err(|error| Refused::wire(&error, detect(&given, None)))?;
    let _taken_on = take_on(&client, &message).await?;
    let shown = joining::take_token(&mut message);
    let joined = joined(&client, headers, shown).await.map_err(|refused| match &message {
        Message::Request(request) => refused.to(&request.id),
        Message::Notification(_) | Message::Response(_) => refused,
    })?;
    let client = Client { joined: joined.as_ref(), ..client };
    match detect(&given, Some(&message)) {
        Era::Sessions => sessions_era::post(client, headers, message).await,
        Era::Stateless => stateless_era::post(client, headers, message).await,
    }
}

/// A place for a call, if there is time for one. What is said beside calls, such as answers and
/// cancellations, helps them to end.
async fn take_on(client: &Client<'_>, message: &Message) -> Result<Option<TakenOn>, Box<Refused>> {
    let Message::Request(request) = message else { return Ok(None) };
    let lag_max = Duration::from_millis(client.world.gate.limits.lag_ms_max.into());
    let record = client.face.kernel.store().lag();
    let taken_on = TakenOn::take(lag_max, record);
    if taken_on.is_none() {
        shed::hold().await;
        let refusal = Refusal::of(Code::GateBusy);
        return Err(Refused::of(StatusCode::SERVICE_UNAVAILABLE, &refusal).to(&request.id));
    }
    Ok(taken_on)
}

/// Who asks, where.
#[derive(Clone, Copy)]
pub(crate) struct Client<'a> {
    pub(crate) face: &'a Arc<McpFace>,
    pub(crate) world: &'a World,
    pub(crate) identity: &'a Arc<Identity>,
    pub(crate) scope: &'a Scope,
    traceparent: Option<&'a str>,
    /// The idempotency key in the request's header; what cannot be one is empty.
    key: Option<&'a str>,
    /// What it has shown for itself, if an upstream's credential could be made of it.
    presented: &'a Presented,
    /// The session whose token it shows.
    joined: Option<&'a SessionId>,
}

impl<'a> Client<'a> {
    /// The session that its calls belong to: the one it has joined, else the face's own.
    pub(crate) fn session(&self, own: Option<&SessionId>) -> Option<SessionId> {
        self.joined.or(own).cloned()
    }

    /// With what its client can do.
    pub(crate) fn asker(&self, caller: &'a Arc<Caller>) -> Asker<'a> {
        let Self { face, world, identity, scope, .. } = *self;
        Asker { face, world, identity, caller, scope }
    }

    /// Whether the bundle lets a method that no protocol version knows pass to this one upstream.
    pub(crate) fn is_forwarded(&self, method: &str) -> bool {
        let Scope::One(upstream) = self.scope else { return false };
        let upstream = self.world.gate.upstream.get(upstream.as_str());
        upstream.is_some_and(|upstream| upstream.forward_methods.iter().any(|m| m == method))
    }

    /// What it has shown for itself.
    pub(crate) fn presented(&self) -> Presented {
        self.presented.clone()
    }

    /// The idempotency key that came in a header.
    pub(crate) fn key(&self) -> Option<String> {
        self.key.map(str::to_owned)
    }

    /// The trace that a request belongs to: as its body says, else its header.
    pub(crate) fn traceparent(&self, params: &Object) -> Option<String> {
        let given = params.get("_meta").and_then(|given| given.get(meta::TRACEPARENT));
        given.and_then(Json::as_str).or(self.traceparent).map(str::to_owned)
    }
}

/// An id that cannot be guessed: 192 random bits in hexadecimal digits.
pub(crate) fn random_id() -> Result<SessionId, Code> {
    let mut random = [0_u8; 24];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| Code::InvariantBroken)?;
    let text: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    SessionId::new(&text).map_err(|_| Code::InvariantBroken)
}

/// Headers as the wire reads them.
pub(crate) fn wire_headers(headers: &HeaderMap) -> Headers<'_> {
    headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect()
}

fn not_acceptable(reason: &str) -> Box<Refused> {
    Refused::new(StatusCode::NOT_ACCEPTABLE, Code::BadHttp, reason)
}

fn unread(error: BodyError) -> Box<Refused> {
    let (status, code) = match error {
        BodyError::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, Code::TooLarge),
        BodyError::TooSlow { .. } => (StatusCode::REQUEST_TIMEOUT, Code::BadHttp),
        BodyError::Broken => (StatusCode::BAD_REQUEST, Code::BadHttp),
    };
    Refused::new(status, code, &error.to_string())
}

fn is_json(headers: &HeaderMap) -> bool {
    let Ok(Some(given)) = http::single(headers, CONTENT_TYPE.as_str()) else { return false };
    let essence = given.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

/// What nearly every client sends, word for word: there is nothing to weigh.
fn is_usual_accept(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(ACCEPT).iter();
    let usual = "application/json, text/event-stream";
    values.next().is_some_and(|value| value == usual) && values.next().is_none()
}

/// Whether `Accept` allows a media type. Absent, it allows everything (RFC 9110 §12.5.1).
fn accepts(headers: &HeaderMap, kind: &str, subtype: &str) -> bool {
    !headers.contains_key(ACCEPT) || weight(headers, kind, subtype).is_some()
}

/// Whether a client would rather have a stream: it names event streams outright, and before JSON or
/// with more weight.
pub(crate) fn prefers_events(headers: &HeaderMap) -> bool {
    let events = weight(headers, "text", "event-stream");
    events.is_some_and(|events| weight(headers, "application", "json").is_none_or(|j| events > j))
}

/// How much a media type is wanted: by its weight in thousandths, and among equals by its place.
/// `None`: not at all.
fn weight(headers: &HeaderMap, kind: &str, subtype: &str) -> Option<(u32, Reverse<usize>)> {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let ranges = values.flat_map(|value| value.split(',')).enumerate();
    let wanted = ranges.filter_map(|(at, range)| Some((fit(range, kind, subtype)?, Reverse(at))));
    wanted.max()
}

fn fit(range: &str, kind: &str, subtype: &str) -> Option<u32> {
    let mut parts = range.split(';').map(str::trim);
    let (given_kind, given_subtype) = parts.next()?.split_once('/')?;
    let fits = |given: &str, wanted: &str| given == "*" || given.eq_ignore_ascii_case(wanted);
    if !fits(given_kind, kind) || !fits(given_subtype, subtype) {
        return None;
    }
    let quality = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
    let weight = quality.map_or(Some(1000), thousandths)?;
    (weight > 0).then_some(weight)
}

/// A weight (RFC 9110 §12.4.2): `0.5` is 500. Anything else is no weight.
fn thousandths(quality: &str) -> Option<u32> {
    let (whole, fraction) = quality.split_once('.').unwrap_or((quality, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() != 1 || fraction.len() > 3 || !is_digits(whole) || !is_digits(fraction) {
        return None;
    }
    format!("{whole}{fraction:0<3}").parse().ok().filter(|weight| *weight <= 1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::http::HeaderValue;

    #[test]
    fn accept_is_read_as_clients_send_it() {
        let accepts_events = |accept: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in accept {
                headers.append(ACCEPT, HeaderValue::from_static(value));
            }
            accepts(&headers, "text", "event-stream")
        };
        assert!(accepts_events(&[]));
        assert!(accepts_events(&["*/*"]));
        assert!(accepts_events(&["application/json, text/event-stream"]));
        assert!(accepts_events(&["application/json", "text/event-stream"]));
        assert!(accepts_events(&["application/json;q=0.5, Text/*;q=0.1"]));
        assert!(!accepts_events(&["application/json"]));
        assert!(!accepts_events(&["text/event-stream;q=0"]));
        assert!(!accepts_events(&["text/event-stream;q=0.000, application/json"]));
        assert!(!accepts_events(&[""]));
    }

    #[test]
    fn a_preference_is_what_is_weighed_more_or_named_first() {
        let prefers = |accept: &'static str| {
            let mut headers = HeaderMap::new();
            headers.append(ACCEPT, HeaderValue::from_static(accept));
            prefers_events(&headers)
        };
        assert!(prefers("text/event-stream, application/json"));
        assert!(prefers("application/json;q=0.5, text/event-stream;q=0.51"));
        assert!(!prefers("application/json, text/event-stream"));
        assert!(!prefers("text/event-stream;q=0.9, application/json"));
        assert!(!prefers("*/*"));
        assert!(!prefers("text/event-stream;q=2, application/json"));
    }

    #[test]
    fn ids_are_long_and_never_the_same() {
        let (one, two) = (random_id().unwrap(), random_id().unwrap());
        assert_eq!(one.as_str().len(), 48);
        assert_ne!(one, two);
    }
}
