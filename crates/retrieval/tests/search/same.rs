//! The same documents with and without what is hidden, and what somebody sees of them.

use super::organisation::Dice;
use super::scene::{NOW, document, filter, may, source, to, told};
use lockgate_core::retrieve::filter::Filter;
use lockgate_retrieval::corpus::{Access, Corpus, Incoming, Listing};
use lockgate_retrieval::search::{Hit, Query, Within};

const WORDS: [&str; 12] = [
    "restore", "database", "salary", "merger", "invoice", "refund", "outage", "runbook", "secret",
    "customer", "renewal", "audit",
];

fn text(dice: &mut Dice, words: usize) -> String {
    (0..words).map(|_| WORDS[dice.below(WORDS.len())]).collect::<Vec<_>>().join(" ")
}

fn visible() -> Vec<Incoming> {
    let mut dice = Dice::new(7);
    let text = |dice: &mut Dice| format!("{}\n{}", text(dice, 12), text(dice, 8));
    (0..60).map(|n| document(&format!("seen-{n}"), &["seen"], &text(&mut dice))).collect()
}

/// Documents that are like those that are seen, longer ones, and ones full of rare words; between
/// them, before and after them in every order that there is.
fn hidden() -> Vec<Incoming> {
    let mut dice = Dice::new(11);
    let one = |n: usize, dice: &mut Dice| {
        let text = match n % 3 {
            0 => text(dice, 12),
            1 => text(dice, 400),
            _ => format!("merger merger merger unseen{n}"),
        };
        let id = format!("{}-{n}", ["aaa", "seen-1", "zzz"][n % 3]);
        document(&id, &["hidden"], &text)
    };
    (0..150).map(|n| one(n, &mut dice)).collect()
}

/// Puts into a corpus what is seen, and what is hidden between it.
pub(crate) fn fill(corpus: &Corpus, with_hidden: bool) {
    let mut all = visible();
    if with_hidden {
        // What comes first of what is equally good does not depend on what came first.
        all.reverse();
        let mut dice = Dice::new(3);
        for incoming in hidden() {
            all.insert(dice.below(all.len()), incoming);
        }
        // A source and a tenant of which nothing may be seen.
        for (name, tenant) in [("drawer", "acme"), ("archive", "umbrella")] {
            let mut of = source(name, Access::Declared);
            tenant.clone_into(&mut of.tenant);
            let mut draft = corpus.begin(&of, Listing::Whole, NOW).unwrap();
            hidden().into_iter().for_each(|incoming| draft.put(incoming).unwrap());
            draft.publish("", NOW).unwrap();
        }
    }
    let mut draft = corpus.begin(&source("wiki", Access::Declared), Listing::Whole, NOW).unwrap();
    for incoming in all {
        draft.put(incoming).unwrap();
        draft.flush().unwrap();
    }
    draft.permit(&[told("seen", to("ann")), told("hidden", to("bob"))]).unwrap();
    draft.publish("", NOW).unwrap();
}

fn ask(corpus: &Corpus, text: &str, filter: Option<&Filter>) -> Vec<Hit> {
    let within = Within { tenant: "acme", sources: None, filter };
    let query = Query { text, vector: None, within, top: 50 };
    let answer = corpus.search(&query, &mut |facts| may("ann", facts)).unwrap();
    assert_eq!((answer.disagreements, answer.is_complete), (0, filter.is_some()));
    answer.hits
}

/// Compares answers to the byte.
pub(crate) fn check(with: &Corpus, without: &Corpus) {
    let mut queries: Vec<String> = WORDS.iter().map(|&word| word.to_owned()).collect();
    let mut dice = Dice::new(5);
    queries.extend((0..20).map(|n| text(&mut dice, 1 + n % 5)));
    queries.extend(["unseen2".to_owned(), "merger unseen5".to_owned(), String::new()]);
    let filter = filter("ann");
    let mut hits = 0;
    for query in &queries {
        for filter in [Some(&filter), None] {
            let (seen, expected) = (ask(with, query, filter), ask(without, query, filter));
            assert_eq!(seen, expected, "{query}");
            hits += seen.len();
        }
        let within = Within { tenant: "acme", sources: None, filter: Some(&filter) };
        let count = |corpus: &Corpus| {
            corpus.count_by_tag(&within, 0, &mut |facts| may("ann", facts)).unwrap().by_tag
        };
        assert_eq!(count(with), count(without));
    }
    assert!(hits > 1000, "{hits}");
    // That there is something to be seen by others.
    let all = Filter::Every(Vec::new());
    let within = Within { tenant: "acme", sources: None, filter: Some(&all) };
    let query = Query { text: "unseen5", vector: None, within, top: 5 };
    assert_eq!(
        with.search(&query, &mut |_| true).unwrap().hits[0].text,
        "merger merger merger unseen5"
    );
}
