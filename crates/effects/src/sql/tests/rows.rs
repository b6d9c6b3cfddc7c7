use super::postgres::World;
use crate::sql::rows::check_rows;
use crate::sql::{PostgresDatabase, RowsError, RunBounds, RunError, Told};
use sqlx::AssertSqlSafe;

/// All that is told of a query: the columns, then the rows.
async fn told(
    database: &PostgresDatabase,
    statement: &str,
    rows_max: u32,
) -> Result<Vec<String>, RowsError<String>> {
    let (mut all, mut rows) = (Vec::new(), 0);
    let each = &mut |told: Told<'_>| {
        match told {
            Told::Columns(names) => all.push(names.join(" ")),
            Told::Row(values) => {
                rows += 1;
                if rows > rows_max {
                    return Err("more rows than there may be".to_owned());
                }
                let values: Vec<String> = values.iter().map(ToString::to_string).collect();
                all.push(values.join(" "));
            }
        }
        Ok(())
    };
    let functions = ["array_to_string".to_owned()];
    database.each_row((statement, &functions), rows_max, each).await?;
    Ok(all)
}

#[tokio::test]
async fn all_rows_of_a_query_are_told_by_a_role_that_only_reads() {
    let world = World::new().await;
    let database = |role| world.database(role, RunBounds::default());
    let reader = database("reader");
    let found = told(&reader, "SELECT id, lower(note) AS note FROM t ORDER BY id", 10).await;
    let all = ["id note", "1 \"10\"", "2 \"20\"", "3 \"hidden\""].map(str::to_owned);
    assert_eq!(found, Ok(all.to_vec()));
    // More than one fetch has.
    let many = "INSERT INTO t SELECT n, n::pg_catalog.text, 'c' FROM generate_series(10, 1309) n";
    let mut owner = world.connect().await;
    sqlx::raw_sql(AssertSqlSafe(many)).execute(&mut owner).await.unwrap();
    let found = told(&reader, "SELECT id FROM public.t", 2000).await.unwrap();
    assert_eq!(found.len(), 1304);
    let more = told(&reader, "SELECT id FROM t", 1302).await;
    assert_eq!(more, Err(RowsError::Ended("more rows than there may be".to_owned())));
    let arrays = told(&reader, "SELECT array_to_string(a, ',') AS a FROM odd", 10).await;
    assert_eq!(arrays, Ok(vec!["a".to_owned(), "\"1\"".to_owned()]));

    let refused = |found: Result<_, RowsError<String>>| match found {
        Err(RowsError::Refused { refusal }) => refusal.to_string(),
        other => panic!("{other:?}"),
    };
    for (statement, why) in [
        ("DELETE FROM t", "only a query is accepted"),
        ("SELECT 1; SELECT 2", "exactly one statement"),
        ("WITH d AS (DELETE FROM t RETURNING id) SELECT id FROM d", "a write in place of a query"),
        ("SELECT nextval('counter') AS id FROM t", "a function that is not granted"),
        ("SELECT relname FROM pg_class", "a table that is not granted"),
        ("SELECT id FROM nothing", "a table that is not granted"),
        ("SELECT id FROM t FOR UPDATE", "locks"),
    ] {
        let found = refused(told(&reader, statement, 10).await);
        assert!(found.contains(why), "{statement}: {found}");
    }
    let bytes = told(&reader, "SELECT b FROM odd", 10).await;
    assert!(matches!(bytes, Err(RowsError::Run(RunError::Value { .. }))), "{bytes:?}");
    for role in ["writer", "owner", lockgate_sim::postgres::SUPERUSER] {
        let found = told(&database(role), "SELECT id FROM t", 10).await;
        assert!(matches!(found, Err(RowsError::MayWrite { .. })), "{role}: {found:?}");
    }
    assert_eq!(world.state().await, (1303, false));
}

#[test]
fn what_is_wrong_whatever_tables_there_are_is_known_beforehand() {
    let none: &[String] = &[];
    assert_eq!(check_rows("SELECT id FROM public.notes", none), Ok(()));
    for statement in
        ["DELETE FROM t", "SELECT 1; SELECT 2", "SELECT pg_sleep(9)", "SELECT", "SELECT $1"]
    {
        assert!(check_rows(statement, none).is_err(), "{statement}");
    }
    let never = check_rows("SELECT 1", &["pg_read_file".to_owned()]).unwrap_err();
    assert!(never.contains("is never granted"), "{never}");
}
