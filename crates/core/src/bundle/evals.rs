//! Reads suites of behaviour tests, `evals/<suite>.toml`, and what entries have to have passed.

mod fill;

use super::document::{self, Document, Findings};
use super::places::Place;
use super::{Files, Mistake, models, suggest};
use crate::conform::Conformance;
use crate::declare::{self, Task};
use crate::eval::{QUESTIONS_MAX, Suite};
use crate::model::Registry;
use lockgate_types::{Digest, Json, JsonLimits, TaskName};
use regex::{Regex, RegexBuilder};
use std::collections::{BTreeMap, BTreeSet};

/// Suites of one bundle.
const SUITES_MAX: usize = 256;
/// Cases of one suite, and questions about groups.
const CASES_MAX: usize = 1000;
/// Rules of one kind in one case, tools, sources, messages, and suites that an entry requires.
const LISTED_MAX: usize = 64;
/// Bytes of one text of a suite.
const TEXT_BYTES_MAX: usize = 64 << 10;
/// Bytes that a compiled regular expression may take.
const REGEX_BYTES_MAX: usize = 1 << 20;
/// Groups that are compared.
const GROUPS_MAX: usize = 16;

/// What suites refer to.
pub(super) struct Known<'a> {
    pub(super) tasks: &'a BTreeMap<TaskName, Task>,
    pub(super) models: &'a Registry,
}

/// The suites of a bundle.
pub(super) fn load(
    files: &Files,
    known: &Known<'_>,
    mistakes: &mut Vec<Mistake>,
) -> BTreeMap<String, Suite> {
    let mut suites = BTreeMap::new();
    for (path, bytes) in files {
        let Place::Eval(name) = Place::of(path) else { continue };
        let Some((declared, document)) = document::read::<declare::Suite>(path, bytes, mistakes)
        else {
            continue;
        };
        let before = mistakes.len();
        let mut found = Findings::new(&document, mistakes);
        if !models::is_name(name) {
            let hint = "a suite is named by lower-case letters, digits, `-`, `_` and `.`";
            found.at(&[], format!("`{name}` cannot be the name of a suite"), hint);
        }
        if suites.len() >= SUITES_MAX {
            found.at(&[], format!("there are more than {SUITES_MAX} suites"), "");
        }
        check(&declared, known, &mut found);
        let suite = compile(name, &declared, Digest::of(bytes), &mut found);
        if let Some(suite) = suite.filter(|_| mistakes.len() == before) {
            suites.insert(name.to_owned(), suite);
        }
    }
    suites
}

/// That suites exist which entries have to have passed, and can be asked of them.
pub(super) fn check_required(
    files: &Files,
    models: &Registry,
    suites: &BTreeMap<String, Suite>,
    mistakes: &mut Vec<Mistake>,
) {
    let is_there = |suite: &str| files.contains_key(&format!("evals/{suite}.toml"));
    let names: Vec<&String> = suites.keys().collect();
    for (entry, model) in models.iter().filter(|(_, model)| !model.declared.requires.is_empty()) {
        let path = format!("models/{entry}.toml");
        let Some(bytes) = files.get(&path) else { continue };
        let Some(document) = Document::of(&path, bytes) else { continue };
        let mut found = Findings::new(&document, mistakes);
        if model.declared.id.is_none() {
            let what = "what it has to have passed is about one model, and it names none";
            found.at(&["requires"], what, "say which: `id = \"…\"`");
        }
        if model.declared.requires.len() > LISTED_MAX {
            found.at(&["requires"], format!("there are more than {LISTED_MAX}"), "");
        }
        for (at, required) in model.declared.requires.iter().enumerate() {
            let at = at.to_string();
            let place = ["requires", at.as_str(), "suite"];
            match suites.get(&required.suite) {
                Some(suite) if !model.allows_task(Some(suite.task.as_str())) => {
                    let what = format!("`{entry}` may not be asked for `{}`", suite.task);
                    found.at(
                        &place,
                        what,
                        "name that task in its `tasks`: nothing else of it needs one",
                    );
                }
                // What is wrong with it is said where it stands.
                Some(_) => {}
                None if is_there(&required.suite) => {}
                None => {
                    let what = format!("there is no suite `{}`", required.suite);
                    found.at(&place, what, suggest::among(&required.suite, &names));
                }
            }
        }
    }
}

