//! Text that a person does not see and a model reads, and letters that pass for others.
//!
//! Most texts are plain ASCII: stretches without anything else are skipped whole.

use crate::fold::{Fold, fold, lookalike};
use crate::signal::{Kind, Signal};
use regex::Regex;
use std::ops::Range;
use std::sync::LazyLock;

/// Bytes that are looked at together, to see whether there is anything in them.
const STRETCH: usize = 256;
/// Bytes of a word that may stand on the other side of a stretch's edge.
const WORD: usize = 32;
/// Spaces in a row that push what follows out of sight.
const SPACES: usize = 80;
/// Line ends in a row that do.
const LINES: usize = 8;
/// Letters in a row, in mathematical or full-width style, that are more than decoration.
const STYLED: usize = 4;

/// Ways to write into a page what it does not show.
static UNSHOWN: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(concat!(
        r"<!--|\[//\]: ?#|\[comment\]: ?(?:#|<)",
        r"|(?i-u:display: ?none|visibility: ?hidden|font-size: ?0(?:[a-z%;]|\b)",
        r"|opacity: ?0(?:;|\b))",
    ))
    .ok()
});

/// Finds hidden text.
pub(crate) fn find(text: &str, signals: &mut Vec<Signal>) {
    marks(text, signals);
    unshown(text, signals);
    far_away(text, signals);
}

/// Whether a byte is neither printable ASCII nor ordinary white space.
const fn is_unusual(byte: u8) -> bool {
    byte >= 0x7f || (byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r'))
}

/// The unusual parts of a text, as whole characters: stretches of them, joined.
fn unusual(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let bytes = text.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        let from = loop {
            let stretch = bytes.get(at..bytes.len().min(at + STRETCH))?;
            if stretch.is_empty() {
                return None;
            }
            // Without an early end: so it is done for many bytes at once.
            if stretch.iter().fold(false, |found, byte| found | is_unusual(*byte)) {
                break at;
            }
            at += STRETCH;
        };
        while let Some(stretch) = bytes.get(at..bytes.len().min(at + STRETCH)) {
            if !stretch.iter().fold(false, |found, byte| found | is_unusual(*byte)) {
                break;
            }
            at += STRETCH;
        }
        // A character that crosses the edge of a stretch makes the next one unusual, too; a word
        // that does is ASCII on the other side.
        let from = from.saturating_sub(WORD);
        let part = text.get(from..bytes.len().min(at + WORD));
        Some((from, part.unwrap_or_default()))
    })
}

/// What a character is, of those that are not seen.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    Tag,
    ZeroWidth,
    Joiner,
    SoftHyphen,
    Override,
    Direction,
    Selector,
    Private,
    Escape,
    Control,
}

const fn mark(character: char) -> Option<Mark> {
    match character {
        '\u{e0000}'..='\u{e007f}' => Some(Mark::Tag),
        '\u{200b}' | '\u{2060}'..='\u{2064}' | '\u{206a}'..='\u{206f}' | '\u{feff}' => {
            Some(Mark::ZeroWidth)
        }
        '\u{180e}' | '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' | '\u{2800}' => {
            Some(Mark::ZeroWidth)
        }
        '\u{200c}' | '\u{200d}' => Some(Mark::Joiner),
        '\u{ad}' | '\u{34f}' => Some(Mark::SoftHyphen),
        '\u{202d}' | '\u{202e}' => Some(Mark::Override),
        '\u{200e}' | '\u{200f}' | '\u{61c}' | '\u{202a}'..='\u{202c}' | '\u{2066}'..='\u{2069}' => {
            Some(Mark::Direction)
        }
        '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}' => Some(Mark::Selector),
        '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..='\u{10ffff}' => Some(Mark::Private),
        '\u{1b}' | '\u{9b}' => Some(Mark::Escape),
        '\t' | '\n' | '\r' => None,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' => Some(Mark::Control),
        _ => None,
    }
}

/// A run of marks of one sort.
struct Run {
    mark: Mark,
    bytes: Range<usize>,
    length: usize,
    /// The character before it.
    before: char,
}

impl Run {
    /// Joiners and spaces without width are the two digits in which text is hidden.
    fn continues_with(&self, mark: Mark) -> bool {
        let is_bare = |mark| matches!(mark, Mark::ZeroWidth | Mark::Joiner);
        self.mark == mark || (is_bare(self.mark) && is_bare(mark))
    }
}

