//! What the record promises, against the real database.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "helpers of tests fail by panicking"
)]

mod common;

use common::*;
use lockgate_store::{
    CommitError, Options, OutcomeState, Payload, Store, StoreError, Terms, TurnedAway,
};
use lockgate_types::call::Call;
use lockgate_types::{Code, Json, Micros, SubjectId};
use std::future::Future as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

fn text<'a>(json: &'a Json, path: &[&str]) -> &'a str {
    json.at(path).and_then(Json::as_str).unwrap_or_else(|| panic!("{path:?} in {json}"))
}

#[tokio::test]
async fn every_kind_of_call_is_traced_with_what_it_carried() {
    let directory = tempfile::tempdir().unwrap();
    let (store, opened) = Store::open(options(directory.path())).unwrap();
    assert!(opened.was_clean && opened.gap.is_none());
    let (world, alice) = (world(), identity("alice"));
    store.publish_bundle(world.digest, &files()).await.unwrap();

    let (written, _) = write(&store, &world, &alice).await.unwrap();
    let (looked, _) = read(&store, &world, &alice).await.unwrap();
    let (wiped, _) = refuse(&store, &world, &alice).await.unwrap();

    for (call, kinds_expected) in [
        (&written, &["intent", "outcome"][..]),
        (&looked, &["intent", "outcome"]),
        (&wiped, &["refusal"]),
    ] {
        let trace = store.trace(call).await.unwrap().unwrap();
        let leaves: Vec<Json> = trace.entries.iter().map(|entry| entry.leaf.clone()).collect();
        assert_eq!(kinds(&leaves), kinds_expected);
        let Payload::Present(parts) = &trace.entries[0].payload else { panic!() };
        let names: Vec<&str> = parts.iter().map(|part| part.name).collect();
        assert_eq!(names, ["call", "moment", "decision", "identity"]);
        if let [intent, outcome] = trace.entries.as_slice() {
            assert_eq!(text(&outcome.leaf, &["parent", "hash"]), intent.hash.to_string());
            let index = outcome.leaf.at(&["parent", "index"]).and_then(Json::as_i64);
            assert_eq!(index, Some(intent.index as i64));
            assert!(
                matches!(&outcome.payload, Payload::Present(parts) if parts[0].name == "result")
            );
        }
    }
    assert_eq!(store.trace(&call("look").id).await.unwrap().map(|_| ()), None);
    assert_eq!(store.bundle(&world.digest).await.unwrap(), Some(files()));

    // What a person wrote, or is called, is nowhere in the log.
    for entry in entries(&store).await {
        let leaf = entry.to_string();
        assert!(!leaf.contains("Ada") && !leaf.contains("alice"), "{leaf}");
    }
    let report = verify(&store).await.unwrap();
    assert_eq!(report.entries, 7);
    store.close().await.unwrap();

    let (store, opened) = reopen(&options(directory.path()));
    assert!(opened.was_clean && opened.gap.is_none());
    assert_eq!(opened.size, 9);
    assert!(store.trace(&written).await.unwrap().is_some());
    verify(&store).await.unwrap();
}

