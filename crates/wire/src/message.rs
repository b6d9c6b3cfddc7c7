//! JSON-RPC 2.0 messages as MCP restricts them, read strictly and with every field kept.
//!
//! An envelope is one object. Ids are strings or integers, `params` is an object, an answer has a
//! result or an error and not both, and there are no batches. Members that the protocol does not
//! define are kept in `extra` and written out again, unless their name could be taken for one that
//! it does define.

use crate::error::{Problem, WireError};
use lockgate_types::fold::fold;
pub use lockgate_types::fold::folds_equal;
use lockgate_types::{Json, JsonLimits, Object};
use std::fmt;

/// Bytes of the longest request id: it is kept in maps while the request is open.
pub const REQUEST_ID_BYTES_MAX: usize = 1024;

/// Bytes of the longest method name; it becomes part of an operation's name.
pub const METHOD_BYTES_MAX: usize = 128;

/// The members of an envelope.
const ENVELOPE: &[&str] = &["jsonrpc", "id", "method", "params", "result", "error"];

/// The members of `params` that the protocol defines and the gate decides about.
const PARAMS: &[&str] = &[
    "_meta",
    "name",
    "arguments",
    "uri",
    "ref",
    "argument",
    "context",
    "cursor",
    "level",
    "taskId",
    "task",
    "inputResponses",
    "requestState",
    "notifications",
    "protocolVersion",
    "capabilities",
    "clientInfo",
    "messages",
    "systemPrompt",
    "includeContext",
    "tools",
    "mode",
    "message",
    "url",
    "requestedSchema",
    "requestId",
];

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Asks for an answer.
    Request(Request),
    /// Asks for none.
    Notification(Notification),
    /// Answers a request.
    Response(Response),
}

/// A message that asks for an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What the answer will carry.
    pub id: RequestId,
    /// What it asks for.
    pub method: String,
    /// Its parameters; empty and absent are the same.
    pub params: Object,
    /// Members that JSON-RPC does not define.
    pub extra: Object,
}

/// A message that asks for no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// What it says.
    pub method: String,
    /// Its parameters; empty and absent are the same.
    pub params: Object,
    /// Members that JSON-RPC does not define.
    pub extra: Object,
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The request's id. Only an error may lack it: then the peer could not read the request.
    pub id: Option<RequestId>,
    /// The result, or why there is none.
    pub outcome: Result<Json, RpcError>,
    /// Members that JSON-RPC does not define.
    pub extra: Object,
}

/// An error as JSON-RPC says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RpcError {
    /// The number: see [`crate::numbers`].
    pub number: i64,
    /// One sentence.
    pub message: String,
    /// More, if there is more.
    pub data: Option<Json>,
    /// Members that JSON-RPC does not define.
    pub extra: Object,
}

/// The id of a request: `1` and `"1"` are two ids.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RequestId {
    /// An integer.
    Integer(i64),
    /// A string.
    Text(Box<str>),
}

impl Message {
    /// Reads one message that fills the whole text.
    pub fn parse(bytes: &[u8], limits: &JsonLimits) -> Result<Self, WireError> {
        let json = Json::parse(bytes, limits).map_err(|e| WireError::new(Problem::Json(e)))?;
        Self::from_json(json)
    }

    /// Reads a message from a value.
    pub fn from_json(json: Json) -> Result<Self, WireError> {
        let mut envelope = match json {
            Json::Object(envelope) => envelope,
            Json::Array(_) => return Err(WireError::new(Problem::Batch)),
            _ => return Err(not_a_message("it is not an object", None)),
        };
        // The id first, so that every later refusal can carry it. A null id counts as none where an
        // error answers a request that nobody could read; anywhere else it is refused.
        let raw_id = envelope.remove("id");
        let id = raw_id.as_ref().and_then(RequestId::from_json);
        let refuse = |problem| WireError { problem: Box::new(problem), id: id.clone() };
        if let Some(problem) = ambiguous_member(&envelope, ENVELOPE) {
            return Err(refuse(problem));
        }
        match envelope.remove("jsonrpc") {
            Some(Json::String(version)) if version == "2.0" => {}
            _ => return Err(not_a_message("`jsonrpc` must be \"2.0\"", id)),
        }
        if !envelope.contains("method") {
            return response(raw_id.as_ref(), id, envelope).map(Self::Response);
        }
        if envelope.contains("result") || envelope.contains("error") {
            return Err(not_a_message("it has both `method` and `result` or `error`", id));
        }
        if raw_id.is_some() && id.is_none() {
            return Err(WireError::new(Problem::BadId));
        }
        let method = match envelope.remove("method") {
            Some(Json::String(method)) if is_method(&method) => method,
            _ => return Err(not_a_message("`method` must be a short string", id)),
        };
        let params = match envelope.remove("params") {
            None => Object::new(),
            Some(Json::Object(params)) => params,
            Some(_) => return Err(refuse(Problem::ParamsNotObject)),
        };
        if let Some(problem) = ambiguous_params(&params) {
            return Err(refuse(problem));
        }
        Ok(match id {
            Some(id) => Self::Request(Request { id, method, params, extra: envelope }),
            None => Self::Notification(Notification { method, params, extra: envelope }),
        })
    }

