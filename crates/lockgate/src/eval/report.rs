//! What a suite came to, for people and for programs.

use super::ask::Asked;
use crate::output::Output;
use crate::redteam::junit;
use lockgate_core::eval::{Fairness, GroupShare, Interval, Suite, Summary, Verdict};
use lockgate_types::{Json, Object};
use std::collections::BTreeSet;

/// Questions that are named to people. `--json` and `--junit` have all.
const NAMED_MAX: usize = 50;

/// A suite that was asked.
pub(super) struct Ran<'a> {
    pub(super) suite: &'a Suite,
    pub(super) entry: &'a str,
    pub(super) version: String,
    pub(super) asked: Vec<Asked>,
    pub(super) summary: Summary,
    /// As the gate has kept it.
    pub(super) kept: Option<Json>,
    pub(super) baseline: Option<Baseline>,
}

/// What an earlier result had that was good.
pub(super) struct Baseline {
    passed: BTreeSet<(String, i64)>,
    /// Questions about groups in which nothing was wrong.
    fair: BTreeSet<String>,
}

impl Baseline {
    pub(super) fn read(json: &Json) -> Option<Self> {
        let answers = json.get("answers")?.as_array()?.iter();
        let good = answers.filter(|it| text(it, "verdict") == Verdict::Passed.as_str());
        let passed = good.map(|it| (text(it, "id").to_owned(), number(it, "sample"))).collect();
        let fairness = json.at(&["summary", "fairness"])?.as_array()?.iter();
        let nothing =
            |it: &&Json| it.get("against").and_then(Json::as_array).is_some_and(<[_]>::is_empty);
        let fair = fairness.filter(nothing).map(|it| text(it, "id").to_owned()).collect();
        Some(Self { passed, fair })
    }
}

impl Ran<'_> {
    /// Whether nothing speaks against the entry.
    pub(super) fn is_good(&self) -> bool {
        self.summary.is_passed && self.worse().is_empty()
    }

    /// What was good in the baseline, and is not now.
    fn worse(&self) -> Vec<String> {
        let Some(baseline) = &self.baseline else { return Vec::new() };
        let was_good = |asked: &&Asked| {
            let it = &asked.answered;
            baseline.passed.contains(&(it.id.clone(), i64::from(it.sample)))
        };
        let bad = self.asked.iter().filter(|it| it.answered.verdict != Verdict::Passed);
        let answers = bad.filter(was_good).map(|it| name(it, self.suite.samples));
        let unfair = self.summary.fairness.iter().filter(|it| !it.against.is_empty());
        let unfair = unfair.filter(|it| baseline.fair.contains(&it.id)).map(|it| it.id.clone());
        answers.chain(unfair).collect()
    }

    pub(super) fn print(&self, output: &Output) {
        self.print_answers(output);
        let summary = &self.summary;
        for fairness in &summary.fairness {
            print_fairness(fairness, output);
        }
        let (suite, entry) = (&self.suite.name, self.entry);
        if summary.cases.of > 0 {
            let (share, of) = (summary.cases.count, summary.cases.of);
            output.line(&format!(
                "{share} of {of} answers are as expected: {} % ({})",
                percent(summary.percent()),
                interval(summary.cases.interval())
            ));
        }
        for (count, what) in [(summary.unjudged, "unjudged"), (summary.unanswered, "unanswered")] {
            if count > 0 {
                output.line(&format!("{count} {what}: these count as not passed"));
            }
        }
        for worse in self.worse() {
            output.line(&format!("{} than the baseline: {worse}", output.bad("worse")));
        }
        let version = &self.version;
        match summary.is_passed {
            true => output.line(&format!("{} `{suite}`: {entry} {version}", output.good("passed"))),
            false => {
                let what = format!("`{suite}`: {entry} {version}");
                output.line(&format!("{} {what}", output.bad("not passed")));
            }
        }
        for why in &summary.against {
            output.line(&format!("  {why}"));
        }
        match &self.kept {
            Some(kept) => {
                let call = text(kept, "call");
                output
                    .line(&format!("the result is kept: `lockgate trace {call}` shows its record"));
            }
            None => output.line("the gate does not keep the result: nothing can depend on it"),
        }
        let next = self.asked.iter().find(|it| is_bad(it.answered.verdict));
        if let Some(call) = next.and_then(|it| it.answered.calls.first()) {
            output.line(&format!("next: `lockgate explain {call}` shows the first of them"));
        }
    }

    fn print_answers(&self, output: &Output) {
        let bad = || self.asked.iter().filter(|it| is_bad(it.answered.verdict));
        for asked in bad().take(NAMED_MAX) {
            let verdict = output.bad(asked.answered.verdict.as_str());
            let name = name(asked, self.suite.samples);
            let call = asked.answered.calls.first().map(ToString::to_string).unwrap_or_default();
            let why = asked.why.join("; ");
            output.line(&format!("{verdict} {name}: {why} {}", output.faint(&call)));
        }
        let more = bad().count().saturating_sub(NAMED_MAX);
        if more > 0 {
            output.line(&format!("and {more} more: `--json` and `--junit` have all"));
        }
    }

    pub(super) fn to_json(&self) -> Json {
        let texts = |all: &[String]| all.iter().map(|it| it.as_str().into()).collect::<Vec<Json>>();
        let answers = self.asked.iter().map(|asked| {
            let it = &asked.answered;
            let calls: Vec<Json> = it.calls.iter().map(|call| call.as_str().into()).collect();
            let answer = Object::new()
                .with("id", it.id.as_str())
                .with("sample", i64::from(it.sample))
                .with("verdict", it.verdict.as_str())
                .with_some("score", it.score)
                .with("why", texts(&asked.why))
                .with("calls", calls);
            Json::from(answer)
        });
        let kept = self.kept.as_ref().map(|kept| text(kept, "call"));
        Object::new()
            .with("suite", self.suite.name.as_str())
            .with("digest", self.suite.digest.to_string())
            .with("entry", self.entry)
            .with("version", self.version.as_str())
            .with("passed", self.is_good())
            .with("summary", self.summary.to_json())
            .with("worse", texts(&self.worse()))
            .with_some("record", kept)
            .with("answers", answers.collect::<Vec<Json>>())
            .into()
    }

    pub(super) fn junit(&self) -> String {
        let cases = self.asked.iter().filter(|it| it.answered.verdict.is_of_case());
        let cases = cases.map(|asked| junit::Case {
            class: "case",
            name: name(asked, self.suite.samples),
            failure: is_bad(asked.answered.verdict).then(|| asked.why.join("; ")),
        });
        let groups = self.summary.fairness.iter().map(|it| junit::Case {
            class: "counterfactual",
            name: it.id.clone(),
            failure: (!it.against.is_empty()).then(|| it.against.join("; ")),
        });
        let all: Vec<junit::Case> = cases.chain(groups).collect();
        junit::document("lockgate eval", &all)
    }
}

