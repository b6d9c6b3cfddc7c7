//! SQL tools: one statement of a caller, checked against what it was granted, rewritten, and run.
//!
//! **The threat.** The text comes from a model, hence from whoever wrote what the model read. It
//! may try to write, to see other tables, rows or columns, to call functions with side effects, to
//! leave its transaction, or to be read by the database as something other than what was checked.
//!
//! **The answer.** [`check`] is pure. It reads the text with a parser, and builds from it a tree of
//! its own that has room for queries and for nothing else; every name in it is resolved against the
//! [`Grants`]. What the database gets is written from that tree, never the caller's text: whatever
//! two parsers might read differently has no way through. Each table becomes a subquery with the
//! permitted columns, its masks and its row filter, fenced so that no condition of the caller is
//! evaluated on a row before the filter has let it pass. [`SqliteDatabase`] and
//! [`PostgresDatabase`] then run it read only, under barriers that do not rely on the check.
//!
//! **Not known here**: who calls, and why something is granted. Filters and masks come as SQL of
//! the operator's, with values that are bound and never become text.
//!
//! Sources: the SQLite documentation ("Defense Against The Dark Arts", `sqlite3_set_authorizer`,
//! the subquery flattener's rules), the PostgreSQL manual (5.8 on row security and leaking
//! functions, 41.5 on rules and privileges, 4.1 on lexical structure), CVE-2018-1058 on
//! `search_path`, and reports of SQL tools whose keyword guards were passed by writes within
//! `WITH`, by `EXPLAIN ANALYZE`, by functions with side effects and by stacked statements.

mod check;
mod grants;
mod refusal;

mod lex;
mod tree;

mod binding;
mod expression;
mod functions;
mod operators;
mod query;
mod reads;
mod result;
mod scope;
mod source;
mod types;

mod render;
mod render_expression;

mod change;
mod run;

mod postgres;
mod postgres_value;
mod rows;
mod sqlite;

#[cfg(test)]
mod tests;

pub use change::{Change, change};
pub use check::{Checked, check};
pub use grants::{Dialect, GrantError, Grants, Parameter, RowFilter, TableGrant};
pub use postgres::{PostgresDatabase, RoleFinding};
pub use reads::Reads;
pub use refusal::{Place, Refusal, Rule};
pub use rows::{RowsError, Told, check_rows};
pub use run::{Answer, RunBounds, RunError};
pub use sqlite::SqliteDatabase;
