//! C2SP tlog-tiles as files: where a tile lies, what is in it, and the writer that makes them.
//!
//! A tile holds up to 256 consecutive hashes of one tile level (every eighth level of the tree); an
//! entry bundle holds the entries under one tile of level 0. Full ones never change. The writer
//! keeps the right edge only and knows nothing of files: it hands out paths and bytes.

use crate::note::Checkpoint;
use crate::reader::{ByteStore, TileError, TileReader};
use crate::tree::{empty_root, leaf_hash, node_hash};
use lockgate_types::Digest;

/// Levels of the tree within one tile.
pub const TILE_HEIGHT: u32 = 8;
/// Hashes in a full tile, entries in a full bundle.
pub const TILE_WIDTH: u16 = 256;
/// Tile levels that a tree with a 64-bit size can have.
pub const TILE_LEVELS_MAX: u8 = 8;
/// Bytes of one entry: what the length prefix of a bundle can say.
pub const ENTRY_BYTES_MAX: usize = 65_535;

/// A file of the published log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TileFile {
    /// Its path below the log's prefix.
    pub path: String,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// The path of a tile: `tile/<level>/<index>`, with `.p/<width>` unless it is full.
pub fn tile_path(level: u8, index: u64, width: u16) -> String {
    format!("tile/{level}/{}", index_and_width(index, width))
}

/// The path of an entry bundle: `tile/entries/<index>`, with `.p/<width>` unless it is full.
pub fn bundle_path(index: u64, width: u16) -> String {
    format!("tile/entries/{}", index_and_width(index, width))
}

/// Three digits per path element, all but the last with an `x` before: 1234067 is `x001/x234/067`.
fn index_and_width(index: u64, width: u16) -> String {
    let mut path = format!("{:03}", index % 1000);
    let mut rest = index / 1000;
    while rest > 0 {
        path = format!("x{:03}/{path}", rest % 1000);
        rest /= 1000;
    }
    if width < TILE_WIDTH { format!("{path}.p/{width}") } else { path }
}

/// How many hashes a tile level holds in a tree of this size.
pub(crate) fn hashes_at(size: u64, level: u8) -> u64 {
    size.checked_shr(TILE_HEIGHT * u32::from(level)).unwrap_or(0)
}

/// How many hashes the tile at this place holds in a tree of this size; 0 if there is no such tile.
pub fn tile_width(size: u64, level: u8, index: u64) -> u16 {
    let Some(before) = index.checked_mul(u64::from(TILE_WIDTH)) else { return 0 };
    let hashes = hashes_at(size, level).saturating_sub(before);
    u16::try_from(hashes).unwrap_or(TILE_WIDTH).min(TILE_WIDTH)
}

/// How many tiles of a level a tree of this size has, the partial one included.
fn tiles_at(size: u64, level: u8) -> u64 {
    hashes_at(size, level).div_ceil(u64::from(TILE_WIDTH))
}

/// The path of every tile and entry bundle that a complete copy of a log of this size holds.
///
/// An iterator, because a log may be larger than the memory of whoever copies it.
pub fn paths(size: u64) -> impl Iterator<Item = String> {
    let bundles =
        (0..tiles_at(size, 0)).map(move |index| bundle_path(index, tile_width(size, 0, index)));
    let tiles = (0..TILE_LEVELS_MAX).flat_map(move |level| {
        let path = move |index| tile_path(level, index, tile_width(size, level, index));
        (0..tiles_at(size, level)).map(path)
    });
    tiles.chain(bundles)
}

/// How many paths [`paths`] gives.
pub fn paths_count(size: u64) -> u64 {
    let tiles = (0..TILE_LEVELS_MAX).map(|level| tiles_at(size, level));
    tiles.fold(tiles_at(size, 0), u64::saturating_add)
}

/// How many entries a log must have for the file at this path to exist; `None` if the text is not
/// the one spelling of a tile's or bundle's path.
pub fn size_needed(path: &str) -> Option<u64> {
    let (kind, rest) = path.strip_prefix("tile/")?.split_once('/')?;
    let (elements, width) = match rest.split_once(".p/") {
        Some((elements, width)) => (elements, width.parse().ok()?),
        None => (rest, TILE_WIDTH),
    };
    let mut index: u64 = 0;
    for element in elements.split('/') {
        let digits: u64 = element.strip_prefix('x').unwrap_or(element).parse().ok()?;
        index = index.checked_mul(1000)?.checked_add(digits)?;
    }
    let level = if kind == "entries" { 0 } else { kind.parse().ok()? };
    let spelled = match kind {
        "entries" => bundle_path(index, width),
        _ => tile_path(level, index, width),
    };
    if spelled != path || width == 0 {
        return None;
    }
    let hashes = index.checked_mul(u64::from(TILE_WIDTH))?.checked_add(u64::from(width))?;
    let bits = TILE_HEIGHT.checked_mul(u32::from(level))?;
    let size = hashes.checked_shl(bits)?;
    (size.checked_shr(bits) == Some(hashes)).then_some(size)
}

