//! Reads what the bundle says of tasks: `tasks/<task>.toml`.

use super::document::{self, Findings};
use super::places::Place;
use super::{Files, Mistake};
use crate::declare::Task;
use crate::world::Operation;
use lockgate_types::plan::PLAN_ARGUMENT;
use lockgate_types::{OperationName, TaskName};
use std::collections::BTreeMap;

/// Tasks of one bundle.
const TASKS_MAX: usize = 1024;

pub(super) fn load(
    files: &Files,
    operations: &BTreeMap<OperationName, Operation>,
    mistakes: &mut Vec<Mistake>,
) -> BTreeMap<TaskName, Task> {
    let mut tasks = BTreeMap::new();
    for (path, bytes) in files {
        let Place::Task(name) = Place::of(path) else { continue };
        let Some((task, document)) = document::read::<Task>(path, bytes, mistakes) else {
            continue;
        };
        let mut found = Findings::new(&document, mistakes);
        check_arguments(&task, operations, &mut found);
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
