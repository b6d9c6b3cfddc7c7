//! What a suite's answers come to: verdicts in, a result out.
//!
//! A report is what whoever asked hands in: for every question and sample one verdict, with the
//! calls by which it came about. What it comes to is computed here, and nowhere else.

use super::fairness::percent;
use super::share::WHOLE;
use super::{Fairness, Share, Suite};
use lockgate_types::{CallId, Json, JsonLimits, Object};
use std::collections::BTreeMap;

/// Questions of one suite, samples counted.
pub const QUESTIONS_MAX: usize = 2000;
/// Bytes of a report.
pub const REPORT_BYTES_MAX: usize = 512 << 10;
/// Calls of one question: that of the model, and that of the judge.
const CALLS_MAX: usize = 4;

/// What one question came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A case is as expected.
    Passed,
    /// It is not.
    Failed,
    /// The answer is good for whom it is about.
    Positive,
    /// It is not.
    Negative,
    /// The judge's verdict could not be had or read.
    Unjudged,
    /// No model has answered.
    Unanswered,
}

/// What one question came to, and by which calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// Which question.
    pub id: String,
    /// Which sample of it.
    pub sample: u32,
    /// What it came to.
    pub verdict: Verdict,
    /// The score in it, in thousandths.
    pub score: Option<i64>,
    /// The calls: of the model, and of the judge.
    pub calls: Vec<CallId>,
}

/// What all questions came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// By question and sample.
    answers: BTreeMap<String, BTreeMap<u32, Answered>>,
}

/// What a report comes to.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Whether the suite is passed.
    pub is_passed: bool,
    /// Answers to cases that are as expected, of all that were wanted.
    pub cases: Share,
    /// Questions that the judge has not decided.
    pub unjudged: u32,
    /// Questions that nobody has answered.
    pub unanswered: u32,
    /// What differs between groups.
    pub fairness: Vec<Fairness>,
    /// Why it is not passed.
    pub against: Vec<String>,
}

impl Verdict {
    const ALL: [Self; 6] = [
        Self::Passed,
        Self::Failed,
        Self::Positive,
        Self::Negative,
        Self::Unjudged,
        Self::Unanswered,
    ];

    /// The word in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Positive => "positive",
            Self::Negative => "negative",
            Self::Unjudged => "unjudged",
            Self::Unanswered => "unanswered",
        }
    }

    /// Whether it is of a case, or of a question about groups that was not answered.
    pub const fn is_of_case(self) -> bool {
        !matches!(self, Self::Positive | Self::Negative)
    }

    pub(super) const fn positive(is_positive: bool) -> Self {
        if is_positive { Self::Positive } else { Self::Negative }
    }

    pub(super) const fn as_positive(self) -> Option<bool> {
        match self {
            Self::Positive => Some(true),
            Self::Negative => Some(false),
            Self::Passed | Self::Failed | Self::Unjudged | Self::Unanswered => None,
        }
    }
}

impl Report {
    /// Adds what a question came to.
    pub fn add(&mut self, answered: Answered) {
        self.answers.entry(answered.id.clone()).or_default().insert(answered.sample, answered);
    }

    /// What a question came to, each time that it was asked.
    pub fn of(&self, id: &str) -> impl Iterator<Item = &Answered> {
        self.answers.get(id).into_iter().flat_map(BTreeMap::values)
    }

    /// Everything in it.
    pub fn iter(&self) -> impl Iterator<Item = &Answered> {
        self.answers.values().flat_map(BTreeMap::values)
    }

    /// As it is handed in.
    pub fn to_json(&self) -> Json {
        let answers = self.iter().map(|answered| {
            let calls: Vec<Json> = answered.calls.iter().map(|it| it.as_str().into()).collect();
            let answered = Object::new()
                .with("calls", calls)
                .with("id", answered.id.as_str())
                .with("sample", i64::from(answered.sample))
                .with_some("score", answered.score)
                .with("verdict", answered.verdict.as_str());
            Json::from(answered)
        });
        Json::Array(answers.collect())
    }

