//! What travels with a value: whose words it holds, who may see it, and how old it is.
//!
//! Labels join when values are combined: the join is that of a semilattice, so that it does not
//! matter in which order, or how often, something was met. Each part of a label that is kept for
//! longer than a session has a word of its own, its [tag](Label::tags).

use crate::flow::Author;
use crate::{CanonicalObject, Json, Micros, Object};
use std::collections::BTreeSet;

/// Categories of personal data in one label. Detectors know a few; a label that is read back and
/// has more is none.
pub const PII_MAX: usize = 64;
/// Readers that one label names.
pub const READERS_MAX: usize = 32;
/// Bytes of a category, or of a reader's name.
pub const LABEL_WORD_BYTES_MAX: usize = 64;

/// What begins the tag of an origin.
pub const ORIGIN_TAG: &str = "origin:";
/// What begins the tag of a confidentiality.
pub const CONFIDENTIALITY_TAG: &str = "confidentiality:";
/// What begins the tag of a category of personal data.
pub const PII_TAG: &str = "pii:";
/// What begins the tag of those who may read something.
const READERS_TAG: &str = "readers:";

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
    /// Whose words joined.
    pub origins: BTreeSet<Author>,
    /// The categories of personal data that were found.
    pub pii: BTreeSet<String>,
    /// Who may read all that joined, where that is known. `None`: anybody.
    pub readers: Option<BTreeSet<String>>,
    /// When the oldest of it was true.
    pub oldest: Option<Micros>,
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
    /// Every one, the lowest first.
    pub const ALL: [Self; 4] = [Self::Public, Self::Internal, Self::Confidential, Self::Restricted];

    /// Its place among them, as policies compare it.
    pub const fn level(self) -> i64 {
        match self {
            Self::Public => 0,
            Self::Internal => 1,
            Self::Confidential => 2,
            Self::Restricted => 3,
        }
    }

    /// Reads the word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|value| value.as_str() == word)
    }
}

impl Author {
    /// Whether these words may be relied upon.
    pub const fn integrity(self) -> Integrity {
        match self {
            // What a model was told stands beside it: that it says so takes nothing away.
            Self::System | Self::Directory | Self::Model => Integrity::Trusted,
            Self::Tenant | Self::Anyone => Integrity::Untrusted,
        }
    }
}

impl Label {
    /// The label of somebody's words.
    pub fn of(author: Author, confidentiality: Confidentiality) -> Self {
        let origins = BTreeSet::from([author]);
        Self { integrity: author.integrity(), confidentiality, origins, ..Self::default() }
    }

    /// The label of both: the lower integrity, the higher confidentiality, everybody's words, only
    /// those readers who may read both.
    #[must_use]
    pub fn join(&self, other: &Self) -> Self {
        let mut both = self.clone();
        both.absorb(other.clone());
        both
    }

    /// Joins another label in place.
    pub fn absorb(&mut self, other: Self) {
        self.integrity = self.integrity.max(other.integrity);
        self.confidentiality = self.confidentiality.max(other.confidentiality);
        // One by one, and not at all if there are none: both are nearly always empty, or the same
        // one or two words.
        self.origins.extend(&other.origins);
        if !other.pii.is_empty() {
            self.pii.extend(other.pii);
        }
        self.readers = match (self.readers.take(), other.readers) {
            (Some(mut one), Some(two)) => {
                one.retain(|reader| two.contains(reader));
                Some(one)
            }
            (one, two) => one.or(two),
        };
        self.oldest = match (self.oldest, other.oldest) {
            (Some(one), Some(two)) => Some(one.min(two)),
            (one, two) => one.or(two),
        };
    }

