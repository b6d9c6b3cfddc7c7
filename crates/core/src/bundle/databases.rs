//! What a bundle says about databases: where one is, what of it may be read, and which statements
//! are its operations. Whether a statement can be run is asked where statements are read, in
//! `effects`; here it is looked at as far as that needs no parser.

use super::document::Findings;
use super::{network, suggest};
use crate::declare::{
    self, Database, DialectWord, EffectWord, Gate, Secret, SecretPlace, StatementArgument, Upstream,
};
use crate::mistake::Mistake;
use crate::policy::Policies;
use crate::statement::{self, Numbered};
use crate::world::{Prepared, Statement, StatementKind};
use lockgate_types::decision::{Obligation, RowFilter};
use lockgate_types::{Json, Object};
use std::collections::{BTreeMap, BTreeSet};

/// Tables of one database.
const TABLES_MAX: usize = 512;
/// Bytes of what a tool or a table is for.
const DESCRIPTION_BYTES_MAX: usize = 4096;
/// Values of a caller's parameters for a free statement.
const PARAMETERS_MAX: usize = 64;

/// What belongs to upstreams that speak the protocol.
pub(super) fn check(
    name: &str,
    database: &Database,
    upstream: &Upstream,
    found: &mut Findings<'_>,
) {
    let path = |key| ["upstream", name, "database", key];
    let of_servers = [
        ("env", upstream.env.is_empty()),
        ("pass_env", upstream.pass_env.is_empty()),
        ("directory", upstream.directory.is_none()),
        ("headers", upstream.headers.is_empty()),
        ("credential", upstream.credential.is_none()),
        ("forward_methods", upstream.forward_methods.is_empty()),
        ("era", upstream.era.is_none()),
    ];
    for (key, _) in of_servers.into_iter().filter(|(_, is_unset)| !is_unset) {
        let what = format!("`{key}` of an upstream that is a database");
        found.at(&["upstream", name, key], what, "it is for tool servers");
    }
    let addresses =
        [("address", Some(&database.address)), ("write_address", database.write_address.as_ref())];
    for (key, address) in addresses {
        if let Some((what, hint)) = address.and_then(|it| address_fault(database.dialect, it)) {
            found.at(&path(key), format!("`{key}` of the database `{name}`: {what}"), hint);
        }
    }
    for (at, function) in database.functions.iter().enumerate() {
        if database.functions.iter().take(at).any(|other| other == function) {
            let path = ["upstream", name, "database", "functions", &at.to_string()];
            found.at(&path, format!("the function `{function}` is named twice"), "");
        }
    }
    if database.table.is_empty() || database.table.len() > TABLES_MAX {
        let what = format!("the database `{name}` has no table, or more than {TABLES_MAX}");
        found.at(&path("table"), what, "name the tables that may be read");
    }
    for (table, declared) in &database.table {
        check_table(name, database.dialect, table, declared, found);
    }
}

fn check_table(
    name: &str,
    dialect: DialectWord,
    table: &str,
    declared: &declare::Table,
    found: &mut Findings<'_>,
) {
    let path = |key| ["upstream", name, "database", "table", table, key];
    let parts: Vec<&str> = table.split('.').collect();
    let parts_max = match dialect {
        DialectWord::Postgres => 2,
        DialectWord::Sqlite => 1,
    };
    if parts.len() > parts_max || parts.iter().any(|part| part.is_empty()) {
        let what = format!("`{table}` is not the name of a table");
        let hint = "such as `orders`, or `\"sales.orders\"` in PostgreSQL";
        found.at(&["upstream", name, "database", "table", table], what, hint);
    }
    if declared.columns.is_empty() {
        let what = format!("no column of `{table}` may be read");
        found.at(&path("columns"), what, "name the columns that may be read");
    }
    let mut seen = BTreeSet::new();
    for (at, column) in declared.columns.iter().enumerate() {
        if !seen.insert(column) {
            let path = ["upstream", name, "database", "table", table, "columns", &at.to_string()];
            found.at(&path, format!("the column `{column}` of `{table}` is named twice"), "");
        }
    }
    if let Some(fault) = declared.description.as_deref().and_then(description_fault) {
        found.at(&path("description"), fault, "");
    }
}

