//! Compiles the operations: what the bundle declares, what the protocol has built in, and the
//! gate's own.

use super::admin::{ADMIN_OPERATIONS, RESERVED};
use super::apis;
use super::databases;
use super::document::{self, Findings};
use super::flow;
use super::memories;
use super::phases;
use super::places::Place;
use super::repeat;
use super::retrievers;
use super::search;
use super::suggest;
use super::text::comment;
use crate::conform::{Conformance, Unsupported};
use crate::declare::{self, EffectWord, Operations, Provider, Upstream};
use crate::flow::Declared;
use crate::mistake::Mistake;
use crate::quarantine;
use crate::world::{Api, Files, Operation, Server};
use lockgate_types::call::Effect;
use lockgate_types::facts::Difference;
use lockgate_types::flow::Author;
use lockgate_types::methods::BUILTIN_METHODS;
use lockgate_types::{Digest, Json, JsonLimits, Object, OperationName, UpstreamName};
use std::collections::BTreeMap;

/// The shape of an accepted schema's text.
const SCHEMA_LIMITS: JsonLimits =
    JsonLimits { bytes_max: 1 << 20, depth_max: 64, members_max: 4096 };

/// The gate's own operations whose arguments policies can see.
const APPROVING: [&str; 2] = ["approval_give", "approval_deny"];
const APPROVING_SCHEMA: &str = r#"{"type":"object","additionalProperties":true,"properties":{
    "call":{"type":"string"},"requirement":{"type":"string"},"reason":{"type":"string"},
    "operation":{"type":"string"},"agent":{"type":"string"},"environment":{"type":"string"},
    "tenant":{"type":"string"},"claimed_by":{"type":"string"}}}"#;

/// What one operation is accepted despite.
const DESPITE_MAX: usize = 64;
/// What policies can see of reading a log: whose it is.
const READING_LOGS: &str = "checkpoint_read";
const READING_SCHEMA: &str = r#"{"type":"object","additionalProperties":true,"properties":{
    "tenant":{"type":"string"}}}"#;
/// What policies see of who sets a mode of what.
const MODES: [&str; 4] = ["session_loosen", "session_tighten", "posture_loosen", "posture_tighten"];
const MODES_SCHEMA: &str = r#"{"type":"object","additionalProperties":true,"properties":{
    "to":{"type":"string"},"reason":{"type":"string"},"session":{"type":"string"},
    "agent":{"type":"string"},"environment":{"type":"string"},"own":{"type":"boolean"},
    "tenant":{"type":"string"}}}"#;

/// What policies see of who looks at the runs of others, and ends them: whose each is. Of a list,
/// the tenant that is asked for.
const OVERSIGHT: [&str; 2] = ["runs_read_all", "run_cancel_any"];
const OVERSIGHT_SCHEMA: &str = r#"{"type":"object","additionalProperties":true,"properties":{
    "run":{"type":"string"},"task":{"type":"string"},"subject":{"type":"string"},
    "agent":{"type":"string"},"environment":{"type":"string"},"tenant":{"type":"string"},
    "reason":{"type":"string"}}}"#;

/// What policies see of a step that asks people.
const ASKING: &str = "run_approve";
const ASKING_SCHEMA: &str = r#"{"type":"object","additionalProperties":true,"properties":{
    "run":{"type":"string"},"task":{"type":"string"},"step":{"type":"string"},
    "question":{"type":"string"}}}"#;

/// What policies see of an answer in place of a model.
const STANDING_IN: &str = "model_stand_in";
const STANDING_IN_SCHEMA: &str = r#"{"type":"object","additionalProperties":true,"properties":{
    "kind":{"type":"string"},"task":{"type":"string"},"confidentiality":{"type":"string"}}}"#;

/// Operations of one bundle.
const OPERATIONS_MAX: usize = 65_536;

/// Entity types that policies have anyway.
const ENTITY_TYPES: [&str; 7] = ["User", "Agent", "Group", "Role", "Tenant", "Upstream", "Action"];

type Compiled = BTreeMap<OperationName, Operation>;
type Upstreams = BTreeMap<String, Upstream>;

