//! Sessions with an upstream over HTTP, one for each caller's key, opened when first needed.

use crate::caller::Caller;
use crate::credential::Speaker;
use crate::http::{ERROR_BODY_BYTES_MAX, Http, Kind, insufficient, kind};
use crate::post::{deliver, read_message};
use crate::trouble::Trouble;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use lockgate_types::{Code, Json, Object};
use lockgate_wire::era::{SESSION_HEADER, VERSION_HEADER};
use lockgate_wire::{Era, Message, Notification, Request, RequestId, RpcError};
use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

pub(crate) const SESSION_ID: HeaderName = HeaderName::from_static(SESSION_HEADER);
pub(crate) const PROTOCOL_VERSION: HeaderName = HeaderName::from_static(VERSION_HEADER);

/// An open session with an upstream.
pub(crate) struct Session {
    headers: HeaderMap,
    /// Whose it is, for what is said in it beside calls.
    pub(crate) speaker: Speaker,
    /// The result of `initialize`, as it came.
    pub(crate) opening: Json,
}

/// What became of an attempt to open a session.
pub(crate) enum Opened<T> {
    Ready(T),
    /// The upstream said no in its protocol, or in HTTP: it may not speak this era.
    Declined(RpcError),
}

impl Session {
    /// Whether the upstream gave it a name, so that it can be forgotten.
    pub(crate) fn has_id(&self) -> bool {
        self.headers.contains_key(SESSION_ID)
    }

    /// The headers of every request in this session.
    pub(crate) fn headers(&self) -> HeaderMap {
        self.headers.clone()
    }

    /// Opens a session as that caller.
    pub(crate) async fn open(
        http: &Arc<Http>,
        caller: &Caller,
        speaker: &Speaker,
        id: RequestId,
    ) -> Result<Opened<Self>, Trouble> {
        let speaker = speaker.reading();
        let request = Request::new(id, "initialize", initialize_params(caller));
        let response = http.post(HeaderMap::new(), request.to_bytes(), &speaker).await;
        let response = response.map_err(not_yet)?;
        let status = response.status();
        let session_id = response.headers().get(SESSION_ID).cloned();
        let outcome = match kind(&response) {
            Kind::Json => {
                let is_ok = status.is_success();
                let bound = if is_ok { http.answer_bytes_max } else { ERROR_BODY_BYTES_MAX };
                let body = http.body(response, bound).await.map_err(not_yet)?;
                match read_message(&body, http.answer_bytes_max) {
                    Ok(message) => answer_to(message, &request.id)?,
                    Err(_) if status == StatusCode::FORBIDDEN => return Err(insufficient()),
                    Err(_) if status.is_client_error() => declined(status),
                    Err(trouble) => return Err(not_yet(trouble)),
                }
            }
            Kind::Events => {
                let mut events = crate::events::Events::of(response, http.answer_bytes_max);
                first_answer(&mut events, &request.id, http.answer_bytes_max).await?
            }
            Kind::Other if is_wrong_era(status) => declined(status),
            Kind::Other if status == StatusCode::FORBIDDEN => return Err(insufficient()),
            Kind::Other => {
                let detail = format!("HTTP {status} to `initialize`");
                return Err(Trouble::before(Code::UpstreamProtocol, detail));
            }
        };
        let opening = match outcome {
            Ok(opening) => opening,
            Err(error) => return Ok(Opened::Declined(error)),
        };
        let headers = session_headers(session_id, &opening)?;
        let session = Self { headers, speaker: speaker.afterwards(), opening };
        let initialized = Notification::new("notifications/initialized", Object::new());
        let body = initialized.to_bytes();
        deliver(http, session.headers(), body, &speaker).await.map_err(not_yet)?;
        Ok(Opened::Ready(session))
    }

    /// Tells the upstream that nobody needs this session any more.
    pub(crate) fn close(&self, http: &Arc<Http>) {
        if !self.has_id() {
            return;
        }
        let (http, headers, speaker) = (Arc::clone(http), self.headers(), self.speaker.clone());
        tokio::spawn(async move {
            // Whether it listens or not: the session is over.
            let _ = tokio::time::timeout(CLOSE_MAX, http.delete(headers, &speaker)).await;
        });
    }
}

/// How long the end of a session may take to be said.
const CLOSE_MAX: Duration = Duration::from_secs(5);

/// What `initialize` says, on any transport.
pub(crate) fn initialize_params(caller: &Caller) -> Object {
    Object::new()
        .with("protocolVersion", caller.version_in(Era::Sessions))
        .with("capabilities", caller.capabilities.clone())
        .with("clientInfo", caller.info())
}

fn session_headers(id: Option<HeaderValue>, opening: &Json) -> Result<HeaderMap, Trouble> {
    let version = opening.get("protocolVersion").and_then(Json::as_str);
    let version = version.and_then(|version| HeaderValue::from_str(version).ok());
    let Some(version) = version else {
        let detail = "the result of `initialize` names no protocol version";
        return Err(Trouble::before(Code::UpstreamProtocol, detail));
    };
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(PROTOCOL_VERSION, version);
    if let Some(id) = id {
        headers.insert(SESSION_ID, id);
    }
    Ok(headers)
}

async fn first_answer(
    events: &mut crate::events::Events,
    id: &RequestId,
    bytes_max: usize,
) -> Result<Result<Json, RpcError>, Trouble> {
    while let Some(text) = events.next().await.map_err(not_yet)? {
        let message = read_message(text.as_bytes(), bytes_max).map_err(not_yet)?;
        if matches!(message, Message::Response(_)) {
            return answer_to(message, id);
        }
    }
    Err(Trouble::before(Code::UpstreamTruncated, "the stream ended before the session was open"))
}

