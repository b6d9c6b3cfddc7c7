//! A million times: does somebody find what they may not see? Random organisations change all the
//! time, and what everybody finds is compared with an oracle that decides each document alone.
//! Prints a line of JSON; fails at the first leak. The argument is the number of pairs.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "it fails by panicking"
)]

#[path = "../tests/search/organisation.rs"]
mod organisation;

use organisation::Organisation;
use std::error::Error;
use std::io::Write as _;
use std::time::Instant;

/// Pairs of a user and a document, unless the argument says otherwise.
const PAIRS: u64 = 1_000_000;
/// Changes of one organisation, and documents that it begins with.
const CHANGES: usize = 60;
const DOCUMENTS: usize = 120;

fn main() -> Result<(), Box<dyn Error>> {
    let wanted = std::env::args().nth(1).map_or(Ok(PAIRS), |pairs| pairs.parse())?;
    let (begun, mut pairs, mut seed) = (Instant::now(), 0, 0);
    while pairs < wanted {
        seed += 1;
        let directory = tempfile::tempdir()?;
        let mut organisation = Organisation::new(directory.path(), seed, DOCUMENTS);
        for _ in 0..CHANGES {
            organisation.change();
            pairs += organisation.check();
        }
    }
    let seconds = begun.elapsed().as_secs();
    let line = format!(
        "{{\"pairs\":{pairs},\"organisations\":{seed},\"leaks\":0,\"missed\":0,\
         \"seconds\":{seconds}}}\n"
    );
    std::io::stdout().write_all(line.as_bytes())?;
    Ok(())
}
