//! From a filter to a condition of SQL that says the same: of a `version` called `v` of a `source`
//! called `s`.
//!
//! Every part is true or false, never unknown, so that what is not in a part is in its opposite.
//! The condition's text is made of this file's own words; whatever the filter says is given beside
//! it.

use super::session::Given;
use crate::corpus::{CorpusError, can_be};
use crate::index::{FILTER_DEPTH_MAX, FILTER_PARTS_MAX};
use lockgate_core::retrieve::filter::{Filter, Trait};
use lockgate_types::document::Reader;
use lockgate_types::label::Confidentiality;
use std::collections::BTreeMap;

/// Values that a statement can be given: PostgreSQL counts them in 16 bits.
const GIVEN_MAX: usize = 60_000;

/// A condition, and what it is given.
#[derive(Debug)]
pub(super) struct Condition {
    pub(super) text: String,
    pub(super) given: Vec<Given>,
    /// The texts that are given, each once.
    texts: BTreeMap<String, usize>,
    parts_left: usize,
}

impl Condition {
    /// What the filter says. The statement that it becomes part of is given `given` first.
    pub(super) fn of(filter: &Filter, given: Vec<Given>) -> Result<Self, CorpusError> {
        let (text, texts) = (String::new(), BTreeMap::new());
        let mut condition = Self { text, given, texts, parts_left: FILTER_PARTS_MAX };
        condition.part(filter, FILTER_DEPTH_MAX)?;
        Ok(condition)
    }

    fn part(&mut self, filter: &Filter, depth_left: usize) -> Result<(), CorpusError> {
        let most = CorpusError::Filter { most: FILTER_PARTS_MAX };
        self.parts_left = self.parts_left.checked_sub(1).ok_or(most)?;
        let too_deep = CorpusError::Filter { most: FILTER_DEPTH_MAX };
        let depth_left = depth_left.checked_sub(1).ok_or(too_deep)?;
        if self.given.len() > GIVEN_MAX {
            return Err(CorpusError::Filter { most: GIVEN_MAX });
        }
        match filter {
            Filter::Every(all) => self.joined(all, ("TRUE", " AND "), depth_left),
            Filter::Any(all) => self.any(all, depth_left),
            Filter::Not(one) => {
                self.text.push_str("NOT ");
                self.part(one, depth_left)
            }
            Filter::Is(of) => {
                self.is(of);
                Ok(())
            }
        }
    }

    fn joined<'f>(
        &mut self,
        all: impl IntoIterator<Item = &'f Filter>,
        (none, between): (&str, &str),
        depth_left: usize,
    ) -> Result<(), CorpusError> {
        self.text.push('(');
        self.text.push_str(none);
        for one in all {
            self.text.push_str(between);
            self.part(one, depth_left)?;
        }
        self.text.push(')');
        Ok(())
    }

    /// Somebody is in many groups: their shares are looked for together.
    fn any(&mut self, all: &[Filter], depth_left: usize) -> Result<(), CorpusError> {
        let (mut shared, mut kept, mut rest) = (Vec::new(), Vec::new(), Vec::new());
        for one in all {
            match one {
                Filter::Is(Trait::Reader(reader)) => shared.push(reader),
                Filter::Is(Trait::Denied(reader)) => kept.push(reader),
                Filter::Every(_) | Filter::Any(_) | Filter::Not(_) | Filter::Is(_) => {
                    rest.push(one);
                }
            }
        }
        let together = shared.len().saturating_add(kept.len());
        let most = CorpusError::Filter { most: FILTER_PARTS_MAX };
        self.parts_left = self.parts_left.checked_sub(together).ok_or(most)?;
        if rest.is_empty() && kept.is_empty() && !shared.is_empty() {
            // Alone it can be a way into the table of versions.
            self.heard(false, &shared);
            return Ok(());
        }
        self.text.push('(');
        for (denies, readers) in [(false, shared), (true, kept)] {
            if !readers.is_empty() {
                self.heard(denies, &readers);
                self.text.push_str(" OR ");
            }
        }
        self.joined(rest, ("FALSE", " OR "), depth_left)?;
        self.text.push(')');
        Ok(())
    }

    fn is(&mut self, of: &Trait) {
        match of {
            Trait::Document(source, id) => self.two(("s.name = ", source), (" AND v.id = ", id)),
            Trait::Folder(source, path) => {
                self.two(("s.name = ", source), (" AND v.folders @> ARRAY[", path));
            }
            Trait::Source(source) => self.one("s.name = ", source, ""),
            Trait::Tenant(tenant) => self.one("s.tenant = ", tenant, ""),
            Trait::Kind(kind) => self.one("v.kind = ", kind, ""),
            Trait::Owner(owner) => self.one("v.owner IS NOT DISTINCT FROM ", owner, ""),
            Trait::HasOwner => self.text.push_str("(v.owner IS NOT NULL)"),
            Trait::Curation(word) => self.one("v.curation = ", word, ""),
            Trait::Tag(tag) => self.one("v.tags @> ARRAY[", tag, "]"),
            Trait::Reader(reader) => self.heard(false, &[reader]),
            Trait::Denied(reader) => self.heard(true, &[reader]),
            Trait::ReadersKnown => self
                .text
                .push_str("(v.audience IN (SELECT a.number FROM audience a WHERE a.is_known))"),
            Trait::AtMost(level) => self.number("v.level <= ", level_number(*level)),
            Trait::ChangedSince(time) => self.number("v.changed >= ", *time),
            Trait::ConfirmedSince(time) => self.number("v.confirmed >= ", *time),
        }
    }

    fn heard(&mut self, denies: bool, readers: &[&Reader]) {
        let readers = readers.iter().map(|reader| reader_text(reader));
        let readers = readers.filter(|reader| can_be(reader)).collect();
        self.given.push(Given::Texts(readers));
        let at = self.given.len();
        let says = if denies { "h.denies" } else { "NOT h.denies" };
        self.text.push_str(&format!(
            "(v.audience IN (SELECT h.audience FROM heard h
                 WHERE h.reader = ANY(${at}::text[]) AND {says}))"
        ));
    }

    fn one(&mut self, before: &str, value: &str, after: &str) {
        match self.given_text(value) {
            Some(at) => self.text.push_str(&format!("({before}${at}::text{after})")),
            None => self.text.push_str("FALSE"),
        }
    }

    fn two(&mut self, (first, a): (&str, &str), (second, b): (&str, &str)) {
        let (Some(a), Some(b)) = (self.given_text(a), self.given_text(b)) else {
            return self.text.push_str("FALSE");
        };
        let after = if second.ends_with('[') { "]" } else { "" };
        self.text.push_str(&format!("({first}${a}::text{second}${b}::text{after})"));
    }

    fn number(&mut self, before: &str, value: i64) {
        self.given.push(Given::Int(value));
        self.text.push_str(&format!("({before}${}::bigint)", self.given.len()));
    }

    /// The place of a text among what is given. `None`: nothing that is kept can be that.
    fn given_text(&mut self, text: &str) -> Option<usize> {
        if !can_be(text) {
            return None;
        }
        if let Some(at) = self.texts.get(text) {
            return Some(*at);
        }
        self.given.push(Given::Text(text.to_owned()));
        self.texts.insert(text.to_owned(), self.given.len());
        Some(self.given.len())
    }
}

