//! `lockgate init`: a commented bundle, written once; optionally in front of the servers of an MCP
//! client.
//!
//! The servers are started once and asked what they can do. What they say becomes declarations that
//! nobody has accepted yet: the operator reads them and accepts, in bulk with `--accept`.

use crate::client::AGENT;
use crate::output::Output;
use crate::place::Place;
use anyhow::{Context, Result, anyhow, bail};
use lockgate_core::World;
use lockgate_core::bundle::Kept;
use lockgate_core::bundle::accept::accept_some;
use lockgate_core::bundle::import::{Draft, Imported, Way, import};
use lockgate_core::bundle::propose::{Posture, Proposal, propose, propose_api};
use lockgate_core::bundle::starter::{Starter, starter};
use lockgate_core::decide::quarantined as quarantined_for;
use lockgate_core::quarantine::Assessment;
use lockgate_effects::{Caller, EffectsSettings, Upstreams};
use lockgate_types::appearance::marked;
use lockgate_types::call::Effect;
use lockgate_types::{Json, JsonLimits, OperationName, UpstreamName};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

mod openapi;

/// Stands for this program in an imported configuration.
const PROGRAM: &str = "lockgate";

/// Arguments of `lockgate init`.
#[derive(clap::Args)]
pub(crate) struct InitArguments {
    /// Put the gate in front of these servers: an MCP client's configuration with `mcpServers`
    #[arg(long, value_name = "FILE")]
    import: Option<PathBuf>,
    /// With `--import`: also make that client use the gate; a backup is kept
    #[arg(long, requires = "import")]
    rewrite_client: bool,
    /// Put the gate in front of one server: `name=command arguments` or `name=http://address`
    #[arg(long, value_name = "NAME=SERVER")]
    upstream: Vec<String>,
    /// Put the gate in front of an HTTP API: `name=openapi.json`, an OpenAPI document (3.0, 3.1)
    #[arg(long, value_name = "NAME=FILE")]
    openapi: Vec<String>,
    /// With `--openapi`: where that API is, if its document does not say so
    #[arg(long, value_name = "NAME=ADDRESS", requires = "openapi")]
    base_url: Vec<String>,
    /// The people who will use it
    #[arg(long, value_delimiter = ',', default_value = "alice")]
    users: Vec<String>,
    /// The agents that act for them
    #[arg(long, value_delimiter = ',', default_value = "assistant")]
    agents: Vec<String>,
    /// The environment
    #[arg(long, default_value = "dev")]
    environment: String,
    /// The address of the gate
    #[arg(long, default_value = "127.0.0.1:7420")]
    address: String,
    /// Accept every declaration that is not proposed destructive
    #[arg(long)]
    accept: bool,
    /// Enforce from the start; otherwise denials of what is not destructive are observed first
    #[arg(long)]
    enforce: bool,
}

/// Runs the command.
pub(crate) fn run(arguments: &InitArguments, place: &Place, output: &Output) -> Result<ExitCode> {
    let bundle = &place.bundle;
    if bundle.join("lockgate.toml").exists() {
        bail!(
            "there is a bundle at `{}` already (hint: `lockgate check` looks at it)",
            bundle.display()
        );
    }
    let imported = match &arguments.import {
        Some(file) => Some(read_client(file)?),
        None => None,
    };
    let mut upstreams = imported.as_ref().map(|found| found.upstreams.clone()).unwrap_or_default();
    for text in &arguments.upstream {
        upstreams.push(draft(text)?);
    }
    for text in &arguments.openapi {
        let (draft, document) = openapi::draft(text, &arguments.base_url)?;
        if let Some((base_url, file)) = &draft.api {
            write(&bundle.join(file), &document)?;
            output.line(&format!("wrote {}: asked at {base_url}", bundle.join(file).display()));
        }
        upstreams.push(draft);
    }
    write_starter(arguments, upstreams, bundle, output)?;
    if let Some(imported) = &imported {
        for note in &imported.notes {
            output.line(note);
        }
    }
    if let Some(imported) = &imported {
        write_secrets(imported, bundle, output)?;
    }
    crate::runtime()?.block_on(declare_operations(arguments, place, output))?;
    if let (Some(file), Some(imported), true) =
        (&arguments.import, &imported, arguments.rewrite_client)
    {
        rewrite(file, relayed(&imported.client, arguments, place)?, output)?;
    }
    next_steps(arguments, place, output);
    Ok(ExitCode::SUCCESS)
}

fn read_client(file: &Path) -> Result<Imported> {
    let text = std::fs::read(file).with_context(|| format!("reading `{}`", file.display()))?;
    let json = Json::parse(&text, &JsonLimits::OWN)
        .with_context(|| format!("`{}` is not JSON", file.display()))?;
    import(&json, Way::Process(PROGRAM)).with_context(|| format!("importing `{}`", file.display()))
}

