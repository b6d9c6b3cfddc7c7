//! What retrieval brings: documents of registered sources, and the chunks they are cut into.
//!
//! A field with permissions of its own is a document of its own, beneath the one it is a field of:
//! then whoever may not see the field is not told by a search that it matches.

use crate::label::Confidentiality;
use crate::{Code, Digest, Json, Micros, Object};
use std::collections::BTreeSet;

/// A principal in the permissions of a source, as policies name it: who, or which group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reader {
    /// Everybody in the source's tenant.
    Everyone,
    /// A subject.
    User(String),
    /// A group, with all that are in it and in the groups within it.
    Group(String),
}

impl Reader {
    /// As recorded: `everyone`, `user:ann`, `group:hr`.
    pub fn to_text(&self) -> String {
        match self {
            Self::Everyone => "everyone".to_owned(),
            Self::User(name) => format!("user:{name}"),
            Self::Group(name) => format!("group:{name}"),
        }
    }

    /// Reads what was recorded, or declared.
    pub fn from_text(text: &str) -> Option<Self> {
        match text.split_once(':') {
            None if text == "everyone" => Some(Self::Everyone),
            Some(("user", name)) if !name.is_empty() => Some(Self::User(name.to_owned())),
            Some(("group", name)) if !name.is_empty() => Some(Self::Group(name.to_owned())),
            _ => None,
        }
    }
}

/// Who wrote a document, or how it came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Curation {
    /// A person, in a source that its owner answers for.
    Curated,
    /// Anybody: mail, tickets, pages from outside.
    Collected,
    /// A model, or a program.
    Generated,
}

impl Curation {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Curated, Self::Collected, Self::Generated];

    /// The word in declarations, policies and records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Curated => "curated",
            Self::Collected => "collected",
            Self::Generated => "generated",
        }
    }

    /// Reads the word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|curation| curation.as_str() == word)
    }

    /// What is left of it where a detector suspects the document: nobody's word is taken for it.
    pub const fn doubted(self) -> Self {
        match self {
            Self::Curated | Self::Collected => Self::Collected,
            Self::Generated => Self::Generated,
        }
    }
}

/// What the source and people have said about a document: what policies see of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentFacts {
    /// What it is called within its source: a path, an address, a key. Stable over changes.
    pub id: String,
    /// The source it is of.
    pub source: String,
    /// The tenant whose source that is.
    pub tenant: String,
    /// The folders it lies in, the outermost first, by their whole paths. A field lies in its
    /// document.
    pub folders: Vec<String>,
    /// What kind of text it is: `runbook`, `template`, `ticket`.
    pub kind: String,
    /// Who answers for it.
    pub owner: Option<String>,
    /// How it came to be.
    pub curation: Curation,
    /// The highest that anybody or any detector has said.
    pub classification: Confidentiality,
    /// Categories of personal data, `secret`, and what people have tagged it with.
    pub tags: BTreeSet<String>,
    /// To whom it, or a folder it lies in, is shared. `None`: not known for certain, and so shared
    /// to nobody.
    pub readers: Option<BTreeSet<Reader>>,
    /// From whom it, or a folder it lies in, is kept, whatever is shared.
    pub denied: BTreeSet<Reader>,
    /// When it was changed at its source.
    pub changed: Micros,
    /// When the gate has last seen that it is still so.
    pub confirmed: Micros,
}

/// Where a chunk comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provenance {
    /// What its document is.
    pub document: DocumentFacts,
    /// What people call it.
    pub title: String,
    /// Who wrote it, where that is known.
    pub author: Option<String>,
    /// When it was made at its source, where that is known.
    pub made: Option<Micros>,
    /// When this version of it was ingested.
    pub ingested: Micros,
    /// The snapshot of the source.
    pub snapshot: u64,
    /// Bytes of the document's text, as it was ingested: from, to.
    pub span: (u64, u64),
    /// The hash of the chunk's text.
    pub hash: Digest,
    /// Where a person can look it up.
    pub link: Option<String>,
}

impl DocumentFacts {
    /// As recorded among the facts of what was decided about it.
    pub fn to_json(&self) -> Json {
        let readers = |all: &BTreeSet<Reader>| -> Vec<Json> {
            all.iter().map(|reader| Json::from(reader.to_text())).collect()
        };
        let texts = |all: &mut dyn Iterator<Item = &String>| -> Vec<Json> {
            all.map(|text| Json::from(text.as_str())).collect()
        };
        Object::new()
            .with("changed", self.changed.0)
            .with("classification", self.classification.as_str())
            .with("confirmed", self.confirmed.0)
            .with("curation", self.curation.as_str())
            .with("denied", readers(&self.denied))
            .with("folders", texts(&mut self.folders.iter()))
            .with("id", self.id.as_str())
            .with("kind", self.kind.as_str())
            .with_some("owner", self.owner.as_deref())
            .with_some("readers", self.readers.as_ref().map(readers))
            .with("source", self.source.as_str())
            .with("tags", texts(&mut self.tags.iter()))
            .with("tenant", self.tenant.as_str())
            .into()
    }

