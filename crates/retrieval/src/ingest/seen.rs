//! What earlier runs have seen of a source: versions, fingerprints, and what was found.
//!
//! It spares work and nothing else. Whatever of it does not fit what the store of snapshots has is
//! passed over; without it, all is read again.

use crate::quality::Look;
use lockgate_types::Digest;
use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// How long another run that holds the file is waited for.
const BUSY_WITHIN: std::time::Duration = std::time::Duration::from_secs(10);
/// Bytes of what is kept of one document. More is not kept, and it is read again.
const KNOWN_BYTES_MAX: usize = 32 << 20;

/// Why it cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("what was seen of the source cannot be read or written: {why}")]
pub struct SeenError {
    /// What is wrong.
    pub why: String,
}

impl From<rusqlite::Error> for SeenError {
    fn from(error: rusqlite::Error) -> Self {
        Self { why: error.to_string() }
    }
}

/// What is known of a document at its source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Known {
    /// Under which declaration it was read.
    pub(super) declaration: String,
    /// Its version, as the source names it.
    pub(super) version: Option<String>,
    /// Of its bytes, and of how they were read.
    pub(super) fingerprint: Option<String>,
    /// When it was last seen to be so.
    pub(super) confirmed: i64,
    /// Why it could not be read: a code, and words.
    pub(super) refused: Option<(String, String)>,
    /// It, and what lies beneath it.
    pub(super) documents: Vec<(String, Look)>,
}

/// The file in which it is kept.
#[derive(Debug)]
pub struct Seen {
    connection: Connection,
    is_open: bool,
}

impl Seen {
    /// Opens the file, or makes it.
    pub fn open(path: &Path) -> Result<Self, SeenError> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(BUSY_WITHIN)?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.execute_batch(
            "CREATE TABLE IF NOT EXISTS known (id TEXT PRIMARY KEY, said TEXT NOT NULL) STRICT;
             CREATE TABLE IF NOT EXISTS setting (name TEXT PRIMARY KEY, value TEXT) STRICT;",
        )?;
        Ok(Self { connection, is_open: false })
    }

    /// Whether what is there was read under this declaration.
    pub fn is_of(&self, source: &super::Source) -> bool {
        let declaration = source.digest().to_string();
        self.setting("declaration").is_ok_and(|it| it.as_deref() == Some(declaration.as_str()))
    }

    /// Everything that was written since the last time counts, or nothing of it.
    fn begin(&mut self) -> Result<(), SeenError> {
        if !self.is_open {
            self.connection.execute_batch("BEGIN IMMEDIATE")?;
            self.is_open = true;
        }
        Ok(())
    }

    pub(super) fn commit(&mut self) -> Result<(), SeenError> {
        if std::mem::take(&mut self.is_open) {
            self.connection.execute_batch("COMMIT")?;
        }
        Ok(())
    }

    fn setting(&self, name: &str) -> Result<Option<String>, SeenError> {
        let query = "SELECT value FROM setting WHERE name = ?1";
        let found = self.connection.query_row(query, [name], |row| row.get(0)).optional()?;
        Ok(found.flatten())
    }

    fn set(&mut self, name: &str, value: Option<&str>) -> Result<(), SeenError> {
        self.begin()?;
        let query = "INSERT INTO setting (name, value) VALUES (?1, ?2)
                     ON CONFLICT (name) DO UPDATE SET value = excluded.value";
        self.connection.execute(query, params![name, value])?;
        Ok(())
    }

    /// With another declaration, no list of changes is enough: all has to be looked at.
    pub(super) fn settle(&mut self, declaration: Digest) -> Result<(), SeenError> {
        let declaration = declaration.to_string();
        if self.setting("declaration")?.as_deref() != Some(&declaration) {
            self.set("cursor", None)?;
            self.set("declaration", Some(&declaration))?;
            self.commit()?;
        }
        Ok(())
    }

    /// No list of changes is enough: somebody else may have run the source since.
    pub fn forget_cursor(&mut self) -> Result<(), SeenError> {
        self.set_cursor(None)
    }

    pub(super) fn cursor(&self) -> Result<Option<String>, SeenError> {
        self.setting("cursor")
    }

    pub(super) fn set_cursor(&mut self, cursor: Option<&str>) -> Result<(), SeenError> {
        self.set("cursor", cursor)?;
        self.commit()
    }

    pub(super) fn get(&self, id: &str) -> Result<Option<Known>, SeenError> {
        let mut query = self.connection.prepare_cached("SELECT said FROM known WHERE id = ?1")?;
        let said: Option<String> = query.query_row([id], |row| row.get(0)).optional()?;
        // What an older version wrote is nothing that is known.
        Ok(said.and_then(|said| serde_json::from_str(&said).ok()))
    }

    pub(super) fn put(&mut self, id: &str, known: &Known) -> Result<(), SeenError> {
        let said =
            serde_json::to_string(known).map_err(|error| SeenError { why: error.to_string() })?;
        if said.len() > KNOWN_BYTES_MAX {
            return self.remove(id);
        }
        self.begin()?;
        let query = "INSERT INTO known (id, said) VALUES (?1, ?2)
                     ON CONFLICT (id) DO UPDATE SET said = excluded.said";
        self.connection.prepare_cached(query)?.execute(params![id, said])?;
        Ok(())
    }

    pub(super) fn remove(&mut self, id: &str) -> Result<(), SeenError> {
        self.begin()?;
        self.connection.prepare_cached("DELETE FROM known WHERE id = ?1")?.execute([id])?;
        Ok(())
    }

    pub(super) fn ids(&self) -> Result<Vec<String>, SeenError> {
        let mut query = self.connection.prepare("SELECT id FROM known ORDER BY id")?;
        let ids = query.query_map([], |row| row.get(0))?;
        Ok(ids.collect::<Result<_, _>>()?)
    }

    /// Shows all that is known, in order.
    pub(super) fn each(&self, show: &mut dyn FnMut(&str, &Known)) -> Result<(), SeenError> {
        let mut query = self.connection.prepare("SELECT id, said FROM known ORDER BY id")?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            let (id, said): (String, String) = (row.get(0)?, row.get(1)?);
            if let Ok(known) = serde_json::from_str(&said) {
                show(&id, &known);
            }
        }
        Ok(())
    }
}
