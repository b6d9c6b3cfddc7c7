//! Errors in the shapes of which SDKs make their exceptions.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use lockgate_types::model::ModelApi;
use lockgate_types::{CallId, Code, Json, Retry};
use lockgate_wire::model::refusal::{answer, status};
use lockgate_wire::refusal::Refusal;

#[test]
fn each_family_gets_the_type_that_its_sdk_maps() {
    for (code, status, open_ai, anthropic) in [
        (Code::BadModelRequest, 400, "invalid_request_error", "invalid_request_error"),
        (Code::NoToken, 401, "authentication_error", "authentication_error"),
        (Code::Forbidden, 403, "permission_error", "permission_error"),
        (Code::UnknownName, 404, "not_found_error", "not_found_error"),
        (Code::TooLarge, 413, "invalid_request_error", "request_too_large"),
        (Code::RateReached, 429, "rate_limit_error", "rate_limit_error"),
        (Code::CapReached, 429, "rate_limit_error", "rate_limit_error"),
        (Code::UpstreamUnreachable, 502, "server_error", "api_error"),
        (Code::Overloaded, 503, "server_error", "overloaded_error"),
        (Code::UpstreamTimeout, 504, "server_error", "timeout_error"),
    ] {
        for (api, kind) in [(ModelApi::ChatCompletions, open_ai), (ModelApi::Messages, anthropic)] {
            let answer = answer(api, &Refusal::of(code));
            assert_eq!(answer.status, status, "{code}");
            let found = answer.body.at(&["error", "type"]).and_then(Json::as_str);
            assert_eq!(found, Some(kind), "{code} {api:?}");
        }
    }
    assert!(Code::ALL.iter().all(|code| (400..600).contains(&status(&Refusal::of(*code)))));
}

/// Without this an SDK sends a refused request again, and again.
#[test]
fn a_denial_says_that_trying_again_is_of_no_use() {
    let header = |refusal: &Refusal, name: &str| {
        let answer = answer(ModelApi::Responses, refusal);
        answer.headers.into_iter().find(|it| it.0 == name).map(|it| it.1)
    };
    for code in Code::ALL.iter().filter(|code| code.retry() == Retry::No) {
        let refusal = Refusal::of(*code);
        assert_eq!(header(&refusal, "x-should-retry").as_deref(), Some("false"), "{code}");
        assert_eq!(header(&refusal, "retry-after"), None);
    }
    let busy = Refusal { retry: Retry::AfterMs(1500), ..Refusal::of(Code::Overloaded) };
    assert_eq!(header(&busy, "retry-after").as_deref(), Some("2"));
    assert_eq!(header(&busy, "retry-after-ms").as_deref(), Some("1500"));
    assert_eq!(header(&busy, "x-should-retry").as_deref(), Some("true"));
    let long = Refusal { retry: Retry::AfterMs(u32::MAX), ..Refusal::of(Code::CapReached) };
    assert_eq!(header(&long, "retry-after").as_deref(), Some("120"));
    assert_eq!(header(&long, "retry-after-ms"), None, "SDKs would wait as long as it says");
}

#[test]
fn the_body_has_the_code_the_remedy_and_the_call() {
    let call = CallId::new("c-17").unwrap();
    let refusal = Refusal::of(Code::Forbidden).with_call(call);
    let body = answer(ModelApi::Embeddings, &refusal).body;
    assert_eq!(body.at(&["error", "code"]).and_then(Json::as_str), Some("LG-D004"));
    assert_eq!(body.at(&["error", "param"]), Some(&Json::Null));
    let message = body.at(&["error", "message"]).and_then(Json::as_str).unwrap();
    assert!(message.contains("remedy") && message.contains("c-17") && !message.contains('\n'));
    let body = answer(ModelApi::CountTokens, &refusal).body;
    assert_eq!(body.get("type").and_then(Json::as_str), Some("error"));
    assert_eq!(body.get("request_id").and_then(Json::as_str), Some("c-17"));
    let code = body.at(&["error", "details", "error_code"]).and_then(Json::as_str);
    assert_eq!(code, Some("LG-D004"));
}
