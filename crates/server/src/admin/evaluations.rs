//! Results of behaviour tests: handed in by whoever has asked the models, and listed.

use super::problem::Problem;
use super::{Asked, Parts, Reading};
use lockgate_kernel::HandedIn;
use lockgate_store::WhichEvaluations;
use lockgate_types::{CallId, Object};
use std::sync::Arc;

/// Results of one page.
const PAGE_MAX: u32 = 64;

pub(super) async fn record(parts: Arc<Parts>, asked: Asked) -> Result<Reading, Problem> {
    let perform = async |by: CallId| {
        let handed_in = HandedIn {
            suite: asked.text("suite"),
            digest: asked.text("digest"),
            entry: asked.text("entry"),
            report: asked.text("report"),
        };
        let recorded = parts.kernel.record_evaluation(&asked.identity, &by, handed_in).await?;
        Ok(Reading::created(recorded))
    };
    parts.govern_call(&asked, "evaluation_record", None, perform).await
}

pub(super) async fn list(parts: Arc<Parts>, asked: Asked) -> Result<Reading, Problem> {
    let perform = async || {
        let named = |name: &str| Some(asked.text(name).to_owned()).filter(|name| !name.is_empty());
        let which = WhichEvaluations { entry: named("entry"), suite: named("suite") };
        let max = asked.number("max").and_then(|max| u32::try_from(max).ok()).unwrap_or(PAGE_MAX);
        let results = parts.kernel.evaluations(which, max).await?;
        Ok(Reading::json(Object::new().with("results", results)))
    };
    parts.govern(&asked, "evaluations_read", perform).await
}
