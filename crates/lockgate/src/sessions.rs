//! `lockgate sessions` and `lockgate posture`: what is held against sessions and tenants, and
//! loosening and tightening what they may do.

use crate::client::{GateArguments, GateClient};
use crate::output::Output;
use crate::place::Place;
use anyhow::Result;
use lockgate_types::{Json, Object, SessionId, Tenant};
use std::process::ExitCode;

/// Arguments of `lockgate sessions`.
#[derive(clap::Args)]
pub(crate) struct SessionsArguments {
    #[command(subcommand)]
    action: SessionsAction,
    #[command(flatten)]
    gate: GateArguments,
}

#[derive(clap::Subcommand)]
enum SessionsAction {
    /// Show the sessions that something is held against
    List,
    /// Show one, with why
    Show {
        /// The session's id, as records name it
        session: SessionId,
    },
    /// Give it back what it may do: nothing is held against it any more
    Loosen {
        /// The session's id, as records name it
        session: SessionId,
        #[command(flatten)]
        loosen: LoosenTo,
    },
    /// Take away what it may do, until a person gives it back
    Tighten {
        /// The session's id, as records name it
        session: SessionId,
        #[command(flatten)]
        tighten: TightenTo,
    },
}

/// Arguments of `lockgate posture`.
#[derive(clap::Args)]
pub(crate) struct PostureArguments {
    #[command(subcommand)]
    action: PostureAction,
    #[command(flatten)]
    gate: GateArguments,
}

#[derive(clap::Subcommand)]
enum PostureAction {
    /// Show how a tenant stands, with why
    Show {
        /// Its name
        #[arg(default_value = "default")]
        tenant: Tenant,
    },
    /// Give it back what it may do: nothing is held against it any more
    Loosen {
        /// Its name
        tenant: Tenant,
        #[command(flatten)]
        loosen: LoosenTo,
    },
    /// Take away what it may do, until a person gives it back
    Tighten {
        /// Its name
        tenant: Tenant,
        #[command(flatten)]
        tighten: TightenTo,
    },
}

#[derive(clap::Args)]
struct LoosenTo {
    /// The mode that is to hold then
    #[arg(long, value_name = "MODE", default_value = "normal",
        value_parser = ["normal", "approvals", "read_only"])]
    to: String,
    /// Why: kept with the record
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

#[derive(clap::Args)]
struct TightenTo {
    /// The mode that is to hold then
    #[arg(long, value_name = "MODE", value_parser = ["approvals", "read_only", "locked"])]
    to: String,
    /// Why: kept with the record
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// Runs `lockgate sessions`.
pub(crate) fn sessions(
    arguments: &SessionsArguments,
    place: &Place,
    output: &Output,
) -> Result<ExitCode> {
    let client = GateClient::new(&arguments.gate, place)?;
    match &arguments.action {
        SessionsAction::List => list(&client, output),
        SessionsAction::Show { session } => {
            show(&client, &format!("/v1/sessions/{session}"), output)
        }
        SessionsAction::Loosen { session, loosen: LoosenTo { to, reason } } => {
            set(&client, &format!("/v1/sessions/{session}/loosen"), (to, reason), output)
        }
        SessionsAction::Tighten { session, tighten: TightenTo { to, reason } } => {
            set(&client, &format!("/v1/sessions/{session}/tighten"), (to, reason), output)
        }
    }
}

/// Runs `lockgate posture`.
pub(crate) fn posture(
    arguments: &PostureArguments,
    place: &Place,
    output: &Output,
) -> Result<ExitCode> {
    let client = GateClient::new(&arguments.gate, place)?;
    match &arguments.action {
        PostureAction::Show { tenant } => show(&client, &format!("/v1/postures/{tenant}"), output),
        PostureAction::Loosen { tenant, loosen: LoosenTo { to, reason } } => {
            set(&client, &format!("/v1/postures/{tenant}/loosen"), (to, reason), output)
        }
        PostureAction::Tighten { tenant, tighten: TightenTo { to, reason } } => {
            set(&client, &format!("/v1/postures/{tenant}/tighten"), (to, reason), output)
        }
    }
}

/// Page after page: what comes after the last one of a page.
fn list(client: &GateClient, output: &Output) -> Result<ExitCode> {
    let runtime = crate::runtime()?;
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let answer = runtime.block_on(client.get(&format!("/v1/sessions?after={after}")))?;
        let page = answer.get("sessions").and_then(Json::as_array).unwrap_or_default();
        all.extend(page.iter().cloned());
        let Some(next) = answer.get("next").and_then(Json::as_str) else { break };
        next.clone_into(&mut after);
    }
    if all.is_empty() {
        output.line("nothing is held against any session");
    }
    for session in &all {
        output.line(&line(session, output));
    }
    output.json(&Object::new().with("sessions", Json::Array(all)).into());
    Ok(ExitCode::SUCCESS)
}

