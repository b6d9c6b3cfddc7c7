//! From one family's API to the other's: requests, whole answers and streams of chat completions
//! and messages.
//!
//! Only what means the same on both sides is carried. Anything else is refused by its place: a
//! request that lost a member on its way would be another request. What a provider may forget
//! without another meaning is not carried: hints for its cache, and whether a stream counts tokens,
//! which streams of Anthropic's always do.

mod reply;
mod request;
mod stream;

use super::path::Path;
use lockgate_types::model::{Family, ModelApi};
use lockgate_types::{Code, Json, JsonLimits, Object};

pub use reply::{reply_to_chat, reply_to_messages};
pub use request::{request_to_chat, request_to_messages};
pub use stream::{ToChat, ToMessages};

/// A member has no counterpart in the other family's API.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{member}` cannot be carried to the API of the model's provider: {reason}")]
pub struct Cannot {
    /// Where it is.
    pub member: String,
    /// Why not.
    pub reason: &'static str,
}

impl Cannot {
    fn at(path: &Path, reason: &'static str) -> Self {
        let member = path.to_string();
        Self { member: if member.is_empty() { "body".to_owned() } else { member }, reason }
    }

    /// It does not exist there.
    fn unknown(path: &Path) -> Self {
        Self::at(path, "there is no such thing there")
    }

    /// The stable code.
    pub const fn code(&self) -> Code {
        Code::CannotConvert
    }
}

/// The API of the other family to which requests of this one can be carried.
pub const fn counterpart(api: ModelApi) -> Option<ModelApi> {
    match api {
        ModelApi::ChatCompletions => Some(ModelApi::Messages),
        ModelApi::Messages => Some(ModelApi::ChatCompletions),
        ModelApi::Responses | ModelApi::CountTokens | ModelApi::Embeddings | ModelApi::Models => {
            None
        }
    }
}

/// An error of the other family's, as an API says errors: its kind and its words.
pub fn error(api: ModelApi, body: &Json) -> Json {
    let said = |name: &str| body.at(&["error", name]).and_then(Json::as_str);
    let kind = said("type").unwrap_or("api_error");
    let error = Object::new().with("type", kind).with("message", said("message").unwrap_or(""));
    match api.family() {
        Family::OpenAi => {
            let error = error.with("param", Json::Null).with("code", Json::Null);
            Object::new().with("error", error).into()
        }
        Family::Anthropic => Object::new().with("type", "error").with("error", error).into(),
    }
}

type Carried<T> = Result<T, Cannot>;

fn object<'a>(value: &'a Json, path: &Path) -> Carried<&'a Object> {
    value.as_object().ok_or_else(|| Cannot::at(path, "it is not an object"))
}

fn array<'a>(value: &'a Json, path: &Path) -> Carried<&'a [Json]> {
    value.as_array().ok_or_else(|| Cannot::at(path, "it is not an array"))
}

fn text<'a>(value: &'a Json, path: &Path) -> Carried<&'a str> {
    value.as_str().ok_or_else(|| Cannot::at(path, "it is not a string"))
}

fn member<'a>(object: &'a Object, name: &str) -> &'a str {
    object.get(name).and_then(Json::as_str).unwrap_or_default()
}

/// Members that are there, `null` being none.
fn members<'a>(
    object: &'a Object,
    path: &'a Path,
) -> impl Iterator<Item = (&'a str, &'a Json, Path)> {
    let given = object.iter().filter(|(_, value)| **value != Json::Null);
    given.map(|(name, value)| (name, value, path.name(name)))
}

/// Refuses members but these.
fn only(object: &Object, path: &Path, names: &[&str]) -> Carried<()> {
    match members(object, path).find(|(name, _, _)| !names.contains(name)) {
        None => Ok(()),
        Some((_, _, path)) => Err(Cannot::unknown(&path)),
    }
}

/// Arguments as an object, which OpenAI writes as a string.
fn arguments(text: &str, path: &Path) -> Carried<Object> {
    if text.trim().is_empty() {
        return Ok(Object::new());
    }
    match Json::parse(text.as_bytes(), &JsonLimits::PRINTED) {
        Ok(Json::Object(object)) => Ok(object),
        _ => Err(Cannot::at(path, "the arguments of a call are no object")),
    }
}

fn block(text: &str) -> Object {
    Object::new().with("type", "text").with("text", text)
}
