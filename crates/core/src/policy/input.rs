//! Which arguments policies can see, and as what.
//!
//! The shape comes from the accepted JSON Schema: strings, integers, numbers with at most four
//! decimals, booleans, arrays of these, objects to a bounded depth. A value that does not fit its
//! shape, or that nobody declared, is left out and remembered: a policy that speaks about it can
//! then not be relied upon.

use cedar_policy_core::ast::{Name, PartialValue, Value};
use cedar_policy_core::extensions::Extensions;
use lockgate_types::{Json, Number, Object};
use std::collections::BTreeMap;

/// Levels of objects within arguments that policies can look into. Deeper ones are left out of the
/// schema.
const DEPTH_MAX: usize = 4;
/// Local references (`$ref`) followed in a row. Schemas that need more are left out.
const REFERENCES_MAX: usize = 8;

/// What a policy sees of one value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    String,
    Long,
    /// A number that may have a fraction: `decimal`.
    Decimal,
    Bool,
    Set(Box<Shape>),
    Record(Record),
}

/// What a policy sees of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Record(pub(super) BTreeMap<String, Member>);

/// One member of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) shape: Shape,
    pub(super) is_required: bool,
    /// Whether `null` stands for absence.
    is_nullable: bool,
}

impl Record {
    /// The shape of the arguments that a JSON Schema describes.
    pub(super) fn of_schema(schema: Option<&Json>) -> Self {
        schema.map(|root| record(root, root, 0)).unwrap_or_default()
    }

    /// The arguments as policies see them, and the names of those they cannot be shown.
    pub(super) fn read<'a>(
        &'a self,
        arguments: Option<&'a Object>,
        decimal: &Name,
    ) -> (Value, Vec<&'a str>) {
        let mut unusable = Vec::new();
        let mut members = Vec::new();
        for (name, json) in arguments.into_iter().flat_map(Object::iter) {
            let Some(member) = self.0.get(name) else {
                unusable.push(name);
                continue;
            };
            if member.is_nullable && *json == Json::Null {
                continue;
            }
            match value(&member.shape, json, decimal) {
                Some(value) => members.push((name, value)),
                None => unusable.push(name),
            }
        }
        let is_present = |name: &str| members.iter().any(|(given, _)| *given == name);
        for (name, member) in &self.0 {
            if member.is_required && !is_present(name) && !unusable.contains(&name.as_str()) {
                unusable.push(name);
            }
        }
        (Value::record(members, None), unusable)
    }
}

fn record(schema: &Json, root: &Json, depth: usize) -> Record {
    let Some(schema) = resolve(schema, root) else { return Record::default() };
    let required = schema.get("required").and_then(Json::as_array).unwrap_or_default();
    let properties = schema.get("properties").and_then(Json::as_object);
    let members = properties.into_iter().flat_map(Object::iter).filter_map(|(name, property)| {
        let (shape, is_nullable) = shape(property, root, depth)?;
        let is_named = required.iter().any(|item| item.as_str() == Some(name));
        let is_required = is_named && !is_nullable && !shape.is_partial();
        Some((name.to_owned(), Member { shape, is_required, is_nullable }))
    });
    Record(members.collect())
}

/// The shape a schema gives to its values, and whether `null` is one of them.
fn shape(schema: &Json, root: &Json, depth: usize) -> Option<(Shape, bool)> {
    let schema = resolve(schema, root)?;
    if let Some(inner) = nullable_choice(schema) {
        return Some((shape(inner, root, depth)?.0, true));
    }
    let (word, is_nullable) = type_word(schema)?;
    let shape = match word {
        "string" => Shape::String,
        "integer" => Shape::Long,
        "number" => Shape::Decimal,
        "boolean" => Shape::Bool,
        "array" => Shape::Set(Box::new(scalar(schema.get("items")?, root)?)),
        "object" if depth + 1 < DEPTH_MAX && schema.get("properties").is_some() => {
            Shape::Record(record(schema, root, depth + 1))
        }
        _ => return None,
    };
    Some((shape, is_nullable))
}