/// A reader, as it is written down.
pub(super) fn reader_text(reader: &Reader) -> String {
    match reader {
        Reader::Everyone => "e".to_owned(),
        Reader::User(name) => format!("u{name}"),
        Reader::Group(name) => format!("g{name}"),
    }
}

/// A reader that was written down. `None`: not by this program.
pub(super) fn reader_of(text: &str) -> Option<Reader> {
    if text == "e" {
        return Some(Reader::Everyone);
    }
    let user = text.strip_prefix('u').map(|name| Reader::User(name.to_owned()));
    user.or_else(|| text.strip_prefix('g').map(|name| Reader::Group(name.to_owned())))
}

/// Levels in their order.
pub(super) const fn level_number(level: Confidentiality) -> i64 {
    match level {
        Confidentiality::Public => 0,
        Confidentiality::Internal => 1,
        Confidentiality::Confidential => 2,
        Confidentiality::Restricted => 3,
    }
}

/// The level of a number. What is none of them is for those alone who are named.
pub(super) const fn level_of(number: i64) -> Confidentiality {
    match number {
        0 => Confidentiality::Public,
        1 => Confidentiality::Internal,
        2 => Confidentiality::Confidential,
        _ => Confidentiality::Restricted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_filter_says_is_given_and_never_written() {
        let hostile = "x'); DROP SCHEMA lockgate_retrieval CASCADE; --";
        let is = |of| Filter::Is(of);
        let word = || hostile.to_owned();
        let filter = Filter::Every(vec![
            is(Trait::Document(word(), word())),
            is(Trait::Folder(word(), word())),
            Filter::Any(vec![is(Trait::Tag(word())), is(Trait::Owner(word()))]),
            Filter::Not(Box::new(is(Trait::Reader(Reader::Group(word()))))),
            is(Trait::Kind("a\0b".to_owned())),
        ]);
        let condition = Condition::of(&filter, Vec::new()).unwrap();
        assert!(!condition.text.contains("DROP"), "{}", condition.text);
        // The text once, and the reader.
        assert_eq!(condition.given.len(), 2, "{:?}", condition.given);
    }

    #[test]
    fn what_is_too_large_or_too_deep_is_no_condition() {
        let one = || Filter::Is(Trait::HasOwner);
        let many = Filter::Every(vec![one(); FILTER_PARTS_MAX]);
        assert!(Condition::of(&many, Vec::new()).is_err());
        let readers = |n: usize| Filter::Is(Trait::Reader(Reader::User(n.to_string())));
        let many = Filter::Any((0..FILTER_PARTS_MAX).map(readers).collect());
        assert!(Condition::of(&many, Vec::new()).is_err());
        let deep = (0..FILTER_DEPTH_MAX).fold(one(), |part, _| Filter::Not(Box::new(part)));
        assert!(Condition::of(&deep, Vec::new()).is_err());
    }
}
