//! Question 1: which operation, with what effect.

use super::{Case, Firmness, Objection};
use crate::policy::Unasked;
use lockgate_types::Code;
use lockgate_types::decision::Question;

pub(super) fn objection(case: &Case<'_>) -> Option<Objection> {
    let deny = |code, firmness| Some(Objection::deny(code, Question::Operation, firmness));
    let is_consistent = case.operation.upstream == case.facts.call.upstream;
    let is_asked = matches!(case.unasked, None | Some(Unasked::NoResource));
    if !is_consistent || !is_asked {
        return deny(Code::FactsIncomplete, Firmness::Firm);
    }
    if case.facts.live_difference.is_some() {
        return deny(Code::UpstreamChanged, Firmness::Firm);
    }
    if !case.operation.accepted {
        return deny(Code::NotAccepted, Firmness::Observable);
    }
    None
}
