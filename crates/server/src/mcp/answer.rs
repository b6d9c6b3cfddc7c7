//! How replies and refusals look on this wire.

use crate::http::{self, Body};
use crate::mcp::stream::write_event;
use ::http::{HeaderName, HeaderValue, Response, StatusCode};
use lockgate_kernel::{Answer, Refusal, Reply};
use lockgate_types::{CallId, Code, Json, Object, Retry};
use lockgate_wire::era::meta;
use lockgate_wire::refusal::{refusal_error, refusal_result};
use lockgate_wire::{Era, Notification, Request, RequestId, RpcError, WireError, numbers};

/// The header under which a call's id is told, for `lockgate trace`.
const CALL_HEADER: HeaderName = HeaderName::from_static("lockgate-call");

/// JSON-RPC error of a request that its client cancelled.
pub(crate) const REQUEST_CANCELLED: i64 = -32800;

/// What an answer depends on besides the call.
#[derive(Clone, Debug)]
pub(crate) struct Dress {
    /// The request's id.
    pub(crate) id: RequestId,
    /// The client's era.
    pub(crate) era: Era,
    /// The request's method.
    pub(crate) method: String,
}

/// A message with the HTTP status it has where it stands alone.
pub(crate) struct Dressed {
    pub(crate) status: StatusCode,
    pub(crate) bytes: Vec<u8>,
    call: Option<CallId>,
}

impl Dress {
    /// How a call ended.
    pub(crate) fn reply(&self, reply: Reply) -> Dressed {
        let mut dressed = match reply.answer {
            Answer::Result(result) => self.result(result),
            Answer::Error(error) => self.error(&error),
            Answer::Refused(refusal) => self.refusal(&refusal, Some(&reply.call)),
        };
        dressed.call = Some(reply.call);
        dressed
    }

    /// A result of that call.
    pub(crate) fn result_of(&self, call: CallId, result: Json) -> Dressed {
        Dressed { call: Some(call), ..self.result(result) }
    }

    /// A result.
    pub(crate) fn result(&self, mut result: Json) -> Dressed {
        if self.era == Era::Stateless {
            keep_private(&mut result);
            if self.method == "subscriptions/listen" {
                tag_subscription(&mut result, &self.id);
            }
        }
        Dressed { status: StatusCode::OK, bytes: write_result(&self.id, &result), call: None }
    }

    /// An error. With sessions it is an ordinary answer; without, some have a status of their own.
    pub(crate) fn error(&self, error: &RpcError) -> Dressed {
        let status = match self.era {
            Era::Sessions => StatusCode::OK,
            Era::Stateless => status_of(error.number),
        };
        Dressed { status, bytes: write_error(Some(&self.id), error), call: None }
    }

    /// A refusal: of a tool call as its result, because models read results; of anything else as
    /// its error.
    pub(crate) fn refusal(&self, refusal: &Refusal, call: Option<&CallId>) -> Dressed {
        let mut refusal = refusal.clone();
        if let Some(call) = call {
            refusal = refusal.with_call(call.clone());
        }
        if self.method == "tools/call" && !is_protocol_error(refusal.code) {
            let result = refusal_result(self.era, &refusal);
            return Dressed {
                status: StatusCode::OK,
                bytes: write_result(&self.id, &result),
                call: None,
            };
        }
        self.error(&refusal_error(&refusal))
    }

    /// A notification that belongs to the request; `None` if this client is not to get it.
    pub(crate) fn notification(&self, method: &str, params: Object) -> Option<Vec<u8>> {
        // What an upstream cancels are its own requests, whose ids the client never saw.
        if method == "notifications/cancelled" {
            return None;
        }
        let mut params = Json::Object(params);
        if self.method == "subscriptions/listen" {
            tag_subscription(&mut params, &self.id);
        }
        let Json::Object(params) = params else { return None };
        Some(Notification::new(method, params).to_bytes())
    }

    /// The answer where a call's task ended without one: our own mistake.
    pub(crate) fn lost(&self) -> Dressed {
        tracing::error!(method = %self.method, "the task of a call ended without a reply");
        self.refusal(&Refusal::of(Code::InvariantBroken), None)
    }

    /// What a client gets that cancelled its request and still reads.
    pub(crate) fn cancelled(&self) -> Dressed {
        self.error(&RpcError::new(REQUEST_CANCELLED, "the request was cancelled"))
    }
}

impl Dressed {
    /// As a response of its own.
    pub(crate) fn into_response(self) -> Response<Body> {
        let mut response = http::json(self.status, self.bytes);
        let call = self.call.and_then(|call| HeaderValue::from_str(call.as_str()).ok());
        if let Some(call) = call {
            response.headers_mut().insert(CALL_HEADER, call);
        }
        response
    }

    /// As an event of a stream without resumption.
    pub(crate) fn into_event(self) -> Vec<u8> {
        event(&self.bytes)
    }
}

