//! A published log: written, read, proved, verified, and found out when it was changed.

mod common;

use common::{Files, append, entry, log, publish, signer};
use lockgate_ledger::note::Checkpoint;
use lockgate_ledger::proof::{EntryProof, EntryProofError};
use lockgate_ledger::reader::{TileError, TileReader};
use lockgate_ledger::tiles::{
    AppendError, BundleError, TileWriter, bundle_path, parse_bundle, paths, paths_count,
    size_needed, tile_path, tile_width,
};
use lockgate_ledger::tree::{Frontier, consistency_proof, leaf_hash, verify_consistency};
use lockgate_ledger::verify::{VerifyError, verify_log, verify_range};
use lockgate_types::Code;
use proptest::prelude::*;
use proptest::sample::Index;
use std::collections::BTreeSet;
use std::sync::LazyLock;

fn check(files: &Files, remembered: Option<&Checkpoint>) -> Result<(), VerifyError> {
    verify_log(files, signer().verifier(), remembered, &mut |_, _| {}).map(|_| ())
}

#[test]
fn paths_are_those_of_the_format() {
    assert_eq!(tile_path(0, 1_234_067, 256), "tile/0/x001/x234/067");
    assert_eq!(tile_path(1, 0, 17), "tile/1/000.p/17");
    assert_eq!(bundle_path(1000, 256), "tile/entries/x001/000");
    assert_eq!(bundle_path(273, 112), "tile/entries/273.p/112");
    // The example in the specification: 70,000 entries.
    assert_eq!([272, 273, 274].map(|index| tile_width(70_000, 0, index)), [256, 112, 0]);
    assert_eq!([0, 1].map(|index| tile_width(70_000, 1, index)), [256, 17]);
    assert_eq!([0, 1].map(|index| tile_width(70_000, 2, index)), [1, 0]);
    assert_eq!(tile_width(u64::MAX, 7, 0), 255);
    assert_eq!(tile_width(u64::MAX, 255, u64::MAX), 0);
}

#[test]
fn the_paths_of_a_log_are_those_that_were_written() {
    let mut writer = TileWriter::new();
    let mut complete = BTreeSet::new();
    for size in [0, 1, 2, 255, 256, 257, 511, 512, 513, 1000, 65_535, 65_536, 65_537, 66_000] {
        while writer.size() < size {
            writer.append(b"entry").unwrap();
        }
        complete.extend(writer.take_complete().into_iter().map(|file| file.path));
        let mut written = complete.clone();
        written.extend(writer.flush().into_iter().map(|file| file.path));
        let listed: Vec<String> = paths(size).collect();
        assert_eq!(paths_count(size), listed.len() as u64, "{size} entries");
        let distinct: BTreeSet<String> = listed.iter().cloned().collect();
        assert_eq!(distinct.len(), listed.len(), "{size} entries: no path twice");
        assert_eq!(distinct, written, "{size} entries");
    }
    // Nothing is built up: the first paths of the largest log are there at once.
    assert!(paths(u64::MAX).take(3).eq(["tile/0/000", "tile/0/001", "tile/0/002"]));
    assert!(paths_count(u64::MAX) > u64::MAX / 256 * 2);
}

#[test]
fn a_path_says_how_large_the_log_must_be() {
    for size in [1, 255, 256, 257, 70_000] {
        let needed: Vec<u64> = paths(size).map(|path| size_needed(&path).unwrap()).collect();
        assert_eq!(needed.iter().max(), Some(&size), "{size} entries");
    }
    assert_eq!(size_needed("tile/1/000.p/17"), Some(17 * 256));
    assert_eq!(size_needed("tile/entries/x001/000"), Some(1001 * 256));
    for path in [
        "",
        "checkpoint",
        "tile/0",
        "tile/0/0",
        "tile/0/1000",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/00/000",
        "tile/0/x000/001",
        "tile/0/000.p/05",
        "tile/0/../000",
        "tile/9/000",
        "tile/7/x256/000",
        "tile/0/x999/x999/x999/x999/x999/x999/x999/999",
    ] {
        assert_eq!(size_needed(path), None, "{path}");
    }
}

