//! Addresses of pages in one form each, so that a page that is led to in several spellings is one.

use super::PLACE_BYTES_MAX;
use url::{Position, Url};

/// What an address leads to from a page, in one form: without a fragment, dots resolved, letters of
/// the host small, and nothing encoded that need not be. `None`: to nothing that is fetched by the
/// server of `from`.
pub(super) fn resolved(from: &str, base: Option<&str>, address: &str) -> Option<String> {
    let from = Url::parse(from).ok()?;
    let base = match base {
        Some(base) => from.join(base).ok()?,
        None => from.clone(),
    };
    let mut url = base.join(address).ok()?;
    if url.origin() != from.origin() || !url.username().is_empty() || url.password().is_some() {
        return None;
    }
    url.set_fragment(None);
    if url.query() == Some("") {
        url.set_query(None);
    }
    let text = plain(url.as_str());
    (text.len() <= PLACE_BYTES_MAX).then_some(text)
}

/// The path of an address, with what follows `?`.
pub(super) fn path_of(address: &str) -> String {
    Url::parse(address).map(|url| url[Position::BeforePath..].to_owned()).unwrap_or_default()
}

/// Whether the path of an address leads another way once it is decoded, once or twice: servers that
/// decode before they look for dots and slashes serve what lies there, which is neither where
/// links may be followed to nor what `robots.txt` was asked about.
pub(super) fn is_disguised(address: &str) -> bool {
    let Ok(url) = Url::parse(address) else { return true };
    let slashes = |path: &[u8]| path.iter().filter(|it| matches!(it, b'/' | b'\\')).count();
    let path = url.path().as_bytes();
    let once = decoded(path);
    let twice = decoded(&once);
    let is_apart = |other: &[u8]| slashes(other) != slashes(path) || has_dots(other);
    has_dots(path) || is_apart(&once) || is_apart(&twice)
}

/// Whether a segment of a path is one of dots. Some servers leave out what follows `;` in it.
fn has_dots(path: &[u8]) -> bool {
    let mut segments = path.split(|it| matches!(it, b'/' | b'\\'));
    segments.any(|segment| {
        let name = segment.split(|it| *it == b';').next();
        matches!(name, Some(b"." | b".."))
    })
}

fn decoded(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        let digits = after.first_chunk::<2>().filter(|_| *first == b'%');
        let byte = digits.and_then(|digits| {
            let digits = std::str::from_utf8(digits).ok()?;
            digits.bytes().all(|it| it.is_ascii_hexdigit()).then_some(digits)?;
            u8::from_str_radix(digits, 16).ok()
        });
        bytes.push(byte.unwrap_or(*first));
        rest = after.get(if byte.is_some() { 2 } else { 0 }..).unwrap_or_default();
    }
    bytes
}

/// A path as patterns of `robots.txt` are compared with it, and such a pattern (RFC 9309, 2.2.2):
/// as `plain` has it, and all encoded that is neither unreserved nor reserved. `kept` are the
/// characters of a pattern that mean something there.
pub(super) fn compared(path: &str, kept: &str) -> String {
    let mut text = String::with_capacity(path.len());
    for it in plain(path).chars() {
        if it.is_ascii_alphanumeric() || "-._~:/?#[]@!&()+,;=%".contains(it) || kept.contains(it) {
            text.push(it);
            continue;
        }
        let mut bytes = [0; 4];
        for byte in it.encode_utf8(&mut bytes).bytes() {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

/// Decodes what need not be encoded (RFC 3986, 6.2.2), and writes the rest in capitals.
fn plain(address: &str) -> String {
    let mut text = String::with_capacity(address.len());
    let mut rest = address;
    while let Some(at) = rest.find('%') {
        let (before, encoded) = rest.split_at(at);
        text.push_str(before);
        let digits = encoded.get(1..3).filter(|it| it.bytes().all(|it| it.is_ascii_hexdigit()));
        let Some(digits) = digits else {
            text.push('%');
            rest = encoded.get(1..).unwrap_or_default();
            continue;
        };
        let byte = u8::from_str_radix(digits, 16).unwrap_or_default();
        match char::from(byte) {
            // No dot that is decoded makes a segment of dots: those are resolved by now.
            it if it.is_ascii_alphanumeric() || "-._~".contains(it) => text.push(it),
            _ => {
                text.push('%');
                text.push_str(&digits.to_ascii_uppercase());
            }
        }
        rest = encoded.get(3..).unwrap_or_default();
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_one_form_and_is_of_the_same_server() {
        let from = "https://a.example/docs/x.html?q#f";
        for (base, address, to) in [
            (None, "y.html#part", Some("https://a.example/docs/y.html")),
            (
                None,
                "HTTPS://A.EXAMPLE:443/docs/./b/../y.html",
                Some("https://a.example/docs/y.html"),
            ),
            (None, "//a.example/%7euser/%c3%a4?", Some("https://a.example/~user/%C3%A4")),
            (None, "/x%2fy%2ehtml", Some("https://a.example/x%2Fy.html")),
            (None, "/x%zy", Some("https://a.example/x%zy")),
            (None, "?page=2", Some("https://a.example/docs/x.html?page=2")),
            (Some("/other/"), "y", Some("https://a.example/other/y")),
            (Some("https://b.example/"), "y", None),
            (None, "http://a.example/y", None),
            (None, "https://a.example:8443/y", None),
            (None, "https://user@a.example/y", None),
            (None, "https://a.example.evil.example/", None),
            (None, "mailto:a@a.example", None),
            (None, "javascript:alert(1)", None),
            (None, "\\\\b.example\\x", None),
        ] {
            assert_eq!(resolved(from, base, address).as_deref(), to, "{base:?} {address}");
        }
        assert_eq!(path_of("https://a.example/docs/x?y"), "/docs/x?y");
    }

    #[test]
    fn a_path_that_leads_elsewhere_once_it_is_decoded_is_known() {
        for (path, is) in [
            ("/docs/a.html", false),
            ("/docs/a%20b..c/...?x=..%2fy", false),
            ("/docs/%C3%A4%25", false),
            ("/docs/..%2fadmin", true),
            ("/docs/%2E%2E%2Fadmin", true),
            ("/docs/..%5cadmin", true),
            ("/docs/..%252fadmin", true),
            ("/docs/%252e%252e/admin", true),
            ("/docs/a%2Fb", true),
            ("/docs/a%255Cb", true),
            ("/docs/..;/admin", true),
            ("/docs/..%3Bx/admin", true),
        ] {
            assert_eq!(is_disguised(&format!("https://a.example{path}")), is, "{path}");
        }
    }
}
