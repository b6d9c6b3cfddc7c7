//! Journals of runs: kept once, for whoever opened them, written by whoever drives them.

use crate::common::*;
use lockgate_store::{
    Begun, Driver, NewEntry, NewRun, RUN_KEY_US, RUNS_OPEN_MAX, RunKey, RunPhase, Standing, Store,
};
use lockgate_types::{CallId, Micros, Tenant};

pub(crate) fn entry(text: &str) -> NewEntry {
    NewEntry { kind: "asked", call: None, at: now(), body: text.as_bytes().to_vec() }
}

pub(crate) fn new_run(id: &CallId) -> NewRun {
    let entries = vec![entry("begins")];
    NewRun { id: id.clone(), task: "t".to_owned(), within: None, key: None, at: now(), entries }
}

pub(crate) fn driver(name: &str, lasts_us: i64) -> Driver {
    Driver { name: name.to_owned(), until: Micros(now().0 + lasts_us) }
}

pub(crate) fn standing(phase: RunPhase) -> Standing {
    Standing { phase, due: Micros(i64::MAX), waits_for: None }
}

const HOUR_US: i64 = 3600 * 1_000_000;

pub(crate) async fn a_journal_is_written_once_by_whoever_drives_the_run() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(options(directory.path())).unwrap();
    let (alice, bob, run) = (identity("alice"), identity("bob"), call("look").id);
    assert_eq!(store.begin_run(&alice, new_run(&run)).await.unwrap(), Begun::New);
    let here = driver("here", HOUR_US);
    let open = || standing(RunPhase::Open);
    // Nobody writes without having taken it.
    let add = async |driver: &Driver, number: u32, text: &str, standing: Standing| {
        let numbered = (number, entry(text));
        store.add_run_entry(&alice, (&run, driver), numbered, standing).await.unwrap()
    };
    assert!(!add(&here, 1, "no", open()).await);
    assert_eq!(store.claim_runs(&here, 10).await.unwrap(), std::slice::from_ref(&run));
    assert!(add(&here, 1, "one", open()).await);
    assert!(!add(&here, 1, "again", open()).await, "each number once");
    assert!(!add(&here, 3, "later", open()).await, "none is left out");
    assert!(!add(&driver("there", HOUR_US), 2, "else", open()).await);
    assert!(add(&here, 2, "two", standing(RunPhase::Finished)).await);

    let read = store.run_entries(&alice, &run, 1).await.unwrap().unwrap();
    assert_eq!(read, [b"one".to_vec(), b"two".to_vec()]);
    assert_eq!(store.run_entries(&bob, &run, 1).await.unwrap(), None, "sealed for its opener");
    let row = store.run(&alice, &run).await.unwrap().unwrap();
    assert_eq!((row.phase, row.entries, row.task.as_str()), (RunPhase::Finished, 3, "t"));
    assert_eq!(store.run(&bob, &run).await.unwrap(), None);
    assert_eq!(store.runs(&bob, None, 10).await.unwrap(), []);
    assert_eq!(store.runs(&alice, None, 10).await.unwrap(), [row]);
    assert_eq!(store.runs(&alice, Some(&run), 10).await.unwrap(), []);
    store.leave_run(&run, &here).await.unwrap();
    assert_eq!(store.claim_runs(&here, 10).await.unwrap(), [], "it is over");
    store.close().await.unwrap();

    let (store, _) = Store::open(options(directory.path())).unwrap();
    let read = store.run_entries(&alice, &run, 0).await.unwrap().unwrap();
    assert_eq!(read.len(), 3, "it is still there");
    store.erase(&alice.issuer, &alice.subject).await.unwrap().unwrap();
    assert_eq!(store.run_entries(&identity("alice"), &run, 0).await.unwrap(), None);
    store.close().await.unwrap();
}

pub(crate) async fn a_run_that_waits_is_taken_when_there_is_something_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(options(directory.path())).unwrap();
    let (alice, run) = (identity("alice"), call("look").id);
    store.begin_run(&alice, new_run(&run)).await.unwrap();
    let here = driver("here", HOUR_US);
    assert_eq!(store.claim_runs(&here, 10).await.unwrap().len(), 1);
    assert_eq!(store.claim_runs(&here, 10).await.unwrap(), [], "it is taken");
    let parked = standing(RunPhase::Parked);
    let (driven, numbered) = ((&run, &here), (1, entry("waits")));
    assert!(store.add_run_entry(&alice, driven, numbered, parked).await.unwrap());
    store.leave_run(&run, &here).await.unwrap();
    assert_eq!(store.claim_runs(&here, 10).await.unwrap(), [], "it waits");
    assert!(!store.cancel_run(&identity("bob"), &run, &run).await.unwrap());
    assert!(store.cancel_run(&alice, &run, &call("look").id).await.unwrap());
    assert!(!store.cancel_run(&alice, &run, &run).await.unwrap(), "once is enough");
    assert_eq!(store.claim_runs(&here, 10).await.unwrap(), std::slice::from_ref(&run));
    let held = store.hold_run(&run, &here).await.unwrap();
    assert!(held.is_some_and(|cancelled_by| cancelled_by.is_some_and(|by| by != run)));
    assert_eq!(store.hold_run(&run, &driver("there", HOUR_US)).await.unwrap(), None);
    store.close().await.unwrap();
}

