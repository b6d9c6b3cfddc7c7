//! The database, as the rest of the store speaks to it: SQLite or PostgreSQL, in one dialect.
//!
//! Statements are written once, with `?1`, `?2`… for what they are given, in what both databases
//! understand. Each node of a fleet has a part of the numbers of entries to itself: an entry's
//! *place* is the node's number and its index among all that the node has written. The one node of
//! an embedded database has the number 0, so that there a place is an index.

use crate::later::Table;
use crate::postgres::Session;
use rusqlite::Connection;
use rusqlite::types::{ToSqlOutput, ValueRef};
use sqlx::postgres::PgRow;
use sqlx::{Row as _, TypeInfo, ValueRef as _};

/// Bits of a place that are the index in a log.
const INDEX_BITS: u32 = 40;

/// A database, and which node's part of it is written here.
pub(crate) struct Db {
    engine: Engine,
    node: u64,
}

enum Engine {
    Sqlite(Connection),
    Postgres(Box<Session>),
}

/// What a database could not do.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// What SQLite said.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// What PostgreSQL said, or the way to it.
    #[error(transparent)]
    Postgres(#[from] sqlx::Error),
    /// It is not what was written.
    #[error("a column holds what was never written there")]
    Column,
}

impl DbError {
    /// Whether the connection is gone, and with it all that was not committed.
    pub(crate) fn is_disconnected(&self) -> bool {
        match self {
            Self::Sqlite(_) | Self::Column => false,
            Self::Postgres(sqlx::Error::Database(error)) => {
                // Class 57: the operator, or a timeout, has ended the session.
                // 25P03: it stood idle in a transaction for too long.
                let code = error.code().unwrap_or_default();
                code.starts_with("57P") || code == "25P03"
            }
            Self::Postgres(_) => true,
        }
    }
}

