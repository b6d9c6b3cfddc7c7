//! A gate before a stand-in for providers of models, and clients that ask models through it.

use super::http::{Answer, Connection, Request, exchange};
use super::{Running, World};
use lockgate_sim::conformance::free_address;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

/// The three APIs with text and calls.
pub(crate) const APIS: [&str; 3] = ["chat/completions", "responses", "messages"];

const POLICIES: &str = r#"
@id("staff-models")
permit (principal in Group::"staff", action, resource)
when { resource in Upstream::"oai" || resource in Upstream::"ant" || resource in Upstream::"spare" };

@id("bot-models")
permit (principal in Group::"bots", action, resource)
when { resource in Upstream::"oai" || resource in Upstream::"ant" || resource in Upstream::"spare" };

@id("unasked")
@remedy("write to somebody who asked")
forbid (principal, action == Action::"oai/send_mail", resource)
when { context.input has to && context.input.to == "spam" };

@id("unasked-either")
forbid (principal, action == Action::"ant/send_mail", resource)
when { context.input has to && context.input.to == "spam" };

@id("no-spam")
@reason("nobody wants spam")
@remedy("say something else")
forbid (principal, action == Action::"tool/echo", resource)
when { context.input has text && context.input.text == "spam" };
"#;

pub(crate) const FUNCTIONS: &str = r#"
[tool.send_mail]
effect = "egress"
accepted = true
repeat_window_s = 0
schema = '{"type":"object","properties":{"to":{"type":"string"}}}'
"#;

/// A gate before two providers and one that stands in, all of them the stand-in.
pub(crate) struct Models {
    pub(crate) world: World,
    pub(crate) token: String,
    /// Where the stand-in answers.
    pub(crate) provider: SocketAddr,
    /// Where the gate takes everybody for the one that the token names.
    pub(crate) fixed: SocketAddr,
    _running: Running,
}

impl Models {
    pub(crate) fn started() -> Self {
        Self::with("")
    }

    /// With more in every entry of the registry.
    pub(crate) fn with(entry: &str) -> Self {
        Self::of(entry, &[])
    }

    /// With more in every entry, and other files in the bundle.
    pub(crate) fn of(entry: &str, files: &[(&str, &str)]) -> Self {
        let entries = [
            ("models/large.toml", entry_of("oai", "fallback = [\"second\"]", entry)),
            ("models/second.toml", entry_of("spare", "id = \"second-1\"", entry)),
            ("models/lone.toml", entry_of("oai", "id = \"lone-1\"", entry)),
            ("models/claude.toml", entry_of("ant", "asks = [\"claude*\", \"large\"]", entry)),
        ];
        Self::build(&entries, files)
    }

    /// With one entry of each family, which takes every name.
    pub(crate) fn for_any_name(entry: &str) -> Self {
        let any = |upstream: &str| entry_of(upstream, "asks = [\"*\"]", entry);
        let entries = [("models/any.toml", any("oai")), ("models/any-claude.toml", any("ant"))];
        Self::build(&entries, &[])
    }

    fn build(entries: &[(&str, String)], files: &[(&str, &str)]) -> Self {
        let (running, provider) = stand_in();
        let mut world = World::new();
        let provider_of = |name: &str, family: &str| {
            format!(
                "[upstream.{name}.model]\nfamily = \"{family}\"\n\
                 base_url = \"http://{provider}/{name}/v1\"\n"
            )
        };
        world.configure(&provider_of("oai", "openai"));
        world.configure(&provider_of("ant", "anthropic"));
        world.configure(&provider_of("spare", "openai"));
        let fixed = free_address().unwrap();
        world.configure(&format!(
            "[[listen]]\naddress = \"{fixed}\"\n\
             identity = {{ subject = \"alice\", agent = \"bot\" }}\n"
        ));
        let entries = entries.iter().map(|(path, text)| (*path, text.as_str()));
        let rules = [
            ("policies/models.cedar", POLICIES),
            ("operations/oai.toml", FUNCTIONS),
            ("operations/ant.toml", FUNCTIONS),
        ];
        for (path, text) in rules.into_iter().chain(entries).chain(files.iter().copied()) {
            let path = world.gate.bundle().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        world.start();
        let token = world.token("alice", "bot");
        Self { world, token, provider, fixed, _running: running }
    }

    /// What the stand-in was asked.
    pub(crate) fn seen(&self) -> Vec<Value> {
        let answer = exchange(self.provider, &Request::new("GET", "/seen"));
        answer.json().as_array().unwrap().clone()
    }

    /// Lets a stand-in that waits go on.
    pub(crate) fn go(&self) {
        exchange(self.provider, &Request::new("GET", "/go"));
    }

    /// Has providers fail, by name, from now on; none of them if there is no name.
    pub(crate) fn down(&self, names: &[&str]) {
        exchange(self.provider, &Request::new("GET", "/up"));
        for name in names {
            exchange(self.provider, &Request::new("GET", &format!("/down/{name}")));
        }
    }

    pub(crate) fn request(&self, api: &str, body: &Value) -> Request {
        Request::post(&format!("/v1/{api}"), body.to_string())
            .with("Authorization", &format!("Bearer {}", self.token))
    }

    pub(crate) fn ask(&self, api: &str, body: &Value) -> Answer {
        Connection::open(self.world.address).exchange(&self.request(api, body))
    }

    /// Asks in the form of an API; a stream is put together again as its SDK does.
    pub(crate) fn say(&self, api: &str, text: &str, is_stream: bool) -> Said {
        self.said(api, &asking(api, text, is_stream), is_stream)
    }

    /// The same of a body.
    pub(crate) fn said(&self, api: &str, body: &Value, is_stream: bool) -> Said {
        Said::of(api, is_stream, &self.ask(api, body))
    }
}

fn entry_of(upstream: &str, more: &str, entry: &str) -> String {
    format!("upstream = \"{upstream}\"\nversion = \"1\"\n{more}\n{entry}\n")
}

fn stand_in() -> (Running, SocketAddr) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/model.py");
    let mut command = Command::new("python3");
    let mut child = command.arg(script).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let port: u16 = line.trim().parse().unwrap();
    (Running(child), SocketAddr::from(([127, 0, 0, 1], port)))
}

