//! What a connector says about a source: documents, who may read them, and how much it has told.
//!
//! Everything has a bound, and what is beyond one is refused before anything is written. Nothing
//! here knows how a source is read.

use super::error::CorpusError;
use crate::index::curation;
use lockgate_types::document::{DocumentFacts, Reader};
use lockgate_types::{Digest, Micros};
use std::collections::BTreeSet;

/// Bytes of the text of one document. A longer one is cut into several by its connector.
pub const TEXT_BYTES_MAX: usize = 16 << 20;
/// Chunks of one document.
pub const PIECES_MAX: usize = 16_384;
/// Bytes of one chunk.
pub const PIECE_BYTES_MAX: usize = 32 << 10;
/// Bytes of the id of a document, or of the path of a folder.
pub const PLACE_BYTES_MAX: usize = 2048;
/// Folders that a document lies in, one within the other.
pub const FOLDERS_MAX: usize = 64;
/// Bytes of a title, of an author, of a link, of a kind and of an owner.
pub const WORD_BYTES_MAX: usize = 2048;
/// Tags of one document.
pub const TAGS_MAX: usize = 64;
/// Bytes of a tag.
pub const TAG_BYTES_MAX: usize = 64;
/// Shares, and denials, of one folder or document.
pub const GRANTS_MAX: usize = 4096;
/// Bytes of the name of a reader, and of that of a source.
pub const NAME_BYTES_MAX: usize = 256;

/// A source, as a draft of it is begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceOf {
    /// What the bundle calls it: one name in the whole gate.
    pub name: String,
    /// Whose it is.
    pub tenant: String,
    /// Where the permissions of its documents come from.
    pub access: Access,
}

/// Where the permissions of a source's documents come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// From the source: each document, and each folder that one lies in, has to be
    /// [told](super::Draft::permit); those of which one is missing are shared to nobody.
    Synced,
    /// From people, in Lockgate: of what nobody has said anything, nothing is shared.
    Declared,
}

/// What it means that a draft does not mention a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listing {
    /// All there is was listed: what is neither put nor kept is gone when the draft is published.
    Whole,
    /// Changes alone: what is not mentioned is as it was.
    Changes,
}

/// A document, as a connector has read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// What it is. `source` and `tenant` are those of the draft; `readers` and `denied` are not
    /// read: say them with `permissions`. A field's last folder is the id of its document.
    pub facts: DocumentFacts,
    /// To whom the document itself is shared; what its folders add is told of them. `None`: as it
    /// was told before, or by itself.
    pub permissions: Option<Permissions>,
    /// What people call it.
    pub title: String,
    /// Who wrote it.
    pub author: Option<String>,
    /// When it was made.
    pub made: Option<Micros>,
    /// Where a person can look it up.
    pub link: Option<String>,
    /// All its text, as it was extracted.
    pub text: String,
    /// The chunks: bytes of the text, from, to, on boundaries of characters; in order, they may
    /// overlap. None: the document is kept, and is not found by its text.
    pub pieces: Vec<(usize, usize)>,
    /// Of what was read at the source, before it was extracted: whoever finds the same again may
    /// [keep](super::Draft::keep) what is there.
    pub fingerprint: Digest,
}

/// To whom a folder or a document is shared, and from whom it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Permissions {
    /// Not to be found out: whatever depends on it is shared to nobody.
    Unknown,
    /// These, and those of the folders it lies in.
    Inherits {
        /// To whom it is shared.
        shares: BTreeSet<Reader>,
        /// From whom it is kept, whatever is shared.
        denials: BTreeSet<Reader>,
    },
    /// These alone: what its source says of the folders it lies in is not for it, nor for what lies
    /// in it. (What people say in Lockgate always adds up.)
    Alone {
        /// To whom it is shared.
        shares: BTreeSet<Reader>,
        /// From whom it is kept, whatever is shared.
        denials: BTreeSet<Reader>,
    },
}

impl Permissions {
    /// Shared to these beside whom its folders are shared to.
    pub fn shared(shares: impl IntoIterator<Item = Reader>) -> Self {
        Self::Inherits { shares: shares.into_iter().collect(), denials: BTreeSet::new() }
    }

    /// Nothing of its own.
    pub fn none() -> Self {
        Self::shared([])
    }
}

/// What is there of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Had {
    /// Of what was read at its source.
    pub fingerprint: Digest,
    /// When it was changed there.
    pub changed: Micros,
    /// Whether this draft has it already: whoever goes on with an interrupted one passes over it.
    pub is_in_draft: bool,
}

/// How much a draft has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Documents that were not there before.
    pub added: u64,
    /// Documents that were, otherwise.
    pub changed: u64,
    /// Documents that are as they were.
    pub kept: u64,
    /// Documents that are gone.
    pub removed: u64,
    /// Bytes of text of those that are new or changed.
    pub text_bytes: u64,
}

