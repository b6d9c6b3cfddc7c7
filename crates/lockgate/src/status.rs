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
    let switches = status.get("switches").and_then(Json::as_array);
    let stopped = match switches {
        Some(switches) => crate::contain::stopped(switches),
        None => Some("something is stopped: you may not see what".to_owned()),
    };
    if let Some(stopped) = stopped {
        output.line(&output.bad(&stopped));
    }
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
        for breaker in upstream.get("breakers").and_then(Json::as_array).unwrap_or_default() {
            output.line(&format!("      {}", output.bad(&left_alone(breaker, upstream))));
        }
        for line in upstream.get("stderr").and_then(Json::as_array).unwrap_or_default() {
            let line = line.as_str().unwrap_or_default();
            output.line(&output.faint(&format!("      | {line}")));
        }
    }
    for canary in status.get("canaries").and_then(Json::as_array).unwrap_or_default() {
        output.line(&format!("  {}", tried(canary, output)));
    }
    Ok(ExitCode::SUCCESS)
}

/// How a model that is tried out stands.
fn tried(canary: &Json, output: &Output) -> String {
    let text = |name: &str| canary.get(name).and_then(Json::as_str).unwrap_or_default();
    let stage = match text("stage") {
        stage @ "rolled_back" => output.bad(stage),
        stage => output.good(stage),
    };
    let count = |name: &str| canary.get(name).and_then(Json::as_i64);
    let calls = count("calls").unwrap_or_default();
    let mut line = format!(
        "`{}` in place of `{}`: {stage}, {calls} answers in this window",
        text("canary"),
        text("model")
    );
    if let (Some(seen), Some(of)) = (count("breach_seen"), count("breach_calls")) {
        line.push_str(&format!("; taken back for {} {seen} of {of}", text("breach_guard")));
    }
    line
}

/// What a circuit breaker that is not closed means.
fn left_alone(breaker: &Json, upstream: &Json) -> String {
    let text = |json: &Json, name: &str| json.get(name).and_then(Json::as_str).map(str::to_owned);
    let of = text(breaker, "operation").or_else(|| text(upstream, "name")).unwrap_or_default();
    let cause = text(breaker, "cause").unwrap_or_default();
    let retry_in_ms = breaker.get("retry_in_ms").and_then(Json::as_i64).unwrap_or(0);
    match text(breaker, "state").as_deref() {
        Some("open") if retry_in_ms > 0 => {
            format!("`{of}` is left alone after {cause}; it is tried again in {retry_in_ms} ms")
        }
        _ => format!("`{of}` was left alone after {cause}; the next call tries it"),
    }
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
