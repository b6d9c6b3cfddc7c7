//! What is written: sources, permissions, versions of documents, vectors.
//!
//! Functions over a connection or a transaction; when that is committed is their callers' business.

use crate::corpus::{
    Access, ChunkNumber, CorpusError, Incoming, OPEN, Permissions, SOURCES_MAX, SourceOf,
    SourceRow, hash,
};
use crate::index::curation;
use crate::relation::{self, Layer, Revision, WAITING};
use lockgate_types::{Digest, Micros};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

/// A change of permissions: the place, what was told before, and what is now.
pub(super) type Change = (String, Permissions, Permissions);

/// The number of an embedder: vectors say whose they are.
pub(super) fn embedder(db: &Connection, name: &str) -> rusqlite::Result<i64> {
    db.execute("INSERT OR IGNORE INTO embedder (name) VALUES (?1)", [name])?;
    db.query_row("SELECT number FROM embedder WHERE name = ?1", [name], |row| row.get(0))
}

/// The source, which is written down if nobody knew it.
pub(super) fn source(db: &Connection, of: &SourceOf) -> Result<SourceRow, CorpusError> {
    let failed = || CorpusError::database("writing a source");
    let known = find_source(db, &of.name).map_err(failed())?;
    if let Some(known) = known {
        let is_same = known.tenant == of.tenant && known.access == of.access;
        let differs = || CorpusError::SourceDiffers { name: of.name.clone() };
        return if is_same { Ok(known) } else { Err(differs()) };
    }
    let count = "SELECT count(*) FROM source";
    let sources: usize = db.query_row(count, [], |row| row.get(0)).map_err(failed())?;
    if sources >= SOURCES_MAX {
        return Err(CorpusError::Full { what: "sources", most: SOURCES_MAX });
    }
    let insert = "INSERT INTO source (name, tenant, access, newest) VALUES (?1, ?2, ?3, 0)";
    db.execute(insert, params![of.name, of.tenant, word(of.access)]).map_err(failed())?;
    known_source(db, &of.name)
}

/// The source, which somebody has begun a draft of.
pub(super) fn known_source(db: &Connection, name: &str) -> Result<SourceRow, CorpusError> {
    let found = find_source(db, name).map_err(CorpusError::database("reading a source"))?;
    found.ok_or_else(|| CorpusError::NoSuchSource { name: name.to_owned() })
}

/// All sources.
pub(super) fn sources(db: &Connection) -> rusqlite::Result<Vec<SourceRow>> {
    let mut statement = db.prepare(&format!("{SOURCE} ORDER BY number"))?;
    statement.query_map([], source_row)?.collect()
}

const SOURCE: &str = "SELECT number, name, tenant, access, serving, newest FROM source";

/// The source, if anybody knows it.
pub(super) fn find_source(db: &Connection, name: &str) -> rusqlite::Result<Option<SourceRow>> {
    let mut statement = db.prepare_cached(&format!("{SOURCE} WHERE name = ?1"))?;
    statement.query_row([name], source_row).optional()
}

fn source_row(row: &Row<'_>) -> rusqlite::Result<SourceRow> {
    let access: String = row.get(3)?;
    Ok(SourceRow {
        number: row.get(0)?,
        name: row.get(1)?,
        tenant: row.get(2)?,
        // What is neither is taken for what shares less.
        access: if access == "declared" { Access::Declared } else { Access::Synced },
        serving: row.get(4)?,
        newest: row.get(5)?,
    })
}

const fn word(access: Access) -> &'static str {
    match access {
        Access::Synced => "synced",
        Access::Declared => "declared",
    }
}

/// Writes permissions. Gives back what they were, and how often anything has changed.
pub(super) fn tell(
    db: &Connection,
    source: &SourceRow,
    layer: Layer,
    changes: &[(String, Permissions)],
) -> rusqlite::Result<(Revision, Vec<Change>)> {
    let mut made = Vec::with_capacity(changes.len());
    for (place, new) in changes {
        let old = relation::told(db, source.number, place, layer.number())?;
        let waits = layer == Layer::Synced
            && relation::told(db, source.number, place, WAITING)? != Permissions::Unknown;
        if old == *new && !waits {
            continue;
        }
        relation::tell(db, source.number, place, layer.number(), new)?;
        if layer == Layer::Synced {
            // What was said of it before does not come after.
            relation::tell(db, source.number, place, WAITING, &Permissions::Unknown)?;
        }
        made.push((place.clone(), old, new.clone()));
    }
    let revision =
        if made.is_empty() { relation::revision(db)? } else { relation::next_revision(db)? };
    Ok((revision, made))
}

