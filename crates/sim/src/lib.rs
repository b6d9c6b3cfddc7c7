//! The world around the gate, for tests: other people's programs, and waiting for conditions.
//!
//! Used in tests only, never by the product. It knows how to get a program and how to wait for it;
//! what a test does with it is the test's business.

pub mod bench;
pub mod brain;
pub mod conformance;
pub mod fixture;
pub mod gate;
pub mod postgres;
pub mod setup;
pub mod wait;
