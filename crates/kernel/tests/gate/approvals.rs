//! Approvals: one exact action, once, by somebody else, by the rules of then.

use crate::bed::{Bed, Plan, identity, object, throw};
use crate::breakers::clock;
use crate::upstream::{Fake, answer, reply, says, text_result};
use lockgate_kernel::{Answer, Refusal, system_now};
use lockgate_store::{ApprovalState, Options, Store};
use lockgate_types::facts::Switch;
use lockgate_types::identity::Identity;
use lockgate_types::{CallId, Code, GroupName, Json, Object};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

const POLICIES: &str = r#"
@id("big") @require_approval("group:finance")
forbid (principal, action == Action::"desk/save", resource)
when { context.input has amount && context.input.amount.greaterThan(decimal("100.0")) }
unless { context.approvals.contains("group:finance") };

@id("two") @require_approval("2 of group:finance")
forbid (principal, action == Action::"desk/open", resource)
unless { context.approvals.contains("2 of group:finance") };

@id("may-approve")
permit (principal, action in [
    Action::"lockgate/approval_give", Action::"lockgate/approval_deny"
], resource);
"#;

const BIG: &str = r#"{"amount":500}"#;

async fn bed() -> Bed {
    Bed::with(Fake::start("[]", says("done")).await, Plan::policy(POLICIES)).await
}

fn member(name: &str, group: &str) -> Arc<Identity> {
    let mut who = Identity::clone(&identity(name));
    who.subject_groups.insert(GroupName::new(group).unwrap());
    who.agent = "second".parse().unwrap();
    Arc::new(who)
}

pub(crate) fn finance(name: &str) -> Arc<Identity> {
    member(name, "finance")
}

