//! The two eras of MCP on one address: which one a request belongs to, and which version is
//! answered.
//!
//! Both are served at once; every HTTP request tells by itself. The rules are in [`detect`], in
//! their order.

use crate::headers::Headers;
use crate::message::Message;
pub use lockgate_types::methods::Era;
use lockgate_types::{Json, Object};

/// The first revision with sessions that this gate speaks.
pub const V2025_06_18: &str = "2025-06-18";
/// The newest revision with sessions.
pub const V2025_11_25: &str = "2025-11-25";
/// The stateless revision.
pub const V2026_07_28: &str = "2026-07-28";

/// The revisions of the sessions era that this gate answers with, newest first.
pub const SESSIONS_VERSIONS: &[&str] = &[V2025_11_25, V2025_06_18];
/// The revisions of the stateless era, newest first: `supportedVersions`.
pub const STATELESS_VERSIONS: &[&str] = &[V2026_07_28];

/// Revisions whose clients open with `initialize`, spoken here or not.
const OPENED_BY_INITIALIZE: &[&str] = &["2024-11-05", "2025-03-26", V2025_06_18, V2025_11_25];

/// The header that names the version.
pub const VERSION_HEADER: &str = "mcp-protocol-version";
/// The header that names the session.
pub const SESSION_HEADER: &str = "mcp-session-id";

/// The members of `_meta` that a stateless request carries.
pub mod meta {
    /// Required: the version, a string.
    pub const VERSION: &str = "io.modelcontextprotocol/protocolVersion";
    /// Required: what the client can do, an object.
    pub const CLIENT_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
    /// Name and version of the client's software.
    pub const CLIENT_INFO: &str = "io.modelcontextprotocol/clientInfo";
    /// From which level on the client wants log messages; absent, none.
    pub const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
    /// On notifications of a `subscriptions/listen` stream: the id of the request that opened it.
    pub const SUBSCRIPTION_ID: &str = "io.modelcontextprotocol/subscriptionId";
    /// On results: name and version of the server's software.
    pub const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";
    /// What progress notifications refer to.
    pub const PROGRESS_TOKEN: &str = "progressToken";
    /// W3C trace context.
    pub const TRACEPARENT: &str = "traceparent";
}

/// The version that `initialize` is answered with: the one asked for if it is spoken here, else the
/// newest.
pub fn negotiate(requested: Option<&str>) -> &'static str {
    let spoken = SESSIONS_VERSIONS.iter().find(|version| Some(**version) == requested);
    spoken.copied().unwrap_or(V2025_11_25)
}

/// The era of one HTTP request.
///
/// 1. `_meta` names a version, or the method is `server/discover`: stateless, whatever the headers
///    say; if they say otherwise, that is a mismatch and not another era.
/// 2. The version header names a stateless revision: stateless, `initialize` included (it does not
///    exist there).
/// 3. The method is `initialize`, there is a session id, or the version header is absent or names a
///    revision with sessions: sessions.
/// 4. The version header names something else: stateless, where the refusal says which versions
///    there are.
pub fn detect(headers: &Headers<'_>, message: Option<&Message>) -> Era {
    let method = message.and_then(Message::method);
    let names_version = message
        .and_then(Message::params)
        .and_then(|params| params.get("_meta"))
        .is_some_and(|meta| meta.get(meta::VERSION).is_some());
    if names_version || method == Some("server/discover") {
        return Era::Stateless;
    }
    let version = headers.first(VERSION_HEADER);
    match version {
        Some(version) if is_any_of(version, STATELESS_VERSIONS) => Era::Stateless,
        _ if method == Some("initialize") || headers.first(SESSION_HEADER).is_some() => {
            Era::Sessions
        }
        None => Era::Sessions,
        Some(version) if is_any_of(version, OPENED_BY_INITIALIZE) => Era::Sessions,
        Some(_) => Era::Stateless,
    }
}

/// Whether a version header of a request within a session is acceptable: absent, or a revision with
/// sessions.
pub fn is_sessions_version(headers: &Headers<'_>) -> bool {
    headers.first(VERSION_HEADER).is_none_or(|version| is_any_of(version, OPENED_BY_INITIALIZE))
}

/// The era in which an upstream answered, from its result: of `server/discover` or of `initialize`.
pub fn of_opening(result: &Json) -> Option<Era> {
    let spoken = |member: &Json| member.as_str().is_some_and(|v| STATELESS_VERSIONS.contains(&v));
    match (result.get("supportedVersions"), result.get("protocolVersion")) {
        (Some(versions), _) => versions.as_array()?.iter().any(spoken).then_some(Era::Stateless),
        (None, Some(version)) => {
            SESSIONS_VERSIONS.contains(&version.as_str()?).then_some(Era::Sessions)
        }
        (None, None) => None,
    }
}

/// The parameters with which the gate itself asks a stateless upstream something.
pub fn stateless_params(client_info: &Object, capabilities: &Object) -> Object {
    let meta = Object::new()
        .with(meta::VERSION, V2026_07_28)
        .with(meta::CLIENT_INFO, client_info.clone())
        .with(meta::CLIENT_CAPABILITIES, capabilities.clone());
    Object::new().with("_meta", meta)
}

fn is_any_of(header: &[u8], versions: &[&str]) -> bool {
    versions.iter().any(|version| version.as_bytes() == header)
}
