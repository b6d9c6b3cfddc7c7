//! What must hold for any bytes: one function per fuzz target, which says whether the bytes were
//! accepted.
//!
//! `tests/corpus.rs` of each crate includes the file that is about it and runs the same functions
//! over the corpus and over mutations of it (`corpus.rs`), so that an ordinary `cargo test` fuzzes
//! a little, without nightly.

pub mod bundle;
pub mod documents;
pub mod ledger;
pub mod model;
pub mod text;
pub mod wire;
