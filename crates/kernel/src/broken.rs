//! Upstreams that are left alone for a while because they failed.
//!
//! Whether a circuit breaker stops a call is a fact, gathered before deciding, so that nothing is
//! reserved for it and the refusal is a decision like any other. The place of a probe is taken once
//! the call is allowed, so that who may not call takes none.

use crate::admit::Found;
use crate::again;
use crate::approve::Before;
use crate::port::{ClientPort, Refusal};
use crate::reverse::Origin;
use crate::{Clock, Kernel};
use arc_swap::ArcSwapOption;
use lockgate_core::World;
use lockgate_core::breaker::{State, Transition};
use lockgate_core::rule::{Allowed, Refused};
use lockgate_effects::{Watch, Watcher};
use lockgate_store::{CommitError, Store};
use lockgate_types::call::{Call, Direction};
use lockgate_types::facts::{Broken, Facts};
use lockgate_types::{Digest, Retry, UpstreamName};
use std::sync::Arc;

/// Has transitions of breakers recorded, and told to operators.
pub(crate) fn watcher(
    store: &Store,
    clock: &Clock,
    world: &Arc<ArcSwapOption<World>>,
) -> Arc<Watcher> {
    let (store, clock, world) = (store.clone(), clock.clone(), Arc::clone(world));
    let tell = move |upstream: &UpstreamName, transition: Transition| {
        let operation = transition.operation.as_ref().map(ToString::to_string);
        let of = operation.unwrap_or_else(|| upstream.to_string());
        let cause = transition.cause.map_or("", |cause| cause.as_str());
        match transition.state {
            State::Open => {
                let pause_ms = transition.pause_us.unwrap_or(0) / 1000;
                tracing::warn!(of, cause, pause_ms, "a breaker opened: nothing is asked");
            }
            State::HalfOpen => {
                tracing::warn!(of, "a breaker is half open: one call is let through")
            }
            State::Closed => tracing::warn!(of, "a breaker closed: calls pass again"),
        }
        let world = world.load();
        let rules = world.as_ref().and_then(|world| Some((&world.tenant, world.risk.as_ref()?)));
        if let Err(error) = store.note_breaker(upstream, transition, rules) {
            tracing::error!(%error, of, "a transition of a breaker was not recorded");
        }
    };
    Arc::new(Watcher { now: Box::new(move || clock.now()), tell: Box::new(tell) })
}

impl Kernel {
    /// The breaker that stops a call, if one does.
    pub(crate) fn broken(&self, bundle: &Digest, facts: &Facts) -> Option<Broken> {
        // A client is asked on the line of a call that was let through.
        if facts.call.direction == Direction::ToClient {
            return None;
        }
        self.parts.upstreams.broken(bundle, &facts.call, facts.now)
    }

    /// Lets an allowed call through its breakers. If another has taken the place of the probe since
    /// the facts were gathered, it is decided again.
    pub(crate) fn enter(&self, allowed: Allowed) -> Result<(Allowed, Watch), CommitError> {
        let (bundle, call) = (&allowed.decision().bundle, &allowed.facts().call);
        match self.parts.upstreams.enter(bundle, call, &self.parts.watcher) {
            Ok(watch) => Ok((allowed, watch)),
            Err(_) => Err(CommitError::Moved(allowed.into_parts().1)),
        }
    }

    /// What to do about a call whose upstream is left alone: an effect that was asked for before is
    /// answered from the record, and in doubt it stays.
    pub(crate) async fn left_alone(
        &self,
        refused: Refused,
        (world, origin, client): (&World, &Origin, &ClientPort),
        found: &mut Found,
    ) -> Result<Call, Refusal> {
        if let Some(first) = refused.facts().call.attempt_of.clone() {
            self.refuse(refused).await;
            return Err(again::in_doubt(&first));
        }
        match self.asked_before(world, refused.facts()).await? {
            Before::Stands(earlier, approvals) => {
                (found.earlier, found.agreed_then) = (Some(earlier), approvals);
            }
            Before::UnderWay => {
                self.wait_for_it(found, (world, origin, client), refused.facts()).await?;
            }
            Before::Never => {
                let retry = retry(refused.facts());
                let refusal = self.refuse(refused).await;
                return Err(Refusal { retry: retry.unwrap_or(refusal.retry), ..refusal });
            }
        }
        Ok(refused.into_parts().1.call)
    }
}

/// When it is worth asking again.
fn retry(facts: &Facts) -> Option<Retry> {
    let left_us = facts.broken?.until.0.saturating_sub(facts.now.0).max(0);
    let left_ms = left_us.saturating_add(999) / 1000;
    Some(Retry::AfterMs(u32::try_from(left_ms).unwrap_or(u32::MAX)))
}