fn description_fault(text: &str) -> Option<String> {
    let is_plain = !text.chars().any(|it| it.is_control() && it != '\n');
    (text.trim().is_empty() || text.len() > DESCRIPTION_BYTES_MAX || !is_plain)
        .then(|| format!("a `description` is plain text of 1 to {DESCRIPTION_BYTES_MAX} bytes"))
}

/// A bundle is recorded and copied around, so it holds no password.
fn address_fault(dialect: DialectWord, address: &Secret) -> Option<(&'static str, &'static str)> {
    if dialect == DialectWord::Sqlite {
        let SecretPlace::Here(address) = address.place() else {
            return Some(("it is not the path of a file", "such as `data/shop.db`"));
        };
        let is_path = !address.is_empty() && !address.contains("://") && !address.contains('\0');
        return (!is_path).then_some(("it is not the path of a file", "such as `data/shop.db`"));
    }
    let hint = "`env:NAME`, `file:PATH`, or `postgres://role@host/database` without a password";
    let SecretPlace::Here(address) = address.place() else {
        return network::secret_fault(address).map(|fault| (fault, hint));
    };
    let rest = ["postgres://", "postgresql://"].iter().find_map(|it| address.strip_prefix(it));
    let Some(rest) = rest else { return Some(("it is not an address of PostgreSQL", hint)) };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let user = authority.rsplit_once('@').map_or("", |(user, _)| user);
    let has_password = user.contains(':') || rest.contains("password=");
    has_password.then_some(("it has a password, and bundles are recorded", hint))
}

/// Where databases are described, for mistakes that are found later.
pub(super) fn lines(gate: &Gate, found: &Findings<'_>) -> BTreeMap<(String, String), usize> {
    let mut lines = BTreeMap::new();
    for (name, upstream) in &gate.upstream {
        let Some(database) = &upstream.database else { continue };
        let mut add = |key: &str, path: &[&str]| {
            lines.extend(found.line(path).map(|line| ((name.clone(), key.to_owned()), line)));
        };
        add("", &["upstream", name, "database"]);
        for table in database.table.keys() {
            add(table, &["upstream", name, "database", "table", table]);
        }
    }
    lines
}

/// What a declaration says an operation of a database is. `None` at any other upstream, and after a
/// mistake.
pub(super) fn compile(
    upstream: Option<&Upstream>,
    declared: &declare::Operation,
    path: &[&str; 2],
    found: &mut Findings<'_>,
) -> Option<Statement> {
    let [kind, name] = *path;
    let database = upstream.and_then(|upstream| upstream.database.as_ref());
    let Some(database) = database.filter(|_| *kind == *"tool") else {
        let given = [
            ("statement", declared.statement.is_some()),
            ("free_statement", declared.free_statement),
            ("argument", !declared.argument.is_empty()),
            ("description", declared.description.is_some()),
        ];
        // Without the gate's file nobody knows what the upstream is.
        for (member, _) in given.into_iter().filter(|(_, is)| *is && upstream.is_some()) {
            let what = format!("`{name}` is no tool of a database, so `{member}` means nothing");
            found.at(&[kind, name, member], what, "it is for upstreams with a `database`");
        }
        return None;
    };
    check_members(declared, path, found);
    let kind = match (&declared.statement, declared.free_statement) {
        (Some(text), false) => named(text, declared, database, path, found)?,
        (None, true) => {
            if declared.effect != EffectWord::Read || !declared.argument.is_empty() {
                let what = format!("`{name}` takes any query, and no more than that");
                found.at(&[kind, name, "effect"], what, "its effect is `read`, without `argument`");
            }
            StatementKind::Given
        }
        (_, _) => {
            let what = format!("`{name}` has to say which statement it is");
            let hint = "`statement = \"select …\"`, or `free_statement = true`: one of the two";
            found.at(&[kind, name], what, hint);
            return None;
        }
    };
    let description = declared.description.clone().unwrap_or_default();
    let line = found.line(&[path[0], name]);
    Some(Statement { kind, description, line })
}