/// Reads the hashes of a tile; `None` unless there are exactly `width` of them.
pub fn parse_tile(bytes: &[u8], width: u16) -> Option<Vec<Digest>> {
    let (hashes, rest) = bytes.as_chunks::<32>();
    let is_whole = rest.is_empty() && hashes.len() == usize::from(width);
    is_whole.then(|| hashes.iter().copied().map(Digest::from_bytes).collect())
}

fn tile_bytes(hashes: &[Digest]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| *hash.as_bytes()).collect()
}

/// Why bytes are not an entry bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// The bytes end within an entry.
    #[error("ends within entry {position} of the bundle")]
    Truncated {
        /// Which entry, counted within the bundle.
        position: u16,
    },
    /// An entry without bytes: zero-filled storage would read as such.
    #[error("entry {position} of the bundle is empty")]
    Empty {
        /// Which entry, counted within the bundle.
        position: u16,
    },
    /// Bytes follow the last entry.
    #[error("{count} bytes follow the last entry of the bundle")]
    Trailing {
        /// How many.
        count: usize,
    },
}

/// Reads the entries of a bundle: exactly `width` of them.
pub fn parse_bundle(bytes: &[u8], width: u16) -> Result<Vec<&[u8]>, BundleError> {
    let mut entries = Vec::with_capacity(usize::from(width));
    let mut rest = bytes;
    for position in 0..width {
        let truncated = BundleError::Truncated { position };
        let (length, tail) = rest.split_first_chunk::<2>().ok_or(truncated)?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (entry, tail) = tail.split_at_checked(length).ok_or(truncated)?;
        if entry.is_empty() {
            return Err(BundleError::Empty { position });
        }
        entries.push(entry);
        rest = tail;
    }
    if !rest.is_empty() {
        return Err(BundleError::Trailing { count: rest.len() });
    }
    Ok(entries)
}

/// The root of a complete subtree over these hashes, whose number is a power of two.
pub(crate) fn subtree_root(hashes: &[Digest]) -> Digest {
    let mut row = hashes.to_vec();
    while row.len() > 1 {
        row = row.as_chunks::<2>().0.iter().map(|[left, right]| node_hash(left, right)).collect();
    }
    row.first().copied().unwrap_or_else(empty_root)
}

/// The hashes of the partial tiles, one list per tile level: together they are the whole tree.
#[derive(Clone, Debug, Default)]
pub(crate) struct Edge {
    levels: Vec<Vec<Digest>>,
}

impl Edge {
    pub(crate) fn level(&self, level: u8) -> &[Digest] {
        self.levels.get(usize::from(level)).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn add_level(&mut self, hashes: Vec<Digest>) {
        self.levels.push(hashes);
    }

    /// The root of the tree. Every hash of every partial tile goes into it.
    pub(crate) fn root(&self) -> Digest {
        let mut root: Option<Digest> = None;
        for hashes in &self.levels {
            for peak in peaks(hashes).iter().rev() {
                root = Some(root.map_or(*peak, |right| node_hash(peak, &right)));
            }
        }
        root.unwrap_or_else(empty_root)
    }

    /// Adds a hash to a level; gives back the level's hashes if that filled a tile.
    fn push(&mut self, level: usize, hash: Digest) -> Option<Vec<Digest>> {
        if self.levels.len() <= level {
            self.levels.resize_with(level + 1, Vec::new);
        }
        let hashes = self.levels.get_mut(level)?;
        hashes.push(hash);
        let is_full = hashes.len() >= usize::from(TILE_WIDTH);
        is_full.then(|| std::mem::take(hashes))
    }
}

/// The roots of the complete subtrees that a row of hashes falls into, largest first.
fn peaks(hashes: &[Digest]) -> Vec<Digest> {
    let mut peaks = Vec::new();
    let mut rest = hashes;
    while !rest.is_empty() {
        let (subtree, tail) = rest.split_at(1 << rest.len().ilog2());
        peaks.push(subtree_root(subtree));
        rest = tail;
    }
    peaks
}

/// Why an entry cannot be appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// Entries are never empty.
    #[error("an entry cannot be empty")]
    Empty,
    /// The entry is longer than a bundle can hold.
    #[error("an entry of {bytes} bytes is longer than {ENTRY_BYTES_MAX}")]
    TooLong {
        /// How long it is.
        bytes: usize,
    },
    /// The log cannot hold more.
    #[error("the log is full")]
    Full,
}

