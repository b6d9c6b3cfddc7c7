//! One declarative file: its text, its value, and the line of everything in it.
//!
//! The shape is checked against the generated JSON Schema, because a schema names every violation
//! with a path and a deserialiser stops at the first. What is in the wrong place is then taken out,
//! so that the rest can still be read and its meaning checked in the same run.

use super::suggest;
use crate::conform::{Conformance, Violation};
use crate::declare;
use crate::mistake::Mistake;
use lockgate_types::{Json, JsonLimits, Object};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};
use toml_edit::{Item, Value};

/// Rounds of finding violations and taking them out.
const ROUNDS_MAX: usize = 64;
/// Levels of tables and arrays in a file.
const DEPTH_MAX: usize = 32;

/// A declarative file as it was written.
#[derive(Debug)]
pub(super) struct Document {
    file: String,
    value: Json,
    /// JSON pointer to line, from 1.
    lines: BTreeMap<String, usize>,
}

/// Where the mistakes of one document go.
pub(super) struct Findings<'a> {
    document: &'a Document,
    mistakes: &'a mut Vec<Mistake>,
}

impl<'a> Findings<'a> {
    pub(super) fn new(document: &'a Document, mistakes: &'a mut Vec<Mistake>) -> Self {
        Self { document, mistakes }
    }

    /// Reports a mistake at a path of keys and indices.
    pub(super) fn at(&mut self, path: &[&str], what: impl Into<String>, hint: impl Into<String>) {
        let pointer: String = path.iter().fold(String::new(), |pointer, key| step(&pointer, key));
        let mistake = self.document.mistake(&pointer, what.into(), hint.into());
        self.mistakes.push(mistake);
    }

    /// The line of what is at a path of keys and indices, or of what that is in.
    pub(super) fn line(&self, path: &[&str]) -> Option<usize> {
        self.document.line(&path.iter().fold(String::new(), |pointer, key| step(&pointer, key)))
    }
}

/// Reads a file as what it should be. Reports every mistake in its shape; the value, if there is
/// one, leaves out what was in the wrong place.
pub(super) fn read<T: DeserializeOwned + JsonSchema>(
    file: &str,
    bytes: &[u8],
    mistakes: &mut Vec<Mistake>,
) -> Option<(T, Document)> {
    let mut document = parse(file, bytes, mistakes)?;
    let schema = Json::parse(declare::schema_of::<T>().to_string().as_bytes(), &JsonLimits::OWN);
    let conformance = schema.ok().and_then(|schema| Conformance::compile(&schema).ok());
    let Some(conformance) = conformance else {
        let what = "the schema of this kind of file does not compile".to_owned();
        mistakes.push(document.mistake("", what, "report this".to_owned()));
        return None;
    };
    let mut taken = BTreeSet::new();
    for _ in 0..ROUNDS_MAX {
        let Err(violations) = conformance.check(&document.value) else { break };
        for violation in &violations {
            // What was wrong and has been taken out is not missing as well.
            let missing = violation.expected.first().filter(|_| violation.rule == "required");
            if !missing.is_some_and(|name| taken.contains(&step(&violation.path, name))) {
                mistakes.push(document.describe(violation));
            }
        }
        for violation in &violations {
            taken.insert(take_out(&mut document.value, &violation.path));
        }
    }
    match serde_json::from_slice(&document.value.to_bytes()) {
        Ok(value) => Some((value, document)),
        Err(error) => {
            if mistakes.iter().all(|mistake| mistake.file != file) {
                let what = format!("the file cannot be read: {error}");
                mistakes.push(document.mistake("", what, String::new()));
            }
            None
        }
    }
}

fn parse(file: &str, bytes: &[u8], mistakes: &mut Vec<Mistake>) -> Option<Document> {
    let mistake =
        |line, what: String| Mistake { file: file.to_owned(), line, what, hint: String::new() };
    let text = match text_of(file, bytes) {
        Ok(text) => text,
        Err(mistake) => {
            mistakes.push(mistake);
            return None;
        }
    };
    let toml = match toml_edit::Document::parse(text) {
        Ok(toml) => toml,
        Err(error) => {
            let line = error.span().map(|span| line_of(text, span.start));
            // The parser explains over several lines; a mistake is one.
            let message = error.message().trim().replace('\n', ", ");
            mistakes.push(mistake(line, format!("not TOML: {message}")));
            return None;
        }
    };
    let ends = text.match_indices('\n').map(|(at, _)| at).collect();
    let mut reader = Reader { ends, lines: BTreeMap::new(), is_too_deep: false };
    let value = reader.item(toml.as_item(), "", 0);
    if reader.is_too_deep {
        mistakes.push(mistake(None, format!("nested deeper than {DEPTH_MAX} levels")));
        return None;
    }
    Some(Document { file: file.to_owned(), value, lines: reader.lines })
}

/// The text of a file.
pub(super) fn text_of<'b>(file: &str, bytes: &'b [u8]) -> Result<&'b str, Mistake> {
    std::str::from_utf8(bytes).map_err(|error| {
        let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let what = "the file is not UTF-8".to_owned();
        Mistake { file: file.to_owned(), line: Some(line), what, hint: String::new() }
    })
}

impl Document {
    /// A file that is optional and not there.
    pub(super) fn absent(file: &str) -> Self {
        Self { file: file.to_owned(), value: Object::new().into(), lines: BTreeMap::new() }
    }

    /// A file that was read before, for what is found out about it later.
    pub(super) fn of(file: &str, bytes: &[u8]) -> Option<Self> {
        parse(file, bytes, &mut Vec::new())
    }

