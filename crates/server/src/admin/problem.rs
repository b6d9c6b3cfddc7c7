//! What the admin API answers when it does not do what was asked: the same refusal as every face
//! gives.

use super::Reading;
use crate::http::BodyError;
use axum::body::Body;
use http::header::WWW_AUTHENTICATE;
use http::{HeaderValue, Response, StatusCode};
use lockgate_core::Mistake;
use lockgate_kernel::Refusal;
use lockgate_store::StoreError;
use lockgate_types::decision::StepUp;
use lockgate_types::{Blame, CallId, Code, Json, Object};

/// Why a request was not answered.
pub(crate) struct Problem {
    /// Boxed: it is large, and errors are passed up often.
    pub(crate) refusal: Box<Refusal>,
    /// What is wrong with a bundle, if that is the reason.
    mistakes: Vec<Mistake>,
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self { refusal: Box::new(refusal), mistakes: Vec::new() }
    }
}

impl From<Code> for Problem {
    fn from(code: Code) -> Self {
        Refusal::of(code).into()
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        tracing::error!(error = &error as &dyn std::error::Error, "the record could not be read");
        error.code().into()
    }
}

impl Problem {
    /// A request that is not well formed, and in what.
    pub(crate) fn request(reason: impl Into<String>) -> Self {
        Self::because(Code::AdminBadRequest, reason)
    }

    /// A code, with a reason more exact than its own.
    pub(crate) fn because(code: Code, reason: impl Into<String>) -> Self {
        let mut refusal = Refusal::of(code);
        refusal.reason = reason.into();
        refusal.into()
    }

    /// A bundle that was not loaded.
    pub(crate) fn mistakes(mistakes: Vec<Mistake>) -> Self {
        Self { mistakes, ..Code::BundleRefused.into() }
    }

    /// A body that did not arrive.
    pub(crate) fn body(error: &BodyError) -> Self {
        match error {
            BodyError::TooLarge { .. } => Self::because(Code::TooLarge, error.to_string()),
            BodyError::TooSlow { .. } | BodyError::Broken => Self::request(error.to_string()),
        }
    }

    pub(crate) fn with_call(self, call: CallId) -> Self {
        Self { refusal: Box::new(self.refusal.with_call(call)), ..self }
    }

    pub(crate) fn into_response(self) -> Response<Body> {
        let status = status_of(self.refusal.code);
        self.into_response_with(status)
    }

    pub(crate) fn into_response_with(self, status: StatusCode) -> Response<Body> {
        let mut error = self.refusal.to_json();
        if let (Some(error), false) = (error.as_object_mut(), self.mistakes.is_empty()) {
            error.set("mistakes", self.mistakes.iter().map(mistake).collect::<Vec<Json>>());
        }
        let mut response = Reading::json(Object::new().with("error", error)).into_response();
        *response.status_mut() = status;
        if let Some(challenge) = self.refusal.step_up.as_deref().and_then(challenge) {
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

/// How to sign in again (RFC 9470 §3).
fn challenge(step_up: &StepUp) -> Option<HeaderValue> {
    let mut challenge = "Bearer error=\"insufficient_user_authentication\", \
        error_description=\"the sign-in is not strong or fresh enough for this\""
        .to_owned();
    if !step_up.acr_values.is_empty() {
        challenge.push_str(&format!(", acr_values=\"{}\"", step_up.acr_values.join(" ")));
    }
    if let Some(max_age_s) = step_up.max_age_s {
        challenge.push_str(&format!(", max_age={max_age_s}"));
    }
    HeaderValue::try_from(challenge).ok()
}

fn mistake(mistake: &Mistake) -> Json {
    let line = mistake.line.and_then(|line| i64::try_from(line).ok());
    Object::new()
        .with("file", mistake.file.as_str())
        .with_some("line", line)
        .with("what", mistake.what.as_str())
        .with("hint", mistake.hint.as_str())
        .into()
}

/// The HTTP status of a refusal.
pub(crate) fn status_of(code: Code) -> StatusCode {
    match code {
        Code::AdminBadRequest | Code::ArgumentsRefused | Code::KeyMalformed => {
            StatusCode::BAD_REQUEST
        }
        Code::AdminNotFound
        | Code::RecordNotFound
        | Code::NoRuns
        | Code::NoSuchSource
        | Code::NoSuchPlace
        | Code::NoSuchSnapshot => StatusCode::NOT_FOUND,
        Code::RunNotOpen
        | Code::RunDiffers
        | Code::EvaluationDiffers
        | Code::DraftInUse
        | Code::NotServable
        | Code::SnapshotNamed => StatusCode::CONFLICT,
        Code::TooManyRuns => StatusCode::TOO_MANY_REQUESTS,
        Code::StepUpRequired => StatusCode::UNAUTHORIZED,
        Code::PayloadErased => StatusCode::GONE,
        Code::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::BundleRefused | Code::RunKeyReused => StatusCode::UNPROCESSABLE_ENTITY,
        Code::InvariantBroken => StatusCode::INTERNAL_SERVER_ERROR,
        Code::NoBundle => StatusCode::SERVICE_UNAVAILABLE,
        code => match code.blame() {
            Blame::Caller | Blame::Policy => StatusCode::FORBIDDEN,
            Blame::Upstream | Blame::Issuer => StatusCode::BAD_GATEWAY,
            Blame::Lockgate => StatusCode::SERVICE_UNAVAILABLE,
        },
    }
}
