//! Runs that the gate drives: from what is asked to what is done, with every call decided.
#![cfg(test)]

mod support;

use lockgate_sim::brain::{Reply, StandIn};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use support::http::{Answer, Request, exchange};
use support::running::{Runs, TASK};

/// Pays, orders, and says so.
fn errand() -> StandIn {
    StandIn::of(vec![
        Reply::call("tool__pay", r#"{"n":"1"}"#),
        Reply::call("tool__order", r#"{"n":"2"}"#),
        Reply::text("Paid and ordered."),
    ])
    .unwrap()
}

fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["event"].as_str().unwrap()).collect()
}

#[test]
fn a_run_goes_from_a_question_to_effects_and_says_what_it_did() {
    let runs = Runs::started(errand(), TASK);
    let run = runs.begin("Pay 1 and order 2.");
    let over = runs.over(&run);
    assert_eq!(over["outcome"]["text"], "Paid and ordered.", "{over:#}");
    assert_eq!(over["steps"], 3);
    assert_eq!(over["tokens"], 330);
    // 300 tokens of prompt at 100 for a million, 30 of reply at 200, in millionths.
    assert_eq!(over["spend"], 36_000);
    assert_eq!((runs.shop.count("pay", "1"), runs.shop.count("order", "2")), (1, 1));
    let events = runs.events(&run, None);
    let expected = [
        "started",
        "asked",
        "answered",
        "performed",
        "asked",
        "answered",
        "performed",
        "asked",
        "answered",
        "finished",
    ];
    assert_eq!(kinds(&events), expected);
    assert_eq!(kinds(&runs.events(&run, Some(6))), expected[7..]);
    // All that it did is found under the call that started it.
    let trace = runs.gate.command(&["trace", &run, "--json"]).unwrap();
    for operation in ["lockgate/run_start", "brain:chat/completions", "tool/pay", "tool/order"] {
        assert!(trace.contains(&format!("\"{operation}\"")), "{operation}: {trace}");
    }
    // Of somebody else's runs nothing is said.
    let bob = runs.token_of("bob");
    let path = format!("/v1/runs/{run}");
    for (method, path) in
        [("GET", path.clone()), ("GET", format!("{path}/events")), ("POST", format!("{path}/fork"))]
    {
        assert_eq!(runs.ask_as(&bob, method, &path, &json!({})).status, 404, "{path}");
    }
    let none = runs.ask_as(&bob, "GET", "/v1/runs", &Value::Null).json();
    assert_eq!(none, json!({"runs": []}));
}

#[test]
fn a_run_whose_gate_is_killed_at_any_point_does_everything_once_and_says_the_same() {
    let counts = |runs: &Runs| {
        let counted = [("pay", "1"), ("order", "2")];
        counted.map(|(tool, n)| runs.shop.count(tool, n))
    };
    // As soon as each entry is seen; then what follows it may have begun.
    let mut killed_after = BTreeSet::new();
    for entries in 1..10 {
        let mut runs = Runs::started(errand(), TASK);
        let run = runs.begin("Pay 1 and order 2.");
        runs.until(&run, |run| run["entries"].as_u64().unwrap() >= entries);
        runs.gate.kill();
        runs.start();
        let over = runs.over(&run);
        assert_eq!(over["outcome"]["text"], "Paid and ordered.", "{entries}: {over:#}");
        assert_eq!(counts(&runs), [1, 1], "killed after {entries} entries");
        let events = runs.events(&run, None);
        let ends = events.windows(2).filter(|two| two[1]["event"] == "resumed");
        killed_after.extend(ends.map(|two| two[0]["event"].as_str().unwrap().to_owned()));
    }
    assert!(
        killed_after.contains("asked") || killed_after.contains("answered"),
        "{killed_after:?}"
    );

    // While the model is asked; before an effect; and once it has happened and nobody was told.
    let holds: [fn(&Runs); 3] =
        [|runs| runs.model.hold(), |runs| runs.shop.hold(), |runs| runs.shop.fall_silent()];
    for (at, hold) in holds.into_iter().enumerate() {
        let mut runs = Runs::started(errand(), TASK);
        hold(&runs);
        let run = runs.begin("Pay 1 and order 2.");
        let is_there = || {
            let asked = runs.model.count() == 1 && at == 0;
            let arrived = runs.shop.count_arrived() == 1 && at == 1;
            (asked || arrived || (runs.shop.count("pay", "1") == 1 && at == 2)).then_some(())
        };
        lockgate_sim::wait::until("the moment to be killed", support::SOON, is_there).unwrap();
        runs.gate.kill();
        runs.model.let_go();
        runs.shop.let_go();
        runs.start();
        let over = runs.over(&run);
        assert_eq!(over["outcome"]["text"], "Paid and ordered.", "{at}: {over:#}");
        assert_eq!(counts(&runs), [1, 1], "held at {at}");
    }
}

