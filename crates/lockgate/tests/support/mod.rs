//! What the black-box tests share: a gate before a small server of the tests' own, and clients that
//! speak to it.
//!
//! Everything goes through the built program, its addresses and its files. Nothing here knows how
//! it works inside.

#![allow(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod calendar;
pub(crate) mod crash;
pub(crate) mod desk;
pub(crate) mod fleet;
pub(crate) mod guarded;
pub(crate) mod http;
pub(crate) mod issuer;
pub(crate) mod models;
pub(crate) mod pages;
pub(crate) mod running;
pub(crate) mod shop;
pub(crate) mod shop_database;
pub(crate) mod tenants;

use http::{Answer, Connection, Request};
use lockgate_sim::conformance::free_address;
use lockgate_sim::gate::Gate;
use lockgate_sim::{setup, wait};
use serde_json::{Value, json};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long anything may take that is only waited for.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// Besides the default bounds; the body's is small so that going beyond it is cheap.
/// Other limits than a gate has by itself. Built without optimisation and beside other tests, it is
/// always slow: that is no overload.
const LIMITS: &str = "\n[limits]\nbody_bytes_max = 65536\nlag_ms_max = 0\n";

const PRINCIPALS: &str = r#"
[user.alice]
groups = ["staff"]
[user.bob]
groups = ["staff"]
[user.operator]
groups = ["operators"]
[agent.bot]
environments = ["dev"]
groups = ["bots"]
[agent.other-bot]
environments = ["dev"]
groups = ["bots"]
[agent.lockgate-cli]
environments = ["dev"]
groups = ["operators"]
[agent.lockgate-console]
environments = ["dev"]
groups = ["operators"]
"#;

pub(crate) const POLICIES: &str = r#"
@id("staff")
permit (principal in Group::"staff", action in Action::"upstream:tool", resource)
unless { action == Action::"tool/danger" };

@id("bots")
permit (principal in Group::"bots", action in Action::"upstream:tool", resource);

@id("operators")
permit (principal in Group::"operators", action in Action::"upstream:lockgate", resource);
"#;

/// The declarations of `upstream.py`.
fn operations() -> String {
    let tools = [
        ("echo", "read", &["text"][..]),
        ("note", "write", &["path", "text"]),
        ("hold", "write", &["pipe"]),
        ("danger", "write", &[]),
    ];
    let one = |(name, effect, arguments): (&str, &str, &[&str])| {
        let properties: serde_json::Map<String, Value> = arguments
            .iter()
            .map(|argument| ((*argument).to_owned(), json!({"type": "string"})))
            .collect();
        let schema = json!({"type": "object", "properties": properties, "required": arguments});
        format!("[tool.{name}]\neffect = \"{effect}\"\naccepted = true\nschema = '{schema}'\n\n")
    };
    tools.map(one).concat()
}

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_lockgate");

/// A gate with a bundle of the tests' own, at an address that reads tokens.
pub(crate) struct World {
    pub(crate) gate: Gate,
    pub(crate) address: SocketAddr,
}

impl World {
    /// Written, not started.
    pub(crate) fn new() -> Self {
        Self::of(PROGRAM)
    }

    /// Written, for a program that ends up being the gate.
    pub(crate) fn of(program: &str) -> Self {
        setup::require_program("python3", "python3").unwrap();
        let gate = Gate::new(program).unwrap();
        let address = free_address().unwrap();
        let upstream = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/upstream.py");
        let upstream = upstream.display();
        let lockgate = format!(
            "environment = \"dev\"\n\n[[listen]]\naddress = \"{address}\"\n\n\
             [development]\nusers = [\"alice\", \"bob\", \"operator\"]\n\n\
             [upstream.tool]\ncommand = [\"python3\", \"{upstream}\"]\n{LIMITS}"
        );
        for (path, text) in [
            ("lockgate.toml", lockgate.as_str()),
            ("principals.toml", PRINCIPALS),
            ("policies/test.cedar", POLICIES),
            ("operations/tool.toml", &operations()),
        ] {
            let path = gate.bundle().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Self { gate, address }
    }

    /// Written and started.
    pub(crate) fn started() -> Self {
        let mut world = Self::new();
        world.start();
        world
    }

    pub(crate) fn start(&mut self) {
        self.gate.start(self.address).unwrap();
    }

    /// Adds tables to `lockgate.toml`.
    pub(crate) fn configure(&self, tables: &str) {
        self.gate.edit("lockgate.toml", |text| format!("{text}\n{tables}\n")).unwrap();
    }

    pub(crate) fn token(&self, user: &str, agent: &str) -> String {
        self.gate.command(&["token", user, "--agent", agent]).unwrap().trim().to_owned()
    }

    /// Somebody who calls tools of the upstream.
    pub(crate) fn client(&self, user: &str, agent: &str) -> Client {
        Client::new(self.address, &self.token(user, agent))
    }

    pub(crate) fn alice(&self) -> Client {
        self.client("alice", "bot")
    }

    /// Every entry of the ledger as it is now, read from the files that anybody could have.
    pub(crate) fn entries(&self) -> Vec<Value> {
        let directory = tempfile::tempdir_in(self.gate.directory()).unwrap();
        let tiles = directory.path().to_str().unwrap();
        self.gate.command(&["export", tiles]).unwrap();
        let entries = read_entries(directory.path());
        entries.iter().map(|entry| serde_json::from_slice(entry).unwrap()).collect()
    }
}

/// A client of the stateless era, over one connection.
pub(crate) struct Client {
    pub(crate) connection: Connection,
    pub(crate) token: String,
}

impl Client {
    pub(crate) fn new(address: SocketAddr, token: &str) -> Self {
        Self { connection: Connection::open(address), token: token.to_owned() }
    }

