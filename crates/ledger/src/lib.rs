//! The ledger: an append-only Merkle log that somebody else can verify.
//!
//! An RFC 6962 tree (`tree`), published as C2SP tlog-tiles (`tiles`, `reader`) under a signed
//! checkpoint (`note`), with entries in canonical JSON (`leaf`), proofs for single entries
//! (`proof`) and the check of a whole log (`verify`). Bytes come from a [`ByteStore`]; files,
//! databases, clocks and randomness are somebody else's.

pub mod leaf;
pub mod note;
pub mod proof;
pub mod reader;
pub mod tiles;
pub mod tree;
pub mod verify;

pub use leaf::{Entry, EntryError, Kind};
pub use note::{Checkpoint, NoteError, Signer, VerifierKey, tenant_origin};
pub use proof::{EntryProof, EntryProofError};
pub use reader::{ByteStore, TileError, TileReader};
pub use tiles::{TileFile, TileWriter};
pub use tree::{Frontier, HashSource, ProofError, leaf_hash, node_hash};
pub use verify::{Report, VerifyError, verify_log, verify_range};
