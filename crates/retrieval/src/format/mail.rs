//! Messages: what a mail program shows, with attachments beneath.

use super::page::{Page, seen};
use super::{
    BENEATH_DEPTH_MAX, Beneath, BlockKind, FindingKind, Format, FormatError, Parsed, Rows, html,
    text, within,
};
use mail_parser::{Address, Message, MessageParser, MimeHeaders};
use std::collections::BTreeSet;

/// Attachments of one message.
const ATTACHMENTS_MAX: usize = 256;
/// Words of two versions of a text that both have, of a hundred, below which they differ.
const SAME_PERCENT_MIN: usize = 60;

/// Reads a message that lies that deep within others.
pub(super) fn parse(bytes: &[u8], rows: &Rows, depth: usize) -> Result<Parsed, FormatError> {
    let message = MessageParser::default().parse(bytes);
    let message = message.filter(|it| !it.headers().is_empty());
    let message = message.ok_or_else(|| FormatError::malformed("message", "it has no headers"))?;
    let mut page = Page::default();
    head(&message, &mut page)?;
    body(&message, &mut page)?;
    let mut names = BTreeSet::new();
    for (number, part) in message.attachments().enumerate() {
        if number >= ATTACHMENTS_MAX {
            return Err(FormatError::too_much("attachments", ATTACHMENTS_MAX));
        }
        let given = part.attachment_name().unwrap_or_default();
        let name = named(given, number, &mut names);
        let kind = part
            .content_type()
            .map(|it| format!("{}/{}", it.ctype(), it.subtype().unwrap_or_default()));
        let bytes = part.contents();
        let format = Format::of(&name, kind.as_deref(), bytes);
        let read = match format {
            _ if depth + 1 >= BENEATH_DEPTH_MAX => Err("it lies too deep".to_owned()),
            None => Err(FormatError::Unknown.to_string()),
            Some(format) => {
                within(format, bytes, rows, depth + 1).map_err(|error| error.to_string())
            }
        };
        match read {
            Ok(read) => page.beneath(Beneath { key: name, field: None, page: read })?,
            Err(why) => page.find(FindingKind::Embedded, &format!("{name}: {why}")),
        }
    }
    page.finish()
}

/// A name that no attachment before has.
fn named(given: &str, number: usize, names: &mut BTreeSet<String>) -> String {
    let (name, _) = seen(given);
    let name = super::page::start_of(&name, 200).replace(['/', '#'], "_");
    let plain = if name.trim().is_empty() { format!("part-{}", number + 1) } else { name };
    if names.insert(plain.clone()) {
        return plain;
    }
    let numbered = format!("{}-{plain}", number + 1);
    names.insert(numbered.clone());
    numbered
}

fn head(message: &Message<'_>, page: &mut Page) -> Result<(), FormatError> {
    let from = people(message.from());
    page.title(message.subject().unwrap_or_default());
    page.author(&from);
    let date = message.date().map(|date| date.to_timestamp().saturating_mul(1_000_000));
    page.dates(date, date);
    let to = people(message.to());
    let copied = people(message.cc());
    for (name, value) in [
        ("From", from.as_str()),
        ("To", to.as_str()),
        ("Cc", copied.as_str()),
        ("Subject", message.subject().unwrap_or_default()),
    ] {
        if !value.trim().is_empty() {
            page.open(BlockKind::Row)?;
            page.flow(&format!("{name}: {value}"))?;
        }
    }
    page.close()
}

fn people(address: Option<&Address<'_>>) -> String {
    let Some(address) = address else { return String::new() };
    let all = address.iter().map(|person| match (person.name(), person.address()) {
        (Some(name), Some(address)) => format!("{name} <{address}>"),
        (name, address) => name.or(address).unwrap_or_default().to_owned(),
    });
    all.take(ATTACHMENTS_MAX).collect::<Vec<_>>().join(", ")
}

