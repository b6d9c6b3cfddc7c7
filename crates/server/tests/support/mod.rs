//! A gate in memory before small upstreams of our own, and clients that speak to it without a
//! socket.

#![allow(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod stub;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use lockgate_core::identify::fixed_claims;
use lockgate_core::world::Files;
use lockgate_effects::{EffectsSettings, Upstreams};
use lockgate_kernel::{Clock, Kernel};
use lockgate_server::http::Body;
use lockgate_server::mcp::{McpFace, handle};
use lockgate_store::{Options, Store};
use lockgate_types::identity::Identity;
use serde_json::{Value, json};
use std::sync::Arc;

const GATE: &str = r#"
environment = "dev"
[[listen]]
address = "127.0.0.1:8080"
identity = { subject = "alice", agent = "bot" }
"#;

const PRINCIPALS: &str = r#"
[agent.bot]
environments = ["dev"]
[agent.other-bot]
environments = ["dev"]
[user.alice]
[user.bob]
"#;

const POLICIES: &str = r#"
@id("everything")
permit (principal, action, resource);
@id("not-that")
forbid (principal, action == Action::"old/forbidden", resource);
"#;

const OPERATIONS: &str = r#"
[tool.echo]
effect = "read"
accepted = true
schema = '{"type":"object","properties":{"text":{"type":"string"}}}'
[tool.ask]
effect = "write"
accepted = true
schema = '{"type":"object","properties":{}}'
[tool.work]
effect = "write"
accepted = true
schema = '{"type":"object","properties":{}}'
[tool.quiet]
effect = "read"
accepted = true
schema = '{"type":"object","properties":{}}'
[tool.poll]
effect = "read"
accepted = true
schema = '{"type":"object","properties":{}}'
[tool.forbidden]
effect = "write"
accepted = true
schema = '{"type":"object","properties":{}}'
"#;

/// A gate, with everything it stands on.
pub(crate) struct Gate {
    pub(crate) face: Arc<McpFace>,
    pub(crate) kernel: Kernel,
    _state: tempfile::TempDir,
}

impl Gate {
    /// A gate before upstreams at these addresses, by name.
    pub(crate) async fn before(upstreams: &[(&str, &str)]) -> Self {
        Self::limited(upstreams, "").await
    }

    /// With bounds: lines of `[limits]`.
    pub(crate) async fn limited(upstreams: &[(&str, &str)], limits: &str) -> Self {
        let state = tempfile::tempdir().unwrap();
        let now = || Clock::system().now();
        let origin = "lockgate.local/test".to_owned();
        let (store, _) = Store::open(Options::new(state.path().to_owned(), origin, now)).unwrap();
        let effects = Upstreams::new(EffectsSettings::new(state.path().to_owned()));
        let kernel = Kernel::new(store, effects, Clock::system());
        let mut gate = String::from(GATE);
        let mut files = Files::new();
        for (name, url) in upstreams {
            gate.push_str(&format!("[upstream.{name}]\nurl = \"{url}\"\n"));
            files.insert(format!("operations/{name}.toml"), OPERATIONS.into());
        }
        gate.push_str(&format!("[limits]\n{limits}"));
        files.insert("lockgate.toml".into(), gate.into());
        files.insert("principals.toml".into(), PRINCIPALS.into());
        let has_old = upstreams.iter().any(|(name, _)| *name == "old");
        let policies = POLICIES.split("@id(\"not-that\")").next().unwrap();
        let policies = if has_old { POLICIES } else { policies };
        files.insert("policies/test.cedar".into(), policies.into());
        kernel.load(files).await.unwrap_or_else(|error| panic!("{error:?}"));
        let face = McpFace::new(kernel.clone(), "test").unwrap();
        Self { face, kernel, _state: state }
    }

    /// Somebody who speaks to it.
    pub(crate) fn client(&self, subject: &str, agent: &str, path: &str) -> Client {
        let identity = self.kernel.identify(&fixed_claims(subject, agent));
        Client {
            face: Arc::clone(&self.face),
            identity: identity.unwrap_or_else(|refusal| panic!("{refusal:?}")),
            path: path.to_owned(),
            headers: HeaderMap::new(),
        }
    }

    /// Alice, with her bot.
    pub(crate) fn alice(&self, path: &str) -> Client {
        self.client("alice", "bot", path)
    }
}

/// A client of one address.
#[derive(Clone)]
pub(crate) struct Client {
    face: Arc<McpFace>,
    identity: Arc<Identity>,
    path: String,
    /// Sent with every request, besides what all clients send.
    pub(crate) headers: HeaderMap,
}

