//! All rows of a query of the operator's, one after another, for whoever brings documents in.
//!
//! It is held to what callers' statements are held to ([`check`]): one query, functions that
//! compute, and nothing that is not read from its tree. What may be named are the tables that its
//! role may read, found in the catalogue; a role that could change one of those that it names is
//! not used. It runs in one transaction that is read only, sees one state of the database, and is
//! rolled back; rows come by a cursor, so that no more of them are in memory than one fetch has.

use crate::sql::check::{Checked, check};
use crate::sql::grants::{Dialect, GrantError, Grants, TableGrant, name_fault};
use crate::sql::lex;
use crate::sql::postgres::{BEGIN, GIVEN_UP_AFTER, PostgresDatabase, values};
use crate::sql::refusal::{Refusal, Rule};
use crate::sql::run::RunError;
use futures_util::TryStreamExt;
use lockgate_types::Json;
use sqlparser::tokenizer::Token;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use std::collections::{BTreeMap, BTreeSet};

/// Rows that one fetch of the cursor has.
const FETCHED_MAX: u32 = 500;

/// The columns of relations by these names that the role may read. Those of the system describe
/// and hold more than any query needs.
const COLUMNS: &str = "SELECT n.nspname::pg_catalog.text, c.relname::pg_catalog.text, \
    a.attname::pg_catalog.text FROM pg_catalog.pg_class c \
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid \
    WHERE c.relname = ANY($1) AND c.relkind IN ('r', 'v', 'm', 'p', 'f') \
    AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' \
    AND a.attnum > 0 AND NOT a.attisdropped \
    AND pg_catalog.has_schema_privilege(n.oid, 'USAGE') \
    AND pg_catalog.has_column_privilege(c.oid, a.attnum, 'SELECT') \
    ORDER BY n.nspname, c.relname, a.attnum";

/// Why not all rows of a query were had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowsError<E> {
    /// The query is not one that is asked.
    #[error("the query is refused: {refusal}")]
    Refused {
        /// Why.
        refusal: Refusal,
    },
    /// Functions that are named for it cannot be.
    #[error("{0}")]
    Granted(GrantError),
    /// Its role may change what it reads.
    #[error("{what}: hint: use a role that only reads")]
    MayWrite {
        /// What it may do.
        what: String,
    },
    /// The database did not answer, or refused.
    #[error("{0}")]
    Run(RunError),
    /// Whoever is told does not go on.
    #[error("it was ended by whoever reads it")]
    Ended(E),
}

impl<E> From<RunError> for RowsError<E> {
    fn from(error: RunError) -> Self {
        Self::Run(error)
    }
}

/// What comes of a query, as it comes.
#[derive(Debug)]
pub enum Told<'r> {
    /// The names of its columns: once, before any row.
    Columns(&'r [String]),
    /// A row: a value for each column.
    Row(Vec<Json>),
}

/// What a bundle says about the statement of a source, as far as that is wrong whatever tables
/// there are. `functions`: those that may be called besides the usual ones.
///
/// # Errors
///
/// In words, for whoever has written it.
pub fn check_rows(statement: &str, functions: &[String]) -> Result<(), String> {
    let grants = grants(BTreeMap::new(), functions, 1).map_err(|error| error.to_string())?;
    match check(statement, &[], &grants) {
        Ok(_) => Ok(()),
        // Which there are is known by the database alone.
        Err(refusal) if matches!(refusal.rule, Rule::Table | Rule::Column) => Ok(()),
        Err(refusal) => Err(refusal.to_string()),
    }
}

/// Relations with their columns, by schema and name.
type Relations = BTreeMap<(String, String), Vec<String>>;

fn grants(relations: Relations, functions: &[String], rows_max: u32) -> Result<Grants, GrantError> {
    let functions: Vec<&str> = functions.iter().map(String::as_str).collect();
    let table = |((schema, name), columns): ((String, String), Vec<String>)| TableGrant {
        columns,
        ..TableGrant::new(&schema, &name, &[])
    };
    let tables = relations.into_iter().map(table).collect();
    Grants::new(Dialect::Postgres, tables, &functions, rows_max)
}

/// All names that a statement mentions: of these, some are tables.
fn names(statement: &str) -> Result<Vec<String>, Refusal> {
    let tokens = lex::on_large_stack(|| lex::tokens(Dialect::Postgres, statement))?;
    let name = |token: &Token| match token {
        Token::Word(word) if word.quote_style.is_some() => Some(word.value.clone()),
        Token::Word(word) => Some(word.value.to_ascii_lowercase()),
        _ => None,
    };
    let names: BTreeSet<String> = tokens.iter().filter_map(|it| name(&it.token)).collect();
    Ok(names.into_iter().collect())
}

