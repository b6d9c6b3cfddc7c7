//! What a document or folder is called, in sixteen bytes.

use lockgate_types::Digest;

/// Of a source's name and what the source calls it: nobody finds two that share one. Also the
/// order of what is equally near: it depends on nothing else that there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key([u8; 16]);

impl Key {
    /// The key of a place of the source of that number: of one that was dropped and is there again,
    /// it is another.
    pub(crate) fn within(source: i64, place: &str) -> Self {
        Self::of(&source.to_string(), place)
    }

    pub(crate) fn bytes(self) -> Vec<u8> {
        self.0.to_vec()
    }

    /// The key of a place of the source of that name.
    pub(crate) fn of(source: &str, place: &str) -> Self {
        let named = format!("{}:{source}{place}", source.len());
        let digest = Digest::of(named.as_bytes());
        Self(digest.as_bytes().first_chunk().copied().unwrap_or_default())
    }
}
