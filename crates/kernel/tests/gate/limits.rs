//! I7 for what is not just counted in a window: single calls, trees, entities, bytes, money as it
//! came out, and calls under way.

use crate::bed::{Bed, Plan, identity, json, params, soon};
use crate::upstream::{Fake, Later, Seen, answer, asks, question, reply, says, text_result};
use lockgate_kernel::{Answer, Refusal};
use lockgate_types::{Code, Micros, Retry};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Semaphore;

/// Callers at once.
const CALLERS: usize = 64;

async fn bed(handler: impl Fn(Seen) -> Later + Send + Sync + 'static, more: &str) -> Bed {
    Bed::with(Fake::start("[]", handler).await, Plan { more: more.to_owned(), ..Plan::new() }).await
}

fn refusal(answer: &Answer) -> &Refusal {
    match answer {
        Answer::Refused(refusal) => refusal,
        Answer::Result(result) => panic!("a result: {result}"),
        Answer::Error(error) => panic!("{}", error.message),
    }
}

/// How many of many callers at once get through, each with arguments of its own.
async fn through(bed: &Bed, tool: &str, arguments: impl Fn(usize) -> String) -> usize {
    let calls: Vec<_> = (0..CALLERS)
        .map(|n| {
            let who = identity(&format!("caller-{n}"));
            bed.begin(&who, None, "tools/call", params(tool, &arguments(n)), 16)
        })
        .collect();
    let mut done = 0;
    for (call, _client) in calls {
        match soon(call).await.unwrap().answer {
            Answer::Result(_) => done += 1,
            other => assert_eq!(refusal(&other).code, Code::CapReached),
        }
    }
    done
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_at_once_exactly_as_much_gets_through_whatever_is_counted() {
    for (measure, tool, arguments, expected) in [
        ("count = \"writes\"\nmax = 9", "save", r#"{"note":N}"#, 9),
        ("sum = \"amount\"\nmax = 9", "save", r#"{"amount":2,"note":N}"#, 4),
        ("entities = \"note\"\nmax = 10", "save", r#"{"note":["a","b",N]}"#, 3),
        ("entities = \"amount\"\nmax = 10", "counted", r#"{"amount":4}"#, 2),
        // 14 bytes of canonical form.
        ("bytes = \"out\"\nmax = 100", "save", r#"{ "note" :  "xN" }"#, 7),
        ("bytes = \"out\"\nreads = true\nmax = 100", "look", r#"{"who":"xxN"}"#, 7),
    ] {
        let cap = format!(
            "[[cap]]\nname = \"some\"\nper = \"agent\"\nwindow_s = 31622400\n{measure}\n\
             operations = [\"desk/{tool}\"]"
        );
        let bed = bed(says("done"), &cap).await;
        let of = |n: usize| arguments.replace('N', &(n + 10).to_string());
        assert_eq!(through(&bed, tool, of).await, expected, "{measure}");
        assert_eq!(bed.fake.of("tools/call").len(), expected, "{measure}");
        bed.audit().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn so_many_calls_are_under_way_at_once_and_no_more() {
    let (gate, is_held) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicBool::new(true)));
    let (open, held) = (Arc::clone(&gate), Arc::clone(&is_held));
    let handler = move |seen: Seen| -> Later {
        let (open, held) = (Arc::clone(&open), Arc::clone(&held));
        Box::pin(async move {
            if held.load(Ordering::Relaxed) {
                open.acquire().await.unwrap().forget();
            }
            match seen
                .body
                .at(&["params", "arguments", "note"])
                .and_then(lockgate_types::Json::as_i64)
            {
                Some(n) if n % 3 == 1 => answer(&seen, r#"{"content":[],"isError":true}"#),
                // The connection is closed instead: nobody knows.
                Some(n) if n % 3 == 2 => reply(200, "application/json", "{\"jsonrpc\":\"2.0\","),
                _ => answer(&seen, &text_result("done")),
            }
        })
    };
    let cap = "[[cap]]\nname = \"five\"\nper = \"agent\"\nconcurrent = 5";
    let bed = bed(handler, cap).await;
    let begin = |n: usize| {
        let who = identity(&format!("caller-{n}"));
        bed.begin(&who, None, "tools/call", params("save", &format!(r#"{{"note":{n}}}"#)), 16)
    };
    let mut calls: Vec<_> = (0..CALLERS).map(begin).collect();
    soon(bed.fake.until("tools/call", 5)).await;
    // All others are told so while five are under way.
    let (mut refused, mut held) = (0, Vec::new());
    while refused < CALLERS - 5 {
        for (call, client) in std::mem::take(&mut calls) {
            if !call.is_finished() {
                held.push((call, client));
                continue;
            }
            let answer = call.await.unwrap().answer;
            let refusal = refusal(&answer);
            assert_eq!(refusal.code, Code::CapReached, "{}", refusal.reason);
            let said = "the cap `five` has no room for this (5 of 5 are used); it has when a call \
                        that is under way ends";
            assert_eq!(refusal.reason, said);
            assert_eq!(refusal.retry, Retry::AfterMs(1000));
            refused += 1;
        }
        calls.append(&mut held);
        tokio::task::yield_now().await;
    }
    assert_eq!(bed.fake.of("tools/call").len(), 5);
    is_held.store(false, Ordering::Relaxed);
    gate.add_permits(5);
    for (call, _client) in calls {
        soon(call).await.unwrap();
    }
    // However they ended, their places are free again: that many times over.
    for n in 100..120 {
        let (call, _client) = begin(n);
        if let Answer::Refused(refusal) = soon(call).await.unwrap().answer {
            assert_eq!(refusal.code, Code::OutcomeInDoubt, "{n}: {}", refusal.reason);
        }
    }
    bed.audit().await;
}

#[tokio::test]
async fn one_call_is_measured_by_itself() {
    let caps = "[[cap]]\nname = \"few\"\nper = \"call\"\nentities = \"note\"\nmax = 2\n\
                operations = [\"desk/save\"]\n\
                [[cap]]\nname = \"little\"\nper = \"call\"\nsum = \"amount\"\nmax = 10\n\
                operations = [\"desk/open\"]\nescalate = \"group:finance\"";
    let bed = bed(says("done"), caps).await;
    for _ in 0..3 {
        bed.tool("save", r#"{"note":["a","b"]}"#).await.result();
    }
    let refused = bed.tool("save", r#"{"note":["a","b","c"]}"#).await;
    let refused = refusal(&refused.reply.answer);
    assert_eq!((refused.code, refused.retry), (Code::CapReached, Retry::No));
    assert_eq!(refused.reason, "the cap `few` allows 2 in one call, and this takes 3");
    assert_eq!(bed.tool("save", r#"{"note":"a"}"#).await.code(), Code::ArgumentUnusable);
    assert_eq!(bed.tool("save", r#"{"note":-1}"#).await.code(), Code::ArgumentUnusable);
    bed.tool("open", r#"{"amount":10}"#).await.result();
    let asked = bed.tool("open", r#"{"amount":11}"#).await;
    assert_eq!(asked.code(), Code::ApprovalRequired);
    let asked = refusal(&asked.reply.answer);
    assert!(asked.reason.contains("group:finance for the cap little"), "{}", asked.reason);
    bed.audit().await;
}

#[tokio::test]
async fn a_place_beyond_the_cap_can_be_asked_for() {
    let gate = Arc::new(Semaphore::new(0));
    let open = Arc::clone(&gate);
    let handler = move |seen: Seen| -> Later {
        let open = Arc::clone(&open);
        Box::pin(async move {
            open.acquire().await.unwrap().forget();
            answer(&seen, &text_result("done"))
        })
    };
    let more = "[[cap]]\nname = \"one\"\nper = \"agent\"\nconcurrent = 1\n\
                escalate = \"user:carla\"";
    let policies = r#"permit (principal, action == Action::"lockgate/approval_give", resource);"#;
    let plan = Plan { more: more.to_owned(), ..Plan::policy(policies) };
    let bed = Bed::with(Fake::start("[]", handler).await, plan).await;
    let first = bed.start("save", r#"{"note":1}"#);
    soon(bed.fake.until("tools/call", 1)).await;
    let asked = bed.tool("save", r#"{"note":2}"#).await;
    assert_eq!(asked.code(), Code::ApprovalRequired);
    let request = refusal(&asked.reply.answer).approval.clone().unwrap().call;
    let mut carla = lockgate_types::identity::Identity::clone(&identity("carla"));
    carla.agent = "second".parse().unwrap();
    let carla = Arc::new(carla);
    let arguments = crate::bed::object(&format!(r#"{{"call":"{request}"}}"#));
    let approve = async |by| {
        let given =
            bed.kernel.approve(&request, ("user:carla for the cap one", ""), &carla, &by).await;
        given.map(|()| lockgate_types::Json::Null)
    };
    let given = bed.kernel.admin(&carla, ("approval_give", arguments), None, approve).await;
    assert!(matches!(given.answer, Answer::Result(_)));
    // This one, while the first is still under way, and no other.
    let second = bed.start("save", r#"{"note":2}"#);
    soon(bed.fake.until("tools/call", 2)).await;
    assert_eq!(bed.tool("save", r#"{"note":3}"#).await.code(), Code::ApprovalRequired);
    gate.add_permits(2);
    for call in [first, second] {
        assert!(matches!(soon(call).await.unwrap().answer, Answer::Result(_)));
    }
    bed.audit().await;
}

#[tokio::test]
async fn the_gates_own_operations_are_never_capped() {
    let cap = "[[cap]]\nname = \"none\"\nper = \"call\"\nbytes = \"out\"\nmax = 0";
    let bed = bed(says("done"), cap).await;
    assert_eq!(bed.tool("save", r#"{"note":1}"#).await.code(), Code::CapReached);
    let nothing = async |_| Ok(lockgate_types::Json::Null);
    let arguments = lockgate_types::Object::new().with("reason", "a drill");
    let alice = identity("alice");
    let done = bed.kernel.admin(&alice, ("bundle_reload", arguments), None, nothing).await;
    assert!(matches!(done.answer, Answer::Result(_)));
    bed.audit().await;
}

#[tokio::test]
async fn what_one_request_sets_off_counts_for_it_and_no_claim_sheds_it() {
    let questions = (0..5)
        .map(|n| question(&n.to_string(), "elicitation/create", r#"{"message":"how many?"}"#));
    let cap = "[[cap]]\nname = \"tree\"\nper = \"tree\"\nmax = 3\nwindow_s = 31622400\n\
               operations = [\"desk:elicitation/create\"]";
    let bed = bed(asks(questions.collect()), cap).await;
    for _ in 0..2 {
        // Each request has a tree of its own, and whoever is asked says what trace it is.
        let arguments = format!(r#"{{"note":{}}}"#, bed.fake.of("tools/call").len());
        let claims =
            params("save", &arguments).with("_meta", json(r#"{"traceparent":"00-1-1-01"}"#));
        let answered = |_: &str, _: &lockgate_types::Object| Ok(json(r#"{"action":"decline"}"#));
        let done = bed.call_with(&identity("alice"), "tools/call", claims, answered).await;
        assert_eq!(done.heard.len(), 3, "{:?}", done.heard);
    }
    let story = bed.story().await;
    let refused = story.iter().filter(|it| *it == "refusal desk:elicitation/create").count();
    assert_eq!(refused, 4, "{story:?}");
    bed.audit().await;
}

#[tokio::test]
async fn what_nobody_set_off_counts_for_its_session() {
    let cap = "[[cap]]\nname = \"tree\"\nper = \"tree\"\nmax = 3\nwindow_s = 31622400";
    let bed = bed(says("done"), cap).await;
    let mut through = 0;
    for n in 0..6 {
        *bed.traceparent.lock().unwrap() = Some(format!("00-{n:032x}-{n:016x}-01"));
        let done = bed.tool("save", &format!(r#"{{"note":{n}}}"#)).await;
        through += usize::from(matches!(done.reply.answer, Answer::Result(_)));
    }
    assert_eq!(through, 3);
    bed.audit().await;
}

#[tokio::test]
async fn money_is_reserved_as_estimated_and_counted_as_it_came_out() {
    let handler = |seen: Seen| -> Later {
        Box::pin(async move {
            let result = r#"{"content":[],"structuredContent":{"receipt":{"total":4.5}}}"#;
            answer(&seen, result)
        })
    };
    let caps = "[[cap]]\nname = \"spend\"\nper = \"agent\"\nsum = \"amount\"\ndecimals = 2\n\
                actual = \"receipt.total\"\nmax = 1000\nwindow_s = 31622400\n\
                operations = [\"desk/save\"]\n\
                [[cap]]\nname = \"answers\"\nper = \"agent\"\nbytes = \"in\"\nmax = 17000000\n\
                window_s = 31622400\noperations = [\"desk/open\"]";
    // What is hidden from the caller is counted all the same.
    let policies = "@id(\"hide\") @obligation_redact(\"receipt\")\n\
                    permit (principal, action == Action::\"desk/save\", resource);";
    let fake = Fake::start("[]", handler).await;
    let bed = Bed::with(fake, Plan { more: caps.to_owned(), ..Plan::policy(policies) }).await;
    for n in 0..2 {
        // 10 is reserved, and 4.5 taken.
        let amount = if n == 0 { "10" } else { "5" };
        bed.tool("save", &format!(r#"{{"amount":{amount},"note":{n}}}"#)).await.result();
    }
    let refused = bed.tool("save", r#"{"amount":1.01,"note":3}"#).await;
    let reason = &refusal(&refused.reply.answer).reason;
    assert!(reason.starts_with("the cap `spend` has no room for this (900 of 1000"), "{reason}");
    bed.tool("save", r#"{"amount":1,"note":3}"#).await.result();
    // Sixteen megabytes are reserved for each answer, and some seventy bytes taken.
    for n in 0..3 {
        bed.tool("open", &format!(r#"{{"amount":{n}}}"#)).await.result();
    }
    bed.audit().await;
}

#[tokio::test]
async fn what_comes_too_often_is_refused_at_once_and_told_when_to_come_back() {
    let time = Arc::new(std::sync::atomic::AtomicI64::new(1_700_000_000_000_000));
    let read = Arc::clone(&time);
    let minted = std::sync::atomic::AtomicU64::new(0);
    let clock = lockgate_kernel::Clock::custom(
        move || Micros(read.load(Ordering::Relaxed)),
        move |_| format!("{:032x}", minted.fetch_add(1, Ordering::Relaxed)).parse().unwrap(),
    );
    let rate = "[[rate]]\nname = \"some\"\nper = \"subject\"\nreads = true\namount = 3\n\
                interval_s = 60\nburst = 2\noperations = [\"desk/look\"]";
    let fake = Fake::start("[]", says("done")).await;
    let bed = Bed::with(fake, Plan { more: rate.to_owned(), clock, ..Plan::new() }).await;
    for _ in 0..2 {
        bed.tool("look", "{}").await.result();
    }
    let before = bed.story().await.len();
    let refused = bed.tool("look", "{}").await;
    let said = refusal(&refused.reply.answer);
    assert_eq!((said.code, said.retry), (Code::RateReached, Retry::AfterMs(20_000)));
    let reason = "the rate `some` lets through 3 in 60 s, and 2 at once: the next in 20000 ms";
    assert_eq!(said.reason, reason);
    // Others, and other operations, have not come too often.
    bed.tool_as(&identity("bob"), "look", "{}").await.result();
    bed.tool("save", "{}").await.result();
    time.fetch_add(19_999_999, Ordering::Relaxed);
    assert_eq!(bed.tool("look", "{}").await.code(), Code::RateReached);
    time.fetch_add(1, Ordering::Relaxed);
    bed.tool("look", "{}").await.result();
    // What is refused is recorded as far as the bound on such records goes, and not decided.
    let after = bed.story().await.len();
    assert_eq!(after - before, 1 + 2 + 2 + 1 + 2);
    for _ in 0..400 {
        assert_eq!(bed.tool("look", "{}").await.code(), Code::RateReached);
    }
    let written = bed.story().await.len() - after;
    assert!(written <= 100, "{written}");
    bed.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_at_once_a_burst_gets_through() {
    let rate = "[[rate]]\nname = \"some\"\nper = \"agent\"\namount = 1\ninterval_s = 86400\n\
                burst = 10";
    let bed = bed(says("done"), rate).await;
    let calls: Vec<_> = (0..CALLERS)
        .map(|n| {
            let who = identity(&format!("caller-{n}"));
            bed.begin(&who, None, "tools/call", params("save", "{}"), 16)
        })
        .collect();
    let mut done = 0;
    for (call, _client) in calls {
        match soon(call).await.unwrap().answer {
            Answer::Result(_) => done += 1,
            other => assert_eq!(refusal(&other).code, Code::RateReached),
        }
    }
    assert_eq!((done, bed.fake.of("tools/call").len()), (10, 10));
    bed.audit().await;
}