fn scalar(schema: &Json, root: &Json) -> Option<Shape> {
    let schema = resolve(schema, root)?;
    match type_word(schema)? {
        ("string", false) => Some(Shape::String),
        ("integer", false) => Some(Shape::Long),
        ("number", false) => Some(Shape::Decimal),
        ("boolean", false) => Some(Shape::Bool),
        _ => None,
    }
}

/// The word of `type`, and whether `null` stands beside it.
fn type_word(schema: &Json) -> Option<(&str, bool)> {
    match schema.get("type") {
        Some(Json::String(word)) => Some((word, false)),
        Some(Json::Array(words)) => match words.as_slice() {
            [Json::String(null), Json::String(word)] | [Json::String(word), Json::String(null)]
                if null == "null" =>
            {
                Some((word, true))
            }
            _ => None,
        },
        None => {
            let words = schema.get("enum")?.as_array()?;
            let are_strings = !words.is_empty() && words.iter().all(|w| w.as_str().is_some());
            are_strings.then_some(("string", false))
        }
        Some(_) => None,
    }
}

/// `T` of `anyOf: [T, {type: null}]`: how optional arguments are usually described.
fn nullable_choice(schema: &Json) -> Option<&Json> {
    let choice = schema.get("anyOf").or_else(|| schema.get("oneOf"))?.as_array()?;
    let is_null = |json: &Json| json.get("type").and_then(Json::as_str) == Some("null");
    match choice {
        [null, other] | [other, null] if is_null(null) && !is_null(other) => Some(other),
        _ => None,
    }
}

/// Follows references to definitions of the same schema.
fn resolve<'a>(schema: &'a Json, root: &'a Json) -> Option<&'a Json> {
    let mut schema = schema;
    for _ in 0..REFERENCES_MAX {
        let Some(reference) = schema.get("$ref") else { return Some(schema) };
        let (table, name) = reference.as_str()?.strip_prefix("#/")?.split_once('/')?;
        if !matches!(table, "$defs" | "definitions") || name.contains(['/', '~', '%']) {
            return None;
        }
        schema = root.get(table)?.get(name)?;
    }
    None
}

impl Shape {
    /// Whether some values that the schema allows have no counterpart in policies: then the
    /// attribute is optional.
    fn is_partial(&self) -> bool {
        match self {
            Self::Decimal => true,
            Self::Set(item) => item.is_partial(),
            Self::String | Self::Long | Self::Bool | Self::Record(_) => false,
        }
    }
}

fn value(shape: &Shape, json: &Json, decimal: &Name) -> Option<Value> {
    match (shape, json) {
        (Shape::String, Json::String(text)) => Some(Value::from(text.as_str())),
        (Shape::Long, Json::Number(number)) => Some(Value::from(number.as_i64()?)),
        (Shape::Decimal, Json::Number(number)) => decimal_value(number, decimal),
        (Shape::Bool, Json::Bool(value)) => Some(Value::from(*value)),
        (Shape::Set(item), Json::Array(items)) => {
            let items: Option<Vec<Value>> =
                items.iter().map(|json| value(item, json, decimal)).collect();
            Some(Value::set(items?, None))
        }
        (Shape::Record(record), Json::Object(object)) => {
            let (value, unusable) = record.read(Some(object), decimal);
            unusable.is_empty().then_some(value)
        }
        _ => None,
    }
}

