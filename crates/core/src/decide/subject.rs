//! Question 3: may it for this subject, in this tenant, environment and task.

use super::{Case, Firmness, Objection, model, remedy};
use crate::policy::Side;
use crate::world::World;
use lockgate_types::decision::Question;
use lockgate_types::identity::Identity;
use lockgate_types::{Code, GroupName};
use std::collections::BTreeSet;

/// Why the subject of an identity is none, whatever policies say.
pub(crate) fn fault(world: &World, identity: &Identity) -> Option<Code> {
    let principals = &world.principals;
    let declared = principals.user.get(identity.subject.as_str());
    if declared.is_none() && !principals.undeclared_users {
        return Some(Code::UnknownSubject);
    }
    let groups = declared.map(|user| user.groups.as_slice()).unwrap_or_default();
    let roles = declared.map(|user| user.roles.as_slice()).unwrap_or_default();
    let has_roles = roles.iter().all(|r| identity.subject_roles.iter().any(|i| i.as_str() == r));
    let is_whole = has_roles && is_closed(world, &identity.subject_groups, groups);
    (!is_whole).then_some(Code::FactsIncomplete)
}

pub(super) fn objection(case: &Case<'_>) -> Option<Objection> {
    let identity = &case.facts.identity;
    let name = identity.subject.as_str();
    let deny = |code, firmness| Objection::deny(code, Question::Subject, firmness);
    if let Some(code) = fault(case.world, identity) {
        return Some(deny(code, Firmness::Firm));
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
