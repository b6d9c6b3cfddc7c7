//! No escape of the corpus passes the check; and nearly all of them would do what they say.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests fail by panicking"
)]

mod sql_world;

use lockgate_effects::sql::{Dialect, PostgresDatabase, Refusal, RunBounds, SqliteDatabase, check};
use lockgate_sim::postgres::Cluster;
use sql_world::{
    DATABASE, Database, View, connect, escapes, grants, options, postgres, renew, sql,
    sqlite_database,
};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use std::path::Path;
use std::time::Duration;

/// How long an unchecked text may run: some of them wait.
const UNCHECKED: Duration = Duration::from_secs(10);
/// The least that the corpus has, and the least of it that is shown to run.
const ESCAPES_MIN: usize = 500;
const RUNNING_MIN: usize = 400;

#[test]
fn every_escape_is_refused_in_both_dialects() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for family in escapes() {
        for escape in &family.case {
            count += 1;
            for dialect in [Dialect::Postgres, Dialect::Sqlite] {
                let is_own = match family.database {
                    Database::Postgres => dialect == Dialect::Postgres,
                    Database::Sqlite => dialect == Dialect::Sqlite,
                };
                for view in [View::Open, View::Guarded] {
                    let rule = match check(&escape.sql, &[], &grants(dialect, view)) {
                        Ok(checked) => format!("passes as {}", checked.text()),
                        Err(Refusal { rule, .. }) => format!("{rule:?}"),
                    };
                    let passes = rule.starts_with("passes");
                    let is_right = match (is_own, escape.elsewhere.as_deref()) {
                        (true, _) => rule == escape.rule,
                        (false, None) => !passes,
                        (false, Some(elsewhere)) => passes && elsewhere == "passes",
                    };
                    if !is_right {
                        wrong.push(format!(
                            "{}\t{:?}\t{dialect:?}\t{rule}",
                            family.name, escape.sql
                        ));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count >= ESCAPES_MIN, "{count} escapes");
}

#[tokio::test]
async fn unchecked_they_act_on_postgres_and_checked_nothing_changes() {
    let cluster = postgres().await;
    let mut admin = connect(&cluster, "postgres").await;
    let mut wrong = Vec::new();
    let mut running = 0;
    let families = escapes();
    let own = families.iter().filter(|family| family.database == Database::Postgres);
    for (family, escape) in own.flat_map(|it| it.case.iter().map(move |case| (it, case))) {
        let unchecked = unchecked(&cluster, &escape.sql).await;
        running += usize::from(unchecked != "fails");
        if unchecked == "acts" {
            clean(&cluster).await;
            renew(&mut admin).await;
        }
        if unchecked != escape.unchecked {
            wrong.push(format!("{}\t{:?}\t{unchecked}", family.name, escape.sql));
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(running >= RUNNING_MIN, "{running} run");

    let mut watcher = connect(&cluster, DATABASE).await;
    let before = seen(&mut watcher).await.unwrap();
    let database = PostgresDatabase::new(options(&cluster, DATABASE), RunBounds::default());
    for family in &families {
        let is_here = family.database == Database::Postgres;
        for escape in family.case.iter().filter(|it| is_here || it.elsewhere.is_none()) {
            if let Ok(checked) = check(&escape.sql, &[], &grants(Dialect::Postgres, View::Open)) {
                let _ = database.run(&checked).await;
                wrong.push(escape.sql.clone());
            }
        }
    }
    assert_eq!(seen(&mut watcher).await.unwrap(), before);
    assert!(wrong.is_empty(), "{wrong:?}");
}

/// What a text does to a database when nobody checks it, as a superuser.
async fn unchecked(cluster: &Cluster, text: &str) -> &'static str {
    let mut connection = connect(cluster, DATABASE).await;
    // Text with a NUL cannot be said in the protocol at all.
    if text.contains('\0') {
        return "fails";
    }
    let before = seen(&mut connection).await.unwrap();
    let run = tokio::time::timeout(UNCHECKED, sql(&mut connection, text)).await;
    let has_run = matches!(run, Ok(Ok(())));
    // What it has left open takes effect.
    let _ = tokio::time::timeout(UNCHECKED, sql(&mut connection, "COMMIT")).await;
    let after = match tokio::time::timeout(UNCHECKED, seen(&mut connection)).await {
        Ok(Ok(after)) => after,
        // The session is gone.
        Ok(Err(_)) | Err(_) => return "acts",
    };
    let _ = connection.close().await;
    match (has_run, before == after) {
        (_, false) => "acts",
        (true, true) => "answers",
        (false, true) => "fails",
    }
}

/// What can be seen of a database and of the session: rows, sequences, definitions, roles, rights,
/// settings, files, locks, slots, statistics, prepared statements, cursors and channels.
async fn seen(connection: &mut PgConnection) -> Result<String, sqlx::Error> {
    let rows = "SELECT string_agg(n.nspname || c.relname || c.relkind::text \
         || coalesce(c.relacl::text, '') || coalesce(obj_description(c.oid, 'pg_class'), '') \
         || CASE WHEN c.relkind = 'i' THEN pg_get_indexdef(c.oid) || (SELECT indisclustered FROM \
            pg_index WHERE indexrelid = c.oid)::text ELSE \
            query_to_xml(format('SELECT * FROM %I.%I ORDER BY 1', n.nspname, c.relname), \
            true, false, '')::text END, '|' ORDER BY n.nspname, c.relname) \
         FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace \
         WHERE c.relkind IN ('r', 'm', 'v', 'S', 'i') AND n.nspname NOT LIKE 'pg\\_toast%' \
         AND n.nspname NOT IN ('pg_catalog', 'information_schema')";
    let rest = "SELECT concat_ws('|', \
         (SELECT string_agg(proname, ',' ORDER BY proname) FROM pg_proc WHERE oid >= 16384), \
         (SELECT string_agg(nspname, ',' ORDER BY nspname) FROM pg_namespace), \
         (SELECT string_agg(rolname, ',' ORDER BY rolname) FROM pg_roles), \
         (SELECT string_agg(setconfig::text, ',') FROM pg_db_role_setting), \
         (SELECT string_agg(name || setting, ',' ORDER BY name) FROM pg_settings \
             WHERE source = 'session'), \
         current_setting('lockgate.tenant', true), current_user, session_user, \
         (SELECT string_agg(oid::text, ',') FROM pg_largeobject_metadata), \
         (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()), \
         (SELECT string_agg(slot_name, ',') FROM pg_replication_slots), \
         (SELECT string_agg(name, ',') FROM pg_prepared_statements WHERE from_sql), \
         (SELECT string_agg(name, ',') FROM pg_cursors WHERE is_holdable), \
         (SELECT string_agg(c, ',') FROM pg_listening_channels() AS c), \
         (SELECT string_agg(stats_reset::text, ',') FROM pg_stat_database), \
         (SELECT string_agg(stats_reset::text, ',') FROM pg_stat_bgwriter), \
         (SELECT string_agg(f, ',' ORDER BY f) FROM pg_ls_dir('.') AS f), \
         pg_read_file('postgresql.auto.conf'), \
         (SELECT string_agg(extname, ',' ORDER BY extname) FROM pg_extension), \
         (SELECT string_agg(pubname, ',' ORDER BY pubname) FROM pg_publication), \
         (SELECT string_agg(rulename, ',' ORDER BY rulename) FROM pg_rewrite))";
    let mut found = String::new();
    for text in [rows, rest] {
        let one: Option<String> = sqlx::query_scalar(AssertSqlSafe(text))
            .persistent(false)
            .fetch_one(&mut *connection)
            .await?;
        found.push_str(&one.unwrap_or_default());
    }
    Ok(found)
}

/// Takes back what is not part of one database.
async fn clean(cluster: &Cluster) {
    let mut connection = connect(cluster, DATABASE).await;
    let slots = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots";
    for text in [slots, "DROP ROLE IF EXISTS mallory", "ALTER ROLE lockgate RESET ALL"] {
        sql(&mut connection, text).await.unwrap();
    }
    sql(&mut connection, "ALTER SYSTEM RESET ALL").await.unwrap();
    for file in std::fs::read_dir(cluster.socket().join("cluster")).unwrap() {
        let path = file.unwrap().path();
        if path.file_name().unwrap().to_string_lossy().starts_with("stolen") {
            std::fs::remove_file(path).unwrap();
        }
    }
}

#[tokio::test]
async fn unchecked_they_run_on_sqlite_and_checked_nothing_changes() {
    let directory = tempfile::tempdir().unwrap();
    let mut wrong = Vec::new();
    let mut running = 0;
    let families = escapes();
    let own = families.iter().filter(|family| family.database == Database::Sqlite);
    for (family, escape) in own.flat_map(|it| it.case.iter().map(move |case| (it, case))) {
        let place = tempfile::tempdir_in(directory.path()).unwrap();
        let unchecked = unchecked_on_sqlite(place.path(), &escape.sql);
        running += usize::from(unchecked != "fails");
        if unchecked != escape.unchecked {
            wrong.push(format!("{}\t{:?}\t{unchecked}", family.name, escape.sql));
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(running >= 60, "{running} run");

    let path = directory.path().join("shop.db");
    sqlite_database(&path);
    let before = std::fs::read(&path).unwrap();
    let database = SqliteDatabase::new(&path, RunBounds::default());
    for family in &families {
        let is_here = family.database == Database::Sqlite;
        for escape in family.case.iter().filter(|it| is_here || it.elsewhere.is_none()) {
            if let Ok(checked) = check(&escape.sql, &[], &grants(Dialect::Sqlite, View::Open)) {
                let _ = database.run(&checked).await;
                wrong.push(escape.sql.clone());
            }
        }
    }
    assert_eq!(std::fs::read(&path).unwrap(), before);
    assert!(wrong.is_empty(), "{wrong:?}");
}

fn unchecked_on_sqlite(place: &Path, text: &str) -> &'static str {
    let path = place.join("shop.db");
    sqlite_database(&path);
    let connection = rusqlite::Connection::open(&path).unwrap();
    let settings = || {
        let setting = |name: &str| {
            connection.pragma_query_value(None, name, |row| row.get::<_, rusqlite::types::Value>(0))
        };
        let names = ["query_only", "writable_schema", "journal_mode", "temp_store"];
        let databases: i64 = connection
            .query_row("SELECT count(*) FROM pragma_database_list", [], |row| row.get(0))
            .unwrap();
        format!("{:?} {databases} {}", names.map(setting), connection.is_autocommit())
    };
    let (before, before_settings) = (std::fs::read(&path).unwrap(), settings());
    let has_run = connection.execute_batch(text).is_ok();
    let files = std::fs::read_dir(place).unwrap().count();
    let has_changed = std::fs::read(&path).unwrap() != before
        || settings() != before_settings
        || files > 1
        || connection
            .query_row("SELECT count(*) FROM sqlite_temp_schema", [], |row| row.get::<_, i64>(0))
            .is_ok_and(|count| count > 0);
    match (has_run, has_changed) {
        (_, true) => "acts",
        (true, false) => "answers",
        (false, false) => "fails",
    }
}
