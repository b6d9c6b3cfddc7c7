use super::fake::eventually;
use super::*;
use lockgate_core::declare::{Secret, SecretCommand};
use lockgate_types::Code;

/// A server with sessions on standard streams: tools that show what a child process knows and does.
const SERVER: &str = r#"
import json, os, sys

def say(message):
    message["jsonrpc"] = "2.0"
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()

print("a line that is no message", flush=True)
print("started", file=sys.stderr, flush=True)
pending = None
for line in sys.stdin:
    message = json.loads(line)
    method, params, id = message.get("method"), message.get("params", {}), message.get("id")
    if method is None:
        say({"id": pending, "result": {"answered": message.get("result"), "error": message.get("error")}})
    elif method == "initialize":
        say({"id": id, "result": {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
             "serverInfo": {"name": "child", "version": "1"}, "client": params}})
    elif method == "tools/list":
        say({"id": id, "result": {"tools": [{"name": "env"}]}})
    elif id is None:
        print(method, file=sys.stderr, flush=True)
    elif method != "tools/call":
        say({"id": id, "error": {"code": -32601, "message": "no such method"}})
    else:
        tool = params["name"]
        if tool == "env":
            say({"id": id, "result": {"env": dict(os.environ), "cwd": os.getcwd(), "pid": os.getpid()}})
        elif tool == "tell":
            print("it is " + os.environ["SECRET"] + " here", file=sys.stderr, flush=True)
            say({"id": id, "result": {}})
        elif tool == "exit":
            print("about to exit", file=sys.stderr, flush=True)
            os._exit(3)
        elif tool == "ask":
            pending = id
            token = params.get("_meta", {}).get("progressToken")
            say({"method": "notifications/progress", "params": {"progressToken": token, "progress": 1}})
            say({"id": "q", "method": "elicitation/create", "params": {"message": "?"}})
        elif tool == "spoil":
            say({"id": id, "result": {}, "error": {"code": 1, "message": ""}})
        elif tool == "large":
            say({"id": id, "result": "x" * 100000})
        elif tool == "hang":
            pass
        elif tool == "change":
            say({"method": "notifications/tools/list_changed"})
            say({"id": id, "result": {}})
        else:
            say({"id": id, "result": {"tool": tool}})
"#;

/// The same for the stateless era.
const STATELESS: &str = r#"
import json, sys

def say(message):
    message["jsonrpc"] = "2.0"
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()

for line in sys.stdin:
    message = json.loads(line)
    method, params, id = message.get("method"), message.get("params", {}), message.get("id")
    meta = params.get("_meta", {})
    if method == "server/discover":
        say({"id": id, "result": {"resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": {}}})
    elif method == "subscriptions/listen":
        mark = {"_meta": {"io.modelcontextprotocol/subscriptionId": id}}
        say({"method": "notifications/subscriptions/acknowledged", "params": mark})
    elif method == "tools/call" and "inputResponses" in params:
        say({"id": id, "result": {"resultType": "complete", "content": [], "got": params["inputResponses"]}})
    elif method == "tools/call" and params["name"] == "ask":
        say({"id": id, "result": {"resultType": "input_required",
             "inputRequests": {"r": {"method": "roots/list"}}, "requestState": "s"}})
    elif id is not None:
        say({"id": id, "error": {"code": -32601, "message": "no such method"}})
"#;

fn python(script: &str) -> declare::Upstream {
    // The interpreter itself: a version manager in front of it would set variables of its own.
    let found = std::process::Command::new("python3")
        .args(["-c", "import sys; print(sys.executable)"])
        .output()
        .unwrap();
    let interpreter = String::from_utf8(found.stdout).unwrap().trim().to_owned();
    let mut child = declared("");
    child.url = None;
    child.command = Some(vec![interpreter, "-c".to_owned(), script.to_owned()]);
    child
}

async fn run(gate: &Upstreams, call: Call, era: Era) -> End {
    finish(gate.launch(call, caller(era))).await.1
}

