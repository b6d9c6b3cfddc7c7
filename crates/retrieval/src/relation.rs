//! Who may see which folders and documents: what was told of each, and what that comes to.
//!
//! Of each place (a folder, or a document) is kept what was told last, by its source and by people,
//! apart from snapshots: permissions hold for every version of a document at once. Who is in which
//! group is not known here: groups come with the question.

use crate::corpus::{
    Access, CorpusError, GRANTS_MAX, NAME_BYTES_MAX, Permissions, can_be, with_zero,
};
use lockgate_types::document::Reader;
use rusqlite::{Connection, OptionalExtension as _, params};
use std::collections::BTreeSet;

/// Who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Layer {
    /// The source. [`Permissions::Unknown`] is what it cannot say.
    Synced,
    /// People, in Lockgate: it adds to what the source says, shares and denials both.
    /// [`Permissions::Unknown`] takes back what they said.
    Declared,
}

/// How often permissions, or what serves, have changed. Grows by one with each change; every answer
/// names the one that it was made under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Revision(pub u64);

impl Layer {
    pub(crate) const fn number(self) -> i64 {
        match self {
            Self::Synced => 0,
            Self::Declared => 1,
        }
    }
}

/// The layer of what waits for the publication of a draft.
pub(crate) const WAITING: i64 = 2;

/// To whom a document is shared, and from whom it is kept: with all of its folders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Closure {
    /// `None`: not all of the chain is known.
    pub(crate) readers: Option<BTreeSet<Reader>>,
    pub(crate) denied: BTreeSet<Reader>,
}

/// What was told of a place. `Unknown`: nothing.
pub(crate) fn told(
    db: &Connection,
    source: i64,
    place: &str,
    layer: i64,
) -> rusqlite::Result<Permissions> {
    let query = "SELECT alone FROM told WHERE source = ?1 AND place = ?2 AND layer = ?3";
    let mut statement = db.prepare_cached(query)?;
    let alone: Option<bool> =
        statement.query_row(params![source, place, layer], |row| row.get(0)).optional()?;
    let Some(alone) = alone else { return Ok(Permissions::Unknown) };
    let query = "SELECT denies, kind, reader FROM granted
                 WHERE source = ?1 AND place = ?2 AND layer = ?3";
    let mut statement = db.prepare_cached(query)?;
    let mut rows = statement.query(params![source, place, layer])?;
    let (mut shares, mut denials) = (BTreeSet::new(), BTreeSet::new());
    while let Some(row) = rows.next()? {
        let set = if row.get(0)? { &mut denials } else { &mut shares };
        set.insert(reader(row.get(1)?, row.get(2)?));
    }
    Ok(match alone {
        true => Permissions::Alone { shares, denials },
        false => Permissions::Inherits { shares, denials },
    })
}

/// Writes what is told of a place, in the place of what was.
pub(crate) fn tell(
    db: &Connection,
    source: i64,
    place: &str,
    layer: i64,
    permissions: &Permissions,
) -> rusqlite::Result<()> {
    for table in ["granted", "told"] {
        let delete = format!("DELETE FROM {table} WHERE source = ?1 AND place = ?2 AND layer = ?3");
        db.prepare_cached(&delete)?.execute(params![source, place, layer])?;
    }
    let Some((alone, shares, denials)) = parts(permissions) else { return Ok(()) };
    let insert = "INSERT INTO told (source, place, layer, alone) VALUES (?1, ?2, ?3, ?4)";
    db.prepare_cached(insert)?.execute(params![source, place, layer, alone])?;
    let insert = "INSERT INTO granted (source, place, layer, denies, kind, reader)
                  VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let mut statement = db.prepare_cached(insert)?;
    for (denies, set) in [(false, shares), (true, denials)] {
        for reader in set {
            let (kind, name) = named(reader);
            statement.execute(params![source, place, layer, denies, kind, name])?;
        }
    }
    Ok(())
}

/// What all that was told comes to for one document, folder by folder, from the database: the
/// definition to which the index is held.
pub(crate) fn closure(
    db: &Connection,
    (source, access): (i64, Access),
    id: &str,
    folders: &[String],
) -> rusqlite::Result<Closure> {
    closure_of(access, id, folders, |place, layer| told(db, source, place, layer.number()))
}

