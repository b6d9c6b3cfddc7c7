//! `lockgate runs`: starting runs that the gate drives, following them, ending and forking them.

use crate::client::{GateArguments, GateClient};
use crate::output::Output;
use crate::place::Place;
use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use http_body_util::BodyExt;
use lockgate_types::{CallId, Json, JsonLimits, Object, Tenant};
use lockgate_wire::sse::{SseDecoder, SseEvent, SseLimits};
use std::collections::VecDeque;
use std::process::ExitCode;

/// Bytes of one entry of a journal.
const ENTRY_BYTES_MAX: usize = 16 << 20;
/// Connections in a row over which nothing came.
const FRUITLESS_MAX: u32 = 3;

/// Arguments of `lockgate runs`.
#[derive(clap::Args)]
pub(crate) struct RunsArguments {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    gate: GateArguments,
}

#[derive(clap::Subcommand)]
enum Action {
    /// Start a run of a task
    Start {
        /// The task
        task: String,
        /// What is asked
        input: String,
        /// Names the run: asked for again under the same key, it is the same run
        #[arg(long, value_name = "KEY")]
        key: Option<String>,
        /// Follow it until it is over
        #[arg(long)]
        follow: bool,
    },
    /// List runs: yours, or everybody's
    List {
        #[command(flatten)]
        whose: Whose,
        /// Of one tenant
        #[arg(long, value_name = "NAME", requires = "all")]
        tenant: Option<Tenant>,
    },
    /// Show where a run is, and what it has come to
    Show {
        /// The run
        run: CallId,
        #[command(flatten)]
        whose: Whose,
    },
    /// Follow a run until it is over
    Follow {
        /// The run
        run: CallId,
    },
    /// Have a run end, and those within it
    Cancel {
        /// The run
        run: CallId,
        /// Why: kept with the record
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        whose: Whose,
    },
    /// Start a run with what another has come to
    Fork {
        /// The run
        run: CallId,
        /// Before which of its turns, from 0. Unset: all of it, which has to come to the same
        #[arg(long, value_name = "TURN")]
        turn: Option<u32>,
        /// What is asked from there on. Unset: the same
        #[arg(long, value_name = "TEXT")]
        input: Option<String>,
        /// Follow it until it is over
        #[arg(long)]
        follow: bool,
    },
}

/// Whose runs it is about.
#[derive(clap::Args)]
struct Whose {
    /// Anybody's, for who looks after the gate: without what was asked and said
    #[arg(long)]
    all: bool,
}

impl Whose {
    const fn path(&self) -> &'static str {
        match self.all {
            true => "/v1/oversight/runs",
            false => "/v1/runs",
        }
    }
}

/// Runs the command.
pub(crate) fn run(arguments: &RunsArguments, place: &Place, output: &Output) -> Result<ExitCode> {
    let client = GateClient::new(&arguments.gate, place)?;
    crate::runtime()?.block_on(act(arguments.action.as_ref(), &client, output))
}

async fn act(action: Option<&Action>, client: &GateClient, output: &Output) -> Result<ExitCode> {
    match action {
        None => listed(client, "/v1/runs", output).await,
        Some(Action::List { whose, tenant }) => {
            let of = tenant.as_ref().map(|tenant| format!("?tenant={tenant}")).unwrap_or_default();
            listed(client, &format!("{}{of}", whose.path()), output).await
        }
        Some(Action::Start { task, input, key, follow: is_followed }) => {
            let body = Object::new().with("task", task.as_str()).with("input", input.as_str());
            let key: Vec<(&str, &str)> =
                key.iter().map(|key| ("idempotency-key", key.as_str())).collect();
            let answer = client.post_with("/v1/runs", &key, &body.into()).await?;
            begun(answer, *is_followed, client, output).await
        }
        Some(Action::Show { run, whose }) => {
            let answer = client.get(&format!("{}/{run}", whose.path())).await?;
            output.json(&answer);
            show(&answer, output);
            Ok(ExitCode::SUCCESS)
        }
        Some(Action::Follow { run }) => follow(client, run.as_str(), output).await,
        Some(Action::Cancel { run, reason, whose }) => {
            let body = Object::new().with("reason", reason.as_str());
            let path = format!("{}/{run}/cancel", whose.path());
            let answer = client.post(&path, &body.into()).await?;
            output.json(&answer);
            output.line(&format!("{run} ends as soon as what is under way is recorded"));
            Ok(ExitCode::SUCCESS)
        }
        Some(Action::Fork { run, turn, input, follow: is_followed }) => {
            let body = Object::new()
                .with_some("turn", turn.map(i64::from))
                .with_some("input", input.as_deref());
            let path = format!("/v1/runs/{run}/fork");
            begun(client.post(&path, &body.into()).await?, *is_followed, client, output).await
        }
    }
}