/// The body that asks a model something.
pub(crate) fn asking(api: &str, text: &str, is_stream: bool) -> Value {
    let message = json!([{"role": "user", "content": text}]);
    let mut body = json!({"model": "large", "stream": is_stream});
    let name = if api == "responses" { "input" } else { "messages" };
    body[name] = message;
    if api == "messages" {
        body["max_tokens"] = json!(100);
    }
    body
}

/// What an answer came to.
#[derive(Debug, Default)]
pub(crate) struct Said {
    pub(crate) status: u16,
    pub(crate) text: String,
    pub(crate) thought: String,
    /// Names and arguments.
    pub(crate) calls: Vec<(String, String)>,
    /// Why it ended.
    pub(crate) finish: String,
    /// The error that the SDK would raise.
    pub(crate) error: Option<Value>,
    /// Everything that was on the wire.
    pub(crate) wire: String,
}

impl Said {
    fn of(api: &str, is_stream: bool, answer: &Answer) -> Self {
        let wire = answer.text();
        let mut said = Self { status: answer.status, wire, ..Self::default() };
        if said.status != 200 {
            said.error = Some(answer.json()["error"].clone());
            return said;
        }
        if is_stream {
            for line in said.wire.clone().lines() {
                let Some(data) = line.strip_prefix("data: ") else { continue };
                if let Ok(data) = serde_json::from_str::<Value>(data) {
                    said.event(api, &data);
                }
            }
        } else {
            said.whole(api, &answer.json());
        }
        said
    }

    fn whole(&mut self, api: &str, body: &Value) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        match api {
            "chat/completions" => {
                let choice = &body["choices"][0];
                self.text = text(&choice["message"]["content"]);
                self.finish = text(&choice["finish_reason"]);
                for call in choice["message"]["tool_calls"].as_array().into_iter().flatten() {
                    let function = &call["function"];
                    self.calls.push((text(&function["name"]), text(&function["arguments"])));
                }
            }
            "responses" => {
                self.finish = text(&body["status"]);
                for item in body["output"].as_array().into_iter().flatten() {
                    self.text += &text(&item["content"][0]["text"]);
                    self.thought += &text(&item["summary"][0]["text"]);
                    if item["type"] == "function_call" {
                        self.calls.push((text(&item["name"]), text(&item["arguments"])));
                    }
                }
            }
            _ => {
                self.finish = text(&body["stop_reason"]);
                for block in body["content"].as_array().into_iter().flatten() {
                    self.text += &text(&block["text"]);
                    self.thought += &text(&block["thinking"]);
                    if block["type"] == "tool_use" {
                        self.calls.push((text(&block["name"]), block["input"].to_string()));
                    }
                }
            }
        }
    }

    fn event(&mut self, api: &str, data: &Value) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        if data["error"].is_object() {
            self.error = Some(data["error"].clone());
        }
        match (api, data["type"].as_str().unwrap_or_default()) {
            ("chat/completions", _) => {
                let choice = &data["choices"][0];
                self.text += &text(&choice["delta"]["content"]);
                self.finish += &text(&choice["finish_reason"]);
                for call in choice["delta"]["tool_calls"].as_array().into_iter().flatten() {
                    let function = &call["function"];
                    match text(&function["name"]) {
                        name if name.is_empty() => {}
                        name => self.calls.push((name, String::new())),
                    }
                    if let Some((_, arguments)) = self.calls.last_mut() {
                        *arguments += &text(&function["arguments"]);
                    }
                }
            }
            ("responses", "response.failed") => {
                self.error = Some(data["response"]["error"].clone());
            }
            // What the SDK gives back in the end is what the last event carries.
            ("responses", "response.completed" | "response.incomplete") => {
                self.whole(api, &data["response"])
            }
            ("messages", "content_block_start") => {
                let block = &data["content_block"];
                if block["type"] == "tool_use" {
                    self.calls.push((text(&block["name"]), String::new()));
                }
            }
            ("messages", "content_block_delta") => {
                self.text += &text(&data["delta"]["text"]);
                self.thought += &text(&data["delta"]["thinking"]);
                if let Some((_, arguments)) = self.calls.last_mut() {
                    *arguments += &text(&data["delta"]["partial_json"]);
                }
            }
            ("messages", "message_delta") => self.finish = text(&data["delta"]["stop_reason"]),
            _ => {}
        }
    }
}
