//! The corpus in a file of its own, with its index in memory.

use super::made::{self, NOW, SHARED};
use super::measure::{Exact, median_ms};
use super::{Failure, progress};
use lockgate_retrieval::corpus::{Access, Corpus, Listing, Options, Permissions, SourceOf};
use lockgate_retrieval::relation::Layer;
use lockgate_retrieval::search::{Query, Stemming, Within};
use lockgate_sim::bench::machine::held;
use lockgate_types::document::Reader;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

pub(crate) fn run(chunks: usize, exact: &Exact) -> Result<Value, Failure> {
    let directory = tempfile::tempdir()?;
    let begun = Instant::now();
    fill(&open(directory.path())?, chunks / made::CHUNKS_PER_DOCUMENT)?;
    let ingested = begun.elapsed().as_secs_f64();
    progress("embedded: building the index");
    let before = held(std::process::id())?.mib;
    let begun = Instant::now();
    let corpus = open(directory.path())?;
    let opened = begun.elapsed().as_secs_f64();
    let resident = held(std::process::id())?.mib;
    let mut readable = Vec::new();
    for (share, shared) in SHARED.iter().enumerate() {
        progress(&format!("embedded: asking where {shared} of 1000 may be read"));
        let filter = made::filter(*shared);
        readable.push(exact.measure(share, &mut |text, vector| {
            let within = Within { tenant: "acme", sources: None, filter: Some(&filter) };
            let query = Query { text, vector: Some(vector), within, top: 10 };
            let answer = corpus.search(&query, &mut |facts| made::decide(*shared, facts)).unwrap();
            assert_eq!(answer.disagreements, 0);
            answer.hits.iter().map(|hit| made::number(&hit.text)).collect()
        }));
    }
    let permit = median_ms(51, |round| {
        let users = (0..=round % 2).map(|n| Reader::User(format!("other{n}")));
        let change = [("f1".to_owned(), Permissions::shared(users))];
        corpus.permit("wiki", Layer::Declared, &change).unwrap();
    });
    let file = std::fs::metadata(directory.path().join("corpus.db"))?.len();
    Ok(json!({
        "way": "embedded",
        "ingested_per_s": chunks as f64 / ingested,
        "opened_s": opened,
        "index_mib": corpus.bytes_in_memory()? as f64 / f64::from(1 << 20),
        "memory_mib": resident,
        "memory_before_mib": before,
        "disk_mib": file as f64 / f64::from(1 << 20),
        "permit_p50_ms": permit,
        "readable": readable,
    }))
}

fn open(directory: &Path) -> Result<Corpus, Failure> {
    let options = Options { embedder: Arc::new(made::Synthetic), stemming: Stemming::English };
    Ok(Corpus::open(directory, options, &mut |_| {})?)
}

fn fill(corpus: &Corpus, documents: usize) -> Result<(), Failure> {
    let of = SourceOf { name: "wiki".into(), tenant: "acme".into(), access: Access::Synced };
    let mut draft = corpus.begin(&of, Listing::Whole, NOW)?;
    for at in 0..documents {
        if at % 10_000 == 0 {
            progress(&format!("embedded: document {at} of {documents}"));
        }
        draft.put(made::document(at))?;
    }
    draft.permit(&made::folders())?;
    draft.publish("", NOW)?;
    Ok(())
}
