//! What is on the disk, and what a crash leaves of it.

use crate::random::Random;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

pub(crate) const DATABASE: &str = "lockgate.db";
pub(crate) const WAL: &str = "lockgate.db-wal";
pub(crate) const SIGNED: &str = "last_signed";
/// Files that are made once, and never change after that.
const CONSTANT: [&str; 3] = ["keys/log.key", "keys/data.key", "log.vkey"];

const PAGE_BYTES: usize = 4096;
/// A disk writes so much at once, or nothing of it.
const SECTOR_BYTES: usize = 512;
const WAL_HEADER_BYTES: usize = 32;
const FRAME_BYTES: usize = PAGE_BYTES + 24;

pub(crate) type Bytes = Arc<Vec<u8>>;

/// Files that never change.
pub(crate) type Constant = Arc<Vec<(&'static str, Vec<u8>)>>;

/// The files of a state directory, and what of them has been waited for.
#[derive(Clone, Default)]
pub(crate) struct Disk {
    pub(crate) database: Bytes,
    /// As it was before it was last copied to, if that is not waited for yet.
    pub(crate) database_before: Option<Bytes>,
    pub(crate) wal: Bytes,
    /// What the disk is known to have of it.
    pub(crate) wal_synced: Bytes,
    pub(crate) signed: Bytes,
    /// As it was before the last write, if that is not waited for yet.
    pub(crate) signed_before: Option<Bytes>,
}

/// What a crash leaves of what was written and not waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tail {
    /// All of it.
    Kept,
    /// Nothing.
    Lost,
    /// What lies before this byte; after it, what was there before.
    Torn(usize),
    /// What lies before this byte; after it, zeros.
    Zeroed(usize),
    /// Some sectors, drawn by this seed.
    Sectors(u64),
    /// Of `last_signed`, what lies before this byte.
    SignedTorn(usize),
    /// Some pages of the database that the log was being copied to, drawn by this seed.
    HalfCopied(u64),
}

/// Reads a file; the one before, if it is the same.
pub(crate) fn read(path: &Path, before: &Bytes) -> Bytes {
    let bytes = fs::read(path).unwrap_or_default();
    if bytes == **before { Arc::clone(before) } else { Arc::new(bytes) }
}

pub(crate) fn read_constant(directory: &Path) -> Constant {
    let read = |name| (name, fs::read(directory.join(name)).unwrap());
    Arc::new(CONSTANT.map(read).into())
}

impl Disk {
    /// What is there now, all of it on the disk.
    pub(crate) fn read(directory: &Path) -> Self {
        let read = |name: &str| read(&directory.join(name), &Bytes::default());
        let wal = read(WAL);
        Self {
            database: read(DATABASE),
            database_before: None,
            wal_synced: Arc::clone(&wal),
            wal,
            signed: read(SIGNED),
            signed_before: None,
        }
    }

    /// What a crash may leave, to be tried.
    pub(crate) fn tails(&self, random: &mut Random) -> Vec<Tail> {
        let mut tails = vec![Tail::Kept];
        if self.signed_before.is_some() {
            tails.extend([10, 80].map(|at| Tail::SignedTorn(at + random.below(60))));
        }
        if self.database_before.is_some() {
            // The log is emptied only once the database has it all.
            tails.extend([(); 2].map(|()| Tail::HalfCopied(random.next())));
            tails.push(Tail::Lost);
            return tails;
        }
        let Some((from, to)) = self.unsynced() else { return tails };
        tails.push(Tail::Lost);
        let frames: Vec<usize> = (0..)
            .map(|frame| WAL_HEADER_BYTES + frame * FRAME_BYTES)
            .skip_while(|at| *at <= from)
            .take_while(|at| *at < to)
            .collect();
        let inside = |random: &mut Random| from + random.below(to - from);
        let ends = [frames.first(), frames.last(), frames.get(frames.len() / 2)];
        let ends = ends.into_iter().flatten().map(|at| Tail::Torn(*at));
        tails.extend(ends);
        tails.extend([(); 2].map(|()| Tail::Torn(inside(random))));
        // All but the last byte: the commit is whole, and is not believed.
        tails.push(Tail::Torn(to - 1));
        tails.extend(frames.last().map(|at| Tail::Zeroed(*at)));
        tails.push(Tail::Zeroed(inside(random)));
        tails.extend([(); 2].map(|()| Tail::Sectors(random.next())));
        tails
    }

