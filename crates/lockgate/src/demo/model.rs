//! What the demo has instead of a model: a program that answers by rote, over the chat completions
//! API on loopback.
//!
//! It looks at what it is offered and how many texts of others its prompt has, and says the next
//! thing of three. So the demo needs no provider, no key and no luck. The gate knows it as it knows any provider.

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use lockgate_types::{Json, JsonLimits, Object};
use std::convert::Infallible;
use std::net::SocketAddr;
use tokio::net::TcpListener;

/// Bytes of the largest question it reads.
const QUESTION_BYTES_MAX: usize = 4 << 20;

/// The stand-in, until it is dropped.
pub(super) struct StandIn {
    pub(super) address: SocketAddr,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl StandIn {
    /// Begins to answer, at a free port.
    pub(super) async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("serving the stand-in")?;
        let address = listener.local_addr()?;
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // The gate waits for what is written last.
                let _ = stream.set_nodelay(true);
                let service =
                    service_fn(|request| async { Ok::<_, Infallible>(heard(request).await) });
                let connection = hyper::server::conn::http1::Builder::new();
                tokio::spawn(connection.serve_connection(TokioIo::new(stream), service));
            }
        });
        Ok(Self { address, serving })
    }
}

async fn heard(request: http::Request<Incoming>) -> http::Response<Full<Bytes>> {
    let body = Limited::new(request.into_body(), QUESTION_BYTES_MAX).collect().await;
    let body = body.map(|body| body.to_bytes()).unwrap_or_default();
    let question = Json::parse(&body, &JsonLimits::MESSAGE).unwrap_or(Json::Null);
    let mut response = http::Response::new(Full::new(Bytes::from(answer(&question).to_bytes())));
    let kind = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    response
}

/// The next thing to say, by how much it was told, and whether it can search.
fn answer(question: &Json) -> Json {
    let (message, reason) = match (can_search(question), texts_of_others(question)) {
        (false, 0) => proposed("helpdesk__runbook_search", r#"{"query":"charge"}"#),
        (false, 1) => proposed(
            "helpdesk__refund_create",
            // tidy: allow line-length: one message, as it is sent
            r#"{"customer_id":3,"amount_cents":90000,"currency":"EUR","reason":"charged twice"}"#,
        ),
        (false, _) => said("The second charge is paid back, as the runbook says [1]."),
        (true, 0) => proposed("retrieval__search", r#"{"query":"export of a report fails"}"#),
        (true, 1) => proposed(
            "helpdesk__ticket_reply",
            r#"{"ticket_id":12,"body":"The export was restarted: your report is on its way."}"#,
        ),
        (true, _) => said("Nothing was done: the runbook is too old to rely on [1]."),
    };
    let choice = Object::new().with("index", 0).with("message", message);
    let usage = Object::new()
        .with("prompt_tokens", 300)
        .with("completion_tokens", 30)
        .with("total_tokens", 330);
    Object::new()
        .with("id", "chatcmpl-by-rote")
        .with("object", "chat.completion")
        .with("created", 0)
        .with("model", "by-rote-1")
        .with("choices", vec![choice.with("finish_reason", reason).into()])
        .with("usage", usage)
        .into()
}

/// A call that it proposes, and why it ends there.
fn proposed(tool: &str, arguments: &str) -> (Object, &'static str) {
    let function = Object::new().with("name", tool).with("arguments", arguments);
    let call =
        Object::new().with("id", "call_1").with("type", "function").with("function", function);
    let message = Object::new()
        .with("role", "assistant")
        .with("content", Json::Null)
        .with("tool_calls", vec![call.into()]);
    (message, "tool_calls")
}

/// Words, and why it ends there.
fn said(words: &str) -> (Object, &'static str) {
    (Object::new().with("role", "assistant").with("content", words), "stop")
}

/// Whether it is offered the gate's own search.
fn can_search(question: &Json) -> bool {
    let tools = question.get("tools").and_then(Json::as_array).unwrap_or_default();
    let mut names = tools.iter().filter_map(|tool| tool.at(&["function", "name"])?.as_str());
    names.any(|name| name == "retrieval__search")
}

/// How many fenced texts a prompt has.
fn texts_of_others(question: &Json) -> usize {
    let messages = question.get("messages").and_then(Json::as_array).unwrap_or_default();
    let parts = messages.iter().filter_map(|message| message.get("content")?.as_array()).flatten();
    let texts = parts.filter_map(|part| part.get("text")?.as_str());
    texts.filter(|text| text.starts_with("<<<data")).count()
}
