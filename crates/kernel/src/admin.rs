//! Operations on the gate itself. Whatever reads or changes a running gate passes the same decision
//! and leaves the same record as any other call (I12); only the effect is the gate's own.

use crate::Kernel;
use crate::admit::DECIDE_ROUNDS_MAX;
use crate::port::{Answer, Refusal, Reply};
use crate::refusal::{not_concluded, not_recorded};
use crate::reverse::Origin;
use lockgate_core::bundle::admin::RESERVED;
use lockgate_core::rule::{Ruling, rule};
use lockgate_store::{CommitError, OutcomeRecord, OutcomeState, Spent, Terms};
use lockgate_types::call::{Call, Direction, Effect};
use lockgate_types::identity::Identity;
use lockgate_types::label::Label;
use lockgate_types::{CallId, Code, Json, Object, UpstreamName};
use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;

/// What stops things, and is done before it is recorded.
pub type Ahead = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Kernel {
    /// Decides and records an operation of the admin API, and performs it if it is allowed; it gets
    /// the id of its call. `ahead` is done as soon as it is allowed: only what stops things may be,
    /// since a record that cannot be written must not keep anything running.
    pub async fn admin<F>(
        &self,
        identity: &Arc<Identity>,
        operation: (&str, Object),
        ahead: Option<Ahead>,
        perform: F,
    ) -> Reply
    where
        F: AsyncFnOnce(CallId) -> Result<Json, Refusal>,
    {
        let id = self.parts.clock.mint();
        let answer = match self.administer(id.clone(), identity, operation, ahead, perform).await {
            Ok(result) => Answer::Result(result),
            Err(refusal) => Answer::Refused(refusal),
        };
        Reply { call: id, answer }
    }

    async fn administer<F>(
        &self,
        id: CallId,
        identity: &Arc<Identity>,
        (operation, arguments): (&str, Object),
        ahead: Option<Ahead>,
        perform: F,
    ) -> Result<Json, Refusal>
    where
        F: AsyncFnOnce(CallId) -> Result<Json, Refusal>,
    {
        let upstream =
            UpstreamName::new(RESERVED).map_err(|_| Refusal::of(Code::InvariantBroken))?;
        let params = Object::new().with("name", operation).with("arguments", arguments);
        let call = Call::new(id.clone(), upstream, Direction::ToUpstream, "tools/call", params)
            .map_err(Refusal::of)?;
        let started = self.parts.clock.now();
        let origin = Origin::of_the_gate(Arc::clone(identity), call.upstream.clone());
        let (effect, spent) = self.admit_admin(&origin, call, ahead).await?;
        let done = perform(id).await;
        self.finish(spent, &done, effect, started.0).await?;
        done
    }

    async fn admit_admin(
        &self,
        origin: &Origin,
        mut call: Call,
        mut ahead: Option<Ahead>,
    ) -> Result<(Effect, Spent), Refusal> {
        for _ in 0..DECIDE_ROUNDS_MAX {
            let (world, facts) = self.gather(origin, call).await?;
            let allowed = match rule(&world, facts) {
                Ruling::Allowed(allowed) => allowed,
                Ruling::Refused(refused) => return Err(self.refuse(refused).await),
            };
            if let Some(ahead) = ahead.take() {
                ahead.await;
            }
            let effect = allowed.decision().effect;
            let spent = if effect == Effect::Read {
                self.parts.store.admit_read(allowed).map(|permit| permit.spend().2)
            } else {
                self.parts
                    .store
                    .commit(allowed, Terms::default())
                    .await
                    .map(|permit| permit.spend().2)
            };
            match spent {
                Ok(spent) => return Ok((effect, spent)),
                Err(CommitError::Moved(facts)) => {
                    call = self.moved(*facts).await;
                    self.catch_up().await;
                    if self.is_behind() {
                        let refusal = Refusal::of(Code::BundleBehind);
                        return Err(self.undecided(&origin.identity, refusal).await);
                    }
                }
                Err(CommitError::Failed(error)) => return Err(not_recorded(&error)),
                Err(
                    CommitError::Repeats(_) | CommitError::UnderWay(_) | CommitError::Exhausted(_),
                ) => {
                    return Err(Refusal::of(Code::InvariantBroken));
                }
            }
        }
        Err(self.undecided(&origin.identity, Refusal::of(Code::FactsMoved)).await)
    }

    pub(crate) async fn finish(
        &self,
        spent: Spent,
        done: &Result<Json, Refusal>,
        effect: Effect,
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
            is_error: false,
            has_asked: false,
            never_left: false,
            answer: None,
            shown: BTreeSet::new(),
        };
        let concluded = self.parts.store.conclude(spent, outcome).await;
        concluded.map(drop).map_err(|error| not_concluded(&error, effect))
    }
}
