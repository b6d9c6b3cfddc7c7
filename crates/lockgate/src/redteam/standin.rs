//! Stands in for the tools of a corpus: a small MCP server (2025-11-25) that answers each call with
//! what the corpus says was answered, and remembers what it was asked.

use super::bundle::upstream;
use super::corpus::Corpus;
use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use lockgate_types::{Json, JsonLimits, Object};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpListener;

/// What comes next, and what came.
#[derive(Default)]
struct State {
    next: Option<Result<Json, String>>,
    asked: Vec<Object>,
}

/// A stand-in that serves until it is dropped.
pub(super) struct StandIn {
    state: Arc<Mutex<State>>,
    address: String,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl StandIn {
    /// Serves the tools of a corpus at an address; port 0 takes a free one.
    pub(super) async fn start(corpus: &Corpus, address: &str) -> Result<Self> {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("serving the corpus's tools at {address}"))?;
        let address = format!("http://{}", listener.local_addr()?);
        let state = Arc::<Mutex<State>>::default();
        let tools = Arc::new(definitions(corpus));
        let shared = Arc::clone(&state);
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (tools, state) = (Arc::clone(&tools), Arc::clone(&shared));
                let service = service_fn(move |request| {
                    let (tools, state) = (Arc::clone(&tools), Arc::clone(&state));
                    async move { Ok::<_, Infallible>(answer(request, &tools, &state).await) }
                });
                let connection = hyper::server::conn::http1::Builder::new();
                tokio::spawn(connection.serve_connection(TokioIo::new(stream), service));
            }
        });
        Ok(Self { state, address, serving })
    }

    /// Where it is.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Says what the next call is answered with.
    pub(super) fn will_answer(&self, result: Result<Json, String>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.next = Some(result);
        state.asked.clear();
    }

    /// The arguments of the calls that came since.
    pub(super) fn asked(&self) -> Vec<Object> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).asked.clone()
    }
}

/// The definitions of every suite's tools, by the path at which they are served.
fn definitions(corpus: &Corpus) -> BTreeMap<String, Json> {
    let suites = corpus.suites.iter().map(|(suite, tools)| {
        let tools = tools.iter().map(|(name, tool)| {
            let open = || Json::from(Object::new().with("type", "object"));
            Object::new()
                .with("name", name.as_str())
                .with("inputSchema", tool.schema.clone().unwrap_or_else(open))
                .into()
        });
        (format!("/{}", upstream(suite)), Json::Array(tools.collect()))
    });
    suites.collect()
}

async fn answer(
    request: http::Request<Incoming>,
    tools: &BTreeMap<String, Json>,
    state: &Mutex<State>,
) -> http::Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await.map(|body| body.to_bytes());
    let message = body.ok().and_then(|body| Json::parse(&body, &JsonLimits::MESSAGE).ok());
    let Some(message) = message else { return status(405) };
    let Some(id) = message.get("id") else { return status(202) };
    let empty = Object::new();
    let params = message.get("params").and_then(Json::as_object).unwrap_or(&empty);
    let result = match message.get("method").and_then(Json::as_str) {
        Some("initialize") => Object::new()
            .with("protocolVersion", "2025-11-25")
            .with("capabilities", Object::new().with("tools", Object::new()))
            .with("serverInfo", Object::new().with("name", "corpus").with("version", "1"))
            .into(),
        Some("tools/list") => Object::new()
            .with("tools", tools.get(&path).cloned().unwrap_or(Json::Array(Vec::new())))
            .into(),
        Some("tools/call") => call(params, state),
        _ => Object::new().into(),
    };
    let message =
        Object::new().with("jsonrpc", "2.0").with("id", id.clone()).with("result", result);
    let body = Full::new(Bytes::from(Json::from(message).to_bytes()));
    let mut response = http::Response::new(body);
    let kind = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    response
}

fn call(params: &Object, state: &Mutex<State>) -> Json {
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    let arguments = params.get("arguments").and_then(Json::as_object).cloned();
    state.asked.push(arguments.unwrap_or_default());
    let next = state.next.clone().unwrap_or_else(|| Err("nothing is known".to_owned()));
    let block = |text: String| vec![Object::new().with("type", "text").with("text", text).into()];
    match next {
        Ok(value) => {
            let text = match &value {
                Json::String(text) => text.clone(),
                other => String::from_utf8_lossy(&other.to_bytes()).into_owned(),
            };
            Object::new()
                .with("content", block(text))
                .with("structuredContent", Object::new().with("result", value))
                .into()
        }
        Err(error) => Object::new().with("content", block(error)).with("isError", true).into(),
    }
}

fn status(code: u16) -> http::Response<Full<Bytes>> {
    let mut response = http::Response::new(Full::default());
    *response.status_mut() = http::StatusCode::from_u16(code).unwrap_or_default();
    response
}
