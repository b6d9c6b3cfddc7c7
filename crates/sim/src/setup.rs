//! Other people's programs for tests: Python environments, npm projects, Debian packages.
//!
//! Each is installed once under `target/suites/`, named after exactly what is in it, and shared by
//! all tests: a file lock lets the first one install while the others wait. What cannot be
//! installed is named in one message that says what to do. Versions are the caller's to pin.

use lockgate_types::Digest;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// How long one installation may take. The largest takes under a minute on a slow line.
const INSTALL_LIMIT: Duration = Duration::from_secs(600);
/// How much of a failed installer's output is shown.
const SHOWN_LINES: usize = 25;
/// The conformance suite and the newest clients need Node 22; Debian has older ones.
const NODE: &str = "node@22.23.3";

/// A Python environment with these packages; programs are in its `bin/`.
///
/// `arguments` are those of `pip install`: pinned requirements, paths and options.
pub fn python_venv(name: &str, arguments: &[&str]) -> Result<PathBuf, String> {
    prepared(&suites(), name, arguments, |directory| {
        require_program("python3", "python3")?;
        if run(&mut python(&["-c", "import ensurepip, venv"]), directory).is_err() {
            install_debian("python3-venv")?;
        }
        run(python(&["-m", "venv"]).arg(directory), directory)?;
        if arguments.is_empty() {
            return Ok(());
        }
        let mut pip = Command::new(directory.join("bin/pip"));
        run(pip.args(["install", "--quiet"]).args(arguments), directory)
    })
}

/// The unpacked source distribution of a PyPI package: `mcp`, `2.3.0`.
pub fn python_source(package: &str, version: &str) -> Result<PathBuf, String> {
    let requirement = format!("{package}=={version}");
    let name = format!("source-{package}");
    let parent = prepared(&suites(), &name, &[&requirement], |directory| {
        let downloader = python_venv("pip", &[])?;
        let mut pip = Command::new(downloader.join("bin/pip"));
        pip.args(["download", "--quiet", "--no-deps", "--no-binary", ":all:", "--dest"]);
        run(pip.arg(directory).arg(&requirement), directory)?;
        let archive = directory.join(format!("{package}-{version}.tar.gz"));
        let mut tar = Command::new("tar");
        run(tar.arg("-xzf").arg(archive).arg("-C").arg(directory), directory)
    })?;
    Ok(parent.join(format!("{package}-{version}")))
}

/// The unpacked wheel of a PyPI package, as it is for that version of Python: for the programs in
/// it, which any version may start.
pub fn python_wheel(package: &str, version: &str, python: &str) -> Result<PathBuf, String> {
    let requirement = format!("{package}=={version}");
    prepared(&suites(), &format!("wheel-{package}"), &[&requirement, python], |directory| {
        let downloader = python_venv("pip", &[])?;
        let mut pip = Command::new(downloader.join("bin/pip"));
        pip.args(["download", "--quiet", "--no-deps", "--only-binary", ":all:"]);
        pip.args(["--python-version", python, "--dest"]).arg(directory).arg(&requirement);
        run(&mut pip, directory)?;
        let files = fs::read_dir(directory).map_err(|error| format!("finding a wheel: {error}"))?;
        let mut files = files.flatten().map(|entry| entry.path());
        let wheel = files.find(|path| path.extension().is_some_and(|it| it == "whl"));
        let wheel = wheel.ok_or_else(|| format!("there is no wheel of `{requirement}`"))?;
        // `pip` keeps what may be executed, which a plain archiver would not; `--target` leaves the
        // environment alone.
        let mut unpack = Command::new(downloader.join("bin/pip"));
        unpack.args(["install", "--quiet", "--no-deps", "--no-index", "--no-compile", "--target"]);
        unpack.arg(directory).args(["--python-version", python, "--only-binary", ":all:"]);
        run(unpack.arg(&wheel), directory)?;
        fs::remove_file(&wheel).map_err(|error| format!("removing a wheel: {error}"))
    })
}

