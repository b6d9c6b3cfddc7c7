//! The run: starts everything, measures in turn, writes down what came of it.

use super::load;
use super::load::{Era, Load, Measured};
use super::machine::{Program, cpu_seconds, fdatasync_us, held, median};
use super::report::{Cell, Decide, Report};
use crate::fixture;
use crate::postgres::{Cluster, SUPERUSER};
use anyhow::{Context, Result, bail};
use lockgate_core::World;
use lockgate_core::world::Files;
use lockgate_types::Json;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::task::Poll;
use std::time::Duration;

/// Policies of the gate that is measured.
const POLICIES: usize = 1000;

/// The user and the agent whose calls are measured: about 15 candidate policies for each.
const USER: &str = "user4";
const AGENT: &str = "agent0";

/// The operations that are called: a read whose result is redacted, and a write.
const READ: &str = "op2";
const WRITE: &str = "op3";

/// Connections at once.
const CONNECTIONS: [usize; 2] = [1, 32];

/// What calls are sent through.
#[derive(Clone, Debug)]
struct Way {
    name: &'static str,
    address: SocketAddr,
    path: &'static str,
    token: Option<String>,
    tool: &'static str,
    pid: u32,
}

/// Measures everything and writes `out`.
pub fn run(
    runtime: &tokio::runtime::Runtime,
    gate: &Path,
    out: &Path,
    seconds: f64,
    rounds: usize,
) -> Result<()> {
    let directory = tempfile::Builder::new().prefix("bench").tempdir_in(target()?)?;
    let own = std::env::current_exe()?;
    let server = Program::start(Command::new(&own).arg("upstream"))?;
    let copy = Program::start(Command::new(&own).args(["proxy", &server.address.to_string()]))?;
    let durable = Gate::start(gate, &directory.path().join("durable"), server.address, true)?;
    let loose = Gate::start(gate, &directory.path().join("loose"), server.address, false)?;
    let ways = ways(&server, &copy, &durable, &loose)?;
    let fleet = Fleet::start(gate, directory.path(), server.address)?;
    let mut cells: BTreeMap<(usize, Era, usize), Vec<(Measured, f64)>> = BTreeMap::new();
    let mut fleets: BTreeMap<(usize, usize), Vec<(Measured, f64)>> = BTreeMap::new();
    let mut syncs = Vec::new();
    for round in 0..rounds {
        progress(&format!("round {} of {rounds}", round + 1));
        syncs.push(fdatasync_us(directory.path(), 200, Duration::ZERO)?);
        for connections in CONNECTIONS {
            for era in [Era::Sessions, Era::Stateless] {
                for (at, way) in ways.iter().enumerate() {
                    let measured = measure(runtime, way, era, connections, seconds)?;
                    let key = (connections, era, at);
                    cells.entry(key).or_default().push(measured);
                }
            }
            for nodes in 1..=fleet.nodes.len().min(connections) {
                let measured = fleet.measure(runtime, nodes, connections, seconds)?;
                fleets.entry((connections, nodes)).or_default().push(measured);
            }
        }
    }
    let rss = held(durable.program.id())?.most_mib;
    let cells = cells.into_iter().map(|((connections, era, at), runs)| {
        cell(connections, era.name(), ways.get(at).map_or("", |way| way.name), &runs)
    });
    let fleets = fleets.into_iter().map(|((connections, nodes), runs)| {
        let plural = if nodes == 1 { "" } else { "s" };
        let way = format!("write, PostgreSQL, {nodes} node{plural}");
        cell(connections, Era::Stateless.name(), &way, &runs)
    });
    let cells = cells.chain(fleets);
    let report = Report {
        policies: POLICIES,
        seconds,
        rounds,
        fdatasync_us: median(&mut syncs),
        rss_mib: rss,
        cells: cells.collect(),
        decide: decide_medians()?,
        store: printed_by(gate, "append_bench")?,
        detect: printed_by(gate, "scan_bench")?,
        flow: printed_by(gate, "flow_bench")?,
    };
    std::fs::write(out, serde_json::to_string_pretty(&report.to_json())?)?;
    progress(&report.to_text());
    Ok(())
}