    /// As read back.
    pub fn from_json(json: &Json) -> Option<Self> {
        let text = |name: &str| Some(json.get(name)?.as_str()?.to_owned());
        let time = |name: &str| Some(Micros(json.get(name)?.as_i64()?));
        let texts = |json: &Json| -> Option<Vec<String>> {
            json.as_array()?.iter().map(|text| text.as_str().map(str::to_owned)).collect()
        };
        let readers = |json: &Json| -> Option<BTreeSet<Reader>> {
            json.as_array()?.iter().map(|reader| Reader::from_text(reader.as_str()?)).collect()
        };
        Some(Self {
            id: text("id")?,
            source: text("source")?,
            tenant: text("tenant")?,
            folders: texts(json.get("folders")?)?,
            kind: text("kind")?,
            owner: match json.get("owner") {
                Some(owner) => Some(owner.as_str()?.to_owned()),
                None => None,
            },
            curation: Curation::from_word(json.get("curation")?.as_str()?)?,
            classification: Confidentiality::from_word(json.get("classification")?.as_str()?)?,
            tags: texts(json.get("tags")?)?.into_iter().collect(),
            readers: match json.get("readers") {
                Some(all) => Some(readers(all)?),
                None => None,
            },
            denied: readers(json.get("denied")?)?,
            changed: time("changed")?,
            confirmed: time("confirmed")?,
        })
    }
}

/// What a claim comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It holds: the chunk by its hash, and where in the document's text the quote stands.
    Holds {
        /// The hash of the chunk's text.
        chunk: Digest,
        /// Bytes of the document's text as it was ingested: from, to.
        span: (u64, u64),
    },
    /// It does not, and why.
    Fails(Code),
}

impl Verdict {
    /// As recorded and answered.
    pub fn to_json(&self) -> Json {
        match self {
            Self::Holds { chunk, span: (from, to) } => Object::new()
                .with("chunk", chunk.to_string())
                .with("from", i64::try_from(*from).unwrap_or(i64::MAX))
                .with("to", i64::try_from(*to).unwrap_or(i64::MAX))
                .into(),
            Self::Fails(code) => Object::new().with("code", code.as_str()).into(),
        }
    }

    /// As read back.
    pub fn from_json(json: &Json) -> Option<Self> {
        let place = |name: &str| json.get(name)?.as_i64().and_then(|at| u64::try_from(at).ok());
        match json.get("code") {
            Some(code) => Some(Self::Fails(Code::from_code(code.as_str()?)?)),
            None => Some(Self::Holds {
                chunk: json.get("chunk")?.as_str()?.parse().ok()?,
                span: (place("from")?, place("to")?),
            }),
        }
    }
}

/// What the claims of a call come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cited {
    /// The operation need not cite anything.
    Unasked,
    /// What it has to cite is missing, or not as it has to be: in words.
    Missing(String),
    /// What each of its claims comes to, in their order.
    Checked(Vec<Verdict>),
}

impl Cited {
    /// As recorded among the facts.
    pub fn to_json(&self) -> Json {
        match self {
            Self::Unasked => Object::new().into(),
            Self::Missing(what) => Object::new().with("missing", what.as_str()).into(),
            Self::Checked(verdicts) => {
                let verdicts: Vec<Json> = verdicts.iter().map(Verdict::to_json).collect();
                Object::new().with("claims", verdicts).into()
            }
        }
    }

    /// As read back.
    pub fn from_json(json: &Json) -> Option<Self> {
        if let Some(what) = json.get("missing") {
            return Some(Self::Missing(what.as_str()?.to_owned()));
        }
        let Some(claims) = json.get("claims") else { return Some(Self::Unasked) };
        let verdicts = claims.as_array()?.iter().map(Verdict::from_json);
        verdicts.collect::<Option<_>>().map(Self::Checked)
    }

    /// Why the call stops, if it does, and what about it, in words.
    pub fn fault(&self) -> Option<(Code, String)> {
        match self {
            Self::Unasked => None,
            Self::Missing(what) => Some((Code::CitationsMissing, what.clone())),
            Self::Checked(verdicts) => {
                let failed = verdicts.iter().enumerate().find_map(|(at, it)| match it {
                    Verdict::Holds { .. } => None,
                    Verdict::Fails(code) => Some((at, *code)),
                });
                let (at, code) = failed?;
                Some((code, format!("claim {}: {}", at + 1, code.title())))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_claims_come_to_reads_back() {
        let holds = Verdict::Holds { chunk: Digest::of(b"x"), span: (3, 9) };
        let fails = Verdict::Fails(Code::QuoteNotFound);
        for cited in [
            Cited::Unasked,
            Cited::Missing("two are wanted".to_owned()),
            Cited::Checked(vec![holds, fails]),
        ] {
            assert_eq!(Cited::from_json(&cited.to_json()), Some(cited));
        }
    }

    #[test]
    fn what_was_recorded_of_a_document_reads_back() {
        let mut facts = DocumentFacts {
            id: "hr/leave.md".to_owned(),
            source: "handbook".to_owned(),
            tenant: "acme".to_owned(),
            folders: vec!["hr".to_owned()],
            kind: "policy".to_owned(),
            owner: Some("ann".to_owned()),
            curation: Curation::Curated,
            classification: Confidentiality::Internal,
            tags: BTreeSet::from(["pii".to_owned()]),
            readers: Some(BTreeSet::from([
                Reader::Everyone,
                Reader::User("group:x".to_owned()),
                Reader::Group("hr".to_owned()),
            ])),
            denied: BTreeSet::from([Reader::User("bob".to_owned())]),
            changed: Micros(-5),
            confirmed: Micros(7),
        };
        assert_eq!(DocumentFacts::from_json(&facts.to_json()).as_ref(), Some(&facts));
        // Nobody known is not the same as nobody at all.
        (facts.readers, facts.owner) = (None, None);
        let read = DocumentFacts::from_json(&facts.to_json()).unwrap();
        assert_eq!(read, facts);
        facts.readers = Some(BTreeSet::new());
        assert_ne!(read, facts);
        assert_eq!(DocumentFacts::from_json(&facts.to_json()).as_ref(), Some(&facts));
    }
}