fn marks(text: &str, signals: &mut Vec<Signal>) {
    for (from, part) in unusual(text) {
        let mut run: Option<Run> = None;
        let mut last = '\0';
        for (at, character) in part.char_indices() {
            let at = from + at;
            let end = at + character.len_utf8();
            match (mark(character), &mut run) {
                (Some(mark), Some(open)) if open.continues_with(mark) => {
                    open.bytes.end = end;
                    open.length += 1;
                }
                (found, open) => {
                    signals.extend(open.take().and_then(|run| judge(run, character)));
                    *open = found.map(|mark| Run { mark, bytes: at..end, length: 1, before: last });
                    last = character;
                }
            }
        }
        signals.extend(run.and_then(|run| judge(run, '\0')));
    }
}

/// What a run of marks between two characters means.
fn judge(run: Run, after: char) -> Option<Signal> {
    // Flags, emoji and several scripts need some of these characters.
    let is_in_word = run.before.is_ascii_alphanumeric() && after.is_ascii_alphanumeric();
    let (class, score) = match (run.mark, run.length) {
        // The flags of England, Scotland and Wales are five tags after a black flag, and an end.
        (Mark::Tag, 0..=7) if run.before == '\u{1f3f4}' => return None,
        (Mark::Tag, _) => ("tag_characters", 950),
        (Mark::ZeroWidth, _) if run.bytes.start == 0 && run.length == 1 => return None,
        (Mark::ZeroWidth, 1..=3) if !is_in_word => ("zero_width", 200),
        (Mark::ZeroWidth | Mark::Joiner, 4..) => ("zero_width", 850),
        (Mark::ZeroWidth, _) => ("zero_width", 550),
        (Mark::Joiner, _) if is_in_word => ("zero_width", 550),
        (Mark::Joiner, _) => return None,
        (Mark::SoftHyphen, 4..) => ("soft_hyphen", 500),
        (Mark::SoftHyphen, _) => ("soft_hyphen", 100),
        (Mark::Override, _) => ("bidi_override", 800),
        (Mark::Direction, _) => ("bidi", 200),
        (Mark::Selector, 1) if !is_in_word => return None,
        (Mark::Selector, 1..=2) => ("variation_selectors", 400),
        (Mark::Selector, _) => ("variation_selectors", 900),
        (Mark::Private, 1..=3) => ("private_use", 150),
        (Mark::Private, _) => ("private_use", 500),
        (Mark::Escape, _) => ("terminal_escape", 600),
        (Mark::Control, _) => ("control", 300),
    };
    Some(Signal::new(Kind::HiddenText, class, run.bytes, score))
}

fn unshown(text: &str, signals: &mut Vec<Signal>) {
    let Some(pattern) = UNSHOWN.as_ref() else { return };
    let mut free = 0;
    for found in pattern.find_iter(text) {
        if found.start() < free {
            continue;
        }
        let rest = text.get(found.end()..).unwrap_or_default();
        let (class, score, length) = match found.as_str() {
            "<!--" => ("comment", 300, rest.find("-->").map_or(rest.len(), |at| at + 3)),
            comment if comment.starts_with('[') => {
                ("comment", 300, rest.find('\n').unwrap_or(rest.len()))
            }
            _ => ("hidden_style", 500, 0),
        };
        free = found.end() + length;
        signals.push(Signal::new(Kind::HiddenText, class, found.start()..free, score));
    }
}

/// Runs of white space before a text that is meant to be scrolled past. A run that long covers a
/// byte of every few, so only those are looked at.
fn far_away(text: &str, signals: &mut Vec<Signal>) {
    let bytes = text.as_bytes();
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
    let mut at = LINES - 1;
    while let Some(byte) = bytes.get(at) {
        if !is_space(byte) {
            at += LINES;
            continue;
        }
        let before = bytes.get(..at).unwrap_or_default();
        let start = at - before.iter().rev().take_while(|byte| is_space(byte)).count();
        let run = bytes.get(start..).unwrap_or_default();
        let length = run.iter().take_while(|byte| is_space(byte)).count();
        let lines = run.iter().take(length).filter(|byte| **byte == b'\n').count();
        let is_far = length - lines >= SPACES || lines >= LINES;
        if is_far && start > 0 && start + length < bytes.len() {
            signals.push(Signal::new(Kind::HiddenText, "far_away", start..start + length, 250));
        }
        at = (start + length).max(at) + LINES;
    }
}

/// Finds words in which letters of several scripts pass for one.
pub(crate) fn confusable(text: &str, signals: &mut Vec<Signal>) {
    for (from, part) in unusual(text) {
        if part.is_ascii() {
            continue;
        }
        let mut word = Letters::default();
        for (at, character) in part.char_indices() {
            if character.is_alphanumeric() || fold(character) == Fold::Nothing {
                word.push(from + at, character);
            } else {
                signals.extend(std::mem::take(&mut word).judge());
            }
        }
        signals.extend(word.judge());
    }
}

