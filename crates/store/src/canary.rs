//! What became of models that are tried out: in the log, and as the node that counts them keeps it.
//!
//! The states of a node's canaries are one value of its own: a restart gives none of them anything
//! that was taken away.

use crate::error::StoreError;
use crate::job::{Change, Rejected, Write, Written};
use crate::leaf;
use crate::shard::Whose;
use crate::store::Store;
use crate::writer::Writer;
use lockgate_core::canary::{Guard, Stage, Tally};
use lockgate_types::{Json, JsonLimits, Object};

/// Under which name a node keeps them.
const KEPT: &str = "canaries";

/// A canary that changed its stage.
#[derive(Clone, Debug)]
pub struct CanaryMoved {
    /// The entry in whose place it is tried.
    pub model: String,
    /// The entry that is tried.
    pub canary: String,
    /// How it stood.
    pub was: Stage,
    /// How it stands.
    pub stage: Stage,
    /// What it was taken back for.
    pub guard: Option<Guard>,
    /// What the window that decided it has counted.
    pub tally: Tally,
    /// Every canary of this node, by what it is known by.
    pub kept: Object,
}

impl Store {
    /// Records that a canary changed its stage. Does not wait: what is recorded after this comes
    /// after it in the log. How many there can be is bounded by windows and pauses.
    pub fn note_canary(&self, moved: CanaryMoved) -> Result<(), StoreError> {
        self.queue().end(Write::new(Change::Canary(Box::new(moved)), None))
    }

    /// The canaries of this node, as they were recorded last.
    pub async fn canaries(&self) -> Result<Object, StoreError> {
        self.read(|writer| writer.canaries()).await
    }
}

impl Writer {
    /// Writes what became of a canary, within the transaction of its batch.
    pub(crate) fn canary(
        &mut self,
        moved: &CanaryMoved,
    ) -> Result<Result<Written, Rejected>, StoreError> {
        let now = self.now();
        let receipt = self.append(Whose::Node, &leaf::canary(moved, now), now)?;
        let kept = Json::from(moved.kept.clone()).to_bytes();
        let set = self.db.set_meta(&self.db.own(KEPT), &kept);
        set.map_err(StoreError::database("keeping canaries"))?;
        Ok(Ok(Written::Entry(receipt)))
    }

    fn canaries(&self) -> Result<Object, StoreError> {
        let found = self.db.meta(&self.db.own(KEPT));
        let found = found.map_err(StoreError::database("reading canaries"))?;
        // What cannot be read is no canary, and begins anew.
        let json = found.and_then(|bytes| Json::parse(&bytes, &JsonLimits::OWN).ok());
        Ok(json.as_ref().and_then(Json::as_object).cloned().unwrap_or_default())
    }
}
