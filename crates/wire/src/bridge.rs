//! What can be carried between a client of one era and an upstream of the other, and how it changes
//! on the way.
//!
//! Tools, resources, prompts and completion exist in both eras and differ in their envelope. What a
//! server asks of the client (sampling, elicitation, roots) is a request of its own where sessions
//! exist, and part of an `input_required` result where they do not. What has no counterpart is
//! refused with a code, never dropped in silence. These functions only rewrite values: who waits
//! for whom, and what policy says to each request on the way, is the kernel's.

use crate::era::{STATELESS_VERSIONS, V2025_11_25, V2026_07_28, meta};
use crate::error::{Problem, WireError, numbers};
use crate::message::RpcError;
use crate::stateless::RequestMeta;
use lockgate_types::methods::{Era, Kind, Method};
use lockgate_types::{Json, Object};

/// How a method crosses from a client to an upstream, or back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crossing {
    /// It exists on both sides: parameters and result are translated.
    Same,
    /// The other side has another way to the same end, and the gate goes it: `initialize` and
    /// `server/discover`, `resources/subscribe` and `subscriptions/listen`, requests to the client
    /// and `input_required`.
    Gate,
    /// It has no counterpart.
    Never,
}

/// How a method crosses between a client and an upstream of these eras.
pub fn crossing(method: &Method, client: Era, upstream: Era) -> Crossing {
    // Tasks of 2025-11-25 and of the extension share names and nothing else.
    let is_task =
        method.name.starts_with("tasks/") || method.name.starts_with("notifications/tasks");
    if client == upstream {
        Crossing::Same
    } else if is_task {
        Crossing::Never
    } else if method.in_sessions.is_some() && method.in_stateless.is_some() {
        Crossing::Same
    } else {
        Crossing::Gate
    }
}

/// The refusal of what has no counterpart.
pub fn cannot_cross(feature: &str, to: Era) -> WireError {
    WireError::new(Problem::CannotCross { feature: feature.to_owned(), to })
}

/// What a client with a session said when it opened it, and since.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientProfile {
    /// `clientInfo` of `initialize`.
    pub info: Option<Object>,
    /// `capabilities` of `initialize`.
    pub capabilities: Object,
    /// The last `logging/setLevel`.
    pub log_level: Option<String>,
}

/// The parameters of a request with a session, as a stateless upstream takes them.
pub fn params_to_stateless(
    mut params: Object,
    client: &ClientProfile,
) -> Result<Object, WireError> {
    if params.contains("task") {
        return Err(cannot_cross("params.task", Era::Stateless));
    }
    // The two belong to an exchange that a client with a session cannot have begun.
    params.remove("inputResponses");
    params.remove("requestState");
    let mut meta = match params.remove("_meta") {
        None => Object::new(),
        Some(Json::Object(meta)) => meta,
        Some(_) => {
            let problem = Problem::Meta { member: "_meta", expected: "an object" };
            return Err(WireError::new(problem));
        }
    };
    for member in [meta::CLIENT_INFO, meta::LOG_LEVEL] {
        meta.remove(member);
    }
    meta.set(meta::VERSION, V2026_07_28);
    meta.set(meta::CLIENT_CAPABILITIES, capabilities_across(&client.capabilities));
    if let Some(info) = &client.info {
        meta.set(meta::CLIENT_INFO, info.clone());
    }
    if let Some(level) = &client.log_level {
        meta.set(meta::LOG_LEVEL, level.as_str());
    }
    params.set("_meta", meta);
    Ok(params)
}

/// The parameters of a stateless request, as an upstream with sessions takes them.
///
/// `inputResponses` and `requestState` are taken off: they answer the gate, see
/// [`take_input_responses`].
pub fn params_to_sessions(mut params: Object) -> Object {
    params.remove("inputResponses");
    params.remove("requestState");
    if let Some(Json::Object(meta)) = params.get_mut("_meta") {
        for member in [meta::VERSION, meta::CLIENT_INFO, meta::CLIENT_CAPABILITIES, meta::LOG_LEVEL]
        {
            meta.remove(member);
        }
        if meta.is_empty() {
            params.remove("_meta");
        }
    }
    params
}

