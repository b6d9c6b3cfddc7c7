//! HTML: what a browser would show.
//!
//! A tokenizer and a stack of open elements, no tree: markup that is nested ten thousand deep costs
//! nothing, and is refused where browsers stop.

use super::page::Page;
use super::shade::{Colour, Sheet, Style};
use super::{BlockKind, ELEMENTS_DEPTH_MAX, FindingKind, FormatError, Parsed, text};
use html5gum::{DefaultEmitter, HtmlString, Token, Tokenizer};

/// Bytes of a page's head in which its character set is looked for.
const HEAD_BYTES_MAX: usize = 1024;
/// Bytes of hidden text that are gathered before they are reported.
const HIDDEN_BYTES_MAX: usize = 4096;

/// Reads a page.
pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, FormatError> {
    let mut page = Page::default();
    let text = text::decode(bytes, charset(bytes).as_deref(), &mut page)?;
    write(&text, &mut page)?;
    page.finish()
}

/// Writes what markup shows.
pub(super) fn write(markup: &str, page: &mut Page) -> Result<(), FormatError> {
    let mut reader = Reader::new(page);
    reader.sheet = sheet_of(markup);
    for token in tokens(markup) {
        match token {
            Token::StartTag(tag) => {
                let name = utf8(&tag.name);
                let attributes = Attributes::of(&tag.attributes);
                reader.start(&name, &attributes, tag.self_closing)?;
            }
            Token::EndTag(tag) => reader.end(&utf8(&tag.name))?,
            Token::String(said) => reader.text(&utf8(&said))?,
            Token::Comment(said) => reader.page.find(FindingKind::Comment, &utf8(&said)),
            Token::Doctype(_) | Token::Error(_) => {}
        }
    }
    reader.flush();
    reader.page.close()
}

fn tokens(markup: &str) -> impl Iterator<Item = Token> {
    let mut emitter = DefaultEmitter::default();
    emitter.naively_switch_states(true);
    Tokenizer::new_with_emitter(markup, emitter).filter_map(Result::ok)
}

fn utf8(bytes: &HtmlString) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Whether one of these words stands in a list of them.
pub(crate) fn has_word(list: &str, words: &[&str]) -> bool {
    let mut said = list.split([',', ' ', '\t', '\n', ';', ':']);
    said.any(|said| words.iter().any(|word| said.eq_ignore_ascii_case(word)))
}

/// What all style sheets of a page say, wherever they stand.
fn sheet_of(markup: &str) -> Sheet {
    let mut sheet = Sheet::default();
    let mut is_within = false;
    for token in tokens(markup) {
        match token {
            Token::StartTag(tag) => is_within = utf8(&tag.name) == "style",
            Token::EndTag(_) => is_within = false,
            Token::String(said) if is_within => sheet.add(&utf8(&said)),
            _ => {}
        }
    }
    sheet
}

/// The character set that a page names in its head.
fn charset(bytes: &[u8]) -> Option<String> {
    let head = bytes.get(..bytes.len().min(HEAD_BYTES_MAX))?;
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let rest = head.split_once("charset=")?.1.trim_start_matches(['"', '\'', ' ']);
    let name: String =
        rest.chars().take_while(|it| it.is_ascii_alphanumeric() || "-_:".contains(*it)).collect();
    (!name.is_empty()).then_some(name)
}

/// The attributes of a tag.
struct Attributes(Vec<(String, String)>);

impl Attributes {
    fn of<'a, Value>(found: impl IntoIterator<Item = (&'a HtmlString, &'a Value)>) -> Self
    where
        Value: std::ops::Deref<Target = HtmlString> + 'a,
    {
        Self(found.into_iter().map(|(name, value)| (utf8(name), utf8(value))).collect())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }
}

/// An open element.
struct Open {
    name: String,
    /// Why nothing in it is shown.
    unshown: Option<FindingKind>,
    colour: Colour,
    background: Colour,
    is_verbatim: bool,
}

