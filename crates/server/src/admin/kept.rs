//! Answers of models that somebody has approved, for when no model answers: kept, listed,
//! forgotten. What they say is in the records of their calls.

use super::problem::Problem;
use super::{Asked, Parts, Reading};
use lockgate_store::{KEPT_ANSWERS_READ_MAX, KeptAnswer};
use lockgate_types::{CallId, Code};
use schemars::JsonSchema;
use serde::Serialize;
use std::sync::Arc;

/// Answers that are kept.
#[derive(Serialize, JsonSchema)]
pub(crate) struct All {
    /// Those first that end first.
    answers: Vec<One>,
}

/// An answer that is kept.
#[derive(Serialize, JsonSchema)]
pub(crate) struct One {
    /// The call that it was the answer to.
    call: String,
    /// Whose.
    tenant: String,
    /// The call by which somebody has approved it.
    kept_by: String,
    /// When, in microseconds since 1970.
    kept_at: i64,
    /// Until when it is given, in microseconds since 1970.
    expires_at: i64,
}

/// An answer that was forgotten.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Forgotten {
    /// The call that it was the answer to.
    call: String,
}

impl One {
    fn of(kept: &KeptAnswer) -> Self {
        Self {
            call: kept.call.to_string(),
            tenant: kept.tenant.to_string(),
            kept_by: kept.by.to_string(),
            kept_at: kept.at.0,
            expires_at: kept.until.0,
        }
    }
}

pub(super) async fn list(parts: Arc<Parts>, asked: Asked) -> Result<Reading, Problem> {
    let perform = async || {
        let kept = parts.kernel.store().kept_answers(KEPT_ANSWERS_READ_MAX).await?;
        Reading::typed(&All { answers: kept.iter().map(One::of).collect() })
    };
    parts.govern(&asked, "answers_read", perform).await
}

pub(super) async fn keep(parts: Arc<Parts>, asked: Asked) -> Result<Reading, Problem> {
    let perform = async |by: CallId| {
        let call = CallId::new(asked.text("call")).map_err(|_| Code::AdminBadRequest)?;
        let kept = parts.kernel.keep_answer(&call, &asked.identity, &by).await?;
        Reading::typed(&One::of(&kept))
    };
    parts.govern_call(&asked, "answer_keep", None, perform).await
}

pub(super) async fn forget(parts: Arc<Parts>, asked: Asked) -> Result<Reading, Problem> {
    let perform = async || {
        let call = CallId::new(asked.text("call")).map_err(|_| Code::AdminBadRequest)?;
        match parts.kernel.store().forget_answer(&call).await? {
            true => Reading::typed(&Forgotten { call: call.to_string() }),
            false => Err(Code::RecordNotFound.into()),
        }
    };
    parts.govern(&asked, "answer_forget", perform).await
}