#[test]
fn bundles_refuse_what_the_format_does_not_have() {
    assert_eq!(parse_bundle(b"\x00\x01a\x00\x02bc", 2).unwrap(), [b"a".as_slice(), b"bc"]);
    let empty = Err(BundleError::Empty { position: 1 });
    assert_eq!(parse_bundle(b"\x00\x01a\x00\x00", 2), empty);
    assert_eq!(parse_bundle(b"\x00\x01a", 2), Err(BundleError::Truncated { position: 1 }));
    assert_eq!(parse_bundle(b"\x00\x02a", 1), Err(BundleError::Truncated { position: 0 }));
    assert_eq!(parse_bundle(b"\x00\x01ab", 1), Err(BundleError::Trailing { count: 1 }));
    let mut writer = TileWriter::new();
    assert_eq!(writer.append(b""), Err(AppendError::Empty));
    assert_eq!(writer.append(&[0; 65_536]), Err(AppendError::TooLong { bytes: 65_536 }));
    assert!(writer.append(&[0; 65_535]).is_ok());
}

#[test]
fn logs_of_many_sizes_verify() {
    for size in [0, 1, 2, 255, 256, 257, 511, 512, 513, 1000] {
        let (files, checkpoint) = log(size);
        let mut told = Vec::new();
        let report = verify_log(&files, signer().verifier(), None, &mut |done, total| {
            told.push((done, total));
        });
        let report = report.unwrap();
        assert_eq!(report.checkpoint, checkpoint);
        assert_eq!(report.entries, size);
        assert_eq!(report.tiles, files.keys().filter(|path| is_tile(path)).count() as u64);
        assert_eq!(told.last().copied(), (size > 0).then_some((size, size)));
        let mut frontier = Frontier::new();
        (0..size).for_each(|index| frontier.append(leaf_hash(&entry(index))));
        assert_eq!(frontier.root(), checkpoint.root);
    }
}

fn is_tile(path: &str) -> bool {
    path.starts_with("tile/") && !path.starts_with("tile/entries")
}

/// Three tile levels, and root subtrees that share a tile: where CVE-2026-56865 lay.
static LARGE: LazyLock<(Files, Checkpoint)> = LazyLock::new(|| log(70_000));

#[test]
fn a_large_log_verifies_with_all_its_tiles() {
    let (files, checkpoint) = &*LARGE;
    let report = verify_log(files, signer().verifier(), Some(checkpoint), &mut |_, _| {}).unwrap();
    assert_eq!((report.entries, report.tiles, report.continues), (70_000, 277, Some(70_000)));
    assert_eq!(files.keys().filter(|path| path.starts_with("tile/entries")).count(), 274);
}

/// A forged entry with a level-0 tile that matches it: the tile has to be held against its parent.
#[test]
fn forged_leaf_tile_rejected() {
    let (good, checkpoint) = &*LARGE;
    for bundle in [0_u64, 117, 272] {
        let mut files = good.clone();
        let mut forged = TileWriter::new();
        let first = bundle * 256;
        for index in first..first + 256 {
            let original = entry(index);
            let entry = if index == first + 44 { entry(first) } else { original };
            forged.append(&entry).unwrap();
        }
        for file in forged.take_complete() {
            let path = file.path.replace("/000", &format!("/{bundle:03}"));
            assert!(files.insert(path, file.bytes).is_some());
        }
        let path = tile_path(0, bundle, 256);
        let found = check(&files, None).unwrap_err();
        let VerifyError::Tile { source: TileError::NotOfParent { path: named } } = &found else {
            panic!("{found}");
        };
        assert_eq!(named, &path);
        assert_eq!(found.code(), Code::LedgerCorrupt);

        // A reader that wants nothing but this entry, or a proof of it, sees it too.
        let mut reader = TileReader::open(&files, checkpoint).unwrap();
        assert!(matches!(reader.entry(first + 44), Err(TileError::NotOfParent { .. })));
        let mut reader = TileReader::open(&files, checkpoint).unwrap();
        assert!(EntryProof::build(&mut reader, first + 44, "").is_err());
        let range = first + 44..first + 45;
        let range = verify_range(&files, signer().verifier(), None, range, &mut |_, _| {});
        assert!(matches!(range, Err(VerifyError::Tile { .. })));
    }
}

