//! The corpus of a fleet, in a PostgreSQL of the test's own with pgvector: nobody finds more than
//! they may see, and what is told is in force in every gate.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]
#![allow(
    dead_code,
    reason = "what is shared with the tests of the embedded corpus is not all used"
)]

#[path = "search/cases.rs"]
mod cases;
#[path = "search/filters.rs"]
mod filters;
#[path = "search/organisation.rs"]
mod organisation;
#[path = "search/permission_cases.rs"]
mod permission_cases;
#[path = "search/same.rs"]
mod same;
#[path = "search/scene.rs"]
mod scene;
mod server;

use lockgate_core::retrieve::filter::Filter;
use lockgate_retrieval::corpus::{
    Access, ChunkNumber, Corpus, CorpusError, Listing, Permissions, SourceRun,
};
use lockgate_retrieval::embed::{Given, Hashed};
use lockgate_retrieval::relation::Layer;
use lockgate_retrieval::search::{Query, Within};
use lockgate_sim::wait::until;
use lockgate_types::document::{DocumentFacts, Reader};
use lockgate_types::label::Confidentiality;
use lockgate_types::{Code, Digest, Micros};
use organisation::Organisation;
use scene::{NOW, document, filter, ids, may, source, to, told};
use server::Server;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

/// How long something may take that is done in a moment.
const SOON: Duration = Duration::from_secs(30);

fn put(corpus: &Corpus, listing: Listing, documents: &[(&str, &str)]) {
    let mut draft = corpus.begin(&source("wiki", Access::Declared), listing, NOW).unwrap();
    for (id, text) in documents {
        let mut incoming = document(id, &["top"], text);
        incoming.permissions = None;
        draft.put(incoming).unwrap();
    }
    draft.publish("", NOW).unwrap();
}

fn found_in(
    corpus: &Corpus,
    user: &str,
    text: &str,
    sources: Option<&BTreeMap<String, Option<u64>>>,
) -> BTreeSet<String> {
    let filter = filter(user);
    let within = Within { tenant: "acme", sources, filter: Some(&filter) };
    let query = Query { text, vector: None, within, top: 50 };
    let answer = corpus.search(&query, &mut |facts| may(user, facts)).unwrap();
    assert_eq!(answer.disagreements, 0);
    answer.hits.into_iter().map(|hit| hit.provenance.document.id).collect()
}

fn found(corpus: &Corpus, user: &str, text: &str) -> BTreeSet<String> {
    found_in(corpus, user, text, None)
}

#[test]
fn everybody_finds_what_an_oracle_says_of_each_document_alone_and_no_more() {
    let server = Server::with_vectors();
    let mut pairs = 0;
    for seed in 1..=2 {
        let corpus = server.corpus(Arc::new(Hashed));
        assert!(corpus.has_vectors());
        let mut organisation = Organisation::with(corpus, seed, 40);
        for _ in 0..10 {
            organisation.change();
            pairs += organisation.check();
        }
    }
    assert!(pairs > 5_000, "{pairs}");
}

#[test]
fn a_filter_comes_to_the_documents_of_which_it_holds() {
    let server = Server::with_vectors();
    let (mut some, mut none) = (0, 0);
    for seed in 1..=2 {
        let corpus = server.corpus(Arc::new(Hashed));
        let (found, empty) = filters::check(&corpus, seed, 250);
        some += found;
        none += empty;
    }
    assert!(some > 120 && none > 50, "{some} {none}");
}

#[test]
fn answers_are_the_same_to_the_byte_with_and_without_what_is_hidden() {
    let server = Server::with_vectors();
    let [with, without] = [(), ()].map(|()| server.corpus(Arc::new(Hashed)));
    same::fill(&with, true);
    same::fill(&without, false);
    same::check(&with, &without);
}

