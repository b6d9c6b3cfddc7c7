//! What nobody may see changes nothing that they see: not an order, not a score, not a number.

use super::same::{check, fill};
use super::scene::open;

#[test]
fn answers_are_the_same_to_the_byte_with_and_without_what_is_hidden() {
    let directories = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [with, without] =
        [&directories[0], &directories[1]].map(|directory| open(directory.path()));
    fill(&with, true);
    fill(&without, false);
    check(&with, &without);
}
