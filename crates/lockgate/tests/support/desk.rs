//! An HTTP API that keeps what it was asked, and a gate before it.

use super::http::read_line;
use super::{PROGRAM, World};
use lockgate_sim::conformance::free_address;
use lockgate_sim::gate::Gate;
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

const PRINCIPALS: &str = r#"
[user.alice]
groups = ["staff"]
[user.operator]
groups = ["operators"]
[agent.bot]
environments = ["dev"]
groups = ["bots"]
[agent.lockgate-cli]
environments = ["dev"]
groups = ["operators"]
"#;

const POLICIES: &str = r#"
@id("staff")
permit (principal in Group::"staff", action, resource)
unless { action in Action::"upstream:lockgate" };

@id("bots")
permit (principal in Group::"bots", action, resource)
unless { action in Action::"upstream:lockgate" };

@id("no-spam")
forbid (principal, action == Action::"shop/create_ticket", resource)
when { context.input.title == "spam" };

@id("operators")
permit (principal in Group::"operators", action in Action::"upstream:lockgate", resource);
"#;

const OPERATIONS: &str = r#"
[tool.look]
effect = "read"
accepted = true

[tool.get_ticket]
effect = "read"
accepted = true

[tool.create_ticket]
effect = "write"
accepted = true
class = "idempotent"
key = { header = "Idempotency-Key" }

[tool.order]
effect = "write"
accepted = true
class = "queryable"
key = { argument = "reference" }
lookup = { tool = "reference", argument = "id", found = "id", missing_status = 404, settles_ms = 0 }

[tool.reference]
effect = "read"
accepted = true

[tool.close]
effect = "write"
accepted = true
repeat_window_s = 0

[tool.answer]
effect = "read"
accepted = true

[tool.do]
effect = "write"
accepted = true
repeat_window_s = 0
"#;

const TOOLS: &str = r#"
[upstream.shop.api.tool.look]
method = "GET"
path = "/tickets/{project}{number}/{part}"
description = "Looks at a part of a ticket."
argument.project = { in = "path", type = "string" }
argument.number = { in = "path", type = "string" }
argument.part = { in = "path", type = "string", description = "which part" }
argument.q = { in = "query", type = "string", optional = true }
argument.tags = { in = "query", schema = '{"type":"array","items":{"type":"string"}}', optional = true }
argument.trace = { in = "header", name = "X-Trace", type = "string", optional = true }
[upstream.shop.api.tool.reference]
method = "GET"
path = "/references/{id}"
argument.id = { in = "path", type = "string" }
[upstream.shop.api.tool.order]
method = "POST"
path = "/orders"
argument.reference = { in = "body", type = "string", optional = true }
argument.what = { in = "body", type = "string" }
[upstream.shop.api.tool.close]
method = "DELETE"
path = "/tickets/{id}"
argument.id = { in = "path", type = "string" }
[upstream.shop.api.tool.answer]
method = "GET"
path = "/answers/{how}"
argument.how = { in = "path", type = "string" }
[upstream.shop.api.tool.do]
method = "POST"
path = "/answers/{how}"
argument.how = { in = "path", type = "string" }
"#;

