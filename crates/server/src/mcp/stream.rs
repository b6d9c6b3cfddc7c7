//! A stream of server-sent events that outlives the connections that read it.
//!
//! What a call says is appended here by the call's pump and read by whichever connection came last,
//! from any event that is still kept. Bounded: while a connection reads, a slow one holds up its
//! own call; while none does, the oldest events give way. It does not know what the events mean.

use crate::http::BoxError;
use bytes::Bytes;
use http_body::Frame;
use std::collections::VecDeque;
use std::future::Future as _;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep};

/// Events that one stream keeps for a reader that comes back.
const EVENTS_MAX: usize = 256;
/// Bytes that one stream keeps. A single event may be larger: the reply must get through.
const BYTES_MAX: usize = 1 << 20;
/// Bytes that all streams of a face keep together. Above it, each keeps what its reader has not
/// had, and its last.
const ALL_BYTES_MAX: usize = 64 << 20;
/// How often a silent stream says that it is alive, so that nothing between takes it for dead.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What is said to keep a connection alive: a comment.
pub(crate) const KEEP_ALIVE_COMMENT: &[u8] = b": keep-alive\n\n";

/// How much all streams of a face keep.
#[derive(Clone, Default)]
pub(crate) struct Kept(Arc<AtomicUsize>);

impl Kept {
    fn is_full(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= ALL_BYTES_MAX
    }
}

/// A resumable stream.
pub(crate) struct Stream {
    number: u64,
    state: Mutex<State>,
    room: Notify,
}

struct State {
    events: VecDeque<Event>,
    bytes: usize,
    kept: Kept,
    /// The sequence number of the next event.
    next: u64,
    /// Everything before it was handed to the present reader.
    delivered: u64,
    /// Counts readers: only the last one reads.
    reader: u64,
    is_read: bool,
    /// The present reader leaves once it has read everything: the upstream closed its stream as
    /// well.
    leaves: bool,
    done: Option<Instant>,
    waker: Option<Waker>,
}

struct Event {
    sequence: u64,
    frame: Bytes,
}

