//! The benchmark of the face for models: the same requests to a provider directly, through nginx,
//! through the least that reads JSON (the *floor*), through the gate with everything on, and
//! through LiteLLM with nothing on.
//!
//! What counts is processor time for each request and ratios to the floor: all of them share the
//! machine with the load and the provider.

pub mod floor;
pub mod load;
mod memory;
pub mod others;
pub mod provider;

use super::machine::{Program, cpu_seconds_of_tree, fdatasync_us, median};
use super::run::{Gate, progress};
use crate::fixture;
use anyhow::{Context, Result, bail};
use load::{Asking, Measured};
use lockgate_core::world::Files;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tokio::runtime::Runtime;

/// Policies of the gate.
const POLICIES: usize = 1000;
/// Connections at once where what is asked for is how much.
const CONNECTIONS: usize = 16;
/// Connections at once by which it is found out how much can be done at all.
const CAPACITY_AT: [usize; 4] = [16, 32, 64, 128];
/// The pause between requests where what is asked for is how soon.
const PAUSE: Duration = Duration::from_millis(5);
/// How often it is looked how long the disk takes by itself after such a pause.
const DISK_ROUNDS: usize = 200;

/// How long, how often, and against whom.
pub struct Extent {
    /// Seconds of each measurement.
    pub seconds: f64,
    /// Rounds, of which medians are taken.
    pub rounds: usize,
    /// Whether LiteLLM is measured, which is 120 packages to install.
    pub litellm: bool,
    /// Requests after which memory is looked at again; 0: not.
    pub soak: usize,
}

/// What is sent a request.
struct Way {
    name: &'static str,
    target: SocketAddr,
    token: String,
    pid: u32,
}

/// What is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Small,
    Large,
    Stream,
    /// A stream whose events come with pauses, so that many are open at once.
    SlowStream,
}

const KINDS: [(Kind, &str); 3] = [
    (Kind::Small, "281 bytes, whole"),
    (Kind::Stream, "281 bytes, 51 events"),
    (Kind::Large, "257 KB, whole"),
];

