//! What an upstream says outside of calls: the open stream of a session, the idle lines of a child process, or a
//! subscription where the upstream has no sessions.

use crate::caller::Caller;
use crate::events::Events;
use crate::exchange::{Event, pair};
use crate::http::{Http, Kind, kind};
use crate::post::read_message;
use crate::probe::own_params;
use crate::progress::Progress;
use crate::session::Session;
use crate::upstream::{Upstream, Voice};
use crate::upstreams::to_event;
use http::{HeaderName, HeaderValue, StatusCode};
use lockgate_types::{Json, Object};
use lockgate_wire::subscriptions::{Filter, untag};
use lockgate_wire::{Era, Message, Notification, Request, bridge};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Events waiting to be read. What does not fit is lost: outside of calls nobody may hold up an upstream.
pub(crate) const EVENTS_MAX: usize = 256;
/// When to come back to a stream that ended, where the server does not say.
const RETRY_MS: u64 = 1000;
/// How often in a row to come back without hearing anything.
const RETRIES_MAX: u32 = 8;

/// Listens for as long as somebody reads.
pub(crate) async fn listen(
    upstream: Arc<Upstream>,
    caller: Arc<Caller>,
    events: mpsc::Sender<Event>,
) {
    let heard = events.clone();
    let listening = async {
        match upstream.voice(&caller).await {
            Ok(Voice::Session(http, session)) => {
                listen_to_session(&upstream, &http, &session, &events).await;
            }
            Ok(Voice::Child(child)) if child.era == Era::Sessions => {
                let (signals, mut receiver) = mpsc::channel(EVENTS_MAX);
                child.listen(signals);
                drop(child);
                while let Some(signal) = receiver.recv().await {
                    if let Some(event) = to_event(signal) {
                        let _ = events.try_send(event);
                    }
                }
            }
            // A stateless caller subscribes with a call of its own.
            Ok(voice) if caller.era == Era::Sessions => {
                subscribe(&upstream, &caller, &voice, &events).await;
            }
            Ok(_) => {}
            Err(trouble) => {
                tracing::debug!(detail = trouble.detail, "an upstream cannot be listened to");
            }
        }
    };
    tokio::select! {
        () = listening => {}
        () = heard.closed() => {}
    }
}

/// The stream that a session has besides its calls.
async fn listen_to_session(
    upstream: &Upstream,
    http: &Http,
    session: &Session,
    events: &mpsc::Sender<Event>,
) {
    let mut stream: Option<Events> = None;
    let mut fruitless = 0;
    while fruitless < RETRIES_MAX {
        let mut headers = session.headers();
        let last_id = stream.as_ref().and_then(|stream| stream.last_id.as_deref());
        if let Some(last_id) = last_id.and_then(|id| HeaderValue::from_str(id).ok()) {
            headers.insert(HeaderName::from_static("last-event-id"), last_id);
        }
        match http.open_stream(headers).await {
            Ok(response) if response.status() == StatusCode::OK => match kind(&response) {
                Kind::Events => match &mut stream {
                    Some(stream) => stream.resume(response, http.answer_bytes_max),
                    None => stream = Some(Events::of(response, http.answer_bytes_max)),
                },
                Kind::Json | Kind::Other => return,
            },
            // 405: there is no such stream. 404: there is no such session any more.
            Ok(response) if response.status().is_client_error() => return,
            Ok(_) | Err(_) => {}
        }
        fruitless += 1;
        if let Some(stream) = &mut stream {
            if pass_on(upstream, http, stream, events).await.is_err() {
                return;
            }
            if stream.seen > 0 {
                fruitless = 0;
            }
        }
        let retry_ms = stream.as_ref().and_then(|stream| stream.retry_ms).unwrap_or(RETRY_MS);
        tokio::time::sleep(Duration::from_millis(retry_ms)).await;
    }
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
) {
    let Ok(catalogue) = upstream.catalogue(caller).await else { return };
    let all = Filter { tools: true, prompts: true, resources: true, updated: Vec::new() };
    let filter = all.honoured_by(&catalogue.capabilities);
    if filter == Filter::default() {
        return;
    }
    let mut own = caller.clone();
    own.capabilities = bridge::capabilities_across(&caller.capabilities);
    let params: Object = own_params(&own).with("notifications", filter.to_json());
    let request = Request::new(upstream.fresh_id(), "subscriptions/listen", params);
    let (mut running, mut lane) = pair(&upstream.changes);
    let progress = Progress::within(None);
    let subscription = upstream.attempt(voice, &request, &[], &mut lane, &progress);
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
    let _: Option<Json> = None;
}
