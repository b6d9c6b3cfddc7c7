//! How many documents there are of each group, so that nobody is told how many there are of a small
//! one.
//!
//! Groups are those of one source, and no number spans several: what two questions about different
//! sources have in common tells nothing. A group is told if it is large enough, and so is what is
//! left of its source without it; else the number of all, told by itself, would tell the rest.

use lockgate_types::document::DocumentFacts;
use std::collections::{BTreeMap, BTreeSet};

/// Documents that a group has at least, unless its source says otherwise.
pub const GROUP_MIN_USUALLY: u32 = 5;
/// Groups of one answer.
pub const GROUPS_MAX: usize = 1000;

/// What documents are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Their tags: one document may have several.
    Tag,
    /// The kind of text they are.
    Kind,
    /// The source they are of.
    Source,
}

impl By {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Tag, Self::Kind, Self::Source];

    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tag => "tag",
            Self::Kind => "kind",
            Self::Source => "source",
        }
    }

    /// What a word stands for.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|by| by.as_str() == word)
    }
}

/// Documents as they are counted.
#[derive(Clone, Debug)]
pub struct Tally {
    by: By,
    sources: BTreeMap<String, Cells>,
}

/// The documents of one source.
#[derive(Clone, Debug, Default)]
struct Cells {
    all: u64,
    groups: BTreeMap<String, u64>,
}

/// How many documents there are of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Of which source.
    pub source: String,
    /// Of which tag or kind. `None`: all of the source.
    pub name: Option<String>,
    /// How many.
    pub documents: u64,
}

impl Tally {
    /// Nothing yet.
    pub const fn new(by: By) -> Self {
        Self { by, sources: BTreeMap::new() }
    }

    /// Counts a document that may be seen.
    pub fn add(&mut self, document: &DocumentFacts) {
        let (kind, tags) = (BTreeSet::from([document.kind.clone()]), &document.tags);
        let groups = match self.by {
            By::Tag => tags,
            By::Kind => &kind,
            By::Source => &BTreeSet::new(),
        };
        let cells = self.sources.entry(document.source.clone()).or_default();
        cells.all = cells.all.saturating_add(1);
        for group in groups {
            let count = cells.groups.entry(group.clone()).or_default();
            *count = count.saturating_add(1);
        }
    }

    /// What may be told if groups have at least so many documents, in order of their names.
    pub fn told(&self, group_min: u64) -> Vec<Group> {
        let mut told = Vec::new();
        for (source, cells) in &self.sources {
            let group = |name: Option<&String>, documents| Group {
                source: source.clone(),
                name: name.cloned(),
                documents,
            };
            match self.by {
                By::Source if cells.all >= group_min => told.push(group(None, cells.all)),
                By::Source => {}
                By::Kind => {
                    let apart = cells.apart(group_min);
                    told.extend(apart.into_iter().map(|(name, it)| group(Some(name), it)));
                }
                By::Tag => {
                    let of_some = cells.of_some(group_min);
                    told.extend(of_some.map(|(name, it)| group(Some(name), it)));
                }
            }
        }
        told
    }
}

impl Cells {
    /// Of groups into which the source falls apart: those that are large enough, without the
    /// smallest of them for as long as the others together are fewer than that.
    fn apart(&self, group_min: u64) -> BTreeMap<&String, u64> {
        let mut told: BTreeMap<&String, u64> = BTreeMap::new();
        told.extend(self.groups.iter().filter(|(_, it)| **it >= group_min).map(|(a, b)| (a, *b)));
        let mut rest = self.all.saturating_sub(told.values().sum());
        while rest > 0 && rest < group_min {
            let smallest = told.iter().min_by_key(|(_, it)| **it).map(|(name, it)| (*name, *it));
            let Some((name, documents)) = smallest else { break };
            told.remove(name);
            rest = rest.saturating_add(documents);
        }
        told
    }

    /// Of groups that overlap: those that are large enough, and so is what is not of them.
    fn of_some(&self, group_min: u64) -> impl Iterator<Item = (&String, u64)> {
        let is_told = move |it: u64| {
            let rest = self.all.saturating_sub(it);
            it >= group_min && (rest == 0 || rest >= group_min)
        };
        self.groups.iter().map(|(name, it)| (name, *it)).filter(move |(_, it)| is_told(*it))
    }
}
