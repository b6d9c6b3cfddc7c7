//! Reads a published log and believes nothing: every tile is checked against its parent, every
//! entry against its tile.
//!
//! The partial tiles together hash to the signed root, so they are checked first, all at once. A
//! full tile is a complete subtree whose root stands in a tile one level up; it is used only after
//! that has been checked, up to the partial tile at the end of the way. No tile is exempt: sharing
//! a tile with another subtree proves nothing (CVE-2026-56865).

use crate::note::Checkpoint;
use crate::tiles::{
    BundleError, Edge, TILE_HEIGHT, TILE_LEVELS_MAX, TILE_WIDTH, bundle_path, hashes_at,
    parse_bundle, parse_tile, subtree_root, tile_path, tile_width,
};
use crate::tree::{HashSource, leaf_hash};
use lockgate_types::Digest;
use std::collections::BTreeMap;
use std::io;

/// Where the files of a log lie.
pub trait ByteStore {
    /// The content of the file at this path; `None` if there is no such file.
    fn get(&self, path: &str) -> Result<Option<Vec<u8>>, io::Error>;
}

impl ByteStore for BTreeMap<String, Vec<u8>> {
    fn get(&self, path: &str) -> Result<Option<Vec<u8>>, io::Error> {
        Ok(BTreeMap::get(self, path).cloned())
    }
}

/// Why a tile or a bundle is not to be believed.
#[derive(Debug, thiserror::Error)]
pub enum TileError {
    /// The file is not there.
    #[error("`{path}` is missing")]
    Missing {
        /// Which file.
        path: String,
    },
    /// The file could not be read.
    #[error("`{path}` cannot be read")]
    Unreadable {
        /// Which file.
        path: String,
        /// What the store said.
        #[source]
        source: io::Error,
    },
    /// The file is not a tile of the width that the tree's size calls for.
    #[error("`{path}` has {bytes} bytes, not {width} hashes")]
    WrongLength {
        /// Which file.
        path: String,
        /// How many bytes it has.
        bytes: usize,
        /// How many hashes it should have.
        width: u16,
    },
    /// The tile is not the one that its parent was computed from.
    #[error("`{path}` does not match its parent tile")]
    NotOfParent {
        /// Which file.
        path: String,
    },
    /// The partial tiles do not hash to the signed root.
    #[error("the partial tiles of {size} entries do not hash to the signed root: {paths}")]
    NotOfRoot {
        /// The size of the tree.
        size: u64,
        /// The files that together should.
        paths: String,
    },
    /// The file is not an entry bundle.
    #[error("`{path}` is not an entry bundle")]
    NotABundle {
        /// Which file.
        path: String,
        /// What is wrong with it.
        #[source]
        source: BundleError,
    },
    /// An entry is not the one that was logged.
    #[error("entry {index} in `{path}` does not match its leaf hash")]
    NotOfTile {
        /// The entry.
        index: u64,
        /// The bundle that it stands in.
        path: String,
    },
    /// The tree has nothing at this place.
    #[error("the tree of {size} entries has no node at level {level}, index {index}")]
    OutOfRange {
        /// Level of the tree, or of the tile.
        level: u32,
        /// Index within the level.
        index: u64,
        /// The size of the tree.
        size: u64,
    },
}

/// A reader of one log at one checkpoint. Keeps one tile per level in memory.
pub struct TileReader<'a> {
    store: &'a dyn ByteStore,
    size: u64,
    edge: Edge,
    recent: BTreeMap<u8, (u64, Vec<Digest>)>,
    tiles_checked: u64,
}

impl<'a> TileReader<'a> {
    /// Opens the log at a checkpoint whose signature has been verified.
    pub fn open(store: &'a dyn ByteStore, checkpoint: &Checkpoint) -> Result<Self, TileError> {
        let size = checkpoint.size;
        let mut edge = Edge::default();
        let mut paths = Vec::new();
        for level in 0..TILE_LEVELS_MAX {
            let index = hashes_at(size, level) / u64::from(TILE_WIDTH);
            let width = tile_width(size, level, index);
            let hashes = match width {
                0 => Vec::new(),
                _ => {
                    paths.push(tile_path(level, index, width));
                    load_tile(store, level, index, width)?
                }
            };
            edge.add_level(hashes);
        }
        if edge.root() != checkpoint.root {
            return Err(TileError::NotOfRoot { size, paths: paths.join(", ") });
        }
        let tiles_checked = paths.len() as u64;
        Ok(Self { store, size, edge, recent: BTreeMap::new(), tiles_checked })
    }

    /// The size of the tree.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// How many tiles have been read and found right.
    pub const fn tiles_checked(&self) -> u64 {
        self.tiles_checked
    }

    /// The hashes of a tile, checked.
    pub fn tile(&mut self, level: u8, index: u64) -> Result<&[Digest], TileError> {
        let width = tile_width(self.size, level, index);
        if width == 0 {
            let size = self.size;
            return Err(TileError::OutOfRange { level: u32::from(level), index, size });
        }
        if width < TILE_WIDTH {
            return Ok(self.edge.level(level));
        }
        if self.recent.get(&level).is_none_or(|(at, _)| *at != index) {
            let hashes = load_tile(self.store, level, index, TILE_WIDTH)?;
            // The way up ends at a partial tile, at most eight levels above.
            let parent = self.hash_in_tile(level + 1, index)?;
            if subtree_root(&hashes) != parent {
                return Err(TileError::NotOfParent { path: tile_path(level, index, TILE_WIDTH) });
            }
            self.tiles_checked += 1;
            self.recent.insert(level, (index, hashes));
        }
        Ok(self.recent.get(&level).map_or(&[], |(_, hashes)| hashes.as_slice()))
    }

