//! Sessions that outlive the node which opened them: kept as they were opened, and taken up by
//! whichever node, or next life of a gate, their client comes to.
//!
//! What is between a client and one node stays there: streams, and questions that wait for the
//! client's answer.

use crate::mcp::Client;
use crate::mcp::answer::Refused;
use crate::mcp::route::Scope;
use crate::mcp::session::{NotFound, Opening, Session};
use ::http::StatusCode;
use lockgate_effects::Caller;
use lockgate_kernel::Refusal;
use lockgate_store::ClientSession;
use lockgate_types::{Json, JsonLimits, Object, SessionId};
use lockgate_wire::Era;
use lockgate_wire::era::negotiate;
use std::sync::Arc;

/// Keeps a session as it is now.
pub(crate) async fn keep(client: &Client<'_>, session: &Session) -> Result<(), Refusal> {
    let caller = session.caller.load();
    let scope = match &session.scope {
        Scope::All => None,
        Scope::One(upstream) => Some(upstream.as_str()),
    };
    let opening = Object::new()
        .with("agent", client.identity.agent.as_str())
        .with("capabilities", caller.capabilities.clone())
        .with_some("client_info", caller.client_info.clone())
        .with_some("log_level", caller.log_level.as_deref())
        .with_some("scope", scope)
        .with("version", session.version);
    let opening = Json::from(opening).to_canonical();
    let kept = client.face.kernel.keep_client_session(client.identity, &session.id, &opening);
    session.kept_until(kept.await?);
    Ok(())
}

/// Keeps a session for longer, if it is in use and half of its time is over.
pub(crate) fn keep_on(client: &Client<'_>, session: &Arc<Session>) {
    let kernel = &client.face.kernel;
    let idle_us = i64::from(client.world.gate.limits.session_idle_ms).saturating_mul(1000);
    let until = kernel.clock().now().0.saturating_add(idle_us);
    if session.is_kept_until(until.saturating_sub(idle_us / 2)) {
        return;
    }
    session.kept_until(lockgate_types::Micros(until));
    let (kernel, id) = (kernel.clone(), session.id.clone());
    tokio::spawn(async move { kernel.extend_client_session(&id).await });
}

/// Takes up a session that this node does not know.
pub(crate) async fn take_up(
    client: &Client<'_>,
    id: &str,
) -> Result<Result<Arc<Session>, NotFound>, Box<Refused>> {
    let Ok(id) = SessionId::new(id) else { return Ok(Err(NotFound::Unknown)) };
    let found = client.face.kernel.client_session(client.identity, &id).await;
    let found = found.map_err(|refusal| Refused::of(StatusCode::SERVICE_UNAVAILABLE, &refusal))?;
    let opening = match found {
        ClientSession::Unknown => return Ok(Err(NotFound::Unknown)),
        ClientSession::NotYours => return Ok(Err(NotFound::NotYours)),
        ClientSession::Opened(opening) => opening,
    };
    let opening = match read(client, &id, &opening) {
        Ok(opening) => opening,
        Err(error) => return Ok(Err(error)),
    };
    let taken_up = client.face.sessions.open(opening, &client.world.gate.limits);
    let (session, room) =
        taken_up.map_err(|code| Refused::of(StatusCode::TOO_MANY_REQUESTS, &Refusal::of(code)))?;
    client.face.make(room).await;
    keep_on(client, &session);
    Ok(Ok(session))
}

/// Reads what a session was opened with; who or where it was opened otherwise has none.
fn read(client: &Client<'_>, id: &SessionId, opening: &[u8]) -> Result<Opening, NotFound> {
    let opening = Json::parse(opening, &JsonLimits::MESSAGE).map_err(|_| NotFound::Unknown)?;
    let text = |name: &str| opening.get(name).and_then(Json::as_str);
    if text("agent") != Some(client.identity.agent.as_str()) {
        return Err(NotFound::NotYours);
    }
    let scope = match client.scope {
        Scope::All => None,
        Scope::One(upstream) => Some(upstream.as_str()),
    };
    if text("scope") != scope {
        return Err(NotFound::Unknown);
    }
    let version = negotiate(text("version"));
    let capabilities = opening.get("capabilities").and_then(Json::as_object);
    let caller = Caller {
        session_key: id.as_str().to_owned(),
        identity: Some(Arc::clone(client.identity)),
        era: Era::Sessions,
        protocol_version: version.to_owned(),
        client_info: opening.get("client_info").cloned(),
        capabilities: capabilities.cloned().unwrap_or_default(),
        log_level: text("log_level").map(str::to_owned),
    };
    Ok(Opening {
        id: id.clone(),
        scope: client.scope.clone(),
        version,
        identity: Arc::clone(client.identity),
        caller,
    })
}