/// The number as a `decimal`, if it has an exact one: plain notation, four decimals, 64 bits.
fn decimal_value(number: &Number, decimal: &Name) -> Option<Value> {
    let text = number.text();
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let fraction = fraction.trim_end_matches('0');
    let fraction = if fraction.is_empty() { "0" } else { fraction };
    let plain = Value::from(format!("{whole}.{fraction}"));
    match Extensions::all_available().func(decimal).ok()?.call(&[plain]).ok()? {
        PartialValue::Value(value) => Some(value),
        PartialValue::Residual(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockgate_types::JsonLimits;

    fn json(text: &str) -> Json {
        Json::parse(text.as_bytes(), &JsonLimits::OWN).unwrap()
    }

    fn read(schema: &str, arguments: &str) -> (String, Vec<String>) {
        let record = Record::of_schema(Some(&json(schema)));
        let arguments = json(arguments);
        let decimal = "decimal".parse().unwrap();
        let (value, unusable) = record.read(arguments.as_object(), &decimal);
        (value.to_string(), unusable.into_iter().map(str::to_owned).collect())
    }

    const SCHEMA: &str = r##"{"type":"object","required":["amount","price","who","tags"],"properties":{
        "amount":{"type":"integer"}, "price":{"type":"number"}, "note":{"anyOf":[{"type":"string"},{"type":"null"}]},
        "who":{"$ref":"#/$defs/Who"}, "tags":{"type":"array","items":{"type":"string"}}, "any":{}},
        "$defs":{"Who":{"type":"object","required":["id"],"properties":{"id":{"type":"string"},"age":{"type":["integer","null"]}}}}}"##;

    #[test]
    fn required_only_if_always_representable() {
        let record = Record::of_schema(Some(&json(SCHEMA)));
        let required: Vec<_> =
            record.0.iter().filter(|(_, m)| m.is_required).map(|(name, _)| name.as_str()).collect();
        assert_eq!(required, ["amount", "tags", "who"]);
        assert!(!record.0.contains_key("any"));
    }

    #[test]
    fn usable_arguments_become_values() {
        let given =
            r#"{"amount":5,"price":1.50,"note":null,"who":{"id":"a","age":null},"tags":["x","x"]}"#;
        let (value, unusable) = read(SCHEMA, given);
        assert_eq!(value, r#"{amount: 5, price: decimal("1.5"), tags: ["x"], who: {id: "a"}}"#);
        assert!(unusable.is_empty());
    }

    #[test]
    fn what_has_no_exact_counterpart_is_left_out_and_remembered() {
        for (given, expected) in [
            (r#"{"amount":9223372036854775808,"who":{"id":"a"},"tags":[]}"#, vec!["amount"]),
            (r#"{"amount":1.0,"who":{"id":"a"},"tags":[]}"#, vec!["amount"]),
            (r#"{"amount":"1","who":{"id":"a"},"tags":[]}"#, vec!["amount"]),
            (r#"{"who":{"id":"a"},"tags":[]}"#, vec!["amount"]),
            (r#"{"amount":1,"price":0.00001,"who":{"id":"a"},"tags":[]}"#, vec!["price"]),
            (r#"{"amount":1,"price":1e3,"who":{"id":"a"},"tags":[]}"#, vec!["price"]),
            (r#"{"amount":1,"who":{"id":"a","x":1},"tags":[]}"#, vec!["who"]),
            (r#"{"amount":1,"who":{"id":"a"},"tags":[1]}"#, vec!["tags"]),
            (
                r#"{"amount":1,"who":{"id":"a"},"tags":[],"surprise":1,"any":2}"#,
                vec!["surprise", "any"],
            ),
            (r#"{"amount":null,"who":{"id":"a"},"tags":[]}"#, vec!["amount"]),
        ] {
            assert_eq!(read(SCHEMA, given).1, expected, "{given}");
        }
    }

    #[test]
    fn a_reference_to_itself_ends() {
        let schema = r##"{"type":"object","properties":{"a":{"$ref":"#/$defs/A"}},"$defs":{"A":{"$ref":"#/$defs/A"}}}"##;
        assert!(Record::of_schema(Some(&json(schema))).0.is_empty());
        let nested = r##"{"type":"object","properties":{"a":{"$ref":"#/$defs/A"}},
            "$defs":{"A":{"type":"object","properties":{"a":{"$ref":"#/$defs/A"}}}}}"##;
        assert!(Record::of_schema(Some(&json(nested))).0.contains_key("a"));
    }
}
