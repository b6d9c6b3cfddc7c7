//! Two phases: a call without a plan is a proposal, answered with what would be done; the same call
//! with the plan is done, if nothing that was offered has changed.
//!
//! A proposal is decided and recorded like any call, and never has a permit. The plan is read back
//! from that record, at whichever node: what the caller gives only names it. Whether it still holds
//! is decided, from facts, by core.

use crate::Kernel;
use crate::again::{in_era, member, nobody};
use crate::port::{Answer, Proposal, Refusal, Waits};
use crate::refusal::not_recorded;
use crate::reverse::{Origin, Within};
use crate::words::Words;
use lockgate_core::rule::Refused;
use lockgate_core::{World, plan, world};
use lockgate_store::{Payload, StoredPart};
use lockgate_types::call::{Call, KEY_META};
use lockgate_types::decision::{Decision, Obligation, Verdict};
use lockgate_types::facts::Facts;
use lockgate_types::identity::Identity;
use lockgate_types::plan::{PLAN_ARGUMENT, PLAN_META, Plan, PlanRef, Preview, Terms};
use lockgate_types::{CallId, Code, Json, JsonLimits, Micros, Object, OperationName};
use lockgate_wire::Era;
use std::sync::Arc;

/// What models read of [`PLAN_ARGUMENT`].
const ABOUT_ARGUMENT: &str = "This tool works in two phases. Leave this out to get a plan: nothing \
    is done then. To have the plan done, send exactly the same call again with the plan's value of \
    `plan` here.";

/// What was found out for one call of an operation in two phases.
#[derive(Default)]
pub(crate) struct Planning {
    is_gathered: bool,
    plan: Option<Plan>,
    preview: Option<Preview>,
    /// What the preview showed, or why there is none.
    shown: Option<Result<Json, Refusal>>,
}

impl Planning {
    /// Whether the operation has a preview that was not asked for yet.
    pub(crate) fn lacks_preview(&self, world: &World, facts: &Facts) -> bool {
        declared_preview(world, facts).is_some() && self.shown.is_none()
    }

    /// Takes what a preview showed.
    pub(crate) fn shown(&mut self, preview: Result<(Preview, Json), Refusal>) {
        let (preview, shown) = match preview {
            Ok((preview, shown)) => (Some(preview), Ok(shown)),
            Err(refusal) => (None, Err(refusal)),
        };
        (self.preview, self.shown) = (preview, Some(shown));
    }
}

/// Takes the plan out of the arguments, where a model has given it, to where it is looked for: what
/// is decided, recorded and sent has it there only.
pub(crate) fn take_argument(world: &World, identity: &Identity, call: &mut Call) {
    if world.two_phases(&call.operation, identity.task.as_ref()).is_none() {
        return;
    }
    let arguments = member(&mut call.params, "arguments");
    let Some(given) = arguments.and_then(|given| given.remove(PLAN_ARGUMENT)) else { return };
    // Models fill in what they have no value for.
    if given == Json::Null || given.as_str() == Some("") {
        return;
    }
    if let Some(meta) = member(&mut call.params, "_meta").filter(|meta| !meta.contains(PLAN_META)) {
        meta.set(PLAN_META, given);
    }
}

/// The plan that a call gives, read.
pub(crate) fn given(call: &Call) -> Option<PlanRef> {
    PlanRef::parse(call.given_plan()?.as_str()?)
}

/// How to ask for the same effect a second time.
pub(crate) fn how_again(call: &Call) -> String {
    match call.given_plan() {
        Some(_) => "propose it again, without a plan".to_owned(),
        None => format!("send `{KEY_META}`"),
    }
}

/// Describes a tool in two phases as it is behind the gate: with the argument for a plan, and
/// without a promise about the shape of every answer, since some are plans.
pub(crate) fn describe(
    world: &World,
    identity: &Identity,
    operation: &OperationName,
    tool: &mut Json,
) {
    let Some(tool) = tool.as_object_mut() else { return };
    if world.two_phases(operation, identity.task.as_ref()).is_none() {
        return;
    }
    tool.remove("outputSchema");
    let argument = Object::new().with("type", "string").with("description", ABOUT_ARGUMENT);
    if let Some(schema) = member(tool, "inputSchema")
        && let Some(properties) = member(schema, "properties")
    {
        properties.set(PLAN_ARGUMENT, argument);
    }
}