/// Writes that a draft has a document, as this. What the draft had of it goes.
pub(super) fn put(
    db: &Connection,
    (source, snapshot): (&SourceRow, u64),
    incoming: &Incoming,
    vectors: &[Option<Vec<f32>>],
    (embedder, now): (i64, Micros),
) -> rusqlite::Result<()> {
    let id = &incoming.facts.id;
    forget_drafted(db, source.number, snapshot, id)?;
    let hash = hash(incoming);
    let same = "SELECT v.number FROM version v JOIN valid ON valid.version = v.number
                WHERE v.source = ?1 AND v.id = ?2 AND v.hash = ?3 AND valid.until = ?4";
    let mut statement = db.prepare_cached(same)?;
    let same = statement
        .query_row(params![source.number, id, hash.as_bytes(), OPEN], |row| row.get::<_, i64>(0));
    let version = match same.optional()? {
        Some(version) => {
            let update = "UPDATE version SET fingerprint = ?2 WHERE number = ?1";
            let fingerprint = incoming.fingerprint;
            db.prepare_cached(update)?.execute(params![version, fingerprint.as_bytes()])?;
            version
        }
        None => write_version(db, source.number, incoming, hash, vectors, (embedder, now))?,
    };
    draft(db, (source.number, snapshot), id, Some(version), Some(incoming.facts.confirmed))
}

/// Writes that a draft has a document as it was: as the draft has it already, which an earlier run
/// may have written, else as it serves. `false`: it was not there.
pub(super) fn keep(
    db: &Connection,
    (source, snapshot): (&SourceRow, u64),
    id: &str,
    confirmed: Micros,
) -> rusqlite::Result<bool> {
    let update = "UPDATE drafted SET confirmed = ?4
                  WHERE source = ?1 AND snapshot = ?2 AND id = ?3 AND version IS NOT NULL";
    let given = params![source.number, snapshot, id, confirmed.0];
    if db.prepare_cached(update)?.execute(given)? > 0 {
        return Ok(true);
    }
    let Some(version) = serving_version(db, source.number, id)? else { return Ok(false) };
    forget_drafted(db, source.number, snapshot, id)?;
    draft(db, (source.number, snapshot), id, Some(version), Some(confirmed))?;
    Ok(true)
}

/// Writes that a document is gone in a draft.
pub(super) fn remove(
    db: &Connection,
    (source, snapshot): (&SourceRow, u64),
    id: &str,
) -> rusqlite::Result<()> {
    forget_drafted(db, source.number, snapshot, id)?;
    draft(db, (source.number, snapshot), id, None, None)
}

/// The version that the newest published snapshot has of a document.
pub(super) fn serving_version(
    db: &Connection,
    source: i64,
    id: &str,
) -> rusqlite::Result<Option<i64>> {
    let query = "SELECT v.number FROM version v JOIN valid ON valid.version = v.number
                 WHERE v.source = ?1 AND v.id = ?2 AND valid.until = ?3";
    let mut statement = db.prepare_cached(query)?;
    statement.query_row(params![source, id, OPEN], |row| row.get(0)).optional()
}

/// Deletes a version that nothing refers to any more, with its chunks.
pub(super) fn delete_version(db: &Connection, version: i64) -> rusqlite::Result<()> {
    for delete in [
        "DELETE FROM vector WHERE chunk IN (SELECT number FROM chunk WHERE version = ?1)",
        "DELETE FROM chunk WHERE version = ?1",
        "DELETE FROM body WHERE version = ?1",
        "DELETE FROM version WHERE number = ?1",
    ] {
        db.prepare_cached(delete)?.execute([version])?;
    }
    Ok(())
}

