//! Walks a value along a compiled schema, within bounds.

use super::path::{Path, violation};
use super::{DEPTH_MAX, Decimal, Kind, Node, NodeId, Rule, VIOLATIONS_MAX, VISITS_MAX, Violation};
use lockgate_types::{Json, Object};
use std::collections::BTreeSet;

/// The value at hand. Arguments come as an object that nobody has wrapped.
#[derive(Clone, Copy)]
enum Value<'a> {
    Json(&'a Json),
    Object(&'a Object),
}

pub(super) fn check(nodes: &[Node], root: NodeId, value: &Json) -> Result<(), Vec<Violation>> {
    run(nodes, root, Value::Json(value))
}

pub(super) fn check_object(
    nodes: &[Node],
    root: NodeId,
    value: &Object,
) -> Result<(), Vec<Violation>> {
    run(nodes, root, Value::Object(value))
}

fn run(nodes: &[Node], root: NodeId, value: Value<'_>) -> Result<(), Vec<Violation>> {
    let mut walk = Walk { nodes, visits: 0, depth: 0, gave_up: None, found: Vec::new() };
    let is_valid = walk.node(root, value, &Path::Root, Report::Yes);
    if let Some(what) = walk.gave_up {
        // Not even a `not` may turn an unfinished check into a pass, and what it found is not to be
        // relied upon.
        return Err(vec![violation(&Path::Root, "bounds", what)]);
    }
    if is_valid {
        return Ok(());
    }
    Err(walk.found)
}

/// Whether a failure is a violation, or only the answer of a branch.
#[derive(Clone, Copy, PartialEq)]
enum Report {
    Yes,
    No,
}

struct Walk<'s> {
    nodes: &'s [Node],
    visits: usize,
    depth: usize,
    gave_up: Option<&'static str>,
    found: Vec<Violation>,
}

impl<'s> Walk<'s> {
    fn node(&mut self, id: NodeId, value: Value<'_>, path: &Path<'_>, report: Report) -> bool {
        self.visits += 1;
        if self.visits > VISITS_MAX || self.depth >= DEPTH_MAX {
            self.gave_up = Some("the schema asks for more work on this value than the gate does");
        }
        if self.gave_up.is_some() {
            return false;
        }
        let nodes = self.nodes;
        match nodes.get(id) {
            Some(Node::Always) => true,
            None | Some(Node::Never) => {
                self.fail(path, "false", report, || "it may not be here".to_owned())
            }
            Some(Node::Rules(rules)) => {
                self.depth += 1;
                let is_valid = self.rules(rules, value, path, report);
                self.depth -= 1;
                is_valid
            }
        }
    }

    fn rules(
        &mut self,
        rules: &'s [Rule],
        value: Value<'_>,
        path: &Path<'_>,
        report: Report,
    ) -> bool {
        let mut is_valid = true;
        for rule in rules {
            if self.rule(rule, value, path, report) {
                continue;
            }
            is_valid = false;
            // A value of the wrong type breaks what presumes the type as well: once is enough.
            let is_enough = matches!(rule, Rule::Type(_)) || self.found.len() >= VIOLATIONS_MAX;
            if report == Report::No || is_enough {
                return false;
            }
        }
        is_valid
    }

