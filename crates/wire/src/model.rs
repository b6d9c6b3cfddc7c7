//! What travels between applications and models: the APIs of OpenAI and of Anthropic, read and
//! rewritten without I/O.
//!
//! Nothing is translated into a model of our own and back. A body stays the `Json` that it came as,
//! with every member that nobody here knows; a *view* of it says what it holds and at which `Path`,
//! and rewrites change the value in place. So what is not understood passes, and what policy saw is
//! what is sent.
//!
//! - `Asked` reads a request: model, bounds, every piece of text with who claims to say it, every
//!   tool that is offered. `rewrite` changes one.
//! - `Reply` reads an answer that is whole; `reply::enforce` masks its text and takes refused calls
//!   out.
//! - `Gate` does the same with an answer that comes as a stream, and lets nothing out before it is
//!   known to be harmless: of text it holds back the unfinished end, of a call everything until
//!   somebody has decided about it.
//! - `refusal` says an error as each API says it.
//! - `convert` carries from one family's API to the other's what means the same in both.
//!
//! What is looked for in texts, and what becomes of a call, is for the caller to say: `Scan` and
//! `Verdict`. This module knows no policies, no detectors and no providers.

pub mod asked;
pub mod convert;
pub mod ending;
pub mod gate;
pub mod path;
pub mod refusal;
pub mod reply;
pub mod rewrite;
pub mod scan;
pub mod shape;
pub mod spoken;
pub mod wanted;

mod items;

pub use asked::{Asked, Hosted, Offered, Role, Segment};
pub use ending::Ending;
pub use gate::{End, Gate};
pub use path::{Path, Step};
pub use reply::{Reply, Usage};
pub use scan::{Channel, Edit, Held, Proposed, Scan, Verdict, Words};
pub use shape::Malformed;

/// One address of a model API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Api {
    /// `POST /v1/chat/completions`
    Chat,
    /// `POST /v1/responses`
    Responses,
    /// `POST /v1/messages`
    Messages,
    /// `POST /v1/messages/count_tokens`
    CountTokens,
    /// `POST /v1/embeddings`
    Embeddings,
    /// `GET /v1/models`
    Models,
}

/// Whose conventions an API follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// OpenAI's.
    OpenAi,
    /// Anthropic's.
    Anthropic,
}

impl Api {
    /// Every API.
    pub const ALL: [Self; 6] = [
        Self::Chat,
        Self::Responses,
        Self::Messages,
        Self::CountTokens,
        Self::Embeddings,
        Self::Models,
    ];

    /// The method of the call: what policies and records name.
    pub const fn method(self) -> &'static str {
        match self {
            Self::Chat => "chat/completions",
            Self::Responses => "responses",
            Self::Messages => "messages",
            Self::CountTokens => "messages/count_tokens",
            Self::Embeddings => "embeddings",
            Self::Models => "models",
        }
    }

    /// The API of a method.
    pub fn from_method(method: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|api| api.method() == method)
    }

    /// The API at a path, with or without `/v1` before it. A query is no part of a path.
    pub fn from_path(path: &str) -> Option<Self> {
        let path = path.strip_prefix("/v1").unwrap_or(path);
        Self::from_method(path.strip_prefix('/')?)
    }

    /// The HTTP method that it is asked with.
    pub const fn http_method(self) -> &'static str {
        match self {
            Self::Models => "GET",
            Self::Chat
            | Self::Responses
            | Self::Messages
            | Self::CountTokens
            | Self::Embeddings => "POST",
        }
    }

    /// Whose conventions it follows. Both families list models at one address: an answer in
    /// OpenAI's form is what either reads.
    pub const fn family(self) -> Family {
        match self {
            Self::Chat | Self::Responses | Self::Embeddings | Self::Models => Family::OpenAi,
            Self::Messages | Self::CountTokens => Family::Anthropic,
        }
    }

    /// Whether its answer can be a stream.
    pub const fn can_stream(self) -> bool {
        matches!(self, Self::Chat | Self::Responses | Self::Messages)
    }
}