#[tokio::test]
async fn recorded_facts_decide_to_the_recorded_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(options(directory.path())).unwrap();
    let world = world();
    for subject in ["alice", "bob"] {
        let identity = identity(subject);
        for _ in 0..20 {
            write(&store, &world, &identity).await.unwrap();
            read(&store, &world, &identity).await.unwrap();
            refuse(&store, &world, &identity).await.unwrap();
        }
    }
    let (mut from, mut replayed) = (0, 0);
    loop {
        let records = store.records(from, 50).await.unwrap();
        for record in &records.records {
            let recorded = record.recorded.as_ref().unwrap();
            let decision = lockgate_core::decide(&world, &recorded.facts().unwrap());
            assert_eq!(decision.to_canonical(), recorded.decision);
            assert_eq!(record.bundle, world.digest);
            replayed += 1;
        }
        from = records.next;
        if from == records.size {
            break;
        }
    }
    assert_eq!(replayed, 120);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_calls_share_commits_and_none_is_mixed_up() {
    const TASKS: usize = 32;
    const ROUNDS: usize = 20;
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(options(directory.path())).unwrap();
    let world = Arc::new(world());
    let tasks = (0..TASKS).map(|task| {
        let (store, world) = (store.clone(), Arc::clone(&world));
        tokio::spawn(async move {
            let identity = identity(&format!("user-{}", task % 5));
            let mut receipts = Vec::new();
            for round in 0..ROUNDS {
                receipts.push(match (task + round) % 3 {
                    0 => write(&store, &world, &identity).await.unwrap(),
                    1 => read(&store, &world, &identity).await.unwrap(),
                    _ => refuse(&store, &world, &identity).await.unwrap(),
                });
            }
            receipts
        })
    });
    let mut receipts = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        receipts.extend(task.await.unwrap());
    }
    let entries = entries(&store).await;
    let places: std::collections::BTreeSet<u64> = receipts.iter().map(|(_, r)| r.index).collect();
    assert_eq!(places.len(), TASKS * ROUNDS);
    for (call, receipt) in &receipts {
        let entry = &entries[usize::try_from(receipt.index).unwrap()];
        assert_eq!(text(entry, &["call"]), call.as_str());
        assert_eq!(lockgate_ledger::leaf_hash(entry.to_string().as_bytes()), receipt.leaf);
    }
    let report = verify(&store).await.unwrap();
    assert_eq!(report.entries, entries.len() as u64);
    // Five subjects, so five identities, however many calls.
    store.close().await.unwrap();
    let db = rusqlite::Connection::open(directory.path().join("lockgate.db")).unwrap();
    let count = |table: &str| -> i64 {
        db.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
    };
    assert_eq!((count("subject"), count("identity")), (5, 5));
}

#[tokio::test]
async fn a_write_decided_on_a_stale_session_is_decided_again() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(options(directory.path())).unwrap();
    let (world, alice) = (world(), identity("alice"));
    let before = store.session(&session_key(&alice)).await.unwrap();
    // Two writes on the same facts of the session do not contend.
    for _ in 0..2 {
        let permit = store
            .commit(allowed(&world, facts(&alice, before.clone(), call("save"))), Terms::default());
        drop(permit.await.unwrap());
    }
    read(&store, &world, &alice).await.unwrap();
    let after = store.session(&session_key(&alice)).await.unwrap();
    assert_eq!((after.revision, after.writes), (before.revision + 1, 2));
    assert_ne!(after.exposure, before.exposure);

    let stale = facts(&alice, before, call("save"));
    let call_id = stale.call.id.clone();
    let Err(CommitError::Moved(moved)) =
        store.commit(allowed(&world, stale.clone()), Terms::default()).await
    else {
        panic!("a permit on stale facts");
    };
    assert_eq!(*moved, stale);
    assert!(store.trace(&call_id).await.unwrap().is_none());
    // The state survives a restart: it is the fold of the entries, not of memory.
    store.close().await.unwrap();
    let (store, _) = reopen(&options(directory.path()));
    assert_eq!(store.session(&session_key(&alice)).await.unwrap(), after);
}

#[tokio::test]
async fn only_reads_may_share_a_commit() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(options(directory.path())).unwrap();
    let (world, alice) = (world(), identity("alice"));
    let session = store.session(&session_key(&alice)).await.unwrap();
    let write = allowed(&world, facts(&alice, session, call("save")));
    let refused = store.admit_read(write).map(|_| ()).unwrap_err();
    assert_eq!(refused.code(), Code::InvariantBroken);
}

