//! I8: nothing leaves after the switch.

use crate::bed::{Bed, Plan, identity, soon, throw};
use crate::upstream::{Fake, answer, says, text_result};
use lockgate_kernel::{Answer, ListKind};
use lockgate_store::{Options, Store};
use lockgate_types::facts::Switch;
use lockgate_types::{CallId, Code, UpstreamName};
use std::sync::Arc;
use tokio::sync::Notify;

fn switch(scope: &str, name: &str) -> Switch {
    Switch { scope: scope.to_owned(), name: name.to_owned() }
}

fn by() -> CallId {
    CallId::new("somebody").unwrap()
}

#[tokio::test]
async fn every_scope_stops_what_is_in_it_and_nothing_else() {
    let bed = Bed::new(Fake::start("[]", says("done")).await).await;
    let session = bed.tool("look", "{}").await;
    let leaf = &bed.trace(&session.reply.call).await.entries[0].leaf;
    let session = leaf.get("session").unwrap().as_str().unwrap().to_owned();
    let scopes = [
        ("global", "", "other"),
        ("tenant", "default", "other"),
        ("environment", "dev", "prod"),
        ("agent", "bot", "other"),
        ("tool", "desk", "other"),
        ("operation", "desk/save", "desk/look"),
        ("session", session.as_str(), "s_other"),
    ];
    for (at, (scope, name, other)) in scopes.into_iter().enumerate() {
        let store = bed.store();
        if scope != "global" {
            throw(store, switch(scope, other), &by()).await.1.unwrap();
            bed.tool("save", &format!(r#"{{"note":{at}}}"#)).await.result();
            store.lift(switch(scope, other), &by()).await.unwrap().unwrap();
        }
        let before = bed.fake.of("tools/call").len();
        throw(store, switch(scope, name), &by()).await.1.unwrap();
        let refused = bed.tool("save", &format!(r#"{{"note":"{at}"}}"#)).await;
        assert_eq!(refused.code(), Code::SwitchEngaged, "{scope}");
        assert_eq!(bed.fake.of("tools/call").len(), before, "{scope}");
        // The gate's own operations go on: else nobody could lift it.
        let alice = identity("alice");
        let is_read = bed.kernel.admin(
            &alice,
            ("status_read", lockgate_types::Object::new()),
            None,
            async |_| Ok(lockgate_types::Json::Null),
        );
        let stays = matches!(is_read.await.answer, Answer::Result(_));
        assert_eq!(stays, !["agent", "session"].contains(&scope), "{scope}");
        assert!(store.lift(switch(scope, name), &by()).await.unwrap().is_some());
        assert!(store.lift(switch(scope, name), &by()).await.unwrap().is_none());
    }
    bed.audit().await;
}

#[tokio::test]
async fn what_has_a_permit_and_has_not_left_is_stopped_at_the_door() {
    // The upstream takes its time to open a session: the calls wait, permits in hand.
    let (reached, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let bed = Bed::new(Fake::start("[]", says("done")).await).await;
    bed.tool_as(&identity("bob"), "save", "{}").await.result();
    bed.fake.hold_opening(&reached, &release);
    let held = bed.start("save", r#"{"note":1}"#);
    soon(reached.notified()).await;
    let (thrown, recorded) = throw(bed.store(), switch("global", ""), &by()).await;
    recorded.unwrap();
    assert_eq!(thrown.unwrap().under_way, []);
    release.notify_one();
    let reply = soon(held).await.unwrap();
    let Answer::Refused(refusal) = reply.answer else { panic!("it left") };
    assert_eq!(refusal.code, Code::SwitchEngaged);
    assert_eq!(bed.fake.of("tools/call").len(), 1, "only bob's");
    let story = bed.story().await;
    assert_eq!(story[2..], ["intent desk/save", "outcome failed"]);

    // It never left, so it can be asked for anew.
    bed.store().lift(switch("global", ""), &by()).await.unwrap();
    bed.tool("save", r#"{"note":1}"#).await.result();
    bed.audit().await;
}

#[tokio::test]
async fn what_had_left_before_is_listed_and_recorded() {
    let release = Arc::new(Notify::new());
    let held = Arc::clone(&release);
    let fake = Fake::start("[]", move |seen| {
        let release = Arc::clone(&held);
        Box::pin(async move {
            release.notified().await;
            answer(&seen, &text_result("late"))
        })
    });
    let bed = Bed::new(fake.await).await;
    let call = bed.start("save", "{}");
    soon(bed.fake.until("tools/call", 1)).await;
    let (thrown, _) = throw(bed.store(), switch("agent", "bot"), &by()).await;
    let thrown = thrown.unwrap();
    assert_eq!(thrown.under_way.len(), 1);
    release.notify_one();
    let reply = soon(call).await.unwrap();
    assert_eq!(thrown.under_way, std::slice::from_ref(&reply.call));
    assert!(matches!(reply.answer, Answer::Result(_)));
    let (again, _) = throw(bed.store(), switch("agent", "bot"), &by()).await;
    assert_eq!(again.unwrap().under_way, []);
    bed.audit().await;
}

#[tokio::test]
async fn a_switch_outlives_the_gate_and_hides_what_it_stops() {
    let tools = r#"[{"name":"save","inputSchema":{"type":"object"}}]"#;
    let bed = Bed::new(Fake::start(tools, says("done")).await).await;
    let desk = UpstreamName::new("desk").unwrap();
    let alice = identity("alice");
    let caller = crate::bed::caller(&alice);
    let count = async || {
        let listed = bed.kernel.list(&alice, &caller, &desk, ListKind::Tools).await;
        listed.map(|listed| listed.items.len()).unwrap_or(usize::MAX)
    };
    assert_eq!(count().await, 1);
    throw(bed.store(), switch("tool", "desk"), &by()).await.1.unwrap();
    assert_eq!(count().await, 0);
    let entries = bed.entries().await;
    let last = entries.last().unwrap();
    assert_eq!(last.get("k").unwrap().as_str(), Some("switch"));
    assert_eq!(last.get("state").unwrap().as_str(), Some("on"));

    bed.store().clone().close().await.unwrap();
    let state = bed.directory.path().join("state");
    let origin = "test.example/gate".to_owned();
    let options = Options::new(state, origin, lockgate_kernel::system_now);
    let (store, _) = Store::open(options).unwrap();
    assert_eq!(store.switches(), [switch("tool", "desk")]);
    store.close().await.unwrap();
}

/// What `lockgate kill` does.
async fn kill(bed: &Bed, by: &str) -> Answer {
    let store = bed.store().clone();
    let thrown = switch("tool", "desk");
    let ahead = Box::pin(async move { drop(store.throw(&thrown).await) });
    let arguments = lockgate_types::Object::new().with("scope", "tool").with("name", "desk");
    let perform = async |by| match bed.store().record_thrown(switch("tool", "desk"), &by).await {
        Ok(_) => Ok(lockgate_types::Json::Null),
        Err(error) => Err(lockgate_kernel::Refusal::of(error.code())),
    };
    let operation = ("switch_throw", arguments);
    bed.kernel.admin(&identity(by), operation, Some(ahead), perform).await.answer
}

#[tokio::test]
async fn stopping_waits_for_no_record_and_for_who_may() {
    let may_stop = r#"permit (principal, action == Action::"lockgate/switch_throw", resource)
        unless { principal == User::"bob" };"#;
    let plan = Plan { policies: may_stop.to_owned(), ..Plan::new() };
    let bed = Bed::with(Fake::start("[]", says("done")).await, plan).await;
    bed.tool("save", "{}").await.result();
    // Who may not, stops nothing.
    let Answer::Refused(refusal) = kill(&bed, "bob").await else { panic!("bob may not") };
    assert_eq!(refusal.code, Code::SubjectNotPermitted);
    assert_eq!(bed.store().switches(), []);

    bed.store().set_database_pages_max(1).await.unwrap();
    let long = format!(r#"{{"note":"{}"}}"#, "x".repeat(5000));
    let is_full = |answer: &Answer| matches!(answer, Answer::Refused(refusal) if refusal.code == Code::StoreUnavailable);
    while !is_full(&bed.tool("save", &long).await.reply.answer) {}
    let mut short = (0..).map(|n| format!(r#"{{"note":{n}}}"#));
    while !is_full(&bed.tool("save", &short.next().unwrap()).await.reply.answer) {}
    let Answer::Refused(refusal) = kill(&bed, "alice").await else { panic!("it was recorded") };
    assert_eq!(refusal.code, Code::StoreUnavailable);
    assert_eq!(bed.store().switches(), [switch("tool", "desk")]);
}
