//! From arguments to the one request that they make, or to why they make none.

use super::path::{self, Piece};
use super::{Endpoint, Field, Spot};
use lockgate_types::{Json, Object};
use std::fmt::Write as _;

/// Bytes of a path with its query.
pub const TARGET_BYTES_MAX: usize = 8 << 10;
/// Bytes of an argument in a header.
pub const HEADER_VALUE_BYTES_MAX: usize = 4 << 10;
/// Items of a list in a query.
pub const QUERY_ITEMS_MAX: usize = 256;

/// What is sent, without the address of the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assembled {
    /// Path and query, encoded.
    pub target: String,
    /// Headers that arguments make.
    pub headers: Vec<(String, String)>,
    /// The body: canonical JSON.
    pub body: Option<Vec<u8>>,
}

impl Endpoint {
    /// The request that a call makes. `Err`: why it makes none, without what was given.
    pub fn assemble(&self, arguments: Option<&Object>) -> Result<Assembled, String> {
        let none = Object::new();
        let arguments = arguments.unwrap_or(&none);
        if arguments.iter().any(|(name, _)| !self.fields.contains_key(name)) {
            return Err("it has an argument that nobody declared".to_owned());
        }
        let missing =
            self.fields.iter().find(|(name, field)| field.is_required && !arguments.contains(name));
        if let Some((name, _)) = missing {
            return Err(format!("the argument `{name}` is missing"));
        }
        let mut target = self.filled_path(arguments)?;
        let (mut headers, mut members, mut whole) = (Vec::new(), Object::new(), None);
        let mut before = '?';
        for (argument, value) in arguments.iter() {
            let Some(Field { place, name, .. }) = self.fields.get(argument) else { continue };
            let fault = |what: &str| format!("the argument `{argument}`: {what}");
            match place {
                Spot::Path => {}
                Spot::Query | Spot::QueryList => {
                    for text in query_values(value, *place).map_err(fault)? {
                        let _ = write!(target, "{before}{}={text}", encoded(name));
                        before = '&';
                    }
                }
                Spot::Header => headers.push((name.clone(), header_value(value).map_err(fault)?)),
                Spot::Member => members.set(name.as_str(), value.clone()),
                Spot::Body => whole = Some(value.to_canonical()),
            }
        }
        if target.len() > TARGET_BYTES_MAX {
            return Err(format!("path and query are longer than {TARGET_BYTES_MAX} bytes"));
        }
        let has_members = self.needs_body || !members.is_empty();
        let body = whole.or_else(|| has_members.then(|| Json::from(members).to_canonical()));
        Ok(Assembled { target, headers, body })
    }

    fn filled_path(&self, arguments: &Object) -> Result<String, String> {
        // Twice: as it is sent, and as it reads, since what several arguments of one segment make
        // together counts.
        let (mut sent, mut read) = (String::new(), String::new());
        for piece in &self.pieces {
            let argument = match piece {
                Piece::Text(text) => {
                    sent.push_str(text);
                    read.push_str(text);
                    continue;
                }
                Piece::Named(argument) => argument,
            };
            let fault = |what: &str| format!("the argument `{argument}`: {what}");
            let text = arguments.get(argument).and_then(scalar);
            let text = text.ok_or_else(|| fault("it is no text, number or truth"))?;
            if let Some(what) = path::fault(&text) {
                return Err(fault(what));
            }
            sent.push_str(&encoded(&text));
            read.push_str(&text);
        }
        match read.split('/').any(path::is_dots) {
            true => Err("its arguments make a step to another path".to_owned()),
            false => Ok(sent),
        }
    }
}

/// A value as it stands in an address or a header. Numbers keep the text that policy saw.
fn scalar(value: &Json) -> Option<String> {
    match value {
        Json::String(text) => Some(text.clone()),
        Json::Number(number) => Some(number.text().to_owned()),
        Json::Bool(true) => Some("true".to_owned()),
        Json::Bool(false) => Some("false".to_owned()),
        Json::Null | Json::Array(_) | Json::Object(_) => None,
    }
}

fn query_values(value: &Json, place: Spot) -> Result<Vec<String>, &'static str> {
    let one = |value: &Json| {
        let text = scalar(value).ok_or("it is no text, number or truth, and no list of them")?;
        match text.chars().any(char::is_control) {
            true => Err("it has a control character"),
            false => Ok(encoded(&text)),
        }
    };
    let Json::Array(items) = value else { return Ok(vec![one(value)?]) };
    if items.len() > QUERY_ITEMS_MAX {
        return Err("it has too many items");
    }
    let items = items.iter().map(one).collect::<Result<Vec<_>, _>>()?;
    match place {
        Spot::QueryList if items.is_empty() => Ok(items),
        Spot::QueryList => Ok(vec![items.join(",")]),
        _ => Ok(items),
    }
}

fn header_value(value: &Json) -> Result<String, &'static str> {
    let text = scalar(value).ok_or("it is no text, number or truth")?;
    let is_visible = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
    if !text.bytes().all(is_visible) || text.trim() != text || text.is_empty() {
        return Err("it has characters that a header cannot carry");
    }
    match text.len() > HEADER_VALUE_BYTES_MAX {
        true => Err("it is too long for a header"),
        false => Ok(text),
    }
}

/// Everything but what never needs it (RFC 3986 §2.3) as percent signs and digits.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}
