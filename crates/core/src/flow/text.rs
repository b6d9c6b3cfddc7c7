//! What a person has written, and whether it names a value.
//!
//! Positive matching only: a value is named if it stands there, whole. What merely resembles it
//! does not count, so that nothing is gained by encoding, folding or splitting.

use std::collections::BTreeSet;

/// Bytes of a person's words that are kept. What is beyond names nothing.
pub const WORDS_BYTES_MAX: usize = 64 * 1024;
/// Digits up to which a number names an object only where it is called a number: `12` stands in
/// `12:00` too.
const SHORT_NUMBER_DIGITS: usize = 6;
/// Letters that a single word needs to name something by itself.
const WORD_LETTERS_MIN: usize = 4;
/// What a number is called where it identifies something.
const NUMBER_WORDS: [&str; 8] = ["id", "ids", "number", "no", "nr", "#", "ref", "reference"];
/// Words that name nothing by themselves.
const FUNCTION_WORDS: [&str; 48] = [
    "about", "after", "again", "also", "before", "been", "could", "does", "done", "email",
    "emails", "event", "file", "files", "find", "from", "give", "have", "here", "into", "just",
    "know", "list", "make", "mail", "message", "more", "much", "need", "only", "over", "please",
    "send", "should", "some", "that", "their", "them", "then", "there", "they", "this", "what",
    "when", "where", "which", "will", "with",
];

/// A person's words, read once.
#[derive(Clone, Debug, Default)]
pub(super) struct Words {
    text: String,
    tokens: Vec<String>,
    set: BTreeSet<String>,
    numbers: Vec<i128>,
}

impl Words {
    /// Adds what was written. Beyond the bound, nothing.
    pub(super) fn hear(&mut self, text: &str) {
        let room = WORDS_BYTES_MAX.saturating_sub(self.text.len());
        let mut end = room.min(text.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let heard = fold(text.get(..end).unwrap_or_default());
        let tokens: Vec<String> = tokens(&heard).map(str::to_owned).collect();
        self.set.extend(tokens.iter().cloned());
        self.tokens.extend(tokens);
        self.numbers.extend(numbers(&heard));
        self.text.push('\n');
        self.text.push_str(&heard);
    }

    /// Whether nothing was said.
    pub(super) fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Whether a value stands there whole: an address, an account, a secret.
    pub(super) fn quote(&self, value: &str) -> bool {
        let value = fold(value.trim());
        let is_short_number = value.len() <= SHORT_NUMBER_DIGITS && is_digits(&value);
        places(&self.text, &value).any(|at| !is_short_number || self.is_called_number(at))
    }

    /// Whether an address stands there, with or without its scheme.
    pub(super) fn quote_address(&self, url: &str) -> bool {
        let url = fold(url.trim());
        let bare = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
        let bare = bare.strip_suffix('/').unwrap_or(bare);
        bare.len() > 3 && (places(&self.text, bare).next().is_some())
    }

    /// Whether a name of something stands there: its words one after the other. One word alone
    /// has to be more than a word that stands in every sentence.
    pub(super) fn name(&self, name: &str) -> bool {
        let name = fold(name);
        let wanted: Vec<&str> = tokens(&name).collect();
        match wanted.as_slice() {
            [] => false,
            [only] => {
                let is_telling = only.chars().count() >= WORD_LETTERS_MIN
                    && !FUNCTION_WORDS.contains(only)
                    && !(only.len() <= SHORT_NUMBER_DIGITS && is_digits(only));
                is_telling && self.set.contains(*only)
            }
            _ => {
                let stands = |wanted: &[&str]| {
                    self.tokens.windows(wanted.len()).any(|window| window.iter().eq(wanted))
                };
                // People leave the ending of a file's name out.
                stands(&wanted) || without_ending(&name, &wanted).is_some_and(stands)
            }
        }
    }

    /// Whether a value that only identifies something together with its kind: a short number.
    pub(super) fn is_weak(value: &str) -> bool {
        value.len() <= SHORT_NUMBER_DIGITS && is_digits(value)
    }

    /// Whether an amount stands there.
    pub(super) fn says_number(&self, number: i128) -> bool {
        self.numbers.contains(&number)
    }

    /// The largest amount that stands there.
    pub(super) fn largest_number(&self) -> Option<i128> {
        self.numbers.iter().copied().max()
    }

    /// Whether a word stands there.
    pub(super) fn has(&self, token: &str) -> bool {
        self.set.contains(token)
    }

    /// Whether a word stands there that begins so.
    pub(super) fn has_stem(&self, stem: &str) -> bool {
        let mut from = self.set.range(stem.to_owned()..);
        from.next().is_some_and(|token| token.starts_with(stem))
    }

    /// What stands there and looks like an address: what a person may have meant.
    pub(super) fn addresses(&self) -> impl Iterator<Item = &str> {
        let parts = self.text.split(|c: char| c.is_whitespace() || "\"'<>(),;".contains(c));
        parts.map(|part| part.trim_end_matches(['.', ':'])).filter(|part| part.contains('@'))
    }

    fn is_called_number(&self, at: usize) -> bool {
        let before = self.text.get(..at).unwrap_or_default().trim_end_matches(|c: char| {
            c.is_whitespace() || matches!(c, ':' | '.' | '\'' | '"' | '=' | '(')
        });
        NUMBER_WORDS.iter().any(|word| {
            let before = before.strip_suffix(word);
            before.is_some_and(|rest| {
                *word == "#" || !rest.chars().next_back().is_some_and(char::is_alphanumeric)
            })
        })
    }
}

/// A text as it is compared: lower case, one kind of blank.
pub(super) fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            // Signs that lower case would turn into letters: they stay what they are.
            '\u{2126}' | '\u{212a}' | '\u{212b}' => folded.push(c),
            c if c.is_whitespace() => folded.push(' '),
            c => folded.extend(c.to_lowercase()),
        }
    }
    folded
}

