//! Each tenant has a log of its own, complete and without a leaf of anybody else's.

use super::text;
use crate::common::*;
use lockgate_core::evidence::evidence;
use lockgate_ledger::{Checkpoint, VerifierKey, verify_log};
use lockgate_store::{ApprovalAnswer, Means, OutcomeState, Store, Terms};
use lockgate_types::evidence::Risk;
use lockgate_types::{Json, Micros};

/// Every leaf of a log is of that tenant, or about a call whose intent is there.
pub(crate) async fn check_only_of(store: &Store, tenant: &str) -> usize {
    let report = verify_of(store, tenant).await.unwrap();
    let entries = entries_of(store, tenant).await;
    assert_eq!(report.entries, entries.len() as u64);
    let mut calls = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        assert_eq!(entry.get("sq").and_then(Json::as_i64), Some(index as i64));
        match text(entry, &["k"]) {
            "intent" | "refusal" | "repeat" => {
                assert_eq!(text(entry, &["tenant"]), tenant);
                calls.push(text(entry, &["call"]));
            }
            "outcome" | "resolution" => {
                assert!(calls.contains(&text(entry, &["call"])), "{entry}");
                // Who has this log alone finds what the entry follows from.
                let parent = entry.at(&["parent", "index"]).and_then(Json::as_i64).unwrap();
                let parent = &entries[usize::try_from(parent).unwrap()];
                assert_eq!(text(parent, &["call"]), text(entry, &["call"]));
                let hash = lockgate_ledger::leaf_hash(parent.to_string().as_bytes());
                assert_eq!(text(entry, &["parent", "hash"]), hash.to_string());
            }
            "gap" => {}
            "approval" => assert!(calls.contains(&text(entry, &["call"])), "{entry}"),
            other => panic!("{other} in the log of {tenant}"),
        }
    }
    entries.len()
}

pub(crate) async fn every_tenant_has_a_log_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(options(directory.path())).unwrap();
    let world = world();
    // The same person in all of them.
    let all = ["acme", "default", "globex"].map(|tenant| identity_in(tenant, "alice"));
    let mut calls = Vec::new();
    // More than a tile of each.
    for _ in 0..60 {
        for identity in &all {
            calls.push(write(&store, &world, identity).await.unwrap());
            calls.push(read(&store, &world, identity).await.unwrap());
            calls.push(refuse(&store, &world, identity).await.unwrap());
        }
    }
    for tenant in ["acme", "globex"] {
        assert_eq!(check_only_of(&store, tenant).await, 300);
    }
    let own = entries_of(&store, "default").await;
    assert_eq!(own.len(), 301);
    let is_others = |entry: &Json| {
        entry.get("tenant").and_then(Json::as_str).is_some_and(|tenant| tenant != "default")
    };
    assert!(!own.iter().any(is_others));
    verify(&store).await.unwrap();
    let tenants = store.tenants_with_logs("").await.unwrap();
    assert_eq!(tenants.iter().map(|it| it.as_str()).collect::<Vec<_>>(), ["acme", "globex"]);
    assert_eq!(store.checkpoint_of(&"nobody".parse().unwrap()).await.unwrap(), None);

    // What goes over all logs goes on as before: in one order.
    let page = store.records(0, 512).await.unwrap();
    assert_eq!((page.next, page.size), (512, 901));
    let rest = store.records(512, 512).await.unwrap();
    let recorded = page.records.iter().chain(&rest.records).map(|record| &record.call);
    assert!(recorded.eq(calls.iter().map(|(call, _)| call)));
    for (call, receipt) in &calls {
        let trace = store.trace(call).await.unwrap().unwrap();
        let last = trace.entries.last().unwrap();
        assert_eq!((last.index, last.hash), (receipt.index, receipt.leaf));
        assert!(trace.entries.iter().all(|entry| entry.tenant == last.tenant));
    }

    // What was signed is what is continued.
    let acme = "acme".parse().unwrap();
    let vkey: VerifierKey = store.vkey_of(&acme).await.unwrap().parse().unwrap();
    assert_eq!(vkey.name(), format!("{ORIGIN}/acme"));
    let seen = store.checkpoint_of(&acme).await.unwrap().unwrap();
    let seen = Checkpoint::open(seen.as_bytes(), &vkey).unwrap();
    store.close().await.unwrap();
    let (store, opened) = reopen(&options(directory.path()));
    assert!(opened.was_clean);
    assert_eq!(store.tenants_with_logs("acme").await.unwrap().len(), 1);
    read(&store, &world, &all[0]).await.unwrap();
    let files = export_of(&store, &acme).await;
    let report = verify_log(&files, &vkey, Some(&seen), &mut |_, _| {}).unwrap();
    assert_eq!((report.continues, report.entries), (Some(300), 302));
    assert_eq!(check_only_of(&store, "globex").await, 300);
    verify(&store).await.unwrap();
}

