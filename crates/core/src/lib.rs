//! The decision: from a bundle and the facts of one call to an answer that anybody can reproduce.
//!
//! `decide` is pure and total: no I/O, no clock, no randomness, no floats. `World` is everything
//! that a bundle says, compiled once and swapped whole. This crate does not know how facts were
//! gathered or what becomes of an answer.

pub mod breaker;
pub mod bundle;
pub mod canary;
pub mod caps;
pub mod conform;
pub mod decide;
pub mod declare;
pub mod endpoint;
pub mod eval;
pub mod evidence;
pub mod exposure;
pub mod flow;
pub mod identify;
pub mod mistake;
pub mod model;
pub mod network;
pub mod plan;
pub mod policy;
pub mod prompt;
pub mod quarantine;
pub mod rate;
pub mod retrieve;
pub mod risk;
pub mod route;
pub mod rule;
pub mod run;
pub mod stand_in;
pub mod statement;
pub mod tokens;
pub mod world;

pub use decide::{decide, visible};
pub use mistake::Mistake;
pub use route::route;
pub use rule::rule;
pub use world::World;
