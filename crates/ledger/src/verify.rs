//! The check of a whole log, or of a part of it, by somebody who believes only a key and what they
//! remember.
//!
//! Signature, growth since a remembered checkpoint, every tile against its parent, every entry
//! against its leaf hash, and, over the whole, all leaf hashes once more against the signed root
//! without using the tiles. Then what the entries themselves claim: that each is one, and stands
//! where it says. The error names the first place that fails.

use crate::leaf::{Entry, EntryError};
use crate::note::{Checkpoint, NoteError, VerifierKey};
use crate::reader::{ByteStore, TileError, TileReader};
use crate::tiles::{TILE_WIDTH, bundle_path, tile_width};
use crate::tree::{Frontier, root_at};
use lockgate_types::Code;
use std::io;
use std::ops::Range;

/// The path of the signed checkpoint.
pub const CHECKPOINT_PATH: &str = "checkpoint";

/// What was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The head of the log, signed.
    pub checkpoint: Checkpoint,
    /// The size of the remembered checkpoint, of which the log is a continuation.
    pub continues: Option<u64>,
    /// How many entries were read and rehashed.
    pub entries: u64,
    /// How many tiles were checked against their parents.
    pub tiles: u64,
}

/// What failed, and where.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// There is no log here.
    #[error("there is no `checkpoint` here")]
    NoCheckpoint,
    /// The checkpoint could not be read.
    #[error("the checkpoint cannot be read")]
    Unreadable {
        /// What the store said.
        #[source]
        source: io::Error,
    },
    /// The checkpoint is not one that the key has signed.
    #[error("the checkpoint is refused")]
    Checkpoint {
        /// Why.
        #[source]
        source: NoteError,
    },
    /// The remembered checkpoint is that of another log.
    #[error("the remembered checkpoint is of the log `{remembered}`, this is `{found}`")]
    OtherLog {
        /// Origin of the remembered checkpoint.
        remembered: String,
        /// Origin of this log.
        found: String,
    },
    /// The log has become shorter: entries were cut off, or an old state was restored.
    #[error("the log has {found} entries, but had {remembered} before")]
    Behind {
        /// The size that was remembered.
        remembered: u64,
        /// The size now.
        found: u64,
    },
    /// The log is not a continuation of the remembered one: it was rewritten.
    #[error("the first {size} entries are not those of the remembered checkpoint")]
    Forked {
        /// The size that was remembered.
        size: u64,
    },
    /// A tile or an entry is not the one that was logged.
    #[error(transparent)]
    Tile {
        /// Which, and why.
        source: TileError,
    },
    /// The entries do not hash to the signed root, although every tile seemed right.
    #[error("the {size} entries do not hash to the signed root")]
    NotOfRoot {
        /// How many entries.
        size: u64,
    },
    /// An entry is not one: it was logged like this, by something that is not this gate.
    #[error("entry {index} in `{path}` is not a ledger entry")]
    Entry {
        /// Which entry.
        index: u64,
        /// The bundle that it stands in.
        path: String,
        /// What is wrong with it.
        #[source]
        source: EntryError,
    },
    /// An entry says that it stands elsewhere.
    #[error("entry {index} in `{path}` says that it is entry {claimed}")]
    Misplaced {
        /// Where it stands.
        index: u64,
        /// Where it says it stands.
        claimed: u64,
        /// The bundle that it stands in.
        path: String,
    },
    /// The range that was asked for is not in the log.
    #[error("entries {start} to {end} were asked for, but the log has {size}")]
    NoSuchRange {
        /// First entry asked for.
        start: u64,
        /// The entry after the last one asked for.
        end: u64,
        /// How many there are.
        size: u64,
    },
}

impl VerifyError {
    /// The code that users look up.
    pub const fn code(&self) -> Code {
        match self {
            Self::Behind { .. } => Code::LedgerBehind,
            Self::NoSuchRange { .. } => Code::RecordNotFound,
            Self::NoCheckpoint
            | Self::Unreadable { .. }
            | Self::Checkpoint { .. }
            | Self::OtherLog { .. }
            | Self::Forked { .. }
            | Self::Tile { .. }
            | Self::NotOfRoot { .. }
            | Self::Entry { .. }
            | Self::Misplaced { .. } => Code::LedgerCorrupt,
        }
    }

    /// What to do about it.
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::NoCheckpoint => {
                "point to the directory that holds `checkpoint` and `tile`; a log that was never \
                 exported has neither"
            }
            Self::Unreadable { .. } | Self::Tile { source: TileError::Unreadable { .. } } => {
                "check that the files can be read, and try again"
            }
            Self::Checkpoint {
                source: NoteError::NotSigned { .. } | NoteError::OtherOrigin { .. },
            } => {
                "check that the verifier key is that of this log, and that it came another way \
                 than the log"
            }
            Self::Checkpoint { .. } => {
                "the checkpoint was changed or damaged: keep what you have, and compare it with a \
                 copy from elsewhere"
            }
            Self::OtherLog { .. } => "use a remembered checkpoint of this log",
            Self::Behind { .. } => {
                "restore the newest state; if entries were cut off, keep both checkpoints: \
                 together they prove it"
            }
            Self::Forked { .. } | Self::NotOfRoot { .. } => {
                "keep this log and the checkpoint: together they prove that history was rewritten"
            }
            Self::Tile { source: TileError::Missing { .. } } => {
                "export the log again, or copy the missing file from another export"
            }
            Self::Tile { .. } => {
                "the file was changed or damaged: keep it, copy it anew from another export, and \
                 verify again"
            }
            Self::Entry { .. } | Self::Misplaced { .. } => {
                "the entry was signed like this: find out which program wrote this log"
            }
            Self::NoSuchRange { .. } => "ask for entries below the size of the log",
        }
    }
}

