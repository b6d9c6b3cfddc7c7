//! What a person has written, and whether it names a value.
//!
//! Positive matching only: a value is named if it stands there, whole. What merely resembles it
//! does not count, so that nothing is gained by encoding, folding or splitting.

use std::collections::{BTreeMap, BTreeSet};

/// Bytes of a person's words that are kept. What is beyond names nothing.
pub const WORDS_BYTES_MAX: usize = 64 * 1024;
/// Digits up to which a number names an object only where it is called a number: `12` stands in
/// `12:00` too.
const SHORT_NUMBER_DIGITS: usize = 6;
/// Bytes that a word takes, twice, besides the text.
const WORD_OVERHEAD_BYTES: usize = 80;
/// Letters that a single word needs to name something by itself.
const WORD_LETTERS_MIN: usize = 4;
/// What a number is called where it identifies something.
const NUMBER_WORDS: [&str; 8] = ["id", "ids", "number", "no", "nr", "#", "ref", "reference"];
/// What stands before a number that identifies something: it is no amount that bounds others.
const IDENTIFIED: [&str; 8] =
    ["account", "acct", "iban", "phone", "invoice", "ticket", "room", "code"];
/// Bytes of a word with digits that tells something by itself: nobody says `9` of one thing only.
const NUMBER_BYTES_MIN: usize = 5;
/// Digits from which on a bare number is taken for an account or a telephone.
const LONG_NUMBER_DIGITS: usize = 7;
/// Words of a sentence that are nobody's name, however they stand there.
const GRAMMAR_WORDS: [&str; 68] = [
    "a",
    "all",
    "am",
    "an",
    "and",
    "any",
    "anybody",
    "anyone",
    "are",
    "as",
    "at",
    "be",
    "both",
    "but",
    "by",
    "can",
    "did",
    "do",
    "each",
    "every",
    "everybody",
    "everyone",
    "everything",
    "for",
    "had",
    "has",
    "he",
    "her",
    "him",
    "his",
    "how",
    "i",
    "if",
    "in",
    "is",
    "it",
    "its",
    "let",
    "my",
    "nobody",
    "none",
    "not",
    "of",
    "off",
    "on",
    "or",
    "our",
    "out",
    "she",
    "so",
    "than",
    "the",
    "to",
    "too",
    "up",
    "us",
    "was",
    "we",
    "were",
    "who",
    "whoever",
    "why",
    "would",
    "yes",
    "yet",
    "you",
    "your",
    "yours",
];
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
    /// Where each word stands among `tokens`.
    at: BTreeMap<String, Vec<usize>>,
    numbers: BTreeSet<i128>,
    /// The largest of those that are amounts.
    largest: Option<i128>,
}

/// How a name of something stands in a person's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// All of its words.
    Whole,
    /// Without the ending of a file's name, which people leave out.
    WithoutEnding,
}