#[expect(clippy::print_stderr, reason = "progress of a program for people")]
pub(super) fn progress(text: &str) {
    eprintln!("{text}");
}

fn target() -> Result<PathBuf> {
    let path = PathBuf::from("target");
    std::fs::create_dir_all(&path)?;
    Ok(path)
}

fn ways(server: &Program, copy: &Program, durable: &Gate, loose: &Gate) -> Result<Vec<Way>> {
    let plain = |name, program: &Program| Way {
        name,
        address: program.address,
        path: "/mcp",
        token: None,
        tool: READ,
        pid: program.id(),
    };
    let through = |name, gate: &Gate, tool| -> Result<Way> {
        Ok(Way {
            name,
            address: gate.program.address,
            path: "/mcp/u0",
            token: Some(gate.token()?),
            tool,
            pid: gate.program.id(),
        })
    };
    Ok(vec![
        plain("direct", server),
        plain("transparent proxy", copy),
        through("read, not durable", loose, READ)?,
        through("write, not durable", loose, WRITE)?,
        through("read", durable, READ)?,
        through("write", durable, WRITE)?,
    ])
}

fn measure(
    runtime: &tokio::runtime::Runtime,
    way: &Way,
    era: Era,
    connections: usize,
    seconds: f64,
) -> Result<(Measured, f64)> {
    let load = Load {
        target: way.address,
        path: way.path.to_owned(),
        token: way.token.clone(),
        tool: way.tool,
        era,
        connections,
        seconds,
    };
    let before = cpu_seconds(way.pid)?;
    let measured = runtime.block_on(load::run(&load)).with_context(|| format!("{way:?}"))?;
    let spent = cpu_seconds(way.pid)? - before;
    // The warm-up's calls are in the processor time too: a fifth more calls than were measured.
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
    let cpu_ms_per_call = spent * 1000.0 / (measured.calls as f64 * 1.2);
    Ok((measured, cpu_ms_per_call))
}

fn cell(connections: usize, era: &str, way: &str, runs: &[(Measured, f64)]) -> Cell {
    let of = |read: &dyn Fn(&(Measured, f64)) -> f64| {
        let mut values: Vec<f64> = runs.iter().map(read).collect();
        median(&mut values)
    };
    Cell {
        connections,
        era: era.to_owned(),
        way: way.to_owned(),
        p50_us: of(&|run| run.0.percentile(0.5)),
        p99_us: of(&|run| run.0.percentile(0.99)),
        rate: of(&|run| run.0.rate),
        cpu_ms: of(&|run| run.1),
    }
}

/// Nodes of a fleet, before one PostgreSQL that waits for its disk.
struct Fleet {
    nodes: Vec<Way>,
    _gates: Vec<Gate>,
    _cluster: Cluster,
}

/// Who uses which node: with as many policies each, and a session of their own.
const WHO: [(&str, &str); 3] = [(USER, AGENT), ("user34", AGENT), (USER, "agent1")];

impl Fleet {
    fn start(gate: &Path, directory: &Path, server: SocketAddr) -> Result<Self> {
        let cluster = Cluster::start_durable().map_err(anyhow::Error::msg)?;
        let socket = cluster.socket().display().to_string().replace('/', "%2F");
        let store = format!("store = \"postgres://{SUPERUSER}@{socket}/postgres\"\n");
        let (mut nodes, mut gates) = (Vec::new(), Vec::new());
        for (number, (user, agent)) in (1..).zip(WHO) {
            let place = directory.join(format!("node-{number}"));
            write_bundle(&place.join("bundle"), server)?;
            let file = place.join("bundle/lockgate.toml");
            std::fs::write(&file, format!("{store}{}", std::fs::read_to_string(&file)?))?;
            if number > 1 {
                let keys = place.join("bundle.state/keys");
                std::fs::create_dir_all(&keys)?;
                let first = directory.join("node-1/bundle.state/keys/data.key");
                std::fs::copy(first, keys.join("data.key"))?;
            }
            let node = Gate::up(gate, &place, &["--node", &format!("node-{number}")])?;
            nodes.push(Way {
                name: "",
                address: node.program.address,
                path: "/mcp/u0",
                token: Some(node.token_of(user, agent)?),
                tool: WRITE,
                pid: node.program.id(),
            });
            gates.push(node);
        }
        Ok(Self { nodes, _gates: gates, _cluster: cluster })
    }

