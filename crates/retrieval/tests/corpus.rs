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
#[path = "../../../fuzz/src/documents.rs"]
#[expect(unreachable_pub, reason = "there it is a module of a library")]
mod targets;

use corpus::Target;

const TARGETS: &[Target] = &[
    Target { name: "markdown", run: targets::markdown, mutations: 1_500 },
    Target { name: "html", run: targets::html, mutations: 1_500 },
    Target { name: "docx", run: targets::docx, mutations: 3_000 },
    Target { name: "table", run: targets::table, mutations: 3_000 },
    Target { name: "mail", run: targets::mail, mutations: 1_500 },
];

/// Pieces in which these formats go wrong.
const PIECES: &[&[u8]] = &[
    b" ",
    b"\n",
    b"\r\n",
    b"\0",
    b"<",
    b">",
    b"</",
    b"<!--",
    b"-->",
    b"<p hidden>",
    b"<td>",
    b"<pre>",
    b"<style>p{display:none}",
    b" style='color:#fff'",
    b"&#x202e;",
    b"&amp",
    b"\"",
    b"'",
    b",",
    b";",
    b"[",
    b"](",
    b"{",
    b"}",
    b"```",
    b"---\n",
    b"> ",
    b"| ",
    b"# ",
    b"PK\x01\x02",
    b"PK\x05\x06",
    b"\xff\xff\xff\xff",
    b"<w:t>",
    b"<w:p/>",
    b"<w:vanish/>",
    b"--b\r\n",
    b"Content-Type: text/html\r\n",
    b"=?utf-8?q?=C3?=",
    "\u{e0069}".as_bytes(),
    "\u{202e}".as_bytes(),
    "\u{2028}".as_bytes(),
    "é".as_bytes(),
    b"\xc3",
];

#[test]
fn the_corpus_breaks_nothing() {
    corpus::the_corpus_breaks_nothing(TARGETS);
}

#[test]
fn mutations_of_the_corpus_break_nothing() {
    corpus::mutations_of_the_corpus_break_nothing(TARGETS, PIECES);
}