/// The OpenAPI document of a part of it.
pub(crate) fn document() -> Value {
    json!({
        "openapi": "3.0.3",
        "info": {"title": "desk", "version": "1"},
        "servers": [{"url": "https://elsewhere.example/v9"}],
        "paths": {
            "/tickets/{id}": {
                "parameters": [{"$ref": "#/components/parameters/Id"}],
                "get": {
                    "operationId": "get_ticket",
                    "summary": "One ticket.",
                    "parameters": [
                        {"name": "fields", "in": "query",
                         "schema": {"type": "array", "items": {"type": "string"}}}
                    ],
                },
                "put": {"operationId": "replaceTicket", "requestBody": {"content": {
                    "application/json": {"schema": {"$ref": "#/components/schemas/Ticket"}}}}},
                "delete": {"operationId": "wipe"},
            },
            "/tickets": {
                "post": {
                    "operationId": "create_ticket",
                    "requestBody": {"required": true, "content": {"application/json": {
                        "schema": {"$ref": "#/components/schemas/Ticket"}}}},
                },
            },
            "/upload": {
                "post": {"operationId": "upload", "requestBody": {"required": true, "content": {
                    "multipart/form-data": {}}}},
            },
        },
        "components": {
            "parameters": {
                "Id": {"name": "id", "in": "path", "required": true,
                       "schema": {"type": "integer"}},
            },
            "schemas": {
                "Ticket": {"allOf": [
                    {"type": "object", "required": ["title"],
                     "properties": {"title": {"type": "string"}}},
                    {"type": "object", "properties": {"amount": {"type": "number"}}},
                ]},
            },
        },
    })
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// What goes wrong with a write.
#[derive(Clone, Copy)]
pub(crate) enum Fault {
    /// The connection is closed, and nothing done.
    Dropped,
    /// The answer is 503, and nothing done.
    Refused,
    /// It is done, and the connection closed instead of an answer.
    Lost,
    /// It is done, and half of the answer sent.
    Cut,
}

#[derive(Default)]
struct State {
    seen: Vec<Seen>,
    faults: VecDeque<Fault>,
    /// What was done, by key or reference, and how often.
    done: BTreeMap<String, u32>,
}

/// The API.
pub(crate) struct Desk {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Desk {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, state) = (listener.local_addr().unwrap(), Arc::<Mutex<State>>::default());
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                std::thread::spawn(move || serve(stream, &state, address));
            }
        });
        Self { address, state }
    }

    /// What has arrived since it was last asked.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.state.lock().unwrap().seen)
    }

    pub(crate) fn fail(&self, faults: &[Fault]) {
        self.state.lock().unwrap().faults.extend(faults);
    }

    /// How often each thing was done.
    pub(crate) fn done(&self) -> Vec<u32> {
        self.state.lock().unwrap().done.values().copied().collect()
    }
}

fn serve(stream: TcpStream, state: &Mutex<State>, own: SocketAddr) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let seen = receive(&mut stream)?;
        let mut held = state.lock().unwrap();
        held.seen.push(seen.clone());
        let answer = answer(&seen, &mut held, own)?;
        drop(held);
        stream.get_mut().write_all(&answer.0).ok()?;
        if answer.1 {
            return None;
        }
    }
}

fn receive(stream: &mut BufReader<TcpStream>) -> Option<Seen> {
    let line = read_line(stream).ok()?;
    let mut words = line.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let line = read_line(stream).ok()?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let mut seen = Seen { method, target, headers, body: String::new() };
    assert_eq!(seen.header("transfer-encoding"), None);
    let length = seen.header("content-length").map_or(0, |it| it.parse().unwrap());
    stream.take(length).read_to_string(&mut seen.body).ok()?;
    Some(seen)
}

fn reply(status: &str, headers: &[&str], body: &str) -> Option<(Vec<u8>, bool)> {
    let headers: String = headers.iter().map(|it| format!("{it}\r\n")).collect();
    let length = body.len();
    let text = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\n\r\n{body}");
    Some((text.into_bytes(), false))
}

const JSON: &str = "Content-Type: application/json";

