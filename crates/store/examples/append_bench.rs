//! Measures the record: latency and rate of governed calls as the store sees them, with full
//! durability and without, beside the bare fdatasync and the bare SQLite commit of the same disk.
//! Prints one JSON object.
//!
//! `append_bench [seconds per figure] [directory]`

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a measurement that cannot go on has nothing better to do than to end"
)]

#[path = "../tests/common/mod.rs"]
mod common;

use common::{facts, files, identity, options, outcome, session_key, world};
use lockgate_core::world::World;
use lockgate_sim::postgres::{Cluster, SUPERUSER};
use lockgate_store::{CommitError, Durability, Options, Store, Terms};
use lockgate_types::facts::SessionState;
use lockgate_types::identity::Identity;
use lockgate_types::{Json, Object};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const TASKS: usize = 32;
/// Nodes of a fleet that is measured.
const NODES: usize = 3;
const RECORD_BYTES: usize = 1024;
/// The kernel counts CPU time in hundredths of a second.
const TICKS_PER_SECOND: i64 = 100;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let seconds: u64 = arguments.next().map_or(2, |text| text.parse().unwrap());
    let base = arguments.next().map_or_else(std::env::temp_dir, Into::into);
    let directory = tempfile::tempdir_in(base).unwrap();
    let time = Duration::from_secs(seconds);
    let figures = Object::new()
        .with("entry_bytes", entry_bytes(directory.path()))
        .with("fdatasync", fdatasync(directory.path(), time))
        .with("sqlite_row", sqlite_row(directory.path(), time))
        .with("durability_full", store_figures(directory.path(), Durability::Full, time))
        .with("durability_off", store_figures(directory.path(), Durability::Off, time))
        .with("postgres", postgres_figures(directory.path(), time));
    println!("{}", Json::from(figures));
}

/// One KiB written over in a file that does not grow, and synced.
fn fdatasync(directory: &Path, time: Duration) -> Json {
    let path = directory.join("raw");
    std::fs::write(&path, vec![0; 16 << 20]).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.sync_all().unwrap();
    let record = [7; RECORD_BYTES];
    let mut latencies = Vec::new();
    let start = Instant::now();
    while start.elapsed() < time {
        let at = latencies.len() % ((16 << 20) / RECORD_BYTES) * RECORD_BYTES;
        let begun = Instant::now();
        file.write_all_at(&record, at as u64).unwrap();
        file.sync_data().unwrap();
        latencies.push(begun.elapsed());
    }
    percentiles(&mut latencies)
}

/// One row of one KiB in one transaction, write-ahead log, full durability.
fn sqlite_row(directory: &Path, time: Duration) -> Json {
    let db = rusqlite::Connection::open(directory.join("raw.db")).unwrap();
    db.pragma_update(None, "locking_mode", "EXCLUSIVE").unwrap();
    db.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(())).unwrap();
    db.pragma_update(None, "synchronous", "FULL").unwrap();
    db.execute_batch("CREATE TABLE entry (ix INTEGER PRIMARY KEY, leaf BLOB)").unwrap();
    let record = [7_u8; RECORD_BYTES];
    let mut insert = db.prepare("INSERT INTO entry (leaf) VALUES (?1)").unwrap();
    let mut latencies = Vec::new();
    let start = Instant::now();
    while start.elapsed() < time {
        let begun = Instant::now();
        insert.execute([record]).unwrap();
        latencies.push(begun.elapsed());
    }
    percentiles(&mut latencies)
}

fn store_figures(directory: &Path, durability: Durability, time: Duration) -> Json {
    let name = format!("{durability:?}");
    let options = Options { durability, ..options(&directory.join(name)) };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let (store, _) = Store::open(options).unwrap();
        let bench = Arc::new(Bench::new(store).await);
        let mut figures = Object::new();
        for (name, kind) in [("read", Kind::Read), ("write", Kind::Write)] {
            for tasks in [1, TASKS] {
                // Once without counting: new subjects, tiles, growing files.
                bench.run(kind, tasks, time / 4).await;
                figures.set(format!("{name}_{tasks}"), bench.run(kind, tasks, time).await);
            }
        }
        figures.set("append_256", bench.run(Kind::Refusal, 256, time).await);
        if durability == Durability::Full {
            figures.set("verify", verification(&bench.store).await);
        }
        figures.into()
    })
}

