//! Rows that a transaction writes and does not read again: PostgreSQL gets those of a whole batch
//! in one statement, since each is a way there and back.

use crate::db::{DbError, Value};
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Postgres};

/// Bytes that are kept back. Beyond, they are written at once.
const BYTES_MAX: usize = 1 << 20;

/// A table that rows are added to, or replaced in.
pub(crate) struct Table {
    pub(crate) name: &'static str,
    /// Adds one row.
    pub(crate) insert: &'static str,
    /// Adds many in PostgreSQL: one array for each column.
    pub(crate) insert_many: &'static str,
}

/// Rows of one table, column by column.
struct Rows {
    table: &'static Table,
    columns: Vec<Column>,
}

enum Column {
    Int(Vec<Option<i64>>),
    Text(Vec<Option<String>>),
    Blob(Vec<Option<Vec<u8>>>),
}

impl Column {
    const fn like(value: &Value<'_>) -> Self {
        match value {
            Value::Int(_) => Self::Int(Vec::new()),
            Value::Text(_) => Self::Text(Vec::new()),
            Value::Blob(_) => Self::Blob(Vec::new()),
        }
    }

    /// `Err`: it is another kind of column.
    fn push(&mut self, value: &Value<'_>) -> Result<(), DbError> {
        match (self, value) {
            (Self::Int(all), Value::Int(value)) => all.push(*value),
            (Self::Text(all), Value::Text(value)) => all.push(value.map(str::to_owned)),
            (Self::Blob(all), Value::Blob(value)) => all.push(value.map(<[u8]>::to_vec)),
            _ => return Err(DbError::Column),
        }
        Ok(())
    }
}

/// What is kept back until the transaction ends, or something reads it.
#[derive(Default)]
pub(crate) struct Later {
    tables: Vec<Rows>,
    bytes: usize,
}

impl Later {
    /// Keeps a row back; `true`: it is time to write.
    pub(crate) fn add(
        &mut self,
        table: &'static Table,
        given: &[Value<'_>],
    ) -> Result<bool, DbError> {
        let at = self.tables.iter().position(|rows| rows.table.name == table.name);
        let at = at.unwrap_or_else(|| {
            self.tables.push(Rows { table, columns: given.iter().map(Column::like).collect() });
            self.tables.len() - 1
        });
        let rows = self.tables.get_mut(at).ok_or(DbError::Column)?;
        if rows.columns.len() != given.len() {
            return Err(DbError::Column);
        }
        for (column, value) in rows.columns.iter_mut().zip(given) {
            column.push(value)?;
            self.bytes += match value {
                Value::Int(_) => size_of::<i64>(),
                Value::Text(text) => text.map_or(0, str::len),
                Value::Blob(bytes) => bytes.map_or(0, <[u8]>::len),
            };
        }
        Ok(self.bytes > BYTES_MAX)
    }

    /// Whether a statement may be about something that is kept back.
    pub(crate) fn is_about(&self, statement: &str) -> bool {
        self.tables.iter().any(|rows| statement.contains(rows.table.name))
    }

    /// The statements that write what was kept back, in the order in which tables were begun.
    pub(crate) fn take(&mut self) -> impl Iterator<Item = Query<'static, Postgres, PgArguments>> {
        self.bytes = 0;
        std::mem::take(&mut self.tables).into_iter().map(|rows| {
            let query = sqlx::query(AssertSqlSafe(rows.table.insert_many));
            rows.columns.into_iter().fold(query, |query, column| match column {
                Column::Int(all) => query.bind(all),
                Column::Text(all) => query.bind(all),
                Column::Blob(all) => query.bind(all),
            })
        })
    }
}