/// Every operation there is. Without upstreams (the gate's file is broken) declarations are checked
/// all the same.
pub(super) fn load(
    files: &Files,
    upstreams: Option<&Upstreams>,
    apis: &BTreeMap<String, Api>,
    mistakes: &mut Vec<Mistake>,
) -> Compiled {
    let mut compiled = Compiled::new();
    add_own(&mut compiled);
    search::add(files, &mut compiled);
    for (name, upstream) in upstreams.into_iter().flatten() {
        let Ok(name) = UpstreamName::new(name) else { continue };
        add_builtin(&name, upstream, &mut compiled);
    }
    for (path, bytes) in files {
        let Place::Operations(name) = Place::of(path) else { continue };
        let known = upstreams.map(|upstreams| upstreams.keys().collect::<Vec<_>>());
        if let Some(mistake) = misplaced(path, name, known.as_deref()) {
            mistakes.push(mistake);
        }
        let Some((declared, document)) = document::read::<Operations>(path, bytes, mistakes) else {
            continue;
        };
        let mut found = Findings::new(&document, mistakes);
        let Ok(upstream) = UpstreamName::new(name) else { continue };
        let of = upstreams.and_then(|upstreams| upstreams.get(name));
        let is_process = of.is_some_and(|upstream| upstream.command.is_some());
        let of = (&upstream, of, apis.get(name));
        add_declared(of, &declared, &mut found, &mut compiled);
        repeat::check(&upstream, &declared, is_process, &mut found, &compiled);
        phases::check(&upstream, &declared, &mut found, &compiled);
    }
    if compiled.len() > OPERATIONS_MAX {
        mistakes.push(Mistake {
            file: super::GATE.to_owned(),
            line: None,
            what: format!("the bundle has more than {OPERATIONS_MAX} operations"),
            hint: "use more than one gate".to_owned(),
        });
    }
    compiled
}

fn misplaced(path: &str, name: &str, known: Option<&[&String]>) -> Option<Mistake> {
    let mistake = |what: String, hint: String| {
        Some(Mistake { file: path.to_owned(), line: None, what, hint })
    };
    if name == RESERVED {
        let what = format!("the operations of `{RESERVED}` are the gate's own");
        return mistake(what, "they cannot be declared otherwise".to_owned());
    }
    let known = known?;
    if known.iter().any(|other| *other == name) {
        return None;
    }
    mistake(format!("there is no upstream `{name}`"), suggest::among(name, known))
}

/// The gate's own operations are tools of an upstream that is the gate. Their arguments are the
/// admin API's concern.
fn add_own(compiled: &mut Compiled) {
    let Ok(upstream) = UpstreamName::new(RESERVED) else { return };
    for (name, effect) in ADMIN_OPERATIONS {
        if let Ok(name) = OperationName::tool(&upstream, name) {
            compiled.insert(name, undeclared(&upstream, *effect, true));
        }
    }
    // Who may answer is for policies to say, by what waits; who may read a log, by whose it is; who
    // may set a mode, by what of.
    for (name, effect) in ADMIN_OPERATIONS {
        let schema = match *name {
            READING_LOGS => READING_SCHEMA,
            ASKING => ASKING_SCHEMA,
            STANDING_IN => STANDING_IN_SCHEMA,
            name if APPROVING.contains(&name) => APPROVING_SCHEMA,
            name if MODES.contains(&name) => MODES_SCHEMA,
            name if OVERSIGHT.contains(&name) => OVERSIGHT_SCHEMA,
            _ => continue,
        };
        let mut operation = undeclared(&upstream, *effect, true);
        operation.schema = Json::parse(schema.as_bytes(), &SCHEMA_LIMITS).ok();
        if let Ok(name) = OperationName::tool(&upstream, name) {
            compiled.insert(name, operation);
        }
    }
}

/// The interfaces of a provider of models change nothing there: what is sent is a prompt.
fn add_interfaces(name: &UpstreamName, provider: &Provider, compiled: &mut Compiled) {
    for api in provider.family.apis() {
        let mut operation = undeclared(name, Effect::Read, true);
        operation.model = Some(*api);
        operation.flow.returns.author = Author::Model;
        if let Ok(name) = OperationName::builtin(name, api.method()) {
            compiled.insert(name, operation);
        }
    }
}

