//! Fields with permissions of their own, and the documents that they are fields of: joined in an
//! answer where both may be seen.

use super::decided::Decider;
use super::rank::Ranking;
use super::read;
use crate::corpus::CorpusError;
use crate::cut::apart::beginning;
use crate::embedded;
use crate::index::permitted::Permitted;
use lockgate_types::document::DocumentFacts;

/// Fields that are joined to one chunk.
pub const JOINED_MAX: usize = 16;
/// Bytes of the text of what is joined: its beginning.
pub const JOINED_BYTES_MAX: usize = 4096;

/// What is joined to a chunk that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// What it is.
    pub document: DocumentFacts,
    /// What people call it.
    pub title: String,
    /// The beginning of its text.
    pub text: String,
}

/// The document that this one is a field of, and the fields of this one, as far as they may be
/// seen.
pub(super) fn joined(
    ranking: &Ranking<'_>,
    permitted: &Permitted,
    facts: &DocumentFacts,
    decider: &mut Decider<'_>,
) -> Result<(Option<Joined>, Vec<Joined>), CorpusError> {
    let places = &ranking.index.places;
    let source = ranking.index.source_number(&facts.source);
    let mut field_of = None;
    if let Some(around) = facts.folders.last() {
        let around = places.of_place(source, around) & &permitted.documents;
        for document in around {
            field_of = join(ranking, document, decider)?;
        }
    }
    let mut fields = Vec::new();
    if let Some(beneath) = places.beneath(source, &facts.id) {
        for document in beneath & &permitted.documents {
            if fields.len() >= JOINED_MAX {
                break;
            }
            fields.extend(join(ranking, document, decider)?);
        }
    }
    // Not in the order in which they were numbered: others have a part in that.
    fields.sort_by(|a, b| a.document.id.cmp(&b.document.id));
    Ok((field_of, fields))
}

fn join(
    ranking: &Ranking<'_>,
    document: u32,
    decider: &mut Decider<'_>,
) -> Result<Option<Joined>, CorpusError> {
    let Some(found) = decider.allowed(document)? else { return Ok(None) };
    let Some(slot) = ranking.index.document(document) else { return Ok(None) };
    let text = read(ranking.db, |db| embedded::body(db, slot.version))?;
    let text = beginning(text, JOINED_BYTES_MAX);
    Ok(Some(Joined { document: found.facts, title: found.title, text }))
}
