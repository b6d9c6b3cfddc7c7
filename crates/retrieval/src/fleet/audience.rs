//! To whom documents are shared, from what was told of places: the definition ([`Told`]), and what
//! searches look at (audiences), which is made from it in the same transaction.

use super::filter::{reader_of, reader_text};
use super::session::{Given, Session, column};
use crate::corpus::{Access, CorpusError, Permissions, SourceRow};
use crate::index::key::Key;
use crate::relation::{Closure, Layer, Revision, closure_of, parts};
use lockgate_types::Digest;
use sqlx::postgres::PgRow;
use std::collections::{BTreeMap, BTreeSet};

/// Audiences that are looked at at once.
const AUDIENCES_AT_ONCE_MAX: usize = 1000;

/// What was told of places of sources, by layer. What is not here is not known.
pub(super) struct Told(BTreeMap<(i64, String), BTreeMap<i64, Permissions>>);

impl Told {
    /// Reads what was told of these.
    pub(super) fn read(
        session: &mut Session,
        places: BTreeSet<(i64, String)>,
    ) -> Result<Self, CorpusError> {
        let (sources, places) = places.into_iter().unzip();
        let query = "SELECT t.source, t.place, t.layer, t.is_alone, t.shares, t.denials
            FROM unnest($1::bigint[], $2::text[]) AS p(source, place)
            JOIN told t ON t.source = p.source AND t.place = p.place";
        let mut all: BTreeMap<(i64, String), BTreeMap<i64, Permissions>> = BTreeMap::new();
        for row in session.rows(query, vec![Given::Ints(sources), Given::Texts(places)])? {
            let place = (column(&row, 0)?, column(&row, 1)?);
            all.entry(place).or_default().insert(column(&row, 2)?, permissions_of(&row, 3)?);
        }
        Ok(Self(all))
    }

    pub(super) fn of(&self, source: i64, place: &str, layer: i64) -> Permissions {
        let told = self.0.get(&(source, place.to_owned()));
        told.and_then(|layers| layers.get(&layer)).cloned().unwrap_or(Permissions::Unknown)
    }

    /// To whom a document is shared, folder by folder.
    pub(super) fn closure(
        &self,
        (source, access): (i64, Access),
        id: &str,
        folders: &[String],
    ) -> Closure {
        self.closure_with(source, access, (2, id), folders)
    }

    fn closure_with(
        &self,
        source: i64,
        access: Access,
        (own, id): (i64, &str),
        folders: &[String],
    ) -> Closure {
        let mut is_own = true;
        let closed = closure_of(access, id, folders, |place, layer| {
            let told = match (is_own, own, layer) {
                (true, 0, _) => Permissions::Unknown,
                (true, 1, Layer::Declared) => Permissions::Unknown,
                (true, 1, Layer::Synced) => Permissions::none(),
                _ => self.of(source, place, layer.number()),
            };
            // Of each place what people say is asked for first.
            is_own &= layer == Layer::Declared;
            Ok::<_, std::convert::Infallible>(told)
        });
        match closed {
            Ok(closure) => closure,
            Err(never) => match never {},
        }
    }

    /// What documents have in common of which no more was told: see [`super::schema`].
    fn own(&self, source: i64, id: &str) -> i64 {
        let declared = self.of(source, id, Layer::Declared.number());
        let synced = self.of(source, id, Layer::Synced.number());
        let says_nothing = match parts(&declared) {
            None => true,
            Some((_, shares, denials)) => shares.is_empty() && denials.is_empty(),
        };
        match synced {
            Permissions::Unknown if says_nothing => 0,
            synced if says_nothing && synced == Permissions::none() => 1,
            _ => 2,
        }
    }
}