    fn hash_in_tile(&mut self, level: u8, index: u64) -> Result<Digest, TileError> {
        let size = self.size;
        let width = u64::from(TILE_WIDTH);
        let position = usize::try_from(index % width).unwrap_or(usize::MAX);
        let hash = self.tile(level, index / width)?.get(position).copied();
        hash.ok_or(TileError::OutOfRange { level: u32::from(level), index, size })
    }

    /// The entries of a bundle, each checked against its leaf hash.
    pub fn bundle(&mut self, index: u64) -> Result<Bundle, TileError> {
        let width = tile_width(self.size, 0, index);
        let leaf_hashes = self.tile(0, index)?.to_vec();
        let (path, bytes, found) = load(self.store, width, |width| bundle_path(index, width))?;
        let bundle = Bundle::new(bytes, found, width)
            .map_err(|source| TileError::NotABundle { path: path.clone(), source })?;
        for (position, ((_, hash), expected)) in bundle.entries().zip(&leaf_hashes).enumerate() {
            if hash != expected {
                let index = index * u64::from(TILE_WIDTH) + position as u64;
                return Err(TileError::NotOfTile { index, path });
            }
        }
        Ok(bundle)
    }

    /// One entry, checked.
    pub fn entry(&mut self, index: u64) -> Result<Vec<u8>, TileError> {
        let width = u64::from(TILE_WIDTH);
        let bundle = self.bundle(index / width)?;
        let position = usize::try_from(index % width).unwrap_or(usize::MAX);
        let entry = bundle.entries().nth(position).map(|(entry, _)| entry.to_vec());
        entry.ok_or(TileError::OutOfRange { level: 0, index, size: self.size })
    }

    pub(crate) fn into_edge(self) -> Edge {
        self.edge
    }
}

impl HashSource for TileReader<'_> {
    type Error = TileError;

    fn hash(&mut self, level: u32, index: u64) -> Result<Digest, TileError> {
        let size = self.size;
        let out_of_range = || TileError::OutOfRange { level, index, size };
        let tile_level = u8::try_from(level / TILE_HEIGHT).map_err(|_| out_of_range())?;
        let count = 1_u64 << (level % TILE_HEIGHT);
        let first = index.checked_mul(count).ok_or_else(out_of_range)?;
        let width = u64::from(TILE_WIDTH);
        let start = usize::try_from(first % width).map_err(|_| out_of_range())?;
        let end = start + usize::try_from(count).map_err(|_| out_of_range())?;
        let hashes = self.tile(tile_level, first / width)?;
        hashes.get(start..end).map(subtree_root).ok_or_else(out_of_range)
    }
}

/// The entries of one bundle with their leaf hashes.
pub struct Bundle {
    bytes: Vec<u8>,
    entries: Vec<(std::ops::Range<usize>, Digest)>,
}

impl Bundle {
    /// Reads a bundle of `found` entries and keeps the first `width`.
    fn new(bytes: Vec<u8>, found: u16, width: u16) -> Result<Self, BundleError> {
        let mut entries = Vec::with_capacity(usize::from(width));
        let mut at = 0;
        for entry in parse_bundle(&bytes, found)?.into_iter().take(usize::from(width)) {
            let start = at + 2;
            at = start + entry.len();
            entries.push((start..at, leaf_hash(entry)));
        }
        Ok(Self { bytes, entries })
    }

    /// The entries in order, each with its leaf hash.
    pub fn entries(&self) -> impl Iterator<Item = (&[u8], &Digest)> {
        self.entries.iter().map(|(at, hash)| (self.bytes.get(at.clone()).unwrap_or(&[]), hash))
    }
}

fn load_tile(
    store: &dyn ByteStore,
    level: u8,
    index: u64,
    width: u16,
) -> Result<Vec<Digest>, TileError> {
    let (path, bytes, found) = load(store, width, |width| tile_path(level, index, width))?;
    let length = bytes.len();
    let hashes = parse_tile(&bytes, found);
    let mut hashes = hashes.ok_or(TileError::WrongLength { path, bytes: length, width: found })?;
    hashes.truncate(usize::from(width));
    Ok(hashes)
}

/// Reads the partial file, or the full one that has replaced it since; says how wide the file found
/// is.
fn load(
    store: &dyn ByteStore,
    width: u16,
    path_of: impl Fn(u16) -> String,
) -> Result<(String, Vec<u8>, u16), TileError> {
    for found in [width, TILE_WIDTH] {
        let path = path_of(found);
        match store.get(&path) {
            Ok(Some(bytes)) => return Ok((path, bytes, found)),
            Ok(None) => {}
            Err(source) => return Err(TileError::Unreadable { path, source }),
        }
    }
    Err(TileError::Missing { path: path_of(width) })
}