    fn rule(&mut self, rule: &'s Rule, value: Value<'_>, path: &Path<'_>, report: Report) -> bool {
        match rule {
            Rule::Type(kinds) => {
                kinds.iter().any(|kind| self.is_kind(value, *kind)) || {
                    let names: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
                    self.fail(path, "type", report, || format!("expected {}", names.join(" or ")))
                }
            }
            Rule::Enum(values) => {
                self.visits += values.len();
                values.iter().any(|other| self.is_equal(value, other)) || {
                    let words = values.iter().filter_map(Json::as_str).map(str::to_owned).collect();
                    self.fail_words(path, "enum", report, words)
                }
            }
            Rule::Const(other) => {
                self.is_equal(value, other)
                    || self.fail(path, "const", report, || "expected one fixed value".to_owned())
            }
            Rule::AllOf(ids) => {
                let mut is_valid = true;
                for id in ids {
                    is_valid &= self.node(*id, value, path, report);
                }
                is_valid
            }
            Rule::AnyOf(ids, words) => {
                ids.iter().any(|id| self.node(*id, value, path, Report::No))
                    || self.fail_words(path, "anyOf", report, words.clone())
            }
            Rule::OneOf(ids, words) => {
                let matching = ids.iter().filter(|id| self.node(**id, value, path, Report::No));
                matching.take(2).count() == 1
                    || self.fail_words(path, "oneOf", report, words.clone())
            }
            Rule::Not(id) => {
                !self.node(*id, value, path, Report::No)
                    || self
                        .fail(path, "not", report, || "it has a form that is excluded".to_owned())
            }
            Rule::If { condition, then, otherwise } => {
                let is_met = self.node(*condition, value, path, Report::No);
                let branch = if is_met { then } else { otherwise };
                branch.is_none_or(|id| self.node(id, value, path, report))
            }
            Rule::Ref(id) => self.node(*id, value, path, report),
            _ => match value {
                Value::Object(object) | Value::Json(Json::Object(object)) => {
                    self.object_rule(rule, object, path, report)
                }
                Value::Json(Json::Array(items)) => self.array_rule(rule, items, path, report),
                Value::Json(Json::String(text)) => self.string_rule(rule, text, path, report),
                Value::Json(Json::Number(number)) => {
                    self.number_rule(rule, number.text(), path, report)
                }
                Value::Json(Json::Null | Json::Bool(_)) => true,
            },
        }
    }

    fn object_rule(
        &mut self,
        rule: &'s Rule,
        object: &Object,
        path: &Path<'_>,
        report: Report,
    ) -> bool {
        match rule {
            Rule::Properties { named, patterns, additional } => {
                let mut is_valid = true;
                for (name, value) in object.iter() {
                    let here = Path::Name(path, name);
                    let mut is_named = false;
                    if let Ok(at) = named.binary_search_by(|(other, _)| other.as_str().cmp(name)) {
                        is_named = true;
                        let id = named.get(at).map_or(usize::MAX, |(_, id)| *id);
                        is_valid &= self.node(id, Value::Json(value), &here, report);
                    }
                    for (pattern, id) in patterns {
                        if pattern.is_match(name) {
                            is_named = true;
                            is_valid &= self.node(*id, Value::Json(value), &here, report);
                        }
                    }
                    if !is_named && let Some(id) = additional {
                        is_valid &= self.additional(*id, named, value, &here, report);
                    }
                }
                is_valid
            }
            Rule::PropertyNames(id) => object.iter().all(|(name, _)| {
                let name = Json::from(name);
                let is_valid = self.node(*id, Value::Json(&name), &Path::Root, Report::No);
                let what = || "a member's name does not have the required form".to_owned();
                is_valid || self.fail(path, "propertyNames", report, what)
            }),
            Rule::Required(names) => self.required(names, object, path, "required", report),
            Rule::MinProperties(min) => {
                object.len() >= *min || {
                    self.fail(path, "minProperties", report, || {
                        format!("expected at least {min} members")
                    })
                }
            }
            Rule::MaxProperties(max) => {
                object.len() <= *max || {
                    self.fail(path, "maxProperties", report, || {
                        format!("expected at most {max} members")
                    })
                }
            }
            Rule::DependentRequired(pairs) => pairs
                .iter()
                .filter(|(name, _)| object.contains(name))
                .fold(true, |is_valid, (_, names)| {
                    self.required(names, object, path, "dependentRequired", report) && is_valid
                }),
            Rule::DependentSchemas(pairs) => {
                let pairs = pairs.iter().filter(|(name, _)| object.contains(name));
                pairs.fold(true, |is_valid, (_, id)| {
                    self.node(*id, Value::Object(object), path, report) && is_valid
                })
            }
            _ => true,
        }
    }