/// The words of a folded text.
pub(super) fn tokens(folded: &str) -> impl Iterator<Item = &str> {
    folded.split(|c: char| !c.is_alphanumeric()).filter(|token| !token.is_empty())
}

/// Where a value stands whole: nothing that could be part of it comes before or after.
fn places<'t>(text: &'t str, value: &'t str) -> impl Iterator<Item = usize> + 't {
    let found = (!value.is_empty()).then(|| text.match_indices(value)).into_iter().flatten();
    found.map(|(at, _)| at).filter(move |at| {
        let before = text.get(..*at).unwrap_or_default().chars().rev();
        let after = text.get(at + value.len()..).unwrap_or_default().chars();
        !continues(before) && !continues(after)
    })
}

/// Whether a value would go on here: a letter or digit, at once or after what joins those.
fn continues(mut next: impl Iterator<Item = char>) -> bool {
    match next.next() {
        Some(c) if c.is_alphanumeric() => true,
        Some('@' | '.' | '_' | '-' | '+' | '/' | '%' | '=' | '&' | ':') => {
            next.next().is_some_and(char::is_alphanumeric)
        }
        Some(_) | None => false,
    }
}

/// The words of a file's name without its ending, if at least two are left.
fn without_ending<'w>(name: &str, words: &'w [&'w str]) -> Option<&'w [&'w str]> {
    let (_, ending) = name.rsplit_once('.')?;
    let (last, rest) = words.split_last()?;
    (*last == ending && ending.len() <= 5 && rest.len() >= 2).then_some(rest)
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Decimals that are kept of amounts.
const DECIMALS: u32 = 4;

/// An amount in ten-thousandths, if it is one: digits, with a point and decimals or without.
pub(super) fn amount(text: &str) -> Option<i128> {
    let (is_negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let fraction = fraction.trim_end_matches('0');
    let is_plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || whole.len() > 24 || !is_plain(whole) || !is_plain(fraction) {
        return None;
    }
    let decimals = u32::try_from(fraction.len()).ok().filter(|count| *count <= DECIMALS)?;
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let value = digits.checked_mul(10_i128.pow(DECIMALS - decimals))?;
    Some(if is_negative { -value } else { value })
}

/// Amounts that stand by themselves in a text: no parts of dates, times, accounts or years.
fn numbers(folded: &str) -> Vec<i128> {
    let parts =
        folded.split(|c: char| c.is_whitespace() || matches!(c, '(' | ')' | ';' | '"' | '\''));
    let parts = parts.map(|part| {
        part.trim_matches(|c: char| matches!(c, ',' | '.' | '?' | '!' | ':') || is_currency(c))
    });
    let plain = parts.filter_map(|part| amount(&part.replace(',', "")));
    plain.filter(|value| !is_year(*value)).collect()
}

fn is_currency(c: char) -> bool {
    matches!(c, '$' | '€' | '£' | '¥')
}

fn is_year(value: i128) -> bool {
    let one = 10_i128.pow(DECIMALS);
    value % one == 0 && (1900..=2100).contains(&(value / one))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Words {
        let mut words = Words::default();
        words.hear(text);
        words
    }

    #[test]
    fn a_value_is_quoted_if_it_stands_there_whole() {
        let said =
            words("Mail bob@example.com, and pay GB29NWBK60161331926819. See www.shop.example/a");
        for whole in ["bob@example.com", "BOB@example.com", "GB29NWBK60161331926819"] {
            assert!(said.quote(whole), "{whole}");
        }
        // The sign for kelvin is not the letter.
        assert!(!words("mail kim@example.com").quote("\u{212a}im@example.com"));
        for part in ["b@example.com", "bob@example.co", "example.com", "GB29", "", "shop.example"] {
            assert!(!said.quote(part), "{part}");
        }
        assert!(said.quote_address("https://www.shop.example/a/"));
        for other in ["https://www.shop.example", "http://www.shop.example/a?x=1", "http://a"] {
            assert!(!said.quote_address(other), "{other}");
        }
    }

    #[test]
    fn a_short_number_names_an_object_only_where_it_is_called_one() {
        let said = words("At 12:00 cancel the event with ID 24, no. 7 and #9; not 13");
        for named in ["24", "7", "9"] {
            assert!(said.quote(named), "{named}");
        }
        for other in ["12", "13", "00", "2"] {
            assert!(!said.quote(other), "{other}");
        }
    }

    #[test]
    fn a_name_is_its_words_in_order() {
        let said = words("Invite them to the 'Introductory meeting', and adjust my rent payment");
        for named in ["Introductory Meeting", "introductory-meeting", "Rent"] {
            assert!(said.name(named), "{named}");
        }
        for other in
            ["meeting introductory", "the", "them", "my", "", "--", "Introductory meeting 2"]
        {
            assert!(!said.name(other), "{other}");
        }
    }

    #[test]
    fn amounts_stand_by_themselves() {
        let said =
            words("Rent is 2,200.50 from 2024-05-19 at 12:00, $10.00 back. IBAN 12-34, 2024.");
        assert_eq!(said.numbers, [22_005_000, 100_000]);
        assert_eq!(said.largest_number(), Some(22_005_000));
        assert!(said.says_number(100_000));
        assert_eq!(amount("-1.5"), Some(-15_000));
        for odd in ["", "1e3", "1.00001", "0x1", ".5", "99999999999999999999999999"] {
            assert_eq!(amount(odd), None, "{odd}");
        }
    }

    #[test]
    fn what_is_beyond_the_bound_names_nothing() {
        let mut said = words(&"ä ".repeat(WORDS_BYTES_MAX));
        said.hear("bob@example.com");
        assert!(!said.quote("bob@example.com") && !said.is_empty());
    }
}
