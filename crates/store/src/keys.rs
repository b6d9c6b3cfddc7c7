//! Keys: the files they lie in, and sealing with them.
//!
//! `keys/data.key` wraps one key per subject; whatever a subject's calls carried is sealed under
//! the subject's key, so that destroying one small row erases it all. `keys/log.key` is the seed of
//! the log's signing key. Both are made once, of 32 random bytes, readable by the owner only.

use crate::error::StoreError;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use aws_lc_rs::{constant_time, hmac};
use lru::LruCache;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::num::NonZeroUsize;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use zeroize::Zeroizing;

/// Bytes of every key, seed and salt.
pub(crate) const KEY_BYTES: usize = 32;

/// Fills a buffer from the system's random source.
pub(crate) fn fill_random(out: &mut [u8]) -> Result<(), StoreError> {
    let broken = StoreError::Broken { rule: "the system has random bytes" };
    SystemRandom::new().fill(out).map_err(|_| broken)
}

/// Random bytes for several uses, drawn at once: a draw costs more than the bytes do.
pub(crate) fn random_keys<const N: usize>() -> Result<[[u8; KEY_BYTES]; N], StoreError> {
    let mut keys = [[0; KEY_BYTES]; N];
    fill_random(keys.as_flattened_mut())?;
    Ok(keys)
}

/// Creates a directory that only its owner may enter, unless it exists.
pub(crate) fn private_directory(path: &Path) -> Result<(), StoreError> {
    let create = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    create.map_err(StoreError::file(path, "the directory cannot be made"))
}

/// Reads a key file; `None` if there is none.
pub(crate) fn read_key(path: &Path) -> Result<Option<Zeroizing<[u8; KEY_BYTES]>>, StoreError> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StoreError::file(path, "the key cannot be read")(error)),
    };
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    file.read_exact(key.as_mut_slice())
        .map_err(StoreError::file(path, "the key does not have 32 bytes"))?;
    Ok(Some(key))
}

/// Makes a key and its file, durably, never over another.
pub(crate) fn make_key(path: &Path) -> Result<Zeroizing<[u8; KEY_BYTES]>, StoreError> {
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    fill_random(key.as_mut_slice())?;
    write_private(path, key.as_slice())?;
    Ok(key)
}

/// Writes a file of mode 0600 whole or not at all.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let write = || -> std::io::Result<()> {
        let new = path.with_extension("new");
        let mut open = OpenOptions::new();
        let mut file = open.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        if let Some(parent) = path.parent() {
            File::open(parent)?.sync_all()?;
        }
        Ok(())
    };
    write().map_err(StoreError::file(path, "the file cannot be written"))
}

/// Seals and opens bytes with AES-256-GCM under random nonces: `nonce ‖ ciphertext ‖ tag`.
pub(crate) struct SealingKey {
    seal: LessSafeKey,
    derive: hmac::Key,
}

impl SealingKey {
    pub(crate) fn new(key: &[u8; KEY_BYTES]) -> Result<Self, StoreError> {
        let broken = |_| StoreError::Broken { rule: "a key has 32 bytes" };
        let seal = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).map_err(broken)?);
        // Ids are derived under a key of their own, itself derived, so that no key has two uses.
        let root = hmac::Key::new(hmac::HMAC_SHA256, key);
        let derived = hmac::sign(&root, b"lockgate-derive-v1");
        Ok(Self { seal, derive: hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()) })
    }

    /// Seals under a random nonce.
    pub(crate) fn seal(&self, bound_to: &[u8], plain: &[u8]) -> Result<Vec<u8>, StoreError> {
        let [random] = random_keys()?;
        self.seal_with(&random, bound_to, plain)
    }

    /// Seals under a nonce made of random bytes that are used for nothing else.
    pub(crate) fn seal_with(
        &self,
        random: &[u8; KEY_BYTES],
        bound_to: &[u8],
        plain: &[u8],
    ) -> Result<Vec<u8>, StoreError> {
        let broken = StoreError::Broken { rule: "sealing succeeds" };
        let nonce: [u8; NONCE_LEN] = *random.first_chunk().ok_or(broken.clone())?;
        let mut out = Vec::with_capacity(NONCE_LEN + plain.len() + AES_256_GCM.tag_len());
        out.extend_from_slice(&nonce);
        out.extend_from_slice(plain);
        let Some((_, body)) = out.split_at_mut_checked(NONCE_LEN) else { return Err(broken) };
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self.seal.seal_in_place_separate_tag(nonce, Aad::from(bound_to), body);
        out.extend_from_slice(tag.map_err(|_| broken)?.as_ref());
        Ok(out)
    }

    /// Opens what was sealed; `None` if it was changed or sealed under another key.
    pub(crate) fn open(&self, bound_to: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, body) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let mut body = Zeroizing::new(body.to_vec());
        let length = self.seal.open_in_place(nonce, Aad::from(bound_to), &mut body).ok()?.len();
        body.truncate(length);
        Some(body)
    }

    /// A name that only holders of the key can compute.
    pub(crate) fn derive(&self, fields: &[&str]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.derive);
        for field in fields {
            context.update(&(field.len() as u64).to_be_bytes());
            context.update(field.as_bytes());
        }
        let mut name = [0; 32];
        name.copy_from_slice(context.sign().as_ref());
        name
    }
}

