//! What a face hands to the kernel, and what it gets back.
//!
//! A face has parsed, checked the wire rules of its protocol and verified the token. It knows
//! nothing of policies, records or upstream connections; the kernel knows nothing of HTTP.

use crate::model::ModelCall;
use crate::words::Words;
use lockgate_effects::{Caller, Presented};
use lockgate_types::identity::Identity;
use lockgate_types::{CallId, Json, Object, SessionId, UpstreamName};
use lockgate_wire::RpcError;
pub use lockgate_wire::refusal::{PENDING, Refusal, Waits};
use lockgate_wire::sse::SseEvent;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// A request as a face understood it: the beginning of every call.
pub struct Proposal {
    /// Who asks.
    pub identity: Arc<Identity>,
    /// The session it belongs to: that whose token the caller shows
    /// ([`Kernel::join_session`](crate::Kernel::join_session)), else the face's own, if it has any.
    pub session: Option<SessionId>,
    /// As whom the gate speaks to the upstream.
    pub caller: Arc<Caller>,
    /// What the caller has shown for itself, where an upstream's credential is made of it.
    pub presented: Presented,
    /// Which upstream.
    pub upstream: UpstreamName,
    /// The protocol's method.
    pub method: String,
    /// Its params, every field, with the upstream's own names (prefixes taken off).
    pub params: Object,
    /// What the person has said with it, as the face was told by an application that is believed
    /// ([`Words::told`]). What `_meta` of the params says comes on top.
    pub words: Words,
    /// W3C `traceparent`, if the caller sent one.
    pub traceparent: Option<String>,
    /// The idempotency key that came beside the params, if one did.
    pub key: Option<String>,
    /// What is asked of a model, if it is a call of one.
    pub model: Option<Box<ModelCall>>,
    /// Where messages go that the client gets while the call runs.
    pub client: ClientPort,
}

/// A call that comes back to a request for approval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resumes {
    /// The request, as the caller names it: whether it is its own, and for exactly this call, is
    /// found out.
    pub request: CallId,
    /// Whether the caller does not want it any more.
    pub is_withdrawn: bool,
}

/// The way to the client while a call runs. Bounded: a client that does not read holds up its own
/// call only.
pub type ClientPort = mpsc::Sender<ToClient>;

/// A message for the client before the reply.
pub enum ToClient {
    /// A notification: progress, a log message.
    Notification {
        /// The method.
        method: String,
        /// Its params.
        params: Object,
    },
    /// A request that the client is to answer: sampling, elicitation, roots. Decided and recorded
    /// already.
    Request {
        /// The method.
        method: String,
        /// Its params.
        params: Object,
        /// Where the answer goes. Dropped: the client cannot answer.
        answer: oneshot::Sender<Result<Json, RpcError>>,
    },
    /// The upstream closed its stream in mid-call and said when to come back; a face may do the
    /// same.
    StreamClosed {
        /// Milliseconds after which to come back.
        retry_ms: Option<u64>,
    },
    /// A model begins to answer in events: the call, and status and headers as its provider has
    /// them.
    Begins {
        /// The call.
        call: CallId,
        /// Status and headers.
        head: Json,
    },
    /// Events of a model's answer that have been looked at.
    Events(Vec<SseEvent>),
}

/// How a call ended, recorded durably.
pub struct Reply {
    /// The call's id, for `lockgate trace`.
    pub call: CallId,
    /// What the caller gets.
    pub answer: Answer,
}

/// What the caller gets.
pub enum Answer {
    /// The upstream's result, obligations met.
    Result(Json),
    /// The upstream's error.
    Error(RpcError),
    /// This gate refused, or failed.
    Refused(Refusal),
}