#[tokio::test]
async fn a_permit_that_is_dropped_gets_an_outcome_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(options(directory.path())).unwrap();
    let (world, alice) = (world(), identity("alice"));
    let unspent = open_write(&store, &world, &alice).await.unwrap();
    let unspent_call = unspent.call().id.clone();
    drop(unspent);
    let (spent_call, _, spent) = open_write(&store, &world, &alice).await.unwrap().spend();
    drop(spent);
    let session = store.session(&session_key(&alice)).await.unwrap();
    let permit = store.admit_read(allowed(&world, facts(&alice, session, call("look")))).unwrap();
    let (read_call, _, spent) = permit.spend();
    drop(spent);
    for (call, state) in [
        (unspent_call, OutcomeState::Failed),
        (spent_call.id, OutcomeState::InDoubt),
        (read_call.id, OutcomeState::Truncated),
    ] {
        let trace = store.trace(&call).await.unwrap().unwrap();
        assert_eq!(text(&trace.entries[1].leaf, &["state"]), state.as_str());
    }
}

#[tokio::test]
async fn an_unclean_end_leaves_one_gap_and_no_call_without_outcome() {
    let directory = tempfile::tempdir().unwrap();
    let options = options(directory.path());
    let (world, alice) = (world(), identity("alice"));
    let (store, _) = Store::open(options.clone()).unwrap();
    let permit = open_write(&store, &world, &alice).await.unwrap();
    let open_call = permit.call().id.clone();
    // As a killed process does: nobody concludes, nobody closes.
    std::mem::forget(permit);
    let mut copy = copy_state(directory.path());
    drop(store);
    for (round, gaps) in [(1, 1), (2, 2)] {
        let (store, opened) =
            reopen(&Options { directory: copy.path().to_owned(), ..options.clone() });
        let gap = opened.gap.unwrap();
        assert!(!opened.was_clean);
        assert_eq!((gap.in_doubt, gap.truncated), (u64::from(round == 1), 0));
        let all = entries(&store).await;
        assert_eq!(kinds(&all).iter().filter(|kind| **kind == "gap").count(), gaps);
        let trace = store.trace(&open_call).await.unwrap().unwrap();
        let outcome = &trace.entries[1].leaf;
        assert_eq!(text(outcome, &["state"]), "in_doubt");
        assert_eq!(text(outcome, &["code"]), Code::OutcomeInDoubt.as_str());
        verify(&store).await.unwrap();
        copy = copy_state(copy.path());
    }
}

/// The files of a state directory as they are now, as after a kill.
fn copy_state(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    copy_into(from, to.path());
    to
}

fn copy_into(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            copy_into(&entry.path(), &to.join(entry.file_name()));
        } else {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

#[tokio::test]
async fn a_second_writer_is_turned_away() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(options(directory.path())).unwrap();
    let error = Store::open(options(directory.path())).map(|_| ()).unwrap_err();
    assert_eq!(error.code(), Code::AnotherWriter);
    assert!(error.to_string().contains(&directory.path().display().to_string()));
    write(&store, &world(), &identity("alice")).await.unwrap();
}

#[tokio::test]
async fn an_older_copy_of_the_database_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (world, alice) = (world(), identity("alice"));
    let (store, _) = Store::open(options(directory.path())).unwrap();
    write(&store, &world, &alice).await.unwrap();
    store.close().await.unwrap();
    let old = copy_state(directory.path());

    let (store, _) = reopen(&options(directory.path()));
    write(&store, &world, &alice).await.unwrap();
    store.close().await.unwrap();
    std::fs::copy(old.path().join("lockgate.db"), directory.path().join("lockgate.db")).unwrap();
    let error = Store::open(options(directory.path())).map(|_| ()).unwrap_err();
    assert_eq!(error.code(), Code::LedgerBehind, "{error}");
    // Nothing was written or signed by the attempt.
    let error = Store::open(options(directory.path())).map(|_| ()).unwrap_err();
    assert_eq!(error.code(), Code::LedgerBehind);
}

