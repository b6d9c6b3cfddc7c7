//! Memos: sealed for their subject, divided as the bundle says, bounded, and forgotten in time.

use crate::common::*;
use lockgate_store::{Confirming, MemoScope, NewMemo, Noted, Store};
use lockgate_types::flow::Author;
use lockgate_types::identity::Identity;
use lockgate_types::label::{Confidentiality, Label};
use lockgate_types::{CallId, Digest, Micros};
use std::sync::Arc;

const HOUR_US: i64 = 3600 * 1_000_000;

pub(crate) fn memo_scope() -> MemoScope {
    MemoScope { memory: "notes".to_owned(), task: None, agent: None }
}

pub(crate) fn new_memo(key: &str, text: &str) -> NewMemo {
    NewMemo {
        key: key.to_owned(),
        text: text.to_owned(),
        call: call("save").id,
        is_attempt: false,
        bundle: Digest::of(b"bundle"),
        lasts_us: HOUR_US,
        label: Label::of(Author::Anyone, Confidentiality::Confidential),
        max: 3,
    }
}

async fn noted(store: &Store, who: &Identity, new: NewMemo) -> bool {
    matches!(store.note_memo(who, &memo_scope(), new).await.unwrap(), Noted::Kept(_))
}

async fn texts(store: &Store, who: &Identity, scope: &MemoScope) -> Vec<String> {
    let memos = store.memos_in(who, scope).await.unwrap();
    memos.into_iter().map(|memo| memo.text).collect()
}

fn acting(who: &Identity, agent: &str, task: Option<&str>) -> Arc<Identity> {
    let task = task.map(|task| task.parse().unwrap());
    Arc::new(Identity { agent: agent.parse().unwrap(), task, ..who.clone() })
}

pub(crate) async fn a_memo_is_its_subjects_alone_and_says_all_that_was_written() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(options(directory.path())).unwrap();
    let (alice, bob) = (identity("alice"), identity("bob"));
    let new = new_memo("diet", "no nuts");
    let by = new.call.clone();
    assert!(noted(&store, &alice, new).await);
    let memos = store.memos_in(&alice, &memo_scope()).await.unwrap();
    let [memo] = memos.as_slice() else { panic!("{memos:?}") };
    assert_eq!((memo.key.as_str(), memo.text.as_str()), ("diet", "no nuts"));
    assert_eq!((memo.agent.as_str(), &memo.call), ("bot", &by));
    assert_eq!(memo.label, Label::of(Author::Anyone, Confidentiality::Confidential));
    assert_eq!(memo.until.0 - memo.at.0, HOUR_US);

    // Whoever else asks: another subject, tenant or memory has nothing of it.
    for other in [&bob, &identity_in("other", "alice")] {
        assert_eq!(texts(&store, other, &memo_scope()).await, [""; 0]);
        assert_eq!(store.memo(other, &memo.id).await.unwrap(), None);
        assert!(!store.forget_own_memo(other, &memo.id).await.unwrap());
        assert!(!store.forget_memo(other, &memo_scope(), "diet", None).await.unwrap());
        assert_eq!(store.memos_of(other, None, 10).await.unwrap().memos, []);
    }
    let elsewhere = MemoScope { memory: "others".to_owned(), ..memo_scope() };
    assert_eq!(texts(&store, &alice, &elsewhere).await, [""; 0]);
    assert_eq!(store.memos_of(&alice, None, 10).await.unwrap().memos, memos);
    assert_eq!(store.memo(&alice, &memo.id).await.unwrap().as_ref(), Some(memo));
    store.close().await.unwrap();

    // A restart loses nothing, an erasure leaves nothing.
    let (store, _) = Store::open(options(directory.path())).unwrap();
    assert_eq!(store.memos_in(&alice, &memo_scope()).await.unwrap(), memos);
    assert!(noted(&store, &bob, new_memo("diet", "all")).await);
    store.erase(&alice.issuer, &alice.subject).await.unwrap().unwrap();
    assert_eq!(texts(&store, &alice, &memo_scope()).await, [""; 0]);
    assert_eq!(store.memos_of(&alice, None, 10).await.unwrap().memos, []);
    assert_eq!(texts(&store, &bob, &memo_scope()).await, ["all"]);
    assert!(noted(&store, &alice, new_memo("diet", "again")).await, "who comes back begins anew");
    assert_eq!(texts(&store, &alice, &memo_scope()).await, ["again"]);
    store.close().await.unwrap();
}

