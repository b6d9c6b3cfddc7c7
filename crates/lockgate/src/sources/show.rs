//! Sources of documents as people read them. What documents are called and say may be anybody's
//! words: signs that people do not see are written out.

use crate::output::Output;
use lockgate_types::appearance::marked;
use lockgate_types::{Json, Object};

/// Documents of each kind that a comparison prints.
const PRINTED_MAX: usize = 50;

/// A source in a line.
pub(super) fn summary(source: &Json, output: &Output) -> String {
    let nothing = Json::Null;
    let standing = source.get("standing").unwrap_or(&nothing);
    let serves = match source.get("serving") {
        None => output.faint("nothing serves"),
        Some(serving) => format!(
            "snapshot {} of {}, {} documents",
            number(serving, "snapshot"),
            time(serving, "ended"),
            number(serving, "documents")
        ),
    };
    let newest = source.get("newest").map(|newest| text(newest, "state")).unwrap_or_default();
    let mut parts = vec![serves];
    if newest == "quarantined" {
        parts.push(output.bad("the newest is quarantined"));
    }
    if let Some(running) = standing.get("running") {
        let (done, listed) = (number(running, "done"), number(running, "listed"));
        parts.push(format!("running: {done} of {listed}"));
    }
    if standing.get("elsewhere").is_some() {
        parts.push(format!("running at another node since {}", time(standing, "elsewhere")));
    }
    if source.get("words_alone").is_some() {
        parts.push("found by words alone: the fleet's database has no pgvector".to_owned());
    }
    if let Some(last) = standing.get("last").filter(|last| text(last, "verdict") == "failed") {
        parts.push(output.bad(&format!("failed: {}", text(last, "code"))));
    }
    let missing: Vec<String> = items(source, "missing").map(Json::to_string).collect();
    if !missing.is_empty() {
        parts.push(output.bad(&format!("tasks name what is not there: {}", missing.join(", "))));
    }
    format!(
        "{} ({}, {}, of {}): {}",
        text(source, "source"),
        text(source, "classification"),
        text(source, "tenant"),
        marked(text(source, "owner")),
        parts.join("; ")
    )
}

pub(super) fn show(source: &Json, output: &Output) {
    output.line(&summary(source, output));
    for (name, about) in
        [("description", "it is"), ("terms", "terms:"), ("signed_off_by", "signed off by")]
    {
        if source.get(name).is_some() {
            output.line(&format!("  {about} {}", marked(text(source, name))));
        }
    }
    let synced = source.get("synced").is_some_and(|it| *it == Json::Bool(true));
    let says = if synced { "the source" } else { "the bundle" };
    let people: Vec<String> = items(source, "people").map(said).collect();
    let and = if people.is_empty() { "" } else { ", and people:" };
    output.line(&format!("  who may see what says {says}{and}"));
    people.iter().for_each(|it| output.line(&format!("    {it}")));
    let nothing = Json::Null;
    let standing = source.get("standing").unwrap_or(&nothing);
    if standing.get("due").is_some() {
        output.line(&format!("  due at {}", time(standing, "due")));
    }
    if let Some(last) = standing.get("last") {
        let (verdict, why) = (text(last, "verdict"), marked(text(last, "reason")));
        let at = time(last, "ended");
        let line = format!("  last run: {verdict} at {at} {} {why}", text(last, "code"));
        output.line(line.trim_end());
    }
    if let Some(report) = source.get("report") {
        show_report(report, output);
    }
}

fn show_report(report: &Json, output: &Output) {
    let volume = report.get("volume").unwrap_or(&Json::Null);
    output.line(&format!(
        "  report of snapshot {}: {} added, {} changed, {} kept, {} removed",
        number(report, "snapshot"),
        number(volume, "added"),
        number(volume, "changed"),
        number(volume, "kept"),
        number(volume, "removed")
    ));
    for breach in items(report, "breaches") {
        let (term, found) = (text(breach, "term"), text(breach, "found"));
        let line = format!("breaks `{term}`: {found}, allowed {}", text(breach, "allowed"));
        output.line(&format!("    {}", output.bad(&marked(&line))));
    }
    for what in ["withheld", "suspected", "hidden", "broken", "duplicates", "unconfirmed"] {
        if number(report, what) > 0 {
            output.line(&format!("    {what}: {}", number(report, what)));
        }
    }
    let examples = report.get("examples").and_then(Json::as_object);
    for (kind, all) in examples.into_iter().flat_map(Object::iter) {
        for example in all.as_array().unwrap_or_default() {
            let (id, why) = (marked(text(example, "id")), marked(text(example, "why")));
            output.line(&format!("    {kind}: {id}: {why}"));
        }
    }
}

pub(super) fn snapshot(one: &Json, output: &Output) -> String {
    let is = |name: &str| one.get(name).is_some_and(|it| *it == Json::Bool(true));
    let state = match text(one, "state") {
        "published" if is("serving") => output.good("serves"),
        "quarantined" => output.bad("quarantined"),
        state => state.to_owned(),
    };
    let pinned = if is("pinned") { ", kept" } else { "" };
    let name = match text(one, "name") {
        "" => String::new(),
        name => format!(" `{}`", marked(name)),
    };
    let (at, documents) = (time(one, "begun"), number(one, "documents"));
    format!("{}{name} {state}{pinned}, {documents} documents, begun {at}", number(one, "snapshot"))
}

pub(super) fn compared(answer: &Json, output: &Output) {
    for (name, sign) in [("added", "+"), ("changed", "~"), ("removed", "-")] {
        let all: Vec<&Json> = items(answer, name).collect();
        for id in all.iter().take(PRINTED_MAX).filter_map(|id| id.as_str()) {
            output.line(&format!("{sign} {}", marked(id)));
        }
        if all.len() > PRINTED_MAX {
            output.line(&format!("{sign} and {} more: `--json`", all.len() - PRINTED_MAX));
        }
    }
}

/// What people have said of a place.
pub(super) fn said(one: &Json) -> String {
    let texts = |name: &str| -> Vec<String> {
        items(one, name).filter_map(Json::as_str).map(marked).collect()
    };
    let (readers, denied) = (texts("readers"), texts("denied"));
    let place = marked(text(one, "place"));
    let mut parts = Vec::new();
    if !readers.is_empty() {
        parts.push(format!("shared to {}", readers.join(", ")));
    }
    if !denied.is_empty() {
        parts.push(format!("kept from {}", denied.join(", ")));
    }
    if parts.is_empty() {
        parts.push("as its source and the bundle say".to_owned());
    }
    format!("{place}: {}", parts.join("; "))
}

pub(super) fn items<'a>(json: &'a Json, name: &str) -> impl Iterator<Item = &'a Json> {
    json.get(name).and_then(Json::as_array).unwrap_or_default().iter()
}

pub(super) fn text<'a>(json: &'a Json, name: &str) -> &'a str {
    json.get(name).and_then(Json::as_str).unwrap_or_default()
}

pub(super) fn number(json: &Json, name: &str) -> i64 {
    json.get(name).and_then(Json::as_i64).unwrap_or_default()
}

pub(super) fn time(json: &Json, name: &str) -> String {
    let at = number(json, name);
    jiff::Timestamp::from_microsecond(at).map(|at| at.to_string()).unwrap_or_default()
}
