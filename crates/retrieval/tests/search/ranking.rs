//! In which order things are found.

use super::scene::{NOW, ask, begin, document, open, open_with, to, told};
use lockgate_core::retrieve::filter::Filter;
use lockgate_retrieval::corpus::{Access, ChunkNumber, Corpus, Listing};
use lockgate_retrieval::embed::{Embedder, Given, Hashed, NoVectors, Table};
use lockgate_retrieval::search::{Query, Within};
use lockgate_types::label::Confidentiality;
use std::collections::BTreeSet;
use std::sync::Arc;

fn publish(corpus: &Corpus, documents: &[(String, String)]) {
    let mut draft = begin(corpus, Access::Declared, Listing::Whole);
    for (id, text) in documents {
        draft.put(document(id, &["all"], text)).unwrap();
    }
    draft.permit(&[told("all", to("ann"))]).unwrap();
    draft.publish("", NOW).unwrap();
}

fn of(documents: &[(&str, &str)]) -> Vec<(String, String)> {
    documents.iter().map(|(id, text)| ((*id).to_owned(), (*text).to_owned())).collect()
}

fn order(corpus: &Corpus, text: &str) -> Vec<String> {
    ask(corpus, "ann", text).hits.into_iter().map(|hit| hit.provenance.document.id).collect()
}

#[test]
fn rare_words_count_more_and_long_texts_less() {
    let directory = tempfile::tempdir().unwrap();
    let corpus = open_with(directory.path(), Arc::new(NoVectors));
    publish(
        &corpus,
        &of(&[
            ("both", "restore the database"),
            ("long", "restore the database, of which a lot more is said than anybody can read"),
            ("rare", "database"),
            ("common", "the restore the restore"),
            ("other", "the restore the other"),
            ("none", "nothing to see"),
        ]),
    );
    let order = order(&corpus, "RESTORED databases");
    assert_eq!(order[..3], ["both", "rare", "long"]);
    assert_eq!(order.len(), 5);
}

#[test]
fn vectors_find_what_shares_no_word() {
    let table = "4 3\ncar 1 0 0\nautomobile 0.9 0.1 0\nfish 0 1 0\ncapital 0 0 1\n";
    let table = Table::parse(table).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let corpus = open_with(directory.path(), Arc::new(table));
    publish(&corpus, &of(&[("a", "automobile"), ("f", "fish"), ("c", "capital")]));
    // At a right angle is not near at all.
    assert_eq!(order(&corpus, "car"), ["a"]);
    assert!(Table::parse("a 1 2\nb 1").is_err());
    assert!(Table::parse("").is_err());
    assert!(Table::parse("a 1 nan").is_err());
}

#[test]
fn given_vectors_are_asked_for_once_and_found_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let given = || Arc::new(Given { name: "model-1".to_owned(), dimensions: 2 });
    let corpus = open_with(directory.path(), given());
    publish(&corpus, &of(&[("a", "one"), ("b", "two"), ("c", "three")]));
    let asked = corpus.unembedded(10, Confidentiality::Restricted).unwrap();
    assert_eq!(asked.len(), 3);
    let vector = |text: &str| if text == "two" { vec![3.0, 4.0] } else { vec![4.0, -3.0] };
    let vectors: Vec<(ChunkNumber, Vec<f32>)> =
        asked.iter().map(|(chunk, text)| (*chunk, vector(text))).collect();
    assert!(corpus.embed(vec![(asked[0].0, vec![1.0])]).is_err());
    assert!(corpus.embed(vec![(asked[0].0, vec![0.0, 0.0])]).is_err());
    corpus.embed(vectors).unwrap();
    assert_eq!(corpus.unembedded(10, Confidentiality::Restricted).unwrap(), []);
    let near = |corpus: &Corpus| {
        let every = Filter::Every(Vec::new());
        let within = Within { tenant: "acme", sources: None, filter: Some(&every) };
        let query = Query { text: "", vector: Some(&[0.0, 2.0]), within, top: 5 };
        let hits = corpus.search(&query, &mut |_| true).unwrap().hits;
        hits.into_iter().map(|hit| hit.provenance.document.id).collect::<Vec<_>>()
    };
    assert_eq!(near(&corpus), ["b"]);
    drop(corpus);
    assert_eq!(near(&open_with(directory.path(), given())), ["b"]);
    // Another model's vectors are no answer to this one's.
    let other = Arc::new(Given { name: "model-2".to_owned(), dimensions: 2 });
    let corpus = open_with(directory.path(), other);
    assert_eq!(near(&corpus), [] as [&str; 0]);
    assert_eq!(corpus.unembedded(10, Confidentiality::Restricted).unwrap().len(), 3);
}

#[test]
fn the_nearest_are_those_that_an_exact_comparison_of_all_finds() {
    let texts: Vec<(String, String)> = (0..600_usize)
        .map(|n| {
            let word = |k: usize| format!("w{}", (n * k + n / 7) % 61);
            (format!("d{n}"), [3, 5, 11, 17].map(word).join(" "))
        })
        .collect();
    let directory = tempfile::tempdir().unwrap();
    let corpus = open(directory.path());
    publish(&corpus, &texts);
    let query = "w3 w14 w15 w9 w2 w6";
    let vector = |text: &str| Hashed.embed(text).unwrap().unwrap();
    let near = |text: &str| -> f64 {
        let pairs = vector(query).into_iter().zip(vector(text));
        pairs.map(|(a, b)| f64::from(a) * f64::from(b)).sum()
    };
    let mut exact: Vec<(f64, &str)> =
        texts.iter().map(|(id, text)| (near(text), id.as_str())).collect();
    exact.sort_by(|a, b| b.0.total_cmp(&a.0));
    let least = exact[9].0;
    let every = Filter::Every(Vec::new());
    let within = Within { tenant: "acme", sources: None, filter: Some(&every) };
    let asked = vector(query);
    let query = Query { text: "", vector: Some(&asked), within, top: 10 };
    let hits = corpus.search(&query, &mut |_| true).unwrap().hits;
    let found: BTreeSet<String> =
        hits.iter().map(|hit| hit.provenance.document.id.clone()).collect();
    assert_eq!(found.len(), 10);
    assert!(hits.iter().all(|hit| near(&hit.text) >= least - 1e-9), "{found:?} {exact:?}");
}

#[test]
fn chunks_of_one_document_that_say_the_same_are_found_once() {
    let directory = tempfile::tempdir().unwrap();
    let corpus = open(directory.path());
    let text =
        "call the owner of the service\ncall the owner of the service\nlook at the dashboard";
    publish(&corpus, &of(&[("a", text), ("b", text)]));
    assert_eq!(order(&corpus, "call the owner").len(), 4);
    let hits = ask(&corpus, "ann", "call the owner").hits;
    let spans: BTreeSet<(u64, u64)> = hits.iter().map(|hit| hit.provenance.span).collect();
    assert_eq!(spans.len(), 2);
    for hit in hits {
        let (from, to) = hit.provenance.span;
        assert_eq!(text.get(from as usize..to as usize), Some(hit.text.as_str()));
        assert_eq!(hit.provenance.hash, lockgate_types::Digest::of(hit.text.as_bytes()));
    }
}
