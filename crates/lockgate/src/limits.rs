//! `lockgate limits`: what caps and rates there are, and how much of them is used.

use crate::client::{GateArguments, GateClient};
use crate::output::Output;
use crate::place::Place;
use anyhow::Result;
use lockgate_types::Json;
use std::process::ExitCode;

/// Arguments of `lockgate limits`.
#[derive(clap::Args)]
pub(crate) struct LimitsArguments {
    /// Whose counters to show, of caps for agents
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// Of caps for sessions: the session's key
    #[arg(long, value_name = "KEY")]
    session: Option<String>,
    /// Of caps for operations
    #[arg(long, value_name = "OPERATION")]
    operation: Option<String>,
    #[command(flatten)]
    gate: GateArguments,
}

/// Runs the command.
pub(crate) fn run(arguments: &LimitsArguments, place: &Place, output: &Output) -> Result<ExitCode> {
    let client = GateClient::new(&arguments.gate, place)?;
    let named = [
        ("agent", &arguments.agent),
        ("session", &arguments.session),
        ("operation", &arguments.operation),
    ];
    let given = named.iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
    let query: Vec<String> =
        given.map(|(name, value)| format!("{name}={}", plain(value))).collect();
    let path = format!("/v1/limits?{}", query.join("&"));
    let answer = crate::runtime()?.block_on(client.get(&path))?;
    output.json(&answer);
    let rows = |name: &str| answer.get(name).and_then(Json::as_array).unwrap_or_default();
    if rows("caps").is_empty() && rows("rates").is_empty() {
        output.line("there are no caps and no rates");
    }
    for cap in rows("caps") {
        output.line(&cap_line(cap, output));
    }
    for rate in rows("rates") {
        let text = |name: &str| rate.get(name).and_then(Json::as_str).unwrap_or_default();
        output.line(&format!("{} for each {}: {}", text("name"), text("per"), text("pace")));
    }
    Ok(ExitCode::SUCCESS)
}

/// A value as it stands in a query.
fn plain(value: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let bytes = value.bytes().map(|byte| match is_plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    });
    bytes.collect()
}

fn cap_line(cap: &Json, output: &Output) -> String {
    let text = |name: &str| cap.get(name).and_then(Json::as_str).unwrap_or_default();
    let number = |name: &str| cap.get(name).and_then(Json::as_i64);
    let max = number("max").unwrap_or(0);
    let mut line = format!("{} for each {}: ", text("name"), text("per"));
    match number("used") {
        Some(used) => {
            let said = format!("{used} of {max} used");
            line.push_str(&if used < max { output.good(&said) } else { output.bad(&said) });
            if !text("of").is_empty() {
                line.push_str(&format!(" by {}", text("of")));
            }
        }
        None => line.push_str(&format!("at most {max}")),
    }
    let resets_at = number("resets_at").and_then(|at| jiff::Timestamp::from_microsecond(at).ok());
    if let Some(at) = resets_at {
        line.push_str(&format!(", until {at}"));
    }
    line
}
