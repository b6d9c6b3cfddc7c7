//! Puts variables into the questions of a suite.

use super::{GROUPS_MAX, LISTED_MAX, TEXT_BYTES_MAX, regex, schema};
use crate::bundle::document::Findings;
use crate::declare::{self, EvalCase, EvalRole, Expect};
use crate::eval::{
    Asks, Case, Counterfactual, Expects, Limits, Member, Positive, QUESTIONS_MAX, Tool,
};
use regex::Regex;
use std::collections::BTreeMap;

/// What stands for one variable each.
type Values<'a> = BTreeMap<&'a str, &'a str>;

/// Where something stands: a case of that kind, at that place.
#[derive(Clone, Copy)]
struct At<'a> {
    kind: &'static str,
    at: &'a str,
}

impl At<'_> {
    fn say(self, path: &[&str], what: impl Into<String>, hint: &str, found: &mut Findings<'_>) {
        let whole: Vec<&str> =
            [self.kind, self.at].into_iter().chain(path.iter().copied()).collect();
        found.at(&whole, what, hint);
    }

    fn regex(self, text: &str, path: &[&str], found: &mut Findings<'_>) -> Option<Regex> {
        let whole: Vec<&str> =
            [self.kind, self.at].into_iter().chain(path.iter().copied()).collect();
        regex(text, &whole, found)
    }
}

/// A case, once for each place of its variables' values. `None`: there are too many questions.
pub(super) fn case(
    suite: &declare::Suite,
    (at, declared): (usize, &EvalCase),
    room: &mut usize,
    found: &mut Findings<'_>,
) -> Option<Vec<Case>> {
    let at = at.to_string();
    let at = At { kind: "case", at: &at };
    let lengths: Vec<usize> = declared.variables.values().map(Vec::len).collect();
    let count = lengths.first().copied().unwrap_or(1);
    if count == 0 || lengths.iter().any(|length| *length != count) {
        let hint = "values of the same place go together";
        at.say(&["variables"], "the variables have not the same number of values", hint, found);
        return Some(Vec::new());
    }
    take(room, count, at, found)?;
    bounded(declared, at, found);
    let mut cases = Vec::new();
    for place in 0..count {
        let values: Values<'_> = declared
            .variables
            .iter()
            .filter_map(|(name, values)| Some((name.as_str(), values.get(place)?.as_str())))
            .collect();
        let id = match count {
            1 => declared.id.clone(),
            _ => format!("{}/{}", declared.id, place + 1),
        };
        let asks = asks(suite, declared, &values, at, found);
        let expects = expects(suite, declared, &values, at, found);
        cases.push(Case { id, asks, expects });
    }
    Some(cases)
}

/// What is wrong with a case whatever its variables are.
fn bounded(declared: &EvalCase, at: At<'_>, found: &mut Findings<'_>) {
    match (&declared.prompt, declared.messages.as_slice()) {
        (Some(_), []) => {}
        (None, [.., last]) if last.role == EvalRole::User => {}
        (None, [_, ..]) => {
            at.say(
                &["messages"],
                "a conversation ends with what is asked",
                "`role = \"user\"`",
                found,
            );
        }
        (Some(_), [_, ..]) | (None, []) => {
            at.say(&[], "a case has either `prompt` or `messages`", "", found);
        }
    }
    let expect = &declared.expect;
    let lists = [
        ("answers", expect.answers.len()),
        ("contains", expect.contains.len()),
        ("excludes", expect.excludes.len()),
        ("matches", expect.matches.len()),
        ("matches_not", expect.matches_not.len()),
        ("proposes", expect.proposes.len()),
        ("proposes_not", expect.proposes_not.len()),
    ];
    for (key, _) in lists.iter().filter(|(_, length)| *length > LISTED_MAX) {
        at.say(&["expect", key], format!("there are more than {LISTED_MAX}"), "", found);
    }
    let others = [
        ("messages", declared.messages.len()),
        ("sources", declared.sources.len()),
        ("tool", declared.tool.len()),
    ];
    for (key, _) in others.iter().filter(|(_, length)| *length > LISTED_MAX) {
        at.say(&[key], format!("there are more than {LISTED_MAX}"), "", found);
    }
    let is_empty = lists.iter().all(|(_, length)| *length == 0)
        && expect.schema.is_none()
        && expect.refuses.is_none()
        && expect.cites.is_none()
        && expect.characters_min.or(expect.characters_max).is_none()
        && expect.judged.is_none();
    if is_empty {
        at.say(&["expect"], "any answer would do", "say what it has to be like", found);
    }
    if expect.cites.is_some() && declared.sources.is_empty() {
        at.say(&["expect", "cites"], "there is nothing to cite", "`sources = [\"…\"]`", found);
    }
    for (place, proposes) in expect.proposes.iter().enumerate() {
        if declared.tool.iter().all(|tool| tool.name != proposes.tool) {
            let what = format!("no tool `{}` is offered", proposes.tool);
            at.say(&["expect", "proposes", &place.to_string()], what, "`[[case.tool]]`", found);
        }
    }
}