    fn additional(
        &mut self,
        id: NodeId,
        named: &[(String, NodeId)],
        value: &Json,
        here: &Path<'_>,
        report: Report,
    ) -> bool {
        if !matches!(self.nodes.get(id), Some(Node::Never)) {
            return self.node(id, Value::Json(value), here, report);
        }
        if report == Report::Yes && self.found.len() < VIOLATIONS_MAX {
            let what = "the schema has no such member";
            let expected = named.iter().map(|(name, _)| name.clone()).collect();
            self.found
                .push(Violation { expected, ..violation(here, "additionalProperties", what) });
        }
        false
    }

    fn required(
        &mut self,
        names: &[String],
        object: &Object,
        path: &Path<'_>,
        rule: &'static str,
        report: Report,
    ) -> bool {
        let mut is_valid = true;
        for name in names.iter().filter(|name| !object.contains(name)) {
            is_valid = false;
            if report == Report::Yes && self.found.len() < VIOLATIONS_MAX {
                let expected = vec![name.clone()];
                let what = format!("`{name}` is missing");
                self.found.push(Violation { expected, ..violation(path, rule, &what) });
            }
        }
        is_valid
    }

    fn array_rule(
        &mut self,
        rule: &'s Rule,
        items: &[Json],
        path: &Path<'_>,
        report: Report,
    ) -> bool {
        match rule {
            Rule::Items { prefix, rest } => {
                let mut is_valid = true;
                for (at, item) in items.iter().enumerate() {
                    let here = Path::Index(path, at);
                    if let Some(id) = prefix.get(at).or(rest.as_ref()) {
                        is_valid &= self.node(*id, Value::Json(item), &here, report);
                    }
                }
                is_valid
            }
            Rule::Contains { id, min, max } => {
                let matching =
                    items.iter().filter(|item| self.node(*id, Value::Json(item), path, Report::No));
                let count = matching.count();
                (count >= *min && max.is_none_or(|max| count <= max)) || {
                    let what = || "the number of matching items is out of bounds".to_owned();
                    self.fail(path, "contains", report, what)
                }
            }
            Rule::MinItems(min) => {
                items.len() >= *min || {
                    self.fail(path, "minItems", report, || format!("expected at least {min} items"))
                }
            }
            Rule::MaxItems(max) => {
                items.len() <= *max || {
                    self.fail(path, "maxItems", report, || format!("expected at most {max} items"))
                }
            }
            Rule::UniqueItems => {
                let mut seen = BTreeSet::new();
                items.iter().all(|item| {
                    let mut normal = Vec::new();
                    self.write_normal(item, &mut normal);
                    seen.insert(normal)
                }) || {
                    self.fail(path, "uniqueItems", report, || "expected no item twice".to_owned())
                }
            }
            _ => true,
        }
    }

    fn string_rule(&mut self, rule: &'s Rule, text: &str, path: &Path<'_>, report: Report) -> bool {
        match rule {
            Rule::MinLength(min) => {
                text.chars().count() >= *min || {
                    self.fail(path, "minLength", report, || {
                        format!("expected at least {min} characters")
                    })
                }
            }
            Rule::MaxLength(max) => {
                text.chars().count() <= *max || {
                    self.fail(path, "maxLength", report, || {
                        format!("expected at most {max} characters")
                    })
                }
            }
            Rule::Pattern(pattern) => {
                pattern.is_match(text) || {
                    let what = || "it does not have the required form".to_owned();
                    self.fail(path, "pattern", report, what)
                }
            }
            _ => true,
        }
    }

    fn number_rule(&mut self, rule: &'s Rule, text: &str, path: &Path<'_>, report: Report) -> bool {
        type Holds = fn(&Decimal, &Decimal) -> bool;
        let (bound, keyword, holds): (&Decimal, &'static str, Holds) = match rule {
            Rule::Minimum(bound) => (bound, "minimum", |number, bound| number >= bound),
            Rule::Maximum(bound) => (bound, "maximum", |number, bound| number <= bound),
            Rule::ExclusiveMinimum(bound) => {
                (bound, "exclusiveMinimum", |number, bound| number > bound)
            }
            Rule::ExclusiveMaximum(bound) => {
                (bound, "exclusiveMaximum", |number, bound| number < bound)
            }
            Rule::MultipleOf(bound) => (bound, "multipleOf", Decimal::is_multiple_of),
            _ => return true,
        };
        let Some(number) = self.decimal(text) else { return false };
        holds(&number, bound)
            || self.fail(path, keyword, report, || "the number is out of bounds".to_owned())
    }

