//! Every file of the corpus, and mutations of it from a fixed seed.
//!
//! Finds little that a night of `cargo fuzz` would not, but runs everywhere and every time. A
//! finding becomes a file of the corpus.

use std::path::{Path, PathBuf};

/// A fuzz target.
pub(crate) struct Target {
    /// Its name, and that of the folder with its corpus.
    pub(crate) name: &'static str,
    /// Says whether the bytes were accepted.
    pub(crate) run: fn(&[u8]) -> bool,
    /// How many mutations are tried.
    pub(crate) mutations: usize,
}

/// Runs every target over every file of its corpus.
pub(crate) fn the_corpus_breaks_nothing(targets: &[Target]) {
    for target in targets {
        for (file, bytes) in corpus(target.name) {
            let result = std::panic::catch_unwind(|| (target.run)(&bytes));
            assert!(result.is_ok(), "{}", file.display());
        }
    }
}

/// Runs every target over mutations of its corpus, with these pieces in which its format goes
/// wrong.
pub(crate) fn mutations_of_the_corpus_break_nothing(targets: &[Target], pieces: &[&[u8]]) {
    for (at, target) in targets.iter().enumerate() {
        let name = target.name;
        let seeds: Vec<Vec<u8>> = corpus(name).into_iter().map(|(_, bytes)| bytes).collect();
        let mut accepted = 0;
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15 ^ (at as u64 + 1));
        for round in 0..target.mutations {
            let mut bytes = seeds[dice.below(seeds.len())].clone();
            for _ in 0..=dice.below(4) {
                mutate(&mut bytes, &seeds, pieces, &mut dice);
            }
            match std::panic::catch_unwind(|| (target.run)(&bytes)) {
                Ok(is_accepted) => accepted += usize::from(is_accepted),
                Err(_) => panic!("{name}, round {round}: {}", bytes.escape_ascii()),
            }
        }
        // Mutations that are all refused at the door would test nothing behind it.
        assert!(accepted > target.mutations / 50, "{name}: only {accepted} were accepted");
    }
}

fn corpus(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(name);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{folder:?}: {e}"));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 6, "{folder:?} has hardly any files");
    files.into_iter().map(|file| (file.clone(), std::fs::read(file).unwrap())).collect()
}

fn mutate(bytes: &mut Vec<u8>, seeds: &[Vec<u8>], pieces: &[&[u8]], dice: &mut Dice) {
    let at = dice.below(bytes.len() + 1);
    let end = at + dice.below(bytes.len() - at + 1).min(24);
    match dice.below(7) {
        0 if at < bytes.len() => bytes[at] ^= 1 << dice.below(8),
        1 if at < bytes.len() => bytes[at] = u8::try_from(dice.below(256)).unwrap(),
        2 => drop(bytes.drain(at..end)),
        3 => {
            let copy = bytes[at..end].to_vec();
            bytes.splice(at..at, copy);
        }
        4 => {
            let other = &seeds[dice.below(seeds.len())];
            let from = dice.below(other.len() + 1);
            let tail = other[from..].to_vec();
            bytes.splice(at.., tail);
        }
        5 => bytes.truncate(at),
        _ => {
            let piece = pieces[dice.below(pieces.len())];
            bytes.splice(at..at, piece.iter().copied());
        }
    }
    bytes.truncate(8192);
}

/// xorshift64*: the same throws on every machine.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let throw = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(throw).unwrap() % bound
    }
}
