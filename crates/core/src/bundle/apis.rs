//! What a bundle says about HTTP APIs: where one is, and which endpoints are its operations.

use super::document::Findings;
use super::network;
use super::openapi::{self, Described};
use super::suggest;
use crate::declare::{self, Api, ApiArgument, ApiTool, Gate, PlaceWord, Upstream};
use crate::endpoint::{self, ARGUMENTS_MAX, Endpoint, Field, Piece, Spot};
use crate::world::{Api as Compiled, Files};
use lockgate_types::{Json, JsonLimits, Object, OperationName, UpstreamName};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Bytes of what a tool is for.
const DESCRIPTION_BYTES_MAX: usize = 2048;
/// The shape of the schema of an argument.
const SCHEMA_LIMITS: JsonLimits =
    JsonLimits { bytes_max: 64 << 10, depth_max: 32, members_max: 1024 };

/// The endpoints of every API of a bundle.
pub(super) fn load(
    gate: &Gate,
    files: &Files,
    found: &mut Findings<'_>,
) -> BTreeMap<String, Compiled> {
    let apis = gate.upstream.iter();
    let apis = apis.filter_map(|(name, upstream)| Some((name, upstream, upstream.api.as_ref()?)));
    apis.map(|(name, upstream, api)| (name.clone(), compiled(name, upstream, api, files, found)))
        .collect()
}

fn compiled(
    name: &str,
    upstream: &Upstream,
    api: &Api,
    files: &Files,
    found: &mut Findings<'_>,
) -> Compiled {
    let mut described = Described::default();
    if let Some(file) = &api.openapi {
        let path = ["upstream", name, "api", "openapi"];
        match files.get(file).map(|bytes| openapi::read(bytes)) {
            Some(Ok(read)) => described = read,
            Some(Err(what)) => found.at(&path, format!("`{file}`: {what}"), ""),
            None => {
                let hint = "a path relative to the bundle, such as `apis/tickets.json`";
                found.at(&path, format!("there is no file `{file}` in the bundle"), hint);
            }
        }
    }
    for (tool, declared) in &api.tool {
        let path = ["upstream", name, "api", "tool", tool];
        if described.endpoints.contains_key(tool) {
            let what = format!("the OpenAPI document has an operation `{tool}` already");
            found.at(&path, what, "give it another name");
        }
        match endpoint(declared) {
            Ok(endpoint) => drop(described.endpoints.insert(tool.clone(), endpoint)),
            Err(what) => found.at(&path, format!("the endpoint `{tool}`: {what}"), ""),
        }
    }
    if let Ok(name) = UpstreamName::new(name) {
        described.endpoints.retain(|tool, _| OperationName::tool(&name, tool).is_ok());
    }
    let credentials: Vec<String> =
        gates_own(upstream).map(|name| name.to_ascii_lowercase()).collect();
    described.endpoints.retain(|tool, endpoint| {
        let mut fields = endpoint.fields.values().filter(|field| field.place == Spot::Header);
        let taken = fields.find(|it| credentials.contains(&it.name.to_ascii_lowercase()));
        let Some(field) = taken else { return true };
        let why = format!("its header `{}` is one that carries the gate's credentials", field.name);
        if api.tool.contains_key(tool) {
            let path = ["upstream", name, "api", "tool", tool];
            found.at(&path, format!("the endpoint `{tool}`: {why}"), "it is the gate's to set");
        }
        described.left_out.insert(tool.clone(), why);
        false
    });
    let endpoints = described.endpoints.into_iter();
    Compiled {
        endpoints: endpoints.map(|(tool, endpoint)| (tool, Arc::new(endpoint))).collect(),
        left_out: described.left_out,
    }
}

/// An endpoint that the bundle describes itself.
fn endpoint(declared: &ApiTool) -> Result<Endpoint, String> {
    let pieces = endpoint::parse(&declared.path).map_err(|what| format!("its path: {what}"))?;
    if declared.argument.len() > ARGUMENTS_MAX {
        return Err(format!("it has more than {ARGUMENTS_MAX} arguments"));
    }
    let (mut fields, mut properties) = (BTreeMap::new(), Object::new());
    for (argument, told) in &declared.argument {
        let fault = |what: &str| format!("the argument `{argument}`: {what}");
        let schema = property(told).map_err(|what| fault(&what))?;
        let name = told.name.as_ref().unwrap_or(argument).clone();
        let place = spot(told, &name, &schema).map_err(fault)?;
        let is_required = !told.optional;
        let is_twice = |field: &Field| field.place == place && field.name == name;
        if place != Spot::Path && fields.values().any(is_twice) {
            return Err(fault("another one goes to the same place"));
        }
        fields.insert(argument.clone(), Field { place, name, is_required });
        properties.set(argument.as_str(), schema);
    }
    let pieces = named(pieces, &fields)?;
    let has_body = fields.values().any(|field| field.place == Spot::Member);
    if has_body && (declared.method.is_safe() || declared.method == declare::MethodWord::Delete) {
        return Err(format!("a body where `{}` has none", declared.method.as_str()));
    }
    let said = declared.description.as_deref().unwrap_or_default();
    if said.len() > DESCRIPTION_BYTES_MAX {
        return Err(format!("its description is longer than {DESCRIPTION_BYTES_MAX} bytes"));
    }
    let needs_body = has_body && !declared.method.is_safe();
    Ok(Endpoint {
        method: declared.method,
        path: declared.path.clone(),
        pieces,
        schema: openapi::closed(properties, &fields)?,
        fields,
        content_type: "application/json".to_owned(),
        needs_body,
        description: openapi::description(declared.method, &declared.path, said),
    })
}

