//! `lockgate status`: what a running gate protects, and how its upstreams are.

use crate::client::{GateArguments, GateClient};
use crate::output::Output;
use crate::place::Place;
use anyhow::Result;
use lockgate_types::Json;
use std::process::ExitCode;

/// Runs the command.
pub(crate) fn run(arguments: &GateArguments, place: &Place, output: &Output) -> Result<ExitCode> {
    let client = GateClient::new(arguments, place)?;
    let status = crate::runtime()?.block_on(client.get("/v1/status"))?;
    output.json(&status);
    let text = |json: &Json, name: &str| {
        json.get(name).and_then(Json::as_str).unwrap_or_default().to_owned()
    };
    let bundle = text(&status, "bundle");
    let size = status.at(&["ledger", "size"]).and_then(Json::as_i64).unwrap_or(0);
    output.line(&format!("lockgate {}, {bundle}", text(&status, "version")));
    output.line(&format!("ledger `{}`: {size} entries", text(&status, "origin")));
    let upstreams = status.get("upstreams").and_then(Json::as_array).unwrap_or_default();
    for upstream in upstreams {
        let state = text(upstream, "state");
        let painted = if state == "up" { output.good(&state) } else { output.bad(&state) };
        output.line(&format!("  {:<20} {painted}", text(upstream, "name")));
        let error = text(upstream, "last_error");
        if !error.is_empty() {
            output.line(&output.faint(&format!("      {error}")));
        }
        for line in upstream.get("stderr").and_then(Json::as_array).unwrap_or_default() {
            let line = line.as_str().unwrap_or_default();
            output.line(&output.faint(&format!("      | {line}")));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs `lockgate reload`: at once, and with every mistake as the answer. A running gate also looks
/// for changes by itself.
pub(crate) fn reload(
    arguments: &GateArguments,
    place: &Place,
    output: &Output,
) -> Result<ExitCode> {
    let client = GateClient::new(arguments, place)?;
    let empty = Json::Object(lockgate_types::Object::new());
    let answer = crate::runtime()?.block_on(client.post("/v1/bundle/reload", &empty))?;
    output.json(&answer);
    let digest = answer.get("digest").and_then(Json::as_str).unwrap_or_default();
    output.line(&format!("{} {digest}", output.good("loaded")));
    Ok(ExitCode::SUCCESS)
}
