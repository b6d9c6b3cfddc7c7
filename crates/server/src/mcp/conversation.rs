//! A call of a client with a session, from its start to the last byte of its answer.

use crate::http::{self, Body};
use crate::mcp::answer::{self, Dress, Dressed};
use crate::mcp::session::{InFlight, Session};
use crate::mcp::stream::Stream;
use crate::running::{Running, Step};
use ::http::{Response, StatusCode};
use lockgate_kernel::{Answer, ToClient};
use lockgate_types::UpstreamName;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;

/// When a client is to come back to a stream that was closed, unless an upstream says otherwise.
pub(crate) const RETRY_MS: u64 = 1000;
/// How long an answer is awaited as plain JSON before a stream is opened that can be kept alive.
pub(crate) const PLAIN_WITHIN: Duration = Duration::from_secs(10);

/// A call and the client it belongs to.
pub(crate) struct Conversation {
    pub(crate) running: Running,
    pub(crate) upstream: UpstreamName,
    pub(crate) dress: Dress,
    pub(crate) in_flight: InFlight,
}

impl Conversation {
    /// Plain JSON if the call ends before anything is said; else a stream, which outlives its
    /// connection.
    pub(crate) async fn answer(self) -> Response<Body> {
        let mut held = Held(Some(self));
        let Some(Self { running, dress, in_flight, .. }) = held.0.as_mut() else {
            return http::empty(StatusCode::INTERNAL_SERVER_ERROR);
        };
        let first = tokio::select! {
            biased;
            step = running.next() => Some(step),
            () = in_flight.cancelled.cancelled() => {
                let cancelled = dress.cancelled();
                drop(held.0.take());
                return cancelled.into_response();
            }
            () = tokio::time::sleep(PLAIN_WITHIN) => None,
        };
        let Some(conversation) = held.0.take() else {
            return http::empty(StatusCode::INTERNAL_SERVER_ERROR);
        };
        match first {
            Some(Step::Done(reply)) => conversation.dress.reply(reply).into_response(),
            Some(Step::Lost) => conversation.dress.lost().into_response(),
            Some(Step::Interim(said)) => conversation.stream(Some(said)),
            None => conversation.stream(None),
        }
    }

    /// Goes on after its client has hung up without having heard anything: in this era, that
    /// cancels nothing.
    async fn go_on(mut self) {
        let cancelled = self.in_flight.cancelled.clone();
        tokio::select! {
            _ = finish(&mut self.running, &self.dress) => {}
            () = cancelled.cancelled() => {}
        }
    }

    pub(crate) fn stream(self, said: Option<ToClient>) -> Response<Body> {
        let retry_ms = match said {
            Some(ToClient::StreamClosed { retry_ms: Some(retry_ms) }) => retry_ms,
            _ => RETRY_MS,
        };
        let stream = open_stream(self.in_flight.session(), retry_ms);
        let reader = stream.read();
        tokio::spawn(self.pump(stream, said));
        http::events(reader)
    }

    /// Says everything on the stream, whether or not somebody reads it.
    async fn pump(mut self, stream: Arc<Stream>, mut said: Option<ToClient>) {
        let cancelled = self.in_flight.cancelled.clone();
        let talk = async {
            loop {
                if let Some(said) = said.take() {
                    self.say(&stream, said).await;
                }
                match self.running.next().await {
                    Step::Interim(message) => said = Some(message),
                    Step::Done(reply) => return self.dress.reply(reply),
                    Step::Lost => return self.dress.lost(),
                }
            }
        };
        let last = tokio::select! {
            biased;
            last = talk => last,
            () = cancelled.cancelled() => self.dress.cancelled(),
        };
        drop(self.running);
        tokio::select! {
            () = stream.push(&last.bytes) => {}
            () = self.in_flight.session().closed.cancelled() => {}
        }
        stream.finish();
    }

    async fn say(&self, stream: &Stream, message: ToClient) {
        let session = self.in_flight.session();
        match message {
            ToClient::StreamClosed { retry_ms } if session.is_polling() => {
                stream.prime(retry_ms.unwrap_or(RETRY_MS));
                stream.let_reader_go();
            }
            // Clients of the version before do not come back to a stream that closes in mid-call.
            ToClient::StreamClosed { .. } | ToClient::Begins { .. } | ToClient::Events(_) => {}
            message => say(session, &self.upstream, &self.dress, stream, message).await,
        }
    }
}

/// A conversation whose client may hang up at any moment, which drops this.
struct Held(Option<Conversation>);

impl Drop for Held {
    fn drop(&mut self) {
        // Without a runtime the gate is ending, and what is on its way ends with it.
        if let (Some(left), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(left.go_on());
        }
    }
}

/// A stream that begins, for clients that come back, with an id to come back with.
pub(crate) fn open_stream(session: &Session, retry_ms: u64) -> Arc<Stream> {
    let stream = session.open_stream();
    if session.is_polling() {
        stream.prime(retry_ms);
    }
    stream
}

/// Says something on a stream of a session.
pub(crate) async fn say(
    session: &Session,
    upstream: &UpstreamName,
    dress: &Dress,
    stream: &Stream,
    message: ToClient,
) {
    match message {
        ToClient::Notification { method, params } => {
            if let Some(bytes) = dress.notification(&method, params) {
                stream.push(&bytes).await;
            }
        }
        // Where too many wait, the place for the answer is dropped, and the upstream is told.
        ToClient::Request { method, params, answer } => {
            if let Some(id) = session.ask(upstream, &params, answer) {
                stream.push(&answer::request(id, &method, params)).await;
            }
        }
        ToClient::StreamClosed { .. } | ToClient::Begins { .. } | ToClient::Events(_) => {}
    }
}

/// The end of a call whose client is told nothing else, and whether it is a result.
pub(crate) async fn finish(running: &mut Running, dress: &Dress) -> (bool, Dressed) {
    loop {
        match running.next().await {
            Step::Interim(_) => {}
            Step::Done(reply) => {
                return (matches!(reply.answer, Answer::Result(_)), dress.reply(reply));
            }
            Step::Lost => return (false, dress.lost()),
        }
    }
}