/// A directory with these npm packages in its `node_modules/`.
pub fn npm_project(name: &str, packages: &[&str]) -> Result<PathBuf, String> {
    prepared(&suites(), name, packages, |directory| {
        require_program("npm", "npm")?;
        let manifest = directory.join("package.json");
        fs::write(&manifest, "{\"private\": true, \"type\": \"module\"}\n")
            .map_err(|error| format!("writing {}: {error}", manifest.display()))?;
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-audit", "--no-fund", "--loglevel=error"]).args(packages);
        run(npm.current_dir(directory), directory)
    })
}

/// Node 22: the path of the program.
pub fn node22() -> Result<PathBuf, String> {
    Ok(npm_project("node", &[NODE])?.join("node_modules/node/bin/node"))
}

/// Makes sure that a program is there, from the Debian package that has it.
pub fn require_program(program: &str, debian_package: &str) -> Result<(), String> {
    if is_on_path(program) {
        return Ok(());
    }
    install_debian(debian_package)?;
    if is_on_path(program) {
        return Ok(());
    }
    Err(format!("`{program}` is missing although `{debian_package}` is installed"))
}

fn is_on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

/// Makes sure that a Debian package is installed, which needs root or a `sudo` without password.
pub fn require_debian(package: &str) -> Result<(), String> {
    let mut query = Command::new("dpkg-query");
    query.args(["--show", "--showformat=${db:Status-Status}", package]);
    let is_installed = query.output().is_ok_and(|output| output.stdout == b"installed");
    if is_installed { Ok(()) } else { install_debian(package) }
}

pub(crate) fn install_debian(package: &str) -> Result<(), String> {
    let advice = format!("`{package}` is missing: install it with `apt-get install {package}`");
    let mut before: &[&str] = &["env"];
    if !is_root() {
        let mut sudo = Command::new("sudo");
        let sudo = sudo.args(["-n", "true"]).stdout(Stdio::null()).stderr(Stdio::null());
        if !sudo.status().is_ok_and(|status| status.success()) {
            return Err(advice);
        }
        before = &["sudo", "-n", "env"];
    }
    let apt = |arguments: &[&str]| {
        let mut command = Command::new(before.first().unwrap_or(&"env"));
        command.args(before.iter().skip(1)).args(["DEBIAN_FRONTEND=noninteractive", "apt-get"]);
        command.args(["--quiet", "--yes"]).args(arguments);
        command
    };
    prepared(&suites(), &format!("debian-{package}"), &[package], |directory| {
        run(&mut apt(&["update"]), directory)?;
        run(&mut apt(&["install", "--no-install-recommends", package]), directory)
    })
    .map(drop)
    .map_err(|error| format!("{advice}\n{error}"))
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

fn python(arguments: &[&str]) -> Command {
    let mut command = Command::new("python3");
    command.args(arguments);
    command
}

fn suites() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    workspace.join(target.unwrap_or_else(|| "target".into())).join("suites")
}

/// The directory that holds exactly this, filled by `install` unless it already was.
fn prepared(
    parent: &Path,
    name: &str,
    specification: &[&str],
    install: impl FnOnce(&Path) -> Result<(), String>,
) -> Result<PathBuf, String> {
    let describe = |what: &str, error: std::io::Error| format!("{what} for `{name}`: {error}");
    fs::create_dir_all(parent).map_err(|error| describe("creating a directory", error))?;
    let parent = parent.canonicalize().map_err(|error| describe("finding a directory", error))?;
    let digest = Digest::of(specification.join("\n").as_bytes()).short();
    let directory = parent.join(format!("{name}-{digest}"));
    let ready = directory.join(".ready");

    let lock = File::create(parent.join(format!("{name}-{digest}.lock")));
    let lock = lock.map_err(|error| describe("creating a lock", error))?;
    lock.lock().map_err(|error| describe("waiting for a lock", error))?;
    if ready.is_file() {
        return Ok(directory);
    }
    if directory.exists() {
        fs::remove_dir_all(&directory).map_err(|error| describe("removing a rest", error))?;
    }
    fs::create_dir(&directory).map_err(|error| describe("creating a directory", error))?;
    install(&directory)?;
    fs::write(&ready, specification.join("\n")).map_err(|error| describe("finishing", error))?;
    Ok(directory)
}

