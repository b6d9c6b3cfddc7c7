//! A text as the numbers a linear model adds up: which words, which stems, which neighbours.
//!
//! Training and scoring use the same function, so they cannot disagree.

use crate::words::{Word, Words};

/// Bits of a feature's number.
pub const BITS: u32 = 16;
/// Features of one word.
pub const PER_WORD: usize = 4;
/// Words of a block: windows begin and end with blocks.
pub const BLOCK_WORDS: usize = 12;
/// Blocks of a window.
pub const WINDOW_BLOCKS: usize = 4;

/// What a word's features depend on before it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Before {
    one: u32,
    two: u32,
}

const fn mix(a: u32, b: u32, kind: u32) -> u32 {
    let hash = (a ^ b.rotate_left(11)).wrapping_add(kind.wrapping_mul(0x85eb_ca6b));
    (hash ^ (hash >> 15)).wrapping_mul(0x9e37_79b1) >> (32 - BITS)
}

impl Before {
    /// The features of the next word.
    pub(crate) fn next(&mut self, word: &Word) -> [u32; PER_WORD] {
        let [four, _, six] = word.stems;
        let features = [
            mix(word.hash, 0, 1),
            mix(four, 0, 2),
            mix(six, self.one, 3),
            mix(word.hash, self.one.wrapping_mul(31).wrapping_add(self.two), 4),
        ];
        *self = Self { one: six, two: self.one };
        features
    }
}

/// The features of each block of a text, in order: what training sees.
pub fn blocks(text: &str) -> Vec<Vec<u32>> {
    let mut blocks: Vec<Vec<u32>> = Vec::new();
    let mut before = Before::default();
    for (at, word) in Words::of(text).enumerate() {
        if at.is_multiple_of(BLOCK_WORDS) {
            blocks.push(Vec::with_capacity(BLOCK_WORDS * PER_WORD));
        }
        if let Some(block) = blocks.last_mut() {
            block.extend(before.next(&word));
        }
    }
    blocks
}
