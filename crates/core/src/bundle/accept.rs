//! Writes into a file of declarations that a person has accepted something, and leaves everything
//! else as it stands: comments, order, and what the person wrote.

use super::text;
use lockgate_types::{Digest, Json};
use toml_edit::{Array, DocumentMut, Item, Table, value};

/// What is accepted of a definition.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// The digest of the definition, or of the instructions.
    pub pin: Digest,
    /// What is accepted although calls would be refused for it.
    pub despite: Vec<String>,
    /// The schema of its arguments, if the declared one is to be replaced.
    pub schema: Option<Json>,
}

/// Why nothing could be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unwritable {
    /// The file is not TOML.
    #[error("the declarations are not TOML")]
    NotToml,
    /// The tool has no table of its own.
    #[error("the tool is not declared in a table of its own")]
    NotDeclared,
}

/// The declarations, with a tool accepted as it is now.
pub fn accept_tool(declared: &str, tool: &str, accepted: &Accepted) -> Result<String, Unwritable> {
    let mut document = read(declared)?;
    let tools = document.get_mut("tool").and_then(Item::as_table_mut);
    let table = tools.and_then(|tools| tools.get_mut(tool)).and_then(Item::as_table_mut);
    let table = table.ok_or(Unwritable::NotDeclared)?;
    table.insert("accepted", value(true));
    if let Some(schema) = &accepted.schema {
        table.insert("schema", block(schema));
    }
    pin(table, "pin", accepted);
    Ok(document.to_string())
}

/// The declarations, with what a server says of itself accepted as it is now.
pub fn accept_server(declared: &str, accepted: &Accepted) -> Result<String, Unwritable> {
    let mut document = read(declared)?;
    if !document.contains_key("server") {
        let mut table = Table::new();
        table.set_implicit(false);
        document.insert("server", Item::Table(table));
    }
    let table = document.get_mut("server").and_then(Item::as_table_mut);
    pin(table.ok_or(Unwritable::NotDeclared)?, "instructions_pin", accepted);
    Ok(document.to_string())
}

/// The declarations, with a prompt or resource accepted by its digest.
pub fn accept_item(declared: &str, digest: &Digest) -> Result<String, Unwritable> {
    let mut document = read(declared)?;
    let server = document.entry("server").or_insert_with(toml_edit::table);
    let table = server.as_table_mut().ok_or(Unwritable::NotDeclared)?;
    let items = table.entry("items").or_insert_with(|| value(Array::new()));
    let items = items.as_array_mut().ok_or(Unwritable::NotDeclared)?;
    if items.iter().all(|item| item.as_str() != Some(&digest.to_string())) {
        items.push(digest.to_string());
    }
    Ok(document.to_string())
}

/// The declarations, with every tool accepted of which that is said.
pub fn accept_some(
    declared: &str,
    is_accepted: impl Fn(&str) -> bool,
) -> Result<String, Unwritable> {
    let mut document = read(declared)?;
    let tools = document.get_mut("tool").and_then(Item::as_table_mut);
    for (name, tool) in tools.into_iter().flat_map(Table::iter_mut) {
        if let Some(table) = tool.as_table_mut().filter(|_| is_accepted(name.get())) {
            table.insert("accepted", value(true));
        }
    }
    Ok(document.to_string())
}

fn read(declared: &str) -> Result<DocumentMut, Unwritable> {
    declared.parse().map_err(|_| Unwritable::NotToml)
}

fn pin(table: &mut Table, key: &str, accepted: &Accepted) {
    table.insert(key, value(accepted.pin.to_string()));
    if accepted.despite.is_empty() {
        table.remove("despite");
    } else {
        table.insert("despite", value(accepted.despite.iter().collect::<Array>()));
    }
}

/// A schema over several lines, as proposals have it.
fn block(schema: &Json) -> Item {
    let line = format!("schema = {}", text::block(&text::pretty(schema)));
    let parsed = line.parse::<DocumentMut>().ok();
    let item = parsed.and_then(|mut document| document.remove("schema"));
    item.unwrap_or_else(|| value(schema.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockgate_types::JsonLimits;

    const DECLARED: &str = "# Mine.\n[tool.a]\neffect = \"read\" # sure\naccepted = false\n\
                            schema = '{}'\npin = \"x\"\ndespite = [\"found bidi\"]\n\n\
                            [tool.a.returns]\norigin = \"system\"\n\n[tool.b]\neffect = \"read\"\n";

    #[test]
    fn only_what_is_accepted_changes() {
        let schema = Json::parse(br#"{"type":"object"}"#, &JsonLimits::OWN).unwrap();
        let pin = Digest::of(b"new");
        let accepted = Accepted { pin, despite: Vec::new(), schema: Some(schema) };
        let written = accept_tool(DECLARED, "a", &accepted).unwrap();
        let expected = DECLARED
            .replace("accepted = false", "accepted = true")
            .replace("'{}'", "'''\n{\n  \"type\": \"object\"\n}\n'''")
            .replace("\"x\"\ndespite = [\"found bidi\"]", &format!("\"{pin}\""));
        assert_eq!(written, expected);
        let found = Accepted { despite: vec!["found bidi".to_owned()], schema: None, ..accepted };
        let written = accept_tool(&written, "b", &found).unwrap();
        assert!(written.ends_with(&format!(
            "[tool.b]\neffect = \"read\"\naccepted = true\npin = \"{pin}\"\n\
             despite = [\"found bidi\"]\n"
        )));
        assert_eq!(accept_tool(DECLARED, "c", &found), Err(Unwritable::NotDeclared));
        assert_eq!(accept_tool("[", "a", &found), Err(Unwritable::NotToml));
    }

    #[test]
    fn servers_and_items_are_accepted_beside_the_tools() {
        let pin = Digest::of(b"new");
        let accepted = Accepted { pin, despite: Vec::new(), schema: None };
        let written = accept_server(DECLARED, &accepted).unwrap();
        assert!(
            written.ends_with(&format!("[server]\ninstructions_pin = \"{pin}\"\n")),
            "{written}"
        );
        let twice = accept_item(&accept_item(&written, &pin).unwrap(), &pin).unwrap();
        assert!(twice.ends_with(&format!("\"{pin}\"\nitems = [\"{pin}\"]\n")), "{twice}");
        let some = accept_some(DECLARED, |tool| tool == "b").unwrap();
        assert!(some.contains("accepted = false") && some.ends_with("accepted = true\n"));
    }
}
