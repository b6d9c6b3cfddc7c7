//! From a request to a face: what every request passes before a face sees it.
//!
//! Host and Origin, then who, then where. The order is the defence: a page in a browser that was
//! tricked into calling loopback is turned away before its token is looked at.

use crate::admin::Admin;
use crate::console::{self, Console};
use crate::http::{self as reply, Body};
use crate::identity::Authenticator;
use crate::mcp::McpFace;
use crate::model;
use crate::webhook;
use arc_swap::ArcSwap;
use http::header::{AUTHORIZATION, HOST, ORIGIN, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use hyper::body::Incoming;
use lockgate_core::declare;
use lockgate_core::identify::FIXED;
use lockgate_kernel::{Kernel, Refusal};
use lockgate_store::TurnedAway;
use lockgate_types::identity::{Claims, Identity};
use lockgate_types::{Code, Json, Object};
use lockgate_wire::refusal::refusal_error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Everything a request may reach.
pub struct Gate {
    /// The kernel.
    pub kernel: Kernel,
    /// The MCP face.
    pub mcp: Arc<McpFace>,
    /// The admin API.
    pub admin: Admin,
    /// The console.
    pub console: Console,
    /// The webhooks' channels.
    pub channels: Arc<webhook::Channels>,
    /// Who may come in; swapped with the bundle.
    pub authenticator: Arc<ArcSwap<Authenticator>>,
    /// Bounds.
    pub limits: declare::Limits,
}

impl Gate {
    pub(crate) fn connections_max(&self) -> usize {
        usize::try_from(self.limits.connections_max).unwrap_or(usize::MAX)
    }

    pub(crate) fn request_read_within(&self) -> Duration {
        Duration::from_millis(u64::from(self.limits.request_read_ms))
    }
}

/// What a listener knows about itself.
pub struct ListenerContext {
    address: SocketAddr,
    is_tls: bool,
    hosts: Vec<String>,
    origins: Vec<String>,
    fixed: Option<Claims>,
}

impl ListenerContext {
    pub(crate) fn new(declared: &declare::Listen, address: SocketAddr, is_tls: bool) -> Self {
        let fixed = declared.identity.as_ref().map(|identity| Claims {
            issuer: FIXED.to_owned(),
            claims: Object::new()
                .with("sub", identity.subject.as_str())
                .with("act", Object::new().with("sub", identity.agent.as_str())),
        });
        let hosts = declared.hosts.iter().map(|host| host.to_ascii_lowercase()).collect();
        let origins = declared.origins.iter().map(|o| o.to_ascii_lowercase()).collect();
        Self { address, is_tls, hosts, origins, fixed }
    }

    pub(crate) fn is_fixed(&self) -> bool {
        self.fixed.is_some()
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// Whether a Host header, which was checked, means this very machine.
    pub(crate) fn is_loopback(&self, host: &str) -> bool {
        self.address.ip().is_loopback() && is_loopback_name(without_port(host))
    }

    /// The address under which the client knows this listener: its Host header was checked.
    pub(crate) fn base(&self, headers: &HeaderMap) -> String {
        let scheme = if self.is_tls { "https" } else { "http" };
        match headers.get(HOST).and_then(|host| host.to_str().ok()) {
            Some(host) => format!("{scheme}://{host}"),
            None => format!("{scheme}://{}", self.address),
        }
    }

    /// The Host header names this listener: a DNS name that was rebound to loopback does not (RFC
    /// 9110 §7.2).
    fn is_own_host(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let name = without_port(&host);
        is_loopback_name(name)
            || host == self.address.to_string()
            || name == self.address.ip().to_string()
            || self.hosts.iter().any(|own| *own == name || *own == host)
    }

    /// The Origin header is a loopback page's or one of the configured ones.
    fn is_allowed_origin(&self, origin: &str) -> bool {
        let origin = origin.to_ascii_lowercase();
        if self.origins.contains(&origin) {
            return true;
        }
        let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        authority.is_some_and(|authority| is_loopback_name(without_port(authority)))
    }
}

fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => authority,
    }
}

