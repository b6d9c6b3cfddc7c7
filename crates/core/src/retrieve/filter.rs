//! A filter: which documents somebody may see at most, as something that an index can answer
//! without asking about each.
//!
//! It is what is left of the policies once everything but the document is known. What it cannot
//! say exactly is no filter at all; then each candidate is decided by itself.

use lockgate_types::document::Reader;
use lockgate_types::label::Confidentiality;

/// A set of documents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// All of these. Of none: every document.
    Every(Vec<Filter>),
    /// Any of these. Of none: no document.
    Any(Vec<Filter>),
    /// What is not in it.
    Not(Box<Filter>),
    /// Those of which one thing is so.
    Is(Trait),
}

/// Something that can be so of a document.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trait {
    /// It is the one of that source with that id.
    Document(String, String),
    /// It is of that source.
    Source(String),
    /// It lies in that folder of that source, at whatever depth.
    Folder(String, String),
    /// It is of that tenant.
    Tenant(String),
    /// It is of that kind.
    Kind(String),
    /// Its owner is that one.
    Owner(String),
    /// It has an owner.
    HasOwner,
    /// How it came to be.
    Curation(String),
    /// It has that tag.
    Tag(String),
    /// It is shared to that reader, by itself or by a folder it lies in.
    Reader(Reader),
    /// Whom it is shared to is known.
    ReadersKnown,
    /// It is kept from that reader.
    Denied(Reader),
    /// Its classification is at most that.
    AtMost(Confidentiality),
    /// It was changed at that time or later, in microseconds.
    ChangedSince(i64),
    /// It was confirmed at that time or later, in microseconds.
    ConfirmedSince(i64),
}
