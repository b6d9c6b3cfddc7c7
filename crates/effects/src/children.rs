//! The child processes of one upstream: started when needed, one for each caller's key, ended when
//! idle.
//!
//! A process gets a cleared environment: `PATH`, `HOME`, what the bundle passes on by name and what
//! it sets. It is never told where the state directory is, and is not started if its configuration
//! mentions it.

use crate::caller::Caller;
use crate::child::{Child, Link, next_line, read_lines};
use crate::credential::{Source, Unreadable};
use crate::health::Stderr;
use crate::post::Answer;
use crate::probe::{Eras, is_stateless, own_params};
use crate::session::{Slots, initialize_params};
use crate::trouble::Trouble;
use crate::upstream::Changes;
use crate::upstreams::EffectsSettings;
use lockgate_core::declare::{self, Secret};
use lockgate_types::{Code, Json, Object, Redacted};
use lockgate_wire::{Era, Notification, Request, RequestId};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::process::{ChildStderr, ChildStdin, Command};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Lines waiting to be written to one process.
const LINES_MAX: usize = 64;
/// How long a process may take to answer the question which era it speaks.
const PROBE_MAX: Duration = Duration::from_secs(5);
/// How long a process may go on after its input was closed.
const STOP_MAX: Duration = Duration::from_secs(2);
/// A process that ends sooner has not really started.
const SETTLED: Duration = Duration::from_secs(5);
/// The pause after the second failure in a row; it doubles.
const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Bytes of one line on standard error before it is cut.
const STDERR_LINE_MAX: usize = 64 << 10;
/// What every process gets from the gate's own environment.
const PASSED_ON: [&str; 2] = ["PATH", "HOME"];

/// The child processes of one upstream.
pub(crate) struct Children {
    program: String,
    arguments: Vec<String>,
    /// What it passes on, and where what it sets is.
    passed: BTreeMap<String, String>,
    set: Vec<(String, Source)>,
    directory: PathBuf,
    line_bytes_max: usize,
    slots: Slots<Child>,
    stderr: Arc<Stderr>,
    changes: Arc<Changes>,
    failures: Arc<Mutex<Failures>>,
}

/// Failures in a row, and until when no process is started for them.
#[derive(Default)]
struct Failures {
    count: u32,
    until: Option<Instant>,
}

impl Children {
    pub(crate) fn new(
        command: &[String],
        declared: &declare::Upstream,
        line_bytes_max: usize,
        settings: &EffectsSettings,
        stderr: &Arc<Stderr>,
        changes: &Arc<Changes>,
    ) -> Result<Self, String> {
        let Some((program, arguments)) = command.split_first() else {
            return Err("`command` names no program".to_owned());
        };
        let passed = PASSED_ON.into_iter().map(str::to_owned).chain(declared.pass_env.clone());
        let passed: BTreeMap<String, String> =
            passed.filter_map(|name| Some((name.clone(), std::env::var(&name).ok()?))).collect();
        let set = declared.env.iter().map(|(name, it)| (name.clone(), Source::new(it))).collect();
        let state = &settings.state_directory;
        let texts = command.iter().chain(passed.values()).chain(declared.directory.as_ref());
        let secrets = declared.env.values().flat_map(|secret| match secret {
            Secret::Text(text) => std::slice::from_ref(text),
            Secret::Command(printed) => printed.command.as_slice(),
        });
        if texts.chain(secrets).any(|text| mentions(text, state)) {
            let hint = "hint: keep files for an upstream elsewhere";
            return Err(format!("its configuration mentions the state directory ({hint})"));
        }
        Ok(Self {
            program: program.clone(),
            arguments: arguments.to_vec(),
            passed,
            set,
            directory: working_directory(declared.directory.as_deref(), state),
            line_bytes_max,
            slots: Slots::new(settings.processes_max),
            stderr: Arc::clone(stderr),
            changes: Arc::clone(changes),
            failures: Arc::default(),
        })
    }

    /// The process that runs for that key.
    pub(crate) fn get(&self, key: &str) -> Option<Arc<Child>> {
        let child = self.slots.get(key)?;
        if child.has_ended() {
            self.slots.forget(key, &child);
            return None;
        }
        Some(child)
    }

    /// The process that runs for that caller, started if there is none.
    pub(crate) async fn voice(
        &self,
        caller: &Caller,
        eras: &Eras,
        fresh_id: &(impl Fn() -> RequestId + Sync),
    ) -> Result<Arc<Child>, Trouble> {
        let key = &caller.session_key;
        if let Some(child) = self.get(key) {
            return Ok(child);
        }
        self.slots.get_or_open(key, drop, || self.start(caller, eras, fresh_id)).await
    }

    pub(crate) fn close(&self, key: &str) {
        drop(self.slots.take(key));
    }

    pub(crate) fn close_idle(&self, idle: Duration) {
        drop(self.slots.take_idle(idle));
    }

