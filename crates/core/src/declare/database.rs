//! `[upstream.<name>.database]`: a database, as read.

use super::Secret;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// A database. Its operations are statements, declared in `operations/<upstream>.toml`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// Which: `postgres` (13 and newer) or `sqlite`.
    pub dialect: DialectWord,
    /// Where it is. PostgreSQL: `env:NAME`, `file:PATH` or a command, for where
    /// `postgres://role@host/database` stands, or that itself as long as it has no password.
    /// SQLite: the path of its file.
    pub address: Secret,
    /// The same, with a role that may write: for declared statements that change something, and
    /// for nothing else. Unset: nothing is changed.
    pub write_address: Option<Secret>,
    /// Rows of one answer, and rows that one statement may change.
    #[serde(default = "default_rows_max")]
    #[schemars(range(min = 1, max = 100000))]
    pub rows_max: u32,
    /// Functions that may be called besides the usual ones; `schema.name` for the operator's own in
    /// PostgreSQL.
    #[serde(default)]
    pub functions: Vec<String>,
    /// The tables that may be read, by name: `orders`, or `sales.orders` in PostgreSQL. No others
    /// exist for a caller.
    pub table: BTreeMap<String, Table>,
}

/// A table that may be read.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// The columns that may be read, in the order in which `*` gives them.
    pub columns: Vec<String>,
    /// What is in it, for whoever writes queries.
    pub description: Option<String>,
}

/// The word for a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words are the names of the databases")]
pub enum DialectWord {
    Postgres,
    Sqlite,
}

/// An argument of a declared statement, where it says `:name`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StatementArgument {
    /// What it is.
    #[serde(rename = "type")]
    pub kind: ArgumentWord,
    /// What it means, for whoever calls.
    pub description: Option<String>,
    /// Whether it may be left out: then it is `NULL`.
    #[serde(default)]
    pub optional: bool,
}

/// The type of an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words are those of JSON Schema")]
pub enum ArgumentWord {
    String,
    Integer,
    Number,
    Boolean,
}

impl ArgumentWord {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
        }
    }
}

fn default_rows_max() -> u32 {
    1000
}