pub(crate) async fn give(
    bed: &Bed,
    who: &Arc<Identity>,
    request: &CallId,
    what: &str,
) -> Result<(), Code> {
    let arguments = object(&format!(r#"{{"call":"{request}","requirement":"{what}"}}"#));
    act(bed, who, "approval_give", arguments, async |by| {
        bed.kernel.approve(request, (what, ""), who, &by).await
    })
    .await
}

async fn deny(bed: &Bed, who: &Arc<Identity>, request: &CallId) -> Result<(), Code> {
    let arguments = object(&format!(r#"{{"call":"{request}"}}"#));
    act(bed, who, "approval_deny", arguments, async |by| bed.kernel.reject(request, &by).await)
        .await
}

async fn act(
    bed: &Bed,
    who: &Arc<Identity>,
    operation: &str,
    arguments: Object,
    perform: impl AsyncFnOnce(CallId) -> Result<(), Refusal>,
) -> Result<(), Code> {
    let perform = async |by| perform(by).await.map(|()| Json::Null);
    match bed.kernel.admin(who, (operation, arguments), None, perform).await.answer {
        Answer::Refused(refusal) => Err(refusal.code),
        Answer::Result(_) | Answer::Error(_) => Ok(()),
    }
}

/// Asks, and gives the request that waits.
async fn asks(bed: &Bed, tool: &str, arguments: &str) -> CallId {
    let done = bed.tool(tool, arguments).await;
    let Answer::Refused(refusal) = &done.reply.answer else { panic!("it was not refused") };
    assert_eq!(refusal.code, Code::ApprovalRequired);
    refusal.approval.clone().expect("it waits for somebody").call
}

async fn state(bed: &Bed, request: &CallId) -> ApprovalState {
    bed.store().approval_request(request).await.unwrap().unwrap().state
}

#[tokio::test]
async fn an_approved_action_is_performed_once_and_nothing_else_is() {
    let bed = bed().await;
    let request = asks(&bed, "save", BIG).await;
    assert_eq!(asks(&bed, "save", BIG).await, request, "the same is asked once");
    let carol = finance("carla");
    give(&bed, &carol, &request, "group:finance").await.unwrap();
    assert_eq!(give(&bed, &carol, &request, "group:finance").await, Err(Code::ApprovalClosed));
    // Other arguments, another subject, another agent: other proposals.
    let other = asks(&bed, "save", r#"{"amount":501}"#).await;
    assert_ne!(other, request);
    let bob = bed.tool_as(&identity("bob"), "save", BIG).await;
    assert_eq!(bob.code(), Code::ApprovalRequired);
    let mut second = Identity::clone(&identity("alice"));
    second.agent = "second".parse().unwrap();
    assert_eq!(bed.tool_as(&Arc::new(second), "save", BIG).await.code(), Code::ApprovalRequired);
    assert_eq!(bed.fake.of("tools/call").len(), 0);

    let done = bed.tool("save", BIG).await;
    assert!(done.result().contains("done"));
    assert_eq!(state(&bed, &request).await, ApprovalState::Spent);
    let moment = bed.part(&done.reply.call, "moment").await;
    assert!(moment.to_string().contains("group:finance"), "{moment}");
    // What was done is answered again; a second effect needs a second approval.
    bed.tool("save", BIG).await.result();
    *bed.key.lock().unwrap() = Some("again".to_owned());
    assert_ne!(asks(&bed, "save", BIG).await, request);
    assert_eq!(bed.fake.of("tools/call").len(), 1);
    bed.audit().await;
}

#[tokio::test]
async fn who_asks_who_may_not_and_who_says_no() {
    let bed = bed().await;
    let request = asks(&bed, "save", BIG).await;
    let own = give(&bed, &finance("alice"), &request, "group:finance").await;
    assert_eq!(own, Err(Code::SelfApproval));
    // Nor through the agent that asks, whoever it says it works for.
    let mut through = Identity::clone(&finance("carla"));
    through.agent = "bot".parse().unwrap();
    let through = give(&bed, &Arc::new(through), &request, "group:finance").await;
    assert_eq!(through, Err(Code::SelfApproval));
    let sales = give(&bed, &member("dave", "sales"), &request, "group:finance").await;
    assert_eq!(sales, Err(Code::ApproverNotEligible));
    let carla = finance("carla");
    assert_eq!(give(&bed, &carla, &request, "group:legal").await, Err(Code::ApproverNotEligible));
    let nothing = CallId::new("nothing").unwrap();
    assert_eq!(give(&bed, &carla, &nothing, "group:finance").await, Err(Code::RecordNotFound));
    deny(&bed, &carla, &request).await.unwrap();
    assert_eq!(give(&bed, &carla, &request, "group:finance").await, Err(Code::ApprovalClosed));
    assert_eq!(state(&bed, &request).await, ApprovalState::Denied);
    assert_ne!(asks(&bed, "save", BIG).await, request, "a new request");
    bed.audit().await;
}

#[tokio::test]
async fn a_quorum_is_that_many_people() {
    let bed = bed().await;
    let two = "2 of group:finance";
    let request = asks(&bed, "open", "{}").await;
    give(&bed, &finance("carla"), &request, two).await.unwrap();
    give(&bed, &finance("carla"), &request, two).await.unwrap();
    assert_eq!(state(&bed, &request).await, ApprovalState::Pending);
    assert_eq!(asks(&bed, "open", "{}").await, request);
    give(&bed, &finance("dora"), &request, two).await.unwrap();
    assert_eq!(state(&bed, &request).await, ApprovalState::Given);
    bed.tool("open", "{}").await.result();
    bed.audit().await;
}

#[tokio::test]
async fn no_approval_outlives_a_switch_or_the_rules_or_the_approvers_right() {
    let bed = bed().await;
    let carla = finance("carla");
    let given = async |arguments: &str| {
        let request = asks(&bed, "save", arguments).await;
        give(&bed, &carla, &request, "group:finance").await.unwrap();
        request
    };
    let request = given(r#"{"amount":500}"#).await;
    let switch = Switch { scope: "agent".to_owned(), name: "bot".to_owned() };
    let by = CallId::new("somebody").unwrap();
    throw(bed.store(), switch.clone(), &by).await.1.unwrap();
    bed.store().lift(switch, &by).await.unwrap().unwrap();
    assert_eq!(state(&bed, &request).await, ApprovalState::Cancelled);
    assert_eq!(bed.tool("save", r#"{"amount":500}"#).await.code(), Code::ApprovalRequired);

    // The approver is no longer one.
    let request = given(r#"{"amount":600}"#).await;
    let without = POLICIES
        .replace("permit (principal, action in", "permit (principal == User::\"x\", action in");
    bed.load(Plan::policy(&without)).await;
    assert_eq!(bed.tool("save", r#"{"amount":600}"#).await.code(), Code::ApprovalRequired);
    assert_eq!(state(&bed, &request).await, ApprovalState::Superseded);

    // What is asked for is forbidden now.
    bed.load(Plan::policy(POLICIES)).await;
    let (kept, open) =
        (given(r#"{"amount":700}"#).await, asks(&bed, "save", r#"{"amount":800}"#).await);
    let forbids =
        format!("{POLICIES}\nforbid (principal, action == Action::\"desk/save\", resource);");
    bed.load(Plan::policy(&forbids)).await;
    assert_eq!(bed.tool("save", r#"{"amount":700}"#).await.code(), Code::Forbidden);
    assert_eq!(state(&bed, &kept).await, ApprovalState::Given, "it has not been used");
    assert_eq!(give(&bed, &carla, &open, "group:finance").await, Err(Code::Forbidden));
    assert_eq!(state(&bed, &open).await, ApprovalState::Superseded);
    assert_eq!(bed.fake.of("tools/call").len(), 0);
    bed.audit().await;
}

#[tokio::test]
async fn a_request_ends_by_itself_and_outlives_the_gate() {
    let plan = Plan { more: "[limits]\napproval_ms = 1000".to_owned(), ..Plan::policy(POLICIES) };
    let bed = Bed::with(Fake::start("[]", says("done")).await, plan).await;
    let request = asks(&bed, "save", BIG).await;
    give(&bed, &finance("carla"), &request, "group:finance").await.unwrap();
    let expired = async || {
        while state(&bed, &request).await != ApprovalState::Expired {
            tokio::task::yield_now().await;
        }
    };
    crate::bed::soon(expired()).await;
    assert_ne!(asks(&bed, "save", BIG).await, request);

    bed.load(Plan::policy(POLICIES)).await;
    let request = asks(&bed, "save", r#"{"amount":900}"#).await;
    bed.store().clone().close().await.unwrap();
    let path = bed.directory.path().join("state");
    let origin = "test.example/gate".to_owned();
    let options = Options::new(path, origin, lockgate_kernel::system_now);
    let (store, _) = Store::open(options).unwrap();
    let open = store.approval_requests(10).await.unwrap();
    assert!(open.iter().any(|it| it.call == request && it.state == ApprovalState::Pending));
    store.close().await.unwrap();
}

#[tokio::test]
async fn who_agreed_to_an_effect_agreed_to_attempts_at_it() {
    let calls = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let fake = Fake::start("[]", move |seen| {
        let count = counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Box::pin(async move {
            match count {
                0 => crate::upstream::reply(500, "text/plain", "oh"),
                _ => crate::upstream::answer(&seen, &crate::upstream::text_result("done")),
            }
        })
    });
    let operations = "[tool.pay]\neffect = \"write\"\naccepted = true\nclass = \"idempotent\"\n\
        key = { header = \"Idempotency-Key\" }\n";
    let policies = POLICIES.replace("desk/open", "desk/pay").replace(
        "@id(\"may-approve\")",
        "permit (principal, action == Action::\"desk/pay\", resource);\n@id(\"may-approve\")",
    );
    let plan = Plan { operations: operations.to_owned(), ..Plan::policy(&policies) };
    let bed = Bed::with(fake.await, plan).await;
    let request = asks(&bed, "pay", "{}").await;
    for who in ["carla", "dora"] {
        give(&bed, &finance(who), &request, "2 of group:finance").await.unwrap();
    }
    assert!(bed.tool("pay", "{}").await.result().contains("done"));
    assert_eq!(calls.load(std::sync::atomic::Ordering::Relaxed), 2);
    assert_eq!(bed.store().approval_requests(10).await.unwrap(), []);
    bed.audit().await;
}

#[tokio::test]
async fn an_approval_is_not_spent_on_an_upstream_that_is_left_alone() {
    let is_well = Arc::new(AtomicBool::new(false));
    let feels = Arc::clone(&is_well);
    let fake = Fake::start("[]", move |seen| {
        let reply = match feels.load(Ordering::Relaxed) {
            true => answer(&seen, &text_result("done")),
            false => reply(500, "text/plain", "out of order"),
        };
        Box::pin(async move { reply })
    });
    let ahead = Arc::new(AtomicI64::new(0));
    let upstream = "breaker = { failures = 3 }".to_owned();
    let plan = Plan { upstream, clock: clock(&ahead), ..Plan::policy(POLICIES) };
    let bed = Bed::with(fake.await, plan).await;
    let request = asks(&bed, "save", BIG).await;
    give(&bed, &finance("carol"), &request, "group:finance").await.unwrap();
    for tool in ["look", "fetch", "look"] {
        bed.tool(tool, "{}").await.code();
    }
    assert_eq!(bed.tool("save", BIG).await.code(), Code::UpstreamBroken);
    let waits = bed.store().approval_request(&request).await.unwrap().unwrap();
    assert_eq!(waits.state, ApprovalState::Given);
    is_well.store(true, Ordering::Relaxed);
    ahead.store(1_000_000, Ordering::Relaxed);
    bed.tool("save", BIG).await.result();
    bed.audit().await;
}

#[tokio::test]
async fn a_sign_in_has_to_be_fresh_when_somebody_agrees_and_not_when_it_is_used() {
    const FRESH: &str = r#"
    @id("fresh") @step_up("max_age:300")
    forbid (principal, action == Action::"lockgate/approval_give", resource)
    unless { context.authentication has age_s && context.authentication.age_s <= 300 };"#;
    let ahead = Arc::new(AtomicI64::new(0));
    let plan = Plan { clock: clock(&ahead), ..Plan::policy(&format!("{POLICIES}{FRESH}")) };
    let bed = Bed::with(Fake::start("[]", says("done")).await, plan).await;
    let request = asks(&bed, "save", BIG).await;
    let carla = finance("carla");
    let signed_in = |seconds_ago: i64| {
        let mut who = Identity::clone(&carla);
        who.authentication.at = Some(system_now().0 / 1_000_000 - seconds_ago);
        Arc::new(who)
    };
    assert_eq!(give(&bed, &carla, &request, "group:finance").await, Err(Code::StepUpRequired));
    let stale = signed_in(3600);
    assert_eq!(give(&bed, &stale, &request, "group:finance").await, Err(Code::StepUpRequired));
    let fresh = signed_in(10);
    give(&bed, &fresh, &request, "group:finance").await.unwrap();

    // Half an hour later she could not agree with that token, and what she has agreed to holds.
    ahead.store(30 * 60 * 1_000_000, Ordering::Relaxed);
    let other = asks(&bed, "save", r#"{"amount":900}"#).await;
    assert_eq!(give(&bed, &fresh, &other, "group:finance").await, Err(Code::StepUpRequired));
    assert!(bed.tool("save", BIG).await.result().contains("done"));
    assert_eq!(state(&bed, &request).await, ApprovalState::Spent);

    // Whoever asks for more by now asks it of what she had.
    ahead.store(0, Ordering::Relaxed);
    let request = asks(&bed, "save", r#"{"amount":700}"#).await;
    give(&bed, &signed_in(200), &request, "group:finance").await.unwrap();
    bed.load(Plan::policy(&format!("{POLICIES}{FRESH}").replace("<= 300", "<= 100"))).await;
    let refused = bed.tool("save", r#"{"amount":700}"#).await;
    assert_eq!(refused.code(), Code::ApprovalRequired);
    assert_eq!(state(&bed, &request).await, ApprovalState::Superseded);
    bed.audit().await;
}
