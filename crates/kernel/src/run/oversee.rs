//! Runs as those see them who look after a gate: whose each is, where it stands, what it waits for
//! and what it has used. What was asked and said is not among it: that is in the traces of its
//! calls, for who may read those.

use super::view::summary;
use super::{Kernel, open};
use crate::port::Refusal;
use crate::refusal::not_recorded;
use lockgate_core::World;
use lockgate_core::run::{Over, Parked, Plan, RunState, Turn};
use lockgate_store::RunRow;
use lockgate_types::identity::Identity;
use lockgate_types::{CallId, Code, Json, Object, TaskName, Tenant};
use std::sync::Arc;

impl Kernel {
    /// The runs of everybody, or of one tenant, the newest first, those before that one.
    pub async fn all_runs(
        &self,
        tenant: Option<&Tenant>,
        before: Option<&CallId>,
        max: u32,
    ) -> Result<Vec<Json>, Refusal> {
        let found = self.parts.store.all_runs(tenant, before, max).await;
        let mut runs = Vec::new();
        for row in found.map_err(|error| not_recorded(&error))? {
            let opener = self.opener_of(&row.id).await?;
            runs.push(outline(&row, opener.as_deref()).into());
        }
        Ok(runs)
    }

    /// A run, whoever has opened it: all but what was asked and said.
    pub async fn oversee_run(&self, run: &CallId) -> Result<Json, Refusal> {
        let found = self.parts.store.any_run(run).await.map_err(|error| not_recorded(&error))?;
        let row = found.ok_or_else(|| Refusal::of(Code::RecordNotFound))?;
        let opener = self.opener_of(run).await?;
        let shown = outline(&row, opener.as_deref());
        let Some(opener) = opener else { return Ok(shown.into()) };
        let Some(entries) = self.journal(&opener, run).await? else { return Ok(shown.into()) };
        let state = RunState::of(&entries).map_err(|_| Refusal::of(Code::LedgerCorrupt))?;
        let world = self.world();
        Ok(standing(shown, &state, world.as_deref().and_then(|it| plan(it, &row))).into())
    }

    /// Has anybody's run end, as soon as what it has under way is recorded.
    pub async fn cancel_any_run(&self, (run, by): (&CallId, &CallId)) -> Result<(), Refusal> {
        let store = &self.parts.store;
        let found = store.any_run(run).await.map_err(|error| not_recorded(&error))?;
        open(found)?;
        let cancelled = store.cancel_any_run(run, by).await;
        cancelled.map_err(|error| not_recorded(&error))?;
        self.tell_of_cancelled();
        Ok(())
    }

    /// The task of a run, and who has opened it, for policies to know. `None`: there is no such
    /// run, or its opener was erased.
    pub async fn whose_run(
        &self,
        run: &CallId,
    ) -> Result<Option<(String, Arc<Identity>)>, Refusal> {
        let found = self.parts.store.any_run(run).await.map_err(|error| not_recorded(&error))?;
        let Some(found) = found else { return Ok(None) };
        let opener = self.facts_of(run).await?.map(|facts| facts.identity);
        Ok(opener.map(|opener| (found.task, opener)))
    }

    async fn opener_of(&self, run: &CallId) -> Result<Option<Arc<Identity>>, Refusal> {
        Ok(self.facts_of(run).await?.map(|facts| facts.identity))
    }
}

fn plan<'w>(world: &'w World, row: &RunRow) -> Option<&'w Plan> {
    world.runs.get(&TaskName::new(&row.task).ok()?)
}

fn outline(row: &RunRow, opener: Option<&Identity>) -> Object {
    let shown = summary(row);
    let Some(opener) = opener else { return shown };
    shown
        .with("tenant", opener.tenant.as_str())
        .with("environment", opener.environment.as_str())
        .with("subject", opener.subject.as_str())
        .with("agent", opener.agent.as_str())
}

fn standing(shown: Object, state: &RunState, plan: Option<&Plan>) -> Object {
    let turns: Vec<Json> = state.turns.iter().map(|it| turn(it, plan)).collect();
    shown
        .with("steps", state.steps)
        .with("tokens", state.tokens)
        .with("spend", state.spend)
        .with("worked_ms", state.worked_us / 1000)
        .with_some("waits", state.parked.as_ref().map(waits))
        .with("turns", turns)
        .with_some("outcome", state.over.as_ref().map(outcome))
}

/// What was proposed, by names that the bundle has: any other is what a model wrote.
fn turn(turn: &Turn, plan: Option<&Plan>) -> Json {
    let calls = turn.proposals.iter().zip(&turn.outcomes).map(|(proposal, outcome)| {
        let known = plan.filter(|plan| plan.tools.contains_key(&proposal.name));
        let outcome = outcome.as_ref();
        let state = match outcome {
            None => "proposed",
            Some(outcome) if outcome.refused.is_some() => "refused",
            Some(outcome) if outcome.is_error => "failed",
            Some(_) => "performed",
        };
        let code = outcome.and_then(|outcome| outcome.refused);
        let call = outcome.and_then(|outcome| outcome.call.as_ref());
        let called = Object::new()
            .with_some("name", known.map(|_| proposal.name.as_str()))
            .with("state", state)
            .with_some("code", code.map(|code| code.as_str()))
            .with_some("call", call.map(|call| call.as_str().to_owned()));
        Json::from(called)
    });
    let findings = turn.checks.values().map(|found| i64::try_from(found.len()).unwrap_or(0));
    Object::new()
        .with_some("stage", turn.stage.as_deref())
        .with_some("model", (!turn.model.is_empty()).then_some(turn.model.as_str()))
        .with("calls", calls.collect::<Vec<_>>())
        .with("findings", findings.sum::<i64>())
        .into()
}

fn waits(parked: &Parked) -> Json {
    let (what, call) = match parked {
        Parked::Approval { request, .. } => ("approval", Some(request)),
        Parked::Doubt { .. } => ("doubt", None),
        Parked::Child { run, .. } => ("run", Some(run)),
        Parked::Switch { .. } => ("switch", None),
    };
    let call = call.map(|call| call.as_str().to_owned());
    Object::new().with("for", what).with_some("call", call).into()
}

fn outcome(over: &Over) -> Json {
    match over {
        Over::Finished { is_fallback, uncertain, .. } => Object::new()
            .with("event", "finished")
            .with("is_fallback", *is_fallback)
            .with("findings", i64::try_from(uncertain.len()).unwrap_or(0))
            .into(),
        Over::Stopped { why, .. } => {
            Object::new().with("event", "stopped").with("why", why.as_str()).into()
        }
    }
}
