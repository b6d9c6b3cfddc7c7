//! I10: however a call ends, the log says so, verifies, and gives the same decisions again.

use crate::bed::{Bed, Plan, identity, json, params, soon};
use crate::upstream::{Fake, Later, Seen, answer, asks, error, question, reply, text_result};
use lockgate_effects::Presented;
use lockgate_kernel::{Answer, Proposal, Words};
use lockgate_store::{Payload, REFUSED_KEPT_BYTES_MAX, Store};
use lockgate_types::{CallId, Code, Json, Retry};
use std::sync::{Arc, OnceLock};
use tokio::sync::{Notify, mpsc};

/// An upstream whose answers go by the note it gets.
fn moody(release: &Arc<Notify>) -> impl Fn(Seen) -> Later + Send + Sync + 'static {
    let release = Arc::clone(release);
    move |seen| {
        let release = Arc::clone(&release);
        let note = seen.body.at(&["params", "arguments", "note"]).and_then(Json::as_str);
        let note = note.unwrap_or_default().to_owned();
        Box::pin(async move {
            match note.as_str() {
                "says no" => answer(&seen, r#"{"content":[],"isError":true}"#),
                "error" => error(&seen, r#"{"code":-32000,"message":"no","data":{"n":1}}"#),
                "breaks" => reply(500, "text/plain", "oh"),
                "babbles" => reply(200, "application/json", "{"),
                // How servers answer a form that they have worked through.
                "moved" => reply(301, "text/plain", ""),
                "found" => reply(302, "text/html", "<p>there"),
                "see other" => reply(303, "application/json", "{}"),
                "hangs" => std::future::pending().await,
                "waits" | "waits again" => {
                    release.notified().await;
                    answer(&seen, &text_result("late"))
                }
                _ => answer(&seen, &text_result("done")),
            }
        })
    }
}

#[tokio::test]
async fn of_a_refused_call_that_is_long_the_digest_is_kept() {
    let policy = "@id(\"agreed\") @require_approval(\"group:finance\")\n\
        forbid (principal, action == Action::\"desk/open\", resource)\n\
        unless { context.approvals.contains(\"group:finance\") };";
    let release = Arc::new(Notify::new());
    let bed = Bed::with(Fake::start("[]", moody(&release)).await, Plan::policy(policy)).await;
    let long = |length: usize| format!(r#"{{"note":"{}"}}"#, "x".repeat(length));
    let size_of = async |call: &CallId, part: &str| {
        let Payload::Present(parts) = bed.trace(call).await.entries[0].payload.clone() else {
            panic!("nothing is kept")
        };
        let found = parts.into_iter().find(|it| it.name == part);
        found.map(|part| part.bytes.len())
    };
    let short = bed.tool("sealed", &long(REFUSED_KEPT_BYTES_MAX / 2)).await;
    assert_eq!(short.code(), Code::AgentNotPermitted);
    let kept = size_of(&short.reply.call, "call").await.unwrap();
    assert!(kept > REFUSED_KEPT_BYTES_MAX / 2);
    let refused = bed.tool("sealed", &long(REFUSED_KEPT_BYTES_MAX)).await;
    assert_eq!(refused.code(), Code::AgentNotPermitted);
    let call = &refused.reply.call;
    assert_eq!(size_of(call, "call").await, None);
    assert_eq!(size_of(call, "call_digest").await, Some("sha256:".len() + 64));
    // What somebody may agree to is kept whole, and so is what is done.
    let asked = bed.tool("open", &long(REFUSED_KEPT_BYTES_MAX)).await;
    assert_eq!(asked.code(), Code::ApprovalRequired);
    assert!(size_of(&asked.reply.call, "call").await.unwrap() > REFUSED_KEPT_BYTES_MAX);
    let done = bed.tool("save", &long(REFUSED_KEPT_BYTES_MAX)).await;
    done.result();
    assert!(size_of(&done.reply.call, "call").await.unwrap() > REFUSED_KEPT_BYTES_MAX);
    assert_eq!(bed.audit().await, 3, "all but one are decided anew");
}

#[tokio::test]
async fn every_call_leaves_its_whole_story() {
    let release = Arc::new(Notify::new());
    let plan = Plan { upstream: "timeout_ms = 250".to_owned(), ..Plan::new() };
    let bed = Bed::with(Fake::start("[]", moody(&release)).await, plan).await;
    bed.tool("save", "{}").await.result();
    bed.tool("look", "{}").await.result();
    assert_eq!(bed.tool("sealed", "{}").await.code(), Code::AgentNotPermitted);
    bed.tool("save", r#"{"note":"says no"}"#).await.result();
    let failed = bed.tool("save", r#"{"note":"error"}"#).await;
    let Answer::Error(said) = &failed.reply.answer else { panic!() };
    assert_eq!((said.number, said.message.as_str()), (-32000, "no"));
    for note in ["breaks", "babbles", "hangs"] {
        let refused = bed.tool("save", &format!(r#"{{"note":"{note}"}}"#)).await;
        assert_eq!(refused.code(), Code::OutcomeInDoubt, "{note}");
    }
    assert_eq!(
        bed.story().await,
        [
            "intent desk/save",
            "outcome succeeded",
            "intent desk/look",
            "outcome succeeded",
            "refusal desk/sealed",
            "intent desk/save",
            "outcome failed",
            "intent desk/save",
            "outcome failed",
            "intent desk/save",
            "outcome in_doubt",
            "intent desk/save",
            "outcome in_doubt",
            "intent desk/save",
            "outcome in_doubt",
        ]
    );
    let trace = bed.trace(&failed.reply.call).await;
    let lockgate_store::Payload::Present(parts) = &trace.entries[1].payload else { panic!() };
    assert_eq!(parts[0].bytes, br#"{"code":-32000,"message":"no","data":{"n":1}}"#);
    assert_eq!(bed.audit().await, 8);
}

#[tokio::test]
async fn what_was_done_and_cannot_be_recorded_is_not_to_be_repeated() {
    let store: Arc<OnceLock<Store>> = Arc::default();
    let full = Arc::clone(&store);
    let fake = Fake::start("[]", move |seen| {
        let store = Arc::clone(&full);
        Box::pin(async move {
            // The disk gets full while the call is with the upstream.
            let pages = if seen.tool() == "save" { 1 } else { 1_000_000 };
            store.get().unwrap().set_database_pages_max(pages).await.unwrap();
            answer(&seen, &text_result(&"x".repeat(500_000)))
        })
    })
    .await;
    let keep = r#"
        @obligation_log("more")
        permit (principal, action == Action::"desk/save", resource);"#;
    let bed = Bed::with(fake, Plan::policy(keep)).await;
    store.set(bed.store().clone()).map_err(drop).unwrap();
    let done = bed.tool("save", "{}").await;
    let Answer::Refused(refusal) = &done.reply.answer else { panic!() };
    assert_eq!(refusal.code, Code::OutcomeInDoubt);
    assert_eq!(refusal.retry, Retry::No);
    assert!(refusal.reason.contains("LG-S001"), "{}", refusal.reason);
    // A read that was done in vain may be repeated; it finds space, and what is owed is recorded.
    bed.tool("look", "{}").await.result();
    let trace = bed.trace(&done.reply.call).await;
    assert_eq!(trace.entries[1].leaf.get("state").unwrap().as_str(), Some("succeeded"));
    bed.audit().await;
}

#[tokio::test]
async fn an_upstream_that_is_not_there_is_no_reason_to_doubt() {
    let fake = Fake::start("[]", |_| Box::pin(std::future::pending())).await;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let plan = Plan {
        more: format!("[upstream.gone]\nurl = \"http://{address}/mcp\"\n"),
        files: vec![
            ("operations/gone.toml", "[tool.t]\neffect = \"write\"\naccepted = true\n".to_owned()),
            (
                "policies/gone.cedar",
                r#"permit (principal, action == Action::"gone/t", resource);"#.to_owned(),
            ),
        ],
        ..Plan::new()
    };
    let bed = Bed::with(fake, plan).await;
    let (refused, _) = elsewhere(&bed, "gone", "t").await;
    assert_eq!(refused, Code::UpstreamUnreachable);
    assert_eq!(bed.story().await, ["intent gone/t", "outcome failed"]);
    bed.audit().await;
}

/// A child process that ends in mid-call.
const QUITTER: &str = r#"
import json, os, sys
for line in sys.stdin:
    message = json.loads(line)
    method, id = message.get("method"), message.get("id")
    if method == "initialize":
        result = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
                  "serverInfo": {"name": "child", "version": "1"}}
        print(json.dumps({"jsonrpc": "2.0", "id": id, "result": result}), flush=True)
    elif method == "tools/call":
        os._exit(3)
    elif id is not None:
        error = {"code": -32601, "message": "no such method"}
        print(json.dumps({"jsonrpc": "2.0", "id": id, "error": error}), flush=True)
"#;

#[tokio::test]
async fn a_process_that_ends_in_mid_call_leaves_a_doubt() {
    let fake = Fake::start("[]", |_| Box::pin(std::future::pending())).await;
    let operations = "[tool.t]\neffect = \"write\"\naccepted = true\n\
                      [tool.r]\neffect = \"read\"\naccepted = true\n";
    let permit = r#"permit (principal, action in [Action::"kid/t", Action::"kid/r"], resource);"#;
    let plan = Plan {
        more: format!("[upstream.kid]\ncommand = [\"python3\", \"-c\", '''{QUITTER}''']\n"),
        files: vec![
            ("operations/kid.toml", operations.to_owned()),
            ("policies/kid.cedar", permit.to_owned()),
        ],
        ..Plan::new()
    };
    let bed = Bed::with(fake, plan).await;
    assert_eq!(elsewhere(&bed, "kid", "t").await.0, Code::OutcomeInDoubt);
    assert_eq!(elsewhere(&bed, "kid", "r").await.0, Code::UpstreamExited);
    let story = bed.story().await;
    assert_eq!(story[..2], ["intent kid/t", "outcome in_doubt"]);
    assert_eq!(story[2..], ["intent kid/r", "outcome truncated"]);
    bed.audit().await;
}

async fn elsewhere(bed: &Bed, upstream: &str, tool: &str) -> (Code, Json) {
    let who = identity("alice");
    let (client, _messages) = mpsc::channel(16);
    let proposal = Proposal {
        caller: crate::bed::caller(&who),
        identity: who,
        session: None,
        presented: Presented::Nothing,
        upstream: upstream.parse().unwrap(),
        method: "tools/call".to_owned(),
        params: params(tool, "{}"),
        words: Words::default(),
        traceparent: None,
        key: None,
        model: None,
        client,
    };
    let reply = soon(bed.kernel.call(proposal)).await;
    let Answer::Refused(refusal) = reply.answer else { panic!("it was not refused") };
    (refusal.code, refusal.to_json())
}

#[tokio::test]
async fn a_client_that_goes_away_loses_no_record() {
    let release = Arc::new(Notify::new());
    let bed = Bed::new(Fake::start("[]", moody(&release)).await).await;
    let alice = identity("alice");
    // A write that was let out is awaited, and not called back.
    let waits = params("save", r#"{"note":"waits"}"#);
    let (writing, client) = bed.begin(&alice, None, "tools/call", waits, 1);
    soon(bed.fake.until("tools/call", 1)).await;
    drop(client);
    // Time enough for a cancellation to arrive.
    bed.tool("look", "{}").await.result();
    release.notify_one();
    let reply = soon(writing).await.unwrap();
    assert!(matches!(reply.answer, Answer::Result(_)));
    assert!(bed.fake.of("notifications/cancelled").is_empty());
    let outcome = &bed.trace(&reply.call).await.entries[1].leaf;
    assert_eq!(outcome.get("state").unwrap().as_str(), Some("succeeded"));

    // Even if the task itself is ended, something is written down.
    let again = params("save", r#"{"note":"waits again"}"#);
    let (writing, _client) = bed.begin(&alice, None, "tools/call", again, 1);
    soon(bed.fake.until("tools/call", 3)).await;
    writing.abort();
    assert!(writing.await.is_err());
    let story = bed.story().await;
    assert_eq!(story[4..], ["intent desk/save", "outcome in_doubt"]);
    bed.audit().await;
}

#[tokio::test]
async fn a_read_whose_client_goes_away_is_called_back() {
    let fake = Fake::start("[]", |seen| {
        Box::pin(async move {
            let (stream, reply) = crate::upstream::events();
            // Keeps the stream open for as long as somebody reads it.
            std::mem::forget(stream);
            drop(seen);
            reply
        })
    })
    .await;
    let bed =
        Bed::with(fake, Plan { upstream: "timeout_ms = 500".to_owned(), ..Plan::new() }).await;
    let (reading, client) =
        bed.begin(&identity("alice"), None, "tools/call", params("look", "{}"), 1);
    let call = &soon(bed.fake.until("tools/call", 1)).await[0];
    drop(client);
    let cancelled = &soon(bed.fake.until("notifications/cancelled", 1)).await[0];
    let cancelled = cancelled.body.at(&["params", "requestId"]).unwrap();
    assert_eq!(cancelled.to_string(), call.id());
    soon(reading).await.unwrap();
    assert_eq!(bed.story().await, ["intent desk/look", "outcome truncated"]);
    bed.audit().await;
}

#[tokio::test]
async fn a_trace_shows_the_chain() {
    let questions = ["a", "b"].map(|id| question(id, "elicitation/create", r#"{"message":"?"}"#));
    let bed = Bed::new(Fake::start("[]", asks(questions.to_vec())).await).await;
    let yes = |_: &str, _: &_| Ok(json(r#"{"action":"accept"}"#));
    let call = params("save", "{}");
    let done = bed.call_with(&identity("alice"), "tools/call", call, yes).await;
    let trace = bed.trace(&done.reply.call).await;
    let text = |leaf: &Json, name: &str| {
        leaf.get(name).and_then(Json::as_str).unwrap_or_default().to_owned()
    };
    let mut chain: Vec<(String, String)> = trace
        .entries
        .iter()
        .map(|entry| (text(&entry.leaf, "k"), text(&entry.leaf, "within")))
        .collect();
    assert_eq!(chain[0], ("intent".to_owned(), String::new()));
    assert_eq!(chain[5], ("outcome".to_owned(), String::new()));
    chain.sort();
    let parent = done.reply.call.as_str().to_owned();
    let within = chain.iter().filter(|(_, within)| *within == parent).count();
    assert_eq!((chain.len(), within), (6, 2));
    // The trace of a child is its own.
    let child = text(&trace.entries[1].leaf, "call").parse().unwrap();
    assert_eq!(bed.trace(&child).await.entries.len(), 2);
    bed.audit().await;
}

#[tokio::test]
async fn a_write_that_is_answered_with_another_address_is_in_doubt() {
    let bed = Bed::new(Fake::start("[]", moody(&Arc::default())).await).await;
    for note in ["moved", "found", "see other"] {
        let refused = bed.tool("save", &format!(r#"{{"note":"{note}"}}"#)).await;
        assert_eq!(refused.code(), Code::OutcomeInDoubt, "{note}");
    }
    // Nor is the address followed: what was allowed is sent once.
    assert_eq!(bed.fake.of("tools/call").len(), 3);
    assert_eq!(bed.story().await, ["intent desk/save", "outcome in_doubt"].repeat(3));
    bed.audit().await;
}
