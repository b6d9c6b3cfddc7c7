//! I7: hard limits hold, however many ask at once.

use crate::bed::{Bed, Plan, identity, params, soon};
use crate::upstream::{Fake, answer, says, text_result};
use lockgate_kernel::Answer;
use lockgate_types::identity::Identity;
use lockgate_types::{Code, GroupName, Json, Retry};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Notify;

async fn capped(caps: &str) -> Bed {
    let policies = r#"permit (principal, action == Action::"lockgate/approval_give", resource);"#;
    let plan = Plan { more: caps.to_owned(), ..Plan::policy(policies) };
    Bed::with(Fake::start("[]", says("done")).await, plan).await
}

fn arrived(bed: &Bed) -> usize {
    bed.fake.of("tools/call").len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_callers_at_once_exactly_as_many_get_through() {
    let bed =
        capped("[[cap]]\nname = \"writes\"\nper = \"agent\"\nmax = 100\nwindow_s = 31622400").await;
    let calls: Vec<_> = (0..4 * 64)
        .map(|n| {
            let who = identity(&format!("caller-{}", n % 64));
            let arguments = format!(r#"{{"note":{n}}}"#);
            bed.begin(&who, None, "tools/call", params("save", &arguments), 16)
        })
        .collect();
    let (mut done, mut refused) = (0, 0);
    for (call, _client) in calls {
        match soon(call).await.unwrap().answer {
            Answer::Result(_) => done += 1,
            Answer::Refused(refusal) => {
                assert_eq!(refusal.code, Code::CapReached, "{}", refusal.reason);
                assert!(refusal.reason.contains("`writes`"), "{}", refusal.reason);
                assert!(matches!(refusal.retry, Retry::AfterMs(_)));
                refused += 1;
            }
            Answer::Error(error) => panic!("{}", error.message),
        }
    }
    assert_eq!((done, refused, arrived(&bed)), (100, 156, 100));
    bed.audit().await;
}

#[tokio::test]
async fn each_has_a_counter_of_its_own_and_reads_and_repeats_cost_nothing() {
    let bed =
        capped("[[cap]]\nname = \"two\"\nper = \"subject\"\nmax = 2\nwindow_s = 31622400").await;
    for (who, note, passes) in [
        ("alice", 1, true),
        ("alice", 1, true), // a repeat
        ("alice", 2, true),
        ("alice", 3, false),
        ("alice", 2, true), // a repeat
        ("bob", 3, true),
    ] {
        let done = bed.tool_as(&identity(who), "save", &format!(r#"{{"note":{note}}}"#)).await;
        let has_passed = matches!(done.reply.answer, Answer::Result(_));
        assert_eq!(has_passed, passes, "{who} {note}");
        bed.tool_as(&identity(who), "look", "{}").await.result();
    }
    bed.audit().await;
}

#[tokio::test]
async fn amounts_are_added_up_exactly_and_what_cannot_be_is_refused() {
    let bed = capped(
        "[[cap]]\nname = \"money\"\nper = \"global\"\noperations = [\"desk/save\"]\nsum = \"amount\"\n\
         decimals = 2\nmax = 10000\nwindow_s = 31622400",
    )
    .await;
    bed.tool("save", r#"{"amount":99.99}"#).await.result();
    assert_eq!(bed.tool("save", r#"{"amount":0.02}"#).await.code(), Code::CapReached);
    bed.tool("save", r#"{"amount":0.01}"#).await.result();
    for amount in ["-5", "0.001", "1e2"] {
        let refused = bed.tool("save", &format!(r#"{{"amount":{amount}}}"#)).await;
        assert_eq!(refused.code(), Code::ArgumentUnusable, "{amount}");
    }
    assert_eq!(bed.tool("save", r#"{"note":1}"#).await.code(), Code::ArgumentUnusable);
    bed.tool("open", r#"{"amount":1000}"#).await.result();
    assert_eq!(arrived(&bed), 3);
    bed.audit().await;
}

#[tokio::test]
async fn what_never_left_is_given_back_and_reads_can_be_capped() {
    let release = Arc::new(Notify::new());
    let (held, is_first) = (Arc::clone(&release), AtomicBool::new(true));
    let fake = Fake::start("[]", move |seen| {
        let is_held = is_first.swap(false, Ordering::Relaxed);
        let held = Arc::clone(&held);
        Box::pin(async move {
            if is_held {
                held.notified().await;
            }
            answer(&seen, &text_result("done"))
        })
    })
    .await;
    let caps =
        "[[cap]]\nname = \"three\"\nper = \"global\"\nreads = true\nmax = 3\nwindow_s = 31622400";
    let upstream = "in_flight_max = 1".to_owned();
    let bed = Bed::with(fake, Plan { upstream, more: caps.to_owned(), ..Plan::new() }).await;
    let held = bed.start("look", "{}");
    soon(bed.fake.until("tools/call", 1)).await;
    for _ in 0..4 {
        assert_eq!(bed.tool("look", "{}").await.code(), Code::UpstreamBusy);
    }
    release.notify_one();
    soon(held).await.unwrap();
    for _ in 0..2 {
        bed.tool("look", "{}").await.result();
    }
    assert_eq!(bed.tool("look", "{}").await.code(), Code::CapReached);
    bed.audit().await;
}

#[tokio::test]
async fn a_cap_can_ask_for_an_approval_instead() {
    let bed = capped(
        "[[cap]]\nname = \"one\"\nper = \"agent\"\nmax = 1\nwindow_s = 31622400\n\
         operations = [\"desk/save\"]\nescalate = \"group:finance\"",
    )
    .await;
    bed.tool("save", r#"{"note":1}"#).await.result();
    let asked = bed.tool("save", r#"{"note":2}"#).await;
    assert_eq!(asked.code(), Code::ApprovalRequired);
    let Answer::Refused(refusal) = &asked.reply.answer else { unreachable!() };
    let request = refusal.approval.clone().unwrap().call;
    let mut carla = Identity::clone(&identity("carla"));
    carla.subject_groups.insert(GroupName::new("finance").unwrap());
    carla.agent = "second".parse().unwrap();
    let carla = Arc::new(carla);
    let arguments = crate::bed::object(&format!(r#"{{"call":"{request}"}}"#));
    let approve = async |by| {
        let given =
            bed.kernel.approve(&request, ("group:finance for the cap one", ""), &carla, &by).await;
        given.map(|()| Json::Null)
    };
    let given = bed.kernel.admin(&carla, ("approval_give", arguments), None, approve).await;
    assert!(matches!(given.answer, Answer::Result(_)));
    bed.tool("save", r#"{"note":2}"#).await.result();
    assert_eq!(bed.tool("save", r#"{"note":3}"#).await.code(), Code::ApprovalRequired);
    assert_eq!(arrived(&bed), 2);
    bed.audit().await;
}
