//! The state of a run: the fold of its journal. What cannot follow is an error, and changes
//! nothing.

use super::entry::{Answered, Asked, Performed};
use super::{Budget, Entry, Event, Over, Parked, Proposal, Purpose};
use lockgate_types::label::Label;
use lockgate_types::{CallId, Code, Digest, Json, Micros, TaskName};
use std::collections::BTreeMap;

/// Where a run is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunState {
    /// How it began. `None`: it has not.
    pub began: Option<Began>,
    /// What is asked now.
    pub input: String,
    /// What was proposed and what it came to, in order.
    pub turns: Vec<Turn>,
    /// How often models were asked, runs within included.
    pub steps: i64,
    /// Tokens used.
    pub tokens: i64,
    /// Money used, in units of [`crate::model::SPEND_UNITS`].
    pub spend: i64,
    /// Microseconds worked, up to the newest entry.
    pub worked_us: i64,
    /// How often no model has answered since one did.
    pub failures: u32,
    /// How often it was taken up again.
    pub resumes: u32,
    /// What it waits for.
    pub parked: Option<Parked>,
    /// How it ended.
    pub over: Option<Over>,
    /// The newest entry's time.
    pub at: Option<Micros>,
    /// The newest request for approval, and which call it is for.
    pub asked_for: Option<(u32, u32, CallId)>,
    /// When it began to wait.
    pub parked_at: Option<Micros>,
    /// How many entries there are.
    pub entries: usize,
}

/// How it began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Began {
    /// The task.
    pub task: TaskName,
    /// The tenant.
    pub tenant: String,
    /// The environment.
    pub environment: String,
    /// The run within which it was started, and what was left there.
    pub within: Option<(CallId, Budget)>,
    /// The run that it was forked from.
    pub fork_of: Option<CallId>,
    /// When.
    pub at: Micros,
}

/// Something that was asked of a model or proposed by a workflow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// What for.
    pub purpose: Purpose,
    /// The step of the workflow.
    pub stage: Option<String>,
    /// The name by which the model is asked for. Empty: none is.
    pub model: String,
    /// The digest of what was sent.
    pub prompt: Option<Digest>,
    /// The recorded call by which it was answered.
    pub call: Option<CallId>,
    /// The text of the answer. `None`: there is none yet.
    pub text: Option<String>,
    /// The calls that are proposed.
    pub proposals: Vec<Proposal>,
    /// What each came to.
    pub outcomes: Vec<Option<Outcome>>,
    /// What checks have found, by what they were made with.
    pub checks: BTreeMap<String, Vec<String>>,
}

/// What a proposed call came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The recorded call.
    pub call: Option<CallId>,
    /// As the model is told.
    pub text: String,
    /// As far as it has a shape.
    pub value: Option<Json>,
    /// Whose words that is.
    pub label: Label,
    /// Why it was refused, if it was.
    pub refused: Option<Code>,
    /// Whether it failed.
    pub is_error: bool,
}

/// An entry cannot follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A run begins once, and nothing comes before that.
    #[error("a run begins once, and first")]
    Beginning,
    /// What is over stays so.
    #[error("the run is over")]
    Over,
    /// A turn is asked for while another is open, or answered without being asked for.
    #[error("the turn is not the one that is open")]
    NotItsTurn,
    /// There is no such proposal, or it has come to something already.
    #[error("the proposal has come to something, or was never made")]
    NotProposed,
    /// It waits, and only the end of that may follow; or it does not.
    #[error("the run waits, or does not")]
    Waiting,
}

