//! The way of one call to a provider of models: one request, and its answer, whole or in events.
//!
//! What is sent is the body that was decided, and the headers that were decided with it. Events are
//! passed on as they arrive: what they mean, and which of them a client may see, is for others. An
//! answer that is no success is an answer all the same, since clients read the provider's own
//! words; what it shows of the provider, its circuit breakers are told.

use crate::breaker::{Watch, shown};
use crate::credential::Worn;
use crate::exchange::{Command, End, FarEnd, Signal};
use crate::http::{ERROR_BODY_BYTES_MAX, Http, Kind, chain, kind};
use crate::perform::{admit, note};
use crate::post::unexpected;
use crate::progress::Progress;
use crate::trouble::{Came, Trouble, stopped};
use crate::upstream::{Upstream, Way};
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::uri::{PathAndQuery, Uri};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming};
use lockgate_core::breaker::Shown;
use lockgate_core::declare;
use lockgate_store::Pass;
use lockgate_types::call::Call;
use lockgate_types::model::ModelApi;
use lockgate_types::{Code, Json, JsonLimits, Object};
use lockgate_wire::sse::{SseDecoder, SseEvent, SseLimits};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

/// The member of a model call's result with the status of its answer.
pub const STATUS: &str = "status";
/// The member with the headers of its answer that clients read.
pub const HEADERS: &str = "headers";
/// The member with the body of its answer.
pub const BODY: &str = "body";
/// The method by which a function of a client's is performed.
const HANDED_OUT: &str = "tools/call";
/// Bytes that may pass without one event: comments that keep a connection alive are few.
const BYTES_WITHOUT_EVENT_MAX: usize = 1 << 20;
/// Pieces of a stream that go on together.
const TOGETHER_MAX: usize = 64;
/// Bytes of such pieces after which no more are added.
const TOGETHER_BYTES_MAX: usize = 32 << 10;
/// What a line and an event may have besides what they carry.
const EVENT_EXTRA_BYTES: usize = 4096;
/// How often the clock is looked at while the deadline may move.
const STEP: Duration = Duration::from_secs(1);
/// Bytes of one header that is passed back.
const HEADER_BYTES_MAX: usize = 1024;
/// Headers of an answer that clients read, beside those that begin with [`TOLD_PREFIXES`].
const TOLD: [&str; 5] =
    ["request-id", "x-request-id", "retry-after", "retry-after-ms", "x-should-retry"];
const TOLD_PREFIXES: [&str; 4] = ["x-ratelimit-", "anthropic-", "openai-", "x-openai-"];

/// A provider of models.
pub(crate) struct Provider {
    http: Http,
    declared: declare::Provider,
    /// How long the first piece of an answer may take, and each further one, where the registry
    /// says nothing else of what answers.
    first: Duration,
    gap: Duration,
}

impl Provider {
    pub(crate) fn new(http: Http, declared: &declare::Provider, timeout: Duration) -> Self {
        let ms = |ms: Option<u32>| ms.map_or(timeout, |ms| Duration::from_millis(u64::from(ms)));
        let (first, gap) = (ms(declared.first_token_ms), ms(declared.gap_ms));
        Self { http, declared: declared.clone(), first, gap }
    }

    /// The address of a call: below that of the provider.
    fn address(&self, call: &Call) -> Result<Uri, Trouble> {
        let nowhere = || Trouble::before(Code::InvariantBroken, "it has no address");
        let api = ModelApi::from_method(&call.method).ok_or_else(nowhere)?;
        let id = call.params.get("model").and_then(Json::as_str).unwrap_or_default();
        let base = self.http.uri();
        let target = self.declared.target(api, id);
        let path = format!("{}{target}", base.path().trim_end_matches('/'));
        let mut parts = base.clone().into_parts();
        parts.path_and_query = PathAndQuery::try_from(path).ok();
        Uri::from_parts(parts).map_err(|_| nowhere())
    }
}

