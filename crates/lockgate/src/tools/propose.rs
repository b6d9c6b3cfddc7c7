//! `lockgate tools propose`: declarations for tools that are not declared yet. Nobody has agreed to
//! them: they say `accepted = false`.

use super::{findings, kept, only, reasons, rows, server_of, text};
use crate::output::Output;
use crate::place::Place;
use anyhow::{Context, Result, bail};
use lockgate_core::bundle::Kept;
use lockgate_core::bundle::propose::{Posture, propose, propose_api};
use lockgate_types::appearance::marked;
use lockgate_types::{Json, Object, UpstreamName};
use std::process::ExitCode;

/// Arguments of `lockgate tools propose`.
#[derive(clap::Args)]
pub(super) struct ProposeArguments {
    /// The upstream
    upstream: String,
    /// Let denials of what is not destructive be observed first, instead of enforced
    #[arg(long)]
    observe: bool,
}

pub(super) fn run(
    arguments: &ProposeArguments,
    place: &Place,
    output: &Output,
    ask: impl Fn(Option<&str>) -> Result<Vec<Json>>,
) -> Result<ExitCode> {
    let name = UpstreamName::new(&arguments.upstream)?;
    let upstreams = ask(Some(name.as_str()))?;
    let upstream = only(&upstreams)?;
    let mut files = place.read_bundle()?;
    let world = crate::reload::compile(&files)?;
    if world.gate.upstream.get(name.as_str()).is_some_and(|it| it.is_own()) {
        bail!("the tools of `{name}` are the gate's own: there is nothing to declare");
    }
    let path = format!("operations/{name}.toml");
    let declared = files.get(&path).cloned();
    let declared = declared.map(String::from_utf8).transpose();
    let declared = declared.with_context(|| format!("`{path}` is not text"))?;
    let document: toml_edit::DocumentMut = declared.as_deref().unwrap_or_default().parse()?;
    let is_declared = |tool: &Json| {
        document.get("tool").and_then(|tools| tools.get(text(tool, "tool"))).is_some()
    };
    let open = rows(upstream, "tools").iter().filter(|tool| !is_declared(tool));
    let open: Vec<&Json> = open.filter(|tool| tool.get("definition").is_some()).collect();
    let definitions: Vec<Json> =
        open.iter().filter_map(|tool| tool.get("definition").cloned()).collect();
    let posture = if arguments.observe { Posture::Observe } else { Posture::Enforce };
    let is_api = world.apis.contains_key(name.as_str());
    let mut proposal = match is_api {
        true => propose_api(&name, &definitions, posture),
        false => propose(&name, &definitions, posture),
    };
    let is_own =
        is_api || world.gate.upstream.get(name.as_str()).is_some_and(|it| it.database.is_some());
    if !is_own && !document.contains_key("server") {
        proposal.pin_server(server_of(upstream).get("instructions").and_then(Json::as_str));
    }
    let mut all = kept(&files, name.as_str())?;
    let written = match declared {
        Some(declared) => format!("{}\n{}", declared.trim_end(), proposal.without_head()),
        None => proposal.text.clone(),
    };
    all.tools.extend(proposal.kept.tools);
    all.instructions = proposal.kept.instructions.or(all.instructions);
    let kept_path = Kept::path(name.as_str());
    files.insert(path.clone(), written.into_bytes());
    files.insert(kept_path.clone(), all.to_text().into_bytes());
    super::write_files(place, &files, &[path.clone(), kept_path])?;
    output.line(&format!(
        "wrote {}: proposals, for a person to accept",
        place.bundle.join(path).display()
    ));
    tell(&proposal.operations, &proposal.left_out, &open, output);
    Ok(ExitCode::SUCCESS)
}

fn tell(
    operations: &[lockgate_core::bundle::propose::Proposed],
    left_out: &[String],
    open: &[&Json],
    output: &Output,
) {
    let mut proposed = Vec::new();
    for operation in operations {
        let (tool, effect) = (marked(&operation.tool), operation.effect.as_str());
        let line = format!("  {tool:<32} {effect:<12} {}", output.faint(&operation.because));
        output.line(&line);
        let offered = open.iter().find(|it| text(it, "tool") == operation.tool);
        for reason in reasons(offered.copied()) {
            output.line(&output.bad(&format!("    quarantined: {reason}")));
        }
        if let Some(offered) = offered {
            findings(offered, output);
        }
        let one = Object::new()
            .with("tool", operation.tool.as_str())
            .with("effect", effect)
            .with("because", operation.because.as_str())
            .with("accepted", false);
        proposed.push(Json::from(one));
    }
    for left_out in left_out {
        output.line(&output.bad(&format!("  left out: {left_out}")));
    }
    if operations.is_empty() {
        output.line("  every tool is declared already");
    }
    output.json(&Object::new().with("proposed", proposed).into());
}
