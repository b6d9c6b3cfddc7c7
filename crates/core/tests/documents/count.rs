//! How many documents there are of a group, told without telling of small ones.
//!
//! The oracle knows nothing of how it is done: it puts itself in the place of somebody who has
//! asked all there is to ask, and looks at every source that would have been answered for alike.

use lockgate_core::retrieve::count::{By, Group, Tally};
use lockgate_types::Micros;
use lockgate_types::document::{Curation, DocumentFacts};
use lockgate_types::label::Confidentiality;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

fn document(source: &str, kind: &str, tags: &[&str]) -> DocumentFacts {
    DocumentFacts {
        id: "a".to_owned(),
        source: source.to_owned(),
        tenant: "acme".to_owned(),
        folders: Vec::new(),
        kind: kind.to_owned(),
        owner: None,
        curation: Curation::Curated,
        classification: Confidentiality::Internal,
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        readers: None,
        denied: BTreeSet::new(),
        changed: Micros(0),
        confirmed: Micros(0),
    }
}

/// What is told of documents, as `source/group count`.
fn told(by: By, group_min: u64, documents: &[(&DocumentFacts, u64)]) -> Vec<String> {
    let mut tally = Tally::new(by);
    for (document, times) in documents {
        (0..*times).for_each(|_| tally.add(document));
    }
    let shown = |Group { source, name, documents }: Group| {
        format!("{source}/{} {documents}", name.unwrap_or_default())
    };
    tally.told(group_min).into_iter().map(shown).collect()
}

#[test]
fn small_groups_and_what_would_tell_of_them_are_not_told() {
    for (counts, expected) in [
        ([50, 20, 5], &["wiki/a 50", "wiki/b 20", "wiki/c 5"][..]),
        // The third would be what is left of all: the next one is kept back with it.
        ([50, 20, 3], &["wiki/a 50"]),
        ([50, 4, 4], &["wiki/a 50"]),
        ([50, 3, 0], &[]),
        ([4, 0, 0], &[]),
    ] {
        let all = ["a", "b", "c"].map(|kind| document("wiki", kind, &[]));
        let all: Vec<_> = all.iter().zip(counts).collect();
        assert_eq!(told(By::Kind, 5, &all), expected, "{counts:?}");
        let sum: u64 = counts.iter().sum();
        let whole = (sum >= 5).then(|| format!("wiki/ {sum}")).into_iter().collect::<Vec<_>>();
        assert_eq!(told(By::Source, 5, &all), whole);
    }
    // Of tags: what is without one is a group as well.
    let with = |tags| document("wiki", "a", tags);
    let (pii, both, neither) = (with(&["pii"]), with(&["pii", "old"]), with(&[]));
    let tags = |a, b, c| told(By::Tag, 5, &[(&pii, a), (&both, b), (&neither, c)]);
    assert_eq!(tags(10, 6, 5), ["wiki/old 6", "wiki/pii 16"]);
    assert_eq!(tags(10, 6, 4), ["wiki/old 6"]);
    assert_eq!(tags(10, 6, 0), ["wiki/old 6", "wiki/pii 16"]);
    assert_eq!(tags(10, 4, 9), ["wiki/pii 14"]);
}

#[test]
fn no_number_spans_two_sources() {
    let (one, two) = (document("one", "a", &[]), document("two", "a", &[]));
    assert_eq!(told(By::Kind, 5, &[(&one, 9), (&two, 4)]), ["one/a 9"]);
    assert_eq!(told(By::Kind, 4, &[(&one, 9), (&two, 4)]), ["one/a 9", "two/a 4"]);
}

/// Documents of each of several groups.
const MOST: u64 = 7;

/// Every source with up to that many documents in each of four groups.
fn every_source() -> impl Iterator<Item = [u64; 4]> {
    let of = MOST + 1;
    (0..of.pow(4)).map(move |n| [n % of, n / of % of, n / of.pow(2) % of, n / of.pow(3)])
}

