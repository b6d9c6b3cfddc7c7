//! Reads an OpenAPI document (3.0 and 3.1, JSON): from operations to endpoints.
//!
//! What is read is what a request needs: paths, parameters, JSON bodies. `servers` and `security`
//! mean nothing here: where an API is and who the gate is there is for `lockgate.toml` to say. An
//! operation that asks for something else (a form, a cookie, an object in a query) is left out with
//! its reason. References are local and of bounded depth.

mod schema;

use crate::declare::MethodWord;
use crate::endpoint::{self, ARGUMENTS_MAX, Endpoint, Field, Spot};
use lockgate_types::{Json, JsonLimits, Object};
use schema::Expander;
pub(super) use schema::{closed, is_list, is_scalar};
use std::collections::BTreeMap;

/// Operations of one document.
pub const ENDPOINTS_MAX: usize = 4096;
/// Bytes of what an endpoint is for.
const DESCRIPTION_BYTES_MAX: usize = 4096;
/// Characters of a tool's name.
const NAME_CHARS_MAX: usize = 64;
/// The shape of a document.
const LIMITS: JsonLimits = JsonLimits { bytes_max: 4 << 20, depth_max: 96, members_max: 16_384 };

/// Headers that are the gate's own, or an operator's to set.
const HEADERS_IGNORED: [&str; 3] = ["accept", "content-type", "authorization"];

/// What a document describes.
#[derive(Debug, Default)]
pub struct Described {
    /// Endpoints, by the name of their tool.
    pub endpoints: BTreeMap<String, Endpoint>,
    /// What is left out, by the same names, and why.
    pub left_out: BTreeMap<String, String>,
}

/// Reads a document. `Err`: it is none.
pub fn read(bytes: &[u8]) -> Result<Described, String> {
    let document = Json::parse(bytes, &LIMITS).map_err(|error| error.to_string())?;
    let version = document.get("openapi").and_then(Json::as_str).unwrap_or_default();
    let is_3_0 = version.starts_with("3.0.");
    if !is_3_0 && !version.starts_with("3.1.") {
        return Err("it is not an OpenAPI document of version 3.0 or 3.1".to_owned());
    }
    let none = Object::new();
    let paths = document.get("paths").map_or(Some(&none), Json::as_object);
    let paths = paths.ok_or("`paths` is no object")?;
    let mut described = Described::default();
    for (path, item) in paths.iter().filter(|(path, _)| !path.starts_with("x-")) {
        let item = item.as_object().ok_or_else(|| format!("the path `{path}` is no object"))?;
        for method in MethodWord::ALL {
            let Some(operation) = item.get(&method.as_str().to_ascii_lowercase()) else { continue };
            if described.endpoints.len() + described.left_out.len() >= ENDPOINTS_MAX {
                return Err(format!("it has more than {ENDPOINTS_MAX} operations"));
            }
            let name = tool_name(method, path, operation);
            let reader = Reader {
                expander: Expander::new(&document, is_3_0),
                method,
                path,
                item,
                operation,
            };
            described.add(name, reader.endpoint());
        }
    }
    Ok(described)
}

impl Described {
    fn add(&mut self, name: String, endpoint: Result<Endpoint, String>) {
        if self.endpoints.remove(&name).is_some() || self.left_out.contains_key(&name) {
            self.left_out.insert(name, "several operations have this name".to_owned());
            return;
        }
        match endpoint {
            Ok(endpoint) => drop(self.endpoints.insert(name, endpoint)),
            Err(why) => drop(self.left_out.insert(name, why)),
        }
    }
}

/// The name of a tool: of the operation, or made of method and path.
fn tool_name(method: MethodWord, path: &str, operation: &Json) -> String {
    let id = operation.get("operationId").and_then(Json::as_str).filter(|id| !id.is_empty());
    let made = || format!("{}{path}", method.as_str().to_ascii_lowercase());
    let plain = |c: char| if c.is_ascii_alphanumeric() || "_-.".contains(c) { c } else { '_' };
    let name: String = id.map_or_else(made, str::to_owned).chars().map(plain).collect();
    name.trim_matches('_').chars().take(NAME_CHARS_MAX).collect()
}

/// One operation, being read.
struct Reader<'d> {
    expander: Expander<'d>,
    method: MethodWord,
    path: &'d str,
    item: &'d Object,
    operation: &'d Json,
}

/// The arguments of an endpoint, being gathered.
#[derive(Default)]
struct Gathered {
    fields: BTreeMap<String, Field>,
    /// What stands in the path, by its own name.
    in_path: BTreeMap<String, String>,
    properties: Object,
}

