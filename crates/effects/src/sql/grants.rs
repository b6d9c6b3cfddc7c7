//! What a caller may see: tables, columns, functions, filters, masks.
//!
//! Grants are made once per bundle or once per decision; making them parses every filter and mask,
//! so that a mistake of the operator's is found before anybody calls.

use crate::sql::expression::operator_expression;
use crate::sql::functions;
use crate::sql::refusal::Refusal;
use crate::sql::tree::Expression;
use lockgate_types::Json;
use std::collections::{BTreeMap, BTreeSet};

/// Tables of one set of grants.
const TABLES_MAX: usize = 512;
/// Columns of one table: more than PostgreSQL and SQLite have.
const COLUMNS_MAX: usize = 2000;
/// Row filters of one table, each from an obligation.
const FILTERS_MAX: usize = 64;
/// Bytes of an identifier: PostgreSQL cuts longer ones off and so would read another name.
pub(super) const NAME_BYTES_MAX: usize = 63;

/// Which database reads the statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// PostgreSQL 13 and newer.
    Postgres,
    /// SQLite, as it is built into this program.
    Sqlite,
}

/// A value that is bound, and never becomes part of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parameter {
    /// `NULL`.
    Null,
    /// A truth value.
    Boolean(bool),
    /// An integer.
    Integer(i64),
    /// Any other number, as it was written.
    Decimal(String),
    /// Text. PostgreSQL takes it as `text`: a date is compared with `CAST($1 AS date)`.
    Text(String),
}

impl Parameter {
    /// The parameter for a JSON value; `None` for arrays, objects, and text with a NUL, which
    /// PostgreSQL has not.
    pub fn from_json(value: &Json) -> Option<Self> {
        match value {
            Json::Null => Some(Self::Null),
            Json::Bool(value) => Some(Self::Boolean(*value)),
            Json::Number(number) => Some(match number.as_i64() {
                Some(value) => Self::Integer(value),
                None => Self::Decimal(number.text().to_owned()),
            }),
            Json::String(text) if !text.contains('\0') => Some(Self::Text(text.clone())),
            Json::String(_) | Json::Array(_) | Json::Object(_) => None,
        }
    }
}

/// A table that may be read.
#[derive(Clone, Debug)]
pub struct TableGrant {
    /// Its schema; `main` for SQLite.
    pub schema: String,
    /// Its name, as the database knows it.
    pub name: String,
    /// The columns that may be read, in the order in which `*` gives them.
    pub columns: Vec<String>,
    /// Which rows may be read: those that every filter lets pass.
    pub filters: Vec<RowFilter>,
    /// What stands in place of a column: an SQL expression over the table's columns.
    pub masks: BTreeMap<String, String>,
}

impl TableGrant {
    /// All rows of some columns.
    pub fn new(schema: &str, name: &str, columns: &[&str]) -> Self {
        Self {
            schema: schema.to_owned(),
            name: name.to_owned(),
            columns: columns.iter().map(|column| (*column).to_owned()).collect(),
            filters: Vec::new(),
            masks: BTreeMap::new(),
        }
    }

    /// Lets pass only rows that meet a condition as well.
    #[must_use]
    pub fn filtered(mut self, condition: &str, values: Vec<Parameter>) -> Self {
        self.filters.push(RowFilter { condition: condition.to_owned(), values });
        self
    }

    /// Shows an expression in place of a column.
    #[must_use]
    pub fn masked(mut self, column: &str, expression: &str) -> Self {
        self.masks.insert(column.to_owned(), expression.to_owned());
        self
    }
}

/// A condition that rows have to meet.
#[derive(Clone, Debug)]
pub struct RowFilter {
    /// An SQL condition over the columns of the table, granted or not: `tenant = $1`. Subqueries
    /// are not accepted.
    pub condition: String,
    /// The values of its `$1`, `$2`, …: bound, never spliced.
    pub values: Vec<Parameter>,
}