#[test]
fn a_forged_parent_tile_does_not_help() {
    let (good, _) = &*LARGE;
    let other = {
        let mut writer = TileWriter::new();
        for index in 0..65_536 {
            let index = if index == 30_000 { 1 } else { index };
            writer.append(&entry(index)).unwrap();
        }
        writer.flush()
    };
    let mut files = good.clone();
    for file in other.into_iter().filter(|file| !file.path.starts_with("tile/2")) {
        files.insert(file.path, file.bytes);
    }
    let found = check(&files, None).unwrap_err();
    assert_eq!(found.to_string(), "`tile/1/000` does not match its parent tile");
}

#[test]
fn a_changed_entry_is_named() {
    let (mut files, _) = log(600);
    let bundle = files.get_mut("tile/entries/001").unwrap();
    let at = bundle.windows(6).position(|word| word == b"refund").unwrap();
    bundle[at] ^= 1;
    let found = check(&files, None).unwrap_err();
    let VerifyError::Tile { source: TileError::NotOfTile { index, path } } = &found else {
        panic!("{found}");
    };
    assert_eq!(path, "tile/entries/001");
    assert!((256..512).contains(index), "{index}");
    assert!(found.remedy().contains("copy it anew"));
}

#[test]
fn a_missing_file_is_named() {
    let (good, _) = log(600);
    for path in good.keys() {
        let mut files = good.clone();
        files.remove(path);
        let found = check(&files, None).unwrap_err();
        assert!(found.to_string().contains(path.as_str()), "{found}");
        assert_eq!(found.code(), Code::LedgerCorrupt);
    }
}

#[test]
fn truncation_against_a_remembered_checkpoint_is_rejected() {
    let (_, remembered) = log(600);
    let (shorter, _) = log(599);
    assert!(check(&shorter, None).is_ok());
    let found = check(&shorter, Some(&remembered)).unwrap_err();
    assert!(matches!(found, VerifyError::Behind { remembered: 600, found: 599 }));
    assert_eq!(found.code(), Code::LedgerBehind);
}

#[test]
fn a_rewritten_log_is_rejected() {
    let (_, remembered) = log(300);
    let mut writer = TileWriter::new();
    let mut files = Files::new();
    for index in 0..700 {
        // The same log but for one entry, properly signed.
        let mut bytes = entry(index);
        if index == 299 {
            bytes = String::from_utf8(bytes).unwrap().replace("refund", "invoice").into_bytes();
        }
        writer.append(&bytes).unwrap();
    }
    publish(&mut writer, &mut files);
    assert!(check(&files, None).is_ok());
    let found = check(&files, Some(&remembered)).unwrap_err();
    assert!(matches!(found, VerifyError::Forked { size: 300 }));
    let other = Checkpoint { origin: "example.com/other".into(), ..remembered };
    assert!(matches!(check(&files, Some(&other)), Err(VerifyError::OtherLog { .. })));
}

#[test]
fn signed_entries_still_have_to_be_entries() {
    for (bytes, expected) in [
        (entry(5), "entry 3 in `tile/entries/000.p/4` says that it is entry 5"),
        (b"{}".to_vec(), "entry 3 in `tile/entries/000.p/4` is not a ledger entry"),
    ] {
        let (mut writer, mut files) = (TileWriter::new(), Files::new());
        for index in 0..3 {
            writer.append(&entry(index)).unwrap();
        }
        writer.append(&bytes).unwrap();
        publish(&mut writer, &mut files);
        assert_eq!(check(&files, None).unwrap_err().to_string(), expected);
    }
}

#[test]
fn ranges_verify_on_their_own() {
    let (files, _) = log(1000);
    let signer = signer();
    let verify = |range| verify_range(&files, signer.verifier(), None, range, &mut |_, _| {});
    for range in [0..1000, 0..0, 255..257, 999..1000, 1000..1000, 300..301] {
        assert_eq!(verify(range.clone()).unwrap().entries, range.end - range.start);
    }
    let found = verify(999..1001).unwrap_err();
    assert_eq!(found.code(), Code::RecordNotFound);
    let mut changed = files.clone();
    changed.get_mut("tile/entries/001").unwrap()[9] ^= 1;
    let verify = |range| verify_range(&changed, signer.verifier(), None, range, &mut |_, _| {});
    assert!(verify(0..256).is_ok());
    assert!(verify(0..257).is_err());
}

