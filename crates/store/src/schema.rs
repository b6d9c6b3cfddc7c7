//! The database: how it is opened, held, and brought to the present version.
//!
//! Both databases have the same tables. Of an embedded one there is one connection, which holds the
//! exclusive lock as long as it lives: that is the guard against a second writer, and saves the
//! locking of every transaction. The write-ahead log is grown before the first call and never
//! shrinks while the gate runs, because a growing file puts the file system's journal into every
//! commit.

use crate::db::{DbError, values};
use crate::error::StoreError;
use crate::postgres::Session;
use crate::{Durability, Options};
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The newest version of the schema, and what leads to it from the one before.
const MIGRATIONS: [&str; 14] = [
    V1,
    V2,
    V3,
    V4_SHARDS,
    V5_EXPOSURE,
    V6_RISK,
    V7_WORDS,
    V8_RUNS,
    V9_MEMOS,
    V10_EVALUATIONS,
    V11_RUN_KEYS,
    V12_ANSWERS,
    V13_CANARIES,
    V14_USES,
];

/// Bytes that the write-ahead log is grown by at a time: SQLite holds them in memory.
const ROOM_BYTES: u32 = 1 << 20;
/// Prepared statements kept.
const STATEMENTS_MAX: usize = 64;

pub(crate) const V1: &str = "
CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
-- The log. `hash` is the leaf hash: a changed `leaf` no longer matches it.
CREATE TABLE entry (ix INTEGER PRIMARY KEY, hash BLOB NOT NULL, leaf BLOB NOT NULL);
-- Full tiles only; partial ones are computed.
CREATE TABLE tile (path TEXT PRIMARY KEY, hashes BLOB NOT NULL);
CREATE TABLE checkpoint (size INTEGER PRIMARY KEY, note TEXT NOT NULL);
-- Deleted to erase. AUTOINCREMENT: an id is never given to another subject.
CREATE TABLE subject (id INTEGER PRIMARY KEY AUTOINCREMENT, lookup BLOB NOT NULL UNIQUE,
                      pseudonym TEXT NOT NULL, wrapped BLOB NOT NULL);
