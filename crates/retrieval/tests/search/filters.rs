//! Random filters and documents, and what a filter comes to beside that of which it holds.

use super::organisation::Dice;
use super::scene::{NOW, document, source};
use lockgate_core::retrieve::filter::{Filter, Trait};
use lockgate_retrieval::corpus::{Access, Corpus, Listing, Permissions};
use lockgate_retrieval::relation::Layer;
use lockgate_retrieval::search::Within;
use lockgate_types::Micros;
use lockgate_types::document::{Curation, DocumentFacts, Reader};
use lockgate_types::label::Confidentiality;
use std::collections::BTreeSet;

const LEVELS: [Confidentiality; 4] = [
    Confidentiality::Public,
    Confidentiality::Internal,
    Confidentiality::Confidential,
    Confidentiality::Restricted,
];
const CURATIONS: [(Curation, &str); 3] = [
    (Curation::Curated, "curated"),
    (Curation::Collected, "collected"),
    (Curation::Generated, "generated"),
];
const FOLDERS: [&[&str]; 5] = [&[], &["x"], &["x", "x/y"], &["x", "x/z"], &["w"]];
const DOCUMENTS: usize = 60;

fn reader(dice: &mut Dice) -> Reader {
    match dice.below(5) {
        0 => Reader::Everyone,
        1 | 2 => Reader::User(format!("u{}", dice.below(3))),
        _ => Reader::Group(format!("g{}", dice.below(3))),
    }
}

fn permissions(dice: &mut Dice) -> Permissions {
    let mut some =
        |most| -> BTreeSet<Reader> { (0..dice.below(most)).map(|_| reader(dice)).collect() };
    let (shares, denials) = (some(4), some(3));
    match dice.below(6) {
        0 => Permissions::Unknown,
        1 => Permissions::Alone { shares, denials },
        _ => Permissions::Inherits { shares, denials },
    }
}

fn word(dice: &mut Dice, words: &[&str]) -> String {
    words[dice.below(words.len())].to_owned()
}

fn time(dice: &mut Dice) -> i64 {
    NOW.0 + i64::try_from(dice.below(10)).unwrap()
}

fn fill(corpus: &Corpus, dice: &mut Dice) {
    for (name, access) in [("s", Access::Synced), ("t", Access::Declared)] {
        let mut draft = corpus.begin(&source(name, access), Listing::Whole, NOW).unwrap();
        for n in 0..DOCUMENTS / 2 {
            let mut incoming = document(&format!("{name}{n}"), FOLDERS[dice.below(5)], "words");
            let facts = &mut incoming.facts;
            facts.kind = word(dice, &["page", "ticket", "runbook"]);
            facts.owner = dice.percent(60).then(|| word(dice, &["ann", "bob"]));
            facts.curation = CURATIONS[dice.below(3)].0;
            facts.classification = LEVELS[dice.below(4)];
            facts.tags = [word(dice, &["pii", "secret", "old"]), facts.id.clone()].into();
            (facts.changed, facts.confirmed) = (Micros(time(dice)), Micros(time(dice)));
            incoming.permissions = dice.percent(80).then(|| permissions(dice));
            draft.put(incoming).unwrap();
        }
        draft.publish("", NOW).unwrap();
        for layer in [Layer::Synced, Layer::Declared] {
            let places =
                ["x", "x/y", "x/z", "w"].map(|place| (place.to_owned(), permissions(dice)));
            corpus.permit(name, layer, &places).unwrap();
        }
    }
}

fn filter(dice: &mut Dice, depth: usize) -> Filter {
    if depth == 0 || dice.percent(25) {
        return Filter::Is(one(dice));
    }
    let mut parts =
        |most| (0..dice.below(most)).map(|_| filter(dice, depth - 1)).collect::<Vec<_>>();
    let parts = parts(4);
    match dice.below(5) {
        0 | 1 => Filter::Every(parts),
        2 | 3 => Filter::Any(parts),
        _ => Filter::Not(Box::new(filter(dice, depth - 1))),
    }
}