fn check(declared: &declare::Suite, known: &Known<'_>, found: &mut Findings<'_>) {
    if !models::is_word(&declared.version) {
        let what = format!("`{}` cannot be a version", declared.version);
        found.at(&["version"], what, "visible characters, without spaces");
    }
    let task = TaskName::new(&declared.task).ok();
    let evaluates = |task: &TaskName| known.tasks.get(task).is_some_and(|task| task.evaluation);
    if !task.as_ref().is_some_and(evaluates) {
        let what = format!("`{}` is no task for evaluations", declared.task);
        let hint = format!("write `tasks/{}.toml` with `evaluation = true`", declared.task);
        found.at(&["task"], what, hint);
    }
    if let Some(judge) = &declared.judge {
        match known.models.get(judge) {
            None => {
                let entries: Vec<&str> = known.models.iter().map(|(name, _)| name).collect();
                let what = format!("there is no model `{judge}`");
                found.at(&["judge"], what, suggest::among(judge, &entries));
            }
            Some(model) if !model.allows_task(Some(&declared.task)) => {
                let what = format!("the model `{judge}` may not be used for this task");
                found.at(&["judge"], what, "name the task in its `tasks`");
            }
            Some(_) => {}
        }
    }
    if declared.case.is_empty() && declared.counterfactual.is_empty() {
        found.at(&[], "the suite asks nothing", "`[[case]]` or `[[counterfactual]]`");
    }
    let mut names = BTreeSet::new();
    let cases = declared.case.iter().enumerate().map(|(at, case)| ("case", at, &case.id));
    let groups = declared.counterfactual.iter().enumerate();
    let groups = groups.map(|(at, it)| ("counterfactual", at, &it.id));
    for (kind, at, id) in cases.chain(groups) {
        let path = [kind, &at.to_string(), "id"];
        if !models::is_name(id) || id.is_empty() {
            let hint = "lower-case letters, digits, `-`, `_` and `.`";
            found.at(&path, format!("`{id}` cannot be a name"), hint);
        } else if !names.insert(id) {
            found.at(&path, format!("another one is named `{id}`"), "");
        }
    }
    if names.len() > CASES_MAX {
        found.at(&[], format!("there are more than {CASES_MAX} cases"), "make two suites of it");
    }
    if declared.refusals.len() > LISTED_MAX {
        found.at(&["refusals"], format!("there are more than {LISTED_MAX}"), "");
    }
}

/// The suite with all variables put in; `None` if it could not be bounded.
fn compile(
    name: &str,
    declared: &declare::Suite,
    digest: Digest,
    found: &mut Findings<'_>,
) -> Option<Suite> {
    let mut room = QUESTIONS_MAX / usize::try_from(declared.samples.max(1)).ok()?;
    let (mut cases, mut counterfactuals) = (Vec::new(), Vec::new());
    for (at, case) in declared.case.iter().enumerate() {
        cases.extend(fill::case(declared, (at, case), &mut room, found)?);
    }
    for (at, of) in declared.counterfactual.iter().enumerate() {
        counterfactuals.push(fill::counterfactual(declared, (at, of), &mut room, found)?);
    }
    Some(Suite {
        name: name.to_owned(),
        version: declared.version.clone(),
        digest,
        task: TaskName::new(&declared.task).ok()?,
        samples: declared.samples,
        output_tokens_max: declared.output_tokens_max,
        pass_percent_min: declared.pass_percent_min,
        judge: declared.judge.clone(),
        refusals: declared.refusals.clone(),
        cases,
        counterfactuals,
    })
}

/// A regular expression, which runs in linear time.
fn regex(text: &str, path: &[&str], found: &mut Findings<'_>) -> Option<Regex> {
    match RegexBuilder::new(text).size_limit(REGEX_BYTES_MAX).build() {
        Ok(regex) => Some(regex),
        Err(error) => {
            let why = error.to_string();
            let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ");
            found.at(path, format!("`{text}` is no regular expression: {why}"), "");
            None
        }
    }
}

/// A JSON Schema, as text.
fn schema(text: &str, path: &[&str], found: &mut Findings<'_>) -> Option<(Json, Conformance)> {
    let json = match Json::parse(text.as_bytes(), &JsonLimits::PRINTED) {
        Ok(json) => json,
        Err(error) => {
            found.at(path, format!("the schema is no JSON: {error}"), "");
            return None;
        }
    };
    match Conformance::compile(&json) {
        Ok(compiled) => Some((json, compiled)),
        Err(error) => {
            found.at(path, error.to_string(), "");
            None
        }
    }
}
