//! What a query gives, as documents: one for each row. Columns can say who may read a row, where it
//! lies and when it was changed. Which database is asked, and how, is not known here.

use super::Permissions;
use super::permissions::reader;
use super::{ConnectError, Content, DOCUMENTS_MAX, Entry, Listing, folders_of, is_place};
use crate::format::{Parsed, Rows, row_of_database};
use lockgate_types::document::Reader;
use lockgate_types::{Digest, Micros};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Bytes of all rows of one query.
pub const ROWS_BYTES_MAX: usize = 256 << 20;
/// Columns of one query.
const COLUMNS_MAX: usize = 256;

/// Columns that say something about a row and are not part of its text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueryColumns {
    /// To whom it is shared: readers with commas between them. Without a value: to nobody.
    pub readers: Option<String>,
    /// From whom it is kept.
    pub denied: Option<String>,
    /// The folder it lies in.
    pub folder: Option<String>,
    /// When it was changed: a number of seconds, or a date.
    pub changed: Option<String>,
    /// Where a person can look it up.
    pub link: Option<String>,
    /// Who wrote it.
    pub author: Option<String>,
    /// The columns with its text, in this order, beside its key, its title and fields with
    /// permissions of their own. Empty: all that say nothing about it.
    #[serde(default)]
    pub text: Vec<String>,
}

/// How rows become documents, and those that were listed and not fetched yet.
#[derive(Debug)]
pub(super) struct Table {
    rows: Rows,
    columns: QueryColumns,
    listed: BTreeMap<String, Parsed>,
}

/// Rows, while they come.
pub(super) struct Taking<'t> {
    table: &'t Table,
    names: Vec<String>,
    listing: Listing,
    listed: BTreeMap<String, Parsed>,
    bytes: usize,
}

impl Table {
    /// `rows` names the column that is the key.
    pub(super) const fn new(rows: Rows, columns: QueryColumns) -> Self {
        Self { rows, columns, listed: BTreeMap::new() }
    }

    /// Makes ready for rows of columns with these names.
    pub(super) fn taking(&self, names: Vec<String>) -> Result<Taking<'_>, ConnectError> {
        let mismatch = |why: String| ConnectError::Mismatch { why };
        if self.rows.key.is_none() {
            let why = "a query needs a column that is the key of its rows".to_owned();
            return Err(mismatch(why));
        }
        let named = self.columns.text.iter().chain(&self.rows.title).chain(self.about());
        if let Some(missing) = named.into_iter().find(|name| !names.contains(name)) {
            return Err(mismatch(format!("the query gives no column `{missing}`")));
        }
        if names.len() > COLUMNS_MAX {
            return Err(ConnectError::TooMuch { what: "columns", max: COLUMNS_MAX });
        }
        let listing = Listing { is_whole: true, ..Listing::default() };
        Ok(Taking { table: self, names, listing, listed: BTreeMap::new(), bytes: 0 })
    }

    /// Keeps what was listed, for whoever fetches it.
    pub(super) fn keep(&mut self, listed: BTreeMap<String, Parsed>) {
        self.listed = listed;
    }

    /// A row that was listed.
    pub(super) fn fetch(&mut self, entry: &Entry, known: Option<&str>) -> Content {
        if known.is_some() && known == entry.version.as_deref() {
            return Content::Same;
        }
        let page = self.listed.remove(&entry.id);
        page.map_or(Content::Gone, |page| Content::Row(Box::new(page)))
    }

    fn about(&self) -> impl Iterator<Item = &String> {
        let about = &self.columns;
        let all = [
            &about.readers,
            &about.denied,
            &about.folder,
            &about.changed,
            &about.link,
            &about.author,
        ];
        all.into_iter().flatten()
    }

    fn is_about(&self, column: &str) -> bool {
        self.about().any(|name| name == column)
    }

    fn is_told(&self, column: &str) -> bool {
        let is = |name: &Option<String>| name.as_deref() == Some(column);
        self.columns.text.is_empty()
            || self.columns.text.iter().any(|name| name == column)
            || is(&self.rows.key)
            || is(&self.rows.title)
            || self.rows.own.contains(column)
    }

    /// A row as a document, and what is there of it.
    fn entry(&self, fields: &[(String, Option<String>)]) -> Result<(Entry, Parsed), ConnectError> {
        let value = |name: &Option<String>| {
            let name = name.as_ref()?;
            fields.iter().find(|(field, _)| field == name).and_then(|(_, value)| value.clone())
        };
        let mut told: Vec<(String, String)> = fields
            .iter()
            .filter(|(name, _)| !self.is_about(name) && self.is_told(name))
            .map(|(name, value)| (name.clone(), value.clone().unwrap_or_default()))
            .collect();
        // Those that are not named, such as the key, come first, and the rest as it is named.
        told.sort_by_key(|(name, _)| self.columns.text.iter().position(|named| named == name));
        let (key, mut page) = row_of_database(&told, &self.rows)
            .map_err(|error| ConnectError::Mismatch { why: error.to_string() })?;
        page.fields = told.iter().map(|(name, _)| name.clone()).collect();
        let folder = value(&self.columns.folder).map(|it| it.trim_matches('/').to_owned());
        let folder = folder.filter(|folder| !folder.is_empty());
        let id = folder.as_ref().map_or_else(|| key.clone(), |folder| format!("{folder}/{key}"));
        if !is_place(&id) {
            return Err(ConnectError::Mismatch { why: "a key or a folder is no name".to_owned() });
        }
        let entry = Entry {
            version: Some(digest(fields).to_string()),
            folders: in_root(&id),
            permissions: Some(self.permissions(&value)),
            changed: value(&self.columns.changed).and_then(|text| moment(&text)),
            author: value(&self.columns.author),
            link: value(&self.columns.link),
            id,
            ..Entry::default()
        };
        Ok((entry, page))
    }

    fn permissions(&self, value: &dyn Fn(&Option<String>) -> Option<String>) -> Permissions {
        let all = |text: Option<String>| -> Option<BTreeSet<Reader>> {
            let text = text?;
            let names = text.split([',', '\n']).map(str::trim).filter(|name| !name.is_empty());
            names.map(reader).collect()
        };
        let shares = match &self.columns.readers {
            None => Some(BTreeSet::new()),
            column => all(value(column)),
        };
        // No value in the column of denials: from nobody in particular.
        let denials = all(Some(value(&self.columns.denied).unwrap_or_default()));
        match (shares, denials) {
            (Some(shares), Some(denials)) => Permissions::Inherits { shares, denials },
            _ => Permissions::Unknown,
        }
    }
}

