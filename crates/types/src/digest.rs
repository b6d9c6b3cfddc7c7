//! Digests, and salted commitments to what must be erasable.

use sha2::{Digest as _, Sha256};
use std::fmt;
use std::str::FromStr;

/// A SHA-256 digest, printed as `sha256:` and 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// From its 32 bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first twelve hexadecimal digits: for people, never for comparison.
    pub fn short(&self) -> String {
        hex::encode(self.0.first_chunk::<6>().unwrap_or(&[0; 6]))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [0; 64];
        // The buffer has the length of the digits, and digits are ASCII: neither can fail.
        let _ = hex::encode_to_slice(self.0, &mut digits);
        f.write_str("sha256:")?;
        f.write_str(std::str::from_utf8(&digits).unwrap_or_default())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for Digest {
    type Err = crate::IdError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || crate::IdError::NotADigest { text: text.chars().take(80).collect() };
        let digits = text.strip_prefix("sha256:").ok_or_else(error)?;
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| error())?;
        Ok(Self(bytes))
    }
}

/// Thirty-two random bytes that make a commitment unguessable. Destroying them makes it
/// meaningless.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Salt(pub [u8; 32]);

/// A salted commitment to a payload: stands in the ledger while the payload can be erased.
///
/// `SHA-256("lockgate-commit-v1" ‖ 0x00 ‖ salt ‖ length as u64 big-endian ‖ bytes)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Commitment(Digest);

impl Commitment {
    /// Commits to these bytes under this salt.
    pub fn to(salt: &Salt, bytes: &[u8]) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"lockgate-commit-v1\0");
        hash.update(salt.0);
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
        Self(Digest(hash.finalize().into()))
    }

    /// The commitment as a digest.
    pub const fn digest(&self) -> Digest {
        self.0
    }

    /// A commitment read back from a record.
    pub const fn from_digest(digest: Digest) -> Self {
        Self(digest)
    }
}

impl fmt::Display for Commitment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
