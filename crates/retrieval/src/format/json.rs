//! JSON: an array of objects, or an object a line, is a table of rows. Anything else is one
//! document.

use super::page::Page;
use super::rows::{FIELDS_MAX, Maker, Rows, field_name};
use super::{DOCUMENT_BYTES_MAX, FormatError, Parsed, text};
use lockgate_types::{Json, JsonLimits, Object};
use std::collections::BTreeSet;

/// Levels of values within values.
const LEVELS_MAX: usize = 32;
const LIMITS: JsonLimits =
    JsonLimits { bytes_max: DOCUMENT_BYTES_MAX, depth_max: LEVELS_MAX, members_max: FIELDS_MAX };

/// Reads one value, or one a line.
pub(super) fn parse(bytes: &[u8], rows: &Rows) -> Result<Parsed, FormatError> {
    let mut page = Page::default();
    let text = text::decode(bytes, Some("utf-8"), &mut page)?;
    let (values, is_table) = match read(&text) {
        Ok(Json::Array(values)) if values.iter().all(|it| it.as_object().is_some()) => {
            (values, true)
        }
        Ok(value) => (vec![value], false),
        Err(error) => (by_line(&text).ok_or(error)?, true),
    };
    let mut maker = Maker::new(rows);
    let mut names = BTreeSet::new();
    for value in &values {
        let fields = fields_of(value, &mut page)?;
        names.extend(fields.iter().map(|(name, _)| name.clone()));
        if names.len() > FIELDS_MAX {
            return Err(FormatError::too_much("fields in its rows", FIELDS_MAX));
        }
        let row = maker.row(&fields)?;
        if is_table {
            page.beneath(row)?;
        } else {
            maker.finish()?;
            let mut only = row.page;
            only.title = rows.title.as_ref().and(only.title);
            only.fields = names.into_iter().collect();
            return Ok(only);
        }
    }
    maker.finish()?;
    page.fields(names.into_iter().collect());
    page.finish()
}

fn read(text: &str) -> Result<Json, FormatError> {
    Json::parse(text.as_bytes(), &LIMITS)
        .map_err(|error| FormatError::malformed("JSON", error.to_string()))
}

/// Values on lines of their own, if every line is one.
fn by_line(text: &str) -> Option<Vec<Json>> {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let values: Option<Vec<Json>> = lines.map(|line| read(line).ok()).collect();
    values.filter(|values| values.len() > 1 && values.iter().all(|it| it.as_object().is_some()))
}

/// Every value in it, by the names that lead there.
fn fields_of(value: &Json, page: &mut Page) -> Result<Vec<(String, String)>, FormatError> {
    let mut fields: Vec<(String, String)> = Vec::new();
    // Not by recursion: the last of them is looked at next.
    let mut waiting: Vec<(String, &Json)> = vec![(String::new(), value)];
    while let Some((name, value)) = waiting.pop() {
        match value {
            Json::Object(members) => waiting.extend(members_of(&name, members, page)),
            Json::Array(items) => waiting.extend(items.iter().rev().map(|it| (name.clone(), it))),
            Json::Null => {}
            other => {
                let said = match other.as_str() {
                    Some(said) => said.to_owned(),
                    None => String::from_utf8_lossy(&other.to_bytes()).into_owned(),
                };
                let name = if name.is_empty() { "value".to_owned() } else { name };
                // The values of an array are one field.
                match fields.last_mut() {
                    Some((last, all)) if *last == name => {
                        all.push_str(", ");
                        all.push_str(&said);
                    }
                    _ => fields.push((name, said)),
                }
            }
        }
    }
    Ok(fields)
}

fn members_of<'a>(name: &str, members: &'a Object, page: &mut Page) -> Vec<(String, &'a Json)> {
    let mut found: Vec<(String, &Json)> = members
        .iter()
        .map(|(member, value)| {
            let member = field_name(member, page);
            let path = if name.is_empty() { member } else { format!("{name}.{member}") };
            (path, value)
        })
        .collect();
    found.reverse();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(key: &str, own: &[&str]) -> Rows {
        let own = own.iter().map(|it| (*it).to_owned()).collect();
        Rows { key: Some(key.to_owned()), title: Some("name".to_owned()), own }
    }

    #[test]
    fn objects_are_rows_in_an_array_and_on_lines() {
        let array =
            r#"[{"id": 1, "name": "A", "pay": {"base": 3}}, {"id": 2, "tags": ["x", "y"]}]"#;
        let lines =
            "{\"id\":1,\"name\":\"A\",\"pay\":{\"base\":3}}\n{\"id\":2,\"tags\":[\"x\",\"y\"]}\n";
        for text in [array, lines] {
            let parsed = parse(text.as_bytes(), &rows("id", &["pay"])).unwrap();
            let texts: Vec<&str> = parsed.beneath.iter().map(|it| it.page.text.as_str()).collect();
            assert_eq!(texts, ["id: 1\nname: A", "id: 2\ntags: x, y"]);
            assert_eq!(parsed.beneath[0].page.beneath[0].page.text, "pay.base: 3");
            assert_eq!(parsed.beneath[0].page.title.as_deref(), Some("A"));
            assert_eq!(parsed.fields, ["id", "name", "pay.base", "tags"]);
        }
    }

    #[test]
    fn one_value_is_one_document() {
        let text = br#"{"name": "Plan", "steps": [{"do": "a"}, {"do": "b"}], "done": true}"#;
        let parsed = parse(text, &Rows { title: Some("name".to_owned()), ..Rows::default() });
        let parsed = parsed.unwrap();
        assert_eq!(parsed.title.as_deref(), Some("Plan"));
        assert_eq!(parsed.text, "name: Plan\nsteps.do: a, b\ndone: true");
    }

    #[test]
    fn what_is_no_json_or_lacks_a_field_of_its_own_is_refused() {
        for text in [r#"{"a": 1"#, r#"{"a": 1, "a": 2}"#, r#"[{"id": 1, "wage": 3}]"#, ""] {
            assert!(parse(text.as_bytes(), &rows("id", &["pay"])).is_err(), "{text}");
        }
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        assert!(parse(deep.as_bytes(), &Rows::default()).is_err());
    }
}