async fn listed(client: &GateClient, path: &str, output: &Output) -> Result<ExitCode> {
    let answer = client.get(path).await?;
    output.json(&answer);
    list(&answer, output);
    Ok(ExitCode::SUCCESS)
}

/// Says which run has begun, and follows it if that is wanted.
async fn begun(
    answer: Json,
    is_followed: bool,
    client: &GateClient,
    output: &Output,
) -> Result<ExitCode> {
    let run = text(&answer, "run").to_owned();
    if is_followed {
        return follow(client, &run, output).await;
    }
    output.json(&answer);
    let is_known = answer.get("repeated").is_some();
    let what = if is_known { "started before, under the same key" } else { "started" };
    output.line(&format!("{} {run}", output.good(what)));
    output.line(&format!("follow it with `lockgate runs follow {run}`"));
    Ok(ExitCode::SUCCESS)
}

/// Prints a journal as it is written, over as many connections as that takes. Fails if the run was
/// stopped.
async fn follow(client: &GateClient, run: &str, output: &Output) -> Result<ExitCode> {
    let (mut after, mut fruitless) = (None, 0);
    loop {
        let before = after.clone();
        if let Some(end) = read(client, run, &mut after, output).await? {
            return Ok(end);
        }
        fruitless = if before == after { fruitless + 1 } else { 0 };
        if fruitless >= FRUITLESS_MAX {
            // It still is under way, or the gate is not there: that says so.
            client.get(&format!("/v1/runs/{run}")).await?;
            fruitless = 0;
        }
    }
}

/// Reads over one connection. Gives how to end, if the run is over.
async fn read(
    client: &GateClient,
    run: &str,
    after: &mut Option<String>,
    output: &Output,
) -> Result<Option<ExitCode>> {
    let mut journal = Journal::open(client, run, after.as_deref()).await?;
    while let Some((number, entry)) = journal.next().await? {
        output.json(&entry);
        output.line(&line(&entry, output));
        *after = number;
        match text(&entry, "event") {
            "finished" => return Ok(Some(ExitCode::SUCCESS)),
            "stopped" => return Ok(Some(ExitCode::FAILURE)),
            _ => {}
        }
    }
    Ok(None)
}

/// A journal that is read as it is written, over one connection.
pub(crate) struct Journal {
    body: hyper::body::Incoming,
    decoder: SseDecoder,
    events: VecDeque<SseEvent>,
}

impl Journal {
    /// Begins behind an entry, by its number.
    pub(crate) async fn open(client: &GateClient, run: &str, after: Option<&str>) -> Result<Self> {
        let path = format!("/v1/runs/{run}/events");
        let headers: Vec<(&str, &str)> =
            after.iter().map(|after| ("last-event-id", *after)).collect();
        let answer = client.open(http::Method::GET, &path, &headers, Bytes::new()).await?;
        if !answer.status().is_success() {
            // What is wrong is said where one answer is expected.
            client.get(&format!("/v1/runs/{run}")).await?;
            return Err(anyhow!("the gate answered {}", answer.status()));
        }
        let limits =
            SseLimits { line_bytes_max: ENTRY_BYTES_MAX, event_bytes_max: ENTRY_BYTES_MAX };
        let decoder = SseDecoder::new(limits);
        Ok(Self { body: answer.into_body(), decoder, events: VecDeque::new() })
    }

    /// The next entry, with its number. `None`: nothing comes over this connection any more.
    pub(crate) async fn next(&mut self) -> Result<Option<(Option<String>, Json)>> {
        loop {
            if let Some(event) = self.events.pop_front() {
                let data = event.data.unwrap_or_default();
                return Ok(Some((event.id, Json::parse(data.as_bytes(), &JsonLimits::OWN)?)));
            }
            let Some(Ok(frame)) = self.body.frame().await else { return Ok(None) };
            let Ok(piece) = frame.into_data() else { continue };
            let mut events: Vec<SseEvent> = Vec::new();
            self.decoder.push(&piece, &mut events).context("the gate's answer cannot be read")?;
            self.events.extend(events);
        }
    }
}