CREATE TABLE identity (commitment BLOB PRIMARY KEY, subject INTEGER NOT NULL,
                       sealed BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE payload (ix INTEGER PRIMARY KEY, subject INTEGER NOT NULL, sealed BLOB NOT NULL);
-- `outcome` of a refusal is the refusal itself.
CREATE TABLE call (id TEXT PRIMARY KEY, intent INTEGER NOT NULL, outcome INTEGER,
                   effect TEXT NOT NULL, within TEXT) WITHOUT ROWID;
CREATE INDEX call_open ON call (intent) WHERE outcome IS NULL;
CREATE INDEX call_within ON call (within) WHERE within IS NOT NULL;
CREATE TABLE session (id TEXT PRIMARY KEY, mode TEXT NOT NULL, integrity TEXT NOT NULL,
                      confidentiality TEXT NOT NULL, writes INTEGER NOT NULL,
                      revision INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE bundle (digest BLOB PRIMARY KEY, files BLOB NOT NULL);
";

const V2: &str = "
-- Which call an idempotency key belongs to. `key` and `arguments` are derived under the subject's
-- key. How the effect stands is the record of its call.
CREATE TABLE effect (key BLOB PRIMARY KEY, arguments BLOB NOT NULL, call TEXT NOT NULL,
                     until INTEGER NOT NULL) WITHOUT ROWID;
-- Calls of which nobody knows whether they happened, with the outcome that says so.
CREATE TABLE doubt (call TEXT PRIMARY KEY, outcome INTEGER NOT NULL) WITHOUT ROWID;
ALTER TABLE call ADD COLUMN key BLOB;
-- Requests for approval: the refused call that asks, for the proposal of that derived name.
CREATE TABLE approval (call TEXT PRIMARY KEY, proposal BLOB NOT NULL, entry INTEGER NOT NULL,
                       requirements TEXT NOT NULL, scopes TEXT NOT NULL, state TEXT NOT NULL,
                       expires INTEGER NOT NULL, agent TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX approval_proposal ON approval (proposal) WHERE state IN ('pending', 'given');
CREATE INDEX approval_expires ON approval (expires) WHERE state IN ('pending', 'given');
-- Who agreed, by pseudonym. `met`: as many as had to.
CREATE TABLE agreement (call TEXT NOT NULL, requirement TEXT NOT NULL, approver TEXT NOT NULL,
                        by_call TEXT NOT NULL, met INTEGER NOT NULL,
                        PRIMARY KEY (call, requirement, approver)) WITHOUT ROWID;
-- What is used up of caps, by a name derived under the data key.
CREATE TABLE cap (key BLOB PRIMARY KEY, used INTEGER NOT NULL, until INTEGER NOT NULL)
    WITHOUT ROWID;
-- The switches that are on, with the entry that says so.
CREATE TABLE switch (scope TEXT NOT NULL, name TEXT NOT NULL, entry INTEGER NOT NULL,
                     PRIMARY KEY (scope, name)) WITHOUT ROWID;
";

const V3: &str = "
-- Sessions that clients have opened, by a name derived under the data key. `sealed` under the
-- subject's.
CREATE TABLE client_session (name BLOB PRIMARY KEY, sealed BLOB NOT NULL, until INTEGER NOT NULL)
    WITHOUT ROWID;
CREATE INDEX client_session_until ON client_session (until);
-- How each request for approval stands, by the entry that says so, for those who are told.
CREATE TABLE news (call TEXT PRIMARY KEY, entry INTEGER NOT NULL, state TEXT NOT NULL,
                   since INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX news_since ON news (since);
-- The entry that each webhook was told of, the one that is tried, and how that goes.
CREATE TABLE notice (call TEXT NOT NULL, webhook TEXT NOT NULL, told INTEGER NOT NULL,
                     tried INTEGER NOT NULL, attempts INTEGER NOT NULL, due INTEGER NOT NULL,
                     why TEXT NOT NULL, PRIMARY KEY (call, webhook)) WITHOUT ROWID;
-- Messages of channels, with what was answered to them.
CREATE TABLE heard (webhook TEXT NOT NULL, id TEXT NOT NULL, digest BLOB NOT NULL,
                    answer TEXT NOT NULL, until INTEGER NOT NULL,
                    PRIMARY KEY (webhook, id)) WITHOUT ROWID;
CREATE INDEX heard_until ON heard (until);
-- Calls under way that a cap counts, by its derived name.
CREATE TABLE under_way (key BLOB NOT NULL, call TEXT NOT NULL,
                        PRIMARY KEY (key, call)) WITHOUT ROWID;
CREATE INDEX under_way_call ON under_way (call);
-- What is left of rates in a fleet, by a derived name: units of a token, when that was, and when
-- there is nothing to remember of it.
CREATE TABLE rate (key BLOB PRIMARY KEY, level INTEGER NOT NULL, at INTEGER NOT NULL,
                   until INTEGER NOT NULL) WITHOUT ROWID;
";

const V4_SHARDS: &str = "
-- The logs: of each node its own, whose tenant is '', and those of tenants. `plain`: how many of
-- the first entries of a node's own are numbered by their place alone; NULL: all. `note`: the
-- newest checkpoint of a tenant's.
CREATE TABLE shard (number INTEGER PRIMARY KEY AUTOINCREMENT, node INTEGER NOT NULL,
                    tenant TEXT NOT NULL, plain INTEGER, note TEXT, UNIQUE (node, tenant));
-- In which log an entry stands, and at which index there. `ix` is its place in the order of all
-- that its node writes. NULL: the node's own log, at the index that the place says.
ALTER TABLE entry ADD COLUMN shard INTEGER;
ALTER TABLE entry ADD COLUMN at INTEGER;
CREATE UNIQUE INDEX entry_shard ON entry (shard, at) WHERE shard IS NOT NULL;
";

pub(crate) const V5_EXPOSURE: &str = "
-- What has happened in a session, or to anybody of an isolation group, by derived name: each thing
-- with the calls that brought it first and last.
CREATE TABLE exposure (name TEXT NOT NULL, tag TEXT NOT NULL, first_call TEXT NOT NULL,
                       first_at INTEGER NOT NULL, latest_call TEXT NOT NULL,
                       latest_at INTEGER NOT NULL, until INTEGER NOT NULL,
                       PRIMARY KEY (name, tag)) WITHOUT ROWID;
CREATE INDEX exposure_until ON exposure (until);
-- All of what a session was exposed to. Empty: no more than the other columns say.
ALTER TABLE session ADD COLUMN label TEXT NOT NULL DEFAULT '';
";

pub(crate) const V6_RISK: &str = "
-- How risky it has been, and why. NULL: nothing was ever held against it. A tenant has a row too.
ALTER TABLE session ADD COLUMN risk TEXT;
CREATE INDEX session_risk ON session (id) WHERE risk IS NOT NULL;
-- What is usual, by a derived name. `subject`: whose it is; 0: nobody's alone.
CREATE TABLE baseline (key BLOB PRIMARY KEY, subject INTEGER NOT NULL, body TEXT NOT NULL,
                       until INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX baseline_until ON baseline (until);
CREATE INDEX baseline_subject ON baseline (subject);
";

pub(crate) const V7_WORDS: &str = "
-- The calls whose words and results a session remembers, for a time. `told`: 1 of those with
-- words.
CREATE TABLE remembered (session TEXT NOT NULL, told INTEGER NOT NULL, at INTEGER NOT NULL,
                         call TEXT NOT NULL, PRIMARY KEY (session, told, at, call)) WITHOUT ROWID;
-- Sessions that applications have opened for agents. `token`: derived under the data key from what
-- was given out. `sealed` under the subject's key.
CREATE TABLE opened (session TEXT PRIMARY KEY, token BLOB NOT NULL UNIQUE,
                     subject INTEGER NOT NULL, sealed BLOB NOT NULL, until INTEGER NOT NULL)
    WITHOUT ROWID;
CREATE INDEX opened_until ON opened (until);
CREATE INDEX opened_subject ON opened (subject);
";

pub(crate) const V8_RUNS: &str = "
-- Runs that the gate drives, by the call that started each. `opener`: whose it is, by a derived
-- name. `part`: which call of the run within which it was started. `due`: when it is looked at
-- again, if it waits. `holder`: who drives it, until then.
CREATE TABLE run (id TEXT PRIMARY KEY, opener BLOB NOT NULL, task TEXT NOT NULL, within TEXT,
                  part TEXT, phase TEXT NOT NULL, entries INTEGER NOT NULL,
                  since INTEGER NOT NULL, at INTEGER NOT NULL, due INTEGER NOT NULL,
                  waits_for TEXT, holder TEXT NOT NULL, held_until INTEGER NOT NULL,
                  cancelled TEXT) WITHOUT ROWID;
CREATE UNIQUE INDEX run_part ON run (within, part) WHERE within IS NOT NULL;
CREATE INDEX run_opener ON run (opener, id);
CREATE INDEX run_under_way ON run (id) WHERE phase IN ('open', 'parked');
-- Their journals: each entry once, bound to the recorded call it is about, sealed under the
-- subject's key.
CREATE TABLE run_entry (run TEXT NOT NULL, number INTEGER NOT NULL, at INTEGER NOT NULL,
                        kind TEXT NOT NULL, call TEXT, sealed BLOB NOT NULL,
                        PRIMARY KEY (run, number)) WITHOUT ROWID;
";

pub(crate) const V9_MEMOS: &str = "
-- What agents have written down, by a name derived under the subject's key; in which scope, by
-- another. `call`: by which it was written. `sealed` under the subject's key: all that it says, its
-- key included.
CREATE TABLE memo (id TEXT PRIMARY KEY, scope BLOB NOT NULL, subject INTEGER NOT NULL,
                   call TEXT NOT NULL, at INTEGER NOT NULL, until INTEGER NOT NULL,
                   sealed BLOB NOT NULL) WITHOUT ROWID;
CREATE INDEX memo_scope ON memo (scope, at);
CREATE INDEX memo_subject ON memo (subject, at);
CREATE INDEX memo_until ON memo (until);
";

const V10_EVALUATIONS: &str = "
-- Results of behaviour tests, by the call that handed each in. `of_entry`: what says which model it
-- was. `report`: the digest of what was handed in.
CREATE TABLE evaluation (call TEXT PRIMARY KEY, tenant TEXT NOT NULL, entry TEXT NOT NULL,
                         version TEXT NOT NULL, suite TEXT NOT NULL, digest BLOB NOT NULL,
                         of_entry BLOB NOT NULL, bundle BLOB NOT NULL, report BLOB NOT NULL,
                         calls INTEGER NOT NULL, passed INTEGER NOT NULL,
                         percent INTEGER NOT NULL, at INTEGER NOT NULL,
                         summary TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX evaluation_newest ON evaluation (entry, suite, at);
";

pub(crate) const V11_RUN_KEYS: &str = "
-- Keys under which runs were asked for, for a time. `name` and `asked` are derived under the data
-- key from whoever asks, the key, and what is asked for.
CREATE TABLE run_key (name BLOB PRIMARY KEY, asked BLOB NOT NULL, run TEXT NOT NULL,
                      until INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX run_key_until ON run_key (until);
-- Whose run it is, for those who look after a tenant's.
ALTER TABLE run ADD COLUMN tenant TEXT NOT NULL DEFAULT '';
CREATE INDEX run_tenant ON run (tenant, id);
";

pub(crate) const V12_ANSWERS: &str = "
-- Answers of models that somebody has approved. `name`: derived under the data key from the prompt
-- and what whoever asked may do. `call`: which has the answer. `by_call`: by which it was approved.
CREATE TABLE kept_answer (name BLOB PRIMARY KEY, call TEXT NOT NULL, tenant TEXT NOT NULL,
                          by_call TEXT NOT NULL, at INTEGER NOT NULL, until INTEGER NOT NULL)
    WITHOUT ROWID;
CREATE INDEX kept_answer_until ON kept_answer (until);
CREATE INDEX kept_answer_call ON kept_answer (call);
-- Whether it was told that the counter has come as far as somebody wants to be told of.
ALTER TABLE cap ADD COLUMN alerted INTEGER NOT NULL DEFAULT 0;
";

pub(crate) const V13_CANARIES: &str = "
-- Models that are tried out, by what each is known by. `state`: its stage and its window. `at`:
-- when it was last counted.
CREATE TABLE canary (name BLOB PRIMARY KEY, state TEXT NOT NULL, at INTEGER NOT NULL)
    WITHOUT ROWID;
";

pub(crate) const V14_USES: &str = "
-- Which calls have shown which documents, by names derived under the data key: of the source, of
-- the document.
CREATE TABLE shown (source BLOB NOT NULL, at INTEGER NOT NULL, call TEXT NOT NULL,
                    document BLOB NOT NULL, PRIMARY KEY (source, at, call, document))
    WITHOUT ROWID;
CREATE INDEX shown_document ON shown (document, at, call);
CREATE INDEX shown_at ON shown (at);
-- What sessions did that were shown some. `kind`: 0 a read, 1 a change, 2 what was not let out.
CREATE TABLE followed (session TEXT NOT NULL, kind INTEGER NOT NULL, at INTEGER NOT NULL,
                       call TEXT NOT NULL, PRIMARY KEY (session, kind, at, call)) WITHOUT ROWID;
CREATE INDEX followed_at ON followed (at);
-- Until when what a session does is kept there. NULL: it was shown none.
ALTER TABLE session ADD COLUMN fed INTEGER;
";

/// Opens the database, takes it, and brings it to the present version.
pub(crate) fn open(path: &Path, options: &Options) -> Result<Connection, StoreError> {
    make_private_file(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut db = Connection::open_with_flags(path, flags)
        .map_err(StoreError::database("opening the database"))?;
    db.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    take(&db, options).map_err(|error| explain(error, options))?;
    migrate(&mut db)?;
    grow_wal(&db, options.wal_bytes)
        .map_err(StoreError::database("growing the write-ahead log"))?;
    if let Some(pages) = options.database_pages_max {
        db.pragma_update(None, "max_page_count", pages)
            .map_err(StoreError::database("limiting the database"))?;
    }
    Ok(db)
}

fn make_private_file(path: &Path) -> Result<(), StoreError> {
    let mut open = OpenOptions::new();
    let made = open.write(true).create(true).truncate(false).mode(0o600).open(path);
    made.map(drop).map_err(StoreError::file(path, "the database cannot be made"))
}

fn take(db: &Connection, options: &Options) -> rusqlite::Result<()> {
    db.busy_timeout(std::time::Duration::ZERO)?;
    // Before the first access, so that the index of the write-ahead log lies in memory and is not
    // shared.
    db.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    db.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    let synchronous = match options.durability {
        // Commits are made durable by `sync`: waiting for each here would be waiting twice.
        Durability::Full => "NORMAL",
        Durability::Off => "OFF",
    };
    db.pragma_update(None, "synchronous", synchronous)?;
    // Checkpoints happen when nobody waits, see `writer`.
    db.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(()))?;
    db.pragma_update(None, "secure_delete", "FAST")?;
    db.pragma_update(None, "temp_store", "MEMORY")?;
    db.execute_batch("BEGIN EXCLUSIVE; COMMIT")
}

fn explain(error: rusqlite::Error, options: &Options) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            StoreError::AnotherWriter { directory: options.directory.clone() }
        }
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            StoreError::corrupt(None, "the database file is damaged")
        }
        _ => StoreError::database("opening the database")(error),
    }
}

fn migrate(db: &mut Connection) -> Result<(), StoreError> {
    let failed = || StoreError::database("reading the version of the database");
    let found: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(failed())?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    if found > known {
        return Err(StoreError::NewerSchema { found, known });
    }
    let done = usize::try_from(found).unwrap_or(0);
    for (version, migration) in (1_i64..).zip(MIGRATIONS).skip(done) {
        let step = || -> rusqlite::Result<()> {
            let transaction = db.unchecked_transaction()?;
            transaction.execute_batch(migration)?;
            transaction.pragma_update(None, "user_version", version)?;
            transaction.commit()
        };
        step().map_err(StoreError::database("migrating the database"))?;
    }
    Ok(())
}

/// Lets a transaction that is rolled back spill into the write-ahead log: the file keeps the size,
/// the database never sees the content.
pub(crate) fn grow_wal(db: &Connection, bytes: u32) -> rusqlite::Result<()> {
    db.pragma_update(None, "cache_size", 10)?;
    db.execute_batch("BEGIN")?;
    let grown = (0..bytes.div_ceil(ROOM_BYTES)).try_for_each(|part| {
        let insert = "INSERT INTO meta (name, value) VALUES ('room ' || ?1, zeroblob(?2))";
        db.execute(insert, [part, ROOM_BYTES]).map(drop)
    });
    let rolled_back = db.execute_batch("ROLLBACK");
    // A full disk has rolled back by itself, and is the reason to name.
    grown?;
    rolled_back?;
    // The default, in KiB.
    db.pragma_update(None, "cache_size", -4096)
}

/// What a fleet has besides: its nodes, and what their leases are about.
const FLEET: &str = "
-- Who writes here. `incarnation` tells a process from others of the name; `term` grows when another
-- node has finished what this one left open; `epoch` is the newest that it has taken up; `renewed`
-- is when its lease was, by the database's clock, and `lease` how long it is, in microseconds.
CREATE TABLE node (number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
                   origin TEXT NOT NULL UNIQUE, incarnation BIGINT NOT NULL,
                   term BIGINT NOT NULL, epoch BIGINT NOT NULL, renewed BIGINT NOT NULL,
                   lease BIGINT NOT NULL, under_way TEXT NOT NULL) WITH (fillfactor = 50);
-- Grows with every switch, bundle and erasure.
CREATE TABLE fleet (one BIGINT PRIMARY KEY, epoch BIGINT NOT NULL, erasures BIGINT NOT NULL);
INSERT INTO fleet (one, epoch, erasures) VALUES (1, 1, 0);
";

/// Who migrates a fleet's database: one after the other.
const MIGRATING: i64 = 0x6c6f_636b_6d69_6772;

/// Brings a fleet's database to the present version.
pub(crate) fn migrate_shared(session: &Session) -> Result<(), StoreError> {
    let failed = || StoreError::database::<DbError>("migrating the database");
    let begin = format!("BEGIN; SELECT pg_advisory_xact_lock({MIGRATING})");
    session.batch(begin).map_err(failed())?;
    let found = shared_version(session).map_err(failed())?;
    let steps = [
        in_postgres(V1),
        in_postgres(V2),
        FLEET.to_owned(),
        in_postgres(V3),
        in_postgres(V4_SHARDS),
        in_postgres(V5_EXPOSURE),
        in_postgres(V6_RISK),
        in_postgres(V7_WORDS),
        in_postgres(V8_RUNS),
        in_postgres(V9_MEMOS),
        in_postgres(V10_EVALUATIONS),
        in_postgres(V11_RUN_KEYS),
        in_postgres(V12_ANSWERS),
        in_postgres(V13_CANARIES),
        in_postgres(V14_USES),
    ];
    let known = i64::try_from(steps.len()).unwrap_or(i64::MAX);
    if found > known {
        session.roll_back();
        return Err(StoreError::NewerSchema { found, known });
    }
    for step in steps.into_iter().skip(usize::try_from(found).unwrap_or(0)) {
        session.batch(step).map_err(failed())?;
    }
    let set = "INSERT INTO meta (name, value) VALUES ('version', ?1)
               ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    session.execute(set, values![&known.to_be_bytes()]).map_err(failed())?;
    session.commit().map_err(failed())
}

fn shared_version(session: &Session) -> Result<i64, DbError> {
    use sqlx::Row;
    let there = session.row("SELECT to_regclass('meta') IS NOT NULL", &[])?;
    if !there.map(|row| row.try_get(0)).transpose()?.unwrap_or(false) {
        return Ok(0);
    }
    let row = session.row("SELECT value FROM meta WHERE name = 'version'", &[])?;
    let value: Option<Vec<u8>> = row.map(|row| row.try_get(0)).transpose()?;
    let bytes = value.as_deref().and_then(|value| value.try_into().ok());
    bytes.map(i64::from_be_bytes).ok_or(DbError::Column)
}

/// The same tables in PostgreSQL's words.
fn in_postgres(tables: &str) -> String {
    tables
        .replace(
            "INTEGER PRIMARY KEY AUTOINCREMENT",
            "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
        )
        .replace("INTEGER", "BIGINT")
        .replace("BLOB", "BYTEA")
        .replace("WITHOUT ROWID", "")
}