    /// Whether joining the other would change nothing.
    pub fn covers(&self, other: &Self) -> bool {
        let readers = match (&self.readers, &other.readers) {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(mine), Some(theirs)) => mine.is_subset(theirs),
        };
        let is_older = match (self.oldest, other.oldest) {
            (_, None) => true,
            (mine, Some(theirs)) => mine.is_some_and(|mine| mine <= theirs),
        };
        self.integrity >= other.integrity
            && self.confidentiality >= other.confidentiality
            && self.origins.is_superset(&other.origins)
            && self.pii.is_superset(&other.pii)
            && readers
            && is_older
    }

    /// A word for each part of it that policies can ask for later: `origin:anyone`,
    /// `confidentiality:confidential`, `pii:email`. What is public has none.
    pub fn tags(&self) -> Vec<String> {
        let mut tags: Vec<String> =
            self.origins.iter().map(|origin| format!("{ORIGIN_TAG}{}", origin.as_str())).collect();
        let is_said = self.origins.iter().any(|it| it.integrity() == Integrity::Untrusted);
        if self.integrity == Integrity::Untrusted && !is_said {
            // A label from before origins were kept.
            tags.push(format!("{ORIGIN_TAG}{}", Author::Anyone.as_str()));
        }
        if self.confidentiality > Confidentiality::Public {
            tags.push(format!("{CONFIDENTIALITY_TAG}{}", self.confidentiality.as_str()));
        }
        tags.extend(self.pii.iter().map(|category| format!("{PII_TAG}{category}")));
        tags.extend(self.readers.as_ref().map(|readers| {
            let names: Vec<&str> = readers.iter().map(String::as_str).collect();
            format!("{READERS_TAG}{}", names.join(","))
        }));
        tags
    }

    /// The label that one tag stands for; nothing's if it is no label's tag.
    pub fn of_tag(tag: &str) -> Self {
        let mut label = Self::default();
        if let Some(word) = tag.strip_prefix(ORIGIN_TAG) {
            // One that a newer version wrote is anybody's (I3).
            let author = Author::from_word(word).unwrap_or(Author::Anyone);
            label = Self::of(author, Confidentiality::Public);
        } else if let Some(word) = tag.strip_prefix(CONFIDENTIALITY_TAG) {
            let found = Confidentiality::from_word(word);
            label.confidentiality = found.unwrap_or(Confidentiality::Restricted);
        } else if let Some(word) = tag.strip_prefix(PII_TAG) {
            label.pii.insert(word.to_owned());
        } else if let Some(names) = tag.strip_prefix(READERS_TAG) {
            let names = names.split(',').filter(|name| !name.is_empty());
            label.readers = Some(names.map(str::to_owned).collect());
        }
        label
    }

    /// As recorded. What says nothing is left out.
    pub fn to_json(&self) -> Json {
        let texts = |all: &BTreeSet<String>| -> Vec<Json> {
            all.iter().map(|text| text.as_str().into()).collect()
        };
        let origins: Vec<Json> = self.origins.iter().map(|it| it.as_str().into()).collect();
        Object::new()
            .with("confidentiality", self.confidentiality.as_str())
            .with("integrity", self.integrity.as_str())
            .with_some("oldest", self.oldest.map(|at| at.0))
            .with_some("origins", (!origins.is_empty()).then_some(origins))
            .with_some("pii", (!self.pii.is_empty()).then(|| texts(&self.pii)))
            .with_some("readers", self.readers.as_ref().map(texts))
            .into()
    }

    /// Its members, in the order of [`Label::to_json`].
    pub fn write(&self, out: &mut CanonicalObject) {
        out.text("confidentiality", self.confidentiality.as_str());
        out.text("integrity", self.integrity.as_str());
        if let Some(oldest) = self.oldest {
            out.integer("oldest", oldest.0);
        }
        if !self.origins.is_empty() {
            out.texts("origins", self.origins.iter().map(|origin| origin.as_str()));
        }
        if !self.pii.is_empty() {
            out.texts("pii", self.pii.iter().map(String::as_str));
        }
        if let Some(readers) = &self.readers {
            out.texts("readers", readers.iter().map(String::as_str));
        }
    }

    /// As read back; `None` if it is not a label, which denies (I3). Old ones say less.
    pub fn from_json(json: &Json) -> Option<Self> {
        let origins = match json.get("origins") {
            Some(all) => {
                let words = all.as_array()?.iter().map(|word| Author::from_word(word.as_str()?));
                words.collect::<Option<_>>()?
            }
            None => BTreeSet::new(),
        };
        let readers = match json.get("readers") {
            Some(all) => Some(words(all, READERS_MAX)?),
            None => None,
        };
        Some(Self {
            integrity: Integrity::from_word(json.get("integrity")?.as_str()?)?,
            confidentiality: Confidentiality::from_word(json.get("confidentiality")?.as_str()?)?,
            origins,
            pii: json.get("pii").map_or_else(|| Some(BTreeSet::new()), |it| words(it, PII_MAX))?,
            readers,
            oldest: match json.get("oldest") {
                Some(at) => Some(Micros(at.as_i64()?)),
                None => None,
            },
        })
    }
}

