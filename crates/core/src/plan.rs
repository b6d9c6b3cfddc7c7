//! What a plan offers, as digests, and as somebody reads it.
//!
//! The terms are a pure function of the facts and the decision: of a proposal, and again of the
//! call that takes it up. What they do not cover, the session's state, counters, switches and
//! approvals, is decided on fresh facts both times.

use crate::world::{Operation, World};
use lockgate_types::decision::{Decision, Obligation};
use lockgate_types::facts::Facts;
use lockgate_types::plan::Terms;
use lockgate_types::{CanonicalObject, Digest, Json, Object};

/// What is offered, if this was decided of these facts.
pub fn terms(decision: &Decision, facts: &Facts) -> Terms {
    let obligations: Vec<String> = decision.obligations.iter().map(Obligation::to_text).collect();
    let obligations: Vec<&str> = obligations.iter().map(String::as_str).collect();
    let bundle = decision.bundle.to_string();
    terms_of((&bundle, decision.effect.as_str(), &obligations), facts)
}

/// The same, of a decision as it was recorded. `None`: it cannot be read.
pub fn recorded_terms(decision: &Json, facts: &Facts) -> Option<Terms> {
    let text = |name: &str| decision.get(name)?.as_str();
    let obligations = decision.get("obligations")?.as_array()?.iter().map(Json::as_str);
    let obligations: Vec<&str> = obligations.collect::<Option<_>>()?;
    Some(terms_of((text("bundle")?, text("effect")?, &obligations), facts))
}

fn terms_of((bundle, effect, obligations): (&str, &str, &[&str]), facts: &Facts) -> Terms {
    let identity = &facts.identity;
    let mut who = CanonicalObject::new(256);
    who.text("agent", identity.agent.as_str());
    who.text("environment", identity.environment.as_str());
    who.text("issuer", &identity.issuer);
    who.text("subject", identity.subject.as_str());
    who.some_text("task", identity.task.as_ref().map(|task| task.as_str()));
    who.text("tenant", identity.tenant.as_str());
    let mut request = CanonicalObject::new(512);
    request.text("method", &facts.call.method);
    request.text("operation", facts.call.operation.as_str());
    request.object("params", &facts.call.request());
    let mut decided = CanonicalObject::new(256);
    decided.text("bundle", bundle);
    decided.text("effect", effect);
    decided.texts("obligations", obligations.iter().copied());
    Terms {
        who: Digest::of(&who.finish()),
        request: Digest::of(&request.finish()),
        decided: Digest::of(&decided.finish()),
        preview: facts.preview.as_ref().map(|preview| preview.digest),
    }
}

/// Whether a call is the first of two phases: its operation has them, and it gives no plan.
pub fn is_proposal(world: &World, facts: &Facts) -> bool {
    let task = facts.identity.task.as_ref();
    let has_two = world.two_phases(&facts.call.operation, task).is_some();
    has_two && facts.call.given_plan().is_none() && facts.call.attempt_of.is_none()
}

/// What a call would touch: the arguments that have a role.
pub fn affected(world: &World, facts: &Facts) -> Vec<Json> {
    let Some(operation) = operation(world, facts) else { return Vec::new() };
    let given = |name: &str| facts.call.arguments()?.get(name).cloned();
    let resource = operation.resource.iter().filter_map(|(kind, argument)| {
        let entity = Object::new()
            .with("argument", argument.as_str())
            .with("role", "resource")
            .with("type", kind.as_str());
        Some(entity.with("value", given(argument)?).into())
    });
    let destinations = operation.destination.iter().filter_map(|argument| {
        let place = Object::new().with("argument", argument.as_str()).with("role", "destination");
        Some(place.with("value", given(argument)?).into())
    });
    resource.chain(destinations).collect()
}

/// The digest of what a preview shows and has to stay: all of it, or the members that the bundle
/// names. One that is missing is part of what it shows.
pub fn preview_digest(same: &[Vec<String>], result: &Json) -> Digest {
    if same.is_empty() {
        return result.digest();
    }
    let shown = result.get("structuredContent");
    let members = same.iter().map(|path| {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let member = shown.and_then(|shown| shown.at(&path));
        // In an array of its own, so that `null` is not the same as nothing.
        Json::Array(member.cloned().into_iter().collect())
    });
    Json::Array(members.collect()).digest()
}

fn operation<'a>(world: &'a World, facts: &Facts) -> Option<&'a Operation> {
    world.operations.get(&facts.call.operation)
}