impl Stream {
    /// A stream with nothing in it. The number is part of its events' ids.
    pub(crate) fn new(number: u64, kept: &Kept) -> Arc<Self> {
        let state = State {
            events: VecDeque::new(),
            bytes: 0,
            kept: kept.clone(),
            next: 0,
            delivered: 0,
            reader: 0,
            is_read: false,
            leaves: false,
            done: None,
            waker: None,
        };
        Arc::new(Self { number, state: Mutex::new(state), room: Notify::new() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves counters and whole frames: nothing half done is seen.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends the priming event: an id to come back with, and when to.
    pub(crate) fn prime(&self, retry_ms: u64) {
        let mut state = self.lock();
        let frame = format!("id: {}-{}\nretry: {retry_ms}\ndata: \n\n", self.number, state.next);
        state.append(frame.into());
    }

    /// Appends a message. Waits while a reader is there and lags.
    pub(crate) async fn push(&self, message: &[u8]) {
        loop {
            // Asked for before looking, so that room made in between is not missed.
            let room = self.room.notified();
            {
                let mut state = self.lock();
                if !state.is_lagging() {
                    let frame = frame_of(self.number, state.next, message);
                    state.append(frame);
                    return;
                }
            }
            room.await;
        }
    }

    /// The present reader leaves after what is there, and may come back.
    pub(crate) fn let_reader_go(&self) {
        let mut state = self.lock();
        state.leaves = true;
        state.wake();
    }

    /// Nothing follows.
    pub(crate) fn finish(&self) {
        let mut state = self.lock();
        state.done = Some(Instant::now());
        state.wake();
        drop(state);
        self.room.notify_waiters();
    }

    /// Since when nothing follows.
    pub(crate) fn done_since(&self) -> Option<Instant> {
        self.lock().done
    }

    /// Whether a connection reads it.
    pub(crate) fn is_read(&self) -> bool {
        self.lock().is_read
    }

    /// A reader from the beginning of what is kept.
    pub(crate) fn read(self: &Arc<Self>) -> Reader {
        self.attach(0, None)
    }

    /// A reader of what no reader has had yet.
    pub(crate) fn follow(self: &Arc<Self>) -> Reader {
        let at = self.lock().delivered;
        self.attach(at, None)
    }

    /// A reader that follows the event with this sequence number. It is given that event's id
    /// again, with when to come back, because a client may come back only to a connection that gave
    /// it an id.
    pub(crate) fn resume(self: &Arc<Self>, sequence: u64, retry_ms: Option<u64>) -> Reader {
        let hello =
            retry_ms.map(|ms| format!("id: {}-{sequence}\nretry: {ms}\ndata: \n\n", self.number));
        self.attach(sequence.saturating_add(1), hello.map(Bytes::from))
    }

    fn attach(self: &Arc<Self>, at: u64, hello: Option<Bytes>) -> Reader {
        let mut state = self.lock();
        state.reader += 1;
        state.is_read = true;
        state.leaves = false;
        state.delivered = at;
        // The reader before this one ends.
        state.wake();
        let generation = state.reader;
        drop(state);
        let alarm = Box::pin(tokio::time::sleep(KEEP_ALIVE));
        Reader { stream: Arc::clone(self), generation, at, hello, alarm }
    }
}

impl State {
    /// Whether a reader is there that has not taken the oldest event, and there is no room for
    /// another.
    fn is_lagging(&self) -> bool {
        let oldest = self.events.front().map_or(self.next, |event| event.sequence);
        self.is_full() && self.is_read && self.done.is_none() && oldest >= self.delivered
    }

    fn is_full(&self) -> bool {
        self.events.len() >= EVENTS_MAX || self.bytes >= BYTES_MAX || self.kept.is_full()
    }

    fn append(&mut self, frame: Bytes) {
        while self.is_full() {
            let Some(oldest) = self.events.pop_front() else { break };
            self.bytes -= oldest.frame.len();
            self.kept.0.fetch_sub(oldest.frame.len(), Ordering::Relaxed);
        }
        self.bytes += frame.len();
        self.kept.0.fetch_add(frame.len(), Ordering::Relaxed);
        self.events.push_back(Event { sequence: self.next, frame });
        self.next += 1;
        self.wake();
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.kept.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

fn frame_of(stream: u64, sequence: u64, message: &[u8]) -> Bytes {
    let mut frame = format!("id: {stream}-{sequence}\n").into_bytes();
    write_event(&mut frame, message);
    frame.into()
}

/// Writes a message as an event. Messages are compact JSON, so they have no line breaks.
pub(crate) fn write_event(out: &mut Vec<u8>, message: &[u8]) {
    out.extend_from_slice(b"event: message\ndata: ");
    out.extend_from_slice(message);
    out.extend_from_slice(b"\n\n");
}

/// Reads the id of an event: the stream's number and the event's.
pub(crate) fn read_event_id(text: &str) -> Option<(u64, u64)> {
    let (stream, sequence) = text.split_once('-')?;
    Some((stream.parse().ok()?, sequence.parse().ok()?))
}

/// The body of a response that reads a stream.
pub(crate) struct Reader {
    stream: Arc<Stream>,
    generation: u64,
    at: u64,
    hello: Option<Bytes>,
    alarm: Pin<Box<Sleep>>,
}

enum Looked {
    Frame(Bytes),
    Ended,
    Nothing,
}

impl Reader {
    fn look(&mut self, context: &Context<'_>) -> Looked {
        let mut state = self.stream.lock();
        if state.reader != self.generation {
            return Looked::Ended;
        }
        let found = state.events.iter().find(|event| event.sequence >= self.at);
        if let Some(event) = found {
            self.at = event.sequence + 1;
            let frame = event.frame.clone();
            state.delivered = self.at;
            drop(state);
            self.stream.room.notify_waiters();
            return Looked::Frame(frame);
        }
        if state.done.is_some() || state.leaves {
            return Looked::Ended;
        }
        state.waker = Some(context.waker().clone());
        Looked::Nothing
    }
}

impl http_body::Body for Reader {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if let Some(hello) = this.hello.take() {
            return Poll::Ready(Some(Ok(Frame::data(hello))));
        }
        match this.look(context) {
            Looked::Frame(frame) => {
                this.alarm.as_mut().reset(Instant::now() + KEEP_ALIVE);
                Poll::Ready(Some(Ok(Frame::data(frame))))
            }
            Looked::Ended => Poll::Ready(None),
            Looked::Nothing => poll_alarm(&mut this.alarm, context),
        }
    }
}

/// Says that the stream is alive, if it has been silent for long.
pub(crate) fn poll_alarm(
    alarm: &mut Pin<Box<Sleep>>,
    context: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
    if alarm.as_mut().poll(context).is_pending() {
        return Poll::Pending;
    }
    alarm.as_mut().reset(Instant::now() + KEEP_ALIVE);
    Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(KEEP_ALIVE_COMMENT)))))
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.stream.lock();
        if state.reader == self.generation {
            state.is_read = false;
            state.waker = None;
            drop(state);
            // Whoever waited for this reader need not wait any more.
            self.stream.room.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    async fn frame(reader: &mut Reader) -> Option<String> {
        let frame = reader.frame().await?.unwrap().into_data().unwrap();
        Some(String::from_utf8(frame.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_reader_that_comes_back_gets_what_it_missed() {
        let stream = Stream::new(7, &Kept::default());
        stream.prime(100);
        let mut reader = stream.read();
        assert_eq!(frame(&mut reader).await.unwrap(), "id: 7-0\nretry: 100\ndata: \n\n");
        drop(reader);
        stream.push(b"{}").await;
        stream.push(b"[]").await;
        stream.finish();
        let mut reader = stream.resume(0, None);
        assert_eq!(frame(&mut reader).await.unwrap(), "id: 7-1\nevent: message\ndata: {}\n\n");
        assert_eq!(frame(&mut reader).await.unwrap(), "id: 7-2\nevent: message\ndata: []\n\n");
        assert_eq!(frame(&mut reader).await, None);
    }

    #[tokio::test]
    async fn a_reader_that_is_let_go_ends_and_the_next_one_stays() {
        let stream = Stream::new(1, &Kept::default());
        stream.prime(100);
        let mut reader = stream.read();
        stream.let_reader_go();
        assert!(frame(&mut reader).await.is_some());
        assert_eq!(frame(&mut reader).await, None);
        let mut reader = stream.resume(0, Some(5));
        assert_eq!(frame(&mut reader).await.unwrap(), "id: 1-0\nretry: 5\ndata: \n\n");
        stream.push(b"{}").await;
        assert!(frame(&mut reader).await.unwrap().contains("id: 1-1\n"));
    }

    #[tokio::test]
    async fn the_last_reader_displaces_the_one_before() {
        let stream = Stream::new(1, &Kept::default());
        let mut first = stream.read();
        let mut second = stream.read();
        stream.push(b"{}").await;
        assert_eq!(frame(&mut first).await, None);
        drop(first);
        assert!(stream.is_read());
        assert!(frame(&mut second).await.is_some());
    }

    #[tokio::test]
    async fn without_a_reader_the_oldest_events_give_way() {
        let stream = Stream::new(1, &Kept::default());
        for _ in 0..EVENTS_MAX + 10 {
            stream.push(b"{}").await;
        }
        let mut reader = stream.read();
        assert!(frame(&mut reader).await.unwrap().starts_with("id: 1-10\n"));
    }

    #[tokio::test]
    async fn streams_together_keep_no_more_than_their_bound() {
        let kept = Kept::default();
        let large = vec![b' '; BYTES_MAX];
        let streams: Vec<_> = (0..80).map(|number| Stream::new(number, &kept)).collect();
        for stream in streams.iter().cycle().take(240) {
            stream.push(&large).await;
        }
        let all = kept.0.load(Ordering::Relaxed);
        // Each stream may still keep its last event.
        assert!(all < 81 * (BYTES_MAX + 64), "{all}");
        drop(streams);
        assert_eq!(kept.0.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn a_reader_that_lags_holds_up_the_writer() {
        let stream = Stream::new(1, &Kept::default());
        let mut reader = stream.read();
        for _ in 0..EVENTS_MAX {
            stream.push(b"{}").await;
        }
        let waiting = tokio::spawn({
            let stream = Arc::clone(&stream);
            async move { stream.push(b"{}").await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        assert!(frame(&mut reader).await.is_some());
        waiting.await.unwrap();
    }

    #[tokio::test]
    async fn a_silent_stream_says_that_it_is_alive() {
        let stream = Stream::new(1, &Kept::default());
        let mut reader = stream.read();
        // As if the time had passed.
        reader.alarm.as_mut().reset(Instant::now());
        assert_eq!(frame(&mut reader).await.unwrap(), ": keep-alive\n\n");
    }
}
