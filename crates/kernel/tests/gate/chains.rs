//! I9: what was met is known wherever it is to be decided on. Each action is allowed, the chain of
//! them is not.

use crate::bed::{Bed, Plan, identity, params, soon};
use crate::breakers::clock;
use crate::upstream::{Fake, Seen, answer, error, says, text_result};
use lockgate_types::identity::Identity;
use lockgate_types::{CallId, Code, Json};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use tokio::sync::Notify;

const OPERATIONS: &str = r#"
[tool.private]
effect = "read"
accepted = true
returns = { origin = "system", confidentiality = "confidential" }

[tool.web]
effect = "read"
accepted = true

[tool.clock]
effect = "read"
accepted = true
returns = { origin = "system" }

[tool.send]
effect = "egress"
accepted = true
returns = { origin = "system" }
"#;

/// Private data, strangers' words, a way out.
const TOXIC: &str = r#"
@id("parts")
permit (principal, action in [
    Action::"desk/private", Action::"desk/web", Action::"desk/clock", Action::"desk/send"
], resource);

@id("toxic")
@reason("nothing leaves after private data and strangers' words were read")
forbid (principal, action in Action::"egress", resource)
when { context.history.containsAll(["confidentiality:confidential", "origin:anyone"]) };
"#;

fn plan(policies: &str) -> Plan {
    let policies = format!("{TOXIC}{policies}");
    Plan { operations: OPERATIONS.to_owned(), policies, ..Plan::new() }
}

async fn desk() -> Fake {
    Fake::start("[]", says("words")).await
}

fn through(agent: &str) -> Arc<Identity> {
    Arc::new(Identity { agent: agent.parse().unwrap(), ..Identity::clone(&identity("alice")) })
}

/// The steps that a refused call's decision shows.
async fn path(bed: &Bed, call: &CallId) -> Vec<(String, String)> {
    let decision = bed.part(call, "decision").await;
    let steps = decision.at(&["denial", "path"]).and_then(Json::as_array).unwrap();
    let text = |step: &Json, name| step.get(name).and_then(Json::as_str).unwrap().to_owned();
    steps.iter().map(|step| (text(step, "tag"), text(step, "call"))).collect()
}

#[tokio::test]
async fn each_action_is_allowed_and_the_chain_is_refused_with_its_path() {
    let bed = Bed::with(desk().await, plan("")).await;
    let alice = identity("alice");
    bed.tool_in(&alice, "s1", "send", "{}").await.result();
    let private = bed.tool_in(&alice, "s1", "private", "{}").await;
    bed.tool_in(&alice, "s1", "send", "{}").await.result();
    let web = bed.tool_in(&alice, "s1", "web", "{}").await;
    let refused = bed.tool_in(&alice, "s1", "send", "{}").await;
    assert_eq!(refused.code(), Code::Forbidden);
    let [private, web] = [private.reply.call, web.reply.call];
    let expected = [
        ("confidentiality:confidential".to_owned(), private.to_string()),
        ("origin:anyone".to_owned(), web.to_string()),
    ];
    assert_eq!(path(&bed, &refused.reply.call).await, expected);
    let lockgate_kernel::Answer::Refused(refusal) = &refused.reply.answer else { panic!() };
    assert!(refusal.reason.contains(private.as_str()), "{}", refusal.reason);
    // Others are not concerned.
    bed.tool_in(&identity("bob"), "s1", "send", "{}").await.result();
    bed.audit().await;
}

#[tokio::test]
async fn a_new_session_and_another_agent_shed_nothing() {
    for (reader, session) in [("bot", "s2"), ("second", "s1"), ("second", "s2")] {
        let bed = Bed::with(desk().await, plan("")).await;
        let read = bed.tool_in(&through("bot"), "s1", "private", "{}").await;
        let web = bed.tool_in(&through(reader), session, "web", "{}").await;
        let sender = through("second");
        let refused = bed.tool_in(&sender, "s3", "send", "{}").await;
        assert_eq!(refused.code(), Code::Forbidden);
        let expected = [
            ("confidentiality:confidential".to_owned(), read.reply.call.to_string()),
            ("origin:anyone".to_owned(), web.reply.call.to_string()),
        ];
        assert_eq!(path(&bed, &refused.reply.call).await, expected);
        // Without a session's id it is the same.
        assert_eq!(bed.tool_as(&sender, "send", "{}").await.code(), Code::Forbidden);
        bed.audit().await;
    }
}

