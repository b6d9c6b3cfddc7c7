//! What is held against a session and comes with no outcome of a call: what was found out about it
//! afterwards.

use crate::error::StoreError;
use crate::job::{Change, Rejected, Written};
use crate::store::{Store, failed, unexpected};
use crate::subject::Subject;
use crate::writer::Writer;
use lockgate_core::risk::Raise;
use lockgate_types::identity::Identity;
use lockgate_types::{CallId, Micros, SessionId};
use std::sync::Arc;

/// Something that is held against a session.
pub(crate) struct Holding {
    pub(crate) id: SessionId,
    pub(crate) who: Arc<Identity>,
    pub(crate) subject: Arc<Subject>,
    pub(crate) raise: Raise,
    /// The call that it is about.
    call: CallId,
    at: Micros,
}

impl Store {
    /// Holds something against a session, by the call that it is about.
    pub async fn hold_against(
        &self,
        (who, id): (&Arc<Identity>, SessionId),
        raise: Raise,
        (call, at): (&CallId, Micros),
    ) -> Result<(), StoreError> {
        let (who, subject) = (Arc::clone(who), self.subject_of(who).await?);
        let holding = Holding { id, who, subject, raise, call: call.clone(), at };
        match self.write(Change::Hold(Box::new(holding))).await {
            Ok(Written::Nothing) => Ok(()),
            Ok(_) => Err(unexpected()),
            Err(rejected) => Err(failed(rejected)),
        }
    }
}

impl Writer {
    pub(crate) fn hold_by_itself(
        &mut self,
        holding: &Holding,
    ) -> Result<Result<Written, Rejected>, StoreError> {
        let Holding { id, who, subject, raise, call, at } = holding;
        self.hold(id, (who, subject), raise, (call, *at))?;
        Ok(Ok(Written::Nothing))
    }
}
