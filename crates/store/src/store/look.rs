//! Looking back: what a session and its isolation group have met, for whoever decides.

use super::{Store, failed};
use crate::error::StoreError;
use crate::job::{Change, Met};
use crate::session::{self, SessionKey};
use crate::trail::Trail;
use crate::writer::Writer;
use lockgate_core::exposure::Look;
use lockgate_types::SessionId;
use lockgate_types::facts::SessionState;
use lockgate_types::history::{History, Step};
use lockgate_types::label::Label;
use std::collections::BTreeMap;
use std::sync::Arc;

impl Store {
    /// The state of a session now, exposed to what its subject's isolation group was within the
    /// window, and what has happened of what is asked for. What carries no id is as old as the
    /// window.
    pub async fn look_back(
        &self,
        key: &SessionKey,
        look: Look,
    ) -> Result<(SessionState, History), StoreError> {
        let subject = self.subject(&key.issuer, &key.subject).await?;
        let id = subject.session_id(key)?;
        let group = subject.group_name(key, look.group.as_deref());
        let (mut session, here, of_group) = self.trails(&id, &group).await?;
        let now = self.parts.queue.now();
        let met = of_group.label(now);
        session.exposure = if key.id.is_some() { session.exposure.join(&met) } else { met };
        let tags = Trail::history(&here, &of_group, look.asked.iter(), now);
        let (window_us, counts) = (look.window_us, look.counts);
        Ok((session, History { group, window_us, counts, tags }))
    }

    /// A session has met something before the outcome of the call by which it did: durably, so that
    /// it can be passed on.
    pub async fn met(
        &self,
        key: &SessionKey,
        look: Option<Look>,
        label: Label,
        step: Step,
    ) -> Result<(), StoreError> {
        let subject = self.subject(&key.issuer, &key.subject).await?;
        let session = subject.session_id(key)?;
        let history = look.map(|look| History {
            group: subject.group_name(key, look.group.as_deref()),
            window_us: look.window_us,
            counts: Vec::new(),
            tags: BTreeMap::new(),
        });
        let met = Met { session, history, label, step };
        self.write(Change::Met(Box::new(met))).await.map(drop).map_err(failed)
    }

    /// A session and the trails of it and of its group: from memory, where nobody else adds to
    /// them.
    async fn trails(
        &self,
        id: &SessionId,
        group: &str,
    ) -> Result<(SessionState, Arc<Trail>, Arc<Trail>), StoreError> {
        let memory = &self.parts.memory;
        let whole = |name| memory.trails.whole(name);
        if let Some(session) = memory.sessions.get(id)
            && let (Some(here), Some(group)) = (whole(id.as_str()), whole(group))
        {
            return Ok((session, here, group));
        }
        let (id, group) = (id.clone(), group.to_owned());
        let Some(aside) = &self.parts.aside else {
            let read = move |writer: &mut Writer| {
                let session = writer.session(&id)?;
                let here = writer.trail(id.as_str())?;
                Ok((session, here, writer.trail(&group)?))
            };
            return self.read(read).await;
        };
        let read = || {
            let (id, group) = (id.clone(), group.clone());
            aside.read(move |db| {
                let found = session::load_all(db, [id.as_str()], [id.as_str(), &group]);
                let mut found = found.map_err(StoreError::database("reading a session"))?;
                let mut trail = |name| Arc::new(found.trails.remove(name).unwrap_or_default());
                let (here, of_group) = (trail(id.as_str()), trail(&group));
                let session = found.sessions.pop();
                Ok((session.unwrap_or_else(|| session::fresh(id)), here, of_group))
            })
        };
        // That a connection is gone is noticed by who uses it.
        match read().await {
            Err(StoreError::Database { .. }) => read().await,
            other => other,
        }
    }
}
