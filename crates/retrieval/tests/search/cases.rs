//! Snapshots, and what is told of places: what any corpus does, whatever it is kept in.

use super::scene::{NOW, ask, begin, document, found, ids, source, to, told};
use lockgate_core::retrieve::filter::Filter;
use lockgate_retrieval::corpus::{
    Access, Corpus, CorpusError, Listing, Permissions, SnapshotState, Tally,
};
use lockgate_retrieval::ingest;
use lockgate_retrieval::relation::Layer;
use lockgate_retrieval::search::{Query, Within};
use lockgate_types::document::Reader;
use lockgate_types::{Code, Micros};
use std::collections::BTreeMap;

/// Opens the corpus: as it was left.
pub(crate) type Open<'a> = &'a dyn Fn() -> Corpus;

/// All of them.
#[allow(dead_code, reason = "where they are tests by themselves each is named")]
pub(crate) const ALL: &[fn(Open<'_>)] = &[
    a_draft_serves_when_it_is_published_and_the_last_good_one_until_then,
    a_draft_that_was_left_open_is_gone_on_with_after_a_restart,
    what_an_interrupted_run_has_read_is_kept_as_it_has_read_it,
    what_is_put_twice_is_there_once_and_what_has_not_changed_is_kept,
    a_pinned_snapshot_is_searched_by_who_asks_for_it_and_survives_the_others,
    going_back_is_a_new_snapshot_that_has_what_the_old_one_had,
    what_is_beyond_a_bound_or_not_well_formed_is_refused_before_it_is_written,
    a_source_that_was_dropped_is_out_of_search_and_leaves_nothing_to_one_of_its_name,
    what_people_say_of_a_place_is_read_back_and_taken_back,
    what_lies_beneath_a_document_is_listed,
];

const LATER: Micros = Micros(NOW.0 + 60_000_000);

/// Publishes these as all there is, shared to ann.
pub(crate) fn publish(corpus: &Corpus, documents: &[(&str, &str)]) -> u64 {
    let mut draft = begin(corpus, Access::Declared, Listing::Whole);
    for (id, text) in documents {
        draft.put(document(id, &["all"], text)).unwrap();
    }
    draft.permit(&[told("all", to("ann"))]).unwrap();
    draft.publish("good", NOW).unwrap().number
}

fn at(corpus: &Corpus, snapshot: u64, text: &str) -> Vec<String> {
    let sources = BTreeMap::from([("wiki".to_owned(), Some(snapshot))]);
    let every = Filter::Every(Vec::new());
    let within = Within { tenant: "acme", sources: Some(&sources), filter: Some(&every) };
    let query = Query { text, vector: None, within, top: 50 };
    let hits = corpus.search(&query, &mut |_| true).unwrap().hits;
    hits.into_iter().map(|hit| hit.text).collect()
}

pub(crate) fn a_draft_serves_when_it_is_published_and_the_last_good_one_until_then(open: Open<'_>) {
    let corpus = open();
    publish(&corpus, &[("a", "restore the database"), ("b", "restore the mail")]);
    let mut draft = begin(&corpus, Access::Declared, Listing::Whole);
    draft.put(document("a", &["all"], "restore the archive")).unwrap();
    draft.flush().unwrap();
    assert_eq!(ask(&corpus, "ann", "archive restore").hits.len(), 2);
    assert!(!ask(&corpus, "ann", "restore").hits.iter().any(|hit| hit.text.contains("archive")));
    let quarantined = draft.quarantine("too few documents", LATER).unwrap();
    assert_eq!(quarantined.state, SnapshotState::Quarantined);
    assert_eq!((quarantined.documents, quarantined.chunks), (1, 1));
    assert_eq!(found(&corpus, "ann", "restore"), ids(&["a", "b"]));
    let text = corpus.read("wiki", Some(quarantined.number), "a").unwrap().unwrap().text;
    assert_eq!(text, "restore the archive");
    assert_eq!(at(&corpus, quarantined.number, "archive"), [] as [String; 0]);
    let refused = corpus.roll_back("wiki", quarantined.number, "", LATER).unwrap_err();
    assert_eq!(refused.code(), Code::NotServable);

    let mut draft = begin(&corpus, Access::Declared, Listing::Whole);
    draft.put(document("a", &["all"], "restore the archive")).unwrap();
    let tally = Tally { changed: 1, removed: 1, text_bytes: 19, ..Tally::default() };
    assert_eq!(draft.tally().unwrap(), tally);
    let published = draft.publish("", LATER).unwrap();
    assert_eq!((published.number, published.is_serving), (3, true));
    assert_eq!(found(&corpus, "ann", "restore"), ids(&["a"]));
    assert_eq!(ask(&corpus, "ann", "restore").hits[0].provenance.snapshot, 3);
    let of = corpus.compare("wiki", 1, 3).unwrap();
    assert_eq!(
        (of.added.len(), &of.changed[..], &of.removed[..]),
        (0, &["a".into()][..], &["b".into()][..])
    );
}

pub(crate) fn a_draft_that_was_left_open_is_gone_on_with_after_a_restart(open: Open<'_>) {
    let corpus = open();
    publish(&corpus, &[("a", "one thing"), ("b", "two things")]);
    let mut draft = begin(&corpus, Access::Declared, Listing::Whole);
    let number = draft.snapshot();
    draft.put(document("c", &["all"], "three things")).unwrap();
    draft.flush().unwrap();
    let in_use = corpus.begin(&source("wiki", Access::Declared), Listing::Whole, NOW);
    assert!(matches!(in_use, Err(CorpusError::DraftInUse { .. })));
    let in_use = corpus.roll_back("wiki", 1, "", NOW);
    assert!(matches!(in_use, Err(CorpusError::DraftInUse { .. })));
    drop(draft);
    drop(corpus);

    let corpus = open();
    assert_eq!(found(&corpus, "ann", "thing"), ids(&["a", "b"]));
    let mut draft = begin(&corpus, Access::Declared, Listing::Whole);
    assert_eq!((draft.snapshot(), draft.is_resumed()), (number, true));
    assert!(draft.had("c").unwrap().unwrap().is_in_draft);
    assert!(!draft.had("a").unwrap().unwrap().is_in_draft);
    assert!(draft.had("z").unwrap().is_none());
    assert_eq!(draft.ids(None, 10).unwrap(), ["a", "b"]);
    assert_eq!(draft.ids(Some("a"), 10).unwrap(), ["b"]);
    draft.keep("a", LATER).unwrap();
    assert!(matches!(draft.keep("z", LATER), Err(CorpusError::NotThere { .. })));
    draft.publish("", LATER).unwrap();
    assert_eq!(found(&corpus, "ann", "thing"), ids(&["a", "c"]));
    let confirmed = |id: &str| corpus.read("wiki", None, id).unwrap().unwrap().facts.confirmed;
    assert_eq!((confirmed("a"), confirmed("c")), (LATER, NOW));
}

pub(crate) fn what_an_interrupted_run_has_read_is_kept_as_it_has_read_it(open: Open<'_>) {
    let corpus = open();
    publish(&corpus, &[("a", "one thing")]);
    let mut draft = begin(&corpus, Access::Declared, Listing::Whole);
    draft.put(document("a", &["all"], "one other thing")).unwrap();
    draft.put(document("b", &["all"], "a new thing")).unwrap();
    draft.flush().unwrap();
    drop(draft);
    let mut draft = begin(&corpus, Access::Declared, Listing::Whole);
    draft.keep("a", LATER).unwrap();
    draft.keep("b", LATER).unwrap();
    draft.put(document("c", &["all"], "the last thing")).unwrap();
    draft.keep("c", LATER).unwrap();
    draft.publish("", LATER).unwrap();
    assert_eq!(found(&corpus, "ann", "thing"), ids(&["a", "b", "c"]));
    for (id, text) in [("a", "one other thing"), ("b", "a new thing"), ("c", "the last thing")] {
        let document = corpus.read("wiki", None, id).unwrap().unwrap();
        assert_eq!((document.text.as_str(), document.facts.confirmed), (text, LATER));
    }
}

pub(crate) fn what_is_put_twice_is_there_once_and_what_has_not_changed_is_kept(open: Open<'_>) {
    let corpus = open();
    publish(&corpus, &[("a", "one thing"), ("b", "two things")]);
    let mut draft = begin(&corpus, Access::Declared, Listing::Changes);
    draft.put(document("a", &["all"], "one other thing")).unwrap();
    draft.flush().unwrap();
    draft.put(document("a", &["all"], "one thing")).unwrap();
    let tally = Tally { kept: 2, ..Tally::default() };
    assert_eq!(draft.tally().unwrap(), tally);
    draft.publish("", LATER).unwrap();
    let of = corpus.compare("wiki", 1, 2).unwrap();
    assert!(of.is_whole && of.added.is_empty() && of.changed.is_empty() && of.removed.is_empty());
    let mut draft = begin(&corpus, Access::Declared, Listing::Changes);
    draft.remove("a").unwrap();
    draft.publish("", LATER).unwrap();
    assert_eq!(found(&corpus, "ann", "thing"), ids(&["b"]));
}

pub(crate) fn a_pinned_snapshot_is_searched_by_who_asks_for_it_and_survives_the_others(
    open: Open<'_>,
) {
    let corpus = open();
    for text in ["first words", "second words", "third words", "fourth words"] {
        publish(&corpus, &[("a", text)]);
    }
    assert_eq!(at(&corpus, 2, "words"), [] as [String; 0]);
    corpus.pin("wiki", 2).unwrap();
    corpus.name_snapshot("wiki", 2, Some("before the audit")).unwrap();
    assert!(corpus.name_snapshot("wiki", 3, Some("before the audit")).is_err());
    assert_eq!(at(&corpus, 2, "words"), ["second words"]);
    assert_eq!(at(&corpus, 4, "words"), ["fourth words"]);
    assert_eq!(corpus.retain("wiki", 0).unwrap(), 2);
    let left: Vec<u64> = corpus.snapshots("wiki").unwrap().iter().map(|of| of.number).collect();
    assert_eq!(left, [4, 2]);
    drop(corpus);
    let corpus = open();
    assert_eq!(at(&corpus, 2, "words"), ["second words"]);
    assert_eq!(corpus.snapshots("wiki").unwrap()[1].name.as_deref(), Some("before the audit"));
    corpus.unpin("wiki", 2).unwrap();
    assert_eq!(at(&corpus, 2, "words"), [] as [String; 0]);
    assert_eq!(corpus.retain("wiki", 0).unwrap(), 1);
    assert_eq!(at(&corpus, 4, "words"), ["fourth words"]);
    assert!(corpus.read("wiki", Some(2), "a").unwrap().is_none());
}

pub(crate) fn going_back_is_a_new_snapshot_that_has_what_the_old_one_had(open: Open<'_>) {
    let corpus = open();
    publish(&corpus, &[("a", "old words"), ("b", "more old words")]);
    publish(&corpus, &[("a", "poisoned words"), ("c", "more poisoned words")]);
    // Begun before, and let go of: it was made from what will not serve any more.
    drop(begin(&corpus, Access::Declared, Listing::Changes));
    let back = corpus.roll_back("wiki", 1, "poisoned", LATER).unwrap();
    assert_eq!((back.number, back.is_serving, back.documents), (4, true, 2));
    assert_eq!(found(&corpus, "ann", "words"), ids(&["a", "b"]));
    let texts = ask(&corpus, "ann", "words").hits.into_iter().map(|hit| hit.text);
    assert!(!texts.into_iter().any(|text| text.contains("poisoned")));
    let of = corpus.compare("wiki", 1, 4).unwrap();
    assert!(of.added.is_empty() && of.changed.is_empty() && of.removed.is_empty());
    publish(&corpus, &[("a", "new words")]);
    drop(corpus);
    assert_eq!(found(&open(), "ann", "words"), ids(&["a"]));
}

pub(crate) fn what_is_beyond_a_bound_or_not_well_formed_is_refused_before_it_is_written(
    open: Open<'_>,
) {
    let corpus = open();
    let mut draft = begin(&corpus, Access::Declared, Listing::Whole);
    let good = || document("a", &["all"], "some wörds");
    let mut refuse = |change: &dyn Fn(&mut lockgate_retrieval::corpus::Incoming)| {
        let mut incoming = good();
        change(&mut incoming);
        assert_eq!(draft.put(incoming).unwrap_err().code(), Code::DocumentRefused);
    };
    refuse(&|of| of.pieces = vec![(0, 7)]);
    refuse(&|of| of.pieces = vec![(4, 4)]);
    refuse(&|of| of.pieces = vec![(0, 900)]);
    refuse(&|of| of.pieces = vec![(5, 6), (0, 4)]);
    refuse(&|of| of.facts.id = "x".repeat(3000));
    refuse(&|of| of.facts.folders = vec!["f".to_owned(), "f".to_owned()]);
    refuse(&|of| of.facts.folders = vec!["a".to_owned()]);
    refuse(&|of| of.facts.folders = (0..100).map(|n| n.to_string()).collect());
    refuse(&|of| of.title = "t".repeat(3000));
    refuse(&|of| of.facts.tags = (0..65).map(|n| n.to_string()).collect());
    refuse(&|of| of.text = "x".repeat((16 << 20) + 1));
    refuse(&|of| {
        let shares = (0..5000).map(|n| Reader::User(n.to_string()));
        of.permissions = Some(Permissions::shared(shares));
    });
    draft.put(good()).unwrap();
    assert_eq!(draft.tally().unwrap().added, 1);
    let report = "x".repeat((1 << 20) + 1);
    assert_eq!(draft.publish(&report, NOW).unwrap_err().code(), Code::DocumentRefused);
    assert!(begin(&corpus, Access::Declared, Listing::Whole).is_resumed());
    let other = corpus.begin(&source("wiki", Access::Synced), Listing::Whole, NOW);
    assert!(matches!(other, Err(CorpusError::SourceDiffers { .. })));
}

pub(crate) fn a_source_that_was_dropped_is_out_of_search_and_leaves_nothing_to_one_of_its_name(
    open: Open<'_>,
) {
    let corpus = open();
    publish(&corpus, &[("a", "some words")]);
    assert_eq!(found(&corpus, "ann", "words"), ids(&["a"]));
    corpus.drop_source("wiki").unwrap();
    assert_eq!(found(&corpus, "ann", "words"), ids(&[]));
    assert!(corpus.snapshots("wiki").is_err());
    // The same folder, of a source that has to say to whom it is shared.
    let mut draft = begin(&corpus, Access::Synced, Listing::Whole);
    let mut incoming = document("a", &["all"], "other words");
    incoming.permissions = Some(Permissions::none());
    draft.put(incoming).unwrap();
    assert_eq!(draft.publish("", NOW).unwrap().number, 1);
    assert_eq!(found(&corpus, "ann", "words"), ids(&[]));
    corpus.permit("wiki", Layer::Synced, &[told("all", to("ann"))]).unwrap();
    assert_eq!(ask(&corpus, "ann", "words").hits[0].text, "other words");
    drop(corpus);
    assert_eq!(ask(&open(), "ann", "words").hits[0].text, "other words");
}

pub(crate) fn what_people_say_of_a_place_is_read_back_and_taken_back(open: Open<'_>) {
    let corpus = open();
    publish(&corpus, &[("a", "some words"), ("b", "other words")]);
    corpus.permit("wiki", Layer::Synced, &[told("all/deep", to("bob"))]).unwrap();
    assert_eq!(corpus.folders_told("wiki").unwrap(), ["all"]);
    for (place, is_there) in [("a", true), ("all", true), ("c", false), ("a\0", false)] {
        assert_eq!(corpus.has_place("wiki", place).unwrap(), is_there, "{place}");
    }
    let say = |place: &str, user: &str| {
        let mut change = |before: Permissions| match before {
            Permissions::Inherits { mut shares, denials } => {
                shares.extend([Reader::User(user.to_owned())]);
                Permissions::Inherits { shares, denials }
            }
            _ => to(user),
        };
        corpus.say("wiki", place, &mut change)
    };
    assert_eq!(say("c", "bob").unwrap(), None);
    say("a", "bob").unwrap();
    say("a", "eve").unwrap();
    assert_eq!(found(&corpus, "bob", "words"), ids(&["a"]));
    assert_eq!(found(&corpus, "eve", "words"), ids(&["a"]));
    let both = ["bob", "eve"].map(|user| Reader::User(user.to_owned()));
    let both = Permissions::shared(both);
    assert_eq!(corpus.told("wiki", Layer::Declared, "a").unwrap(), both);
    assert_eq!(corpus.all_told("wiki", Layer::Declared).unwrap(), [told("a", both)]);
    // What is told as it was is no change.
    let before = corpus.revision().unwrap();
    corpus.permit("wiki", Layer::Synced, &[told("all", to("ann"))]).unwrap();
    assert_eq!(corpus.revision().unwrap(), before);
    corpus.say("wiki", "a", &mut |_| Permissions::Unknown).unwrap();
    assert_eq!(corpus.all_told("wiki", Layer::Declared).unwrap(), []);
    assert_eq!(found(&corpus, "bob", "words"), ids(&[]));
    assert!(matches!(
        corpus.told("none", Layer::Declared, "a"),
        Err(CorpusError::NoSuchSource { .. })
    ));
}

pub(crate) fn what_lies_beneath_a_document_is_listed(open: Open<'_>) {
    let corpus = open();
    let all = ["p", "p#a", "p#a#b", "p#c", "pa", "q#a"];
    publish(&corpus, &all.map(|id| (id, "some words")));
    let mut draft = begin(&corpus, Access::Declared, Listing::Whole);
    let mut beneath = |id: &str| ingest::Draft::beneath(&mut draft, id).unwrap();
    assert_eq!(beneath("p"), ["p#a", "p#a#b", "p#c"]);
    assert_eq!([beneath("p#c").len(), beneath("q").len(), beneath("z").len()], [0, 1, 0]);
}
