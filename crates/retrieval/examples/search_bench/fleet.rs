//! The corpus of a fleet, in PostgreSQL.

use super::made::{self, NOW, SHARED};
use super::measure::{Exact, median_ms};
use super::served::Served;
use super::{Failure, progress};
use lockgate_retrieval::corpus::{Access, Corpus, Listing, Options, Permissions, SourceOf};
use lockgate_retrieval::relation::Layer;
use lockgate_retrieval::search::{Query, Stemming, Within};
use lockgate_types::document::Reader;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Instant;

pub(crate) fn run(chunks: usize, exact: &Exact) -> Result<Value, Failure> {
    let served = Served::start()?;
    let begun = Instant::now();
    fill(&open(&served)?, chunks / made::CHUNKS_PER_DOCUMENT)?;
    let ingested = begun.elapsed().as_secs_f64();
    // What autovacuum would do in its own time.
    served.connect()?.batch("VACUUM ANALYZE")?;
    let begun = Instant::now();
    let corpus = open(&served)?;
    let opened = begun.elapsed().as_secs_f64();
    let mut readable = Vec::new();
    for (share, shared) in SHARED.iter().enumerate() {
        progress(&format!("fleet: asking where {shared} of 1000 may be read"));
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
    Ok(json!({
        "way": "fleet, PostgreSQL",
        "ingested_per_s": chunks as f64 / ingested,
        "opened_s": opened,
        "memory_mib": served.memory_mib()?,
        "disk_mib": served.disk_mib()?,
        "permit_p50_ms": permit,
        "readable": readable,
    }))
}

fn open(served: &Served) -> Result<Corpus, Failure> {
    let options = Options { embedder: Arc::new(made::Synthetic), stemming: Stemming::English };
    Ok(Corpus::open_shared(served.address(), options)?)
}

fn fill(corpus: &Corpus, documents: usize) -> Result<(), Failure> {
    let of = SourceOf { name: "wiki".into(), tenant: "acme".into(), access: Access::Synced };
    let mut draft = corpus.begin(&of, Listing::Whole, NOW)?;
    for at in 0..documents {
        if at % 5_000 == 0 {
            progress(&format!("fleet: document {at} of {documents}"));
        }
        draft.put(made::document(at))?;
    }
    draft.permit(&made::folders())?;
    draft.publish("", NOW)?;
    Ok(())
}
