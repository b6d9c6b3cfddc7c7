//! What is read back from a ledger: entries, notes, proofs, tiles, and whole logs that somebody may
//! have changed.

use lockgate_ledger::leaf::{Entry, Kind};
use lockgate_ledger::note::{Checkpoint, Signer, VerifierKey, open_note, sign_note};
use lockgate_ledger::proof::EntryProof;
use lockgate_ledger::reader::TileReader;
use lockgate_ledger::tiles::{
    TileWriter, bundle_path, parse_bundle, parse_tile, paths, paths_count, size_needed,
};
use lockgate_ledger::tree::Frontier;
use lockgate_ledger::verify::{CHECKPOINT_PATH, verify_log};
use lockgate_types::{Digest, Micros, Object};
use std::collections::BTreeMap;
use std::sync::OnceLock;

/// Entries of the log that is changed: a full tile and a partial one.
const SIZE: u64 = 300;
/// Entries of the log as somebody remembers it.
const SIZE_BEFORE: u64 = 200;
/// Logs up to this size have all their paths written out.
const SIZE_LISTED_MAX: u64 = 100_000;

/// An accepted entry has one spelling.
pub fn entry(bytes: &[u8]) -> bool {
    let Ok((index, entry)) = Entry::parse(bytes) else { return false };
    assert_eq!(entry.to_bytes(index).as_deref(), Ok(bytes));
    let again = Entry::new(entry.kind(), entry.time(), entry.members().clone());
    assert_eq!(again.as_ref(), Ok(&entry));
    true
}

/// A verifier key in the first line, then a note: keys, checkpoints and texts have one spelling,
/// and a signature is of one text.
pub fn note(bytes: &[u8]) -> bool {
    let at = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (line, rest) = bytes.split_at(at);
    let note = rest.get(1..).unwrap_or_default();
    let text = std::str::from_utf8(note).unwrap_or_default();
    if let Ok(checkpoint) = Checkpoint::parse(text) {
        assert_eq!(checkpoint.to_text(), text);
    }
    if let Ok(signed) = sign_note(text, &log().signer) {
        let verifier = log().signer.verifier();
        assert_eq!(open_note(signed.as_bytes(), verifier), Ok(text));
        let mut changed = signed.into_bytes();
        if let Some(byte) = changed.get_mut(text.len() / 2) {
            *byte ^= 1;
        }
        assert!(open_note(&changed, verifier).is_err(), "one signature is of two texts");
    }
    let line = std::str::from_utf8(line).unwrap_or_default();
    let Ok(key) = line.parse::<VerifierKey>() else { return false };
    assert_eq!(key.to_string(), line);
    if let Ok(checkpoint) = Checkpoint::open(note, &key) {
        assert_eq!(open_note(note, &key), Ok(checkpoint.to_text().as_str()));
        assert_eq!(checkpoint.origin, key.name());
    }
    true
}

/// A proof has one spelling, and one that holds is of an entry of the log, where it stands. Every
/// hash of it counts.
pub fn proof(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let Ok(proof) = EntryProof::parse(text) else { return false };
    assert_eq!(proof.to_text(), text);
    let verifier = log().signer.verifier();
    let Ok((read, _)) = proof.verify(verifier) else { return true };
    assert_eq!(read, entry_at(proof.index), "an entry that was never logged");
    for at in 0..proof.hashes.len() {
        let mut other = proof.clone();
        if let Some(hash) = other.hashes.get_mut(at) {
            *hash = Digest::of(hash.as_bytes());
        }
        assert!(other.verify(verifier).is_err(), "hash {at} does not count");
    }
    for index in [proof.index ^ 1, proof.index + 1, u64::MAX] {
        assert!(EntryProof { index, ..proof.clone() }.verify(verifier).is_err());
    }
    true
}

