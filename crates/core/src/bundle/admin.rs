//! The operations of the gate's own admin API, under the reserved upstream name `lockgate`.
//!
//! They are operations like any other: the same policies, the same decision (I12).

use lockgate_types::call::Effect;

/// The upstream name that no upstream may have.
pub const RESERVED: &str = "lockgate";

/// The operation that throws a switch. It only stops things, so that a node of a fleet decides it
/// by the last rules that it knows, also where others rule by now.
pub const THROWS: &str = "lockgate/switch_throw";

/// The operation that asks people at a step of a workflow: nobody but a run calls it, and it is
/// allowed once those have agreed whom the step names.
pub const ASKS_PEOPLE: &str = "lockgate/run_approve";

/// The operation that answers in place of a model: nobody but the gate calls it. With words of a
/// person, it is allowed once those have agreed whom the task names; with a recorded answer, for as
/// long as that holds.
pub const STANDS_IN: &str = "lockgate/model_stand_in";

/// Every operation of the admin API, with its effect.
pub const ADMIN_OPERATIONS: &[(&str, Effect)] = &[
    ("status_read", Effect::Read),
    ("upstreams_read", Effect::Read),
    ("traces_read", Effect::Read),
    ("records_read", Effect::Read),
    ("checkpoint_read", Effect::Read),
    ("operations_read", Effect::Read),
    ("bundle_read", Effect::Read),
    ("bundle_reload", Effect::Write),
    ("approvals_read", Effect::Read),
    ("approval_state", Effect::Read),
    ("approval_give", Effect::Write),
    ("approval_deny", Effect::Write),
    ("effects_read", Effect::Read),
    ("limits_read", Effect::Read),
    ("effect_resolve", Effect::Write),
    ("switches_read", Effect::Read),
    ("switch_throw", Effect::Write),
    ("switch_lift", Effect::Write),
    ("sessions_read", Effect::Read),
    ("session_loosen", Effect::Write),
    ("session_tighten", Effect::Write),
    ("session_open", Effect::Write),
    ("session_words", Effect::Write),
    ("session_end", Effect::Write),
    ("opened_read", Effect::Read),
    ("posture_read", Effect::Read),
    ("posture_loosen", Effect::Write),
    ("posture_tighten", Effect::Write),
    ("memory_read", Effect::Read),
    ("memory_confirm", Effect::Write),
    ("memory_forget", Effect::Write),
    ("run_start", Effect::Write),
    ("runs_read", Effect::Read),
    ("run_cancel", Effect::Write),
    ("run_fork", Effect::Write),
    ("evaluation_record", Effect::Write),
    ("evaluations_read", Effect::Read),
    ("runs_read_all", Effect::Read),
    ("run_cancel_any", Effect::Write),
    ("run_approve", Effect::Read),
    ("model_stand_in", Effect::Read),
    ("answers_read", Effect::Read),
    ("answer_keep", Effect::Write),
    ("answer_forget", Effect::Write),
    ("sources_read", Effect::Read),
    ("source_uses_read", Effect::Read),
    ("source_run", Effect::Write),
    ("source_pin", Effect::Write),
    ("source_roll_back", Effect::Write),
    ("source_share", Effect::Write),
    ("source_forget", Effect::Destructive),
    ("retrieval_read", Effect::Read),
    ("retrieval_feedback", Effect::Write),
];