    fn mistake(&self, pointer: &str, what: String, hint: String) -> Mistake {
        Mistake { file: self.file.clone(), line: self.line(pointer), what, hint }
    }

    /// The line of a place, or of what it is in.
    fn line(&self, pointer: &str) -> Option<usize> {
        let mut pointer = pointer;
        loop {
            if let Some(line) = self.lines.get(pointer) {
                return Some(*line);
            }
            pointer = pointer.rsplit_once('/')?.0;
        }
    }

    fn describe(&self, violation: &Violation) -> Mistake {
        let key = named(&violation.path);
        let (what, hint) = match violation.rule {
            "additionalProperties" => {
                (format!("unknown key `{key}`"), suggest::among(&key, &violation.expected))
            }
            "enum" | "oneOf" if !violation.expected.is_empty() => {
                let words = violation.expected.join("`, `");
                (format!("`{key}` is not one of `{words}`"), String::new())
            }
            "required" => (format!("{}{}", violation.what, within(&key)), String::new()),
            "minimum" | "maximum" => (format!("`{key}` is out of bounds"), String::new()),
            _ => (format!("`{key}`: {}", violation.what), String::new()),
        };
        self.mistake(&violation.path, what, hint)
    }
}

fn within(key: &str) -> String {
    if key.is_empty() { String::new() } else { format!(" in `{key}`") }
}

/// Takes out what stands at a pointer; with an item of an array, the array, so that no index moves.
/// Says what went.
pub(super) fn take_out(value: &mut Json, pointer: &str) -> String {
    let mut pointer = pointer;
    while let Some((parent, last)) = pointer.rsplit_once('/') {
        if let Some(Json::Object(object)) = value_at(value, parent) {
            object.remove(&unescaped(last));
            break;
        }
        pointer = parent;
    }
    pointer.to_owned()
}

fn value_at<'v>(value: &'v mut Json, pointer: &str) -> Option<&'v mut Json> {
    pointer.split('/').skip(1).try_fold(value, |value, segment| match value {
        Json::Object(object) => object.get_mut(&unescaped(segment)),
        Json::Array(items) => items.get_mut(segment.parse::<usize>().ok()?),
        _ => None,
    })
}

/// The key at a pointer as people name it: an item of an array by its number, from 1.
fn named(pointer: &str) -> String {
    let Some((parent, last)) = pointer.rsplit_once('/') else { return String::new() };
    match last.parse::<usize>() {
        Ok(at) if !parent.is_empty() => {
            let array = unescaped(parent.rsplit('/').next().unwrap_or_default());
            format!("{array}[{}]", at + 1)
        }
        _ => unescaped(last),
    }
}

fn unescaped(segment: &str) -> String {
    segment.replace("~1", "/").replace("~0", "~")
}

struct Reader {
    /// Where lines end.
    ends: Vec<usize>,
    lines: BTreeMap<String, usize>,
    is_too_deep: bool,
}

impl Reader {
    fn item(&mut self, item: &Item, pointer: &str, depth: usize) -> Json {
        match item {
            Item::None => Json::Null,
            Item::Value(value) => self.value(value, pointer, depth),
            Item::Table(table) => self.table(table, pointer, depth),
            Item::ArrayOfTables(tables) => {
                let mut items = Vec::new();
                for (at, table) in tables.iter().enumerate() {
                    let pointer = step(pointer, &at.to_string());
                    self.mark(&pointer, table.span());
                    items.push(self.table(table, &pointer, depth + 1));
                }
                Json::Array(items)
            }
        }
    }

    fn table(&mut self, table: &dyn toml_edit::TableLike, pointer: &str, depth: usize) -> Json {
        let mut object = Object::new();
        if depth >= DEPTH_MAX {
            self.is_too_deep = true;
            return object.into();
        }
        for (name, item) in table.iter() {
            let pointer = step(pointer, name);
            let key = table.key(name).and_then(toml_edit::Key::span);
            self.mark(&pointer, key.or_else(|| item.span()));
            let value = self.item(item, &pointer, depth + 1);
            object.set(name, value);
        }
        object.into()
    }

    fn value(&mut self, value: &Value, pointer: &str, depth: usize) -> Json {
        if depth >= DEPTH_MAX {
            self.is_too_deep = true;
            return Json::Null;
        }
        match value {
            Value::String(text) => text.value().as_str().into(),
            Value::Integer(number) => (*number.value()).into(),
            Value::Boolean(value) => (*value.value()).into(),
            // Nothing in a bundle is a fraction or a time: what stands here is refused by the
            // schema.
            Value::Float(_) | Value::Datetime(_) => Json::Null,
            Value::Array(array) => {
                let mut items = Vec::new();
                for (at, item) in array.iter().enumerate() {
                    let pointer = step(pointer, &at.to_string());
                    self.mark(&pointer, item.span());
                    items.push(self.value(item, &pointer, depth + 1));
                }
                Json::Array(items)
            }
            Value::InlineTable(table) => self.table(table, pointer, depth),
        }
    }

    fn mark(&mut self, pointer: &str, span: Option<std::ops::Range<usize>>) {
        if let Some(span) = span {
            let line = self.ends.partition_point(|end| *end < span.start) + 1;
            self.lines.insert(pointer.to_owned(), line);
        }
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().get(..offset).unwrap_or_default();
    before.iter().filter(|byte| **byte == b'\n').count() + 1
}

fn step(pointer: &str, key: &str) -> String {
    format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"))
}