impl RunState {
    /// The fold of a journal.
    pub fn of<'e>(entries: impl IntoIterator<Item = &'e Entry>) -> Result<Self, Fault> {
        let mut state = Self::default();
        entries.into_iter().try_for_each(|entry| state.apply(entry)).map(|()| state)
    }

    /// Takes an entry. One that cannot follow changes nothing.
    pub fn apply(&mut self, entry: &Entry) -> Result<(), Fault> {
        self.check(&entry.event)?;
        self.take_time(entry);
        self.entries += 1;
        self.take(entry);
        Ok(())
    }

    /// Whether an event can follow.
    fn check(&self, event: &Event) -> Result<(), Fault> {
        if self.began.is_none() != matches!(event, Event::Started(_)) {
            return Err(Fault::Beginning);
        }
        if self.over.is_some() {
            return Err(Fault::Over);
        }
        let may_wait = matches!(
            event,
            Event::Resumed { .. } | Event::Over(_) | Event::Parked(_) | Event::Changed { .. }
        );
        if self.parked.is_some() && !may_wait {
            return Err(Fault::Waiting);
        }
        let opens = |turn: u32, purpose: Purpose| {
            let is_new = index(turn) == self.turns.len() && self.is_turn_over();
            let is_again = self.open_turn().is_some_and(|(at, open)| {
                at == turn && open.text.is_none() && open.purpose == purpose
            });
            if is_new || is_again { Ok(()) } else { Err(Fault::NotItsTurn) }
        };
        match event {
            Event::Asked(asked) => opens(asked.turn, asked.purpose),
            Event::Proposed { turn, .. } => match index(*turn) == self.turns.len() {
                true if self.is_turn_over() => Ok(()),
                true | false => Err(Fault::NotItsTurn),
            },
            Event::Answered(answered) => self.is_asked(answered.turn),
            Event::Unanswered { turn, .. } => self.is_asked(*turn),
            Event::Performed(performed) => self.is_open(performed.turn, performed.at),
            Event::Refused { turn, at, .. } => self.is_open(*turn, *at),
            Event::Verified { turn, by, .. } => match self.turns.get(index(*turn)) {
                Some(checked) if checked.is_over() && !checked.checks.contains_key(by) => Ok(()),
                Some(_) | None => Err(Fault::NotItsTurn),
            },
            Event::Parked(
                Parked::Approval { turn, at, .. }
                | Parked::Doubt { turn, at, .. }
                | Parked::Child { turn, at, .. },
            ) => self.is_open(*turn, *at),
            Event::Started(_)
            | Event::Resumed { .. }
            | Event::Parked(Parked::Switch { .. })
            | Event::Changed { .. }
            | Event::Over(_) => Ok(()),
        }
    }

    fn is_asked(&self, turn: u32) -> Result<(), Fault> {
        let asked = self.open_turn().filter(|(at, open)| *at == turn && open.text.is_none());
        asked.map(drop).ok_or(Fault::NotItsTurn)
    }

    fn is_open(&self, turn: u32, at: u32) -> Result<(), Fault> {
        let outcome = self.turns.get(index(turn)).and_then(|turn| turn.outcomes.get(index(at)));
        if outcome == Some(&None) { Ok(()) } else { Err(Fault::NotProposed) }
    }

    /// The newest turn, with its number.
    pub fn open_turn(&self) -> Option<(u32, &Turn)> {
        let turn = self.turns.last()?;
        Some((u32::try_from(self.turns.len() - 1).ok()?, turn))
    }

    /// Whether nothing of the newest turn is open.
    pub fn is_turn_over(&self) -> bool {
        self.turns.last().is_none_or(Turn::is_over)
    }

    /// Work since the newest entry counts, if this node drove it; waiting does not.
    fn take_time(&mut self, entry: &Entry) {
        let since = self.at.map_or(0, |at| entry.at.0.saturating_sub(at.0)).max(0);
        let was_gone = matches!(entry.event, Event::Resumed { was_gone: true, .. });
        if self.parked.is_none() && !was_gone {
            self.worked_us = self.worked_us.saturating_add(since);
        }
        self.at = Some(self.at.map_or(entry.at, |at| at.max(entry.at)));
    }

    fn take(&mut self, entry: &Entry) {
        match &entry.event {
            Event::Started(started) => {
                self.input.clone_from(&started.input);
                self.began = Some(Began {
                    task: started.task.clone(),
                    tenant: started.tenant.clone(),
                    environment: started.environment.clone(),
                    within: started.within.clone(),
                    fork_of: started.fork_of.clone(),
                    at: entry.at,
                });
            }
            Event::Asked(asked) => self.ask(asked),
            Event::Answered(answered) => self.answer(answered),
            Event::Unanswered { .. } => self.failures = self.failures.saturating_add(1),
            Event::Proposed { stage, proposal, .. } => self.turns.push(Turn {
                stage: Some(stage.clone()),
                text: Some(String::new()),
                proposals: vec![proposal.clone()],
                outcomes: vec![None],
                ..Turn::asked(Purpose::Work)
            }),
            Event::Performed(performed) => self.perform(performed),
            Event::Refused { turn, at, call, code, reason } => {
                let outcome = Outcome {
                    call: call.clone(),
                    text: reason.clone(),
                    value: None,
                    label: Label::default(),
                    refused: Some(*code),
                    is_error: true,
                };
                self.settle(*turn, *at, outcome);
            }
            Event::Parked(parked) => {
                if let Parked::Approval { turn, at, request, .. } = parked {
                    self.asked_for = Some((*turn, *at, request.clone()));
                }
                self.parked_at = self.parked_at.or(Some(entry.at));
                self.parked = Some(parked.clone());
            }
            Event::Resumed { was_gone, .. } => {
                // A node that was gone comes back to a run that still waits.
                if *was_gone {
                    self.resumes = self.resumes.saturating_add(1);
                } else {
                    (self.parked, self.parked_at) = (None, None);
                }
            }
            Event::Verified { turn, by, findings } => {
                if let Some(turn) = self.turns.get_mut(index(*turn)) {
                    turn.checks.insert(by.clone(), findings.clone());
                }
            }
            Event::Changed { input } => self.input.clone_from(input),
            Event::Over(over) => {
                (self.parked, self.parked_at) = (None, None);
                self.over = Some(over.clone());
            }
        }
    }

    fn ask(&mut self, asked: &Asked) {
        self.steps = self.steps.saturating_add(1);
        let turn = Turn {
            stage: asked.stage.clone(),
            model: asked.model.clone(),
            prompt: Some(asked.digest),
            ..Turn::asked(asked.purpose)
        };
        if index(asked.turn) == self.turns.len() {
            self.turns.push(turn);
        } else if let Some(open) = self.turns.last_mut() {
            *open = turn;
        }
    }

    fn answer(&mut self, answered: &Answered) {
        self.failures = 0;
        self.tokens = self.tokens.saturating_add(answered.tokens.max(0));
        self.spend = self.spend.saturating_add(answered.spend.max(0));
        if let Some(turn) = self.turns.last_mut() {
            turn.call = Some(answered.call.clone());
            turn.text = Some(answered.text.clone());
            turn.proposals.clone_from(&answered.proposals);
            turn.outcomes = vec![None; answered.proposals.len()];
        }
    }

    fn perform(&mut self, performed: &Performed) {
        let [steps, tokens, spend] = performed.used.map(|used| used.max(0));
        self.steps = self.steps.saturating_add(steps);
        self.tokens = self.tokens.saturating_add(tokens);
        self.spend = self.spend.saturating_add(spend);
        let outcome = Outcome {
            call: Some(performed.call.clone()),
            text: performed.text.clone(),
            value: performed.value.clone(),
            label: performed.label.clone(),
            refused: None,
            is_error: performed.is_error,
        };
        self.settle(performed.turn, performed.at, outcome);
    }

    fn settle(&mut self, turn: u32, at: u32, outcome: Outcome) {
        let turn = self.turns.get_mut(index(turn));
        if let Some(place) = turn.and_then(|turn| turn.outcomes.get_mut(index(at))) {
            *place = Some(outcome);
        }
    }

    /// The first proposal that has come to nothing yet.
    pub fn proposed(&self) -> Option<(u32, u32, &Proposal)> {
        let (number, turn) = self.open_turn()?;
        let at = turn.outcomes.iter().position(Option::is_none)?;
        Some((number, u32::try_from(at).ok()?, turn.proposals.get(at)?))
    }
}

impl Turn {
    fn asked(purpose: Purpose) -> Self {
        Self {
            purpose,
            stage: None,
            model: String::new(),
            prompt: None,
            call: None,
            text: None,
            proposals: Vec::new(),
            outcomes: Vec::new(),
            checks: BTreeMap::new(),
        }
    }

    /// Whether it was answered, and all that it proposes came to something.
    pub fn is_over(&self) -> bool {
        self.text.is_some() && self.outcomes.iter().all(Option::is_some)
    }

    /// What it proposes, with what each came to.
    pub fn settled(&self) -> impl Iterator<Item = (&Proposal, &Outcome)> {
        let pairs = self.proposals.iter().zip(&self.outcomes);
        pairs.filter_map(|(proposal, outcome)| Some((proposal, outcome.as_ref()?)))
    }
}

fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
