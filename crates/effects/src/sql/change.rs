//! Statements of the operator's that change something: what one may be, and running it.
//!
//! The text is the operator's own and is trusted to mean what it says; a caller gives values, which
//! are bound. So what is checked is its kind: one `INSERT`, `UPDATE` or `DELETE`. What it may touch
//! is for the role to say that it runs under. It happens whole or not at all; whether it happened
//! is unknown only if the connection is lost while it is being committed.

use crate::sql::expression::PARSER_DEPTH_MAX;
use crate::sql::grants::{Dialect, Parameter};
use crate::sql::lex;
use crate::sql::postgres::{GIVEN_UP_AFTER, PostgresDatabase, arguments};
use crate::sql::refusal::{Refusal, Rule, shown};
use crate::sql::run::RunError;
use crate::sql::sqlite::{LOCKED_FOR, LOOK_EVERY, SqliteDatabase, bind};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};
use sqlparser::ast::{FromTable, ObjectName, Statement, TableFactor, TableObject};
use sqlparser::parser::Parser;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// The transaction in which a change happens.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED, READ WRITE";

/// A statement that changes something, with its values. Only [`change`] makes one.
#[derive(Clone, Debug)]
pub struct Change {
    dialect: Dialect,
    text: String,
    values: Vec<Parameter>,
}

/// Checks that a text of the operator's is one statement that changes rows.
pub fn change(dialect: Dialect, text: &str, values: &[Parameter]) -> Result<Change, Refusal> {
    lex::on_large_stack(|| check_here(dialect, text))?;
    Ok(Change { dialect, text: text.to_owned(), values: values.to_vec() })
}

fn check_here(dialect: Dialect, text: &str) -> Result<(), Refusal> {
    let tokens = lex::tokens(dialect, text)?;
    let parser = Parser::new(dialect.grammar()).with_recursion_limit(PARSER_DEPTH_MAX);
    let parsed = parser.with_tokens_with_locations(tokens).parse_statements();
    let statements =
        parsed.map_err(|error| Refusal::new(Rule::Syntax, shown(&error.to_string())))?;
    let [statement] = statements.as_slice() else {
        return Err(Refusal::new(Rule::OneStatement, format!("{} statements", statements.len())));
    };
    let answers = match statement {
        Statement::Insert(insert) => insert.returning.is_some(),
        Statement::Update(update) => update.returning.is_some(),
        Statement::Delete(delete) => delete.returning.is_some(),
        _ => false,
    };
    if answers {
        let what = "`RETURNING`: a change answers how many rows it changed";
        return Err(Refusal::new(Rule::Clause, what));
    }
    let Some(table) = changed_table(statement) else {
        let what = "neither `INSERT` nor `UPDATE` nor `DELETE` of one table";
        return Err(Refusal::new(Rule::Clause, what));
    };
    // Names are looked up in the system's schema alone, so that nobody can put another table in the
    // place of this one.
    if dialect == Dialect::Postgres && table.0.len() != 2 {
        let what = format!("`{table}`: write the table with its schema, `public.{table}`");
        return Err(Refusal::of(Rule::Name, what, table));
    }
    Ok(())
}

/// The table that a statement changes, if it is one that changes one.
fn changed_table(statement: &Statement) -> Option<&ObjectName> {
    let changed = match statement {
        Statement::Insert(insert) => {
            return match &insert.table {
                TableObject::TableName(name) => Some(name),
                _ => None,
            };
        }
        Statement::Update(update) => &update.table,
        Statement::Delete(delete) => match &delete.from {
            FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from) => {
                let [only] = from.as_slice() else { return None };
                only
            }
        },
        _ => return None,
    };
    match &changed.relation {
        TableFactor::Table { name, .. } if changed.joins.is_empty() => Some(name),
        _ => None,
    }
}

impl SqliteDatabase {
    /// Makes a change, on a thread that may wait; how many rows it changed. More than `changed_max`
    /// are none.
    pub async fn change(&self, change: &Change, changed_max: u32) -> Result<u64, RunError> {
        let (database, change) = (self.clone(), change.clone());
        let run = tokio::task::spawn_blocking(move || database.change_here(&change, changed_max));
        run.await.unwrap_or_else(|error| {
            Err(RunError::InDoubt { detail: format!("the thread was lost: {error}") })
        })
    }

