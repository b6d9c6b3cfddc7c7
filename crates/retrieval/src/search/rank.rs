//! How good chunks are: by their words, by their vectors, and by both ranks together.
//!
//! All numbers come from the permitted chunks alone. What is equally good is in an order that
//! depends on names only.

use super::read;
use crate::corpus::CorpusError;
use crate::embedded::{self, Held};
use crate::index::Index;
use crate::index::key::Key;
use crate::index::permitted::Permitted;
use crate::index::vectors::exact;
use rusqlite::Connection;
use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BinaryHeap};

/// Chunks that are ranked by each of words and vectors.
pub const RANKED_MAX: usize = 200;
/// Chunks whose exact vectors are read, beyond those that are ranked.
pub const RESCORED_MAX: usize = 56;

/// How soon another occurrence of a word counts no more.
pub(crate) const SATURATION: f32 = 1.2;
/// How much long chunks are held back.
pub(crate) const LENGTH: f32 = 0.75;
/// How little the first ranks differ.
const RANK: u64 = 60;
/// What a rank is worth at most, in whole numbers.
const WORTH: u64 = 1_000_000_000;

/// What a rank, from 1 on, adds to what a chunk is worth.
pub(crate) const fn worth(rank: u64) -> u64 {
    WORTH / (RANK + rank)
}

/// What a question needs to rank chunks.
pub(super) struct Ranking<'a> {
    pub(super) held: &'a Held,
    pub(super) index: &'a Index,
    pub(super) db: &'a Connection,
    pub(super) words: &'a [String],
    pub(super) vector: Option<&'a [f32]>,
}

/// A chunk, and what its ranks are worth together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fused {
    pub(super) chunk: u32,
    pub(super) score: u64,
}

impl Ranking<'_> {
    /// The best by words or by vectors, `most` of each, the best of both first.
    pub(super) fn fused(
        &self,
        permitted: &Permitted,
        most: usize,
    ) -> Result<Vec<Fused>, CorpusError> {
        let by_words = self.by_words(permitted, most);
        let by_vectors = self.by_vectors(permitted, most)?;
        let mut scores: BTreeMap<u32, u64> = BTreeMap::new();
        for ranked in [by_words, by_vectors] {
            for (rank, chunk) in (1..).zip(ranked) {
                *scores.entry(chunk).or_default() += worth(rank);
            }
        }
        let mut fused: Vec<Fused> =
            scores.into_iter().map(|(chunk, score)| Fused { chunk, score }).collect();
        fused.sort_by_key(|fused| (Reverse(fused.score), self.name(fused.chunk)));
        Ok(fused)
    }

    /// Okapi BM25. How many chunks have a word, how many there are and how long they are is counted
    /// among the permitted.
    fn by_words(&self, permitted: &Permitted, most: usize) -> Vec<u32> {
        if permitted.chunks == 0 || self.words.is_empty() {
            return Vec::new();
        }
        let count = permitted.chunks as f32;
        let mean = (permitted.words as f32 / count).max(1.0);
        let mut scores = vec![0.0_f32; self.index.chunks.len()];
        let mut touched = Vec::new();
        for word in self.words {
            let found = self.index.postings.permitted(word, permitted);
            let having = found.len() as f32;
            let rare = ((count - having + 0.5) / (having + 0.5)).ln_1p();
            for (chunk, times) in found {
                let at = chunk as usize;
                let length = self.index.chunks.get(at).map_or(0, |chunk| chunk.words) as f32;
                let Some(score) = scores.get_mut(at) else { continue };
                if *score == 0.0 {
                    touched.push(chunk);
                }
                let times = times as f32;
                let held_back = SATURATION * (1.0 - LENGTH + LENGTH * length / mean);
                *score += rare * times * (SATURATION + 1.0) / (times + held_back);
            }
        }
        let mut best = Best::new(most);
        for chunk in touched {
            let score = scores.get(chunk as usize).copied().unwrap_or(0.0);
            best.offer(f64::from(score), chunk, |chunk| self.name(chunk));
        }
        best.ranked()
    }

    /// Cosines: about, of all that is permitted, and exactly of the best of these.
    fn by_vectors(&self, permitted: &Permitted, most: usize) -> Result<Vec<u32>, CorpusError> {
        let Some(query) = self.vector else { return Ok(Vec::new()) };
        let mut about = Best::new(most.saturating_add(RESCORED_MAX));
        self.index.vectors.scan(query, permitted, |chunk, near| {
            about.offer(f64::from(near), chunk, |chunk| self.name(chunk));
        });
        let mut best = Best::new(most);
        for chunk in about.ranked() {
            let Some(number) = self.index.chunk(chunk).map(|chunk| chunk.number) else { continue };
            let vector = read(self.db, |db| embedded::vector(db, self.held.embedder, number))?;
            let near = vector.map_or(0.0, |vector| exact(query, &vector));
            // What is at a right angle has nothing to do with it.
            if near > 0.0 {
                best.offer(near, chunk, |chunk| self.name(chunk));
            }
        }
        Ok(best.ranked())
    }

    /// What comes first of what is equally good.
    fn name(&self, chunk: u32) -> (Key, u32) {
        let document = self.index.chunk(chunk).and_then(|of| self.index.document(of.document));
        let nowhere = || (Key::of("", ""), chunk);
        document.map_or_else(nowhere, |of| (of.key, chunk.saturating_sub(of.first_chunk)))
    }
}

/// The best of what is offered.
struct Best {
    most: usize,
    kept: BinaryHeap<Reverse<Ranked>>,
}

/// A chunk with how good it is; the greater the better.
#[derive(Clone, Copy, Debug)]
struct Ranked {
    score: f64,
    name: (Key, u32),
    chunk: u32,
}

impl Best {
    fn new(most: usize) -> Self {
        Self { most, kept: BinaryHeap::with_capacity(most.saturating_add(1)) }
    }

    fn offer(&mut self, score: f64, chunk: u32, name: impl Fn(u32) -> (Key, u32)) {
        let is_full = self.kept.len() >= self.most;
        let is_worse = |Reverse(least): &Reverse<Ranked>| score < least.score;
        if is_full && self.kept.peek().is_none_or(is_worse) {
            return;
        }
        self.kept.push(Reverse(Ranked { score, name: name(chunk), chunk }));
        if self.kept.len() > self.most {
            self.kept.pop();
        }
    }

    fn ranked(self) -> Vec<u32> {
        // Sorted, the reversed come with the greatest first.
        self.kept.into_sorted_vec().into_iter().map(|Reverse(ranked)| ranked.chunk).collect()
    }
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_name = || other.name.cmp(&self.name);
        self.score.total_cmp(&other.score).then_with(by_name)
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Ranked {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_are_kept_and_what_is_equal_is_in_the_order_of_names() {
        let name = |chunk: u32| (Key::of("", ""), 100 - chunk);
        let mut best = Best::new(4);
        for (chunk, score) in [(1, 0.5), (2, 0.9), (3, 0.5), (4, 0.1), (5, 0.5), (6, 0.7)] {
            best.offer(score, chunk, name);
        }
        assert_eq!(best.ranked(), [2, 6, 5, 3]);
        let mut none = Best::new(0);
        none.offer(1.0, 1, name);
        assert_eq!(none.ranked(), [] as [u32; 0]);
    }
}
