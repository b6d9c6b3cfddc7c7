//! `lockgate check`: every mistake in a bundle at once, with file and line.

use crate::client::{GateArguments, GateClient};
use crate::output::{Output, counted};
use crate::place::Place;
use anyhow::Result;
use lockgate_core::Mistake;
use lockgate_types::{Json, Object};
use std::process::ExitCode;

/// Arguments of `lockgate check`.
#[derive(clap::Args)]
pub(crate) struct CheckArguments {
    /// Also compare with how the upstreams of the running gate describe themselves now
    #[arg(long)]
    live: bool,
    /// Also run the programs that print secrets: only for a bundle that you trust
    #[arg(long)]
    secrets: bool,
    #[command(flatten)]
    gate: GateArguments,
}

/// Runs the command.
pub(crate) fn run(arguments: &CheckArguments, place: &Place, output: &Output) -> Result<ExitCode> {
    let files = place.read_bundle()?;
    let world = match lockgate_effects::load(&files) {
        Ok(world) => world,
        Err(mistakes) => {
            for mistake in &mistakes {
                output.line(&output.bad(&mistake.to_string()));
            }
            output.line(&format!(
                "{} in `{}`",
                counted(mistakes.len(), "mistake"),
                place.bundle.display()
            ));
            output.json(&to_json(&mistakes));
            return Ok(ExitCode::FAILURE);
        }
    };
    let accepted = world.operations.values().filter(|operation| operation.accepted).count();
    output.line(&format!(
        "{} bundle {}: {} operations, {accepted} accepted",
        output.good("no mistakes"),
        world.digest.short(),
        world.operations.len()
    ));
    let reading = lockgate_effects::unreadable_secrets(&world.gate, arguments.secrets);
    let unreadable = crate::runtime()?.block_on(reading);
    for (path, why) in &unreadable {
        output.line(&output.bad(&format!("`{path}` cannot be read here: {why}")));
    }
    let paths = unreadable.iter().map(|(path, why)| {
        Object::new().with("secret", path.as_str()).with("why", why.to_string()).into()
    });
    let said = Object::new().with("bundle", world.digest.to_string()).with("mistakes", vec![]);
    output.json(&said.with("unreadable", Json::Array(paths.collect())).into());
    if arguments.secrets && !unreadable.is_empty() {
        return Ok(ExitCode::FAILURE);
    }
    if !arguments.live {
        return Ok(ExitCode::SUCCESS);
    }
    let client = GateClient::new(&arguments.gate, place)?;
    let differences = crate::runtime()?.block_on(client.get("/v1/operations/differences"))?;
    let differences = differences.get("differences").and_then(Json::as_array).unwrap_or_default();
    for difference in differences {
        let text = |name: &str| difference.get(name).and_then(Json::as_str).unwrap_or_default();
        output.line(&output.bad(&format!("{}: {}", text("operation"), text("what"))));
    }
    if differences.is_empty() {
        output.line("the upstreams describe their operations as they were accepted");
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}

/// The mistakes as one text, for other commands that need a sound bundle.
pub(crate) fn report(mistakes: &[Mistake]) -> String {
    let lines: Vec<String> = mistakes.iter().map(|mistake| format!("\n  {mistake}")).collect();
    format!("the bundle has {}:{}", counted(mistakes.len(), "mistake"), lines.concat())
}

fn to_json(mistakes: &[Mistake]) -> Json {
    let one = |mistake: &Mistake| {
        let line = mistake.line.and_then(|line| i64::try_from(line).ok());
        Object::new()
            .with("file", mistake.file.as_str())
            .with_some("line", line)
            .with("what", mistake.what.as_str())
            .with("hint", mistake.hint.as_str())
            .into()
    };
    Object::new().with("mistakes", Json::Array(mistakes.iter().map(one).collect())).into()
}
