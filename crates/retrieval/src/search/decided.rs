//! Documents that are decided by themselves: each that is returned, and each candidate where there
//! is no filter.

use super::rank::Ranking;
use super::{Scope, read};
use crate::corpus::{CorpusError, Found};
use crate::embedded;
use crate::index::Index;
use lockgate_core::retrieve::filter::Filter;
use lockgate_types::document::DocumentFacts;
use roaring::RoaringBitmap;
use rusqlite::Connection;
use std::collections::BTreeMap;

/// Documents that are decided one by one where there is no filter.
pub const DECIDED_MAX: usize = 2000;

/// Decides each document once for one question.
pub(super) struct Decider<'a> {
    index: &'a Index,
    db: &'a Connection,
    scope: &'a Scope,
    decide: &'a mut dyn FnMut(&DocumentFacts) -> bool,
    decided: BTreeMap<u32, Option<Found>>,
}

impl<'a> Decider<'a> {
    pub(super) fn new(
        index: &'a Index,
        db: &'a Connection,
        scope: &'a Scope,
        decide: &'a mut dyn FnMut(&DocumentFacts) -> bool,
    ) -> Self {
        Self { index, db, scope, decide, decided: BTreeMap::new() }
    }

    /// The document, if it may be seen.
    pub(super) fn allowed(&mut self, document: u32) -> Result<Option<Found>, CorpusError> {
        if let Some(decided) = self.decided.get(&document) {
            return Ok(decided.clone());
        }
        let missing = || CorpusError::Damaged { what: "a document that serves is missing" };
        let version = self.index.document(document).ok_or_else(missing)?.version;
        let source = self.index.source_of(document).ok_or_else(missing)?;
        let found =
            read(self.db, |db| embedded::found(db, source, version))?.ok_or_else(missing)?;
        let allowed = (self.decide)(&found.facts).then_some(found);
        self.decided.insert(document, allowed.clone());
        Ok(allowed)
    }

    /// How many were refused that a filter had let through.
    pub(super) fn disagreements(&self, filter: Option<&Filter>) -> u64 {
        match filter {
            Some(_) => self.decided.values().filter(|decided| decided.is_none()).count() as u64,
            None => 0,
        }
    }

    /// The snapshot of a source that is searched.
    pub(super) fn snapshot(&self, source: &str) -> u64 {
        self.scope.snapshots.get(source).copied().unwrap_or(0)
    }
}

/// The documents that are allowed, of as many as may be decided: all, if there are no more, or else
/// the most promising. Words are counted among those alone which turn out to be allowed: the order
/// in which others were looked at does not show in any score.
pub(super) fn one_by_one(
    ranking: &Ranking<'_>,
    scope: &Scope,
    decider: &mut Decider<'_>,
) -> Result<RoaringBitmap, CorpusError> {
    let candidates = match scope.documents.len() > DECIDED_MAX as u64 {
        false => scope.documents.clone(),
        true => promising(ranking, scope)?,
    };
    let mut allowed = RoaringBitmap::new();
    for document in candidates {
        if decider.allowed(document)?.is_some() {
            allowed.insert(document);
        }
    }
    Ok(allowed)
}

fn promising(ranking: &Ranking<'_>, scope: &Scope) -> Result<RoaringBitmap, CorpusError> {
    let all = ranking.index.permitted(scope.documents.clone());
    let mut documents = RoaringBitmap::new();
    for fused in ranking.fused(&all, DECIDED_MAX)? {
        if documents.len() >= DECIDED_MAX as u64 {
            break;
        }
        documents.extend(ranking.index.chunk(fused.chunk).map(|chunk| chunk.document));
    }
    Ok(documents)
}
