//! XML as office documents have it: elements, attributes, text. Without document types, and so
//! without entities that grow.

use super::FormatError;

/// Attributes of one element.
const ATTRIBUTES_MAX: usize = 256;

/// What comes next in a document. Names are without their prefix.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event<'a> {
    /// An element begins. If it is empty, it ends as well.
    Start { name: &'a str, attributes: Vec<(&'a str, String)>, is_empty: bool },
    /// An element ends.
    End { name: &'a str },
    /// Text.
    Text(String),
    /// A comment.
    Comment(&'a str),
}

/// A document that is read from its beginning to its end.
pub(crate) struct Xml<'a> {
    rest: &'a str,
}

impl<'a> Xml<'a> {
    pub(crate) const fn new(text: &'a str) -> Self {
        Self { rest: text }
    }

    /// What comes next. `None`: nothing.
    pub(crate) fn next(&mut self) -> Result<Option<Event<'a>>, FormatError> {
        loop {
            if self.rest.is_empty() {
                return Ok(None);
            }
            let Some(markup) = self.rest.strip_prefix('<') else {
                let end = self.rest.find('<').unwrap_or(self.rest.len());
                let (said, rest) = self.rest.split_at(end);
                self.rest = rest;
                return Ok(Some(Event::Text(unescaped(said)?)));
            };
            if let Some(comment) = markup.strip_prefix("!--") {
                return self.upto(comment, "-->").map(|said| Some(Event::Comment(said)));
            }
            if let Some(said) = markup.strip_prefix("![CDATA[") {
                let said = self.upto(said, "]]>")?;
                return Ok(Some(Event::Text(said.to_owned())));
            }
            if let Some(instruction) = markup.strip_prefix('?') {
                self.upto(instruction, "?>")?;
                continue;
            }
            if markup.starts_with('!') {
                return Err(wrong("it declares a document type"));
            }
            return self.tag(markup).map(Some);
        }
    }

    fn upto(&mut self, text: &'a str, end: &str) -> Result<&'a str, FormatError> {
        let (said, rest) = text.split_once(end).ok_or_else(|| wrong("something does not end"))?;
        self.rest = rest;
        Ok(said)
    }

    fn tag(&mut self, markup: &'a str) -> Result<Event<'a>, FormatError> {
        if let Some(name) = markup.strip_prefix('/') {
            let name = self.upto(name, ">")?;
            return Ok(Event::End { name: local(name.trim()) });
        }
        let is_end = |it: char| it.is_whitespace() || matches!(it, '>' | '/');
        let end = markup.find(is_end).ok_or_else(|| wrong("a tag does not end"))?;
        let (name, mut rest) = markup.split_at(end);
        let mut attributes = Vec::new();
        loop {
            rest = rest.trim_start();
            if let Some(after) = rest.strip_prefix("/>") {
                self.rest = after;
                return Ok(Event::Start { name: local(name), attributes, is_empty: true });
            }
            if let Some(after) = rest.strip_prefix('>') {
                self.rest = after;
                return Ok(Event::Start { name: local(name), attributes, is_empty: false });
            }
            let (attribute, after) =
                rest.split_once('=').ok_or_else(|| wrong("a tag does not end"))?;
            let after = after.trim_start();
            let quote = after.chars().next().filter(|it| matches!(it, '"' | '\''));
            let quote = quote.ok_or_else(|| wrong("an attribute has no quotes"))?;
            let (value, after) = after
                .strip_prefix(quote)
                .and_then(|it| it.split_once(quote))
                .ok_or_else(|| wrong("an attribute does not end"))?;
            if attributes.len() >= ATTRIBUTES_MAX {
                return Err(FormatError::too_much("attributes", ATTRIBUTES_MAX));
            }
            attributes.push((local(attribute.trim()), unescaped(value)?));
            rest = after;
        }
    }
}

/// The name without its prefix.
fn local(name: &str) -> &str {
    name.rsplit_once(':').map_or(name, |(_, local)| local)
}

fn unescaped(text: &str) -> Result<String, FormatError> {
    if !text.contains('&') {
        return Ok(text.to_owned());
    }
    let mut plain = String::with_capacity(text.len());
    let mut parts = text.split('&');
    plain.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let (entity, rest) = part.split_once(';').ok_or_else(|| wrong("an entity does not end"))?;
        plain.push(character(entity).ok_or_else(|| wrong("an entity is not known"))?);
        plain.push_str(rest);
    }
    Ok(plain)
}

fn character(entity: &str) -> Option<char> {
    let code = entity.strip_prefix('#');
    if let Some(digits) = code.and_then(|code| code.strip_prefix(['x', 'X'])) {
        return u32::from_str_radix(digits, 16).ok().and_then(char::from_u32);
    }
    if let Some(digits) = code {
        return digits.parse().ok().and_then(char::from_u32);
    }
    Some(match entity {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        _ => return None,
    })
}

fn wrong(why: &str) -> FormatError {
    FormatError::malformed("XML", why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_text_and_comments_are_read() {
        let mut xml = Xml::new("<?xml v?><w:p a='1' b:c=\"&lt;&#65;\"/>x &amp; y<!-- z --></w:q>");
        let mut next = || xml.next().unwrap();
        let attributes = vec![("a", "1".to_owned()), ("c", "<A".to_owned())];
        assert_eq!(next(), Some(Event::Start { name: "p", attributes, is_empty: true }));
        assert_eq!(next(), Some(Event::Text("x & y".to_owned())));
        assert_eq!(next(), Some(Event::Comment(" z ")));
        assert_eq!(next(), Some(Event::End { name: "q" }));
        assert_eq!(next(), None);
    }

    #[test]
    fn document_types_and_broken_markup_are_refused() {
        for text in
            ["<!DOCTYPE a [<!ENTITY b 'c'>]>", "<a", "<a b>", "<a b=c>", "&b;", "&amp", "<!--"]
        {
            assert!(Xml::new(text).next().is_err(), "{text}");
        }
    }
}
