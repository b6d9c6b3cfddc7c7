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
            it if it.is_ascii_alphanumeric() || "-_~".contains(it) => text.push(it),
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
            (None, "/x%2fy", Some("https://a.example/x%2Fy")),
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
}
