//! Archives, as office documents are: their directory, and one file at a time, inflated up to what
//! is left of a budget. What an archive says of sizes is not believed.

use super::{FormatError, INFLATED_BYTES_MAX};
use std::io::Read;

/// Files in one archive.
const FILES_MAX: usize = 4096;
/// Bytes at the end of a file in which an archive's directory is announced.
const END_BYTES_MAX: usize = 66_000;

const END: &[u8] = b"PK\x05\x06";
const ENTRY: &[u8] = b"PK\x01\x02";
const FILE: &[u8] = b"PK\x03\x04";

/// An archive whose directory was read.
pub(super) struct Zip<'a> {
    bytes: &'a [u8],
    files: Vec<File>,
    /// Bytes that may still be inflated.
    left: usize,
}

struct File {
    name: String,
    method: u16,
    packed: usize,
    at: usize,
}

impl<'a> Zip<'a> {
    /// Reads the directory.
    pub(super) fn open(bytes: &'a [u8]) -> Result<Self, FormatError> {
        let tail = bytes.len().saturating_sub(END_BYTES_MAX);
        let end = bytes.get(tail..).and_then(|it| it.windows(4).rposition(|four| four == END));
        let end = tail + end.ok_or_else(|| wrong("it has no directory"))?;
        let count = usize::from(number2(bytes, end + 10)?);
        let mut at = number4(bytes, end + 16)?;
        if count > FILES_MAX {
            return Err(FormatError::too_much("files in an archive", FILES_MAX));
        }
        let mut files = Vec::with_capacity(count);
        for _ in 0..count {
            let (file, next) = entry(bytes, at)?;
            files.push(file);
            at = next;
        }
        Ok(Self { bytes, files, left: INFLATED_BYTES_MAX })
    }

    /// The names of its files.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(|file| file.name.as_str())
    }

    /// The bytes of a file. `None`: there is none of that name.
    pub(super) fn read(&mut self, name: &str) -> Result<Option<Vec<u8>>, FormatError> {
        let mut same = self.files.iter().filter(|file| file.name == name);
        let Some(file) = same.next() else { return Ok(None) };
        if same.next().is_some() {
            // Which of them is meant, programs do not agree about.
            return Err(wrong("two of its files have one name"));
        }
        let at = file.at;
        if self.bytes.get(at..at.saturating_add(4)) != Some(FILE) {
            return Err(wrong("a file is not where its directory says"));
        }
        let name_bytes = usize::from(number2(self.bytes, at + 26)?);
        let extra_bytes = usize::from(number2(self.bytes, at + 28)?);
        let start = at.saturating_add(30 + name_bytes + extra_bytes);
        let packed = self.bytes.get(start..start.saturating_add(file.packed));
        let packed = packed.ok_or_else(|| wrong("a file ends before it should"))?;
        let unpacked = match file.method {
            0 => packed.get(..packed.len().min(self.left + 1)).unwrap_or(packed).to_vec(),
            8 => inflate(packed, self.left)?,
            _ => return Err(wrong("a file is packed in a way that is not read here")),
        };
        if unpacked.len() > self.left {
            return Err(FormatError::too_much("bytes when it is inflated", INFLATED_BYTES_MAX));
        }
        self.left -= unpacked.len();
        Ok(Some(unpacked))
    }
}

/// At most one byte more than there may be.
fn inflate(packed: &[u8], most: usize) -> Result<Vec<u8>, FormatError> {
    let mut unpacked = Vec::new();
    let most = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    let mut stream = flate2::read::DeflateDecoder::new(packed).take(most);
    stream.read_to_end(&mut unpacked).map_err(|_| wrong("a file cannot be inflated"))?;
    Ok(unpacked)
}

/// An entry of the directory, and where the next one begins.
fn entry(bytes: &[u8], at: usize) -> Result<(File, usize), FormatError> {
    if bytes.get(at..at.saturating_add(4)) != Some(ENTRY) {
        return Err(wrong("its directory is broken"));
    }
    let flags = number2(bytes, at + 8)?;
    if flags & 1 != 0 {
        return Err(FormatError::Encrypted);
    }
    let name_bytes = usize::from(number2(bytes, at + 28)?);
    let beside = usize::from(number2(bytes, at + 30)?) + usize::from(number2(bytes, at + 32)?);
    let name = bytes.get(at + 46..at + 46 + name_bytes);
    let name = name.ok_or_else(|| wrong("its directory is broken"))?;
    let file = File {
        name: String::from_utf8_lossy(name).into_owned(),
        method: number2(bytes, at + 10)?,
        packed: number4(bytes, at + 20)?,
        at: number4(bytes, at + 42)?,
    };
    Ok((file, at + 46 + name_bytes + beside))
}

fn wrong(why: &str) -> FormatError {
    FormatError::malformed("archive", why)
}

fn number2(bytes: &[u8], at: usize) -> Result<u16, FormatError> {
    let found = bytes.get(at..).and_then(|rest| rest.first_chunk::<2>());
    found.map(|two| u16::from_le_bytes(*two)).ok_or_else(|| wrong("its directory is broken"))
}

fn number4(bytes: &[u8], at: usize) -> Result<usize, FormatError> {
    let found = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>());
    let found = found.ok_or_else(|| wrong("its directory is broken"))?;
    usize::try_from(u32::from_le_bytes(*found)).map_err(|_| wrong("its directory is broken"))
}
