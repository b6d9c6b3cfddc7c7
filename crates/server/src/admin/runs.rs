//! Runs that the gate drives: started, followed, cancelled and forked by whoever they belong to.

use super::problem::Problem;
use super::table::{AnswerForm, Route};
use super::{Asked, Parts, Reading};
use axum::body::Body;
use bytes::Bytes;
use http::HeaderMap;
use lockgate_kernel::{Kernel, Refusal};
use lockgate_types::identity::Identity;
use lockgate_types::{CallId, Code, Json, Micros, Object, Tenant};
use lockgate_wire::sse::{SseEvent, write_event};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;

/// Journals that are followed at once.
pub(super) const STREAMS_MAX: usize = 256;
/// Microseconds for which one is followed in one request.
const STREAM_US: i64 = 600_000_000;
/// Silence after which a comment keeps the connection alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Runs of one page.
const PAGE_MAX: u32 = 64;
/// The header of a client that comes back to a stream.
const LAST_EVENT: &str = "last-event-id";
/// The key of a run that is asked for, as it is decided and recorded.
const KEY: &str = "idempotency_key";

/// The number of the entry that a client has seen last, where a journal is followed.
pub(super) fn last_event(route: &Route, headers: &HeaderMap) -> Result<Option<i64>, Problem> {
    let Some(last) = headers.get(LAST_EVENT) else { return Ok(None) };
    if !matches!(route.answer, AnswerForm::Events(_)) {
        return Ok(None);
    }
    let number = last.to_str().ok().and_then(|last| last.parse::<u32>().ok());
    let number = number.ok_or_else(|| Problem::request("`Last-Event-ID` is no number of an entry"));
    number.map(|number| Some(number.into()))
}

pub(super) async fn start(parts: Arc<Parts>, asked: Asked) -> Result<Reading, Problem> {
    let perform = async |by: CallId| {
        let what = (asked.text("task"), asked.text("input"));
        let key = asked.arguments.get(KEY).and_then(Json::as_str);
        let run = parts.kernel.start_run(&asked.identity, &by, what, key).await?;
        let mut shown = parts.kernel.show_run(&asked.identity, &run).await?;
        if run == by {
            return Ok(Reading::created(shown));
        }
        if let Some(shown) = shown.as_object_mut() {
            shown.set("repeated", true);
        }
        Ok(Reading::json(shown))
    };
    parts.govern_call(&asked, "run_start", None, perform).await
}

pub(super) async fn list(parts: Arc<Parts>, asked: Asked) -> Result<Reading, Problem> {
    let perform = async || {
        let (before, max) = page_of(&asked)?;
        let runs = parts.kernel.runs(&asked.identity, before.as_ref(), max).await?;
        Ok(page(runs, max))
    };
    parts.govern(&asked, "runs_read", perform).await
}

/// The runs of everybody, for who looks after the gate.
pub(super) async fn list_all(parts: Arc<Parts>, asked: Asked) -> Result<Reading, Problem> {
    let perform = async || {
        let (before, max) = page_of(&asked)?;
        let tenant = match asked.text("tenant") {
            "" => None,
            tenant => Some(Tenant::new(tenant).map_err(|_| Code::AdminBadRequest)?),
        };
        let runs = parts.kernel.all_runs(tenant.as_ref(), before.as_ref(), max).await?;
        Ok(page(runs, max))
    };
    parts.govern(&asked, "runs_read_all", perform).await
}

/// A run of anybody's. Policies see whose it is.
pub(super) async fn show_any(parts: Arc<Parts>, asked: Asked) -> Result<Reading, Problem> {
    let (run, asked) = parts.with_opener(asked).await?;
    let perform = async || Ok(Reading::json(parts.kernel.oversee_run(&run).await?));
    parts.govern(&asked, "runs_read_all", perform).await
}

pub(super) async fn cancel_any(parts: Arc<Parts>, asked: Asked) -> Result<Reading, Problem> {
    let (run, asked) = parts.with_opener(asked).await?;
    let perform = async |by: CallId| {
        parts.kernel.cancel_any_run((&run, &by)).await?;
        Ok(Reading::json(parts.kernel.oversee_run(&run).await?))
    };
    parts.govern_call(&asked, "run_cancel_any", None, perform).await
}

impl Parts {
    /// The arguments with what policies may want to know of whose run it is. Of one that is not
    /// there they know nothing.
    async fn with_opener(&self, asked: Asked) -> Result<(CallId, Asked), Problem> {
        let run = run_of(&asked)?;
        let Some((task, opener)) = self.kernel.whose_run(&run).await? else {
            return Ok((run, asked));
        };
        let mut arguments = asked.arguments.clone();
        for (name, value) in [
            ("tenant", opener.tenant.as_str()),
            ("environment", opener.environment.as_str()),
            ("subject", opener.subject.as_str()),
            ("agent", opener.agent.as_str()),
            ("task", task.as_str()),
        ] {
            arguments.set(name, value);
        }
        Ok((run, asked.with(arguments)))
    }
}

