//! The bundle that a corpus is run against: that of the operator, with the corpus's tools as
//! upstreams of their own, declared as the corpus's manifest describes them.

use super::corpus::{Corpus, Tool};
use anyhow::{Context, Result};
use lockgate_core::world::Files;
use lockgate_types::{Json, Object};
use std::collections::BTreeMap;
use toml_edit::{DocumentMut, InlineTable, Item, Table, Value, value};

/// Who the person of an episode is, and the agent that acts for them.
pub(super) const WHO: &str = "lockgate-redteam";
/// What stands before the names of the corpus's suites.
const PREFIX: &str = "redteam-";

/// The name of the upstream of a suite.
pub(super) fn upstream(suite: &str) -> String {
    let plain = suite.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' });
    format!("{PREFIX}{}", plain.collect::<String>().to_ascii_lowercase())
}

/// The files of the bundle, with the corpus's tools added. `url` is where they are served, if they
/// are.
pub(super) fn with_corpus(files: &Files, corpus: &Corpus, url: Option<&str>) -> Result<Files> {
    let mut files = files.clone();
    let suites: Vec<String> = corpus.suites.keys().map(|suite| upstream(suite)).collect();
    edit(&mut files, "lockgate.toml", |document| {
        let environment = document.get("environment").and_then(Item::as_str);
        let environment = environment.unwrap_or("dev").to_owned();
        for suite in &suites {
            let mut upstream = Table::new();
            match url {
                Some(url) => upstream["url"] = value(format!("{url}/{suite}")),
                None => upstream["command"] = value(Value::from_iter(["true"])),
            }
            table(document, "upstream").insert(suite, Item::Table(upstream));
        }
        environment
    })?;
    let environment = files.get("lockgate.toml").map(|bytes| String::from_utf8_lossy(bytes));
    let environment = environment
        .and_then(|text| text.parse::<DocumentMut>().ok())
        .and_then(|document| Some(document.get("environment")?.as_str()?.to_owned()))
        .unwrap_or_else(|| "dev".to_owned());
    edit(&mut files, "principals.toml", |document| {
        table(document, "user").insert(WHO, Item::Table(Table::new()));
        let mut agent = Table::new();
        agent["environments"] = value(Value::from_iter([environment.as_str()]));
        table(document, "agent").insert(WHO, Item::Table(agent));
    })?;
    let mut policies = String::new();
    for (suite, tools) in &corpus.suites {
        let name = upstream(suite);
        files.insert(format!("operations/{name}.toml"), operations(tools).into_bytes());
        for principal in ["Agent", "User"] {
            policies.push_str(&format!(
                "permit (principal == {principal}::\"{WHO}\", \
                 action in Action::\"upstream:{name}\", resource);\n"
            ));
        }
    }
    files.insert(format!("policies/{WHO}.cedar"), policies.into_bytes());
    Ok(files)
}

fn edit<T>(files: &mut Files, name: &str, change: impl FnOnce(&mut DocumentMut) -> T) -> Result<T> {
    let text = files.get(name).map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let mut document: DocumentMut = text
        .unwrap_or_default()
        .parse()
        .with_context(|| format!("reading `{name}` of the bundle"))?;
    let changed = change(&mut document);
    files.insert(name.to_owned(), document.to_string().into_bytes());
    Ok(changed)
}

/// A table of tables, made if it is not there.
fn table<'d>(document: &'d mut DocumentMut, name: &str) -> &'d mut Table {
    let item = document.entry(name).or_insert_with(|| {
        let mut table = Table::new();
        table.set_implicit(true);
        Item::Table(table)
    });
    if item.as_table().is_none() {
        *item = Item::Table(Table::new());
    }
    #[expect(clippy::unreachable, reason = "it was made a table above")]
    item.as_table_mut().unwrap_or_else(|| unreachable!())
}

fn operations(tools: &BTreeMap<String, Tool>) -> String {
    let mut document = DocumentMut::new();
    for (name, tool) in tools {
        table(&mut document, "tool").insert(name, Item::Table(operation(tool)));
    }
    document.to_string()
}

fn operation(tool: &Tool) -> Table {
    let annotations = &tool.annotations;
    let text = |name: &str| annotations.get(name).and_then(Json::as_str);
    let is = |name: &str| annotations.get(name).and_then(Json::as_bool) == Some(true);
    let mut operation = Table::new();
    // What the manifest does not say of a tool is the gravest there is.
    operation["effect"] = value(text("effect").unwrap_or("destructive"));
    operation["accepted"] = value(true);
    // A corpus repeats calls, and each is meant.
    if text("effect") != Some("read") && text("effect") != Some("nav") {
        operation["repeat_window_s"] = value(0);
    }
    let roles = annotations.get("args").and_then(Json::as_object);
    let roles: Vec<(&str, &str)> = roles
        .into_iter()
        .flat_map(Object::iter)
        .filter_map(|(argument, role)| Some((argument, role.as_str()?)))
        .collect();
    if !roles.is_empty() {
        let mut table = InlineTable::new();
        roles.iter().for_each(|(argument, role)| {
            table.insert(*argument, Value::from(*role));
        });
        operation["roles"] = value(table);
    }
    let schema = tool.schema.clone().unwrap_or_else(|| open_schema(&roles));
    operation["schema"] = value(String::from_utf8_lossy(&schema.to_bytes()).into_owned());
    let mut returns = Table::new();
    returns["origin"] = value(match text("out") {
        Some("trusted") => "system",
        Some("directory") => "directory",
        Some("internal") => "tenant",
        Some(_) | None => "anyone",
    });
    if is("conf") {
        returns["confidentiality"] = value("confidential");
    }
    if is("own") {
        returns["owned"] = value(true);
    }
    let fields = |json: Option<&Json>| -> Value {
        let fields = json.and_then(Json::as_array).unwrap_or_default();
        Value::from_iter(fields.iter().filter_map(Json::as_str))
    };
    if annotations.get("tfields").is_some() {
        returns["guaranteed"] = value(fields(annotations.get("tfields")));
    }
    if let Some(id) = annotations.at(&["objects", "id"]).and_then(Json::as_str) {
        let mut object = InlineTable::new();
        object.insert("id", Value::from(id));
        object.insert("named_by", fields(annotations.at(&["objects", "anchor"])));
        returns["object"] = value(object);
    }
    operation["returns"] = Item::Table(returns);
    operation
}

/// The schema of a tool that has none: its arguments, and any others.
fn open_schema(roles: &[(&str, &str)]) -> Json {
    let properties: Object =
        roles.iter().map(|(name, _)| ((*name).to_owned(), Json::from(Object::new()))).collect();
    Object::new()
        .with("type", "object")
        .with("properties", properties)
        .with("additionalProperties", true)
        .into()
}