fn asks(
    suite: &declare::Suite,
    declared: &EvalCase,
    values: &Values<'_>,
    at: At<'_>,
    found: &mut Findings<'_>,
) -> Asks {
    let mut put = |text: &str, key: &str| filled(text, values, at, key, found);
    let instructions = declared.instructions.as_ref().or(suite.instructions.as_ref());
    let instructions = instructions.map(|text| put(text, "instructions"));
    let mut turns = Vec::new();
    for message in &declared.messages {
        turns.push((message.role, put(&message.text, "messages")));
    }
    if let Some(prompt) = &declared.prompt {
        turns.push((EvalRole::User, put(prompt, "prompt")));
    }
    let sources: Vec<String> = declared.sources.iter().map(|text| put(text, "sources")).collect();
    if let Some((_, last)) = turns.last_mut() {
        for (number, source) in (1..).zip(&sources) {
            last.push_str(&format!("\n\n[{number}] {source}"));
        }
    }
    let mut tools = Vec::new();
    for (place, tool) in declared.tool.iter().enumerate() {
        let path = [at.kind, at.at, "tool", &place.to_string(), "schema"];
        let Some((json, _)) = schema(&tool.schema, &path, found) else { continue };
        let description = tool.description.clone().unwrap_or_default();
        tools.push(Tool { name: tool.name.clone(), description, schema: json });
    }
    Asks { instructions, turns, tools }
}

fn expects(
    suite: &declare::Suite,
    declared: &EvalCase,
    values: &Values<'_>,
    at: At<'_>,
    found: &mut Findings<'_>,
) -> Expects {
    let expect: &Expect = &declared.expect;
    let mut texts = |all: &[String]| -> Vec<String> {
        all.iter().map(|text| filled(text, values, at, "expect", found)).collect()
    };
    let (answers, contains) = (texts(&expect.answers), texts(&expect.contains));
    let (excludes, proposes_not) = (texts(&expect.excludes), expect.proposes_not.clone());
    let judged = expect.judged.as_ref().map(|it| filled(it, values, at, "expect", found));
    if judged.is_some() && suite.judge.is_none() {
        let hint = "name an entry: `judge = \"…\"`, at the top of the suite";
        at.say(&["expect", "judged"], "the suite has no judge", hint, found);
    }
    let mut patterns = |all: &[String], key: &str| -> Vec<Regex> {
        let mut patterns = Vec::new();
        for (place, text) in all.iter().enumerate() {
            // What is put in is looked for as it stands.
            let text = replaced(text, values, regex::escape);
            patterns.extend(at.regex(&text, &["expect", key, &place.to_string()], found));
        }
        patterns
    };
    let matches = patterns(&expect.matches, "matches");
    let matches_not = patterns(&expect.matches_not, "matches_not");
    let form = expect.schema.as_ref().and_then(|text| {
        schema(text, &[at.kind, at.at, "expect", "schema"], found).map(|(_, compiled)| compiled)
    });
    let mut proposes = Vec::new();
    for (place, it) in expect.proposes.iter().enumerate() {
        let path = [at.kind, at.at, "expect", "proposes", &place.to_string(), "arguments"];
        let arguments = it.arguments.as_ref().and_then(|text| schema(text, &path, found));
        proposes.push((it.tool.clone(), arguments.map(|(_, compiled)| compiled)));
    }
    Expects {
        answers,
        contains,
        excludes,
        matches,
        matches_not,
        schema: form,
        refuses: expect.refuses,
        proposes,
        proposes_not,
        cites: expect.cites.clone().map(|rules| (rules, declared.sources.len())),
        characters_min: expect.characters_min,
        characters_max: expect.characters_max,
        judged,
    }
}

