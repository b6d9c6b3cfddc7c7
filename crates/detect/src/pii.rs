//! Personal data in text: e-mail addresses, phone numbers, payment cards, IBANs, addresses of
//! machines, and numbers that states give to people.
//!
//! A regular expression finds candidates in linear time; a check digit decides where the format has
//! one. What people write is looser than any rule: this finds the forms that systems print, not
//! every form there is.

mod national;

use crate::signal::Signal;
use regex::Regex;
use std::cell::OnceCell;
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
    /// An IP address, of version 4 or 6.
    Ip,
    /// A number that a state gives to a person: with a check where it has one.
    NationalId,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::Email, Self::Phone, Self::Card, Self::Iban, Self::Ip, Self::NationalId];

    /// The word in obligations: `pii:email`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Phone => "phone",
            Self::Card => "card",
            Self::Iban => "iban",
            Self::Ip => "ip",
            Self::NationalId => "national_id",
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
        r"(?:\+[1-9][0-9](?:[ ./()-]{0,3}[0-9]){5,13}",
        r"|\(?(?-u:\b)[0-9]{3}\)?[ .-][0-9]{3}[ .-][0-9]{4}",
        r"|(?-u:\b)00[1-9](?:[ ./()-]{0,2}[0-9]){7,13}",
        r"|\(0?[0-9]{1,4}\) ?[0-9]{2,4}(?:[ .-][0-9]{2,4}){1,3}",
        r"|(?-u:\b)0[1-9][0-9]{0,4}(?:[ ./-][0-9]{2,5}){1,5}",
        r"|(?i:(?-u:\b)(?:tel|phone|mobile|cell|call|fax|whatsapp|dial|telefon|handy|ring|desk",
        r"|answering at|messages? to|reach (?:me|us|him|her|them) (?:at|on))[^0-9+(]{1,24})",
        r"[+(]{0,2}[0-9](?:[ ./()-]{0,2}[0-9]){6,14}",
        r"|(?-u:\b)[0-9](?:[ ./()-]{0,2}[0-9]){6,14}[ -]{1,2}",
        r"(?i:office|mobile|fax|cell|desk|home))",
        // An extension belongs to it.
        r"(?:x[0-9]{2,6})?(?-u:\b)",
    ))
});
static IP: LazyLock<Option<Regex>> = LazyLock::new(|| {
    pattern(concat!(
        r"(?-u:\b)[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?-u:\b)",
        r"|(?i:(?-u:\b)[0-9a-f]{1,4}:(?:[0-9a-f]{0,4}:){1,6}[0-9a-f]{0,4}",
        r"|::(?:[0-9a-f]{1,4}:){0,5}[0-9a-f]{1,4})",
    ))
});
// Letters may stand next to what has a check digit: else an address of mail that ends where a
// number begins would hide it.
static DIGITS: LazyLock<Option<Regex>> = LazyLock::new(|| pattern(r"[0-9](?:[ -]?[0-9]){11,}"));
static GROUPS: LazyLock<Option<Regex>> =
    LazyLock::new(|| pattern(r"[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9])+"));

/// Compact, in any case: where a country's accounts have a length of their own.
static COMPACT: LazyLock<Option<Regex>> =
    LazyLock::new(|| pattern(r"(?-u:\b)[A-Za-z]{2}[0-9]{2}[A-Za-z0-9]{11,30}(?-u:\b)"));

/// Finds personal data of these kinds: spans in order, none overlapping another. Where two kinds
/// claim the same text the one that starts first has it, then the longer; what is left of the other
/// is its own span.
pub fn find(text: &str, kinds: &[Kind]) -> Vec<Span> {
    let parts = Parts::default();
    let mut spans: Vec<Span> =
        kinds.iter().flat_map(|kind| find_kind(text, *kind, &parts)).collect();
    // What has a form of its own is that, before it is a phone number.
    let rank = |kind| (kind == Kind::Phone, kind);
    spans.sort_by_key(|span| (span.bytes.start, usize::MAX - span.bytes.end, rank(span.kind)));
    let mut end = 0;
    spans.retain_mut(|span| {
        span.bytes.start = span.bytes.start.max(end);
        end = end.max(span.bytes.end);
        !span.bytes.is_empty()
    });
    spans
}

/// Finds every kind, as signals.
pub(crate) fn signals(text: &str, signals: &mut Vec<Signal>) {
    signals.extend(find(text, &Kind::ALL).into_iter().map(|span| {
        // What has a check digit is surer than what has only a form.
        let score = match span.kind {
            Kind::Card | Kind::Iban => 900,
            Kind::NationalId => 800,
            Kind::Email => 700,
            Kind::Phone => 500,
            Kind::Ip => 400,
        };
        Signal::new(crate::Kind::Pii, span.kind.as_str(), span.bytes, score)
    }));
}

