//! Logs as the database holds them: entries, tiles, checkpoints, and the sizes that were signed
//! last.
//!
//! Full tiles are stored when they are complete, everything partial is computed from leaf hashes.
//! The side file `last_signed` is written before a checkpoint is given to anybody: a database that
//! is behind it was restored from an older copy, and signing it would fork the log.

use crate::db::{Db, DbError, Row, values};
use crate::error::StoreError;
use lockgate_ledger::tiles::{TILE_WIDTH, bundle_path, tile_path, tile_width};
use lockgate_ledger::{ByteStore, Checkpoint, Frontier, TileWriter};
use lockgate_types::Digest;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Which entries of the database are those of a log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rows {
    /// The log's number.
    pub(crate) number: u64,
    /// How many of its first entries are numbered by their place alone: those that a node had
    /// written before any tenant's.
    pub(crate) plain: u64,
    pub(crate) is_own: bool,
}

impl Rows {
    pub(crate) const fn of_tenant(number: u64) -> Self {
        Self { number, plain: 0, is_own: false }
    }

    /// What stands beside an entry at that index: its log, and the index there.
    pub(crate) fn numbers(self, index: u64) -> (Option<u64>, Option<u64>) {
        if index < self.plain { (None, None) } else { (Some(self.number), Some(index)) }
    }

    /// The name of a tile among those of all logs.
    pub(crate) fn tile_name(self, db: &Db, path: &str) -> String {
        if self.is_own { db.own(path) } else { format!("shard {}/{path}", self.number) }
    }

    /// Columns of entries from an index on.
    fn read<T>(
        self,
        db: &Db,
        columns: &str,
        from: u64,
        max: u64,
        mut read: impl FnMut(&Row<'_>) -> Result<T, DbError>,
    ) -> Result<Vec<T>, DbError> {
        let plain = self.plain.saturating_sub(from).min(max);
        let mut found = Vec::new();
        if plain > 0 {
            let select = format!(
                "SELECT {columns} FROM entry WHERE ix >= ?1 AND ix < ?2 ORDER BY ix LIMIT ?3"
            );
            found = db.rows(&select, values![db.place(from), db.end(), plain], &mut read)?;
        }
        if plain < max && self.plain != u64::MAX {
            let select = format!(
                "SELECT {columns} FROM entry WHERE shard = ?1 AND at >= ?2 ORDER BY at LIMIT ?3"
            );
            let given = values![self.number, from.max(self.plain), max - plain];
            found.extend(db.rows(&select, given, read)?);
        }
        Ok(found)
    }
}

/// How many entries a log has.
pub(crate) fn size(db: &Db, rows: Rows) -> Result<u64, DbError> {
    if rows.plain == u64::MAX {
        return next(db);
    }
    let select = "SELECT at FROM entry WHERE shard = ?1 ORDER BY at DESC LIMIT 1";
    let last: Option<u64> = db.row(select, values![rows.number], |row| row.get(0))?;
    Ok(last.map_or(rows.plain, |last| last.saturating_add(1)))
}

/// How many entries this node has written, in all its logs.
pub(crate) fn next(db: &Db) -> Result<u64, DbError> {
    let select = "SELECT ix FROM entry WHERE ix >= ?1 AND ix < ?2 ORDER BY ix DESC LIMIT 1";
    let last = db.row(select, values![db.place(0), db.end()], |row| row.get(0))?;
    Ok(last.map_or(0, |last| db.index(last).saturating_add(1)))
}

/// Whether this node has written that many entries, the last of which has that hash.
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
    fn read(&self, db: &Db, rows: Rows, column: &str) -> Result<Vec<Vec<u8>>, DbError> {
        rows.read(db, column, self.first(), u64::from(self.width), |row| row.get(0))
    }
}

