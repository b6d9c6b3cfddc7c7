//! Headers of an HTTP request, as the stateless era mirrors the body into them.
//!
//! Names ignore case, white space around values does not count, values are otherwise compared byte
//! for byte. A value that is not plain ASCII travels as `=?base64?…?=`. Which arguments of a tool
//! are mirrored is written in its input schema (`x-mcp-header`); a tool whose annotations break the
//! rules is not shown to clients.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lockgate_types::{Json, Object};

/// The header with the method.
pub const METHOD_HEADER: &str = "mcp-method";
/// The header with the name of the tool or prompt, or the address of the resource.
pub const NAME_HEADER: &str = "mcp-name";
/// What the headers of mirrored arguments begin with.
pub const PARAM_HEADER_PREFIX: &str = "mcp-param-";
/// The annotation of a property whose value is mirrored.
pub const ANNOTATION: &str = "x-mcp-header";
/// How many arguments of one tool may be mirrored: servers bound the headers they read.
pub const MIRRORED_MAX: usize = 64;

/// The headers of one request, in their order, as bytes.
#[derive(Clone, Debug, Default)]
pub struct Headers<'a>(Vec<(&'a str, &'a [u8])>);

impl<'a> Headers<'a> {
    /// The first value of that name, without the white space around it.
    pub fn first(&self, name: &str) -> Option<&'a [u8]> {
        self.values(name).next()
    }

    /// Whether there are two of that name: two readers could take different ones.
    pub fn is_repeated(&self, name: &str) -> bool {
        self.values(name).nth(1).is_some()
    }

    fn values(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.0.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| trim(v))
    }
}

impl<'a> FromIterator<(&'a str, &'a [u8])> for Headers<'a> {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a [u8])>>(headers: I) -> Self {
        Self(headers.into_iter().collect())
    }
}

/// Optional white space of RFC 9110 §5.6.3.
fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// The value of a header for this text: plain where that is safe, else in base64.
pub fn encode(text: &str) -> String {
    let is_plain = text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
        && trim(text.as_bytes()).len() == text.len()
        && !(text.starts_with(OPEN) && text.ends_with(CLOSE));
    if is_plain { text.to_owned() } else { format!("{OPEN}{}{CLOSE}", STANDARD.encode(text)) }
}

/// The text of a header's value; `None` if it has forbidden characters or malformed base64.
pub fn decode(value: &[u8]) -> Option<String> {
    let value = std::str::from_utf8(trim(value)).ok()?;
    if !value.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~')) {
        return None;
    }
    match value.strip_prefix(OPEN).and_then(|rest| rest.strip_suffix(CLOSE)) {
        // The engine refuses missing padding and trailing bits, so that one text has one encoding.
        Some(encoded) => String::from_utf8(STANDARD.decode(encoded).ok()?).ok(),
        None => Some(value.to_owned()),
    }
}

const OPEN: &str = "=?base64?";
const CLOSE: &str = "?=";

/// An argument of a tool that is mirrored into a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MirroredArgument {
    /// The header's name, complete: `Mcp-Param-Region`.
    pub header: String,
    /// The names of properties that lead to it from the arguments.
    pub path: Vec<String>,
    /// What the schema says it is.
    pub kind: MirroredKind,
}

/// The types that may be mirrored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MirroredKind {
    /// `string`
    Text,
    /// `integer`: compared as a number.
    Integer,
    /// `boolean`
    Boolean,
}

/// Why a tool's annotations are not acceptable. Such a tool is left out of what clients see.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`x-mcp-header` at `{at}` {reason}")]
pub struct AnnotationError {
    /// Where in the schema: names of properties, or `(elsewhere)`.
    pub at: String,
    /// What is wrong.
    pub reason: &'static str,
}

/// The mirrored arguments of a tool with this input schema.
pub fn mirrored_arguments(schema: &Json) -> Result<Vec<MirroredArgument>, AnnotationError> {
    let mut found = Vec::new();
    walk(schema, Some(&mut Vec::new()), &mut found)?;
    Ok(found)
}

/// Keywords whose value is a schema, that hold a list of schemas, and that hold schemas by name.
const ONE_SCHEMA: &[&str] = &[
    "items",
    "additionalItems",
    "contains",
    "unevaluatedItems",
    "additionalProperties",
    "propertyNames",
    "unevaluatedProperties",
    "not",
    "if",
    "then",
    "else",
    "contentSchema",
];
const SCHEMA_LIST: &[&str] = &["allOf", "anyOf", "oneOf", "prefixItems", "items"];
const SCHEMA_MAP: &[&str] =
    &["patternProperties", "dependentSchemas", "dependencies", "$defs", "definitions"];