/// The parts of a text in which numbers can stand, found when they are first asked for.
#[derive(Default)]
struct Parts {
    numbers: OnceCell<Vec<Range<usize>>>,
    addresses: OnceCell<Vec<Range<usize>>>,
}

impl Parts {
    fn of(&self, text: &str, kind: Kind) -> &[Range<usize>] {
        let parts = if kind == Kind::Ip { &self.addresses } else { &self.numbers };
        parts.get_or_init(|| numeric(text, kind))
    }
}

fn find_kind(text: &str, kind: Kind, parts: &Parts) -> Vec<Span> {
    if kind == Kind::Email {
        // Every address has the sign, and few texts do.
        return if text.contains('@') {
            matches(text, 0, kind, &EMAIL, |_, _| true)
        } else {
            Vec::new()
        };
    }
    let mut spans = Vec::new();
    for region in parts.of(text, kind).iter().cloned() {
        let part = text.get(region.clone()).unwrap_or_default();
        let from = region.start;
        spans.extend(match kind {
            Kind::Email => Vec::new(),
            Kind::Phone => phones(part, from),
            Kind::Card => cards(part, from),
            Kind::Iban => {
                let mut spans = accounts(part, from);
                let is_any_case = |found: &str, _: Around| national::is_iban(found);
                spans.extend(matches(part, from, kind, &COMPACT, is_any_case));
                spans
            }
            Kind::Ip => matches(part, from, kind, &IP, is_ip),
            Kind::NationalId => {
                let ids = national::find(part).into_iter();
                ids.map(|id| Span { kind, bytes: from + id.start..from + id.end }).collect()
            }
        });
    }
    spans
}

/// Bytes that are looked at together for digits.
const BLOCK: usize = 64;

/// The parts of a text in which a number of this kind can stand: all have several digits near each
/// other, addresses of machines have dots or colons, too. What crosses the edge of a block has most
/// of them on one side. A part begins and ends where words do.
fn numeric(text: &str, kind: Kind) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let mut parts: Vec<Range<usize>> = Vec::new();
    let (blocks, rest) = bytes.as_chunks::<BLOCK>();
    let mut last = [0; BLOCK];
    last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    for (at, block) in blocks.iter().chain([&last]).enumerate() {
        if !may_have(block, kind) {
            continue;
        }
        let start = (at * BLOCK).saturating_sub(BLOCK);
        let end = bytes.len().min((at + 2) * BLOCK);
        match parts.last_mut() {
            Some(last) if last.end >= start => last.end = end,
            _ => parts.push(start..end),
        }
    }
    for part in &mut parts {
        let is_word = |byte: &&u8| byte.is_ascii_alphanumeric() || **byte >= 0x80;
        let before = bytes.get(..part.start).unwrap_or_default();
        part.start -= before.iter().rev().take_while(is_word).count();
        let after = bytes.get(part.end..).unwrap_or_default();
        part.end += after.iter().take_while(is_word).count();
    }
    // Words may be long enough to join their parts.
    let mut free = 0;
    parts.retain_mut(|part| {
        part.start = part.start.max(free);
        free = free.max(part.end);
        part.start < part.end
    });
    parts
}

/// Whether a block can have most of a number. Wrapping sums, which no block is long enough for,
/// over a number of bytes that the compiler knows: so many bytes are counted at once.
fn may_have(block: &[u8; BLOCK], kind: Kind) -> bool {
    let add = |sum: u8, is: bool| sum.wrapping_add(u8::from(is));
    let digits = block.iter().fold(0, |sum, byte| add(sum, byte.is_ascii_digit()));
    let count = |sign: u8| block.iter().fold(0, |sum, byte| add(sum, *byte == sign));
    match kind {
        Kind::Email => true,
        Kind::Ip => digits >= 2 && count(b'.') > 0 || count(b':') > 1,
        Kind::Phone | Kind::Card | Kind::Iban | Kind::NationalId => digits >= 3,
    }
}

/// What stands directly before and after a match.
type Around<'a> = (&'a str, &'a str);

