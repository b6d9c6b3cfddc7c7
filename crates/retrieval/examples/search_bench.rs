//! What authorised search costs, and what it finds: chunks in clusters of vectors with words of
//! Zipf's frequencies, of which a thousandth, a hundredth, a tenth and all may be read.
//!
//! The argument is the number of chunks. Prints a line of JSON: ingestion, time to build the index
//! at the start, memory, and for each share recall@10 of vectors against an exact comparison of all
//! that is permitted, and the time of questions with words and vectors, policies' part included.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "it fails by panicking"
)]

use lockgate_core::retrieve::filter::{Filter, Trait};
use lockgate_retrieval::corpus::{
    Access, Corpus, Incoming, Listing, Options, Permissions, SourceOf,
};
use lockgate_retrieval::embed::{EmbedError, Embedder};
use lockgate_retrieval::search::{Query, Stemming, Within};
use lockgate_types::document::{Curation, DocumentFacts, Reader};
use lockgate_types::label::Confidentiality;
use lockgate_types::{Digest, Micros};
use std::collections::BTreeSet;
use std::error::Error;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

const NOW: Micros = Micros(1_800_000_000_000_000);
const DIMENSIONS: usize = 256;
const CLUSTERS: u64 = 200;
const CHUNKS_PER_DOCUMENT: usize = 4;
const WORDS_PER_CHUNK: usize = 60;
const VOCABULARY: f64 = 50_000.0;
const FOLDERS: usize = 1000;
/// Of a thousand folders, how many are shared to each user.
const SHARED: [usize; 4] = [1, 10, 100, 1000];
const QUESTIONS: u64 = 40;
const ROUNDS: usize = 200;

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

