//! `lockgate console`: a link that signs the person whom the command line acts for in to the pages
//! of a running gate, once.

use crate::client::{GateArguments, GateClient};
use crate::output::Output;
use crate::place::Place;
use anyhow::{Context, Result, bail};
use lockgate_core::bundle::starter::CONSOLE_AGENT;
use lockgate_types::{Json, Object};
use std::process::{Command, ExitCode, Stdio};

/// Seconds for which a token is good that somebody signs in to the console with: as long as a
/// session is.
const SESSION_SECONDS: u64 = 3600;
/// Programs that open an address in the browser of whoever is at the machine.
const OPENERS: [&str; 2] = ["xdg-open", "open"];

/// Arguments of `lockgate console`.
#[derive(clap::Args)]
pub(crate) struct ConsoleArguments {
    /// Open the link in a browser of this machine too
    #[arg(long)]
    open: bool,
    #[command(flatten)]
    gate: GateArguments,
}

/// Runs the command.
pub(crate) fn run(
    arguments: &ConsoleArguments,
    place: &Place,
    output: &Output,
) -> Result<ExitCode> {
    let client = GateClient::of_agent(&arguments.gate, place, CONSOLE_AGENT, SESSION_SECONDS)?;
    let nothing = Object::new().into();
    let answer = crate::runtime()?.block_on(client.post("/console/links", &nothing))?;
    let url = answer.get("url").and_then(Json::as_str).context("the gate gave no link")?;
    output.json(&answer);
    output.line(url);
    output.line("it signs you in once, within a minute");
    if arguments.open {
        open(url)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn open(url: &str) -> Result<()> {
    for program in OPENERS {
        let mut command = Command::new(program);
        command.arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if command.status().is_ok_and(|status| status.success()) {
            return Ok(());
        }
    }
    bail!("no browser could be opened (hint: open the link yourself)")
}
