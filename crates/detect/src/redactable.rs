//! What an obligation may ask to have removed from any text.

use crate::{pii, secret};
use std::ops::Range;

/// Something to remove wherever it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Redactable {
    /// Personal data of one kind: `pii:email`.
    Pii(pii::Kind),
    /// Every secret: `secret:*`.
    Secret,
}

impl Redactable {
    /// Reads a target of an obligation. `None`: it names no such thing, but a path.
    ///
    /// One that begins like these and is none of them is everything: what was to be hidden and is
    /// not understood is not shown.
    pub fn of(target: &str) -> Option<Vec<Self>> {
        if target == "secret:*" {
            return Some(vec![Self::Secret]);
        }
        let all = || pii::Kind::ALL.into_iter().map(Self::Pii);
        match target.strip_prefix("pii:") {
            Some(word) => Some(match pii::Kind::from_word(word) {
                Some(kind) => vec![Self::Pii(kind)],
                None => all().collect(),
            }),
            None if target.starts_with("secret:") => Some(vec![Self::Secret]),
            None => None,
        }
    }
}

/// Where these stand in a text: in order and apart.
pub fn find(text: &str, sought: &[Redactable]) -> Vec<Range<usize>> {
    let mut kinds = Vec::new();
    let mut found = Vec::new();
    for one in sought {
        match one {
            Redactable::Pii(kind) => kinds.push(*kind),
            Redactable::Secret if found.is_empty() => found.extend(secret::find_bytes(text)),
            Redactable::Secret => {}
        }
    }
    found.extend(pii::find(text, &kinds).into_iter().map(|span| span.bytes));
    found.sort_by_key(|bytes| (bytes.start, usize::MAX - bytes.end));
    let mut end = 0;
    found.retain_mut(|bytes| {
        bytes.start = bytes.start.max(end);
        end = end.max(bytes.end);
        bytes.start < bytes.end
    });
    found
}

/// Where these stand in a text that is the value of a name: `"api_key": "…"` in JSON.
pub fn find_named(name: &str, text: &str, sought: &[Redactable]) -> Vec<Range<usize>> {
    let mut found = find(text, sought);
    // Only secrets are known by a name.
    if found.is_empty() && sought.contains(&Redactable::Secret) {
        let head = format!("{name}: \"");
        let whole = format!("{head}{text}\"");
        let bytes = find(&whole, &[Redactable::Secret]).into_iter();
        let within = |bytes: Range<usize>| {
            let start = bytes.start.max(head.len()) - head.len();
            start..bytes.end.min(head.len() + text.len()).saturating_sub(head.len())
        };
        found = bytes.map(within).filter(|bytes| bytes.start < bytes.end).collect();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_name_what_is_to_be_removed() {
        assert_eq!(Redactable::of("pii:ip"), Some(vec![Redactable::Pii(pii::Kind::Ip)]));
        assert_eq!(Redactable::of("secret:*"), Some(vec![Redactable::Secret]));
        assert_eq!(Redactable::of("secret:new"), Some(vec![Redactable::Secret]));
        assert_eq!(Redactable::of("pii:new").map(|all| all.len()), Some(pii::Kind::ALL.len()));
        assert_eq!(Redactable::of("customer.email"), None);
    }

    #[test]
    fn a_name_says_what_its_value_is() {
        let value = "q7Rk2ZvT9mXc4LwB8sHn";
        let all = [Redactable::Secret];
        assert_eq!(find_named("api_key", value, &all).first(), Some(&(0..value.len())));
        assert!(find_named("order", value, &all).is_empty());
        assert!(find_named("api_key", value, &[]).is_empty());
    }

    #[test]
    fn what_overlaps_is_removed_once_and_wholly() {
        let text = "postgres://ada:hunter2x@mail.example.org/ and 10.0.0.12";
        let sought = [
            Redactable::Secret,
            Redactable::Pii(pii::Kind::Email),
            Redactable::Pii(pii::Kind::Ip),
            Redactable::Secret,
        ];
        let found = find(text, &sought);
        assert!(found.windows(2).all(|two| two[0].end <= two[1].start), "{found:?}");
        assert_eq!(found.first().map(|it| it.start), Some(15));
        assert_eq!(found.last().cloned(), Some(46..55));
        assert!(find(text, &[]).is_empty());
    }
}
