//! The Merkle tree of RFC 6962 over SHA-256: hashes, a compact frontier, proofs and their
//! verification.
//!
//! A node is named by its level (0 = leaf) and its index within that level; only complete subtrees
//! have a name. The tree does not know where hashes are kept: proofs are built from a
//! [`HashSource`]. Verification is total: any numbers and any hashes give an answer, never a panic.

use lockgate_types::Digest;
use sha2::{Digest as _, Sha256};

/// The hash of an entry: `SHA-256(0x00 ‖ entry)`.
pub fn leaf_hash(entry: &[u8]) -> Digest {
    let mut hash = Sha256::new();
    hash.update([0x00]);
    hash.update(entry);
    Digest::from_bytes(hash.finalize().into())
}

/// The hash of an inner node: `SHA-256(0x01 ‖ left ‖ right)`.
pub fn node_hash(left: &Digest, right: &Digest) -> Digest {
    let mut hash = Sha256::new();
    hash.update([0x01]);
    hash.update(left.as_bytes());
    hash.update(right.as_bytes());
    Digest::from_bytes(hash.finalize().into())
}

/// The root of the tree without entries: `SHA-256("")`.
pub fn empty_root() -> Digest {
    Digest::of(b"")
}

/// The right edge of a tree: what is needed to append to it and to know its root.
///
/// One hash per set bit of the size, largest subtree first, so at most 64.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Digest>,
}

impl Frontier {
    /// The frontier of the empty tree.
    pub const fn new() -> Self {
        Self { size: 0, peaks: Vec::new() }
    }

    /// Appends the hash of an entry.
    pub fn append(&mut self, leaf: Digest) {
        let mut carry = leaf;
        let mut bits = self.size;
        while bits & 1 == 1 {
            let Some(left) = self.peaks.pop() else { break };
            carry = node_hash(&left, &carry);
            bits >>= 1;
        }
        self.peaks.push(carry);
        self.size = self.size.saturating_add(1);
    }

    /// How many entries.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The root of the tree.
    pub fn root(&self) -> Digest {
        fold_peaks(&self.peaks).unwrap_or_else(empty_root)
    }

    /// Size as u64 big-endian, then the hashes: what a row of the database keeps.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(8 + 32 * self.peaks.len());
        out.extend_from_slice(&self.size.to_be_bytes());
        self.peaks.iter().for_each(|peak| out.extend_from_slice(peak.as_bytes()));
        out
    }

    /// Reads [`Frontier::to_bytes`] back; `None` if the number of hashes does not belong to the
    /// size.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (size, rest) = bytes.split_first_chunk::<8>()?;
        let size = u64::from_be_bytes(*size);
        let (hashes, remainder) = rest.as_chunks::<32>();
        if !remainder.is_empty() || u32::try_from(hashes.len()) != Ok(size.count_ones()) {
            return None;
        }
        Some(Self { size, peaks: hashes.iter().copied().map(Digest::from_bytes).collect() })
    }
}

/// Hashes subtrees of falling size into one, from the smallest up.
pub(crate) fn fold_peaks(peaks: &[Digest]) -> Option<Digest> {
    peaks.iter().rev().copied().reduce(|right, left| node_hash(&left, &right))
}

/// Where the hashes of a tree are read from.
pub trait HashSource {
    /// Why a hash could not be had.
    type Error: std::error::Error + 'static;

    /// The hash of the complete subtree of `2^level` entries that begins at entry `index *
    /// 2^level`.
    fn hash(&mut self, level: u32, index: u64) -> Result<Digest, Self::Error>;
}

/// Why a proof could not be built.
#[derive(Debug, thiserror::Error)]
pub enum ProveError<E: std::error::Error + 'static> {
    /// There is nothing to prove at this place.
    #[error("nothing to prove: {asked} is beyond a tree of {size} entries")]
    OutOfRange {
        /// The index, or the old size, that was asked for.
        asked: u64,
        /// The size of the tree.
        size: u64,
    },
    /// A hash could not be read.
    #[error("a hash of the tree could not be read")]
    Source {
        /// What the source said.
        #[source]
        source: E,
    },
}

/// The inclusion proof of an entry (RFC 6962 §2.1.1), from the leaf's sibling up.
pub fn inclusion_proof<S: HashSource>(
    source: &mut S,
    index: u64,
    size: u64,
) -> Result<Vec<Digest>, ProveError<S::Error>> {
    if index >= size {
        return Err(ProveError::OutOfRange { asked: index, size });
    }
    let (mut start, mut end) = (0, size);
    let mut siblings = Vec::new();
    while end - start > 1 {
        let middle = start + largest_power_below(end - start);
        if index < middle {
            siblings.push((middle, end));
            end = middle;
        } else {
            siblings.push((start, middle));
            start = middle;
        }
    }
    hash_ranges_upwards(source, &siblings)
}

