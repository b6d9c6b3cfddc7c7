//! Canonical bytes: what digests are taken of.
//!
//! Member names sorted by UTF-16 code units, the shortest escapes, no space: RFC 8785 (JCS).
//! Numbers keep their source text, so `1` and `1.0` are two values to an approval or an idempotency
//! key; for integers, the only numbers in ledger leaves, this is JCS to the letter.

use crate::digest::Digest;
use crate::json::{Json, Object, write_string};

impl Json {
    /// Writes the canonical bytes.
    pub fn write_canonical(&self, out: &mut Vec<u8>) {
        match self {
            Self::Array(items) => {
                out.push(b'[');
                for (at, item) in items.iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    item.write_canonical(out);
                }
                out.push(b']');
            }
            Self::Object(object) => write_sorted(object, out),
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::String(_) => self.write(out),
        }
    }

    /// The canonical bytes.
    pub fn to_canonical(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        self.write_canonical(&mut out);
        out
    }

    /// The digest of the canonical bytes.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.to_canonical())
    }
}

fn write_sorted(object: &Object, out: &mut Vec<u8>) {
    let mut members: Vec<(&str, &Json)> = object.iter().collect();
    // For ASCII names, which nearly all are, byte order and UTF-16 order agree.
    if members.iter().all(|(name, _)| name.is_ascii()) {
        members.sort_unstable_by_key(|(name, _)| *name);
    } else {
        members.sort_unstable_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
    }
    out.push(b'{');
    for (at, (name, value)) in members.into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write_string(name, out);
        out.push(b':');
        value.write_canonical(out);
    }
    out.push(b'}');
}
