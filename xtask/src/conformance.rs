//! `cargo xtask conformance`: the MCP conformance suite, direct and through a gate.
//!
//! The suite is an ordinary test of the binary (`crates/lockgate/tests/suite_conformance.rs`), so
//! that `cargo xtask test` passes it too; this command runs it alone and shows its counts.

use crate::process::{cargo, run as run_command};
use anyhow::Result;
use std::path::Path;

/// Runs the suite and prints the counts.
pub(crate) fn run(root: &Path) -> Result<()> {
    let arguments = ["test", "-p", "lockgate", "--test", "suite_conformance", "--", "--nocapture"];
    run_command(&mut cargo(root, &arguments))
}
