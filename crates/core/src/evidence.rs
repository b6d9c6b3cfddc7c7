//! What somebody who has to agree to a call needs to see of it, as far as facts and decision tell.
//!
//! Pure: what has to be counted or looked up ([`Risk`], the preview) is handed in.

use crate::plan;
use crate::risk;
use crate::world::{Place, World};
use lockgate_types::decision::Decision;
use lockgate_types::evidence::{DryRun, Evidence, Origin, Risk};
use lockgate_types::facts::Facts;
use lockgate_types::{Digest, Json, Object, PolicyName};

/// Bytes of the request, and of what a preview shows, that the evidence repeats. What is larger is
/// in the record of its call.
pub const EVIDENCE_PART_BYTES_MAX: usize = 64 * 1024;

/// The evidence for a call that waits for somebody.
pub fn evidence(
    world: &World,
    decision: &Decision,
    facts: &Facts,
    shown: Option<&Json>,
    risk: Risk,
) -> Evidence {
    let call = &facts.call;
    let declared = world.operations.get(&call.operation);
    let repeat = declared.and_then(|declared| declared.repeat.as_ref());
    let request = Json::from(call.request());
    let bytes = request.to_canonical();
    let preview = facts.preview.as_ref().map(|preview| DryRun::Preview {
        call: preview.call.clone(),
        shown: shown.filter(|shown| is_small(&shown.to_bytes())).cloned(),
    });
    Evidence {
        who: who(facts),
        operation: call.operation.as_str().to_owned(),
        effect: decision.effect,
        class: repeat.map(|repeat| repeat.class.as_str()),
        method: call.method.clone(),
        request_digest: Digest::of(&bytes).to_string(),
        request: is_small(&bytes).then_some(request),
        affected: plan::affected(world, facts),
        provenance: facts.flow.as_ref().map_or_else(Vec::new, |flow| flow.values.clone()),
        arguments: origins(facts, repeat.and_then(|repeat| repeat.place.as_ref())),
        why: why(decision, facts),
        dry_run: preview.unwrap_or(DryRun::Request),
        session: session(facts),
        risk,
        bundle: decision.bundle.to_string(),
        at: facts.now,
    }
}

fn is_small(bytes: &[u8]) -> bool {
    bytes.len() <= EVIDENCE_PART_BYTES_MAX
}

fn who(facts: &Facts) -> Object {
    let identity = &facts.identity;
    Object::new()
        .with("subject", identity.subject.as_str())
        .with("agent", identity.agent.as_str())
        .with("tenant", identity.tenant.as_str())
        .with("environment", identity.environment.as_str())
        .with("issuer", identity.issuer.as_str())
        .with("session", facts.session.id.as_str())
        .with_some("task", identity.task.as_ref().map(|task| task.as_str()))
}

fn why(decision: &Decision, facts: &Facts) -> Object {
    let names = |policies: &[PolicyName]| -> Vec<Json> {
        policies.iter().map(|policy| policy.as_str().into()).collect()
    };
    let exhausted: Vec<Json> = facts.exhausted.iter().map(|cap| cap.cap.as_str().into()).collect();
    let requirements: Vec<Json> =
        decision.approvals.iter().map(|text| text.as_str().into()).collect();
    let why = Object::new().with("requirements", requirements).with("exhausted_caps", exhausted);
    match &decision.denial {
        Some(denial) => why
            .with("code", denial.code.as_str())
            .with("question", denial.question.as_str())
            .with("reason", denial.reason.as_str())
            .with("policies", names(&denial.policies)),
        None => why.with("policies", names(&decision.policies)),
    }
}

/// Where each argument came from, as far as it is known: not yet through whose hands it went before
/// it was the caller's.
fn origins(facts: &Facts, key_place: Option<&Place>) -> Vec<(String, Origin)> {
    let call = &facts.call;
    let is_filled = |name: &str| {
        call.key.is_none() && matches!(key_place, Some(Place::Argument(place)) if place == name)
    };
    let given = if facts.plan.is_some() { Origin::Plan } else { Origin::Caller };
    let arguments = call.arguments().into_iter().flat_map(Object::iter);
    arguments
        .filter(|(name, _)| *name != "_meta")
        .map(|(name, _)| (name.to_owned(), if is_filled(name) { Origin::Gate } else { given }))
        .collect()
}

fn session(facts: &Facts) -> Object {
    let session = &facts.session;
    Object::new()
        .with("mode", risk::mode(facts).as_str())
        .with_some("risk", facts.risk.as_ref().map(|risk| risk.to_json()))
        .with("writes", session.writes)
        .with("integrity", session.exposure.integrity.as_str())
        .with("confidentiality", session.exposure.confidentiality.as_str())
        .with_some("live_difference", facts.live_difference.as_ref().map(|it| it.live.to_string()))
}