struct Reader<'a> {
    page: &'a mut Page,
    sheet: Sheet,
    stack: Vec<Open>,
    /// Text that is not shown, as it is gathered.
    hidden: String,
    hidden_kind: FindingKind,
    title: Option<String>,
    has_cell: bool,
}

impl<'a> Reader<'a> {
    fn new(page: &'a mut Page) -> Self {
        Self {
            page,
            sheet: Sheet::default(),
            stack: Vec::new(),
            hidden: String::new(),
            hidden_kind: FindingKind::HiddenElement,
            title: None,
            has_cell: false,
        }
    }

    fn unshown(&self) -> Option<FindingKind> {
        self.stack.last().and_then(|open| open.unshown)
    }

    fn is_verbatim(&self) -> bool {
        self.stack.last().is_some_and(|open| open.is_verbatim)
    }

    fn start(
        &mut self,
        name: &str,
        attributes: &Attributes,
        is_self_closing: bool,
    ) -> Result<(), FormatError> {
        self.close_implied(name);
        self.report(name, attributes);
        let open = self.opened(name, attributes);
        if open.unshown.is_none() {
            self.link(name, attributes);
            self.begin(name)?;
        }
        if is_void(name) || (is_self_closing && is_foreign(name)) {
            return Ok(());
        }
        if self.stack.len() >= ELEMENTS_DEPTH_MAX {
            return Err(FormatError::too_much("elements within one another", ELEMENTS_DEPTH_MAX));
        }
        if open.unshown != self.unshown() {
            self.flush();
        }
        if name == "title" && self.title.is_none() && open.unshown.is_some() {
            self.title = Some(String::new());
        }
        self.stack.push(open);
        Ok(())
    }

    /// Ends what nobody ends by hand: points, cells, paragraphs.
    fn close_implied(&mut self, name: &str) {
        let (closed, barrier): (&[&str], &[&str]) = match name {
            "li" => (&["li"], &["ul", "ol", "menu"]),
            "dt" | "dd" => (&["dt", "dd"], &["dl"]),
            "td" | "th" => (&["td", "th"], &["tr", "table"]),
            "tr" => (&["tr"], &["table"]),
            "option" | "optgroup" => (&["option"], &["select"]),
            _ if is_block(name) => (&["p"], &["td", "th", "li", "div", "section", "article"]),
            _ => return,
        };
        let found = self.stack.iter().rposition(|it| closed.contains(&it.name.as_str()));
        let Some(at) = found else { return };
        let above = self.stack.iter().skip(at + 1);
        if !above.map(|it| it.name.as_str()).any(|it| barrier.contains(&it)) {
            self.cut_to(at);
        }
    }

    /// Says what attributes tell that nobody sees.
    fn report(&mut self, name: &str, attributes: &Attributes) {
        for (attribute, value) in &attributes.0 {
            let kind = match attribute.as_str() {
                "alt" => FindingKind::AltText,
                "title" | "placeholder" | "summary" => FindingKind::Attribute,
                "value" if attributes.get("type") == Some("hidden") => FindingKind::HiddenElement,
                it if it.starts_with("aria-label") || it.starts_with("aria-desc") => {
                    FindingKind::Attribute
                }
                it if it.starts_with("data-") && value.contains(' ') => FindingKind::Attribute,
                it if it.starts_with("on") => FindingKind::Script,
                _ => continue,
            };
            self.page.find(kind, value);
        }
        if matches!(name, "iframe" | "object" | "embed") {
            let address = attributes.get("src").or_else(|| attributes.get("data"));
            self.page.find(FindingKind::Embedded, address.unwrap_or(name));
        }
        match name {
            "meta" => self.meta(attributes),
            "base" => {
                if let Some(address) = attributes.get("href") {
                    self.page.base(address);
                }
            }
            _ => {}
        }
    }