#[tokio::test]
async fn a_child_sees_a_cleared_environment_and_one_process_serves_one_key() {
    let mut child = python(SERVER);
    child.env.insert("SET".to_owned(), Secret::Text("by the bundle".to_owned()));
    child.pass_env = vec!["USER".to_owned(), "LOCKGATE_NOT_SET_ANYWHERE".to_owned()];
    child.directory = Some("/".to_owned());
    let gate = gate(&[("up", child)]);
    let first = result(run(&gate, tool("up", "env", "{}"), Era::Sessions).await);
    let names: Vec<&str> =
        first.get("env").and_then(Json::as_object).unwrap().iter().map(|(name, _)| name).collect();
    // What the interpreter sets for itself is not ours.
    let allowed = ["PATH", "HOME", "SET", "USER", "LC_CTYPE"];
    assert!(names.iter().all(|name| allowed.contains(name)), "{names:?}");
    assert!(names.contains(&"SET") && names.contains(&"PATH"));
    assert!(std::env::vars().count() > names.len());
    assert_eq!(first.get("cwd").and_then(Json::as_str), Some("/"));
    let second = result(run(&gate, tool("up", "env", "{}"), Era::Sessions).await);
    assert_eq!(first.get("pid"), second.get("pid"));
    let bob =
        Arc::new(Caller { session_key: "bob".to_owned(), ..(*caller(Era::Sessions)).clone() });
    let third = result(finish(gate.launch(tool("up", "env", "{}"), bob)).await.1);
    assert_ne!(first.get("pid"), third.get("pid"));
    assert_eq!(gate.health()[0].pids.len(), 2);
    gate.close_session("bob").await;
    assert_eq!(gate.health()[0].pids.len(), 1);
}

#[tokio::test]
async fn a_secret_that_a_child_gets_is_not_kept_of_what_it_says() {
    let mut child = python(SERVER);
    let printed = SecretCommand {
        command: vec!["/bin/echo".to_owned(), "hunter2".to_owned()],
        lifetime_s: 60,
    };
    child.env.insert("SECRET".to_owned(), Secret::Command(printed));
    let mut without = python(SERVER);
    without.env.insert("SECRET".to_owned(), Secret::Text("file:/nowhere/at/all".to_owned()));
    let gate = gate(&[("up", child), ("without", without)]);
    let told = result(run(&gate, tool("up", "env", "{}"), Era::Sessions).await);
    assert_eq!(told.at(&["env", "SECRET"]).and_then(Json::as_str), Some("hunter2"));
    result(run(&gate, tool("up", "tell", "{}"), Era::Sessions).await);
    let is_told = || gate.health()[0].stderr.iter().any(|it| it == "it is [redacted] here");
    eventually(|| is_told().then_some(())).await;
    let end = run(&gate, tool("without", "env", "{}"), Era::Sessions).await;
    let End::Failed { code, detail, dispatched: false } = end else { panic!("{end:?}") };
    assert_eq!(code, Code::SecretUnreadable, "{detail}");
    assert!(gate.health()[1].pids.is_empty(), "nothing is started without it");
}

