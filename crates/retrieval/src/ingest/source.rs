//! What is declared of a source, as far as reading it needs it.

use crate::connect::Permissions;
use crate::cut::Sizes;
use crate::format::Rows;
use crate::quality::{Contract, Watch};
use lockgate_core::retrieve::path;
use lockgate_types::document::{Curation, Reader};
use lockgate_types::label::Confidentiality;
use lockgate_types::{Digest, Micros};
use std::collections::{BTreeMap, BTreeSet};

/// The version of all that makes text of bytes: with another one, all is read again.
const READERS_VERSION: &str = "2";

/// A field with permissions of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// To whom it is shared.
    pub permissions: Permissions,
    /// Its classification, at least.
    pub classification: Confidentiality,
    /// What people have tagged it with.
    pub tags: BTreeSet<String>,
}

/// A source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// What the bundle calls it.
    pub name: String,
    /// Whose it is.
    pub tenant: String,
    /// What kind of text it has.
    pub kind: String,
    /// Other kinds, by pattern of paths: the first that fits counts.
    pub kinds: Vec<(String, String)>,
    /// Who answers for it.
    pub owner: Option<String>,
    /// How its documents come to be.
    pub curation: Curation,
    /// The classification of its documents, at least.
    pub classification: Confidentiality,
    /// What people have tagged it with.
    pub tags: BTreeSet<String>,
    /// The field by which rows are known, and that they are called by.
    pub key: Option<String>,
    /// The field that people call a row by.
    pub title: Option<String>,
    /// Fields with permissions of their own.
    pub fields: BTreeMap<String, Field>,
    /// From whom all is kept that lies in folders of a pattern, whatever is shared: fields with
    /// permissions of their own too.
    pub denied: Vec<(String, BTreeSet<Reader>)>,
    /// How large chunks are.
    pub sizes: Sizes,
    /// How documents are looked at.
    pub watch: Watch,
    /// What it has to be like.
    pub contract: Contract,
}

impl Source {
    /// One of which only this is declared.
    pub fn new(name: &str, tenant: &str) -> Self {
        Self {
            name: name.to_owned(),
            tenant: tenant.to_owned(),
            kind: "text".to_owned(),
            kinds: Vec::new(),
            owner: None,
            curation: Curation::Collected,
            classification: Confidentiality::Internal,
            tags: BTreeSet::new(),
            key: None,
            title: None,
            fields: BTreeMap::new(),
            denied: Vec::new(),
            sizes: Sizes::default(),
            watch: Watch::default(),
            contract: Contract::default(),
        }
    }

    /// How its rows become documents.
    pub fn rows(&self) -> Rows {
        let own = self.fields.keys().cloned().collect();
        Rows { key: self.key.clone(), title: self.title.clone(), own }
    }

    /// The kind of a document.
    pub(super) fn kind_of(&self, id: &str) -> &str {
        let mut fitting = self.kinds.iter().filter(|(pattern, _)| path::matches(pattern, id));
        fitting.next().map_or(&self.kind, |(_, kind)| kind)
    }

    /// From whom all is kept that lies in these folders.
    pub(super) fn denied_in(&self, folders: &[String]) -> BTreeSet<Reader> {
        let is_in = |pattern: &String| folders.iter().any(|it| path::matches(pattern, it));
        let fitting = self.denied.iter().filter(|(pattern, _)| is_in(pattern));
        fitting.flat_map(|(_, denied)| denied).cloned().collect()
    }

    /// Of all that says what becomes of a document's bytes. With another one, all is read again.
    pub fn digest(&self) -> Digest {
        // What a snapshot is held against changes nothing of a document.
        let part = Self { contract: Contract::default(), ..self.clone() };
        Digest::of(format!("{READERS_VERSION} {part:?}").as_bytes())
    }

    /// Of what was read at its source, and how.
    pub(super) fn fingerprint(&self, format: &str, bytes: &[u8]) -> Digest {
        let parts = [self.digest().to_string(), format.to_owned(), Digest::of(bytes).to_string()];
        Digest::of(parts.join(" ").as_bytes())
    }

    /// When something was changed, if nobody says: when it was first seen.
    pub(super) fn changed(said: [Option<Micros>; 2], now: Micros) -> Micros {
        // A date in the future keeps a document fresh for ever.
        said.into_iter().flatten().find(|at| *at <= now).unwrap_or(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_in_the_future_keeps_nothing_fresh() {
        let at = |micros| Some(Micros(micros));
        assert_eq!(Source::changed([at(90), at(5)], Micros(10)), Micros(5));
        assert_eq!(Source::changed([at(90), None], Micros(10)), Micros(10));
        assert_eq!(Source::changed([at(7), at(5)], Micros(10)), Micros(7));
    }

    #[test]
    fn the_first_pattern_says_the_kind() {
        let mut source = Source::new("wiki", "acme");
        let kinds = [("ops/run/**", "runbook"), ("ops/**", "note"), ("op", "no")];
        source.kinds = kinds.map(|(a, b)| (a.to_owned(), b.to_owned())).to_vec();
        assert_eq!(source.kind_of("ops/run/a.md"), "runbook");
        assert_eq!(source.kind_of("ops/runs.md"), "note");
        assert_eq!(source.kind_of("a.md"), "text");
    }
}
