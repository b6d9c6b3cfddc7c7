//! A filter: which documents somebody may see at most, as something that an index can answer
//! without asking about each.
//!
//! It is what is left of the policies once everything but the document is known. What it cannot
//! say exactly is no filter at all; then each candidate is decided by itself. [`Filter::holds`] is
//! its definition: an index has to give the same answers.

use lockgate_types::document::{DocumentFacts, Reader};
use lockgate_types::label::Confidentiality;

/// Traits in one filter. Policies that come to more are asked document by document.
pub const FILTER_TRAITS_MAX: usize = 8192;

/// A set of documents.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
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

impl Filter {
    /// Every document.
    pub const fn everything() -> Self {
        Self::Every(Vec::new())
    }

    /// No document.
    pub const fn nothing() -> Self {
        Self::Any(Vec::new())
    }

    /// Whether a document is in it.
    pub fn holds(&self, document: &DocumentFacts) -> bool {
        match self {
            Self::Every(parts) => parts.iter().all(|part| part.holds(document)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(document)),
            Self::Not(part) => !part.holds(document),
            Self::Is(one) => one.holds(document),
        }
    }

    /// How many traits it asks about.
    pub fn traits(&self) -> usize {
        match self {
            Self::Every(parts) | Self::Any(parts) => parts.iter().map(Self::traits).sum(),
            Self::Not(part) => part.traits(),
            Self::Is(_) => 1,
        }
    }

    /// Whether it is written as no document at all.
    pub fn is_nothing(&self) -> bool {
        matches!(self, Self::Any(parts) if parts.is_empty())
    }

    /// Whether it is written as every document.
    pub fn is_everything(&self) -> bool {
        matches!(self, Self::Every(parts) if parts.is_empty())
    }

    /// What is in all of these, written as simply as can be seen.
    pub fn every(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut all = Vec::new();
        for part in parts {
            match part {
                Self::Every(inner) => all.extend(inner),
                part => all.push(part),
            }
        }
        all.sort();
        all.dedup();
        if all.iter().any(Self::is_nothing) || has_opposites(&all) {
            return Self::nothing();
        }
        only(all, Self::Every)
    }

    /// What is in any of these, written as simply as can be seen.
    pub fn any(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut all = Vec::new();
        for part in parts {
            match part {
                Self::Any(inner) => all.extend(inner),
                part => all.push(part),
            }
        }
        all.sort();
        all.dedup();
        if all.iter().any(Self::is_everything) || has_opposites(&all) {
            return Self::everything();
        }
        only(all, Self::Any)
    }

    /// What is not in it.
    #[must_use]
    pub fn inverted(self) -> Self {
        match self {
            Self::Not(part) => *part,
            part if part.is_nothing() => Self::everything(),
            part if part.is_everything() => Self::nothing(),
            part => Self::Not(Box::new(part)),
        }
    }
}

/// Whether something and its opposite are among these, which are sorted.
fn has_opposites(all: &[Filter]) -> bool {
    all.iter().any(|part| match part {
        Filter::Not(part) => all.binary_search(part).is_ok(),
        Filter::Every(_) | Filter::Any(_) | Filter::Is(_) => false,
    })
}

fn only(mut all: Vec<Filter>, together: fn(Vec<Filter>) -> Filter) -> Filter {
    match all.pop() {
        Some(last) if all.is_empty() => last,
        Some(last) => {
            all.push(last);
            together(all)
        }
        None => together(all),
    }
}

impl Trait {
    /// Whether it is so of a document.
    pub fn holds(&self, document: &DocumentFacts) -> bool {
        match self {
            Self::Document(source, id) => document.source == *source && document.id == *id,
            Self::Source(source) => document.source == *source,
            Self::Folder(source, path) => {
                document.source == *source && document.folders.contains(path)
            }
            Self::Tenant(tenant) => document.tenant == *tenant,
            Self::Kind(kind) => document.kind == *kind,
            Self::Owner(owner) => document.owner.as_ref() == Some(owner),
            Self::HasOwner => document.owner.is_some(),
            Self::Curation(word) => document.curation.as_str() == word,
            Self::Tag(tag) => document.tags.contains(tag),
            Self::Reader(reader) => {
                document.readers.as_ref().is_some_and(|readers| readers.contains(reader))
            }
            Self::ReadersKnown => document.readers.is_some(),
            Self::Denied(reader) => document.denied.contains(reader),
            Self::AtMost(level) => document.classification <= *level,
            Self::ChangedSince(time) => document.changed.0 >= *time,
            Self::ConfirmedSince(time) => document.confirmed.0 >= *time,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(name: &str) -> Filter {
        Filter::Is(Trait::Tag(name.to_owned()))
    }

    #[test]
    fn filters_are_written_as_simply_as_can_be_seen() {
        let (a, b) = (|| tag("a"), || tag("b"));
        for (found, expected) in [
            (Filter::every([a(), Filter::everything(), a()]), a()),
            (Filter::every([a(), Filter::nothing()]), Filter::nothing()),
            (Filter::every([a(), b(), a().inverted()]), Filter::nothing()),
            (Filter::any([a(), Filter::nothing()]), a()),
            (Filter::any([a(), Filter::everything()]), Filter::everything()),
            (Filter::any([a(), b(), b().inverted()]), Filter::everything()),
            (Filter::any([Filter::any([a(), b()]), a()]), Filter::Any(vec![a(), b()])),
            (a().inverted().inverted(), a()),
            (Filter::everything().inverted(), Filter::nothing()),
            (Filter::every([]), Filter::everything()),
        ] {
            assert_eq!(found, expected);
        }
        assert_eq!(Filter::any([a(), b().inverted()]).traits(), 2);
    }
}
