//! I12: whatever reads or changes a running gate passes the same decision and leaves the same
//! record.

use crate::bed::{Bed, Done, entries, identity, object};
use crate::upstream::{Fake, says};
use lockgate_kernel::Refusal;
use lockgate_types::{Code, Json, Object};
use std::cell::Cell;

async fn admin(bed: &Bed, subject: &str, operation: &str, is_done: &Cell<bool>) -> Done {
    let perform = async |_| {
        is_done.set(true);
        let last = entries(bed.store()).await.pop().unwrap();
        Ok(last)
    };
    let arguments = object(r#"{"from":1}"#);
    let reply = bed.kernel.admin(&identity(subject), (operation, arguments), None, perform).await;
    Done { reply, heard: Vec::new() }
}

#[tokio::test]
async fn an_operation_on_the_gate_needs_a_permit_and_leaves_a_record() {
    let bed = Bed::new(Fake::start("[]", says("done")).await).await;
    let is_done = Cell::new(false);
    for (subject, operation, code) in [
        ("alice", "traces_read", Code::AgentNotPermitted),
        ("mallory", "bundle_reload", Code::Forbidden),
        ("alice", "no_such_thing", Code::OperationUndeclared),
    ] {
        let refused = admin(&bed, subject, operation, &is_done).await;
        assert_eq!(refused.code(), code);
        assert!(!is_done.get(), "{operation} was done");
        let trace = bed.trace(&refused.reply.call).await;
        assert_eq!(trace.entries[0].leaf.get("k").unwrap().as_str(), Some("refusal"));
    }
    // A change is durable before it is made.
    let reloaded = admin(&bed, "alice", "bundle_reload", &is_done).await;
    assert!(is_done.get());
    assert!(reloaded.result().contains(r#""k":"intent""#));
    let call = bed.part(&reloaded.reply.call, "call").await;
    let arguments = call.at(&["params", "arguments"]).unwrap();
    assert_eq!(arguments.to_string(), r#"{"from":1}"#);
    admin(&bed, "alice", "status_read", &is_done).await.result();
    let story = bed.story().await;
    assert_eq!(
        story[3..],
        [
            "intent lockgate/bundle_reload",
            "outcome succeeded",
            "intent lockgate/status_read",
            "outcome succeeded",
        ]
    );
    assert_eq!(bed.audit().await, 5);
}

#[tokio::test]
async fn a_failed_operation_is_recorded_as_failed() {
    let bed = Bed::new(Fake::start("[]", says("done")).await).await;
    let perform = async |_| Err::<Json, _>(Refusal::of(Code::BundleRefused));
    let reply =
        bed.kernel.admin(&identity("alice"), ("bundle_reload", Object::new()), None, perform).await;
    assert_eq!(Done { reply, heard: Vec::new() }.code(), Code::BundleRefused);
    let story = bed.story().await;
    assert_eq!(story, ["intent lockgate/bundle_reload", "outcome failed"]);
    bed.audit().await;
}

#[tokio::test]
async fn a_client_cannot_reach_the_gate_itself_as_an_upstream() {
    let bed = Bed::new(Fake::start("[]", says("done")).await).await;
    // `lockgate` is no upstream that anything could be sent to.
    let listed = bed
        .kernel
        .list(
            &identity("alice"),
            &crate::bed::caller(&identity("alice")),
            &"lockgate".parse().unwrap(),
            lockgate_kernel::ListKind::Tools,
        )
        .await;
    assert_eq!(listed.err().unwrap().code, Code::UnknownName);
}
