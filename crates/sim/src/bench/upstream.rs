//! A tool server that costs as little as a tool server can: two tools, both eras, an answer with
//! personal data.

use anyhow::Result;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use lockgate_types::{Json, JsonLimits, Object};
use std::convert::Infallible;
use tokio::net::TcpListener;

/// Listens on a free port of loopback, prints it, and serves until killed.
pub async fn serve() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    super::machine::announce(listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            let service = service_fn(answer);
            let mut http = hyper::server::conn::http1::Builder::new();
            http.pipeline_flush(true).serve_connection(TokioIo::new(stream), service).await
        });
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.method() != Method::POST {
        return Ok(status(StatusCode::METHOD_NOT_ALLOWED));
    }
    let Ok(body) = request.into_body().collect().await else {
        return Ok(status(StatusCode::BAD_REQUEST));
    };
    let Ok(message) = Json::parse(&body.to_bytes(), &JsonLimits::MESSAGE) else {
        return Ok(status(StatusCode::BAD_REQUEST));
    };
    let Some(id) = message.get("id").cloned() else { return Ok(status(StatusCode::ACCEPTED)) };
    let method = message.get("method").and_then(Json::as_str).unwrap_or_default();
    let is_stateless = message
        .at(&["params", "_meta"])
        .is_some_and(|meta| meta.get("io.modelcontextprotocol/protocolVersion").is_some());
    let Some(result) = result(method, &message, is_stateless) else {
        let error = Object::new().with("code", -32601).with("message", "method not found");
        let status = if is_stateless { StatusCode::NOT_FOUND } else { StatusCode::OK };
        return Ok(reply(status, id, "error", error));
    };
    let mut response = reply(StatusCode::OK, id, "result", result);
    if method == "initialize" {
        let session = hyper::header::HeaderValue::from_static("bench");
        response.headers_mut().insert("mcp-session-id", session);
    }
    Ok(response)
}

fn status(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

fn reply(status: StatusCode, id: Json, member: &str, value: Object) -> Response<Full<Bytes>> {
    let message = Object::new().with("jsonrpc", "2.0").with("id", id).with(member, value);
    let mut response = Response::new(Full::from(Json::from(message).to_bytes()));
    *response.status_mut() = status;
    let json = hyper::header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, json);
    response
}

fn result(method: &str, message: &Json, is_stateless: bool) -> Option<Object> {
    let capabilities = Object::new().with("tools", Object::new());
    let info = Object::new().with("name", "bench").with("version", "1.0.0");
    let mut result = match method {
        "initialize" => Object::new()
            .with("protocolVersion", "2025-11-25")
            .with("capabilities", capabilities)
            .with("serverInfo", info),
        "server/discover" => Object::new()
            .with("supportedVersions", vec!["2026-07-28".into()])
            .with("capabilities", capabilities)
            .with("ttlMs", 60_000)
            .with("cacheScope", "public"),
        "ping" => Object::new(),
        "tools/list" => {
            let list = Object::new().with("tools", definitions());
            if is_stateless {
                list.with("ttlMs", 60_000).with("cacheScope", "public")
            } else {
                list
            }
        }
        "tools/call" => call(message)?,
        _ => return None,
    };
    if is_stateless {
        result.set("resultType", "complete");
    }
    Some(result)
}

/// What a tool returns: a record with an address that policy has redacted, as structure and as
/// text.
fn call(message: &Json) -> Option<Object> {
    let arguments = message.at(&["params", "arguments"])?;
    let record = Object::new()
        .with("customer", Object::new().with("email", "ada@analytical.example"))
        .with("id", arguments.get("customer").cloned().unwrap_or(Json::Null))
        .with("name", "Ada Lovelace")
        .with("plan", "business");
    let record = Json::from(record);
    let block = Object::new().with("type", "text").with("text", record.to_string());
    Some(Object::new().with("content", vec![block.into()]).with("structuredContent", record))
}

/// The tools, as `tools/list` shows them: two operations of the fixture's bundle.
fn definitions() -> Vec<Json> {
    let tool = |name: &str, is_read: bool| {
        Object::new()
            .with("name", name)
            .with("inputSchema", Object::new().with("type", "object"))
            .with("annotations", Object::new().with("readOnlyHint", is_read))
            .into()
    };
    vec![tool("op2", true), tool("op3", false)]
}
