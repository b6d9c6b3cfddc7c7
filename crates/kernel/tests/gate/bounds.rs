//! I11: bounds around one call.

use crate::bed::{Bed, Plan, identity, params, soon};
use crate::upstream::{Fake, answer, asks, events, notification, question, says, text_result};
use lockgate_kernel::{Answer, ToClient};
use lockgate_types::{Code, Json};
use lockgate_wire::RpcError;

/// `PENDING_MAX` of the kernel.
const PENDING_MAX: usize = 16;

#[tokio::test]
async fn an_upstream_can_ask_only_so_much_at_once() {
    let many = PENDING_MAX + 4;
    let questions: Vec<String> = (0..many)
        .map(|at| question(&format!("q{at}"), "elicitation/create", r#"{"message":"?"}"#))
        .collect();
    let bed = Bed::new(Fake::start("[]", asks(questions)).await).await;
    let alice = identity("alice");
    let (reply, mut client) = bed.begin(&alice, None, "tools/call", params("save", "{}"), many);
    let mut asked = Vec::new();
    while asked.len() < PENDING_MAX {
        match soon(client.recv()).await.unwrap() {
            ToClient::Request { answer, .. } => asked.push(answer),
            _ => panic!(),
        }
    }
    // Nobody has answered yet: the others were refused, and the client never sees them.
    let refused = soon(bed.fake.until("", many - PENDING_MAX)).await;
    for refusal in &refused {
        let code = refusal.body.at(&["error", "data", "code"]);
        assert_eq!(code.and_then(Json::as_str), Some(Code::UpstreamBusy.as_str()));
    }
    assert!(client.try_recv().is_err());
    for answer in asked {
        answer.send(Err(RpcError::new(-1, "no"))).unwrap();
    }
    assert!(matches!(soon(reply).await.unwrap().answer, Answer::Result(_)));
    let story = bed.story().await;
    let away = story.iter().filter(|line| *line == "turned_away LG-U006").count();
    assert_eq!(away, many - PENDING_MAX);
    assert_eq!(bed.audit().await, 1 + PENDING_MAX);
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_up_its_own_call_only() {
    let fake = Fake::start("[]", |seen| {
        Box::pin(async move {
            if seen.tool() != "look" {
                return answer(&seen, &text_result("done"));
            }
            let (stream, reply) = events();
            for _ in 0..200 {
                stream.say(&notification("notifications/message", r#"{"level":"info","data":1}"#));
            }
            stream.finish(&seen, &text_result("done"));
            reply
        })
    })
    .await;
    let bed = Bed::new(fake).await;
    let alice = identity("alice");
    let (slow, mut client) = bed.begin(&alice, None, "tools/call", params("look", "{}"), 1);
    soon(bed.fake.until("tools/call", 1)).await;
    for _ in 0..20 {
        bed.tool("save", "{}").await.result();
        bed.tool_as(&identity("carol"), "save", "{}").await.result();
    }
    assert!(!slow.is_finished());
    let mut heard = 0;
    while soon(client.recv()).await.is_some() {
        heard += 1;
    }
    assert_eq!(heard, 200);
    assert!(matches!(soon(slow).await.unwrap().answer, Answer::Result(_)));
    bed.audit().await;
}

#[tokio::test]
async fn more_calls_than_an_upstream_may_have_are_refused_and_recorded() {
    let fake = Fake::start("[]", |_| Box::pin(std::future::pending())).await;
    let upstream = "timeout_ms = 1000\nin_flight_max = 2".to_owned();
    let bed = Bed::with(fake, Plan { upstream, ..Plan::new() }).await;
    let held = [bed.start("save", r#"{"note":1}"#), bed.start("save", r#"{"note":2}"#)];
    soon(bed.fake.until("tools/call", 2)).await;
    assert_eq!(bed.tool("save", "{}").await.code(), Code::UpstreamBusy);
    for call in held {
        soon(call).await.unwrap();
    }
    assert_eq!(bed.fake.of("tools/call").len(), 2);
    let failed = bed.story().await.iter().filter(|line| *line == "outcome failed").count();
    assert_eq!(failed, 1);
    bed.audit().await;
}

#[tokio::test]
async fn an_answer_beyond_the_bound_is_not_read() {
    let plan = Plan { more: "[limits]\nanswer_bytes_max = 1024".to_owned(), ..Plan::new() };
    let long: &'static str = Box::leak("x".repeat(4096).into_boxed_str());
    let bed = Bed::with(Fake::start("[]", says(long)).await, plan).await;
    let refused = bed.tool("look", "{}").await;
    assert_eq!(refused.code(), Code::UpstreamTooLarge);
    assert_eq!(bed.story().await, ["intent desk/look", "outcome truncated"]);
    bed.audit().await;
}
