//! `lockgate demo`: a small company, a gate in front of its help desk, and an agent that tries
//! things.
//!
//! The help desk is a process with a database of its own, the gate is the one that `lockgate up`
//! runs, the agent speaks MCP over HTTP with a token, and the records can be looked up afterwards.
//! Only the model is none: a program that answers by rote stands in for it, at the end of the same
//! HTTP API as any provider.

mod helpdesk;
mod model;
mod story;

use crate::output::Output;
use crate::place::Place;
use crate::up;
use anyhow::{Context, Result, bail};
use lockgate_store::Durability;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

/// What marks a directory as one that the demo made, and may make anew.
const MARKER: &str = ".lockgate-demo";

/// The runbook of the company's registered source, and how long ago it was changed: 124 days.
const RUNBOOK: (&str, &str, Duration) = (
    "runbooks/export-fails.md",
    include_str!("../demo/runbooks/export-fails.md"),
    Duration::from_secs(124 * 86_400),
);

/// The files of the company's bundle.
const BUNDLE: &[(&str, &str)] = &[
    ("principals.toml", include_str!("../demo/bundle/principals.toml")),
    ("policies/helpdesk.cedar", include_str!("../demo/bundle/policies/helpdesk.cedar")),
    ("policies/operators.cedar", include_str!("../demo/bundle/policies/operators.cedar")),
    ("policies/runs.cedar", include_str!("../demo/bundle/policies/runs.cedar")),
    ("policies/documents.cedar", lockgate_core::bundle::starter::DOCUMENTS),
    ("sources/runbooks.toml", include_str!("../demo/bundle/sources/runbooks.toml")),
    ("models/by-rote.toml", include_str!("../demo/bundle/models/by-rote.toml")),
    ("prompts/refund.toml", include_str!("../demo/bundle/prompts/refund.toml")),
    ("tasks/refund.toml", include_str!("../demo/bundle/tasks/refund.toml")),
    ("prompts/incident.toml", include_str!("../demo/bundle/prompts/incident.toml")),
    ("tasks/incident.toml", include_str!("../demo/bundle/tasks/incident.toml")),
];

/// Arguments of `lockgate demo`.
#[derive(clap::Args)]
pub(crate) struct DemoArguments {
    /// Where the company's files go; made anew at every start
    #[arg(long, default_value = "lockgate-demo", value_name = "DIR")]
    directory: PathBuf,
    /// The port of the gate; 0 takes a free one
    #[arg(long, default_value_t = 7420)]
    port: u16,
    /// End after the story, for scripts
    #[arg(long)]
    exit: bool,
    /// Serve the help desk itself: what the gate starts as its upstream
    #[arg(long, hide = true, value_name = "DATABASE")]
    serve_helpdesk: Option<PathBuf>,
}

