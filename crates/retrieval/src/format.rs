//! From the bytes of a document to its text: what a person sees when they open it.
//!
//! What a person does not see (comments, scripts, hidden elements, white on white, characters
//! without a shape) is left out of the text and reported, so that it reaches no prompt and is known
//! all the same. Documents within documents (rows, fields, attachments) lie beneath it.
//!
//! Everything here is a function of bytes and runs in a confined process (`ingest::worker`): a
//! parser that panics, loops or eats memory costs its document and nothing else.

mod csv;
mod docx;
mod guess;
mod html;
mod json;
mod mail;
mod markdown;
mod page;
mod pdf;
mod rows;
mod shade;
mod text;
mod xml;
mod zip;

pub(crate) use html::has_word;
pub(crate) use rows::of_database as row_of_database;
pub use rows::{FIELDS_MAX, Rows};
pub(crate) use xml::{Event as XmlEvent, Xml};

use lockgate_types::Code;
use serde::{Deserialize, Serialize};

/// Bytes of one document as it lies at its source.
pub const DOCUMENT_BYTES_MAX: usize = 32 << 20;
/// Bytes of the text of one document, with all that lies beneath it.
pub const TEXT_BYTES_MAX: usize = 8 << 20;
/// Bytes that one document may come to when it is inflated.
pub const INFLATED_BYTES_MAX: usize = 64 << 20;
/// Headings, paragraphs and rows of one document.
pub const BLOCKS_MAX: usize = 100_000;
/// Finds that are kept of one document: of more, the first.
pub const FINDINGS_MAX: usize = 256;
/// Bytes of what was found that are kept with a find.
pub const EXCERPT_BYTES_MAX: usize = 1024;
/// Documents beneath one.
pub const BENEATH_MAX: usize = 20_000;
/// Documents within documents: how deep.
pub const BENEATH_DEPTH_MAX: usize = 3;
/// Elements within elements. Browsers stop at about as many.
pub const ELEMENTS_DEPTH_MAX: usize = 512;
/// Links of one page that are kept: of more, the first.
pub const LINKS_MAX: usize = 2000;
/// Bytes of the address of a link: a longer one is none.
pub const LINK_BYTES_MAX: usize = 2048;
/// Bytes of a title, an author, a name.
pub const NAME_BYTES_MAX: usize = 512;

/// What a document is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Text as it is.
    Text,
    /// Markdown.
    Markdown,
    /// A page.
    Html,
    /// A PDF file.
    Pdf,
    /// A text of Word.
    Docx,
    /// Rows of values with commas between them.
    Csv,
    /// One JSON value, or one a line.
    Json,
    /// A message with its attachments.
    Mail,
}

/// What kind of thing a stretch of text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlockKind {
    /// A heading of that level, from one to six.
    Heading(u8),
    /// Sentences.
    Paragraph,
    /// A point of a list.
    Item,
    /// Text whose lines stand as they are.
    Code,
    /// A row of a table.
    Row,
}

/// A stretch of a document's text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// What it is.
    pub kind: BlockKind,
    /// Its first byte.
    pub start: usize,
    /// The byte after its last.
    pub end: usize,
}

/// What a document holds that its text does not show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// A comment.
    Comment,
    /// A program: a script, a macro, an action.
    Script,
    /// An element that is not shown: `hidden`, `display: none`, a template.
    HiddenElement,
    /// Text in the colour of what is behind it.
    SameColour,
    /// Text too small to be read, or drawn in no colour, or outside of the page.
    Unseen,
    /// Characters without a shape: tags, directions, spaces without width.
    Invisible,
    /// What is said of a picture to those who do not see it.
    AltText,
    /// What attributes say beside the text: titles, labels.
    Attribute,
    /// What a document says about itself: keywords, subject, front matter.
    Metadata,
    /// A note that is pinned to a page.
    Annotation,
    /// Text that was deleted, and is still there.
    Deleted,
    /// A file within it that was not read.
    Embedded,
    /// Another version of the text that says something else.
    Alternative,
    /// Bytes that are no characters.
    Broken,
}

