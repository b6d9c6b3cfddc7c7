//! Sentences as what they say of what: the words that stand around values, and the values.

use std::collections::BTreeSet;

/// Sentences of one piece that are compared, the first ones.
pub(super) const SENTENCES_MAX: usize = 20;
/// Words of a sentence. A longer one says several things, or is none.
const WORDS_MAX: usize = 40;
/// Different words that say what a sentence is about, without which it may be about anything.
const FRAME_WORDS_MIN: usize = 4;
/// Letters of a word that says what it is about.
const LETTERS_MIN: usize = 3;
/// Of a hundred things between spaces, those that have to be words: the rest is code, or a table.
const WORDS_PERCENT_MIN: usize = 60;
/// Of a hundred words of the longer of two sentences, those that have to stand in the other.
const SHARED_PERCENT_MIN: usize = 75;

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Number,
    Day,
    Address,
    Path,
}

/// What a sentence says: values in their order, and whether it denies.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Claim {
    is_denied: bool,
    values: Vec<u64>,
}

/// One sentence.
#[derive(Clone, Debug, Default)]
pub(super) struct Sentence {
    /// The words around its values, by hash, each once and in the order of hashes.
    frame: Vec<u64>,
    /// A bit for each of them: who lacks one of these lacks a word.
    glance: u64,
    kinds: Vec<Kind>,
    claim: Claim,
}

impl Sentence {
    pub(super) fn claim(&self) -> &Claim {
        &self.claim
    }

    /// Whether both say something of the same: one has all the words of the other and few more.
    /// What one denies and the other does not is compared only in the same words.
    pub(super) fn is_comparable(&self, other: &Self) -> bool {
        if self.kinds != other.kinds {
            return false;
        }
        if self.claim.is_denied != other.claim.is_denied {
            return self.claim.values == other.claim.values && self.frame == other.frame;
        }
        if self.kinds.is_empty() {
            // Without a value it says the same.
            return self.frame == other.frame;
        }
        let is_shorter = self.frame.len() <= other.frame.len();
        let (short, long) = if is_shorter { (self, other) } else { (other, self) };
        short.glance & !long.glance == 0
            && short.frame.len() * 100 >= long.frame.len() * SHARED_PERCENT_MIN
            && short.frame.iter().all(|word| long.frame.binary_search(word).is_ok())
    }
}

/// The sentences of a text that say something which can be compared.
pub(super) fn sentences(text: &str) -> Vec<Sentence> {
    let lines = text.lines().flat_map(split);
    lines.filter_map(read).take(SENTENCES_MAX).collect()
}

/// A line, cut where sentences end: at a mark with a space behind it.
fn split(line: &str) -> impl Iterator<Item = &str> {
    let mut rest = line;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = [". ", "! ", "? ", "; "].iter().filter_map(|mark| rest.find(mark)).min();
        let (said, after) = rest.split_at(end.map_or(rest.len(), |end| end + 1));
        rest = after;
        Some(said)
    })
}

fn read(said: &str) -> Option<Sentence> {
    let mut sentence = Sentence::default();
    let (mut frame, mut words, mut things) = (BTreeSet::new(), 0_usize, 0_usize);
    for thing in said.split_whitespace() {
        things += 1;
        if things > WORDS_MAX {
            return None;
        }
        match Thing::of(thing) {
            Thing::Value(kind, value) => {
                sentence.kinds.push(kind);
                sentence.claim.values.push(value);
                words += 1;
            }
            Thing::Denial => {
                sentence.claim.is_denied ^= true;
                words += 1;
            }
            Thing::Small => words += 1,
            Thing::Word(hash) => {
                frame.insert(hash);
                words += 1;
            }
            Thing::Sign => {}
        }
    }
    let is_prose = words * 100 >= things * WORDS_PERCENT_MIN;
    if frame.len() < FRAME_WORDS_MIN || !is_prose {
        return None;
    }
    sentence.glance = frame.iter().fold(0, |glance, word| glance | 1 << (word % 64));
    sentence.frame = frame.into_iter().collect();
    Some(sentence)
}

