//! The life of a call at its boundaries: a real store, a real upstream on loopback, a real bundle.
//!
//! Each module is named after the invariant that it holds (`docs/invariants.md`). Every test ends
//! with an audit of the whole log: it verifies, nothing is open, and every decision in it is made
//! again to the same bytes.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "tests fail by panicking"
)]

mod bed;
mod upstream;

mod admin;
mod again;
mod approvals;
mod bounds;
mod breakers;
mod caps;
mod chains;
mod cited;
mod counting;
mod deny;
mod evidence;
mod labels;
mod library;
mod library_runs;
mod limits;
mod listening;
mod memory;
mod obligations;
mod permits;
mod plans;
mod redacted;
mod retrievers;
mod reverse;
mod risk;
mod runs;
mod same;
mod sessions;
mod sources;
mod switches;
mod uses;
mod words;
