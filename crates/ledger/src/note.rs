//! C2SP signed notes (Ed25519, type 0x01) and the checkpoints that they carry.
//!
//! A checkpoint says: the log of this origin had this many entries and this root. The key that
//! signs it is made from a 32-byte seed that somebody else keeps; nothing here is random.
//! Signatures of unknown keys (witnesses) are ignored; a signature of a known key that does not
//! verify spoils the whole note.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use lockgate_types::Digest;
use std::fmt;
use std::str::FromStr;

/// Bytes of a note: room for a text and sixteen post-quantum signatures.
pub const NOTE_BYTES_MAX: usize = 128 * 1024;
/// Signature lines of a note. The format asks for at least 16.
pub const NOTE_SIGNATURES_MAX: usize = 64;
/// Bytes of a key name or origin.
pub const NAME_BYTES_MAX: usize = 512;

const ED25519: u8 = 0x01;

/// The name of a tenant's log at a node, whose own log has that name.
pub fn tenant_origin(node: &str, tenant: &str) -> String {
    format!("{node}/{tenant}")
}

/// Why a key, a note or a checkpoint is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// The name of a key or a log is empty, too long, or has spaces, `+` or control characters.
    #[error("`{name}` cannot be the name of a key or a log")]
    BadName {
        /// The name.
        name: String,
    },
    /// The text is not a verifier key.
    #[error("not a verifier key: expected `name+keyid+base64` of an Ed25519 key")]
    BadKey,
    /// The key id in a verifier key is not the one its content has.
    #[error("the key id of `{name}` does not belong to its key")]
    WrongKeyId {
        /// Name of the key.
        name: String,
    },
    /// The bytes are not a signed note.
    #[error("not a signed note: expected {expected}")]
    NotANote {
        /// What would have been acceptable.
        expected: &'static str,
    },
    /// A known key's signature is wrong: the text was changed after signing.
    #[error("the signature of `{name}` does not verify")]
    BadSignature {
        /// Name of the key.
        name: String,
    },
    /// No signature is of the key that was asked for.
    #[error("the note is not signed by `{name}`")]
    NotSigned {
        /// Name of the key.
        name: String,
    },
    /// The text of the note is not a checkpoint.
    #[error("not a checkpoint: expected {expected}")]
    NotACheckpoint {
        /// What would have been acceptable.
        expected: &'static str,
    },
    /// The checkpoint is that of another log.
    #[error("the checkpoint is of the log `{found}`, the key is of `{expected}`")]
    OtherOrigin {
        /// Name of the key.
        expected: String,
        /// Origin in the checkpoint.
        found: String,
    },
}

/// The public key of a log, as it is handed to those who verify.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: [u8; 4],
    key: VerifyingKey,
}

impl VerifierKey {
    fn new(name: &str, key: VerifyingKey) -> Result<Self, NoteError> {
        check_name(name)?;
        let mut hashed = name.as_bytes().to_vec();
        hashed.extend_from_slice(&[b'\n', ED25519]);
        hashed.extend_from_slice(key.as_bytes());
        let [a, b, c, d, ..] = *Digest::of(&hashed).as_bytes();
        Ok(Self { name: name.to_owned(), id: [a, b, c, d], key })
    }

    /// The name of the key, which is the origin of its log.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `SHA-256(name ‖ 0x0A ‖ 0x01 ‖ key)[..4]`.
    pub const fn id(&self) -> [u8; 4] {
        self.id
    }

    /// The same key, as that of another log: what verifies it.
    pub fn of_log(&self, origin: &str) -> Result<Self, NoteError> {
        Self::new(origin, self.key)
    }
}

impl FromStr for VerifierKey {
    type Err = NoteError;

    /// Reads `name+keyid+base64(0x01 ‖ key)`.
    fn from_str(text: &str) -> Result<Self, NoteError> {
        let (name, rest) = text.split_once('+').ok_or(NoteError::BadKey)?;
        let (id, key) = rest.split_once('+').ok_or(NoteError::BadKey)?;
        let id = parse_key_id(id).ok_or(NoteError::BadKey)?;
        let bytes = BASE64.decode(key).map_err(|_| NoteError::BadKey)?;
        let Some((&ED25519, key)) = bytes.split_first() else { return Err(NoteError::BadKey) };
        let key = key.try_into().map_err(|_| NoteError::BadKey)?;
        let key = VerifyingKey::from_bytes(key).map_err(|_| NoteError::BadKey)?;
        if key.is_weak() {
            return Err(NoteError::BadKey);
        }
        let verifier = Self::new(name, key)?;
        if verifier.id != id {
            return Err(NoteError::WrongKeyId { name: name.to_owned() });
        }
        Ok(verifier)
    }
}

