//! I5: every write is safe to repeat.

use crate::bed::{Bed, Plan, identity, params, soon};
use crate::upstream::{Fake, Seen, answer, error, reply, text_result};
use lockgate_kernel::{Answer, EFFECT_META};
use lockgate_types::call::KEY_META;
use lockgate_types::{Code, Json, Object};
use lockgate_wire::Era;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;

const OPERATIONS: &str = r#"
[tool.pay]
effect = "write"
accepted = true
class = "idempotent"
key = { argument = "reference" }
schema = '{"type":"object","properties":{"amount":{"type":"integer"},"reference":{"type":"string"}}}'

[tool.post]
effect = "write"
accepted = true
class = "idempotent"
key = { header = "Idempotency-Key" }
schema = '{"type":"object","properties":{"amount":{"type":"integer"}}}'

[tool.mail]
effect = "egress"
accepted = true
class = "idempotent"
key = { meta = "example.com/key" }
repeat_window_s = 0
schema = '{"type":"object","properties":{"amount":{"type":"integer"}}}'

[tool.order]
effect = "write"
accepted = true
class = "queryable"
key = { argument = "reference" }
lookup = { tool = "find", argument = "reference", found = "order.id", settles_ms = 0 }
schema = '{"type":"object","properties":{"amount":{"type":"integer"},"reference":{"type":"string"}}}'

[tool.slow_order]
effect = "write"
accepted = true
class = "queryable"
key = { argument = "reference" }
lookup = { tool = "find", argument = "reference", found = "order.id" }
schema = '{"type":"object","properties":{"amount":{"type":"integer"},"reference":{"type":"string"}}}'

[tool.find]
effect = "read"
accepted = true
schema = '{"type":"object","properties":{"reference":{"type":"string"}}}'
"#;

const POLICIES: &str = r#"
permit (principal, action in [
    Action::"desk/pay", Action::"desk/post", Action::"desk/mail", Action::"desk/order",
    Action::"desk/slow_order", Action::"desk/find"
], resource);
"#;

/// What goes wrong with a call at the upstream.
#[derive(Clone, Copy)]
enum Fault {
    /// It is done, and the answer is lost.
    Lost,
    /// It is not done, and nobody says so.
    Dropped,
    /// It is not done, and the upstream says that it failed.
    Fails,
}

/// An upstream that does what it is asked, remembers it, and has faults in store.
#[derive(Default)]
struct Shop {
    /// What was done: the tool and its key.
    done: Mutex<Vec<(String, String)>>,
    faults: Mutex<VecDeque<Fault>>,
    /// Waited for before a call of `save` is answered, if it is to be.
    gate: Mutex<Option<Arc<Notify>>>,
}

impl Shop {
    fn count(&self) -> usize {
        self.done.lock().unwrap().len()
    }

    fn keys(&self) -> Vec<String> {
        self.done.lock().unwrap().iter().map(|(_, key)| key.clone()).collect()
    }

    fn fail(&self, faults: &[Fault]) {
        self.faults.lock().unwrap().extend(faults);
    }

