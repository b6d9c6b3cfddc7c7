//! The log as the database holds it: entries, tiles, checkpoints, and the size that was signed
//! last.
//!
//! Full tiles are stored when they are complete, everything partial is computed from leaf hashes.
//! The side file `last_signed` is written before a checkpoint is given to anybody: a database that
//! is behind it was restored from an older copy, and signing it would fork the log.

use crate::db::{Db, DbError, values};
use crate::error::StoreError;
use lockgate_ledger::tiles::{TILE_WIDTH, bundle_path, tile_path, tile_width};
use lockgate_ledger::{ByteStore, Checkpoint, Frontier, TileWriter};
use lockgate_types::Digest;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// How many entries the log has.
pub(crate) fn size(db: &Db) -> Result<u64, DbError> {
    let select = "SELECT ix FROM entry WHERE ix >= ?1 AND ix < ?2 ORDER BY ix DESC LIMIT 1";
    let last = db.row(select, values![db.place(0), db.end()], |row| row.get(0))?;
    Ok(last.map_or(0, |last| db.index(last).saturating_add(1)))
}

/// Whether the log has that many entries, the last of which has that hash.
pub(crate) fn ends_with(db: &Db, size: u64, leaf: &Digest) -> Result<bool, DbError> {
    let select = "SELECT ix, hash FROM entry WHERE ix >= ?1 AND ix < ?2 ORDER BY ix DESC LIMIT 1";
    let given = values![db.place(0), db.end()];
    let last: Option<(u64, [u8; 32])> =
        db.row(select, given, |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(last.is_some_and(|(place, hash)| {
        db.index(place).saturating_add(1) == size && hash == *leaf.as_bytes()
    }))
}

/// Where a C2SP tile path points.
struct TilePlace {
    /// `None`: an entry bundle.
    level: Option<u8>,
    index: u64,
    width: u16,
}

impl TilePlace {
    /// Reads a path; `None` unless it is the one spelling of a place.
    fn parse(path: &str) -> Option<Self> {
        let (kind, rest) = path.strip_prefix("tile/")?.split_once('/')?;
        let level = if kind == "entries" { None } else { Some(kind.parse().ok()?) };
        let (elements, width) = match rest.split_once(".p/") {
            Some((elements, width)) => (elements, width.parse().ok()?),
            None => (rest, TILE_WIDTH),
        };
        let mut index: u64 = 0;
        for element in elements.split('/') {
            let digits: u64 = element.strip_prefix('x').unwrap_or(element).parse().ok()?;
            index = index.checked_mul(1000)?.checked_add(digits)?;
        }
        let place = Self { level, index, width };
        (place.to_path() == path).then_some(place)
    }

    fn to_path(&self) -> String {
        match self.level {
            Some(level) => tile_path(level, self.index, self.width),
            None => bundle_path(self.index, self.width),
        }
    }

    fn first(&self) -> u64 {
        self.index.saturating_mul(u64::from(TILE_WIDTH))
    }

    /// A column of the entries that it is made of.
    fn read(&self, db: &Db, select: &'static str) -> Result<Vec<Vec<u8>>, DbError> {
        let first = db.place(self.first());
        db.rows(select, values![first, u32::from(self.width)], |row| row.get(0))
    }
}

/// The file at a C2SP path, if the log has grown to it.
pub(crate) fn file(db: &Db, path: &str) -> Result<Option<Vec<u8>>, DbError> {
    let Some(place) = TilePlace::parse(path) else { return Ok(None) };
    let available = tile_width(size(db)?, place.level.unwrap_or(0), place.index);
    if place.width == 0 || place.width > available {
        return Ok(None);
    }
    match place.level {
        None => entry_bundle(db, &place).map(Some),
        Some(_) if place.width == TILE_WIDTH => full_tile(db, path),
        Some(0) => leaf_hashes(db, &place).map(Some),
        Some(level) => parent_tile(db, level, &place),
    }
}

fn full_tile(db: &Db, path: &str) -> Result<Option<Vec<u8>>, DbError> {
    let select = "SELECT hashes FROM tile WHERE path = ?1";
    db.row(select, values![&db.own(path)], |row| row.get(0))
}

fn entry_bundle(db: &Db, place: &TilePlace) -> Result<Vec<u8>, DbError> {
    let mut out = Vec::new();
    for leaf in place.read(db, "SELECT leaf FROM entry WHERE ix >= ?1 ORDER BY ix LIMIT ?2")? {
        // Entries longer than this were never logged: verification will name the entry.
        let length = u16::try_from(leaf.len()).unwrap_or(u16::MAX);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&leaf);
    }
    Ok(out)
}

