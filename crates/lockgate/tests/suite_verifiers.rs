//! Verifiers that nobody here wrote accept the log of a gate, and reject it when it was tampered
//! with.
#![cfg(test)]

mod support;

use lockgate_sim::setup;
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use support::tenants::Tenants;
use support::{World, bundle_path, ended, read_entries};

/// Enough for a full bundle of entries and one that is not.
const CALLS: usize = 300;

/// The programs, each with what it can find out.
struct Verifiers {
    python: PathBuf,
    node: PathBuf,
    npm: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verifier {
    /// `lockgate verify`: everything.
    Ours,
    /// PyPI `aics-tlog`: checkpoint, inclusion, consistency, every tile against every entry.
    Aics,
    /// PyPI `metamorphic-log`: checkpoint, inclusion, consistency, over the entries.
    Metamorphic,
    /// npm `@sigstore/verify`: checkpoint, inclusion of one entry.
    Sigstore,
}

use Verifier::{Aics, Metamorphic, Ours, Sigstore};
const ALL: [Verifier; 4] = [Ours, Aics, Metamorphic, Sigstore];

impl Verifiers {
    fn install() -> Self {
        let requirements = here("requirements.txt");
        let text = fs::read_to_string(requirements).unwrap();
        let pinned = text.lines().filter(|line| !line.starts_with('#'));
        let arguments: Vec<&str> = ["--ignore-requires-python"].into_iter().chain(pinned).collect();
        let venv = setup::python_venv("verifiers", &arguments).unwrap();
        let manifest = fs::read_to_string(here("package.json")).unwrap();
        let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
        let pinned = manifest["dependencies"].as_object().unwrap().iter();
        let packages: Vec<String> =
            pinned.map(|(name, version)| format!("{name}@{}", version.as_str().unwrap())).collect();
        let packages: Vec<&str> = packages.iter().map(String::as_str).collect();
        Self {
            python: venv.join("bin/python"),
            node: setup::node22().unwrap(),
            npm: setup::npm_project("verifiers", &packages).unwrap(),
        }
    }

    /// Whether a verifier accepts the log, and what it said. `old` is a checkpoint seen earlier.
    fn accepts(
        &self,
        verifier: Verifier,
        log: &Log,
        index: usize,
        old: Option<&Path>,
    ) -> (bool, String) {
        let mut command = match verifier {
            Ours => Command::new(support::PROGRAM),
            Aics | Metamorphic => Command::new(&self.python),
            Sigstore => Command::new(&self.node),
        };
        match verifier {
            Ours => {
                command.arg("verify").arg(&log.tiles).arg("--key").arg(&log.key);
                if let Some(old) = old {
                    command.arg("--remembered").arg(old);
                }
                return ended(&mut command);
            }
            Aics => command.arg(here("aics.py")),
            Metamorphic => command.arg(here("metamorphic.py")),
            Sigstore => command.arg(here("sigstore.mjs")).current_dir(&self.npm),
        };
        command.arg(&log.tiles).arg(&log.key).arg(index.to_string()).args(old);
        ended(&mut command)
    }

    fn all_accept(&self, log: &Log, index: usize, old: Option<&Path>) {
        for verifier in ALL {
            let (is_accepted, said) = self.accepts(verifier, log, index, old);
            assert!(is_accepted, "{verifier:?}, entry {index}: {said}");
        }
    }

    fn rejected_by(&self, by: &[Verifier], log: &Log, index: usize, old: Option<&Path>) {
        for verifier in by {
            let (is_accepted, said) = self.accepts(*verifier, log, index, old);
            assert!(!is_accepted && said.contains("rejected"), "{verifier:?}: {said}");
        }
    }
}

fn here(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/verifiers").join(file)
}

/// An exported log.
struct Log {
    tiles: PathBuf,
    key: PathBuf,
    size: usize,
}

impl Log {
    fn export(world: &World, name: &str) -> Self {
        let tiles = world.gate.directory().join(name);
        world.gate.command(&["export", tiles.to_str().unwrap()]).unwrap();
        Self::at(tiles, world.gate.state().join("log.vkey"))
    }

    /// That of a tenant, with its key as the gate says it.
    fn of_tenant(world: &World, name: &str, tenant: &str) -> Self {
        let tiles = world.gate.directory().join(name);
        let export = ["export", tiles.to_str().unwrap(), "--tenant", tenant];
        let said = world.gate.command(&export).unwrap();
        let key = tiles.with_extension("vkey");
        fs::write(&key, said.trim_end().rsplit(' ').next().unwrap()).unwrap();
        Self::at(tiles, key)
    }

    fn at(tiles: PathBuf, key: PathBuf) -> Self {
        let size = read_entries(&tiles).len();
        Self { tiles, key, size }
    }

    /// A copy, to be tampered with.
    fn copy(&self, name: &str) -> Self {
        let tiles = self.tiles.with_file_name(name);
        assert!(
            Command::new("cp").arg("-r").args([&self.tiles, &tiles]).status().unwrap().success()
        );
        Self { tiles, key: self.key.clone(), size: self.size }
    }

    fn checkpoint(&self) -> PathBuf {
        self.tiles.join("checkpoint")
    }

