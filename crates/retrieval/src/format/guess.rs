//! What a document is.

use super::Format;

/// Bytes that are looked at.
const LOOKED_AT_MAX: usize = 1024;

/// By what it begins with, then by what its source says, then by its name.
pub(super) fn format(name: &str, media_type: Option<&str>, bytes: &[u8]) -> Option<Format> {
    let start = bytes.get(..bytes.len().min(LOOKED_AT_MAX)).unwrap_or(bytes);
    // A PDF may have other bytes before its head, and is one for every program that opens it.
    if start.windows(5).any(|five| five == b"%PDF-") {
        return Some(Format::Pdf);
    }
    let by_name = extension(name);
    if start.starts_with(b"PK\x03\x04") || start.starts_with(b"PK\x05\x06") {
        let is_docx = by_name == Some(Format::Docx) || media_type.is_some_and(is_word);
        return is_docx.then_some(Format::Docx);
    }
    if by_name == Some(Format::Docx) || media_type.is_some_and(is_word) {
        // It is not what it says it is: its parser will say so.
        return Some(Format::Docx);
    }
    let by_type = media_type.and_then(of_type);
    match (by_type, by_name) {
        (Some(Format::Text), Some(named)) => Some(named),
        (Some(typed), _) => Some(typed),
        (None, Some(named)) => Some(named),
        (None, None) => None,
    }
}

fn is_word(media_type: &str) -> bool {
    essence(media_type) == "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
}

/// The type without its parameters, in lower case.
fn essence(media_type: &str) -> String {
    media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn of_type(media_type: &str) -> Option<Format> {
    Some(match essence(media_type).as_str() {
        "text/plain" => Format::Text,
        "text/markdown" | "text/x-markdown" => Format::Markdown,
        "text/html" | "application/xhtml+xml" => Format::Html,
        "application/pdf" => Format::Pdf,
        "text/csv" => Format::Csv,
        "application/json" | "application/x-ndjson" | "application/jsonl" => Format::Json,
        "message/rfc822" => Format::Mail,
        other if other.ends_with("+json") => Format::Json,
        _ => return None,
    })
}

/// What its name says it is.
pub(super) fn extension(name: &str) -> Option<Format> {
    let file = name.rsplit(['/', '\\']).next().unwrap_or(name);
    let (_, extension) = file.rsplit_once('.')?;
    Some(match extension.to_ascii_lowercase().as_str() {
        "txt" | "text" | "log" | "rst" | "adoc" => Format::Text,
        "md" | "markdown" => Format::Markdown,
        "html" | "htm" | "xhtml" => Format::Html,
        "pdf" => Format::Pdf,
        "docx" => Format::Docx,
        "csv" => Format::Csv,
        "json" | "jsonl" | "ndjson" => Format::Json,
        "eml" => Format::Mail,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_document_begins_with_counts_before_what_it_is_called() {
        for (name, media_type, bytes, expected) in [
            ("a.md", None, "x", Some(Format::Markdown)),
            ("a.txt", Some("application/pdf"), "%PDF-1.7", Some(Format::Pdf)),
            ("a.md", None, "junk %PDF-1.4", Some(Format::Pdf)),
            ("a.md", Some("text/plain; charset=utf-8"), "x", Some(Format::Markdown)),
            ("a", Some("text/html"), "x", Some(Format::Html)),
            ("a.docx", None, "PK\u{3}\u{4}", Some(Format::Docx)),
            ("a.docx", None, "x", Some(Format::Docx)),
            ("a.jar", None, "PK\u{3}\u{4}", None),
            ("a.txt", None, "PK\u{3}\u{4}", None),
            ("a.exe", None, "MZ", None),
            ("Makefile", None, "all:", None),
            ("q", Some("application/problem+json"), "{}", Some(Format::Json)),
        ] {
            assert_eq!(format(name, media_type, bytes.as_bytes()), expected, "{name}");
        }
    }
}
