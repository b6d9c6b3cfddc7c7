//! What a statement is found to read is what SQLite itself says that it reads: nothing that a
//! policy could forbid is missed.

#![allow(clippy::panic, clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod sql_world;

use lockgate_effects::sql::{Dialect, check};
use rusqlite::Connection;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use sql_world::{View, grants, queries, sqlite_world};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

/// The granted tables, in the order of their numbers.
const TABLES: [&str; 3] = ["customers", "orders", "items"];
/// The least that is compared.
const COMPARED_MIN: usize = 100;

/// The columns that SQLite reads for a text; a table without a column where rows are only counted.
fn read_by_sqlite(connection: &mut Connection, text: &str) -> BTreeSet<(String, String)> {
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    let noted = Arc::clone(&seen);
    let note = move |context: AuthContext<'_>| {
        if let AuthAction::Read { table_name, column_name } = context.action {
            let pair = (table_name.to_owned(), column_name.to_owned());
            noted.lock().unwrap().insert(pair);
        }
        Authorization::Allow
    };
    connection.authorizer(Some(note)).unwrap();
    connection.prepare(text).unwrap();
    connection.authorizer(None::<fn(AuthContext<'_>) -> Authorization>).unwrap();
    std::mem::take(&mut *seen.lock().unwrap())
}

#[test]
fn every_column_that_sqlite_reads_is_found() {
    let mut connection = Connection::open_in_memory().unwrap();
    connection.execute_batch(&sqlite_world()).unwrap();
    let grants = grants(Dialect::Sqlite, View::Open);
    let (mut compared, mut wrong) = (0, Vec::new());
    for query in queries() {
        let Some(text) = query.text(Dialect::Sqlite) else { continue };
        let Ok(checked) = check(text, &query.values(), &grants) else { continue };
        let reads = checked.reads();
        let found = |table: &str, column: &str| {
            let number = TABLES.iter().position(|known| *known == table);
            number.is_some_and(|number| match column {
                "" => reads.tables.contains(&number),
                _ => reads.columns.contains(&(number, column.to_owned())),
            })
        };
        let seen = read_by_sqlite(&mut connection, checked.understood());
        let own = seen.iter().filter(|(table, _)| TABLES.contains(&table.as_str()));
        for (table, column) in own.filter(|(table, column)| !found(table, column)) {
            wrong.push(format!("{text}\n  misses {table}.{column}"));
        }
        compared += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(compared >= COMPARED_MIN, "{compared} compared");
}