/// How a request was answered.
struct Replied {
    status: StatusCode,
    reply: Json,
}

/// Performs a call that a recorded decision allows, to its end.
pub(crate) async fn perform(
    upstream: Arc<Upstream>,
    call: Call,
    (pass, watch): (Option<Pass>, Watch),
    far: FarEnd,
) {
    let mut far = far;
    far.pass = pass;
    if call.method == HANDED_OUT {
        // A function of the client's, that a model has proposed: that the client gets it is all
        // that is done.
        if let Some(pass) = &far.pass {
            pass.ready().await;
        }
        let left = far.pass.as_ref().map_or(Ok(()), Pass::leave);
        let end = match left {
            Ok(()) => End::Result(handed_out()),
            Err(stop) => stopped(&stop).into_end(),
        };
        watch.over(Shown::Nothing);
        far.say(Signal::End(end)).await;
        return;
    }
    let ended = match admit(&upstream, &far.speaker, false) {
        Ok(_place) => answered(&upstream, &call, &mut far).await,
        Err(trouble) => Err(trouble),
    };
    let (end, showed) = match ended {
        Ok(Replied { status, reply }) => {
            let showed = match status {
                status if status.is_server_error() => Shown::Failure(Code::UpstreamUnreachable),
                StatusCode::TOO_MANY_REQUESTS | StatusCode::UNAUTHORIZED => Shown::Nothing,
                _ => Shown::Answer,
            };
            match showed {
                Shown::Answer => upstream.pulse.is_well(),
                _ => note(&upstream, &unexpected(status)),
            }
            (End::Result(reply), showed)
        }
        Err(trouble) => {
            note(&upstream, &trouble);
            let showed = shown(&trouble);
            (trouble.into_end(), showed)
        }
    };
    watch.over(showed);
    far.say(Signal::End(end)).await;
}

async fn answered(upstream: &Upstream, call: &Call, far: &mut FarEnd) -> Result<Replied, Trouble> {
    let Way::Model(provider) = &upstream.way else {
        return Err(Trouble::before(Code::InvariantBroken, "it is no provider of models"));
    };
    if let Some(pass) = &far.pass {
        pass.ready().await;
    }
    let ms = |ms: u32| Duration::from_millis(u64::from(ms));
    let own = call.model.as_ref().and_then(|asked| asked.deadlines);
    let total = own.map_or(upstream.timeout, |own| ms(own.total_ms));
    let progress = Progress::within(Some(total));
    let left = Arc::new(AtomicBool::new(false));
    let journey = Journey {
        provider,
        call,
        first: own.map_or(provider.first, |own| ms(own.first_token_ms)),
        gap: own.map_or(provider.gap, |own| ms(own.gap_ms)),
        left: Arc::clone(&left),
    };
    let work = pin!(async {
        progress.leaves(&upstream.fresh_id());
        journey.run(far).await
    });
    let replied = progress.bound(total.min(STEP), work).await;
    replied.map_err(|trouble| {
        let dispatched = trouble.dispatched && left.load(Ordering::Relaxed);
        Trouble { dispatched, ..trouble }
    })
}

/// A request as it leaves.
struct Leaving {
    address: Uri,
    headers: HeaderMap,
    body: Bytes,
    pass: Option<Pass>,
}

struct Journey<'a> {
    provider: &'a Provider,
    call: &'a Call,
    /// How long the first piece of the answer may take, and each further one.
    first: Duration,
    gap: Duration,
    /// Whether something of it has left.
    left: Arc<AtomicBool>,
}

