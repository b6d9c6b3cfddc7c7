//! Question 1: which operation, with what effect.

use super::{Case, Firmness, Objection, model};
use crate::policy::Unasked;
use lockgate_types::appearance::marked;
use lockgate_types::decision::Question;
use lockgate_types::facts::{Difference, LiveDifference};
use lockgate_types::{Code, OperationName};

/// Why an operation is quarantined, and what shows it: in the bundle's words and the names of
/// operations, never in what was found.
pub fn quarantined(
    operation: &OperationName,
    difference: &LiveDifference,
) -> (Code, String, String) {
    let about = marked(&difference.about);
    let code = code(operation, difference);
    let reason = match difference.kind {
        Difference::Definition => code.title().to_owned(),
        Difference::Instructions => {
            "the server's instructions are others than were accepted".to_owned()
        }
        Difference::Renamed => format!("it is what was accepted as another operation: `{about}`"),
        Difference::LookAlike => format!("its name can be taken for that of `{about}`"),
        Difference::Collision if difference.about == operation.as_str() => {
            "the upstream offers several tools of this name".to_owned()
        }
        Difference::Collision => format!("it has the name of `{about}`"),
        Difference::NamesOther => {
            format!("its description names a tool of another server: `{about}`")
        }
        Difference::Found => format!("something was found in its description: {about}"),
    };
    let operation = marked(operation.as_str());
    let remedy = format!(
        "have whoever runs the gate look at `lockgate tools diff {operation}`, and accept it if it \
         is harmless"
    );
    (code, reason, remedy)
}

/// What is another definition than was pinned has a code of its own, and so have several of one
/// name: none of them is what was pinned.
fn code(operation: &OperationName, difference: &LiveDifference) -> Code {
    let is_itself = difference.about == operation.as_str();
    match difference.kind {
        Difference::Definition | Difference::Instructions => Code::UpstreamChanged,
        Difference::Collision if is_itself => Code::UpstreamChanged,
        Difference::Renamed
        | Difference::LookAlike
        | Difference::Collision
        | Difference::NamesOther
        | Difference::Found => Code::Quarantined,
    }
}

pub(super) fn objection(case: &Case<'_>) -> Option<Objection> {
    let deny = |code, firmness| Some(Objection::deny(code, Question::Operation, firmness));
    let is_consistent = case.operation.upstream == case.facts.call.upstream;
    let is_asked = matches!(case.unasked, None | Some(Unasked::NoResource));
    if !is_consistent || !is_asked {
        return deny(Code::FactsIncomplete, Firmness::Firm);
    }
    if let Some(difference) = &case.facts.live_difference {
        let (code, reason, remedy) = quarantined(&case.facts.call.operation, difference);
        let objection = Objection::deny(code, Question::Operation, Firmness::Firm);
        return Some(objection.because(reason).unless(remedy));
    }
    if let Some(objection) = model::unknown(case) {
        return Some(objection);
    }
    if let Some(objection) = model::unproven(case) {
        return Some(objection);
    }
    if !case.operation.accepted {
        return deny(Code::NotAccepted, Firmness::Observable);
    }
    None
}
