//! Why a message is refused before anybody decides about it, and how that looks on the wire.

use crate::message::{RequestId, Response, RpcError};
use crate::refusal::Refusal;
use lockgate_types::methods::Era;
use lockgate_types::{Code, Json, JsonError, Object};

/// The numbers of JSON-RPC errors.
pub mod numbers {
    /// JSON-RPC: not JSON.
    pub const PARSE_ERROR: i64 = -32700;
    /// JSON-RPC: JSON, but not a request.
    pub const INVALID_REQUEST: i64 = -32600;
    /// JSON-RPC: no such method here.
    pub const METHOD_NOT_FOUND: i64 = -32601;
    /// JSON-RPC: parameters that the method does not take.
    pub const INVALID_PARAMS: i64 = -32602;
    /// JSON-RPC: the receiver failed.
    pub const INTERNAL_ERROR: i64 = -32603;
    /// MCP 2026-07-28: a header is missing or says something else than the body.
    pub const HEADER_MISMATCH: i64 = -32020;
    /// MCP 2026-07-28: the client did not declare a capability that this needs.
    pub const MISSING_CAPABILITY: i64 = -32021;
    /// MCP 2026-07-28: the version is not spoken here.
    pub const UNSUPPORTED_VERSION: i64 = -32022;
    /// MCP up to 2025-11-25: no such resource. Later revisions say `INVALID_PARAMS`.
    pub const RESOURCE_NOT_FOUND: i64 = -32002;
    /// MCP 2025-11-25: the server wants an address opened first. Later revisions ask with
    /// `input_required`.
    pub const URL_ELICITATION_REQUIRED: i64 = -32042;

    // Lockgate's own, outside the range that JSON-RPC reserves (-32768 to -32000), as MCP asks for.
    // They read like an HTTP status times one hundred.

    /// Lockgate: refused by policy, or by what the caller sent.
    pub const REFUSED: i64 = 40300;
    /// Lockgate: the upstream failed.
    pub const UPSTREAM_FAILED: i64 = 50200;
    /// Lockgate: the gate could not do its part.
    pub const GATE_FAILED: i64 = 50300;
    /// Lockgate: the feature does not exist in the other side's protocol version.
    pub const CANNOT_CROSS_ERAS: i64 = 50500;
}

/// What is wrong with a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Not acceptable JSON.
    #[error("{0}")]
    Json(JsonError),
    /// An array of messages.
    #[error("batches are not part of this protocol version")]
    Batch,
    /// JSON, but not a JSON-RPC 2.0 message.
    #[error("not a JSON-RPC 2.0 message: {reason}")]
    NotAMessage {
        /// What it lacks or has too much.
        reason: &'static str,
    },
    /// The id is neither a string nor an integer.
    #[error("`id` is neither a string nor an integer within bounds")]
    BadId,
    /// `params` is there and not an object.
    #[error("`params` is not an object")]
    ParamsNotObject,
    /// A member's name differs only in case from one that the protocol defines, or from another one
    /// beside it. Readers that ignore case would read another message than this gate.
    #[error("the member `{name}` differs only in case from `{like}`")]
    AmbiguousMember {
        /// The name.
        name: String,
        /// What it could be taken for.
        like: String,
    },
    /// A method that does not exist here.
    #[error("the method `{method}` does not exist here: {reason}")]
    UnknownMethod {
        /// The method.
        method: String,
        /// Why not.
        reason: &'static str,
    },
    /// `_meta` lacks a required member, or has one of another type.
    #[error("`_meta` must carry `{member}`: {expected}")]
    Meta {
        /// The member.
        member: &'static str,
        /// What is expected there.
        expected: &'static str,
    },
    /// A member of `params` has a type or size that the method does not take.
    #[error("`{member}` must be {expected}")]
    Param {
        /// The member.
        member: &'static str,
        /// What is expected there.
        expected: &'static str,
    },
    /// A header is missing, malformed, or says something else than the body.
    #[error("header mismatch: `{header}` {reason}")]
    Header {
        /// The header's name.
        header: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The version is not one that is spoken here.
    #[error("protocol version `{requested}` is not supported")]
    Version {
        /// What was asked for.
        requested: String,
    },
    /// The client did not declare a capability.
    #[error("the client did not declare the capability `{capability}`")]
    Capability {
        /// The capability.
        capability: &'static str,
    },
    /// The feature does not exist in the other side's protocol version.
    #[error("`{feature}` cannot be carried to a peer of the {to} era", to = .to.as_str())]
    CannotCross {
        /// A method, or a part of a result.
        feature: String,
        /// Where it cannot go.
        to: Era,
    },
}

