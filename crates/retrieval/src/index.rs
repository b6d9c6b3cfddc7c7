//! The index in memory: made from the corpus at the start, and kept current with it.
//!
//! Documents and chunks are numbered as they come; sets of them are bitmaps. What a source no
//! longer serves is in no snapshot's set, and leaves memory when there is enough of it. The index
//! holds no text: what is found is read from the corpus.

pub(crate) mod key;
pub(crate) mod permitted;
pub(crate) mod places;
mod postings;
pub(crate) mod vectors;

pub use permitted::{FILTER_DEPTH_MAX, FILTER_PARTS_MAX};

use crate::corpus::{Access, CorpusError, SourceRow};
use crate::relation::Revision;
use key::Key;
use lockgate_core::retrieve::filter::Trait;
use lockgate_types::document::{Curation, DocumentFacts};
use lockgate_types::label::Confidentiality;
use permitted::Permitted;
use places::{Lying, Places};
use postings::Postings;
use roaring::RoaringBitmap;
use std::collections::{BTreeMap, HashMap};
use vectors::{Packed, Vectors};

/// Documents in memory, of all that serves and is pinned.
pub const DOCUMENTS_INDEXED_MAX: usize = 4_000_000;
/// Chunks in memory.
pub const CHUNKS_INDEXED_MAX: usize = 8_000_000;
/// Folders in memory.
pub const FOLDERS_INDEXED_MAX: usize = 1_000_000;
/// Chunks that nothing serves any more, kept until there are as many of them as of others.
const GONE_KEPT_MAX: usize = 16_384;

/// The index.
#[derive(Debug)]
pub(crate) struct Index {
    documents: Vec<DocumentSlot>,
    pub(crate) chunks: Vec<ChunkSlot>,
    by_version: HashMap<i64, u32>,
    pub(crate) postings: Postings,
    pub(crate) vectors: Vectors,
    traits: BTreeMap<Trait, RoaringBitmap>,
    pub(crate) places: Places,
    /// Which documents are in the snapshots that are searched.
    pub(crate) members: BTreeMap<(String, u64), RoaringBitmap>,
    /// The sources that serve, by name.
    pub(crate) sources: BTreeMap<String, SourceRow>,
    pub(crate) revision: Revision,
    /// Chunks that nothing serves any more.
    gone: usize,
}

/// One version of a document.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DocumentSlot {
    pub(crate) version: i64,
    /// Its source's, see [`Index::source_of`].
    source: i64,
    pub(crate) key: Key,
    pub(crate) first_chunk: u32,
    pub(crate) chunks: u32,
    pub(crate) words: u64,
    pub(crate) changed: i64,
    pub(crate) confirmed: i64,
}

/// A chunk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChunkSlot {
    pub(crate) document: u32,
    pub(crate) number: i64,
    pub(crate) words: u32,
}

/// A document that is ready to be added.
#[derive(Debug)]
pub(crate) struct NewDocument {
    pub(crate) version: i64,
    /// The number of its source.
    pub(crate) source: i64,
    pub(crate) access: Access,
    pub(crate) facts: DocumentFacts,
    pub(crate) chunks: Vec<NewChunk>,
}

/// A chunk that is ready to be added.
#[derive(Debug)]
pub(crate) struct NewChunk {
    pub(crate) number: i64,
    /// How often it has which word.
    pub(crate) counts: BTreeMap<String, u32>,
    pub(crate) vector: Option<Packed>,
}

impl Index {
    pub(crate) fn new(dimensions: usize, revision: Revision) -> Self {
        Self {
            documents: Vec::new(),
            chunks: Vec::new(),
            by_version: HashMap::new(),
            postings: Postings::default(),
            vectors: Vectors::new(dimensions),
            traits: BTreeMap::new(),
            places: Places::default(),
            members: BTreeMap::new(),
            sources: BTreeMap::new(),
            revision,
            gone: 0,
        }
    }