fn one(dice: &mut Dice) -> Trait {
    let source = word(dice, &["s", "t", "nowhere"]);
    match dice.below(15) {
        0 => Trait::Document(source, format!("s{}", dice.below(30))),
        1 => Trait::Source(source),
        2 => Trait::Folder(source, word(dice, &["x", "x/y", "w", "nowhere"])),
        3 => Trait::Tenant(word(dice, &["acme", "umbrella"])),
        4 => Trait::Kind(word(dice, &["page", "runbook", "none"])),
        5 => Trait::Owner(word(dice, &["ann", "eve"])),
        6 => Trait::HasOwner,
        7 => Trait::Curation(CURATIONS[dice.below(3)].1.to_owned()),
        8 => Trait::Tag(word(dice, &["pii", "secret", "none"])),
        9 | 10 => Trait::Reader(reader(dice)),
        11 => Trait::ReadersKnown,
        12 => Trait::Denied(reader(dice)),
        13 => Trait::AtMost(LEVELS[dice.below(4)]),
        _ if dice.percent(50) => Trait::ChangedSince(time(dice)),
        _ => Trait::ConfirmedSince(time(dice)),
    }
}

fn holds(filter: &Filter, facts: &DocumentFacts) -> bool {
    match filter {
        Filter::Every(all) => all.iter().all(|one| holds(one, facts)),
        Filter::Any(all) => all.iter().any(|one| holds(one, facts)),
        Filter::Not(one) => !holds(one, facts),
        Filter::Is(one) => is_so(one, facts),
    }
}

fn is_so(one: &Trait, facts: &DocumentFacts) -> bool {
    match one {
        Trait::Document(source, id) => *source == facts.source && *id == facts.id,
        Trait::Source(source) => *source == facts.source,
        Trait::Folder(source, path) => *source == facts.source && facts.folders.contains(path),
        Trait::Tenant(tenant) => *tenant == facts.tenant,
        Trait::Kind(kind) => *kind == facts.kind,
        Trait::Owner(owner) => facts.owner.as_ref() == Some(owner),
        Trait::HasOwner => facts.owner.is_some(),
        Trait::Curation(word) => CURATIONS.contains(&(facts.curation, word.as_str())),
        Trait::Tag(tag) => facts.tags.contains(tag),
        Trait::Reader(reader) => facts.readers.as_ref().is_some_and(|all| all.contains(reader)),
        Trait::ReadersKnown => facts.readers.is_some(),
        Trait::Denied(reader) => facts.denied.contains(reader),
        Trait::AtMost(level) => facts.classification <= *level,
        Trait::ChangedSince(time) => facts.changed.0 >= *time,
        Trait::ConfirmedSince(time) => facts.confirmed.0 >= *time,
    }
}

/// Documents, and random filters of them. Gives back how many came to some documents, and how many
/// to none.
pub(crate) fn check(corpus: &Corpus, seed: u64, filters: usize) -> (usize, usize) {
    let (mut some, mut none) = (0, 0);
    let mut dice = Dice::new(seed);
    fill(corpus, &mut dice);
    // As each is decided: from what was told of it, and not from what filters look at.
    let mut all: Vec<DocumentFacts> = Vec::new();
    let within = Within { tenant: "acme", sources: None, filter: None };
    let mut decide = |facts: &DocumentFacts| {
        all.push(facts.clone());
        true
    };
    corpus.count_by_tag(&within, 0, &mut decide).unwrap();
    assert_eq!(all.len(), DOCUMENTS);
    for _ in 0..filters {
        let filter = filter(&mut dice, 4);
        let within = Within { tenant: "acme", sources: None, filter: Some(&filter) };
        let counts = corpus.count_by_tag(&within, 0, &mut |_| true).unwrap().by_tag;
        let held = all.iter().filter(|facts| holds(&filter, facts));
        let expected: BTreeSet<String> = held.map(|facts| facts.id.clone()).collect();
        let found: BTreeSet<String> =
            counts.into_keys().filter(|tag| tag.contains(char::is_numeric)).collect();
        assert_eq!(found, expected, "{filter:?}");
        *(if found.is_empty() { &mut none } else { &mut some }) += 1;
    }
    (some, none)
}
