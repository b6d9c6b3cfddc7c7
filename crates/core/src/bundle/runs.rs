//! Compiles how tasks are run: `[run]` of `tasks/<task>.toml`, and `workflows/<name>.toml`.

use super::document::{self, Findings};
use super::kept::Kept;
use super::places::Place;
use super::search;
use super::{Files, Mistake, suggest};
use crate::declare::{OnRefusalWord, Run, StepWord, Task, Verify, WorkflowStep};
use crate::model::Registry;
use crate::prompt::{Segment, Template};
use crate::run::{self, Condition, Plan, Source, Stage, Tool, Workflow};
use crate::world::Operation;
use lockgate_types::model::ModelApi;
use lockgate_types::{Json, JsonLimits, Object, OperationName, TaskName};
use std::collections::{BTreeMap, BTreeSet};

/// Tools of one task's runs.
const TOOLS_MAX: usize = 128;
/// Tasks of which runs may be started within one.
const CHILDREN_MAX: usize = 16;
/// Steps of one workflow.
const STEPS_MAX: usize = 128;
/// Bytes of a question to people, and of who is asked.
const QUESTION_BYTES_MAX: usize = 1024;
/// Workflows of one bundle.
const WORKFLOWS_MAX: usize = 256;
/// Bytes of a tool's name that model interfaces take.
const NAME_BYTES_MAX: usize = 64;
/// The data that a run hands in.
const OUTCOMES: &str = "outcomes";

/// What else the bundle says.
pub(super) struct Known<'a> {
    pub(super) tasks: &'a BTreeMap<TaskName, Task>,
    pub(super) operations: &'a BTreeMap<OperationName, Operation>,
    pub(super) models: &'a Registry,
    pub(super) prompts: &'a BTreeMap<String, Template>,
}

pub(super) fn load(
    files: &Files,
    known: &Known<'_>,
    mistakes: &mut Vec<Mistake>,
) -> BTreeMap<TaskName, Plan> {
    let mut plans = BTreeMap::new();
    let mut used = BTreeSet::new();
    for (path, bytes) in files {
        let Place::Task(name) = Place::of(path) else { continue };
        let task = TaskName::new(name).ok();
        let Some((task, run)) = task.and_then(|task| {
            let run = known.tasks.get(&task)?.run.as_ref()?;
            Some((task, run))
        }) else {
            continue;
        };
        // Its own mistakes are named where tasks are read.
        let Some((_, document)) = document::read::<Task>(path, bytes, &mut Vec::new()) else {
            continue;
        };
        let before = mistakes.len();
        let mut plan = plan(files, known, (&task, run), &mut Findings::new(&document, mistakes));
        if let Some(workflow) = &run.workflow {
            used.insert(workflow.clone());
            plan.workflow = follow(files, known, &plan, workflow, mistakes);
        }
        if mistakes.len() == before {
            plans.insert(task, plan);
        }
    }
    let flows = files.keys().filter_map(|path| match Place::of(path) {
        Place::Workflow(name) => Some((path, name)),
        _ => None,
    });
    for (at, (path, name)) in flows.enumerate() {
        if at >= WORKFLOWS_MAX || !used.contains(name) {
            let what = match at >= WORKFLOWS_MAX {
                true => format!("there are more than {WORKFLOWS_MAX} workflows"),
                false => format!("no task follows the workflow `{name}`"),
            };
            let hint = "name it as `workflow` in the `[run]` of a task".to_owned();
            mistakes.push(Mistake { file: path.clone(), line: None, what, hint });
        }
    }
    plans
}

fn plan(
    files: &Files,
    known: &Known<'_>,
    (task, run): (&TaskName, &Run),
    found: &mut Findings<'_>,
) -> Plan {
    let models = known.tasks.get(task).and_then(|task| task.models.as_ref());
    let first = models.and_then(|models| models.first());
    let model = run.model.as_ref().or(first).cloned().unwrap_or_default();
    let plan = Plan {
        declared: run.clone(),
        model,
        tools: tools(files, known, run, found),
        children: children(known, run, found),
        workflow: None,
    };
    if run.workflow.is_none() {
        match run.prompt.as_deref() {
            None => {
                found.at(&["run"], "a run needs a `prompt`, or a `workflow`", "name one");
            }
            Some(prompt) => {
                let has_data = !plan.tools.is_empty() || !plan.children.is_empty();
                let needed: &[&str] = if has_data { &[OUTCOMES] } else { &[] };
                check_prompt(known, prompt, needed, (&["run", "prompt"], found));
            }
        }
        check_model(known, &plan.model, (&["run", "model"], found));
    }
    check_verify(known, run, found);
    plan
}

