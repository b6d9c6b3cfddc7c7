//! What is answered when a model is late, or none answers, or its provider speaks another API.
#![cfg(test)]

mod support;

use lockgate_sim::wait;
use serde_json::{Value, json};
use support::SOON;
use support::models::{FUNCTIONS, Models, Said, asking};

/// Whoever is asked here may have an answer in place of a model's.
const STAND_INS: &str = r#"
@id("stand-ins-staff")
permit (principal in Group::"staff", action == Action::"lockgate/model_stand_in", resource);
@id("stand-ins-bots")
permit (principal in Group::"bots", action == Action::"lockgate/model_stand_in", resource);
"#;

/// With a task of alice's, in whose name everything is asked.
fn with_task(task: &str, policies: &str) -> Models {
    let rules = format!("{STAND_INS}{policies}");
    let files = [("tasks/triage.toml", task), ("policies/stand-ins.cedar", &rules)];
    let mut models = Models::of("", &files);
    models.token = token(&models, "alice");
    models
}

fn token(models: &Models, who: &str) -> String {
    let arguments = ["token", who, "--agent", "bot", "--task", "triage"];
    models.world.gate.command(&arguments).unwrap().trim().to_owned()
}

fn of_kind<'a>(entries: &'a [Value], kind: &str, operation: &str) -> Vec<&'a Value> {
    let is_it = |it: &&Value| it["k"] == kind && it["operation"] == operation;
    entries.iter().filter(is_it).collect()
}

#[test]
fn a_person_answers_where_no_model_does() {
    let models = with_task("[fallback]\nperson = \"group:operators\"\n", "");
    models.down(&["oai", "spare", "ant"]);
    let asks = asking("chat/completions", "what is the code of AKIAIOSFODNN7EXAMPLE?", false);
    let answer = models.ask("chat/completions", &asks);
    assert_eq!(answer.status, 503, "{}", answer.text());
    let error = &answer.json()["error"];
    assert_eq!(error["code"], "LG-U012", "{error}");
    assert_eq!(answer.header("x-should-retry"), Some("true"));
    let request = error["lockgate"]["approval"]["call"].as_str().unwrap().to_owned();
    // Asked again it is the same request, which has the question and no secret.
    let again = models.ask("chat/completions", &asks);
    assert_eq!(again.json()["error"]["lockgate"]["approval"]["call"], request.as_str());
    let shown = models.world.gate.command(&["approvals", "show", &request, "--json"]).unwrap();
    assert!(shown.contains("what is the code of") && !shown.contains("AKIA"), "{shown}");

    let give = ["approvals", "give", &request, "--reason", "known", "--answer", "It is 42."];
    let refused = models.world.gate.command(&give[..5]).unwrap_err();
    assert!(refused.contains("LG-U015"), "agreed to, and nothing written: {refused}");
    models.world.gate.command(&give).unwrap();
    let answer = models.ask("chat/completions", &asks);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("lockgate-fallback"), Some("person"));
    assert_eq!(answer.json()["choices"][0]["message"]["content"], "It is 42.");
    // It is used up: the same question is asked anew.
    let after = models.ask("chat/completions", &asks);
    assert_eq!(after.status, 503);
    assert_ne!(after.json()["error"]["lockgate"]["approval"]["call"], request.as_str());
    let entries = models.world.entries();
    let given = of_kind(&entries, "intent", "lockgate/model_stand_in");
    let [given] = given.as_slice() else { panic!("{given:?}") };
    let is_its_end = |it: &&Value| it["k"] == "outcome" && it["call"] == given["call"];
    assert_eq!(entries.iter().filter(is_its_end).count(), 1);
}