/// That whoever knows all that is told of a source does not know the number of any small group.
/// `groups`: how many of each there are in a source.
fn nobody_knows(
    told: impl Fn([u64; 4]) -> Vec<String>,
    groups: impl Fn([u64; 4]) -> Vec<u64>,
    is_looked_at: impl Fn([u64; 4]) -> bool,
    group_min: u64,
) {
    let mut alike: BTreeMap<Vec<String>, Vec<[u64; 4]>> = BTreeMap::new();
    for source in every_source() {
        alike.entry(told(source)).or_default().push(source);
    }
    for (told, sources) in alike {
        for source in sources.iter().filter(|source| is_looked_at(**source)) {
            for (at, small) in groups(*source).into_iter().enumerate() {
                let is_known = sources.iter().all(|other| groups(*other)[at] == small);
                let is_small = small > 0 && small < group_min;
                assert!(!(is_small && is_known), "{small} of {source:?} is known from {told:?}");
            }
        }
    }
}

/// How many documents there are of each choice of the four kinds.
fn any_of(source: [u64; 4]) -> Vec<u64> {
    let is_chosen = |choice: u32, at: usize| choice >> at & 1 == 1;
    let sum = |choice| (0..4).filter(|at| is_chosen(choice, *at)).map(|at| source[at]).sum();
    (1..16).map(sum).collect()
}

#[test]
fn whoever_asks_all_that_can_be_asked_learns_of_no_small_group() {
    let kinds = ["a", "b", "c", "d"].map(|kind| document("wiki", kind, &[]));
    let tagged = [&[][..], &["a"], &["b"], &["a", "b"]].map(|tags| document("wiki", "k", tags));
    for group_min in [2, 3, 5] {
        let all = |documents: &[DocumentFacts; 4], by: &[By], source: [u64; 4]| {
            let documents: Vec<_> = documents.iter().zip(source).collect();
            by.iter().flat_map(|by| told(*by, group_min, &documents)).collect::<Vec<_>>()
        };
        // Nobody knows that there are no more kinds, nor that one has no more documents.
        let told = |source| all(&kinds, &[By::Kind, By::Source], source);
        let is_far = |source: [u64; 4]| source.iter().sum::<u64>() <= 2 * MOST;
        let three = |source: [u64; 4]| source[3] == 0 && is_far(source);
        nobody_knows(told, |source| source.to_vec(), three, group_min);
        let two = |source: [u64; 4]| source[2] == 0 && three(source);
        nobody_knows(told, any_of, two, group_min);
        nobody_knows(
            |source| all(&tagged, &[By::Tag, By::Source], source),
            |[none, a, b, both]| vec![a + both, b + both, none + b, none + a],
            |source| source.iter().sum::<u64>() <= MOST,
            group_min,
        );
    }
}

proptest! {
    #[test]
    fn what_is_told_is_true_and_all_is_told_where_no_group_is_small(
        counts in prop::collection::vec(0_u64..40, 1..12),
        group_min in 1_u64..12,
    ) {
        let names: Vec<String> = (0..counts.len()).map(|at| format!("k{at:02}")).collect();
        let kinds: Vec<_> = names.iter().map(|name| document("wiki", name, &[])).collect();
        let all: Vec<_> = kinds.iter().zip(counts.iter().copied()).collect();
        let told = told(By::Kind, group_min, &all);
        let line = |at: usize| format!("wiki/{} {}", names[at], counts[at]);
        let large: Vec<String> =
            (0..counts.len()).filter(|at| counts[*at] >= group_min).map(line).collect();
        prop_assert!(told.iter().all(|it| large.contains(it)), "{:?} of {:?}", told, large);
        let shown: u64 = (0..counts.len()).filter(|at| told.contains(&line(*at))).map(|at| counts[at]).sum();
        let rest = counts.iter().sum::<u64>() - shown;
        prop_assert!(told.is_empty() || rest == 0 || rest >= group_min);
        if counts.iter().all(|it| *it == 0 || *it >= group_min) {
            prop_assert_eq!(told, large);
        }
    }
}
