//! `cargo xtask crash`: nothing is lost and nothing happens twice, wherever the gate crashes.
//!
//! Twice: simulated, with the real store and kernel in one process and every way in which a disk
//! and a network can let a crash go (`crates/sim/tests/crash`), and as `kill -9` of the real gate
//! (`suite_crash.rs` and `suite_fleet.rs` of `crates/lockgate/tests/`). All are ordinary tests,
//! which run for a short while
//! in `cargo xtask test`; here they run for long, and what they found is shown.

use crate::process::{cargo, target};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

/// How long to look.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Executions of the simulation. 0: none, and no faults either.
    #[arg(long, default_value_t = 60_000)]
    simulated: u32,
    /// Crashes of the real gate, on each database. 0: none.
    #[arg(long, default_value_t = 300)]
    real: u32,
    /// What the simulated crashes are drawn by: the same seed, and as many executions, crash in the
    /// same ways.
    #[arg(long, default_value_t = 1)]
    seed: u32,
    /// Simulate this script alone: a violation names it.
    #[arg(long)]
    script: Option<u32>,
    /// Print what was found as JSON.
    #[arg(long)]
    json: bool,
}

/// A database that the real gate is crashed on.
struct Database {
    name: &'static str,
    /// The test that does so: its binary, and what its name has in it.
    test: [&'static str; 2],
}

const DATABASES: [Database; 2] = [
    Database { name: "SQLite", test: ["suite_crash", "killed"] },
    Database { name: "PostgreSQL, one of three nodes", test: ["suite_fleet", "killed"] },
];

/// Looks, and prints what was found.
pub(crate) fn run(root: &Path, arguments: &Arguments) -> Result<()> {
    let mut found = json!({"real": []});
    let mut is_well = true;
    if arguments.simulated > 0 {
        is_well &= simulate(root, arguments, &mut found)?;
    }
    if arguments.real > 0 {
        for database in &DATABASES {
            let started = Instant::now();
            let is_passed = crash_real(root, arguments.real, database)?;
            is_well &= is_passed;
            let one = json!({"database": database.name, "executions": arguments.real,
                "is_passed": is_passed, "seconds": started.elapsed().as_secs()});
            found.get_mut("real").and_then(Value::as_array_mut).into_iter().for_each(|real| {
                real.push(one.clone());
            });
        }
    }
    if arguments.json {
        println!("{found:#}");
    } else {
        print(&found);
    }
    if !is_well {
        bail!("the gate does not hold what it promises; hint: what happened is shown above");
    }
    Ok(())
}

/// Runs the simulation; whether all is well.
fn simulate(root: &Path, arguments: &Arguments, found: &mut Value) -> Result<bool> {
    let directory = target(root).join("crash");
    std::fs::create_dir_all(&directory).context("making a place for what is found")?;
    let files = ["explored", "faults"].map(|name| (name, directory.join(format!("{name}.json"))));
    for (_, file) in &files {
        // It may not be there, which is as good.
        let _ = std::fs::remove_file(file);
    }
    let what = ["test", "--profile", "simulation", "-p", "lockgate-sim", "--test", "crash"];
    let mut command = cargo(root, &what);
    command.args(["--quiet", "--", "--nocapture", "--test-threads", "1"]);
    command.env("LOCKGATE_CRASH_REPORT", &directory);
    command.env("LOCKGATE_SIMULATED", arguments.simulated.to_string());
    command.env("LOCKGATE_SEED", arguments.seed.to_string());
    match arguments.script {
        Some(script) => {
            command.env("LOCKGATE_SCRIPT", script.to_string());
            command.arg("nothing_is_lost");
        }
        None => drop(command.env_remove("LOCKGATE_SCRIPT")),
    }
    let is_passed = is_passed(&mut command)?;
    for (name, file) in &files {
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            // One script alone has no faults.
            Err(_) if arguments.script.is_some() => continue,
            Err(error) => return Err(error).context("the simulation did not come to its end"),
        };
        let read: Value = serde_json::from_str(&text).context("reading what was found")?;
        if let Some(found) = found.as_object_mut() {
            found.insert((*name).to_owned(), read);
        }
    }
    Ok(is_passed)
}

/// Crashes the real gate that often; whether all is well.
fn crash_real(root: &Path, crashes: u32, database: &Database) -> Result<bool> {
    eprintln!("{crashes} crashes of the real gate on {}", database.name);
    let [binary, name] = database.test;
    let mut command = cargo(root, &["test", "--workspace", "--test", binary, "--quiet", name]);
    command.env("LOCKGATE_CRASHES", crashes.to_string());
    is_passed(&mut command)
}

/// Runs tests; what they say of themselves is left out, what is wrong is not.
fn is_passed(command: &mut Command) -> Result<bool> {
    let status = command.stdout(Stdio::null()).status().context("cargo could not be started")?;
    Ok(status.success())
}

fn print(found: &Value) {
    let text = |value: &Value, name: &str| match value.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
        None => String::new(),
    };
    let list = |name: &str| found.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    if let Some(explored) = found.get("explored") {
        let violations = explored.get("violated").and_then(Value::as_array);
        for violation in violations.into_iter().flatten() {
            println!("violation: {}\n", violation.as_str().unwrap_or_default());
        }
        println!("\nsimulated on SQLite, seed {}", text(explored, "seed"));
        for name in [
            "executions",
            "scripts",
            "points",
            "double_crashes",
            "left_out",
            "seconds",
            "violations",
        ] {
            println!("  {:<16} {:>8}", name.replace('_', " "), text(explored, name));
        }
        println!("  last crash at");
        let crashes = explored.get("crashes").and_then(Value::as_object);
        for (place, count) in crashes.into_iter().flatten() {
            println!("    {:<14} {:>8}", place.to_lowercase(), count.to_string());
        }
    }
    let faults = list("faults");
    if !faults.is_empty() {
        let is_caught = |fault: &&Value| fault.get("by").is_some_and(Value::is_string);
        let caught = faults.iter().filter(is_caught).count();
        println!("\nfaults caught: {caught} of {}", faults.len());
        for fault in &faults {
            let after = match is_caught(&fault) {
                true => format!("after {}", text(fault, "executions")),
                false => "NOT CAUGHT".to_owned(),
            };
            println!("  {:<16} {after}", text(fault, "fault"));
        }
    }
    for real in list("real") {
        let is_passed = real.get("is_passed").and_then(Value::as_bool) == Some(true);
        let (database, crashes) = (text(&real, "database"), text(&real, "executions"));
        let result = if is_passed { "no violation" } else { "VIOLATED" };
        println!(
            "\nkill -9 on {database}: {crashes} times, {result}, {} s",
            text(&real, "seconds")
        );
    }
}
