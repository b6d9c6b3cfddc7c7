//! Compiles what a declaration says about two phases: whether a plan comes first, and what previews
//! it.

use super::document::Findings;
use super::suggest;
use crate::declare::{self, EffectWord, Operations};
use crate::world::{Operation, Preview, Repeat, TwoPhases};
use lockgate_types::call::Effect;
use lockgate_types::plan::PLAN_ARGUMENT;
use lockgate_types::{OperationName, UpstreamName};
use std::collections::BTreeMap;

/// Members that a preview may hold to.
const SAME_MAX: usize = 16;

/// What one declaration says. `None`: it is done in one.
pub(super) fn compile(
    declared: &declare::Operation,
    repeat: Option<&Repeat>,
    path: &[&str; 2],
    found: &mut Findings<'_>,
) -> Option<TwoPhases> {
    let [kind, name] = *path;
    if !declared.two_phase {
        if declared.preview.is_some() {
            let what = format!("`{name}` has a `preview` and no plan comes first");
            found.at(&[kind, name, "preview"], what, "say `two_phase = true`");
        }
        return None;
    }
    if repeat.is_none() {
        // What could be asked for twice has no key, so a plan would not be used once.
        let what = format!("`{name}` changes nothing, so `two_phase` means nothing");
        found.at(&[kind, name, "two_phase"], what, "only tools that change something have a plan");
    }
    if declared.observe && declared.effect != EffectWord::Destructive {
        let what = format!("`{name}` is only observed, and a plan would be enforced");
        found.at(&[kind, name, "two_phase"], what, "take `observe` or `two_phase` away");
    }
    let takes_it = declared.schema.as_ref().is_some_and(|schema| schema.contains(PLAN_ARGUMENT));
    if takes_it || declared.argument.contains_key(PLAN_ARGUMENT) {
        let what = format!("`{name}` has an argument `{PLAN_ARGUMENT}`, which is the gate's own");
        found.at(&[kind, name, "two_phase"], what, "give the argument another name");
    }
    let preview = declared.preview.as_ref().map(|preview| {
        if preview.same.len() > SAME_MAX {
            let what = format!("the preview of `{name}` holds to more than {SAME_MAX} members");
            found.at(&[kind, name, "preview"], what, "name what contains them");
        }
        let path = |path: &String| path.split('.').map(str::to_owned).collect();
        Preview { tool: preview.tool.clone(), same: preview.same.iter().map(path).collect() }
    });
    Some(TwoPhases { preview })
}

/// What can be said once all tools of an upstream are known: that a preview is a read of the same
/// arguments.
pub(super) fn check(
    upstream: &UpstreamName,
    declared: &Operations,
    found: &mut Findings<'_>,
    compiled: &BTreeMap<OperationName, Operation>,
) {
    let operation =
        |tool: &str| OperationName::tool(upstream, tool).ok().and_then(|name| compiled.get(&name));
    for tool in declared.tool.keys() {
        let Some(own) = operation(tool) else { continue };
        let preview = own.two_phases.as_ref().and_then(|phases| phases.preview.as_ref());
        let Some(preview) = preview else { continue };
        let path = ["tool", tool.as_str(), "preview"];
        let Some(other) = operation(&preview.tool) else {
            let known: Vec<&str> = declared.tool.keys().map(String::as_str).collect();
            let what = format!("there is no tool `{}`", preview.tool);
            found.at(&path, what, suggest::among(&preview.tool, &known));
            continue;
        };
        if other.effect != Effect::Read {
            let what = format!("`{}` is not declared to be a read", preview.tool);
            found.at(&path, what, "preview with a tool that changes nothing");
        }
        let (Some(given), Some(taken)) = (&own.conformance, &other.conformance) else { continue };
        let taken: Vec<&str> = taken.declared_names().collect();
        for argument in given.declared_names().filter(|name| !taken.contains(name)) {
            let what = format!("`{}` does not take the argument `{argument}`", preview.tool);
            found.at(&path, what, "a preview gets the same arguments");
        }
    }
}
