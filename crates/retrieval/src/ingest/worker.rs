//! The process in which hostile documents are read, seen from within: it gives everything up, says
//! by what it is held, and then answers requests until its input ends.
//!
//! A request is a head in JSON and the document's bytes; an answer is JSON. Each has its length
//! before it. What goes wrong in a parser (a panic, a stack that overflows, memory that is not to
//! be had) ends the process: whoever started it sees that, and starts another one.

use super::confine::{Confinement, MEMORY_BYTES_MAX, confine};
use crate::format::{DOCUMENT_BYTES_MAX, Format, FormatError, Parsed, Rows, parse};
use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};
use std::process::ExitCode;

/// Bytes of the head of a request.
pub(super) const HEAD_BYTES_MAX: usize = 256 << 10;
/// Bytes of an answer: text in JSON can be several times as long as it is.
pub(super) const ANSWER_BYTES_MAX: usize = 64 << 20;
/// Documents that one process reads before another takes its place.
pub const DOCUMENTS_PER_PROCESS_MAX: usize = 64;
/// Seconds of processor time of one process.
pub const PROCESSOR_SECONDS_MAX: u64 = 120;

/// What is asked of a process: the document's bytes follow.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) format: Format,
    pub(super) rows: Rows,
}

/// What it answers.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer {
    Page(Box<Parsed>),
    Refused(FormatError),
}

/// The whole life of the process: to be called first thing, before anything is opened.
pub fn main() -> ExitCode {
    let confinement = confine(MEMORY_BYTES_MAX, PROCESSOR_SECONDS_MAX);
    match serve(confinement, &mut io::stdin().lock(), &mut io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Says by what it is held, and answers until the input ends.
fn serve(confinement: Confinement, input: &mut dyn Read, output: &mut dyn Write) -> io::Result<()> {
    write_frame(output, &serde_json::to_vec(&confinement)?)?;
    for _ in 0..DOCUMENTS_PER_PROCESS_MAX {
        let Some(head) = read_frame(input, HEAD_BYTES_MAX)? else { return Ok(()) };
        let head: Head = serde_json::from_slice(&head)?;
        let Some(bytes) = read_frame(input, DOCUMENT_BYTES_MAX)? else { return Ok(()) };
        let answer = match parse(head.format, &bytes, &head.rows) {
            Ok(page) => Answer::Page(Box::new(page)),
            Err(error) => Answer::Refused(error),
        };
        drop(bytes);
        write_frame(output, &serde_json::to_vec(&answer)?)?;
    }
    Ok(())
}

/// Writes bytes with their length before them.
pub(super) fn write_frame(output: &mut dyn Write, bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    output.write_all(&length.to_be_bytes())?;
    output.write_all(bytes)?;
    output.flush()
}

/// Reads bytes with their length before them. `None`: the input has ended.
pub(super) fn read_frame(input: &mut dyn Read, bytes_max: usize) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match input.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > bytes_max {
        return Err(io::ErrorKind::InvalidData.into());
    }
    // As much as comes, not as much as is announced.
    let mut bytes = Vec::new();
    input.take(u64::try_from(length).unwrap_or(u64::MAX)).read_to_end(&mut bytes)?;
    if bytes.len() < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some(bytes))
}
