//! What an upstream says outside of calls: the open stream of a session, the idle lines of a child
//! process, or a subscription where the upstream has no sessions.

use crate::caller::Caller;
use crate::credential::Speaker;
use crate::events::Events;
use crate::exchange::{Event, pair, to_event};
use crate::http::{Http, Kind, kind};
use crate::post::read_message;
use crate::probe::own_params;
use crate::progress::Progress;
use crate::session::Session;
use crate::upstream::{Extra, Upstream, Voice};
use http::{HeaderName, HeaderValue, StatusCode};
use lockgate_types::Object;
use lockgate_wire::subscriptions::{Filter, untag};
use lockgate_wire::{Era, Message, Notification, Request, bridge};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Events waiting to be read. What does not fit is lost: outside of calls nobody may hold up an
/// upstream.
pub(crate) const EVENTS_MAX: usize = 256;
/// When to come back to a stream that ended, where the server does not say.
const RETRY_MS: u64 = 1000;
/// How often in a row to come back without hearing anything.
const RETRIES_MAX: u32 = 8;

/// Why there is nothing more to hear on a line.
enum Silence {
    /// This upstream says nothing outside of calls, or nothing this caller could hear.
    ForGood,
    /// The line is gone; there may be another one later.
    LineGone,
}

/// Listens for as long as somebody reads and the upstream is there.
pub(crate) async fn listen(
    upstream: Arc<Upstream>,
    caller: Arc<Caller>,
    events: mpsc::Sender<Event>,
) {
    let reader = events.clone();
    let listening = async {
        let speaker = Speaker::beside(&caller);
        let Ok(mut voice) = upstream.voice(&caller, &speaker).await else { return };
        while let Silence::LineGone = hear(&upstream, &caller, voice, &events).await {
            voice = next_voice(&upstream, &caller).await;
        }
    };
    tokio::select! {
        () = listening => {}
        () = reader.closed() => {}
        () = upstream.removed.cancelled() => {}
    }
}

/// The line that the caller's next call opens: listening alone does not start what has ended.
async fn next_voice(upstream: &Upstream, caller: &Caller) -> Voice {
    loop {
        tokio::time::sleep(Duration::from_millis(RETRY_MS)).await;
        if let Some(voice) = upstream.open_voice(&caller.session_key) {
            return voice;
        }
    }
}

async fn hear(
    upstream: &Arc<Upstream>,
    caller: &Caller,
    voice: Voice,
    events: &mpsc::Sender<Event>,
) -> Silence {
    match &voice {
        Voice::Session(http, session) => {
            let silence = hear_session(upstream, http, session, events).await;
            if let Silence::LineGone = silence {
                upstream.forget(caller, &voice);
            }
            silence
        }
        Voice::Child(child) if child.era == Era::Sessions => {
            let (signals, mut receiver) = mpsc::channel(EVENTS_MAX);
            child.listen(signals);
            // Held, the process would never be idle.
            drop(voice);
            while let Some(signal) = receiver.recv().await {
                if let Some(event) = to_event(signal) {
                    let _ = events.try_send(event);
                }
            }
            Silence::LineGone
        }
        // A stateless caller subscribes with a call of its own.
        Voice::Child(_) | Voice::Stateless(_) if caller.era == Era::Sessions => {
            subscribe(upstream, caller, &voice, events).await
        }
        Voice::Child(_) | Voice::Stateless(_) => Silence::ForGood,
    }
}

/// The stream that a session has besides its calls.
async fn hear_session(
    upstream: &Upstream,
    http: &Http,
    session: &Session,
    events: &mpsc::Sender<Event>,
) -> Silence {
    let mut stream: Option<Events> = None;
    let mut fruitless = 0;
    while fruitless < RETRIES_MAX {
        let mut headers = session.headers();
        let last_id = stream.as_ref().and_then(|stream| stream.last_id.as_deref());
        if let Some(last_id) = last_id.and_then(|id| HeaderValue::from_str(id).ok()) {
            headers.insert(HeaderName::from_static("last-event-id"), last_id);
        }
        match http.open_stream(headers, &session.speaker).await {
            Ok(response) if response.status() == StatusCode::OK => match kind(&response) {
                Kind::Events => match &mut stream {
                    Some(stream) => stream.resume(response, http.answer_bytes_max),
                    None => stream = Some(Events::of(response, http.answer_bytes_max)),
                },
                Kind::Json | Kind::Other => return Silence::ForGood,
            },
            Ok(response) if response.status() == StatusCode::NOT_FOUND => {
                return Silence::LineGone;
            }
            // There is no such stream.
            Ok(response) if response.status().is_client_error() => return Silence::ForGood,
            Ok(_) | Err(_) => {}
        }
        fruitless += 1;
        if let Some(stream) = &mut stream {
            if pass_on(upstream, http, stream, events).await.is_err() {
                return Silence::ForGood;
            }
            if stream.seen > 0 {
                fruitless = 0;
            }
        }
        let retry_ms = stream.as_ref().and_then(|stream| stream.retry_ms).unwrap_or(RETRY_MS);
        tokio::time::sleep(Duration::from_millis(retry_ms)).await;
    }
    Silence::ForGood
}

async fn pass_on(
    upstream: &Upstream,
    http: &Http,
    stream: &mut Events,
    events: &mpsc::Sender<Event>,
) -> Result<(), crate::trouble::Trouble> {
    while let Some(text) = stream.next().await? {
        let event = match read_message(text.as_bytes(), http.answer_bytes_max)? {
            Message::Notification(Notification { method, params, .. }) => {
                upstream.changes.note(&method);
                Event::Notification { method, params }
            }
            Message::Request(Request { id, method, params, .. }) => {
                Event::Request { id, method, params }
            }
            // Answers belong to the streams of their requests.
            Message::Response(_) => continue,
        };
        let _ = events.try_send(event);
    }
    Ok(())
}

/// A subscription to every list, for a caller that would hear of them in a session.
async fn subscribe(
    upstream: &Arc<Upstream>,
    caller: &Caller,
    voice: &Voice,
    events: &mpsc::Sender<Event>,
) -> Silence {
    let Ok(catalogue) = upstream.catalogue(caller).await else { return Silence::ForGood };
    let all = Filter { tools: true, prompts: true, resources: true, updated: Vec::new() };
    let filter = all.honoured_by(&catalogue.capabilities);
    if filter == Filter::default() {
        return Silence::ForGood;
    }
    let mut own = caller.clone();
    own.capabilities = bridge::capabilities_across(&caller.capabilities);
    let params: Object = own_params(&own).with("notifications", filter.to_json());
    let request = Request::new(upstream.fresh_id(), "subscriptions/listen", params);
    let (mut running, mut far) = pair(&upstream.changes);
    far.speaker = Speaker::beside(caller);
    let progress = Progress::within(None);
    let subscription = upstream.attempt(voice, &request, Extra::NONE, &mut far, &progress);
    let forwarding = async {
        loop {
            let Some(event) = to_event(running.next().await) else { continue };
            let Event::Notification { method, mut params } = event else { continue };
            untag(&mut params);
            if filter.carries(&method, &params) {
                let _ = events.try_send(Event::Notification { method, params });
            }
        }
    };
    tokio::select! {
        ended = subscription => tracing::debug!(ended = ended.is_ok(), "a subscription ended"),
        () = forwarding => {}
    }
    Silence::ForGood
}