impl Journey<'_> {
    async fn run(&self, far: &mut FarEnd) -> Result<Replied, Trouble> {
        let request = Leaving {
            address: self.provider.address(self.call)?,
            headers: self.headers()?,
            body: self.call.params.to_bytes().into(),
            pass: far.pass.clone(),
        };
        let (speaker, pass) = (far.speaker.clone(), far.pass.clone());
        let http = &self.provider.http;
        let worn = http.wear(&speaker, pass.as_ref());
        let mut worn = self.unless_cancelled(worn, far).await?;
        let mut response = self.send(&request, &worn, far).await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            // Whoever says so has done nothing with what was sent (RFC 9110 §15.5.2).
            let another = http.wear_another(&speaker, pass.as_ref(), &worn);
            worn = self.unless_cancelled(another, far).await?;
            response = self.send(&request, &worn, far).await?;
        }
        if response.status() == StatusCode::UNAUTHORIZED {
            return Err(http.refusal(&worn));
        }
        if response.status().is_redirection() {
            return Err(unexpected(response.status()));
        }
        match kind(&response) {
            Kind::Events if response.status().is_success() => self.follow(response, far).await,
            Kind::Json | Kind::Events | Kind::Other => self.whole(response, far).await,
        }
    }

    async fn send(
        &self,
        request: &Leaving,
        worn: &Worn,
        far: &mut FarEnd,
    ) -> Result<Response<Incoming>, Trouble> {
        let address = (Method::POST, request.address.clone());
        let (headers, body) = ((request.headers.clone(), worn), Some(request.body.clone()));
        let out = (request.pass.clone(), &self.left);
        let sending = self.provider.http.exchange(address, headers, body, out);
        self.soon(self.first, sending, far).await
    }

    fn headers(&self) -> Result<HeaderMap, Trouble> {
        let mut headers = HeaderMap::with_capacity(8);
        let accept = HeaderValue::from_static("application/json, text/event-stream");
        headers.insert(ACCEPT, accept);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let given = self.call.model.as_ref().map(|asked| &asked.headers);
        for (name, value) in given.into_iter().flatten() {
            let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value))
            else {
                let detail = "a header that was decided cannot be written";
                return Err(Trouble::before(Code::InvariantBroken, detail));
            };
            headers.insert(name, value);
        }
        Ok(headers)
    }

    /// Something that has to come within a time.
    async fn soon<T>(
        &self,
        within: Duration,
        work: impl Future<Output = Result<T, Trouble>>,
        far: &mut FarEnd,
    ) -> Result<T, Trouble> {
        let late = |_| {
            let detail = format!("nothing came for {} ms", within.as_millis());
            Trouble::after(Code::UpstreamTimeout, detail)
        };
        tokio::time::timeout(within, self.unless_cancelled(work, far)).await.map_err(late)?
    }

    async fn unless_cancelled<T>(
        &self,
        work: impl Future<Output = Result<T, Trouble>>,
        far: &mut FarEnd,
    ) -> Result<T, Trouble> {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                command = far.command() => if let Command::Cancel { .. } = command {
                    let detail = "nobody waits for its answer any more";
                    return Err(Trouble::after(Code::CallCancelled, detail).by(Came::ByCaller));
                }
            }
        }
    }

    /// An answer in one piece.
    async fn whole(
        &self,
        response: Response<Incoming>,
        far: &mut FarEnd,
    ) -> Result<Replied, Trouble> {
        let (status, told) = (response.status(), told(response.headers()));
        let is_json = matches!(kind(&response), Kind::Json);
        let http = &self.provider.http;
        let bytes_max =
            if status.is_success() { http.answer_bytes_max } else { ERROR_BODY_BYTES_MAX };
        let body = http.body(response, bytes_max);
        let body = self.unless_cancelled(body, far).await?;
        let limits = JsonLimits { bytes_max, ..JsonLimits::MESSAGE };
        let body = match Json::parse(&body, &limits) {
            Ok(json) if is_json => json,
            // Nothing in a success that is no JSON could be looked at.
            Ok(_) | Err(_) if status.is_success() => {
                let detail = "a success whose body is no acceptable JSON";
                return Err(Trouble::after(Code::UpstreamProtocol, detail));
            }
            Ok(_) | Err(_) => Json::Null,
        };
        let reply = reply(status, told).with(BODY, body);
        Ok(Replied { status, reply: reply.into() })
    }

    /// An answer in events, passed on as they come, several at once where they come together.
    async fn follow(
        &self,
        response: Response<Incoming>,
        far: &mut FarEnd,
    ) -> Result<Replied, Trouble> {
        let (status, told) = (response.status(), told(response.headers()));
        let bytes_max = self.provider.http.answer_bytes_max;
        let mut decoder = SseDecoder::new(SseLimits {
            line_bytes_max: bytes_max.saturating_add(EVENT_EXTRA_BYTES),
            event_bytes_max: bytes_max.saturating_add(EVENT_EXTRA_BYTES),
        });
        let reply = Json::from(reply(status, told));
        far.say(Signal::Begins(reply.clone())).await;
        let mut pieces = Pieces { body: response.into_body(), ended: None };
        let (mut all, mut fruitless) = (0_usize, 0_usize);
        let mut within = self.first;
        loop {
            let next = async { Ok(pieces.next().await) };
            let together = match self.soon(within, next, far).await? {
                Ok(none) if none.is_empty() && decoder.is_within_event() => {
                    let detail = "the stream ended within an event";
                    return Err(Trouble::after(Code::UpstreamTruncated, detail));
                }
                Ok(none) if none.is_empty() => return Ok(Replied { status, reply }),
                Err(error) => {
                    let detail = format!("the stream broke: {}", chain(&error));
                    return Err(Trouble::after(Code::UpstreamTruncated, detail));
                }
                Ok(together) => together,
            };
            within = self.gap;
            let mut events: Vec<SseEvent> = Vec::new();
            let bytes: usize = together.iter().map(Bytes::len).sum();
            all = all.saturating_add(bytes);
            fruitless = fruitless.saturating_add(bytes);
            let read = together.iter().try_for_each(|piece| decoder.push(piece, &mut events));
            if all > bytes_max {
                let detail = format!("the answer is longer than {bytes_max} bytes");
                return Err(Trouble::after(Code::UpstreamTooLarge, detail));
            }
            if !events.is_empty() {
                fruitless = 0;
                far.say(Signal::Events(events)).await;
            } else if fruitless > bytes_max.min(BYTES_WITHOUT_EVENT_MAX) {
                let detail = "the stream goes on without an event";
                return Err(Trouble::after(Code::UpstreamProtocol, detail));
            }
            // What came before is passed on.
            read.map_err(|error| {
                Trouble::after(error.code(), format!("the stream is unreadable: {error}"))
            })?;
        }
    }
}