/// Writes on PostgreSQL, which waits for the disk: by one caller, and by as many as above spread
/// over one, two and three nodes.
fn postgres_figures(directory: &Path, time: Duration) -> Json {
    let cluster = Cluster::start_durable().unwrap();
    let socket = cluster.socket().display().to_string().replace('/', "%2F");
    common::SERVER.set(format!("postgres://{SUPERUSER}@{socket}/{{}}")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut figures = Object::new();
        let mut nodes: Vec<Arc<Bench>> = Vec::new();
        for number in 1..=NODES {
            let node = directory.join(format!("node-{number}"));
            if number > 1 {
                std::fs::create_dir_all(node.join("keys")).unwrap();
                let key = directory.join("node-1/keys/data.key");
                std::fs::copy(key, node.join("keys/data.key")).unwrap();
            }
            let shared = options(&directory.join("node-1")).shared;
            let origin = format!("bench.example/node-{number}");
            let (store, _) = Store::open(Options { shared, origin, ..options(&node) }).unwrap();
            let bench = Bench::of(store, &format!("user-{number}")).await;
            nodes.push(Arc::new(bench));
            if number == 1 {
                nodes[0].run(Kind::Write, 1, time / 4).await;
                figures.set("write_1", nodes[0].run(Kind::Write, 1, time).await);
            }
            let tasks = TASKS / number;
            let runs = nodes.iter().map(|node| {
                let node = Arc::clone(node);
                tokio::spawn(async move { node.run(Kind::Write, tasks, time).await })
            });
            let mut per_second = 0;
            for run in runs.collect::<Vec<_>>() {
                let figures = run.await.unwrap();
                per_second += figures.get("calls_per_second").and_then(Json::as_i64).unwrap();
            }
            figures.set(format!("writes_per_second_{number}_nodes"), per_second);
        }
        figures.into()
    })
}

#[derive(Clone, Copy)]
enum Kind {
    Read,
    Write,
    Refusal,
}

struct Bench {
    store: Store,
    world: World,
    identity: Arc<Identity>,
    session: SessionState,
}

impl Bench {
    async fn new(store: Store) -> Self {
        Self::of(store, "alice").await
    }

    async fn of(store: Store, subject: &str) -> Self {
        let (world, identity) = (world(), identity(subject));
        store.publish_bundle(world.digest, &files()).await.unwrap();
        let bench_key = session_key(&identity);
        common::read(&store, &world, &identity).await.unwrap();
        let session = store.session(&bench_key).await.unwrap();
        Self { store, world, identity, session }
    }

    /// How long calls take in the store alone, and what they cost in CPU, decision not included.
    async fn run(self: &Arc<Self>, kind: Kind, tasks: usize, time: Duration) -> Json {
        let cpu = cpu_ticks();
        let start = Instant::now();
        let tasks: Vec<_> = (0..tasks)
            .map(|_| {
                let bench = Arc::clone(self);
                tokio::spawn(async move { bench.repeat(kind, start + time).await })
            })
            .collect();
        let (mut latencies, mut decided) = (Vec::new(), Duration::ZERO);
        for task in tasks {
            let (some, deciding) = task.await.unwrap();
            latencies.extend(some);
            decided += deciding;
        }
        let elapsed = start.elapsed();
        let count = i64::try_from(latencies.len()).unwrap();
        let cpu_us = (cpu_ticks() - cpu) * (1_000_000 / TICKS_PER_SECOND);
        let store_us = cpu_us - i64::try_from(decided.as_micros()).unwrap();
        let mut figures = percentiles(&mut latencies);
        if let Some(figures) = figures.as_object_mut() {
            let per_second = count * 1_000_000 / i64::try_from(elapsed.as_micros()).unwrap();
            figures.set("calls_per_second", per_second);
            figures.set("store_cpu_us_per_call", store_us / count.max(1));
        }
        figures
    }

