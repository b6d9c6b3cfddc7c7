//! An upstream that keeps failing is left alone for a while, and nothing is spent on it meanwhile.

use crate::bed::{Bed, Done, Plan, identity, params, soon};
use crate::upstream::{Events, Fake, Reply, Seen, answer, error, events, reply, text_result};
use futures_util::future::select_all;
use lockgate_kernel::{Answer, Clock, system_now};
use lockgate_types::{CallId, Code, Json, Micros, Retry};
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

const UPSTREAM: &str = "timeout_ms = 20000\n\
    breaker = { failures = 3, pause_ms = 1000, pause_max_ms = 60000 }";

const OPERATIONS: &str = r#"
[tool.again]
effect = "write"
accepted = true
class = "idempotent"
key = { meta = "example.org/key" }
schema = '{"type":"object","properties":{"amount":{"type":"number"}}}'
"#;

/// Longer than two calls that go in step are apart.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a call asks for the time until it is let through: for its id, as it begins, as its
/// facts are gathered, and as it enters.
const TIMES_UNTIL_THROUGH: usize = 4;

/// How the upstream takes a call.
type Mood = Arc<Mutex<Box<dyn Fn(&Seen) -> Option<Reply> + Send>>>;

struct Patient {
    bed: Bed,
    mood: Mood,
    /// Microseconds that are added to the machine's time.
    ahead: Arc<AtomicI64>,
    pace: Arc<Pace>,
}

impl Patient {
    async fn with(more: Plan) -> Self {
        let mood: Mood = Arc::new(Mutex::new(Box::new(|_| None)));
        let feels = Arc::clone(&mood);
        let fake = Fake::start("[]", move |seen| {
            let reply = feels.lock().unwrap()(&seen);
            let well = reply.unwrap_or_else(|| answer(&seen, &text_result("done")));
            Box::pin(async move { well })
        });
        let fake = fake.await;
        let (ahead, pace) = (Arc::new(AtomicI64::new(0)), Arc::new(Pace::default()));
        let plan = Plan {
            upstream: format!("{UPSTREAM}\n{}", more.upstream),
            clock: paced(&ahead, Arc::clone(&pace)),
            ..more
        };
        Self { bed: Bed::with(fake, plan).await, mood, ahead, pace }
    }

    async fn new() -> Self {
        Self::with(Plan::new()).await
    }

    fn feels(&self, mood: impl Fn(&Seen) -> Option<Reply> + Send + 'static) {
        *self.mood.lock().unwrap() = Box::new(mood);
    }

    /// Opens a stream for each call, and says nothing in it. What was asked is heard of once there
    /// is one: that it has arrived is known before.
    fn holds_back(&self) -> UnboundedReceiver<(Events, Seen)> {
        let (tell, held) = unbounded_channel();
        self.feels(move |seen| {
            let (stream, reply) = events();
            let _ = tell.send((stream, seen.clone()));
            Some(reply)
        });
        held
    }

    fn pass(&self, ms: i64) {
        self.ahead.fetch_add(ms * 1000, Ordering::Relaxed);
    }

    fn arrived(&self) -> usize {
        self.bed.fake.of("tools/call").len()
    }

    /// What the log says of breakers.
    async fn turns(&self) -> Vec<String> {
        let entries = self.bed.entries().await;
        let is_breaker = |entry: &&Json| entry.get("k").and_then(Json::as_str) == Some("breaker");
        let turns = entries.iter().filter(is_breaker).map(|entry| {
            let text = |name| entry.get(name).and_then(Json::as_str).unwrap_or("-");
            let pause = entry.get("pause_ms").map_or(String::new(), |pause| format!(" {pause}"));
            format!("{} {} {}{pause}", text("operation"), text("state"), text("code"))
        });
        turns.collect()
    }
}

/// Two who ask for the time together, so many times, before either goes on.
#[derive(Default)]
struct Pace {
    asked: Mutex<usize>,
    together: Condvar,
    max: AtomicUsize,
}