/// A checkpoint from before the log grew is still served: full files have replaced its partial
/// ones.
#[test]
fn an_old_checkpoint_reads_from_a_grown_log() {
    let mut files = Files::new();
    let mut writer = TileWriter::new();
    let old = append(&mut writer, &mut files, 300);
    let old_note = files.get("checkpoint").unwrap().clone();
    append(&mut writer, &mut files, 700);
    files.retain(|path, _| path != "tile/0/001.p/44" && path != "tile/entries/001.p/44");
    files.insert("checkpoint".into(), old_note);
    assert!(check(&files, Some(&old)).is_ok());
}

#[test]
fn entries_prove_alone() {
    let (files, checkpoint) = log(700);
    let note = String::from_utf8(files.get("checkpoint").unwrap().clone()).unwrap();
    let signer = signer();
    for index in [0, 1, 255, 256, 511, 512, 699] {
        let mut reader = TileReader::open(&files, &checkpoint).unwrap();
        let proof = EntryProof::build(&mut reader, index, &note).unwrap();
        let read = EntryProof::parse(&proof.to_text()).unwrap();
        assert_eq!(read, proof);
        let (bytes, under) = read.verify(signer.verifier()).unwrap();
        assert_eq!((bytes, under.size), (entry(index).as_slice(), 700));

        let bare = EntryProof { entry: None, ..proof.clone() };
        let bare = EntryProof::parse(&bare.to_text()).unwrap();
        assert_eq!(bare.verify(signer.verifier()), Err(EntryProofError::NoEntry));
        assert!(bare.verify_entry(&entry(index), signer.verifier()).is_ok());
        let other = bare.verify_entry(&entry(index + 1), signer.verifier());
        assert!(matches!(other, Err(EntryProofError::NotIncluded { .. })));
    }
}

#[test]
fn tiles_give_consistency_proofs() {
    let (files, checkpoint) = log(700);
    for old in [0, 1, 255, 256, 300, 512, 699, 700] {
        let (_, before) = log(old);
        let mut reader = TileReader::open(&files, &checkpoint).unwrap();
        let proof = consistency_proof(&mut reader, old, 700).unwrap();
        let held = verify_consistency(old, &before.root, 700, &checkpoint.root, &proof);
        assert_eq!(held, Ok(()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// However the log was cut into flushes and restarts, the same files come out.
    #[test]
    fn incremental_writing_equals_writing_at_once(
        steps in prop::collection::vec(0_u64..400, 1..6),
    ) {
        let mut files = Files::new();
        let mut writer = TileWriter::new();
        for (at, step) in steps.iter().enumerate() {
            let until = writer.size() + step;
            let checkpoint = append(&mut writer, &mut files, until);
            if at % 2 == 1 {
                writer = TileWriter::resume(&files, &checkpoint).unwrap();
            }
        }
        let (at_once, checkpoint) = log(steps.iter().sum());
        prop_assert_eq!(writer.root(), checkpoint.root);
        for (path, bytes) in &at_once {
            prop_assert_eq!(files.get(path), Some(bytes), "{}", path);
        }
        let left: BTreeSet<&String> = files.keys().filter(|path| !path.contains(".p/")).collect();
        let full: BTreeSet<&String> = at_once.keys().filter(|path| !path.contains(".p/")).collect();
        prop_assert_eq!(left, full);
        prop_assert!(check(&files, Some(&checkpoint)).is_ok());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// One bit anywhere: in an entry, a length, a tile, the checkpoint or its signature.
    #[test]
    fn any_flipped_bit_is_found(
        file in any::<Index>(), at in any::<Index>(), bit in 0_u8..8,
    ) {
        static LOG: LazyLock<(Files, Checkpoint)> = LazyLock::new(|| log(600));
        let mut files = LOG.0.clone();
        let paths: Vec<String> = files.keys().cloned().collect();
        let path = &paths[file.index(paths.len())];
        let bytes = files.get_mut(path).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let found = check(&files, None);
        prop_assert!(found.is_err(), "{path} byte {at} bit {bit}");
        prop_assert!(!found.unwrap_err().remedy().is_empty());
    }
}

/// Every single byte of a small log, so that no place is left to chance.
#[test]
fn every_byte_of_a_small_log_counts() {
    let (good, _) = log(2);
    assert_eq!(good.len(), 3);
    for (path, bytes) in &good {
        for at in 0..bytes.len() {
            let mut files = good.clone();
            files.get_mut(path).unwrap()[at] ^= 1 << (at % 8);
            assert!(check(&files, None).is_err(), "{path} byte {at}");
        }
    }
}
