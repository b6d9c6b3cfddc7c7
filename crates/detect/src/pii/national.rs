//! Numbers that states give to people, and the lengths of their banks' accounts.
//!
//! Each form is strict, and its check decides where there is one.

use super::passes_luhn;
use regex::Regex;
use std::ops::Range;
use std::sync::LazyLock;

/// What may be one of the numbers below.
static CANDIDATE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    super::pattern(concat!(
        r"(?-u:\b)(?:",
        r"[0-9]{3}[- ][0-9]{2}[- ][0-9]{4}",
        r"|[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}",
        r"|[0-9]{8}-?[A-Z]|[XYZ]-?[0-9]{7}-?[A-Z]",
        r"|[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[A-D]",
        r"|[12] ?[0-9]{2} ?[0-9]{2} ?(?:[0-9]{2}|2[AB]) ?[0-9]{3} ?[0-9]{3} ?[0-9]{2}",
        r"|[A-Z]{6}[0-9]{2}[A-EHLMPRST][0-9]{2}[A-Z][0-9]{3}[A-Z]",
        r"|756\.[0-9]{4}\.[0-9]{4}\.[0-9]{2}",
        r"|[0-9]{6}[-+A][0-9]{3}[0-9A-FHJ-NPR-Y]",
        r"|[2-9][0-9]{3}[ -][0-9]{4}[ -][0-9]{4}",
        r"|[0-9]{11}",
        r"|(?i:ssn|social security(?: number)?)[^0-9\n]{1,16}[0-9]{9}",
        r")(?-u:\b)",
    ))
});

/// Finds them, in order.
pub(super) fn find(text: &str) -> Vec<Range<usize>> {
    let Some(pattern) = CANDIDATE.as_ref() else { return Vec::new() };
    let candidates = pattern.find_iter(text).filter(|it| is_id(it.as_str()));
    let found = candidates.map(|candidate| {
        // After its name only the number counts.
        let name = candidate.as_str().find(|it: char| it.is_ascii_digit()).unwrap_or(0);
        let has_name = candidate.as_str().starts_with(['s', 'S']) && name >= 4;
        candidate.start() + if has_name { name } else { 0 }..candidate.end()
    });
    found.collect()
}

fn is_id(text: &str) -> bool {
    let digits: Vec<u32> = text.chars().filter_map(|it| it.to_digit(10)).collect();
    is_ssn(text, &digits)
        || is_cpf(text, &digits)
        || is_dni(text)
        || is_nino(text)
        || is_nir(text)
        || is_codice_fiscale(text)
        || is_ahv(text, &digits)
        || is_hetu(text)
        || (text.len() == 11 && text.contains(['-', '+']) && is_day(&digits) && passes_luhn(text))
        || is_aadhaar(text, &digits)
        || is_pesel(text, &digits)
}

fn number(digits: &[u32]) -> u32 {
    digits.iter().fold(0, |number, digit| number * 10 + digit)
}

fn part(digits: &[u32], range: Range<usize>) -> u32 {
    digits.get(range).map_or(0, number)
}

/// United States: no check, but numbers that are never given.
fn is_ssn(text: &str, digits: &[u32]) -> bool {
    let is_form =
        text.len() == 11 && text.as_bytes().get(3) == text.as_bytes().get(6) && !text.contains('.');
    let is_named = text.starts_with(['s', 'S']);
    let area = part(digits, 0..3);
    let is_given = area != 0 && area != 666 && part(digits, 3..5) != 0 && part(digits, 5..9) != 0;
    digits.len() == 9 && (is_form && area < 900 || is_named) && is_given
}

/// Brazil: two check digits by mod 11.
fn is_cpf(text: &str, digits: &[u32]) -> bool {
    let check = |count: usize| {
        let weights = (2..).take(count).collect::<Vec<u32>>();
        let sum: u32 = digits.iter().zip(weights.iter().rev()).map(|(a, b)| a * b).sum();
        digits.get(count).is_some_and(|digit| *digit == sum * 10 % 11 % 10)
    };
    let is_one = digits.windows(2).all(|two| two.first() == two.last());
    text.len() == 14 && text.contains('.') && digits.len() == 11 && !is_one && check(9) && check(10)
}

/// Spain: a letter by mod 23.
fn is_dni(text: &str) -> bool {
    let compact: String = text.chars().filter(|it| *it != '-').collect();
    let Some((head, letter)) =
        compact.len().checked_sub(1).and_then(|at| compact.split_at_checked(at))
    else {
        return false;
    };
    let plain = match head.chars().next() {
        Some('X') => head.replacen('X', "0", 1),
        Some('Y') => head.replacen('Y', "1", 1),
        Some('Z') => head.replacen('Z', "2", 1),
        _ => head.to_owned(),
    };
    let Ok(value) = plain.parse::<usize>() else { return false };
    plain.len() == 8 && "TRWAGMYFPDXBNJZSQVHLCKE".get(value % 23..value % 23 + 1) == Some(letter)
}

