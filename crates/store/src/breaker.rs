//! Transitions of circuit breakers, in the log.
//!
//! They are no state of the store's: breakers are a node's own, and closed when it starts.

use crate::error::StoreError;
use crate::job::{Change, Rejected, Write, Written};
use crate::leaf;
use crate::risk::{HeldAgainst, of_breaker};
use crate::shard::Whose;
use crate::store::Store;
use crate::writer::Writer;
use lockgate_core::breaker::{State, Transition};
use lockgate_core::risk::Rules;
use lockgate_types::{Tenant, UpstreamName};
use std::sync::Arc;

/// A breaker of an upstream that changed its state.
#[derive(Debug)]
pub(crate) struct Turned {
    pub(crate) upstream: UpstreamName,
    pub(crate) transition: Transition,
    /// What is held against a tenant with it.
    pub(crate) held: Option<HeldAgainst>,
}

impl Store {
    /// Records that a breaker changed its state. Does not wait: what is recorded after this comes
    /// after it in the log. How many there can be is bounded by the pauses of breakers.
    /// One that opens is held against the tenant, if there are rules for that.
    pub fn note_breaker(
        &self,
        upstream: &UpstreamName,
        transition: Transition,
        rules: Option<(&Tenant, &Arc<Rules>)>,
    ) -> Result<(), StoreError> {
        let is_open = transition.state == State::Open;
        let held = rules.filter(|_| is_open).map(|(tenant, rules)| of_breaker(tenant, rules));
        let held = held.transpose()?;
        let change = Change::Breaker(Turned { upstream: upstream.clone(), transition, held });
        self.queue().end(Write::new(change, None))
    }
}

impl Writer {
    /// Writes a transition, within the transaction of its batch.
    pub(crate) fn breaker(
        &mut self,
        turned: &Turned,
    ) -> Result<Result<Written, Rejected>, StoreError> {
        let now = self.now();
        let receipt = self.append(Whose::Node, &leaf::breaker(turned, now), now)?;
        if let Some(held) = &turned.held {
            self.hold_against(held)?;
        }
        Ok(Ok(Written::Entry(receipt)))
    }
}
