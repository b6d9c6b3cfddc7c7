//! How many documents have which tag, of those that may be seen: where a group is too small, no
//! number is told.

use super::decided::Decider;
use super::{Scope, Within};
use crate::corpus::CorpusError;
use crate::embedded::Embedded;
use crate::relation::Revision;
use lockgate_types::document::DocumentFacts;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

/// Documents that are decided for one count.
pub const COUNTED_MAX: usize = 20_000;

/// Numbers of documents, by tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Each tag that a document has which may be seen.
    pub by_tag: BTreeMap<String, Count>,
    /// Under which permissions.
    pub as_of: Revision,
}

/// How many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// Exactly.
    Exactly(u64),
    /// Fewer than a number is told of.
    TooFew,
}

impl Embedded {
    pub(crate) fn count_by_tag(
        &self,
        within: &Within<'_>,
        group_min: u64,
        decide: &mut dyn FnMut(&DocumentFacts) -> bool,
    ) -> Result<Counts, CorpusError> {
        let index = self.held.index()?;
        let scope = Scope::of(&index, within);
        let candidates = match within.filter {
            Some(filter) => index.filtered(filter, &scope.documents)?,
            None => scope.documents.clone(),
        };
        if candidates.len() > COUNTED_MAX as u64 {
            return Err(CorpusError::TooManyToCount { most: COUNTED_MAX });
        }
        self.held.reading(|db| {
            let mut decider = Decider::new(&index, db, &scope, decide);
            let mut counts = BTreeMap::new();
            for document in candidates {
                let Some(found) = decider.allowed(document)? else { continue };
                for tag in found.facts.tags {
                    *counts.entry(tag).or_insert(0_u64) += 1;
                }
            }
            let disagreements = decider.disagreements(within.filter);
            self.held.disagreements.fetch_add(disagreements, Ordering::Relaxed);
            let told = |count| match count < group_min {
                true => Count::TooFew,
                false => Count::Exactly(count),
            };
            let by_tag = counts.into_iter().map(|(tag, count)| (tag, told(count))).collect();
            Ok(Counts { by_tag, as_of: index.revision })
        })
    }
}