#[tokio::test]
async fn keys_that_are_gone_are_not_made_anew() {
    for key in ["log.key", "data.key"] {
        let directory = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(options(directory.path())).unwrap();
        store.close().await.unwrap();
        let path = directory.path().join("keys").join(key);
        std::fs::remove_file(&path).unwrap();
        let error = Store::open(options(directory.path())).map(|_| ()).unwrap_err();
        assert!(matches!(error, StoreError::File { .. }), "{error}");
        std::fs::write(&path, [7; 32]).unwrap();
        let error = Store::open(options(directory.path())).map(|_| ()).unwrap_err();
        assert_eq!(error.code(), Code::LedgerCorrupt, "{error}");
    }
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(options(directory.path())).unwrap();
    store.close().await.unwrap();
    let other = Options { origin: "other.example".to_owned(), ..options(directory.path()) };
    assert!(matches!(Store::open(other), Err(StoreError::OtherOrigin { .. })));
}

#[tokio::test]
async fn a_newer_database_is_not_touched() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(options(directory.path())).unwrap();
    store.close().await.unwrap();
    let path = directory.path().join("lockgate.db");
    let db = rusqlite::Connection::open(&path).unwrap();
    db.pragma_update(None, "user_version", 99).unwrap();
    drop(db);
    let error = Store::open(options(directory.path())).map(|_| ()).unwrap_err();
    assert!(matches!(error, StoreError::NewerSchema { found: 99, .. }), "{error}");
}

#[tokio::test]
async fn a_changed_byte_in_an_entry_is_named() {
    // An entry beneath a full tile, and one beneath a partial one.
    for index in [3_u64, 400] {
        let directory = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(options(directory.path())).unwrap();
        let (world, alice) = (world(), identity("alice"));
        for _ in 0..220 {
            refuse(&store, &world, &alice).await.unwrap();
            read(&store, &world, &alice).await.unwrap();
        }
        store.close().await.unwrap();
        let db = rusqlite::Connection::open(directory.path().join("lockgate.db")).unwrap();
        let leaf: Vec<u8> = db
            .query_row("SELECT leaf FROM entry WHERE ix = ?1", [index], |row| row.get(0))
            .unwrap();
        let mut changed = leaf.clone();
        let at = changed.len() / 2;
        changed[at] ^= 1;
        db.execute("UPDATE entry SET leaf = ?2 WHERE ix = ?1", rusqlite::params![index, changed])
            .unwrap();
        drop(db);
        let named = match Store::open(options(directory.path())) {
            Ok((store, _)) => verify(&store).await.unwrap_err().to_string(),
            Err(error) => {
                assert_eq!(error.code(), Code::LedgerCorrupt);
                error.to_string()
            }
        };
        assert!(named.contains(&format!("entry {index} ")), "{named}");
    }
}

#[tokio::test]
async fn erasing_destroys_what_was_carried_and_no_proof() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(options(directory.path())).unwrap();
    let world = world();
    let (erased, _) = write(&store, &world, &identity("alice")).await.unwrap();
    let (kept, _) = write(&store, &world, &identity("bob")).await.unwrap();
    let alice = SubjectId::new("alice").unwrap();
    assert!(store.erase("other", &alice).await.unwrap().is_none());
    assert!(store.erase(ISSUER, &alice).await.unwrap().is_some());
    assert!(store.erase(ISSUER, &alice).await.unwrap().is_none());

    let payloads = async |call| -> Vec<Payload> {
        let trace = store.trace(call).await.unwrap().unwrap();
        trace.entries.into_iter().map(|entry| entry.payload).collect()
    };
    assert_eq!(payloads(&erased).await, [Payload::Erased, Payload::Erased]);
    assert!(payloads(&kept).await.iter().all(|payload| matches!(payload, Payload::Present(_))));
    let records = store.records(0, 100).await.unwrap().records;
    assert_eq!(records.iter().filter(|record| record.recorded.is_none()).count(), 1);
    verify(&store).await.unwrap();
    // The same subject again is somebody new.
    let again = identity("alice");
    let (new, _) = write(&store, &world, &again).await.unwrap();
    let pseudonym = async |call| {
        let trace = store.trace(call).await.unwrap().unwrap();
        text(&trace.entries[0].leaf, &["subject"]).to_owned()
    };
    assert_ne!(pseudonym(&erased).await, pseudonym(&new).await);
    store.close().await.unwrap();
    // Nothing of a wrapped key stays behind in the write-ahead log.
    let wal = std::fs::metadata(directory.path().join("lockgate.db-wal"));
    assert!(wal.is_err() || wal.unwrap().len() == 0);
}