fn tools(
    files: &Files,
    known: &Known<'_>,
    run: &Run,
    found: &mut Findings<'_>,
) -> BTreeMap<String, Tool> {
    let mut tools = BTreeMap::new();
    if run.tools.len() > TOOLS_MAX {
        found.at(&["run", "tools"], format!("there are more than {TOOLS_MAX} tools"), "");
    }
    for (at, text) in run.tools.iter().enumerate() {
        let path = ["run", "tools", &at.to_string()];
        let operation = OperationName::new(text).ok();
        let declared = operation.as_ref().and_then(|it| known.operations.get(it));
        let (Some(operation), Some(declared), Some((_, tool))) =
            (operation, declared, text.split_once('/'))
        else {
            let names: Vec<&str> = known.operations.keys().map(OperationName::as_str).collect();
            found.at(&path, format!("there is no tool `{text}`"), suggest::among(text, &names));
            continue;
        };
        let name = format!("{}__{tool}", declared.upstream);
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        if name.len() > NAME_BYTES_MAX || !name.bytes().all(is_name) {
            let what = format!("models cannot call `{text}`: `{name}` is no name of a tool there");
            found.at(&path, what, "letters, digits, `_` and `-`, and 64 of them at most");
            continue;
        }
        let kept = Kept::of(files, declared.upstream.as_str()).unwrap_or_default();
        let about = kept.tools.get(tool).and_then(|tool| tool.get("description")?.as_str());
        let about = about.or_else(|| search::description(text));
        let empty = || Object::new().with("type", "object").with("properties", Object::new());
        let tool = Tool {
            operation,
            upstream: declared.upstream.clone(),
            tool: tool.to_owned(),
            description: about.map(str::to_owned),
            schema: declared.schema.clone().unwrap_or_else(|| empty().into()),
        };
        if tools.insert(name, tool).is_some() {
            found.at(&path, format!("`{text}` is named twice"), "take one away");
        }
    }
    tools
}

fn children(known: &Known<'_>, run: &Run, found: &mut Findings<'_>) -> BTreeMap<TaskName, String> {
    let mut children = BTreeMap::new();
    for (at, text) in run.children.iter().enumerate() {
        let path = ["run", "children", &at.to_string()];
        let task = TaskName::new(text).ok();
        let declared = task.as_ref().and_then(|task| known.tasks.get(task));
        let is_run = declared.filter(|task| task.run.is_some());
        match (task, is_run) {
            (Some(task), Some(declared)) if at < CHILDREN_MAX => {
                let name_bytes = run::CHILD_PREFIX.len() + text.len();
                if name_bytes > NAME_BYTES_MAX {
                    let what = format!("models cannot call `{text}`: the name is too long");
                    found.at(&path, what, "");
                }
                children.insert(task, declared.description.clone().unwrap_or_default());
            }
            (_, _) => {
                let what = format!("there are no runs of a task `{text}`");
                found.at(&path, what, "give that task a `[run]`");
            }
        }
    }
    children
}

fn check_prompt(
    known: &Known<'_>,
    prompt: &str,
    needed: &[&str],
    (path, found): (&[&str], &mut Findings<'_>),
) {
    let Some(template) = known.prompts.get(prompt) else {
        let names: Vec<&str> = known.prompts.keys().map(String::as_str).collect();
        found.at(path, format!("there is no prompt `{prompt}`"), suggest::among(prompt, &names));
        return;
    };
    for name in needed {
        let is_it =
            |segment: &Segment| matches!(segment, Segment::Data { name: it, .. } if it == name);
        if !template.segments.iter().any(is_it) {
            let what = format!("the prompt `{prompt}` has no place for what calls come to");
            let hint = format!("give it a segment with `kind = \"data\"` and `name = \"{name}\"`");
            found.at(path, what, hint);
        }
    }
}

fn check_model(known: &Known<'_>, model: &str, (path, found): (&[&str], &mut Findings<'_>)) {
    let asked = [ModelApi::ChatCompletions, ModelApi::Messages];
    if known.models.find(model, &asked).is_none() {
        let what = match model {
            "" => "it is not said which model is asked".to_owned(),
            model => format!("no model is asked for by the name `{model}`"),
        };
        found.at(path, what, "name one of `models/` that answers chats");
    }
}

fn check_verify(known: &Known<'_>, run: &Run, found: &mut Findings<'_>) {
    let Some(verify) = &run.verify else { return };
    check_samples(verify, found);
    match (&verify.model, &verify.prompt) {
        (None, None) => {
            if verify.citations_min.is_none() && !verify.quotes && verify.samples.is_none() {
                let hint = "`citations_min`, `quotes`, `samples`, or `model` and `prompt`";
                found.at(&["run", "verify"], "it is not said what is checked", hint);
            }
        }
        (Some(model), Some(prompt)) => {
            check_model(known, model, (&["run", "verify", "model"], found));
            let path = ["run", "verify", "prompt"];
            check_prompt(known, prompt, &["claims", OUTCOMES], (&path, found));
        }
        (Some(_), None) | (None, Some(_)) => {
            let what = "a check by a model has both a `model` and a `prompt`";
            found.at(&["run", "verify"], what, "");
        }
    }
}