    pub(crate) fn pids(&self) -> Vec<u32> {
        let running = self.slots.all().into_iter().filter(|child| !child.has_ended());
        running.map(|child| child.pid).collect()
    }

    async fn start(
        &self,
        caller: &Caller,
        eras: &Eras,
        fresh_id: &(impl Fn() -> RequestId + Sync),
    ) -> Result<Child, Trouble> {
        self.wait_out()?;
        let mut last = None;
        for era in eras.order(caller.era) {
            // A process of its own for each attempt: a server may be at a loss after a question it
            // does not know.
            let started = Instant::now();
            let (pid, link) = self.spawn().await?;
            let opened = open(&link, caller, era, fresh_id).await;
            match opened {
                Ok(Ok(opening)) => {
                    eras.learn(era, true);
                    self.succeeded();
                    self.watch(&link, started);
                    return Ok(Child { pid, era, opening, link });
                }
                Ok(Err(declined)) => {
                    eras.learn(era, false);
                    last = Some(Trouble::before(Code::UpstreamProtocol, declined));
                }
                Err(trouble) => {
                    link.stop.cancel();
                    last = Some(trouble);
                    break;
                }
            }
            link.stop.cancel();
        }
        self.failed();
        let nothing = || Trouble::before(Code::UpstreamProtocol, "it speaks no era".to_owned());
        Err(self.with_stderr(last.unwrap_or_else(nothing)))
    }

    fn with_stderr(&self, trouble: Trouble) -> Trouble {
        match self.stderr.lines().pop() {
            Some(line) if trouble.code == Code::UpstreamExited => {
                Trouble { detail: format!("{}; its last line: {line}", trouble.detail), ..trouble }
            }
            _ => trouble,
        }
    }