fn show(client: &GateClient, path: &str, output: &Output) -> Result<ExitCode> {
    let answer = crate::runtime()?.block_on(client.get(path))?;
    output.json(&answer);
    output.line(&line(&answer, output));
    let number = |json: &Json, name: &str| json.get(name).and_then(Json::as_i64);
    for reason in answer.get("reasons").and_then(Json::as_array).unwrap_or_default() {
        let text = |name: &str| reason.get(name).and_then(Json::as_str).unwrap_or("-");
        let count = |name: &str| number(reason, name).unwrap_or_default();
        output.line(&format!(
            "  {} {} times, {} points, last {} in {}",
            text("class"),
            count("times"),
            count("points"),
            time(count("at")),
            text("call"),
        ));
    }
    if answer.get("mode").and_then(Json::as_str) != Some("normal") {
        output.line(&match number(&answer, "loosens_at") {
            Some(at) => format!("a timer loosens it at {}, if nothing more happens", time(at)),
            None => "no timer loosens it".to_owned(),
        });
    }
    Ok(ExitCode::SUCCESS)
}

fn set(
    client: &GateClient,
    path: &str,
    (to, reason): (&str, &str),
    output: &Output,
) -> Result<ExitCode> {
    let body = Object::new().with("to", to).with("reason", reason);
    let answer = crate::runtime()?.block_on(client.post(path, &body.into()))?;
    output.json(&answer);
    let name = path.rsplit('/').nth(1).unwrap_or_default();
    if let Some(warning) = crate::contain::unknown(&answer, "tenant", name) {
        output.line(&output.bad(&warning));
    }
    let text = |name: &str| answer.get(name).and_then(Json::as_str).unwrap_or_default();
    if text("was") == text("mode") {
        output.line(&format!(
            "it is `{}`, and stays so: that is not the way to `{to}`",
            text("mode")
        ));
        return Ok(ExitCode::FAILURE);
    }
    output.line(&format!("{} `{}`: it was `{}`", output.good("set to"), text("mode"), text("was")));
    Ok(ExitCode::SUCCESS)
}

fn line(standing: &Json, output: &Output) -> String {
    let text = |name: &str| standing.get(name).and_then(Json::as_str).unwrap_or_default();
    let score = standing.get("score").and_then(Json::as_i64).unwrap_or_default();
    let mode = match text("mode") {
        "normal" => output.good("normal"),
        mode => output.bad(mode),
    };
    let whose = standing.get("whose").map_or_else(String::new, |whose| {
        let text = |name: &str| whose.get(name).and_then(Json::as_str).unwrap_or_default();
        format!(", {} for {}", text("agent"), text("subject"))
    });
    format!("{} {mode}, score {score}{whose}", text("name"))
}

fn time(at: i64) -> String {
    jiff::Timestamp::from_microsecond(at).map(|at| at.to_string()).unwrap_or_default()
}