/// What cannot be declared, because it is generated or belongs to the protocol.
fn check_members(declared: &declare::Operation, path: &[&str; 2], found: &mut Findings<'_>) {
    let [kind, name] = *path;
    let members = [
        ("schema", declared.schema.is_some(), "it is made of `argument`"),
        ("pin", declared.pin.is_some(), "the declaration itself is what was accepted"),
        ("destination", !declared.destination.is_empty(), "a statement goes to its database"),
    ];
    for (member, _, hint) in members.into_iter().filter(|(_, is_given, _)| *is_given) {
        let what = format!("`{name}` is a statement, and has no `{member}`");
        found.at(&[kind, name, member], what, hint);
    }
    if declared.key.as_ref().is_some_and(|key| key.argument.is_none()) {
        let what = format!("the key of `{name}`: a statement takes arguments only");
        found.at(&[kind, name, "key"], what, "use `argument`");
    }
    if matches!(declared.effect, EffectWord::Nav | EffectWord::Egress) {
        let what = format!("`{name}` is a statement, and neither fetches nor sends");
        found.at(&[kind, name, "effect"], what, "`read`, `write` or `destructive`");
    }
    if let Some(fault) = declared.description.as_deref().and_then(description_fault) {
        found.at(&[kind, name, "description"], fault, "");
    }
}

fn named(
    text: &str,
    declared: &declare::Operation,
    database: &Database,
    path: &[&str; 2],
    found: &mut Findings<'_>,
) -> Option<StatementKind> {
    let [kind, name] = *path;
    let at = [kind, name, "statement"];
    let numbered = match statement::number(text, mark(database.dialect)) {
        Ok(numbered) => numbered,
        Err(fault) => {
            found.at(&at, format!("the statement of `{name}`: {}", fault.as_str()), "");
            return None;
        }
    };
    let known: Vec<&str> = declared.argument.keys().map(String::as_str).collect();
    for said in numbered.names.iter().filter(|said| !declared.argument.contains_key(*said)) {
        let what = format!("the statement of `{name}` says `:{said}`, which is no argument");
        found.at(&at, what, suggest::among(said, &known));
    }
    for argument in declared.argument.keys().filter(|it| !numbered.names.contains(it)) {
        let what = format!("the statement of `{name}` does not say `:{argument}`");
        found.at(&[kind, name, "argument", argument], what, "take the argument away, or use it");
    }
    let is_read = declared.effect == EffectWord::Read;
    if !is_read && database.write_address.is_none() {
        let what = format!("`{name}` changes something, and the database has no `write_address`");
        let hint = "name a role that may write, for this and for nothing else";
        found.at(&[kind, name, "effect"], what, hint);
    }
    let prepared = Prepared { text: text.to_owned(), arguments: declared.argument.clone() };
    Some(match is_read {
        true => StatementKind::Query(prepared),
        false => StatementKind::Change(prepared),
    })
}

/// What stands before the number of a parameter.
pub fn mark(dialect: DialectWord) -> char {
    match dialect {
        DialectWord::Postgres => '$',
        DialectWord::Sqlite => '?',
    }
}

/// The schema of a statement's arguments.
pub(super) fn schema(statement: &Statement) -> Json {
    let (properties, required) = match &statement.kind {
        StatementKind::Given => (given_arguments(), vec![Json::from("sql")]),
        StatementKind::Query(prepared) | StatementKind::Change(prepared) => {
            let required = prepared.arguments.iter().filter(|(_, argument)| !argument.optional);
            let required = required.map(|(name, _)| Json::from(name.as_str())).collect();
            let properties = prepared.arguments.iter();
            (properties.map(|(name, it)| (name.clone(), property(it))).collect(), required)
        }
    };
    Object::new()
        .with("type", "object")
        .with("properties", properties)
        .with("required", required)
        .with("additionalProperties", false)
        .into()
}