#[tokio::test]
async fn a_full_disk_gives_no_permit_and_loses_no_outcome() {
    let directory = tempfile::tempdir().unwrap();
    let full = Options { database_pages_max: Some(120), ..options(directory.path()) };
    let (store, _) = Store::open(full).unwrap();
    let (world, alice) = (world(), identity("alice"));
    let (open_call, _, open) = open_write(&store, &world, &alice).await.unwrap().spend();
    let session = store.session(&session_key(&alice)).await.unwrap();
    let admitted = store.admit_read(allowed(&world, facts(&alice, session, call("look")))).unwrap();
    let (read_call, _, read_open) = admitted.spend();

    let mut acknowledged = Vec::new();
    let error = loop {
        match write(&store, &world, &alice).await {
            Ok((call, _)) => acknowledged.push(call),
            Err(error) => break error,
        }
        assert!(acknowledged.len() < 10_000, "the disk never gets full");
    };
    assert_eq!(error.code(), Code::StoreUnavailable);
    assert!(error.to_string().contains("disk space"));
    // Still full: an outcome cannot be recorded, and its caller is told so.
    for open in [open, read_open] {
        let error = store.conclude(open, big_outcome()).await.unwrap_err();
        assert_eq!(error.code(), Code::StoreUnavailable);
    }
    assert!(open_write(&store, &world, &alice).await.is_err());

    // Space returns, the gate was never restarted: calls pass, and what was owed is recorded.
    store.set_database_pages_max(1_000_000).await.unwrap();
    acknowledged.push(write(&store, &world, &alice).await.unwrap().0);
    for call in acknowledged.iter().chain([&open_call.id, &read_call.id]) {
        let trace = store.trace(call).await.unwrap().unwrap();
        assert_eq!(text(&trace.entries[1].leaf, &["state"]), "succeeded");
    }
    verify(&store).await.unwrap();
    store.close().await.unwrap();
    let (_, opened) = reopen(&options(directory.path()));
    assert!(opened.was_clean);
}

fn big_outcome() -> lockgate_store::OutcomeRecord {
    let mut record = outcome(&"x".repeat(100_000));
    record.keep_all = true;
    record
}

#[tokio::test]
async fn results_are_kept_small_or_on_request() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(options(directory.path())).unwrap();
    let (world, alice) = (world(), identity("alice"));
    for (size, keep_all, part) in [
        (10, false, "result"),
        (lockgate_store::RESULT_KEPT_BYTES_MAX - 2, false, "result"),
        (lockgate_store::RESULT_KEPT_BYTES_MAX, false, "result_digest"),
        (lockgate_store::RESULT_KEPT_BYTES_MAX, true, "result"),
    ] {
        let (call, _, spent) = open_write(&store, &world, &alice).await.unwrap().spend();
        let mut record = outcome(&"x".repeat(size));
        record.keep_all = keep_all;
        store.conclude(spent, record).await.unwrap();
        let trace = store.trace(&call.id).await.unwrap().unwrap();
        let Payload::Present(parts) = &trace.entries[1].payload else { panic!() };
        assert_eq!(parts[0].name, part, "{size}");
        let bytes = trace.entries[1].leaf.get("bytes").and_then(Json::as_i64);
        assert_eq!(bytes, Some(size as i64 + 2));
    }
}