/// Runs an installer to the end, its output in a log beside what it installs.
fn run(command: &mut Command, directory: &Path) -> Result<(), String> {
    run_within(command, directory, INSTALL_LIMIT)
}

fn run_within(command: &mut Command, directory: &Path, limit: Duration) -> Result<(), String> {
    let line = format!("{command:?}");
    let describe = |error: std::io::Error| format!("{line}: {error}");
    let path = directory.join("install.log");
    let log = File::create(&path).map_err(describe)?;
    command.stdin(Stdio::null()).stderr(log.try_clone().map_err(describe)?).stdout(log);
    let mut child = command.spawn().map_err(describe)?;
    let ended = crate::wait::until(&line, limit, || child.try_wait().transpose());
    let status = match ended {
        Ok(status) => status.map_err(describe)?,
        Err(error) => {
            // It has not ended by itself, so ending it is all that is left.
            let _ = child.kill();
            let _ = child.wait();
            return Err(error);
        }
    };
    if status.success() {
        return Ok(());
    }
    let text = fs::read(&path).map_err(describe)?;
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let shown = lines.get(lines.len().saturating_sub(SHOWN_LINES)..).unwrap_or_default();
    Err(format!("{line} failed ({status}):\n{}", shown.join("\n")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn many_ask_and_one_installs() {
        let parent = tempfile::tempdir().unwrap();
        let installed = AtomicUsize::new(0);
        let ask = || {
            prepared(parent.path(), "thing", &["thing==1"], |directory| {
                installed.fetch_add(1, Ordering::SeqCst);
                fs::write(directory.join("program"), "").map_err(|error| error.to_string())
            })
        };
        let directories: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap().unwrap()).collect()
        });
        assert_eq!(installed.load(Ordering::SeqCst), 1);
        assert!(directories.iter().all(|it| it.join("program").is_file()));
        let other = prepared(parent.path(), "thing", &["thing==2"], |_| Ok(())).unwrap();
        assert_ne!(other, directories[0]);
    }

    #[test]
    fn half_an_installation_is_removed_and_made_again() {
        let parent = tempfile::tempdir().unwrap();
        let half = prepared(parent.path(), "thing", &[], |directory| {
            fs::write(directory.join("half"), "").map_err(|error| error.to_string())?;
            Err("the line was cut".to_owned())
        });
        assert_eq!(half, Err("the line was cut".to_owned()));
        let whole = prepared(parent.path(), "thing", &[], |_| Ok(())).unwrap();
        assert!(!whole.join("half").exists());
    }

    #[test]
    fn a_failing_installer_shows_its_last_lines_and_a_hanging_one_is_ended() {
        let directory = tempfile::tempdir().unwrap();
        let mut failing = Command::new("sh");
        failing.args(["-c", "echo no such package >&2; exit 3"]);
        let error = run(&mut failing, directory.path()).unwrap_err();
        assert!(error.contains("no such package") && error.contains("exit status: 3"), "{error}");
        let mut hanging = Command::new("tail");
        hanging.args(["-f", "/dev/null"]);
        let error = run_within(&mut hanging, directory.path(), Duration::ZERO).unwrap_err();
        assert!(error.contains("not within"), "{error}");
    }

    #[test]
    fn programs_are_looked_for_on_the_path() {
        assert!(is_on_path("sh"));
        assert!(!is_on_path("no-such-program-anywhere"));
    }
}
