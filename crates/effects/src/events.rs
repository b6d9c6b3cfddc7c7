//! Reading a stream of server-sent events off an HTTP answer, within bounds.

use crate::http::chain;
use crate::trouble::Trouble;
use http::Response;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use lockgate_types::Code;
use lockgate_wire::sse::{SseDecoder, SseEvent, SseLimits};
use std::collections::VecDeque;

/// Bytes that may pass without one event: comments that keep a connection alive are a few bytes
/// each.
const BYTES_WITHOUT_EVENT_MAX: usize = 1 << 20;
/// What a line and an event may have besides the message.
const LINE_EXTRA_BYTES: usize = 64;
const EVENT_EXTRA_BYTES: usize = 4096;
/// How long a server may ask to be left alone.
const RETRY_MS_MAX: u64 = 60_000;

/// Events as they arrive.
pub(crate) struct Events {
    body: Incoming,
    decoder: SseDecoder,
    ready: VecDeque<SseEvent>,
    bytes_without_event: usize,
    bytes_without_event_max: usize,
    /// Where to take up again if the stream ends: the last event id.
    pub(crate) last_id: Option<String>,
    /// When to come back, as the server last said.
    pub(crate) retry_ms: Option<u64>,
    /// Events seen since the stream was opened.
    pub(crate) seen: u64,
}

impl Events {
    pub(crate) fn of(response: Response<Incoming>, bytes_max: usize) -> Self {
        Self {
            body: response.into_body(),
            decoder: SseDecoder::new(SseLimits {
                line_bytes_max: bytes_max.saturating_add(LINE_EXTRA_BYTES),
                event_bytes_max: bytes_max.saturating_add(EVENT_EXTRA_BYTES),
            }),
            ready: VecDeque::new(),
            bytes_without_event: 0,
            bytes_without_event_max: bytes_max.saturating_add(BYTES_WITHOUT_EVENT_MAX),
            last_id: None,
            retry_ms: None,
            seen: 0,
        }
    }

    /// Goes on with the answer to a request that took the stream up again.
    pub(crate) fn resume(&mut self, response: Response<Incoming>, bytes_max: usize) {
        let again = Self::of(response, bytes_max);
        let (last_id, retry_ms) = (self.last_id.take(), self.retry_ms);
        *self = Self { last_id, retry_ms, ..again };
    }

    /// The text of the next event that carries a message. `None`: the stream ended, in whichever
    /// way.
    pub(crate) async fn next(&mut self) -> Result<Option<String>, Trouble> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                if let Some(text) = self.take(event) {
                    return Ok(Some(text));
                }
                continue;
            }
            let piece = match self.body.frame().await {
                None => return Ok(None),
                Some(Err(error)) => {
                    tracing::debug!(error = chain(&error), "a stream of an upstream broke");
                    return Ok(None);
                }
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(piece) => piece,
                    Err(_) => continue,
                },
            };
            self.decode(&piece)?;
        }
    }

    fn decode(&mut self, piece: &[u8]) -> Result<(), Trouble> {
        let mut events = Vec::new();
        self.decoder.push(piece, &mut events).map_err(|error| {
            Trouble::after(error.code(), format!("the upstream's stream is unreadable: {error}"))
        })?;
        self.ready.extend(events);
        self.bytes_without_event += piece.len();
        if !self.ready.is_empty() {
            self.bytes_without_event = 0;
        } else if self.bytes_without_event > self.bytes_without_event_max {
            let detail = "the upstream's stream goes on without an event";
            return Err(Trouble::after(Code::UpstreamProtocol, detail));
        }
        Ok(())
    }

    fn take(&mut self, event: SseEvent) -> Option<String> {
        self.seen += 1;
        if event.id.is_some() {
            self.last_id = event.id;
        }
        if let Some(retry_ms) = event.retry_ms {
            self.retry_ms = Some(retry_ms.min(RETRY_MS_MAX));
        }
        let is_message = event.event.as_deref().is_none_or(|kind| kind == "message");
        event.data.filter(|text| is_message && !text.is_empty())
    }
}