/// Of what is called `#<number>`: near the middle of its cluster.
fn vector(number: u64) -> Vec<f32> {
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

struct Synthetic;

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

fn main() -> Result<(), Box<dyn Error>> {
    let chunks = std::env::args().nth(1).map_or(Ok(100_000), |chunks| chunks.parse())?;
    let directory = tempfile::tempdir()?;
    let begun = Instant::now();
    let corpus = open(directory.path())?;
    fill(&corpus, chunks / CHUNKS_PER_DOCUMENT)?;
    let ingested = begun.elapsed().as_secs_f64();
    drop(corpus);
    let begun = Instant::now();
    let corpus = open(directory.path())?;
    let opened = begun.elapsed().as_secs_f64();
    let resident = resident_bytes();
    let shares: Vec<String> =
        SHARED.iter().map(|shared| measure(&corpus, chunks, *shared)).collect();
    let permit = permit_ms(&corpus)?;
    let line = format!(
        "{{\"chunks\":{chunks},\"dimensions\":{DIMENSIONS},\"ingested_per_s\":{:.0},\
         \"opened_s\":{opened:.1},\"index_bytes\":{},\"resident_bytes\":{resident},\
         \"file_bytes\":{},\"permit_p50_ms\":{permit:.2},\"readable\":[{}]}}\n",
        chunks as f64 / ingested,
        corpus.bytes_in_memory()?,
        std::fs::metadata(directory.path().join("corpus.db"))?.len(),
        shares.join(",")
    );
    std::io::stdout().write_all(line.as_bytes())?;
    Ok(())
}

fn open(directory: &Path) -> Result<Corpus, Box<dyn Error>> {
    let options = Options { embedder: Arc::new(Synthetic), stemming: Stemming::English };
    Ok(Corpus::open(directory, options, &mut |_| {})?)
}

fn fill(corpus: &Corpus, documents: usize) -> Result<(), Box<dyn Error>> {
    let of = SourceOf { name: "wiki".into(), tenant: "acme".into(), access: Access::Synced };
    let mut draft = corpus.begin(&of, Listing::Whole, NOW)?;
    for at in 0..documents {
        draft.put(document(at))?;
    }
    let folders: Vec<(String, Permissions)> = (0..FOLDERS)
        .map(|folder| {
            let users = SHARED.iter().filter(|shared| folder < **shared);
            let users = users.map(|shared| Reader::User(format!("u{shared}")));
            (format!("f{folder}"), Permissions::shared(users))
        })
        .collect();
    draft.permit(&folders)?;
    draft.publish("", NOW)?;
    Ok(())
}

fn document(at: usize) -> Incoming {
    let (mut text, mut pieces) = (String::new(), Vec::new());
    for chunk in 0..CHUNKS_PER_DOCUMENT {
        let number = (at * CHUNKS_PER_DOCUMENT + chunk) as u64;
        let from = text.len();
        text.push_str(&format!("#{number} {}", words(number, WORDS_PER_CHUNK)));
        pieces.push((from, text.len()));
        text.push('\n');
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
        fingerprint: Digest::of(text.as_bytes()),
        text,
        pieces,
    }
}

fn filter(shared: usize) -> Filter {
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

fn decide(shared: usize, facts: &DocumentFacts) -> bool {
    let reader = Reader::User(format!("u{shared}"));
    facts.readers.as_ref().is_some_and(|readers| readers.contains(&reader))
        && facts.denied.is_empty()
}

fn measure(corpus: &Corpus, chunks: usize, shared: usize) -> String {
    let filter = filter(shared);
    let ask = |text: &str, vector: &[f32]| -> Vec<u64> {
        let within = Within { tenant: "acme", sources: None, filter: Some(&filter) };
        let query = Query { text, vector: Some(vector), within, top: 10 };
        let answer = corpus.search(&query, &mut |facts| decide(shared, facts)).unwrap();
        assert_eq!(answer.disagreements, 0);
        let number =
            |text: &str| text.split(['#', ' ']).nth(1).and_then(|word| word.parse().ok()).unwrap();
        answer.hits.iter().map(|hit| number(&hit.text)).collect()
    };
    // Questions are near chunks that others have.
    let questions: Vec<Vec<f32>> = (0..QUESTIONS).map(|n| vector(5_000_000_000 + n * 7)).collect();
    let exact = exact(&questions, chunks, shared);
    let (mut right, mut wanted) = (0, 0);
    for (question, exact) in questions.iter().zip(&exact) {
        let found: BTreeSet<u64> = ask("", question).into_iter().collect();
        right += exact.iter().filter(|number| found.contains(number)).count();
        wanted += exact.len();
    }
    let (mut times, mut processor) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let text = words(7_000_000_000 + round as u64, 4);
        let (begun, on_processor) = (Instant::now(), processor_ms());
        ask(&text, &questions[round % questions.len()]);
        times.push(begun.elapsed().as_secs_f64() * 1000.0);
        processor.push(processor_ms() - on_processor);
    }
    times.sort_by(f64::total_cmp);
    processor.sort_by(f64::total_cmp);
    format!(
        "{{\"percent\":{},\"recall_at_10\":{:.4},\"p50_ms\":{:.2},\"p99_ms\":{:.2},\
         \"processor_p50_ms\":{:.2}}}",
        shared as f64 / 10.0,
        right as f64 / wanted.max(1) as f64,
        times[ROUNDS / 2],
        times[ROUNDS * 99 / 100],
        processor[ROUNDS / 2]
    )
}

/// Time that this thread was on a processor: what others take away from it does not count.
fn processor_ms() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    stat.split(' ').next().and_then(|ns| ns.parse::<f64>().ok()).unwrap_or(0.0) / 1e6
}

/// The ten nearest of what is shared, by 32-bit numbers.
fn exact(questions: &[Vec<f32>], chunks: usize, shared: usize) -> Vec<Vec<u64>> {
    let mut best: Vec<Vec<(f64, u64)>> = vec![Vec::new(); questions.len()];
    for number in 0..chunks as u64 {
        if number as usize / CHUNKS_PER_DOCUMENT % FOLDERS >= shared {
            continue;
        }
        let vector = vector(number);
        for (question, best) in questions.iter().zip(&mut best) {
            let pairs = question.iter().zip(&vector);
            let near: f64 = pairs.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            if best.len() < 10 || near > best[9].0 {
                best.push((near, number));
                best.sort_by(|a, b| b.0.total_cmp(&a.0));
                best.truncate(10);
            }
        }
    }
    best.into_iter().map(|best| best.into_iter().map(|(_, number)| number).collect()).collect()
}

/// How long it takes until a share of a folder is in force.
fn permit_ms(corpus: &Corpus) -> Result<f64, Box<dyn Error>> {
    let mut times = Vec::new();
    for round in 0..51 {
        let users = (0..=round % 2).map(|n| Reader::User(format!("other{n}")));
        let change = [("f1".to_owned(), Permissions::shared(users))];
        let begun = Instant::now();
        corpus.permit("wiki", lockgate_retrieval::relation::Layer::Declared, &change)?;
        times.push(begun.elapsed().as_secs_f64() * 1000.0);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}

fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * 4096
}