impl PostgresDatabase {
    /// Tells all rows of a query, as they come. More than `rows_max` are told as one more, so that
    /// whoever counts sees that there are too many.
    ///
    /// # Errors
    ///
    /// If the query is refused, the role may write, the database fails, or `told` does. What was
    /// told until then is not all there is.
    pub async fn each_row<E>(
        &self,
        (statement, functions): (&str, &[String]),
        rows_max: u32,
        told: &mut dyn FnMut(Told<'_>) -> Result<(), E>,
    ) -> Result<(), RowsError<E>> {
        let names = names(statement).map_err(|refusal| RowsError::Refused { refusal })?;
        let mut connection = self.connection().await?;
        let work = self.tell(&mut connection, (statement, functions, names, rows_max), told);
        match tokio::time::timeout(self.bounds.time + GIVEN_UP_AFTER, work).await {
            Ok(done) => done,
            Err(_) => {
                // Whatever it is in the middle of, nobody else shall use this connection.
                drop(connection.detach());
                Err(RunError::TimedOut { after: self.bounds.time }.into())
            }
        }
    }

    async fn tell<E>(
        &self,
        connection: &mut PgConnection,
        (statement, functions, names, rows_max): (&str, &[String], Vec<String>, u32),
        told: &mut dyn FnMut(Told<'_>) -> Result<(), E>,
    ) -> Result<(), RowsError<E>> {
        let begun = connection.begin_with(BEGIN).await;
        let mut transaction = begun.map_err(|error| self.failed(error))?;
        self.set_bounds(&mut transaction).await?;
        let relations = self.relations(&mut transaction, names).await?;
        let grants = grants(relations, functions, rows_max).map_err(RowsError::Granted)?;
        let checked = check(statement, &[], &grants);
        let checked = checked.map_err(|refusal| RowsError::Refused { refusal })?;
        let own = grants.only(&checked.reads().tables);
        let found = self.inspect(&own).await?;
        if let Some(finding) = found.iter().find(|finding| finding.is_more_than_reading()) {
            return Err(RowsError::MayWrite { what: finding.to_string() });
        }
        let done = self.fetch_all(&mut transaction, &checked, told).await;
        let rolled_back = transaction.rollback().await;
        let forgotten = connection.clear_cached_statements().await;
        done?;
        forgotten.map_err(|error| self.failed(error))?;
        rolled_back.map_err(|error| self.failed(error))?;
        Ok(())
    }

    async fn relations(
        &self,
        connection: &mut PgConnection,
        names: Vec<String>,
    ) -> Result<Relations, RunError> {
        let failed = |error| self.failed(error);
        let rows = sqlx::query(COLUMNS).persistent(false).bind(names);
        let rows = rows.fetch_all(&mut *connection).await.map_err(failed)?;
        let mut relations = Relations::new();
        for row in rows {
            let text = |at: usize| row.try_get::<String, _>(at).map_err(failed);
            let (schema, name, column) = (text(0)?, text(1)?, text(2)?);
            // What has a name that no statement may have is not there for one.
            if [&schema, &name, &column].into_iter().all(|name| name_fault(name).is_none()) {
                relations.entry((schema, name)).or_default().push(column);
            }
        }
        Ok(relations)
    }

    async fn fetch_all<E>(
        &self,
        connection: &mut PgConnection,
        checked: &Checked,
        told: &mut dyn FnMut(Told<'_>) -> Result<(), E>,
    ) -> Result<(), RowsError<E>> {
        told(Told::Columns(checked.columns())).map_err(RowsError::Ended)?;
        // The text is our own writing, from our own tree.
        let declare = format!("DECLARE lockgate NO SCROLL CURSOR FOR {}", checked.text());
        let declare = sqlx::query(AssertSqlSafe(declare)).persistent(false);
        declare.execute(&mut *connection).await.map_err(|error| self.failed(error))?;
        let fetch = format!("FETCH FORWARD {FETCHED_MAX} FROM lockgate");
        loop {
            let mut is_empty = true;
            // One after another: a single value may be large.
            let mut rows = sqlx::query(AssertSqlSafe(fetch.clone())).fetch(&mut *connection);
            while let Some(row) = rows.try_next().await.map_err(|error| self.failed(error))? {
                is_empty = false;
                let row = values(&row, checked.columns())?;
                told(Told::Row(row)).map_err(RowsError::Ended)?;
            }
            if is_empty {
                return Ok(());
            }
        }
    }
}
