//! The corpus and its search from outside: what serves, who finds what, and that nobody finds more.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod cases;
mod filters;
mod organisation;
mod permission_cases;
mod same;
mod scene;

mod hidden;
mod leaks;
mod permissions;
mod ranking;
mod sets;
mod snapshots;
