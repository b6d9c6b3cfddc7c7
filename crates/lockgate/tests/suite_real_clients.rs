//! Servers nobody here wrote, driven through the gate by clients nobody here wrote, of both eras.
#![cfg(test)]

mod support;

use lockgate_sim::conformance::free_address;
use lockgate_sim::gate::Gate;
use lockgate_sim::{setup, wait};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use support::{PROGRAM, Running, SOON, ended};

const PYTHON_SERVERS: [&str; 2] = ["mcp-server-git==2026.10.19", "mcp-server-time==2026.10.19"];
const NODE_SERVERS: [&str; 2] = [
    "@modelcontextprotocol/server-filesystem@2026.8.31",
    "@modelcontextprotocol/server-memory@2026.8.31",
];
const NODE_CLIENTS: [&str; 2] =
    ["@modelcontextprotocol/sdk@1.32.2", "@modelcontextprotocol/client@2.4.0"];

/// A client program, and the revision that it has to end up with.
struct Client {
    name: &'static str,
    revision: &'static str,
    interpreter: PathBuf,
    directory: PathBuf,
}

fn clients() -> Vec<Client> {
    let node = setup::node22().unwrap();
    let npm = setup::npm_project("clients", &NODE_CLIENTS).unwrap();
    let python = |version: &str| {
        let venv = setup::python_venv("client", &[&format!("mcp=={version}")]).unwrap();
        (venv.join("bin/python"), venv)
    };
    let (older, older_venv) = python("1.30.0");
    let (newer, newer_venv) = python("2.3.0");
    let client =
        |name, revision, interpreter, directory| Client { name, revision, interpreter, directory };
    vec![
        client("mcp_2025.mjs", "2025-11-25", node.clone(), npm.clone()),
        client("mcp_2026.mjs", "2026-07-28", node, npm),
        client("mcp_2025.py", "2025-11-25", older, older_venv),
        client("mcp_2026.py", "2026-07-28", newer, newer_venv),
    ]
}

impl Client {
    /// Connects, lists the tools, makes the calls; returns the names and the results.
    fn run(&self, plan: &Value) -> (Vec<String>, Vec<Value>) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(self.name);
        let mut command = Command::new(&self.interpreter);
        command.arg(script).arg(plan.to_string()).current_dir(&self.directory);
        let (is_good, text) = ended(&mut command);
        assert!(is_good, "{} on {plan}: {text}", self.name);
        let seen = text.lines().rev().find_map(|line| serde_json::from_str::<Value>(line).ok());
        let seen = seen.unwrap_or_else(|| panic!("{}: {text}", self.name));
        assert_eq!(seen["version"], self.revision, "{}", self.name);
        let tools = seen["tools"].as_array().unwrap().iter();
        let tools = tools.map(|tool| tool.as_str().unwrap().to_owned()).collect();
        (tools, seen["results"].as_array().unwrap().clone())
    }
}

