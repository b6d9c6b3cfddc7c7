//! Rows that a query of an SQLite database gives, each a document.
//!
//! The database is the operator's own: it is opened for reading, in this process.

use super::table::{QueryColumns, Table};
use super::{ConnectError, Connector, Content, Entry, Listing};
use crate::format::Rows;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use std::path::PathBuf;

/// How long a database that somebody writes to is waited for.
const BUSY_WITHIN: std::time::Duration = std::time::Duration::from_secs(5);

/// A query as a source.
#[derive(Debug)]
pub struct Sqlite {
    database: PathBuf,
    query: String,
    table: Table,
}

impl Sqlite {
    /// What that query gives. `rows` names the column that is the key.
    pub const fn new(database: PathBuf, query: String, rows: Rows, columns: QueryColumns) -> Self {
        Self { database, query, table: Table::new(rows, columns) }
    }

    fn open(&self) -> Result<Connection, rusqlite::Error> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.database, flags)?;
        connection.busy_timeout(BUSY_WITHIN)?;
        connection.pragma_update(None, "trusted_schema", false)?;
        connection.pragma_update(None, "cell_size_check", true)?;
        connection.pragma_update(None, "query_only", true)?;
        Ok(connection)
    }
}

/// A value as text.
fn text(value: ValueRef<'_>) -> Option<String> {
    match value {
        ValueRef::Null => None,
        ValueRef::Integer(number) => Some(number.to_string()),
        ValueRef::Real(number) => Some(number.to_string()),
        ValueRef::Text(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        ValueRef::Blob(bytes) => Some(format!("[{} bytes]", bytes.len())),
    }
}

impl Connector for Sqlite {
    fn list(&mut self, _cursor: Option<&str>) -> Result<Listing, ConnectError> {
        let connection = self.open().map_err(ConnectError::away)?;
        let mut statement = connection.prepare(&self.query).map_err(ConnectError::away)?;
        if !statement.readonly() {
            return Err(ConnectError::Mismatch { why: "the query writes".to_owned() });
        }
        let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
        let count = names.len();
        let mut taking = self.table.taking(names)?;
        let mut rows = statement.query([]).map_err(ConnectError::away)?;
        while let Some(row) = rows.next().map_err(ConnectError::away)? {
            let value = |at| row.get_ref(at).map(text).map_err(ConnectError::away);
            taking.take((0..count).map(value).collect::<Result<_, _>>()?)?;
        }
        let (listing, listed) = taking.finish();
        self.table.keep(listed);
        Ok(listing)
    }

    fn fetch(&mut self, entry: &Entry, known: Option<&str>) -> Result<Content, ConnectError> {
        Ok(self.table.fetch(entry, known))
    }
}
