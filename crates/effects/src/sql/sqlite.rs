//! Running a checked statement on SQLite.
//!
//! The barriers here know nothing of how the statement was checked: the file is opened read only,
//! `query_only` is set, the schema is not trusted, text in double quotes is never a string, and an
//! authorizer allows the reading of exactly those columns, and the calling of exactly those
//! functions, that the statement's own tree names.

use crate::sql::check::Checked;
use crate::sql::grants::{Dialect, Parameter};
use crate::sql::run::{Answer, Rows, RunBounds, RunError, float};
use crate::sql::tree::Footprint;
use lockgate_types::{Json, Number};
use rusqlite::config::DbConfig;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, OpenFlags, Statement};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Steps of SQLite's machine between two looks at the clock: some tens of microseconds.
pub(super) const LOOK_EVERY: i32 = 1000;
/// Bytes of a value, and of all values of a row: functions that put texts together stop here.
const VALUE_BYTES_MAX: i32 = 16 << 20;
/// How long a lock of another process is waited for: writers hold it for less.
pub(super) const LOCKED_FOR: Duration = Duration::from_secs(1);

/// An SQLite database that statements are run on.
#[derive(Clone, Debug)]
pub struct SqliteDatabase {
    pub(super) path: PathBuf,
    pub(super) bounds: RunBounds,
}

impl SqliteDatabase {
    /// The database in a file.
    pub fn new(path: &Path, bounds: RunBounds) -> Self {
        Self { path: path.to_owned(), bounds }
    }

    /// Runs a statement, on a thread that may wait.
    pub async fn run(&self, checked: &Checked) -> Result<Answer, RunError> {
        let (database, checked) = (self.clone(), checked.clone());
        let run = tokio::task::spawn_blocking(move || database.run_here(&checked));
        run.await.unwrap_or_else(|error| {
            Err(RunError::Unreachable { detail: format!("the thread was lost: {error}") })
        })
    }

    fn run_here(&self, checked: &Checked) -> Result<Answer, RunError> {
        if checked.dialect() != Dialect::Sqlite {
            return Err(RunError::Dialect { checked: checked.dialect() });
        }
        let connection = self
            .open(checked.footprint().clone())
            .map_err(|error| RunError::Unreachable { detail: error.to_string() })?;
        let failed = |error| self.failed(error);
        let mut statement = connection.prepare(checked.text()).map_err(failed)?;
        if !statement.readonly() {
            return Err(RunError::Barrier { detail: "the statement writes".to_owned() });
        }
        bind(&mut statement, checked.values()).map_err(failed)?;
        let mut rows = Rows::within(checked.rows_max(), self.bounds);
        let mut found = statement.raw_query();
        while let Some(row) = found.next().map_err(failed)? {
            let mut values = Vec::with_capacity(checked.columns().len());
            for (at, column) in checked.columns().iter().enumerate() {
                values.push(value(row.get_ref(at).map_err(failed)?, column)?);
            }
            if !rows.take(values) {
                break;
            }
        }
        Ok(rows.into_answer(checked.columns().to_vec()))
    }

    /// Opens the database for one statement.
    pub(super) fn open(&self, footprint: Footprint) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(&self.path, flags)?;
        connection.busy_timeout(LOCKED_FOR.min(self.bounds.time))?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DDL, false)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
        connection.pragma_update(None, "query_only", true)?;
        connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, VALUE_BYTES_MAX)?;
        connection.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
        let until = Instant::now() + self.bounds.time;
        connection.progress_handler(LOOK_EVERY, Some(move || Instant::now() >= until))?;
        connection
            .authorizer(Some(move |context: AuthContext<'_>| authorize(&footprint, &context)))?;
        Ok(connection)
    }

    pub(super) fn failed(&self, error: rusqlite::Error) -> RunError {
        let detail = error.to_string();
        let (failure, words) = match &error {
            rusqlite::Error::SqliteFailure(failure, words) => (failure, words.as_deref()),
            rusqlite::Error::SqlInputError { error, msg, .. } => (error, Some(msg.as_str())),
            _ => return RunError::Database { state: "none".to_owned(), detail },
        };
        // Of functions, the authorizer's denial has no code of its own.
        if words.is_some_and(|words| words.starts_with("not authorized")) {
            return RunError::Barrier { detail };
        }
        match failure.code {
            ErrorCode::OperationInterrupted => RunError::TimedOut { after: self.bounds.time },
            ErrorCode::AuthorizationForStatementDenied | ErrorCode::ReadOnly => {
                RunError::Barrier { detail }
            }
            ErrorCode::CannotOpen | ErrorCode::NotADatabase | ErrorCode::DatabaseBusy => {
                RunError::Unreachable { detail }
            }
            _ => RunError::Database { state: failure.extended_code.to_string(), detail },
        }
    }
}

/// What a statement may do while it is prepared: read what its tree reads, and nothing else.
fn authorize(footprint: &Footprint, context: &AuthContext<'_>) -> Authorization {
    let is_main = context.database_name.is_none_or(|name| name == "main");
    let is_allowed = match context.action {
        AuthAction::Select => true,
        AuthAction::Read { table_name, column_name } if is_main => {
            reads(footprint, table_name, column_name)
                || context.accessor.is_some_and(|view| reads_from(footprint, view))
        }
        AuthAction::Function { function_name } => {
            let name = function_name.to_ascii_lowercase();
            footprint.calls.contains(&name) || OPERATORS.contains(&name.as_str())
        }
        _ => false,
    };
    if is_allowed { Authorization::Allow } else { Authorization::Deny }
}

/// Functions that stand behind operators.
const OPERATORS: &[&str] = &["like", "glob", "->", "->>"];

/// Whether a column is read; a table is read without a column where its rows are only counted.
fn reads(footprint: &Footprint, table: &str, column: &str) -> bool {
    let (table, column) = (table.to_ascii_lowercase(), column.to_ascii_lowercase());
    if column.is_empty() {
        return reads_from(footprint, &table);
    }
    footprint.reads.contains(&(table, column))
}

fn reads_from(footprint: &Footprint, table: &str) -> bool {
    footprint.reads.iter().any(|(known, _)| known.eq_ignore_ascii_case(table))
}

/// Binds the values that occur; those that became part of a bound, or are null, do not.
pub(super) fn bind(statement: &mut Statement<'_>, values: &[Parameter]) -> rusqlite::Result<()> {
    for (at, value) in values.iter().take(statement.parameter_count()).enumerate() {
        match value {
            Parameter::Null => {}
            Parameter::Boolean(value) => statement.raw_bind_parameter(at + 1, value)?,
            Parameter::Integer(value) => statement.raw_bind_parameter(at + 1, value)?,
            Parameter::Decimal(text) | Parameter::Text(text) => {
                statement.raw_bind_parameter(at + 1, text)?;
            }
        }
    }
    Ok(())
}

fn value(value: ValueRef<'_>, column: &str) -> Result<Json, RunError> {
    let unshown = |kind: &str| RunError::Value { column: column.to_owned(), kind: kind.to_owned() };
    match value {
        ValueRef::Null => Ok(Json::Null),
        ValueRef::Integer(value) => Ok(Json::Number(Number::from(value))),
        ValueRef::Real(value) => Ok(float(value)),
        ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Json::String(text.to_owned())),
            Err(_) => Err(unshown("text that is not UTF-8")),
        },
        ValueRef::Blob(_) => Err(unshown("blob")),
    }
}