/// A message as an event of a stream without resumption.
pub(crate) fn event(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 32);
    write_event(&mut out, message);
    out
}

/// A request to the client, under an id of the gate's own.
pub(crate) fn request(id: i64, method: &str, params: Object) -> Vec<u8> {
    Request::new(RequestId::Integer(id), method, params).to_bytes()
}

/// Refused before there was a call.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) status: StatusCode,
    pub(crate) code: Code,
    id: Option<RequestId>,
    error: RpcError,
    allow: Option<&'static str>,
}

impl Refused {
    /// With what exactly is wrong.
    pub(crate) fn new(status: StatusCode, code: Code, reason: &str) -> Box<Self> {
        let mut refusal = Refusal::of(code);
        refusal.reason = reason.to_owned();
        Self::of(status, &refusal)
    }

    /// With what the code says.
    pub(crate) fn of(status: StatusCode, refusal: &Refusal) -> Box<Self> {
        let error = refusal_error(refusal);
        Box::new(Self { status, code: refusal.code, id: None, error, allow: None })
    }

    /// A message that breaks the rules of the wire.
    pub(crate) fn wire(error: &WireError, era: Era) -> Box<Self> {
        let status = StatusCode::from_u16(error.http_status(era));
        Box::new(Self {
            status: status.unwrap_or(StatusCode::BAD_REQUEST),
            code: error.code(),
            id: error.id.clone(),
            error: error.to_rpc(),
            allow: None,
        })
    }

    /// A method of HTTP that is not for this address.
    pub(crate) fn method(allow: &'static str) -> Box<Self> {
        let reason = "the address does not answer this HTTP method";
        let mut refused = Self::new(StatusCode::METHOD_NOT_ALLOWED, Code::BadHttp, reason);
        refused.allow = Some(allow);
        refused
    }

    /// In answer to that request.
    pub(crate) fn to(mut self: Box<Self>, id: &RequestId) -> Box<Self> {
        self.id = Some(id.clone());
        self
    }

    /// As a response.
    pub(crate) fn into_response(self) -> Response<Body> {
        let mut response = http::json(self.status, write_error(self.id.as_ref(), &self.error));
        if let Some(allow) = self.allow {
            http::set(&mut response, ::http::header::ALLOW, allow);
        }
        if let (StatusCode::SERVICE_UNAVAILABLE, Retry::AfterMs(ms)) =
            (self.status, self.code.retry())
        {
            let seconds = ms.div_ceil(1000).max(1).to_string();
            if let Ok(seconds) = HeaderValue::try_from(seconds) {
                response.headers_mut().insert(::http::header::RETRY_AFTER, seconds);
            }
        }
        response
    }
}

/// Whether a refusal says that the request does not fit the protocol, rather than that it may not
/// be done.
fn is_protocol_error(code: Code) -> bool {
    matches!(
        code,
        Code::UnknownName
            | Code::UnknownMethod
            | Code::ParamsNotObject
            | Code::MissingCapability
            | Code::StateRejected
            | Code::CannotCrossEras
            | Code::DuplicateMember
    )
}

/// The status that 2026-07-28 gives an error.
fn status_of(number: i64) -> StatusCode {
    match number {
        numbers::METHOD_NOT_FOUND => StatusCode::NOT_FOUND,
        numbers::PARSE_ERROR
        | numbers::INVALID_REQUEST
        | numbers::INVALID_PARAMS
        | numbers::HEADER_MISMATCH
        | numbers::MISSING_CAPABILITY
        | numbers::UNSUPPORTED_VERSION => StatusCode::BAD_REQUEST,
        _ => StatusCode::OK,
    }
}

/// What passed the gate was decided for one identity: nobody may keep it for another.
pub(crate) fn keep_private(result: &mut Json) {
    let Some(scope) = result.as_object_mut().and_then(|result| result.get_mut("cacheScope")) else {
        return;
    };
    *scope = "private".into();
}

/// Marks a message with the id under which its subscription was opened here.
pub(crate) fn tag_subscription(holder: &mut Json, id: &RequestId) {
    let Some(holder) = holder.as_object_mut() else { return };
    match holder.get_mut("_meta").and_then(Json::as_object_mut) {
        Some(given) => given.set(meta::SUBSCRIPTION_ID, id.to_json()),
        None => holder.set("_meta", Object::new().with(meta::SUBSCRIPTION_ID, id.to_json())),
    }
}

/// Written from the parts: results can be large and are not copied.
fn write_result(id: &RequestId, result: &Json) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
    id.to_json().write(&mut out);
    out.extend_from_slice(b",\"result\":");
    result.write(&mut out);
    out.push(b'}');
    out
}

fn write_error(id: Option<&RequestId>, error: &RpcError) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",");
    if let Some(id) = id {
        out.extend_from_slice(b"\"id\":");
        id.to_json().write(&mut out);
        out.push(b',');
    }
    out.extend_from_slice(b"\"error\":");
    error.to_json().write(&mut out);
    out.push(b'}');
    out
}
