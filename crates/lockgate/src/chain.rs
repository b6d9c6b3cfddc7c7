//! `lockgate trace --chain`: what led to what, a line for each: a question, the prompt that was
//! made of it, what a model proposed, what was decided and by whom, what was done.
//!
//! It is made of the records alone, so that it shows no more than they prove. Numbers are those of
//! their entries.

use crate::client::GateClient;
use crate::output::Output;
use anyhow::Result;
use lockgate_types::Json;
use lockgate_types::model::ModelApi;
use lockgate_wire::model::Reply;
use std::collections::BTreeMap;

/// Characters of what is said, proposed or asked for.
const SHOWN_CHARS: usize = 160;
/// Hexadecimal digits of a digest.
const DIGEST_CHARS: usize = 12;

/// Reads what led to what within a call, as lines.
pub(crate) async fn of(client: &GateClient, trace: &Json, output: &Output) -> Result<Vec<String>> {
    let entries = trace.get("entries").and_then(Json::as_array).unwrap_or_default();
    let mut chain = Chain { output, lines: Vec::new(), asked: BTreeMap::new() };
    let mut requests: Vec<&Json> = Vec::new();
    for entry in entries {
        match text(entry, &["leaf", "k"]) {
            "intent" | "refusal" | "repeat" => {
                if has_approvals(entry) {
                    for request in requests.drain(..) {
                        chain.answered(client, request).await;
                    }
                }
                chain.decided(entry);
                if text(entry, &["leaf", "verdict"]) == "require_approval" {
                    requests.push(entry);
                }
            }
            "outcome" => chain.came(entry),
            _ => {}
        }
    }
    for request in requests {
        chain.answered(client, request).await;
    }
    if trace.get("is_cut").is_some() {
        chain.lines.push("        what follows is too much for one trace".to_owned());
    }
    Ok(chain.lines)
}

struct Chain<'a> {
    output: &'a Output,
    lines: Vec<String>,
    /// What was asked for, by call.
    asked: BTreeMap<&'a str, &'a Json>,
}

impl<'a> Chain<'a> {
    fn add(&mut self, entry: &Json, what: &str, said: &str) {
        let number = entry.get("index").and_then(Json::as_i64);
        let number = number.map(|number| number.to_string()).unwrap_or_default();
        self.lines.push(format!("{number:>6}  {what:<9} {said}"));
    }

    /// What was asked for, and what was decided of it.
    fn decided(&mut self, entry: &'a Json) {
        self.asked.insert(text(entry, &["leaf", "call"]), entry);
        let call = |path: &[&str]| text(entry, &[&["payload", "call"], path].concat());
        let identity = |name: &str| text(entry, &["payload", "identity", name]);
        let arguments = entry.at(&["payload", "call", "params", "arguments"]);
        let operation = text(entry, &["leaf", "operation"]);
        let model = entry.at(&["payload", "call", "model"]);
        if entry.get("payload").is_none() {
            self.add(entry, "erased", operation);
        } else if let Some(model) = model {
            let prompt = |name: &str| text(model, &["prompt", name]);
            let digest = prompt("digest").chars().take("sha256:".len() + DIGEST_CHARS);
            let tokens = model.get("input_tokens").and_then(Json::as_i64).unwrap_or_default();
            let made = match prompt("name") {
                "" => "of the client's own".to_owned(),
                name => {
                    format!("{name}, version {}, {}", prompt("version"), digest.collect::<String>())
                }
            };
            let to = format!("{made}, {tokens} tokens, for {}", text(model, &["entry"]));
            self.add(entry, "prompt", &to);
        } else if let Some(input) = arguments.and_then(|it| it.get("input")?.as_str())
            && operation == "lockgate/run_start"
        {
            let (subject, agent) = (identity("subject"), identity("agent"));
            let task = arguments.map(|it| text(it, &["task"])).unwrap_or_default();
            let said = format!("{subject}, by {agent}, for {task}: {}", shown(input));
            self.add(entry, "input", &said);
        } else if !has_approvals(entry) {
            let given = arguments.map(Json::to_string).unwrap_or_default();
            let within = if call(&["parent"]).is_empty() { "call" } else { "proposed" };
            self.add(entry, within, &format!("{operation} {}", shown(&given)));
        }
        self.ruled(entry, operation);
    }

    fn ruled(&mut self, entry: &Json, operation: &str) {
        let decision = |path: &[&str]| text(entry, &[&["payload", "decision"], path].concat());
        let policies = |path: &[&str]| {
            let names = entry.at(path).and_then(Json::as_array).unwrap_or_default();
            names.iter().filter_map(Json::as_str).collect::<Vec<_>>().join(", ")
        };
        let call = self.output.faint(&format!("[{}]", text(entry, &["leaf", "call"])));
        let verdict = match text(entry, &["leaf", "verdict"]) {
            "allow" => {
                format!("{} by {}", self.output.good("allowed"), policies(&["leaf", "policies"]))
            }
            verdict => {
                let word = match verdict {
                    "require_approval" => "needs somebody",
                    "require_plan" => "needs its plan",
                    _ => "refused",
                };
                let by = policies(&["payload", "decision", "denial", "policies"]);
                let by = if by.is_empty() { String::new() } else { format!(" by {by}") };
                format!(
                    "{} {}{by}: {}",
                    self.output.bad(word),
                    text(entry, &["leaf", "code"]),
                    shown(decision(&["denial", "reason"])),
                )
            }
        };
        let operation = if operation.is_empty() { "what nobody declared" } else { operation };
        self.add(entry, "decision", &format!("{operation} {verdict} {call}"));
    }