fn declared_preview<'a>(world: &'a World, facts: &Facts) -> Option<&'a world::Preview> {
    let task = facts.identity.task.as_ref();
    world.two_phases(&facts.call.operation, task)?.preview.as_ref()
}

impl Kernel {
    /// Adds to the facts what the record says about the plan that is given, and what the preview
    /// shows: once per call.
    pub(crate) async fn gather_plan(
        &self,
        world: &World,
        origin: &Origin,
        facts: &mut Facts,
        planning: &mut Planning,
    ) -> Result<(), Refusal> {
        let given = given(&facts.call).filter(|_| !planning.is_gathered);
        if let Some(given) = given {
            Box::pin(self.look_up_plan(world, origin, (facts, &given), planning)).await?;
        }
        facts.plan.clone_from(&planning.plan);
        facts.preview.clone_from(&planning.preview);
        Ok(())
    }

    async fn look_up_plan(
        &self,
        world: &World,
        origin: &Origin,
        (facts, given): (&Facts, &PlanRef),
        planning: &mut Planning,
    ) -> Result<(), Refusal> {
        planning.is_gathered = true;
        let Some((plan, preview)) = self.proposed(&given.call).await? else { return Ok(()) };
        (planning.plan, planning.preview) = (Some(plan), preview);
        if declared_preview(world, facts).is_some_and(|preview| !preview.same.is_empty()) {
            let preview = self.preview(world, origin, facts).await;
            planning.shown(preview);
        }
        Ok(())
    }

    /// A plan as the record has it. `None`: that call proposed none, or it was erased.
    async fn proposed(&self, call: &CallId) -> Result<Option<(Plan, Option<Preview>)>, Refusal> {
        let trace = self.parts.store.trace(call).await.map_err(|error| not_recorded(&error))?;
        let entries = trace.map(|trace| trace.entries).unwrap_or_default();
        let text = |leaf: &Json, name: &str| leaf.get(name)?.as_str().map(str::to_owned);
        let offers = [Verdict::RequirePlan.as_str(), Verdict::RequireApproval.as_str()];
        let proposal = entries.iter().find(|entry| {
            let verdict = text(&entry.leaf, "verdict");
            text(&entry.leaf, "call").as_deref() == Some(call.as_str())
                && verdict.is_some_and(|verdict| offers.contains(&verdict.as_str()))
        });
        let Some(Payload::Present(parts)) = proposal.map(|entry| &entry.payload) else {
            return Ok(None);
        };
        Ok(read_back(call, parts))
    }

    /// Asks the upstream what it would do: a call of its own within this one, decided and recorded
    /// like any other.
    pub(crate) async fn preview(
        &self,
        world: &World,
        origin: &Origin,
        facts: &Facts,
    ) -> Result<(Preview, Json), Refusal> {
        let Some(declared) = declared_preview(world, facts) else {
            return Err(Refusal::of(Code::InvariantBroken));
        };
        let call = &facts.call;
        let request = call.request();
        let arguments = request.get("arguments").cloned();
        let params = Object::new().with("name", declared.tool.as_str());
        let proposal = Proposal {
            identity: Arc::clone(&origin.identity),
            session: origin.session.clone(),
            caller: Arc::clone(&origin.caller),
            presented: origin.presented.clone(),
            upstream: origin.upstream.clone(),
            method: "tools/call".to_owned(),
            params: params.with_some("arguments", arguments),
            words: Words::default(),
            traceparent: call.traceparent.clone(),
            key: None,
            model: None,
            client: nobody(),
        };
        let reply = self.call_within(proposal, Some(Within::of(call))).await;
        let failed = |code: Code| Refusal::of(code).with_call(reply.call.clone());
        match reply.answer {
            Answer::Result(result) => {
                if result.get("isError").and_then(Json::as_bool) == Some(true) {
                    return Err(failed(Code::PlanRequired));
                }
                let digest = plan::preview_digest(&declared.same, &result);
                Ok((Preview { call: reply.call, digest }, result))
            }
            Answer::Error(_) => Err(failed(Code::UpstreamProtocol)),
            Answer::Refused(refusal) => Err(refusal.with_call(reply.call)),
        }
    }