    /// From where to where the log was written to and not waited for.
    fn unsynced(&self) -> Option<(usize, usize)> {
        let (now, synced) = (&*self.wal, &*self.wal_synced);
        if now == synced {
            return None;
        }
        let is_same = |at: &usize| now.get(*at) == synced.get(*at);
        let length = now.len().max(synced.len());
        // Block by block first: logs are long and differ in few places.
        let has_same_block = |block: &usize| block_of(now, *block) == block_of(synced, *block);
        let blocks = 0..length.div_ceil(PAGE_BYTES);
        let first = blocks.clone().find(|block| !has_same_block(block))?;
        let last = blocks.rev().find(|block| !has_same_block(block))?;
        let from = (first * PAGE_BYTES..length).find(|at| !is_same(at))?;
        let end = length.min((last + 1) * PAGE_BYTES);
        let to = (last * PAGE_BYTES..end).rev().find(|at| !is_same(at))? + 1;
        Some((from, to))
    }

    /// What is there after a crash.
    pub(crate) fn crashed(&self, tail: Tail) -> Self {
        let mut left = self.clone();
        left.wal = Arc::new(self.left_of_wal(tail));
        match (tail, &self.signed_before, &self.database_before) {
            (Tail::SignedTorn(at), Some(before), _) => {
                left.signed = Arc::new(torn(&self.signed, before, at));
            }
            (Tail::HalfCopied(seed), _, Some(before)) => {
                left.database = Arc::new(mixed(&self.database, before, PAGE_BYTES, seed));
            }
            _ => {}
        }
        left.wal_synced = Arc::clone(&left.wal);
        (left.signed_before, left.database_before) = (None, None);
        left
    }

    fn left_of_wal(&self, tail: Tail) -> Vec<u8> {
        let (now, synced) = (&*self.wal, &*self.wal_synced);
        let mut left = match tail {
            Tail::Kept | Tail::SignedTorn(_) => now.clone(),
            Tail::HalfCopied(_) | Tail::Lost => synced.clone(),
            Tail::Torn(at) => torn(now, synced, at),
            Tail::Zeroed(at) => {
                let mut left = torn(now, synced, at);
                let (_, to) = self.unsynced().unwrap_or_default();
                left.resize(left.len().max(to), 0);
                left[at..to].fill(0);
                left
            }
            Tail::Sectors(seed) => mixed(now, synced, SECTOR_BYTES, seed),
        };
        // A log that begins anew waits for the disk to have its header, before anything else.
        if self.database_before.is_none()
            && let Some(header) = now.get(..WAL_HEADER_BYTES)
            && Some(header) != synced.get(..WAL_HEADER_BYTES)
        {
            left.resize(left.len().max(WAL_HEADER_BYTES), 0);
            left[..WAL_HEADER_BYTES].copy_from_slice(header);
        }
        left
    }

    /// Writes a state directory.
    pub(crate) fn write(&self, directory: &Path, constant: &Constant) {
        let mut make = fs::DirBuilder::new();
        make.mode(0o700).recursive(true).create(directory.join("keys")).unwrap();
        let write = |name: &str, bytes: &[u8]| {
            let mut open = fs::File::options();
            let file = open.write(true).create(true).truncate(true).mode(0o600);
            file.open(directory.join(name)).unwrap().write_all(bytes).unwrap();
        };
        constant.iter().for_each(|(name, bytes)| write(name, bytes));
        write(DATABASE, &self.database);
        write(SIGNED, &self.signed);
        if !self.wal.is_empty() {
            write(WAL, &self.wal);
        }
    }
}

fn block_of(bytes: &[u8], block: usize) -> &[u8] {
    let at = |block: usize| (block * PAGE_BYTES).min(bytes.len());
    &bytes[at(block)..at(block + 1)]
}

/// The one up to a byte, the other from there on.
fn torn(now: &[u8], before: &[u8], at: usize) -> Vec<u8> {
    let mut torn = now[..at.min(now.len())].to_vec();
    torn.extend_from_slice(before.get(torn.len()..).unwrap_or_default());
    torn
}

/// Some blocks of the one, the rest of the other.
fn mixed(now: &[u8], before: &[u8], block: usize, seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    let mut mixed = Vec::with_capacity(now.len().max(before.len()));
    for at in (0..now.len().max(before.len())).step_by(block) {
        let of = |bytes: &[u8]| bytes[at.min(bytes.len())..(at + block).min(bytes.len())].to_vec();
        let chosen = of(if random.below(2) == 0 { now } else { before });
        // A file that ends early has nothing after its end, and zeros where something follows.
        if !chosen.is_empty() {
            mixed.resize(at, 0);
            mixed.extend(chosen);
        }
    }
    mixed
}
