//! Bundles, kept whole: the files of a bundle as one row.

use crate::db::values;
use crate::error::StoreError;
use crate::fleet;
use crate::job::Change;
use crate::store::{Store, entry};
use lockgate_core::world::Files;
use lockgate_types::Digest;

impl Store {
    /// Records that a bundle rules from now on, and keeps its files by digest.
    pub async fn publish_bundle(&self, digest: Digest, files: &Files) -> Result<(), StoreError> {
        if lockgate_core::bundle::digest(files) != digest {
            return Err(StoreError::Broken { rule: "a bundle is kept under its own digest" });
        }
        let change = Change::Bundle { digest, files: pack(files)?, count: files.len() };
        entry(self.write(change).await).map(drop)
    }

    /// Records that this node has taken up the bundle that rules its fleet.
    pub async fn follow_bundle(&self, digest: Digest, files: &Files) -> Result<(), StoreError> {
        let change = Change::Followed { digest, count: files.len() };
        entry(self.write(change).await).map(drop)
    }

    /// The bundle that rules the fleet now. `None`: there is no fleet, or no bundle yet.
    pub async fn fleets_bundle(&self) -> Result<Option<Digest>, StoreError> {
        if self.ruling().is_none() {
            return Ok(None);
        }
        self.read(|writer| fleet::ruling(&writer.db)).await
    }

    /// The files of a bundle that ruled once.
    pub async fn bundle(&self, digest: &Digest) -> Result<Option<Files>, StoreError> {
        let digest = *digest;
        self.read(move |writer| {
            let select = "SELECT files FROM bundle WHERE digest = ?1";
            let packed: Option<Vec<u8>> = writer
                .db
                .row(select, values![digest.as_bytes()], |row| row.get(0))
                .map_err(StoreError::database("reading a bundle"))?;
            let Some(packed) = packed else { return Ok(None) };
            let damaged = || StoreError::corrupt(None, format!("bundle {digest} is damaged"));
            unpack(&packed).map(Some).ok_or_else(damaged)
        })
        .await
    }
}

/// Writes files as `length of path ‖ path ‖ length of content ‖ content`, lengths as u32
/// big-endian.
pub(crate) fn pack(files: &Files) -> Result<Vec<u8>, StoreError> {
    let mut out = Vec::new();
    for (path, content) in files {
        for bytes in [path.as_bytes(), content.as_slice()] {
            let length = u32::try_from(bytes.len());
            let rule = "a file of a bundle is below 4 GiB";
            let length = length.map_err(|_| StoreError::Broken { rule })?;
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(bytes);
        }
    }
    Ok(out)
}

/// Reads packed files; `None` if they are not.
pub(crate) fn unpack(packed: &[u8]) -> Option<Files> {
    let mut files = Files::new();
    let mut rest = packed;
    while !rest.is_empty() {
        let (path, tail) = field(rest)?;
        let (content, tail) = field(tail)?;
        files.insert(std::str::from_utf8(path).ok()?.to_owned(), content.to_vec());
        rest = tail;
    }
    Some(files)
}

fn field(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, tail) = bytes.split_first_chunk::<4>()?;
    tail.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn files_read_back(files in prop::collection::btree_map("[a-z/]{1,9}", prop::collection::vec(any::<u8>(), 0..50), 0..6)) {
            prop_assert_eq!(unpack(&pack(&files).unwrap()), Some(files));
        }

        #[test]
        fn any_bytes_are_files_or_not(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = unpack(&bytes);
        }
    }
}
