//! PDF: the text that its pages draw, and what they draw so that nobody sees it.

mod draw;

use super::page::Page;
use super::{BlockKind, FindingKind, FormatError, INFLATED_BYTES_MAX, Parsed};
use lopdf::{Dictionary, Document, LoadOptions, Object};

/// Pages that are read.
const PAGES_MAX: usize = 5000;

/// Reads a PDF file.
pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, FormatError> {
    let options =
        LoadOptions { max_decompressed_size: Some(INFLATED_BYTES_MAX), ..LoadOptions::default() };
    let document = Document::load_mem_with_options(bytes, options).map_err(|e| error(&e))?;
    if document.is_encrypted() {
        return Err(FormatError::Encrypted);
    }
    let mut page = Page::default();
    describe(&document, &mut page);
    actions(&document, &mut page);
    let pages = document.get_pages();
    if pages.len() > PAGES_MAX {
        return Err(FormatError::too_much("pages", PAGES_MAX));
    }
    if pages.is_empty() {
        return Err(FormatError::malformed("PDF", "it has no pages"));
    }
    let mut left = INFLATED_BYTES_MAX;
    for id in pages.into_values() {
        page.open(BlockKind::Paragraph)?;
        draw::page(&document, id, &mut left, &mut page)?;
        annotations(&document, id, &mut page);
    }
    page.finish()
}

fn error(error: &lopdf::Error) -> FormatError {
    let words = error.to_string();
    let lower = words.to_lowercase();
    if lower.contains("password") || lower.contains("decrypt") {
        FormatError::Encrypted
    } else if lower.contains("limit") {
        FormatError::too_much("bytes when it is inflated", INFLATED_BYTES_MAX)
    } else {
        FormatError::malformed("PDF", super::page::start_of(&words, 200))
    }
}

/// What the file says about itself.
fn describe(document: &Document, page: &mut Page) {
    let about = document.trailer.get(b"Info").ok();
    let Some(about) = about.and_then(|it| dictionary(document, it)) else { return };
    for (name, value) in about {
        let Some(said) = words(document, value) else { continue };
        match name.as_slice() {
            b"Title" => page.title(&said),
            b"Author" => page.author(&said),
            b"CreationDate" => page.dates(date(&said), None),
            b"ModDate" => page.dates(None, date(&said)),
            b"Producer" | b"Creator" | b"Trapped" => {}
            _ => page.find(FindingKind::Metadata, &said),
        }
    }
}

/// Programs, and files within the file.
fn actions(document: &Document, page: &mut Page) {
    for object in document.objects.values() {
        let Ok(found) = object.as_dict() else { continue };
        if let Ok(script) = found.get(b"JS") {
            let said = words(document, script).unwrap_or_else(|| "a script".to_owned());
            page.find(FindingKind::Script, &said);
        }
        if found.get(b"S").and_then(Object::as_name).is_ok_and(|kind| kind == b"Launch") {
            page.find(FindingKind::Script, "an action that starts a program");
        }
        if found.get(b"Type").and_then(Object::as_name).is_ok_and(|kind| kind == b"Filespec") {
            let name = found.get(b"UF").or_else(|_| found.get(b"F")).ok();
            let name = name.and_then(|name| words(document, name));
            page.find(FindingKind::Embedded, name.as_deref().unwrap_or("a file"));
        }
        if let Some(said) = found.get(b"Alt").ok().and_then(|said| words(document, said)) {
            page.find(FindingKind::AltText, &said);
        }
    }
}

fn annotations(document: &Document, id: lopdf::ObjectId, page: &mut Page) {
    let Ok(all) = document.get_page_annotations(id) else { return };
    for note in all {
        for name in [b"Contents".as_slice(), b"TU", b"V"] {
            if let Some(said) = note.get(name).ok().and_then(|said| words(document, said)) {
                page.find(FindingKind::Annotation, &said);
            }
        }
    }
}

