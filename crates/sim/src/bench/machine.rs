//! What the machine says: processor time and memory of a process, the raw cost of making a byte
//! durable.

use anyhow::{Context, Result};
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a program of the benchmark may take to say where it listens.
const ANNOUNCE_WITHIN: Duration = Duration::from_secs(60);

/// What the names of the gate's threads begin with that keep processors awake.
const AWAKE: &str = "lockgate-awake";
/// Kernel ticks in a second (`getconf CLK_TCK`): 100 on every Linux this runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// Prints where a program listens, for whoever started it.
#[expect(clippy::print_stdout, reason = "the address is this program's output")]
pub fn announce(address: SocketAddr) {
    println!("listening {address}");
}

/// A program that the benchmark started, and ends.
pub struct Program {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Program {
    /// Starts a program that announces its address.
    pub fn start(command: &mut Command) -> Result<Self> {
        let mut child = command.stdout(Stdio::piped()).spawn().context("starting a program")?;
        let output = child.stdout.take().context("reading a program's output")?;
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let word = line.split_whitespace().find_map(|word| {
                    let word = word.strip_prefix("http://").unwrap_or(word);
                    word.trim_end_matches("/mcp").parse::<SocketAddr>().ok()
                });
                if let Some(address) = word {
                    let _ = sender.send(address);
                }
            }
        });
        let address = receiver.recv_timeout(ANNOUNCE_WITHIN).context("no address was announced")?;
        Ok(Self { child, address })
    }

    /// A program that runs already, and listens there.
    pub fn of(child: Child, address: SocketAddr) -> Self {
        Self { child, address }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Processor seconds that a process has used so far, in user and kernel: without those of the
/// threads that only keep processors awake, which nobody else wanted.
pub fn cpu_seconds(pid: u32) -> Result<f64> {
    let mut seconds = cpu_seconds_of(&format!("/proc/{pid}/stat"))?;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let task = task?.path();
        let name = std::fs::read_to_string(task.join("comm")).unwrap_or_default();
        if name.starts_with(AWAKE) {
            seconds -= cpu_seconds_of(&task.join("stat").to_string_lossy())?;
        }
    }
    Ok(seconds)
}

fn cpu_seconds_of(stat: &str) -> Result<f64> {
    let text = std::fs::read_to_string(stat)?;
    let after = text.rsplit_once(") ").with_context(|| format!("reading {stat}"))?.1;
    let fields: Vec<&str> = after.split(' ').collect();
    let ticks = |at: usize| -> Result<f64> {
        Ok(fields.get(at).with_context(|| format!("reading {stat}"))?.parse::<f64>()?)
    };
    Ok((ticks(11)? + ticks(12)?) / TICKS_PER_SECOND)
}

/// The same, of a process and those that it started and that are still there.
pub fn cpu_seconds_of_tree(pid: u32) -> Result<f64> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    let children = children.split_whitespace().filter_map(|pid| pid.parse().ok());
    children.map(cpu_seconds_of_tree).try_fold(cpu_seconds(pid)?, |sum, one| Ok(sum + one?))
}

/// Resident memory of a process, in MiB.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    /// All of it.
    pub mib: f64,
    /// What is no page of a file (the program itself, what is mapped of the record).
    pub anonymous_mib: f64,
    /// All of it, at its highest.
    pub most_mib: f64,
}

/// How much memory a process has resident.
pub fn held(pid: u32) -> Result<Held> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let mib = |name: &str| -> Result<f64> {
        let line = text.lines().find(|line| line.starts_with(name));
        let word = line.and_then(|line| line.split_whitespace().nth(1));
        Ok(word.context("reading /proc/pid/status")?.parse::<f64>()? / 1024.0)
    };
    Ok(Held { mib: mib("VmRSS:")?, anonymous_mib: mib("RssAnon:")?, most_mib: mib("VmHWM:")? })
}

/// Has the highest that a process has had resident counted from now on.
pub fn forget_highest(pid: u32) -> Result<()> {
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5").context("forgetting the highest")
}

/// Microseconds of one `fdatasync` after overwriting 4 KiB of a file that has its size already,
/// `pause` after the one before: median of `rounds`.
pub fn fdatasync_us(directory: &Path, rounds: usize, pause: Duration) -> Result<f64> {
    let path = directory.join("fdatasync.probe");
    let mut file = std::fs::File::create(&path)?;
    file.write_all(&vec![0_u8; 1 << 20])?;
    file.sync_all()?;
    let mut times = Vec::with_capacity(rounds);
    for round in 0..rounds {
        use std::os::unix::fs::FileExt;
        std::thread::sleep(pause);
        let offset = u64::try_from(round % 256)? * 4096;
        let started = Instant::now();
        file.write_all_at(&[1_u8; 4096], offset)?;
        file.sync_data()?;
        times.push(started.elapsed().as_secs_f64() * 1e6);
    }
    std::fs::remove_file(&path)?;
    Ok(median(&mut times))
}

/// The median; zero of nothing.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}
