//! What is read of documents: with who may see them, from what was told and not from what searches
//! look at.

use super::audience::Told;
use super::filter::{level_number, level_of};
use super::session::{Given, Session, column};
use super::{FleetCorpus, access, known_source, natural, whole};
use crate::corpus::{ChunkNumber, CorpusError, Document, Found, Had, OPEN, Tally, Texts, can_be};
use crate::cut::apart::{AHEAD_BYTES, beginning};
use crate::relation::Closure;
use crate::search::JOINED_BYTES_MAX;
use lockgate_types::document::{Curation, DocumentFacts};
use lockgate_types::label::Confidentiality;
use lockgate_types::{Digest, Micros};
use std::collections::{BTreeMap, BTreeSet};

/// These versions, without their texts.
pub(super) fn found(
    session: &mut Session,
    versions: Vec<i64>,
) -> Result<BTreeMap<i64, Found>, CorpusError> {
    let query = "SELECT v.number, s.number, s.is_synced, s.name, s.tenant, v.id, v.folders, v.kind,
            v.owner, v.curation, v.level::bigint, v.tags, v.changed, v.confirmed, v.title,
            v.author, v.made, v.link, v.ingested
        FROM version v JOIN source s ON s.number = v.source WHERE v.number = ANY($1)";
    let rows = session.rows(query, vec![Given::Ints(versions)])?;
    let (mut all, mut places) = (Vec::with_capacity(rows.len()), BTreeSet::new());
    for row in &rows {
        let source: i64 = column(row, 1)?;
        let facts = facts(row)?;
        places.insert((source, facts.id.clone()));
        places.extend(facts.folders.iter().map(|folder| (source, folder.clone())));
        let found = Found {
            facts,
            title: column(row, 14)?,
            author: column(row, 15)?,
            made: column::<Option<i64>>(row, 16)?.map(Micros),
            link: column(row, 17)?,
            ingested: Micros(column(row, 18)?),
        };
        all.push((column(row, 0)?, (source, access(column(row, 2)?)), found));
    }
    let told = Told::read(session, places)?;
    let closed = |(version, source, mut found): (i64, _, Found)| {
        let facts = &mut found.facts;
        let Closure { readers, denied } = told.closure(source, &facts.id, &facts.folders);
        (facts.readers, facts.denied) = (readers, denied);
        (version, found)
    };
    Ok(all.into_iter().map(closed).collect())
}

fn facts(row: &sqlx::postgres::PgRow) -> Result<DocumentFacts, CorpusError> {
    let curation: String = column(row, 9)?;
    Ok(DocumentFacts {
        source: column(row, 3)?,
        tenant: column(row, 4)?,
        id: column(row, 5)?,
        folders: column(row, 6)?,
        kind: column(row, 7)?,
        owner: column(row, 8)?,
        curation: Curation::from_word(&curation).unwrap_or(Curation::Collected),
        classification: level_of(column(row, 10)?),
        tags: column::<Vec<String>>(row, 11)?.into_iter().collect(),
        readers: None,
        denied: BTreeSet::new(),
        changed: Micros(column(row, 12)?),
        confirmed: Micros(column(row, 13)?),
    })
}

/// The texts of these chunks, with where they stand.
pub(super) fn texts(
    session: &mut Session,
    chunks: Vec<i64>,
) -> Result<BTreeMap<i64, Texts>, CorpusError> {
    let query = "SELECT c.number, c.start, c.stop, c.hash,
            substring(b.text from c.start::int + 1 for (c.stop - c.start)::int)
        FROM chunk c JOIN body b ON b.version = c.version WHERE c.number = ANY($1)";
    let rows = session.rows(query, vec![Given::Ints(chunks)])?;
    let texts = rows.iter().map(|row| {
        let text = Texts {
            span: (natural(column(row, 1)?), natural(column(row, 2)?)),
            hash: digest(column(row, 3)?),
            // Cut on boundaries of characters when it was put.
            text: String::from_utf8(column(row, 4)?).unwrap_or_default(),
        };
        Ok((column(row, 0)?, text))
    });
    texts.collect()
}

