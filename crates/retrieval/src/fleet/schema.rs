//! The tables of a fleet's corpus, in a schema of their own beside the gates' record.
//!
//! They say what the file of the embedded corpus says, and three things more, that searches need
//! and that are made from the rest: words and vectors of each chunk, and to whom each *audience*
//! is shared. An audience is what documents have in common of which the same is told: their
//! folders, and what was said of themselves.

use super::session::{Given, Session, changing, column};
use crate::corpus::CorpusError;

/// The schema.
pub(super) const SCHEMA: &str = "lockgate_retrieval";
/// The newest version of the tables.
const NEWEST: i64 = 1;

const V1: &str = "
CREATE SCHEMA IF NOT EXISTS lockgate_retrieval;
CREATE TABLE meta (name text PRIMARY KEY, value bigint NOT NULL);
-- Nothing is in it: questions share its lock, changes of permissions have it alone.
CREATE TABLE standing ();
CREATE TABLE embedder (number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
                       name text NOT NULL UNIQUE);
-- `told`: how often it was told who may see what, other than by drafts.
CREATE TABLE source (number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
                     name text NOT NULL UNIQUE, tenant text NOT NULL, is_synced boolean NOT NULL,
                     serving bigint, newest bigint NOT NULL, told bigint NOT NULL DEFAULT 0);
CREATE TABLE snapshot (source bigint NOT NULL, number bigint NOT NULL, name text,
                       state text NOT NULL, is_whole boolean NOT NULL,
                       is_pinned boolean NOT NULL, begun bigint NOT NULL,
                       ended bigint, report text NOT NULL, documents bigint NOT NULL,
                       chunks bigint NOT NULL, PRIMARY KEY (source, number));
CREATE UNIQUE INDEX snapshot_name ON snapshot (source, name) WHERE name IS NOT NULL;
CREATE UNIQUE INDEX snapshot_draft ON snapshot (source) WHERE state = 'draft';
-- The run of a source, by its name, that is under way or was last. `ended` NULL: it is under way if
-- somebody has its lock, and left by whoever had it if not.
CREATE TABLE run (source text PRIMARY KEY, begun bigint NOT NULL, ended bigint,
                  failures bigint NOT NULL, declaration bytea);
-- Permissions of folders and documents, as they were told last. `layer`: 0 by the source, 1 by
-- people, 2 by the draft under way, which waits for its publication.
CREATE TABLE told (source bigint NOT NULL, place text NOT NULL, layer bigint NOT NULL,
                   is_alone boolean NOT NULL, shares text[] NOT NULL, denials text[] NOT NULL,
                   PRIMARY KEY (source, place, layer));
-- `own`: 0 nothing was told of the documents themselves, 1 that they have nothing of their own,
-- 2 something, and there is one document: `id`.
CREATE TABLE audience (number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, key bytea NOT NULL
                       UNIQUE, source bigint NOT NULL, folders text[] NOT NULL,
                       own smallint NOT NULL, id text NOT NULL, is_known boolean NOT NULL);
CREATE INDEX audience_source ON audience (source);
CREATE INDEX audience_own ON audience (source, id) WHERE own = 2;
CREATE TABLE lies (place bytea NOT NULL, audience bigint NOT NULL, PRIMARY KEY (place, audience));
CREATE INDEX lies_audience ON lies (audience);
-- Who is heard of for an audience. Of one that is not known nobody is, unless kept from it.
CREATE TABLE heard (reader text NOT NULL, denies boolean NOT NULL, audience bigint NOT NULL,
                    PRIMARY KEY (reader, denies, audience));
CREATE INDEX heard_audience ON heard (audience);
CREATE SEQUENCE version_number;
CREATE TABLE version (number bigint PRIMARY KEY, source bigint NOT NULL, id text NOT NULL,
                      audience bigint NOT NULL, hash bytea NOT NULL, fingerprint bytea NOT NULL,
                      folders text[] NOT NULL, kind text NOT NULL, owner text,
                      curation text NOT NULL, level smallint NOT NULL, tags text[] NOT NULL,
                      changed bigint NOT NULL, confirmed bigint NOT NULL, title text NOT NULL,
                      author text, made bigint, link text, ingested bigint NOT NULL,
                      chunks bigint NOT NULL, words bigint NOT NULL);
