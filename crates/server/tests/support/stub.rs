//! Small upstreams: one of each era.

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use tokio::sync::{Notify, mpsc, oneshot};

type Reply = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// An upstream.
pub(crate) struct Stub {
    pub(crate) url: String,
    pub(crate) state: Arc<State>,
}

/// What tests look at and steer.
#[derive(Default)]
pub(crate) struct State {
    is_stateless: bool,
    asked: Mutex<HashMap<String, oneshot::Sender<Value>>>,
    /// Every request that came, in order.
    pub(crate) seen: Mutex<Vec<Value>>,
    /// Lets `work` and `quiet` come to their end.
    pub(crate) go: Notify,
    polled: Mutex<Value>,
    /// Told of every request.
    pub(crate) came: Notify,
    /// Speaks on every open stream outside of calls.
    pub(crate) listeners: Mutex<Vec<mpsc::UnboundedSender<Bytes>>>,
    pub(crate) listening: Notify,
}

impl Stub {
    /// An upstream with sessions.
    pub(crate) async fn with_sessions() -> Self {
        Self::start(false).await
    }

    /// A stateless upstream.
    pub(crate) async fn stateless() -> Self {
        Self::start(true).await
    }

    async fn start(is_stateless: bool) -> Self {
        let state = Arc::new(State { is_stateless, ..State::default() });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let state = Arc::clone(&shared);
                tokio::spawn(async move {
                    let service = hyper::service::service_fn(|request| serve(&state, request));
                    let builder = hyper::server::conn::http1::Builder::new();
                    let _ = builder.serve_connection(TokioIo::new(socket), service).await;
                });
            }
        });
        Self { url, state }
    }

    /// How many requests of a method came.
    pub(crate) fn count(&self, method: &str) -> usize {
        let seen = self.state.seen.lock().unwrap();
        seen.iter().filter(|message| message["method"] == method).count()
    }

    /// Waits until a request of a method came.
    pub(crate) async fn has_seen(&self, method: &str) {
        while self.count(method) == 0 {
            self.state.came.notified().await;
        }
    }

    /// Says something on every open stream outside of calls.
    pub(crate) fn say(&self, message: &Value) {
        let event = Bytes::from(format!("data: {message}\n\n"));
        for listener in self.state.listeners.lock().unwrap().iter() {
            let _ = listener.send(event.clone());
        }
    }

    /// Waits until somebody listens.
    pub(crate) async fn is_listened_to(&self) {
        loop {
            let listening = self.state.listening.notified();
            if !self.state.listeners.lock().unwrap().is_empty() {
                return;
            }
            listening.await;
        }
    }
}

async fn serve(state: &Arc<State>, request: Request<Incoming>) -> Result<Reply, Infallible> {
    let (head, body) = request.into_parts();
    if head.method == Method::GET && !state.is_stateless {
        return Ok(match head.headers.contains_key("last-event-id") {
            true => resume(state),
            false => listen(state, None),
        });
    }
    if head.method != Method::POST {
        return Ok(status(StatusCode::METHOD_NOT_ALLOWED));
    }
    let bytes = body.collect().await.unwrap().to_bytes();
    let message: Value = serde_json::from_slice(&bytes).unwrap();
    state.seen.lock().unwrap().push(message.clone());
    state.came.notify_one();
    let Some(method) = message["method"].as_str() else {
        let id = message["id"].to_string();
        if let Some(asked) = state.asked.lock().unwrap().remove(&id) {
            let _ = asked.send(message);
        }
        return Ok(status(StatusCode::ACCEPTED));
    };
    if message["id"].is_null() {
        return Ok(status(StatusCode::ACCEPTED));
    }
    if state.is_stateless && method == "initialize" {
        return Ok(error(&message, StatusCode::NOT_FOUND, -32601));
    }
    if !state.is_stateless && method == "server/discover" {
        return Ok(error(&message, StatusCode::BAD_REQUEST, -32601));
    }
    Ok(answer(state, method, &message).await)
}