impl Gathered {
    fn add(&mut self, argument: &str, field: Field, schema: Json) -> Result<(), String> {
        if self.fields.len() >= ARGUMENTS_MAX {
            return Err(format!("it has more than {ARGUMENTS_MAX} arguments"));
        }
        if argument.is_empty() || argument.chars().any(char::is_control) {
            return Err("an argument has no usable name".to_owned());
        }
        if field.place == Spot::Path {
            self.in_path.insert(field.name.clone(), argument.to_owned());
        }
        self.fields.insert(argument.to_owned(), field);
        self.properties.set(argument, schema);
        Ok(())
    }
}

impl<'d> Reader<'d> {
    fn endpoint(mut self) -> Result<Endpoint, String> {
        if self.item.contains("$ref") {
            return Err("its path is described elsewhere".to_owned());
        }
        let pieces = endpoint::parse(self.path).map_err(|what| format!("its path: {what}"))?;
        let mut gathered = Gathered::default();
        for parameter in self.parameters()? {
            self.parameter(parameter, &mut gathered)?;
        }
        let (content_type, needs_body) = self.body(&mut gathered)?;
        let mut named = Vec::new();
        for piece in pieces {
            named.push(match piece {
                endpoint::Piece::Named(name) => match gathered.in_path.remove(&name) {
                    Some(argument) => endpoint::Piece::Named(argument),
                    None => return Err(format!("its path says `{{{name}}}`, which nothing fills")),
                },
                text @ endpoint::Piece::Text(_) => text,
            });
        }
        if let Some(name) = gathered.in_path.keys().next() {
            return Err(format!("its path does not say `{{{name}}}`, or says it twice"));
        }
        let schema = closed(gathered.properties, &gathered.fields)?;
        Ok(Endpoint {
            method: self.method,
            path: self.path.to_owned(),
            pieces: named,
            fields: gathered.fields,
            content_type,
            needs_body,
            schema,
            description: description(self.method, self.path, &self.said()),
        })
    }

    fn said(&self) -> String {
        let text =
            |name| self.operation.get(name).and_then(Json::as_str).unwrap_or_default().trim();
        match (text("summary"), text("description")) {
            ("", said) | (said, "") => said.to_owned(),
            (summary, said) if said.starts_with(summary) => said.to_owned(),
            (summary, said) => format!("{summary}\n\n{said}"),
        }
    }