/// Capabilities of a client or a server as the other era may see them: tasks do not cross.
pub fn capabilities_across(capabilities: &Object) -> Object {
    const TASKS: &str = "io.modelcontextprotocol/tasks";
    let mut across = capabilities.clone();
    across.remove("tasks");
    if let Some(Json::Object(extensions)) = across.get_mut("extensions") {
        extensions.remove(TASKS);
        if extensions.is_empty() {
            across.remove("extensions");
        }
    }
    across
}

/// The result of an upstream with sessions, as a stateless client takes it.
///
/// `resultType` is set whatever the upstream wrote there: it has no way to ask for input in a
/// result, and what it wrote there would not have been decided.
pub fn result_to_stateless(
    method: &Method,
    result: Json,
    server_info: Option<&Object>,
) -> Result<Json, WireError> {
    let mut result = object(result)?;
    if method.name == "tools/call" && result.contains("task") && !result.contains("content") {
        return Err(cannot_cross("result.task", Era::Stateless));
    }
    result.remove("inputRequests");
    result.remove("requestState");
    result.set("resultType", "complete");
    if method.is_cacheable() {
        result.set("ttlMs", 0);
        result.set("cacheScope", "private");
    }
    if let Some(info) = server_info {
        set_server_info(&mut result, info);
    }
    Ok(result.into())
}

/// The result of a stateless upstream, as a client with a session takes it. `input_required` must
/// have been answered before: see [`read_input_required`].
pub fn result_to_sessions(method: &Method, result: Json) -> Result<Json, WireError> {
    let mut result = object(result)?;
    match result.remove("resultType") {
        None => {}
        Some(Json::String(kind)) if kind == "complete" => {}
        Some(kind) => {
            let kind = kind.as_str().unwrap_or("resultType").to_owned();
            return Err(cannot_cross(&kind, Era::Sessions));
        }
    }
    if method.is_cacheable() {
        result.remove("ttlMs");
        result.remove("cacheScope");
    }
    match method.name {
        "tools/call" => plain_structured_content(&mut result),
        "tools/list" => plain_output_schemas(&mut result),
        _ => {}
    }
    Ok(result.into())
}

/// Up to 2025-11-25 `structuredContent` is an object; anything else stays as text.
fn plain_structured_content(result: &mut Object) {
    if !matches!(result.get("structuredContent"), Some(value) if value.as_object().is_none()) {
        return;
    }
    let Some(value) = result.remove("structuredContent") else { return };
    let is_told_otherwise =
        result.get("content").and_then(Json::as_array).is_some_and(|content| !content.is_empty());
    if !is_told_otherwise {
        let text = Object::new().with("type", "text").with("text", value.to_string());
        result.set("content", vec![Json::from(text)]);
    }
}

/// Up to 2025-11-25 an output schema describes an object; another one is left out.
fn plain_output_schemas(result: &mut Object) {
    let tools = result.get_mut("tools").and_then(Json::as_array_mut);
    for tool in tools.into_iter().flatten().filter_map(Json::as_object_mut) {
        let kind = tool.get("outputSchema").map(|schema| schema.get("type").and_then(Json::as_str));
        if kind.is_some_and(|kind| kind != Some("object")) {
            tool.remove("outputSchema");
        }
    }
}

/// The result of `server/discover` for an upstream that answered `initialize` with this.
pub fn discover_result(initialize: &Json) -> Result<Json, WireError> {
    let mut result = object(initialize.clone())?;
    result.remove("protocolVersion");
    let info = result.remove("serverInfo");
    let capabilities = result.get("capabilities").and_then(Json::as_object);
    let capabilities = capabilities.map(capabilities_across).unwrap_or_default();
    result.set("capabilities", capabilities);
    let versions = STATELESS_VERSIONS.iter().map(|version| Json::from(*version));
    result.set("supportedVersions", versions.collect::<Vec<_>>());
    result.set("resultType", "complete");
    result.set("ttlMs", 0);
    result.set("cacheScope", "private");
    if let Some(Json::Object(info)) = &info {
        set_server_info(&mut result, info);
    }
    Ok(result.into())
}

/// The result of `initialize` for an upstream that answered `server/discover` with this. `fallback`
/// stands in if the upstream did not say what it is.
pub fn initialize_result(
    discover: &Json,
    version: &str,
    fallback: &Object,
) -> Result<Json, WireError> {
    let mut result = object(discover.clone())?;
    for member in ["resultType", "supportedVersions", "ttlMs", "cacheScope"] {
        result.remove(member);
    }
    let info = discover.at(&["_meta", meta::SERVER_INFO]).and_then(Json::as_object);
    let capabilities = result.get("capabilities").and_then(Json::as_object);
    let capabilities = capabilities.map(capabilities_across).unwrap_or_default();
    result.set("protocolVersion", version);
    result.set("capabilities", capabilities);
    result.set("serverInfo", info.unwrap_or(fallback).clone());
    Ok(result.into())
}

