//! Tables with commas, semicolons or tabs between their values (RFC 4180). The first line names the
//! fields.

use super::page::Page;
use super::rows::{FIELDS_MAX, Maker, Rows, field_name};
use super::{FindingKind, FormatError, Parsed, text};
use std::collections::BTreeSet;
use std::iter::Peekable;
use std::str::Chars;

/// Reads a table.
pub(super) fn parse(bytes: &[u8], rows: &Rows) -> Result<Parsed, FormatError> {
    let mut page = Page::default();
    let text = text::decode(bytes, None, &mut page)?;
    let mut table = Table { separator: separator(&text), characters: text.chars().peekable() };
    let names = table.row()?.unwrap_or_default();
    let names: Vec<String> = names.iter().map(|name| field_name(name, &mut page)).collect();
    check_names(&names, rows)?;
    let mut maker = Maker::new(rows);
    while let Some(mut values) = table.row()? {
        if values.iter().all(String::is_empty) {
            continue;
        }
        // What stands right of the last named column is seen by nobody who reads by name.
        for extra in values.drain(names.len().min(values.len())..) {
            page.find(FindingKind::Metadata, &extra);
        }
        let fields: Vec<(String, String)> = names.iter().cloned().zip(values).collect();
        page.beneath(maker.row(&fields)?)?;
    }
    maker.finish()?;
    page.fields(names);
    page.finish()
}

fn check_names(names: &[String], rows: &Rows) -> Result<(), FormatError> {
    if names.len() > FIELDS_MAX {
        return Err(FormatError::too_much("fields in a row", FIELDS_MAX));
    }
    let different: BTreeSet<&String> = names.iter().collect();
    if different.len() < names.len() || names.iter().any(String::is_empty) {
        return Err(FormatError::malformed("table", "two columns have one name, or one has none"));
    }
    let wanted = rows.own.iter().chain(&rows.key).chain(&rows.title);
    match wanted.into_iter().find(|name| !names.contains(name)) {
        Some(name) => Err(FormatError::malformed("table", format!("it has no column `{name}`"))),
        None => Ok(()),
    }
}

/// What stands most often in the first line.
fn separator(text: &str) -> char {
    let line = text.lines().next().unwrap_or_default();
    let count = |separator: &char| line.matches(*separator).count();
    // Of equals the last one is taken.
    ['\t', ';', ','].into_iter().max_by_key(count).unwrap_or(',')
}

struct Table<'a> {
    separator: char,
    characters: Peekable<Chars<'a>>,
}

impl Table<'_> {
    /// The values of the next row. `None`: there is none.
    fn row(&mut self) -> Result<Option<Vec<String>>, FormatError> {
        if self.characters.peek().is_none() {
            return Ok(None);
        }
        let mut values = Vec::new();
        loop {
            let (value, is_last) = self.value()?;
            values.push(value);
            if values.len() > FIELDS_MAX {
                return Err(FormatError::too_much("fields in a row", FIELDS_MAX));
            }
            if is_last {
                return Ok(Some(values));
            }
        }
    }

    /// The next value, and whether it is the last of its row.
    fn value(&mut self) -> Result<(String, bool), FormatError> {
        let mut value = String::new();
        let mut is_quoted = false;
        if self.characters.peek() == Some(&'"') {
            self.characters.next();
            is_quoted = true;
        }
        loop {
            let Some(character) = self.characters.next() else {
                if is_quoted {
                    return Err(FormatError::malformed("table", "a quoted value does not end"));
                }
                return Ok((value, true));
            };
            match character {
                '"' if is_quoted && self.characters.peek() == Some(&'"') => {
                    self.characters.next();
                    value.push('"');
                }
                '"' if is_quoted => is_quoted = false,
                other if is_quoted => value.push(other),
                '\r' if self.characters.peek() == Some(&'\n') => {}
                '\n' | '\r' => return Ok((value, true)),
                other if other == self.separator => return Ok((value, false)),
                other => value.push(other),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(key: &str, own: &[&str]) -> Rows {
        let own = own.iter().map(|it| (*it).to_owned()).collect();
        Rows { key: (!key.is_empty()).then(|| key.to_owned()), title: None, own }
    }

    #[test]
    fn rows_are_documents_and_fields_of_their_own_lie_beneath() {
        let table = "id,name,salary\r\n7,\"Ada \"\"A\"\", Lady\",100\n\n8,Bob,\"2\n00\"\n";
        let parsed = parse(table.as_bytes(), &rows("id", &["salary"])).unwrap();
        assert_eq!(parsed.mistake(), None);
        assert_eq!(parsed.text, "");
        assert_eq!(parsed.fields, ["id", "name", "salary"]);
        let texts: Vec<(&str, &str)> =
            parsed.beneath.iter().map(|it| (it.key.as_str(), it.page.text.as_str())).collect();
        assert_eq!(texts, [("7", "id: 7\nname: Ada \"A\", Lady"), ("8", "id: 8\nname: Bob")]);
        let field = &parsed.beneath[1].page.beneath[0];
        assert_eq!(field.field.as_deref(), Some("salary"));
        assert_eq!(field.page.text, "salary: 2\n00");
    }

    #[test]
    fn a_table_that_would_show_a_field_of_its_own_is_refused() {
        for table in [
            // The column has another name now.
            "id,pay\n7,100\n",
            "id,salary,salary\n7,1,2\n",
            "id,,salary\n7,1,2\n",
            "id,salary\n7,1\n7,2\n",
            "id,salary\n,1\n",
            "id,salary\n7,\"1\n",
        ] {
            assert!(parse(table.as_bytes(), &rows("id", &["salary"])).is_err(), "{table}");
        }
    }

    #[test]
    fn what_stands_beside_the_table_is_reported() {
        let parsed = parse(b"id;a\n7;x;obey\n", &rows("", &[])).unwrap();
        assert_eq!(parsed.beneath[0].page.text, "id: 7\na: x");
        assert_eq!(parsed.beneath[0].key, "row-1");
        assert_eq!(parsed.findings[0].excerpt, "obey");
    }
}