/// Why grants could not be made: a mistake of the operator's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// A name that no grant can have: system schemas, names too long or with control characters.
    #[error("`{name}` cannot be granted: {reason}")]
    Name {
        /// The name.
        name: String,
        /// Why not.
        reason: &'static str,
    },
    /// A table, or a column of a table, is granted twice.
    #[error("`{name}` is granted twice")]
    Twice {
        /// The name.
        name: String,
    },
    /// More than there may be.
    #[error("more than {max} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The bound.
        max: usize,
    },
    /// A function that has side effects, reads what no grant covers, or waits.
    #[error("function `{name}` is never granted: it may act, wait, or read beyond the grants")]
    Function {
        /// The function.
        name: String,
    },
    /// A filter or mask is not an acceptable expression.
    #[error("the filter or mask `{text}` of table `{table}` is refused: {refusal}")]
    Expression {
        /// The table.
        table: String,
        /// The expression.
        text: String,
        /// What is wrong with it.
        refusal: Refusal,
    },
    /// A mask for a column that is not granted would never be used.
    #[error("table `{table}` masks `{column}`, which it does not grant")]
    MaskedColumn {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
}

/// What a caller may see. Only what was checked can be one.
#[derive(Clone, Debug)]
pub struct Grants {
    pub(super) dialect: Dialect,
    pub(super) tables: Vec<Table>,
    pub(super) functions: BTreeSet<String>,
    pub(super) rows_max: u32,
}

/// A granted table, with its expressions parsed.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub(super) schema: String,
    pub(super) name: String,
    pub(super) columns: Vec<String>,
    pub(super) filters: Vec<(Expression, Vec<Parameter>)>,
    pub(super) masks: BTreeMap<String, Expression>,
}

impl Grants {
    /// Grants of tables, the usual functions, and others by name (`schema.name` for functions of
    /// the operator's own in PostgreSQL). At most `rows_max` rows are answered.
    pub fn new(
        dialect: Dialect,
        tables: Vec<TableGrant>,
        more_functions: &[&str],
        rows_max: u32,
    ) -> Result<Self, GrantError> {
        let functions = all_functions(dialect, more_functions)?;
        let mut grants = Self { dialect, tables: Vec::new(), functions, rows_max };
        if tables.len() > TABLES_MAX {
            return Err(GrantError::TooMany { what: "tables", max: TABLES_MAX });
        }
        for table in tables {
            let table = grants.table(table)?;
            if grants.find(Some(&table.schema), &table.name).next().is_some() {
                return Err(GrantError::Twice { name: table.name });
            }
            grants.tables.push(table);
        }
        Ok(grants)
    }

    /// Of the tables only those with these numbers.
    pub(super) fn only(&self, numbers: &BTreeSet<usize>) -> Self {
        let tables = self.tables.iter().enumerate().filter(|(at, _)| numbers.contains(at));
        let tables = tables.map(|(_, table)| table.clone()).collect();
        Self { tables, ..self.clone() }
    }

    /// Which database they are for.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// The granted tables of that name.
    pub(super) fn find(
        &self,
        schema: Option<&str>,
        name: &str,
    ) -> impl Iterator<Item = (usize, &Table)> {
        self.tables.iter().enumerate().filter(move |(_, table)| {
            table.name == name && schema.is_none_or(|schema| table.schema == schema)
        })
    }

    fn table(&self, grant: TableGrant) -> Result<Table, GrantError> {
        let schema = self.name(&grant.schema)?;
        let name = self.name(&grant.name)?;
        check_relation(self.dialect, &schema, &name)?;
        if grant.columns.is_empty() {
            return Err(GrantError::Name { name, reason: "no column of it is granted" });
        }
        if grant.columns.len() > COLUMNS_MAX {
            return Err(GrantError::TooMany { what: "columns of a table", max: COLUMNS_MAX });
        }
        if grant.filters.len() > FILTERS_MAX {
            return Err(GrantError::TooMany { what: "row filters of a table", max: FILTERS_MAX });
        }
        let mut columns = Vec::new();
        for column in &grant.columns {
            let column = self.name(column)?;
            if columns.contains(&column) {
                return Err(GrantError::Twice { name: column });
            }
            columns.push(column);
        }
        let mut filters = Vec::new();
        for filter in grant.filters {
            let parsed = self.expression(&name, &filter.condition, &filter.values)?;
            filters.push((parsed, filter.values));
        }
        let mut masks = BTreeMap::new();
        for (column, text) in &grant.masks {
            let column = self.name(column)?;
            if !columns.contains(&column) {
                return Err(GrantError::MaskedColumn { table: name, column });
            }
            masks.insert(column, self.expression(&name, text, &[])?);
        }
        Ok(Table { schema, name, columns, filters, masks })
    }