    /// The parameters of the path, and those of the operation, which stand in for them.
    fn parameters(&mut self) -> Result<Vec<&'d Object>, String> {
        let of_path = self.item.get("parameters");
        let own = self.operation.get("parameters");
        let mut found: Vec<&'d Object> = Vec::new();
        for list in [of_path, own].into_iter().flatten() {
            for parameter in list.as_array().ok_or("its `parameters` are no list")? {
                let parameter = self.expander.resolved(parameter)?;
                let parameter = parameter.as_object().ok_or("a parameter is no object")?;
                let key = |it: &Object| (it.get("name").cloned(), it.get("in").cloned());
                found.retain(|other| key(other) != key(parameter));
                found.push(parameter);
            }
        }
        Ok(found)
    }

    fn parameter(&mut self, parameter: &'d Object, into: &mut Gathered) -> Result<(), String> {
        let text = |name| parameter.get(name).and_then(Json::as_str);
        let flag = |name| parameter.get(name).and_then(Json::as_bool);
        let (Some(name), Some(place)) = (text("name"), text("in")) else {
            return Err("a parameter has no `name` or no `in`".to_owned());
        };
        if place == "header" && HEADERS_IGNORED.contains(&name.to_ascii_lowercase().as_str()) {
            return Ok(());
        }
        let is_required = flag("required") == Some(true) || place == "path";
        let read = self.placed(parameter, name, place);
        let (place, mut schema) = match read {
            Ok(read) => read,
            // What may be left out is left out.
            Err(_) if !is_required => return Ok(()),
            Err(why) => return Err(format!("the parameter `{name}`: {why}")),
        };
        if let (Some(said), Json::Object(schema)) = (text("description"), &mut schema) {
            schema.set("description", said);
        }
        let argument = match into.fields.contains_key(name) {
            true => format!("{}_{name}", text("in").unwrap_or_default()),
            false => name.to_owned(),
        };
        into.add(&argument, Field { place, name: name.to_owned(), is_required }, schema)
    }

    fn placed(
        &mut self,
        parameter: &'d Object,
        name: &str,
        place: &str,
    ) -> Result<(Spot, Json), String> {
        let text = |name| parameter.get(name).and_then(Json::as_str);
        let schema = parameter.get("schema").ok_or("it has no `schema`")?;
        let schema = self.expander.schema(schema)?;
        let style = text("style");
        let explode = parameter.get("explode").and_then(Json::as_bool);
        let is_usual = match place {
            "path" | "header" => style.is_none_or(|style| style == "simple"),
            "query" => style.is_none_or(|style| style == "form"),
            _ => return Err(format!("`{place}` is no place the gate fills")),
        };
        if !is_usual {
            return Err("its `style` is not supported".to_owned());
        }
        let place = match place {
            "path" if is_scalar(&schema) => Spot::Path,
            "header" if is_scalar(&schema) => {
                if !super::network::may_be_filled(name) {
                    return Err("no argument fills this header".to_owned());
                }
                Spot::Header
            }
            "query" if is_scalar(&schema) => Spot::Query,
            "query" if is_list(&schema) && explode == Some(false) => Spot::QueryList,
            "query" if is_list(&schema) => Spot::Query,
            _ => return Err("its value is neither text, number or truth nor a list".to_owned()),
        };
        Ok((place, schema))
    }

    /// The media type of the body, and whether there has to be one.
    fn body(&mut self, into: &mut Gathered) -> Result<(String, bool), String> {
        const JSON: &str = "application/json";
        let Some(body) = self.operation.get("requestBody") else {
            return Ok((JSON.to_owned(), false));
        };
        let body = self.expander.resolved(body)?;
        let is_required = body.get("required").and_then(Json::as_bool) == Some(true);
        let content = body.get("content").and_then(Json::as_object);
        let is_json = |kind: &str| kind == JSON || kind.ends_with("+json");
        let mut kinds = content.into_iter().flat_map(|content| content.iter());
        let essence = |kind: &str| kind.split(';').next().unwrap_or_default().trim().to_owned();
        let found = kinds.find(|(kind, _)| is_json(&essence(kind)));
        let Some((kind, media)) = found else {
            return match is_required {
                true => Err("its body is no JSON".to_owned()),
                false => Ok((JSON.to_owned(), false)),
            };
        };
        if !self.method_has_body() {
            return Err("a body where the method has none".to_owned());
        }
        let schema = match media.get("schema") {
            Some(schema) => self.expander.schema(schema)?,
            None => Json::Bool(true),
        };
        match members(&schema, into) {
            Some((properties, required)) => {
                for (name, schema) in properties.iter() {
                    let is_required = required.contains(&name);
                    let field = Field { place: Spot::Member, name: name.to_owned(), is_required };
                    into.add(name, field, schema.clone())?;
                }
            }
            None => {
                let name = "body".to_owned();
                let field = Field { place: Spot::Body, name: name.clone(), is_required };
                if into.fields.contains_key(&name) {
                    return Err("a parameter is named `body`".to_owned());
                }
                into.add(&name, field, schema)?;
                return Ok((essence(kind), false));
            }
        }
        Ok((essence(kind), is_required))
    }

    const fn method_has_body(&self) -> bool {
        matches!(self.method, MethodWord::Post | MethodWord::Put | MethodWord::Patch)
    }
}

/// The members of a body that can be arguments of their own: those of a plain object whose names no
/// parameter has.
fn members<'s>(schema: &'s Json, into: &Gathered) -> Option<(&'s Object, Vec<&'s str>)> {
    const PLAIN: [&str; 6] =
        ["type", "properties", "required", "description", "title", "additionalProperties"];
    let schema = schema.as_object()?;
    let is_object = schema.get("type").is_none_or(|kind| kind.as_str() == Some("object"));
    let is_plain = schema.iter().all(|(name, _)| PLAIN.contains(&name));
    let is_map = matches!(schema.get("additionalProperties"), Some(Json::Object(_)));
    let properties = schema.get("properties")?.as_object()?;
    let is_taken = properties.iter().any(|(name, _)| into.fields.contains_key(name));
    let required = schema.get("required").and_then(Json::as_array).unwrap_or_default();
    let required: Vec<&str> = required.iter().filter_map(Json::as_str).collect();
    let is_whole = required.iter().all(|name| properties.contains(name));
    (is_object && is_plain && !is_map && !is_taken && is_whole).then_some((properties, required))
}

/// What an endpoint is for, with its target in the last line: whoever accepts one accepts both.
pub(super) fn description(method: MethodWord, path: &str, said: &str) -> String {
    let target = format!("{} {path}", method.as_str());
    let plain = |c: &char| !c.is_control() || *c == '\n';
    let mut text: String = said.trim().chars().filter(plain).collect();
    while text.len() + target.len() + 2 > DESCRIPTION_BYTES_MAX {
        text.pop();
    }
    if text.is_empty() { target } else { format!("{text}\n\n{target}") }
}

#[cfg(test)]
mod tests;
