//! Runs that the gate drives: from what is asked to what is done, with every call decided.
#![cfg(test)]

mod support;

use lockgate_sim::brain::{Reply, StandIn};
use serde_json::{Value, json};
use std::collections::BTreeSet;
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
    for (task, what) in [
        ("[run]\n", "a run needs a `prompt`"),
        ("[run]\nprompt = \"wrk\"\nmodel = \"stand-in\"\n", "there is no prompt `wrk`"),
        ("[run]\nprompt = \"work\"\n", "it is not said which model is asked"),
        ("[run]\nprompt = \"work\"\nmodel = \"stand-in\"\ntools = [\"tool/x\"]\n", "no tool"),
        ("[run]\nprompt = \"work\"\nmodel = \"stand-in\"\nchildren = [\"x\"]\n", "no runs of"),
        ("[run]\nworkflow = \"flow\"\n", "there is no workflow `flow`"),
        ("[run]\nprompt = \"work\"\nmodel = \"stand-in\"\n[run.verify]\n", "what is checked"),
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
    ] {
        let task = TASK.replace("prompt = \"work\"", "workflow = \"flow\"");
        let runs = Runs::new(errand(), &task);
        runs.write("workflows/flow.toml", &flow(step));
        let mistakes = runs.gate.command(&["check"]).unwrap_err();
        assert!(mistakes.contains(what), "{step}: {mistakes}");
    }
}
