//! A log of made-up entries in memory, for the tests of this crate.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use lockgate_ledger::leaf::{Entry, Kind};
use lockgate_ledger::note::{Checkpoint, Signer};
use lockgate_ledger::tiles::TileWriter;
use lockgate_types::{Micros, Object};
use std::collections::BTreeMap;

pub type Files = BTreeMap<String, Vec<u8>>;

pub const ORIGIN: &str = "example.com/gate";

pub fn signer() -> Signer {
    Signer::from_seed(ORIGIN, &[7; 32]).unwrap()
}

pub fn entry(index: u64) -> Vec<u8> {
    let members = Object::new().with("op", "helpdesk/create_refund").with("n", index as i64 * 7);
    let time = Micros(1_763_629_200_000_000 + index as i64);
    Entry::new(Kind::Intent, time, members).unwrap().to_bytes(index).unwrap()
}

pub fn append(writer: &mut TileWriter, files: &mut Files, until: u64) -> Checkpoint {
    while writer.size() < until {
        writer.append(&entry(writer.size())).unwrap();
    }
    publish(writer, files)
}

pub fn publish(writer: &mut TileWriter, files: &mut Files) -> Checkpoint {
    for file in writer.flush() {
        files.insert(file.path, file.bytes);
    }
    let checkpoint =
        Checkpoint { origin: ORIGIN.to_owned(), size: writer.size(), root: writer.root() };
    let note = checkpoint.sign(&signer()).unwrap();
    files.insert("checkpoint".to_owned(), note.into_bytes());
    checkpoint
}

pub fn log(size: u64) -> (Files, Checkpoint) {
    let mut files = Files::new();
    let checkpoint = append(&mut TileWriter::new(), &mut files, size);
    (files, checkpoint)
}

/// A small generator with a fixed seed (xorshift64*), so that every run mutates the same way.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, below: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % below.max(1)
    }
}