fn parse_key_id(text: &str) -> Option<[u8; 4]> {
    let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if text.len() != 8 || !text.bytes().all(is_hex) {
        return None;
    }
    u32::from_str_radix(text, 16).ok().map(u32::to_be_bytes)
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut key = vec![ED25519];
        key.extend_from_slice(self.key.as_bytes());
        let id = u32::from_be_bytes(self.id);
        write!(f, "{}+{id:08x}+{}", self.name, BASE64.encode(key))
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The private key of a log. Wiped from memory when dropped, never printed.
pub struct Signer {
    verifier: VerifierKey,
    key: SigningKey,
}

impl Signer {
    /// The key that this seed gives (RFC 8032), under this name.
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Self, NoteError> {
        let key = SigningKey::from_bytes(seed);
        Ok(Self { verifier: VerifierKey::new(name, key.verifying_key())?, key })
    }

    /// The public half.
    pub const fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// The same key, as that of another log. A checkpoint names its log in what is signed, so that
    /// none is taken for another's.
    pub fn of_log(&self, origin: &str) -> Result<Self, NoteError> {
        Ok(Self { verifier: self.verifier.of_log(origin)?, key: self.key.clone() })
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.verifier)
    }
}

/// Signs a text, which must end with a line break and have no control characters but those.
pub fn sign_note(text: &str, signer: &Signer) -> Result<String, NoteError> {
    check_text(text.as_bytes())?;
    let Signer { verifier, key } = signer;
    let mut signature = verifier.id.to_vec();
    signature.extend_from_slice(&key.sign(text.as_bytes()).to_bytes());
    Ok(format!("{text}\n— {} {}\n", verifier.name, BASE64.encode(signature)))
}

/// Gives the text of a note, if this key signed it.
pub fn open_note<'a>(note: &'a [u8], verifier: &VerifierKey) -> Result<&'a str, NoteError> {
    let (text, lines) = split_note(note)?;
    let mut is_signed = false;
    for line in lines {
        let (name, id, signature) = parse_signature_line(line)?;
        if name != verifier.name || id != verifier.id {
            continue;
        }
        let bad = || NoteError::BadSignature { name: verifier.name.clone() };
        let signature = Signature::from_slice(&signature).map_err(|_| bad())?;
        verifier.key.verify_strict(text.as_bytes(), &signature).map_err(|_| bad())?;
        is_signed = true;
    }
    if is_signed { Ok(text) } else { Err(NoteError::NotSigned { name: verifier.name.clone() }) }
}

fn split_note(note: &[u8]) -> Result<(&str, Vec<&str>), NoteError> {
    let refuse = |expected| Err(NoteError::NotANote { expected });
    if note.len() > NOTE_BYTES_MAX {
        return refuse("at most 128 KiB");
    }
    let note = check_text(note)?;
    let Some(end) = note.rfind("\n\n") else {
        return refuse("an empty line between text and signatures");
    };
    let (text, signatures) = note.split_at(end + 1);
    let lines: Vec<&str> = signatures.lines().skip(1).collect();
    if lines.is_empty() || lines.len() > NOTE_SIGNATURES_MAX {
        return refuse("1 to 64 signatures");
    }
    Ok((text, lines))
}

fn check_text(bytes: &[u8]) -> Result<&str, NoteError> {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Err(NoteError::NotANote { expected: "UTF-8" });
    };
    if !text.ends_with('\n') {
        return Err(NoteError::NotANote { expected: "a line break at the end" });
    }
    if text.bytes().any(|byte| byte < b' ' && byte != b'\n') {
        return Err(NoteError::NotANote { expected: "no control characters" });
    }
    Ok(text)
}

fn parse_signature_line(line: &str) -> Result<(&str, [u8; 4], Vec<u8>), NoteError> {
    let error = NoteError::NotANote { expected: "signature lines `— name base64`" };
    let Some((name, encoded)) = line.strip_prefix("— ").and_then(|rest| rest.split_once(' '))
    else {
        return Err(error);
    };
    check_name(name)?;
    let bytes = BASE64.decode(encoded).map_err(|_| error.clone())?;
    let (id, signature) = bytes.split_first_chunk::<4>().ok_or_else(|| error.clone())?;
    if signature.is_empty() {
        return Err(error);
    }
    Ok((name, *id, signature.to_vec()))
}