pub(crate) async fn an_end_leaves_what_it_leaves_in_every_log() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(options(directory.path())).unwrap();
    let world = world();
    let all = ["acme", "default", "globex"].map(|tenant| identity_in(tenant, "alice"));
    for identity in &all {
        read(&store, &world, identity).await.unwrap();
    }
    drop(store);
    let (store, opened) = reopen(&options(directory.path()));
    assert!(opened.gap.is_some());
    for tenant in ["acme", "default", "globex"] {
        let entries = entries_of(&store, tenant).await;
        let gaps = kinds(&entries).iter().filter(|kind| **kind == "gap").count();
        assert_eq!(gaps, 1, "a read of {tenant} may be missing");
        verify_of(&store, tenant).await.unwrap();
    }

    // An intent that is found open gets its outcome where it stands.
    for identity in &all[..2] {
        std::mem::forget(open_write(&store, &world, identity).await.unwrap().spend().2);
    }
    store.close().await.unwrap();
    let (store, opened) = reopen(&options(directory.path()));
    assert!(opened.was_clean);
    assert_eq!(kinds(&entries_of(&store, "acme").await)[3..], ["intent", "outcome"]);
    assert_eq!(check_only_of(&store, "acme").await, 5);
    assert_eq!(check_only_of(&store, "globex").await, 3);

    // What becomes known of it stands in the same log, beside what it is about.
    let doubts = store.doubts(0, 8).await.unwrap();
    assert_eq!(doubts.len(), 2);
    for doubt in &doubts {
        store.resolve(&doubt.call, OutcomeState::Failed, Means::Person).await.unwrap().unwrap();
        let trace = store.trace(&doubt.call).await.unwrap().unwrap();
        let kinds: Vec<&str> = trace.entries.iter().map(|it| text(&it.leaf, &["k"])).collect();
        assert_eq!(kinds, ["intent", "outcome", "resolution"]);
        assert!(store.concluded_at(&doubt.call).await.unwrap().is_some());
    }
    assert_eq!(check_only_of(&store, "acme").await, 6);
    verify(&store).await.unwrap();
    store.close().await.unwrap();
}

pub(crate) async fn a_request_is_answered_in_the_log_of_its_tenant() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(options(directory.path())).unwrap();
    let (world, alice) = (world(), identity_in("acme", "alice"));
    let operator = identity("operator");
    let session = store.session(&session_key(&alice)).await.unwrap();
    let refused = refused(&world, facts(&alice, session, call("wipe")));
    let evidence = evidence(&world, refused.decision(), refused.facts(), None, Risk::default());
    let (request, _) =
        store.ask(refused, &evidence, Micros(now().0 + 3_600_000_000)).await.unwrap();
    let (by, _) = write(&store, &world, &operator).await.unwrap();
    assert!(store.answer_approval(&request, ApprovalAnswer::Deny, &by).await.unwrap());
    let entries = entries_of(&store, "acme").await;
    assert_eq!(kinds(&entries), ["refusal", "approval"]);
    let notices = store.claim_notices("chat", 8).await.unwrap().0;
    assert!(notices.is_empty(), "it was over before anybody was told");
    check_only_of(&store, "acme").await;
    assert!(!kinds(&entries_of(&store, "default").await).contains(&"approval"));
}

pub(crate) async fn a_transaction_that_fails_leaves_every_log_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(options(directory.path())).unwrap();
    let world = world();
    let [acme, globex] = ["acme", "globex"].map(|tenant| identity_in(tenant, "alice"));
    write(&store, &world, &acme).await.unwrap();
    write(&store, &world, &identity("alice")).await.unwrap();
    // The same call twice: the second is refused, and makes nobody's log.
    let session = store.session(&session_key(&globex)).await.unwrap();
    let mut again = facts(&globex, session, call("save"));
    again.call.id = write(&store, &world, &acme).await.unwrap().0;
    let refused = store.commit(allowed(&world, again), Terms::default()).await;
    assert!(refused.is_err());
    assert_eq!(store.tenants_with_logs("").await.unwrap().len(), 1);
    assert_eq!(check_only_of(&store, "acme").await, 4);
    write(&store, &world, &globex).await.unwrap();
    assert_eq!(check_only_of(&store, "globex").await, 2);
    verify(&store).await.unwrap();
}