/// The file of a log at a C2SP path, if the log has grown to it.
pub(crate) fn file(db: &Db, rows: Rows, path: &str) -> Result<Option<Vec<u8>>, DbError> {
    let Some(place) = TilePlace::parse(path) else { return Ok(None) };
    let available = tile_width(size(db, rows)?, place.level.unwrap_or(0), place.index);
    if place.width == 0 || place.width > available {
        return Ok(None);
    }
    match place.level {
        None => entry_bundle(db, rows, &place).map(Some),
        Some(_) if place.width == TILE_WIDTH => full_tile(db, rows, path),
        Some(0) => leaf_hashes(db, rows, &place).map(Some),
        Some(level) => parent_tile(db, rows, level, &place),
    }
}

fn full_tile(db: &Db, rows: Rows, path: &str) -> Result<Option<Vec<u8>>, DbError> {
    let select = "SELECT hashes FROM tile WHERE path = ?1";
    db.row(select, values![&rows.tile_name(db, path)], |row| row.get(0))
}

fn entry_bundle(db: &Db, rows: Rows, place: &TilePlace) -> Result<Vec<u8>, DbError> {
    let mut out = Vec::new();
    for leaf in place.read(db, rows, "leaf")? {
        // Entries longer than this were never logged: verification will name the entry.
        let length = u16::try_from(leaf.len()).unwrap_or(u16::MAX);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&leaf);
    }
    Ok(out)
}

fn leaf_hashes(db: &Db, rows: Rows, place: &TilePlace) -> Result<Vec<u8>, DbError> {
    Ok(place.read(db, rows, "hash")?.concat())
}

/// A partial tile above the leaves: the roots of the full tiles beneath it.
fn parent_tile(
    db: &Db,
    rows: Rows,
    level: u8,
    place: &TilePlace,
) -> Result<Option<Vec<u8>>, DbError> {
    let mut out = Vec::with_capacity(usize::from(place.width) * 32);
    let first = place.first();
    for child in first..first.saturating_add(u64::from(place.width)) {
        let path = tile_path(level.saturating_sub(1), child, TILE_WIDTH);
        let Some(hashes) = full_tile(db, rows, &path)? else { return Ok(None) };
        let mut subtree = Frontier::new();
        for hash in hashes.as_chunks::<32>().0 {
            subtree.append(Digest::from_bytes(*hash));
        }
        out.extend_from_slice(subtree.root().as_bytes());
    }
    Ok(Some(out))
}

/// The files of a log, for the ledger's own readers.
struct Files<'a>(&'a Db, Rows);

impl ByteStore for Files<'_> {
    fn get(&self, path: &str) -> Result<Option<Vec<u8>>, io::Error> {
        file(self.0, self.1, path).map_err(io::Error::other)
    }
}

/// Takes a log up again after what was signed, holding every later entry against its hash.
pub(crate) fn resume(db: &Db, rows: Rows, signed: &Checkpoint) -> Result<TileWriter, StoreError> {
    let mut log = match signed.size {
        0 => TileWriter::new(),
        _ => TileWriter::resume(&Files(db, rows), signed)
            .map_err(|e| StoreError::corrupt(None, e))?,
    }
    .hashes_only();
    while take_up(db, rows, &mut log)? == PAGE {}
    Ok(log)
}

/// Entries that are taken up at a time.
const PAGE: u64 = 4096;

