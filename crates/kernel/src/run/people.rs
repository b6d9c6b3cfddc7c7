//! Steps of a workflow at which people are asked.
//!
//! Such a step is a call like any other, of an operation of the gate's own: decided, refused for as
//! long as nobody has agreed, kept as a request for approval meanwhile, and allowed and recorded
//! once they have. It does nothing.

use super::Driven;
use super::drive::{Journey, Left};
use crate::Kernel;
use crate::own::LetOut;
use crate::port::{Answer, Refusal, Reply};
use crate::refusal::not_recorded;
use crate::reverse::{Origin, Within};
use lockgate_core::bundle::admin::RESERVED;
use lockgate_core::run::Perform;
use lockgate_store::ApprovalState;
use lockgate_types::call::{Call, Direction};
use lockgate_types::{CallId, Code, Json, Object, OperationName, UpstreamName};
use std::sync::Arc;

/// The operation's name among the gate's own.
const ASKS: &str = "run_approve";

impl Journey<'_> {
    /// Asks those whom the step names, or finds that they have answered.
    pub(super) async fn ask_people(
        &self,
        perform: &Perform,
        arguments: Object,
    ) -> Result<(OperationName, Reply), Left> {
        let broken = || Left::from(Refusal::of(Code::InvariantBroken));
        let upstream = UpstreamName::new(RESERVED).map_err(|_| broken())?;
        let id = self.kernel.parts.clock.mint();
        let arguments = arguments.with("run", self.run.id.as_str());
        let params = Object::new().with("name", ASKS).with("arguments", arguments);
        let call = Call::new(id.clone(), upstream, Direction::ToUpstream, "tools/call", params);
        let mut call = call.map_err(|_| broken())?;
        Within::mark(Some(&Within::of_run(&self.run.id)), &mut call);
        let operation = call.operation.clone();
        let (call_id, answer) = match self.kernel.people_agree(&self.run, perform, call).await {
            Ok(agreed) => (agreed.unwrap_or(id), Answer::Result(agreement())),
            Err(refusal) => (id, Answer::Refused(refusal)),
        };
        Ok((operation, Reply { call: call_id, answer }))
    }
}

fn agreement() -> Json {
    let text = Object::new().with("type", "text").with("text", "agreed");
    Object::new()
        .with("content", vec![text.into()])
        .with("structuredContent", Object::new().with("agreed", true))
        .into()
}

impl Kernel {
    /// Whether people have agreed; else the refusal, which waits for them. Gives the call that used
    /// their answer up, if that was another before this one.
    async fn people_agree(
        &self,
        run: &Driven,
        perform: &Perform,
        call: Call,
    ) -> Result<Option<CallId>, Refusal> {
        if let Some(request) = &perform.resumes
            && self.was_used(request, &call).await?
        {
            // The gate ended between that and writing it down.
            return Ok(Some(request.clone()));
        }
        let origin = Origin {
            session: Some(run.session.clone()),
            asks_for: perform.resumes.clone(),
            ..Origin::of_the_gate(Arc::clone(&run.identity), call.upstream.clone())
        };
        let LetOut { spent, effect, started, .. } = Box::pin(self.let_out(&origin, call)).await?;
        self.finish(spent, &Ok(Json::Null), effect, started).await?;
        Ok(None)
    }

    /// Whether what people have agreed to was used up by this very step.
    async fn was_used(&self, request: &CallId, call: &Call) -> Result<bool, Refusal> {
        let found = self.parts.store.approval_request(request).await;
        let found = found.map_err(|error| not_recorded(&error))?;
        if found.is_none_or(|found| found.state != ApprovalState::Spent) {
            return Ok(false);
        }
        let Some(asked) = self.facts_of(request).await? else { return Ok(false) };
        let digest = |call: &Call| Json::from(call.params.clone()).digest();
        Ok(digest(&asked.call) == digest(call))
    }
}
