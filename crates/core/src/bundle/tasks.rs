//! Reads what the bundle says of tasks: `tasks/<task>.toml`.

use super::document::{self, Findings};
use super::places::Place;
use super::{Files, Mistake, sources, suggest};
use crate::conform::Conformance;
use crate::declare::{AnswerChecks, Fallback, Task};
use crate::model::Registry;
use crate::world::Operation;
use lockgate_types::plan::PLAN_ARGUMENT;
use lockgate_types::{Json, JsonLimits, OperationName, TaskName};
use std::collections::BTreeMap;

/// Tasks of one bundle.
const TASKS_MAX: usize = 1024;
/// Models of one task.
const MODELS_MAX: usize = 16;
/// Bytes of what is answered when no model does.
const TEXT_BYTES_MAX: usize = 16 << 10;

pub(super) fn load(
    files: &Files,
    operations: &BTreeMap<OperationName, Operation>,
    models: &Registry,
    mistakes: &mut Vec<Mistake>,
) -> BTreeMap<TaskName, Task> {
    let mut tasks = BTreeMap::new();
    let entries = files.keys().filter_map(|path| match Place::of(path) {
        Place::Model(name) => Some(name),
        _ => None,
    });
    let entries: Vec<&str> = entries.collect();
    let known = sources::names(files);
    for (path, bytes) in files {
        let Place::Task(name) = Place::of(path) else { continue };
        let Some((task, document)) = document::read::<Task>(path, bytes, mistakes) else {
            continue;
        };
        let mut found = Findings::new(&document, mistakes);
        check_arguments(&task, operations, &mut found);
        check_models(name, &task, (&entries, models), &mut found);
        check_fallback(&task, &mut found);
        check_answers(&task.checks, &["checks", "schema"], &mut found);
        check_evaluation(&task, &mut found);
        sources::check_task(&task, &known, &mut found);
        match TaskName::new(name) {
            Ok(_) if tasks.len() >= TASKS_MAX => {
                found.at(&[], format!("there are more than {TASKS_MAX} tasks"), "");
            }
            Ok(name) => drop(tasks.insert(name, task)),
            Err(error) => found.at(&[], error.to_string(), "a task's file has its name"),
        }
    }
    tasks
}

/// That the models exist that answer for a task, and may be used for it.
fn check_models(
    name: &str,
    task: &Task,
    (entries, models): (&[&str], &Registry),
    found: &mut Findings<'_>,
) {
    let Some(named) = &task.models else { return };
    if named.is_empty() || named.len() > MODELS_MAX {
        let what = format!("a task has 1 to {MODELS_MAX} models");
        found.at(&["models"], what, "take `models` away if any will do");
    }
    for (at, entry) in named.iter().enumerate() {
        let path = ["models", &at.to_string()];
        if !entries.contains(&entry.as_str()) {
            let what = format!("there is no model `{entry}`");
            found.at(&path, what, suggest::among(entry, entries));
        } else if models.get(entry).is_some_and(|model| !model.allows_task(Some(name))) {
            let what = format!("the model `{entry}` may not be used for this task");
            found.at(&path, what, "name the task in its `tasks`");
        }
    }
}

/// That there is something to say when no model answers.
fn check_fallback(task: &Task, found: &mut Findings<'_>) {
    let Some(fallback) = &task.fallback else { return };
    let Fallback { recorded_s, person, template } = fallback;
    if recorded_s.is_none() && person.is_none() && template.is_none() {
        let hint = "such as `template`, a text";
        found.at(&["fallback"], "there is nothing to answer with", hint);
    }
    if template.as_ref().is_some_and(|it| it.trim().is_empty() || it.len() > TEXT_BYTES_MAX) {
        let what = format!("`template` is empty, or longer than {TEXT_BYTES_MAX} bytes");
        found.at(&["fallback", "template"], what, "");
    }
    if let Some(whom) = person.as_ref().filter(|whom| !names_people(whom)) {
        let what = format!("`{whom}` is nobody who could answer");
        found.at(&["fallback", "person"], what, "such as `group:desk`");
    }
}

/// Whether a text names people by group, role or name, as requirements do.
fn names_people(whom: &str) -> bool {
    let named = whom.split_once(':');
    named.is_some_and(|(kind, name)| {
        ["group", "role", "user"].contains(&kind) && !name.trim().is_empty()
    })
}

/// That answers can be held against the form that they have to have.
pub(super) fn check_answers(checks: &AnswerChecks, at: &[&str], found: &mut Findings<'_>) {
    let Some(text) = &checks.schema else { return };
    let Ok(schema) = Json::parse(text.as_bytes(), &JsonLimits::OWN) else {
        found.at(at, "`schema` is no JSON", "write a JSON Schema, as text");
        return;
    };
    if let Err(unsupported) = Conformance::compile(&schema) {
        found.at(at, unsupported.to_string(), "answers cannot be held against that part of it");
    }
}

/// That an evaluation asks what it names, and nothing else.
fn check_evaluation(task: &Task, found: &mut Findings<'_>) {
    let others = [
        ("models", task.models.is_some()),
        ("fallback", task.fallback.is_some()),
        ("run", task.run.is_some()),
    ];
    for (key, _) in others.into_iter().filter(|(_, is_there)| *is_there && task.evaluation) {
        let what = format!("`{key}` means nothing to evaluations");
        found.at(&[key], what, "an evaluation asks one entry, by its name, and nobody else");
    }
}

/// An argument that is the gate's own where a plan comes first.
fn check_arguments(
    task: &Task,
    operations: &BTreeMap<OperationName, Operation>,
    found: &mut Findings<'_>,
) {
    let takes_it = |operation: &&Operation| {
        let schema = operation.schema.as_ref().and_then(|schema| schema.get("properties"));
        operation.repeat.is_some()
            && schema.is_some_and(|properties| properties.get(PLAN_ARGUMENT).is_some())
    };
    if !task.two_phase {
        return;
    }
    for (name, _) in operations.iter().filter(|(_, operation)| takes_it(operation)) {
        let what = format!("`{name}` has an argument `{PLAN_ARGUMENT}`, which is the gate's own");
        found.at(&["two_phase"], what, "give the argument another name");
    }
}