/// The parameters of `initialize` with which a session is opened for a stateless client. `fallback`
/// stands in if the client did not say what it is.
pub fn initialize_params(meta: &RequestMeta, fallback: &Object) -> Object {
    Object::new()
        .with("protocolVersion", V2025_11_25)
        .with("capabilities", capabilities_across(&meta.client_capabilities))
        .with("clientInfo", meta.client_info.as_ref().unwrap_or(fallback).clone())
}

/// The error of an upstream with sessions, as a stateless client takes it: numbers that the later
/// revision forbids or gives another meaning are replaced.
pub fn error_to_stateless(mut error: RpcError) -> RpcError {
    error.number = match error.number {
        numbers::RESOURCE_NOT_FOUND => numbers::INVALID_PARAMS,
        numbers::URL_ELICITATION_REQUIRED => numbers::CANNOT_CROSS_ERAS,
        -32099..=-32020 => numbers::INTERNAL_ERROR,
        number => number,
    };
    error
}

/// Something a server asks of the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputRequest {
    /// The server's name for it, unique within one result.
    pub key: String,
    /// `sampling/createMessage`, `elicitation/create` or `roots/list`.
    pub method: String,
    /// Its parameters.
    pub params: Object,
}

/// A result that asks for input before the call can go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputRequired {
    /// What is asked, in the server's order. Empty: try again with the state.
    pub requests: Vec<InputRequest>,
    /// To be sent back byte for byte.
    pub state: Option<String>,
}

/// Requests that one result may carry: each may become a question to a person.
pub const INPUT_REQUESTS_MAX: usize = 32;

/// What a server may ask of a client.
const INPUT_METHODS: &[&str] = &["sampling/createMessage", "elicitation/create", "roots/list"];

/// Reads what a stateless result asks for; `None` if it is complete.
pub fn read_input_required(
    method: &Method,
    result: &Json,
) -> Result<Option<InputRequired>, WireError> {
    if result.get("resultType").and_then(Json::as_str) != Some("input_required") {
        return Ok(None);
    }
    let wrong = |reason| Err(WireError::new(Problem::NotAMessage { reason }));
    if !method.may_require_input() {
        return wrong("the result of this method cannot ask for input");
    }
    let requests = match result.get("inputRequests") {
        None => Vec::new(),
        Some(Json::Object(requests)) if requests.len() <= INPUT_REQUESTS_MAX => {
            let read = requests.iter().map(|(key, request)| read_input_request(key, request));
            match read.collect::<Option<Vec<_>>>() {
                Some(requests) => requests,
                None => return wrong("an input request is none that a server may make"),
            }
        }
        Some(_) => return wrong("`inputRequests` is not an object within bounds"),
    };
    let state = match result.get("requestState") {
        None => None,
        Some(Json::String(state)) => Some(state.clone()),
        Some(_) => return wrong("`requestState` is not a string"),
    };
    if requests.is_empty() && state.is_none() {
        return wrong("it asks for input and says neither which nor for what");
    }
    Ok(Some(InputRequired { requests, state }))
}

fn read_input_request(key: &str, request: &Json) -> Option<InputRequest> {
    let method = request.get("method")?.as_str()?;
    if !INPUT_METHODS.contains(&method) {
        return None;
    }
    let params = match request.get("params") {
        None => Object::new(),
        Some(params) => params.as_object()?.clone(),
    };
    Some(InputRequest { key: key.to_owned(), method: method.to_owned(), params })
}

/// The result that asks a stateless client for what an upstream with sessions requested.
pub fn input_required(parent: &Method, asked: &InputRequired) -> Result<Json, WireError> {
    if !parent.may_require_input() {
        return Err(cannot_cross(parent.name, Era::Stateless));
    }
    let mut requests = Object::new();
    for request in &asked.requests {
        if !INPUT_METHODS.contains(&request.method.as_str()) {
            return Err(cannot_cross(&request.method, Era::Stateless));
        }
        let params = (!request.params.is_empty()).then(|| request.params.clone());
        let body =
            Object::new().with("method", request.method.as_str()).with_some("params", params);
        requests.set(request.key.as_str(), body);
    }
    let requests = (!requests.is_empty()).then_some(requests);
    Ok(Object::new()
        .with("resultType", "input_required")
        .with_some("inputRequests", requests)
        .with_some("requestState", asked.state.as_deref())
        .into())
}

