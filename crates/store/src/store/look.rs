//! Looking at sessions, and back: what a decision depends on of what was before, in one go.

use super::{Store, failed};
use crate::db::{Db, DbError};
use crate::error::StoreError;
use crate::job::{Change, Met};
use crate::postgres::SharedAddress;
use crate::risk::tenant_row;
use crate::session::{self, SessionKey, fresh};
use crate::trail::Trail;
use crate::writer::Writer;
use lockgate_core::exposure::Look;
use lockgate_types::facts::SessionState;
use lockgate_types::history::{History, Step};
use lockgate_types::label::Label;
use lockgate_types::{Micros, SessionId};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is behind a session: what it and its isolation group have met and done.
#[derive(Debug)]
pub struct Past {
    look: Look,
    group: String,
    is_named: bool,
    here: Arc<Trail>,
    of_group: Arc<Trail>,
    at: Micros,
}

impl Past {
    /// The session, exposed to what its isolation group was within the window, and what has
    /// happened of what is asked for. What carries no id is as old as the window.
    pub fn of(self, mut session: SessionState) -> (SessionState, History) {
        let Self { look, group, is_named, here, of_group, at } = self;
        let met = of_group.label(at);
        session.exposure = if is_named { session.exposure.join(&met) } else { met };
        let tags = Trail::history(&here, &of_group, look.asked.iter(), at);
        let (window_us, counts) = (look.window_us, look.counts);
        (session, History { group, window_us, counts, tags })
    }
}

/// A session, its tenant's row, and the trails of the session and of its group.
pub(crate) struct Found {
    pub(crate) session: SessionState,
    pub(crate) tenant: SessionState,
    trails: Option<(Arc<Trail>, Arc<Trail>)>,
}

impl Store {
    /// Where the fleet's database is, encrypted as the store's own connections are. `None`: there
    /// is no fleet.
    pub fn shared_address(&self) -> Option<SharedAddress> {
        self.parts.aside.as_ref().map(|aside| aside.address.clone())
    }

    /// A name of something that says nothing of it, for answers and records: only holders of the
    /// data key (each node of a fleet has the same) can tell whether it is of what they guess.
    pub fn fingerprint(&self, of: &[&str]) -> String {
        let fields: Vec<&str> = ["fingerprint"].iter().chain(of).copied().collect();
        format!("hmac-sha256:{}", hex::encode(self.parts.memory.subjects.derive(&fields)))
    }

    /// The state of a session now, and that of its tenant; one that nothing has happened in is
    /// fresh. And what is behind it, if somebody looks back.
    pub async fn look(
        &self,
        key: &SessionKey,
        look: Option<Look>,
    ) -> Result<(SessionState, SessionState, Option<Past>), StoreError> {
        let subject = self.subject(&key.issuer, &key.subject).await?;
        let (id, tenant) = (subject.session_id(key)?, tenant_row(&key.tenant)?);
        let group = look.as_ref().map(|look| subject.group_name(key, look.group.as_deref()));
        let found = match self.in_memory(&id, &tenant, group.as_deref()) {
            Some(found) => found,
            None => self.find(id, tenant, group.clone()).await?,
        };
        let Found { mut session, tenant, trails } = found;
        // Whoever opens a session anew begins with what is held against agent and subject.
        if key.id.is_some() && session == fresh(session.id.clone()) {
            let base = subject.session_id(&SessionKey { id: None, ..key.clone() })?;
            session = Box::pin(self.inherited(session, base)).await?;
        }
        let (at, is_named) = (self.parts.queue.now(), key.id.is_some());
        let past = look.zip(group).zip(trails).map(|((look, group), (here, of_group))| Past {
            look,
            group,
            is_named,
            here,
            of_group,
            at,
        });
        Ok((session, tenant, past))
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

    /// Reads where nobody's transaction is held up, if there is such a place.
    pub(crate) async fn read_aside<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Db) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        match &self.parts.aside {
            Some(aside) => aside.read(read).await,
            None => self.read(move |writer| read(&writer.db)).await,
        }
    }

    /// What is in memory, where nobody else changes it.
    fn in_memory(&self, id: &SessionId, tenant: &SessionId, group: Option<&str>) -> Option<Found> {
        let memory = &self.parts.memory;
        let (session, tenant) = (memory.sessions.get(id)?, memory.sessions.get(tenant)?);
        let whole = |name| memory.trails.whole(name);
        let trails = match group {
            Some(group) => Some((whole(id.as_str())?, whole(group)?)),
            None => None,
        };
        Some(Found { session, tenant, trails })
    }

    /// The same from the database.
    pub(crate) async fn find(
        &self,
        id: SessionId,
        tenant: SessionId,
        group: Option<String>,
    ) -> Result<Found, StoreError> {
        let Some(aside) = &self.parts.aside else {
            let read = move |writer: &mut Writer| {
                let (session, tenant) = (writer.session(&id)?, writer.session(&tenant)?);
                let trails = match group {
                    Some(group) => Some((writer.trail(id.as_str())?, writer.trail(&group)?)),
                    None => None,
                };
                Ok(Found { session, tenant, trails })
            };
            return self.read(read).await;
        };
        let read = || {
            let (id, tenant, group) = (id.clone(), tenant.clone(), group.clone());
            aside.read(move |db| load(db, &id, &tenant, group.as_deref()))
        };
        // That a connection is gone is noticed by who uses it.
        match read().await {
            Err(StoreError::Database { .. }) => read().await,
            other => other,
        }
    }
}

/// All of it in one query.
fn load(
    db: &Db,
    id: &SessionId,
    tenant: &SessionId,
    group: Option<&str>,
) -> Result<Found, StoreError> {
    let failed = || StoreError::database::<DbError>("reading a session");
    let trails = group.into_iter().flat_map(|group| [id.as_str(), group]);
    let found = session::load_all(db, [id.as_str(), tenant.as_str()], trails);
    let mut found = found.map_err(failed())?;
    let find = |id: &SessionId| found.sessions.iter().find(|state| state.id == *id).cloned();
    let missing = || failed()(DbError::Column);
    let (session, tenant) = (find(id).ok_or_else(missing)?, find(tenant).ok_or_else(missing)?);
    let mut trail = |name| Arc::new(found.trails.remove(name).unwrap_or_default());
    let trails = group.map(|group| (trail(id.as_str()), trail(group)));
    Ok(Found { session, tenant, trails })
}
