//! What is read of the corpus: documents with who may see them, texts, vectors, and what a draft
//! has.

use super::Embedded;
use super::write::serving_version;
use crate::corpus::{
    ChunkNumber, CorpusError, Document, Found, Had, OPEN, SourceRow, Tally, Texts,
};
use crate::relation::{self, Closure};
use lockgate_types::document::{Curation, DocumentFacts};
use lockgate_types::label::Confidentiality;
use lockgate_types::{Digest, Micros};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use std::collections::BTreeSet;

impl Embedded {
    pub(crate) fn read(
        &self,
        source: &str,
        snapshot: Option<u64>,
        id: &str,
    ) -> Result<Option<Document>, CorpusError> {
        let of = self.held.source(source)?;
        let Some(snapshot) = snapshot.or(of.serving) else { return Ok(None) };
        let found = self.held.read(|db| {
            let Some(version) = version_in(db, of.number, snapshot, id)? else { return Ok(None) };
            document(db, &of, version, snapshot)
        })?;
        Ok(found)
    }
}

fn document(
    db: &Connection,
    of: &SourceRow,
    version: i64,
    snapshot: u64,
) -> rusqlite::Result<Option<Document>> {
    let Some(found) = found(db, of, version)? else { return Ok(None) };
    let query = "SELECT text FROM body WHERE version = ?1";
    let text = db.prepare_cached(query)?.query_row([version], |row| row.get(0))?;
    let pieces = chunks(db, version)?.into_iter().map(|(_, span)| span).collect();
    Ok(Some(found.with(text, pieces, snapshot)))
}

/// The version that a snapshot has of a document, published or not.
fn version_in(
    db: &Connection,
    source: i64,
    snapshot: u64,
    id: &str,
) -> rusqlite::Result<Option<i64>> {
    let query = "SELECT version FROM drafted
                 WHERE source = ?1 AND snapshot = ?2 AND id = ?3 AND version IS NOT NULL
                 UNION ALL
                 SELECT v.number FROM version v JOIN valid ON valid.version = v.number
                 JOIN snapshot s ON s.source = v.source AND s.number = ?2
                 WHERE v.source = ?1 AND v.id = ?3 AND s.state = 'published'
                     AND valid.since <= ?2 AND ?2 < valid.until";
    let mut statement = db.prepare_cached(query)?;
    statement.query_row(params![source, snapshot, id], |row| row.get(0)).optional()
}

/// A version, with to whom it is shared now.
pub(crate) fn found(
    db: &Connection,
    of: &SourceRow,
    version: i64,
) -> rusqlite::Result<Option<Found>> {
    let query = "SELECT id, folders, kind, owner, curation, classification, tags, changed,
                     confirmed, title, author, made, link, ingested
                 FROM version WHERE number = ?1 AND source = ?2";
    let mut statement = db.prepare_cached(query)?;
    let row = |row: &Row<'_>| found_row(row, of);
    let Some(mut found) = statement.query_row([version, of.number], row).optional()? else {
        return Ok(None);
    };
    let (source, facts) = ((of.number, of.access), &mut found.facts);
    let closure = relation::closure(db, source, &facts.id, &facts.folders)?;
    let Closure { readers, denied } = closure;
    (facts.readers, facts.denied) = (readers, denied);
    Ok(Some(found))
}

fn found_row(row: &Row<'_>, of: &SourceRow) -> rusqlite::Result<Found> {
    let (curation, level): (String, String) = (row.get(4)?, row.get(5)?);
    let facts = DocumentFacts {
        id: row.get(0)?,
        source: of.name.clone(),
        tenant: of.tenant.clone(),
        folders: list(row.get(1)?),
        kind: row.get(2)?,
        owner: row.get(3)?,
        curation: match curation.as_str() {
            "curated" => Curation::Curated,
            "generated" => Curation::Generated,
            _ => Curation::Collected,
        },
        // What cannot be read is for those alone who are named.
        classification: Confidentiality::from_word(&level).unwrap_or(Confidentiality::Restricted),
        tags: list(row.get(6)?).into_iter().collect(),
        readers: None,
        denied: BTreeSet::new(),
        changed: Micros(row.get(7)?),
        confirmed: Micros(row.get(8)?),
    };
    Ok(Found {
        facts,
        title: row.get(9)?,
        author: row.get(10)?,
        made: row.get::<_, Option<i64>>(11)?.map(Micros),
        link: row.get(12)?,
        ingested: Micros(row.get(13)?),
    })
}