    fn change(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = fs::read(self.tiles.join(path)).unwrap();
        change(&mut bytes);
        fs::write(self.tiles.join(path), bytes).unwrap();
    }
}

fn call_some(world: &World) {
    let mut alice = world.alice();
    for round in 0..CALLS {
        let answer = match round % 3 {
            0 => alice.call("danger", json!({})),
            _ => alice.call("echo", json!({"text": "x"})),
        };
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

#[test]
fn other_peoples_verifiers_accept_the_log_and_reject_a_tampered_one() {
    let verifiers = Verifiers::install();
    let world = World::started();
    call_some(&world);
    let before = Log::export(&world, "before");
    call_some(&world);
    let log = Log::export(&world, "log");
    assert!(before.size > 256 && log.size > before.size + CALLS);

    for index in [0, 255, 256, before.size, log.size - 1] {
        verifiers.all_accept(&log, index, Some(&before.checkpoint()));
    }
    one_flipped_byte(&verifiers, &log);
    a_forged_entry_with_a_matching_tile(&verifiers, &log);
    a_truncated_tail(&verifiers, &before, &log);
    somebody_elses_signature(&verifiers, &log);
    one_entrys_proof(&world, &log);
}

#[test]
fn they_do_the_same_with_the_log_of_a_tenant() {
    let verifiers = Verifiers::install();
    let tenants = Tenants::started();
    let call_some = || {
        for round in 0..CALLS {
            let tenant = if round % 2 == 0 { "acme" } else { "globex" };
            assert_eq!(tenants.call(tenant).code(), "");
        }
    };
    call_some();
    let before = Log::of_tenant(&tenants.world, "before", "acme");
    call_some();
    let log = Log::of_tenant(&tenants.world, "log", "acme");
    assert!(before.size > 256 && log.size == before.size + CALLS);
    for index in [0, 255, 256, before.size, log.size - 1] {
        verifiers.all_accept(&log, index, Some(&before.checkpoint()));
    }
    one_flipped_byte(&verifiers, &log);
    a_forged_entry_with_a_matching_tile(&verifiers, &log);
    a_truncated_tail(&verifiers, &before, &log);
    // Nor is the log of another tenant, which the same key has signed, taken for it.
    let other = Log::of_tenant(&tenants.world, "other", "globex");
    let other = Log { key: log.key.clone(), ..other };
    verifiers.rejected_by(&ALL, &other, 0, None);
}

/// In an entry, in a tile of hashes, in the signed head.
fn one_flipped_byte(verifiers: &Verifiers, log: &Log) {
    let entry = log.copy("flipped-entry");
    entry.change(&bundle_path(0, log.size), |bytes| bytes[20] ^= 1);
    verifiers.rejected_by(&ALL, &entry, 0, None);

    let tile = log.copy("flipped-tile");
    tile.change(Path::new("tile/0/000"), |bytes| bytes[20] ^= 1);
    verifiers.rejected_by(&[Ours, Aics], &tile, 0, None);

    let head = log.copy("flipped-head");
    head.change(Path::new("checkpoint"), |bytes| {
        let root =
            bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(1).unwrap().0 + 1;
        bytes[root] = if bytes[root] == b'A' { b'B' } else { b'A' };
    });
    verifiers.rejected_by(&ALL, &head, 0, None);
}

/// The forger has changed an entry and the hash that stands for it, and cannot sign a head over
/// both.
fn a_forged_entry_with_a_matching_tile(verifiers: &Verifiers, log: &Log) {
    let forged = log.copy("forged");
    let entry = read_entries(&log.tiles).swap_remove(5);
    let text = String::from_utf8(entry.clone()).unwrap();
    // As long as before, so that the rest of the bundle stays in place.
    let other = text.replacen("\"agent\":\"bot\"", "\"agent\":\"b0t\"", 1);
    let other = if other == text { text.replacen("succeeded", "truncated", 1) } else { other };
    assert!(other != text && other.len() == text.len(), "{text}");
    forged.change(&bundle_path(0, log.size), |bytes| {
        let at = bytes.windows(entry.len()).position(|window| window == entry).unwrap();
        bytes[at..at + entry.len()].copy_from_slice(other.as_bytes());
    });
    let leaf = [&[0], other.as_bytes()].concat();
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &leaf);
    forged.change(Path::new("tile/0/000"), |bytes| {
        bytes[5 * 32..6 * 32].copy_from_slice(hash.as_ref());
    });
    // The matching tile is not enough for those who look at it, nor for those who do not.
    verifiers.rejected_by(&ALL, &forged, 5, None);
    verifiers.rejected_by(&[Ours, Aics], &forged, 0, None);
}

/// The shorter log is sound in itself; only who remembers the longer one can tell.
fn a_truncated_tail(verifiers: &Verifiers, before: &Log, log: &Log) {
    verifiers.all_accept(before, 0, None);
    verifiers.rejected_by(&ALL, before, 0, Some(&log.checkpoint()));
}

fn somebody_elses_signature(verifiers: &Verifiers, log: &Log) {
    let other = World::started();
    let other = Log { key: log.key.clone(), ..Log::export(&other, "other") };
    verifiers.rejected_by(&ALL, &other, 0, None);
}

/// One entry with its proof, in one file, for somebody who gets nothing else.
fn one_entrys_proof(world: &World, log: &Log) {
    let proof = world.gate.command(&["export", "--proof", "5"]).unwrap();
    let check = |text: &str| {
        let file = world.gate.directory().join("proof");
        fs::write(&file, text).unwrap();
        let mut command = Command::new(support::PROGRAM);
        ended(command.arg("verify").arg("--proof").arg(file).arg("--key").arg(&log.key))
    };
    let (is_good, said) = check(&proof);
    assert!(is_good && said.contains("verified entry 5 "), "{said}\n{proof}");
    let entry = read_entries(&log.tiles).swap_remove(5);
    assert!(said.contains(&String::from_utf8(entry).unwrap()), "{said}");
    let changed = proof.replacen("index 5", "index 6", 1);
    assert_ne!(changed, proof);
    assert!(!check(&changed).0, "{changed}");
}
