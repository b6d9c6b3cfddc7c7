//! What agents have written down, as it belongs to the person for whom they did it: read, confirmed
//! and deleted by operations of the gate's own. What agents themselves ask of a memory is a call
//! like any other (`effects`, `memory`).

use crate::Kernel;
use crate::port::Refusal;
use crate::refusal::not_recorded;
use lockgate_store::{Confirming, Memo, MemoPage};
use lockgate_types::identity::Identity;
use lockgate_types::{CallId, Code};

impl Kernel {
    /// Memos of a person's own, the newest first.
    pub async fn memos(
        &self,
        identity: &Identity,
        after: Option<&str>,
        max: u32,
    ) -> Result<MemoPage, Refusal> {
        let found = self.parts.store.memos_of(identity, after, max).await;
        found.map_err(|error| not_recorded(&error))
    }

    /// One of them.
    pub async fn memo(&self, identity: &Identity, id: &str) -> Result<Memo, Refusal> {
        let found = self.parts.store.memo(identity, id).await;
        found
            .map_err(|error| not_recorded(&error))?
            .ok_or_else(|| Refusal::of(Code::RecordNotFound))
    }

    /// Says, by a person's call, that one of theirs is right.
    pub async fn confirm_memo(
        &self,
        identity: &Identity,
        id: &str,
        by: &CallId,
    ) -> Result<Memo, Refusal> {
        let confirmed = self.parts.store.confirm_memo(identity, id, by).await;
        match confirmed.map_err(|error| not_recorded(&error))? {
            Confirming::Confirmed(memo) => Ok(*memo),
            Confirming::Unknown => Err(Refusal::of(Code::RecordNotFound)),
            Confirming::Own => Err(Refusal::of(Code::OwnMemo)),
        }
    }

    /// Deletes one of theirs.
    pub async fn forget_memo(&self, identity: &Identity, id: &str) -> Result<(), Refusal> {
        let forgotten = self.parts.store.forget_own_memo(identity, id).await;
        match forgotten.map_err(|error| not_recorded(&error))? {
            true => Ok(()),
            false => Err(Refusal::of(Code::RecordNotFound)),
        }
    }
}