/// Something that a statement is given.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value<'a> {
    Int(Option<i64>),
    Text(Option<&'a str>),
    Blob(Option<&'a [u8]>),
}

/// What a statement is given, in the order of its numbers.
macro_rules! values {
    ($($value:expr),* $(,)?) => { &[$($crate::db::Value::from($value)),*] };
}
pub(crate) use values;

impl Db {
    pub(crate) const fn sqlite(connection: Connection) -> Self {
        Self { engine: Engine::Sqlite(connection), node: 0 }
    }

    /// `node`: not 0.
    pub(crate) fn postgres(session: Session, node: u64) -> Self {
        Self { engine: Engine::Postgres(Box::new(session)), node }
    }

    /// The same database as another node's.
    pub(crate) fn of_node(self, node: u64) -> Self {
        Self { node, ..self }
    }

    /// The embedded database; `None` in a fleet.
    pub(crate) const fn embedded(&self) -> Option<&Connection> {
        match &self.engine {
            Engine::Sqlite(connection) => Some(connection),
            Engine::Postgres(_) => None,
        }
    }

    /// The way to the fleet's database; `None` if it is an embedded one.
    pub(crate) const fn shared(&self) -> Option<&Session> {
        match &self.engine {
            Engine::Sqlite(_) => None,
            Engine::Postgres(session) => Some(session),
        }
    }

    /// This node's number.
    pub(crate) const fn node(&self) -> u64 {
        self.node
    }

    /// Where this node's entry of that index in its order is.
    pub(crate) const fn place(&self, index: u64) -> u64 {
        Self::place_beside(self.node << INDEX_BITS, index)
    }

    /// The first place that is the next node's.
    pub(crate) const fn end(&self) -> u64 {
        Self::first_of(self.node + 1)
    }

    /// The first place that is a node's.
    pub(crate) const fn first_of(node: u64) -> u64 {
        node << INDEX_BITS
    }

    /// The index in this node's log of the entry at a place; of another node's entry, its place.
    pub(crate) const fn index(&self, place: u64) -> u64 {
        if place >> INDEX_BITS == self.node { place - (self.node << INDEX_BITS) } else { place }
    }

    /// The place that an entry at a place means by an index of its node's, or by a place.
    pub(crate) const fn place_beside(place: u64, index: u64) -> u64 {
        let node = place >> INDEX_BITS << INDEX_BITS;
        if index >> INDEX_BITS == 0 { node.saturating_add(index) } else { index }
    }

    /// What entries of this node call another: its index in its log, which its place says unless
    /// `at` does, after the number of its node if that is another.
    pub(crate) const fn reference(&self, place: u64, at: Option<u64>) -> u64 {
        let node = place >> INDEX_BITS << INDEX_BITS;
        self.index(if let Some(at) = at { node | at } else { place })
    }

    /// The node and the index of what an entry at a place calls so.
    pub(crate) const fn referred(place: u64, reference: u64) -> (u64, u64) {
        let at = Self::place_beside(place, reference);
        (at >> INDEX_BITS, at % (1 << INDEX_BITS))
    }

    /// A name that every node has for itself, where it is kept with those of others.
    pub(crate) fn own(&self, name: &str) -> String {
        if self.node == 0 { name.to_owned() } else { format!("{}/{name}", self.node) }
    }

    /// Runs a statement; gives how many rows it has written.
    pub(crate) fn execute(&self, statement: &str, given: &[Value<'_>]) -> Result<usize, DbError> {
        match &self.engine {
            Engine::Sqlite(db) => {
                let mut statement = db.prepare_cached(statement)?;
                Ok(statement.execute(rusqlite::params_from_iter(given))?)
            }
            Engine::Postgres(session) => session.execute(statement, given),
        }
    }

    /// Adds a row, or replaces it. In a fleet it is written when something asks for the table, or
    /// with the commit.
    pub(crate) fn add(&self, table: &'static Table, given: &[Value<'_>]) -> Result<(), DbError> {
        match &self.engine {
            Engine::Sqlite(_) => self.execute(table.insert, given).map(drop),
            Engine::Postgres(session) => session.add(table, given),
        }
    }

    /// The first row that a statement finds.
    pub(crate) fn row<T>(
        &self,
        statement: &str,
        given: &[Value<'_>],
        read: impl FnOnce(&Row<'_>) -> Result<T, DbError>,
    ) -> Result<Option<T>, DbError> {
        match &self.engine {
            Engine::Sqlite(db) => {
                let mut statement = db.prepare_cached(statement)?;
                let mut rows = statement.query(rusqlite::params_from_iter(given))?;
                let row = rows.next()?;
                row.map(|row| read(&Row::Sqlite(row))).transpose()
            }
            Engine::Postgres(session) => {
                let row = session.row(statement, given)?;
                row.map(|row| read(&Row::Postgres(&row))).transpose()
            }
        }
    }

    /// Every row that a statement finds.
    pub(crate) fn rows<T>(
        &self,
        statement: &str,
        given: &[Value<'_>],
        mut read: impl FnMut(&Row<'_>) -> Result<T, DbError>,
    ) -> Result<Vec<T>, DbError> {
        match &self.engine {
            Engine::Sqlite(db) => {
                let mut statement = db.prepare_cached(statement)?;
                let mut rows = statement.query(rusqlite::params_from_iter(given))?;
                let mut all = Vec::new();
                while let Some(row) = rows.next()? {
                    all.push(read(&Row::Sqlite(row))?);
                }
                Ok(all)
            }
            Engine::Postgres(session) => {
                let rows = session.rows(statement, given)?;
                rows.iter().map(|row| read(&Row::Postgres(row))).collect()
            }
        }
    }

    /// Whether a statement finds something.
    pub(crate) fn exists(&self, statement: &str, given: &[Value<'_>]) -> Result<bool, DbError> {
        self.row(statement, given, |_| Ok(())).map(|found| found.is_some())
    }

    /// A value of `meta`.
    pub(crate) fn meta(&self, name: &str) -> Result<Option<Vec<u8>>, DbError> {
        self.row("SELECT value FROM meta WHERE name = ?1", values![name], |row| row.get(0))
    }

    /// Sets a value of `meta`.
    pub(crate) fn set_meta(&self, name: &str, value: &[u8]) -> Result<(), DbError> {
        let set = "INSERT INTO meta (name, value) VALUES (?1, ?2)
                   ON CONFLICT (name) DO UPDATE SET value = excluded.value";
        self.execute(set, values![name, value]).map(drop)
    }

    /// Sets a value of `meta` that nothing changes afterwards.
    pub(crate) fn set_meta_once(&self, name: &str, value: &[u8]) -> Result<(), DbError> {
        let set = "INSERT INTO meta (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO NOTHING";
        self.execute(set, values![name, value]).map(drop)
    }

    /// Begins a transaction. In a fleet nobody else touches what has these names until it ends.
    pub(crate) fn begin(&self, touched: &Touched) -> Result<(), DbError> {
        match &self.engine {
            Engine::Sqlite(_) => self.execute("BEGIN IMMEDIATE", &[]).map(drop),
            Engine::Postgres(session) => session.begin(touched),
        }
    }

    /// Ends a transaction.
    pub(crate) fn commit(&self) -> Result<(), DbError> {
        match &self.engine {
            Engine::Sqlite(_) => self.execute("COMMIT", &[]).map(drop),
            Engine::Postgres(session) => session.commit(),
        }
    }

    /// Undoes a transaction that failed. The database may have done so already; if this fails, the
    /// next transaction does not begin, and its callers are told.
    pub(crate) fn roll_back(&self) {
        match &self.engine {
            Engine::Sqlite(db) if db.is_autocommit() => {}
            Engine::Sqlite(db) => drop(db.execute_batch("ROLLBACK")),
            Engine::Postgres(session) => session.roll_back(),
        }
    }
}

/// Names of what a transaction reads in order to write. Two transactions of a fleet that have one
/// in common take turns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Touched {
    /// Sorted: whoever waits for another waits in the same order, so that nobody waits in a
    /// circle.
    alone: std::collections::BTreeSet<i64>,
    /// Which bundle rules and which requests are open: shared by those who only read it.
    pub(crate) ruling: Option<Alone>,
}

/// Whether something is shared with those who only read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alone {
    No,
    Yes,
}

impl Touched {
    /// Adds a name, in a name space of its own.
    pub(crate) fn add(&mut self, space: &str, name: &[u8]) {
        let mut bytes = space.as_bytes().to_vec();
        bytes.push(0);
        bytes.extend_from_slice(name);
        let digest = lockgate_types::Digest::of(&bytes);
        let short = digest.as_bytes().first_chunk::<8>().copied().unwrap_or_default();
        self.alone.insert(i64::from_be_bytes(short));
    }

    /// Adds which bundle rules, to be read.
    pub(crate) fn reads_ruling(&mut self) {
        self.ruling = self.ruling.or(Some(Alone::No));
    }

    /// Adds which bundle rules, to be written.
    pub(crate) const fn writes_ruling(&mut self) {
        self.ruling = Some(Alone::Yes);
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = i64> {
        self.alone.iter().copied()
    }
}

/// A row that was found.
pub(crate) enum Row<'a> {
    Sqlite(&'a rusqlite::Row<'a>),
    Postgres(&'a PgRow),
}

impl Row<'_> {
    /// A column, from 0.
    pub(crate) fn get<T: Column>(&self, at: usize) -> Result<T, DbError> {
        match self {
            Self::Sqlite(row) => T::of_sqlite(row.get_ref(at)?),
            Self::Postgres(row) => T::of_postgres(row, at),
        }
        .ok_or(DbError::Column)
    }
}

/// What a column can be read as. `None`: it is something else.
pub(crate) trait Column: Sized {
    fn of_sqlite(value: ValueRef<'_>) -> Option<Self>;
    fn of_postgres(row: &PgRow, at: usize) -> Option<Self>;
}

impl Column for i64 {
    fn of_sqlite(value: ValueRef<'_>) -> Option<Self> {
        value.as_i64().ok()
    }

    fn of_postgres(row: &PgRow, at: usize) -> Option<Self> {
        match row.try_get_raw(at).ok()?.type_info().name() {
            "INT4" => row.try_get::<i32, _>(at).ok().map(i64::from),
            _ => row.try_get(at).ok(),
        }
    }
}

impl Column for u64 {
    fn of_sqlite(value: ValueRef<'_>) -> Option<Self> {
        Self::try_from(i64::of_sqlite(value)?).ok()
    }

    fn of_postgres(row: &PgRow, at: usize) -> Option<Self> {
        Self::try_from(i64::of_postgres(row, at)?).ok()
    }
}

impl Column for u32 {
    fn of_sqlite(value: ValueRef<'_>) -> Option<Self> {
        Self::try_from(i64::of_sqlite(value)?).ok()
    }

    fn of_postgres(row: &PgRow, at: usize) -> Option<Self> {
        Self::try_from(i64::of_postgres(row, at)?).ok()
    }
}

impl Column for bool {
    fn of_sqlite(value: ValueRef<'_>) -> Option<Self> {
        value.as_i64().ok().map(|value| value != 0)
    }

    fn of_postgres(row: &PgRow, at: usize) -> Option<Self> {
        row.try_get(at).ok()
    }
}

impl Column for String {
    fn of_sqlite(value: ValueRef<'_>) -> Option<Self> {
        value.as_str().ok().map(str::to_owned)
    }

    fn of_postgres(row: &PgRow, at: usize) -> Option<Self> {
        row.try_get(at).ok()
    }
}

impl Column for Vec<u8> {
    fn of_sqlite(value: ValueRef<'_>) -> Option<Self> {
        value.as_blob().ok().map(<[u8]>::to_vec)
    }

    fn of_postgres(row: &PgRow, at: usize) -> Option<Self> {
        row.try_get(at).ok()
    }
}

impl<const N: usize> Column for [u8; N] {
    fn of_sqlite(value: ValueRef<'_>) -> Option<Self> {
        value.as_blob().ok()?.try_into().ok()
    }

    fn of_postgres(row: &PgRow, at: usize) -> Option<Self> {
        row.try_get::<&[u8], _>(at).ok()?.try_into().ok()
    }
}

impl<T: Column> Column for Option<T> {
    fn of_sqlite(value: ValueRef<'_>) -> Option<Self> {
        match value {
            ValueRef::Null => Some(None),
            value => T::of_sqlite(value).map(Some),
        }
    }

    fn of_postgres(row: &PgRow, at: usize) -> Option<Self> {
        match row.try_get_raw(at).ok()?.is_null() {
            true => Some(None),
            false => T::of_postgres(row, at).map(Some),
        }
    }
}

impl rusqlite::ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Int(Some(value)) => ValueRef::Integer(*value),
            Self::Text(Some(value)) => ValueRef::Text(value.as_bytes()),
            Self::Blob(Some(value)) => ValueRef::Blob(value),
            Self::Int(None) | Self::Text(None) | Self::Blob(None) => ValueRef::Null,
        }))
    }
}

