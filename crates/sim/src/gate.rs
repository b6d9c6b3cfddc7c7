//! The built gate as a process, the way its users run it.

use crate::wait;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long a gate may take to answer.
const START_LIMIT: Duration = Duration::from_secs(30);
/// How long it may take to finish what is under way.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// A bundle with its gate: a program, and a directory of its own that goes when this goes.
pub struct Gate {
    program: PathBuf,
    directory: tempfile::TempDir,
    environment: Vec<(String, String)>,
    running: Option<Child>,
}

impl Gate {
    /// A gate that has no bundle yet. `program` is `env!("CARGO_BIN_EXE_lockgate")`.
    pub fn new(program: &str) -> Result<Self, String> {
        let directory = tempfile::tempdir().map_err(|error| format!("a directory: {error}"))?;
        Ok(Self { program: program.into(), directory, environment: Vec::new(), running: None })
    }

    /// Sets a variable for everything that is run from here on.
    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Where the bundle is.
    pub fn bundle(&self) -> PathBuf {
        self.directory.path().join("bundle")
    }

    /// Where the gate keeps its ledger and its keys.
    pub fn state(&self) -> PathBuf {
        self.directory.path().join("bundle.state")
    }

    /// Where commands run; anything may be put here.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Runs a command on the bundle and its state, to the end; returns what it printed.
    pub fn command(&self, arguments: &[&str]) -> Result<String, String> {
        let output = self.lockgate(arguments).output().map_err(|error| self.failed(&error))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() {
            return Ok(text(&output.stdout));
        }
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        Err(format!("`lockgate {}` failed:\n{stdout}{stderr}", arguments.join(" ")))
    }

    /// Changes a file of the bundle.
    pub fn edit(&self, path: &str, change: impl FnOnce(String) -> String) -> Result<(), String> {
        let file = self.bundle().join(path);
        let describe = |error: std::io::Error| format!("`{path}` of the bundle: {error}");
        let text = std::fs::read_to_string(&file).map_err(describe)?;
        std::fs::write(&file, change(text)).map_err(describe)
    }

    /// Starts the gate, and returns once it answers at this address of its.
    pub fn start(&mut self, address: SocketAddr) -> Result<(), String> {
        self.start_and_find(|_| Some(address)).map(drop)
    }

    /// Starts a gate whose bundle leaves the port open, and returns where it answers.
    pub fn start_anywhere(&mut self) -> Result<SocketAddr, String> {
        self.start_and_find(|running| {
            let (_, rest) = running.split_once("\"url\":\"http://")?;
            rest.split(['"', '/']).next()?.parse().ok()
        })
    }

    fn start_and_find(
        &mut self,
        find: impl Fn(&str) -> Option<SocketAddr>,
    ) -> Result<SocketAddr, String> {
        let log = File::create(self.log_path()).map_err(|error| self.failed(&error))?;
        let stderr = log.try_clone().map_err(|error| self.failed(&error))?;
        let mut command = self.lockgate(&["up"]);
        let child = command.stdin(Stdio::null()).stdout(log).stderr(stderr).spawn();
        let mut child = child.map_err(|error| self.failed(&error))?;
        let is_listening = wait::until("an answer of the gate, or its end", START_LIMIT, || {
            match child.try_wait() {
                Ok(None) => {
                    let address = find(&self.announced(child.id())?)?;
                    wait::is_listening(address).then_some(Some(address))
                }
                Ok(Some(_)) | Err(_) => Some(None),
            }
        });
        self.running = Some(child);
        match is_listening {
            Ok(Some(address)) => Ok(address),
            Ok(None) => Err(format!("the gate ended before it answered:\n{}", self.log())),
            Err(error) => Err(format!("{error}\n{}", self.log())),
        }
    }

    /// What the process has left where other commands look for its address.
    fn announced(&self, id: u32) -> Option<String> {
        let running = std::fs::read_to_string(self.state().join("running.json")).ok()?;
        running.contains(&format!("\"pid\":{id},")).then_some(running)
    }

    /// The process id, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.running.as_ref().map(Child::id)
    }

    /// Asks the gate to finish, and waits until it has.
    pub fn stop(&mut self) -> Result<(), String> {
        let Some(mut child) = self.running.take() else { return Ok(()) };
        let id = child.id().to_string();
        let asked = Command::new("kill").args(["-TERM", &id]).status();
        let ended = asked.map_err(|error| self.failed(&error)).and_then(|_| {
            wait::until("the end of the gate", STOP_LIMIT, || child.try_wait().transpose())
        });
        match ended {
            Ok(status) if status.as_ref().is_ok_and(std::process::ExitStatus::success) => Ok(()),
            Ok(status) => Err(format!("the gate ended badly: {status:?}\n{}", self.log())),
            Err(error) => {
                self.running = Some(child);
                self.kill();
                Err(format!("{error}\n{}", self.log()))
            }
        }
    }

    /// Ends the gate as a crash would.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.running.take() {
            // It may have ended by itself, which is as good.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// What the gate wrote to its log so far.
    pub fn log(&self) -> String {
        let bytes = std::fs::read(self.log_path()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn log_path(&self) -> PathBuf {
        self.directory.path().join("gate.log")
    }

    /// A command on the bundle and its state, not started yet.
    pub fn lockgate(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.current_dir(self.directory.path()).arg("--bundle").arg(self.bundle());
        command.args(arguments).env_remove("LOCKGATE_STATE").env_remove("LOCKGATE_BUNDLE");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    fn failed(&self, error: &std::io::Error) -> String {
        format!("`{}`: {error}", Path::new(&self.program).display())
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.kill();
    }
}
