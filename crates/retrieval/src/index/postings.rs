//! Which chunks have a word, and how often: packed, in the order of the chunks.
//!
//! A list is only ever appended to. It knows nothing of how many of its chunks anybody may see:
//! how common a word is among those is counted as it is walked.

use super::permitted::Permitted;
use std::collections::HashMap;

/// Chunks of one block: what is passed over at once where none of them is permitted.
const BLOCK: u32 = 128;

/// All words of an index.
#[derive(Debug, Default)]
pub(crate) struct Postings {
    words: HashMap<Box<str>, List>,
}

/// One word: distances between chunks and counts, in bytes of seven bits.
#[derive(Debug, Default)]
struct List {
    bytes: Vec<u8>,
    blocks: Vec<Block>,
    count: u32,
    last: u32,
}

#[derive(Clone, Copy, Debug)]
struct Block {
    first: u32,
    at: u32,
}

impl Postings {
    /// Says that a chunk has a word. Chunks come in order.
    pub(crate) fn add(&mut self, word: &str, chunk: u32, count: u32) {
        if let Some(list) = self.words.get_mut(word) {
            return list.add(chunk, count);
        }
        let mut list = List::default();
        list.add(chunk, count);
        self.words.insert(word.into(), list);
    }

    /// The permitted chunks that have a word, in order, with how often.
    pub(crate) fn permitted(&self, word: &str, permitted: &Permitted) -> Vec<(u32, u32)> {
        let mut found = Vec::new();
        let Some(list) = self.words.get(word) else { return found };
        let mut ends = list.blocks.iter().skip(1).map(|block| block.first.saturating_sub(1));
        for block in &list.blocks {
            let last = ends.next().unwrap_or(list.last);
            if permitted.has_within(block.first, last) {
                list.read(*block, |chunk, count| {
                    if permitted.has(chunk) {
                        found.push((chunk, count));
                    }
                });
            }
        }
        found
    }

    /// Leaves out the chunks that `place` has no new number for.
    pub(crate) fn renumber(&mut self, place: &[u32]) {
        self.words.retain(|_, list| {
            let mut left = List::default();
            for block in &list.blocks {
                list.read(*block, |chunk, count| match place.get(chunk as usize) {
                    Some(number) if *number != u32::MAX => left.add(*number, count),
                    _ => {}
                });
            }
            left.bytes.shrink_to_fit();
            *list = left;
            list.count > 0
        });
    }

    /// Bytes that it takes, about.
    pub(crate) fn bytes(&self) -> usize {
        let words: usize = self.words.keys().map(|word| word.len()).sum();
        let of = |list: &List| list.bytes.capacity() + list.blocks.capacity() * size_of::<Block>();
        words
            + self.words.values().map(of).sum::<usize>()
            + self.words.capacity() * size_of::<(Box<str>, List)>()
    }
}

impl List {
    fn add(&mut self, chunk: u32, count: u32) {
        if self.count.is_multiple_of(BLOCK) {
            // A list of four thousand million bytes has more chunks than an index may have.
            let at = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
            self.blocks.push(Block { first: chunk, at });
            self.last = chunk;
        }
        let distance = u64::from(chunk.saturating_sub(self.last));
        // Most words are in a chunk once.
        let is_once = u64::from(count == 1);
        write(&mut self.bytes, (distance << 1) | is_once);
        if count != 1 {
            write(&mut self.bytes, u64::from(count));
        }
        self.last = chunk;
        self.count = self.count.saturating_add(1);
    }

    fn read(&self, block: Block, mut each: impl FnMut(u32, u32)) {
        let index = self.blocks.partition_point(|other| other.at < block.at);
        let before = u32::try_from(index).unwrap_or(u32::MAX).saturating_mul(BLOCK);
        let mut rest = self.bytes.get(block.at as usize..).unwrap_or_default();
        let mut chunk = block.first;
        for _ in 0..self.count.saturating_sub(before).min(BLOCK) {
            let head = read(&mut rest);
            chunk = chunk.saturating_add((head >> 1) as u32);
            let count = if head & 1 == 1 { 1 } else { read(&mut rest) as u32 };
            each(chunk, count);
        }
    }
}

fn write(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn read(bytes: &mut &[u8]) -> u64 {
    let (mut value, mut shift) = (0, 0);
    while let Some((byte, rest)) = bytes.split_first() {
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 || shift > 56 {
            break;
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use roaring::RoaringBitmap;

    fn all(chunks: u32) -> Permitted {
        Permitted::of_chunks((0..chunks).collect::<Vec<u32>>().as_slice(), chunks)
    }

    #[test]
    fn lists_give_back_what_was_added_and_what_is_permitted_of_it() {
        let mut postings = Postings::default();
        let added: Vec<(u32, u32)> =
            (0..5000_u32).map(|n| (n * 7 + n % 5, 1 + u32::from(n % 11 == 0) * n)).collect();
        for (chunk, count) in &added {
            postings.add("word", *chunk, *count);
        }
        assert_eq!(postings.permitted("word", &all(40_000)), added);
        assert_eq!(postings.permitted("other", &all(40_000)), []);
        let some: Vec<u32> = (0..40_000).filter(|chunk| chunk % 1013 < 2).collect();
        let set: RoaringBitmap = some.iter().collect();
        let expected: Vec<(u32, u32)> =
            added.iter().copied().filter(|(chunk, _)| set.contains(*chunk)).collect();
        assert!(expected.len() > 5);
        assert_eq!(postings.permitted("word", &Permitted::of_chunks(&some, 40_000)), expected);
    }

    #[test]
    fn renumbered_lists_leave_out_what_is_gone() {
        let mut postings = Postings::default();
        (0..1000).for_each(|chunk| postings.add("word", chunk, chunk + 1));
        postings.add("gone", 3, 1);
        let place: Vec<u32> =
            (0..1000).map(|chunk| if chunk % 2 == 0 { chunk / 2 } else { u32::MAX }).collect();
        postings.renumber(&place);
        let expected: Vec<(u32, u32)> = (0..500).map(|chunk| (chunk, chunk * 2 + 1)).collect();
        assert_eq!(postings.permitted("word", &all(500)), expected);
        assert_eq!(postings.words.len(), 1);
    }
}
