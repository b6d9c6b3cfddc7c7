//! Patterns of a schema (ECMA-262, `u` flag) as regular expressions that run in linear time.
//!
//! The two dialects agree on most of what schemas use; where they differ the pattern is rewritten,
//! and where it cannot be rewritten it is unsupported, never approximated.

use regex::{Regex, RegexBuilder};
use std::iter::Peekable;
use std::str::Chars;

/// Bytes of a pattern's text.
const PATTERN_BYTES_MAX: usize = 4096;
/// Bytes of a compiled pattern, and of its cache: counted repetition can be written short and be
/// huge.
const COMPILED_BYTES_MAX: usize = 1 << 20;

const NOT_LINE_END: &str = r"[^\n\r\u{2028}\u{2029}]";
const SPACE: &str =
    r"\t\n\x0B\f\r \u{A0}\u{1680}\u{2000}-\u{200A}\u{2028}\u{2029}\u{202F}\u{205F}\u{3000}\u{FEFF}";

/// Compiles a pattern; the error says what is not supported.
pub(crate) fn compile(pattern: &str) -> Result<Regex, &'static str> {
    if pattern.len() > PATTERN_BYTES_MAX {
        return Err("the pattern is longer than 4096 bytes");
    }
    RegexBuilder::new(&translate(pattern)?)
        .size_limit(COMPILED_BYTES_MAX)
        .dfa_size_limit(COMPILED_BYTES_MAX)
        .build()
        .map_err(|_| "the pattern is not a regular expression this gate can run in linear time")
}

fn translate(pattern: &str) -> Result<String, &'static str> {
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut rest = pattern.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\\' => escape(&mut rest, &mut out, Place::Outside)?,
            '[' => class(&mut rest, &mut out)?,
            '.' => out.push_str(NOT_LINE_END),
            '(' => group(&mut rest, &mut out)?,
            '{' if !rest.peek().is_some_and(char::is_ascii_digit) => {
                return Err("a `{` that does not begin a repetition has to be escaped");
            }
            _ => out.push(c),
        }
    }
    Ok(out)
}

/// Groups: plain, `(?:` and named ones. Assertions and flags have no equivalent.
fn group(rest: &mut Peekable<Chars<'_>>, out: &mut String) -> Result<(), &'static str> {
    out.push('(');
    if rest.peek() != Some(&'?') {
        return Ok(());
    }
    let mut ahead = rest.clone();
    ahead.next();
    let is_supported = match ahead.next() {
        Some(':') => true,
        Some('<') => ahead.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_'),
        _ => false,
    };
    if is_supported { Ok(()) } else { Err("look-around and inline flags are not supported") }
}

#[derive(Clone, Copy, PartialEq)]
enum Place {
    Outside,
    InClass,
}

fn class(rest: &mut Peekable<Chars<'_>>, out: &mut String) -> Result<(), &'static str> {
    out.push('[');
    if rest.peek() == Some(&'^') {
        rest.next();
        out.push('^');
    }
    if rest.peek() == Some(&']') {
        return Err("an empty character class is not supported");
    }
    while let Some(c) = rest.next() {
        match c {
            ']' => {
                out.push(']');
                return Ok(());
            }
            '\\' => escape(rest, out, Place::InClass)?,
            // These mean something in a class of the target dialect, and nothing in ECMA-262.
            '[' | '&' | '~' => {
                out.push('\\');
                out.push(c);
            }
            '-' if rest.peek() == Some(&'-') => {
                return Err("`--` in a character class is not supported");
            }
            _ => out.push(c),
        }
    }
    Err("a character class is not closed")
}

fn escape(
    rest: &mut Peekable<Chars<'_>>,
    out: &mut String,
    place: Place,
) -> Result<(), &'static str> {
    let Some(c) = rest.next() else { return Err("the pattern ends with `\\`") };
    let in_class = place == Place::InClass;
    let set = |plain: &str, negated: bool| match (in_class, negated) {
        (true, false) => Ok(plain.to_owned()),
        (true, true) => Ok(format!("[^{plain}]")),
        (false, false) => Ok::<_, &str>(format!("[{plain}]")),
        (false, true) => Ok(format!("[^{plain}]")),
    };
    match c {
        'd' => out.push_str(&set("0-9", false)?),
        'D' => out.push_str(&set("0-9", true)?),
        'w' => out.push_str(&set("0-9A-Za-z_", false)?),
        'W' => out.push_str(&set("0-9A-Za-z_", true)?),
        's' => out.push_str(&set(SPACE, false)?),
        'S' => out.push_str(&set(SPACE, true)?),
        'b' if in_class => out.push_str(r"\x08"),
        'b' => out.push_str(r"(?-u:\b)"),
        't' | 'n' | 'r' | 'f' | 'v' | 'x' | 'u' => {
            out.push('\\');
            out.push(c);
        }
        '0' if !rest.peek().is_some_and(char::is_ascii_digit) => out.push_str(r"\x00"),
        '0'..='9' | 'k' => return Err("back-references are not supported"),
        'B' => return Err("`\\B` is not supported"),
        'p' | 'P' => return Err("Unicode properties are not supported"),
        _ if c.is_ascii_punctuation() && !matches!(c, '<' | '>') => {
            out.push('\\');
            out.push(c);
        }
        _ if c.is_ascii_punctuation() => out.push(c),
        _ => return Err("an escape in the pattern is not supported"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_ecma_where_the_dialects_differ() {
        let cases = [
            (r"^\d+$", "42", true),
            (r"^\d+$", "٤٢", false),
            (r"^\w+$", "é", false),
            (r"^[\w.-]+@x$", "a.b-c@x", true),
            (r"^[a&&b]$", "&", true),
            (r"^[[a]$", "[", true),
            (r"^.$", "\u{2028}", false),
            (r"\bcat\b", "a cat.", true),
            (r"^\/x\-y$", "/x-y", true),
            (r"^\u0041$", "A", true),
            (r"^a{2,3}$", "aaa", true),
            (r"^(?:ab)+$", "abab", true),
            (r"^\s$", "\u{feff}", true),
            (r"^[^\d]$", "x", true),
            (r"^[\S]$", " ", false),
        ];
        for (pattern, text, expected) in cases {
            let regex = compile(pattern).unwrap_or_else(|e| panic!("{pattern}: {e}"));
            assert_eq!(regex.is_match(text), expected, "{pattern} on {text:?}");
        }
    }

    #[test]
    fn refuses_what_it_cannot_translate() {
        let patterns = [
            "(?=a)",
            "(?!a)",
            "(?<=a)b",
            "(?i)a",
            r"(a)\1",
            r"\p{L}",
            "[]a]",
            "[a",
            "a{,3}",
            r"\",
            "(((a{99}){99}){99}){99}",
            "(",
            r"[a--b]",
        ];
        for pattern in patterns {
            assert!(compile(pattern).is_err(), "{pattern}");
        }
    }
}
