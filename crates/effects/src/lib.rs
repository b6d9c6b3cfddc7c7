//! Everything that reaches out: the tool servers this gate stands in front of.
//!
//! An MCP client of upstreams over Streamable HTTP and over the standard streams of child
//! processes, in both eras, that forwards every field; and databases, whose statements are tools.
//! The only ways out to them take a permit and consume it (I1), and send exactly the params that
//! the permit carries (I2); `webhook` is a way to people, for what the gate itself has to say. This
//! crate does not know policies or why something is allowed. A caller's token comes here to be
//! exchanged, goes to the declared token endpoint and to no upstream.

mod upstreams;

mod credential;

mod breaker;
mod caller;
mod exchange;
mod perform;
mod progress;
mod share;

mod catalogue;
mod findings;
mod listen;
mod probe;
mod upstream;
mod way;

mod embeddings;
mod events;
mod fetch;
mod http;
mod outbound;
mod pages;
mod post;
mod session;

mod child;
mod children;

mod api;
mod bundled;
mod database;
mod memory;
mod search;

mod health;
pub mod model;
mod trouble;

pub mod sql;
pub mod webhook;

#[cfg(test)]
mod tests;

pub use api::HTTP_META;
pub use breaker::{Tell, Watch, Watcher};
pub use caller::Caller;
pub use catalogue::{Catalogue, ListMeta, ResourceContent, Resources};
pub use credential::{Presented, Unreadable, read_secret, unreadable_secrets};
pub use database::{FILTERED_META, load};
pub use embeddings::{EMBEDDED_TEXTS_MAX, Embeddings};
pub use exchange::{End, Event, Exchange, Finished};
pub use fetch::{FetchError, fetch};
pub use findings::Findings;
pub use health::{Health, State};
pub use lockgate_detect::definition::Finding;
pub use pages::{Page, PageError, Pages};
pub use search::{Found, Search, Searched, Unfound};
pub use trouble::EffectError;
pub use upstreams::{AnotherBundle, EffectsSettings, Upstreams};
