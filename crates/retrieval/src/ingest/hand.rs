//! From what was read to what is handed on: a document, and those that lie beneath it, each with
//! its facts, its chunks and what was seen of it.

use super::source::Source;
use crate::connect::{Entry, Permissions};
use crate::corpus::{Incoming, can_be};
use crate::cut::cut;
use crate::format::{Beneath, Parsed};
use crate::quality::Look;
use lockgate_types::document::DocumentFacts;
use lockgate_types::label::Confidentiality;
use lockgate_types::{Digest, Micros};
use std::collections::BTreeSet;

/// What stands between the id of a document and what lies beneath it.
pub(super) const BENEATH: char = '#';
/// Bytes of an id, of a document that lies beneath others too.
const ID_BYTES_MAX: usize = 2048;

/// A document at its source that was read.
pub(super) struct Hand<'a> {
    pub(super) source: &'a Source,
    pub(super) entry: &'a Entry,
    pub(super) fingerprint: Digest,
    pub(super) now: Micros,
}

/// Where a document lies, and what it has from there.
struct Place {
    id: String,
    folders: Vec<String>,
    permissions: Option<Permissions>,
    classification: Confidentiality,
    tags: BTreeSet<String>,
    /// Whether what it lies in is left out: then so is it.
    is_withheld: bool,
    name: String,
}

impl Hand<'_> {
    /// All of them, that at the source first. `Err`: why it cannot be handed on.
    pub(super) fn documents(&self, page: Parsed) -> Result<Vec<(Incoming, Look)>, String> {
        let entry = self.entry;
        let name = entry.id.rsplit('/').next().unwrap_or(&entry.id).to_owned();
        let first = Place {
            id: entry.id.clone(),
            folders: entry.folders.clone(),
            permissions: entry.permissions.clone(),
            classification: self.source.classification,
            tags: self.source.tags.clone(),
            is_withheld: false,
            name,
        };
        let mut documents = Vec::new();
        // Not by recursion. What lies beneath comes after what it lies in.
        let mut waiting = vec![(first, page)];
        while let Some((place, mut page)) = waiting.pop() {
            let beneath = std::mem::take(&mut page.beneath);
            let (handed, look) = self.document(place, page)?;
            for inner in beneath.into_iter().rev() {
                waiting.push(self.place(&handed, &look, inner)?);
            }
            documents.push((handed, look));
        }
        Ok(documents)
    }

    fn place(
        &self,
        around: &Incoming,
        look: &Look,
        beneath: Beneath,
    ) -> Result<(Place, Parsed), String> {
        let id = format!("{}{BENEATH}{}", around.facts.id, beneath.key);
        if id.len() > ID_BYTES_MAX {
            return Err("what lies beneath it has too long a name".to_owned());
        }
        if !can_be(&id) {
            return Err("what lies beneath it has a zero in its name".to_owned());
        }
        let mut folders = around.facts.folders.clone();
        folders.push(around.facts.id.clone());
        let field = beneath.field.as_ref().and_then(|field| self.source.fields.get(field));
        // A field of its own that nobody has said anything of is shared to nobody.
        let permissions = match (&beneath.field, field) {
            (None, _) => Permissions::none(),
            (Some(_), Some(field)) => self.kept(&field.permissions, &folders),
            (Some(_), None) => Permissions::Unknown,
        };
        let least = field.map_or(self.source.classification, |field| field.classification);
        let place = Place {
            id,
            folders,
            permissions: Some(permissions),
            classification: least.max(self.source.classification),
            tags: field.map_or(&self.source.tags, |field| &field.tags).clone(),
            is_withheld: look.is_withheld,
            name: beneath.key,
        };
        Ok((place, beneath.page))
    }

    /// The permissions of a field that stands alone, with what is kept from whom where it lies:
    /// that it stands alone takes away no denial.
    fn kept(&self, said: &Permissions, folders: &[String]) -> Permissions {
        match said {
            Permissions::Alone { shares, denials } => Permissions::Alone {
                shares: shares.clone(),
                denials: denials | &self.source.denied_in(folders),
            },
            other => other.clone(),
        }
    }

    fn document(&self, place: Place, page: Parsed) -> Result<(Incoming, Look), String> {
        let (source, entry) = (self.source, self.entry);
        let mut look = Look::at(&page, &source.watch);
        look.is_withheld |= place.is_withheld;
        // Whoever asks for more restraint is right: the source, its owner, or a detector.
        let classification = place.classification.max(source.watch.least(&look.tags));
        classification.as_str().clone_into(&mut look.classification);
        let pieces = cut(&page.text, &page.blocks, source.sizes).map_err(|it| it.to_string())?;
        let said = page.changed.map(Micros);
        let made = entry.made.or(page.made.map(Micros)).filter(|at| *at <= self.now);
        let tags = look.tags.iter().cloned().chain(place.tags).collect();
        let facts = DocumentFacts {
            id: place.id,
            source: source.name.clone(),
            tenant: source.tenant.clone(),
            folders: place.folders,
            kind: source.kind_of(&entry.id).to_owned(),
            owner: source.owner.clone(),
            curation: if look.is_suspected() { source.curation.doubted() } else { source.curation },
            classification,
            tags,
            readers: None,
            denied: BTreeSet::new(),
            changed: Source::changed([entry.changed, said], self.now),
            confirmed: self.now,
        };
        let handed = Incoming {
            facts,
            permissions: place.permissions,
            title: kept(page.title.unwrap_or(place.name)),
            author: entry.author.clone().or(page.author).map(kept),
            made,
            link: entry.link.clone().map(kept),
            text: page.text,
            pieces,
            fingerprint: self.fingerprint,
        };
        Ok((handed, look))
    }
}

/// What is shown of a document, without characters that cannot be kept.
fn kept(text: String) -> String {
    if can_be(&text) { text } else { text.replace('\0', "") }
}
