//! `lockgate stdio`: for MCP clients that start a process. It speaks to a running gate over HTTP
//! and holds no state of the gate's: it is a client, never a second writer.

use crate::client::{AGENT, GateArguments, GateClient};
use crate::place::Place;
use anyhow::{Context, Result};
use bytes::Bytes;
use futures_util::StreamExt;
use http_body_util::BodyExt;
use lockgate_server::joining::SESSION_TOKEN_HEADER;
use lockgate_types::{Json, JsonLimits, Object, Redacted};
use lockgate_wire::era::{V2026_07_28, VERSION_HEADER};
use lockgate_wire::headers::{MirroredArgument, mirrored_arguments};
use lockgate_wire::sse::{SseDecoder, SseLimits};
use lockgate_wire::stateless::{check_meta, request_headers};
use lockgate_wire::{Message, Notification, Request, RequestId, Response, RpcError};
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::sync::mpsc;

/// Messages for the client that wait to be written.
const OUTPUT_QUEUE_MAX: usize = 256;

/// Requests of the client on their way at once.
const IN_FLIGHT_MAX: usize = 256;

/// Tools whose mirrored arguments are remembered.
const TOOLS_MAX: usize = 4096;

/// What every message is sent with.
const HEADERS: [(&str, &str); 2] =
    [("content-type", "application/json"), ("accept", "application/json, text/event-stream")];

/// Arguments of `lockgate stdio`.
#[derive(clap::Args)]
pub(crate) struct StdioArguments {
    /// One upstream, with its own names. Unset: all of them, names prefixed
    #[arg(long, value_name = "NAME")]
    server: Option<String>,
    /// With the development issuer: the user to be
    #[arg(long, env = "LOCKGATE_USER")]
    user: Option<String>,
    /// With the development issuer: the agent to be
    #[arg(long, env = "LOCKGATE_AGENT", default_value = AGENT)]
    agent: String,
    /// The token of a session that an application has opened: every call belongs to it
    #[arg(
        long = "session",
        env = "LOCKGATE_SESSION",
        value_name = "TOKEN",
        hide_env_values = true
    )]
    session_token: Option<String>,
    #[command(flatten)]
    gate: GateArguments,
}