impl Client {
    /// Opens a session.
    pub(crate) async fn opened(mut self, version: &str, capabilities: Value) -> Self {
        let answer = self
            .post(json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
                "protocolVersion": version, "capabilities": capabilities,
                "clientInfo": {"name": "test", "version": "1"}}}))
            .await;
        assert_eq!(answer.status, StatusCode::OK, "{:?}", answer.json());
        assert_eq!(answer.json()["result"]["protocolVersion"], version);
        let session = answer.headers["mcp-session-id"].clone();
        self.headers.insert("mcp-session-id", session);
        self.headers.insert("mcp-protocol-version", HeaderValue::from_str(version).unwrap());
        let notification = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        assert_eq!(self.post(notification).await.status, StatusCode::ACCEPTED);
        self
    }

    /// Any request.
    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Response<Body> {
        handle(&self.face, Arc::clone(&self.identity), request).await
    }

    /// A request as clients send it, to be changed.
    pub(crate) fn request(&self, method: Method, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(body.into()));
        *request.method_mut() = method;
        *request.uri_mut() = self.path.parse().unwrap();
        let headers = request.headers_mut();
        headers.insert("accept", HeaderValue::from_static("application/json, text/event-stream"));
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        headers.extend(self.headers.clone());
        request
    }

    /// Posts a message and reads the whole answer.
    pub(crate) async fn post(&self, message: Value) -> Answer {
        Answer::whole(self.send(self.request(Method::POST, message.to_string())).await).await
    }

    /// Posts a message and reads the beginning of the answer only.
    pub(crate) async fn open(&self, message: Value) -> Events {
        Events::of(self.send(self.request(Method::POST, message.to_string())).await)
    }

    /// Opens a stream, after that event.
    pub(crate) async fn get(&self, last_event_id: Option<&str>) -> Events {
        let mut request = self.request(Method::GET, "");
        if let Some(id) = last_event_id {
            request.headers_mut().insert("last-event-id", HeaderValue::from_str(id).unwrap());
        }
        Events::of(self.send(request).await)
    }

    /// A call with a session.
    pub(crate) async fn call(&self, id: i64, method: &str, params: Value) -> Answer {
        self.post(rpc(id, method, params)).await
    }

    /// A stateless request, with everything it must carry.
    pub(crate) async fn ask(&self, id: i64, method: &str, params: Value) -> Answer {
        Answer::whole(self.send(self.stateless(id, method, params, json!({}))).await).await
    }

    /// A stateless request of a client that can do this.
    pub(crate) fn stateless(
        &self,
        id: i64,
        method: &str,
        mut params: Value,
        capabilities: Value,
    ) -> Request<Full<Bytes>> {
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": capabilities,
            "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"}});
        let name = ["name", "uri"].iter().find_map(|member| params[*member].as_str());
        let name = name.map(str::to_owned);
        let mut request = self.request(Method::POST, rpc(id, method, params).to_string());
        let headers = request.headers_mut();
        headers.insert("mcp-protocol-version", HeaderValue::from_static("2026-07-28"));
        headers.insert("mcp-method", HeaderValue::from_str(method).unwrap());
        if let Some(name) = name {
            headers.insert("mcp-name", HeaderValue::from_str(&name).unwrap());
        }
        request
    }
}

/// A JSON-RPC request.
pub(crate) fn rpc(id: i64, method: &str, params: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Bytes,
}

impl Answer {
    pub(crate) async fn whole(response: Response<Body>) -> Self {
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Self { status: head.status, headers: head.headers, bytes }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or(Value::Null)
    }

    pub(crate) fn error_number(&self) -> i64 {
        self.json()["error"]["code"].as_i64().unwrap_or_default()
    }
}

/// An event stream, read one event at a time.
pub(crate) struct Events {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    body: Body,
    text: String,
}

/// One event.
#[derive(Debug, Default)]
pub(crate) struct Event {
    pub(crate) id: Option<String>,
    pub(crate) retry: Option<u64>,
    pub(crate) data: String,
}

impl Event {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or(Value::Null)
    }
}

impl Events {
    pub(crate) fn of(response: Response<Body>) -> Self {
        let (head, body) = response.into_parts();
        Self { status: head.status, headers: head.headers, body, text: String::new() }
    }

    /// The next event, comments left out; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let event = read(event);
                self.text = rest.to_owned();
                if let Some(event) = event {
                    return Some(event);
                }
                continue;
            }
            let frame = self.body.frame().await?.unwrap().into_data().unwrap();
            self.text.push_str(std::str::from_utf8(&frame).unwrap());
        }
    }

    /// The next event with a message.
    pub(crate) async fn message(&mut self) -> Value {
        loop {
            let event = self.next().await.unwrap();
            if !event.data.is_empty() {
                return event.json();
            }
        }
    }
}

fn read(text: &str) -> Option<Event> {
    let mut event = Event::default();
    let mut is_comment = true;
    for line in text.lines() {
        let Some((field, value)) = line.split_once(": ") else { continue };
        match field {
            "id" => event.id = Some(value.to_owned()),
            "retry" => event.retry = value.parse().ok(),
            "data" => event.data = value.to_owned(),
            "event" => assert_eq!(value, "message"),
            _ => continue,
        }
        is_comment = false;
    }
    (!is_comment).then_some(event)
}
