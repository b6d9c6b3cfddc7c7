//! An HTTP server on loopback that answers as a test says.

use super::json;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream;
use http::{HeaderMap, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use lockgate_types::{Json, JsonLimits};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

pub(crate) type Reply = Response<BoxBody<Bytes, Infallible>>;

/// A request as the fake upstream saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) verb: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Json,
}

impl Seen {
    pub(crate) fn method(&self) -> &str {
        self.body.get("method").and_then(Json::as_str).unwrap_or("")
    }

    pub(crate) fn id(&self) -> String {
        self.body.get("id").map(Json::to_string).unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn tool(&self) -> &str {
        self.body.at(&["params", "name"]).and_then(Json::as_str).unwrap_or("")
    }
}

pub(crate) struct Fake {
    pub(crate) url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Fake {
    pub(crate) async fn start<H>(handler: H) -> Self
    where
        H: Fn(Seen) -> BoxFuture<'static, Reply> + Send + Sync + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (handler, log) = (Arc::new(handler), Arc::clone(&seen));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (handler, log) = (Arc::clone(&handler), Arc::clone(&log));
                let service = service_fn(move |request: Request<Incoming>| {
                    let (handler, log) = (Arc::clone(&handler), Arc::clone(&log));
                    async move {
                        let seen = read(request).await;
                        log.lock().unwrap().push(seen.clone());
                        Ok::<_, Infallible>(handler(seen).await)
                    }
                });
                let http = hyper::server::conn::http1::Builder::new();
                tokio::spawn(http.serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { url, seen }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The requests of that method.
    pub(crate) fn of(&self, method: &str) -> Vec<Seen> {
        self.seen().into_iter().filter(|seen| seen.method() == method).collect()
    }

    /// Waits until a request of that method was seen.
    pub(crate) async fn until(&self, method: &str) -> Seen {
        eventually(|| self.of(method).pop()).await
    }
}

/// Waits for something that other tasks bring about.
pub(crate) async fn eventually<T>(mut there: impl FnMut() -> Option<T>) -> T {
    let waiting = async {
        loop {
            if let Some(it) = there() {
                return it;
            }
            tokio::task::yield_now().await;
        }
    };
    let waiting = tokio::time::timeout(std::time::Duration::from_secs(30), waiting);
    waiting.await.expect("it never happened")
}

async fn read(request: Request<Incoming>) -> Seen {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let body = Json::parse(&body, &JsonLimits::MESSAGE).unwrap_or(Json::Null);
    Seen { verb: parts.method.to_string(), headers: parts.headers, body }
}

pub(crate) fn reply(status: u16, kind: &str, body: &str) -> Reply {
    Response::builder()
        .status(status)
        .header("content-type", kind)
        .body(Full::new(Bytes::from(body.to_owned())).boxed())
        .unwrap()
}

pub(crate) fn answer(seen: &Seen, result: &str) -> Reply {
    let body = format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, seen.id());
    reply(200, "application/json", &body)
}

pub(crate) fn error(seen: &Seen, status: u16, number: i64) -> Reply {
    let id = seen.id();
    let error = format!(r#"{{"code":{number},"message":"no","data":{{"n":1}}}}"#);
    let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#);
    reply(status, "application/json", &body)
}

pub(crate) fn accepted() -> Reply {
    Response::builder().status(202).body(Full::new(Bytes::new()).boxed()).unwrap()
}

/// A stream of events, fed through a channel; it ends when the sender is dropped.
pub(crate) fn events() -> (mpsc::UnboundedSender<String>, Reply) {
    let (sender, receiver) = mpsc::unbounded_channel::<String>();
    let frames = stream::unfold(receiver, |mut receiver| async move {
        let text = receiver.recv().await?;
        Some((Ok::<_, Infallible>(Frame::data(Bytes::from(text))), receiver))
    });
    let reply = Response::builder()
        .status(200)
        .header("content-type", "text/event-stream")
        .body(BodyExt::boxed(StreamBody::new(frames)))
        .unwrap();
    (sender, reply)
}

pub(crate) fn event(message: &str) -> String {
    format!("event: message\ndata: {message}\n\n")
}

pub(crate) fn done(seen: &Seen, result: &str) -> String {
    event(&format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, seen.id()))
}

/// What a server with sessions does around its calls; `None` if it is none of that.
pub(crate) fn session(seen: &Seen) -> Option<Reply> {
    let is_answer = seen.verb == "POST" && seen.method().is_empty();
    match (seen.verb.as_str(), seen.method()) {
        ("POST", "initialize") => {
            let result = r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"fake","version":"1"}}"#;
            let mut reply = answer(seen, result);
            reply.headers_mut().insert("mcp-session-id", "s-1".parse().unwrap());
            Some(reply)
        }
        ("POST", "server/discover") => Some(reply(400, "text/plain", "no session")),
        ("POST", method) if method.starts_with("notifications/") || is_answer => Some(accepted()),
        ("DELETE", _) => Some(reply(200, "text/plain", "")),
        _ => None,
    }
}

/// What a stateless server does around its calls.
pub(crate) fn stateless(seen: &Seen) -> Option<Reply> {
    match (seen.verb.as_str(), seen.method()) {
        ("POST", "server/discover") => Some(answer(
            seen,
            r#"{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"fake","version":"1"}}}"#,
        )),
        ("POST", "initialize") => Some(error(seen, 400, -32020)),
        ("POST", "tools/list") => Some(answer(
            seen,
            r#"{"resultType":"complete","ttlMs":60000,"cacheScope":"public","tools":[]}"#,
        )),
        ("POST", _) => None,
        _ => Some(reply(405, "text/plain", "")),
    }
}

/// A server with sessions that answers calls like this.
pub(crate) async fn with_sessions<H>(handler: H) -> Fake
where
    H: Fn(Seen) -> BoxFuture<'static, Reply> + Send + Sync + 'static,
{
    Fake::start(move |seen| match session(&seen) {
        Some(reply) => Box::pin(async move { reply }),
        None => handler(seen),
    })
    .await
}

/// A stateless server that answers calls like this.
pub(crate) async fn without_sessions<H>(handler: H) -> Fake
where
    H: Fn(Seen) -> BoxFuture<'static, Reply> + Send + Sync + 'static,
{
    Fake::start(move |seen| match stateless(&seen) {
        Some(reply) => Box::pin(async move { reply }),
        None => handler(seen),
    })
    .await
}

pub(crate) fn text(text: &str) -> String {
    json(&format!(r#"{{"content":[{{"type":"text","text":"{text}"}}]}}"#)).to_string()
}
