//! What the bundle says of a source, for those who ingest its documents: kinds, permissions,
//! fields.

use super::path;
use crate::declare::{ConfidentialityWord, CurationWord, Source, Task};
use crate::model::confidentiality;
use crate::world::World;
use lockgate_types::TaskName;
use lockgate_types::document::{Curation, Reader};
use lockgate_types::label::Confidentiality;
use std::collections::BTreeSet;

/// To whom something is shown, and from whom it is kept. `None`: the source itself has to say so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shares {
    /// To whom it is shown.
    pub readers: Option<BTreeSet<Reader>>,
    /// From whom it is kept.
    pub denied: BTreeSet<Reader>,
}

/// The kind of text at a path of a source.
pub fn kind<'s>(source: &'s Source, at: &str) -> &'s str {
    let found = source.kinds.iter().find(|it| path::matches(&it.path, at));
    found.map_or(source.kind.as_str(), |it| it.kind.as_str())
}

/// How documents of a source come to be.
pub const fn curation(source: &Source) -> Curation {
    match source.curation {
        CurationWord::Curated => Curation::Curated,
        CurationWord::Collected => Curation::Collected,
        CurationWord::Generated => Curation::Generated,
    }
}

/// How confidential a document of a source is at least, or one field of it.
pub fn classification(source: &Source, field: Option<&str>) -> Confidentiality {
    let field = field.and_then(|field| source.fields.get(field)?.classification);
    let field: ConfidentialityWord = field.unwrap_or_default();
    confidentiality(source.classification.max(field))
}

/// What the bundle says of who may see a document that lies in these folders. Where permissions are
/// synced, what it keeps from somebody stays kept, and the source says to whom it is shown.
pub fn shares(source: &Source, folders: &[String]) -> Shares {
    let permissions = &source.permissions;
    let mut readers = named(&permissions.readers);
    let mut denied = named(&permissions.denied);
    for folder in &permissions.folder {
        if folders.iter().any(|it| path::matches(&folder.path, it)) {
            readers.extend(named(&folder.readers));
            denied.extend(named(&folder.denied));
        }
    }
    Shares { readers: (!permissions.synced).then_some(readers), denied }
}

/// What the bundle says of who may see a field: to whom it is shown there replaces to whom the
/// document is, and from whom it is kept is added.
pub fn field_shares(source: &Source, field: &str, document: &Shares) -> Shares {
    let mut shares = document.clone();
    let Some(field) = source.fields.get(field) else { return shares };
    if let Some(readers) = &field.readers {
        shares.readers = Some(named(readers));
    }
    shares.denied.extend(named(&field.denied));
    shares
}

/// The server of an address: scheme, host and port, as they are written.
pub fn server(address: &str) -> &str {
    let begin = address.find("://").map_or(0, |at| at.saturating_add(3));
    let rest = address.get(begin..).unwrap_or_default();
    let length = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    address.get(..begin.saturating_add(length)).unwrap_or_default()
}

/// Readers as they are declared. The loader has refused what is none.
pub fn named(texts: &[String]) -> BTreeSet<Reader> {
    texts.iter().filter_map(|text| Reader::from_text(text)).collect()
}

/// The snapshot of a source that a task has pinned. `None`: the one that serves.
pub fn pinned(world: &World, task: Option<&TaskName>, source: &str) -> Option<u64> {
    world.tasks.get(task?)?.snapshots.get(source).copied()
}

/// Whether answers of a task may be made of text of this kind.
pub fn may_answer_from(task: Option<&Task>, kind: &str) -> bool {
    let kinds = task.map(|task| task.answers_from.as_slice()).unwrap_or_default();
    kinds.is_empty() || kinds.iter().any(|it| it == kind)
}