/// Refuses what is beyond a bound, or does not fit together.
pub(crate) fn check(incoming: &Incoming) -> Result<(), CorpusError> {
    let facts = &incoming.facts;
    check_place(&facts.id)?;
    facts.folders.iter().try_for_each(|folder| check_place(folder))?;
    let beyond = |what, are: usize, most: usize| match are > most {
        true => Err(CorpusError::Beyond { id: facts.id.clone(), what, most }),
        false => Ok(()),
    };
    beyond("bytes of text", incoming.text.len(), TEXT_BYTES_MAX)?;
    beyond("chunks", incoming.pieces.len(), PIECES_MAX)?;
    beyond("folders", facts.folders.len(), FOLDERS_MAX)?;
    beyond("tags", facts.tags.len(), TAGS_MAX)?;
    let longest = |words: &mut dyn Iterator<Item = &String>| words.map(String::len).max();
    let mut words = [&facts.kind, &incoming.title].into_iter();
    let mut words = words.by_ref().chain(&facts.owner).chain(&incoming.author);
    let mut words = words.by_ref().chain(&incoming.link);
    beyond("bytes of a word", longest(&mut words).unwrap_or(0), WORD_BYTES_MAX)?;
    let tag = longest(&mut facts.tags.iter()).unwrap_or(0);
    beyond("bytes of a tag", tag, TAG_BYTES_MAX)?;
    let words = [&facts.kind, &incoming.title].into_iter();
    let words = words.chain(&facts.owner).chain(&incoming.author).chain(&incoming.link);
    if !words.chain(&facts.tags).all(|word| can_be(word)) {
        return Err(with_zero(&facts.id));
    }
    for (from, to) in &incoming.pieces {
        beyond("bytes of a chunk", to.saturating_sub(*from), PIECE_BYTES_MAX)?;
    }
    let malformed = |what| Err(CorpusError::Malformed { id: facts.id.clone(), what });
    if incoming
        .pieces
        .iter()
        .any(|(from, to)| from >= to || incoming.text.get(*from..*to).is_none())
    {
        return malformed("a chunk is not a part of its text");
    }
    if !incoming.pieces.is_sorted() {
        return malformed("its chunks are not in order");
    }
    let places: BTreeSet<&String> = facts.folders.iter().chain([&facts.id]).collect();
    if places.len() != facts.folders.len() + 1 {
        return malformed("it lies in the same folder twice, or in itself");
    }
    incoming.permissions.iter().try_for_each(|told| crate::relation::check(&facts.id, told))
}

/// Refuses what is no id of a document and no path of a folder.
pub(crate) fn check_place(place: &str) -> Result<(), CorpusError> {
    let id = || place.chars().take(80).collect();
    if place.len() > PLACE_BYTES_MAX {
        let (what, most) = ("bytes of its id", PLACE_BYTES_MAX);
        return Err(CorpusError::Beyond { id: id(), what, most });
    }
    if can_be(place) { Ok(()) } else { Err(with_zero(place)) }
}

/// Whether a name, a title or a tag can be kept. PostgreSQL has no texts with a zero in them, and
/// what one corpus does not have the other does not have either. (Texts of documents are bytes.)
pub(crate) fn can_be(text: &str) -> bool {
    !text.contains('\0')
}

/// That something cannot be kept.
pub(crate) fn with_zero(id: &str) -> CorpusError {
    let id = id.chars().take(80).collect();
    CorpusError::Malformed { id, what: "a text of it has a character of number zero" }
}

/// Ids that are read at once.
pub(crate) const IDS_READ_MAX: usize = 10_000;

/// Refuses what is no name of a source or tenant.
pub(crate) fn check_name(name: &str) -> Result<(), CorpusError> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        let (what, most) = ("bytes of its name", NAME_BYTES_MAX);
        let id = name.chars().take(80).collect();
        return Err(CorpusError::Beyond { id, what, most });
    }
    if can_be(name) { Ok(()) } else { Err(with_zero(name)) }
}

/// The hash of all that is searched or shown of a document, other than who may see it and when it
/// was confirmed: each part with its length before it.
pub(crate) fn hash(incoming: &Incoming) -> Digest {
    let facts = &incoming.facts;
    let mut all = Vec::new();
    let mut add = |part: &[u8]| {
        all.extend_from_slice(&(part.len() as u64).to_be_bytes());
        all.extend_from_slice(part);
    };
    add(Digest::of(incoming.text.as_bytes()).as_bytes());
    add(incoming.title.as_bytes());
    for word in [&facts.owner, &incoming.author, &incoming.link] {
        add(&[u8::from(word.is_some())]);
        add(word.as_deref().unwrap_or_default().as_bytes());
    }
    add(facts.kind.as_bytes());
    add(curation(facts.curation).as_bytes());
    add(facts.classification.as_str().as_bytes());
    add(&incoming.made.map_or(i64::MIN, |time| time.0).to_be_bytes());
    add(&facts.changed.0.to_be_bytes());
    add(&(facts.folders.len() as u64).to_be_bytes());
    facts.folders.iter().for_each(|folder| add(folder.as_bytes()));
    add(&(facts.tags.len() as u64).to_be_bytes());
    facts.tags.iter().for_each(|tag| add(tag.as_bytes()));
    for (from, to) in &incoming.pieces {
        add(&(*from as u64).to_be_bytes());
        add(&(*to as u64).to_be_bytes());
    }
    Digest::of(&all)
}