fn check_name(name: &str) -> Result<(), NoteError> {
    let is_bad = |c: char| c.is_whitespace() || c.is_control() || c == '+';
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.contains(is_bad) {
        return Err(NoteError::BadName { name: name.chars().take(80).collect() });
    }
    Ok(())
}

/// The head of a log: origin, size, root. Extension lines are not used, and refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log: a name like `example.com/gate`, also the name of its key.
    pub origin: String,
    /// How many entries.
    pub size: u64,
    /// The root of the Merkle tree over them.
    pub root: Digest,
}

impl Checkpoint {
    /// The text that is signed.
    pub fn to_text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, BASE64.encode(self.root.as_bytes()))
    }

    /// Reads the text of a note. Says nothing about who signed it.
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let refuse = |expected| NoteError::NotACheckpoint { expected };
        let Some(lines) = text.strip_suffix('\n') else {
            return Err(refuse("a line break at the end"));
        };
        let lines: Vec<&str> = lines.split('\n').collect();
        let [origin, size, root] = *lines else { return Err(refuse("three lines")) };
        check_name(origin)?;
        let size = parse_decimal(size).ok_or(refuse("the size without leading zeros"))?;
        let root = parse_hash(root).ok_or(refuse("the root as base64 of 32 bytes"))?;
        Ok(Self { origin: origin.to_owned(), size, root })
    }

    /// Signs the checkpoint. The key has to be the log's own.
    pub fn sign(&self, signer: &Signer) -> Result<String, NoteError> {
        self.check_origin(signer.verifier())?;
        sign_note(&self.to_text(), signer)
    }

    /// Reads a signed checkpoint, if this key signed it and it is of this key's log.
    pub fn open(note: &[u8], verifier: &VerifierKey) -> Result<Self, NoteError> {
        let checkpoint = Self::parse(open_note(note, verifier)?)?;
        checkpoint.check_origin(verifier)?;
        Ok(checkpoint)
    }

    fn check_origin(&self, verifier: &VerifierKey) -> Result<(), NoteError> {
        if self.origin == verifier.name {
            return Ok(());
        }
        let expected = verifier.name.clone();
        Err(NoteError::OtherOrigin { expected, found: self.origin.clone() })
    }
}

/// A number in ASCII digits without leading zeros.
pub(crate) fn parse_decimal(text: &str) -> Option<u64> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_plain || (text.len() > 1 && text.starts_with('0')) {
        return None;
    }
    text.parse().ok()
}