CREATE INDEX version_id ON version (source, id);
CREATE INDEX version_audience ON version (audience);
-- Apart, and not compressed: pieces of it are read.
CREATE TABLE body (version bigint PRIMARY KEY, text bytea NOT NULL);
ALTER TABLE body ALTER COLUMN text SET STORAGE EXTERNAL;
CREATE SEQUENCE chunk_number;
-- `name`: what comes first of what is equally good. `words`: each as often as it is there.
CREATE TABLE chunk (number bigint PRIMARY KEY, version bigint NOT NULL, name bytea NOT NULL,
                    start bigint NOT NULL, stop bigint NOT NULL, hash bytea NOT NULL,
                    length bigint NOT NULL, words tsvector NOT NULL);
CREATE INDEX chunk_version ON chunk (version);
CREATE INDEX chunk_words ON chunk USING gin (words);
-- A version is in the published snapshots from `since` on, before `until`.
CREATE TABLE valid (version bigint NOT NULL, source bigint NOT NULL, since bigint NOT NULL,
                    until bigint NOT NULL, PRIMARY KEY (version, since));
CREATE INDEX valid_source ON valid (source, until);
-- What a draft says of a document. `version` NULL: it is gone.
CREATE TABLE drafted (source bigint NOT NULL, snapshot bigint NOT NULL, id text NOT NULL,
                      version bigint, confirmed bigint, PRIMARY KEY (source, snapshot, id));
CREATE INDEX drafted_version ON drafted (version) WHERE version IS NOT NULL;
INSERT INTO meta (name, value) VALUES ('revision', 1), ('schema', 1);
";

/// There is no index of vectors: they are compared with each that may be seen.
const VECTORS: &str = "
CREATE TABLE IF NOT EXISTS chunk_vector (chunk bigint PRIMARY KEY, version bigint NOT NULL,
                                   embedder bigint NOT NULL, name bytea NOT NULL,
                                   numbers vector NOT NULL);
CREATE INDEX IF NOT EXISTS chunk_vector_version ON chunk_vector (version)";

/// Makes what is missing. Gives back whether there are vectors.
pub(super) fn prepare(session: &mut Session) -> Result<bool, CorpusError> {
    session.batch(&changing())?;
    let there = session.row("SELECT to_regclass('lockgate_retrieval.meta') IS NOT NULL", vec![])?;
    if !there.map_or(Ok(false), |row| column(&row, 0))? {
        session.batch(V1)?;
    }
    let found = session.row("SELECT value FROM meta WHERE name = 'schema'", vec![])?;
    let found: i64 = found.map_or(Ok(0), |row| column(&row, 0))?;
    if found > NEWEST {
        return Err(CorpusError::NewerSchema { found, known: NEWEST });
    }
    session.batch("COMMIT")?;
    prepare_vectors(session)
}

/// pgvector is used if it is there, and installed if that is possible. Otherwise there are words.
fn prepare_vectors(session: &mut Session) -> Result<bool, CorpusError> {
    let there = "SELECT EXISTS (SELECT 1 FROM pg_extension WHERE extname = 'vector'),
                     EXISTS (SELECT 1 FROM pg_available_extensions WHERE name = 'vector')";
    let row = session.row(there, vec![])?;
    let (is_there, may_be) = row.map_or(Ok((false, false)), |row| {
        Ok::<_, CorpusError>((column(&row, 0)?, column(&row, 1)?))
    })?;
    if !is_there {
        let install = "CREATE EXTENSION IF NOT EXISTS vector SCHEMA lockgate_retrieval";
        // Who may not install it searches by words.
        if !may_be || session.change(|session| session.batch(install)).is_err() {
            return Ok(false);
        }
    }
    session.find_vectors()?;
    let made = session.row("SELECT to_regclass('chunk_vector') IS NOT NULL", vec![])?;
    if !made.map_or(Ok(false), |row| column(&row, 0))? {
        session.change(|session| session.batch(VECTORS))?;
    }
    Ok(true)
}

/// The number of an embedder: vectors say whose they are.
pub(super) fn embedder(session: &mut Session, name: &str) -> Result<i64, CorpusError> {
    let given = || vec![Given::Text(name.to_owned())];
    let insert = "INSERT INTO embedder (name) VALUES ($1) ON CONFLICT DO NOTHING";
    session.execute(insert, given())?;
    let row = session.row("SELECT number FROM embedder WHERE name = $1", given())?;
    row.map_or(Ok(0), |row| column(&row, 0))
}