/// One server: a tool that may be used, what its answer says, and one that may not, and why.
struct Probe {
    server: &'static str,
    allowed: (&'static str, Value),
    says: &'static str,
    denied: (&'static str, Value),
    code: &'static str,
}

fn probes(directory: &Path) -> [Probe; 4] {
    let file = directory.join("files/hello.txt");
    [
        Probe {
            server: "time",
            allowed: ("get_current_time", json!({"timezone": "Europe/Berlin"})),
            says: "Europe/Berlin",
            denied: ("get_current_time", json!({"timezone": "Europe/Berlin", "extra": true})),
            code: "LG-D006",
        },
        Probe {
            server: "git",
            allowed: ("git_log", json!({"repo_path": directory.join("repository")})),
            says: "the first commit",
            denied: ("git_commit", json!({"repo_path": directory, "message": "by an agent"})),
            code: "LG-D002",
        },
        Probe {
            server: "files",
            allowed: ("read_text_file", json!({"path": file})),
            says: "a file of mine",
            denied: ("write_file", json!({"path": file, "content": "by an agent"})),
            code: "LG-D015",
        },
        Probe {
            server: "memory",
            allowed: ("read_graph", json!({})),
            says: "entities",
            denied: ("delete_entities", json!({"entityNames": ["everybody"]})),
            code: "LG-D015",
        },
    ]
}

fn shell(directory: &Path, script: &str) -> String {
    let mut command = Command::new("bash");
    command.args(["-euo", "pipefail", "-c", script]).current_dir(directory);
    let path = std::env::var("PATH").unwrap();
    command.env("PATH", format!("{}:{path}", directory.join("path").display()));
    command.env_remove("LOCKGATE_STATE").env_remove("LOCKGATE_BUNDLE");
    let (is_good, text) = ended(&mut command);
    assert!(is_good, "{script}\n{text}");
    text
}

/// A directory with this program on its path, a git repository, and a file.
fn prepare(directory: &Path) {
    setup::require_program("git", "git").unwrap();
    fs::create_dir_all(directory.join("path")).unwrap();
    fs::create_dir_all(directory.join("files")).unwrap();
    std::os::unix::fs::symlink(PROGRAM, directory.join("path/lockgate")).unwrap();
    fs::write(directory.join("files/hello.txt"), "a file of mine\n").unwrap();
    make_repository(&directory.join("repository"));
}

/// A repository with a commit, and something staged for the next one.
fn make_repository(directory: &Path) {
    fs::create_dir_all(directory).unwrap();
    shell(
        directory,
        "git init -q . && git config user.name Test && git config user.email test@localhost\n\
         echo one > one && git add one && git commit -qm 'the first commit'\n\
         echo two > two && git add two",
    );
}

/// A gate in front of all four servers, as `init` writes it.
fn start() -> (Gate, String) {
    let mut gate = Gate::new(PROGRAM).unwrap();
    let directory = gate.directory().to_owned();
    prepare(&directory);
    let python = setup::python_venv("servers", &PYTHON_SERVERS).unwrap();
    let npm = setup::npm_project("servers", &NODE_SERVERS).unwrap();
    let node = setup::node22().unwrap();
    let script = |name: &str| {
        let path = format!("node_modules/@modelcontextprotocol/server-{name}/dist/index.js");
        format!("{} {}", node.display(), npm.join(path).display())
    };
    let program = |name: &str| python.join("bin").join(name).display().to_string();
    let upstreams = [
        format!("time={}", program("mcp-server-time")),
        format!("git={} --repository repository", program("mcp-server-git")),
        format!("files={} files", script("filesystem")),
        format!("memory={}", script("memory")),
    ];
    let address = free_address().unwrap();
    let text = address.to_string();
    let mut arguments = vec!["init", "--enforce", "--accept", "--users", "alice", "--agents"];
    arguments.extend(["assistant", "--address", &text]);
    for upstream in &upstreams {
        arguments.extend(["--upstream", upstream]);
    }
    let said = gate.command(&arguments).unwrap();
    assert!(!said.contains("did not answer") && !said.contains("left out"), "{said}");
    // Where the memory server keeps its graph is for its owner to say.
    let memory = format!(
        "[upstream.memory]\nenv = {{ MEMORY_FILE_PATH = '{}' }}\n",
        directory.join("graph").display()
    );
    gate.edit("lockgate.toml", |text| text.replace("[upstream.memory]\n", &memory)).unwrap();
    gate.command(&["check"]).unwrap();
    gate.start(address).unwrap();
    until_servers_answer(|| gate.lockgate(&["check", "--live"]));
    let offered = gate.command(&["tools", "list"]).unwrap();
    assert!(!offered.contains("quarantined") && !offered.contains("found:"), "{offered}");
    (gate, format!("http://{address}/mcp"))
}

/// Servers take their time to start on a busy machine; a call that cannot wait is refused, and may
/// be tried again.
fn until_servers_answer(check: impl Fn() -> Command) {
    let same = "the upstreams describe their operations as they were accepted";
    let (what, limit) = ("the servers, as they were accepted", 3 * SOON);
    wait::until(what, limit, || ended(&mut check()).1.contains(same).then_some(())).unwrap();
}

#[test]
fn every_client_uses_every_server_as_far_as_policy_goes() {
    let (gate, url) = start();
    let token = gate.command(&["token", "alice", "--agent", "assistant"]).unwrap();
    let token = token.trim();
    let probes = probes(gate.directory());
    for client in clients() {
        for probe in &probes {
            let own = format!("{url}/{}", probe.server);
            let plan = |calls: Value| json!({"url": own, "token": token, "calls": calls});
            check(&client, probe, "", plan);
        }
        // All of them at one address, with prefixed names.
        for probe in &probes {
            let plan = |calls: Value| json!({"url": url, "token": token, "calls": calls});
            check(&client, probe, &format!("{}__", probe.server), plan);
        }
        // And as a process that the client starts.
        let relay = |calls: Value| {
            let mut command = vec![json!(PROGRAM), json!("--bundle"), json!(gate.bundle())];
            command.extend(
                ["stdio", "--server", "time", "--user", "alice", "--agent", "assistant"]
                    .map(Value::from),
            );
            json!({"command": command, "calls": calls})
        };
        check(&client, &probes[0], "", relay);
    }
    let hello = fs::read_to_string(gate.directory().join("files/hello.txt")).unwrap();
    assert_eq!(hello, "a file of mine\n");
    assert!(gate.command(&["verify"]).unwrap().starts_with("verified "));
    assert!(gate.command(&["replay"]).unwrap().contains(": 0 differences"));
}

fn check(client: &Client, probe: &Probe, prefix: &str, plan: impl Fn(Value) -> Value) {
    let name = |tool: &str| format!("{prefix}{tool}");
    let (allowed, denied) = (&probe.allowed, &probe.denied);
    let calls = json!([[name(allowed.0), allowed.1], [name(denied.0), denied.1]]);
    let (tools, results) = client.run(&plan(calls));
    let what = format!("{} on {prefix}{}", client.name, probe.server);
    assert!(tools.contains(&name(allowed.0)), "{what}: {tools:?}");
    assert_ne!(results[0]["isError"], true, "{what}: {}", results[0]);
    let text = results[0]["content"][0]["text"].as_str().unwrap_or_default();
    assert!(text.contains(probe.says), "{what}: {}", results[0]);

    assert_eq!(results[1]["isError"], true, "{what}: {}", results[1]);
    let refusal = &results[1]["_meta"]["dev.lockgate/refusal"];
    assert_eq!(refusal["code"], probe.code, "{what}: {}", results[1]);
    for member in ["reason", "remedy", "call"] {
        let said = refusal[member].as_str().unwrap_or_default();
        assert!(!said.is_empty(), "{what}: no {member} in {refusal}");
    }
    if denied.0 != allowed.0 {
        // What is certainly denied is not shown.
        assert!(!tools.contains(&name(denied.0)), "{what}: {tools:?}");
    }
}

/// The shell blocks under a heading of the README.
fn readme_blocks(heading: &str) -> Vec<String> {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let readme = fs::read_to_string(readme).unwrap();
    let (_, section) = readme.split_once(&format!("\n## {heading}\n")).expect(heading);
    let section = section.split("\n## ").next().unwrap();
    let blocks = section.split("\n```sh\n").skip(1);
    blocks.map(|block| block.split("\n```").next().unwrap().to_owned()).collect()
}

/// A command as it is typed in that directory.
fn lockgate(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).current_dir(directory);
    command.env_remove("LOCKGATE_STATE").env_remove("LOCKGATE_BUNDLE");
    command
}

/// Starts `lockgate up` where the README starts it.
fn up(directory: &Path) -> Running {
    let log = fs::File::create(directory.join("up.log")).unwrap();
    let mut command = lockgate(directory, &["up"]);
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    let running = Running(command.spawn().unwrap());
    let announced = directory.join("lockgate.state/running.json");
    wait::until("a running gate", SOON, || announced.exists().then_some(())).unwrap();
    running
}

#[test]
fn the_five_minutes_of_the_readme_work_as_written() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    prepare(directory);
    make_repository(directory);
    let servers = setup::python_venv("servers", &PYTHON_SERVERS).unwrap();
    std::os::unix::fs::symlink(servers, directory.join("servers")).unwrap();
    let [install, start, calls, afterwards] = readme_blocks("Five minutes to a first denied call")
        .try_into()
        .expect("installing, starting, calling, looking at it");
    assert_eq!(install, "cargo install --path crates/lockgate");
    // The servers are installed already, and other tests may use the port.
    let (_, start) =
        start.split_once("servers/bin/pip install mcp-server-time mcp-server-git\n").unwrap();
    let init = start.strip_suffix("lockgate up").unwrap();
    shell(directory, init);
    let port = free_address().unwrap().port().to_string();
    let toml = directory.join("lockgate/lockgate.toml");
    fs::write(&toml, fs::read_to_string(&toml).unwrap().replace("7420", &port)).unwrap();
    let _gate = up(directory);
    until_servers_answer(|| lockgate(directory, &["check", "--live"]));