/// What a stateless client sends with the retry of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputResponses {
    /// The answers by key. Keys that nobody asked for are to be ignored.
    pub responses: Object,
    /// The state, as it came back. From an attacker until proven otherwise.
    pub state: Option<String>,
}

/// Takes the answers out of the parameters; `None` if there are none.
pub fn take_input_responses(params: &mut Object) -> Result<Option<InputResponses>, WireError> {
    let wrong = |member, expected| Err(WireError::new(Problem::Param { member, expected }));
    let responses = match params.remove("inputResponses") {
        None => None,
        Some(Json::Object(responses)) => Some(responses),
        Some(_) => return wrong("inputResponses", "an object"),
    };
    let state = match params.remove("requestState") {
        None => None,
        Some(Json::String(state)) => Some(state),
        Some(_) => return wrong("requestState", "a string"),
    };
    if responses.is_none() && state.is_none() {
        return Ok(None);
    }
    Ok(Some(InputResponses { responses: responses.unwrap_or_default(), state }))
}

/// The parameters with which a call to a stateless upstream is tried again, under a new id.
pub fn retry_params(mut params: Object, responses: Object, state: Option<&str>) -> Object {
    params.remove("inputResponses");
    params.remove("requestState");
    if !responses.is_empty() {
        params.set("inputResponses", responses);
    }
    if let Some(state) = state {
        params.set("requestState", state);
    }
    params
}

/// A client's answer to a request, as an input response. An elicitation that failed is one that the
/// person did not answer; any other failure has no counterpart and ends the call.
pub fn input_response(method: &str, outcome: Result<Json, RpcError>) -> Result<Json, RpcError> {
    match outcome {
        Ok(result) => Ok(result),
        Err(_) if method == "elicitation/create" => {
            Ok(Object::new().with("action", "cancel").into())
        }
        Err(error) => Err(error),
    }
}

/// Whether a client that declared these capabilities may be asked for this.
pub fn check_declared(
    capabilities: &Object,
    method: &str,
    params: &Object,
) -> Result<(), WireError> {
    let declared = |name: &str| capabilities.get(name).filter(|value| value.as_object().is_some());
    let missing = |capability| Err(WireError::new(Problem::Capability { capability }));
    match method {
        "sampling/createMessage" => match declared("sampling") {
            Some(sampling) if params.contains("tools") && sampling.get("tools").is_none() => {
                missing("sampling")
            }
            Some(_) => Ok(()),
            None => missing("sampling"),
        },
        "elicitation/create" => {
            let wants_url = params.get("mode").and_then(Json::as_str) == Some("url");
            match declared("elicitation") {
                Some(elicitation) if wants_url && elicitation.get("url").is_none() => {
                    missing("elicitation")
                }
                // An empty object has always meant forms.
                Some(elicitation) if !wants_url && elicitation.get("form").is_none() => {
                    let has_only_url = elicitation.get("url").is_some();
                    if has_only_url { missing("elicitation") } else { Ok(()) }
                }
                Some(_) => Ok(()),
                None => missing("elicitation"),
            }
        }
        "roots/list" if declared("roots").is_none() => missing("roots"),
        _ => Ok(()),
    }
}

fn set_server_info(result: &mut Object, info: &Object) {
    if !matches!(result.get("_meta"), Some(Json::Object(_))) {
        result.set("_meta", Object::new());
    }
    let meta = result.get_mut("_meta").and_then(Json::as_object_mut);
    if let Some(meta) = meta.filter(|meta| !meta.contains(meta::SERVER_INFO)) {
        meta.set(meta::SERVER_INFO, info.clone());
    }
}

fn object(result: Json) -> Result<Object, WireError> {
    match result {
        Json::Object(object) => Ok(object),
        _ => {
            let reason = "the result is not an object";
            Err(WireError::new(Problem::NotAMessage { reason }))
        }
    }
}

/// Whether a notification means nothing to a peer of that era and is dropped on the way:
/// `initialized`, or the end of an elicitation.
pub fn is_dropped(method: &Method, to: Era) -> bool {
    method.kind == Kind::Notification && method.sender(to).is_none()
}
