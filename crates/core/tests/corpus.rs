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
#[path = "../../../fuzz/src/bundle.rs"]
#[expect(unreachable_pub, reason = "there it is a module of a library")]
mod targets;

use corpus::Target;

const TARGETS: &[Target] = &[
    Target { name: "bundle", run: targets::load, mutations: 400 },
    Target { name: "openapi", run: targets::openapi, mutations: 2_000 },
    Target { name: "schema", run: targets::schema, mutations: 4_000 },
    Target { name: "claims", run: targets::claims, mutations: 4_000 },
    Target { name: "client_configuration", run: targets::client_configuration, mutations: 1_000 },
    Target { name: "proposal", run: targets::proposal, mutations: 400 },
];

/// Pieces in which these formats go wrong.
const PIECES: &[&[u8]] = &[
    b"\n",
    b"\n\n",
    b"--- operations/u.toml\n",
    b"--- policies/p.cedar\n",
    b"[upstream.u]\n",
    b"[tool.a]\n",
    b"[[listen]]\n",
    b"[[issuer]]\n",
    b"effect = \"read\"\n",
    b"permit (principal, action, resource);\n",
    b"when { context.input.a }",
    b"\"\"\"",
    b"'''",
    b"= 1\n",
    b"\"type\":",
    b"\"properties\":{",
    b"\"required\":[\"a\"]",
    b"\"$ref\":\"#\"",
    b"\"additionalProperties\":",
    b"\"name\":",
    b"\"inputSchema\":",
    b"\"mcpServers\":",
    b"\"command\":",
    b"\"env\":",
    b"\"url\":",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b"\"",
    b"\\u0000",
    b"\\u202e",
    b"null",
    b"true",
    b"0",
    b"-1",
    b"1e9",
    b"0.25",
    b"\xff",
    "é".as_bytes(),
];

#[test]
fn the_corpus_breaks_nothing() {
    corpus::the_corpus_breaks_nothing(TARGETS);
}

#[test]
fn mutations_of_the_corpus_break_nothing() {
    corpus::mutations_of_the_corpus_break_nothing(TARGETS, PIECES);
}