/// The beginnings of the texts of these versions, as much as is joined.
pub(super) fn beginnings(
    session: &mut Session,
    versions: Vec<i64>,
) -> Result<BTreeMap<i64, String>, CorpusError> {
    // And what follows, by which it is known where they may end; whole characters.
    let bytes = whole((JOINED_BYTES_MAX + AHEAD_BYTES) as u64).saturating_add(4);
    let query = "SELECT version, substring(text from 1 for $2::int) FROM body
        WHERE version = ANY($1)";
    let rows = session.rows(query, vec![Given::Ints(versions), Given::Int(bytes)])?;
    let beginnings = rows.iter().map(|row| {
        let bytes: Vec<u8> = column(row, 1)?;
        let text = match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(cut) => {
                let whole = cut.utf8_error().valid_up_to();
                let mut bytes = cut.into_bytes();
                bytes.truncate(whole);
                String::from_utf8(bytes).unwrap_or_default()
            }
        };
        Ok((column(row, 0)?, beginning(text, JOINED_BYTES_MAX)))
    });
    beginnings.collect()
}

/// Chunks without a vector of an embedder, of what is searched and not classified higher.
pub(super) fn unembedded(
    session: &mut Session,
    embedder: i64,
    most: usize,
    ceiling: Confidentiality,
) -> Result<Vec<(ChunkNumber, String)>, CorpusError> {
    let query = "SELECT c.number FROM chunk c JOIN version v ON v.number = c.version
        WHERE v.level <= $3
            AND NOT EXISTS (SELECT 1 FROM chunk_vector e
                WHERE e.chunk = c.number AND e.embedder = $1)
            AND EXISTS (SELECT 1 FROM valid a JOIN source s ON s.number = a.source
                JOIN snapshot n ON n.source = s.number AND n.state = 'published'
                    AND (n.is_pinned OR n.number = s.serving)
                WHERE a.version = c.version AND a.since <= n.number AND n.number < a.until)
        ORDER BY c.number LIMIT $2";
    let given = [embedder, whole(most as u64), level_number(ceiling)].map(Given::Int);
    let rows = session.rows(query, given.into())?;
    let numbers: Vec<i64> = rows.iter().map(|row| column(row, 0)).collect::<Result<_, _>>()?;
    let texts = texts(session, numbers)?;
    Ok(texts.into_iter().map(|(number, text)| (ChunkNumber(number), text.text)).collect())
}

impl FleetCorpus {
    pub(crate) fn read(
        &self,
        source: &str,
        snapshot: Option<u64>,
        id: &str,
    ) -> Result<Option<Document>, CorpusError> {
        self.held.sessions.search(|session| {
            let of = known_source(session, source)?;
            let Some(snapshot) = snapshot.or(of.serving) else { return Ok(None) };
            let Some(version) = version_in(session, of.number, snapshot, id)? else {
                return Ok(None);
            };
            document(session, version, snapshot)
        })
    }
}

/// The version that a snapshot has of a document, published or not.
fn version_in(
    session: &mut Session,
    source: i64,
    snapshot: u64,
    id: &str,
) -> Result<Option<i64>, CorpusError> {
    if !can_be(id) {
        return Ok(None);
    }
    let query = "SELECT version FROM drafted
            WHERE source = $1 AND snapshot = $2 AND id = $3 AND version IS NOT NULL
        UNION ALL SELECT v.number FROM version v JOIN valid a ON a.version = v.number
            JOIN snapshot n ON n.source = v.source AND n.number = $2
            WHERE v.source = $1 AND v.id = $3 AND n.state = 'published'
                AND a.since <= $2 AND $2 < a.until";
    let given = vec![Given::Int(source), Given::Int(whole(snapshot)), Given::text(id)];
    session.row(query, given)?.map(|row| column(&row, 0)).transpose()
}

fn document(
    session: &mut Session,
    version: i64,
    snapshot: u64,
) -> Result<Option<Document>, CorpusError> {
    let Some(found) = found(session, vec![version])?.remove(&version) else { return Ok(None) };
    let query = "SELECT text FROM body WHERE version = $1";
    let missing = CorpusError::Damaged { what: "the text of a document is missing" };
    let row = session.row(query, vec![Given::Int(version)])?.ok_or(missing)?;
    let text = String::from_utf8(column(&row, 0)?).unwrap_or_default();
    let query = "SELECT start, stop FROM chunk WHERE version = $1 ORDER BY number";
    let rows = session.rows(query, vec![Given::Int(version)])?;
    let piece = |row| Ok((natural(column(row, 0)?), natural(column(row, 1)?)));
    let pieces = rows.iter().map(piece).collect::<Result<_, CorpusError>>()?;
    Ok(Some(found.with(text, pieces, snapshot)))
}