#[tokio::test]
async fn requests_without_identity_cannot_fill_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(options(directory.path())).unwrap();
    write(&store, &world(), &identity("alice")).await.unwrap();
    let turned = |subject: &str, at| TurnedAway {
        code: Code::TokenExpired,
        at,
        who: Some((ISSUER.to_owned(), subject.to_owned())),
        listener: "main".to_owned(),
    };
    let start = now();
    for _ in 0..250 {
        let _ = store.turn_away(turned("mallory", start)).await;
    }
    let mut later = start;
    later.0 += 1_000_000;
    store.turn_away(turned("alice", later)).await.unwrap();
    let entries = entries(&store).await;
    let away: Vec<&Json> =
        entries.iter().filter(|entry| text(entry, &["k"]) == "turned_away").collect();
    assert_eq!(away.len(), 101);
    assert!(away[0].get("subject").is_none(), "an unknown subject leaves no name");
    let last = away[100];
    assert_eq!(last.get("missed").and_then(Json::as_i64), Some(150));
    assert!(text(last, &["subject"]).starts_with("u_"));
}

#[tokio::test]
async fn an_undeclared_operations_name_stays_out_of_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(options(directory.path())).unwrap();
    let (world, alice) = (world(), identity("alice"));
    let session = store.session(&session_key(&alice)).await.unwrap();
    let named: Call = call("Ada Lovelace, born 1815");
    let id = named.id.clone();
    store.refuse(refused(&world, facts(&alice, session, named))).await.unwrap();
    let trace = store.trace(&id).await.unwrap().unwrap();
    assert!(!trace.entries[0].leaf.to_string().contains("Ada"));
    let Payload::Present(parts) = &trace.entries[0].payload else { panic!() };
    assert!(String::from_utf8_lossy(&parts[0].bytes).contains("Ada"));
}

#[tokio::test]
async fn silence_is_told_apart_from_absence() {
    let directory = tempfile::tempdir().unwrap();
    let heartbeat = Some(std::time::Duration::from_millis(1));
    let (store, _) = Store::open(Options { heartbeat, ..options(directory.path()) }).unwrap();
    while !kinds(&entries(&store).await).contains(&"heartbeat") {}
    verify(&store).await.unwrap();
    store.close().await.unwrap();

    let heartbeat = None;
    let (store, _) = Store::open(Options { heartbeat, ..options(directory.path()) }).unwrap();
    let before = entries(&store).await.len();
    for _ in 0..50 {
        assert_eq!(entries(&store).await.len(), before);
    }
}

/// Taken by a test, it holds the committer where that next looks at the clock.
static HOLD: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
static IS_HELD: AtomicBool = AtomicBool::new(false);

fn clock_that_holds() -> Micros {
    if std::thread::current().name() == Some("lockgate-commit") && HOLD.try_lock().is_err() {
        IS_HELD.store(true, Ordering::Release);
        drop(HOLD.blocking_lock());
    }
    common::now()
}

