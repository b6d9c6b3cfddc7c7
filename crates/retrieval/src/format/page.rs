//! A text as it is put together: blocks one after another, without characters that have no shape.
//!
//! All formats write through it, so that all have the same line ends, the same bounds and the same
//! idea of what is not seen.

use super::{
    BENEATH_MAX, BLOCKS_MAX, Beneath, Block, BlockKind, EXCERPT_BYTES_MAX, FINDINGS_MAX, Finding,
    FindingKind, FormatError, LINK_BYTES_MAX, LINKS_MAX, Links, NAME_BYTES_MAX, Parsed,
    TEXT_BYTES_MAX,
};

/// A document under way.
#[derive(Debug, Default)]
pub(super) struct Page {
    parsed: Parsed,
    open: Option<(BlockKind, usize)>,
    /// White space that is written if something follows it.
    has_space: bool,
    /// Characters without a shape, as they came: what they spell is for the report.
    invisible: String,
    /// Bytes of the documents beneath it.
    beneath_bytes: usize,
    /// It asks programs to follow none of its links.
    has_no_links: bool,
}

impl Page {
    /// Begins a block: what was open before is closed.
    pub(super) fn open(&mut self, kind: BlockKind) -> Result<(), FormatError> {
        self.close()?;
        if !self.parsed.text.is_empty() {
            let is_row = |kind| matches!(kind, BlockKind::Row | BlockKind::Item);
            let last = self.parsed.blocks.last().map(|block| block.kind);
            let gap = if is_row(kind) && last.is_some_and(is_row) { "\n" } else { "\n\n" };
            self.parsed.text.push_str(gap);
        }
        self.open = Some((kind, self.parsed.text.len()));
        Ok(())
    }

    /// Ends the block that is open. One that holds nothing leaves nothing.
    pub(super) fn close(&mut self) -> Result<(), FormatError> {
        self.has_space = false;
        let Some((kind, start)) = self.open.take() else { return Ok(()) };
        let text = &mut self.parsed.text;
        let end = text.trim_end().len().max(start);
        text.truncate(end);
        if end == start {
            // The gap that was written before it goes, too.
            text.truncate(self.parsed.blocks.last().map_or(0, |block| block.end));
            return Ok(());
        }
        if self.parsed.blocks.len() >= BLOCKS_MAX {
            return Err(FormatError::too_much("blocks", BLOCKS_MAX));
        }
        self.parsed.blocks.push(Block { kind, start, end });
        Ok(())
    }

    /// Writes text in which white space is only a gap between words.
    pub(super) fn flow(&mut self, text: &str) -> Result<(), FormatError> {
        for character in text.chars() {
            if character.is_whitespace() {
                self.has_space = true;
            } else {
                self.put(character)?;
            }
        }
        Ok(())
    }

    /// Writes text whose lines stand as they are.
    pub(super) fn verbatim(&mut self, text: &str) -> Result<(), FormatError> {
        let mut characters = text.chars().peekable();
        while let Some(character) = characters.next() {
            match character {
                '\r' if characters.peek() == Some(&'\n') => {}
                '\r' | '\n' | '\u{2028}' | '\u{2029}' | '\u{85}' => self.line_end()?,
                '\t' | ' ' => self.raw(character)?,
                other => self.put(other)?,
            }
        }
        Ok(())
    }

    /// Ends the line within a block.
    pub(super) fn line_end(&mut self) -> Result<(), FormatError> {
        self.has_space = false;
        self.raw('\n')
    }

    /// A gap between words.
    pub(super) fn space(&mut self) {
        self.has_space = true;
    }

    fn put(&mut self, character: char) -> Result<(), FormatError> {
        if is_invisible(character) {
            if self.invisible.len() < EXCERPT_BYTES_MAX {
                self.invisible.push(character);
            }
            return Ok(());
        }
        if self.open.is_none() {
            self.open(BlockKind::Paragraph)?;
        }
        if std::mem::take(&mut self.has_space) && !self.is_at_line_start() {
            self.raw(' ')?;
        }
        self.raw(character)
    }

    fn is_at_line_start(&self) -> bool {
        let start = self.open.as_ref().map_or(0, |open| open.1);
        self.parsed.text.len() <= start || self.parsed.text.ends_with('\n')
    }