fn check_samples(verify: &Verify, found: &mut Findings<'_>) {
    let path = |name| ["run", "verify", name];
    let Some(samples) = verify.samples else {
        for (name, value) in
            [("agree_min", verify.agree_min), ("words_percent_min", verify.words_percent_min)]
        {
            if value.is_some() {
                found.at(&path(name), "no further answers are asked for", "say how many `samples`");
            }
        }
        return;
    };
    if verify.agree_min.is_some_and(|min| min > samples) {
        found.at(&path("agree_min"), "it is more than there are", "");
    }
}

fn follow(
    files: &Files,
    known: &Known<'_>,
    plan: &Plan,
    name: &str,
    mistakes: &mut Vec<Mistake>,
) -> Option<Workflow> {
    let path = format!("workflows/{name}.toml");
    let Some(bytes) = files.get(&path) else {
        let what = format!("there is no workflow `{name}`");
        let hint = "a task's `[run]` names it".to_owned();
        mistakes.push(Mistake { file: path, line: None, what, hint });
        return None;
    };
    let (declared, document) = document::read::<crate::declare::Workflow>(&path, bytes, mistakes)?;
    let mut found = Findings::new(&document, mistakes);
    if declared.step.is_empty() || declared.step.len() > STEPS_MAX {
        found.at(&["step"], format!("a workflow has 1 to {STEPS_MAX} steps"), "");
    }
    let mut stages: Vec<Stage> = Vec::new();
    for (at, step) in declared.step.iter().enumerate() {
        let ids: Vec<&str> = stages.iter().map(|stage| stage.id.as_str()).collect();
        let later = declared.step.iter().position(|it| Some(&it.id) == step.fallback.as_ref());
        let later = later.filter(|later| *later > at);
        let reading = Reading { known, plan, step, at: at.to_string(), before: &ids };
        stages.push(reading.stage(later, &mut found));
    }
    Some(Workflow { stages })
}

/// One step, as it is read.
struct Reading<'a> {
    known: &'a Known<'a>,
    plan: &'a Plan,
    step: &'a WorkflowStep,
    at: String,
    before: &'a [&'a str],
}

