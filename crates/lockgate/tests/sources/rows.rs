//! Rows of PostgreSQL as documents: what is deleted, changed, shared otherwise, and a connection
//! that is lost half-way.

use super::Company;
use lockgate_sim::postgres::{Cluster, SUPERUSER};
use serde_json::json;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tempfile::TempDir;

const TABLE: &str = "CREATE TABLE note (id integer PRIMARY KEY, title text, body text,
        at timestamptz, writer text, readers text, pay numeric);
    INSERT INTO note VALUES
        (1, 'Travel', 'Trips are booked by the travel desk.', '2026-01-02 03:04:05Z', 'ada',
            'group:staff', 10),
        (2, 'Leave', 'Parental leave lasts a year.', NULL, NULL, 'group:hr', 4711),
        (3, 'Draft', 'Nobody has said who reads about otters.', NULL, NULL, NULL, NULL);
    CREATE ROLE reader LOGIN; GRANT SELECT ON note TO reader;
    REVOKE CREATE ON SCHEMA public FROM PUBLIC;
    CREATE ROLE writer LOGIN; GRANT SELECT, UPDATE ON note TO writer;";

const NOTES: &str = r#"
owner = "people-team"
classification = "internal"
[connector.query]
address = "env:NOTES"
statement = "SELECT id, title, body, at, writer, readers, pay FROM note"
id = "id"
title = "title"
text = ["body"]
changed = "at"
author = "writer"
readers = "readers"
[permissions]
synced = true
denied = ["user:operator"]
[fields.pay]
readers = ["group:hr"]
classification = "confidential"
[quality]
documents_max = 20
volume_change_percent_max = 10000
"#;

fn sql(cluster: &Cluster, text: &str) {
    let mut psql = Command::new("psql");
    psql.args(["-qtAX", "-v", "ON_ERROR_STOP=1", "-U", SUPERUSER, "-d", "postgres", "-c", text]);
    let done = psql.arg("-h").arg(cluster.socket()).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// A way to the server that breaks off once it has said so much.
struct Line {
    directory: TempDir,
    left: Arc<AtomicUsize>,
}

const SOCKET: &str = ".s.PGSQL.5432";

impl Line {
    fn to(cluster: &Cluster) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join(SOCKET)).unwrap();
        let left = Arc::new(AtomicUsize::new(usize::MAX));
        let (counted, server) = (Arc::clone(&left), cluster.socket().join(SOCKET));
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let server = UnixStream::connect(&server).unwrap();
                let asks = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let none = Arc::new(AtomicUsize::new(usize::MAX));
                std::thread::spawn(move || carry(asks, &none));
                let counted = Arc::clone(&counted);
                std::thread::spawn(move || carry((server, client), &counted));
            }
        });
        Self { directory, left }
    }

    fn address(&self, role: &str) -> String {
        address(self.directory.path(), role)
    }
}

fn address(socket: &Path, role: &str) -> String {
    let socket = socket.display().to_string().replace('/', "%2F");
    format!("postgres://{role}:hunter2@{socket}/postgres")
}

fn carry((mut from, mut to): (UnixStream, UnixStream), left: &AtomicUsize) {
    let mut bytes = [0; 4096];
    while let Ok(count) = from.read(&mut bytes) {
        let is_over = left.load(Ordering::SeqCst) < count;
        if count == 0 || is_over || to.write_all(&bytes[..count]).is_err() {
            break;
        }
        if left.load(Ordering::SeqCst) != usize::MAX {
            left.fetch_sub(count, Ordering::SeqCst);
        }
    }
    let _ = from.shutdown(std::net::Shutdown::Both);
    let _ = to.shutdown(std::net::Shutdown::Both);
}

#[test]
fn rows_of_postgresql_are_documents_as_they_are_now() {
    let cluster = Cluster::start().unwrap_or_else(|error| panic!("{error}"));
    sql(&cluster, TABLE);
    let line = Line::to(&cluster);
    let mut company = Company::new(&[("notes", NOTES)]);
    company.declare("writes", &NOTES.replace("env:NOTES", "env:WRITES"));
    company.world.gate.set("NOTES", &line.address("reader"));
    company.world.gate.set("WRITES", &line.address("writer"));
    company.world.start();
    let printed = company.sources(&["run", "notes"]).unwrap();
    assert!(printed.contains("snapshot 1 of notes serves"), "{printed}");
    assert_eq!(company.finds("alice", "trips booked"), ["notes/1"]);
    assert_eq!(company.finds("bob", "parental leave"), ["notes/2"]);
    assert!(company.finds("alice", "parental leave").is_empty());
    assert!(company.finds("bob", "otters").is_empty(), "what nobody has shared is shown to nobody");
    let piece = company.search("alice", "trips").json();
    let piece = &piece["result"]["structuredContent"]["found"][0];
    assert_eq!((&piece["title"], &piece["author"]), (&json!("Travel"), &json!("ada")));
    assert_eq!(piece["changed"], "2026-01-02T03:04:05Z");
    // A field with readers of its own is found by those alone.
    assert!(company.finds("alice", "4711").is_empty());
    assert_eq!(company.finds("bob", "4711"), ["notes/2#pay"]);

    let changes = "DELETE FROM note WHERE id = 3;
        UPDATE note SET body = 'Trips are booked by yourself.' WHERE id = 1;
        UPDATE note SET readers = 'user:alice' WHERE id = 2;";
    sql(&cluster, changes);
    company.sources(&["run", "notes"]).unwrap();
    let compared = company.json(&["compare", "notes", "1", "2"]);
    let removed = compared["removed"].as_array().unwrap();
    assert!(removed.contains(&json!("3")), "{compared}");
    assert!(company.search("alice", "trips booked").text().contains("yourself"));
    assert_eq!(company.finds("alice", "parental leave"), ["notes/2"]);
    assert!(company.finds("bob", "parental leave").is_empty());

    // The line breaks in mid-run: nothing of it counts, and the last good one serves.
    let more = "INSERT INTO note SELECT n, 'More', repeat('walrus ', 150) || n, NULL, NULL,
        'group:staff', NULL FROM generate_series(10, 159) n;";
    sql(&cluster, more);
    line.left.store(60_000, Ordering::SeqCst);
    let lost = company.sources(&["run", "notes"]).unwrap_err();
    assert!(lost.contains("LG-Q018") && !lost.contains("hunter2"), "{lost}");
    assert!(company.finds("alice", "walrus").is_empty());
    assert_eq!(company.finds("alice", "parental leave"), ["notes/2"]);
    line.left.store(usize::MAX, Ordering::SeqCst);
    // More than the contract lets there be.
    let grown = company.sources(&["run", "notes"]).unwrap_err();
    assert!(grown.contains("quarantined snapshot 3"), "{grown}");
    assert!(company.finds("alice", "walrus").is_empty());
    sql(&cluster, "DELETE FROM note WHERE id > 10");
    company.sources(&["run", "notes"]).unwrap();
    assert_eq!(company.finds("alice", "walrus"), ["notes/10"]);

    // A role that could change what it reads is not used.
    let refused = company.sources(&["run", "writes"]).unwrap_err();
    assert!(refused.contains("LG-Q021") && refused.contains("may write"), "{refused}");
    sql(&cluster, "GRANT UPDATE (title) ON note TO reader");
    let refused = company.sources(&["run", "notes"]).unwrap_err();
    assert!(refused.contains("LG-Q021"), "{refused}");
    assert!(!company.world.gate.log().contains("hunter2"));
    company.world.gate.stop().unwrap();
}
