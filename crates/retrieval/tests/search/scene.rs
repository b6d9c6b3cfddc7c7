//! A corpus in a directory of its own, and documents to put in it.

use lockgate_core::retrieve::filter::{Filter, Trait};
use lockgate_retrieval::corpus::{
    Access, Corpus, Draft, Incoming, Listing, Options, Permissions, SourceOf,
};
use lockgate_retrieval::embed::{Embedder, Hashed};
use lockgate_retrieval::search::{Answer, Query, Stemming, Within};
use lockgate_types::document::{Curation, DocumentFacts, Reader};
use lockgate_types::label::Confidentiality;
use lockgate_types::{Digest, Micros};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

pub(crate) const NOW: Micros = Micros(1_800_000_000_000_000);

pub(crate) fn open(directory: &Path) -> Corpus {
    open_with(directory, Arc::new(Hashed))
}

pub(crate) fn open_with(directory: &Path, embedder: Arc<dyn Embedder>) -> Corpus {
    let options = Options { embedder, stemming: Stemming::English };
    Corpus::open(directory, options, &mut |_| {}).unwrap()
}

pub(crate) fn source(name: &str, access: Access) -> SourceOf {
    SourceOf { name: name.to_owned(), tenant: "acme".to_owned(), access }
}

pub(crate) fn begin(corpus: &Corpus, access: Access, listing: Listing) -> Draft {
    corpus.begin(&source("wiki", access), listing, NOW).unwrap()
}

/// A document with one chunk for each paragraph.
pub(crate) fn document(id: &str, folders: &[&str], text: &str) -> Incoming {
    let mut pieces = Vec::new();
    let mut from = 0;
    for paragraph in text.split('\n') {
        pieces.push((from, from + paragraph.len()));
        from += paragraph.len() + 1;
    }
    pieces.retain(|(from, to)| from < to);
    Incoming {
        facts: DocumentFacts {
            id: id.to_owned(),
            source: String::new(),
            tenant: String::new(),
            folders: folders.iter().map(|&folder| folder.to_owned()).collect(),
            kind: "page".to_owned(),
            owner: None,
            curation: Curation::Curated,
            classification: Confidentiality::Internal,
            tags: BTreeSet::new(),
            readers: None,
            denied: BTreeSet::new(),
            changed: NOW,
            confirmed: NOW,
        },
        permissions: None,
        title: format!("Title of {id}"),
        author: None,
        made: None,
        link: None,
        text: text.to_owned(),
        pieces,
        fingerprint: Digest::of(text.as_bytes()),
    }
}

pub(crate) fn to(user: &str) -> Permissions {
    Permissions::shared([Reader::User(user.to_owned())])
}

pub(crate) fn told(place: &str, permissions: Permissions) -> (String, Permissions) {
    (place.to_owned(), permissions)
}

/// What is shared to a user by name, and not kept from them.
pub(crate) fn filter(user: &str) -> Filter {
    let reader = Reader::User(user.to_owned());
    Filter::Every(vec![
        Filter::Is(Trait::Reader(reader.clone())),
        Filter::Not(Box::new(Filter::Is(Trait::Denied(reader)))),
    ])
}

pub(crate) fn may(user: &str, facts: &DocumentFacts) -> bool {
    let reader = Reader::User(user.to_owned());
    facts.readers.as_ref().is_some_and(|readers| readers.contains(&reader))
        && !facts.denied.contains(&reader)
}

pub(crate) fn ask(corpus: &Corpus, user: &str, text: &str) -> Answer {
    let filter = filter(user);
    let within = Within { tenant: "acme", sources: None, filter: Some(&filter) };
    let query = Query { text, vector: None, within, top: 50 };
    let answer = corpus.search(&query, &mut |facts| may(user, facts)).unwrap();
    assert_eq!(answer.disagreements, 0);
    answer
}

/// The documents that a user finds.
pub(crate) fn found(corpus: &Corpus, user: &str, text: &str) -> BTreeSet<String> {
    let hits = ask(corpus, user, text).hits;
    hits.into_iter().map(|hit| hit.provenance.document.id).collect()
}

pub(crate) fn ids(ids: &[&str]) -> BTreeSet<String> {
    ids.iter().map(|&id| id.to_owned()).collect()
}
