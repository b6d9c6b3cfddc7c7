//! Where documents come from: one way to ask, whatever is asked.
//!
//! A connector says what there is, in which version, and who may read it where the source knows;
//! the bytes are fetched one document at a time, and only those that are not known yet. It parses
//! nothing: what it fetches goes to a confined process (`ingest`).

mod address;
mod asked;
mod directory;
mod follow;
mod git;
mod http;
mod permissions;
mod robots;
mod s3;
mod sqlite;
mod table;

pub use crate::corpus::Permissions;
pub use asked::{Answer, Ask, Asked};
pub use directory::{Directory, ROOT};
pub use follow::{FindLinks, Follow};
pub use git::Git;
pub use http::{Fetch, Fetched, Http, Request};
pub use permissions::PERMISSIONS_FILE;
pub use s3::{S3, S3Keys};
pub use sqlite::Sqlite;
pub use table::{QueryColumns, ROWS_BYTES_MAX};

use crate::format::Parsed;
use lockgate_types::{Code, Micros};

/// Documents of one source.
pub const DOCUMENTS_MAX: usize = 200_000;
/// Folders within folders.
pub const FOLDERS_DEPTH_MAX: usize = 32;
/// Bytes of the id of a document, or of a folder's path.
pub const PLACE_BYTES_MAX: usize = 1024;

/// A document at its source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// What it is called within its source. Stable over changes.
    pub id: String,
    /// What differs if its bytes do. `None`: that is known when they are there.
    pub version: Option<String>,
    /// The folders it lies in, the outermost first, by their whole paths.
    pub folders: Vec<String>,
    /// To whom it is shared by itself, where the source says.
    pub permissions: Option<Permissions>,
    /// When it was made, where the source says.
    pub made: Option<Micros>,
    /// When it was changed, where the source says.
    pub changed: Option<Micros>,
    /// Who wrote it, where the source says.
    pub author: Option<String>,
    /// Where a person can look it up.
    pub link: Option<String>,
    /// What the source says it is written in.
    pub media_type: Option<String>,
}

/// What a source has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Its documents, in order of their ids: all, or those that changed.
    pub entries: Vec<Entry>,
    /// To whom folders are shared, by whole path.
    pub folders: Vec<(String, Permissions)>,
    /// Whether that is all there is. If it is not, what is not mentioned is as it was.
    pub is_whole: bool,
    /// Documents that are gone, if it is not all.
    pub gone: Vec<String>,
    /// Where to go on the next time.
    pub cursor: Option<String>,
    /// What is there and is not read, and why: links, files that are too large.
    pub skipped: Vec<(String, String)>,
}

/// The content of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Its bytes.
    Bytes {
        /// All of them.
        bytes: Vec<u8>,
        /// What the source says they are.
        media_type: Option<String>,
        /// Their version, if it was not known before.
        version: Option<String>,
        /// When they were changed, if that was not known before.
        changed: Option<Micros>,
    },
    /// It is a row, and was never written in any format.
    Row(Box<Parsed>),
    /// It is as it was in the version that is known.
    Same,
    /// It is gone.
    Gone,
}

/// Why a source does not say what it has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// It is away, or broken: it may be back.
    #[error("the source cannot be read: {why}")]
    Away {
        /// What is wrong.
        why: String,
    },
    /// It leads where nobody has allowed to go.
    #[error("the source leads elsewhere: {why}")]
    Elsewhere {
        /// Where.
        why: String,
    },
    /// There is more than may be.
    #[error("the source has more than {max} {what}")]
    TooMuch {
        /// Of what.
        what: &'static str,
        /// How many may be.
        max: usize,
    },
    /// Its declaration does not fit what is there.
    #[error("the source is declared otherwise than it is: {why}")]
    Mismatch {
        /// What does not fit.
        why: String,
    },
}

impl ConnectError {
    pub(crate) fn away(why: impl std::fmt::Display) -> Self {
        Self::Away { why: why.to_string() }
    }

    /// The code of the failure.
    pub const fn code(&self) -> Code {
        match self {
            Self::Away { .. } => Code::SourceAway,
            Self::Elsewhere { .. } => Code::SourceElsewhere,
            Self::TooMuch { .. } => Code::SourceTooLarge,
            Self::Mismatch { .. } => Code::SourceMismatch,
        }
    }
}

/// A source that can be asked.
pub trait Connector {
    /// What there is, or what has changed since the cursor of an earlier answer.
    fn list(&mut self, cursor: Option<&str>) -> Result<Listing, ConnectError>;

    /// The content of a document. `known`: the version that is there already.
    fn fetch(&mut self, entry: &Entry, known: Option<&str>) -> Result<Content, ConnectError>;
}

/// The folders of a path with slashes, the outermost first, by their whole paths.
pub fn folders_of(path: &str) -> Vec<String> {
    path.match_indices('/').filter_map(|(at, _)| path.get(..at)).map(str::to_owned).collect()
}

/// Whether a path may be an id: with a name, not too long, without anything that is not seen.
pub(crate) fn is_place(path: &str) -> bool {
    !path.is_empty()
        && path.len() <= PLACE_BYTES_MAX
        && path.split('/').count() <= FOLDERS_DEPTH_MAX
        && !path.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_whole_paths() {
        assert_eq!(folders_of("a/b/c.md"), ["a", "a/b"]);
        assert_eq!(folders_of("c.md"), Vec::<String>::new());
        assert!(is_place("a/b.md") && !is_place("") && !is_place("a\nb"));
        assert!(!is_place(&"a/".repeat(FOLDERS_DEPTH_MAX)));
    }
}
