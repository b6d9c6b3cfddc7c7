//! Sessions: the fold of what their entries say, held in memory and in a table.
//!
//! A change is written in the transaction of the entry that causes it, so memory is only a cache
//! and the least recently used session can be dropped at any time. `revision` counts changes of
//! mode and exposure, on which a decision may not be stale; `writes` is a count and does not make
//! concurrent writes of one session contend.

use crate::db::{Db, DbError, Row, values};
use crate::error::StoreError;
use crate::later::Table;
use crate::risk::tenant_row;
use crate::store::Store;
use lockgate_types::facts::{Mode, SessionState};
use lockgate_types::label::{Confidentiality, Integrity, Label};
use lockgate_types::risk::Risk;
use lockgate_types::{AgentId, Environment, Json, JsonLimits, SessionId, SubjectId, Tenant};
use lru::LruCache;
use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

/// What tells one session from another: its opener, and its id if it has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionKey {
    /// In which tenant.
    pub tenant: Tenant,
    /// In which environment.
    pub environment: Environment,
    /// Who vouches for the subject.
    pub issuer: String,
    /// On whose behalf.
    pub subject: SubjectId,
    /// Who acts.
    pub agent: AgentId,
    /// The id that the client carries, if any.
    pub id: Option<SessionId>,
}

/// The state of a session that nothing has happened in.
pub(crate) fn fresh(id: SessionId) -> SessionState {
    let (mode, exposure) = (Mode::Normal, Label::default());
    SessionState { id, mode, exposure, writes: 0, revision: 0, risk: None }
}

/// Whether what a decision saw of a session still holds.
pub(crate) fn still_holds(seen: &SessionState, now: &SessionState) -> bool {
    seen.revision == now.revision && seen.mode == now.mode && seen.exposure == now.exposure
}

/// The sessions in memory.
pub(crate) struct Sessions {
    /// `None`: other nodes change them too, so that the database is asked each time.
    recent: Option<Mutex<LruCache<SessionId, SessionState>>>,
}

impl Sessions {
    pub(crate) fn new(max: NonZeroUsize) -> Self {
        Self { recent: Some(Mutex::new(LruCache::new(max))) }
    }

    /// Sessions that other nodes change too.
    pub(crate) const fn shared() -> Self {
        Self { recent: None }
    }

    pub(crate) fn get(&self, id: &SessionId) -> Option<SessionState> {
        let recent = self.recent.as_ref()?;
        recent.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    pub(crate) fn put(&self, state: SessionState) {
        let Some(recent) = &self.recent else { return };
        let mut recent = recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.put(state.id.clone(), state);
    }
}

impl Store {
    /// The state of a session now, and that of its tenant. One that nothing has happened in is
    /// fresh.
    pub async fn sessions(
        &self,
        key: &SessionKey,
    ) -> Result<(SessionState, SessionState), StoreError> {
        let subject = self.subject(&key.issuer, &key.subject).await?;
        let (id, tenant) = (subject.session_id(key)?, tenant_row(&key.tenant)?);
        let recent = &self.memory().sessions;
        let (session, tenant) = match (recent.get(&id), recent.get(&tenant)) {
            (Some(session), Some(tenant)) => (session, tenant),
            _ => self.read_sessions(id, tenant).await?,
        };
        // Whoever opens a session anew begins with what is held against agent and subject.
        if key.id.is_some() && session == fresh(session.id.clone()) {
            let base = subject.session_id(&SessionKey { id: None, ..key.clone() })?;
            return Ok((self.inherited(session, base).await?, tenant));
        }
        Ok((session, tenant))
    }

    pub(crate) async fn read_sessions(
        &self,
        id: SessionId,
        tenant: SessionId,
    ) -> Result<(SessionState, SessionState), StoreError> {
        if let Some(aside) = self.aside() {
            let read = |id: SessionId, tenant: SessionId| {
                aside.read(move |db| load_both(db, &id, &tenant))
            };
            // That a connection is gone is noticed by who uses it.
            return match read(id.clone(), tenant.clone()).await {
                Err(StoreError::Database { .. }) => read(id, tenant).await,
                other => other,
            };
        }
        self.read(move |writer| Ok((writer.session(&id)?, writer.session(&tenant)?))).await
    }