/// The built-in methods of an upstream, which may be declared otherwise.
fn builtin_methods(upstream: Option<&Upstream>) -> Vec<&'static str> {
    match upstream.and_then(|upstream| upstream.model.as_ref()) {
        Some(provider) => provider.family.apis().iter().map(|api| api.method()).collect(),
        None => BUILTIN_METHODS.iter().map(|(name, ..)| *name).collect(),
    }
}

fn add_builtin(name: &UpstreamName, upstream: &Upstream, compiled: &mut Compiled) {
    if let Some(provider) = &upstream.model {
        return add_interfaces(name, provider, compiled);
    }
    for (method, effect, _) in BUILTIN_METHODS {
        let mut operation = undeclared(name, *effect, true);
        operation.schema = builtin_schema(method);
        let conformance = operation.schema.as_ref().map(Conformance::compile);
        operation.conformance = conformance.and_then(Result::ok);
        if let Ok(name) = OperationName::builtin(name, method) {
            compiled.insert(name, operation);
        }
    }
    if upstream.memory.is_some() {
        let plain = |effect| undeclared(name, effect, true);
        compiled.extend(memories::operations(name, plain));
    }
    for method in &upstream.forward_methods {
        if let Ok(operation) = OperationName::builtin(name, method) {
            compiled.insert(operation, undeclared(name, Effect::Destructive, false));
        }
    }
}

/// What policies can see of built-in operations. The rest of the params is the protocol's, and
/// passes.
fn builtin_schema(method: &str) -> Option<Json> {
    let text = match method {
        "resources/read" | "resources/subscribe" | "resources/unsubscribe" => {
            r#"{"type":"object","properties":{"uri":{"type":"string"}},"required":["uri"],
                "additionalProperties":true}"#
        }
        "prompts/get" => {
            r#"{"type":"object","properties":{"name":{"type":"string"}},"required":["name"],
                "additionalProperties":true}"#
        }
        _ => return None,
    };
    Json::parse(text.as_bytes(), &SCHEMA_LIMITS).ok()
}

pub(super) fn undeclared(upstream: &UpstreamName, effect: Effect, accepted: bool) -> Operation {
    Operation {
        upstream: upstream.clone(),
        effect,
        accepted,
        observe: false,
        resource: None,
        destination: Vec::new(),
        flow: Declared::default(),
        repeat: None,
        two_phases: None,
        schema: None,
        pin: None,
        despite: Vec::new(),
        statement: None,
        endpoint: None,
        recollection: None,
        cite: None,
        documents: None,
        model: None,
        conformance: None,
    }
}

fn add_declared(
    (upstream, of, api): (&UpstreamName, Option<&Upstream>, Option<&Api>),
    declared: &Operations,
    found: &mut Findings<'_>,
    compiled: &mut Compiled,
) {
    let forwarded = of.map_or(&[][..], |upstream| &upstream.forward_methods);
    for (tool, declared) in &declared.tool {
        let path = ["tool", tool.as_str()];
        if of.is_some_and(|of| of.memory.is_some()) {
            let what = format!("`{upstream}` is a memory, whose tools are the gate's own");
            found.at(&path, what, "say in a policy who may use them");
            continue;
        }
        let Ok(name) = OperationName::tool(upstream, tool) else {
            let tool: String = tool.chars().take(80).collect();
            found.at(&path, format!("`{tool}` is not the name of a tool"), "");
            continue;
        };
        let has_schema = declared.schema.is_some();
        let statement = databases::compile(of, declared, &path, found);
        let mut operation = compile(upstream, declared, &path, found);
        if let Some(statement) = &statement {
            let schema = databases::schema(statement);
            operation.conformance = Conformance::compile(&schema).ok();
            operation.schema = Some(schema);
        }
        operation.statement = statement;
        operation.endpoint = apis::endpoint_of(api, declared, tool, found);
        if let Some(endpoint) = &operation.endpoint {
            operation.conformance = Conformance::compile(&endpoint.schema).ok();
            operation.schema = Some(endpoint.schema.clone());
        }
        if !has_schema && operation.statement.is_none() && operation.endpoint.is_none() {
            // Arguments that nobody described would pass policy unseen.
            let closed = Object::new().with("type", "object").into();
            operation.conformance = Conformance::compile(&closed).ok();
        }
        check_arguments(&operation, &path, found);
        compiled.insert(name, operation);
    }
    for (method, operation) in &declared.method {
        let path = ["method", method.as_str()];
        let builtin = builtin_methods(of);
        if !builtin.contains(&method.as_str()) && !forwarded.contains(method) {
            let what =
                format!("`{method}` is neither a built-in operation nor in `forward_methods`");
            found.at(&path, what, suggest::among(method, &builtin));
            continue;
        }
        let Ok(name) = OperationName::builtin(upstream, method) else { continue };
        databases::compile(of, operation, &path, found);
        let is_silent = operation.returns.origin.is_none();
        let mut operation = compile(upstream, operation, &path, found);
        if let Some(before) = compiled.get(&name).filter(|_| operation.schema.is_none()) {
            operation.schema = before.schema.clone();
            operation.conformance = before.conformance.clone();
        }
        operation.model = compiled.get(&name).and_then(|before| before.model);
        if operation.model.is_some() && is_silent {
            operation.flow.returns.author = Author::Model;
        }
        check_arguments(&operation, &path, found);
        compiled.insert(name, operation);
    }
}

