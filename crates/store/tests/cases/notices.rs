//! What webhooks are told of requests for approval, and what is remembered of their answers.

use crate::common::*;
use lockgate_core::World;
use lockgate_core::evidence::evidence;
use lockgate_store::{ApprovalAnswer, ApprovalState, Delivery, Heard, News, Notice, Store, Told};
use lockgate_types::evidence::Risk;
use lockgate_types::{CallId, Digest, Micros};

/// A refused call that waits for somebody.
async fn asked(store: &Store, world: &World, lasts_us: i64) -> CallId {
    let alice = identity("alice");
    let session = store.session(&session_key(&alice)).await.unwrap();
    let refused = refused(world, facts(&alice, session, call("wipe")));
    let evidence = evidence(world, refused.decision(), refused.facts(), None, Risk::default());
    store.ask(refused, &evidence, Micros(now().0 + lasts_us)).await.unwrap().0
}

async fn claimed(store: &Store, webhook: &str) -> Vec<Notice> {
    store.claim_notices(webhook, 10).await.unwrap().0
}

async fn only(store: &Store, webhook: &str) -> Notice {
    let [notice] = <[Notice; 1]>::try_from(claimed(store, webhook).await).unwrap();
    notice
}

const PENDING: News = News::Approval(ApprovalState::Pending);
const HOUR_US: i64 = 3600 * 1_000_000;

pub(crate) async fn a_webhook_is_told_how_each_request_stands_until_it_takes_it() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(options(directory.path())).unwrap();
    let world = world();
    store.publish_bundle(world.digest, &files()).await.unwrap();
    let request = asked(&store, &world, HOUR_US).await;

    let first = only(&store, "chat").await;
    assert_eq!((&first.call, first.news, first.attempts), (&request, PENDING, 1));
    assert_eq!(claimed(&store, "chat").await, [], "somebody has it already");
    let later = Told::Later { due: now(), why: "500".to_owned() };
    store.told("chat", first.clone(), later).await.unwrap();
    let second = only(&store, "chat").await;
    assert_eq!((second.entry, second.attempts), (first.entry, 2), "the same, again");
    let due = Micros(now().0 + HOUR_US);
    store.told("chat", second, Told::Later { due, why: "503".to_owned() }).await.unwrap();
    assert_eq!(store.claim_notices("chat", 10).await.unwrap(), (Vec::new(), Some(due)));

    // What has changed does not wait for what was tried before.
    let by = call("look").id;
    assert!(store.answer_approval(&request, ApprovalAnswer::Deny, &by).await.unwrap());
    let ended = only(&store, "chat").await;
    assert_eq!((ended.news, ended.attempts), (News::Approval(ApprovalState::Denied), 1));
    assert_ne!(ended.entry, first.entry);
    assert_eq!(claimed(&store, "late").await, [], "the end of what it was never told of");
    store.told("chat", ended.clone(), Told::Taken).await.unwrap();
    assert_eq!(claimed(&store, "chat").await, []);
    let taken = |webhook: &str, why: &str| Delivery {
        webhook: webhook.to_owned(),
        is_over: true,
        attempts: 1,
        why: why.to_owned(),
    };
    let (entry, deliveries) = store.deliveries(&request).await.unwrap();
    assert_eq!((entry, deliveries), (Some(ended.entry), vec![taken("chat", "")]));

    // What is given up, and what is for somebody else, is not tried again.
    let other = asked(&store, &world, HOUR_US).await;
    let notice = only(&store, "chat").await;
    let why = "not found".to_owned();
    store.told("chat", notice, Told::GivenUp { why }).await.unwrap();
    let notice = only(&store, "quiet").await;
    store.told("quiet", notice, Told::NotForIt).await.unwrap();
    assert_eq!(claimed(&store, "quiet").await, []);
    store.close().await.unwrap();
    let (store, _) = Store::open(options(directory.path())).unwrap();
    assert_eq!(claimed(&store, "chat").await, [], "a restart forgets nothing");
    let (_, deliveries) = store.deliveries(&other).await.unwrap();
    assert_eq!(deliveries, [taken("chat", "not found")]);
    store.close().await.unwrap();
}

pub(crate) async fn a_message_of_a_channel_is_one_message_however_often_it_comes() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(options(directory.path())).unwrap();
    let (give, deny) = (Digest::of(b"give"), Digest::of(b"deny"));
    assert_eq!(store.hear("chat", "m1", give).await.unwrap(), Heard::New);
    assert_eq!(store.hear("chat", "m1", give).await.unwrap(), Heard::Again(None));
    store.answer_heard("chat", "m1", "done".to_owned()).await.unwrap();
    let done = Some("done".to_owned());
    assert_eq!(store.hear("chat", "m1", give).await.unwrap(), Heard::Again(done.clone()));
    assert_eq!(store.hear("chat", "m1", deny).await.unwrap(), Heard::Other);
    assert_eq!(store.hear("other", "m1", deny).await.unwrap(), Heard::New);
    store.close().await.unwrap();
    let (store, _) = Store::open(options(directory.path())).unwrap();
    assert_eq!(store.hear("chat", "m1", give).await.unwrap(), Heard::Again(done));
    store.close().await.unwrap();
}
