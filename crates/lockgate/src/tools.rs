//! `lockgate tools`: what upstreams offer, what of it was accepted, and accepting it.
//!
//! What is offered comes from the running gate. What is accepted is written into the bundle's
//! directory on this machine, where the gate finds it like any other change.

use crate::client::{GateArguments, GateClient};
use crate::output::Output;
use crate::place::Place;
use anyhow::{Context, Result, anyhow, bail};
use lines::Line;
use lockgate_core::bundle::Kept;
use lockgate_core::world::Files;
use lockgate_types::appearance::marked;
use lockgate_types::{Json, Object};
use std::process::ExitCode;

mod approve;
mod lines;
mod propose;

/// Arguments of `lockgate tools`.
#[derive(clap::Args)]
pub(crate) struct ToolsArguments {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    gate: GateArguments,
}

#[derive(clap::Subcommand)]
enum Action {
    /// List what upstreams offer, and how it stands
    List {
        /// Of one upstream only
        upstream: Option<String>,
    },
    /// Show a definition whole, with what was found in it and nothing hidden
    Show {
        /// `upstream/tool`, or an upstream for what it says of itself
        what: String,
    },
    /// Compare definitions with those that were accepted, line by line
    Diff {
        /// `upstream/tool` or an upstream; everything if absent
        what: Option<String>,
    },
    /// Accept definitions as they are now, after showing them
    Approve(approve::ApproveArguments),
    /// Write proposed declarations for tools that are not declared yet
    Propose(propose::ProposeArguments),
}

/// Runs the command.
pub(crate) fn run(arguments: &ToolsArguments, place: &Place, output: &Output) -> Result<ExitCode> {
    let client = GateClient::new(&arguments.gate, place)?;
    let runtime = crate::runtime()?;
    let ask = |upstream: Option<&str>| runtime.block_on(offered(&client, upstream));
    match &arguments.action {
        None => list(&ask(None)?, output),
        Some(Action::List { upstream }) => list(&ask(upstream.as_deref())?, output),
        Some(Action::Show { what }) => show(what, &ask(Some(upstream_of(what)))?, output),
        Some(Action::Diff { what }) => {
            let files = place.read_bundle()?;
            let upstreams = ask(what.as_deref().map(upstream_of))?;
            diff(what.as_deref(), &files, &upstreams, output)
        }
        Some(Action::Approve(approve)) => approve::run(approve, place, output, ask),
        Some(Action::Propose(propose)) => propose::run(propose, place, output, ask),
    }
}

/// What the upstreams of the running gate offer.
async fn offered(client: &GateClient, upstream: Option<&str>) -> Result<Vec<Json>> {
    let query = match upstream {
        Some(upstream) if upstream.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'-') => {
            format!("?upstream={upstream}")
        }
        Some(upstream) => bail!("`{}` is not the name of an upstream", marked(upstream)),
        None => String::new(),
    };
    let answer = client.get(&format!("/v1/operations/offered{query}")).await?;
    let upstreams = answer.get("upstreams").and_then(Json::as_array);
    upstreams.map(<[Json]>::to_vec).context("the gate's answer names no upstreams")
}

fn upstream_of(what: &str) -> &str {
    what.split_once('/').map_or(what, |(upstream, _)| upstream)
}

fn text<'j>(json: &'j Json, name: &str) -> &'j str {
    json.get(name).and_then(Json::as_str).unwrap_or_default()
}

fn rows<'j>(json: &'j Json, name: &str) -> &'j [Json] {
    json.get(name).and_then(Json::as_array).unwrap_or_default()
}

/// The one upstream that was asked for, if it could be asked.
fn only(upstreams: &[Json]) -> Result<&Json> {
    let upstream = upstreams.first().context("the gate's answer names no upstream")?;
    let unavailable = text(upstream, "unavailable");
    if !unavailable.is_empty() {
        bail!("`{}` could not be asked: {}", text(upstream, "upstream"), marked(unavailable));
    }
    Ok(upstream)
}

/// One tool of what an upstream offers.
fn tool<'j>(upstream: &'j Json, operation: &str) -> Result<&'j Json> {
    let mut tools = rows(upstream, "tools").iter();
    let found = tools.find(|tool| text(tool, "operation") == operation);
    found.with_context(|| {
        let (of, name) = (text(upstream, "upstream"), marked(operation));
        format!("`{of}` offers no `{name}` (hint: `lockgate tools list {of}`)")
    })
}

