//! An upstream with sessions on loopback that answers as a test says.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use lockgate_types::{Json, JsonLimits};
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc, watch};

pub(crate) type Reply = Response<BoxBody<Bytes, Infallible>>;
pub(crate) type Later = Pin<Box<dyn Future<Output = Reply> + Send>>;

/// A message as the upstream got it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Exactly what arrived.
    pub(crate) bytes: Bytes,
    pub(crate) body: Json,
    pub(crate) headers: http::HeaderMap,
}

impl Seen {
    pub(crate) fn method(&self) -> &str {
        self.body.get("method").and_then(Json::as_str).unwrap_or("")
    }

    pub(crate) fn id(&self) -> String {
        self.body.get("id").map(Json::to_string).unwrap_or_default()
    }

    pub(crate) fn tool(&self) -> &str {
        self.body.at(&["params", "name"]).and_then(Json::as_str).unwrap_or("")
    }
}

/// The upstream.
pub(crate) struct Fake {
    pub(crate) url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    count: watch::Receiver<usize>,
    outside: Arc<Mutex<Option<Reply>>>,
    opening: Opening,
}

/// Says that a session is being opened, and waits.
type Opening = Arc<Mutex<Option<(Arc<Notify>, Arc<Notify>)>>>;

impl Fake {
    /// Answers calls with `handler`; everything about sessions by itself.
    pub(crate) async fn start<H>(tools: &str, handler: H) -> Self
    where
        H: Fn(Seen) -> Later + Send + Sync + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (counter, count) = watch::channel(0);
        let (handler, log, counter) = (Arc::new(handler), Arc::clone(&seen), Arc::new(counter));
        let outside: Arc<Mutex<Option<Reply>>> = Arc::default();
        let opening: Opening = Arc::default();
        let open = Arc::clone(&opening);
        let (tools, stream_outside) = (tools.to_owned(), Arc::clone(&outside));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (handler, log) = (Arc::clone(&handler), Arc::clone(&log));
                let (counter, tools) = (Arc::clone(&counter), tools.clone());
                let (outside, open) = (Arc::clone(&stream_outside), Arc::clone(&open));
                let service = service_fn(move |request: Request<Incoming>| {
                    let (handler, log) = (Arc::clone(&handler), Arc::clone(&log));
                    let (counter, tools) = (Arc::clone(&counter), tools.clone());
                    let (outside, open) = (Arc::clone(&outside), Arc::clone(&open));
                    async move {
                        if request.method() == "GET" {
                            let stream = outside.lock().unwrap().take();
                            return Ok(stream.unwrap_or_else(|| reply(405, "text/plain", "")));
                        }
                        let is_post = request.method() == "POST";
                        let seen = read(request).await;
                        log.lock().unwrap().push(seen.clone());
                        counter.send_modify(|count| *count += 1);
                        let waits = open.lock().unwrap().clone();
                        if let Some((reached, release)) = waits
                            && seen.method() == "initialize"
                        {
                            reached.notify_one();
                            release.notified().await;
                            *open.lock().unwrap() = None;
                        }
                        let reply = match own(&seen, is_post, &tools) {
                            Some(reply) => reply,
                            None => handler(seen).await,
                        };
                        Ok::<_, Infallible>(reply)
                    }
                });
                let http = hyper::server::conn::http1::Builder::new();
                tokio::spawn(http.serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { url, seen, count, outside, opening }
    }

    /// Opens its next session only when it is told to, and says when it was asked.
    pub(crate) fn hold_opening(&self, reached: &Arc<Notify>, release: &Arc<Notify>) {
        *self.opening.lock().unwrap() = Some((Arc::clone(reached), Arc::clone(release)));
    }

    /// What it says outside of calls goes through this stream, once somebody listens.
    pub(crate) fn speak_outside(&self) -> Events {
        let (stream, reply) = events();
        *self.outside.lock().unwrap() = Some(reply);
        stream
    }

    /// The messages with that method; the empty one is that of answers.
    pub(crate) fn of(&self, method: &str) -> Vec<Seen> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|seen| seen.method() == method).cloned().collect()
    }

    /// Waits until so many messages with that method were seen.
    pub(crate) async fn until(&self, method: &str, count: usize) -> Vec<Seen> {
        let mut changes = self.count.clone();
        loop {
            let seen = self.of(method);
            if seen.len() >= count {
                return seen;
            }
            changes.changed().await.unwrap();
        }
    }
}

