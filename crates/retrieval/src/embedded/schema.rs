//! The corpus's database: how it is opened, and brought to the present version.
//!
//! A file of its own: it holds copies of what sources have, and can be made again from them. It
//! shares no transaction with the record. Its writer is one connection behind one lock; readers see
//! what was committed.

use crate::corpus::CorpusError;
use rusqlite::{Connection, OpenFlags};
use std::fs::{DirBuilder, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

/// What leads to each version of the schema from the one before.
const MIGRATIONS: [&str; 1] = [V1];
/// Prepared statements that one connection keeps.
const STATEMENTS_MAX: usize = 64;
/// KiB that a connection keeps of the file.
const CACHE_KIB_MAX: i64 = 16 << 10;
/// How long a reader waits while the write-ahead log is begun anew.
const BUSY_FOR: Duration = Duration::from_secs(5);

const V1: &str = "
CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE embedder (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
-- `serving`: the number of the snapshot that is searched; NULL: none yet.
-- Numbers are never given again: what was said of places is said by number.
CREATE TABLE source (number INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE,
                     tenant TEXT NOT NULL, access TEXT NOT NULL, serving INTEGER,
                     newest INTEGER NOT NULL);
-- Numbered within their source. `listing`: what it means that a draft does not mention a document.
CREATE TABLE snapshot (source INTEGER NOT NULL, number INTEGER NOT NULL, name TEXT,
                       state TEXT NOT NULL, listing TEXT NOT NULL, pinned INTEGER NOT NULL,
                       begun INTEGER NOT NULL, ended INTEGER, report TEXT NOT NULL,
                       documents INTEGER NOT NULL, chunks INTEGER NOT NULL,
                       PRIMARY KEY (source, number)) WITHOUT ROWID;
CREATE UNIQUE INDEX snapshot_name ON snapshot (source, name) WHERE name IS NOT NULL;
CREATE UNIQUE INDEX snapshot_draft ON snapshot (source) WHERE state = 'draft';
-- What a document was at some time. `hash`: of all that is searched or shown of it. Numbers are
-- never given again.
CREATE TABLE version (number INTEGER PRIMARY KEY AUTOINCREMENT, source INTEGER NOT NULL,
                      id TEXT NOT NULL, hash BLOB NOT NULL, fingerprint BLOB NOT NULL,
                      folders TEXT NOT NULL, kind TEXT NOT NULL, owner TEXT,
                      curation TEXT NOT NULL, classification TEXT NOT NULL, tags TEXT NOT NULL,
                      changed INTEGER NOT NULL, confirmed INTEGER NOT NULL, title TEXT NOT NULL,
                      author TEXT, made INTEGER, link TEXT, ingested INTEGER NOT NULL);
CREATE INDEX version_id ON version (source, id);
CREATE TABLE body (version INTEGER PRIMARY KEY, text TEXT NOT NULL);
CREATE TABLE chunk (number INTEGER PRIMARY KEY AUTOINCREMENT, version INTEGER NOT NULL,
                    start INTEGER NOT NULL, end INTEGER NOT NULL, hash BLOB NOT NULL);
CREATE INDEX chunk_version ON chunk (version);
-- Numbers of 32 bits, the lowest byte first.
CREATE TABLE vector (chunk INTEGER PRIMARY KEY, embedder INTEGER NOT NULL, numbers BLOB NOT NULL);
-- A version is in the published snapshots from `since` on, before `until`. 2^62: no end yet.
CREATE TABLE valid (version INTEGER NOT NULL, source INTEGER NOT NULL, since INTEGER NOT NULL,
                    until INTEGER NOT NULL, PRIMARY KEY (version, since)) WITHOUT ROWID;
CREATE INDEX valid_since ON valid (source, since);
CREATE INDEX valid_until ON valid (source, until);
-- What a draft says of a document. `version` NULL: it is gone. `confirmed`: it was seen to be so.
CREATE TABLE drafted (source INTEGER NOT NULL, snapshot INTEGER NOT NULL, id TEXT NOT NULL,
                      version INTEGER, confirmed INTEGER,
                      PRIMARY KEY (source, snapshot, id)) WITHOUT ROWID;
CREATE INDEX drafted_version ON drafted (version) WHERE version IS NOT NULL;
-- Permissions of folders and documents: what was told last, whatever snapshot serves. `layer`: 0 by
-- the source, 1 by people, 2 by the draft under way, which widens what is in force and waits for
-- its publication. `alone`: 1 where the folders above have no say.
CREATE TABLE told (source INTEGER NOT NULL, place TEXT NOT NULL, layer INTEGER NOT NULL,
                   alone INTEGER NOT NULL, PRIMARY KEY (source, place, layer)) WITHOUT ROWID;
CREATE INDEX told_waiting ON told (source) WHERE layer = 2;
CREATE TABLE granted (source INTEGER NOT NULL, place TEXT NOT NULL, layer INTEGER NOT NULL,
                      denies INTEGER NOT NULL, kind INTEGER NOT NULL, reader TEXT NOT NULL,
                      PRIMARY KEY (source, place, layer, denies, kind, reader)) WITHOUT ROWID;
INSERT INTO meta (name, value) VALUES ('revision', 1);
";

/// Makes the directory and the file, and brings it to the present version.
pub(crate) fn open(directory: &Path) -> Result<Connection, CorpusError> {
    let path = directory.join(FILE);
    make(directory).map_err(|source| CorpusError::File { path: directory.into(), source })?;
    let mut file = OpenOptions::new();
    file.write(true).create(true).truncate(false).mode(0o600);
    file.open(&path).map_err(|source| CorpusError::File { path: path.clone(), source })?;
    let mut db = connect(&path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    prepare(&db).map_err(CorpusError::database("opening it"))?;
    migrate(&mut db)?;
    Ok(db)
}

/// A connection that reads.
pub(crate) fn reader(directory: &Path) -> Result<Connection, CorpusError> {
    connect(&directory.join(FILE), OpenFlags::SQLITE_OPEN_READ_ONLY)
}

/// The file's name within its directory.
const FILE: &str = "corpus.db";

fn make(directory: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

fn connect(path: &Path, access: OpenFlags) -> Result<Connection, CorpusError> {
    let opened = || -> rusqlite::Result<Connection> {
        let db = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        db.busy_timeout(BUSY_FOR)?;
        db.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
        db.pragma_update(None, "cache_size", -CACHE_KIB_MAX)?;
        Ok(db)
    };
    opened().map_err(CorpusError::database("connecting to it"))
}

fn prepare(db: &Connection) -> rusqlite::Result<()> {
    db.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    // What was withdrawn stays withdrawn when the power fails.
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "secure_delete", "FAST")?;
    db.pragma_update(None, "temp_store", "MEMORY")
}

fn migrate(db: &mut Connection) -> Result<(), CorpusError> {
    let failed = CorpusError::database("reading its version");
    let found: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(failed)?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    if found > known {
        return Err(CorpusError::NewerSchema { found, known });
    }
    let done = usize::try_from(found).unwrap_or(0);
    for (version, migration) in (1_i64..).zip(MIGRATIONS).skip(done) {
        let step = || -> rusqlite::Result<()> {
            let transaction = db.unchecked_transaction()?;
            transaction.execute_batch(migration)?;
            transaction.pragma_update(None, "user_version", version)?;
            transaction.commit()
        };
        step().map_err(CorpusError::database("migrating it"))?;
    }
    Ok(())
}
