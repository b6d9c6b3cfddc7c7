//! Schemas of an OpenAPI document as JSON Schema that stands for itself: references followed, what
//! is said in the words of 3.0 said in those of 2020-12, and what is no rule taken away.

use crate::conform::{Conformance, Unsupported};
use crate::endpoint::Field;
use lockgate_types::{Json, Object};
use std::collections::BTreeMap;

/// References and schemas within one another.
const DEPTH_MAX: usize = 32;
/// Schemas that one operation comes to once its references are followed.
const SCHEMAS_MAX: usize = 4000;
/// Patterns of one schema that are left out because they cannot be checked.
const PATTERNS_LEFT_OUT_MAX: usize = 32;

/// Keywords of OpenAPI that are no rule for an argument.
const ANNOTATIONS: [&str; 11] = [
    "example",
    "examples",
    "discriminator",
    "xml",
    "externalDocs",
    "deprecated",
    "readOnly",
    "writeOnly",
    "nullable",
    "$comment",
    "$id",
];
const ONE: [&str; 10] = [
    "additionalProperties",
    "propertyNames",
    "contains",
    "not",
    "if",
    "then",
    "else",
    "items",
    "unevaluatedItems",
    "unevaluatedProperties",
];
const MANY: [&str; 3] = ["anyOf", "oneOf", "prefixItems"];
const MAP: [&str; 2] = ["patternProperties", "dependentSchemas"];

/// Follows the references of a document, within bounds.
pub(super) struct Expander<'d> {
    document: &'d Json,
    is_3_0: bool,
    schemas: usize,
}

impl<'d> Expander<'d> {
    pub(super) const fn new(document: &'d Json, is_3_0: bool) -> Self {
        Self { document, is_3_0, schemas: 0 }
    }

    /// What a value refers to, if it is a reference.
    pub(super) fn resolved(&self, value: &'d Json) -> Result<&'d Json, String> {
        let mut value = value;
        for _ in 0..DEPTH_MAX {
            match value.get("$ref") {
                None => return Ok(value),
                Some(reference) => value = self.target(reference)?,
            }
        }
        Err("its references go round, or too deep".to_owned())
    }

    fn target(&self, reference: &Json) -> Result<&'d Json, String> {
        let text = reference.as_str().ok_or("a reference is no text")?;
        let Some(pointer) = text.strip_prefix("#/") else {
            return Err("it refers to something outside of the document".to_owned());
        };
        let mut at = self.document;
        for step in pointer.split('/') {
            let step = step.replace("~1", "/").replace("~0", "~");
            let next = match at {
                Json::Array(items) => step.parse::<usize>().ok().and_then(|it| items.get(it)),
                _ => at.get(&step),
            };
            at = next.ok_or("it refers to something that is not there")?;
        }
        Ok(at)
    }

    /// A schema that stands for itself.
    pub(super) fn schema(&mut self, schema: &'d Json) -> Result<Json, String> {
        self.expanded(schema, 0)
    }

    fn expanded(&mut self, schema: &'d Json, depth: usize) -> Result<Json, String> {
        self.schemas += 1;
        if depth > DEPTH_MAX || self.schemas > SCHEMAS_MAX {
            return Err("its schemas go round, too deep or too far".to_owned());
        }
        let Json::Object(object) = schema else { return Ok(schema.clone()) };
        let mut out = Object::new();
        let mut branches = Vec::new();
        if let Some(reference) = object.get("$ref") {
            let found = self.expanded(self.target(reference)?, depth + 1)?;
            let is_alone = self.is_3_0 || object.iter().all(|(name, _)| is_said(name));
            if is_alone {
                return Ok(described(found, object));
            }
            branches.push(found);
        }
        for (name, value) in object.iter() {
            match name {
                "$ref" => {}
                "properties" => self.properties(value, &mut out, depth)?,
                "required" => out.set("required", self.required(object, value)),
                "allOf" => {
                    for branch in value.as_array().ok_or("`allOf` is no list")? {
                        branches.push(self.expanded(branch, depth + 1)?);
                    }
                }
                "exclusiveMinimum" | "exclusiveMaximum" if self.is_3_0 => {}
                "minimum" | "maximum" if self.is_3_0 => bound(object, name, value, &mut out),
                _ if ANNOTATIONS.contains(&name) || name.starts_with("x-") => {}
                _ if ONE.contains(&name) && !matches!(value, Json::Array(_)) => {
                    out.set(name, self.expanded(value, depth + 1)?);
                }
                _ if MANY.contains(&name) => {
                    let mut list = Vec::new();
                    for item in value.as_array().ok_or("a list of schemas is none")? {
                        list.push(self.expanded(item, depth + 1)?);
                    }
                    out.set(name, list);
                }
                _ if MAP.contains(&name) => out.set(name, self.map(value, depth)?),
                _ => out.set(name, value.clone()),
            }
        }
        nullable(object, &mut out);
        Ok(together(out, branches))
    }

    /// Members that a caller may send.
    fn properties(
        &mut self,
        value: &'d Json,
        out: &mut Object,
        depth: usize,
    ) -> Result<(), String> {
        let mut members = Object::new();
        for (name, member) in value.as_object().ok_or("`properties` is no object")?.iter() {
            if !self.is_only_read(member) {
                members.set(name, self.expanded(member, depth + 1)?);
            }
        }
        out.set("properties", members);
        Ok(())
    }

    fn required(&self, object: &'d Object, value: &'d Json) -> Json {
        let members = object.get("properties");
        let is_sent = |name: &&Json| {
            let member = name.as_str().and_then(|name| members?.get(name));
            !member.is_some_and(|member| self.is_only_read(member))
        };
        let names = value.as_array().unwrap_or_default().iter();
        Json::Array(names.filter(is_sent).cloned().collect())
    }