/// The consistency proof between two sizes of one tree (RFC 6962 §2.1.2).
///
/// Empty if the sizes are equal, or if the old tree is empty: any tree extends that one.
pub fn consistency_proof<S: HashSource>(
    source: &mut S,
    old_size: u64,
    size: u64,
) -> Result<Vec<Digest>, ProveError<S::Error>> {
    if old_size > size {
        return Err(ProveError::OutOfRange { asked: old_size, size });
    }
    if old_size == 0 || old_size == size {
        return Ok(Vec::new());
    }
    let (mut start, mut end) = (0, size);
    let mut ranges = Vec::new();
    while end != old_size {
        let middle = start + largest_power_below(end - start);
        if old_size <= middle {
            ranges.push((middle, end));
            end = middle;
        } else {
            ranges.push((start, middle));
            start = middle;
        }
    }
    // The verifier knows the old root already; any other old subtree it must be told.
    if start != 0 {
        ranges.push((start, end));
    }
    hash_ranges_upwards(source, &ranges)
}

/// The root that the tree had when it was of this size.
pub fn root_at<S: HashSource>(source: &mut S, size: u64) -> Result<Digest, S::Error> {
    if size == 0 {
        return Ok(empty_root());
    }
    range_hash(source, 0, size)
}

fn hash_ranges_upwards<S: HashSource>(
    source: &mut S,
    ranges: &[(u64, u64)],
) -> Result<Vec<Digest>, ProveError<S::Error>> {
    let hashes = ranges.iter().rev().map(|(start, end)| range_hash(source, *start, *end));
    hashes.collect::<Result<_, _>>().map_err(|source| ProveError::Source { source })
}

/// The hash over entries `start..end`, where `start` is a multiple of the power of two that spans
/// the range.
fn range_hash<S: HashSource>(source: &mut S, start: u64, end: u64) -> Result<Digest, S::Error> {
    let length = end - start;
    let mut at = start;
    let mut peaks = Vec::new();
    for level in (0..u64::BITS).rev().filter(|level| length >> level & 1 == 1) {
        peaks.push(source.hash(level, at >> level)?);
        at += 1 << level;
    }
    Ok(fold_peaks(&peaks).unwrap_or_else(empty_root))
}

/// The largest power of two below `n`, for `n` ≥ 2.
const fn largest_power_below(n: u64) -> u64 {
    1 << (n - 1).ilog2()
}

/// Why a proof does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The index is not in the tree, or the old tree is larger than the new one.
    #[error("the proof is about a place beyond the tree")]
    OutOfRange,
    /// The proof does not have the number of hashes that the sizes call for.
    #[error("the proof has a wrong number of hashes")]
    WrongLength,
    /// The hashes lead to another root.
    #[error("the proof leads to another root")]
    OtherRoot,
}

/// Checks that an entry hash stands at `index` of the tree with this size and root (RFC 9162
/// §2.1.3.2).
pub fn verify_inclusion(
    leaf: &Digest,
    index: u64,
    size: u64,
    proof: &[Digest],
    root: &Digest,
) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::OutOfRange);
    }
    let (mut node, mut last) = (index, size - 1);
    let mut hash = *leaf;
    for sibling in proof {
        if last == 0 {
            return Err(ProofError::WrongLength);
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            // A node without a right sibling is carried up unchanged to where it has a left one. It
            // is not 0 here.
            let skipped = node.trailing_zeros();
            (node, last) = (node >> skipped, last >> skipped);
        } else {
            hash = node_hash(&hash, sibling);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    if last != 0 {
        return Err(ProofError::WrongLength);
    }
    if hash == *root { Ok(()) } else { Err(ProofError::OtherRoot) }
}

/// Checks that the old tree is a prefix of the new one (RFC 9162 §2.1.4.2).
pub fn verify_consistency(
    old_size: u64,
    old_root: &Digest,
    size: u64,
    root: &Digest,
    proof: &[Digest],
) -> Result<(), ProofError> {
    if old_size > size {
        return Err(ProofError::OutOfRange);
    }
    if old_size == size || old_size == 0 {
        if !proof.is_empty() {
            return Err(ProofError::WrongLength);
        }
        let is_old_right = old_size != 0 || *old_root == empty_root();
        let is_same = old_size != size || old_root == root;
        return if is_old_right && is_same { Ok(()) } else { Err(ProofError::OtherRoot) };
    }
    let shift = (old_size - 1).trailing_ones();
    let (mut node, mut last) = ((old_size - 1) >> shift, (size - 1) >> shift);
    // If the old tree is one complete subtree, its root is the start and the proof leaves it out.
    let (seed, rest) = match (old_size.is_power_of_two(), proof.split_first()) {
        (true, _) => (*old_root, proof),
        (false, Some((first, rest))) => (*first, rest),
        (false, None) => return Err(ProofError::WrongLength),
    };
    let (mut old_hash, mut hash) = (seed, seed);
    for sibling in rest {
        if last == 0 {
            return Err(ProofError::WrongLength);
        }
        if node & 1 == 1 || node == last {
            old_hash = node_hash(sibling, &old_hash);
            hash = node_hash(sibling, &hash);
            let skipped = node.trailing_zeros();
            (node, last) = (node >> skipped, last >> skipped);
        } else {
            hash = node_hash(&hash, sibling);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    if last != 0 {
        return Err(ProofError::WrongLength);
    }
    if old_hash == *old_root && hash == *root { Ok(()) } else { Err(ProofError::OtherRoot) }
}
