//! Behaviour tests of models: suites, what an answer is held against, and what all of it comes to.
//!
//! Compiled from `evals/*.toml`. Pure: whoever asks the models hands in their answers, and the same
//! answers come to the same result, at the command line as in the gate that records it. It knows
//! nothing of APIs, of who asks, or of where results are kept.

mod cite;
mod expect;
mod fairness;
mod judge;
mod proof;
mod report;
mod share;

pub use expect::{Expects, Found};
pub use fairness::{Fairness, GroupShare, Limits};
pub use judge::{Judgement, VERDICT_TOKENS_MAX, read as read_judgement};
pub use proof::{fingerprint, is_evaluation, missing, unproven};
pub use report::{Answered, QUESTIONS_MAX, REPORT_BYTES_MAX, Report, Summary, Verdict};
pub use share::{Interval, Share};

use crate::declare::EvalRole;
use lockgate_types::{CallId, Digest, Json, TaskName};
use regex::Regex;

/// A suite, compiled.
#[derive(Clone, Debug)]
pub struct Suite {
    /// Its name.
    pub name: String,
    /// Its version, for people.
    pub version: String,
    /// The digest of its file: what results are of.
    pub digest: Digest,
    /// The task of its calls.
    pub task: TaskName,
    /// How often each question is asked.
    pub samples: u32,
    /// Tokens that an answer may have.
    pub output_tokens_max: u32,
    /// How many of a hundred answers to cases have to be as expected.
    pub pass_percent_min: u32,
    /// The entry that judges.
    pub judge: Option<String>,
    /// Beginnings of refusals, beside the usual ones.
    pub refusals: Vec<String>,
    /// Questions with expectations, each with all its variables put in.
    pub cases: Vec<Case>,
    /// Questions that differ in who they are about.
    pub counterfactuals: Vec<Counterfactual>,
}

/// A question, and what its answer has to be like.
#[derive(Clone, Debug)]
pub struct Case {
    /// What it is known by in results: `capital`, `capital/2`.
    pub id: String,
    /// What is asked.
    pub asks: Asks,
    /// What the answer has to be like.
    pub expects: Expects,
}

/// One question about people of several groups.
#[derive(Clone, Debug)]
pub struct Counterfactual {
    /// Its name.
    pub id: String,
    /// The groups.
    pub groups: Vec<String>,
    /// What is asked: of each item once about each group.
    pub members: Vec<Member>,
    /// By what an answer is known to be positive.
    pub positive: Positive,
    /// What else is compared.
    pub score: Option<Regex>,
    /// What is tolerated.
    pub limits: Limits,
}

/// The question about one group.
#[derive(Clone, Debug)]
pub struct Member {
    /// What it is known by in results: `loan/women/3`.
    pub id: String,
    /// Which group.
    pub group: usize,
    /// Which of its questions: those of one item differ in the group alone.
    pub item: usize,
    /// What is asked.
    pub asks: Asks,
}

/// By what an answer is known to be positive.
#[derive(Clone, Debug)]
pub enum Positive {
    /// It matches.
    Matches(Regex),
    /// The judge says yes to this.
    Judged(String),
}

/// What is asked of a model.
#[derive(Clone, Debug, Default)]
pub struct Asks {
    /// Instructions.
    pub instructions: Option<String>,
    /// The conversation, which ends with what is asked.
    pub turns: Vec<(EvalRole, String)>,
    /// The tools that are offered.
    pub tools: Vec<Tool>,
}

/// A tool that is offered.
#[derive(Clone, Debug)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// JSON Schema of its arguments.
    pub schema: Json,
}

/// What a model has answered, as the gate has passed it on.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// Its words.
    pub text: String,
    /// The calls that it proposes and that were handed out: tool and arguments.
    pub proposals: Vec<(String, Json)>,
    /// Whether the provider itself says that the model refuses.
    pub has_declined: bool,
}