/// Where a page begins, and how long it is.
fn page_of(asked: &Asked) -> Result<(Option<CallId>, u32), Problem> {
    let before = match asked.text("before") {
        "" => None,
        before => Some(CallId::new(before).map_err(|_| Code::AdminBadRequest)?),
    };
    let max = asked.number("max").and_then(|max| u32::try_from(max).ok());
    Ok((before, max.unwrap_or(PAGE_MAX)))
}

fn page(runs: Vec<Json>, max: u32) -> Reading {
    let is_full = runs.len() >= usize::try_from(max).unwrap_or(usize::MAX);
    let next = runs.last().filter(|_| is_full).and_then(|run| run.get("run").cloned());
    Reading::json(Object::new().with("runs", runs).with_some("next", next))
}

pub(super) async fn show(parts: Arc<Parts>, asked: Asked) -> Result<Reading, Problem> {
    let perform = async || {
        let run = run_of(&asked)?;
        Ok(Reading::json(parts.kernel.show_run(&asked.identity, &run).await?))
    };
    parts.govern(&asked, "runs_read", perform).await
}

pub(super) async fn cancel(parts: Arc<Parts>, asked: Asked) -> Result<Reading, Problem> {
    let perform = async |by: CallId| {
        let run = run_of(&asked)?;
        parts.kernel.cancel_run(&asked.identity, (&run, &by)).await?;
        Ok(Reading::json(parts.kernel.show_run(&asked.identity, &run).await?))
    };
    parts.govern_call(&asked, "run_cancel", None, perform).await
}

/// A fork is decided with the task of what it is a fork of.
pub(super) async fn fork(parts: Arc<Parts>, asked: Asked) -> Result<Reading, Problem> {
    let run = run_of(&asked)?;
    let task = parts.kernel.task_of_run(&asked.identity, &run).await?;
    let mut arguments = asked.arguments.clone();
    if let Some(task) = task {
        arguments.set("task", task);
    }
    let asked = asked.with(arguments);
    let perform = async |by: CallId| {
        let turn = asked.number("turn").and_then(|turn| u32::try_from(turn).ok());
        let input = Some(asked.text("input")).filter(|input| !input.is_empty());
        let called = (&run, &by);
        let forked = parts.kernel.fork_run(&asked.identity, called, turn, input).await?;
        Ok(Reading::created(parts.kernel.show_run(&asked.identity, &forked).await?))
    };
    parts.govern_call(&asked, "run_fork", None, perform).await
}

pub(super) async fn events(parts: Arc<Parts>, asked: Asked) -> Result<Reading, Problem> {
    let perform = async || {
        let run = run_of(&asked)?;
        let place = Arc::clone(&parts.streams).try_acquire_owned();
        let place = place.map_err(|_| Refusal::of(Code::Overloaded))?;
        let from = match asked.number("after") {
            Some(after) => u32::try_from(after).unwrap_or(u32::MAX).saturating_add(1),
            None => 0,
        };
        // Whose it is, before anything is said.
        parts.kernel.follow_run(&asked.identity, &run, from, Duration::ZERO).await?;
        let until = Micros(parts.kernel.clock().now().0.saturating_add(STREAM_US));
        let identity = Arc::clone(&asked.identity);
        let kernel = parts.kernel.clone();
        let following = Following { kernel, identity, run, from, until, _place: place };
        let stream = futures_util::stream::unfold(Some(following), Following::next);
        Ok(Reading::events(Body::from_stream(stream)))
    };
    parts.govern(&asked, "runs_read", perform).await
}

fn run_of(asked: &Asked) -> Result<CallId, Problem> {
    CallId::new(asked.text("run")).map_err(|_| Code::AdminBadRequest.into())
}

/// A journal that somebody follows.
struct Following {
    kernel: Kernel,
    identity: Arc<Identity>,
    run: CallId,
    from: u32,
    until: Micros,
    _place: OwnedSemaphorePermit,
}

impl Following {
    async fn next(following: Option<Self>) -> Option<(Result<Bytes, Infallible>, Option<Self>)> {
        let mut following = following?;
        let Self { kernel, identity, run, from, .. } = &following;
        let heard = kernel.follow_run(identity, run, *from, KEEP_ALIVE).await.ok()?;
        let mut out = Vec::new();
        for (number, kind, entry) in &heard.entries {
            let event = SseEvent {
                id: Some(number.to_string()),
                event: Some((*kind).to_owned()),
                data: Some(Json::to_string(entry)),
                ..SseEvent::default()
            };
            write_event(&event, &mut out);
            following.from = number.saturating_add(1);
        }
        if out.is_empty() {
            out.extend_from_slice(b": still there\n\n");
        }
        let is_over = heard.is_over || following.kernel.clock().now() >= following.until;
        Some((Ok(Bytes::from(out)), (!is_over).then_some(following)))
    }
}
