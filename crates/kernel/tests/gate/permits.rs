//! I1: no effect without a permit, no permit without a durable decision.

use crate::bed::{Bed, Plan, entries, identity};
use crate::upstream::{Fake, answer, says, text_result};
use lockgate_store::Store;
use lockgate_types::{Code, Json};
use std::sync::{Arc, Mutex, OnceLock};

/// Notes which entries there are at the moment in which a call arrives.
async fn witness() -> (Fake, Arc<OnceLock<Store>>, Arc<Mutex<Vec<String>>>) {
    let store: Arc<OnceLock<Store>> = Arc::default();
    let noted: Arc<Mutex<Vec<String>>> = Arc::default();
    let (watched, notes) = (Arc::clone(&store), Arc::clone(&noted));
    let fake = Fake::start("[]", move |seen| {
        let (store, notes) = (Arc::clone(&watched), Arc::clone(&notes));
        Box::pin(async move {
            let calls = entries(store.get().unwrap()).await;
            let calls = calls.iter().filter(|entry| entry.contains_call());
            let kinds: Vec<&str> = calls.map(|e| e.get("k").unwrap().as_str().unwrap()).collect();
            notes.lock().unwrap().push(format!("{} {}", seen.tool(), kinds.join(" ")));
            answer(&seen, &text_result("done"))
        })
    })
    .await;
    (fake, store, noted)
}

trait OfCall {
    fn contains_call(&self) -> bool;
}

impl OfCall for Json {
    fn contains_call(&self) -> bool {
        self.get("call").is_some()
    }
}

#[tokio::test]
async fn a_write_is_durable_before_it_arrives_and_a_read_before_it_is_answered() {
    let (fake, store, noted) = witness().await;
    let bed = Bed::new(fake).await;
    store.set(bed.store().clone()).map_err(drop).unwrap();

    bed.tool("save", "{}").await.result();
    assert_eq!(*noted.lock().unwrap(), ["save intent"]);
    assert_eq!(bed.story().await, ["intent desk/save", "outcome succeeded"]);

    // A read shares one commit with its outcome, before its reply.
    let read = bed.tool("look", "{}").await;
    assert_eq!(noted.lock().unwrap()[1], "look intent outcome");
    let trace = bed.trace(&read.reply.call).await;
    assert_eq!(trace.entries[1].index, trace.entries[0].index + 1);
    assert_eq!(trace.entries[0].leaf.get("shared"), Some(&Json::from(true)));

    // One that names a destination does not.
    bed.tool("fetch", r#"{"url":"x"}"#).await.result();
    assert_eq!(noted.lock().unwrap()[2], "fetch intent outcome intent outcome intent");
    assert_eq!(bed.audit().await, 3);
}

#[tokio::test]
async fn nothing_arrives_that_could_not_be_recorded() {
    let bed = Bed::new(Fake::start("[]", says("done")).await).await;
    bed.tool("save", "{}").await.result();
    bed.store().set_database_pages_max(1).await.unwrap();
    let long = format!(r#"{{"note":"{}"}}"#, "x".repeat(5000));
    let mut tries = 0;
    let last = loop {
        let before = bed.fake.of("tools/call").len();
        let done = bed.tool("save", &long).await;
        let has_arrived = bed.fake.of("tools/call").len() > before;
        match &done.reply.answer {
            lockgate_kernel::Answer::Result(_) => assert!(has_arrived),
            // It happened, and whoever asked is told not to repeat it.
            _ if has_arrived => assert_eq!(done.code(), Code::OutcomeInDoubt),
            _ => break done,
        }
        tries += 1;
        assert!(tries < 1000, "the disk never gets full");
    };
    assert_eq!(last.code(), Code::StoreUnavailable);
    assert_eq!(last.code().as_str(), "LG-S001");

    // Space returns: calls pass again, and nothing of what happened is missing.
    bed.store().set_database_pages_max(1_000_000).await.unwrap();
    bed.tool("save", "{}").await.result();
    let arrived = bed.fake.of("tools/call").len();
    let intents = bed.story().await.iter().filter(|line| line.starts_with("intent")).count();
    assert_eq!(arrived, intents);
    bed.audit().await;
}

#[tokio::test]
async fn observing_is_an_answer_and_has_its_bounds() {
    let bed = Bed::new(Fake::start("[]", says("done")).await).await;
    let observed = bed.tool("watched", "{}").await;
    observed.result();
    let decision = bed.part(&observed.reply.call, "decision").await;
    assert_eq!(decision.get("verdict").unwrap().as_str(), Some("allow"));
    assert_eq!(decision.at(&["denial", "code"]).unwrap().as_str(), Some("LG-D002"));
    let leaf = &bed.trace(&observed.reply.call).await.entries[0].leaf;
    assert_eq!(leaf.get("observed"), Some(&Json::from(true)));

    // Not what is destructive, or what nobody declared, or for whom nobody knows.
    assert_eq!(bed.tool("wipe", "{}").await.code(), Code::AgentNotPermitted);
    assert_eq!(bed.tool("strange", "{}").await.code(), Code::OperationUndeclared);
    let mut stranger = (*identity("alice")).clone();
    stranger.agent = "elsewhere".parse().unwrap();
    let refused = bed.tool_as(&Arc::new(stranger), "watched", "{}").await;
    assert_eq!(refused.code(), Code::UnknownAgent);
    assert_eq!(bed.fake.of("tools/call").len(), 1);
    assert_eq!(bed.audit().await, 4);

    // A bundle that would observe what is destructive is none.
    let operations = "[tool.raze]\neffect = \"destructive\"\nobserve = true\n".to_owned();
    let plan = Plan { operations, ..Plan::new() };
    let raze = Bed::empty(Fake::start("[]", says("done")).await, &plan);
    assert!(raze.try_load(plan).await.is_err());
}

#[tokio::test]
async fn who_is_gone_before_the_permit_is_used_causes_nothing() {
    let bed = Bed::new(Fake::start("[]", says("done")).await).await;
    let alice = identity("alice");
    let params = crate::bed::params("save", "{}");
    let (reply, client) = bed.begin(&alice, None, "tools/call", params, 1);
    drop(client);
    reply.await.unwrap();
    assert!(bed.fake.of("tools/call").is_empty());
    bed.tool("look", "{}").await.result();
    let story = bed.story().await;
    assert_eq!(story[..2], ["intent desk/save", "outcome failed"]);
    bed.audit().await;
}
