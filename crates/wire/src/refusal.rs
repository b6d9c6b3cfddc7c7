//! How a denial looks on the wire: readable for the model, exact for the program.
//!
//! `tools/call` is answered with a result whose `isError` is true, because models read results; any
//! other method with a JSON-RPC error. The exact reason is in `_meta` and not in
//! `structuredContent`, which would have to follow the tool's own output schema.

use crate::error::numbers;
use crate::message::RpcError;
use lockgate_types::decision::StepUp;
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
    /// How to sign in for it, if that is what is missing.
    pub step_up: Option<Box<StepUp>>,
    /// The request for approval that this is about.
    pub approval: Option<Box<Waits>>,
}

/// A request for approval, as who asked for it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waits {
    /// The call that asks.
    pub call: CallId,
    /// How it stands: `pending`, or why it does not wait any more.
    pub state: &'static str,
    /// When it ends by itself.
    pub expires_at: Micros,
    /// The operation that waits.
    pub operation: String,
    /// What has to be given.
    pub requirements: Vec<String>,
    /// Where people see it and answer, if there is such an address.
    pub url: Option<String>,
    /// Milliseconds after which it is worth looking again.
    pub look_again_ms: u32,
}

impl Waits {
    /// As a program reads it.
    pub fn to_json(&self) -> Json {
        let requirements: Vec<Json> =
            self.requirements.iter().map(|text| text.as_str().into()).collect();
        let poll = Object::new()
            .with("path", format!("/v1/approvals/{}/state", self.call))
            .with("after_ms", i64::from(self.look_again_ms));
        Object::new()
            .with("call", self.call.as_str())
            .with("state", self.state)
            .with("expires_at", self.expires_at.0)
            .with("operation", self.operation.as_str())
            .with("requirements", requirements)
            .with_some("url", self.url.as_deref())
            .with_some("poll", (self.state == PENDING).then_some(poll))
            .into()
    }

    /// Whether it may still lead to something.
    pub fn is_pending(&self) -> bool {
        self.state == PENDING
    }
}

/// The word for a request that waits.
pub const PENDING: &str = "pending";

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
            step_up: None,
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
        let approval = self.approval.as_deref().map(Waits::to_json);
        Object::new()
            .with("code", self.code.as_str())
            .with("blame", self.code.blame().as_str())
            .with("retryable", self.retry.to_string())
            .with("reason", self.reason.as_str())
            .with("remedy", self.remedy.as_str())
            .with("policies", policies)
            .with_some("call", self.call.as_ref().map(CallId::as_str))
            .with_some("step_up", self.step_up.as_deref().map(StepUp::to_json))
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
        match self.approval.as_deref() {
            Some(waits) if waits.is_pending() => text.push_str(&format!(
                "\nit waits for an approval as {}: send exactly this call again later",
                waits.call
            )),
            Some(waits) => {
                text.push_str(&format!("\nthe request {} is {}", waits.call, waits.state));
            }
            None => {}
        }
        if let Some(url) = self.approval.as_deref().and_then(|waits| waits.url.as_deref()) {
            text.push_str(&format!("\nwho may agree sees it at {url}"));
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