async fn answer(state: &Arc<State>, method: &str, message: &Value) -> Reply {
    let tool = |name: &str| {
        json!({"name": name, "inputSchema": {"type": "object", "x-kept": [1.5]},
               "annotations": {"futureHint": true}})
    };
    let capabilities = json!({"tools": {"listChanged": true}, "prompts": {}, "logging": {},
        "resources": {"subscribe": true, "listChanged": true}, "completions": {}});
    match method {
        "initialize" => {
            let mut reply = result(
                state,
                message,
                json!({
                "protocolVersion": message["params"]["protocolVersion"],
                "capabilities": capabilities, "serverInfo": {"name": "stub", "version": "1"},
                "instructions": "be kind"}),
            );
            reply.headers_mut().insert("mcp-session-id", "up-1".parse().unwrap());
            reply
        }
        "server/discover" => result(
            state,
            message,
            json!({
            "supportedVersions": ["2026-07-28"], "capabilities": capabilities, "ttlMs": 5,
            "cacheScope": "public",
            "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "stub", "version": "1"}}}),
        ),
        "tools/list" => {
            let names =
                ["echo", "ask", "work", "quiet", "poll", "forbidden", "undeclared", "twin", "twin"];
            let tools = names.map(tool);
            listed(state, message, "tools", json!(tools))
        }
        "resources/list" => {
            let uri = if state.is_stateless { "new://one" } else { "old://one" };
            listed(state, message, "resources", json!([{"uri": uri, "name": "one"}]))
        }
        "resources/templates/list" => listed(state, message, "resourceTemplates", json!([])),
        "prompts/list" => listed(state, message, "prompts", json!([{"name": "greet"}])),
        "resources/read" => result(
            state,
            message,
            json!({"contents": [
            {"uri": message["params"]["uri"], "text": "content"}],
            "ttlMs": 1, "cacheScope": "public"}),
        ),
        "prompts/get" => result(
            state,
            message,
            json!({"messages": [],
            "description": message["params"]["name"]}),
        ),
        "completion/complete" => result(state, message, json!({"completion": {"values": ["x"]}})),
        "resources/subscribe" | "logging/setLevel" | "ping" => result(state, message, json!({})),
        "subscriptions/listen" => listen(state, Some(message)),
        "tools/call" => call(state, message).await,
        _ => error(message, StatusCode::NOT_FOUND, -32601),
    }
}

async fn call(state: &Arc<State>, message: &Value) -> Reply {
    let params = &message["params"];
    match params["name"].as_str().unwrap() {
        "echo" => {
            let text = params["arguments"]["text"].clone();
            result(
                state,
                message,
                json!({"content": [{"type": "text", "text": text}],
                "x-unknown": 1.5}),
            )
        }
        "ask" if state.is_stateless && params["inputResponses"].is_null() => result(
            state,
            message,
            json!({"resultType": "input_required",
                "inputRequests": {"q": question()}, "requestState": "state of the upstream"}),
        ),
        "ask" if state.is_stateless => {
            let text = params["inputResponses"]["q"].to_string();
            result(state, message, json!({"content": [{"type": "text", "text": text}]}))
        }
        "quiet" => {
            state.go.notified().await;
            result(state, message, json!({"content": []}))
        }
        "poll" => {
            *state.polled.lock().unwrap() = message["id"].clone();
            let (sender, reply) = stream();
            let _ = sender.send("id: p-1\nretry: 5\ndata: \n\n".into());
            reply
        }
        _ => talk(state, message),
    }
}

/// The rest of a call whose stream was closed.
fn resume(state: &Arc<State>) -> Reply {
    let (sender, reply) = stream();
    let state = Arc::clone(state);
    tokio::spawn(async move {
        state.go.notified().await;
        let id = state.polled.lock().unwrap().clone();
        let result = json!({"content": [{"type": "text", "text": "polled"}]});
        let message = json!({"jsonrpc": "2.0", "id": id, "result": result});
        let _ = sender.send(format!("id: p-2\ndata: {message}\n\n").into());
    });
    reply
}

fn question() -> Value {
    json!({"method": "elicitation/create", "params": {"message": "well?",
        "requestedSchema": {"type": "object", "properties": {}}}})
}

/// A call that is answered by a stream.
fn talk(state: &Arc<State>, message: &Value) -> Reply {
    let (sender, reply) = stream();
    let (state, message) = (Arc::clone(state), message.clone());
    tokio::spawn(async move {
        let say = |value: Value| sender.send(format!("data: {value}\n\n").into());
        let token = message["params"]["_meta"]["progressToken"].clone();
        let progress = |progress: i64| {
            json!({"jsonrpc": "2.0", "method": "notifications/progress",
                "params": {"progressToken": token, "progress": progress}})
        };
        let text = match message["params"]["name"].as_str().unwrap() {
            "ask" => {
                let id = format!("q-{}", message["id"]);
                let (answer, answered) = oneshot::channel();
                state.asked.lock().unwrap().insert(json!(id).to_string(), answer);
                let mut request = question();
                request["jsonrpc"] = json!("2.0");
                request["id"] = json!(id);
                let _ = say(request);
                let answer = answered.await.unwrap();
                answer["result"].to_string()
            }
            _ => {
                let _ = say(progress(1));
                let _ = say(progress(2));
                state.go.notified().await;
                "done".to_owned()
            }
        };
        let body = json!({"content": [{"type": "text", "text": text}]});
        let _ = say(json!({"jsonrpc": "2.0", "id": message["id"], "result": body}));
    });
    reply
}

fn listen(state: &Arc<State>, request: Option<&Value>) -> Reply {
    let (sender, reply) = stream();
    if let Some(request) = request {
        let acknowledged = json!({"jsonrpc": "2.0",
            "method": "notifications/subscriptions/acknowledged", "params": {
                "notifications": request["params"]["notifications"],
                "_meta": {"io.modelcontextprotocol/subscriptionId": request["id"]}}});
        let _ = sender.send(format!("data: {acknowledged}\n\n").into());
    }
    state.listeners.lock().unwrap().push(sender);
    state.listening.notify_waiters();
    reply
}

fn stream() -> (mpsc::UnboundedSender<Bytes>, Reply) {
    let (sender, receiver) = mpsc::unbounded_channel::<Bytes>();
    let frames = futures_util::stream::unfold(receiver, |mut receiver| async {
        let bytes = receiver.recv().await?;
        Some((Ok::<_, Infallible>(Frame::data(bytes)), receiver))
    });
    let mut reply = Response::new(StreamBody::new(frames).boxed_unsync());
    reply.headers_mut().insert("content-type", "text/event-stream".parse().unwrap());
    (sender, reply)
}

fn listed(state: &State, message: &Value, member: &str, items: Value) -> Reply {
    let mut list = json!({"ttlMs": 5, "cacheScope": "public"});
    if !state.is_stateless {
        list = json!({});
    }
    list[member] = items;
    result(state, message, list)
}

fn result(state: &State, message: &Value, mut result: Value) -> Reply {
    if state.is_stateless && result["resultType"].is_null() {
        result["resultType"] = json!("complete");
    }
    body(StatusCode::OK, &json!({"jsonrpc": "2.0", "id": message["id"], "result": result}))
}

fn error(message: &Value, status: StatusCode, number: i64) -> Reply {
    let error = json!({"code": number, "message": "no such method"});
    body(status, &json!({"jsonrpc": "2.0", "id": message["id"], "error": error}))
}

fn body(status: StatusCode, json: &Value) -> Reply {
    let mut reply = Response::new(Full::new(Bytes::from(json.to_string())).boxed_unsync());
    *reply.status_mut() = status;
    reply.headers_mut().insert("content-type", "application/json".parse().unwrap());
    reply
}

fn status(status: StatusCode) -> Reply {
    let mut reply = Response::new(Full::new(Bytes::new()).boxed_unsync());
    *reply.status_mut() = status;
    reply
}
