//! `cargo xtask ci`: everything that must hold before a change is merged.
//!
//! Cheap steps come first, and the first failure ends the run. Everything is built with the whole
//! workspace selected: cargo unifies features over what is selected, and another selection would
//! build the dependencies once more.

use crate::process::{cargo, output, run as run_command, target};
use crate::{codegen, test, tidy};
use anyhow::{Context, Result};
use std::ffi::OsString;
use std::path::Path;
use std::time::{Duration, Instant};

const DENY_VERSION: &str = "0.20.2";

struct Step {
    name: &'static str,
    run: fn(&Path) -> Result<()>,
}

const STEPS: &[Step] = &[
    Step { name: "fmt", run: formatting },
    Step { name: "tidy", run: tidy::run },
    Step { name: "deny", run: dependencies },
    Step { name: "clippy", run: lints },
    Step { name: "docs", run: documentation },
    Step { name: "build", run: test::build_all },
    Step { name: "codegen", run: codegen::check_built },
    Step { name: "optimised", run: optimised },
    Step { name: "test", run: tests },
];

/// Runs the steps and prints how long each took.
pub(crate) fn run(root: &Path) -> Result<()> {
    let mut finished: Vec<(&str, Duration)> = Vec::new();
    for step in STEPS {
        println!("\n== {} ==", step.name);
        let started = Instant::now();
        let result = (step.run)(root);
        finished.push((step.name, started.elapsed()));
        if let Err(error) = result {
            print_table(&finished, Some(step.name));
            return Err(error.context(format!("step `{}` failed", step.name)));
        }
    }
    print_table(&finished, None);
    Ok(())
}

fn print_table(finished: &[(&str, Duration)], failed: Option<&str>) {
    println!("\nstep       seconds  result");
    for (name, duration) in finished {
        let result = if failed == Some(name) { "FAILED" } else { "ok" };
        println!("{name:<9} {:>8.1}  {result}", duration.as_secs_f64());
    }
    let total: Duration = finished.iter().map(|(_, duration)| *duration).sum();
    println!("{:<9} {:>8.1}", "total", total.as_secs_f64());
}

fn formatting(root: &Path) -> Result<()> {
    run_command(&mut cargo(root, &["fmt", "--all", "--check"]))
        .context("hint: `cargo fmt --all` formats every file")
}

fn lints(root: &Path) -> Result<()> {
    let arguments = ["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"];
    run_command(&mut cargo(root, &arguments))
}

/// What the tests compare the decisions of the unoptimised build with. A release is optimised more,
/// and all of it at once: that takes several times as long, and decides no differently.
fn optimised(root: &Path) -> Result<()> {
    run_command(&mut cargo(root, &["build", "--locked", "--profile", "optimised", "--quiet"]))
}

/// Every test, the optimised build beside the other.
fn tests(root: &Path) -> Result<()> {
    let release = target(root).join("optimised/lockgate");
    test::run_beside(root, &[("LOCKGATE_RELEASE_BINARY", release)])
}

fn documentation(root: &Path) -> Result<()> {
    let mut command = cargo(root, &["doc", "--locked", "--workspace", "--no-deps", "--quiet"]);
    run_command(command.env("RUSTDOCFLAGS", "-D warnings"))
}

/// Bans, licences and sources. Advisories need a database from the network and are looked at
/// elsewhere.
fn dependencies(root: &Path) -> Result<()> {
    let tools = target(root).join("tools");
    let program = tools.join("bin/cargo-deny");
    let version = format!("cargo-deny {DENY_VERSION}");
    let is_current = |program: &OsString| {
        output(std::process::Command::new(program).arg("--version"))
            .is_ok_and(|text| text.trim() == version)
    };
    let program = match [program.clone().into_os_string(), "cargo-deny".into()]
        .into_iter()
        .find(is_current)
    {
        Some(program) => program,
        None => {
            install_deny(root, &tools)?;
            program.into_os_string()
        }
    };
    let mut command = std::process::Command::new(program);
    command.current_dir(root);
    run_command(command.args(["--locked", "check", "bans", "licenses", "sources"]))
}

/// Without optimisation: it compiles in a fraction of the time.
fn install_deny(root: &Path, tools: &Path) -> Result<()> {
    let mut command = cargo(root, &["install", "cargo-deny", "--version", DENY_VERSION]);
    command.args(["--locked", "--debug", "--root"]).arg(tools);
    command.arg("--target-dir").arg(tools.join("build"));
    run_command(command.env("CARGO_PROFILE_DEV_DEBUG", "false")).context(
        "hint: cargo-deny comes from crates.io; put it on the PATH if that is out of reach",
    )
}