    let calls = calls.replace("7420", &port);
    // What takes its time is answered as an event stream.
    let answers = |said: &str| -> Vec<Value> {
        let messages = said.lines().map(|line| line.strip_prefix("data: ").unwrap_or(line));
        messages.filter_map(|message| serde_json::from_str(message).ok()).collect()
    };
    setup::require_program("curl", "curl").unwrap();
    let said = answers(&shell(directory, &calls));
    assert!(said[0]["result"]["content"][0]["text"].as_str().unwrap().contains("Europe/Berlin"));
    let refusal = &said[1]["result"]["_meta"]["dev.lockgate/refusal"];
    assert_eq!(refusal["code"], "LG-D002", "{}", said[1]);
    let id = refusal["call"].as_str().unwrap();

    let said = shell(directory, &afterwards.replace("<call>", id));
    assert!(said.contains("alice through assistant asked for git/git_commit: deny"), "{said}");
    assert!(said.contains("verified ") && said.contains(": 0 differences"), "{said}");

    let policies = directory.join("lockgate/policies/starter.cedar");
    let permits = ["Group::\"staff\"", "Group::\"assistants\""].map(|leg| {
        format!("\npermit (principal in {leg}, action == Action::\"git/git_commit\", resource);\n")
    });
    let text = fs::read_to_string(&policies).unwrap();
    fs::write(&policies, text + &permits.concat()).unwrap();
    let log = directory.join("up.log");
    let has_taken = || {
        let log = fs::read_to_string(&log).unwrap();
        assert!(!log.contains("was refused;"), "{log}");
        log.contains("a changed bundle rules now").then_some(())
    };
    wait::until("the change", SOON, has_taken).unwrap();
    let said = answers(&shell(directory, &calls));
    assert_eq!(said[1]["result"]["isError"], false, "{}", said[1]);
    let log = shell(directory, "git log --format=%s");
    assert_eq!(log, "by an agent\nthe first commit\n");
}