    /// So many nodes at once, with the connections spread over them. Processor time is that of the
    /// nodes, without PostgreSQL's.
    fn measure(
        &self,
        runtime: &tokio::runtime::Runtime,
        nodes: usize,
        connections: usize,
        seconds: f64,
    ) -> Result<(Measured, f64)> {
        let nodes = self.nodes.get(..nodes).unwrap_or_default();
        let loads = nodes.iter().map(|way| Load {
            target: way.address,
            path: way.path.to_owned(),
            token: way.token.clone(),
            tool: way.tool,
            era: Era::Stateless,
            connections: connections / nodes.len(),
            seconds,
        });
        let loads: Vec<Load> = loads.collect();
        let spent = || nodes.iter().map(|way| cpu_seconds(way.pid)).sum::<Result<f64>>();
        let before = spent()?;
        let all = futures(loads.iter().map(load::run));
        let measured = Measured::sum(runtime.block_on(all)?);
        #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
        let cpu_ms_per_call = (spent()? - before) * 1000.0 / (measured.calls as f64 * 1.2);
        Ok((measured, cpu_ms_per_call))
    }
}

/// All of them, at the same time.
async fn futures<T>(all: impl Iterator<Item = impl Future<Output = Result<T>>>) -> Result<Vec<T>> {
    let mut pending: Vec<_> = all.map(Box::pin).collect();
    let mut done: Vec<Option<Result<T>>> = pending.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, done) in pending.iter_mut().zip(&mut done) {
            if done.is_none()
                && let Poll::Ready(value) = future.as_mut().poll(context)
            {
                *done = Some(value);
            }
        }
        if done.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    done.into_iter().flatten().collect()
}

/// A gate under measurement.
pub(super) struct Gate {
    pub(super) program: Program,
    binary: PathBuf,
    bundle: PathBuf,
}

impl Gate {
    fn start(gate: &Path, place: &Path, server: SocketAddr, is_durable: bool) -> Result<Self> {
        write_bundle(&place.join("bundle"), server)?;
        Self::up(gate, place, if is_durable { &[] } else { &["--not-durable"] })
    }

    /// Of a bundle of these files, durable.
    pub(super) fn with_files(gate: &Path, place: &Path, files: &Files) -> Result<Self> {
        write_files(&place.join("bundle"), files)?;
        Self::up(gate, place, &[])
    }

    fn up(gate: &Path, place: &Path, options: &[&str]) -> Result<Self> {
        let bundle = place.join("bundle");
        let mut command = Command::new(gate);
        command.arg("--bundle").arg(&bundle).arg("up").args(options);
        let program = Program::start(&mut command)?;
        Ok(Self { program, binary: gate.to_owned(), bundle })
    }

    pub(super) fn token(&self) -> Result<String> {
        self.token_of(USER, AGENT)
    }

