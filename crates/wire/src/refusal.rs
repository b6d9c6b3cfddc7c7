//! How a denial looks on the wire: readable for the model, exact for the program.
//!
//! `tools/call` is answered with a result whose `isError` is true, because models read results; any
//! other method with a JSON-RPC error. The exact reason is in `_meta` and not in
//! `structuredContent`, which would have to follow the tool's own output schema.

use crate::error::numbers;
use crate::message::RpcError;
use lockgate_types::methods::Era;
use lockgate_types::{Blame, CallId, Code, Json, Micros, Object, PolicyName, Retry};

/// The member of `_meta` that carries the reason.
pub const REFUSAL_META: &str = "dev.lockgate/refusal";

/// Why a call was not done, and what would help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The stable code.
    pub code: Code,
    /// What exactly: lower case, no final period, no values of arguments.
    pub reason: String,
    /// What would make it allowed.
    pub remedy: String,
    /// The policies that decided.
    pub policies: Vec<PolicyName>,
    /// The call, under which the record is found.
    pub call: Option<CallId>,
    /// Whether to try again.
    pub retry: Retry,
    /// The request for approval that waits: the call that asks, and when it ends.
    pub approval: Option<Box<(CallId, Micros)>>,
}

impl Refusal {
    /// A refusal for which nothing more is known than its code says.
    pub fn of(code: Code) -> Self {
        Self {
            code,
            reason: code.title().to_owned(),
            remedy: code.remedy().to_owned(),
            policies: Vec::new(),
            call: None,
            retry: code.retry(),
            approval: None,
        }
    }

    /// The refusal of that call.
    #[must_use]
    pub fn with_call(mut self, call: CallId) -> Self {
        self.call = Some(call);
        self
    }

    /// The reason as a program reads it.
    pub fn to_json(&self) -> Json {
        self.to_object().into()
    }

    pub(crate) fn to_object(&self) -> Object {
        let policies: Vec<Json> = self.policies.iter().map(|p| p.as_str().into()).collect();
        let approval = self.approval.as_deref().map(|(call, expires)| {
            Object::new().with("call", call.as_str()).with("expires_at", expires.0)
        });
        Object::new()
            .with("code", self.code.as_str())
            .with("blame", self.code.blame().as_str())
            .with("retryable", self.retry.to_string())
            .with("reason", self.reason.as_str())
            .with("remedy", self.remedy.as_str())
            .with("policies", policies)
            .with_some("call", self.call.as_ref().map(CallId::as_str))
            .with_some("approval", approval)
            .with("docs", format!("docs/errors/{}.md", self.code))
    }

    /// The reason as a model or a person reads it.
    pub fn to_text(&self) -> String {
        let mut text = format!("refused ({}): {}", self.code, self.code.title());
        if self.reason != self.code.title() {
            text.push_str(&format!("\nreason: {}", self.reason));
        }
        text.push_str(&format!("\nremedy: {}", self.remedy));
        if !self.policies.is_empty() {
            let names: Vec<&str> = self.policies.iter().map(PolicyName::as_str).collect();
            text.push_str(&format!("\npolicies: {}", names.join(", ")));
        }
        match self.retry {
            Retry::No => {}
            Retry::Yes => text.push_str("\nit may succeed if tried again"),
            Retry::AfterMs(ms) => text.push_str(&format!("\nit may succeed after {ms} ms")),
        }
        if let Some((request, _)) = self.approval.as_deref() {
            text.push_str(&format!(
                "\nit waits for an approval as {request}: send exactly this call again later"
            ));
        }
        if let Some(call) = &self.call {
            text.push_str(&format!("\ncall: {call}"));
        }
        text
    }
}

/// The refusal of a `tools/call`, as its result.
pub fn refusal_result(era: Era, refusal: &Refusal) -> Json {
    let text = Object::new().with("type", "text").with("text", refusal.to_text());
    let mut result = Object::new();
    if era == Era::Stateless {
        result.set("resultType", "complete");
    }
    result.set("content", vec![Json::from(text)]);
    result.set("isError", true);
    result.set("_meta", Object::new().with(REFUSAL_META, refusal.to_json()));
    result.into()
}

/// The refusal of any other request, as its error.
pub fn refusal_error(refusal: &Refusal) -> RpcError {
    let message = format!("{}: {}", refusal.code, refusal.reason);
    RpcError::new(number_of(refusal.code), message).with_data(refusal.to_json())
}

/// The number of the JSON-RPC error for a code: the protocol's where it has one, else Lockgate's by
/// who is to blame.
pub fn number_of(code: Code) -> i64 {
    match code {
        Code::NotJson | Code::TooDeep => numbers::PARSE_ERROR,
        Code::NotAMessage | Code::BadId | Code::BatchRefused | Code::DuplicateMember => {
            numbers::INVALID_REQUEST
        }
        Code::UnknownMethod => numbers::METHOD_NOT_FOUND,
        Code::ParamsNotObject
        | Code::MissingMeta
        | Code::UnknownName
        | Code::ArgumentsRefused
        | Code::StateRejected => numbers::INVALID_PARAMS,
        Code::HeaderMismatch => numbers::HEADER_MISMATCH,
        Code::MissingCapability => numbers::MISSING_CAPABILITY,
        Code::UnsupportedVersion => numbers::UNSUPPORTED_VERSION,
        Code::CannotCrossEras => numbers::CANNOT_CROSS_ERAS,
        code => match code.blame() {
            Blame::Caller | Blame::Policy => numbers::REFUSED,
            Blame::Upstream | Blame::Issuer => numbers::UPSTREAM_FAILED,
            Blame::Lockgate => numbers::GATE_FAILED,
        },
    }
}