    async fn spawn(&self) -> Result<(u32, Link), Trouble> {
        let mut environment = self.passed.clone();
        let mut secrets = Vec::new();
        for (name, source) in &self.set {
            let unreadable = |why: Unreadable| {
                Trouble::before(Code::SecretUnreadable, format!("`{name}` for it: {why}"))
            };
            let value = source.read().await.map_err(unreadable)?;
            environment.insert(name.clone(), value.expose().to_string());
            if source.is_secret() {
                secrets.push(value);
            }
        }
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .env_clear()
            .envs(&environment)
            .current_dir(&self.directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        let unstartable = |error: std::io::Error| {
            self.failed();
            let detail = format!("`{}` cannot be started: {error}", self.program);
            Trouble::before(Code::UpstreamUnreachable, detail)
        };
        let mut process = command.spawn().map_err(unstartable)?;
        let pid = process.id().unwrap_or_default();
        let (stdin, stdout, stderr) =
            (process.stdin.take(), process.stdout.take(), process.stderr.take());
        let (Some(stdin), Some(stdout), Some(stderr)) = (stdin, stdout, stderr) else {
            return Err(unstartable(std::io::Error::other("it has no standard streams")));
        };
        let (lines, waiting) = mpsc::channel(LINES_MAX);
        let link = Link::new(lines, Arc::clone(&self.changes));
        tokio::spawn(write_lines(stdin, waiting, link.clone()));
        tokio::spawn(read_lines(stdout, link.clone(), self.line_bytes_max));
        tokio::spawn(keep_stderr(stderr, Arc::clone(&self.stderr), secrets));
        tokio::spawn(supervise(process, pid, link.clone()));
        Ok((pid, link))
    }

    /// Counts a process that ends right after its start as one that failed to.
    fn watch(&self, link: &Link, started: Instant) {
        let (stop, failures) = (link.stop.clone(), Arc::clone(&self.failures));
        let is_let_go = Arc::clone(&link.is_let_go);
        tokio::spawn(async move {
            let is_early =
                tokio::time::timeout_at(started + SETTLED, stop.cancelled()).await.is_ok();
            if is_early && !is_let_go.load(Ordering::Acquire) {
                note_failure(&failures);
            }
        });
    }

    fn wait_out(&self) -> Result<(), Trouble> {
        let until = self.failures.lock().unwrap_or_else(PoisonError::into_inner).until;
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        match left.filter(|left| !left.is_zero()) {
            None => Ok(()),
            Some(left) => {
                let ms = left.as_millis();
                let detail = format!("the process keeps failing; it is started again in {ms} ms");
                Err(self.with_stderr(Trouble::before(Code::UpstreamExited, detail)))
            }
        }
    }

    fn failed(&self) {
        note_failure(&self.failures);
    }

    fn succeeded(&self) {
        *self.failures.lock().unwrap_or_else(PoisonError::into_inner) = Failures::default();
    }
}

fn note_failure(failures: &Mutex<Failures>) {
    let mut failures = failures.lock().unwrap_or_else(PoisonError::into_inner);
    failures.count = failures.count.saturating_add(1);
    // The first failure may be chance; from the second on it is waited longer and longer.
    let doublings = failures.count.saturating_sub(2).min(16);
    let pause = PAUSE_MIN.saturating_mul(1 << doublings).min(PAUSE_MAX);
    failures.until = (failures.count > 1).then(|| Instant::now() + pause);
}

/// Opens the conversation in one era. The inner error: the process says no, and why.
async fn open(
    link: &Link,
    caller: &Caller,
    era: Era,
    fresh_id: &(impl Fn() -> RequestId + Sync),
) -> Result<Result<Json, String>, Trouble> {
    match era {
        Era::Sessions => {
            let request = Request::new(fresh_id(), "initialize", initialize_params(caller));
            let opening = match link.ask(&request).await? {
                Answer::Result(opening) => opening,
                Answer::Error(error) => return Ok(Err(error.message)),
                Answer::SessionGone => return Ok(Err("no session".to_owned())),
            };
            let initialized = Notification::new("notifications/initialized", Object::new());
            link.write(initialized.to_bytes()).await?;
            Ok(Ok(opening))
        }
        Era::Stateless => {
            let request = Request::new(fresh_id(), "server/discover", own_params(caller));
            let asked = tokio::time::timeout(PROBE_MAX, link.ask(&request)).await;
            let outcome = match asked {
                // A server of the other era may keep silent, or give up.
                Err(_) => return Ok(Err("it does not answer `server/discover`".to_owned())),
                Ok(Err(trouble)) if trouble.code == Code::UpstreamExited => {
                    return Ok(Err(trouble.detail));
                }
                Ok(answer) => match answer? {
                    Answer::Result(result) => Ok(result),
                    Answer::Error(error) => Err(error),
                    Answer::SessionGone => return Ok(Err("no session".to_owned())),
                },
            };
            if !is_stateless(&outcome) {
                return Ok(Err("it does not speak the stateless era".to_owned()));
            }
            Ok(Ok(outcome.unwrap_or(Json::Null)))
        }
    }
}

async fn write_lines(mut stdin: ChildStdin, mut lines: mpsc::Receiver<Vec<u8>>, link: Link) {
    loop {
        let line = tokio::select! {
            line = lines.recv() => line,
            () = link.stop.cancelled() => None,
        };
        let Some(mut line) = line else { return };
        line.push(b'\n');
        let written = tokio::select! {
            written = stdin.write_all(&line) => written,
            () = link.stop.cancelled() => return,
        };
        if written.is_err() {
            return;
        }
    }
}

/// Keeps what a process says of itself, without the secrets that it was given.
async fn keep_stderr(stderr: ChildStderr, kept: Arc<Stderr>, secrets: Vec<Redacted<Arc<str>>>) {
    let mut reader = BufReader::new(stderr);
    let mut line = Vec::new();
    loop {
        match next_line(&mut reader, &mut line, STDERR_LINE_MAX).await {
            Ok(true) => {
                let mut text = String::from_utf8_lossy(&line).into_owned();
                for secret in &secrets {
                    text = text.replace(&**secret.expose(), "[redacted]");
                }
                kept.push(text.as_bytes());
            }
            Ok(false) => return,
            // What follows of an endless line is read as lines of its own.
            Err(_) => kept.push(b"(a line too long to be kept)"),
        }
    }
}

/// Stays with the process until it ends, by itself or because it has to.
async fn supervise(mut process: tokio::process::Child, pid: u32, link: Link) {
    let status = tokio::select! {
        status = process.wait() => status,
        () = link.stop.cancelled() => {
            // Its input is closed now, which asks it to end.
            let status = tokio::time::timeout(STOP_MAX, process.wait()).await;
            end_group(pid).await;
            let _ = process.start_kill();
            match status {
                Ok(status) => status,
                Err(_) => process.wait().await,
            }
        }
    };
    let how = status.map_or_else(|error| error.to_string(), |status| status.to_string());
    link.end(&Trouble::after(Code::UpstreamExited, format!("the process ended: {how}")));
    end_group(pid).await;
}

/// Ends what the process started and left behind.
///
/// Signalling a group needs a system call that the standard library does not wrap; the shell has it
/// built in.
async fn end_group(pid: u32) {
    if pid == 0 {
        return;
    }
    let mut kill = Command::new("/bin/sh");
    kill.arg("-c").arg("kill -KILL -- \"-$1\"").arg("sh").arg(pid.to_string());
    kill.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let _ = kill.status().await;
}

/// Whether a text of the configuration names the state directory or something in it.
fn mentions(text: &str, state: &Path) -> bool {
    let state = state.to_string_lossy();
    let state = state.trim_end_matches('/');
    !state.is_empty() && Path::new(state).is_absolute() && text.contains(state)
}

/// Where a process runs: where it is configured to, else where the gate does, but never in the
/// state directory.
fn working_directory(declared: Option<&str>, state: &Path) -> PathBuf {
    if let Some(declared) = declared {
        return PathBuf::from(declared);
    }
    match std::env::current_dir() {
        Ok(current) if !current.starts_with(state) => current,
        Ok(_) | Err(_) => PathBuf::from("/"),
    }
}