impl FindingKind {
    /// The word in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Comment => "comment",
            Self::Script => "script",
            Self::HiddenElement => "hidden_element",
            Self::SameColour => "same_colour",
            Self::Unseen => "unseen",
            Self::Invisible => "invisible",
            Self::AltText => "alt_text",
            Self::Attribute => "attribute",
            Self::Metadata => "metadata",
            Self::Annotation => "annotation",
            Self::Deleted => "deleted",
            Self::Embedded => "embedded",
            Self::Alternative => "alternative",
            Self::Broken => "broken",
        }
    }

    /// Whether somebody has taken care that people do not see it.
    pub const fn is_hidden(self) -> bool {
        matches!(self, Self::HiddenElement | Self::SameColour | Self::Unseen | Self::Invisible)
    }
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What it is.
    pub kind: FindingKind,
    /// What it says, as far as it is kept.
    pub excerpt: String,
}

/// A document within another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beneath {
    /// What it is called there: the key of a row, the name of a field or of a file.
    pub key: String,
    /// The field it is, if it is one with permissions of its own.
    pub field: Option<String>,
    /// What it says.
    pub page: Parsed,
}

/// What was read from a document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parsed {
    /// What a person sees: lines end with a line feed.
    pub text: String,
    /// What it calls itself.
    pub title: Option<String>,
    /// Who it says has written it.
    pub author: Option<String>,
    /// When it says it was made, in microseconds.
    pub made: Option<i64>,
    /// When it says it was changed, in microseconds.
    pub changed: Option<i64>,
    /// The parts of the text, in order and apart.
    pub blocks: Vec<Block>,
    /// What it does not show.
    pub findings: Vec<Finding>,
    /// How many more were found than are kept.
    pub findings_more: usize,
    /// What lies beneath it.
    pub beneath: Vec<Beneath>,
    /// The names of the fields of its rows, in order: what a schema is compared by.
    pub fields: Vec<String>,
    /// What it leads to.
    pub links: Links,
}

/// What a page leads to, as it is written there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Links {
    /// The address that others are relative to, if the page says one.
    pub base: Option<String>,
    /// The addresses of links that people see and that the page lets programs follow, in order.
    pub addresses: Vec<String>,
}

/// Why a document is not read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum FormatError {
    /// Nobody here reads that.
    #[error("it is of no format that is read here")]
    Unknown,
    /// It is not what it says it is.
    #[error("it is no well-formed {what}: {why}")]
    Malformed {
        /// What it would be.
        what: String,
        /// What is wrong.
        why: String,
    },
    /// A bound is exceeded.
    #[error("it has more than {max} {what}")]
    TooMuch {
        /// Of what.
        what: String,
        /// How many may be.
        max: usize,
    },
    /// It can be read with a password only.
    #[error("it is encrypted")]
    Encrypted,
}

impl FormatError {
    pub(crate) fn malformed(what: &str, why: impl Into<String>) -> Self {
        Self::Malformed { what: what.to_owned(), why: why.into() }
    }

    pub(crate) fn too_much(what: &str, max: usize) -> Self {
        Self::TooMuch { what: what.to_owned(), max }
    }

    /// The code of the refusal.
    pub const fn code(&self) -> Code {
        match self {
            Self::Unknown => Code::DocumentUnknown,
            Self::Malformed { .. } => Code::DocumentMalformed,
            Self::TooMuch { .. } => Code::DocumentTooLarge,
            Self::Encrypted => Code::DocumentEncrypted,
        }
    }
}

impl Format {
    /// Whether a name says that a document is in a format that is read.
    pub fn is_named(name: &str) -> bool {
        guess::extension(name).is_some()
    }

