//! A text as the words a model would read in it, each as a few hashes.
//!
//! Nothing is copied: a long text costs no memory. Words are folded (`fold.rs`), so what is
//! disguised hashes like what it means.

use crate::fold::{Fold, fold};

/// One word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Word {
    /// Its first byte in the text.
    pub(crate) start: usize,
    /// The byte after its last.
    pub(crate) end: usize,
    /// The hash of all its letters.
    pub(crate) hash: u32,
    /// The hashes of its first four, five and six letters; those of the whole where it is shorter.
    pub(crate) stems: [u32; 3],
    /// The byte before it, or 0 at the beginning.
    pub(crate) before: u8,
    /// The byte after it, or 0 at the end.
    pub(crate) after: u8,
}

/// What words begin with before they have letters.
const SEED: u32 = 0x811c_9dc5;

const fn step(hash: u32, byte: u8) -> u32 {
    (hash ^ byte as u32).wrapping_mul(0x0100_0193)
}

/// The hash of a word as it is written in a table, in lower case.
pub(crate) const fn hash_of(word: &[u8]) -> u32 {
    let mut hash = SEED;
    let mut rest = word;
    while let Some((byte, after)) = rest.split_first() {
        hash = step(hash, *byte);
        rest = after;
    }
    hash
}

/// How each byte reads that needs no thought: its letter in lower case, 0 as a gap, and the rest.
struct Reads([u8; 256]);

/// What is no ASCII letter and no plain gap: escapes, apostrophes, other scripts.
const OTHER: u8 = 1;

static READS: Reads = Reads::TABLE;

impl Reads {
    #[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, which would not go on")]
    const TABLE: Self = {
        let mut table = [OTHER; 256];
        let mut byte = 0_u8;
        while byte < 128 {
            if byte.is_ascii_alphanumeric() {
                table[byte as usize] = byte.to_ascii_lowercase();
            } else if byte != b'\\' && byte != b'\'' {
                table[byte as usize] = 0;
            }
            byte += 1;
        }
        Self(table)
    };

    #[inline]
    fn get(&self, byte: u8) -> u8 {
        self.0.get(usize::from(byte)).copied().unwrap_or(OTHER)
    }

    fn is_gap(&self, byte: u8) -> bool {
        self.get(byte) == 0
    }

    fn letter(&self, byte: u8) -> Option<u8> {
        Some(self.get(byte)).filter(|letter| *letter > OTHER)
    }
}

/// The words of a text, in order.
pub(crate) struct Words<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Words<'a> {
    pub(crate) fn of(text: &'a str) -> Self {
        Self { text, bytes: text.as_bytes(), at: 0 }
    }

    /// An escape of JSON, since results are often JSON in a text: `\nIgnore` does not read
    /// `nIgnore`, and `\u0069` is a letter.
    fn escape(&self, at: usize) -> (Fold, usize) {
        match self.byte(at + 1) {
            b'n' | b'r' | b't' => (Fold::Gap, 2),
            b'u' => {
                let digits = self.bytes.get(at + 2..at + 6).unwrap_or_default();
                let digits = std::str::from_utf8(digits).unwrap_or_default();
                let code = u32::from_str_radix(digits, 16).ok().and_then(char::from_u32);
                code.map_or((Fold::Gap, 1), |character| (fold(character), 6))
            }
            _ => (Fold::Gap, 1),
        }
    }

    /// The character that begins here, which is not ASCII.
    fn wide(&self, at: usize) -> Option<char> {
        self.text.get(at..).and_then(|rest| rest.chars().next())
    }
}

/// A word that is being read.
struct Open {
    word: Word,
    letters: usize,
    hash: u32,
    /// The hash after so many letters, the last slot for all that follow: without a branch for each
    /// letter, since no two words are of one length.
    after: [u32; 8],
}

impl Open {
    fn new() -> Self {
        Self { word: Word::default(), letters: 0, hash: SEED, after: [SEED; 8] }
    }

    #[inline]
    fn push(&mut self, byte: u8) {
        self.hash = step(self.hash, byte);
        self.letters += 1;
        if let Some(slot) = self.after.get_mut(self.letters.min(7)) {
            *slot = self.hash;
        }
    }