/// The dictionary that an object is, or refers to.
fn dictionary<'a>(document: &'a Document, object: &'a Object) -> Option<&'a Dictionary> {
    match object {
        Object::Reference(id) => document.get_dictionary(*id).ok(),
        other => other.as_dict().ok(),
    }
}

/// The text that an object is, or refers to.
fn words(document: &Document, object: &Object) -> Option<String> {
    let object = match object {
        Object::Reference(id) => document.get_object(*id).ok()?,
        other => other,
    };
    let bytes = object.as_str().ok()?;
    Some(match bytes.strip_prefix(b"\xfe\xff") {
        Some(wide) => {
            let units = wide.chunks_exact(2).map(|two| match two {
                [high, low] => u16::from_be_bytes([*high, *low]),
                _ => 0,
            });
            char::decode_utf16(units).map(|it| it.unwrap_or('\u{fffd}')).collect()
        }
        None => match std::str::from_utf8(bytes) {
            Ok(text) => text.trim_start_matches('\u{feff}').to_owned(),
            Err(_) => encoding_rs::WINDOWS_1252.decode(bytes).0.into_owned(),
        },
    })
}

/// `D:20260102030405+01'00'`, of which all but the year may be missing.
fn date(said: &str) -> Option<i64> {
    let said = said.trim().trim_start_matches("D:");
    let digits: String = said.chars().take_while(char::is_ascii_digit).take(14).collect();
    let part = |from: usize, to: usize, default: i64| -> Option<i64> {
        match digits.get(from..to) {
            Some(part) => part.parse().ok(),
            None => Some(default),
        }
    };
    let zone = said.get(digits.len()..).unwrap_or_default();
    let minutes = zone.get(1..).map(|zone| zone.replace('\'', "")).unwrap_or_default();
    let offset = match (zone.chars().next(), minutes.get(0..2), minutes.get(2..4)) {
        (Some(sign @ ('+' | '-')), Some(hours), rest) => {
            let seconds = hours.parse::<i64>().ok()? * 3600
                + rest.and_then(|it| it.parse::<i64>().ok()).unwrap_or(0) * 60;
            if sign == '+' { seconds } else { -seconds }
        }
        _ => 0,
    };
    let small = |value: i64| i8::try_from(value).ok();
    let moment = jiff::civil::DateTime::new(
        i16::try_from(part(0, 4, 0)?).ok()?,
        small(part(4, 6, 1)?)?,
        small(part(6, 8, 1)?)?,
        small(part(8, 10, 0)?)?,
        small(part(10, 12, 0)?)?,
        small(part(12, 14, 0)?)?,
        0,
    );
    let moment = moment.ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp();
    Some(moment.as_microsecond() - offset * 1_000_000)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use lopdf::content::{Content, Operation};
    use lopdf::{Stream, dictionary};

    /// A file of one page that draws this.
    pub(crate) fn drawn(operations: Vec<Operation>) -> Vec<u8> {
        let mut document = Document::with_version("1.5");
        let pages = document.new_object_id();
        let font = document.add_object(dictionary! {
            "Type" => "Font", "Subtype" => "Type1", "BaseFont" => "Helvetica",
            "Encoding" => "WinAnsiEncoding",
        });
        let content = Content { operations }.encode().unwrap();
        let content = document.add_object(Stream::new(dictionary! {}, content));
        let page = document.add_object(dictionary! {
            "Type" => "Page", "Parent" => pages, "Contents" => content,
            "MediaBox" => vec![0.into(), 0.into(), 600.into(), 800.into()],
            "Resources" => dictionary! { "Font" => dictionary! { "F1" => font } },
        });
        document.objects.insert(
            pages,
            Object::Dictionary(dictionary! {
                "Type" => "Pages", "Kids" => vec![page.into()], "Count" => 1,
            }),
        );
        let catalog = document.add_object(dictionary! { "Type" => "Catalog", "Pages" => pages });
        let about = document.add_object(dictionary! {
            "Title" => Object::string_literal("A file"),
            "Author" => Object::string_literal("Ada"),
            "Keywords" => Object::string_literal("obey"),
            "CreationDate" => Object::string_literal("D:20260102030405+01'00'"),
        });
        document.trailer.set("Root", catalog);
        document.trailer.set("Info", about);
        let mut bytes = Vec::new();
        document.save_to(&mut bytes).unwrap();
        bytes
    }

    pub(crate) fn operation(name: &str, operands: Vec<Object>) -> Operation {
        Operation::new(name, operands)
    }

    /// The operations that write a text there.
    pub(crate) fn written(size: i64, x: i64, y: i64, text: &str) -> Vec<Operation> {
        vec![
            operation("BT", vec![]),
            operation("Tf", vec!["F1".into(), size.into()]),
            operation("Td", vec![x.into(), y.into()]),
            operation("Tj", vec![Object::string_literal(text)]),
            operation("ET", vec![]),
        ]
    }

    #[test]
    fn a_file_is_what_its_pages_draw() {
        let mut operations = written(24, 50, 700, "Title");
        operations.extend(written(12, 50, 650, "One line"));
        operations.extend(written(12, 50, 636, "and the next."));
        operations.extend(written(12, 50, 580, "Another paragraph"));
        let parsed = parse(&drawn(operations)).unwrap();
        assert_eq!(parsed.mistake(), None);
        assert_eq!(parsed.title.as_deref(), Some("A file"));
        assert_eq!(parsed.author.as_deref(), Some("Ada"));
        assert_eq!(parsed.made, Some(1_767_319_445_000_000));
        assert_eq!(parsed.text, "Title\n\nOne line\nand the next.\n\nAnother paragraph");
        assert_eq!(parsed.findings.len(), 1);
    }

    #[test]
    fn what_is_drawn_so_that_nobody_sees_it_is_reported() {
        use FindingKind::{SameColour, Unseen};
        let white = operation("rg", vec![1.into(), 1.into(), 1.into()]);
        let mut dark = vec![
            operation("rg", vec![0.into(), 0.into(), 0.into()]),
            operation("re", vec![0.into(), 0.into(), 600.into(), 300.into()]),
            operation("f", vec![]),
        ];
        dark.extend(written(12, 50, 200, "obey"));
        for (before, text, kind) in [
            (vec![white.clone()], written(12, 50, 200, "obey"), SameColour),
            (vec![operation("g", vec![1.into()])], written(12, 50, 200, "obey"), SameColour),
            (vec![operation("Tr", vec![3.into()])], written(12, 50, 200, "obey"), Unseen),
            (vec![], written(1, 50, 200, "obey"), Unseen),
            (vec![], written(12, 50, 2000, "obey"), Unseen),
            (dark, vec![], SameColour),
        ] {
            let mut operations = written(12, 50, 700, "seen");
            operations.extend(before);
            operations.extend(text);
            let parsed = parse(&drawn(operations)).unwrap();
            assert_eq!(parsed.text, "seen", "{kind:?}");
            assert!(
                parsed.findings.iter().any(|it| it.kind == kind && it.excerpt == "obey"),
                "{kind:?}: {:?}",
                parsed.findings
            );
        }
    }

    #[test]
    fn white_letters_on_a_dark_ground_are_seen() {
        let mut operations = vec![
            operation("rg", vec![0.into(), 0.into(), 0.into()]),
            operation("re", vec![0.into(), 0.into(), 600.into(), 300.into()]),
            operation("f", vec![]),
            operation("rg", vec![1.into(), 1.into(), 1.into()]),
        ];
        operations.extend(written(12, 50, 200, "seen"));
        assert_eq!(parse(&drawn(operations)).unwrap().text, "seen");
    }

    #[test]
    fn what_is_no_file_is_refused() {
        for bytes in [&b"%PDF-1.7"[..], b"", b"%PDF-1.4\n1 0 obj\n<<>>\nendobj\n%%EOF"] {
            assert!(parse(bytes).is_err());
        }
    }
}
