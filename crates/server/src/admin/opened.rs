//! Sessions that applications open for agents, with what their person has said.
//!
//! Here, and not at a face of its own: opening one is an operation of the gate like any other,
//! which policies name and the record has. The words are among its arguments, sealed under the key
//! of the person that the application's token is about.

use super::problem::Problem;
use super::{Asked, Parts, Reading};
use lockgate_kernel::Kernel;
use lockgate_store::MintedSession;
use lockgate_types::identity::Identity;
use lockgate_types::{AgentId, CallId, Code, Json, SessionId, TaskName};
use schemars::JsonSchema;
use serde::Serialize;
use std::sync::Arc;

/// A session that was opened.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Opened {
    /// The session, as records name it.
    session: String,
    /// What the agent shows, in the header `Lockgate-Session` or in
    /// `_meta["dev.lockgate/session"]`. It is never shown again.
    token: String,
    /// The agent that it is for.
    agent: String,
    /// Until when, in microseconds since 1970.
    expires_at: i64,
}

/// A session that was told something.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Told {
    /// The session, as records name it.
    session: String,
}

/// The sessions that an application has open for a person.
#[derive(Serialize, JsonSchema)]
pub(crate) struct All {
    /// Those first that end first.
    sessions: Vec<One>,
}

/// A session that is open.
#[derive(Serialize, JsonSchema)]
pub(crate) struct One {
    /// The session, as records name it.
    session: String,
    /// The agent that it is for.
    agent: String,
    /// The task that it is for alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    task: Option<String>,
    /// Until when, in microseconds since 1970.
    expires_at: i64,
}

pub(super) async fn open(parts: Arc<Parts>, asked: Asked) -> Result<Reading, Problem> {
    let agent = AgentId::new(asked.text("agent"));
    let agent = agent.map_err(|error| Problem::request(error.to_string()))?;
    let task = Some(asked.text("task")).filter(|task| !task.is_empty()).map(TaskName::new);
    let task = task.transpose().map_err(|error| Problem::request(error.to_string()))?;
    let kernel = &parts.kernel;
    let minted = kernel.mint_session(&asked.identity, &agent, task.as_ref()).await?;
    // Which session it is stands in the record of who opened it.
    let arguments = asked.arguments.clone().with("session", minted.session.as_str());
    let asked = asked.with(arguments);
    let perform = async |by: CallId| opened(kernel, &asked, &minted, &by).await;
    parts.govern_call(&asked, "session_open", None, perform).await
}

async fn opened(
    kernel: &Kernel,
    asked: &Asked,
    minted: &MintedSession,
    by: &CallId,
) -> Result<Reading, Problem> {
    let until = kernel.open_session(&asked.identity, minted, words(asked), by).await?;
    Reading::typed(&Opened {
        session: minted.session.to_string(),
        token: minted.token.expose().clone(),
        agent: minted.agent.to_string(),
        expires_at: until.0,
    })
}

pub(super) async fn tell(parts: Arc<Parts>, asked: Asked) -> Result<Reading, Problem> {
    let session = session(&asked)?;
    let perform = async |by: CallId| {
        let identity: &Identity = &asked.identity;
        parts.kernel.tell_session(identity, &session, words(&asked), &by).await?;
        Reading::typed(&Told { session: session.to_string() })
    };
    parts.govern_call(&asked, "session_words", None, perform).await
}

pub(super) async fn end(parts: Arc<Parts>, asked: Asked) -> Result<Reading, Problem> {
    let session = session(&asked)?;
    let perform = async || {
        parts.kernel.end_session(&asked.identity, &session).await?;
        Reading::typed(&Told { session: session.to_string() })
    };
    parts.govern(&asked, "session_end", perform).await
}

pub(super) async fn list(parts: Arc<Parts>, asked: Asked) -> Result<Reading, Problem> {
    let perform = async || {
        let opened = parts.kernel.opened_sessions(&asked.identity).await?.into_iter();
        let sessions = opened.map(|it| One {
            session: it.session.to_string(),
            agent: it.agent.to_string(),
            task: it.task.map(|task| task.to_string()),
            expires_at: it.until.0,
        });
        Reading::typed(&All { sessions: sessions.collect() })
    };
    parts.govern(&asked, "opened_read", perform).await
}

fn words(asked: &Asked) -> &Json {
    asked.arguments.get("words").unwrap_or(&Json::Null)
}

/// A session as records name it.
fn session(asked: &Asked) -> Result<SessionId, Problem> {
    SessionId::new(asked.text("session")).map_err(|_| Code::RecordNotFound.into())
}