fn draft(text: &str) -> Result<Draft> {
    let (name, server) = text
        .split_once('=')
        .with_context(|| format!("`{text}` is not `name=command` or `name=http://address`"))?;
    let name = UpstreamName::new(name)?.as_str().to_owned();
    if server.starts_with("http://") || server.starts_with("https://") {
        return Ok(Draft { name, url: Some(server.to_owned()), ..Draft::default() });
    }
    let command: Vec<String> = server.split_whitespace().map(str::to_owned).collect();
    if command.is_empty() {
        bail!("`{text}` names no command");
    }
    Ok(Draft { name, command, ..Draft::default() })
}

fn write_starter(
    arguments: &InitArguments,
    upstreams: Vec<Draft>,
    bundle: &Path,
    output: &Output,
) -> Result<()> {
    let files = starter(&Starter {
        environment: arguments.environment.clone(),
        address: arguments.address.clone(),
        users: arguments.users.clone(),
        operator: "operator".to_owned(),
        agents: arguments.agents.clone(),
        upstreams,
    });
    for (path, text) in files {
        write(&bundle.join(&path), text.as_bytes())?;
        output.line(&format!("wrote {}", bundle.join(path).display()));
    }
    Ok(())
}

/// A bundle is recorded and copied around, so credentials stay beside it, for their owner only.
fn write_secrets(imported: &Imported, bundle: &Path, output: &Output) -> Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    if imported.secrets.is_empty() {
        return Ok(());
    }
    let mut path = bundle.as_os_str().to_owned();
    path.push(".env");
    let path = PathBuf::from(path);
    let failed = || format!("writing `{}`", path.display());
    let mut options = std::fs::OpenOptions::new();
    let mut file =
        options.write(true).create_new(true).mode(0o600).open(&path).with_context(failed)?;
    for (name, value) in &imported.secrets {
        let quoted = value.expose().replace('\'', "'\\''");
        writeln!(file, "{name}='{quoted}'").with_context(failed)?;
    }
    output.line(&format!(
        "wrote {} with the credentials found; before `lockgate up`:",
        path.display()
    ));
    output.line(&format!("  set -a; . {}; set +a", path.display()));
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let failed = || format!("writing `{}`", path.display());
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).with_context(failed)?;
    }
    std::fs::write(path, bytes).with_context(failed)
}

/// Asks every upstream what it can do and writes the proposals.
async fn declare_operations(
    arguments: &InitArguments,
    place: &Place,
    output: &Output,
) -> Result<()> {
    let world = load(place)?;
    let upstreams = Upstreams::new(EffectsSettings::new(place.state()));
    upstreams.configure(&world).await;
    // The tools of a memory, and the search, are the gate's own.
    let others = world.gate.upstream.iter().filter(|(_, declared)| !declared.is_own());
    for (name, _) in others {
        let upstream = UpstreamName::new(name)?;
        match upstreams.catalogue(&upstream, &Caller::default()).await {
            Ok(catalogue) => {
                let posture = if arguments.enforce { Posture::Enforce } else { Posture::Observe };
                let mut proposal = match world.apis.get(name) {
                    Some(_) => propose_api(&upstream, &catalogue.tools, posture),
                    None => propose(&upstream, &catalogue.tools, posture),
                };
                let unused = world.apis.get(name).into_iter().flat_map(|api| &api.left_out);
                proposal.left_out.extend(unused.map(|(tool, why)| format!("`{tool}`: {why}")));
                let ambiguous = catalogue.ambiguous.iter();
                let ambiguous =
                    ambiguous.map(|it| format!("`{}` names several", it.escape_debug()));
                proposal.left_out.extend(ambiguous);
                let declared = world.gate.upstream.get(name);
                if declared.is_some_and(|it| it.api.is_none() && it.database.is_none()) {
                    proposal.pin_server(catalogue.instructions.as_deref());
                }
                // Against what has been accepted by now of the servers before it.
                let assessment = catalogue.assessment(&upstream, &load(place)?);
                write_proposal(arguments, place, name, (&proposal, &assessment), output)?;
            }
            Err(error) => {
                output.line(&output.bad(&format!("`{name}` did not answer: {error}")));
                output.line(&format!(
                    "  declare its operations later in {}/operations/{name}.toml",
                    place.bundle.display()
                ));
            }
        }
    }
    upstreams.close_session(&Caller::default().session_key).await;
    Ok(())
}

fn load(place: &Place) -> Result<World> {
    let files = place.read_bundle()?;
    World::load(&files).map_err(|mistakes| anyhow!(crate::check::report(&mistakes)))
}