    fn raw(&mut self, character: char) -> Result<(), FormatError> {
        let Some((_, start)) = self.open else { return Ok(()) };
        if character == '\n' && self.parsed.text.len() == start {
            return Ok(());
        }
        if self.parsed.text.len() >= TEXT_BYTES_MAX {
            return Err(FormatError::too_much("bytes of text", TEXT_BYTES_MAX));
        }
        self.parsed.text.push(character);
        Ok(())
    }

    /// Reports what the text does not show. Nothing is no find.
    pub(super) fn find(&mut self, kind: FindingKind, text: &str) {
        let text = text.trim();
        if text.is_empty() {
            return;
        }
        if self.parsed.findings.len() >= FINDINGS_MAX {
            self.parsed.findings_more = self.parsed.findings_more.saturating_add(1);
            return;
        }
        let excerpt = start_of(text, EXCERPT_BYTES_MAX).to_owned();
        self.parsed.findings.push(Finding { kind, excerpt });
    }

    /// Adds a document that lies beneath it.
    pub(super) fn beneath(&mut self, beneath: Beneath) -> Result<(), FormatError> {
        if self.parsed.beneath.len() >= BENEATH_MAX {
            return Err(FormatError::too_much("documents beneath it", BENEATH_MAX));
        }
        self.beneath_bytes = self.beneath_bytes.saturating_add(beneath.page.text_bytes());
        if self.beneath_bytes > TEXT_BYTES_MAX {
            return Err(FormatError::too_much("bytes of text", TEXT_BYTES_MAX));
        }
        self.parsed.beneath.push(beneath);
        Ok(())
    }

    /// What it calls itself: the first one counts.
    pub(super) fn title(&mut self, title: &str) {
        if self.parsed.title.is_none() {
            self.parsed.title = self.name(title);
        }
    }

    /// Who has written it: the first one counts.
    pub(super) fn author(&mut self, author: &str) {
        if self.parsed.author.is_none() {
            self.parsed.author = self.name(author);
        }
    }

    /// When it was made, and when it was changed.
    pub(super) fn dates(&mut self, made: Option<i64>, changed: Option<i64>) {
        self.parsed.made = self.parsed.made.or(made);
        self.parsed.changed = self.parsed.changed.or(changed);
    }

    /// A link that people see.
    pub(super) fn link(&mut self, address: &str) {
        let address = address.trim();
        let links = &mut self.parsed.links.addresses;
        if !address.is_empty() && address.len() <= LINK_BYTES_MAX && links.len() < LINKS_MAX {
            links.push(address.to_owned());
        }
    }

    /// What its links are relative to. The first counts.
    pub(super) fn base(&mut self, address: &str) {
        if address.len() <= LINK_BYTES_MAX {
            self.parsed.links.base.get_or_insert_with(|| address.trim().to_owned());
        }
    }

    /// None of its links is to be followed.
    pub(super) const fn no_links(&mut self) {
        self.has_no_links = true;
    }

    /// The names of the fields of its rows.
    pub(super) fn fields(&mut self, fields: Vec<String>) {
        self.parsed.fields = fields;
    }

    /// The text as far as it is written.
    pub(super) fn text(&self) -> &str {
        &self.parsed.text
    }

    fn name(&mut self, text: &str) -> Option<String> {
        let (name, invisible) = seen(text);
        if !invisible.is_empty() {
            self.find(FindingKind::Invisible, &invisible);
        }
        let name = start_of(&name, NAME_BYTES_MAX).trim_end();
        (!name.is_empty()).then(|| name.to_owned())
    }

    /// The document.
    pub(super) fn finish(mut self) -> Result<Parsed, FormatError> {
        self.close()?;
        let invisible = spelt(&std::mem::take(&mut self.invisible));
        self.find(FindingKind::Invisible, &invisible);
        if self.has_no_links {
            self.parsed.links = Links::default();
        }
        Ok(self.parsed)
    }
}

/// The start of a text, of whole characters.
pub(super) fn start_of(text: &str, bytes_max: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes_max)).unwrap_or(text)
}

