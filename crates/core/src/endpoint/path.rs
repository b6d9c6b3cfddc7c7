//! Paths as they are declared, and what may stand in one place of them.

/// Bytes of a declared path.
const PATH_BYTES_MAX: usize = 1024;
/// How often a text is taken to be decoded on its way: by a proxy, by a server, by a router.
const DECODINGS_MAX: u32 = 4;

/// A piece of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// What stands there, slashes included.
    Text(String),
    /// What somebody says, by name.
    Named(String),
}

/// Takes a declared path apart. `Err`: what is wrong with it.
pub fn parse(path: &str) -> Result<Vec<Piece>, &'static str> {
    if !path.starts_with('/') || path.len() > PATH_BYTES_MAX {
        return Err("it begins with `/` and is not too long");
    }
    let mut pieces = Vec::new();
    for (at, segment) in path.split('/').enumerate().skip(1) {
        let is_last = path.split('/').count() == at + 1;
        if segment.is_empty() && !is_last {
            return Err("it has an empty segment");
        }
        if is_dots(segment) {
            return Err("it has a segment of dots");
        }
        add_text(&mut pieces, "/");
        add_segment(&mut pieces, segment)?;
    }
    Ok(pieces)
}

fn add_segment(pieces: &mut Vec<Piece>, segment: &str) -> Result<(), &'static str> {
    let mut rest = segment;
    while !rest.is_empty() {
        let (text, after) = rest.split_once('{').unwrap_or((rest, ""));
        // RFC 3986 §3.3, without percent-encoding: two readers could read that differently.
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&b);
        if !text.bytes().all(is_plain) {
            return Err("it has characters that stand for something else in an address");
        }
        add_text(pieces, text);
        if text.len() == rest.len() {
            return Ok(());
        }
        let Some((name, after)) = after.split_once('}') else {
            return Err("a `{` is not closed");
        };
        if name.is_empty() || name.contains('{') {
            return Err("`{}` has no name in it");
        }
        pieces.push(Piece::Named(name.to_owned()));
        rest = after;
    }
    Ok(())
}

fn add_text(pieces: &mut Vec<Piece>, text: &str) {
    if text.is_empty() {
        return;
    }
    match pieces.last_mut() {
        Some(Piece::Text(before)) => before.push_str(text),
        Some(Piece::Named(_)) | None => pieces.push(Piece::Text(text.to_owned())),
    }
}

/// Why a text cannot stand in a segment of a path: whoever decodes it once too often, or reads it
/// as its lookalike, would leave the segment.
pub(super) fn fault(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        return Some("it is empty");
    }
    let mut text = text.to_owned();
    for _ in 0..DECODINGS_MAX {
        if text.chars().any(char::is_control) {
            return Some("it has a control character");
        }
        if text.chars().any(is_slash) {
            return Some("it has a slash");
        }
        if is_dots(&text) {
            return Some("it is a step to another path");
        }
        match decoded(&text) {
            Ok(next) if next == text => return None,
            Ok(next) => text = next,
            Err(()) => return Some("it has a percent sign that is no text"),
        }
    }
    Some("it is encoded too often")
}

/// Whether a segment is `.` or `..`, with what servers cut off behind a semicolon.
pub(super) fn is_dots(segment: &str) -> bool {
    let name = segment.split(';').next().unwrap_or_default().trim();
    let dots = name.chars().map(|c| match c {
        '.' | '\u{2024}' | '\u{ff0e}' | '\u{fe52}' => 1,
        '\u{2025}' => 2,
        _ => 8,
    });
    matches!(dots.sum::<usize>(), 1 | 2)
}

/// Slashes, and what becomes one where text is normalised.
const fn is_slash(c: char) -> bool {
    matches!(
        c,
        '/' | '\\' | '\u{2044}' | '\u{2215}' | '\u{29f8}' | '\u{ff0f}' | '\u{ff3c}' | '\u{fe68}'
    )
}

/// A text with its percent-encoding taken away once. `Err`: what comes out is no text.
fn decoded(text: &str) -> Result<String, ()> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).filter(|_| *first == b'%');
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.filter(|digits| digits.bytes().all(|it| it.is_ascii_hexdigit()));
        match byte.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                out.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8(out).map_err(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_taken_apart() {
        let named = |name: &str| Piece::Named(name.to_owned());
        let text = |text: &str| Piece::Text(text.to_owned());
        for (path, pieces) in [
            ("/", vec![text("/")]),
            ("/a/b", vec![text("/a/b")]),
            ("/a/{id}", vec![text("/a/"), named("id")]),
            ("/a/{id}/", vec![text("/a/"), named("id"), text("/")]),
            ("/{a}{b}.json", vec![text("/"), named("a"), named("b"), text(".json")]),
            ("/v1:run/{x-y}", vec![text("/v1:run/"), named("x-y")]),
        ] {
            assert_eq!(parse(path), Ok(pieces), "{path}");
        }
        for path in [
            "", "a", "//a", "/a//b", "/../a", "/a/..", "/./a", "/a?b", "/a#b", "/a b", "/%2e",
            "/a/{", "/a/{}", "/a/{{b}}", "/a}", "/a\\b", "/..;x/a", "http://a",
        ] {
            assert!(parse(path).is_err(), "{path}");
        }
    }

    #[test]
    fn what_stays_in_its_segment_passes() {
        for text in [
            "1", "a b", "a..b", "...", "..a", "50%", "100%25", "a%20b", "über", "a;b", "a?b",
            "a#b", "%zz", "a@b:c", "{x}",
        ] {
            assert_eq!(fault(text), None, "{text}");
        }
    }
}
