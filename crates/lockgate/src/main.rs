//! The `lockgate` command: the gate and its tools.

mod agent;
mod announce;
mod answers;
mod approvals;
mod chain;
mod check;
mod client;
mod console;
mod contain;
mod demo;
mod effects;
mod eval;
mod explain;
mod init;
mod limits;
mod logs;
mod memory;
mod output;
mod place;
mod records;
mod redteam;
mod reference;
mod reload;
mod runs;
mod sessions;
mod sources;
mod status;
mod stdio;
mod token;
mod tools;
mod up;
mod verify;

use anyhow::Result;
use clap::{Parser, Subcommand};
use lockgate_store::Durability;
use output::Output;
use place::Place;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

/// The production control plane for AI agents: the model proposes, the gate decides, tools execute
/// only with a permit
#[derive(Parser)]
#[command(name = "lockgate", version, propagate_version = true)]
struct Arguments {
    #[command(flatten)]
    place: Place,
    /// Answer in JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// See it work: a help desk, a gate in front of it, and an agent that tries things
    Demo(demo::DemoArguments),
    /// Write a commented bundle, or put the gate in front of the servers of an MCP client
    Init(init::InitArguments),
    /// Name every mistake in a bundle
    Check(check::CheckArguments),
    /// Run the gate
    Up(UpArguments),
    /// Sign a token of the development issuer
    Token(token::TokenArguments),
    /// Connect an MCP client that starts a process to a running gate
    Stdio(stdio::StdioArguments),
    /// Show what a running gate protects and how its upstreams are
    Status(client::GateArguments),
    /// Have a running gate load its bundle as it is on disk now
    Reload(client::GateArguments),
    /// Stop everything, or one tenant, agent, upstream, operation or session, at once
    Kill(contain::KillArguments),
    /// Lift a kill switch
    Lift(contain::SwitchArguments),
    /// Show the kill switches that are on
    Switches(client::GateArguments),
    /// Show what is held against sessions, and loosen or tighten what they may do
    Sessions(sessions::SessionsArguments),
    /// Show what is held against a whole tenant, and loosen or tighten what it may do
    Posture(sessions::PostureArguments),
    /// Show what waits for an approval, and answer it
    Approvals(approvals::ApprovalsArguments),
    /// Keep answers of models for when none answers; list and forget them
    Answers(answers::AnswersArguments),
    /// List the runs of yours that the gate drives; start, follow, cancel and fork them
    Runs(runs::RunsArguments),
    /// Show where documents come from; bring them in, keep and compare snapshots, share
    Sources(sources::SourcesArguments),
    /// Show what agents have written down for you; confirm it, or have it forgotten
    Memory(memory::MemoryArguments),
    /// Sign in to the pages of a running gate: prints a link that works once
    Console(console::ConsoleArguments),
    /// Show effects that may have happened, and resolve them
    Effects(effects::EffectsArguments),
    /// Show what caps and rates there are, and how much of them is used
    Limits(limits::LimitsArguments),
    /// Show what upstreams offer, compare it with what was accepted, and accept it
    Tools(tools::ToolsArguments),
    /// Show the causal chain of a call
    Trace(records::ChainArguments),
    /// Say why a call was allowed or refused
    Explain(records::TraceArguments),
    /// Decide recorded calls again and compare
    Replay(records::ReplayArguments),
    /// Write the ledger, or its records, to files that others can check
    Export(records::ExportArguments),
    /// Check the ledger: all of it, a range, or one proof
    Verify(verify::VerifyArguments),
    /// Replay attack corpora against the bundle, without a model
    Redteam(redteam::RedteamArguments),
    /// Ask an entry of the registry a suite of behaviour tests, through a running gate
    Eval(eval::EvalArguments),
    /// Print the command-line reference, or the admin API's description
    #[command(hide = true)]
    Reference(reference::ReferenceArguments),
}

/// Calls are many small values, made and dropped on several threads. Its settings are in
/// `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Arguments of `lockgate up`.
#[derive(clap::Args)]
struct UpArguments {
    /// Do not wait for the disk: for benchmarks only, what was answered may be lost
    #[arg(long)]
    not_durable: bool,
    /// The node's name in a fleet, part of the name of its ledger. Unset: the machine's name
    #[arg(long, env = "LOCKGATE_NODE", value_name = "NAME")]
    node: Option<String>,
    /// Microseconds for which processors are kept awake after a call has moved: a halted one wakes
    /// up late. Unset: 1000 in virtual machines whose kernel halts at once, 0 elsewhere
    #[arg(long, env = "LOCKGATE_AWAKE_US", value_name = "N")]
    awake_us: Option<u32>,
}

