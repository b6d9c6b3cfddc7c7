//! The fuzz targets of `fuzz/` that are about this crate, over their corpus and mutations of it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "../../../fuzz/src/corpus.rs"]
mod corpus;
#[path = "../../../fuzz/src/ledger.rs"]
#[expect(unreachable_pub, reason = "there it is a module of a library")]
mod targets;

use corpus::Target;

const TARGETS: &[Target] = &[
    Target { name: "entry", run: targets::entry, mutations: 20_000 },
    Target { name: "note", run: targets::note, mutations: 500 },
    Target { name: "proof", run: targets::proof, mutations: 500 },
    Target { name: "tile", run: targets::tile, mutations: 5_000 },
    Target { name: "changed_log", run: targets::changed_log, mutations: 100 },
];

/// Pieces in which these formats go wrong.
const PIECES: &[&[u8]] = &[
    b"\n",
    b"\n\n",
    "— ".as_bytes(),
    b"+",
    b"=",
    b" ",
    b"0",
    b"\0\0",
    b"\xff",
    b"\"v\":1",
    b"\"sq\":0",
    b"-0",
    b"1.0",
    b",",
    b"{}",
    b"x001/",
    b".p/",
    b"tile/",
    b"entries/",
    b"index ",
    b"extra ",
    b"\0\x01x",
    b"\x05\x01\0\0\0",
];

#[test]
fn the_corpus_breaks_nothing() {
    corpus::the_corpus_breaks_nothing(TARGETS);
}

#[test]
fn mutations_of_the_corpus_break_nothing() {
    corpus::mutations_of_the_corpus_break_nothing(TARGETS, PIECES);
}