/// A refusal of a message, with the id of the request if it could be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct WireError {
    /// What is wrong. Boxed: errors travel through the hot path.
    pub problem: Box<Problem>,
    /// The request's id, so that the answer can carry it.
    pub id: Option<RequestId>,
}

impl WireError {
    /// A refusal of a message whose id is not known.
    pub fn new(problem: Problem) -> Self {
        Self { problem: Box::new(problem), id: None }
    }

    /// A refusal of that request.
    pub fn of(problem: Problem, id: &RequestId) -> Self {
        Self { problem: Box::new(problem), id: Some(id.clone()) }
    }

    /// The stable code.
    pub fn code(&self) -> Code {
        match &*self.problem {
            Problem::Json(JsonError::Duplicate { .. }) | Problem::AmbiguousMember { .. } => {
                Code::DuplicateMember
            }
            Problem::Json(JsonError::TooDeep { .. }) => Code::TooDeep,
            Problem::Json(JsonError::TooLong { .. } | JsonError::TooManyMembers { .. }) => {
                Code::TooLarge
            }
            Problem::Json(
                JsonError::Syntax { .. }
                | JsonError::NotUtf8 { .. }
                | JsonError::LoneSurrogate { .. },
            ) => Code::NotJson,
            Problem::Batch => Code::BatchRefused,
            Problem::NotAMessage { .. } => Code::NotAMessage,
            Problem::BadId => Code::BadId,
            Problem::ParamsNotObject => Code::ParamsNotObject,
            Problem::UnknownMethod { .. } => Code::UnknownMethod,
            Problem::Meta { .. } => Code::MissingMeta,
            Problem::Param { member: "requestState", .. } => Code::StateRejected,
            Problem::Param { .. } => Code::ArgumentsRefused,
            Problem::Header { .. } => Code::HeaderMismatch,
            Problem::Version { .. } => Code::UnsupportedVersion,
            Problem::Capability { .. } => Code::MissingCapability,
            Problem::CannotCross { .. } => Code::CannotCrossEras,
        }
    }

    /// The number of the JSON-RPC error.
    pub fn number(&self) -> i64 {
        match &*self.problem {
            Problem::Json(_) => numbers::PARSE_ERROR,
            Problem::Batch
            | Problem::NotAMessage { .. }
            | Problem::BadId
            | Problem::AmbiguousMember { .. } => numbers::INVALID_REQUEST,
            Problem::ParamsNotObject | Problem::Meta { .. } | Problem::Param { .. } => {
                numbers::INVALID_PARAMS
            }
            Problem::UnknownMethod { .. } => numbers::METHOD_NOT_FOUND,
            Problem::Header { .. } => numbers::HEADER_MISMATCH,
            Problem::Version { .. } => numbers::UNSUPPORTED_VERSION,
            Problem::Capability { .. } => numbers::MISSING_CAPABILITY,
            Problem::CannotCross { .. } => numbers::CANNOT_CROSS_ERAS,
        }
    }

    /// The HTTP status of the answer. With sessions, an unknown method is an ordinary answer.
    pub fn http_status(&self, era: Era) -> u16 {
        match (&*self.problem, era) {
            (Problem::Json(JsonError::TooLong { .. }), _) => 413,
            (Problem::UnknownMethod { .. }, Era::Stateless) => 404,
            (Problem::UnknownMethod { .. }, Era::Sessions) | (Problem::CannotCross { .. }, _) => {
                200
            }
            _ => 400,
        }
    }

    /// The error as JSON-RPC says it: what the revision asks for in `data`, and the code with its
    /// remedy.
    pub fn to_rpc(&self) -> RpcError {
        let refusal = Refusal { reason: self.to_string(), ..Refusal::of(self.code()) };
        let mut data = refusal.to_object();
        match &*self.problem {
            Problem::Version { requested } => {
                let supported = crate::era::STATELESS_VERSIONS.iter().map(|v| Json::from(*v));
                data.set("supported", supported.collect::<Vec<_>>());
                data.set("requested", requested.as_str());
            }
            Problem::Capability { capability } => {
                data.set("requiredCapabilities", Object::new().with(*capability, Object::new()));
            }
            _ => {}
        }
        RpcError::new(self.number(), self.to_string()).with_data(data)
    }

    /// The answer, with the request's id if it is known.
    pub fn to_response(&self) -> Response {
        Response { id: self.id.clone(), outcome: Err(self.to_rpc()), extra: Object::new() }
    }
}
