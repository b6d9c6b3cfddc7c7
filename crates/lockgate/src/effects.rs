//! `lockgate effects`: what nobody knows whether it happened, and saying so once somebody does.

use crate::client::{GateArguments, GateClient};
use crate::output::Output;
use crate::place::Place;
use anyhow::Result;
use lockgate_types::{CallId, Json, Object};
use std::process::ExitCode;

/// Arguments of `lockgate effects`.
#[derive(clap::Args)]
pub(crate) struct EffectsArguments {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    gate: GateArguments,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Say what became of one, after looking at the target system
    Resolve(ResolveArguments),
}

/// Arguments of `lockgate effects resolve`.
#[derive(clap::Args)]
struct ResolveArguments {
    /// The call that asked for it
    call: CallId,
    #[command(flatten)]
    outcome: Outcome,
    /// How you know: kept with the record
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct Outcome {
    /// It happened: who asks again is told so
    #[arg(long)]
    happened: bool,
    /// It did not happen: who asks again has it done
    #[arg(long)]
    did_not_happen: bool,
}

/// Runs the command.
pub(crate) fn run(
    arguments: &EffectsArguments,
    place: &Place,
    output: &Output,
) -> Result<ExitCode> {
    let client = GateClient::new(&arguments.gate, place)?;
    match &arguments.action {
        Some(Action::Resolve(resolve)) => resolve_one(resolve, &client, output),
        None => list(&client, output),
    }
}

fn list(client: &GateClient, output: &Output) -> Result<ExitCode> {
    let answer = crate::runtime()?.block_on(client.get("/v1/effects"))?;
    output.json(&answer);
    let effects = answer.get("effects").and_then(Json::as_array).unwrap_or_default();
    if effects.is_empty() {
        output.line("no effect is in doubt");
    }
    for effect in effects {
        let text = |name: &str| effect.get(name).and_then(Json::as_str).unwrap_or_default();
        let at = effect.get("at").and_then(Json::as_i64).unwrap_or_default();
        let at = jiff::Timestamp::from_microsecond(at).map(|at| at.to_string());
        output.line(&format!(
            "{} {} {} ({}) by {} for {}, {}",
            output.bad("in doubt"),
            text("call"),
            text("operation"),
            text("class"),
            text("agent"),
            text("subject"),
            at.unwrap_or_default(),
        ));
    }
    if effects.iter().any(|effect| effect.get("class").and_then(Json::as_str) == Some("opaque")) {
        output.line("look at the target system, then run `lockgate effects resolve`");
    }
    Ok(ExitCode::SUCCESS)
}

fn resolve_one(
    arguments: &ResolveArguments,
    client: &GateClient,
    output: &Output,
) -> Result<ExitCode> {
    let outcome = if arguments.outcome.happened { "happened" } else { "did_not_happen" };
    let body = Object::new().with("outcome", outcome).with("reason", arguments.reason.as_str());
    let path = format!("/v1/effects/{}/resolve", arguments.call);
    let answer = crate::runtime()?.block_on(client.post(&path, &body.into()))?;
    output.json(&answer);
    if answer.get("was_in_doubt").and_then(Json::as_bool) != Some(true) {
        output.line("it is not in doubt, or an attempt at it is under way: nothing was changed");
        return Ok(ExitCode::FAILURE);
    }
    output.line(&format!("{} {}: {outcome}", output.good("resolved"), arguments.call));
    Ok(ExitCode::SUCCESS)
}
