//! Whether answers to the same question say the same: by their values, by what they deny, and by
//! their words. What a model makes up differs from time to time; what it has read does not.
//!
//! Deliberately without a model: who compares has to be sure of what was compared.

use super::Finding;
use crate::declare::Verify;
use lockgate_types::{Json, JsonLimits};
use std::collections::BTreeSet;

/// The share of words that two texts have in common at least, where nothing is said, in percent.
const WORDS_PERCENT_MIN: u32 = 50;
/// Words of a text that are looked at: the first ones.
const WORDS_MAX: usize = 4096;
/// Characters of a value in a finding.
const SHOWN_CHARS: usize = 40;

/// Words that turn a statement round, in English and German.
const DENIALS: [&str; 16] = [
    "not", "no", "never", "none", "neither", "nor", "cannot", "without", "nicht", "nie", "niemals",
    "kein", "keine", "keinen", "keiner", "ohne",
];

/// What speaks against an answer, of which further ones were asked for: nothing, if as many of them
/// say the same as the rules want.
pub(super) fn compared(rules: &Verify, answer: &str, others: &[&str]) -> Vec<Finding> {
    let percent_min = rules.words_percent_min.unwrap_or(WORDS_PERCENT_MIN);
    let differ: Vec<String> =
        others.iter().filter_map(|other| difference(answer, other, percent_min)).collect();
    let agree = others.len() - differ.len();
    let wanted = rules.agree_min.and_then(|min| usize::try_from(min).ok()).unwrap_or(others.len());
    match differ.first() {
        Some(first) if agree < wanted => {
            let of = others.len();
            vec![format!("{agree} of {of} further answers agree, and {wanted} are wanted: {first}")]
        }
        Some(_) | None => Vec::new(),
    }
}

/// How another answer differs. `None`: it says the same.
fn difference(answer: &str, other: &str, percent_min: u32) -> Option<String> {
    if other.trim().is_empty() {
        return Some("one says nothing".to_owned());
    }
    if let (Some(own), Some(other)) = (shaped(answer), shaped(other)) {
        let is_same = own.to_canonical() == other.to_canonical();
        return (!is_same).then(|| format!("one has another value at {}", place(&own, &other)));
    }
    let (own, other) = (Said::of(answer), Said::of(other));
    if let Some(value) = own.values.symmetric_difference(&other.values).next() {
        let value: String = value.chars().take(SHOWN_CHARS).collect();
        return Some(format!("only one of them says {value}"));
    }
    if own.denies != other.denies {
        return Some("one denies what the other says".to_owned());
    }
    let percent = common_percent(&own.words, &other.words);
    (percent < percent_min).then(|| {
        format!("one has {percent} % of its words in common, and {percent_min} are wanted")
    })
}

/// An answer that is an object or a list.
fn shaped(text: &str) -> Option<Json> {
    let read = Json::parse(text.trim().as_bytes(), &JsonLimits::MESSAGE).ok();
    read.filter(|json| matches!(json, Json::Object(_) | Json::Array(_)))
}

/// The first place at which they differ.
fn place(own: &Json, other: &Json) -> String {
    if let (Json::Object(own), Json::Object(other)) = (own, other) {
        let names: BTreeSet<&str> = own.iter().chain(other.iter()).map(|(name, _)| name).collect();
        let differs = |name: &&&str| match (own.get(name), other.get(name)) {
            (Some(own), Some(other)) => own.to_canonical() != other.to_canonical(),
            (_, _) => true,
        };
        if let Some(name) = names.iter().find(differs) {
            return format!("`{}`", name.chars().take(SHOWN_CHARS).collect::<String>());
        }
    }
    "its top".to_owned()
}

/// What a text says, as far as two are compared.
struct Said {
    /// Numbers, dates, amounts, names with digits in them.
    values: BTreeSet<String>,
    /// Whether it denies something.
    denies: bool,
    words: BTreeSet<String>,
}

