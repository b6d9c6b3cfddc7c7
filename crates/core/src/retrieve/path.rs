//! Patterns of paths: `*` stands for anything within a segment, `**` for any segments.

/// Bytes of a pattern.
const PATTERN_BYTES_MAX: usize = 1024;
/// Segments of a pattern, and stars in one of them.
const SEGMENTS_MAX: usize = 32;

/// Why a text is no pattern, if it is none.
pub fn fault(pattern: &str) -> Option<&'static str> {
    let segments = || pattern.split('/');
    if pattern.is_empty() || pattern.len() > PATTERN_BYTES_MAX {
        return Some("it is empty or too long");
    }
    if segments().count() > SEGMENTS_MAX || segments().any(|it| it.matches('*').count() > 8) {
        return Some("it has too many segments or stars");
    }
    if segments().any(|it| it.is_empty() || it == "." || it == "..") {
        return Some("it has a segment that is empty, `.` or `..`");
    }
    if segments().any(|it| it.contains("**") && it != "**") {
        return Some("`**` stands alone between slashes");
    }
    None
}

/// An address as a path: slashes that follow one another are one. `file:///a/b` lies in `file:` and
/// `file:/a`.
pub fn slashed(address: &str) -> String {
    let mut path = String::with_capacity(address.len());
    for character in address.chars() {
        if character != '/' || !path.ends_with('/') {
            path.push(character);
        }
    }
    path
}

/// Whether a pattern takes a path.
pub fn matches(pattern: &str, path: &str) -> bool {
    let pattern: Vec<&str> = pattern.split('/').collect();
    let path: Vec<&str> = path.split('/').collect();
    // Which beginnings of the pattern take what was read of the path so far.
    let mut reached = vec![false; pattern.len() + 1];
    let start = |reached: &mut Vec<bool>| {
        for (at, segment) in pattern.iter().enumerate() {
            let is_here = reached.get(at).copied().unwrap_or_default();
            if *segment == "**"
                && is_here
                && let Some(next) = reached.get_mut(at + 1)
            {
                *next = true;
            }
        }
    };
    if let Some(first) = reached.first_mut() {
        *first = true;
    }
    start(&mut reached);
    for name in path {
        let mut next = vec![false; pattern.len() + 1];
        for (at, segment) in pattern.iter().enumerate() {
            if !reached.get(at).copied().unwrap_or_default() {
                continue;
            }
            let to = if *segment == "**" { at } else { at + 1 };
            if (*segment == "**" || covers(segment.as_bytes(), name.as_bytes()))
                && let Some(slot) = next.get_mut(to)
            {
                *slot = true;
            }
        }
        start(&mut next);
        reached = next;
    }
    reached.last().copied().unwrap_or_default()
}

/// Whether a segment of a pattern takes a name: the last star takes more as long as what follows
/// does not fit.
fn covers(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut here, mut star) = (0, 0, None);
    while here < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, here));
                at += 1;
            }
            Some(byte) if name.get(here) == Some(byte) => (at, here) = (at + 1, here + 1),
            _ => match star {
                Some((from, taken)) => {
                    star = Some((from, taken + 1));
                    (at, here) = (from + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern.get(at..).unwrap_or_default().iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_take_what_they_say() {
        for (pattern, path, is_taken) in [
            ("hr/**", "hr/leave.md", true),
            ("hr/**", "hr", true),
            ("hr/**", "hrx/leave.md", false),
            ("**/*.md", "a/b/c.md", true),
            ("**/*.md", "c.md", true),
            ("**/*.md", "c.mdx", false),
            ("*.md", "a/c.md", false),
            ("a/*/c", "a/b/c", true),
            ("a/*/c", "a/b/b/c", false),
            ("a/**/c", "a/c", true),
            ("a/**/c/*", "a/c/c/d", true),
            ("r*b*k", "runbook", true),
            ("r*b*x", "runbook", false),
            ("**", "anything/at/all", true),
        ] {
            assert_eq!(matches(pattern, path), is_taken, "{pattern} {path}");
        }
        for pattern in ["", "/a", "a//b", "a/..", "a**", "./a"] {
            assert!(fault(pattern).is_some(), "{pattern}");
        }
        assert_eq!(fault("a/**/*.md"), None);
    }
}