/// A path in the first line, a width in two bytes, then a tile, a bundle of entries or a frontier:
/// what is read is written back as it was, and a path is that of one log's file.
pub fn tile(bytes: &[u8]) -> bool {
    let at = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (line, rest) = bytes.split_at(at);
    let path = std::str::from_utf8(line).unwrap_or_default();
    let size = size_needed(path);
    if let Some(size) = size.filter(|size| *size <= SIZE_LISTED_MAX) {
        assert!(paths(size).any(|known| known == path), "`{path}` is none of a log of {size}");
        assert!(paths(size - 1).all(|known| known != path), "{size} are not needed");
        assert_eq!(paths(size).count() as u64, paths_count(size));
    }
    let rest = rest.get(1..).unwrap_or_default();
    let Some((width, body)) = rest.split_first_chunk::<2>() else { return size.is_some() };
    let width = u16::from_be_bytes(*width);
    let hashes = parse_tile(body, width);
    assert_eq!(hashes.is_some(), body.len() == usize::from(width) * 32);
    let entries = parse_bundle(body, width);
    if let Ok(entries) = &entries {
        let written = entries.iter().flat_map(|entry| {
            let length = u16::try_from(entry.len()).expect("two bytes say how long it is");
            [length.to_be_bytes().as_slice(), entry].concat()
        });
        assert!(written.eq(body.iter().copied()));
    }
    let frontier = Frontier::from_bytes(body);
    if let Some(frontier) = &frontier {
        assert_eq!(frontier.to_bytes(), body);
    }
    size.is_some() || hashes.is_some() || entries.is_ok() || frontier.is_some()
}

/// Changes to a sound log, five bytes each: which file, what is done, where, with what. Whatever
/// was done, a log that verifies has the entries that were logged; the edge that a reader accepts
/// never gives others.
pub fn changed_log(bytes: &[u8]) -> bool {
    let log = log();
    let mut files = log.files.clone();
    for change in bytes.as_chunks::<5>().0 {
        apply(*change, &mut files);
    }
    let verifier = log.signer.verifier();
    if let Ok(report) = verify_log(&files, verifier, Some(&log.before), &mut |_, _| {}) {
        assert_eq!((&report.checkpoint, report.entries), (&log.checkpoint, SIZE));
        for path in [bundle_path(0, 256), bundle_path(1, 44)] {
            assert_eq!(files.get(&path), log.files.get(&path), "`{path}` verifies");
        }
    }
    let Ok(mut reader) = TileReader::open(&files, &log.checkpoint) else { return false };
    for index in [0, 255, 256, SIZE - 1, SIZE, u64::MAX] {
        if let Ok(read) = reader.entry(index) {
            assert_eq!(read, entry_at(index), "entry {index}");
        }
    }
    true
}

fn apply([file, action, high, low, value]: [u8; 5], files: &mut BTreeMap<String, Vec<u8>>) {
    let Some(path) = files.keys().nth(usize::from(file) % files.len().max(1)).cloned() else {
        return;
    };
    let Some(content) = files.get_mut(&path) else { return };
    let at = usize::from(u16::from_be_bytes([high, low])) % (content.len() + 1);
    match action % 6 {
        0 => content.iter_mut().skip(at).take(1).for_each(|byte| *byte = value),
        1 => content.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= value),
        2 => content.truncate(at),
        3 => content.insert(at, value),
        4 => content.drain(..at).for_each(drop),
        _ => drop(files.remove(&path)),
    }
}

/// A log that is sound.
struct Log {
    files: BTreeMap<String, Vec<u8>>,
    signer: Signer,
    checkpoint: Checkpoint,
    before: Checkpoint,
}

fn log() -> &'static Log {
    static LOG: OnceLock<Log> = OnceLock::new();
    LOG.get_or_init(|| {
        let signer = Signer::from_seed("example.com/gate", &[7; 32]).expect("a name and a seed");
        let head = |writer: &TileWriter| Checkpoint {
            origin: "example.com/gate".to_owned(),
            size: writer.size(),
            root: writer.root(),
        };
        let mut writer = TileWriter::new();
        let mut before = head(&writer);
        for index in 0..SIZE {
            writer.append(&entry_at(index)).expect("a short entry");
            if writer.size() == SIZE_BEFORE {
                before = head(&writer);
            }
        }
        let checkpoint = head(&writer);
        let note = checkpoint.sign(&signer).expect("the log's own key");
        let files = writer.flush().into_iter().map(|file| (file.path, file.bytes));
        let note = (CHECKPOINT_PATH.to_owned(), note.into_bytes());
        Log { files: files.chain([note]).collect(), signer, checkpoint, before }
    })
}

fn entry_at(index: u64) -> Vec<u8> {
    let time = Micros(1_763_629_200_000_000);
    let members = Object::new().with("op", "helpdesk/create_refund");
    let entry = Entry::new(Kind::Intent, time, members).expect("an entry");
    entry.to_bytes(index).expect("a small index")
}
