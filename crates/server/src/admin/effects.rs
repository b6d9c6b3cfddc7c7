//! Effects in doubt: shown, and resolved by people who found out.

use super::problem::Problem;
use super::{Asked, Parts, Reading};
use lockgate_store::{DOUBTS_READ_MAX, Doubt, Means, OutcomeState};
use lockgate_types::{CallId, Code, Json, JsonLimits};
use schemars::JsonSchema;
use serde::Serialize;
use std::sync::Arc;

/// What a person can say of an effect.
pub(crate) const OUTCOMES: [&str; 2] = ["happened", "did_not_happen"];

/// Effects in doubt.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Effects {
    effects: Vec<OneEffect>,
}

/// An effect in doubt.
#[derive(Serialize, JsonSchema)]
struct OneEffect {
    /// The call that first asked for it.
    call: String,
    operation: String,
    /// `idempotent`, `queryable` or `opaque`: only the last needs a person, the others are found
    /// out by the gate, as long as the upstream answers.
    class: &'static str,
    agent: String,
    /// Whose it is: a pseudonym.
    subject: String,
    /// When it was decided, in microseconds since 1970.
    at: i64,
}

/// What became of it.
#[derive(Serialize, JsonSchema)]
pub(crate) struct ResolvedEffect {
    /// Whether it was in doubt, and no attempt at it was under way.
    was_in_doubt: bool,
}

pub(super) async fn list(parts: Arc<Parts>, asked: Asked) -> Result<Reading, Problem> {
    let perform = async || {
        let doubts = parts.kernel.store().doubts(0, DOUBTS_READ_MAX).await?;
        let mut effects = Vec::with_capacity(doubts.len());
        for doubt in doubts {
            effects.push(parts.effect(&doubt).await?);
        }
        Reading::typed(&Effects { effects })
    };
    parts.govern(&asked, "effects_read", perform).await
}

pub(super) async fn resolve(parts: Arc<Parts>, asked: Asked) -> Result<Reading, Problem> {
    let perform = async || {
        let call = CallId::new(asked.text("call")).map_err(|_| Code::AdminBadRequest)?;
        let store = parts.kernel.store();
        if store.trace(&call).await?.is_none() {
            return Err(Code::RecordNotFound.into());
        }
        let state = match asked.text("outcome") {
            "happened" => OutcomeState::Succeeded,
            _ => OutcomeState::Failed,
        };
        let resolved = store.resolve(&call, state, Means::Person).await?;
        Reading::typed(&ResolvedEffect { was_in_doubt: resolved.is_some() })
    };
    parts.govern(&asked, "effect_resolve", perform).await
}

impl Parts {
    async fn effect(&self, doubt: &Doubt) -> Result<OneEffect, Problem> {
        let entry = self.kernel.store().entry_at(doubt.intent).await?;
        let leaf = Json::parse(&entry.leaf, &JsonLimits::OWN).map_err(|_| Code::LedgerCorrupt)?;
        let text =
            |name: &str| leaf.get(name).and_then(Json::as_str).unwrap_or_default().to_owned();
        let operation = text("operation");
        let class = self.kernel.world().and_then(|world| {
            let named = operation.parse().ok()?;
            Some(world.operations.get(&named)?.repeat.as_ref()?.class.as_str())
        });
        Ok(OneEffect {
            call: doubt.call.to_string(),
            class: class.unwrap_or("opaque"),
            agent: text("agent"),
            subject: text("subject"),
            at: leaf.get("t").and_then(Json::as_i64).unwrap_or_default(),
            operation,
        })
    }
}
