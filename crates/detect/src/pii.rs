//! Personal data in text: e-mail addresses, phone numbers, payment cards, IBANs.
//!
//! A regular expression finds candidates in linear time; a check digit decides where the format has
//! one. What people write is looser than any rule: this finds the forms that systems print, not
//! every form there is.

use regex::Regex;
use std::ops::{Range, RangeInclusive};
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

/// The patterns are constants: a pattern that did not compile would find nothing, which a test
/// would show.
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
// Letters may stand next to what has a check digit: else an address of mail that ends where a
// number begins would hide it.
static DIGITS: LazyLock<Option<Regex>> = LazyLock::new(|| pattern(r"[0-9](?:[ -]?[0-9]){12,}"));
static GROUPS: LazyLock<Option<Regex>> =
    LazyLock::new(|| pattern(r"[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9])+"));

/// Finds personal data of these kinds: spans in order, none overlapping another. Where two kinds
/// claim the same text the one that starts first has it, then the longer; what is left of the other
/// is its own span.
pub fn find(text: &str, kinds: &[Kind]) -> Vec<Span> {
    let mut spans: Vec<Span> = kinds.iter().flat_map(|kind| find_kind(text, *kind)).collect();
    spans.sort_by_key(|span| (span.bytes.start, usize::MAX - span.bytes.end, span.kind));
    let mut end = 0;
    spans.retain_mut(|span| {
        span.bytes.start = span.bytes.start.max(end);
        end = end.max(span.bytes.end);
        !span.bytes.is_empty()
    });
    spans
}

fn find_kind(text: &str, kind: Kind) -> Vec<Span> {
    match kind {
        Kind::Email => matches(text, kind, &EMAIL),
        Kind::Phone => matches(text, kind, &PHONE),
        Kind::Card => runs(text, kind, &DIGITS, 13..=19, passes_luhn),
        Kind::Iban => {
            runs(text, kind, &GROUPS, 15..=34, |text| is_iban(text) && passes_mod_97(text))
        }
    }
}

fn matches(text: &str, kind: Kind, pattern: &LazyLock<Option<Regex>>) -> Vec<Span> {
    let Some(pattern) = pattern.as_ref() else { return Vec::new() };
    pattern.find_iter(text).map(|found| Span { kind, bytes: found.range() }).collect()
}

/// What has a check digit, within longer runs of the same characters: a number is followed by a
/// date, or an account by a word in capitals. It begins and ends where a group of the run does.
fn runs(
    text: &str,
    kind: Kind,
    pattern: &LazyLock<Option<Regex>>,
    length: RangeInclusive<usize>,
    accepts: fn(&str) -> bool,
) -> Vec<Span> {
    let Some(pattern) = pattern.as_ref() else { return Vec::new() };
    let mut spans: Vec<Span> = Vec::new();
    for run in pattern.find_iter(text) {
        let groups = groups(run.as_str());
        let mut free = 0;
        for (at, first) in groups.iter().enumerate() {
            if first.start < free {
                continue;
            }
            let mut count = 0;
            let mut longest = None;
            for group in groups.iter().skip(at) {
                count += group.len();
                if count > *length.end() {
                    break;
                }
                let window = run.as_str().get(first.start..group.end).unwrap_or_default();
                if length.contains(&count) && accepts(window) {
                    longest = Some(group.end);
                }
            }
            if let Some(end) = longest {
                free = end;
                spans.push(Span { kind, bytes: run.start() + first.start..run.start() + end });
            }
        }
    }
    spans
}

/// The stretches between separators.
fn groups(run: &str) -> Vec<Range<usize>> {
    let mut groups = Vec::new();
    let mut start = 0;
    for (at, _) in run.match_indices([' ', '-']) {
        groups.push(start..at);
        start = at + 1;
    }
    groups.push(start..run.len());
    groups
}

fn is_iban(text: &str) -> bool {
    let mut bytes = text.bytes();
    let mut two = |is: fn(&u8) -> bool| bytes.by_ref().take(2).filter(is).count() == 2;
    two(u8::is_ascii_uppercase) && two(u8::is_ascii_digit)
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
    sum.is_multiple_of(10)
}

