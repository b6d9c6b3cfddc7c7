//! What a retriever of others has found: where its hits are, and what is known of each.
//!
//! Nothing is taken for granted: a hit without a name or of no registered source is nobody's to
//! see, readers that nobody states are none, and an age that nobody states is the greatest.

use super::source;
use crate::declare::Documents;
use crate::world::World;
use lockgate_types::document::{DocumentFacts, Reader};
use lockgate_types::identity::Identity;
use lockgate_types::label::Confidentiality;
use lockgate_types::{Json, Micros, Object};
use std::collections::BTreeSet;

/// Hits of one answer that are looked at; those beyond are not shown.
pub const HITS_MAX: usize = 512;
/// Members of what is answered that are the gate's own.
pub const OWN_MEMBERS: [&str; 3] = ["complete", "documents", "notes"];
/// Bytes of a document's name, and of its path.
const ID_BYTES_MAX: usize = 1024;
/// Readers, denials and tags of one hit. One with more is not shown.
const LISTED_MAX: usize = 256;
/// Characters of what people call a document.
const TITLE_CHARS_MAX: usize = 200;
/// Seconds beyond which a number is no time in seconds: the year 5138.
const SECONDS_MAX: i64 = 100_000_000_000;

/// What was seen of a hit by whoever looked at its text, and can read times.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Categories of personal data, and `secret`.
    pub tags: BTreeSet<String>,
    /// The least classification that they ask for.
    pub least: Confidentiality,
    /// How a time is read that is written as RFC 3339 has it.
    pub time: Option<fn(&str) -> Option<Micros>>,
}

/// The hits in a structured result. `None`: it has none where they are declared to be.
pub fn hits<'j>(documents: &Documents, structured: &'j Json) -> Option<&'j [Json]> {
    at(structured, &documents.hits)?.as_array()
}

/// A structured result with these hits, and nothing beside the way to them: what else an index says
/// of what it found tells of what may not be seen.
pub fn with_hits(documents: &Documents, hits: Vec<Json>) -> Object {
    let mut names: Vec<&str> = documents.hits.split('.').collect();
    let first = names.remove(0);
    let inner = names.into_iter().rev();
    let value = inner.fold(Json::from(hits), |value, name| Object::new().with(name, value).into());
    Object::new().with(first, value)
}

/// What policies see of a hit. `None`: it cannot be told which document it is, or from whom it is
/// kept.
pub fn facts(
    world: &World,
    identity: &Identity,
    documents: &Documents,
    hit: &Json,
    seen: &Seen,
) -> Option<DocumentFacts> {
    let member = |path: &Option<String>| at(hit, path.as_ref()?).filter(|it| **it != Json::Null);
    let word = |path: &Option<String>| member(path).and_then(Json::as_str).map(str::to_owned);
    let id = name(at(hit, &documents.id)?)?;
    let called = documents.source.clone().or_else(|| word(&documents.source_member))?;
    let declared = world.sources.get(&called)?;
    let path = match member(&documents.path) {
        Some(path) => name(path)?,
        None => id.clone(),
    };
    let folders = folders(&path);
    let shares = source::shares(declared, &folders);
    let stated = |path: &Option<String>| -> Option<BTreeSet<Reader>> {
        let all = texts(member(path)?)?;
        all.iter().map(|text| Reader::from_text(text)).collect()
    };
    let readers = match (&documents.readers, documents.filters_by_subject) {
        (Some(_), _) => {
            let own = stated(&documents.readers);
            // What people have declared adds up with what the retriever says.
            match (own, shares.readers) {
                (Some(own), declared) => {
                    Some(own.into_iter().chain(declared.into_iter().flatten()).collect())
                }
                (None, _) => None,
            }
        }
        (None, true) => {
            let subject = Reader::User(identity.subject.as_str().to_owned());
            Some(shares.readers.into_iter().flatten().chain([subject]).collect())
        }
        (None, false) => shares.readers,
    };
    let mut denied = shares.denied;
    if member(&documents.denied).is_some() {
        denied.extend(stated(&documents.denied)?);
    }
    let mut tags = seen.tags.clone();
    if let Some(own) = member(&documents.tags) {
        tags.extend(texts(own)?);
    }
    let said = member(&documents.classification).map(|word| {
        let word = word.as_str().and_then(Confidentiality::from_word);
        word.unwrap_or(Confidentiality::Restricted)
    });
    let least = source::classification(declared, None).max(seen.least);
    let time = |path: &Option<String>| {
        member(path).and_then(|at| time(at, seen.time)).unwrap_or(Micros(0))
    };
    let kind = word(&documents.kind);
    Some(DocumentFacts {
        kind: kind.unwrap_or_else(|| source::kind(declared, &path).to_owned()),
        tenant: declared.tenant.clone()?,
        owner: Some(word(&documents.owner).unwrap_or_else(|| declared.owner.clone())),
        curation: source::curation(declared),
        classification: least.max(said.unwrap_or_default()),
        id,
        source: called,
        folders,
        tags,
        readers,
        denied,
        changed: time(&documents.changed),
        confirmed: time(&documents.confirmed),
    })
}

/// What people call a hit, if that is said. `None`: it has no text where it is declared to be, and
/// is not what was declared.
pub fn words(documents: &Documents, hit: &Json) -> Option<Option<String>> {
    texts(at(hit, &documents.text)?)?;
    let title = documents.title.as_ref().and_then(|path| texts(at(hit, path)?));
    Some(title.map(|all| all.join(" ").chars().take(TITLE_CHARS_MAX).collect()))
}

fn at<'j>(json: &'j Json, path: &str) -> Option<&'j Json> {
    path.split('.').try_fold(json, |value, name| value.get(name))
}

/// A name within a source: a text, or a whole number.
fn name(json: &Json) -> Option<String> {
    let name = match json {
        Json::String(text) => text.clone(),
        Json::Number(_) => json.as_i64()?.to_string(),
        Json::Null | Json::Bool(_) | Json::Array(_) | Json::Object(_) => return None,
    };
    let is_name =
        !name.is_empty() && name.len() <= ID_BYTES_MAX && !name.chars().any(char::is_control);
    is_name.then_some(name)
}

/// A text, or some.
fn texts(json: &Json) -> Option<Vec<String>> {
    let all = json.as_array().unwrap_or(std::slice::from_ref(json));
    if all.len() > LISTED_MAX {
        return None;
    }
    all.iter().map(|text| text.as_str().map(str::to_owned)).collect()
}

/// The folders of a path, the outermost first, by their whole paths.
fn folders(path: &str) -> Vec<String> {
    path.match_indices('/').filter_map(|(at, _)| path.get(..at)).map(str::to_owned).collect()
}

fn time(json: &Json, read: Option<fn(&str) -> Option<Micros>>) -> Option<Micros> {
    if let Some(text) = json.as_str() {
        return read?(text);
    }
    let seconds = json.as_i64().filter(|seconds| (0..SECONDS_MAX).contains(seconds))?;
    Some(Micros(seconds.saturating_mul(1_000_000)))
}
