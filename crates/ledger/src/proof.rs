//! The proof of one entry as a file that stands alone (C2SP tlog-proof, version 1).
//!
//! Whoever has the entry, this text and the log's verifier key can check it with no gate and no
//! network. Our proofs carry the entry itself as `extra` data, which is believed only because its
//! hash is what the proof is about.

use crate::note::{Checkpoint, NOTE_BYTES_MAX, NoteError, VerifierKey, parse_decimal, parse_hash};
use crate::reader::{TileError, TileReader};
use crate::tiles::ENTRY_BYTES_MAX;
use crate::tree::{ProofError, ProveError, inclusion_proof, leaf_hash, verify_inclusion};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use lockgate_types::Digest;

/// Hashes of an inclusion proof: one per level of a tree with a 64-bit size.
pub const PROOF_HASHES_MAX: usize = 64;
/// Bytes of a proof file: the note, the hashes, and an entry in base64.
pub const PROOF_BYTES_MAX: usize = NOTE_BYTES_MAX + ENTRY_BYTES_MAX * 2;

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";

/// The proof that an entry stands in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryProof {
    /// The entry, if the file carries it. Not to be believed before [`EntryProof::verify`].
    pub entry: Option<Vec<u8>>,
    /// Where it stands.
    pub index: u64,
    /// The inclusion proof, from the leaf's sibling up.
    pub hashes: Vec<Digest>,
    /// The signed checkpoint, verbatim.
    pub checkpoint: String,
}

/// Why a proof is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryProofError {
    /// The text is not a proof file.
    #[error("not a proof of an entry: expected {expected}")]
    NotAProof {
        /// What would have been acceptable.
        expected: &'static str,
    },
    /// The proof carries no entry, and none was given.
    #[error("the proof does not carry its entry: give the entry as well")]
    NoEntry,
    /// The checkpoint is refused.
    #[error("the checkpoint of the proof is refused")]
    Checkpoint {
        /// Why.
        #[source]
        source: NoteError,
    },
    /// The entry does not stand where the proof says.
    #[error("the entry is not at index {index} of the log")]
    NotIncluded {
        /// Where the proof says it stands.
        index: u64,
        /// Why not.
        #[source]
        source: ProofError,
    },
}

impl EntryProof {
    /// Builds the proof of an entry; the note is the signed checkpoint that the reader was opened
    /// at.
    pub fn build(
        reader: &mut TileReader<'_>,
        index: u64,
        note: &str,
    ) -> Result<Self, ProveError<TileError>> {
        let size = reader.size();
        let hashes = inclusion_proof(reader, index, size)?;
        let entry = reader.entry(index).map_err(|source| ProveError::Source { source })?;
        Ok(Self { entry: Some(entry), index, hashes, checkpoint: note.to_owned() })
    }

    /// The text of the file.
    pub fn to_text(&self) -> String {
        let mut text = format!("{FIRST_LINE}\n");
        if let Some(entry) = &self.entry {
            text.push_str(&format!("extra {}\n", BASE64.encode(entry)));
        }
        text.push_str(&format!("index {}\n", self.index));
        for hash in &self.hashes {
            text.push_str(&BASE64.encode(hash.as_bytes()));
            text.push('\n');
        }
        text.push('\n');
        text.push_str(&self.checkpoint);
        text
    }

    /// Reads a file.
    pub fn parse(text: &str) -> Result<Self, EntryProofError> {
        let refuse = |expected| EntryProofError::NotAProof { expected };
        if text.len() > PROOF_BYTES_MAX {
            return Err(refuse("a shorter text"));
        }
        let (head, checkpoint) = text.split_once("\n\n").ok_or(refuse("a checkpoint"))?;
        let mut lines = head.split('\n').peekable();
        if lines.next() != Some(FIRST_LINE) {
            return Err(refuse("`c2sp.org/tlog-proof@v1` as first line"));
        }
        let extra = lines.next_if(|line| line.starts_with("extra "));
        let entry = extra
            .and_then(|line| line.strip_prefix("extra "))
            .map(|extra| BASE64.decode(extra).map_err(|_| refuse("`extra` in base64")))
            .transpose()?;
        let index = lines.next().and_then(|line| line.strip_prefix("index "));
        let index = index.and_then(parse_decimal).ok_or(refuse("`index` and a number"))?;
        let hashes: Option<Vec<Digest>> = lines.map(parse_hash).collect();
        let hashes = hashes.filter(|hashes| hashes.len() <= PROOF_HASHES_MAX);
        let hashes = hashes.ok_or(refuse("at most 64 hashes in base64"))?;
        Ok(Self { entry, index, hashes, checkpoint: checkpoint.to_owned() })
    }

    /// Checks the proof for the entry that it carries; gives back the entry and the checkpoint it
    /// stands under.
    pub fn verify(&self, verifier: &VerifierKey) -> Result<(&[u8], Checkpoint), EntryProofError> {
        let entry = self.entry.as_deref().ok_or(EntryProofError::NoEntry)?;
        Ok((entry, self.verify_entry(entry, verifier)?))
    }

    /// Checks the proof for an entry that came another way.
    pub fn verify_entry(
        &self,
        entry: &[u8],
        verifier: &VerifierKey,
    ) -> Result<Checkpoint, EntryProofError> {
        let checkpoint = Checkpoint::open(self.checkpoint.as_bytes(), verifier)
            .map_err(|source| EntryProofError::Checkpoint { source })?;
        let leaf = leaf_hash(entry);
        verify_inclusion(&leaf, self.index, checkpoint.size, &self.hashes, &checkpoint.root)
            .map_err(|source| EntryProofError::NotIncluded { index: self.index, source })?;
        Ok(checkpoint)
    }
}