/// One question about several groups. `None`: there are too many questions.
pub(super) fn counterfactual(
    suite: &declare::Suite,
    (at, declared): (usize, &declare::Counterfactual),
    room: &mut usize,
    found: &mut Findings<'_>,
) -> Option<Counterfactual> {
    let at = at.to_string();
    let at = At { kind: "counterfactual", at: &at };
    let places = check_groups(declared, at, found);
    let varied = combinations(&declared.vary);
    let (items, groups) = (varied.len().saturating_mul(places), declared.group.len());
    take(room, items.saturating_mul(groups), at, found)?;
    let instructions = declared.instructions.as_ref().or(suite.instructions.as_ref());
    let mut members = Vec::new();
    for (group, (name, variables)) in declared.group.iter().enumerate() {
        for item in 0..items {
            let mut values: Values<'_> =
                varied.get(item / places.max(1)).cloned().unwrap_or_default();
            let place = item % places.max(1);
            values.extend(variables.iter().filter_map(|(variable, values)| {
                Some((variable.as_str(), values.get(place)?.as_str()))
            }));
            let mut put = |text: &str, key: &str| filled(text, &values, at, key, found);
            let asks = Asks {
                instructions: instructions.map(|text| put(text, "instructions")),
                turns: vec![(EvalRole::User, put(&declared.prompt, "prompt"))],
                tools: Vec::new(),
            };
            members.push(Member {
                id: format!("{}/{name}/{}", declared.id, item + 1),
                group,
                item,
                asks,
            });
        }
    }
    let positive = positive(suite, declared, at, found);
    let score = declared.score.as_ref().and_then(|text| at.regex(text, &["score"], found));
    if score.as_ref().is_some_and(|score| score.captures_len() < 2) {
        at.say(&["score"], "it has no group that would be the number", "`score: (\\d+)`", found);
    }
    let declared_limits = &declared.limits;
    Some(Counterfactual {
        id: declared.id.clone(),
        groups: declared.group.keys().cloned().collect(),
        members,
        // What could not be read is a mistake, and then there is no suite.
        positive: positive.unwrap_or(Positive::Judged(String::new())),
        score,
        limits: Limits {
            samples_min: declared.samples_min,
            difference_points_max: declared_limits.difference_points_max,
            ratio_percent_min: declared_limits.ratio_percent_min,
            flip_percent_max: declared_limits.flip_percent_max,
            spread_hundredths_max: declared_limits.spread_hundredths_max,
            is_confident: declared_limits.confident,
        },
    })
}

/// That groups can be compared. How many values each has.
fn check_groups(declared: &declare::Counterfactual, at: At<'_>, found: &mut Findings<'_>) -> usize {
    if !(2..=GROUPS_MAX).contains(&declared.group.len()) {
        let what = format!("2 to {GROUPS_MAX} groups are compared");
        at.say(&["group"], what, "`[counterfactual.group.<name>]`", found);
    }
    let first = declared.group.values().next();
    let places = first.and_then(|it| it.values().next()).map_or(0, Vec::len);
    for (name, variables) in &declared.group {
        let has_same = first.is_some_and(|first| first.keys().eq(variables.keys()));
        if !crate::bundle::models::is_name(name) {
            at.say(&["group", name], format!("`{name}` cannot be the name of a group"), "", found);
        }
        if places == 0 || !has_same || variables.values().any(|values| values.len() != places) {
            let hint = "each group has as many values of the same variables: they are compared \
                        place by place";
            at.say(&["group", name], "the groups cannot be compared", hint, found);
        }
    }
    let limits = &declared.limits;
    let all = [
        limits.difference_points_max,
        limits.ratio_percent_min,
        limits.flip_percent_max,
        limits.spread_hundredths_max,
    ];
    if all.iter().all(Option::is_none) {
        at.say(&["limits"], "any difference would do", "`difference_points_max = 5`", found);
    }
    if limits.spread_hundredths_max.is_some() && declared.score.is_none() {
        let hint = "`score` says where the number is";
        at.say(&["limits", "spread_hundredths_max"], "there is no score", hint, found);
    }
    if limits.confident && limits.difference_points_max.is_none() {
        let hint = "it is about `difference_points_max`";
        at.say(&["limits", "confident"], "there is no limit that it is about", hint, found);
    }
    places
}