#[test]
fn an_effect_that_nobody_can_look_up_is_left_to_a_person_and_the_run_waits_for_that() {
    let brain = StandIn::of(vec![
        Reply::call("tool__letter", r#"{"n":"9"}"#),
        Reply::text("The letter is out."),
    ]);
    let mut runs = Runs::started(brain.unwrap(), TASK);
    runs.shop.fall_silent();
    let run = runs.begin("Send letter 9.");
    let is_sent = || (runs.shop.count("letter", "9") == 1).then_some(());
    lockgate_sim::wait::until("the letter to be sent", support::SOON, is_sent).unwrap();
    runs.gate.kill();
    runs.shop.let_go();
    runs.start();
    let parked = runs.until(&run, |run| run["state"] == "parked");
    assert_eq!(parked["waits"]["for"], "doubt", "{parked:#}");
    let doubts = support::shop::doubts(&runs.gate);
    let call = doubts[0]["call"].as_str().unwrap();
    let resolve = ["effects", "resolve", call, "--happened", "--reason", "it is there"];
    runs.gate.command(&resolve).unwrap();
    // Taken up again, it finds what a person has found out.
    runs.gate.stop().unwrap();
    runs.start();
    let over = runs.over(&run);
    assert_eq!(over["outcome"]["text"], "The letter is out.", "{over:#}");
    assert_eq!(runs.shop.count("letter", "9"), 1);
}

const NEEDS_SOMEBODY: &str = r#"
@id("pay-needs-somebody") @require_approval("somebody")
forbid (principal, action == Action::"tool/pay", resource)
unless { context.approvals.contains("somebody") };
"#;

#[test]
fn a_run_that_waits_for_somebody_survives_its_gate_and_goes_on_once_they_agree() {
    for (answer, count, said) in
        [("give", 1, "Paid and ordered."), ("deny", 0, "Paid and ordered.")]
    {
        let mut runs = Runs::new(errand(), TASK);
        runs.gate.edit("policies/test.cedar", |text| format!("{text}{NEEDS_SOMEBODY}")).unwrap();
        runs.start();
        let run = runs.begin("Pay 1 and order 2.");
        let parked = runs.until(&run, |run| run["state"] == "parked");
        assert_eq!(parked["waits"]["for"], "approval", "{parked:#}");
        let request = parked["waits"]["call"].as_str().unwrap().to_owned();
        runs.gate.kill();
        runs.start();
        assert_eq!(runs.show(&run)["state"], "parked");
        assert_eq!(runs.shop.count("pay", "1"), 0);
        let bob = runs.gate.command(&["token", "bob", "--agent", "lockgate-cli"]).unwrap();
        let bob = bob.trim();
        let path = format!("/v1/approvals/{request}/{answer}");
        let mut body = json!({"reason": "looked at it"});
        if answer == "give" {
            body["requirement"] = json!("somebody");
        }
        let answered = runs.ask_as(bob, "POST", &path, &body);
        assert_eq!(answered.status, 200, "{}", answered.text());
        let over = runs.over(&run);
        assert_eq!(over["outcome"]["text"], said, "{over:#}");
        assert_eq!(runs.shop.count("pay", "1"), count, "{over:#}");
        let state = if answer == "give" { "performed" } else { "refused" };
        assert_eq!(over["turns"][0]["calls"][0]["state"], state);
    }
}

#[test]
fn a_run_is_cancelled_while_a_model_is_asked() {
    let runs = Runs::started(errand(), TASK);
    runs.model.hold();
    let run = runs.begin("Pay 1 and order 2.");
    let is_asked = || (runs.model.count() == 1).then_some(());
    lockgate_sim::wait::until("the model to be asked", support::SOON, is_asked).unwrap();
    let cancel = |who: &str| {
        let path = format!("/v1/runs/{run}/cancel");
        runs.ask_as(who, "POST", &path, &json!({"reason": "enough"}))
    };
    assert_eq!(cancel(&runs.token_of("bob")).status, 404);
    assert_eq!(cancel(&runs.token).status, 200);
    let over = runs.over(&run);
    assert_eq!((&over["state"], &over["outcome"]["why"]), (&json!("stopped"), &json!("cancelled")));
    assert_eq!(cancel(&runs.token).status, 409, "it is over");
    runs.model.let_go();
    assert_eq!(runs.shop.count("pay", "1"), 0);
}

#[test]
fn a_run_that_waits_for_somebody_ends_when_it_is_cancelled_or_has_waited_for_too_long() {
    for (task, why) in [(TASK.to_owned(), "cancelled"), (format!("{TASK}wait_s = 1\n"), "waiting")]
    {
        let mut runs = Runs::new(errand(), &task);
        runs.gate.edit("policies/test.cedar", |text| format!("{text}{NEEDS_SOMEBODY}")).unwrap();
        runs.start();
        let run = runs.begin("Pay 1 and order 2.");
        if why == "cancelled" {
            runs.until(&run, |run| run["state"] == "parked");
            let path = format!("/v1/runs/{run}/cancel");
            assert_eq!(runs.ask("POST", &path, &json!({"reason": "enough"})).status, 200);
        }
        let over = runs.over(&run);
        assert_eq!(over["outcome"]["why"], why, "{over:#}");
        assert_eq!(runs.shop.count("pay", "1"), 0);
    }
}

#[test]
fn every_model_dead_is_said_plainly_with_the_tasks_own_answer() {
    let task = format!("{TASK}\n[fallback]\ntemplate = \"Ask the desk, please.\"\n");
    let task = task.replace("[run]", "[run]\ntime_ms = 60000");
    let runs = Runs::started(StandIn::of(vec![Reply::Fails]).unwrap(), &task);
    let over = runs.over(&runs.begin("Pay 1."));
    assert_eq!(over["outcome"]["text"], "Ask the desk, please.", "{over:#}");
    assert_eq!(over["outcome"]["is_fallback"], true);
}

#[test]
fn runs_are_started_followed_and_forked_from_the_command_line() {
    let runs = Runs::started(errand(), TASK);
    let whose = ["runs", "--token", runs.token.as_str()];
    let command = |arguments: &[&str]| runs.gate.command(&[&whose[..], arguments].concat());
    let followed = command(&["start", "errand", "Pay 1 and order 2.", "--follow"]);
    assert!(followed.unwrap().ends_with("finished Paid and ordered.\n"));
    let listed = command(&["--json"]).unwrap();
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let run = listed["runs"][0]["run"].as_str().unwrap();
    let before = (runs.model.count(), runs.shop.count("pay", "1"));
    let forked = command(&["fork", run, "--follow", "--json"]).unwrap();
    let last: Value = serde_json::from_str(forked.lines().last().unwrap()).unwrap();
    assert_eq!(last["text"], "Paid and ordered.");
    assert_eq!((runs.model.count(), runs.shop.count("pay", "1")), before, "nothing is done again");
    assert!(command(&["show", run]).unwrap().contains("performed  tool__pay"));
    assert!(command(&["start", "unknown", "x"]).unwrap_err().contains("LG-R001"));
}

#[test]
fn what_a_task_says_of_runs_is_checked() {
    let verified = |rules: &str| {
        format!("[run]\nprompt = \"work\"\nmodel = \"stand-in\"\n[run.verify]\n{rules}\n")
    };
    for (task, what) in [
        ("[run]\n", "a run needs a `prompt`"),
        ("[run]\nprompt = \"wrk\"\nmodel = \"stand-in\"\n", "there is no prompt `wrk`"),
        ("[run]\nprompt = \"work\"\n", "it is not said which model is asked"),
        ("[run]\nprompt = \"work\"\nmodel = \"stand-in\"\ntools = [\"tool/x\"]\n", "no tool"),
        ("[run]\nprompt = \"work\"\nmodel = \"stand-in\"\nchildren = [\"x\"]\n", "no runs of"),
        ("[run]\nworkflow = \"flow\"\n", "there is no workflow `flow`"),
        ("[run]\nprompt = \"work\"\nmodel = \"stand-in\"\n[run.verify]\n", "what is checked"),
        (&verified("samples = 5"), "`samples` is out of bounds"),
        (&verified("samples = 2\nagree_min = 3"), "more than there are"),
        (&verified("quotes = true\nagree_min = 1"), "no further answers are asked for"),
        (&verified("samples = 2\nwords_percent_min = 101"), "`words_percent_min` is out of bounds"),
    ] {
        let runs = Runs::new(errand(), task);
        let mistakes = runs.gate.command(&["check"]).unwrap_err();
        assert!(mistakes.contains(what), "{task}: {mistakes}");
    }
    let flow = |step: &str| format!("[[step]]\nid = \"a\"\n{step}\n");
    for (step, what) in [
        ("kind = \"tool\"\ntool = \"tool/x\"", "none of the task's tools"),
        (
            "kind = \"tool\"\ntool = \"tool/pay\"\narguments = { n = \"$b.c\" }",
            "no earlier step `b`",
        ),
        ("kind = \"tool\"\ntool = \"tool/pay\"\nprompt = \"work\"", "does not belong to this kind"),
        ("kind = \"tool\"\ntool = \"tool/pay\"\non_refusal = \"fallback\"", "no later step"),
        ("kind = \"verify\"\nof = \"b\"", "what is checked"),
        ("kind = \"approve\"\nwhom = \"anybody\"\nquestion = \"?\"", "who has to agree"),
        ("kind = \"approve\"\nwhom = \"user:bob\"", "a question has 1 to"),
        ("kind = \"approve\"\nwhom = \"user:bob\"\ntool = \"tool/pay\"", "does not belong"),
    ] {
        let task = TASK.replace("prompt = \"work\"", "workflow = \"flow\"");
        let runs = Runs::new(errand(), &task);
        runs.write("workflows/flow.toml", &flow(step));
        let mistakes = runs.gate.command(&["check"]).unwrap_err();
        assert!(mistakes.contains(what), "{step}: {mistakes}");
    }
}

#[test]
fn a_run_that_is_asked_for_again_under_its_key_is_the_same_run() {
    let mut runs = Runs::started(errand(), TASK);
    let ask = |runs: &Runs, who: &str, key: &str, input: &str| {
        let body = json!({"task": "errand", "input": input}).to_string();
        let request = Request::post("/v1/runs", body)
            .with("Authorization", &format!("Bearer {who}"))
            .with("Idempotency-Key", key);
        exchange(runs.address, &request)
    };
    let run_of = |answer: &Answer| answer.json()["run"].as_str().unwrap().to_owned();
    let (alice, bob) = (runs.token.clone(), runs.token_of("bob"));
    let first = ask(&runs, &alice, "k-1", "Pay 1 and order 2.");
    assert_eq!((first.status, &first.json()["repeated"]), (201, &Value::Null), "{}", first.text());
    let run = run_of(&first);
    runs.over(&run);
    runs.gate.kill();
    runs.start();
    let again = ask(&runs, &alice, "k-1", "Pay 1 and order 2.");
    assert_eq!((again.status, run_of(&again)), (200, run.clone()), "{}", again.text());
    assert_eq!(again.json()["repeated"], true);
    let other = ask(&runs, &alice, "k-1", "Pay 1.");
    assert_eq!((other.status, other.json()["error"]["code"].as_str()), (422, Some("LG-R006")));
    assert_ne!(run_of(&ask(&runs, &bob, "k-1", "Pay 1 and order 2.")), run, "bob's own");
    assert_ne!(run_of(&ask(&runs, &alice, "k-2", "Pay 1 and order 2.")), run);
    for wrong in ["", "a b", &"k".repeat(256)] {
        let refused = ask(&runs, &alice, wrong, "Pay 1.");
        assert_eq!(refused.status, 400, "{wrong}: {}", refused.text());
    }
    let start = ["runs", "--token", &alice, "start", "errand", "Pay 1 and order 2.", "--key"];
    let known = runs.gate.command(&[&start[..], &["k-1"]].concat()).unwrap();
    assert!(known.contains(&format!("started before, under the same key {run}")), "{known}");
    // What was asked for twice was done once.
    assert_eq!(
        runs.ask("GET", "/v1/runs", &Value::Null).json()["runs"].as_array().unwrap().len(),
        2
    );
}

const ONLY_DEV_OPERATORS: &str = r#"
@id("operators-look-after-runs")
forbid (
    principal,
    action in [Action::"lockgate/runs_read_all", Action::"lockgate/run_cancel_any"],
    resource
)
unless { principal == Agent::"lockgate-cli" || principal == User::"operator" };

@id("not-those-of-carol")
forbid (principal, action == Action::"lockgate/run_cancel_any", resource)
when { context.input.subject == "carol" };
"#;

#[test]
fn who_looks_after_a_gate_sees_the_runs_of_others_without_what_was_said_and_ends_them() {
    let mut runs = Runs::new(errand(), TASK);
    let more = format!("{NEEDS_SOMEBODY}{ONLY_DEV_OPERATORS}");
    runs.gate.edit("policies/test.cedar", |text| format!("{text}{more}")).unwrap();
    runs.start();
    let run = runs.begin("Pay 1 and order 2, quietly.");
    let parked = runs.until(&run, |run| run["state"] == "parked");
    // Alice sees no more than her own.
    let all = runs.ask("GET", "/v1/oversight/runs", &Value::Null);
    assert_eq!(all.status, 403, "{}", all.text());
    let one = format!("/v1/oversight/runs/{run}");
    assert_eq!(runs.ask("GET", &one, &Value::Null).status, 403);
    let cancel = format!("{one}/cancel");
    assert_eq!(runs.ask("POST", &cancel, &json!({"reason": "no"})).status, 403);

    let list = |more: &[&str]| {
        let listed = runs.gate.command(&[&["runs", "list", "--all", "--json"], more].concat());
        serde_json::from_str::<Value>(&listed.unwrap()).unwrap()
    };
    let listed = list(&[]);
    assert_eq!(listed["runs"][0]["run"], run.as_str(), "{listed:#}");
    assert_eq!(
        (&listed["runs"][0]["subject"], &listed["runs"][0]["agent"]),
        (&json!("alice"), &json!("bot"))
    );
    assert_eq!(list(&["--tenant", "default"]), listed);
    assert_eq!(list(&["--tenant", "acme"]), json!({"runs": []}));
    let shown = runs.gate.command(&["runs", "show", &run, "--all", "--json"]).unwrap();
    assert!(!shown.contains("quietly") && !shown.contains("\\\"n\\\""), "{shown}");
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["waits"], json!({"for": "approval", "call": parked["waits"]["call"]}));
    assert_eq!(shown["turns"][0]["calls"][0]["name"], "tool__pay");
    assert_eq!((&shown["steps"], &shown["tokens"]), (&json!(1), &json!(110)));
    let missing = runs.gate.command(&["runs", "show", "0a", "--all"]).unwrap_err();
    assert!(missing.contains("LG-S003"), "{missing}");

    // Whose run it is, policies know.
    let carol = runs.token_of("carol");
    let body = json!({"task": "errand", "input": "Pay 1."});
    let hers = runs.ask_as(&carol, "POST", "/v1/runs", &body).json();
    let hers = hers["run"].as_str().unwrap();
    let end =
        |run: &str| runs.gate.command(&["runs", "cancel", run, "--all", "--reason", "enough"]);
    assert!(end(hers).unwrap_err().contains("LG-D"));
    end(&run).unwrap();
    let over = runs.over(&run);
    assert_eq!(over["outcome"]["why"], "cancelled", "{over:#}");
    assert!(over["cancelled_by"].is_string());
    assert_eq!(runs.shop.count("pay", "1"), 0);
    assert!(end(&run).unwrap_err().contains("LG-R003"));
}

