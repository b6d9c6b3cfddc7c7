//! What travels on the wire: strict parsers and encoders of JSON-RPC, MCP and the APIs of models,
//! without I/O.
//!
//! No typed model of the protocol: a message keeps every field it came with, a method is known by
//! its name alone, and what policy saw is what is written out again. Two eras of MCP are spoken
//! (`Era`); `bridge` carries between them what can be carried. This crate does not know sockets,
//! sessions, identities or policies.

pub mod bridge;
pub mod classify;
pub mod era;
pub mod headers;
pub mod message;
pub mod model;
pub mod prefix;
pub mod refusal;
pub mod sse;
pub mod stateless;
pub mod subscriptions;

mod error;

pub use error::{Problem, WireError, numbers};
pub use lockgate_types::methods::{BUILTIN_METHODS, Era, Kind, Method, Sender};
pub use message::{Message, Notification, Request, RequestId, Response, RpcError};
