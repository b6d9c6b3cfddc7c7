//! The face for models: the APIs of OpenAI and of Anthropic, as their SDKs ask them.
//!
//! An application changes its base address, and its key for a token of the gate's. What a body says
//! is for `wire::model`, which model answers and what may pass for the kernel; here a request
//! becomes a call, and a reply an answer of its API: whole, in events, or an error that the SDK
//! makes an exception of.

mod answer;

use crate::http::{self, Body, BodyError};
use crate::joining;
use crate::mcp::presented;
use crate::route::{Gate, ListenerContext, identify, note_turned_away};
use crate::running::Running;
use crate::shed::{self, TakenOn};
use ::http::header::{AUTHORIZATION, CONTENT_ENCODING, HeaderValue, WWW_AUTHENTICATE};
use ::http::request::Parts;
use ::http::{HeaderMap, Request, Response, StatusCode};
use answer::refuse;
use bytes::Bytes;
use hyper::body::Incoming;
use lockgate_core::World;
use lockgate_kernel::{ModelRequest, Refusal};
use lockgate_types::identity::Identity;
use lockgate_types::model::ModelApi;
use lockgate_types::{Code, Json, JsonLimits, Object};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

/// The header in which clients of Anthropic's API show what others show as a bearer token.
const KEY_HEADER: &str = "x-api-key";
/// Headers of a request that its provider sees: clients ask for parts of an API in them. Those that
/// begin with [`FORWARDED_PREFIX`] are, too.
const FORWARDED: [&str; 4] = ["openai-beta", "openai-organization", "openai-project", "user-agent"];
const FORWARDED_PREFIX: &str = "anthropic-";
/// Bytes of all headers that are passed on.
const FORWARDED_BYTES_MAX: usize = 16 << 10;

/// The API that is asked at an address.
pub(crate) fn api_at(path: &str) -> Option<ModelApi> {
    path.starts_with("/v1/").then(|| ModelApi::from_path(path.strip_suffix('/').unwrap_or(path)))?
}

/// Answers one request.
pub(crate) async fn handle(
    gate: &Arc<Gate>,
    listener: &ListenerContext,
    api: ModelApi,
    request: Request<Incoming>,
) -> Response<Body> {
    let shown = shown(request.headers()).map(|shown| {
        // SDKs do not start without a key. Where everybody is one identity, a key that says
        // nothing is none; a token, which says who somebody is, is refused there as ever.
        shown.filter(|shown| !listener.is_fixed() || is_token(shown))
    });
    let identified = match &shown {
        Ok(shown) => identify(gate, listener, shown.as_deref()).await,
        Err(code) => Err(Refusal::of(*code)),
    };
    let identity = match identified {
        Ok(identity) => identity,
        Err(refusal) => {
            note_turned_away(gate, listener, refusal.code).await;
            let mut response = refuse(api, &refusal);
            if response.status() == StatusCode::UNAUTHORIZED {
                let bearer = HeaderValue::from_static("Bearer");
                response.headers_mut().insert(WWW_AUTHENTICATE, bearer);
            }
            return response;
        }
    };
    match answer(gate, &identity, api, request).await {
        Ok(response) => response,
        Err(refused) => {
            let Refused { refusal, status } = *refused;
            // To write down what there is no time for would take more of it.
            let refusal = match refusal.code {
                Code::GateBusy => refusal,
                _ => gate.kernel.note_undecided(&identity, refusal).await,
            };
            let mut response = refuse(api, &refusal);
            *response.status_mut() = status.unwrap_or(response.status());
            response
        }
    }
}

/// What a request shows for itself, as a header of authorization.
fn shown(headers: &HeaderMap) -> Result<Option<Cow<'_, str>>, Code> {
    let single = |name| http::single(headers, name).map_err(|_| Code::TokenMalformed);
    if let Some(shown) = single(AUTHORIZATION.as_str())? {
        return Ok(Some(shown.into()));
    }
    Ok(single(KEY_HEADER)?.map(|key| format!("Bearer {key}").into()))
}

/// Whether a header of authorization shows something that says who somebody is: a JWT (RFC 7519).
fn is_token(shown: &str) -> bool {
    shown.bytes().filter(|byte| *byte == b'.').count() == 2
}

/// A request that comes to no call.
struct Refused {
    refusal: Refusal,
    /// The status, where it is another than its code has.
    status: Option<StatusCode>,
}

impl Refused {
    fn because(code: Code, reason: impl Into<String>, status: StatusCode) -> Box<Self> {
        let refusal = Refusal { reason: reason.into(), ..Refusal::of(code) };
        Box::new(Self { refusal, status: Some(status) })
    }
}

impl From<Refusal> for Box<Refused> {
    fn from(refusal: Refusal) -> Self {
        Self::new(Refused { refusal, status: None })
    }
}

async fn answer(
    gate: &Arc<Gate>,
    identity: &Arc<Identity>,
    api: ModelApi,
    request: Request<Incoming>,
) -> Result<Response<Body>, Box<Refused>> {
    let world = gate.kernel.world().ok_or_else(|| Refusal::of(Code::NoBundle))?;
    let (head, body) = request.into_parts();
    if head.method.as_str() != api.http_method() {
        let reason = format!("this is asked with {}", api.http_method());
        return Err(Refused::because(Code::BadHttp, reason, StatusCode::METHOD_NOT_ALLOWED));
    }
    if api == ModelApi::Models {
        let models = gate.kernel.models(identity)?;
        return Ok(http::json(StatusCode::OK, answer::list(&models).to_bytes()));
    }
    let lag_max = Duration::from_millis(world.gate.limits.lag_ms_max.into());
    let Some(taken_on) = TakenOn::take(lag_max, gate.kernel.store().lag()) else {
        shed::hold().await;
        return Err(Refusal::of(Code::GateBusy).into());
    };
    let session = joining::join(&gate.kernel, identity, &head.headers, None).await?;
    let body = read(&world, &head, body).await?;
    let asked = ModelRequest {
        identity: Arc::clone(identity),
        session,
        presented: presented(&world, &head.headers),
        api,
        body,
        headers: forwarded(&head.headers)?,
        traceparent: header(&head.headers, "traceparent"),
        run: None,
    };
    let kernel = gate.kernel.clone();
    let running = Running::start(|client| async move { kernel.ask_model(asked, client).await });
    let response = answer::of(running, api).await;
    drop(taken_on);
    Ok(response)
}

