//! Sessions: the fold of what their entries say, held in memory and in a table.
//!
//! A change is written in the transaction of the entry that causes it, so memory is only a cache
//! and the least recently used session can be dropped at any time. `revision` counts changes of
//! mode and exposure, on which a decision may not be stale; `writes` is a count and does not make
//! concurrent writes of one session contend.

use crate::db::{Db, DbError, Row, values};
use crate::later::Table;
use lockgate_types::facts::{Mode, SessionState};
use lockgate_types::label::{Confidentiality, Integrity, Label};
use lockgate_types::{AgentId, Environment, SessionId, SubjectId, Tenant};
use lru::LruCache;
use std::collections::BTreeSet;
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

/// Reads a session from its table; one without a row is fresh.
pub(crate) fn load(db: &Db, id: &SessionId) -> Result<SessionState, DbError> {
    let select = "SELECT id, mode, integrity, confidentiality, writes, revision FROM session
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
    let select = "SELECT id, mode, integrity, confidentiality, writes, revision FROM session
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

fn read(row: &Row<'_>) -> Result<SessionState, DbError> {
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
    Ok(SessionState { id, mode, exposure, writes, revision })
}

const SESSION: Table = Table {
    name: "session",
    insert: "INSERT INTO session (id, mode, integrity, confidentiality, writes, revision)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6)
        ON CONFLICT (id) DO UPDATE SET mode = excluded.mode, integrity = excluded.integrity,
            confidentiality = excluded.confidentiality, writes = excluded.writes,
            revision = excluded.revision",
    insert_many: "INSERT INTO session (id, mode, integrity, confidentiality, writes, revision)
        SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[],
            $6::bigint[])
        ON CONFLICT (id) DO UPDATE SET mode = excluded.mode, integrity = excluded.integrity,
            confidentiality = excluded.confidentiality, writes = excluded.writes,
            revision = excluded.revision",
};

/// Writes a session's row: once in a transaction.
pub(crate) fn save(db: &Db, state: &SessionState) -> Result<(), DbError> {
    let given = values![
        state.id.as_str(),
        state.mode.as_str(),
        state.exposure.integrity.as_str(),
        state.exposure.confidentiality.as_str(),
        state.writes,
        state.revision,
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
    }
}
