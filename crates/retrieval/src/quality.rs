//! What a run found in a source, and whether it may be served: a report, and a contract that it is
//! held against.
//!
//! Nothing here decides about a reader. A snapshot that breaks its contract is quarantined whole,
//! and the last good one goes on serving; a document that gives orders is left out by itself, so
//! that one poisoned page does not keep a thousand others away. What is left out counts against the
//! contract, and nothing else counts as that; what may give orders serves, counts by itself, and is
//! taken for something that anybody may have written.

mod contract;
mod look;
mod near;
mod words;

pub use contract::{Breach, Contract};
pub use look::{Look, Suspicion, Watch};
pub use near::Near;

use crate::format::FormatError;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Examples of each kind that a report names.
pub const EXAMPLES_MAX: usize = 10;
/// Different fields, tags and codes that a report counts.
pub const COUNTED_MAX: usize = 2048;
/// Bytes of an example.
const EXAMPLE_BYTES_MAX: usize = 300;

/// What became of a snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It serves.
    #[default]
    Publish,
    /// It is kept to be looked at, and never serves.
    Quarantine,
}

/// A document that shows what is meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Example {
    /// Which one.
    pub id: String,
    /// What is with it.
    pub why: String,
}

/// How a source has changed, as the store of snapshots counts it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Documents that were not there before.
    pub added: u64,
    /// Documents that are otherwise than before.
    pub changed: u64,
    /// Documents that are as they were.
    pub kept: u64,
    /// Documents that are gone.
    pub removed: u64,
}

impl Volume {
    /// Documents in the snapshot.
    pub const fn documents(&self) -> u64 {
        self.added.saturating_add(self.changed).saturating_add(self.kept)
    }

    /// Documents in the one before.
    pub const fn before(&self) -> u64 {
        self.changed.saturating_add(self.kept).saturating_add(self.removed)
    }
}

/// The quality report of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The source.
    pub source: String,
    /// The number of the snapshot.
    pub snapshot: u64,
    /// When the run began, in microseconds.
    pub begun: i64,
    /// When it ended.
    pub ended: i64,
    /// How the source has changed.
    pub volume: Volume,
    /// Bytes of text.
    pub bytes: u64,
    /// Documents that could not be read, by code.
    pub refused: BTreeMap<String, u64>,
    /// Documents that were not to be had this time and are as they were.
    pub unconfirmed: u64,
    /// What was there and is no document: links, files that are too large.
    pub skipped: u64,
    /// Documents that were left out because they give orders, with what lies beneath them.
    pub withheld: u64,
    /// Documents that may give orders, and are in the snapshot all the same.
    #[serde(default)]
    pub suspected: u64,
    /// Documents with text that people do not see.
    pub hidden: u64,
    /// Documents whose text is broken.
    pub broken: u64,
    /// Documents that are word for word another one.
    pub duplicates: u64,
    /// Documents that are nearly another one.
    pub near_duplicates: u64,
    /// Documents with a tag.
    pub tags: BTreeMap<String, u64>,
    /// Documents of a classification.
    pub classifications: BTreeMap<String, u64>,
    /// Documents with a kind of find.
    pub findings: BTreeMap<String, u64>,
    /// The fields of rows.
    pub fields: BTreeSet<String>,
    /// Fields that were not there before.
    pub fields_new: Vec<String>,
    /// Fields that were there before.
    pub fields_gone: Vec<String>,
    /// Documents that show what is meant, by what it is.
    pub examples: BTreeMap<String, Vec<Example>>,
    /// What of the contract does not hold.
    pub breaches: Vec<Breach>,
    /// What becomes of the snapshot.
    pub verdict: Verdict,
}

impl Report {
    /// An empty report.
    pub fn new(source: &str, snapshot: u64, begun: i64) -> Self {
        Self { source: source.to_owned(), snapshot, begun, ..Self::default() }
    }

    /// Takes in what a document has, one that is as it was included.
    pub fn add(&mut self, id: &str, look: &Look, near: &mut Near) {
        self.bytes = self.bytes.saturating_add(look.bytes);
        if let Some(suspicion) = &look.suspicion {
            let kind = if look.is_withheld { "injected" } else { "suspected" };
            self.example(kind, id, &suspicion.to_string());
        }
        self.suspected += u64::from(look.is_suspected());
        if look.is_withheld {
            self.withheld += 1;
            // It is in no snapshot: whatever else it has is not in one either.
            return;
        }
        if look.hidden > 0 {
            self.hidden += 1;
            self.example("hidden", id, &format!("{} places", look.hidden));
        }
        if look.is_broken {
            self.broken += 1;
            self.example("broken", id, "characters that are none, or were read wrongly");
        }
        for tag in &look.tags {
            count(&mut self.tags, tag);
        }
        for kind in look.findings.keys() {
            count(&mut self.findings, kind);
        }
        count(&mut self.classifications, &look.classification);
        let room = COUNTED_MAX.saturating_sub(self.fields.len());
        self.fields.extend(look.fields.iter().take(room).cloned());
        match near.meet(id, look) {
            None => {}
            Some(near::Twin::Same(other)) => {
                self.duplicates += 1;
                self.example("duplicate", id, &format!("the same as `{other}`"));
            }
            Some(near::Twin::Alike(other)) => {
                self.near_duplicates += 1;
                self.example("near_duplicate", id, &format!("nearly `{other}`"));
            }
        }
    }

    /// Takes in a document that could not be read.
    pub fn refuse(&mut self, id: &str, code: &str, why: &str) {
        count(&mut self.refused, code);
        self.example("refused", id, &format!("{code}: {why}"));
    }

    /// Takes in something that is no document.
    pub fn skip(&mut self, id: &str, why: &str) {
        self.skipped += 1;
        self.example("skipped", id, why);
    }

    /// Names a document that shows something.
    fn example(&mut self, kind: &str, id: &str, why: &str) {
        let examples = self.examples.entry(kind.to_owned()).or_default();
        if examples.len() < EXAMPLES_MAX {
            let cut = |text: &str| {
                text.get(..text.floor_char_boundary(EXAMPLE_BYTES_MAX)).unwrap_or(text).to_owned()
            };
            examples.push(Example { id: cut(id), why: cut(why) });
        }
    }

    /// Holds it against the contract and against the report of the snapshot that serves.
    pub fn judge(&mut self, contract: &Contract, before: Option<&Self>) {
        if let Some(before) = before {
            let gone = before.fields.difference(&self.fields).cloned();
            let new = self.fields.difference(&before.fields).cloned();
            (self.fields_gone, self.fields_new) = (gone.collect(), new.collect());
        }
        self.breaches = contract.breaches(self, before);
        let is_good = self.breaches.is_empty();
        self.verdict = if is_good { Verdict::Publish } else { Verdict::Quarantine };
    }

    /// Documents that could not be read.
    pub fn refusals(&self) -> u64 {
        self.refused.values().fold(0, |all, some| all.saturating_add(*some))
    }

    /// As it is kept with the snapshot.
    pub fn to_json(&self) -> String {
        // It has texts as keys and no numbers that JSON lacks: it cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// As it was kept.
    pub fn from_json(text: &str) -> Result<Self, FormatError> {
        serde_json::from_str(text)
            .map_err(|error| FormatError::malformed("report", error.to_string()))
    }
}

fn count(counted: &mut BTreeMap<String, u64>, what: &str) {
    if counted.len() < COUNTED_MAX || counted.contains_key(what) {
        *counted.entry(what.to_owned()).or_default() += 1;
    }
}