fn leaf_hashes(db: &Db, place: &TilePlace) -> Result<Vec<u8>, DbError> {
    let hashes = place.read(db, "SELECT hash FROM entry WHERE ix >= ?1 ORDER BY ix LIMIT ?2")?;
    Ok(hashes.concat())
}

/// A partial tile above the leaves: the roots of the full tiles beneath it.
fn parent_tile(db: &Db, level: u8, place: &TilePlace) -> Result<Option<Vec<u8>>, DbError> {
    let mut out = Vec::with_capacity(usize::from(place.width) * 32);
    let first = place.first();
    for child in first..first.saturating_add(u64::from(place.width)) {
        let path = tile_path(level.saturating_sub(1), child, TILE_WIDTH);
        let Some(hashes) = full_tile(db, &path)? else { return Ok(None) };
        let mut subtree = Frontier::new();
        for hash in hashes.as_chunks::<32>().0 {
            subtree.append(Digest::from_bytes(*hash));
        }
        out.extend_from_slice(subtree.root().as_bytes());
    }
    Ok(Some(out))
}

/// The files of the log, for the ledger's own readers.
struct Files<'a>(&'a Db);

impl ByteStore for Files<'_> {
    fn get(&self, path: &str) -> Result<Option<Vec<u8>>, io::Error> {
        file(self.0, path).map_err(io::Error::other)
    }
}

/// Takes the log up again after what was signed, holding every later entry against its hash.
pub(crate) fn resume(db: &Db, signed: &Checkpoint) -> Result<TileWriter, StoreError> {
    let mut log = match signed.size {
        0 => TileWriter::new(),
        _ => TileWriter::resume(&Files(db), signed).map_err(|e| StoreError::corrupt(None, e))?,
    };
    while take_up(db, &mut log)? == PAGE {}
    Ok(log)
}

/// Entries that are taken up at a time.
const PAGE: usize = 4096;