    /// Records a proposal and answers with its plan. One that somebody has to agree to waits as a
    /// request meanwhile.
    pub(crate) async fn propose(
        &self,
        world: &World,
        refused: Refused,
        planning: &Planning,
        era: Era,
    ) -> Result<Answer, Refusal> {
        if let Some(Err(why)) = &planning.shown {
            let mut refusal = self.refuse(refused).await;
            refusal.code = Code::PlanRequired;
            refusal.reason = unseen(why);
            refusal.remedy = "see what became of the preview, and send the call again".to_owned();
            return Err(refusal);
        }
        let mut plan = described(world, refused.decision(), refused.facts(), planning);
        if refused.decision().verdict == Verdict::RequireApproval {
            let shown = planning.shown.as_ref().and_then(|shown| shown.as_ref().ok());
            let refusal = self.ask_people(world, refused, shown).await;
            let Some(Json::Object(waits)) = refusal.approval.as_deref().map(Waits::to_json) else {
                return Err(refusal);
            };
            plan.set("approval", waits.with("reason", refusal.reason));
        } else {
            let recorded = self.parts.store.refuse(refused).await;
            recorded.map_err(|error| not_recorded(&error))?;
        }
        Ok(Answer::Result(in_era(offered(plan), era)))
    }
}

fn unseen(why: &Refusal) -> String {
    let call = why.call.as_ref().map(|call| format!(" (the call {call})")).unwrap_or_default();
    match why.code {
        Code::PlanRequired => format!("the preview says that this would fail{call}"),
        code => format!("the preview was not made: {code}{call}"),
    }
}

fn read_back(call: &CallId, parts: &[StoredPart]) -> Option<(Plan, Option<Preview>)> {
    let part = |name: &str| {
        let part = parts.iter().find(|part| part.name == name)?;
        Json::parse(&part.bytes, &JsonLimits::OWN).ok()
    };
    let facts = Facts::from_parts(&part("identity")?, &part("call")?, &part("moment")?)?;
    if facts.call.given_plan().is_some() {
        return None;
    }
    let terms = plan::recorded_terms(&part("decision")?, &facts)?;
    Some((Plan { call: call.clone(), made_at: facts.now, terms }, facts.preview))
}

/// A plan, for who has to judge it.
fn described(world: &World, decision: &Decision, facts: &Facts, planning: &Planning) -> Object {
    let terms: Terms = plan::terms(decision, facts);
    let (call, identity) = (&facts.call, &facts.identity);
    let reference = PlanRef { call: call.id.clone(), digest: terms.digest(&call.id) };
    let lasts_us = i64::from(world.gate.limits.plan_ms).saturating_mul(1000);
    let obligations: Vec<Json> =
        decision.obligations.iter().map(Obligation::to_text).map(Json::from).collect();
    let who = Object::new()
        .with("agent", identity.agent.as_str())
        .with("environment", identity.environment.as_str())
        .with("subject", identity.subject.as_str())
        .with_some("task", identity.task.as_ref().map(|task| task.as_str()))
        .with("tenant", identity.tenant.as_str());
    let shown = planning.shown.as_ref().and_then(|shown| shown.as_ref().ok());
    let preview = planning.preview.as_ref().zip(shown).map(|(preview, shown)| {
        Object::new().with("call", preview.call.as_str()).with("result", shown.clone())
    });
    Object::new()
        .with("plan", reference.to_text())
        .with("digest", reference.digest.to_string())
        .with("operation", call.operation.as_str())
        .with("effect", decision.effect.as_str())
        .with("request", call.request())
        .with("affected", plan::affected(world, facts))
        .with_some("preview", preview)
        .with("obligations", obligations)
        .with("who", who)
        .with("bundle", decision.bundle.to_string())
        .with("expires_at", Micros(facts.now.0.saturating_add(lasts_us)).0)
}

/// The answer to a proposal: the plan, for programs and for models.
fn offered(plan: Object) -> Json {
    let waits = match plan.contains("approval") {
        true => " Somebody has to agree first: it is refused until then.",
        false => "",
    };
    let reference = plan.get("plan").cloned().unwrap_or(Json::Null);
    let said = format!(
        "This is a plan: nothing was done. To have exactly this done, once, send the same call \
         again with the value of `plan` as the argument `{PLAN_ARGUMENT}`.{waits}\n{}",
        Json::from(plan.clone())
    );
    let content = Object::new().with("type", "text").with("text", said);
    Object::new()
        .with("content", vec![Json::from(content)])
        .with("structuredContent", Object::new().with("plan", plan))
        .with("isError", false)
        .with("_meta", Object::new().with(PLAN_META, reference))
        .into()
}
