//! Plain text, and how bytes become characters.

use super::page::Page;
use super::{BlockKind, FindingKind, FormatError, Parsed};
use std::borrow::Cow;

/// Bytes that are no characters, of a thousand, beyond which it is no text.
const BROKEN_PER_MILLE_MAX: usize = 100;

/// Reads plain text: paragraphs are what stands between empty lines.
pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, FormatError> {
    let mut page = Page::default();
    let text = decode(bytes, None, &mut page)?;
    paragraphs(&text, &mut page)?;
    page.finish()
}

/// Writes paragraphs.
pub(super) fn paragraphs(text: &str, page: &mut Page) -> Result<(), FormatError> {
    let mut is_open = false;
    for line in lines(text) {
        if line.trim().is_empty() {
            is_open = false;
            continue;
        }
        if !is_open {
            page.open(BlockKind::Paragraph)?;
            is_open = true;
        } else {
            page.line_end()?;
        }
        page.verbatim(line.trim_end())?;
    }
    page.close()
}

/// The lines of a text, however they end.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.split('\n').flat_map(|line| line.strip_suffix('\r').unwrap_or(line).split('\r'))
}

/// Characters of bytes: by their mark, as `charset` says, as UTF-8.
///
/// What is no UTF-8 and does not say what it is is read as Windows-1252, which has a character for
/// nearly every byte, if it has no bytes that text does not have.
pub(super) fn decode<'a>(
    bytes: &'a [u8],
    charset: Option<&str>,
    page: &mut Page,
) -> Result<Cow<'a, str>, FormatError> {
    let marked = encoding_rs::Encoding::for_bom(bytes).map(|(encoding, _)| encoding);
    let named = charset.and_then(|name| encoding_rs::Encoding::for_label(name.trim().as_bytes()));
    let is_utf8 = || std::str::from_utf8(bytes).is_ok();
    let encoding = match (marked, named) {
        (Some(marked), _) => marked,
        (None, Some(named)) => named,
        (None, None) if !is_utf8() && is_single_bytes(bytes) => encoding_rs::WINDOWS_1252,
        (None, None) => encoding_rs::UTF_8,
    };
    let (text, used, is_broken) = encoding.decode(bytes);
    if bytes.contains(&0) && !matches!(used.name(), "UTF-16LE" | "UTF-16BE") {
        return Err(FormatError::malformed("text", "it has bytes that no text has"));
    }
    if is_broken {
        let broken = text.chars().filter(|it| *it == '\u{fffd}').count();
        if broken.saturating_mul(1000) > text.len().saturating_mul(BROKEN_PER_MILLE_MAX) {
            return Err(FormatError::malformed("text", "most of it is no characters"));
        }
        page.find(FindingKind::Broken, &format!("{broken} characters that {} lacks", used.name()));
    }
    Ok(text)
}

/// Whether bytes could be text of one byte a character: without control characters.
fn is_single_bytes(bytes: &[u8]) -> bool {
    let is_control = |byte: &u8| *byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r' | 0x0c);
    let high = bytes.iter().filter(|byte| **byte >= 0x80).count();
    !bytes.iter().any(is_control) && high.saturating_mul(2) < bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Parsed {
        parse(bytes).unwrap()
    }

    #[test]
    fn paragraphs_stand_between_empty_lines() {
        let parsed = read(b"one\r\ntwo\n\n\n  three\rfour\n");
        assert_eq!(parsed.text, "one\ntwo\n\n  three\nfour");
        assert_eq!(parsed.blocks.len(), 2);
    }

    #[test]
    fn bytes_become_characters() {
        assert_eq!(read("Gr\u{fc}\u{df}e".as_bytes()).text, "Grüße");
        assert_eq!(read(b"Gr\xfc\xdfe aus").text, "Grüße aus");
        assert_eq!(read(b"\xff\xfeG\0r\0").text, "Gr");
        assert_eq!(read(b"\xef\xbb\xbfGr").text, "Gr");
        assert!(parse(b"\x7fELF\0\0\0").is_err());
        assert!(parse(&[0xff; 200]).is_err());
    }
}
