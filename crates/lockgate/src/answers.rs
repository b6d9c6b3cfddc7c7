//! `lockgate answers`: answers of models that somebody has approved, for when no model answers.

use crate::client::{GateArguments, GateClient};
use crate::output::Output;
use crate::place::Place;
use anyhow::Result;
use lockgate_types::{CallId, Json, Object};
use std::process::ExitCode;

/// Arguments of `lockgate answers`.
#[derive(clap::Args)]
pub(crate) struct AnswersArguments {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    gate: GateArguments,
}

#[derive(clap::Subcommand)]
enum Action {
    /// List the answers that are kept
    List,
    /// Approve the answer to a call: `lockgate trace` shows it. It is given again to the same
    /// prompt, where no model answers
    Keep {
        /// The call that it was the answer to
        call: CallId,
        /// Why: kept with the record
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Forget an answer that is kept
    Forget {
        /// The call that it was the answer to
        call: CallId,
    },
}

/// Runs `lockgate answers`.
pub(crate) fn run(
    arguments: &AnswersArguments,
    place: &Place,
    output: &Output,
) -> Result<ExitCode> {
    let client = GateClient::new(&arguments.gate, place)?;
    let runtime = crate::runtime()?;
    match &arguments.action {
        Action::List => {
            let answer = runtime.block_on(client.get("/v1/answers"))?;
            output.json(&answer);
            let all = answer.get("answers").and_then(Json::as_array).unwrap_or_default();
            if all.is_empty() {
                output.line("no answer is kept");
            }
            all.iter().for_each(|kept| output.line(&line(kept)));
        }
        Action::Keep { call, reason } => {
            let body = Object::new().with("call", call.as_str()).with("reason", reason.as_str());
            let answer = runtime.block_on(client.post("/v1/answers", &body.into()))?;
            output.json(&answer);
            output.line(&format!("{} {}", output.good("kept"), line(&answer)));
        }
        Action::Forget { call } => {
            let answer = runtime.block_on(client.delete(&format!("/v1/answers/{call}")))?;
            output.json(&answer);
            output.line(&format!("{} {call}", output.good("forgotten")));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn line(kept: &Json) -> String {
    let text = |name: &str| kept.get(name).and_then(Json::as_str).unwrap_or_default();
    let until = kept.get("expires_at").and_then(Json::as_i64).unwrap_or_default();
    let until = jiff::Timestamp::from_microsecond(until);
    let until = until.map(|at| at.to_string()).unwrap_or_default();
    format!("{} by {} until {until}", text("call"), text("kept_by"))
}
