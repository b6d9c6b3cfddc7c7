//! Chunks of one document that say the same: an answer has the best of them.

use super::words::{Stemming, words};
use crate::corpus::Texts;
use std::collections::{BTreeMap, BTreeSet};

/// Of a hundred words of either, how many both have that say the same.
const ALIKE_PERCENT: usize = 90;

/// What an answer has of each document.
#[derive(Default)]
pub(crate) struct Shown(BTreeMap<i64, Vec<Chunk>>);

struct Chunk {
    span: (u64, u64),
    words: BTreeSet<String>,
}

impl Shown {
    /// Takes a chunk in, unless the answer has one of its document that says the same.
    pub(crate) fn adds(&mut self, document: i64, text: &Texts) -> bool {
        let words = words(&text.text, Stemming::Plain).collect();
        let new = Chunk { span: text.span, words };
        let shown = self.0.entry(document).or_default();
        if shown.iter().any(|other| other.says_the_same(&new)) {
            return false;
        }
        shown.push(new);
        true
    }
}

impl Chunk {
    fn says_the_same(&self, other: &Self) -> bool {
        let length = |span: (u64, u64)| span.1.saturating_sub(span.0);
        let both = (self.span.0.max(other.span.0), self.span.1.min(other.span.1));
        let shorter = length(self.span).min(length(other.span));
        if length(both).saturating_mul(2) > shorter {
            return true;
        }
        let shared = self.words.intersection(&other.words).count();
        let all = self.words.union(&other.words).count();
        shared.saturating_mul(100) >= all.saturating_mul(ALIKE_PERCENT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockgate_types::Digest;

    #[test]
    fn what_overlaps_or_has_the_same_words_is_shown_once_of_a_document() {
        let chunk = |from: u64, text: &str| Texts {
            span: (from, from + text.len() as u64),
            hash: Digest::of(text.as_bytes()),
            text: text.to_owned(),
        };
        let mut shown = Shown::default();
        assert!(shown.adds(1, &chunk(0, "restore the database from the newest copy")));
        assert!(!shown.adds(1, &chunk(10, "the database from the newest copy, and look")));
        assert!(!shown.adds(1, &chunk(900, "Restore the database from the NEWEST copy!")));
        assert!(shown.adds(1, &chunk(900, "who to call when the database is gone")));
        assert!(shown.adds(2, &chunk(0, "restore the database from the newest copy")));
    }
}
