//! Sessions that clients have opened, as they were opened: so that another node of the fleet, or
//! the next life of this gate, can take them up.
//!
//! What a client said of itself is sealed under the key of the subject that it acts for. Only that
//! subject's session opens with it, and none once the key is destroyed.

use crate::db::{DbError, values};
use crate::error::StoreError;
use crate::store::Store;
use crate::writer::Writer;
use lockgate_types::identity::Identity;
use lockgate_types::{Micros, SessionId};

/// Sessions forgotten in one go, of those whose time is over.
const SWEEP_MAX: u32 = 256;

/// A session that a client has opened, to somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientSession {
    /// There is none of that id.
    Unknown,
    /// It is another subject's.
    NotYours,
    /// What it was opened with.
    Opened(Vec<u8>),
}

impl Store {
    /// Keeps what a session was opened with, until then.
    pub async fn keep_client_session(
        &self,
        identity: &Identity,
        id: &SessionId,
        opening: &[u8],
        until: Micros,
    ) -> Result<(), StoreError> {
        let subject = self.subject_of(identity).await?;
        let sealed = subject.key.seal(&bound_to(id), opening)?;
        let id = id.clone();
        self.read(move |writer| {
            let keep = "INSERT INTO client_session (name, sealed, until) VALUES (?1, ?2, ?3)
                ON CONFLICT (name) DO UPDATE SET sealed = excluded.sealed, until = excluded.until";
            let name = writer.session_name(&id);
            let kept = writer.db.execute(keep, values![&name, &sealed, until.0]);
            kept.map(drop).map_err(failed())
        })
        .await
    }

    /// A session that is kept, to whoever asks for it.
    pub async fn client_session(
        &self,
        identity: &Identity,
        id: &SessionId,
    ) -> Result<ClientSession, StoreError> {
        let bound_to = bound_to(id);
        let id = id.clone();
        let found = self.read(move |writer| {
            let select = "SELECT sealed FROM client_session WHERE name = ?1 AND until > ?2";
            let given = (writer.session_name(&id), writer.now());
            let found = writer.db.row(select, values![&given.0, given.1.0], |row| row.get(0));
            found.map_err(failed())
        });
        let Some(sealed): Option<Vec<u8>> = found.await? else {
            return Ok(ClientSession::Unknown);
        };
        let opened = self.subject_of(identity).await?.key.open(&bound_to, &sealed);
        Ok(opened.map_or(ClientSession::NotYours, |opened| ClientSession::Opened(opened.to_vec())))
    }

    /// Keeps a session for longer.
    pub async fn extend_client_session(
        &self,
        id: &SessionId,
        until: Micros,
    ) -> Result<(), StoreError> {
        let id = id.clone();
        self.read(move |writer| {
            let extend = "UPDATE client_session SET until = ?2 WHERE name = ?1 AND until < ?2";
            let extended = writer.db.execute(extend, values![&writer.session_name(&id), until.0]);
            extended.map(drop).map_err(failed())
        })
        .await
    }

    /// Forgets a session.
    pub async fn end_client_session(&self, id: &SessionId) -> Result<(), StoreError> {
        let id = id.clone();
        self.read(move |writer| {
            let end = "DELETE FROM client_session WHERE name = ?1";
            let ended = writer.db.execute(end, values![&writer.session_name(&id)]);
            ended.map(drop).map_err(failed())
        })
        .await
    }
}

impl Writer {
    /// What the database calls a session: its id is half of what it takes to use one.
    fn session_name(&self, id: &SessionId) -> [u8; 32] {
        self.memory.subjects.derive(&["client_session", id.as_str()])
    }

    /// Forgets sessions whose time is over, a few at a time.
    pub(crate) fn sweep_client_sessions(&self, now: Micros) -> Result<(), DbError> {
        let delete = "DELETE FROM client_session WHERE name IN
            (SELECT name FROM client_session WHERE until < ?1 ORDER BY until LIMIT ?2)";
        self.db.execute(delete, values![now.0, SWEEP_MAX]).map(drop)
    }
}

fn bound_to(id: &SessionId) -> Vec<u8> {
    format!("client session {id}").into_bytes()
}

fn failed() -> impl FnOnce(DbError) -> StoreError {
    StoreError::database("reading or writing a client's session")
}
