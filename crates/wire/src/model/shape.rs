//! Members whose type is known. What has another type is refused with its place; what nobody here
//! knows is not looked at.

use super::path::Path;
use lockgate_types::{Code, Json, Object};

/// A member has not the type that the API gives it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{member}` must be {expected}")]
pub struct Malformed {
    /// Where.
    pub member: String,
    /// What is expected there.
    pub expected: &'static str,
    is_ambiguous: bool,
}

impl Malformed {
    pub(super) fn at(path: &Path, expected: &'static str) -> Self {
        let member = path.to_string();
        let member = if member.is_empty() { "body".to_owned() } else { member };
        Self { member, expected, is_ambiguous: false }
    }

    /// The stable code, if a client sent it. What a provider sent is `UpstreamProtocol`.
    pub const fn code(&self) -> Code {
        if self.is_ambiguous { Code::DuplicateMember } else { Code::BadModelRequest }
    }
}

/// An object at a place, and its members by type. `null` is absent: SDKs send it for what was not
/// given.
#[derive(Clone, Debug)]
pub(super) struct Shape<'a> {
    pub(super) object: &'a Object,
    pub(super) path: Path,
}

impl<'a> Shape<'a> {
    pub(super) fn of(value: &'a Json, path: Path) -> Result<Self, Malformed> {
        match value.as_object() {
            Some(object) => Ok(Self { object, path }),
            None => Err(Malformed::at(&path, "an object")),
        }
    }

    /// Refuses names that differ only in case from one that is read here: an upstream whose reader
    /// ignores case would read another request than this gate.
    pub(super) fn unambiguous(self, known: &[&str]) -> Result<Self, Malformed> {
        let is_like = |name: &str| {
            known
                .iter()
                .any(|it| it.len() == name.len() && *it != name && it.eq_ignore_ascii_case(name))
        };
        match self.object.iter().find(|(name, _)| is_like(name)) {
            None => Ok(self),
            Some((name, _)) => {
                let expected = "written in small letters, as the API defines it";
                let member = self.path.name(name).to_string();
                Err(Malformed { member, expected, is_ambiguous: true })
            }
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&'a Json> {
        self.object.get(name).filter(|value| **value != Json::Null)
    }

    fn typed<T>(
        &self,
        name: &str,
        expected: &'static str,
        read: impl FnOnce(&'a Json) -> Option<T>,
    ) -> Result<Option<T>, Malformed> {
        let Some(value) = self.get(name) else { return Ok(None) };
        match read(value) {
            Some(value) => Ok(Some(value)),
            None => Err(Malformed::at(&self.path.name(name), expected)),
        }
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<&'a str>, Malformed> {
        self.typed(name, "a string", Json::as_str)
    }

    pub(super) fn flag(&self, name: &str) -> Result<bool, Malformed> {
        Ok(self.typed(name, "true or false", Json::as_bool)?.unwrap_or(false))
    }

    /// A count of something.
    pub(super) fn count(&self, name: &str) -> Result<Option<u64>, Malformed> {
        let read = |value: &Json| u64::try_from(value.as_i64()?).ok();
        self.typed(name, "an integer that is not negative", read)
    }

    pub(super) fn array(&self, name: &str) -> Result<Option<&'a [Json]>, Malformed> {
        self.typed(name, "an array", Json::as_array)
    }

    pub(super) fn shape(&self, name: &str) -> Result<Option<Self>, Malformed> {
        let object = self.typed(name, "an object", Json::as_object)?;
        Ok(object.map(|object| Self { object, path: self.path.name(name) }))
    }

    /// The objects of an array.
    pub(super) fn shapes(&self, name: &str) -> Result<Vec<Self>, Malformed> {
        let items = self.array(name)?.unwrap_or_default();
        if items.is_empty() {
            return Ok(Vec::new());
        }
        let path = self.path.name(name);
        let items = items.iter().enumerate();
        items.map(|(at, item)| Self::of(item, path.index(at))).collect()
    }

    /// `type`, where it says what the rest is.
    pub(super) fn kind(&self) -> Result<&'a str, Malformed> {
        Ok(self.text("type")?.unwrap_or_default())
    }
}

/// Calls back with every string at or below a place.
pub(super) fn each_string<'a>(value: &'a Json, path: &Path, found: &mut dyn FnMut(Path, &'a str)) {
    match value {
        Json::String(text) => found(path.clone(), text),
        Json::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                each_string(item, &path.index(at), found);
            }
        }
        Json::Object(object) => {
            for (name, value) in object.iter() {
                each_string(value, &path.name(name), found);
            }
        }
        Json::Null | Json::Bool(_) | Json::Number(_) => {}
    }
}