/// A line of what is seen of a text, and what its other characters spell.
pub(super) fn seen(text: &str) -> (String, String) {
    let (mut shown, mut invisible, mut has_space) = (String::new(), String::new(), false);
    for character in text.chars() {
        if character.is_whitespace() {
            has_space = !shown.is_empty();
        } else if is_invisible(character) {
            invisible.push(character);
        } else {
            if std::mem::take(&mut has_space) {
                shown.push(' ');
            }
            shown.push(character);
        }
    }
    (shown, spelt(&invisible))
}

/// Whether a character has no shape, and no use in any script.
///
/// Joiners stay: Persian and emoji are written with them. So does a selector of a variant.
const fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{ad}'
            | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{61c}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{115f}' | '\u{1160}' | '\u{3164}'
            | '\u{ffa0}' | '\u{180e}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}'
    )
}

/// What characters without a shape spell: tags are letters, the others are named by their number.
fn spelt(invisible: &str) -> String {
    let mut spelt = String::new();
    let (mut others, mut first) = (0_usize, None);
    for character in invisible.chars() {
        let code = u32::from(character);
        match code {
            0xe0020..=0xe007e => spelt.extend(char::from_u32(code - 0xe0000)),
            // Sixteen selectors and 240 more are bytes.
            0xe0100..=0xe01ef => {
                let byte = u8::try_from(code - 0xe0100 + 16).unwrap_or_default();
                spelt.push(if byte.is_ascii_graphic() || byte == b' ' {
                    char::from(byte)
                } else {
                    '.'
                });
            }
            _ => {
                others += 1;
                first.get_or_insert(code);
            }
        }
    }
    if let Some(first) = first {
        let gap = if spelt.is_empty() { "" } else { " " };
        spelt.push_str(&format!("{gap}[{others} characters without a shape, first U+{first:04X}]"));
    }
    spelt
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_the_text_without_the_gaps() {
        let mut page = Page::default();
        page.open(BlockKind::Heading(1)).unwrap();
        page.flow("  A \n title ").unwrap();
        page.open(BlockKind::Paragraph).unwrap();
        page.open(BlockKind::Code).unwrap();
        page.verbatim("a\r\n  b\rc").unwrap();
        page.open(BlockKind::Row).unwrap();
        page.flow("1").unwrap();
        page.open(BlockKind::Row).unwrap();
        page.flow("2").unwrap();
        let parsed = page.finish().unwrap();
        assert_eq!(parsed.text, "A title\n\na\n  b\nc\n\n1\n2");
        assert_eq!(parsed.mistake(), None);
        let blocks: Vec<&str> =
            parsed.blocks.iter().filter_map(|it| parsed.text.get(it.start..it.end)).collect();
        assert_eq!(blocks, ["A title", "a\n  b\nc", "1", "2"]);
    }

    #[test]
    fn what_has_no_shape_is_spelt_in_the_report_only() {
        let tags: String =
            "obey".chars().filter_map(|it| char::from_u32(it as u32 + 0xe0000)).collect();
        let mut page = Page::default();
        page.flow(&format!("good{tags} \u{202e}day\u{200b}")).unwrap();
        page.title(&format!("Notes{tags}"));
        let parsed = page.finish().unwrap();
        assert_eq!((parsed.text.as_str(), parsed.title.as_deref()), ("good day", Some("Notes")));
        let excerpts: Vec<&str> = parsed.findings.iter().map(|it| it.excerpt.as_str()).collect();
        assert_eq!(excerpts, ["obey", "obey [2 characters without a shape, first U+202E]"]);
    }

    #[test]
    fn what_joins_letters_stays() {
        let mut page = Page::default();
        page.flow("می\u{200c}خواهم 👩\u{200d}🚒").unwrap();
        assert_eq!(page.finish().unwrap().text, "می\u{200c}خواهم 👩\u{200d}🚒");
    }

    #[test]
    fn a_page_is_bounded() {
        let mut page = Page::default();
        let long = "x".repeat(TEXT_BYTES_MAX);
        page.flow(&long).unwrap();
        assert!(matches!(page.flow("x"), Err(FormatError::TooMuch { .. })));
        let mut page = Page::default();
        (0..FINDINGS_MAX + 3).for_each(|_| page.find(FindingKind::Comment, "x"));
        let parsed = page.finish().unwrap();
        assert_eq!((parsed.findings.len(), parsed.findings_more), (FINDINGS_MAX, 3));
    }
}
