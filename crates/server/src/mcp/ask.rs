//! What a request of this protocol becomes: something asked of the kernel.

use crate::mcp::McpFace;
use crate::mcp::people::{self, Telling};
use crate::running::Running;
use lockgate_effects::{Caller, Presented};
use lockgate_kernel::{Proposal, Resumes, ToClient, Words};
use lockgate_types::identity::Identity;
use lockgate_types::{Object, SessionId, UpstreamName};
use std::sync::Arc;
use tokio::sync::mpsc;

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
    /// Asks it.
    pub(crate) fn start(self, face: &McpFace) -> Running {
        let (kernel, room) = (face.kernel.clone(), Arc::clone(&face.waiting));
        Running::start(|client| async move { people::call(&kernel, &room, self, client).await })
    }

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
            model: None,
            client,
        }
    }
}