#[tokio::test]
async fn an_agent_of_another_isolation_group_is_not_concerned() {
    let more = "[isolation.group.alone]\nagents = [\"second\"]".to_owned();
    let bed = Bed::with(desk().await, Plan { more, ..plan("") }).await;
    bed.tool_in(&through("bot"), "s1", "private", "{}").await.result();
    bed.tool_in(&through("bot"), "s1", "web", "{}").await.result();
    bed.tool_in(&through("second"), "s2", "send", "{}").await.result();
    assert_eq!(bed.tool_as(&through("bot"), "send", "{}").await.code(), Code::Forbidden);
    bed.audit().await;
}

#[tokio::test]
async fn a_restart_sheds_nothing() {
    let bed = Bed::with(desk().await, plan("")).await;
    bed.tool_in(&through("bot"), "s1", "private", "{}").await.result();
    bed.tool_in(&through("bot"), "s1", "web", "{}").await.result();
    let bed = bed.restart(plan("")).await;
    assert_eq!(bed.tool_in(&through("second"), "s2", "send", "{}").await.code(), Code::Forbidden);
    bed.audit().await;
}

#[tokio::test]
async fn what_was_met_is_kept_for_the_window() {
    let ahead = Arc::new(AtomicI64::new(0));
    let more = "[isolation]\nwindow_s = 3600".to_owned();
    let bed = Bed::with(desk().await, Plan { more, clock: clock(&ahead), ..plan("") }).await;
    let minutes = |minutes: i64| ahead.store(minutes * 60 * 1_000_000, Ordering::SeqCst);
    // An hour and four minutes ago it was an hour's and a sixteenth, and not yet over at 59.
    minutes(-64);
    bed.tool_in(&through("bot"), "s1", "private", "{}").await.result();
    minutes(-59);
    bed.tool_in(&through("bot"), "s1", "web", "{}").await.result();
    minutes(0);
    bed.tool_in(&through("bot"), "s2", "send", "{}").await.result();
    minutes(-59);
    bed.tool_in(&through("bot"), "s1", "private", "{}").await.result();
    minutes(0);
    assert_eq!(bed.tool_in(&through("bot"), "s2", "send", "{}").await.code(), Code::Forbidden);
    bed.audit().await;
}

#[tokio::test]
async fn a_new_session_begins_with_what_its_group_was_exposed_to() {
    let labels = r#"
        @id("careful")
        forbid (principal, action == Action::"desk/save", resource)
        when { context.exposure.confidentiality == "confidential"
            || context.exposure.origins.contains("anyone") };"#;
    let bed = Bed::with(desk().await, plan(labels)).await;
    bed.tool_in(&through("bot"), "s1", "clock", "{}").await.result();
    let fresh = bed.tool_in(&through("bot"), "s1", "save", "{}").await;
    let moment = bed.part(&fresh.reply.call, "moment").await;
    let exposure = |name| moment.at(&["exposure", name]).map(Json::to_string);
    assert_eq!(exposure("integrity").as_deref(), Some("\"trusted\""));
    assert_eq!(exposure("origins").as_deref(), Some("[\"system\"]"));
    assert!(exposure("oldest").is_some());
    // What was saved was answered in anybody's words.
    let refused = bed.tool_in(&through("second"), "s2", "save", "{}").await;
    assert_eq!(refused.code(), Code::Forbidden);
    let expected = [
        ("origin:system".to_owned(), fresh_call(&bed, 0).await),
        ("origin:anyone".to_owned(), fresh.reply.call.to_string()),
    ];
    assert_eq!(path(&bed, &refused.reply.call).await, expected);
    bed.audit().await;
}

/// The call of an entry that is about one, by its place among these.
async fn fresh_call(bed: &Bed, at: usize) -> String {
    let entries = bed.entries().await;
    let mut calls = entries.iter().filter_map(|entry| entry.get("call").and_then(Json::as_str));
    calls.nth(at).unwrap().to_owned()
}

