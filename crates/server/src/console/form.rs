//! What a browser sends: a form's fields, its cookie, and where it says that it comes from.

use crate::http as reply;
use http::HeaderMap;
use http::header::{COOKIE, ORIGIN};
use lockgate_kernel::Refusal;
use lockgate_types::Code;

/// Fields of a form.
const FIELDS_MAX: usize = 8;

/// The fields of a form.
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    /// Reads `application/x-www-form-urlencoded`, strictly: each of these fields, once, and no
    /// other.
    pub(super) fn read(body: &[u8], wanted: &[&str]) -> Result<Self, Refusal> {
        Self::parse(body, wanted).map_err(Refusal::of)
    }

    fn parse(body: &[u8], wanted: &[&str]) -> Result<Self, Code> {
        let text = std::str::from_utf8(body).map_err(|_| Code::BadHttp)?;
        let mut fields: Vec<(String, String)> = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()).take(FIELDS_MAX) {
            let (name, value) = pair.split_once('=').ok_or(Code::BadHttp)?;
            let (name, value) = (decoded(name)?, decoded(value)?);
            let is_known = fields.iter().any(|(known, _)| *known == name);
            if is_known || !wanted.contains(&name.as_str()) {
                return Err(Code::BadHttp);
            }
            fields.push((name, value));
        }
        if fields.len() != wanted.len() {
            return Err(Code::BadHttp);
        }
        Ok(Self(fields))
    }

    pub(super) fn get(&self, name: &str) -> &str {
        let field = self.0.iter().find(|(known, _)| known == name);
        field.map(|(_, value)| value.as_str()).unwrap_or_default()
    }
}

/// A part of an address, or of a form, as it was meant.
fn decoded(text: &str) -> Result<String, Code> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                let (high, low) = (digit(), digit());
                let number = high.zip(low).map(|(high, low)| high * 16 + low);
                number.and_then(|it| u8::try_from(it).ok()).ok_or(Code::BadHttp)?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).map_err(|_| Code::BadHttp)
}

/// The value of a cookie. One that occurs twice is nobody's: somebody else has put one there.
pub(super) fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let all = headers.get_all(COOKIE).iter().filter_map(|header| header.to_str().ok());
    let pairs = all.flat_map(|header| header.split(';'));
    let mut values = pairs.filter_map(|pair| {
        let (found, value) = pair.trim().split_once('=')?;
        (found == name).then_some(value)
    });
    let first = values.next()?;
    values.next().is_none().then_some(first)
}

/// Whether a form was sent by a page of this very site: both that browsers say so of the page it is
/// in, and of how the two are related, where they do.
pub(super) fn is_own_page(headers: &HeaderMap, own: &[String]) -> bool {
    let Ok(origin) = reply::single(headers, ORIGIN.as_str()) else { return false };
    let Ok(site) = reply::single(headers, "sec-fetch-site") else { return false };
    let is_own = |origin: &str| own.iter().any(|own| own.eq_ignore_ascii_case(origin));
    match (origin, site) {
        (Some(origin), None | Some("same-origin")) => is_own(origin),
        _ => false,
    }
}

/// Whether a browser follows a link of another site: it keeps a strict cookie to itself then.
pub(super) fn is_from_elsewhere(headers: &HeaderMap) -> bool {
    let site = reply::single(headers, "sec-fetch-site");
    matches!(site, Ok(Some("cross-site" | "same-site")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn a_form_has_exactly_its_fields() {
        let form = Form::read(b"a=x+%C3%A9%26&b=", &["a", "b"]).unwrap();
        assert_eq!((form.get("a"), form.get("b"), form.get("c")), ("x é&", "", ""));
        let wrong: [&[u8]; 6] =
            [b"a=1", b"a=1&a=2", b"a=1&b=2&c=3", b"a=%C3&b=", b"a=%4&b=", b"a&b=1"];
        for body in wrong {
            assert!(Form::read(body, &["a", "b"]).is_err(), "{body:?}");
        }
    }

    #[test]
    fn a_cookie_that_occurs_twice_is_nobodys() {
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, HeaderValue::from_static("x=1; it=abc; y=2"));
        assert_eq!(cookie(&headers, "it"), Some("abc"));
        headers.append(COOKIE, HeaderValue::from_static("it=other"));
        assert_eq!(cookie(&headers, "it"), None);
    }

    #[test]
    fn a_form_comes_from_a_page_of_this_site() {
        let own = ["https://gate.example".to_owned()];
        let from = |origin: Option<&'static str>, site: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            for (name, value) in [("origin", origin), ("sec-fetch-site", site)] {
                if let Some(value) = value {
                    headers.insert(name, HeaderValue::from_static(value));
                }
            }
            is_own_page(&headers, &own)
        };
        assert!(from(Some("https://gate.example"), Some("same-origin")));
        assert!(from(Some("https://gate.example"), None));
        for (origin, site) in [
            (None, None),
            (None, Some("same-origin")),
            (Some("null"), Some("same-origin")),
            (Some("http://gate.example"), None),
            (Some("https://gate.example:8443"), None),
            (Some("https://gate.example"), Some("cross-site")),
            (Some("https://gate.example"), Some("none")),
        ] {
            assert!(!from(origin, site), "{origin:?} {site:?}");
        }
    }
}
