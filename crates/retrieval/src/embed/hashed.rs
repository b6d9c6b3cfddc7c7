//! Vectors without a model: words and their parts, hashed to places of a vector.
//!
//! Texts that share words, or words that share letters, come to lie near one another. That finds
//! spellings and endings, not meanings.

use super::{EmbedError, Embedder, unit};
use crate::search::words::{Stemming, words};
use std::collections::BTreeMap;

/// Numbers of a vector.
const DIMENSIONS: usize = 256;
/// What a part of a word counts, beside the word.
const PART: f32 = 0.3;
/// Characters of a part.
const PART_CHARS: usize = 3;

/// Hashed features.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hashed;

impl Embedder for Hashed {
    fn name(&self) -> &'static str {
        "hashed-256-v1"
    }

    fn dimensions(&self) -> usize {
        DIMENSIONS
    }

    fn embed(&self, text: &str) -> Result<Option<Vec<f32>>, EmbedError> {
        let mut counts: BTreeMap<String, u32> = BTreeMap::new();
        for word in words(text, Stemming::Plain) {
            let count = counts.entry(word).or_default();
            *count = count.saturating_add(1);
        }
        let mut vector = vec![0.0; DIMENSIONS];
        for (word, count) in &counts {
            let weight = 1.0 + (*count as f32).ln();
            add(&mut vector, word.as_bytes(), weight);
            let letters: Vec<char> = format!("^{word}$").chars().collect();
            for part in letters.windows(PART_CHARS) {
                let part: String = part.iter().collect();
                add(&mut vector, part.as_bytes(), weight * PART);
            }
        }
        Ok(unit(vector))
    }
}

fn add(vector: &mut [f32], feature: &[u8], weight: f32) {
    // FNV-1a: the same in every build, which a hasher of the standard library does not promise.
    let hash = feature.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let mixed = (hash ^ (hash >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let sign = if mixed >> 63 == 0 { 1.0 } else { -1.0 };
    let place = usize::try_from((mixed >> 20) % DIMENSIONS as u64).unwrap_or(0);
    if let Some(slot) = vector.get_mut(place) {
        *slot += sign * weight;
    }
}
