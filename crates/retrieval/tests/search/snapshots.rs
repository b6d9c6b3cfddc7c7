//! Snapshots in a file: what any corpus does, and what only a file does.

use super::cases::{self, Open};
use super::scene::{ask, found, ids, open, to, told};
use lockgate_retrieval::relation::Layer;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// In a directory of its own.
pub(crate) fn in_a_file(case: fn(Open<'_>)) {
    let directory = tempfile::tempdir().unwrap();
    case(&|| open(directory.path()));
}

#[test]
fn a_draft_serves_when_it_is_published_and_the_last_good_one_until_then() {
    in_a_file(cases::a_draft_serves_when_it_is_published_and_the_last_good_one_until_then);
}

#[test]
fn a_draft_that_was_left_open_is_gone_on_with_after_a_restart() {
    in_a_file(cases::a_draft_that_was_left_open_is_gone_on_with_after_a_restart);
}

#[test]
fn what_an_interrupted_run_has_read_is_kept_as_it_has_read_it() {
    in_a_file(cases::what_an_interrupted_run_has_read_is_kept_as_it_has_read_it);
}

#[test]
fn what_is_put_twice_is_there_once_and_what_has_not_changed_is_kept() {
    in_a_file(cases::what_is_put_twice_is_there_once_and_what_has_not_changed_is_kept);
}

#[test]
fn a_pinned_snapshot_is_searched_by_who_asks_for_it_and_survives_the_others() {
    in_a_file(cases::a_pinned_snapshot_is_searched_by_who_asks_for_it_and_survives_the_others);
}

#[test]
fn going_back_is_a_new_snapshot_that_has_what_the_old_one_had() {
    in_a_file(cases::going_back_is_a_new_snapshot_that_has_what_the_old_one_had);
}

#[test]
fn what_is_beyond_a_bound_or_not_well_formed_is_refused_before_it_is_written() {
    in_a_file(cases::what_is_beyond_a_bound_or_not_well_formed_is_refused_before_it_is_written);
}

#[test]
fn a_source_that_was_dropped_is_out_of_search_and_leaves_nothing_to_one_of_its_name() {
    in_a_file(
        cases::a_source_that_was_dropped_is_out_of_search_and_leaves_nothing_to_one_of_its_name,
    );
}

#[test]
fn what_people_say_of_a_place_is_read_back_and_taken_back() {
    in_a_file(cases::what_people_say_of_a_place_is_read_back_and_taken_back);
}

#[test]
fn what_lies_beneath_a_document_is_listed() {
    in_a_file(cases::what_lies_beneath_a_document_is_listed);
}

#[test]
fn the_file_is_the_owners_alone() {
    let directory = tempfile::tempdir().unwrap();
    let within = directory.path().join("state");
    let corpus = open(&within);
    cases::publish(&corpus, &[("a", "words")]);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&within), 0o700);
    for entry in std::fs::read_dir(&within).unwrap() {
        assert_eq!(mode(&entry.unwrap().path()), 0o600);
    }
}

#[test]
fn what_nothing_serves_any_more_leaves_memory_and_what_serves_is_found_as_before() {
    let directory = tempfile::tempdir().unwrap();
    let corpus = open(directory.path());
    let numbered = |from: usize| -> String {
        (from..from + 9000).map(|n| format!("n{n}\n")).collect::<String>() + "kept words"
    };
    cases::publish(&corpus, &[("a", &numbered(0)), ("b", "other words"), ("c", "gone words")]);
    let first = corpus.bytes_in_memory().unwrap();
    cases::publish(&corpus, &[("a", &numbered(10_000)), ("b", "other words")]);
    let second = corpus.bytes_in_memory().unwrap();
    cases::publish(&corpus, &[("a", &numbered(20_000)), ("b", "other words")]);
    let third = corpus.bytes_in_memory().unwrap();
    assert!(second > first + first / 4 && third < second - first / 4, "{first} {second} {third}");
    let texts = |text: &str| -> Vec<String> {
        ask(&corpus, "ann", text).hits.into_iter().map(|hit| hit.text).collect()
    };
    assert_eq!(texts("n28999")[0], "n28999");
    assert_eq!(texts("kept")[0], "kept words");
    assert_eq!(texts("other")[0], "other words");
    assert!(!texts("gone n100 n10100").iter().any(|text| text.contains("gone")));
    corpus.permit("wiki", Layer::Synced, &[told("all", to("bob"))]).unwrap();
    assert_eq!(found(&corpus, "ann", "kept"), ids(&[]));
    assert_eq!(found(&corpus, "bob", "other words"), ids(&["a", "b"]));
}
