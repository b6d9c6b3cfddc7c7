//! Texts are cut so that whatever has to be redacted can be: it is in one chunk, and known there.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

use lockgate_detect::pii;
use lockgate_detect::redactable::{Redactable, find};
use lockgate_retrieval::cut::{CHUNK_BYTES_MAX, Sizes, cut};

const HIDDEN: [&str; 6] = [
    "+49 30 1234 5678",
    "DE89 3704 0044 0532 0130 00",
    "4111 1111 1111 1111",
    "054-28-6917",
    "ada.lovelace@mail.example.org",
    "password: q7Rk2ZvT9mXc4LwB8sHn",
];

fn found(text: &str) -> usize {
    let mut sought = vec![Redactable::Secret];
    sought.extend(pii::Kind::ALL.map(Redactable::Pii));
    find(text, &sought).len()
}

fn chunks(text: &str, most_bytes: usize) -> Vec<&str> {
    let sizes = Sizes { wanted_bytes: 100, most_bytes };
    cut(text, &[], sizes).unwrap().into_iter().map(|(from, to)| &text[from..to]).collect()
}

#[test]
fn what_has_to_be_redacted_is_not_cut_in_two() {
    for hidden in HIDDEN {
        for before in 0..130 {
            let text = format!("{} {hidden} {}", "ab ".repeat(before), "cd ".repeat(90));
            let text = text.trim();
            assert_eq!(found(text), 1, "{hidden} {before}");
            let chunks = chunks(text, 150);
            assert!(chunks.len() > 1 && chunks.iter().all(|chunk| chunk.len() <= 150));
            let in_chunks = chunks.iter().map(|chunk| found(chunk)).sum::<usize>();
            assert_eq!(in_chunks, 1, "{hidden} {before}: {chunks:?}");
        }
    }
    // One after the other, in a line that has nothing else.
    let numbers: Vec<String> = (10..90).map(|at| format!("+49 30 1234 56{at}")).collect();
    let text = numbers.join(", ");
    let all = chunks(&text, 150).iter().map(|chunk| found(chunk)).sum::<usize>();
    assert_eq!((found(&text), all), (80, 80));
}

#[test]
fn what_is_larger_than_a_chunk_is_one_as_far_as_may_be() {
    for (lines, is_whole) in [(20, true), (400, false)] {
        let line = "MIIEowIBAAKCAQEA7Qy0jVd1cEPhYfIuT3ZlSx2b9nWk5oG8aRrXvJtLqMzNpBds\n";
        let (begin, end) = ("-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----");
        let key = format!("{begin}\n{}{end}", line.repeat(lines));
        let text = format!("The key:\n{key}\n{}", "and more ".repeat(60));
        let chunks = chunks(&text, 300);
        assert_eq!(chunks.iter().any(|chunk| chunk.contains(&key)), is_whole, "{lines}");
        assert!(chunks.iter().all(|chunk| chunk.len() <= CHUNK_BYTES_MAX));
    }
}
