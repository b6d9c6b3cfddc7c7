//! Sessions: the fold of what their entries say, held in memory and in a table.
//!
//! A change is written in the transaction of the entry that causes it, so memory is only a cache
//! and the least recently used session can be dropped at any time. `revision` counts changes of
//! mode and exposure, on which a decision may not be stale; `writes` is a count and does not make
//! concurrent writes of one session contend.

use lockgate_types::facts::{Mode, SessionState};
use lockgate_types::label::{Confidentiality, Integrity, Label};
use lockgate_types::{AgentId, Environment, SessionId, SubjectId, Tenant};
use lru::LruCache;
use rusqlite::{Connection, OptionalExtension, params};
use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

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
    SessionState { id, mode: Mode::Normal, exposure: Label::default(), writes: 0, revision: 0 }
}

/// Whether what a decision saw of a session still holds.
pub(crate) fn still_holds(seen: &SessionState, now: &SessionState) -> bool {
    seen.revision == now.revision && seen.mode == now.mode && seen.exposure == now.exposure
}

/// The sessions in memory.
pub(crate) struct Sessions {
    recent: Mutex<LruCache<SessionId, SessionState>>,
}

impl Sessions {
    pub(crate) fn new(max: NonZeroUsize) -> Self {
        Self { recent: Mutex::new(LruCache::new(max)) }
    }

    pub(crate) fn get(&self, id: &SessionId) -> Option<SessionState> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    pub(crate) fn put(&self, state: SessionState) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.put(state.id.clone(), state);
    }
}

/// Reads a session from its table; one without a row is fresh.
pub(crate) fn load(db: &Connection, id: &SessionId) -> rusqlite::Result<SessionState> {
    let mut select = db.prepare_cached(
        "SELECT mode, integrity, confidentiality, writes, revision FROM session WHERE id = ?1",
    )?;
    let row = select.query_row([id.as_str()], |row| {
        let words: (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok((words, row.get(3)?, row.get(4)?))
    });
    let Some(((mode, integrity, confidentiality), writes, revision)) = row.optional()? else {
        return Ok(fresh(id.clone()));
    };
    // A word that cannot be read stands for the strictest there is (I3).
    let exposure = Label {
        integrity: Integrity::from_word(&integrity).unwrap_or(Integrity::Untrusted),
        confidentiality: Confidentiality::from_word(&confidentiality)
            .unwrap_or(Confidentiality::Restricted),
    };
    let mode = Mode::from_word(&mode).unwrap_or(Mode::Locked);
    Ok(SessionState { id: id.clone(), mode, exposure, writes, revision })
}

/// Writes a session's row.
pub(crate) fn save(db: &Connection, state: &SessionState) -> rusqlite::Result<()> {
    let mut upsert = db.prepare_cached(
        "INSERT OR REPLACE INTO session (id, mode, integrity, confidentiality, writes, revision)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    upsert.execute(params![
        state.id.as_str(),
        state.mode.as_str(),
        state.exposure.integrity.as_str(),
        state.exposure.confidentiality.as_str(),
        state.writes,
        state.revision,
    ])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_cannot_be_read_is_the_strictest() {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch(crate::schema::V1).unwrap();
        let id = SessionId::new("s_1").unwrap();
        assert_eq!(load(&db, &id).unwrap(), fresh(id.clone()));
        save(&db, &SessionState { writes: 3, revision: 2, ..fresh(id.clone()) }).unwrap();
        assert_eq!(load(&db, &id).unwrap().writes, 3);
        db.execute("UPDATE session SET mode = 'x', integrity = 'y', confidentiality = ''", [])
            .unwrap();
        let state = load(&db, &id).unwrap();
        assert_eq!(state.mode, Mode::Locked);
        assert_eq!(state.exposure.integrity, Integrity::Untrusted);
        assert_eq!(state.exposure.confidentiality, Confidentiality::Restricted);
    }
}