    fn expression(
        &self,
        table: &str,
        text: &str,
        values: &[Parameter],
    ) -> Result<Expression, GrantError> {
        operator_expression(text, values, self).map_err(|refusal| GrantError::Expression {
            table: table.to_owned(),
            text: text.to_owned(),
            refusal,
        })
    }

    /// A name as the database compares it.
    fn name(&self, name: &str) -> Result<String, GrantError> {
        match name_fault(name) {
            Some(reason) => Err(GrantError::Name { name: name.to_owned(), reason }),
            None => Ok(self.dialect.compared(name)),
        }
    }
}

impl Dialect {
    /// A quoted name as the database compares it: SQLite ignores the case of ASCII letters.
    pub(super) fn compared(self, name: &str) -> String {
        match self {
            Self::Postgres => name.to_owned(),
            Self::Sqlite => name.to_ascii_lowercase(),
        }
    }
}

/// What is wrong with a name, quoted or not.
///
/// Letters and digits of any script, so that every table can be named; but nothing that ends a
/// quotation, hides, or reorders what a person reads.
pub(super) fn name_fault(name: &str) -> Option<&'static str> {
    let is_plain = |it: char| it.is_alphanumeric() || matches!(it, '_' | '-' | ' ' | '$' | '.');
    // As our own names for what has none, which are accepted again.
    let is_nameless = name == UNNAMED;
    if name.is_empty() {
        return Some("a name is empty");
    }
    if name.len() > NAME_BYTES_MAX {
        return Some("a name is longer than 63 bytes");
    }
    (!name.chars().all(is_plain) && !is_nameless)
        .then_some("a name has characters other than letters, digits, `_`, `-`, `$`, `.` and space")
}

/// What a column is called that has no name.
pub(super) const UNNAMED: &str = "?column?";

fn check_relation(dialect: Dialect, schema: &str, name: &str) -> Result<(), GrantError> {
    let reason = match dialect {
        Dialect::Postgres if schema.starts_with("pg_") || schema == "information_schema" => {
            "schemas of the system describe and hold more than any grant"
        }
        Dialect::Sqlite if schema != "main" => "the schema of an SQLite table is `main`",
        Dialect::Sqlite if name.starts_with("sqlite_") || name.starts_with("pragma_") => {
            "tables of SQLite itself describe more than any grant"
        }
        Dialect::Postgres | Dialect::Sqlite => return Ok(()),
    };
    Err(GrantError::Name { name: format!("{schema}.{name}"), reason })
}

fn all_functions(dialect: Dialect, more: &[&str]) -> Result<BTreeSet<String>, GrantError> {
    let usual = functions::usual(dialect).iter().map(|name| (*name).to_owned());
    let mut all: BTreeSet<String> = usual.collect();
    for name in more {
        let parts: Vec<&str> = name.split('.').collect();
        let is_shaped = match dialect {
            Dialect::Postgres => parts.len() <= 2,
            Dialect::Sqlite => parts.len() == 1,
        };
        if let Some(reason) = parts.iter().find_map(|part| name_fault(part)) {
            return Err(GrantError::Name { name: (*name).to_owned(), reason });
        }
        if !is_shaped || functions::is_never_granted(&name.to_ascii_lowercase()) {
            return Err(GrantError::Function { name: (*name).to_owned() });
        }
        all.insert(dialect.compared(name));
    }
    Ok(all)
}