/// United Kingdom: no check, but letters that are never given.
fn is_nino(text: &str) -> bool {
    let compact: String = text.chars().filter(|it| *it != ' ').collect();
    let (head, tail) = compact.split_at_checked(2).unwrap_or_default();
    compact.len() == 9
        && head.bytes().all(|it| it.is_ascii_uppercase())
        && tail.bytes().take(6).all(|it| it.is_ascii_digit())
        && tail.ends_with(['A', 'B', 'C', 'D'])
        && !matches!(head, "BG" | "GB" | "NK" | "KN" | "TN" | "NT" | "ZZ")
}

/// France: 97 less the rest of the number by 97.
fn is_nir(text: &str) -> bool {
    let compact: String = text.chars().filter(|it| *it != ' ').collect();
    let compact = compact.replace("2A", "19").replace("2B", "18");
    let (Some(head), Some(key)) = (compact.get(..13), compact.get(13..)) else { return false };
    let (Ok(head), Ok(key)) = (head.parse::<u64>(), key.parse::<u64>()) else { return false };
    let month = head / 100_000_000 % 100;
    compact.len() == 15 && (1..=12).contains(&month) && key == 97 - head % 97
}

/// Italy: a letter by the sum of values that differ for odd places.
fn is_codice_fiscale(text: &str) -> bool {
    const ODD: [u32; 26] = [
        1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24,
        23,
    ];
    let values: Vec<u32> = text.chars().filter_map(|it| it.to_digit(36)).collect();
    let plain = |value: u32| if value >= 10 { value - 10 } else { value };
    let sum: u32 = values
        .iter()
        .take(15)
        .enumerate()
        .map(|(at, value)| {
            let value = plain(*value);
            let odd = usize::try_from(value).ok().and_then(|it| ODD.get(it)).copied().unwrap_or(0);
            if at % 2 == 0 { odd } else { value }
        })
        .sum();
    let is_form = text.len() == 16 && text.bytes().take(6).all(|it| it.is_ascii_uppercase());
    is_form && values.get(15).is_some_and(|check| *check >= 10 && plain(*check) == sum % 26)
}

/// Switzerland: the check digit of EAN-13.
fn is_ahv(text: &str, digits: &[u32]) -> bool {
    let sum: u32 = digits.iter().zip([1, 3].into_iter().cycle()).map(|(a, b)| a * b).sum();
    text.starts_with("756.") && digits.len() == 13 && sum.is_multiple_of(10)
}

/// Finland: a character by mod 31.
fn is_hetu(text: &str) -> bool {
    let (Some(day), Some(order), Some(check)) = (text.get(..6), text.get(7..10), text.get(10..))
    else {
        return false;
    };
    let Ok(value) = format!("{day}{order}").parse::<usize>() else { return false };
    let digits: Vec<u32> = day.chars().filter_map(|it| it.to_digit(10)).collect();
    let is_date =
        (1..=31).contains(&part(&digits, 0..2)) && (1..=12).contains(&part(&digits, 2..4));
    let letters = "0123456789ABCDEFHJKLMNPRSTUVWXY";
    text.len() == 11 && is_date && letters.get(value % 31..value % 31 + 1) == Some(check)
}

/// Whether a number begins with a day: year, month, day.
fn is_day(digits: &[u32]) -> bool {
    (1..=12).contains(&part(digits, 2..4)) && (1..=31).contains(&part(digits, 4..6))
}

/// India: the check digit of Verhoeff.
fn is_aadhaar(text: &str, digits: &[u32]) -> bool {
    text.len() == 14 && digits.len() == 12 && !text.contains('.') && passes_verhoeff(digits)
}

/// Digits under the group of a regular pentagon's symmetries, as Verhoeff's code has it.
fn passes_verhoeff(digits: &[u32]) -> bool {
    const PERMUTED: [u32; 10] = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4];
    let times = |a: u32, b: u32| match (a < 5, b < 5) {
        (true, true) => (a + b) % 5,
        (true, false) => (a + b) % 5 + 5,
        (false, true) => (a + 5 - b) % 5 + 5,
        (false, false) => (a + 5 - b) % 5,
    };
    let permute = |digit: u32, count: usize| {
        (0..count % 8).fold(digit, |it, _| {
            usize::try_from(it).ok().and_then(|it| PERMUTED.get(it)).copied().unwrap_or(0)
        })
    };
    let all = digits.iter().rev().enumerate();
    all.fold(0, |sum, (at, digit)| times(sum, permute(*digit, at))) == 0
}