    pub(crate) fn call(&mut self, tool: &str, arguments: Value) -> Answer {
        let request =
            call(tool, arguments).with("Authorization", &format!("Bearer {}", self.token));
        self.connection.exchange(&request)
    }
}

/// A sound call, without a token.
pub(crate) fn call(tool: &str, arguments: Value) -> Request {
    request("tools/call", json!({"name": tool, "arguments": arguments})).with("Mcp-Name", tool)
}

/// A sound request of the stateless era, without a token.
pub(crate) fn request(method: &str, mut params: Value) -> Request {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let message = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    Request::post("/mcp/tool", message.to_string())
        .with("MCP-Protocol-Version", "2026-07-28")
        .with("Mcp-Method", method)
}

/// The entries of exported tiles (C2SP tlog-tiles: bundles of at most 256, each entry after its
/// length).
pub(crate) fn read_entries(log: &Path) -> Vec<Vec<u8>> {
    let checkpoint = fs::read_to_string(log.join("checkpoint")).unwrap();
    let size: usize = checkpoint.lines().nth(1).unwrap().parse().unwrap();
    let mut entries = Vec::new();
    while entries.len() < size {
        let bundle = fs::read(log.join(bundle_path(entries.len() / 256, size))).unwrap();
        let mut rest = bundle.as_slice();
        while let [high, low, after @ ..] = rest {
            let (entry, others) = after.split_at(usize::from(*high) << 8 | usize::from(*low));
            entries.push(entry.to_vec());
            rest = others;
        }
    }
    entries
}

/// Where the entries of a bundle are in a log of this size.
pub(crate) fn bundle_path(number: usize, size: usize) -> PathBuf {
    assert!(number < 1000, "tests do not write more");
    let width = (size - number * 256).min(256);
    let partial = if width < 256 { format!(".p/{width}") } else { String::new() };
    format!("tile/entries/{number:03}{partial}").into()
}

/// A named pipe: opening it for writing succeeds when the upstream is in the middle of a `hold`.
pub(crate) fn pipe(directory: &Path) -> PathBuf {
    let path = directory.join("pipe");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    path
}

/// Opens the pipe once the upstream reads from it, within bounds.
pub(crate) fn held(pipe: &Path) -> fs::File {
    let (path, (tell, hear)) = (pipe.to_owned(), std::sync::mpsc::channel());
    std::thread::spawn(move || tell.send(fs::File::options().write(true).open(path)));
    hear.recv_timeout(SOON).expect("the call arrives at the upstream").unwrap()
}

/// A process that is ended when nobody needs it any more.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself, which is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a program to its end, within bounds: whether it succeeded, and all it printed.
pub(crate) fn ended(command: &mut Command) -> (bool, String) {
    let mut output = tempfile::tempfile().unwrap();
    command.stdin(Stdio::null()).stdout(output.try_clone().unwrap());
    command.stderr(output.try_clone().unwrap());
    let mut child = command.spawn().unwrap();
    let status = wait::until("the end of a program", 5 * SOON, || child.try_wait().unwrap());
    if status.is_err() {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let mut text = String::new();
    std::io::Seek::rewind(&mut output).unwrap();
    std::io::Read::read_to_string(&mut output, &mut text).unwrap();
    let status = status.unwrap_or_else(|error| panic!("{error}\n{text}"));
    (status.success(), text)
}
