//! Canonical bytes: what digests are taken of.
//!
//! Member names sorted by UTF-16 code units, the shortest escapes, no space: RFC 8785 (JCS).
//! Numbers keep their source text, so `1` and `1.0` are two values to an approval or an idempotency
//! key; for integers, the only numbers in ledger leaves, this is JCS to the letter.

use crate::digest::Digest;
use crate::json::{Json, Object, write_string};
use std::io::Write as _;

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
        let mut out = Vec::with_capacity(self.room());
        self.write_canonical(&mut out);
        out
    }

    /// The digest of the canonical bytes.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.to_canonical())
    }
}

impl Object {
    /// The canonical bytes.
    pub fn to_canonical(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.room());
        write_sorted(self, &mut out);
        out
    }
}

/// Writes one object straight into canonical bytes, without building a value first.
///
/// Members are given in the order of their names. That is for the writer to hold, and for a test
/// of each writer, which compares with [`Json::to_canonical`].
#[derive(Debug)]
pub struct CanonicalObject {
    out: Vec<u8>,
}

impl CanonicalObject {
    /// An object without members yet, with room for this many bytes.
    pub fn new(capacity: usize) -> Self {
        let mut out = Vec::with_capacity(capacity);
        out.push(b'{');
        Self { out }
    }

    /// Begins a member; its value is to be written next.
    pub fn name(&mut self, name: &str) {
        if self.out.last() != Some(&b'{') {
            self.out.push(b',');
        }
        write_string(name, &mut self.out);
        self.out.push(b':');
    }

    /// A text.
    pub fn text(&mut self, name: &str, text: &str) {
        self.name(name);
        write_string(text, &mut self.out);
    }

    /// A text, if there is one.
    pub fn some_text(&mut self, name: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.text(name, text);
        }
    }

    /// An array of texts.
    pub fn texts<'a>(&mut self, name: &str, texts: impl Iterator<Item = &'a str>) {
        self.name(name);
        self.out.push(b'[');
        for (at, text) in texts.enumerate() {
            if at > 0 {
                self.out.push(b',');
            }
            write_string(text, &mut self.out);
        }
        self.out.push(b']');
    }

    /// An integer.
    pub fn integer(&mut self, name: &str, value: i64) {
        self.name(name);
        // Writing to a vector does not fail.
        let _ = write!(self.out, "{value}");
    }

    /// A member that is only there if it is true.
    pub fn flag(&mut self, name: &str, is_set: bool) {
        if is_set {
            self.name(name);
            self.out.extend_from_slice(b"true");
        }
    }

    /// Whether something is so.
    pub fn truth(&mut self, name: &str, is: bool) {
        self.name(name);
        self.out.extend_from_slice(if is { b"true" } else { b"false" });
    }

    /// A digest, as people read it.
    pub fn digest(&mut self, name: &str, digest: &Digest) {
        self.name(name);
        self.out.extend_from_slice(b"\"sha256:");
        let mut digits = [0; 64];
        // The buffer has the length of the digits, so this cannot fail.
        let _ = hex::encode_to_slice(digest.as_bytes(), &mut digits);
        self.out.extend_from_slice(&digits);
        self.out.push(b'"');
    }

    /// A value that is there already.
    pub fn json(&mut self, name: &str, value: &Json) {
        self.name(name);
        value.write_canonical(&mut self.out);
    }

    /// An object that is there already.
    pub fn object(&mut self, name: &str, value: &Object) {
        self.name(name);
        write_sorted(value, &mut self.out);
    }

    /// Begins an object of its own.
    pub fn open(&mut self, name: &str) {
        self.name(name);
        self.out.push(b'{');
    }

    /// Ends it.
    pub fn close(&mut self) {
        self.out.push(b'}');
    }

    /// What was written so far; writing goes on behind it.
    pub fn cut(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    /// The bytes.
    pub fn finish(mut self) -> Vec<u8> {
        self.close();
        self.out
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