/// Runs the demo.
pub(crate) fn run(arguments: &DemoArguments, output: &Output) -> Result<ExitCode> {
    if let Some(database) = &arguments.serve_helpdesk {
        helpdesk::serve(database)?;
        return Ok(ExitCode::SUCCESS);
    }
    crate::log_to_stderr(tracing::level_filters::LevelFilter::ERROR);
    crate::runtime()?.block_on(async {
        let model = model::StandIn::start().await?;
        let place = prepare(&arguments.directory, arguments.port, model.address)?;
        let (durability, stops) = (Durability::Full, up::Stops::ByCaller);
        let running =
            up::start(&place, up::Start { durability, node: None, awake: None, stops }).await?;
        let told = story::tell(&running, &place, output).await;
        let run = match told {
            Ok(run) => run,
            Err(error) => {
                running.stop().await?;
                return Err(error);
            }
        };
        if arguments.exit {
            return running.stop().await;
        }
        what_next(&running, &place, &run, output);
        running.until_signal().await
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Writes the company's bundle into a fresh directory.
fn prepare(directory: &Path, port: u16, model: SocketAddr) -> Result<Place> {
    let failed = || format!("preparing `{}`", directory.display());
    if directory.exists() {
        if !directory.join(MARKER).is_file() {
            bail!(
                "`{}` exists and was not made by the demo (hint: give another `--directory`)",
                directory.display()
            );
        }
        std::fs::remove_dir_all(directory).with_context(failed)?;
    }
    std::fs::create_dir_all(directory).with_context(failed)?;
    let directory = directory.canonicalize().with_context(failed)?;
    std::fs::write(directory.join(MARKER), "made by `lockgate demo`\n").with_context(failed)?;
    let bundle = directory.join("bundle");
    for part in ["policies", "operations", "models", "prompts", "tasks", "sources"] {
        std::fs::create_dir_all(bundle.join(part)).with_context(failed)?;
    }
    for (name, text) in BUNDLE {
        std::fs::write(bundle.join(name), text).with_context(failed)?;
    }
    write_runbook(&directory).with_context(failed)?;
    std::fs::write(bundle.join("operations/helpdesk.toml"), operations()?).with_context(failed)?;
    let program = std::env::current_exe().context("finding this program")?;
    let database = directory.join("helpdesk.sqlite");
    let gate = gate_file(port, (&program, &database), model);
    std::fs::write(bundle.join("lockgate.toml"), gate).with_context(failed)?;
    Ok(Place::at(bundle))
}

/// Writes the runbook that nobody has looked after.
fn write_runbook(directory: &Path) -> std::io::Result<()> {
    let (name, text, age) = RUNBOOK;
    let path = directory.join(name);
    path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
    std::fs::write(&path, text)?;
    let changed = SystemTime::now().checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH);
    std::fs::File::options().write(true).open(&path)?.set_modified(changed)
}

fn gate_file(port: u16, (program, database): (&Path, &Path), model: SocketAddr) -> String {
    let quoted = |path: &Path| format!("'{}'", path.display());
    format!(
        "# The gate of a small company's help desk.\n\
         environment = \"dev\"\n\
         tenant = \"acme\"\n\n\
         [[listen]]\n\
         address = \"127.0.0.1:{port}\"\n\n\
         [development]\n\
         users = [\"alice\", \"bob\", \"carol\", \"dora\", \"operator\"]\n\n\
         [upstream.helpdesk]\n\
         command = [{}, \"demo\", \"--serve-helpdesk\", {}]\n\n\
         # No model: a program of the demo's that answers by rote, while the demo runs.\n\
         [upstream.stand-in.model]\n\
         family = \"openai\"\n\
         base_url = \"http://{model}/v1\"\n",
        quoted(program),
        quoted(database)
    )
}

/// The declarations: proposed from the help desk's own definitions as `lockgate init` would, then
/// accepted.
fn operations() -> Result<String> {
    let mut text = String::from(
        "# What the help desk can do: proposed by `lockgate init`, accepted by its operator.\n",
    );
    for tool in helpdesk::definitions() {
        let name =
            tool.get("name").and_then(lockgate_types::Json::as_str).context("a tool's name")?;
        let effect = match name {
            "ticket_reply" | "refund_create" => "write",
            "customer_delete" => "destructive",
            _ => "read",
        };
        let schema = tool.get("inputSchema").context("a tool's schema")?;
        let pin = lockgate_core::bundle::definition_digest(&tool);
        text.push_str(&format!(
            "\n[tool.{name}]\neffect = \"{effect}\"\naccepted = true\n\
             pin = \"{pin}\"\nschema = '''{schema}'''\n"
        ));
    }
    Ok(text)
}

fn what_next(running: &up::Running, place: &Place, run: &str, output: &Output) {
    let program = std::env::args().next().unwrap_or_else(|| "lockgate".to_owned());
    let bundle = place.bundle.display();
    output.line("");
    output.line(&format!("The gate keeps running at {}. Try, in another terminal:", running.url()));
    output.line(&format!("  {program} --bundle {bundle} token alice --agent helpdesk-bot"));
    output.line(&format!("  {program} --bundle {bundle} trace --chain {run}"));
    output.line(&format!("  {program} --bundle {bundle} runs show --all {run}"));
    output.line(&format!("  {program} --bundle {bundle} status"));
    output.line(&format!("  {program} --bundle {bundle} verify"));
    output.line(&format!("  edit {bundle}/policies/helpdesk.cedar and watch the next call change"));
    output.line("Stop it with Ctrl-C.");
}