/// What a row of `told` says, whose columns `is_alone`, `shares` and `denials` begin there.
pub(super) fn permissions_of(row: &PgRow, from: usize) -> Result<Permissions, CorpusError> {
    let shares = readers(column(row, from + 1)?)?;
    let denials = readers(column(row, from + 2)?)?;
    Ok(match column(row, from)? {
        true => Permissions::Alone { shares, denials },
        false => Permissions::Inherits { shares, denials },
    })
}

fn readers(texts: Vec<String>) -> Result<BTreeSet<lockgate_types::document::Reader>, CorpusError> {
    let strange = CorpusError::Damaged { what: "a share is to nobody that there can be" };
    let readers: Option<BTreeSet<_>> = texts.iter().map(|text| reader_of(text)).collect();
    readers.ok_or(strange)
}

/// Writes what is told of places, in the place of what was. Audiences are not told: see [`settle`].
pub(super) fn write(
    session: &mut Session,
    source: i64,
    layer: i64,
    changes: &[(String, Permissions)],
) -> Result<(), CorpusError> {
    let places: BTreeSet<&String> = changes.iter().map(|(place, _)| place).collect();
    let places = places.into_iter().cloned().collect();
    let delete = "DELETE FROM told WHERE source = $1 AND place = ANY($2) AND layer = $3";
    session.execute(delete, vec![Given::Int(source), Given::Texts(places), Given::Int(layer)])?;
    // Of a place that is told of twice, the last counts.
    let last: BTreeMap<&String, &Permissions> = changes.iter().map(|(at, it)| (at, it)).collect();
    let (mut at, mut alone) = (Vec::new(), Vec::new());
    let (mut shares, mut denials) = (Vec::new(), Vec::new());
    for (place, permissions) in last {
        let Some((is_alone, shared, denied)) = parts(permissions) else { continue };
        at.push(place.clone());
        alone.push(is_alone);
        shares.push(list(shared.iter().map(reader_text)));
        denials.push(list(denied.iter().map(reader_text)));
    }
    if at.is_empty() {
        return Ok(());
    }
    let insert = format!(
        "INSERT INTO told (source, place, layer, is_alone, shares, denials)
         SELECT $1, t.place, $2, t.alone, {}, {}
         FROM unnest($3::text[], $4::bool[], $5::text[], $6::text[])
             AS t(place, alone, shares, denials)",
        unlisted("t.shares"),
        unlisted("t.denials"),
    );
    let told = [Given::Texts(at), Given::Bools(alone), Given::Texts(shares), Given::Texts(denials)];
    let given = [Given::Int(source), Given::Int(layer)].into_iter().chain(told).collect();
    session.execute(&insert, given).map(drop)
}

/// A list within a list of rows: PostgreSQL has no arrays of arrays of different lengths.
pub(super) fn list(texts: impl IntoIterator<Item = String>) -> String {
    serde_json::Value::from_iter(texts).to_string()
}

/// From such a list to an array.
pub(super) fn unlisted(column: &str) -> String {
    format!("ARRAY(SELECT jsonb_array_elements_text({column}::jsonb))")
}

/// Counts a change.
pub(super) fn next_revision(session: &mut Session) -> Result<Revision, CorpusError> {
    let update = "UPDATE meta SET value = value + 1 WHERE name = 'revision' RETURNING value";
    revision_of(session, update)
}

pub(super) fn revision(session: &mut Session) -> Result<Revision, CorpusError> {
    revision_of(session, "SELECT value FROM meta WHERE name = 'revision'")
}

fn revision_of(session: &mut Session, statement: &str) -> Result<Revision, CorpusError> {
    let missing = CorpusError::Damaged { what: "its revision is missing" };
    let row = session.row(statement, vec![])?.ok_or(missing)?;
    Ok(Revision(u64::try_from(column::<i64>(&row, 0)?).unwrap_or(0)))
}