#[tokio::test]
async fn a_write_counts_from_its_intent() {
    let never = r#"
        @id("not-after-opening")
        forbid (principal, action == Action::"desk/save", resource)
        when { context.history.contains("desk/open") };"#;
    let (reached, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (arrived, released) = (Arc::clone(&reached), Arc::clone(&release));
    let fake = Fake::start("[]", move |seen: Seen| {
        let (arrived, released) = (Arc::clone(&arrived), Arc::clone(&released));
        Box::pin(async move {
            if seen.tool() == "open" {
                arrived.notify_one();
                released.notified().await;
            }
            answer(&seen, &text_result("done"))
        })
    });
    let bed = Bed::with(fake.await, plan(never)).await;
    bed.tool("save", "{}").await.result();
    let opening = bed.start("open", "{}");
    soon(reached.notified()).await;
    let refused = bed.tool_in(&through("second"), "s9", "save", "{}").await;
    release.notify_one();
    let opened = soon(opening).await.unwrap();
    assert_eq!(refused.code(), Code::Forbidden);
    let expected = [("desk/open".to_owned(), opened.call.to_string())];
    assert_eq!(path(&bed, &refused.reply.call).await, expected);
    bed.audit().await;
}

#[tokio::test]
async fn only_if_before_means_in_this_session_where_the_policy_says_so() {
    let first = r#"
        @id("look-first")
        @reason("look first")
        forbid (principal, action == Action::"desk/save", resource)
        unless { context.session_history.contains("desk/look") };"#;
    let fake = Fake::start("[]", |seen: Seen| {
        Box::pin(async move {
            let fails = seen.body.at(&["params", "arguments", "who"]).is_some();
            let done = text_result("done");
            let failed = r#"{"content":[{"type":"text","text":"no"}],"isError":true}"#;
            answer(&seen, if fails { failed } else { &done })
        })
    });
    let bed = Bed::with(fake.await, plan(first)).await;
    let bot = through("bot");
    assert_eq!(bed.tool_in(&bot, "s1", "save", "{}").await.code(), Code::Forbidden);
    // What has failed was not done.
    bed.tool_in(&bot, "s1", "look", r#"{"who":"x"}"#).await.result();
    assert_eq!(bed.tool_in(&bot, "s1", "save", "{}").await.code(), Code::Forbidden);
    bed.tool_in(&bot, "s1", "look", "{}").await.result();
    bed.tool_in(&bot, "s1", "save", "{}").await.result();
    assert_eq!(bed.tool_in(&bot, "s2", "save", "{}").await.code(), Code::Forbidden);
    bed.audit().await;
}

#[tokio::test]
async fn errors_are_anybodys_words_and_what_is_redacted_was_not_met() {
    let rules = r#"
        @id("no-addresses")
        forbid (principal, action == Action::"desk/save", resource)
        when { context.history.contains("pii:email") };
        @id("no-accounts")
        forbid (principal, action == Action::"desk/open", resource)
        when { context.history.contains("pii:iban") };
        @id("no-strangers")
        forbid (principal, action == Action::"desk/counted", resource)
        when { context.history.contains("origin:anyone") };
        @id("hidden")
        @obligation_redact("pii:email")
        permit (principal, action == Action::"desk/clock", resource);"#;
    let fake = Fake::start("[]", |seen: Seen| {
        Box::pin(async move {
            if seen.tool() == "private" {
                return error(&seen, r#"{"code":-1,"message":"try again"}"#);
            }
            answer(&seen, &text_result("ada@mail.example DE89370400440532013000"))
        })
    });
    let bed = Bed::with(fake.await, plan(rules)).await;
    let bot = through("bot");
    let read = bed.tool_in(&bot, "s1", "clock", "{}").await;
    assert!(!read.result().contains("ada@"), "{}", read.result());
    let label = bed.trace(&read.reply.call).await.entries[1].leaf.get("label").unwrap().to_string();
    let expected =
        r#"{"confidentiality":"public","integrity":"trusted","origins":["system"],"pii":["iban"]}"#;
    assert_eq!(label, expected);
    let counted = r#"{"amount":1}"#;
    assert_eq!(bed.tool_in(&bot, "s1", "open", "{}").await.code(), Code::Forbidden);
    // It is the system's own, as declared, until it fails.
    let failed = bed.tool_in(&bot, "s1", "private", "{}").await;
    let refused = bed.tool_in(&bot, "s1", "counted", counted).await;
    assert_eq!(refused.code(), Code::Forbidden);
    let expected = [("origin:anyone".to_owned(), failed.reply.call.to_string())];
    assert_eq!(path(&bed, &refused.reply.call).await, expected);
    bed.tool_in(&bot, "s1", "save", "{}").await.result();
    assert_eq!(bed.tool_in(&bot, "s1", "save", "{}").await.code(), Code::Forbidden);
    bed.audit().await;
}

#[tokio::test]
async fn an_answer_that_is_given_again_is_met_again() {
    let more = "[isolation]\nwindow_s = 3600\n[isolation.group.alone]\nagents = [\"second\"]";
    let operations = OPERATIONS.replace(
        "effect = \"egress\"\naccepted = true\nreturns = { origin = \"system\" }",
        "effect = \"egress\"\naccepted = true\nkey = { meta = \"k\" }\nclass = \"idempotent\"",
    );
    let after = r#"
        @id("after")
        forbid (principal, action == Action::"desk/save", resource)
        when { context.history.contains("origin:anyone") };"#;
    let ahead = Arc::new(AtomicI64::new(0));
    let plan = Plan { more: more.to_owned(), operations, clock: clock(&ahead), ..plan(after) };
    let bed = Bed::with(desk().await, plan).await;
    *bed.key.lock().unwrap() = Some("k-1".to_owned());
    // So long ago that it is forgotten.
    ahead.store(-70 * 60 * 1_000_000, Ordering::SeqCst);
    bed.tool_in(&through("bot"), "s1", "send", "{}").await.result();
    ahead.store(0, Ordering::SeqCst);
    let again = bed.tool_in(&through("bot"), "s1", "send", "{}").await;
    assert!(again.result().contains("replayed"), "{}", again.result());
    *bed.key.lock().unwrap() = None;
    let refused = bed.tool_in(&through("bot"), "s2", "save", "{}").await;
    assert_eq!(refused.code(), Code::Forbidden);
    let expected = [("origin:anyone".to_owned(), again.reply.call.to_string())];
    assert_eq!(path(&bed, &refused.reply.call).await, expected);
    bed.audit().await;
}

#[tokio::test]
async fn nothing_is_kept_where_nobody_looks_back() {
    let parts = TOXIC.split("@id(\"toxic\")").next().unwrap();
    let quiet = |more: &str| Plan {
        policies: parts.to_owned(),
        operations: OPERATIONS.to_owned(),
        more: more.to_owned(),
        ..Plan::new()
    };
    let bed = Bed::with(desk().await, quiet("")).await;
    let read = bed.tool_in(&through("bot"), "s1", "private", "{}").await;
    let moment = bed.part(&read.reply.call, "moment").await;
    assert!(moment.get("history").is_none(), "{moment}");
    let bed = bed.restart(plan("")).await;
    bed.tool_in(&through("bot"), "s1", "web", "{}").await.result();
    bed.tool_in(&through("bot"), "s2", "send", "{}").await.result();
    bed.audit().await;

    // Unless the bundle says so: then tomorrow's policy knows of today.
    let bed = Bed::with(desk().await, quiet("[isolation]\nwindow_s = 86400")).await;
    bed.tool_in(&through("bot"), "s1", "private", "{}").await.result();
    let bed = bed.restart(plan("")).await;
    bed.tool_in(&through("bot"), "s1", "web", "{}").await.result();
    assert_eq!(bed.tool_in(&through("bot"), "s2", "send", "{}").await.code(), Code::Forbidden);
    bed.audit().await;
}

#[tokio::test]
async fn a_question_to_the_client_is_met_by_the_session() {
    let after = r#"
        @id("after")
        forbid (principal, action == Action::"desk/save", resource)
        when { context.history.contains("pii:email") };"#;
    let asked = crate::upstream::question(
        "q",
        "elicitation/create",
        r#"{"message":"write to ada@mail.example?"}"#,
    );
    let fake = Fake::start("[]", crate::upstream::asks(vec![asked])).await;
    let bed = Bed::with(fake, plan(after)).await;
    bed.call(&through("bot"), "tools/call", params("look", "{}")).await;
    assert_eq!(bed.tool_in(&through("second"), "s2", "save", "{}").await.code(), Code::Forbidden);
    bed.audit().await;
}
