//! Scripted agents: a small MCP client (2025-11-25, Streamable HTTP) with a user's token.

use crate::client::GateClient;
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use lockgate_types::call::WORDS_META;
use lockgate_types::{Json, JsonLimits, Object};
use lockgate_wire::refusal::REFUSAL_META;

/// An agent at work for one user.
pub(crate) struct Agent {
    client: GateClient,
    path: String,
    session: String,
    next_id: i64,
}

/// What came back from a tool.
pub(crate) struct ToolAnswer {
    /// The result, or the JSON-RPC error.
    pub body: Json,
    /// The refusal in it, if the gate refused.
    pub refusal: Option<Json>,
}

impl ToolAnswer {
    /// A text member of the refusal.
    pub(crate) fn refused_with(&self, member: &str) -> &str {
        let refusal = self.refusal.as_ref();
        refusal.and_then(|refusal| refusal.get(member)).and_then(Json::as_str).unwrap_or_default()
    }
}

impl Agent {
    /// Opens a session at a path of the gate: `/mcp/<server>`.
    pub(crate) async fn open(client: GateClient, path: &str) -> Result<Self> {
        let mut agent = Self { client, path: path.to_owned(), session: String::new(), next_id: 0 };
        let info = Object::new().with("name", "lockgate-agent").with("version", "1.0.0");
        let params = Object::new()
            .with("protocolVersion", "2025-11-25")
            .with("capabilities", Object::new())
            .with("clientInfo", info);
        agent.request("initialize", params.into()).await?;
        let initialized = br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
        agent.post(Bytes::from_static(initialized)).await?;
        Ok(agent)
    }

    /// Calls a tool.
    pub(crate) async fn call(&mut self, tool: &str, arguments: Object) -> Result<ToolAnswer> {
        let params = Object::new().with("name", tool).with("arguments", arguments);
        self.request("tools/call", params.into()).await
    }

    /// Calls a tool, and says what the person has said.
    pub(crate) async fn call_for(
        &mut self,
        words: &str,
        tool: &str,
        arguments: Object,
    ) -> Result<ToolAnswer> {
        let meta = Object::new().with(WORDS_META, words);
        let params =
            Object::new().with("name", tool).with("arguments", arguments).with("_meta", meta);
        self.request("tools/call", params.into()).await
    }

    /// Sends a message as it is written: agents that smuggle do not use a library.
    pub(crate) async fn send_raw(&mut self, text: &str) -> Result<ToolAnswer> {
        let body = self.post(Bytes::from(text.to_owned())).await?;
        read(&body)
    }

    async fn request(&mut self, method: &str, params: Json) -> Result<ToolAnswer> {
        self.next_id += 1;
        let message = Object::new()
            .with("jsonrpc", "2.0")
            .with("id", self.next_id)
            .with("method", method)
            .with("params", params);
        let body = self.post(Bytes::from(Json::from(message).to_bytes())).await?;
        read(&body)
    }

    async fn post(&mut self, body: Bytes) -> Result<Bytes> {
        let mut headers = vec![
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
        ];
        if !self.session.is_empty() {
            headers.push(("mcp-session-id", &self.session));
            headers.push(("mcp-protocol-version", "2025-11-25"));
        }
        let answered = self.client.send(http::Method::POST, &self.path, &headers, body).await?;
        if let Some(session) = answered.headers.get("mcp-session-id") {
            self.session = session.to_str().context("reading the session id")?.to_owned();
        }
        Ok(answered.body)
    }
}

/// The answer in a body: JSON, or the last message of an event stream.
fn read(body: &[u8]) -> Result<ToolAnswer> {
    let text = std::str::from_utf8(body).context("the answer is not text")?;
    let last = text.lines().rev().find_map(|line| line.strip_prefix("data: ")).unwrap_or(text);
    let message = Json::parse(last.as_bytes(), &JsonLimits::MESSAGE)
        .with_context(|| format!("the answer is not JSON: {text}"))?;
    if let Some(result) = message.get("result") {
        let refusal = result.at(&["_meta", REFUSAL_META]).cloned();
        return Ok(ToolAnswer { body: result.clone(), refusal });
    }
    let Some(error) = message.get("error") else { bail!("neither result nor error: {text}") };
    Ok(ToolAnswer { body: error.clone(), refusal: error.get("data").cloned() })
}