#[tokio::test]
async fn a_full_queue_refuses_what_begins_and_takes_what_ends() {
    let directory = tempfile::tempdir().unwrap();
    let options = options(directory.path());
    let tight = Options { commit_queue_max: 1, now: clock_that_holds, ..options };
    let (store, _) = Store::open(tight).unwrap();
    let (world, alice) = (world(), identity("alice"));
    let (call, _, spent) = open_write(&store, &world, &alice).await.unwrap().spend();
    common::read(&store, &world, &alice).await.unwrap();
    let session = store.session(&session_key(&alice)).await.unwrap();
    let hold = HOLD.lock().await;
    // Whether it is done before the committer is held or not: that looks at the clock either way.
    let nudge = tokio::spawn({
        let (store, world, alice) = (store.clone(), world.clone(), Arc::clone(&alice));
        async move { common::read(&store, &world, &alice).await.map(drop) }
    });
    while !IS_HELD.load(Ordering::Acquire) {
        tokio::task::yield_now().await;
    }
    let commits = (0..50).map(|_| {
        let (store, facts) = (store.clone(), facts(&alice, session.clone(), common::call("save")));
        let allowed = allowed(&world, facts);
        tokio::spawn(async move { store.commit(allowed, Terms::default()).await.map(drop) })
    });
    let mut commits: Vec<_> = commits.collect();
    while commits.iter().filter(|commit| !commit.is_finished()).count() > 1 {
        tokio::task::yield_now().await;
    }
    for refused in commits.extract_if(.., |commit| commit.is_finished()) {
        assert_eq!(refused.await.unwrap().unwrap_err().code(), Code::Overloaded);
    }
    let mut concluded = std::pin::pin!(store.conclude(spent, outcome("saved")));
    let is_taken = std::future::poll_fn(|context| {
        std::task::Poll::Ready(concluded.as_mut().poll(context).is_pending())
    });
    assert!(is_taken.await);
    drop(hold);
    for waiting in commits {
        waiting.await.unwrap().unwrap();
    }
    nudge.await.unwrap().unwrap();
    concluded.await.unwrap();
    // The outcomes of permits that were dropped may still be in the queue of one.
    let trace = loop {
        match store.trace(&call.id).await {
            Err(StoreError::Overloaded { .. }) => tokio::task::yield_now().await,
            other => break other.unwrap().unwrap(),
        }
    };
    assert_eq!(text(&trace.entries[1].leaf, &["state"]), "succeeded");
}

#[tokio::test]
async fn an_intent_that_a_clean_end_left_open_gets_its_outcome_at_the_next_start() {
    let directory = tempfile::tempdir().unwrap();
    let options = options(directory.path());
    let (store, _) = Store::open(options.clone()).unwrap();
    let permit = open_write(&store, &world(), &identity("alice")).await.unwrap();
    let id = permit.call().id.clone();
    // As if nobody had come to drop it.
    std::mem::forget(permit);
    store.close().await.unwrap();
    let (store, opened) = reopen(&options);
    assert!(opened.was_clean && opened.gap.is_none());
    let trace = store.trace(&id).await.unwrap().unwrap();
    assert_eq!(text(&trace.entries[1].leaf, &["state"]), "in_doubt");
    verify(&store).await.unwrap();
}

#[tokio::test]
async fn a_write_decided_under_another_bundle_is_decided_again() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(options(directory.path())).unwrap();
    let (old, alice) = (world(), identity("alice"));
    store.publish_bundle(old.digest, &files()).await.unwrap();
    let session = store.session(&session_key(&alice)).await.unwrap();
    let decided = || allowed(&old, facts(&alice, session.clone(), common::call("save")));
    store.commit(decided(), Terms::default()).await.map(drop).unwrap();
    let late = decided();
    let mut changed = files();
    changed.insert("tasks/one.toml".to_owned(), Vec::new());
    let digest = lockgate_core::bundle::digest(&changed);
    store.publish_bundle(digest, &changed).await.unwrap();
    assert!(matches!(store.commit(late, Terms::default()).await, Err(CommitError::Moved(_))));
}

#[tokio::test]
async fn an_attempt_at_what_is_not_in_doubt_gets_no_permit() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(options(directory.path())).unwrap();
    let (world, alice) = (world(), identity("alice"));
    let session = store.session(&session_key(&alice)).await.unwrap();
    let mut attempt = call("save");
    attempt.attempt_of = Some(lockgate_types::CallId::new("gone").unwrap());
    let allowed = allowed(&world, facts(&alice, session, attempt));
    let terms = Terms { window_us: Some(1), ..Terms::default() };
    assert!(matches!(store.commit(allowed, terms).await, Err(CommitError::Moved(_))));
}
