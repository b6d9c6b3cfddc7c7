//! The prompt of a run's next step: made of its state and the bundle, the same bytes each time.

use super::{Plan, Purpose, RunState, Turn};
use crate::declare::SignalWord;
use crate::model::Model;
use crate::prompt::{self, Assembled, Datum, Material, Segment, Template, assemble};
use crate::world::World;
use lockgate_types::label::Label;
use lockgate_types::model::ModelApi;
use lockgate_types::plan::PLAN_ARGUMENT;
use lockgate_types::{Json, Object};
use std::collections::BTreeSet;

/// Bytes of what one call came to that a model is told.
pub const OUTCOME_BYTES_MAX: usize = 64 << 10;
/// Bytes of a call's arguments in the name of its outcome.
const SHOWN_BYTES_MAX: usize = 400;
/// The segments of data that a run fills.
const OUTCOMES: &str = "outcomes";
const FINDINGS: &str = "findings";
const SAID: &str = "said";
const CLAIMS: &str = "claims";

/// What is wanted of a prompt.
pub(super) struct Wanted<'a> {
    pub(super) plan: &'a Plan,
    pub(super) template: &'a Template,
    pub(super) purpose: Purpose,
    /// Of a workflow: which steps are handed in. `None`: all.
    pub(super) from: Option<&'a [String]>,
    /// Whether tools are offered.
    pub(super) offers: bool,
    /// Tokens there is room for.
    pub(super) room: i64,
    /// The interface that it is for.
    pub(super) api: ModelApi,
}

/// Makes the prompt.
pub(super) fn made(
    world: &World,
    state: &RunState,
    wanted: &Wanted<'_>,
) -> Result<Assembled, prompt::Fault> {
    let places: BTreeSet<&str> = wanted.template.segments.iter().filter_map(data_name).collect();
    let takes_input = wanted.template.segments.contains(&Segment::Input);
    let mut material = Material {
        signals: signals(state),
        tools: if wanted.offers { tools(world, state, wanted) } else { Vec::new() },
        input: takes_input.then(|| state.input.clone()),
        ..Material::default()
    };
    let mut put = |name: &str, data: Vec<Datum>| {
        if !data.is_empty() {
            material.data.insert(name.to_owned(), data);
        }
    };
    put(OUTCOMES, outcomes(state, wanted.from));
    if places.contains(SAID) {
        put(SAID, said(state));
    }
    match wanted.purpose {
        Purpose::Work | Purpose::Sample if places.contains(FINDINGS) => {
            put(FINDINGS, findings(state));
        }
        Purpose::Work | Purpose::Sample => {}
        Purpose::Check => put(CLAIMS, claims(state)),
    }
    assemble(wanted.template, &material, wanted.room)
}

/// The texts of data that a prompt of this state has, in the order of their numbers.
pub(super) fn blocks(
    state: &RunState,
    template: &Template,
    from: Option<&[String]>,
) -> Vec<String> {
    let mut blocks = Vec::new();
    for name in template.segments.iter().filter_map(data_name) {
        let data = match name {
            OUTCOMES => outcomes(state, from),
            FINDINGS => findings(state),
            SAID => said(state),
            _ => Vec::new(),
        };
        blocks.extend(data.into_iter().map(|datum| datum.text));
    }
    blocks
}

fn data_name(segment: &Segment) -> Option<&str> {
    match segment {
        Segment::Data { name, .. } => Some(name),
        Segment::Instructions(_) | Segment::Signals(_) | Segment::Input => None,
    }
}

fn signals(state: &RunState) -> std::collections::BTreeMap<SignalWord, String> {
    let Some(began) = &state.began else { return Default::default() };
    [
        (SignalWord::Environment, began.environment.clone()),
        (SignalWord::Task, began.task.as_str().to_owned()),
        (SignalWord::Tenant, began.tenant.clone()),
    ]
    .into()
}

/// What calls came to, in order: those of a workflow's model steps are what they said.
pub(super) fn outcomes(state: &RunState, from: Option<&[String]>) -> Vec<Datum> {
    let is_wanted = |turn: &&Turn| {
        let stage = turn.stage.as_ref();
        turn.purpose == Purpose::Work
            && from.is_none_or(|from| stage.is_some_and(|stage| from.contains(stage)))
    };
    let mut data = Vec::new();
    for turn in state.turns.iter().filter(is_wanted) {
        if let (Some(stage), false, Some(text)) = (&turn.stage, turn.model.is_empty(), &turn.text) {
            data.push(datum(format!("step {stage}: the model said"), text, &generated(), 0));
        }
        for (proposal, outcome) in turn.settled() {
            let arguments = clipped(&proposal.arguments, SHOWN_BYTES_MAX);
            let what = if outcome.refused.is_some() { " was refused" } else { "" };
            let source = format!("call {}: {} {arguments}{what}", data.len() + 1, proposal.name);
            data.push(datum(source, &outcome.text, &outcome.label, 0));
        }
    }
    // What is newer is worth more.
    let numbered = data.iter_mut().zip(1..);
    numbered.for_each(|(datum, value)| datum.value = value);
    data
}

