//! Operations on the gate itself. Whatever reads or changes a running gate passes the same decision and leaves the
//! same record as any other call (I12); only the effect is the gate's own.

use crate::Kernel;
use crate::life::not_recorded;
use crate::port::{Answer, Refusal, Reply};
use lockgate_core::bundle::admin::RESERVED;
use lockgate_core::rule::{Ruling, rule};
use lockgate_store::{CommitError, OutcomeRecord, OutcomeState, Spent};
use lockgate_types::call::{Call, Direction, Effect};
use lockgate_types::identity::Identity;
use lockgate_types::label::Label;
use lockgate_types::{CallId, Code, Json, Object, UpstreamName};
use std::sync::Arc;

impl Kernel {
    /// Decides and records an operation of the admin API, and performs it if it is allowed.
    pub async fn admin<F>(
        &self,
        identity: &Arc<Identity>,
        operation: &str,
        arguments: Object,
        perform: F,
    ) -> Reply
    where
        F: AsyncFnOnce() -> Result<Json, Refusal>,
    {
        let id = self.parts.clock.mint();
        let answer =
            match self.administer(id.clone(), identity, operation, arguments, perform).await {
                Ok(result) => Answer::Result(result),
                Err(refusal) => Answer::Refused(refusal),
            };
        Reply { call: id, answer }
    }

    async fn administer<F>(
        &self,
        id: CallId,
        identity: &Arc<Identity>,
        operation: &str,
        arguments: Object,
        perform: F,
    ) -> Result<Json, Refusal>
    where
        F: AsyncFnOnce() -> Result<Json, Refusal>,
    {
        let world = self.world().ok_or_else(|| Refusal::of(Code::NoBundle))?;
        let upstream =
            UpstreamName::new(RESERVED).map_err(|_| Refusal::of(Code::InvariantBroken))?;
        let params = Object::new().with("name", operation).with("arguments", arguments);
        let call = Call::new(id, upstream, Direction::ToUpstream, "tools/call", params)
            .map_err(Refusal::of)?;
        let started = self.parts.clock.now();
        let facts = self.gather(&world, identity, None, call).await?;
        let allowed = match rule(&world, facts) {
            Ruling::Allowed(allowed) => allowed,
            Ruling::Refused(refused) => return Err(self.refuse(refused).await),
        };
        let spent = if allowed.decision().effect == Effect::Read {
            let permit = self.parts.store.admit_read(allowed).map_err(|e| commit_failed(&e))?;
            permit.spend().2
        } else {
            let permit = self.parts.store.commit(allowed).await.map_err(|e| commit_failed(&e))?;
            permit.spend().2
        };
        let done = perform().await;
        self.finish(spent, &done, started.0).await?;
        done
    }

    async fn finish(
        &self,
        spent: Spent,
        done: &Result<Json, Refusal>,
        started: i64,
    ) -> Result<(), Refusal> {
        let at = self.parts.clock.now();
        let (state, code) = match done {
            Ok(_) => (OutcomeState::Succeeded, None),
            Err(refusal) => (OutcomeState::Failed, Some(refusal.code)),
        };
        let outcome = OutcomeRecord {
            state,
            at,
            code,
            keep_all: false,
            result: None,
            label: Label::default(),
            duration_us: at.0.saturating_sub(started),
            redactions: 0,
        };
        let concluded = self.parts.store.conclude(spent, outcome).await;
        concluded.map(|_receipt| ()).map_err(|error| not_recorded(&error))
    }
}

fn commit_failed(error: &CommitError) -> Refusal {
    match error {
        CommitError::Moved(_) => Refusal::of(Code::FactsMoved),
        CommitError::Failed(error) => not_recorded(error),
    }
}
