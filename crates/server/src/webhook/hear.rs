//! Hearing: what a channel answers, if it is the channel that says so, once.
//!
//! A signature proves the channel. Whoever the channel says is behind an answer is a claim, which
//! policies see as one. The answer itself is a call to the admin API like everybody's.

use super::sign::Keys;
use crate::admin::Claimed;
use crate::http::{Body, collect, json, single};
use crate::route::{Gate, ListenerContext, note_turned_away};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use lockgate_core::identify::channel_claims;
use lockgate_kernel::Refusal;
use lockgate_store::Heard;
use lockgate_types::identity::Identity;
use lockgate_types::{CallId, Code, Digest, Json, JsonLimits, Object};
use std::sync::Arc;
use std::time::Duration;

/// Bytes of an answer.
const ANSWER_BYTES_MAX: usize = 16 * 1024;
/// How long it may take to arrive.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// Bytes of what the admin API says to it: a state, or a refusal.
const SAID_BYTES_MAX: usize = 64 * 1024;
/// Seconds by which the time of a message may differ from now.
const OFF_BY_MAX_S: i64 = 300;
/// Bytes of a message's id.
const ID_BYTES_MAX: usize = 256;

const LIMITS: JsonLimits =
    JsonLimits { bytes_max: ANSWER_BYTES_MAX, depth_max: 4, members_max: 16 };

/// A message that a channel has signed.
struct Message {
    webhook: String,
    id: String,
    body: Bytes,
}

/// What a channel answers.
struct Answer {
    request: CallId,
    is_given: bool,
    requirement: String,
    reason: String,
    by: String,
}

/// Answers one message to `/webhook/<name>`.
pub(crate) async fn handle(
    gate: &Arc<Gate>,
    listener: &ListenerContext,
    name: &str,
    request: Request<Incoming>,
) -> Response<Body> {
    match heard(gate, name, request).await {
        Ok((status, said)) => json(status, said.into_bytes()),
        Err(refusal) => {
            tracing::info!(code = %refusal.code, webhook = name, "an answer was refused");
            if refusal.code != Code::AdminNotFound {
                note_turned_away(gate, listener, refusal.code).await;
            }
            let error = Object::new().with("error", refusal.to_json());
            json(status_of(refusal.code), Json::from(error).to_bytes())
        }
    }
}

async fn heard(
    gate: &Arc<Gate>,
    name: &str,
    request: Request<Incoming>,
) -> Result<(StatusCode, String), Refusal> {
    let message = authentic(gate, name, request).await?;
    let answer = Answer::read(&message.body)?;
    let identity = gate.kernel.identify(&channel_claims(&message.webhook))?;
    let store = gate.kernel.store();
    let heard = store.hear(&message.webhook, &message.id, Digest::of(&message.body)).await;
    match heard.map_err(|error| Refusal::of(error.code()))? {
        Heard::Other => return Err(Refusal::of(Code::WebhookReplayed)),
        Heard::Again(Some(said)) => {
            if let Some((status, said)) = kept(&said) {
                return Ok((status, said));
            }
        }
        // An answer that was begun and not kept is given again: it counts once, whoever repeats it.
        Heard::Again(None) | Heard::New => {}
    }
    let (status, said) = pass_on(gate, identity, &answer).await?;
    if !status.is_server_error() {
        let kept = format!("{} {said}", status.as_u16());
        if let Err(error) = store.answer_heard(&message.webhook, &message.id, kept).await {
            tracing::warn!(%error, "it was not kept what a webhook was answered");
        }
    }
    Ok((status, said))
}

fn kept(text: &str) -> Option<(StatusCode, String)> {
    let (status, said) = text.split_once(' ')?;
    Some((StatusCode::from_bytes(status.as_bytes()).ok()?, said.to_owned()))
}

