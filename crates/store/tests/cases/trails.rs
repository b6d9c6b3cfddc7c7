//! What has happened, kept beside its sessions.

use crate::common::*;
use lockgate_core::exposure::Look;
use lockgate_core::world::World;
use lockgate_store::{CommitError, SessionKey, Store, StoreError, Terms};
use lockgate_types::facts::{Facts, SessionState};
use lockgate_types::flow::Author;
use lockgate_types::history::History;
use lockgate_types::identity::Identity;
use lockgate_types::label::{Confidentiality, Label};
use lockgate_types::{CallId, SessionId};
use std::sync::Arc;

pub(crate) const WINDOW_US: i64 = 3_600_000_000;

/// What a call looks at that counts as these.
pub(crate) fn look(counts: &[&str]) -> Look {
    let asked = ["crm/save", "effect:read", "origin:anyone", "confidentiality:restricted"];
    Look {
        group: None,
        window_us: WINDOW_US,
        asked: asked.iter().map(|tag| (*tag).to_owned()).collect(),
        counts: counts.iter().map(|tag| (*tag).to_owned()).collect(),
    }
}

pub(crate) fn in_session(identity: &Identity, id: &str) -> SessionKey {
    SessionKey { id: Some(SessionId::new(id).unwrap()), ..session_key(identity) }
}

/// A session as whoever looks back sees it.
pub(crate) async fn looked(store: &Store, key: &SessionKey, look: Look) -> (SessionState, History) {
    let (session, _, past) = store.look(key, Some(look)).await.unwrap();
    past.unwrap().of(session)
}

/// The facts of a call in a session, with what has happened before.
pub(crate) async fn looking_back(
    store: &Store,
    identity: &Arc<Identity>,
    id: &str,
    tool: &str,
    counts: &[&str],
) -> Facts {
    let key = in_session(identity, id);
    let (session, history) = looked(store, &key, look(counts)).await;
    Facts { history: Some(Arc::new(history)), ..facts(identity, session, call(tool)) }
}

/// A read whose result has this label.
pub(crate) async fn meet(
    store: &Store,
    world: &World,
    identity: &Arc<Identity>,
    id: &str,
    label: &Label,
) -> Result<CallId, StoreError> {
    loop {
        let facts = looking_back(store, identity, id, "look", &["effect:read"]).await;
        let permit = match store.admit_read(allowed(world, facts)) {
            Ok(permit) => permit,
            // Its subject was not in memory.
            Err(CommitError::Moved(_)) => continue,
            Err(other) => panic!("{other}"),
        };
        let (call, _, spent) = permit.spend();
        let mut record = outcome("found");
        record.label = label.clone();
        store.conclude(spent, record).await?;
        return Ok(call.id);
    }
}

pub(crate) fn passed(history: &History) -> Vec<(&str, &str, bool)> {
    let steps = history.passed();
    steps.map(|(tag, it)| (tag, it.first.call.as_str(), it.is_here)).collect()
}

pub(crate) fn strangers() -> Label {
    Label::of(Author::Anyone, Confidentiality::Public)
}

pub(crate) fn secrets() -> Label {
    Label::of(Author::System, Confidentiality::Restricted)
}

pub(crate) async fn what_a_session_met_its_group_has_met_and_a_restart_forgets_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(options(directory.path())).unwrap();
    let (world, alice) = (world(), identity("alice"));
    let first = meet(&store, &world, &alice, "s1", &secrets()).await.unwrap();
    let second = meet(&store, &world, &alice, "s2", &strangers()).await.unwrap();
    let expected = |here: bool| {
        vec![
            ("confidentiality:restricted", first.as_str(), false),
            ("effect:read", first.as_str(), here),
            ("origin:anyone", second.as_str(), here),
        ]
    };
    let of = async |store: &Store, who: &str, id: &str| {
        let key = in_session(&identity(who), id);
        looked(store, &key, look(&[])).await
    };
    for _ in 0..2 {
        let (session, history) = of(&store, "alice", "s2").await;
        assert_eq!(passed(&history), expected(true));
        assert!(session.exposure.covers(&secrets()) && session.exposure.covers(&strangers()));
        meet(&store, &world, &alice, "s2", &strangers()).await.unwrap();
    }
    store.close().await.unwrap();
    let (store, _) = reopen(&options(directory.path()));
    let (session, history) = of(&store, "alice", "s3").await;
    assert_eq!(passed(&history), expected(false));
    assert!(session.exposure.covers(&secrets()) && session.exposure.covers(&strangers()));
    // Its own state is that of a session in which nothing has happened.
    let fresh = store.session(&in_session(&alice, "s3")).await.unwrap();
    assert_eq!((fresh.exposure, fresh.revision), (Label::default(), 0));
    // Another group of the same subject, and another subject, know nothing of it.
    let alone = Look { group: Some("alone".to_owned()), ..look(&[]) };
    let (session, history) = looked(&store, &in_session(&alice, "s3"), alone).await;
    assert_eq!((session.exposure, passed(&history)), (Label::default(), vec![]));
    let (session, history) = of(&store, "bob", "s1").await;
    assert_eq!((session.exposure, passed(&history)), (Label::default(), vec![]));
    verify(&store).await.unwrap();
}

pub(crate) async fn a_write_is_decided_again_if_its_group_has_met_more() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(options(directory.path())).unwrap();
    let (world, alice) = (world(), identity("alice"));
    // The subject is known, and its group has met something.
    meet(&store, &world, &alice, "s1", &strangers()).await.unwrap();
    let before = looking_back(&store, &alice, "s2", "save", &["crm/save"]).await;
    let again = Facts { call: call("save"), ..before.clone() };
    // What is known already changes nothing.
    meet(&store, &world, &alice, "s1", &strangers()).await.unwrap();
    let permit = store.commit(allowed(&world, before), Terms::default()).await.unwrap();
    drop(permit);
    // It counts from its intent: whoever was decided before is decided again.
    let Err(CommitError::Moved(_)) = store.commit(allowed(&world, again), Terms::default()).await
    else {
        panic!("a permit beside another's");
    };
    let exposed = looking_back(&store, &alice, "s3", "save", &[]).await;
    meet(&store, &world, &alice, "s1", &secrets()).await.unwrap();
    let Err(CommitError::Moved(_)) = store.commit(allowed(&world, exposed), Terms::default()).await
    else {
        panic!("a permit on what its group had met before");
    };
    verify(&store).await.unwrap();
}
