//! From text to words that are compared: folded, and without their endings if that is wanted.
//!
//! A word is a run of letters and digits of any script; in scripts without spaces every character
//! is one. What is done to a word depends on nothing but the word.

use std::str::Chars;

/// Characters of a word: what is longer is compared by its beginning.
pub const WORD_CHARS_MAX: usize = 48;

/// Which endings are taken off words before they are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stemming {
    /// None.
    Plain,
    /// English plurals and a few endings of verbs.
    #[default]
    English,
    /// German endings of cases and plurals.
    German,
}

/// Letters with marks, each before the one without.
const MARKED: &str = "àaáaâaãaäaåaāaăaąaçcćcĉcċcčcďdđdèeéeêeëeēeĕeėeęeěeĝgğgġgģgĥhħhìiíiîiïiĩiīiĭi\
    įiıiĵjķkĺlļlľlłlñnńnņnňnòoóoôoõoöoøoōoŏoőoŕrŗrřrśsŝsşsšsșsţt\
    ťtțtùuúuûuüuũuūuŭuůuűuųuŵwýyÿyŷyźzżzžz";

/// The words of a text, in order.
pub(crate) fn words(text: &str, stemming: Stemming) -> Words<'_> {
    Words { rest: text.chars(), ideograph: None, stemming }
}

/// See [`words`].
pub(crate) struct Words<'a> {
    rest: Chars<'a>,
    ideograph: Option<char>,
    stemming: Stemming,
}

impl Iterator for Words<'_> {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        if let Some(ideograph) = self.ideograph.take() {
            return Some(ideograph.to_string());
        }
        let mut word = String::new();
        let mut length = 0;
        for character in self.rest.by_ref() {
            if is_ideograph(character) {
                if word.is_empty() {
                    return Some(character.to_string());
                }
                self.ideograph = Some(character);
                return Some(stem(word, self.stemming));
            }
            if character.is_alphanumeric() {
                if length < WORD_CHARS_MAX {
                    fold(character, &mut word);
                    length += 1;
                }
            } else if !takes_no_room(character) && !word.is_empty() {
                return Some(stem(word, self.stemming));
            }
        }
        (!word.is_empty()).then(|| stem(word, self.stemming))
    }
}

fn fold(character: char, word: &mut String) {
    if character.is_ascii() {
        word.push(character.to_ascii_lowercase());
        return;
    }
    for lower in character.to_lowercase() {
        match lower {
            'ß' => word.push_str("ss"),
            'æ' => word.push_str("ae"),
            'œ' => word.push_str("oe"),
            _ if takes_no_room(lower) => {}
            _ => word.push(without_mark(lower)),
        }
    }
}

fn without_mark(character: char) -> char {
    if !matches!(character, '\u{e0}'..='\u{21b}') {
        return character;
    }
    let mut pairs = MARKED.chars();
    while let (Some(marked), Some(plain)) = (pairs.next(), pairs.next()) {
        if marked == character {
            return plain;
        }
    }
    character
}

/// Marks that stand on the letter before them, and what splits a word without being seen.
const fn takes_no_room(character: char) -> bool {
    matches!(character, '\u{300}'..='\u{36f}' | '\u{ad}' | '\u{200b}'..='\u{200d}' | '\u{2060}')
}

/// Characters of scripts without spaces between words.
const fn is_ideograph(character: char) -> bool {
    matches!(character,
        '\u{0e00}'..='\u{0eff}' | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}'
        | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

fn stem(word: String, stemming: Stemming) -> String {
    match stemming {
        Stemming::Plain => word,
        Stemming::English => english(word),
        Stemming::German => german(word),
    }
}

fn english(mut word: String) -> String {
    let cut = |word: &mut String, bytes: usize| word.truncate(word.len().saturating_sub(bytes));
    if word.len() < 4 || !word.is_ascii() {
        return word;
    }
    if word.len() > 4 && word.ends_with("ies") {
        cut(&mut word, 3);
        word.push('y');
    } else if word.ends_with("sses") || word.ends_with("xes") || word.ends_with("ches") {
        cut(&mut word, 2);
    } else if word.ends_with('s') && !word.ends_with("ss") && !word.ends_with("us") {
        cut(&mut word, 1);
    }
    if word.len() > 6 && word.ends_with("ing") {
        cut(&mut word, 3);
    } else if word.len() > 5 && word.ends_with("ed") {
        cut(&mut word, 2);
    } else if word.len() > 4 && word.ends_with('e') {
        // `restore` and `restored` come to the same.
        cut(&mut word, 1);
    }
    word
}

fn german(mut word: String) -> String {
    for ending in ["ern", "em", "en", "er", "es", "e", "n", "s"] {
        if word.len() >= ending.len() + 4 && word.ends_with(ending) {
            word.truncate(word.len() - ending.len());
            break;
        }
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str, stemming: Stemming) -> Vec<String> {
        words(text, stemming).collect()
    }

    #[test]
    fn words_are_compared_without_case_marks_and_what_is_not_seen() {
        let plain = |text: &str| all(text, Stemming::Plain);
        assert_eq!(plain("Grüße, CAFÉ cafe\u{301}!"), ["grusse", "cafe", "cafe"]);
        assert_eq!(plain("re\u{ad}fund re\u{200b}fund"), ["refund", "refund"]);
        assert_eq!(plain("東京 2026年"), ["東", "京", "2026", "年"]);
        assert_eq!(plain(&"a".repeat(1000)), ["a".repeat(WORD_CHARS_MAX)]);
        assert_eq!(plain(" ,.; "), Vec::<String>::new());
    }

    #[test]
    fn endings_are_taken_off_alike() {
        let alike = |stemming, a: &str, b: &str| {
            assert_eq!(all(a, stemming), all(b, stemming), "{a} {b}");
        };
        alike(Stemming::English, "restore", "restored");
        alike(Stemming::English, "policies", "policy");
        alike(Stemming::English, "invoices", "invoice");
        alike(Stemming::English, "boxes", "box");
        alike(Stemming::German, "Rechnungen", "Rechnung");
        alike(Stemming::German, "Kindern", "Kind");
        assert_ne!(all("status", Stemming::English), all("statu", Stemming::English));
    }
}
