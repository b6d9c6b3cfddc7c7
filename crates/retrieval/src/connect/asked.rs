//! Rows that a query of a database server gives, each a document.
//!
//! Who asks is given by the caller, so that the rules for everything that leaves the gate, and
//! those for statements, hold here as well.

use super::table::{QueryColumns, Table, Taking};
use super::{ConnectError, Connector, Content, Entry, Listing};
use crate::format::Rows;

/// Asks one query, under the rules of whoever gives it.
pub trait Ask {
    /// Tells what the query gives, as it comes. What `answer` refuses ends it. A query whose rows
    /// did not all come is an error: what is not told is taken for deleted.
    fn ask(&mut self, answer: &mut dyn Answer) -> Result<(), ConnectError>;
}

/// Who is told what a query gives.
pub trait Answer {
    /// The names of its columns: once, before any row.
    fn columns(&mut self, names: Vec<String>) -> Result<(), ConnectError>;

    /// A row: a value for each column.
    fn row(&mut self, values: Vec<Option<String>>) -> Result<(), ConnectError>;
}

/// A query as a source.
pub struct Asked {
    ask: Box<dyn Ask + Send>,
    table: Table,
}

impl std::fmt::Debug for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Asked").field("table", &self.table).finish_non_exhaustive()
    }
}

impl Asked {
    /// What a query gives that `ask` asks. `rows` names the column that is the key.
    pub fn new(ask: Box<dyn Ask + Send>, rows: Rows, columns: QueryColumns) -> Self {
        Self { ask, table: Table::new(rows, columns) }
    }
}

/// Gathers what is told.
struct Gathering<'t> {
    table: &'t Table,
    taking: Option<Taking<'t>>,
}

impl Answer for Gathering<'_> {
    fn columns(&mut self, names: Vec<String>) -> Result<(), ConnectError> {
        self.taking = Some(self.table.taking(names)?);
        Ok(())
    }

    fn row(&mut self, values: Vec<Option<String>>) -> Result<(), ConnectError> {
        match &mut self.taking {
            Some(taking) => taking.take(values),
            None => Err(ConnectError::Mismatch { why: "a row without columns".to_owned() }),
        }
    }
}

impl Connector for Asked {
    fn list(&mut self, _cursor: Option<&str>) -> Result<Listing, ConnectError> {
        let mut gathering = Gathering { table: &self.table, taking: None };
        self.ask.ask(&mut gathering)?;
        let taking = gathering.taking;
        let taking = taking.ok_or_else(|| ConnectError::away("the query told no columns"))?;
        let (listing, listed) = taking.finish();
        self.table.keep(listed);
        Ok(listing)
    }

    fn fetch(&mut self, entry: &Entry, known: Option<&str>) -> Result<Content, ConnectError> {
        Ok(self.table.fetch(entry, known))
    }
}
