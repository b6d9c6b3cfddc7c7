//! What is noticed of searches, source by source: how often they find something, how often somebody
//! just may not see what fits, how questions and answers change, and documents that behave as
//! planted ones do.
//!
//! Pure, and bounded whatever is asked: searches are counted in windows, and each window is held
//! against the one before it. Words of questions are kept as numbers, not as words. What comes of
//! it is a suspicion for people and for the risk engine; no decision depends on it.

use lockgate_types::Micros;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Searches of one window of a source.
pub const WINDOW_SEARCHES: u32 = 100;
/// Different questions that a window needs before shares in it say anything.
pub const QUESTIONS_MIN: u32 = 20;
/// Different documents that a window needs: where there are few, one is in most answers.
pub const DOCUMENTS_MIN: usize = 5;
/// Thousandths of different questions that a document has to answer to dominate.
pub const DOMINANT_MIN: u32 = 500;
/// By how many thousandths that has to be more than in the window before.
pub const DOMINANT_RISE: u32 = 300;
/// Thousandths by which two windows have to differ for that to be told.
pub const DRIFT_MIN: u32 = 700;
/// Sources that are watched. Bundles have fewer; those of earlier ones are let go first.
const SOURCES_MAX: usize = 256;
/// Tasks of one source that are told apart. Further ones are counted as one.
const TASKS_MAX: usize = 64;
/// The task that further ones are counted as.
const OTHER_TASKS: &str = "(others)";
/// The first documents of an answer: who reads answers reads those.
const FIRST: usize = 3;
/// Words of one question that are counted.
const WORDS_MAX: usize = 32;
/// Different words of a window.
const WINDOW_WORDS_MAX: usize = 1024;
/// Different documents of a window: the first of each of its searches.
const WINDOW_DOCUMENTS_MAX: usize = FIRST * WINDOW_SEARCHES as usize;
/// Bytes of a document's name that are kept.
const NAME_BYTES_MAX: usize = 256;
/// Suspicions that are kept of one source, the latest.
const SUSPICIONS_MAX: usize = 32;
/// Documents of one source that feedback is kept of, the latest.
const FEEDBACK_MAX: usize = 128;

/// A search that is over.
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// When.
    pub at: Micros,
    /// The task that it was for; empty if none.
    pub task: String,
    /// What was looked for, where that is known.
    pub query: String,
    /// The sources in which it was looked for.
    pub sources: BTreeSet<String>,
    /// What was shown, the best first.
    pub shown: Vec<Shown>,
    /// Documents that fitted and were refused to whoever asked, by source.
    pub withheld: BTreeMap<String, u32>,
    /// Documents that were left out since they give orders.
    pub left_out: Vec<Shown>,
}

/// A document of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// Its source.
    pub source: String,
    /// Its name there.
    pub document: String,
    /// How sure a detector is that its text gives orders, in thousandths.
    pub orders: u16,
    /// Thousandths of the answer's documents that agree on something of which it says otherwise.
    pub contradicts: u16,
}

/// Something that somebody should look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspicion {
    /// When it was noticed.
    pub at: Micros,
    /// What it is.
    pub kind: Kind,
    /// The document, where it is one's.
    pub document: String,
    /// Thousandths: how large a share, how sure, how different.
    pub value: u32,
    /// The same of the window before, of a share.
    pub before: u32,
}

/// What is suspicious.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// One document answers an unusually large share of different questions.
    Dominance,
    /// A document that was shown gives orders.
    Orders,
    /// A document says otherwise than those beside it in an answer, which agree.
    Contradiction,
    /// Questions are about other things than before.
    QueryDrift,
    /// Other documents answer than before.
    ResultDrift,
}

impl Kind {
    /// The word in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dominance => "dominance",
            Self::Orders => "orders",
            Self::Contradiction => "contradiction",
            Self::QueryDrift => "query_drift",
            Self::ResultDrift => "result_drift",
        }
    }
}

