//! One request over HTTP, from its first byte to its answer: a JSON body, or a stream of events
//! that may end and be taken up again.

use crate::credential::Speaker;
use crate::events::Events;
use crate::exchange::{Command, FarEnd, Signal};
use crate::http::{ERROR_BODY_BYTES_MAX, Http, Kind, insufficient, is_refusal, kind};
use crate::progress::Progress;
use crate::session::Session;
use crate::trouble::{Came, Trouble};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use hyper::body::Incoming;
use lockgate_types::{Code, Json, JsonLimits, Object};
use lockgate_wire::headers::MirroredArgument;
use lockgate_wire::{
    Message, Notification, Request, RequestId, Response as RpcResponse, RpcError, numbers,
    stateless,
};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// How often in a row a stream may be taken up again without bringing anything.
const RESUMES_MAX: u32 = 5;
/// When to come back where the server does not say.
const RETRY_MS: u64 = 500;
/// How long an answer or a notification beside a call may take to be delivered.
const ASIDE_MAX: Duration = Duration::from_secs(10);

/// How an upstream answered a request.
#[derive(Debug)]
pub(crate) enum Answer {
    Result(Json),
    Error(RpcError),
    /// The upstream does not know the session any more, and did nothing.
    SessionGone,
}

/// One request over HTTP.
pub(crate) struct Post<'a> {
    pub(crate) http: &'a Arc<Http>,
    /// `None`: the stateless era.
    pub(crate) session: Option<&'a Session>,
    pub(crate) headers: HeaderMap,
    pub(crate) request: &'a Request,
    pub(crate) speaker: Speaker,
}