pub(crate) async fn a_memory_is_divided_as_it_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(options(directory.path())).unwrap();
    let alice = identity("alice");
    let per = |task: Option<&str>, agent: &str| MemoScope {
        task: Some(task.map(|task| task.parse().unwrap())),
        agent: Some(agent.parse().unwrap()),
        ..memo_scope()
    };
    let scopes = [
        memo_scope(),
        per(None, "bot"),
        per(Some("a"), "bot"),
        per(Some("b"), "bot"),
        per(Some("a"), "other"),
        MemoScope { agent: None, ..per(Some("a"), "bot") },
    ];
    for (at, scope) in scopes.iter().enumerate() {
        let new = new_memo("k", &format!("memo {at}"));
        assert!(matches!(store.note_memo(&alice, scope, new).await.unwrap(), Noted::Kept(_)));
    }
    for (at, scope) in scopes.iter().enumerate() {
        assert_eq!(texts(&store, &alice, scope).await, [format!("memo {at}")]);
    }
    let all = store.memos_of(&alice, None, 4).await.unwrap();
    assert_eq!(all.memos.len(), 4);
    let rest = store.memos_of(&alice, all.next.as_deref(), 4).await.unwrap();
    assert_eq!((rest.memos.len(), rest.next), (2, None));
    assert!(all.memos.iter().all(|memo| !rest.memos.contains(memo)));
    assert!(scopes.contains(&rest.memos[0].scope), "it says where it is");
    store.close().await.unwrap();
}

pub(crate) async fn the_same_key_is_replaced_and_so_many_may_there_be() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(options(directory.path())).unwrap();
    let alice = identity("alice");
    for key in ["a", "b", "c"] {
        assert!(noted(&store, &alice, new_memo(key, key)).await);
    }
    let full = store.note_memo(&alice, &memo_scope(), new_memo("d", "d")).await.unwrap();
    assert_eq!(full, Noted::Full(3));
    let newer = new_memo("a", "newer");
    let newest = newer.call.clone();
    assert!(noted(&store, &alice, newer).await, "there is room for what is there");
    assert_eq!(texts(&store, &alice, &memo_scope()).await, ["newer", "c", "b"]);

    // What is done again after a crash takes nothing back that came since.
    let early = CallId::new("00000000000000000000000000000001").unwrap();
    let again = |key: &str, first: &CallId| NewMemo {
        call: first.clone(),
        is_attempt: true,
        ..new_memo(key, "older")
    };
    assert!(noted(&store, &alice, again("a", &early)).await);
    assert!(!store.forget_memo(&alice, &memo_scope(), "a", Some(&early)).await.unwrap());
    assert!(noted(&store, &alice, again("a", &newest)).await);
    assert_eq!(texts(&store, &alice, &memo_scope()).await, ["newer", "c", "b"]);
    assert!(store.forget_memo(&alice, &memo_scope(), "a", None).await.unwrap());
    assert!(!store.forget_memo(&alice, &memo_scope(), "a", None).await.unwrap());
    assert!(noted(&store, &alice, new_memo("d", "d")).await, "there is room again");
    store.close().await.unwrap();
}

pub(crate) async fn a_memo_whose_time_is_over_is_not_there() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(options(directory.path())).unwrap();
    let alice = identity("alice");
    for key in ["a", "b", "c"] {
        let over = NewMemo { lasts_us: 0, ..new_memo(key, key) };
        assert!(noted(&store, &alice, over).await);
    }
    assert_eq!(texts(&store, &alice, &memo_scope()).await, [""; 0]);
    assert_eq!(store.memos_of(&alice, None, 10).await.unwrap().memos, []);
    assert!(!store.forget_memo(&alice, &memo_scope(), "a", None).await.unwrap());
    assert!(noted(&store, &alice, new_memo("d", "d")).await, "it takes no room");
    assert!(noted(&store, &alice, new_memo("a", "anew")).await);
    assert_eq!(texts(&store, &alice, &memo_scope()).await, ["anew", "d"]);
    store.close().await.unwrap();
}

pub(crate) async fn a_person_confirms_what_an_agent_wrote_and_no_agent_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(options(directory.path())).unwrap();
    let (alice, by) = (identity("alice"), call("look").id);
    assert!(noted(&store, &alice, new_memo("a", "a")).await);
    let id = store.memos_in(&alice, &memo_scope()).await.unwrap()[0].id.clone();
    assert_eq!(store.confirm_memo(&alice, &id, &by).await.unwrap(), Confirming::Own);
    let hers = acting(&alice, "her-tool", None);
    let confirm = async |who: &Identity| store.confirm_memo(who, &id, &by).await.unwrap();
    assert_eq!(confirm(&acting(&identity("bob"), "her-tool", None)).await, Confirming::Unknown);
    let Confirming::Confirmed(memo) = confirm(&hers).await else { panic!() };
    let is_by = |memo: &lockgate_store::Memo| memo.confirmed.as_ref().map(|(by, _)| by.clone());
    assert_eq!(is_by(&memo), Some(by.clone()));
    let kept = store.memos_in(&alice, &memo_scope()).await.unwrap().remove(0);
    assert_eq!((kept.text.as_str(), is_by(&kept)), ("a", Some(by.clone())));
    assert!(kept.at < Micros(i64::MAX) && kept.until == memo.until, "it lasts no longer");
    // What an agent writes in its place nobody has confirmed.
    assert!(noted(&store, &alice, new_memo("a", "else")).await);
    assert_eq!(is_by(&store.memo(&alice, &id).await.unwrap().unwrap()), None);
    assert!(store.forget_own_memo(&hers, &id).await.unwrap());
    assert_eq!(confirm(&hers).await, Confirming::Unknown);
    store.close().await.unwrap();
}