/// What all that was told comes to for one document, wherever it is kept.
pub(crate) fn closure_of<E>(
    access: Access,
    id: &str,
    folders: &[String],
    mut told: impl FnMut(&str, Layer) -> Result<Permissions, E>,
) -> Result<Closure, E> {
    let (mut readers, mut denied) = (BTreeSet::new(), BTreeSet::new());
    let (mut is_known, mut is_heard) = (true, true);
    for place in std::iter::once(id).chain(folders.iter().rev().map(String::as_str)) {
        if let Some((_, shares, denials)) = parts(&told(place, Layer::Declared)?) {
            readers.extend(shares.iter().cloned());
            denied.extend(denials.iter().cloned());
        }
        // What the source says further up is not for what lies beneath a place that stands alone.
        if !is_heard {
            continue;
        }
        match parts(&told(place, Layer::Synced)?) {
            Some((alone, shares, denials)) => {
                readers.extend(shares.iter().cloned());
                denied.extend(denials.iter().cloned());
                is_heard = !alone;
            }
            None => is_known &= access == Access::Declared,
        }
    }
    Ok(Closure { readers: is_known.then_some(readers), denied })
}

/// The number of changes so far.
pub(crate) fn revision(db: &Connection) -> rusqlite::Result<Revision> {
    let query = "SELECT value FROM meta WHERE name = 'revision'";
    db.query_row(query, [], |row| row.get(0)).map(Revision)
}

/// Counts a change.
pub(crate) fn next_revision(db: &Connection) -> rusqlite::Result<Revision> {
    db.execute("UPDATE meta SET value = value + 1 WHERE name = 'revision'", [])?;
    revision(db)
}

/// Whether it stands alone, its shares and its denials; nothing of what is unknown.
pub(crate) const fn parts(
    permissions: &Permissions,
) -> Option<(bool, &BTreeSet<Reader>, &BTreeSet<Reader>)> {
    match permissions {
        Permissions::Unknown => None,
        Permissions::Inherits { shares, denials } => Some((false, shares, denials)),
        Permissions::Alone { shares, denials } => Some((true, shares, denials)),
    }
}

/// What both allow: in force for a document between the writing of its next version and the
/// publication, so that an old text is not shared to whom the new one is.
pub(crate) fn narrower(access: Access, old: &Permissions, new: &Permissions) -> Permissions {
    let nothing = Permissions::none();
    let said = |said| match (access, parts(said)) {
        (Access::Declared, None) => parts(&nothing),
        (Access::Declared, Some(parts)) => Some(parts),
        (Access::Synced, parts) => parts,
    };
    let (Some((was_alone, was_shared, was_denied)), Some((alone, shares, denials))) =
        (said(old), said(new))
    else {
        return Permissions::Unknown;
    };
    let (shares, denials) = (was_shared & shares, was_denied | denials);
    match (was_alone, alone) {
        (false, false) => Permissions::Inherits { shares, denials },
        (true, true) => Permissions::Alone { shares, denials },
        // What the folders say is for one of them alone: that takes away as well as it gives.
        (true, false) | (false, true) => Permissions::Alone {
            shares: BTreeSet::new(),
            denials: BTreeSet::from([Reader::Everyone]),
        },
    }
}

/// Refuses what is beyond a bound.
pub(crate) fn check(place: &str, permissions: &Permissions) -> Result<(), CorpusError> {
    let beyond = |what, most| Err(CorpusError::Beyond { id: place.to_owned(), what, most });
    let Some((_, shares, denials)) = parts(permissions) else { return Ok(()) };
    if shares.len().saturating_add(denials.len()) > GRANTS_MAX {
        return beyond("shares", GRANTS_MAX);
    }
    if shares.iter().chain(denials).any(|reader| named(reader).1.len() > NAME_BYTES_MAX) {
        return beyond("bytes of a reader", NAME_BYTES_MAX);
    }
    if shares.iter().chain(denials).all(|reader| can_be(named(reader).1)) {
        Ok(())
    } else {
        Err(with_zero(place))
    }
}

fn named(reader: &Reader) -> (i64, &str) {
    match reader {
        Reader::Everyone => (0, ""),
        Reader::User(name) => (1, name),
        Reader::Group(name) => (2, name),
    }
}

fn reader(kind: i64, name: String) -> Reader {
    match kind {
        0 => Reader::Everyone,
        1 => Reader::User(name),
        // Written by `named` alone.
        _ => Reader::Group(name),
    }
}
