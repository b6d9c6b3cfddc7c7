//! What documents are made of: formats that anybody may have written.
//!
//! PDF files are not among them: their parser is other people's, panics, and runs in a process of
//! its own (`crates/retrieval/tests/hostile.rs`).

use lockgate_retrieval::cut::{Sizes, cut};
use lockgate_retrieval::format::{Format, Parsed, Rows, parse};
use lockgate_retrieval::quality::{Look, Watch};

fn read(format: Format, bytes: &[u8], rows: &Rows) -> bool {
    let Ok(page) = parse(format, bytes, rows) else { return false };
    assert_eq!(page.mistake(), None);
    assert_eq!(parse(format, bytes, rows).as_ref(), Ok(&page), "another text of the same bytes");
    check(&page);
    true
}

/// Chunks are in order, apart, whole characters, and all of the text.
fn check(page: &Parsed) {
    let chunks = cut(&page.text, &page.blocks, Sizes::default()).unwrap_or_default();
    let (mut end, mut said) = (0, String::new());
    for (from, to) in chunks {
        assert!(from >= end && to > from);
        said.push_str(page.text.get(from..to).unwrap_or("half a character"));
        end = to;
    }
    let bare = |text: &str| text.split_whitespace().collect::<String>();
    assert_eq!(bare(&said), bare(&page.text));
    let is_unseen = |it: char| ('\u{e0000}'..='\u{e007f}').contains(&it) || it == '\u{202e}';
    assert!(!page.text.contains(is_unseen));
    Look::at(page, &Watch::default());
    page.beneath.iter().for_each(|it| check(&it.page));
}

/// Markdown.
pub fn markdown(bytes: &[u8]) -> bool {
    read(Format::Markdown, bytes, &Rows::default())
}

/// Pages.
pub fn html(bytes: &[u8]) -> bool {
    read(Format::Html, bytes, &Rows::default())
}

/// Texts of Word.
pub fn docx(bytes: &[u8]) -> bool {
    read(Format::Docx, bytes, &Rows::default())
}

/// Tables, with a field of its own and without.
pub fn table(bytes: &[u8]) -> bool {
    let format =
        if bytes.starts_with(b"[") || bytes.starts_with(b"{") { Format::Json } else { Format::Csv };
    let own = ["pay".to_owned()].into_iter().collect();
    let rows = Rows { key: Some("id".to_owned()), title: None, own };
    let with = read(format, bytes, &rows);
    read(format, bytes, &Rows::default()) || with
}

/// Messages.
pub fn mail(bytes: &[u8]) -> bool {
    read(Format::Mail, bytes, &Rows::default())
}