fn given_arguments() -> Object {
    let text =
        |description: &str| Object::new().with("type", "string").with("description", description);
    let kinds: Vec<Json> =
        ["string", "integer", "number", "boolean", "null"].map(Json::from).to_vec();
    let maximum = i64::try_from(PARAMETERS_MAX).unwrap_or(i64::MAX);
    let parameters = Object::new()
        .with("type", "array")
        .with("items", Object::new().with("type", kinds))
        .with("maxItems", maximum)
        .with("description", "the values of its parameters, in the order of their numbers");
    Object::new()
        .with("sql", text("one query; values that vary are parameters"))
        .with("parameters", parameters)
}

fn property(argument: &StatementArgument) -> Json {
    Object::new()
        .with("type", argument.kind.as_str())
        .with_some("description", argument.description.as_deref())
        .into()
}

/// What can be said once policies and databases are known: that what policies filter and look for
/// is there. A misspelt name would filter nothing, or never be found.
pub(super) fn check_policies(gate: &Gate, policies: &Policies, mistakes: &mut Vec<Mistake>) {
    let databases = || gate.upstream.values().filter_map(|upstream| upstream.database.as_ref());
    let known: Vec<&str> =
        databases().flat_map(|database| database.table.keys().map(String::as_str)).collect();
    for policy in policies.iter() {
        let mut unknown = |kind: &str, name: &str, known: &[&str]| {
            mistakes.push(Mistake {
                file: policy.file.to_string(),
                line: policy.line,
                what: format!("no database has a {kind} `{name}` for a statement to read"),
                hint: suggest::among(name, known),
            });
        };
        for table in policy.sought.tables.iter().filter(|it| !known.contains(&it.as_str())) {
            unknown("table", table, &known);
        }
        for column in policy.sought.columns.iter().filter(|it| !has_column(gate, it)) {
            let (table, _) = column.rsplit_once('.').unwrap_or_default();
            let columns = databases().find_map(|it| it.table.get(table)).into_iter();
            let columns = columns.flat_map(|table| &table.columns);
            let columns: Vec<String> = columns.map(|it| format!("{table}.{it}")).collect();
            let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
            unknown("column", column, &columns);
        }
        for filter in filters(&policy.obligations) {
            if known.contains(&filter.table.as_str()) {
                continue;
            }
            mistakes.push(Mistake {
                file: policy.file.to_string(),
                line: policy.line,
                what: format!("no database has a table `{}` whose rows to filter", filter.table),
                hint: suggest::among(&filter.table, &known),
            });
        }
    }
}

/// Whether some database has a column, named after its table.
fn has_column(gate: &Gate, name: &str) -> bool {
    let Some((table, column)) = name.rsplit_once('.') else { return false };
    let mut databases = gate.upstream.values().filter_map(|upstream| upstream.database.as_ref());
    databases.any(|database| {
        let table = database.table.get(table);
        table.is_some_and(|table| table.columns.iter().any(|it| it == column))
    })
}

fn filters(obligations: &[Obligation]) -> impl Iterator<Item = &RowFilter> {
    obligations.iter().flat_map(|obligation| match obligation {
        Obligation::Rows(filters) => filters.as_slice(),
        Obligation::Redact(_)
        | Obligation::Mask(_)
        | Obligation::Cap(_)
        | Obligation::LogMore
        | Obligation::Links => &[],
    })
}

/// The text of a statement with numbers for names. The bundle was refused if there is none.
pub fn numbered(prepared: &Prepared, dialect: DialectWord) -> Option<Numbered> {
    statement::number(&prepared.text, mark(dialect)).ok()
}
