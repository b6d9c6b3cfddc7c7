//! Rust text with comments and literals blanked out, so that a rule about code does not stumble
//! over prose.

/// The same text, of the same length in lines and columns, with spaces in place of every comment
/// and of the content of every string and character literal.
pub(super) fn code_of(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let length = skipped(&chars, at);
        if length == 0 {
            code.extend(chars.get(at));
            at += 1;
            continue;
        }
        let blanked = chars.iter().skip(at).take(length);
        code.extend(blanked.map(|it| if *it == '\n' { '\n' } else { ' ' }));
        at += length;
    }
    code
}

/// How many characters from here are a comment or a literal; 0 for code.
fn skipped(chars: &[char], at: usize) -> usize {
    let next = |offset: usize| chars.get(at + offset).copied();
    match (next(0), next(1)) {
        (Some('/'), Some('/')) => line_comment(chars, at),
        (Some('/'), Some('*')) => block_comment(chars, at),
        (Some('"'), _) => quoted(chars, at),
        (Some('r'), Some('"' | '#')) if !is_in_word(chars, at) => raw_string(chars, at),
        (Some('\''), Some('\\')) => escaped_character(chars, at),
        (Some('\''), Some(_)) if next(2) == Some('\'') => 3,
        _ => 0,
    }
}

/// `br"…"` begins with a letter too, but no identifier ends in a single `b`, so that is the one
/// exception.
fn is_in_word(chars: &[char], at: usize) -> bool {
    let before = |offset: usize| at.checked_sub(offset).and_then(|it| chars.get(it)).copied();
    let is_word = |it: Option<char>| it.is_some_and(|it| it.is_alphanumeric() || it == '_');
    match before(1) {
        Some('b' | 'c') => is_word(before(2)),
        it => is_word(it),
    }
}

fn line_comment(chars: &[char], at: usize) -> usize {
    chars.iter().skip(at).take_while(|it| **it != '\n').count()
}

fn block_comment(chars: &[char], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0_usize);
    while at < chars.len() {
        match (chars.get(at), chars.get(at + 1)) {
            (Some('/'), Some('*')) => (at, depth) = (at + 2, depth + 1),
            (Some('*'), Some('/')) => (at, depth) = (at + 2, depth.saturating_sub(1)),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at.min(chars.len()) - start
}

fn quoted(chars: &[char], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(it) = chars.get(at) {
        match it {
            '\\' => at += 2,
            '"' => return at + 1 - start,
            _ => at += 1,
        }
    }
    chars.len() - start
}

fn raw_string(chars: &[char], start: usize) -> usize {
    let hashes = chars.iter().skip(start + 1).take_while(|it| **it == '#').count();
    if chars.get(start + 1 + hashes) != Some(&'"') {
        return 0; // a raw identifier
    }
    let mut at = start + 2 + hashes;
    while let Some(it) = chars.get(at) {
        let closing = chars.iter().skip(at + 1).take(hashes).filter(|it| **it == '#').count();
        if *it == '"' && closing == hashes {
            return at + 1 + hashes - start;
        }
        at += 1;
    }
    chars.len() - start
}

fn escaped_character(chars: &[char], start: usize) -> usize {
    let rest = chars.iter().skip(start + 3).take_while(|it| **it != '\'' && **it != '\n').count();
    4 + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prose_and_literals_disappear_and_lines_stay() {
        for (text, code) in [
            ("a // f64\nb", "a       \nb"),
            ("a /* x /* y\n */ z */ b", "a          \n         b"),
            (r#"f("todo \" x") + g"#, "f(            ) + g"),
            (r##"r#"a "quoted" f64"# + br"f64" r#type"##, "                   + b       r#type"),
            (r"'\'' 'x' '\u{7f}' &'a str", "             &'a str"),
            (r#"bar"x""#, "bar   "),
        ] {
            let seen = code_of(text);
            assert_eq!(
                seen.split_whitespace().collect::<String>(),
                code.split_whitespace().collect::<String>(),
                "{text}"
            );
            assert_eq!(seen.lines().count(), text.lines().count());
            assert_eq!(seen.chars().count(), text.chars().count());
        }
    }

    #[test]
    fn unfinished_text_ends_quietly() {
        for text in ["\"abc", "r##\"abc\"#", "/* abc", "'\\", "'", "\"\\"] {
            assert!(code_of(text).chars().count() >= text.chars().count(), "{text}");
        }
    }
}
