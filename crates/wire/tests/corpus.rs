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
#[path = "../../../fuzz/src/model.rs"]
#[expect(unreachable_pub, reason = "there it is a module of a library")]
mod model;
#[path = "../../../fuzz/src/wire.rs"]
#[expect(unreachable_pub, reason = "there it is a module of a library")]
mod targets;

use corpus::Target;

const TARGETS: &[Target] = &[
    Target { name: "json", run: targets::json, mutations: 20_000 },
    Target { name: "message", run: targets::message, mutations: 20_000 },
    Target { name: "model_body", run: model::model_body, mutations: 20_000 },
    Target { name: "model_stream", run: model::model_stream, mutations: 10_000 },
    Target { name: "sse", run: targets::sse, mutations: 20_000 },
    Target { name: "stateless_headers", run: targets::stateless_headers, mutations: 20_000 },
];

/// Pieces in which these formats go wrong.
const PIECES: &[&[u8]] = &[
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b"\\",
    b"\\u0000",
    b"\\ud800",
    b",",
    b":",
    b"\n",
    b"\r",
    b"\n\n",
    b" ",
    b"\t",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\0",
    b"0",
    b"-",
    b"1e9",
    b".0",
    b"null",
    b"true",
    b"{}",
    b"\"id\":",
    b"\"method\":",
    b"\"tools/call\"",
    b"\"params\":",
    b"\"result\":",
    b"\"error\":",
    b"\"Name\":",
    b"\"_meta\":",
    b"\"name\":",
    b"data:",
    b"id:",
    b"retry:",
    b"=?base64?",
    b"?=",
    b"Mcp-Name:",
    b"mcp-param-a:",
    b"\"x-mcp-header\":",
    b"secret",
    b"\"content\":",
    b"\"delta\":",
    b"\"tool_calls\":[{\"index\":1,\"function\":{\"name\":\"a\"}}],",
    b"\"finish_reason\":\"stop\"",
    b"\"type\":\"tool_use\"",
    b"\"type\":\"function_call\"",
    b"\"index\":1",
    b"\"output_index\":1",
    b"data: [DONE]\n\n",
    b"data: {\"type\":\"content_block_stop\",\"index\":0}\n\n",
];

#[test]
fn the_corpus_breaks_nothing() {
    corpus::the_corpus_breaks_nothing(TARGETS);
}

#[test]
fn mutations_of_the_corpus_break_nothing() {
    corpus::mutations_of_the_corpus_break_nothing(TARGETS, PIECES);
}