    /// The state of a session now. A session that nothing has happened in is fresh.
    pub async fn session(&self, key: &SessionKey) -> Result<SessionState, StoreError> {
        self.sessions(key).await.map(|(session, _)| session)
    }
}

/// Reads a session and its tenant in one go.
fn load_both(
    db: &Db,
    id: &SessionId,
    tenant: &SessionId,
) -> Result<(SessionState, SessionState), StoreError> {
    let failed = || StoreError::database::<DbError>("reading a session");
    let found = load_all(db, [id.as_str(), tenant.as_str()]).map_err(failed())?;
    let find = |id: &SessionId| found.iter().find(|state| state.id == *id).cloned();
    let missing = || failed()(DbError::Column);
    Ok((find(id).ok_or_else(missing)?, find(tenant).ok_or_else(missing)?))
}

/// What [`read`] reads.
pub(crate) const COLUMNS: &str = "id, mode, integrity, confidentiality, writes, revision, risk";

/// Reads a session from its table; one without a row is fresh.
pub(crate) fn load(db: &Db, id: &SessionId) -> Result<SessionState, DbError> {
    let select = "SELECT id, mode, integrity, confidentiality, writes, revision, risk FROM session
        WHERE id = ?1";
    let found = db.row(select, values![id.as_str()], read)?;
    Ok(found.unwrap_or_else(|| fresh(id.clone())))
}

/// Reads several sessions of a fleet at once; those without a row are fresh.
pub(crate) fn load_all<'a>(
    db: &Db,
    ids: impl IntoIterator<Item = &'a str>,
) -> Result<Vec<SessionState>, DbError> {
    let mut ids: BTreeSet<&str> = ids.into_iter().collect();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let select = "SELECT id, mode, integrity, confidentiality, writes, revision, risk FROM session
        WHERE id = ANY (string_to_array(?1, chr(10)))";
    // No id has a line break in it.
    let names = ids.iter().copied().collect::<Vec<_>>().join("\n");
    let mut found = db.rows(select, values![&names], read)?;
    for state in &found {
        ids.remove(state.id.as_str());
    }
    for id in ids {
        found.push(fresh(SessionId::new(id).map_err(|_| DbError::Column)?));
    }
    Ok(found)
}

pub(crate) fn read(row: &Row<'_>) -> Result<SessionState, DbError> {
    let id: String = row.get(0)?;
    let id = SessionId::new(&id).map_err(|_| DbError::Column)?;
    let words: (String, String, String) = (row.get(1)?, row.get(2)?, row.get(3)?);
    let (mode, integrity, confidentiality) = words;
    let (writes, revision) = (row.get(4)?, row.get(5)?);
    // A word that cannot be read stands for the strictest there is (I3).
    let exposure = Label {
        integrity: Integrity::from_word(&integrity).unwrap_or(Integrity::Untrusted),
        confidentiality: Confidentiality::from_word(&confidentiality)
            .unwrap_or(Confidentiality::Restricted),
    };
    let mode = Mode::from_word(&mode).unwrap_or(Mode::Locked);
    let risk: Option<String> = row.get(6)?;
    let (mode, risk) = match risk.map(|risk| read_risk(&risk)) {
        None => (mode, None),
        Some(Some(risk)) => (mode, Some(Arc::new(risk))),
        Some(None) => (Mode::Locked, None),
    };
    Ok(SessionState { id, mode, exposure, writes, revision, risk })
}

fn read_risk(text: &str) -> Option<Risk> {
    Risk::from_json(&Json::parse(text.as_bytes(), &JsonLimits::OWN).ok()?)
}

const SESSION: Table = Table {
    name: "session",
    insert: "INSERT INTO session (id, mode, integrity, confidentiality, writes, revision,
            risk)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
        ON CONFLICT (id) DO UPDATE SET mode = excluded.mode, integrity = excluded.integrity,
            confidentiality = excluded.confidentiality, writes = excluded.writes,
            revision = excluded.revision, risk = excluded.risk",
    insert_many: "INSERT INTO session (id, mode, integrity, confidentiality, writes, revision,
            risk)
        SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[],
            $6::bigint[], $7::text[])
        ON CONFLICT (id) DO UPDATE SET mode = excluded.mode, integrity = excluded.integrity,
            confidentiality = excluded.confidentiality, writes = excluded.writes,
            revision = excluded.revision, risk = excluded.risk",
};

/// Writes a session's row: once in a transaction.
pub(crate) fn save(db: &Db, state: &SessionState) -> Result<(), DbError> {
    let risk = state.risk.as_ref().map(|risk| risk.to_json().to_string());
    let given = values![
        state.id.as_str(),
        state.mode.as_str(),
        state.exposure.integrity.as_str(),
        state.exposure.confidentiality.as_str(),
        state.writes,
        state.revision,
        risk.as_deref(),
    ];
    db.add(&SESSION, given)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_cannot_be_read_is_the_strictest() {
        let db = rusqlite::Connection::open_in_memory().unwrap();
        db.execute_batch(crate::schema::V1).unwrap();
        db.execute_batch(crate::schema::V4_RISK).unwrap();
        let db = Db::sqlite(db);
        let id = SessionId::new("s_1").unwrap();
        assert_eq!(load(&db, &id).unwrap(), fresh(id.clone()));
        save(&db, &SessionState { writes: 3, revision: 2, ..fresh(id.clone()) }).unwrap();
        assert_eq!(load(&db, &id).unwrap().writes, 3);
        db.execute("UPDATE session SET mode = 'x', integrity = 'y', confidentiality = ''", &[])
            .unwrap();
        let state = load(&db, &id).unwrap();
        assert_eq!(state.mode, Mode::Locked);
        assert_eq!(state.exposure.integrity, Integrity::Untrusted);
        assert_eq!(state.exposure.confidentiality, Confidentiality::Restricted);
        db.execute("UPDATE session SET mode = 'normal', risk = '{}'", &[]).unwrap();
        assert_eq!(load(&db, &id).unwrap().mode, Mode::Locked);
    }
}
