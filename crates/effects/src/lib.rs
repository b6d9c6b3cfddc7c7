//! Everything that reaches out: the tool servers this gate stands in front of.
//!
//! An MCP client of upstreams over Streamable HTTP and over the standard streams of child
//! processes, in both eras, that forwards every field; and databases, whose statements are tools.
//! The only ways out take a permit and consume it (I1), and send exactly the params that the permit
//! carries (I2). This crate does not know policies or why something is allowed. A caller's token
//! comes here to be exchanged, goes to the declared token endpoint and to no upstream.

mod upstreams;

mod credential;

mod breaker;
mod caller;
mod exchange;
mod perform;
mod progress;

mod catalogue;
mod listen;
mod probe;
mod upstream;

mod events;
mod http;
mod post;
mod session;

mod child;
mod children;

mod database;

mod health;
mod trouble;

pub mod sql;

#[cfg(test)]
mod tests;

pub use breaker::{Tell, Watch, Watcher};
pub use caller::Caller;
pub use catalogue::{Catalogue, ListMeta};
pub use credential::{Presented, Unreadable, read_secret, unreadable_secrets};
pub use database::{FILTERED_META, load};
pub use exchange::{End, Event, Exchange, Finished};
pub use health::{Health, State};
pub use trouble::EffectError;
pub use upstreams::{AnotherBundle, EffectsSettings, Upstreams};
