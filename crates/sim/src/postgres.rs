//! A PostgreSQL server of a test's own: made in a temporary directory, reached by a socket in it,
//! and gone with it.
//!
//! PostgreSQL does not run as root; a test that does hands it to the user `postgres`, whom the
//! Debian package makes.

use crate::setup::{install_debian, python_wheel};
use crate::wait::until;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// How long the server may take to begin to listen: seconds, on a machine that is busy.
const START_LIMIT: Duration = Duration::from_secs(60);
/// Where Debian keeps the programs, each version in a directory of its own.
const VERSIONS: &str = "/usr/lib/postgresql";
/// A server with pgvector, as a Python package brings it: Debian has none for every release.
const WITH_VECTORS: (&str, &str, &str) = ("pgserver", "0.1.4", "3.12");
/// The superuser.
pub const SUPERUSER: &str = "lockgate";

/// A running server. It ends when this is dropped.
pub struct Cluster {
    directory: TempDir,
    server: Child,
    programs: PathBuf,
    options: Vec<String>,
}

impl Cluster {
    /// Makes a cluster and starts its server. What it says is durable is not: for tests.
    pub fn start() -> Result<Self, String> {
        Self::start_with(programs()?, &["-F", "-c", "max_wal_size=64MB"])
    }

    /// The same, with a server that waits for the disk: for measurements.
    pub fn start_durable() -> Result<Self, String> {
        Self::start_with(programs()?, &["-c", "max_wal_size=1GB"])
    }

    /// The same as [`start`](Self::start), with a server that has pgvector.
    pub fn start_with_vectors() -> Result<Self, String> {
        Self::start_with(programs_with_vectors()?, &["-F", "-c", "max_wal_size=64MB"])
    }

    /// A server that has pgvector, waits for the disk, and has memory: for measurements.
    pub fn start_durable_with_vectors() -> Result<Self, String> {
        let memory = ["-c", "shared_buffers=1GB", "-c", "maintenance_work_mem=1GB"];
        let options = ["-c", "max_wal_size=4GB"].into_iter().chain(memory).collect::<Vec<_>>();
        Self::start_with(programs_with_vectors()?, &options)
    }

    fn start_with(programs: PathBuf, options: &[&str]) -> Result<Self, String> {
        let directory = tempfile::tempdir().map_err(|error| format!("a directory: {error}"))?;
        let owner = owner()?;
        if let Some((user, group)) = owner {
            chown(directory.path(), Some(user), Some(group))
                .map_err(|error| format!("giving a directory to `postgres`: {error}"))?;
        }
        fs::set_permissions(directory.path(), Permissions::from_mode(0o700))
            .map_err(|error| format!("closing a directory: {error}"))?;
        let cluster = directory.path().join("cluster");
        let mut make = as_owner(owner, &programs.join("initdb"));
        make.args(["--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C"]);
        make.args(["--username", SUPERUSER, "--pgdata"]).arg(&cluster);
        let made = make.current_dir(directory.path()).output();
        let made = made.map_err(|error| format!("running `initdb`: {error}"))?;
        if !made.status.success() {
            return Err(format!("`initdb`: {}", String::from_utf8_lossy(&made.stderr)));
        }
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        let server = serve(directory.path(), &programs, &options)?;
        let cluster = Self { directory, server, programs, options };
        cluster.wait()?;
        Ok(cluster)
    }

    /// Waits until it is ready.
    fn wait(&self) -> Result<(), String> {
        let ready = self.directory.path().join("cluster/postmaster.pid");
        until("PostgreSQL to be ready", START_LIMIT, || {
            // Its last line says how it is doing.
            let said = fs::read_to_string(&ready).ok()?;
            (said.lines().last()?.trim() == "ready").then_some(())
        })
    }

    /// Ends the server; what it has is kept.
    pub fn stop(&mut self) -> Result<(), String> {
        let id = self.server.id().to_string();
        let asked = Command::new("kill").args(["-INT", &id]).status();
        asked.map_err(|error| format!("running `kill`: {error}"))?;
        until("PostgreSQL to end", START_LIMIT, || self.server.try_wait().ok()?).map(drop)
    }

