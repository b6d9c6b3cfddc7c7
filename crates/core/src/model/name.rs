//! The names by which clients ask for models: exact ones, and ones with `*` for any characters.

/// Bytes of a name by which a model is asked for, of a pattern, or of a provider's id.
pub const NAME_BYTES_MAX: usize = 256;
/// Stars in one pattern.
const STARS_MAX: usize = 8;

/// A name or a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: String,
}

impl Pattern {
    /// Reads a pattern. `None`: it is empty, too long, or has characters that no name has.
    pub fn parse(text: &str) -> Option<Self> {
        let is_plain = !text.is_empty()
            && text.len() <= NAME_BYTES_MAX
            && text.bytes().all(|byte| byte.is_ascii_graphic())
            && text.matches('*').count() <= STARS_MAX;
        is_plain.then(|| Self { text: text.to_owned() })
    }

    /// As written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it takes a name.
    pub fn matches(&self, name: &str) -> bool {
        name.len() <= NAME_BYTES_MAX && covers(self.text.as_bytes(), name.as_bytes())
    }

    /// How closely it names what it takes: 0 exactly, 1 by a pattern, 2 whatever is left.
    pub fn rank(&self) -> u8 {
        match self.text.as_str() {
            "*" => 2,
            text if text.contains('*') => 1,
            _ => 0,
        }
    }

    /// Whether it and another of the same rank both take some name.
    pub fn clashes(&self, other: &Self) -> bool {
        self.rank() == other.rank() && meet(self.text.as_bytes(), other.text.as_bytes())
    }
}

/// Whether a pattern takes a name: the last star takes more as long as what follows does not fit.
fn covers(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut of, mut star) = (0, 0, None);
    while of < name.len() {
        if pattern.get(at) == Some(&b'*') {
            star = Some((at, of));
            at += 1;
        } else if pattern.get(at) == name.get(of) {
            (at, of) = (at + 1, of + 1);
        } else if let Some((back, taken)) = star {
            (at, of) = (back + 1, taken + 1);
            star = Some((back, taken + 1));
        } else {
            return false;
        }
    }
    pattern.get(at..).unwrap_or_default().iter().all(|byte| *byte == b'*')
}

/// Whether two patterns take a name in common: which prefixes of one can stand for which of the
/// other, one row after the other.
fn meet(one: &[u8], two: &[u8]) -> bool {
    let mut row = vec![false; two.len() + 1];
    for (at, possible) in row.iter_mut().enumerate() {
        *possible = two.iter().take(at).all(|byte| *byte == b'*');
    }
    for left in one {
        let mut next = vec![false; two.len() + 1];
        let above = |row: &[bool], at: usize| row.get(at).copied().unwrap_or_default();
        for at in 0..next.len() {
            let right = at.checked_sub(1).and_then(|at| two.get(at));
            let left_is_star = *left == b'*';
            let from_left = right.is_some() && at > 0 && above(&next, at - 1);
            let found = (left_is_star && (above(&row, at) || from_left))
                || right.is_some_and(|right| {
                    let star = *right == b'*' && (from_left || above(&row, at));
                    star || (right == left && above(&row, at - 1))
                });
            if let Some(cell) = next.get_mut(at) {
                *cell = found;
            }
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text).unwrap()
    }

    #[test]
    fn patterns_take_what_they_say() {
        for (text, name, takes) in [
            ("gpt-5", "gpt-5", true),
            ("gpt-5", "gpt-5o", false),
            ("gpt-*", "gpt-", true),
            ("gpt-*", "gpt-5", true),
            ("gpt-*", "GPT-5", false),
            ("*-mini", "gpt-5-mini", true),
            ("*-mini", "mini", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "acb", false),
            ("*", "", true),
            ("*", "anything", true),
            ("**", "x", true),
        ] {
            assert_eq!(pattern(text).matches(name), takes, "{text} {name}");
        }
        for text in ["", "a b", "é", "a\n", &"x".repeat(257), "*********"] {
            assert_eq!(Pattern::parse(text), None, "{text}");
        }
    }

    #[test]
    fn only_names_of_one_rank_clash() {
        for (one, two, clash) in [
            ("gpt-5", "gpt-5", true),
            ("gpt-5", "gpt-*", false),
            ("gpt-*", "*", false),
            ("*", "*", true),
            ("gpt-*", "*-mini", true),
            ("gpt-*", "claude-*", false),
            ("a*c", "ab*", true),
            ("a*c", "*b", false),
        ] {
            assert_eq!(pattern(one).clashes(&pattern(two)), clash, "{one} {two}");
            assert_eq!(pattern(two).clashes(&pattern(one)), clash, "{two} {one}");
        }
    }

    proptest! {
        #[test]
        fn patterns_that_take_a_name_in_common_meet(
            one in "[ab*]{1,6}", two in "[ab*]{1,6}", name in "[ab]{0,6}",
        ) {
            let is_common = covers(one.as_bytes(), name.as_bytes())
                && covers(two.as_bytes(), name.as_bytes());
            prop_assert!(!is_common || meet(one.as_bytes(), two.as_bytes()));
        }

        #[test]
        fn patterns_that_meet_take_a_name_in_common(one in "[ab*]{1,4}", two in "[ab*]{1,4}") {
            // Of two patterns of four, a name of eight is long enough.
            let mut names = vec![String::new()];
            for length in 0..8 {
                let longer: Vec<String> = names
                    .iter()
                    .filter(|name| name.len() == length)
                    .flat_map(|name| [format!("{name}a"), format!("{name}b")])
                    .collect();
                names.extend(longer);
            }
            let is_common = names.iter().any(|name| {
                covers(one.as_bytes(), name.as_bytes()) && covers(two.as_bytes(), name.as_bytes())
            });
            prop_assert_eq!(is_common, meet(one.as_bytes(), two.as_bytes()));
        }
    }
}