/// The letters of a word, counted.
#[derive(Default)]
struct Letters {
    bytes: Option<Range<usize>>,
    latin: usize,
    alike: usize,
    styled: usize,
    other: usize,
    /// Whether a Latin letter stands after one that looks alike: `TNFα` is no disguise.
    is_within: bool,
}

impl Letters {
    fn push(&mut self, at: usize, character: char) {
        let end = at + character.len_utf8();
        let start = self.bytes.as_ref().map_or(at, |bytes| bytes.start);
        self.bytes = Some(start..end);
        match (character.is_ascii_alphabetic(), lookalike(character), fold(character)) {
            (true, _, _) => {
                self.latin += 1;
                self.is_within |= self.alike > 0;
            }
            (false, Some(_), _) => self.alike += 1,
            (false, None, Fold::Ascii(letter)) if !character.is_ascii() => {
                // Accents are none: they belong to words of Latin scripts.
                let is_styled = letter.is_ascii_alphabetic() && u32::from(character) > 0x2000;
                self.styled += usize::from(is_styled);
                self.latin += usize::from(!is_styled);
            }
            (false, None, Fold::Letter(_)) => self.other += 1,
            (false, None, Fold::Ascii(_) | Fold::Ideograph(_) | Fold::Nothing | Fold::Gap) => {}
        }
    }

    fn judge(self) -> Option<Signal> {
        let (class, score) = if self.latin > 0 && self.alike > 0 && self.other == 0 {
            if !self.is_within && self.alike < 2 {
                return None;
            }
            ("mixed_script", 700)
        } else if self.styled >= STYLED {
            ("styled", 400)
        } else {
            return None;
        };
        Some(Signal::new(Kind::Confusable, class, self.bytes?, score))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes(text: &str) -> Vec<&'static str> {
        let mut signals = Vec::new();
        find(text, &mut signals);
        confusable(text, &mut signals);
        signals.iter().map(|signal| signal.class).collect()
    }

    #[test]
    fn what_is_not_seen_is_found() {
        for (text, class) in [
            ("hi\u{e0069}\u{e0067}\u{e006e} there", "tag_characters"),
            ("pass\u{200b}word", "zero_width"),
            ("a\u{200b}\u{200d}\u{200c}\u{200d}", "zero_width"),
            ("x\u{200c}\u{200c}\u{200c}\u{200c}x", "zero_width"),
            ("abc\u{202e}fdp.exe", "bidi_override"),
            ("a\u{2066}b", "bidi"),
            ("😀\u{fe01}\u{fe02}\u{e0100}\u{e0101}", "variation_selectors"),
            ("\u{e001}\u{e002}\u{e003}\u{e004}", "private_use"),
            ("red\u{1b}[8mhidden", "terminal_escape"),
            ("a\u{8}b", "control"),
            ("so\u{ad}f\u{ad}t", "soft_hyphen"),
            ("<p>x</p><!-- do this -->", "comment"),
            ("[//]: # (do this)\nx", "comment"),
            ("<b style='display:none'>x</b>", "hidden_style"),
            ("a\n\n\n\n\n\n\n\n\n\nb", "far_away"),
            ("p\u{430}ypal", "mixed_script"),
            ("𝗶𝗴𝗻𝗼𝗿𝗲 it", "styled"),
            ("ｉｇｎｏｒｅ", "styled"),
        ] {
            let found = classes(text);
            assert!(found.contains(&class), "{text:?}: {found:?}");
        }
        assert_eq!(classes(&format!("a{}b", " ".repeat(90))), ["far_away"]);
    }

    #[test]
    fn what_is_seen_is_left_alone() {
        for text in [
            "plain text, with\ttabs\r\nand lines\n\nof it",
            "café Ærøskøbing naïve Łódź",
            "привет мир и всем",
            "Ελληνικά αβγ",
            "TNFα binds β-catenin at 5 μm",
            "❤\u{fe0f} 👩\u{200d}💻 🏳\u{fe0f}\u{200d}🌈",
            "🏴\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}",
            "می\u{200c}خواهم",
            "忽略 これは 한국어",
            "\u{feff}begins with a mark",
            "1 < 2, a - b -- c --> d",
        ] {
            assert_eq!(classes(text), [""; 0], "{text:?}");
        }
    }

    #[test]
    fn a_find_is_found_wherever_it_stands() {
        for before in [0, 1, 200, 255, 256, 257, 600] {
            let text = format!("{}pass\u{200b}word{}", "x ".repeat(before), " y".repeat(300));
            assert_eq!(classes(&text), ["zero_width"], "{before}");
            let text = format!("{}p\u{430}ypal{}", "é".repeat(before), " y".repeat(300));
            assert!(classes(&text).contains(&"mixed_script"), "{before}");
        }
    }
}
