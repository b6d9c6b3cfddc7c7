//! Two phases: what is done is what was offered, once, while nothing of it has changed.

use crate::approvals::{finance, give};
use crate::bed::{Bed, Done, Plan, identity, json, params, throw};
use crate::upstream::{Fake, says};
use lockgate_core::plan::terms;
use lockgate_kernel::{Clock, system_now};
use lockgate_types::call::KEY_META;
use lockgate_types::facts::Switch;
use lockgate_types::identity::Identity;
use lockgate_types::plan::{PLAN_ARGUMENT, PLAN_META, PlanRef};
use lockgate_types::{CallId, Code, Json, JsonLimits, Micros, Object};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

const OPERATIONS: &str = r#"
[tool.refund]
effect = "write"
accepted = true
two_phase = true
repeat_window_s = 0
resource = { type = "Order", argument = "order" }
schema = '{"type":"object","properties":{"order":{"type":"string"},"amount":{"type":"integer"}}}'

[tool.drop]
effect = "destructive"
accepted = true
two_phase = true
preview = { tool = "would_drop" }
schema = '{"type":"object","properties":{"table":{"type":"string"}}}'

[tool.prune]
effect = "destructive"
accepted = true
two_phase = true
preview = { tool = "would_drop", same = ["rows"] }
schema = '{"type":"object","properties":{"table":{"type":"string"}}}'

[tool.would_drop]
effect = "read"
accepted = true
schema = '{"type":"object","properties":{"table":{"type":"string"}}}'

[tool.keyed]
effect = "write"
accepted = true
two_phase = true
class = "idempotent"
key = { argument = "reference" }
schema = '{"type":"object","properties":{"reference":{"type":"string"},"note":{"type":"string"}}}'
"#;

const POLICIES: &str = r#"
@id("plans")
permit (principal, action in [
    Action::"desk/refund", Action::"desk/drop", Action::"desk/prune", Action::"desk/would_drop",
    Action::"desk/keyed"
], resource);

@id("small")
forbid (principal, action == Action::"desk/refund", resource)
when { context.input has amount && context.input.amount > 1000 };

@id("may-approve")
permit (principal, action == Action::"lockgate/approval_give", resource);
"#;

const REFUND: &str = r#"{"order":"o-7","amount":30}"#;

fn plan() -> Plan {
    Plan { operations: OPERATIONS.to_owned(), ..Plan::policy(POLICIES) }
}

async fn bed() -> Bed {
    Bed::with(Fake::start("[]", says("done")).await, plan()).await
}

/// What was proposed, taken from the answer.
fn offered(done: &Done) -> Json {
    let result = json(&done.result());
    assert_eq!(result.get("isError").and_then(Json::as_bool), Some(false));
    let plan = result.at(&["structuredContent", "plan"]).expect("it is no plan").clone();
    assert_eq!(result.at(&["_meta", PLAN_META]), plan.get("plan"));
    plan
}

fn reference(plan: &Json) -> String {
    plan.get("plan").and_then(Json::as_str).unwrap().to_owned()
}

fn with_plan(tool: &str, arguments: &str, plan: &str) -> Object {
    params(tool, arguments).with("_meta", Object::new().with(PLAN_META, plan))
}

async fn execute(bed: &Bed, tool: &str, arguments: &str, plan: &str) -> Done {
    bed.call(&identity("alice"), "tools/call", with_plan(tool, arguments, plan)).await
}

/// What the upstream was asked to do.
fn sent(bed: &Bed) -> Vec<String> {
    bed.fake.of("tools/call").iter().map(|seen| seen.tool().to_owned()).collect()
}

/// The plan that somebody makes up who knows everything that is recorded of a call.
async fn made_up(bed: &Bed, call: &CallId) -> String {
    let facts = bed.store().facts_of(call).await.unwrap().unwrap();
    let world = bed.kernel.world().unwrap();
    // A denial has no obligations, and these operations have none either.
    let terms = terms(&lockgate_core::decide(&world, &facts), &facts);
    PlanRef { call: call.clone(), digest: terms.digest(call) }.to_text()
}