/// A hash in base64.
pub(crate) fn parse_hash(text: &str) -> Option<Digest> {
    BASE64.decode(text).ok()?.try_into().ok().map(Digest::from_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The seed of RFC 8032 §7.1 test 1, whose public key stands there.
    const SEED: [u8; 32] = [
        0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c,
        0xc4, 0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae,
        0x7f, 0x60,
    ];

    fn signer() -> Signer {
        Signer::from_seed("example.com/gate", &SEED).unwrap()
    }

    fn checkpoint() -> Checkpoint {
        Checkpoint { origin: "example.com/gate".into(), size: 70_000, root: Digest::of(b"root") }
    }

    #[test]
    fn the_key_follows_the_rules_of_the_format() {
        let signer = signer();
        let public = signer.key.verifying_key().to_bytes();
        assert_eq!(public[..4], [0xd7, 0x5a, 0x98, 0x01], "the public key in RFC 8032 §7.1");
        let mut hashed = b"example.com/gate\n\x01".to_vec();
        hashed.extend(public);
        assert_eq!(signer.verifier().id(), Digest::of(&hashed).as_bytes()[..4]);
        let vkey = signer.verifier().to_string();
        assert_eq!(&vkey.parse::<VerifierKey>().unwrap(), signer.verifier());
        assert_eq!(signer.verifier().name(), "example.com/gate");
    }

    #[test]
    fn one_key_signs_several_logs_and_none_is_taken_for_another() {
        let node = signer();
        let origin = tenant_origin("example.com/gate", "acme");
        let tenant = node.of_log(&origin).unwrap();
        let verifier = node.verifier().of_log(&origin).unwrap();
        assert_eq!(tenant.verifier(), &verifier);
        assert_ne!(verifier.id(), node.verifier().id());
        let note = Checkpoint { origin, ..checkpoint() }.sign(&tenant).unwrap();
        assert!(Checkpoint::open(note.as_bytes(), &verifier).is_ok());
        assert!(Checkpoint::open(note.as_bytes(), node.verifier()).is_err());
        let renamed = note.replace("example.com/gate/acme", "example.com/gate");
        assert!(Checkpoint::open(renamed.as_bytes(), node.verifier()).is_err());
    }

    /// The key and note of golang.org/x/mod/sumdb/note's package documentation.
    #[test]
    fn a_published_note_verifies() {
        let vkey = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
        let key: VerifierKey = vkey.parse().unwrap();
        assert_eq!(key.to_string(), vkey);
        let note = "If you think cryptography is the answer to your problem,\n\
            then you don't know what your problem is.\n\n\
            — PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
        let text = open_note(note.as_bytes(), &key).unwrap();
        assert!(text.ends_with("problem is.\n"));
        let changed = note.replace("answer", "enswer");
        let refused = open_note(changed.as_bytes(), &key);
        assert_eq!(refused, Err(NoteError::BadSignature { name: "PeterNeumann".into() }));
    }

    #[test]
    fn a_checkpoint_reads_back() {
        let note = checkpoint().sign(&signer()).unwrap();
        assert_eq!(Checkpoint::open(note.as_bytes(), signer().verifier()), Ok(checkpoint()));
        let root = BASE64.encode(checkpoint().root.as_bytes());
        let text = format!("example.com/gate\n70000\n{root}\n\n— example.com/gate ");
        assert!(note.starts_with(&text), "{note}");
    }

    #[test]
    fn signatures_of_unknown_keys_are_ignored_and_do_not_suffice() {
        let note = checkpoint().sign(&signer()).unwrap();
        let other = Signer::from_seed("example.com/gate", &[7; 32]).unwrap();
        let witness = Signer::from_seed("witness.example", &SEED).unwrap();
        let text = checkpoint().to_text();
        let mut cosigned = note.clone();
        for key in [&other, &witness] {
            let signed = sign_note(&text, key).unwrap();
            cosigned.push_str(signed.lines().last().unwrap());
            cosigned.push('\n');
        }
        assert!(Checkpoint::open(cosigned.as_bytes(), signer().verifier()).is_ok());
        let unsigned = Checkpoint::open(note.as_bytes(), other.verifier());
        assert_eq!(unsigned, Err(NoteError::NotSigned { name: "example.com/gate".into() }));
        let foreign = sign_note(&text, &witness).unwrap();
        let refused = Checkpoint::open(foreign.as_bytes(), witness.verifier());
        assert!(matches!(refused, Err(NoteError::OtherOrigin { .. })));
    }

    #[test]
    fn a_wrong_signature_of_a_known_key_spoils_the_note() {
        let note = checkpoint().sign(&signer()).unwrap();
        let mut larger = checkpoint();
        larger.size += 1;
        let elsewhere = larger.sign(&signer()).unwrap();
        let both = format!("{note}{}\n", elsewhere.lines().last().unwrap());
        let refused = Checkpoint::open(both.as_bytes(), signer().verifier());
        assert!(matches!(refused, Err(NoteError::BadSignature { .. })));
    }

    #[test]
    fn what_is_not_a_checkpoint_is_refused() {
        let root = BASE64.encode([1; 32]);
        for text in [
            format!("a\n1\n{root}"),
            format!("a\n01\n{root}\n"),
            format!("a\n+1\n{root}\n"),
            format!("a\n\n{root}\n"),
            format!("a\n18446744073709551616\n{root}\n"),
            format!("a b\n1\n{root}\n"),
            format!("a\n1\n{root}\nextension\n"),
            "a\n1\nAAAA\n".to_owned(),
            "a\n1\n".to_owned(),
            String::new(),
        ] {
            assert!(Checkpoint::parse(&text).is_err(), "{text:?}");
        }
        assert!(Checkpoint::parse(&format!("a\n0\n{root}\n")).is_ok());
    }

    #[test]
    fn what_is_not_a_key_is_refused() {
        let vkey = signer().verifier().to_string();
        let (name, rest) = vkey.split_once('+').unwrap();
        assert!(format!("{name}.x+{rest}").parse::<VerifierKey>().is_err());
        let witness = [&[0x04], signer().key.verifying_key().as_bytes().as_slice()].concat();
        let (id, _) = rest.split_once('+').unwrap();
        let witness = format!("{name}+{id}+{}", BASE64.encode(witness));
        assert_eq!(witness.parse::<VerifierKey>(), Err(NoteError::BadKey));
        let weak = [&[0x01], [0; 32].as_slice()].concat();
        let weak = format!("{name}+{id}+{}", BASE64.encode(weak));
        assert_eq!(weak.parse::<VerifierKey>(), Err(NoteError::BadKey));
        assert!(Signer::from_seed("two words", &SEED).is_err());
        assert!(Signer::from_seed("a+b", &SEED).is_err());
        assert!(Signer::from_seed("", &SEED).is_err());
    }
}
