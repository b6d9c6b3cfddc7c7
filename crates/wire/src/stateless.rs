//! 2026-07-28 over HTTP: what a request must carry, and how one is sent.
//!
//! The body decides; the headers only repeat it for whoever stands between. A header that says
//! something else than the body is refused, so that nobody can route by one and act by the other.
//! The order of the checks follows the revision: first `_meta`, then the headers, then the version.

use crate::era::{STATELESS_VERSIONS, VERSION_HEADER, meta};
use crate::error::{Problem, WireError};
use crate::headers::{self, Headers, METHOD_HEADER, MirroredArgument, NAME_HEADER};
use crate::message::Request;
use lockgate_types::{Json, Object};

/// What a request says about its sender and itself. Claims, all of it: nothing here is an identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestMeta {
    /// The revision.
    pub protocol_version: String,
    /// Name and version of the client's software.
    pub client_info: Option<Object>,
    /// What the client can do, for this request.
    pub client_capabilities: Object,
    /// From which level on it wants log messages; absent, none.
    pub log_level: Option<String>,
    /// What progress notifications refer to.
    pub progress_token: Option<Json>,
    /// W3C trace context.
    pub traceparent: Option<String>,
}

/// The levels of log messages, from harmless to grave.
const LOG_LEVELS: &[&str] =
    &["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];

/// Checks a request that came over HTTP, but for the mirrored arguments: see [`check_mirrored`].
pub fn check_request(headers: &Headers<'_>, request: &Request) -> Result<RequestMeta, WireError> {
    let refuse = |problem| WireError::of(problem, &request.id);
    for header in [VERSION_HEADER, METHOD_HEADER, NAME_HEADER] {
        if headers.is_repeated(header) {
            return Err(refuse(mismatch(header, "occurs more than once")));
        }
    }
    let meta = read_meta(&request.params).map_err(refuse)?;
    check_header(headers, VERSION_HEADER, &meta.protocol_version).map_err(refuse)?;
    check_header(headers, METHOD_HEADER, &request.method).map_err(refuse)?;
    check_name(headers, request).map_err(refuse)?;
    check_version(&meta).map_err(refuse)?;
    Ok(meta)
}

/// Checks a request that came without headers, over stdio.
pub fn check_meta(request: &Request) -> Result<RequestMeta, WireError> {
    let refuse = |problem| WireError::of(problem, &request.id);
    let meta = read_meta(&request.params).map_err(refuse)?;
    check_version(&meta).map_err(refuse)?;
    Ok(meta)
}

/// Checks the headers of mirrored arguments, both ways: what the body has a header must repeat, and
/// what it has not no header may claim.
pub fn check_mirrored(
    headers: &Headers<'_>,
    request: &Request,
    mirrored: &[MirroredArgument],
) -> Result<(), WireError> {
    let empty = Object::new();
    let arguments = request.params.get("arguments").and_then(Json::as_object).unwrap_or(&empty);
    for argument in mirrored {
        check_argument(headers, argument, arguments)
            .map_err(|problem| WireError::of(problem, &request.id))?;
    }
    Ok(())
}

/// The headers with which a request is sent to a stateless upstream.
///
/// They are made from the body that was decided, never from the headers that came in (I2).
pub fn request_headers(request: &Request, mirrored: &[MirroredArgument]) -> Vec<(String, String)> {
    let version = request.params.get("_meta").and_then(|meta| meta.get(meta::VERSION));
    let version = version.and_then(Json::as_str).unwrap_or(crate::era::V2026_07_28);
    let mut headers = vec![
        (VERSION_HEADER.to_owned(), version.to_owned()),
        (METHOD_HEADER.to_owned(), request.method.clone()),
    ];
    if let Some(name) = mirrored_name(request) {
        headers.push((NAME_HEADER.to_owned(), headers::encode(name)));
    }
    if let Some(arguments) = request.params.get("arguments").and_then(Json::as_object) {
        let texts = mirrored.iter().filter_map(|argument| {
            let text = argument.text(argument.value(arguments)?)?;
            Some((argument.header.clone(), headers::encode(&text)))
        });
        headers.extend(texts);
    }
    headers
}

/// The parameter that `Mcp-Name` repeats.
fn name_parameter(method: &str) -> Option<&'static str> {
    match method {
        "tools/call" | "prompts/get" => Some("name"),
        "resources/read" => Some("uri"),
        "tasks/get" | "tasks/update" | "tasks/cancel" => Some("taskId"),
        _ => None,
    }
}

