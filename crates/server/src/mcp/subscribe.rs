//! `subscriptions/listen` where one upstream cannot simply be asked: of all upstreams together, or
//! of one that has sessions. The stream is the gate's own; what it carries comes from the
//! upstreams.

use crate::http::{self, Body, BoxError};
use crate::mcp::Client;
use crate::mcp::answer::{Dress, Refused, event};
use crate::mcp::ask::Ask;
use crate::mcp::people::Telling;
use crate::mcp::route::{Asker, Scope};
use crate::mcp::stream::{KEEP_ALIVE, poll_alarm};
use crate::running::{Running, Step};
use ::http::Response;
use bytes::Bytes;
use futures_util::future::join_all;
use http_body::Frame;
use lockgate_effects::{Caller, Catalogue};
use lockgate_kernel::{Answer, Kernel, ToClient};
use lockgate_types::identity::Identity;
use lockgate_types::{Json, Object, SessionId, UpstreamName};
use lockgate_wire::era::V2025_11_25;
use lockgate_wire::subscriptions::{Filter, tag};
use lockgate_wire::{Era, Notification, RequestId};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::mpsc;
use tokio::time::Sleep;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Notifications that wait for one client.
const WAITING_MAX: usize = 64;

/// Whether the one upstream can be asked itself.
pub(crate) async fn is_forwarded(asker: &Asker<'_>) -> bool {
    let Scope::One(upstream) = asker.scope else { return false };
    let introduced = asker.face.kernel.introduction(asker.caller, upstream).await;
    introduced.is_ok_and(|introduced| introduced.catalogue.era == Era::Stateless)
}

/// Opens the stream: what will be carried first, then what happens, until the client leaves.
pub(crate) async fn listen(
    client: &Client<'_>,
    asker: Asker<'_>,
    dress: Dress,
    params: &Object,
) -> Result<Response<Body>, Box<Refused>> {
    let wanted = Filter::from_params(params);
    let wanted = wanted.map_err(|error| Refused::wire(&error, Era::Stateless).to(&dress.id))?;
    let sources = sources(client, &asker, &wanted).await;
    let honoured = union(sources.iter().map(|source| &source.filter));
    let (sender, frames) = mpsc::channel(WAITING_MAX);
    let left = CancellationToken::new();
    for source in sources {
        let (sender, left, id) = (sender.clone(), left.clone(), dress.id.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = left.cancelled() => {}
                () = source.pump(id, sender) => {}
            }
        });
    }
    let acknowledged = Object::new().with("notifications", honoured.to_json());
    let acknowledged = tag(acknowledged, &dress.id);
    let first = Notification::new("notifications/subscriptions/acknowledged", acknowledged);
    let body = Carried {
        first: Some(event(&first.to_bytes()).into()),
        frames,
        // Where nothing can happen, the stream stays open all the same: its end would only be asked
        // for again.
        _idle: (honoured == Filter::default()).then_some(sender),
        dress: Some(dress),
        alarm: Box::pin(tokio::time::sleep(KEEP_ALIVE)),
        _left: left.drop_guard(),
    };
    Ok(http::events(body))
}

/// One upstream's part of a stream.
struct Source {
    kernel: Kernel,
    identity: Arc<Identity>,
    session: Option<SessionId>,
    caller: Arc<Caller>,
    upstream: UpstreamName,
    filter: Filter,
    from: From,
}

enum From {
    /// It was asked for a stream of its own.
    Stream(Running),
    /// It has sessions: what it says there.
    Session,
}

async fn sources(client: &Client<'_>, asker: &Asker<'_>, wanted: &Filter) -> Vec<Source> {
    let owners = join_all(wanted.updated.iter().map(|uri| asker.owner(uri))).await;
    let catalogues = asker.catalogues().await.into_iter();
    let reachable = catalogues.filter_map(|(upstream, found)| Some((upstream, found.ok()?)));
    let parts = reachable.map(|(upstream, catalogue)| {
        let own = wanted.updated.iter().zip(&owners);
        let own = own.filter(|(_, owner)| owner.as_ref().is_ok_and(|owner| *owner == upstream));
        let mut filter = wanted.clone();
        filter.updated = own.map(|(uri, _)| uri.clone()).collect();
        let filter = filter.honoured_by(&catalogue.capabilities);
        source(client, asker, upstream, catalogue, filter)
    });
    let sources = join_all(parts).await;
    sources.into_iter().filter(|source| source.filter != Filter::default()).collect()
}