/// The body of an answer in events, as it arrives.
struct Pieces {
    body: Incoming,
    /// How it ended, where that came together with its last pieces.
    ended: Option<Result<(), hyper::Error>>,
}

impl Pieces {
    /// The next pieces: those that have arrived together. Nothing: it is over.
    ///
    /// A connection hands on one piece at a time, and what each event costs on its way to a client
    /// is mostly that it goes alone. So, with one at hand, the connection has another turn, as long
    /// as it has more.
    async fn next(&mut self) -> Result<Vec<Bytes>, hyper::Error> {
        let mut together = Vec::new();
        let mut bytes = 0;
        while self.ended.is_none() {
            let frame = match together.is_empty() {
                true => self.body.frame().await,
                false => match self.at_hand().await {
                    Some(frame) => frame,
                    None => return Ok(together),
                },
            };
            match frame.transpose() {
                Ok(None) => self.ended = Some(Ok(())),
                Err(error) => self.ended = Some(Err(error)),
                Ok(Some(frame)) => {
                    let Ok(piece) = frame.into_data() else { continue };
                    bytes += piece.len();
                    together.push(piece);
                    if together.len() >= TOGETHER_MAX || bytes >= TOGETHER_BYTES_MAX {
                        return Ok(together);
                    }
                }
            }
        }
        if together.is_empty() {
            // It stays over for whoever asks again.
            return self.ended.replace(Ok(())).unwrap_or(Ok(())).map(|()| together);
        }
        Ok(together)
    }