    /// Notes where an element leads that people see, unless it asks programs not to go there.
    fn link(&mut self, name: &str, attributes: &Attributes) {
        let is_followed = |words: &str| !has_word(words, &["nofollow", "ugc", "sponsored"]);
        if matches!(name, "a" | "area")
            && attributes.get("rel").is_none_or(is_followed)
            && let Some(address) = attributes.get("href")
        {
            self.page.link(address);
        }
    }

    fn meta(&mut self, attributes: &Attributes) {
        let name = attributes.get("name").or_else(|| attributes.get("property"));
        let (Some(name), Some(content)) = (name, attributes.get("content")) else { return };
        let date = || content.parse::<jiff::Timestamp>().ok().map(|it| it.as_microsecond());
        match name.to_ascii_lowercase().as_str() {
            "author" | "article:author" => self.page.author(content),
            "article:published_time" | "dcterms.created" | "date" => self.page.dates(date(), None),
            "article:modified_time" | "dcterms.modified" => self.page.dates(None, date()),
            "robots" | "lockgate" if has_word(content, &["nofollow", "none"]) => {
                self.page.no_links();
            }
            "viewport" | "charset" | "generator" | "robots" | "theme-color" => {}
            _ => self.page.find(FindingKind::Metadata, content),
        }
    }

    fn opened(&self, name: &str, attributes: &Attributes) -> Open {
        let style = self.sheet.of(name, attributes.get("id"), attributes.get("class"));
        let style = style.and(Style::read(attributes.get("style").unwrap_or_default()));
        let above = self.stack.last();
        let given = |name| attributes.get(name).and_then(Colour::read);
        let inherited =
            above.map_or((Colour::BLACK, Colour::WHITE), |it| (it.colour, it.background));
        let colour = style.colour.or_else(|| given("color")).or_else(|| given("text"));
        let background = style.background.or_else(|| given("bgcolor"));
        let (colour, background) =
            (colour.unwrap_or(inherited.0), background.unwrap_or(inherited.1));
        let own = match name {
            "script" => Some(FindingKind::Script),
            // A style sheet is no text; what it hides is known already.
            "style" => Some(FindingKind::Metadata),
            "head" | "template" | "noscript" | "noframes" | "iframe" | "object" | "datalist" => {
                Some(FindingKind::HiddenElement)
            }
            "dialog" if !attributes.has("open") => Some(FindingKind::HiddenElement),
            _ if style.is_hidden || attributes.has("hidden") => Some(FindingKind::HiddenElement),
            _ if style.is_unseen => Some(FindingKind::Unseen),
            _ if colour.is_like(background) => Some(FindingKind::SameColour),
            _ => None,
        };
        // White on white ends where the colour changes again; the rest holds for all within. A
        // program is one, wherever it stands.
        let outer = above
            .and_then(|it| it.unshown)
            .filter(|it| *it != FindingKind::SameColour && own != Some(FindingKind::Script));
        let is_verbatim = above.is_some_and(|it| it.is_verbatim)
            || matches!(name, "pre" | "textarea" | "listing" | "xmp");
        Open { name: name.to_owned(), unshown: outer.or(own), colour, background, is_verbatim }
    }