fn main() -> ExitCode {
    // Before anything else: it is to hold nothing when it gives everything up.
    if std::env::args_os().nth(1).is_some_and(|first| first == up::READER) {
        return lockgate_kernel::read_documents();
    }
    let arguments = Arguments::parse();
    let output = Output::new(arguments.json);
    match run(arguments, &output) {
        Ok(code) => code,
        Err(error) => {
            output::complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments, output: &Output) -> Result<ExitCode> {
    let place = &arguments.place;
    match arguments.command {
        Command::Demo(demo) => demo::run(&demo, output),
        Command::Init(init) => init::run(&init, place, output),
        Command::Check(check) => check::run(&check, place, output),
        Command::Up(up) => run_up(&up, place, output),
        Command::Token(token) => token::run(&token, place, output),
        Command::Stdio(stdio) => stdio::run(&stdio, place),
        Command::Status(gate) => status::run(&gate, place, output),
        Command::Reload(gate) => status::reload(&gate, place, output),
        Command::Kill(kill) => contain::kill(&kill, place, output),
        Command::Lift(lift) => contain::lift(&lift, place, output),
        Command::Switches(gate) => contain::list(&gate, place, output),
        Command::Sessions(it) => sessions::sessions(&it, place, output),
        Command::Posture(it) => sessions::posture(&it, place, output),
        Command::Approvals(approvals) => approvals::run(&approvals, place, output),
        Command::Answers(it) => answers::run(&it, place, output),
        Command::Runs(it) => runs::run(&it, place, output),
        Command::Sources(it) => sources::run(&it, place, output),
        Command::Memory(it) => memory::run(&it, place, output),
        Command::Console(console) => console::run(&console, place, output),
        Command::Effects(effects) => effects::run(&effects, place, output),
        Command::Limits(limits) => limits::run(&limits, place, output),
        Command::Tools(tools) => tools::run(&tools, place, output),
        Command::Trace(trace) => records::trace(&trace, place, output),
        Command::Explain(trace) => explain::explain(&trace, place, output),
        Command::Replay(replay) => records::replay(&replay, place, output),
        Command::Export(export) => records::export(&export, place, output),
        Command::Verify(verify) => verify::run(&verify, place, output),
        Command::Redteam(redteam) => redteam::run(&redteam, place, output),
        Command::Eval(it) => eval::run(&it, place, output),
        Command::Reference(reference) => reference::run(&reference, output),
    }
}

fn run_up(arguments: &UpArguments, place: &Place, output: &Output) -> Result<ExitCode> {
    log_to_stderr(tracing::level_filters::LevelFilter::INFO);
    let durability = if arguments.not_durable { Durability::Off } else { Durability::Full };
    let (node, stops) = (arguments.node.clone(), up::Stops::BySignal);
    let awake = arguments.awake_us.map(|us| Duration::from_micros(us.into()));
    let start = up::Start { durability, node, awake, stops };
    runtime()?.block_on(async {
        let running = up::start(place, start).await?;
        running.print(output);
        if durability == Durability::Off {
            output.line(&output.bad("records are not durable: `--not-durable` is for benchmarks"));
        }
        running.until_signal().await
    })?;
    Ok(ExitCode::SUCCESS)
}

/// The runtime of a command. A gate serves connections on lanes of its own.
fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

/// Logs go to standard error: `LOCKGATE_LOG=debug` shows more.
fn log_to_stderr(default: tracing::level_filters::LevelFilter) {
    let filter = tracing_subscriber::EnvFilter::builder()
        .with_default_directive(default.into())
        .with_env_var("LOCKGATE_LOG")
        .from_env_lossy();
    let has_colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(has_colour);
    logs.with_writer(std::io::stderr).init();
}

#[cfg(test)]
mod tests {
    use super::Arguments;
    use clap::{CommandFactory, Parser};

    #[test]
    fn which_gate_is_meant_can_be_said_last() {
        Arguments::command().debug_assert();
        for command in [
            &["sources", "show", "wiki"][..],
            &["sources"],
            &["sessions", "list"],
            &["posture", "show"],
            &["runs", "show", "r"],
            &["approvals", "show", "c"],
            &["eval", "results"],
            &["status"],
        ] {
            let parse = |gate: &str| {
                Arguments::try_parse_from([&["lockgate"], command, &["--gate", gate]].concat())
            };
            assert!(parse("http://127.0.0.1:7420").is_ok(), "{command:?}");
            let refused = parse("127.0.0.1:7420").err().map(|error| error.to_string());
            let hint = "it begins with `http://` or `https://`: `http://127.0.0.1:7420`";
            assert!(refused.is_some_and(|text| text.contains(hint)), "{command:?}");
        }
    }
}