    /// The method, unless it is an answer.
    pub fn method(&self) -> Option<&str> {
        match self {
            Self::Request(request) => Some(&request.method),
            Self::Notification(notification) => Some(&notification.method),
            Self::Response(_) => None,
        }
    }

    /// The parameters, unless it is an answer.
    pub fn params(&self) -> Option<&Object> {
        match self {
            Self::Request(request) => Some(&request.params),
            Self::Notification(notification) => Some(&notification.params),
            Self::Response(_) => None,
        }
    }

    /// The message as compact JSON.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Request(request) => request.to_bytes(),
            Self::Notification(notification) => notification.to_bytes(),
            Self::Response(response) => response.to_bytes(),
        }
    }
}

impl Request {
    /// A request.
    pub fn new(id: RequestId, method: impl Into<String>, params: Object) -> Self {
        Self { id, method: method.into(), params, extra: Object::new() }
    }

    /// The request as compact JSON.
    pub fn to_bytes(&self) -> Vec<u8> {
        envelope(Some(&self.id), &self.extra, |out| {
            write_call(&self.method, &self.params, out);
        })
    }
}

impl Notification {
    /// A notification.
    pub fn new(method: impl Into<String>, params: Object) -> Self {
        Self { method: method.into(), params, extra: Object::new() }
    }

    /// The notification as compact JSON.
    pub fn to_bytes(&self) -> Vec<u8> {
        envelope(None, &self.extra, |out| write_call(&self.method, &self.params, out))
    }
}

impl Response {
    /// The answer with that result.
    pub fn result(id: RequestId, result: impl Into<Json>) -> Self {
        Self { id: Some(id), outcome: Ok(result.into()), extra: Object::new() }
    }

    /// The answer with that error.
    pub fn error(id: RequestId, error: RpcError) -> Self {
        Self { id: Some(id), outcome: Err(error), extra: Object::new() }
    }

    /// The answer as compact JSON. An id that could not be read is left out: the revisions' schemas
    /// allow no null.
    pub fn to_bytes(&self) -> Vec<u8> {
        envelope(self.id.as_ref(), &self.extra, |out| match &self.outcome {
            Ok(result) => {
                out.extend_from_slice(b",\"result\":");
                result.write(out);
            }
            Err(error) => {
                out.extend_from_slice(b",\"error\":");
                error.to_json().write(out);
            }
        })
    }
}

impl RpcError {
    /// An error without data.
    pub fn new(number: i64, message: impl Into<String>) -> Self {
        Self { number, message: message.into(), data: None, extra: Object::new() }
    }

    /// The error with that data.
    #[must_use]
    pub fn with_data(mut self, data: impl Into<Json>) -> Self {
        self.data = Some(data.into());
        self
    }

    /// The `error` member.
    pub fn to_json(&self) -> Json {
        let mut error = Object::new()
            .with("code", self.number)
            .with("message", self.message.as_str())
            .with_some("data", self.data.clone());
        for (name, value) in self.extra.iter() {
            error.set(name, value.clone());
        }
        error.into()
    }

    /// Reads the `error` member.
    pub fn from_json(json: Json) -> Option<Self> {
        let Json::Object(mut error) = json else { return None };
        let number = error.remove("code")?.as_i64()?;
        let Some(Json::String(message)) = error.remove("message") else { return None };
        let data = error.remove("data");
        Some(Self { number, message, data, extra: error })
    }
}

impl RequestId {
    /// A string id.
    pub fn text(text: &str) -> Self {
        Self::Text(text.into())
    }

    /// Reads an id. Fractions, exponents, `-0` and integers beyond 64 bits are none: they would not
    /// be echoed as they were written.
    pub fn from_json(json: &Json) -> Option<Self> {
        match json {
            Json::String(text) if text.len() <= REQUEST_ID_BYTES_MAX => Some(Self::text(text)),
            Json::Number(number) => {
                let integer = number.as_i64()?;
                (number.text() == integer.to_string()).then_some(Self::Integer(integer))
            }
            _ => None,
        }
    }