/// What people say of a document that they were shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It helped.
    Useful,
    /// It is not so, or not any more.
    Wrong,
    /// It looks as if somebody had planted it.
    Suspicious,
}

impl Verdict {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Useful, Self::Wrong, Self::Suspicious];

    /// The word in requests and records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Useful => "useful",
            Self::Wrong => "wrong",
            Self::Suspicious => "suspicious",
        }
    }

    /// Reads the word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|verdict| verdict.as_str() == word)
    }
}

/// How often people have said what of a document: who says it twice counts twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// The document.
    pub document: String,
    /// How many times each was said, in the order of [`Verdict::ALL`].
    pub counts: [u32; 3],
    /// When something was said last.
    pub at: Micros,
}

/// Counts of searches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Searches in it.
    pub searches: u64,
    /// Those that found something that was shown.
    pub hits: u64,
    /// Documents that fitted and were refused to whoever asked.
    pub withheld: u64,
}

/// How a source does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// The source.
    pub source: String,
    /// Of all tasks.
    pub all: Counts,
    /// Of each, by name.
    pub tasks: BTreeMap<String, Counts>,
    /// When it was searched last.
    pub last: Micros,
    /// Thousandths by which the questions of the last whole window differ from those before it.
    pub query_drift: Option<u32>,
    /// The same of the documents that were shown.
    pub result_drift: Option<u32>,
    /// The document that answers most different questions of this window, and thousandths of them.
    pub first: Option<(String, u32)>,
    /// The latest first.
    pub suspicions: Vec<Suspicion>,
    /// What people say of its documents, the latest first.
    pub feedback: Vec<Said>,
}

/// Everything that is watched.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    sources: BTreeMap<String, Watched>,
}

#[derive(Clone, Debug, Default)]
struct Watched {
    all: Counts,
    tasks: BTreeMap<String, Counts>,
    last: Micros,
    window: Window,
    before: Option<Window>,
    query_drift: Option<u32>,
    result_drift: Option<u32>,
    suspicions: VecDeque<Suspicion>,
    feedback: VecDeque<Said>,
}

#[derive(Clone, Debug, Default)]
struct Window {
    searches: u32,
    /// Different questions, as numbers.
    questions: BTreeSet<u64>,
    words: BTreeMap<u64, u32>,
    /// Of each document, how many different questions it was among the first to answer.
    documents: BTreeMap<String, u32>,
    /// What was told in this window already.
    told: BTreeSet<(Kind, String)>,
}

impl Watch {
    /// Counts a search, and says what is suspicious since: source by source.
    pub fn note(&mut self, search: &Search) -> Vec<(String, Suspicion)> {
        let mut found = Vec::new();
        let words = words(&search.query);
        for source in &search.sources {
            let Some(watched) = self.watched(source) else { continue };
            let suspicions = watched.note(source, search, &words);
            found.extend(suspicions.into_iter().map(|it| (source.clone(), it)));
        }
        found
    }

    /// Keeps what somebody says of a document that they were shown.
    pub fn say(&mut self, source: &str, document: &str, verdict: Verdict, at: Micros) {
        let Some(watched) = self.watched(source) else { return };
        let document = clipped(document);
        let known = watched.feedback.iter().position(|it| it.document == document);
        let known = known.and_then(|place| watched.feedback.remove(place));
        let mut said = known.unwrap_or(Said { document, ..Said::default() });
        if let Some(count) = said.counts.get_mut(verdict as usize) {
            *count = count.saturating_add(1);
        }
        said.at = at;
        watched.feedback.push_front(said);
        watched.feedback.truncate(FEEDBACK_MAX);
    }

    /// How the sources do, by name.
    pub fn health(&self) -> Vec<Health> {
        self.sources.iter().map(|(name, watched)| watched.health(name)).collect()
    }