/// Takes up the next entries; gives how many.
fn take_up(db: &Db, log: &mut TileWriter) -> Result<usize, StoreError> {
    let select = "SELECT ix, hash, leaf FROM entry WHERE ix >= ?1 AND ix < ?2 ORDER BY ix LIMIT ?3";
    let given = values![db.place(log.size()), db.end(), PAGE as u64];
    let rows: Vec<(u64, Vec<u8>, Vec<u8>)> = db
        .rows(select, given, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .map_err(StoreError::database("reading the log"))?;
    let taken = rows.len();
    for (place, hash, leaf) in rows {
        let index = db.index(place);
        if index != log.size() {
            return Err(StoreError::corrupt(
                Some(index),
                format!("entry {} is missing", log.size()),
            ));
        }
        let found = log.append(&leaf).map_err(|e| StoreError::corrupt(Some(index), e))?;
        if found.as_bytes() != hash.as_slice() {
            let problem = format!("entry {index} does not match its leaf hash");
            return Err(StoreError::corrupt(Some(index), problem));
        }
        // Tiles completed here were stored with their entries already.
        log.take_complete();
    }
    Ok(taken)
}

/// Bytes of one record of `last_signed`.
const SLOT_BYTES: usize = 256;

/// The side file that remembers what was signed: two records, overwritten in turn, so that one is
/// always whole.
pub(crate) struct LastSigned {
    file: File,
    path: PathBuf,
    next: u64,
    is_synced: bool,
}

impl LastSigned {
    /// Opens the side file; gives back the larger size in it, with its root.
    pub(crate) fn open(
        path: &Path,
        is_synced: bool,
    ) -> Result<(Self, Option<(u64, Digest)>), StoreError> {
        let mut open = OpenOptions::new();
        let open = open.read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
        let file = open.map_err(StoreError::file(path, "the file cannot be opened"))?;
        let mut found: Option<(u64, Digest, u64)> = None;
        for slot in 0..2_u64 {
            let mut record = [0; SLOT_BYTES];
            let read = file.read_at(&mut record, slot * SLOT_BYTES as u64);
            read.map_err(StoreError::file(path, "the file cannot be read"))?;
            if let Some((size, root)) = parse_slot(&record)
                && found.is_none_or(|(largest, ..)| size > largest)
            {
                found = Some((size, root, slot));
            }
        }
        let next = found.map_or(0, |(_, _, slot)| 1 - slot);
        let signed = found.map(|(size, root, _)| (size, root));
        Ok((Self { file, path: path.to_owned(), next, is_synced }, signed))
    }

    /// Remembers, durably, that this is about to be signed.
    pub(crate) fn write(&mut self, size: u64, root: &Digest) -> Result<(), StoreError> {
        let mut record = slot_text(size, root).into_bytes();
        record.resize(SLOT_BYTES, b' ');
        let write = || -> io::Result<()> {
            self.file.write_all_at(&record, self.next * SLOT_BYTES as u64)?;
            if self.is_synced { self.file.sync_data() } else { Ok(()) }
        };
        write().map_err(StoreError::file(&self.path, "the file cannot be written"))?;
        self.next = 1 - self.next;
        Ok(())
    }
}

fn slot_text(size: u64, root: &Digest) -> String {
    let text = format!("{size} {root}");
    format!("{text} {}\n", Digest::of(text.as_bytes()))
}

fn parse_slot(record: &[u8]) -> Option<(u64, Digest)> {
    let text = std::str::from_utf8(record).ok()?;
    let (line, _) = text.split_once('\n')?;
    let mut words = line.split(' ');
    let (size, root) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    (format!("{line}\n") == slot_text(size, &root)).then_some((size, root))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_record_leaves_the_one_before() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("last_signed");
        let root = Digest::of(b"root");
        let (mut file, found) = LastSigned::open(&path, true).unwrap();
        assert_eq!(found, None);
        for size in 1..6 {
            file.write(size, &root).unwrap();
            let (_, found) = LastSigned::open(&path, true).unwrap();
            assert_eq!(found, Some((size, root)));
        }
        // The record of 6 is torn anywhere: 5 is still known.
        let before = std::fs::read(&path).unwrap();
        file.write(6, &root).unwrap();
        let after = std::fs::read(&path).unwrap();
        let text = slot_text(6, &root).len();
        let slot = before.iter().zip(&after).position(|(a, b)| a != b).unwrap() / SLOT_BYTES;
        for cut in 0..text - 1 {
            let mut torn = before.clone();
            let at = slot * SLOT_BYTES;
            torn[at..at + cut].copy_from_slice(&after[at..at + cut]);
            std::fs::write(&path, &torn).unwrap();
            let (_, found) = LastSigned::open(&path, true).unwrap();
            assert_eq!(found, Some((5, root)), "cut at {cut}");
        }
    }

    #[test]
    fn only_one_spelling_of_a_path_is_a_place() {
        for path in
            ["tile/0/000", "tile/0/x001/234.p/5", "tile/entries/x001/x234/067", "tile/1/000.p/1"]
        {
            assert_eq!(TilePlace::parse(path).unwrap().to_path(), path);
        }
        for path in [
            "",
            "tile",
            "tile/0/0",
            "tile/0/1000",
            "tile/0/000.p/256",
            "tile/00/000",
            "tile/0/x000/001",
            "tile/-1/000",
            "tile/0/000.p/05",
            "tile/0/../000",
        ] {
            assert!(TilePlace::parse(path).is_none(), "{path}");
        }
    }
}
