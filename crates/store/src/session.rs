//! Sessions: the fold of what their entries say, held in memory and in a table.
//!
//! A change is written in the transaction of the entry that causes it, so memory is only a cache
//! and the least recently used session can be dropped at any time. `revision` counts changes of
//! mode and exposure, on which a decision may not be stale; `writes` is a count and does not make
//! concurrent writes of one session contend.

use crate::db::{Db, DbError, Row, Value, values};
use crate::error::StoreError;
use crate::later::Table;
use crate::store::Store;
use crate::trail::{self, Trail};
use lockgate_types::facts::{Mode, SessionState};
use lockgate_types::flow::Author;
use lockgate_types::label::{Confidentiality, Integrity, Label};
use lockgate_types::risk::Risk;
use lockgate_types::{
    AgentId, Environment, Json, JsonLimits, Micros, SessionId, SubjectId, Tenant,
};
use lru::LruCache;
use std::collections::{BTreeMap, BTreeSet};
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
    SessionState { id, mode, exposure, writes: 0, revision: 0, risk: None, fed: None }
}

/// Whether what a decision saw of a session still holds: every change of mode or exposure has a
/// revision of its own.
pub(crate) fn still_holds(seen: &SessionState, now: &SessionState) -> bool {
    seen.revision == now.revision && seen.mode == now.mode
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
    /// The state of a session now, and that of its tenant.
    pub async fn sessions(
        &self,
        key: &SessionKey,
    ) -> Result<(SessionState, SessionState), StoreError> {
        self.look(key, None).await.map(|(session, tenant, _)| (session, tenant))
    }

    /// The state of a session now. A session that nothing has happened in is fresh.
    pub async fn session(&self, key: &SessionKey) -> Result<SessionState, StoreError> {
        self.sessions(key).await.map(|(session, _)| session)
    }
}

/// What [`read`] reads.
pub(crate) const COLUMNS: &str =
    "id, mode, integrity, confidentiality, label, writes, revision, risk, fed";

/// Reads a session from its table; one without a row is fresh.
pub(crate) fn load(db: &Db, id: &SessionId) -> Result<SessionState, DbError> {
    let select = format!("SELECT {COLUMNS} FROM session WHERE id = ?1");
    let found = db.row(&select, values![id.as_str()], read)?;
    Ok(found.unwrap_or_else(|| fresh(id.clone())))
}

/// Sessions of a fleet, and trails, as they are read in one go.
pub(crate) struct Gathered {
    pub(crate) sessions: Vec<SessionState>,
    pub(crate) trails: BTreeMap<String, Trail>,
}

/// Reads several sessions and trails of a fleet at once; those without a row are fresh.
pub(crate) fn load_all<'a>(
    db: &Db,
    ids: impl IntoIterator<Item = &'a str>,
    trails: impl IntoIterator<Item = &'a str>,
) -> Result<Gathered, DbError> {
    let mut ids: BTreeSet<&str> = ids.into_iter().collect();
    let mut gathered = Gathered { sessions: Vec::new(), trails: BTreeMap::new() };
    gathered.trails = trails.into_iter().map(|it| (it.to_owned(), Trail::default())).collect();
    if ids.is_empty() {
        return Ok(gathered);
    }
    // No id has a line break in it.
    let names = ids.iter().copied().collect::<Vec<_>>().join("\n");
    let of_trails = gathered.trails.keys().map(String::as_str).collect::<Vec<_>>().join("\n");
    // One way there and back: the columns of both, one after the other in kind.
    let sessions = "SELECT id, mode, integrity || ' ' || confidentiality, label, writes, revision,
        CAST(NULL AS BIGINT), risk, fed FROM session WHERE id = ANY (string_to_array(?1, chr(10)))";
    let select = format!(
        "{sessions} UNION ALL SELECT {}, CAST(NULL AS TEXT), CAST(NULL AS BIGINT) FROM exposure
         WHERE name = ANY (string_to_array(?2, chr(10)))",
        trail::COLUMNS
    );
    let Gathered { sessions, trails } = &mut gathered;
    db.rows(&select, values![&names, &of_trails], |row| match row.get::<Option<i64>>(6)? {
        Some(_) => trail::gather(trails, row, 0),
        None => {
            let words: String = row.get(2)?;
            let (integrity, confidentiality) = words.split_once(' ').unwrap_or_default();
            let exposure = exposure(integrity, confidentiality, &row.get::<String>(3)?);
            sessions.push(state(row, exposure, 4)?);
            Ok(())
        }
    })?;
    for state in sessions.iter() {
        ids.remove(state.id.as_str());
    }
    for id in ids {
        sessions.push(fresh(SessionId::new(id).map_err(|_| DbError::Column)?));
    }
    Ok(gathered)
}

