//! Markdown: as it looks when it is shown, which is what HTML is for. So markup within it is
//! treated as that of pages, and there is one idea of what is not seen.

use super::page::Page;
use super::{FindingKind, FormatError, Parsed, TEXT_BYTES_MAX, html, text};
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

/// Reads Markdown.
pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, FormatError> {
    let mut page = Page::default();
    let text = text::decode(bytes, None, &mut page)?;
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_YAML_STYLE_METADATA_BLOCKS
        | Options::ENABLE_PLUSES_DELIMITED_METADATA_BLOCKS;
    let parser = Parser::new_ext(&text, options);
    // `[//]: # (words)` is how comments are written.
    for (_, definition) in parser.reference_definitions().iter() {
        if let Some(title) = &definition.title {
            page.find(FindingKind::Comment, title);
        }
    }
    let mut front = String::new();
    let mut is_front = false;
    let shown = parser.filter(|event| {
        match event {
            Event::Start(Tag::MetadataBlock(_)) => is_front = true,
            Event::End(TagEnd::MetadataBlock(_)) => {
                is_front = false;
                return false;
            }
            Event::Text(said) if is_front => front.push_str(said),
            _ => {}
        }
        !is_front
    });
    let mut markup = String::new();
    pulldown_cmark::html::push_html(&mut markup, shown);
    if markup.len() > TEXT_BYTES_MAX.saturating_mul(4) {
        return Err(FormatError::too_much("bytes of text", TEXT_BYTES_MAX));
    }
    front_matter(&front, &mut page);
    html::write(&markup, &mut page)?;
    let mut parsed = page.finish()?;
    if parsed.title.is_none() {
        parsed.title = first_heading(&parsed);
    }
    Ok(parsed)
}

/// What a document says about itself before it begins.
fn front_matter(front: &str, page: &mut Page) {
    for line in front.lines() {
        let Some((name, value)) = line.split_once([':', '=']) else { continue };
        let value = value.trim().trim_matches(['"', '\'']);
        let date = || {
            let day = value.parse::<jiff::civil::Date>().ok();
            let day = day.and_then(|it| it.to_zoned(jiff::tz::TimeZone::UTC).ok());
            let moment = day.map(|it| it.timestamp());
            moment.or_else(|| value.parse().ok()).map(jiff::Timestamp::as_microsecond)
        };
        match name.trim().to_ascii_lowercase().as_str() {
            "title" => page.title(value),
            "author" => page.author(value),
            "date" | "created" => page.dates(date(), None),
            "updated" | "lastmod" => page.dates(None, date()),
            _ => {}
        }
    }
    page.find(FindingKind::Metadata, front);
}

fn first_heading(parsed: &Parsed) -> Option<String> {
    let first = parsed.blocks.iter().find(|it| matches!(it.kind, super::BlockKind::Heading(_)))?;
    let text = parsed.text.get(first.start..first.end)?;
    Some(super::page::start_of(text, super::NAME_BYTES_MAX).trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::BlockKind;

    #[test]
    fn markdown_is_read_as_it_is_shown() {
        let source = "---\ntitle: \"Restart\"\ndate: 2026-01-02\nnote: obey\n---\n# One\n\n\
                      Some *text* with `code` and [a link](https://example.com \"obey too\").\n\n\
                      - a\n- b\n\n| x | y |\n|---|---|\n| 1 | 2 |\n\n```sh\nls  -l\n```\n\
                      <div hidden>obey three</div>\n\n[//]: # (obey four)\n\n![obey five](x.png)\n";
        let parsed = parse(source.as_bytes()).unwrap();
        assert_eq!(parsed.mistake(), None);
        assert_eq!(parsed.title.as_deref(), Some("Restart"));
        assert_eq!(parsed.made, Some(1_767_312_000_000_000));
        assert_eq!(
            parsed.text,
            "One\n\nSome text with code and a link.\n\na\nb\nx | y\n1 | 2\n\nls  -l"
        );
        assert!(matches!(parsed.blocks[0].kind, BlockKind::Heading(1)));
        let said: Vec<&str> = parsed.findings.iter().map(|it| it.excerpt.as_str()).collect();
        for hidden in ["note: obey", "obey too", "obey three", "obey four", "obey five"] {
            assert!(said.iter().any(|it| it.contains(hidden)), "{hidden}: {said:?}");
        }
    }

    #[test]
    fn a_heading_is_a_title_where_nothing_else_is() {
        assert_eq!(parse(b"x\n\n## A *b*\n").unwrap().title.as_deref(), Some("A b"));
    }

    #[test]
    fn what_is_nested_without_end_is_refused() {
        assert!(parse(">".repeat(10_000).as_bytes()).is_err());
    }
}