fn compile(
    upstream: &UpstreamName,
    declared: &declare::Operation,
    path: &[&str; 2],
    found: &mut Findings<'_>,
) -> Operation {
    let [kind, name] = *path;
    if declared.observe && declared.effect == EffectWord::Destructive {
        let what = format!("`{name}` is destructive, and its denials cannot be only observed");
        found.at(&[kind, name, "observe"], what, "take `observe` away");
    }
    if let Some(role) = &declared.resource
        && let Some(fault) = entity_type_fault(&role.kind)
    {
        let what = format!("`{}` cannot be an entity type: {fault}", role.kind);
        found.at(&[kind, name, "resource"], what, "such as `Customer`");
    }
    let (schema, conformance) = schema(declared, path, found);
    let pin = declared.pin.as_deref();
    let pin = pin.and_then(|pin| digest(pin, &[kind, name, "pin"], found));
    let repeat = repeat::compile(declared, path, found);
    Operation {
        upstream: upstream.clone(),
        effect: effect(declared.effect),
        accepted: declared.accepted,
        observe: declared.observe,
        resource: declared.resource.as_ref().map(|r| (r.kind.clone(), r.argument.clone())),
        destination: declared.destination.clone(),
        flow: flow::compile(declared, path, found),
        two_phases: phases::compile(declared, repeat.as_ref(), path, found),
        repeat,
        schema,
        pin,
        despite: despite(&declared.despite, &[kind, name, "despite"], found),
        statement: None,
        endpoint: None,
        recollection: None,
        cite: search::cite(declared, path, found),
        documents: retrievers::compile(declared, path, found),
        model: None,
        conformance,
    }
}

fn digest(text: &str, path: &[&str], found: &mut Findings<'_>) -> Option<Digest> {
    let parsed = text.parse();
    if let Err(error) = &parsed {
        let error: &lockgate_types::IdError = error;
        found.at(path, error.to_string(), "`lockgate tools approve` writes it");
    }
    parsed.ok()
}

/// What is accepted all the same, as it is written.
fn despite(words: &[String], path: &[&str], found: &mut Findings<'_>) -> Vec<String> {
    if words.len() > DESPITE_MAX {
        found.at(path, format!("there are more than {DESPITE_MAX}"), "");
    }
    for word in words {
        let (kind, about) = word.split_once(' ').unwrap_or((word, ""));
        let kind = Difference::from_word(kind).filter(|_| !about.is_empty());
        if kind.and_then(|kind| quarantine::despite(kind, about)).is_none() {
            let hint =
                "`found <class>` or `names_other <operation>`: `lockgate tools show` has them";
            found.at(path, format!("`{}` is nothing to accept", comment(word, 80)), hint);
        }
    }
    words.to_vec()
}