pub(crate) fn read(row: &Row<'_>) -> Result<SessionState, DbError> {
    let words: (String, String, String) = (row.get(2)?, row.get(3)?, row.get(4)?);
    state(row, exposure(&words.0, &words.1, &words.2), 5)
}

/// `risk` and `fed` are the last columns, the eighth and the ninth.
fn state(row: &Row<'_>, exposure: Label, writes: usize) -> Result<SessionState, DbError> {
    let (id, mode): (String, String) = (row.get(0)?, row.get(1)?);
    let id = SessionId::new(&id).map_err(|_| DbError::Column)?;
    // A word that cannot be read stands for the strictest there is (I3).
    let mode = Mode::from_word(&mode).unwrap_or(Mode::Locked);
    let risk: Option<String> = row.get(7)?;
    let (mode, risk) = match risk.map(|risk| read_risk(&risk)) {
        None => (mode, None),
        Some(Some(risk)) => (mode, Some(Arc::new(risk))),
        Some(None) => (Mode::Locked, None),
    };
    let (writes, revision) = (row.get(writes)?, row.get(writes + 1)?);
    let fed: Option<i64> = row.get(8)?;
    Ok(SessionState { id, mode, exposure, writes, revision, risk, fed: fed.map(Micros) })
}

fn read_risk(text: &str) -> Option<Risk> {
    Risk::from_json(&Json::parse(text.as_bytes(), &JsonLimits::OWN).ok()?)
}

/// What a session was exposed to: as much as any column says.
fn exposure(integrity: &str, confidentiality: &str, label: &str) -> Label {
    let strictest = || Label::of(Author::Anyone, Confidentiality::Restricted);
    let words = Label {
        integrity: Integrity::from_word(integrity).unwrap_or(Integrity::Untrusted),
        confidentiality: Confidentiality::from_word(confidentiality)
            .unwrap_or(Confidentiality::Restricted),
        ..Label::default()
    };
    if label.is_empty() {
        return words;
    }
    let label = Json::parse(label.as_bytes(), &JsonLimits::OWN).ok();
    let label = label.and_then(|label| Label::from_json(&label));
    words.join(&label.unwrap_or_else(strictest))
}

const SESSION: Table = Table {
    name: "session",
    insert: "INSERT INTO session
            (id, mode, integrity, confidentiality, label, writes, revision, risk, fed)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
        ON CONFLICT (id) DO UPDATE SET mode = excluded.mode, integrity = excluded.integrity,
            confidentiality = excluded.confidentiality, label = excluded.label,
            writes = excluded.writes, revision = excluded.revision, risk = excluded.risk,
            fed = excluded.fed",
    insert_many: "INSERT INTO session
            (id, mode, integrity, confidentiality, label, writes, revision, risk, fed)
        SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[],
            $6::bigint[], $7::bigint[], $8::text[], $9::bigint[])
        ON CONFLICT (id) DO UPDATE SET mode = excluded.mode, integrity = excluded.integrity,
            confidentiality = excluded.confidentiality, label = excluded.label,
            writes = excluded.writes, revision = excluded.revision, risk = excluded.risk,
            fed = excluded.fed",
};

/// Writes a session's row: once in a transaction.
pub(crate) fn save(db: &Db, state: &SessionState) -> Result<(), DbError> {
    let label = state.exposure.to_json().to_string();
    let risk = state.risk.as_ref().map(|risk| risk.to_json().to_string());
    let given = values![
        state.id.as_str(),
        state.mode.as_str(),
        state.exposure.integrity.as_str(),
        state.exposure.confidentiality.as_str(),
        &label,
        state.writes,
        state.revision,
        risk.as_deref(),
        Value::Int(state.fed.map(|until| until.0)),
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
        db.execute_batch(crate::schema::V5_EXPOSURE).unwrap();
        db.execute_batch(crate::schema::V6_RISK).unwrap();
        db.execute_batch(crate::schema::V14_USES).unwrap();
        let db = Db::sqlite(db);
        let id = SessionId::new("s_1").unwrap();
        assert_eq!(load(&db, &id).unwrap(), fresh(id.clone()));
        let exposure = Label {
            pii: BTreeSet::from(["iban".to_owned()]),
            ..Label::of(Author::Tenant, Confidentiality::Internal)
        };
        let fed = Some(Micros(7));
        let met = SessionState { exposure, writes: 3, revision: 2, fed, ..fresh(id.clone()) };
        save(&db, &met).unwrap();
        assert_eq!(load(&db, &id).unwrap(), met);
        // One from before labels were kept whole.
        db.execute("UPDATE session SET label = ''", &[]).unwrap();
        assert_eq!(load(&db, &id).unwrap().exposure.integrity, Integrity::Untrusted);
        db.execute("UPDATE session SET label = '{}'", &[]).unwrap();
        let strictest = Label::of(Author::Anyone, Confidentiality::Restricted);
        assert_eq!(load(&db, &id).unwrap().exposure, strictest);
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
