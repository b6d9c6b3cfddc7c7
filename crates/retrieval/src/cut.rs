//! Cutting a text into chunks: where it is cut already, by its headings and paragraphs, and only
//! within them where they are too long.
//!
//! A chunk is a span of the text, so that what is cited can be held against it. The same text is
//! cut in the same way every time.

pub(crate) mod apart;

use crate::format::{Block, BlockKind};
use apart::Finds;

/// Bytes that a chunk may have at most, whatever is set.
pub const CHUNK_BYTES_MAX: usize = 16 << 10;
/// Chunks of one document.
pub const CHUNKS_MAX: usize = 16_384;
/// Bytes at the end of a chunk in which a good place to cut is looked for, of a hundred.
const LOOK_BACK_PERCENT: usize = 40;

/// How large chunks are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Bytes up to which neighbours are put together.
    pub wanted_bytes: usize,
    /// Bytes beyond which even a paragraph is cut: not where something is found that may have to be
    /// redacted, which may make a chunk larger, up to `CHUNK_BYTES_MAX`.
    pub most_bytes: usize,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { wanted_bytes: 1200, most_bytes: 2400 }
    }
}

/// There would be more chunks than there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it would be cut into more than {CHUNKS_MAX} chunks")]
pub struct TooMany;

/// The chunks of a text, in order and apart: all of it but what is white space between them.
pub fn cut(text: &str, blocks: &[Block], sizes: Sizes) -> Result<Vec<(usize, usize)>, TooMany> {
    let most = sizes.most_bytes.clamp(64, CHUNK_BYTES_MAX);
    let wanted = sizes.wanted_bytes.clamp(1, most);
    let mut cuts = Cuts { text, chunks: Vec::new(), open: None };
    let mut is_headed = false;
    for block in parts(text, blocks) {
        let is_heading = matches!(block.kind, BlockKind::Heading(_));
        let length = block.end - block.start;
        let joined = cuts.open.map(|(start, _)| block.end - start);
        // A heading begins a chunk, and what follows a heading is put to it.
        let fits = joined.is_some_and(|joined| joined <= wanted || (is_headed && joined <= most));
        if (is_heading && !is_headed) || !fits {
            cuts.close()?;
        }
        if length > most {
            cuts.close()?;
            cuts.split(block.start, block.end, most)?;
        } else {
            let start = cuts.open.map_or(block.start, |(start, _)| start);
            cuts.open = Some((start, block.end));
        }
        is_headed = is_heading;
    }
    cuts.close()?;
    Ok(cuts.chunks)
}

/// The headings above a place in the text, the outermost first: as spans of it.
pub fn headings_above(blocks: &[Block], at: usize) -> Vec<(usize, usize)> {
    let mut above: Vec<(u8, (usize, usize))> = Vec::new();
    for block in blocks.iter().take_while(|block| block.start <= at) {
        if let BlockKind::Heading(level) = block.kind {
            above.retain(|(other, _)| *other < level);
            above.push((level, (block.start, block.end)));
        }
    }
    above.into_iter().map(|(_, span)| span).collect()
}

/// The blocks, and as blocks whatever stands between them: nothing of a text is lost.
fn parts(text: &str, blocks: &[Block]) -> Vec<Block> {
    let mut parts = Vec::with_capacity(blocks.len());
    let mut end = 0;
    let gap = |start: usize, end: usize, parts: &mut Vec<Block>| {
        let said = text.get(start..end).unwrap_or_default();
        if !said.trim().is_empty() {
            let start = start + (said.len() - said.trim_start().len());
            let end = start + said.trim().len();
            parts.push(Block { kind: BlockKind::Paragraph, start, end });
        }
    };
    for block in blocks {
        gap(end, block.start, &mut parts);
        if block.start < block.end {
            parts.push(block.clone());
        }
        end = block.end.max(end);
    }
    gap(end, text.len(), &mut parts);
    parts
}

struct Cuts<'a> {
    text: &'a str,
    chunks: Vec<(usize, usize)>,
    open: Option<(usize, usize)>,
}

impl Cuts<'_> {
    fn close(&mut self) -> Result<(), TooMany> {
        match self.open.take() {
            Some((start, end)) => self.push(start, end),
            None => Ok(()),
        }
    }

    fn push(&mut self, start: usize, end: usize) -> Result<(), TooMany> {
        if self.chunks.len() >= CHUNKS_MAX {
            return Err(TooMany);
        }
        self.chunks.push((start, end));
        Ok(())
    }

    /// Cuts what is too long: after a sentence, else between words, else between characters, and
    /// before what would be cut in two.
    fn split(&mut self, start: usize, end: usize, most: usize) -> Result<(), TooMany> {
        let finds = Finds::of(self.text, start..end);
        let mut start = start;
        while end - start > most {
            let limit = self.text.floor_char_boundary(start + most);
            let window = self.text.get(start..limit).unwrap_or_default();
            let at = finds.cut(start, start + place(window).unwrap_or(window.len()));
            let said = self.text.get(start..at).unwrap_or_default();
            if !said.trim().is_empty() {
                self.push(start, start + said.trim_end().len())?;
            }
            let rest = self.text.get(at..end).unwrap_or_default();
            start = at + (rest.len() - rest.trim_start().len());
        }
        if start < end { self.push(start, end) } else { Ok(()) }
    }
}

