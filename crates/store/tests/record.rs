//! What the record promises, against the real database.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "helpers of tests fail by panicking"
)]

mod cases;
mod common;

use cases::{memo_scope, new_memo, text};
use common::*;
use lockgate_store::{
    MEMOS_PER_SUBJECT_MAX, Means, Noted, Options, OutcomeState, Payload, Store, StoreError, Terms,
};
use lockgate_types::{Code, Micros, SubjectId};
use std::future::Future as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

macro_rules! cases {
    ($($case:ident),* $(,)?) => {$(
        #[tokio::test]
        async fn $case() {
            cases::$case().await;
        }
    )*};
}

cases::for_every_case!(cases);

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
    // A gate of one tenant keeps no numbers beside those of places.
    assert_eq!(count("entry WHERE shard IS NOT NULL"), 0);
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
    for who in ["alice", "bob"] {
        let memo = new_memo("k", "what an agent knows of them");
        store.note_memo(&identity(who), &memo_scope(), memo).await.unwrap();
    }
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
    let db = rusqlite::Connection::open(directory.path().join("lockgate.db")).unwrap();
    let memos: i64 = db.query_row("SELECT COUNT(*) FROM memo", [], |row| row.get(0)).unwrap();
    assert_eq!(memos, 1, "bob's alone");
    drop(db);
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
    // Also if nothing else is written.
    let since = std::time::Instant::now();
    while store.trace(&open_call.id).await.unwrap().unwrap().entries.len() < 2 {
        assert!(since.elapsed().as_secs() < 20, "what is owed is not written");
        tokio::task::yield_now().await;
    }
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

/// Changes the database of a store that is closed.
fn change(directory: &Path, statements: &str) {
    let db = rusqlite::Connection::open(directory.join("lockgate.db")).unwrap();
    db.execute_batch(statements).unwrap();
}

#[tokio::test]
async fn of_all_memos_of_one_subject_there_are_so_many() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(options(directory.path())).unwrap();
    let note = async |store: &Store, who: &str| {
        store.note_memo(&identity(who), &memo_scope(), new_memo("k", "x")).await.unwrap()
    };
    assert!(matches!(note(&store, "alice").await, Noted::Kept(_)));
    store.close().await.unwrap();
    let more = format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {max})
         INSERT INTO memo SELECT 'm' || i, x'00', subject, 'c', i, until, x'00' FROM memo, n;
         DELETE FROM memo WHERE substr(id, 1, 2) = 'm_'",
        max = MEMOS_PER_SUBJECT_MAX
    );
    change(directory.path(), &more);
    let (store, _) = Store::open(options(directory.path())).unwrap();
    assert_eq!(note(&store, "alice").await, Noted::Full(MEMOS_PER_SUBJECT_MAX));
    assert!(matches!(note(&store, "bob").await, Noted::Kept(_)));
    // What cannot be opened is none, however much there is of it.
    let page = store.memos_of(&identity("alice"), None, 64).await.unwrap();
    assert_eq!((page.memos.len(), page.next.is_some()), (0, true));
    store.close().await.unwrap();
}

#[tokio::test]
async fn damage_to_one_tenants_log_is_found_there_and_only_there() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(options(directory.path())).unwrap();
    let world = world();
    let all = ["acme", "default", "globex"].map(|tenant| identity_in(tenant, "alice"));
    for identity in &all {
        write(&store, &world, identity).await.unwrap();
    }
    store.close().await.unwrap();
    // As long as before, so that only its hash tells.
    change(
        directory.path(),
        "UPDATE entry SET leaf = CAST(replace(CAST(leaf AS TEXT), 'crm/save', 'crm/sawe') AS BLOB)
         WHERE shard = (SELECT number FROM shard WHERE tenant = 'acme')",
    );
    let (store, opened) = Store::open(options(directory.path())).unwrap();
    assert!(opened.was_clean);
    for tenant in ["default", "globex"] {
        verify_of(&store, tenant).await.unwrap();
    }
    let damaged = store.checkpoint_of(&"acme".parse().unwrap()).await.unwrap_err();
    assert_eq!(damaged.code(), Code::LedgerCorrupt);
    assert!(damaged.to_string().contains("the tenant `acme`"), "{damaged}");
    // Its calls are refused, also in one transaction with those of others.
    let writes = all.iter().map(|identity| write(&store, &world, identity));
    let written: Vec<_> = futures(writes).await;
    let codes: Vec<_> = written.iter().map(|it| it.as_ref().err().map(StoreError::code)).collect();
    assert_eq!(codes, [Some(Code::LedgerCorrupt), None, None]);
    for tenant in ["default", "globex"] {
        verify_of(&store, tenant).await.unwrap();
    }
    store.close().await.unwrap();
}

