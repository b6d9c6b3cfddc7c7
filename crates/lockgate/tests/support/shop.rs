//! An upstream that counts what it has done, and goes wrong in every way that upstreams do.
//!
//! Each write names what it is for (`n`), so that doing something twice is seen. Faults come from a
//! seed: the request is dropped, refused, done and the answer lost or cut, done late, or never.

use super::http::{Connection, Request, read_line};
use super::{Client, PROGRAM, Running, SOON, request};
use lockgate_sim::conformance::free_address;
use lockgate_sim::gate::Gate;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fs;
use std::io::{BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// How long the gate waits for an answer.
pub(crate) const TIMEOUT: Duration = Duration::from_millis(400);
/// When what is late arrives: after the gate gave up.
const LATE: Duration = Duration::from_millis(600);
/// When what was not found is known not to come any more.
const SETTLES: Duration = Duration::from_millis(1500);

/// The writes, one of each class.
pub(crate) const WRITES: [&str; 3] = ["pay", "order", "letter"];

const OPERATIONS: &str = r#"
[tool.pay]
effect = "write"
accepted = true
class = "idempotent"
key = { header = "Idempotency-Key" }
schema = '{"type":"object","properties":{"n":{"type":"string"}},"required":["n"]}'

[tool.order]
effect = "write"
accepted = true
class = "queryable"
key = { argument = "reference" }
lookup = { tool = "find", argument = "reference", found = "found", settles_ms = SETTLES }
schema = '{"type":"object","properties":{"n":{"type":"string"},"reference":{"type":"string"}},"required":["n"]}'

[tool.letter]
effect = "egress"
accepted = true
schema = '{"type":"object","properties":{"n":{"type":"string"}},"required":["n"]}'

[tool.find]
effect = "read"
accepted = true
schema = '{"type":"object","properties":{"reference":{"type":"string"}},"required":["reference"]}'
"#;

const PRINCIPALS: &str = r#"
[user.alice]
[user.bob]
[user.carol]
[user.operator]
[agent.bot]
environments = ["dev"]
[agent.lockgate-cli]
environments = ["dev"]
"#;

const POLICIES: &str = r#"
@id("all") permit (principal, action, resource);
"#;

/// How often things go wrong, in thousandths of all calls.
#[derive(Clone, Copy)]
pub(crate) struct Faults {
    /// The connection is reset, and nothing done.
    pub(crate) reset: u64,
    /// The answer is 503, and nothing done.
    pub(crate) refused: u64,
    /// It is done, and the connection closed instead of an answer.
    pub(crate) lost: u64,
    /// It is done, and half of the answer sent.
    pub(crate) cut: u64,
    /// It is done after the gate gave up.
    pub(crate) late: u64,
    /// Nothing is done, and nothing said.
    pub(crate) hangs: u64,
}

impl Faults {
    pub(crate) const NONE: Self = Self { reset: 0, refused: 0, lost: 0, cut: 0, late: 0, hangs: 0 };
}

/// The upstream.
pub(crate) struct Shop {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
    chaos: Option<Chaos>,
}

/// Says where a program is that stands before the shop and does more harm: it is started with the
/// shop's address and a port, and told by `POST /__chaos` what to do.
const CHAOS_VARIABLE: &str = "LOCKGATE_CHAOS";

/// That program.
struct Chaos {
    address: SocketAddr,
    _program: Running,
}

impl Chaos {
    fn start(shop: SocketAddr) -> Option<Self> {
        let script = std::env::var_os(CHAOS_VARIABLE)?;
        let address = free_address().unwrap();
        let mut node = Command::new("node");
        node.arg(script).arg(format!("http://{shop}")).arg(address.port().to_string());
        let program = Running(node.spawn().unwrap());
        lockgate_sim::wait::until_listening(address, SOON).unwrap();
        let chaos = Self { address, _program: program };
        chaos.tell(&json!({"reset": 0.1, "error": 0.1, "truncate": 0.2, "hang": 0.02}));
        Some(chaos)
    }

    fn tell(&self, what: &Value) {
        let told =
            Connection::open(self.address).exchange(&Request::post("/__chaos", what.to_string()));
        assert_eq!(told.status, 200);
    }
}

struct State {
    faults: Mutex<Faults>,
    random: AtomicU64,
    /// What was done: the tool and what for, with the keys under which it was.
    done: Mutex<HashMap<(String, String), Vec<String>>>,
    /// When calls arrived, in microseconds since 1970, and their keys.
    arrived: Mutex<Vec<(i64, String)>>,
    is_over: AtomicBool,
    /// Whether calls wait, once they have arrived.
    is_held: Mutex<bool>,
    /// Whether answers wait, once it is done.
    is_silent: Mutex<bool>,
    let_go: Condvar,
}

impl Shop {
    pub(crate) fn start(seed: u64, faults: Faults) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            faults: Mutex::new(faults),
            random: AtomicU64::new(seed | 1),
            done: Mutex::default(),
            arrived: Mutex::default(),
            is_over: AtomicBool::new(false),
            is_held: Mutex::new(false),
            is_silent: Mutex::new(false),
            let_go: Condvar::new(),
        });
        let served = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if served.is_over.load(Ordering::Relaxed) {
                    return;
                }
                let (stream, state) = (stream.unwrap(), Arc::clone(&served));
                std::thread::spawn(move || serve(&state, stream));
            }
        });
        let chaos = Chaos::start(address);
        let address = chaos.as_ref().map_or(address, |chaos| chaos.address);
        Self { address, state, chaos }
    }

    /// From now on.
    pub(crate) fn set_faults(&self, faults: Faults) {
        if let Some(chaos) = &self.chaos {
            chaos.tell(&json!({}));
        }
        *self.state.faults.lock().unwrap() = faults;
    }

    /// From now on calls that arrive wait.
    pub(crate) fn hold(&self) {
        *self.state.is_held.lock().unwrap() = true;
    }

    /// From now on what is asked for is done, and nobody told.
    pub(crate) fn fall_silent(&self) {
        *self.state.is_silent.lock().unwrap() = true;
    }

    /// Those that wait go on, and those that come.
    pub(crate) fn let_go(&self) {
        *self.state.is_silent.lock().unwrap() = false;
        *self.state.is_held.lock().unwrap() = false;
        self.state.let_go.notify_all();
    }

    /// How often something was done.
    pub(crate) fn count(&self, tool: &str, n: &str) -> usize {
        let done = self.state.done.lock().unwrap();
        done.get(&(tool.to_owned(), n.to_owned())).map_or(0, Vec::len)
    }

    /// When calls have arrived since this was last asked, with their keys.
    pub(crate) fn take_arrived(&self) -> Vec<(i64, String)> {
        std::mem::take(&mut self.state.arrived.lock().unwrap())
    }

    /// How many calls have arrived since.
    pub(crate) fn count_arrived(&self) -> usize {
        self.state.arrived.lock().unwrap().len()
    }

    /// The keys under which things were done, where there was one.
    pub(crate) fn keys(&self) -> Vec<String> {
        let done = self.state.done.lock().unwrap();
        done.values().flatten().filter(|key| !key.is_empty()).cloned().collect()
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        self.let_go();
        self.state.is_over.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

/// A gate before a shop.
pub(crate) fn gate(shop: &Shop) -> (Gate, SocketAddr) {
    let gate = Gate::new(PROGRAM).unwrap();
    let address = free_address().unwrap();
    write_bundle(&gate, shop, address, "");
    (gate, address)
}

/// Writes the bundle of a gate before a shop, which is never left alone, however often it fails:
/// what is seen is what becomes of every write. `more` comes first in `lockgate.toml`.
pub(crate) fn write_bundle(gate: &Gate, shop: &Shop, address: SocketAddr, more: &str) {
    let lockgate = format!(
        "environment = \"dev\"\n{more}\n[[listen]]\naddress = \"{address}\"\n\n\
         [development]\nusers = [\"alice\", \"bob\", \"carol\", \"operator\"]\n\n\
         [upstream.tool]\nurl = \"http://{}/mcp\"\nera = \"stateless\"\ntimeout_ms = {}\n\
         breaker = {{ failures = 0 }}\n",
        shop.address,
        TIMEOUT.as_millis(),
    );
    let operations = OPERATIONS.replace("SETTLES", &SETTLES.as_millis().to_string());
    for (path, text) in [
        ("lockgate.toml", lockgate.as_str()),
        ("principals.toml", PRINCIPALS),
        ("policies/test.cedar", POLICIES),
        ("operations/tool.toml", &operations),
    ] {
        let path = gate.bundle().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

/// A call of a write, without a token.
pub(crate) fn write(tool: &str, n: &str) -> Request {
    let params = json!({"name": tool, "arguments": {"n": n}});
    request("tools/call", params).with("Mcp-Name", tool)
}

impl Client {
    /// The same on a new connection.
    pub(crate) fn again(&mut self, tool: &str, n: &str) -> std::io::Result<String> {
        self.connection = Connection::open(self.connection.peer());
        self.write(tool, n)
    }

    /// Asks for a write; the code of the refusal, empty if there is none. `Err`: the gate is gone.
    pub(crate) fn write(&mut self, tool: &str, n: &str) -> std::io::Result<String> {
        let request = write(tool, n).with("Authorization", &format!("Bearer {}", self.token));
        let answer = self.connection.try_exchange(&request)?;
        match answer.json() {
            Value::Null => Err(std::io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(answer.code()),
        }
    }
}

impl State {
    /// A number below 1000, from the seed.
    fn roll(&self) -> u64 {
        let next = |mut x: u64| {
            x ^= x << 13;
            x ^= x >> 7;
            x ^ (x << 17)
        };
        let order = Ordering::Relaxed;
        let before = self.random.fetch_update(order, order, |x| Some(next(x))).unwrap();
        (next(before) >> 20) % 1000
    }

    /// Does what is asked, and says so.
    fn perform(&self, tool: &str, arguments: &Value, header: &str) -> Value {
        let text = |name: &str| arguments[name].as_str().unwrap_or_default().to_owned();
        let mut done = self.done.lock().unwrap();
        if tool == "find" {
            let reference = text("reference");
            let is_there =
                done.iter().any(|((tool, _), keys)| tool == "order" && keys.contains(&reference));
            return json!({"content": [], "structuredContent": {"found": is_there}});
        }
        let key = if tool == "pay" { header.to_owned() } else { text("reference") };
        let keys = done.entry((tool.to_owned(), text("n"))).or_default();
        // Only this tool honours its key.
        if tool != "pay" || !keys.contains(&key) {
            keys.push(key);
        }
        json!({"content": [{"type": "text", "text": format!("done for {}", text("n"))}]})
    }
}

/// What goes wrong with a call.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    Reset,
    Refused,
    Lost,
    Cut,
    Late,
    Hangs,
}

fn serve(state: &Arc<State>, stream: TcpStream) {
    stream.set_nodelay(true).unwrap();
    let mut reader = BufReader::new(stream);
    while let Ok((message, key)) = receive(&mut reader) {
        let (method, params) = (message["method"].as_str().unwrap_or_default(), &message["params"]);
        let id = &message["id"];
        let mut result = match method {
            "server/discover" => {
                json!({"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}},
                    "ttlMs": 3_600_000, "cacheScope": "public"})
            }
            "tools/list" => json!({"tools": [], "ttlMs": 3_600_000, "cacheScope": "public"}),
            "tools/call" => {
                state.arrived.lock().unwrap().push((now_us(), key.clone()));
                let is_held = state.is_held.lock().unwrap();
                drop(state.let_go.wait_while(is_held, |is_held| *is_held).unwrap());
                let fault = fault(state);
                let tool = params["name"].as_str().unwrap_or_default();
                match fault {
                    Fault::Reset => return,
                    Fault::Refused => {
                        if reply(&mut reader, 503, b"not now").is_err() {
                            return;
                        }
                        continue;
                    }
                    // tidy: allow sleep: to be late is what it does
                    Fault::Hangs => std::thread::sleep(2 * LATE),
                    // tidy: allow sleep: the same
                    Fault::Late => std::thread::sleep(LATE),
                    Fault::None | Fault::Lost | Fault::Cut => {}
                }
                if fault == Fault::Hangs {
                    return;
                }
                let result = state.perform(tool, &params["arguments"], &key);
                let is_silent = state.is_silent.lock().unwrap();
                drop(state.let_go.wait_while(is_silent, |is_silent| *is_silent).unwrap());
                if fault == Fault::Lost {
                    return;
                }
                if fault == Fault::Cut {
                    let _ = reader.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-type: appl");
                    let _ = reader.get_mut().shutdown(Shutdown::Both);
                    return;
                }
                result
            }
            _ => json!({}),
        };
        result["resultType"] = json!("complete");
        let body = json!({"jsonrpc": "2.0", "id": id, "result": result}).to_string();
        if reply(&mut reader, 200, body.as_bytes()).is_err() {
            return;
        }
    }
}

/// Microseconds since 1970.
pub(crate) fn now_us() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_micros()).unwrap()
}

fn fault(state: &State) -> Fault {
    let faults = *state.faults.lock().unwrap();
    let mut roll = state.roll();
    for (share, fault) in [
        (faults.reset, Fault::Reset),
        (faults.refused, Fault::Refused),
        (faults.lost, Fault::Lost),
        (faults.cut, Fault::Cut),
        (faults.late, Fault::Late),
        (faults.hangs, Fault::Hangs),
    ] {
        if roll < share {
            return fault;
        }
        roll -= share;
    }
    Fault::None
}

fn reply(reader: &mut BufReader<TcpStream>, status: u16, body: &[u8]) -> std::io::Result<()> {
    let kind = if status == 200 { "application/json" } else { "text/plain" };
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let stream = reader.get_mut();
    stream.write_all(&[head.as_bytes(), body].concat())
}

/// A message, and the idempotency key beside it.
fn receive(reader: &mut BufReader<TcpStream>) -> std::io::Result<(Value, String)> {
    let (mut length, mut key) = (0_usize, String::new());
    read_line(reader)?;
    loop {
        let line = read_line(reader)?;
        let Some((name, value)) = line.split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().unwrap(),
            "idempotency-key" => value.trim().clone_into(&mut key),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok((serde_json::from_slice(&body).unwrap_or(Value::Null), key))
}

/// The calls that the gate says are in doubt, by asking it until all that can be found out is.
pub(crate) fn doubts(gate: &Gate) -> Vec<Value> {
    let listed = gate.command(&["effects", "--json"]).unwrap();
    let listed: Value = serde_json::from_str(&listed).unwrap();
    listed["effects"].as_array().unwrap().clone()
}

/// Longer than anything that settles by itself.
pub(crate) const SETTLED: Duration = SOON;
