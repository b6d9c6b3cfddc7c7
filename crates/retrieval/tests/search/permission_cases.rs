//! Permissions: in force at once, down the folders, and never wider than what is known, whatever a
//! corpus is kept in.

use super::cases::Open;
use super::scene::{NOW, ask, begin, document, filter, found, ids, may, source, to, told};
use lockgate_core::retrieve::filter::{Filter, Trait};
use lockgate_retrieval::corpus::{Access, Corpus, Listing, Permissions};
use lockgate_retrieval::relation::Layer;
use lockgate_retrieval::search::{Count, Query, Within};
use lockgate_types::Code;
use lockgate_types::document::Reader;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// All of them.
#[allow(dead_code, reason = "where they are tests by themselves each is named")]
pub(crate) const ALL: &[fn(Open<'_>)] = &[
    shares_and_denials_of_folders_reach_what_is_beneath_as_soon_as_they_are_told,
    what_people_declare_adds_to_what_a_source_says_and_can_be_taken_back,
    an_old_text_is_not_shared_to_whom_the_new_one_will_be,
    a_share_that_is_taken_away_is_gone_from_every_question_asked_afterwards,
    fields_are_documents_of_their_own_and_joined_where_both_may_be_seen,
    what_policies_refuse_is_not_returned_whatever_the_filter_lets_through,
    nobody_finds_another_tenants_or_a_source_that_the_task_does_not_name,
    of_too_small_a_group_no_number_is_told,
    a_question_beyond_a_bound_is_refused,
];

fn kept_from(user: &str) -> Permissions {
    let denials = BTreeSet::from([Reader::User(user.to_owned())]);
    Permissions::Inherits { shares: BTreeSet::new(), denials }
}

fn alone(user: &str) -> Permissions {
    let shares = BTreeSet::from([Reader::User(user.to_owned())]);
    Permissions::Alone { shares, denials: BTreeSet::new() }
}

/// `top/deep/a`, `top/b` and `c`, all of whose own permissions say nothing more.
fn tree(corpus: &Corpus) {
    let mut draft = begin(corpus, Access::Synced, Listing::Whole);
    for (id, folders) in [("a", &["top", "top/deep"][..]), ("b", &["top"][..]), ("c", &[][..])] {
        let mut incoming = document(id, folders, "common words");
        incoming.permissions = Some(Permissions::none());
        draft.put(incoming).unwrap();
    }
    draft.publish("", NOW).unwrap();
}

fn permit(corpus: &Corpus, layer: Layer, place: &str, permissions: Permissions) {
    corpus.permit("wiki", layer, &[told(place, permissions)]).unwrap();
}

pub(crate) fn shares_and_denials_of_folders_reach_what_is_beneath_as_soon_as_they_are_told(
    open: Open<'_>,
) {
    let corpus = open();
    tree(&corpus);
    let finds = |user: &str| found(&corpus, user, "words");
    let before = corpus.revision().unwrap();
    permit(&corpus, Layer::Synced, "top", to("ann"));
    assert!(corpus.revision().unwrap() > before);
    // Of the inner folder nothing is known yet.
    assert_eq!(finds("ann"), ids(&["b"]));
    permit(&corpus, Layer::Synced, "top/deep", Permissions::none());
    assert_eq!(finds("ann"), ids(&["a", "b"]));
    permit(&corpus, Layer::Synced, "top/deep", kept_from("ann"));
    assert_eq!(finds("ann"), ids(&["b"]));
    permit(&corpus, Layer::Synced, "top/deep", alone("bob"));
    assert_eq!((finds("ann"), finds("bob")), (ids(&["b"]), ids(&["a"])));
    permit(&corpus, Layer::Synced, "top", Permissions::Unknown);
    assert_eq!((finds("ann"), finds("bob")), (ids(&[]), ids(&["a"])));
    permit(&corpus, Layer::Synced, "a", alone("eve"));
    assert_eq!((finds("bob"), finds("eve")), (ids(&[]), ids(&["a"])));
    permit(&corpus, Layer::Synced, "c", to("eve"));
    assert_eq!(finds("eve"), ids(&["a", "c"]));
    // After a restart it is the same.
    let held: Vec<_> = ["ann", "bob", "eve"].map(finds).into();
    drop(corpus);
    let corpus = open();
    assert_eq!(["ann", "bob", "eve"].map(|user| found(&corpus, user, "words")).to_vec(), held);
}

pub(crate) fn what_people_declare_adds_to_what_a_source_says_and_can_be_taken_back(open: Open<'_>) {
    let corpus = open();
    tree(&corpus);
    let finds = |user: &str| found(&corpus, user, "words");
    for place in ["top", "top/deep"] {
        permit(&corpus, Layer::Synced, place, to("ann"));
    }
    permit(&corpus, Layer::Declared, "top", to("bob"));
    assert_eq!((finds("ann"), finds("bob")), (ids(&["a", "b"]), ids(&["a", "b"])));
    // What stands alone at its source does not stand apart from what people say here.
    permit(&corpus, Layer::Synced, "a", alone("ann"));
    permit(&corpus, Layer::Declared, "top", kept_from("ann"));
    assert_eq!((finds("ann"), finds("bob")), (ids(&[]), ids(&[])));
    permit(&corpus, Layer::Declared, "top", Permissions::Unknown);
    assert_eq!(finds("ann"), ids(&["a", "b"]));
    // Nobody's share makes up for a chain that is not known.
    permit(&corpus, Layer::Declared, "a", to("bob"));
    assert_eq!(finds("bob"), ids(&["a"]));
    permit(&corpus, Layer::Synced, "a", Permissions::Unknown);
    assert_eq!(finds("bob"), ids(&[]));
}

pub(crate) fn an_old_text_is_not_shared_to_whom_the_new_one_will_be(open: Open<'_>) {
    let corpus = open();
    let put = |text: &str, shares: &[&str]| {
        let mut draft = begin(&corpus, Access::Synced, Listing::Changes);
        let mut incoming = document("a", &[], text);
        let shares = shares.iter().map(|&user| Reader::User(user.to_owned()));
        incoming.permissions = Some(Permissions::shared(shares));
        draft.put(incoming).unwrap();
        draft.flush().unwrap();
        draft
    };
    let finds = |user: &str| found(&corpus, user, "words");
    put("secret words", &["ann", "bob"]).publish("", NOW).unwrap();
    let draft = put("public words", &["ann", "eve"]);
    // What is taken away is taken away at once; what is given waits for the new text.
    assert_eq!(["ann", "bob", "eve"].map(finds), [ids(&["a"]), ids(&[]), ids(&[])]);
    drop(draft);
    let draft = begin(&corpus, Access::Synced, Listing::Changes);
    draft.publish("", NOW).unwrap();
    assert_eq!(["ann", "bob", "eve"].map(finds), [ids(&["a"]), ids(&[]), ids(&["a"])]);
    assert_eq!(ask(&corpus, "eve", "words").hits[0].text, "public words");
    // Told meanwhile by itself, that is what counts.
    let draft = put("more public words", &["ann", "bob"]);
    permit(&corpus, Layer::Synced, "a", to("eve"));
    let published = draft.publish("", NOW);
    if corpus.is_shared() {
        // Somebody else may have told it, who had listed the source later.
        assert_eq!(published.unwrap_err().code(), Code::ToldAnew);
        begin(&corpus, Access::Synced, Listing::Changes).publish("", NOW).unwrap();
    } else {
        published.unwrap();
    }
    assert_eq!(["ann", "bob", "eve"].map(finds), [ids(&[]), ids(&[]), ids(&["a"])]);
    // What a draft has said of it first is taken back before it is published.
    put("words", &["eve", "bob"]);
    put("words", &["eve"]).publish("", NOW).unwrap();
    assert_eq!(["ann", "bob", "eve"].map(finds), [ids(&[]), ids(&[]), ids(&["a"])]);
    put("quarantined words", &["ann"]).quarantine("", NOW).unwrap();
    begin(&corpus, Access::Synced, Listing::Changes).publish("", NOW).unwrap();
    assert_eq!(["ann", "bob", "eve"].map(finds), [ids(&[]), ids(&[]), ids(&[])]);
}

pub(crate) fn a_share_that_is_taken_away_is_gone_from_every_question_asked_afterwards(
    open: Open<'_>,
) {
    let corpus = open();
    tree(&corpus);
    permit(&corpus, Layer::Synced, "top/deep", Permissions::none());
    // 0: shared. 2: taken away. Odd: it changes, and either answer is right.
    let (turn, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    let seen = [AtomicU64::new(0), AtomicU64::new(0)];
    permit(&corpus, Layer::Synced, "top", to("ann"));
    let ask = || {
        while !is_over.load(Ordering::SeqCst) {
            let before = turn.load(Ordering::SeqCst);
            let finds = found(&corpus, "ann", "words");
            if turn.load(Ordering::SeqCst) != before || before % 2 == 1 {
                continue;
            }
            let is_shared = before % 4 == 0;
            assert_eq!(finds, if is_shared { ids(&["a", "b"]) } else { ids(&[]) });
            seen[usize::from(is_shared)].fetch_add(1, Ordering::SeqCst);
        }
    };
    std::thread::scope(|threads| {
        let asking = threads.spawn(ask);
        for round in 0..40 {
            let is_shared = round % 2 == 1;
            turn.fetch_add(1, Ordering::SeqCst);
            let permissions = if is_shared { to("ann") } else { Permissions::none() };
            permit(&corpus, Layer::Synced, "top", permissions);
            turn.fetch_add(1, Ordering::SeqCst);
            let seen = &seen[usize::from(is_shared)];
            let before = seen.load(Ordering::SeqCst);
            // Until the other has asked meanwhile.
            while seen.load(Ordering::SeqCst) == before && !asking.is_finished() {
                let expected = if is_shared { ids(&["a", "b"]) } else { ids(&[]) };
                assert_eq!(found(&corpus, "ann", "words"), expected);
            }
        }
        is_over.store(true, Ordering::SeqCst);
        asking.join().unwrap();
    });
}

pub(crate) fn fields_are_documents_of_their_own_and_joined_where_both_may_be_seen(open: Open<'_>) {
    let corpus = open();
    let mut draft = begin(&corpus, Access::Synced, Listing::Whole);
    let mut person = document("p", &[], "record of a person");
    person.permissions =
        Some(Permissions::shared(["ann", "bob"].map(|user| Reader::User(user.into()))));
    let mut salary = document("p#salary", &["p"], "salary of a person");
    salary.permissions = Some(alone("ann"));
    let mut remark = document("p#remark", &["p"], "remark on a person");
    remark.permissions = Some(Permissions::none());
    for incoming in [person, salary, remark] {
        draft.put(incoming).unwrap();
    }
    draft.publish("", NOW).unwrap();
    assert_eq!(found(&corpus, "ann", "person"), ids(&["p", "p#salary", "p#remark"]));
    assert_eq!(found(&corpus, "bob", "person"), ids(&["p", "p#remark"]));
    let fields = |user: &str| -> Vec<String> {
        let hits = ask(&corpus, user, "record").hits;
        let of = hits.into_iter().find(|hit| hit.provenance.document.id == "p").unwrap();
        of.fields.into_iter().map(|field| field.text).collect()
    };
    assert_eq!(fields("ann"), ["remark on a person", "salary of a person"]);
    assert_eq!(fields("bob"), ["remark on a person"]);
    let field_of = |user: &str| {
        let hits = ask(&corpus, user, "salary").hits;
        let of = hits.into_iter().find(|hit| hit.provenance.document.id == "p#salary");
        of.map(|hit| hit.field_of.map(|document| document.title))
    };
    assert_eq!(field_of("ann"), Some(Some("Title of p".to_owned())));
    permit(&corpus, Layer::Synced, "p", to("bob"));
    assert_eq!(field_of("ann"), Some(None));
    assert_eq!(field_of("bob"), None);
}

pub(crate) fn what_policies_refuse_is_not_returned_whatever_the_filter_lets_through(
    open: Open<'_>,
) {
    let corpus = open();
    tree(&corpus);
    let every = Filter::Every(Vec::new());
    let within = Within { tenant: "acme", sources: None, filter: Some(&every) };
    let query = Query { text: "words", vector: None, within, top: 50 };
    let answer = corpus.search(&query, &mut |facts| facts.id != "b").unwrap();
    let hits: BTreeSet<String> =
        answer.hits.into_iter().map(|hit| hit.provenance.document.id).collect();
    assert_eq!((hits, answer.disagreements), (ids(&["a", "c"]), 1));
    assert_eq!(corpus.disagreements(), 1);
    // With no filter it is no disagreement, and nobody knows whether that is all.
    let within = Within { filter: None, ..within };
    let answer =
        corpus.search(&Query { within, ..query.clone() }, &mut |facts| facts.id != "b").unwrap();
    assert_eq!((answer.hits.len(), answer.disagreements, answer.is_complete), (2, 0, false));
}

pub(crate) fn nobody_finds_another_tenants_or_a_source_that_the_task_does_not_name(open: Open<'_>) {
    let corpus = open();
    tree(&corpus);
    let mut other = source("others", Access::Declared);
    other.tenant = "umbrella".to_owned();
    let mut draft = corpus.begin(&other, Listing::Whole, NOW).unwrap();
    draft.put(document("x", &[], "common words")).unwrap();
    draft.publish("", NOW).unwrap();
    let every = Filter::Every(Vec::new());
    let count = |tenant, sources: Option<&_>| {
        let within = Within { tenant, sources, filter: Some(&every) };
        let query = Query { text: "words", vector: None, within, top: 50 };
        corpus.search(&query, &mut |_| true).unwrap().hits.len()
    };
    let named = |name: &str| [(name.to_owned(), None)].into();
    assert_eq!([count("acme", None), count("umbrella", None), count("", None)], [3, 1, 0]);
    assert_eq!(count("acme", Some(&named("wiki"))), 3);
    assert_eq!(count("acme", Some(&named("others"))), 0);
    assert_eq!(count("umbrella", Some(&named("wiki"))), 0);
}

pub(crate) fn of_too_small_a_group_no_number_is_told(open: Open<'_>) {
    let corpus = open();
    let mut draft = begin(&corpus, Access::Declared, Listing::Whole);
    for (at, tag) in ["ill", "ill", "ill", "well", "well", "hidden"].into_iter().enumerate() {
        let mut incoming = document(&format!("{at}"), &["all"], "words");
        incoming.facts.tags = [tag.to_owned()].into();
        incoming.permissions = Some(if tag == "hidden" { to("bob") } else { to("ann") });
        draft.put(incoming).unwrap();
    }
    draft.publish("", NOW).unwrap();
    let filter = filter("ann");
    let within = Within { tenant: "acme", sources: None, filter: Some(&filter) };
    let counts = corpus.count_by_tag(&within, 3, &mut |facts| may("ann", facts)).unwrap();
    let expected = [("ill".to_owned(), Count::Exactly(3)), ("well".to_owned(), Count::TooFew)];
    assert_eq!(counts.by_tag, expected.into());
}

pub(crate) fn a_question_beyond_a_bound_is_refused(open: Open<'_>) {
    let corpus = open();
    tree(&corpus);
    let code = |text: &str, top, vector: Option<&[f32]>, filter: &Filter| {
        let within = Within { tenant: "acme", sources: None, filter: Some(filter) };
        let query = Query { text, vector, within, top };
        corpus.search(&query, &mut |_| true).map(drop).map_err(|error| error.code())
    };
    let every = Filter::Every(Vec::new());
    assert_eq!(code("words", 50, None, &every), Ok(()));
    assert_eq!(code("words", 51, None, &every), Err(Code::QueryRefused));
    assert_eq!(code(&"w ".repeat(9000), 5, None, &every), Err(Code::QueryRefused));
    assert_eq!(code("words", 5, Some(&[1.0]), &every), Err(Code::EmbeddingFailed));
    let many = Filter::Any(vec![Filter::Is(Trait::HasOwner); 40_000]);
    assert_eq!(code("words", 5, None, &many), Err(Code::FilterTooLarge));
    let deep = (0..300).fold(every, |deep, _| Filter::Not(Box::new(deep)));
    assert_eq!(code("words", 5, None, &deep), Err(Code::FilterTooLarge));
}
