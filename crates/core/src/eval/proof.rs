//! Whether an entry has passed what it has to have passed: a fact of the call that asks it.
//!
//! A result holds for one suite as it is written now and for one entry as it is declared now. The
//! newest one counts, whatever came of those before.

use crate::declare::Required;
use crate::model::Model;
use crate::world::World;
use lockgate_types::evaluated::Evaluated;
use lockgate_types::{Digest, Json, Micros, Object, TaskName};
use std::collections::BTreeMap;

const DAY_US: i64 = 86_400_000_000;

/// What a result of an entry is bound to: everything that says which model answers.
pub fn fingerprint(world: &World, entry: &str) -> Option<Digest> {
    let model = world.models.get(entry)?;
    let upstream = world.gate.upstream.get(model.upstream.as_str())?;
    let provider = upstream.model.as_ref()?;
    let json: Json = Object::new()
        .with_some("api_version", provider.api_version.as_deref())
        .with("base_url", provider.base_url.as_str())
        .with_some("deployments", provider.deployments.as_deref())
        .with("entry", entry)
        .with("family", provider.family.as_str())
        .with_some("id", model.declared.id.as_deref())
        .with("upstream", model.upstream.as_str())
        .with("version", model.declared.version.as_str())
        .into();
    Some(json.digest())
}

/// What an entry has to have passed and has not, for a call of that task.
pub fn missing<'w>(
    world: &'w World,
    (entry, model): (&str, &'w Model),
    task: Option<&TaskName>,
    results: &[Evaluated],
    now: Micros,
) -> Option<&'w Required> {
    if model.declared.requires.is_empty() || is_evaluation(world, task) {
        return None;
    }
    let of = fingerprint(world, entry);
    model.declared.requires.iter().find(|required| {
        let newest = results.iter().filter(|it| it.suite == required.suite).max_by_key(|it| it.at);
        !newest.is_some_and(|newest| holds(world, required, newest, of.as_ref(), now))
    })
}

/// The entries that have not passed what they have to, each with the suite.
pub fn unproven(
    world: &World,
    task: Option<&TaskName>,
    results: &BTreeMap<String, Vec<Evaluated>>,
    now: Micros,
) -> BTreeMap<String, String> {
    let none = Vec::new();
    let lacking = world.models.iter().filter_map(|(entry, model)| {
        let results = results.get(entry).unwrap_or(&none);
        let required = missing(world, (entry, model), task, results, now)?;
        Some((entry.to_owned(), required.suite.clone()))
    });
    lacking.collect()
}

/// Whether calls of a task are evaluations.
pub fn is_evaluation(world: &World, task: Option<&TaskName>) -> bool {
    task.and_then(|task| world.tasks.get(task)).is_some_and(|task| task.evaluation)
}

fn holds(
    world: &World,
    required: &Required,
    newest: &Evaluated,
    of: Option<&Digest>,
    now: Micros,
) -> bool {
    let Some(suite) = world.suites.get(&required.suite) else { return false };
    let least = i64::from(required.pass_percent_min.unwrap_or(0)) * 100;
    let age_max = required.max_age_days.map(|days| i64::from(days).saturating_mul(DAY_US));
    let is_young = age_max.is_none_or(|max| now.0.saturating_sub(newest.at.0) <= max);
    newest.digest == suite.digest
        && of == Some(&newest.of)
        && newest.is_passed
        && newest.percent >= least
        && is_young
}