/// Names that were derived lately, so that what every call asks for is derived once. They are as
/// secret as what they were derived of, which is why a key does not keep them by itself.
pub(crate) struct Derived {
    recent: Mutex<LruCache<Box<[u8]>, [u8; 32]>>,
}

impl Derived {
    /// Room for so many names.
    pub(crate) fn new(names_max: NonZeroUsize) -> Self {
        Self { recent: Mutex::new(LruCache::new(names_max)) }
    }

    /// What [`SealingKey::derive`] gives. One key has all names that are kept here.
    pub(crate) fn of(&self, key: &SealingKey, fields: &[&str]) -> [u8; 32] {
        let mut of = Vec::with_capacity(fields.iter().map(|field| field.len() + 8).sum());
        for field in fields {
            of.extend_from_slice(&(field.len() as u64).to_be_bytes());
            of.extend_from_slice(field.as_bytes());
        }
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(name) = recent.get(of.as_slice()) {
            return *name;
        }
        let name = key.derive(fields);
        recent.put(of.into_boxed_slice(), name);
        name
    }

    pub(crate) fn clear(&self) {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// Whether two derived names are equal, in constant time.
pub(crate) fn is_same(a: &[u8], b: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(a, b).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_is_sealed_opens_only_under_its_key_and_place() {
        let (key, other) = (SealingKey::new(&[1; 32]).unwrap(), SealingKey::new(&[2; 32]).unwrap());
        let sealed = key.seal(b"call", b"payload").unwrap();
        assert_eq!(key.open(b"call", &sealed).unwrap().as_slice(), b"payload");
        assert!(key.open(b"other", &sealed).is_none());
        assert!(other.open(b"call", &sealed).is_none());
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(key.open(b"call", &changed).is_none(), "byte {at}");
        }
        assert_ne!(sealed, key.seal(b"call", b"payload").unwrap());
    }

    #[test]
    fn derived_names_depend_on_where_fields_end() {
        let key = SealingKey::new(&[1; 32]).unwrap();
        assert_ne!(key.derive(&["a", "bc"]), key.derive(&["ab", "c"]));
        assert_eq!(key.derive(&["a", "bc"]), key.derive(&["a", "bc"]));
    }

    #[test]
    fn a_name_that_is_remembered_is_the_one_that_is_derived() {
        let key = SealingKey::new(&[1; 32]).unwrap();
        let derived = Derived::new(NonZeroUsize::new(2).unwrap());
        let all: [&[&str]; 4] = [&["a", "bc"], &["ab", "c"], &["a", "b", "c"], &["a", "bc"]];
        for fields in all.iter().chain(all.iter().rev()) {
            assert_eq!(derived.of(&key, fields), key.derive(fields));
            assert_eq!(derived.of(&key, fields), key.derive(fields), "again");
        }
        assert_eq!(derived.recent.lock().unwrap().len(), 2);
        derived.clear();
        assert_eq!(derived.recent.lock().unwrap().len(), 0);
    }

    #[test]
    fn key_files_are_private_and_made_once() {
        let directory = tempfile::tempdir().unwrap();
        let keys = directory.path().join("keys");
        private_directory(&keys).unwrap();
        let path = keys.join("data.key");
        assert!(read_key(&path).unwrap().is_none());
        let key = make_key(&path).unwrap();
        assert_eq!(read_key(&path).unwrap().unwrap(), key);
        assert_eq!(fs::metadata(&keys).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
