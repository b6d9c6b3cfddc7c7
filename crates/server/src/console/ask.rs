//! The console as a client of the admin API, in the name of who is signed in.

use crate::http::collect;
use crate::route::Gate;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::Full;
use lockgate_types::identity::Identity;
use lockgate_types::{Code, Json, JsonLimits, Object};
use std::sync::Arc;
use std::time::Duration;

/// Bytes of an answer that a page is made of.
const ANSWER_BYTES_MAX: usize = 32 << 20;

/// How long it may take to be read: it is in memory.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);

/// Why the admin API did not do it, in its own words.
pub(super) struct NotDone {
    pub(super) status: StatusCode,
    pub(super) code: String,
    pub(super) reason: String,
    pub(super) remedy: String,
}

impl NotDone {
    fn of(code: Code) -> Self {
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            code: code.as_str().to_owned(),
            reason: code.title().to_owned(),
            remedy: code.remedy().to_owned(),
        }
    }
}

/// Reads something.
pub(super) async fn get(
    gate: &Gate,
    identity: &Arc<Identity>,
    path: &str,
) -> Result<Json, NotDone> {
    send(gate, identity, Method::GET, path, Vec::new()).await
}

/// Has something done.
pub(super) async fn post(
    gate: &Gate,
    identity: &Arc<Identity>,
    path: &str,
    body: Object,
) -> Result<Json, NotDone> {
    send(gate, identity, Method::POST, path, Json::from(body).to_bytes()).await
}

async fn send(
    gate: &Gate,
    identity: &Arc<Identity>,
    method: Method,
    path: &str,
    body: Vec<u8>,
) -> Result<Json, NotDone> {
    let broken = || NotDone::of(Code::InvariantBroken);
    let mut request = Request::new(Full::new(Bytes::from(body)));
    *request.method_mut() = method;
    *request.uri_mut() = path.parse().map_err(|_| broken())?;
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let (parts, body) = gate.admin.handle(Arc::clone(identity), request).await.into_parts();
    let body = collect(body, ANSWER_BYTES_MAX, ANSWER_WITHIN).await;
    let body = body.map_err(|_| NotDone::of(Code::TooLarge))?;
    let answer = Json::parse(&body, &JsonLimits::OWN).map_err(|_| broken())?;
    if parts.status.is_success() {
        return Ok(answer);
    }
    let text = |name| {
        let text = answer.at(&["error", name]).and_then(Json::as_str);
        text.unwrap_or_default().to_owned()
    };
    let (code, reason, remedy) = (text("code"), text("reason"), text("remedy"));
    Err(NotDone { status: parts.status, code, reason, remedy })
}