fn passes_mod_97(text: &str) -> bool {
    let compact: Vec<char> = text.chars().filter(|c| !c.is_whitespace()).collect();
    let rotated = compact.iter().skip(4).chain(compact.iter().take(4));
    let remainder = rotated.fold(0_u32, |rest, c| match c.to_digit(36) {
        Some(value) if value >= 10 => (rest * 100 + value) % 97,
        Some(value) => (rest * 10 + value) % 97,
        None => rest,
    });
    remainder == 1
}

#[cfg(test)]
#[expect(clippy::string_slice, reason = "spans that cut a character should make a test fail")]
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

    #[test]
    fn finds_what_stands_among_its_like() {
        for (text, expected) in [
            ("4111 1111 1111 1111 12/27", "4111 1111 1111 1111"),
            ("4111 1111 1111 1111 123", "4111 1111 1111 1111"),
            ("no 12 4111-1111-1111-1111 of 3", "4111-1111-1111-1111"),
            ("1234 5678 4111 1111 1111 1111 9999", "4111 1111 1111 1111"),
            ("DE89 3704 0044 0532 0130 00 BIC COBADEFFXXX", "DE89 3704 0044 0532 0130 00"),
            ("IBAN DE89370400440532013000 PLEASE", "DE89370400440532013000"),
            ("GB29 NWBK 6016 1331 9268 19 GB29 NWBK", "GB29 NWBK 6016 1331 9268 19"),
            ("EUR 12 NO93 8601 1117 947", "NO93 8601 1117 947"),
            ("VISA4111111111111111x", "4111111111111111"),
            ("ada@mail.ex4111 1111 1111 1111", "4111 1111 1111 1111"),
            ("ibanDE89370400440532013000x", "DE89370400440532013000"),
        ] {
            let spans = find(text, &[Kind::Card, Kind::Iban]);
            let found: Vec<&str> = spans.into_iter().map(|span| &text[span.bytes]).collect();
            assert_eq!(found, [expected], "{text}");
        }
    }

    #[test]
    fn of_two_that_overlap_nothing_is_left() {
        let text = "+49 4111 1111 1111 1111";
        let spans = find(text, &Kind::ALL);
        assert_eq!(spans.first().map(|span| span.bytes.start), Some(0));
        assert_eq!(spans.last().map(|span| span.bytes.end), Some(text.len()));
        assert!(spans.windows(2).all(|two| two[0].bytes.end == two[1].bytes.start));
    }

    #[test]
    fn kinds_that_are_not_asked_for_are_left_alone() {
        let text = "ada@mail.example 4111 1111 1111 1111";
        assert_eq!(find(text, &[]), []);
        assert!(find(text, &[Kind::Phone, Kind::Iban]).is_empty());
        for kind in Kind::ALL {
            assert_eq!(Kind::from_word(kind.as_str()), Some(kind));
        }
        assert_eq!(Kind::from_word("Email"), None);
    }

    #[test]
    fn long_runs_cost_no_more_than_their_length() {
        let digits = "1 ".repeat(10_000);
        let capitals = "AA00 ".repeat(5_000);
        assert!(find(&digits, &Kind::ALL).len() < 10_000);
        assert!(find(&capitals, &Kind::ALL).len() < 5_000);
    }

    /// Completes digits with the one that passes the Luhn check.
    fn card(digits: &str) -> String {
        (0..10).map(|last| format!("{digits}{last}")).find(|all| super::passes_luhn(all)).unwrap()
    }

    proptest! {
        #[test]
        fn a_card_is_found_wherever_it_stands(
            digits in "[2-6][0-9]{14}",
            before in "([a-z]{1,8} |[0-9]{2} )?",
            after in "( [a-z]{1,8}| [0-9]{3})?",
        ) {
            let card = card(&digits);
            let text = format!("{before}{card}{after}");
            let spans = find(&text, &[Kind::Card]);
            let covers = |span: &super::Span| text[span.bytes.clone()].contains(&card);
            prop_assert!(spans.iter().any(covers), "{}", text);
        }

        #[test]
        fn what_was_found_and_removed_is_not_found_again(text in "[a-z0-9@. +]{0,80}") {
            let mut rest = text;
            for span in find(&rest.clone(), &Kind::ALL).into_iter().rev() {
                rest.replace_range(span.bytes, "[redacted]");
            }
            let again = find(&rest, &[Kind::Card, Kind::Iban]);
            prop_assert!(again.is_empty(), "{}", rest);
        }

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