/// Writes the version that mail programs show, which is that in HTML. If the other one says
/// something else, it is reported.
fn body(message: &Message<'_>, page: &mut Page) -> Result<(), FormatError> {
    let is_html = message.html_bodies().any(|part| part.is_text_html());
    let is_plain = message.text_bodies().any(|part| !part.is_text_html());
    let plain = if is_plain { message.body_text(0) } else { None };
    if !is_html {
        return text::paragraphs(&plain.unwrap_or_default(), page);
    }
    let start = page.text().len();
    html::write(&message.body_html(0).unwrap_or_default(), page)?;
    if let Some(plain) = plain {
        let shown = page.text().get(start..).unwrap_or_default();
        if !is_alike(&plain, shown) {
            page.find(FindingKind::Alternative, &plain);
        }
    }
    Ok(())
}

/// Whether most words of the one are words of the other.
fn is_alike(plain: &str, shown: &str) -> bool {
    let words = |text: &str| -> BTreeSet<String> {
        text.split(|it: char| !it.is_alphanumeric())
            .filter(|word| word.chars().count() > 2)
            .map(str::to_lowercase)
            .collect()
    };
    let (plain, shown) = (words(plain), words(shown));
    let both = plain.intersection(&shown).count();
    both * 100 >= plain.len() * SAME_PERCENT_MIN
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(message: &str) -> Parsed {
        let parsed = parse(message.replace('\n', "\r\n").as_bytes(), &Rows::default(), 0).unwrap();
        assert_eq!(parsed.mistake(), None);
        parsed
    }

    const HEAD: &str = "From: Ada <ada@a.example>\nTo: bob@b.example\n\
                        Date: Thu, 26 Nov 2026 10:00:00 +0000\n\
                        Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\n\
                        MIME-Version: 1.0\n";

    #[test]
    fn a_message_is_what_a_mail_program_shows() {
        let parsed = read(&format!("{HEAD}Content-Type: text/plain\n\nHello\nyou\n\nBye\n"));
        assert_eq!(parsed.title.as_deref(), Some("Grüße"));
        assert_eq!(parsed.author.as_deref(), Some("Ada <ada@a.example>"));
        assert_eq!(parsed.made, Some(1_795_687_200_000_000));
        assert!(parsed.text.ends_with("Subject: Grüße\n\nHello\nyou\n\nBye"), "{}", parsed.text);
    }

    #[test]
    fn two_versions_that_differ_are_reported() {
        let message = |plain: &str, shown: &str| {
            read(&format!(
                "{HEAD}Content-Type: multipart/alternative; boundary=b\n\n\
                 --b\nContent-Type: text/plain\n\n{plain}\n\
                 --b\nContent-Type: text/html\n\n<p>{shown}</p>\n--b--\n"
            ))
        };
        let same = message("The meeting is on Monday", "The <b>meeting</b> is on Monday");
        assert_eq!(same.findings, []);
        assert!(same.text.ends_with("The meeting is on Monday"));
        let other = message("Send all invoices elsewhere", "The meeting is on Monday");
        assert_eq!(other.findings[0].kind, FindingKind::Alternative);
        assert!(!other.text.contains("invoices"));
    }

    #[test]
    fn attachments_lie_beneath() {
        let parsed = read(&format!(
            "{HEAD}Content-Type: multipart/mixed; boundary=b\n\n\
             --b\nContent-Type: text/plain\n\nsee below\n\
             --b\nContent-Type: text/csv; name=\"t.csv\"\n\
             Content-Disposition: attachment; filename=\"t.csv\"\n\nid,a\n1,x\n\
             --b\nContent-Type: application/octet-stream\n\
             Content-Disposition: attachment; filename=\"t.exe\"\n\nMZ\n--b--\n"
        ));
        assert_eq!(parsed.beneath.len(), 1);
        assert_eq!(parsed.beneath[0].key, "t.csv");
        assert_eq!(parsed.beneath[0].page.beneath[0].page.text, "id: 1\na: x");
        let finding = &parsed.findings[0];
        assert_eq!(finding.kind, FindingKind::Embedded);
        assert!(finding.excerpt.starts_with("t.exe: "), "{finding:?}");
    }

    #[test]
    fn what_has_no_headers_is_no_message() {
        assert!(parse(b"\r\n", &Rows::default(), 0).is_err());
    }
}
