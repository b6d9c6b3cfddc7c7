//! Queries that honest callers ask are answered with the rows they should have, on both databases,
//! with filters and masks and without.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests fail by panicking"
)]

mod sql_world;

use lockgate_effects::sql::{Answer, Checked, Dialect, PostgresDatabase, RunBounds, RunError};
use lockgate_effects::sql::{SqliteDatabase, check};
use lockgate_types::{Json, JsonLimits};
use sql_world::{Answered, DATABASE, View, grants, options, postgres, queries, sqlite_database};

/// The least that the corpus has.
const QUERIES_MIN: usize = 100;

#[tokio::test]
async fn honest_queries_are_answered_on_postgres() {
    let cluster = postgres().await;
    let database = PostgresDatabase::new(options(&cluster, DATABASE), RunBounds::default());
    let run = async |checked: Checked| database.run(&checked).await;
    compare(Dialect::Postgres, run).await;
}

#[tokio::test]
async fn honest_queries_are_answered_on_sqlite() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("shop.db");
    sqlite_database(&path);
    let database = SqliteDatabase::new(&path, RunBounds::default());
    let run = async |checked: Checked| database.run(&checked).await;
    compare(Dialect::Sqlite, run).await;
}

async fn compare(dialect: Dialect, run: impl AsyncFn(Checked) -> Result<Answer, RunError>) {
    let mut wrong = Vec::new();
    let queries = queries();
    assert!(queries.len() >= QUERIES_MIN, "{} queries", queries.len());
    for query in &queries {
        let Some(text) = query.text(dialect) else { continue };
        for view in [View::Open, View::Guarded] {
            let expected = expected(query, view);
            let found = match check(text, &query.values(), &grants(dialect, view)) {
                Ok(checked) => match run(checked.clone()).await {
                    Ok(answer) => written(&rows(answer)),
                    Err(error) => format!("{error:?} of {}", checked.text()),
                },
                Err(refusal) => refusal.to_string(),
            };
            if found != expected {
                wrong.push(format!("{text} {view:?}\n    gives {found}\n    not   {expected}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}

fn expected(query: &Answered, view: View) -> String {
    let text = match view {
        View::Open => &query.open,
        View::Guarded => &query.guarded,
    };
    written(&Json::parse(text.as_bytes(), &JsonLimits::OWN).unwrap())
}

fn rows(answer: Answer) -> Json {
    assert!(!answer.is_truncated);
    Json::Array(answer.rows.into_iter().map(Json::Array).collect())
}

fn written(json: &Json) -> String {
    let mut out = Vec::new();
    json.write(&mut out);
    String::from_utf8(out).unwrap()
}