#[test]
fn who_waits_for_a_person_is_told_what_the_task_says() {
    let task = "[fallback]\nperson = \"group:operators\"\ntemplate = \"Somebody will answer.\"\n";
    let models = with_task(task, "");
    models.down(&["oai", "spare", "ant"]);
    for (api, is_stream) in [("chat/completions", false), ("messages", true)] {
        let said = models.say(api, "hello", is_stream);
        assert_eq!((said.status, said.text.as_str()), (200, "Somebody will answer."), "{api}");
    }
    let waiting = models.world.gate.command(&["approvals", "--json"]).unwrap();
    let waiting: Value = serde_json::from_str(&waiting).unwrap();
    let requests = waiting["approvals"].as_array().unwrap();
    assert_eq!(requests.len(), 1, "by whichever API it is asked: {waiting}");
    assert!(requests.iter().all(|it| it["operation"] == "lockgate/model_stand_in"));
}

#[test]
fn nobody_is_asked_whom_policies_do_not_let_be_asked() {
    let forbids = "@id(\"nobody\") forbid (principal, action == \
                   Action::\"lockgate/model_stand_in\", resource);";
    let task = "[fallback]\nperson = \"group:operators\"\ntemplate = \"Nobody can.\"\n";
    let models = with_task(task, forbids);
    models.down(&["oai", "spare", "ant"]);
    let said = models.say("chat/completions", "hello", false);
    assert_eq!((said.status, said.text.as_str()), (200, "Nobody can."));
    let waiting = models.world.gate.command(&["approvals"]).unwrap();
    assert!(waiting.contains("nothing waits"), "{waiting}");
}