    /// Starts a server that was stopped.
    pub fn start_again(&mut self) -> Result<(), String> {
        self.server = serve(self.directory.path(), &self.programs, &self.options)?;
        self.wait()
    }

    /// The process that the server's others come from.
    pub fn id(&self) -> u32 {
        self.server.id()
    }

    /// The directory of its socket.
    pub fn socket(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Asked to stop at once, so that it takes its own children along; else it is ended.
        let id = self.server.id().to_string();
        let asked = Command::new("kill").args(["-QUIT", &id]).status();
        let is_gone = asked.is_ok_and(|status| status.success())
            && until("PostgreSQL to end", START_LIMIT, || self.server.try_wait().ok()?).is_ok();
        if !is_gone {
            let _ = self.server.kill();
            let _ = self.server.wait();
        }
    }
}

/// Starts the server of a directory.
fn serve(directory: &Path, programs: &Path, options: &[String]) -> Result<Child, String> {
    let mut serve = as_owner(owner()?, &programs.join("postgres"));
    serve.arg("-D").arg(directory.join("cluster")).arg("-k").arg(directory);
    // No address but the socket.
    serve.args(["-h", "", "-c", "max_connections=40", "-c", "logging_collector=off"]);
    serve.args(["-c", "wal_level=logical", "-c", "jit=off"]).args(options);
    let serve = serve.current_dir(directory).stdin(Stdio::null());
    let server = serve.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    server.map_err(|error| format!("running `postgres`: {error}"))
}

/// Where the server's programs are; they are installed if they are missing and that is possible.
fn programs() -> Result<PathBuf, String> {
    if let Some(found) = find_programs() {
        return Ok(found);
    }
    install_debian("postgresql")?;
    find_programs()
        .ok_or_else(|| "PostgreSQL is missing: install the Debian package `postgresql`".to_owned())
}

fn programs_with_vectors() -> Result<PathBuf, String> {
    let (package, version, python) = WITH_VECTORS;
    Ok(python_wheel(package, version, python)?.join("pgserver/pginstall/bin"))
}

fn find_programs() -> Option<PathBuf> {
    let on_path = std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect());
    let on_path: Vec<PathBuf> = on_path.unwrap_or_default();
    let versions = fs::read_dir(VERSIONS).into_iter().flatten().flatten();
    let mut versions: Vec<PathBuf> = versions.map(|entry| entry.path().join("bin")).collect();
    versions.sort();
    let mut all = on_path.into_iter().chain(versions.into_iter().rev());
    all.find(|it| it.join("initdb").is_file() && it.join("postgres").is_file())
}

/// The user and group that the server has to run as; `None`: as this program.
fn owner() -> Result<Option<(u32, u32)>, String> {
    let id = |arguments: &[&str]| {
        let said = Command::new("id").args(arguments).output();
        let said = said.map_err(|error| format!("running `id`: {error}"))?;
        let said = String::from_utf8_lossy(&said.stdout).trim().to_owned();
        said.parse::<u32>().map_err(|_| {
            "there is no user `postgres`: install the Debian package `postgresql`".to_owned()
        })
    };
    if id(&["-u"])? != 0 {
        return Ok(None);
    }
    Ok(Some((id(&["-u", "postgres"])?, id(&["-g", "postgres"])?)))
}

fn as_owner(owner: Option<(u32, u32)>, program: &Path) -> Command {
    let Some((user, group)) = owner else { return Command::new(program) };
    let mut command = Command::new("setpriv");
    command.args(["--reuid", &user.to_string(), "--regid", &group.to_string(), "--clear-groups"]);
    command.arg(program);
    command
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_cluster_listens_and_is_gone_with_its_directory() {
        let cluster = Cluster::start().unwrap();
        let socket = cluster.socket().join(".s.PGSQL.5432");
        assert!(UnixStream::connect(&socket).is_ok());
        drop(cluster);
        assert!(!socket.exists());
    }
}