    /// As on the wire.
    pub fn to_json(&self) -> Json {
        match self {
            Self::Integer(integer) => (*integer).into(),
            Self::Text(text) => (**text).into(),
        }
    }
}

impl From<i64> for RequestId {
    fn from(integer: i64) -> Self {
        Self::Integer(integer)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_json().fmt(f)
    }
}

fn is_method(method: &str) -> bool {
    let is_short = (1..=METHOD_BYTES_MAX).contains(&method.len());
    // It is mirrored into a header, where nothing else is allowed.
    is_short && method.bytes().all(|byte| byte.is_ascii_graphic())
}

fn not_a_message(reason: &'static str, id: Option<RequestId>) -> WireError {
    WireError { problem: Box::new(Problem::NotAMessage { reason }), id }
}

fn response(
    raw_id: Option<&Json>,
    id: Option<RequestId>,
    mut envelope: Object,
) -> Result<Response, WireError> {
    let has_readable_id = id.is_some() || matches!(raw_id, None | Some(Json::Null));
    if !has_readable_id {
        return Err(WireError::new(Problem::BadId));
    }
    let outcome = match (envelope.remove("result"), envelope.remove("error")) {
        (Some(result), None) => Ok(result),
        (None, Some(error)) => match RpcError::from_json(error) {
            Some(error) => Err(error),
            None => return Err(not_a_message("`error` needs an integer and a message", id)),
        },
        (Some(_), Some(_)) => return Err(not_a_message("it has `result` and `error`", id)),
        (None, None) => {
            return Err(not_a_message("it has no `method`, `result` or `error`", id));
        }
    };
    if outcome.is_ok() && id.is_none() {
        return Err(WireError::new(Problem::BadId));
    }
    // JSON-RPC defines no `params` in an answer, and an answer that carries some is not read as a
    // request.
    if envelope.contains("params") {
        return Err(not_a_message("it answers and has `params`", id));
    }
    Ok(Response { id, outcome, extra: envelope })
}

fn ambiguous_params(params: &Object) -> Option<Problem> {
    let own = ambiguous_member(params, PARAMS);
    own.or_else(|| match params.get("arguments") {
        Some(Json::Object(arguments)) => ambiguous_member(arguments, &[]),
        _ => None,
    })
}

/// Members up to which every two are compared; beyond, their folded names are collected.
const COMPARED_MAX: usize = 16;

/// A member that a reader which ignores case would take for another one, or for one of `defined`.
fn ambiguous_member(object: &Object, defined: &[&str]) -> Option<Problem> {
    let like_defined = |name: &str| {
        defined.iter().copied().find(|defined| *defined != name && folds_equal(defined, name))
    };
    let ambiguous = |name: &str, like: &str| {
        Some(Problem::AmbiguousMember { name: name.to_owned(), like: like.to_owned() })
    };
    if object.len() <= COMPARED_MAX {
        for (at, (name, _)) in object.iter().enumerate() {
            let mut before = object.iter().take(at).map(|(before, _)| before);
            let like = like_defined(name).or_else(|| before.find(|b| folds_equal(b, name)));
            if let Some(like) = like {
                return ambiguous(name, like);
            }
        }
        return None;
    }
    let mut seen = std::collections::BTreeMap::new();
    for (name, _) in object.iter() {
        let folded: String = name.chars().map(fold).collect();
        if let Some(like) = like_defined(name).or_else(|| seen.insert(folded, name)) {
            return ambiguous(name, like);
        }
    }
    None
}

fn envelope(id: Option<&RequestId>, extra: &Object, body: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    out.extend_from_slice(b"{\"jsonrpc\":\"2.0\"");
    if let Some(id) = id {
        write_member("id", &id.to_json(), &mut out);
    }
    body(&mut out);
    for (name, value) in extra.iter() {
        write_member(name, value, &mut out);
    }
    out.push(b'}');
    out
}

fn write_call(method: &str, params: &Object, out: &mut Vec<u8>) {
    write_member("method", &method.into(), out);
    if params.is_empty() {
        return;
    }
    // Written member by member: the parameters can be large and are not copied.
    out.extend_from_slice(b",\"params\":{");
    for (at, (name, value)) in params.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        Json::from(name).write(out);
        out.push(b':');
        value.write(out);
    }
    out.push(b'}');
}

fn write_member(name: &str, value: &Json, out: &mut Vec<u8>) {
    out.push(b',');
    Json::from(name).write(out);
    out.push(b':');
    value.write(out);
}