/// Takes up the next entries; gives how many.
fn take_up(db: &Db, rows: Rows, log: &mut TileWriter) -> Result<u64, StoreError> {
    let found = rows
        .read(db, "ix, at, hash, leaf", log.size(), PAGE, |row| {
            let at: Option<u64> = row.get(1)?;
            let place = db.index(row.get(0)?);
            let index = at.unwrap_or(place);
            Ok((index, row.get::<Vec<u8>>(2)?, row.get::<Vec<u8>>(3)?))
        })
        .map_err(StoreError::database("reading the log"))?;
    let taken = found.len() as u64;
    for (index, hash, leaf) in found {
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

/// What was signed last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Remembered {
    /// Of the node's own log.
    pub(crate) size: u64,
    pub(crate) root: Digest,
    /// How many entries the node had written then, in all its logs.
    pub(crate) next: u64,
}

/// The side file that remembers what was signed: two records, overwritten in turn, so that one is
/// always whole.
pub(crate) struct LastSigned {
    file: File,
    path: PathBuf,
    next: u64,
    is_synced: bool,
}

impl LastSigned {
    /// Opens the side file; gives back the later record in it.
    pub(crate) fn open(
        path: &Path,
        is_synced: bool,
    ) -> Result<(Self, Option<Remembered>), StoreError> {
        let mut open = OpenOptions::new();
        let open = open.read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
        let file = open.map_err(StoreError::file(path, "the file cannot be opened"))?;
        let mut found: Option<(Remembered, u64)> = None;
        for slot in 0..2_u64 {
            let mut record = [0; SLOT_BYTES];
            let read = file.read_at(&mut record, slot * SLOT_BYTES as u64);
            read.map_err(StoreError::file(path, "the file cannot be read"))?;
            if let Some(remembered) = parse_slot(&record)
                && found.is_none_or(|(latest, _)| remembered.next > latest.next)
            {
                found = Some((remembered, slot));
            }
        }
        let next = found.map_or(0, |(_, slot)| 1 - slot);
        let signed = found.map(|(remembered, _)| remembered);
        Ok((Self { file, path: path.to_owned(), next, is_synced }, signed))
    }

    /// Remembers, durably, that this is about to be signed.
    pub(crate) fn write(&mut self, signed: &Remembered) -> Result<(), StoreError> {
        let mut record = slot_text(signed).into_bytes();
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

fn slot_text(Remembered { size, root, next }: &Remembered) -> String {
    with_digest(&format!("{size} {root} {next}"))
}

fn with_digest(text: &str) -> String {
    format!("{text} {}\n", Digest::of(text.as_bytes()))
}

fn parse_slot(record: &[u8]) -> Option<Remembered> {
    let text = std::str::from_utf8(record).ok()?;
    let (line, _) = text.split_once('\n')?;
    let (said, _) = line.rsplit_once(' ')?;
    if format!("{line}\n") != with_digest(said) {
        return None;
    }
    let mut words = said.split(' ');
    let (size, root) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    // Before tenants had logs there was one for all.
    let next = words.next().map_or(Some(size), |next| next.parse().ok())?;
    Some(Remembered { size, root, next })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_record_leaves_the_one_before() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("last_signed");
        let root = Digest::of(b"root");
        let signed = |next| Remembered { size: 1, root, next };
        let (mut file, found) = LastSigned::open(&path, true).unwrap();
        assert_eq!(found, None);
        for next in 1..6 {
            file.write(&signed(next)).unwrap();
            let (_, found) = LastSigned::open(&path, true).unwrap();
            assert_eq!(found, Some(signed(next)));
        }
        // The record of 6 is torn anywhere: 5 is still known.
        let before = std::fs::read(&path).unwrap();
        file.write(&signed(6)).unwrap();
        let after = std::fs::read(&path).unwrap();
        let text = slot_text(&signed(6)).len();
        let slot = before.iter().zip(&after).position(|(a, b)| a != b).unwrap() / SLOT_BYTES;
        for cut in 0..text - 1 {
            let mut torn = before.clone();
            let at = slot * SLOT_BYTES;
            torn[at..at + cut].copy_from_slice(&after[at..at + cut]);
            std::fs::write(&path, &torn).unwrap();
            let (_, found) = LastSigned::open(&path, true).unwrap();
            assert_eq!(found, Some(signed(5)), "cut at {cut}");
        }
    }

    #[test]
    fn what_was_remembered_before_tenants_had_logs_is_read() {
        let root = Digest::of(b"root");
        let record = with_digest(&format!("7 {root}"));
        let read = parse_slot(record.as_bytes());
        assert_eq!(read, Some(Remembered { size: 7, root, next: 7 }));
        assert_eq!(parse_slot(record.replacen('7', "8", 1).as_bytes()), None);
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