    /// The word in requests and reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Markdown => "markdown",
            Self::Html => "html",
            Self::Pdf => "pdf",
            Self::Docx => "docx",
            Self::Csv => "csv",
            Self::Json => "json",
            Self::Mail => "mail",
        }
    }

    /// What a document is, by what it begins with, what its source says and what it is called: in
    /// this order, since a name is what anybody may give.
    pub fn of(name: &str, media_type: Option<&str>, bytes: &[u8]) -> Option<Self> {
        guess::format(name, media_type, bytes)
    }
}

/// Reads a document.
pub fn parse(format: Format, bytes: &[u8], rows: &Rows) -> Result<Parsed, FormatError> {
    within(format, bytes, rows, 0)
}

/// Reads a document that lies that deep within others.
fn within(format: Format, bytes: &[u8], rows: &Rows, depth: usize) -> Result<Parsed, FormatError> {
    if bytes.len() > DOCUMENT_BYTES_MAX {
        return Err(FormatError::too_much("bytes", DOCUMENT_BYTES_MAX));
    }
    let parsed = match format {
        Format::Text => text::parse(bytes),
        Format::Markdown => markdown::parse(bytes),
        Format::Html => html::parse(bytes),
        Format::Pdf => pdf::parse(bytes),
        Format::Docx => docx::parse(bytes),
        Format::Csv => csv::parse(bytes, rows),
        Format::Json => json::parse(bytes, rows),
        Format::Mail => mail::parse(bytes, rows, depth),
    }?;
    if parsed.text_bytes() > TEXT_BYTES_MAX {
        return Err(FormatError::too_much("bytes of text", TEXT_BYTES_MAX));
    }
    Ok(parsed)
}

impl Parsed {
    /// Bytes of its text and of all beneath it.
    pub fn text_bytes(&self) -> usize {
        let beneath = self.beneath.iter().map(|it| it.page.text_bytes());
        self.text.len().saturating_add(beneath.fold(0, usize::saturating_add))
    }

    /// What is wrong with it, as somebody says it who is not believed: a process that has read a
    /// hostile document may have become hostile itself.
    pub fn mistake(&self) -> Option<&'static str> {
        self.mistake_within(0)
    }

    fn mistake_within(&self, depth: usize) -> Option<&'static str> {
        if depth > BENEATH_DEPTH_MAX {
            return Some("documents lie too deep in one another");
        }
        if depth == 0 && self.text_bytes() > TEXT_BYTES_MAX {
            return Some("the text is too long");
        }
        if self.blocks.len() > BLOCKS_MAX || self.beneath.len() > BENEATH_MAX {
            return Some("there are too many blocks, or documents beneath it");
        }
        if self.findings.len() > FINDINGS_MAX {
            return Some("there are too many finds");
        }
        let mut links = self.links.base.iter().chain(&self.links.addresses);
        if self.links.addresses.len() > LINKS_MAX || links.any(|it| it.len() > LINK_BYTES_MAX) {
            return Some("there are too many links, or too long ones");
        }
        let is_long = |text: &str, max: usize| text.len() > max;
        let is_name_long =
            |name: &Option<String>| name.as_ref().is_some_and(|name| is_long(name, NAME_BYTES_MAX));
        if is_name_long(&self.title) || is_name_long(&self.author) {
            return Some("a title or an author is too long");
        }
        if self.findings.iter().any(|it| is_long(&it.excerpt, EXCERPT_BYTES_MAX)) {
            return Some("an excerpt is too long");
        }
        if self.fields.len() > rows::FIELDS_MAX
            || self.fields.iter().any(|it| is_long(it, NAME_BYTES_MAX))
        {
            return Some("there are too many fields, or one has too long a name");
        }
        let mut end = 0;
        for block in &self.blocks {
            if block.start < end || self.text.get(block.start..block.end).is_none() {
                return Some("a block is not in the text, or not in order");
            }
            end = block.end;
        }
        let is_named = |it: &Beneath| !it.key.is_empty() && !is_long(&it.key, NAME_BYTES_MAX);
        if !self.beneath.iter().all(is_named) {
            return Some("a document beneath it has no name, or too long a one");
        }
        self.beneath.iter().find_map(|it| it.page.mistake_within(depth + 1))
    }
}
