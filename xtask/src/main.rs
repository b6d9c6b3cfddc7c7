//! The project's own commands: `cargo xtask ci`, `test`, `tidy`, `codegen`, `conformance`, `crash`,
//! `documents`, `bench`, `train`.
//!
//! Everything a check needs is written here in Rust, so that it runs the same on every machine.
//! This program knows the shape of the repository and nothing of what the gate does.
#![expect(clippy::print_stdout, reason = "a command-line tool: its output is what it is for")]
#![expect(clippy::print_stderr, reason = "a command-line tool: the last word is why it failed")]

mod bench;
mod ci;
mod codegen;
mod conformance;
mod crash;
mod documents;
mod limits;
mod process;
mod test;
mod tidy;
mod train;

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// The project's own commands.
#[derive(Parser)]
#[command(name = "cargo xtask", disable_version_flag = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Everything that must hold before a change is merged, the cheap steps first.
    Ci,
    /// Every test, documentation tests included.
    Test {
        /// Only what is fast: no suites that install other people's clients, servers and verifiers.
        #[arg(long)]
        quick: bool,
    },
    /// The rules that the compiler does not know: crate edges, sizes, error pages, words.
    Tidy,
    /// Writes the generated files that are checked in.
    Codegen {
        /// Writes nothing; fails if a file differs.
        #[arg(long)]
        check: bool,
    },
    /// The MCP conformance suite, direct and through a gate: the counts must be the same.
    Conformance,
    /// Crashes the gate, simulated and with `kill -9`: nothing is lost, nothing happens twice.
    Crash(crash::Arguments),
    /// Who is shown which document, decided three ways: filter, each alone, Cedar's public API.
    Documents(documents::Arguments),
    /// Measures the governed call.
    Bench(bench::Arguments),
    /// Trains the model that knows injections, and reports what the detectors find.
    Train(train::Arguments),
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    let root = process::root()?;
    match command {
        Command::Ci => ci::run(&root),
        Command::Test { quick: false } => test::run_all(&root),
        Command::Test { quick: true } => test::run_quick(&root),
        Command::Tidy => tidy::run(&root),
        Command::Codegen { check: false } => codegen::write(&root),
        Command::Codegen { check: true } => codegen::check(&root),
        Command::Conformance => conformance::run(&root),
        Command::Crash(arguments) => crash::run(&root, &arguments),
        Command::Documents(arguments) => documents::run(&root, &arguments),
        Command::Bench(arguments) => bench::run(&root, &arguments),
        Command::Train(arguments) => train::run(&root, &arguments),
    }
}