/// What stands between two spaces.
enum Thing {
    /// A word that says what a sentence is about.
    Word(u64),
    /// A word without which it would be about the same.
    Small,
    Denial,
    Value(Kind, u64),
    /// Something that is no word: code, a mark.
    Sign,
}

/// Words that deny.
const DENIALS: &[&str] = &[
    "never", "not", "no", "nor", "cannot", "without", "nie", "niemals", "nicht", "kein", "keine",
    "keinen", "ohne",
];
/// Words that say how much somebody means it, and words that stand everywhere.
#[rustfmt::skip]
const SMALL: &[&str] = &[
    "always", "must", "should", "shall", "may", "can", "will", "would", "does", "did", "has",
    "have", "the", "and", "for", "with", "that", "this", "these", "those", "from", "are", "was",
    "were", "been", "its", "please", "also", "only",
    "immer", "stets", "muss", "soll", "darf", "kann", "wird", "der", "die", "das", "den", "dem",
    "des", "ein", "eine", "einer", "und", "ist", "sind", "mit", "von", "bitte",
];
/// Days, and numbers as words.
#[rustfmt::skip]
const DAYS: &[&str] = &[
    "monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday", "january",
    "february", "april", "june", "july", "august", "september", "october", "november", "december",
    "montag", "dienstag", "mittwoch", "donnerstag", "freitag", "samstag", "sonntag",
];
const NUMBERS: &[&str] = &[
    "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "twelve", "twenty",
    "thirty", "forty", "fifty", "sixty", "ninety", "hundred", "thousand", "million", "zwei",
    "drei", "vier", "fünf", "zehn", "zwanzig", "hundert", "tausend",
];

impl Thing {
    fn of(thing: &str) -> Self {
        let is_mark = |it: char| !it.is_alphanumeric() && !matches!(it, '/' | '-' | '$' | '€');
        let trimmed = thing.trim_matches(is_mark);
        let word: String = trimmed.chars().flat_map(char::to_lowercase).collect();
        let is_word = |it: char| it.is_alphabetic() || matches!(it, '\'' | '’' | '-');
        if word.contains("://") || word.starts_with("www.") || is_mailbox(&word) {
            return Self::Value(Kind::Address, hash(&word));
        }
        if word.contains(['{', '}', '(', ')', '=', '<', '>', '|', '\\', '"', '`', ';']) {
            return Self::Sign;
        }
        if word.contains('/') || word.starts_with("--") {
            return Self::Value(Kind::Path, hash(&word));
        }
        if word.contains(|it: char| it.is_numeric()) {
            return Self::Value(Kind::Number, hash(&word.replace([',', '\'', '’', '_'], "")));
        }
        if !word.contains(char::is_alphabetic) || !word.chars().all(is_word) {
            return Self::Sign;
        }
        let is_in = |words: &[&str]| words.contains(&word.as_str());
        if is_in(DENIALS) || word.ends_with("n't") || word.ends_with("n’t") {
            return Self::Denial;
        }
        if is_in(DAYS) {
            return Self::Value(Kind::Day, hash(&word));
        }
        if is_in(NUMBERS) {
            return Self::Value(Kind::Number, hash(&word));
        }
        if is_in(SMALL) || word.chars().count() < LETTERS_MIN {
            return Self::Small;
        }
        // One of a thing and several of it are the same thing.
        Self::Word(hash(word.strip_suffix('s').filter(|it| it.len() > 2).unwrap_or(&word)))
    }
}

fn is_mailbox(word: &str) -> bool {
    word.split_once('@').is_some_and(|(name, host)| !name.is_empty() && host.contains('.'))
}

/// FNV-1a, mixed once more, since its lowest bits are looked at by themselves.
fn hash(word: &str) -> u64 {
    let start = 0xcbf2_9ce4_8422_2325_u64;
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = word.bytes().fold(start, step);
    (hash ^ hash >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
