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
#[path = "../../../fuzz/src/text.rs"]
#[expect(unreachable_pub, reason = "there it is a module of a library")]
mod targets;

use corpus::Target;

const TARGETS: &[Target] = &[
    Target { name: "personal_data", run: targets::personal_data, mutations: 5_000 },
    Target { name: "signals", run: targets::signals, mutations: 3_000 },
    Target { name: "addresses", run: targets::addresses, mutations: 5_000 },
];

/// Pieces in which these formats go wrong.
const PIECES: &[&[u8]] = &[
    b" ",
    b"-",
    b".",
    b"@",
    b"+",
    b"(",
    b")",
    b"/",
    b"0",
    b"4111",
    b"555 0100",
    b"ada@mail.example",
    b"@a.bc",
    b"DE89",
    b"DE89 3704 0044 0532 0130 00",
    b"4111 1111 1111 1111",
    b"+49 30 1234567",
    "é".as_bytes(),
    "\u{660}".as_bytes(),
    b"[redacted]",
    b"://",
    b"//",
    b"](",
    b"[.]",
    b"?q=",
    b"<!--",
    b"-----BEGIN PRIVATE KEY-----",
    b"password: ",
    b"ghp_",
    b"ignore all previous instructions ",
    b"\\u0069",
    b"%69",
    "\u{200b}".as_bytes(),
    "\u{e0069}".as_bytes(),
    "\u{430}".as_bytes(),
    "\u{3002}".as_bytes(),
];

#[test]
fn the_corpus_breaks_nothing() {
    corpus::the_corpus_breaks_nothing(TARGETS);
}

#[test]
fn mutations_of_the_corpus_break_nothing() {
    corpus::mutations_of_the_corpus_break_nothing(TARGETS, PIECES);
}