/// Runs the command until standard input ends.
pub(crate) fn run(arguments: &StdioArguments, place: &Place) -> Result<ExitCode> {
    crate::log_to_stderr(tracing::level_filters::LevelFilter::WARN);
    let mut gate = arguments.gate.clone();
    if let (None, Some(user)) = (&gate.token, &arguments.user) {
        gate.token = Some(crate::client::development_token(place, user, &arguments.agent)?);
    }
    let client = GateClient::new(&gate, place)?;
    let path = match &arguments.server {
        Some(server) => format!("/mcp/{server}"),
        None => "/mcp".to_owned(),
    };
    let session_token = arguments.session_token.clone().map(Redacted::new);
    crate::runtime()?.block_on(async {
        check(&client, &path).await?;
        relay(client, path, session_token).await
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Says a word that changes nothing and is not recorded, so that a server or somebody whom the gate
/// does not know is told now. Programs that start a process show how it failed; a refusal of each
/// request they may keep to themselves. A gate that cannot answer yet may by the first request.
async fn check(client: &GateClient, path: &str) -> Result<()> {
    let word = Notification {
        method: "notifications/cancelled".to_owned(),
        params: Object::new().with("requestId", 0),
        extra: Object::new(),
    };
    let headers = [&HEADERS[..], &[(VERSION_HEADER, V2026_07_28)]].concat();
    let body = Bytes::from(Message::Notification(word).to_bytes());
    let Ok(answered) = client.send(http::Method::POST, path, &headers, body).await else {
        return Ok(());
    };
    let is_refusal = [
        http::StatusCode::BAD_REQUEST,
        http::StatusCode::UNAUTHORIZED,
        http::StatusCode::FORBIDDEN,
        http::StatusCode::NOT_FOUND,
    ]
    .contains(&answered.status);
    if is_refusal {
        crate::client::accepted(answered).with_context(|| format!("asking for `{path}`"))?;
    }
    Ok(())
}

/// What the requests of one client share.
struct Relay {
    client: GateClient,
    path: String,
    output: mpsc::Sender<Vec<u8>>,
    session: Mutex<Session>,
    session_token: Option<Redacted<String>>,
}

/// What a client has said, for what the gate answers.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Sent {
    /// It waits for an answer with this id.
    Request { id: RequestId, method: String },
    /// It waits for none.
    Quiet,
    /// Nobody could read it: neither what it asks, nor its id.
    Unreadable,
}

impl Sent {
    fn of(message: Option<&Message>) -> Self {
        match message {
            Some(Message::Request(Request { id, method, .. })) => {
                Self::Request { id: id.clone(), method: method.clone() }
            }
            Some(Message::Notification(_) | Message::Response(_)) => Self::Quiet,
            None => Self::Unreadable,
        }
    }

    /// What of the gate's goes to the client. What was refused before it was read is an error
    /// without an id: it answers the request that it came for, and nothing else.
    fn addressed(&self, mut json: Json) -> Option<Json> {
        let is_anonymous = json.get("error").is_some()
            && json.get("method").is_none()
            && json.get("id").is_none_or(|id| *id == Json::Null);
        if !is_anonymous {
            return Some(json);
        }
        match self {
            Self::Request { id, .. } => {
                json.as_object_mut()?.set("id", id.to_json());
                Some(json)
            }
            Self::Quiet => {
                tracing::warn!(error = %json, "the gate refused what asks for no answer");
                None
            }
            Self::Unreadable => Some(json),
        }
    }
}

#[derive(Default)]
struct Session {
    id: Option<String>,
    version: Option<String>,
    mirrored: BTreeMap<String, Vec<MirroredArgument>>,
}

async fn relay(
    client: GateClient,
    path: String,
    session_token: Option<Redacted<String>>,
) -> Result<()> {
    let (output, messages) = mpsc::channel(OUTPUT_QUEUE_MAX);
    let writing = tokio::spawn(write(messages));
    let session = Mutex::default();
    let relay = Arc::new(Relay { client, path, output, session, session_token });
    let places = Arc::new(tokio::sync::Semaphore::new(IN_FLIGHT_MAX));
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut running = tokio::task::JoinSet::new();
    while let Some(line) = lines.next_line().await.context("reading standard input")? {
        if line.trim().is_empty() {
            continue;
        }
        let place = Arc::clone(&places).acquire_owned().await.context("the relay is closing")?;
        let opens = is_opening(&line);
        let relay = Arc::clone(&relay);
        let passing = async move {
            let _place = place;
            relay.pass(line.into_bytes()).await;
        };
        // What comes after `initialize` needs the session that its answer brings.
        if opens {
            passing.await;
        } else {
            running.spawn(passing);
        }
        while running.try_join_next().is_some() {}
    }
    while running.join_next().await.is_some() {}
    relay.close().await;
    drop(relay);
    writing.await.context("writing ended badly")
}

fn is_opening(line: &str) -> bool {
    let message = Message::parse(line.as_bytes(), &JsonLimits::MESSAGE);
    message.is_ok_and(|message| {
        matches!(message.method(), Some("initialize" | "notifications/initialized"))
    })
}

async fn write(mut messages: mpsc::Receiver<Vec<u8>>) {
    let mut output = tokio::io::stdout();
    while let Some(mut line) = messages.recv().await {
        line.push(b'\n');
        if output.write_all(&line).await.is_err() || output.flush().await.is_err() {
            return;
        }
    }
}

impl Relay {
    fn session(&self) -> std::sync::MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What shows the token of the session that calls belong to.
    fn joins(&self) -> Option<(String, String)> {
        let token = self.session_token.as_ref()?;
        Some((SESSION_TOKEN_HEADER.to_owned(), token.expose().clone()))
    }

    /// Passes one message of the client to the gate and everything that comes back to the client.
    async fn pass(self: Arc<Self>, body: Vec<u8>) {
        let message = Message::parse(&body, &JsonLimits::MESSAGE).ok();
        let request = match &message {
            Some(Message::Request(request)) => Some(request),
            _ => None,
        };
        let sent = Sent::of(message.as_ref());
        let headers = self.headers(request);
        if let Err(error) = self.exchange(body, headers, &sent).await
            && let Sent::Request { id, .. } = sent
        {
            self.fail(id, &error).await;
        }
        let is_initialized =
            message.is_some_and(|message| message.method() == Some("notifications/initialized"));
        if is_initialized {
            tokio::spawn(Arc::clone(&self).listen());
        }
    }

    fn headers(&self, request: Option<&Request>) -> Vec<(String, String)> {
        let mut headers: Vec<_> =
            HEADERS.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        headers.extend(self.joins());
        let session = self.session();
        if let Some(request) = request.filter(|request| check_meta(request).is_ok()) {
            let tool = request.params.get("name").and_then(Json::as_str).unwrap_or_default();
            let mirrored = session.mirrored.get(tool).map(Vec::as_slice).unwrap_or_default();
            headers.extend(request_headers(request, mirrored));
            return headers;
        }
        headers.extend(session.headers());
        headers
    }

    async fn exchange(
        &self,
        body: Vec<u8>,
        headers: Vec<(String, String)>,
        sent: &Sent,
    ) -> Result<()> {
        let borrowed: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let answer =
            self.client.open(http::Method::POST, &self.path, &borrowed, Bytes::from(body)).await?;
        if let Some(id) = answer.headers().get("mcp-session-id") {
            self.session().id = id.to_str().ok().map(str::to_owned);
        }
        self.receive(answer, sent).await
    }

    async fn receive(
        &self,
        answer: http::Response<hyper::body::Incoming>,
        sent: &Sent,
    ) -> Result<()> {
        let kind = answer.headers().get("content-type").and_then(|value| value.to_str().ok());
        if kind.is_some_and(|kind| kind.starts_with("text/event-stream")) {
            return self.stream(answer.into_body(), sent).await;
        }
        let body = answer.into_body().collect().await.context("the gate's answer broke off")?;
        let body = body.to_bytes();
        if !body.is_empty() {
            self.deliver(&body, sent).await?;
        }
        Ok(())
    }

    async fn stream(&self, body: hyper::body::Incoming, sent: &Sent) -> Result<()> {
        let mut decoder = SseDecoder::new(SseLimits::MESSAGE);
        let mut frames = body.into_data_stream();
        while let Some(frame) = frames.next().await {
            let mut events = Vec::new();
            let frame = frame.context("the gate's stream broke off")?;
            decoder.push(&frame, &mut events).context("the gate's stream cannot be read")?;
            // Events without data only say where to resume.
            for data in events.iter().filter_map(|event| event.data.as_deref()) {
                if !data.is_empty() {
                    self.deliver(data.as_bytes(), sent).await?;
                }
            }
        }
        Ok(())
    }

    /// Hands a message of the gate to the client, and keeps what later requests need of it.
    async fn deliver(&self, bytes: &[u8], sent: &Sent) -> Result<()> {
        let json =
            Json::parse(bytes, &JsonLimits::MESSAGE).context("the gate's answer is not JSON")?;
        if let (Some(result), Sent::Request { method, .. }) = (json.get("result"), sent) {
            self.session().learn(method, result);
        }
        let Some(json) = sent.addressed(json) else { return Ok(()) };
        self.output.send(json.to_bytes()).await.context("standard output is closed")
    }

    async fn fail(&self, id: RequestId, error: &anyhow::Error) {
        let error = RpcError::new(-32603, format!("{error:#}"));
        let message = Message::Response(Response::error(id, error));
        let _ = self.output.send(message.to_bytes()).await;
    }

    /// What the gate says outside of calls.
    async fn listen(self: Arc<Self>) {
        let mut headers = vec![("accept".to_owned(), "text/event-stream".to_owned())];
        headers.extend(self.joins());
        headers.extend(self.session().headers());
        let borrowed: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let opened = self.client.open(http::Method::GET, &self.path, &borrowed, Bytes::new());
        // Without it the client misses notifications and nothing else.
        let Ok(answer) = opened.await else { return };
        if answer.status().is_success()
            && let Err(error) = self.receive(answer, &Sent::Quiet).await
        {
            tracing::debug!(%error, "listening ended");
        }
    }

    async fn close(&self) {
        let mut headers = self.session().headers();
        if headers.is_empty() {
            return;
        }
        headers.extend(self.joins());
        let borrowed: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        // A session that is not closed expires.
        let _ = self.client.send(http::Method::DELETE, &self.path, &borrowed, Bytes::new()).await;
    }
}

impl Session {
    fn headers(&self) -> Vec<(String, String)> {
        let pairs = [("mcp-session-id", &self.id), ("mcp-protocol-version", &self.version)];
        let set = pairs.into_iter().filter_map(|(name, value)| Some((name, value.clone()?)));
        set.map(|(name, value)| (name.to_owned(), value)).collect()
    }

    fn learn(&mut self, asked: &str, result: &Json) {
        match asked {
            "initialize" => {
                let version = result.get("protocolVersion").and_then(Json::as_str);
                self.version = version.map(str::to_owned);
            }
            "tools/list" => {
                let tools = result.get("tools").and_then(Json::as_array).unwrap_or_default();
                for tool in tools {
                    self.learn_tool(tool);
                }
            }
            _ => {}
        }
    }

    fn learn_tool(&mut self, tool: &Json) {
        let (Some(name), Some(schema)) =
            (tool.get("name").and_then(Json::as_str), tool.get("inputSchema"))
        else {
            return;
        };
        let mirrored = mirrored_arguments(schema).unwrap_or_default();
        if !mirrored.is_empty() && self.mirrored.len() < TOOLS_MAX {
            self.mirrored.insert(name.to_owned(), mirrored);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Sent, Session};
    use lockgate_types::{Json, JsonLimits, Object};
    use lockgate_wire::RequestId;

    #[test]
    fn an_error_without_an_id_answers_its_request_and_nothing_else() {
        let asked = Sent::Request { id: RequestId::Integer(7), method: "tools/list".to_owned() };
        let refused = r#"{"jsonrpc":"2.0","id":7,"error":{"code":1}}"#;
        let told = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"error":1}}"#;
        for anonymous in [
            r#"{"jsonrpc":"2.0","id":null,"error":{"code":1}}"#,
            r#"{"jsonrpc":"2.0","error":{"code":1}}"#,
        ] {
            for (sent, text, heard) in [
                (&asked, anonymous, Some(refused)),
                (&asked, told, Some(told)),
                (&Sent::Quiet, anonymous, None),
                (&Sent::Quiet, refused, Some(refused)),
                (&Sent::Quiet, told, Some(told)),
                (&Sent::Unreadable, anonymous, Some(anonymous)),
            ] {
                let read = |text: &str| Json::parse(text.as_bytes(), &JsonLimits::OWN).unwrap();
                let sorted = |json: Json| json.digest();
                let heard = heard.map(|text| sorted(read(text)));
                assert_eq!(sent.addressed(read(text)).map(sorted), heard, "{sent:?} {text}");
            }
        }
    }

    #[test]
    fn a_session_remembers_what_later_requests_need() {
        let mut session = Session::default();
        let result = Object::new().with("protocolVersion", "2025-11-25");
        session.learn("initialize", &result.into());
        session.id = Some("s1".to_owned());
        let expected = [("mcp-session-id", "s1"), ("mcp-protocol-version", "2025-11-25")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(session.headers(), expected);
    }
}