    fn token_of(&self, user: &str, agent: &str) -> Result<String> {
        let mut command = Command::new(&self.binary);
        command.arg("--bundle").arg(&self.bundle).args(["token", user, "--agent", agent]);
        let output = command.output()?;
        if !output.status.success() {
            bail!("no token: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }
}

/// Writes the bundle that is measured, with the first upstream at that address.
pub fn write_bundle(directory: &Path, server: SocketAddr) -> Result<()> {
    write_files(directory, &files(server)?)
}

/// Writes the files of a bundle.
pub fn write_files(directory: &Path, files: &Files) -> Result<()> {
    for (path, bytes) in files {
        let path = directory.join(path);
        std::fs::create_dir_all(path.parent().context("a file without a directory")?)?;
        std::fs::write(path, bytes)?;
    }
    Ok(())
}

/// One load against a gate that runs already, to be looked at with a profiler.
pub fn once(
    runtime: &tokio::runtime::Runtime,
    gate: SocketAddr,
    token: &str,
    is_write: bool,
    era: Era,
    connections: usize,
    seconds: f64,
) -> Result<()> {
    let load = Load {
        target: gate,
        path: "/mcp/u0".to_owned(),
        token: Some(token.to_owned()),
        tool: if is_write { WRITE } else { READ },
        era,
        connections,
        seconds,
    };
    let measured = runtime.block_on(load::run(&load))?;
    progress(&format!(
        "{} calls, {:.0}/s, p50 {:.0} µs, p99 {:.0} µs",
        measured.calls,
        measured.rate,
        measured.percentile(0.5),
        measured.percentile(0.99)
    ));
    Ok(())
}

/// The bundle of the fixture, with the first upstream at the benchmark's server.
fn files(server: SocketAddr) -> Result<Files> {
    let mut files = fixture::bundle(POLICIES);
    let gate = files.get("lockgate.toml").context("the fixture has no lockgate.toml")?;
    let gate = String::from_utf8(gate.clone())?;
    let gate = gate.replacen("127.0.0.1:7420", "127.0.0.1:0", 1).replacen(
        "command = [\"true\"]",
        &format!("url = \"http://{server}/mcp\""),
        1,
    );
    files.insert("lockgate.toml".to_owned(), gate.into_bytes());
    Ok(files)
}

/// Rounds over which `decide` is measured.
const DECIDE_ROUNDS: usize = 100;

/// Calls that are decided in each round.
const DECIDE_CALLS: usize = 256;

/// The medians of `decide`, sizes interleaved. One call at a time by the clock, since the kernel
/// counts a thread's processor time in ticks far longer than a call; its mean over the whole run
/// stands beside it.
fn decide_medians() -> Result<Vec<Decide>> {
    let mut worlds = Vec::new();
    for size in [10, 100, 1000, 10_000] {
        progress(&format!("loading {size} policies"));
        let world = World::load(&fixture::bundle(size));
        let Ok(world) = world else { bail!("the fixture of {size} policies does not load") };
        let facts = (0..DECIDE_CALLS).map(|i| fixture::facts(&world, i));
        let facts = facts.collect::<Result<Vec<_>, _>>();
        let Ok(facts) = facts else { bail!("the fixture has no facts") };
        worlds.push((size, world, facts, Vec::new(), 0));
    }
    for _ in 0..DECIDE_ROUNDS {
        for (_, world, facts, samples, cpu) in &mut worlds {
            let before = thread_cpu_ns()?;
            for facts in facts.iter() {
                let started = std::time::Instant::now();
                std::hint::black_box(lockgate_core::decide::decide(world, facts));
                samples.push(started.elapsed().as_secs_f64() * 1e6);
            }
            *cpu += thread_cpu_ns()? - before;
        }
    }
    let medians = worlds.into_iter().map(|(policies, _, _, mut samples, cpu)| {
        #[expect(clippy::cast_precision_loss, reason = "nanoseconds of seconds")]
        let mean_cpu_us = cpu as f64 / samples.len() as f64 / 1000.0;
        Decide { policies, median_us: median(&mut samples), mean_cpu_us }
    });
    Ok(medians.collect())
}

/// Nanoseconds that this thread has run.
fn thread_cpu_ns() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(text.split(' ').next().context("no schedstat")?.parse()?)
}

/// What a measurement of its own printed, which is built beside this program: the store's of
/// appends and verification, the detectors' of how fast they read.
fn printed_by(gate: &Path, example: &str) -> Result<Json> {
    let examples = gate.parent().context("a binary without a directory")?.join("examples");
    let output = Command::new(examples.join(example)).output();
    let output = output.with_context(|| format!("running `{example}`"))?;
    let text = String::from_utf8(output.stdout)?;
    let line = text.lines().rev().find(|line| line.starts_with('{')).unwrap_or("{}");
    Ok(Json::parse(line.as_bytes(), &lockgate_types::JsonLimits::OWN)?)
}
