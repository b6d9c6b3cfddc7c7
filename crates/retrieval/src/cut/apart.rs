//! Where a text may be cut so that nothing of what detectors find is cut in two: of a telephone
//! number of which half is in one chunk and half in the next, neither half is redacted.

use super::CHUNK_BYTES_MAX;
use lockgate_detect::pii;
use lockgate_detect::redactable::{Redactable, find};
use std::ops::Range;

/// Bytes behind a place at which a text is cut off that are looked at: what begins before it is
/// known by how it ends. The largest that is looked for is a private key.
pub(crate) const AHEAD_BYTES: usize = 16 << 10;
/// Bytes before a find, in its line, from which it is known for what it is: `password: `.
const LABEL_BYTES: usize = 64;

/// What must not be cut, in order and apart.
pub(crate) struct Finds(Vec<Find>);

struct Find {
    bytes: Range<usize>,
    /// Where the words before it begin.
    label: usize,
}

impl Finds {
    /// What personal data and secrets there are in a part of a text, by bytes of the text.
    pub(crate) fn of(text: &str, part: Range<usize>) -> Self {
        let said = text.get(part.clone()).unwrap_or_default();
        let mut sought = vec![Redactable::Secret];
        sought.extend(pii::Kind::ALL.map(Redactable::Pii));
        let found = find(said, &sought).into_iter().map(|bytes| Find {
            label: part.start + label(said, bytes.start),
            bytes: part.start + bytes.start..part.start + bytes.end,
        });
        Self(found.collect())
    }

    /// Where a chunk that begins at `start` is cut that would be cut at `at`: before what it would
    /// cut, and before the words by which that is known if anything is left then. Of a chunk that
    /// is all one find, behind it, as long as a chunk may be.
    pub(super) fn cut(&self, start: usize, at: usize) -> usize {
        let labelled = self.before(at, |find| find.label);
        let before = self.before(at, |find| find.bytes.start);
        if let Some(at) = [labelled, before].into_iter().find(|at| *at > start) {
            return at;
        }
        let whole = self.0.get(self.0.partition_point(|find| find.bytes.end <= at));
        let end = whole.map_or(at, |find| find.bytes.end);
        if end - start <= CHUNK_BYTES_MAX { end } else { at }
    }

    /// The last place up to this one that lies within no find, if each begins there.
    fn before(&self, at: usize, begin: impl Fn(&Find) -> usize) -> usize {
        let mut at = at;
        let begun = self.0.partition_point(|find| begin(find) < at);
        for find in self.0.get(..begun).unwrap_or_default().iter().rev() {
            if find.bytes.end <= at {
                break;
            }
            at = begin(find);
        }
        at
    }
}

/// The beginning of a text, of that many bytes at most: cut off before what it would cut in two.
pub(crate) fn beginning(mut text: String, bytes_max: usize) -> String {
    if text.len() > bytes_max {
        let at = text.floor_char_boundary(bytes_max);
        let end = text.floor_char_boundary(at.saturating_add(AHEAD_BYTES));
        text.truncate(Finds::of(&text, 0..end).before(at, |find| find.bytes.start));
    }
    text
}

/// Where the words begin by which what stands at a place is known: in its line, and whole.
fn label(text: &str, at: usize) -> usize {
    let from = text.floor_char_boundary(at.saturating_sub(LABEL_BYTES));
    let before = text.get(from..at).unwrap_or_default();
    if let Some(line) = before.rfind('\n') {
        return from + line + 1;
    }
    match before.find(char::is_whitespace) {
        Some(space) if from > 0 => text.ceil_char_boundary(from + space + 1),
        _ => from,
    }
}
