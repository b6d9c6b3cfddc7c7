//! Who has to agree at a step of a workflow that asks people: the bundle says, by the step that the
//! call names. A step that is not there lets nobody through.

use super::{Case, Firmness, Objection};
use crate::bundle::admin::ASKS_PEOPLE;
use crate::declare::StepWord;
use crate::run::Stage;
use lockgate_types::decision::Question;
use lockgate_types::{Code, Json, TaskName};

/// The step that asks. `None`: the call asks for none. `Some(None)`: for one that is not there.
pub(super) fn of<'a>(case: &Case<'a>) -> Option<Option<&'a Stage>> {
    let call = &case.facts.call;
    (call.operation.as_str() == ASKS_PEOPLE).then(|| {
        let named = |name: &str| call.arguments()?.get(name).and_then(Json::as_str);
        let task = TaskName::new(named("task")?).ok()?;
        let stages = &case.world.runs.get(&task)?.workflow.as_ref()?.stages;
        let is_it =
            |it: &&Stage| it.kind == StepWord::Approve && Some(it.id.as_str()) == named("step");
        stages.iter().find(is_it)
    })
}

/// Whether those have agreed whom the step names.
pub(super) fn has_agreed(case: &Case<'_>, stage: &Stage) -> bool {
    case.facts.approvals.iter().any(|approval| approval.requirement == stage.whom)
}

pub(super) fn missing() -> Objection {
    Objection::deny(Code::NoRuns, Question::Approval, Firmness::Firm)
        .because("the bundle has no such step that asks people".to_owned())
}
