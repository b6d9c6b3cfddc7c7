//! How an error looks in each API: with the types that SDKs make their exceptions of, and what
//! tells them whether to try again.

use crate::refusal::Refusal;
use crate::sse::SseEvent;
use lockgate_types::model::{Family, ModelApi};
use lockgate_types::{Blame, Code, Json, Object, Retry};

/// An answer that is an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Headers that belong to it: names in small letters.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Json,
}

/// The seconds that nobody waits longer for: SDKs ignore what asks for more.
const RETRY_AFTER_SECONDS_MAX: u32 = 120;

/// The answer that refuses a request.
///
/// Denials say that trying again is of no use: without that SDKs repeat whatever has a status of
/// 409, 429 or 500 and more.
pub fn answer(api: ModelApi, refusal: &Refusal) -> Answer {
    let status = status(refusal);
    let mut headers = Vec::new();
    match refusal.retry {
        Retry::No => headers.push(("x-should-retry", "false".to_owned())),
        Retry::Yes => headers.push(("x-should-retry", "true".to_owned())),
        Retry::AfterMs(ms) => {
            let seconds = ms.div_ceil(1000).clamp(1, RETRY_AFTER_SECONDS_MAX);
            headers.push(("x-should-retry", "true".to_owned()));
            headers.push(("retry-after", seconds.to_string()));
            if ms < RETRY_AFTER_SECONDS_MAX * 1000 {
                headers.push(("retry-after-ms", ms.to_string()));
            }
        }
    }
    Answer { status, headers, body: body(api, refusal) }
}

/// The HTTP status of a refusal.
pub fn status(refusal: &Refusal) -> u16 {
    match refusal.code {
        Code::TooLarge => 413,
        Code::UnknownName | Code::AdminNotFound => 404,
        Code::CapReached | Code::RateReached | Code::TooManySessions => 429,
        Code::Overloaded
        | Code::GateBusy
        | Code::UpstreamBusy
        | Code::UpstreamBroken
        | Code::PersonAsked => 503,
        Code::UpstreamTimeout => 504,
        Code::StepUpRequired => 401,
        code => match code.blame() {
            Blame::Caller if code.as_str().starts_with("LG-I") => 401,
            Blame::Caller => 400,
            Blame::Policy => 403,
            Blame::Upstream | Blame::Issuer => 502,
            Blame::Lockgate => 503,
        },
    }
}

/// The word of an error, from the same status in both families.
fn kind(family: Family, status: u16) -> &'static str {
    match (status, family) {
        (401, _) => "authentication_error",
        (403, _) => "permission_error",
        (404, _) => "not_found_error",
        (413, Family::Anthropic) => "request_too_large",
        (429, _) => "rate_limit_error",
        (503, Family::Anthropic) => "overloaded_error",
        (504, Family::Anthropic) => "timeout_error",
        (500.., Family::Anthropic) => "api_error",
        (500.., Family::OpenAi) => "server_error",
        (_, _) => "invalid_request_error",
    }
}

/// What a person reads: what happened, and what would help. One line, since programs log it.
fn message(refusal: &Refusal) -> String {
    let mut text = format!("{} ({}); {}", refusal.reason, refusal.code, refusal.remedy);
    if let Some(call) = &refusal.call {
        text.push_str(&format!("; call {call}"));
    }
    text
}

/// The body of an error.
pub fn body(api: ModelApi, refusal: &Refusal) -> Json {
    let kind = kind(api.family(), status(refusal));
    let error = Object::new().with("type", kind).with("message", message(refusal));
    match api.family() {
        Family::OpenAi => {
            let error = error
                .with("param", Json::Null)
                .with("code", refusal.code.as_str())
                .with("lockgate", refusal.to_json());
            Object::new().with("error", error).into()
        }
        Family::Anthropic => {
            let details = Object::new()
                .with("error_code", refusal.code.as_str())
                .with("lockgate", refusal.to_json());
            let call = refusal.call.as_ref().map(|call| call.as_str());
            Object::new()
                .with("type", "error")
                .with("error", error.with("details", details))
                .with_some("request_id", call)
                .into()
        }
    }
}

/// The events that end a stream before its end, so that the client's SDK raises an error with the
/// reason. `response` is what the stream of the Responses API began with.
pub fn stop_events(api: ModelApi, refusal: &Refusal, response: Option<&Object>) -> Vec<SseEvent> {
    let event = |name: Option<&str>, data: String| SseEvent {
        event: name.map(str::to_owned),
        data: Some(data),
        ..SseEvent::default()
    };
    match (api, response) {
        (ModelApi::Messages | ModelApi::CountTokens, _) => {
            vec![event(Some("error"), body(api, refusal).to_string())]
        }
        (ModelApi::Responses, Some(response)) => {
            let error = Object::new().with("code", refusal.code.as_str());
            let mut response = response.clone();
            response.set("status", "failed");
            response.set("error", error.with("message", message(refusal)));
            response.set("output", Vec::new());
            let failed = Object::new().with("type", "response.failed").with("response", response);
            vec![event(Some("response.failed"), Json::from(failed).to_string())]
        }
        (ModelApi::Responses, None) => {
            let error = Object::new()
                .with("type", "error")
                .with("code", refusal.code.as_str())
                .with("message", message(refusal))
                .with("param", Json::Null);
            vec![event(Some("error"), Json::from(error).to_string())]
        }
        (ModelApi::ChatCompletions | ModelApi::Embeddings | ModelApi::Models, _) => {
            // Clients that do not know errors within streams wait for the end.
            let done = event(None, "[DONE]".to_owned());
            vec![event(None, body(api, refusal).to_string()), done]
        }
    }
}
