//! What is said where a call is not done, and which calls are none.

use crate::port::Refusal;
use lockgate_store::StoreError;
use lockgate_types::call::{Call, Direction, Effect};
use lockgate_types::decision::Decision;
use lockgate_types::methods::{self, Era};
use lockgate_types::{CallId, Code, Object, UpstreamName};

/// What a refusing decision says to the caller.
pub(crate) fn explain(decision: &Decision) -> Refusal {
    let Some(denial) = &decision.denial else {
        return Refusal::of(Code::InvariantBroken);
    };
    Refusal {
        code: denial.code,
        reason: denial.reason.clone(),
        remedy: denial.remedy.clone(),
        policies: denial.policies.clone(),
        call: None,
        retry: denial.code.retry(),
        step_up: denial.step_up.clone(),
        approval: None,
    }
}

/// Names what is asked for. A method travels only the way the protocol says; one that it does not
/// know is for the bundle to forward.
pub(crate) fn named(
    id: CallId,
    upstream: UpstreamName,
    direction: Direction,
    method: &str,
    params: Object,
) -> Result<Call, Code> {
    // What a server asks in the stateless era goes by the names it has where there are sessions.
    let may_travel = methods::find(method).is_none_or(|known| {
        let eras = [Era::Sessions, Era::Stateless];
        eras.into_iter().any(|era| known.may_travel(era, direction))
    });
    // A task would carry a tool's result past the tool's own obligations, to whoever knows its id.
    // Until tasks are bound to their owner they do not pass.
    let is_task = method.starts_with("tasks/") || params.contains("task");
    if !may_travel || is_task {
        return Err(Code::UnknownMethod);
    }
    Call::new(id, upstream, direction, method, params)
}

/// What was done and could not be recorded is not answered. Who asked must not do it again.
pub(crate) fn not_concluded(error: &StoreError, effect: Effect) -> Refusal {
    let unrecorded = not_recorded(error);
    if effect == Effect::Read {
        return unrecorded;
    }
    let mut refusal = Refusal::of(Code::OutcomeInDoubt);
    refusal.reason = format!("{}: it could not be recorded ({})", refusal.reason, unrecorded.code);
    refusal
}

/// What could not be recorded is not done.
pub(crate) fn not_recorded(error: &StoreError) -> Refusal {
    tracing::error!(error = error as &dyn std::error::Error, "a record could not be written");
    Refusal::of(error.code())
}