    fn watched(&mut self, source: &str) -> Option<&mut Watched> {
        if !self.sources.contains_key(source) && self.sources.len() >= SOURCES_MAX {
            let oldest = self.sources.iter().min_by_key(|(_, it)| it.last);
            let oldest = oldest.map(|(name, _)| name.clone())?;
            self.sources.remove(&oldest);
        }
        Some(self.sources.entry(source.to_owned()).or_default())
    }
}

impl Watched {
    fn note(&mut self, source: &str, search: &Search, words: &[u64]) -> Vec<Suspicion> {
        let shown: Vec<&Shown> = search.shown.iter().filter(|it| it.source == source).collect();
        let withheld = search.withheld.get(source).copied().unwrap_or(0);
        self.last = search.at;
        self.all.add(!shown.is_empty(), withheld);
        let is_known = self.tasks.contains_key(&search.task) || self.tasks.len() < TASKS_MAX;
        let task = if is_known { search.task.as_str() } else { OTHER_TASKS };
        self.tasks.entry(task.to_owned()).or_default().add(!shown.is_empty(), withheld);
        let mut found = Vec::new();
        let left_out = search.left_out.iter().filter(|it| it.source == source);
        for shown in shown.iter().copied().chain(left_out) {
            let signs = [(Kind::Orders, shown.orders), (Kind::Contradiction, shown.contradicts)];
            for (kind, value) in signs.into_iter().filter(|(_, value)| *value > 0) {
                let seen = (search.at, u32::from(value), 0);
                self.suspect(kind, &shown.document, seen, &mut found);
            }
        }
        self.count(&shown, words, search.at, &mut found);
        self.window.searches += 1;
        if self.window.searches >= WINDOW_SEARCHES {
            self.close(search.at, &mut found);
        }
        found
    }

    /// Counts words and documents, once for each different question.
    fn count(&mut self, shown: &[&Shown], words: &[u64], at: Micros, found: &mut Vec<Suspicion>) {
        let window = &mut self.window;
        for word in words {
            let has_room = window.words.len() < WINDOW_WORDS_MAX;
            if let Some(count) = window.words.get_mut(word) {
                *count += 1;
            } else if has_room {
                window.words.insert(*word, 1);
            }
        }
        if !window.questions.insert(question(words)) {
            return;
        }
        let mut first: Vec<String> = Vec::new();
        for document in shown.iter().map(|it| clipped(&it.document)) {
            if first.len() < FIRST && !first.contains(&document) {
                first.push(document);
            }
        }
        for document in &first {
            let has_room = window.documents.len() < WINDOW_DOCUMENTS_MAX;
            if let Some(count) = window.documents.get_mut(document) {
                *count += 1;
            } else if has_room {
                window.documents.insert(document.clone(), 1);
            }
        }
        for document in &first {
            let Some((share, before)) = self.dominance(document) else { continue };
            self.suspect(Kind::Dominance, document, (at, share, before), found);
        }
    }

    /// The share of different questions that a document answers, and answered before, if that is
    /// unusual. Without a past nothing is.
    fn dominance(&self, document: &str) -> Option<(u32, u32)> {
        let before = self.before.as_ref().filter(|it| it.questions() >= QUESTIONS_MIN)?;
        let window = &self.window;
        if window.questions() < QUESTIONS_MIN || window.documents.len() < DOCUMENTS_MIN {
            return None;
        }
        let (share, was) = (window.share(document), before.share(document));
        let is_dominant = share >= DOMINANT_MIN && share >= was.saturating_add(DOMINANT_RISE);
        is_dominant.then_some((share, was))
    }

    fn close(&mut self, at: Micros, found: &mut Vec<Suspicion>) {
        if let Some(before) = &self.before {
            let queries = difference(&self.window.words, &before.words);
            let results = difference(&self.window.documents, &before.documents);
            (self.query_drift, self.result_drift) = (queries, results);
            let drifts = [(Kind::QueryDrift, queries), (Kind::ResultDrift, results)];
            for (kind, value) in drifts {
                if let Some(value) = value.filter(|value| *value >= DRIFT_MIN) {
                    self.suspect(kind, "", (at, value, 0), found);
                }
            }
        }
        self.before = Some(std::mem::take(&mut self.window));
    }

