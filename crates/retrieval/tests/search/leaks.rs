//! Nobody finds what they may not see, in organisations that change all the time. The same with a
//! million pairs is `crates/retrieval/tests/leaks.rs`.

use super::organisation::Organisation;

#[test]
fn everybody_finds_what_an_oracle_says_of_each_document_alone_and_no_more() {
    let mut pairs = 0;
    for seed in 1..=4 {
        let directory = tempfile::tempdir().unwrap();
        let mut organisation = Organisation::new(directory.path(), seed, 40);
        for _ in 0..12 {
            organisation.change();
            pairs += organisation.check();
        }
    }
    assert!(pairs > 15_000, "{pairs}");
}
