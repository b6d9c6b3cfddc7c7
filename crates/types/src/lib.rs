//! The words of Lockgate: what every other crate speaks about.
//!
//! JSON with its source text kept, canonical bytes and digests, identifiers, error codes, and the
//! values that travel along the straight line (identity, call, facts, decision). Nothing here does
//! I/O, reads a clock or rolls dice.

mod canonical;
mod code;
mod digest;
mod ids;
mod json;
mod parse;
mod redacted;

pub mod appearance;
pub mod call;
pub mod decision;
pub mod document;
pub mod evaluated;
pub mod evidence;
pub mod facts;
pub mod flow;
pub mod fold;
pub mod history;
pub mod identity;
pub mod label;
pub mod methods;
pub mod model;
pub mod plan;
pub mod risk;

pub use canonical::CanonicalObject;
pub use code::{Blame, Code, Retry};
pub use digest::{Commitment, Digest, Salt};
pub use ids::{
    AgentId, CallId, Environment, GroupName, ID_BYTES_MAX, IdError, Micros, OperationName,
    PolicyName, RoleName, SessionId, SubjectId, TaskName, Tenant, UpstreamName,
};
pub use json::{Json, Number, Object};
pub use parse::{JsonError, JsonLimits};
pub use redacted::Redacted;