/// Writes vectors of chunks that are still there.
pub(super) fn vectors(
    db: &Connection,
    embedder: i64,
    vectors: &[(ChunkNumber, Vec<f32>)],
) -> rusqlite::Result<()> {
    let transaction = db.unchecked_transaction()?;
    let insert = "INSERT OR REPLACE INTO vector (chunk, embedder, numbers)
                  SELECT number, ?2, ?3 FROM chunk WHERE number = ?1";
    for (chunk, vector) in vectors {
        let mut statement = transaction.prepare_cached(insert)?;
        statement.execute(params![chunk.0, embedder, bytes(vector)])?;
    }
    transaction.commit()
}

fn draft(
    db: &Connection,
    (source, snapshot): (i64, u64),
    id: &str,
    version: Option<i64>,
    confirmed: Option<Micros>,
) -> rusqlite::Result<()> {
    let insert = "INSERT INTO drafted (source, snapshot, id, version, confirmed)
                  VALUES (?1, ?2, ?3, ?4, ?5)";
    let confirmed = confirmed.map(|time| time.0);
    db.prepare_cached(insert)?.execute(params![source, snapshot, id, version, confirmed])?;
    Ok(())
}

fn forget_drafted(db: &Connection, source: i64, snapshot: u64, id: &str) -> rusqlite::Result<()> {
    let query = "SELECT version FROM drafted WHERE source = ?1 AND snapshot = ?2 AND id = ?3";
    let mut statement = db.prepare_cached(query)?;
    let key = params![source, snapshot, id];
    let version: Option<Option<i64>> = statement.query_row(key, |row| row.get(0)).optional()?;
    let delete = "DELETE FROM drafted WHERE source = ?1 AND snapshot = ?2 AND id = ?3";
    db.prepare_cached(delete)?.execute(key)?;
    let Some(Some(version)) = version else { return Ok(()) };
    let is_used = "SELECT EXISTS (SELECT 1 FROM valid WHERE version = ?1)
                   OR EXISTS (SELECT 1 FROM drafted WHERE version = ?1)";
    let mut statement = db.prepare_cached(is_used)?;
    match statement.query_row([version], |row| row.get(0))? {
        true => Ok(()),
        false => delete_version(db, version),
    }
}

fn write_version(
    db: &Connection,
    source: i64,
    incoming: &Incoming,
    hash: Digest,
    vectors: &[Option<Vec<f32>>],
    (embedder, now): (i64, Micros),
) -> rusqlite::Result<i64> {
    let facts = &incoming.facts;
    let insert = "INSERT INTO version (source, id, hash, fingerprint, folders, kind, owner,
                      curation, classification, tags, changed, confirmed, title, author, made,
                      link, ingested)
                  VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16,
                      ?17)";
    let list = |words: Vec<&String>| serde_json::Value::from_iter(words.into_iter().cloned());
    db.prepare_cached(insert)?.execute(params![
        source,
        facts.id,
        hash.as_bytes(),
        incoming.fingerprint.as_bytes(),
        list(facts.folders.iter().collect()).to_string(),
        facts.kind,
        facts.owner,
        curation(facts.curation),
        facts.classification.as_str(),
        list(facts.tags.iter().collect()).to_string(),
        facts.changed.0,
        facts.confirmed.0,
        incoming.title,
        incoming.author,
        incoming.made.map(|time| time.0),
        incoming.link,
        now.0,
    ])?;
    let version = db.last_insert_rowid();
    let insert = "INSERT INTO body (version, text) VALUES (?1, ?2)";
    db.prepare_cached(insert)?.execute(params![version, incoming.text])?;
    for ((from, to), vector) in incoming.pieces.iter().zip(vectors) {
        let text = incoming.text.get(*from..*to).unwrap_or_default();
        let insert = "INSERT INTO chunk (version, start, end, hash) VALUES (?1, ?2, ?3, ?4)";
        let hash = Digest::of(text.as_bytes());
        db.prepare_cached(insert)?.execute(params![version, from, to, hash.as_bytes()])?;
        let chunk = db.last_insert_rowid();
        if let Some(vector) = vector {
            let insert = "INSERT INTO vector (chunk, embedder, numbers) VALUES (?1, ?2, ?3)";
            db.prepare_cached(insert)?.execute(params![chunk, embedder, bytes(vector)])?;
        }
    }
    Ok(version)
}

fn bytes(vector: &[f32]) -> Vec<u8> {
    vector.iter().flat_map(|number| number.to_le_bytes()).collect()
}