fn write_proposal(
    arguments: &InitArguments,
    place: &Place,
    name: &str,
    (proposal, assessment): (&Proposal, &Assessment),
    output: &Output,
) -> Result<()> {
    let text = match arguments.accept {
        true => accepted(proposal, assessment)?,
        false => proposal.text.clone(),
    };
    let path = place.bundle.join("operations").join(format!("{name}.toml"));
    write(&path, text.as_bytes())?;
    write(&place.bundle.join(Kept::path(name)), proposal.kept.to_text().as_bytes())?;
    output.line(&format!("wrote {}", path.display()));
    for operation in &proposal.operations {
        output.line(&format!(
            "  {:<32} {:<12} {}",
            operation.tool,
            operation.effect.as_str(),
            output.faint(&operation.because)
        ));
    }
    for (tool, quarantined) in &assessment.tools {
        for difference in quarantined {
            let operation = OperationName::tool(&UpstreamName::new(name)?, tool)?;
            let (code, reason, _) = quarantined_for(&operation, difference);
            let line = format!("  quarantined: {}: {code} {reason}", marked(tool));
            output.line(&output.bad(&line));
        }
    }
    for left_out in &proposal.left_out {
        output.line(&output.bad(&format!("  left out: {left_out}")));
    }
    Ok(())
}

/// The proposal with everything accepted that is not destructive, and in which nothing was found:
/// those are for a person, one by one.
fn accepted(proposal: &Proposal, assessment: &Assessment) -> Result<String> {
    const OPEN: &str = "# Nobody has agreed to it yet.";
    const BULK: &str = "# Accepted in bulk, except what is proposed destructive or quarantined.";
    let is_plain = |tool: &str| {
        let mut operations = proposal.operations.iter();
        let proposed = operations.find(|proposed| proposed.tool == tool);
        let is_harmless = proposed.is_some_and(|it| it.effect != Effect::Destructive);
        is_harmless && !assessment.tools.contains_key(tool)
    };
    let text = accept_some(&proposal.text, is_plain)?;
    Ok(text.replacen(OPEN, BULK, 1))
}

/// The client's entries, complete. Clients start processes from anywhere, with a `PATH` of their
/// own, and should be nobody but the first user with the first agent.
fn relayed(client: &Json, arguments: &InitArguments, place: &Place) -> Result<serde_json::Value> {
    let program = std::env::current_exe().context("finding this program")?;
    let failed = || format!("finding `{}`", place.bundle.display());
    let bundle = std::path::absolute(&place.bundle).with_context(failed)?;
    let state = std::path::absolute(place.state()).with_context(failed)?;
    let whom = arguments.users.first().zip(arguments.agents.first());
    let mut client: serde_json::Value = serde_json::from_slice(&client.to_bytes())?;
    for key in ["mcpServers", "servers"] {
        let servers = client.get_mut(key).and_then(serde_json::Value::as_object_mut);
        for server in servers.into_iter().flat_map(|servers| servers.values_mut()) {
            let Some(server) = server.as_object_mut() else { continue };
            if server.get("command").is_none_or(|command| command != PROGRAM) {
                continue;
            }
            server.insert("command".to_owned(), program.to_string_lossy().into());
            let Some(line) = server.get_mut("args").and_then(serde_json::Value::as_array_mut)
            else {
                continue;
            };
            let places = [("--bundle", &bundle), ("--state", &state)];
            line.extend(places.iter().flat_map(|(name, path)| {
                [serde_json::Value::from(*name), path.to_string_lossy().into()]
            }));
            if let Some((user, agent)) = whom {
                line.extend(["--user", user, "--agent", agent].map(serde_json::Value::from));
            }
        }
    }
    Ok(client)
}

/// Makes the client use the gate, and says how to undo it.
fn rewrite(file: &Path, client: serde_json::Value, output: &Output) -> Result<()> {
    let mut backup = file.as_os_str().to_owned();
    backup.push(".before-lockgate");
    let backup = PathBuf::from(backup);
    if backup.exists() {
        bail!("`{}` exists: it is the way back, and stays", backup.display());
    }
    std::fs::copy(file, &backup).with_context(|| format!("backing up `{}`", file.display()))?;
    write(file, serde_json::to_string_pretty(&client)?.as_bytes())?;
    output.line(&format!("rewrote {}", file.display()));
    output.line(&format!("the way back: mv {} {}", backup.display(), file.display()));
    Ok(())
}

fn next_steps(arguments: &InitArguments, place: &Place, output: &Output) {
    let at = if place.bundle == Path::new("lockgate") {
        String::new()
    } else {
        format!(" --bundle {}", place.bundle.display())
    };
    let user = arguments.users.first().map_or("operator", String::as_str);
    let agent = arguments.agents.first().map_or(AGENT, String::as_str);
    output.line("");
    output.line("next:");
    output.line(&format!("  lockgate{at} check                         # names every mistake"));
    output.line(&format!("  lockgate{at} up                            # starts the gate"));
    output.line(&format!("  lockgate{at} token {user} --agent {agent}  # signs a token"));
    output.json(
        &lockgate_types::Object::new()
            .with("bundle", place.bundle.to_string_lossy().as_ref())
            .into(),
    );
}
