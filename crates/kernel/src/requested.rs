//! Requests for approval, from the side of who asked: coming back to one, looking how it stands,
//! waiting for it, giving it up.
//!
//! Nothing that a caller says about a request counts for an approval: what it names is only where
//! to look. The call is decided again each time, and finds by itself what has been agreed to.

use crate::Kernel;
use crate::approve::LOOK_AGAIN_MS;
use crate::port::{Refusal, Resumes, Waits};
use crate::refusal::not_recorded;
use crate::reverse::Origin;
use lockgate_core::World;
use lockgate_core::rule::{Refused, Ruling, rule};
use lockgate_store::{ApprovalAnswer, ApprovalRequest, ApprovalState};
use lockgate_types::call::Call;
use lockgate_types::facts::Facts;
use lockgate_types::identity::Identity;
use lockgate_types::{CallId, Code, Micros};
use std::pin::pin;
use std::time::Duration;

/// Between two looks at a request that somebody waits for. What is answered at this node is heard
/// of at once.
const LOOK_EVERY: Duration = Duration::from_secs(1);

impl Kernel {
    /// A call that comes back to a request of its own, to be decided like any. One that is given up
    /// ends here.
    pub(crate) async fn come_back(
        &self,
        origin: &Origin,
        call: Call,
        resumes: &Resumes,
    ) -> Result<Call, Refusal> {
        let (world, facts) = self.gather(origin, call).await?;
        let is_own = self.parts.store.is_request_for(&resumes.request, &facts).await;
        if !is_own.map_err(|error| not_recorded(&error))? {
            return Err(self.undecided(&origin.identity, Refusal::of(Code::StateRejected)).await);
        }
        if resumes.is_withdrawn {
            return Err(self.give_up(&world, origin, facts, &resumes.request).await);
        }
        Ok(facts.call)
    }

    /// Ends a request for who asked. What it was for is not done, whatever was agreed to.
    async fn give_up(
        &self,
        world: &World,
        origin: &Origin,
        facts: Box<Facts>,
        request: &CallId,
    ) -> Refusal {
        let by = facts.call.id.clone();
        let answered = self.parts.store.answer_approval(request, ApprovalAnswer::Cancel, &by).await;
        if let Err(error) = answered {
            return not_recorded(&error);
        }
        self.parts.answered.notify_waiters();
        let closed = match self.request(request).await {
            Ok(found) => self.closed(world, &facts, &found),
            Err(refusal) => return refusal,
        };
        match rule(world, facts) {
            Ruling::Refused(refused) => {
                let recorded = self.parts.store.refuse(refused).await;
                recorded.map_or_else(|error| not_recorded(&error), |_| closed)
            }
            Ruling::Allowed(_) => self.undecided(&origin.identity, closed).await,
        }
    }

    /// Has a refused call wait for people. One that comes back to a request which does not wait any
    /// more is told so, and makes no other: a person has said no, or nobody anything.
    pub(crate) async fn ask_anew(
        &self,
        world: &World,
        origin: &Origin,
        refused: Refused,
    ) -> Refusal {
        let Some(request) = &origin.asks_for else {
            return self.ask_people(world, refused, None).await;
        };
        let found = match self.request(request).await {
            Ok(found) => found,
            Err(refusal) => return refusal,
        };
        if found.state.is_open() {
            return self.ask_people(world, refused, None).await;
        }
        let closed = self.closed(world, refused.facts(), &found);
        let recorded = self.parts.store.refuse(refused).await;
        recorded.map_or_else(|error| not_recorded(&error), |_| closed)
    }

    fn closed(&self, world: &World, facts: &Facts, request: &ApprovalRequest) -> Refusal {
        let mut refusal = Refusal::of(Code::ApprovalClosed);
        refusal.reason = format!("{}: it is {}", refusal.reason, request.state.as_str());
        "send the call without `requestState`, if it is to be asked for anew"
            .clone_into(&mut refusal.remedy);
        let operation = facts.call.operation.as_str();
        refusal.approval = Some(Box::new(waits(world, operation, request)));
        refusal
    }

    /// How a request of this identity's own stands. Of anybody else's, nothing is said.
    pub async fn own_request(
        &self,
        identity: &Identity,
        request: &CallId,
    ) -> Result<Waits, Refusal> {
        let unknown = || Refusal::of(Code::RecordNotFound);
        let found = self.parts.store.approval_request(request).await;
        if found.map_err(|error| not_recorded(&error))?.is_none() {
            return Err(unknown());
        }
        let facts = self.facts_of(request).await?.ok_or_else(unknown)?;
        let asked = &facts.identity;
        let is_own = asked.opener() == identity.opener()
            && asked.tenant == identity.tenant
            && asked.environment == identity.environment;
        if !is_own {
            return Err(unknown());
        }
        let world = self.world().ok_or_else(|| Refusal::of(Code::NoBundle))?;
        let found = self.request(request).await?;
        Ok(waits(&world, facts.call.operation.as_str(), &found))
    }

    /// Waits until a request does not wait any more, or until then, and says how it stands.
    pub async fn wait_for_request(
        &self,
        request: &CallId,
        until: Micros,
    ) -> Result<ApprovalState, Refusal> {
        loop {
            let mut heard = pin!(self.parts.answered.notified());
            // Before looking, so that what is answered in between is not missed.
            heard.as_mut().enable();
            let state = self.request(request).await?.state;
            let left_us = until.0.saturating_sub(self.parts.clock.now().0);
            if state != ApprovalState::Pending || left_us <= 0 {
                return Ok(state);
            }
            let left = Duration::from_micros(u64::try_from(left_us).unwrap_or(0));
            tokio::select! {
                () = heard => {}
                () = self.parts.clock.wait(left.min(LOOK_EVERY)) => {}
            }
        }
    }

    /// A request as it stands now: one whose time is over has expired, whether or not that is
    /// recorded yet.
    pub(crate) async fn request(&self, request: &CallId) -> Result<ApprovalRequest, Refusal> {
        let found = self.parts.store.approval_request(request).await;
        let found = found.map_err(|error| not_recorded(&error))?;
        let mut found = found.ok_or_else(|| Refusal::of(Code::RecordNotFound))?;
        if found.state.is_open() && found.expires <= self.parts.clock.now() {
            found.state = ApprovalState::Expired;
        }
        Ok(found)
    }
}

fn waits(world: &World, operation: &str, request: &ApprovalRequest) -> Waits {
    Waits {
        call: request.call.clone(),
        state: request.state.as_str(),
        expires_at: request.expires,
        operation: operation.to_owned(),
        requirements: request.requirements.clone(),
        url: world.gate.approval_page(&request.call),
        look_again_ms: LOOK_AGAIN_MS,
    }
}