impl From<i64> for Value<'_> {
    fn from(value: i64) -> Self {
        Self::Int(Some(value))
    }
}

impl From<u64> for Value<'_> {
    fn from(value: u64) -> Self {
        // No entry is beyond.
        Self::Int(Some(i64::try_from(value).unwrap_or(i64::MAX)))
    }
}

impl From<u32> for Value<'_> {
    fn from(value: u32) -> Self {
        Self::Int(Some(i64::from(value)))
    }
}

impl From<Option<u64>> for Value<'_> {
    fn from(value: Option<u64>) -> Self {
        Self::Int(value.map(|value| i64::try_from(value).unwrap_or(i64::MAX)))
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(value: &'a str) -> Self {
        Self::Text(Some(value))
    }
}

impl<'a> From<&'a String> for Value<'a> {
    fn from(value: &'a String) -> Self {
        Self::Text(Some(value))
    }
}

impl<'a> From<Option<&'a str>> for Value<'a> {
    fn from(value: Option<&'a str>) -> Self {
        Self::Text(value)
    }
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(value: &'a [u8]) -> Self {
        Self::Blob(Some(value))
    }
}

impl<'a> From<&'a Vec<u8>> for Value<'a> {
    fn from(value: &'a Vec<u8>) -> Self {
        Self::Blob(Some(value))
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Value<'a> {
    fn from(value: &'a [u8; N]) -> Self {
        Self::Blob(Some(value))
    }
}

impl<'a> From<Option<&'a [u8]>> for Value<'a> {
    fn from(value: Option<&'a [u8]>) -> Self {
        Self::Blob(value)
    }
}
