//! Search in what one subject may see, and in nothing else.
//!
//! What is permitted is found out first, as a set; words are counted, vectors compared and ranks
//! given within it, so that a document that is not permitted changes nothing for anybody. Whatever
//! is returned was decided once more, by the policies themselves. Nothing here knows policies, or
//! who is in which group.

mod count;
mod decided;
mod join;
pub(crate) mod near_equal;
pub(crate) mod rank;
pub(crate) mod words;

pub use count::{COUNTED_MAX, Count, Counts};
pub use decided::DECIDED_MAX;
pub use join::{JOINED_BYTES_MAX, JOINED_MAX, Joined};
pub use rank::{RANKED_MAX, RESCORED_MAX};
pub use words::{Stemming, WORD_CHARS_MAX};

use crate::corpus::{CorpusError, Found, Options, Texts};
use crate::embedded::{self, Embedded};
use crate::index::Index;
use crate::index::permitted::Permitted;
use crate::relation::Revision;
use decided::Decider;
use lockgate_core::retrieve::filter::Filter;
use lockgate_types::Digest;
use lockgate_types::document::{DocumentFacts, Provenance};
use near_equal::Shown;
use rank::{Fused, Ranking};
use roaring::RoaringBitmap;
use rusqlite::Connection;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

/// Bytes of a query.
pub const QUERY_BYTES_MAX: usize = 16 << 10;
/// Different words of a query that are looked for: the first ones.
pub const QUERY_WORDS_MAX: usize = 64;
/// Chunks of one answer.
pub const TOP_MAX: usize = 50;

/// What is asked, and within what.
#[derive(Clone, Debug)]
pub struct Query<'a> {
    /// In words.
    pub text: &'a str,
    /// The vector of it. `None`: that which the corpus's embedder makes.
    pub vector: Option<&'a [f32]>,
    /// Where it is looked for.
    pub within: Within<'a>,
    /// How many chunks are wanted.
    pub top: usize,
}

/// Where something is looked for.
#[derive(Clone, Copy, Debug)]
pub struct Within<'a> {
    /// Whose sources.
    pub tenant: &'a str,
    /// Which of them, each with the snapshot that it is pinned at. `None`: all, as they serve. A
    /// snapshot that is not pinned in the corpus has nothing.
    pub sources: Option<&'a BTreeMap<String, Option<u64>>>,
    /// What the policies come to. `None`: nothing that an index can answer; then documents are
    /// decided one by one, as many as may be.
    pub filter: Option<&'a Filter>,
}

/// What was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The best first.
    pub hits: Vec<Hit>,
    /// Under which permissions. For the record: it tells whoever compares it that something has
    /// changed somewhere.
    pub as_of: Revision,
    /// Whether all was searched that may be seen. Without a filter nobody knows.
    pub is_complete: bool,
    /// How many documents the filter had let through and the policies did not. For the record, and
    /// an alarm: there must be none.
    pub disagreements: u64,
}

/// A chunk that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// Where it comes from.
    pub provenance: Provenance,
    /// What it says.
    pub text: String,
    /// How good it is, beside the others of the answer: of no other use.
    pub score: u64,
    /// Who may see it, in 32 bytes: differs when that does.
    pub permissions: Digest,
    /// Of a field: the document that it is a field of, if that may be seen.
    pub field_of: Option<Joined>,
    /// The fields of its document that may be seen.
    pub fields: Vec<Joined>,
}

impl Embedded {
    pub(crate) fn search(
        &self,
        query: &Query<'_>,
        decide: &mut dyn FnMut(&DocumentFacts) -> bool,
    ) -> Result<Answer, CorpusError> {
        let held = &self.held;
        let (words, vector) = understood(&held.options, query)?;
        let index = held.index()?;
        held.reading(|db| {
            let scope = Scope::of(&index, &query.within);
            let mut decider = Decider::new(&index, db, &scope, decide);
            let ranking =
                Ranking { held, index: &index, db, words: &words, vector: vector.as_deref() };
            let permitted = permitted(&ranking, &scope, query.within.filter, &mut decider)?;
            let ranked = ranking.fused(&permitted, RANKED_MAX)?;
            let hits = hits(&ranking, &permitted, ranked, query.top, &mut decider)?;
            let disagreements = decider.disagreements(query.within.filter);
            held.disagreements.fetch_add(disagreements, Ordering::Relaxed);
            let is_complete = query.within.filter.is_some();
            Ok(Answer { hits, as_of: index.revision, is_complete, disagreements })
        })
    }