/// What is there of a document, for a draft.
pub(super) fn had(
    session: &mut Session,
    (source, snapshot): (i64, u64),
    id: &str,
) -> Result<Option<Had>, CorpusError> {
    if !can_be(id) {
        return Ok(None);
    }
    let query = "SELECT v.fingerprint, v.changed, d.id IS NOT NULL
        FROM (SELECT 1) one
        LEFT JOIN drafted d ON d.source = $1 AND d.snapshot = $2 AND d.id = $3
        JOIN version v ON v.number = coalesce(d.version, (SELECT o.number FROM version o
            JOIN valid a ON a.version = o.number AND a.until = $4
            WHERE o.source = $1 AND o.id = $3))";
    let (of, snapshot) = (Given::Int(source), Given::Int(whole(snapshot)));
    let row = session.row(query, vec![of, snapshot, Given::text(id), Given::Int(OPEN)])?;
    let Some(row) = row else { return Ok(None) };
    let (fingerprint, changed) = (digest(column(&row, 0)?), Micros(column(&row, 1)?));
    Ok(Some(Had { fingerprint, changed, is_in_draft: column(&row, 2)? }))
}

/// The ids of what serves, after one, in order of their bytes.
pub(super) fn ids(
    session: &mut Session,
    source: i64,
    after: Option<&str>,
    most: usize,
) -> Result<Vec<String>, CorpusError> {
    let query = "SELECT v.id FROM version v JOIN valid a ON a.version = v.number
        WHERE v.source = $1 AND a.until = $2 AND ($3::text IS NULL OR v.id COLLATE \"C\" > $3)
        ORDER BY v.id COLLATE \"C\" LIMIT $4";
    let after = Given::MaybeText(after.map(|after| after.replace('\0', "")));
    let (of, most) = (Given::Int(source), Given::Int(whole(most as u64)));
    let rows = session.rows(query, vec![of, Given::Int(OPEN), after, most])?;
    rows.iter().map(|row| column(row, 0)).collect()
}

/// How much a draft has, as if it were published now.
pub(super) fn tally(
    session: &mut Session,
    source: i64,
    snapshot: u64,
) -> Result<Tally, CorpusError> {
    let query = "WITH o AS (SELECT v.id, v.number AS version FROM version v
            JOIN valid a ON a.version = v.number WHERE v.source = $1 AND a.until = $3),
        said AS (SELECT
            count(*) FILTER (WHERE d.version IS NOT NULL AND o.version IS NULL) AS added,
            count(*) FILTER (WHERE d.version <> o.version) AS changed,
            count(*) FILTER (WHERE d.version = o.version) AS kept,
            count(*) FILTER (WHERE d.version IS NULL AND o.version IS NOT NULL) AS removed,
            coalesce(sum(octet_length(b.text))
                FILTER (WHERE d.version IS DISTINCT FROM o.version), 0)::bigint AS bytes
            FROM drafted d LEFT JOIN body b ON b.version = d.version LEFT JOIN o ON o.id = d.id
            WHERE d.source = $1 AND d.snapshot = $2)
        SELECT said.*, (SELECT count(*) FROM o WHERE NOT EXISTS (SELECT 1 FROM drafted d
                WHERE d.source = $1 AND d.snapshot = $2 AND d.id = o.id)),
            coalesce((SELECT is_whole FROM snapshot WHERE source = $1 AND number = $2), false)
        FROM said";
    let given = [source, whole(snapshot), OPEN].map(Given::Int);
    let Some(row) = session.row(query, given.into())? else { return Ok(Tally::default()) };
    let count = |at| column::<i64>(&row, at).map(natural);
    let mut tally = Tally {
        added: count(0)?,
        changed: count(1)?,
        kept: count(2)?,
        removed: count(3)?,
        text_bytes: count(4)?,
    };
    let is_whole: bool = column(&row, 6)?;
    let unmentioned = if is_whole { &mut tally.removed } else { &mut tally.kept };
    *unmentioned = unmentioned.saturating_add(count(5)?);
    Ok(tally)
}

/// A digest that was written.
pub(super) fn digest(bytes: Vec<u8>) -> Digest {
    Digest::from_bytes(<[u8; 32]>::try_from(bytes).unwrap_or_default())
}