/// Visits every place of the schema that is a schema itself, and no data (`default`, `enum`,
/// `const`, `examples`). `path` is `None` once anything but `properties` was passed. The depth is
/// bounded by the reader's.
fn walk(
    schema: &Json,
    mut path: Option<&mut Vec<String>>,
    found: &mut Vec<MirroredArgument>,
) -> Result<(), AnnotationError> {
    let Some(members) = schema.as_object() else { return Ok(()) };
    if let Some(annotation) = members.get(ANNOTATION) {
        let argument = annotated(members, annotation, path.as_ref().map(|path| path.as_slice()))?;
        let is_taken = |other: &MirroredArgument| {
            other.header.eq_ignore_ascii_case(&argument.header) || other.path == argument.path
        };
        if found.iter().any(is_taken) {
            return Err(refuse(&argument.path, "names a header that another property has"));
        }
        if found.len() >= MIRRORED_MAX {
            return Err(refuse(&argument.path, "is one of too many"));
        }
        found.push(argument);
    }
    for (keyword, value) in members.iter() {
        if keyword == "properties" {
            for (name, property) in value.as_object().into_iter().flat_map(Object::iter) {
                match path.as_deref_mut() {
                    Some(path) => {
                        path.push(name.to_owned());
                        walk(property, Some(path), found)?;
                        path.pop();
                    }
                    None => walk(property, None, found)?,
                }
            }
        }
        if ONE_SCHEMA.contains(&keyword) {
            walk(value, None, found)?;
        }
        if SCHEMA_LIST.contains(&keyword) {
            for item in value.as_array().unwrap_or_default() {
                walk(item, None, found)?;
            }
        }
        if SCHEMA_MAP.contains(&keyword) {
            for (_, item) in value.as_object().into_iter().flat_map(Object::iter) {
                walk(item, None, found)?;
            }
        }
    }
    Ok(())
}

fn annotated(
    schema: &Object,
    annotation: &Json,
    path: Option<&[String]>,
) -> Result<MirroredArgument, AnnotationError> {
    let path = match path {
        Some(path) if !path.is_empty() => path,
        _ => return Err(refuse(&[], "is not on a property that `properties` alone lead to")),
    };
    let Some(name) = annotation.as_str() else {
        return Err(refuse(path, "is not a string"));
    };
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err(refuse(path, "is not the name of a header"));
    }
    let kind = match schema.get("type").and_then(Json::as_str) {
        Some("string") => MirroredKind::Text,
        Some("integer") => MirroredKind::Integer,
        Some("boolean") => MirroredKind::Boolean,
        _ => return Err(refuse(path, "is on a property that is no string, integer or boolean")),
    };
    Ok(MirroredArgument { header: format!("Mcp-Param-{name}"), path: path.to_vec(), kind })
}

fn refuse(path: &[String], reason: &'static str) -> AnnotationError {
    let at = if path.is_empty() { "(elsewhere)".to_owned() } else { path.join(".") };
    AnnotationError { at, reason }
}

/// A character of a token (RFC 9110 §5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

impl MirroredArgument {
    /// The argument's value; null and absent are the same.
    pub fn value<'j>(&self, arguments: &'j Object) -> Option<&'j Json> {
        let (first, rest) = self.path.split_first()?;
        let value = rest.iter().try_fold(arguments.get(first)?, |value, name| value.get(name))?;
        (*value != Json::Null).then_some(value)
    }

    /// The text that mirrors a value; `None` if it has no such text.
    pub fn text(&self, value: &Json) -> Option<String> {
        match value {
            Json::String(text) => Some(text.clone()),
            Json::Bool(value) => Some(value.to_string()),
            Json::Number(number) => {
                let integer = integer_text(number.text());
                Some(integer.unwrap_or_else(|| number.text().to_owned()))
            }
            Json::Null | Json::Array(_) | Json::Object(_) => None,
        }
    }

    /// Whether the text of a header mirrors a value.
    pub fn mirrors(&self, text: &str, value: &Json) -> bool {
        let Some(expected) = self.text(value) else { return false };
        let is_number = self.kind == MirroredKind::Integer && matches!(value, Json::Number(_));
        text == expected || (is_number && integer_text(text).is_some_and(|text| text == expected))
    }
}

/// The integer that a decimal text stands for, in one spelling: `42`, `042` and `42.0` are `42`. No
/// exponents.
fn integer_text(text: &str) -> Option<String> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text),
    };
    let (whole, fraction) = match digits.split_once('.') {
        Some((_, "")) => return None,
        Some(parts) => parts,
        None => (digits, ""),
    };
    let is_integer = !whole.is_empty()
        && whole.bytes().all(|byte| byte.is_ascii_digit())
        && fraction.bytes().all(|byte| byte == b'0');
    if !is_integer {
        return None;
    }
    let whole = whole.trim_start_matches('0');
    Some(if whole.is_empty() { "0".to_owned() } else { format!("{sign}{whole}") })
}
