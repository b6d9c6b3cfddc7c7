//! A million pairs of somebody and a document: nobody finds what they may not see, in organisations
//! that change all the time. What everybody finds is compared with an oracle that decides each
//! document alone. `examples/leaks.rs` does the same for as long as is wanted.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "search/organisation.rs"]
mod organisation;

use organisation::Organisation;

/// Pairs of one of the four tests.
const PAIRS: u64 = 255_000;
/// Changes of one organisation, and documents that it begins with.
const CHANGES: usize = 60;
const DOCUMENTS: usize = 120;

/// Checks organisations from this seed on.
fn nobody_finds_more(first: u64) {
    let (mut pairs, mut seed) = (0, first);
    while pairs < PAIRS {
        let directory = tempfile::tempdir().unwrap();
        let mut organisation = Organisation::new(directory.path(), seed, DOCUMENTS);
        for _ in 0..CHANGES {
            organisation.change();
            pairs += organisation.check();
        }
        seed += 1;
    }
}

#[test]
fn nobody_finds_more_than_they_may_see_1() {
    nobody_finds_more(1000);
}

#[test]
fn nobody_finds_more_than_they_may_see_2() {
    nobody_finds_more(2000);
}

#[test]
fn nobody_finds_more_than_they_may_see_3() {
    nobody_finds_more(3000);
}

#[test]
fn nobody_finds_more_than_they_may_see_4() {
    nobody_finds_more(4000);
}
