//! The MCP conformance suite and its reference server, as their authors published them.
//!
//! Three pins make the counts comparable: the suite, the reference server in the source
//! distribution of the Python SDK, and Node 22. The suite cannot send headers, so whatever it talks
//! to must not ask for a token.

use crate::setup::{node22, npm_project, python_source, python_venv};
use crate::wait;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const SUITE: &str = "@modelcontextprotocol/conformance@0.2.0-alpha.12";
const SUITE_ENTRY: &str = "node_modules/@modelcontextprotocol/conformance/dist/index.js";
const SDK_VERSION: &str = "2.3.0";

/// How long the reference server may take to listen.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How long one scenario may take: the suite's own limit.
const SCENARIO_LIMIT_MS: &str = "10000";
/// How long one revision may take.
const REVISION_LIMIT: Duration = Duration::from_secs(300);

/// The protocol revisions, each with the number of checks that the reference server passes.
pub const REVISIONS: [(&str, u32); 3] =
    [("2025-06-18", 56), ("2025-11-25", 84), ("2026-07-28", 152)];

/// What a run counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Checks that hold.
    pub passed: u32,
    /// Checks that do not.
    pub failed: u32,
}

/// The suite, installed.
pub struct Suite {
    node: PathBuf,
    entry: PathBuf,
    results: tempfile::TempDir,
}

impl Suite {
    /// Installs the suite, once.
    pub fn install() -> Result<Self, String> {
        let project = npm_project("conformance", &[SUITE])?;
        let results = tempfile::tempdir().map_err(|error| format!("results: {error}"))?;
        Ok(Self { node: node22()?, entry: project.join(SUITE_ENTRY), results })
    }

    /// Runs every scenario of one revision against a server. The log is returned with the counts,
    /// for whoever has to find out what failed.
    pub fn run(&self, url: &str, revision: &str) -> Result<(Tally, String), String> {
        let describe = |error: std::io::Error| format!("the conformance suite: {error}");
        let path = self.results.path().join("suite.log");
        let log = File::create(&path).map_err(describe)?;
        let mut command = Command::new(&self.node);
        command.arg(&self.entry).args(["server", "--suite", "all", "--url", url]);
        command.args(["--spec-version", revision, "--timeout", SCENARIO_LIMIT_MS, "-o"]);
        command.arg(self.results.path().join("checks")).stdin(Stdio::null());
        command.stderr(log.try_clone().map_err(describe)?).stdout(log);
        let mut child = Ended(command.spawn().map_err(describe)?);
        // It ends with a failure if a single check fails: the counts are what matters.
        let what = format!("the conformance suite on {revision}");
        wait::until(&what, REVISION_LIMIT, || child.0.try_wait().transpose())?.map_err(describe)?;
        let log = std::fs::read(&path).map_err(describe)?;
        let log = String::from_utf8_lossy(&log).into_owned();
        let tally = tally(&log).ok_or_else(|| format!("the suite counted nothing:\n{log}"))?;
        Ok((tally, log))
    }
}

/// Reads the last line like `Total: 56 passed, 0 failed`, colours and all.
fn tally(log: &str) -> Option<Tally> {
    let line = log.lines().rev().find(|line| line.contains("Total:"))?;
    let (_, counts) = line.split_once("Total:")?;
    let words: Vec<&str> = counts.split([' ', ',', '\u{1b}']).filter(|it| !it.is_empty()).collect();
    let count = |name: &str| {
        let at = words.iter().position(|word| word.starts_with(name))?;
        words.get(at.checked_sub(1)?)?.parse().ok()
    };
    Some(Tally { passed: count("passed")?, failed: count("failed")? })
}

/// The reference server, running until it is dropped.
pub struct ReferenceServer {
    /// Where it answers.
    pub url: String,
    _process: Ended,
}

impl ReferenceServer {
    /// Installs it once, and starts it at a free port.
    pub fn start() -> Result<Self, String> {
        let source = python_source("mcp", SDK_VERSION)?;
        let server = source.join("examples/servers/everything-server");
        let sdk = format!("mcp=={SDK_VERSION}");
        let venv = python_venv("everything", &[&sdk, &server.to_string_lossy()])?;
        let address = free_address()?;
        let mut command = Command::new(venv.join("bin/mcp-everything-server"));
        command.args(["--port", &address.port().to_string(), "--log-level", "ERROR"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().map_err(|error| format!("the reference server: {error}"))?;
        let server = Self {
            url: format!("http://localhost:{}/mcp", address.port()),
            _process: Ended(process),
        };
        wait::until_listening(address, START_LIMIT)?;
        Ok(server)
    }
}

/// A loopback address that was free a moment ago.
pub fn free_address() -> Result<SocketAddr, String> {
    let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|it| it.local_addr());
    bound.map_err(|error| format!("looking for a free port: {error}"))
}

/// A process that is ended when nobody needs it any more.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // It may have ended by itself, which is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_from_the_last_total() {
        let log =
            "Total: 1 passed, 2 failed\n\u{1b}[32mTotal: 152 passed, 3 failed\u{1b}[0m\nend\n";
        assert_eq!(tally(log), Some(Tally { passed: 152, failed: 3 }));
        assert_eq!(tally("nothing"), None);
    }
}
