//! What retrieval brings: documents of registered sources, and the chunks they are cut into.
//!
//! A field with permissions of its own is a document of its own, beneath the one it is a field of:
//! then whoever may not see the field is not told by a search that it matches.

use crate::label::Confidentiality;
use crate::{Digest, Micros};
use std::collections::BTreeSet;

/// A principal in the permissions of a source, as policies name it: who, or which group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reader {
    /// Everybody in the source's tenant.
    Everyone,
    /// A subject.
    User(String),
    /// A group, with all that are in it and in the groups within it.
    Group(String),
}

/// Who wrote a document, or how it came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Curation {
    /// A person, in a source that its owner answers for.
    Curated,
    /// Anybody: mail, tickets, pages from outside.
    Collected,
    /// A model, or a program.
    Generated,
}

/// What the source and people have said about a document: what policies see of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentFacts {
    /// What it is called within its source: a path, an address, a key. Stable over changes.
    pub id: String,
    /// The source it is of.
    pub source: String,
    /// The tenant whose source that is.
    pub tenant: String,
    /// The folders it lies in, the outermost first, by their whole paths. A field lies in its
    /// document.
    pub folders: Vec<String>,
    /// What kind of text it is: `runbook`, `template`, `ticket`.
    pub kind: String,
    /// Who answers for it.
    pub owner: Option<String>,
    /// How it came to be.
    pub curation: Curation,
    /// The highest that anybody or any detector has said.
    pub classification: Confidentiality,
    /// Categories of personal data, `secret`, and what people have tagged it with.
    pub tags: BTreeSet<String>,
    /// To whom it, or a folder it lies in, is shared. `None`: not known for certain, and so shared
    /// to nobody.
    pub readers: Option<BTreeSet<Reader>>,
    /// From whom it, or a folder it lies in, is kept, whatever is shared.
    pub denied: BTreeSet<Reader>,
    /// When it was changed at its source.
    pub changed: Micros,
    /// When the gate has last seen that it is still so.
    pub confirmed: Micros,
}

/// Where a chunk comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provenance {
    /// What its document is.
    pub document: DocumentFacts,
    /// What people call it.
    pub title: String,
    /// Who wrote it, where that is known.
    pub author: Option<String>,
    /// When it was made at its source, where that is known.
    pub made: Option<Micros>,
    /// When this version of it was ingested.
    pub ingested: Micros,
    /// The snapshot of the source.
    pub snapshot: u64,
    /// Bytes of the document's text, as it was ingested: from, to.
    pub span: (u64, u64),
    /// The hash of the chunk's text.
    pub hash: Digest,
    /// Where a person can look it up.
    pub link: Option<String>,
}
