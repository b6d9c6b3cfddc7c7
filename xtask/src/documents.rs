//! `cargo xtask documents`: who is shown which document, decided three ways, a million times.
//!
//! It is an ordinary test (`crates/core/tests/documents`), which compares a few thousand decisions
//! in `cargo xtask test`; here it runs optimised, with every assertion, for as many as are wanted.

use crate::process::{cargo, run as run_command};
use anyhow::Result;
use std::path::Path;

/// How much to compare.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Decisions about one document for one person through one agent.
    #[arg(long, default_value_t = 1_000_000)]
    pairs: u64,
}

/// Compares, and prints what was seen.
pub(crate) fn run(root: &Path, arguments: &Arguments) -> Result<()> {
    let what = ["test", "--profile", "simulation", "-p", "lockgate-core", "--test", "documents"];
    let mut command = cargo(root, &what);
    command.args(["a_filter_is_what_each_document", "--", "--nocapture"]);
    command.env("LOCKGATE_DOCUMENT_PAIRS", arguments.pairs.to_string());
    run_command(&mut command)
}