fn words(json: &Json, max: usize) -> Option<BTreeSet<String>> {
    let all = json.as_array()?;
    if all.len() > max {
        return None;
    }
    all.iter().map(|word| word.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words() -> impl Strategy<Value = BTreeSet<String>> {
        prop::collection::btree_set("[a-c]", 0..3)
    }

    fn label() -> impl Strategy<Value = Label> {
        let levels = [
            Confidentiality::Public,
            Confidentiality::Internal,
            Confidentiality::Confidential,
            Confidentiality::Restricted,
        ];
        let parts = (
            any::<bool>(),
            prop::sample::select(levels.to_vec()),
            prop::collection::btree_set(prop::sample::select(Author::ALL.to_vec()), 0..4),
            words(),
            prop::option::of(words()),
            prop::option::of((0..5_i64).prop_map(Micros)),
        );
        parts.prop_map(|(is_untrusted, confidentiality, origins, pii, readers, oldest)| {
            let integrity = if is_untrusted { Integrity::Untrusted } else { Integrity::Trusted };
            Label { integrity, confidentiality, origins, pii, readers, oldest }
        })
    }

    proptest! {
        #[test]
        fn labels_are_a_semilattice(a in label(), b in label(), c in label()) {
            prop_assert_eq!(a.join(&a), a.clone());
            prop_assert_eq!(a.join(&b), b.join(&a));
            prop_assert_eq!(a.join(&b).join(&c), a.join(&b.join(&c)));
            prop_assert_eq!(a.join(&Label::default()), a.clone());
            prop_assert!(a.join(&b).covers(&a));
            prop_assert!(a.join(&b).covers(&b));
            prop_assert_eq!(a.covers(&b), a.join(&b) == a);
        }

        #[test]
        fn a_label_reads_back(label in label()) {
            let mut written = CanonicalObject::new(0);
            label.write(&mut written);
            prop_assert_eq!(written.finish(), label.to_json().to_canonical());
            prop_assert_eq!(Label::from_json(&label.to_json()), Some(label));
        }

        #[test]
        fn tags_stand_for_the_whole_label(label in label()) {
            let all = label.tags();
            let joined = all.iter().fold(Label::default(), |all, tag| all.join(&Label::of_tag(tag)));
            // Whose words they are says how far they can be relied upon.
            let relied_upon = label.origins.iter().map(|origin| origin.integrity()).max();
            prop_assert!(joined.integrity >= label.integrity.min(relied_upon.unwrap_or_default()));
            prop_assert_eq!(joined.confidentiality, label.confidentiality);
            prop_assert_eq!(joined.pii, label.pii);
            prop_assert_eq!(joined.readers, label.readers);
            prop_assert!(joined.origins.is_superset(&label.origins));
        }
    }

    #[test]
    fn what_was_recorded_before_reads_back() {
        let old = Object::new().with("confidentiality", "public").with("integrity", "untrusted");
        let label = Label::from_json(&old.into()).unwrap();
        assert_eq!(label.integrity, Integrity::Untrusted);
        assert_eq!(label.tags(), ["origin:anyone"]);
    }

    #[test]
    fn what_is_no_label_is_none() {
        let known = || Label::of(Author::Anyone, Confidentiality::Public).to_json();
        let with = |name: &str, value: Json| {
            let mut members = known().as_object().cloned().unwrap();
            members.set(name, value);
            Label::from_json(&members.into())
        };
        assert!(with("oldest", 3.into()).is_some());
        assert_eq!(with("oldest", "today".into()), None);
        assert_eq!(with("origins", vec![Json::from("nobody")].into()), None);
        let many: Vec<Json> = (0..=PII_MAX).map(|at| format!("k{at}").into()).collect();
        assert_eq!(with("pii", many.into()), None);
    }
}