impl Pace {
    fn step(&self) {
        let mut asked = self.asked.lock().unwrap();
        if *asked >= 2 * self.max.load(Ordering::Relaxed) {
            return;
        }
        let pair = *asked / 2;
        *asked += 1;
        self.together.notify_all();
        let is_alone = |asked: &mut usize| *asked < 2 * (pair + 1);
        drop(self.together.wait_timeout_while(asked, PATIENCE, is_alone).unwrap());
    }
}

pub(crate) fn clock(ahead: &Arc<AtomicI64>) -> Clock {
    paced(ahead, Arc::default())
}

fn paced(ahead: &Arc<AtomicI64>, pace: Arc<Pace>) -> Clock {
    let (ahead, ids) = (Arc::clone(ahead), AtomicU64::new(1));
    let mint = move |_| {
        let id = ids.fetch_add(1, Ordering::Relaxed);
        CallId::new(&format!("{id:032x}")).unwrap()
    };
    let now = move || {
        pace.step();
        Micros(system_now().0 + ahead.load(Ordering::Relaxed))
    };
    Clock::custom(now, mint)
}

fn breaks(_: &Seen) -> Option<Reply> {
    Some(reply(500, "text/plain", "out of order"))
}

fn retry_ms(done: &Done) -> u32 {
    match &done.reply.answer {
        Answer::Refused(refusal) => match refusal.retry {
            Retry::AfterMs(ms) => ms,
            other => panic!("{other:?}"),
        },
        _ => panic!("it was not refused"),
    }
}