fn is_loopback_name(name: &str) -> bool {
    matches!(name, "localhost" | "127.0.0.1" | "[::1]")
}

/// Answers one request.
pub async fn route(
    gate: &Arc<Gate>,
    listener: &ListenerContext,
    request: Request<Incoming>,
) -> Response<Body> {
    if let Err(code) = check_site(listener, request.uri(), request.headers()) {
        return turn_away(gate, listener, &request, Refusal::of(code)).await;
    }
    let path = request.uri().path();
    match path {
        "/health" if request.method() == Method::GET => {
            return reply::json(StatusCode::OK, br#"{"status":"up"}"#.to_vec());
        }
        // Clients of Anthropic's API ask whether anybody is there.
        "/" | "/api/hello" if request.method() == Method::HEAD => {
            return reply::empty(StatusCode::OK);
        }
        path if path.starts_with("/.well-known/oauth-protected-resource") => {
            return resource_metadata(gate, listener, request.headers());
        }
        _ => {}
    }
    if path == "/console" || path.starts_with("/console/") {
        return console::handle(gate, listener, request).await;
    }
    if let Some(name) = path.strip_prefix("/webhook/").filter(|_| !listener.is_fixed()) {
        let name = name.to_owned();
        return webhook::handle(gate, listener, &name, request).await;
    }
    if let Some(api) = model::api_at(path) {
        return model::handle(gate, listener, api, request).await;
    }
    let shown = reply::single(request.headers(), AUTHORIZATION.as_str());
    let identified = match shown {
        Ok(shown) => identify(gate, listener, shown).await,
        Err(_) => Err(Refusal::of(Code::TokenMalformed)),
    };
    let identity = match identified {
        Ok(identity) => identity,
        Err(refusal) => return turn_away(gate, listener, &request, refusal).await,
    };
    if path == "/mcp" || path.starts_with("/mcp/") {
        return crate::mcp::handle(&gate.mcp, identity, request).await;
    }
    if path.starts_with("/v1/") {
        return gate.admin.handle(identity, request).await;
    }
    let refusal = Refusal::of(Code::BadHttp);
    reply::json(StatusCode::NOT_FOUND, error_body(&refusal))
}

fn check_site(listener: &ListenerContext, uri: &Uri, headers: &HeaderMap) -> Result<(), Code> {
    // A whole address in the request line overrules the Host header (RFC 9112 §3.2.2).
    if uri.authority().is_some_and(|authority| !listener.is_own_host(authority.as_str())) {
        return Err(Code::HostNotAllowed);
    }
    let host = reply::single(headers, HOST.as_str()).map_err(|_| Code::HostNotAllowed)?;
    if !host.is_some_and(|host| listener.is_own_host(host)) {
        return Err(Code::HostNotAllowed);
    }
    match reply::single(headers, ORIGIN.as_str()).map_err(|_| Code::OriginNotAllowed)? {
        Some(origin) if !listener.is_allowed_origin(origin) => Err(Code::OriginNotAllowed),
        Some(_) | None => Ok(()),
    }
}

/// Who asks, by what its header of authorization says.
pub(crate) async fn identify(
    gate: &Gate,
    listener: &ListenerContext,
    authorization: Option<&str>,
) -> Result<Arc<Identity>, Refusal> {
    if let Some(claims) = &listener.fixed {
        if authorization.is_some() {
            return Err(Refusal::of(Code::TokenNotWanted));
        }
        return gate.kernel.identify(claims);
    }
    gate.authenticator.load().identify(&gate.kernel, authorization).await
}

/// Refuses a request that no face has seen, and records that it was.
async fn turn_away(
    gate: &Gate,
    listener: &ListenerContext,
    request: &Request<Incoming>,
    refusal: Refusal,
) -> Response<Body> {
    tracing::info!(code = %refusal.code, path = request.uri().path(), "a request was refused");
    note_turned_away(gate, listener, refusal.code).await;
    let status = status_of(refusal.code);
    let mut response = reply::json(status, error_body(&refusal));
    if status == StatusCode::UNAUTHORIZED {
        let challenge = challenge(listener, request.headers(), refusal.code);
        if let Ok(value) = HeaderValue::from_str(&challenge) {
            response.headers_mut().insert(WWW_AUTHENTICATE, value);
        }
    }
    response
}

/// Records that a request was refused before it could be decided.
pub(crate) async fn note_turned_away(gate: &Gate, listener: &ListenerContext, code: Code) {
    let turned = TurnedAway {
        code,
        at: gate.kernel.clock().now(),
        who: None,
        listener: listener.address.to_string(),
    };
    gate.kernel.turned_away(turned).await;
}

/// A refusal as a JSON-RPC error without an id: the message was not read.
fn error_body(refusal: &Refusal) -> Vec<u8> {
    let body = Object::new()
        .with("jsonrpc", "2.0")
        .with("id", Json::Null)
        .with("error", refusal_error(refusal).to_json());
    Json::from(body).to_bytes()
}

/// The status of a refusal before any face (RFC 6750 §3.1).
fn status_of(code: Code) -> StatusCode {
    match code {
        Code::HostNotAllowed
        | Code::OriginNotAllowed
        | Code::NoAgent
        | Code::UnknownAgent
        | Code::UnknownSubject => StatusCode::FORBIDDEN,
        Code::TokenNotWanted => StatusCode::BAD_REQUEST,
        Code::NoBundle | Code::IssuerUnreachable => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::UNAUTHORIZED,
    }
}

/// The challenge, with where to learn which issuers are trusted (RFC 9728 §5.1).
fn challenge(listener: &ListenerContext, headers: &HeaderMap, code: Code) -> String {
    let metadata = format!("{}/.well-known/oauth-protected-resource", listener.base(headers));
    let mut challenge = format!("Bearer resource_metadata=\"{metadata}\"");
    if code != Code::NoToken {
        challenge.push_str(&format!(
            ", error=\"invalid_token\", error_description=\"{code}: {}\"",
            code.title()
        ));
    }
    challenge
}

/// Which issuers this gate trusts (RFC 9728 §3).
fn resource_metadata(
    gate: &Gate,
    listener: &ListenerContext,
    headers: &HeaderMap,
) -> Response<Body> {
    let authenticator = gate.authenticator.load();
    let issuers: Vec<_> = authenticator.issuer_urls().map(Json::from).collect();
    let metadata = Object::new()
        .with("resource", listener.base(headers))
        .with("authorization_servers", issuers)
        .with("bearer_methods_supported", vec!["header".into()]);
    reply::json(StatusCode::OK, Json::from(metadata).to_bytes())
}

#[cfg(test)]
mod tests {
    use super::ListenerContext;
    use lockgate_core::declare;

    fn context() -> ListenerContext {
        let declared = declare::Listen {
            address: "127.0.0.1:7420".to_owned(),
            tls: None,
            hosts: vec!["gate.example".to_owned()],
            origins: vec!["https://console.example".to_owned()],
            identity: None,
        };
        ListenerContext::new(&declared, "127.0.0.1:7420".parse().unwrap(), false)
    }

    #[test]
    fn hosts_are_loopback_names_or_configured() {
        let own =
            ["localhost", "localhost:7420", "127.0.0.1:7420", "[::1]:7420", "GATE.example:443"];
        let foreign =
            ["evil.example", "localhost.evil.example", "gate.example.evil", "", "127.0.0.2:1"];
        for host in own {
            assert!(context().is_own_host(host), "{host}");
        }
        for host in foreign {
            assert!(!context().is_own_host(host), "{host}");
        }
    }

    #[test]
    fn origins_are_loopback_or_configured() {
        let allowed = ["http://localhost:3000", "https://127.0.0.1", "https://console.example"];
        let refused =
            ["null", "http://evil.example", "http://localhost.evil", "file://", "localhost"];
        for origin in allowed {
            assert!(context().is_allowed_origin(origin), "{origin}");
        }
        for origin in refused {
            assert!(!context().is_allowed_origin(origin), "{origin}");
        }
    }
}