/// Why a plan was refused.
fn why(done: &Done) -> String {
    assert_eq!(done.code(), Code::PlanRefused);
    let lockgate_kernel::Answer::Refused(refusal) = &done.reply.answer else { unreachable!() };
    refusal.reason.clone()
}

#[tokio::test]
async fn a_proposal_does_nothing_and_its_plan_does_exactly_that_once() {
    let bed = bed().await;
    let proposed = bed.tool("refund", REFUND).await;
    let plan = offered(&proposed);
    assert_eq!(sent(&bed), [""; 0], "a proposal reaches nobody");
    let text = |path: &[&str]| plan.at(path).map(Json::to_string).unwrap();
    assert_eq!(text(&["operation"]), r#""desk/refund""#);
    assert_eq!(text(&["request", "arguments"]), json(REFUND).to_string());
    assert_eq!(text(&["effect"]), r#""write""#);
    assert_eq!(text(&["who", "subject"]), r#""alice""#);
    assert_eq!(text(&["affected"]).matches("o-7").count(), 1);

    let done = execute(&bed, "refund", REFUND, &reference(&plan)).await;
    assert!(done.result().contains("done"));
    assert_eq!(sent(&bed), ["refund"]);
    // Twice is a repeat, also where every call without a key is an effect of its own.
    let again = execute(&bed, "refund", REFUND, &reference(&plan)).await;
    assert!(again.result().contains("replayed"), "{}", again.result());
    assert!(again.result().contains("propose it again"), "{}", again.result());
    assert_eq!(sent(&bed), ["refund"]);
    // Asked for without a plan it is proposed again, and that is another effect.
    let second = offered(&bed.tool("refund", REFUND).await);
    assert_ne!(reference(&second), reference(&plan));
    execute(&bed, "refund", REFUND, &reference(&second)).await.result();
    assert_eq!(sent(&bed), ["refund", "refund"]);

    // The execution can be traced to its proposal, which was recorded and had no permit.
    let moment = bed.part(&done.reply.call, "moment").await;
    let from = moment.at(&["plan", "call"]).and_then(Json::as_str).unwrap();
    assert_eq!(from, proposed.reply.call.as_str());
    assert_eq!(bed.story().await[0], "refusal desk/refund");
    bed.audit().await;
}

#[tokio::test]
async fn a_model_gives_its_plan_as_an_argument_that_nobody_else_sees() {
    let tools = r#"[{"name":"refund","inputSchema":{"type":"object","properties":{}},
        "outputSchema":{"type":"object"}},{"name":"save","inputSchema":{"type":"object"},
        "outputSchema":{"type":"object"}}]"#;
    let bed = Bed::with(Fake::start(tools, says("done")).await, plan()).await;
    let alice = identity("alice");
    let upstream = lockgate_types::UpstreamName::new("desk").unwrap();
    let caller = crate::bed::caller(&alice);
    let kind = lockgate_kernel::ListKind::Tools;
    let Ok(listed) = bed.kernel.list(&alice, &caller, &upstream, kind).await else { panic!() };
    let [refund, save] = [listed.items[0].to_string(), listed.items[1].to_string()];
    assert!(refund.contains(PLAN_ARGUMENT) && !refund.contains("outputSchema"), "{refund}");
    assert!(!save.contains(PLAN_ARGUMENT) && save.contains("outputSchema"), "{save}");

    let given = reference(&offered(&bed.tool("refund", REFUND).await));
    let with = json(REFUND).as_object().unwrap().clone().with(PLAN_ARGUMENT, given.as_str());
    let done = bed.tool("refund", &Json::from(with).to_string()).await;
    assert!(done.result().contains("done"));
    let arguments = bed.fake.of("tools/call")[0].body.at(&["params", "arguments"]).cloned();
    assert_eq!(arguments, Some(json(REFUND)));
    // What is filled in with nothing is no plan, and proposes.
    for nothing in [Json::Null, Json::from("")] {
        let with = json(REFUND).as_object().unwrap().clone().with(PLAN_ARGUMENT, nothing);
        offered(&bed.tool("refund", &Json::from(with).to_string()).await);
    }
    // Elsewhere it is an argument like any other: one that nobody declared.
    let with = format!(r#"{{"{PLAN_ARGUMENT}":"{given}"}}"#);
    assert_eq!(bed.tool("save", &with).await.code(), Code::ArgumentsRefused);
    bed.audit().await;
}

#[tokio::test]
async fn what_would_be_denied_is_not_planned() {
    let bed = bed().await;
    assert_eq!(
        bed.tool("refund", r#"{"order":"o-7","amount":2000}"#).await.code(),
        Code::Forbidden
    );
    assert_eq!(
        bed.tool("refund", r#"{"order":"o-7","other":1}"#).await.code(),
        Code::ArgumentsRefused
    );
    // What was denied was not offered, also once nothing speaks against it any more.
    let switch = Switch { scope: "agent".to_owned(), name: "bot".to_owned() };
    let by = CallId::new("somebody").unwrap();
    throw(bed.store(), switch.clone(), &by).await.1.unwrap();
    let denied = bed.tool("refund", REFUND).await;
    assert_eq!(denied.code(), Code::SwitchEngaged);
    bed.store().lift(switch, &by).await.unwrap().unwrap();
    let made_up = made_up(&bed, &denied.reply.call).await;
    assert!(why(&execute(&bed, "refund", REFUND, &made_up).await).contains("no such plan"));
    assert_eq!(sent(&bed), [""; 0]);
    bed.audit().await;
}

#[tokio::test]
async fn a_task_has_a_plan_come_first_for_all_that_it_changes() {
    let files = vec![("tasks/close-books.toml", "two_phase = true\n".to_owned())];
    let bed = Bed::with(Fake::start("[]", says("done")).await, Plan { files, ..plan() }).await;
    let with_task = |task: &str| {
        let mut identity = Identity::clone(&identity("alice"));
        identity.task = Some(task.parse().unwrap());
        Arc::new(identity)
    };
    let (books, other) = (with_task("close-books"), with_task("something-else"));
    // Other tasks, and none, save at once; so does the task what changes nothing.
    for (who, tool, times) in [(&other, "save", 1), (&identity("alice"), "save", 2)] {
        bed.tool_as(who, tool, &format!(r#"{{"note":"{times}"}}"#)).await.result();
        assert_eq!(sent(&bed).len(), times);
    }
    bed.tool_as(&books, "look", "{}").await.result();
    assert_eq!(sent(&bed), ["save", "save", "look"]);

    let offer = offered(&bed.tool_as(&books, "save", r#"{"note":"3"}"#).await);
    assert_eq!(sent(&bed), ["save", "save", "look"]);
    // It is the task's: without the task there is nothing to take up.
    let reference = reference(&offer);
    let given = || with_plan("save", r#"{"note":"3"}"#, &reference);
    let refused = bed.call(&other, "tools/call", given()).await;
    assert!(why(&refused).contains("not done in two phases"));
    // A model gives it as an argument.
    let as_argument = format!(r#"{{"note":"3","{PLAN_ARGUMENT}":"{reference}"}}"#);
    assert!(bed.tool_as(&books, "save", &as_argument).await.result().contains("done"));
    assert_eq!(sent(&bed), ["save", "save", "look", "save"]);
    bed.audit().await;
}

#[tokio::test]
async fn of_many_who_take_up_a_plan_at_once_one_does_it() {
    let bed = bed().await;
    let given = reference(&offered(&bed.tool("refund", REFUND).await));
    let all = (0..8).map(|_| execute(&bed, "refund", REFUND, &given));
    for done in futures_util::future::join_all(all).await {
        done.result();
    }
    assert_eq!(sent(&bed), ["refund"]);
    bed.audit().await;
}

#[tokio::test]
async fn nothing_but_what_was_offered_is_done() {
    let bed = bed().await;
    let given = reference(&offered(&bed.tool("refund", REFUND).await));
    let changed = execute(&bed, "refund", r#"{"order":"o-7","amount":31}"#, &given).await;
    assert!(why(&changed).contains("another request"));
    let stepped = with_plan("refund", REFUND, &given).with("requestState", "x");
    let stepped = bed.call(&identity("alice"), "tools/call", stepped).await;
    assert!(why(&stepped).contains("another request"));
    let elsewhere = execute(&bed, "keyed", "{}", &given).await;
    assert!(why(&elsewhere).contains("another request"));
    let mut second = Identity::clone(&identity("alice"));
    second.agent = "second".parse().unwrap();
    for who in [identity("bob"), Arc::new(second)] {
        let theirs = bed.call(&who, "tools/call", with_plan("refund", REFUND, &given)).await;
        assert!(why(&theirs).contains("somebody else"));
    }
    // The caller knows everything that goes into the digest, but the record knows what it offered.
    let (call, digits) = given.split_once('.').unwrap();
    let flipped = if digits.starts_with('0') { "1" } else { "0" };
    let made_up = [
        format!("{call}.{flipped}{}", digits.get(1..).unwrap()),
        format!("0197c2f6000000000000000000000000.{digits}"),
        "nonsense".to_owned(),
        String::new(),
    ];
    for made_up in made_up {
        assert!(why(&execute(&bed, "refund", REFUND, &made_up).await).contains("no such plan"));
    }
    let number = params("refund", REFUND).with("_meta", Object::new().with(PLAN_META, 7));
    let number = bed.call(&identity("alice"), "tools/call", number).await;
    assert!(why(&number).contains("no such plan"));
    let needless = execute(&bed, "save", "{}", &given).await;
    assert!(why(&needless).contains("not done in two phases"));
    // Another key would be another effect under the same plan.
    let meta = Object::new().with(PLAN_META, given.as_str()).with(KEY_META, "k-1");
    let keyed = params("refund", REFUND).with("_meta", meta);
    let keyed = bed.call(&identity("alice"), "tools/call", keyed).await;
    assert!(why(&keyed).contains("its own key"));
    assert_eq!(sent(&bed), [""; 0]);
    execute(&bed, "refund", REFUND, &given).await.result();
    bed.audit().await;
}

#[tokio::test]
async fn a_plan_ends_with_the_rules_it_was_made_under() {
    let bed = bed().await;
    let given = reference(&offered(&bed.tool("refund", REFUND).await));
    let hides = POLICIES.replace("@id(\"plans\")", "@id(\"plans\") @obligation_redact(\"iban\")");
    bed.load(Plan { policies: hides, ..plan() }).await;
    let changed = execute(&bed, "refund", REFUND, &given).await;
    assert!(why(&changed).contains("the rules have changed"));
    // What the rules forbid now is forbidden, whatever was offered.
    let given = reference(&offered(&bed.tool("refund", REFUND).await));
    let forbids =
        format!("{POLICIES}\nforbid (principal, action == Action::\"desk/refund\", resource);");
    bed.load(Plan { policies: forbids, ..plan() }).await;
    assert_eq!(execute(&bed, "refund", REFUND, &given).await.code(), Code::Forbidden);
    assert_eq!(sent(&bed), [""; 0]);
    bed.audit().await;
}

/// A clock that can be made late, by microseconds.
fn late_clock() -> (Clock, Arc<AtomicI64>) {
    let late = Arc::new(AtomicI64::new(0));
    let (offset, minted) = (Arc::clone(&late), Arc::new(AtomicUsize::new(0)));
    let now = move || Micros(system_now().0 + offset.load(Ordering::Relaxed));
    let mint = move |_| {
        CallId::new(&format!("{:032x}", minted.fetch_add(1, Ordering::Relaxed) + 1)).unwrap()
    };
    (Clock::custom(now, mint), late)
}

#[tokio::test]
async fn a_plan_expires_and_what_came_of_it_does_not() {
    let (clock, late) = late_clock();
    let plan = Plan { clock, more: "[limits]\nplan_ms = 60000".to_owned(), ..plan() };
    let bed = Bed::with(Fake::start("[]", says("done")).await, plan).await;
    let [spent, unused] = [
        reference(&offered(&bed.tool("refund", REFUND).await)),
        reference(&offered(&bed.tool("refund", REFUND).await)),
    ];
    execute(&bed, "refund", REFUND, &spent).await.result();
    late.store(61_000_000, Ordering::Relaxed);
    let expired = execute(&bed, "refund", REFUND, &unused).await;
    assert!(why(&expired).contains("expired"));
    let again = execute(&bed, "refund", REFUND, &spent).await;
    assert!(again.result().contains("replayed"), "{}", again.result());
    let other = execute(&bed, "refund", r#"{"order":"o-8"}"#, &spent).await;
    assert_eq!(other.code(), Code::PlanRefused);
    assert_eq!(sent(&bed), ["refund"]);
    bed.audit().await;
}

#[tokio::test]
async fn the_gates_own_key_is_no_part_of_a_plan() {
    let bed = bed().await;
    let plan = offered(&bed.tool("keyed", r#"{"note":"n"}"#).await);
    assert!(!plan.to_string().contains("lg_"), "{plan}");
    let done = execute(&bed, "keyed", r#"{"note":"n"}"#, &reference(&plan)).await;
    assert!(done.result().contains("done"));
    let seen = bed.fake.of("tools/call");
    let key = seen[0].body.at(&["params", "arguments", "reference"]).unwrap().to_string();
    assert!(key.starts_with("\"lg_"), "{key}");
    // One of the caller's is part of it.
    let own = r#"{"note":"n","reference":"r-1"}"#;
    let given = reference(&offered(&bed.tool("keyed", own).await));
    assert!(why(&execute(&bed, "keyed", r#"{"note":"n"}"#, &given).await).contains("request"));
    execute(&bed, "keyed", own, &given).await.result();
    bed.audit().await;
}

/// An upstream whose preview counts rows, which grow between two looks.
async fn growing() -> (Bed, Arc<AtomicUsize>) {
    let rows = Arc::new(AtomicUsize::new(3));
    let shown = Arc::clone(&rows);
    let fake = Fake::start("[]", move |seen| {
        let rows = shown.load(Ordering::Relaxed);
        Box::pin(async move {
            let result = match seen.tool() {
                "would_drop" if rows == 0 => {
                    r#"{"content":[{"type":"text","text":"no such table"}],"isError":true}"#
                        .to_owned()
                }
                "would_drop" => format!(
                    r#"{{"content":[],"structuredContent":{{"rows":{rows},"at":{}}}}}"#,
                    seen.id()
                ),
                _ => r#"{"content":[{"type":"text","text":"done"}]}"#.to_owned(),
            };
            crate::upstream::answer(&seen, &result)
        })
    });
    (Bed::with(fake.await, plan()).await, rows)
}

const TABLE: &str = r#"{"table":"old"}"#;

#[tokio::test]
async fn a_preview_is_a_call_of_its_own_within_the_proposal() {
    let (bed, rows) = growing().await;
    let proposed = bed.tool("drop", TABLE).await;
    let plan = offered(&proposed);
    let shown = plan.at(&["preview", "result", "structuredContent", "rows"]).unwrap();
    assert_eq!(shown.to_string(), "3");
    assert_eq!(sent(&bed), ["would_drop"]);
    let story = bed.story().await;
    assert_eq!(story, ["intent desk/would_drop", "outcome succeeded", "refusal desk/drop"]);
    let preview = CallId::new(plan.at(&["preview", "call"]).unwrap().as_str().unwrap()).unwrap();
    let within = bed.trace(&preview).await.entries[0].leaf.get("within").unwrap().clone();
    assert_eq!(within.as_str(), Some(proposed.reply.call.as_str()));
    // It is not asked for again: what a preview says of times and ids is never the same.
    rows.store(4, Ordering::Relaxed);
    execute(&bed, "drop", TABLE, &reference(&plan)).await.result();
    assert_eq!(sent(&bed), ["would_drop", "drop"]);
    bed.audit().await;
}

#[tokio::test]
async fn what_a_preview_has_to_show_again_is_looked_at_again() {
    let (bed, rows) = growing().await;
    let given = reference(&offered(&bed.tool("prune", TABLE).await));
    rows.store(400, Ordering::Relaxed);
    let changed = execute(&bed, "prune", TABLE, &given).await;
    assert!(why(&changed).contains("the preview does not show the same"));
    rows.store(3, Ordering::Relaxed);
    let done = execute(&bed, "prune", TABLE, &given).await;
    assert!(done.result().contains("done"));
    // After it was done the preview shows otherwise, and the answer is what came of it.
    rows.store(0, Ordering::Relaxed);
    assert!(execute(&bed, "prune", TABLE, &given).await.result().contains("replayed"));
    assert_eq!(sent(&bed).iter().filter(|tool| *tool == "prune").count(), 1);
    bed.audit().await;
}

#[tokio::test]
async fn without_its_preview_nothing_is_offered() {
    let (bed, rows) = growing().await;
    rows.store(0, Ordering::Relaxed);
    let failed = bed.tool("drop", TABLE).await;
    assert_eq!(failed.code(), Code::PlanRequired);
    let made_up = made_up(&bed, &failed.reply.call).await;
    assert!(why(&execute(&bed, "drop", TABLE, &made_up).await).contains("no such plan"));
    // A preview that the rules refuse is none.
    let forbids = "forbid (principal, action == Action::\"desk/would_drop\", resource);";
    bed.load(Plan { policies: format!("{POLICIES}\n{forbids}"), ..plan() }).await;
    assert_eq!(bed.tool("drop", TABLE).await.code(), Code::PlanRequired);
    assert!(sent(&bed).iter().all(|tool| tool == "would_drop"));
    bed.audit().await;
}

#[tokio::test]
async fn who_agrees_to_a_plan_agrees_to_it_once() {
    let asks = format!(
        "{POLICIES}\n@require_approval(\"group:finance\")\n\
         forbid (principal, action == Action::\"desk/refund\", resource)\n\
         unless {{ context.approvals.contains(\"group:finance\") }};"
    );
    let fake = Fake::start("[]", says("done")).await;
    let bed = Bed::with(fake, Plan { policies: asks, ..plan() }).await;
    let plan = offered(&bed.tool("refund", REFUND).await);
    let request = plan.at(&["approval", "call"]).unwrap().as_str().unwrap();
    let (request, given) = (CallId::new(request).unwrap(), reference(&plan));
    let early = execute(&bed, "refund", REFUND, &given).await;
    assert_eq!(early.code(), Code::ApprovalRequired);
    // Proposed again it is another plan, and the same request.
    let other = offered(&bed.tool("refund", REFUND).await);
    assert_eq!(other.at(&["approval", "call"]), plan.at(&["approval", "call"]));
    assert_ne!(reference(&other), given);
    // What takes a plan up offers none.
    let made_up = made_up(&bed, &early.reply.call).await;
    assert!(why(&execute(&bed, "refund", REFUND, &made_up).await).contains("no such plan"));
    give(&bed, &finance("carla"), &request, "group:finance").await.unwrap();
    // Proposing again does not use it up.
    let second = offered(&bed.tool("refund", REFUND).await);
    assert!(second.get("approval").is_none());
    assert_eq!(sent(&bed), [""; 0]);
    assert!(execute(&bed, "refund", REFUND, &given).await.result().contains("done"));
    assert!(execute(&bed, "refund", REFUND, &given).await.result().contains("replayed"));
    let other = execute(&bed, "refund", REFUND, &reference(&second)).await;
    assert_eq!(other.code(), Code::ApprovalRequired, "another plan needs another approval");
    assert_eq!(sent(&bed), ["refund"]);
    bed.audit().await;
}

#[tokio::test]
async fn what_is_in_doubt_is_tried_again_whatever_became_of_its_plan() {
    let (clock, late) = late_clock();
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let fake = Fake::start("[]", move |seen| {
        let count = counted.fetch_add(1, Ordering::Relaxed);
        if count == 0 {
            // By the time it is tried again the plan has expired.
            late.store(3_600_000_000, Ordering::Relaxed);
        }
        Box::pin(async move {
            match count {
                0 => crate::upstream::reply(500, "text/plain", "oh"),
                _ => crate::upstream::answer(&seen, &crate::upstream::text_result("done")),
            }
        })
    });
    let bed = Bed::with(fake.await, Plan { clock, ..plan() }).await;
    let given = reference(&offered(&bed.tool("keyed", "{}").await));
    assert!(execute(&bed, "keyed", "{}", &given).await.result().contains("done"));
    assert_eq!(calls.load(Ordering::Relaxed), 2);
    bed.audit().await;
}

#[tokio::test]
async fn whoever_has_to_agree_sees_the_preview_what_is_touched_and_what_is_left() {
    let asks = format!(
        "{POLICIES}\n@require_approval(\"group:finance\")\n\
         forbid (principal, action in [Action::\"desk/refund\", Action::\"desk/drop\",\n\
         Action::\"desk/keyed\"], resource)\n\
         unless {{ context.approvals.contains(\"group:finance\") }};"
    );
    let caps = "[[cap]]\nname = \"refunds\"\nper = \"agent\"\noperations = [\"desk/refund\"]\n\
                sum = \"amount\"\nmax = 100\nwindow_s = 86400";
    let more = caps.to_owned();
    let fake = Fake::start("[]", says("would drop 3")).await;
    let bed = Bed::with(fake, Plan { policies: asks, more, ..plan() }).await;
    let evidence = async |plan: &Json| {
        let request = plan.at(&["approval", "call"]).unwrap().as_str().unwrap();
        let trace = bed.trace(&CallId::new(request).unwrap()).await;
        let parts = trace.entries.iter().filter_map(|entry| match &entry.payload {
            lockgate_store::Payload::Present(parts) => Some(parts),
            _ => None,
        });
        let found = parts.flatten().find(|part| part.name == "evidence").unwrap();
        Json::parse(&found.bytes, &JsonLimits::OWN).unwrap()
    };
    let text = |json: &Json, path: &[&str]| json.at(path).map(Json::to_string).unwrap_or_default();

    let dropped = evidence(&offered(&bed.tool("drop", r#"{"table":"old"}"#).await)).await;
    assert_eq!(text(&dropped, &["dry_run", "kind"]), "\"preview\"");
    assert!(text(&dropped, &["dry_run", "result"]).contains("would drop 3"), "{dropped}");
    assert_eq!(text(&dropped, &["what", "effect"]), "\"destructive\"");

    let plan = offered(&bed.tool("refund", REFUND).await);
    let refund = evidence(&plan).await;
    let request = CallId::new(plan.at(&["approval", "call"]).unwrap().as_str().unwrap()).unwrap();
    assert_eq!(text(&refund, &["dry_run", "kind"]), "\"request\"");
    assert!(text(&refund, &["what", "affected"]).contains("\"type\":\"Order\""), "{refund}");
    let cap =
        |evidence: &Json| evidence.at(&["risk", "caps"]).unwrap().as_array().unwrap()[0].clone();
    assert_eq!(text(&cap(&refund), &["remaining"]), "100");
    give(&bed, &finance("carla"), &request, "group:finance").await.unwrap();
    let done = execute(&bed, "refund", REFUND, &reference(&plan)).await;
    assert!(done.result().contains("would drop 3"));
    let again =
        evidence(&offered(&bed.tool("refund", r#"{"order":"o-8","amount":50}"#).await)).await;
    let cap = cap(&again);
    assert_eq!((text(&cap, &["used"]), text(&cap, &["remaining"])), ("30".into(), "70".into()));
    assert_eq!(text(&cap, &["amount"]), "50");

    // The key is the gate's own, where the caller gives none.
    let keyed = evidence(&offered(&bed.tool("keyed", r#"{"note":"n"}"#).await)).await;
    let arguments = text(&keyed, &["arguments"]);
    for origin in
        [r#"{"argument":"note","origin":"caller"}"#, r#"{"argument":"reference","origin":"gate"}"#]
    {
        assert!(arguments.contains(origin), "{arguments}");
    }
    assert_eq!(text(&keyed, &["what", "class"]), "\"idempotent\"");
    bed.audit().await;
}