/// Results that the gate has kept.
pub(super) fn print_results(answer: &Json, output: &Output) {
    let results = answer.get("results").and_then(Json::as_array).unwrap_or_default();
    if results.is_empty() {
        output.line("there are no results (hint: `lockgate eval <suite> --entry <name>`)");
    }
    for result in results {
        let at = jiff::Timestamp::from_microsecond(number(result, "at"));
        let at = at.map(|at| at.to_string()).unwrap_or_default();
        let is_passed = result.get("passed").and_then(Json::as_bool).unwrap_or_default();
        let passed = if is_passed { output.good("passed") } else { output.bad("not passed") };
        output.line(&format!(
            "{passed} {} {} {}: {} % of {} answers, {at}",
            text(result, "suite"),
            text(result, "entry"),
            text(result, "version"),
            percent(number(result, "percent")),
            result.at(&["summary", "cases"]).and_then(Json::as_i64).unwrap_or_default(),
        ));
        let against = result.at(&["summary", "against"]).and_then(Json::as_array);
        for why in against.unwrap_or_default().iter().filter_map(Json::as_str) {
            output.line(&format!("  {why}"));
        }
        output.line(&format!("  {}", output.faint(text(result, "call"))));
    }
}

fn print_fairness(fairness: &Fairness, output: &Output) {
    let id = &fairness.id;
    for GroupShare { name, positive, mean } in &fairness.groups {
        let mean = mean.map(|mean| format!(", mean score {}", thousandths(mean)));
        output.line(&format!(
            "{id}: {name}: {} of {} positive, {} % ({}){}",
            positive.count,
            positive.of,
            percent(positive.points()),
            interval(positive.interval()),
            mean.unwrap_or_default()
        ));
    }
    let ratio = fairness.ratio.map(|ratio| format!(", ratio {} %", percent(ratio)));
    let spread = fairness.spread.map(|spread| format!(", scores {} apart", thousandths(spread)));
    output.line(&format!(
        "{id}: {} points apart ({}){}, {} of {} answers depend on the group{}",
        percent(fairness.difference),
        interval(fairness.difference_interval),
        ratio.unwrap_or_default(),
        fairness.flips.count,
        fairness.flips.of,
        spread.unwrap_or_default()
    ));
    for note in &fairness.notes {
        output.line(&format!("{id}: {}", output.faint(note)));
    }
}

fn is_bad(verdict: Verdict) -> bool {
    match verdict {
        Verdict::Passed | Verdict::Positive | Verdict::Negative => false,
        Verdict::Failed | Verdict::Unjudged | Verdict::Unanswered => true,
    }
}

fn name(asked: &Asked, samples: u32) -> String {
    let it = &asked.answered;
    if samples == 1 { it.id.clone() } else { format!("{} ({})", it.id, it.sample) }
}

fn interval(interval: Interval) -> String {
    let Interval { low, high } = interval;
    format!("95 % sure: {} to {}", percent(low), percent(high))
}

/// Hundredths, as people read them.
fn percent(points: i64) -> String {
    let sign = if points < 0 { "-" } else { "" };
    let points = points.unsigned_abs();
    match points % 100 {
        0 => format!("{sign}{}", points / 100),
        part => format!("{sign}{}.{part:02}", points / 100),
    }
}

fn thousandths(number: i64) -> String {
    let sign = if number < 0 { "-" } else { "" };
    let number = number.unsigned_abs();
    format!("{sign}{}.{:03}", number / 1000, number % 1000)
}

fn text<'a>(json: &'a Json, name: &str) -> &'a str {
    json.get(name).and_then(Json::as_str).unwrap_or_default()
}

fn number(json: &Json, name: &str) -> i64 {
    json.get(name).and_then(Json::as_i64).unwrap_or_default()
}
