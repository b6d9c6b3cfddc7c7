//! From a filter to the documents and chunks that somebody may find: exactly those.

use super::Index;
use crate::corpus::CorpusError;
use lockgate_core::retrieve::filter::{Filter, Trait};
use roaring::RoaringBitmap;

/// Parts of a filter that one search evaluates.
pub const FILTER_PARTS_MAX: usize = 32_768;
/// How deep they are within one another.
pub const FILTER_DEPTH_MAX: usize = 256;

/// The chunks that somebody may find: all that a search ever looks at.
#[derive(Debug)]
pub(crate) struct Permitted {
    bits: Vec<u64>,
    /// How many chunks.
    pub(crate) chunks: u64,
    /// Words in all of them.
    pub(crate) words: u64,
    /// Their documents.
    pub(crate) documents: RoaringBitmap,
}

impl Permitted {
    /// The chunks of these documents.
    pub(crate) fn of(index: &Index, documents: RoaringBitmap) -> Self {
        let mut permitted = Self {
            bits: vec![0; index.chunks.len().div_ceil(64)],
            chunks: 0,
            words: 0,
            documents: RoaringBitmap::new(),
        };
        for document in documents.iter().filter_map(|slot| index.document(slot)) {
            permitted.add(document.first_chunk, document.chunks);
            permitted.words = permitted.words.saturating_add(document.words);
        }
        permitted.documents = documents;
        permitted
    }

    #[cfg(test)]
    pub(crate) fn of_chunks(chunks: &[u32], of: u32) -> Self {
        let bits = vec![0; (of as usize).div_ceil(64)];
        let mut permitted = Self { bits, chunks: 0, words: 0, documents: RoaringBitmap::new() };
        chunks.iter().for_each(|chunk| permitted.add(*chunk, 1));
        permitted
    }

    fn add(&mut self, first: u32, chunks: u32) {
        for chunk in first..first.saturating_add(chunks) {
            if let Some(bits) = self.bits.get_mut(chunk as usize / 64) {
                *bits |= 1 << (chunk % 64);
            }
        }
        self.chunks = self.chunks.saturating_add(u64::from(chunks));
    }

    /// Whether it is one of them.
    pub(crate) fn has(&self, chunk: u32) -> bool {
        self.bits.get(chunk as usize / 64).is_some_and(|bits| bits & (1 << (chunk % 64)) != 0)
    }

    /// Whether one from `first` to `last` is.
    pub(crate) fn has_within(&self, first: u32, last: u32) -> bool {
        let (from, to) = (first as usize / 64, last as usize / 64);
        let (low, high) = (u64::MAX << (first % 64), u64::MAX >> (63 - last % 64));
        let Some(within) = self.bits.get(from..=to) else { return true };
        match within {
            [] => false,
            [one] => one & low & high != 0,
            [start, middle @ .., end] => {
                start & low != 0 || end & high != 0 || middle.iter().any(|bits| *bits != 0)
            }
        }
    }

    /// Each of them, in order.
    pub(crate) fn each_chunk(&self, mut each: impl FnMut(u32)) {
        for (start, bits) in (0_u32..).step_by(64).zip(&self.bits) {
            let mut rest = *bits;
            while rest != 0 {
                each(start + rest.trailing_zeros());
                rest &= rest - 1;
            }
        }
    }
}

impl Index {
    /// The documents of `scope` that the filter has.
    pub(crate) fn filtered(
        &self,
        filter: &Filter,
        scope: &RoaringBitmap,
    ) -> Result<RoaringBitmap, CorpusError> {
        let mut parts_left = FILTER_PARTS_MAX;
        self.part(filter, scope, FILTER_DEPTH_MAX, &mut parts_left)
    }

    fn part(
        &self,
        filter: &Filter,
        scope: &RoaringBitmap,
        depth_left: usize,
        parts_left: &mut usize,
    ) -> Result<RoaringBitmap, CorpusError> {
        let most = CorpusError::Filter { most: FILTER_PARTS_MAX };
        *parts_left = parts_left.checked_sub(1).ok_or(most)?;
        let too_deep = CorpusError::Filter { most: FILTER_DEPTH_MAX };
        let depth_left = depth_left.checked_sub(1).ok_or(too_deep)?;
        match filter {
            Filter::Every(all) => {
                let mut left = scope.clone();
                for one in all {
                    left &= self.part(one, scope, depth_left, parts_left)?;
                }
                Ok(left)
            }
            Filter::Any(all) => {
                let mut found = RoaringBitmap::new();
                for one in all {
                    found |= self.part(one, scope, depth_left, parts_left)?;
                }
                Ok(found)
            }
            Filter::Not(one) => Ok(scope - self.part(one, scope, depth_left, parts_left)?),
            Filter::Is(of) => Ok(self.of_trait(of, scope)),
        }
    }

    fn of_trait(&self, of: &Trait, scope: &RoaringBitmap) -> RoaringBitmap {
        match of {
            Trait::Reader(reader) => self.places.shared_to(reader) & scope,
            Trait::Denied(reader) => self.places.kept_from(reader) & scope,
            Trait::ReadersKnown => self.places.known() & scope,
            Trait::Document(source, id) => {
                self.places.of_place(self.source_number(source), id) & scope
            }
            Trait::ChangedSince(time) => {
                self.where_document(scope, |document| document.changed >= *time)
            }
            Trait::ConfirmedSince(time) => {
                self.where_document(scope, |document| document.confirmed >= *time)
            }
            Trait::Folder(source, path) => {
                let folder = self.places.beneath(self.source_number(source), path);
                folder.map(|all| all & scope).unwrap_or_default()
            }
            Trait::Source(_)
            | Trait::Tenant(_)
            | Trait::Kind(_)
            | Trait::Owner(_)
            | Trait::HasOwner
            | Trait::Curation(_)
            | Trait::Tag(_)
            | Trait::AtMost(_) => {
                self.traits.get(of).map(|documents| documents & scope).unwrap_or_default()
            }
        }
    }

    fn where_document(
        &self,
        scope: &RoaringBitmap,
        is_so: impl Fn(&super::DocumentSlot) -> bool,
    ) -> RoaringBitmap {
        scope.iter().filter(|slot| self.document(*slot).is_some_and(&is_so)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_has_one_exactly_if_one_of_its_chunks_is_permitted() {
        let some = [3, 64, 127, 128, 300, 511];
        let permitted = Permitted::of_chunks(&some, 512);
        for first in 0..512 {
            for last in first..512 {
                let expected = some.iter().any(|chunk| (first..=last).contains(chunk));
                assert_eq!(permitted.has_within(first, last), expected, "{first} {last}");
            }
        }
        let mut seen = Vec::new();
        permitted.each_chunk(|chunk| seen.push(chunk));
        assert_eq!(seen, some);
    }
}
