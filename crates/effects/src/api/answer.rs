//! What an answer of an HTTP API means, as a tool's result.
//!
//! JSON becomes structured content, text stays text, and of anything else only its kind is told.

use crate::bundled::in_era;
use crate::http::is_plain;
use crate::trouble::Trouble;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use hyper::body::Incoming;
use lockgate_types::{Code, Json, JsonLimits, Object};
use lockgate_wire::Era;

/// The member of a result's `_meta` that says what an HTTP API answered beside its body.
pub const HTTP_META: &str = "dev.lockgate/http";

/// The longest time after which an API may say to come back, in seconds.
const RETRY_AFTER_S_MAX: u32 = 86_400;
/// Bytes of a refusal's body that a caller is shown.
const REFUSAL_BYTES_SHOWN_MAX: usize = 8 << 10;
/// Characters of a media type that are repeated.
const KIND_CHARS_MAX: usize = 80;

/// What is told of an answer.
pub(super) struct Told {
    status: StatusCode,
    retry_after_s: Option<u32>,
    kind: Kind,
    /// The media type, for people.
    media: String,
    content: Content,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Json,
    Text,
    Other,
}

enum Content {
    Nothing,
    Json(Json),
    Text(String),
    /// It is not passed on, and why.
    LeftOut(String),
    /// It said that it is JSON.
    Broken,
}

impl Told {
    pub(super) fn of(response: &Response<Incoming>) -> Self {
        let header =
            |name| response.headers().get(name).and_then(|it: &HeaderValue| it.to_str().ok());
        let media = header(CONTENT_TYPE).unwrap_or_default();
        let essence = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let charset = media.to_ascii_lowercase();
        let is_utf8 = !charset.contains("charset=")
            || ["utf-8", "us-ascii"].iter().any(|it| charset.contains(it));
        let kind = match essence.as_str() {
            "application/json" => Kind::Json,
            json if json.ends_with("+json") => Kind::Json,
            text if text.starts_with("text/") && text != "text/event-stream" && is_utf8 => {
                Kind::Text
            }
            _ => Kind::Other,
        };
        let media: String = essence.chars().filter(char::is_ascii_graphic).collect();
        let mut told = Self {
            status: response.status(),
            retry_after_s: header(RETRY_AFTER)
                .and_then(|it| it.trim().parse::<u32>().ok())
                .map(|seconds| seconds.min(RETRY_AFTER_S_MAX)),
            kind,
            media: media.chars().take(KIND_CHARS_MAX).collect(),
            content: Content::Nothing,
        };
        let is_empty = hyper::body::Body::size_hint(response.body()).exact() == Some(0);
        if !is_plain(response) {
            told.kind = Kind::Other;
            told.leave_out("packed".to_owned());
        } else if kind == Kind::Other && !is_empty {
            let media = if told.media.is_empty() { "of no kind" } else { told.media.as_str() };
            told.content = Content::LeftOut(format!("`{media}`"));
        }
        told
    }

    /// Whether there is a body that is passed on.
    pub(super) fn is_readable(&self) -> bool {
        self.kind != Kind::Other
    }

    pub(super) fn leave_out(&mut self, why: String) {
        self.content = Content::LeftOut(why);
    }

    pub(super) fn body(&mut self, bytes: &[u8]) {
        let limits = JsonLimits { bytes_max: bytes.len().max(1), ..JsonLimits::MESSAGE };
        self.content = match (self.kind, std::str::from_utf8(bytes)) {
            (_, Ok(text)) if text.trim().is_empty() => Content::Nothing,
            (Kind::Json, _) => Json::parse(bytes, &limits).map_or(Content::Broken, Content::Json),
            (Kind::Text, Ok(text)) => Content::Text(text.to_owned()),
            (_, _) => Content::LeftOut("no UTF-8 text".to_owned()),
        };
    }

    /// A read whose answer cannot be read has failed; what was done is done.
    pub(super) fn checked(mut self, is_read: bool) -> Result<Self, Trouble> {
        if let Content::Broken = self.content {
            if is_read && self.status.is_success() {
                let detail = "the answer says that it is JSON, and is none that can be read";
                return Err(Trouble::after(Code::UpstreamProtocol, detail));
            }
            self.leave_out("no JSON that can be read".to_owned());
        }
        Ok(self)
    }

    /// As a tool answers.
    pub(super) fn into_result(self, era: Era) -> Json {
        let is_error = !self.status.is_success();
        let meta = Object::new()
            .with("status", i64::from(self.status.as_u16()))
            .with_some("retryAfterSeconds", self.retry_after_s.map(i64::from));
        let head = self.head();
        let (text, structured) = match self.content {
            Content::Nothing => (head, None),
            Content::Json(value) if is_error => (shown(&head, &value.to_string()), Some(value)),
            Content::Json(value) => (value.to_string(), Some(value)),
            Content::Text(text) if is_error => (shown(&head, &text), None),
            Content::Text(text) => (text, None),
            Content::LeftOut(what) => (format!("{head}; its body is not shown: {what}"), None),
            Content::Broken => (head, None),
        };
        let block = Object::new().with("type", "text").with("text", text);
        let mut result = Object::new().with("content", vec![Json::from(block)]);
        if let Some(structured) = structured {
            result.set("structuredContent", as_object(structured));
        }
        if is_error {
            result.set("isError", true);
        }
        in_era(result.with("_meta", Object::new().with(HTTP_META, meta)), era)
    }

    fn head(&self) -> String {
        let status = self.status;
        let said = match status.as_u16() {
            403 => ": the API refuses this",
            404 => ": the API has nothing there",
            429 => ": too many requests",
            _ => "",
        };
        match self.retry_after_s {
            Some(seconds) => format!("HTTP {status}{said}, try again after {seconds} s"),
            None => format!("HTTP {status}{said}"),
        }
    }
}

/// Structured content is an object: what is none stands in one.
fn as_object(value: Json) -> Json {
    match value {
        Json::Object(_) => value,
        other => Object::new().with("value", other).into(),
    }
}

fn shown(head: &str, body: &str) -> String {
    let mut end = body.len().min(REFUSAL_BYTES_SHOWN_MAX);
    while !body.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    format!("{head}\n{}", body.get(..end).unwrap_or_default())
}
