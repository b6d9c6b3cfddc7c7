//! Declared workflows: steps in order, with conditions, and with what earlier steps came to as
//! their arguments.

use super::ask::Question;
use super::next::{Run, Step, finish, record, stop};
use super::verify::Verified;
use super::{Event, Proposal, RunState, Turn};
use crate::declare::{OnRefusalWord, StepWord};
use lockgate_types::{Json, JsonLimits, Object};

/// The name of what a step proposes that asks people.
const PERSON: &str = "approve";

/// A workflow, compiled.
#[derive(Clone, Debug)]
pub struct Workflow {
    /// Its steps, in order.
    pub stages: Vec<Stage>,
}

/// A step of a workflow.
#[derive(Clone, Debug)]
pub struct Stage {
    /// Its name.
    pub id: String,
    /// What is done.
    pub kind: StepWord,
    /// Of a tool: the name under which models would call it.
    pub tool: String,
    /// Of a tool: its arguments. Of a question to people: what they are shown.
    pub arguments: Vec<(String, Source)>,
    /// Of a question to people: who has to agree.
    pub whom: String,
    /// Of a question to people: what they are asked.
    pub question: String,
    /// Of a model: the template.
    pub prompt: String,
    /// Of a model: the name by which it is asked for.
    pub model: String,
    /// Of a model: the steps that are handed in.
    pub from: Option<Vec<String>>,
    /// Of a check: the step that is checked.
    pub of: String,
    /// Taken only if this holds.
    pub when: Option<Condition>,
    /// What happens if it is refused or fails.
    pub on_refusal: OnRefusalWord,
    /// The step at which it goes on then.
    pub fallback: Option<usize>,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// It is this.
    Value(Json),
    /// It is there.
    Path(Place),
}

/// The place of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The step; `input` is what is asked.
    pub step: String,
    /// The members, one within the other.
    pub members: Vec<String>,
}

/// A condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// The place of a value.
    pub place: Place,
    /// What it has to be. `None`: it has to be there.
    pub equals: Option<Json>,
    /// The other way round.
    pub not: bool,
}

impl Place {
    /// Reads `$step.member.member`. `None`: it is no path.
    pub fn read(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix('$')?.split('.').map(str::to_owned);
        let step = parts.next().filter(|step| !step.is_empty())?;
        let members: Vec<String> = parts.collect();
        (!members.iter().any(String::is_empty)).then_some(Self { step, members })
    }
}

/// The journal, as a workflow looks at it.
pub(super) struct Following<'a> {
    pub(super) state: &'a RunState,
}

impl Following<'_> {
    fn turn(&self, stage: &str) -> Option<(u32, &Turn)> {
        let mut turns = (0_u32..).zip(&self.state.turns);
        turns.find(|(_, turn)| turn.stage.as_deref() == Some(stage))
    }

    /// The value at a place. `None`: there is nothing.
    fn value(&self, place: &Place) -> Option<Json> {
        let whole = match place.step.as_str() {
            "input" => of_text(&self.state.input),
            step => {
                let (_, turn) = self.turn(step)?;
                match turn.outcomes.first() {
                    None => of_text(turn.text.as_deref()?),
                    Some(outcome) => {
                        let outcome = outcome.as_ref().filter(|it| it.refused.is_none())?;
                        outcome.value.clone().unwrap_or_else(|| of_text(&outcome.text))
                    }
                }
            }
        };
        let members: Vec<&str> = place.members.iter().map(String::as_str).collect();
        whole.at(&members).cloned()
    }

    fn holds(&self, condition: &Condition) -> bool {
        let found = self.value(&condition.place);
        let holds = match &condition.equals {
            Some(wanted) => {
                found.is_some_and(|found| found.to_canonical() == wanted.to_canonical())
            }
            None => found.is_some(),
        };
        holds != condition.not
    }

    fn arguments(&self, stage: &Stage) -> Result<Object, String> {
        let mut arguments = Object::new();
        for (name, source) in &stage.arguments {
            let value = match source {
                Source::Value(value) => value.clone(),
                Source::Path(place) => self.value(place).ok_or_else(|| {
                    let path =
                        [std::slice::from_ref(&place.step), place.members.as_slice()].concat();
                    format!("the step `{}` has no value at `${}`", stage.id, path.join("."))
                })?,
            };
            arguments.set(name.as_str(), value);
        }
        Ok(arguments)
    }
}

/// A text as it may be meant: as JSON, or as itself.
fn of_text(text: &str) -> Json {
    let read = Json::parse(text.as_bytes(), &JsonLimits::MESSAGE).ok();
    let shaped = read.filter(|json| matches!(json, Json::Object(_) | Json::Array(_)));
    shaped.unwrap_or_else(|| text.into())
}