/// Where a stretch is best cut, near its end.
fn place(window: &str) -> Option<usize> {
    let from = window.len() - window.len() * LOOK_BACK_PERCENT / 100;
    let from = window.ceil_char_boundary(from);
    let tail = window.get(from..)?;
    let line = tail.rfind('\n').map(|at| from + at + 1);
    let sentence = [". ", "! ", "? ", "。"]
        .iter()
        .filter_map(|end| tail.rfind(end).map(|at| from + at + end.len()))
        .max();
    let word = tail.rfind(char::is_whitespace).map(|at| {
        let gap = tail.get(at..).and_then(|it| it.chars().next());
        from + at + gap.map_or(1, char::len_utf8)
    });
    line.or(sentence).or(word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn block(kind: BlockKind, start: usize, end: usize) -> Block {
        Block { kind, start, end }
    }

    #[test]
    fn headings_begin_chunks_and_stay_with_what_follows() {
        let text = "# A\n\none two three\n\nfour five\n\n# B\n\nsix";
        let (heading, paragraph) = (BlockKind::Heading(1), BlockKind::Paragraph);
        let blocks = [
            block(heading, 0, 3),
            block(paragraph, 5, 18),
            block(paragraph, 20, 29),
            block(heading, 31, 34),
            block(paragraph, 36, 39),
        ];
        let sizes = Sizes { wanted_bytes: 20, most_bytes: 64 };
        let chunks = cut(text, &blocks, sizes).unwrap();
        let said: Vec<&str> =
            chunks.iter().map(|(from, to)| text.get(*from..*to).unwrap()).collect();
        assert_eq!(said, ["# A\n\none two three", "four five", "# B\n\nsix"]);
        assert_eq!(headings_above(&blocks, 37), [(31, 34)]);
        assert_eq!(headings_above(&blocks, 6), [(0, 3)]);
    }

    #[test]
    fn a_long_paragraph_is_cut_after_sentences() {
        let text = "One sentence is here, of some length. ".repeat(10);
        let text = text.trim_end();
        let sizes = Sizes { wanted_bytes: 64, most_bytes: 100 };
        let chunks = cut(text, &[block(BlockKind::Paragraph, 0, text.len())], sizes).unwrap();
        assert!(chunks.len() >= 5);
        assert!(chunks.iter().all(|(from, to)| text.get(*from..*to).unwrap().ends_with("length.")));
    }

    #[test]
    fn there_are_not_more_chunks_than_there_may_be() {
        let text = "x".repeat((CHUNKS_MAX + 2) * 64);
        let sizes = Sizes { wanted_bytes: 1, most_bytes: 1 };
        assert_eq!(cut(&text, &[], sizes), Err(TooMany));
    }

    proptest! {
        #[test]
        fn chunks_are_all_of_the_text_in_order(
            words in prop::collection::vec("[a-zé€ .\n]{1,90}", 0..20),
            wanted in 1_usize..200,
            most in 1_usize..300,
        ) {
            let mut text = String::new();
            let mut blocks = Vec::new();
            for (at, word) in words.iter().enumerate() {
                let trimmed = word.trim();
                if trimmed.is_empty() { continue; }
                let start = text.len();
                text.push_str(trimmed);
                let kind = if at % 5 == 0 { BlockKind::Heading(2) } else { BlockKind::Paragraph };
                // What is in no block is cut as well.
                if at % 7 != 0 { blocks.push(block(kind, start, text.len())); }
                text.push_str("\n\n");
            }
            let sizes = Sizes { wanted_bytes: wanted, most_bytes: most };
            let chunks = cut(&text, &blocks, sizes).unwrap();
            prop_assert_eq!(&cut(&text, &blocks, sizes).unwrap(), &chunks);
            let (mut end, mut said) = (0, String::new());
            for (from, to) in chunks {
                prop_assert!(from >= end && to > from && to - from <= most.max(64));
                said.push_str(text.get(from..to).unwrap());
                end = to;
            }
            let bare = |text: &str| text.split_whitespace().collect::<String>();
            prop_assert_eq!(bare(&said), bare(&text));
        }
    }
}
