//! Question 3: may it for this subject, in this tenant, environment and task.

use super::{Case, Firmness, Objection, model, remedy};
use crate::policy::Side;
use crate::world::World;
use lockgate_types::decision::Question;
use lockgate_types::{Code, GroupName};
use std::collections::BTreeSet;

pub(super) fn objection(case: &Case<'_>) -> Option<Objection> {
    let identity = &case.facts.identity;
    let name = identity.subject.as_str();
    let deny = |code, firmness| Objection::deny(code, Question::Subject, firmness);
    let principals = &case.world.principals;
    let declared = principals.user.get(name);
    if declared.is_none() && !principals.undeclared_users {
        return Some(deny(Code::UnknownSubject, Firmness::Firm));
    }
    let groups = declared.map(|user| user.groups.as_slice()).unwrap_or_default();
    let roles = declared.map(|user| user.roles.as_slice()).unwrap_or_default();
    let has_roles = roles.iter().all(|r| identity.subject_roles.iter().any(|i| i.as_str() == r));
    if !has_roles || !is_closed(case.world, &identity.subject_groups, groups) {
        return Some(deny(Code::FactsIncomplete, Firmness::Firm));
    }
    if case.is_permitted_to(Side::Subject) {
        return model::not_for_task(case);
    }
    let operation = &case.facts.call.operation;
    Some(
        deny(Code::SubjectNotPermitted, Firmness::Observable)
            .because(format!("no policy permits `{name}` to run `{operation}`"))
            .unless(remedy::for_no_permit(case, Side::Subject, Code::SubjectNotPermitted)),
    )
}

/// Whether groups are complete: the declared ones are among them, and so is whatever these are in.
/// A missing one could keep a forbid from holding, silently.
pub(super) fn is_closed(world: &World, groups: &BTreeSet<GroupName>, declared: &[String]) -> bool {
    let has = |name: &String| groups.iter().any(|group| group.as_str() == name);
    declared.iter().all(has)
        && groups.iter().all(|group| {
            let above = world.principals.group.get(group.as_str());
            above.is_none_or(|group| group.member_of.iter().all(has))
        })
}
