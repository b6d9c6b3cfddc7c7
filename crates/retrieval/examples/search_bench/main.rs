//! What authorised search costs, and what it finds: the same chunks and questions for each way that
//! there is, where a thousandth, a hundredth, a tenth and all may be read. `cargo xtask bench
//! --retrieval` builds and runs it.
//!
//! Arguments: the number of chunks, the file that the figures go to, and `embedded` if that way
//! alone is wanted (at a million chunks all take half an hour). Of each way: ingestion, the time
//! until it can be asked after a start, memory, and for each share recall@10 of vectors against an
//! exact comparison of all that may be read, and the time of questions with words and vectors, one
//! at a time, filter and decisions included.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "it fails by panicking"
)]

mod beside;
mod embedded;
mod fleet;
mod made;
mod measure;
mod served;

use measure::Exact;
use serde_json::json;
use std::io::Write as _;

/// Whatever ends it.
pub(crate) type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let (Some(chunks), Some(out)) = (arguments.next(), arguments.next()) else {
        return Err("usage: search_bench CHUNKS OUT.json [embedded]".into());
    };
    let chunks: usize = chunks.parse()?;
    let exact = Exact::of(chunks);
    let mut ways = vec![embedded::run(chunks, &exact)?];
    if arguments.next().as_deref() != Some("embedded") {
        ways.push(fleet::run(chunks, &exact)?);
        ways.extend(beside::run(chunks, &exact)?);
    }
    let figures = json!({
        "chunks": chunks,
        "dimensions": made::DIMENSIONS,
        "rounds": measure::ROUNDS,
        "ways": ways,
    });
    Ok(std::fs::write(out, format!("{figures:#}\n"))?)
}

/// Says what is being done: it takes minutes.
pub(crate) fn progress(what: &str) {
    // Nobody may be listening.
    let _ = writeln!(std::io::stderr(), "search: {what}");
}