    async fn repeat(&self, kind: Kind, until: Instant) -> (Vec<Duration>, Duration) {
        let mut latencies = Vec::new();
        let mut decided = Duration::ZERO;
        while Instant::now() < until {
            let begun = Instant::now();
            let tool = match kind {
                Kind::Read => "look",
                Kind::Write => "save",
                Kind::Refusal => "wipe",
            };
            let facts = facts(&self.identity, self.session.clone(), common::call(tool));
            let ruling = lockgate_core::rule(&self.world, Box::new(facts));
            let recording = Instant::now();
            decided += recording - begun;
            self.record(kind, ruling).await;
            latencies.push(recording.elapsed());
        }
        (latencies, decided)
    }

    async fn record(&self, kind: Kind, ruling: lockgate_core::rule::Ruling) {
        use lockgate_core::rule::Ruling;
        let spent = match (kind, ruling) {
            (Kind::Read, Ruling::Allowed(allowed)) => {
                self.store.admit_read(allowed).map(|permit| permit.spend().2)
            }
            (Kind::Write, Ruling::Allowed(allowed)) => {
                self.store.commit(allowed, Terms::default()).await.map(|permit| permit.spend().2)
            }
            (Kind::Refusal, Ruling::Refused(refused)) => {
                self.store.refuse(refused).await.unwrap();
                return;
            }
            _ => panic!("the policies of the measurement have changed"),
        };
        let spent = spent.unwrap_or_else(|error: CommitError| panic!("{error:?}"));
        let mut record = outcome(&"x".repeat(500));
        record.label = self.session.exposure.clone();
        self.store.conclude(spent, record).await.unwrap();
    }
}

/// How fast the log that was written is verified: every entry read and hashed, every tile above
/// them computed, the signature checked. Exporting it is not counted.
async fn verification(store: &Store) -> Json {
    let vkey: lockgate_ledger::VerifierKey = store.vkey().parse().unwrap();
    let files = common::export(store).await;
    let begun = Instant::now();
    let report = lockgate_ledger::verify_log(&files, &vkey, None, &mut |_, _| {}).unwrap();
    let entries = i64::try_from(report.entries).unwrap();
    let micros = i64::try_from(begun.elapsed().as_micros()).unwrap();
    Object::new()
        .with("entries", entries)
        .with("entries_per_second", entries * 1_000_000 / micros.max(1))
        .into()
}

/// Bytes of an intent entry and of an outcome entry.
fn entry_bytes(directory: &Path) -> Json {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let (store, _) = Store::open(options(&directory.join("bytes"))).unwrap();
        common::write(&store, &world(), &identity("alice")).await.unwrap();
        let entries = store.entries(1, 2).await.unwrap();
        let bytes = |at: usize| i64::try_from(entries[at].leaf.len()).unwrap();
        Object::new().with("intent", bytes(0)).with("outcome", bytes(1)).into()
    })
}

fn percentiles(latencies: &mut [Duration]) -> Json {
    latencies.sort_unstable();
    let at = |thousandth: usize| {
        let place = latencies.len().saturating_sub(1) * thousandth / 1000;
        latencies.get(place).map_or(0, |latency| i64::try_from(latency.as_micros()).unwrap())
    };
    Object::new()
        .with("count", i64::try_from(latencies.len()).unwrap())
        .with("p50_us", at(500))
        .with("p99_us", at(990))
        .with("p999_us", at(999))
        .into()
}

/// CPU time of this process.
fn cpu_ticks() -> i64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let (_, rest) = stat.rsplit_once(')').unwrap();
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = |at: usize| -> i64 { fields[at].parse().unwrap() };
    ticks(11) + ticks(12)
}
