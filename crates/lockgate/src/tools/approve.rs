//! `lockgate tools approve`: shows what is offered now, and writes down that a person accepts
//! exactly that.

use super::{diff_server, diff_tool, kept, only, rows, server_of, text, tool, upstream_of};
use crate::output::Output;
use crate::place::Place;
use anyhow::{Context, Result, anyhow, bail};
use lockgate_core::bundle::accept::{Accepted, accept_item, accept_server, accept_tool};
use lockgate_core::bundle::propose::{Posture, propose, proposed_schema};
use lockgate_core::bundle::{Kept, definition_digest};
use lockgate_core::world::Files;
use lockgate_types::appearance::marked;
use lockgate_types::{Digest, Json, JsonLimits, Object, UpstreamName};
use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::process::ExitCode;

/// Arguments of `lockgate tools approve`.
#[derive(clap::Args)]
pub(super) struct ApproveArguments {
    /// `upstream/tool`; `upstream/*` for every declared tool that is quarantined; an upstream for
    /// its instructions
    #[arg(required_unless_present = "item")]
    what: Vec<String>,
    /// A prompt or resource that is withheld, by its digest; with the upstream
    #[arg(long, value_name = "DIGEST", requires = "what")]
    item: Option<Digest>,
    /// Accept without being asked: for whoever has looked at it before
    #[arg(long)]
    yes: bool,
}

/// Files of the bundle, with what is accepted in them.
struct Draft {
    files: Files,
    changed: BTreeSet<String>,
    approved: Vec<Json>,
}

pub(super) fn run(
    arguments: &ApproveArguments,
    place: &Place,
    output: &Output,
    ask: impl Fn(Option<&str>) -> Result<Vec<Json>>,
) -> Result<ExitCode> {
    let files = place.read_bundle()?;
    let mut draft = Draft { files, changed: BTreeSet::new(), approved: Vec::new() };
    for what in &arguments.what {
        let upstreams = ask(Some(upstream_of(what)))?;
        let upstream = only(&upstreams)?;
        match (&arguments.item, what.split_once('/')) {
            (Some(digest), None) => draft.accept_item(what, upstream, digest, output)?,
            (Some(_), Some(_)) => bail!("`--item` goes with the name of an upstream"),
            (None, None) => draft.accept_server(what, upstream, output)?,
            (None, Some((name, "*"))) => {
                let is_open = |tool: &&Json| {
                    text(tool, "state") == "quarantined" && tool.get("digest").is_some()
                };
                let declared = draft.declared_tools(name)?;
                for tool in rows(upstream, "tools").iter().filter(is_open) {
                    if declared.contains(text(tool, "tool")) {
                        draft.accept_tool(name, tool, output)?;
                    }
                }
            }
            (None, Some((name, _))) => draft.accept_tool(name, tool(upstream, what)?, output)?,
        }
    }
    if draft.approved.is_empty() {
        output.line("there is nothing to accept");
        return Ok(ExitCode::SUCCESS);
    }
    if !arguments.yes && !is_confirmed(output)? {
        output.line("nothing was accepted");
        return Ok(ExitCode::FAILURE);
    }
    let changed: Vec<String> = draft.changed.into_iter().collect();
    super::write_files(place, &draft.files, &changed)?;
    for path in &changed {
        output.line(&format!("{} {}", output.good("wrote"), place.bundle.join(path).display()));
    }
    output.json(&Object::new().with("approved", draft.approved).into());
    Ok(ExitCode::SUCCESS)
}

/// Whether a person says so, at a terminal.
fn is_confirmed(output: &Output) -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        bail!("nobody is there to agree (hint: look at it, then give `--yes`)");
    }
    output.line("accept exactly this? [y/N]");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).context("reading the answer")?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn declarations(upstream: &str) -> String {
    format!("operations/{upstream}.toml")
}

impl Draft {
    fn read(&self, upstream: &str) -> Result<String> {
        let path = declarations(upstream);
        let bytes = self.files.get(&path).with_context(|| {
            format!("there is no `{path}` (hint: `lockgate tools propose {upstream}`)")
        })?;
        String::from_utf8(bytes.clone()).with_context(|| format!("`{path}` is not text"))
    }

    fn declared_tools(&self, upstream: &str) -> Result<BTreeSet<String>> {
        let document: toml_edit::DocumentMut = self.read(upstream)?.parse()?;
        let tools = document.get("tool").and_then(toml_edit::Item::as_table);
        Ok(tools.into_iter().flatten().map(|(name, _)| name.to_owned()).collect())
    }

    fn write(&mut self, path: String, text: String) {
        self.files.insert(path.clone(), text.into_bytes());
        self.changed.insert(path);
    }