impl Run<'_> {
    /// Goes through the steps that were taken, to the next one.
    pub(super) fn follow(&self, workflow: &Workflow) -> Step {
        let mut at = 0;
        let mut last = None;
        while let Some(stage) = workflow.stages.get(at) {
            if stage.when.as_ref().is_some_and(|when| !self.following().holds(when)) {
                at += 1;
                continue;
            }
            let came = match self.stage(workflow, stage) {
                Ok(came) => came,
                Err(step) => return *step,
            };
            at += 1;
            match came {
                Came::Well(text) => last = text.or(last),
                Came::ToNothing(why) => match (stage.on_refusal, stage.fallback) {
                    (OnRefusalWord::Continue, _) => {}
                    (OnRefusalWord::Fallback, Some(to)) => at = to.max(at),
                    (OnRefusalWord::Stop | OnRefusalWord::Fallback, _) => {
                        return stop("refused", format!("the step `{}`: {why}", stage.id));
                    }
                },
            }
        }
        finish(&last.unwrap_or_default(), Vec::new())
    }

    /// What a step came to, or what has to be done for it.
    fn stage(&self, workflow: &Workflow, stage: &Stage) -> Result<Came, Box<Step>> {
        let following = self.following();
        let number = u32::try_from(self.state.turns.len()).unwrap_or(u32::MAX);
        match (stage.kind, following.turn(&stage.id)) {
            (StepWord::Tool | StepWord::Approve, None) => match following.arguments(stage) {
                Err(why) => Ok(Came::ToNothing(why)),
                Ok(arguments) => Err(Box::new(record(Event::Proposed {
                    turn: number,
                    stage: stage.id.clone(),
                    proposal: self.proposal(stage, arguments),
                }))),
            },
            (StepWord::Approve, Some((_, turn))) => match turn.outcomes.first() {
                Some(Some(outcome)) if outcome.refused.is_none() => Ok(Came::Well(None)),
                Some(Some(outcome)) => Ok(Came::ToNothing(outcome.text.clone())),
                Some(None) | None => Ok(Came::ToNothing("nobody has agreed".to_owned())),
            },
            (StepWord::Tool, Some((_, turn))) => {
                let outcome = turn.outcomes.first().and_then(Option::as_ref);
                Ok(match outcome {
                    Some(outcome) if outcome.refused.is_none() && !outcome.is_error => {
                        Came::Well(Some(outcome.text.clone()))
                    }
                    Some(outcome) => Came::ToNothing(outcome.text.clone()),
                    None => Came::ToNothing("it came to nothing".to_owned()),
                })
            }
            (StepWord::Model, None) => Err(Box::new(self.ask(&self.of_stage(stage, number)))),
            (StepWord::Model, Some((number, turn))) => match &turn.text {
                None => Err(Box::new(self.again(&self.of_stage(stage, number)))),
                Some(text) => Ok(Came::Well(Some(text.clone()))),
            },
            (StepWord::Verify, _) => self.check(workflow, stage),
        }
    }

    /// What a step proposes: a call, or a question to people.
    fn proposal(&self, stage: &Stage, arguments: Object) -> Proposal {
        if stage.kind != StepWord::Approve {
            let arguments = Json::from(arguments).to_string();
            return Proposal { name: stage.tool.clone(), arguments };
        }
        let task = self.state.began.as_ref().map(|began| began.task.as_str());
        let asked = Object::new()
            .with_some("task", task)
            .with("step", stage.id.as_str())
            .with("question", stage.question.as_str())
            .with("show", arguments);
        Proposal { name: PERSON.to_owned(), arguments: Json::from(asked).to_string() }
    }

    /// Whether a turn is a question to people: what a model proposes never is.
    pub(super) fn asks_people(&self, turn: u32) -> bool {
        let turn = self.state.turns.get(usize::try_from(turn).unwrap_or(usize::MAX));
        let Some(turn) = turn else { return false };
        let mut stages = self.plan.workflow.iter().flat_map(|workflow| &workflow.stages);
        stages.any(|it| it.kind == StepWord::Approve && Some(&it.id) == turn.stage.as_ref())
    }

    fn of_stage<'q>(&'q self, stage: &'q Stage, turn: u32) -> Question<'q> {
        Question {
            stage: Some(&stage.id),
            model: &stage.model,
            from: stage.from.as_deref(),
            offers: false,
            ..self.question(turn, &stage.prompt)
        }
    }

    fn check(&self, workflow: &Workflow, stage: &Stage) -> Result<Came, Box<Step>> {
        let following = self.following();
        let Some((number, turn)) = following.turn(&stage.of) else {
            return Ok(Came::ToNothing(format!("the step `{}` was not taken", stage.of)));
        };
        let checked = workflow.stages.iter().find(|it| it.id == stage.of);
        let template = checked.map_or("", |it| it.prompt.as_str());
        let from = checked.and_then(|it| it.from.as_deref());
        match self.verified(number, turn.text.as_deref().unwrap_or_default(), (template, from)) {
            Verified::Step(step) => Err(Box::new(step)),
            Verified::Passed => Ok(Came::Well(None)),
            Verified::Failed(found) => Ok(Came::ToNothing(found.join("; "))),
        }
    }
}

/// How a step ended.
enum Came {
    /// With this, if it says anything.
    Well(Option<String>),
    /// It was refused, or failed.
    ToNothing(String),
}
