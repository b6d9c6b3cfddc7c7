//! The upstream's face: an MCP server with sessions on loopback, before the world's state.

use crate::life::Shared;
use crate::script::Tool;
use crate::tape::Place;
use crate::world::Message;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::Arc;
use tokio::net::TcpListener;

type Reply = Response<Full<Bytes>>;

/// Serves as long as the runtime lives.
pub(crate) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let shared = Arc::clone(&shared);
        let service = service_fn(move |request| {
            let shared = Arc::clone(&shared);
            async move { Ok::<_, Infallible>(answer(request, &shared).await) }
        });
        let http = hyper::server::conn::http1::Builder::new();
        tokio::spawn(http.serve_connection(TokioIo::new(stream), service));
    }
}

fn reply(status: u16, kind: &str, body: String) -> Reply {
    let reply = Response::builder().status(status).header("content-type", kind);
    reply.body(Full::new(Bytes::from(body))).unwrap()
}

fn result(body: &Value, result: &Value) -> Reply {
    let reply_body = json!({"jsonrpc": "2.0", "id": body["id"], "result": result});
    reply(200, "application/json", reply_body.to_string())
}

async fn answer(request: Request<Incoming>, shared: &Shared) -> Reply {
    if request.method() != "POST" {
        return reply(405, "text/plain", String::new());
    }
    let header = request.headers().get("idempotency-key");
    let key = header.and_then(|key| key.to_str().ok()).map(str::to_owned);
    let bytes = request.into_body().collect().await.map(|body| body.to_bytes());
    let body: Value = serde_json::from_slice(&bytes.unwrap_or_default()).unwrap_or_default();
    match body["method"].as_str().unwrap_or_default() {
        "initialize" => {
            let capabilities = json!({"protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
                "serverInfo": {"name": "shop", "version": "1"}});
            let mut reply = result(&body, &capabilities);
            reply.headers_mut().insert("mcp-session-id", "s-1".parse().unwrap());
            reply
        }
        "tools/list" => result(&body, &json!({"tools": []})),
        "tools/call" => call(&body, key, shared).await,
        _ => reply(202, "text/plain", String::new()),
    }
}

async fn call(body: &Value, key: Option<String>, shared: &Shared) -> Reply {
    let name = body["params"]["name"].as_str().unwrap_or_default();
    let arguments = &body["params"]["arguments"];
    let reference = arguments["reference"].as_str().map(str::to_owned).or(key);
    let Some(tool) = Tool::of(name) else {
        shared.settle().await;
        shared.come_to(Place::Asked);
        let mut tape = shared.lock();
        let found = tape.world.is_there(&reference.unwrap_or_default());
        tape.world.has_answered();
        return result(body, &json!({"content": [], "structuredContent": {"found": found}}));
    };
    let n = arguments["n"].as_u64().unwrap_or_default() as usize;
    // On its way from here on, so that it is when the disk is waited for now, too.
    let number = shared.lock().world.send(Message { tool, n, reference });
    shared.settle().await;
    shared.come_to(Place::Arrived);
    let answer = shared.lock().world.arrive(number);
    shared.come_to(Place::Performed);
    shared.lock().world.has_answered();
    match answer {
        Some(Ok(text)) => result(body, &json!({"content": [{"type": "text", "text": text}]})),
        Some(Err(problem)) => {
            let error = json!({"code": -32000, "message": problem});
            let body = json!({"jsonrpc": "2.0", "id": body["id"], "error": error});
            reply(200, "application/json", body.to_string())
        }
        None => reply(500, "text/plain", String::new()),
    }
}
