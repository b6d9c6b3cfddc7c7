//! `lockgate approvals`: what waits for somebody, with the evidence, and answering it.

use crate::client::{GateArguments, GateClient};
use crate::output::Output;
use crate::place::Place;
use anyhow::{Result, bail};
use lockgate_types::{CallId, Json, Object};
use std::process::ExitCode;

/// Pages of requests that are read: as many as can wait at once, and some that come meanwhile.
const PAGES_MAX: usize = 64;

/// Arguments of `lockgate approvals`.
#[derive(clap::Args)]
pub(crate) struct ApprovalsArguments {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    gate: GateArguments,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Show exactly what would happen, who asks, and why it was stopped
    Show {
        /// The call that asks
        call: CallId,
    },
    /// Agree to exactly that, once
    Give(GiveArguments),
    /// Do not agree
    Deny {
        /// The call that asks
        call: CallId,
        /// Why: kept with the record
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
}

/// Arguments of `lockgate approvals give`.
#[derive(clap::Args)]
struct GiveArguments {
    /// The call that asks
    call: CallId,
    /// Why: kept with the record
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// For which requirement. Unset: the only one there is
    #[arg(long, value_name = "TEXT")]
    requirement: Option<String>,
    /// Of a request to answer in place of a model: what the answer is
    #[arg(long, value_name = "TEXT")]
    answer: Option<String>,
}

/// Runs the command.
pub(crate) fn run(
    arguments: &ApprovalsArguments,
    place: &Place,
    output: &Output,
) -> Result<ExitCode> {
    let client = GateClient::new(&arguments.gate, place)?;
    let runtime = crate::runtime()?;
    match &arguments.action {
        None => {
            let answer = runtime.block_on(all(&client))?;
            output.json(&answer);
            list(&answer, output);
        }
        Some(Action::Show { call }) => {
            let answer = runtime.block_on(client.get(&format!("/v1/approvals/{call}")))?;
            output.json(&answer);
            show(&answer, output);
        }
        Some(Action::Give(give)) => {
            let requirement = runtime.block_on(requirement(&client, give))?;
            let body =
                Object::new().with("requirement", requirement).with("reason", give.reason.as_str());
            let body = body.with_some("answer", give.answer.as_deref());
            let path = format!("/v1/approvals/{}/give", give.call);
            answered(&runtime.block_on(client.post(&path, &body.into()))?, output);
        }
        Some(Action::Deny { call, reason }) => {
            let body = Object::new().with("reason", reason.as_str());
            let path = format!("/v1/approvals/{call}/deny");
            answered(&runtime.block_on(client.post(&path, &body.into()))?, output);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Every page of what waits, up to as many requests as there can be.
async fn all(client: &GateClient) -> Result<Json> {
    let mut requests = Vec::new();
    let mut path = "/v1/approvals".to_owned();
    for _ in 0..PAGES_MAX {
        let page = client.get(&path).await?;
        requests
            .extend(page.get("approvals").and_then(Json::as_array).unwrap_or_default().to_vec());
        let Some(next) = page.get("next").and_then(Json::as_str) else { break };
        path = format!("/v1/approvals?after={next}");
    }
    Ok(Object::new().with("approvals", requests).into())
}

async fn requirement(client: &GateClient, give: &GiveArguments) -> Result<String> {
    if let Some(requirement) = &give.requirement {
        return Ok(requirement.clone());
    }
    let request = client.get(&format!("/v1/approvals/{}", give.call)).await?;
    let requirements = texts(&request, "requirements");
    match requirements.as_slice() {
        [only] => Ok(only.clone()),
        several => bail!(
            "it needs several approvals (hint: name yours with `--requirement`: `{}`)",
            several.join("`, `")
        ),
    }
}

fn list(answer: &Json, output: &Output) {
    let requests = answer.get("approvals").and_then(Json::as_array).unwrap_or_default();
    if requests.is_empty() {
        output.line("nothing waits for an approval");
    }
    summaries(requests, output);
    if !requests.is_empty() {
        output.line("see one with `lockgate approvals show <call>`");
    }
}

fn summaries(requests: &[Json], output: &Output) {
    for request in requests {
        let needs = texts(request, "requirements").join(", ");
        output.line(&format!(
            "{} {} {} by {} for {}, needs {needs}, until {}",
            output.bad(text(request, "state")),
            text(request, "call"),
            text(request, "operation"),
            text(request, "agent"),
            text(request, "subject"),
            time(request, "expires_at"),
        ));
    }
}

/// How it is established where a value came from, in a line.
fn provenance(traced: &Json) -> String {
    let text = |name: &str| traced.get(name).and_then(Json::as_str);
    let (argument, source) = (text("argument").unwrap_or_default(), text("source"));
    let source = match source.unwrap_or_default() {
        "unknown" => "nothing establishes where it came from",
        "user" => "the person has named it",
        other => other,
    };
    let mut line = format!("  value of {argument}: {source}");
    if let (Some(field), Some(call)) = (text("field"), text("call")) {
        line.push_str(&format!("; last seen as `{field}` in the result of {call}"));
    }
    let near = traced.get("near").and_then(Json::as_array).unwrap_or_default();
    let near: Vec<&str> = near.iter().filter_map(Json::as_str).collect();
    if !near.is_empty() {
        line.push_str(&format!("; most like it among what is established: {}", near.join(", ")));
    }
    line
}

fn show(request: &Json, output: &Output) {
    summaries(std::slice::from_ref(request), output);
    let Some(evidence) = request.get("evidence") else {
        output.line("what was asked for has been erased");
        return;
    };
    let said = |path: &[&str]| evidence.at(path).map(Json::to_string).unwrap_or_default();
    output.line(&format!("  asks: {}", said(&["who"])));
    output.line(&format!("  for: {} ({})", said(&["what", "request"]), said(&["what", "effect"])));
    let arguments = evidence.get("arguments").and_then(Json::as_array).unwrap_or_default();
    for argument in arguments {
        let (name, origin) = (text(argument, "argument"), text(argument, "origin"));
        output.line(&format!("  argument {name}: from the {origin}"));
    }
    for traced in evidence.get("provenance").and_then(Json::as_array).unwrap_or_default() {
        output.line(&provenance(traced));
    }
    output.line(&format!("  stopped: {}", said(&["why", "reason"])));
    output.line(&format!("  policies: {}", said(&["why", "policies"])));
    output.line(&format!("  dry run: {}", said(&["dry_run"])));
    output.line(&format!("  risk: {}", said(&["risk"])));
    if request.get("bundle_changed").and_then(Json::as_bool) == Some(true) {
        output.line(&output.bad("  another bundle rules by now than the one that stopped it"));
    }
    for given in request.get("given").and_then(Json::as_array).unwrap_or_default() {
        let name = given.get("subject").and_then(Json::as_str);
        let who = name.unwrap_or_else(|| text(given, "approver"));
        let what = text(given, "requirement");
        output.line(&format!("  agreed: {who} for {what}"));
    }
    deliveries(request, output);
}

/// How far the webhooks are with it.
fn deliveries(request: &Json, output: &Output) {
    for delivery in request.get("deliveries").and_then(Json::as_array).unwrap_or_default() {
        let (webhook, why) = (text(delivery, "webhook"), text(delivery, "why"));
        let attempts = delivery.get("attempts").and_then(Json::as_i64).unwrap_or_default();
        output.line(&match text(delivery, "state") {
            "told" => format!("  told: `{webhook}`"),
            "given_up" => format!("  not told: `{webhook}`, after {attempts} attempts: {why}"),
            _ if why.is_empty() => format!("  is being told: `{webhook}`"),
            _ => format!("  not told yet: `{webhook}`, tried {attempts} times: {why}"),
        });
    }
}

fn answered(answer: &Json, output: &Output) {
    output.json(answer);
    let (call, state) = (text(answer, "call"), text(answer, "state"));
    output.line(&format!("{} {call}", output.good(state)));
}

fn text<'a>(json: &'a Json, name: &str) -> &'a str {
    json.get(name).and_then(Json::as_str).unwrap_or_default()
}

fn texts(json: &Json, name: &str) -> Vec<String> {
    let items = json.get(name).and_then(Json::as_array).unwrap_or_default();
    items.iter().filter_map(Json::as_str).map(str::to_owned).collect()
}

fn time(json: &Json, name: &str) -> String {
    let micros = json.get(name).and_then(Json::as_i64).unwrap_or_default();
    jiff::Timestamp::from_microsecond(micros).map(|at| at.to_string()).unwrap_or_default()
}