impl Said {
    fn of(text: &str) -> Self {
        let (mut values, mut words, mut denies) = (BTreeSet::new(), BTreeSet::new(), false);
        for word in text.split_whitespace().filter(|word| !is_citation(word)).take(WORDS_MAX) {
            let word = word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
            if word.is_empty() {
                continue;
            }
            denies |= DENIALS.contains(&word.as_str()) || word.ends_with("n't");
            denies |= word.ends_with("n\u{2019}t");
            if word.chars().any(char::is_numeric) {
                values.insert(value(&word));
            }
            words.insert(word);
        }
        Self { values, denies, words }
    }
}

/// `[2]` says where something stands, and not what.
fn is_citation(word: &str) -> bool {
    let inside = word.trim_end_matches(['.', ',', ';', ':']);
    let inside = inside.strip_prefix('[').and_then(|word| word.strip_suffix(']'));
    inside.is_some_and(|inside| inside.chars().all(|c| c.is_ascii_digit() || c == ','))
}

/// A value without what differs by layout: `1,000.00` is `1000`.
fn value(word: &str) -> String {
    let is_number = word.chars().all(|c| c.is_ascii_digit() || matches!(c, ',' | '.'));
    if !is_number {
        return word.to_owned();
    }
    let plain = word.replace(',', "");
    match plain.split_once('.') {
        Some((whole, rest)) if rest.bytes().all(|digit| digit == b'0') => whole.to_owned(),
        Some(_) | None => plain,
    }
}

/// What two sets of words have in common, of all that either has, in percent.
fn common_percent(own: &BTreeSet<String>, other: &BTreeSet<String>) -> u32 {
    let common = own.intersection(other).count();
    let all = own.union(other).count().max(1);
    u32::try_from(common * 100 / all).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_agree_by_values_denials_and_words() {
        let answer = "The refund of 249.00 EUR is allowed [1].";
        for (other, differs) in [
            ("The refund of 249 EUR is allowed [2].", ""),
            ("It is allowed: the refund of 249.00 EUR.", ""),
            ("The refund of 900.00 EUR is allowed [1].", "only one of them says"),
            ("The refund of 249.00 EUR is not allowed [1].", "denies"),
            ("The refund of 249.00 EUR isn't allowed.", "denies"),
            ("Parcels of 249 kilograms come on Mondays by ship.", "% of its words"),
            ("  ", "says nothing"),
        ] {
            let said = difference(answer, other, WORDS_PERCENT_MIN);
            match differs {
                "" => assert_eq!(said, None, "{other}"),
                part => assert!(said.as_ref().is_some_and(|it| it.contains(part)), "{said:?}"),
            }
            let back = difference(other, answer, WORDS_PERCENT_MIN);
            assert!(other.trim().is_empty() || back.is_some() == said.is_some(), "{other}");
        }
    }

    #[test]
    fn what_has_a_shape_is_compared_as_such() {
        let answer = r#"{"twice": true, "amount": 40}"#;
        assert_eq!(difference(answer, r#"{"amount":40,"twice":true}"#, 50), None);
        let other = difference(answer, r#"{"amount":41,"twice":true}"#, 50);
        assert_eq!(other.unwrap(), "one has another value at `amount`");
        assert!(difference(answer, "[40]", 50).unwrap().contains("its top"));
        assert!(difference(answer, "It is 40.", 50).is_some(), "a text is no object");
    }

    #[test]
    fn as_many_have_to_agree_as_the_rules_want() {
        let rules = |agree_min| Verify { agree_min, ..Verify::default() };
        let others = ["It is 40.", "It is 41."];
        assert_eq!(compared(&rules(None), "It is 40.", &others).len(), 1);
        assert_eq!(compared(&rules(Some(1)), "It is 40.", &others), Vec::<String>::new());
        assert_eq!(compared(&rules(Some(1)), "It is 42.", &others).len(), 1);
    }
}