#[tokio::test]
async fn questions_and_progress_find_their_call() {
    let gate = gate(&[("up", python(SERVER))]);
    let mut asking = tool("up", "ask", "{}");
    asking.params.set("_meta", json(r#"{"progressToken":"p"}"#));
    let running = gate.launch(asking, caller(Era::Sessions));
    let (said, end) = finish_with(running, |_, _| Ok(json(r#"{"action":"accept"}"#))).await;
    assert_eq!(
        said,
        [r#"notifications/progress {"progressToken":"p","progress":1}"#, "elicitation/create?",]
    );
    assert_eq!(result(end).to_string(), r#"{"answered":{"action":"accept"},"error":null}"#);
}

#[tokio::test]
async fn a_process_that_ends_in_mid_call_is_started_again() {
    let gate = gate(&[("up", python(SERVER))]);
    let End::Failed { code, dispatched, detail } =
        run(&gate, tool("up", "exit", "{}"), Era::Sessions).await
    else {
        panic!()
    };
    assert_eq!((code, dispatched), (Code::UpstreamExited, true));
    assert!(detail.contains("exit status: 3"), "{detail}");
    let again = result(run(&gate, tool("up", "again", "{}"), Era::Sessions).await);
    assert_eq!(again.to_string(), r#"{"tool":"again"}"#);
    let lines = gate.health()[0].stderr.clone();
    assert!(lines.contains(&"about to exit".to_owned()), "{lines:?}");
}

#[tokio::test]
async fn spoiled_and_large_lines_end_the_process() {
    // Two upstreams, because one whose process ends twice in a row is waited out.
    for (name, code) in [("spoil", Code::UpstreamProtocol), ("large", Code::UpstreamTooLarge)] {
        let gate = gate_with(&[("up", python(SERVER))], 50_000);
        let end = run(&gate, tool("up", name, "{}"), Era::Sessions).await;
        let End::Failed { code: seen, dispatched, .. } = end else { panic!("{end:?}") };
        assert_eq!((seen, dispatched), (code, true));
    }
}

#[tokio::test]
async fn a_process_that_cannot_start_is_not_started_at_every_call() {
    let mut missing = python("");
    missing.command = Some(vec!["/nowhere/lockgate-no-such-program".to_owned()]);
    let failing = python("import sys; print('broken', file=sys.stderr); sys.exit(1)");
    let gate = gate(&[("missing", missing), ("failing", failing)]);
    for name in ["missing", "failing"] {
        let mut details = Vec::new();
        for _ in 0..4 {
            let End::Failed { dispatched, detail, .. } =
                run(&gate, tool(name, "t", "{}"), Era::Sessions).await
            else {
                panic!()
            };
            assert!(!dispatched);
            details.push(detail);
        }
        assert!(details[3].contains("keeps failing"), "{details:?}");
    }
}

#[tokio::test]
async fn a_configuration_that_mentions_the_state_directory_is_not_started() {
    let mut telling = python(SERVER);
    telling
        .env
        .insert("WHERE".to_owned(), Secret::Text("file:///nowhere/lockgate-state/db".to_owned()));
    let gate = gate(&[("up", telling)]);
    let End::Failed { code, detail, .. } = run(&gate, tool("up", "env", "{}"), Era::Sessions).await
    else {
        panic!()
    };
    assert_eq!(code, Code::UpstreamUnreachable);
    assert!(detail.contains("state directory"), "{detail}");
}

#[tokio::test]
async fn both_eras_are_spoken_on_standard_streams() {
    let gate = gate(&[("old", python(SERVER)), ("new", python(STATELESS))]);
    // A stateless caller at a process with sessions.
    let end = result(run(&gate, stateless_tool("old", "t", "{}"), Era::Stateless).await);
    assert_eq!(end.get("resultType").and_then(Json::as_str), Some("complete"));
    // A caller with a session at a stateless process.
    let running = gate.launch(tool("new", "ask", "{}"), caller(Era::Sessions));
    let (said, end) = finish_with(running, |_, _| Ok(json(r#"{"roots":[]}"#))).await;
    assert_eq!(said, ["roots/list?"]);
    assert_eq!(result(end).to_string(), r#"{"content":[],"got":{"r":{"roots":[]}}}"#);
    // A subscription, by its mark.
    let params = object(&format!(r#"{{"notifications":{{}},"_meta":{META}}}"#));
    let listening = call("new", "subscriptions/listen", params);
    let mut running = gate.launch(listening, caller(Era::Stateless));
    let Signal::Notification { method, .. } = running.next().await else { panic!() };
    assert_eq!(method, "notifications/subscriptions/acknowledged");
}

#[tokio::test]
async fn a_child_that_does_not_answer_times_out() {
    let mut slow = python(SERVER);
    slow.timeout_ms = 2_000;
    let gate = gate(&[("up", slow)]);
    result(run(&gate, tool("up", "warm", "{}"), Era::Sessions).await);
    let running = gate.launch(tool("up", "hang", "{}"), caller(Era::Sessions));
    running.command(Command::Cancel { reason: None });
    let End::Failed { code, dispatched, .. } = finish(running).await.1 else { panic!() };
    assert_eq!((code, dispatched), (Code::UpstreamTimeout, true));
    let lines = gate.health()[0].stderr.clone();
    assert!(lines.contains(&"notifications/cancelled".to_owned()), "{lines:?}");
}

#[tokio::test]
async fn what_is_said_outside_of_calls_goes_to_whoever_listens() {
    let gate = gate(&[("up", python(SERVER))]);
    let who = caller(Era::Sessions);
    let (said, _) = finish(gate.launch(tool("up", "change", "{}"), Arc::clone(&who))).await;
    assert_eq!(said, ["notifications/tools/list_changed {}"]);
    let mut heard = gate.listen(&name("up"), &who).await;
    loop {
        // The listener is there some time after it was asked for.
        let (said, _) = finish(gate.launch(tool("up", "change", "{}"), Arc::clone(&who))).await;
        if said.is_empty() {
            break;
        }
    }
    let Some(crate::Event::Notification { method, .. }) = heard.recv().await else { panic!() };
    assert_eq!(method, "notifications/tools/list_changed");
}

#[tokio::test]
async fn an_upstream_that_is_configured_otherwise_ends_and_an_unchanged_one_goes_on() {
    let gate = gate(&[("same", python(SERVER)), ("other", python(SERVER))]);
    for name in ["same", "other"] {
        result(run(&gate, tool(name, "t", "{}"), Era::Sessions).await);
    }
    let pids = |gate: &Upstreams| -> Vec<Vec<u32>> {
        gate.health().into_iter().map(|health| health.pids).collect()
    };
    let before = pids(&gate);
    let mut changed = python(SERVER);
    changed.timeout_ms += 1;
    let declared = [("same", python(SERVER)), ("other", changed)];
    gate.take_over(
        &declared.map(|(name, it)| (name.to_owned(), it)).into(),
        1 << 20,
        BTreeMap::new(),
    );
    let after = pids(&gate);
    // By name: `other` comes first.
    assert_eq!((before[1].len(), after[0].len()), (1, 0));
    assert_eq!(before[1], after[1]);
}