/// Has searches see what was told of these places: for every document that is called so, or lies
/// beneath.
pub(super) fn settle(
    session: &mut Session,
    source: &SourceRow,
    places: &[String],
) -> Result<(), CorpusError> {
    let query = "SELECT number, id, folders FROM version WHERE source = $1 AND id = ANY($2)";
    let given = vec![Given::Int(source.number), Given::Texts(places.to_vec())];
    let mut documents = Vec::new();
    for row in session.rows(query, given)? {
        let number: i64 = column(&row, 0)?;
        documents.push((number, column::<String>(&row, 1)?, column::<Vec<String>>(&row, 2)?));
    }
    let of = documents.iter().map(|(_, id, folders)| (id.as_str(), folders.as_slice())).collect();
    let audiences = assign(session, source, of)?;
    let versions = documents.iter().map(|(number, ..)| *number).collect();
    let update = "UPDATE version v SET audience = n.audience
        FROM unnest($1::bigint[], $2::bigint[]) AS n(number, audience)
        WHERE v.number = n.number AND v.audience <> n.audience";
    session.execute(update, vec![Given::Ints(versions), Given::Ints(audiences)])?;
    let keys = places.iter().map(|place| Key::within(source.number, place).bytes()).collect();
    let query = "SELECT DISTINCT audience FROM lies WHERE place = ANY($1) UNION
        SELECT number FROM audience WHERE source = $2 AND own = 2 AND id = ANY($3)";
    let given = vec![Given::Blobs(keys), Given::Int(source.number), Given::Texts(places.to_vec())];
    let rows = session.rows(query, given)?;
    let found: Vec<i64> = rows.iter().map(|row| column(row, 0)).collect::<Result<_, _>>()?;
    found.chunks(AUDIENCES_AT_ONCE_MAX).try_for_each(|some| hear(session, source, some))
}

/// The audience of each of these documents, which is made if there is none: as was told of them.
pub(super) fn assign(
    session: &mut Session,
    source: &SourceRow,
    documents: Vec<(&str, &[String])>,
) -> Result<Vec<i64>, CorpusError> {
    let ids = documents.iter().map(|(id, _)| (source.number, (*id).to_owned())).collect();
    let told = Told::read(session, ids)?;
    let mut keys = Vec::with_capacity(documents.len());
    let mut wanted: BTreeMap<Vec<u8>, (i64, &str, &[String])> = BTreeMap::new();
    for (id, folders) in documents {
        let own = told.own(source.number, id);
        let id = if own == 2 { id } else { "" };
        let key = key(source.number, own, id, folders);
        wanted.insert(key.clone(), (own, id, folders));
        keys.push(key);
    }
    let mut found = numbers(session, wanted.keys().cloned().collect())?;
    wanted.retain(|key, _| !found.contains_key(key));
    if !wanted.is_empty() {
        let made = make(session, source, &wanted)?;
        let numbers: Vec<i64> = made.values().copied().collect();
        for some in numbers.chunks(AUDIENCES_AT_ONCE_MAX) {
            hear(session, source, some)?;
        }
        found.extend(made);
    }
    let missing = || CorpusError::Damaged { what: "an audience is missing" };
    keys.iter().map(|key| found.get(key).copied().ok_or_else(missing)).collect()
}

fn numbers(
    session: &mut Session,
    keys: Vec<Vec<u8>>,
) -> Result<BTreeMap<Vec<u8>, i64>, CorpusError> {
    let query = "SELECT key, number FROM audience WHERE key = ANY($1)";
    let rows = session.rows(query, vec![Given::Blobs(keys)])?;
    rows.iter().map(|row| Ok((column(row, 0)?, column(row, 1)?))).collect()
}