#[test]
fn every_limit_of_a_run_stops_it_and_says_which() {
    let pays = || StandIn::scripted(|_| Reply::call("tool__pay", r#"{"n":"1"}"#)).unwrap();
    let strays = || StandIn::scripted(|_| Reply::call("tool__unknown", "{}")).unwrap();
    let finds = || StandIn::scripted(|_| Reply::call("tool__find", r#"{"n":"1"}"#)).unwrap();
    let mut wrong = Vec::new();
    let patient = "repeats_max = 100\nidle_max = 100\nsteps_max = 100\n";
    for (model, more, why) in [
        (pays(), "steps_max = 2\n".to_owned(), "steps"),
        (pays(), format!("{patient}tokens_max = 2900\n"), "tokens"),
        (pays(), format!("{patient}spend_max = 50\n"), "spend"),
        (pays(), "repeats_max = 2\nidle_max = 100\n".to_owned(), "repeats"),
        (strays(), "idle_max = 2\n".to_owned(), "idle"),
        (finds(), "repeats_max = 100\nidle_max = 2\n".to_owned(), "idle"),
    ] {
        let mut runs = Runs::new(model, &format!("{TASK}{more}"));
        let dear =
            |text: String| text.replace("input = 100", "input = 10000").replace("= 200", "= 20000");
        runs.gate.edit("models/stand-in.toml", |text| dear(text.to_owned())).unwrap();
        runs.start();
        let over = runs.over(&runs.begin("Go on."));
        if over["outcome"]["why"] != why {
            wrong.push((why, over["outcome"].clone()));
            continue;
        }
        let used = |name: &str| over[name].as_i64().unwrap();
        let left = |name: &str| over["left"][name].as_i64();
        assert!(used("steps") > 1, "{more}: {over:#}");
        for name in ["steps", "tokens", "spend"] {
            assert!(left(name).is_none_or(|left| left >= 0), "{name} was gone beyond: {over:#}");
        }
        assert_eq!(runs.model.count(), usize::try_from(used("steps")).unwrap());
    }
    assert_eq!(wrong, []);
}

/// Bob has to agree before anything is paid.
const ASKS_BOB: &str = r#"
[[step]]
id = "agreed"
kind = "approve"
whom = "user:bob"
question = "Is this customer to be paid?"
show = { customer = "$input.customer", why = "they have asked" }

[[step]]
id = "pay"
kind = "tool"
tool = "tool/pay"
arguments = { n = "$input.n" }
when = { path = "$agreed.agreed", equals = true }
"#;

#[test]
fn a_step_that_asks_people_waits_for_those_it_names_over_a_restart() {
    let task = TASK.replace("prompt = \"work\"", "workflow = \"flow\"");
    for (answer, state, count) in [("give", "finished", 1), ("deny", "stopped", 0)] {
        let mut runs = Runs::new(errand(), &task);
        runs.write("workflows/flow.toml", ASKS_BOB);
        runs.start();
        let run = runs.begin(r#"{"n":"1","customer":"Ada"}"#);
        let parked = runs.until(&run, |run| run["state"] == "parked");
        assert_eq!(parked["waits"]["for"], "approval", "{parked:#}");
        let request = parked["waits"]["call"].as_str().unwrap().to_owned();
        runs.gate.kill();
        runs.start();
        let shown = runs.gate.command(&["approvals", "show", &request]).unwrap();
        for text in ["Is this customer to be paid?", "Ada", "they have asked", "user:bob"] {
            assert!(shown.contains(text), "`{text}` in {shown}");
        }
        let mut body = json!({"reason": "looked at it"});
        if answer == "give" {
            body["requirement"] = json!("user:bob");
        }
        let ask = |who: &str, agent: &str| {
            let token = runs.gate.command(&["token", who, "--agent", agent]).unwrap();
            let path = format!("/v1/approvals/{request}/{answer}");
            runs.ask_as(token.trim(), "POST", &path, &body)
        };
        if answer == "give" {
            assert_eq!(ask("alice", "lockgate-cli").status, 403, "she has asked for it");
            assert_eq!(ask("carol", "lockgate-cli").status, 403, "she was not asked");
        }
        assert_eq!(runs.show(&run)["state"], "parked");
        assert_eq!(runs.shop.count("pay", "1"), 0);
        let answered = ask("bob", "lockgate-cli");
        assert_eq!(answered.status, 200, "{}", answered.text());
        let over = runs.over(&run);
        assert_eq!(over["state"], state, "{over:#}");
        assert_eq!(runs.shop.count("pay", "1"), count, "{over:#}");
        let why = if answer == "give" { Value::Null } else { json!("refused") };
        assert_eq!(over["outcome"]["why"], why, "{over:#}");
        let trace = runs.gate.command(&["trace", "--chain", &run]).unwrap();
        assert!(trace.contains("lockgate/run_approve needs somebody LG-D008"), "{trace}");
        assert_eq!(trace.contains("bob agreed as user:bob: looked at it"), answer == "give");
        let replayed = runs.gate.command(&["replay"]).unwrap();
        assert!(replayed.contains(": 0 differences"), "{replayed}");
    }
}

#[test]
fn what_a_check_finds_is_held_against_the_session_of_the_run() {
    const RISK: &str = "
[risk]
half_life_s = 600
hysteresis = 100
enter = { approvals = 250, read_only = 500, locked = 800 }
stay_s = { approvals = 900, read_only = 1800, locked = 0 }
[risk.weights]
uncertain = 260
";
    let count = std::sync::atomic::AtomicUsize::new(0);
    // It claims something first, without saying why.
    let model =
        StandIn::scripted(move |_| match count.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
            0 => Reply::text("Nothing is to be paid."),
            _ => Reply::call("tool__pay", r#"{"n":"1"}"#),
        });
    let task = format!("{TASK}[run.verify]\ncitations_min = 1\non_failure = \"retry\"\n");
    let mut runs = Runs::new(model.unwrap(), &task);
    runs.gate.edit("lockgate.toml", |text| format!("{text}{RISK}")).unwrap();
    runs.start();
    let run = runs.begin("Pay 1.");
    let parked = runs.until(&run, |run| run["state"] == "parked");
    assert_eq!(parked["waits"]["for"], "approval", "{parked:#}");
    assert_eq!(runs.shop.count("pay", "1"), 0);
    let listed = runs.gate.command(&["--json", "sessions", "list"]).unwrap();
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let sessions = listed["sessions"].as_array().unwrap();
    assert!(sessions.iter().any(|it| it["mode"] == "approvals"), "{listed:#}");
    assert!(listed.to_string().contains("uncertain"), "{listed:#}");
}
