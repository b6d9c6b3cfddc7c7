//! The sessions of the sessions era: who opened them, what waits in them, when they end.
//!
//! A session belongs to its opener; to anybody else it does not exist. Everything in one is
//! bounded, and so is how many there are, of one identity and of all.

use crate::mcp::route::Scope;
use crate::mcp::stream::{Kept, Stream};
use arc_swap::ArcSwap;
use lockgate_core::declare::Limits;
use lockgate_effects::Caller;
use lockgate_types::identity::Identity;
use lockgate_types::{AgentId, Code, Json, Micros, SessionId, SubjectId, UpstreamName};
use lockgate_wire::{RequestId, Response, RpcError};
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Requests to the client that wait for its answer, in one session.
const ASKED_MAX: usize = 64;
/// Requests of the client on their way, in one session.
const IN_FLIGHT_MAX: usize = 256;
/// Streams kept in one session, besides the standing one.
const STREAMS_MAX: usize = 64;
/// How long a finished stream is kept for a client that lost its connection.
const STREAM_KEPT: Duration = Duration::from_secs(120);
/// The number of the stream for what is said outside of calls.
const STANDING: u64 = 0;

type Opener = (String, SubjectId, AgentId);

/// An open session.
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) scope: Scope,
    /// The version agreed on.
    pub(crate) version: &'static str,
    pub(crate) identity: Arc<Identity>,
    /// As whom the gate speaks to upstreams for it. Swapped when the client sets its log level.
    pub(crate) caller: ArcSwap<Caller>,
    /// Fires when the session ends.
    pub(crate) closed: CancellationToken,
    opener: Opener,
    is_listening: AtomicBool,
    /// Until when others can take it up.
    kept_until: AtomicI64,
    kept: Kept,
    state: Mutex<State>,
}

struct State {
    touched: Instant,
    asked: HashMap<i64, Asked>,
    asked_last: i64,
    in_flight: HashMap<RequestId, CancellationToken>,
    streams: BTreeMap<u64, Arc<Stream>>,
    streams_last: u64,
}

/// A request to the client that waits for its answer.
struct Asked {
    answer: oneshot::Sender<Result<Json, RpcError>>,
    upstream: UpstreamName,
    progress_token: Option<Json>,
}

/// What a session is opened with.
pub(crate) struct Opening {
    pub(crate) id: SessionId,
    pub(crate) scope: Scope,
    pub(crate) version: &'static str,
    pub(crate) identity: Arc<Identity>,
    pub(crate) caller: Caller,
}

/// A request on its way, until this is dropped.
pub(crate) struct InFlight {
    session: Arc<Session>,
    id: RequestId,
    /// Fires when the client cancels it.
    pub(crate) cancelled: CancellationToken,
}

