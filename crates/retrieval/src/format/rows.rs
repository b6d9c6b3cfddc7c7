//! Rows of a table as documents, and fields with permissions of their own as documents beneath
//! them: whoever may not see a salary is not told by a search that it matches.

use super::page::{Page, seen, start_of};
use super::{Beneath, BlockKind, FindingKind, FormatError, NAME_BYTES_MAX, Parsed};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Fields of one row.
pub const FIELDS_MAX: usize = 1024;

/// How the rows of a source become documents.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rows {
    /// The field by which a row is known over time. `None`: its number.
    pub key: Option<String>,
    /// The field that people call a row by.
    pub title: Option<String>,
    /// Fields with permissions of their own. One that no row has is a mistake: what it is called
    /// now would be in the text of the rows.
    pub own: BTreeSet<String>,
}

impl Rows {
    /// Whether a field has permissions of its own. One within such a field has, too.
    fn owned<'a>(&'a self, field: &str) -> Option<&'a str> {
        let is_within = |own: &str| {
            field.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        self.own.iter().map(String::as_str).find(|own| is_within(own))
    }
}

/// Makes documents of rows.
pub(super) struct Maker<'a> {
    rows: &'a Rows,
    keys: BTreeSet<String>,
    met: BTreeSet<String>,
    number: usize,
}

impl<'a> Maker<'a> {
    pub(super) fn new(rows: &'a Rows) -> Self {
        Self { rows, keys: BTreeSet::new(), met: BTreeSet::new(), number: 0 }
    }

    /// The document of a row: of names without positions, and values.
    pub(super) fn row(&mut self, fields: &[(String, String)]) -> Result<Beneath, FormatError> {
        self.number += 1;
        if fields.len() > FIELDS_MAX {
            return Err(FormatError::too_much("fields in a row", FIELDS_MAX));
        }
        let value = |name: &Option<String>| {
            let name = name.as_ref()?;
            fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
        };
        let key = match &self.rows.key {
            None => format!("row-{}", self.number),
            Some(name) => self.key(name, value(&self.rows.key))?,
        };
        let mut page = self.page(fields)?;
        // A title is shown wherever the row is: it cannot be kept from anybody who may see that.
        if let Some(title) = &self.rows.title
            && self.rows.owned(title).is_none()
        {
            page.title(value(&self.rows.title).unwrap_or_default());
        }
        page.title(&key);
        Ok(Beneath { key, field: None, page: page.finish()? })
    }

    fn key(&mut self, name: &str, value: Option<&str>) -> Result<String, FormatError> {
        let why = |what: &str| format!("row {}: {what}", self.number);
        if self.rows.owned(name).is_some() {
            return Err(FormatError::malformed("table", "its key is a field of its own"));
        }
        let (key, _) = seen(value.unwrap_or_default());
        if key.is_empty() || key.len() > NAME_BYTES_MAX {
            return Err(FormatError::malformed("table", why("it has no key, or too long a one")));
        }
        if !self.keys.insert(key.clone()) {
            return Err(FormatError::malformed("table", why("another row has its key")));
        }
        Ok(key)
    }

    /// The text of a row: what has no permissions of its own. The rest lies beneath it.
    fn page(&mut self, fields: &[(String, String)]) -> Result<Page, FormatError> {
        let mut page = Page::default();
        let mut own: Vec<(&str, Page)> = Vec::new();
        for (name, value) in fields {
            let Some(owned) = self.rows.owned(name) else {
                line(&mut page, name, value)?;
                continue;
            };
            self.met.insert(owned.to_owned());
            match own.iter_mut().find(|(field, _)| *field == owned) {
                Some((_, field)) => line(field, name, value)?,
                None => {
                    let mut field = Page::default();
                    line(&mut field, name, value)?;
                    own.push((owned, field));
                }
            }
        }
        for (name, field) in own {
            let (key, field_page) = (name.to_owned(), field.finish()?);
            page.beneath(Beneath { key: key.clone(), field: Some(key), page: field_page })?;
        }
        Ok(page)
    }

    /// Whether every field with permissions of its own was there.
    pub(super) fn finish(self) -> Result<(), FormatError> {
        let missing = self.rows.own.iter().find(|own| !self.met.contains(*own));
        match missing {
            Some(own) if self.number > 0 => {
                let why = format!("no row has the field `{own}`, which has permissions of its own");
                Err(FormatError::malformed("table", why))
            }
            Some(_) | None => Ok(()),
        }
    }
}

fn line(page: &mut Page, name: &str, value: &str) -> Result<(), FormatError> {
    if value.trim().is_empty() {
        return Ok(());
    }
    page.open(BlockKind::Row)?;
    page.flow(name)?;
    page.flow(": ")?;
    page.verbatim(value.trim())?;
    page.close()
}

/// The name of a field, as it is seen.
pub(super) fn field_name(text: &str, page: &mut Page) -> String {
    let (name, invisible) = seen(text);
    page.find(FindingKind::Invisible, &invisible);
    start_of(&name, NAME_BYTES_MAX).to_owned()
}

/// One row that a database gave: names and values.
pub(crate) fn of_database(
    fields: &[(String, String)],
    rows: &Rows,
) -> Result<(String, Parsed), FormatError> {
    let mut maker = Maker::new(rows);
    let row = maker.row(fields)?;
    maker.finish()?;
    Ok((row.key, row.page))
}
