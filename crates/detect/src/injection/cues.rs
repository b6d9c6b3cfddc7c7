//! Where in a text it is worth while to read: near words without which no order is given.
//!
//! Most of what tools return has none of them for pages. What is not plain ASCII may be a disguise,
//! and is always read.

use regex::bytes::Regex;
use std::ops::Range;
use std::sync::LazyLock;

/// Bytes before and after a cue that are read: more than a window of the model and the words within
/// which rules add up.
const AROUND: usize = 512;
/// Bytes that are looked at together for what is not plain.
const STRETCH: usize = 256;

/// Beginnings of words that injections have, and ordinary text seldom all at once.
static CUES: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(concat!(
        r"(?i-u)ignor|disreg|forget|overrid|bypass|neglect|instru|prompt|directive|guideline|rules",
        r"|assistant|bot\b|gpt|\bllm|\bai\b|model|agent|pretend|role|\bact\b|\bacting|you\b|your",
        r"|respon|answer|repl[iy]|output|character|persona|break|filter|censor|moral|ethic|legal",
        r"|restrict|secret|silent|covert|tell|inform|mention|reveal|repeat|\bsay\b|print|without",
        r"|important|urgent|attention|system|admin|developer|task|request|user|message|from now",
        r"|previous|prior|password|credential|token|send|forward|write|translat|hypothe|imagin",
        r"|verg|anweis|aufgab|antwort|schreib|befehl|bitte|alle|olvid|instruc|oubli|\\u[0-9a-f]{4}",
    ))
    .ok()
});

/// The parts of a text that are read, in order and apart. Without cues: all of it.
pub(super) fn regions(text: &str) -> Vec<Range<usize>> {
    let Some(cues) = CUES.as_ref() else { return std::iter::once(0..text.len()).collect() };
    let bytes = text.as_bytes();
    let mut regions: Vec<Range<usize>> = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let next = cues.find_at(bytes, at).map_or(bytes.len(), |cue| cue.start());
        plain_until(bytes, at, next, &mut regions);
        if next < bytes.len() {
            add(&mut regions, next, bytes.len());
        }
        // What is read anyway is not searched.
        let read = regions.last().map_or(0, |region| region.end);
        at = read.saturating_sub(AROUND / 2).max(next + 1);
    }
    regions.iter().map(|region| whole_words(bytes, region)).fold(Vec::new(), joined)
}

/// Adds what is not plain between two places.
fn plain_until(bytes: &[u8], from: usize, until: usize, regions: &mut Vec<Range<usize>>) {
    for (at, stretch) in bytes.get(from..until).unwrap_or_default().chunks(STRETCH).enumerate() {
        // Without an early end: so it is done for many bytes at once.
        if stretch.iter().fold(0, |all, byte| all | byte) >= 0x80 {
            add(regions, from + at * STRETCH, bytes.len());
            add(regions, until.min(from + (at + 1) * STRETCH), bytes.len());
        }
    }
}

fn add(regions: &mut Vec<Range<usize>>, at: usize, length: usize) {
    let region = at.saturating_sub(AROUND)..length.min(at + AROUND);
    match regions.last_mut() {
        Some(last) if last.end >= region.start => last.end = last.end.max(region.end),
        _ => regions.push(region),
    }
}

/// A region begins and ends between words, which cuts no character either.
fn whole_words(bytes: &[u8], region: &Range<usize>) -> Range<usize> {
    let is_word = |byte: &&u8| byte.is_ascii_alphanumeric() || **byte >= 0x80;
    let before = bytes.get(..region.start).unwrap_or_default();
    let after = bytes.get(region.end..).unwrap_or_default();
    let start = region.start - before.iter().rev().take_while(is_word).count();
    start..region.end + after.iter().take_while(is_word).count()
}

fn joined(mut regions: Vec<Range<usize>>, region: Range<usize>) -> Vec<Range<usize>> {
    match regions.last_mut() {
        Some(last) if last.end >= region.start => last.end = last.end.max(region.end),
        _ => regions.push(region),
    }
    regions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_far_from_every_cue_is_not_read() {
        let plain = "the quay had to be built twice, ".repeat(100);
        assert!(regions(&plain).is_empty());
        for cue in ["IGNORE it", "p\u{430}y", r"\u0069t", "you"] {
            let text = format!("{plain}{cue} {plain}");
            let found = regions(&text);
            let at = plain.len();
            assert_eq!(found.len(), 1, "{cue}");
            assert!(found[0].start + 400 < at && found[0].end > at + 400, "{cue}: {found:?}");
            assert!(found[0].end - found[0].start < 3 * AROUND, "{cue}: {found:?}");
        }
        assert_eq!(regions("ignore").first(), Some(&(0..6)));
        assert!(regions("").is_empty());
    }
}