fn list(text: String) -> Vec<String> {
    serde_json::from_str(&text).unwrap_or_default()
}

/// The text of a version, for the index.
pub(crate) fn body(db: &Connection, version: i64) -> rusqlite::Result<String> {
    let query = "SELECT text FROM body WHERE version = ?1";
    db.prepare_cached(query)?.query_row([version], |row| row.get(0))
}

/// The chunks of a version: their numbers and spans, in order.
pub(super) fn chunks(db: &Connection, version: i64) -> rusqlite::Result<Vec<(i64, (u64, u64))>> {
    let query = "SELECT number, start, end FROM chunk WHERE version = ?1 ORDER BY number";
    let mut statement = db.prepare_cached(query)?;
    let row = |row: &Row<'_>| Ok((row.get(0)?, (row.get(1)?, row.get(2)?)));
    statement.query_map([version], row)?.collect()
}

/// A chunk's text.
pub(crate) fn text(db: &Connection, chunk: i64) -> rusqlite::Result<Option<Texts>> {
    let query = "SELECT start, end, hash,
                     substr(CAST(body.text AS BLOB), start + 1, end - start)
                 FROM chunk JOIN body USING (version) WHERE chunk.number = ?1";
    let mut statement = db.prepare_cached(query)?;
    let row = |row: &Row<'_>| {
        let text: Vec<u8> = row.get(3)?;
        Ok(Texts {
            span: (row.get(0)?, row.get(1)?),
            hash: Digest::from_bytes(row.get(2)?),
            // Cut on boundaries of characters when it was put.
            text: String::from_utf8(text).unwrap_or_default(),
        })
    };
    statement.query_row([chunk], row).optional()
}

/// A chunk's exact vector, of one embedder.
pub(crate) fn vector(
    db: &Connection,
    embedder: i64,
    chunk: i64,
) -> rusqlite::Result<Option<Vec<f32>>> {
    let query = "SELECT numbers FROM vector WHERE chunk = ?1 AND embedder = ?2";
    let mut statement = db.prepare_cached(query)?;
    let row = |row: &Row<'_>| {
        let (numbers, _) = row.get_ref(0)?.as_blob().unwrap_or_default().as_chunks::<4>();
        Ok(numbers.iter().map(|number| f32::from_le_bytes(*number)).collect())
    };
    statement.query_row([chunk, embedder], row).optional()
}