    /// Adds a document; it is in no snapshot yet. Gives back the places that are new: whoever adds
    /// it has to tell what was told of them, before anybody else gets to the index.
    pub(crate) fn add(&mut self, new: &NewDocument) -> Result<Vec<String>, CorpusError> {
        if self.by_version.contains_key(&new.version) {
            return Ok(Vec::new());
        }
        self.has_room(new)?;
        let slot = number(self.documents.len());
        let facts = &new.facts;
        self.documents.push(DocumentSlot {
            version: new.version,
            source: new.source,
            key: Key::of(&facts.source, &facts.id),
            first_chunk: number(self.chunks.len()),
            chunks: number(new.chunks.len()),
            words: new.chunks.iter().map(|chunk| u64::from(chunk.words())).sum(),
            changed: facts.changed.0,
            confirmed: facts.confirmed.0,
        });
        self.by_version.insert(new.version, slot);
        for chunk in &new.chunks {
            let at = number(self.chunks.len());
            let words = chunk.words();
            self.chunks.push(ChunkSlot { document: slot, number: chunk.number, words });
            chunk.counts.iter().for_each(|(word, count)| self.postings.add(word, at, *count));
            self.vectors.add(chunk.vector.as_ref());
        }
        for of in traits(facts) {
            self.traits.entry(of).or_default().insert(slot);
        }
        // What is in no snapshot yet would leave memory like what is in none any more.
        self.gone = self.gone.saturating_add(new.chunks.len());
        let (source, DocumentFacts { id, folders, .. }) = (new.source, facts);
        let lying = Lying { slot, source, access: new.access, id, folders };
        let mut places = self.places.add(lying);
        places.push(id);
        Ok(places.into_iter().map(str::to_owned).collect())
    }

    fn has_room(&self, new: &NewDocument) -> Result<(), CorpusError> {
        let folders = self.places.folders().saturating_add(new.facts.folders.len());
        let chunks = self.chunks.len().saturating_add(new.chunks.len());
        for (what, are, most) in [
            ("documents", self.documents.len().saturating_add(1), DOCUMENTS_INDEXED_MAX),
            ("chunks", chunks, CHUNKS_INDEXED_MAX),
            ("folders", folders, FOLDERS_INDEXED_MAX),
        ] {
            if are > most {
                return Err(CorpusError::Full { what, most });
            }
        }
        Ok(())
    }

    /// Has a snapshot consist of these versions, all of which were added.
    pub(crate) fn show(&mut self, source: &str, snapshot: u64, versions: &[i64]) {
        let slots = versions.iter().filter_map(|version| self.slot(*version)).collect();
        self.members.insert((source.to_owned(), snapshot), slots);
        self.count_gone();
    }

    /// Takes a snapshot out of search.
    pub(crate) fn hide(&mut self, source: &str, snapshot: u64) {
        self.members.remove(&(source.to_owned(), snapshot));
        self.count_gone();
    }

    /// Takes all of a source out of search.
    pub(crate) fn forget(&mut self, source: &str) {
        self.members.retain(|(of, _), _| of != source);
        self.sources.remove(source);
        self.count_gone();
    }

    /// Says when a version was last seen to be so.
    pub(crate) fn confirm(&mut self, version: i64, confirmed: i64) {
        let slot = self.slot(version);
        if let Some(document) = slot.and_then(|slot| self.documents.get_mut(slot as usize)) {
            document.confirmed = confirmed;
        }
    }

    /// Gives chunks of this number their vectors.
    pub(crate) fn embed(&mut self, vectors: &HashMap<i64, Packed>) {
        for (at, chunk) in (0..).zip(&self.chunks) {
            if let Some(vector) = vectors.get(&chunk.number) {
                self.vectors.set(at, vector);
            }
        }
    }

    pub(crate) fn document(&self, slot: u32) -> Option<&DocumentSlot> {
        self.documents.get(slot as usize)
    }

    /// The number of a source that serves. No source has number 0.
    pub(crate) fn source_number(&self, name: &str) -> i64 {
        self.sources.get(name).map_or(0, |source| source.number)
    }

    /// The source of a document that serves.
    pub(crate) fn source_of(&self, slot: u32) -> Option<&SourceRow> {
        let number = self.document(slot)?.source;
        self.sources.values().find(|source| source.number == number)
    }

    pub(crate) fn chunk(&self, chunk: u32) -> Option<&ChunkSlot> {
        self.chunks.get(chunk as usize)
    }

    pub(crate) fn slot(&self, version: i64) -> Option<u32> {
        self.by_version.get(&version).copied()
    }

    /// The chunks of these documents.
    pub(crate) fn permitted(&self, documents: RoaringBitmap) -> Permitted {
        Permitted::of(self, documents)
    }

