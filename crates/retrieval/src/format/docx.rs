//! Texts of Word: an archive of XML.

use super::page::Page;
use super::shade::Colour;
use super::xml::{Event, Xml};
use super::zip::Zip;
use super::{BlockKind, ELEMENTS_DEPTH_MAX, FindingKind, FormatError, Parsed};

/// Half points below which letters are too small to be read.
const HALF_POINTS_MIN: u32 = 6;

/// Reads a text.
pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, FormatError> {
    let mut zip = Zip::open(bytes)?;
    let mut page = Page::default();
    let names: Vec<String> = zip.names().map(str::to_owned).collect();
    for name in &names {
        let lower = name.to_ascii_lowercase();
        if lower.ends_with("vbaproject.bin") || lower.contains("/activex/") {
            page.find(FindingKind::Script, name);
        } else if lower.contains("/embeddings/") {
            page.find(FindingKind::Embedded, name);
        }
    }
    if let Some(core) = zip.read("docProps/core.xml")? {
        properties(&utf8(core)?, &mut page)?;
    }
    let document = zip.read("word/document.xml")?;
    let document = document.ok_or_else(|| FormatError::malformed("DOCX", "it has no text"))?;
    body(&utf8(document)?, &mut page)?;
    for name in names.iter().filter(|name| is_aside(name)) {
        if let Some(aside) = zip.read(name)? {
            let aside = utf8(aside)?;
            if name.contains("comments") {
                annotations(&aside, &mut page)?;
            } else {
                body(&aside, &mut page)?;
            }
        }
    }
    page.finish()
}

/// Whether a part is shown beside the text: notes, heads and feet of pages, comments.
fn is_aside(name: &str) -> bool {
    let file = name.strip_prefix("word/").unwrap_or_default();
    ["comments", "footnotes", "endnotes", "header", "footer"]
        .iter()
        .any(|start| file.starts_with(start) && file.ends_with(".xml"))
}

fn utf8(bytes: Vec<u8>) -> Result<String, FormatError> {
    let text = String::from_utf8(bytes);
    let text = text.map_err(|_| FormatError::malformed("DOCX", "a part is not UTF-8"))?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

fn properties(text: &str, page: &mut Page) -> Result<(), FormatError> {
    let mut xml = Xml::new(text);
    let mut within = String::new();
    while let Some(event) = xml.next()? {
        match event {
            Event::Start { name, is_empty, .. } => {
                within = if is_empty { String::new() } else { name.to_owned() };
            }
            Event::End { .. } => within.clear(),
            Event::Comment(said) => page.find(FindingKind::Comment, said),
            Event::Text(said) => {
                let date = || said.trim().parse::<jiff::Timestamp>().ok();
                let date = || date().map(jiff::Timestamp::as_microsecond);
                match within.as_str() {
                    "title" => page.title(&said),
                    "creator" => page.author(&said),
                    "created" => page.dates(date(), None),
                    "modified" => page.dates(None, date()),
                    "" | "revision" | "lastModifiedBy" => {}
                    _ => page.find(FindingKind::Metadata, &said),
                }
            }
        }
    }
    Ok(())
}

fn annotations(text: &str, page: &mut Page) -> Result<(), FormatError> {
    let mut xml = Xml::new(text);
    let mut note = String::new();
    while let Some(event) = xml.next()? {
        match event {
            Event::Text(said) => note.push_str(super::page::start_of(&said, 4096)),
            Event::End { name: "comment" } => {
                page.find(FindingKind::Annotation, &std::mem::take(&mut note));
            }
            _ => {}
        }
    }
    Ok(())
}

/// How a run of letters looks.
#[derive(Clone, Copy, Default)]
struct Look {
    unshown: Option<FindingKind>,
    colour: Option<Colour>,
    background: Option<Colour>,
}

impl Look {
    fn unshown(self) -> Option<FindingKind> {
        let background = self.background.unwrap_or(Colour::WHITE);
        let is_same = self.colour.is_some_and(|it| it.is_like(background));
        self.unshown.or(is_same.then_some(FindingKind::SameColour))
    }
}

/// A part of the text as it is read.
struct Body<'a> {
    page: &'a mut Page,
    stack: Vec<String>,
    look: Look,
    cell: Option<Colour>,
    has_cell: bool,
    hidden: String,
    hidden_kind: FindingKind,
}