async fn read(request: Request<Incoming>) -> Seen {
    let headers = request.headers().clone();
    let bytes = request.into_body().collect().await.unwrap().to_bytes();
    let body = Json::parse(&bytes, &JsonLimits::MESSAGE).unwrap_or(Json::Null);
    Seen { bytes, body, headers }
}

/// What a server with sessions does around its calls.
fn own(seen: &Seen, is_post: bool, tools: &str) -> Option<Reply> {
    match seen.method() {
        _ if !is_post => Some(reply(405, "text/plain", "")),
        "initialize" => {
            let result = r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"fake","version":"1"}}"#;
            let mut reply = answer(seen, result);
            reply.headers_mut().insert("mcp-session-id", "s-1".parse().unwrap());
            Some(reply)
        }
        "server/discover" => Some(reply(400, "text/plain", "no session")),
        "tools/list" => Some(answer(seen, &format!(r#"{{"tools":{tools}}}"#))),
        method if method.starts_with("notifications/") => Some(reply(202, "text/plain", "")),
        _ => None,
    }
}

pub(crate) fn reply(status: u16, kind: &str, body: &str) -> Reply {
    Response::builder()
        .status(status)
        .header("content-type", kind)
        .body(Full::new(Bytes::from(body.to_owned())).boxed())
        .unwrap()
}

pub(crate) fn accepted() -> Reply {
    reply(202, "text/plain", "")
}

pub(crate) fn answer(seen: &Seen, result: &str) -> Reply {
    let body = format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, seen.id());
    reply(200, "application/json", &body)
}

pub(crate) fn error(seen: &Seen, error: &str) -> Reply {
    let body = format!(r#"{{"jsonrpc":"2.0","id":{},"error":{error}}}"#, seen.id());
    reply(200, "application/json", &body)
}

/// Answers everything with a text, at once.
pub(crate) fn says(text: &'static str) -> impl Fn(Seen) -> Later + Send + Sync + 'static {
    move |seen| Box::pin(async move { answer(&seen, &text_result(text)) })
}

pub(crate) fn text_result(text: &str) -> String {
    format!(r#"{{"content":[{{"type":"text","text":{}}}]}}"#, Json::from(text))
}

/// A stream of events that a test feeds.
pub(crate) struct Events(mpsc::UnboundedSender<String>);

impl Events {
    pub(crate) fn say(&self, message: &str) {
        self.0.send(format!("event: message\ndata: {message}\n\n")).unwrap();
    }

    pub(crate) fn finish(&self, seen: &Seen, result: &str) {
        self.say(&format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, seen.id()));
    }
}

struct Frames(mpsc::UnboundedReceiver<String>);

impl hyper::body::Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let text = self.0.poll_recv(context);
        text.map(|text| text.map(|text| Ok(Frame::data(Bytes::from(text)))))
    }
}

/// A stream of events; it ends when the first of the two is dropped.
pub(crate) fn events() -> (Events, Reply) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let reply = Response::builder()
        .status(200)
        .header("content-type", "text/event-stream")
        .body(BodyExt::boxed(Frames(receiver)))
        .unwrap();
    (Events(sender), reply)
}

/// Asks the client these things in mid-call, and answers the call when every one is answered.
pub(crate) fn asks(questions: Vec<String>) -> impl Fn(Seen) -> Later + Send + Sync + 'static {
    let calling: Arc<Mutex<Option<(Events, Seen, usize)>>> = Arc::default();
    move |seen| {
        if seen.method() == "tools/call" {
            let (stream, reply) = events();
            questions.iter().for_each(|question| stream.say(question));
            *calling.lock().unwrap() = Some((stream, seen, questions.len()));
            return Box::pin(async move { reply });
        }
        let mut calling = calling.lock().unwrap();
        if let Some((stream, call, open)) = calling.as_mut() {
            *open -= 1;
            if *open == 0 {
                stream.finish(call, &text_result("done"));
                *calling = None;
            }
        }
        Box::pin(async { accepted() })
    }
}

pub(crate) fn question(id: &str, method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":"{id}","method":"{method}","params":{params}}}"#)
}

pub(crate) fn notification(method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":{params}}}"#)
}