/// Poland: weights of 1, 3, 7, 9, and a day whose month tells the century.
fn is_pesel(text: &str, digits: &[u32]) -> bool {
    let sum: u32 = digits.iter().zip([1, 3, 7, 9].into_iter().cycle()).map(|(a, b)| a * b).sum();
    // The check digit itself counts once.
    let last = digits.last().copied().unwrap_or(0);
    let sum = sum - last * 7 + last;
    let month = part(digits, 2..4) % 20;
    let is_date = (1..=12).contains(&month) && (1..=31).contains(&part(digits, 4..6));
    text.len() == 11 && digits.len() == 11 && is_date && sum.is_multiple_of(10)
}

/// Lengths of accounts by country (ISO 13616 registry).
#[rustfmt::skip]
const IBAN_LENGTHS: &[(&str, usize)] = &[
    ("AD", 24), ("AE", 23), ("AL", 28), ("AT", 20), ("AZ", 28), ("BA", 20), ("BE", 16), ("BG", 22),
    ("BH", 22), ("BR", 29), ("BY", 28), ("CH", 21), ("CR", 22), ("CY", 28), ("CZ", 24), ("DE", 22),
    ("DK", 18), ("DO", 28), ("EE", 20), ("EG", 29), ("ES", 24), ("FI", 18), ("FO", 18), ("FR", 27),
    ("GB", 22), ("GE", 22), ("GI", 23), ("GL", 18), ("GR", 27), ("GT", 28), ("HR", 21), ("HU", 28),
    ("IE", 22), ("IL", 23), ("IQ", 23), ("IS", 26), ("IT", 27), ("JO", 30), ("KW", 30), ("KZ", 20),
    ("LB", 28), ("LC", 32), ("LI", 21), ("LT", 20), ("LU", 20), ("LV", 21), ("MC", 27), ("MD", 24),
    ("ME", 22), ("MK", 19), ("MR", 27), ("MT", 31), ("MU", 30), ("NL", 18), ("NO", 15), ("PK", 24),
    ("PL", 28), ("PS", 29), ("PT", 25), ("QA", 29), ("RO", 24), ("RS", 22), ("SA", 24), ("SC", 31),
    ("SE", 24), ("SI", 19), ("SK", 24), ("SM", 27), ("TL", 23), ("TN", 24), ("TR", 26), ("UA", 29),
    ("VA", 22), ("VG", 24), ("XK", 20), ("BI", 27), ("DJ", 27), ("FK", 18), ("HN", 28), ("LY", 25),
    ("MN", 20), ("NI", 28), ("OM", 23), ("RU", 33), ("SD", 18), ("SO", 23), ("ST", 25), ("SV", 28),
    ("YE", 30), ("DZ", 26), ("IR", 26), ("SN", 28), ("CI", 28), ("CM", 27), ("MA", 28), ("MG", 27),
];

/// The length of an account that begins so: with a country and two digits.
pub(super) fn iban_length(text: &str) -> Option<usize> {
    let (country, rest) = text.split_at_checked(2)?;
    let has_check = rest.bytes().take(2).filter(u8::is_ascii_digit).count() == 2;
    let of = IBAN_LENGTHS.iter().find(|(name, _)| country.eq_ignore_ascii_case(name));
    of.filter(|_| has_check).map(|(_, length)| *length)
}

/// Whether a compact text in any case is an account of the country that it names.
pub(super) fn is_iban(text: &str) -> bool {
    iban_length(text) == Some(text.len()) && super::passes_mod_97(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_is_known_by_its_check() {
        for id in [
            "054-28-6917",
            "529.982.247-25",
            "12345678Z",
            "X1234567L",
            "AB 12 34 56 C",
            "1 84 12 76 451 089 46",
            "RSSMRA85T10A562S",
            "756.9217.0769.85",
            "131052-308T",
            "811218-9876",
            "2341 2341 2346",
            "44051401359",
        ] {
            let found = find(&format!("no {id}, yes"));
            assert_eq!(found.first(), Some(&(3..3 + id.len())), "{id}");
        }
        assert_eq!(find("SSN: 054286917").first(), Some(&(5..14)));
    }

    #[test]
    fn one_digit_off_is_no_number() {
        for id in [
            "000-28-6917",
            "666-28-6917",
            "529.982.247-26",
            "12345678A",
            "X1234567A",
            "GB 12 34 56 C",
            "1 84 12 76 451 089 47",
            "RSSMRA85T10A562T",
            "756.9217.0769.84",
            "131052-308U",
            "811218-9875",
            "2341 2341 2345",
            "44051401358",
            "111.111.111-11",
        ] {
            assert!(find(&format!("no {id}, yes")).is_empty(), "{id}");
        }
        assert!(is_iban("gb82west12345698765432"));
        assert!(!is_iban("gb82west1234569876543"));
        assert!(!is_iban("gb83west12345698765432"));
    }
}