/// The message, if the channel has signed it a moment ago.
async fn authentic(
    gate: &Gate,
    name: &str,
    request: Request<Incoming>,
) -> Result<Message, Refusal> {
    let world = gate.kernel.world().ok_or_else(|| Refusal::of(Code::NoBundle))?;
    let webhook = world.gate.webhook(name).filter(|_| request.method() == Method::POST);
    let webhook = webhook.ok_or_else(|| Refusal::of(Code::AdminNotFound))?;
    let (parts, body) = request.into_parts();
    let body = collect(body, ANSWER_BYTES_MAX, ANSWER_WITHIN).await;
    let body = body.map_err(|_| Refusal::of(Code::BadHttp))?;
    let unsigned = || Refusal::of(Code::WebhookSignature);
    let id = header(&parts.headers, "webhook-id").ok_or_else(unsigned)?;
    let timestamp = header(&parts.headers, "webhook-timestamp").and_then(|it| it.parse().ok());
    let timestamp: i64 = timestamp.ok_or_else(unsigned)?;
    let signature = header(&parts.headers, "webhook-signature").ok_or_else(unsigned)?;
    let keys = Keys::of(&gate.channels.of(webhook)).await.map_err(|error| {
        tracing::error!(%error, "a webhook's answer cannot be verified");
        unsigned()
    })?;
    if id.is_empty() || id.len() > ID_BYTES_MAX || !keys.verify(id, timestamp, &body, signature) {
        return Err(unsigned());
    }
    let now = gate.kernel.clock().now().0.div_euclid(1_000_000);
    if now.saturating_sub(timestamp).saturating_abs() > OFF_BY_MAX_S {
        return Err(Refusal::of(Code::WebhookStale));
    }
    Ok(Message { webhook: webhook.name.clone(), id: id.to_owned(), body })
}

fn header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    single(headers, name).ok().flatten()
}

impl Answer {
    /// Reads an answer, strictly.
    fn read(body: &[u8]) -> Result<Self, Refusal> {
        let wrong = |reason: &str| {
            let mut refusal = Refusal::of(Code::AdminBadRequest);
            reason.clone_into(&mut refusal.reason);
            refusal
        };
        let Ok(Json::Object(object)) = Json::parse(body, &LIMITS) else {
            return Err(wrong("the answer is not an object"));
        };
        const MEMBERS: [&str; 5] = ["request", "requirement", "answer", "reason", "by"];
        if object.iter().any(|(name, value)| !MEMBERS.contains(&name) || value.as_str().is_none()) {
            return Err(wrong(
                "the answer has another member than `request`, `requirement`, \
                              `answer`, `reason` and `by`, or one that is not a text",
            ));
        }
        let text =
            |name: &str| object.get(name).and_then(Json::as_str).unwrap_or_default().to_owned();
        let request = CallId::new(&text("request"));
        let request = request.map_err(|_| wrong("`request` is not the id of a call"))?;
        let is_given = match text("answer").as_str() {
            "give" => true,
            "deny" => false,
            _ => return Err(wrong("`answer` is `give` or `deny`")),
        };
        let (requirement, reason, by) = (text("requirement"), text("reason"), text("by"));
        Ok(Self { request, is_given, requirement, reason, by })
    }
}

/// Answers the request in the channel's name.
async fn pass_on(
    gate: &Gate,
    identity: Arc<Identity>,
    answer: &Answer,
) -> Result<(StatusCode, String), Refusal> {
    let broken = |_| Refusal::of(Code::InvariantBroken);
    let mut body = Object::new().with("reason", answer.reason.as_str());
    if answer.is_given {
        body.set("requirement", answer.requirement.as_str());
    }
    let what = if answer.is_given { "give" } else { "deny" };
    let mut request = Request::new(Full::new(Bytes::from(Json::from(body).to_bytes())));
    *request.method_mut() = Method::POST;
    *request.uri_mut() =
        format!("/v1/approvals/{}/{what}", answer.request).parse().map_err(|_| broken(()))?;
    let kind = HeaderValue::from_static("application/json");
    request.headers_mut().insert("content-type", kind);
    if !answer.by.is_empty() {
        request.extensions_mut().insert(Claimed::of(&answer.by)?);
    }
    let (parts, body) = gate.admin.handle(identity, request).await.into_parts();
    let said = collect(body, SAID_BYTES_MAX, ANSWER_WITHIN).await.map_err(|_| broken(()))?;
    Ok((parts.status, String::from_utf8_lossy(&said).into_owned()))
}

fn status_of(code: Code) -> StatusCode {
    match code {
        Code::AdminNotFound => StatusCode::NOT_FOUND,
        Code::AdminBadRequest | Code::BadHttp => StatusCode::BAD_REQUEST,
        Code::WebhookSignature | Code::WebhookStale => StatusCode::UNAUTHORIZED,
        Code::WebhookReplayed => StatusCode::CONFLICT,
        Code::NoBundle | Code::Overloaded | Code::StoreUnavailable | Code::LeaseExpired => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        _ => StatusCode::FORBIDDEN,
    }
}