/// The body of a request: an object, within bounds.
async fn read(world: &World, head: &Parts, body: Incoming) -> Result<Object, Box<Refused>> {
    let mut encodings = head.headers.get_all(CONTENT_ENCODING).iter();
    if !encodings.all(|it| it.as_bytes().eq_ignore_ascii_case(b"identity")) {
        let reason = "request_body_encoding_unsupported: a body is sent as it is";
        return Err(Refused::because(Code::BadHttp, reason, StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }
    let limits = &world.gate.limits;
    let bytes_max = usize::try_from(limits.body_bytes_max).unwrap_or(usize::MAX);
    let within = Duration::from_millis(limits.request_read_ms.into());
    let bytes: Bytes = http::collect(body, bytes_max, within).await.map_err(|error| {
        let (status, code) = match error {
            BodyError::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, Code::TooLarge),
            BodyError::TooSlow { .. } => (StatusCode::REQUEST_TIMEOUT, Code::BadHttp),
            BodyError::Broken => (StatusCode::BAD_REQUEST, Code::BadHttp),
        };
        Refused::because(code, error.to_string(), status)
    })?;
    let malformed =
        |reason: String| Refused::because(Code::BadModelRequest, reason, StatusCode::BAD_REQUEST);
    let limits = JsonLimits { bytes_max, ..JsonLimits::MESSAGE };
    match Json::parse(&bytes, &limits) {
        Ok(Json::Object(body)) => Ok(body),
        Ok(_) => Err(malformed("the body must be an object".to_owned())),
        Err(error) => Err(malformed(error.to_string())),
    }
}

/// The headers that its provider is to see, by name.
fn forwarded(headers: &HeaderMap) -> Result<Vec<(String, String)>, Box<Refused>> {
    let mut forwarded: Vec<(String, String)> = Vec::new();
    let mut bytes = 0;
    for (name, value) in headers {
        let name = name.as_str();
        if !FORWARDED.contains(&name) && !name.starts_with(FORWARDED_PREFIX) {
            continue;
        }
        let Ok(value) = value.to_str() else { continue };
        bytes += name.len() + value.len();
        match forwarded.iter_mut().find(|(known, _)| known == name) {
            // One list, in two lines (RFC 9110 §5.3).
            Some((_, known)) => known.push_str(&format!(", {value}")),
            None => forwarded.push((name.to_owned(), value.to_owned())),
        }
    }
    if bytes > FORWARDED_BYTES_MAX {
        let reason =
            format!("headers for the provider are longer than {FORWARDED_BYTES_MAX} bytes");
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        return Err(Refused::because(Code::TooLarge, reason, status));
    }
    forwarded.sort_unstable();
    Ok(forwarded)
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::http::HeaderName;

    fn headers(all: &[(&'static str, &'static str)]) -> HeaderMap {
        let named = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        all.iter().map(named).collect()
    }

    #[test]
    fn a_key_is_a_token_in_another_header() {
        let shown = |all: &[(&'static str, &'static str)]| {
            shown(&headers(all)).map(|shown| shown.map(Cow::into_owned))
        };
        assert_eq!(shown(&[]), Ok(None));
        assert_eq!(shown(&[("x-api-key", "k")]), Ok(Some("Bearer k".to_owned())));
        assert_eq!(
            shown(&[("x-api-key", "k"), ("authorization", "Bearer t")]),
            Ok(Some("Bearer t".to_owned()))
        );
        assert_eq!(shown(&[("x-api-key", "k"), ("x-api-key", "l")]), Err(Code::TokenMalformed));
    }

    #[test]
    fn what_belongs_to_an_api_is_passed_on_and_nothing_that_shows_who_asks() {
        let given = [
            ("authorization", "Bearer t"),
            ("anthropic-beta", "a"),
            ("anthropic-beta", "b"),
            ("anthropic-version", "2026-10-21"),
            ("x-api-key", "k"),
            ("cookie", "c"),
            ("openai-project", "p"),
        ];
        let Ok(forwarded) = forwarded(&headers(&given)) else { panic!("refused") };
        let names: Vec<_> = forwarded.iter().map(|(n, v)| format!("{n}: {v}")).collect();
        let expected =
            ["anthropic-beta: a, b", "anthropic-version: 2026-10-21", "openai-project: p"];
        assert_eq!(names, expected);
    }

    #[test]
    fn addresses_are_those_of_the_apis() {
        for (path, api) in [
            ("/v1/chat/completions", Some(ModelApi::ChatCompletions)),
            ("/v1/messages/", Some(ModelApi::Messages)),
            ("/v1/messages/count_tokens", Some(ModelApi::CountTokens)),
            ("/v1/models", Some(ModelApi::Models)),
            ("/chat/completions", None),
            ("/v1/records", None),
            ("/v1/", None),
        ] {
            assert_eq!(api_at(path), api, "{path}");
        }
    }
}