fn list(upstreams: &[Json], output: &Output) -> Result<ExitCode> {
    for upstream in upstreams {
        let name = text(upstream, "upstream");
        if !text(upstream, "unavailable").is_empty() {
            let why = marked(text(upstream, "unavailable"));
            output.line(&output.bad(&format!("{name}: could not be asked: {why}")));
            continue;
        }
        for reason in reasons(upstream.get("server")) {
            output.line(&output.bad(&format!("{name}: instructions withheld: {reason}")));
        }
        for tool in rows(upstream, "tools") {
            output.line(&list_line(tool, output));
        }
        for item in rows(upstream, "items") {
            let is_withheld = item.get("withheld").and_then(Json::as_bool) == Some(true);
            let state = if is_withheld { output.bad("withheld") } else { "review".to_owned() };
            let (list, digest) = (text(item, "list"), text(item, "digest"));
            output.line(&format!("{name}: {state} of its {list}: {digest}{}", found(item)));
        }
    }
    output.json(&Object::new().with("upstreams", upstreams.to_vec()).into());
    Ok(ExitCode::SUCCESS)
}

fn list_line(tool: &Json, output: &Output) -> String {
    let state = format!("{:<12}", text(tool, "state"));
    let state = match text(tool, "state") {
        "accepted" => output.good(&state),
        "quarantined" | "gone" => output.bad(&state),
        _ => state,
    };
    let reasons: Vec<String> = reasons(Some(tool)).collect();
    let reasons =
        if reasons.is_empty() { found(tool) } else { format!(": {}", reasons.join("; ")) };
    format!("{state} {}{reasons}", marked(text(tool, "operation")))
}

/// Why something is quarantined.
fn reasons(of: Option<&Json>) -> impl Iterator<Item = String> {
    let differences = of.map(|of| rows(of, "differences")).unwrap_or_default();
    differences.iter().map(|it| format!("{} {}", text(it, "code"), marked(text(it, "reason"))))
}

/// The classes that were found, in short.
fn found(of: &Json) -> String {
    let mut classes: Vec<&str> = rows(of, "findings").iter().map(|it| text(it, "class")).collect();
    classes.sort_unstable();
    classes.dedup();
    if classes.is_empty() { String::new() } else { format!(" (found: {})", classes.join(", ")) }
}

fn show(what: &str, upstreams: &[Json], output: &Output) -> Result<ExitCode> {
    let upstream = only(upstreams)?;
    if !what.contains('/') {
        let server = upstream.get("server").cloned().unwrap_or(Json::Null);
        for line in lines::of_text(server.get("instructions").and_then(Json::as_str)) {
            output.line(&line);
        }
        findings(&server, output);
        output.json(&server);
        return Ok(ExitCode::SUCCESS);
    }
    let tool = tool(upstream, what)?;
    output.line(&list_line(tool, output));
    for line in tool.get("definition").map(lines::of_definition).unwrap_or_default() {
        output.line(&format!("  {line}"));
    }
    findings(tool, output);
    output.json(tool);
    Ok(ExitCode::SUCCESS)
}

/// What was found, each with its place and what accepts it.
fn findings(of: &Json, output: &Output) {
    for finding in rows(of, "findings") {
        let line = format!(
            "  found {} ({}) in {}",
            text(finding, "class"),
            text(finding, "severity"),
            marked(text(finding, "pointer")),
        );
        let is_grave = text(finding, "severity") == "block";
        output.line(&if is_grave { output.bad(&line) } else { line });
    }
}