impl Reading<'_> {
    fn wrong(&self, key: &str, what: impl Into<String>, hint: &str, found: &mut Findings<'_>) {
        found.at(&["step", &self.at, key], what.into(), hint.to_owned());
    }

    fn stage(&self, later: Option<usize>, found: &mut Findings<'_>) -> Stage {
        let step = self.step;
        let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let is_plain = !step.id.is_empty() && step.id.bytes().all(is_name) && step.id != "input";
        if !is_plain || self.before.contains(&step.id.as_str()) {
            let hint = "lower-case letters, digits and `-`, each name once, and not `input`";
            self.wrong("id", format!("`{}` cannot be the name of a step", step.id), hint, found);
        }
        self.check_keys(found);
        if step.on_refusal == OnRefusalWord::Fallback && later.is_none() {
            self.wrong("fallback", "it names no later step", "the `id` of one", found);
        }
        let tool = step.tool.as_deref().unwrap_or_default();
        let name = self.plan.tools.iter().find(|(_, it)| it.operation.as_str() == tool);
        if step.kind == StepWord::Tool && name.is_none() {
            let what = format!("`{tool}` is none of the task's tools");
            self.wrong("tool", what, "name it in `tools` of the task's `[run]`", found);
        }
        let declared = &self.plan.declared;
        let prompt = step.prompt.clone().or_else(|| declared.prompt.clone()).unwrap_or_default();
        let model = step.model.clone().unwrap_or_else(|| self.plan.model.clone());
        if step.kind == StepWord::Model {
            let path = ["step", &self.at, "prompt"];
            let has_data = !self.before.is_empty();
            let needed: &[&str] = if has_data { &[OUTCOMES] } else { &[] };
            check_prompt(self.known, &prompt, needed, (&path, found));
            check_model(self.known, &model, (&["step", &self.at, "model"], found));
        }
        for from in step.from.iter().flatten().chain(&step.of) {
            self.check_before(from, if step.of.is_some() { "of" } else { "from" }, found);
        }
        Stage {
            id: step.id.clone(),
            kind: step.kind,
            tool: name.map(|(name, _)| name.clone()).unwrap_or_default(),
            arguments: self.arguments(found),
            whom: step.whom.clone().unwrap_or_default(),
            question: step.question.clone().unwrap_or_default(),
            prompt,
            model,
            from: step.from.clone(),
            of: step.of.clone().unwrap_or_default(),
            when: self.when(found),
            on_refusal: step.on_refusal,
            fallback: later,
        }
    }

    fn check_before(&self, name: &str, key: &str, found: &mut Findings<'_>) {
        if !self.before.contains(&name) {
            let what = format!("there is no earlier step `{name}`");
            self.wrong(key, what, &suggest::among(name, self.before), found);
        }
    }

    /// That each kind has what belongs to it, and nothing else.
    fn check_keys(&self, found: &mut Findings<'_>) {
        let step = self.step;
        let given = [
            ("tool", step.tool.is_some(), StepWord::Tool),
            ("arguments", !step.arguments.is_empty(), StepWord::Tool),
            ("whom", step.whom.is_some(), StepWord::Approve),
            ("question", step.question.is_some(), StepWord::Approve),
            ("show", !step.show.is_empty(), StepWord::Approve),
            ("prompt", step.prompt.is_some(), StepWord::Model),
            ("model", step.model.is_some(), StepWord::Model),
            ("from", step.from.is_some(), StepWord::Model),
            ("of", step.of.is_some(), StepWord::Verify),
        ];
        for (key, _, _) in given.iter().filter(|(_, given, kind)| *given && *kind != step.kind) {
            self.wrong(key, format!("`{key}` does not belong to this kind"), "", found);
        }
        if step.kind == StepWord::Approve {
            self.check_question(found);
        }
        if step.kind == StepWord::Verify && step.of.is_none() {
            self.wrong("kind", "it is not said which step is checked", "name it as `of`", found);
        }
        if step.kind == StepWord::Verify && self.plan.declared.verify.is_none() {
            let hint = "give the task's `[run]` a `verify`";
            self.wrong("kind", "the task does not say what is checked", hint, found);
        }
    }

    /// That somebody in particular is asked something.
    fn check_question(&self, found: &mut Findings<'_>) {
        let whom = self.step.whom.as_deref().unwrap_or_default();
        let who = match whom.split_once(" of ") {
            Some((count, who)) if count.parse::<u8>().is_ok_and(|count| count > 0) => who,
            Some(_) => "",
            None => whom,
        };
        let names = ["group:", "role:", "user:"].map(|kind| who.strip_prefix(kind));
        let is_somebody = names.into_iter().flatten().any(|name| !name.trim().is_empty());
        if !is_somebody || whom.len() > QUESTION_BYTES_MAX {
            let hint = "`group:finance`, `role:lead`, `user:ada`, or `2 of group:finance`";
            self.wrong("whom", "it is not said who has to agree", hint, found);
        }
        let question = self.step.question.as_deref().unwrap_or_default();
        if question.trim().is_empty() || question.len() > QUESTION_BYTES_MAX {
            let what = format!("a question has 1 to {QUESTION_BYTES_MAX} bytes");
            self.wrong("question", what, "what those who are asked have to know", found);
        }
    }

    fn place(&self, text: &str, key: &str, found: &mut Findings<'_>) -> Option<run::Place> {
        let place = run::Place::read(text);
        match &place {
            None => self.wrong(key, format!("`{text}` is no path"), "`$step.member`", found),
            Some(place) if place.step != "input" => self.check_before(&place.step, key, found),
            Some(_) => {}
        }
        place
    }

    fn arguments(&self, found: &mut Findings<'_>) -> Vec<(String, Source)> {
        let mut arguments = Vec::new();
        for (name, value) in self.step.arguments.iter().chain(&self.step.show) {
            let source = match value.as_str() {
                Some(text) if text.starts_with("$$") => {
                    Source::Value(text.get(1..).unwrap_or_default().into())
                }
                Some(text) if text.starts_with('$') => {
                    let Some(place) = self.place(text, "arguments", found) else { continue };
                    Source::Path(place)
                }
                _ => Source::Value(self.json(value, "arguments", found)),
            };
            arguments.push((name.clone(), source));
        }
        arguments
    }

    fn when(&self, found: &mut Findings<'_>) -> Option<Condition> {
        let when = self.step.when.as_ref()?;
        let place = self.place(&when.path, "when", found)?;
        let equals = when.equals.as_ref().map(|value| self.json(value, "when", found));
        Some(Condition { place, equals, not: when.not })
    }

    fn json(&self, value: &toml::Value, key: &str, found: &mut Findings<'_>) -> Json {
        let text = serde_json::to_vec(value).ok();
        let read = text.and_then(|text| Json::parse(&text, &JsonLimits::OWN).ok());
        let has_date = |value: &toml::Value| matches!(value, toml::Value::Datetime(_));
        match read.filter(|_| !has_date(value)) {
            Some(json) => json,
            None => {
                self.wrong(key, "the value cannot stand in a call", "text, number, truth", found);
                Json::Null
            }
        }
    }
}