impl Taking<'_> {
    /// Takes a row: a value for each column.
    pub(super) fn take(&mut self, values: Vec<Option<String>>) -> Result<(), ConnectError> {
        let size = |value: &Option<String>| value.as_ref().map_or(0, String::len);
        self.bytes = self.bytes.saturating_add(values.iter().map(size).sum());
        if self.bytes > ROWS_BYTES_MAX {
            return Err(ConnectError::TooMuch { what: "bytes", max: ROWS_BYTES_MAX });
        }
        let fields: Vec<_> = self.names.iter().cloned().zip(values).collect();
        let (entry, page) = self.table.entry(&fields)?;
        if self.listed.len() >= DOCUMENTS_MAX {
            return Err(ConnectError::TooMuch { what: "rows", max: DOCUMENTS_MAX });
        }
        if self.listed.insert(entry.id.clone(), page).is_some() {
            let why = format!("two rows have the key `{}`", entry.id);
            return Err(ConnectError::Mismatch { why });
        }
        self.listing.entries.push(entry);
        Ok(())
    }

    /// All of them were taken.
    pub(super) fn finish(self) -> (Listing, BTreeMap<String, Parsed>) {
        let Self { mut listing, listed, .. } = self;
        listing.entries.sort_by(|one, two| one.id.cmp(&two.id));
        let folders: BTreeSet<&String> =
            listing.entries.iter().flat_map(|entry| &entry.folders).collect();
        listing.folders = folders.into_iter().map(|it| (it.clone(), Permissions::none())).collect();
        (listing, listed)
    }
}

fn in_root(id: &str) -> Vec<String> {
    let root = super::directory::ROOT.to_owned();
    std::iter::once(root).chain(folders_of(id)).collect()
}

fn digest(fields: &[(String, Option<String>)]) -> Digest {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        for part in [name.as_str(), value.as_deref().unwrap_or("\u{0}")] {
            bytes.extend(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            bytes.extend(part.as_bytes());
        }
    }
    Digest::of(&bytes)
}

/// A number of seconds, or a date.
fn moment(text: &str) -> Option<Micros> {
    if let Ok(seconds) = text.parse::<i64>() {
        return seconds.checked_mul(1_000_000).map(Micros);
    }
    if let Ok(moment) = text.parse::<jiff::Timestamp>() {
        return Some(Micros(moment.as_microsecond()));
    }
    let local = text.parse::<jiff::civil::DateTime>().ok()?;
    let moment = local.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(Micros(moment.timestamp().as_microsecond()))
}