    pub(crate) fn disagreements(&self) -> u64 {
        self.held.disagreements.load(Ordering::Relaxed)
    }
}

/// What may be looked at at all: of the tenant, and of what the task allows.
#[derive(Debug)]
pub(crate) struct Scope {
    documents: RoaringBitmap,
    /// The snapshot of each source.
    snapshots: BTreeMap<String, u64>,
}

impl Scope {
    fn of(index: &Index, within: &Within<'_>) -> Self {
        let (mut documents, mut snapshots) = (RoaringBitmap::new(), BTreeMap::new());
        for (name, source) in &index.sources {
            let asked = within.sources.map_or(Some(&None), |sources| sources.get(name));
            let (true, Some(pinned)) = (source.tenant == within.tenant, asked) else { continue };
            let Some(snapshot) = pinned.or(source.serving) else { continue };
            if let Some(members) = index.members.get(&(name.clone(), snapshot)) {
                documents |= members;
                snapshots.insert(name.clone(), snapshot);
            }
        }
        Self { documents, snapshots }
    }
}

/// The words and the vector of a query.
pub(crate) fn understood(
    options: &Options,
    query: &Query<'_>,
) -> Result<(Vec<String>, Option<Vec<f32>>), CorpusError> {
    let beyond = |what, most| Err(CorpusError::Query { what, most });
    if query.text.len() > QUERY_BYTES_MAX {
        return beyond("bytes", QUERY_BYTES_MAX);
    }
    if query.top > TOP_MAX {
        return beyond("answers", TOP_MAX);
    }
    let mut different = BTreeSet::new();
    for word in words::words(query.text, options.stemming) {
        if different.len() < QUERY_WORDS_MAX {
            different.insert(word);
        }
    }
    let embedder = &options.embedder;
    let vector = match query.vector {
        Some(vector) => crate::embed::given(vector.to_vec(), embedder.dimensions()).map(Some),
        None => embedder.embed(query.text),
    };
    let vector = vector.map_err(CorpusError::Embedding)?;
    Ok((different.into_iter().collect(), vector))
}

fn permitted(
    ranking: &Ranking<'_>,
    scope: &Scope,
    filter: Option<&Filter>,
    decider: &mut Decider<'_>,
) -> Result<Permitted, CorpusError> {
    let documents = match filter {
        Some(filter) => ranking.index.filtered(filter, &scope.documents)?,
        None => decided::one_by_one(ranking, scope, decider)?,
    };
    Ok(ranking.index.permitted(documents))
}

/// The first of what was ranked that is decided once more, and says something of its own.
fn hits(
    ranking: &Ranking<'_>,
    permitted: &Permitted,
    ranked: Vec<Fused>,
    top: usize,
    decider: &mut Decider<'_>,
) -> Result<Vec<Hit>, CorpusError> {
    let mut hits: Vec<Hit> = Vec::new();
    let mut shown = Shown::default();
    for Fused { chunk, score } in ranked {
        if hits.len() >= top {
            break;
        }
        let Some(slot) = ranking.index.chunk(chunk).copied() else { continue };
        let Some(found) = decider.allowed(slot.document)? else { continue };
        let text = read(ranking.db, |db| embedded::text(db, slot.number))?;
        let missing = CorpusError::Damaged { what: "a chunk that serves is missing" };
        let text = text.ok_or(missing)?;
        if !shown.adds(i64::from(slot.document), &text) {
            continue;
        }
        let (field_of, fields) = join::joined(ranking, permitted, &found.facts, decider)?;
        let permissions = fingerprint(&found.facts);
        let snapshot = decider.snapshot(&found.facts.source);
        let provenance = provenance(found, &text, snapshot);
        hits.push(Hit { provenance, text: text.text, score, permissions, field_of, fields });
    }
    Ok(hits)
}

pub(crate) fn provenance(found: Found, text: &Texts, snapshot: u64) -> Provenance {
    Provenance {
        document: found.facts,
        title: found.title,
        author: found.author,
        made: found.made,
        ingested: found.ingested,
        snapshot,
        span: text.span,
        hash: text.hash,
        link: found.link,
    }
}

/// Who may see a document, in 32 bytes.
pub(crate) fn fingerprint(facts: &DocumentFacts) -> Digest {
    Digest::of(format!("{:?}\n{:?}", facts.readers, facts.denied).as_bytes())
}

fn read<T>(
    db: &Connection,
    read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
) -> Result<T, CorpusError> {
    read(db).map_err(CorpusError::database("reading what was found"))
}