fn body(text: &str, page: &mut Page) -> Result<(), FormatError> {
    let mut xml = Xml::new(text);
    let mut body = Body {
        page,
        stack: Vec::new(),
        look: Look::default(),
        cell: None,
        has_cell: false,
        hidden: String::new(),
        hidden_kind: FindingKind::Unseen,
    };
    while let Some(event) = xml.next()? {
        match event {
            Event::Start { name, attributes, is_empty } => {
                body.start(name, &attributes)?;
                if is_empty {
                    body.end(name)?;
                } else if body.stack.len() >= ELEMENTS_DEPTH_MAX {
                    let what = "elements within one another";
                    return Err(FormatError::too_much(what, ELEMENTS_DEPTH_MAX));
                } else {
                    body.stack.push(name.to_owned());
                }
            }
            Event::End { name } => {
                if body.stack.pop().as_deref() != Some(name) {
                    return Err(FormatError::malformed(
                        "DOCX",
                        "an element ends that did not begin",
                    ));
                }
                body.end(name)?;
            }
            Event::Text(said) => body.text(&said)?,
            Event::Comment(said) => body.page.find(FindingKind::Comment, said),
        }
    }
    body.flush();
    body.page.close()
}

impl Body<'_> {
    fn is_within(&self, name: &str) -> bool {
        self.stack.iter().any(|it| it == name)
    }

    fn start(&mut self, name: &str, attributes: &[(&str, String)]) -> Result<(), FormatError> {
        let value = |wanted: &str| {
            attributes.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value.as_str())
        };
        let is_on = !matches!(value("val"), Some("0" | "false" | "off" | "none"));
        match name {
            "p" if self.is_within("tc") => self.page.space(),
            "p" => self.page.open(BlockKind::Paragraph)?,
            "tr" => {
                self.has_cell = false;
                self.page.open(BlockKind::Row)?;
            }
            "tc" => {
                self.cell = None;
                if std::mem::replace(&mut self.has_cell, true) {
                    self.page.flow(" | ")?;
                }
            }
            "pStyle" if !self.is_within("tc") => {
                if let Some(level) = value("val").and_then(heading) {
                    self.page.open(BlockKind::Heading(level))?;
                }
            }
            "numPr" if !self.is_within("tc") => self.page.open(BlockKind::Item)?,
            "r" => {
                self.look = Look { background: self.cell, ..Look::default() };
            }
            "shd" if self.is_within("rPr") => {
                self.look.background = value("fill").and_then(hex).or(self.look.background);
            }
            "shd" if self.is_within("tcPr") => self.cell = value("fill").and_then(hex),
            "highlight" => self.look.background = value("val").and_then(Colour::read),
            "color" if self.is_within("rPr") => self.look.colour = value("val").and_then(hex),
            "vanish" | "webHidden" if is_on => self.look.unshown = Some(FindingKind::Unseen),
            "sz" if self.is_within("rPr") => {
                let size = value("val").and_then(|it| it.parse::<u32>().ok());
                if size.is_some_and(|size| size < HALF_POINTS_MIN) {
                    self.look.unshown = Some(FindingKind::Unseen);
                }
            }
            "br" | "cr" => self.page.line_end()?,
            "tab" if !self.is_within("tabs") => self.page.space(),
            "docPr" | "cNvPr" => {
                self.page.find(FindingKind::AltText, value("descr").unwrap_or_default());
                self.page.find(FindingKind::AltText, value("title").unwrap_or_default());
            }
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, name: &str) -> Result<(), FormatError> {
        match name {
            "p" if self.is_within("tc") => {}
            "p" | "tr" => {
                self.flush();
                self.page.close()?;
            }
            "r" => self.look = Look::default(),
            _ => {}
        }
        Ok(())
    }

    fn text(&mut self, said: &str) -> Result<(), FormatError> {
        // The other half of a choice that programs make is not shown.
        if self.is_within("Fallback") {
            return Ok(());
        }
        let kind = match self.stack.last().map(String::as_str) {
            Some("delText") => FindingKind::Deleted,
            Some("instrText" | "delInstrText") => FindingKind::Metadata,
            Some("t") if self.is_within("del") => FindingKind::Deleted,
            Some("t") => match self.look.unshown() {
                None => return self.page.flow(said),
                Some(kind) => kind,
            },
            _ => return Ok(()),
        };
        if kind != self.hidden_kind {
            self.flush();
        }
        self.hidden_kind = kind;
        self.hidden.push_str(super::page::start_of(said, super::EXCERPT_BYTES_MAX));
        Ok(())
    }

    fn flush(&mut self) {
        let hidden = std::mem::take(&mut self.hidden);
        self.page.find(self.hidden_kind, &hidden);
    }
}

/// The level of a style of headings, as every language of Word has it in its files.
fn heading(style: &str) -> Option<u8> {
    if style == "Title" {
        return Some(1);
    }
    let level = style.strip_prefix("Heading")?.parse::<u8>().ok()?;
    Some(level.clamp(1, 6))
}

fn hex(value: &str) -> Option<Colour> {
    Colour::read(&format!("#{value}"))
}