    fn accept_tool(&mut self, upstream: &str, tool: &Json, output: &Output) -> Result<()> {
        let (name, operation) = (text(tool, "tool"), marked(text(tool, "operation")));
        let Some(definition) = tool.get("definition") else {
            bail!(
                "`{operation}` is not offered, or by several tools of one name: there is nothing \
                 to accept (hint: take its declaration out)"
            );
        };
        let declared = self.read(upstream)?;
        let mut kept = kept(&self.files, upstream)?;
        diff_tool(tool, &kept, output);
        let schema = self.new_schema(upstream, name, definition, &kept, output)?;
        tell_of_effect(upstream, kept.tools.get(name), definition, output)?;
        let despite = despite(tool);
        let pin = definition_digest(definition);
        let accepted = Accepted { pin, despite: despite.clone(), schema };
        let written = accept_tool(&declared, name, &accepted).map_err(|error| {
            anyhow!("`{operation}`: {error} (hint: `lockgate tools propose {upstream}`)")
        })?;
        self.write(declarations(upstream), written);
        kept.tools.insert(name.to_owned(), definition.clone());
        self.write(Kept::path(upstream), kept.to_text());
        self.approved.push(approved(text(tool, "operation"), &pin, &despite));
        Ok(())
    }

    fn accept_server(&mut self, name: &str, upstream: &Json, output: &Output) -> Result<()> {
        let server = server_of(upstream);
        let declared = self.read(name)?;
        let mut kept = kept(&self.files, name)?;
        diff_server(name, upstream, &kept, output);
        let instructions = server.get("instructions").and_then(Json::as_str);
        let despite = despite(server);
        let pin = lockgate_core::bundle::instructions_digest(instructions);
        let accepted = Accepted { pin, despite: despite.clone(), schema: None };
        let written = accept_server(&declared, &accepted);
        self.write(declarations(name), written.map_err(|error| anyhow!("`{name}`: {error}"))?);
        kept.instructions = Some(instructions.map(str::to_owned));
        self.write(Kept::path(name), kept.to_text());
        self.approved.push(approved(name, &pin, &despite));
        Ok(())
    }

    fn accept_item(
        &mut self,
        name: &str,
        upstream: &Json,
        digest: &Digest,
        output: &Output,
    ) -> Result<()> {
        let items = rows(upstream, "items");
        let item = items.iter().find(|item| text(item, "digest") == digest.to_string());
        let item = item.with_context(|| format!("`{name}` offers nothing with this digest"))?;
        let shown = item.get("item").map(Json::to_string).unwrap_or_default();
        output.line(&marked(&shown));
        super::findings(item, output);
        let declared = self.read(name)?;
        let written = accept_item(&declared, digest);
        self.write(declarations(name), written.map_err(|error| anyhow!("`{name}`: {error}"))?);
        self.approved.push(approved(name, digest, &[]));
        Ok(())
    }

    /// The schema to declare: that of the new definition, unless a person has changed the declared
    /// one.
    fn new_schema(
        &self,
        upstream: &str,
        name: &str,
        definition: &Json,
        kept: &Kept,
        output: &Output,
    ) -> Result<Option<Json>> {
        let document: toml_edit::DocumentMut = self.read(upstream)?.parse()?;
        let declared = document.get("tool").and_then(|tools| tools.get(name)?.get("schema"));
        let declared = declared.and_then(toml_edit::Item::as_str);
        let declared = declared.and_then(|it| Json::parse(it.as_bytes(), &JsonLimits::OWN).ok());
        let new = proposed_schema(definition);
        if new.is_none() || declared == new {
            return Ok(None);
        }
        let was_proposed = kept.tools.get(name).and_then(proposed_schema);
        if declared.is_some() && declared == was_proposed {
            return Ok(new);
        }
        if declared.is_some() {
            output.line(&output.bad(
                "  the declared schema is not the server's, and stays: correct it if it has to \
                 follow",
            ));
        }
        Ok(None)
    }
}

/// What a person accepts by accepting this: everything for which it is quarantined that a new pin
/// does not settle, and what was accepted before and still holds.
fn despite(of: &Json) -> Vec<String> {
    let open = rows(of, "differences").iter().filter_map(|it| it.get("despite")?.as_str());
    let grave = rows(of, "findings").iter().filter(|it| text(it, "severity") == "block");
    let found = grave.map(|it| format!("found {}", text(it, "class")));
    open.map(str::to_owned).chain(found).collect::<BTreeSet<_>>().into_iter().collect()
}

fn approved(operation: &str, pin: &Digest, despite: &[String]) -> Json {
    let despite: Vec<Json> = despite.iter().map(|it| it.as_str().into()).collect();
    Object::new()
        .with("operation", operation)
        .with("pin", pin.to_string())
        .with("despite", despite)
        .into()
}

/// Says so if the new definition would be proposed with another effect than the accepted one.
fn tell_of_effect(upstream: &str, old: Option<&Json>, new: &Json, output: &Output) -> Result<()> {
    let upstream = UpstreamName::new(upstream)?;
    let effect = |tool: &Json| {
        let proposal = propose(&upstream, std::slice::from_ref(tool), Posture::Enforce);
        proposal.operations.first().map(|proposed| proposed.effect)
    };
    if let (Some(was), Some(is)) = (old.and_then(effect), effect(new))
        && was != is
    {
        let (was, is) = (was.as_str(), is.as_str());
        let line = format!("  it would be proposed `{is}` now, and was `{was}`: see its `effect`");
        output.line(&output.bad(&line));
    }
    Ok(())
}