#[test]
fn a_client_whose_configuration_was_imported_uses_the_gate() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    prepare(directory);
    let server =
        setup::python_venv("servers", &PYTHON_SERVERS).unwrap().join("bin/mcp-server-time");
    let before = json!({"mcpServers": {"time": {"command": server, "args": []}}, "theme": "dark"});
    fs::write(directory.join("its-config.json"), before.to_string()).unwrap();
    let address = free_address().unwrap();
    let import = "lockgate init --import its-config.json --rewrite-client --enforce --accept";
    let said = shell(directory, &format!("{import} --address {address}"));
    let _gate = up(directory);
    until_servers_answer(|| lockgate(directory, &["check", "--live"]));

    let rewritten = fs::read(directory.join("its-config.json")).unwrap();
    let rewritten: Value = serde_json::from_slice(&rewritten).unwrap();
    assert_eq!(rewritten["theme"], "dark");
    let entry = &rewritten["mcpServers"]["time"];
    let mut command = vec![entry["command"].clone()];
    command.extend(entry["args"].as_array().unwrap().iter().cloned());
    let calls = json!([["get_current_time", {"timezone": "Europe/Berlin"}]]);
    // Clients start it from wherever they are.
    let (_, results) = clients()[0].run(&json!({"command": command, "calls": calls}));
    assert!(results[0]["content"][0]["text"].as_str().unwrap().contains("Europe/Berlin"));
    let records = shell(directory, "lockgate export --records /dev/stdout");
    assert!(records.contains("\"subject\":\"alice\""), "{records}");

    let way_back = said.lines().find_map(|line| line.strip_prefix("the way back: ")).expect(&said);
    shell(directory, way_back);
    let restored = fs::read_to_string(directory.join("its-config.json")).unwrap();
    assert_eq!(restored, before.to_string());
}

/// The line of a program's output that has this member.
fn line_with(output: &mut impl BufRead, member: &str) -> Value {
    let mut lines = output.lines().map(Result::unwrap);
    let found = lines.find_map(|line| {
        let line: Value = serde_json::from_str(&line).ok()?;
        line.get(member).is_some().then_some(line)
    });
    found.unwrap_or_else(|| panic!("no `{member}`"))
}

#[test]
fn clients_of_both_eras_wait_for_people_who_answer_elsewhere() {
    let mut world = support::World::new();
    let asks = r#"
        @id("notes-need-somebody") @require_approval("group:operators")
        forbid (principal, action == Action::"tool/note", resource)
        unless { context.approvals.contains("group:operators") };"#;
    world.gate.edit("policies/test.cedar", |text| format!("{text}{asks}")).unwrap();
    world.start();
    let notes = world.gate.directory().join("notes");
    // The others have no callback for addresses.
    let clients = clients().into_iter().filter(|client| client.name.ends_with(".py"));
    for (made, client) in (1..).zip(clients) {
        let url = format!("http://{}/mcp/tool", world.address);
        let arguments = json!({"path": notes, "text": client.name});
        let plan = json!({"url": url, "token": world.token("alice", "bot"), "shows": true,
                          "calls": [["note", arguments]]});
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(client.name);
        let mut command = Command::new(&client.interpreter);
        command.arg(script).arg(plan.to_string()).stdout(Stdio::piped());
        let mut running = Running(command.spawn().unwrap());
        let mut output = BufReader::new(running.0.stdout.take().unwrap());
        let shown = line_with(&mut output, "shown");
        let (page, request) = shown["shown"].as_str().unwrap().rsplit_once('/').unwrap();
        assert_eq!(page, format!("http://{}/console/approvals", world.address));
        assert!(shown["says"].as_str().unwrap().contains("group:operators"), "{shown}");
        world.gate.command(&["approvals", "give", request, "--reason", "fine"]).unwrap();
        let seen = line_with(&mut output, "results");
        assert_eq!(seen["version"], client.revision);
        assert_ne!(seen["results"][0]["isError"], true, "{seen}");
        assert_eq!(fs::read_to_string(&notes).unwrap().lines().count(), made);
    }
    world.gate.stop().unwrap();
}
