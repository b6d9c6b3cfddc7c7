//! A gate that drives runs before a shop, with a model of the tests' own.

use super::PROGRAM;
use super::http::{Answer, Connection, Request, exchange};
use super::shop::{self, Faults, Shop};
use lockgate_sim::brain::StandIn;
use lockgate_sim::conformance::free_address;
use lockgate_sim::gate::Gate;
use lockgate_sim::wait;
use serde_json::{Value, json};
use std::fs;
use std::net::SocketAddr;

/// The task that is run.
pub(crate) const TASK: &str = r#"
models = ["stand-in"]
[run]
prompt = "work"
tools = ["tool/pay", "tool/order", "tool/letter", "tool/find"]
"#;

const PROMPT: &str = r#"
version = "1"
[[segment]]
kind = "instructions"
text = "Do what is asked, with the tools."
[[segment]]
kind = "data"
name = "outcomes"
value = 10
[[segment]]
kind = "input"
"#;

/// A gate, the model that it asks, and what it does things at.
pub(crate) struct Runs {
    pub(crate) gate: Gate,
    pub(crate) address: SocketAddr,
    pub(crate) shop: Shop,
    pub(crate) model: StandIn,
    pub(crate) token: String,
}

impl Runs {
    /// Written, not started.
    pub(crate) fn new(model: StandIn, task: &str) -> Self {
        let shop = Shop::start(7, Faults::NONE);
        let gate = Gate::new(PROGRAM).unwrap();
        let address = free_address().unwrap();
        shop::write_bundle(&gate, &shop, address, "");
        let provider = format!(
            "\n[upstream.brain]\ntimeout_ms = 20000\nbreaker = {{ failures = 0 }}\n\
             [upstream.brain.model]\nfamily = \"openai\"\nbase_url = \"http://{}/v1\"\n",
            model.address
        );
        gate.edit("lockgate.toml", |text| format!("{text}{provider}")).unwrap();
        let runs = Self { gate, address, shop, model, token: String::new() };
        runs.write(
            "models/stand-in.toml",
            "upstream = \"brain\"\nversion = \"1\"\nceiling = \"restricted\"\n\
             [price]\ncurrency = \"EUR\"\ninput = 100\noutput = 200\n",
        );
        runs.write("prompts/work.toml", PROMPT);
        runs.write("tasks/errand.toml", task);
        runs
    }

    pub(crate) fn started(model: StandIn, task: &str) -> Self {
        let mut runs = Self::new(model, task);
        runs.start();
        runs
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.gate.bundle().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn start(&mut self) {
        self.gate.start(self.address).unwrap();
        if self.token.is_empty() {
            self.token = self.token_of("alice");
        }
    }

    pub(crate) fn token_of(&self, user: &str) -> String {
        self.gate.command(&["token", user, "--agent", "bot"]).unwrap().trim().to_owned()
    }

    /// Asks the admin API, as whoever has that token.
    pub(crate) fn ask_as(&self, token: &str, method: &str, path: &str, body: &Value) -> Answer {
        let body = if method == "POST" { body.to_string() } else { String::new() };
        let request = Request { body: body.into_bytes(), ..Request::new(method, path) };
        exchange(self.address, &request.with("Authorization", &format!("Bearer {token}")))
    }

    pub(crate) fn ask(&self, method: &str, path: &str, body: &Value) -> Answer {
        self.ask_as(&self.token, method, path, body)
    }

    /// Starts a run.
    pub(crate) fn begin(&self, input: &str) -> String {
        let answer = self.ask("POST", "/v1/runs", &json!({"task": "errand", "input": input}));
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()["run"].as_str().unwrap().to_owned()
    }

    pub(crate) fn show(&self, run: &str) -> Value {
        let answer = self.ask("GET", &format!("/v1/runs/{run}"), &Value::Null);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    /// A run, once it is like that.
    pub(crate) fn until(&self, run: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        let mut shown = Value::Null;
        let found = wait::until("a run to come so far", super::SOON, || {
            shown = self.show(run);
            is_it(&shown).then(|| shown.clone())
        });
        found.unwrap_or_else(|error| panic!("{error}: {shown:#}\n{}", self.gate.log()))
    }

    /// A run, once it is over.
    pub(crate) fn over(&self, run: &str) -> Value {
        self.until(run, |run| run["state"] == "finished" || run["state"] == "stopped")
    }

    /// Follows a journal: the events, as they are written, to its end.
    pub(crate) fn events(&self, run: &str, after: Option<u64>) -> Vec<Value> {
        let mut request = Request::new("GET", &format!("/v1/runs/{run}/events"))
            .with("Authorization", &format!("Bearer {}", self.token));
        if let Some(after) = after {
            request = request.with("Last-Event-ID", &after.to_string());
        }
        let answer = Connection::open(self.address).exchange(&request);
        assert_eq!(answer.header("content-type"), Some("text/event-stream"), "{}", answer.text());
        let text = answer.text();
        let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
        data.map(|data| serde_json::from_str(data).unwrap()).collect()
    }
}
