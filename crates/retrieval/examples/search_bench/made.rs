//! What is searched: documents of four chunks in a thousand folders, words with Zipf's frequencies,
//! vectors in clusters. All of it comes from numbers, so that whoever measures can make any chunk
//! again, and all ways that are measured have the same.

use lockgate_core::retrieve::filter::{Filter, Trait};
use lockgate_retrieval::corpus::{Incoming, Permissions};
use lockgate_retrieval::embed::{EmbedError, Embedder};
use lockgate_types::document::{Curation, DocumentFacts, Reader};
use lockgate_types::label::Confidentiality;
use lockgate_types::{Digest, Micros};
use std::collections::BTreeSet;

pub(crate) const NOW: Micros = Micros(1_800_000_000_000_000);
pub(crate) const DIMENSIONS: usize = 256;
pub(crate) const CHUNKS_PER_DOCUMENT: usize = 4;
pub(crate) const FOLDERS: usize = 1000;
/// Of a thousand folders, how many are shared to each user.
pub(crate) const SHARED: [usize; 4] = [1, 10, 100, 1000];
/// Questions of which the exact answers are known.
pub(crate) const QUESTIONS: u64 = 40;
const CLUSTERS: u64 = 200;
const WORDS_PER_CHUNK: usize = 60;
const WORDS_PER_QUESTION: usize = 4;
const VOCABULARY: f64 = 50_000.0;

struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        let mut dice = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678_9abc_def1);
        dice.next();
        dice
    }
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    /// From 0 to 1.
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
    fn spread(&mut self) -> f32 {
        (self.share() + self.share() + self.share() + self.share() - 2.0) as f32
    }
    /// Zipf: the first words are the most frequent.
    fn word(&mut self) -> u64 {
        VOCABULARY.powf(self.share()) as u64
    }
}

/// Of the chunk of that number: near the middle of its cluster.
pub(crate) fn vector(number: u64) -> Vec<f32> {
    let mut middle = Dice::new(1_000_000_007 + number % CLUSTERS);
    let mut own = Dice::new(number);
    let mut vector: Vec<f32> =
        (0..DIMENSIONS).map(|_| middle.spread() + 0.6 * own.spread()).collect();
    let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    vector.iter_mut().for_each(|x| *x /= length);
    vector
}

fn words(number: u64, count: usize) -> String {
    let mut dice = Dice::new(number ^ 0xabcd_ef01);
    (0..count).map(|_| format!("w{}", dice.word())).collect::<Vec<_>>().join(" ")
}

/// Vectors near those that chunks have.
pub(crate) fn questions() -> Vec<Vec<f32>> {
    (0..QUESTIONS).map(|n| vector(5_000_000_000 + n * 7)).collect()
}

/// Words of a question.
pub(crate) fn question(round: usize) -> String {
    words(7_000_000_000 + round as u64, WORDS_PER_QUESTION)
}

/// What a chunk says: its number, then words.
pub(crate) fn text(number: u64) -> String {
    format!("#{number} {}", words(number, WORDS_PER_CHUNK))
}

/// The number of a chunk, from its text.
pub(crate) fn number(text: &str) -> u64 {
    text.split(['#', ' ']).nth(1).and_then(|word| word.parse().ok()).unwrap()
}

/// The folder that a chunk lies in.
pub(crate) fn folder(number: u64) -> usize {
    number as usize / CHUNKS_PER_DOCUMENT % FOLDERS
}

/// Makes the vectors of chunks from the numbers in their texts.
pub(crate) struct Synthetic;

impl Embedder for Synthetic {
    fn name(&self) -> &'static str {
        "synthetic-1"
    }
    fn dimensions(&self) -> usize {
        DIMENSIONS
    }
    fn embed(&self, text: &str) -> Result<Option<Vec<f32>>, EmbedError> {
        let number = text.strip_prefix('#').and_then(|rest| rest.split(' ').next());
        Ok(number.and_then(|number| number.parse().ok()).map(vector))
    }
}

/// Every folder, shared to users who see a thousandth, a hundredth, a tenth and all.
pub(crate) fn folders() -> Vec<(String, Permissions)> {
    let shares = |folder| {
        let users = SHARED.iter().filter(move |shared| folder < **shared);
        Permissions::shared(users.map(|shared| Reader::User(format!("u{shared}"))))
    };
    (0..FOLDERS).map(|folder| (format!("f{folder}"), shares(folder))).collect()
}

pub(crate) fn document(at: usize) -> Incoming {
    let (mut all, mut pieces) = (String::new(), Vec::new());
    for chunk in 0..CHUNKS_PER_DOCUMENT {
        let from = all.len();
        all.push_str(&text((at * CHUNKS_PER_DOCUMENT + chunk) as u64));
        pieces.push((from, all.len()));
        all.push('\n');
    }
    Incoming {
        facts: DocumentFacts {
            id: format!("d{at}"),
            source: String::new(),
            tenant: String::new(),
            folders: vec![format!("f{}", at % FOLDERS)],
            kind: "page".into(),
            owner: None,
            curation: Curation::Curated,
            classification: Confidentiality::Internal,
            tags: BTreeSet::new(),
            readers: None,
            denied: BTreeSet::new(),
            changed: NOW,
            confirmed: NOW,
        },
        permissions: Some(Permissions::none()),
        title: format!("Page {at}"),
        author: None,
        made: None,
        link: None,
        fingerprint: Digest::of(all.as_bytes()),
        text: all,
        pieces,
    }
}

/// What the policies come to for one of the users.
pub(crate) fn filter(shared: usize) -> Filter {
    let readers = [Reader::Everyone, Reader::User(format!("u{shared}"))];
    let each = |of: fn(Reader) -> Trait| {
        Filter::Any(readers.iter().cloned().map(|reader| Filter::Is(of(reader))).collect())
    };
    Filter::Every(vec![
        Filter::Is(Trait::Tenant("acme".into())),
        each(Trait::Reader),
        Filter::Not(Box::new(each(Trait::Denied))),
        Filter::Is(Trait::AtMost(Confidentiality::Confidential)),
    ])
}

/// What the policies say of one document.
pub(crate) fn decide(shared: usize, facts: &DocumentFacts) -> bool {
    let reader = Reader::User(format!("u{shared}"));
    facts.readers.as_ref().is_some_and(|readers| readers.contains(&reader))
        && facts.denied.is_empty()
}
