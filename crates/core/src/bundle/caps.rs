//! What `[[cap]]` and `[[rate]]` mean, beyond their shape.

use super::admin::RESERVED;
use super::document::Findings;
use super::suggest;
use crate::caps::{Measure, measure};
use crate::declare::{BytesWord, Cap, CapScope, CountWord, Gate, Rate};
use crate::model::{Model, Registry};
use crate::world::{Operation, StatementKind};
use lockgate_types::model::ModelApi;
use lockgate_types::{GroupName, Json, OperationName};
use std::collections::BTreeMap;

/// Caps of one bundle: each call looks at all of them.
const CAPS_MAX: usize = 256;
/// Rates of one bundle: the same.
const RATES_MAX: usize = 64;
/// Groups of one cap: each is a counter that a call may take of.
const GROUPS_MAX: usize = 64;
/// The most that a cap lets be spent, in hundredths: counters hold millionths of them.
const SPEND_MAX: i64 = 1_000_000_000_000;

pub(super) fn check(gate: &Gate, found: &mut Findings<'_>) {
    for (at, cap) in gate.cap.iter().enumerate() {
        let earlier: Vec<&str> = gate.cap.iter().take(at).map(|cap| cap.name.as_str()).collect();
        check_name(["cap", &at.to_string()], &cap.name, &earlier, CAPS_MAX, found);
        check_cap(gate, cap, &at.to_string(), found);
    }
    for (at, rate) in gate.rate.iter().enumerate() {
        let earlier: Vec<&str> = gate.rate.iter().take(at).map(|rate| rate.name.as_str()).collect();
        check_name(["rate", &at.to_string()], &rate.name, &earlier, RATES_MAX, found);
        check_rate(rate, &at.to_string(), found);
    }
}

fn check_name(
    [kind, at]: [&str; 2],
    name: &str,
    earlier: &[&str],
    max: usize,
    found: &mut Findings<'_>,
) {
    let path = [kind, at, "name"];
    let is_slug = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    if name.is_empty() || name.len() > 64 || !name.bytes().all(is_slug) {
        found.at(&path, format!("a {kind} is named by letters, digits and `-`"), "");
    }
    if earlier.contains(&name) {
        found.at(&path, format!("another {kind} is named `{name}`"), "give each its own name");
    }
    if earlier.len() >= max {
        found.at(&path, format!("there are more than {max} {kind}s"), "");
    }
}

fn check_cap(gate: &Gate, cap: &Cap, at: &str, found: &mut Findings<'_>) {
    let path = |key| ["cap", at, key];
    let name = &cap.name;
    check_measure(cap, at, found);
    check_around(cap, at, found);
    if cap.max.is_some_and(|max| max < 0) || cap.decimals > 9 || cap.window_s == Some(0) {
        found.at(&path("max"), "a cap has a `max`, a window, and at most 9 decimals", "");
    }
    if cap.concurrent == Some(0) {
        let what = format!("the cap `{name}` has no place for any call");
        found.at(&path("concurrent"), what, "say 1 or more, or forbid the operations");
    }
    let is_single = cap.per == CapScope::Call;
    if cap.concurrent.is_some() {
        if cap.max.is_some() || cap.window_s.is_some() || is_single {
            let what = format!("the cap `{name}` is of calls under way, and has something else");
            let hint = "`concurrent` stands alone: no `max`, no `window_s`, no `per = \"call\"`";
            found.at(&path("concurrent"), what, hint);
        }
    } else {
        if cap.max.is_none() {
            let what = format!("the cap `{name}` has no `max`");
            found.at(&path("name"), what, "say how much there is, or `concurrent`");
        }
        match (is_single, cap.window_s) {
            (true, Some(_)) => {
                let what = format!("the cap `{name}` is on single calls, and has a window");
                found.at(&path("window_s"), what, "take `window_s` away");
            }
            (false, None) => {
                let what = format!("the cap `{name}` has no window");
                found.at(&path("name"), what, "say `window_s`, or `per = \"call\"`");
            }
            (true, None) | (false, Some(_)) => {}
        }
    }
    let measured = measure(cap);
    let is_known_before = matches!(
        measured,
        Measure::Sum(_)
            | Measure::Entities(_)
            | Measure::Bytes(BytesWord::Out)
            | Measure::Tokens
            | Measure::Spend
    );
    if is_single && cap.concurrent.is_none() && !is_known_before {
        let what = format!("the cap `{name}` measures nothing that one call has by itself");
        let hint = "`sum`, `entities`, or `bytes = \"out\"`; a database has `rows_max`";
        found.at(&path("per"), what, hint);
    }
    let answer_max = i64::from(gate.limits.answer_bytes_max);
    if measured == Measure::Bytes(BytesWord::In) && cap.max.is_some_and(|max| max < answer_max) {
        let what = format!("the cap `{name}` has no room for one answer");
        let hint = "raise `max`, or lower `answer_bytes_max` of `[limits]`: it is reserved first";
        found.at(&path("max"), what, hint);
    }
    let is_text = |who: &String| !who.trim().is_empty() && !who.chars().any(char::is_control);
    let has_who = cap.escalate.as_ref().is_none_or(is_text);
    if !has_who || cap.sum.as_ref().is_some_and(String::is_empty) {
        found.at(&path("escalate"), "`escalate` and `sum` are plain text where they are given", "");
    }
    let is_named = !cap.operations.is_empty();
    let needs_names = matches!(measured, Measure::Sum(_) | Measure::Entities(_) | Measure::Rows);
    if needs_names && !is_named {
        let what = format!("the cap `{name}` adds up an argument of every operation");
        found.at(&path("sum"), what, "name the `operations` that have it");
    }
}