#[tokio::test]
async fn an_older_copy_of_the_database_is_refused_although_only_tenants_wrote_since() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(options(directory.path())).unwrap();
    let (world, acme) = (world(), identity_in("acme", "alice"));
    write(&store, &world, &acme).await.unwrap();
    store.checkpoint_of(&acme.tenant).await.unwrap();
    store.close().await.unwrap();
    // The last entries of a tenant's log, and what was signed of them, are gone; the node's own log
    // is as it was.
    change(
        directory.path(),
        "UPDATE shard SET note = NULL;
         DELETE FROM entry WHERE shard = (SELECT number FROM shard WHERE tenant = 'acme');
         UPDATE entry SET ix = ix - 2 WHERE ix > 2",
    );
    let refused = Store::open(options(directory.path())).map(drop).unwrap_err();
    assert!(matches!(refused, StoreError::Behind { .. }), "{refused}");
}

#[tokio::test]
async fn more_tenants_than_are_in_memory_have_whole_logs() {
    const TENANTS: usize = 520;
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(options(directory.path())).unwrap();
    let world = world();
    let names: Vec<String> = (0..TENANTS).map(|at| format!("tenant-{at}")).collect();
    for _ in 0..2 {
        let all = names.iter().map(|tenant| identity_in(tenant, "alice"));
        let all: Vec<_> = all.collect();
        let reads = all.iter().map(|identity| read(&store, &world, identity));
        for done in futures(reads).await {
            done.unwrap();
        }
    }
    store.close().await.unwrap();
    let (store, _) = Store::open(options(directory.path())).unwrap();
    for tenant in names.iter().step_by(50).chain([&names[0], &names[TENANTS - 1]]) {
        assert_eq!(cases::check_only_of(&store, tenant).await, 4);
    }
    verify(&store).await.unwrap();
    store.close().await.unwrap();
}

#[tokio::test]
async fn what_was_written_before_tenants_had_logs_stays_where_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let acme = identity_in("acme", "alice");
    // As a gate of that tenant writes it, in which all entries stand in one log.
    let before = Options { home: Some(acme.tenant.clone()), ..options(directory.path()) };
    let (store, _) = Store::open(before).unwrap();
    let world = world();
    for _ in 0..150 {
        write(&store, &world, &acme).await.unwrap();
    }
    let left_open = open_write(&store, &world, &acme).await.unwrap();
    let call = left_open.call().id.clone();
    std::mem::forget(left_open.spend().2);
    let seen = store.checkpoint().await.unwrap();
    store.close().await.unwrap();
    change(
        directory.path(),
        "DROP INDEX entry_shard; ALTER TABLE entry DROP COLUMN shard;
         ALTER TABLE entry DROP COLUMN at; DROP TABLE shard;
         DELETE FROM meta WHERE name = 'home'; DROP TABLE exposure;
         DROP TABLE memo; DROP TABLE run; DROP TABLE run_entry; DROP TABLE run_key;
         DROP TABLE evaluation; DROP TABLE kept_answer; DROP TABLE canary;
         ALTER TABLE cap DROP COLUMN alerted;
         DROP TABLE remembered; DROP TABLE opened; DROP TABLE baseline;
         DROP TABLE shown; DROP TABLE followed; ALTER TABLE session DROP COLUMN fed;
         DROP INDEX session_risk; ALTER TABLE session DROP COLUMN risk;
         ALTER TABLE session DROP COLUMN label; PRAGMA user_version = 3",
    );
    let (store, opened) = Store::open(options(directory.path())).unwrap();
    assert!(opened.was_clean);
    // The outcome of what was open stands beside its intent, what is new in the tenant's own log.
    let doubts = store.doubts(0, 8).await.unwrap();
    assert_eq!(doubts.len(), 1);
    write(&store, &world, &acme).await.unwrap();
    store.resolve(&call, OutcomeState::Failed, Means::Person).await.unwrap().unwrap();
    write(&store, &world, &identity("alice")).await.unwrap();
    assert_eq!(cases::check_only_of(&store, "acme").await, 2);
    let vkey: lockgate_ledger::VerifierKey = store.vkey().parse().unwrap();
    let seen = lockgate_ledger::Checkpoint::open(seen.as_bytes(), &vkey).unwrap();
    let files = export(&store).await;
    let report = lockgate_ledger::verify_log(&files, &vkey, Some(&seen), &mut |_, _| {}).unwrap();
    assert_eq!(report.continues, Some(302));
    let own = entries_of(&store, "default").await;
    let last: Vec<&str> = kinds(&own)[302..].to_vec();
    assert_eq!(last, ["stop", "outcome", "start", "resolution", "intent", "outcome"]);
    let trace = store.trace(&call).await.unwrap().unwrap();
    assert_eq!(trace.entries.len(), 3);
    assert!(store.concluded_at(&call).await.unwrap().is_some());
    assert_eq!(trace.entries[2].index, 305);
    store.close().await.unwrap();
    // And again, now that the node's own log is numbered by itself.
    let (store, opened) = Store::open(options(directory.path())).unwrap();
    assert!(opened.was_clean);
    verify(&store).await.unwrap();
    assert_eq!(cases::check_only_of(&store, "acme").await, 2);
    store.close().await.unwrap();
}
