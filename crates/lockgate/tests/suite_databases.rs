//! The same with a PostgreSQL server: a role that only reads, one that may write, and the whole
//! corpus of escapes through the built gate.
#![cfg(test)]

mod support;

use lockgate_sim::postgres::{Cluster, SUPERUSER};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use support::World;
use support::shop_database::{self, Asker, NOTES, corpus, escapes, rows};

const ROLES: &str = "CREATE ROLE reader LOGIN; CREATE ROLE keeper LOGIN;
    REVOKE CREATE ON SCHEMA public FROM PUBLIC;
    GRANT SELECT ON customers, orders, items, notes TO reader;
    GRANT INSERT, DELETE, SELECT ON notes TO keeper;";

/// Runs statements as the superuser, with the client that comes with the server.
fn sql(cluster: &Cluster, database: &str, text: &str) -> String {
    let mut psql = Command::new("psql");
    psql.args(["-qtAX", "-v", "ON_ERROR_STOP=1", "-U", SUPERUSER, "-d", database, "-c", text]);
    let done = psql.arg("-h").arg(cluster.socket()).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

fn shop() -> Cluster {
    let cluster = Cluster::start().unwrap_or_else(|error| panic!("{error}"));
    sql(&cluster, "postgres", "CREATE DATABASE shop");
    for text in [&corpus("world.postgres.sql"), &corpus("rows.sql"), NOTES, ROLES] {
        sql(&cluster, "shop", text);
    }
    cluster
}

fn address(cluster: &Cluster, role: &str) -> String {
    let socket = cluster.socket().display().to_string().replace('/', "%2F");
    let password = if role == "keeper" { "" } else { ":hunter2" };
    format!("postgres://{role}{password}@{socket}/shop")
}

/// The address of the reader is in a file, that of the keeper is what a program prints.
fn world(cluster: &Cluster, reader: &str) -> World {
    let mut world = shop_database::world(|directory: &Path| {
        let [file, printed] = [("address", reader), ("printed", "keeper")].map(|(name, role)| {
            let file = directory.join(name);
            std::fs::write(&file, format!("{}\n", address(cluster, role))).unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
            file.display().to_string()
        });
        format!(
            "dialect = \"postgres\"\naddress = \"file:{file}\"\n\
             write_address = {{ command = [\"/bin/cat\", \"{printed}\"] }}\nrows_max = 5"
        )
    });
    let of = |text: String| text.replace("into notes", "into public.notes");
    let from = |text: String| text.replace("from notes", "from public.notes");
    world.gate.edit("operations/shop.toml", |text| from(of(text))).unwrap();
    world.start();
    world
}

/// What can be seen of the database.
fn seen(cluster: &Cluster) -> String {
    let rows = "SELECT string_agg(query_to_xml(format('SELECT * FROM %I.%I ORDER BY 1', \
        n.nspname, c.relname), true, false, '')::text, '|' ORDER BY n.nspname, c.relname) \
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN \
        ('r', 'S', 'v') AND n.nspname NOT IN ('pg_catalog', 'information_schema')";
    let names = "SELECT string_agg(relname || coalesce(relacl::text, ''), ',' ORDER BY oid) \
        FROM pg_class WHERE relnamespace <> 'pg_toast'::regnamespace";
    sql(cluster, "shop", rows) + &sql(cluster, "shop", names)
}

#[test]
fn an_address_that_changes_is_the_one_of_the_next_statement() {
    let cluster = shop();
    let world = world(&cluster, "reader");
    let mut alice = Asker::of(&world, "alice");
    let mut orders = || alice.call("orders_of", json!({"customer": 1}));
    assert_eq!(rows(&orders()), json!([[10, 500], [11, 1500]]));
    let file = world.gate.directory().join("address");
    std::fs::write(&file, address(&cluster, SUPERUSER)).unwrap();
    assert_eq!(orders().code(), "LG-U009", "another role, which may write");
    std::fs::write(&file, address(&cluster, "reader")).unwrap();
    assert_eq!(rows(&orders()), json!([[10, 500], [11, 1500]]));
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(orders().code(), "LG-K005");
}

#[test]
fn a_postgres_database_is_asked_under_the_same_policies() {
    let cluster = shop();
    let world = world(&cluster, "reader");
    let (mut alice, mut bob) = (Asker::of(&world, "alice"), Asker::of(&world, "bob"));
    let answer = alice.call("orders_of", json!({"customer": 1}));
    assert_eq!(rows(&answer), json!([[10, 500], [11, 1500]]), "{}", answer.text());

    assert_eq!(alice.rows("select count(*) from customers"), json!([[3]]));
    assert_eq!(bob.rows("select count(*) from customers"), json!([[5]]));
    assert_eq!(alice.rows("select text from notes"), json!([["mine"]]));
    let masked = "select email as e from customers where id = 1";
    assert_eq!(alice.rows(masked), json!([["****.com"]]));
    assert_eq!(alice.rows("select id from customers where email like 'ada%'"), json!([]));
    // An error would tell what is in a row that the filter keeps back.
    let probing = "select id from orders where cast(note as integer) > 0 or id = 13";
    assert!(!alice.ask(probing).text().contains("not a number"));
    let seen = bob.ask("select country from customers");
    assert_eq!(seen.code(), "LG-D004", "{}", seen.text());
    let given = bob.call(
        "query",
        json!({"sql": "select id from customers where name = $1", "parameters": ["O'Neil"]}),
    );
    assert_eq!(rows(&given), json!([[5]]));

    let answer = bob.ask("select id from orders order by id").json();
    let structured = &answer["result"]["structuredContent"];
    assert_eq!(structured["rows"].as_array().unwrap().len(), 5);
    assert_eq!(structured["truncated"], true);
    let endless: Vec<String> = (0..12).map(|at| format!("orders as t{at}")).collect();
    let slow = bob.ask(&format!("select count(*) from {}", endless.join(" cross join ")));
    assert_eq!(slow.code(), "LG-U002", "{}", slow.text());
    // Nothing of it goes on at the server.
    let active = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' \
        AND application_name = 'lockgate'";
    assert_eq!(sql(&cluster, "shop", active).trim(), "0");

    let note = json!({"owner": "bob'); drop table notes; --", "text": "x"});
    let answer = bob.call("take_note", note).json();
    assert_eq!(answer["result"]["structuredContent"], json!({"changed": 1}), "{answer}");
    assert_eq!(sql(&cluster, "shop", "SELECT count(*) FROM notes").trim(), "3");
    let is_well = world.gate.command(&["status"]).unwrap();
    assert!(is_well.contains("up"), "{is_well}");
    let log = world.gate.log();
    assert!(!log.contains("O'Neil") && !log.contains("hunter2"), "{log}");
}

#[test]
fn no_escape_of_the_corpus_passes_the_gate_and_no_superuser_reads() {
    let cluster = shop();
    let world = world(&cluster, SUPERUSER);
    let before = seen(&cluster);
    let mut bob = Asker::of(&world, "bob");
    let escapes = escapes("postgres");
    for escape in &escapes {
        let answer = bob.ask(escape);
        assert_eq!(answer.code(), "LG-D025", "{escape}: {}", answer.text());
    }
    assert!(escapes.len() > 500, "{}", escapes.len());
    assert_eq!(seen(&cluster), before);
    let is_refusal = |entry: &&Value| entry["k"] == "refusal" && entry["code"] == "LG-D025";
    assert_eq!(world.entries().iter().filter(is_refusal).count(), escapes.len());
    // What gets past the check does not come to a role that could act.
    let honest = bob.ask("select id from orders");
    assert_eq!(honest.code(), "LG-U009", "{}", honest.text());
    let status = world.gate.command(&["status"]).unwrap();
    assert!(status.contains("superuser"), "{status}");
    sql(&cluster, "shop", "GRANT UPDATE (total) ON orders TO reader");
    let file = world.gate.directory().join("address");
    std::fs::write(file, address(&cluster, "reader")).unwrap();
    std::fs::write(world.gate.bundle().join("README.md"), "changed\n").unwrap();
    world.gate.command(&["reload"]).unwrap();
    assert_eq!(bob.ask("select id from orders").code(), "LG-U009");
    assert!(world.gate.command(&["status"]).unwrap().contains("may write to `public.orders`"));
}

#[test]
fn a_database_that_is_not_as_declared_is_told_and_one_that_is_gone_is_no_answer() {
    let cluster = shop();
    sql(&cluster, "shop", "DROP TABLE items; ALTER TABLE orders DROP COLUMN placed");
    let world = world(&cluster, "reader");
    let told = lockgate_sim::wait::until("the findings", support::SOON, || {
        let status = world.gate.command(&["status"]).unwrap();
        (status.contains("`items`") && status.contains("`orders`")).then_some(status)
    });
    let status = told.unwrap();
    assert!(status.contains("42P01") && status.contains("42703"), "{status}");
    let live = world.gate.command(&["check", "--live"]).unwrap_err();
    assert!(live.contains("`items` cannot be read as declared"), "{live}");
    let mut bob = Asker::of(&world, "bob");
    assert_eq!(bob.rows("select name from customers where id = 1"), json!([["Ada"]]));
    let missing = bob.ask("select product from items").json();
    assert_eq!(missing["result"]["isError"], true, "{missing}");
    drop(cluster);
    let told = world.gate.log() + &world.gate.command(&["status"]).unwrap();
    assert!(!told.contains("hunter2"), "{told}");
    let gone = bob.ask("select name from customers");
    assert_eq!(gone.code(), "LG-U001", "{}", gone.text());
    let listed = bob.request("tools/list", json!({})).json();
    assert_eq!(listed["result"]["tools"].as_array().unwrap().len(), 5);
}