    #[inline]
    fn close(mut self, end: usize, after: u8) -> Word {
        let stem =
            |length: usize| self.after.get(self.letters.min(length)).copied().unwrap_or(self.hash);
        self.word.stems = [stem(4), stem(5), stem(6)];
        self.word.hash = self.hash;
        self.word.end = end;
        self.word.after = after;
        self.word
    }
}

impl Iterator for Words<'_> {
    type Item = Word;

    #[inline]
    fn next(&mut self) -> Option<Word> {
        let mut open = Open::new();
        let mut at = self.at;
        // Most words are of ASCII letters alone, with a gap of one byte behind them.
        while self.bytes.get(at).is_some_and(|byte| READS.is_gap(*byte)) {
            at += 1;
        }
        open.word.start = at;
        open.word.before = at.checked_sub(1).map_or(0, |at| self.byte(at));
        while let Some(letter) = self.bytes.get(at).and_then(|byte| READS.letter(*byte)) {
            open.push(letter);
            at += 1;
        }
        if open.letters > 0 && self.bytes.get(at).is_some_and(|byte| READS.is_gap(*byte)) {
            self.at = at + 1;
            return Some(open.close(at, self.byte(at)));
        }
        while let Some(&byte) = self.bytes.get(at) {
            let (fold, width) = match byte {
                b'\\' => self.escape(at),
                // An apostrophe inside a word is none: `don't` reads `dont`.
                b'\'' if open.letters > 0 => (Fold::Nothing, 1),
                0..=0x7f => (READS.letter(byte).map_or(Fold::Gap, Fold::Ascii), 1),
                _ => {
                    let character = self.wide(at).unwrap_or('\u{fffd}');
                    (fold(character), character.len_utf8())
                }
            };
            let begins = open.letters == 0;
            if begins && !matches!(fold, Fold::Gap | Fold::Nothing) {
                open.word.start = at;
                open.word.before = at.checked_sub(1).map_or(0, |at| self.byte(at));
            }
            match fold {
                Fold::Ascii(letter) => open.push(letter),
                Fold::Letter(letter) => {
                    let mut buffer = [0; 4];
                    letter.encode_utf8(&mut buffer).bytes().for_each(|byte| open.push(byte));
                }
                Fold::Ideograph(letter) => {
                    if begins {
                        let mut buffer = [0; 4];
                        letter.encode_utf8(&mut buffer).bytes().for_each(|byte| open.push(byte));
                        at += width;
                    }
                    self.at = at;
                    return Some(open.close(at, self.byte(at)));
                }
                Fold::Nothing => {}
                Fold::Gap if begins => {}
                Fold::Gap => {
                    self.at = at + width;
                    return Some(open.close(at, byte));
                }
            }
            at += width;
        }
        self.at = at;
        (open.letters > 0).then(|| open.close(at, 0))
    }
}

impl Words<'_> {
    fn byte(&self, at: usize) -> u8 {
        self.bytes.get(at).copied().unwrap_or(0)
    }
}

#[cfg(test)]
#[expect(clippy::string_slice, reason = "words that cut a character should make a test fail")]
mod tests {
    use super::*;

    fn spans(text: &str) -> Vec<&str> {
        Words::of(text).map(|word| &text[word.start..word.end]).collect()
    }

    #[test]
    fn words_end_where_a_reader_would_say_so() {
        assert_eq!(spans("Don't  stop_now: v2, ü!"), ["Don't", "stop", "now", "v2", "ü"]);
        assert_eq!(spans("忽略a指令"), ["忽", "略", "a", "指", "令"]);
        assert_eq!(spans(r"a\nb \u0456g C:\x"), ["a", "b", r"\u0456g", "C", "x"]);
        assert_eq!(spans(""), [""; 0]);
        assert_eq!(spans(" ' \u{200b}"), [""; 0]);
    }

    #[test]
    fn what_is_disguised_hashes_like_what_it_means() {
        let plain = Words::of("ignore").next().unwrap();
        assert_eq!(plain.hash, hash_of(b"ignore"));
        assert_eq!(plain.stems, [hash_of(b"igno"), hash_of(b"ignor"), hash_of(b"ignore")]);
        let disguised = Words::of("<\u{456}g\u{200b}n\u{43e}R\u{435}>").next().unwrap();
        assert_eq!((disguised.hash, disguised.stems), (plain.hash, plain.stems));
        assert_eq!((disguised.before, disguised.after), (b'<', b'>'));
        assert_eq!(Words::of("don't").next().unwrap().hash, hash_of(b"dont"));
    }
}
