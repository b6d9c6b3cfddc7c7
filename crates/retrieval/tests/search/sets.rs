//! The set of documents that a filter comes to is exactly that of which it holds.

use super::filters::check;
use super::scene::open;

#[test]
fn a_filter_comes_to_the_documents_of_which_it_holds() {
    let (mut some, mut none) = (0, 0);
    for seed in 1..=6 {
        let directory = tempfile::tempdir().unwrap();
        let (found, empty) = check(&open(directory.path()), seed, 200);
        some += found;
        none += empty;
    }
    assert!(some > 300 && none > 100, "{some} {none}");
}