fn matches(
    text: &str,
    from: usize,
    kind: Kind,
    pattern: &LazyLock<Option<Regex>>,
    accepts: impl Fn(&str, Around<'_>) -> bool,
) -> Vec<Span> {
    let Some(pattern) = pattern.as_ref() else { return Vec::new() };
    let found = pattern.find_iter(text).filter(|found| {
        let before = text.get(..found.start()).unwrap_or_default();
        let after = text.get(found.end()..).unwrap_or_default();
        accepts(found.as_str(), (before, after))
    });
    found.map(|found| Span { kind, bytes: from + found.start()..from + found.end() }).collect()
}

/// Phone numbers; of one that is known by the word beside it only the number.
fn phones(text: &str, from: usize) -> Vec<Span> {
    let mut spans = matches(text, from, Kind::Phone, &PHONE, is_phone);
    for span in &mut spans {
        let found = text.get(span.bytes.start - from..span.bytes.end - from).unwrap_or_default();
        let is_part = |it: char| it.is_ascii_digit() || matches!(it, '+' | '(');
        let start = found.find(is_part).unwrap_or(0);
        let end = found.rfind(|it: char| it.is_ascii_digit()).map_or(found.len(), |at| at + 1);
        span.bytes = span.bytes.start + start..span.bytes.start + end;
    }
    spans
}

/// Dates have the form of numbers that begin with a zero, and so have version numbers.
fn is_phone(found: &str, (before, _): Around<'_>) -> bool {
    let digits = found.bytes().filter(u8::is_ascii_digit).count();
    let groups: Vec<usize> = found.split([' ', '.', '/', '-']).map(str::len).collect();
    let is_date = matches!(groups.as_slice(), [2, 2, 4] | [2, 2, 2] | [2, 2, 4, 2, ..]);
    let is_named = |it: char| it.is_alphabetic();
    let is_sure =
        found.starts_with(['+', '(']) || found.starts_with(is_named) || found.ends_with(is_named);
    if groups == [3, 2, 4] && !is_sure {
        return false;
    }
    // A group of a longer number begins with a zero as often as not.
    let last = before.trim_end_matches([' ', '-', '.', '/']);
    let is_within = last.len() < before.len() && last.ends_with(|it: char| it.is_ascii_digit());
    is_sure || (!is_within && !is_date && (8..=15).contains(&digits)) || groups == [3, 3, 4]
}

fn is_ip(found: &str, (before, after): Around<'_>) -> bool {
    let is_longer = before.ends_with(['.', ':']) || after.starts_with(':') && found.contains(':');
    if is_longer {
        return false;
    }
    if found.contains(':') {
        let is_address = found.parse::<std::net::Ipv6Addr>().is_ok();
        // `::1` says nothing of a person, nor do times and ratios.
        return is_address && found.len() > 6 && !before.ends_with(char::is_alphanumeric);
    }
    let is_version =
        before.trim_end().to_ascii_lowercase().ends_with("version") || before.ends_with(['v', 'V']);
    let goes_on =
        after.strip_prefix('.').is_some_and(|it| it.starts_with(|c: char| c.is_ascii_digit()));
    found.parse::<std::net::Ipv4Addr>().is_ok() && !is_version && !goes_on
}

/// Accounts within longer runs of the same characters: one is followed by a word in capitals. Each
/// begins and ends where a group of the run does.
fn accounts(text: &str, from: usize) -> Vec<Span> {
    let Some(pattern) = GROUPS.as_ref() else { return Vec::new() };
    let mut spans: Vec<Span> = Vec::new();
    for run in pattern.find_iter(text) {
        let groups = groups(run.as_str());
        let mut free = 0;
        for (at, first) in groups.iter().enumerate() {
            let head = run.as_str().get(first.start..first.end).unwrap_or_default();
            let Some(length) = national::iban_length(head).filter(|_| first.start >= free) else {
                continue;
            };
            let mut count = 0;
            let ends = groups.iter().skip(at).map_while(|group| {
                count += group.len();
                (count <= length).then_some((count, group.end))
            });
            let end = ends.filter(|(count, _)| *count == length).map(|(_, end)| end).last();
            let Some(end) = end else { continue };
            if passes_mod_97(run.as_str().get(first.start..end).unwrap_or_default()) {
                free = end;
                let start = from + run.start();
                spans.push(Span { kind: Kind::Iban, bytes: start + first.start..start + end });
            }
        }
    }
    spans
}

/// Cards within longer runs of digits: one is followed by a date. Each begins and ends where a
/// group of the run does; of several that begin at one place the longest counts.
fn cards(text: &str, from: usize) -> Vec<Span> {
    let Some(pattern) = DIGITS.as_ref() else { return Vec::new() };
    let mut spans: Vec<Span> = Vec::new();
    for run in pattern.find_iter(text) {
        let groups = groups(run.as_str());
        let sums = Luhn::of(run.as_str());
        let mut free = 0;
        let mut place = 0;
        for (at, first) in groups.iter().enumerate() {
            let (start, mut end_place, mut longest) = (place, place, None);
            place += first.len();
            if first.start < free {
                continue;
            }
            for group in groups.iter().skip(at) {
                end_place += group.len();
                if end_place - start > 19 {
                    break;
                }
                if sums.accepts(start, end_place) {
                    longest = Some(group.end);
                }
            }
            if let Some(end) = longest {
                free = end;
                let run = from + run.start();
                spans.push(Span { kind: Kind::Card, bytes: run + first.start..run + end });
            }
        }
    }
    spans
}

/// The digits of a run, and their sums from its beginning, so that each part of it is checked at
/// once (ISO/IEC 7812-1 Annex B). In one sum the digits at even places count double, in the other
/// those at odd places.
struct Luhn {
    digits: Vec<u8>,
    sums: [Vec<u32>; 2],
}

impl Luhn {
    fn of(text: &str) -> Self {
        let digits: Vec<u8> =
            text.bytes().filter(u8::is_ascii_digit).map(|byte| byte - b'0').collect();
        let sums = [0, 1].map(|parity| {
            let mut sum = 0;
            let sums = digits.iter().enumerate().map(|(at, digit)| {
                let digit = u32::from(*digit);
                let double = if digit > 4 { digit * 2 - 9 } else { digit * 2 };
                sum += if at % 2 == parity { double } else { digit };
                sum
            });
            std::iter::once(0).chain(sums).collect()
        });
        Self { digits, sums }
    }

    /// Whether the digits from one place to another are a card's. Twelve are only of the schemes
    /// that have such: by chance every tenth number passes.
    fn accepts(&self, start: usize, end: usize) -> bool {
        let first = self.digits.get(start);
        let is_length = match end - start {
            12 => first.is_some_and(|digit| matches!(digit, 5 | 6)),
            length => (13..=19).contains(&length),
        };
        // The last digit counts once, so those at its neighbour's parity count double.
        let sums = self.sums.get(end % 2);
        let sum = sums.and_then(|sums| Some(sums.get(end)? - sums.get(start)?));
        is_length && sum.is_some_and(|sum| sum.is_multiple_of(10))
    }
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

fn passes_luhn(text: &str) -> bool {
    let digits = text.bytes().rev().filter(u8::is_ascii_digit).map(|byte| u32::from(byte - b'0'));
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
    let compact = || text.bytes().filter(|byte| !byte.is_ascii_whitespace());
    let remainder =
        compact().skip(4).chain(compact().take(4)).fold(0_u32, |rest, byte| match byte {
            b'0'..=b'9' => (rest * 10 + u32::from(byte - b'0')) % 97,
            b'A'..=b'Z' => (rest * 100 + u32::from(byte - b'A') + 10) % 97,
            b'a'..=b'z' => (rest * 100 + u32::from(byte - b'a') + 10) % 97,
            _ => rest,
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
    fn phone_numbers_are_known_by_their_form_or_by_a_word_beside_them() {
        for (text, number) in [
            ("00 1", ""),
            ("001-518-640-0854", "001-518-640-0854"),
            ("at 0490 39 07 81 today", "0490 39 07 81"),
            ("01.84.17.61.18", "01.84.17.61.18"),
            ("(99) 645-791", "(99) 645-791"),
            ("Phone:\n60-56-85-91", "60-56-85-91"),
            ("call me at 9498777106", "9498777106"),
            ("416 60 039 office", "416 60 039"),
            ("259.735.7502x459", "259.735.7502x459"),
            ("on 01.02.2024", ""),
            ("version 0.18.22", ""),
            ("60-56-85-91", ""),
        ] {
            let spans = find(text, &[Kind::Phone]);
            let found: Vec<&str> = spans.into_iter().map(|span| &text[span.bytes]).collect();
            let expected: Vec<&str> = [number].into_iter().filter(|it| !it.is_empty()).collect();
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn addresses_of_machines_and_national_numbers_are_found() {
        assert_eq!(
            found("10.1.2.3 and fe80::1ff:fe23:4567:890a, SSN 054-28-6917, CPF 529.982.247-25"),
            [
                (Kind::Ip, "10.1.2.3"),
                (Kind::Ip, "fe80::1ff:fe23:4567:890a"),
                (Kind::NationalId, "054-28-6917"),
                (Kind::NationalId, "529.982.247-25"),
            ]
        );
        for text in [
            "version 1.2.3.4",
            "v1.2.3.4",
            "1.2.3.4.5",
            "256.1.1.1",
            "12:30:45",
            "a::b",
            "std::fmt",
        ] {
            assert_eq!(found(text), [], "{text}");
        }
    }

    #[test]
    fn accounts_are_found_in_small_letters_and_cards_of_twelve_digits() {
        assert_eq!(found("gb82west12345698765432"), [(Kind::Iban, "gb82west12345698765432")]);
        assert_eq!(found("card 630427373398"), [(Kind::Card, "630427373398")]);
        assert_eq!(found("order 430427373394"), []);
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