/// What is said of teams, and of what happens before a cap is used up.
fn check_around(cap: &Cap, at: &str, found: &mut Findings<'_>) {
    let path = |key| ["cap", at, key];
    let name = &cap.name;
    let is_team = cap.per == CapScope::Team;
    if is_team == cap.groups.is_empty() {
        let (key, hint) = match is_team {
            true => ("per", "such as `groups = [\"finance\", \"support\"]`"),
            false => ("groups", "say `per = \"team\"`, or take `groups` away"),
        };
        let what = format!("the cap `{name}` and its `groups` do not fit together");
        found.at(&path(key), what, hint);
    }
    for (index, group) in cap.groups.iter().enumerate() {
        if let Err(error) = GroupName::new(group) {
            found.at(&["cap", at, "groups", &index.to_string()], error.to_string(), "");
        } else if index == GROUPS_MAX {
            found.at(&path("groups"), format!("there are more than {GROUPS_MAX} groups"), "");
        }
    }
    let is_of_models = matches!(measure(cap), Measure::Tokens | Measure::Spend);
    if cap.degrade_percent.is_some() && !is_of_models {
        let what = format!("the cap `{name}` is not of what models cost");
        found.at(&path("degrade_percent"), what, "say `count = \"tokens\"` or `\"spend\"`");
    }
    let is_counted = cap.window_s.is_some();
    for (key, percent) in
        [("alert_percent", cap.alert_percent), ("degrade_percent", cap.degrade_percent)]
    {
        if percent.is_some() && !is_counted {
            let what = format!("the cap `{name}` has no counter that comes to `{key}`");
            found.at(&path(key), what, "it is for caps with a window");
        }
    }
    if measure(cap) == Measure::Spend && cap.max.is_some_and(|max| max > SPEND_MAX) {
        found.at(&path("max"), format!("it is more than {SPEND_MAX}"), "");
    }
}

/// That what models cost can be reserved and counted in one currency.
pub(super) fn check_models(gate: &Gate, models: &Registry, found: &mut Findings<'_>) {
    for (at, cap) in gate.cap.iter().enumerate() {
        let measured = measure(cap);
        if !matches!(measured, Measure::Tokens | Measure::Spend) {
            continue;
        }
        let at = at.to_string();
        let path = ["cap", at.as_str(), "count"];
        let is_of = |model: &Model| {
            let upstream = format!("{}:", model.upstream);
            cap.operations.is_empty() || cap.operations.iter().any(|it| it.starts_with(&upstream))
        };
        let mut currency: Option<(&str, &str)> = None;
        for (name, model) in models.iter().filter(|(_, model)| is_of(model)) {
            let declared = &model.declared;
            if declared.output_tokens_max.or(declared.context_tokens).is_none() {
                let what = format!("the model `{name}` has no bound that could be reserved");
                found.at(&path, what, "say `output_tokens_max` in its entry");
            }
            if measured == Measure::Tokens {
                continue;
            }
            let Some(price) = &declared.price else {
                let what = format!("the model `{name}` has no price, and its cost is counted");
                found.at(&path, what, "say `price` in its entry; what is free costs 0");
                continue;
            };
            let (first, known) = *currency.get_or_insert((name, &price.currency));
            if known != price.currency {
                let what =
                    format!("the model `{name}` costs {}, and `{first}` {known}", price.currency);
                found.at(&path, what, "make a cap for each, by `operations`");
            }
        }
    }
}

/// That a cap measures one thing.
fn check_measure(cap: &Cap, at: &str, found: &mut Findings<'_>) {
    let path = |key| ["cap", at, key];
    let name = &cap.name;
    let given = [
        ("count", cap.count.is_some()),
        ("sum", cap.sum.is_some()),
        ("entities", cap.entities.is_some()),
        ("rows", cap.rows),
        ("bytes", cap.bytes.is_some()),
    ];
    let given: Vec<&str> = given.iter().filter(|(_, is_given)| *is_given).map(|it| it.0).collect();
    let is_place = cap.concurrent.is_some() && given.iter().any(|key| *key != "count");
    if given.len() > 1 || is_place {
        let what = format!("the cap `{name}` measures several things: `{}`", given.join("`, `"));
        found.at(&path("name"), what, "make it several caps");
    }
    if cap.count == Some(CountWord::Writes) && cap.reads {
        let what = format!("the cap `{name}` counts writes, and reads too");
        found.at(&path("reads"), what, "say `count = \"calls\"`, or take `reads` away");
    }
    if cap.actual.is_some() && cap.sum.is_none() {
        let what = format!("the cap `{name}` has an `actual` and adds up nothing");
        found.at(&path("actual"), what, "name the argument that is the estimate: `sum`");
    }
    if cap.actual.as_ref().is_some_and(|path| path.split('.').any(str::is_empty)) {
        let what = "`actual` is not a path of names";
        found.at(&path("actual"), what, "names with `.` between them, such as `receipt.total`");
    }
}