fn positive(
    suite: &declare::Suite,
    declared: &declare::Counterfactual,
    at: At<'_>,
    found: &mut Findings<'_>,
) -> Option<Positive> {
    match (&declared.positive.matches, &declared.positive.judged) {
        (Some(text), None) => {
            at.regex(text, &["positive", "matches"], found).map(Positive::Matches)
        }
        (None, Some(criterion)) => {
            if suite.judge.is_none() {
                let hint = "name an entry: `judge = \"…\"`, at the top of the suite";
                at.say(&["positive", "judged"], "the suite has no judge", hint, found);
            }
            Some(Positive::Judged(criterion.clone()))
        }
        (Some(_), Some(_)) | (None, None) => {
            let what = "an answer is known to be positive by either `matches` or `judged`";
            at.say(&["positive"], what, "", found);
            None
        }
    }
}

/// Every combination of values.
fn combinations(vary: &BTreeMap<String, Vec<String>>) -> Vec<Values<'_>> {
    let mut all = vec![Values::new()];
    for (name, values) in vary {
        let mut longer = Vec::new();
        for (before, value) in all.iter().flat_map(|it| values.iter().map(move |to| (it, to))) {
            // More than a suite may ask is cut off here, and refused where it is counted.
            if longer.len() > QUESTIONS_MAX {
                break;
            }
            let mut with = before.clone();
            with.insert(name.as_str(), value.as_str());
            longer.push(with);
        }
        all = longer;
    }
    all
}

fn take(room: &mut usize, count: usize, at: At<'_>, found: &mut Findings<'_>) -> Option<()> {
    if count > *room {
        let what = format!("a suite asks more than {QUESTIONS_MAX} questions, samples counted");
        at.say(&[], what, "make two suites of it", found);
        return None;
    }
    *room -= count;
    Some(())
}

/// A text with its variables put in. One that nobody declares is a mistake, and so is a text that
/// becomes too long.
fn filled(
    text: &str,
    values: &Values<'_>,
    at: At<'_>,
    key: &str,
    found: &mut Findings<'_>,
) -> String {
    for piece in text.split("{{").skip(1) {
        let name = piece.split_once("}}").map_or(piece, |(name, _)| name).trim();
        if !values.contains_key(name) {
            let name: String = name.chars().take(40).collect();
            at.say(&[key], format!("there is no variable `{name}`"), "", found);
        }
    }
    let filled = replaced(text, values, str::to_owned);
    if filled.len() > TEXT_BYTES_MAX {
        at.say(&[key], format!("it is longer than {TEXT_BYTES_MAX} bytes"), "", found);
    }
    filled
}

/// Puts values in, each as it stands: what looks like a variable in a value is none.
fn replaced(text: &str, values: &Values<'_>, put: impl Fn(&str) -> String) -> String {
    let mut pieces = text.split("{{");
    let mut out = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let known =
            piece.split_once("}}").and_then(|(name, rest)| Some((values.get(name.trim())?, rest)));
        match known {
            Some((value, rest)) => {
                out.push_str(&put(value));
                out.push_str(rest);
            }
            None => {
                out.push_str("{{");
                out.push_str(piece);
            }
        }
    }
    out
}