/// What was accepted of each server. The shape of the files has been checked with the operations.
pub(super) fn servers(files: &Files, mistakes: &mut Vec<Mistake>) -> BTreeMap<String, Server> {
    let mut servers = BTreeMap::new();
    for (path, bytes) in files {
        let Place::Operations(name) = Place::of(path) else { continue };
        let read = document::read::<Operations>(path, bytes, &mut Vec::new());
        let Some((Operations { server: Some(declared), .. }, document)) = read else { continue };
        let mut found = Findings::new(&document, mistakes);
        let pin = declared.instructions_pin.as_deref();
        let items = declared.items.iter();
        let server = Server {
            instructions_pin: pin
                .and_then(|pin| digest(pin, &["server", "instructions_pin"], &mut found)),
            items: items.filter_map(|it| digest(it, &["server", "items"], &mut found)).collect(),
            despite: despite(&declared.despite, &["server", "despite"], &mut found),
        };
        servers.insert(name.to_owned(), server);
    }
    servers
}

const fn effect(word: EffectWord) -> Effect {
    match word {
        EffectWord::Read => Effect::Read,
        EffectWord::Nav => Effect::Nav,
        EffectWord::Write => Effect::Write,
        EffectWord::Egress => Effect::Egress,
        EffectWord::Destructive => Effect::Destructive,
    }
}

fn entity_type_fault(name: &str) -> Option<&'static str> {
    let mut rest = name.chars();
    let is_first = rest.next().is_some_and(|c| c.is_ascii_uppercase());
    if !is_first || name.len() > 64 || !rest.all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Some("a capital letter, then letters, digits and `_`");
    }
    ENTITY_TYPES.contains(&name).then_some("policies have this type already")
}

fn schema(
    declared: &declare::Operation,
    path: &[&str; 2],
    found: &mut Findings<'_>,
) -> (Option<Json>, Option<Conformance>) {
    let Some(text) = &declared.schema else { return (None, None) };
    let [kind, name] = *path;
    let path = [kind, name, "schema"];
    let schema = match Json::parse(text.as_bytes(), &SCHEMA_LIMITS) {
        Ok(schema) => schema,
        Err(error) => {
            found.at(&path, format!("the schema of `{name}`: {error}"), "");
            return (None, None);
        }
    };
    match Conformance::compile(&schema) {
        Ok(conformance) => (Some(schema), Some(conformance)),
        Err(error) => {
            let hint =
                "what cannot be checked is not accepted: see `docs/adr/0006-argument-schemas.md`";
            let Unsupported { pointer, what } = error;
            found.at(&path, format!("the schema of `{name}` at `{pointer}`: {what}"), hint);
            (None, None)
        }
    }
}

/// Arguments with a role have to be ones that the schema names, and that name something: texts.
fn check_arguments(operation: &Operation, path: &[&str; 2], found: &mut Findings<'_>) {
    let [kind, name] = *path;
    let resource = operation.resource.iter().map(|(_, argument)| ("resource", argument));
    let destination = operation.destination.iter().map(|argument| ("destination", argument));
    let roles = operation.flow.roles.iter().filter_map(|(path, _)| Some(("roles", path.first()?)));
    let cited = operation.cite.iter().flat_map(|cite| {
        std::iter::once(&cite.claims).chain(&cite.text).map(|argument| ("cite", argument))
    });
    for (key, argument) in resource.chain(destination).chain(roles).chain(cited) {
        let declares = |c: &Conformance| c.declared_names().any(|name| name == argument);
        // A schema that could not be used has been reported; a method without one has no names to
        // compare with.
        let Some(conformance) = &operation.conformance else { continue };
        if !declares(conformance) {
            let known: Vec<&str> = conformance.declared_names().collect();
            let what = format!("`{name}` has no argument `{argument}`");
            found.at(&[kind, name, key], what, suggest::among(argument, &known));
        } else if key == "resource" && !is_text(operation.schema.as_ref(), argument) {
            let what = format!(
                "the argument `{argument}` cannot name an entity: it is neither text nor integer"
            );
            found.at(&[kind, name, key], what, "use an argument whose type is `string`");
        }
    }
}

/// Whether the schema lets an argument be a string or an integer. What hides behind a reference is
/// decided when it comes.
fn is_text(schema: Option<&Json>, argument: &str) -> bool {
    match schema.and_then(|schema| schema.at(&["properties", argument, "type"])) {
        Some(Json::String(kind)) => kind == "string" || kind == "integer",
        Some(Json::Array(kinds)) => {
            kinds.iter().any(|kind| matches!(kind.as_str(), Some("string" | "integer")))
        }
        _ => true,
    }
}