fn diff(
    what: Option<&str>,
    files: &Files,
    upstreams: &[Json],
    output: &Output,
) -> Result<ExitCode> {
    let mut shown = Vec::new();
    for upstream in upstreams {
        let name = text(upstream, "upstream");
        if !text(upstream, "unavailable").is_empty() {
            only(std::slice::from_ref(upstream)).map(drop)?;
        }
        let kept = kept(files, name)?;
        let operation = what.filter(|what| what.contains('/'));
        if operation.is_none() && !rows(server_of(upstream), "differences").is_empty() {
            shown.push(diff_server(name, upstream, &kept, output));
        }
        for tool in rows(upstream, "tools") {
            let is_asked = match operation {
                Some(operation) => text(tool, "operation") == operation,
                None => matches!(text(tool, "state"), "quarantined" | "gone"),
            };
            if is_asked {
                shown.push(diff_tool(tool, &kept, output));
            }
        }
        if let Some(operation) = operation {
            tool(upstream, operation).map(drop)?;
        }
    }
    let differs =
        shown.iter().any(|it| !rows(it, "lines").is_empty() || !rows(it, "differences").is_empty());
    if !differs {
        output.line("everything is as it was accepted");
    }
    output.json(&Object::new().with("differences", shown).into());
    Ok(if differs { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn server_of(upstream: &Json) -> &Json {
    upstream.get("server").unwrap_or(&Json::Null)
}

/// The accepted definitions that are kept beside the declarations.
fn kept(files: &Files, upstream: &str) -> Result<Kept> {
    let kept = Kept::of(files, upstream);
    kept.map_err(|what| anyhow!("`{}`: {what}", Kept::path(upstream)))
}

/// What changed of a tool: shown, and as JSON.
fn diff_tool(tool: &Json, kept: &Kept, output: &Output) -> Json {
    let old = kept.tools.get(text(tool, "tool")).map(lines::of_definition);
    let new = tool.get("definition").map(lines::of_definition).unwrap_or_default();
    let is_pinned = !text(tool, "pin").is_empty();
    output.line(&list_line(tool, output));
    findings(tool, output);
    if old.is_none() && is_pinned {
        output.line("  the accepted definition was not kept: only its digest is known");
    }
    // Without a difference of the definition there is nothing to compare: it is shown whole.
    let whole = |lines: Vec<String>| lines.into_iter().map(Line::Same).collect();
    let is_same = text(tool, "pin") == text(tool, "digest");
    let lines = match (&old, is_same) {
        (Some(old), false) => lines::compare(old, &new),
        (_, true) => whole(new),
        (None, false) => new.into_iter().map(Line::New).collect(),
    };
    print(&lines, output);
    Object::new()
        .with("operation", text(tool, "operation"))
        .with("state", text(tool, "state"))
        .with("differences", rows(tool, "differences").to_vec())
        .with("lines", to_json(&lines))
        .into()
}

fn diff_server(name: &str, upstream: &Json, kept: &Kept, output: &Output) -> Json {
    let server = server_of(upstream);
    let new = lines::of_text(server.get("instructions").and_then(Json::as_str));
    for reason in reasons(Some(server)) {
        output.line(&output.bad(&format!("{name}: {reason}")));
    }
    findings(server, output);
    let old = kept.instructions.as_ref().map(|old| lines::of_text(old.as_deref()));
    let lines = match &old {
        Some(old) => lines::compare(old, &new),
        None => new.into_iter().map(Line::New).collect(),
    };
    print(&lines, output);
    Object::new()
        .with("operation", name)
        .with("state", "quarantined")
        .with("differences", rows(server, "differences").to_vec())
        .with("lines", to_json(&lines))
        .into()
}

fn print(lines: &[Line], output: &Output) {
    for line in lines {
        output.line(&match line {
            Line::Same(line) => output.faint(&format!("    {line}")),
            Line::Gone(line) => output.bad(&format!("  - {line}")),
            Line::New(line) => output.good(&format!("  + {line}")),
            Line::Left(lines) => output.faint(&format!("    … {lines} unchanged")),
        });
    }
}

fn to_json(lines: &[Line]) -> Vec<Json> {
    let shown = lines.iter().filter_map(|line| match line {
        Line::Gone(line) => Some(Json::from(format!("-{line}"))),
        Line::New(line) => Some(Json::from(format!("+{line}"))),
        Line::Same(_) | Line::Left(_) => None,
    });
    shown.collect()
}

/// Writes changed files of the bundle, if it loads with them.
fn write_files(place: &Place, files: &Files, changed: &[String]) -> Result<()> {
    crate::reload::compile(files)?;
    for path in changed {
        let bytes = files.get(path).context("a file that was changed")?;
        let target = place.bundle.join(path);
        let failed = || format!("writing `{}`", target.display());
        let directory = target.parent().unwrap_or(&place.bundle);
        std::fs::create_dir_all(directory).with_context(failed)?;
        // Renamed into place: the gate never reads half a file.
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let draft = directory.join(format!(".{name}.draft"));
        std::fs::write(&draft, bytes).with_context(failed)?;
        std::fs::rename(&draft, &target).with_context(failed)?;
    }
    Ok(())
}