/// The answer to a request, and whether the connection ends with it. `None`: it ends without.
fn answer(seen: &Seen, state: &mut State, own: SocketAddr) -> Option<(Vec<u8>, bool)> {
    let path = seen.target.split('?').next().unwrap();
    if let Some(how) = path.strip_prefix("/v1/answers/") {
        return special(how, own);
    }
    if let Some(id) = path.strip_prefix("/v1/references/") {
        return match state.done.contains_key(id) {
            true => reply("200 OK", &[JSON], &json!({"id": id}).to_string()),
            false => reply("404 Not Found", &[JSON], r#"{"error": "no such reference"}"#),
        };
    }
    if seen.method == "GET" {
        let body = json!({"target": seen.target, "credential": seen.header("x-credential")});
        return reply("200 OK", &[JSON], &body.to_string());
    }
    let fault = state.faults.pop_front();
    if let Some(Fault::Dropped) = fault {
        return None;
    }
    if let Some(Fault::Refused) = fault {
        return reply("503 Service Unavailable", &["Retry-After: 1"], "");
    }
    let given: Value = serde_json::from_str(&seen.body).unwrap_or_default();
    let key = seen.header("idempotency-key").or(given["reference"].as_str()).unwrap_or("none");
    // An API that knows a key does nothing the second time.
    let count = state.done.entry(key.to_owned()).or_default();
    if *count == 0 || seen.header("idempotency-key").is_none() {
        *count += 1;
    }
    match fault {
        Some(Fault::Lost) => None,
        Some(Fault::Cut) => {
            let (mut bytes, _) = reply("201 Created", &[JSON], r#"{"id": 1}"#)?;
            bytes.truncate(bytes.len() - 4);
            Some((bytes, true))
        }
        _ => reply("201 Created", &[JSON], r#"{"id": 1}"#),
    }
}

fn special(how: &str, own: SocketAddr) -> Option<(Vec<u8>, bool)> {
    let to = |place: &str| reply("302 Found", &[&format!("Location: {place}")], "");
    let other = format!("http://localhost:{}/v1/tickets/1", own.port());
    match how {
        "text" => reply("200 OK", &["Content-Type: text/plain"], "plain words"),
        "list" => reply("200 OK", &[JSON], "[1, 2]"),
        "image" => reply("200 OK", &["Content-Type: image/png"], "PNG"),
        "packed" => reply("200 OK", &[JSON, "Content-Encoding: gzip"], "{}"),
        "broken" => reply("200 OK", &[JSON], "{"),
        "empty" => reply("204 No Content", &[], ""),
        "large" => reply("200 OK", &[JSON], &json!({"x": "y".repeat(5000)}).to_string()),
        "endless" => {
            let (head, body) = ("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n", "z");
            Some((format!("{head}{}", body.repeat(5000)).into_bytes(), true))
        }
        "here" => to("/v1/tickets/7"),
        "whole" => to(&format!("http://{own}/v1/tickets/8")),
        "elsewhere" => to(&other),
        "without-scheme" => to("//evil.example/"),
        "round" => to("/v1/answers/round"),
        "temporary" => reply("307 Temporary Redirect", &["Location: /v1/tickets/7"], ""),
        "401" => reply("401 Unauthorized", &[JSON], r#"{"error": "who?"}"#),
        "403" => reply("403 Forbidden", &["Content-Type: text/plain"], "not this one"),
        "429" => reply("429 Too Many Requests", &["Retry-After: 30"], ""),
        "500" => reply("500 Internal Server Error", &[], ""),
        other => panic!("no answer is named `{other}`"),
    }
}

/// A gate before it, at an address with that host, written and not started.
pub(crate) fn world(desk: &Desk, host: &str, more: &str) -> World {
    let gate = Gate::new(PROGRAM).unwrap();
    let address = free_address().unwrap();
    let port = desk.address.port();
    let lockgate = format!(
        "environment = \"dev\"\n\n[[listen]]\naddress = \"{address}\"\n\n\
         [development]\nusers = [\"alice\", \"operator\"]\n\n\
         [limits]\nanswer_bytes_max = 4096\n\n\
         [upstream.shop]\ntimeout_ms = 5000\nheaders = {{ X-Credential = \"the-gate\" }}\n\
         breaker = {{ failures = 0 }}\n{more}\n\n\
         [upstream.shop.api]\nbase_url = \"http://{host}:{port}/v1\"\n\
         openapi = \"apis/shop.json\"\n{TOOLS}"
    );
    let document = document().to_string();
    for (path, text) in [
        ("lockgate.toml", lockgate.as_str()),
        ("principals.toml", PRINCIPALS),
        ("policies/test.cedar", POLICIES),
        ("operations/shop.toml", OPERATIONS),
        ("apis/shop.json", &document),
    ] {
        let path = gate.bundle().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    World { gate, address }
}