    /// Once in each window.
    fn suspect(
        &mut self,
        kind: Kind,
        document: &str,
        (at, value, before): (Micros, u32, u32),
        found: &mut Vec<Suspicion>,
    ) {
        let document = clipped(document);
        let has_room = self.window.told.len() < WINDOW_DOCUMENTS_MAX;
        if !has_room || !self.window.told.insert((kind, document.clone())) {
            return;
        }
        let suspicion = Suspicion { at, kind, document, value, before };
        self.suspicions.push_front(suspicion.clone());
        self.suspicions.truncate(SUSPICIONS_MAX);
        found.push(suspicion);
    }

    fn health(&self, source: &str) -> Health {
        let first = self.window.documents.iter().max_by_key(|(_, count)| **count);
        let first = first.filter(|_| self.window.questions() >= QUESTIONS_MIN);
        Health {
            source: source.to_owned(),
            all: self.all,
            tasks: self.tasks.clone(),
            last: self.last,
            query_drift: self.query_drift,
            result_drift: self.result_drift,
            first: first.map(|(name, _)| (name.clone(), self.window.share(name))),
            suspicions: self.suspicions.iter().cloned().collect(),
            feedback: self.feedback.iter().cloned().collect(),
        }
    }
}

impl Window {
    fn questions(&self) -> u32 {
        u32::try_from(self.questions.len()).unwrap_or(u32::MAX)
    }

    /// Thousandths of different questions that a document was among the first to answer.
    fn share(&self, document: &str) -> u32 {
        let count = self.documents.get(document).copied().unwrap_or(0);
        count.saturating_mul(1000).checked_div(self.questions()).unwrap_or(0)
    }
}

impl Counts {
    fn add(&mut self, is_hit: bool, withheld: u32) {
        self.searches = self.searches.saturating_add(1);
        self.hits = self.hits.saturating_add(u64::from(is_hit));
        self.withheld = self.withheld.saturating_add(u64::from(withheld));
    }
}

/// Thousandths by which two counts differ, as shares of their sums: 0 if they are the same, 1000 if
/// they have nothing in common. `None`: one of them is empty.
fn difference<K: Ord>(one: &BTreeMap<K, u32>, other: &BTreeMap<K, u32>) -> Option<u32> {
    let sum = |counts: &BTreeMap<K, u32>| counts.values().map(|it| u64::from(*it)).sum::<u64>();
    let (all, all_other) = (sum(one), sum(other));
    if all == 0 || all_other == 0 {
        return None;
    }
    let whole = all.saturating_mul(all_other);
    let common: u64 = one
        .iter()
        .filter_map(|(key, count)| {
            let (count, there) = (u64::from(*count), u64::from(*other.get(key)?));
            Some(count.saturating_mul(all_other).min(there.saturating_mul(all)))
        })
        .sum();
    let common = common.saturating_mul(1000).checked_div(whole)?;
    u32::try_from(1000_u64.saturating_sub(common)).ok()
}

/// The words of a question, as numbers, in their order.
fn words(query: &str) -> Vec<u64> {
    let words = query.split(|c: char| !c.is_alphanumeric());
    let words = words.filter(|word| word.chars().count() > 2).take(WORDS_MAX);
    words.map(|word| number(word.to_lowercase().bytes())).collect()
}

/// A question, whatever the order of its words.
fn question(words: &[u64]) -> u64 {
    let words: BTreeSet<u64> = words.iter().copied().collect();
    number(words.into_iter().flat_map(u64::to_be_bytes))
}

/// FNV-1a: who takes one word for another counts one too few.
fn number(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn clipped(name: &str) -> String {
    name.get(..name.floor_char_boundary(NAME_BYTES_MAX)).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests;