    /// What there is after everybody who is ready by now has had a turn. `None`: nothing yet.
    async fn at_hand(&mut self) -> Option<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let mut has_waited = false;
        std::future::poll_fn(|context| {
            if !std::mem::replace(&mut has_waited, true) {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            match Pin::new(&mut self.body).poll_frame(context) {
                Poll::Ready(frame) => Poll::Ready(Some(frame)),
                Poll::Pending => Poll::Ready(None),
            }
        })
        .await
    }
}

fn handed_out() -> Json {
    let text = Object::new().with("type", "text").with("text", "handed to the client");
    Object::new().with("content", vec![text.into()]).into()
}

fn reply(status: StatusCode, told: Object) -> Object {
    Object::new().with(STATUS, i64::from(status.as_u16())).with(HEADERS, told)
}

/// The headers of an answer that clients read.
fn told(headers: &HeaderMap) -> Object {
    let mut told = Object::new();
    for (name, value) in headers {
        let name = name.as_str();
        let is_told =
            TOLD.contains(&name) || TOLD_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
        let value = value.to_str().ok().filter(|text| text.len() <= HEADER_BYTES_MAX);
        if let Some(value) = value.filter(|_| is_told) {
            told.set(name, value);
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;
    use http_body_util::Empty;
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    async fn read(pieces: &mut Pieces) -> Vec<String> {
        let text = |piece: Bytes| String::from_utf8(piece.to_vec()).unwrap();
        match pieces.next().await {
            Ok(together) => together.into_iter().map(text).collect(),
            Err(_) => vec!["broken".to_owned()],
        }
    }

    /// An answer whose head is there, and where the rest of it is written.
    async fn answering() -> (Pieces, DuplexStream) {
        let (near, mut far) = tokio::io::duplex(1 << 16);
        let near = TokioIo::new(near);
        let (mut asks, connection) = hyper::client::conn::http1::handshake(near).await.unwrap();
        tokio::spawn(connection);
        let asked = asks.send_request(Request::new(Empty::<Bytes>::new()));
        let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        let answers = async {
            assert_ne!(far.read_buf(&mut Vec::with_capacity(1024)).await.unwrap(), 0);
            far.write_all(head).await.unwrap();
        };
        let (response, ()) = tokio::join!(asked, answers);
        (Pieces { body: response.unwrap().into_body(), ended: None }, far)
    }

    #[tokio::test]
    async fn pieces_that_arrive_together_go_on_together_and_before_how_it_ends() {
        for (end, ended) in [("0\r\n\r\n", None), ("no length\r\n", Some("broken"))] {
            let (mut pieces, mut far) = answering().await;
            far.write_all(b"1\r\na\r\n1\r\nb\r\n1\r\nc\r\n").await.unwrap();
            assert_eq!(read(&mut pieces).await, ["a", "b", "c"]);
            far.write_all(format!("1\r\nd\r\n{end}").as_bytes()).await.unwrap();
            assert_eq!(read(&mut pieces).await, ["d"]);
            assert_eq!(read(&mut pieces).await, Vec::from_iter(ended));
            assert!(read(&mut pieces).await.is_empty());
        }
    }

    #[tokio::test]
    async fn what_goes_on_together_is_bounded() {
        let (mut pieces, mut far) = answering().await;
        far.write_all("1\r\na\r\n".repeat(TOGETHER_MAX + 1).as_bytes()).await.unwrap();
        assert_eq!(read(&mut pieces).await.len(), TOGETHER_MAX);
        assert_eq!(read(&mut pieces).await.len(), 1);
    }
}