fn mirrored_name(request: &Request) -> Option<&str> {
    request.params.get(name_parameter(&request.method)?)?.as_str()
}

fn read_meta(params: &Object) -> Result<RequestMeta, Problem> {
    let wrong = |member, expected| Problem::Meta { member, expected };
    let Some(Json::Object(given)) = params.get("_meta") else {
        return Err(wrong("_meta", "an object with protocol version and client capabilities"));
    };
    let protocol_version = match given.get(meta::VERSION) {
        Some(Json::String(version)) => version.clone(),
        _ => return Err(wrong(meta::VERSION, "a string")),
    };
    let client_capabilities = match given.get(meta::CLIENT_CAPABILITIES) {
        Some(Json::Object(capabilities)) => capabilities.clone(),
        _ => return Err(wrong(meta::CLIENT_CAPABILITIES, "an object")),
    };
    let client_info = match given.get(meta::CLIENT_INFO) {
        None => None,
        Some(Json::Object(info)) => Some(info.clone()),
        Some(_) => return Err(wrong(meta::CLIENT_INFO, "an object")),
    };
    let log_level = match given.get(meta::LOG_LEVEL) {
        None => None,
        Some(Json::String(level)) if LOG_LEVELS.contains(&level.as_str()) => Some(level.clone()),
        Some(_) => return Err(wrong(meta::LOG_LEVEL, "a log level")),
    };
    let progress_token = match given.get(meta::PROGRESS_TOKEN) {
        None => None,
        Some(token @ (Json::String(_) | Json::Number(_))) => Some(token.clone()),
        Some(_) => return Err(wrong(meta::PROGRESS_TOKEN, "a string or a number")),
    };
    let traceparent = given.get(meta::TRACEPARENT).and_then(Json::as_str).map(str::to_owned);
    Ok(RequestMeta {
        protocol_version,
        client_info,
        client_capabilities,
        log_level,
        progress_token,
        traceparent,
    })
}

fn check_version(meta: &RequestMeta) -> Result<(), Problem> {
    if STATELESS_VERSIONS.contains(&meta.protocol_version.as_str()) {
        return Ok(());
    }
    Err(Problem::Version { requested: meta.protocol_version.clone() })
}

fn check_header(headers: &Headers<'_>, header: &str, expected: &str) -> Result<(), Problem> {
    match headers.first(header) {
        None => Err(mismatch(header, "is missing")),
        Some(value) if value == expected.as_bytes() => Ok(()),
        Some(_) => Err(mismatch(header, "does not say what the body says")),
    }
}

fn check_name(headers: &Headers<'_>, request: &Request) -> Result<(), Problem> {
    let Some(parameter) = name_parameter(&request.method) else { return Ok(()) };
    let name = mirrored_name(request);
    let Some(value) = headers.first(NAME_HEADER) else {
        // The tasks extension came before the header; a name that is no string is refused where it
        // is read.
        let is_optional = parameter == "taskId" || name.is_none();
        return if is_optional { Ok(()) } else { Err(mismatch(NAME_HEADER, "is missing")) };
    };
    match headers::decode(value) {
        None => Err(mismatch(NAME_HEADER, "is malformed")),
        Some(text) if Some(text.as_str()) == name => Ok(()),
        Some(_) => Err(mismatch(NAME_HEADER, "does not say what the body says")),
    }
}

fn check_argument(
    headers: &Headers<'_>,
    argument: &MirroredArgument,
    arguments: &Object,
) -> Result<(), Problem> {
    let header = argument.header.as_str();
    if headers.is_repeated(header) {
        return Err(mismatch(header, "occurs more than once"));
    }
    let value = argument.value(arguments);
    let text = match (headers.first(header), value) {
        (None, None) => return Ok(()),
        (None, Some(value)) if argument.text(value).is_none() => return Ok(()),
        (None, Some(_)) => return Err(mismatch(header, "is missing, and the argument is there")),
        (Some(text), _) => text,
    };
    let Some(text) = headers::decode(text) else {
        return Err(mismatch(header, "is malformed"));
    };
    match value {
        Some(value) if argument.mirrors(&text, value) => Ok(()),
        Some(_) => Err(mismatch(header, "does not say what the argument says")),
        None => Err(mismatch(header, "is there, and the argument is not")),
    }
}

fn mismatch(header: &str, reason: &'static str) -> Problem {
    Problem::Header { header: header.to_owned(), reason }
}