/// The outcome in an answer to that request.
pub(crate) fn answer_to(
    message: Message,
    id: &RequestId,
) -> Result<Result<Json, RpcError>, Trouble> {
    match message {
        Message::Response(response)
            if response.id.as_ref() == Some(id)
                || (response.id.is_none() && response.outcome.is_err()) =>
        {
            Ok(response.outcome)
        }
        _ => {
            let detail = "the upstream answered something else than what was asked";
            Err(Trouble::before(Code::UpstreamProtocol, detail))
        }
    }
}

/// Statuses with which a server says that it does not know what was sent.
pub(crate) fn is_wrong_era(status: StatusCode) -> bool {
    matches!(status.as_u16(), 400 | 404 | 405 | 406 | 415 | 422 | 501)
}

fn declined(status: StatusCode) -> Result<Json, RpcError> {
    Err(RpcError::new(i64::from(status.as_u16()), format!("HTTP {status}")))
}

/// Before a session is open nothing of a call has left, whatever went wrong.
pub(crate) fn not_yet(trouble: Trouble) -> Trouble {
    Trouble { dispatched: false, ..trouble }
}

/// What is kept open for each caller's key: sessions, or child processes. Bounded.
pub(crate) struct Slots<T> {
    slots: Mutex<HashMap<String, Arc<Slot<T>>>>,
    max: usize,
    ticks: AtomicU64,
}

struct Slot<T> {
    current: Mutex<Option<Arc<T>>>,
    /// Held while one caller opens, so that another request of the same caller waits for it. Never
    /// another caller's.
    opening: tokio::sync::Mutex<()>,
    used: Mutex<(u64, Instant)>,
}

impl<T> Slots<T> {
    pub(crate) fn new(max: usize) -> Self {
        Self { slots: Mutex::new(HashMap::new()), max, ticks: AtomicU64::new(0) }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Slot<T>>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is open for that key.
    pub(crate) fn get(&self, key: &str) -> Option<Arc<T>> {
        let slot = self.lock().get(key).map(Arc::clone)?;
        slot.touch(self.ticks.fetch_add(1, Ordering::Relaxed));
        slot.current()
    }

    /// What is open for that key, or is opened now. `evicted` gets what has to go for it.
    pub(crate) async fn get_or_open<F>(
        &self,
        key: &str,
        evicted: impl FnOnce(Arc<T>),
        open: impl FnOnce() -> F,
    ) -> Result<Arc<T>, Trouble>
    where
        F: Future<Output = Result<T, Trouble>>,
    {
        if let Some(current) = self.get(key) {
            return Ok(current);
        }
        let slot = self.slot(key, evicted)?;
        let _opening = slot.opening.lock().await;
        if let Some(current) = slot.current() {
            return Ok(current);
        }
        let opened = Arc::new(open().await?);
        slot.set(Some(Arc::clone(&opened)));
        Ok(opened)
    }

    fn slot(&self, key: &str, evicted: impl FnOnce(Arc<T>)) -> Result<Arc<Slot<T>>, Trouble> {
        let mut slots = self.lock();
        let tick = self.ticks.fetch_add(1, Ordering::Relaxed);
        if let Some(slot) = slots.get(key) {
            return Ok(Arc::clone(slot));
        }
        if slots.len() >= self.max {
            let idle = slots.iter().filter(|(_, slot)| slot.is_idle());
            let oldest = idle.min_by_key(|(_, slot)| slot.used().0).map(|(key, _)| key.clone());
            let Some(oldest) = oldest else {
                let detail = format!("all of {} sessions with the upstream are in use", self.max);
                return Err(Trouble::before(Code::UpstreamBusy, detail));
            };
            if let Some(current) = slots.remove(&oldest).and_then(|slot| slot.current()) {
                evicted(current);
            }
        }
        let slot = Arc::new(Slot {
            current: Mutex::new(None),
            opening: tokio::sync::Mutex::new(()),
            used: Mutex::new((tick, Instant::now())),
        });
        slots.insert(key.to_owned(), Arc::clone(&slot));
        Ok(slot)
    }

    /// Forgets what is open for that key, if it is still this.
    pub(crate) fn forget(&self, key: &str, gone: &Arc<T>) {
        let slot = self.lock().get(key).map(Arc::clone);
        if let Some(slot) = slot
            && slot.current().is_some_and(|current| Arc::ptr_eq(&current, gone))
        {
            slot.set(None);
        }
    }

    /// Takes out what is open for that key.
    pub(crate) fn take(&self, key: &str) -> Option<Arc<T>> {
        self.lock().remove(key)?.current()
    }

    /// Takes out everything that nobody used for that long.
    pub(crate) fn take_idle(&self, idle: Duration) -> Vec<Arc<T>> {
        let now = Instant::now();
        let mut taken = Vec::new();
        self.lock().retain(|_, slot| {
            let is_stale = slot.is_idle() && now.duration_since(slot.used().1) >= idle;
            if is_stale {
                taken.extend(slot.current());
            }
            !is_stale
        });
        taken
    }

    /// Everything that is open.
    pub(crate) fn all(&self) -> Vec<Arc<T>> {
        self.lock().values().filter_map(|slot| slot.current()).collect()
    }
}

impl<T> Slot<T> {
    fn current(&self) -> Option<Arc<T>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, current: Option<Arc<T>>) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = current;
    }

    fn used(&self) -> (u64, Instant) {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn touch(&self, tick: u64) {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) = (tick, Instant::now());
    }

    /// Whether no call holds it.
    fn is_idle(&self) -> bool {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        self.opening.try_lock().is_ok()
            && current.as_ref().is_none_or(|c| Arc::strong_count(c) == 1)
    }
}