#[test]
fn words_are_ranked_as_they_are_in_the_embedded_corpus() {
    let server = Server::without_vectors();
    let directory = tempfile::tempdir().unwrap();
    let fleet = server.corpus(Arc::new(Hashed));
    assert!(!fleet.has_vectors());
    let both =
        [fleet, scene::open_with(directory.path(), Arc::new(lockgate_retrieval::embed::NoVectors))];
    let text = "restore restore restore the database\nthe database is gone\nrestore it, and look\n\
        nothing of the kind\nrestore the database from the newest copy of the database, and look";
    let long = "restore ".repeat(400);
    let answers = both.map(|corpus| {
        let mut draft =
            corpus.begin(&source("wiki", Access::Declared), Listing::Whole, NOW).unwrap();
        draft.put(document("a", &["top"], text)).unwrap();
        draft.put(document("b", &["top"], &long)).unwrap();
        draft.permit(&[told("top", to("ann"))]).unwrap();
        draft.publish("", NOW).unwrap();
        let filter = filter("ann");
        let within = Within { tenant: "acme", sources: None, filter: Some(&filter) };
        ["restore", "database", "restore database", "the newest copy"].map(|text| {
            let query = Query { text, vector: None, within, top: 50 };
            let hits = corpus.search(&query, &mut |_| true).unwrap().hits;
            hits.into_iter().map(|hit| (hit.text, hit.score)).collect::<Vec<_>>()
        })
    });
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0][0].len(), 4);
}

#[test]
fn an_answer_under_way_holds_up_a_revocation_and_none_comes_after_it() {
    held_up(|gate| {
        let nothing = [told("top", Permissions::none())];
        gate.permit("wiki", Layer::Declared, &nothing).unwrap();
    });
}

#[test]
fn an_answer_under_way_holds_up_a_publication_and_none_comes_after_it() {
    held_up(|gate| put(&gate, Listing::Whole, &[]));
}

/// Has another gate take away what is being answered with.
fn held_up(take_away: impl FnOnce(Corpus) + Send) {
    let server = Server::with_vectors();
    let corpus = server.corpus(Arc::new(Hashed));
    put(&corpus, Listing::Whole, &[("a", "common words")]);
    corpus.permit("wiki", Layer::Declared, &[told("top", to("ann"))]).unwrap();
    let (asked, is_asked) = channel();
    let (go_on, may_go_on) = channel();
    let (gone, is_gone) = channel();
    std::thread::scope(|scope| {
        let (corpus, server) = (&corpus, &server);
        let answer = scope.spawn(move || {
            let filter = filter("ann");
            let within = Within { tenant: "acme", sources: None, filter: Some(&filter) };
            let query = Query { text: "words", vector: None, within, top: 5 };
            let mut decide = |facts: &DocumentFacts| {
                asked.send(()).unwrap();
                may_go_on.recv_timeout(SOON).unwrap();
                may("ann", facts)
            };
            corpus.search(&query, &mut decide).unwrap().hits.len()
        });
        is_asked.recv_timeout(SOON).unwrap();
        let other = server.again();
        scope.spawn(move || {
            take_away(other);
            gone.send(()).unwrap();
        });
        let waits = || server.waits_for_a_lock().then_some(());
        until("the change to wait for the answer", SOON, waits).unwrap();
        assert!(is_gone.try_recv().is_err(), "it has not waited");
        // Who asks now waits behind it.
        let later = scope.spawn(|| found(corpus, "ann", "words"));
        go_on.send(()).unwrap();
        assert_eq!(answer.join().unwrap(), 1);
        is_gone.recv_timeout(SOON).unwrap();
        assert_eq!(found(corpus, "ann", "words"), ids(&[]));
        later.join().unwrap();
    });
}

