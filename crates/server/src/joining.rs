//! How a request to any face shows the token of a session: in the header `Lockgate-Session`, or in
//! `_meta` where the face's protocol has it.
//!
//! A face calls `join` with what it was shown, and puts the answer into its proposals. A token
//! that does not open a session to exactly this identity is refused: it is never as if it had not
//! been shown.

use crate::http;
use ::http::{HeaderMap, StatusCode};
use lockgate_kernel::{Kernel, Refusal};
use lockgate_types::call::SESSION_META;
use lockgate_types::identity::Identity;
use lockgate_types::{Blame, Code, Json, SessionId};
use lockgate_wire::Message;
use std::sync::Arc;

/// The header that shows the token of a session.
pub const SESSION_TOKEN_HEADER: &str = "lockgate-session";

/// The session whose token is shown, if one is: `shown` in `_meta`, or in the header. Two that
/// differ are none.
pub(crate) async fn join(
    kernel: &Kernel,
    identity: &Arc<Identity>,
    headers: &HeaderMap,
    shown: Option<Json>,
) -> Result<Option<SessionId>, Refusal> {
    let refused = || Refusal::of(Code::SessionTokenRefused);
    let header = http::single(headers, SESSION_TOKEN_HEADER).map_err(|_| refused())?;
    let in_meta = shown.as_ref().map(|shown| shown.as_str().ok_or_else(refused)).transpose()?;
    let token = match (header, in_meta) {
        (None, None) => return Ok(None),
        (Some(one), Some(other)) if one != other => return Err(refused()),
        (Some(token), _) | (None, Some(token)) => token,
    };
    kernel.join_session(identity, token).await.map(Some)
}

/// Takes the token off a message: it goes nowhere.
pub(crate) fn take_token(message: &mut Message) -> Option<Json> {
    let params = match message {
        Message::Request(request) => &mut request.params,
        Message::Notification(notification) => &mut notification.params,
        Message::Response(_) => return None,
    };
    params.get_mut("_meta").and_then(Json::as_object_mut)?.remove(SESSION_META)
}

/// The HTTP status of a token that is refused.
pub(crate) fn status_of(code: Code) -> StatusCode {
    match code.blame() {
        Blame::Caller | Blame::Policy => StatusCode::FORBIDDEN,
        Blame::Upstream | Blame::Issuer | Blame::Lockgate => StatusCode::SERVICE_UNAVAILABLE,
    }
}
