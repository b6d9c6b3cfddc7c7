//! The bundle that a corpus is run against: that of the operator, with the corpus's tools as
//! upstreams of their own, declared as the corpus's manifest describes them.

use super::corpus::{Corpus, Tool};
use anyhow::{Context, Result};
use lockgate_core::world::Files;
use lockgate_types::{Json, Object};
use std::collections::BTreeMap;
use toml_edit::{ArrayOfTables, DocumentMut, InlineTable, Item, Table, Value, value};

/// Who the person of an episode is, and the agent that acts for them.
pub(super) const WHO: &str = "lockgate-redteam";
/// Who agrees to what a person wants.
pub(super) const APPROVER: &str = "lockgate-redteam-approver";
/// What stands before the names of the corpus's suites.
const PREFIX: &str = "redteam-";

/// The name of the upstream of a suite.
pub(super) fn upstream(suite: &str) -> String {
    let plain = suite.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' });
    format!("{PREFIX}{}", plain.collect::<String>().to_ascii_lowercase())
}

/// Where the corpus's tools are served, and the gate in front of them.
pub(super) struct Live<'a> {
    /// The stand-in's address: each suite below it.
    pub(super) tools: &'a str,
    /// The address of the gate.
    pub(super) gate: &'a str,
    /// The episodes' people, each with what is their own.
    pub(super) people: &'a [(String, Vec<String>)],
}

/// The files of the bundle, with the corpus's tools added: to be decided by, or to be run.
pub(super) fn with_corpus(
    files: &Files,
    corpus: &Corpus,
    live: Option<&Live<'_>>,
) -> Result<Files> {
    let mut files = files.clone();
    let suites = corpus.suites.keys();
    let environment = edit(&mut files, "lockgate.toml", |document| {
        for suite in suites {
            let mut added = Table::new();
            match live {
                Some(live) => {
                    added.insert("url", value(format!("{}/{}", live.tools, upstream(suite))))
                }
                None => added.insert("command", value(Value::from_iter(["true"]))),
            };
            table(document, "upstream").insert(&upstream(suite), Item::Table(added));
        }
        if let Some(live) = live {
            serve(document, live);
        }
        let environment = document.get("environment").and_then(Item::as_str);
        environment.unwrap_or("dev").to_owned()
    })?;
    edit(&mut files, "principals.toml", |document| {
        let mut agent = Table::new();
        agent.insert("environments", value(Value::from_iter([environment.as_str()])));
        table(document, "agent").insert(APPROVER, Item::Table(agent.clone()));
        agent.insert("relays_user_words", value(true));
        table(document, "agent").insert(WHO, Item::Table(agent));
        let users = table(document, "user");
        for name in [WHO, APPROVER] {
            users.insert(name, Item::Table(Table::new()));
        }
        for (name, own) in live.into_iter().flat_map(|live| live.people) {
            let mut user = Table::new();
            user.insert("groups", value(Value::from_iter([WHO])));
            user.insert("own", value(Value::from_iter(own.iter().map(String::as_str))));
            users.insert(name, Item::Table(user));
        }
    })?;
    let whom = match live {
        Some(_) => format!("in Group::\"{WHO}\""),
        None => format!("== User::\"{WHO}\""),
    };
    let mut policies = String::new();
    for (suite, tools) in &corpus.suites {
        let name = upstream(suite);
        files.insert(format!("operations/{name}.toml"), operations(tools).into_bytes());
        for principal in [format!("== Agent::\"{WHO}\""), whom.clone()] {
            policies.push_str(&format!(
                "permit (principal {principal}, action in Action::\"upstream:{name}\", resource);\n"
            ));
        }
    }
    if live.is_some() {
        for principal in [format!("Agent::\"{APPROVER}\""), format!("User::\"{APPROVER}\"")] {
            policies.push_str(&format!(
                "permit (principal == {principal}, action in Action::\"upstream:lockgate\", \
                 resource);\n"
            ));
        }
    }
    files.insert(format!("policies/{WHO}.cedar"), policies.into_bytes());
    Ok(files)
}

/// Turns the gate into one of its own: on loopback, with an issuer for the episodes' people.
fn serve(document: &mut DocumentMut, live: &Live<'_>) {
    let mut listen = Table::new();
    listen.insert("address", value(live.gate));
    let mut all = ArrayOfTables::new();
    all.push(listen);
    document.insert("listen", Item::ArrayOfTables(all));
    if document.get("environment").and_then(Item::as_str) == Some("prod") {
        document.insert("environment", value(WHO));
    }
    for key in ["store", "webhook", "console"] {
        document.remove(key);
    }
    let users = live.people.iter().map(|(name, _)| name.as_str()).chain([APPROVER]);
    let mut development = Table::new();
    development.insert("users", value(Value::from_iter(users)));
    document.insert("development", Item::Table(development));
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
    operation.insert("effect", value(text("effect").unwrap_or("destructive")));
    operation.insert("accepted", value(true));
    // A corpus repeats calls, and each is meant.
    if text("effect") != Some("read") && text("effect") != Some("nav") {
        operation.insert("repeat_window_s", value(0));
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
        operation.insert("roles", value(table));
    }
    let schema = tool.schema.clone().unwrap_or_else(|| open_schema(&roles));
    operation.insert("schema", value(String::from_utf8_lossy(&schema.to_bytes()).into_owned()));
    let mut returns = Table::new();
    let origin = match text("out") {
        Some("trusted") => "system",
        Some("directory") => "directory",
        Some("internal") => "tenant",
        Some(_) | None => "anyone",
    };
    returns.insert("origin", value(origin));
    if is("conf") {
        returns.insert("confidentiality", value("confidential"));
    }
    if is("own") {
        returns.insert("owned", value(true));
    }
    let fields = |json: Option<&Json>| -> Value {
        let fields = json.and_then(Json::as_array).unwrap_or_default();
        Value::from_iter(fields.iter().filter_map(Json::as_str))
    };
    if annotations.get("tfields").is_some() {
        returns.insert("guaranteed", value(fields(annotations.get("tfields"))));
    }
    if let Some(id) = annotations.at(&["objects", "id"]).and_then(Json::as_str) {
        let mut object = InlineTable::new();
        object.insert("id", Value::from(id));
        object.insert("named_by", fields(annotations.at(&["objects", "anchor"])));
        returns.insert("object", value(object));
    }
    operation.insert("returns", Item::Table(returns));
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