/// Verifies a whole log. `progress` is told how many entries are done, and of how many.
pub fn verify_log(
    store: &dyn ByteStore,
    verifier: &VerifierKey,
    remembered: Option<&Checkpoint>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Report, VerifyError> {
    let (checkpoint, mut reader) = open(store, verifier, remembered)?;
    let mut frontier = Frontier::new();
    let all = 0..checkpoint.size;
    let entries = check_entries(&mut reader, &all, Some(&mut frontier), progress)?;
    if frontier.root() != checkpoint.root {
        return Err(VerifyError::NotOfRoot { size: checkpoint.size });
    }
    Ok(report(checkpoint, remembered, entries, &reader))
}

/// Verifies the entries of a range and the tiles above them.
pub fn verify_range(
    store: &dyn ByteStore,
    verifier: &VerifierKey,
    remembered: Option<&Checkpoint>,
    range: Range<u64>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Report, VerifyError> {
    let (checkpoint, mut reader) = open(store, verifier, remembered)?;
    let (Range { start, end }, size) = (range.clone(), checkpoint.size);
    if start > end || end > size {
        return Err(VerifyError::NoSuchRange { start, end, size });
    }
    let entries = check_entries(&mut reader, &range, None, progress)?;
    Ok(report(checkpoint, remembered, entries, &reader))
}

/// Reads and checks the signed checkpoint of a store.
pub fn read_checkpoint(
    store: &dyn ByteStore,
    verifier: &VerifierKey,
) -> Result<Checkpoint, VerifyError> {
    let note = store.get(CHECKPOINT_PATH).map_err(|source| VerifyError::Unreadable { source })?;
    let note = note.ok_or(VerifyError::NoCheckpoint)?;
    Checkpoint::open(&note, verifier).map_err(|source| VerifyError::Checkpoint { source })
}

fn report(
    checkpoint: Checkpoint,
    remembered: Option<&Checkpoint>,
    entries: u64,
    reader: &TileReader<'_>,
) -> Report {
    let continues = remembered.map(|old| old.size);
    Report { checkpoint, continues, entries, tiles: reader.tiles_checked() }
}

fn open<'a>(
    store: &'a dyn ByteStore,
    verifier: &VerifierKey,
    remembered: Option<&Checkpoint>,
) -> Result<(Checkpoint, TileReader<'a>), VerifyError> {
    let tile = |source| VerifyError::Tile { source };
    let checkpoint = read_checkpoint(store, verifier)?;
    let Some(old) = remembered else {
        let reader = TileReader::open(store, &checkpoint).map_err(tile)?;
        return Ok((checkpoint, reader));
    };
    if old.origin != checkpoint.origin {
        let (remembered, found) = (old.origin.clone(), checkpoint.origin);
        return Err(VerifyError::OtherLog { remembered, found });
    }
    if old.size > checkpoint.size {
        return Err(VerifyError::Behind { remembered: old.size, found: checkpoint.size });
    }
    let mut reader = TileReader::open(store, &checkpoint).map_err(tile)?;
    if root_at(&mut reader, old.size).map_err(tile)? != old.root {
        return Err(VerifyError::Forked { size: old.size });
    }
    Ok((checkpoint, reader))
}

fn check_entries(
    reader: &mut TileReader<'_>,
    range: &Range<u64>,
    mut frontier: Option<&mut Frontier>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<u64, VerifyError> {
    let width = u64::from(TILE_WIDTH);
    let bundles = range.start / width..range.end.div_ceil(width);
    let total = range.end - range.start;
    let mut done = 0;
    for at in bundles {
        let bundle = reader.bundle(at).map_err(|source| VerifyError::Tile { source })?;
        for (index, (entry, hash)) in (at * width..).zip(bundle.entries()) {
            if !range.contains(&index) {
                continue;
            }
            check_claims(entry, index, reader.size())?;
            if let Some(frontier) = frontier.as_deref_mut() {
                frontier.append(*hash);
            }
            done += 1;
        }
        progress(done, total);
    }
    Ok(done)
}

fn check_claims(entry: &[u8], index: u64, size: u64) -> Result<(), VerifyError> {
    let path = || {
        let at = index / u64::from(TILE_WIDTH);
        bundle_path(at, tile_width(size, 0, at))
    };
    match Entry::parse(entry) {
        Ok((claimed, _)) if claimed == index => Ok(()),
        Ok((claimed, _)) => Err(VerifyError::Misplaced { index, claimed, path: path() }),
        Err(source) => Err(VerifyError::Entry { index, path: path(), source }),
    }
}