impl Post<'_> {
    /// Sends the request and stays with it until its answer.
    pub(crate) async fn run(
        mut self,
        far: &mut FarEnd,
        progress: &Progress,
    ) -> Result<Answer, Trouble> {
        let sent = self.send(far, progress).await;
        let response = sent.map_err(|trouble| trouble.if_left(progress.has_left()))?;
        let status = response.status();
        if self.session.is_some_and(Session::has_id) && status == StatusCode::NOT_FOUND {
            progress.did_not_leave();
            return Ok(Answer::SessionGone);
        }
        match kind(&response) {
            Kind::Json => self.read_answer(response).await,
            Kind::Events if status == StatusCode::OK => {
                Box::pin(self.follow(response, far, progress)).await
            }
            Kind::Events | Kind::Other => Err(unexpected(response.status())),
        }
    }

    /// Sends the request, and once more with another credential if the upstream does not accept the
    /// first: then it has done nothing with it.
    async fn send(
        &mut self,
        far: &mut FarEnd,
        progress: &Progress,
    ) -> Result<Response<Incoming>, Trouble> {
        let body = Bytes::from(self.request.to_bytes());
        let headers = std::mem::take(&mut self.headers);
        let (http, speaker, pass) = (self.http, self.speaker.clone(), far.pass.clone());
        let worn = http.wear(&speaker, pass.as_ref());
        let mut worn = self.meanwhile(worn, far, progress).await??;
        let mut is_first = true;
        loop {
            let out = (pass.clone(), progress.leaves_later(&self.request.id));
            let sending = http.post_worn(headers.clone(), body.clone(), out, &worn);
            let response = self.meanwhile(sending, far, progress).await??;
            if response.status() != StatusCode::UNAUTHORIZED {
                return Ok(response);
            }
            progress.did_not_leave();
            if !std::mem::take(&mut is_first) {
                return Err(http.refusal(&worn));
            }
            let another = http.wear_another(&speaker, pass.as_ref(), &worn);
            worn = self.meanwhile(another, far, progress).await??;
        }
    }

    /// Waits for something, doing what is asked meanwhile.
    async fn meanwhile<T>(
        &self,
        work: impl Future<Output = T>,
        far: &mut FarEnd,
        progress: &Progress,
    ) -> Result<T, Trouble> {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return Ok(done),
                command = far.command() => self.obey(command, progress)?,
            }
        }
    }

    async fn read_answer(&self, response: Response<Incoming>) -> Result<Answer, Trouble> {
        let status = response.status();
        let is_success = status.is_success();
        let http = self.http;
        let bound = if is_success { http.answer_bytes_max } else { ERROR_BODY_BYTES_MAX };
        let body = http.body(response, bound).await?;
        match read_message(&body, http.answer_bytes_max) {
            Ok(Message::Response(response)) => self.accept(response),
            Ok(_) | Err(_) if !is_success => Err(unexpected(status)),
            Ok(_) => Err(protocol("the answer is not a response")),
            Err(trouble) => Err(trouble),
        }
    }

    /// Takes a response if it is the one to this request.
    fn accept(&self, response: RpcResponse) -> Result<Answer, Trouble> {
        let is_ours = response.id.as_ref() == Some(&self.request.id);
        match response.outcome {
            Ok(result) if is_ours => Ok(Answer::Result(result)),
            // A server that could not read the id leaves it out, and here it can only mean this
            // request.
            Err(error) if is_ours || response.id.is_none() => Ok(Answer::Error(error)),
            Ok(_) | Err(_) => Err(protocol("the response has the id of another request")),
        }
    }

    /// Stays with a stream of events, taking it up again where that is possible.
    async fn follow(
        &self,
        response: Response<Incoming>,
        far: &mut FarEnd,
        progress: &Progress,
    ) -> Result<Answer, Trouble> {
        let bytes_max = self.http.answer_bytes_max;
        let mut events = Events::of(response, bytes_max);
        let mut fruitless = 0;
        loop {
            if let Some(answer) = self.listen(&mut events, far, progress).await? {
                return Ok(answer);
            }
            fruitless = if events.seen > 0 { 0 } else { fruitless + 1 };
            let (Some(session), Some(last_id)) = (self.session, events.last_id.clone()) else {
                return Err(truncated("the stream ended before the answer"));
            };
            far.say(Signal::StreamClosed { retry_ms: events.retry_ms }).await;
            loop {
                if fruitless >= RESUMES_MAX {
                    return Err(truncated("the stream ended and could not be taken up again"));
                }
                let wait = Duration::from_millis(events.retry_ms.unwrap_or(RETRY_MS));
                self.rest(wait, far, progress).await?;
                match self.take_up(session, &last_id, far, progress).await? {
                    Some(response) => {
                        events.resume(response, bytes_max);
                        break;
                    }
                    None => fruitless += 1,
                }
            }
        }
    }

    /// Waits, doing what is asked meanwhile.
    async fn rest(
        &self,
        wait: Duration,
        far: &mut FarEnd,
        progress: &Progress,
    ) -> Result<(), Trouble> {
        self.meanwhile(tokio::time::sleep(wait), far, progress).await
    }

    /// Asks for the rest of a stream. `None`: not now.
    async fn take_up(
        &self,
        session: &Session,
        last_id: &str,
        far: &mut FarEnd,
        progress: &Progress,
    ) -> Result<Option<Response<Incoming>>, Trouble> {
        let last_id = HeaderValue::from_str(last_id)
            .map_err(|_| protocol("the stream has an event id that no header can carry"))?;
        let mut headers = session.headers();
        headers.insert(LAST_EVENT_ID, last_id);
        let opening = self.http.open_stream(headers, &self.speaker);
        match self.meanwhile(opening, far, progress).await? {
            Ok(response) if response.status() == StatusCode::OK => match kind(&response) {
                Kind::Events => Ok(Some(response)),
                Kind::Json | Kind::Other => Err(truncated("the stream cannot be taken up again")),
            },
            Ok(response) if response.status().is_client_error() => {
                Err(truncated("the upstream refuses to take up the stream again"))
            }
            Ok(_) | Err(_) => Ok(None),
        }
    }

    /// Reads events until the answer, or until the stream ends.
    async fn listen(
        &self,
        events: &mut Events,
        far: &mut FarEnd,
        progress: &Progress,
    ) -> Result<Option<Answer>, Trouble> {
        loop {
            let text = tokio::select! {
                biased;
                text = events.next() => text?,
                command = far.command() => {
                    self.obey(command, progress)?;
                    continue;
                }
            };
            let Some(text) = text else { return Ok(None) };
            match read_message(text.as_bytes(), self.http.answer_bytes_max)? {
                Message::Response(response) => return self.accept(response).map(Some),
                Message::Notification(Notification { method, params, .. }) => {
                    far.say(Signal::Notification { method, params }).await;
                }
                Message::Request(request) if self.session.is_some() => {
                    self.ask(request, far, progress).await;
                }
                Message::Request(_) => {
                    return Err(protocol("requests to the client are not part of this protocol"));
                }
            }
        }
    }

    /// Passes on a question to the client.
    async fn ask(&self, request: Request, far: &FarEnd, progress: &Progress) {
        let Request { id, method, params, .. } = request;
        progress.asked();
        let unheard = id.clone();
        if !far.say(Signal::Request { id, method, params }).await {
            progress.answered();
            self.aside(answer_bytes(unheard, Err(nobody_there())));
        }
    }

    fn obey(&self, command: Command, progress: &Progress) -> Result<(), Trouble> {
        match command {
            Command::Answer { id, outcome } => {
                progress.answered();
                self.aside(answer_bytes(id, outcome));
            }
            Command::Notify { method, params } => {
                self.aside(Notification::new(method, params).to_bytes());
            }
            // In the stateless era the end of the stream is the cancellation.
            Command::Cancel { .. } if self.session.is_none() => return Err(given_up()),
            Command::Cancel { reason } => {
                progress.cancelled();
                self.aside(cancellation(&self.request.id, reason.as_deref()));
            }
        }
        Ok(())
    }

    /// Sends something beside the call, which does not wait for it.
    fn aside(&self, body: Vec<u8>) {
        if let Some(session) = self.session {
            send_aside(self.http, session.headers(), body, self.speaker.clone());
        }
    }
}