    /// Does it, unless it has the key already.
    fn perform(&self, seen: &Seen) -> String {
        let argument = |name| seen.body.at(&["params", "arguments", name]).and_then(Json::as_str);
        let key = match seen.tool() {
            "post" => seen.headers.get("idempotency-key").and_then(|key| key.to_str().ok()),
            "mail" => seen.body.at(&["params", "_meta", "example.com/key"]).and_then(Json::as_str),
            _ => argument("reference"),
        };
        let key = key.unwrap_or_default().to_owned();
        let mut done = self.done.lock().unwrap();
        if seen.tool() == "find" {
            return match done.iter().position(|(_, known)| *known == key) {
                Some(at) => {
                    format!(r#"{{"content":[],"structuredContent":{{"order":{{"id":{at}}}}}}}"#)
                }
                None => r#"{"content":[],"structuredContent":{"order":null}}"#.to_owned(),
            };
        }
        let honours = ["pay", "post", "mail"].contains(&seen.tool());
        if !honours || !done.iter().any(|(_, known)| *known == key) {
            done.push((seen.tool().to_owned(), key.clone()));
        }
        text_result(&format!("done {}", done.len()))
    }
}

async fn shop() -> (Bed, Arc<Shop>) {
    shop_with(Plan::new()).await
}

async fn shop_with(plan: Plan) -> (Bed, Arc<Shop>) {
    let shop = Arc::new(Shop::default());
    let plan = Plan {
        operations: format!("{OPERATIONS}{}", plan.operations),
        policies: format!("{POLICIES}{}", plan.policies),
        ..plan
    };
    let of = Arc::clone(&shop);
    let fake = Fake::start("[]", move |seen| {
        let shop = Arc::clone(&of);
        Box::pin(async move {
            let gate = shop.gate.lock().unwrap().clone().filter(|_| seen.tool() == "save");
            if let Some(gate) = gate {
                gate.notified().await;
            }
            let fault = match seen.tool() {
                "find" => None,
                _ => shop.faults.lock().unwrap().pop_front(),
            };
            match fault {
                None => answer(&seen, &shop.perform(&seen)),
                Some(Fault::Lost) => {
                    shop.perform(&seen);
                    reply(500, "text/plain", "oh")
                }
                Some(Fault::Dropped) => reply(503, "text/plain", "oh"),
                Some(Fault::Fails) => error(&seen, r#"{"code":-32000,"message":"busy"}"#),
            }
        })
    })
    .await;
    (Bed::with(fake, plan).await, shop)
}

/// What an answer says about the effect, taken out of it.
fn said(answer: &Answer) -> (Option<Json>, Json) {
    let Answer::Result(result) = answer else { panic!("no result") };
    let mut result = result.clone();
    let members = result.as_object_mut().unwrap();
    let Some(meta) = members.get_mut("_meta").and_then(Json::as_object_mut) else {
        return (None, result);
    };
    let said = meta.remove(EFFECT_META);
    if meta.is_empty() {
        members.remove("_meta");
    }
    (said, result)
}

fn with_key(tool: &str, arguments: &str, key: &str) -> Object {
    params(tool, arguments).with("_meta", Object::new().with(KEY_META, key))
}

#[tokio::test]
async fn the_same_write_happens_once_and_is_answered_with_what_came_of_it() {
    let (bed, shop) = shop().await;
    let first = bed.tool("save", r#"{"note":1,"amount":2}"#).await;
    // The order of members is nobody's business.
    let second = bed.tool("save", r#"{"amount":2,"note":1}"#).await;
    assert_eq!(shop.count(), 1);
    let (about, result) = said(&second.reply.answer);
    let about = about.expect("a repeat says so");
    assert_eq!(about.get("state").unwrap().as_str(), Some("replayed"));
    assert_eq!(about.get("call").unwrap().as_str(), Some(first.reply.call.as_str()));
    assert!(about.get("hint").unwrap().as_str().unwrap().contains(KEY_META));
    assert_eq!(result.to_string(), first.result(), "byte for byte");
    let story = ["intent desk/save", "outcome succeeded", "repeat desk/save"];
    assert_eq!(bed.story().await, story);
    let trace = bed.trace(&second.reply.call).await;
    let repeats = trace.entries[0].leaf.get("repeats").and_then(Json::as_str);
    assert_eq!(repeats, Some(first.reply.call.as_str()));
    bed.tool("save", r#"{"note":1,"amount":3}"#).await.result();
    assert_eq!(shop.count(), 2, "other arguments are another effect");
    assert_eq!(bed.audit().await, 3);
}

/// What was answered to a session is answered to a stateless caller as its era has it.
#[tokio::test]
async fn a_repeat_is_answered_in_the_era_of_who_repeats() {
    let (bed, shop) = shop().await;
    for (era, expected) in [(Era::Sessions, None), (Era::Stateless, Some("complete"))] {
        *bed.era.lock().unwrap() = era;
        let (_, result) = said(&bed.tool("save", r#"{"note":1}"#).await.reply.answer);
        assert_eq!(result.get("resultType").and_then(Json::as_str), expected);
    }
    assert_eq!(shop.count(), 1);
}

#[tokio::test]
async fn a_key_is_one_effect_of_one_agent_for_one_subject() {
    let (bed, shop) = shop().await;
    let alice = identity("alice");
    let call = |arguments, key| bed.call(&alice, "tools/call", with_key("save", arguments, key));
    let first = call(r#"{"note":1}"#, "k-1").await.result();
    let (_, again) = said(&call(r#"{"note":1}"#, "k-1").await.reply.answer);
    assert_eq!(again.to_string(), first);
    assert_eq!(call(r#"{"note":2}"#, "k-1").await.code(), Code::KeyReused);
    assert_eq!(shop.count(), 1);
    call(r#"{"note":1}"#, "k-2").await.result();
    assert_eq!(shop.count(), 2, "a new key asks for a second effect");
    // What others call by the same name is theirs.
    bed.call(&identity("bob"), "tools/call", with_key("save", r#"{"note":1}"#, "k-1")).await;
    assert_eq!(shop.count(), 3);
    let mut second = lockgate_types::identity::Identity::clone(&alice);
    second.agent = "second".parse().unwrap();
    bed.call(&Arc::new(second), "tools/call", with_key("save", r#"{"note":1}"#, "k-1")).await;
    assert_eq!(shop.count(), 4);
    bed.call(&alice, "tools/call", with_key("open", r#"{"note":1}"#, "k-1")).await;
    assert_eq!(shop.count(), 5, "another operation");
    let long = "k".repeat(256);
    for bad in ["", "with space", "ümlaut", long.as_str()] {
        assert_eq!(call(r#"{"note":1}"#, bad).await.code(), Code::KeyMalformed, "{bad}");
    }
    // In a header it means the same.
    *bed.key.lock().unwrap() = Some("k-3".to_owned());
    bed.tool("save", r#"{"note":1}"#).await.result();
    assert_eq!(bed.tool("save", r#"{"note":9}"#).await.code(), Code::KeyReused);
    *bed.key.lock().unwrap() = Some("k 3".to_owned());
    assert_eq!(bed.tool("save", r#"{"note":1}"#).await.code(), Code::KeyMalformed);
    assert_eq!(shop.count(), 6);
    // Nor while it is in doubt.
    shop.fail(&[Fault::Lost]);
    assert_eq!(call(r#"{"note":1}"#, "k-9").await.code(), Code::OutcomeInDoubt);
    assert_eq!(call(r#"{"note":2}"#, "k-9").await.code(), Code::KeyReused);
    bed.audit().await;
}

#[tokio::test]
async fn of_many_at_once_one_is_performed_and_all_are_answered() {
    let (bed, shop) = shop().await;
    let gate = Arc::new(Notify::new());
    *shop.gate.lock().unwrap() = Some(Arc::clone(&gate));
    let calls: Vec<_> = (0..8).map(|_| bed.start("save", r#"{"note":1}"#)).collect();
    soon(bed.fake.until("tools/call", 1)).await;
    gate.notify_one();
    for call in calls {
        let reply = soon(call).await.unwrap();
        assert!(matches!(reply.answer, Answer::Result(_)));
    }
    assert_eq!((shop.count(), bed.fake.of("tools/call").len()), (1, 1));
    let story = bed.story().await;
    assert_eq!(story.iter().filter(|line| *line == "repeat desk/save").count(), 7);
    bed.audit().await;
}

#[tokio::test]
async fn what_is_in_doubt_and_opaque_is_never_done_again() {
    let (bed, shop) = shop().await;
    shop.fail(&[Fault::Lost]);
    for _ in 0..3 {
        let refused = bed.tool("save", r#"{"note":1}"#).await;
        assert_eq!(refused.code(), Code::OutcomeInDoubt);
    }
    assert_eq!(shop.count(), 1);
    let story = ["intent desk/save", "outcome in_doubt", "refusal desk/save", "refusal desk/save"];
    assert_eq!(bed.story().await, story);
    let doubts = bed.store().doubts(0, 10).await.unwrap();
    assert_eq!(doubts.len(), 1);
    assert_eq!(bed.kernel.settle_doubts().await, 1, "nobody but a person can know");
    bed.audit().await;
}

#[tokio::test]
async fn what_is_idempotent_is_sent_again_with_its_key() {
    for tool in ["pay", "post", "mail"] {
        let (bed, shop) = shop().await;
        shop.fail(&[Fault::Lost, Fault::Dropped]);
        let done = bed.tool(tool, r#"{"amount":1}"#).await;
        assert!(done.result().contains("done 1"), "{tool}");
        assert_eq!((shop.count(), bed.fake.of("tools/call").len()), (1, 3), "{tool}");
        let keys = shop.keys();
        assert_eq!(keys[0], format!("lg_{}", done.reply.call));
        let intent = format!("intent desk/{tool}");
        let story = [
            intent.as_str(),
            "outcome in_doubt",
            intent.as_str(),
            "outcome in_doubt",
            intent.as_str(),
            "outcome succeeded",
            "resolution succeeded attempt",
        ];
        assert_eq!(bed.story().await, story);
        assert_eq!(bed.store().doubts(0, 10).await.unwrap(), []);
        bed.audit().await;

        // Asked for again: where there is a window, it is the same; else another.
        bed.tool(tool, r#"{"amount":1}"#).await.result();
        assert_eq!(shop.count(), if tool == "mail" { 2 } else { 1 });
    }
}

#[tokio::test]
async fn what_stays_in_doubt_is_taken_up_when_it_is_asked_for_again_or_later() {
    let (bed, shop) = shop().await;
    let many = [Fault::Dropped; 5];
    shop.fail(&many);
    let first = bed.tool("pay", r#"{"amount":1}"#).await;
    assert_eq!(first.code(), Code::OutcomeInDoubt);
    assert_eq!(shop.count(), 0);
    let second = bed.tool("pay", r#"{"amount":1}"#).await;
    assert!(second.result().contains("done 1"));
    assert_eq!(shop.keys(), [format!("lg_{}", first.reply.call)], "the key of the first");
    // And without anybody asking.
    shop.fail(&many);
    let third = bed.tool("pay", r#"{"amount":3}"#).await;
    assert_eq!(third.code(), Code::OutcomeInDoubt);
    assert_eq!(bed.kernel.settle_doubts().await, 0);
    assert_eq!(shop.keys()[1], format!("lg_{}", third.reply.call));
    let (about, _) = said(&bed.tool("pay", r#"{"amount":3}"#).await.reply.answer);
    assert!(about.is_some(), "what came of it is answered");
    assert_eq!(shop.count(), 2);
    bed.audit().await;
}

#[tokio::test]
async fn what_is_queryable_is_looked_up_and_done_again_only_if_it_is_not_there() {
    let (bed, shop) = shop().await;
    shop.fail(&[Fault::Lost]);
    let done = bed.tool("order", r#"{"amount":1}"#).await;
    let (about, _) = said(&done.reply.answer);
    assert_eq!(about.unwrap().get("by").unwrap().as_str(), Some("lookup"));
    assert_eq!(shop.count(), 1);
    shop.fail(&[Fault::Dropped]);
    let done = bed.tool("order", r#"{"amount":2}"#).await;
    assert!(done.result().contains("done 2"));
    assert_eq!(shop.count(), 2);
    let story = [
        "intent desk/order",
        "outcome in_doubt",
        "intent desk/find",
        "outcome succeeded",
        "resolution succeeded lookup",
        "intent desk/order",
        "outcome in_doubt",
        "intent desk/find",
        "outcome succeeded",
        "resolution failed lookup",
        "intent desk/order",
        "outcome succeeded",
    ];
    assert_eq!(bed.story().await, story);
    bed.audit().await;
}

#[tokio::test]
async fn not_found_says_nothing_while_it_may_still_arrive() {
    let (bed, shop) = shop().await;
    shop.fail(&[Fault::Dropped]);
    assert_eq!(bed.tool("slow_order", r#"{"amount":1}"#).await.code(), Code::OutcomeInDoubt);
    assert_eq!(bed.tool("slow_order", r#"{"amount":1}"#).await.code(), Code::OutcomeInDoubt);
    assert_eq!(shop.count(), 0);
    assert_eq!(bed.store().doubts(0, 10).await.unwrap().len(), 1);
    bed.audit().await;
}

#[tokio::test]
async fn a_repeat_is_decided_and_met_by_the_rules_of_now() {
    let (bed, shop) = shop().await;
    let first = bed.tool("save", r#"{"note":1}"#).await;
    assert!(first.result().contains("done 1"));
    let hides = r#"@id("hides") @obligation_redact("content.*.text")
        permit (principal, action == Action::"desk/save", resource);"#;
    bed.load(plan(hides)).await;
    let second = bed.tool("save", r#"{"note":1}"#).await;
    assert!(!second.result().contains("done 1"), "{}", second.result());
    bed.load(plan(r#"forbid (principal, action == Action::"desk/save", resource);"#)).await;
    assert_eq!(bed.tool("save", r#"{"note":1}"#).await.code(), Code::Forbidden);
    assert_eq!(shop.count(), 1);
    bed.audit().await;
}

fn plan(policies: &str) -> Plan {
    Plan {
        operations: OPERATIONS.to_owned(),
        policies: format!("{POLICIES}{policies}"),
        ..Plan::new()
    }
}

#[tokio::test]
async fn what_failed_or_never_left_can_be_asked_for_anew() {
    let plan = Plan { upstream: "in_flight_max = 1".to_owned(), ..Plan::new() };
    let (bed, shop) = shop_with(plan).await;
    let gate = Arc::new(Notify::new());
    *shop.gate.lock().unwrap() = Some(Arc::clone(&gate));
    let held = bed.start("save", r#"{"note":1}"#);
    soon(bed.fake.until("tools/call", 1)).await;
    assert_eq!(bed.tool("order", r#"{"amount":2}"#).await.code(), Code::UpstreamBusy);
    gate.notify_one();
    soon(held).await.unwrap();
    bed.tool("order", r#"{"amount":2}"#).await.result();
    assert_eq!(shop.count(), 2);
    bed.audit().await;
}

#[tokio::test]
async fn that_an_attempt_failed_says_nothing_of_what_was_sent_before() {
    let (bed, shop) = shop().await;
    shop.fail(&[Fault::Dropped, Fault::Fails, Fault::Fails, Fault::Fails, Fault::Fails]);
    let refused = bed.tool("pay", r#"{"amount":1}"#).await;
    assert_eq!(refused.code(), Code::OutcomeInDoubt);
    assert_eq!(bed.store().doubts(0, 10).await.unwrap().len(), 1);
    // What fails at once has failed, and can be asked for anew.
    shop.fail(&[Fault::Fails]);
    let failed = bed.tool("pay", r#"{"amount":2}"#).await;
    assert!(matches!(failed.reply.answer, Answer::Error(_)));
    bed.tool("pay", r#"{"amount":2}"#).await.result();
    bed.tool("pay", r#"{"amount":1}"#).await.result();
    assert_eq!(shop.count(), 2);
    assert_eq!(bed.store().doubts(0, 10).await.unwrap(), []);
    bed.audit().await;
}

#[tokio::test]
async fn what_was_sent_without_a_key_is_not_sent_again_whatever_is_declared_since() {
    let (bed, shop) = shop().await;
    shop.fail(&[Fault::Lost]);
    assert_eq!(bed.tool("save", r#"{"note":1}"#).await.code(), Code::OutcomeInDoubt);
    let save = "[tool.save]\neffect = \"write\"\naccepted = true\nclass = \"idempotent\"\n\
        key = { header = \"Idempotency-Key\" }\n\
        schema = '{\"type\":\"object\",\"properties\":{\"note\":{}}}'\n";
    let mut files = plan("").files("http://127.0.0.1:9/mcp");
    let operations = String::from_utf8(files["operations/desk.toml"].clone()).unwrap();
    let (before, after) = operations.split_once("[tool.save]").unwrap();
    let (_, after) = after.split_once("\n\n").unwrap();
    let operations = format!("{before}{save}\n{after}");
    files.insert("operations/desk.toml".to_owned(), operations.into_bytes());
    let gate = String::from_utf8(files["lockgate.toml"].clone()).unwrap();
    let gate = gate.replace("http://127.0.0.1:9/mcp", &bed.fake.url);
    files.insert("lockgate.toml".to_owned(), gate.into_bytes());
    bed.kernel.load(files).await.unwrap();
    assert_eq!(bed.tool("save", r#"{"note":1}"#).await.code(), Code::OutcomeInDoubt);
    assert_eq!(bed.kernel.settle_doubts().await, 1);
    assert_eq!(shop.count(), 1);
    bed.audit().await;
}

#[tokio::test]
async fn what_a_person_has_settled_is_not_attempted_any_more() {
    let (bed, shop) = shop().await;
    shop.fail(&[Fault::Dropped; 5]);
    let first = bed.tool("pay", r#"{"amount":1}"#).await;
    assert_eq!(first.code(), Code::OutcomeInDoubt);
    let person = lockgate_store::Means::Person;
    let failed = lockgate_store::OutcomeState::Failed;
    let settled = bed.store().resolve(&first.reply.call, failed, person).await.unwrap();
    assert!(settled.is_some());
    assert_eq!(bed.kernel.settle_doubts().await, 0);
    assert_eq!(shop.count(), 0, "nobody asked for it since");
    bed.tool("pay", r#"{"amount":1}"#).await.result();
    assert_ne!(shop.keys(), [format!("lg_{}", first.reply.call)], "another effect");
    bed.audit().await;
}

#[tokio::test]
async fn keys_that_look_like_the_gates_own_and_other_envelopes_are_no_way_around() {
    let (bed, shop) = shop().await;
    let alice = identity("alice");
    let own = with_key("save", r#"{"note":1}"#, "lg_0123");
    assert_eq!(bed.call(&alice, "tools/call", own).await.code(), Code::KeyMalformed);
    bed.tool("save", r#"{"note":1}"#).await.result();
    let meta =
        |name: &str| params("save", r#"{"note":1}"#).with("_meta", Object::new().with(name, "x"));
    bed.call(&alice, "tools/call", meta("traceparent")).await.result();
    assert_eq!(shop.count(), 1, "the envelope is not what is asked for");
    bed.call(&alice, "tools/call", meta("example.com/account")).await.result();
    assert_eq!(shop.count(), 2, "what the upstream may act on is");
    bed.audit().await;
}
