//! What is read of documents that were found: with who may see them, from what was told and not
//! from what searches look at.

use super::audience::Told;
use super::draft::digest;
use super::filter::level_of;
use super::session::{Given, Session, column};
use super::{access, natural, whole};
use crate::corpus::{ChunkNumber, CorpusError, Found, Texts};
use crate::relation::Closure;
use crate::search::JOINED_BYTES_MAX;
use lockgate_types::Micros;
use lockgate_types::document::{Curation, DocumentFacts};
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
    // Whole characters, of which the last may go beyond the bound.
    let bytes = whole(JOINED_BYTES_MAX as u64).saturating_add(4);
    let query = "SELECT version, substring(text from 1 for $2::int) FROM body
        WHERE version = ANY($1)";
    let rows = session.rows(query, vec![Given::Ints(versions), Given::Int(bytes)])?;
    let beginnings = rows.iter().map(|row| {
        let bytes: Vec<u8> = column(row, 1)?;
        let mut text = match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(cut) => {
                let whole = cut.utf8_error().valid_up_to();
                let mut bytes = cut.into_bytes();
                bytes.truncate(whole);
                String::from_utf8(bytes).unwrap_or_default()
            }
        };
        text.truncate(text.floor_char_boundary(JOINED_BYTES_MAX));
        Ok((column(row, 0)?, text))
    });
    beginnings.collect()
}

/// Chunks without a vector of an embedder, of what is searched.
pub(super) fn unembedded(
    session: &mut Session,
    embedder: i64,
    most: usize,
) -> Result<Vec<(ChunkNumber, String)>, CorpusError> {
    let query = "SELECT c.number FROM chunk c
        WHERE NOT EXISTS (SELECT 1 FROM chunk_vector e WHERE e.chunk = c.number AND e.embedder = $1)
            AND EXISTS (SELECT 1 FROM valid a JOIN source s ON s.number = a.source
                JOIN snapshot n ON n.source = s.number AND n.state = 'published'
                    AND (n.is_pinned OR n.number = s.serving)
                WHERE a.version = c.version AND a.since <= n.number AND n.number < a.until)
        ORDER BY c.number LIMIT $2";
    let rows = session.rows(query, vec![Given::Int(embedder), Given::Int(whole(most as u64))])?;
    let numbers: Vec<i64> = rows.iter().map(|row| column(row, 0)).collect::<Result<_, _>>()?;
    let texts = texts(session, numbers)?;
    Ok(texts.into_iter().map(|(number, text)| (ChunkNumber(number), text.text)).collect())
}