fn make(
    session: &mut Session,
    source: &SourceRow,
    wanted: &BTreeMap<Vec<u8>, (i64, &str, &[String])>,
) -> Result<BTreeMap<Vec<u8>, i64>, CorpusError> {
    let insert = format!(
        "INSERT INTO audience (key, source, folders, own, id, is_known)
         SELECT n.key, $1, {}, n.own, n.id, false
         FROM unnest($2::bytea[], $3::text[], $4::bigint[], $5::text[])
             AS n(key, folders, own, id)",
        unlisted("n.folders")
    );
    let each = || wanted.values();
    session.execute(
        &insert,
        vec![
            Given::Int(source.number),
            Given::Blobs(wanted.keys().cloned().collect()),
            Given::Texts(each().map(|(_, _, folders)| list(folders.iter().cloned())).collect()),
            Given::Ints(each().map(|(own, ..)| *own).collect()),
            Given::Texts(each().map(|(_, id, _)| (*id).to_owned()).collect()),
        ],
    )?;
    let made = numbers(session, wanted.keys().cloned().collect())?;
    let (mut places, mut audiences) = (Vec::new(), Vec::new());
    for (key, (_, _, folders)) in wanted {
        for folder in *folders {
            places.push(Key::within(source.number, folder).bytes());
            audiences.extend(made.get(key));
        }
    }
    let insert =
        "INSERT INTO lies (place, audience) SELECT * FROM unnest($1::bytea[], $2::bigint[])
        ON CONFLICT DO NOTHING";
    session.execute(insert, vec![Given::Blobs(places), Given::Ints(audiences)])?;
    Ok(made)
}

/// Finds out again to whom audiences are shared.
fn hear(session: &mut Session, source: &SourceRow, audiences: &[i64]) -> Result<(), CorpusError> {
    let query = "SELECT number, own::bigint, id, folders FROM audience WHERE number = ANY($1)";
    let rows = session.rows(query, vec![Given::Ints(audiences.to_vec())])?;
    let (mut found, mut places) = (Vec::new(), BTreeSet::new());
    for row in rows {
        let (number, own): (i64, i64) = (column(&row, 0)?, column(&row, 1)?);
        let (id, folders): (String, Vec<String>) = (column(&row, 2)?, column(&row, 3)?);
        places.extend(folders.iter().map(|folder| (source.number, folder.clone())));
        places.insert((source.number, id.clone()));
        found.push((number, own, id, folders));
    }
    let told = Told::read(session, places)?;
    let (mut numbers, mut known) = (Vec::new(), Vec::new());
    let (mut of, mut denies, mut readers) = (Vec::new(), Vec::new(), Vec::new());
    for (number, own, id, folders) in found {
        let closure = told.closure_with(source.number, source.access, (own, &id), &folders);
        numbers.push(number);
        known.push(closure.readers.is_some());
        let shares = closure.readers.into_iter().flatten().map(|reader| (false, reader));
        let denials = closure.denied.into_iter().map(|reader| (true, reader));
        for (is_denial, reader) in shares.chain(denials) {
            of.push(number);
            denies.push(is_denial);
            readers.push(reader_text(&reader));
        }
    }
    let delete = "DELETE FROM heard WHERE audience = ANY($1)";
    session.execute(delete, vec![Given::Ints(numbers.clone())])?;
    let insert = "INSERT INTO heard (audience, denies, reader)
        SELECT * FROM unnest($1::bigint[], $2::bool[], $3::text[])";
    session.execute(insert, vec![Given::Ints(of), Given::Bools(denies), Given::Texts(readers)])?;
    let update = "UPDATE audience a SET is_known = n.known
        FROM unnest($1::bigint[], $2::bool[]) AS n(number, known) WHERE a.number = n.number";
    session.execute(update, vec![Given::Ints(numbers), Given::Bools(known)]).map(drop)
}

/// What tells an audience from every other: each part with its length before it.
fn key(source: i64, own: i64, id: &str, folders: &[String]) -> Vec<u8> {
    let mut all = Vec::new();
    for part in [&source.to_string(), &own.to_string(), id]
        .into_iter()
        .chain(folders.iter().map(String::as_str))
    {
        all.extend_from_slice(&(part.len() as u64).to_be_bytes());
        all.extend_from_slice(part.as_bytes());
    }
    Digest::of(&all).as_bytes().to_vec()
}