/// Turns appended entries into tiles and bundles.
///
/// Completed files wait in memory for [`TileWriter::take_complete`]; take them at least every few
/// bundles.
#[derive(Clone, Debug, Default)]
pub struct TileWriter {
    size: u64,
    edge: Edge,
    bundle: Vec<u8>,
    complete: Vec<TileFile>,
    is_hashes_only: bool,
}

impl TileWriter {
    /// A writer of an empty log.
    pub fn new() -> Self {
        Self::default()
    }

    /// Goes on after a checkpoint; what is read back is checked against its root.
    pub fn resume(store: &dyn ByteStore, checkpoint: &Checkpoint) -> Result<Self, TileError> {
        let mut reader = TileReader::open(store, checkpoint)?;
        let mut bundle = Vec::new();
        let index = checkpoint.size / u64::from(TILE_WIDTH);
        if tile_width(checkpoint.size, 0, index) > 0 {
            for (entry, _) in reader.bundle(index)?.entries() {
                write_entry(&mut bundle, entry);
            }
        }
        let (size, edge) = (checkpoint.size, reader.into_edge());
        Ok(Self { size, edge, bundle, complete: Vec::new(), is_hashes_only: false })
    }

    /// The same, for who keeps the entries itself: no bundles are made, which are most of what a
    /// writer holds in memory.
    pub fn hashes_only(self) -> Self {
        Self { bundle: Vec::new(), is_hashes_only: true, ..self }
    }

    /// Appends an entry; gives back its leaf hash.
    pub fn append(&mut self, entry: &[u8]) -> Result<Digest, AppendError> {
        if entry.is_empty() {
            return Err(AppendError::Empty);
        }
        if entry.len() > ENTRY_BYTES_MAX {
            return Err(AppendError::TooLong { bytes: entry.len() });
        }
        self.size = self.size.checked_add(1).ok_or(AppendError::Full)?;
        if !self.is_hashes_only {
            write_entry(&mut self.bundle, entry);
        }
        if !self.is_hashes_only && self.size.is_multiple_of(u64::from(TILE_WIDTH)) {
            let path = bundle_path(self.size / u64::from(TILE_WIDTH) - 1, TILE_WIDTH);
            self.complete.push(TileFile { path, bytes: std::mem::take(&mut self.bundle) });
        }
        let leaf = leaf_hash(entry);
        let mut carry = leaf;
        for level in 0..TILE_LEVELS_MAX {
            let Some(hashes) = self.edge.push(usize::from(level), carry) else { break };
            let index = hashes_at(self.size, level + 1).saturating_sub(1);
            let path = tile_path(level, index, TILE_WIDTH);
            self.complete.push(TileFile { path, bytes: tile_bytes(&hashes) });
            carry = subtree_root(&hashes);
        }
        Ok(leaf)
    }

    /// How many entries.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The root over all entries.
    pub fn root(&self) -> Digest {
        self.edge.root()
    }

    /// The full tiles and bundles that were completed since this was last asked.
    pub fn take_complete(&mut self) -> Vec<TileFile> {
        std::mem::take(&mut self.complete)
    }

    /// The partial tiles and the partial bundle of the present size.
    pub fn partials(&self) -> Vec<TileFile> {
        let mut files = Vec::new();
        for level in 0..TILE_LEVELS_MAX {
            let hashes = self.edge.level(level);
            let Ok(width @ 1..) = u16::try_from(hashes.len()) else { continue };
            let index = hashes_at(self.size, level) / u64::from(TILE_WIDTH);
            let path = tile_path(level, index, width);
            files.push(TileFile { path, bytes: tile_bytes(hashes) });
            if level == 0 && !self.is_hashes_only {
                let path = bundle_path(index, width);
                files.push(TileFile { path, bytes: self.bundle.clone() });
            }
        }
        files
    }

    /// All that has to be written before a checkpoint of the present size: complete files, then
    /// partial ones.
    pub fn flush(&mut self) -> Vec<TileFile> {
        let mut files = self.take_complete();
        files.append(&mut self.partials());
        files
    }
}

/// Writes an entry behind its length. Callers have checked that the length fits.
fn write_entry(bundle: &mut Vec<u8>, entry: &[u8]) {
    let length = u16::try_from(entry.len()).unwrap_or(u16::MAX);
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(entry);
}