/// What a question is about.
#[derive(Clone, Copy, Debug)]
pub enum Of<'a> {
    /// A case.
    Case(&'a Case),
    /// A group.
    Member(&'a Counterfactual, &'a Member),
}

/// A question, to be asked once.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// What it is known by in results.
    pub id: &'a str,
    /// Which sample of it, from 1.
    pub sample: u32,
    /// What is asked.
    pub asks: &'a Asks,
    /// What it is about.
    pub of: Of<'a>,
}

/// What rules have found of an answer.
#[derive(Clone, Debug)]
pub enum Held {
    /// Nothing else is needed.
    Settled(Verdict, Vec<String>),
    /// The judge has to say yes to this.
    Judge(String),
}

impl Suite {
    /// Every question, as often as it is asked, in an order that is always the same.
    pub fn questions(&self) -> Vec<Question<'_>> {
        let cases = self.cases.iter().map(|case| (case.id.as_str(), &case.asks, Of::Case(case)));
        let members = self.counterfactuals.iter().flat_map(|of| {
            of.members.iter().map(|it| (it.id.as_str(), &it.asks, Of::Member(of, it)))
        });
        let all = cases.chain(members);
        all.flat_map(|(id, asks, of)| {
            (1..=self.samples).map(move |sample| Question { id, sample, asks, of })
        })
        .collect()
    }

    /// What rules say of an answer, and the score that it gives.
    pub fn hold(&self, of: Of<'_>, answer: &Answer) -> (Held, Option<i64>) {
        match of {
            Of::Case(case) => {
                let found = case.expects.hold(answer, &self.refusals);
                (Held::of_case(found), None)
            }
            Of::Member(of, _) => {
                let score =
                    of.score.as_ref().and_then(|score| fairness::score(score, &answer.text));
                let held = match &of.positive {
                    Positive::Matches(pattern) => {
                        let verdict = Verdict::positive(pattern.is_match(&answer.text));
                        Held::Settled(verdict, Vec::new())
                    }
                    Positive::Judged(criterion) => Held::Judge(criterion.clone()),
                };
                (held, score)
            }
        }
    }

    /// What a question comes to that the judge was asked about.
    pub fn judged(of: Of<'_>, judgement: Judgement) -> (Verdict, Vec<String>) {
        let (is_yes, why) = match judgement {
            Judgement::Yes => (true, Vec::new()),
            Judgement::No(why) => (false, vec![format!("the judge says no: {why}")]),
            Judgement::Unreadable(said) => {
                let why = format!("the judge's verdict cannot be read: {said}");
                return (Verdict::Unjudged, vec![why]);
            }
        };
        match of {
            Of::Case(_) if is_yes => (Verdict::Passed, why),
            Of::Case(_) => (Verdict::Failed, why),
            Of::Member(..) => (Verdict::positive(is_yes), Vec::new()),
        }
    }
}

impl Held {
    fn of_case(found: Found) -> Self {
        match found {
            Found { against, .. } if !against.is_empty() => Self::Settled(Verdict::Failed, against),
            Found { judged: Some(criterion), .. } => Self::Judge(criterion),
            Found { .. } => Self::Settled(Verdict::Passed, Vec::new()),
        }
    }
}

impl Question<'_> {
    /// What the judge is asked about an answer to it.
    pub fn to_judge(&self, criterion: &str, answer: &Answer) -> Asks {
        let asked = self.asks.turns.last().map_or("", |(_, text)| text.as_str());
        let question = judge::question(criterion, asked, &answer.text);
        Asks {
            instructions: Some(judge::JUDGE_INSTRUCTIONS.to_owned()),
            turns: vec![(EvalRole::User, question)],
            tools: Vec::new(),
        }
    }

    /// What the question comes to with that verdict.
    pub fn answered(&self, verdict: Verdict, score: Option<i64>, calls: Vec<CallId>) -> Answered {
        Answered { id: self.id.to_owned(), sample: self.sample, verdict, score, calls }
    }
}

#[cfg(test)]
mod tests;
