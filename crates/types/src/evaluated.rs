//! The result of a suite of behaviour tests, as far as a decision depends on it.

use crate::{CallId, Digest, Json, Micros, Object};

/// A result that is on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evaluated {
    /// The suite.
    pub suite: String,
    /// The digest of the suite as it was asked.
    pub digest: Digest,
    /// What says which model it was.
    pub of: Digest,
    /// Whether it was passed.
    pub is_passed: bool,
    /// Answers that were as expected, in hundredths of a percent.
    pub percent: i64,
    /// When it was recorded.
    pub at: Micros,
    /// The call by which it was.
    pub call: CallId,
}

impl Evaluated {
    /// As recorded.
    pub fn to_json(&self) -> Json {
        Object::new()
            .with("at", self.at.0)
            .with("call", self.call.as_str())
            .with("digest", self.digest.to_string())
            .with("of", self.of.to_string())
            .with("passed", self.is_passed)
            .with("percent", self.percent)
            .with("suite", self.suite.as_str())
            .into()
    }

    /// As read back; `None` if it is not what is written, which denies (I3).
    pub fn from_json(json: &Json) -> Option<Self> {
        let text = |name: &str| json.get(name)?.as_str();
        Some(Self {
            suite: text("suite")?.to_owned(),
            digest: text("digest")?.parse().ok()?,
            of: text("of")?.parse().ok()?,
            is_passed: json.get("passed")?.as_bool()?,
            percent: json.get("percent")?.as_i64()?,
            at: Micros(json.get("at")?.as_i64()?),
            call: CallId::new(text("call")?).ok()?,
        })
    }
}