fn said(state: &RunState) -> Vec<Datum> {
    let texts = state.turns.iter().filter(|turn| turn.purpose == Purpose::Work);
    let texts = texts.filter_map(|turn| turn.text.as_ref().filter(|text| !text.is_empty()));
    texts.zip(1..).map(|(text, n)| datum(format!("turn {n}"), text, &generated(), n)).collect()
}

fn findings(state: &RunState) -> Vec<Datum> {
    let last = state.turns.iter().rev().find(|turn| turn.purpose == Purpose::Work);
    let found = last.into_iter().flat_map(|turn| &turn.checks);
    let found = found.flat_map(|(by, findings)| findings.iter().map(move |it| (by, it)));
    found.map(|(by, text)| datum(format!("check by {by}"), text, &Label::default(), 1)).collect()
}

fn claims(state: &RunState) -> Vec<Datum> {
    let last = state.turns.iter().rev().find(|turn| turn.purpose == Purpose::Work);
    let text = last.and_then(|turn| turn.text.as_ref());
    text.map(|text| datum("the answer".to_owned(), text, &generated(), 1000)).into_iter().collect()
}

/// What a model says is nobody's word: anybody's may be in it.
fn generated() -> Label {
    Label::of(
        lockgate_types::flow::Author::Anyone,
        lockgate_types::label::Confidentiality::Internal,
    )
}

fn datum(source: String, text: &str, label: &Label, value: u32) -> Datum {
    let text = clipped(text, OUTCOME_BYTES_MAX);
    Datum { text, source: Some(source), label: label.clone(), value }
}

fn clipped(text: &str, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    let kept = text.get(..text.floor_char_boundary(bytes_max)).unwrap_or_default();
    format!("{kept}… [cut after {bytes_max} bytes]")
}

/// The tools that the model is offered, as the interface has them.
fn tools(world: &World, state: &RunState, wanted: &Wanted<'_>) -> Vec<Json> {
    let task = state.began.as_ref().map(|began| &began.task);
    let mut tools = Vec::new();
    for (name, tool) in &wanted.plan.tools {
        if !state.may_use(tool.operation.as_str()) {
            continue;
        }
        let mut schema = tool.schema.clone();
        if world.two_phases(&tool.operation, task).is_some() {
            let about = "the plan, as the call without one was answered";
            let plan = Object::new().with("type", "string").with("description", about);
            let properties = schema.get_mut_object("properties");
            if let Some(properties) = properties {
                properties.set(PLAN_ARGUMENT, plan);
            }
        }
        tools.push(offered(wanted.api, name, tool.description.as_deref(), schema));
    }
    if !state.may_have_children() {
        return tools;
    }
    for (task, about) in &wanted.plan.children {
        let input = Object::new().with("type", "string");
        let schema = Object::new()
            .with("type", "object")
            .with("properties", Object::new().with("input", input))
            .with("required", vec!["input".into()])
            .with("additionalProperties", false);
        let name = format!("{}{task}", super::CHILD_PREFIX);
        tools.push(offered(wanted.api, &name, Some(about), schema.into()));
    }
    tools
}

fn offered(api: ModelApi, name: &str, about: Option<&str>, schema: Json) -> Json {
    let tool = Object::new().with("name", name).with_some("description", about);
    match api {
        ModelApi::Messages | ModelApi::CountTokens => tool.with("input_schema", schema).into(),
        ModelApi::ChatCompletions
        | ModelApi::Responses
        | ModelApi::Embeddings
        | ModelApi::Models => {
            let function = tool.with("parameters", schema);
            Object::new().with("type", "function").with("function", function).into()
        }
    }
}

/// The body of a request, as the interface has it.
pub(super) fn body(api: ModelApi, model: &str, prompt: &Assembled, output_max: i64) -> Object {
    let body = Object::new().with("model", model).with("max_tokens", output_max);
    let body = match api {
        ModelApi::Messages | ModelApi::CountTokens => {
            let (system, messages) = prompt.anthropic_messages();
            body.with("system", system).with("messages", messages)
        }
        ModelApi::ChatCompletions
        | ModelApi::Responses
        | ModelApi::Embeddings
        | ModelApi::Models => body.with("messages", prompt.chat_messages()),
    };
    match prompt.tools.is_empty() {
        true => body,
        false => body.with("tools", prompt.tools.clone()),
    }
}

/// Through which interface a model is asked.
pub(super) fn api_of(model: &Model) -> ModelApi {
    match model.family.has(ModelApi::Messages) {
        true => ModelApi::Messages,
        false => ModelApi::ChatCompletions,
    }
}

/// A member that is an object, to be changed.
trait Member {
    fn get_mut_object(&mut self, name: &str) -> Option<&mut Object>;
}

impl Member for Json {
    fn get_mut_object(&mut self, name: &str) -> Option<&mut Object> {
        let members = self.as_object_mut()?;
        if !members.contains(name) {
            members.set(name, Object::new());
        }
        members.get_mut(name)?.as_object_mut()
    }
}
