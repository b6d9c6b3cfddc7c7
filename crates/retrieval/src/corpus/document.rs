//! Documents, as they are read.

use super::{Corpus, CorpusError, Kept, either};
use lockgate_types::document::DocumentFacts;
use lockgate_types::{Digest, Micros};

/// A document of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// What it is; who may see it, as is in force now.
    pub facts: DocumentFacts,
    /// What people call it.
    pub title: String,
    /// Who wrote it.
    pub author: Option<String>,
    /// When it was made.
    pub made: Option<Micros>,
    /// When this version of it was ingested.
    pub ingested: Micros,
    /// Where a person can look it up.
    pub link: Option<String>,
    /// All its text.
    pub text: String,
    /// Its chunks: bytes of the text.
    pub pieces: Vec<(u64, u64)>,
    /// The snapshot that was read.
    pub snapshot: u64,
}

/// A version of a document without its text.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) facts: DocumentFacts,
    pub(crate) title: String,
    pub(crate) author: Option<String>,
    pub(crate) made: Option<Micros>,
    pub(crate) ingested: Micros,
    pub(crate) link: Option<String>,
}

impl Found {
    /// The whole document.
    pub(crate) fn with(self, text: String, pieces: Vec<(u64, u64)>, snapshot: u64) -> Document {
        let Self { facts, title, author, made, ingested, link } = self;
        Document { facts, title, author, made, ingested, link, text, pieces, snapshot }
    }
}

/// A chunk's text, with where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Texts {
    pub(crate) span: (u64, u64),
    pub(crate) hash: Digest,
    pub(crate) text: String,
}

impl Corpus {
    /// A document of a snapshot, or of what serves. Nobody is asked whether it may be shown.
    ///
    /// # Errors
    ///
    /// If there is no such source, or the corpus cannot be read.
    pub fn read(
        &self,
        source: &str,
        snapshot: Option<u64>,
        id: &str,
    ) -> Result<Option<Document>, CorpusError> {
        either!(self, half => half.read(source, snapshot, id))
    }
}
