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
