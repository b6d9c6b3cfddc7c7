//! What somebody may have meant: the nearest of the names that would do.

/// Names that are listed where none is near.
const LISTED_MAX: usize = 16;

/// A hint for a name that is not among the known ones.
pub(crate) fn among<S: AsRef<str>>(name: &str, known: &[S]) -> String {
    if let Some(near) = nearest(name, known) {
        return format!("did you mean `{near}`?");
    }
    if known.is_empty() || known.len() > LISTED_MAX {
        return String::new();
    }
    let known: Vec<&str> = known.iter().map(AsRef::as_ref).collect();
    format!("known here: `{}`", known.join("`, `"))
}

/// The known name that a name is nearest to, if it is near to any.
pub fn nearest<'k, S: AsRef<str>>(name: &str, known: &'k [S]) -> Option<&'k str> {
    let far = (name.chars().count() / 3).clamp(1, 3);
    let near = known.iter().map(|other| (distance(name, other.as_ref()), other.as_ref()));
    near.filter(|(distance, _)| *distance <= far).min().map(|(_, other)| other)
}

/// Insertions, deletions and replacements from one text to the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (at, left) in a.chars().take(64).enumerate() {
        let mut diagonal = at;
        let mut previous = at + 1;
        let mut next = vec![previous];
        for (right, above) in b.iter().zip(row.iter().skip(1)) {
            let replaced = diagonal + usize::from(left != *right);
            previous = replaced.min(previous + 1).min(above + 1);
            next.push(previous);
            diagonal = *above;
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant() {
        let known = ["audience", "algorithms", "jwks"];
        for (name, hint) in [
            ("audiance", "did you mean `audience`?"),
            ("algorithm", "did you mean `algorithms`?"),
            ("jkws", "known here: `audience`, `algorithms`, `jwks`"),
            ("jwk", "did you mean `jwks`?"),
        ] {
            assert_eq!(among(name, &known), hint);
        }
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
    }
}