async fn source(
    client: &Client<'_>,
    asker: &Asker<'_>,
    upstream: UpstreamName,
    catalogue: Arc<Catalogue>,
    mut filter: Filter,
) -> Source {
    let caller = match catalogue.era {
        Era::Stateless => Arc::clone(asker.caller),
        Era::Sessions => Arc::new(listener(asker.caller)),
    };
    let ask = |method: &str, params: Object| Ask {
        identity: Arc::clone(client.identity),
        session: client.session(None),
        caller: Arc::clone(&caller),
        presented: client.presented(),
        upstream: upstream.clone(),
        method: method.to_owned(),
        params,
        traceparent: None,
        key: None,
        resumes: None,
        telling: Telling::Refusal,
    };
    let from = match catalogue.era {
        Era::Stateless if filter != Filter::default() => {
            let params = Object::new().with("notifications", filter.to_json());
            From::Stream(ask("subscriptions/listen", params).start(client.face))
        }
        Era::Stateless => From::Session,
        Era::Sessions => {
            let subscriptions = filter.updated.iter().map(|uri| {
                let params = Object::new().with("uri", uri.as_str());
                succeeds(ask("resources/subscribe", params).start(client.face))
            });
            let mut subscribed = join_all(subscriptions).await.into_iter();
            filter.updated.retain(|_| subscribed.next().unwrap_or(false));
            From::Session
        }
    };
    let (kernel, identity) = (client.face.kernel.clone(), Arc::clone(client.identity));
    let session = client.session(None);
    Source { kernel, identity, session, caller, upstream, filter, from }
}

/// The caller, as an upstream with sessions knows one: it subscribes in a session, and hears in
/// that session.
fn listener(caller: &Caller) -> Caller {
    Caller {
        session_key: format!("listening {}", caller.session_key),
        era: Era::Sessions,
        protocol_version: V2025_11_25.to_owned(),
        ..caller.clone()
    }
}

async fn succeeds(mut running: Running) -> bool {
    loop {
        match running.next().await {
            Step::Interim(_) => {}
            Step::Done(reply) => return matches!(reply.answer, Answer::Result(_)),
            Step::Lost => return false,
        }
    }
}

impl Source {
    async fn pump(self, id: RequestId, frames: mpsc::Sender<Bytes>) {
        let Self { kernel, identity, session, caller, upstream, filter, from } = self;
        let carry = async |message: ToClient| {
            let ToClient::Notification { method, params } = message else { return };
            if filter.carries(&method, &params) {
                let bytes = Notification::new(method, tag(params, &id)).to_bytes();
                // A client that is gone ends the pump.
                let _ = frames.send(event(&bytes).into()).await;
            }
        };
        match from {
            From::Stream(mut running) => {
                while let Step::Interim(message) = running.next().await {
                    carry(message).await;
                }
            }
            From::Session => {
                let mut said = kernel.listen(&identity, session, &caller, &upstream).await;
                while let Some(message) = said.recv().await {
                    carry(message).await;
                }
            }
        }
    }
}

fn union<'a>(parts: impl Iterator<Item = &'a Filter>) -> Filter {
    parts.fold(Filter::default(), |mut all, part| {
        all.tools |= part.tools;
        all.prompts |= part.prompts;
        all.resources |= part.resources;
        all.updated.extend(part.updated.iter().cloned());
        all
    })
}

/// The body of the stream. Dropping it ends every part.
struct Carried {
    first: Option<Bytes>,
    frames: mpsc::Receiver<Bytes>,
    _idle: Option<mpsc::Sender<Bytes>>,
    dress: Option<Dress>,
    alarm: Pin<Box<Sleep>>,
    _left: DropGuard,
}

impl http_body::Body for Carried {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let frame = match this.first.take() {
            Some(first) => first,
            None => match this.frames.poll_recv(context) {
                Poll::Ready(Some(frame)) => frame,
                // Every upstream has ended its part: the client may ask again.
                Poll::Ready(None) => match this.dress.take() {
                    Some(dress) => dress.result(ended()).into_event().into(),
                    None => return Poll::Ready(None),
                },
                Poll::Pending => return poll_alarm(&mut this.alarm, context),
            },
        };
        this.alarm.as_mut().reset(tokio::time::Instant::now() + KEEP_ALIVE);
        Poll::Ready(Some(Ok(Frame::data(frame))))
    }
}

fn ended() -> Json {
    Object::new().with("resultType", "complete").into()
}
