//! What travels with a value: where it came from and how far it may go.
//!
//! The spine keeps the fields and their fold; how labels constrain flow comes with risk.

use crate::Json;

/// Whether a value may become an instruction, a destination or an identity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Integrity {
    /// From the bundle or an endorsed source.
    #[default]
    Trusted,
    /// From anywhere else.
    Untrusted,
}

/// Who may see a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Confidentiality {
    /// Everybody.
    #[default]
    Public,
    /// The organisation.
    Internal,
    /// Those who need it.
    Confidential,
    /// Those who are named.
    Restricted,
}

/// The label of a value, or of everything a session has been exposed to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Label {
    /// Trusted until anything untrusted joins.
    pub integrity: Integrity,
    /// As high as the highest that joined.
    pub confidentiality: Confidentiality,
}

impl Integrity {
    /// The word in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trusted => "trusted",
            Self::Untrusted => "untrusted",
        }
    }
    /// Reads the word.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Trusted, Self::Untrusted].into_iter().find(|value| value.as_str() == word)
    }
}

impl Confidentiality {
    /// The word in records and policies.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Internal => "internal",
            Self::Confidential => "confidential",
            Self::Restricted => "restricted",
        }
    }
    /// Reads the word.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Public, Self::Internal, Self::Confidential, Self::Restricted]
            .into_iter()
            .find(|value| value.as_str() == word)
    }
}

impl Label {
    /// The label of both: the lower integrity, the higher confidentiality.
    #[must_use]
    pub fn join(&self, other: &Self) -> Self {
        Self {
            integrity: self.integrity.max(other.integrity),
            confidentiality: self.confidentiality.max(other.confidentiality),
        }
    }

    /// As read back; `None` if it is not a label, which denies (I3).
    pub fn from_json(json: &Json) -> Option<Self> {
        Some(Self {
            integrity: Integrity::from_word(json.get("integrity")?.as_str()?)?,
            confidentiality: Confidentiality::from_word(json.get("confidentiality")?.as_str()?)?,
        })
    }
}
