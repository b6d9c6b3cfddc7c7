//! How many documents there are of what may be seen, without telling of small groups.
//!
//! A count is a call like a search: each document is decided by itself, from the facts that the
//! call was decided from, and whoever reads the numbers has met what was counted.

use super::{Asking, Looking, said, tighten, unfound};
use lockgate_core::bundle::search::COUNT;
use lockgate_core::retrieve::count::{By, GROUP_MIN_USUALLY, GROUPS_MAX, Group, Tally};
use lockgate_core::retrieve::fresh::{Aged, aged};
use lockgate_core::retrieve::{Admission, Retrieval};
use lockgate_effects::{Found, Searched, Unfound};
use lockgate_retrieval::corpus::Corpus;
use lockgate_store::Store;
use lockgate_types::document::DocumentFacts;
use lockgate_types::facts::Facts;
use lockgate_types::label::Label;
use lockgate_types::{Code, Json, Object};
use std::sync::Arc;

/// Whether a call counts.
pub(super) fn is_count(facts: &Facts) -> bool {
    facts.call.operation.as_str() == COUNT
}

/// Counts, and has the session do less if what was counted is too old for more.
pub(super) async fn counted(looking: Looking, corpus: Corpus, store: &Store) -> Searched {
    let (world, facts) = (Arc::clone(&looking.world), Arc::clone(&looking.facts));
    let counting = tokio::task::spawn_blocking(move || looking.count(&corpus)).await;
    let counting = counting.map_err(|error| unfound(Code::CorpusFailed, &error.to_string()))??;
    let oldest = counting.oldest.as_ref().map(|(aged, document)| (aged, document));
    tighten(store, &world, &facts, oldest).await?;
    Ok(counting.told())
}

/// What was counted.
struct Counting {
    by: By,
    tally: Tally,
    group_min: u32,
    met: Option<Label>,
    /// The document whose age asks for the most restraint.
    oldest: Option<(Aged, DocumentFacts)>,
}

impl Counting {
    fn new(by: By, group_min: u32) -> Self {
        Self { by, tally: Tally::new(by), group_min, met: None, oldest: None }
    }

    /// Counts a document that may be seen, of that age.
    fn add(&mut self, document: &DocumentFacts, aged: Aged) {
        self.tally.add(document);
        let label = said::label_of(document);
        match &mut self.met {
            Some(met) => met.absorb(label),
            None => self.met = Some(label),
        }
        if self.oldest.as_ref().is_none_or(|(worst, _)| aged.age > worst.age) {
            self.oldest = Some((aged, document.clone()));
        }
    }

    /// As the result of the tool.
    fn told(self) -> Found {
        let mut groups = self.tally.told(u64::from(self.group_min));
        let is_cut = groups.len() > GROUPS_MAX;
        groups.truncate(GROUPS_MAX);
        let group = |group: Group| {
            let documents = i64::try_from(group.documents).unwrap_or(i64::MAX);
            let shown = Object::new().with("source", group.source);
            let shown = shown.with_some(self.by.as_str(), group.name);
            Json::from(shown.with("documents", documents))
        };
        let min = self.group_min;
        let note = format!(
            "groups of fewer than {min} documents are not told, nor others from which they could \
             be worked out"
        );
        let structured = Object::new()
            .with("by", self.by.as_str())
            .with("groups", groups.into_iter().map(group).collect::<Vec<Json>>())
            .with("group_min", i64::from(min))
            .with("notes", vec![Json::from(note)])
            .with("truncated", is_cut);
        let structured = Json::from(structured);
        let block = Object::new().with("type", "text").with("text", structured.to_string());
        let result = Object::new().with("content", vec![Json::from(block)]);
        Found { result: result.with("structuredContent", structured), met: self.met }
    }
}

impl Looking {
    fn count(&self, corpus: &Corpus) -> Result<Counting, Unfound> {
        let (world, facts) = (&*self.world, &*self.facts);
        let asking = self.asking(Vec::new())?;
        let Asking { retrieval, narrowed, .. } = &asking;
        let task = facts.identity.task.as_ref();
        let by = facts.call.arguments().and_then(|it| By::from_word(it.get("by")?.as_str()?));
        let by = by.ok_or_else(|| unfound(Code::InvariantBroken, "nothing to count by"))?;
        let mut counting = Counting::new(by, self.group_min(retrieval));
        let mut decide = |document: &DocumentFacts| {
            let is_seen = narrowed.holds(document)
                && matches!(retrieval.admits(document), Admission::Admitted { .. });
            if is_seen {
                counting.add(document, aged(world, task, document, facts.now));
            }
            is_seen
        };
        // What the corpus would tell spans sources: only its documents are taken, each once.
        let asked = corpus.count_by_tag(&asking.within(), u64::MAX, &mut decide);
        asked.map_err(|error| unfound(error.code(), &error.to_string()))?;
        Ok(counting)
    }

    /// How many documents a group has at least: what most asks for of the sources that are asked.
    fn group_min(&self, retrieval: &Retrieval<'_>) -> u32 {
        let least = self.searched(retrieval).map(|name| {
            let declared = self.world.sources.get(name).and_then(|source| source.group_min);
            declared.unwrap_or(GROUP_MIN_USUALLY)
        });
        least.max().unwrap_or(GROUP_MIN_USUALLY)
    }
}
