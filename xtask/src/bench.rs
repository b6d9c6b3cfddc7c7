//! `cargo xtask bench`: the governed call, measured beside a direct one and a transparent proxy.

use anyhow::{Result, bail};
use std::path::Path;

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 8)]
    seconds: u32,
}

/// Measures and prints.
pub(crate) fn run(_root: &Path, arguments: &Arguments) -> Result<()> {
    bail!("no measurement is wired yet (asked for {} s each)", arguments.seconds);
}