    fn decimal(&mut self, text: &str) -> Option<Decimal> {
        let decimal = Decimal::read(text);
        if decimal.is_none() {
            self.gave_up = Some("a number has an exponent that is out of bounds");
        }
        decimal
    }

    fn is_kind(&mut self, value: Value<'_>, kind: Kind) -> bool {
        match (value, kind) {
            (Value::Object(_) | Value::Json(Json::Object(_)), Kind::Object)
            | (Value::Json(Json::Null), Kind::Null)
            | (Value::Json(Json::Bool(_)), Kind::Boolean)
            | (Value::Json(Json::Array(_)), Kind::Array)
            | (Value::Json(Json::Number(_)), Kind::Number)
            | (Value::Json(Json::String(_)), Kind::String) => true,
            (Value::Json(Json::Number(number)), Kind::Integer) => {
                self.decimal(number.text()).is_some_and(|number| number.is_whole())
            }
            _ => false,
        }
    }

    /// Equality as JSON Schema has it: numbers by value, objects without order.
    fn is_equal(&mut self, value: Value<'_>, other: &Json) -> bool {
        match (value, other) {
            (Value::Json(Json::Number(a)), Json::Number(b)) => {
                let (a, b) = (self.decimal(a.text()), self.decimal(b.text()));
                a.is_some() && a == b
            }
            (Value::Json(Json::Array(a)), Json::Array(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| self.is_equal(Value::Json(a), b))
            }
            (Value::Object(a) | Value::Json(Json::Object(a)), Json::Object(b)) => {
                a.len() == b.len()
                    && a.iter().all(|(name, a)| {
                        b.get(name).is_some_and(|b| self.is_equal(Value::Json(a), b))
                    })
            }
            (Value::Json(a), b) => a == b,
            (Value::Object(_), _) => false,
        }
    }

    /// Bytes that equal values share.
    fn write_normal(&mut self, value: &Json, out: &mut Vec<u8>) {
        match value {
            Json::Number(number) => {
                let normal = self.decimal(number.text()).map(|number| number.to_normal());
                out.extend_from_slice(normal.unwrap_or_default().as_bytes());
            }
            Json::Array(items) => {
                out.push(b'[');
                for item in items {
                    self.write_normal(item, out);
                    out.push(b',');
                }
                out.push(b']');
            }
            Json::Object(object) => {
                let mut members: Vec<(&str, &Json)> = object.iter().collect();
                members.sort_unstable_by_key(|(name, _)| *name);
                out.push(b'{');
                for (name, value) in members {
                    Json::from(name).write(out);
                    out.push(b':');
                    self.write_normal(value, out);
                    out.push(b',');
                }
                out.push(b'}');
            }
            Json::Null | Json::Bool(_) | Json::String(_) => value.write(out),
        }
    }

    fn fail(
        &mut self,
        path: &Path<'_>,
        rule: &'static str,
        report: Report,
        what: impl FnOnce() -> String,
    ) -> bool {
        if report == Report::Yes && self.found.len() < VIOLATIONS_MAX {
            self.found.push(violation(path, rule, &what()));
        }
        false
    }

    fn fail_words(
        &mut self,
        path: &Path<'_>,
        rule: &'static str,
        report: Report,
        expected: Vec<String>,
    ) -> bool {
        if report == Report::Yes && self.found.len() < VIOLATIONS_MAX {
            let what = if expected.is_empty() {
                "it has none of the allowed forms".to_owned()
            } else {
                format!("expected one of `{}`", expected.join("`, `"))
            };
            self.found.push(Violation { expected, ..violation(path, rule, &what) });
        }
        false
    }
}
