//! Transitions of circuit breakers, in the log.
//!
//! They are no state of the store's: breakers are a node's own, and closed when it starts.

use crate::error::StoreError;
use crate::job::{Change, Rejected, Write, Written};
use crate::leaf;
use crate::shard::Whose;
use crate::store::Store;
use crate::writer::Writer;
use lockgate_core::breaker::Transition;
use lockgate_types::UpstreamName;

/// A breaker of an upstream that changed its state.
#[derive(Debug)]
pub(crate) struct Turned {
    pub(crate) upstream: UpstreamName,
    pub(crate) transition: Transition,
}

impl Store {
    /// Records that a breaker changed its state. Does not wait: what is recorded after this comes
    /// after it in the log. How many there can be is bounded by the pauses of breakers.
    pub fn note_breaker(
        &self,
        upstream: &UpstreamName,
        transition: Transition,
    ) -> Result<(), StoreError> {
        let change = Change::Breaker(Turned { upstream: upstream.clone(), transition });
        self.queue().end(Write { change, reply: None })
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
        Ok(Ok(Written::Entry(receipt)))
    }
}