/// Delivers a message that has no answer.
pub(crate) fn send_aside(http: &Arc<Http>, headers: HeaderMap, body: Vec<u8>, speaker: Speaker) {
    let http = Arc::clone(http);
    tokio::spawn(async move {
        let delivering = deliver(&http, headers, body, &speaker);
        let delivered = tokio::time::timeout(ASIDE_MAX, delivering).await;
        if let Ok(Err(trouble)) = delivered {
            tracing::debug!(detail = trouble.detail, "a message beside a call was not delivered");
        }
    });
}

/// Delivers a message that has no answer, and waits until the upstream has it.
pub(crate) async fn deliver(
    http: &Arc<Http>,
    headers: HeaderMap,
    body: Vec<u8>,
    speaker: &Speaker,
) -> Result<(), Trouble> {
    let response = http.post(headers, body, speaker).await?;
    if !response.status().is_success() {
        return Err(unexpected(response.status()));
    }
    // Read to its end, so that the connection can be used again.
    http.body(response, ERROR_BODY_BYTES_MAX).await.map(drop)
}

/// The notification that a request is not wanted any more.
pub(crate) fn cancellation(id: &RequestId, reason: Option<&str>) -> Vec<u8> {
    let params = Object::new().with("requestId", id.to_json()).with_some("reason", reason);
    Notification::new("notifications/cancelled", params).to_bytes()
}

/// The answer to a request of the upstream's.
pub(crate) fn answer_bytes(id: RequestId, outcome: Result<Json, RpcError>) -> Vec<u8> {
    RpcResponse { id: Some(id), outcome, extra: Object::new() }.to_bytes()
}

/// The headers of a stateless request: made from the body, never from what came in.
pub(crate) fn stateless_headers(
    request: &Request,
    mirrored: &[MirroredArgument],
) -> Result<HeaderMap, Trouble> {
    let mut headers = HeaderMap::with_capacity(12);
    for (name, value) in stateless::request_headers(request, mirrored) {
        let name = HeaderName::try_from(name);
        let value = HeaderValue::try_from(value);
        let (Ok(name), Ok(value)) = (name, value) else {
            let detail = "a header that the body implies cannot be written";
            return Err(Trouble::before(Code::UpstreamProtocol, detail));
        };
        headers.insert(name, value);
    }
    Ok(headers)
}

/// The answer to a request of the upstream's that no client hears.
pub(crate) fn nobody_there() -> RpcError {
    RpcError::new(numbers::INTERNAL_ERROR, "no client is there to answer")
}

/// Reads one message of an upstream.
pub(crate) fn read_message(bytes: &[u8], bytes_max: usize) -> Result<Message, Trouble> {
    let limits = JsonLimits { bytes_max, ..JsonLimits::MESSAGE };
    Message::parse(bytes, &limits)
        .map_err(|error| protocol(&format!("the upstream's message is unacceptable: {error}")))
}

/// What an answer means that is neither JSON nor events, or has a status that says no.
pub(crate) fn unexpected(status: StatusCode) -> Trouble {
    if status == StatusCode::FORBIDDEN {
        return insufficient();
    }
    let detail = match status.as_u16() {
        200..=299 => format!("HTTP {status} without an answer in JSON or events"),
        _ => format!("HTTP {status}"),
    };
    let code = match status.as_u16() {
        300..=399 => Code::RedirectRefused,
        429 => Code::UpstreamBusy,
        502..=504 => Code::UpstreamUnreachable,
        _ => Code::UpstreamProtocol,
    };
    let came = Came::ByStatus(status.as_u16());
    Trouble { code, detail, dispatched: !is_refusal(status), came }
}

fn protocol(detail: &str) -> Trouble {
    Trouble::after(Code::UpstreamProtocol, detail)
}

fn truncated(detail: &str) -> Trouble {
    Trouble::after(Code::UpstreamTruncated, detail)
}

fn given_up() -> Trouble {
    Trouble::after(Code::CallCancelled, "nobody waits for its answer any more")
}
