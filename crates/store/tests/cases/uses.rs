//! What documents have fed: which calls have shown them, and what their sessions did next.

use crate::common::*;
use lockgate_core::World;
use lockgate_store::{OutcomeRecord, SHOWN_MAX, ShownDocument, Store, WhichUses};
use lockgate_types::identity::Identity;
use lockgate_types::{CallId, Json, Micros, SessionId};
use std::collections::BTreeSet;
use std::slice::from_ref;
use std::sync::Arc;

fn document(source: &str, id: &str) -> ShownDocument {
    ShownDocument { source: source.to_owned(), id: id.to_owned() }
}

/// A call of somebody's that shows documents, if any.
async fn shows(
    store: &Store,
    world: &World,
    who: &Arc<Identity>,
    documents: impl IntoIterator<Item = ShownDocument>,
) -> (CallId, Micros) {
    let permit = open_write(store, world, who).await.unwrap();
    let call = permit.call().id.clone();
    let shown = documents.into_iter().collect();
    let ended = OutcomeRecord { shown, ..outcome("found") };
    let at = ended.at;
    store.conclude(permit.spend().2, ended).await.unwrap();
    (call, at)
}

fn asked(source: &str, document: Option<&str>) -> WhichUses {
    WhichUses {
        tenant: "default".parse().unwrap(),
        source: source.to_owned(),
        document: document.map(str::to_owned),
        before: None,
    }
}

async fn uses(store: &Store, which: &WhichUses) -> Vec<CallId> {
    store.uses(which, 10).await.unwrap().into_iter().map(|it| it.call).collect()
}

async fn followed(store: &Store, session: &SessionId) -> Vec<CallId> {
    let all = store.followed(session, Micros(0)).await.unwrap().calls;
    for it in &all {
        let of = it.decided.get("session").and_then(Json::as_str);
        assert_eq!(of, Some(session.as_str()));
    }
    all.into_iter().map(|it| it.call).collect()
}

pub(crate) async fn what_was_shown_is_found_with_what_followed_in_its_session_alone() {
    let directory = tempfile::tempdir().unwrap();
    let options = options(directory.path());
    let (store, _) = Store::open(options.clone()).unwrap();
    let world = world();
    let (alice, bob) = (identity("alice"), identity("bob"));
    let session = async |who: &Arc<Identity>| store.session(&session_key(who)).await.unwrap().id;
    let (of_alice, of_bob) = (session(&alice).await, session(&bob).await);

    shows(&store, &world, &alice, []).await;
    let both = [document("wiki", "a"), document("wiki", "b")];
    let (first, at) = shows(&store, &world, &alice, both).await;
    let (after, _) = shows(&store, &world, &alice, []).await;
    let (second, _) = shows(&store, &world, &alice, [document("tickets", "a")]).await;
    let state = store.session(&session_key(&alice)).await.unwrap();
    let refusal = refused(&world, facts(&alice, state, call("forbidden")));
    let turned_down = refusal.facts().call.id.clone();
    store.refuse(refusal).await.unwrap();
    // Somebody to whom nothing was shown.
    shows(&store, &world, &bob, []).await;

    let (store, _) = {
        store.close().await.unwrap();
        reopen(&options)
    };
    assert_eq!(uses(&store, &asked("wiki", Some("a"))).await, from_ref(&first));
    assert_eq!(uses(&store, &asked("wiki", None)).await, from_ref(&first), "once each");
    assert_eq!(uses(&store, &asked("tickets", Some("a"))).await, from_ref(&second));
    assert!(uses(&store, &asked("wiki", Some("c"))).await.is_empty());
    let elsewhere = WhichUses { tenant: "other".parse().unwrap(), ..asked("wiki", None) };
    assert!(uses(&store, &elsewhere).await.is_empty());
    let expected = [after, second, turned_down];
    assert_eq!(followed(&store, &of_alice).await, expected);
    assert!(followed(&store, &of_bob).await.is_empty());
    let found = store.uses(&asked("wiki", Some("b")), 10).await.unwrap();
    let [found] = &found[..] else { panic!("{found:?}") };
    assert_eq!(found.at, at);
    let state = found.outcome.as_ref().and_then(|it| it.get("state")?.as_str());
    assert_eq!(state, Some("succeeded"));

    // The session is known for it at the next start too; and pages go on where they ended.
    let many: BTreeSet<_> =
        (0..=SHOWN_MAX).map(|it| document("big", &format!("{it:04}"))).collect();
    let (third, _) = shows(&store, &world, &alice, many).await;
    assert_eq!(followed(&store, &of_alice).await, [&expected[..], from_ref(&third)].concat());
    let last = format!("{SHOWN_MAX:04}");
    assert!(uses(&store, &asked("big", Some(&last))).await.is_empty(), "so many, and no more");
    let (fourth, at) = shows(&store, &world, &alice, [document("big", "0000")]).await;
    let which = asked("big", None);
    assert_eq!(uses(&store, &which).await, [fourth.clone(), third.clone()]);
    let earlier = WhichUses { before: Some((at, fourth)), ..which };
    assert_eq!(uses(&store, &earlier).await, [third]);
    verify(&store).await.unwrap();
}