/// Chunks without a vector of an embedder, of what is in a published snapshot.
pub(super) fn unembedded(
    db: &Connection,
    embedder: i64,
    most: usize,
    ceiling: Confidentiality,
) -> rusqlite::Result<Vec<(ChunkNumber, String)>> {
    let query = "SELECT c.number FROM chunk c JOIN version of ON of.number = c.version
                 WHERE CASE of.classification WHEN 'public' THEN 0 WHEN 'internal' THEN 1
                     WHEN 'confidential' THEN 2 ELSE 3 END <= ?3
                 AND NOT EXISTS (SELECT 1 FROM vector v
                     WHERE v.chunk = c.number AND v.embedder = ?1)
                 AND EXISTS (SELECT 1 FROM valid JOIN source s ON s.number = valid.source
                     JOIN snapshot n ON n.source = s.number AND n.state = 'published'
                         AND (n.pinned OR n.number = s.serving)
                     WHERE valid.version = c.version AND valid.since <= n.number
                         AND n.number < valid.until)
                 ORDER BY c.number LIMIT ?2";
    let mut statement = db.prepare_cached(query)?;
    let numbers: Vec<i64> = statement
        .query_map(params![embedder, most, ceiling.level()], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let mut found = Vec::with_capacity(numbers.len());
    for number in numbers {
        let text = text(db, number)?;
        found.extend(text.map(|texts| (ChunkNumber(number), texts.text)));
    }
    Ok(found)
}

/// What is there of a document, for a draft.
pub(super) fn had(
    db: &Connection,
    source: i64,
    snapshot: u64,
    id: &str,
) -> rusqlite::Result<Option<Had>> {
    let query = "SELECT version FROM drafted WHERE source = ?1 AND snapshot = ?2 AND id = ?3";
    let mut statement = db.prepare_cached(query)?;
    let key = params![source, snapshot, id];
    let drafted: Option<Option<i64>> = statement.query_row(key, |row| row.get(0)).optional()?;
    let is_in_draft = drafted.is_some();
    let version = match drafted.flatten() {
        Some(version) => Some(version),
        None => serving_version(db, source, id)?,
    };
    let Some(version) = version else { return Ok(None) };
    let query = "SELECT fingerprint, changed FROM version WHERE number = ?1";
    let row = |row: &Row<'_>| {
        let fingerprint = Digest::from_bytes(row.get(0)?);
        Ok(Had { fingerprint, changed: Micros(row.get(1)?), is_in_draft })
    };
    db.prepare_cached(query)?.query_row([version], row).optional()
}

/// The ids of what serves, after one, in order.
pub(super) fn ids(
    db: &Connection,
    source: i64,
    after: Option<&str>,
    most: usize,
) -> rusqlite::Result<Vec<String>> {
    let query = "SELECT v.id FROM version v JOIN valid ON valid.version = v.number
                 WHERE v.source = ?1 AND (?2 IS NULL OR v.id > ?2) AND valid.until = ?3
                 ORDER BY v.id LIMIT ?4";
    let mut statement = db.prepare_cached(query)?;
    statement.query_map(params![source, after, OPEN, most], |row| row.get(0))?.collect()
}

/// How much a draft has, as if it were published now.
pub(super) fn tally(db: &Connection, source: i64, snapshot: u64) -> rusqlite::Result<Tally> {
    let query = "SELECT count(*) FILTER (WHERE d.version IS NOT NULL AND o.version IS NULL),
        count(*) FILTER (WHERE d.version IS NOT NULL AND o.version <> d.version),
        count(*) FILTER (WHERE d.version = o.version),
        count(*) FILTER (WHERE d.version IS NULL AND o.version IS NOT NULL),
        coalesce(sum(length(CAST(b.text AS BLOB))) FILTER (WHERE d.version IS NOT o.version), 0)
        FROM drafted d LEFT JOIN body b ON b.version = d.version
        LEFT JOIN (SELECT v.id, v.number AS version FROM version v
            JOIN valid ON valid.version = v.number
            WHERE v.source = ?1 AND valid.until = ?3) o ON o.id = d.id
        WHERE d.source = ?1 AND d.snapshot = ?2";
    let mut tally = db.query_row(query, params![source, snapshot, OPEN], |row| {
        Ok(Tally {
            added: row.get(0)?,
            changed: row.get(1)?,
            kept: row.get(2)?,
            removed: row.get(3)?,
            text_bytes: row.get(4)?,
        })
    })?;
    let unmentioned = "SELECT count(*), (SELECT listing = 'whole' FROM snapshot
            WHERE source = ?1 AND number = ?2)
        FROM version v JOIN valid ON valid.version = v.number
        WHERE v.source = ?1 AND valid.until = ?3 AND NOT EXISTS (SELECT 1 FROM drafted d
            WHERE d.source = ?1 AND d.snapshot = ?2 AND d.id = v.id)";
    let (count, is_whole): (u64, bool) =
        db.query_row(unmentioned, params![source, snapshot, OPEN], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    let unmentioned = if is_whole { &mut tally.removed } else { &mut tally.kept };
    *unmentioned = unmentioned.saturating_add(count);
    Ok(tally)
}