    /// Who agreed, as far as whoever looks may know that.
    async fn answered(&mut self, client: &GateClient, asked: &Json) {
        let call = text(asked, &["leaf", "call"]);
        let Ok(request) = client.get(&format!("/v1/approvals/{call}")).await else { return };
        let given = request.get("given").and_then(Json::as_array).unwrap_or_default();
        for given in given {
            let (requirement, by) = (text(given, &["requirement"]), text(given, &["by_call"]));
            let who = given.get("subject").and_then(Json::as_str).unwrap_or("somebody");
            let agreed = self.output.good("agreed");
            let trace = client.get(&format!("/v1/traces/{by}")).await.unwrap_or(Json::Null);
            let entries = trace.get("entries").and_then(Json::as_array).unwrap_or_default();
            let call = self.output.faint(&format!("[{by}]"));
            let said = format!("{who} {agreed} as {requirement}{} {call}", reason(entries));
            self.add(entries.first().unwrap_or(&Json::Null), "approval", &said);
        }
        if given.is_empty() {
            self.add(asked, "approval", &format!("it is {}", text(&request, &["state"])));
        }
    }

    /// What a call came to.
    fn came(&mut self, entry: &Json) {
        let asked = self.asked.get(text(entry, &["leaf", "call"])).copied();
        let asked = asked.unwrap_or(&Json::Null);
        let state = text(entry, &["leaf", "state"]);
        let code = text(entry, &["leaf", "code"]);
        let is_well = state == "succeeded" && entry.at(&["leaf", "error"]).is_none();
        let state = match is_well {
            true => self.output.good(state),
            false => self.output.bad(&format!("{state} {code}")),
        };
        let result = entry.at(&["payload", "result"]);
        if asked.at(&["payload", "call", "model"]).is_some() {
            let method = text(asked, &["payload", "call", "method"]);
            match result.and_then(|result| said(method, result)) {
                Some((what, said)) => self.add(entry, what, &said),
                None => self.add(entry, "model", &state),
            }
            return;
        }
        if text(asked, &["leaf", "upstream"]) == "lockgate" {
            return;
        }
        let effect = text(asked, &["leaf", "effect"]);
        let content = result.and_then(|it| it.get("structuredContent").or(Some(it)));
        let content = content.map(Json::to_string).unwrap_or_default();
        let label = ["integrity", "confidentiality"].map(|it| text(entry, &["leaf", "label", it]));
        if effect != "read" {
            let key = text(asked, &["payload", "call", "key"]);
            let once = if key.is_empty() { String::new() } else { format!(", once, as {key}") };
            self.add(asked, "effect", &format!("{effect}{once}"));
        }
        let said = format!("{state}, {}: {}", label.join(", "), shown(&content));
        self.add(entry, "outcome", &said);
    }
}

/// Whether it is decided once more, after somebody has agreed: the rest was shown before.
fn has_approvals(entry: &Json) -> bool {
    let path = ["payload", "moment", "approvals"];
    entry.at(&path).and_then(Json::as_array).is_some_and(|approvals| !approvals.is_empty())
}

/// What a model said.
fn said(method: &str, result: &Json) -> Option<(&'static str, String)> {
    let body = result.get(lockgate_effects::model::BODY)?;
    let reply = Reply::read(ModelApi::from_method(method)?, body).ok()?;
    let calls = reply.calls.iter().map(|call| format!("{} {}", call.name, call.arguments));
    let calls: Vec<String> = calls.collect();
    if calls.is_empty() {
        let texts: Vec<&str> = reply.texts.iter().map(|said| said.text.as_ref()).collect();
        return Some(("answer", shown(&texts.join(" "))));
    }
    Some(("model", format!("proposes {}", shown(&calls.join(", ")))))
}

/// Why somebody did something through the admin API, as they have said.
fn reason(entries: &[Json]) -> String {
    let path = ["payload", "call", "params", "arguments", "reason"];
    let given = entries.iter().find_map(|entry| entry.at(&path)?.as_str());
    given.map(|it| format!(": {}", shown(it))).unwrap_or_default()
}

/// What anybody may have written, on one line and without what a terminal would obey.
fn shown(said: &str) -> String {
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    let said: String = said.chars().filter(|c| !c.is_control()).collect();
    match said.char_indices().nth(SHOWN_CHARS) {
        Some((at, _)) => format!("{}…", said.get(..at).unwrap_or_default()),
        None => said,
    }
}

fn text<'j>(json: &'j Json, path: &[&str]) -> &'j str {
    json.at(path).and_then(Json::as_str).unwrap_or_default()
}