impl Words {
    /// Adds what was written, if there is something new. Beyond the bound, nothing.
    pub(super) fn hear(&mut self, text: &str) -> bool {
        let room = WORDS_BYTES_MAX.saturating_sub(self.text.len());
        if room == 0 {
            return false;
        }
        let mut end = room.min(text.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let heard = fold(text.get(..end).unwrap_or_default());
        for token in tokens(&heard) {
            self.at.entry(token.to_owned()).or_default().push(self.tokens.len());
            self.tokens.push(token.to_owned());
        }
        // What was said before ends here: no name goes on from one text to the next.
        self.tokens.push(String::new());
        for (number, is_amount) in numbers(&heard) {
            self.numbers.insert(number);
            self.largest = self.largest.max(Some(number).filter(|_| is_amount));
        }
        self.text.push('\n');
        self.text.push_str(&heard);
        true
    }

    /// Whether nothing was said.
    pub(super) fn is_empty(&self) -> bool {
        self.at.is_empty()
    }

    /// Whether a value stands there whole: an address, an account, a secret.
    pub(super) fn quote(&self, value: &str) -> bool {
        let value = fold(value.trim());
        if tokens(&value).all(is_of_sentence) {
            return false;
        }
        let is_short_number = Self::is_weak(&value);
        places(&self.text, &value).any(|at| !is_short_number || self.is_called_number(at))
    }

    /// Whether a value stands there that nobody says by the way: one plain word only in quotation
    /// marks.
    pub(super) fn give(&self, value: &str) -> bool {
        let value = fold(value.trim());
        let is_mark = |c: Option<char>| {
            c.is_some_and(|c| {
                matches!(c, '"' | '\'' | '`' | '“' | '”' | '„' | '‘' | '’' | '«' | '»')
            })
        };
        let is_marked = |at: usize| {
            let before = self.text.get(..at).unwrap_or_default().chars().next_back();
            let after = self.text.get(at + value.len()..).unwrap_or_default().chars().next();
            is_mark(before) && is_mark(after)
        };
        let is_plain = value.chars().all(char::is_alphabetic);
        self.quote(&value) && (!is_plain || places(&self.text, &value).any(is_marked))
    }

    /// Whether an address stands there, with or without its scheme.
    pub(super) fn quote_address(&self, url: &str) -> bool {
        let url = fold(url.trim());
        let bare = without_scheme(&url);
        let bare = bare.strip_suffix('/').unwrap_or(bare);
        bare.len() > 3 && (places(&self.text, bare).next().is_some())
    }

    /// Whether a name of something stands there: its words one after the other. One word alone
    /// has to be more than a word that stands in every sentence, and so has one of several.
    pub(super) fn name(&self, name: &str) -> bool {
        self.named(&fold(name)).is_some()
    }

    /// How a folded name stands there.
    pub(super) fn named(&self, name: &str) -> Option<Named> {
        let wanted: Vec<&str> = tokens(name).collect();
        let is_telling = match wanted.as_slice() {
            [only] => {
                only.chars().count() >= WORD_LETTERS_MIN
                    && !is_of_sentence(only)
                    && !Self::is_weak(only)
            }
            several => several.iter().any(|word| !is_of_sentence(word) && !Self::is_weak(word)),
        };
        if !is_telling {
            None
        } else if self.stands(&wanted) {
            Some(Named::Whole)
        } else {
            let stem = without_ending(name, &wanted)?;
            self.stands(stem).then_some(Named::WithoutEnding)
        }
    }

    fn stands(&self, wanted: &[&str]) -> bool {
        let Some(places) = wanted.first().and_then(|first| self.at.get(*first)) else {
            return false;
        };
        let is_whole = |at: &usize| {
            let window = self.tokens.get(*at..at + wanted.len()).unwrap_or_default();
            window.iter().eq(wanted)
        };
        places.iter().any(is_whole)
    }

    /// Whether a value that only identifies something together with its kind: a short number.
    pub(super) fn is_weak(value: &str) -> bool {
        value.len() <= SHORT_NUMBER_DIGITS && is_digits(value)
    }

    /// Bytes that all of this takes, by and large.
    pub(super) fn bytes(&self) -> usize {
        self.text.len() + self.tokens.len() * WORD_OVERHEAD_BYTES
    }

    /// Whether an amount stands there.
    pub(super) fn says_number(&self, number: i128) -> bool {
        self.numbers.contains(&number)
    }

    /// The largest amount that stands there, of those that are no account and no number of
    /// anything.
    pub(super) const fn largest_number(&self) -> Option<i128> {
        self.largest
    }

    /// Whether a word stands there.
    pub(super) fn has(&self, token: &str) -> bool {
        self.at.contains_key(token)
    }

    /// Whether a word stands there that begins so.
    pub(super) fn has_stem(&self, stem: &str) -> bool {
        let mut from = self.at.range(stem.to_owned()..);
        from.next().is_some_and(|(token, _)| token.starts_with(stem))
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

/// A text as it is compared: lower case, one kind of blank. A sign that lower case would turn into
/// another letter's (the one for kelvin) stays what it is.
pub(super) fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for c in text.chars() {
        let mut lower = c.to_lowercase();
        match (lower.next(), lower.next()) {
            _ if c.is_whitespace() => folded.push(' '),
            (Some(small), None) if small == c || small.to_uppercase().eq([c]) => folded.push(small),
            _ => folded.push(c),
        }
    }
    folded
}

/// Whether a word stands in every sentence.
fn is_of_sentence(word: &str) -> bool {
    GRAMMAR_WORDS.contains(&word) || FUNCTION_WORDS.contains(&word)
}

/// Whether a folded name has one word at most that tells anything: no number, no address, no two
/// words.
pub(super) fn is_plain(folded: &str) -> bool {
    let mut words = tokens(folded).filter(|word| !is_of_sentence(word));
    let first = words.next().unwrap_or_default();
    let is_number = first.len() >= NUMBER_BYTES_MIN && first.bytes().any(|it| it.is_ascii_digit());
    words.next().is_none() && !is_number
}

/// What one name is told from another by: its words, whatever stands between them.
pub(super) fn name_key(folded: &str) -> String {
    if amount(folded).is_some() {
        return folded.to_owned();
    }
    let words: Vec<&str> = tokens(folded).collect();
    if words.is_empty() { folded.to_owned() } else { words.join(" ") }
}

/// The same without the ending of a file's name.
pub(super) fn stem_key(folded: &str) -> Option<String> {
    let words: Vec<&str> = tokens(folded).collect();
    Some(without_ending(folded, &words)?.join(" "))
}

/// A folded address without the scheme of the web. What any other scheme is followed by need not be
/// where it leads: `evil.example/?x://shop.example`.
pub(super) fn without_scheme(address: &str) -> &str {
    let rest = address.strip_prefix("https://").or_else(|| address.strip_prefix("http://"));
    rest.unwrap_or(address)
}

/// The words of a folded text.
pub(super) fn tokens(folded: &str) -> impl Iterator<Item = &str> {
    folded.split(|c: char| !c.is_alphanumeric()).filter(|token| !token.is_empty())
}

/// Where a value stands whole: nothing that could be part of it comes before or after.
fn places<'t>(text: &'t str, value: &'t str) -> impl Iterator<Item = usize> + 't {
    let found = (!value.is_empty()).then(|| text.match_indices(value)).into_iter().flatten();
    // `o'neil@` is one mailbox, `d'Anna` are two words.
    let is_mailbox = value.contains('@');
    found.map(|(at, _)| at).filter(move |at| {
        let before = text.get(..*at).unwrap_or_default().chars().rev();
        let after = text.get(at + value.len()..).unwrap_or_default().chars();
        !continues(before, is_mailbox) && !continues(after, false)
    })
}

/// Whether a value would go on here: a letter or digit, at once or after what joins those.
fn continues(mut next: impl Iterator<Item = char>, is_mailbox: bool) -> bool {
    match next.next() {
        Some(c) if is_part(c) => true,
        Some('@' | '.' | '_' | '-' | '+' | '/' | '%' | '=' | '&' | ':') => {
            next.next().is_some_and(is_part)
        }
        Some('\'' | '’' | '!' | '#' | '$' | '*' | '^' | '`' | '{' | '|' | '}' | '~')
            if is_mailbox =>
        {
            next.next().is_some_and(is_part)
        }
        Some(_) | None => false,
    }
}

/// A letter, a digit, a mark on one, or what stands between two unseen.
fn is_part(c: char) -> bool {
    c.is_alphanumeric()
        || matches!(c,
            '\u{ad}' | '\u{300}'..='\u{36f}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}'
            | '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{20d0}'..='\u{20ff}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{fe20}'..='\u{fe2f}' | '\u{feff}')
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

/// Numbers that stand by themselves in a text: no parts of dates, times, accounts or years. Each
/// with whether it is an amount, and not what something is called by.
fn numbers(folded: &str) -> Vec<(i128, bool)> {
    let parts =
        folded.split(|c: char| c.is_whitespace() || matches!(c, '(' | ')' | ';' | '"' | '\''));
    let mut found = Vec::new();
    let mut before = "";
    for part in parts.filter(|part| !part.is_empty()) {
        let end = |c: char| matches!(c, ',' | '.' | '?' | '!' | ':');
        let bare = part.trim_matches(end);
        let names = IDENTIFIED.contains(&before) || NUMBER_WORDS.contains(&before);
        let is_long = bare.len() >= LONG_NUMBER_DIGITS && is_digits(bare);
        let value = amount(&part.trim_matches(|c| end(c) || is_currency(c)).replace(',', ""));
        let value = value.filter(|value| !is_year(*value));
        found.extend(value.map(|value| (value, !names && !is_long)));
        before = bare;
    }
    found
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
        assert_eq!(said.numbers.iter().copied().collect::<Vec<_>>(), [100_000, 22_005_000]);
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