    /// Bytes that words and vectors take, about.
    pub(crate) fn bytes(&self) -> usize {
        let sets: usize = self.traits.values().map(RoaringBitmap::serialized_size).sum();
        self.postings.bytes()
            + self.vectors.bytes()
            + sets
            + self.documents.capacity() * size_of::<DocumentSlot>()
            + self.chunks.capacity() * size_of::<ChunkSlot>()
    }

    /// Lets go of what nothing serves any more, if there is enough of it. Nothing may be on its way
    /// from `add` to `show`.
    pub(crate) fn settle(&mut self) {
        if self.gone > GONE_KEPT_MAX && self.gone > self.chunks.len() / 2 {
            self.renumber_all();
        }
    }

    fn served(&self) -> RoaringBitmap {
        self.members.values().fold(RoaringBitmap::new(), |all, members| all | members)
    }

    fn count_gone(&mut self) {
        let served = self.served();
        let slots = served.iter().filter_map(|slot| self.document(slot));
        let chunks: usize = slots.map(|document| document.chunks as usize).sum();
        self.gone = self.chunks.len().saturating_sub(chunks);
    }

    fn renumber_all(&mut self) {
        let served = self.served();
        let mut documents = vec![u32::MAX; self.documents.len()];
        for (new, old) in (0..).zip(&served) {
            if let Some(place) = documents.get_mut(old as usize) {
                *place = new;
            }
        }
        let (mut chunks, mut chunk_slots) = (vec![u32::MAX; self.chunks.len()], Vec::new());
        for (place, slot) in chunks.iter_mut().zip(&self.chunks) {
            let document = documents.get(slot.document as usize).copied().unwrap_or(u32::MAX);
            if document != u32::MAX {
                *place = number(chunk_slots.len());
                chunk_slots.push(ChunkSlot { document, ..*slot });
            }
        }
        let mut document_slots = Vec::new();
        for mut document in served.iter().filter_map(|slot| self.document(slot).copied()) {
            let first = chunks.get(document.first_chunk as usize).copied();
            document.first_chunk = first.filter(|_| document.chunks > 0).unwrap_or(0);
            document_slots.push(document);
        }
        self.by_version = (0..).zip(&document_slots).map(|(slot, of)| (of.version, slot)).collect();
        (self.documents, self.chunks) = (document_slots, chunk_slots);
        self.postings.renumber(&chunks);
        self.vectors.renumber(&chunks);
        self.places.renumber(&documents);
        self.traits.values_mut().for_each(|of| renumber(of, &documents));
        self.traits.retain(|_, of| !of.is_empty());
        self.members.values_mut().for_each(|of| renumber(of, &documents));
        self.gone = 0;
    }
}

impl NewChunk {
    fn words(&self) -> u32 {
        self.counts.values().fold(0, |sum, count| sum.saturating_add(*count))
    }
}

/// What is so of a document, other than who may see it and when it was so.
fn traits(facts: &DocumentFacts) -> Vec<Trait> {
    let mut all = vec![
        Trait::Source(facts.source.clone()),
        Trait::Tenant(facts.tenant.clone()),
        Trait::Kind(facts.kind.clone()),
        Trait::Curation(curation(facts.curation).to_owned()),
    ];
    all.extend(facts.tags.iter().cloned().map(Trait::Tag));
    if let Some(owner) = &facts.owner {
        all.extend([Trait::HasOwner, Trait::Owner(owner.clone())]);
    }
    use Confidentiality::{Confidential, Internal, Public, Restricted};
    let levels = [Public, Internal, Confidential, Restricted].into_iter();
    all.extend(levels.filter(|level| facts.classification <= *level).map(Trait::AtMost));
    all
}

/// The word for how a document came to be.
pub(crate) const fn curation(curation: Curation) -> &'static str {
    match curation {
        Curation::Curated => "curated",
        Curation::Collected => "collected",
        Curation::Generated => "generated",
    }
}

/// The set with the new numbers: the order stays.
fn renumber(documents: &mut RoaringBitmap, place: &[u32]) {
    let new = |slot: u32| place.get(slot as usize).copied().filter(|new| *new != u32::MAX);
    *documents = documents.iter().filter_map(new).collect();
}

/// Counts of what is in memory are bounded far below 32 bits.
fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