/// An entry of a journal, in a line.
fn line(entry: &Json, output: &Output) -> String {
    let said = |name: &str| text(entry, name).replace('\n', " ");
    let kind = text(entry, "event");
    match kind {
        "started" => format!("started: {} ({})", said("input"), said("task")),
        "asked" => format!("asks {} with `{}`", said("model"), said("prompt")),
        "answered" => {
            let calls = entry.get("proposals").and_then(Json::as_array).unwrap_or_default();
            let calls: Vec<String> = calls
                .iter()
                .map(|call| format!("{} {}", text(call, "name"), text(call, "arguments")))
                .collect();
            let text = Some(said("text")).filter(|text| !text.is_empty());
            let calls = (!calls.is_empty()).then(|| format!("proposes {}", calls.join(", ")));
            let parts: Vec<String> = text.into_iter().chain(calls).collect();
            format!("model: {}", parts.join("; "))
        }
        "performed" => format!("{} {}", output.good("performed"), said("text")),
        "refused" => format!("{} {} {}", output.bad("refused"), said("code"), said("reason")),
        "unanswered" => format!("no answer: {} {}", said("code"), said("reason")),
        "parked" => format!("waits for {} {}", said("for"), said("call")),
        "resumed" => format!("goes on: {}", said("why")),
        "finished" => format!("{} {}", output.good("finished"), text(entry, "text")),
        "stopped" => format!("{} {}: {}", output.bad("stopped"), said("why"), said("detail")),
        other => other.to_owned(),
    }
}

fn list(answer: &Json, output: &Output) {
    let runs = answer.get("runs").and_then(Json::as_array).unwrap_or_default();
    if runs.is_empty() {
        output.line("there are no runs");
    }
    for run in runs {
        output.line(&summary(run));
    }
}

fn summary(run: &Json) -> String {
    let at = run.get("started_at").and_then(Json::as_i64).unwrap_or_default();
    let at = jiff::Timestamp::from_microsecond(at).map(|at| at.to_string()).unwrap_or_default();
    let whose = match (text(run, "subject"), text(run, "agent")) {
        ("", _) => String::new(),
        (subject, agent) => format!(" for {subject} by {agent}"),
    };
    let (id, task, state) = (text(run, "run"), text(run, "task"), text(run, "state"));
    format!("{id} {task} {state}{whose}, started {at}")
}

fn show(run: &Json, output: &Output) {
    output.line(&summary(run));
    if !text(run, "input").is_empty() {
        output.line(&format!("  asked: {}", text(run, "input")));
    }
    for turn in run.get("turns").and_then(Json::as_array).unwrap_or_default() {
        if !text(turn, "text").is_empty() {
            output.line(&format!("  model: {}", text(turn, "text")));
        }
        for call in turn.get("calls").and_then(Json::as_array).unwrap_or_default() {
            let (name, arguments) = (text(call, "name"), text(call, "arguments"));
            let (state, code) = (text(call, "state"), text(call, "code"));
            output.line(&format!("  {state} {code} {name} {arguments}"));
        }
    }
    if let Some(waits) = run.get("waits") {
        output.line(&format!("  waits for {} {}", text(waits, "for"), text(waits, "call")));
    }
    if let Some(outcome) = run.get("outcome") {
        let (said, why) = (text(outcome, "text"), text(outcome, "why"));
        output.line(&format!("  {} {said}{why}", text(outcome, "event")));
    }
    let number = |name: &str| run.get(name).and_then(Json::as_i64).unwrap_or_default();
    let (steps, tokens) = (number("steps"), number("tokens"));
    output.line(&format!("  {steps} steps, {tokens} tokens, {} ms of work", number("worked_ms")));
}

fn text<'a>(json: &'a Json, name: &str) -> &'a str {
    json.get(name).and_then(Json::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::line;
    use crate::output::Output;
    use lockgate_types::{Json, JsonLimits};

    #[test]
    fn what_a_model_proposes_is_not_taken_for_its_words() {
        let calls =
            r#""proposals":[{"name":"pay","arguments":"{}"},{"name":"find","arguments":"1"}]"#;
        for (members, said) in [
            (r#""text":"so be it""#.to_owned(), "model: so be it"),
            (calls.to_owned(), "model: proposes pay {}, find 1"),
            (
                format!(r#""text":"first this",{calls}"#),
                "model: first this; proposes pay {}, find 1",
            ),
        ] {
            let entry = format!(r#"{{"event":"answered",{members}}}"#);
            let entry = Json::parse(entry.as_bytes(), &JsonLimits::OWN).unwrap();
            assert_eq!(line(&entry, &Output::new(false)), said);
        }
    }
}