    /// Begins the block that an element is.
    fn begin(&mut self, name: &str) -> Result<(), FormatError> {
        match name {
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => {
                let level = name.as_bytes().get(1).map_or(1, |digit| digit.saturating_sub(b'0'));
                self.page.open(BlockKind::Heading(level))
            }
            "li" | "dt" | "dd" => self.page.open(BlockKind::Item),
            "pre" | "listing" | "xmp" => self.page.open(BlockKind::Code),
            "tr" => {
                self.has_cell = false;
                self.page.open(BlockKind::Row)
            }
            "td" | "th" => {
                if std::mem::replace(&mut self.has_cell, true) {
                    self.page.flow(" | ")?;
                }
                Ok(())
            }
            "br" => self.page.line_end(),
            "hr" => self.page.close(),
            // What is within a cell or a point stays in its line.
            _ if is_block(name) && !self.is_in_row() => self.page.open(BlockKind::Paragraph),
            _ if is_block(name) => {
                self.page.space();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn is_in_row(&self) -> bool {
        self.stack.iter().any(|it| matches!(it.name.as_str(), "td" | "th" | "li" | "dd"))
    }

    fn end(&mut self, name: &str) -> Result<(), FormatError> {
        if name == "br" {
            return self.page.line_end();
        }
        let Some(at) = self.stack.iter().rposition(|open| open.name == name) else { return Ok(()) };
        let was_shown = self.unshown().is_none();
        if name == "title"
            && let Some(title) = self.title.take()
        {
            self.page.title(&title);
        }
        self.cut_to(at);
        if was_shown && !matches!(name, "td" | "th") && (is_block(name) || name == "tr") {
            if self.is_in_row() {
                self.page.space();
            } else {
                self.page.close()?;
            }
        }
        Ok(())
    }

    fn cut_to(&mut self, at: usize) {
        self.flush();
        self.stack.truncate(at);
    }

    fn text(&mut self, said: &str) -> Result<(), FormatError> {
        let Some(kind) = self.unshown() else {
            if self.is_verbatim() {
                return self.page.verbatim(said);
            }
            return self.page.flow(said);
        };
        let within = self.stack.last().map(|open| open.name.as_str());
        if within == Some("style") {
            return Ok(());
        }
        if within == Some("title")
            && let Some(title) = &mut self.title
        {
            title.push_str(super::page::start_of(said, super::NAME_BYTES_MAX));
            return Ok(());
        }
        self.hidden_kind = kind;
        if self.hidden.len() < HIDDEN_BYTES_MAX {
            self.hidden.push_str(super::page::start_of(said, HIDDEN_BYTES_MAX));
        }
        Ok(())
    }

    /// Reports what was gathered of hidden text.
    fn flush(&mut self) {
        let (hidden, _) = super::page::seen(&std::mem::take(&mut self.hidden));
        self.page.find(self.hidden_kind, &hidden);
    }
}

fn is_void(name: &str) -> bool {
    matches!(
        name,
        "area"
            | "base"
            | "br"
            | "col"
            | "embed"
            | "hr"
            | "img"
            | "input"
            | "link"
            | "meta"
            | "param"
            | "source"
            | "track"
            | "wbr"
            | "frame"
    )
}

/// Whether it may end itself: as elements of drawings and formulas do.
fn is_foreign(name: &str) -> bool {
    matches!(
        name,
        "path"
            | "rect"
            | "circle"
            | "ellipse"
            | "line"
            | "polyline"
            | "polygon"
            | "use"
            | "image"
            | "stop"
            | "mspace"
            | "mprescripts"
    )
}

fn is_block(name: &str) -> bool {
    matches!(
        name,
        "address"
            | "article"
            | "aside"
            | "blockquote"
            | "body"
            | "center"
            | "details"
            | "dialog"
            | "dir"
            | "div"
            | "dl"
            | "fieldset"
            | "figcaption"
            | "figure"
            | "footer"
            | "form"
            | "h1"
            | "h2"
            | "h3"
            | "h4"
            | "h5"
            | "h6"
            | "header"
            | "hgroup"
            | "hr"
            | "main"
            | "menu"
            | "nav"
            | "ol"
            | "p"
            | "pre"
            | "section"
            | "summary"
            | "table"
            | "ul"
            | "li"
            | "dt"
            | "dd"
            | "caption"
            | "tbody"
            | "thead"
            | "tfoot"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(markup: &str) -> Parsed {
        let parsed = parse(markup.as_bytes()).unwrap();
        assert_eq!(parsed.mistake(), None, "{markup}");
        parsed
    }

    fn finds(parsed: &Parsed) -> Vec<(FindingKind, &str)> {
        parsed.findings.iter().map(|it| (it.kind, it.excerpt.as_str())).collect()
    }

    #[test]
    fn a_page_is_what_it_shows() {
        let parsed = read(
            "<!doctype html><html><head><title>A  page</title><meta name=author content=Ada>\
             <style>p{margin:0}</style><script>evil()</script></head><body><h1>Head\n ing</h1>\
             <p>One <b>two</b>.<p>Three<br>four<ul><li>a<li>b</ul>\
             <table><tr><th>x<th>y<tr><td>1</td><td>2 &amp; 3</td></tr></table>\
             <pre>  code\n    more</pre></body></html>",
        );
        assert_eq!(parsed.title.as_deref(), Some("A page"));
        assert_eq!(parsed.author.as_deref(), Some("Ada"));
        assert_eq!(
            parsed.text,
            "Heading\n\nOne two.\n\nThree\nfour\n\na\nb\nx | y\n1 | 2 & 3\n\n  code\n    more"
                .replace("Heading", "Head ing")
        );
        assert_eq!(finds(&parsed), [(FindingKind::Script, "evil()")]);
    }

    #[test]
    fn what_is_not_shown_is_reported_and_not_in_the_text() {
        use FindingKind::{
            AltText, Attribute, Comment, HiddenElement, Metadata, SameColour, Script, Unseen,
        };
        for (markup, kind) in [
            ("<!-- obey -->", Comment),
            ("<script>obey</script>", Script),
            ("<p hidden>obey</p>", HiddenElement),
            ("<div style='display:none'><p>obey</p></div>", HiddenElement),
            ("<template><b>obey</b></template>", HiddenElement),
            ("<noscript>obey</noscript>", HiddenElement),
            ("<input type=hidden value=obey>", HiddenElement),
            ("<p style='font-size:1px'>obey</p>", Unseen),
            ("<p style='position:absolute;left:-9999px'>obey</p>", Unseen),
            ("<p style='color:#fefefe'>obey</p>", SameColour),
            ("<font color=white>obey</font>", SameColour),
            ("<div style='background:black'><p style='color:#000'>obey</p></div>", SameColour),
            ("<style>.q{visibility:hidden}</style><i class='p q'>obey</i>", HiddenElement),
            ("<i class=q>obey</i><style>.q{opacity:0}</style>", Unseen),
            ("<img src=x alt=obey>", AltText),
            ("<b title=obey>x</b>", Attribute),
            ("<b aria-label=obey>x</b>", Attribute),
            ("<meta name=description content=obey>", Metadata),
            ("<p onclick=obey>x</p>", Script),
        ] {
            let parsed = read(&format!("<p>before</p>{markup}<p>after</p>"));
            assert!(!parsed.text.contains("obey"), "{markup}: {}", parsed.text);
            assert!(parsed.text.contains("before") && parsed.text.ends_with("after"), "{markup}");
            assert!(finds(&parsed).contains(&(kind, "obey")), "{markup}: {:?}", parsed.findings);
        }
    }

    #[test]
    fn what_is_shown_on_a_dark_page_is_shown() {
        let dark = "<body style='background:#000;color:#fff'><p>seen</p>\
                    <p style='color:#111'>obey</p></body>";
        let parsed = read(dark);
        assert_eq!(parsed.text, "seen");
        let light = "<p style='color:#fff'>obey <b style='background:#000'>seen</b></p>";
        assert_eq!(read(light).text, "seen");
    }

    #[test]
    fn elements_are_refused_where_browsers_stop() {
        let deep = "<div>".repeat(10_000);
        assert!(matches!(parse(deep.as_bytes()), Err(FormatError::TooMuch { .. })));
        // What nobody closes is not deep.
        let flat = "<p>x".repeat(2000) + &"<li>y".repeat(2000) + &"<tr><td>z".repeat(2000);
        assert_eq!(read(&flat).blocks.len(), 6000);
    }

    #[test]
    fn a_page_says_its_character_set() {
        let bytes = b"<meta charset=windows-1251><p>\xcf\xf0\xe8</p>";
        assert_eq!(parse(bytes).unwrap().text, "При");
    }
}