pub(crate) async fn of_one_call_there_is_one_run_within_and_of_all_so_many() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(options(directory.path())).unwrap();
    let alice = identity("alice");
    let (outer, first, second) = (call("look").id, call("look").id, call("look").id);
    let within = |id: &CallId, part: &str| NewRun {
        within: Some((outer.clone(), part.to_owned())),
        ..new_run(id)
    };
    store.begin_run(&alice, new_run(&outer)).await.unwrap();
    assert_eq!(store.begin_run(&alice, within(&first, "0.0")).await.unwrap(), Begun::New);
    let again = store.begin_run(&alice, within(&second, "0.0")).await.unwrap();
    assert_eq!(again, Begun::Known(first.clone()));
    assert_eq!(store.begin_run(&alice, within(&second, "0.1")).await.unwrap(), Begun::New);
    for _ in 3..RUNS_OPEN_MAX {
        let id = call("look").id;
        assert_eq!(store.begin_run(&alice, new_run(&id)).await.unwrap(), Begun::New);
    }
    let id = call("look").id;
    assert_eq!(store.begin_run(&alice, new_run(&id)).await.unwrap(), Begun::TooMany);
    assert_eq!(store.begin_run(&identity("bob"), new_run(&id)).await.unwrap(), Begun::New);
    store.close().await.unwrap();
}

pub(crate) async fn a_key_names_one_run_of_its_opener_for_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(options(directory.path())).unwrap();
    let (alice, bob) = (identity("alice"), identity("bob"));
    let under = |id: &CallId, key: &str, asked: &str| NewRun {
        key: Some(RunKey { key: key.to_owned(), asked: asked.to_owned() }),
        ..new_run(id)
    };
    let ids: Vec<CallId> = (0..6).map(|_| call("look").id).collect();
    let begin = async |store: &Store, run: NewRun| store.begin_run(&alice, run).await.unwrap();
    assert_eq!(begin(&store, under(&ids[0], "k", "one")).await, Begun::New);
    assert_eq!(begin(&store, under(&ids[1], "k", "one")).await, Begun::Known(ids[0].clone()));
    assert_eq!(begin(&store, under(&ids[1], "k", "two")).await, Begun::OtherInput);
    assert_eq!(begin(&store, under(&ids[1], "l", "two")).await, Begun::New);
    let others = store.begin_run(&bob, under(&ids[2], "k", "two")).await.unwrap();
    assert_eq!(others, Begun::New, "another's key is another");
    assert_eq!(store.runs(&alice, None, 10).await.unwrap().len(), 2);
    store.close().await.unwrap();

    let (store, _) = Store::open(options(directory.path())).unwrap();
    assert_eq!(begin(&store, under(&ids[3], "k", "one")).await, Begun::Known(ids[0].clone()));
    let later = Micros(now().0 + RUN_KEY_US + 1_000_000);
    let late = NewRun { at: later, ..under(&ids[3], "k", "two") };
    assert_eq!(begin(&store, late).await, Begun::New, "its time is over");
    let again = NewRun { at: later, ..under(&ids[4], "k", "two") };
    assert_eq!(begin(&store, again).await, Begun::Known(ids[3].clone()));
    store.close().await.unwrap();
}

pub(crate) async fn who_looks_after_a_gate_sees_and_ends_the_runs_of_others() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(options(directory.path())).unwrap();
    let (alice, of_acme) = (identity("alice"), identity_in("acme", "bob"));
    let (first, second) = (call("look").id, call("look").id);
    store.begin_run(&alice, new_run(&first)).await.unwrap();
    store.begin_run(&of_acme, new_run(&second)).await.unwrap();
    let ids = async |tenant: Option<&Tenant>, before: Option<&CallId>| {
        let found = store.all_runs(tenant, before, 10).await.unwrap();
        found.into_iter().map(|row| row.id).collect::<Vec<_>>()
    };
    let mut both = vec![first.clone(), second.clone()];
    both.sort_by(|one, two| two.cmp(one));
    assert_eq!(ids(None, None).await, both);
    assert_eq!(ids(None, both.first()).await, both[1..]);
    assert_eq!(ids(Some(&of_acme.tenant), None).await, std::slice::from_ref(&second));
    assert!(store.any_run(&second).await.unwrap().is_some());
    assert!(store.any_run(&call("look").id).await.unwrap().is_none());
    let by = call("look").id;
    assert!(store.cancel_any_run(&second, &by).await.unwrap());
    assert!(!store.cancel_any_run(&second, &by).await.unwrap(), "once is enough");
    let row = store.run(&of_acme, &second).await.unwrap().unwrap();
    assert_eq!(row.cancelled_by, Some(by));
    assert_eq!(store.run(&alice, &first).await.unwrap().unwrap().cancelled_by, None);
    store.close().await.unwrap();
}
