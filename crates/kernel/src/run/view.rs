//! Runs as whoever opened them sees them.

use crate::Kernel;
use crate::port::Refusal;
use crate::refusal::not_recorded;
use lockgate_core::run::{Entry, Event, Over, Parked, RunState, Turn};
use lockgate_store::RunRow;
use lockgate_types::identity::Identity;
use lockgate_types::{CallId, Code, Json, JsonLimits, Object};
use std::pin::pin;
use std::time::Duration;

/// Between two looks at a journal that somebody follows: what is added here is heard of at once.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Entries of a journal, as they are shown, by number.
pub struct RunEntries {
    /// The entries.
    pub entries: Vec<(u32, &'static str, Json)>,
    /// Whether nothing follows.
    pub is_over: bool,
}

/// An entry as it is kept. `None`: it is none.
pub(super) fn entry(bytes: &[u8]) -> Option<Entry> {
    Entry::from_json(&Json::parse(bytes, &JsonLimits::OWN).ok()?)
}

impl Kernel {
    /// The runs of this identity's own, the newest first, those before that one.
    pub async fn runs(
        &self,
        identity: &Identity,
        before: Option<&CallId>,
        max: u32,
    ) -> Result<Vec<Json>, Refusal> {
        let found = self.parts.store.runs(identity, before, max).await;
        let found = found.map_err(|error| not_recorded(&error))?;
        Ok(found.iter().map(|row| summary(row).into()).collect())
    }

    /// A run of this identity's own: where it is, and what it has come to.
    pub async fn show_run(&self, identity: &Identity, run: &CallId) -> Result<Json, Refusal> {
        let (row, entries) = self.own_run(identity, run).await?;
        let state = RunState::of(&entries).map_err(|_| Refusal::of(Code::LedgerCorrupt))?;
        let world = self.world();
        let task = state.began.as_ref().map(|began| &began.task);
        let plan = world.as_ref().and_then(|world| world.runs.get(task?));
        let left = plan.map(|plan| {
            let left = plan.left(&state);
            Object::new()
                .with("steps", left.steps)
                .with("tokens", left.tokens)
                .with_some("spend", left.spend)
                .with("time_ms", left.time_us / 1000)
        });
        let fork_of = state.began.as_ref().and_then(|began| began.fork_of.as_ref());
        let prompts = state.turns.iter().filter_map(|turn| turn.prompt);
        let prompts: Vec<Json> = prompts.map(|digest| digest.to_string().into()).collect();
        let turns: Vec<Json> = state.turns.iter().map(turn).collect();
        let shown = summary(&row)
            .with("input", state.input.as_str())
            .with_some("fork_of", fork_of.map(|run| run.as_str().to_owned()))
            .with("steps", state.steps)
            .with("tokens", state.tokens)
            .with("spend", state.spend)
            .with("worked_ms", state.worked_us / 1000)
            .with_some("left", left)
            .with_some("waits", state.parked.as_ref().map(waits))
            .with("prompts", prompts)
            .with("turns", turns)
            .with_some("outcome", state.over.as_ref().map(outcome));
        Ok(shown.into())
    }

    /// The journal of a run of this identity's own from a number on. Waits for the next entry, for
    /// so long.
    pub async fn follow_run(
        &self,
        identity: &Identity,
        run: &CallId,
        from: u32,
        within: Duration,
    ) -> Result<RunEntries, Refusal> {
        let until = self
            .parts
            .clock
            .now()
            .0
            .saturating_add(i64::try_from(within.as_micros()).unwrap_or(i64::MAX));
        loop {
            let mut heard = pin!(self.parts.runs.added.notified());
            // Before looking, so that what is added in between is not missed.
            heard.as_mut().enable();
            let found = self.parts.store.run(identity, run).await;
            let found = found.map_err(|error| not_recorded(&error))?;
            let row = found.ok_or_else(|| Refusal::of(Code::RecordNotFound))?;
            let page = self.parts.store.run_entries(identity, run, from).await;
            let page = page.map_err(|error| not_recorded(&error))?;
            let page = page.ok_or_else(|| Refusal::of(Code::PayloadErased))?;
            let is_over = row.phase.is_over()
                && from.saturating_add(u32::try_from(page.len()).unwrap_or(u32::MAX))
                    >= row.entries;
            let left = until.saturating_sub(self.parts.clock.now().0);
            if !page.is_empty() || is_over || left <= 0 {
                let entries = (from..).zip(&page).map(|(number, bytes)| {
                    let entry = entry(bytes).ok_or_else(|| Refusal::of(Code::LedgerCorrupt))?;
                    Ok((number, entry.event.kind(), entry.to_json()))
                });
                return Ok(RunEntries {
                    entries: entries.collect::<Result<_, Refusal>>()?,
                    is_over,
                });
            }
            let left = Duration::from_micros(u64::try_from(left).unwrap_or(0));
            tokio::select! {
                () = heard => {}
                () = self.parts.clock.wait(left.min(LOOK_EVERY)) => {}
            }
        }
    }
}

pub(super) fn summary(row: &RunRow) -> Object {
    Object::new()
        .with("run", row.id.as_str())
        .with("task", row.task.as_str())
        .with("state", row.phase.as_str())
        .with("entries", i64::from(row.entries))
        .with("started_at", row.since.0)
        .with("at", row.at.0)
        .with_some("within", row.within.as_ref().map(|run| run.as_str().to_owned()))
        .with_some("cancelled_by", row.cancelled_by.as_ref().map(|it| it.as_str().to_owned()))
}

fn turn(turn: &Turn) -> Json {
    let calls = turn.proposals.iter().zip(&turn.outcomes).map(|(proposal, outcome)| {
        let state = match outcome {
            None => "proposed",
            Some(outcome) if outcome.refused.is_some() => "refused",
            Some(outcome) if outcome.is_error => "failed",
            Some(_) => "performed",
        };
        let code = outcome.as_ref().and_then(|outcome| outcome.refused);
        let call = outcome.as_ref().and_then(|outcome| outcome.call.as_ref());
        let called = Object::new()
            .with("name", proposal.name.as_str())
            .with("arguments", proposal.arguments.as_str())
            .with("state", state)
            .with_some("code", code.map(|code| code.as_str()))
            .with_some("call", call.map(|call| call.as_str().to_owned()));
        Json::from(called)
    });
    let checks = turn.checks.iter().map(|(by, findings)| {
        let findings: Vec<Json> = findings.iter().map(|it| it.as_str().into()).collect();
        Json::from(Object::new().with("by", by.as_str()).with("findings", findings))
    });
    Object::new()
        .with_some("stage", turn.stage.as_deref())
        .with_some("model", (!turn.model.is_empty()).then_some(turn.model.as_str()))
        .with_some("text", turn.text.as_deref().filter(|text| !text.is_empty()))
        .with("calls", calls.collect::<Vec<_>>())
        .with("checks", checks.collect::<Vec<_>>())
        .into()
}

fn waits(parked: &Parked) -> Json {
    let event = Event::Parked(parked.clone());
    let json = Entry { at: lockgate_types::Micros(0), event }.to_json();
    let mut shown = json.as_object().cloned().unwrap_or_default();
    shown.remove("at");
    shown.remove("event");
    shown.into()
}

fn outcome(over: &Over) -> Json {
    let event = Event::Over(over.clone());
    let kind = event.kind();
    let json = Entry { at: lockgate_types::Micros(0), event }.to_json();
    let mut shown = json.as_object().cloned().unwrap_or_default();
    shown.remove("at");
    shown.set("event", kind);
    shown.into()
}