#[test]
fn an_answer_that_somebody_has_approved_is_given_again_and_said_to_be_that() {
    let task = "[fallback]\nrecorded_s = 3600\ntemplate = \"Nobody can.\"\n";
    let mut models = with_task(task, "");
    let asks = asking("chat/completions", "SAY the gate is open", false);
    let first = models.ask("chat/completions", &asks);
    assert_eq!(first.status, 200, "{}", first.text());
    let call = first.header("lockgate-call").unwrap().to_owned();
    models.down(&["oai", "spare", "ant"]);
    let content = |models: &Models, asks: &Value| {
        let answer = models.ask("chat/completions", asks);
        let kind = answer.header("lockgate-fallback").unwrap_or_default().to_owned();
        let text = answer.json()["choices"][0]["message"]["content"].clone();
        (kind, text.as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(content(&models, &asks).0, "template", "nobody has approved it");
    models.world.gate.command(&["answers", "keep", &call, "--reason", "looked at"]).unwrap();
    let (kind, text) = content(&models, &asks);
    assert_eq!(kind, "recorded");
    assert!(text.starts_with("[No model answers now. This is a recorded answer of 20"), "{text}");
    assert!(text.ends_with("]\n\nthe gate is open"), "{text}");
    // As a stream as well: how it is said is no part of what is asked.
    let mut streamed = asks.clone();
    streamed["stream"] = json!(true);
    let said = models.said("chat/completions", &streamed, true);
    assert!(said.text.ends_with("the gate is open"), "{}", said.wire);
    // Of another prompt there is none, nor for who has other rights.
    let mut other = asks.clone();
    other["temperature"] = json!(0);
    assert_eq!(content(&models, &other).0, "template");
    let own = models.token.clone();
    models.token = token(&models, "bob");
    assert_eq!(content(&models, &asks).0, "recorded", "bob may what alice may");
    let bobs = "[user.bob]\ngroups = [\"staff\"";
    let with_more = |text: String| text.replace(bobs, &format!("{bobs}, \"more\""));
    models.world.gate.edit("principals.toml", with_more).unwrap();
    models.world.gate.command(&["reload"]).unwrap();
    models.token = token(&models, "bob");
    assert_eq!(content(&models, &asks).0, "template", "bob may more now, and so something else");
    models.token = own;
    let listed = models.world.gate.command(&["answers", "list"]).unwrap();
    assert!(listed.contains(&call), "{listed}");
    models.world.gate.command(&["answers", "forget", &call]).unwrap();
    assert_eq!(content(&models, &asks).0, "template");
    models.world.gate.command(&["answers", "keep", &call, "--reason", "again"]).unwrap();
    assert_eq!(content(&models, &asks).0, "recorded");
    // It holds for as long as who approved it may do so.
    let forbids = "@id(\"none\") forbid (principal, action == \
                   Action::\"lockgate/answer_keep\", resource);";
    let with = |text: String| format!("{text}{forbids}");
    models.world.gate.edit("policies/stand-ins.cedar", with).unwrap();
    models.world.gate.command(&["reload"]).unwrap();
    assert_eq!(content(&models, &asks).0, "template");
}

#[test]
fn what_cannot_be_said_again_is_not_kept_and_nobody_keeps_their_own() {
    let operators = "@id(\"operators-ask\") permit (principal in Group::\"operators\", action, \
                     resource) when { resource in Upstream::\"oai\" };";
    let mut models = with_task("[fallback]\nrecorded_s = 3600\n", operators);
    let kept = |models: &Models, text: &str| {
        let answer = models.ask("chat/completions", &asking("chat/completions", text, false));
        let call = answer.header("lockgate-call").unwrap().to_owned();
        models.world.gate.command(&["answers", "keep", &call, "--reason", "x"])
    };
    assert!(kept(&models, "SAY words").is_ok());
    for text in [r#"CALL send_mail {"to":"ann"}"#, "FAIL 400"] {
        assert!(kept(&models, text).unwrap_err().contains("LG-U014"), "{text}");
    }
    models.token = token(&models, "operator");
    assert!(kept(&models, "SAY words").unwrap_err().contains("LG-D022"));
}

#[test]
fn where_everybody_is_left_alone_the_task_answers_all_the_same() {
    let models = with_task("[fallback]\ntemplate = \"Nobody can.\"\n", "");
    models.down(&["oai", "spare", "ant"]);
    for _ in 0..12 {
        let said = models.say("chat/completions", "hello", false);
        assert_eq!((said.status, said.text.as_str()), (200, "Nobody can."), "{}", said.wire);
    }
    let asked = models.seen().len();
    assert!(asked < 24, "breakers have opened meanwhile: {asked}");
}

/// One entry that is late, and another that is asked beside it.
fn hedging(task: &str, policies: &str) -> Models {
    let late = "upstream = \"oai\"\nversion = \"1\"\nasks = [\"late\"]\nid = \"late-1\"\n\
                fallback = [\"second\"]\nhedge_after_ms = 100\n";
    let patient = late.replace("= 100", "= 60000").replace("\"late\"", "\"patient\"");
    let rules = format!("{STAND_INS}{policies}");
    let files = [
        ("models/late.toml", late),
        ("models/patient.toml", patient.as_str()),
        ("tasks/triage.toml", task),
        ("policies/hedges.cedar", rules.as_str()),
    ];
    let mut models = Models::of("", &files);
    models.token = token(&models, "alice");
    models
}

fn late(text: &str, is_stream: bool) -> Value {
    let mut body = asking("chat/completions", text, is_stream);
    body["model"] = json!("late");
    body
}

#[test]
fn where_an_entry_is_late_the_next_is_asked_beside_it_and_the_first_to_begin_answers() {
    let models = hedging("", "");
    for (round, is_stream) in [(1, false), (2, true)] {
        let said = models.said("chat/completions", &late("SLOW at last", is_stream), is_stream);
        assert_eq!((said.status, said.text.as_str()), (200, "at last"), "{}", said.wire);
        // Both are calls, the second within the first; who was late was given up.
        let over = || {
            let entries = models.world.entries();
            let first = of_kind(&entries, "intent", "oai:chat/completions");
            let second = of_kind(&entries, "intent", "spare:chat/completions");
            let (first, second) = (*first.get(round - 1)?, *second.get(round - 1)?);
            assert_eq!(second["within"], first["call"]);
            let end_of = |of: &Value| {
                entries.iter().find(|it| it["k"] == "outcome" && it["call"] == of["call"]).cloned()
            };
            Some((end_of(first)?, end_of(second)?))
        };
        let (first, second) = wait::until("both to be recorded", SOON, over).unwrap();
        assert_eq!(first["code"], "LG-W023", "{first}");
        assert_eq!(second["state"], "succeeded");
    }
    // Who is in time is asked alone.
    let before = models.seen().len();
    let mut in_time = late("SAY now", false);
    in_time["model"] = json!("patient");
    let said = models.said("chat/completions", &in_time, false);
    assert_eq!((said.text.as_str(), models.seen().len()), ("now", before + 1));
}

/// Asks what is late, and lets it answer once `until` has come about.
fn asked_alone(models: &Models, until: impl Fn() -> bool) -> Said {
    std::thread::scope(|scope| {
        let asking =
            scope.spawn(|| models.said("chat/completions", &late("SLOW alone", false), false));
        let is_so = || until().then_some(());
        wait::until("it to be late", SOON, is_so).unwrap();
        models.go();
        asking.join().unwrap()
    })
}

#[test]
fn nothing_is_asked_beside_another_where_policies_or_the_task_forbid_it() {
    let forbids = "@id(\"no-hedge\") forbid (principal, action, resource)\n\
                   when { context has model && context.model.hedge };";
    let models = hedging("", forbids);
    let is_refused = || {
        let entries = models.world.entries();
        let refused = of_kind(&entries, "refusal", "spare:chat/completions");
        refused.iter().any(|it| it["policies"] == json!(["no-hedge"]))
    };
    let said = asked_alone(&models, is_refused);
    assert_eq!((said.status, said.text.as_str()), (200, "alone"), "{}", said.wire);
    assert_eq!(models.seen().len(), 1);
    let models = hedging("hedge = false\n", "");
    let since = std::time::Instant::now();
    let has_passed = || models.seen().len() == 1 && since.elapsed().as_millis() > 500;
    let said = asked_alone(&models, has_passed);
    assert_eq!((said.status, said.text.as_str()), (200, "alone"), "{}", said.wire);
    assert_eq!(models.seen().len(), 1);
}

#[test]
fn a_client_of_one_family_is_answered_by_a_provider_of_the_other() {
    let carried = [
        ("chat/completions", "claude-1", "/ant/v1/messages"),
        ("messages", "lone", "/oai/v1/chat/completions"),
    ];
    let models = Models::started();
    for (api, model, path) in carried {
        for is_stream in [false, true] {
            let what = format!("{api} {is_stream}");
            let ask = |text: &str| {
                let mut body = asking(api, text, is_stream);
                body["model"] = json!(model);
                models.said(api, &body, is_stream)
            };
            let said = ask("SAY words of the other family");
            assert_eq!(said.status, 200, "{what} {}", said.wire);
            assert_eq!(said.text, "words of the other family", "{what} {}", said.wire);
            let seen = models.seen().pop().unwrap();
            assert_eq!(seen["path"], path, "{what}");
            let version = &seen["headers"]["anthropic-version"];
            assert_eq!(version.is_string(), path.ends_with("messages"), "{what} {seen}");
            let done = if api == "messages" { "end_turn" } else { "stop" };
            assert_eq!(said.finish, done, "{what} {}", said.wire);
            // Calls are decided, and carried.
            let said = ask(r#"CALL send_mail {"to":"ann"}"#);
            let [(name, arguments)] = said.calls.as_slice() else { panic!("{what} {said:?}") };
            let arguments: Value = serde_json::from_str(arguments).unwrap();
            assert_eq!((name.as_str(), &arguments), ("send_mail", &json!({"to": "ann"})), "{what}");
            let said = ask(r#"CALL send_mail {"to":"spam"}"#);
            assert!(said.calls.is_empty() && said.text.contains("LG-D004"), "{what} {said:?}");
            // The provider's own errors are said as the client's API says errors.
            let said = ask("FAIL 429");
            assert_eq!(said.status, 429, "{what}");
            assert_eq!(said.error.unwrap()["message"], "made to fail", "{what}");
        }
    }
}

#[test]
fn what_the_other_family_does_not_know_is_refused_by_its_name() {
    let models = Models::started();
    let mut body = asking("chat/completions", "hello", false);
    body["model"] = json!("claude-1");
    body["logit_bias"] = json!({"1": 2});
    let answer = models.ask("chat/completions", &body);
    assert_eq!(answer.status, 400);
    let error = &answer.json()["error"];
    assert_eq!(error["code"], "LG-W025", "{error}");
    assert!(error["message"].as_str().unwrap().contains("`logit_bias`"), "{error}");
    assert!(models.seen().is_empty(), "nobody was asked");
    // An answer that it has no words for is an error, and not a part of one.
    let mut body = asking("chat/completions", "THINK deeply", true);
    body["model"] = json!("claude-1");
    let said = models.said("chat/completions", &body, true);
    assert_eq!(said.error.unwrap()["code"], "LG-U013", "{}", said.wire);
    body["stream"] = json!(false);
    let said = models.said("chat/completions", &body, false);
    assert_eq!((said.status, &said.error.unwrap()["code"]), (502, &json!("LG-U013")));
}

#[test]
fn a_policy_may_ask_what_was_found_of_the_answer_that_proposes_a_call() {
    let rules = r#"
        @id("cut-off") @remedy("answer in full")
        forbid (principal, action in [Action::"oai/send_mail", Action::"ant/send_mail",
                                      Action::"tool/echo"], resource)
        when { context has answer && context.answer.findings.contains("uncertain:cut") };
        @id("cut-off-asks") @require_approval("group:operators")
        forbid (principal, action in [Action::"oai/read_mail", Action::"tool/note"], resource)
        when { context has answer && context.answer.findings.contains("uncertain:cut") }
        unless { context.approvals.contains("group:operators") };
    "#;
    let more = FUNCTIONS.replace("send_mail", "read_mail");
    let functions = format!("{FUNCTIONS}\n{more}");
    let files = [("policies/found.cedar", rules), ("operations/oai.toml", functions.as_str())];
    let models = Models::of("", &files);
    for api in ["chat/completions", "messages"] {
        let one = |text: &str, is_stream| models.say(api, text, is_stream);
        let cut = one(r#"LIMIT CALL send_mail {"to":"ann"}"#, false);
        assert!(cut.calls.is_empty() && cut.text.contains("LG-D004"), "{api} {cut:?}");
        assert_eq!(one(r#"CALL send_mail {"to":"ann"}"#, false).calls.len(), 1, "{api}");
        let cut = one(r#"LIMIT CALL tool__echo {"text":"a"}"#, false);
        assert!(cut.calls.is_empty(), "{api} {cut:?}");
        assert_eq!(one(r#"CALL tool__echo {"text":"a"}"#, false).calls.len(), 1, "{api}");
    }
    // Where a person could agree, they are asked about a function that is handed out; of a tool of
    // the gate's, which comes again by itself, they cannot be.
    let ask = |text: &str| models.say("chat/completions", text, false);
    let asked = ask(r#"LIMIT CALL read_mail {"to":"ann"}"#);
    assert!(asked.calls.is_empty() && asked.text.contains("LG-D008"), "{asked:?}");
    let asked = ask(r#"LIMIT CALL tool__note {"path":"x","text":"y"}"#);
    assert!(asked.calls.is_empty() && asked.text.contains("answer again"), "{asked:?}");
    let waiting = models.world.gate.command(&["approvals", "--json"]).unwrap();
    let waiting: Value = serde_json::from_str(&waiting).unwrap();
    let requests = waiting["approvals"].as_array().unwrap();
    assert_eq!(requests.len(), 1, "{waiting}");
    let request = requests[0]["call"].as_str().unwrap();
    models.world.gate.command(&["approvals", "give", request, "--reason", "fine"]).unwrap();
    assert_eq!(ask(r#"LIMIT CALL read_mail {"to":"ann"}"#).calls.len(), 1);
}