fn check_rate(rate: &Rate, at: &str, found: &mut Findings<'_>) {
    let path = |key| ["rate", at, key];
    let name = &rate.name;
    match (rate.per_second, rate.amount, rate.interval_s) {
        (Some(_), None, None) | (None, Some(_), Some(_)) => {}
        _ => {
            let what = format!("the rate `{name}` does not say how often");
            let hint = "`per_second`, or `amount` and `interval_s`";
            found.at(&path("name"), what, hint);
        }
    }
    let numbers = [rate.per_second, rate.amount, rate.interval_s, rate.burst];
    if numbers.contains(&Some(0)) {
        found.at(&path("name"), "a rate lets something through", "say 1 or more");
    }
    if rate.per == CapScope::Team {
        found.at(&path("per"), "rates have no teams", "make it a cap, or say `subject`");
    }
    if rate.per == CapScope::Call {
        let what = format!("the rate `{name}` is of single calls");
        found.at(&path("per"), what, "say whose calls come one after the other");
    }
}

/// What can be said once all operations are known: that those exist which caps and rates name, with
/// the arguments that they need.
pub(super) fn check_operations(
    gate: &Gate,
    operations: &BTreeMap<OperationName, Operation>,
    found: &mut Findings<'_>,
) {
    let find = |name: &String| operations.iter().find(|(known, _)| known.as_str() == name);
    let known: Vec<&str> = operations.keys().map(OperationName::as_str).collect();
    let caps = gate.cap.iter().map(|cap| (&cap.operations, Some(cap))).enumerate();
    let rates = gate.rate.iter().map(|rate| (&rate.operations, None)).enumerate();
    let caps = caps.map(|it| ("cap", it));
    for (kind, (at, (names, cap))) in caps.chain(rates.map(|it| ("rate", it))) {
        for (index, name) in names.iter().enumerate() {
            let (at, index) = (at.to_string(), index.to_string());
            let path = [kind, &at, "operations", &index];
            match (find(name), cap) {
                (None, _) => {
                    let what = format!("there is no operation `{name}`");
                    found.at(&path, what, suggest::among(name, &known));
                }
                (Some((_, operation)), _) if operation.upstream.as_str() == RESERVED => {
                    let what = format!("`{name}` is an operation of the gate's own");
                    found.at(&path, what, "these are neither capped nor slowed down");
                }
                (Some((_, operation)), Some(cap)) => {
                    check_operation(cap, name, operation, &path, found);
                }
                (Some(_), None) => {}
            }
        }
    }
}

fn check_operation(
    cap: &Cap,
    name: &str,
    operation: &Operation,
    path: &[&str],
    found: &mut Findings<'_>,
) {
    let (argument, fits) = match measure(cap) {
        Measure::Sum(argument) => (argument, ["number", "integer"]),
        Measure::Entities(argument) => (argument, ["array", "integer"]),
        Measure::Rows => {
            let statement = operation.statement.as_ref().map(|statement| &statement.kind);
            if !matches!(statement, Some(StatementKind::Change(_))) {
                let what = format!("`{name}` is no change of a database, and changes no rows");
                found.at(path, what, "count its calls, or `entities`");
            }
            return;
        }
        Measure::Tokens | Measure::Spend => {
            if !operation.model.is_some_and(ModelApi::asks_a_model) {
                let what = format!("`{name}` asks no model, and has no tokens");
                found.at(path, what, "count its calls");
            }
            return;
        }
        Measure::Calls | Measure::Bytes(_) | Measure::Concurrent(_) => return,
    };
    let Some(conformance) = &operation.conformance else { return };
    if !conformance.declares(argument) {
        let what = format!("`{name}` has no argument `{argument}`");
        let known: Vec<&str> = conformance.declared_names().collect();
        found.at(path, what, suggest::among(argument, &known));
        return;
    }
    // Whatever a schema says in a more roundabout way is looked at when it is called.
    let schema = operation.schema.as_ref();
    let kinds = match schema.and_then(|schema| schema.at(&["properties", argument, "type"])) {
        Some(Json::String(kind)) => vec![kind.as_str()],
        Some(Json::Array(kinds)) => kinds.iter().filter_map(Json::as_str).collect(),
        _ => return,
    };
    if !kinds.iter().any(|kind| fits.contains(kind)) {
        let what =
            format!("the argument `{argument}` of `{name}` is of type `{}`", kinds.join("`, `"));
        found.at(path, what, format!("it has to be of type `{}`", fits.join("` or `")));
    }
}