impl Kind {
    fn body(self) -> String {
        let model = r#""model":"bench""#;
        let small = "Our customer 1234 has not paid the invoice of March. What should we do next?";
        match self {
            Self::Small | Self::Stream | Self::SlowStream => {
                let is_stream = self != Self::Small;
                let user = match self {
                    Self::SlowStream => format!(",{}", provider::SLOWLY),
                    Self::Small | Self::Stream | Self::Large => String::new(),
                };
                // tidy: allow line-length: one message, as it is sent
                format!(
                    r#"{{{model},"temperature":0.2,"max_tokens":256,"messages":[{{"role":"system","content":"You help the people of a help desk. Be brief."}},{{"role":"user","content":"{small}"}}],"stream":{is_stream}{user}}}"#
                )
            }
            Self::Large => {
                let line = "The customer wrote that the parcel had come, and that one of the \
                            three lamps was broken. We asked for a picture. ";
                let text = line.repeat(33);
                let message = |n: usize| {
                    let role = if n.is_multiple_of(2) { "user" } else { "assistant" };
                    format!(r#"{{"role":"{role}","content":"{n}: {text}"}}"#)
                };
                let messages: Vec<String> = (0..67).map(message).collect();
                let messages = messages.join(",");
                format!(r#"{{{model},"max_tokens":256,"messages":[{messages}],"stream":false}}"#)
            }
        }
    }
}

/// Measures everything; the figures, for programs.
pub fn run(runtime: &Runtime, gate: &Path, extent: &Extent) -> Result<Value> {
    let directory = tempfile::Builder::new().prefix("models").tempdir_in("target")?;
    let own = std::env::current_exe()?;
    let provider = Program::start(Command::new(&own).arg("provider"))?;
    let floor = Program::start(Command::new(&own).args(["floor", &provider.address.to_string()]))?;
    let gate = start_gate(gate, directory.path(), provider.address)?;
    let nginx = available("nginx", others::nginx(directory.path(), provider.address));
    let litellm =
        extent.litellm.then(|| others::litellm(directory.path(), provider.address)).transpose()?;
    let way = |name, program: &Program, token: &str| Way {
        name,
        target: program.address,
        token: token.to_owned(),
        pid: program.id(),
    };
    let mut ways = vec![
        way("direct", &provider, "none"),
        way("floor", &floor, "none"),
        way("lockgate", &gate.program, &gate.token()?),
    ];
    ways.extend(nginx.as_ref().map(|program| way("nginx", program, "none")));
    ways.extend(litellm.as_ref().map(|it| way("litellm, nothing on", it, others::LITELLM_KEY)));
    let cells = saturated(runtime, &ways, extent)?;
    let near_idle = near_idle(runtime, &ways, extent)?;
    let disk = fdatasync_us(directory.path(), DISK_ROUNDS, PAUSE)?;
    let gate_way = ways.iter().find(|way| way.name == "lockgate").context("the gate")?;
    let overload = overload(runtime, gate_way, extent)?;
    let memory = memory::memory(runtime, gate_way, extent)?;
    Ok(json!({
        "policies": POLICIES, "seconds": extent.seconds, "rounds": extent.rounds,
        "saturated": cells, "near_idle": near_idle, "near_idle_fdatasync_us": disk,
        "overload": overload, "memory": memory,
    }))
}

/// Measures the gate's memory alone.
pub fn run_memory(runtime: &Runtime, gate: &Path, extent: &Extent) -> Result<()> {
    let directory = tempfile::Builder::new().prefix("memory").tempdir_in("target")?;
    let provider = Program::start(Command::new(std::env::current_exe()?).arg("provider"))?;
    let gate = start_gate(gate, directory.path(), provider.address)?;
    let (target, pid) = (gate.program.address, gate.program.id());
    let way = Way { name: "lockgate", target, token: gate.token()?, pid };
    progress(&format!("{:#}", memory::memory(runtime, &way, extent)?));
    Ok(())
}

fn available(name: &str, program: Result<Program>) -> Option<Program> {
    program.inspect_err(|error| progress(&format!("{name} is left out: {error}"))).ok()
}

fn start_gate(gate: &Path, directory: &Path, provider: SocketAddr) -> Result<Gate> {
    Gate::with_files(gate, &directory.join("gate"), &files(provider)?)
}

/// One load on a gate that runs already, to be looked at meanwhile: of so many callers, or at a
/// rate.
pub fn once(
    runtime: &Runtime,
    (gate, token): (SocketAddr, &str),
    asked: &str,
    load: Load,
    seconds: f64,
) -> Result<()> {
    let kind = match asked {
        "small" => Kind::Small,
        "stream" => Kind::Stream,
        "slow-stream" => Kind::SlowStream,
        "large" => Kind::Large,
        _ => bail!("`{asked}` is none of small, stream, slow-stream and large"),
    };
    let asking = Asking::new(gate, token, &kind.body());
    let measured = match load {
        Load::Callers(callers) => {
            runtime.block_on(load::closed(&asking, callers, seconds, Duration::ZERO))?
        }
        Load::Rate(rate) => runtime.block_on(load::open(&asking, rate, seconds))?,
        Load::Pause(pause) => runtime.block_on(load::closed(&asking, 1, seconds, pause))?,
    };
    let ms = |us: f64| us / 1000.0;
    progress(&format!(
        "{:.0}/s of {:?}, {} unsent; ms p50 {:.2} p99 {:.2}, first {:.2} {:.2}, \
         refused {:.2} {:.2}, once sent {:.2} {:.2}, late {:.2} {:.2}",
        measured.rate,
        measured.statuses(),
        measured.unsent,
        ms(measured.whole_us(0.5)),
        ms(measured.whole_us(0.99)),
        ms(measured.first_us(0.5)),
        ms(measured.first_us(0.99)),
        ms(measured.refused_us(0.5)),
        ms(measured.refused_us(0.99)),
        ms(measured.refused_once_sent_us(0.5)),
        ms(measured.refused_once_sent_us(0.99)),
        ms(measured.late_us(0.5)),
        ms(measured.late_us(0.99)),
    ));
    Ok(())
}

/// A load on what runs already.
pub enum Load {
    /// So many who wait for their answers.
    Callers(usize),
    /// So many a second, who wait for nobody.
    Rate(f64),
    /// One who waits for so long after each answer.
    Pause(Duration),
}

/// The bundle of a gate with everything on: 1,000 policies, budgets in tokens and money, guards
/// both ways.
pub fn files(provider: SocketAddr) -> Result<Files> {
    let mut files = fixture::bundle(POLICIES);
    let main = files.get_mut("lockgate.toml").context("the fixture has no lockgate.toml")?;
    let text = String::from_utf8(main.clone())?.replacen("127.0.0.1:7420", "127.0.0.1:0", 1);
    *main = format!(
        "{text}\n[upstream.provider]\nin_flight_max = 1024\nin_flight_per_identity_max = 1024\n\n\
         [upstream.provider.model]\nfamily = \"openai\"\n\
         base_url = \"http://{provider}/v1\"\n\n\
         [[cap]]\nname = \"tokens\"\nper = \"subject\"\ncount = \"tokens\"\n\
         max = 1000000000000\nwindow_s = 86400\n\n\
         [[cap]]\nname = \"spend\"\nper = \"subject\"\ncount = \"spend\"\n\
         max = 1000000000000\nwindow_s = 86400\n"
    )
    .into_bytes();
    let entry = "upstream = \"provider\"\nid = \"bench-1\"\nversion = \"1\"\n\
        context_tokens = 1000000\noutput_tokens_max = 4096\nceiling = \"confidential\"\n\
        price = { currency = \"EUR\", input = 100, output = 400 }\n\n\
        [guard.prompt]\nsecrets = \"redact\"\npersonal = [\"*\"]\nrestore = true\n\n\
        [guard.answer]\nsecrets = \"redact\"\nlinks = \"strip\"\n";
    let policy = "@id(\"models\")\n\
        permit (principal, action in Action::\"upstream:provider\", resource);\n";
    let function = "[tool.look_up]\neffect = \"read\"\naccepted = true\n\
        schema = '{\"type\":\"object\",\"properties\":{\"customer\":{\"type\":\"string\"}}}'\n";
    for (path, text) in [
        ("models/bench.toml", entry),
        ("policies/models.cedar", policy),
        ("operations/provider.toml", function),
    ] {
        files.insert(path.to_owned(), text.as_bytes().to_vec());
    }
    Ok(files)
}

/// As much as there is to be had, in turn.
fn saturated(runtime: &Runtime, ways: &[Way], extent: &Extent) -> Result<Vec<Value>> {
    let mut rows = Vec::new();
    let mut runs: Vec<Vec<[f64; 4]>> = vec![Vec::new(); KINDS.len() * ways.len()];
    for round in 0..extent.rounds {
        progress(&format!("models, round {} of {}", round + 1, extent.rounds));
        for (at, (kind, way)) in
            KINDS.iter().flat_map(|k| ways.iter().map(move |w| (k.0, w))).enumerate()
        {
            let asking = Asking::new(way.target, &way.token, &kind.body());
            let before = cpu_seconds_of_tree(way.pid)?;
            let measured = load::closed(&asking, CONNECTIONS, extent.seconds, Duration::ZERO);
            let measured = runtime.block_on(measured).with_context(|| way.name)?.unrefused()?;
            let spent = cpu_seconds_of_tree(way.pid)? - before;
            #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
            let cpu_us = spent * 1e6 / (measured.count() as f64 * 1.2);
            let run = [measured.rate, measured.whole_us(0.5), measured.whole_us(0.99), cpu_us];
            runs.get_mut(at).context("a row")?.push(run);
        }
    }
    let names = KINDS.iter().flat_map(|kind| ways.iter().map(move |way| (kind.1, way.name)));
    for ((kind, way), runs) in names.zip(runs) {
        let of = |at: usize| {
            let mut values: Vec<f64> = runs.iter().filter_map(|run| run.get(at).copied()).collect();
            median(&mut values)
        };
        rows.push(json!({
            "asked": kind, "way": way, "rate": of(0), "p50_us": of(1), "p99_us": of(2),
            "cpu_us": of(3),
        }));
    }
    Ok(rows)
}

/// One at a time, with pauses: how soon the first byte is there, how long the longest pause is.
fn near_idle(runtime: &Runtime, ways: &[Way], extent: &Extent) -> Result<Vec<Value>> {
    let mut rows = Vec::new();
    for (kind, name) in KINDS {
        for way in ways {
            let asking = Asking::new(way.target, &way.token, &kind.body());
            let measured = load::closed(&asking, 1, extent.seconds, PAUSE);
            let measured = runtime.block_on(measured).with_context(|| way.name)?.unrefused()?;
            rows.push(json!({
                "asked": name, "way": way.name,
                "first_p50_us": measured.first_us(0.5), "first_p99_us": measured.first_us(0.99),
                "whole_p50_us": measured.whole_us(0.5), "gap_p99_us": measured.gap_us(0.99),
            }));
        }
    }
    Ok(rows)
}

/// At its capacity, and at twice that: what is refused, how soon, and what it does to the others.
/// Its capacity is the most that callers who wait for their answers get done, however many they
/// are, before anybody is refused.
fn overload(runtime: &Runtime, way: &Way, extent: &Extent) -> Result<Value> {
    let asking = Asking::new(way.target, &way.token, &Kind::Small.body());
    let (mut capacity, mut callers) = (0.0_f64, Vec::new());
    for connections in CAPACITY_AT {
        let closed = load::closed(&asking, connections, extent.seconds, Duration::ZERO);
        // Where some are refused, it is beyond.
        let Ok(measured) = runtime.block_on(closed)?.unrefused() else { break };
        capacity = capacity.max(measured.rate);
        callers.push(json!({
            "connections": connections, "rate": measured.rate,
            "p50_us": measured.whole_us(0.5), "p99_us": measured.whole_us(0.99),
        }));
    }
    let row = |measured: &Measured, offered: f64| {
        json!({
            "offered": offered, "answered": measured.rate,
            "p50_us": measured.whole_us(0.5), "p99_us": measured.whole_us(0.99),
            "refused": measured.refused(), "of": measured.count(),
            "refused_p50_us": measured.refused_us(0.5),
            "refused_p99_us": measured.refused_us(0.99),
            "refused_once_sent_p50_us": measured.refused_once_sent_us(0.5),
            "refused_once_sent_p99_us": measured.refused_once_sent_us(0.99),
            "all_say_when": measured.all_say_when(),
            "unsent": measured.unsent, "late_p99_us": measured.late_us(0.99),
        })
    };
    let mut rows = Vec::new();
    for share in [0.5, 0.9, 1.0, 2.0] {
        let offered = capacity * share;
        let measured = runtime.block_on(load::open(&asking, offered, extent.seconds * 2.0))?;
        rows.push(row(&measured, offered));
    }
    Ok(json!({ "capacity": capacity, "callers": callers, "rows": rows }))
}