/// The pieces of a path by the names of arguments: each stands there once.
fn named(pieces: Vec<Piece>, fields: &BTreeMap<String, Field>) -> Result<Vec<Piece>, String> {
    let in_path = fields.iter().filter(|(_, field)| field.place == Spot::Path);
    let mut open: Vec<(&String, &Field)> = in_path.collect();
    let mut out = Vec::new();
    for piece in pieces {
        let Piece::Named(name) = piece else {
            out.push(piece);
            continue;
        };
        let Some(at) = open.iter().position(|(_, field)| field.name == name) else {
            return Err(format!("its path says `{{{name}}}`, which no argument fills"));
        };
        out.push(Piece::Named(open.remove(at).0.clone()));
    }
    match open.first() {
        Some((argument, _)) => Err(format!("its path does not say where `{argument}` goes")),
        None => Ok(out),
    }
}

fn property(told: &ApiArgument) -> Result<Json, String> {
    let mut schema = match (&told.kind, &told.schema) {
        (Some(kind), None) => Object::new().with("type", kind.as_str()),
        (None, Some(text)) => {
            let schema = Json::parse(text.as_bytes(), &SCHEMA_LIMITS);
            let schema = schema.map_err(|error| format!("its schema: {error}"))?;
            schema.as_object().cloned().ok_or("its schema is no object")?
        }
        (_, _) => return Err("it has one of `type` and `schema`".to_owned()),
    };
    if let Some(said) = &told.description {
        schema.set("description", said.as_str());
    }
    Ok(schema.into())
}

fn spot(told: &ApiArgument, name: &str, schema: &Json) -> Result<Spot, &'static str> {
    let is_scalar = openapi::is_scalar(schema);
    match told.place {
        _ if name.is_empty() || name.chars().any(char::is_control) => Err("it has no usable name"),
        PlaceWord::Path if told.optional => Err("what stands in the path is not optional"),
        PlaceWord::Path if is_scalar => Ok(Spot::Path),
        PlaceWord::Header if !network::may_be_filled(name) => {
            Err("it is not the name of a header that an argument can fill")
        }
        PlaceWord::Header if is_scalar => Ok(Spot::Header),
        PlaceWord::Query if is_scalar || openapi::is_list(schema) => Ok(Spot::Query),
        PlaceWord::Body => Ok(Spot::Member),
        PlaceWord::Path | PlaceWord::Header | PlaceWord::Query => {
            Err("it is text, number or truth there, and in the query also a list of them")
        }
    }
}

/// What is wrong with an upstream that is an API.
pub(super) fn check(name: &str, api: &Api, upstream: &Upstream, found: &mut Findings<'_>) {
    let of_servers = [
        ("env", upstream.env.is_empty()),
        ("pass_env", upstream.pass_env.is_empty()),
        ("directory", upstream.directory.is_none()),
        ("forward_methods", upstream.forward_methods.is_empty()),
        ("era", upstream.era.is_none()),
    ];
    for (key, _) in of_servers.into_iter().filter(|(_, is_unset)| !is_unset) {
        let what = format!("`{key}` of an upstream that is an API");
        found.at(&["upstream", name, key], what, "it is for tool servers");
    }
    if !network::is_base(&api.base_url) {
        let what = format!("`{}` is not the address of an API", api.base_url);
        let hint = "scheme, host and path: `https://api.example/v1`";
        found.at(&["upstream", name, "api", "base_url"], what, hint);
    }
    if api.openapi.is_none() && api.tool.is_empty() {
        let what = format!("the API `{name}` has no endpoints");
        found.at(&["upstream", name, "api"], what, "name an `openapi` document, or a `tool`");
    }
}

/// The endpoint that a declaration is about. `None` at any other upstream, and after a mistake.
pub(super) fn endpoint_of(
    api: Option<&Compiled>,
    declared: &declare::Operation,
    tool: &str,
    found: &mut Findings<'_>,
) -> Option<Arc<Endpoint>> {
    let api = api?;
    let path = ["tool", tool];
    let Some(endpoint) = api.endpoints.get(tool) else {
        let (what, hint) = match api.left_out.get(tool) {
            Some(why) => (format!("the endpoint `{tool}` cannot be used: {why}"), String::new()),
            None => {
                let known: Vec<&str> = api.endpoints.keys().map(String::as_str).collect();
                (format!("the API has no endpoint `{tool}`"), suggest::among(tool, &known))
            }
        };
        found.at(&path, what, hint);
        return None;
    };
    if declared.schema.is_some() {
        let what = format!("`{tool}` is an endpoint, and its schema is made of that");
        found.at(&["tool", tool, "schema"], what, "take `schema` away; a `pin` holds to it");
    }
    if let Some(key) = &declared.key {
        let is_taken = |name: &String| {
            let mut fields = endpoint.fields.values().filter(|it| it.place == Spot::Header);
            fields.any(|field| field.name.eq_ignore_ascii_case(name))
        };
        if key.meta.is_some() {
            let what = format!("the key of `{tool}`: an API is sent no `_meta`");
            found.at(&["tool", tool, "key"], what, "use `header` or `argument`");
        } else if key.header.as_ref().is_some_and(is_taken) {
            let what = format!("the key of `{tool}`: this header is an argument's");
            found.at(&["tool", tool, "key"], what, "say `argument`");
        }
    }
    Some(Arc::clone(endpoint))
}

/// The headers that the gate sets: its own credentials.
fn gates_own(upstream: &Upstream) -> impl Iterator<Item = &str> {
    let credentials = upstream.credential.iter().flat_map(|all| {
        let apart = [&all.read, &all.write, &all.lookup].into_iter().flatten();
        std::iter::once(&all.common).chain(apart)
    });
    let headers = credentials.filter_map(|one| one.header.as_deref());
    headers.chain(upstream.headers.keys().map(String::as_str))
}
