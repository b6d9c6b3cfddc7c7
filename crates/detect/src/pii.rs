//! Personal data in text: e-mail addresses, phone numbers, payment cards, IBANs.
//!
//! A regular expression finds candidates in linear time; a check digit decides where the format has one. What
//! people write is looser than any rule: this finds the forms that systems print, not every form there is.

use regex::Regex;
use std::ops::Range;
use std::sync::LazyLock;

/// A kind of personal data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// An e-mail address.
    Email,
    /// A phone number, written internationally or with separators.
    Phone,
    /// A payment card number (13 to 19 digits that pass the Luhn check, ISO/IEC 7812-1 Annex B).
    Card,
    /// A bank account (ISO 13616, check digits by mod 97).
    Iban,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Email, Self::Phone, Self::Card, Self::Iban];

    /// The word in obligations: `pii:email`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Phone => "phone",
            Self::Card => "card",
            Self::Iban => "iban",
        }
    }

    /// Reads the word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// Where personal data is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// What kind.
    pub kind: Kind,
    /// The bytes of the text that it fills.
    pub bytes: Range<usize>,
}

/// The patterns are constants: a pattern that did not compile would find nothing, which a test would show.
fn pattern(text: &str) -> Option<Regex> {
    Regex::new(text).ok()
}

static EMAIL: LazyLock<Option<Regex>> =
    LazyLock::new(|| pattern(r"[\w.!#$%&'*+/=?^`{|}~-]+@(?:[\w-]+\.)+[A-Za-z]{2,24}"));
static PHONE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    pattern(concat!(
        r"\+[1-9][0-9](?:[ ./()-]{0,3}[0-9]){5,13}",
        r"|\(?\b[0-9]{3}\)?[ .-][0-9]{3}[ .-][0-9]{4}\b",
    ))
});
static CARD: LazyLock<Option<Regex>> = LazyLock::new(|| pattern(r"\b[0-9](?:[ -]?[0-9]){12,18}\b"));
static IBAN: LazyLock<Option<Regex>> =
    LazyLock::new(|| pattern(r"\b[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{1,4}){3,8}\b"));

/// Finds personal data of these kinds: spans in order, none overlapping another. Where two kinds claim the same
/// text the one that starts first wins, then the longer.
pub fn find(text: &str, kinds: &[Kind]) -> Vec<Span> {
    let mut spans: Vec<Span> = kinds.iter().flat_map(|kind| find_kind(text, *kind)).collect();
    spans.sort_by_key(|span| (span.bytes.start, usize::MAX - span.bytes.end, span.kind));
    let mut end = 0;
    spans.retain(|span| {
        let is_free = span.bytes.start >= end;
        if is_free {
            end = span.bytes.end;
        }
        is_free
    });
    spans
}

fn find_kind(text: &str, kind: Kind) -> Vec<Span> {
    let (pattern, accepts): (&LazyLock<Option<Regex>>, fn(&str) -> bool) = match kind {
        Kind::Email => (&EMAIL, |_| true),
        Kind::Phone => (&PHONE, |_| true),
        Kind::Card => (&CARD, passes_luhn),
        Kind::Iban => (&IBAN, passes_mod_97),
    };
    let Some(pattern) = pattern.as_ref() else { return Vec::new() };
    let found = pattern.find_iter(text).filter(|found| accepts(found.as_str()));
    found.map(|found| Span { kind, bytes: found.range() }).collect()
}

fn passes_luhn(text: &str) -> bool {
    let digits = text.chars().rev().filter_map(|c| c.to_digit(10));
    let sum: u32 = digits
        .enumerate()
        .map(|(at, digit)| match (at % 2 == 1, digit * 2) {
            (false, _) => digit,
            (true, double) if double > 9 => double - 9,
            (true, double) => double,
        })
        .sum();
    sum % 10 == 0
}

fn passes_mod_97(text: &str) -> bool {
    let compact: Vec<char> = text.chars().filter(|c| !c.is_whitespace()).collect();
    if !(15..=34).contains(&compact.len()) {
        return false;
    }
    let rotated = compact.iter().skip(4).chain(compact.iter().take(4));
    let remainder = rotated.fold(0_u32, |rest, c| match c.to_digit(36) {
        Some(value) if value >= 10 => (rest * 100 + value) % 97,
        Some(value) => (rest * 10 + value) % 97,
        None => rest,
    });
    remainder == 1
}

#[cfg(test)]
mod tests {
    use super::{Kind, find};
    use proptest::prelude::*;

    fn found(text: &str) -> Vec<(Kind, &str)> {
        find(text, &Kind::ALL).into_iter().map(|span| (span.kind, &text[span.bytes])).collect()
    }

    #[test]
    fn finds_what_systems_print() {
        let text = "Ada <ada.l+x@mail.example.org>, +44 20 7946 0958, (555) 010-4477, \
                    card 4111 1111 1111 1111, DE89 3704 0044 0532 0130 00.";
        assert_eq!(
            found(text),
            [
                (Kind::Email, "ada.l+x@mail.example.org"),
                (Kind::Phone, "+44 20 7946 0958"),
                (Kind::Phone, "(555) 010-4477"),
                (Kind::Card, "4111 1111 1111 1111"),
                (Kind::Iban, "DE89 3704 0044 0532 0130 00"),
            ]
        );
    }

    #[test]
    fn leaves_alone_what_only_looks_alike() {
        for text in
            ["order 4111111111111112", "v1.2.3", "DE00 3704 0044 0532 0130 00", "a@b", "12:30"]
        {
            assert_eq!(found(text), [], "{text}");
        }
    }

    proptest! {
        #[test]
        fn spans_are_ordered_and_within_any_text(text in "\\PC{0,200}") {
            let mut end = 0;
            for span in find(&text, &Kind::ALL) {
                prop_assert!(span.bytes.start >= end && text.get(span.bytes.clone()).is_some());
                end = span.bytes.end;
            }
        }
    }
}