#[test]
fn no_index_of_vectors_is_searched_before_what_may_be_seen_is_found_out() {
    let server = Server::with_vectors();
    let corpus = server.corpus(Arc::new(Hashed));
    let texts: Vec<String> = (0..200).map(|n| format!("common words of number {n}")).collect();
    let ids: Vec<String> = (0..200).map(|n| format!("d{n}")).collect();
    let all: Vec<(&str, &str)> =
        ids.iter().zip(&texts).map(|(id, text)| (id.as_str(), text.as_str())).collect();
    put(&corpus, Listing::Whole, &all);
    corpus.permit("wiki", Layer::Declared, &[told("d7", to("ann"))]).unwrap();
    // An operator adds an index, and PostgreSQL takes indices wherever it can.
    server.ask(
        "ALTER TABLE lockgate_retrieval.chunk_vector ALTER numbers TYPE lockgate_retrieval.vector(256);
         CREATE INDEX tempting ON lockgate_retrieval.chunk_vector
             USING hnsw (numbers lockgate_retrieval.vector_ip_ops);
         ALTER ROLE lockgate SET enable_seqscan = off; ALTER ROLE lockgate SET enable_sort = off",
    );
    let corpus = server.again();
    let tempted = "EXPLAIN SELECT chunk FROM lockgate_retrieval.chunk_vector ORDER BY numbers
        OPERATOR(lockgate_retrieval.<#>) (SELECT numbers FROM lockgate_retrieval.chunk_vector LIMIT 1)
        LIMIT 5";
    assert!(server.ask(tempted).iter().any(|line| line.contains("tempting")));
    let filter = filter("ann");
    let within = Within { tenant: "acme", sources: None, filter: Some(&filter) };
    let query = Query { text: "common words", vector: None, within, top: 5 };
    let plans = corpus.plans(&query).unwrap();
    assert_eq!(plans.len(), 2);
    assert!(plans.iter().all(|plan| plan.contains("unnest")), "{plans:#?}");
    assert!(!plans.iter().any(|plan| plan.contains("tempting")), "{plans:#?}");
    assert_eq!(found(&corpus, "ann", "common words"), scene::ids(&["d7"]));
}

#[test]
fn snapshots_serve_are_pinned_and_are_gone_on_with_by_whichever_gate() {
    let server = Server::with_vectors();
    let corpus = server.corpus(Arc::new(Hashed));
    put(&corpus, Listing::Whole, &[("a", "first words"), ("b", "other words")]);
    corpus.permit("wiki", Layer::Declared, &[told("top", to("ann"))]).unwrap();
    corpus.pin("wiki", 1).unwrap();
    // Whatever a filter lets through: within the tenant, and the sources that a task names.
    let everything = Filter::everything();
    let seen = |tenant, sources: Option<&BTreeMap<String, Option<u64>>>| {
        let within = Within { tenant, sources, filter: Some(&everything) };
        let query = Query { text: "words", vector: None, within, top: 50 };
        corpus.search(&query, &mut |_| true).unwrap().hits.len()
    };
    let other = BTreeMap::from([("drawer".to_owned(), None)]);
    assert_eq!([seen("acme", None), seen("umbrella", None), seen("acme", Some(&other))], [2, 0, 0]);
    put(&corpus, Listing::Changes, &[("c", "more words")]);
    let pinned = |number| BTreeMap::from([("wiki".to_owned(), Some(number))]);
    assert_eq!(found(&corpus, "ann", "words"), ids(&["a", "b", "c"]));
    assert_eq!(found_in(&corpus, "ann", "words", Some(&pinned(1))), ids(&["a", "b"]));
    // Permissions are those that hold now, for all snapshots.
    let kept = Permissions::Inherits {
        shares: BTreeSet::new(),
        denials: BTreeSet::from([Reader::User("ann".to_owned())]),
    };
    corpus.permit("wiki", Layer::Declared, &[told("a", kept)]).unwrap();
    assert_eq!(found_in(&corpus, "ann", "words", Some(&pinned(1))), ids(&["b"]));
    corpus.unpin("wiki", 1).unwrap();
    assert_eq!(found_in(&corpus, "ann", "words", Some(&pinned(1))), ids(&[]));

    let of = source("wiki", Access::Declared);
    let mut draft = corpus.begin(&of, Listing::Whole, NOW).unwrap();
    draft.keep("b", NOW).unwrap();
    draft.put(document("d", &["top"], "newest words")).unwrap();
    draft.flush().unwrap();
    let other = server.again();
    let refused = other.begin(&of, Listing::Whole, NOW).err().unwrap();
    assert_eq!(refused.code(), Code::DraftInUse);
    drop(draft);
    let resumed = || other.begin(&of, Listing::Whole, NOW);
    // The server notices in its own time that a session is gone.
    let mut draft = until("the draft to be let go of", SOON, || resumed().ok()).unwrap();
    assert!(draft.is_resumed());
    assert!(draft.had("d").unwrap().unwrap().is_in_draft);
    assert!(!draft.had("c").unwrap().unwrap().is_in_draft);
    assert_eq!(draft.ids(Some("a"), 10).unwrap(), ["b", "c"]);
    assert_eq!(found(&corpus, "ann", "words"), ids(&["b", "c"]));
    let published = draft.publish("good", NOW).unwrap();
    assert_eq!((published.number, published.documents, published.is_serving), (3, 2, true));
    assert_eq!(found(&corpus, "ann", "words"), ids(&["b", "d"]));
}

#[test]
fn vectors_that_come_later_are_compared_and_what_postgresql_cannot_have_is_refused() {
    let server = Server::with_vectors();
    let corpus = server.corpus(Arc::new(Given { name: "remote-1".to_owned(), dimensions: 3 }));
    put(&corpus, Listing::Whole, &[("a", "one"), ("b", "two"), ("c", "a zero \0 within")]);
    corpus.permit("wiki", Layer::Declared, &[told("top", to("ann"))]).unwrap();
    let without = corpus.unembedded(10, Confidentiality::Restricted).unwrap();
    assert_eq!(without.len(), 3);
    assert_eq!(corpus.unembedded(10, Confidentiality::Public).unwrap(), []);
    let vector = |text: &str| match text {
        "one" => vec![1.0, 0.0, 0.0],
        "two" => vec![0.9, 0.1, 0.0],
        _ => vec![-1.0, 0.0, 0.0],
    };
    let vectors = without.iter().map(|(chunk, text)| (*chunk, vector(text))).collect();
    corpus.embed(vectors).unwrap();
    assert_eq!(corpus.unembedded(10, Confidentiality::Restricted).unwrap(), []);
    assert!(corpus.embed(vec![(ChunkNumber(1), vec![1.0])]).is_err());
    let filter = filter("ann");
    let within = Within { tenant: "acme", sources: None, filter: Some(&filter) };
    let ask = |vector: &[f32]| -> Vec<String> {
        let query = Query { text: "", vector: Some(vector), within, top: 5 };
        let hits = corpus.search(&query, &mut |_| true).unwrap().hits;
        hits.into_iter().map(|hit| hit.text).collect()
    };
    assert_eq!(ask(&[1.0, 0.0, 0.0]), ["one", "two"]);
    assert_eq!(ask(&[-1.0, 0.5, 0.0]), ["a zero \0 within"]);
    let refused = |error: CorpusError| assert_eq!(error.code(), Code::DocumentRefused);
    let place = [told("a\0", to("ann"))];
    refused(corpus.permit("wiki", Layer::Declared, &place).unwrap_err());
    let reader = [told("a", to("a\0nn"))];
    refused(corpus.permit("wiki", Layer::Declared, &reader).unwrap_err());
    let of = source("wiki", Access::Declared);
    let mut draft = corpus.begin(&of, Listing::Changes, NOW).unwrap();
    refused(draft.put(document("d", &["to\0p"], "words")).unwrap_err());
    assert_eq!(found(&corpus, "a\0nn", "one"), ids(&[]));
}

#[test]
fn a_fleets_corpus_does_what_one_in_a_file_does() {
    let server = Server::with_vectors();
    for case in cases::ALL.iter().chain(permission_cases::ALL) {
        drop(server.corpus(Arc::new(Hashed)));
        case(&|| server.again());
    }
    // What nothing has any more is gone, with whom it was shared to.
    let corpus = server.corpus(Arc::new(Hashed));
    put(&corpus, Listing::Whole, &[("a", "first words")]);
    put(&corpus, Listing::Whole, &[("b", "other words")]);
    corpus.permit("wiki", Layer::Declared, &[told("b", to("ann"))]).unwrap();
    corpus.retain("wiki", 0).unwrap();
    let left = "SELECT (SELECT count(*) FROM lockgate_retrieval.version) || ' '
        || (SELECT count(*) FROM lockgate_retrieval.audience)";
    assert_eq!(server.ask(left), ["1 1"]);
    corpus.drop_source("wiki").unwrap();
    assert_eq!(server.ask(left), ["0 0"]);
}

#[test]
fn one_gate_has_the_baton_and_what_it_leaves_another_goes_on_with() {
    let server = Server::with_vectors();
    let (one, other) = (server.corpus(Arc::new(Hashed)), server.again());
    let run = |corpus: &Corpus| -> SourceRun {
        let [run] = corpus.runs().unwrap().try_into().unwrap();
        run
    };
    assert_eq!(one.runs().unwrap(), []);
    let (declaration, later) = (Digest::of(b"declared"), Micros(NOW.0 + 5));
    let mut baton = one.take_baton("wiki").unwrap().unwrap();
    assert_eq!(baton.last(), None);
    baton.begin(declaration, NOW).unwrap();
    assert!(other.take_baton("wiki").unwrap().is_none(), "another has it");
    assert!(other.take_baton("drawer").unwrap().is_some(), "of another source");
    let seen = run(&other);
    assert!(seen.is_under_way && seen.ended.is_none() && !seen.is_known, "{seen:?}");
    baton.fail(later).unwrap();
    let seen = run(&other);
    assert_eq!((seen.is_under_way, seen.ended, seen.failures), (false, Some(later), 1));
    // One that is let go of without an end.
    let mut baton = other.take_baton("wiki").unwrap().unwrap();
    assert_eq!(baton.last().map(|last| last.failures), Some(1));
    baton.begin(declaration, later).unwrap();
    drop(baton);
    let left = || Some(run(&one)).filter(|run| !run.is_under_way);
    let left = until("the baton to be let go of", SOON, left).unwrap();
    assert_eq!((left.ended, left.begun), (None, later));
    let mut baton = one.take_baton("wiki").unwrap().unwrap();
    baton.begin(declaration, later).unwrap();
    baton.end(later).unwrap();
    let seen = run(&other);
    assert_eq!((seen.failures, seen.declaration), (0, Some(declaration)));
}

#[test]
fn what_was_listed_before_who_may_see_what_was_told_anew_is_not_written() {
    let server = Server::with_vectors();
    let (corpus, other) = (server.corpus(Arc::new(Hashed)), server.again());
    let of = source("wiki", Access::Synced);
    let put = |draft: &mut lockgate_retrieval::corpus::Draft| {
        let mut incoming = document("a", &[], "some words");
        incoming.permissions = Some(to("ann"));
        draft.put(incoming)
    };
    let baton = corpus.take_baton("wiki").unwrap().unwrap();
    let mut draft = corpus.begin_in(&baton, &of, Listing::Whole, NOW).unwrap();
    put(&mut draft).unwrap();
    draft.publish("", NOW).unwrap();
    drop(baton);
    assert_eq!(found(&corpus, "ann", "words"), ids(&["a"]));
    // Ann is in the list of this run; she is taken out of it before the run tells.
    let take = || other.take_baton("wiki").unwrap();
    let baton = until("the baton to be let go of", SOON, take).unwrap();
    let told_elsewhere = [told("a", Permissions::none())];
    corpus.permit("wiki", Layer::Synced, &told_elsewhere).unwrap();
    assert_eq!(found(&other, "ann", "words"), ids(&[]));
    let mut draft = other.begin_in(&baton, &of, Listing::Whole, NOW).unwrap();
    let refused = draft.permit(&[told("a", to("ann"))]).unwrap_err();
    assert_eq!(refused.code(), Code::ToldAnew);
    put(&mut draft).unwrap();
    assert_eq!(draft.publish("", NOW).unwrap_err().code(), Code::ToldAnew);
    assert_eq!(found(&other, "ann", "words"), ids(&[]));
    // Also if that was no change: what is in force may be what was listed last.
    drop(baton);
    let baton = until("the baton to be let go of", SOON, take).unwrap();
    corpus.permit("wiki", Layer::Synced, &told_elsewhere).unwrap();
    let mut draft = other.begin_in(&baton, &of, Listing::Whole, NOW).unwrap();
    assert_eq!(draft.permit(&[told("a", to("ann"))]).unwrap_err().code(), Code::ToldAnew);
}

#[test]
fn a_database_that_was_away_is_spoken_to_again() {
    let server = Server::with_vectors();
    let corpus = server.corpus(Arc::new(Hashed));
    put(&corpus, Listing::Whole, &[("a", "common words")]);
    corpus.permit("wiki", Layer::Declared, &[told("top", to("ann"))]).unwrap();
    assert_eq!(found(&corpus, "ann", "words"), ids(&["a"]));
    server.ask(
        "SELECT pg_terminate_backend(pid)::text FROM pg_stat_activity
        WHERE application_name = 'lockgate'",
    );
    assert_eq!(found(&corpus, "ann", "words"), ids(&["a"]));
}