    /// Reads one that was handed in. It has exactly the questions of the suite, each as often as it
    /// is asked; else what is wrong with it.
    pub fn read(suite: &Suite, text: &str) -> Result<Self, String> {
        let limits = JsonLimits { bytes_max: REPORT_BYTES_MAX, depth_max: 4, members_max: 8 };
        let json = Json::parse(text.as_bytes(), &limits).map_err(|error| error.to_string())?;
        let mut report = Self::default();
        for answer in json.as_array().ok_or("it is no list")? {
            let answered = Answered::read(answer).ok_or("an answer of it cannot be read")?;
            let id = answered.id.clone();
            if report.of(&id).any(|known| known.sample == answered.sample) {
                return Err(format!("`{id}` occurs twice"));
            }
            report.add(answered);
        }
        let questions = suite.questions();
        let is_there = |id: &str, sample| report.of(id).any(|it| it.sample == sample);
        if let Some(missing) = questions.iter().find(|it| !is_there(it.id, it.sample)) {
            return Err(format!("`{}` is missing", missing.id));
        }
        if report.iter().count() != questions.len() {
            return Err("it has more than the suite asks".to_owned());
        }
        Ok(report)
    }
}

impl Answered {
    fn read(json: &Json) -> Option<Self> {
        let verdict = json.get("verdict")?.as_str()?;
        let calls = json.get("calls")?.as_array()?;
        let calls = calls.iter().map(|call| CallId::new(call.as_str()?).ok());
        let calls: Vec<CallId> = calls.collect::<Option<_>>()?;
        Some(Self {
            id: json.get("id")?.as_str()?.to_owned(),
            sample: u32::try_from(json.get("sample")?.as_i64()?).ok()?,
            verdict: Verdict::ALL.into_iter().find(|it| it.as_str() == verdict)?,
            score: match json.get("score") {
                Some(score) => Some(score.as_i64()?),
                None => None,
            },
            calls: Some(calls).filter(|calls| calls.len() <= CALLS_MAX)?,
        })
    }
}

impl Summary {
    /// What a report comes to. A question that is not in it is one that nobody has answered.
    pub fn of(suite: &Suite, report: &Report) -> Self {
        let count = |verdict: Verdict| {
            u32::try_from(report.iter().filter(|it| it.verdict == verdict).count())
                .unwrap_or(u32::MAX)
        };
        let passed = suite.cases.iter().flat_map(|case| report.of(&case.id));
        let passed = passed.filter(|it| it.verdict == Verdict::Passed).count();
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let wanted = number(suite.cases.len()).saturating_mul(suite.samples);
        let mut summary = Self {
            is_passed: false,
            cases: Share { count: number(passed), of: wanted },
            unjudged: count(Verdict::Unjudged),
            unanswered: count(Verdict::Unanswered),
            fairness: suite.counterfactuals.iter().map(|of| Fairness::of(of, report)).collect(),
            against: Vec::new(),
        };
        let least = i64::from(suite.pass_percent_min) * 100;
        if summary.percent() < least {
            summary.against.push(format!(
                "{} % of the answers are as expected, of {} %",
                percent(summary.percent()),
                suite.pass_percent_min
            ));
        }
        for fairness in &summary.fairness {
            let of = |why: &String| format!("{}: {why}", fairness.id);
            summary.against.extend(fairness.against.iter().map(of));
        }
        summary.is_passed = summary.against.is_empty();
        summary
    }

    /// Answers to cases that are as expected, in hundredths of a percent. Without cases, all.
    pub fn percent(&self) -> i64 {
        if self.cases.of == 0 { WHOLE } else { self.cases.points() }
    }

    /// As it is answered and kept: whole numbers, shares in hundredths of a percent.
    pub fn to_json(&self) -> Json {
        let fairness: Vec<Json> = self.fairness.iter().map(Fairness::to_json).collect();
        let against: Vec<Json> = self.against.iter().map(|why| why.as_str().into()).collect();
        let interval = self.cases.interval();
        Object::new()
            .with("against", against)
            .with("cases", i64::from(self.cases.of))
            .with("fairness", fairness)
            .with("passed", self.is_passed)
            .with("passed_cases", i64::from(self.cases.count))
            .with("percent", self.percent())
            .with("percent_high", interval.high)
            .with("percent_low", interval.low)
            .with("unanswered", i64::from(self.unanswered))
            .with("unjudged", i64::from(self.unjudged))
            .into()
    }
}