#[tokio::test]
async fn an_upstream_that_keeps_failing_is_left_alone_and_nothing_is_spent_on_it() {
    let cap = "[[cap]]\nname = \"few\"\nper = \"agent\"\noperations = [\"desk/open\"]\nmax = 1\n\
               window_s = 31622400";
    let patient = Patient::with(Plan { more: cap.to_owned(), ..Plan::new() }).await;
    patient.feels(breaks);
    let bed = &patient.bed;
    for (tool, arguments) in [("look", "{}"), ("save", r#"{"note":1}"#), ("look", "{}")] {
        assert_ne!(bed.tool(tool, arguments).await.code(), Code::UpstreamBroken);
    }
    assert_eq!(patient.arrived(), 3);
    // Of every operation, also of those that have not failed; and quickly.
    for _ in 0..5 {
        let refused = bed.tool("open", r#"{"amount":7}"#).await;
        assert_eq!(refused.code(), Code::UpstreamBroken);
        assert!((1..=1000).contains(&retry_ms(&refused)), "{}", retry_ms(&refused));
    }
    assert_eq!(patient.arrived(), 3);
    assert_eq!(patient.turns().await, ["- open LG-U003 1000"]);
    // One call is let through, and if it is answered, all are. Neither cap nor key was taken.
    patient.feels(|_| None);
    patient.pass(1000);
    bed.tool("open", r#"{"amount":7}"#).await.result();
    bed.tool("look", "{}").await.result();
    assert_eq!(bed.tool("open", r#"{"amount":8}"#).await.code(), Code::CapReached);
    let turns = ["- open LG-U003 1000", "- half_open -", "- closed -"];
    assert_eq!(patient.turns().await, turns);
    bed.audit().await;
}

#[tokio::test]
async fn one_operation_that_fails_does_not_stop_another() {
    let patient = Patient::new().await;
    patient.feels(|seen| breaks(seen).filter(|_| seen.tool() == "look"));
    let bed = &patient.bed;
    for _ in 0..3 {
        assert_eq!(bed.tool("look", "{}").await.code(), Code::UpstreamProtocol);
    }
    let refused = bed.tool("look", "{}").await;
    assert_eq!(refused.code(), Code::UpstreamBroken);
    bed.tool("save", r#"{"note":"more"}"#).await.result();
    // The pause doubles each time it is tried in vain.
    for pause in [1000, 2000, 4000] {
        patient.pass(pause);
        assert_eq!(bed.tool("look", "{}").await.code(), Code::UpstreamProtocol);
        assert_eq!(bed.tool("look", "{}").await.code(), Code::UpstreamBroken);
        bed.tool("save", &format!(r#"{{"note":"after {pause}"}}"#)).await.result();
    }
    let opened: Vec<String> = patient.turns().await;
    assert!(opened.iter().all(|turn| turn.starts_with("desk/look ")), "{opened:?}");
    assert_eq!(opened.last().unwrap(), "desk/look open LG-U003 8000");
    bed.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_at_once_one_is_let_through_to_see_how_it_is() {
    let patient = Patient::new().await;
    patient.feels(breaks);
    for _ in 0..3 {
        patient.bed.tool("look", "{}").await.code();
    }
    let before = patient.arrived();
    // Its answer is held back: the opening of a stream, and nothing in it.
    let mut held = patient.holds_back();
    patient.pass(1000);
    let calls: Vec<_> = (0..64)
        .map(|n| {
            let who = identity(&format!("caller-{n}"));
            patient.bed.begin(&who, None, "tools/call", params("look", "{}"), 16)
        })
        .collect();
    soon(patient.bed.fake.until("tools/call", before + 1)).await;
    // All but the probe are refused while it is on its way.
    let (mut calls, _clients): (Vec<_>, Vec<_>) = calls.into_iter().unzip();
    for _ in 0..63 {
        let (reply, _, rest) = soon(select_all(calls)).await;
        match reply.unwrap().answer {
            Answer::Refused(refusal) => assert_eq!(refusal.code, Code::UpstreamBroken),
            _ => panic!("another one was let through"),
        }
        calls = rest;
    }
    assert_eq!(patient.arrived(), before + 1);
    let (stream, seen) = soon(held.recv()).await.unwrap();
    stream.finish(&seen, &text_result("done"));
    let probe = calls.pop().unwrap();
    assert!(matches!(soon(probe).await.unwrap().answer, Answer::Result(_)));
    patient.feels(|_| None);
    patient.bed.tool("look", "{}").await.result();
    patient.bed.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_that_both_saw_the_place_of_the_probe_one_gets_it() {
    let patient = Patient::new().await;
    patient.feels(breaks);
    for tool in ["look", "fetch", "look"] {
        patient.bed.tool(tool, "{}").await.code();
    }
    let before = patient.arrived();
    let mut held = patient.holds_back();
    patient.pass(1000);
    patient.pace.max.store(TIMES_UNTIL_THROUGH, Ordering::Relaxed);
    *patient.pace.asked.lock().unwrap() = 0;
    let calls = [patient.bed.start("look", "{}"), patient.bed.start("fetch", "{}")];
    let (refused, _, mut rest) = soon(select_all(calls)).await;
    match refused.unwrap().answer {
        Answer::Refused(refusal) => assert_eq!(refusal.code, Code::UpstreamBroken),
        _ => panic!("both were let through"),
    }
    soon(patient.bed.fake.until("tools/call", before + 1)).await;
    let (stream, seen) = soon(held.recv()).await.unwrap();
    stream.finish(&seen, &text_result("done"));
    assert!(matches!(soon(rest.pop().unwrap()).await.unwrap().answer, Answer::Result(_)));
    assert_eq!(patient.arrived(), before + 1);
    patient.bed.audit().await;
}

#[tokio::test]
async fn what_the_caller_or_the_gate_ended_is_not_held_against_the_upstream() {
    let patient = Patient::with(Plan {
        upstream: "in_flight_max = 1".to_owned(),
        more: "[limits]\nanswer_bytes_max = 1024".to_owned(),
        ..Plan::new()
    })
    .await;
    let bed = &patient.bed;

    for _ in 0..4 {
        // The gate's bound, the upstream's refusal of a request, its errors and failed tools.
        patient.feels(|seen| Some(answer(seen, &text_result(&"x".repeat(4096)))));
        assert_eq!(bed.tool("look", "{}").await.code(), Code::UpstreamTooLarge);
        patient.feels(|_| Some(reply(413, "text/plain", "too much")));
        assert_eq!(bed.tool("look", "{}").await.code(), Code::UpstreamProtocol);
        patient.feels(|_| Some(reply(429, "text/plain", "slower")));
        assert_eq!(bed.tool("look", "{}").await.code(), Code::UpstreamBusy);
        patient.feels(|seen| Some(error(seen, r#"{"code":-32603,"message":"no"}"#)));
        assert!(matches!(bed.tool("look", "{}").await.reply.answer, Answer::Error(_)));
        patient.feels(|seen| Some(answer(seen, r#"{"content":[],"isError":true}"#)));
        bed.tool("look", "{}").await.result();
    }
    // Answers came in between: now without any.
    patient.feels(|_| Some(reply(413, "text/plain", "too much")));
    for _ in 0..4 {
        assert_ne!(bed.tool("save", r#"{"note":1}"#).await.code(), Code::UpstreamBroken);
    }
    patient.feels(|seen| Some(answer(seen, &text_result(&"x".repeat(4096)))));
    for _ in 0..4 {
        assert_eq!(bed.tool("look", "{}").await.code(), Code::UpstreamTooLarge);
    }
    assert!(patient.turns().await.is_empty());
    bed.audit().await;
}

#[tokio::test]
async fn what_was_asked_before_is_answered_from_the_record_and_doubt_stays_doubt() {
    let policies = r#"permit (principal, action == Action::"desk/again", resource);"#;
    let plan = Plan { operations: OPERATIONS.to_owned(), ..Plan::policy(policies) };
    let patient = Patient::with(plan).await;
    let bed = &patient.bed;
    bed.tool("save", r#"{"note":1}"#).await.result();
    patient.feels(breaks);
    // However often the gate tries for one effect: it is one failure.
    assert_eq!(bed.tool("again", r#"{"amount":1}"#).await.code(), Code::OutcomeInDoubt);
    assert!(patient.arrived() > 3 && patient.turns().await.is_empty());
    for _ in 0..2 {
        bed.tool("look", "{}").await.code();
    }
    assert_eq!(patient.turns().await, ["- open LG-U003 1000"]);
    let arrived = patient.arrived();
    assert!(bed.tool("save", r#"{"note":1}"#).await.result().contains("done"));
    assert_eq!(bed.tool("again", r#"{"amount":1}"#).await.code(), Code::OutcomeInDoubt);
    assert_eq!(bed.tool("again", r#"{"amount":2}"#).await.code(), Code::UpstreamBroken);
    assert_eq!(patient.arrived(), arrived);
    patient.feels(|_| None);
    patient.pass(1000);
    assert!(bed.tool("again", r#"{"amount":1}"#).await.result().contains("done"));
    bed.audit().await;
}

#[tokio::test]
async fn who_may_not_call_learns_nothing_and_takes_no_probe() {
    let patient = Patient::new().await;
    patient.feels(breaks);
    let bed = &patient.bed;
    for tool in ["look", "fetch", "look"] {
        bed.tool(tool, "{}").await.code();
    }
    assert_eq!(bed.tool("sealed", "{}").await.code(), Code::AgentNotPermitted);
    patient.pass(1000);
    assert_eq!(bed.tool("sealed", "{}").await.code(), Code::AgentNotPermitted);
    assert_eq!(patient.turns().await.len(), 1, "it is not tried for them");
    bed.audit().await;
}

#[tokio::test]
async fn one_that_is_switched_off_is_asked_each_time() {
    let fake = Fake::start("[]", |seen| Box::pin(async move { breaks(&seen).unwrap() })).await;
    let upstream = "breaker = { failures = 0 }".to_owned();
    let bed = Bed::with(fake, Plan { upstream, ..Plan::new() }).await;
    for _ in 0..20 {
        assert_eq!(bed.tool("look", "{}").await.code(), Code::UpstreamProtocol);
    }
    bed.audit().await;
}
