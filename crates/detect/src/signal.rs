//! What a detector says: where something is, of what kind, and how sure it is.

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Words that give orders to whoever reads them with a model.
    Injection,
    /// Characters that a person does not see and a model reads.
    HiddenText,
    /// Letters that look like others.
    Confusable,
    /// A text wrapped so that it is not read at first sight.
    Encoded,
    /// A credential.
    Secret,
    /// Personal data.
    Pii,
    /// An address that carries something out when it is opened.
    Link,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::Injection,
        Self::HiddenText,
        Self::Confusable,
        Self::Encoded,
        Self::Secret,
        Self::Pii,
        Self::Link,
    ];

    /// The word in reports and records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Injection => "injection",
            Self::HiddenText => "hidden_text",
            Self::Confusable => "confusable",
            Self::Encoded => "encoded",
            Self::Secret => "secret",
            Self::Pii => "pii",
            Self::Link => "link",
        }
    }
}

/// The most that a signal can score.
pub const SCORE_MAX: u16 = 1000;

/// One find.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Signal {
    /// The first byte of the text.
    pub start: usize,
    /// The byte after the last.
    pub end: usize,
    /// What was found.
    pub kind: Kind,
    /// Which sort of it: `override`, `tag_characters`, `card`.
    pub class: &'static str,
    /// How sure the detector is, of [`SCORE_MAX`].
    pub score: u16,
}

impl Signal {
    pub(crate) fn new(
        kind: Kind,
        class: &'static str,
        bytes: std::ops::Range<usize>,
        score: u16,
    ) -> Self {
        Self { start: bytes.start, end: bytes.end, kind, class, score: score.min(SCORE_MAX) }
    }
}