impl Session {
    fn new(opening: Opening, kept: &Kept) -> Arc<Self> {
        let Opening { id, scope, version, identity, caller } = opening;
        let state = State {
            touched: Instant::now(),
            asked: HashMap::new(),
            asked_last: first_question(),
            in_flight: HashMap::new(),
            streams: BTreeMap::from([(STANDING, Stream::new(STANDING, kept))]),
            streams_last: STANDING,
        };
        Arc::new(Self {
            id,
            scope,
            version,
            opener: identity.opener(),
            identity,
            caller: ArcSwap::from_pointee(caller),
            closed: CancellationToken::new(),
            is_listening: AtomicBool::new(false),
            kept_until: AtomicI64::new(0),
            kept: kept.clone(),
            state: Mutex::new(state),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Others can take it up until then.
    pub(crate) fn kept_until(&self, until: Micros) {
        self.kept_until.store(until.0, Ordering::Relaxed);
    }

    /// Whether others can take it up until then.
    pub(crate) fn is_kept_until(&self, until: i64) -> bool {
        self.kept_until.load(Ordering::Relaxed) >= until
    }

    /// Whether the client understands a stream that closes in mid-call.
    pub(crate) fn is_polling(&self) -> bool {
        self.version == lockgate_wire::era::V2025_11_25
    }

    /// Notes that a request of the client is on its way.
    pub(crate) fn begin(self: &Arc<Self>, id: &RequestId) -> Result<InFlight, Code> {
        let cancelled = self.closed.child_token();
        let mut state = self.lock();
        state.touched = Instant::now();
        if state.in_flight.len() >= IN_FLIGHT_MAX {
            return Err(Code::Overloaded);
        }
        if state.in_flight.contains_key(id) {
            return Err(Code::BadId);
        }
        state.in_flight.insert(id.clone(), cancelled.clone());
        drop(state);
        Ok(InFlight { session: Arc::clone(self), id: id.clone(), cancelled })
    }

    /// The client cancels a request of its own.
    pub(crate) fn cancel(&self, id: &RequestId) {
        let cancelled = self.lock().in_flight.get(id).cloned();
        if let Some(cancelled) = cancelled {
            cancelled.cancel();
        }
    }

    /// Keeps the place where the client's answer goes; the id to ask under. `None`: too many wait
    /// already.
    pub(crate) fn ask(
        &self,
        upstream: &UpstreamName,
        params: &lockgate_types::Object,
        answer: oneshot::Sender<Result<Json, RpcError>>,
    ) -> Option<i64> {
        let token = params.get("_meta").and_then(|meta| meta.get("progressToken"));
        let asked = Asked { answer, upstream: upstream.clone(), progress_token: token.cloned() };
        let mut state = self.lock();
        // Those whose asker has given up take no room.
        state.asked.retain(|_, asked| !asked.answer.is_closed());
        if state.asked.len() >= ASKED_MAX {
            return None;
        }
        state.asked_last += 1;
        let id = state.asked_last;
        state.asked.insert(id, asked);
        Some(id)
    }

    /// The client answers. An answer that nobody waits for any more is let go: its asker may have
    /// given up.
    pub(crate) fn answer(&self, response: Response) {
        let Some(RequestId::Integer(id)) = response.id else { return };
        let mut state = self.lock();
        state.touched = Instant::now();
        let asked = state.asked.remove(&id);
        drop(state);
        if let Some(asked) = asked {
            // The asker may have given up just now.
            let _ = asked.answer.send(response.outcome);
        }
    }

    /// The upstream whose request the client reports progress on.
    pub(crate) fn asker(&self, progress_token: &Json) -> Option<UpstreamName> {
        let state = self.lock();
        let asked = state.asked.values();
        let mut askers =
            asked.filter(|asked| asked.progress_token.as_ref() == Some(progress_token));
        askers.next().map(|asked| asked.upstream.clone())
    }

    /// A new stream for what a call says.
    pub(crate) fn open_stream(&self) -> Arc<Stream> {
        let mut state = self.lock();
        let now = Instant::now();
        state.streams.retain(|number, stream| {
            let is_old = stream.done_since().is_some_and(|done| now - done > STREAM_KEPT);
            *number == STANDING || !is_old
        });
        if state.streams.len() > STREAMS_MAX {
            // The oldest finished one. Unfinished ones are bounded by the calls in flight.
            let finished = |(number, stream): (&u64, &Arc<Stream>)| {
                (*number != STANDING && stream.done_since().is_some()).then_some(*number)
            };
            if let Some(oldest) = state.streams.iter().find_map(finished) {
                state.streams.remove(&oldest);
            }
        }
        state.streams_last += 1;
        let stream = Stream::new(state.streams_last, &self.kept);
        let number = state.streams_last;
        state.streams.insert(number, Arc::clone(&stream));
        stream
    }

    /// The stream of that number, if it is still kept.
    pub(crate) fn stream(&self, number: u64) -> Option<Arc<Stream>> {
        self.lock().streams.get(&number).cloned()
    }

    /// The stream for what is said outside of calls, and whether this is the first time that
    /// somebody wants it.
    pub(crate) fn standing(&self) -> Option<(Arc<Stream>, bool)> {
        let stream = self.stream(STANDING)?;
        Some((stream, !self.is_listening.swap(true, Ordering::Relaxed)))
    }

    /// Notes that the client has said something.
    pub(crate) fn touch(&self) {
        self.lock().touched = Instant::now();
    }

    /// Since when nothing happens in it; `None` while something does.
    fn idle_since(&self) -> Option<Instant> {
        let state = self.lock();
        let is_busy =
            !state.in_flight.is_empty() || state.streams.values().any(|stream| stream.is_read());
        (!is_busy).then_some(state.touched)
    }

    fn end(&self) {
        self.closed.cancel();
        let mut state = self.lock();
        state.asked.clear();
        for stream in state.streams.values() {
            stream.finish();
        }
        state.streams.clear();
    }
}

impl InFlight {
    /// The session it belongs to.
    pub(crate) const fn session(&self) -> &Arc<Session> {
        &self.session
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut state = self.session.lock();
        state.in_flight.remove(&self.id);
        state.touched = Instant::now();
    }
}

/// Every open session.
#[derive(Default)]
pub(crate) struct Sessions {
    open: Mutex<HashMap<SessionId, Arc<Session>>>,
    kept: Kept,
}

/// Sessions that have ended because another was opened.
#[derive(Default)]
pub(crate) struct Room {
    /// Nothing has happened in them for too long, here.
    pub(crate) idle: Vec<Arc<Session>>,
    /// It had to go: its client has too many.
    pub(crate) turned_out: Option<Arc<Session>>,
}

impl Room {
    fn sessions(&self) -> impl Iterator<Item = &Arc<Session>> {
        self.idle.iter().chain(&self.turned_out)
    }
}

/// Why a session was not found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotFound {
    /// There is none, or not at this address.
    Unknown,
    /// It is somebody else's. To that client it looks the same.
    NotYours,
}

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Arc<Session>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a session. What has made room is returned to be closed; `Err`: there is no room.
    pub(crate) fn open(
        &self,
        opening: Opening,
        limits: &Limits,
    ) -> Result<(Arc<Session>, Room), Code> {
        let session = Session::new(opening, &self.kept);
        let mut open = self.lock();
        if let Some(there) = open.get(&session.id) {
            // Another request has taken it up meanwhile.
            return Ok((Arc::clone(there), Room::default()));
        }
        let idle = take_idle(&mut open, Duration::from_millis(limits.session_idle_ms.into()));
        let mut room = Room { idle, turned_out: None };
        let own: Vec<_> = open.values().filter(|other| other.opener == session.opener).collect();
        if own.len() >= bound(limits.sessions_per_identity_max) {
            // Clients that never close their sessions would lock themselves out: the one that was
            // idle longest goes.
            let idle = own.iter().filter_map(|other| Some((other.idle_since()?, other.id.clone())));
            let longest = idle.min_by_key(|(since, _)| *since).map(|(_, id)| id);
            match longest.and_then(|id| open.remove(&id)) {
                Some(longest) => room.turned_out = Some(longest),
                None => return Err(Code::TooManySessions),
            }
        }
        if open.len() >= bound(limits.sessions_max) {
            return Err(Code::TooManySessions);
        }
        open.insert(session.id.clone(), Arc::clone(&session));
        drop(open);
        room.sessions().for_each(|session| session.end());
        Ok((session, room))
    }

    /// The session of that id at that address, if it is this identity's.
    pub(crate) fn find(
        &self,
        id: &str,
        scope: &Scope,
        identity: &Identity,
    ) -> Result<Arc<Session>, NotFound> {
        let id = SessionId::new(id).map_err(|_| NotFound::Unknown)?;
        let session = self.lock().get(&id).cloned().ok_or(NotFound::Unknown)?;
        if session.opener != identity.opener() {
            return Err(NotFound::NotYours);
        }
        if session.scope != *scope {
            return Err(NotFound::Unknown);
        }
        Ok(session)
    }

    /// Ends a session.
    pub(crate) fn close(&self, session: &Session) {
        self.lock().remove(&session.id);
        session.end();
    }

    /// Ends the sessions that were idle for too long.
    pub(crate) fn sweep(&self, idle: Duration) -> Vec<Arc<Session>> {
        let ended = take_idle(&mut self.lock(), idle);
        ended.iter().for_each(|session| session.end());
        ended
    }

    /// How many are open.
    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }
}

/// Where the numbers of a session's questions begin: not where those of another node do, so that
/// an answer that comes to the wrong one answers nothing.
fn first_question() -> i64 {
    let mut random = [0_u8; 4];
    // Without randomness no session gets an id.
    let _ = aws_lc_rs::rand::fill(&mut random);
    i64::from(u32::from_be_bytes(random)) << 20
}

fn take_idle(open: &mut HashMap<SessionId, Arc<Session>>, idle: Duration) -> Vec<Arc<Session>> {
    let now = Instant::now();
    let is_idle = |session: &Session| session.idle_since().is_some_and(|since| now - since > idle);
    open.extract_if(|_, session| is_idle(session)).map(|(_, session)| session).collect()
}

fn bound(max: u32) -> usize {
    usize::try_from(max).unwrap_or(usize::MAX)
}