    fn change_here(&self, change: &Change, changed_max: u32) -> Result<u64, RunError> {
        if change.dialect != Dialect::Sqlite {
            return Err(RunError::Dialect { checked: change.dialect });
        }
        let failed = |error| self.failed(error);
        let mut connection = self
            .open_to_change()
            .map_err(|error| RunError::Unreachable { detail: error.to_string() })?;
        let behaviour = TransactionBehavior::Immediate;
        let transaction = connection.transaction_with_behavior(behaviour).map_err(failed)?;
        let changed = {
            let mut statement = transaction.prepare(&change.text).map_err(failed)?;
            bind(&mut statement, &change.values).map_err(failed)?;
            statement.raw_execute().map_err(failed)?
        };
        let changed = u64::try_from(changed).unwrap_or(u64::MAX);
        if changed > u64::from(changed_max) {
            transaction.rollback().map_err(failed)?;
            return Err(RunError::TooManyChanges { max: changed_max });
        }
        match transaction.commit() {
            Ok(()) => Ok(changed),
            Err(error) => Err(match error.sqlite_error_code() {
                // These it says before it writes.
                Some(
                    ErrorCode::ConstraintViolation
                    | ErrorCode::DatabaseBusy
                    | ErrorCode::DatabaseLocked
                    | ErrorCode::OperationInterrupted,
                ) => self.failed(error),
                _ => RunError::InDoubt { detail: error.to_string() },
            }),
        }
    }

    fn open_to_change(&self) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(&self.path, flags)?;
        connection.busy_timeout(LOCKED_FOR.min(self.bounds.time))?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
        let until = Instant::now() + self.bounds.time;
        connection.progress_handler(LOOK_EVERY, Some(move || Instant::now() >= until))?;
        Ok(connection)
    }
}

impl PostgresDatabase {
    /// Makes a change; how many rows it changed. More than `changed_max` are none.
    pub async fn change(&self, change: &Change, changed_max: u32) -> Result<u64, RunError> {
        if change.dialect != Dialect::Postgres {
            return Err(RunError::Dialect { checked: change.dialect });
        }
        let mut connection = self.connection().await?;
        let is_committing = AtomicBool::new(false);
        let work = self.change_on(&mut connection, change, changed_max, &is_committing);
        let ended = tokio::time::timeout(self.bounds.time + GIVEN_UP_AFTER, work).await;
        let is_committing = is_committing.load(Ordering::Relaxed);
        let result = ended.unwrap_or(Err(RunError::TimedOut { after: self.bounds.time }));
        match result {
            Ok(changed) => Ok(changed),
            Err(error) => {
                // Whatever it is in the middle of, nobody else shall use this connection. Before
                // the commit, its end takes the change back.
                drop(connection.detach());
                match error {
                    // The database has said that it did not commit.
                    error @ (RunError::Database { .. } | RunError::Barrier { .. }) => Err(error),
                    error if is_committing => Err(RunError::InDoubt { detail: error.to_string() }),
                    error => Err(error),
                }
            }
        }
    }

    async fn change_on(
        &self,
        connection: &mut PgConnection,
        change: &Change,
        changed_max: u32,
        is_committing: &AtomicBool,
    ) -> Result<u64, RunError> {
        let failed = |error| self.failed(error);
        let mut transaction = connection.begin_with(BEGIN).await.map_err(failed)?;
        self.set_bounds(&mut transaction).await?;
        let values = arguments(&change.values).map_err(failed)?;
        // The text is the operator's.
        let query = sqlx::query_with(AssertSqlSafe(change.text.as_str()), values);
        let done = query.persistent(false).execute(&mut *transaction).await.map_err(failed)?;
        let changed = done.rows_affected();
        if changed > u64::from(changed_max) {
            transaction.rollback().await.map_err(failed)?;
            return Err(RunError::TooManyChanges { max: changed_max });
        }
        is_committing.store(true, Ordering::Relaxed);
        transaction.commit().await.map_err(failed)?;
        Ok(changed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(dialect: Dialect, text: &str) -> Option<String> {
        change(dialect, text, &[]).err().map(|refusal| refusal.to_string())
    }

    #[test]
    fn a_change_is_one_statement_of_one_table() {
        for text in [
            "insert into public.notes (owner) values ($1) on conflict do nothing",
            "update public.notes set text = $1 where owner = $2",
            "delete from public.notes where owner = $1",
        ] {
            assert_eq!(refused(Dialect::Postgres, text), None, "{text}");
        }
        for (text, why) in [
            ("delete from notes", "write the table with its schema"),
            ("insert into notes values ($1)", "write the table with its schema"),
            ("update notes set text = $1", "write the table with its schema"),
            ("delete from public.notes; drop table x", "2 statements"),
            ("", "0 statements"),
            ("drop table public.notes", "neither `INSERT`"),
            ("truncate public.notes", "neither `INSERT`"),
            ("select 1", "neither `INSERT`"),
            ("with d as (delete from public.notes) select 1", "neither `INSERT`"),
            ("copy public.notes to program 'x'", "neither `INSERT`"),
            ("delete from public.notes returning *", "`RETURNING`"),
            ("insert into public.notes values ($1) returning owner", "`RETURNING`"),
            ("update public.notes set text = $1 returning text", "`RETURNING`"),
            ("delete from public.notes -- all", "a token that is not accepted"),
        ] {
            let found = refused(Dialect::Postgres, text).unwrap_or_default();
            assert!(found.contains(why), "{text}: {found}");
        }
        assert_eq!(refused(Dialect::Sqlite, "delete from notes where owner = ?1"), None);
    }
}
