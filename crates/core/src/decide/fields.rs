//! Question 4: which fields exactly. Arguments follow the accepted schema, and policies can see
//! what they judge by.

use super::{Case, Firmness, Objection, model};
use crate::caps::{self, Unreadable};
use crate::policy::{Force, Leg, PolicyAt, Side, Unasked};
use crate::world::Class;
use lockgate_types::decision::Question;
use lockgate_types::document::Cited;
use lockgate_types::facts::Standing;
use lockgate_types::{Code, Object};

/// Violations that a refusal names.
const VIOLATIONS_MAX: usize = 5;

pub(super) fn objection(case: &Case<'_>) -> Option<Objection> {
    if let Some(objection) = repeated(case) {
        return Some(objection);
    }
    // Before the schema: what is observed only may violate that, and counts all the same.
    if let Err(unreadable) = caps::readable(case.world, case.operation, case.facts) {
        let Unreadable { cap, argument, wanted } = unreadable;
        return Some(
            Objection::deny(Code::ArgumentUnusable, Question::Fields, Firmness::Firm)
                .because(format!("the cap `{cap}` cannot add up the argument `{argument}`"))
                .unless(format!("send `{argument}` as {wanted}")),
        );
    }
    let deny = |code| Objection::deny(code, Question::Fields, Firmness::Observable);
    if let Some(violations) = violations(case) {
        return Some(deny(Code::ArgumentsRefused).because(violations));
    }
    if let Some(objection) = citations(case) {
        return Some(objection);
    }
    let request = || statement(case).or_else(|| request(case));
    if let Some(objection) = request().or_else(|| model::too_large(case)) {
        return Some(objection);
    }
    if case.unasked == Some(Unasked::NoResource) {
        let argument = case.operation.resource.as_ref().map_or("", |(_, argument)| argument);
        return Some(
            deny(Code::ArgumentUnusable)
                .because(format!("the argument `{argument}` does not name a resource"))
                .unless(format!("send `{argument}` as a string or an integer")),
        );
    }
    let decisive = decisive(case);
    if decisive.is_empty() {
        return None;
    }
    let policies = case.names(&decisive);
    let arguments = case.legs.unusable.join("`, `");
    let reason = match policies.first() {
        Some(policy) => {
            format!("the policy `{policy}` needs an argument it cannot see: `{arguments}`")
        }
        None => format!("a policy needs an argument it cannot see: `{arguments}`"),
    };
    Some(deny(Code::ArgumentUnusable).because(reason).by(policies))
}

/// The same key for another effect, or one about which nothing can be done (I5).
fn repeated(case: &Case<'_>) -> Option<Objection> {
    let earlier = case.facts.earlier.as_ref()?;
    let code = match earlier.standing {
        Standing::Ended => return None,
        Standing::OtherArguments => Code::KeyReused,
        Standing::InDoubt => {
            let repeat = case.operation.repeat.as_ref();
            if repeat.is_some_and(|repeat| !matches!(repeat.class, Class::Opaque)) {
                return None;
            }
            Code::OutcomeInDoubt
        }
    };
    let objection = Objection::deny(code, Question::Fields, Firmness::Firm);
    Some(objection.because(format!("{}: it was the call {}", code.title(), earlier.call)))
}

/// What has to be cited and is not, or does not hold. An attempt at an effect that was allowed
/// before rests on what was cited then.
fn citations(case: &Case<'_>) -> Option<Objection> {
    let cite = case.operation.cite.as_ref()?;
    if case.facts.call.attempt_of.is_some() {
        return None;
    }
    let (code, reason) = match case.facts.cited.as_deref() {
        // Question 6 asks.
        Some(Cited::Missing(_)) if cite.ask.is_some() => return None,
        Some(cited @ (Cited::Missing(_) | Cited::Checked(_))) => cited.fault()?,
        Some(Cited::Unasked) | None => {
            (Code::CitationsMissing, "nobody has looked what it cites".to_owned())
        }
    };
    Some(Objection::deny(code, Question::Fields, Firmness::Firm).because(reason))
}

/// Who has to agree to a call that does not cite what it has to, and has not yet; with what is
/// missing.
pub(super) fn uncited<'a>(case: &Case<'a>) -> Option<(&'a str, &'a str)> {
    let ask = case.operation.cite.as_ref()?.ask.as_deref()?;
    let Some(Cited::Missing(what)) = case.facts.cited.as_deref() else { return None };
    let is_attempt = case.facts.call.attempt_of.is_some();
    let has_agreed = case.facts.approvals.iter().any(|it| it.requirement == ask);
    (!is_attempt && !has_agreed).then_some((ask, what))
}

/// A statement that may not be run at all. One that nobody has read counts as such.
fn statement(case: &Case<'_>) -> Option<Objection> {
    case.operation.statement.as_ref()?;
    let reason = match &case.facts.call.reading {
        Some(reading) => reading.refusal.clone()?,
        None => "the statement was not read".to_owned(),
    };
    let code = Code::StatementRefused;
    Some(Objection::deny(code, Question::Fields, Firmness::Firm).because(reason))
}

/// A request that cannot be made of its arguments, or that would go elsewhere than the bundle says.
/// One that nobody has put together counts as such.
fn request(case: &Case<'_>) -> Option<Objection> {
    let endpoint = case.operation.endpoint.as_ref()?;
    let reason = match &case.facts.call.reading {
        Some(reading) if reading.refusal.is_some() => reading.refusal.clone()?,
        Some(reading) if reading.target.as_ref() == Some(&endpoint.target()) => return None,
        Some(_) | None => "the request was not put together".to_owned(),
    };
    let code = Code::RequestRefused;
    Some(Objection::deny(code, Question::Fields, Firmness::Firm).because(reason))
}

fn violations(case: &Case<'_>) -> Option<String> {
    let empty = Object::new();
    let arguments = case.facts.call.arguments().unwrap_or(&empty);
    let violations = case.operation.conformance.as_ref()?.check_arguments(arguments).err()?;
    let named: Vec<String> =
        violations.iter().take(VIOLATIONS_MAX).map(ToString::to_string).collect();
    Some(named.join("; "))
}

/// Policies that could not see an argument and would have decided: every forbid, and permits where
/// none holds.
fn decisive(case: &Case<'_>) -> Vec<PolicyAt> {
    let of = |leg: &Leg, force| {
        let policies = &case.world.policies;
        let is_of = move |at: &&PolicyAt| policies.get(**at).is_some_and(|p| p.force == force);
        leg.blind.iter().filter(is_of).copied().collect::<Vec<_>>()
    };
    let mut decisive = Vec::new();
    for side in [Side::Agent, Side::Subject] {
        let leg = case.legs.side(side);
        decisive.extend(of(leg, Force::Forbid));
        if leg.permits.is_empty() {
            decisive.extend(of(leg, Force::Permit));
        }
    }
    decisive
}
