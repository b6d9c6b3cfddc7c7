//! A call on its way, seen from a face: what the kernel says meanwhile, then how it ended.

use crate::mcp::McpFace;
use crate::mcp::people::{self, Telling};
use lockgate_effects::{Caller, Presented};
use lockgate_kernel::{Proposal, Reply, Resumes, ToClient, Words};
use lockgate_types::identity::Identity;
use lockgate_types::{Object, SessionId, UpstreamName};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Messages of one call that wait for its client. A client that does not read holds up its own call
/// only.
const INTERIM_MAX: usize = 32;

/// What is asked of the kernel.
#[derive(Clone)]
pub(crate) struct Ask {
    pub(crate) identity: Arc<Identity>,
    pub(crate) session: Option<SessionId>,
    pub(crate) caller: Arc<Caller>,
    pub(crate) presented: Presented,
    pub(crate) upstream: UpstreamName,
    pub(crate) method: String,
    pub(crate) params: Object,
    pub(crate) traceparent: Option<String>,
    /// The idempotency key, if it came in a header.
    pub(crate) key: Option<String>,
    /// The request for approval that it comes back to.
    pub(crate) resumes: Option<Resumes>,
    /// How the client hears that the call waits for people.
    pub(crate) telling: Telling,
}

impl Ask {
    pub(crate) fn into_proposal(self, client: mpsc::Sender<ToClient>) -> Proposal {
        let Self { identity, session, caller, presented, upstream, method, params, .. } = self;
        let Self { traceparent, key, .. } = self;
        Proposal {
            identity,
            session,
            caller,
            presented,
            upstream,
            method,
            params,
            // What a call's person says comes in its `_meta`.
            words: Words::default(),
            traceparent,
            key,
            client,
        }
    }
}

/// A call on its way. Dropping it tells the kernel that the client is gone; the call's task lives
/// on and records.
pub(crate) struct Running {
    interim: mpsc::Receiver<ToClient>,
    reply: JoinHandle<Reply>,
    /// Looked at already, not yet said.
    stash: VecDeque<ToClient>,
}

/// What happens next.
pub(crate) enum Step {
    /// The client is told something, or asked.
    Interim(ToClient),
    /// The call is over, and recorded.
    Done(Reply),
    /// The call's task ended without a reply: our own mistake.
    Lost,
}

impl Running {
    /// Starts a call in a task of its own: a request's future is dropped when its client hangs up,
    /// and an effect's record must not be dropped with it.
    pub(crate) fn start(face: &McpFace, ask: Ask) -> Self {
        let (client, interim) = mpsc::channel(INTERIM_MAX);
        let (kernel, room) = (face.kernel.clone(), Arc::clone(&face.waiting));
        // Boxed: spawning moves a task's state several times.
        let reply =
            tokio::spawn(Box::pin(async move { people::call(&kernel, &room, ask, client).await }));
        Self { interim, reply, stash: VecDeque::new() }
    }

    /// The next step. After [`Step::Done`] there is none.
    pub(crate) async fn next(&mut self) -> Step {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }

    /// The next step. The kernel lets go of the channel when a call ends, so that everything said
    /// before the reply is seen before the reply.
    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Step> {
        if let Some(message) = self.stash.pop_front() {
            return Poll::Ready(Step::Interim(message));
        }
        if let Some(message) = ready!(self.interim.poll_recv(context)) {
            return Poll::Ready(Step::Interim(message));
        }
        let reply = ready!(Pin::new(&mut self.reply).poll(context));
        Poll::Ready(reply.map_or(Step::Lost, Step::Done))
    }

    /// What the client is asked right now besides: notifications in between are kept for later.
    pub(crate) fn other_requests(&mut self) -> Vec<ToClient> {
        let mut requests = Vec::new();
        while let Ok(message) = self.interim.try_recv() {
            match message {
                ToClient::Request { .. } => requests.push(message),
                other => self.stash.push_back(other),
            }
        }
        requests
    }
}
