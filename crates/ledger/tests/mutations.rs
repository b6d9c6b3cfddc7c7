//! Mutated notes, keys, tiles, bundles, entries and proofs: refused or read, never a panic, and
//! never another value.
//!
//! The mutations come from a fixed seed, so a failure repeats.
#![allow(clippy::indexing_slicing, reason = "a test that reads beyond its own vectors has failed")]

mod common;

use common::{Dice, entry, log, signer};
use lockgate_ledger::leaf::Entry;
use lockgate_ledger::note::{Checkpoint, VerifierKey};
use lockgate_ledger::proof::EntryProof;
use lockgate_ledger::reader::TileReader;
use lockgate_ledger::tiles::{parse_bundle, parse_tile};
use lockgate_ledger::tree::Frontier;
use lockgate_ledger::verify::verify_log;

const ROUNDS: usize = 4000;

/// Flips, removes, doubles or inserts a few stretches of bytes.
fn mutate(dice: &mut Dice, bytes: &[u8]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    for _ in 0..=dice.roll(3) {
        let at = dice.roll(out.len());
        let length = dice.roll(9).min(out.len() - at);
        match dice.roll(6) {
            0 if at < out.len() => out[at] ^= 1 << dice.roll(8),
            1 => drop(out.drain(at..at + length)),
            2 => {
                let piece = out[at..at + length].to_vec();
                out.splice(at..at, piece);
            }
            3 => out.truncate(at),
            4 => {
                let odd = [b"\n\n".as_slice(), b"\0\0", b"\xff", "—".as_bytes(), b"+", b" ", b"="];
                out.splice(at..at, odd[dice.roll(odd.len())].iter().copied());
            }
            _ if at < out.len() => out[at] = dice.roll(256) as u8,
            _ => {}
        }
    }
    out
}

#[test]
fn mutated_notes_and_keys() {
    let (files, checkpoint) = log(300);
    let note = &files["checkpoint"];
    let signer = signer();
    let vkey = signer.verifier().to_string();
    let mut dice = Dice(1);
    for _ in 0..ROUNDS {
        let bytes = mutate(&mut dice, note);
        if let Ok(read) = Checkpoint::open(&bytes, signer.verifier()) {
            assert_eq!(read, checkpoint, "another checkpoint under the same signature");
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Ok(read) = Checkpoint::parse(&text) {
            assert_eq!(read.to_text(), text);
        }
        let key = String::from_utf8_lossy(&mutate(&mut dice, vkey.as_bytes())).into_owned();
        if let Ok(read) = key.parse::<VerifierKey>() {
            assert_eq!(read.to_string(), key);
        }
    }
}

#[test]
fn mutated_tiles_and_bundles() {
    let (files, checkpoint) = log(300);
    let mut dice = Dice(2);
    for _ in 0..ROUNDS {
        let tile = mutate(&mut dice, &files["tile/0/001.p/44"]);
        let width = dice.roll(257) as u16;
        assert_eq!(parse_tile(&tile, width).is_some(), tile.len() == usize::from(width) * 32);
        let bundle = mutate(&mut dice, &files["tile/entries/001.p/44"]);
        if let Ok(entries) = parse_bundle(&bundle, 44) {
            assert!(entries.iter().all(|entry| !entry.is_empty()));
            assert_eq!(entries.iter().map(|entry| entry.len() + 2).sum::<usize>(), bundle.len());
        }
        let _ = Frontier::from_bytes(&tile);
    }
    for _ in 0..100 {
        let mut mutated = files.clone();
        for path in ["tile/0/001.p/44", "tile/0/000", "tile/entries/000"] {
            mutated.insert(path.to_owned(), mutate(&mut dice, &files[path]));
        }
        if mutated == files {
            continue;
        }
        assert!(verify_log(&mutated, signer().verifier(), None, &mut |_, _| {}).is_err());
        if let Ok(mut reader) = TileReader::open(&mutated, &checkpoint) {
            for index in [0, 299, 300, u64::MAX] {
                if let Ok(read) = reader.entry(index) {
                    assert_eq!(read, entry(index));
                }
            }
        }
    }
}

#[test]
fn mutated_entries() {
    let mut dice = Dice(3);
    let bytes = entry(12);
    for _ in 0..ROUNDS {
        let mutated = mutate(&mut dice, &bytes);
        if let Ok((index, read)) = Entry::parse(&mutated) {
            assert_eq!(read.to_bytes(index).unwrap(), mutated);
        }
    }
}

#[test]
fn mutated_proofs() {
    let (files, checkpoint) = log(300);
    let note = String::from_utf8(files["checkpoint"].clone()).unwrap();
    let mut reader = TileReader::open(&files, &checkpoint).unwrap();
    let text = EntryProof::build(&mut reader, 12, &note).unwrap().to_text();
    let signer = signer();
    let mut dice = Dice(4);
    for _ in 0..ROUNDS {
        let mutated = mutate(&mut dice, text.as_bytes());
        let Ok(proof) = EntryProof::parse(&String::from_utf8_lossy(&mutated)) else { continue };
        if let Ok((read, under)) = proof.verify(signer.verifier()) {
            assert_eq!((read, proof.index, under), (entry(12).as_slice(), 12, checkpoint.clone()));
        }
    }
}
