//! `lockgate memory`: what agents have written down for whoever asks, shown, confirmed, deleted.

use crate::client::{GateArguments, GateClient};
use crate::output::Output;
use crate::place::Place;
use anyhow::Result;
use lockgate_types::appearance::marked;
use lockgate_types::{Json, Object};
use std::process::ExitCode;

/// Arguments of `lockgate memory`.
#[derive(clap::Args)]
pub(crate) struct MemoryArguments {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    gate: GateArguments,
}

#[derive(clap::Subcommand)]
enum Action {
    /// List what agents have written down for you
    List,
    /// Show one memo: what it says, who wrote it, and what they had met
    Show {
        /// The memo, as `list` names it
        memo: String,
    },
    /// Say that a memo is right: agents then read it as words of a person
    Confirm {
        /// The memo, as `list` names it
        memo: String,
        /// Why: kept with the record
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Delete a memo
    Forget {
        /// The memo, as `list` names it
        memo: String,
    },
}

/// Runs `lockgate memory`.
pub(crate) fn run(arguments: &MemoryArguments, place: &Place, output: &Output) -> Result<ExitCode> {
    let client = GateClient::new(&arguments.gate, place)?;
    let runtime = crate::runtime()?;
    match &arguments.action {
        Action::List => return list(&client, output),
        Action::Show { memo } => {
            let answer = runtime.block_on(client.get(&path(memo)))?;
            show(&answer, output);
        }
        Action::Confirm { memo, reason } => {
            let body = Object::new().with("reason", reason.as_str()).into();
            let confirm = format!("{}/confirm", path(memo));
            let answer = runtime.block_on(client.post(&confirm, &body))?;
            show(&answer, output);
        }
        Action::Forget { memo } => {
            let answer = runtime.block_on(client.delete(&path(memo)))?;
            output.json(&answer);
            output.line(&format!("{} {}", output.good("forgotten"), text(&answer, "memo")));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What is no name of a memo asks for nothing else.
fn path(memo: &str) -> String {
    let is_plain = |it: &char| it.is_ascii_alphanumeric() || *it == '_';
    format!("/v1/memory/{}", memo.chars().filter(is_plain).collect::<String>())
}

/// Page after page.
fn list(client: &GateClient, output: &Output) -> Result<ExitCode> {
    let runtime = crate::runtime()?;
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let answer = runtime.block_on(client.get(&format!("/v1/memory?after={after}")))?;
        let page = answer.get("memos").and_then(Json::as_array).unwrap_or_default();
        all.extend(page.iter().cloned());
        let Some(next) = answer.get("next").and_then(Json::as_str) else { break };
        next.clone_into(&mut after);
    }
    if all.is_empty() {
        output.line("agents have written down nothing for you");
    }
    for memo in &all {
        output.line(&line(memo, output));
    }
    output.json(&Object::new().with("memos", Json::Array(all)).into());
    Ok(ExitCode::SUCCESS)
}

fn line(memo: &Json, output: &Output) -> String {
    let said = match memo.get("confirmed_by") {
        Some(_) => output.good("confirmed"),
        None => output.faint("generated"),
    };
    format!(
        "{} {}/{} {said}, by {} at {}",
        text(memo, "memo"),
        text(memo, "memory"),
        marked(text(memo, "key")),
        text(memo, "written_by"),
        time(memo, "written_at"),
    )
}

/// What it says may be anybody's words: signs that people do not see are written out.
fn show(memo: &Json, output: &Output) {
    output.json(memo);
    output.line(&line(memo, output));
    for said in text(memo, "text").lines() {
        output.line(&format!("  | {}", marked(said)));
    }
    let met = memo.get("met").unwrap_or(&Json::Null);
    let words = met.get("origins").and_then(Json::as_array).unwrap_or_default();
    let words: Vec<&str> = words.iter().filter_map(Json::as_str).collect();
    let words = if words.is_empty() { "nobody".to_owned() } else { words.join(", ") };
    let (integrity, confidentiality) = (text(met, "integrity"), text(met, "confidentiality"));
    output
        .line(&format!("  its writer had met: {integrity}; {confidentiality}; words of: {words}"));
    output.line(&format!(
        "  written by the call {} under {}",
        text(memo, "call"),
        text(memo, "bundle")
    ));
    if memo.get("confirmed_by").is_some() {
        let (by, at) = (text(memo, "confirmed_by"), time(memo, "confirmed_at"));
        output.line(&format!("  confirmed at {at} by the call {by}"));
    }
    for (name, about) in [("task", "for the task"), ("agent", "for the agent")] {
        if memo.get(name).is_some() {
            output.line(&format!("  {about} {}", text(memo, name)));
        }
    }
    output.line(&format!("  forgotten at {}", time(memo, "expires_at")));
}

fn text<'a>(json: &'a Json, name: &str) -> &'a str {
    json.get(name).and_then(Json::as_str).unwrap_or_default()
}

fn time(json: &Json, name: &str) -> String {
    let at = json.get(name).and_then(Json::as_i64).unwrap_or_default();
    jiff::Timestamp::from_microsecond(at).map(|at| at.to_string()).unwrap_or_default()
}