    fn is_only_read(&self, member: &'d Json) -> bool {
        let resolved = self.resolved(member).unwrap_or(member);
        [member, resolved].iter().any(|it| it.get("readOnly").and_then(Json::as_bool) == Some(true))
    }

    fn map(&mut self, value: &'d Json, depth: usize) -> Result<Json, String> {
        let mut map = Object::new();
        for (name, item) in value.as_object().ok_or("a map of schemas is none")?.iter() {
            map.set(name, self.expanded(item, depth + 1)?);
        }
        Ok(map.into())
    }
}

/// Whether a word beside a reference only says something.
fn is_said(name: &str) -> bool {
    let is_annotation = ANNOTATIONS.contains(&name) && name != "nullable";
    is_annotation || matches!(name, "$ref" | "description" | "title" | "summary")
}

fn described(mut found: Json, beside: &Object) -> Json {
    if let (Json::Object(found), Some(said)) = (&mut found, beside.get("description")) {
        found.set("description", said.clone());
    }
    found
}

/// In 3.0, whether a bound is exclusive is a flag beside it.
fn bound(object: &Object, name: &str, value: &Json, out: &mut Object) {
    let exclusive = match name {
        "minimum" => "exclusiveMinimum",
        _ => "exclusiveMaximum",
    };
    let is_exclusive = object.get(exclusive).and_then(Json::as_bool) == Some(true);
    out.set(if is_exclusive { exclusive } else { name }, value.clone());
}

fn nullable(object: &Object, out: &mut Object) {
    if object.get("nullable").and_then(Json::as_bool) != Some(true) {
        return;
    }
    if let Some(Json::String(kind)) = out.get("type").cloned() {
        out.set("type", vec![Json::from(kind), Json::from("null")]);
    }
}

/// One object of what `allOf` puts together, where all of it is plain objects: so that members of
/// each can be arguments. Else `allOf` stays.
fn together(own: Object, branches: Vec<Json>) -> Json {
    if branches.is_empty() {
        return own.into();
    }
    let mut merged = own.clone();
    let all_merged = branches.iter().all(|branch| merge(&mut merged, branch));
    if all_merged { merged.into() } else { own.with("allOf", branches).into() }
}

fn merge(into: &mut Object, branch: &Json) -> bool {
    let Some(branch) = branch.as_object() else { return false };
    for (name, value) in branch.iter() {
        match name {
            "type" if into.get("type").is_none_or(|own| own == value) => {
                into.set("type", value.clone());
            }
            "description" | "title" => {
                if !into.contains(name) {
                    into.set(name, value.clone());
                }
            }
            "properties" => {
                let mut members =
                    into.get("properties").and_then(Json::as_object).cloned().unwrap_or_default();
                for (name, member) in value.as_object().into_iter().flat_map(Object::iter) {
                    if members.get(name).is_some_and(|own| own != member) {
                        return false;
                    }
                    members.set(name, member.clone());
                }
                into.set("properties", members);
            }
            "required" => {
                let own = into.get("required").and_then(Json::as_array).unwrap_or_default();
                let mut names = own.to_vec();
                names.extend(value.as_array().unwrap_or_default().iter().cloned());
                names.dedup();
                into.set("required", names);
            }
            _ => return false,
        }
    }
    true
}

const SCALARS: [&str; 4] = ["string", "integer", "number", "boolean"];

/// Whether every value is a text, a number or a truth.
pub(crate) fn is_scalar(schema: &Json) -> bool {
    let all_scalar = |list: &Json| {
        let items = list.as_array().unwrap_or_default();
        !items.is_empty() && items.iter().all(is_scalar)
    };
    let of_kind = |kind: &Json| kind.as_str().is_some_and(|kind| SCALARS.contains(&kind));
    match (schema.get("type"), schema.get("enum"), schema.get("oneOf").or(schema.get("anyOf"))) {
        (Some(Json::Array(kinds)), _, _) => !kinds.is_empty() && kinds.iter().all(of_kind),
        (Some(kind), _, _) => of_kind(kind),
        (None, Some(values), _) => values.as_array().is_some_and(|values| {
            let is_plain =
                |it: &Json| matches!(it, Json::String(_) | Json::Number(_) | Json::Bool(_));
            !values.is_empty() && values.iter().all(is_plain)
        }),
        (None, None, Some(branches)) => all_scalar(branches),
        (None, None, None) => false,
    }
}

/// Whether every value is a list of such.
pub(crate) fn is_list(schema: &Json) -> bool {
    let is_array = schema.get("type").and_then(Json::as_str) == Some("array");
    is_array && schema.get("items").is_some_and(is_scalar)
}

/// The schema of arguments: those, and no others. `Err`: it asks for what cannot be checked.
pub(crate) fn closed(properties: Object, fields: &BTreeMap<String, Field>) -> Result<Json, String> {
    let required = fields.iter().filter(|(_, field)| field.is_required);
    let required: Vec<Json> = required.map(|(name, _)| Json::from(name.as_str())).collect();
    let mut schema = Json::from(
        Object::new()
            .with("type", "object")
            .with("properties", properties)
            .with("required", required)
            .with("additionalProperties", false),
    );
    for _ in 0..PATTERNS_LEFT_OUT_MAX {
        match Conformance::compile(&schema) {
            Ok(_) => return Ok(schema),
            // A pattern only narrows a text, and the API still checks it.
            Err(Unsupported { pointer, .. }) if pointer.ends_with("/pattern") => {
                crate::bundle::document::take_out(&mut schema, &pointer);
            }
            Err(error) => return Err(error.to_string()),
        }
    }
    Err("it has too many patterns that cannot be checked".to_owned())
}
