//! Documents that are the same, and documents that are nearly the same: by a fingerprint of 64 bits
//! in which texts that share most of their words in a row differ in few (SimHash).

use super::look::Look;
use std::collections::BTreeMap;

/// Bits in which two fingerprints may differ.
const BITS_MAX: u32 = 3;
/// Words without which a text has no fingerprint: short ones are alike by chance.
const WORDS_MIN: usize = 24;
/// Words in a row that are one feature.
const SHINGLE: usize = 3;
/// Documents that one is compared with, of those that share a quarter of its fingerprint.
const COMPARED_MAX: usize = 64;
/// Parts of a fingerprint. With three bits of difference one of four is the same.
const PARTS: usize = 4;

/// What another document is to one.
pub(super) enum Twin<'a> {
    Same(&'a str),
    Alike(&'a str),
}

/// The documents that were met.
#[derive(Debug, Default)]
pub struct Near {
    ids: Vec<String>,
    prints: Vec<u64>,
    same: BTreeMap<String, usize>,
    parts: [BTreeMap<u16, Vec<usize>>; PARTS],
}

impl Near {
    /// Meets a document: the first that is like it.
    pub(super) fn meet(&mut self, id: &str, look: &Look) -> Option<Twin<'_>> {
        if look.bytes == 0 {
            return None;
        }
        if let Some(at) = self.same.get(&look.digest).copied() {
            return self.ids.get(at).map(|id| Twin::Same(id));
        }
        let number = self.ids.len();
        self.ids.push(id.to_owned());
        self.prints.push(look.print.unwrap_or(0));
        self.same.insert(look.digest.clone(), number);
        let print = look.print?;
        let mut alike = None;
        for (part, known) in parts(print).into_iter().zip(&mut self.parts) {
            let others = known.entry(part).or_default();
            let is_alike = |at: &&usize| {
                let other = self.prints.get(**at).copied().unwrap_or(!print);
                (other ^ print).count_ones() <= BITS_MAX
            };
            alike = alike.or_else(|| others.iter().find(is_alike).copied());
            if others.len() < COMPARED_MAX {
                others.push(number);
            }
        }
        alike.and_then(|at| self.ids.get(at)).map(|id| Twin::Alike(id))
    }
}

fn parts(print: u64) -> [u16; PARTS] {
    let [a, b, c, d, e, f, g, h] = print.to_be_bytes();
    [[a, b], [c, d], [e, f], [g, h]].map(u16::from_be_bytes)
}

/// The fingerprint of a text. `None`: it is too short for one.
pub(super) fn print(text: &str) -> Option<u64> {
    let words: Vec<u64> = text
        .split(|it: char| !it.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(|word| hash(word.chars().flat_map(char::to_lowercase)))
        .collect();
    if words.len() < WORDS_MIN {
        return None;
    }
    let mut weights = [0_i64; 64];
    for shingle in words.windows(SHINGLE) {
        let feature = shingle.iter().fold(0, |all: u64, word| mixed(all.rotate_left(21) ^ word));
        for (bit, weight) in weights.iter_mut().enumerate() {
            *weight += if feature >> bit & 1 == 1 { 1 } else { -1 };
        }
    }
    let bits = weights.iter().enumerate().filter(|(_, weight)| **weight > 0);
    Some(bits.fold(0, |print, (bit, _)| print | 1 << bit))
}

/// FNV-1a, and mixed once more.
fn hash(characters: impl Iterator<Item = char>) -> u64 {
    let start = 0xcbf2_9ce4_8422_2325_u64;
    let step = |hash: u64, it: char| (hash ^ u64::from(it)).wrapping_mul(0x100_0000_01b3);
    mixed(characters.fold(start, step))
}

const fn mixed(value: u64) -> u64 {
    let value = (value ^ value >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let value = (value ^ value >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    value ^ value >> 33
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(from: usize, to: usize) -> String {
        (from..to).map(|at| format!("word{} ", mixed(at as u64) % 5000)).collect()
    }

    #[test]
    fn texts_that_share_most_are_alike_and_others_are_not() {
        let one = words(0, 2000);
        let other = format!("{} today", one.to_uppercase());
        let bits = (print(&one).unwrap() ^ print(&other).unwrap()).count_ones();
        assert!(bits <= BITS_MAX, "{bits}");
        let different = (print(&one).unwrap() ^ print(&words(5000, 7000)).unwrap()).count_ones();
        assert!(different > 3 * BITS_MAX, "{different}");
        assert_eq!(print("too short to say"), None);
    }

    #[test]
    fn the_first_of_its_kind_is_met() {
        let look = |text: &str| Look {
            bytes: 1,
            digest: text.to_owned(),
            print: print(text),
            ..Look::default()
        };
        let (one, mut near) = (words(0, 2000), Near::default());
        assert!(near.meet("a", &look(&one)).is_none());
        assert!(matches!(near.meet("b", &look(&one)), Some(Twin::Same("a"))));
        let other = format!("{one} today");
        assert!(matches!(near.meet("c", &look(&other)), Some(Twin::Alike("a"))));
        assert!(near.meet("d", &look(&words(9000, 9900))).is_none());
    }
}
